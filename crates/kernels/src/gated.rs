//! Gated activations: `y = act(gate + bias) * (up + bias)`.
//!
//! Paper: Shazeer 2020, "GLU variants improve transformer", <https://arxiv.org/abs/2002.05202>.

use crate::activation::{Activation, Curve, Gelu, GeluTanh, Identity, QuickGelu, Relu, Silu, Tanh};
use crate::cpu::multiversion;
use crate::parallel::{REDUCE_ROWS, each, rows_per_task, sum_rows};
use crate::scratch::Scratch;

/// Which half of a row goes through the activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Halves {
    /// The first: `gate, up`.
    GateFirst,
    /// The second: `up, gate`.
    UpFirst,
}

/// The gates and the values they let through.
#[derive(Clone, Copy, Debug)]
pub enum Gated<'a> {
    /// Both in one matrix, `[rows, 2 * ffn]`.
    Together(&'a [f32], Halves),
    /// Gates and values, `[rows, ffn]` each.
    Apart(&'a [f32], &'a [f32]),
}

/// Where the gradients of [`Gated`] go, in the same arrangement.
#[derive(Debug)]
pub enum GatedMut<'a> {
    /// Both in one matrix, `[rows, 2 * ffn]`.
    Together(&'a mut [f32], Halves),
    /// Gates and values, `[rows, ffn]` each.
    Apart(&'a mut [f32], &'a mut [f32]),
}

/// `y = act(gate + bias) * (up + bias)`, all of it written.
///
/// # Shapes
/// - `y`: `[rows, ffn]`; `bias`: `[2 * ffn]` in the order of the halves (gate first where they are apart), or empty
pub fn forward(x: Gated<'_>, bias: &[f32], act: Activation, ffn: usize, y: &mut [f32]) {
    check(&x, bias, ffn, y.len());
    let zeros = zeros(bias, ffn);
    let bias = if bias.is_empty() { &zeros[..] } else { bias };
    let len = y.len();
    let block = rows_per_task(2 * ffn);
    let tasks = y.chunks_mut(block * ffn).enumerate().collect();
    each(tasks, 2 * len, |(task, y)| {
        let (gate_bias, up_bias) = halves(bias, x.order(), ffn);
        for (row, y) in (task * block..).zip(y.chunks_exact_mut(ffn)) {
            let (gate, up) = x.row(row, ffn);
            forward_row([gate, gate_bias, up, up_bias], act, y);
        }
    });
}

/// The gradients of [`forward`]: `d_x` and, unless it is empty, `d_bias`, both overwritten.
///
/// # Shapes
/// - `dy`: `[rows, ffn]`; `d_x` like `x`; `d_bias` like `bias`
pub fn backward(
    x: Gated<'_>,
    bias: &[f32],
    act: Activation,
    ffn: usize,
    dy: &[f32],
    d_x: GatedMut<'_>,
    d_bias: &mut [f32],
) {
    check(&x, bias, ffn, dy.len());
    assert!(d_bias.is_empty() || d_bias.len() == bias.len(), "gated: d_bias and bias");
    let zeros = zeros(bias, ffn);
    let bias = if bias.is_empty() { &zeros[..] } else { bias };
    let n = dy.len().div_ceil(REDUCE_ROWS * ffn);
    let mut partial = Scratch::new(n * 2 * ffn);
    let inputs = dy.chunks(REDUCE_ROWS * ffn).zip(partial.chunks_mut(2 * ffn)).enumerate();
    let rows = |task: usize, dy: &[f32]| (task * REDUCE_ROWS..).take(dy.len() / ffn);
    let order = x.order();
    match d_x {
        GatedMut::Together(d_x, halves_of_d_x) => {
            assert!(order == halves_of_d_x && d_x.len() == 2 * dy.len(), "gated: d_x and x");
            let tasks = inputs.zip(d_x.chunks_mut(REDUCE_ROWS * 2 * ffn)).collect();
            each(tasks, 2 * dy.len(), |((task, (dy, d_bias)), d_x)| {
                d_bias.fill(0.0);
                let biases = halves(bias, order, ffn);
                let d_bias = halves_mut(d_bias, order, ffn);
                for ((row, dy), d_x) in
                    rows(task, dy).zip(dy.chunks_exact(ffn)).zip(d_x.chunks_exact_mut(2 * ffn))
                {
                    let (gate, up) = x.row(row, ffn);
                    let (d_gate, d_up) = halves_mut(d_x, order, ffn);
                    backward_row(
                        [gate, biases.0, up, biases.1, dy],
                        act,
                        [d_gate, d_up, &mut *d_bias.0, &mut *d_bias.1],
                    );
                }
            });
        }
        GatedMut::Apart(d_gate, d_up) => {
            assert!(matches!(x, Gated::Apart(..)), "gated: d_x and x");
            assert!(d_gate.len() == dy.len() && d_up.len() == dy.len(), "gated: d_x and x");
            let outputs = d_gate.chunks_mut(REDUCE_ROWS * ffn).zip(d_up.chunks_mut(REDUCE_ROWS * ffn));
            let tasks = inputs.zip(outputs).collect();
            each(tasks, 2 * dy.len(), |((task, (dy, d_bias)), (d_gate, d_up))| {
                d_bias.fill(0.0);
                let biases = halves(bias, order, ffn);
                let d_bias = halves_mut(d_bias, order, ffn);
                let outputs = d_gate.chunks_exact_mut(ffn).zip(d_up.chunks_exact_mut(ffn));
                for ((row, dy), (d_gate, d_up)) in rows(task, dy).zip(dy.chunks_exact(ffn)).zip(outputs) {
                    let (gate, up) = x.row(row, ffn);
                    backward_row(
                        [gate, biases.0, up, biases.1, dy],
                        act,
                        [d_gate, d_up, &mut *d_bias.0, &mut *d_bias.1],
                    );
                }
            });
        }
    }
    if !d_bias.is_empty() {
        sum_rows(&partial, d_bias);
    }
}

impl<'a> Gated<'a> {
    fn order(&self) -> Halves {
        match self {
            Gated::Together(_, halves) => *halves,
            Gated::Apart(..) => Halves::GateFirst,
        }
    }

    /// The gates and values of a row.
    #[inline(always)]
    fn row(&self, row: usize, ffn: usize) -> (&'a [f32], &'a [f32]) {
        match *self {
            Gated::Together(x, order) => halves(&x[row * 2 * ffn..][..2 * ffn], order, ffn),
            Gated::Apart(gate, up) => (&gate[row * ffn..][..ffn], &up[row * ffn..][..ffn]),
        }
    }
}

/// The gates and values of two halves.
#[inline(always)]
fn halves(x: &[f32], order: Halves, ffn: usize) -> (&[f32], &[f32]) {
    let (first, second) = x.split_at(ffn);
    if order == Halves::GateFirst { (first, second) } else { (second, first) }
}

/// [`halves`], to write.
#[inline(always)]
fn halves_mut(x: &mut [f32], order: Halves, ffn: usize) -> (&mut [f32], &mut [f32]) {
    let (first, second) = x.split_at_mut(ffn);
    if order == Halves::GateFirst { (first, second) } else { (second, first) }
}

/// What is added where there is no bias.
fn zeros(bias: &[f32], ffn: usize) -> Vec<f32> {
    if bias.is_empty() { vec![0.0; 2 * ffn] } else { Vec::new() }
}

fn check(x: &Gated<'_>, bias: &[f32], ffn: usize, y: usize) {
    assert!(ffn > 0 && y.is_multiple_of(ffn), "gated: {y} numbers are not rows of {ffn}");
    let fits = match x {
        Gated::Together(x, _) => x.len() == 2 * y,
        Gated::Apart(gate, up) => gate.len() == y && up.len() == y,
    };
    assert!(fits, "gated: gates and values do not fit {y} results");
    assert!(bias.is_empty() || bias.len() == 2 * ffn, "gated: bias {} for 2 x {ffn}", bias.len());
}

multiversion! {
    fn forward_row(inputs: [&[f32]; 4], act: Activation, y: &mut [f32]) = forward_body;
    fn backward_row(inputs: [&[f32]; 5], act: Activation, outputs: [&mut [f32]; 4]) = backward_body;
}

#[inline(always)]
fn forward_body<const FMA: bool>(inputs: [&[f32]; 4], act: Activation, y: &mut [f32]) {
    match act {
        Activation::Gelu => values::<Gelu, FMA>(inputs, y),
        Activation::GeluTanh => values::<GeluTanh, FMA>(inputs, y),
        Activation::QuickGelu => values::<QuickGelu, FMA>(inputs, y),
        Activation::Relu => values::<Relu, FMA>(inputs, y),
        Activation::Silu => values::<Silu, FMA>(inputs, y),
        Activation::Tanh => values::<Tanh, FMA>(inputs, y),
        Activation::Identity => values::<Identity, FMA>(inputs, y),
    }
}

#[inline(always)]
fn backward_body<const FMA: bool>(inputs: [&[f32]; 5], act: Activation, outputs: [&mut [f32]; 4]) {
    match act {
        Activation::Gelu => slopes::<Gelu, FMA>(inputs, outputs),
        Activation::GeluTanh => slopes::<GeluTanh, FMA>(inputs, outputs),
        Activation::QuickGelu => slopes::<QuickGelu, FMA>(inputs, outputs),
        Activation::Relu => slopes::<Relu, FMA>(inputs, outputs),
        Activation::Silu => slopes::<Silu, FMA>(inputs, outputs),
        Activation::Tanh => slopes::<Tanh, FMA>(inputs, outputs),
        Activation::Identity => slopes::<Identity, FMA>(inputs, outputs),
    }
}

#[inline(always)]
fn values<C: Curve, const FMA: bool>([gate, gate_bias, up, up_bias]: [&[f32]; 4], y: &mut [f32]) {
    let biased = gate.iter().zip(gate_bias).zip(up.iter().zip(up_bias));
    for (y, ((gate, gate_bias), (up, up_bias))) in y.iter_mut().zip(biased) {
        *y = C::value::<FMA>(gate + gate_bias) * (up + up_bias);
    }
}

#[inline(always)]
fn slopes<C: Curve, const FMA: bool>(
    [gate, gate_bias, up, up_bias, dy]: [&[f32]; 5],
    [d_gate, d_up, d_gate_bias, d_up_bias]: [&mut [f32]; 4],
) {
    let biased = gate.iter().zip(gate_bias).zip(up.iter().zip(up_bias));
    let outputs = d_gate.iter_mut().zip(d_up).zip(d_gate_bias.iter_mut().zip(d_up_bias));
    for ((((gate, gate_bias), (up, up_bias)), dy), ((d_gate, d_up), (d_gate_bias, d_up_bias))) in
        biased.zip(dy).zip(outputs)
    {
        let at = gate + gate_bias;
        *d_gate = dy * (up + up_bias) * C::slope::<FMA>(at);
        *d_up = dy * C::value::<FMA>(at);
        *d_gate_bias += *d_gate;
        *d_up_bias += *d_up;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, random, same_on_any_threads};

    const ALL: [Activation; 7] = [
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::QuickGelu,
        Activation::Relu,
        Activation::Silu,
        Activation::Tanh,
        Activation::Identity,
    ];

    /// y, d_gate, d_up and the sums of both, from the function without gates.
    fn reference(gate: &[f32], up: &[f32], act: Activation, dy: &[f32], ffn: usize) -> [Vec<f64>; 5] {
        let (mut value, mut slope) = (gate.to_vec(), gate.to_vec());
        let zeros = vec![0.0; ffn];
        crate::activation::forward(gate, &zeros, act, &mut value);
        crate::activation::backward(
            gate,
            &zeros,
            act,
            &vec![1.0; gate.len()],
            &mut slope,
            &mut zeros.clone(),
        );
        let product = |a: &[f32], b: &[f32]| -> Vec<f64> {
            a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).collect()
        };
        let (d_up, up_dy) = (product(&value, dy), product(up, dy));
        let d_gate: Vec<f64> = up_dy.iter().zip(&slope).map(|(up, slope)| up * f64::from(*slope)).collect();
        let sums = |x: &[f64]| (0..ffn).map(|col| x.iter().skip(col).step_by(ffn).sum()).collect();
        let (d_gate_bias, d_up_bias) = (sums(&d_gate), sums(&d_up));
        [product(&value, up), d_gate, d_up, d_gate_bias, d_up_bias]
    }

    #[test]
    fn every_arrangement_equals_the_definition() {
        let mut seen = 0;
        for act in ALL {
            for (rows, ffn) in [(1, 1), (3, 17), (70, 33)] {
                let (gate, up) = (random(1, rows * ffn), random(2, rows * ffn));
                let (bias, dy) = (random(3, 2 * ffn), random(4, rows * ffn));
                let biased = |x: &[f32], bias: &[f32]| -> Vec<f32> {
                    x.iter().enumerate().map(|(at, x)| x + bias[at % ffn]).collect()
                };
                let [y, d_gate, d_up, d_gate_bias, d_up_bias] =
                    reference(&biased(&gate, &bias), &biased(&up, &bias[ffn..]), act, &dy, ffn);
                let mut got = [vec![f32::NAN; y.len()], vec![f32::NAN; y.len()], vec![f32::NAN; y.len()]];
                let mut d_bias = vec![f32::NAN; 2 * ffn];
                let apart = Gated::Apart(&gate, &up);
                let [got_y, got_gate, got_up] = &mut got;
                forward(apart, &bias, act, ffn, got_y);
                backward(apart, &bias, act, ffn, &dy, GatedMut::Apart(got_gate, got_up), &mut d_bias);
                close(got_y, &y, 2e-6);
                close(got_gate, &d_gate, 2e-6);
                close(got_up, &d_up, 2e-6);
                close(&d_bias, &[d_gate_bias, d_up_bias].concat(), 4e-6);
                for order in [Halves::GateFirst, Halves::UpFirst] {
                    let join = |gate: &[f32], up: &[f32]| -> Vec<f32> {
                        let rows = gate.chunks(ffn).zip(up.chunks(ffn));
                        let rows = rows.map(
                            |(gate, up)| if order == Halves::GateFirst { [gate, up] } else { [up, gate] },
                        );
                        rows.flat_map(|row| row.concat()).collect()
                    };
                    let x = join(&gate, &up);
                    let bias = join(&bias[..ffn], &bias[ffn..]);
                    let (mut y, mut d_x) = (vec![f32::NAN; gate.len()], vec![f32::NAN; x.len()]);
                    let mut d_joined = vec![f32::NAN; 2 * ffn];
                    let together = Gated::Together(&x, order);
                    forward(together, &bias, act, ffn, &mut y);
                    let to = GatedMut::Together(&mut d_x, order);
                    backward(together, &bias, act, ffn, &dy, to, &mut d_joined);
                    assert_eq!(y, got[0]);
                    assert_eq!(d_x, join(&got[1], &got[2]));
                    assert_eq!(d_joined, join(&d_bias[..ffn], &d_bias[ffn..]));
                    seen += 1;
                }
                let mut plain = got[0].clone();
                forward(
                    Gated::Apart(&biased(&gate, &bias), &biased(&up, &bias[ffn..])),
                    &[],
                    act,
                    ffn,
                    &mut plain,
                );
                assert_eq!(plain, got[0], "a bias of zeros is no bias");
            }
        }
        assert_eq!(seen, 42);
    }

    #[test]
    fn neither_threads_nor_neighbours_change_bits() {
        let (rows, ffn) = (300, 100);
        let (x, dy) = (random(1, rows * 2 * ffn), random(2, rows * ffn));
        let bias = random(3, 2 * ffn);
        let run = |x: &[f32], dy: &[f32]| {
            let (mut y, mut d_x, mut d_bias) = (dy.to_vec(), x.to_vec(), bias.clone());
            let together = Gated::Together(x, Halves::GateFirst);
            forward(together, &bias, Activation::Silu, ffn, &mut y);
            let to = GatedMut::Together(&mut d_x, Halves::GateFirst);
            backward(together, &bias, Activation::Silu, ffn, dy, to, &mut d_bias);
            [y, d_x, d_bias]
        };
        same_on_any_threads(|| run(&x, &dy).concat());
        let all = run(&x, &dy);
        for row in [0, 31, 170, 299] {
            let alone = run(&x[row * 2 * ffn..][..2 * ffn], &dy[row * ffn..][..ffn]);
            assert_eq!(alone[0], all[0][row * ffn..][..ffn]);
            assert_eq!(alone[1], all[1][row * 2 * ffn..][..2 * ffn]);
        }
    }
}
