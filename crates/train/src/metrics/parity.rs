//! Every metric equal to scikit-learn and scipy, also when examples count several times or not at all
//! (`fixtures/make/metrics.py`).

use super::{Confusion, Evaluation, METRICS, Metric, Outcome, Tally, Task, tune_threshold};
use serde_json::Value;
use std::collections::BTreeSet;

fn fixture(text: &str) -> Vec<Value> {
    let value: Value = serde_json::from_str(text).unwrap();
    value["cases"].as_array().unwrap().clone()
}

fn floats(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn counts(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as u32).collect()
}

fn close(got: f64, expected: f64) -> bool {
    (got - expected).abs() <= 1e-9 * expected.abs().max(1.0)
}

/// Compares all metrics of one case and returns the names it compared.
fn compare(case: &Value, outcome: &Outcome, labels: &[String]) -> BTreeSet<String> {
    let name = case["name"].as_str().unwrap();
    let evaluation = Evaluation::new(outcome, labels).unwrap();
    let drawn = counts(&case["counts"]);
    let tally = Tally::of(outcome, &drawn);
    let mut seen = BTreeSet::new();
    for metric in Metric::all(outcome.task(), labels, outcome.positive()) {
        let metric_name = metric.name();
        let got = [evaluation.value(metric_name).ok(), metric.compute(outcome, &drawn, &tally).ok()];
        for (got, key) in got.into_iter().zip(["expected", "expected_drawn"]) {
            let expected =
                case[key].get(metric_name).unwrap_or_else(|| panic!("{name}: {metric_name} missing"));
            let same = match (got, expected.as_f64()) {
                (Some(got), Some(expected)) => close(got, expected),
                (got, expected) => got == expected,
            };
            assert!(same, "{name}: {metric_name} ({key}): got {got:?}, expected {expected}");
        }
        seen.insert(metric_name.to_string());
    }
    assert_eq!(
        seen.len(),
        case["expected"].as_object().unwrap().len(),
        "{name}: every expected value was compared"
    );
    seen
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("label-{i}")).collect()
}

#[test]
fn metrics_equal_scikit_learn_and_scipy() {
    let mut seen = BTreeSet::new();
    let cases = fixture(include_str!("../../../../fixtures/metrics/classes.json"));
    assert_eq!(cases.len(), 13);
    let mut tuned_cases = 0;
    for case in &cases {
        let labels = case["labels"].as_u64().unwrap() as usize;
        let probabilities = floats(&case["probabilities"]);
        let mut outcome = Outcome::classes(&counts(&case["targets"]), &probabilities, labels).unwrap();
        if let Some(positive) = case["positive"].as_u64() {
            outcome = outcome.with_positive(positive as usize).unwrap();
        }
        seen.extend(compare(case, &outcome, &names(labels)));

        let name = &case["name"];
        let evaluation = Evaluation::new(&outcome, &names(labels)).unwrap();
        for (class, report) in evaluation.classes.iter().enumerate() {
            for (key, got) in [("precision", report.precision), ("recall", report.recall), ("f1", report.f1)]
            {
                assert!(close(got, case[key][class].as_f64().unwrap()), "{name} {key} {class}");
            }
            assert_eq!(report.actual, case["support"][class].as_u64().unwrap());
        }
        let confusion = Confusion::of(&outcome).unwrap();
        assert_eq!(serde_json::to_value(&confusion.cells).unwrap(), case["confusion"], "{name}");
        if let Some(best) = case["best_f1"].as_f64() {
            let metric = Metric::parse("f1", Task::Classes, &names(labels), outcome.positive()).unwrap();
            let tuned = tune_threshold(&outcome, &metric).unwrap();
            // The curve of scikit-learn also calls a probability of exactly 0 positive; no threshold here does.
            let reachable = if name == "always wrong" { 0.0 } else { best };
            assert!(close(tuned.value, reachable), "{name}: {tuned:?} {best}");
            tuned_cases += 1;
        }
    }
    assert_eq!(tuned_cases, 7);
    let cases = fixture(include_str!("../../../../fixtures/metrics/multi_label.json"));
    assert_eq!(cases.len(), 5);
    for case in &cases {
        let labels = case["labels"].as_u64().unwrap() as usize;
        let targets: Vec<bool> = counts(&case["targets"]).iter().map(|&t| t == 1).collect();
        let outcome = Outcome::multi_label(&targets, &floats(&case["probabilities"]), labels).unwrap();
        seen.extend(compare(case, &outcome, &names(labels)));
    }
    let cases = fixture(include_str!("../../../../fixtures/metrics/scores.json"));
    assert_eq!(cases.len(), 8);
    for case in &cases {
        let outcome = Outcome::scores(&floats(&case["targets"]), &floats(&case["predictions"])).unwrap();
        seen.extend(compare(case, &outcome, &[]));
    }
    let of_outcomes = METRICS.iter().filter(|spec| spec.needs() != "sums");
    let listed: BTreeSet<String> = of_outcomes.map(|spec| spec.name.to_string()).collect();
    assert_eq!(seen, listed, "every metric of outcomes was compared");
}

#[test]
fn a_changed_prediction_is_noticed() {
    let cases = fixture(include_str!("../../../../fixtures/metrics/classes.json"));
    let case = &cases[0];
    let mut probabilities = floats(&case["probabilities"]);
    // Every number moves, so that every metric should.
    probabilities.chunks_exact_mut(2).take(20).for_each(|row| row.swap(0, 1));
    let outcome = Outcome::classes(&counts(&case["targets"]), &probabilities, 2).unwrap();
    let evaluation = Evaluation::new(&outcome, &names(2)).unwrap();
    for (name, expected) in case["expected"].as_object().unwrap() {
        assert!(!close(evaluation.value(name).unwrap(), expected.as_f64().unwrap()), "{name}");
    }
}
