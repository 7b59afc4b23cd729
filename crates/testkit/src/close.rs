//! Are two tensors equal within a tolerance? Relative to the scale of the whole tensor, because a number
//! that happens to be near zero carries the rounding errors of its large neighbours.

use std::fmt;

/// Where and by how much two tensors differ.
#[derive(Clone, PartialEq)]
pub enum Mismatch {
    /// They do not have the same number of elements.
    Length {
        /// Elements of the actual tensor.
        actual: usize,
        /// Elements of the expected tensor.
        expected: usize,
    },
    /// There is nothing to compare, which proves nothing.
    Empty,
    /// A number is NaN or infinite, or the expected one is.
    NotFinite {
        /// The first such element.
        index: usize,
        /// The actual number there.
        actual: f32,
        /// The expected number there.
        expected: f32,
    },
    /// The worst element is too far off.
    Apart {
        /// The element that differs most.
        index: usize,
        /// The actual number there.
        actual: f32,
        /// The expected number there.
        expected: f32,
        /// The difference divided by the scale.
        relative: f64,
        /// The largest relative difference that was allowed.
        allowed: f64,
        /// The scale: the largest absolute value expected.
        scale: f64,
        /// How many elements are too far off.
        count: usize,
        /// How many elements there are.
        len: usize,
    },
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mismatch::Length { actual, expected } => write!(f, "{actual} elements, expected {expected}"),
            Mismatch::Empty => write!(f, "no elements to compare"),
            Mismatch::NotFinite { index, actual, expected } => {
                write!(f, "element {index} is {actual}, expected {expected}")
            }
            Mismatch::Apart { index, actual, expected, relative, allowed, scale, count, len } => write!(
                f,
                "{count} of {len} elements differ; the worst, {index}, is {actual}, expected {expected}: \
                 {relative:.2e} of the scale {scale:.3e}, allowed {allowed:.0e}"
            ),
        }
    }
}

/// The same text as `Display`, so that `unwrap` in a test prints something to read.
impl fmt::Debug for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Mismatch {}

/// Compares two tensors: no element may differ by more than `relative` times the largest absolute value
/// expected. Where only zeros are expected, only zeros pass.
///
/// # Errors
/// A [`Mismatch`]; also for NaN, infinities and empty tensors.
pub fn close(actual: &[f32], expected: &[f32], relative: f64) -> Result<(), Mismatch> {
    close_with_floor(actual, expected, relative, 0.0)
}

/// As [`close`], but the scale is at least `floor`. For tensors that are zero but for rounding, such as the
/// gradient of an attention's key bias: give the scale of the quantities it was computed from.
///
/// # Errors
/// As [`close`].
pub fn close_with_floor(actual: &[f32], expected: &[f32], relative: f64, floor: f64) -> Result<(), Mismatch> {
    let scale = comparable(actual, expected, floor)?;
    let difference = |index: usize| (f64::from(actual[index]) - f64::from(expected[index])).abs();
    let far = (0..actual.len()).filter(|&index| difference(index) > relative * scale);
    let (count, worst) = far.fold((0, None), |(count, worst), index| match worst {
        Some(worst) if difference(worst) >= difference(index) => (count + 1, Some(worst)),
        _ => (count + 1, Some(index)),
    });
    match worst {
        None => Ok(()),
        Some(index) => Err(Mismatch::Apart {
            index,
            actual: actual[index],
            expected: expected[index],
            relative: difference(index) / scale,
            allowed: relative,
            scale,
            count,
            len: actual.len(),
        }),
    }
}

/// How far two tensors are apart: the largest difference, divided by the largest absolute value expected, or by `floor`
/// where that is larger. Infinite where only zeros are expected and something else is there.
///
/// # Errors
/// A [`Mismatch`] where they cannot be compared.
pub fn apart(actual: &[f32], expected: &[f32], floor: f64) -> Result<f64, Mismatch> {
    let scale = comparable(actual, expected, floor)?;
    let differences = actual.iter().zip(expected).map(|(a, e)| (f64::from(*a) - f64::from(*e)).abs());
    let most = differences.fold(0.0, f64::max);
    Ok(if most == 0.0 { 0.0 } else { most / scale })
}

/// The scale of two tensors that can be compared.
fn comparable(actual: &[f32], expected: &[f32], floor: f64) -> Result<f64, Mismatch> {
    if actual.len() != expected.len() {
        return Err(Mismatch::Length { actual: actual.len(), expected: expected.len() });
    }
    if expected.is_empty() {
        return Err(Mismatch::Empty);
    }
    for (index, (&actual, &expected)) in actual.iter().zip(expected).enumerate() {
        if !actual.is_finite() || !expected.is_finite() {
            return Err(Mismatch::NotFinite { index, actual, expected });
        }
    }
    Ok(expected.iter().fold(floor, |scale, x| scale.max(f64::from(x.abs()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPECTED: &[f32] = &[0.0, 1.0, -4.0, 1e-6];

    #[test]
    fn equal_and_nearly_equal_pass() {
        close(EXPECTED, EXPECTED, 0.0).unwrap();
        close(&[1e-5, 1.00001, -4.00001, 0.0], EXPECTED, 1e-5).unwrap();
    }

    #[test]
    fn the_distance_is_that_of_the_worst() {
        assert_eq!(apart(EXPECTED, EXPECTED, 0.0), Ok(0.0));
        assert_eq!(apart(&[0.0, 3.0, -4.0, 1e-6], EXPECTED, 0.0), Ok(0.5));
        assert_eq!(apart(&[0.0, 3.0, -4.0, 1e-6], EXPECTED, 8.0), Ok(0.25));
        assert_eq!(apart(&[1.0], &[0.0], 0.0), Ok(f64::INFINITY));
        assert_eq!(apart(&[], &[], 0.0), Err(Mismatch::Empty));
        assert!(apart(&[f32::NAN], &[0.0], 0.0).is_err() && apart(&[0.0], &[0.0, 0.0], 0.0).is_err());
    }

    #[test]
    fn one_percent_off_is_rejected() {
        let error = close(&[0.0, 1.0, -4.04, 1e-6], EXPECTED, 1e-3).unwrap_err();
        let Mismatch::Apart { index: 2, count: 1, len: 4, relative, .. } = error else { panic!("{error}") };
        assert!((relative - 0.01).abs() < 1e-6);
        assert!(close(&EXPECTED.iter().map(|x| x * 1.01).collect::<Vec<_>>(), EXPECTED, 5e-3).is_err());
    }

    #[test]
    fn the_worst_is_named_and_all_are_counted() {
        let error = close(&[1.0, 3.0, -4.5, 1e-6], EXPECTED, 1e-3).unwrap_err();
        assert!(matches!(error, Mismatch::Apart { index: 1, count: 3, .. }), "{error}");
    }

    #[test]
    fn what_proves_nothing_is_rejected() {
        assert_eq!(close(&[], &[], 1.0), Err(Mismatch::Empty));
        assert_eq!(close(&[1.0], &[1.0, 1.0], 1.0), Err(Mismatch::Length { actual: 1, expected: 2 }));
        for bad in [f32::NAN, f32::INFINITY] {
            assert!(matches!(
                close(&[bad, 1.0], &[0.0, 1.0], 1.0),
                Err(Mismatch::NotFinite { index: 0, .. })
            ));
            assert!(matches!(
                close(&[0.0, 1.0], &[0.0, bad], 1.0),
                Err(Mismatch::NotFinite { index: 1, .. })
            ));
            assert!(close(&[bad], &[bad], 1.0).is_err(), "even where both are");
        }
    }

    #[test]
    fn expected_zeros_take_only_zeros_unless_a_floor_is_given() {
        close(&[0.0, -0.0], &[0.0, 0.0], 1e-3).unwrap();
        assert!(close(&[0.0, 1e-30], &[0.0, 0.0], 1e-3).is_err());
        close_with_floor(&[0.0, 1e-9], &[0.0, -1e-9], 1e-5, 1e-3).unwrap();
        assert!(close_with_floor(&[0.0, 1e-7], &[0.0, 0.0], 1e-5, 1e-3).is_err());
    }
}
