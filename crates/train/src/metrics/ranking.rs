//! Candidates in order: how early the relevant ones stand.
//!
//! Paper: Järvelin & Kekäläinen 2002 (discounted gain), <https://doi.org/10.1145/582415.582418>; Voorhees 1999 (reciprocal
//! rank), <https://trec.nist.gov/pubs/trec8/papers/qa_report.pdf>.

use super::summed::{first_by_second, listed};
use super::{MetricError, MetricSpec, Summed, Task};
use std::collections::HashMap;
use std::hash::Hash;

const LINK: &str = "https://trec.nist.gov/trec_eval/";
const TASKS: &[Task] = &[Task::Ranking];
/// Measures that replies in a conversation are told apart by, too.
const FIRST: &[Task] = &[Task::Ranking, Task::Dialog];

/// The entry in the list.
pub(super) const NDCG_10: MetricSpec = listed(
    "ndcg@10",
    "gain of the first ten, less the later they stand, by that of the best order; averaged",
    "https://scikit-learn.org/stable/modules/generated/sklearn.metrics.ndcg_score.html",
    TASKS,
);

/// The entry in the list.
pub(super) const MRR: MetricSpec =
    listed("mrr", "one by the rank of the first relevant one, averaged", LINK, FIRST);

/// The entry in the list.
pub(super) const MAP: MetricSpec = listed(
    "map",
    "precision at the rank of each relevant one, averaged over them and over lists",
    LINK,
    TASKS,
);

/// The entry in the list.
pub(super) const HITS_1: MetricSpec =
    listed("hits@1", "share of lists with a relevant one at the top", LINK, FIRST);

/// The entry in the list.
pub(super) const HITS_3: MetricSpec =
    listed("hits@3", "share of lists with a relevant one among the first three", LINK, FIRST);

/// The entry in the list.
pub(super) const HITS_10: MetricSpec =
    listed("hits@10", "share of lists with a relevant one among the first ten", LINK, FIRST);

/// The entry in the list.
pub(super) const RECALL_10: MetricSpec =
    listed("recall@10", "share of relevant ones that stand among the first ten, averaged", LINK, TASKS);

/// The entry in the list.
pub(super) const RECALL_100: MetricSpec =
    listed("recall@100", "share of relevant ones that stand among the first hundred, averaged", LINK, TASKS);

/// Candidates of one query in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ranked {
    /// How relevant each candidate is, the first of the list first; 0 is not at all.
    pub gains: Vec<f64>,
    /// How relevant what the list lacks is; only what is relevant needs to be told.
    pub missed: Vec<f64>,
}

impl Ranked {
    /// Candidates by falling score; of equal scores the one given first stands first.
    ///
    /// # Shapes
    /// - `scores`, `gains`: `[candidates]`
    ///
    /// # Errors
    /// Lengths that differ, a score that is NaN.
    pub fn by_scores<P: Copy + Into<f64>, G: Copy + Into<f64>>(
        scores: &[P],
        gains: &[G],
    ) -> Result<Self, MetricError> {
        if scores.len() != gains.len() {
            let (expected, got) = (scores.len(), gains.len());
            return Err(MetricError::Length { what: "gains of candidates", expected, got });
        }
        let scores: Vec<f64> = scores.iter().map(|&score| score.into()).collect();
        if let Some(row) = scores.iter().position(|score| score.is_nan()) {
            return Err(MetricError::NotFinite { what: "score", row, column: None, got: scores[row] });
        }
        let mut order: Vec<usize> = (0..scores.len()).collect();
        // A stable sort, and `+ 0.0` makes equals of the two zeros.
        order.sort_by(|&a, &b| (scores[b] + 0.0).total_cmp(&(scores[a] + 0.0)));
        Ok(Self { gains: order.into_iter().map(|at| gains[at].into()).collect(), missed: Vec::new() })
    }

    /// A list of names, and which are relevant and how much. A name that stands in the list again counts once.
    pub fn by_names<N: Eq + Hash>(list: &[N], relevant: &[(N, f64)]) -> Self {
        let mut left: HashMap<&N, f64> = relevant.iter().map(|(name, gain)| (name, *gain)).collect();
        let gains = list.iter().map(|name| left.remove(name).unwrap_or(0.0)).collect();
        let missed = relevant.iter().filter(|(name, _)| left.remove(name).is_some()).map(|(_, gain)| *gain);
        Self { gains, missed: missed.collect() }
    }

    /// Whether anything relevant was to be found.
    fn asks(&self) -> bool {
        self.gains.iter().chain(&self.missed).any(|&gain| gain > 0.0)
    }

    fn relevant(&self) -> f64 {
        self.gains.iter().chain(&self.missed).filter(|&&gain| gain > 0.0).count() as f64
    }

    /// Whether a relevant one stands among the first `k`.
    pub fn hits(&self, k: usize) -> bool {
        self.gains.iter().take(k).any(|&gain| gain > 0.0)
    }

    /// One by the rank of the first relevant one; 0 without one.
    pub fn reciprocal_rank(&self) -> f64 {
        self.gains.iter().position(|&gain| gain > 0.0).map_or(0.0, |at| 1.0 / (at + 1) as f64)
    }

    /// The share of relevant ones that stand among the first `k`; `None` if nothing is relevant.
    pub fn recall(&self, k: usize) -> Option<f64> {
        let found = self.gains.iter().take(k).filter(|&&gain| gain > 0.0).count() as f64;
        self.asks().then(|| found / self.relevant())
    }

    /// Precision at the rank of each relevant one, averaged over all that are relevant; `None` if nothing is.
    pub fn average_precision(&self) -> Option<f64> {
        let (mut found, mut sum) = (0.0, 0.0);
        for (at, _) in self.gains.iter().enumerate().filter(|(_, gain)| **gain > 0.0) {
            found += 1.0;
            sum += found / (at + 1) as f64;
        }
        self.asks().then(|| sum / self.relevant())
    }

    /// Gain of the first `k`, each divided by the logarithm of its rank plus one, by that of the best order of all; `None`
    /// if nothing is relevant.
    pub fn ndcg(&self, k: usize) -> Option<f64> {
        let discounted = |gains: &[f64]| -> f64 {
            let gains = gains.iter().take(k).enumerate();
            gains.map(|(at, gain)| gain / ((at + 2) as f64).log2()).sum()
        };
        let mut best = [&self.gains[..], &self.missed[..]].concat();
        best.sort_by(|a, b| b.total_cmp(a));
        self.asks().then(|| discounted(&self.gains) / discounted(&best)).filter(|value| value.is_finite())
    }
}

/// Measures of ranked lists, each the mean over the lists that have something relevant to find, in their order or missed.
///
/// # Errors
/// No lists, a gain that is negative, NaN or infinite.
pub fn ranking(lists: &[Ranked]) -> Result<Vec<Summed>, MetricError> {
    for (row, list) in lists.iter().enumerate() {
        if let Some(&got) = list.gains.iter().chain(&list.missed).find(|gain| !gain.is_finite()) {
            return Err(MetricError::NotFinite { what: "gain of a candidate", row, column: None, got });
        }
        if let Some(&got) = list.gains.iter().chain(&list.missed).find(|&&gain| gain < 0.0) {
            return Err(MetricError::OutOfRange {
                option: "gain of a candidate",
                expected: "0 or more",
                got,
            });
        }
    }
    let mean = |spec: &MetricSpec, of: &dyn Fn(&Ranked) -> Option<f64>| {
        let row = |list: &Ranked| match of(list).filter(|_| list.asks()) {
            Some(value) => [value, 1.0],
            None => [0.0, 0.0],
        };
        Summed::new(spec.name, 2, lists.iter().flat_map(row).collect(), first_by_second)
    };
    let share = |hit: bool| Some(f64::from(u8::from(hit)));
    Ok(vec![
        mean(&NDCG_10, &|list| list.ndcg(10))?,
        mean(&MRR, &|list| Some(list.reciprocal_rank()))?,
        mean(&MAP, &Ranked::average_precision)?,
        mean(&HITS_1, &|list| share(list.hits(1)))?,
        mean(&HITS_3, &|list| share(list.hits(3)))?,
        mean(&HITS_10, &|list| share(list.hits(10)))?,
        mean(&RECALL_10, &|list| list.recall(10))?,
        mean(&RECALL_100, &|list| list.recall(100))?,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_by_score_and_by_name_are_the_same() {
        let gains = [0.0, 2.0, 0.0, 1.0];
        let by_scores = Ranked::by_scores(&[0.5f32, 0.9, 0.9, -0.0], &gains).unwrap();
        assert_eq!(by_scores.gains, [2.0, 0.0, 0.0, 1.0]);
        let by_names = Ranked::by_names(&["b", "c", "a", "b"], &[("b", 2.0), ("d", 1.0)]);
        assert_eq!(by_names, Ranked { gains: vec![2.0, 0.0, 0.0, 0.0], missed: vec![1.0] });
        assert_eq!((by_names.recall(10), by_scores.recall(10)), (Some(0.5), Some(1.0)));
        assert_eq!((by_names.average_precision(), by_names.hits(1)), (Some(0.5), true));
    }

    #[test]
    fn lists_with_nothing_to_find_are_left_out() {
        let lists = [Ranked { gains: vec![0.0, 1.0], missed: vec![] }, Ranked::default()];
        for summed in ranking(&lists).unwrap() {
            let alone =
                ranking(&lists[..1]).unwrap().into_iter().find(|other| other.name == summed.name).unwrap();
            assert_eq!(summed.of().unwrap(), alone.of().unwrap(), "{}", summed.name);
        }
        for summed in ranking(&lists[1..]).unwrap() {
            assert!(summed.of().is_err(), "{}", summed.name);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(ranking(&[]).unwrap_err(), MetricError::Empty);
        assert!(Ranked::by_scores(&[1.0], &[1.0, 2.0]).is_err());
        assert!(Ranked::by_scores(&[1.0, f64::NAN], &[1.0, 2.0]).unwrap_err().to_string().contains("row 1"));
        let bad =
            |gain: f64| ranking(&[Ranked { gains: vec![gain], missed: vec![] }]).unwrap_err().to_string();
        assert!(bad(f64::INFINITY).contains("row 0") && bad(-1.0).contains("0 or more"));
    }
}
