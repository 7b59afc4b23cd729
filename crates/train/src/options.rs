//! The loop's settings.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use topwork_kernels::gemm::Precision;

use crate::error::Error;
use crate::schedule::{self, Warmup};
use crate::technique;

/// How a run is trained. Every field has a default, and the resolved recipe shows them all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct TrainOptions {
    /// Passes over the training data.
    pub epochs: usize,
    /// Stop after this many optimizer steps, whatever `epochs` says. 0 = no limit.
    pub max_steps: usize,
    /// Stop after so many minutes of steps, with an evaluation at the end. 0 = no limit.
    pub max_minutes: f64,
    /// Stop as soon as the development score is as good as this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_at: Option<f64>,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Name of the schedule; `topwork list schedules` shows them.
    pub schedule: String,
    /// Options of the schedule beside its warm-up, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub schedule_options: BTreeMap<String, f64>,
    /// Share of all steps over which the learning rate rises from zero.
    pub warmup: f64,
    /// Batches whose gradients are summed before a step.
    pub accumulate: usize,
    /// Gradients are scaled down to this norm; 0 = never.
    pub clip_norm: f64,
    /// Decoupled weight decay. Biases and norms are left alone unless `decay_all`.
    pub weight_decay: f64,
    /// Decay biases and norms too.
    pub decay_all: bool,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Path patterns of parameters that stay as they are.
    pub freeze: Vec<String>,
    /// Techniques by name, each with its options; `topwork list techniques` shows them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub techniques: BTreeMap<String, serde_json::Value>,
    /// Most disk space, in GB, for what frozen layers at the bottom make of the texts, which is computed once; 0 = compute
    /// it anew in each step. The weights are the same to the bit.
    pub frozen_gigabytes: f64,
    /// Evaluations without a better score before training stops; 0 = never stops early.
    pub patience: usize,
    /// Evaluate at the end of every so many epochs, and of the last one always.
    pub evaluate_epochs: usize,
    /// Evaluate every so many steps besides the end of each epoch; 0 = at the end of epochs only.
    pub evaluate_steps: usize,
    /// Write a checkpoint every so many steps besides the end of each epoch; 0 = at the end of epochs only.
    pub checkpoint_steps: usize,
    /// Keep the inputs of layers only and compute the layers once more on the way back: most of the memory of a step for
    /// about a third more time, with the same weights to the bit.
    pub recompute: bool,
    /// Write the state needed to resume at all.
    pub checkpoints: bool,
    /// The one seed, split by name for initialisation, order and dropout.
    pub seed: u64,
    /// `f32` or `bf16`: the inputs of matrix products. Sums, weights and moments are f32 always.
    pub precision: PrecisionName,
}

/// Precision of matrix products as recipes write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PrecisionName {
    /// 32-bit inputs.
    F32,
    /// 16-bit brain floats, 32-bit sums.
    Bf16,
}

impl PrecisionName {
    /// bf16 where the CPU multiplies it natively, f32 elsewhere.
    pub fn best_here() -> Self {
        if Precision::native_bf16() { PrecisionName::Bf16 } else { PrecisionName::F32 }
    }

    /// For the kernels.
    pub fn kernel(self) -> Precision {
        match self {
            PrecisionName::F32 => Precision::F32,
            PrecisionName::Bf16 => Precision::Bf16,
        }
    }
}

impl Default for TrainOptions {
    fn default() -> Self {
        TrainOptions {
            epochs: 3,
            max_steps: 0,
            max_minutes: 0.0,
            stop_at: None,
            learning_rate: 5e-5,
            schedule: "linear".to_string(),
            schedule_options: BTreeMap::new(),
            warmup: 0.1,
            accumulate: 1,
            clip_norm: 1.0,
            weight_decay: 0.01,
            decay_all: false,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            freeze: Vec::new(),
            techniques: BTreeMap::new(),
            frozen_gigabytes: 16.0,
            patience: 0,
            evaluate_epochs: 1,
            evaluate_steps: 0,
            checkpoint_steps: 0,
            recompute: false,
            checkpoints: true,
            seed: 0,
            precision: PrecisionName::best_here(),
        }
    }
}

impl TrainOptions {
    /// What the schedule is built with.
    pub(crate) fn schedule_with_options(&self) -> schedule::Options {
        let mut options = schedule::Options::new(Warmup::Ratio(self.warmup));
        options.values.clone_from(&self.schedule_options);
        options
    }

    /// Checks ranges.
    ///
    /// # Errors
    /// [`Error::Option`] naming the first option out of range; a technique that there is not, or an option that it does not
    /// have, or two that cannot be combined; the same of the schedule.
    pub fn check(&self) -> Result<(), Error> {
        let rule = |ok: bool, name: &'static str, expected: &'static str, got: f64| {
            if ok { Ok(()) } else { Err(Error::Option { name, expected, got: got.to_string() }) }
        };
        rule(self.epochs > 0, "epochs", "at least 1", self.epochs as f64)?;
        rule(self.evaluate_epochs > 0, "evaluate-epochs", "at least 1", self.evaluate_epochs as f64)?;
        let lr = self.learning_rate;
        rule(lr.is_finite() && lr > 0.0, "learning-rate", "a number above 0", lr)?;
        rule((0.0..1.0).contains(&self.warmup), "warmup", "at least 0 and below 1", self.warmup)?;
        rule(self.accumulate > 0, "accumulate", "at least 1", self.accumulate as f64)?;
        let minutes = self.max_minutes;
        rule(minutes >= 0.0 && minutes.is_finite(), "max-minutes", "at least 0 (0 = no limit)", minutes)?;
        let score = self.stop_at.unwrap_or(0.0);
        rule(score.is_finite(), "stop-at", "a score", score)?;
        rule(self.clip_norm >= 0.0, "clip-norm", "at least 0 (0 = no clipping)", self.clip_norm)?;
        rule(self.weight_decay >= 0.0, "weight-decay", "at least 0", self.weight_decay)?;
        let room = self.frozen_gigabytes;
        rule((0.0..=1e9).contains(&room), "frozen-gigabytes", "a number from 0 to 1e9", room)?;
        let schedule = schedule::find(&self.schedule).map_err(|e| Error::Task(Box::new(e)))?;
        (schedule.build)(&self.schedule_with_options()).map_err(|e| Error::Task(Box::new(e)))?;
        for (name, options) in &self.techniques {
            technique::find(name, options)?;
        }
        technique::together(self.techniques.keys().map(String::as_str))?;
        rule((0.0..1.0).contains(&self.beta1), "beta1", "at least 0 and below 1", self.beta1)?;
        rule((0.0..1.0).contains(&self.beta2), "beta2", "at least 0 and below 1", self.beta2)?;
        rule(self.eps > 0.0, "eps", "above 0", self.eps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_in_range_and_survive_json() {
        let options = TrainOptions::default();
        options.check().unwrap();
        let text = serde_json::to_string(&options).unwrap();
        assert_eq!(serde_json::from_str::<TrainOptions>(&text).unwrap(), options);
        assert!(serde_json::from_str::<TrainOptions>(r#"{"learning-rat": 1}"#).is_err());
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        let check = |change: fn(&mut TrainOptions), name: &str| {
            let mut options = TrainOptions::default();
            change(&mut options);
            let error = options.check().unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        };
        check(|o| o.learning_rate = f64::NAN, "learning-rate");
        check(|o| o.warmup = 1.0, "warmup");
        check(|o| o.epochs = 0, "epochs");
        check(|o| o.accumulate = 0, "accumulate");
        check(|o| o.beta2 = 1.5, "beta2");
        check(|o| o.max_minutes = -1.0, "max-minutes");
        check(|o| o.stop_at = Some(f64::NAN), "stop-at");
        check(|o| o.clip_norm = -1.0, "clip-norm");
        check(|o| o.frozen_gigabytes = f64::INFINITY, "frozen-gigabytes");
        check(|o| o.schedule = "one-cycl".into(), "one-cycle");
        check(|o| _ = o.schedule_options.insert("cycles".into(), 2.0), "cycles");
        check(|o| _ = o.techniques.insert("unfreez".into(), serde_json::json!({})), "unfreeze");
        check(|o| _ = o.techniques.insert("unfreeze".into(), serde_json::json!({"epoch": 1})), "epochs");
        let both = |o: &mut TrainOptions| {
            for name in ["swa", "ema"] {
                o.techniques.insert(name.into(), serde_json::json!({}));
            }
        };
        check(both, "ema and swa cannot be combined");
    }
}
