//! Cosine similarity between the words of a file: neighbours, similarities, analogies.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::path::Path;

use topwork_kernels::gemm::{self, Mat, MatMut, Precision};
use topwork_weights::WordVectors;

use crate::error::Error;

/// Word vectors with their lengths.
pub struct Space {
    vectors: WordVectors,
    /// The length of each; 0 for a vector of zeros, which is near to nothing.
    lengths: Vec<f32>,
}

/// A word and how near it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbour {
    /// The word.
    pub word: String,
    /// Cosine similarity, or what an [`Objective`] makes of several.
    pub similarity: f32,
}

/// How an analogy is solved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Objective {
    /// 3CosAdd: the word nearest to `a - b + c`, each of length one.
    /// Paper: Mikolov et al. 2013, section 4, "Linguistic Regularities in Continuous Space Word Representations",
    /// <https://aclanthology.org/N13-1090>.
    #[default]
    Add,
    /// 3CosMul: the word that is near to `a` and `c` and not to `b`, as a product of similarities moved into [0, 1].
    /// Paper: Levy and Goldberg 2014, equation 4, "Linguistic Regularities in Sparse and Explicit Word
    /// Representations", <https://aclanthology.org/W14-1618>.
    Multiply,
}

/// Keeps the divisor of 3CosMul away from zero, as the paper does.
const EPSILON: f32 = 1e-6;

/// How many words are looked through for one that may have been meant.
const GUESSES: usize = 100_000;

impl Space {
    /// A space over vectors.
    pub fn new(vectors: WordVectors) -> Self {
        let lengths = vectors.data().chunks(vectors.width().max(1)).map(length).collect();
        Space { vectors, lengths }
    }

    /// Opens a file of vectors, at most its first `limit` words.
    ///
    /// # Errors
    /// As [`WordVectors::open`].
    pub fn open(path: impl AsRef<Path>, limit: Option<usize>) -> Result<Self, Error> {
        Ok(Self::new(WordVectors::open_first(path, limit.unwrap_or(usize::MAX))?))
    }

    /// The vectors.
    pub fn vectors(&self) -> &WordVectors {
        &self.vectors
    }

    /// A word's vector, of length one.
    ///
    /// # Errors
    /// [`Error::NoVector`]; a vector of zeros.
    pub fn direction(&self, word: &str) -> Result<Vec<f32>, Error> {
        let Some(vector) = self.vectors.vector(word) else {
            let (count, hint) = (self.vectors.len(), self.hint(word));
            return Err(Error::NoVector { word: word.to_string(), count, hint });
        };
        direction(&vector)
            .ok_or_else(|| Error::Task(format!("the vector of \"{word}\" is zero: it is near to nothing")))
    }

    fn hint(&self, word: &str) -> String {
        let lower = word.to_lowercase();
        let words = || self.vectors.words().iter().take(GUESSES).map(|word| &**word);
        let meant = if self.vectors.index(&lower).is_some() {
            Some(lower.as_str())
        } else {
            crate::nearest::nearest(word, words())
        };
        meant.map_or(String::new(), |meant| format!(": did you mean \"{meant}\"?"))
    }

    /// Cosine similarity of two words.
    ///
    /// # Errors
    /// As [`Space::direction`].
    pub fn similarity(&self, a: &str, b: &str) -> Result<f32, Error> {
        Ok(dot(&self.direction(a)?, &self.direction(b)?))
    }

    /// The `top` words nearest to a word, which is not among them.
    ///
    /// # Errors
    /// As [`Space::direction`].
    pub fn nearest(&self, word: &str, top: usize) -> Result<Vec<Neighbour>, Error> {
        let out: Vec<usize> = self.vectors.index(word).into_iter().collect();
        Ok(self.nearest_to(&self.direction(word)?, &out, top))
    }

    /// The `top` words nearest to a vector, those at `out` left out.
    ///
    /// # Panics
    /// If the vector has another width.
    pub fn nearest_to(&self, vector: &[f32], out: &[usize], top: usize) -> Vec<Neighbour> {
        let count = self.vectors.len();
        let direction = direction(vector).unwrap_or_else(|| vector.to_vec());
        let scores = self.products(&direction, count);
        self.neighbours(best(count, top, out, |at| self.cosine(at, scores[at])))
    }

    /// `a - b + c`: what is to `c` as `a` is to `b` ("king" - "man" + "woman"). The three are not among the answers.
    ///
    /// # Errors
    /// As [`Space::direction`].
    pub fn analogy(
        &self,
        a: &str,
        b: &str,
        c: &str,
        objective: Objective,
        top: usize,
    ) -> Result<Vec<Neighbour>, Error> {
        let directions = [self.direction(a)?, self.direction(b)?, self.direction(c)?];
        let out: Vec<usize> = [a, b, c].iter().filter_map(|word| self.vectors.index(word)).collect();
        let count = self.vectors.len();
        let queries = objective.queries(&directions);
        let scores = self.products(&queries, count);
        Ok(self.neighbours(best(count, top, &out, |at| objective.score(self, &scores, count, at))))
    }

    fn neighbours(&self, best: Vec<(usize, f32)>) -> Vec<Neighbour> {
        let words = self.vectors.words();
        best.into_iter()
            .map(|(at, similarity)| Neighbour { word: words[at].to_string(), similarity })
            .collect()
    }

    /// Products of queries with the first `count` vectors as they are.
    ///
    /// # Shapes
    /// - `queries`: `[queries, width]`
    /// - returns: `[queries, count]`
    pub(super) fn products(&self, queries: &[f32], count: usize) -> Vec<f32> {
        let width = self.vectors.width();
        let rows = queries.len() / width;
        let mut scores = vec![0.0; rows * count];
        let (queries, words) =
            (Mat::new(queries, rows, width), Mat::new(&self.vectors.data()[..count * width], count, width));
        gemm::nt(queries, words, MatMut::new(&mut scores, rows, count), None, false, Precision::F32);
        scores
    }

    /// The similarity behind a product with the vector at `at`; `None` where that is zero.
    pub(super) fn cosine(&self, at: usize, product: f32) -> Option<f32> {
        (self.lengths[at] > 0.0).then(|| product / self.lengths[at])
    }
}

impl Objective {
    /// How many queries an analogy takes.
    pub(super) fn per_analogy(self) -> usize {
        match self {
            Objective::Add => 1,
            Objective::Multiply => 3,
        }
    }

    /// What the vectors are multiplied with for an analogy of these directions.
    pub(super) fn queries(self, [a, b, c]: &[Vec<f32>; 3]) -> Vec<f32> {
        match self {
            Objective::Add => {
                let sum: Vec<f32> = (0..a.len()).map(|at| a[at] - b[at] + c[at]).collect();
                direction(&sum).unwrap_or(sum)
            }
            Objective::Multiply => [&a[..], b, c].concat(),
        }
    }

    /// The score of the word at `at`, from the products of [`Objective::queries`].
    pub(super) fn score(self, space: &Space, products: &[f32], count: usize, at: usize) -> Option<f32> {
        match self {
            Objective::Add => space.cosine(at, products[at]),
            Objective::Multiply => {
                let shifted =
                    |query: usize| Some((1.0 + space.cosine(at, products[query * count + at])?) / 2.0);
                Some(shifted(0)? * shifted(2)? / (shifted(1)? + EPSILON))
            }
        }
    }
}

/// The `top` best of `count` scores, those at `out` left out; of equals the first comes first.
pub(crate) fn best(
    count: usize,
    top: usize,
    out: &[usize],
    score: impl Fn(usize) -> Option<f32>,
) -> Vec<(usize, f32)> {
    /// Ordered so that the worst is the greatest, which a heap gives up first.
    struct Kept(f32, usize);
    impl Kept {
        fn key(&self) -> (f32, Reverse<usize>) {
            (self.0, Reverse(self.1))
        }
    }
    impl Ord for Kept {
        fn cmp(&self, other: &Self) -> Ordering {
            let ((a, first), (b, second)) = (self.key(), other.key());
            b.total_cmp(&a).then(second.cmp(&first))
        }
    }
    impl PartialOrd for Kept {
        fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
            Some(self.cmp(other))
        }
    }
    impl PartialEq for Kept {
        fn eq(&self, other: &Self) -> bool {
            self.cmp(other).is_eq()
        }
    }
    impl Eq for Kept {}

    let mut kept: BinaryHeap<Kept> = BinaryHeap::with_capacity(top.min(count) + 1);
    for at in 0..count {
        let Some(score) = score(at) else { continue };
        let full = kept.len() == top;
        // What comes later must be better than the worst, not as good.
        if full && kept.peek().is_none_or(|worst| score <= worst.0) || out.contains(&at) {
            continue;
        }
        if full {
            kept.pop();
        }
        kept.push(Kept(score, at));
    }
    kept.into_sorted_vec().into_iter().map(|Kept(score, at)| (at, score)).collect()
}

/// Cosine similarity of two vectors; 0 where one of them is zero.
pub fn cosine(a: &[f32], b: &[f32]) -> f32 {
    match (direction(a), direction(b)) {
        (Some(a), Some(b)) => dot(&a, &b),
        _ => 0.0,
    }
}

/// The vector of length one in the same direction; `None` for zeros.
pub(super) fn direction(vector: &[f32]) -> Option<Vec<f32>> {
    let length = length(vector);
    (length > 0.0).then(|| vector.iter().map(|value| value / length).collect())
}

fn length(vector: &[f32]) -> f32 {
    vector.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt() as f32
}

pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_come_in_order_and_the_first_of_equals_first() {
        let scores = [0.5, 0.9, 0.5, -1.0, 0.9, 0.7];
        let of = |top, out: &[usize]| {
            best(6, top, out, |at| (at != 3).then_some(scores[at]))
                .into_iter()
                .map(|(at, _)| at)
                .collect::<Vec<_>>()
        };
        assert_eq!(of(3, &[]), [1, 4, 5]);
        assert_eq!(of(4, &[4]), [1, 5, 0, 2]);
        assert_eq!(of(9, &[]), [1, 4, 5, 0, 2]);
        assert!(of(0, &[]).is_empty());
    }

    #[test]
    fn zeros_are_near_to_nothing_and_unknown_words_are_named() {
        let space = Space::new(WordVectors::new(["a", "Zero", "b"], 2, &[1.0, 0.0, 0.0, 0.0, 0.6, 0.8]));
        let near = space.nearest("a", 5).unwrap();
        assert_eq!(near, [Neighbour { word: "b".into(), similarity: 0.6 }]);
        assert!(space.nearest("Zero", 1).unwrap_err().to_string().contains("is zero"));
        let error = space.similarity("a", "Zeros").unwrap_err().to_string();
        assert!(error.contains("none of the 3 words") && error.contains("did you mean \"Zero\""), "{error}");
        assert!(space.nearest("A", 1).unwrap_err().to_string().contains("\"a\""));
        assert_eq!(cosine(&[2.0, 0.0], &[0.0, 0.0]), 0.0);
    }
}
