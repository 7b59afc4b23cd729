//! BLEU of a corpus: runs of words that a text shares with its references.
//!
//! Paper: Papineni et al. 2002, <https://aclanthology.org/P02-1040/>; as Post 2018 fixed it,
//! <https://aclanthology.org/W18-6319/>.

use super::runs::{is_space, runs, shared, total, words};
use super::summed::listed;
use super::texts::referenced;
use super::{Computed, MetricError, MetricSpec, Summed, Task, unicode};
use std::borrow::Cow;
use std::collections::HashMap;

/// The longest runs of words that count.
const ORDER: usize = 4;
/// Two lengths, and two counts an order.
const WIDTH: usize = 2 + 2 * ORDER;
/// The version of sacrebleu that the goldens are from.
pub(super) const SACREBLEU: &str = "2.6.0";

/// The entry in the list.
pub(super) const SPEC: MetricSpec = listed(
    "bleu",
    "runs of up to four words shared with the references, 0 to 100",
    "https://github.com/mjpost/sacrebleu",
    &[Task::Texts],
);

/// How texts are made words for BLEU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BleuTokenizer {
    /// As `mteval-v13a.pl` does: the default of sacrebleu, for languages of the West.
    #[default]
    V13a,
    /// As `mteval-v14.pl --international-tokenization` does: punctuation and symbols of all scripts.
    International,
    /// Each character a word, for languages that do not part words.
    Characters,
    /// Words that white space parts; for texts that are tokenized already.
    Spaces,
}

/// What stands in for runs of which none is shared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Smoothing {
    /// One by 2, 4, 8, ... for the first, second, third order without a match: the default of sacrebleu.
    #[default]
    Exponential,
    /// A tenth of a match.
    Floor,
    /// One match more, of one run more, for runs of two words and longer.
    AddOne,
    /// Nothing: BLEU is then 0.
    None,
}

/// How BLEU is measured. The default is that of sacrebleu.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bleu {
    /// How texts are made words.
    pub tokenizer: BleuTokenizer,
    /// What stands in for orders without a match.
    pub smoothing: Smoothing,
    /// Whether `A` is `a`.
    pub lowercase: bool,
    /// Whether orders that no text is long enough for are left out; for single sentences.
    pub effective_order: bool,
}

impl Bleu {
    /// BLEU of `answers`.
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
        let rows =
            examples.into_iter().flat_map(|(references, answer)| self.row(references, answer.as_ref()));
        Summed::new(SPEC.name, WIDTH, rows.collect(), self.value())
    }

    /// The line that says how it was measured, as sacrebleu writes it. `references` is how many each example has, `None`
    /// if that differs.
    pub fn signature(&self, references: Option<usize>) -> String {
        let references = references.map_or_else(|| "var".to_string(), |n| n.to_string());
        let case = if self.lowercase { "lc" } else { "mixed" };
        let effective = if self.effective_order { "yes" } else { "no" };
        let tokenizer = match self.tokenizer {
            BleuTokenizer::V13a => "13a",
            BleuTokenizer::International => "intl",
            BleuTokenizer::Characters => "char",
            BleuTokenizer::Spaces => "none",
        };
        let smoothing = match self.smoothing {
            Smoothing::Exponential => "exp",
            Smoothing::Floor => "floor[0.10]",
            Smoothing::AddOne => "add-k[1.00]",
            Smoothing::None => "none",
        };
        format!(
            "nrefs:{references}|case:{case}|eff:{effective}|tok:{tokenizer}|smooth:{smoothing}|version:{SACREBLEU}"
        )
    }

    /// Length of the answer and of the nearest reference, then for each order the runs shared, then those there are.
    fn row<S: AsRef<str>>(&self, references: &[S], answer: &str) -> [f64; WIDTH] {
        let answer = self.text(answer);
        let answer: Vec<&str> = words(&answer).collect();
        let references: Vec<String> = references.iter().map(|text| self.text(text.as_ref())).collect();
        let references: Vec<Vec<&str>> = references.iter().map(|text| words(text).collect()).collect();
        let lengths = references.iter().map(Vec::len);
        let nearest = lengths.min_by_key(|&length| (length.abs_diff(answer.len()), length)).unwrap_or(0);
        let mut row = [0.0; WIDTH];
        (row[0], row[1]) = (answer.len() as f64, nearest as f64);
        for n in 1..=ORDER {
            // A run counts as often as the reference that has it most often has it.
            let mut allowed: HashMap<&[&str], u64> = HashMap::new();
            for reference in &references {
                for (run, count) in runs(reference, n) {
                    let most = allowed.entry(run).or_insert(0);
                    *most = count.max(*most);
                }
            }
            row[1 + n] = shared(&runs(&answer, n), &allowed) as f64;
            row[1 + ORDER + n] = total(&answer, n) as f64;
        }
        row
    }

    /// A text with its words parted by spaces.
    fn text(&self, text: &str) -> String {
        let text = if self.lowercase { Cow::from(text.to_lowercase()) } else { Cow::from(text) };
        let text = text.trim_end_matches(is_space);
        match self.tokenizer {
            BleuTokenizer::V13a => v13a(text),
            BleuTokenizer::International => international(text),
            BleuTokenizer::Characters => text.chars().flat_map(|c| [c, ' ']).collect(),
            BleuTokenizer::Spaces => text.to_string(),
        }
    }

    fn value(&self) -> fn(&[f64]) -> Computed {
        match (self.smoothing, self.effective_order) {
            (Smoothing::Exponential, false) => |sums| of(sums, Smoothing::Exponential, false),
            (Smoothing::Exponential, true) => |sums| of(sums, Smoothing::Exponential, true),
            (Smoothing::Floor, false) => |sums| of(sums, Smoothing::Floor, false),
            (Smoothing::Floor, true) => |sums| of(sums, Smoothing::Floor, true),
            (Smoothing::AddOne, false) => |sums| of(sums, Smoothing::AddOne, false),
            (Smoothing::AddOne, true) => |sums| of(sums, Smoothing::AddOne, true),
            (Smoothing::None, false) => |sums| of(sums, Smoothing::None, false),
            (Smoothing::None, true) => |sums| of(sums, Smoothing::None, true),
        }
    }
}

/// BLEU of the sums of rows. 0 without a match, as in sacrebleu.
fn of(sums: &[f64], smoothing: Smoothing, effective_order: bool) -> Computed {
    let (length, reference) = (sums[0], sums[1]);
    let (mut matches, mut totals) = ([0.0; ORDER], [0.0; ORDER]);
    matches.copy_from_slice(&sums[2..2 + ORDER]);
    totals.copy_from_slice(&sums[2 + ORDER..]);
    if matches.iter().all(|&n| n == 0.0) {
        return Ok(0.0);
    }
    let brevity = if length < reference { (1.0 - reference / length).exp() } else { 1.0 };
    let mut precisions = [0.0; ORDER];
    let (mut halved, mut order) = (1.0, ORDER);
    for n in 0..ORDER {
        if smoothing == Smoothing::AddOne && n > 0 {
            matches[n] += 1.0;
            totals[n] += 1.0;
        }
        if totals[n] == 0.0 {
            break;
        }
        if effective_order {
            order = n + 1;
        }
        precisions[n] = if matches[n] > 0.0 {
            100.0 * matches[n] / totals[n]
        } else {
            match smoothing {
                Smoothing::Exponential => {
                    halved *= 2.0;
                    100.0 / (halved * totals[n])
                }
                Smoothing::Floor => 100.0 * 0.1 / totals[n],
                Smoothing::AddOne | Smoothing::None => 0.0,
            }
        };
    }
    // An order without a precision makes the product nothing, not an error.
    let log = |p: f64| if p == 0.0 { -9_999_999_999.0 } else { p.ln() };
    Ok(brevity * (precisions[..order].iter().map(|&p| log(p)).sum::<f64>() / order as f64).exp())
}

/// `mteval-v13a.pl`, as sacrebleu has it.
fn v13a(text: &str) -> String {
    let text = text.replace("<skipped>", "").replace("-\n", "").replace('\n', " ");
    let text = text.replace("&quot;", "\"").replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">");
    let apart = |c: char| matches!(c, '{'..='~' | '['..='`' | ' '..='&' | '('..='+' | ':'..='@' | '/');
    let mut parted = String::from(" ");
    for c in text.chars().chain([' ']) {
        match apart(c) {
            true => parted.extend([' ', c, ' ']),
            false => parted.push(c),
        }
    }
    let digit = |c: char| c.is_ascii_digit();
    let stop = |c: char| c == '.' || c == ',';
    let parted = pairs(&parted, |a, b| !digit(a) && stop(b), |a, b| vec![a, ' ', b, ' ']);
    let parted = pairs(&parted, |a, b| stop(a) && !digit(b), |a, b| vec![' ', a, ' ', b]);
    pairs(&parted, |a, b| digit(a) && b == '-', |a, b| vec![a, ' ', b, ' '])
}

/// `mteval-v14.pl` with international tokenization, as sacrebleu has it.
fn international(text: &str) -> String {
    let (number, mark) = (char::is_numeric, unicode::is_punctuation);
    let text = pairs(text, |a, b| !number(a) && mark(b), |a, b| vec![a, ' ', b, ' ']);
    let text = pairs(&text, |a, b| mark(a) && !number(b), |a, b| vec![' ', a, ' ', b]);
    let mut parted = String::with_capacity(text.len());
    for c in text.chars() {
        match unicode::is_symbol(c) {
            true => parted.extend([' ', c, ' ']),
            false => parted.push(c),
        }
    }
    parted
}

/// Puts something else for pairs of neighbours, from left to right and none of them in two pairs, as a regular expression
/// of two characters does.
fn pairs(text: &str, is: impl Fn(char, char) -> bool, other: impl Fn(char, char) -> Vec<char>) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 4);
    let mut rest = text.chars();
    while let Some(first) = rest.next() {
        match rest.clone().next() {
            Some(second) if is(first, second) => {
                out.extend(other(first, second));
                rest.next();
            }
            _ => out.push(first),
        }
    }
    out
}
