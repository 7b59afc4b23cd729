//! Ridge regression: least squares with an L2 penalty, intercept unpenalised, solved by conjugate gradients.
//!
//! Minimises `sum (y - x w - b)^2 + alpha |w|^2`: the objective of scikit-learn's `Ridge`.
//!
//! Paper: Hoerl & Kennard 1970, <https://doi.org/10.1080/00401706.1970.10488634>.

use super::design::Design;
use super::lbfgs::dot;
use serde::{Deserialize, Serialize};

/// A fitted model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Ridge {
    /// `[width]`
    pub weights: Vec<f64>,
    pub intercept: f64,
}

impl Ridge {
    /// Fits `targets`, one a row of `x`, of which there is at least one.
    pub fn fit(x: &impl Design, targets: &[f64], alpha: f64) -> Self {
        let (rows, width) = (x.rows(), x.width());
        let mean_target = targets.iter().sum::<f64>() / rows as f64;
        let mut means = vec![0.0; width];
        x.transposed(&vec![1.0 / rows as f64; rows], 1, &mut means);

        // Centring happens in the products, so that sparse rows stay sparse.
        let mut image = vec![0.0; rows];
        let mut normal = |v: &[f64], out: &mut [f64]| {
            x.product(v, 1, &mut image);
            let shift = dot(&means, v);
            image.iter_mut().for_each(|value| *value -= shift);
            x.transposed(&image, 1, out);
            let sum: f64 = image.iter().sum();
            for ((out, mean), v) in out.iter_mut().zip(&means).zip(v) {
                *out += alpha * v - mean * sum;
            }
        };
        let centred: Vec<f64> = targets.iter().map(|y| y - mean_target).collect();
        let mut residual = vec![0.0; width];
        x.transposed(&centred, 1, &mut residual);
        let mut weights = vec![0.0; width];
        let mut direction = residual.clone();
        let mut applied = vec![0.0; width];
        let mut length = dot(&residual, &residual);
        let enough = length * 1e-20;
        // In exact arithmetic `width` steps are the most it can take.
        for _ in 0..width.max(100) {
            if length <= enough {
                break;
            }
            normal(&direction, &mut applied);
            let step = length / dot(&direction, &applied);
            for i in 0..width {
                weights[i] += step * direction[i];
                residual[i] -= step * applied[i];
            }
            let next = dot(&residual, &residual);
            let keep = next / length;
            direction.iter_mut().zip(&residual).for_each(|(d, r)| *d = r + keep * *d);
            length = next;
        }
        let intercept = mean_target - dot(&means, &weights);
        Self { weights, intercept }
    }

    /// One number a row.
    pub fn predict(&self, x: &impl Design) -> Vec<f64> {
        let mut out = vec![0.0; x.rows()];
        x.product(&self.weights, 1, &mut out);
        out.iter_mut().for_each(|value| *value += self.intercept);
        out
    }
}
