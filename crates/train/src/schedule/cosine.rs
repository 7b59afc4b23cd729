//! Up over the warm-up, then down along a cosine.

use super::{Options, Schedule, ScheduleError, ScheduleSpec, Warmup};
use std::f64::consts::PI;

/// The entry in the list.
pub(super) const SPEC: ScheduleSpec = ScheduleSpec {
    name: "cosine",
    summary: "up over the warm-up, then down along half a cosine",
    paper: "https://arxiv.org/abs/1608.03983",
    options: &[
        ("cycles", "cosine waves after the warm-up (default 0.5: down to the floor once)"),
        ("floor", "lowest scale after the warm-up (default 0)"),
    ],
    build: |options: &Options| {
        let cycles = options.read(&SPEC, "cycles", 0.5)?;
        let floor = options.read(&SPEC, "floor", 0.0)?;
        let out_of_range =
            |key, expected, got| ScheduleError::OutOfRange { schedule: SPEC.name, key, expected, got };
        if !(cycles > 0.0 && cycles.is_finite()) {
            return Err(out_of_range("cycles", "a positive number", cycles));
        }
        if !(0.0..=1.0).contains(&floor) {
            return Err(out_of_range("floor", "between 0 and 1", floor));
        }
        Ok(Box::new(Cosine { warmup: options.warmup.unwrap_or(Warmup::Steps(0)), cycles, floor }))
    },
};

/// Rises linearly over the warm-up, then follows `floor + (1 - floor) (1 + cos(2 pi cycles progress)) / 2`.
///
/// Paper: Loshchilov & Hutter 2017, section 3 (one period, no restart), <https://arxiv.org/abs/1608.03983>.
/// With `floor` 0 equal to transformers' `get_cosine_schedule_with_warmup`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cosine {
    /// Length of the rising part.
    pub warmup: Warmup,
    /// Cosine waves after the warm-up.
    pub cycles: f64,
    /// Lowest scale after the warm-up, in `[0, 1]`.
    pub floor: f64,
}

impl Schedule for Cosine {
    fn lr_scale(&self, step: u64, total: u64) -> f64 {
        self.warmup.rise(step, total).unwrap_or_else(|| {
            let warmup = self.warmup.steps(total);
            let fall = total.saturating_sub(warmup).max(1);
            let progress = (step.min(total).saturating_sub(warmup)) as f64 / fall as f64;
            let wave = (0.5 * (1.0 + (2.0 * PI * self.cycles * progress).cos())).clamp(0.0, 1.0);
            self.floor + (1.0 - self.floor) * wave
        })
    }

    fn check(&self, total: u64) -> Result<(), ScheduleError> {
        self.warmup.check(SPEC.name, total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_on_the_floor() {
        let schedule = Cosine { warmup: Warmup::Steps(10), cycles: 0.5, floor: 0.1 };
        assert!((schedule.lr_scale(110, 110) - 0.1).abs() < 1e-12);
        assert!((schedule.lr_scale(500, 110) - 0.1).abs() < 1e-12);
        assert!((schedule.lr_scale(60, 110) - 0.55).abs() < 1e-12);
    }
}
