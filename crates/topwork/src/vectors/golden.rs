//! What gensim, fastText, scikit-learn and transformers make of the files in `fixtures/vectors`.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::*;

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/vectors").join(name)
}

pub fn expected() -> Value {
    serde_json::from_slice(&std::fs::read(fixture("expected.json")).unwrap()).unwrap()
}

pub fn space(name: &str) -> Space {
    Space::open(fixture(name), None).unwrap()
}

pub fn floats(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
}

pub fn strings(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|x| x.as_str().unwrap()).collect()
}

/// The same words in the same order, and numbers that differ by rounding alone.
fn same(found: &[Neighbour], golden: &Value, what: &str) {
    let golden = golden.as_array().unwrap();
    assert_eq!(found.len(), golden.len(), "{what}");
    for (found, golden) in found.iter().zip(golden) {
        assert_eq!(found.word, golden[0].as_str().unwrap(), "{what}");
        let similarity = golden[1].as_f64().unwrap();
        assert!(
            (f64::from(found.similarity) - similarity).abs() < 2e-6 * similarity.abs().max(1.0),
            "{what}"
        );
    }
}

#[test]
fn neighbours_and_analogies_are_those_of_gensim() {
    let (golden, space) = (expected(), space("word2vec.txt"));
    let mut seen = 0;
    for (word, golden) in golden["nearest"].as_object().unwrap() {
        same(&space.nearest(word, 6).unwrap(), golden, word);
        seen += 1;
    }
    for case in golden["analogies"].as_array().unwrap() {
        let [a, b, c] = strings(&case["words"])[..] else { panic!("three words") };
        for (objective, name) in [(Objective::Add, "add"), (Objective::Multiply, "multiply")] {
            same(&space.analogy(a, b, c, objective, 5).unwrap(), &case[name], &format!("{a} {b} {c} {name}"));
            seen += 1;
        }
    }
    for case in golden["similarity"].as_array().unwrap() {
        let similarity = space.similarity(case[0].as_str().unwrap(), case[1].as_str().unwrap()).unwrap();
        assert!((f64::from(similarity) - case[2].as_f64().unwrap()).abs() < 1e-6);
        seen += 1;
    }
    assert_eq!(seen, 4 + 6 + 3);
}

/// The settings a golden was made with.
fn lookup(name: &str) -> Lookup {
    match name {
        "first-30" => Lookup { first: 30, any_case: true },
        "cased" => Lookup { any_case: false, ..Lookup::default() },
        _ => Lookup::default(),
    }
}

#[test]
fn the_benchmarks_count_as_gensim_does() {
    let (golden, space) = (expected(), space("word2vec.txt"));
    let mut seen = 0;
    for (kind, key) in [(Objective::Add, "benchmark"), (Objective::Multiply, "benchmark-multiply")] {
        for (name, golden) in golden[key].as_object().unwrap() {
            let score = analogy_benchmark(&space, &fixture("questions.txt"), &lookup(name), kind).unwrap();
            let counts = golden["sections"].as_array().unwrap();
            assert_eq!(score.sections.len() + 1, counts.len());
            for (section, golden) in score.sections.iter().chain([&score.total]).zip(counts) {
                let counted = (section.correct as u64, section.wrong as u64);
                assert_eq!(Some(counted.0), golden[1].as_u64(), "{name} {}", section.name);
                assert_eq!(Some(counted.1), golden[2].as_u64(), "{name} {}", section.name);
            }
            assert_eq!(score.invalid, 1);
            assert_eq!(score.total.correct + score.total.wrong + score.total.unknown, 56 + 72 + 2);
            seen += 1;
        }
    }
    for (name, golden) in golden["pairs"].as_object().unwrap() {
        let score = pair_benchmark(&space, &fixture("pairs.tsv"), &lookup(name), false).unwrap();
        for (value, key) in [(score.spearman, "spearman"), (score.pearson, "pearson")] {
            assert!((value.unwrap() - golden[key].as_f64().unwrap()).abs() < 1e-6, "{name} {key} {value:?}");
        }
        let unknown = 100.0 * score.unknown as f64 / (score.pairs + score.unknown) as f64;
        assert!((unknown - golden["unknown-percent"].as_f64().unwrap()).abs() < 1e-9);
        assert_eq!((score.pairs + score.unknown, score.invalid, score.from_subwords), (62, 1, 0));
        seen += 1;
    }
    assert_eq!(seen, 3 + 1 + 3);
}

#[test]
fn benchmarks_that_hold_nothing_are_refused() {
    let space = space("word2vec.txt");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("q.txt");
    let ask = |text: &str| {
        std::fs::write(&path, text).unwrap();
        let questions = analogy_benchmark(&space, &path, &Lookup::default(), Objective::Add);
        let pairs = pair_benchmark(&space, &path, &Lookup::default(), true);
        (questions.map_err(|error| error.to_string()), pairs.map_err(|error| error.to_string()))
    };
    let (questions, pairs) = ask("man woman king queen\n");
    assert!(questions.unwrap_err().contains("q.txt: line 1 stands before"));
    assert!(pairs.unwrap_err().contains("q.txt: no line with two words"));
    assert!(ask(": a\nb c\n").0.unwrap_err().contains("no question of four words"));
    let (_, pairs) = ask("king queen 3\nunicorn king 1\n");
    let pairs = pairs.unwrap();
    assert_eq!((pairs.pairs, pairs.unknown, pairs.spearman), (1, 1, None));
    // Words of fastText that are not in the file.
    std::fs::write(&path, "stick\tsticky\t5\nglue\tlabel\t3\nthe\tstick\t1\n").unwrap();
    let open = super::Space::open(fixture("fasttext.bin"), None).unwrap();
    let pairs = pair_benchmark(&open, &path, &Lookup::default(), true).unwrap();
    assert_eq!((pairs.pairs, pairs.unknown, pairs.from_subwords), (3, 0, 1));
    assert!(pairs.spearman.is_some());
}
