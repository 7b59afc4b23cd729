//! Features and linear models equal to scikit-learn's (`fixtures/make/metrics.py`).

use super::{
    ClassWeights, LogisticHead, LogisticHeadOptions, LogisticOptions, Tfidf, TfidfLabels, TfidfLogistic,
    TfidfLogisticOptions, TfidfOptions, TfidfRidge, TfidfRidgeOptions,
};
use serde_json::Value;

fn fixture() -> Value {
    serde_json::from_str(include_str!("../../../../fixtures/metrics/baseline.json")).unwrap()
}

fn floats(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn integers(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as u32).collect()
}

/// Largest difference. Reaching the optimum to 1e-4 is what the search promises.
fn far(got: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(got.len(), expected.len());
    got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

fn check(what: &str, got: &[f64], expected: &Value, tolerance: f64) {
    let difference = far(got, &floats(expected));
    assert!(difference < tolerance, "{what}: {difference:e}");
}

#[test]
fn text_models_equal_scikit_learn() {
    let fixture = fixture();
    let texts: Vec<&str> = fixture["texts"].as_array().unwrap().iter().map(|t| t.as_str().unwrap()).collect();
    let (train, held) = texts.split_at(fixture["train"].as_u64().unwrap() as usize);
    let topic = &integers(&fixture["topic"])[..train.len()];
    let weather: Vec<u32> = topic.iter().map(|&t| u32::from(t == 0)).collect();
    let many: Vec<bool> = integers(&fixture["many"])[..3 * train.len()].iter().map(|&t| t == 1).collect();
    let score = &floats(&fixture["score"])[..train.len()];
    let cases = fixture["cases"].as_array().unwrap();
    assert_eq!((texts.len(), train.len(), cases.len()), (200, 150, 3));
    for (number, case) in cases.iter().enumerate() {
        let features = TfidfOptions {
            longest: case["longest"].as_u64().unwrap() as usize,
            sublinear: case["sublinear"].as_bool().unwrap(),
            min_df: case["min_df"].as_u64().unwrap() as usize,
            lower_case: true,
        };
        let (tfidf, _) = Tfidf::fit(train, features).unwrap();
        assert_eq!(tfidf.terms().len() as u64, case["features"].as_u64().unwrap());
        let row: Vec<(&str, f64)> =
            tfidf.rows(&held[3..4]).row(0).map(|(c, v)| (tfidf.terms()[c].as_str(), v)).collect();
        let expected = case["row"].as_object().unwrap();
        assert_eq!(row.len(), expected.len());
        for (term, value) in row {
            assert!((value - expected[term].as_f64().unwrap()).abs() < 1e-12, "{term}");
        }

        let c = case["c"].as_f64().unwrap();
        let balanced = case["balanced"].as_bool().unwrap();
        let class_weights = if balanced { ClassWeights::Balanced } else { ClassWeights::None };
        let logistic = LogisticOptions { c, class_weights, iterations: 2000 };
        let options = TfidfLogisticOptions { features, logistic };
        let binary = TfidfLogistic::fit(train, &weather, 2, &options).unwrap();
        let three = TfidfLogistic::fit(train, topic, 3, &options).unwrap();
        let labels = TfidfLabels::fit(train, &many, 3, &options).unwrap();
        assert!(binary.converged() && three.converged() && labels.converged());
        check(&format!("binary {number}"), &binary.decision(held), &case["binary"], 1e-4);
        check(&format!("three {number}"), &three.decision(held), &case["three"], 1e-4);
        let probabilities: Vec<f64> = three.predict_proba(held).iter().map(|&p| f64::from(p)).collect();
        check(&format!("three, probabilities {number}"), &probabilities, &case["three_probabilities"], 1e-4);
        check(&format!("labels {number}"), &labels.decision(held), &case["rest"], 1e-4);
        let ridge = TfidfRidge::fit(train, score, &TfidfRidgeOptions { features, alpha: 1.0 / c }).unwrap();
        check(&format!("ridge {number}"), &ridge.predict(held), &case["ridge"], 1e-7);
    }
}

#[test]
fn dense_models_equal_scikit_learn() {
    let fixture = &fixture()["dense"];
    let width = fixture["width"].as_u64().unwrap() as usize;
    let features: Vec<f32> = floats(&fixture["features"]).iter().map(|&v| v as f32).collect();
    let (train, held) = features.split_at(fixture["train"].as_u64().unwrap() as usize * width);
    let targets = &integers(&fixture["targets"])[..train.len() / width];
    let heads = fixture["heads"].as_array().unwrap();
    assert_eq!(heads.len(), 6);
    for case in heads {
        let labels = case["labels"].as_u64().unwrap() as usize;
        let classes: Vec<u32> =
            targets.iter().map(|&t| if labels == 2 { u32::from(t == 2) } else { t }).collect();
        let options = LogisticHeadOptions {
            logistic: LogisticOptions { c: case["c"].as_f64().unwrap(), ..Default::default() },
            standardise: case["standardise"].as_bool().unwrap(),
        };
        let head = LogisticHead::fit(train, width, &classes, labels, &options).unwrap();
        assert!(head.converged());
        // Products of 32 bits end the search a little earlier.
        check(
            &format!("dense {labels}, C {}", case["c"]),
            &head.decision(held).unwrap(),
            &case["decision"],
            1e-3,
        );
    }
}

#[test]
fn another_strength_is_noticed() {
    let fixture = fixture();
    let texts: Vec<&str> = fixture["texts"].as_array().unwrap().iter().map(|t| t.as_str().unwrap()).collect();
    let topic = integers(&fixture["topic"]);
    let mut options = TfidfLogisticOptions::default();
    options.features.sublinear = false;
    options.logistic.c = 1.01;
    let three = TfidfLogistic::fit(&texts[..150], &topic[..150], 3, &options).unwrap();
    assert!(far(&three.decision(&texts[150..]), &floats(&fixture["cases"][0]["three"])) > 1e-3);
}
