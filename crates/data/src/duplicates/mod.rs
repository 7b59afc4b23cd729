//! Texts that stand more than once, exactly or nearly: training on one and testing on the other measures memory.

mod kept;
mod leak;
mod near;
mod normal;

pub use kept::GroupCache;
pub use leak::{LeakReport, Match, leaks};

use std::collections::HashMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{Dataset, Label};

/// When two texts count as nearly the same.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct NearOptions {
    /// The least Jaccard similarity (0 to 1) of their sets of five-character pieces, punctuation aside.
    pub threshold: f64,
}

impl Default for NearOptions {
    fn default() -> Self {
        Self { threshold: 0.8 }
    }
}

/// Which texts belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duplicates {
    /// The group of each text: the position of its first member. A text alone is its own group.
    pub group: Vec<usize>,
    /// Texts that equal an earlier one but for case, white space and digits.
    pub exact: usize,
    /// Further texts that are nearly the same as an earlier one.
    pub near: usize,
}

impl Duplicates {
    /// The groups, in the order of their first members, each in the order of the texts.
    pub fn groups(&self) -> Vec<Vec<usize>> {
        let mut at = vec![usize::MAX; self.group.len()];
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for (text, &first) in self.group.iter().enumerate() {
            if at[first] == usize::MAX {
                at[first] = groups.len();
                groups.push(Vec::new());
            }
            groups[at[first]].push(text);
        }
        groups
    }
}

/// Groups the texts (a pair counts as one text). Being near is passed on: if a is near b and b near c, all three are
/// one group. The answer does not depend on the number of threads.
///
/// The exchanges of a conversation are one group, and conversations are compared as wholes: that two begin alike is no
/// repetition.
pub fn duplicates(dataset: &Dataset, near: Option<&NearOptions>) -> Duplicates {
    of_dataset(dataset, near, &GroupCache::default())
}

fn of_dataset(dataset: &Dataset, near: Option<&NearOptions>, cache: &GroupCache) -> Duplicates {
    let texts = all_joined(dataset);
    let longest = longest(dataset);
    let wholes: Vec<usize> = (0..texts.len()).filter(|&at| longest[at] == at).collect();
    let compared: Vec<&str> = wholes.iter().map(|&at| texts[at].as_str()).collect();
    let found = cache.of(&compared, near, || of_texts(&compared, near));
    let mut union = Union::new(texts.len());
    for (&at, &first) in wholes.iter().zip(&found.group) {
        union.join(wholes[first], at);
    }
    for (at, &whole) in longest.iter().enumerate() {
        union.join(whole, at);
    }
    Duplicates { group: (0..texts.len()).map(|at| union.root(at)).collect(), ..found }
}

/// For each exchange that of its conversation with the most before it, the first of equals; for each other example itself.
fn longest(dataset: &Dataset) -> Vec<usize> {
    let exchange = |at: usize| match &dataset.examples[at].label {
        Some(Label::Exchange(exchange)) => Some((exchange.conversation, exchange.history.len())),
        _ => None,
    };
    let mut best: HashMap<usize, (usize, usize)> = HashMap::new();
    for at in 0..dataset.len() {
        if let Some((conversation, turns)) = exchange(at) {
            let known = best.entry(conversation).or_insert((turns, at));
            if turns > known.0 {
                *known = (turns, at);
            }
        }
    }
    let of = |at: usize| exchange(at).and_then(|(conversation, _)| best.get(&conversation));
    (0..dataset.len()).map(|at| of(at).map_or(at, |(_, longest)| *longest)).collect()
}

/// What each example is compared by: pictures by what is in their files.
fn all_joined(dataset: &Dataset) -> Vec<String> {
    if dataset.is_of_pictures() {
        return dataset.content().into_iter().map(std::borrow::Cow::into_owned).collect();
    }
    dataset.examples.par_iter().map(joined).collect()
}

/// Both texts of a pair as one, and the texts to choose from, kept apart by a character that no text has. Of an exchange it is
/// all that was said.
fn joined(example: &crate::Example) -> String {
    let mut joined = example.text.clone();
    let others: Vec<&String> = match &example.label {
        Some(Label::Choice { options, .. }) => options.iter().collect(),
        Some(Label::Exchange(exchange)) => {
            let before = &exchange.history[..exchange.history.len().saturating_sub(1)];
            before.iter().chain(exchange.candidates.get(exchange.right)).collect()
        }
        _ => Vec::new(),
    };
    for text in example.pair.iter().chain(others) {
        joined.push('\u{1f}');
        joined.push_str(text);
    }
    joined
}

fn of_texts(texts: &[&str], near: Option<&NearOptions>) -> Duplicates {
    let mut union = Union::new(texts.len());
    let plain: Vec<String> = texts.par_iter().map(|text| normal::plain(text)).collect();
    let mut first: HashMap<&str, usize> = HashMap::with_capacity(texts.len());
    let mut exact = 0;
    // Only the first of equal texts takes part in the search for near ones.
    let mut distinct = Vec::with_capacity(texts.len());
    for (at, text) in plain.iter().enumerate() {
        match first.get(text.as_str()) {
            Some(&known) => {
                union.join(known, at);
                exact += 1;
            }
            None => {
                first.insert(text, at);
                distinct.push(at);
            }
        }
    }
    let mut joins = 0;
    if let Some(near) = near {
        let distinct_texts: Vec<&str> = distinct.iter().map(|&at| plain[at].as_str()).collect();
        for (a, b) in near::pairs(&distinct_texts, near.threshold) {
            joins += usize::from(union.join(distinct[a], distinct[b]));
        }
    }
    Duplicates { group: (0..texts.len()).map(|at| union.root(at)).collect(), exact, near: joins }
}

/// Disjoint sets whose root is always the smallest member.
struct Union(Vec<usize>);

impl Union {
    fn new(count: usize) -> Self {
        Self((0..count).collect())
    }

    fn root(&mut self, mut at: usize) -> usize {
        while self.0[at] != at {
            self.0[at] = self.0[self.0[at]];
            at = self.0[at];
        }
        at
    }

    /// The root of each member.
    fn roots(&mut self) -> Vec<u32> {
        (0..self.0.len()).map(|at| self.root(at) as u32).collect()
    }

    /// True if they were apart.
    fn join(&mut self, a: usize, b: usize) -> bool {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a.max(b)] = a.min(b);
        a != b
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(texts: &[&str], near: bool) -> Vec<Vec<usize>> {
        of_texts(texts, near.then(NearOptions::default).as_ref()).groups()
    }

    #[test]
    fn case_space_and_digits_make_no_difference() {
        let texts = ["Call 0700 now", "call  0812 NOW ", "call me now", "call\t1234\nnow"];
        assert_eq!(groups(&texts, false), [vec![0, 1, 3], vec![2]]);
        let found = of_texts(&texts, None);
        assert_eq!((found.exact, found.near), (2, 0));
    }

    #[test]
    fn a_changed_word_is_near_and_another_text_is_not() {
        let texts = [
            "Congratulations! You have won a brand new car, reply YES to claim it today",
            "what time is it over there, shall I ring you later on",
            "Congratulations!! You have won a brand new car; reply YES to claim it today!",
            "Congratulations! You have won a brand new van, reply YES to claim it today",
            "Reply to the congratulations of the new car that you have won",
        ];
        assert_eq!(groups(&texts, true), [vec![0, 2, 3], vec![1], vec![4]]);
        assert_eq!(of_texts(&texts, Some(&NearOptions::default())).near, 2);
    }

    #[test]
    fn punctuation_and_emoji_alone_are_not_all_one() {
        assert_eq!(groups(&["!!!", "???", "🙂", "🙁", "!!!"], true), [vec![0, 4], vec![1], vec![2], vec![3]]);
        assert_eq!(groups(&["ok", "ok.", "no"], true), [vec![0, 1], vec![2]]);
    }
}
