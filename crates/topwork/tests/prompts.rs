//! Prompts and prefixes that peft has written (`fixtures/make/prompts.py`) against peft: outputs, every gradient, ten steps, files both ways; and
//! on every family that has a table of words.

#![allow(clippy::unwrap_used)] // in a test a panic is the report

mod gradients;
// Shared with the tests of heads, which use all of it.
#[allow(dead_code)]
mod golden;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use golden::{BACKWARD, FORWARD, floats, numbers, packed};
use gradients::{dense, floor};
use serde_json::json;
use topwork::opened;
use topwork_adapt::{Attached, Settings, peft};
use topwork_kernels::gemm::Precision;
use topwork_models::saved::spec_of;
use topwork_models::{
    FAMILIES, Family, HeadSpec, LossOptions, Model, Pooling, SaveOptions, Source, Targets, adapted,
};
use topwork_nn::{ParamId, Pass};
use topwork_testkit::{Golden, close, close_with_floor};
use topwork_text::Packed;
use topwork_train::TrainOptions;
use topwork_train::optim::AdamW;
use topwork_train::plan::Plan;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures")
}

const FOLDERS: [&str; 7] =
    ["bert", "gpt2", "llama", "prefix-bert", "prefix-gpt2", "prefix-gpt2-mlp", "prefix-llama"];

struct Case {
    golden: Golden,
    texts: Golden,
    model: Model,
    attached: Attached,
    /// What learns, by its name in PyTorch's model.
    learning: BTreeMap<String, ParamId>,
}

impl Case {
    fn open(name: &'static str) -> Self {
        let folder = fixtures().join("prompts").join(name);
        let base = fixtures().join(adapted::base_name(&folder).unwrap().unwrap());
        let source = Source::find(format!("{} on {}", folder.display(), base.display())).unwrap();
        let spec = spec_of(&source).unwrap();
        let (mut model, _) = Model::open_under(&source, &spec, 0, &Device::flex()).unwrap();
        let upstream = model.upstream_matrix();
        let golden = Golden::open(folder.join("golden.safetensors")).unwrap();
        // peft's file has what a network makes of a prefix, not the network.
        let inner = golden.has("param.prompt_encoder.transform.0.bias").then(|| {
            let bias = floats(&golden, "param.prompt_encoder.transform.0.bias").len();
            topwork_adapt::attach("prefix", &json!({"tokens": 2, "inner": bias}), &mut model.store, 0)
                .unwrap()
        });
        let opened = match inner {
            Some(attached) => peft::Opened { attached, whole: Vec::new() },
            None => peft::open(&folder, &mut model.store, &upstream).unwrap(),
        };
        let mut learning = BTreeMap::new();
        for (name, id) in opened.attached.parts.iter().flat_map(|part| &part.params) {
            let name = if *name == "prompt_embeddings" { "embedding.weight" } else { name };
            let name = format!("prompt_encoder.{name}");
            let drawn = format!("param.{name}");
            if golden.has(&drawn) {
                model.store.set(*id, floats(&golden, &drawn)).unwrap();
            }
            learning.insert(name, *id);
        }
        let ids: Vec<(ParamId, String)> = model
            .store
            .iter()
            .map(|(id, param)| (id, model.upstream_name(&param.path).unwrap_or_default()))
            .collect();
        for tensor in &opened.whole {
            let (id, _) = ids.iter().find(|(_, name)| *name == tensor.name).unwrap();
            model.store.set(*id, tensor.data.to_vec()).unwrap();
            learning.insert(format!("base_model.{}", tensor.name), *id);
        }
        let texts = Golden::open(base.join("golden.safetensors")).unwrap();
        Case { golden, texts, model, attached: opened.attached, learning }
    }

    fn loss(&self, pass: &Pass) -> burn::tensor::Tensor<1> {
        let labels = |name: &str| numbers(&self.texts, name).into();
        let targets = match self.model.spec() {
            HeadSpec::CausalLm => Targets::Tokens(labels("packed.labels")),
            _ => Targets::Classes(labels("labels")),
        };
        self.model.loss(pass, &self.input(), &targets, &LossOptions::default()).unwrap()
    }

    fn input(&self) -> Packed {
        packed(if self.golden.has("packed.ids") { &self.golden } else { &self.texts })
    }

    fn trainable(&self) -> Vec<bool> {
        let mut trainable = vec![false; self.model.store.len()];
        self.learning.values().for_each(|id| trainable[id.0] = true);
        trainable
    }
}

#[test]
fn outputs_and_every_gradient_are_those_of_peft() {
    for name in FOLDERS {
        let case = Case::open(name);
        let tokens = match case.attached.settings {
            Settings::Prompt(settings) => settings.tokens,
            Settings::Prefix(settings) => settings.tokens,
            other => panic!("{other:?}"),
        };
        assert_eq!(case.model.virtual_tokens(), tokens);
        let got = case.model.predict(&case.input(), Precision::F32).unwrap();
        close(&got, &floats(&case.golden, "logits"), FORWARD)
            .unwrap_or_else(|e| panic!("{name} logits: {e}"));
        let trainable = case.trainable();
        for recompute in [false, true] {
            let pass =
                Pass::train(&case.model.store, Precision::F32, 0, &trainable).with_recompute(recompute);
            let loss = case.loss(&pass);
            close(&[loss.clone().into_scalar::<f32>()], &floats(&case.golden, "loss"), FORWARD)
                .unwrap_or_else(|e| panic!("{name} loss: {e}"));
            let gradients = pass.backward(&loss).unwrap();
            assert_eq!(gradients.ids().count(), case.learning.len(), "{name}: what learns, and nothing else");
            for (tensor, id) in &case.learning {
                let got = dense(gradients.get(*id).unwrap(), &case.model.store.param(*id).shape);
                let expected = floats(&case.golden, &format!("grad.{tensor}"));
                close_with_floor(&got, &expected, BACKWARD, floor(&case.golden))
                    .unwrap_or_else(|e| panic!("{name} gradient of {tensor}: {e}"));
            }
        }
        assert_eq!(case.golden.below("grad.").count(), case.learning.len(), "{name}: every gradient");
    }
}

#[test]
fn ten_steps_are_those_of_peft() {
    for name in FOLDERS {
        let mut case = Case::open(name);
        let number = |key: &str| case.golden.scalar(&format!("adamw.{key}")).unwrap();
        let options = TrainOptions {
            weight_decay: number("weight_decay"),
            decay_all: true,
            eps: number("eps"),
            ..TrainOptions::default()
        };
        let rate = number("lr");
        let mut optimizer = AdamW::new(&options, case.model.store.len());
        let trainable = case.trainable();
        let plan: Vec<Plan> = trainable.iter().map(|&train| Plan { train, ..Plan::default() }).collect();
        let mut losses = Vec::new();
        for _ in 0..10 {
            let pass = Pass::train(&case.model.store, Precision::F32, 0, &trainable);
            let loss = case.loss(&pass);
            losses.push(loss.clone().into_scalar::<f32>());
            let mut gradients = pass.backward(&loss).unwrap();
            optimizer.step(&mut case.model.store, &mut gradients, &plan, rate, 1.0).unwrap();
        }
        close(&losses, &floats(&case.golden, "losses"), FORWARD * 10.0)
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        for (tensor, id) in &case.learning {
            let got = case.model.store.values(*id).unwrap();
            close(&got, &floats(&case.golden, &format!("after.{tensor}")), BACKWARD)
                .unwrap_or_else(|e| panic!("{name}: {tensor} after ten steps: {e}"));
        }
        assert_eq!(case.golden.below("after.").count(), case.learning.len(), "{name}");
    }
}

/// What was read and written again is the same file, tensor by tensor, and both halves open as one model.
#[test]
fn files_are_written_as_peft_has_them() {
    for name in FOLDERS {
        let case = Case::open(name);
        let model = &case.model;
        let size = model.size();
        // Of a prefix peft counts the heads of keys.
        let heads = match case.attached.settings {
            Settings::Prefix(prefix) => size.heads * prefix.width / size.hidden,
            _ => size.heads,
        };
        let about = peft::About { base: "base", head: model.spec().name(), layers: size.layers, heads };
        // Of a model with scores of its own these would stand there too; here they did not learn.
        let mut head = model.export_head().unwrap();
        head.retain(|tensor| case.learning.contains_key(&format!("base_model.{}", tensor.name)));
        let adapter = peft::prompt_files(&case.attached, &model.store, &about, head).unwrap();
        let saved = tempfile::tempdir().unwrap();
        let folder = saved.path().join("model");
        model.save(&folder, &SaveOptions { adapter, ..SaveOptions::default() }).unwrap();
        let file =
            |folder: &Path| topwork_weights::SafeTensorsFile::open(folder.join(peft::WEIGHTS_FILE)).unwrap();
        let (ours, theirs) = (file(&folder.join("adapter")), file(&fixtures().join("prompts").join(name)));
        let mut names: Vec<&str> = ours.names().collect();
        let mut expected: Vec<&str> = theirs.names().collect();
        names.sort_unstable();
        expected.sort_unstable();
        assert_eq!(names, expected);
        for tensor in names {
            assert_eq!(ours.shape(tensor), theirs.shape(tensor), "{tensor}");
            // What a network makes is computed anew.
            let exact = if name.ends_with("mlp") { FORWARD } else { 0.0 };
            close(&ours.read(tensor).unwrap(), &theirs.read(tensor).unwrap(), exact)
                .unwrap_or_else(|e| panic!("{name} {tensor}: {e}"));
        }
        let settings = |folder: &Path| -> serde_json::Value {
            serde_json::from_slice(&std::fs::read(folder.join(peft::CONFIG_FILE)).unwrap()).unwrap()
        };
        let (ours, theirs) =
            (settings(&folder.join("adapter")), settings(&fixtures().join("prompts").join(name)));
        for key in
            ["peft_type", "task_type", "num_virtual_tokens", "token_dim", "num_layers", "num_attention_heads"]
        {
            assert_eq!(ours[key], theirs[key], "{name} {key}");
        }
        let (again, report) = opened::open_saved(&folder).unwrap();
        assert!(report.fresh.is_empty());
        let texts = case.input();
        let expected = model.predict(&texts, Precision::F32).unwrap();
        let exact = if name.ends_with("mlp") { FORWARD } else { 0.0 };
        close(&again.predict(&texts, Precision::F32).unwrap(), &expected, exact)
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        // Half of it is another model, and does not open by mistake.
        assert!(Model::open_saved(&folder, &Device::flex()).is_err());
        let error = model.save(&saved.path().join("plain"), &SaveOptions::default()).unwrap_err().to_string();
        assert!(error.contains("a model folder without it"), "{error}");
    }
}

#[test]
fn files_that_say_something_else_are_refused_by_name() {
    let check = |name: &str, from: &str, to: &str, expected: &str| {
        let folder = fixtures().join("prompts").join(name);
        let copy = tempfile::tempdir().unwrap();
        for file in [peft::CONFIG_FILE, peft::WEIGHTS_FILE] {
            std::fs::copy(folder.join(file), copy.path().join(file)).unwrap();
        }
        let path = copy.path().join(peft::CONFIG_FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from}: {text}");
        std::fs::write(&path, text.replace(from, to)).unwrap();
        let (mut model, _) = Model::open_saved(&fixtures().join("bert/relu"), &Device::flex()).unwrap();
        let upstream = model.upstream_matrix();
        let error = peft::open(copy.path(), &mut model.store, &upstream).unwrap_err().to_string();
        assert!(error.contains(expected), "{error:?} should contain {expected:?}");
    };
    check("bert", "submodules\": 1", "submodules\": 2", "num_transformer_submodules = 2");
    check("bert", "PROMPT_TUNING", "P_TUNING", "peft_type P_TUNING");
    check("gpt2", "PROMPT_TUNING", "PROMPT_TUNING", "expected rows of 16, got 24");
    check("prefix-gpt2", "PREFIX_TUNING", "PREFIX_TUNING", "expected rows of 64, got 96");
    let (mut model, _) = Model::open_saved(&fixtures().join("bert/relu"), &Device::flex()).unwrap();
    for (options, expected) in [
        (json!({"tokens": 0}), "at least 1"),
        (json!({"tokens": 1.5}), "at least 1"),
        (json!({"start": "zeros"}), "words or normal"),
        (json!({"rank": 1}), "tokens, start"),
    ] {
        let error = topwork_adapt::attach("prompt", &options, &mut model.store, 0).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let error = topwork_adapt::attach("prefix", &json!({"inner": -1}), &mut model.store, 0).unwrap_err();
    assert!(error.to_string().contains("a whole number"), "{error}");
    topwork_adapt::attach("prompt", &json!({}), &mut model.store, 0).unwrap();
    let error = topwork_adapt::attach("prompt", &json!({}), &mut model.store, 0).unwrap_err().to_string();
    assert!(error.contains("some already"), "{error}");
}

/// Texts of several lengths, the last one empty but for a token.
fn some_texts() -> Packed {
    let ids: Vec<u32> = (0..17).map(|at| 5 + (at * 7) % 19).collect();
    Packed { type_ids: vec![0; ids.len()], ids, offsets: vec![0, 6, 16, 17], ..Packed::default() }
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

#[test]
fn every_family_with_words_takes_a_prompt() {
    let refused = every_family(&json!({"tokens": 3, "start": "normal"}), "prompt", 25);
    assert_eq!(refused, ["clip-vision", "vit", "elmo", "transfo-xl"]);
}

#[test]
fn every_family_that_attends_to_its_own_keys_takes_a_prefix() {
    let refused = every_family(&json!({"tokens": 3}), "prefix", 20);
    assert_eq!(
        refused,
        ["albert", "clip-vision", "vit", "elmo", "awd-lstm", "flair", "bilstm", "cnn", "xlnet", "transfo-xl"]
    );
}

/// Puts one in every family; those that have no place for it.
fn every_family(options: &serde_json::Value, kind: &str, least: usize) -> Vec<&'static str> {
    let (mut taken, mut refused) = (Vec::new(), Vec::new());
    for family in FAMILIES {
        let folder = fixtures().join(family.name);
        if !folder.join("config.json").is_file() {
            continue;
        }
        let config = Source::find(&folder).unwrap().config().clone();
        for spec in [
            HeadSpec::classifier(vec!["a".into(), "b".into()], false, Pooling::Mean),
            HeadSpec::tagger(vec!["a".into(), "b".into()]),
        ] {
            let case = format!("{} {}", family.name, spec.name());
            if family.reads_pictures() && matches!(spec, HeadSpec::Tag { .. }) {
                continue;
            }
            let mut model = Model::declare(&config, &spec, &Device::flex()).unwrap();
            for id in model.store.unset() {
                model.store.initialise(id, 1).unwrap();
            }
            let input = input_of(family);
            let before = if family.name == "elmo" {
                Vec::new()
            } else {
                model.predict(&input, Precision::F32).unwrap()
            };
            let attached = match topwork_adapt::attach(kind, options, &mut model.store, 7) {
                Ok(attached) => attached,
                Err(error) => {
                    let why = ["no table of words", "have no keys"];
                    assert!(why.iter().any(|why| error.to_string().contains(why)), "{case}: {error}");
                    refused.push(family.name);
                    continue;
                }
            };
            assert_eq!(model.virtual_tokens(), 3, "{case}");
            if let Err(error) = model.predict(&input, Precision::F32) {
                let why = ["no place for a prefix", "layers that share their weights", "reading pictures"];
                assert!(why.iter().any(|why| error.to_string().contains(why)), "{case}: {error}");
                refused.push(family.name);
                continue;
            }
            // As many answers as before, others, and those of a text do not depend on its neighbours.
            let after = model.predict(&input, Precision::F32).unwrap();
            assert_eq!(after.len(), before.len(), "{case}");
            assert_ne!(after, before, "{case}");
            let mut alone = Vec::new();
            for at in 0..input.batch() {
                alone.extend(model.predict(&input.select(&[at]), Precision::F32).unwrap());
            }
            assert_eq!(alone, after, "{case}");
            // In two steps as at once.
            for depth in 1..=model.depth() {
                let pass = Pass::eval(&model.store, Precision::F32);
                let lower = model.features_to(&pass, &input, depth).unwrap();
                let features = model.features_from(&pass, lower, &input, depth).unwrap();
                let whole =
                    topwork_models::model::plain(model.head(&pass, features, &input).unwrap()).unwrap();
                assert_eq!(whole, after, "{case}: from {depth}");
            }
            // Every virtual token learns.
            let (_, id) = attached.parts[0].params[0];
            let mut trainable = vec![false; model.store.len()];
            trainable[id.0] = true;
            let gradients = |recompute: bool| {
                let pass = Pass::train(&model.store, Precision::F32, 3, &trainable).with_recompute(recompute);
                let targets = match spec {
                    HeadSpec::Tag { .. } => Targets::Tokens(vec![1; input.tokens()].into()),
                    _ => Targets::Classes([0, 1, 1].into()),
                };
                let loss = model.loss(&pass, &input, &targets, &LossOptions::default()).unwrap();
                let found = pass.backward(&loss).unwrap();
                assert_eq!(found.ids().collect::<Vec<_>>(), [id], "{case}");
                dense(found.get(id).unwrap(), &model.store.param(id).shape)
            };
            let found = gradients(false);
            let width = found.len() / 3;
            // The window of a convolution need not reach all of them.
            let mut rows = found.chunks(width).map(|row| row.iter().any(|&value| value != 0.0));
            let reached = if matches!(spec, HeadSpec::Tag { .. }) {
                rows.next_back() == Some(true)
            } else {
                rows.all(|row| row)
            };
            assert!(reached, "{case}: {found:?}");
            assert_eq!(gradients(true), found, "{case}");
            taken.push(family.name);
        }
    }
    taken.dedup();
    refused.dedup();
    assert!(taken.len() >= least, "{taken:?}");
    refused
}

#[test]
fn what_has_no_place_for_virtual_tokens_is_refused() {
    let (mut model, _) = Model::open(&fixtures().join("t5"), &HeadSpec::Seq2Seq, 1, &Device::flex()).unwrap();
    topwork_adapt::attach("prefix", &json!({}), &mut model.store, 0).unwrap();
    let pass = Pass::eval(&model.store, Precision::F32);
    let error = model.features(&pass, &some_texts()).unwrap_err().to_string();
    assert!(error.contains("writing texts"), "{error}");
    let case = Case::open("gpt2");
    let error = case.model.decoder().err().unwrap().to_string();
    assert!(error.contains("virtual tokens"), "{error}");
    assert_eq!(case.model.max_tokens() + 2, case.model.size().max_tokens);
    assert_eq!(Case::open("llama").model.virtual_tokens(), 4);
    let folder = tempfile::tempdir().unwrap();
    assert!(topwork_models::onnx::export(&case.model, &folder.path().join("x.onnx")).is_err());
}
