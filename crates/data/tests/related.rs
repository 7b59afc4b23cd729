//! Texts with two marked spans: the layouts of the usual collections, and what is refused.

#![allow(clippy::unwrap_used)] // in helpers too: a test that cannot go on has failed

mod reads;

use reads::{from, refused, said, task};
use topwork_data::{Dataset, Label, LabelMap, Labels, ReadOptions, Related, Task, read_from};

fn related(dataset: &Dataset, at: usize) -> &Related {
    let Some(Label::Related(related)) = &dataset.examples[at].label else {
        panic!("{:?}", dataset.examples[at])
    };
    related
}

/// What stands where the spans are, and the relation.
fn told(dataset: &Dataset, at: usize) -> (String, String, String) {
    let (example, related) = (&dataset.examples[at], related(dataset, at));
    let other = example.pair.as_deref().unwrap_or(&example.text);
    let [first, second] = related.spans.clone();
    (example.text[first].to_string(), other[second].to_string(), related.name.clone().unwrap_or_default())
}

#[test]
fn two_spans_of_a_text_are_told_in_many_ways() {
    let relation = task(Task::Relation);
    let text = r#""text": "Zoë Ek lives in Paris .""#;
    let words = r#"["Zoë", "Ek", "lives", "in", "Paris", "."]"#;
    let mut seen = 0;
    for (rest, note) in [
        (
            format!(r#"{text}, "span1": [0, 6], "span2": [16, 21], "label": "lives-in""#),
            "columns span1, span2, in characters",
        ),
        (
            format!(r#"{text}, "spans": [[0, 6], [16, 21]], "relation": "lives-in""#),
            "column spans, in characters",
        ),
        (
            format!(
                r#"{text}, "entities": [{{"start": 0, "end": 6, "type": "PER"}}, {{"start": 16, "end": 21}}], "relation": "lives-in""#
            ),
            "column entities",
        ),
        (
            format!(
                r#"{text}, "h": {{"name": "Z", "pos": [0, 6]}}, "t": {{"name": "P", "pos": [16, 21]}}, "relation": "lives-in""#
            ),
            "columns h, t, in characters",
        ),
        (
            format!(r#"{text}, "start1": 0, "end1": 6, "start2": 16, "end2": 21, "label": "lives-in""#),
            "columns start1, end1, start2, end2, in characters",
        ),
        (
            format!(
                r#""token": {words}, "h": {{"pos": [0, 2]}}, "t": {{"pos": [4, 5]}}, "relation": "lives-in""#
            ),
            "columns h, t, in words",
        ),
        (
            format!(
                r#""tokens": {words}, "h": ["z", "Q1", [[0, 1]]], "t": ["p", "Q2", [[4], [5]]], "relation": "lives-in""#
            ),
            "columns h, t, in words",
        ),
        (
            format!(
                r#""token": {words}, "subj_start": 0, "subj_end": 1, "obj_start": 4, "obj_end": 4, "subj_type": "PERSON", "relation": "lives-in""#
            ),
            "in words, the end counted",
        ),
        (
            r#""sentence": "<e1>Zoë Ek</e1> lives in <e2>Paris</e2> .", "relation": "lives-in""#.to_string(),
            "<e1> and <e2>",
        ),
        // Space at the ends belongs to no span.
        (format!(r#"{text}, "span1": [0, 7], "span2": [15, 21], "label": "lives-in""#), "span1, span2"),
    ] {
        let dataset =
            from("r.jsonl", &format!("{{{rest}}}\n"), &relation).unwrap_or_else(|e| panic!("{rest}: {e}"));
        let expected = ("Zo\u{eb} Ek".to_string(), "Paris".to_string(), "lives-in".to_string());
        assert_eq!(told(&dataset, 0), expected, "{rest}");
        assert_eq!(dataset.examples[0].text, "Zo\u{eb} Ek lives in Paris .", "{rest}");
        said(&dataset, note);
        seen += 1;
    }
    assert_eq!(seen, 10);
    let csv = "text,span1,span2,label\n\"Ann met Bob\",\"[0, 3]\",\"[8, 11]\",met\n";
    let dataset = from("r.csv", csv, &relation).unwrap();
    assert_eq!(told(&dataset, 0), ("Ann".into(), "Bob".into(), "met".into()));
}

#[test]
fn a_span_of_each_of_two_texts() {
    let rows = r#"{"sentence1": "a bank of a river", "sentence2": "the bank pays", "start1": 2, "end1": 6, "start2": 4, "end2": 8, "label": false}
{"sentence1": "on the bank", "sentence2": "a bank of sand", "start1": 7, "end1": 11, "start2": 2, "end2": 6, "label": true}
"#;
    let dataset = from("r.jsonl", rows, &task(Task::Relation)).unwrap();
    assert_eq!(dataset.examples[0].pair.as_deref(), Some("the bank pays"));
    assert_eq!(told(&dataset, 0), ("bank".into(), "bank".into(), "false".into()));
    assert_eq!(related(&dataset, 0).spans, [2..6, 4..8]);
    let map = LabelMap::from_dataset(&dataset).unwrap();
    assert_eq!(Labels::new(&dataset, Some(&map)).unwrap(), Labels::Class(vec![0, 1]));
    let own = rows.replace("sentence1", "left").replace("sentence2", "right");
    let options =
        ReadOptions { text: Some("left".into()), pair: Some("right".into()), ..task(Task::Relation) };
    assert_eq!(from("r.jsonl", &own, &options).unwrap().examples, dataset.examples);
}

#[test]
fn what_is_to_be_answered_needs_no_label() {
    let row = r#"{"text": "Ann met Bob", "span1": [0, 3], "span2": [8, 11]}"#;
    let dataset = read_from(
        "standard input",
        row.as_bytes(),
        &ReadOptions { format: Some(topwork_data::Format::Jsonl), ..task(Task::Spans) },
    )
    .unwrap();
    assert_eq!(*related(&dataset, 0), Related { spans: [0..3, 8..11], name: None });
    let error = Labels::new(&dataset, None).unwrap_err().to_string();
    assert!(error.contains("spans without a relation"), "{error}");
    refused("r.jsonl", row, &task(Task::Relation), &["label", "none is called relation"]);
    let null = row.replace('}', r#", "label": null}"#);
    refused("r.jsonl", &null, &task(Task::Relation), &["label"]);
    let skip = ReadOptions { skip_unlabelled: true, ..task(Task::Relation) };
    let both = format!("{null}\n{}\n", row.replace('}', r#", "label": "met"}"#));
    let dataset = from("r.jsonl", &both, &skip).unwrap();
    assert_eq!(dataset.len(), 1);
    said(&dataset, "no label");
    assert!(related(&from("r.jsonl", &null, &task(Task::Spans)).unwrap(), 0).name.is_none());
}

#[test]
fn numbers_of_relations_have_names() {
    let row = r#"{"text": "Ann met Bob", "span1": [0, 3], "span2": [8, 11], "label": 1}"#;
    let options = ReadOptions { names: vec!["none".into(), "met".into()], ..task(Task::Relation) };
    assert_eq!(told(&from("r.jsonl", row, &options).unwrap(), 0).2, "met");
    refused("r.jsonl", &row.replace("1}", "2}"), &options, &["a number of the 2 classes", "row 1"]);
}

#[test]
fn spans_that_are_not_there_are_refused() {
    let relation = task(Task::Relation);
    let row = |spans: &str| format!(r#"{{"text": "Ann met Bob", {spans}, "label": "met"}}"#);
    let mut seen = 0;
    for (spans, parts) in [
        (r#""span1": [0, 3], "span2": [8, 12]"#, &["spans within the 11 characters", "8 to 12"][..]),
        (r#""span1": [3, 3], "span2": [8, 11]"#, &["spans with something in them", "3 to 3"]),
        (r#""span1": [3, 4], "span2": [8, 11]"#, &["spans with something in them"]),
        (r#""span1": [5, 3], "span2": [8, 11]"#, &["spans with something in them", "5 to 3"]),
        (r#""span1": "Ann", "span2": [8, 11]"#, &["no columns tell two spans"]),
        (r#""span1": [0, 3]"#, &["no columns tell two spans", "start1"]),
        (r#""spans": [[0, 3], [4, 7], [8, 11]]"#, &["no columns tell two spans"]),
    ] {
        refused("r.jsonl", &row(spans), &relation, parts);
        seen += 1;
    }
    assert_eq!(seen, 7);
    let good = row(r#""span1": [0, 3], "span2": [8, 11]"#);
    refused(
        "r.jsonl",
        &format!("{good}\n{}", good.replace("[0, 3]", "\"x\"")),
        &relation,
        &["row 2", "a span with start and end"],
    );
    let words = r#"{"tokens": ["Ann", "met"], "h": {"pos": [0, 1]}, "t": {"pos": [1, 3]}, "label": "met"}"#;
    refused("r.jsonl", words, &relation, &["spans within the 2 words", "1 to 3"]);
    let marks = r#"{"text": "<e1>Ann</e1> <e2>met</e2>", "label": "x"}"#;
    refused(
        "r.jsonl",
        &format!("{marks}\n{}", marks.replace("</e2>", "")),
        &relation,
        &["row 2", "one each of <e1>"],
    );
}
