//! Texts word by word: equal ones, errors on the way from one to the other, and how much a text repeats itself.
//!
//! Paper: Li et al. 2016, section 5.2 (distinct runs), <https://arxiv.org/abs/1510.03055>; Welleck et al. 2020, section 6.1
//! (repetition), <https://arxiv.org/abs/1908.04319>.

use super::summed::listed;
use super::{MetricSpec, Task};

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
