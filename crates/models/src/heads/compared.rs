//! What vectors of several texts are taught together: by which loss, and which texts of a batch are held against which.

use std::sync::Arc;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use topwork_nn::loss::vectors::{self, unit};

use crate::error::Error;

/// A loss of vectors by its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VectorLossKind {
    /// The text that goes with each, among all texts of the batch.
    #[default]
    InBatch,
    /// What goes with a text is nearer than what does not.
    Triplet,
    /// The cosine of a pair is its number.
    Cosine,
    /// Pairs belong together or do not.
    Contrastive,
}

impl VectorLossKind {
    /// Every loss, with one line about it and where it comes from.
    pub const ALL: &[(VectorLossKind, &str, &str, &str)] = &[
        (
            VectorLossKind::InBatch,
            "in-batch",
            "a text is to find the one that goes with it among all of the batch (multiple negatives ranking, InfoNCE)",
            "https://arxiv.org/abs/1705.00652",
        ),
        (
            VectorLossKind::Triplet,
            "triplet",
            "what goes with a text is to be nearer to it than what does not, by a margin",
            "https://arxiv.org/abs/1908.10084",
        ),
        (
            VectorLossKind::Cosine,
            "cosine",
            "the cosine of a pair is to be its number",
            "https://arxiv.org/abs/1908.10084",
        ),
        (
            VectorLossKind::Contrastive,
            "contrastive",
            "pairs with 1 are to be near, pairs with 0 apart by a margin",
            "https://doi.org/10.1109/CVPR.2006.100",
        ),
    ];

    /// The name in recipes.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, ..)| *kind == self).map_or("", |(_, name, ..)| name)
    }

    /// Whether it learns from a number for each pair.
    pub fn scored(self) -> bool {
        matches!(self, VectorLossKind::Cosine | VectorLossKind::Contrastive)
    }
}

/// How vectors are taught.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorLoss {
    /// Which loss.
    pub kind: VectorLossKind,
    /// What cosines are divided by, in `in-batch`.
    pub temperature: f32,
    /// How much further apart what does not belong together is to be; `None` = 1 in `triplet`, 0.5 in `contrastive`.
    pub margin: Option<f32>,
    /// In `in-batch`, also the other way: the text that goes with it is to find its query.
    pub symmetric: bool,
    /// First coordinates that are to do on their own, besides the whole vector: the loss is summed over them.
    ///
    /// Paper: Kusupati et al. 2022, "Matryoshka Representation Learning", section 3, <https://arxiv.org/abs/2205.13147>
    pub dimensions: Vec<usize>,
}

impl Default for VectorLoss {
    fn default() -> Self {
        VectorLoss {
            kind: VectorLossKind::default(),
            temperature: 0.05,
            margin: None,
            symmetric: false,
            dimensions: Vec::new(),
        }
    }
}

/// Texts of a batch that are held against each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    /// Where each example's texts begin, and where the last one's end: `[examples + 1]`. An example is two texts that go
    /// together (or whose likeness is known), and after them any number of texts that do not go with the first.
    pub examples: Arc<[u32]>,
    /// A number for each text, the same for the same text: `[texts]`. What is right for an example is never taken as wrong for it,
    /// wherever in the batch it stands.
    pub same: Arc<[u32]>,
    /// The class that the first two texts of each example share, `[examples]`; empty if there are none. Texts of a class are
    /// never taken as wrong for each other.
    pub classes: Arc<[u32]>,
    /// How alike the two texts of each example are, `[examples]`; empty if that is not known.
    pub scores: Vec<f32>,
}

impl Compared {
    /// The loss of a batch of vectors.
    ///
    /// # Shapes
    /// - `x`: `[texts, width]`; `normalise`: whether vectors have length one, and their first coordinates are to have it too
    /// - returns: `[1]`
    ///
    /// # Errors
    /// [`Error::Compared`] for examples that do not cover the texts or lack what the loss needs, and for settings out of range.
    pub fn loss(&self, x: &Tensor<2>, loss: &VectorLoss, normalise: bool) -> Result<Tensor<1>, Error> {
        let [texts, width] = x.dims();
        self.check(texts, width, loss)?;
        let mut dimensions = loss.dimensions.clone();
        dimensions.push(width);
        dimensions.sort_unstable();
        dimensions.dedup();
        let mut sum: Option<Tensor<1>> = None;
        for first in dimensions {
            let cut = if first == width { x.clone() } else { x.clone().slice([0..texts, 0..first]) };
            let cut = if normalise && first < width { unit(cut) } else { cut };
            let value = self.one(&cut, loss);
            sum = Some(match sum {
                None => value,
                Some(sum) => sum + value,
            });
        }
        sum.ok_or_else(|| wrong(0, "at least one dimension", "none".to_string()))
    }

    /// The loss over whole rows.
    fn one(&self, x: &Tensor<2>, loss: &VectorLoss) -> Tensor<1> {
        let rows = |rows: &[u32]| topwork_ops::embedding(x.clone(), &rows.into());
        let (queries, rights) = (rows(&self.nth(0)), rows(&self.nth(1)));
        match loss.kind {
            VectorLossKind::Cosine => vectors::cosine_regression(queries, rights, &self.scores),
            VectorLossKind::Contrastive => {
                vectors::contrastive(queries, rights, &self.scores, loss.margin.unwrap_or(0.5))
            }
            VectorLossKind::Triplet => {
                let (mut anchor, mut right, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
                for pair in self.examples.windows(2) {
                    for text in pair[0] + 2..pair[1] {
                        anchor.push(pair[0]);
                        right.push(pair[0] + 1);
                        wrong.push(text);
                    }
                }
                vectors::triplet(rows(&anchor), rows(&right), rows(&wrong), loss.margin.unwrap_or(1.0))
            }
            VectorLossKind::InBatch => {
                let candidates = self.candidates();
                let numbers: Arc<[u32]> = (0..self.len() as u32).collect();
                let hidden = self.hidden(&self.nth(0), &self.nth(1), &candidates);
                let there = vectors::in_batch(
                    queries.clone(),
                    rows(&candidates),
                    &numbers,
                    &hidden,
                    loss.temperature,
                );
                if !loss.symmetric {
                    return there;
                }
                let hidden = self.hidden(&self.nth(1), &self.nth(0), &self.nth(0));
                let back = vectors::in_batch(rights, queries, &numbers, &hidden, loss.temperature);
                (there + back) * 0.5
            }
        }
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        self.examples.len().saturating_sub(1)
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The text at this place of each example.
    fn nth(&self, place: u32) -> Vec<u32> {
        self.examples.windows(2).map(|pair| pair[0] + place).collect()
    }

    /// The right text of each example, and then all wrong ones.
    fn candidates(&self) -> Vec<u32> {
        let wrong = self.examples.windows(2).flat_map(|pair| pair[0] + 2..pair[1]);
        self.nth(1).into_iter().chain(wrong).collect()
    }

    /// Which candidates do not count for which query: `[queries, candidates]`. Right ones but its own, and the query itself.
    fn hidden(&self, queries: &[u32], rights: &[u32], candidates: &[u32]) -> Vec<bool> {
        let same = |text: u32| self.same[text as usize];
        let mut hidden = Vec::with_capacity(queries.len() * candidates.len());
        for (example, &query) in queries.iter().enumerate() {
            let partners: Vec<u32> = (0..queries.len())
                .filter(|&other| same(queries[other]) == same(query))
                .map(|other| same(rights[other]))
                .collect();
            for (at, &candidate) in candidates.iter().enumerate() {
                let related = at < self.classes.len() && self.classes[at] == self.classes[example];
                let known = same(candidate) == same(query) || partners.contains(&same(candidate));
                hidden.push(at != example && (related || known));
            }
        }
        hidden
    }

    fn check(&self, texts: usize, width: usize, loss: &VectorLoss) -> Result<(), Error> {
        let examples = self.len();
        if examples == 0 || self.examples[0] != 0 || self.examples[examples] as usize != texts {
            return Err(wrong(
                0,
                "examples that cover the texts of the batch",
                format!("{:?}", self.examples),
            ));
        }
        if self.same.len() != texts || ![0, examples].contains(&self.classes.len()) {
            return Err(wrong(
                0,
                "a number for each text, and a class for each example or none",
                String::new(),
            ));
        }
        if let Some(at) = self.examples.windows(2).position(|pair| pair[1] < pair[0] + 2) {
            return Err(wrong(at, "at least two texts", "fewer".to_string()));
        }
        if loss.kind.scored() && self.scores.len() != examples {
            return Err(wrong(0, "a number for each pair", format!("{} numbers", self.scores.len())));
        }
        if loss.kind == VectorLossKind::Contrastive
            && let Some(at) = self.scores.iter().position(|score| ![0.0, 1.0].contains(score))
        {
            return Err(wrong(at, "1 for texts that belong together or 0", self.scores[at].to_string()));
        }
        let wrongs = texts - 2 * examples;
        if loss.kind == VectorLossKind::Triplet && wrongs == 0 {
            return Err(wrong(0, "a text that does not go with the first", "two texts".to_string()));
        }
        if !(loss.temperature.is_finite() && loss.temperature > 0.0) {
            return Err(wrong(0, "a temperature above 0", loss.temperature.to_string()));
        }
        match loss.dimensions.iter().find(|&&first| first == 0 || first > width) {
            Some(first) => Err(wrong(0, "dimensions from 1 to the width of the vectors", first.to_string())),
            None => Ok(()),
        }
    }
}

fn wrong(example: usize, expected: &'static str, got: String) -> Error {
    Error::Compared { example, expected, got }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    fn compared(examples: &[u32], same: &[u32]) -> Compared {
        Compared { examples: examples.into(), same: same.into(), classes: Arc::from([]), scores: Vec::new() }
    }

    fn vectors(texts: usize) -> Tensor<2> {
        let values: Vec<f32> = (0..texts * 4).map(|n| (n as f32 * 0.7).sin()).collect();
        Tensor::from_data(TensorData::new(values, [texts, 4]), &Device::flex())
    }

    #[test]
    fn what_is_right_for_a_query_is_never_wrong_for_it() {
        // Two examples with the same right text, a third whose query is that of the first, and a wrong text that is its own
        // query.
        let batch = compared(&[0, 2, 4, 6, 9], &[10, 20, 11, 20, 10, 30, 12, 40, 12]);
        let candidates = batch.candidates();
        assert_eq!(candidates, [1, 3, 5, 7, 8]);
        let hidden = batch.hidden(&batch.nth(0), &batch.nth(1), &candidates);
        let expected = [
            [false, true, true, false, false],
            [true, false, false, false, false],
            [true, true, false, false, false],
            [false, false, false, false, true],
        ];
        assert_eq!(hidden, expected.concat());
    }

    #[test]
    fn texts_of_a_class_are_not_held_against_each_other() {
        let mut batch = compared(&[0, 2, 4, 6], &[0, 1, 2, 3, 4, 5]);
        batch.classes = [7, 8, 7].into();
        let hidden = batch.hidden(&batch.nth(0), &batch.nth(1), &batch.candidates());
        assert_eq!(hidden, [false, false, true, false, false, false, true, false, false]);
    }

    #[test]
    fn fewer_dimensions_are_summed() {
        let batch = compared(&[0, 2, 4], &[0, 1, 2, 3]);
        let loss = |dimensions: &[usize]| {
            let loss = VectorLoss { dimensions: dimensions.to_vec(), ..VectorLoss::default() };
            batch.loss(&vectors(4), &loss, false).unwrap().into_scalar::<f32>()
        };
        let narrow = {
            let x = vectors(4).slice([0..4, 0..2]);
            batch.loss(&x, &VectorLoss::default(), false).unwrap().into_scalar::<f32>()
        };
        assert!((loss(&[2]) - loss(&[]) - narrow).abs() < 1e-5);
        assert_eq!(loss(&[4]), loss(&[]));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let refuse = |batch: &Compared, loss: VectorLoss, part: &str| {
            let error = batch.loss(&vectors(4), &loss, true).err().unwrap().to_string();
            assert!(error.contains(part), "{error}");
        };
        let of = |kind| VectorLoss { kind, ..VectorLoss::default() };
        let batch = compared(&[0, 2, 4], &[0, 1, 2, 3]);
        refuse(&batch, of(VectorLossKind::Cosine), "a number for each pair");
        refuse(&batch, of(VectorLossKind::Triplet), "does not go with the first");
        let half = Compared { scores: vec![1.0, 0.5], ..batch.clone() };
        refuse(&half, of(VectorLossKind::Contrastive), "example 1");
        refuse(&batch, VectorLoss { temperature: 0.0, ..VectorLoss::default() }, "temperature above 0");
        refuse(&batch, VectorLoss { dimensions: vec![5], ..VectorLoss::default() }, "dimensions from 1");
        refuse(&compared(&[0, 2], &[0, 1, 2, 3]), VectorLoss::default(), "cover the texts");
        refuse(&compared(&[0, 3, 4], &[0, 1, 2, 3]), VectorLoss::default(), "at least two texts");
        refuse(&compared(&[0, 2, 4], &[0, 1]), VectorLoss::default(), "a number for each text");
    }

    #[test]
    fn every_loss_has_a_name() {
        assert_eq!(VectorLossKind::ALL.len(), 4);
        for (kind, name, _, paper) in VectorLossKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), *name);
            assert_eq!(kind.name(), *name);
            assert!(paper.starts_with("https://"));
        }
    }
}
