//! Tagged words and trees from every format that has them, and what is refused in each.

#![allow(clippy::unwrap_used)] // in helpers too: a test that cannot go on has failed

mod reads;

use reads::{from, refused, said, task};
use topwork_data::{
    Dataset, Example, Label, LabelMap, Node, ReadOptions, Task, read, read_from,
    tags::{self, Scheme},
};

fn tagged() -> ReadOptions {
    task(Task::Tags)
}

fn with_label(label: &str) -> ReadOptions {
    ReadOptions { label: vec![label.into()], ..tagged() }
}

/// Each word as it stands in the text, with its tag: `EU/B-ORG rejects/O`.
fn shown(example: &Example) -> String {
    let Some(Label::Words(words)) = &example.label else { panic!("{example:?}") };
    let words: Vec<String> =
        words.iter().map(|word| format!("{}/{}", &example.text[word.start..word.end], word.tag)).collect();
    words.join(" ")
}

fn check(name: &str, text: &str, options: &ReadOptions, expected: &[(&str, usize)]) -> Dataset {
    let dataset = from(name, text, options).unwrap_or_else(|error| panic!("{text:?}: {error}"));
    let found: Vec<(String, usize)> = dataset.examples.iter().map(|e| (shown(e), e.row)).collect();
    let expected: Vec<(String, usize)> =
        expected.iter().map(|(words, row)| (words.to_string(), *row)).collect();
    assert_eq!(found, expected, "{text:?}\n{}", dataset.report.lines().join("\n"));
    dataset
}

#[test]
fn columns_are_words_and_tags() {
    let two = [("EU/B-ORG rejects/O", 3), ("Peter/B-PER", 6)];
    let text = "-DOCSTART- -X- O O\n\nEU NNP I-NP B-ORG\nrejects VBZ I-VP O\n\nPeter NNP I-NP B-PER\n";
    for name in ["a.conll", "eng.train", "a.txt", "a.iob2"] {
        let dataset = check(name, text, &tagged(), &two);
        said(&dataset, "1 lines -DOCSTART- left out");
        said(&dataset, "BIO (IOB2)");
        assert_eq!(dataset.texts().collect::<Vec<_>>(), ["EU rejects", "Peter"]);
    }
    check("a.conll", &format!("\u{feff}{}", text.replace('\n', "\r\n")), &tagged(), &two);
    check("a.conll", text, &with_label("pos"), &[("EU/NNP rejects/VBZ", 3), ("Peter/NNP", 6)]);
    check("a.conll", text, &with_label("3"), &[("EU/I-NP rejects/I-VP", 3), ("Peter/I-NP", 6)]);
    // A tab is what lets a word hold a space; a hash is a word where it has a tag, a comment where it has none.
    let tabs = "# id = 7\nNew York\tB-LOC\n#\tO\n#now\tO\n\t\n# \tO\n\n\n# a word too\tO\nx\tO";
    check(
        "a.conll",
        tabs,
        &tagged(),
        &[("New York/B-LOC #/O #now/O", 2), ("#/O", 6), ("# a word too/O x/O", 9)],
    );
    let texts = from("a.conll", text, &task(Task::Unlabelled)).unwrap();
    assert_eq!((texts.len(), texts.has_labels()), (2, false));
    let piped = read_from("standard input", text.as_bytes(), &tagged()).unwrap();
    assert_eq!(piped.len(), 2);
}

#[test]
fn broken_columns_are_refused_by_line() {
    refused(
        "a.conll",
        "EU B-ORG\nrejects\nx y z\n",
        &tagged(),
        &["line 2", "2 fields as in line 1", "(2 faults in all)"],
    );
    refused("a.conll", "EU\tB-ORG\n\tO\n", &tagged(), &["line 2", "a word", "column 1"]);
    refused("a.conll", "EU\tB-ORG\nx\t\n", &tagged(), &["line 2", "a tag", "column 2"]);
    refused("a.conll", "EU\nPeter\n", &tagged(), &["no column beside the words", "--label"]);
    refused("a.conll", "EU A O\n", &with_label("ner2"), &["\"ner2\"", "1 (\"EU\"), 2 (\"A\"), 3 (\"O\")"]);
    refused("a.conll", "\n\n", &tagged(), &["no word"]);
    refused(
        "a.conll",
        "EU O\n",
        &task(Task::Class),
        &["conll files hold no labels for the task class", "csv"],
    );
    refused(
        "a.csv",
        "text,label\na,b\n",
        &task(Task::Tags),
        &["csv files hold no labels for the task tags", "conll, conllu"],
    );
    let small = ReadOptions { max_record_bytes: 100, ..tagged() };
    refused("a.conll", &format!("a O\n\n{}", "word O\n".repeat(50)), &small, &["line 3", "100 bytes"]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ned.train");
    std::fs::write(&path, b"Itali\xeb N B-LOC\n").unwrap();
    let error = read(&path, &ReadOptions { format: Some("conll".parse().unwrap()), ..tagged() }).unwrap_err();
    assert!(error.to_string().contains("iconv -f WINDOWS-1252"), "{error}");
}

#[test]
fn tags_of_a_set_are_turned_into_bio() {
    let text = "Alice I-PER\nBob B-PER\nof O\nParis I-LOC\n\nx O\ny B-LOC\nz S-ORG\n";
    let mut dataset = from("a.conll", text, &tagged()).unwrap();
    assert_eq!(tags::scheme_of(&dataset), Scheme::Bioes);
    let converted = tags::convert(&mut dataset, Some(Scheme::Iob1));
    assert_eq!(shown(&dataset.examples[0]), "Alice/B-PER Bob/B-PER of/O Paris/B-LOC");
    assert_eq!((converted.malformed, converted.first.len()), (2, 2));
    let lines = converted.lines().join("\n");
    assert!(lines.contains("IOB1") && lines.contains("row 6, word 2: B-LOC after O"), "{lines}");
    assert_eq!(dataset.label_counts()[0], ("B-LOC".to_string(), 2));
}

const TREES: &str = "# sent_id = s1\n# text = D\u{e9}j\u{e0} du pain, don't?\n\
    1\tD\u{e9}j\u{e0}\tdeja\tADV\tR\t_\t4\tadvmod\t_\t_\n\
    2-3\tdu\t_\t_\t_\t_\t_\t_\t_\t_\n\
    2\tde\tde\tADP\tP\t_\t4\tcase\t_\t_\n\
    3\tle\tle\tDET\tD\tGender=Masc\t4\tdet\t_\t_\n\
    4\tpain\tpain\tNOUN\tN\t_\t0\troot\t_\tSpaceAfter=No\n\
    4.1\tghost\t_\tNOUN\tN\t_\t_\t_\t4:x\t_\n\
    5\t,\t,\tPUNCT\tF\t_\t4\tpunct\t_\t_\n\
    6-7\tdon't\t_\t_\t_\t_\t_\t_\t_\tSpaceAfter=No\n\
    6\tdo\tdo\tAUX\tV\t_\t4\tdep\t_\t_\n\
    7\tn't\tnot\tPART\tR\t_\t6\tadvmod\t_\t_\n\
    8\t?\t?\tPUNCT\tF\t_\t4\tpunct\t_\t_\n\n\
    1\tHi\thi\tINTJ\t_\t_\t0\troot\t_\tSpaceAfter=No\n\
    2\t!\t!\tPUNCT\t_\t_\t1\tpunct\t_\t_\n";

#[test]
fn trees_stand_in_the_text_as_it_was_written() {
    let dataset = from("a.conllu", TREES, &task(Task::Trees)).unwrap();
    // The classes are the relations, however many columns the trees come from.
    let map = LabelMap::from_dataset(&dataset).unwrap();
    assert_eq!(map.names(), ["advmod", "case", "dep", "det", "punct", "root"]);
    let [first, second] = dataset.examples.as_slice() else { panic!() };
    assert_eq!(
        (first.text.as_str(), first.id.as_deref(), first.row),
        ("D\u{e9}j\u{e0} du pain, don't?", Some("s1"), 3)
    );
    assert_eq!((second.text.as_str(), second.id.as_deref(), second.row), ("Hi!", None, 15));
    let Some(Label::Tree(nodes)) = &first.label else { panic!() };
    let found: Vec<(&str, &str, usize, &str)> = nodes
        .iter()
        .map(|node| (&first.text[node.start..node.end], node.tag.as_str(), node.head, node.relation.as_str()))
        .collect();
    let expected = [
        ("D\u{e9}j\u{e0}", "ADV", 4, "advmod"),
        ("du", "ADP", 4, "case"),
        ("du", "DET", 4, "det"),
        ("pain", "NOUN", 0, "root"),
        (",", "PUNCT", 4, "punct"),
        ("do", "AUX", 4, "dep"),
        ("n't", "PART", 6, "advmod"),
        ("?", "PUNCT", 4, "punct"),
    ];
    assert_eq!(found, expected);
    assert_eq!(nodes[3], Node { start: 10, end: 14, tag: "NOUN".into(), head: 0, relation: "root".into() });
    said(&dataset, "2 contractions");
    said(&dataset, "1 empty nodes left out");
    assert_eq!(dataset.label_counts()[0], ("advmod".to_string(), 2));
    // Without the comment the text is made from the words.
    let bare = TREES.replace("# text = ", "# comment = ");
    let again = from("a.dat", &bare, &task(Task::Trees)).unwrap();
    assert_eq!(again.examples, dataset.examples);

    let upos = "D\u{e9}j\u{e0}/ADV du/ADP+DET pain/NOUN ,/PUNCT do/AUX n't/PART ?/PUNCT";
    let dataset = check("a.conllu", TREES, &tagged(), &[(upos, 3), ("Hi/INTJ !/PUNCT", 15)]);
    said(&dataset, "1 of them are not their words");
    let deprel = "D\u{e9}j\u{e0}/advmod du/case+det pain/root ,/punct do/dep n't/advmod ?/punct";
    check("a.conllu", TREES, &with_label("deprel"), &[(deprel, 3), ("Hi/root !/punct", 15)]);
    let feats = "D\u{e9}j\u{e0}/_ du/_+Gender=Masc pain/_ ,/_ do/_ n't/_ ?/_";
    check("a.conllu", TREES, &with_label("feats"), &[(feats, 3), ("Hi/_ !/_", 15)]);
}

#[test]
fn what_is_no_tree_is_refused() {
    let trees = task(Task::Trees);
    let change = |from: &str, to: &str| {
        assert!(TREES.contains(from), "{from:?}");
        TREES.replacen(from, to, 1)
    };
    let check = |text: String, parts: &[&str]| refused("a.conllu", &text, &trees, parts);
    check(change("_\t4\tcase", "_\t9\tcase"), &["line 3 (s1)", "heads from 0 to 8", "9 for word 2"]);
    check(change("_\t0\troot", "_\t8\troot"), &["a tree", "a circle through word"]);
    check(change("_\t4\tcase", "_\t_\tcase"), &["line 5", "the number of the head", "\"_\""]);
    check(change("5\t,\t,", "6\t,\t,"), &["line 9", "word 5", "\"6\""]);
    check(change("\t_\tSpaceAfter=No", ""), &["line 7", "10 columns", "8:"]);
    check(change("text = D", "text = X"), &["line 3 (s1)", "# text", "\"X\u{e9}j\u{e0}"]);
    check(change("?\n1", "? yes\n1"), &["the end", "\"yes\""]);
    check(change("6-7", "6-9"), &["9 words", "8 at the end", "\"don't\""]);
    check(change("2-3\tdu", "3-4\tdu"), &["line 4", "begins with word 2"]);
    check(change("4\tpain\tpain", "4\t\tpain"), &["line 7", "column form"]);
    let blind = TREES.replace("ADV", "_").replace("INTJ", "_").replace("PUNCT", "_");
    let blind = ["ADP", "DET", "NOUN", "AUX", "PART"].iter().fold(blind, |text, tag| text.replace(tag, "_"));
    refused("a.conllu", &blind, &tagged(), &["no label in column \"upos\""]);
    refused("a.conllu", TREES, &with_label("uposs"), &["did you mean \"upos\""]);
    refused("a.conllu", "# only\n\n", &trees, &["no sentence"]);
    refused(
        "a.conllu",
        TREES,
        &task(Task::Answers),
        &["conllu files hold no labels for the task answers", "squad"],
    );
}

#[test]
fn lists_of_words_have_lists_of_tags() {
    let two = [("EU/B-ORG rejects/O", 1), ("Peter/B-PER", 2)];
    let names = "{\"id\": \"7\", \"tokens\": [\"EU\", \"rejects\"], \"ner_tags\": [\"B-ORG\", \"O\"]}\n\
                 {\"id\": \"8\", \"tokens\": [\"Peter\"], \"ner_tags\": [\"B-PER\"]}\n";
    let dataset = check("a.jsonl", names, &tagged(), &two);
    assert_eq!(dataset.examples[1].id.as_deref(), Some("8"));
    let numbers = names.replace("\"B-ORG\"", "1").replace("\"O\"", "0").replace("\"B-PER\"", "2");
    let named = ReadOptions { names: ["O", "B-ORG", "B-PER"].map(String::from).into(), ..tagged() };
    check("a.jsonl", &numbers, &named, &two);
    check("a.jsonl", &numbers, &tagged(), &[("EU/1 rejects/0", 1), ("Peter/2", 2)]);
    refused("a.jsonl", &numbers.replace('2', "3"), &named, &["row 2", "one of the 3 tags", "3 for word 1"]);
    refused("a.jsonl", &names.replace(", \"O\"", ""), &tagged(), &["row 1", "2 tags", "got 1"]);
    refused("a.jsonl", &names.replace("[\"B-PER\"]", "null"), &tagged(), &["no label", "rows 2"]);
    let odd = "{\"words\": [\"a\", \" \", \"b\"], \"tags\": [\"X\", \"Y\", \"Z\"]}\n{\"words\": [], \"tags\": []}\n";
    let dataset = check("a.jsonl", odd, &tagged(), &[("a/X b/Z", 1)]);
    said(&dataset, "1 words of nothing but space left out (rows 1)");
    said(&dataset, "1 rows left out: empty text (rows 2)");
    let pos = "{\"tokens\": [\"a\"], \"ner_tags\": [\"O\"], \"pos_tags\": [\"DT\"]}\n";
    check("a.jsonl", pos, &with_label("pos_tags"), &[("a/DT", 1)]);
}

#[test]
fn spans_count_characters_and_tag_words() {
    let expected = "Zo\u{eb}/B-PER O/I-PER '/I-PER Neil/I-PER met/O \u{6811}/B-ORG \u{6728}/I-ORG ./O";
    let text = "Zo\u{eb} O'Neil met \u{6811}\u{6728}.";
    for (key, spans) in [
        ("entities", "[[0, 10, \"PER\"], [15, 17, \"ORG\"]]"),
        ("label", "[[15, 17, \"ORG\"], [0, 11, \"PER\"]]"),
        (
            "spans",
            "[{\"start\": 0, \"end\": 10, \"label\": \"PER\"}, {\"start\": 15, \"end\": 17, \"label\": \"ORG\"}]",
        ),
        (
            "entities",
            "[{\"id\": 1, \"label\": \"PER\", \"start_offset\": 0, \"end_offset\": 10}, {\"label\": \"ORG\", \
             \"start_offset\": 15, \"end_offset\": 17}]",
        ),
    ] {
        let line = format!("{{\"text\": \"{text}\", \"{key}\": {spans}}}\n");
        let dataset = check("a.jsonl", &line, &tagged(), &[(expected, 1)]);
        assert!(!dataset.report.lines().join("\n").contains("widened"));
    }
    let line = |spans: &str| format!("{{\"text\": \"{text}\", \"entities\": {spans}}}\n");
    let wide = check(
        "a.jsonl",
        &line("[[1, 10, \"PER\"]]"),
        &tagged(),
        &[("Zo\u{eb}/B-PER O/I-PER '/I-PER Neil/I-PER met/O \u{6811}/O \u{6728}/O ./O", 1)],
    );
    said(&wide, "1 spans ended inside a word and were widened to whole words (rows 1)");
    check(
        "a.jsonl",
        &line("[]"),
        &tagged(),
        &[("Zo\u{eb}/O O/O '/O Neil/O met/O \u{6811}/O \u{6728}/O ./O", 1)],
    );
    for (spans, parts) in [
        (
            "[[0, 10, \"PER\"], [4, 6, \"ORG\"]]",
            &["do not overlap", "span 1 from 0 to 10 (PER) and span 2 from 4 to 6"][..],
        ),
        ("[[6, 7, \"A\"], [8, 10, \"B\"]]", &["different words", "in the word \"Neil\""]),
        ("[[0, 19, \"PER\"]]", &["within the 18 characters", "from 0 to 19"]),
        ("[[3, 3, \"PER\"]]", &["something in them"]),
        ("[[3, 4, \"PER\"]]", &["something in them"]),
        ("[[5, 2, \"PER\"]]", &["something in them"]),
        ("[[0, 3, \"\"]]", &["start, end and label"]),
        ("[[0, 3]]", &["start, end and label"]),
        (
            "[{\"from\": 1.5, \"to\": 3, \"label\": \"A\"}]",
            &["start, end and label", "an object of from, to, label"],
        ),
        ("\"none\"", &["a list of spans"]),
    ] {
        refused("a.jsonl", &line(spans), &tagged(), &[parts, &["row 1"]].concat());
    }
    refused("a.jsonl", "{\"body\": \"x\"}\n", &tagged(), &["--text", "body"]);
    refused("a.jsonl", "{\"text\": \"x\"}\n", &tagged(), &["--label", "text"]);
}
