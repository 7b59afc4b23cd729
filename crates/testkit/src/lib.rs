//! Comparators, gradient checks and golden files for tests.
//!
//! Works on slices and closures and uses no other crate of this workspace, so every crate's unit tests may
//! use it. What is here is itself tested to fail: a comparator that lets everything pass proves nothing.

mod close;
mod golden;
mod gradient;
mod numbers;
mod program;

pub use close::{Mismatch, apart, close, close_with_floor};
pub use golden::{Array, Golden, GoldenError};
pub use gradient::{central_difference, check_gradient};
pub use numbers::Numbers;
pub use program::{Finished, Program, Run, RunError, Running};
