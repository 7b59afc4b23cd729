//! Linear models on bags of words or on dense vectors: what every fine-tune has to beat.
//!
//! [`TfidfLogistic`], [`TfidfLabels`] and [`TfidfRidge`] take texts; [`LogisticHead`] takes vectors, such as
//! those of a frozen encoder. All are convex problems solved to their optimum, so there is nothing to seed, and
//! they equal scikit-learn's.
//!
//! ```
//! use topwork_train::baseline::{TfidfLogistic, TfidfLogisticOptions};
//! let texts = ["free prize now", "see you at lunch", "claim your prize", "lunch was good"];
//! let model = TfidfLogistic::fit(&texts, &[1, 0, 1, 0], 2, &TfidfLogisticOptions::default())?;
//! let probabilities = model.predict_proba(&["a free prize", "good lunch"]); // [2, labels]
//! assert!(probabilities[1] > 0.5 && probabilities[3] < 0.5);
//! assert_eq!(model.top_features(1, 1)[0].0, "prize");
//! # Ok::<(), topwork_train::baseline::BaselineError>(())
//! ```

mod dense;
mod design;
mod error;
mod lbfgs;
mod logistic;
mod logistic_head;
mod ridge;
mod sparse;
mod tfidf;
mod tfidf_labels;
mod tfidf_logistic;
mod tfidf_ridge;
mod words;

#[cfg(test)]
mod parity;

pub use error::BaselineError;
pub use logistic::{ClassWeights, LogisticOptions};
pub use logistic_head::{LogisticHead, LogisticHeadOptions};
pub use tfidf::{Tfidf, TfidfOptions};
pub use tfidf_labels::TfidfLabels;
pub use tfidf_logistic::{TfidfLogistic, TfidfLogisticOptions};
pub use tfidf_ridge::{TfidfRidge, TfidfRidgeOptions};
