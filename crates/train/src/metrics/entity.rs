//! Entities that tags mark: how many were found, and how many of those found are there.
//!
//! Paper: Tjong Kim Sang & De Meulder 2003 (F1 of whole entities), <https://aclanthology.org/W03-0419/>.

use super::summed::listed;
use super::{MetricSpec, Scope, Task};

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
