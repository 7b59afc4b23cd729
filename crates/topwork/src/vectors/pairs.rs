//! The word-similarity benchmark: how the similarities of pairs are ordered, held against what people said.
//!
//! Reference: gensim's `evaluate_word_pairs`,
//! <https://radimrehurek.com/gensim/models/keyedvectors.html>.

use std::path::Path;

use topwork_train::metrics::{Evaluation, MetricError, Outcome};

use super::space::dot;
use super::{Lookup, Space};
use crate::error::Error;

/// A space's similarities against a file of pairs.
#[derive(Clone, Debug, PartialEq)]
pub struct PairScore {
    /// Pairs compared.
    pub pairs: usize,
    /// Pairs left out because a word of them has no vector.
    pub unknown: usize,
    /// Pairs of which a word's vector was put together from its character n-grams.
    pub from_subwords: usize,
    /// Lines that are no pair with a number.
    pub invalid: usize,
    /// Correlation of ranks; `None` where too few pairs could be compared.
    pub spearman: Option<f64>,
    /// Correlation of the numbers themselves.
    pub pearson: Option<f64>,
}

/// Compares a space with a file of pairs: two words and a number a line, tabs (or else blanks) between them, `#` before
/// comments. With `subwords`, words without a vector get one from their n-grams where the space has them.
///
/// # Errors
/// The file cannot be read or has no pair at all.
pub fn pair_benchmark(
    space: &Space,
    path: &Path,
    lookup: &Lookup,
    subwords: bool,
) -> Result<PairScore, Error> {
    let bytes = std::fs::read(path).map_err(Error::file(path))?;
    let text = String::from_utf8_lossy(&bytes);
    let index = lookup.index(space);
    let mut score =
        PairScore { pairs: 0, unknown: 0, from_subwords: 0, invalid: 0, spearman: None, pearson: None };
    let (mut said, mut found) = (Vec::new(), Vec::new());
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        let Some((a, b, value)) = pair(line) else {
            score.invalid += 1;
            continue;
        };
        let mut composed = false;
        let mut direction = |word: &str| match index.get(&lookup.key(word)) {
            Some(&at) => space.direction(&space.vectors().words()[at]).ok(),
            None if subwords => {
                composed = true;
                space.direction(word).ok()
            }
            None => None,
        };
        match (direction(a), direction(b)) {
            (Some(a), Some(b)) => {
                said.push(value);
                found.push(f64::from(dot(&a, &b)));
                score.from_subwords += usize::from(composed);
            }
            _ => score.unknown += 1,
        }
    }
    score.pairs = said.len();
    if score.pairs + score.unknown == 0 {
        let reason = "no line with two words and a number in it".to_string();
        return Err(Error::Benchmark { path: path.to_path_buf(), reason });
    }
    if score.pairs >= 2 {
        let evaluation = Evaluation::new(&Outcome::scores(&said, &found)?, &[])?;
        let value = |name: &str| match evaluation.value(name) {
            Ok(value) => Ok(Some(value)),
            Err(MetricError::Undefined { .. }) => Ok(None),
            Err(error) => Err(error),
        };
        (score.spearman, score.pearson) = (value("spearman")?, value("pearson")?);
    }
    Ok(score)
}

/// Two words and a number.
fn pair(line: &str) -> Option<(&str, &str, f64)> {
    let parts: Vec<&str> =
        if line.contains('\t') { line.split('\t').collect() } else { line.split_whitespace().collect() };
    let [a, b, value] = parts[..] else { return None };
    value.trim().parse().ok().filter(|value: &f64| value.is_finite()).map(|value| (a, b, value))
}
