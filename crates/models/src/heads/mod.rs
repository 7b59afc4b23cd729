//! One head a file.

pub mod classify;
pub mod embed;
pub mod masked_lm;
mod pooled;
pub mod regress;
