//! `topwork vectors`: static word vectors, and words in context.

use serde_json::Value;

use crate::stage::{Stage, fixture};

/// A stage with the files of `fixtures/vectors` in its folder.
fn stage(files: &[&str]) -> Stage {
    let stage = Stage::new();
    for file in files {
        let bytes = std::fs::read(fixture("vectors").join(file)).unwrap();
        stage.program.file(file, bytes).unwrap();
    }
    stage
}

fn json(stage: &Stage, command: &str) -> Value {
    serde_json::from_str(&stage.ok(command).out()).unwrap()
}

#[test]
fn the_king_without_the_man_and_with_the_woman_is_the_queen() {
    let stage = stage(&["glove.txt", "word2vec.bin"]);
    for file in ["glove.txt", "word2vec.bin"] {
        for objective in ["add", "multiply"] {
            let page =
                stage.ok(&format!("vectors analogy {file} king man woman --objective {objective}")).out();
            assert!(page.starts_with("queen "), "{page}");
            assert_eq!(page.lines().count(), 5);
        }
    }
    let answers = json(&stage, "vectors analogy glove.txt paris france Italy --top 2 --json");
    assert_eq!(answers["answers"][0]["word"], "Rome");
    assert_eq!(answers["answers"].as_array().unwrap().len(), 2);
    stage.refused(
        "vectors analogy glove.txt king man womann",
        &["\"womann\" is none of the 47", "did you mean \"woman\""],
    );
    stage.refused("vectors analogy none.txt king man woman", &["none.txt", "no such file"]);
}

#[test]
fn a_static_vector_is_the_same_in_every_sentence_and_a_models_is_not() {
    let stage = stage(&["glove.txt"]);
    stage.model("bert");
    let sentences = ["--in", "no call tomorrow", "--in", "Call me now"];
    let run = |args: &[&str]| {
        let args = [args, &sentences[..]].concat();
        stage.run(args).run().unwrap().expect_code(0).unwrap()
    };
    let page = run(&["vectors", "nearest", "glove.txt", "stick", "--top", "3"]).out();
    assert!(page.contains("is the same to the bit in all 2 sentences"), "{page}");
    assert_eq!(page.lines().count(), 3 + 2, "one list: {page}");

    let done = run(&["vectors", "nearest", "bert", "call", "--top", "3", "--precision", "f32"]);
    let page = done.out();
    assert!(
        page.contains("call in \"no call tomorrow\"") && page.contains("differs between the sentences"),
        "{page}"
    );
    assert!(done.err().contains("each embedded by itself"), "{}", done.err());
    let found: Value = serde_json::from_str(
        &run(&["vectors", "nearest", "bert", "call", "--precision", "f32", "--json", "--quiet"]).out(),
    )
    .unwrap();
    assert_eq!(found["same_vector"], false);
    assert_ne!(found["lists"][0]["neighbours"], found["lists"][1]["neighbours"]);
    let first = found["lists"][0]["neighbours"].as_array().unwrap();
    assert!(first.iter().all(|near| near["word"] != "call") && !first.is_empty());

    stage.program.file("words.txt", "win\nfree\n\nlunch\n").unwrap();
    let found = json(&stage, "vectors nearest bert call --words words.txt --json");
    assert_eq!(found["lists"][0]["neighbours"].as_array().unwrap().len(), 3);
    stage.refused("vectors nearest bert call --in recalled", &["\"call\" does not stand in \"recalled\""]);
    stage.refused("vectors nearest bert call --limit 3", &["--own"]);
    stage.refused("vectors nearest glove.txt stick --words words.txt", &["--words is about a model"]);
}

#[test]
fn benchmarks_print_each_section_and_each_file() {
    let stage = stage(&["word2vec.txt.gz", "questions.txt"]);
    let pairs = std::fs::read(fixture("vectors").join("pairs.tsv")).unwrap();
    stage.program.file("pairs/a.tsv", &pairs).unwrap();
    stage.program.file("pairs/b.txt", "king queen 9\nman woman 8\nstick unicorn 2\nking glue 1\n").unwrap();
    let page = stage.ok("vectors evaluate word2vec.txt.gz --analogies questions.txt --pairs pairs").out();
    for part in
        ["family", "98.6%", "71       72", "total", "93.8%", "1 line of other", "a.tsv", "b.txt", "75.0%"]
    {
        assert!(page.contains(part), "{part}: {page}");
    }
    let found =
        json(&stage, "vectors evaluate word2vec.txt.gz --analogies questions.txt --pairs pairs --json");
    let total = &found["analogies"][0]["total"];
    assert_eq!((total["correct"].as_u64(), total["unknown"].as_u64()), (Some(120), Some(2)));
    assert_eq!(found["pairs"][0]["pairs"], 60);
    assert!((found["pairs"][0]["spearman"].as_f64().unwrap() - 0.0196).abs() < 1e-4);
    stage.refused("vectors evaluate word2vec.txt.gz", &["--analogies", "--pairs"]);
    stage.refused("vectors evaluate word2vec.txt.gz --pairs pairs --subwords", &["no character n-grams"]);
    stage.refused(
        "vectors evaluate word2vec.txt.gz --analogies pairs/a.tsv",
        &["a.tsv: line 1", "first section"],
    );
}

#[test]
fn clusters_are_written_and_the_threads_change_nothing() {
    let stage = stage(&["word2vec.bin"]);
    let page = stage.ok("vectors clusters word2vec.bin -k 4 --seed 3 --out a.tsv --threads 1").out();
    assert!(page.contains("4 clusters of 47 words"), "{page}");
    stage.ok("vectors clusters word2vec.bin -k 4 --seed 3 --out b.tsv --threads 3");
    let read = |name: &str| std::fs::read_to_string(stage.path(name)).unwrap();
    assert_eq!(read("a.tsv"), read("b.tsv"));
    assert_eq!(read("a.tsv").lines().count(), 47);
    assert!(read("a.tsv").lines().all(|line| line.split_once('\t').unwrap().1.parse::<u32>().unwrap() < 4));
    let found = json(&stage, "vectors clusters word2vec.bin -k 4 --seed 3 --json");
    let sizes: u64 = found["clusters"].as_array().unwrap().iter().map(|c| c["size"].as_u64().unwrap()).sum();
    assert_eq!(sizes, 47);
    stage.refused("vectors clusters word2vec.bin -k 99", &["99 clusters of 47 words", "1 to 47"]);
}

#[test]
fn files_are_shown_converted_and_found_in_folders() {
    let stage = stage(&["fasttext.bin", "word2vec.txt"]);
    let page = stage.ok("vectors show fasttext.bin --word sticky").out();
    for part in [
        "format    fasttext",
        "36 of 8 numbers",
        "3 to 6 characters",
        "300 of 300",
        "put together from subwords",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let shown = json(&stage, "vectors show fasttext.bin --limit 5 --json");
    assert_eq!((shown["words"].as_u64(), shown["left_out"].as_u64()), (Some(5), Some(31)));
    stage.program.file("b/notes.md", "king is a word of these vectors\n").unwrap();
    assert!(
        stage
            .ok("vectors convert word2vec.txt b/vectors.bin --to word2vec-binary")
            .out()
            .contains("47 words")
    );
    // The folder is made where it is not there.
    stage.ok("vectors convert word2vec.txt deep/er/vectors.bin --to word2vec-binary");
    assert_eq!(stage.ok("vectors similarity deep/er king king").out().trim(), "1.0000");
    // A folder with one file of vectors stands for it.
    let shown = json(&stage, "vectors show b --word king --json");
    assert_eq!(shown["format"], "word2vec-binary");
    let plain = json(&stage, "vectors show word2vec.txt --word king --json");
    assert_eq!(shown["asked"], plain["asked"]);
    let same = stage.ok("vectors similarity b king king").out();
    assert_eq!(same.trim(), "1.0000");
    stage.refused("vectors show .", &["several files", "fasttext.bin", "word2vec.txt"]);
    stage.refused("vectors convert word2vec.txt c --to fasttext", &["--to fasttext", "word2vec-text"]);
    stage.program.file("bad.txt", "2 3\na 1 2 3\nb 1 2\n").unwrap();
    stage.refused("vectors show bad.txt", &["bad.txt, line 3", "2 numbers, expected 3"]);
    stage.program.file("twice.txt", "a 1 2\na 3 4\n").unwrap();
    let done = stage.ok("vectors show twice.txt");
    assert!(done.err().contains("1 repeated word left out"), "{}", done.err());
    stage.refused("vectors show word2vec.txt --word x", &["\"x\" is none of the 47 words"]);
}
