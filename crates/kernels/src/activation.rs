//! Activation functions with the bias added in the same pass.
//!
//! Paper: Hendrycks and Gimpel 2016, "Gaussian error linear units", <https://arxiv.org/abs/1606.08415>;
//! Elfwing, Uchibe and Doya 2018, "Sigmoid-weighted linear units", <https://arxiv.org/abs/1702.03118>.

use std::str::FromStr;

use crate::cpu::multiversion;
use crate::math::{erf, exp, fma, sigmoid, tanh};
use crate::parallel::{REDUCE_ROWS, each, rows_per_task, sum_rows};
use crate::scratch::Scratch;

/// An element-wise function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// `x * Phi(x)` with the error function.
    Gelu,
    /// The tanh approximation of GELU.
    GeluTanh,
    /// The approximation of GELU by a sigmoid, `x * sigmoid(1.702 x)`.
    QuickGelu,
    /// `max(x, 0)`.
    Relu,
    /// `x * sigmoid(x)`.
    Silu,
    /// Hyperbolic tangent.
    Tanh,
    /// The input itself.
    Identity,
}

impl Activation {
    /// The name HuggingFace configurations use.
    pub fn name(self) -> &'static str {
        match self {
            Activation::Gelu => "gelu",
            Activation::GeluTanh => "gelu_new",
            Activation::QuickGelu => "quick_gelu",
            Activation::Relu => "relu",
            Activation::Silu => "silu",
            Activation::Tanh => "tanh",
            Activation::Identity => "linear",
        }
    }

    /// Every name that [`Activation::from_str`] knows.
    pub const NAMES: [&'static str; 10] = [
        "gelu",
        "gelu_new",
        "gelu_pytorch_tanh",
        "gelu_fast",
        "quick_gelu",
        "relu",
        "silu",
        "swish",
        "tanh",
        "linear",
    ];
}

/// An activation name that is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownActivation(
    /// The name as given.
    pub String,
);

impl std::fmt::Display for UnknownActivation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "unknown activation {:?}, known are {}", self.0, Activation::NAMES.join(", "))
    }
}

impl std::error::Error for UnknownActivation {}

impl FromStr for Activation {
    type Err = UnknownActivation;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "gelu" => Ok(Activation::Gelu),
            // Three spellings of the same tanh formula in transformers.
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Ok(Activation::GeluTanh),
            "quick_gelu" => Ok(Activation::QuickGelu),
            "relu" => Ok(Activation::Relu),
            "silu" | "swish" => Ok(Activation::Silu),
            "tanh" => Ok(Activation::Tanh),
            "linear" => Ok(Activation::Identity),
            _ => Err(UnknownActivation(name.to_owned())),
        }
    }
}

/// `y = act(x + bias)`.
///
/// # Shapes
/// - `x`, `y`: `[rows, bias.len()]`
pub fn forward(x: &[f32], bias: &[f32], act: Activation, y: &mut [f32]) {
    let cols = check(x, bias);
    assert_eq!(y.len(), x.len(), "activation: y and x");
    let size = rows_per_task(cols) * cols;
    let tasks: Vec<_> = x.chunks(size).zip(y.chunks_mut(size)).collect();
    each(tasks, x.len(), |(x, y)| forward_rows(x, bias, act, y));
}

/// Gradients of [`forward`]: `dx` and `d_bias`, both overwritten.
///
/// # Shapes
/// - `x`, `dy`, `dx`: `[rows, bias.len()]`; `d_bias`: `[bias.len()]`
pub fn backward(x: &[f32], bias: &[f32], act: Activation, dy: &[f32], dx: &mut [f32], d_bias: &mut [f32]) {
    let cols = check(x, bias);
    assert_eq!(dy.len(), x.len(), "activation: dy and x");
    assert_eq!(dx.len(), x.len(), "activation: dx and x");
    assert_eq!(d_bias.len(), cols, "activation: d_bias and bias");
    let size = REDUCE_ROWS * cols;
    let mut partial = Scratch::new(x.len().div_ceil(size) * cols);
    let inputs = x.chunks(size).zip(dy.chunks(size));
    let tasks: Vec<_> = inputs.zip(dx.chunks_mut(size).zip(partial.chunks_mut(cols))).collect();
    each(tasks, x.len(), |((x, dy), (dx, d_bias))| backward_rows(x, bias, act, dy, dx, d_bias));
    sum_rows(&partial, d_bias);
}

/// [`backward`] with what [`forward`] gave, in place: `x` becomes `act(x + bias)` and `dy` becomes `dx`, the same bits;
/// `d_bias` is overwritten.
///
/// # Shapes
/// - `x`, `dy`: `[rows, bias.len()]`; `d_bias`: `[bias.len()]`
pub fn backward_in_place(x: &mut [f32], bias: &[f32], act: Activation, dy: &mut [f32], d_bias: &mut [f32]) {
    let cols = check(x, bias);
    assert_eq!(dy.len(), x.len(), "activation: dy and x");
    assert_eq!(d_bias.len(), cols, "activation: d_bias and bias");
    let size = REDUCE_ROWS * cols;
    let len = x.len();
    let mut partial = Scratch::new(len.div_ceil(size) * cols);
    let tasks: Vec<_> = x.chunks_mut(size).zip(dy.chunks_mut(size)).zip(partial.chunks_mut(cols)).collect();
    each(tasks, len, |((x, dy), d_bias)| in_place_rows(x, bias, act, dy, d_bias));
    sum_rows(&partial, d_bias);
}

fn check(x: &[f32], bias: &[f32]) -> usize {
    let cols = bias.len();
    assert!(cols > 0 && x.len().is_multiple_of(cols), "activation: x {} is not rows of {cols}", x.len());
    cols
}

multiversion! {
    fn forward_rows(x: &[f32], bias: &[f32], act: Activation, y: &mut [f32]) = forward_body;
    fn backward_rows(
        x: &[f32], bias: &[f32], act: Activation, dy: &[f32], dx: &mut [f32], d_bias: &mut [f32],
    ) = backward_body;
    fn in_place_rows(x: &mut [f32], bias: &[f32], act: Activation, dy: &mut [f32], d_bias: &mut [f32]) = in_place_body;
}

#[inline(always)]
fn forward_body<const FMA: bool>(x: &[f32], bias: &[f32], act: Activation, y: &mut [f32]) {
    match act {
        Activation::Gelu => values::<Gelu, FMA>(x, bias, y),
        Activation::GeluTanh => values::<GeluTanh, FMA>(x, bias, y),
        Activation::QuickGelu => values::<QuickGelu, FMA>(x, bias, y),
        Activation::Relu => values::<Relu, FMA>(x, bias, y),
        Activation::Silu => values::<Silu, FMA>(x, bias, y),
        Activation::Tanh => values::<Tanh, FMA>(x, bias, y),
        Activation::Identity => values::<Identity, FMA>(x, bias, y),
    }
}

#[inline(always)]
fn backward_body<const FMA: bool>(
    x: &[f32],
    bias: &[f32],
    act: Activation,
    dy: &[f32],
    dx: &mut [f32],
    d_bias: &mut [f32],
) {
    match act {
        Activation::Gelu => slopes::<Gelu, FMA>(x, bias, dy, dx, d_bias),
        Activation::GeluTanh => slopes::<GeluTanh, FMA>(x, bias, dy, dx, d_bias),
        Activation::QuickGelu => slopes::<QuickGelu, FMA>(x, bias, dy, dx, d_bias),
        Activation::Relu => slopes::<Relu, FMA>(x, bias, dy, dx, d_bias),
        Activation::Silu => slopes::<Silu, FMA>(x, bias, dy, dx, d_bias),
        Activation::Tanh => slopes::<Tanh, FMA>(x, bias, dy, dx, d_bias),
        Activation::Identity => slopes::<Identity, FMA>(x, bias, dy, dx, d_bias),
    }
}

#[inline(always)]
fn in_place_body<const FMA: bool>(
    x: &mut [f32],
    bias: &[f32],
    act: Activation,
    dy: &mut [f32],
    d_bias: &mut [f32],
) {
    match act {
        Activation::Gelu => both::<Gelu, FMA>(x, bias, dy, d_bias),
        Activation::GeluTanh => both::<GeluTanh, FMA>(x, bias, dy, d_bias),
        Activation::QuickGelu => both::<QuickGelu, FMA>(x, bias, dy, d_bias),
        Activation::Relu => both::<Relu, FMA>(x, bias, dy, d_bias),
        Activation::Silu => both::<Silu, FMA>(x, bias, dy, d_bias),
        Activation::Tanh => both::<Tanh, FMA>(x, bias, dy, d_bias),
        Activation::Identity => both::<Identity, FMA>(x, bias, dy, d_bias),
    }
}

#[inline(always)]
fn values<C: Curve, const FMA: bool>(x: &[f32], bias: &[f32], y: &mut [f32]) {
    for (x, y) in x.chunks_exact(bias.len()).zip(y.chunks_exact_mut(bias.len())) {
        for ((x, bias), y) in x.iter().zip(bias).zip(y) {
            *y = C::value::<FMA>(x + bias);
        }
    }
}

#[inline(always)]
fn slopes<C: Curve, const FMA: bool>(
    x: &[f32],
    bias: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    d_bias: &mut [f32],
) {
    let cols = bias.len();
    d_bias.fill(0.0);
    for ((x, dy), dx) in x.chunks_exact(cols).zip(dy.chunks_exact(cols)).zip(dx.chunks_exact_mut(cols)) {
        for ((((x, bias), dy), dx), d_bias) in x.iter().zip(bias).zip(dy).zip(dx).zip(&mut *d_bias) {
            *dx = dy * C::slope::<FMA>(x + bias);
            *d_bias += *dx;
        }
    }
}

#[inline(always)]
fn both<C: Curve, const FMA: bool>(x: &mut [f32], bias: &[f32], dy: &mut [f32], d_bias: &mut [f32]) {
    let cols = bias.len();
    d_bias.fill(0.0);
    for (x, dy) in x.chunks_exact_mut(cols).zip(dy.chunks_exact_mut(cols)) {
        for (((x, bias), dy), d_bias) in x.iter_mut().zip(bias).zip(dy).zip(&mut *d_bias) {
            let at = *x + bias;
            *x = C::value::<FMA>(at);
            *dy *= C::slope::<FMA>(at);
            *d_bias += *dy;
        }
    }
}

/// A function and its derivative.
pub(crate) trait Curve {
    fn value<const FMA: bool>(x: f32) -> f32;
    fn slope<const FMA: bool>(x: f32) -> f32;
}

pub(crate) struct Gelu;
pub(crate) struct GeluTanh;
pub(crate) struct QuickGelu;
pub(crate) struct Relu;
pub(crate) struct Silu;
pub(crate) struct Tanh;
pub(crate) struct Identity;

impl Curve for Gelu {
    #[inline(always)]
    fn value<const FMA: bool>(x: f32) -> f32 {
        let half = 0.5 * x;
        fma::<FMA>(half, erf::<FMA>(x * std::f32::consts::FRAC_1_SQRT_2), half)
    }

    #[inline(always)]
    fn slope<const FMA: bool>(x: f32) -> f32 {
        const INV_SQRT_TAU: f32 = 0.398_942_3;
        let below = fma::<FMA>(0.5, erf::<FMA>(x * std::f32::consts::FRAC_1_SQRT_2), 0.5);
        let density = INV_SQRT_TAU * exp::<FMA>(-0.5 * x * x);
        // Far out x * density is 0, but infinity times 0 would be NaN.
        let density = if density == 0.0 { 0.0 } else { x * density };
        below + density
    }
}

/// The inner function of the tanh GELU, `sqrt(2 / pi) (x + 0.044715 x^3)`.
const SQRT_2_OVER_PI: f32 = 0.797_884_6;
const CUBIC: f32 = 0.044_715;

impl Curve for GeluTanh {
    #[inline(always)]
    fn value<const FMA: bool>(x: f32) -> f32 {
        let inner = SQRT_2_OVER_PI * fma::<FMA>(CUBIC * x * x, x, x);
        let half = 0.5 * x;
        fma::<FMA>(half, tanh::<FMA>(inner), half)
    }

    #[inline(always)]
    fn slope<const FMA: bool>(x: f32) -> f32 {
        let square = x * x;
        let inner = SQRT_2_OVER_PI * fma::<FMA>(CUBIC * square, x, x);
        let t = tanh::<FMA>(inner);
        let rise = (1.0 - t * t) * (SQRT_2_OVER_PI * fma::<FMA>(3.0 * CUBIC, square, 1.0));
        // Saturated: the rise is 0 even where its polynomial is infinite.
        let rise = if t.abs() == 1.0 { 0.0 } else { 0.5 * x * rise };
        fma::<FMA>(0.5, t, 0.5) + rise
    }
}

/// How steep the sigmoid is that stands for the normal distribution.
const STEEP: f32 = 1.702;

impl Curve for QuickGelu {
    #[inline(always)]
    fn value<const FMA: bool>(x: f32) -> f32 {
        x / (1.0 + exp::<FMA>(-STEEP * x))
    }

    #[inline(always)]
    fn slope<const FMA: bool>(x: f32) -> f32 {
        let sigmoid = sigmoid::<FMA>(STEEP * x);
        // In this order nothing overflows far out, where the sigmoid is 0 or 1.
        fma::<FMA>(sigmoid * x, STEEP * (1.0 - sigmoid), sigmoid)
    }
}

impl Curve for Relu {
    #[inline(always)]
    fn value<const FMA: bool>(x: f32) -> f32 {
        if x < 0.0 { 0.0 } else { x }
    }

    #[inline(always)]
    fn slope<const FMA: bool>(x: f32) -> f32 {
        if x > 0.0 { 1.0 } else { 0.0 }
    }
}

impl Curve for Silu {
    #[inline(always)]
    fn value<const FMA: bool>(x: f32) -> f32 {
        x / (1.0 + exp::<FMA>(-x))
    }

    #[inline(always)]
    fn slope<const FMA: bool>(x: f32) -> f32 {
        let sigmoid = sigmoid::<FMA>(x);
        sigmoid * fma::<FMA>(x, 1.0 - sigmoid, 1.0)
    }
}

impl Curve for Tanh {
    #[inline(always)]
    fn value<const FMA: bool>(x: f32) -> f32 {
        tanh::<FMA>(x)
    }

    #[inline(always)]
    fn slope<const FMA: bool>(x: f32) -> f32 {
        let t = tanh::<FMA>(x);
        1.0 - t * t
    }
}

impl Curve for Identity {
    #[inline(always)]
    fn value<const FMA: bool>(x: f32) -> f32 {
        x
    }

    #[inline(always)]
    fn slope<const FMA: bool>(_: f32) -> f32 {
        1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, gradient, random, same_on_any_threads};

    const ALL: [Activation; 7] = [
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::QuickGelu,
        Activation::Relu,
        Activation::Silu,
        Activation::Tanh,
        Activation::Identity,
    ];

    fn reference(act: Activation, x: f64) -> f64 {
        match act {
            Activation::Gelu => 0.5 * x * (1.0 + libm::erf(x / 2.0_f64.sqrt())),
            Activation::GeluTanh => {
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
                0.5 * x * (1.0 + inner.tanh())
            }
            Activation::QuickGelu => x / (1.0 + (-1.702 * x).exp()),
            Activation::Relu => x.max(0.0),
            Activation::Silu => x / (1.0 + (-x).exp()),
            Activation::Tanh => x.tanh(),
            Activation::Identity => x,
        }
    }

    #[test]
    fn values_and_slopes_equal_the_definition() {
        let mut seen = 0;
        for act in ALL {
            for (rows, cols) in [(1, 1), (3, 17), (100, 31), (70, 100)] {
                let (x, bias, dy) = (random(1, rows * cols), random(2, cols), random(3, rows * cols));
                // Kept off zero, where relu has no derivative to compare with.
                let x: Vec<f32> = (0..x.len())
                    .map(|i| 2.0 * x[i] + bias[i % cols])
                    .enumerate()
                    .map(|(i, at)| if at.abs() < 1e-3 { 0.5 } else { at } - bias[i % cols])
                    .collect();
                let at = |i: usize| f64::from(x[i] + bias[i % cols]);
                let mut y = vec![0.0; x.len()];
                forward(&x, &bias, act, &mut y);
                let expected: Vec<f64> = (0..x.len()).map(|i| reference(act, at(i))).collect();
                close(&y, &expected, 1e-6);
                let (mut dx, mut d_bias) = (y.clone(), bias.clone());
                backward(&x, &bias, act, &dy, &mut dx, &mut d_bias);
                let slopes: Vec<f64> = (0..x.len())
                    .map(|i| gradient(&[at(i) as f32], |v| reference(act, v[0]))[0] * f64::from(dy[i]))
                    .collect();
                // 1 - tanh^2 cancels: absolute, not relative, precision for a single element.
                close(&dx, &slopes, 2e-6);
                let sums: Vec<f64> = (0..cols).map(|c| slopes.iter().skip(c).step_by(cols).sum()).collect();
                close(&d_bias, &sums, 2e-6);
                let (mut x, mut dy, mut again) = (x.clone(), dy.clone(), bias.clone());
                backward_in_place(&mut x, &bias, act, &mut dy, &mut again);
                assert_eq!((x, dy, again), (y, dx, d_bias), "{act:?}");
                seen += 1;
            }
        }
        assert_eq!(seen, 28);
    }

    #[test]
    fn the_ends_of_the_line_are_finite_and_nan_is_seen() {
        for act in ALL {
            let x = [-1e30, -100.0, -20.0, 20.0, 100.0, 1e18, f32::NAN];
            let (mut y, mut dx, mut d_bias) = ([0.0; 7], [0.0; 7], [0.0; 7]);
            forward(&x, &[0.0; 7], act, &mut y);
            backward(&x, &[0.0; 7], act, &[1.0; 7], &mut dx, &mut d_bias);
            for i in 0..6 {
                let expected = reference(act, f64::from(x[i])) as f32;
                assert!(
                    (y[i] - expected).abs() <= 2e-7 * expected.abs() + 1e-6,
                    "{act:?}({}) = {}",
                    x[i],
                    y[i]
                );
                assert!(dx[i].is_finite() && (-0.2..=1.2).contains(&dx[i]), "{act:?}'({}) = {}", x[i], dx[i]);
            }
            assert!(y[6].is_nan(), "{act:?}");
        }
    }

    #[test]
    fn threads_do_not_change_bits() {
        let (x, bias, dy) = (random(1, 300 * 384), random(2, 384), random(3, 300 * 384));
        same_on_any_threads(|| {
            let (mut dx, mut d_bias) = (vec![0.0; x.len()], vec![0.0; 384]);
            backward(&x, &bias, Activation::Gelu, &dy, &mut dx, &mut d_bias);
            dx.extend(d_bias);
            dx
        });
    }

    #[test]
    fn names_go_both_ways() {
        for act in ALL {
            assert_eq!(act.name().parse(), Ok(act));
        }
        for name in Activation::NAMES {
            assert!(name.parse::<Activation>().is_ok(), "{name}");
        }
        assert!("mish".parse::<Activation>().unwrap_err().to_string().contains("gelu_new"));
    }
}
