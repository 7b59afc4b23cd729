//! Techniques in the real loop against the same written out in PyTorch (`fixtures/make/techniques.py` and `techniques_drawn.py`): losses, every parameter
//! after ten steps, and every parameter of the weights that are measured then.

#![allow(clippy::unwrap_used)] // in a test a panic is the report

mod gradients;
// Shared with the tests of heads, which use all of it.
#[allow(dead_code)]
mod golden;
#[allow(dead_code)]
mod same;

use std::fs;

use burn::tensor::Device;
use golden::{BACKWARD, FORWARD, floats};
use same::{Seen, fixtures};
use serde_json::{Value, json};
use topwork_models::Model;
use topwork_testkit::{Golden, close, close_with_floor};
use topwork_train::Learning;

fn ten_steps(techniques: &Value, clip_norm: f64) -> (Model, Seen) {
    let (mut folder, copy) = (fixtures().join("bert/relu"), tempfile::tempdir().unwrap());
    if techniques.get("r-drop").is_some() {
        // The fixture drops nothing, and what is seen twice would be the same.
        let config = fs::read_to_string(folder.join("config.json")).unwrap();
        let dropping = config.replace("\"hidden_dropout_prob\": 0.0", "\"hidden_dropout_prob\": 0.2");
        assert_ne!(config, dropping);
        fs::write(copy.path().join("config.json"), dropping).unwrap();
        fs::copy(folder.join("model.safetensors"), copy.path().join("model.safetensors")).unwrap();
        folder = copy.path().to_path_buf();
    }
    let (model, _) = Model::open_saved(&folder, &Device::flex()).unwrap();
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
        ("ema", json!({"ema": {"decay": 0.7}}), 0.0),
        ("swa", json!({"swa": {"start": 0.3, "every": 2}, "unfreeze": gradual}), 0.0),
        ("wise-ft", json!({"wise-ft": {"alphas": [0.25, 0.5]}}), 0.0),
        ("wise-ft-of-ema", json!({"wise-ft": {"alphas": [0.4]}, "ema": {"decay": 0.7, "start": 0.5}}), 0.0),
        ("ewc", json!({"ewc": {"source": "the same texts", "lambda": 40.0}}), 0.0),
        ("r-drop", json!({"r-drop": {"alpha": 1.5}}), 0.0),
        ("r3f", json!({"r3f": {"lambda": 2.0, "noise": 0.3}}), 0.0),
        ("hold", json!({"hold": {"beta": 0.7}}), 0.0),
        ("mixout", json!({"mixout": {"p": 0.6}}), 0.0),
        ("reinit", json!({"reinit": {"layers": 1}}), 0.0),
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
        let upstream = |path: &str| model.family.weights.export_with(path, "bert.").unwrap().0;
        // What is measured first are the weights that were trained, where nothing averages them.
        let averaged = techniques.get("ema").or(techniques.get("swa")).is_some();
        let mut others = 0;
        for (number, measured) in seen.measured.iter().skip(usize::from(!averaged)).enumerate() {
            for (path, got) in measured {
                let name_there = format!("measured.{number}.{}", upstream(path));
                close(got, &floats(&golden, &name_there), BACKWARD)
                    .unwrap_or_else(|e| panic!("{name}: {name_there}: {e}"));
                others += 1;
            }
        }
        assert_eq!(
            others,
            golden.below("measured.").count(),
            "{name}: every measured parameter was compared"
        );
        for (id, param) in model.store.iter() {
            let upstream = upstream(&param.path);
            let (got, expected) =
                (model.store.values(id).unwrap(), floats(&golden, &format!("after.{upstream}")));
            // A key bias has no gradient, and stays at about zero where it begins there.
            let floor = if techniques.get("reinit").is_some() { 1e-3 } else { 0.0 };
            close_with_floor(&got, &expected, BACKWARD, floor)
                .unwrap_or_else(|e| panic!("{name}: {upstream}: {e}"));
            compared += 1;
            moved += usize::from(got != plain.store.values(id).unwrap());
        }
        assert_eq!(compared, golden.below("after.").count(), "{name}: every parameter was compared");
        if others == 0 {
            assert!(moved > compared / 2, "{name}: not what it is without: {moved} of {compared}");
        }
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
