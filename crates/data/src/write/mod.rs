//! Predictions and vectors into files: written beside, synced, then renamed, so that a file is whole or as it was.

mod arrow;
pub(crate) mod atomic;
mod npy;
mod parquet;
mod table;

pub use arrow::write_arrow;
pub(crate) use arrow::{KEY, Stored};
pub use npy::write_npy;
pub use table::{Column, Table, TableFormat};
