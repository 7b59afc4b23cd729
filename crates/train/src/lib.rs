//! The one training loop, techniques, schedules, optimizers, metrics and the linear baseline.
//!
//! [`run`] trains anything that implements [`Task`]; it knows no family, no head and no file format.

pub mod audit;
mod averages;
pub mod baseline;
pub mod checkpoint;
pub mod error;
pub mod event;
pub mod metrics;
pub mod optim;
pub mod options;
pub mod plan;
pub mod run_log;
pub mod run_loop;
pub mod schedule;
pub mod task;
pub mod technique;
pub mod techniques;
pub mod tensorboard;
mod values;
pub mod view;

pub use error::Error;
pub use event::{Event, Learning, Observer, Silent};
pub use options::{PrecisionName, TrainOptions};
pub use run_loop::{RunContext, RunResult, run};
pub use task::{BatchLoss, Importance, Scores, Task, TaskError};
pub use technique::{TECHNIQUES, Technique, TechniqueEntry};
pub use view::{Answers, Looked, Twice, View};
