//! chrF and chrF++: runs of characters, and of words, that a text shares with its references.
//!
//! Paper: Popović 2015, <https://aclanthology.org/W15-3049/>; Popović 2017 (chrF++), <https://aclanthology.org/W17-4770/>.

use super::bleu::SACREBLEU;
use super::runs::{is_space, runs, shared, total, words};
use super::summed::listed;
use super::texts::referenced;
use super::{MetricError, MetricSpec, Summed, Task};
use std::borrow::Cow;

/// The longest runs of characters that count.
const CHARACTERS: usize = 6;
/// The longest runs of words, where words count.
const WORDS: usize = 2;

const LINK: &str = "https://github.com/mjpost/sacrebleu";

/// Characters only.
pub(super) const CHRF: MetricSpec =
    listed("chrf", "F2 of runs of up to six characters, 0 to 100", LINK, &[Task::Texts]);

/// With runs of one and two words.
pub(super) const CHRF_WORDS: MetricSpec =
    listed("chrf++", "F2 of runs of up to six characters and two words, 0 to 100", LINK, &[Task::Texts]);

/// How chrF is measured. The default is that of sacrebleu.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chrf {
    /// Whether runs of one and two words count beside those of characters: chrF++.
    pub words: bool,
    /// Whether `A` is `a`.
    pub lowercase: bool,
    /// Whether runs of characters go over the spaces between words.
    pub spaces: bool,
}

impl Chrf {
    /// chrF of `answers`; of several references each example is held against the one that it is nearest to.
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
    ) -> Result<Summed, MetricError> {
        let examples = referenced(references, answers)?;
        let rows = examples.into_iter().flat_map(|(references, answer)| {
            let answer = self.text(answer.as_ref());
            let rows = references.iter().map(|reference| self.row(&self.text(reference.as_ref()), &answer));
            let mut best: (f64, Vec<f64>) = (-1.0, Vec::new());
            for row in rows {
                let value = value(&row);
                if value > best.0 {
                    best = (value, row);
                }
            }
            best.1
        });
        let spec = if self.words { CHRF_WORDS } else { CHRF };
        Summed::new(spec.name, 3 * self.orders(), rows.collect(), |sums| Ok(value(sums)))
    }

    /// The line that says how it was measured, as sacrebleu writes it. `references` is how many each example has, `None`
    /// if that differs.
    pub fn signature(&self, references: Option<usize>) -> String {
        let references = references.map_or_else(|| "var".to_string(), |n| n.to_string());
        let case = if self.lowercase { "lc" } else { "mixed" };
        let (words, spaces) = (self.orders() - CHARACTERS, if self.spaces { "yes" } else { "no" });
        format!(
            "nrefs:{references}|case:{case}|eff:yes|nc:{CHARACTERS}|nw:{words}|space:{spaces}|version:{SACREBLEU}"
        )
    }

    fn orders(&self) -> usize {
        CHARACTERS + if self.words { WORDS } else { 0 }
    }

    fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.lowercase { Cow::from(text.to_lowercase()) } else { Cow::from(text) }
    }

    /// For each order: runs of the answer, runs of the reference, those they share.
    fn row(&self, reference: &str, answer: &str) -> Vec<f64> {
        let mut row = Vec::with_capacity(3 * self.orders());
        let characters =
            |text: &str| text.chars().filter(|&c| self.spaces || !is_space(c)).collect::<Vec<char>>();
        let (first, second) = (characters(reference), characters(answer));
        (1..=CHARACTERS).for_each(|n| row.extend(counted(&first, &second, n)));
        if self.words {
            let (first, second) = (parted(reference), parted(answer));
            (1..=WORDS).for_each(|n| row.extend(counted(&first, &second, n)));
        }
        row
    }
}

/// Of runs of `n` items: how many the answer has, the reference has, and both.
fn counted<T: std::hash::Hash + Eq>(reference: &[T], answer: &[T], n: usize) -> [f64; 3] {
    let (of_reference, of_answer) = (total(reference, n), total(answer, n));
    if of_reference == 0 {
        // Without a reference of that length there is nothing the answer could have missed.
        return [0.0; 3];
    }
    let both = shared(&runs(answer, n), &runs(reference, n));
    [of_answer as f64, of_reference as f64, both as f64]
}

/// Words, with a punctuation mark at the end or else at the beginning of one parted from it, as the author's script does.
fn parted(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    for word in words(text) {
        let marked = |c: Option<char>| c.is_some_and(|c| c.is_ascii_punctuation());
        let last = word.char_indices().next_back().map_or(0, |(at, _)| at);
        if last == 0 {
            out.push(word);
        } else if marked(word.chars().next_back()) {
            out.extend([&word[..last], &word[last..]]);
        } else if marked(word.chars().next()) {
            // Marks of ASCII are one byte.
            out.extend([&word[..1], &word[1..]]);
        } else {
            out.push(word);
        }
    }
    out
}

/// F2 of the mean precision and the mean recall over the orders that both have runs of.
fn value(sums: &[f64]) -> f64 {
    let (mut precision, mut recall, mut orders) = (0.0, 0.0, 0.0);
    for order in sums.chunks_exact(3).filter(|order| order[0] > 0.0 && order[1] > 0.0) {
        precision += order[2] / order[0];
        recall += order[2] / order[1];
        orders += 1.0;
    }
    if precision + recall == 0.0 {
        return 0.0;
    }
    let (precision, recall) = (precision / orders, recall / orders);
    100.0 * 5.0 * precision * recall / (4.0 * precision + recall)
}
