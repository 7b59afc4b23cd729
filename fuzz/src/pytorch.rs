//! PyTorch files with everything in them.

use topwork_text::Tokenizer;
use topwork_weights::TensorFile;
use topwork_weights::pytorch::PyTorchFile;

use crate::{encode_all, read_all};

/// Reads the tensors, and of a language model of flair its settings and its characters.
pub fn pytorch(file: &PyTorchFile) {
    read_all(file);
    let Some(model) = file.flair() else { return };
    let made = Tokenizer::from_characters(file.path(), &model.characters, &model.delimiter, model.forward);
    if let Ok(tokenizer) = made {
        encode_all(&tokenizer);
    }
}
