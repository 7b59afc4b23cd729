//! Conversations: the layouts they are read from, what is refused, and how they are parted.

#![allow(clippy::unwrap_used)] // in helpers too: a test that cannot go on has failed

mod reads;

use reads::{from, refused, said, task};
use topwork_data::{
    Dataset, Exchange, Format, Label, Labels, NearOptions, ReadOptions, SplitOptions, Task, duplicates,
    leaks, split,
};

const PERSONACHAT: &str = r#"{"train": [
 {"personality": ["i like tea .", "i am zoë ."], "utterances": [
  {"candidates": ["blue .", "no .", "i am zoë ."], "history": ["hi , who are you ?"]},
  {"candidates": ["i am zoë .", "two .", "tea !"], "history": ["hi , who are you ?", "i am zoë .", "what do you like ?"]}]},
 {"personality": [], "utterances": [{"candidates": ["no .", "fine ."], "history": ["how are you ?"]}]}],
 "valid": [{"personality": ["i ski ."], "utterances": [{"candidates": ["a", "b"], "history": ["hi"]}]}]}"#;

/// The training split in rows.
const ROWS: &str = r#"{"persona": ["i like tea .", "i am zoë ."], "history": ["hi , who are you ?"], "reply": "i am zoë .", "candidates": ["blue .", "no .", "i am zoë ."]}
{"persona": ["i like tea .", "i am zoë ."], "history": ["hi , who are you ?", "i am zoë .", "what do you like ?"], "reply": "tea !", "candidates": ["i am zoë .", "two .", "tea !"]}
{"persona": [], "history": ["how are you ?"], "reply": "fine .", "candidates": ["no .", "fine ."]}
"#;

fn exchange(dataset: &Dataset, at: usize) -> &Exchange {
    let Some(Label::Exchange(exchange)) = &dataset.examples[at].label else {
        panic!("{:?}", dataset.examples[at])
    };
    exchange
}

#[test]
fn personachat_and_rows_say_the_same() {
    let dialog = task(Task::Dialog);
    let nested = from("personachat_self_original.json", PERSONACHAT, &dialog).unwrap();
    assert_eq!(nested.report.format, Format::PersonaChat);
    said(&nested, "split train of train, valid");
    said(&nested, "3 exchanges of 2 conversations");
    let rows = from("rows.jsonl", ROWS, &dialog).unwrap();
    assert_eq!(nested.examples, rows.examples);
    assert_eq!(rows.examples[1].text, "what do you like ?");
    let second = exchange(&rows, 1);
    assert_eq!((second.reply(), second.right, second.conversation), ("tea !", 2, 0));
    assert_eq!((exchange(&rows, 0).conversation, exchange(&rows, 2).conversation), (0, 1));
    assert_eq!(exchange(&rows, 2).persona, [""; 0]);
    assert!(rows.has_labels() && rows.label_counts().is_empty());

    let valid = ReadOptions { split: Some("valid".into()), ..task(Task::Dialog) };
    let valid = from("p.json", PERSONACHAT, &valid).unwrap();
    assert_eq!((valid.len(), exchange(&valid, 0).reply()), (1, "b"));
    let test = ReadOptions { split: Some("test".into()), ..task(Task::Dialog) };
    refused("p.json", PERSONACHAT, &test, &["no split \"test\"", "train, valid"]);
    // One split alone, as a list, and with a mark in front.
    let start = PERSONACHAT.find('[').unwrap();
    let list = format!("\u{feff}{}", &PERSONACHAT[start..PERSONACHAT.find(",\n \"valid\"").unwrap()]);
    assert_eq!(from("p.json", &list, &dialog).unwrap().examples, nested.examples);
    // For who asks for texts alone, what is to be answered.
    let texts = from("p.json", PERSONACHAT, &task(Task::Unlabelled)).unwrap();
    assert_eq!(texts.texts().last(), Some("how are you ?"));
    assert!(texts.examples.iter().all(|example| example.label.is_none()));
    refused(
        "p.json",
        PERSONACHAT,
        &task(Task::Class),
        &["personachat files hold no labels for the task class"],
    );
}

#[test]
fn columns_have_many_names_and_may_be_lacking() {
    let row = r#"{"id": "x", "your_persona": "i ski .", "context": "hi", "response": "hello"}
{"id": "y", "context": ["hi", "hello", "bye"], "response": "see you"}
"#;
    let dataset = from("r.jsonl", row, &task(Task::Dialog)).unwrap();
    said(&dataset, "2 exchanges have no candidates: those are drawn from other replies");
    said(&dataset, "2 exchanges of 2 conversations");
    let first = exchange(&dataset, 0);
    assert_eq!(
        (first.persona.as_slice(), first.history.as_slice()),
        (&["i ski .".to_string()][..], &["hi".to_string()][..])
    );
    assert_eq!((first.candidates.as_slice(), first.right), (&["hello".to_string()][..], 0));
    assert_eq!(dataset.examples[1].id.as_deref(), Some("y"));
    let own = row.replace("your_persona", "self").replace("context", "said").replace("response", "says");
    let options = ReadOptions {
        text: Some("said".into()),
        pair: Some("self".into()),
        label: vec!["says".into()],
        ..task(Task::Dialog)
    };
    assert_eq!(from("r.jsonl", &own, &options).unwrap().examples, dataset.examples);
    // Candidates alone: the last is right.
    let last =
        from("r.jsonl", "{\"history\": [\"a\"], \"candidates\": [\"b\", \"c\"]}\n", &task(Task::Dialog))
            .unwrap();
    assert_eq!(exchange(&last, 0).reply(), "c");
    said(&last, "the last candidate is the right one");
    // Of equal candidates the last, and white space makes no difference.
    let twice = r#"{"history": ["a"], "candidates": ["b", "c", " b"], "reply": "b "}"#;
    assert_eq!(exchange(&from("r.jsonl", twice, &task(Task::Dialog)).unwrap(), 0).right, 2);
}

#[test]
fn exchanges_that_cannot_be_learnt_are_named() {
    let dialog = task(Task::Dialog);
    let good = r#"{"history": ["a"], "reply": "b", "candidates": ["b", "c"]}"#;
    let mut seen = 0;
    for (row, parts) in [
        (
            r#"{"history": ["a"], "candidates": ["b", "c"]}"#,
            &["1 of 2 rows have no label in column \"reply\"", "rows 2"][..],
        ),
        (r#"{"history": ["a"], "reply": " ", "candidates": ["b", "c"]}"#, &["no label", "rows 2"]),
        (
            r#"{"history": ["a"], "reply": "d", "candidates": ["b", "c"]}"#,
            &["row 2", "the reply among its 2 candidates", "\"d\""],
        ),
        (
            r#"{"history": [], "reply": "b", "candidates": ["b", "c"]}"#,
            &["row 2", "a history of at least one turn"],
        ),
        (r#"{"reply": "b", "candidates": ["b", "c"]}"#, &["row 2", "a history of at least one turn"]),
        (r#"{"history": ["a", ""], "reply": "b"}"#, &["row 2", "with something in them"]),
        (
            r#"{"history": ["a"], "reply": "b", "candidates": ["b"]}"#,
            &["row 2", "at least two different candidates", "got one;", "drawn"],
        ),
        (
            r#"{"history": ["a"], "reply": "b", "candidates": ["b", "b "]}"#,
            &["row 2", "at least two different candidates", "2, all the same"],
        ),
        (
            r#"{"history": ["a"], "reply": "b", "candidates": ["b", " "]}"#,
            &["row 2", "candidates with something in them"],
        ),
        (r#"{"history": ["a"], "reply": "b", "candidates": "c"}"#, &["row 2", "candidates as a list"]),
        (r#"{"history": [["a"]], "reply": "b"}"#, &["row 2", "a history as a list of turns"]),
        (r#"{"history": ["a"], "persona": {"b": 1}, "reply": "b"}"#, &["row 2", "a persona as a list"]),
    ] {
        refused("r.jsonl", &format!("{good}\n{row}\n"), &dialog, parts);
        seen += 1;
    }
    assert_eq!(seen, 12);
    refused(
        "r.jsonl",
        "{\"history\": [\"a\"], \"x\": 1}\n",
        &dialog,
        &["reply", "none is called reply, response"],
    );
    refused("r.jsonl", "{\"turn\": [\"a\"], \"reply\": \"b\"}\n", &dialog, &["history", "--text"]);
    let same = "{\"history\": [\"a\"], \"reply\": \"b\"}\n{\"history\": [\"c\"], \"reply\": \"b\"}\n";
    refused("r.jsonl", same, &dialog, &["row 1", "at least two different replies", "\"b\" everywhere"]);
    let skip = ReadOptions { skip_unlabelled: true, ..task(Task::Dialog) };
    let dataset = from("r.jsonl", &format!("{good}\n{{\"history\": [\"a\"]}}\n"), &skip).unwrap();
    assert_eq!(dataset.len(), 1);
    said(&dataset, "1 rows left out: no label (rows 2)");

    let nested = |candidates: &str, history: &str| {
        format!(
            "{{\"train\": [{{\"personality\": [\"p\"], \"utterances\": [{{\"history\": [\"a\"], \"candidates\": [\"b\", \"c\"]}}, \
                 {{\"history\": {history}, \"candidates\": {candidates}}}]}}]}}"
        )
    };
    let check = |text: String, parts: &[&str]| refused("p.json", &text, &dialog, parts);
    check(
        nested("[\"b\"]", "[\"a\"]"),
        &["row 2 (conversation 1, exchange 2)", "at least two different candidates"],
    );
    check(nested("[]", "[\"a\"]"), &["1 of 2 rows have no label", "rows 2"]);
    check(nested("[\"b\", \"c\"]", "[]"), &["row 2 (", "a history of at least one turn"]);
    check(nested("1", "[]"), &["line 1", "PersonaChat's layout", "jsonl"]);
    let said_so = ReadOptions { format: Some(Format::PersonaChat), ..task(Task::Dialog) };
    refused("p.json", "{\"train\": []}", &said_so, &["there is no exchange in the file"]);
    refused("p.json", "{\"train\": [", &said_so, &["PersonaChat's layout"]);
    refused("a.csv", "history,reply\na,b\n", &dialog, &["csv files hold no labels for the task dialog"]);
}

/// Conversations of a few exchanges; the first two begin alike.
fn conversations(count: usize) -> String {
    // Letters that no other conversation has in this order.
    let word = |n: usize| -> String {
        let mut state = n as u64 + 1;
        let mut letter = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b'a' + (state >> 33) as u8 % 26)
        };
        (0..60).map(|_| letter()).collect()
    };
    let mut rows = String::new();
    for number in 0..count {
        let mut history: Vec<String> = vec!["hello , how are you ?".into()];
        for turn in 0..3 {
            let reply =
                if turn == 0 { "i am fine !".to_string() } else { format!("{} {turn}", word(number)) };
            let row = serde_json::json!({"persona": [word(number)], "history": history, "reply": reply});
            rows.push_str(&format!("{row}\n"));
            history.extend([reply, format!("and then {turn} {} ?", word(number + 1))]);
        }
    }
    rows
}

#[test]
fn a_conversation_stays_in_one_part() {
    let dataset = from("r.jsonl", &conversations(40), &task(Task::Dialog)).unwrap();
    let found = duplicates(&dataset, Some(&NearOptions::default()));
    assert_eq!(
        (found.groups().len(), found.exact, found.near),
        (40, 0, 0),
        "beginning alike is no repetition"
    );
    let parts = split(&dataset, &SplitOptions::default()).unwrap();
    let of = |part: &[usize]| -> Vec<usize> {
        let mut found: Vec<usize> = part.iter().map(|&at| exchange(&dataset, at).conversation).collect();
        found.dedup();
        found
    };
    let all = [of(&parts.train), of(&parts.dev), of(&parts.test)].concat();
    assert_eq!(all.len(), 40, "no conversation is in two parts");
    assert_eq!((parts.dev.len(), parts.test.len()), (12, 12));
    let lines = parts.report.lines().join("\n");
    assert!(
        lines.contains("each of 40 conversations") && !lines.contains("repeat an earlier one"),
        "{lines}"
    );
    // A conversation that stands twice is a repetition.
    let twice = conversations(12) + &conversations(1);
    let twice = from("r.jsonl", &twice, &task(Task::Dialog)).unwrap();
    let found = duplicates(&twice, None);
    assert_eq!((found.groups().len(), found.exact), (12, 1));
    let sets = |a: &Dataset, b: &Dataset| leaks(&[("train", a), ("test", b)], None).is_clean();
    let [train, test] = [&parts.train, &parts.test].map(|part| dataset.select(part));
    assert!(!sets(&train, &train));
    // The first exchanges are the same in all, and that is said.
    assert!(!sets(&train, &test));
    let error = Labels::new(&dataset, None).unwrap_err().to_string();
    assert!(error.contains("replies in conversations"), "{error}");
}
