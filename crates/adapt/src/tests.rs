//! Adapters on a store of two layers.

#![allow(clippy::unwrap_used)] // in a test a panic is the report

use burn::tensor::{Device, Tensor, TensorData};
use serde_json::json;
use topwork_kernels::gemm::Precision;
use topwork_nn::layers::Linear;
use topwork_nn::{Init, Pass};

use super::*;

/// A table of words, two layers with queries, keys, values and a block, a head.
fn store() -> ParamStore {
    let mut store = ParamStore::new(&Device::flex());
    store.declare("embed.word.weight", &[7, 4], 0, ParamKind::Weight, Init::Normal(0.5));
    for layer in 0..2 {
        for (name, sizes) in [
            ("attn.q", [4, 4]),
            ("attn.k", [4, 4]),
            ("attn.v", [4, 4]),
            ("ffn.up", [6, 4]),
            ("ffn.down", [4, 6]),
        ] {
            Linear::declare(&mut store, &format!("layers.{layer}.{name}"), sizes, layer + 1, 0.5);
        }
    }
    Linear::declare(&mut store, "head.out", [3, 4], 3, 0.5);
    for id in store.unset() {
        store.initialise(id, 9).unwrap();
        if store.param(id).kind == ParamKind::Bias {
            let values = (0..store.param(id).len()).map(|at| 0.1 * at as f32 - 0.2).collect();
            store.set(id, values).unwrap();
        }
    }
    store
}

/// What a map makes of two rows.
fn mapped(store: &ParamStore, path: &str) -> Vec<f32> {
    let weight = store.id(&format!("{path}.weight")).unwrap();
    let bias = store.id(&format!("{path}.bias")).unwrap();
    let width = store.param(weight).shape[1];
    let x: Vec<f32> = (0..2 * width).map(|at| (at as f32 * 0.7).sin()).collect();
    let x = Tensor::<2>::from_data(TensorData::new(x, [2, width]), store.device());
    let pass = Pass::eval(store, Precision::F32);
    pass.linear(x, weight, Some(bias)).unwrap().into_data().try_into_vec().unwrap()
}

/// Sets every parameter of an adapter to numbers that matter.
fn stir(attached: &Attached, store: &mut ParamStore) {
    for (_, id) in attached.parts.iter().flat_map(|part| part.params.clone()) {
        let values = store.values(id).unwrap();
        let values =
            values.iter().enumerate().map(|(at, value)| value + 0.3 * (at as f32 + 1.0).cos()).collect();
        store.set(id, values).unwrap();
    }
}

#[test]
fn every_adapter_is_complete_begins_as_nothing_and_merges_into_the_same() {
    assert_eq!(ADAPTERS.len(), 3, "count the adapters when you add one");
    for entry in ADAPTERS {
        assert!(entry.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-' || b.is_ascii_digit()));
        assert!(entry.paper.starts_with("https://"), "{}", entry.name);
        let (plain, mut adapted) = (store(), store());
        let attached = attach(entry.name, &json!({}), &mut adapted, 5).unwrap();
        assert_eq!(attached.kind, entry.name);
        assert!(attached.values(&adapted) > 0);
        let (mut changed, mut same) = (0, 0);
        let targets: Vec<&str> =
            attached.parts.iter().map(|part| part.weight.trim_end_matches(".weight")).collect();
        for path in &targets {
            // DoRA divides a row by its length and multiplies it with it again.
            for (got, expected) in mapped(&adapted, path).iter().zip(mapped(&plain, path)) {
                assert!((got - expected).abs() < 1e-6, "{} {path}", entry.name);
            }
        }
        stir(&attached, &mut adapted);
        for (id, param) in plain.iter() {
            let moved = adapted.used_values(id).unwrap() != plain.values(id).unwrap();
            let stem = param.path.rsplit_once('.').unwrap().0;
            assert!(!moved || targets.contains(&stem), "{} {}", entry.name, param.path);
            changed += usize::from(moved);
            same += usize::from(!moved);
            assert_eq!(adapted.values(id).unwrap(), plain.values(id).unwrap(), "the weight itself stays");
        }
        assert!(changed >= targets.len() && same > 3, "{}: {changed} {same}", entry.name);
        // Merged: the values as used, in a store without adapter, compute the same.
        let mut merged = store();
        for (id, _) in plain.iter() {
            merged.set(id, adapted.used_values(id).unwrap()).unwrap();
        }
        for path in &targets {
            let (got, expected) = (mapped(&merged, path), mapped(&adapted, path));
            assert_eq!(got, expected, "{} {path}", entry.name);
            assert_ne!(got, mapped(&plain, path), "{} {path}", entry.name);
        }
    }
}

/// `x·Wᵀ + s·(x·Aᵀ)·Bᵀ`, row by row: as the paper has it, not as it is computed.
#[test]
fn lora_adds_the_product_of_the_two() {
    let (plain, mut adapted) = (store(), store());
    let options = json!({"rank": 2, "alpha": 6, "targets": "layers.1.attn.v"});
    let attached = attach("lora", &options, &mut adapted, 5).unwrap();
    assert_eq!(attached.parts.len(), 1);
    stir(&attached, &mut adapted);
    let values =
        |name: &str| adapted.values(adapted.id(&format!("layers.1.attn.v.{name}")).unwrap()).unwrap();
    let (a, b) = (values("lora_a"), values("lora_b"));
    let x: Vec<f32> = (0..8).map(|at| (at as f32 * 0.7).sin()).collect();
    let before = mapped(&plain, "layers.1.attn.v");
    for (row, got) in mapped(&adapted, "layers.1.attn.v").chunks(4).enumerate() {
        for (out, got) in got.iter().enumerate() {
            let inner = |r: usize| (0..4).map(|i| a[r * 4 + i] * x[row * 4 + i]).sum::<f32>();
            let added: f32 = (0..2).map(|r| 3.0 * b[out * 2 + r] * inner(r)).sum();
            assert!((got - before[row * 4 + out] - added).abs() < 1e-5);
        }
    }
}

#[test]
fn what_cannot_be_is_refused_with_the_way_out() {
    let check = |name: &str, options: Value, expected: &str| {
        let error = attach(name, &options, &mut store(), 0).unwrap_err().to_string();
        assert!(error.contains(expected), "{error:?} should contain {expected:?}");
    };
    check("lor", json!({}), "lora, dora, ia3");
    check("lora", json!({"rang": 2}), "rank");
    check("lora", json!(3), "rank");
    check("lora", json!({"rank": 0}), "at least 1");
    check("lora", json!({"rank": 1.5}), "whole");
    check("lora", json!({"by-root": 1}), "true or false");
    check("lora", json!({"targets": []}), "list of path patterns");
    check(
        "lora",
        json!({"targets": ["attn.q", "attn.x"]}),
        "\"attn.x\": this model has attn.k, attn.q, attn.v, ffn.down, ffn.up",
    );
    check("ia3", json!({"targets": "embed"}), "\"embed\"");
    check("dora", json!({"targets": "head.out"}), "\"head.out\"");
    let mut twice = store();
    attach("lora", &json!({}), &mut twice, 0).unwrap();
    assert!(attach("ia3", &json!({"targets": "attn.q"}), &mut twice, 0).is_err(), "it has one already");
}

/// What peft calls the weights of this store.
fn upstream(path: &str) -> Option<String> {
    path.starts_with("layers.").then(|| format!("model.{path}"))
}

#[test]
fn files_of_peft_bring_an_adapter_back() {
    for entry in ADAPTERS {
        let mut adapted = store();
        let attached = attach(entry.name, &json!({}), &mut adapted, 5).unwrap();
        stir(&attached, &mut adapted);
        let whole = || topwork_weights::Named {
            name: "out.weight".into(),
            shape: vec![2],
            data: vec![1.0, 2.0].into(),
        };
        let files = peft::files(&attached, &adapted, "base", &upstream, vec![whole()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in &files {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        let mut again = store();
        let opened = peft::open(folder.path(), &mut again, &upstream).unwrap();
        assert_eq!(opened.attached.kind, entry.name);
        assert_eq!(opened.attached.settings, attached.settings);
        assert_eq!(
            (opened.whole[0].name.as_str(), &opened.whole[0].data[..]),
            ("out.weight", &[1.0, 2.0][..])
        );
        for (id, param) in store().iter() {
            assert_eq!(again.used_values(id).unwrap(), adapted.used_values(id).unwrap(), "{}", param.path);
        }
        // Of another model.
        let other = |path: &str| upstream(path).filter(|name| !name.contains("layers.1."));
        let error = peft::open(folder.path(), &mut store(), &other).unwrap_err().to_string();
        assert!(error.contains("nothing that it fits"), "{error}");
        let config = folder.path().join(peft::CONFIG_FILE);
        let text = std::fs::read_to_string(&config).unwrap();
        for (from, to, expected) in [
            ("\"peft_type\": \"", "\"peft_type\": \"X", "LORA"),
            ("\"task_type\": null", "\"rank_pattern\": {\"q\": 4}", "rank_pattern"),
        ] {
            std::fs::write(&config, text.replace(from, to).replace("\"rank_pattern\": {},", "")).unwrap();
            let error = peft::open(folder.path(), &mut store(), &upstream).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
