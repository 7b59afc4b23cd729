//! Choosing a word by its score: the best, or one drawn from what is left after cutting off the unlikely.

use topwork_kernels::rng::{Stream, derive};

/// How words are drawn. Cuts are made in the order of the fields.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// Scores are divided by it: below 1 the likely become likelier.
    pub temperature: f32,
    /// Only so many of the likeliest are left; 0 for all.
    ///
    /// Paper: Fan, Lewis, Dauphin 2018, "Hierarchical Neural Story Generation", section 5.4, <https://arxiv.org/abs/1805.04833>
    pub top_k: usize,
    /// Only the likeliest are left that together have this probability; 1 for all.
    ///
    /// Paper: Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration", section 3.1,
    /// <https://arxiv.org/abs/1904.09751>
    pub top_p: f32,
    /// Only those are left that have at least this share of the likeliest one's probability; 0 for all.
    ///
    /// Paper: Nguyen et al. 2024, "Turning Up the Heat: Min-p Sampling", section 3, <https://arxiv.org/abs/2407.01082>
    pub min_p: f32,
    /// Seed of the draws.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Sampling { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0, seed: 0 }
    }
}

impl Sampling {
    /// What is out of range: the setting, and why.
    pub(super) fn problem(&self) -> Option<(&'static str, String)> {
        let Sampling { temperature, top_p, min_p, .. } = *self;
        if !(temperature.is_finite() && temperature > 0.0) {
            let advice = "expected a number above 0 (for the likeliest word choose greedy)";
            return Some(("temperature", format!("{advice}, got {temperature}")));
        }
        if !(top_p > 0.0 && top_p <= 1.0) {
            return Some(("top_p", format!("expected a probability above 0, at most 1, got {top_p}")));
        }
        let good = (0.0..=1.0).contains(&min_p);
        (!good).then(|| ("min_p", format!("expected a probability, got {min_p}")))
    }

    /// Draws a word for the `place`-th new word of a prompt: its id, and the logarithm of the probability it had before
    /// anything was cut off.
    pub(super) fn draw(&self, scores: &[f32], prompt: usize, place: usize) -> (u32, f64) {
        let left = self.left(scores);
        let mut stream =
            Stream(derive(derive(self.seed, &format!("prompt {prompt}")), &format!("word {place}")));
        let mut rest = stream.next_f64() * left.iter().map(|(_, p)| p).sum::<f64>();
        let mut chosen = left[0].0;
        for (id, p) in &left {
            chosen = *id;
            rest -= p;
            if rest < 0.0 {
                break;
            }
        }
        (chosen, log_probability(scores, chosen))
    }

    /// The words that may be drawn, likeliest first, with what is proportional to their probabilities.
    fn left(&self, scores: &[f32]) -> Vec<(u32, f64)> {
        let best = scores.iter().copied().filter(|s| !s.is_nan()).fold(f32::NEG_INFINITY, f32::max);
        let weight = |score: f32| f64::from((score - best) / self.temperature).exp();
        let mut words: Vec<(u32, f64)> = scores
            .iter()
            .enumerate()
            .filter(|(_, score)| !score.is_nan() && **score > f32::NEG_INFINITY)
            .map(|(id, &score)| (id as u32, weight(score)))
            .collect();
        if words.is_empty() {
            return vec![(likeliest(scores).0, 1.0)];
        }
        // The order of ids decides between equals.
        words.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        if self.top_k > 0 && self.top_k < words.len() {
            // As the reference, which keeps what is as likely as the last one.
            let least = words[self.top_k - 1].1;
            words.retain(|(_, p)| *p >= least);
        }
        if self.top_p < 1.0 {
            let all: f64 = words.iter().map(|(_, p)| p).sum();
            let mut sum = 0.0;
            let kept = words.iter().take_while(|(_, p)| {
                let before = sum;
                sum += p / all;
                before < f64::from(self.top_p)
            });
            let kept = kept.count().max(1);
            words.truncate(kept);
        }
        if self.min_p > 0.0 {
            let least = f64::from(self.min_p) * words[0].1;
            words.retain(|(_, p)| *p >= least);
        }
        words
    }
}

/// The best score's id, the first of several, and the logarithm of its probability.
pub(super) fn likeliest(scores: &[f32]) -> (u32, f64) {
    let mut best = 0;
    for (id, score) in scores.iter().enumerate() {
        if *score > scores[best] || scores[best].is_nan() {
            best = id;
        }
    }
    (best as u32, log_probability(scores, best as u32))
}

fn log_probability(scores: &[f32], id: u32) -> f64 {
    f64::from(scores[id as usize]) - log_sum(scores)
}

/// Logarithm of the sum of the exponentials.
pub(super) fn log_sum(scores: &[f32]) -> f64 {
    let best = f64::from(scores.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    best + scores.iter().map(|&s| (f64::from(s) - best).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use std::f32::consts::LN_2;

    use super::*;

    /// Probabilities 0.5, 0.25, 0.125, 0.125.
    const SCORES: [f32; 4] = [0.0, LN_2, -LN_2, -LN_2];

    fn ids(sampling: Sampling) -> Vec<u32> {
        sampling.left(&SCORES).into_iter().map(|(id, _)| id).collect()
    }

    #[test]
    fn what_is_unlikely_is_cut_off() {
        let all = Sampling::default;
        assert_eq!(ids(all()), [1, 0, 2, 3]);
        assert_eq!(ids(Sampling { top_k: 2, ..all() }), [1, 0]);
        assert_eq!(ids(Sampling { top_k: 3, ..all() }), [1, 0, 2, 3], "the fourth is as likely as the third");
        assert_eq!(ids(Sampling { top_p: 0.4, ..all() }), [1]);
        assert_eq!(ids(Sampling { top_p: 0.6, ..all() }), [1, 0]);
        assert_eq!(ids(Sampling { min_p: 0.4, ..all() }), [1, 0]);
        assert_eq!(ids(Sampling { min_p: 0.4, temperature: 4.0, ..all() }), [1, 0, 2, 3]);
    }

    #[test]
    fn words_come_as_often_as_they_are_likely() {
        let sampling = Sampling { seed: 3, ..Sampling::default() };
        let mut counts = [0; 4];
        for place in 0..8000 {
            counts[sampling.draw(&SCORES, 1, place).0 as usize] += 1;
        }
        for (count, p) in counts.into_iter().zip([0.25, 0.5, 0.125, 0.125]) {
            assert!((f64::from(count) / 8000.0 - p).abs() < 0.02, "{counts:?}");
        }
        assert_eq!(sampling.draw(&SCORES, 1, 5), sampling.draw(&SCORES, 1, 5));
        let other = |prompt| (0..40).map(|place| sampling.draw(&SCORES, prompt, place).0).collect::<Vec<_>>();
        assert_ne!(other(1), other(2));
    }

    #[test]
    fn the_likeliest_is_the_first_of_the_best() {
        assert_eq!(likeliest(&[1.0, 3.0, 3.0]).0, 1);
        assert_eq!(likeliest(&[f32::NAN, 3.0]).0, 1);
        assert!((likeliest(&SCORES).1 - 0.5_f64.ln()).abs() < 1e-6);
        assert_eq!(Sampling::default().left(&[f32::NEG_INFINITY; 2]), [(0, 1.0)]);
    }

    #[test]
    fn settings_out_of_range_are_named() {
        let all = Sampling::default;
        let what = |sampling: Sampling| sampling.problem().map(|(what, _)| what);
        assert_eq!(what(all()), None);
        assert_eq!(what(Sampling { temperature: 0.0, ..all() }), Some("temperature"));
        assert_eq!(what(Sampling { top_p: 0.0, ..all() }), Some("top_p"));
        assert_eq!(what(Sampling { top_p: 1.5, ..all() }), Some("top_p"));
        assert_eq!(what(Sampling { min_p: f32::NAN, ..all() }), Some("min_p"));
    }
}
