//! Candidates in order: how early the relevant ones stand.
//!
//! Paper: Järvelin & Kekäläinen 2002 (discounted gain), <https://doi.org/10.1145/582415.582418>; Voorhees 1999 (reciprocal
//! rank), <https://trec.nist.gov/pubs/trec8/papers/qa_report.pdf>.

use super::summed::listed;
use super::{MetricSpec, Task};

const LINK: &str = "https://trec.nist.gov/trec_eval/";
const TASKS: &[Task] = &[Task::Ranking];

/// The entry in the list.
pub(super) const NDCG_10: MetricSpec = listed(
    "ndcg@10",
    "gain of the first ten, less the later they stand, by that of the best order; averaged",
    "https://scikit-learn.org/stable/modules/generated/sklearn.metrics.ndcg_score.html",
    TASKS,
);

/// The entry in the list.
pub(super) const MRR: MetricSpec =
    listed("mrr", "one by the rank of the first relevant one, averaged", LINK, TASKS);

/// The entry in the list.
pub(super) const MAP: MetricSpec = listed(
    "map",
    "precision at the rank of each relevant one, averaged over them and over lists",
    LINK,
    TASKS,
);

/// The entry in the list.
pub(super) const HITS_1: MetricSpec =
    listed("hits@1", "share of lists with a relevant one at the top", LINK, TASKS);

/// The entry in the list.
pub(super) const HITS_3: MetricSpec =
    listed("hits@3", "share of lists with a relevant one among the first three", LINK, TASKS);

/// The entry in the list.
pub(super) const HITS_10: MetricSpec =
    listed("hits@10", "share of lists with a relevant one among the first ten", LINK, TASKS);

/// The entry in the list.
pub(super) const RECALL_10: MetricSpec =
    listed("recall@10", "share of relevant ones that stand among the first ten, averaged", LINK, TASKS);

/// The entry in the list.
pub(super) const RECALL_100: MetricSpec =
    listed("recall@100", "share of relevant ones that stand among the first hundred, averaged", LINK, TASKS);
