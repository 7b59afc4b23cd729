//! Going on with texts: greedy, by sampling, or by beam search, over any family that reads from left to right.
//!
//! Prompts of unequal length go on together, packed; what a prompt is continued with does not depend on its neighbours, nor,
//! when words are drawn, on how many there are: draws are a function of the seed, the prompt's number and the place.
//! Reference code: <https://github.com/huggingface/transformers/tree/main/src/transformers/generation>.

mod adjust;
mod beam;
mod choose;
mod reader;

use topwork_kernels::gemm::Precision;
use topwork_text::Packed;

use crate::error::Error;
use crate::model::Model;

pub use adjust::Adjust;
pub use choose::Sampling;

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

/// Continues each prompt. `each` is told the prompt and the id as soon as a word is chosen (except in beam search, where
/// words are only known at the end), and says whether to go on.
///
/// # Shapes
/// - `prompts`: at least one token each
///
/// # Errors
/// [`Error::NotCausal`]; [`Error::Generate`] for options out of range and for an empty prompt; a prompt that leaves no place
/// for a new word.
pub fn generate(
    model: &Model,
    prompts: &Packed,
    options: &Options,
    each: &mut dyn FnMut(usize, u32) -> bool,
) -> Result<Vec<Continuation>, Error> {
    options.check(model)?;
    let limit = model.size().max_tokens;
    for (at, pair) in prompts.offsets.windows(2).enumerate() {
        let tokens = (pair[1] - pair[0]) as usize;
        if tokens == 0 {
            return Err(Error::Generate { what: format!("prompt {at}"), reason: "it has no token".into() });
        }
        if tokens >= limit {
            return Err(topwork_nn::Error::TooLong { tokens: tokens + 1, limit }.into());
        }
    }
    let prompts: Vec<Vec<u32>> = prompts
        .offsets
        .windows(2)
        .map(|pair| prompts.ids[pair[0] as usize..pair[1] as usize].to_vec())
        .collect();
    match &options.choice {
        Choice::Beam(settings) => {
            prompts.iter().map(|prompt| beam::search(model, prompt, options, *settings)).collect()
        }
        _ => one_by_one(model, prompts, options, each),
    }
}

impl Options {
    fn check(&self, model: &Model) -> Result<(), Error> {
        let wrong = |what: &str, reason: String| Err(Error::Generate { what: what.to_string(), reason });
        if self.max_new == 0 {
            return wrong("max_new", "no word to be found: expected at least 1".to_string());
        }
        if let Some(id) = self.end.iter().find(|&&id| id as usize >= model.size().vocab) {
            return wrong("end", format!("id {id} is beyond the {} known ones", model.size().vocab));
        }
        if let Some((what, reason)) = self.adjust.problem() {
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
    prompts: Vec<Vec<u32>>,
    options: &Options,
    each: &mut dyn FnMut(usize, u32) -> bool,
) -> Result<Vec<Continuation>, Error> {
    let limit = model.size().max_tokens;
    let mut reader = Reader::new(model, prompts.len(), options.precision)?;
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
            options.adjust.apply(scores, &seen[prompt], new, &options.end);
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
            } else if new + 1 < options.max_new && seen[prompt].len() < limit {
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
