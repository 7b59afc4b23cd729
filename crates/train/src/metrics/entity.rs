//! Entities that tags mark: how many were found, and how many of those found are there.
//!
//! Paper: Tjong Kim Sang & De Meulder 2003 (F1 of whole entities), <https://aclanthology.org/W03-0419/>.

use super::scheme::{Reading, Scheme};
use super::summed::{first_by_second, listed};
use super::{ClassReport, Computed, MetricError, MetricSpec, Scope, Summed, Task, Undefined};
use std::collections::{BTreeMap, BTreeSet};

const LINK: &str = "https://github.com/chakki-works/seqeval";
const TASKS: &[Task] = &[Task::Tags];

/// Over all types together.
pub(super) const F1: MetricSpec = MetricSpec {
    scope: Scope::Either,
    ..listed(
        "entity-f1",
        "harmonic mean of entity-precision and entity-recall (or entity-f1:TYPE)",
        LINK,
        TASKS,
    )
};

/// Over all types together.
pub(super) const PRECISION: MetricSpec = MetricSpec {
    scope: Scope::Either,
    ..listed(
        "entity-precision",
        "share of entities found that are there, with their bounds and types",
        LINK,
        TASKS,
    )
};

/// Over all types together.
pub(super) const RECALL: MetricSpec = MetricSpec {
    scope: Scope::Either,
    ..listed("entity-recall", "share of entities that are found, with their bounds and types", LINK, TASKS)
};

/// The plain mean over types.
pub(super) const MACRO_F1: MetricSpec =
    listed("entity-macro-f1", "f1 of each type of entity, averaged: rare types count as much", LINK, TASKS);

/// The entry in the list.
pub(super) const ACCURACY: MetricSpec =
    listed("tag-accuracy", "share of words with the right tag", LINK, TASKS);

/// An entity in a sentence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entity {
    /// Its first word.
    pub start: usize,
    /// The word after its last.
    pub end: usize,
    /// Its type; `_` where the tags name none.
    pub name: String,
}

/// The entities that the tags of a sentence mark, as the tool of the CoNLL shared tasks and seqeval read them by default: a
/// tag that cannot stand where it stands begins an entity. An empty tag is outside of all.
pub fn entities<T: AsRef<str>>(tags: &[T], scheme: Scheme) -> Vec<Entity> {
    scheme.lenient(tags)
}

/// The entities that the tags of a sentence mark, as the strict mode of seqeval reads them: words whose tags are not in
/// order mark nothing.
///
/// # Errors
/// A tag that the scheme does not have.
pub fn strict_entities<T: AsRef<str>>(tags: &[T], scheme: Scheme) -> Result<Vec<Entity>, MetricError> {
    scheme.strict(tags, 0)
}

/// Measures of tags: `entity-f1`, `entity-precision`, `entity-recall` and `entity-macro-f1` of the entities they mark, and
/// `tag-accuracy`; and one report a type, by name. Averages of a type run over the types that occur in truth or answers.
///
/// # Shapes
/// - `truth`, `predicted`: `[examples]` lists of one tag a word
///
/// # Errors
/// No examples, lengths that differ; of the strict reading a tag that the scheme does not have.
pub fn tags<A: AsRef<[T]>, T: AsRef<str>, B: AsRef<[U]>, U: AsRef<str>>(
    truth: &[A],
    predicted: &[B],
    scheme: Scheme,
    reading: Reading,
) -> Result<(Vec<Summed>, Vec<ClassReport>), MetricError> {
    if truth.len() != predicted.len() {
        let (expected, got) = (truth.len(), predicted.len());
        return Err(MetricError::Length { what: "predicted lists of tags", expected, got });
    }
    let mut rows: Vec<BTreeMap<String, [u64; 3]>> = Vec::with_capacity(truth.len());
    let mut accuracy = Vec::with_capacity(2 * truth.len());
    for (row, (truth, predicted)) in truth.iter().zip(predicted).enumerate() {
        let (truth, predicted) = (truth.as_ref(), predicted.as_ref());
        if truth.len() != predicted.len() {
            let (expected, got) = (truth.len(), predicted.len());
            return Err(MetricError::RowLength { what: "predicted tags", row, expected, got });
        }
        let right = truth.iter().zip(predicted).filter(|(a, b)| a.as_ref() == b.as_ref()).count();
        accuracy.extend([right as f64, truth.len() as f64]);
        let (there, found): (BTreeSet<Entity>, BTreeSet<Entity>) = match reading {
            Reading::Lenient => {
                (scheme.lenient(truth).into_iter().collect(), scheme.lenient(predicted).into_iter().collect())
            }
            Reading::Strict => {
                let there = scheme.strict(truth, row)?;
                (there.into_iter().collect(), scheme.strict(predicted, row)?.into_iter().collect())
            }
        };
        let mut counts: BTreeMap<String, [u64; 3]> = BTreeMap::new();
        let mut count =
            |entity: &Entity, column: usize| counts.entry(entity.name.clone()).or_default()[column] += 1;
        there.intersection(&found).for_each(|entity| count(entity, 0));
        found.iter().for_each(|entity| count(entity, 1));
        there.iter().for_each(|entity| count(entity, 2));
        rows.push(counts);
    }
    let names: BTreeSet<&String> = rows.iter().flat_map(BTreeMap::keys).collect();
    let of = |row: &BTreeMap<String, [u64; 3]>, name: &String| row.get(name).copied().unwrap_or_default();
    let reports = names.iter().map(|name| {
        let sum = |column: usize| rows.iter().map(|row| of(row, name)[column]).sum();
        ClassReport::of_counts(name.as_str(), sum(2), sum(1), sum(0))
    });
    let total =
        |row: &BTreeMap<String, [u64; 3]>, column: usize| row.values().map(|c| c[column]).sum::<u64>() as f64;
    let columns = |wanted: &[usize]| -> Vec<f64> {
        rows.iter().flat_map(|row| wanted.iter().map(|&column| total(row, column))).collect()
    };
    // Without a type there is still a column, so that the measure is there to say that it has no value.
    let by_type = rows.iter().flat_map(|row| {
        let counts = names.iter().flat_map(|name| of(row, name)).map(|n| n as f64);
        counts.chain(names.is_empty().then_some([0.0; 3]).into_iter().flatten())
    });
    let sums = vec![
        Summed::new(F1.name, 3, columns(&[0, 1, 2]), f1)?,
        Summed::new(PRECISION.name, 2, columns(&[0, 1]), share)?,
        Summed::new(RECALL.name, 2, columns(&[0, 2]), share)?,
        Summed::new(MACRO_F1.name, 3 * names.len().max(1), by_type.collect(), macro_f1)?,
        Summed::new(ACCURACY.name, 2, accuracy, first_by_second)?,
    ];
    Ok((sums, reports.collect()))
}

/// 0 of nothing, as in seqeval.
fn share(sums: &[f64]) -> Computed {
    Ok(if sums[1] > 0.0 { sums[0] / sums[1] } else { 0.0 })
}

/// Of hits, entities found and entities there. 0 where there is none of either, as in seqeval.
fn f1(sums: &[f64]) -> Computed {
    let all = sums[1] + sums[2];
    Ok(if all > 0.0 { 2.0 * sums[0] / all } else { 0.0 })
}

fn macro_f1(sums: &[f64]) -> Computed {
    let there = sums.chunks_exact(3).filter(|counts| counts[1] + counts[2] > 0.0);
    let count = there.clone().count();
    if count == 0 {
        return Err(Undefined("there is no entity in truth or answers"));
    }
    Ok(there.map(|counts| 2.0 * counts[0] / (counts[1] + counts[2])).sum::<f64>() / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Evaluation;

    #[test]
    fn types_are_reported_by_name() {
        let truth = [vec!["B-PER", "I-PER", "O", "B-LOC"], vec!["O", "B-LOC"]];
        let predicted = [vec!["B-PER", "I-PER", "O", "B-ORG"], vec!["O", "B-LOC"]];
        let (sums, types) = tags(&truth, &predicted, Scheme::Bio, Reading::Lenient).unwrap();
        let evaluation = Evaluation::of_sums(Task::Tags, &sums, types, None).unwrap();
        assert_eq!(evaluation.labels(), ["LOC", "ORG", "PER"]);
        assert_eq!(evaluation.value("entity-recall:LOC").unwrap(), 0.5);
        assert!((evaluation.value("entity-f1").unwrap() - 2.0 / 3.0).abs() < 1e-12);
        assert!((evaluation.value("entity-macro-f1").unwrap() - (2.0 / 3.0 + 1.0) / 3.0).abs() < 1e-12);
        assert!((evaluation.value("tag-accuracy").unwrap() - 5.0 / 6.0).abs() < 1e-12);
        assert_eq!(evaluation.never_true(), ["ORG"]);
        let text = evaluation.to_string();
        assert!(text.contains("never") || text.contains("without"), "{text}");
    }

    #[test]
    fn sentences_without_entities_have_no_average() {
        let (sums, types) = tags(&[["O", "O"]], &[["O", "O"]], Scheme::Bio, Reading::Strict).unwrap();
        assert!(types.is_empty());
        let evaluation = Evaluation::of_sums(Task::Tags, &sums, types, None).unwrap();
        assert_eq!(evaluation.value("entity-f1").unwrap(), 0.0);
        assert!(evaluation.value("entity-macro-f1").unwrap_err().to_string().contains("no entity"));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let fails = |truth: &[Vec<&str>], predicted: &[Vec<&str>], message: &str| {
            let error = tags(truth, predicted, Scheme::Bio, Reading::Strict).unwrap_err().to_string();
            assert!(error.contains(message), "{error:?} should contain {message:?}");
        };
        fails(&[], &[], "zero examples");
        fails(&[vec!["O"]], &[], "expected 1 values, got 0");
        fails(&[vec!["O"], vec!["O"]], &[vec!["O"], vec!["O", "O"]], "row 1: expected 1 values, got 2");
        fails(&[vec!["O"], vec!["O", "S-X"]], &[vec!["O"], vec!["O", "O"]], "tag \"S-X\" of word 1 of row 1");
        fails(&[vec![""]], &[vec!["O"]], "expected O, B-TYPE or I-TYPE");
        let lenient = tags(&[["", "é", "é-ü"]], &[["", "S-X", "O"]], Scheme::Bio, Reading::Lenient);
        assert!(lenient.is_ok());
    }
}
