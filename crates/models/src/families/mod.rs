//! One family a file.

pub mod bert;
pub mod distilbert;
pub mod gpt;
pub mod gpt2;
pub mod llama;
pub mod roberta;
