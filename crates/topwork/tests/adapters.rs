//! Adapters that peft has written (`fixtures/make/adapters.py`) against peft: outputs, every gradient, ten steps, and the merged
//! model.

#![allow(clippy::unwrap_used)] // in a test a panic is the report

mod gradients;
// Shared with the tests of heads, which use all of it.
#[allow(dead_code)]
mod golden;
#[allow(dead_code)]
mod same;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use golden::{BACKWARD, FORWARD, floats, packed};
use gradients::{dense, floor};
use same::{fixtures, ten_steps_on};
use serde_json::json;
use topwork_adapt::{Attached, peft};
use topwork_kernels::gemm::Precision;
use topwork_models::saved::spec_of;
use topwork_models::{Model, SaveOptions, Source, adapted};
use topwork_nn::{ParamId, Pass};
use topwork_testkit::{Golden, close, close_with_floor};

/// The folder of the model that an adapter's settings name.
fn base_folder(folder: &Path) -> PathBuf {
    fixtures().join(adapted::base_name(folder).unwrap().unwrap())
}

/// The adapter and the model under it, as a user names both.
fn both(folder: &Path) -> PathBuf {
    PathBuf::from(format!("{} on {}", folder.display(), base_folder(folder).display()))
}

/// The model under an adapter, with a head of as many labels as the adapter's.
fn base(folder: &Path) -> Model {
    let source = Source::find(both(folder)).unwrap();
    let mut model = Model::open_under(&source, &spec_of(&source).unwrap(), 0, &Device::flex()).unwrap().0;
    if folder.ends_with("qlora") {
        assert_eq!(topwork_adapt::quantise(&mut model.store).unwrap(), 12);
    }
    model
}

fn texts(folder: &Path) -> Golden {
    Golden::open(base_folder(folder).join("golden.safetensors")).unwrap()
}

/// The folders of adapters.
fn folders() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        fixtures().join("adapters").read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    assert_eq!(found.len(), 7, "{found:?}");
    found
}

/// A model with an adapter, and the parameters that learn by their names in peft's file.
fn open(folder: &Path) -> (Model, Attached, BTreeMap<String, ParamId>) {
    let (mut model, named) = (base(folder), base(folder));
    let upstream = |path: &str| named.upstream_name(path);
    let opened = peft::open(folder, &mut model.store, &named.upstream_matrix()).unwrap();
    let mut learning = BTreeMap::new();
    for part in &opened.attached.parts {
        let module = named.upstream_matrix()(&part.weight).unwrap().0;
        for (name, id) in &part.params {
            let module = module.trim_end_matches(".weight");
            learning.insert(format!("base_model.model.{module}.{name}"), *id);
        }
    }
    let ids: Vec<(ParamId, String)> =
        model.store.iter().map(|(id, param)| (id, param.path.clone())).collect();
    for tensor in &opened.whole {
        let (id, _) = ids.iter().find(|(_, path)| upstream(path).as_ref() == Some(&tensor.name)).unwrap();
        model.store.set(*id, tensor.data.to_vec()).unwrap();
        learning.insert(format!("base_model.model.{}", tensor.name), *id);
    }
    (model, opened.attached, learning)
}

#[test]
fn outputs_and_every_gradient_are_those_of_peft() {
    for folder in folders() {
        let golden = Golden::open(folder.join("golden.safetensors")).unwrap();
        let (model, _, learning) = open(&folder);
        let case = folder.display();
        let got = model.predict(&packed(&texts(&folder)), Precision::F32).unwrap();
        close(&got, &floats(&golden, "logits"), FORWARD).unwrap_or_else(|e| panic!("{case} logits: {e}"));
        let mut trainable = vec![false; model.store.len()];
        learning.values().for_each(|id| trainable[id.0] = true);
        for recompute in [false, true] {
            let pass = Pass::train(&model.store, Precision::F32, 0, &trainable).with_recompute(recompute);
            let loss = same::loss(&model, &texts(&folder), &pass).unwrap();
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
fn ten_steps_are_those_of_peft_and_the_model_itself_stays() {
    for folder in folders() {
        let golden = Golden::open(folder.join("golden.safetensors")).unwrap();
        let (model, attached, learning) = open(&folder);
        let case = folder.display();
        let patterns = attached.patterns(&model.store);
        let only = json!({"only": {"patterns": patterns}});
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
            assert_eq!(
                model.store.values(id).unwrap(),
                before.store.values(id).unwrap(),
                "{case}: {}",
                param.path
            );
            still += 1;
        }
        assert!(still > 20, "{still}");

        // Saved as a model without adapter it computes the same, here and (merged) in peft.
        let saved = tempfile::tempdir().unwrap();
        model.save(saved.path(), &SaveOptions::default()).unwrap();
        let (merged, report) = Model::open_saved(saved.path(), &Device::flex()).unwrap();
        assert!(report.fresh.is_empty(), "{:?}", report.fresh);
        let got = merged.predict(&packed(&texts(&folder)), Precision::F32).unwrap();
        close(&got, &floats(&golden, "merged.logits"), BACKWARD)
            .unwrap_or_else(|e| panic!("{case} merged: {e}"));
        let adapted = model.predict(&packed(&texts(&folder)), Precision::F32).unwrap();
        close(&got, &adapted, 1e-6).unwrap_or_else(|e| panic!("{case} merged and not: {e}"));
    }
}

/// What was read and written again is the same file, tensor by tensor.
#[test]
fn files_are_written_as_peft_has_them() {
    for folder in folders() {
        let (model, attached, _) = open(&folder);
        let upstream = model.upstream_matrix();
        let files =
            peft::files(&attached, &model.store, "bert/relu", &upstream, model.export_head().unwrap())
                .unwrap();
        let written = tempfile::tempdir().unwrap();
        for (name, content) in files {
            std::fs::write(written.path().join(name), content).unwrap();
        }
        let file = |folder: &std::path::Path| {
            topwork_weights::SafeTensorsFile::open(folder.join(peft::WEIGHTS_FILE)).unwrap()
        };
        let (ours, theirs) = (file(written.path()), file(&folder));
        let names = |file: &topwork_weights::SafeTensorsFile| {
            let mut names: Vec<String> = file.names().map(str::to_string).collect();
            names.sort();
            names
        };
        assert_eq!(names(&ours), names(&theirs));
        for name in names(&ours) {
            assert_eq!(ours.shape(&name), theirs.shape(&name), "{name}");
            assert_eq!(ours.read(&name).unwrap(), theirs.read(&name).unwrap(), "{name}");
        }
    }
}
