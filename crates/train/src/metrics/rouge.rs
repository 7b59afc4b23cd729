//! ROUGE: words, pairs of words and common subsequences that a text shares with its reference.
//!
//! Paper: Lin 2004, <https://aclanthology.org/W04-1013/>.

use super::porter::stem;
use super::runs::{runs, shared, total};
use super::summed::{first_by_second, listed};
use super::texts::referenced;
use super::{MetricError, MetricSpec, Summed, Task};
use std::collections::{BTreeSet, HashMap};

const LINK: &str = "https://pypi.org/project/rouge-score/";
const TASKS: &[Task] = &[Task::Texts];

/// Words.
pub(super) const ROUGE_1: MetricSpec =
    listed("rouge-1", "f1 of words shared with the reference, averaged", LINK, TASKS);

/// Pairs.
pub(super) const ROUGE_2: MetricSpec =
    listed("rouge-2", "f1 of pairs of words shared with the reference, averaged", LINK, TASKS);

/// The longest common subsequence of whole texts.
pub(super) const ROUGE_L: MetricSpec =
    listed("rouge-l", "f1 of the longest common subsequence of words, averaged", LINK, TASKS);

/// Line by line.
pub(super) const ROUGE_LSUM: MetricSpec =
    listed("rouge-lsum", "rouge-l with each line of a text a sentence of its own, averaged", LINK, TASKS);

/// How ROUGE is measured. The default is that of rouge-score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rouge {
    /// Whether words of more than three letters are cut to their stems, by the rules for English.
    pub stem: bool,
}

/// ROUGE of one text.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RougeScore {
    /// Share of the answer that the reference has.
    pub precision: f64,
    /// Share of the reference that the answer has.
    pub recall: f64,
    /// Their harmonic mean.
    pub f1: f64,
}

impl RougeScore {
    fn of(hits: u64, answer: u64, reference: u64) -> Self {
        let share = |whole: u64| if whole == 0 { 0.0 } else { hits as f64 / whole as f64 };
        let (precision, recall) = (share(answer), share(reference));
        let f1 = if hits == 0 { 0.0 } else { 2.0 * precision * recall / (precision + recall) };
        Self { precision, recall, f1 }
    }
}

impl Rouge {
    /// `rouge-1`, `rouge-2`, `rouge-l` and `rouge-lsum`: the mean F1 over examples. Of several references each example is
    /// held against the one of the greatest F1.
    ///
    /// # Shapes
    /// - `references`: `[examples]` lists of at least one text
    /// - `answers`: `[examples]`
    ///
    /// # Errors
    /// No examples, lengths that differ, an example without a reference.
    pub fn measure<R: AsRef<[S]>, S: AsRef<str>, A: AsRef<str>>(
        &self,
        references: &[R],
        answers: &[A],
    ) -> Result<Vec<Summed>, MetricError> {
        let mut columns = vec![Vec::new(); 4];
        for (references, answer) in referenced(references, answers)? {
            let scores: Vec<[RougeScore; 4]> =
                references.iter().map(|reference| self.scores(reference.as_ref(), answer.as_ref())).collect();
            for (at, column) in columns.iter_mut().enumerate() {
                column.extend([scores.iter().map(|score| score[at].f1).fold(0.0, f64::max), 1.0]);
            }
        }
        let specs = [ROUGE_1, ROUGE_2, ROUGE_L, ROUGE_LSUM];
        specs
            .iter()
            .zip(columns)
            .map(|(spec, column)| Summed::new(spec.name, 2, column, first_by_second))
            .collect()
    }

    /// ROUGE-1, ROUGE-2, ROUGE-L and ROUGE-Lsum of one answer.
    pub fn scores(&self, reference: &str, answer: &str) -> [RougeScore; 4] {
        let (first, second) = (self.words(reference), self.words(answer));
        let of_runs = |n: usize| {
            let both = shared(&runs(&first, n), &runs(&second, n));
            RougeScore::of(both, total(&second, n), total(&first, n))
        };
        let common = common(&first, &second).len() as u64;
        let whole = RougeScore::of(common, second.len() as u64, first.len() as u64);
        [of_runs(1), of_runs(2), whole, self.by_lines(reference, answer)]
    }

    /// Each line of the reference may find its words in every line of the answer, but no word is found twice.
    fn by_lines(&self, reference: &str, answer: &str) -> RougeScore {
        let lines =
            |text: &str| -> Vec<Vec<String>> { text.split('\n').map(|line| self.words(line)).collect() };
        let (reference, answer) = (lines(reference), lines(answer));
        let counted = |lines: &[Vec<String>]| {
            let mut counts: HashMap<String, u64> = HashMap::new();
            lines.iter().flatten().for_each(|word| *counts.entry(word.clone()).or_insert(0) += 1);
            counts
        };
        let (mut left, mut right) = (counted(&reference), counted(&answer));
        let mut hits = 0;
        for line in &reference {
            let found: BTreeSet<usize> = answer.iter().flat_map(|other| common(line, other)).collect();
            for word in found.into_iter().map(|at| &line[at]) {
                if let (Some(left), Some(right)) = (left.get_mut(word), right.get_mut(word))
                    && *left > 0
                    && *right > 0
                {
                    *left -= 1;
                    *right -= 1;
                    hits += 1;
                }
            }
        }
        let length = |lines: &[Vec<String>]| lines.iter().map(Vec::len).sum::<usize>() as u64;
        RougeScore::of(hits, length(&answer), length(&reference))
    }

    /// Runs of ASCII letters and digits in lower case, or their stems.
    fn words(&self, text: &str) -> Vec<String> {
        let text = text.to_lowercase();
        let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        words.map(|word| if self.stem && word.len() > 3 { stem(word) } else { word.to_string() }).collect()
    }
}

/// Where in `first` the words of a longest common subsequence stand: of several the one that rouge-score finds.
fn common(first: &[String], second: &[String]) -> Vec<usize> {
    let width = second.len() + 1;
    let mut table = vec![0u32; (first.len() + 1) * width];
    for (i, a) in first.iter().enumerate() {
        for (j, b) in second.iter().enumerate() {
            let (here, above) = ((i + 1) * width + j + 1, i * width + j + 1);
            table[here] = if a == b { table[above - 1] + 1 } else { table[above].max(table[here - 1]) };
        }
    }
    let (mut i, mut j) = (first.len(), second.len());
    let mut found = Vec::new();
    while i > 0 && j > 0 {
        if first[i - 1] == second[j - 1] {
            found.push(i - 1);
            (i, j) = (i - 1, j - 1);
        } else if table[i * width + j - 1] > table[(i - 1) * width + j] {
            j -= 1;
        } else {
            i -= 1;
        }
    }
    found.reverse();
    found
}
