//! One batch of `fixtures/bert/relu`, again and again, in the real loop.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use serde_json::Value;
use topwork_models::{LossOptions, Model, Targets};
use topwork_nn::{ParamStore, Pass};
use topwork_testkit::Golden;
use topwork_text::Packed;
use topwork_train::{
    BatchLoss, Event, Learning, Observer, RunContext, Scores, Task, TaskError, TrainOptions, run,
};

use crate::golden::{numbers, packed};

pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures")
}

/// The texts and labels.
pub fn texts() -> Golden {
    Golden::open(fixtures().join("bert/relu/golden.safetensors")).unwrap()
}

/// One batch, again and again.
struct Same {
    model: Model,
    golden: Golden,
}

impl Task for Same {
    fn store(&self) -> &ParamStore {
        &self.model.store
    }

    fn store_mut(&mut self) -> &mut ParamStore {
        &mut self.model.store
    }

    fn batches(&self, _: usize) -> Result<Vec<Vec<usize>>, TaskError> {
        Ok(vec![vec![0]])
    }

    fn loss(&self, pass: &Pass, examples: &[usize]) -> Result<BatchLoss, TaskError> {
        let loss = loss(&self.model, &self.golden, pass)?;
        Ok(BatchLoss { loss, examples: examples.len(), tokens: 1 })
    }

    fn evaluate(&self) -> Result<Scores, TaskError> {
        Ok(Scores { score: None, higher_is_better: true, values: Vec::new() })
    }

    fn save(&self, _: &Path, _: &Scores) -> Result<(), TaskError> {
        Ok(())
    }
}

/// Losses of the steps, and what learnt when.
#[derive(Default)]
pub struct Seen {
    pub losses: Vec<f32>,
    pub plans: Vec<(usize, Vec<Learning>)>,
}

impl Observer for Seen {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Step { loss, .. } => self.losses.push(*loss as f32),
            Event::Plan { step, learning } => self.plans.push((*step, learning.clone())),
            _ => {}
        }
    }
}

/// The loss of the batch.
pub fn loss(
    model: &Model,
    golden: &Golden,
    pass: &Pass,
) -> Result<burn::tensor::Tensor<1>, topwork_models::Error> {
    loss_of(model, &packed(golden), &numbers(golden, "labels"), pass)
}

/// The loss of texts with these labels.
pub fn loss_of(
    model: &Model,
    texts: &Packed,
    labels: &[u32],
    pass: &Pass,
) -> Result<burn::tensor::Tensor<1>, topwork_models::Error> {
    model.loss(pass, texts, &Targets::Classes(labels.into()), &LossOptions::default())
}

/// Ten steps of one epoch each, at a constant rate, with what a golden file says of AdamW.
pub fn ten_steps(model: Model, settings: &Golden, techniques: &Value, clip_norm: f64) -> (Model, Seen) {
    ten_steps_on(texts(), model, settings, techniques, clip_norm)
}

/// [`ten_steps`] on other texts.
pub fn ten_steps_on(
    golden: Golden,
    model: Model,
    settings: &Golden,
    techniques: &Value,
    clip_norm: f64,
) -> (Model, Seen) {
    let number = |name: &str| settings.scalar(&format!("adamw.{name}")).unwrap();
    let options = TrainOptions {
        epochs: 10,
        learning_rate: number("lr"),
        schedule: "constant".to_string(),
        warmup: 0.0,
        clip_norm,
        weight_decay: number("weight_decay"),
        decay_all: true,
        eps: number("eps"),
        precision: topwork_train::PrecisionName::F32,
        techniques: serde_json::from_value(techniques.clone()).unwrap(),
        ..TrainOptions::default()
    };
    let (mut task, mut seen) = (Same { model, golden }, Seen::default());
    let context =
        RunContext { folder: None, resume: false, stop: &AtomicBool::new(false), observer: &mut seen };
    run(&mut task, &options, context).unwrap();
    (task.model, seen)
}
