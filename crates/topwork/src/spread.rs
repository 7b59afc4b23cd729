//! How values of several seeds scatter.

/// Two-sided 95% points of Student's t for 1 to 30 degrees of freedom
/// (<https://www.itl.nist.gov/div898/handbook/eda/section3/eda3672.htm>).
const T: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
];

/// A mean and the standard deviation of one value.
pub(crate) fn mean(values: &[f64]) -> Option<(f64, f64)> {
    if values.is_empty() {
        return None;
    }
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Some((mean, (squares / (count - 1.0).max(1.0)).sqrt()))
}

/// A mean, and how the values scatter.
pub(crate) fn scattered(values: &[f64]) -> String {
    match (mean(values), values.len()) {
        (None, _) => "no value".to_string(),
        (Some((mean, _)), 1) => format!("{mean:.3}"),
        (Some((mean, spread)), _) => format!("{mean:.3} ± {spread:.3}"),
    }
}

/// Half the width of the 95% interval of a mean of so many values that scatter so.
pub(crate) fn half_width(spread: f64, count: usize) -> Option<f64> {
    let freedom = count.checked_sub(1).filter(|&freedom| freedom > 0)?;
    Some(T.get(freedom - 1).copied().unwrap_or(1.96) * spread / (count as f64).sqrt())
}
