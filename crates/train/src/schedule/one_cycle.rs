//! One rise and one fall over the whole run, both along a cosine, the fall far below where the rise began.

use super::{Options, Schedule, ScheduleError, ScheduleSpec, Warmup};

/// The entry in the list.
pub(super) const SPEC: ScheduleSpec = ScheduleSpec {
    name: "one-cycle",
    summary: "super-convergence: up along a cosine from 1/rise of the top, then down along one to 1/fall of where it began",
    paper: "https://arxiv.org/abs/1708.07120",
    options: &[
        ("rise", "top over the first learning rate (default 25)"),
        ("fall", "first over the last learning rate (default 10000)"),
    ],
    build: |options: &Options| {
        let at_least_one = |key: &'static str, default: f64| {
            let value = options.read(&SPEC, key, default)?;
            if value >= 1.0 && value.is_finite() {
                return Ok(value);
            }
            Err(ScheduleError::OutOfRange { schedule: SPEC.name, key, expected: "at least 1", got: value })
        };
        let (rise, fall) = (at_least_one("rise", 25.0)?, at_least_one("fall", 1e4)?);
        Ok(Box::new(OneCycle { warmup: options.warmup.unwrap_or(Warmup::Ratio(0.3)), rise, fall }))
    },
};

/// Rises along a cosine from `1 / rise` to 1 over the warm-up, then falls along a cosine to `1 / (rise · fall)`, which it would
/// reach at step `total`.
///
/// Paper: Smith, Topin 2018, "Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates", section 4,
/// <https://arxiv.org/abs/1708.07120>. The form of PyTorch's `OneCycleLR` with its two phases; that one reaches the top one step
/// sooner and the end in the last step, and it moves the momentum too, which here stays.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OneCycle {
    /// Length of the rising part.
    pub warmup: Warmup,
    /// Top over the first learning rate.
    pub rise: f64,
    /// First over the last learning rate.
    pub fall: f64,
}

/// From `from` to `to` along half a cosine, `share` of the way.
fn along(from: f64, to: f64, share: f64) -> f64 {
    to + (from - to) / 2.0 * (1.0 + (std::f64::consts::PI * share).cos())
}

impl Schedule for OneCycle {
    fn lr_scale(&self, step: u64, total: u64) -> f64 {
        let begin = 1.0 / self.rise;
        if let Some(share) = self.warmup.rise(step, total) {
            return along(begin, 1.0, share);
        }
        let warmup = self.warmup.steps(total);
        let fall = total.saturating_sub(warmup).max(1);
        let share = (step.min(total) - warmup.min(step.min(total))) as f64 / fall as f64;
        along(1.0, begin / self.fall, share.min(1.0))
    }

    fn check(&self, total: u64) -> Result<(), ScheduleError> {
        self.warmup.check(SPEC.name, total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_and_the_middles_are_those_of_the_cosines() {
        let schedule = OneCycle { warmup: Warmup::Ratio(0.5), rise: 25.0, fall: 1e4 };
        let check = |step, expected: f64| {
            let got = schedule.lr_scale(step, 100);
            assert!((got - expected).abs() < 1e-12, "{step}: {got} {expected}");
        };
        check(0, 0.04);
        check(25, 0.52);
        check(50, 1.0);
        check(75, (1.0 + 4e-6) / 2.0);
        check(100, 4e-6);
        check(140, 4e-6);
    }
}
