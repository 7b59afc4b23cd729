//! chrF and chrF++: runs of characters, and of words, that a text shares with its references.
//!
//! Paper: Popović 2015, <https://aclanthology.org/W15-3049/>; Popović 2017 (chrF++), <https://aclanthology.org/W17-4770/>.

use super::summed::listed;
use super::{MetricSpec, Task};

const LINK: &str = "https://github.com/mjpost/sacrebleu";

/// Characters only.
pub(super) const CHRF: MetricSpec =
    listed("chrf", "F2 of runs of up to six characters, 0 to 100", LINK, &[Task::Texts]);

/// With runs of one and two words.
pub(super) const CHRF_WORDS: MetricSpec =
    listed("chrf++", "F2 of runs of up to six characters and two words, 0 to 100", LINK, &[Task::Texts]);
