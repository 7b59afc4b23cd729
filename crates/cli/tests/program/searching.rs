//! Likeness, vectors that are taught, an index and the search in it.

use crate::stage::{Stage, fixture};

/// Documents of two kinds in words the tiny model knows.
fn documents() -> String {
    let mut lines = String::new();
    for (at, text) in [
        "free prize money",
        "win a prize now",
        "click to win money",
        "meet for lunch tomorrow",
        "lunch tomorrow with you",
        "see you tomorrow",
    ]
    .iter()
    .enumerate()
    {
        lines.push_str(&format!("{{\"_id\": \"d{at}\", \"text\": \"{text}\"}}\n"));
    }
    lines
}

fn lines(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn documents_are_found_and_their_order_is_measured() {
    let stage = Stage::new();
    stage.model("bert");
    stage.program.file("docs.jsonl", documents()).unwrap();
    let done = stage.ok("index bert --data docs.jsonl --out index --precision f32");
    assert_eq!(done.out(), "index: 6 documents, vectors of 32\n");
    let done =
        stage.run(["search", "index", "see you tomorrow", "-k", "2", "--precision", "f32"]).run().unwrap();
    let out = done.expect_code(0).unwrap().out();
    assert_eq!(out.lines().count(), 2, "{out}");
    assert_eq!(out.lines().next().unwrap(), "  1.0000  d5  see you tomorrow");

    stage.program.file("q.tsv", "qid\tquery\tgold\na\tlunch tomorrow\td3|d4\nb\tfree money\td0\n").unwrap();
    let args = "search index --queries q.tsv --precision f32";
    let found = lines(&stage.ok(&format!("{args} --json -k 3")).out());
    assert_eq!(found.len(), 2);
    assert_eq!((found[0]["id"].as_str(), found[0]["hits"].as_array().unwrap().len()), (Some("a"), 3));
    let column = stage.ok(&format!("{args} --relevant gold")).out();
    stage.program.file("qrels.tsv", "query-id\tcorpus-id\tscore\na\td3\t1\na\td4\t1\nb\td0\t1\n").unwrap();
    let file = stage.ok(&format!("{args} --qrels qrels.tsv")).out();
    assert_eq!(column, file);
    for part in ["ndcg@10", "mrr", "recall@10", "2 examples"] {
        assert!(file.contains(part), "{part}: {file}");
    }
    stage.program.file("part.tsv", "a\td3\t1\n").unwrap();
    let done = stage.ok(&format!("{args} --qrels part.tsv"));
    assert!(done.err().contains("1 of 2 queries have nothing"), "{}", done.err());

    stage.refused("search none x", &["none"]);
    stage.refused("search index", &["no query"]);
    stage.refused("search index x --model bert/none", &["bert/none"]);
    stage.refused("index bert --data docs.jsonl --out bert", &["no index"]);
    stage.refused("index bert --data docs.jsonl --out i --id txt", &["txt", "_id"]);
}

#[test]
fn a_cross_encoder_puts_them_in_another_order() {
    let stage = Stage::new();
    stage.model("bert");
    stage.program.file("docs.jsonl", documents()).unwrap();
    stage.ok("index bert --data docs.jsonl --out index --precision f32");
    // Pairs that go together or not, by their words.
    let kinds = [["free", "prize", "money", "win"], ["lunch", "meet", "tomorrow", "see"]];
    let mut rows = String::from("query,document,label\n");
    for n in 0..96usize {
        let (a, b) = (n % 2, (n / 2) % 2);
        let words = |kind: usize, at: usize| {
            format!("{} {} {at}", kinds[kind][at % 4], kinds[kind][(at / 4 + 1) % 4])
        };
        rows.push_str(&format!("{},{},{}\n", words(a, n), words(b, n + 100), u8::from(a == b)));
    }
    stage.program.file("pairs.csv", rows).unwrap();
    let train = "train --model bert --data pairs.csv --text query --pair document --label label --out cross --epochs 2 \
                 --learning-rate 1e-3 --no-baseline --precision f32 report.resamples=0";
    stage.ok(train);
    let args = "search index --queries q.tsv --precision f32 --json -k 6";
    stage.program.file("q.tsv", "id\ttext\na\tlunch meet\n").unwrap();
    let found = |more: &str| -> Vec<(String, f64)> {
        let line = &lines(&stage.ok(&format!("{args} {more}")).out())[0];
        let hits = line["hits"].as_array().unwrap();
        hits.iter().map(|hit| (hit["id"].as_str().unwrap().into(), hit["score"].as_f64().unwrap())).collect()
    };
    let (plain, again) = (found(""), found("--rerank cross"));
    let names = |hits: &[(String, f64)]| {
        let mut names: Vec<String> = hits.iter().map(|(name, _)| name.clone()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&plain), names(&again));
    assert!(again.windows(2).all(|pair| pair[0].1 >= pair[1].1) && again[0].1 <= 1.0, "{again:?}");
    // Those that it does not look at keep their places behind.
    let some = found("--rerank cross --candidates 2");
    assert_eq!(plain[2..], some[2..]);
    stage.refused("search index x --rerank bert --positive maybe", &["--positive"]);
    stage.refused("search index x --candidates 3", &["--rerank"]);
}

#[test]
fn likeness_is_measured_and_vectors_are_taught() {
    let stage = Stage::new();
    stage.model("bert");
    let scored = "free prize\twin a prize\t5\nlunch tomorrow\tsee you tomorrow\t4\nfree prize\tlunch\t0\nmeet me\tcall now\t1.5\n";
    stage.program.file("sts.csv", scored).unwrap();
    let args = "--data sts.csv --format tsv --text 1 --pair 2 --label 3 --precision f32";
    let page = stage.ok(&format!("eval bert --task similarity {args}")).out();
    assert!(page.contains("spearman") && page.contains("4 examples"), "{page}");
    stage.refused(&format!("eval bert --task tag {args}"), &["saved for classify"]);
    let unknown = format!("eval bert --task likeness {args}");
    let done = stage.run(unknown.split_whitespace()).run().unwrap().expect_code(2).unwrap();
    assert!(done.err().contains("similarity"), "{}", done.err());

    let words = ["free", "prize", "money", "win", "lunch", "meet", "tomorrow", "see"];
    let pair = |n: usize| {
        format!("{} {} {n},{} {} {n}\n", words[n % 8], words[n / 8 % 8], words[n / 8 % 8], words[n % 8])
    };
    let rows: String = (0..80).map(pair).collect();
    stage.program.file("pairs.csv", format!("anchor,positive\n{rows}")).unwrap();
    let train = "train --model bert --task embed --data pairs.csv --out run --epochs 1 --batch 16 --precision f32 --dimensions 8,16 \
                 report.resamples=0";
    let done = stage.ok(train);
    for part in ["mrr", "topwork embed run/best"] {
        assert!(done.out().contains(part), "{part}: {}", done.out());
    }
    for file in ["best/modules.json", "best/1_Pooling/config.json", "card.md", "report.html"] {
        assert!(stage.path("run").join(file).is_file(), "{file}");
    }
    let resolved = std::fs::read_to_string(stage.path("run/resolved.toml")).unwrap();
    assert!(resolved.contains("loss = \"in-batch\"") && resolved.contains("pool = \"mean\""), "{resolved}");
    assert_eq!(
        lines(&stage.ok("embed run --dimensions 8 win").out())[0]["vector"].as_array().unwrap().len(),
        8
    );
    let unknown = train.replace("--out run", "--out other --loss tripplet");
    let done = stage.run(unknown.split_whitespace()).run().unwrap().expect_code(2).unwrap();
    assert!(done.err().contains("did you mean \"triplet\""), "{}", done.err());

    let shown = stage.ok(&format!("model show {}", fixture("embeddings/sentence").display())).out();
    assert!(shown.contains("embed over the first token"), "{shown}");
}
