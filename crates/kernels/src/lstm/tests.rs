//! The kernel against the definition in f64, and the promises of the crate.

use super::*;
use crate::testing::{close, gradient, random, same_on_any_threads};

/// Inputs of a layer.
#[derive(Clone)]
struct Layer {
    hidden: usize,
    cell: usize,
    offsets: Vec<u32>,
    settings: Lstm,
    gates_x: Vec<f32>,
    recurrent: Vec<f32>,
    projection: Option<Vec<f32>>,
    h0: Option<Vec<f32>>,
    c0: Option<Vec<f32>>,
}

/// What a layer gives, and what it keeps.
#[derive(PartialEq)]
struct Given {
    y: Vec<f32>,
    h_n: Vec<f32>,
    c_n: Vec<f32>,
    gates: Vec<f32>,
    cells: Vec<f32>,
}

/// Gradients in the order of the inputs.
struct Grads {
    d_gates: Vec<f32>,
    d_recurrent: Vec<f32>,
    d_projection: Vec<f32>,
    d_h0: Vec<f32>,
    d_c0: Vec<f32>,
}

impl Layer {
    fn new(offsets: &[u32], cell: usize, projects: Option<usize>, state: bool, settings: Lstm) -> Self {
        let hidden = projects.unwrap_or(cell);
        let (tokens, batch) = (*offsets.last().unwrap() as usize, offsets.len() - 1);
        let scaled =
            |seed, len: usize, by: f32| random(seed, len).iter().map(|x| x * by).collect::<Vec<f32>>();
        let by = 1.0 / (hidden as f32).sqrt();
        Self {
            hidden,
            cell,
            offsets: offsets.to_vec(),
            settings,
            gates_x: random(1, tokens * 4 * cell),
            recurrent: scaled(2, 4 * cell * hidden, by),
            projection: projects.map(|_| scaled(3, hidden * cell, 1.0)),
            h0: state.then(|| random(4, batch * hidden)),
            c0: state.then(|| random(5, batch * cell)),
        }
    }

    fn sizes(&self) -> (usize, usize) {
        (*self.offsets.last().unwrap() as usize, self.offsets.len() - 1)
    }

    fn forward(&self) -> Given {
        let (tokens, batch) = self.sizes();
        let buffer = |len| vec![f32::NAN; len];
        let mut given = Given {
            y: buffer(tokens * self.hidden),
            h_n: buffer(batch * self.hidden),
            c_n: buffer(batch * self.cell),
            gates: buffer(tokens * 4 * self.cell),
            cells: buffer(tokens * self.cell),
        };
        forward(
            &self.gates_x,
            &self.recurrent,
            self.projection.as_deref(),
            self.h0.as_deref().zip(self.c0.as_deref()),
            &self.offsets,
            self.cell,
            self.settings,
            &mut given.y,
            &mut given.h_n,
            &mut given.c_n,
            &mut given.gates,
            &mut given.cells,
        );
        given
    }

    fn backward(&self, given: &Given, d_y: &[f32], d_h_n: &[f32], d_c_n: &[f32]) -> Grads {
        let (tokens, batch) = self.sizes();
        let buffer = |len| vec![f32::NAN; len];
        let projected = if self.projection.is_some() { tokens * self.hidden } else { 0 };
        let mut d_projected = buffer(projected);
        let mut grads = Grads {
            d_gates: buffer(tokens * 4 * self.cell),
            d_recurrent: buffer(self.recurrent.len()),
            d_projection: buffer(self.projection.as_ref().map_or(0, Vec::len)),
            d_h0: buffer(batch * self.hidden),
            d_c0: buffer(batch * self.cell),
        };
        backward(
            d_y,
            d_h_n,
            d_c_n,
            &given.y,
            &given.gates,
            &given.cells,
            &self.recurrent,
            self.projection.as_deref(),
            self.c0.as_deref(),
            &self.offsets,
            self.cell,
            self.settings,
            &mut grads.d_gates,
            &mut d_projected,
            &mut grads.d_h0,
            &mut grads.d_c0,
        );
        let (h0, settings) = (self.h0.as_deref(), self.settings);
        d_recurrent(
            &grads.d_gates,
            &given.y,
            h0,
            &self.offsets,
            self.hidden,
            settings,
            &mut grads.d_recurrent,
        );
        if self.projection.is_some() {
            let to = &mut grads.d_projection;
            d_projection(&d_projected, &given.gates, &given.cells, self.cell, settings, to);
        }
        grads
    }

    /// `y`, `h_n` and `c_n` by the definition.
    fn reference(&self, x: &[f64], w: &[f64], p: &[f64], h0: &[f64], c0: &[f64]) -> [Vec<f64>; 3] {
        let (hidden, cell) = (self.hidden, self.cell);
        let (tokens, _) = self.sizes();
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let held =
            |x: f64, clip: Option<f32>| clip.map_or(x, |clip| x.clamp(-f64::from(clip), f64::from(clip)));
        let (mut y, mut h_n, mut c_n) = (vec![0.0; tokens * hidden], h0.to_vec(), c0.to_vec());
        for (sequence, range) in self.offsets.windows(2).enumerate() {
            let h = &mut h_n[sequence * hidden..][..hidden];
            let c = &mut c_n[sequence * cell..][..cell];
            let mut rows: Vec<usize> = (range[0] as usize..range[1] as usize).collect();
            if self.settings.reverse {
                rows.reverse();
            }
            for row in rows {
                let sum = |unit: usize| {
                    let along = w[unit * hidden..][..hidden].iter().zip(&*h);
                    x[row * 4 * cell + unit] + along.map(|(w, h)| w * h).sum::<f64>()
                };
                let sums: Vec<f64> = (0..4 * cell).map(sum).collect();
                let mut raw = vec![0.0; cell];
                for j in 0..cell {
                    let [i, f, g, o] = [0, 1, 2, 3].map(|gate| sums[gate * cell + j]);
                    c[j] = held(sigmoid(f) * c[j] + sigmoid(i) * g.tanh(), self.settings.cell_clip);
                    raw[j] = sigmoid(o) * c[j].tanh();
                }
                for j in 0..hidden {
                    h[j] = if self.projection.is_none() {
                        raw[j]
                    } else {
                        let sum = p[j * cell..][..cell].iter().zip(&raw).map(|(p, raw)| p * raw).sum::<f64>();
                        held(sum, self.settings.projection_clip)
                    };
                }
                y[row * hidden..][..hidden].copy_from_slice(h);
            }
        }
        [y, h_n, c_n]
    }
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&v| f64::from(v)).collect()
}

const UNEVEN: [u32; 6] = [0, 3, 3, 4, 11, 15];

fn layers() -> Vec<Layer> {
    let mut layers = Vec::new();
    for offsets in [&[0_u32, 1][..], &UNEVEN] {
        for (reverse, state) in [(false, false), (true, false), (false, true), (true, true)] {
            let plain = Lstm { reverse, ..Lstm::default() };
            let clipped = Lstm { cell_clip: Some(0.6), projection_clip: Some(0.5), ..plain };
            layers.push(Layer::new(offsets, 5, None, state, plain));
            layers.push(Layer::new(offsets, 19, Some(3), state, plain));
            layers.push(Layer::new(offsets, 17, Some(4), state, clipped));
        }
    }
    layers
}

#[test]
fn forward_and_gradients_equal_the_definition() {
    let mut seen = 0;
    for layer in layers() {
        let (tokens, batch) = layer.sizes();
        let given = layer.forward();
        let [x, w] = [&layer.gates_x, &layer.recurrent].map(|x| wide(x));
        let p = layer.projection.clone().unwrap_or_default();
        let h0 = layer.h0.clone().unwrap_or_else(|| vec![0.0; batch * layer.hidden]);
        let c0 = layer.c0.clone().unwrap_or_else(|| vec![0.0; batch * layer.cell]);
        let [y, h_n, c_n] = layer.reference(&x, &w, &wide(&p), &wide(&h0), &wide(&c0));
        close(&given.y, &y, 2e-6);
        close(&given.h_n, &h_n, 2e-6);
        close(&given.c_n, &c_n, 2e-6);
        if let Some(clip) = layer.settings.cell_clip {
            assert!(given.cells.iter().any(|c| c.abs() == clip), "no cell is clipped");
            assert!(given.y.iter().any(|y| y.abs() < 0.5) && given.y.iter().all(|y| y.abs() <= 0.5));
        }

        let d_y = random(7, tokens * layer.hidden);
        let (d_h_n, d_c_n) = (random(8, batch * layer.hidden), random(9, batch * layer.cell));
        let grads = layer.backward(&given, &d_y, &d_h_n, &d_c_n);
        let dot = |x: &[f64], d: &[f32]| x.iter().zip(d).map(|(x, d)| x * f64::from(*d)).sum::<f64>();
        let loss = |[y, h_n, c_n]: [Vec<f64>; 3]| dot(&y, &d_y) + dot(&h_n, &d_h_n) + dot(&c_n, &d_c_n);
        let (pw, hw, cw) = (wide(&p), wide(&h0), wide(&c0));
        let along = |at: usize, value: &[f64]| {
            let mut inputs = [&x[..], &w, &pw, &hw, &cw];
            inputs[at] = value;
            let [x, w, p, h0, c0] = inputs;
            loss(layer.reference(x, w, p, h0, c0))
        };
        close(&grads.d_gates, &gradient(&layer.gates_x, |x| along(0, x)), 2e-5);
        close(&grads.d_recurrent, &gradient(&layer.recurrent, |w| along(1, w)), 2e-5);
        close(&grads.d_projection, &gradient(&p, |p| along(2, p)), 2e-5);
        close(&grads.d_h0, &gradient(&h0, |h0| along(3, h0)), 2e-5);
        close(&grads.d_c0, &gradient(&c0, |c0| along(4, c0)), 2e-5);
        seen += 1;
    }
    assert_eq!(seen, 24);
}

#[test]
fn a_sequence_does_not_depend_on_its_neighbours() {
    let mut seen = 0;
    for precision in [Precision::F32, Precision::Bf16] {
        for (reverse, projects) in [(false, None), (true, Some(24))] {
            let settings = Lstm { reverse, precision, ..Lstm::default() };
            let lengths = [4_u32, 1, 9, 3, 9, 30, 2, 1, 12, 5, 6];
            let offsets: Vec<u32> = [0]
                .into_iter()
                .chain(lengths.iter().scan(0, |end, len| {
                    Some({
                        *end += len;
                        *end
                    })
                }))
                .collect();
            let layer = Layer::new(&offsets, 40, projects, true, settings);
            let all = layer.forward();
            let (tokens, batch) = layer.sizes();
            let (d_y, d_h_n) = (random(7, tokens * layer.hidden), random(8, batch * layer.hidden));
            let d_c_n = random(9, batch * layer.cell);
            let grads = layer.backward(&all, &d_y, &d_h_n, &d_c_n);
            for (sequence, range) in offsets.windows(2).enumerate() {
                let (first, last) = (range[0] as usize, range[1] as usize);
                let rows = |x: &[f32], width: usize| x[first * width..last * width].to_vec();
                let one = |x: &[f32], width: usize| x[sequence * width..][..width].to_vec();
                let mut alone = layer.clone();
                alone.offsets = vec![0, range[1] - range[0]];
                alone.gates_x = rows(&layer.gates_x, 4 * layer.cell);
                alone.h0 = layer.h0.as_ref().map(|h0| one(h0, layer.hidden));
                alone.c0 = layer.c0.as_ref().map(|c0| one(c0, layer.cell));
                let given = alone.forward();
                assert!(given.y == rows(&all.y, layer.hidden), "y of {sequence}");
                assert!(given.h_n == one(&all.h_n, layer.hidden), "h_n of {sequence}");
                assert!(given.c_n == one(&all.c_n, layer.cell), "c_n of {sequence}");
                let (d_y, d_h_n) = (rows(&d_y, layer.hidden), one(&d_h_n, layer.hidden));
                let d = alone.backward(&given, &d_y, &d_h_n, &one(&d_c_n, layer.cell));
                assert!(d.d_gates == rows(&grads.d_gates, 4 * layer.cell), "d_gates of {sequence}");
                assert!(d.d_h0 == one(&grads.d_h0, layer.hidden), "d_h0 of {sequence}");
                assert!(d.d_c0 == one(&grads.d_c0, layer.cell), "d_c0 of {sequence}");
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 44);
}

/// What the states above rest on: a row of a product with packed panels is the same among any number of rows.
#[test]
fn a_row_of_a_packed_product_does_not_depend_on_the_others() {
    let mut seen = 0;
    for (n, k) in [(4 * 40, 40), (77, 1031), (2048, 512)] {
        let (a, b) = (random(1, 40 * k), random(2, n * k));
        for precision in [Precision::F32, Precision::Bf16] {
            let packed = pack(&b, n, k, precision);
            let run = |a: &[f32]| {
                let rows = a.len() / k;
                let mut c = vec![f32::NAN; rows * n];
                packed.nt(Mat::new(a, rows, k), MatMut::new(&mut c, rows, n), None);
                c
            };
            let all = run(&a);
            for rows in 1..40 {
                assert!(run(&a[..rows * k]) == all[..rows * n], "{rows} rows of {n} x {k}");
                let last = &a[rows * k..(rows + 1) * k];
                assert!(run(last) == all[rows * n..(rows + 1) * n], "row {rows} alone of {n} x {k}");
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 6 * 39);
}

#[test]
fn threads_do_not_change_bits() {
    let offsets: Vec<u32> = (0..40).map(|sequence| sequence * (sequence + 1) / 2).collect();
    let settings = Lstm { cell_clip: Some(3.0), projection_clip: Some(3.0), ..Lstm::default() };
    for projects in [None, Some(64)] {
        let layer = Layer::new(&offsets, 160, projects, true, settings);
        let (tokens, batch) = layer.sizes();
        let (d_y, d_h_n) = (random(7, tokens * layer.hidden), random(8, batch * layer.hidden));
        let d_c_n = random(9, batch * layer.cell);
        same_on_any_threads(|| {
            let given = layer.forward();
            let d = layer.backward(&given, &d_y, &d_h_n, &d_c_n);
            let Given { y, h_n, c_n, .. } = given;
            [y, h_n, c_n, d.d_gates, d.d_recurrent, d.d_projection, d.d_h0, d.d_c0].concat()
        });
    }
}

#[test]
fn a_carried_state_continues_a_sequence() {
    let whole = Layer::new(&[0, 9], 24, Some(16), true, Lstm::default());
    let all = whole.forward();
    let mut first = whole.clone();
    first.offsets = vec![0, 5];
    first.gates_x.truncate(5 * 4 * 24);
    let begun = first.forward();
    let mut second = whole.clone();
    second.offsets = vec![0, 4];
    second.gates_x = whole.gates_x[5 * 4 * 24..].to_vec();
    (second.h0, second.c0) = (Some(begun.h_n.clone()), Some(begun.c_n.clone()));
    let ended = second.forward();
    assert_eq!([begun.y, ended.y].concat(), all.y);
    assert!(ended.h_n == all.h_n && ended.c_n == all.c_n);
}

#[test]
fn keeping_nothing_changes_nothing_and_a_nan_stays() {
    let settings = Lstm { cell_clip: Some(1.0), projection_clip: Some(1.0), ..Lstm::default() };
    let mut layer = Layer::new(&UNEVEN, 20, Some(6), false, settings);
    let given = layer.forward();
    let run = |layer: &Layer| {
        let (mut y, mut h_n, mut c_n) = (given.y.clone(), given.h_n.clone(), given.c_n.clone());
        let projection = layer.projection.as_deref();
        let (x, w) = (&layer.gates_x, &layer.recurrent);
        let nothing = (&mut [][..], &mut [][..]);
        forward(
            x, w, projection, None, &UNEVEN, 20, settings, &mut y, &mut h_n, &mut c_n, nothing.0, nothing.1,
        );
        (y, h_n, c_n)
    };
    assert!(run(&layer) == (given.y.clone(), given.h_n.clone(), given.c_n.clone()));
    layer.gates_x[5 * 80] = f32::NAN;
    let (y, ..) = run(&layer);
    // Row 5 is the second of the fourth sequence: it and what follows are NaN, and nothing else.
    for (row, y) in y.chunks(6).enumerate() {
        assert_eq!(y.iter().all(|y| y.is_nan()), (5..11).contains(&row), "row {row}");
        assert_eq!(y.iter().any(|y| y.is_nan()), (5..11).contains(&row), "row {row}");
    }
}

#[test]
#[should_panic(expected = "without a projection the states are as wide as the cells")]
fn a_recurrent_weight_of_another_width_is_refused() {
    let mut layer = Layer::new(&UNEVEN, 20, Some(6), false, Lstm::default());
    layer.projection = None;
    layer.forward();
}
