//! Bottleneck adapters that AdapterHub's package has written (`fixtures/make/bottleneck.py`) against it: outputs, every gradient,
//! ten steps; and on every family that has blocks: they begin as nothing, and all of them learn.

#![allow(clippy::unwrap_used)] // in a test a panic is the report

mod gradients;
// Shared with the tests of heads and techniques, which use all of it.
#[allow(dead_code)]
mod golden;
#[allow(dead_code)]
mod same;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use golden::{BACKWARD, FORWARD, floats, numbers, packed};
use gradients::{dense, floor};
use same::{fixtures, ten_steps_on};
use serde_json::{Value, json};
use topwork_adapt::{Attached, Settings, adapter_hub};
use topwork_kernels::gemm::Precision;
use topwork_models::saved::spec_of;
use topwork_models::{FAMILIES, Family, HeadSpec, Model, Pooling, SaveOptions, Source};
use topwork_nn::{ParamId, ParamStore, Pass};
use topwork_testkit::{Golden, close, close_with_floor};
use topwork_text::Packed;
use topwork_weights::Checkpoint;

/// The folders of adapters.
fn folders() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        fixtures().join("bottleneck").read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    assert_eq!(found.len(), 14, "{found:?}");
    found
}

/// The folder of the model that an adapter's settings name.
fn base_folder(folder: &Path) -> PathBuf {
    let text = std::fs::read_to_string(folder.join(adapter_hub::CONFIG_FILE)).unwrap();
    let config: Value = serde_json::from_str(&text).unwrap();
    fixtures().join(config["model_name"].as_str().unwrap())
}

/// The model under an adapter; with a head as the adapter's, if that has its own.
fn base(folder: &Path) -> Model {
    let source = Source::find(format!("{} on {}", folder.display(), base_folder(folder).display())).unwrap();
    let mut model = Model::open_under(&source, &spec_of(&source).unwrap(), 0, &Device::flex()).unwrap().0;
    let head = folder.join("model_head.safetensors");
    if head.is_file() {
        let head = Checkpoint::open(&head).unwrap();
        let upstream = model.upstream_tensors();
        let ids: Vec<(ParamId, String)> =
            model.store.iter().map(|(id, param)| (id, upstream(&param.path).unwrap_or_default())).collect();
        for (id, name) in ids.into_iter().filter(|(_, name)| head.shape(name).is_some()) {
            model.store.set(id, head.read(&name).unwrap()).unwrap();
        }
    }
    model
}

fn texts(folder: &Path) -> Golden {
    Golden::open(base_folder(folder).join("golden.safetensors")).unwrap()
}

/// The files that hold an adapter's tensors.
const FILES: [&str; 4] = [
    "adapter.safetensors",
    "pytorch_adapter.bin",
    "model_adapter_fusion.safetensors",
    "pytorch_model_adapter_fusion.bin",
];

/// The names of the adapters that are mixed; none of one that is alone.
fn mixed(folder: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join(adapter_hub::CONFIG_FILE)).unwrap();
    let config: Value = serde_json::from_str(&text).unwrap();
    let names = config["fusion"].as_array().cloned().unwrap_or_default();
    names.iter().map(|name| name.as_str().unwrap().to_string()).collect()
}

/// The tensors of an adapter's file, by their names with the adapter's own name taken out.
fn tensors(folder: &Path) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let named = FILES.map(|name| folder.join(name));
    let file = Checkpoint::open(named.iter().find(|path| path.is_file()).unwrap()).unwrap();
    let mut own = vec!["task".to_string(), "topwork".to_string()];
    own.extend(folder.file_name().map(|name| name.to_string_lossy().into_owned()));
    let plain =
        |name: &str| own.iter().fold(name.to_string(), |name, own| name.replace(&format!(".{own}."), "."));
    file.names()
        .map(|name| (plain(name), (file.shape(name).unwrap().to_vec(), file.read(name).unwrap())))
        .collect()
}

/// A model with an adapter, and the parameters that learn by their names in PyTorch's model.
fn open(folder: &Path) -> (Model, Attached, BTreeMap<String, ParamId>) {
    let mut model = base(folder);
    let upstream = model.upstream_tensors();
    let attached = adapter_hub::open(folder, &mut model.store, &upstream).unwrap();
    // Each tensor of the file is a parameter of the adapter, and is found by its values.
    let mut learning = BTreeMap::new();
    let ids: Vec<ParamId> =
        attached.parts.iter().flat_map(|part| part.params.iter().map(|(_, id)| *id)).collect();
    for (name, (shape, values)) in tensors(folder) {
        // What all parts share is a cube there.
        let fits = |own: &[usize]| own == shape || (name.contains("shared_parameters") && own[0] == shape[0]);
        let same = |id: &&ParamId| {
            fits(&model.store.param(**id).shape) && model.store.values(**id).unwrap() == values
        };
        let id = ids.iter().find(same).unwrap_or_else(|| panic!("{name} is nowhere"));
        let name = name.replace("shared_parameters.", "shared_parameters.task.");
        learning.insert(name.replace(".adapters.", ".adapters.task."), *id);
    }
    assert_eq!(learning.len(), ids.len());
    for (id, param) in model.store.iter() {
        let name = upstream(&param.path).unwrap_or_default();
        if ["classifier.", "score.", "pooler."].iter().any(|part| name.contains(part)) {
            learning.insert(name, id);
        }
    }
    (model, attached, learning)
}

#[test]
fn outputs_and_every_gradient_are_those_of_the_reference() {
    for folder in folders() {
        let golden = Golden::open(folder.join("golden.safetensors")).unwrap();
        let (model, _, learning) = open(&folder);
        let (case, texts) = (folder.display(), texts(&folder));
        let got = model.predict(&packed(&texts), Precision::F32).unwrap();
        close(&got, &floats(&golden, "logits"), FORWARD).unwrap_or_else(|e| panic!("{case} logits: {e}"));
        let mut trainable = vec![false; model.store.len()];
        learning.values().for_each(|id| trainable[id.0] = true);
        for recompute in [false, true] {
            let pass = Pass::train(&model.store, Precision::F32, 0, &trainable).with_recompute(recompute);
            let loss = same::loss_of(&model, &packed(&texts), &numbers(&texts, "labels"), &pass).unwrap();
            close(&[loss.clone().into_scalar::<f32>()], &floats(&golden, "loss"), FORWARD).unwrap();
            let gradients = pass.backward(&loss).unwrap();
            assert_eq!(
                gradients.ids().count(),
                learning.len(),
                "{case}: what learns has a gradient, and nothing else"
            );
            for (name, id) in &learning {
                let got = dense(gradients.get(*id).unwrap(), &model.store.param(*id).shape);
                let expected = floats(&golden, &format!("grad.{name}"));
                close_with_floor(&got, &expected, BACKWARD, floor(&golden))
                    .unwrap_or_else(|e| panic!("{case} gradient of {name}: {e}"));
            }
        }
        assert_eq!(golden.below("grad.").count(), learning.len(), "{case}: every gradient was compared");
    }
}

#[test]
fn ten_steps_are_those_of_the_reference_and_the_model_itself_stays() {
    for folder in folders() {
        let golden = Golden::open(folder.join("golden.safetensors")).unwrap();
        let (model, attached, learning) = open(&folder);
        let case = folder.display();
        let patterns = attached.patterns(&model.store);
        let mut only = json!({"only": {"patterns": patterns}});
        // As AdapterTrainer pulls the maps of values.
        let values: Vec<&String> = patterns.iter().filter(|path| path.contains("fusion.value")).collect();
        if !values.is_empty() {
            only["l2-sp"] = json!({"alpha": 0.02, "beta": 0, "of": values});
        }
        let (model, seen) = ten_steps_on(texts(&folder), model, &golden, &only, 0.0);
        close(&seen.losses, &floats(&golden, "losses"), FORWARD * 10.0)
            .unwrap_or_else(|e| panic!("{case}: {e}"));
        for (name, id) in &learning {
            close(&model.store.values(*id).unwrap(), &floats(&golden, &format!("after.{name}")), BACKWARD)
                .unwrap_or_else(|e| panic!("{case}: {name} after ten steps: {e}"));
        }
        assert_eq!(golden.below("after.").count(), learning.len(), "{case}: every parameter was compared");
        let (mut still, before) = (0, base(&folder));
        for (id, param) in before.store.iter().filter(|(id, _)| !learning.values().any(|own| own == id)) {
            let (now, then) = (model.store.values(id).unwrap(), before.store.values(id).unwrap());
            assert_eq!(now, then, "{case}: {}", param.path);
            still += 1;
        }
        assert!(still > 20, "{still}");
    }
}

/// What was read and written again is the same file, tensor by tensor, and says the same of itself.
#[test]
fn files_are_written_as_the_reference_has_them() {
    for folder in folders() {
        let (model, attached, _) = open(&folder);
        let (config, upstream) = (model.saved_config(), model.upstream_tensors());
        let files = adapter_hub::files(&attached, &model.store, (&config, "base"), &upstream).unwrap();
        let written = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = written.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let names = mixed(&folder);
        let inner = names.iter().map(|name| (name.as_str(), adapter_hub::CONFIG_FILE, 20));
        let own = if names.is_empty() { adapter_hub::CONFIG_FILE } else { "adapter_fusion_config.json" };
        let least = if names.is_empty() { 20 } else { 9 };
        for (inside, file, least) in inner.chain([("", own, least)]) {
            same_files(&written.path().join(inside), &folder.join(inside), file, least);
        }
        assert_eq!(mixed(written.path()), names);
    }
}

/// Both folders have the same tensors and the same settings, of which there are so many.
fn same_files(ours: &Path, theirs: &Path, file: &str, least: usize) {
    assert_eq!(tensors(ours), tensors(theirs), "{}", theirs.display());
    let settings = |folder: &Path| -> Value {
        serde_json::from_str(&std::fs::read_to_string(folder.join(file)).unwrap()).unwrap()
    };
    let (case, ours, theirs) = (theirs.display(), settings(ours), settings(theirs));
    let mut compared = 0;
    for (key, value) in ours["config"].as_object().unwrap() {
        let expected = &theirs["config"][key];
        let same = value == expected || (value.is_number() && value.as_f64() == expected.as_f64());
        assert!(same, "{case}: {key}: {value} and {expected}");
        compared += 1;
    }
    assert!(compared >= least, "{compared}");
    for key in ["hidden_size", "model_class", "model_type"] {
        assert_eq!(ours[key], theirs[key], "{key}");
    }
}

#[test]
fn files_that_say_something_else_are_refused_by_name() {
    let folder = fixtures().join("bottleneck/houlsby");
    let files: Vec<String> = ["adapter_config.json", "adapter.safetensors"].map(str::to_string).into();
    let check_in = |folder: &Path, from: &str, to: &str, expected: &str| {
        let copy = tempfile::tempdir().unwrap();
        for name in &files {
            std::fs::copy(folder.join(name), copy.path().join(name)).unwrap();
        }
        let path = copy.path().join("adapter_config.json");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from}: {text}");
        std::fs::write(&path, text.replace(from, to)).unwrap();
        let mut model = base(folder);
        let upstream = model.upstream_tensors();
        let error = adapter_hub::open(copy.path(), &mut model.store, &upstream).unwrap_err().to_string();
        assert!(error.contains(expected), "{error:?} should contain {expected:?}");
    };
    let check = |from: &str, to: &str, expected: &str| check_in(&folder, from, to, expected);
    let thin = fixtures().join("bottleneck/compacter");
    check_in(&thin, "\"shared_W_phm\": false", "\"shared_W_phm\": true", "shared_W_phm = true");
    check_in(&thin, "\"phm_rank\": 1", "\"phm_rank\": 2", "expected the shape");
    check_in(&thin, "\"phm_dim\": 2", "\"phm_dim\": null", "phm_dim: expected a whole number");
    check_in(&thin, "\"phm_dim\": 2", "\"phm_dim\": 3", "divides the width");
    check_in(&thin, "\"is_parallel\": false", "\"is_parallel\": true", "of a parallel adapter");
    check("\"use_gating\": false", "\"use_gating\": true", "use_gating = true");
    check("\"phm_layer\": false", "\"phm_layer\": true", "no adapter_down.0.W_left");
    check("\"scaling\": 1.0", "\"scaling\": \"learned\"", "scaling");
    check("\"cross_adapter\": false", "\"cross_adapter\": true", "cross_adapter");
    check("\"non_linearity\": \"swish\"", "\"non_linearity\": \"leakyrelu\"", "leakyrelu");
    check("\"reduction_factor\": 4", "\"reduction_factor\": 2", "expected the shape");
    check("\"original_ln_before\": false", "\"original_ln_before\": true", "other blocks");
    check("\"config\": {", "\"config\": {\"architecture\": \"lora\",", "architecture lora");
    check("\"config\": {", "\"config\": ", "adapter_config.json");
    // Of another model: one layer more in the file than there is.
    let mut model = base(&fixtures().join("bottleneck/gpt2-houlsby"));
    let upstream = model.upstream_tensors();
    assert!(adapter_hub::open(&folder, &mut model.store, &upstream).is_err());
}

/// Three short texts.
fn some_texts() -> Packed {
    let ids: Vec<u32> = (0..21).map(|at| 5 + (at * 7) % 19).collect();
    Packed { type_ids: vec![0; ids.len()], ids, offsets: vec![0, 6, 13, 21], ..Packed::default() }
}

/// Three pictures for models of the fixtures that read such, else the texts.
fn input_of(family: &Family) -> Packed {
    if !family.reads_pictures() {
        return some_texts();
    }
    let ids: Vec<u32> = (0..30).map(|at| u32::from(at % 10 != 0)).collect();
    let pixels = (0..30 * 48).map(|at| (at * 31 % 251) as u8).collect();
    Packed { type_ids: vec![0; 30], ids, offsets: vec![0, 10, 20, 30], pixels, ..Packed::default() }
}

/// Sets every parameter of an adapter to numbers that matter.
fn stir(attached: &Attached, store: &mut ParamStore) {
    for (_, id) in attached.parts.iter().flat_map(|part| part.params.clone()) {
        let values = store.values(id).unwrap();
        let stirred = values.iter().enumerate().map(|(at, value)| value + 0.3 * (at as f32 + 1.0).cos());
        store.set(id, stirred.collect()).unwrap();
    }
}

const KINDS: [&str; 5] = ["houlsby", "pfeiffer", "parallel", "compacter", "compacter-plus"];

/// A model of the settings in a folder, with dropout.
fn declared(folder: &Path) -> Model {
    let mut config = Source::find(folder).unwrap().config().clone();
    for (key, value) in config.as_object_mut().unwrap() {
        if ["dropout", "pdrop"].iter().any(|part| key.contains(part)) && value.is_number() {
            *value = json!(0.1);
        }
    }
    let spec = HeadSpec::classifier(vec!["a".into(), "b".into()], false, Pooling::Mean);
    let mut model = Model::declare(&config, &spec, &Device::flex()).unwrap();
    for id in model.store.unset() {
        model.store.initialise(id, 1).unwrap();
    }
    model
}

/// In every layer of every family that has blocks, without any of them knowing.
#[test]
fn every_family_with_blocks_takes_every_kind() {
    let (mut taken, mut refused) = (Vec::new(), Vec::new());
    for family in FAMILIES {
        let folder = fixtures().join(family.name);
        if !folder.join("config.json").is_file() {
            continue;
        }
        for kind in KINDS {
            let case = format!("{} {kind}", family.name);
            let mut model = declared(&folder);
            let input = input_of(family);
            let thin = json!({"reduction": 2, "terms": 2});
            let options = if kind.starts_with("compacter") { thin } else { json!({"size": 3}) };
            let attached = match topwork_adapt::attach(kind, &options, &mut model.store, 7) {
                Ok(attached) => attached,
                Err(error) => {
                    assert!(error.to_string().contains("no weight of a layer"), "{case}: {error}");
                    refused.push(family.name);
                    continue;
                }
            };
            let layers = model.store.iter().filter(|(_, p)| p.path.ends_with(".ffn.down.weight")).count();
            let both = ["houlsby", "compacter"].contains(&kind);
            let blocks = if both { 2 * layers } else { layers };
            assert_eq!(attached.parts.len(), blocks, "{case}");

            // Nothing at first, to the bit, with dropout too.
            let plain = declared(&folder);
            let all = |model: &Model| vec![true; model.store.len()];
            let loss = |model: &Model| {
                let all = all(model);
                let pass = Pass::train(&model.store, Precision::F32, 3, &all);
                same::loss_of(model, &input, &[0, 1, 1], &pass).unwrap().into_scalar::<f32>()
            };
            assert_eq!(loss(&model).to_bits(), loss(&plain).to_bits(), "{case}");
            let before = model.predict(&input, Precision::F32).unwrap();
            assert_eq!(before, plain.predict(&input, Precision::F32).unwrap(), "{case}");

            // Then something, wherever it stands: every parameter has a gradient that is not zero.
            stir(&attached, &mut model.store);
            let after = model.predict(&input, Precision::F32).unwrap();
            assert_ne!(after, before, "{case}");
            let ids: Vec<ParamId> =
                attached.parts.iter().flat_map(|part| part.params.iter().map(|(_, id)| *id)).collect();
            let mut trainable = vec![false; model.store.len()];
            ids.iter().for_each(|id| trainable[id.0] = true);
            let gradients = |recompute: bool| {
                let pass = Pass::train(&model.store, Precision::F32, 3, &trainable).with_recompute(recompute);
                let loss = same::loss_of(&model, &input, &[0, 1, 1], &pass).unwrap();
                pass.backward(&loss).unwrap()
            };
            let (found, again) = (gradients(false), gradients(true));
            assert_eq!(found.ids().count(), ids.len(), "{case}: and nothing else");
            for id in &ids {
                let param = model.store.param(*id);
                let got = dense(found.get(*id).unwrap(), &param.shape);
                assert!(got.iter().any(|value| *value != 0.0), "{case}: {}", param.path);
                assert_eq!(got, dense(again.get(*id).unwrap(), &param.shape), "{case}: {}", param.path);
            }
            taken.push(family.name);
        }
    }
    taken.dedup();
    refused.dedup();
    assert_eq!(refused, ["elmo", "awd-lstm", "flair", "bilstm", "cnn"]);
    assert_eq!(taken.len(), 28, "{taken:?}");
}

/// Both sides of a model that writes.
#[test]
fn sides_that_write_take_them_too() {
    for name in ["t5", "bart"] {
        let folder = fixtures().join(name);
        let mut model = Model::open(&folder, &HeadSpec::Seq2Seq, 1, &Device::flex()).unwrap().0;
        let attached = topwork_adapt::attach("houlsby", &json!({"size": 3}), &mut model.store, 7).unwrap();
        let layers = |side: &str| {
            let mine = |path: &str| path.starts_with("target.") == (side == "target");
            model.store.iter().filter(|(_, p)| p.path.ends_with(".ffn.down.weight") && mine(&p.path)).count()
        };
        let blocks = |side: &str| {
            let mine = |path: &str| path.starts_with("target.") == (side == "target");
            attached.parts.iter().filter(|part| mine(&part.weight)).count()
        };
        for side in ["source", "target"] {
            assert!(layers(side) > 0, "{name} {side}");
            assert_eq!(blocks(side), 2 * layers(side), "{name} {side}: attention to itself and feed-forward");
        }
    }
}

#[test]
fn what_cannot_say_that_there_is_one_is_not_written() {
    let (model, attached, _) = open(&fixtures().join("bottleneck/pfeiffer"));
    assert!(!attached.merges() && matches!(attached.settings, Settings::Bottleneck(_)));
    let folder = tempfile::tempdir().unwrap();
    let error = model.save(&folder.path().join("model"), &SaveOptions::default()).unwrap_err().to_string();
    assert!(error.contains("base and adapter"), "{error}");
    let error = topwork_models::onnx::export(&model, &folder.path().join("x.onnx")).unwrap_err().to_string();
    assert!(error.contains("an ONNX graph"), "{error}");
    assert!(folder.path().read_dir().unwrap().next().is_none());

    // Saved apart, both halves open again together, and neither alone by mistake.
    let (config, upstream) = (model.saved_config(), model.upstream_tensors());
    let adapter = adapter_hub::files(&attached, &model.store, (&config, "base"), &upstream).unwrap();
    let saved = folder.path().join("model");
    model.save(&saved, &SaveOptions { adapter, ..SaveOptions::default() }).unwrap();
    let error = Model::open_saved(&saved, &Device::flex()).err().unwrap().to_string();
    assert!(error.contains("changed by the adapter"), "{error}");
    let texts = packed(&texts(&fixtures().join("bottleneck/pfeiffer")));
    let whole = topwork::opened::open_saved(&saved).unwrap().0;
    let expected = model.predict(&texts, Precision::F32).unwrap();
    assert_eq!(whole.predict(&texts, Precision::F32).unwrap(), expected);
    let half = Model::open_saved(Source::find(&saved).unwrap().folder(), &Device::flex()).unwrap().0;
    assert_ne!(half.predict(&texts, Precision::F32).unwrap(), expected);
}

/// Two adapters of a kind as files, each with its own numbers.
fn two_adapters(kind: &str, folder: &Path, family: &Path) -> [PathBuf; 2] {
    ["mails", "mood"].map(|name| {
        let mut model = declared(family);
        let size = json!({"size": if name == "mails" { 3 } else { 2 }});
        let attached = topwork_adapt::attach(kind, &size, &mut model.store, 7).unwrap();
        stir(&attached, &mut model.store);
        let (config, upstream) = (model.saved_config(), model.upstream_tensors());
        let files = adapter_hub::files(&attached, &model.store, (&config, "base"), &upstream).unwrap();
        write_all(&folder.join(name), files);
        folder.join(name)
    })
}

fn write_all(folder: &Path, files: Vec<(String, Vec<u8>)>) {
    for (name, content) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

/// On every family with blocks: what mixes two adapters learns, they do not, and all of it comes back from files.
#[test]
fn every_family_with_blocks_mixes_adapters() {
    let mut taken = Vec::new();
    for family in FAMILIES {
        let folder = fixtures().join(family.name);
        let kind = if taken.len() % 2 == 0 { "houlsby" } else { "pfeiffer" };
        let there = folder.join("config.json").is_file();
        if !there
            || topwork_adapt::attach(kind, &json!({"size": 2}), &mut declared(&folder).store, 7).is_err()
        {
            continue;
        }
        let files = tempfile::tempdir().unwrap();
        let adapters = two_adapters(kind, files.path(), &folder);
        let (mut model, input) = (declared(&folder), input_of(family));
        let upstream = model.upstream_tensors();
        let options = json!({"adapters": adapters});
        let attached = topwork_adapt::attach_to("fusion", &options, &mut model.store, 7, &upstream).unwrap();
        let names: Vec<&str> = attached.members.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["mails", "mood"], "{}", family.name);
        let all: Vec<ParamId> =
            attached.parts.iter().flat_map(|part| part.params.iter().map(|(_, id)| *id)).collect();
        assert_eq!(all.len(), 5 * attached.parts.len());
        let mut trainable = vec![false; model.store.len()];
        all.iter().for_each(|id| trainable[id.0] = true);
        let gradients = |recompute: bool| {
            let pass = Pass::train(&model.store, Precision::F32, 3, &trainable).with_recompute(recompute);
            let loss = same::loss_of(&model, &input, &[0, 1, 1], &pass).unwrap();
            pass.backward(&loss).unwrap()
        };
        let (found, again) = (gradients(false), gradients(true));
        assert_eq!(found.ids().count(), all.len(), "{}: and nothing else", family.name);
        for id in &all {
            let param = model.store.param(*id);
            let got = dense(found.get(*id).unwrap(), &param.shape);
            // A bias of the keys moves all scores of a token alike.
            let moves = got.iter().any(|value| *value != 0.0) || param.path.ends_with("key.bias");
            assert!(moves, "{}: {}", family.name, param.path);
            assert!(got == dense(again.get(*id).unwrap(), &param.shape), "{}: {}", family.name, param.path);
        }
        let answers = model.predict(&input, Precision::F32).unwrap();
        let config = model.saved_config();
        let written = adapter_hub::files(&attached, &model.store, (&config, "base"), &upstream).unwrap();
        write_all(&files.path().join("both"), written);
        let mut opened = declared(&folder);
        let again = adapter_hub::open(&files.path().join("both"), &mut opened.store, &upstream).unwrap();
        assert_eq!(again.settings, attached.settings);
        assert_eq!(opened.predict(&input, Precision::F32).unwrap(), answers, "{}", family.name);
        taken.push(family.name);
    }
    assert_eq!(taken.len(), 28, "{taken:?}");
}

#[test]
fn adapters_that_cannot_be_mixed_are_refused_by_name() {
    let folder = fixtures().join("bert");
    let files = tempfile::tempdir().unwrap();
    let [mails, _] = two_adapters("houlsby", files.path(), &folder);
    let [other, _] = two_adapters("pfeiffer", &files.path().join("other"), &folder);
    let [beside, again] = two_adapters("parallel", &files.path().join("beside"), &folder);
    let peft = fixtures().join("adapters/lora");
    for (adapters, expected) in [
        (json!([mails, other]), "adapters of one kind"),
        (json!([beside, again]), "houlsby or pfeiffer"),
        (json!([mails, peft]), "none of the package adapters"),
        (json!([mails, "no/such/folder"]), "no/such/folder"),
        (json!([mails]), "at least two adapters"),
        (json!(7), "adapters"),
    ] {
        let mut model = declared(&folder);
        let upstream = model.upstream_tensors();
        let options = json!({"adapters": adapters});
        let error = topwork_adapt::attach_to("fusion", &options, &mut model.store, 7, &upstream).unwrap_err();
        assert!(error.to_string().contains(expected), "{error} should contain {expected:?}");
    }
}

/// A pass that leaves the lowest layers' adapters out is one of a model that has none there, and so is a model they were taken from.
#[test]
fn layers_go_without_their_adapters() {
    let folder = fixtures().join("bert");
    for kind in ["houlsby", "compacter"] {
        let options =
            if kind == "compacter" { json!({"reduction": 2, "terms": 2}) } else { json!({"size": 3}) };
        let mut model = declared(&folder);
        let mut attached = topwork_adapt::attach(kind, &options, &mut model.store, 7).unwrap();
        stir(&attached, &mut model.store);
        let all: Vec<ParamId> =
            attached.parts.iter().flat_map(|part| part.params.iter().map(|(_, id)| *id)).collect();
        let mut trainable = vec![false; model.store.len()];
        all.iter().for_each(|id| trainable[id.0] = true);
        let run = |model: &Model, from: usize, recompute: bool| {
            let pass = Pass::train(&model.store, Precision::F32, 3, &trainable)
                .with_recompute(recompute)
                .with_grafts_from(from);
            let loss = same::loss_of(model, &some_texts(), &[0, 1, 1], &pass).unwrap();
            let value = loss.clone().into_scalar::<f32>();
            (value.to_bits(), pass.backward(&loss).unwrap())
        };
        let (whole, _) = run(&model, 1, false);
        let (dropped, gradients) = run(&model, 2, false);
        assert_ne!(whole, dropped);
        assert_eq!(run(&model, 2, true).0, dropped);
        for id in &all {
            let param = model.store.param(*id);
            assert_eq!(gradients.get(*id).is_some(), param.group > 1, "{kind}: {}", param.path);
        }
        topwork_adapt::shorten(&mut attached, 1, &mut model.store).unwrap();
        assert_eq!(run(&model, 0, false).0, dropped, "{kind}");
        let (config, upstream) = (model.saved_config(), model.upstream_tensors());
        let files = adapter_hub::files(&attached, &model.store, (&config, "base"), &upstream).unwrap();
        let there = tempfile::tempdir().unwrap();
        write_all(there.path(), files);
        let mut opened = declared(&folder);
        adapter_hub::open(there.path(), &mut opened.store, &upstream).unwrap();
        let (ours, theirs) = (&model, &opened);
        let answers = |model: &Model| model.predict(&some_texts(), Precision::F32).unwrap();
        assert_eq!(answers(theirs), answers(ours), "{kind}");
        let error = topwork_adapt::shorten(&mut attached, 2, &mut model.store).unwrap_err().to_string();
        assert!(error.contains("none of its layers"), "{error}");
    }
    let mut model = declared(&folder);
    let mut attached = topwork_adapt::attach("lora", &json!({}), &mut model.store, 7).unwrap();
    let error = topwork_adapt::shorten(&mut attached, 1, &mut model.store).unwrap_err().to_string();
    assert!(error.contains("lora") && error.contains("ends of blocks"), "{error}");
}
