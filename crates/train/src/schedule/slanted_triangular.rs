//! A short steep rise and a long slow fall that ends above zero.

use super::{Options, Schedule, ScheduleError, ScheduleSpec, Warmup};

/// The entry in the list.
pub(super) const SPEC: ScheduleSpec = ScheduleSpec {
    name: "slanted-triangular",
    summary: "ULMFiT: a short steep rise, then a long fall to 1/ratio of the top",
    paper: "https://arxiv.org/abs/1801.06146",
    options: &[("ratio", "top over lowest learning rate (default 32)")],
    build: |options: &Options| {
        let ratio = options.read(&SPEC, "ratio", 32.0)?;
        if !(ratio >= 1.0 && ratio.is_finite()) {
            return Err(ScheduleError::OutOfRange {
                schedule: SPEC.name,
                key: "ratio",
                expected: "at least 1",
                got: ratio,
            });
        }
        Ok(Box::new(SlantedTriangular { warmup: options.warmup.unwrap_or(Warmup::Ratio(0.1)), ratio }))
    },
};

/// Rises from `1 / ratio` to 1 over the warm-up (the paper's `cut_frac` of the run, default 0.1) and falls
/// back to `1 / ratio` at step `total`.
///
/// Paper: Howard & Ruder 2018, section 3.2 and equation 3, <https://arxiv.org/abs/1801.06146>. Differs in
/// that the cut is rounded up, not down, so that it is the same warm-up as in the other schedules; runs whose
/// cut is a whole number are equal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlantedTriangular {
    /// Length of the rising part.
    pub warmup: Warmup,
    /// Top over lowest learning rate, at least 1.
    pub ratio: f64,
}

impl Schedule for SlantedTriangular {
    fn lr_scale(&self, step: u64, total: u64) -> f64 {
        let height = self.warmup.rise(step, total).unwrap_or_else(|| {
            let fall = total.saturating_sub(self.warmup.steps(total)).max(1);
            total.saturating_sub(step) as f64 / fall as f64
        });
        (1.0 + height * (self.ratio - 1.0)) / self.ratio
    }

    fn check(&self, total: u64) -> Result<(), ScheduleError> {
        self.warmup.check(SPEC.name, total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Equation 3 of the paper as it stands there.
    fn equation_3(step: f64, total: f64, cut_frac: f64, ratio: f64) -> f64 {
        let cut = (total * cut_frac).floor();
        let p = if step < cut { step / cut } else { 1.0 - (step - cut) / (cut * (1.0 / cut_frac - 1.0)) };
        (1.0 + p * (ratio - 1.0)) / ratio
    }

    #[test]
    fn equation_3_of_the_paper() {
        let schedule = SlantedTriangular { warmup: Warmup::Ratio(0.1), ratio: 32.0 };
        for step in 0..200 {
            let expected = equation_3(step as f64, 200.0, 0.1, 32.0);
            let got = schedule.lr_scale(step, 200);
            assert!((got - expected).abs() < 1e-12, "{step}: {got} {expected}");
        }
        assert_eq!(schedule.lr_scale(0, 200), 1.0 / 32.0);
        assert_eq!(schedule.lr_scale(20, 200), 1.0);
        assert_eq!(schedule.lr_scale(200, 200), 1.0 / 32.0);
    }
}
