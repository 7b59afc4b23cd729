//! Bags of words and word pairs, weighted by how rare they are.
//!
//! Equal to scikit-learn's `TfidfVectorizer`: term count (or `1 + ln count`) times `ln((1 + texts) / (1 + texts
//! with the term)) + 1`, rows scaled to length 1.
//!
//! Paper: Salton & Buckley 1988, <https://doi.org/10.1016/0306-4573(88)90021-0>.

use super::BaselineError;
use super::sparse::Sparse;
use super::words::for_each_word;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// What counts as a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TfidfOptions {
    /// Longest run of words that is a term: 1 words, 2 words and pairs.
    pub longest: usize,
    /// Whether a term's count enters as `1 + ln count`.
    pub sublinear: bool,
    /// Smallest number of texts a term must occur in.
    pub min_df: usize,
    /// Whether upper and lower case are one.
    pub lower_case: bool,
}

impl Default for TfidfOptions {
    fn default() -> Self {
        Self { longest: 2, sublinear: true, min_df: 1, lower_case: true }
    }
}

/// Terms seen in training and their weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Tfidf {
    options: TfidfOptions,
    /// In order of their characters, so that columns do not depend on the order of the texts.
    terms: Vec<String>,
    idf: Vec<f64>,
    columns: HashMap<String, u32>,
}

/// What is stored: the columns follow from the terms.
#[derive(Serialize, Deserialize)]
struct Written {
    options: TfidfOptions,
    terms: Vec<String>,
    idf: Vec<f64>,
}

impl From<Written> for Tfidf {
    fn from(Written { options, terms, idf }: Written) -> Self {
        let columns = terms.iter().enumerate().map(|(i, term)| (term.clone(), i as u32)).collect();
        Self { options, terms, idf, columns }
    }
}

impl From<Tfidf> for Written {
    fn from(Tfidf { options, terms, idf, .. }: Tfidf) -> Self {
        Self { options, terms, idf }
    }
}

impl Tfidf {
    /// Learns the terms of `texts`, and returns the texts' features too.
    pub(super) fn fit(
        texts: &[impl AsRef<str>],
        options: TfidfOptions,
    ) -> Result<(Self, Sparse), BaselineError> {
        if texts.is_empty() {
            return Err(BaselineError::Empty);
        }
        if options.longest == 0 {
            return Err(BaselineError::OutOfRange {
                option: "longest run of words",
                expected: "at least 1",
                got: 0.0,
            });
        }
        // Numbered as they come; the final columns are known only at the end.
        let mut numbers: HashMap<String, u32> = HashMap::new();
        let mut texts_with: Vec<u32> = Vec::new();
        let mut last_text: Vec<usize> = Vec::new();
        for (text, content) in texts.iter().enumerate() {
            for_each_term(content.as_ref(), options, |term| {
                let number = match numbers.get(term) {
                    Some(&number) => number as usize,
                    None => {
                        numbers.insert(term.to_string(), texts_with.len() as u32);
                        texts_with.push(0);
                        last_text.push(usize::MAX);
                        texts_with.len() - 1
                    }
                };
                if last_text[number] != text {
                    last_text[number] = text;
                    texts_with[number] += 1;
                }
            });
        }
        let mut kept: Vec<(String, u32)> = numbers
            .into_iter()
            .map(|(term, number)| (term, texts_with[number as usize]))
            .filter(|&(_, texts)| texts as usize >= options.min_df)
            .collect();
        if kept.is_empty() {
            return Err(BaselineError::NoWords { texts: texts.len(), min_df: options.min_df });
        }
        kept.sort_unstable();
        let idf = |with: u32| ((1 + texts.len()) as f64 / (1.0 + f64::from(with))).ln() + 1.0;
        let idf = kept.iter().map(|&(_, with)| idf(with)).collect();
        let terms = kept.into_iter().map(|(term, _)| term).collect();
        let this = Self::from(Written { options, terms, idf });
        let rows = this.rows(texts);
        Ok((this, rows))
    }

    /// Features of texts; terms not seen in training are left out.
    pub(super) fn rows(&self, texts: &[impl AsRef<str>]) -> Sparse {
        let mut rows = Sparse::new(self.terms.len());
        let mut found: Vec<u32> = Vec::new();
        let mut row: Vec<(u32, f64)> = Vec::new();
        for text in texts {
            found.clear();
            for_each_term(text.as_ref(), self.options, |term| found.extend(self.columns.get(term)));
            found.sort_unstable();
            row.clear();
            for same in found.chunk_by(|a, b| a == b) {
                let count = same.len() as f64;
                let count = if self.options.sublinear { 1.0 + count.ln() } else { count };
                row.push((same[0], count * self.idf[same[0] as usize]));
            }
            let length = row.iter().map(|(_, v)| v * v).sum::<f64>().sqrt();
            rows.push(row.iter().map(|&(column, value)| (column, value / length)));
        }
        rows
    }

    /// The terms, in column order.
    pub fn terms(&self) -> &[String] {
        &self.terms
    }

    /// The `limit` terms of greatest weight, greatest first; only weights above 0.
    pub(super) fn top(&self, weight: impl Fn(usize) -> Option<f64>, limit: usize) -> Vec<(String, f64)> {
        let weighted = (0..self.terms.len()).filter_map(|i| Some((i, weight(i)?)));
        let mut top: Vec<(usize, f64)> = weighted.filter(|&(_, weight)| weight > 0.0).collect();
        // Stable: equals stay in the order of their characters.
        top.sort_by(|a, b| b.1.total_cmp(&a.1));
        top.truncate(limit);
        top.into_iter().map(|(i, weight)| (self.terms[i].clone(), weight)).collect()
    }
}

/// Calls `visit` with each term of `text`: words, then runs of two words and so on, joined by a space.
fn for_each_term(text: &str, options: TfidfOptions, mut visit: impl FnMut(&str)) {
    let lowered;
    let text = if options.lower_case {
        lowered = text.to_lowercase();
        &lowered
    } else {
        text
    };
    let mut joined = String::with_capacity(text.len());
    // Where each word begins and ends in `joined`: a run of words is then a slice of it.
    let mut spans: Vec<(usize, usize)> = Vec::new();
    for_each_word(text, |word| {
        if !joined.is_empty() {
            joined.push(' ');
        }
        let start = joined.len();
        joined.push_str(word);
        spans.push((start, joined.len()));
    });
    for length in 1..=options.longest {
        for run in spans.windows(length) {
            visit(&joined[run[0].0..run[length - 1].1]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_words_and_runs_of_words() {
        let mut terms = Vec::new();
        let options = TfidfOptions { longest: 3, ..Default::default() };
        for_each_term("The CAT, sat a down", options, |term| terms.push(term.to_string()));
        assert_eq!(
            terms,
            ["the", "cat", "sat", "down", "the cat", "cat sat", "sat down", "the cat sat", "cat sat down"]
        );
    }

    #[test]
    fn rows_have_length_one_and_unknown_terms_are_left_out() {
        let (tfidf, rows) = Tfidf::fit(&["red red blue", "blue green"], TfidfOptions::default()).unwrap();
        assert_eq!(tfidf.terms(), ["blue", "blue green", "green", "red", "red blue", "red red"]);
        let length: f64 = rows.row(0).map(|(_, v)| v * v).sum();
        assert!((length - 1.0).abs() < 1e-12);
        let other = tfidf.rows(&["yellow", "blue yellow"]);
        assert_eq!(other.row(0).count(), 0);
        assert_eq!(other.row(1).collect::<Vec<_>>(), [(0, 1.0)]);
    }

    #[test]
    fn rare_terms_are_dropped_on_request() {
        let options = TfidfOptions { min_df: 2, ..Default::default() };
        let (tfidf, _) = Tfidf::fit(&["red red blue", "blue green"], options).unwrap();
        assert_eq!(tfidf.terms(), ["blue"]);
        let error = Tfidf::fit(&["red", "blue"], options).unwrap_err().to_string();
        assert!(error.contains("at least 2 of the 2 training texts"), "{error}");
        assert_eq!(Tfidf::fit(&[] as &[&str], options).unwrap_err(), BaselineError::Empty);
        assert!(Tfidf::fit(&["", "!"], TfidfOptions::default()).is_err());
        assert!(Tfidf::fit(&["red"], TfidfOptions { longest: 0, ..options }).is_err());
    }

    #[test]
    fn written_and_read_back() {
        let (tfidf, _) = Tfidf::fit(&["red red blue", "blue green"], TfidfOptions::default()).unwrap();
        let text = serde_json::to_string(&tfidf).unwrap();
        let back: Tfidf = serde_json::from_str(&text).unwrap();
        assert_eq!((back.terms(), &back.columns), (tfidf.terms(), &tfidf.columns));
    }
}
