//! Dependency trees from scores: the best tree over the words of a sentence.

use burn::tensor::Tensor;
use topwork_nn::Pass;
use topwork_text::Packed;

use crate::error::Error;
use crate::model::Model;

/// What a word hangs on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attached {
    /// The word it depends on, counted from 1 among the words marked in its text; 0 is the root.
    pub head: u32,
    /// The number of its relation to it.
    pub relation: u32,
    /// The head's share of the softmax over all heads, times the relation's over all relations.
    pub probability: f32,
}

impl Model {
    /// The dependency tree over the marked words of each text.
    ///
    /// # Shapes
    /// - `features`: as [`Model::features`] returns them for `input`
    /// - returns: for each text one entry a marked word
    ///
    /// # Errors
    /// [`Error::NoTrees`] for a head that gives none; [`Error::Marks`] for words that are not in their text; [`Error::NoNumber`] for
    /// scores that are no numbers; a parameter without values.
    pub fn trees(
        &self,
        pass: &Pass,
        features: Tensor<2>,
        input: &Packed,
    ) -> Result<Vec<Vec<Attached>>, Error> {
        let head = self.parts().1;
        head.parser().ok_or(Error::NoTrees { head: self.spec().name() })?.trees(pass, features, input)
    }
}

/// How much a tree is worth: how few words hang on the root, where that counts, and then its score. Compared in this order; as
/// sums and differences of such pairs compare like those of numbers, what finds the best tree by score finds the best by both.
///
/// Paper: Stanojević and Cohen 2021, "A Root of a Problem: Optimizing Single-Root Dependency Parsing" (its reweighting; differs from
/// the paper in that pairs stand in the place of a large number that is taken off), <https://aclanthology.org/2021.emnlp-main.823>
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
struct Worth {
    fewer_roots: i32,
    score: f64,
}

impl Worth {
    fn less(self, other: Worth) -> Worth {
        Worth { fewer_roots: self.fewer_roots - other.fewer_roots, score: self.score - other.score }
    }
}

/// The tree over the words of a sentence whose arcs have the highest sum of scores: the head of each word, counted from 1, 0 for
/// the root. With `one_root` exactly one word hangs on the root. Of equal heads the first is preferred.
///
/// Papers: Chu and Liu 1965, "On the shortest arborescence of a directed graph"; Edmonds 1967, "Optimum branchings", section 3,
/// <https://doi.org/10.6028/jres.071b.032>; for parsing: McDonald et al. 2005, "Non-projective Dependency Parsing using Spanning
/// Tree Algorithms", section 2.2, <https://aclanthology.org/H05-1066>
///
/// # Shapes
/// - `scores`: `[words, words + 1]`, of each word with the root and with each word as its head, finite; what a word scores as its
///   own head is not looked at
/// - returns: `[words]`
///
/// # Panics
/// If there are not as many scores.
pub fn best_tree(scores: &[f32], words: usize, one_root: bool) -> Vec<u32> {
    assert_eq!(scores.len(), words * (words + 1), "a score for each pair of {words} words and the root");
    let nodes = words + 1;
    let mut worth = vec![Worth { fewer_roots: 0, score: 0.0 }; nodes * nodes];
    for (word, row) in scores.chunks_exact(nodes.max(1)).enumerate() {
        for (head, &score) in row.iter().enumerate() {
            let fewer_roots = -i32::from(one_root && head == 0);
            worth[(word + 1) * nodes + head] = Worth { fewer_roots, score: f64::from(score) };
        }
    }
    best_heads(&worth, nodes).into_iter().skip(1).map(|head| head as u32).collect()
}

/// The best head of each node of a complete graph whose root is node 0 (which has none, and stands as 0): `worth[node * nodes +
/// head]`.
fn best_heads(worth: &[Worth], nodes: usize) -> Vec<usize> {
    let of = |node: usize, head: usize| worth[node * nodes + head];
    let best_of = |node: usize, heads: &mut dyn Iterator<Item = usize>| {
        let better = |best: usize, head: usize| if of(node, head) > of(node, best) { head } else { best };
        heads.filter(|&head| head != node).reduce(better).unwrap_or(0)
    };
    let mut heads: Vec<usize> =
        (0..nodes).map(|node| if node == 0 { 0 } else { best_of(node, &mut (0..nodes)) }).collect();
    let Some(circle) = circle(&heads) else { return heads };

    // The circle becomes one node, the last of the smaller graph.
    let outside: Vec<usize> = (0..nodes).filter(|node| !circle.contains(node)).collect();
    let small = outside.len() + 1;
    let last = outside.len();
    let mut inner = vec![Worth { fewer_roots: 0, score: 0.0 }; small * small];
    // Where the circle is entered from each node outside, and where each of them leaves it.
    let (mut entered, mut left) = (vec![0; last], vec![0; last]);
    for (at, &node) in outside.iter().enumerate() {
        for (from, &head) in outside.iter().enumerate() {
            inner[at * small + from] = of(node, head);
        }
        left[at] = best_of(node, &mut circle.iter().copied());
        inner[at * small + last] = of(node, left[at]);
        // What is won by hanging a node of the circle on this one, instead of on the one before it.
        let won = |inside: usize| of(inside, node).less(of(inside, heads[inside]));
        let better = |best: usize, inside: usize| if won(inside) > won(best) { inside } else { best };
        entered[at] = circle.iter().copied().reduce(better).unwrap_or(circle[0]);
        inner[last * small + at] = won(entered[at]);
    }
    let found = best_heads(&inner, small);
    for (at, &node) in outside.iter().enumerate().skip(1) {
        heads[node] = if found[at] == last { left[at] } else { outside[found[at]] };
    }
    let from = found[last];
    heads[entered[from]] = outside[from];
    heads
}

/// A circle among heads, in rising order; `None` in a tree.
fn circle(heads: &[usize]) -> Option<Vec<usize>> {
    // The node from which each one was reached first; 0 for not yet.
    let mut reached = vec![0; heads.len()];
    for start in 1..heads.len() {
        let mut node = start;
        while node != 0 && reached[node] == 0 {
            reached[node] = start;
            node = heads[node];
        }
        if node != 0 && reached[node] == start {
            let mut circle = vec![node];
            let mut next = heads[node];
            while next != node {
                circle.push(next);
                next = heads[next];
            }
            circle.sort_unstable();
            return Some(circle);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Whether each word reaches the root, and how many hang on it.
    fn tree(heads: &[u32]) -> Option<usize> {
        for start in 1..=heads.len() {
            let mut node = start;
            for _ in 0..heads.len() {
                node = if node == 0 { 0 } else { heads[node - 1] as usize };
            }
            if node != 0 {
                return None;
            }
        }
        Some(heads.iter().filter(|&&head| head == 0).count())
    }

    fn total(scores: &[f32], heads: &[u32]) -> f64 {
        let nodes = heads.len() + 1;
        heads.iter().enumerate().map(|(word, &head)| f64::from(scores[word * nodes + head as usize])).sum()
    }

    /// The highest sum of all trees, by going through every choice of heads.
    fn best_of_all(scores: &[f32], words: usize, one_root: bool) -> (f64, usize) {
        let (mut best, mut seen) = (f64::NEG_INFINITY, 0);
        for number in 0..(words + 1).pow(words as u32) {
            let digit = |word: usize| (number / (words + 1).pow(word as u32) % (words + 1)) as u32;
            let heads: Vec<u32> = (0..words).map(digit).collect();
            if tree(&heads).is_some_and(|roots| roots == 1 || !one_root) {
                seen += 1;
                best = best.max(total(scores, &heads));
            }
        }
        (best, seen)
    }

    /// Whole numbers, whose sums are exact; few of them, so that there are equal ones.
    fn sentences(most: usize, spread: i32) -> impl Strategy<Value = (usize, Vec<f32>)> {
        (1..=most).prop_flat_map(move |words| {
            let score = (-spread..=spread).prop_map(|score| score as f32);
            (Just(words), prop::collection::vec(score, words * (words + 1)))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn no_tree_is_better((words, scores) in sentences(5, 6), one_root in any::<bool>()) {
            let heads = best_tree(&scores, words, one_root);
            let roots = tree(&heads);
            prop_assert!(roots.is_some(), "{heads:?} is no tree");
            prop_assert!(roots == Some(1) || !one_root, "{heads:?}");
            let (best, seen) = best_of_all(&scores, words, one_root);
            prop_assert!(seen > 0);
            prop_assert_eq!(total(&scores, &heads), best);
        }

        #[test]
        fn long_sentences_become_trees((words, scores) in sentences(40, 1000), one_root in any::<bool>()) {
            let heads = best_tree(&scores, words, one_root);
            let roots = tree(&heads);
            prop_assert!(roots == Some(1) || (roots.is_some() && !one_root), "{heads:?}");
            // Other scores of all heads of a word change nothing.
            let moved: Vec<f32> = scores
                .chunks(words + 1)
                .enumerate()
                .flat_map(|(word, row)| row.iter().map(move |score| score + 64.0 * word as f32))
                .collect();
            prop_assert_eq!(best_tree(&moved, words, one_root), heads);
        }
    }

    #[test]
    fn all_trees_are_counted() {
        // Cayley's formula: (words + 1)^(words - 1) trees with the root, words^(words - 1) with one word on it.
        for (words, any, one) in [(1, 1, 1), (2, 3, 2), (3, 16, 9), (4, 125, 64)] {
            let scores = vec![0.0; words * (words + 1)];
            assert_eq!(best_of_all(&scores, words, false).1, any);
            assert_eq!(best_of_all(&scores, words, true).1, one);
        }
    }

    #[test]
    fn one_root_is_taken_at_any_price() {
        // Both words want the root; the second gives less for it.
        let scores = [1e6, 0.0, -1e6, 2e6, -3e6, 0.0];
        assert_eq!(best_tree(&scores, 2, false), [0, 0]);
        assert_eq!(best_tree(&scores, 2, true), [2, 0]);
        assert_eq!(best_tree(&[], 0, true), [0u32; 0]);
    }
}
