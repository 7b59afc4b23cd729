//! One optimizer a file.

mod adamw;

pub use adamw::{AdamW, Saved};
