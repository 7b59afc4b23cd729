//! Vectors of two languages in one space: a rotation learnt from pairs that mean the same, and how often it leads to the right one.
//!
//! Paper: Schönemann 1966, "A generalized solution of the orthogonal Procrustes problem",
//! <https://doi.org/10.1007/BF02289451>; for words of two languages, Xing et al. 2015, "Normalized Word Embedding and Orthogonal
//! Transform for Bilingual Word Translation", section 3, <https://aclanthology.org/N15-1104>, and Artetxe, Labaka, Agirre 2016,
//! "Learning principled bilingual mappings of word embeddings while preserving monolingual invariance", section 2 (lengths and
//! means), <https://aclanthology.org/D16-1250>

use std::collections::{BTreeMap, BTreeSet};

use nalgebra::DMatrix;
use rayon::prelude::*;
use serde::Serialize;
use topwork_kernels::gemm::{self, Mat, MatMut, Precision};
use topwork_kernels::rng::{Stream, derive};

use crate::error::Error;

/// How many neighbours the nearness of a neighbourhood is measured by.
///
/// Paper: Conneau et al. 2018, "Word Translation Without Parallel Data", section 2.3, <https://arxiv.org/abs/1710.04087>
const NEIGHBOURS: usize = 10;

/// A rotation of the vectors of a source onto those of a target, with what is done to them before.
#[derive(Clone, Debug, PartialEq)]
pub struct Alignment {
    /// `[width, width]`, row-major: a row vector times it is where it goes.
    pub map: Vec<f32>,
    /// What is taken off source vectors of length one before they are made so again.
    pub source_mean: Vec<f32>,
    /// The same of target vectors.
    pub target_mean: Vec<f32>,
}

impl Alignment {
    /// Learns one from rows that mean the same: of all rotations and reflections that which brings them nearest.
    ///
    /// # Shapes
    /// - `source`, `target`: `[pairs, width]`
    ///
    /// # Errors
    /// [`Error::Task`] for fewer than two pairs, vectors of other widths, or values that are no numbers.
    pub fn learn(source: &[f32], target: &[f32], width: usize) -> Result<Self, Error> {
        let wrong = |what: &str| Error::Task(format!("align: {what}"));
        if width == 0 || source.len() != target.len() || !source.len().is_multiple_of(width) {
            return Err(wrong(
                "source and target have other widths: only vectors of one width can be rotated",
            ));
        }
        if source.len() < 2 * width {
            return Err(wrong("fewer than two pairs to learn from"));
        }
        if source.iter().chain(target).any(|value| !value.is_finite()) {
            return Err(wrong("a vector has values that are no numbers"));
        }
        let (source, source_mean) = prepared(source, width, None);
        let (target, target_mean) = prepared(target, width, None);
        Ok(Alignment { map: procrustes(&source, &target, width)?, source_mean, target_mean })
    }

    /// Source vectors where the target's are, of length one.
    ///
    /// # Shapes
    /// - `source` and the result: `[rows, width]`
    pub fn of_source(&self, source: &[f32]) -> Vec<f32> {
        let width = self.source_mean.len();
        product(&prepared(source, width, Some(&self.source_mean)).0, &self.map, width)
    }

    /// Target vectors, of length one, as they are compared with those.
    ///
    /// # Shapes
    /// - `target` and the result: `[rows, width]`
    pub fn of_target(&self, target: &[f32]) -> Vec<f32> {
        prepared(target, self.target_mean.len(), Some(&self.target_mean)).0
    }
}

/// The orthogonal map `W` for which `source W` is nearest to `target`: `U Vᵀ` of the singular value decomposition of
/// `sourceᵀ target`.
///
/// # Shapes
/// - `source`, `target`: `[pairs, width]`; returns `[width, width]`, row-major
///
/// # Errors
/// [`Error::Task`] if the decomposition does not converge.
pub fn procrustes(source: &[f32], target: &[f32], width: usize) -> Result<Vec<f32>, Error> {
    let matrix = |rows: &[f32]| {
        DMatrix::from_row_iterator(rows.len() / width, width, rows.iter().map(|value| f64::from(*value)))
    };
    let across = matrix(source).transpose() * matrix(target);
    let failed = || Error::Task("align: the singular value decomposition did not converge".to_string());
    let svd = across.try_svd(true, true, f64::EPSILON, 10_000).ok_or_else(failed)?;
    let (Some(u), Some(vt)) = (svd.u, svd.v_t) else { return Err(failed()) };
    // Row-major: the columns of the transpose.
    Ok((u * vt).transpose().iter().map(|value| *value as f32).collect())
}

/// Rows of length one; those of zeros stay.
///
/// # Shapes
/// - `rows` and the result: `[rows, width]`
pub fn unit(mut rows: Vec<f32>, width: usize) -> Vec<f32> {
    rows.par_chunks_exact_mut(width).for_each(|row| {
        let length = row.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
        if length > 0.0 {
            row.iter_mut().for_each(|value| *value = (f64::from(*value) / length) as f32);
        }
    });
    rows
}

/// Rows of length one, less their mean (or the one given), and of length one again; and the mean.
fn prepared(rows: &[f32], width: usize, mean: Option<&[f32]>) -> (Vec<f32>, Vec<f32>) {
    let mut rows = unit(rows.to_vec(), width);
    let own = || {
        let mut sums = vec![0.0_f64; width];
        for row in rows.chunks_exact(width) {
            sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
        }
        let count = (rows.len() / width).max(1) as f64;
        sums.into_iter().map(|sum| (sum / count) as f32).collect()
    };
    let mean = mean.map_or_else(own, <[f32]>::to_vec);
    rows.par_chunks_exact_mut(width)
        .for_each(|row| row.iter_mut().zip(&mean).for_each(|(value, mean)| *value -= mean));
    (unit(rows, width), mean)
}

/// Rows times a square matrix.
fn product(rows: &[f32], map: &[f32], width: usize) -> Vec<f32> {
    let mut out = vec![0.0; rows.len()];
    let count = rows.len() / width;
    let (rows, map) = (Mat::new(rows, count, width), Mat::new(map, width, width));
    gemm::nn(rows, map, MatMut::new(&mut out, count, width), false, Precision::F32);
    out
}

/// How often the right target is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Retrieval {
    /// Rows that were asked about.
    pub queries: usize,
    /// Rows there were to choose from.
    pub candidates: usize,
    /// The share for which a right one is nearest by cosine.
    pub p_at_1: f64,
    /// The share for which a right one is among the five nearest.
    pub p_at_5: f64,
    /// The share for which a right one is first when rows that are near to everything count as farther (CSLS).
    pub csls_p_at_1: f64,
}

/// Asks which candidates are nearest to each query.
///
/// # Shapes
/// - `queries`: `[queries, width]`, `candidates`: `[candidates, width]`, both of length one; `right`: for each query the candidates
///   that are right
///
/// # Errors
/// [`Error::Task`] without queries or candidates.
pub fn retrieval(
    queries: &[f32],
    candidates: &[f32],
    width: usize,
    right: &[Vec<usize>],
) -> Result<Retrieval, Error> {
    let (count, all) = (queries.len() / width, candidates.len() / width);
    if count == 0 || all == 0 || right.len() != count {
        return Err(Error::Task("align: no pair is left to measure with: give more pairs".to_string()));
    }
    let near_queries = nearness(queries, candidates, width);
    let near_candidates = nearness(candidates, queries, width);
    let hits = against(queries, candidates, width, |at, scores| {
        let by_cosine = rank(scores, &right[at]);
        let farther = |(score, near): (&mut f32, &f32)| *score = 2.0 * *score - near_queries[at] - near;
        scores.iter_mut().zip(&near_candidates).for_each(farther);
        [by_cosine < 1, by_cosine < 5, rank(scores, &right[at]) < 1]
    });
    let share = |which: usize| hits.iter().filter(|hit| hit[which]).count() as f64 / count as f64;
    Ok(Retrieval {
        queries: count,
        candidates: all,
        p_at_1: share(0),
        p_at_5: share(1),
        csls_p_at_1: share(2),
    })
}

/// Rows whose products with all others are computed at once.
const BLOCK: usize = 64;

/// What is made of the products of each row with all others.
fn against<T: Send>(
    rows: &[f32],
    others: &[f32],
    width: usize,
    each: impl Fn(usize, &mut [f32]) -> T + Sync,
) -> Vec<T> {
    let all = others.len() / width;
    let mut found = Vec::with_capacity(rows.len() / width);
    let mut scores = Vec::new();
    for (block, rows) in rows.chunks(BLOCK * width).enumerate() {
        let count = rows.len() / width;
        scores.resize(count * all, 0.0);
        let (rows, others) = (Mat::new(rows, count, width), Mat::new(others, all, width));
        gemm::nt(rows, others, MatMut::new(&mut scores, count, all), None, false, Precision::F32);
        let of = scores.par_chunks_exact_mut(all).enumerate();
        found.par_extend(of.map(|(row, scores)| each(block * BLOCK + row, scores)));
    }
    found
}

/// How many others stand before the best of the right ones; of equals the right one stands behind.
fn rank(scores: &[f32], right: &[usize]) -> usize {
    let best = right.iter().map(|&at| scores[at]).fold(f32::NEG_INFINITY, f32::max);
    scores.iter().enumerate().filter(|(at, score)| **score >= best && !right.contains(at)).count()
}

/// For each row the mean cosine of its nearest others.
fn nearness(rows: &[f32], others: &[f32], width: usize) -> Vec<f32> {
    against(rows, others, width, |_, scores| {
        let count = NEIGHBOURS.min(scores.len());
        scores.select_nth_unstable_by(count - 1, |a, b| b.total_cmp(a));
        // In one order, whatever the selection leaves.
        scores[..count].sort_by(|a, b| b.total_cmp(a));
        scores[..count].iter().sum::<f32>() / count as f32
    })
}

/// Rows that mean the same: of the source, of the target.
pub type Pair = (usize, usize);

/// Pairs to learn from and pairs that are held out, each source in one of the two alone; which, a seed draws.
pub fn held_out(pairs: &[Pair], share: f64, seed: u64) -> (Vec<Pair>, Vec<Pair>) {
    let mut sources: Vec<usize> =
        pairs.iter().map(|pair| pair.0).collect::<BTreeSet<_>>().into_iter().collect();
    Stream(derive(seed, "align/held out")).shuffle(&mut sources);
    let count = (sources.len() as f64 * share).round() as usize;
    let out: BTreeSet<usize> = sources.into_iter().take(count).collect();
    pairs.iter().partition(|pair| !out.contains(&pair.0))
}

/// Each source of some pairs once, with all of its targets.
pub fn by_source(pairs: &[Pair]) -> BTreeMap<usize, Vec<usize>> {
    let mut all: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for &(source, target) in pairs {
        all.entry(source).or_default().push(target);
    }
    all
}

#[cfg(test)]
mod tests {
    use topwork_testkit::close;

    use super::*;

    /// What numpy makes of some pairs (`fixtures/make/align.py`).
    fn golden() -> serde_json::Value {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/align/golden.json");
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    fn floats(value: &serde_json::Value) -> Vec<f32> {
        let rows = value.as_array().unwrap().iter();
        rows.flat_map(|row| row.as_array().unwrap()).map(|value| value.as_f64().unwrap() as f32).collect()
    }

    #[test]
    fn the_map_and_what_it_finds_are_those_of_numpy() {
        let golden = golden();
        let width = golden["width"].as_u64().unwrap() as usize;
        let [source, target] = ["source", "target"].map(|name| floats(&golden[name]));
        let train = golden["train"].as_u64().unwrap() as usize * width;
        let learnt = Alignment::learn(&source[..train], &target[..train], width).unwrap();
        close(&learnt.map, &floats(&golden["map"]), 1e-5).unwrap();
        let moved = learnt.of_source(&source[train..]);
        close(&moved, &floats(&golden["moved"]), 1e-5).unwrap();
        let candidates = learnt.of_target(&target[train..]);
        let right: Vec<Vec<usize>> = (0..moved.len() / width).map(|at| vec![at]).collect();
        let found = retrieval(&moved, &candidates, width, &right).unwrap();
        for (own, name) in
            [(found.p_at_1, "p-at-1"), (found.p_at_5, "p-at-5"), (found.csls_p_at_1, "csls-p-at-1")]
        {
            assert!((own - golden[name].as_f64().unwrap()).abs() < 1e-12, "{name}: {own}");
        }
        // The three are told apart by this fixture.
        assert!(found.p_at_1 < found.csls_p_at_1 && found.csls_p_at_1 < found.p_at_5, "{found:?}");
        assert_eq!((found.queries, found.candidates), (right.len(), right.len()));
    }

    #[test]
    fn a_map_turns_and_changes_no_length() {
        let golden = golden();
        let width = golden["width"].as_u64().unwrap() as usize;
        let source = floats(&golden["source"]);
        let learnt = Alignment::learn(&source, &floats(&golden["target"]), width).unwrap();
        for a in 0..width {
            for b in 0..width {
                let dot: f32 =
                    (0..width).map(|k| learnt.map[a * width + k] * learnt.map[b * width + k]).sum();
                assert!((dot - f32::from(u8::from(a == b))).abs() < 1e-5, "{a} {b}: {dot}");
            }
        }
    }

    #[test]
    fn of_equals_the_right_one_stands_behind_and_any_of_several_counts() {
        assert_eq!(rank(&[0.5, 0.9, 0.5, 0.1], &[0]), 2);
        assert_eq!(rank(&[0.5, 0.9, 0.5, 0.1], &[3, 1]), 0);
    }

    #[test]
    fn what_cannot_be_learnt_from_is_refused() {
        let said =
            |source: &[f32], target: &[f32]| Alignment::learn(source, target, 2).unwrap_err().to_string();
        assert!(said(&[1.0, 0.0], &[1.0, 0.0]).contains("fewer than two pairs"));
        assert!(said(&[1.0; 4], &[1.0; 6]).contains("other widths"));
        assert!(said(&[1.0, f32::NAN, 0.0, 1.0], &[1.0; 4]).contains("no numbers"));
        assert!(retrieval(&[], &[1.0, 0.0], 2, &[]).is_err());
    }

    #[test]
    fn a_source_is_learnt_from_or_measured_with_all_of_its_targets() {
        let pairs: Vec<(usize, usize)> = (0..100).map(|at| (at / 2, at)).collect();
        let (learnt, out) = held_out(&pairs, 0.2, 3);
        assert_eq!((learnt.len(), out.len()), (80, 20));
        assert!(out.iter().all(|pair| learnt.iter().all(|other| other.0 != pair.0)));
        assert_eq!(held_out(&pairs, 0.2, 3).1, out);
        assert_ne!(held_out(&pairs, 0.2, 4).1, out);
        assert!(by_source(&out).values().all(|targets| targets.len() == 2));
    }
}
