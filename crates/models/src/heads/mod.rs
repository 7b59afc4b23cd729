//! One head a file, and what several of them share.

pub mod causal_lm;
pub mod classify;
mod concat;
mod dense;
pub mod embed;
pub mod masked_lm;
mod pooled;
pub mod regress;
pub mod tag;
mod words;
