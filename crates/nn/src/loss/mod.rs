//! Losses: a tensor of shape `[1]` from a head's outputs and the targets.

mod binary;
mod classes;
mod focal;
mod ordinal;
mod soft;
mod squared;
pub mod vectors;

pub use binary::binary_cross_entropy;
pub use classes::cross_entropy;
pub use focal::{binary_focal, focal};
pub use ordinal::ordinal;
pub use soft::soft_cross_entropy;
pub use squared::mean_squared_error;
