//! Answers as spans of a text, or none, as the official evaluation of SQuAD compares them.
//!
//! Paper: Rajpurkar et al. 2016, section 6.1, <https://arxiv.org/abs/1606.05250>; Rajpurkar et al. 2018 (questions without an
//! answer), <https://arxiv.org/abs/1806.03822>.

use super::runs::words;
use super::summed::{first_by_second, listed};
use super::{MetricError, MetricSpec, Summed, Task, unicode};
use std::collections::HashMap;

const LINK: &str = "https://rajpurkar.github.io/SQuAD-explorer/";
const TASKS: &[Task] = &[Task::Answers];

/// The entry in the list.
pub(super) const F1: MetricSpec =
    listed("answer-f1", "f1 of the words of the answer and the nearest reference, averaged", LINK, TASKS);

/// The entry in the list.
pub(super) const EM: MetricSpec = listed(
    "em",
    "share of answers equal to a reference, but for case, articles and punctuation",
    LINK,
    TASKS,
);

/// Of questions with an answer.
pub(super) const HAS_ANSWER_F1: MetricSpec =
    listed("has-answer-f1", "answer-f1 over the questions that have an answer", LINK, TASKS);

/// Of questions with an answer.
pub(super) const HAS_ANSWER_EM: MetricSpec =
    listed("has-answer-em", "em over the questions that have an answer", LINK, TASKS);

/// Of questions without one, where the F1 is the same.
pub(super) const NO_ANSWER_EM: MetricSpec =
    listed("no-answer-em", "share of questions without an answer that were given none", LINK, TASKS);

/// Which official evaluation answers are compared as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Squad {
    /// SQuAD 1.1: every question has an answer.
    One,
    /// SQuAD 2.0: a question without references has no answer, and the right answer to it is the empty text.
    #[default]
    Two,
}

/// `answer-f1` and `em`, and of SQuAD 2.0 the same of questions with and without an answer. Of several references each answer
/// is held against the nearest. The official evaluation gives these values times 100.
///
/// A model that gives the probability of no answer decides before: an answer it does not trust is the empty text.
///
/// # Shapes
/// - `references`: `[examples]` lists of texts; an empty list is a question without an answer
/// - `answers`: `[examples]`
///
/// # Errors
/// No examples, lengths that differ; of SQuAD 1.1 a question without a reference.
pub fn answers<R: AsRef<[S]>, S: AsRef<str>, A: AsRef<str>>(
    references: &[R],
    answers: &[A],
    version: Squad,
) -> Result<Vec<Summed>, MetricError> {
    if references.len() != answers.len() {
        let (expected, got) = (references.len(), answers.len());
        return Err(MetricError::Length { what: "answers", expected, got });
    }
    let mut columns = vec![Vec::new(); 5];
    for (row, (references, answer)) in references.iter().zip(answers).enumerate() {
        let references = references.as_ref();
        if references.is_empty() && version == Squad::One {
            return Err(MetricError::NoReference { row });
        }
        let (f1, equal) = nearest(references, answer.as_ref(), version);
        let has = f64::from(u8::from(!references.is_empty()));
        let rows =
            [[f1, 1.0], [equal, 1.0], [has * f1, has], [has * equal, has], [(1.0 - has) * equal, 1.0 - has]];
        columns.iter_mut().zip(rows).for_each(|(column, row)| column.extend(row));
    }
    let specs = [F1, EM, HAS_ANSWER_F1, HAS_ANSWER_EM, NO_ANSWER_EM];
    let told = if version == Squad::One { 2 } else { 5 };
    let sums = specs.iter().zip(columns).take(told);
    sums.map(|(spec, column)| Summed::new(spec.name, 2, column, first_by_second)).collect()
}

/// F1 and equality with the nearest reference of each.
fn nearest<S: AsRef<str>>(references: &[S], answer: &str, version: Squad) -> (f64, f64) {
    let answer = normalized(answer);
    let mut references: Vec<String> = references.iter().map(|text| normalized(text.as_ref())).collect();
    if version == Squad::Two {
        references.retain(|reference| !reference.is_empty());
        if references.is_empty() {
            references.push(String::new());
        }
    }
    let f1 = references.iter().map(|reference| f1(reference, &answer, version)).fold(0.0, f64::max);
    (f1, f64::from(u8::from(references.contains(&answer))))
}

/// F1 of the words of two normalized texts, each counted as often as it stands there.
pub(super) fn f1(reference: &str, answer: &str, version: Squad) -> f64 {
    if version == Squad::Two && (reference.is_empty() || answer.is_empty()) {
        return f64::from(u8::from(reference == answer));
    }
    let mut left: HashMap<&str, u64> = HashMap::new();
    words(reference).for_each(|word| *left.entry(word).or_insert(0) += 1);
    let mut shared = 0.0;
    for word in words(answer) {
        if let Some(count) = left.get_mut(word).filter(|count| **count > 0) {
            *count -= 1;
            shared += 1.0;
        }
    }
    if shared == 0.0 {
        return 0.0;
    }
    2.0 * shared / (words(reference).count() + words(answer).count()) as f64
}

/// Lower case, without punctuation of ASCII and English articles, one space between words.
fn normalized(text: &str) -> String {
    let text: String = text.to_lowercase().chars().filter(|c| !c.is_ascii_punctuation()).collect();
    without_articles(&text)
}

/// Without English articles, one space between words; for text in lower case.
pub(super) fn without_articles(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    // A run of letters and numbers is a word here, whatever stands around it.
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let inside = unicode::is_word(first);
        let end = rest.find(|c| unicode::is_word(c) != inside).unwrap_or(rest.len());
        kept.push_str(if matches!(&rest[..end], "a" | "an" | "the") { " " } else { &rest[..end] });
        rest = &rest[end..];
    }
    words(&kept).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Evaluation;

    #[test]
    fn texts_are_normalized() {
        for (text, expected) in [
            ("  The  cat's, an A-team! ", "cats ateam"),
            ("the", ""),
            ("theatre a_b a b", "theatre a_b b"),
            ("l\u{2019}a \u{201c}the\u{201d} x", "l\u{2019} \u{201c} \u{201d} x"),
            ("Straße ΟΔΟΣ", "straße οδος"),
        ] {
            assert_eq!(normalized(text), expected.replace("a_b", "ab"), "{text:?}");
        }
    }

    #[test]
    fn questions_without_an_answer_want_none() {
        let none: &[&str] = &[];
        let references = [&["Paris", "the city of Paris"][..], none, none];
        let sums = answers(&references, &["paris city", "", "Rome"], Squad::Two).unwrap();
        let evaluation = Evaluation::of_sums(Task::Answers, &sums, Vec::new(), None).unwrap();
        let f1 = 2.0 * 2.0 / 5.0;
        for (name, expected) in [
            ("answer-f1", (f1 + 1.0) / 3.0),
            ("em", 1.0 / 3.0),
            ("has-answer-f1", f1),
            ("has-answer-em", 0.0),
            ("no-answer-em", 0.5),
        ] {
            assert!((evaluation.value(name).unwrap() - expected).abs() < 1e-12, "{name}");
        }
        assert_eq!(evaluation.headline(), ["answer-f1", "em"]);
        let error = answers(&references, &["", "", ""], Squad::One).unwrap_err().to_string();
        assert!(error.contains("row 1 has no reference"), "{error}");
        assert!(answers(&references, &["a"], Squad::Two).unwrap_err().to_string().contains("expected 3"));
        assert_eq!(answers(&[none; 0], &["a"; 0], Squad::Two).unwrap_err(), MetricError::Empty);
    }
}
