//! The table in `docs/families.md`: every family, its heads, its files, and how far its numbers are from the reference's,
//! measured here.
//!
//! `TOPWORK_WRITE=1 cargo test --release --workspace --test parity table` writes it (`cargo xtask docs` does that), but leaves
//! numbers that are true as they are; without, what is measured is held against what is written. Processors add in different orders, so a measurement may be up to
//! [`SLACK`] times what is written.

use std::collections::BTreeSet;
use std::fmt::Write;

use topwork_models::{FAMILIES, Family};
use topwork_testkit::apart;

use super::*;

/// How much worse another processor may be than the one the table was measured on.
const SLACK: f64 = 8.0;

/// Errors below are not told apart.
const LEAST: f64 = 1e-8;

/// The largest errors over the folders of a family, each relative to the largest number of the tensor compared.
#[derive(Default)]
struct Errors {
    folders: usize,
    heads: BTreeSet<&'static str>,
    hidden: f64,
    outputs: f64,
    loss: f64,
    gradients: f64,
    steps: Option<f64>,
}

impl Errors {
    fn columns(&self) -> [Option<f64>; 5] {
        [Some(self.hidden), Some(self.outputs), Some(self.loss), Some(self.gradients), self.steps]
    }

    fn add(&mut self, folder: &Path, model: &Model) {
        let golden = golden(folder);
        let input = packed(&golden);
        self.folders += 1;
        let layers = Layers::default();
        let pass = Pass::eval(&model.store, Precision::F32).with_tap(&layers);
        model.hidden(&pass, &input).unwrap();
        for (layer, hidden) in layers.0.into_inner().iter().enumerate() {
            let expected = floats(&golden, &format!("hidden.{layer}"));
            self.hidden = self.hidden.max(apart(hidden, &expected, 0.0).unwrap());
        }
        if bare(folder) {
            return;
        }
        self.heads.insert(model.spec().name());
        let logits = logits(model, &golden, Precision::F32);
        self.outputs = self.outputs.max(apart(&logits, &floats(&golden, "logits"), 0.0).unwrap());
        let pass = Pass::eval(&model.store, Precision::F32);
        let loss = loss(model, &pass, &golden);
        let expected = golden.scalar("loss").unwrap() as f32;
        self.loss = self.loss.max(apart(&[loss.into_scalar::<f32>()], &[expected], 0.0).unwrap());
        let (_, found) = gradients(model, &golden, Precision::F32);
        let floor = floor(&golden);
        for (id, param) in model.store.iter() {
            // Running means of a norm are no parameters that learn.
            let Some(gradient) = found.get(id) else { continue };
            let upstream = upstream(model, &golden, &param.path);
            let expected = imported(&golden, &format!("grad.{}", upstream.0), &upstream, param.file_shape());
            let got = dense(gradient, &param.shape);
            self.gradients = self.gradients.max(apart(&got, &expected, floor).unwrap());
        }
        if golden.has("losses") {
            let trained = after_ten_steps(open(folder), &golden).0;
            for (id, param) in trained.store.iter().filter(|(_, param)| param.kind.learns()) {
                let upstream = upstream(&trained, &golden, &param.path);
                let expected =
                    imported(&golden, &format!("after.{}", upstream.0), &upstream, param.file_shape());
                let error = apart(&trained.store.values(id).unwrap(), &expected, 0.0).unwrap();
                self.steps = Some(self.steps.unwrap_or(0.0).max(error));
            }
        }
    }
}

/// The family itself, or the one whose network it is.
fn measured_as(family: &Family) -> &'static str {
    let same = |other: &&&Family| std::ptr::fn_addr_eq(other.build, family.build);
    let tested = |other: &&&Family| fixtures().join(other.name).join("golden.safetensors").is_file();
    let found = FAMILIES.iter().find(|other| other.name == family.name && tested(other));
    found
        .or_else(|| FAMILIES.iter().find(|other| same(other) && tested(other)))
        .map_or("", |other| other.name)
}

fn power(error: f64) -> String {
    // Rounded up, so that what is written is true.
    let error = error.max(LEAST);
    let exponent = error.log10().floor();
    let digit = (error / 10f64.powf(exponent)).ceil();
    if digit >= 10.0 { format!("1e{}", exponent + 1.0) } else { format!("{digit}e{exponent}") }
}

const HEAD: &str = "# Families

Every family of models, what it is opened with, and how far its numbers are from those of PyTorch and transformers on tiny
random checkpoints. An error is relative to the largest number of the tensor compared, and the worst of all folders under
`fixtures/` of that family; gradients are those of every parameter, steps are the parameters after ten steps of AdamW.
Written by `cargo xtask docs` from what the tests measure, in f32; the tests fail at 1e-5 (states, outputs, loss) and 1e-4
(gradients, steps).

All come from safetensors (shards too), PyTorch files of every age, HDF5 and Keras files, TensorFlow checkpoints, ONNX and npz,
where the names are transformers'; GGUF says which also come from, and go to, GGUF files. `tf_model.h5` is written for albert, bart,
bert, camembert, deberta, deberta-v2, distilbert, electra, gpt2, marian, mbart, mpnet, mt5, openai-gpt, roberta, t5, transfo-xl, vit,
xlm-roberta and xlnet, TensorFlow checkpoints for albert, bert, electra, gpt2, mt5, t5, transfo-xl and xlnet.

";

#[test]
fn the_table_of_families_is_what_is_measured() {
    let mut by_name: Vec<(&'static str, Errors)> = Vec::new();
    for folder in folders() {
        let model = open(&folder);
        let name = model.family.name;
        let at = by_name.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
            by_name.push((name, Errors::default()));
            by_name.len() - 1
        });
        by_name[at].1.add(&folder, &model);
    }
    let page = fixtures().join("../docs/families.md");
    let before = std::fs::read_to_string(&page).unwrap_or_default();
    let mut text = HEAD.to_string();
    text.push_str("| family | `model_type` | heads | heads compared | GGUF | folders | states | outputs | loss | gradients | steps |\n");
    text.push_str("|---|---|---|---|---|---|---|---|---|---|---|\n");
    for family in FAMILIES {
        let as_name = measured_as(family);
        let (_, errors) = by_name.iter().find(|(name, _)| *name == as_name).unwrap_or_else(|| {
            panic!("{}: no fixtures", family.name);
        });
        let old = before.lines().find(|line| line.starts_with(&format!("| `{}` |", family.name)));
        let old: Vec<&str> = old.map(|line| line.split('|').map(str::trim).collect()).unwrap_or_default();
        let mut heads: Vec<&str> = Vec::new();
        for (head, _) in family.architectures {
            if !heads.contains(head) {
                heads.push(head);
            }
        }
        let compared = if as_name == family.name {
            errors.heads.iter().copied().collect::<Vec<_>>().join(", ")
        } else {
            format!("as `{as_name}`")
        };
        let gguf = family.model_types.iter().any(|name| topwork_weights::gguf::is_known(name));
        write!(
            text,
            "| `{}` | {} | {} | {compared} | {} | {} |",
            family.name,
            family.model_types.join(", "),
            heads.join(", "),
            if gguf { "yes" } else { "" },
            errors.folders
        )
        .unwrap();
        for (column, error) in errors.columns().into_iter().enumerate() {
            let written: Option<f64> = old.get(7 + column).and_then(|cell| cell.parse().ok());
            match (error, written) {
                (None, _) => text.push_str("  |"),
                // What was written stands as long as it is true.
                (Some(error), Some(written))
                    if error <= SLACK * written && (!rewrite() || written <= SLACK * error.max(LEAST)) =>
                {
                    write!(text, " {} |", old[7 + column]).unwrap();
                }
                (Some(error), _) => write!(text, " {} |", power(error)).unwrap(),
            }
        }
        text.push('\n');
    }
    if rewrite() {
        std::fs::write(&page, text).unwrap();
    } else {
        assert!(
            text == before,
            "docs/families.md is not what is measured; `cargo xtask docs` writes it anew:\n{text}"
        );
    }
}

fn rewrite() -> bool {
    std::env::var_os("TOPWORK_WRITE").is_some()
}
