//! Questions with answers, texts for texts, multiple choice: what is read and what is refused.

#![allow(clippy::unwrap_used)] // in helpers too: a test that cannot go on has failed

mod reads;

use std::path::PathBuf;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use reads::{from, refused, said, task};
use topwork_data::{
    Answer, Dataset, Format, Label, LabelMap, Labels, ReadOptions, SplitOptions, Task, few, leaks, read,
    read_from, split, tags,
};

const SQUAD: &str = r#"{"version": "v2.0", "data": [{"title": "T", "paragraphs": [
{"context": "Zoë met Bob in Paris.", "qas": [
 {"id": "q1", "question": "Who met Bob?", "answers": [{"text": "Zoë", "answer_start": 0}], "is_impossible": false},
 {"id": "q2", "question": "Where?", "answers": [{"text": "Paris", "answer_start": 15}, {"text": "in Paris", "answer_start": 12}]},
 {"id": "q3", "question": "Why?", "answers": [], "is_impossible": true, "plausible_answers": [{"text": "Bob", "answer_start": 8}]}]},
{"context": "Rain.", "qas": [{"id": 4, "question": " ", "answers": []}]}]}]}"#;

/// The same in one row for each question.
const FLAT: &str = r#"{"id": "q1", "context": "Zoë met Bob in Paris.", "question": "Who met Bob?", "answers": {"text": ["Zoë"], "answer_start": [0]}}
{"id": "q2", "context": "Zoë met Bob in Paris.", "question": "Where?", "answers": {"text": ["Paris", "in Paris"], "answer_start": [15, 12]}}
{"id": "q3", "context": "Zoë met Bob in Paris.", "question": "Why?", "answers": {"text": [], "answer_start": []}}
"#;

fn answers(dataset: &Dataset, at: usize) -> &[Answer] {
    let Some(Label::Answers(answers)) = &dataset.examples[at].label else {
        panic!("{:?}", dataset.examples[at])
    };
    answers
}

#[test]
fn answers_stand_in_their_passages() {
    let nested = from("train-v2.0.json", SQUAD, &task(Task::Answers)).unwrap();
    said(&nested, "1 rows left out: empty question (rows 4)");
    assert_eq!(nested.report.format, Format::Squad);
    let flat = from("a.jsonl", FLAT, &task(Task::Answers)).unwrap();
    for dataset in [&nested, &flat] {
        assert_eq!(dataset.len(), 3);
        said(dataset, "1 of 3 questions have no answer");
        let passage = dataset.examples[1].pair.as_deref().unwrap();
        assert_eq!(passage, "Zo\u{eb} met Bob in Paris.");
        let found: Vec<(usize, &str)> =
            answers(dataset, 1).iter().map(|a| (a.start, a.text.as_str())).collect();
        assert_eq!(found, [(16, "Paris"), (13, "in Paris")]);
        assert!(answers(dataset, 1).iter().all(|answer| passage[answer.start..].starts_with(&answer.text)));
        assert!(answers(dataset, 2).is_empty());
        assert_eq!(dataset.examples[2].id.as_deref(), Some("q3"));
    }
    assert_eq!(nested.examples, flat.examples);
    let list =
        FLAT.replace(r#"{"text": ["Zoë"], "answer_start": [0]}"#, r#"[{"text": "Zoë", "answer_start": 0}]"#);
    assert_eq!(from("a.jsonl", &list, &task(Task::Answers)).unwrap().examples, flat.examples);
    let bom = format!("\u{feff}{SQUAD}");
    assert_eq!(from("a.json", &bom, &task(Task::Answers)).unwrap().examples, nested.examples);
    refused("a.json", SQUAD, &task(Task::Class), &["squad files hold no labels for the task class", "csv"]);
    let texts = from("a.json", SQUAD, &ReadOptions { format: Some(Format::Squad), ..task(Task::Unlabelled) })
        .unwrap();
    assert_eq!((texts.len(), texts.has_labels()), (3, false));
}

#[test]
fn answers_that_do_not_stand_there_are_refused() {
    let options = task(Task::Answers);
    let change = |from: &str, to: &str| {
        assert!(SQUAD.contains(from), "{from:?}");
        SQUAD.replacen(from, to, 1)
    };
    let check = |text: String, parts: &[&str]| refused("a.json", &text, &options, parts);
    check(
        change("\"answer_start\": 0", "\"answer_start\": 1"),
        &["question q1", "\"Zoë\" at character 1", "\"oë \"", "it stands at character 0"],
    );
    check(
        change("\"Paris\", \"answer_start\": 15", "\"Rome\", \"answer_start\": 99"),
        &["question q2", "its end, at character 21", "it stands nowhere"],
    );
    check(change("\"id\": \"q2\"", "\"id\": \"q1\""), &["question q1", "different ids", "again in row 2"]);
    check(
        change("\"is_impossible\": false", "\"is_impossible\": true"),
        &["question q1", "no answer", "is_impossible"],
    );
    check(
        change("\"answers\": [], \"is_impossible\": true,", "\"answers\": [],"),
        &["question q3", "an answer, got none"],
    );
    check(
        change("\"answers\": [], \"is_impossible\": true,", ""),
        &["no label in column \"answers\"", "rows 3"],
    );
    check(change("\"qas\"", "\"questions\""), &["line ", "SQuAD's layout", "qas"]);
    check(change("}]}]}]}", "}]}]"), &["line 6", "SQuAD's layout"]);
    check(change("\"text\": \"Zoë\"", "\"text\": \"\""), &["question q1", "the answer \"\""]);
    refused(
        "a.jsonl",
        &FLAT.replace("[15, 12]", "[15]"),
        &options,
        &["question q2", "lists of text and answer_start"],
    );
    refused(
        "a.jsonl",
        &FLAT.replace("\"context\"", "\"ctx\""),
        &options,
        &["the pair", "context, passage", "--pair"],
    );
    refused(
        "a.csv",
        "question,context,answers\na,b,c\n",
        &options,
        &["csv files hold no labels for the task answers"],
    );
    let skip = ReadOptions { skip_unlabelled: true, ..options.clone() };
    let kept = from("a.jsonl", &FLAT.replace("{\"text\": [\"Zoë\"], \"answer_start\": [0]}", "null"), &skip)
        .unwrap();
    assert_eq!(kept.len(), 2);
    said(&kept, "1 rows left out: no label (rows 1)");
}

fn targets(dataset: &Dataset) -> Vec<(&str, &str, usize)> {
    let target = |e: &'_ topwork_data::Example| -> String {
        let Some(Label::Text(text)) = &e.label else { panic!("{e:?}") };
        text.clone()
    };
    dataset
        .examples
        .iter()
        .map(|e| (e.text.as_str(), Box::leak(target(e).into_boxed_str()) as &str, e.row))
        .collect()
}

#[test]
fn texts_go_with_texts_in_every_layout() {
    let options = task(Task::Texts);
    let check = |name: &str, text: &str, options: &ReadOptions, expected: &[(&str, &str, usize)]| {
        let dataset = from(name, text, options).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert_eq!(targets(&dataset), expected, "{text:?}");
        dataset
    };
    check(
        "a.tsv",
        "a tree\tein Baum\na house\tein Haus\n",
        &options,
        &[("a tree", "ein Baum", 1), ("a house", "ein Haus", 2)],
    );
    let two = [("a tree", "ein Baum", 2), ("a house", "ein Haus", 3)];
    check("a.csv", "source,target\na tree,ein Baum\na house,ein Haus\n", &options, &two);
    check("a.csv", "id,document,summary\n1,a tree,ein Baum\n2,a house,ein Haus\n", &options, &two);
    let said_both = ReadOptions { text: Some("en".into()), label: vec!["de".into()], ..options.clone() };
    check("a.csv", "de,fr,en\nein Baum,un arbre,a tree\nein Haus,une maison,a house\n", &said_both, &two);
    let json = "{\"id\": \"1\", \"translation\": {\"en\": \"a tree\", \"de\": \"ein Baum\"}}\n\
                {\"id\": \"2\", \"translation\": {\"de\": \"ein Haus\", \"en\": \"a house\"}}\n";
    let from_english = ReadOptions { text: Some("en".into()), ..options.clone() };
    let dataset =
        check("a.jsonl", json, &from_english, &[("a tree", "ein Baum", 1), ("a house", "ein Haus", 2)]);
    assert_eq!(dataset.report.label[0].name, "translation.de");
    let back = ReadOptions { text: Some("de".into()), ..options.clone() };
    check("a.jsonl", json, &back, &[("ein Baum", "a tree", 1), ("ein Haus", "a house", 2)]);
    refused("a.jsonl", json, &options, &["the languages are en, de", "--text and --label"]);
    refused(
        "a.jsonl",
        json,
        &ReadOptions { text: Some("fr".into()), ..options.clone() },
        &["\"fr\"", "en, de"],
    );
    refused("a.csv", "a,b,c\nx y,y z,z x\n", &options, &["--text and --label"]);
    refused("a.jsonl", "{\"source\": \"a\", \"target\": [\"b\"]}\n", &options, &["row 1", "text and a list"]);
    refused("a.txt", "a tree\na house\n", &options, &["pair_file"]);
    let dataset = check("a.tsv", "a\tb\n\tc\nd\t \n", &options, &[("a", "b", 1)]);
    said(&dataset, "1 rows left out: empty text (rows 2)");
    said(&dataset, "1 rows left out: empty text to be written (rows 3)");
}

#[test]
fn two_files_go_line_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let english = file("train.en", "\u{feff}a tree\r\n\r\na house\r\n");
    let options = |path: PathBuf| ReadOptions { pair_file: Some(path), ..task(Task::Texts) };
    let german = options(file("train.de", "ein Baum\nnichts\nein Haus"));
    let dataset = read(&english, &german).unwrap();
    assert_eq!(targets(&dataset), [("a tree", "ein Baum", 1), ("a house", "ein Haus", 3)]);
    said(&dataset, "1 rows left out: empty text (rows 2)");
    said(&dataset, "\"train.de\"");
    for (text, lines) in [("ein Baum\n", "1"), ("a\nb\nc\nd\ne\n", "5")] {
        let error = read(&english, &options(file("other.de", text))).unwrap_err().to_string();
        for part in ["train.en", "other.de", "as many lines", &format!("{lines} in "), "3 in "] {
            assert!(error.contains(part), "{part:?} is not in: {error}");
        }
    }
    // The same packed, by whatever name.
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut packed, b"ein Baum\nnichts\nein Haus\n").unwrap();
    std::fs::write(folder.path().join("train.de.gz"), packed.finish().unwrap()).unwrap();
    let again = read(&english, &options(folder.path().join("train.de.gz"))).unwrap();
    assert_eq!(targets(&again), targets(&dataset));
    let missing = read(&english, &options(folder.path().join("none.de"))).unwrap_err().to_string();
    assert!(missing.contains("none.de"), "{missing}");
}

fn choices(dataset: &Dataset) -> Vec<String> {
    let shown = |e: &topwork_data::Example| {
        let Some(Label::Choice { options, right }) = &e.label else { panic!("{e:?}") };
        format!("{}: {} -> {right}", e.text, options.join("/"))
    };
    dataset.examples.iter().map(shown).collect()
}

#[test]
fn choices_are_read_from_the_usual_collections() {
    let options = task(Task::Choice);
    let check = |name: &str, text: &str, expected: &[&str]| {
        let dataset = from(name, text, &options).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert_eq!(choices(&dataset), expected, "{text:?}");
        dataset
    };
    check(
        "swag.csv",
        "video-id,fold-ind,startphrase,sent1,sent2,gold-source,ending0,ending1,ending2,ending3,label\n\
         v,1,He sat. He,He sat.,He,gold,ran.,slept.,flew.,sank.,1\n\
         v,2,She sat. She,She sat.,She,gold,ran.,slept.,flew.,sank.,0\n",
        &[
            "He sat.: He ran./He slept./He flew./He sank. -> 1",
            "She sat.: She ran./She slept./She flew./She sank. -> 0",
        ],
    );
    check(
        "hellaswag.jsonl",
        "{\"ind\": 4, \"activity_label\": \"x\", \"ctx_a\": \"A.\", \"ctx_b\": \"the\", \"ctx\": \"A. the\", \
         \"endings\": [\"b\", \"c\"], \"label\": \"0\"}\n",
        &["A. the: b/c -> 0"],
    );
    check(
        "race.jsonl",
        "{\"article\": \"Long.\", \"question\": \"It is _ .\", \"options\": [\"a\", \"b\"], \"answer\": \"B\"}\n\
         {\"article\": \"Long.\", \"question\": \"Why?\", \"options\": [\"c\", \"d\"], \"answer\": \"A\"}\n",
        &["Long.: It is a ./It is b . -> 1", "Long.: Why? c/Why? d -> 0"],
    );
    let arc = "{\"id\": \"m1\", \"question\": \"Hot?\", \"choices\": {\"text\": [\"sun\", \"ice\"], \"label\": \
               [\"1\", \"2\"]}, \"answerKey\": \"1\"}\n{\"id\": \"m2\", \"question\": \"Cold?\", \"choices\": \
               {\"text\": [\"sun\", \"ice\"], \"label\": [\"A\", \"B\"]}, \"answerKey\": \"B\"}\n";
    let dataset = check("arc.jsonl", arc, &["Hot?: sun/ice -> 0", "Cold?: sun/ice -> 1"]);
    assert_eq!(dataset.examples[1].id.as_deref(), Some("m2"));
    check(
        "copa.jsonl",
        "{\"premise\": \"P.\", \"choice1\": \"a\", \"choice2\": \"b\", \"question\": \"cause\", \"label\": 1}\n\
         {\"premise\": \"Q.\", \"choice1\": \"a\", \"choice2\": \"b\", \"question\": \"effect\", \"label\": 0}\n",
        &["P.: because a/because b -> 1", "Q.: so a/so b -> 0"],
    );
    let dataset = check(
        "siqa.jsonl",
        "{\"context\": \"C.\", \"question\": \"Why?\", \"answerA\": \"a\", \"answerB\": \"b\", \"answerC\": \"c\", \
         \"label\": \"3\"}\n",
        &["C.: Why? a/Why? b/Why? c -> 2"],
    );
    said(&dataset, "numbered from 1");
    check("mmlu.csv", "question,A,B,C,D,answer\nq?,w,x,y,z,C\n", &["q?: w/x/y/z -> 2"]);
    check("a.csv", "question,choices,answer\nq?,\"[\"\"x\"\", \"\"y\"\"]\",y\n", &["q?: x/y -> 1"]);
    check("a.csv", "goal,sol1,sol2,label\ng,x,y,1\nh,x,y,0\n", &["g: x/y -> 1", "h: x/y -> 0"]);
}

#[test]
fn choices_without_a_right_one_are_refused() {
    let options = task(Task::Choice);
    let row = |choices: &str, answer: &str| {
        format!("{{\"question\": \"q?\", \"choices\": {choices}, \"answer\": {answer}}}\n")
    };
    let check = |text: String, parts: &[&str]| refused("a.jsonl", &text, &options, parts);
    check(row("[\"a\", \"b\"]", "0") + &row("[\"a\", \"b\"]", "2"), &["row 2", "from 0 to 1", "got 2"]);
    check(row("[\"a\", \"b\"]", "\"Z\""), &["row 1", "the letter or the text", "\"Z\""]);
    check(row("[\"a\", \"b\"]", "\"c d\""), &["one of 2 options"]);
    check(row("[\"a\"]", "0"), &["at least two options", "a list of 1"]);
    check(row("[\"a\", \"\"]", "0"), &["at least two options"]);
    check(row("[\"a\", [\"b\"]]", "0"), &["a list"]);
    check(row("[\"a\", \"b\"]", "-1"), &["no label", "rows 1"]);
    check(row("[\"a\", \"b\"]", "\"\""), &["no label", "rows 1"]);
    check("{\"question\": \"q?\", \"answer\": 1}\n".into(), &["options", "choices, options, endings"]);
    check("{\"question\": \"q?\", \"choices\": [\"a\", \"b\"]}\n".into(), &["--label", "answer"]);
    refused(
        "a.conll",
        "a b\n",
        &options,
        &["conll files hold no labels for the task choice", "csv, tsv, jsonl"],
    );
}

#[test]
fn sets_of_every_task_split_and_are_searched_for_leaks() {
    let word = |at: u8| String::from(char::from(b'a' + at % 26)).repeat(3 + usize::from(at / 26));
    let row = |at: u8| {
        let word = word(at);
        format!("{{\"question\": \"{word} of {word}?\", \"choices\": [\"x{word}\", \"y\"], \"answer\": 0}}\n")
    };
    let rows: String = (0..40).map(row).collect();
    let dataset = from("a.jsonl", &rows, &task(Task::Choice)).unwrap();
    let parts = split(&dataset, &SplitOptions { near: None, ..SplitOptions::default() }).unwrap();
    assert_eq!(parts.train.len() + parts.dev.len() + parts.test.len(), 40);
    assert!(parts.report.classes.len() <= 1, "{:?}", parts.report.classes);
    assert_eq!(few(&dataset, &parts.train, 5, 1).unwrap().len(), 5);
    let [train, test] = [&parts.train, &parts.test].map(|part| dataset.select(part));
    assert!(leaks(&[("train", &train), ("test", &test)], None).is_clean());
    assert!(!leaks(&[("train", &train), ("test", &train)], None).is_clean());
    let error = Labels::new(&dataset, None).unwrap_err().to_string();
    assert!(error.contains("a choice among texts"), "{error}");
    assert!(LabelMap::from_dataset(&dataset).is_err());
    // The same passage and question with other answers is no conflict of classes.
    let questions = from("a.jsonl", FLAT, &task(Task::Answers)).unwrap();
    let parts =
        split(&questions, &SplitOptions { dev: 0.0, test: 0.0, train: 1.0, ..SplitOptions::default() })
            .unwrap();
    assert_eq!(parts.report.conflicts, 0);
}

/// What a label points to is there.
fn sound(example: &topwork_data::Example) -> bool {
    let within = |start: usize, end: usize| example.text.get(start..end).is_some_and(|word| !word.is_empty());
    match &example.label {
        Some(Label::Words(words)) => words.iter().all(|word| within(word.start, word.end)),
        Some(Label::Tree(nodes)) => nodes.iter().all(|n| within(n.start, n.end) && n.head <= nodes.len()),
        Some(Label::Answers(answers)) => answers.iter().all(|answer| {
            example.pair.as_deref().unwrap_or_default()[answer.start..].starts_with(&answer.text)
        }),
        Some(Label::Choice { options, right }) => *right < options.len(),
        Some(Label::Related(related)) => {
            let second = example.pair.as_deref().unwrap_or(&example.text);
            let there = |text: &str, span: &std::ops::Range<usize>| text.get(span.clone()).is_some();
            there(&example.text, &related.spans[0]) && there(second, &related.spans[1])
        }
        Some(Label::Exchange(exchange)) => {
            exchange.right < exchange.candidates.len() && exchange.history.last() == Some(&example.text)
        }
        _ => true,
    }
}

/// Pieces that come often enough to make whole records, and some that break them.
const PIECES: &[&str] = &[
    "\n",
    "\n\n",
    "\t",
    " ",
    "\r\n",
    "a",
    "\u{e9}",
    "\u{1f642}",
    "B-X",
    "I-X",
    "O",
    "#",
    "# text = a",
    "-DOCSTART-",
    "1",
    "2",
    "1-2",
    "0",
    "_",
    "1\ta\t_\tX\t_\t_\t0\troot\t_\t_\n",
    "2\tb\t_\tX\t_\t_\t1\tdep\t_\tSpaceAfter=No\n",
    "{\"text\": \"a \u{e9} b\", \"entities\": [[",
    ", ",
    "\"X\"]]}\n",
    "{\"tokens\": [\"a\", \"\"], \"tags\": [\"O\", 1]}\n",
    "{\"question\": \"a\", \"context\": \"\u{e9}a\", \"answers\": {\"text\": [\"a\"], \"answer_start\": [",
    "]}}\n",
    "{\"question\": \"a\", \"choices\": [\"a\", \"b\"], \"answer\": ",
    "}\n",
    "{\"translation\": {\"en\": \"a\", \"de\": \"b\"}}\n",
    "{\"data\": [{\"paragraphs\": [{\"context\": \"\u{e9}a\", \"qas\": [{\"id\": 1, \"question\": \"a\", \"answers\": [{\"text\": \"a\", \"answer_start\": ",
    "}]}]}]}]}",
    "{\"question\": \"a\", \"context\": \"\u{e9}a\", \"answers\": {\"text\": [\"a\"], \"answer_start\": [1]}}\n",
    "{\"question\": \"a\", \"choices\": [\"a\", \"b\"], \"answer\": 1}\n",
    "{\"text\": \"a \u{e9} b\", \"span1\": [0, 1], \"span2\": [2, 3], \"label\": \"x\"}\n",
    "{\"persona\": [\"a\"], \"history\": [\"\u{e9}\", \"b\"], \"reply\": \"c\", \"candidates\": [\"c\", \"d\"]}\n",
    "{\"train\": [{\"personality\": [\"a\"], \"utterances\": [{\"history\": [\"b\"], \"candidates\": [\"c\", \"",
    "\u{e9}\"]}]}]}",
];

#[test]
fn whatever_a_file_holds_is_read_or_refused() {
    let names = ["a.conll", "a.conllu", "a.jsonl", "a.json", "a.tsv", "a.csv", "a.txt", "a"];
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let pieces =
        prop::collection::vec(prop::sample::select(PIECES), 0..12).prop_map(|pieces| pieces.concat());
    let mut good = [0; Task::ALL.len()];
    for at in 0..12_000 {
        let text = pieces.new_tree(&mut runner).unwrap().current();
        let name = names[at % names.len()];
        for ((_, task_of), good) in Task::ALL.into_iter().zip(&mut good) {
            match read_from(name, text.as_bytes(), &task(task_of)) {
                Ok(mut dataset) => {
                    assert!(!dataset.is_empty() && dataset.examples.iter().all(sound), "{text:?}");
                    tags::convert(&mut dataset, None);
                    assert!(dataset.examples.iter().all(sound));
                    *good += 1;
                }
                Err(error) => assert!(error.to_string().contains(name), "{error}"),
            }
        }
    }
    assert!(good.iter().all(|good| *good >= 3), "{good:?}");
}
