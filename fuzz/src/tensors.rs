//! Every tensor of a file, and every vector.

use topwork_weights::{TensorFile, WordVectors};

/// Most numbers read of one file: many small tensors, each within its bounds, would be slow and no finding.
const MOST: usize = 1 << 25;

/// Reads tensors, all of a small file, and holds their lengths against their shapes.
pub fn read_all(file: &dyn TensorFile) {
    let mut read = 0;
    for name in file.names() {
        if read > MOST {
            return;
        }
        let shape = file.shape(name).expect("a shape of what has a name");
        assert!(file.dtype(name).is_some(), "{name:?} has no dtype");
        if let Ok(data) = file.read(name) {
            // A product may overflow before it meets the 0.
            let numbers = if shape.contains(&0) { 0 } else { shape.iter().product::<usize>() };
            read += data.len();
            assert_eq!(data.len(), numbers, "{name:?} of {shape:?}");
        }
    }
    assert!(file.read("none is called so").is_err());
    let _ = file.config();
}

/// Asks for vectors of words that are in the file and of some that are not.
pub fn vectors(vectors: &WordVectors) {
    assert_eq!(vectors.data().len(), vectors.len() * vectors.width());
    for word in vectors.words().iter().take(64) {
        assert_eq!(vectors.get(word).map(<[f32]>::len), Some(vectors.width()));
    }
    for word in ["tree", "an unknown word", "", "\u{e9}\u{301}\u{4e2d}", "</s>"] {
        if let Some(vector) = vectors.vector(word) {
            assert_eq!(vector.len(), vectors.width());
        }
    }
    let _ = vectors.report().lines();
}
