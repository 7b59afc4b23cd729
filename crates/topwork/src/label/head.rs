//! The model that is learnt anew after each batch: a linear head on features that stay.

use serde::{Deserialize, Serialize};
use topwork_train::baseline::{LogisticHead, LogisticHeadOptions, LogisticOptions};
use topwork_train::metrics::{Evaluation, Outcome};

use super::features::Features;
use crate::error::Error;

/// How closely the head follows the labels, the inverse of the strength of its penalty. Features have length one, and on these a
/// head of the usual 1 hardly finds a rare class: of 1, 3, 10, 30 and 100 this served random order best (`dev/LOG.md`, 2026-12-01).
const C: f64 = 10.0;

/// A linear head.
pub(super) struct Head {
    head: LogisticHead,
    /// Classes there were when it learnt.
    classes: usize,
}

impl Head {
    /// Learns from some rows and their classes, of `classes`; `None` while there are not two different ones.
    pub fn learn(
        features: &Features,
        rows: &[usize],
        labels: &[u32],
        classes: usize,
    ) -> Result<Option<Self>, Error> {
        if !labels.iter().any(|label| Some(label) != labels.first()) {
            return Ok(None);
        }
        let options = LogisticHeadOptions {
            logistic: LogisticOptions { c: C, ..LogisticOptions::default() },
            standardise: false,
        };
        let head = LogisticHead::fit(&features.gather(rows), features.width, labels, classes, &options)?;
        Ok(Some(Head { head, classes }))
    }

    /// Probabilities `[rows, classes]` of some rows; of a class that is newer than the head 0.
    pub fn probabilities(
        &self,
        features: &Features,
        rows: &[usize],
        classes: usize,
    ) -> Result<Vec<f32>, Error> {
        let known = self.head.predict_proba(&features.gather(rows))?;
        if classes == self.classes {
            return Ok(known);
        }
        let mut wide = vec![0.0; rows.len() * classes];
        for (wide, known) in wide.chunks_exact_mut(classes).zip(known.chunks_exact(self.classes)) {
            wide[..self.classes].copy_from_slice(known);
        }
        Ok(wide)
    }
}

/// Labelled texts that are never asked for, to measure by.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// Their features.
    pub features: Features,
    /// The name of the class of each.
    pub labels: Vec<String>,
}

/// How good the head is on texts that were held out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Scores {
    /// The share of right answers.
    pub accuracy: f64,
    /// The mean over classes of the F1.
    pub macro_f1: f64,
}

impl Held {
    /// Measures a head; `None` where there is nothing to measure.
    pub(super) fn measure(&self, head: &Head, classes: &[String]) -> Result<Option<Scores>, Error> {
        let place = |name: &String| classes.iter().position(|class| class == name).map(|at| at as u32);
        let Some(truth) = self.labels.iter().map(place).collect::<Option<Vec<u32>>>() else {
            return Ok(None);
        };
        if truth.is_empty() {
            return Ok(None);
        }
        let rows: Vec<usize> = (0..truth.len()).collect();
        let answers = head.probabilities(&self.features, &rows, classes.len())?;
        let evaluation = Evaluation::new(&Outcome::classes(&truth, &answers, classes.len())?, classes)?;
        let (accuracy, macro_f1) = (evaluation.value("accuracy")?, evaluation.value("macro-f1")?);
        Ok(Some(Scores { accuracy, macro_f1 }))
    }
}
