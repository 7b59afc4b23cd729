//! How fast a model is on this machine, on texts of the lengths it will see: what `topwork bench` prints.

use std::path::Path;
use std::time::Instant;

use topwork_data::{BatchSize, Sampler};
use topwork_kernels::gemm::{self, Precision};
use topwork_models::{HeadSpec, LossOptions, Model, Pooling, Targets};
use topwork_nn::{Pass, gradient};
use topwork_ops::profile::{self, Spent};
use topwork_text::Packed;
use topwork_train::TrainOptions;
use topwork_train::optim::AdamW;
use topwork_train::plan::Plan;

use crate::error::Error;
use crate::model_files;
use crate::opened;
use crate::predictor::run_batches;

/// What to measure.
#[derive(Clone, Debug)]
pub struct SpeedOptions {
    /// Precision of products.
    pub precision: Precision,
    /// Texts in a training batch.
    pub batch: usize,
    /// Training steps measured, after two that are not.
    pub steps: usize,
    /// Longest text in tokens; `None` = what the model has positions for.
    pub max_length: Option<usize>,
}

/// How fast one thing went.
#[derive(Clone, Debug)]
pub struct Rate {
    /// Texts done.
    pub texts: usize,
    /// Their tokens.
    pub tokens: usize,
    /// Seconds it took.
    pub seconds: f64,
    /// Additions and multiplications in matrix products; zero where there are none.
    pub flops: f64,
    /// Where the time went, the dearest operation first.
    pub spent: Vec<Spent>,
}

impl Rate {
    /// Texts a second.
    pub fn texts_per_second(&self) -> f64 {
        self.texts as f64 / self.seconds
    }

    /// Tokens a second.
    pub fn tokens_per_second(&self) -> f64 {
        self.tokens as f64 / self.seconds
    }

    /// 10^9 additions and multiplications a second.
    pub fn gflops(&self) -> f64 {
        self.flops / self.seconds / 1e9
    }
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Speed {
    /// GFLOP/s of multiply-adds on registers alone, all threads.
    pub peak: f64,
    /// Seconds to open the model.
    pub open: f64,
    /// Text to ids; no products.
    pub tokenize: Rate,
    /// Vectors of all texts.
    pub inference: Rate,
    /// Tokens of the text of middle length.
    pub one_tokens: usize,
    /// Seconds for that text alone: the median of many times.
    pub one_seconds: f64,
    /// Training steps: forward, backward, clipping, AdamW over every parameter, dropout as the model's config says.
    pub training: Rate,
}

/// Measures a model folder on texts.
///
/// # Errors
/// A folder that cannot be opened; no texts; a text the tokenizer refuses.
pub fn speed(folder: &Path, texts: &[String], options: &SpeedOptions) -> Result<Speed, Error> {
    if texts.is_empty() {
        return Err(Error::Task("there is no text to measure with".to_string()));
    }
    let peak = gemm::peak(options.precision);
    let started = Instant::now();
    let tokenizer = model_files::tokenizer(folder)?;
    let spec = HeadSpec::embedder(Pooling::Mean, true);
    let (mut model, _) = opened::open(folder, &spec, 0)?;
    model.store.keep_packed();
    let open = started.elapsed().as_secs_f64();
    let longest = options.max_length.unwrap_or(model.size().max_tokens).min(model.size().max_tokens);

    let inputs: Vec<&str> = texts.iter().map(String::as_str).collect();
    // Once for the caches, once for the clock.
    tokenizer.encode_batch(&inputs[..inputs.len().min(64)], Some(longest))?;
    let started = Instant::now();
    let encodings = tokenizer.encode_batch(&inputs, Some(longest))?;
    let seconds = started.elapsed().as_secs_f64();
    let packed = Packed::from_encodings(&encodings);
    let rate = |seconds| Rate {
        texts: packed.batch(),
        tokens: packed.tokens(),
        seconds,
        flops: 0.0,
        spent: Vec::new(),
    };
    let tokenize = rate(seconds);

    let run = |packed: &Packed| run_batches(packed, |batch| Ok(model.predict(batch, options.precision)?));
    let order: Vec<usize> = (0..packed.batch()).collect();
    run(&packed.select(&order[..order.len().min(64)]))?;
    profile::start();
    let started = Instant::now();
    run(&packed)?;
    let seconds = started.elapsed().as_secs_f64();
    let inference = Rate { flops: flops(&model, &packed), spent: profile::stop(), ..rate(seconds) };

    let mut by_length = order;
    by_length.sort_by_key(|&i| packed.length(i));
    let middle = packed.select(&by_length[by_length.len() / 2..][..1]);
    let mut times = Vec::new();
    for _ in 0..50 {
        let started = Instant::now();
        model.predict(&middle, options.precision)?;
        times.push(started.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    drop(model);

    let training = training(folder, &packed, options)?;
    let (one_tokens, one_seconds) = (middle.tokens(), times[times.len() / 2]);
    Ok(Speed { peak, open, tokenize, inference, one_tokens, one_seconds, training })
}

/// Steps as the training loop takes them, on batches in the order of the first epoch.
fn training(folder: &Path, packed: &Packed, options: &SpeedOptions) -> Result<Rate, Error> {
    let labels = vec!["0".to_string(), "1".to_string()];
    let spec = HeadSpec::classifier(labels, false, Pooling::Family);
    let (mut model, _) = opened::open(folder, &spec, 0)?;
    let size = BatchSize { examples: Some(options.batch), tokens: None };
    let sampler = Sampler::new(packed.lengths(), size, 0)?;
    let train = TrainOptions::default();
    let mut optimizer = AdamW::new(&train, model.store.len());
    let trainable = vec![true; model.store.len()];
    let plan = vec![Plan::default(); model.store.len()];
    let (mut texts, mut tokens, mut products, mut seconds) = (0, 0, 0.0, 0.0);
    let mut batches = Vec::new();
    for epoch in 0.. {
        // Few texts are gone through several times.
        batches.extend(sampler.epoch(epoch));
        if batches.len() >= options.steps + 2 {
            break;
        }
    }
    for (n, indices) in batches.into_iter().take(options.steps + 2).enumerate() {
        if n == 2 {
            profile::start();
        }
        let batch = packed.select(&indices);
        let targets = Targets::Classes((0..indices.len() as u32).map(|i| i % 2).collect());
        let started = Instant::now();
        let pass = Pass::train(&model.store, options.precision, n as u64, &trainable);
        let loss = model.loss(&pass, &batch, &targets, &LossOptions::default())?;
        let mut gradients = pass.backward(&loss)?;
        let norm =
            gradients.ids().filter_map(|id| gradients.get(id)).map(gradient::sum_squares).sum::<f64>().sqrt();
        let scale = (train.clip_norm / (norm + 1e-6)).min(1.0);
        optimizer.step(&mut model.store, &mut gradients, &plan, 1e-5, scale)?;
        if n >= 2 {
            seconds += started.elapsed().as_secs_f64();
            texts += batch.batch();
            tokens += batch.tokens();
            products += 3.0 * flops(&model, &batch);
        }
    }
    Ok(Rate { texts, tokens, seconds, flops: products, spent: profile::stop() })
}

/// Additions and multiplications of a forward pass: every matrix of every layer with every token, and every token of a
/// text with every other in attention.
fn flops(model: &Model, batch: &Packed) -> f64 {
    let size = model.size();
    let in_layers = |path: &str| path.starts_with("layers.");
    let values: usize = model
        .store
        .iter()
        .filter(|(_, param)| param.shape.len() == 2 && in_layers(&param.path))
        .map(|(_, p)| p.len())
        .sum();
    let pairs: f64 = batch.lengths().map(|length| (length * length) as f64).sum();
    2.0 * values as f64 * batch.tokens() as f64 + 4.0 * pairs * (size.hidden * size.layers) as f64
}
