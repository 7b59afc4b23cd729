//! Adapters on a store of two layers.

#![allow(clippy::unwrap_used)] // in a test a panic is the report

use burn::tensor::{Device, Tensor, TensorData};
use serde_json::json;
use topwork_kernels::gemm::Precision;
use topwork_nn::layers::Linear;
use topwork_nn::{BlockEnd, Init, Pass};

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
            ("attn.out", [4, 4]),
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

/// A table of words, a map in a layer, a head.
fn store_without_blocks() -> ParamStore {
    let mut store = ParamStore::new(&Device::flex());
    store.declare("embed.word.weight", &[7, 4], 0, ParamKind::Weight, Init::Normal(0.5));
    Linear::declare(&mut store, "layers.0.map", [4, 4], 1, 0.5);
    Linear::declare(&mut store, "head.out", [3, 4], 2, 0.5);
    store
}

/// The same of matrices, of which none lies turned.
fn upstream_matrix(path: &str) -> Option<(String, bool)> {
    Some((upstream(path)?, false))
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

/// The same as an adapter of that name leaves it: under `qlora` weights are in four bits.
fn under(name: &str) -> ParamStore {
    let mut store = store();
    if name == "qlora" {
        assert_eq!(quantise(&mut store).unwrap(), 12);
    }
    store
}

/// Those that weights can take up.
fn merging() -> Vec<&'static AdapterEntry> {
    let found: Vec<&AdapterEntry> = ADAPTERS.iter().copied().filter(|entry| entry.merges).collect();
    assert_eq!(found.len(), 4);
    found
}

/// The kind that is made of others in files (`crates/topwork/tests/bottleneck.rs`).
const OF_FILES: &str = "fusion";

/// Options under which an adapter fits a model of four numbers a token.
fn narrow(name: &str) -> serde_json::Value {
    if name.starts_with("compacter") { json!({"reduction": 1, "terms": 2}) } else { json!({}) }
}

#[test]
fn every_adapter_has_a_name_and_a_paper() {
    assert_eq!(ADAPTERS.len(), 12, "count the adapters when you add one");
    for entry in ADAPTERS {
        assert!(entry.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-' || b.is_ascii_digit()));
        assert!(entry.paper.starts_with("https://"), "{}", entry.name);
        if entry.name == OF_FILES {
            let error = attach(entry.name, &json!({}), &mut store(), 5).unwrap_err().to_string();
            assert!(error.contains("at least two adapters"), "{error}");
            continue;
        }
        let attached = attach(entry.name, &narrow(entry.name), &mut store(), 5).unwrap();
        assert_eq!((attached.kind, attached.merges()), (entry.name, entry.merges));
    }
}

#[test]
fn adapters_of_weights_begin_as_nothing_and_merge_into_the_same() {
    for entry in merging() {
        let (plain, mut adapted) = (under(entry.name), store());
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

/// A model that predicts words by its own table has no head, and its last layer is its highest depth group.
#[test]
fn the_last_layer_is_adapted_where_there_is_no_head() {
    for entry in ADAPTERS.iter().filter(|entry| entry.name != OF_FILES) {
        let mut store = ParamStore::new(&Device::flex());
        store.declare("embed.word.weight", &[7, 4], 0, ParamKind::Weight, Init::Normal(0.5));
        for layer in 0..2 {
            for name in ["attn.q", "attn.k", "attn.v", "attn.out", "ffn.down"] {
                Linear::declare(&mut store, &format!("layers.{layer}.{name}"), [4, 4], layer + 1, 0.5);
            }
        }
        for id in store.unset() {
            store.initialise(id, 9).unwrap();
        }
        let attached = attach(entry.name, &narrow(entry.name), &mut store, 5).unwrap();
        let of = |layer: &str| attached.parts.iter().filter(|part| part.weight.starts_with(layer)).count();
        assert_eq!(of("layers.0."), of("layers.1."), "{}", entry.name);
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
        "\"attn.x\": this model has attn.k, attn.out, attn.q, attn.v, ffn.down, ffn.up",
    );
    check("ia3", json!({"targets": "embed"}), "\"embed\"");
    check("houlsby", json!({"targets": "attn.q"}), "reduction, size, activation, leave-out");
    check("pfeiffer", json!({"scale": 2}), "reduction, size, activation, leave-out");
    check("houlsby", json!({"reduction": 0}), "above 0");
    check("parallel", json!({"size": 0}), "at least 1");
    check("parallel", json!({"size": 2, "reduction": 2}), "either");
    check("pfeiffer", json!({"activation": "swosh"}), "gelu_new");
    check("pfeiffer", json!({"leave-out": "top"}), "numbers of layers");
    check("pfeiffer", json!({"leave-out": 2}), "of this model");
    check("pfeiffer", json!({"leave-out": [0, 1]}), "not left out");
    check("dora", json!({"targets": "head.out"}), "\"head.out\"");
    let mut twice = store();
    attach("lora", &json!({}), &mut twice, 0).unwrap();
    assert!(attach("ia3", &json!({"targets": "attn.q"}), &mut twice, 0).is_err(), "it has one already");
    let mut twice = store();
    attach("houlsby", &json!({}), &mut twice, 0).unwrap();
    assert!(attach("pfeiffer", &json!({}), &mut twice, 0).is_err(), "it has one already");
    let grafted = attach("lora", &json!({}), &mut twice, 0).unwrap();
    assert!(matches!(
        peft::files(&grafted, &twice, "base", &upstream_matrix, Vec::new()),
        Ok(files) if files.len() == 2
    ));
    let error = attach("houlsby", &json!({}), &mut store_without_blocks(), 0).unwrap_err().to_string();
    assert!(error.contains("attn.out"), "{error}");
}

/// What peft calls the weights of this store.
fn upstream(path: &str) -> Option<String> {
    path.starts_with("layers.").then(|| format!("model.{path}"))
}

#[test]
fn files_of_peft_bring_an_adapter_back() {
    for entry in merging() {
        let mut adapted = store();
        let attached = attach(entry.name, &json!({}), &mut adapted, 5).unwrap();
        stir(&attached, &mut adapted);
        let whole = || topwork_weights::Named {
            name: "out.weight".into(),
            shape: vec![2],
            data: vec![1.0, 2.0].into(),
        };
        let files = peft::files(&attached, &adapted, "base", &upstream_matrix, vec![whole()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in &files {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        let mut again = under(entry.name);
        let opened = peft::open(folder.path(), &mut again, &upstream_matrix).unwrap();
        // peft's files do not say in how many bits the model lies.
        assert_eq!(opened.attached.kind, entry.name.trim_start_matches('q'));
        assert_eq!(opened.attached.settings, attached.settings);
        assert_eq!(
            (opened.whole[0].name.as_str(), &opened.whole[0].data[..]),
            ("out.weight", &[1.0, 2.0][..])
        );
        for (id, param) in store().iter() {
            assert_eq!(again.used_values(id).unwrap(), adapted.used_values(id).unwrap(), "{}", param.path);
        }
        // Of another model.
        let other = |path: &str| upstream_matrix(path).filter(|(name, _)| !name.contains("layers.1."));
        let error = peft::open(folder.path(), &mut store(), &other).unwrap_err().to_string();
        assert!(error.contains("nothing that it fits"), "{error}");
        let config = folder.path().join(peft::CONFIG_FILE);
        let text = std::fs::read_to_string(&config).unwrap();
        for (from, to, expected) in [
            ("\"peft_type\": \"", "\"peft_type\": \"X", "LORA"),
            ("\"task_type\": null", "\"rank_pattern\": {\"q\": 4}", "rank_pattern"),
        ] {
            std::fs::write(&config, text.replace(from, to).replace("\"rank_pattern\": {},", "")).unwrap();
            let error = peft::open(folder.path(), &mut store(), &upstream_matrix).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}

/// Two rows each: what a block made, what went into it, and what the end of the block gives.
fn ended(store: &ParamStore, map: &str) -> [Vec<f32>; 3] {
    let id = |name: &str| store.id(&format!("layers.0.{map}.{name}")).unwrap();
    let last = Linear { weight: id("weight"), bias: Some(id("bias")) };
    let rows = |phase: f32| (0..8).map(|at| (at as f32 * 0.7 + phase).sin()).collect::<Vec<f32>>();
    let tensor =
        |rows: &[f32]| Tensor::<2>::from_data(TensorData::new(rows.to_vec(), [2, 4]), store.device());
    let (added, before) = (rows(0.0), rows(1.0));
    let end = BlockEnd { last: &last, added: tensor(&added), before: tensor(&before), dropout: None };
    let sum = end.sum(&Pass::eval(store, Precision::F32)).unwrap();
    [added, before, sum.into_data().try_into_vec().unwrap()]
}

/// `before + added + s·(U·f(D·x + d) + u)`, row by row.
#[test]
fn bottlenecks_add_what_their_papers_say() {
    let tanh = |x: f32| x.tanh();
    let relu = |x: f32| x.max(0.0);
    let silu = |x: f32| x / (1.0 + (-x).exp());
    type Function = fn(f32) -> f32;
    type Seen = fn(f32, f32) -> f32;
    let check = |name, options: Value, map: &str, f: Function, (sees, scale): (Seen, f32)| {
        let mut adapted = store();
        let attached = attach(name, &options, &mut adapted, 5).unwrap();
        let [added, before, at_first] = ended(&adapted, map);
        let sum = |at: usize| before[at] + added[at];
        for (at, got) in at_first.iter().enumerate() {
            assert_eq!(*got, sum(at), "{name} begins as nothing");
        }
        stir(&attached, &mut adapted);
        let values = |name: &str| {
            adapted.values(adapted.id(&format!("layers.0.{map}.adapter.{name}")).unwrap()).unwrap()
        };
        let [down, down_bias] = ["down.weight", "down.bias"].map(values);
        let [up, up_bias] = ["up.weight", "up.bias"].map(values);
        let size = down_bias.len();
        let [_, _, out] = ended(&adapted, map);
        for (at, got) in out.iter().enumerate() {
            let row = at / 4 * 4;
            let x = |i: usize| sees(added[row + i], before[row + i]);
            let inner = |s: usize| f(down_bias[s] + (0..4).map(|i| down[s * 4 + i] * x(i)).sum::<f32>());
            let own: f32 = (0..size).map(|s| up[(at % 4) * size + s] * inner(s)).sum();
            let expected = sum(at) + scale * (own + up_bias[at % 4]);
            assert!((got - expected).abs() < 1e-5, "{name}: {got} {expected}");
            assert!((got - sum(at)).abs() > 1e-3, "{name}: it does something");
        }
    };
    let made: Seen = |added, _| added;
    let both: Seen = |added, before| added + before;
    let came: Seen = |_, before| before;
    check("houlsby", json!({"size": 2}), "attn.out", silu, (made, 1.0));
    check("houlsby", json!({"reduction": 1.5, "activation": "tanh"}), "ffn.down", tanh, (made, 1.0));
    check("pfeiffer", json!({"size": 3}), "ffn.down", relu, (both, 1.0));
    check("parallel", json!({}), "ffn.down", relu, (came, 4.0));
    check("parallel", json!({"scale": 0.5, "activation": "silu"}), "ffn.down", silu, (came, 0.5));
}

#[test]
fn a_size_is_what_the_files_bring_back_whatever_the_width() {
    for width in [12usize, 31, 384, 768, 1024] {
        for size in 1..=width.min(200) {
            let mut store = ParamStore::new(&Device::flex());
            Linear::declare(&mut store, "layers.0.ffn.down", [width, 3], 1, 0.5);
            Linear::declare(&mut store, "head.out", [3, width], 2, 0.5);
            let attached = attach("pfeiffer", &json!({"size": size}), &mut store, 0).unwrap();
            let Settings::Bottleneck(settings) = attached.settings else { panic!("{attached:?}") };
            // As the package has it: the quotient, rounded down.
            assert_eq!((width as f64 / settings.reduction).floor() as usize, size, "{width}");
            assert_eq!(store.param(attached.parts[0].params[0].1).shape, [size, width]);
        }
    }
}

#[test]
fn layers_that_are_left_out_have_none() {
    let mut adapted = store();
    let attached = attach("houlsby", &json!({"leave-out": "0", "size": 2}), &mut adapted, 5).unwrap();
    let weights: Vec<&str> = attached.parts.iter().map(|part| part.weight.as_str()).collect();
    assert_eq!(weights, ["layers.1.attn.out.weight", "layers.1.ffn.down.weight"]);
    assert_eq!(attached.values(&adapted), 2 * (2 * 4 + 2 + 4 * 2 + 4));
}

#[test]
fn what_weights_took_up_comes_out_of_them_again() {
    for (kind, options) in [
        ("lora", json!({"rank": 2, "targets": ["attn.q", "ffn.down"]})),
        ("ia3", json!({})),
        ("dora", json!({"rank": 2})),
        ("houlsby", json!({"size": 2})),
    ] {
        let (before, mut adapted) = (store(), store());
        let attached = attach(kind, &options, &mut adapted, 3).unwrap();
        stir(&attached, &mut adapted);
        // The same adapter on weights that have taken it up.
        let mut merged = store();
        for (id, _) in before.iter() {
            merged.set(id, adapted.used_values(id).unwrap()).unwrap();
        }
        let again = attach(kind, &options, &mut merged, 3).unwrap();
        stir(&again, &mut merged);
        let undone = undo(&again, &mut merged);
        if kind == "dora" || kind == "houlsby" {
            assert!(undone.unwrap_err().to_string().contains("cannot be taken out"), "{kind}");
            continue;
        }
        undone.unwrap();
        let mut changed = 0;
        for (id, param) in before.iter() {
            let (expected, got) = (before.values(id).unwrap(), merged.used_values(id).unwrap());
            let apart = expected.iter().zip(&got).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(apart < 1e-6, "{kind}: {}: {apart}", param.path);
            changed += usize::from(adapted.used_values(id).unwrap() != expected);
        }
        assert!(changed > 1, "{kind}");
        if kind == "ia3" {
            let (_, scale) = again.parts[0].params[0];
            merged.set(scale, vec![0.0; merged.param(scale).len()]).unwrap();
            assert!(undo(&again, &mut merged).unwrap_err().to_string().contains("zero"));
        }
    }
}
