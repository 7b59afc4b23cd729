//! Going on with texts: greedy, by sampling, or by beam search, over any family that reads from left to right, and writing
//! texts for texts with an encoder-decoder.
//!
//! Prompts of unequal length go on together, packed; what a prompt is continued with does not depend on its neighbours, nor,
//! when words are drawn, on how many there are: draws are a function of the seed, the prompt's number and the place.
//! Reference code: <https://github.com/huggingface/transformers/tree/main/src/transformers/generation>.

mod adjust;
mod beam;
mod choose;
mod reader;
mod settings;

use topwork_kernels::gemm::Precision;
use topwork_nn::Pass;
use topwork_text::Packed;

use crate::error::Error;
use crate::heads::seq2seq::Seq2Seq;
use crate::model::Model;
use crate::target::{Sources, Start};

pub use adjust::Adjust;
pub use choose::Sampling;

use beam::Prompt;
use reader::Reader;

/// How the next word is chosen.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Choice {
    /// The likeliest.
    #[default]
    Greedy,
    /// Drawn.
    Sample(Sampling),
    /// The continuation that is likeliest as a whole, among those that a few beams find.
    Beam(Beam),
}

/// Settings of beam search.
///
/// Reference: as `num_beams`, `length_penalty` and `early_stopping` of transformers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Beam {
    /// Continuations that are followed at once.
    pub beams: usize,
    /// A score is divided by the length to this power: above 0 favours long continuations.
    pub length_penalty: f64,
    /// Stop as soon as there are as many whole continuations as beams.
    pub early_stopping: bool,
}

/// How to go on.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Words at most.
    pub max_new: usize,
    /// Ids that end a continuation, which then has one of them as its last.
    pub end: Vec<u32>,
    /// How the next word is chosen.
    pub choice: Choice,
    /// What is done to the scores before.
    pub adjust: Adjust,
    /// The token a target is written from, where it is not the one the model was trained with; of no use without sources.
    pub start: Option<u32>,
    /// Precision of matrix products.
    pub precision: Precision,
}

/// Why a continuation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With an end id.
    End,
    /// As long as it may get.
    Length,
    /// The caller said so.
    Stopped,
}

/// What a prompt was continued with.
#[derive(Clone, Debug, PartialEq)]
pub struct Continuation {
    /// The new ids, an end id included.
    pub ids: Vec<u32>,
    /// Why it ended.
    pub ended: Ended,
    /// Natural logarithm of its probability; of a beam divided by the length penalty.
    pub score: f64,
}

/// Continues each prompt, or with an encoder-decoder writes a text for each. `each` is told the prompt and the id as soon as a
/// word is chosen (except in beam search, where words are only known at the end), and says whether to go on.
///
/// # Shapes
/// - `prompts`: at least one token each
///
/// # Errors
/// [`Error::NotCausal`]; [`Error::Generate`] for options out of range and for an empty prompt; a prompt that leaves no place
/// for a new word, or a source longer than the encoder reads.
pub fn generate(
    model: &Model,
    prompts: &Packed,
    options: &Options,
    each: &mut dyn FnMut(usize, u32) -> bool,
) -> Result<Vec<Continuation>, Error> {
    let task = Task::new(model, prompts, options)?;
    match &options.choice {
        Choice::Beam(settings) => {
            let search = |(at, ids): (usize, &Vec<u32>)| {
                let source = task.sources.as_ref().map(|sources| sources.one(at));
                beam::search(model, Prompt { ids, source, limit: task.limit }, options, *settings)
            };
            task.prompts.iter().enumerate().map(search).collect()
        }
        _ => one_by_one(model, task, options, each),
    }
}

/// What is gone on with.
struct Task {
    prompts: Vec<Vec<u32>>,
    sources: Option<Sources>,
    /// Tokens at most, prompts counted.
    limit: usize,
}

impl Task {
    fn new(model: &Model, texts: &Packed, options: &Options) -> Result<Self, Error> {
        let target = model.seq2seq().ok().map(Seq2Seq::target);
        let size = target.map_or(model.size(), |target| target.size());
        options.check(size.vocab)?;
        let wrong =
            |what: &str, reason: &str| Error::Generate { what: what.to_string(), reason: reason.to_string() };
        let texts_of = || texts.offsets.windows(2).map(|pair| pair[0] as usize..pair[1] as usize);
        if let Some(at) = texts_of().position(|text| text.is_empty()) {
            return Err(wrong(&format!("prompt {at}"), "it has no token"));
        }
        let limit = size.max_tokens;
        let Some(target) = target else {
            if let Some(tokens) = texts_of().map(|text| text.len()).find(|&tokens| tokens >= limit) {
                return Err(topwork_nn::Error::TooLong { tokens: tokens + 1, limit }.into());
            }
            let prompts = texts_of().map(|text| texts.ids[text].to_vec()).collect();
            return Ok(Task { prompts, sources: None, limit });
        };
        let start = match (options.start, target.style().start) {
            (Some(id), _) | (None, Start::Id(id)) => id,
            (None, Start::Last) => {
                return Err(wrong("start", "this family writes from the token of a language: name one"));
            }
        };
        let pass = Pass::eval(&model.store, options.precision);
        let sources = Sources::new(model.features(&pass, texts)?, &texts.offsets);
        Ok(Task { prompts: vec![vec![start]; sources.batch()], sources: Some(sources), limit })
    }
}

impl Options {
    fn check(&self, vocab: usize) -> Result<(), Error> {
        let wrong = |what: &str, reason: String| Err(Error::Generate { what: what.to_string(), reason });
        if self.max_new == 0 {
            return wrong("max_new", "no word to be found: expected at least 1".to_string());
        }
        for (what, ids) in [("end", self.end.as_slice()), ("start", self.start.as_slice())] {
            if let Some(id) = ids.iter().find(|&&id| id as usize >= vocab) {
                return wrong(what, format!("id {id} is beyond the {vocab} known ones"));
            }
        }
        if let Some((what, reason)) = self.adjust.problem(vocab) {
            return wrong(what, reason);
        }
        match &self.choice {
            Choice::Greedy => Ok(()),
            Choice::Sample(sampling) => match sampling.problem() {
                None => Ok(()),
                Some((what, reason)) => wrong(what, reason),
            },
            Choice::Beam(beam) if beam.beams == 0 => wrong("beams", "expected at least 1".to_string()),
            Choice::Beam(beam) if !beam.length_penalty.is_finite() => {
                wrong("length_penalty", format!("expected a number, got {}", beam.length_penalty))
            }
            Choice::Beam(_) => Ok(()),
        }
    }
}

/// Greedy and drawn: all prompts together, a word each at a time.
fn one_by_one(
    model: &Model,
    Task { prompts, sources, limit }: Task,
    options: &Options,
    each: &mut dyn FnMut(usize, u32) -> bool,
) -> Result<Vec<Continuation>, Error> {
    let mut reader = Reader::new(model, sources, prompts.len(), options.precision)?;
    // The prompts that still go on, and what is to be read of each next.
    let mut open: Vec<usize> = (0..prompts.len()).collect();
    let mut news: Vec<Vec<u32>> = prompts.clone();
    let mut seen = prompts;
    let start: Vec<usize> = seen.iter().map(Vec::len).collect();
    let mut ended = vec![(Ended::Length, 0.0); seen.len()];
    while !open.is_empty() {
        let mut logits = reader.read(&news)?;
        let mut alive = Vec::new();
        news.clear();
        for (row, &prompt) in open.iter().enumerate() {
            let scores = &mut logits[row];
            let new = seen[prompt].len() - start[prompt];
            let most = options.max_new.min(limit - start[prompt]);
            options.adjust.apply(scores, &seen[prompt], [new, most], &options.end);
            let (id, log_probability) = match &options.choice {
                Choice::Sample(sampling) => sampling.draw(scores, prompt, new),
                _ => choose::likeliest(scores),
            };
            seen[prompt].push(id);
            let (how, score) = &mut ended[prompt];
            *score += log_probability;
            let go_on = each(prompt, id);
            if options.end.contains(&id) {
                *how = Ended::End;
            } else if !go_on {
                *how = Ended::Stopped;
            } else if new + 1 < most {
                alive.push(row);
                news.push(vec![id]);
            }
        }
        if alive.len() < open.len() {
            reader.keep(&alive);
            open = alive.iter().map(|&row| open[row]).collect();
        }
    }
    let parts = seen.into_iter().zip(start).zip(ended);
    Ok(parts
        .map(|((seen, start), (ended, score))| Continuation { ids: seen[start..].to_vec(), ended, score })
        .collect())
}
