//! Sessions, files and choices on small numbers.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use super::choose::{Choice, Gradients, Points};
use super::simulate::{Material, Plan, run};
use super::*;

/// Texts on two circles: class 0 around (1, 0), class 1 around (0, 1), the lower rows the clearer.
fn features(texts: usize) -> Features {
    let point = |at: usize| {
        let angle = 0.7 * (at / 2) as f32 / texts as f32 * 2.0;
        let angle = if at.is_multiple_of(2) { angle } else { std::f32::consts::FRAC_PI_2 - angle };
        [angle.cos(), angle.sin()]
    };
    Features { width: 2, values: (0..texts).flat_map(point).collect() }
}

fn texts(count: usize) -> Vec<PoolText> {
    let text = |at: usize| PoolText { text: format!("text {at}"), pair: None, row: at + 1 };
    (0..count).map(text).collect()
}

fn settings(strategy: Strategy) -> Settings {
    Settings { classes: vec!["a".into(), "b".into()], strategy, batch: 4, seed: 3 }
}

fn held(count: usize) -> Held {
    let labels = (0..count).map(|at| if at % 2 == 0 { "a" } else { "b" }.to_string());
    Held { features: features(count), labels: labels.collect() }
}

fn open(path: &Path, strategy: Strategy, count: usize) -> Session {
    let (file, records, _) = LabelFile::open(path).unwrap();
    Session::open(settings(strategy), texts(count), features(count), Some(held(10)), (file, records))
        .unwrap()
        .0
}

/// The row asked for, from 0; answered as the features are made.
fn answer(session: &mut Session) -> (usize, Option<Round>) {
    let row = session.question().unwrap().unwrap().text.row - 1;
    (row, session.answer(row % 2).unwrap())
}

#[test]
fn doubt_is_what_each_strategy_calls_it() {
    let features = features(4);
    let open = [0, 1, 2, 3];
    // Least sure of its best; two closest; most spread.
    let probabilities = [0.48, 0.48, 0.04, 0.5, 0.25, 0.25, 0.98, 0.01, 0.01, 0.47, 0.27, 0.26];
    let choice = Choice {
        features: &features,
        pool: 4,
        open: &open,
        probabilities: Some(&probabilities),
        round: 2,
        seed: 1,
    };
    assert_eq!(choice.choose(Strategy::Uncertainty, 4), [3, 0, 1, 2]);
    assert_eq!(choice.choose(Strategy::Margin, 4), [0, 3, 1, 2]);
    assert_eq!(choice.choose(Strategy::Entropy, 4), [3, 1, 0, 2]);
    assert_eq!(choice.choose(Strategy::Margin, 9).len(), 4, "no more than there are");
    for (strategy, name) in Strategy::ALL {
        assert_eq!((strategy.name(), Strategy::parse(name).unwrap()), (name, strategy));
    }
    assert!(Strategy::parse("margins").unwrap_err().to_string().contains("did you mean \"margin\""));
}

#[test]
fn diverse_texts_are_far_from_each_other() {
    // Three bundles of texts that are all but the same, the last of them far smaller.
    let bundle = |at: usize| match at {
        0..50 => [1.0, 0.001 * at as f32, 0.0],
        50..98 => [0.0, 1.0, 0.001 * at as f32],
        _ => [0.0, 0.0, -1.0 - 0.001 * at as f32],
    };
    let features = Features { width: 3, values: (0..100).flat_map(bundle).collect() };
    let open: Vec<usize> = (0..100).collect();
    let which = |row: &usize| if *row < 50 { 0 } else { 1 + usize::from(*row >= 98) };
    let mut found = 0;
    for seed in 0..50 {
        let choice =
            Choice { features: &features, pool: 100, open: &open, probabilities: None, round: 1, seed };
        let chosen = choice.choose(Strategy::Uncertainty, 3);
        assert_eq!(chosen, choice.choose(Strategy::Uncertainty, 3), "the same seed, the same texts");
        let mut bundles: Vec<usize> = chosen.iter().map(which).collect();
        bundles.sort_unstable();
        bundles.dedup();
        found += usize::from(bundles.len() == 3);
    }
    // By chance three of a hundred are of three bundles in about six of a hundred draws.
    assert!(found >= 48, "{found} of 50");
}

#[test]
fn gradients_are_large_where_the_model_is_unsure() {
    let features = features(60);
    let open: Vec<usize> = (0..60).collect();
    // Sure of all but two texts that are unlike each other.
    let of = |at: usize| if at == 10 || at == 31 { [0.5, 0.5] } else { [0.999, 0.001] };
    let probabilities: Vec<f32> = (0..60).flat_map(of).collect();
    for seed in 0..20 {
        let choice = Choice {
            features: &features,
            pool: 60,
            open: &open,
            probabilities: Some(&probabilities),
            round: 2,
            seed,
        };
        let chosen = choice.choose(Strategy::Diverse, 3);
        // One of the many that are nearly nothing stands for all of them, which are all at one point.
        assert!(chosen.len() == 3 && [10, 31].contains(&chosen[0]), "{chosen:?}");
        assert!(chosen.contains(&10) && chosen.contains(&31), "{chosen:?}");
    }
}

#[test]
fn distances_of_gradients_are_those_of_outer_products() {
    let values = vec![1.0, 2.0, -0.5, 0.25, 3.0, -1.0, 0.1, 0.2];
    let features = Features { width: 2, values };
    let probabilities = [0.6, 0.3, 0.1, 0.2, 0.5, 0.3, 0.3, 0.3, 0.4];
    let open = [0, 2, 3];
    let choice = Choice {
        features: &features,
        pool: 4,
        open: &open,
        probabilities: Some(&probabilities),
        round: 2,
        seed: 0,
    };
    let gradients = Gradients::new(&choice, &probabilities, 3);
    let product = |at: usize| -> Vec<f64> {
        let of = &probabilities[3 * at..3 * at + 3];
        let guess = [0, 1, 2][crate::scoring::first_greatest(of)];
        let off = (0..3).map(|class| f64::from(of[class]) - f64::from(u8::from(class == guess)));
        off.flat_map(|off| features.row(open[at]).iter().map(move |x| off * f64::from(*x))).collect()
    };
    for (a, b) in [(0, 1), (1, 2), (0, 2), (1, 1)] {
        let expected: f64 = product(a).iter().zip(product(b)).map(|(a, b)| (a - b).powi(2)).sum();
        assert!((gradients.apart(a, b) - expected).abs() < 1e-6, "{a} {b}");
    }
}

#[test]
fn random_order_is_that_of_the_seed_whatever_is_answered() {
    let features = features(30);
    let all: Vec<usize> = (0..30).collect();
    let choose = |open: &[usize], count, seed| {
        Choice { features: &features, pool: 30, open, probabilities: None, round: 1, seed }
            .choose(Strategy::Random, count)
    };
    let order = choose(&all, 30, 5);
    assert_ne!(order, choose(&all, 30, 6));
    let left: Vec<usize> = all.iter().copied().filter(|row| !order[..7].contains(row)).collect();
    assert_eq!(choose(&left, 30, 5), order[7..]);
}

#[test]
fn a_session_goes_on_as_if_it_had_not_been_left() {
    for (strategy, _) in Strategy::ALL {
        let folder = tempfile::tempdir().unwrap();
        let whole = folder.path().join("whole.jsonl");
        let mut session = open(&whole, strategy, 40);
        let (mut rows, mut rounds) = (Vec::new(), Vec::new());
        for _ in 0..18 {
            let (row, round) = answer(&mut session);
            rows.push(row);
            rounds.extend(round);
        }
        assert_eq!(
            rounds.iter().map(|round| (round.number, round.labels)).collect::<Vec<_>>(),
            [(1, 4), (2, 8), (3, 12), (4, 16)]
        );
        assert!(
            rounds.iter().skip(1).all(|round| round.scores.is_some_and(|s| s.accuracy > 0.5)),
            "{rounds:?}"
        );
        let curve = session.curve().to_vec();
        drop(session);
        // Left and opened again after every answer.
        let broken = folder.path().join("broken.jsonl");
        for row in &rows {
            let mut session = open(&broken, strategy, 40);
            assert_eq!(answer(&mut session).0, *row, "{strategy:?}");
        }
        assert_eq!(std::fs::read(&whole).unwrap(), std::fs::read(&broken).unwrap());
        assert_eq!(open(&broken, strategy, 40).curve(), curve);
        let mut unique = rows.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), rows.len(), "no text is asked for twice");
    }
}

#[test]
fn what_is_taken_back_is_asked_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("labels.jsonl");
    let mut session = open(&path, Strategy::Margin, 40);
    assert!(!session.undo().unwrap(), "nothing was done");
    let mut rows = Vec::new();
    for _ in 0..9 {
        rows.push(answer(&mut session).0);
    }
    let text = std::fs::read(&path).unwrap();
    let tenth = answer(&mut session).0;
    assert!(session.undo().unwrap());
    assert_eq!(std::fs::read(&path).unwrap(), text);
    assert_eq!(answer(&mut session).0, tenth);
    // Back over the ends of two rounds, and over what an earlier session answered.
    drop(session);
    let mut session = open(&path, Strategy::Margin, 40);
    for _ in 0..7 {
        assert!(session.undo().unwrap());
    }
    assert_eq!((session.labels().len(), session.curve().len()), (3, 0));
    for row in &rows[3..] {
        assert_eq!(answer(&mut session).0, *row);
    }
    assert_eq!(answer(&mut session).0, tenth);
    // What is passed over is not asked for again while others are left, and taking it back asks it again.
    let over = session.question().unwrap().unwrap().text.row - 1;
    session.skip().unwrap();
    assert_ne!(session.question().unwrap().unwrap().text.row - 1, over);
    assert!(session.undo().unwrap());
    assert_eq!(session.question().unwrap().unwrap().text.row - 1, over);
    assert_eq!(session.labels().len(), 10);
    session.skip().unwrap();
    let mut seen = Vec::new();
    for _ in 0..29 {
        seen.push(answer(&mut session).0);
    }
    assert!(!seen.contains(&over) && session.left() == 1);
    assert_eq!(answer(&mut session).0, over, "in the end it is all that is left");
    assert_eq!(session.question().unwrap(), None);
    assert!(session.answer(0).is_err() && session.skip().is_err());
    assert!(session.undo().unwrap());
    assert_eq!(session.question().unwrap().unwrap().text.row - 1, over);
}

#[test]
fn classes_come_up_on_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("labels.jsonl");
    let mut session = open(&path, Strategy::Entropy, 40);
    for _ in 0..6 {
        answer(&mut session);
    }
    assert_eq!(session.add_class(" b ").unwrap(), 1, "it is there already");
    assert!(session.add_class(" ").is_err() && session.answer(7).is_err());
    assert_eq!(session.add_class("neither").unwrap(), 2);
    // The model does not know it yet, and is measured all the same.
    let guesses = session.question().unwrap().unwrap().guesses;
    assert_eq!((guesses.len(), guesses[2]), (3, (2, 0.0)));
    session.answer(2).unwrap();
    let round = answer(&mut session).1.unwrap();
    assert!(round.scores.is_some() && round.guessed.1 == 4);
    assert!(
        session.question().unwrap().unwrap().guesses.iter().any(|(class, share)| *class == 2 && *share > 0.0)
    );
    drop(session);
    // It is in the file, and so a class again.
    let session = open(&path, Strategy::Entropy, 40);
    assert_eq!(session.classes(), ["a", "b", "neither"]);
}

#[test]
fn labels_of_other_texts_are_learnt_from() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("labels.jsonl");
    let lines = "{\"text\": \"elsewhere 1\", \"label\": \"a\"}\n{\"label\": \"b\", \"text\": \"elsewhere 2\"}\n\
                 {\"text\": \"text 5\", \"label\": \"b\"}\n";
    std::fs::write(&path, lines).unwrap();
    let (file, records, notes) = LabelFile::open(&path).unwrap();
    assert_eq!((records.len(), notes.len()), (3, 0));
    let pool = texts(20);
    assert_eq!(Session::outside(&pool, &records), [("elsewhere 1", None), ("elsewhere 2", None)]);
    let mut all = features(20);
    all.values.extend([1.0, 0.0, 0.0, 1.0]);
    let few = features(20);
    let error =
        Session::open(settings(Strategy::Margin), texts(20), few, None, (file, records)).err().unwrap();
    assert!(error.to_string().contains("22 texts expected"), "{error}");
    let (file, records, _) = LabelFile::open(&path).unwrap();
    let (mut session, notes) =
        Session::open(settings(Strategy::Margin), texts(20), all, None, (file, records)).unwrap();
    assert!(notes[0].contains("3 labels, 1 of them"), "{notes:?}");
    // There is a model from the first question on.
    assert_eq!(session.question().unwrap().unwrap().guesses.len(), 2);
    let mut asked = Vec::new();
    while session.question().unwrap().is_some() {
        asked.push(answer(&mut session).0);
    }
    assert_eq!(asked.len(), 19);
    assert!(!asked.contains(&5));
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with(lines) && text.lines().count() == 22);
}

#[test]
fn a_file_survives_whatever_happened_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/labels.jsonl");
    let record = |text: &str| Record {
        text: text.into(),
        pair: Some("b\n\"c".into()),
        label: "x".into(),
        round: 1,
        answer: 2,
        row: 3,
    };
    let (mut file, records, _) = LabelFile::open(&path).unwrap();
    assert!(records.is_empty());
    file.append(&record("one")).unwrap();
    file.append(&record("two, which is longer")).unwrap();
    let error = LabelFile::open(&path).err().unwrap().to_string();
    assert!(error.contains("open in another session"), "{error}");
    drop(file);
    let whole = std::fs::read(&path).unwrap();
    // Killed at any byte of the last line.
    let first = whole.iter().position(|&byte| byte == b'\n').unwrap() + 1;
    for end in first..whole.len() {
        std::fs::write(&path, &whole[..end]).unwrap();
        let (mut file, records, notes) = LabelFile::open(&path).unwrap();
        // All of it but the end of the line is a label.
        let complete = end == whole.len() - 1;
        assert_eq!(records.len(), 1 + usize::from(complete), "{end}");
        assert_eq!(notes.len(), usize::from(!complete && end > first), "{end}: {notes:?}");
        if !complete {
            // Shorter than what was broken off, of which nothing may be left behind it.
            file.append(&record("2")).unwrap();
        }
        drop(file);
        let (_, records, notes) = LabelFile::open(&path).unwrap();
        let last = if complete { "two, which is longer" } else { "2" };
        assert_eq!((records.len(), notes.len(), records[1].text.as_str()), (2, 0, last), "{end}");
    }
    for (broken, part) in
        [("{\"text\": 1}\n{}\n", "line 1"), ("\n{\"text\": \"a\", \"label\": \"b\"}\nno\n", "line 3")]
    {
        std::fs::write(&path, broken).unwrap();
        let error = LabelFile::open(&path).err().unwrap().to_string();
        assert!(error.contains(part) && error.contains("no label"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), broken, "left as it was");
    }
}

#[test]
fn a_text_is_asked_for_once() {
    let example = |(row, (text, pair)): (usize, (&str, Option<&str>))| topwork_data::Example {
        text: text.into(),
        pair: pair.map(str::to_string),
        label: None,
        row: row + 1,
        id: None,
    };
    let rows = [("a", None), ("b", None), ("a", None), ("a", Some("b")), ("b", None)];
    let (texts, again) =
        pool(&topwork_data::Dataset::given(rows.into_iter().enumerate().map(example).collect()));
    assert_eq!(texts.iter().map(|text| text.row).collect::<Vec<_>>(), [1, 2, 4]);
    assert_eq!(again, 2);
}

#[test]
fn what_cannot_be_asked_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("labels.jsonl");
    let refuse = |settings: Settings, count: usize, held: Option<Held>, part: &str| {
        let (file, records, _) = LabelFile::open(&path).unwrap();
        let opened = Session::open(settings, texts(count), features(count), held, (file, records));
        let error = opened.err().unwrap().to_string();
        assert!(error.contains(part), "{error}");
    };
    refuse(settings(Strategy::Margin), 0, None, "no text to label");
    refuse(Settings { classes: Vec::new(), ..settings(Strategy::Margin) }, 4, None, "--classes");
    refuse(Settings { classes: vec![" ".into()], ..settings(Strategy::Margin) }, 4, None, "no name");
    let mut other = held(4);
    other.labels[3] = "bb".into();
    refuse(settings(Strategy::Margin), 4, Some(other), "did you mean \"b\"");
}

/// Two classes of which the second is rare, and its texts are all at one place.
fn rare() -> Material {
    let count = 300;
    let is_rare = |at: usize| at.is_multiple_of(25);
    let point = |at: usize| {
        let angle = if is_rare(at) { 1.35 } else { 1.2 * (at as f32 * 0.618).fract() };
        [angle.cos(), angle.sin()]
    };
    let features = Features { width: 2, values: (0..count).flat_map(point).collect() };
    let label = |at: usize| u32::from(is_rare(at));
    let classes = vec!["a".to_string(), "b".to_string()];
    let labels: Vec<u32> = (0..count).map(label).collect();
    let held = Held {
        features: features.clone(),
        labels: labels.iter().map(|&label| classes[label as usize].clone()).collect(),
    };
    Material { classes, features, labels, held, identity: "made".into() }
}

#[test]
fn plays_go_on_where_they_were_stopped_and_say_what_was_gained() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan {
        strategies: Strategy::ALL.map(|(strategy, _)| strategy).to_vec(),
        seeds: (0..4).collect(),
        rounds: 6,
        batch: 5,
        folder: folder.path(),
    };
    let (mut material, stop) = (rare(), AtomicBool::new(false));
    let mut curves = 0;
    let results = run(&plan, &material, &stop, &mut |_| {
        curves += 1;
        Ok(())
    })
    .unwrap();
    assert_eq!((curves, results.curves.len(), results.interrupted), (20, 20, false));
    assert_eq!(results.labels(), [5, 10, 15, 20, 25, 30]);
    assert!(results.curves.iter().all(|curve| curve.points.last().unwrap().labels == 30));
    // Stopped, and what is finished is taken as it is.
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    let again = run(&plan, &material, &stop, &mut |_| Ok(())).unwrap();
    assert_eq!(again, results);
    std::fs::remove_file(folder.path().join("margin/seed-2.json")).unwrap();
    assert!(run(&plan, &material, &stop, &mut |_| Ok(())).unwrap().interrupted);
    stop.store(false, std::sync::atomic::Ordering::SeqCst);
    let again = run(&plan, &material, &stop, &mut |_| Ok(())).unwrap();
    let points = |results: &simulate::Results| -> Vec<Vec<simulate::Point>> {
        results.curves.iter().map(|curve| curve.points.clone()).collect()
    };
    assert_eq!(points(&again), points(&results), "the same seed, the same curve");
    // The rare class is found by asking for it.
    let at = |name: &str| {
        let of = results.curves.iter().filter(|curve| curve.strategy == name);
        let scores: Vec<f64> = of
            .map(|curve| curve.points.last().unwrap().scores.map_or(0.5, |scores| scores.macro_f1))
            .collect();
        scores.iter().sum::<f64>() / scores.len() as f64
    };
    assert!(at("margin") > at("random") + 0.05, "{} {}", at("margin"), at("random"));
    let against = results.against_random();
    assert_eq!((against.rows.len(), against.head.len()), (4, 6));
    assert!(against.rows.iter().all(|row| row[1].starts_with(['+', '-'])), "{against:?}");
    let grid = results.grid(true);
    assert_eq!((grid.rows.len(), grid.head.len()), (5, 7));
    let page = crate::report::html(&results.report("m<", "d"));
    assert!(page.contains("<svg") && page.contains("m&lt;") && page.contains("Against random order"));
    material.identity = "other".into();
    let error = run(&plan, &material, &stop, &mut |_| Ok(())).unwrap_err().to_string();
    assert!(error.contains("another --out"), "{error}");
}
