//! Gradients checked against differences of the function itself.

use crate::{Mismatch, close_with_floor};

/// The gradient of `function` at `point` by differences, one element at a time.
///
/// Four points a element, `(8 (f(x+h) - f(x-h)) - (f(x+2h) - f(x-2h))) / 12 h`, whose error falls with `h⁴`:
/// so `h` can be large (about `1e-2` for numbers around 1), and the rounding of an `f32` function, which is
/// divided by `h`, stays small. Let `function` sum its outputs in `f64`. Keep kinks (ReLU) further than `2h`
/// from the point.
pub fn central_difference(mut function: impl FnMut(&[f32]) -> f64, point: &[f32], step: f32) -> Vec<f32> {
    let mut moved = point.to_vec();
    let mut gradient = Vec::with_capacity(point.len());
    for at in 0..point.len() {
        // Values of f32 that straddle the point exactly, whatever the rounding of point + step.
        let step = (point[at] + step) - point[at];
        let mut value = |factor: f32| {
            moved[at] = point[at] + factor * step;
            function(&moved)
        };
        let near = value(1.0) - value(-1.0);
        let far = value(2.0) - value(-2.0);
        moved[at] = point[at];
        gradient.push(((8.0 * near - far) / (12.0 * f64::from(step))) as f32);
    }
    gradient
}

/// Compares a gradient with [`central_difference`], relative to the gradient's own scale.
///
/// # Errors
/// The worst element, as [`close`](crate::close); a gradient of zeros everywhere is refused, since then nearly anything would pass.
pub fn check_gradient(
    function: impl FnMut(&[f32]) -> f64,
    point: &[f32],
    gradient: &[f32],
    step: f32,
    relative: f64,
) -> Result<(), Mismatch> {
    if gradient.iter().all(|&x| x == 0.0) {
        return Err(Mismatch::Empty);
    }
    let expected = central_difference(function, point, step);
    close_with_floor(gradient, &expected, relative, 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Σ sin(x) · x, computed in f32 but for the sum.
    fn function(x: &[f32]) -> f64 {
        x.iter().map(|&x| f64::from(x.sin() * x)).sum()
    }

    fn gradient(x: &[f32]) -> Vec<f32> {
        x.iter().map(|&x| x.cos() * x + x.sin()).collect()
    }

    const POINT: &[f32] = &[0.3, -1.2, 2.5, 0.01, 123.0];

    #[test]
    fn a_right_gradient_passes_tightly() {
        check_gradient(function, &POINT[..4], &gradient(&POINT[..4]), 1e-2, 1e-4).unwrap();
        check_gradient(function, POINT, &gradient(POINT), 1e-2, 1e-3).unwrap();
    }

    #[test]
    fn a_gradient_wrong_by_one_percent_fails() {
        for at in 0..3 {
            let mut wrong = gradient(&POINT[..4]);
            wrong[at] *= 1.01;
            assert!(check_gradient(function, &POINT[..4], &wrong, 1e-2, 1e-3).is_err(), "element {at}");
        }
    }

    #[test]
    fn a_missing_gradient_fails() {
        assert_eq!(check_gradient(|_| 0.0, &[1.0], &[0.0], 1e-2, 1.0), Err(Mismatch::Empty));
        assert!(check_gradient(function, &POINT[..2], &gradient(&POINT[..1]), 1e-2, 1.0).is_err());
    }

    #[test]
    fn the_point_is_put_back_between_elements() {
        // f = product: each derivative depends on every other element being at its place.
        let product = |x: &[f32]| x.iter().map(|&x| f64::from(x)).product();
        check_gradient(product, &[2.0, 3.0, 4.0], &[12.0, 8.0, 6.0], 1e-2, 1e-6).unwrap();
    }
}
