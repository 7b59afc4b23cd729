//! Products against f64, on every path, and the promises about bits.

use super::pack::{Order, round_bf16};
use super::product::Product;
use super::*;
use crate::rng::Stream;
use crate::testing::{close, random, same_on_any_threads};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Layout {
    Nt,
    Nn,
    Tn,
}

const LAYOUTS: [Layout; 3] = [Layout::Nt, Layout::Nn, Layout::Tn];

impl Layout {
    fn orders(self) -> (Order, Order) {
        match self {
            Layout::Nt => (Order::AlongK, Order::AlongK),
            Layout::Nn => (Order::AlongK, Order::AcrossK),
            Layout::Tn => (Order::AcrossK, Order::AcrossK),
        }
    }
}

struct Case {
    layout: Layout,
    m: usize,
    n: usize,
    k: usize,
    a: Vec<f32>,
    b: Vec<f32>,
    gap: usize,
}

fn shape(order: Order, p: usize, k: usize) -> (usize, usize) {
    if order == Order::AlongK { (p, k) } else { (k, p) }
}

impl Case {
    fn new(layout: Layout, m: usize, n: usize, k: usize, gap: usize) -> Self {
        let (a_order, b_order) = layout.orders();
        let len = |(rows, cols): (usize, usize)| rows * (cols + gap);
        let (a, b) = (random(1, len(shape(a_order, m, k))), random(2, len(shape(b_order, n, k))));
        Self { layout, m, n, k, a, b, gap }
    }

    fn mat<'a>(&self, data: &'a [f32], order: Order, p: usize) -> Mat<'a> {
        let (rows, cols) = shape(order, p, self.k);
        Mat::strided(data, rows, cols, cols + self.gap)
    }

    fn product<'a>(
        &'a self,
        kernel: (Kernel, Convert),
        bias: Option<&'a [f32]>,
        accumulate: bool,
    ) -> Product<'a> {
        let (a_order, b_order) = self.layout.orders();
        let (a, b) = (self.mat(&self.a, a_order, self.m), self.mat(&self.b, b_order, self.n));
        Product::new(a, a_order, b, b_order, bias, accumulate, kernel)
    }

    fn expected(&self, round: impl Fn(f32) -> f32) -> Vec<f64> {
        let (a_order, b_order) = self.layout.orders();
        let get = |data: &[f32], order: Order, p: usize, all: usize, k: usize| {
            let stride = shape(order, all, self.k).1 + self.gap;
            f64::from(round(if order == Order::AlongK { data[p * stride + k] } else { data[k * stride + p] }))
        };
        let mut c = Vec::with_capacity(self.m * self.n);
        for i in 0..self.m {
            for j in 0..self.n {
                let dot = |k| get(&self.a, a_order, i, self.m, k) * get(&self.b, b_order, j, self.n, k);
                c.push((0..self.k).map(dot).sum());
            }
        }
        c
    }
}

/// A tile on bf16 pairs in plain code: what surrounds the hardware kernel is tested on every CPU.
///
/// # Safety
/// As [`Tile`]; the kernel below is the only one to call it.
#[allow(unsafe_code, clippy::too_many_arguments, reason = "has the type of a tile")]
unsafe fn plain_pairs<const R: usize, const W: usize>(
    steps: usize,
    a: *const f32,
    _: usize,
    b: *const f32,
    c: *mut f32,
    stride: usize,
    bias: *const f32,
    add: bool,
) {
    let halves = |x: f32| [f32::from_bits(x.to_bits() << 16), f32::from_bits(x.to_bits() & 0xffff_0000)];
    for r in 0..R {
        for col in 0..4 * W {
            let mut sum = 0.0;
            for step in 0..steps {
                // SAFETY: panels of `steps` steps, 4 and 8 elements each.
                let (a, b) = unsafe { (halves(*a.add(step * 4 + r)), halves(*b.add(step * 8 + col))) };
                sum += a[0] * b[0] + a[1] * b[1];
            }
            // SAFETY: the tile's own elements.
            unsafe {
                let c = c.add(r * stride + col);
                sum += if bias.is_null() { 0.0 } else { *bias.add(col) };
                *c = if add { sum + *c } else { sum };
            }
        }
    }
}

/// A CPU with bf16 pairs and small panels.
fn plain_pair_kernel() -> (Kernel, Convert) {
    const TILES: &[&[super::tile::Tile]] = &[
        &[plain_pairs::<1, 1>, plain_pairs::<1, 2>],
        &[plain_pairs::<2, 1>, plain_pairs::<2, 2>],
        &[plain_pairs::<3, 1>, plain_pairs::<3, 2>],
        &[plain_pairs::<4, 1>, plain_pairs::<4, 2>],
    ];
    (Kernel { tiles: TILES, rows: None, pair: 2, depth: 48, ..f32_kernel(Path::Portable) }, Convert::Pair)
}

fn kernels() -> Vec<(Kernel, Convert)> {
    let mut kernels = vec![plain_pair_kernel()];
    for path in Path::ALL.into_iter().filter(|path| path.available()) {
        kernels.push(kernel_on(path, Precision::F32, false));
        kernels.push(kernel_on(path, Precision::Bf16, false));
    }
    #[cfg(target_arch = "x86_64")]
    if cpu::pairs() {
        kernels.push(kernel_on(Path::Avx512, Precision::Bf16, true));
    } else {
        println!("skipped: this cpu has no bf16 products (AVX512-BF16), only their emulation is tested");
    }
    #[cfg(target_arch = "x86_64")]
    if super::amx::available() {
        kernels.push((super::amx::kernel(), Convert::Pair));
    } else {
        println!("skipped: this cpu has no tile registers (AMX)");
    }
    kernels
}

#[test]
fn every_path_equals_the_definition_at_odd_sizes() {
    let mut sizes = Vec::new();
    for m in [1, 3, 8, 17, 33] {
        for n in [1, 3, 31, 48, 100] {
            for k in [1, 3, 17, 33, 100] {
                sizes.push((m, n, k));
            }
        }
    }
    sizes.extend([(100, 97, 401), (31, 144, 1025), (130, 2, 768), (2, 130, 800)]);
    let (kernels, mut seen) = (kernels(), 0);
    for (m, n, k) in sizes.iter().copied() {
        for layout in LAYOUTS {
            let case = Case::new(layout, m, n, k, (m + n) % 3);
            let (exact, rounded) = (case.expected(|x| x), case.expected(round_bf16));
            for &(kernel, convert) in &kernels {
                let expected = if convert == Convert::Keep { &exact } else { &rounded };
                let mut c = vec![f32::NAN; m * n];
                case.product((kernel, convert), None, false).run_here(MatMut::new(&mut c, m, n));
                // One chain of k roundings, each of half a unit of 6e-8, adding up like a random walk.
                close(&c, expected, 1e-6 + 4e-8 * (k as f64).sqrt());
                seen += 1;
            }
        }
    }
    assert_eq!(seen, sizes.len() * 3 * kernels.len());
    assert!(kernels.len() >= 2);
}

#[test]
fn bias_accumulation_and_gaps_in_c() {
    for (m, n, k) in [(1, 1, 1), (17, 50, 33), (9, 48, 800), (3, 16, 0), (32, 64, 900), (50, 96, 64)] {
        let case = Case::new(Layout::Nt, m, n, k, 2);
        let (bias, old) = (random(3, n), random(4, m * (n + 5)));
        let (exact, rounded) = (case.expected(|x| x), case.expected(round_bf16));
        for kernel in kernels() {
            let product = if kernel.1 == Convert::Keep { &exact } else { &rounded };
            for (with_bias, accumulate) in [(false, false), (true, false), (false, true), (true, true)] {
                let mut c = old.clone();
                case.product(kernel, with_bias.then_some(&bias[..]), accumulate).run_here(MatMut::strided(
                    &mut c,
                    m,
                    n,
                    n + 5,
                ));
                let mut expected = Vec::new();
                for (i, row) in old.chunks(n + 5).enumerate() {
                    for (j, &was) in row.iter().enumerate() {
                        let was = f64::from(was);
                        let sum = if j < n { product[i * n + j] } else { was };
                        let sum = sum + if with_bias && j < n { f64::from(bias[j]) } else { 0.0 };
                        expected.push(sum + if accumulate && j < n { was } else { 0.0 });
                    }
                }
                close(&c, &expected, 2e-6);
            }
        }
    }
}

#[test]
fn a_row_does_not_depend_on_the_other_rows() {
    let mut seen = 0;
    for (n, k) in [(768, 384), (2, 768), (50, 1000), (100, 3)] {
        for precision in [Precision::F32, Precision::Bf16] {
            let (all, weight, bias) = (random(1, 200 * k), random(2, n * k), random(3, n));
            let run = |layout, rows: &[f32]| {
                let m = rows.len() / k;
                let mut c = vec![0.0; m * n];
                let (a, out) = (Mat::new(rows, m, k), MatMut::new(&mut c, m, n));
                match layout {
                    Layout::Nt => nt(a, Mat::new(&weight, n, k), out, Some(&bias), false, precision),
                    _ => nn(a, Mat::new(&weight, k, n), out, false, precision),
                }
                c
            };
            for layout in [Layout::Nt, Layout::Nn] {
                let whole = run(layout, &all);
                let mut stream = Stream(5);
                for count in [1, 2, 7, 8, 9, 65] {
                    let first = stream.below(200 - count as u64) as usize;
                    let part = run(layout, &all[first * k..(first + count) * k]);
                    assert!(
                        part == whole[first * n..(first + count) * n],
                        "{layout:?} {n} {k} rows {first}+{count}"
                    );
                    seen += 1;
                }
            }
        }
    }
    assert_eq!(seen, 4 * 2 * 2 * 6);
}

#[test]
fn threads_do_not_change_bits() {
    for layout in LAYOUTS {
        for (m, n, k) in [(300, 200, 500), (1024, 2, 100), (5, 1000, 384)] {
            let case = Case::new(layout, m, n, k, 0);
            for precision in [Precision::F32, Precision::Bf16] {
                same_on_any_threads(|| {
                    let mut c = vec![0.0; m * n];
                    case.product(kernel(precision), None, false).run(MatMut::new(&mut c, m, n));
                    c
                });
            }
        }
    }
}

#[test]
fn the_public_layouts_are_the_ones_they_say() {
    let (m, n, k) = (20, 30, 40);
    for layout in LAYOUTS {
        let case = Case::new(layout, m, n, k, 0);
        let (a_order, b_order) = layout.orders();
        let (a, b) = (case.mat(&case.a, a_order, m), case.mat(&case.b, b_order, n));
        let mut c = vec![f32::NAN; m * n];
        let out = MatMut::new(&mut c, m, n);
        match layout {
            Layout::Nt => nt(a, b, out, None, false, Precision::F32),
            Layout::Nn => nn(a, b, out, false, Precision::F32),
            Layout::Tn => tn(a, b, out, false, Precision::F32),
        }
        close(&c, &case.expected(|x| x), 1e-6);
    }
}

#[test]
fn nan_reaches_exactly_its_row() {
    let mut a = random(1, 10 * 20);
    a[3 * 20 + 7] = f32::NAN;
    let b = random(2, 30 * 20);
    let mut c = vec![0.0; 300];
    for precision in [Precision::F32, Precision::Bf16] {
        nt(Mat::new(&a, 10, 20), Mat::new(&b, 30, 20), MatMut::new(&mut c, 10, 30), None, false, precision);
        for (row, c) in c.chunks(30).enumerate() {
            assert!(c.iter().all(|x| x.is_nan() == (row == 3)), "row {row}");
        }
    }
}

#[test]
#[should_panic(expected = "a has k 3, b has k 4")]
fn shapes_that_do_not_fit_are_refused() {
    nt(
        Mat::new(&[0.0; 3], 1, 3),
        Mat::new(&[0.0; 4], 1, 4),
        MatMut::new(&mut [0.0], 1, 1),
        None,
        false,
        Precision::F32,
    );
}

#[test]
fn weights_packed_once_give_the_same_bits() {
    for precision in [Precision::F32, Precision::Bf16] {
        for (m, parts, k) in [
            (1, vec![1], 1),
            (3, vec![50], 17),
            (20, vec![48, 48, 48], 96),
            (37, vec![31, 7, 90], 385),
            (130, vec![384], 1536),
            (2, vec![5], 3001),
        ] {
            let n = parts.iter().sum::<usize>();
            let (a, b, bias) = (random(1, m * k), random(2, n * k), random(3, n));
            let mut expected = vec![f32::NAN; m * n];
            let a = Mat::new(&a, m, k);
            nt(a, Mat::new(&b, n, k), MatMut::new(&mut expected, m, n), Some(&bias), false, precision);
            let mut rest = b.as_slice();
            let stacked: Vec<Mat<'_>> = parts
                .iter()
                .map(|&rows| {
                    let (these, after) = rest.split_at(rows * k);
                    rest = after;
                    Mat::new(these, rows, k)
                })
                .collect();
            let packed = Packed::new(&stacked, precision);
            assert_eq!((packed.rows(), packed.cols(), packed.precision()), (n, k, precision));
            let mut c = vec![f32::NAN; m * n];
            packed.nt(a, MatMut::new(&mut c, m, n), Some(&bias));
            assert!(c.iter().zip(&expected).all(|(x, y)| x.to_bits() == y.to_bits()), "{m} {parts:?} {k}");
        }
    }
}
