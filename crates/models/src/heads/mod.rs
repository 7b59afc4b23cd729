//! One head a file, and what several of them share.

pub mod adaptive;
mod attention_pool;
pub mod body;
mod both;
pub mod causal_lm;
pub mod classify;
pub mod compared;
mod concat;
mod dense;
pub mod double_heads;
pub mod embed;
pub mod groups;
mod marked;
pub mod masked_lm;
pub mod multiple_choice;
pub mod next_sentence;
pub mod parse;
pub mod permutation_lm;
mod pooled;
pub mod pretraining;
pub mod regress;
pub mod replaced_token;
pub mod seq2seq;
pub mod span;
pub mod span_pair;
pub mod tag;
mod words;
