//! Dependency trees: words with the right head, and with the right relation to it.
//!
//! Paper: Buchholz & Marsi 2006, section 5.1, <https://aclanthology.org/W06-2920/>.

use super::summed::listed;
use super::{MetricSpec, Task};

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
