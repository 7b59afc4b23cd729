//! How heads weigh what they learn from.

use std::sync::Arc;

use burn::tensor::Tensor;
use topwork_nn::loss;

use crate::heads::compared::VectorLoss;

/// How a loss weighs its terms.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LossOptions {
    /// A weight for each label; in heads of two tasks for each word.
    pub class_weights: Option<Arc<[f32]>>,
    /// Label smoothing, 0 to below 1.
    pub smoothing: f32,
    /// The exponent of the focal loss in heads of labels, 0 for plain cross-entropy; not with smoothing.
    pub focal: f32,
    /// How sharp the labels of classes in order are, 0 for classes without an order; not with smoothing or a focus.
    pub ordinal: f32,
    /// The weight of the words' loss beside that of texts in heads of two tasks; `None` = the head's own.
    pub words: Option<f32>,
    /// What vectors of texts are taught by.
    pub vectors: VectorLoss,
}

impl LossOptions {
    /// The loss of rows of which each has one label of several: cross-entropy, that of classes in order, or the focal loss.
    ///
    /// # Shapes
    /// - `logits`: `[rows, labels]`; `target`: `[rows]`
    /// - returns: `[1]`
    pub fn of_classes(&self, logits: Tensor<2>, target: &Arc<[u32]>) -> Tensor<1> {
        let weights = self.class_weights.as_deref();
        match (self.ordinal, self.focal) {
            (0.0, 0.0) => loss::cross_entropy(logits, target, self.class_weights.as_ref(), self.smoothing),
            (0.0, gamma) => loss::focal(logits, target, weights, gamma),
            (sharpness, _) => loss::ordinal(logits, target, weights, sharpness),
        }
    }

    /// The loss of rows that have any number of labels: binary cross-entropy, or the focal loss of each yes or no.
    ///
    /// # Shapes
    /// - `logits`: `[rows, labels]`; `target`: `[rows * labels]` row-major, 0 or 1
    /// - returns: `[1]`
    pub fn of_several(&self, logits: Tensor<2>, target: &[f32]) -> Tensor<1> {
        let weights = self.class_weights.as_deref();
        if self.focal > 0.0 {
            return loss::binary_focal(logits, target, weights, self.focal);
        }
        // Smoothing moves both sides of a yes/no question towards the middle.
        let target: Vec<f32> =
            target.iter().map(|y| y * (1.0 - self.smoothing) + 0.5 * self.smoothing).collect();
        loss::binary_cross_entropy(logits, &target, weights)
    }
}
