//! Measuring steps: what `cargo xtask bench` compares with PyTorch.

mod speed;

use std::time::Instant;

use burn::tensor::Device;
use serde_json::{Value, json};
use topwork_kernels::gemm::Precision;
use topwork_models::{HeadSpec, LossOptions, Model, Pooling, Targets};
use topwork_nn::Pass;
use topwork_text::Packed;
use topwork_train::TrainOptions;
use topwork_train::optim::AdamW;
use topwork_train::plan::Plan;

use crate::error::Error;

pub use speed::{Rate, Speed, SpeedOptions, speed};

/// One thing to measure.
#[derive(Clone, Debug)]
pub struct StepBench {
    /// `base` (BERT-base) or `minilm`.
    pub shape: Shape,
    /// A whole training step, or a forward pass.
    pub train: bool,
    /// Dropout on hidden states and attention probabilities.
    pub dropout: f64,
    /// Precision of products.
    pub precision: Precision,
    /// Layers are computed once more on the way back.
    pub recompute: bool,
    /// Sequences in the batch.
    pub batch: usize,
    /// Tokens in each sequence.
    pub seq: usize,
    /// Measured repetitions, after two that are not counted.
    pub iterations: usize,
}

/// Shapes to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// 12 layers, 768 wide.
    Base,
    /// 6 layers, 384 wide.
    MiniLm,
}

impl Shape {
    /// The config of the shape, as `config.json` would hold it.
    pub fn config(self, dropout: f64) -> Value {
        let (layers, hidden, ffn) = match self {
            Shape::Base => (12, 768, 3072),
            Shape::MiniLm => (6, 384, 1536),
        };
        json!({
            "model_type": "bert", "vocab_size": 30522, "type_vocab_size": 2, "max_position_embeddings": 512,
            "num_hidden_layers": layers, "hidden_size": hidden, "intermediate_size": ffn,
            "num_attention_heads": 12, "hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout
        })
    }
}

/// Seconds of each repetition: forward and backward over a freshly initialised model, then AdamW over every
/// parameter, as a training loop does it (without clipping, as the peer's script has none).
///
/// # Errors
/// None that a well-formed [`StepBench`] can cause.
pub fn step_seconds(bench: &StepBench) -> Result<Vec<f64>, Error> {
    let labels = vec!["0".to_string(), "1".to_string()];
    let spec = HeadSpec::classifier(labels, false, Pooling::Family);
    let mut model = Model::declare(&bench.shape.config(bench.dropout), &spec, &Device::flex())?;
    for id in model.store.unset() {
        model.store.initialise(id, 0)?;
    }
    let tokens = bench.batch * bench.seq;
    let input = Packed {
        ids: (0..tokens as u64).map(|i| (i * 7919 % 30_000 + 100) as u32).collect(),
        type_ids: vec![0; tokens],
        offsets: (0..=bench.batch as u32).map(|i| i * bench.seq as u32).collect(),
        ..Packed::default()
    };
    let targets = Targets::Classes((0..bench.batch as u32).map(|i| i % 2).collect());
    let trainable = vec![true; model.store.len()];
    let plan = vec![Plan::default(); model.store.len()];
    let mut optimizer = AdamW::new(&TrainOptions::default(), model.store.len());
    let mut seconds = Vec::new();
    for n in 0..bench.iterations + 2 {
        let started = Instant::now();
        if bench.train {
            let pass = Pass::train(&model.store, bench.precision, n as u64, &trainable)
                .with_recompute(bench.recompute);
            let loss = model.loss(&pass, &input, &targets, &LossOptions::default())?;
            let mut gradients = pass.backward(&loss)?;
            optimizer.step(&mut model.store, &mut gradients, &plan, 1e-5, 1.0)?;
        } else {
            model.predict(&input, bench.precision)?;
        }
        if n >= 2 {
            seconds.push(started.elapsed().as_secs_f64());
        }
    }
    Ok(seconds)
}
