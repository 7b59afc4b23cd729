//! What TensorFlow wrote (`fixtures/make/weights_tensorflow.py`), read, written and read again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::json;

use super::*;
use crate::{Checkpoint, Hdf5File, TensorFile, TensorflowCheckpoint, hdf5, tensorflow};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/weights-tensorflow").join(name)
}

/// The tensors of a checkpoint under PyTorch's names.
fn tensors(checkpoint: &Checkpoint) -> Vec<Named<'static>> {
    let tensor = |name: &str| Named {
        name: name.to_string(),
        shape: checkpoint.shape(name).unwrap().to_vec(),
        data: checkpoint.read(name).unwrap().into(),
    };
    checkpoint.names().map(tensor).collect()
}

/// Names, shapes and bits. PyTorch's class without a head has names that begin later.
fn content(tensors: &[Named], base: &str) -> BTreeMap<String, (Vec<usize>, Vec<u32>)> {
    let bits = |tensor: &Named| tensor.data.iter().map(|x| x.to_bits()).collect();
    let bare = |name: &str| name.strip_prefix(base).unwrap_or(name).to_string();
    tensors.iter().map(|tensor| (bare(&tensor.name), (tensor.shape.clone(), bits(tensor)))).collect()
}

#[test]
fn original_checkpoints_are_written_under_the_names_they_were_read_by() {
    let folder = tempfile::tempdir().unwrap();
    let mut seen = 0;
    for (name, model_type) in [
        ("bert", "bert"),
        ("albert", "albert"),
        ("electra", "electra"),
        ("gpt2", "gpt2"),
        ("t5", "t5"),
        ("t5", "mt5"),
        ("transformer-xl", "transfo-xl"),
        ("xlnet", "xlnet"),
    ] {
        let file = fixture(name).join("model.ckpt.index");
        let read = tensors(&Checkpoint::open(&file).unwrap());
        let config = json!({ "model_type": model_type });
        let written = export_original(&config, read.clone()).unwrap();
        let variables = TensorflowCheckpoint::open(&file).unwrap();
        // The generator stands beside ELECTRA's discriminator.
        let held: BTreeMap<&str, Vec<usize>> = variables
            .names()
            .into_iter()
            .filter(|name| !name.starts_with("generator"))
            .map(|name| (name, variables.shape(name).unwrap().to_vec()))
            .collect();
        let names: BTreeMap<&str, Vec<usize>> =
            written.iter().map(|tensor| (tensor.name.as_str(), tensor.shape.clone())).collect();
        assert_eq!(names, held, "{name}");
        let path = folder.path().join(format!("{model_type}.ckpt"));
        tensorflow::write(&path, &written).unwrap();
        let again = tensors(&Checkpoint::open(&path).unwrap());
        assert!(content(&again, "transformer.") == content(&read, "transformer."), "{name}");
        seen += again.len();
    }
    assert_eq!(seen, 30 + 32 + 27 + 28 + 26 + 26 + 35 + 37);
}

#[test]
fn files_of_keras_are_written_under_the_names_they_were_read_by() {
    let folder = tempfile::tempdir().unwrap();
    let mut seen = 0;
    for (name, file, model_type) in [
        ("keras-bert", "tf_model.h5", "bert"),
        ("keras-gpt2", "tf_model.h5", "gpt2"),
        ("keras-t5", "tf_model.h5", "t5"),
        ("keras-shards", "tf_model.h5.index.json", "bert"),
    ] {
        let read = tensors(&Checkpoint::open(fixture(name).join(file)).unwrap());
        let layers = export_keras(&json!({ "model_type": model_type }), read.clone()).unwrap();
        let path = folder.path().join(format!("{name}.h5"));
        hdf5::write(&path, &layers).unwrap();
        let again = tensors(&Checkpoint::open(&path).unwrap());
        assert!(content(&again, "") == content(&read, ""), "{name}");
        seen += again.len();
        if file.ends_with("json") {
            continue;
        }
        // The layer and the model's own name stand before the rest, which T5's shared table is called without.
        let weights = |path: &PathBuf| -> BTreeSet<(String, Vec<usize>)> {
            let file = Hdf5File::open(path).unwrap();
            let rest = |name: &str| name.splitn(3, '/').last().unwrap().to_string();
            let held = file.names().into_iter().filter(|name| !name.contains("/shared/shared/"));
            held.map(|name| (rest(name), file.shape(name).unwrap().to_vec())).collect()
        };
        let ours: BTreeSet<_> =
            weights(&path).into_iter().filter(|(name, _)| name != "shared/embeddings:0").collect();
        assert_eq!(ours, weights(&fixture(name).join(file)), "{name}");
    }
    assert_eq!(seen, 30 + 28 + 26 + 26);
}

/// What the classes of transformers 4.30.2 call some weights that no fixture has.
#[test]
fn names_are_those_of_the_tensorflow_classes() {
    let check = |model_type: &str, name: &str, shape: &[usize], layer: &str, expected: &str| {
        let norm = shape.len() == 1 && name.to_lowercase().contains("norm");
        let (of, place) = to_keras::place(model_type, name, shape, norm);
        assert_eq!((of.as_str(), place.name.as_str()), (layer, expected), "{name}");
        let again = keras::name(&[of], &format!("{layer}/{expected}"), &place.change.shape(shape));
        assert_eq!(again.0, name);
    };
    let encoder = "model.encoder.layers.11.self_attn_layer_norm.bias";
    let there = "tf_bart_model/model/encoder/layers.11/self_attn_layer_norm/beta:0";
    check("bart", encoder, &[8], "model", there);
    check("bart", "model.shared.weight", &[40, 8], "model", "tf_bart_model/model.shared/embeddings:0");
    check("marian", "final_logits_bias", &[1, 40], "final_logits_bias", "final_logits_bias:0");
    let there = "tf_transfo_xl_model/crit/out_layers_._1_._weight:0";
    check("transfo-xl", "crit.out_layers.1.weight", &[10, 4], "crit", there);
    let there = "tf_transfo_xl_model/transformer/word_emb/emb_layers_._0/embeddings:0";
    check("transfo-xl", "transformer.word_emb.emb_layers.0.weight", &[10, 8], "transformer", there);
    let there = "tf_transfo_xl_model/transformer/word_emb/emb_projs_._2:0";
    check("transfo-xl", "transformer.word_emb.emb_projs.2", &[8, 2], "transformer", there);
    let there = "tf_deberta_v2_model/deberta/encoder/rel_embeddings.weight:0";
    check("deberta-v2", "deberta.encoder.rel_embeddings.weight", &[8, 8], "deberta", there);
    let there = "tf_deberta_v2_model/deberta/encoder/conv/conv/kernel:0";
    check("deberta-v2", "deberta.encoder.conv.conv.weight", &[8, 8, 3], "deberta", there);
    let there = "tf_vit_model/vit/embeddings/patch_embeddings/projection/kernel:0";
    check("vit", "vit.embeddings.patch_embeddings.projection.weight", &[8, 3, 4, 4], "vit", there);
    let there = "tf_xlnet_model/transformer/layer_._1/rel_attn/q:0";
    check("xlnet", "transformer.layer.1.rel_attn.q", &[8, 2, 4], "transformer", there);
    let there = "tf_electra_model/electra/embeddings_project/kernel:0";
    check("electra", "electra.embeddings_project.weight", &[8, 6], "electra", there);
}

#[test]
fn what_has_no_name_there_is_refused_with_what_has() {
    let tensor = |name: &str, shape: &[usize]| Named {
        name: name.into(),
        shape: shape.to_vec(),
        data: vec![0.5; shape.iter().product()].into(),
    };
    let original = |model_type: &str, name: &str, shape: &[usize]| {
        // A table of words, whose name says that all names are whole.
        let base = BASES.iter().find(|(known, _)| *known == model_type).map_or("", |(_, base)| base);
        let words = match model_type {
            "transfo-xl" => "word_emb.emb_layers.0.weight",
            "xlnet" => "word_embedding.weight",
            _ => "embeddings.word_embeddings.weight",
        };
        let tensors = vec![tensor(&format!("{base}{words}"), &[4, 4]), tensor(name, shape)];
        export_original(&json!({ "model_type": model_type }), tensors).unwrap_err().to_string()
    };
    let other = original("llama", "model.norm.weight", &[4]);
    assert!(other.contains("\"llama\"") && other.contains("albert, bert, electra, gpt2"), "{other}");
    let keras = export_keras(&json!({ "model_type": "llama" }), vec![]).unwrap_err().to_string();
    assert!(keras.contains("HDF5") && keras.contains("deberta-v2"), "{keras}");
    // ELECTRA's generator is left out when such checkpoints are read, so it cannot be written.
    let generator = original("electra", "generator_predictions.LayerNorm.bias", &[4]);
    assert!(generator.contains("generator_predictions.LayerNorm.bias"), "{generator}");
    let first = original("electra", "electra.encoder.layer.1.output.dense.bias", &[4]);
    assert!(first.contains("nothing says"), "{first}");
    let head = original("transfo-xl", "score.weight", &[2, 4]);
    assert!(head.contains("score.weight"), "{head}");
    // One layer of two.
    let config = json!({ "model_type": "xlnet" });
    let rows =
        ["word_embedding.weight", "layer.1.rel_attn.r_r_bias"].map(|name| tensor(name, &[2, 4])).to_vec();
    let error = export_original(&config, rows).unwrap_err().to_string();
    assert!(error.contains("not every layer"), "{error}");
}
