//! Gradients as plain numbers.

use topwork_nn::param::download;
use topwork_ops::Gradient;

/// A gradient of a parameter of this shape, rows spread out.
pub fn dense(gradient: &Gradient, shape: &[usize]) -> Vec<f32> {
    match gradient {
        Gradient::Dense(grad) => download(grad.clone(), shape.len()).unwrap(),
        Gradient::Rows { rows, grad } => {
            let (values, width) = (download(grad.clone(), 2).unwrap(), shape[1]);
            let mut all = vec![0.0; shape[0] * width];
            for (n, &row) in rows.iter().enumerate() {
                all[row as usize * width..][..width].copy_from_slice(&values[n * width..][..width]);
            }
            all
        }
    }
}
