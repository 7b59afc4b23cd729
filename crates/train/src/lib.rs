//! The one training loop, techniques, schedules, optimizers, metrics and the linear baseline.

pub mod baseline;
pub mod metrics;
pub mod schedule;
pub mod tensorboard;
