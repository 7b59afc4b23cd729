//! ROUGE: words, pairs of words and common subsequences that a text shares with its reference.
//!
//! Paper: Lin 2004, <https://aclanthology.org/W04-1013/>.

use super::summed::listed;
use super::{MetricSpec, Task};

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
