//! Techniques in the real loop against the same written out in PyTorch (`fixtures/make/techniques.py`): losses, and every
//! parameter after ten steps.

#![allow(clippy::unwrap_used)] // in a test a panic is the report

mod gradients;
// Shared with the tests of heads, which use all of it.
#[allow(dead_code)]
mod golden;
#[allow(dead_code)]
mod same;

use burn::tensor::Device;
use golden::{BACKWARD, FORWARD, floats};
use same::{Seen, fixtures};
use serde_json::{Value, json};
use topwork_models::Model;
use topwork_testkit::{Golden, close};
use topwork_train::Learning;

fn ten_steps(techniques: &Value, clip_norm: f64) -> (Model, Seen) {
    let (model, _) = Model::open_saved(&fixtures().join("bert/relu"), &Device::flex()).unwrap();
    let settings = Golden::open(fixtures().join("techniques/gradual.safetensors")).unwrap();
    same::ten_steps(model, &settings, techniques, clip_norm)
}

#[test]
fn losses_and_weights_are_those_of_pytorch() {
    let l2_sp = json!({"alpha": 0.5, "beta": 0.2});
    let gradual = json!({"order": "gradual", "epochs": 2});
    let decay = json!({"rate": 0.8});
    let cases = [
        ("layer-decay", json!({"layer-decay": decay}), 0.0),
        ("gradual", json!({"unfreeze": gradual}), 0.0),
        ("chain-thaw", json!({"unfreeze": {"order": "chain-thaw"}}), 0.0),
        ("bitfit", json!({"bitfit": {}}), 0.0),
        ("l2-sp", json!({"l2-sp": l2_sp}), 0.0),
        ("together", json!({"layer-decay": decay, "unfreeze": gradual, "l2-sp": l2_sp}), 1.0),
    ];
    let files = fixtures().join("techniques").read_dir().unwrap().count();
    assert_eq!(files, cases.len(), "one case for each file");
    let (plain, plain_seen) = ten_steps(&json!({}), 0.0);
    assert!(plain_seen.plans.is_empty());
    for (name, techniques, clip_norm) in cases {
        let golden = Golden::open(fixtures().join(format!("techniques/{name}.safetensors"))).unwrap();
        let (model, seen) = ten_steps(&techniques, clip_norm);
        close(&seen.losses, &floats(&golden, "losses"), FORWARD * 10.0)
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        let (mut compared, mut moved) = (0, 0);
        for (id, param) in model.store.iter() {
            let upstream = model.family.weights.export_with(&param.path, "bert.").unwrap().0;
            let (got, expected) =
                (model.store.values(id).unwrap(), floats(&golden, &format!("after.{upstream}")));
            close(&got, &expected, BACKWARD).unwrap_or_else(|e| panic!("{name}: {upstream}: {e}"));
            compared += 1;
            moved += usize::from(got != plain.store.values(id).unwrap());
        }
        assert_eq!(compared, golden.below("after.").count(), "{name}: every parameter was compared");
        assert!(moved > compared / 2, "{name}: not what it is without: {moved} of {compared}");
    }
}

/// What is frozen in a stage is the same to the bit after it, and the log says what learns.
#[test]
fn what_is_frozen_does_not_move_and_is_told() {
    let (model, seen) = ten_steps(&json!({"unfreeze": {"order": "last-then-all"}}), 0.0);
    let told: Vec<(usize, Vec<&str>)> = seen
        .plans
        .iter()
        .map(|(step, learning)| (*step, learning.iter().map(|part| part.group.as_str()).collect()))
        .collect();
    let all = vec!["embed", "layers.0", "layers.1", "pooler + head"];
    assert_eq!(told, [(0, vec!["pooler + head"]), (5, all)]);
    let values = |learning: &[Learning]| learning.iter().map(|part| part.values).sum::<usize>();
    assert_eq!(values(&seen.plans[1].1), model.store.values_total());

    let (before, _) = Model::open_saved(&fixtures().join("bert/relu"), &Device::flex()).unwrap();
    let (after, seen) = ten_steps(&json!({"unfreeze": {"order": "gradual", "epochs": 4}}), 0.0);
    // Three stages of 4, 4 and 2 steps: the last that learn are those of the lower layer.
    assert_eq!(seen.plans.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [0, 4, 8]);
    let top = after.store.top_group();
    let (mut still, mut moved) = (0, 0);
    for (id, param) in after.store.iter() {
        let same = after.store.values(id).unwrap() == before.store.values(id).unwrap();
        assert_eq!(same, param.group + 2 < top, "{}", param.path);
        still += usize::from(same);
        moved += usize::from(!same);
    }
    assert!(still > 3 && moved > 20, "{still} {moved}");
}
