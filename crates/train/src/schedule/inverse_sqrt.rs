//! Up over the warm-up, then down with the inverse square root of the step.

use super::{Options, Schedule, ScheduleError, ScheduleSpec, Warmup};

/// The entry in the list.
pub(super) const SPEC: ScheduleSpec = ScheduleSpec {
    name: "inverse-sqrt",
    summary: "up over the warm-up, then down with the inverse square root of the step",
    paper: "https://arxiv.org/abs/1706.03762",
    options: &[],
    build: |options: &Options| {
        options.only(&SPEC)?;
        Ok(Box::new(InverseSqrt { warmup: options.warmup.unwrap_or(Warmup::Ratio(0.1)) }))
    },
};

/// Rises linearly over the warm-up, then falls as `1 / sqrt(step)`, so that it is 1 where the warm-up ends. It does not know how
/// long the run is.
///
/// Paper: Vaswani et al. 2017, "Attention Is All You Need", section 5.3 and equation 3, <https://arxiv.org/abs/1706.03762>.
/// Equal to transformers' `get_inverse_sqrt_schedule` with the warm-up as its time scale; without a warm-up the scale is 1, and
/// not its 10,000: the rate then falls from the first step on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InverseSqrt {
    /// Length of the rising part.
    pub warmup: Warmup,
}

impl Schedule for InverseSqrt {
    fn lr_scale(&self, step: u64, total: u64) -> f64 {
        self.warmup.rise(step, total).unwrap_or_else(|| {
            let warmup = self.warmup.steps(total).max(1);
            // Without warm-up the first step has scale 1 and the second 1 / sqrt(2).
            let shift = warmup - self.warmup.steps(total);
            1.0 / ((step.min(total) + shift) as f64 / warmup as f64).sqrt()
        })
    }

    fn check(&self, total: u64) -> Result<(), ScheduleError> {
        self.warmup.check(SPEC.name, total)
    }
}
