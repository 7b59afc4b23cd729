//! CLIP's side for texts beyond what every folder is held against: its own vector of a text, the side of a larger model, and what
//! is saved of the map behind the vectors.

use super::*;

#[test]
fn the_vector_of_a_text_is_that_of_its_end() {
    let folder = fixtures().join("clip-text/vector");
    let golden = golden(&folder);
    for pool in [Pooling::Family, Pooling::Last] {
        let spec = HeadSpec::embedder(pool, false);
        let (model, _) = Model::open(&folder, &spec, 0, &Device::flex()).unwrap();
        let got = model.predict(&packed(&golden), Precision::F32).unwrap();
        close(&got, &floats(&golden, "logits"), FORWARD).unwrap();
    }
}

#[test]
fn of_a_model_with_a_side_for_pictures_the_side_for_texts_is_read() {
    let (from, folder) = (fixtures().join("clip-text"), tempfile::tempdir().unwrap());
    let text = fs::read_to_string(from.join("config.json")).unwrap();
    let own: serde_json::Value = serde_json::from_str(&text).unwrap();
    let whole = serde_json::json!({"model_type": "clip", "architectures": ["CLIPModel"], "projection_dim": 12,
        "text_config": own, "vision_config": {"hidden_size": 8}});
    fs::write(folder.path().join("config.json"), whole.to_string()).unwrap();
    let file = SafeTensorsFile::open(from.join("model.safetensors")).unwrap();
    let mut tensors = Vec::new();
    for name in file.names() {
        let (shape, data) = (file.shape(name).unwrap().to_vec(), file.read(name).unwrap().into());
        tensors.push(Named { name: name.to_string(), shape, data });
    }
    for name in ["vision_model.pre_layrnorm.weight", "visual_projection.weight", "logit_scale"] {
        tensors.push(Named { name: name.to_string(), shape: vec![1], data: vec![1.0].into() });
    }
    topwork_weights::safetensors::write(folder.path().join("model.safetensors"), &tensors).unwrap();
    let (model, report) = Model::open_saved(folder.path(), &Device::flex()).unwrap();
    assert_eq!(report.ignored.len(), 3, "{report}");
    let golden = golden(&from);
    let got = model.predict(&packed(&golden), Precision::F32).unwrap();
    close(&got, &floats(&golden, "logits"), FORWARD).unwrap();
}

#[test]
fn the_map_behind_vectors_is_saved_where_upstream_looks_for_it() {
    let model = open(&fixtures().join("clip-text"));
    let temporary = tempfile::tempdir().unwrap();
    let target = temporary.path().join("saved");
    model.save(&target, &SaveOptions::default()).unwrap();
    let saved = SafeTensorsFile::open(target.join("model.safetensors")).unwrap();
    let id = model.store.id("head.dense.weight").unwrap();
    assert_eq!(saved.read("text_projection.weight").unwrap(), model.store.values(id).unwrap());
    let config = fs::read_to_string(target.join("config.json")).unwrap();
    assert!(config.contains("CLIPTextModelWithProjection"), "{config}");
    // As a folder of sentence-transformers, and as one of transformers alone.
    let before = model.predict(&packed(&golden(&fixtures().join("clip-text"))), Precision::F32).unwrap();
    for gone in ["topwork.json", "modules.json", "topwork_head.safetensors"] {
        let _ = fs::remove_file(target.join(gone));
        let again = Model::open_saved(&target, &Device::flex()).unwrap().0;
        let input = packed(&golden(&fixtures().join("clip-text")));
        assert_eq!(again.predict(&input, Precision::F32).unwrap(), before, "without {gone}");
    }
}
