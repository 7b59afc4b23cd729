//! Answers as spans of a text, or none, as the official evaluation of SQuAD compares them.
//!
//! Paper: Rajpurkar et al. 2016, section 6.1, <https://arxiv.org/abs/1606.05250>; Rajpurkar et al. 2018 (questions without an
//! answer), <https://arxiv.org/abs/1806.03822>.

use super::summed::listed;
use super::{MetricSpec, Task};

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
