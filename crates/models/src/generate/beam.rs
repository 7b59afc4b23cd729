//! Beam search, step by step as transformers does it, so that the continuations are the same.

use super::choose::log_sum;
use super::reader::Reader;
use super::{Beam, Continuation, Ended, Options};
use crate::error::Error;
use crate::model::Model;
use crate::target::Sources;

/// A score no continuation has.
const NEVER: f64 = -1e9;

/// A continuation that may go on.
#[derive(Clone)]
struct Running {
    ids: Vec<u32>,
    score: f64,
    /// The beam it goes on from.
    from: usize,
}

/// What is gone on with.
pub(super) struct Prompt<'a> {
    /// What stands there, at least one token.
    pub ids: &'a [u32],
    /// What an encoder-decoder writes from.
    pub source: Option<Sources>,
    /// Tokens at most, those that stand there counted.
    pub limit: usize,
}

/// The best continuation of a prompt, or the best target of a source.
pub(super) fn search(
    model: &Model,
    Prompt { ids: prompt, source, limit }: Prompt,
    options: &Options,
    Beam { beams, length_penalty, early_stopping }: Beam,
) -> Result<Continuation, Error> {
    let most = options.max_new.min(limit - prompt.len());
    // Twice as many candidates as beams, and one set more for each end id: enough go on even if all ends come first.
    let candidates = 2.max(1 + options.end.len()) * beams;
    let mut reader = Reader::new(model, source, 1, options.precision)?;
    // At first only one beam counts, or all would be the same.
    let mut running = vec![Running { ids: Vec::new(), score: 0.0, from: 0 }];
    let mut finished: Vec<Continuation> = Vec::new();
    let mut logits = reader.read(&[prompt.to_vec()])?;
    loop {
        let mut next: Vec<Running> = Vec::new();
        for (from, (beam, logits)) in running.iter().zip(&logits).enumerate() {
            let all = log_sum(logits);
            let mut scores: Vec<f32> = logits.iter().map(|&s| (f64::from(s) - all) as f32).collect();
            let seen = [prompt, &beam.ids].concat();
            options.adjust.apply(&mut scores, &seen, [beam.ids.len(), most], &options.end);
            // What is ruled out is no candidate, not even where there are too few.
            let mut best: Vec<(usize, f32)> =
                scores.into_iter().enumerate().filter(|(_, score)| *score != f32::NEG_INFINITY).collect();
            let order = |a: &(usize, f32), b: &(usize, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
            // A vocabulary is long, and only its best few are wanted in order.
            if candidates < best.len() {
                best.select_nth_unstable_by(candidates, order);
                best.truncate(candidates);
            }
            best.sort_unstable_by(order);
            for (id, score) in best {
                let mut ids = beam.ids.clone();
                ids.push(id as u32);
                next.push(Running { ids, score: beam.score + f64::from(score), from });
            }
        }
        // A stable sort: the first beam and the lower id come first among equals.
        next.sort_by(|a, b| b.score.total_cmp(&a.score));
        next.truncate(candidates);
        let Some(length) = next.first().map(|beam| beam.ids.len()) else { break };
        let ends = |beam: &Running| beam.ids.last().is_some_and(|id| options.end.contains(id));
        let full = finished.len() >= beams && early_stopping;
        for beam in next.iter().take(beams).filter(|beam| ends(beam) || length == most) {
            if full {
                break;
            }
            let ended = if ends(beam) { Ended::End } else { Ended::Length };
            let score = beam.score / (length as f64).powf(length_penalty);
            finished.push(Continuation { ids: beam.ids.clone(), ended, score });
        }
        finished.sort_by(|a, b| b.score.total_cmp(&a.score));
        finished.truncate(beams);
        running = next.into_iter().filter(|beam| !ends(beam)).take(beams).collect();
        let worst = if finished.len() < beams { NEVER } else { finished[beams - 1].score };
        let hope = running
            .first()
            .map_or(f64::NEG_INFINITY, |best| best.score / (length as f64).powf(length_penalty));
        let done = early_stopping && finished.len() >= beams;
        if length == most || running.is_empty() || done || hope <= worst {
            break;
        }
        let from: Vec<usize> = running.iter().map(|beam| beam.from).collect();
        reader.keep(&from);
        let news: Vec<Vec<u32>> = running.iter().map(|beam| vec![beam.ids[length - 1]]).collect();
        logits = reader.read(&news)?;
    }
    match finished.into_iter().next() {
        Some(best) => Ok(best),
        // Every candidate ended outside the best few: what was on its way is what there is.
        None => Ok(running
            .into_iter()
            .next()
            .map(|beam| Continuation { ids: beam.ids, ended: Ended::Length, score: beam.score })
            .unwrap_or(Continuation { ids: Vec::new(), ended: Ended::Length, score: NEVER })),
    }
}
