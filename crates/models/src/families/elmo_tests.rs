//! ELMo against what AllenNLP itself computed, where its files are at hand.

use std::fs;
use std::path::PathBuf;

use burn::tensor::Device;
use serde_json::Value;
use topwork_kernels::gemm::Precision;
use topwork_testkit::close;
use topwork_text::Tokenizer;
use topwork_weights::{Checkpoint, Names, Request};

use super::*;
use crate::model::plain;
use crate::source::Source;

/// AllenNLP's tolerance in its own test is 1e-6 relative; ours is of the scale of a sentence.
const TOLERANCE: f64 = 2e-6;

/// AllenNLP's fixture: three streams of ten sentences, through which states are carried.
fn published() -> Option<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/models/elmo-tiny-fixture");
    if !folder.join("lm_weights.hdf5").is_file() {
        println!("skipped: {} is not there", folder.display());
        return None;
    }
    Some(folder)
}

fn open(folder: &std::path::Path) -> (Elmo, ParamStore) {
    let config = Source::find(folder).unwrap().config().clone();
    let mut store = ParamStore::new(&Device::flex());
    let elmo = Elmo::declare(&mut store, Config(&config)).unwrap();
    let wanted: Vec<_> = store.iter().map(|(_, p)| (p.path.clone(), p.shape.clone())).collect();
    let request =
        Request { names: &Names::of(&ELMO.weights, ""), wanted: &wanted, fresh: &["head.**"], optional: &[] };
    let (params, report) = topwork_weights::load(folder, &request).unwrap();
    assert_eq!((report.loaded.len(), report.fresh.len()), (33, 4), "{report}");
    for param in params {
        let id = store.id(&param.path).unwrap();
        store.set(id, param.data).unwrap();
    }
    (elmo, store)
}

#[test]
fn thirty_sentences_are_what_allennlp_makes_of_them() {
    let Some(folder) = published() else { return };
    let (elmo, store) = open(&folder);
    let tokenizer = Tokenizer::from_folder(&folder).unwrap();
    let sentences: Value = serde_json::from_slice(&fs::read(folder.join("sentences.json")).unwrap()).unwrap();
    let text = |stream: usize, at: usize| sentences[stream][at].as_str().unwrap();
    let mut cache = elmo.cache(3, &store);
    let pass = Pass::eval(&store, Precision::F32);
    let mut seen = 0;
    for at in 0..10 {
        let texts: Vec<&str> = (0..3).map(|stream| text(stream, at)).collect();
        let encodings = tokenizer.encode_batch(&texts, None).unwrap();
        let input = Packed::from_encodings(&encodings);
        let hidden = elmo.carry_on(&pass, &input, &mut cache).unwrap();
        let top = plain(hidden.slice_dim(1, 2 * elmo.size.hidden..3 * elmo.size.hidden)).unwrap();
        for stream in 0..3 {
            let file = Checkpoint::open(folder.join(format!("lm_embeddings_{stream}.hdf5"))).unwrap();
            let name = at.to_string();
            let [_, tokens, half] = *file.shape(&name).unwrap() else { panic!("three axes") };
            let expected = file.read(&name).unwrap();
            let range = input.range(stream);
            assert_eq!(range.len(), tokens + 2, "begin and end of the sentence");
            // Both directions side by side, without the marks.
            let side_by_side: Vec<f32> = (0..tokens)
                .flat_map(|t| [0, 1].map(|d| &expected[(d * tokens + t) * half..][..half]))
                .flatten()
                .copied()
                .collect();
            let width = 2 * half;
            let got = &top[(range.start + 1) * width..(range.end - 1) * width];
            close(got, &side_by_side, TOLERANCE)
                .unwrap_or_else(|e| panic!("stream {stream}, sentence {at}: {e}"));
            if at == 0 {
                // The first of a stream starts from zero, as every text does here.
                let alone = Packed::from_encodings(&encodings[stream..=stream]);
                let offsets: Arc<[u32]> = alone.offsets.as_slice().into();
                let x = elmo.embed(&pass, &alone).unwrap();
                let x =
                    plain(elmo.layers(&pass, x, &offsets, 0..2).unwrap().slice_dim(1, 2 * width..3 * width));
                let x = x.unwrap();
                close(&x[width..x.len() - width], &side_by_side, TOLERANCE).unwrap();
            }
            seen += 1;
        }
    }
    assert_eq!(seen, 30);
}

#[test]
fn words_alone_are_what_allennlp_makes_of_them() {
    let Some(folder) = published() else { return };
    let (elmo, store) = open(&folder);
    let file = Checkpoint::open(folder.join("elmo_token_embeddings.hdf5")).unwrap();
    let [count, half] = *file.shape("embedding").unwrap() else { panic!("two axes") };
    let vocabulary = fs::read_to_string(folder.join("vocab_test.txt")).unwrap();
    let words: Vec<&str> = vocabulary.lines().collect();
    assert_eq!([words.len(), elmo.size.hidden / 2], [count, half]);
    let chars: Vec<u16> = words.iter().flat_map(|word| topwork_text::characters::encode(word)).collect();
    let input = Packed {
        ids: vec![0; words.len()],
        type_ids: vec![0; words.len()],
        offsets: vec![0, words.len() as u32],
        chars,
        ..Packed::default()
    };
    let pass = Pass::eval(&store, Precision::F32);
    let got = plain(elmo.words.forward(&pass, &input).unwrap()).unwrap();
    let expected = file.read("embedding").unwrap();
    close(&got, &expected, TOLERANCE).unwrap();
}

#[test]
fn a_batch_without_characters_is_refused() {
    let config = serde_json::json!({
        "lstm": {"n_layers": 1, "projection_dim": 2, "dim": 3},
        "char_cnn": {"embedding": {"dim": 2}, "filters": [[1, 2]]}
    });
    let mut store = ParamStore::new(&Device::flex());
    let elmo = Elmo::declare(&mut store, Config(&config)).unwrap();
    let input = Packed::new(vec![0, 0], vec![0, 0], vec![0, 2]).unwrap();
    let error = elmo.embed(&Pass::eval(&store, Precision::F32), &input).unwrap_err().to_string();
    assert!(error.contains("expected 100 numbers for 2 tokens, got 0"), "{error}");
}

#[test]
fn settings_that_cannot_be_honoured_are_named() {
    let good = serde_json::json!({
        "lstm": {"n_layers": 1, "projection_dim": 2, "dim": 3},
        "char_cnn": {"embedding": {"dim": 2}, "filters": [[1, 2]]}
    });
    let declare =
        |config: &Value| Elmo::declare(&mut ParamStore::new(&Device::flex()), Config(config)).map(|_| ());
    declare(&good).unwrap();
    for (pointer, value, part) in [
        ("/char_cnn/filters", serde_json::json!([[51, 2]]), "char_cnn.filters"),
        ("/char_cnn/filters", serde_json::json!([]), "char_cnn.filters"),
        ("/char_cnn/activation", serde_json::json!("gelu"), "char_cnn.activation"),
        ("/char_cnn/max_characters_per_token", serde_json::json!(20), "max_characters_per_token"),
        ("/char_cnn/n_characters", serde_json::json!(300), "n_characters"),
        ("/lstm/cell_clip", serde_json::json!(-1), "cell_clip"),
        ("/lstm/dim", serde_json::json!(0), "dim"),
        ("/lstm", serde_json::json!(3), "lstm"),
    ] {
        let mut config = good.clone();
        let (above, key) = pointer.rsplit_once('/').unwrap();
        config.pointer_mut(above).unwrap().as_object_mut().unwrap().insert(key.into(), value);
        let error = declare(&config).unwrap_err().to_string();
        assert!(error.contains(part), "{pointer}: {error}");
    }
}
