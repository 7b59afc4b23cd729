//! Search among texts by their vectors: products, an index on disk, a second look at what was found, and what is relevant.

mod index;
mod relevance;
mod rerank;

pub use index::{Document, Facts, Hit, SearchIndex};
pub use relevance::Relevance;
pub use rerank::Reranker;

/// The product of two vectors, its terms added in the same order wherever it is computed.
///
/// # Shapes
/// - `a`, `b`: `[width]`
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    // Sixteen sums side by side: one chain of additions would wait for each.
    let mut sums = [0.0f32; 16];
    let (whole, rest) = a.as_chunks::<16>();
    let (whole_b, rest_b) = b.as_chunks::<16>();
    for (a, b) in whole.iter().zip(whole_b) {
        for at in 0..16 {
            sums[at] += a[at] * b[at];
        }
    }
    let rest: f32 = rest.iter().zip(rest_b).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

/// The cosine of two vectors, in 64 bits; 0 for one of length zero.
///
/// # Shapes
/// - `a`, `b`: `[width]`
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let product =
        |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    let lengths = (product(a, a) * product(b, b)).sqrt();
    if lengths > 0.0 { product(a, b) / lengths } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_any_width() {
        for width in [1, 15, 16, 17, 384] {
            let a: Vec<f32> = (0..width).map(|n| (n as f32 + 1.0).sin()).collect();
            let b: Vec<f32> = (0..width).map(|n| (n as f32 * 0.7).cos()).collect();
            let exact: f64 = a.iter().zip(&b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
            assert!((f64::from(dot(&a, &b)) - exact).abs() < 1e-5, "{width}");
            assert!((cosine(&a, &a) - 1.0).abs() < 1e-12);
        }
        assert_eq!(cosine(&[0.0], &[1.0]), 0.0);
    }
}
