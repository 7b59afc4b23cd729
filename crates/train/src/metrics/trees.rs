//! Dependency trees: words with the right head, and with the right relation to it.
//!
//! Paper: Buchholz & Marsi 2006, section 5.1, <https://aclanthology.org/W06-2920/>.

use super::summed::{first_by_second, listed};
use super::{ClassReport, MetricError, MetricSpec, Summed, Task, unicode};
use std::collections::BTreeMap;

const LINK: &str = "https://aclanthology.org/W06-2920/";
const TASKS: &[Task] = &[Task::Trees];

/// The entry in the list.
pub(super) const LAS: MetricSpec =
    listed("las", "share of words with the right head and relation", LINK, TASKS);

/// The entry in the list.
pub(super) const UAS: MetricSpec = listed("uas", "share of words with the right head", LINK, TASKS);

/// The entry in the list.
pub(super) const LABEL_ACCURACY: MetricSpec =
    listed("label-accuracy", "share of words with the right relation, whatever its head", LINK, TASKS);

/// The entry in the list.
pub(super) const LAS_NO_PUNCTUATION: MetricSpec =
    listed("las-no-punctuation", "las over the words that are no punctuation", LINK, TASKS);

/// The entry in the list.
pub(super) const UAS_NO_PUNCTUATION: MetricSpec =
    listed("uas-no-punctuation", "uas over the words that are no punctuation", LINK, TASKS);

/// What a word of a sentence depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// The word it depends on, counted from 1; 0 is the root.
    pub head: usize,
    /// The relation to it.
    pub relation: String,
}

/// Whether a word is punctuation, as the evaluation of CoNLL-X asks: all its characters are of Unicode's `P*`.
pub fn is_punctuation(word: &str) -> bool {
    !word.is_empty() && word.chars().all(unicode::is_punctuation)
}

/// Measures of trees: `las`, `uas`, `label-accuracy` over all words, `las` and `uas` also over the words that are no
/// punctuation where `punctuation` tells them; and one report a relation, by name, in which a word is right with its head
/// and relation.
///
/// # Shapes
/// - `truth`, `predicted`: `[examples]` lists of one dependency a word
/// - `punctuation`: `[examples]` lists of one flag a word
///
/// # Errors
/// No examples, lengths that differ.
pub fn trees<T: AsRef<[Dependency]>, P: AsRef<[Dependency]>, F: AsRef<[bool]>>(
    truth: &[T],
    predicted: &[P],
    punctuation: Option<&[F]>,
) -> Result<(Vec<Summed>, Vec<ClassReport>), MetricError> {
    let expected = truth.len();
    for (what, got) in [
        ("predicted trees", predicted.len()),
        ("lists of punctuation", punctuation.map_or(expected, <[F]>::len)),
    ] {
        if got != expected {
            return Err(MetricError::Length { what, expected, got });
        }
    }
    let mut columns = vec![Vec::new(); 5];
    let mut relations: BTreeMap<&str, [u64; 3]> = BTreeMap::new();
    for (row, (truth, predicted)) in truth.iter().zip(predicted).enumerate() {
        let (truth, predicted) = (truth.as_ref(), predicted.as_ref());
        let flags = punctuation.map(|lists| lists[row].as_ref());
        let expected = truth.len();
        for (what, got) in [
            ("predicted dependencies", predicted.len()),
            ("punctuation", flags.map_or(expected, <[bool]>::len)),
        ] {
            if got != expected {
                return Err(MetricError::RowLength { what, row, expected, got });
            }
        }
        let mut counts = [[0.0, 0.0]; 5];
        for (at, (there, found)) in truth.iter().zip(predicted).enumerate() {
            let (head, label) = (there.head == found.head, there.relation == found.relation);
            relations.entry(&there.relation).or_default()[2] += 1;
            relations.entry(&found.relation).or_default()[1] += 1;
            if head && label {
                relations.entry(&there.relation).or_default()[0] += 1;
            }
            let told = if flags.is_some_and(|flags| flags[at]) { 3 } else { 5 };
            let right = [head && label, head, label, head && label, head];
            for (count, right) in counts.iter_mut().zip(right).take(told) {
                count[0] += f64::from(u8::from(right));
                count[1] += 1.0;
            }
        }
        columns.iter_mut().zip(counts).for_each(|(column, count)| column.extend(count));
    }
    let specs = [LAS, UAS, LABEL_ACCURACY, LAS_NO_PUNCTUATION, UAS_NO_PUNCTUATION];
    let told = specs.iter().zip(columns).take(if punctuation.is_some() { 5 } else { 3 });
    let sums = told.map(|(spec, column)| Summed::new(spec.name, 2, column, first_by_second));
    let reports = relations
        .iter()
        .map(|(name, &[hits, predicted, actual])| ClassReport::of_counts(*name, actual, predicted, hits));
    Ok((sums.collect::<Result<_, _>>()?, reports.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(words: &[(usize, &str)]) -> Vec<Dependency> {
        words.iter().map(|&(head, relation)| Dependency { head, relation: relation.to_string() }).collect()
    }

    #[test]
    fn words_are_right_with_head_and_relation() {
        let truth = [tree(&[(2, "nsubj"), (0, "root"), (2, "obj"), (2, "punct")])];
        let predicted = [tree(&[(2, "obj"), (0, "root"), (1, "obj"), (3, "punct")])];
        let flags = ["dogs", "bark", "!a", "…!"].map(is_punctuation);
        assert_eq!(flags, [false, false, false, true]);
        let (sums, reports) = trees(&truth, &predicted, Some(&[flags])).unwrap();
        let values: Vec<f64> = sums.iter().map(|summed| summed.of().unwrap()).collect();
        assert_eq!(values, [0.25, 0.5, 0.75, 1.0 / 3.0, 2.0 / 3.0]);
        let obj = reports.iter().find(|report| report.label == "obj").unwrap();
        assert_eq!((obj.actual, obj.predicted, obj.hits), (1, 2, 0));
        assert_eq!(trees::<_, _, [bool; 0]>(&truth, &predicted, None).unwrap().0.len(), 3);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let (one, two) = (tree(&[(0, "root")]), tree(&[(0, "root"), (1, "x")]));
        let none: Option<&[Vec<bool>]> = None;
        let fails = |result: Result<_, MetricError>, message: &str| {
            let error = result.map(|_: (Vec<Summed>, Vec<ClassReport>)| ()).unwrap_err().to_string();
            assert!(error.contains(message), "{error:?} should contain {message:?}");
        };
        fails(trees(&[] as &[Vec<Dependency>], &[] as &[Vec<Dependency>], none), "zero examples");
        fails(trees(&[&one[..]], &[&two[..]], none), "row 0: expected 1 values, got 2");
        fails(trees(&[&one[..], &one], &[&one[..]], none), "expected 2 values, got 1");
        fails(trees(&[&one[..]], &[&one[..]], Some(&[vec![true, false]])), "punctuation of row 0");
    }
}
