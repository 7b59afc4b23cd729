//! Learning-rate schedules: one number per optimizer step, multiplied into the base learning rate.
//!
//! A schedule is a pure function of the step and the total number of steps, so a resumed run needs no state.
//! Steps are counted from zero; with a warm-up the first step has scale 0, as in HuggingFace transformers.
//!
//! ```
//! use topwork_train::schedule::{self, Options, Warmup};
//! let linear = schedule::build("linear", &Options::new(Warmup::Ratio(0.1)), 100)?;
//! assert_eq!(linear.lr_scale(5, 100), 0.5);
//! assert_eq!(linear.lr_scale(10, 100), 1.0);
//! # Ok::<(), topwork_train::schedule::ScheduleError>(())
//! ```

mod constant;
mod cosine;
mod error;
mod inverse_sqrt;
mod linear;
mod one_cycle;
mod slanted_triangular;
mod warmup;

pub use constant::Constant;
pub use cosine::Cosine;
pub use error::ScheduleError;
pub use inverse_sqrt::InverseSqrt;
pub use linear::Linear;
pub use one_cycle::OneCycle;
pub use slanted_triangular::SlantedTriangular;
pub use warmup::Warmup;

use crate::metrics::nearest::nearest;
use std::collections::BTreeMap;

/// The learning rate over a run, as a fraction of the base learning rate.
pub trait Schedule: Send + Sync + std::fmt::Debug {
    /// Scale in `[0, 1]` for optimizer step `step` (from zero) of `total`. Steps at or past `total` get the
    /// value the curve ends on.
    fn lr_scale(&self, step: u64, total: u64) -> f64;

    /// Whether the schedule makes sense for a run of `total` steps.
    ///
    /// # Errors
    /// [`ScheduleError`] when the run has no steps, or fewer than the warm-up.
    fn check(&self, total: u64) -> Result<(), ScheduleError>;
}

/// What a recipe says about its schedule, beside the name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// Length of the rising part; `None` takes the schedule's own default.
    pub warmup: Option<Warmup>,
    /// Further options by kebab-case key, such as `cycles` of `cosine`.
    pub values: BTreeMap<String, f64>,
}

impl Options {
    /// Only a warm-up.
    pub fn new(warmup: Warmup) -> Self {
        Self { warmup: Some(warmup), values: BTreeMap::new() }
    }

    /// The same with one more option.
    pub fn with(mut self, key: &str, value: f64) -> Self {
        self.values.insert(key.to_string(), value);
        self
    }

    /// Reads option `key`, or `default`, after checking that every key is one of the schedule's.
    fn read(&self, spec: &ScheduleSpec, key: &'static str, default: f64) -> Result<f64, ScheduleError> {
        self.only(spec)?;
        Ok(self.values.get(key).copied().unwrap_or(default))
    }

    /// Refuses keys that `spec` does not list.
    fn only(&self, spec: &ScheduleSpec) -> Result<(), ScheduleError> {
        let known = || spec.options.iter().map(|&(key, _)| key);
        match self.values.keys().find(|key| !known().any(|k| k == key.as_str())) {
            None => Ok(()),
            Some(key) => Err(ScheduleError::UnknownOption {
                schedule: spec.name,
                key: key.clone(),
                known: known().collect::<Vec<_>>().join(", "),
            }),
        }
    }
}

/// How a schedule is known from outside: recipes, `list`, the docs table, the sweep test.
#[derive(Debug)]
pub struct ScheduleSpec {
    /// Kebab-case name used in recipes.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// Where it comes from.
    pub paper: &'static str,
    /// Options beside the warm-up: key and what it means, with its default.
    pub options: &'static [(&'static str, &'static str)],
    /// Builds one from the options of a recipe.
    pub build: fn(&Options) -> Result<Box<dyn Schedule>, ScheduleError>,
}

/// Every schedule, in the order `list` prints them.
pub const SCHEDULES: &[&ScheduleSpec] = &[
    &constant::SPEC,
    &linear::SPEC,
    &cosine::SPEC,
    &slanted_triangular::SPEC,
    &inverse_sqrt::SPEC,
    &one_cycle::SPEC,
];

/// The entry of that name.
///
/// # Errors
/// [`ScheduleError::Unknown`] with the nearest known name.
pub fn find(name: &str) -> Result<&'static ScheduleSpec, ScheduleError> {
    SCHEDULES.iter().copied().find(|spec| spec.name == name).ok_or_else(|| ScheduleError::Unknown {
        name: name.to_string(),
        nearest: nearest(name, SCHEDULES.iter().map(|spec| spec.name)).unwrap_or_default().to_string(),
    })
}

/// Builds the schedule of that name and checks it against a run of `total` steps.
///
/// # Errors
/// Unknown name or option, a value out of range, or a run too short for the warm-up.
pub fn build(name: &str, options: &Options, total: u64) -> Result<Box<dyn Schedule>, ScheduleError> {
    let schedule = (find(name)?.build)(options)?;
    schedule.check(total)?;
    Ok(schedule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schedule_stays_in_range_and_has_a_name() {
        let mut seen = 0;
        for spec in SCHEDULES {
            assert!(spec.name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{}", spec.name);
            assert!(spec.paper.starts_with("https://"), "{}", spec.name);
            for warmup in [Warmup::Steps(0), Warmup::Steps(7), Warmup::Ratio(0.1), Warmup::Ratio(1.0)] {
                for total in [7, 8, 100, 1001] {
                    let schedule = build(spec.name, &Options::new(warmup), total).unwrap();
                    for step in 0..total + 20 {
                        let scale = schedule.lr_scale(step, total);
                        assert!(
                            (0.0..=1.0).contains(&scale),
                            "{} {warmup:?} {step}/{total}: {scale}",
                            spec.name
                        );
                        seen += 1;
                    }
                }
            }
            build(spec.name, &Options::default(), 50).unwrap();
        }
        assert_eq!(SCHEDULES.len(), 6);
        assert_eq!(seen, 6 * 4 * (7 + 8 + 100 + 1001 + 4 * 20));
    }

    #[test]
    fn the_top_is_reached_where_the_warm_up_ends() {
        for spec in SCHEDULES {
            let schedule = build(spec.name, &Options::new(Warmup::Steps(25)), 100).unwrap();
            assert_eq!(schedule.lr_scale(25, 100), 1.0, "{}", spec.name);
            assert!(schedule.lr_scale(24, 100) < 1.0, "{}", spec.name);
        }
    }

    #[test]
    fn bad_configurations_are_refused_with_the_way_out() {
        let check = |name: &str, options: Options, total: u64, message: &str| {
            let error = build(name, &options, total).unwrap_err().to_string();
            assert!(error.contains(message), "{error:?} should contain {message:?}");
        };
        check("liner", Options::default(), 10, "did you mean \"linear\"?");
        check("linear", Options::new(Warmup::Steps(11)), 10, "11");
        check("linear", Options::new(Warmup::Ratio(1.5)), 10, "1.5");
        check("linear", Options::new(Warmup::Ratio(f64::NAN)), 10, "NaN");
        check("linear", Options::default(), 0, "no steps");
        check("linear", Options::default().with("cycles", 1.0), 10, "cycles");
        check("cosine", Options::default().with("cycle", 1.0), 10, "cycles");
        check("cosine", Options::default().with("cycles", -1.0), 10, "-1");
        check("cosine", Options::default().with("floor", 2.0), 10, "floor");
        check("slanted-triangular", Options::default().with("ratio", 0.5), 10, "ratio");
        check("slanted-triangular", Options::default().with("ratio", f64::INFINITY), 10, "ratio");
        check("one-cycle", Options::default().with("rise", 0.0), 10, "rise");
        check("one-cycle", Options::default().with("fall", f64::NAN), 10, "fall");
        check("inverse-sqrt", Options::default().with("scale", 1.0), 10, "scale");
    }

    /// `lr / base` of transformers 5.23 (`fixtures/make/metrics.py`).
    #[test]
    fn equal_to_transformers() {
        let cases: serde_json::Value =
            serde_json::from_str(include_str!("../../../../fixtures/metrics/schedules.json")).unwrap();
        let cases = cases["cases"].as_array().unwrap();
        let mut compared = 0;
        for case in cases {
            let name = case["name"].as_str().unwrap();
            let total = case["total"].as_u64().unwrap();
            let mut options = Options::new(Warmup::Steps(case["warmup"].as_u64().unwrap()));
            if let Some(cycles) = case["cycles"].as_f64() {
                options = options.with("cycles", cycles);
            }
            let schedule = build(name, &options, total).unwrap();
            for (step, expected) in case["scales"].as_array().unwrap().iter().enumerate() {
                let expected = expected.as_f64().unwrap();
                let got = schedule.lr_scale(step as u64, total);
                assert!((got - expected).abs() < 1e-12, "{name} {step}/{total}: {got} {expected}");
                compared += 1;
            }
        }
        assert_eq!(cases.len(), 12);
        assert!(compared > 300, "{compared}");
    }
}
