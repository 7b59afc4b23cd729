//! How alike the words of two pieces of data are.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use topwork_data::{Dataset, words};

use super::facts::sample;

/// How alike the words of two pieces of data are, beside how alike those of the two halves of the first are.
///
/// Paper: Gururangan et al. 2020, "Don't Stop Pretraining: Adapt Language Models to Domains and Tasks", section 2 and figure 2,
/// <https://arxiv.org/abs/2004.10964>: the share of the 10,000 most frequent words that two domains have in common. Differs from the
/// paper in what it is held against, and in the number of words read, which is the same on all sides.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Overlap {
    /// The share of the most frequent words that both have.
    pub shared: f64,
    /// The same of the two halves of the first: as alike as texts of one domain are.
    pub own: f64,
    /// Words read on each side.
    pub words: usize,
}

impl Overlap {
    /// How much of what one domain has in common the two have.
    pub fn ratio(&self) -> f64 {
        if self.own > 0.0 { self.shared / self.own } else { 0.0 }
    }
}

/// The most frequent words that are compared.
const TYPES: usize = 10_000;
/// Words read on each side at most.
const READ: usize = 200_000;
/// Texts looked at.
const TEXTS: usize = 50_000;

/// Compares two pieces of data; `None` where one of them has hardly any words.
pub fn overlap(source: &Dataset, target: &Dataset) -> Option<Overlap> {
    let (source, target) = (spoken(source), spoken(target));
    // Texts turn and turn about, so that both halves are from the whole file.
    let half = |which: usize| -> Vec<&str> {
        let texts = source.iter().skip(which).step_by(2);
        texts.flatten().map(String::as_str).collect()
    };
    let (first, second) = (half(0), half(1));
    let other: Vec<&str> = target.iter().flatten().map(String::as_str).collect();
    let read = first.len().min(second.len()).min(other.len()).min(READ);
    if read < 100 {
        return None;
    }
    let [first, second, other] = [first, second, other].map(|words| frequent(&words[..read]));
    let share = |a: &HashSet<&str>, b: &HashSet<&str>| {
        a.intersection(b).count() as f64 / a.len().min(b.len()).max(1) as f64
    };
    Some(Overlap { shared: share(&first, &other), own: share(&first, &second), words: read })
}

/// The words of each text that have letters, in lower case.
fn spoken(dataset: &Dataset) -> Vec<Vec<String>> {
    let of = |text: &String| -> Vec<String> {
        let all = words(text).into_iter().map(|word| &text[word]);
        all.filter(|word| word.chars().any(char::is_alphabetic)).map(str::to_lowercase).collect()
    };
    sample(dataset, TEXTS).iter().map(of).collect()
}

fn frequent<'a>(words: &[&'a str]) -> HashSet<&'a str> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for word in words {
        *counts.entry(word).or_default() += 1;
    }
    let mut counts: Vec<(&str, usize)> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    counts.into_iter().take(TYPES).map(|(word, _)| word).collect()
}
