//! The heads of several tasks side by side in one classifier: each text is told only from the labels of its own task.
//!
//! A head is a linear map; several over the same vectors are one with more rows. What keeps them apart is the softmax, which
//! goes over the rows of one task: the others get no gradient from its texts. (Weight decay is of the whole map: with a decay, rows
//! of other tasks shrink by it while one is learnt, each row's outputs in the same proportion.)
//!
//! Paper: Liu et al. 2019, "Multi-Task Deep Neural Networks for Natural Language Understanding", section 3.1 (task-specific
//! layers over a shared encoder), <https://arxiv.org/abs/1901.11504>

use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Added to the outputs of other tasks: its exponential is 0 in every precision.
const APART: f32 = -1e9;

/// How many labels each task has, in their order; empty where there is one task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Groups {
    sizes: Vec<usize>,
}

impl Groups {
    /// Groups of these sizes.
    pub fn new(sizes: Vec<usize>) -> Self {
        Groups { sizes }
    }

    /// Whether all labels are of one task.
    pub fn is_empty(&self) -> bool {
        self.sizes.is_empty()
    }

    /// The labels of each task, as a range of their numbers.
    pub fn ranges(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        self.sizes.iter().scan(0, |at, size| {
            *at += size;
            Some(*at - size..*at)
        })
    }

    /// Refuses groups that are not of these labels.
    ///
    /// # Errors
    /// [`Error::Setting`].
    pub fn check(&self, labels: usize, several: bool) -> Result<(), Error> {
        let all: usize = self.sizes.iter().sum();
        if self.is_empty() || (all == labels && !several && self.sizes.iter().all(|&size| size >= 2)) {
            return Ok(());
        }
        Err(Error::Setting {
            setting: "groups".to_string(),
            expected: format!("2 labels or more in each, {labels} in all, one of them a text"),
            got: format!("{:?}{}", self.sizes, if several { " of several labels a text" } else { "" }),
        })
    }

    /// What is added to outputs so that those of other tasks than that of the right label count for nothing; `None` where
    /// all labels are of one task.
    ///
    /// # Shapes
    /// - `classes`: `[rows]`; returns `[rows, labels]`, row-major
    pub fn mask(&self, classes: &[u32]) -> Option<Vec<f32>> {
        if self.is_empty() {
            return None;
        }
        let ranges: Vec<_> = self.ranges().collect();
        let labels = ranges.last().map_or(0, |last| last.end);
        let mut mask = vec![APART; classes.len() * labels];
        for (row, &class) in mask.chunks_exact_mut(labels).zip(classes) {
            if let Some(own) = ranges.iter().find(|range| range.contains(&(class as usize))) {
                row[own.clone()].fill(0.0);
            }
        }
        Some(mask)
    }

    /// Outputs of which only those of each row's own task count.
    ///
    /// # Shapes
    /// - `logits`, and what is returned: `[rows, labels]`; `classes`: `[rows]`
    pub(crate) fn own(&self, logits: Tensor<2>, classes: &[u32]) -> Tensor<2> {
        let Some(mask) = self.mask(classes) else { return logits };
        let mask = Tensor::from_data(TensorData::new(mask, logits.dims()), &logits.device());
        logits + mask
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use burn::tensor::Device;

    use super::*;
    use crate::head::LossOptions;

    #[test]
    fn the_loss_is_that_of_a_head_of_its_own() {
        let logits = |rows: Vec<f32>, width: usize| {
            Tensor::<2>::from_data(TensorData::new(rows, [2, width]), &Device::flex())
        };
        let loss = |logits: Tensor<2>, target: [u32; 2]| -> f32 {
            LossOptions::default().of_classes(logits, &Arc::from(target)).into_scalar()
        };
        let both = logits(vec![1.0, 2.0, 3.0, -1.0, 0.5, 7.0, 9.0, 0.25, 1.5, -2.0], 5);
        let groups = Groups::new(vec![2, 3]);
        let together = loss(groups.own(both.clone(), &[3, 2]), [3, 2]);
        let alone = loss(logits(vec![3.0, -1.0, 0.5, 0.25, 1.5, -2.0], 3), [1, 0]);
        assert!((together - alone).abs() < 1e-6, "{together} {alone}");
        // Without groups the other task's labels count.
        assert!((loss(both, [3, 2]) - alone).abs() > 1.0);
    }

    #[test]
    fn a_row_is_told_from_the_labels_of_its_task() {
        let groups = Groups::new(vec![2, 3]);
        let a = APART;
        let mask = groups.mask(&[1, 4, 2]).unwrap();
        assert_eq!(mask, [0., 0., a, a, a, a, a, 0., 0., 0., a, a, 0., 0., 0.]);
        assert_eq!(groups.ranges().collect::<Vec<_>>(), [0..2, 2..5]);
        assert_eq!(Groups::default().mask(&[0]), None);
    }

    #[test]
    fn groups_are_of_all_labels() {
        let check = |sizes: &[usize], labels, several| Groups::new(sizes.to_vec()).check(labels, several);
        assert!(check(&[2, 3], 5, false).is_ok() && check(&[], 5, true).is_ok());
        for (sizes, labels, several) in [(&[2, 3][..], 4, false), (&[1, 3], 4, false), (&[2, 2], 4, true)] {
            let error = check(sizes, labels, several).unwrap_err().to_string();
            assert!(error.contains("2 labels or more"), "{error}");
        }
    }
}
