//! Texts word by word: equal ones, errors on the way from one to the other, and how much a text repeats itself.
//!
//! Paper: Li et al. 2016, section 5.2 (distinct runs), <https://arxiv.org/abs/1510.03055>; Welleck et al. 2020, section 6.1
//! (repetition), <https://arxiv.org/abs/1908.04319>.

use super::runs::{edits, is_space, runs, words};
use super::summed::{first_by_second, listed};
use super::{Bleu, Chrf, MetricError, MetricSpec, Rouge, Summed, Task};
use std::collections::HashSet;

const TASKS: &[Task] = &[Task::Texts];
const ERRORS: &str = "https://en.wikipedia.org/wiki/Word_error_rate";
const DISTINCT: &str = "https://arxiv.org/abs/1510.03055";

/// The entry in the list.
pub(super) const EXACT_MATCH: MetricSpec = listed(
    "exact-match",
    "share of texts equal to a reference, but for white space around them",
    "https://github.com/EleutherAI/lm-evaluation-harness",
    TASKS,
);

/// The entry in the list.
pub(super) const WORD_ERROR_RATE: MetricSpec = MetricSpec {
    higher_is_better: false,
    ..listed(
        "word-error-rate",
        "words changed, left out and put in, by words of the reference",
        ERRORS,
        TASKS,
    )
};

/// The entry in the list.
pub(super) const CHARACTER_ERROR_RATE: MetricSpec = MetricSpec {
    higher_is_better: false,
    ..listed("character-error-rate", "the same by characters", ERRORS, TASKS)
};

/// Words.
pub(super) const INTRA_DISTINCT_1: MetricSpec =
    listed("intra-distinct-1", "share of different words among those of a text, averaged", DISTINCT, TASKS);

/// Pairs.
pub(super) const INTRA_DISTINCT_2: MetricSpec = listed(
    "intra-distinct-2",
    "share of different pairs of words among those of a text, averaged",
    DISTINCT,
    TASKS,
);

/// The entry in the list.
pub(super) const REPETITION: MetricSpec = MetricSpec {
    higher_is_better: false,
    ..listed(
        "repetition",
        "share of runs of four words that stand earlier in the text, averaged",
        "https://arxiv.org/abs/1908.04319",
        TASKS,
    )
};

/// Examples of one or more references and an answer.
pub(super) type Referenced<'a, S, A> = Vec<(&'a [S], &'a A)>;

/// References and answers by example.
pub(super) fn referenced<'a, R: AsRef<[S]>, S: 'a, A>(
    references: &'a [R],
    answers: &'a [A],
) -> Result<Referenced<'a, S, A>, MetricError> {
    if references.len() != answers.len() {
        let (expected, got) = (references.len(), answers.len());
        return Err(MetricError::Length { what: "answers", expected, got });
    }
    let examples: Referenced<S, A> = references.iter().map(AsRef::as_ref).zip(answers).collect();
    match examples.iter().position(|(references, _)| references.is_empty()) {
        Some(row) => Err(MetricError::NoReference { row }),
        None => Ok(examples),
    }
}

/// Everything that texts are measured by, each in its default: BLEU, chrF, ROUGE without stems, equal texts, error rates,
/// repetition.
///
/// # Shapes
/// - `references`: `[examples]` lists of at least one text
/// - `answers`: `[examples]`
///
/// # Errors
/// No examples, lengths that differ, an example without a reference.
pub fn texts<R: AsRef<[S]>, S: AsRef<str>, A: AsRef<str>>(
    references: &[R],
    answers: &[A],
) -> Result<Vec<Summed>, MetricError> {
    let mut sums = vec![
        Bleu::default().measure(references, answers)?,
        Chrf::default().measure(references, answers)?,
        Chrf { words: true, ..Chrf::default() }.measure(references, answers)?,
    ];
    sums.extend(Rouge::default().measure(references, answers)?);
    sums.push(exact_match(references, answers)?);
    sums.extend(error_rates(references, answers)?);
    sums.extend(repetition(answers)?);
    Ok(sums)
}

/// `exact-match`: the share of answers equal to one of their references. White space around either does not count, that
/// within does.
///
/// # Errors
/// As [`texts`].
pub fn exact_match<R: AsRef<[S]>, S: AsRef<str>, A: AsRef<str>>(
    references: &[R],
    answers: &[A],
) -> Result<Summed, MetricError> {
    let rows = referenced(references, answers)?.into_iter().flat_map(|(references, answer)| {
        let answer = answer.as_ref().trim_matches(is_space);
        let equal = references.iter().any(|reference| reference.as_ref().trim_matches(is_space) == answer);
        [f64::from(u8::from(equal)), 1.0]
    });
    Summed::new(EXACT_MATCH.name, 2, rows.collect(), first_by_second)
}

/// `word-error-rate` and `character-error-rate`: changes, omissions and additions that make the answers of the references,
/// of all examples together by the length of all references. Of several references each example is held against the one
/// with the fewest, the first of equals. White space between words counts as one character.
///
/// # Errors
/// As [`texts`].
pub fn error_rates<R: AsRef<[S]>, S: AsRef<str>, A: AsRef<str>>(
    references: &[R],
    answers: &[A],
) -> Result<[Summed; 2], MetricError> {
    let examples = referenced(references, answers)?;
    let (mut by_word, mut by_character) = (Vec::new(), Vec::new());
    for (references, answer) in examples {
        let answer: Vec<&str> = words(answer.as_ref()).collect();
        let characters = |words: &[&str]| words.join(" ").chars().collect::<Vec<char>>();
        let parted: Vec<Vec<&str>> = references.iter().map(|text| words(text.as_ref()).collect()).collect();
        by_word.extend(fewest(parted.iter().map(|reference| (edits(reference, &answer), reference.len()))));
        let answer = characters(&answer);
        let parted = parted.iter().map(|reference| characters(reference));
        by_character.extend(fewest(parted.map(|reference| (edits(&reference, &answer), reference.len()))));
    }
    Ok([
        Summed::new(WORD_ERROR_RATE.name, 2, by_word, first_by_second)?,
        Summed::new(CHARACTER_ERROR_RATE.name, 2, by_character, first_by_second)?,
    ])
}

fn fewest(candidates: impl Iterator<Item = (u64, usize)>) -> [f64; 2] {
    let (edits, length) = candidates.min_by_key(|(edits, _)| *edits).unwrap_or((0, 0));
    [edits as f64, length as f64]
}

/// `intra-distinct-1`, `intra-distinct-2` and `repetition`: how much each text repeats itself, averaged over the texts that
/// are long enough. Words are what white space parts.
///
/// # Errors
/// No texts.
pub fn repetition<A: AsRef<str>>(texts: &[A]) -> Result<[Summed; 3], MetricError> {
    let texts: Vec<Vec<&str>> = texts.iter().map(|text| words(text.as_ref()).collect()).collect();
    let rows = |n: usize, repeated: bool| {
        let row = |words: &Vec<&str>| match super::runs::total(words, n) {
            0 => [0.0, 0.0],
            all => {
                let different = runs(words, n).len() as f64 / all as f64;
                [if repeated { 1.0 - different } else { different }, 1.0]
            }
        };
        texts.iter().flat_map(row).collect::<Vec<f64>>()
    };
    Ok([
        Summed::new(INTRA_DISTINCT_1.name, 2, rows(1, false), first_by_second)?,
        Summed::new(INTRA_DISTINCT_2.name, 2, rows(2, false), first_by_second)?,
        Summed::new(REPETITION.name, 2, rows(4, true), first_by_second)?,
    ])
}

/// The share of different runs of `n` words among those of all texts together; `None` if there is no run. It falls with the
/// number of texts and is no function of sums, so it has no interval.
///
/// Paper: Li et al. 2016, section 5.2, <https://arxiv.org/abs/1510.03055>.
pub fn distinct<A: AsRef<str>>(texts: &[A], n: usize) -> Option<f64> {
    let texts: Vec<Vec<&str>> = texts.iter().map(|text| words(text.as_ref()).collect()).collect();
    let runs = texts.iter().flat_map(|words| words.windows(n.max(1)));
    let all = runs.clone().count();
    (all > 0).then(|| runs.collect::<HashSet<_>>().len() as f64 / all as f64)
}
