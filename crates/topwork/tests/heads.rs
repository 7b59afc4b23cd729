//! Heads that no class of transformers has, against PyTorch: outputs, loss, the gradient of every parameter and AdamW steps, for
//! every case of `fixtures/heads` (written by `fixtures/make/heads.py`). Besides, that what is kept of frozen layers, and what is
//! computed once more on the way back, changes no bit; and that what is saved opens again.

#![allow(clippy::unwrap_used)] // in a test a panic is the report

mod golden;
mod gradients;

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Device;
use golden::{FORWARD, every_gradient, floats, numbers, packed, ten_steps};
use gradients::dense;
use topwork_kernels::gemm::Precision;
use topwork_kernels::loss::IGNORE;
use topwork_models::model::{HEAD_WEIGHTS, plain};
use topwork_models::tagging::forbidden;
use topwork_models::trees::Attached;
use topwork_models::{
    Body, Groups, HeadSpec, Layers, LossOptions, Members, Model, Pooling, SaveOptions, Slices, SpanRow,
    Targets,
};
use topwork_nn::{Gradients, ParamId, Pass};
use topwork_testkit::{Golden, close};
use topwork_text::{Marks, Packed};
use topwork_weights::SafeTensorsFile;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/heads")
}

struct Case {
    name: String,
    spec: HeadSpec,
    golden: Golden,
    input: Packed,
}

fn cases() -> Vec<Case> {
    let text = fs::read_to_string(folder().join("cases.json")).unwrap();
    let specs: BTreeMap<String, HeadSpec> = serde_json::from_str(&text).unwrap();
    assert_eq!(specs.len(), 23, "count the cases when you add one");
    let case = |(name, spec): (String, HeadSpec)| {
        let golden = Golden::open(folder().join(format!("{name}.safetensors"))).unwrap();
        let input = Packed { marks: marks(&golden), ..packed(&golden) };
        Case { name, spec, golden, input }
    };
    specs.into_iter().map(case).collect()
}

/// The ranges that the head is asked about, where it is.
fn marks(golden: &Golden) -> Marks {
    let mut marks = Marks::default();
    if golden.has("packed.marks") {
        let (ends, offsets) = (numbers(golden, "packed.marks"), numbers(golden, "packed.mark_offsets"));
        for pair in offsets.windows(2) {
            let own = ends.chunks(2).take(pair[1] as usize).skip(pair[0] as usize);
            marks.push(own.map(|ends| ends[0]..ends[1]));
        }
    }
    marks
}

impl Case {
    fn open(&self) -> Model {
        let model = golden::open(&self.spec, &self.golden);
        let heads = model.store.iter().filter(|(_, param)| param.path.starts_with("head.")).count();
        assert_eq!(
            heads,
            self.golden.below("param.").count(),
            "{}: every parameter has its value",
            self.name
        );
        model
    }

    fn targets(&self) -> Targets {
        match &self.spec {
            HeadSpec::Classify { slices, .. } if !slices.is_empty() => {
                let holds = numbers(&self.golden, "members").into_iter().map(|member| member == 1).collect();
                let members = Members { parts: slices.len(), holds };
                Targets::Sliced(numbers(&self.golden, "labels").into(), members)
            }
            HeadSpec::Classify { .. } | HeadSpec::SpanPair { .. } => {
                Targets::Classes(numbers(&self.golden, "labels").into())
            }
            HeadSpec::Regress { .. } => Targets::Scores(floats(&self.golden, "labels")),
            HeadSpec::Tag { .. } => Targets::Tokens(numbers(&self.golden, "packed.labels").into()),
            HeadSpec::Parse { .. } => Targets::Trees {
                heads: numbers(&self.golden, "heads").into(),
                relations: numbers(&self.golden, "relations").into(),
            },
            other => panic!("no targets for {other:?}"),
        }
    }

    fn gradients(&self, model: &Model, recompute: bool) -> (f32, Gradients) {
        let trainable = vec![true; model.store.len()];
        let pass = Pass::train(&model.store, Precision::F32, 0, &trainable).with_recompute(recompute);
        let loss = model.loss(&pass, &self.input, &self.targets(), &LossOptions::default()).unwrap();
        (loss.clone().into_scalar::<f32>(), pass.backward(&loss).unwrap())
    }

    /// Where the outputs of a text stand among those of the batch.
    fn outputs(&self, text: usize) -> Range<usize> {
        let (input, labels) = (&self.input, self.spec.outputs().unwrap_or(1));
        let pairs = |text: usize| input.marks.places(text).len() * (input.marks.places(text).len() + 1);
        match &self.spec {
            HeadSpec::Parse { .. } => {
                let start = (0..text).map(pairs).sum();
                start..start + pairs(text)
            }
            HeadSpec::Classify { .. } | HeadSpec::Regress { .. } | HeadSpec::SpanPair { .. } => {
                text * labels..(text + 1) * labels
            }
            _ => input.range(text).start * labels..input.range(text).end * labels,
        }
    }
}

fn bits(gradients: &Gradients, id: ParamId, shape: &[usize]) -> Option<Vec<u32>> {
    let found = gradients.get(id).map(|gradient| dense(gradient, shape));
    found.map(|values| values.into_iter().map(f32::to_bits).collect())
}

#[test]
fn outputs_and_loss() {
    for case in cases() {
        let model = case.open();
        let got = model.predict(&case.input, Precision::F32).unwrap();
        close(&got, &floats(&case.golden, "logits"), FORWARD)
            .unwrap_or_else(|e| panic!("{}: {e}", case.name));
        let pass = Pass::eval(&model.store, Precision::F32);
        let loss = model.loss(&pass, &case.input, &case.targets(), &LossOptions::default()).unwrap();
        let expected = case.golden.scalar("loss").unwrap() as f32;
        close(&[loss.into_scalar::<f32>()], &[expected], FORWARD)
            .unwrap_or_else(|e| panic!("{} loss: {e}", case.name));
    }
}

#[test]
fn the_gradient_of_every_parameter() {
    let mut seen = 0;
    for case in cases() {
        let model = case.open();
        let (_, found) = case.gradients(&model, false);
        seen += every_gradient(&case.name, &case.golden, &model, &found);
    }
    assert!(seen > 900, "{seen}");
}

#[test]
fn ten_steps_of_adamw() {
    let mut seen = 0;
    for case in cases().into_iter().filter(|case| case.golden.has("losses")) {
        ten_steps(&case.name, &case.golden, case.open(), |model| case.gradients(model, false));
        seen += 1;
    }
    assert_eq!(seen, 5);
}

#[test]
fn recomputing_layers_changes_no_bit() {
    for case in cases() {
        let model = case.open();
        let ((loss, kept), (again_loss, again)) =
            (case.gradients(&model, false), case.gradients(&model, true));
        assert_eq!(loss.to_bits(), again_loss.to_bits(), "{}", case.name);
        for (id, param) in model.store.iter() {
            let same = bits(&kept, id, &param.shape) == bits(&again, id, &param.shape);
            assert!(same, "{} {}", case.name, param.path);
        }
    }
}

#[test]
fn a_frozen_part_computed_before_changes_no_bit() {
    let mut seen = 0;
    for case in cases() {
        let (model, input, targets) = (case.open(), &case.input, case.targets());
        for depth in 1..=model.depth() {
            let trainable: Vec<bool> = model.store.iter().map(|(_, p)| p.group >= depth).collect();
            let run = |before: bool| {
                let pass = Pass::train(&model.store, Precision::F32, 5, &trainable);
                let features = if before {
                    let eval = Pass::eval(&model.store, Precision::F32);
                    let lower = model.features_to(&eval, input, depth).unwrap();
                    let pooled = depth == model.depth() && model.pooled().is_some();
                    let rows = if pooled { input.batch() } else { input.tokens() };
                    assert_eq!(lower.dims(), [rows, model.width_to(depth)], "{} {depth}", case.name);
                    model.features_from(&pass, lower, input, depth).unwrap()
                } else {
                    model.features(&pass, input).unwrap()
                };
                let loss =
                    model.head_loss(&pass, features, input, &targets, &LossOptions::default()).unwrap();
                (loss.clone().into_scalar::<f32>(), pass.backward(&loss).unwrap())
            };
            let ((loss, whole), (other_loss, upper)) = (run(false), run(true));
            assert_eq!(loss.to_bits(), other_loss.to_bits(), "{} {depth}", case.name);
            for (id, param) in model.store.iter() {
                let (left, right) = (bits(&whole, id, &param.shape), bits(&upper, id, &param.shape));
                assert!(left == right, "{} from {depth}: {}", case.name, param.path);
                seen += usize::from(left.is_some());
            }
        }
    }
    assert!(seen > 1500, "{seen}");
}

#[test]
fn neighbours_change_no_bit_of_outputs() {
    let (mut seen, mut without) = (0, 0);
    for case in cases() {
        let (model, input) = (case.open(), &case.input);
        let whole = model.predict(input, Precision::F32).unwrap();
        for text in 0..input.batch() {
            let (alone, outputs) = (input.select(&[text]), case.outputs(text));
            if outputs.is_empty() {
                let error = model.predict(&alone, Precision::F32).unwrap_err().to_string();
                assert!(error.contains("at least one word"), "{error}");
                without += 1;
                continue;
            }
            assert_eq!(
                model.predict(&alone, Precision::F32).unwrap(),
                whole[outputs.clone()],
                "{} text {text}",
                case.name
            );
            seen += outputs.len();
        }
        assert_eq!(case.outputs(input.batch() - 1).end, whole.len(), "{}", case.name);
    }
    assert!(seen > 800 && without == 2, "{seen} numbers, {without} texts without any");
}

#[test]
fn what_is_saved_opens_again() {
    for case in cases() {
        let model = case.open();
        let before = model.predict(&case.input, Precision::F32).unwrap();
        let temporary = tempfile::tempdir().unwrap();
        let target = temporary.path().join("saved");
        model.save(&target, &SaveOptions::default()).unwrap();
        let (again, _) = Model::open_saved(&target, &Device::flex()).unwrap();
        assert_eq!(again.predict(&case.input, Precision::F32).unwrap(), before, "{}", case.name);
        assert_eq!(again.spec(), model.spec());
        // The encoder is still one that transformers opens: the head stands beside it.
        let tensors = SafeTensorsFile::open(target.join("model.safetensors")).unwrap();
        assert!(tensors.names().all(|name| !name.starts_with("head.")), "{}", case.name);
        let head = SafeTensorsFile::open(target.join(HEAD_WEIGHTS)).unwrap();
        assert_eq!(head.names().count(), case.golden.below("param.").count(), "{}", case.name);
        let config: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(target.join("config.json")).unwrap()).unwrap();
        assert_eq!(config["architectures"], serde_json::json!(["BertModel"]), "{}", case.name);
    }
}

#[test]
fn the_best_labels_are_those_of_all_labellings() {
    let mut seen = 0;
    for case in cases().into_iter().filter(|case| case.golden.has("best")) {
        let model = case.open();
        let (scores, offsets) = (floats(&case.golden, "logits"), &case.input.offsets);
        let best = model.best_labels(&scores, offsets, None, None).unwrap();
        assert_eq!(best, numbers(&case.golden, "best"), "{}", case.name);
        let HeadSpec::Tag { labels, .. } = &case.spec else { panic!("{}", case.name) };
        let count = labels.len();
        let barred = forbidden(labels);
        let asked: Vec<bool> =
            numbers(&case.golden, "packed.labels").iter().map(|&label| label != IGNORE).collect();
        let valid = model.best_labels(&scores, offsets, Some(&asked), Some(&barred)).unwrap();
        let shares = model.label_shares(&scores, offsets, Some(&asked)).unwrap();
        for text in 0..case.input.batch() {
            let mut before = None;
            for token in case.input.range(text) {
                let sum: f32 = shares[token * count..][..count].iter().sum();
                assert!((sum - if asked[token] { 1.0 } else { 0.0 }).abs() < 1e-5, "{sum}");
                assert_eq!(valid[token] == IGNORE, !asked[token]);
                if asked[token] {
                    let label = valid[token] as usize;
                    let bar = match before {
                        None => barred.start[label],
                        Some(before) => barred.between[before * count + label],
                    };
                    assert!(!bar, "{} token {token}", case.name);
                    before = Some(label);
                }
            }
        }
        assert!(model.best_labels(&scores[1..], offsets, None, None).is_err());
        assert!(model.best_labels(&scores, offsets, Some(&asked[1..]), None).is_err());
        let options = LossOptions { smoothing: 0.1, ..LossOptions::default() };
        let pass = Pass::eval(&model.store, Precision::F32);
        let error = model.loss(&pass, &case.input, &case.targets(), &options).err().unwrap().to_string();
        assert!(error.contains("crf = true"), "{error}");
        seen += 1;
    }
    assert_eq!(seen, 2);
}

#[test]
fn trees_are_the_best_of_all_trees() {
    let mut seen = 0;
    for case in cases().into_iter().filter(|case| case.golden.has("tree.heads")) {
        let (model, input) = (case.open(), &case.input);
        let pass = Pass::eval(&model.store, Precision::F32);
        let trees =
            |input: &Packed| model.trees(&pass, model.features(&pass, input).unwrap(), input).unwrap();
        let all = trees(input);
        let column = |of: fn(&Attached) -> u32| all.iter().flatten().map(of).collect::<Vec<u32>>();
        assert_eq!(column(|word| word.head), numbers(&case.golden, "tree.heads"), "{}", case.name);
        assert_eq!(column(|word| word.relation), numbers(&case.golden, "tree.relations"), "{}", case.name);
        assert!(all.iter().flatten().all(|word| word.probability > 0.0 && word.probability <= 1.0));
        for (text, tree) in all.iter().enumerate() {
            assert_eq!(
                trees(&input.select(&[text])),
                std::slice::from_ref(tree),
                "{} text {text}",
                case.name
            );
        }
        let pass = Pass::eval(&model.store, Precision::F32);
        let wrong = model.loss(&pass, input, &Targets::Scores(vec![]), &LossOptions::default());
        assert!(wrong.err().unwrap().to_string().contains("needs targets of kind trees"));
        seen += 1;
    }
    assert_eq!(seen, 2);
    let tagger = cases().into_iter().find(|case| case.name == "tag-mix").unwrap();
    let (model, input) = (tagger.open(), &tagger.input);
    let pass = Pass::eval(&model.store, Precision::F32);
    let features = model.features(&pass, input).unwrap();
    assert!(model.trees(&pass, features, input).unwrap_err().to_string().contains("task parse"));
}

#[test]
fn the_shares_of_layers_can_be_read() {
    let mut seen = 0;
    for case in cases() {
        let model = case.open();
        let shares = model.layer_weights().unwrap();
        assert_eq!(shares.is_some(), case.golden.has("param.head.mix.weights"), "{}", case.name);
        let Some(shares) = shares else { continue };
        let weights = floats(&case.golden, "param.head.mix.weights");
        let sum: f32 = weights.iter().map(|w| w.exp()).sum();
        let expected: Vec<f32> = weights.iter().map(|w| w.exp() / sum).collect();
        close(&shares, &expected, 1e-6).unwrap();
        seen += 1;
    }
    assert_eq!(seen, 10);
}

#[test]
fn families_of_every_kind_read_any_layers_with_any_body() {
    let fixtures = folder().join("..");
    let labels = vec!["a".to_string(), "b".to_string(), "c".to_string()];
    let (mut seen, mut refused) = (0, Vec::new());
    let families =
        ["bert", "albert", "t5", "bart", "xlnet", "elmo", "awd-lstm", "flair", "cnn", "modernbert", "llama"];
    for family in families {
        let golden = Golden::open(fixtures.join(family).join("golden.safetensors")).unwrap();
        let ids = numbers(&golden, "packed.ids");
        let type_ids = match golden.has("packed.type_ids") {
            true => numbers(&golden, "packed.type_ids"),
            false => vec![0; ids.len()],
        };
        let chars = match golden.has("packed.chars") {
            true => numbers(&golden, "packed.chars").into_iter().map(|n| n as u16).collect(),
            false => Vec::new(),
        };
        let offsets = numbers(&golden, "packed.offsets");
        let plain_input = Packed { ids, type_ids, chars, offsets, ..Packed::default() };
        let marked = |marks: &dyn Fn(u32) -> Vec<Range<u32>>| {
            let mut input = plain_input.clone();
            plain_input.lengths().for_each(|length| input.marks.push(marks(length as u32)));
            input
        };
        let words = marked(&|length| (0..length).map(|token| token..token + 1).collect());
        let spans = marked(&|length| vec![0..1, 0..length]);
        let input = &plain_input;
        let classes: Arc<[u32]> = (0..input.batch() as u32).map(|text| text % 3).collect();
        let tokens: Arc<[u32]> = (0..input.tokens() as u32).map(|token| token % 3).collect();
        let heads: Arc<[u32]> = input.lengths().flat_map(|length| (0..length as u32).rev()).collect();
        for layers in [
            Layers::First,
            Layers::SecondToLast,
            Layers::SumLast4,
            Layers::ConcatLast4,
            Layers::SumAll,
            Layers::Mix,
        ] {
            let body = Body::BiLstm { width: 3, layers: 1 };
            let classify = |pool, body| HeadSpec::Classify {
                labels: labels.clone(),
                several: false,
                pool,
                body,
                layers,
                groups: Groups::default(),
                slices: Slices::default(),
            };
            let specs = [
                classify(Pooling::Family, Body::Own),
                classify(Pooling::Attention, Body::Mlp { width: 4 }),
                classify(Pooling::Mean, body),
                HeadSpec::Tag { labels: labels.clone(), crf: true, body, layers },
                HeadSpec::Parse {
                    labels: labels.clone(),
                    several_roots: false,
                    arc_width: 5,
                    relation_width: 4,
                    dropout: 0.1,
                    body,
                    layers,
                },
                HeadSpec::SpanPair { labels: labels.clone(), row: SpanRow::Ends, body, layers },
            ];
            for spec in specs {
                let model = match Model::open(&fixtures.join(family), &spec, 3, &Device::flex()) {
                    Ok((model, _)) => model,
                    Err(error) => {
                        refused.push(format!("{family} {}: {error}", layers.name()));
                        continue;
                    }
                };
                let input = match spec {
                    HeadSpec::Parse { .. } => &words,
                    HeadSpec::SpanPair { .. } => &spans,
                    _ => input,
                };
                let targets = match spec {
                    HeadSpec::Tag { .. } => Targets::Tokens(Arc::clone(&tokens)),
                    HeadSpec::Parse { .. } => {
                        Targets::Trees { heads: Arc::clone(&heads), relations: Arc::clone(&tokens) }
                    }
                    _ => Targets::Classes(Arc::clone(&classes)),
                };
                let trainable = vec![true; model.store.len()];
                let run = |recompute| {
                    let pass =
                        Pass::train(&model.store, Precision::F32, 5, &trainable).with_recompute(recompute);
                    let loss = model.loss(&pass, input, &targets, &LossOptions::default()).unwrap();
                    (loss.clone().into_scalar::<f32>(), pass.backward(&loss).unwrap())
                };
                let ((loss, kept), (again, redone)) = (run(false), run(true));
                assert!(loss.is_finite() && loss.to_bits() == again.to_bits(), "{family} {spec:?}: {loss}");
                let read = model.parts_read();
                for (id, param) in model.store.iter().filter(|(_, param)| param.kind.learns()) {
                    let (left, right) = (bits(&kept, id, &param.shape), bits(&redone, id, &param.shape));
                    assert!(left == right, "{family} {spec:?}: {} computed once more", param.path);
                    let unread = (read..model.depth()).contains(&param.group);
                    assert!(!(unread && left.is_some()), "{family} {spec:?}: {}", param.path);
                }
                for depth in 1..=model.depth() {
                    let pass = Pass::eval(&model.store, Precision::F32);
                    let lower = model.features_to(&pass, input, depth).unwrap();
                    assert_eq!(lower.dims()[1], model.width_to(depth), "{family} {spec:?} {depth}");
                    let features = model.features_from(&pass, lower, input, depth).unwrap();
                    let at_once = model.features(&pass, input).unwrap();
                    assert!(plain(features).unwrap() == plain(at_once).unwrap(), "{family} {spec:?} {depth}");
                }
                seen += 1;
            }
        }
    }
    let text = refused.join("\n");
    assert_eq!((seen, refused.len()), (266, 130), "{text}");
}
