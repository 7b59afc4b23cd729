//! How fresh parameters start.

use topwork_kernels::rng::Stream;

/// An initialisation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// All zero: biases.
    Zeros,
    /// All one: gains of norms.
    Ones,
    /// Normal around zero with this standard deviation; BERT's `initializer_range` is 0.02.
    Normal(f32),
    /// Even between minus and plus this.
    Uniform(f32),
}

impl Init {
    /// `len` values from a stream of random numbers.
    pub fn values(self, len: usize, stream: &mut Stream) -> Vec<f32> {
        match self {
            Init::Zeros => vec![0.0; len],
            Init::Ones => vec![1.0; len],
            Init::Normal(std) => (0..len).map(|_| std * stream.normal()).collect(),
            Init::Uniform(most) => (0..len).map(|_| most * (2.0 * stream.next_f32() - 1.0)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_has_the_stated_spread() {
        let values = Init::Normal(0.02).values(20_000, &mut Stream(1));
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        let std = (values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / values.len() as f32).sqrt();
        assert!(mean.abs() < 6e-4, "{mean}");
        assert!((std - 0.02).abs() < 6e-4, "{std}");
    }
}
