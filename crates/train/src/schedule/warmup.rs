//! The rising part of a schedule, given in steps or as a share of the run.

use super::ScheduleError;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Length of the rising part. In recipes an integer is steps (`100`), a fraction a share of the run (`0.1`,
/// also `"10%"`).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum Warmup {
    /// That many optimizer steps.
    Steps(u64),
    /// That share of all steps, in `[0, 1]`, rounded up to whole steps.
    Ratio(f64),
}

/// The forms a warm-up takes in a file.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Steps(u64),
    Ratio(f64),
    Text(String),
}

impl TryFrom<Written> for Warmup {
    type Error = ScheduleError;

    fn try_from(written: Written) -> Result<Self, ScheduleError> {
        match written {
            Written::Steps(steps) => Ok(Self::Steps(steps)),
            Written::Ratio(ratio) => Self::ratio(ratio, &ratio.to_string()),
            Written::Text(text) => text.parse(),
        }
    }
}

impl From<Warmup> for Written {
    fn from(warmup: Warmup) -> Self {
        match warmup {
            Warmup::Steps(steps) => Self::Steps(steps),
            Warmup::Ratio(ratio) => Self::Ratio(ratio),
        }
    }
}

impl FromStr for Warmup {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        let bad = || ScheduleError::Warmup { got: text.to_string() };
        let trimmed = text.trim();
        if let Some(percent) = trimmed.strip_suffix('%') {
            return Self::ratio(percent.trim().parse::<f64>().map_err(|_| bad())? / 100.0, text);
        }
        if let Ok(steps) = trimmed.parse::<u64>() {
            return Ok(Self::Steps(steps));
        }
        Self::ratio(trimmed.parse().map_err(|_| bad())?, text)
    }
}

impl fmt::Display for Warmup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steps(steps) => write!(f, "{steps} steps"),
            Self::Ratio(ratio) => write!(f, "{} % of the steps", ratio * 100.0),
        }
    }
}

impl Warmup {
    fn ratio(ratio: f64, text: &str) -> Result<Self, ScheduleError> {
        if (0.0..=1.0).contains(&ratio) {
            Ok(Self::Ratio(ratio))
        } else {
            Err(ScheduleError::Warmup { got: text.to_string() })
        }
    }

    /// Warm-up steps of a run of `total` steps.
    pub fn steps(self, total: u64) -> u64 {
        match self {
            Self::Steps(steps) => steps,
            // Up, as transformers does; f64 holds every step count below 2^53 exactly.
            Self::Ratio(ratio) => (total as f64 * ratio).ceil() as u64,
        }
    }

    /// Checks the warm-up against a run of `total` steps.
    pub(super) fn check(self, schedule: &'static str, total: u64) -> Result<(), ScheduleError> {
        if let Self::Ratio(ratio) = self
            && !(0.0..=1.0).contains(&ratio)
        {
            return Err(ScheduleError::OutOfRange {
                schedule,
                key: "warmup",
                expected: "a number of steps or a share between 0 and 1",
                got: ratio,
            });
        }
        match self.steps(total) {
            _ if total == 0 => Err(ScheduleError::NoSteps),
            warmup if warmup > total => Err(ScheduleError::WarmupTooLong { warmup, total }),
            _ => Ok(()),
        }
    }

    /// Scale while the warm-up lasts, `None` after it.
    pub(super) fn rise(self, step: u64, total: u64) -> Option<f64> {
        let warmup = self.steps(total);
        (step < warmup).then(|| step as f64 / warmup as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_steps_shares_and_percentages() {
        assert_eq!("100".parse(), Ok(Warmup::Steps(100)));
        assert_eq!("0.1".parse(), Ok(Warmup::Ratio(0.1)));
        assert_eq!(" 10% ".parse(), Ok(Warmup::Ratio(0.1)));
        assert_eq!("1".parse(), Ok(Warmup::Steps(1)));
        assert_eq!("1.0".parse(), Ok(Warmup::Ratio(1.0)));
        for bad in ["", "-1", "1.5", "NaN", "ten", "110%", "inf"] {
            assert!(bad.parse::<Warmup>().is_err(), "{bad}");
        }
        assert_eq!(serde_json::from_str::<Warmup>("3").unwrap(), Warmup::Steps(3));
        assert_eq!(serde_json::from_str::<Warmup>("0.25").unwrap(), Warmup::Ratio(0.25));
        assert_eq!(serde_json::from_str::<Warmup>("\"25%\"").unwrap(), Warmup::Ratio(0.25));
        assert!(serde_json::from_str::<Warmup>("2.5").is_err());
        assert!(serde_json::from_str::<Warmup>("-2").is_err());
    }

    #[test]
    fn a_share_rounds_up() {
        assert_eq!(Warmup::Ratio(0.1).steps(101), 11);
        assert_eq!(Warmup::Ratio(0.0).steps(101), 0);
        assert_eq!(Warmup::Ratio(0.1).rise(10, 101), Some(10.0 / 11.0));
        assert_eq!(Warmup::Ratio(0.1).rise(11, 101), None);
    }
}
