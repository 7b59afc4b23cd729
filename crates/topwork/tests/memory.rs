//! Texts read segment by segment, each with what was remembered of those before, against the reference: for every golden file with
//! `memory.*` in it (written by `fixtures/make/xlnet.py` and `transfo_xl.py`).

#![allow(clippy::unwrap_used)] // in a test a panic is the report

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor};
use topwork_kernels::gemm::Precision;
use topwork_models::model::plain;
use topwork_models::{HeadSpec, LossOptions, Model, Permuted, Pooling, Targets};
use topwork_nn::{Pass, Site, Tap, param::download};
use topwork_ops::Gradient;
use topwork_testkit::{Golden, close, close_with_floor};
use topwork_text::Packed;

const FOLDERS: [&str; 7] = [
    "xlnet/permutation-lm",
    "xlnet/uni",
    "xlnet/memory/same-length",
    "xlnet/reuse",
    "transfo-xl",
    "transfo-xl/one-table",
    "transfo-xl/norms-first",
];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)
}

fn open(name: &str) -> (Model, Golden) {
    let folder = fixture(name);
    let model = Model::open_saved(&folder, &Device::flex()).unwrap().0;
    (model, Golden::open(folder.join("golden.safetensors")).unwrap())
}

/// One segment of the golden texts.
struct Segment<'a>(&'a Golden, String);

impl Segment<'_> {
    fn numbers(&self, name: &str) -> Vec<u32> {
        let data = self.0.integers(&format!("{}.{name}", self.1)).unwrap().data;
        data.iter().map(|&n| n as u32).collect()
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        self.0.floats(&format!("{}.{name}", self.1)).unwrap().data
    }

    fn input(&self) -> Packed {
        let ids = self.numbers("packed.ids");
        let types = format!("{}.packed.type_ids", self.1);
        let type_ids = if self.0.has(&types) { self.numbers("packed.type_ids") } else { vec![0; ids.len()] };
        Packed::new(ids, type_ids, self.numbers("packed.offsets")).unwrap()
    }

    fn targets(&self) -> Targets {
        if self.0.has(&format!("{}.packed.labels", self.1)) {
            return Targets::Tokens(self.numbers("packed.labels").into());
        }
        Targets::Permuted(Permuted {
            visible: self.numbers("permuted.visible").iter().map(|&n| n as u8).collect(),
            asked: self.numbers("permuted.asked").into(),
            words: self.numbers("permuted.words").into(),
        })
    }
}

fn segments(golden: &Golden) -> Vec<Segment<'_>> {
    let count = (0..).take_while(|n| golden.has(&format!("memory.{n}.packed.ids"))).count();
    assert!(count > 2);
    (0..count).map(|n| Segment(golden, format!("memory.{n}"))).collect()
}

#[derive(Default)]
struct Layers(RefCell<Vec<Vec<f32>>>);

impl Tap for Layers {
    fn at(&self, site: Site, _: usize, x: Tensor<2>) -> Tensor<2> {
        if site != Site::AfterAttention {
            self.0.borrow_mut().push(plain(x.clone()).unwrap());
        }
        x
    }
}

#[test]
fn every_layer_of_every_segment_and_its_loss() {
    let (mut seen, mut losses) = (0, 0);
    for name in FOLDERS {
        let (model, golden) = open(name);
        let mut memory = model.memory(segments(&golden)[0].input().batch()).unwrap();
        for segment in segments(&golden) {
            let what = format!("{name} {}", segment.1);
            let input = segment.input();
            if golden.has(&format!("{}.loss", segment.1)) {
                // The same segment once more for its loss, from the same memory.
                let (targets, mut other) = (segment.targets(), memory.clone());
                let pass = Pass::eval(&model.store, Precision::F32);
                let loss =
                    model.loss_on(&pass, &input, &targets, &LossOptions::default(), &mut other).unwrap();
                let expected = golden.scalar(&format!("{}.loss", segment.1)).unwrap() as f32;
                close(&[loss.into_scalar::<f32>()], &[expected], 1e-5)
                    .unwrap_or_else(|e| panic!("{what} loss: {e}"));
                if let Targets::Permuted(permuted) = &targets {
                    let logits = model.permuted(&pass, &input, permuted, &mut memory.clone()).unwrap();
                    close(&plain(logits).unwrap(), &segment.floats("permuted.logits"), 1e-5)
                        .unwrap_or_else(|e| panic!("{what} logits: {e}"));
                }
                assert_eq!(
                    other.lens(),
                    segment.numbers("lens").iter().map(|&n| n as usize).collect::<Vec<_>>()
                );
                losses += 1;
            }

            let layers = Layers::default();
            let pass = Pass::eval(&model.store, Precision::F32).with_tap(&layers);
            let hidden = model.hidden_on(&pass, &input, &mut memory).unwrap();
            if golden.has(&format!("{}.logits", segment.1)) {
                let logits = plain(model.head(&pass, hidden, &input).unwrap()).unwrap();
                close(&logits, &segment.floats("logits"), 1e-5)
                    .unwrap_or_else(|e| panic!("{what} logits: {e}"));
            }
            let layers = layers.0.into_inner();
            assert_eq!(layers.len(), model.size().layers + 1);
            for (layer, hidden) in layers.iter().enumerate() {
                close(hidden, &segment.floats(&format!("hidden.{layer}")), 1e-5)
                    .unwrap_or_else(|e| panic!("{what} hidden {layer}: {e}"));
            }
            let lens: Vec<u32> = memory.lens().iter().map(|&len| len as u32).collect();
            assert_eq!(lens, segment.numbers("lens"), "{what}");
            seen += 1;
        }
    }
    assert_eq!((seen, losses), (3 * FOLDERS.len() + 1, 3 * FOLDERS.len()));
}

#[test]
fn the_perplexity_of_a_long_text_in_segments() {
    for name in ["transfo-xl", "transfo-xl/one-table", "transfo-xl/norms-first"] {
        let (model, golden) = open(name);
        let (mut sum, mut words) = (0.0, 0);
        let mut memory = model.memory(2).unwrap();
        for segment in segments(&golden) {
            let pass = Pass::eval(&model.store, Precision::F32);
            let (input, options) = (segment.input(), LossOptions::default());
            let loss = model.loss_on(&pass, &input, &segment.targets(), &options, &mut memory).unwrap();
            sum += f64::from(loss.into_scalar::<f32>()) * input.tokens() as f64;
            words += input.tokens();
        }
        let perplexity = (sum / words as f64).exp();
        let expected = golden.scalar("memory.perplexity").unwrap();
        assert!((perplexity / expected - 1.0).abs() < 1e-5, "{name}: {perplexity}, expected {expected}");
    }
}

#[test]
fn gradients_of_the_last_segment_end_at_its_start() {
    for name in FOLDERS {
        let (model, golden) = open(name);
        for recompute in [false, true] {
            let all = segments(&golden);
            let (last, before) = all.split_last().unwrap();
            let mut memory = model.memory(last.input().batch()).unwrap();
            for segment in before {
                let pass = Pass::eval(&model.store, Precision::F32);
                model.hidden_on(&pass, &segment.input(), &mut memory).unwrap();
            }
            let trainable = vec![true; model.store.len()];
            let pass = Pass::train(&model.store, Precision::F32, 0, &trainable).with_recompute(recompute);
            let options = LossOptions::default();
            let loss = model.loss_on(&pass, &last.input(), &last.targets(), &options, &mut memory).unwrap();
            let gradients = pass.backward(&loss).unwrap();
            let largest = |name: &str| last.floats(name).iter().fold(0.0f32, |top, g| top.max(g.abs()));
            let prefix = format!("{}.grad.", last.1);
            let top = golden.below(&prefix).map(|name| largest(&format!("grad.{name}"))).fold(0.0, f32::max);
            for (id, param) in model.store.iter() {
                let base = model.family.weights.prefixes[0];
                let (upstream, op) = model.family.weights.export_with(&param.path, base).unwrap();
                let expected = last.floats(&format!("grad.{upstream}"));
                let stored = op.inverse().shape(&upstream, param.file_shape()).unwrap();
                let expected = op.apply(&upstream, &stored, expected).unwrap();
                let got = match gradients.get(id).unwrap_or_else(|| panic!("{name} {upstream}: none")) {
                    Gradient::Dense(grad) => download(grad.clone(), param.shape.len()).unwrap(),
                    Gradient::Rows { rows, grad } => {
                        let (values, width) = (download(grad.clone(), 2).unwrap(), param.shape[1]);
                        let mut all = vec![0.0; param.len()];
                        for (n, &row) in rows.iter().enumerate() {
                            all[row as usize * width..][..width]
                                .copy_from_slice(&values[n * width..][..width]);
                        }
                        all
                    }
                };
                close_with_floor(&got, &expected, 1e-4, 1e-2 * f64::from(top))
                    .unwrap_or_else(|e| panic!("{name} gradient of {upstream}: {e}"));
            }
        }
    }
}

#[test]
fn what_cannot_be_read_on_is_said() {
    let (model, golden) = open("xlnet/uni");
    let (input, targets) = (segments(&golden)[0].input(), segments(&golden)[0].targets());
    let pass = Pass::eval(&model.store, Precision::F32);
    let mut memory = model.memory(3).unwrap();
    let error = model.hidden_on(&pass, &input, &mut memory).unwrap_err().to_string();
    assert!(error.contains("3 texts") && error.contains("of 2"), "{error}");

    let device = Device::flex();
    let spec = HeadSpec::embedder(Pooling::Mean, true);
    let (bert, _) = Model::open(&fixture("bert"), &spec, 0, &device).unwrap();
    assert!(bert.memory(1).unwrap_err().to_string().contains("no memory"));
    let error = Model::open(&fixture("bert"), &HeadSpec::PermutationLm, 0, &device).err().unwrap();
    assert!(error.to_string().contains("permutation-lm"), "{error}");
    let (tagger, _) = Model::open_saved(&fixture("xlnet/tag"), &device).unwrap();
    let pass = Pass::eval(&tagger.store, Precision::F32);
    let error = tagger.loss(&pass, &input, &targets, &LossOptions::default()).unwrap_err().to_string();
    assert!(error.contains("words in an order"), "{error}");
}

#[test]
fn what_is_saved_is_what_was_opened_tensor_by_tensor() {
    let folders = [
        "xlnet",
        "xlnet/tag",
        "xlnet/permutation-lm",
        "transfo-xl",
        "transfo-xl/classify",
        "transfo-xl/one-mapped",
        "transfo-xl/norms-first",
        "transfo-xl/untied",
    ];
    for name in folders {
        let (model, report) = Model::open_saved(&fixture(name), &Device::flex()).unwrap();
        assert!(report.fresh.is_empty(), "{name}: {:?}", report.fresh);
        let temporary = tempfile::tempdir().unwrap();
        let target = temporary.path().join("saved");
        model.save(&target, &Default::default()).unwrap();
        let [old, new] =
            [fixture(name), target].map(|folder| topwork_weights::Checkpoint::open(folder).unwrap());
        let kept = old.names().filter(|tensor| *tensor != "transformer.pos_emb.inv_freq");
        assert_eq!(new.names().collect::<Vec<_>>(), kept.collect::<Vec<_>>(), "{name}");
        for tensor in new.names() {
            assert_eq!(new.shape(tensor), old.shape(tensor), "{name} {tensor}");
            assert_eq!(new.read(tensor).unwrap(), old.read(tensor).unwrap(), "{name} {tensor}");
        }
    }
}

#[test]
fn a_word_that_is_asked_for_is_carried_along_by_other_heads() {
    let (model, _) = Model::open_saved(&fixture("xlnet"), &Device::flex()).unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let target = temporary.path().join("saved");
    model.save(&target, &Default::default()).unwrap();
    let (again, report) = Model::open(&target, &HeadSpec::PermutationLm, 0, &Device::flex()).unwrap();
    assert_eq!(report.fresh, ["head.lm.bias"]);
    let file = topwork_weights::Checkpoint::open(fixture("xlnet")).unwrap();
    let id = again.store.id("mask.weight").unwrap();
    assert_eq!(again.store.values(id).unwrap(), file.read("transformer.mask_emb").unwrap());
}
