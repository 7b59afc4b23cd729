//! Parity with PyTorch and transformers on tiny random checkpoints: hidden states of every layer, pooled vectors,
//! logits, loss, the gradient of every parameter and ten AdamW steps, for every folder under `fixtures/` that has a
//! `golden.safetensors` (written by `fixtures/make/*.py`).

#![allow(clippy::unwrap_used)] // in a test a panic is the report

#[path = "parity/clip.rs"]
mod clip;
mod gradients;
#[path = "parity/pairs.rs"]
mod pairs;
#[path = "parity/pictures.rs"]
mod pictures;
#[path = "parity/saving.rs"]
mod saving;
#[path = "parity/table.rs"]
mod table;

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use gradients::{dense, floor};
use topwork_kernels::gemm::Precision;
use topwork_kernels::loss::IGNORE;
use topwork_models::model::plain;
use topwork_models::{Error, HeadSpec, LossOptions, Model, Permuted, Pooling, SaveOptions, Sources, Targets};
use topwork_nn::{Gradients, Pass, Site, Tap};
use topwork_testkit::{Golden, close, close_with_floor};
use topwork_text::Packed;
use topwork_train::TrainOptions;
use topwork_train::optim::AdamW;
use topwork_train::plan::Plan;
use topwork_weights::{Named, Op, SafeTensorsFile};

/// Relative to the scale of the tensor compared.
const FORWARD: f64 = 1e-5;
/// For gradients and for weights after ten steps.
const BACKWARD: f64 = 1e-4;
/// bf16 has 8 bits of mantissa: a product's inputs are off by up to 2^-9, which two layers multiply a little.
const BF16: f64 = 5e-2;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures")
}

const FAMILIES: [&str; 33] = [
    "bert",
    "ernie",
    "bert-generation",
    "roberta",
    "distilbert",
    "albert",
    "electra",
    "mpnet",
    "modernbert",
    "deberta",
    "deberta-v2",
    "gpt",
    "gpt2",
    "clip-text",
    "clip-vision",
    "vit",
    "llama",
    "mistral",
    "qwen2",
    "qwen3",
    "elmo",
    "awd-lstm",
    "flair",
    "bilstm",
    "cnn",
    "transformer",
    "t5",
    "mt5",
    "bart",
    "mbart",
    "marian",
    "xlnet",
    "transfo-xl",
];

/// Every model folder with goldens, `masked-lm` and the variants too.
fn folders() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for family in FAMILIES {
        let top = fixtures().join(family);
        let below = fs::read_dir(&top).unwrap().map(|entry| entry.unwrap().path());
        found.extend(below.filter(|path| path.join("golden.safetensors").is_file()));
        found.push(top);
    }
    found.sort();
    assert_eq!(found.len(), 161, "count the fixtures when you add one: {found:?}");
    found
}

fn golden(folder: &Path) -> Golden {
    Golden::open(folder.join("golden.safetensors")).unwrap()
}

fn packed(golden: &Golden) -> Packed {
    let numbers =
        |name: &str| -> Vec<u32> { golden.integers(name).unwrap().data.iter().map(|&n| n as u32).collect() };
    let ids = numbers("packed.ids");
    let type_ids =
        if golden.has("packed.type_ids") { numbers("packed.type_ids") } else { vec![0; ids.len()] };
    let chars = if golden.has("packed.chars") { numbers("packed.chars") } else { Vec::new() };
    let chars = chars.into_iter().map(|number| number as u16).collect();
    let pixels = if golden.has("packed.pixels") { numbers("packed.pixels") } else { Vec::new() };
    let pixels = pixels.into_iter().map(|number| number as u8).collect();
    Packed { ids, type_ids, offsets: numbers("packed.offsets"), chars, pixels, ..Packed::default() }
}

fn floats(golden: &Golden, name: &str) -> Vec<f32> {
    golden.floats(name).unwrap().data
}

fn targets(golden: &Golden, spec: &HeadSpec) -> Targets {
    let numbers = |name: &str| -> Arc<[u32]> {
        let data = golden.integers(name).unwrap().data;
        data.iter().map(|&n| if n < 0 { IGNORE } else { n as u32 }).collect()
    };
    let classes = || numbers("labels");
    let tokens = || numbers("packed.labels");
    let choices = || Targets::Choices { right: classes(), questions: numbers("questions") };
    match spec {
        HeadSpec::Classify { several: false, .. } => Targets::Classes(classes()),
        HeadSpec::Classify { several: true, .. } => Targets::Several(floats(golden, "labels")),
        HeadSpec::Regress { .. } => Targets::Scores(floats(golden, "labels")),
        HeadSpec::MaskedLm | HeadSpec::CausalLm | HeadSpec::Tag { .. } | HeadSpec::ReplacedToken => {
            Targets::Tokens(tokens())
        }
        HeadSpec::Span => Targets::Spans { starts: numbers("spans.starts"), ends: numbers("spans.ends") },
        HeadSpec::NextSentence => Targets::Classes(classes()),
        HeadSpec::MultipleChoice => choices(),
        HeadSpec::Pretraining => {
            Targets::Both { tokens: tokens(), texts: Box::new(Targets::Classes(classes())) }
        }
        HeadSpec::DoubleHeads => Targets::Both { tokens: tokens(), texts: Box::new(choices()) },
        HeadSpec::Seq2Seq => Targets::Texts {
            ids: golden.integers("target.labels").unwrap().data.iter().map(|&n| token(n)).collect(),
            offsets: golden.integers("target.offsets").unwrap().data.iter().map(|&n| n as u32).collect(),
        },
        HeadSpec::PermutationLm => {
            let numbers = |name: &str| golden.integers(&format!("permuted.{name}")).unwrap().data;
            Targets::Permuted(Permuted {
                visible: numbers("visible").iter().map(|&n| n as u8).collect(),
                asked: numbers("asked").iter().map(|&n| n as u32).collect(),
                words: numbers("words").iter().map(|&n| n as u32).collect(),
            })
        }
        // No class of transformers has them: their goldens are in `tests/heads.rs`.
        HeadSpec::Parse { .. } | HeadSpec::SpanPair { .. } => unreachable!("a folder with {spec:?}"),
        HeadSpec::Embed { .. } => unreachable!("a bare encoder has no loss"),
    }
}

/// The loss that the golden file has: the head's own, of vectors the mean square of what is missing to the labels.
fn loss(model: &Model, pass: &Pass, golden: &Golden) -> Tensor<1> {
    let input = packed(golden);
    if matches!(model.spec(), HeadSpec::Embed { .. }) {
        return loss_from(model, pass, model.features(pass, &input).unwrap(), golden);
    }
    model.loss(pass, &input, &targets(golden, model.spec()), &LossOptions::default()).unwrap()
}

/// [`loss`] from features.
fn loss_from(model: &Model, pass: &Pass, features: Tensor<2>, golden: &Golden) -> Tensor<1> {
    let input = packed(golden);
    if matches!(model.spec(), HeadSpec::Embed { .. }) {
        let vectors = model.head(pass, features, &input).unwrap();
        let labels = TensorData::new(floats(golden, "labels"), vectors.dims());
        let missing = vectors - Tensor::from_data(labels, model.store.device());
        return (missing.clone() * missing).mean();
    }
    let (targets, options) = (targets(golden, model.spec()), LossOptions::default());
    model.head_loss(pass, features, &input, &targets, &options).unwrap()
}

fn token(label: i64) -> u32 {
    if label < 0 { IGNORE } else { label as u32 }
}

/// Outputs as the reference has them: of an encoder-decoder the scores of whole targets.
fn logits(model: &Model, golden: &Golden, precision: Precision) -> Vec<f32> {
    let embeds = matches!(model.spec(), HeadSpec::Embed { .. });
    let texts = (!embeds).then(|| targets(golden, model.spec()));
    let Some(Targets::Texts { ids, offsets }) = texts else {
        return model.predict(&packed(golden), precision).unwrap();
    };
    let pass = Pass::eval(&model.store, precision);
    let sources = sources(model, &pass, golden);
    plain(model.seq2seq().unwrap().scores_of(&pass, &sources, &ids, &offsets).unwrap()).unwrap()
}

fn sources(model: &Model, pass: &Pass, golden: &Golden) -> Sources {
    let input = packed(golden);
    Sources::new(model.features(pass, &input).unwrap(), &input.offsets)
}

/// Reads every layer's output.
#[derive(Default)]
struct Layers(RefCell<Vec<Vec<f32>>>);

impl Tap for Layers {
    fn at(&self, site: Site, _: usize, x: Tensor<2>) -> Tensor<2> {
        if site == Site::Final {
            // The reference counts the last layer's output after the norm behind it.
            self.0.borrow_mut().pop();
        }
        if !matches!(site, Site::AfterAttention | Site::AfterAcross) {
            self.0.borrow_mut().push(plain(x.clone()).unwrap());
        }
        x
    }
}

fn bare(folder: &Path) -> bool {
    folder.ends_with("no-pooler") || folder.ends_with("bare") || folder.ends_with("vector")
}

fn open(folder: &Path) -> Model {
    let device = Device::flex();
    let opened = if bare(folder) {
        let spec = HeadSpec::embedder(Pooling::Cls, true);
        Model::open(folder, &spec, 0, &device)
    } else {
        Model::open_saved(folder, &device)
    };
    opened.unwrap_or_else(|e| panic!("{}: {e}", folder.display())).0
}

/// The name of a parameter in the golden file, with the prefix it has there, and what is done to the tensor of that name on its
/// way in.
fn upstream(model: &Model, golden: &Golden, path: &str) -> (String, Op) {
    let names = model.names().every(path);
    let there = names.iter().find(|(name, _)| golden.has(&format!("grad.{name}")));
    there.or(names.first()).unwrap().clone()
}

/// A tensor of the golden file as the parameter lies here.
fn imported(golden: &Golden, name: &str, (tensor, op): &(String, Op), shape: &[usize]) -> Vec<f32> {
    let data = floats(golden, name);
    let stored = op.inverse().shape(tensor, shape).unwrap();
    op.apply(tensor, &stored, data).unwrap()
}

#[test]
fn hidden_states_of_every_layer_and_pooled_vectors() {
    for folder in folders() {
        let (model, golden) = (open(&folder), golden(&folder));
        let layers = Layers::default();
        let pass = Pass::eval(&model.store, Precision::F32).with_tap(&layers);
        model.hidden(&pass, &packed(&golden)).unwrap();
        let layers = layers.0.into_inner();
        assert_eq!(layers.len(), model.size().layers + 1, "{}", folder.display());
        for (layer, hidden) in layers.iter().enumerate() {
            let expected = floats(&golden, &format!("hidden.{layer}"));
            close(hidden, &expected, FORWARD)
                .unwrap_or_else(|e| panic!("{} hidden {layer}: {e}", folder.display()));
        }
        for (name, pool) in [("cls", Pooling::Cls), ("mean", Pooling::Mean), ("max", Pooling::Max)] {
            if !golden.has(&format!("embed.{name}")) {
                continue;
            }
            let spec = HeadSpec::embedder(pool, true);
            let (model, _) = Model::open(&folder, &spec, 0, &Device::flex()).unwrap();
            let got = model.predict(&packed(&golden), Precision::F32).unwrap();
            close(&got, &floats(&golden, &format!("embed.{name}")), FORWARD)
                .unwrap_or_else(|e| panic!("{} {name}: {e}", folder.display()));
        }
    }
}

#[test]
fn hidden_states_of_every_layer_of_the_side_that_writes() {
    let mut seen = 0;
    for folder in folders().iter().filter(|f| !bare(f)) {
        let (model, golden) = (open(folder), golden(folder));
        if *model.spec() != HeadSpec::Seq2Seq {
            continue;
        }
        let Targets::Texts { ids, offsets } = targets(&golden, model.spec()) else { unreachable!() };
        let sources = sources(&model, &Pass::eval(&model.store, Precision::F32), &golden);
        let layers = Layers::default();
        let pass = Pass::eval(&model.store, Precision::F32).with_tap(&layers);
        model.seq2seq().unwrap().read(&pass, &sources, &ids, &offsets).unwrap();
        let layers = layers.0.into_inner();
        assert_eq!(layers.len(), model.seq2seq().unwrap().target().size().layers + 1);
        for (layer, hidden) in layers.iter().enumerate() {
            close(hidden, &floats(&golden, &format!("target.hidden.{layer}")), FORWARD)
                .unwrap_or_else(|e| panic!("{} target {layer}: {e}", folder.display()));
        }
        let options = LossOptions { smoothing: 0.1, ..LossOptions::default() };
        let pass = Pass::eval(&model.store, Precision::F32);
        let loss = model.loss(&pass, &packed(&golden), &targets(&golden, model.spec()), &options).unwrap();
        let expected = golden.scalar("smoothed.loss").unwrap() as f32;
        close(&[loss.into_scalar::<f32>()], &[expected], FORWARD)
            .unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        seen += 1;
    }
    assert_eq!(seen, 14);
}

#[test]
fn logits_and_loss() {
    let (mut seen, mut two) = (0, 0);
    for folder in folders().iter().filter(|f| !bare(f)) {
        let (model, golden) = (open(folder), golden(folder));
        let input = packed(&golden);
        close(&logits(&model, &golden, Precision::F32), &floats(&golden, "logits"), FORWARD)
            .unwrap_or_else(|e| panic!("{} logits: {e}", folder.display()));
        close(&logits(&model, &golden, Precision::Bf16), &floats(&golden, "logits"), BF16)
            .unwrap_or_else(|e| panic!("{} logits in bf16: {e}", folder.display()));
        let texts = model.predict_texts(&input, Precision::F32).unwrap();
        assert_eq!(texts.is_some(), golden.has("text_logits"), "{}", folder.display());
        if let Some(texts) = texts {
            close(&texts, &floats(&golden, "text_logits"), FORWARD)
                .unwrap_or_else(|e| panic!("{} outputs for texts: {e}", folder.display()));
            two += 1;
        }
        let pass = Pass::eval(&model.store, Precision::F32);
        let loss = loss(&model, &pass, &golden);
        let expected = golden.scalar("loss").unwrap() as f32;
        close(&[loss.into_scalar::<f32>()], &[expected], FORWARD)
            .unwrap_or_else(|e| panic!("{} loss: {e}", folder.display()));
        seen += 1;
    }
    assert_eq!((seen, two), (folders().iter().filter(|f| !bare(f)).count(), 5));
}

fn gradients(model: &Model, golden: &Golden, precision: Precision) -> (f32, Gradients) {
    let trainable = vec![true; model.store.len()];
    let pass = Pass::train(&model.store, precision, 0, &trainable);
    let loss = loss(model, &pass, golden);
    let value = loss.clone().into_scalar::<f32>();
    (value, pass.backward(&loss).unwrap())
}

/// A freshly initialised model of the folder's shape that drops at every place: the same must be dropped twice.
fn with_dropout(folder: &Path) -> Model {
    let text = std::fs::read_to_string(folder.join("config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
    for (name, value) in config.as_object_mut().unwrap() {
        if name.contains("dropout") || name.ends_with("_p") {
            *value = 0.1.into();
        }
    }
    let mut model = Model::declare(&config, open(folder).spec(), &Device::flex()).unwrap();
    for id in model.store.unset() {
        model.store.initialise(id, 1).unwrap();
    }
    model
}

#[test]
fn recomputing_layers_changes_no_bit_of_a_gradient() {
    let mut seen = 0;
    for folder in folders().iter().filter(|f| !bare(f)) {
        let (model, golden) = (with_dropout(folder), golden(folder));
        // All of it, with all below the second layer frozen, and with all above the first.
        for trained in [0..usize::MAX, 2..usize::MAX, 0..2] {
            let trainable: Vec<bool> = model.store.iter().map(|(_, p)| trained.contains(&p.group)).collect();
            let run = |recompute| {
                let pass = Pass::train(&model.store, Precision::F32, 5, &trainable).with_recompute(recompute);
                let loss = loss(&model, &pass, &golden);
                (loss.clone().into_scalar::<f32>(), pass.backward(&loss).unwrap())
            };
            let ((loss, kept), (again_loss, again)) = (run(false), run(true));
            assert_eq!(loss.to_bits(), again_loss.to_bits());
            seen += same_bits(&model, &kept, &again, &format!("{} groups {trained:?}", folder.display()));
        }
    }
    assert!(seen > 300, "{seen}");
}

/// How many parameters have a gradient; it must be the same to the bit on both sides.
fn same_bits(model: &Model, left: &Gradients, right: &Gradients, what: &str) -> usize {
    let mut seen = 0;
    for (id, param) in model.store.iter() {
        let bits = |gradients: &Gradients| {
            let found = gradients.get(id).map(|gradient| dense(gradient, &param.shape));
            found.map(|values| values.into_iter().map(f32::to_bits).collect::<Vec<_>>())
        };
        let (left, right) = (bits(left), bits(right));
        assert_eq!(left.is_some(), right.is_some(), "{what}: {}", param.path);
        assert!(left == right, "{what}: {}", param.path);
        seen += usize::from(right.is_some());
    }
    seen
}

#[test]
fn a_frozen_part_computed_before_changes_no_bit_of_a_gradient() {
    let mut seen = 0;
    for folder in folders().iter().filter(|f| !bare(f)) {
        let (model, golden) = (open(folder), golden(folder));
        let input = packed(&golden);
        if *model.spec() == HeadSpec::PermutationLm {
            // Which words are asked for enters with the embeddings: there is no part that could be computed before.
            continue;
        }
        for depth in 1..=model.depth() {
            let trainable: Vec<bool> = model.store.iter().map(|(_, p)| p.group >= depth).collect();
            let run = |before: bool| {
                let pass = Pass::train(&model.store, Precision::F32, 5, &trainable);
                let features = if before {
                    let eval = Pass::eval(&model.store, Precision::F32);
                    let lower = model.features_to(&eval, &input, depth).unwrap();
                    model.features_from(&pass, lower, &input, depth).unwrap()
                } else {
                    model.features(&pass, &input).unwrap()
                };
                let loss = loss_from(&model, &pass, features, &golden);
                (loss.clone().into_scalar::<f32>(), pass.backward(&loss).unwrap())
            };
            let ((loss, whole), (other_loss, upper)) = (run(false), run(true));
            assert_eq!(loss.to_bits(), other_loss.to_bits());
            seen += same_bits(&model, &whole, &upper, &format!("{} from group {depth}", folder.display()));
        }
    }
    assert!(seen > 300, "{seen}");
}

#[test]
fn the_gradient_of_every_parameter() {
    let mut seen = 0;
    for folder in folders().iter().filter(|f| !bare(f)) {
        let (model, golden) = (open(folder), golden(folder));
        let names = golden.below("grad.").count();
        let floor = floor(&golden);
        let (_, found) = gradients(&model, &golden, Precision::F32);
        let (_, rough) = gradients(&model, &golden, Precision::Bf16);
        let learnt = || model.store.iter().filter(|(_, param)| param.kind.learns());
        for (id, param) in learnt() {
            let upstream = upstream(&model, &golden, &param.path);
            let name = &upstream.0;
            let expected = imported(&golden, &format!("grad.{name}"), &upstream, param.file_shape());
            // What adds the same to all tokens a softmax is over (the last norm's bias under spans) has a gradient of zero: the sum
            // of numbers of which each is rounded to bf16.
            let zero = expected.iter().all(|g| f64::from(g.abs()) < 1e-4 * floor);
            let rough_floor = if zero { 5.0 * floor } else { floor };
            for (gradients, tolerance, floor) in
                [(&found, BACKWARD, floor), (&rough, 2.0 * BF16, rough_floor)]
            {
                let gradient = gradients.get(id).unwrap_or_else(|| panic!("{name}: no gradient"));
                let got = dense(gradient, &param.shape);
                close_with_floor(&got, &expected, tolerance, floor)
                    .unwrap_or_else(|e| panic!("{} gradient of {name}: {e}", folder.display()));
            }
            seen += 1;
        }
        assert_eq!(names, learnt().count(), "{}: every gradient was compared", folder.display());
    }
    assert!(seen > 400, "{seen}");
}

/// The model after the steps that the golden file describes, and the loss before each of them.
fn after_ten_steps(mut model: Model, golden: &Golden) -> (Model, Vec<f32>) {
    let number = |name: &str| golden.scalar(&format!("adamw.{name}")).unwrap();
    let options = TrainOptions {
        weight_decay: number("weight_decay"),
        decay_all: true,
        eps: number("eps"),
        ..TrainOptions::default()
    };
    let mut optimizer = AdamW::new(&options, model.store.len());
    let plan = vec![Plan::default(); model.store.len()];
    let mut losses = Vec::new();
    for _ in 0..number("steps") as usize {
        let (loss, mut gradients) = gradients(&model, golden, Precision::F32);
        losses.push(loss);
        optimizer.step(&mut model.store, &mut gradients, &plan, number("lr"), 1.0).unwrap();
    }
    (model, losses)
}

#[test]
fn ten_steps_of_adamw() {
    let mut seen = 0;
    for folder in folders() {
        let golden = golden(&folder);
        if !golden.has("losses") {
            continue;
        }
        let (model, losses) = after_ten_steps(open(&folder), &golden);
        close(&losses, &floats(&golden, "losses"), FORWARD * 10.0)
            .unwrap_or_else(|e| panic!("{} losses: {e}", folder.display()));
        for (id, param) in model.store.iter().filter(|(_, param)| param.kind.learns()) {
            let upstream = upstream(&model, &golden, &param.path);
            let name = &upstream.0;
            let expected = imported(&golden, &format!("after.{name}"), &upstream, param.file_shape());
            close(&model.store.values(id).unwrap(), &expected, BACKWARD)
                .unwrap_or_else(|e| panic!("{} {name} after ten steps: {e}", folder.display()));
        }
        seen += 1;
    }
    assert_eq!(
        seen,
        FAMILIES.len() + 2,
        "one folder of each family has steps, one with batch norms, and a pair"
    );
}

#[test]
fn weighted_and_smoothed_losses() {
    let mut seen = 0;
    for folder in folders() {
        let golden = golden(&folder);
        if !golden.has("weighted.loss") {
            continue;
        }
        let model = open(&folder);
        let weights: Vec<f32> = floats(&golden, "weighted.class_weights");
        let options = LossOptions {
            class_weights: Some(weights.into()),
            smoothing: golden.scalar("weighted.smoothing").unwrap() as f32,
            words: None,
            ..LossOptions::default()
        };
        let pass = Pass::eval(&model.store, Precision::F32);
        let loss = model.loss(&pass, &packed(&golden), &targets(&golden, model.spec()), &options).unwrap();
        let expected = golden.scalar("weighted.loss").unwrap() as f32;
        close(&[loss.into_scalar::<f32>()], &[expected], FORWARD)
            .unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        seen += 1;
    }
    assert_eq!(seen, 4);
}

#[test]
fn a_text_alone_in_a_batch_and_in_another_order_gives_the_same_bits() {
    for folder in folders().iter().filter(|f| !bare(f)) {
        let (model, golden) = (open(folder), golden(folder));
        let input = packed(&golden);
        let (batch, hidden) = (input.batch(), model.size().hidden);
        let run = |indices: &[usize]| -> Vec<Vec<f32>> {
            let chosen = input.select(indices);
            let pass = Pass::eval(&model.store, Precision::F32);
            let states = plain(model.hidden(&pass, &chosen).unwrap()).unwrap();
            (0..indices.len())
                .map(|n| {
                    let range = chosen.range(n);
                    states[range.start * hidden..range.end * hidden].to_vec()
                })
                .collect()
        };
        let together = run(&(0..batch).collect::<Vec<_>>());
        let reversed = run(&(0..batch).rev().collect::<Vec<_>>());
        let many = run(&(0..64).map(|n| n % batch).collect::<Vec<_>>());
        for text in 0..batch {
            let alone = &run(&[text])[0];
            assert_eq!(alone, &together[text], "{} text {text} in a batch", folder.display());
            assert_eq!(
                alone,
                &reversed[batch - 1 - text],
                "{} text {text} in another order",
                folder.display()
            );
            assert_eq!(alone, &many[text + batch * 2], "{} text {text} in a batch of 64", folder.display());
        }
    }
}
