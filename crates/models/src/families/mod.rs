//! One family a file.

pub mod albert;
pub mod awd_lstm;
pub mod bart;
pub mod bert;
pub mod bilstm;
pub mod clip;
pub mod clip_vision;
pub mod cnn;
pub mod deberta;
pub mod deberta_v2;
pub mod distilbert;
pub mod electra;
pub mod elmo;
mod elmo_words;
pub mod flair;
pub mod gpt;
pub mod gpt2;
pub mod llama;
pub mod marian;
pub mod modernbert;
pub mod mpnet;
pub mod roberta;
pub mod t5;
pub mod transfo_xl;
pub mod transformer;
pub mod vit;
pub mod xlnet;
