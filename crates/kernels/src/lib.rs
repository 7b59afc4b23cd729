//! Loops on slices: matrix products, attention, norms, optimizer passes, chosen by CPU feature.
//!
//! Everything here is a plain function on row-major `f32` slices, parallel inside (rayon), with no tensor type
//! and no state. Three promises hold for every function and are tested:
//!
//! - **Threads do not change bits.** Work is cut by the shape alone, partial sums are added in a fixed order.
//! - **Neighbours do not change bits.** A row of a result depends on its own inputs (for attention: on its own
//!   sequence), never on the other rows present nor on its position in the batch.
//! - **NaN stays visible.** No maximum, clamp or mask turns a NaN into a number.
//!
//! Wrong shapes are errors of the calling crate, not of the user, and are asserted.

pub mod activation;
pub mod adamw;
#[cfg(feature = "allocator")]
pub mod allocator;
pub mod attend;
pub mod attend_layout;
pub mod attention;
mod buffer;
pub mod conv;
pub mod conv_max;
mod cpu;
pub mod crf;
pub mod dropout;
pub mod embedding;
pub mod gated;
pub mod gemm;
pub mod held;
pub mod highway;
pub mod loss;
pub mod lstm;
mod map;
mod math;
pub mod nf4;
pub mod norm;
mod parallel;
pub mod pool;
pub mod relative_attend;
pub mod rms_norm;
pub mod rng;
pub mod rotary;
mod scores;
mod scratch;
mod shared;
#[cfg(test)]
mod testing;

pub use buffer::unwritten;
pub use cpu::{Cpu, Path, cpu};
pub use gemm::{Mat, MatMut, Precision};
pub use map::{MappedFile, map_file, map_open};
pub use parallel::{alone, threads};
pub use rng::Dropout;
