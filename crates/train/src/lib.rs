//! The one training loop, techniques, schedules, optimizers, metrics and the linear baseline.
