//! Contextual string embeddings against the reference (`fixtures/make/flair.py`).

use std::path::PathBuf;

use burn::tensor::Device;
use topwork_kernels::gemm::Precision;
use topwork_nn::Pass;
use topwork_testkit::{Golden, close};
use topwork_text::Packed;

use super::*;
use crate::model::{Model, plain};

/// The alphabet of the fixtures: the number of a character is its place.
const ALPHABET: &str = "?\n abcdefghijklmnopqrstuvwxyzäß.";

fn ids(text: &str) -> Vec<u32> {
    let place = |c| ALPHABET.chars().position(|other| other == c).unwrap_or(0) as u32;
    text.chars().map(place).collect()
}

#[test]
fn words_stand_where_spaces_are() {
    let found = places(&["ab", "c", "ßä"]);
    assert_eq!(found.forward_text, "\nab c ßä ");
    assert_eq!(found.forward, [3, 5, 8]);
    assert_eq!(found.backward_text, " ab c ßä\n");
    assert_eq!(found.backward, [0, 3, 5]);
    assert_eq!(places(&[]).forward_text, "\n ");
}

#[test]
fn the_states_of_words_are_those_of_the_reference() {
    let mut seen = 0;
    for name in ["flair", "flair/backward"] {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name);
        let golden = Golden::open(folder.join("golden.safetensors")).unwrap();
        let (model, _) = Model::open_saved(&folder, &Device::flex()).unwrap();
        let words = ["die", "straße", "endet", "hier", "."];
        let Places { forward_text, forward, backward_text, backward } = places(&words);
        let (text, at) = if name == "flair" { (forward_text, forward) } else { (backward_text, backward) };
        let ids = ids(&text);
        let input = Packed::new(ids.clone(), vec![0; ids.len()], vec![0, ids.len() as u32]).unwrap();
        let states = model.hidden(&Pass::eval(&model.store, Precision::F32), &input).unwrap();
        let found = plain(topwork_ops::embedding(states, &at.into())).unwrap();
        let expected = golden.floats("words").unwrap().data;
        assert_eq!(found.len(), words.len() * model.size().hidden);
        close(&found, &expected, 1e-5).unwrap_or_else(|e| panic!("{name}: {e}"));
        seen += 1;
    }
    assert_eq!(seen, 2);
}
