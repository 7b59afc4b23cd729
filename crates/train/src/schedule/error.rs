//! What can be wrong with a schedule.

/// What can be wrong with a schedule.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// No schedule of that name.
    #[error("unknown schedule {name:?}: did you mean {nearest:?}?")]
    Unknown {
        /// The name given.
        name: String,
        /// The closest known name.
        nearest: String,
    },
    /// The schedule has no such option.
    #[error("schedule {schedule:?} has no option {key:?} (it has: warmup{}{known})", if known.is_empty() { "" } else { ", " })]
    UnknownOption {
        /// Name of the schedule.
        schedule: &'static str,
        /// The offending key.
        key: String,
        /// The keys it has, comma separated.
        known: String,
    },
    /// A value outside its range.
    #[error("schedule {schedule:?}: {key} must be {expected}, got {got}")]
    OutOfRange {
        /// Name of the schedule.
        schedule: &'static str,
        /// The key.
        key: &'static str,
        /// The allowed range in words.
        expected: &'static str,
        /// The value given.
        got: f64,
    },
    /// A warm-up that is neither steps nor a share.
    #[error(
        "warm-up must be a number of steps (100), a share of the run (0.1) or a percentage (10%), got {got:?}"
    )]
    Warmup {
        /// The text given.
        got: String,
    },
    /// The warm-up is longer than the run.
    #[error(
        "the warm-up of {warmup} steps is longer than the run of {total} steps: shorten it or give it as a share (0.1)"
    )]
    WarmupTooLong {
        /// Warm-up steps.
        warmup: u64,
        /// Steps of the run.
        total: u64,
    },
    /// The run has no steps at all.
    #[error("the run has no steps: there are no training examples or no epochs")]
    NoSteps,
}
