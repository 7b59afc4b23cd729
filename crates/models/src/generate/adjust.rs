//! What is done to the scores of the next word before one is chosen.

use std::collections::HashSet;

/// Adjustments, in the order in which they are made.
#[derive(Clone, Debug, PartialEq)]
pub struct Adjust {
    /// Scores of words that stand in the text already are divided by this (multiplied, where they are below zero); 1 for
    /// none.
    ///
    /// Paper: Keskar et al. 2019, "CTRL", section 4.1, <https://arxiv.org/abs/1909.05858>; differs from the paper in treating
    /// scores below zero apart, as transformers does.
    pub repetition_penalty: f32,
    /// No run of so many words stands twice; 0 for none.
    ///
    /// Paper: Paulus et al. 2018, "A Deep Reinforced Model for Abstractive Summarization", section 2.5,
    /// <https://arxiv.org/abs/1705.04304>
    pub no_repeat: usize,
    /// Runs of words that never stand in a text, each at least one word long.
    pub never: Vec<Vec<u32>>,
    /// New words before the end may come.
    pub min_new: usize,
    /// The first new word, whatever its score.
    pub first: Option<u32>,
    /// The last new word of a text that gets as long as it may, whatever its score: one of these; empty for any.
    pub last: Vec<u32>,
}

impl Default for Adjust {
    fn default() -> Self {
        Adjust {
            repetition_penalty: 1.0,
            no_repeat: 0,
            never: Vec::new(),
            min_new: 0,
            first: None,
            last: Vec::new(),
        }
    }
}

impl Adjust {
    /// What is out of range: the setting, and why.
    pub(super) fn problem(&self, vocab: usize) -> Option<(&'static str, String)> {
        let penalty = self.repetition_penalty;
        if !(penalty.is_finite() && penalty > 0.0) {
            return Some(("repetition_penalty", format!("expected a number above 0, got {penalty}")));
        }
        if self.never.iter().any(Vec::is_empty) {
            return Some(("never", "a run of no words".to_string()));
        }
        let named = [
            ("never", self.never.concat()),
            ("first", self.first.into_iter().collect()),
            ("last", self.last.clone()),
        ];
        named.into_iter().find_map(|(what, ids)| {
            let beyond = ids.into_iter().find(|&id| id as usize >= vocab)?;
            Some((what, format!("id {beyond} is beyond the {vocab} known ones")))
        })
    }

    /// Adjusts the scores of the word after `seen`, of which `new` of at most `most` are new.
    ///
    /// # Shapes
    /// - `scores`: `[vocab]`
    pub(super) fn apply(&self, scores: &mut [f32], seen: &[u32], [new, most]: [usize; 2], end: &[u32]) {
        if self.repetition_penalty != 1.0 {
            let words: HashSet<u32> = seen.iter().copied().collect();
            for word in words {
                if let Some(score) = scores.get_mut(word as usize) {
                    let by = self.repetition_penalty;
                    *score = if *score < 0.0 { *score * by } else { *score / by };
                }
            }
        }
        if self.no_repeat > 0 && seen.len() >= self.no_repeat {
            // The words that stood behind the last few of the text, wherever these stand.
            let last = &seen[seen.len() + 1 - self.no_repeat..];
            for run in seen.windows(self.no_repeat) {
                if let Some((&next, run)) = run.split_last()
                    && run == last
                    && let Some(score) = scores.get_mut(next as usize)
                {
                    *score = f32::NEG_INFINITY;
                }
            }
        }
        for run in &self.never {
            // An end token alone is what ends a text, and no run to be kept out of it.
            if let Some((&id, before)) = run.split_last()
                && seen.ends_with(before)
                && !(before.is_empty() && end.contains(&id))
                && let Some(score) = scores.get_mut(id as usize)
            {
                *score = f32::NEG_INFINITY;
            }
        }
        if new < self.min_new {
            for &id in end {
                if let Some(score) = scores.get_mut(id as usize) {
                    *score = f32::NEG_INFINITY;
                }
            }
        }
        if let Some(first) = self.first.filter(|_| new == 0) {
            only(scores, &[first]);
        }
        if !self.last.is_empty() && new + 1 == most {
            only(scores, &self.last);
        }
    }
}

/// Leaves no other words than these, all alike.
fn only(scores: &mut [f32], ids: &[u32]) {
    scores.fill(f32::NEG_INFINITY);
    for &id in ids {
        if let Some(score) = scores.get_mut(id as usize) {
            *score = 0.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adjusted(adjust: Adjust, seen: &[u32], new: usize) -> Vec<f32> {
        let mut scores = vec![2.0, -2.0, 4.0, -4.0, 1.0];
        adjust.apply(&mut scores, seen, [new, 7], &[4]);
        scores
    }

    #[test]
    fn words_that_stand_already_become_less_likely_once() {
        let penalty = Adjust { repetition_penalty: 2.0, ..Adjust::default() };
        assert_eq!(adjusted(penalty, &[0, 3, 3, 0], 4), [1.0, -2.0, 4.0, -8.0, 1.0]);
    }

    #[test]
    fn a_run_does_not_come_twice() {
        let never = f32::NEG_INFINITY;
        let no = |n| Adjust { no_repeat: n, ..Adjust::default() };
        assert_eq!(adjusted(no(2), &[0, 1, 2, 0, 3, 0], 0), [2.0, never, 4.0, never, 1.0]);
        assert_eq!(adjusted(no(3), &[0, 1, 2, 0, 3, 0, 1], 0), [2.0, -2.0, never, -4.0, 1.0]);
        assert_eq!(adjusted(no(1), &[2], 0), [2.0, -2.0, never, -4.0, 1.0]);
        assert_eq!(adjusted(no(4), &[2, 1], 0), [2.0, -2.0, 4.0, -4.0, 1.0]);
    }

    #[test]
    fn the_end_waits() {
        let least = || Adjust { min_new: 3, ..Adjust::default() };
        assert_eq!(adjusted(least(), &[0], 2)[4], f32::NEG_INFINITY);
        assert_eq!(adjusted(least(), &[0], 3)[4], 1.0);
    }

    #[test]
    fn what_is_never_to_stand_is_kept_out() {
        let never = f32::NEG_INFINITY;
        let no = |runs: &[&[u32]]| Adjust {
            never: runs.iter().map(|run| run.to_vec()).collect(),
            ..Adjust::default()
        };
        assert_eq!(adjusted(no(&[&[2], &[4]]), &[0], 0), [2.0, -2.0, never, -4.0, 1.0]);
        assert_eq!(adjusted(no(&[&[1, 0, 3], &[2, 0, 1]]), &[1, 0], 0), [2.0, -2.0, 4.0, never, 1.0]);
        assert_eq!(adjusted(no(&[&[1, 0, 3]]), &[0], 0), [2.0, -2.0, 4.0, -4.0, 1.0]);
        assert_eq!(no(&[&[]]).problem(5).unwrap().0, "never");
        assert!(no(&[&[1, 5]]).problem(5).unwrap().1.contains("id 5"));
    }

    #[test]
    fn first_and_last_words_are_given() {
        let never = f32::NEG_INFINITY;
        let given = || Adjust { first: Some(3), last: vec![4, 0], ..Adjust::default() };
        assert_eq!(adjusted(given(), &[0], 0), [never, never, never, 0.0, never]);
        assert_eq!(adjusted(given(), &[0], 1), [2.0, -2.0, 4.0, -4.0, 1.0]);
        assert_eq!(adjusted(given(), &[0], 6), [0.0, never, never, never, 0.0]);
    }

    #[test]
    fn a_penalty_out_of_range_is_named() {
        for penalty in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            let (what, _) = Adjust { repetition_penalty: penalty, ..Adjust::default() }.problem(5).unwrap();
            assert_eq!(what, "repetition_penalty");
        }
        assert_eq!(Adjust::default().problem(5), None);
    }
}
