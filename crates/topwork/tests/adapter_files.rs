//! Adapters in folders of their own: opened on their model, merged into it and taken out again, several over one model that is
//! loaded once.

#![allow(clippy::unwrap_used)] // in a test a panic is the report

// Shared with the tests of heads, which use all of it.
#[allow(dead_code)]
mod golden;
#[allow(dead_code)]
mod gradients;

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use golden::{BACKWARD, FORWARD, floats, packed};
use topwork::opened::{self, Base};
use topwork_kernels::gemm::Precision;
use topwork_models::{HeadSpec, Model, Pooling, adapted};
use topwork_testkit::{Golden, close};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures")
}

/// The adapter, the model under it, and the text that names both.
fn named(folder: &str) -> (PathBuf, PathBuf, PathBuf) {
    let adapter = fixtures().join(folder);
    let base = fixtures().join(adapted::base_name(&adapter).unwrap().unwrap());
    let both = format!("{} on {}", adapter.display(), base.display()).into();
    (adapter, base, both)
}

const MERGING: [&str; 6] = ["lora", "rslora", "dora", "ia3", "gpt2-lora", "seq-cls"];

fn answers(model: &Model, texts: &Path) -> Vec<f32> {
    let texts = Golden::open(texts.join("golden.safetensors")).unwrap();
    model.predict(&packed(&texts), Precision::F32).unwrap()
}

/// The values of the encoder by path.
fn encoder(model: &Model) -> Vec<(String, Vec<f32>)> {
    let own = model.store.iter().filter(|(_, param)| !param.is_attachment());
    let encoder = own.filter(|(_, param)| !param.path.starts_with("head.") && !param.path.contains("pooler"));
    encoder.map(|(id, param)| (param.path.clone(), model.store.values(id).unwrap())).collect()
}

#[test]
fn an_adapter_opens_on_its_model_with_its_head() {
    for name in
        MERGING.map(|name| format!("adapters/{name}")).iter().chain(&["bottleneck/with-head".to_string()])
    {
        let (adapter, base, both) = named(name);
        let golden = Golden::open(adapter.join("golden.safetensors")).unwrap();
        let (model, report) = opened::open_saved(&both).unwrap();
        close(&answers(&model, &base), &floats(&golden, "logits"), FORWARD)
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(report.fresh.is_empty() && !report.loaded.is_empty(), "{name}");
        let labels = if name.ends_with("seq-cls") || name.ends_with("with-head") { 4 } else { 3 };
        match model.spec() {
            HeadSpec::Classify { labels: names, .. } => assert_eq!(names.len(), labels, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
        let (model, _, bare) = opened::open_whole(&both).unwrap();
        close(&answers(&model, &base), &floats(&golden, "logits"), FORWARD).unwrap();
        assert!(!bare);
    }
    // Saved without a head, and the model has that of another task, or none.
    let (_, base, _) = named("bottleneck/houlsby");
    let bare = tempfile::tempdir().unwrap();
    let config = std::fs::read_to_string(base.join("config.json")).unwrap();
    let config = config.replace("BertForSequenceClassification", "BertModel");
    std::fs::write(bare.path().join("config.json"), config).unwrap();
    std::fs::copy(base.join("model.safetensors"), bare.path().join("model.safetensors")).unwrap();
    let text = format!("{} on {}", fixtures().join("bottleneck/houlsby").display(), bare.path().display());
    assert!(opened::open_saved(Path::new(&text)).is_err());
    // A head that was to be of another task stays where it lies, and is told of.
    let (_, _, both) = named("adapters/lora");
    let (_, report) = opened::open(&both, &HeadSpec::embedder(Pooling::Mean, false), 0).unwrap();
    assert!(
        report.ignored.iter().any(|(name, why)| name == "classifier.weight" && why.contains("another task"))
    );
}

#[test]
fn a_merged_model_answers_as_model_and_adapter_and_gives_the_model_back() {
    for name in MERGING {
        let (adapter, base, both) = named(&format!("adapters/{name}"));
        let out = tempfile::tempdir().unwrap();
        let (merged, again) = (out.path().join("merged"), out.path().join("again"));
        opened::merge(&both, &merged).unwrap();
        let golden = Golden::open(adapter.join("golden.safetensors")).unwrap();
        let (plain, _) = Model::open_saved(&merged, &Device::flex()).unwrap();
        assert!(plain.store.iter().all(|(_, param)| !param.is_attachment()), "{name}");
        let (adapted, _) = opened::open_saved(&both).unwrap();
        close(&answers(&plain, &base), &answers(&adapted, &base), 1e-5)
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        close(&answers(&plain, &base), &floats(&golden, "logits"), BACKWARD).unwrap();

        let undone = opened::unmerge(&merged, &adapter, &again);
        if name == "dora" {
            let error = undone.unwrap_err().to_string();
            assert!(error.contains("only the direction"), "{error}");
            assert!(!again.exists());
            continue;
        }
        undone.unwrap();
        let (back, _) = Model::open_saved(&again, &Device::flex()).unwrap();
        let (before, _) = Model::open_saved(&base, &Device::flex()).unwrap();
        let (back, before) = (encoder(&back), encoder(&before));
        let (mut compared, mut changed) = (0, 0);
        let merged = encoder(&plain);
        for (((path, values), (other, expected)), (_, merged)) in back.iter().zip(&before).zip(&merged) {
            assert_eq!(path, other);
            close(values, expected, 1e-5).unwrap_or_else(|e| panic!("{name}: {path}: {e}"));
            compared += 1;
            changed += usize::from(close(merged, expected, 1e-3).is_err());
        }
        assert!(compared > 20 && changed > 1, "{name}: {compared}, {changed}");
    }
    for name in ["houlsby", "parallel", "with-head"] {
        let (adapter, base, both) = named(&format!("bottleneck/{name}"));
        let out = tempfile::tempdir().unwrap();
        let error = opened::merge(&both, &out.path().join("merged")).unwrap_err().to_string();
        assert!(error.contains("cannot be merged"), "{error}");
        assert!(opened::unmerge(&base, &adapter, &out.path().join("again")).is_err());
        assert!(out.path().read_dir().unwrap().next().is_none());
    }
    let error = opened::merge(&fixtures().join("bert/relu"), Path::new("nowhere")).unwrap_err().to_string();
    assert!(error.contains("no adapter to merge"), "{error}");
}

/// A, B, A over a model that is loaded once: the same bits each time, and each costs the memory of the adapter and its head.
#[test]
fn adapters_change_places_over_one_model() {
    let (lora, folder, _) = named("adapters/lora");
    let base = Base::open(&folder).unwrap();
    let total = base.model().store.values_total();
    let before = answers(base.model(), &folder);
    let mut first = None;
    for name in ["adapters/lora", "bottleneck/with-head", "adapters/seq-cls", "adapters/ia3", "adapters/lora"]
    {
        let (adapter, _, both) = named(name);
        let (model, _) = base.with(&adapter).unwrap();
        let store = &model.store;
        let attached: usize =
            store.iter().filter(|(_, param)| param.is_attachment()).map(|(_, param)| param.len()).sum();
        let head = |path: &str| path.starts_with("head.") || path.starts_with("pooler");
        let whole: usize =
            store.iter().filter(|(_, param)| head(&param.path)).map(|(_, param)| param.len()).sum();
        // The pooler of with-head is the model's own.
        let pooler = if name.ends_with("with-head") { 16 * 16 + 16 } else { 0 };
        assert_eq!(store.own_values(), attached + whole - pooler, "{name}");
        assert!(store.own_values() * 3 < total, "{name}: {} of {total}", store.own_values());
        // As loaded by itself.
        let alone = opened::open_saved(&both).unwrap().0;
        let got = answers(&model, &folder);
        assert_eq!(got, answers(&alone, &folder), "{name}");
        assert_eq!(got, answers(&model, &folder), "{name}: from packed weights");
        if adapter == lora {
            assert_eq!(*first.get_or_insert(got.clone()), got, "A, B, A");
        }
    }
    assert_eq!(answers(base.model(), &folder), before, "the model itself stays");
    assert!(base.with(&fixtures().join("adapters/gpt2-lora")).is_err(), "an adapter of another model");
    assert!(base.with(&folder).is_err(), "no adapter");
}
