//! Linear-chain conditional random fields: the likelihood of a labelling, its gradient, and the best labelling.
//!
//! Paper: Lafferty, McCallum and Pereira 2001, "Conditional Random Fields: Probabilistic Models for Segmenting and Labeling
//! Sequence Data", section 3, <https://repository.upenn.edu/handle/20.500.14332/6188>; over the states of a network: Lample et al.
//! 2016, "Neural Architectures for Named Entity Recognition", section 2.2, <https://arxiv.org/abs/1603.01360>.
//!
//! Logarithms of sums are kept in 64 bits, because they grow with the length of a text and what counts is their difference. A
//! step from one row to the next is a product with the exponentials of the transitions, which are taken once; only where that
//! would underflow is the sum taken term by term.

use std::ops::Range;

use crate::loss::IGNORE;
use crate::parallel::each;

/// The scores of a chain besides those of its rows.
///
/// # Shapes
/// - `transitions`: `[labels, labels]`, from the row's label to the column's; `start`, `end`: `[labels]`
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a> {
    /// What is added for a label and the next.
    pub transitions: &'a [f32],
    /// What is added for the first label.
    pub start: &'a [f32],
    /// What is added for the last label.
    pub end: &'a [f32],
}

/// Labels that may not follow each other, begin or end.
///
/// # Shapes
/// - `between`: `[labels, labels]`, from the row's label to the column's; `start`, `end`: `[labels]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Barred {
    /// True for a label that may not be first.
    pub start: Vec<bool>,
    /// True for a label that may not follow another.
    pub between: Vec<bool>,
    /// True for a label that may not be last.
    pub end: Vec<bool>,
}

/// Below this a sum of products has lost too much.
const TINY: f64 = 1e-280;

/// What a barred step costs: more than all scores of a path, so that one without is taken wherever there is one.
const BARRED: f64 = 1e12;

/// The transitions in 64 bits.
struct Steps<'a> {
    labels: usize,
    scores: &'a [f32],
    /// The largest score.
    top: f64,
    /// `exp(score - top)`
    exp: Vec<f64>,
}

impl<'a> Steps<'a> {
    fn new(chain: Chain<'a>) -> Self {
        let scores = chain.transitions;
        let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let top = if top.is_finite() { f64::from(top) } else { 0.0 };
        let exp = scores.iter().map(|&score| (f64::from(score) - top).exp()).collect();
        Steps { labels: chain.start.len(), scores, top, exp }
    }

    fn score(&self, from: usize, to: usize) -> f64 {
        f64::from(self.scores[from * self.labels + to])
    }

    /// `out[j] = log sum exp over i of x[i] + score(i, j)`
    fn forward(&self, x: &[f64], out: &mut [f64]) {
        let (high, shares) = shares(x);
        out.fill(0.0);
        for (share, exp) in shares.iter().zip(self.exp.chunks_exact(self.labels)) {
            for (out, exp) in out.iter_mut().zip(exp) {
                *out += share * exp;
            }
        }
        for (to, out) in out.iter_mut().enumerate() {
            let exact = || log_sum_exp(x.iter().enumerate().map(|(from, x)| x + self.score(from, to)));
            *out = if *out < TINY { exact() } else { high + self.top + out.ln() };
        }
    }

    /// `out[i] = log sum exp over j of score(i, j) + x[j]`
    fn backward(&self, x: &[f64], out: &mut [f64]) {
        let (high, shares) = shares(x);
        for (from, (out, exp)) in out.iter_mut().zip(self.exp.chunks_exact(self.labels)).enumerate() {
            let sum: f64 = shares.iter().zip(exp).map(|(share, exp)| share * exp).sum();
            let exact = || log_sum_exp(x.iter().enumerate().map(|(to, x)| x + self.score(from, to)));
            *out = if sum < TINY { exact() } else { high + self.top + sum.ln() };
        }
    }

    /// Adds the probability of each step from `before` to `after`: `exp(before[i] + score(i, j) + after[j] - whole)`.
    fn add_pairs(&self, before: &[f64], after: &[f64], whole: f64, out: &mut [f64]) {
        let ((high, from), (low, to)) = (shares(before), shares(after));
        let scale = (high + low + self.top - whole).exp();
        let rows = out.chunks_exact_mut(self.labels).zip(self.exp.chunks_exact(self.labels));
        for (i, (out, exp)) in rows.enumerate() {
            for (j, (out, exp)) in out.iter_mut().zip(exp).enumerate() {
                let product = from[i] * exp * to[j];
                let exact = || (before[i] + self.score(i, j) + after[j] - whole).exp();
                *out += if scale.is_finite() && product > TINY { scale * product } else { exact() };
            }
        }
    }
}

/// The largest of some logarithms, and the numbers divided by it.
fn shares(x: &[f64]) -> (f64, Vec<f64>) {
    let high = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let high = if high.is_finite() { high } else { 0.0 };
    (high, x.iter().map(|x| (x - high).exp()).collect())
}

fn log_sum_exp(x: impl Iterator<Item = f64>) -> f64 {
    let x: Vec<f64> = x.collect();
    let high = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if high == f64::NEG_INFINITY && !x.iter().any(|x| x.is_nan()) {
        return high;
    }
    high + x.iter().map(|x| (x - high).exp()).sum::<f64>().ln()
}

/// What is known of one text: its rows that take part, and sums over all that may come before and after.
struct Sums {
    /// `[rows, labels]`, each with the row's own score.
    before: Vec<f64>,
    /// The logarithm of the sum over all labellings.
    whole: f64,
}

fn add(x: &mut [f64], scores: &[f32]) {
    for (x, &score) in x.iter_mut().zip(scores) {
        *x += f64::from(score);
    }
}

fn sums(emissions: &[f32], rows: &[usize], chain: Chain, steps: &Steps) -> Sums {
    let labels = steps.labels;
    let row = |at: usize| &emissions[rows[at] * labels..][..labels];
    let mut before = vec![0.0; rows.len() * labels];
    add(&mut before[..labels], chain.start);
    add(&mut before[..labels], row(0));
    for at in 1..rows.len() {
        let (known, next) = before.split_at_mut(at * labels);
        steps.forward(&known[(at - 1) * labels..], &mut next[..labels]);
        add(&mut next[..labels], row(at));
    }
    let last = before.len() - labels;
    let ends = before[last..].iter().zip(chain.end).map(|(x, &end)| x + f64::from(end));
    let whole = log_sum_exp(ends);
    Sums { before, whole }
}

/// The rows of a text that take part.
fn asked(range: &[u32], target: &[u32]) -> Vec<usize> {
    (range[0] as usize..range[1] as usize).filter(|&row| target[row] != IGNORE).collect()
}

/// The mean negative log-likelihood of a labelling: that of all texts, divided by the number of labelled rows, so that a text
/// counts by its length and the loss is of the size of a cross-entropy.
///
/// The chain of a text goes over its rows whose target is not [`IGNORE`]; the others are not there. Without any row that counts
/// the loss is NaN.
///
/// # Shapes
/// - `emissions`: `[rows, labels]`; `offsets`: `[batch + 1]`; `target`: `[rows]`
pub fn forward(emissions: &[f32], offsets: &[u32], target: &[u32], chain: Chain) -> f32 {
    let labels = check(emissions, offsets, Some(target), chain);
    let steps = Steps::new(chain);
    let mut losses = vec![0.0_f64; offsets.len() - 1];
    let tasks: Vec<_> = offsets.windows(2).zip(&mut losses).collect();
    each(tasks, emissions.len() * labels, |(range, loss)| {
        let rows = asked(range, target);
        let (Some(&first), Some(&last)) = (rows.first(), rows.last()) else { return };
        let label = |row: usize| target[row] as usize;
        let mut score = f64::from(chain.start[label(first)]) + f64::from(chain.end[label(last)]);
        score += rows.iter().map(|&row| f64::from(emissions[row * labels + label(row)])).sum::<f64>();
        score += rows.windows(2).map(|pair| steps.score(label(pair[0]), label(pair[1]))).sum::<f64>();
        *loss = sums(emissions, &rows, chain, &steps).whole - score;
    });
    (losses.iter().sum::<f64>() / count(target) as f64) as f32
}

fn count(target: &[u32]) -> usize {
    target.iter().filter(|&&target| target != IGNORE).count()
}

/// Gradients of [`forward`], times `d_loss`.
///
/// # Shapes
/// - `d_emissions`: `[rows, labels]`; `d_transitions`: `[labels, labels]`; `d_start`, `d_end`: `[labels]`; all are written
#[allow(clippy::too_many_arguments)]
pub fn backward(
    emissions: &[f32],
    offsets: &[u32],
    target: &[u32],
    chain: Chain,
    d_loss: f32,
    d_emissions: &mut [f32],
    d_transitions: &mut [f32],
    d_start: &mut [f32],
    d_end: &mut [f32],
) {
    let labels = check(emissions, offsets, Some(target), chain);
    assert_eq!(d_emissions.len(), emissions.len(), "crf: d_emissions and emissions");
    let steps = Steps::new(chain);
    let unit = f64::from(d_loss) / count(target) as f64;
    // Start, transitions and end of each text, added in the order of texts.
    let own = labels * (labels + 2);
    let mut parts = vec![0.0_f64; (offsets.len() - 1) * own];
    let tasks: Vec<_> =
        offsets.windows(2).zip(pieces(d_emissions, offsets, labels)).zip(parts.chunks_mut(own)).collect();
    each(tasks, emissions.len() * labels, |((range, d_emissions), part)| {
        d_emissions.fill(0.0);
        let rows = asked(range, target);
        if rows.is_empty() {
            return;
        }
        let (d_start, rest) = part.split_at_mut(labels);
        let (d_transitions, d_end) = rest.split_at_mut(labels * labels);
        let first = range[0] as usize;
        walk(emissions, &rows, chain, &steps, |at, shares, pairs| {
            let (row, label) = (rows[at], target[rows[at]] as usize);
            let d_row = &mut d_emissions[(row - first) * labels..][..labels];
            for (j, (d, share)) in d_row.iter_mut().zip(shares).enumerate() {
                let d_here = share - f64::from(u8::from(j == label));
                *d = (unit * d_here) as f32;
                if at == 0 {
                    d_start[j] = d_here;
                }
                if at + 1 == rows.len() {
                    d_end[j] = d_here;
                }
            }
            if at > 0 {
                pairs(d_transitions);
                d_transitions[target[rows[at - 1]] as usize * labels + label] -= 1.0;
            }
        });
    });
    let mut sum = vec![0.0_f64; own];
    for part in parts.chunks_exact(own) {
        sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
    }
    let write = |out: &mut [f32], sum: &[f64]| {
        assert_eq!(out.len(), sum.len(), "crf: a gradient's size");
        out.iter_mut().zip(sum).for_each(|(out, sum)| *out = (unit * sum) as f32);
    };
    write(d_start, &sum[..labels]);
    write(d_transitions, &sum[labels..own - labels]);
    write(d_end, &sum[own - labels..]);
}

/// Walks a text from its last row to its first. `visit` gets the number of a row, the probabilities of its labels, and what adds
/// those of the steps to it from the row before.
fn walk(
    emissions: &[f32],
    rows: &[usize],
    chain: Chain,
    steps: &Steps,
    mut visit: impl FnMut(usize, &[f64], &dyn Fn(&mut [f64])),
) {
    let labels = steps.labels;
    let Sums { before, whole } = sums(emissions, rows, chain, steps);
    let mut after: Vec<f64> = chain.end.iter().map(|&end| f64::from(end)).collect();
    let mut here = vec![0.0; labels];
    for at in (0..rows.len()).rev() {
        let known = &before[at * labels..][..labels];
        let shares: Vec<f64> = known.iter().zip(&after).map(|(b, a)| (b + a - whole).exp()).collect();
        here.copy_from_slice(&after);
        add(&mut here, &emissions[rows[at] * labels..][..labels]);
        let pairs = |out: &mut [f64]| {
            let earlier = &before[(at - 1) * labels..][..labels];
            steps.add_pairs(earlier, &here, whole, out);
        };
        visit(at, &shares, &pairs);
        if at > 0 {
            steps.backward(&here, &mut after);
        }
    }
}

/// The probability of each label in each row, over all labellings of its text.
///
/// # Shapes
/// - `emissions` and result: `[rows, labels]`; `offsets`: `[batch + 1]`
pub fn marginals(emissions: &[f32], offsets: &[u32], chain: Chain) -> Vec<f32> {
    let labels = check(emissions, offsets, None, chain);
    let steps = Steps::new(chain);
    let mut found = vec![0.0; emissions.len()];
    let tasks: Vec<_> = offsets.windows(2).zip(pieces(&mut found, offsets, labels)).collect();
    each(tasks, emissions.len() * labels, |(range, found)| {
        let rows: Vec<usize> = (range[0] as usize..range[1] as usize).collect();
        if rows.is_empty() {
            return;
        }
        walk(emissions, &rows, chain, &steps, |at, shares, _| {
            let row = &mut found[at * labels..][..labels];
            row.iter_mut().zip(shares).for_each(|(out, &share)| *out = share as f32);
        });
    });
    found
}

/// The labelling of each text with the highest score, by Viterbi's algorithm; of several the one whose last label, then the one
/// before it and so on, is lowest.
///
/// Steps that are barred are taken only where no labelling does without, and then as few as possible.
///
/// # Shapes
/// - `emissions`: `[rows, labels]`; `offsets`: `[batch + 1]`; returns: `[rows]`
pub fn viterbi(emissions: &[f32], offsets: &[u32], chain: Chain, barred: Option<&Barred>) -> Vec<u32> {
    let labels = check(emissions, offsets, None, chain);
    let cost = |barred: bool| if barred { BARRED } else { 0.0 };
    let with = |scores: &[f32], barred: Option<&Vec<bool>>| -> Vec<f64> {
        let bars = (0..scores.len()).map(|at| barred.is_some_and(|barred| barred[at]));
        scores.iter().zip(bars).map(|(&score, barred)| f64::from(score) - cost(barred)).collect()
    };
    let transitions = with(chain.transitions, barred.map(|barred| &barred.between));
    let start = with(chain.start, barred.map(|barred| &barred.start));
    let end = with(chain.end, barred.map(|barred| &barred.end));
    let mut found = vec![0; emissions.len() / labels];
    let tasks: Vec<_> = offsets.windows(2).zip(pieces(&mut found, offsets, 1)).collect();
    each(tasks, emissions.len() * labels, |(range, found)| {
        let range: Range<usize> = range[0] as usize..range[1] as usize;
        best(&emissions[range.start * labels..range.end * labels], &transitions, &start, &end, found);
    });
    found
}

/// The best labelling of one text.
fn best(emissions: &[f32], transitions: &[f64], start: &[f64], end: &[f64], found: &mut [u32]) {
    let labels = start.len();
    let Some(last) = found.len().checked_sub(1) else { return };
    let mut from = vec![0_u32; found.len() * labels];
    let mut scores = start.to_vec();
    add(&mut scores, &emissions[..labels]);
    for at in 1..found.len() {
        let mut next = vec![0.0; labels];
        for to in 0..labels {
            let steps = scores.iter().enumerate().map(|(i, score)| score + transitions[i * labels + to]);
            let (i, score) = highest(steps);
            next[to] = score;
            from[at * labels + to] = i as u32;
        }
        add(&mut next, &emissions[at * labels..][..labels]);
        scores = next;
    }
    let (label, _) = highest(scores.iter().zip(end).map(|(score, end)| score + end));
    found[last] = label as u32;
    for at in (1..found.len()).rev() {
        found[at - 1] = from[at * labels + found[at] as usize];
    }
}

/// The place of the first of the largest values, and the value; a NaN counts as the largest.
fn highest(values: impl Iterator<Item = f64>) -> (usize, f64) {
    let mut top = (0, f64::NEG_INFINITY);
    for (at, value) in values.enumerate() {
        if value > top.1 || (value.is_nan() && !top.1.is_nan()) {
            top = (at, value);
        }
    }
    top
}

/// Cuts rows of `width` numbers at the texts.
fn pieces<'a, T>(mut x: &'a mut [T], offsets: &[u32], width: usize) -> Vec<&'a mut [T]> {
    let mut parts = Vec::with_capacity(offsets.len());
    for pair in offsets.windows(2) {
        let (part, rest) = x.split_at_mut((pair[1] - pair[0]) as usize * width);
        parts.push(part);
        x = rest;
    }
    parts
}

/// The number of labels.
fn check(emissions: &[f32], offsets: &[u32], target: Option<&[u32]>, chain: Chain) -> usize {
    let labels = chain.start.len();
    assert!(
        labels > 0 && chain.end.len() == labels && chain.transitions.len() == labels * labels,
        "crf: {} transitions, {labels} starts and {} ends",
        chain.transitions.len(),
        chain.end.len()
    );
    let rows = emissions.len() / labels;
    assert!(
        emissions.len() == rows * labels
            && offsets.first() == Some(&0)
            && offsets.is_sorted()
            && offsets.last().map(|&last| last as usize) == Some(rows),
        "crf: {} scores of {labels} labels for texts at {offsets:?}",
        emissions.len()
    );
    if let Some(target) = target {
        assert_eq!(target.len(), rows, "crf: targets and rows");
        let wrong = target.iter().find(|&&label| label != IGNORE && label as usize >= labels);
        assert!(wrong.is_none(), "crf: target {wrong:?} of {labels} labels");
    }
    labels
}

#[cfg(test)]
#[path = "crf_tests.rs"]
mod tests;
