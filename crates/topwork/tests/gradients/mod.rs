//! Gradients as plain numbers.

use topwork_nn::param::download;
use topwork_ops::Gradient;
use topwork_testkit::Golden;

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

/// Some gradients are zero by construction (a key's bias) and rounding noise in both programs: they are held against a share of the
/// largest gradient of the model.
pub fn floor(golden: &Golden) -> f64 {
    let all = golden.below("grad.").flat_map(|name| golden.floats(&format!("grad.{name}")).unwrap().data);
    1e-2 * f64::from(all.fold(0.0f32, |top, g| top.max(g.abs())))
}
