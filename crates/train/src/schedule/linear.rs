//! Up over the warm-up, then straight down to zero at the last step.

use super::{Options, Schedule, ScheduleError, ScheduleSpec, Warmup};

/// The entry in the list.
pub(super) const SPEC: ScheduleSpec = ScheduleSpec {
    name: "linear",
    summary: "up over the warm-up, then straight down to zero",
    paper: "https://arxiv.org/abs/1810.04805",
    options: &[],
    build: |options: &Options| {
        options.only(&SPEC)?;
        Ok(Box::new(Linear { warmup: options.warmup.unwrap_or(Warmup::Steps(0)) }))
    },
};

/// Rises linearly over the warm-up, then falls linearly and would reach 0 at step `total`.
///
/// Paper: Devlin et al. 2019, appendix A.2, <https://arxiv.org/abs/1810.04805>. Equal to transformers'
/// `get_linear_schedule_with_warmup`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Linear {
    /// Length of the rising part.
    pub warmup: Warmup,
}

impl Schedule for Linear {
    fn lr_scale(&self, step: u64, total: u64) -> f64 {
        self.warmup.rise(step, total).unwrap_or_else(|| {
            // `max(1)`: a warm-up as long as the run leaves nothing to fall through.
            let fall = total.saturating_sub(self.warmup.steps(total)).max(1);
            total.saturating_sub(step) as f64 / fall as f64
        })
    }

    fn check(&self, total: u64) -> Result<(), ScheduleError> {
        self.warmup.check(SPEC.name, total)
    }
}
