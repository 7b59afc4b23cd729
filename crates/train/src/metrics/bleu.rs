//! BLEU of a corpus: runs of words that a text shares with its references.
//!
//! Paper: Papineni et al. 2002, <https://aclanthology.org/P02-1040/>; as Post 2018 fixed it,
//! <https://aclanthology.org/W18-6319/>.

use super::summed::listed;
use super::{MetricSpec, Task};

/// The entry in the list.
pub(super) const SPEC: MetricSpec = listed(
    "bleu",
    "runs of up to four words shared with the references, 0 to 100",
    "https://github.com/mjpost/sacrebleu",
    &[Task::Texts],
);
