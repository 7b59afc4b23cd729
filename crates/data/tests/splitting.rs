//! Splits keep classes in proportion and duplicates together, and depend on nothing but the seed.

#![allow(clippy::unwrap_used)] // in helpers too: a test that cannot go on has failed

use std::collections::HashSet;

use topwork_data::{
    ChosenColumn, Dataset, Error, Example, Format, Label, NearOptions, ReadReport, SplitOptions, few, leaks,
    split,
};
use topwork_kernels::rng::Stream;

fn dataset(examples: Vec<(String, Option<Label>)>) -> Dataset {
    let column = |name: &str| ChosenColumn { name: name.into(), why: "made".into() };
    let report = ReadReport {
        path: "made.csv".into(),
        format: Format::Csv,
        text: column("text"),
        pair: None,
        label: vec![column("label")],
        rows_read: examples.len(),
        skipped: Vec::new(),
        notes: Vec::new(),
    };
    let row = |(at, (text, label)): (usize, (String, Option<Label>))| Example {
        text,
        pair: None,
        label,
        row: at + 2,
        id: None,
    };
    Dataset::new(examples.into_iter().enumerate().map(row).collect(), report)
}

fn words(stream: &mut Stream, count: u64) -> String {
    let word = |stream: &mut Stream| -> String {
        (0..3 + stream.below(6)).map(|_| char::from(b'a' + stream.below(26) as u8)).collect()
    };
    (0..count).map(|_| word(stream)).collect::<Vec<_>>().join(" ")
}

/// `count` texts, an eighth spam, a fifth of them repeats of earlier ones.
fn mails(count: usize) -> Dataset {
    let mut stream = Stream(11);
    let mut examples: Vec<(String, Option<Label>)> = Vec::new();
    for at in 0..count {
        if at > 10 && stream.below(5) == 0 {
            let (text, label) = examples[stream.below(at as u64) as usize].clone();
            let text = if stream.below(2) == 0 { text.to_uppercase() } else { format!("{text}!") };
            examples.push((text, label));
        } else {
            let class = if stream.below(8) == 0 { "spam" } else { "ham" };
            examples.push((words(&mut stream, 15), Some(Label::One(class.into()))));
        }
    }
    dataset(examples)
}

fn count(dataset: &Dataset, part: &[usize], class: &str) -> usize {
    part.iter().filter(|&&at| dataset.examples[at].label == Some(Label::One(class.into()))).count()
}

#[test]
fn every_part_has_its_share_of_every_class() {
    let dataset = mails(2000);
    let found = split(&dataset, &SplitOptions::default()).unwrap();
    let mut all: Vec<usize> = [&found.train[..], &found.dev, &found.test].concat();
    all.sort_unstable();
    assert_eq!(all, (0..2000).collect::<Vec<_>>());
    for class in ["ham", "spam"] {
        let whole = count(&dataset, &all, class) as f64;
        for (part, share) in [(&found.train, 0.8), (&found.dev, 0.1), (&found.test, 0.1)] {
            let got = count(&dataset, part, class) as f64;
            assert!((got - share * whole).abs() <= 1.5, "{class}: {got} of {whole} for {share}");
        }
    }
    assert!(found.report.exact + found.report.near > 300, "{:?}", found.report);
    assert_eq!(found.report.conflicts, 0);
    let lines = found.report.lines().join("\n");
    assert!(lines.contains("ham:") && lines.contains("repeat an earlier one"), "{lines}");
}

#[test]
fn every_part_is_as_repetitive_as_the_whole() {
    let dataset = mails(4000);
    let repeats = |texts: &[usize]| {
        let fold = |at: &usize| dataset.examples[*at].text.to_lowercase().replace('!', "");
        let distinct: HashSet<String> = texts.iter().map(fold).collect();
        (texts.len() - distinct.len()) as f64 / texts.len() as f64
    };
    let whole = repeats(&(0..4000).collect::<Vec<_>>());
    assert!(whole > 0.15, "{whole}");
    let options = SplitOptions { train: 0.6, dev: 0.2, test: 0.2, ..SplitOptions::default() };
    // Had all groups gone to one part, the others would be near zero.
    let (mut dev, mut test) = (0.0, 0.0);
    for seed in 0..4 {
        let found = split(&dataset, &SplitOptions { seed, ..options }).unwrap();
        dev += repeats(&found.dev) / 4.0;
        test += repeats(&found.test) / 4.0;
    }
    assert!((dev - whole).abs() < 0.05 && (test - whole).abs() < 0.05, "{whole} {dev} {test}");
}

#[test]
fn duplicates_stay_on_one_side_and_seeds_differ() {
    let dataset = mails(800);
    let options = SplitOptions { train: 0.5, dev: 0.2, test: 0.3, ..SplitOptions::default() };
    let near = NearOptions::default();
    let mut splits = HashSet::new();
    for seed in 0..4 {
        let found = split(&dataset, &SplitOptions { seed, ..options }).unwrap();
        assert_eq!(found, split(&dataset, &SplitOptions { seed, ..options }).unwrap());
        let [train, dev, test] = [&found.train, &found.dev, &found.test].map(|part| dataset.select(part));
        let report = leaks(&[("train", &train), ("dev", &dev), ("test", &test)], Some(&near));
        assert!(report.is_clean(), "{:?}", report.lines());
        splits.insert(found.test);
    }
    assert_eq!(splits.len(), 4);
    // Without looking for them they are torn apart, which the report on given files shows.
    let half = leaks(
        &[
            ("train", &dataset.select(&(0..400).collect::<Vec<_>>())),
            ("test", &dataset.select(&(400..800).collect::<Vec<_>>())),
        ],
        Some(&near),
    );
    assert!(half.leaks[0].exact > 10 && half.leaks[0].near > 10, "{half:?}");
    assert!(half.lines()[0].contains("test texts stand in train too"), "{:?}", half.lines());
    assert!(half.lines()[1].contains("made.csv row"), "{:?}", half.lines());
}

#[test]
fn one_thread_and_many_give_the_same_split() {
    let dataset = mails(600);
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| split(&dataset, &SplitOptions::default()).unwrap())
    };
    assert_eq!(with(1), with(3));
}

#[test]
fn conflicting_labels_are_told() {
    let label = |name: &str| Some(Label::One(name.into()));
    let mut examples: Vec<(String, Option<Label>)> =
        (0..40).map(|i| (words(&mut Stream(i), 12), label(if i % 2 == 0 { "a" } else { "b" }))).collect();
    examples.push((examples[0].0.clone(), label("b")));
    let found = split(&dataset(examples), &SplitOptions::default()).unwrap();
    assert_eq!((found.report.groups, found.report.conflicts), (1, 1));
    assert_eq!(found.report.conflict_rows, [[2, 42]]);
}

#[test]
fn a_part_that_repeats_leave_too_small_is_told() {
    let text = |i: u64| if i < 95 { "the very same words".to_string() } else { words(&mut Stream(i), 12) };
    let data = dataset((0..100).map(|i| (text(i), None)).collect());
    let found = split(&data, &SplitOptions::default()).unwrap();
    let notes = found.report.lines().join("\n");
    assert!(notes.contains("of 10: the largest group of texts that repeat each other has 95"), "{notes}");
}

#[test]
fn scores_and_lists_are_stratified_too() {
    let scores =
        dataset((0..200).map(|i| (words(&mut Stream(i), 12), Some(Label::Score(i as f32)))).collect());
    let found = split(&scores, &SplitOptions::default()).unwrap();
    let mean = |part: &[usize]| part.iter().sum::<usize>() as f64 / part.len() as f64;
    assert_eq!(found.test.len(), 20);
    assert!((mean(&found.test) - 99.5).abs() < 12.0, "{}", mean(&found.test));
    let many =
        |i: u64| Label::Many((0..3).filter(|bit| i >> bit & 1 == 1).map(|bit| bit.to_string()).collect());
    let lists = dataset((0..400).map(|i| (words(&mut Stream(i), 12), Some(many(i % 8)))).collect());
    let found = split(&lists, &SplitOptions::default()).unwrap();
    for (name, [train, dev, test]) in &found.report.classes {
        assert!(
            (train.abs_diff(160) <= 2) && dev.abs_diff(20) <= 2 && test.abs_diff(20) <= 2,
            "{name} {train} {dev} {test}"
        );
    }
}

#[test]
fn repeated_texts_with_scores_reach_every_part() {
    // Six repeats are more than a tenth of a tenth of the set.
    let score = |i: u64| Some(Label::Score((i / 6) as f32));
    let scores = dataset((0..120).map(|i| (words(&mut Stream(i / 6), 12), score(i))).collect());
    for seed in 0..20 {
        let found = split(&scores, &SplitOptions { seed, ..SplitOptions::default() }).unwrap();
        assert_eq!([found.train.len(), found.dev.len(), found.test.len()], [96, 12, 12]);
    }
}

#[test]
fn many_small_classes_do_not_all_round_the_same_way() {
    let class = |i: u64| Some(Label::One(format!("class {}", i % 77)));
    let data = dataset((0..77 * 13).map(|i| (words(&mut Stream(i), 12), class(i))).collect());
    let found = split(&data, &SplitOptions::default()).unwrap();
    assert!(
        found.test.len().abs_diff(100) <= 2 && found.dev.len().abs_diff(100) <= 2,
        "{}",
        found.test.len()
    );
    assert!(
        found.report.classes.iter().all(|(_, [train, dev, test])| *train >= 10 && *dev >= 1 && *test >= 1)
    );
    let rare = dataset(
        (0..30).map(|i| (words(&mut Stream(i), 12), Some(Label::One(i.min(5).to_string())))).collect(),
    );
    let found = split(&rare, &SplitOptions::default()).unwrap();
    assert!(found.report.classes.iter().all(|(_, [train, ..])| *train >= 1), "{:?}", found.report);
    assert!(found.report.notes[0].contains("5 classes have too few texts"), "{:?}", found.report.notes);
}

#[test]
fn shares_that_cannot_be_are_refused() {
    let data = mails(30);
    for (train, dev, test) in [(0.8, 0.1, 0.2), (1.1, -0.1, 0.0), (0.0, 0.5, 0.5), (f64::NAN, 0.5, 0.5)] {
        let options = SplitOptions { train, dev, test, ..SplitOptions::default() };
        assert!(matches!(split(&data, &options), Err(Error::Setting { .. })), "{train} {dev} {test}");
    }
    let two = data.select(&[0, 1]);
    assert!(matches!(split(&two, &SplitOptions::default()), Err(Error::Split { .. })));
    let all = SplitOptions { train: 1.0, dev: 0.0, test: 0.0, ..SplitOptions::default() };
    assert_eq!(split(&two, &all).unwrap().train, [0, 1]);
}

#[test]
fn a_small_sample_is_part_of_a_larger_one() {
    let data = mails(1000);
    let indices: Vec<usize> = (0..1000).step_by(2).collect();
    let large = few(&data, &indices, 64, 5).unwrap();
    for size in [2, 16, 33] {
        assert_eq!(few(&data, &indices, size, 5).unwrap(), large[..size]);
    }
    let spam = count(&data, &large, "spam") as f64;
    let share = count(&data, &indices, "spam") as f64 / indices.len() as f64;
    assert!((spam - 64.0 * share).abs() <= 1.0, "{spam} of 64, share {share}");
    assert_eq!(count(&data, &large[..2], "spam"), 1, "every class is there from the start");
    assert_eq!(large.iter().collect::<HashSet<_>>().len(), 64);
    assert!(large.iter().all(|at| at % 2 == 0));
    assert_ne!(few(&data, &indices, 64, 6).unwrap(), large);
    assert!(few(&data, &indices, 501, 5).is_err());
}
