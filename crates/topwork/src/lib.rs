//! Transfer learning for language: take a pretrained model, make it do a new job, prove how well it does.

pub mod bench;
pub mod corpus;
pub mod embedder;
pub mod error;
pub mod evaluate;
pub mod hub;
pub mod job;
pub mod linear_baseline;
pub mod nearest;
pub mod predictor;
pub mod prepare;
pub mod recipe;
pub mod report;
pub mod saved;
pub mod scoring;
pub mod text_task;

pub use embedder::{EmbedOptions, Embedder, Vectors};
pub use error::Error;
pub use evaluate::{Evaluated, evaluate};
pub use job::{JobContext, JobObserver, Outcomes, Quiet, resume, train};
pub use predictor::{Prediction, Predictor};
pub use recipe::Recipe;
