//! The base learning rate throughout, after an optional warm-up.

use super::{Options, Schedule, ScheduleError, ScheduleSpec, Warmup};

/// The entry in the list.
pub(super) const SPEC: ScheduleSpec = ScheduleSpec {
    name: "constant",
    summary: "the base learning rate throughout, after an optional warm-up",
    paper: "https://arxiv.org/abs/1706.02677",
    options: &[],
    build: |options: &Options| {
        options.only(&SPEC)?;
        Ok(Box::new(Constant { warmup: options.warmup.unwrap_or(Warmup::Steps(0)) }))
    },
};

/// Rises linearly over the warm-up, then stays at 1.
///
/// Paper: Goyal et al. 2017, section 2.2 (gradual warm-up), <https://arxiv.org/abs/1706.02677>. Equal to
/// transformers' `get_constant_schedule_with_warmup`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Constant {
    /// Length of the rising part.
    pub warmup: Warmup,
}

impl Schedule for Constant {
    fn lr_scale(&self, step: u64, total: u64) -> f64 {
        self.warmup.rise(step, total).unwrap_or(1.0)
    }

    fn check(&self, total: u64) -> Result<(), ScheduleError> {
        self.warmup.check(SPEC.name, total)
    }
}
