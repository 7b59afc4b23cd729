//! What holds of every measure of a corpus, whatever the corpus: a resample is the corpus of the drawn examples, and order
//! does not matter.

use super::{
    Bootstrap, Ranked, Reading, Scheme, Squad, Summed, answers, choices, ranking, repetition, tags, texts,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// An example of each kind of task.
#[derive(Clone, Debug)]
struct Example {
    truth: Vec<String>,
    predicted: Vec<String>,
    references: Vec<String>,
    answer: String,
    option: u32,
    scores: Vec<f64>,
}

fn tag() -> impl Strategy<Value = String> {
    prop_oneof![Just("O".to_string()), "[BIES]-[XY]", "[BIES]", ".*"]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[abc ,.]{0,20}", "\\PC{0,8}", ".{0,6}"]
}

fn example() -> impl Strategy<Value = Example> {
    let pairs = vec((tag(), tag()), 0..6);
    (pairs, vec(text(), 1..3), text(), vec(-4.0..4.0f64, 3..5), 0..3u32).prop_map(
        |(pairs, references, answer, scores, option)| {
            let (truth, predicted) = pairs.into_iter().unzip();
            Example { truth, predicted, references, answer, option, scores }
        },
    )
}

/// Every measure of a corpus.
fn measured(corpus: &[Example]) -> Vec<Summed> {
    let column = |of: fn(&Example) -> Vec<String>| corpus.iter().map(of).collect::<Vec<_>>();
    let references = column(|example| example.references.clone());
    let given: Vec<&str> = corpus.iter().map(|example| example.answer.as_str()).collect();
    let (truth, predicted) = (column(|e| e.truth.clone()), column(|e| e.predicted.clone()));
    let mut sums = tags(&truth, &predicted, Scheme::Bioes, Reading::Lenient).unwrap().0;
    let golds = column(|example| if example.option == 0 { Vec::new() } else { example.references.clone() });
    sums.extend(answers(&golds, &given, Squad::Two).unwrap());
    sums.extend(texts(&references, &given).unwrap());
    let right: Vec<u32> = corpus.iter().map(|example| example.option).collect();
    let scores: Vec<&[f64]> = corpus.iter().map(|example| &example.scores[..]).collect();
    sums.extend(choices(&right, &scores).unwrap());
    let lists = corpus.iter().map(|example| {
        let gains: Vec<f64> =
            (0..example.scores.len()).map(|at| f64::from(at as u32 % (example.option + 1))).collect();
        Ranked::by_scores(&example.scores, &gains).unwrap()
    });
    sums.extend(ranking(&lists.collect::<Vec<_>>()).unwrap());
    sums
}

fn values(sums: &[Summed]) -> Vec<(String, Option<f64>)> {
    sums.iter().map(|summed| (summed.name.clone(), summed.of().ok())).collect()
}

fn same(left: &[(String, Option<f64>)], right: &[(String, Option<f64>)]) -> Result<(), TestCaseError> {
    prop_assert_eq!(left.len(), right.len());
    for ((name, left), (other, right)) in left.iter().zip(right) {
        prop_assert_eq!(name, other);
        let near = match (left, right) {
            (Some(left), Some(right)) => (left - right).abs() <= 1e-9 * left.abs().max(1.0),
            (left, right) => left == right,
        };
        prop_assert!(near, "{}: {:?} and {:?}", name, left, right);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_resample_is_the_corpus_of_the_drawn_examples(corpus in vec(example(), 1..8), seed in any::<u64>()) {
        let sums = measured(&corpus);
        let bootstrap = Bootstrap { resamples: 2, seed, level: 0.5 };
        let mut all = Vec::new();
        bootstrap.each_draw(corpus.len(), |counts| all.push(counts.to_vec())).unwrap();
        for counts in &all {
            let drawn: Vec<Example> = corpus.iter().zip(counts)
                .flat_map(|(example, &count)| vec![example.clone(); count as usize]).collect();
            let by_sums: Vec<(String, Option<f64>)> = sums.iter().map(|summed| {
                let value = summed.drawn(counts, &mut Vec::new());
                (summed.name.clone(), (!value.is_nan()).then_some(value))
            }).collect();
            same(&by_sums, &values(&measured(&drawn)))?;
        }
    }

    #[test]
    fn the_order_of_examples_changes_nothing(
        (corpus, other) in vec(example(), 1..8).prop_flat_map(|corpus| (Just(corpus.clone()), Just(corpus).prop_shuffle()))
    ) {
        same(&values(&measured(&corpus)), &values(&measured(&other)))?;
    }

    #[test]
    fn shares_lie_between_none_and_all(corpus in vec(example(), 1..6)) {
        for (name, value) in values(&measured(&corpus)) {
            let most = match name.as_str() {
                "bleu" | "chrf" | "chrf++" => 100.0,
                "word-error-rate" | "character-error-rate" | "log-loss" => f64::INFINITY,
                _ => 1.0,
            };
            if let Some(value) = value {
                prop_assert!((0.0..=most + 1e-9).contains(&value), "{}: {}", name, value);
            }
        }
    }

    #[test]
    fn an_answer_that_is_the_reference_is_all_right(texts in vec("[a-z]{1,4}( [a-z]{1,4}){4,8}", 1..5)) {
        let references: Vec<[&String; 1]> = texts.iter().map(|text| [text]).collect();
        for (name, value) in values(&super::texts(&references, &texts).unwrap()) {
            let best = match name.as_str() {
                "bleu" | "chrf" | "chrf++" => 100.0,
                "word-error-rate" | "character-error-rate" => 0.0,
                "rouge-1" | "rouge-2" | "rouge-l" | "rouge-lsum" | "exact-match" => 1.0,
                _ => continue,
            };
            prop_assert!((value.unwrap() - best).abs() < 1e-9, "{}: {:?}", name, value);
        }
        prop_assert_eq!(repetition(&texts).unwrap().len(), 3);
    }
}
