//! Arrays of any number of axes, and what is done to them number by number. Everything is computed in 64 bits.

/// What numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Real,
    Whole,
    Bool,
}

/// An array, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    pub shape: Vec<usize>,
    pub kind: Kind,
    pub data: Vec<f64>,
}

impl Array {
    pub fn new(shape: Vec<usize>, kind: Kind, data: Vec<f64>) -> Array {
        assert_eq!(shape.iter().product::<usize>(), data.len(), "{shape:?}");
        Array { shape, kind, data }
    }

    /// An axis that may be counted from the end.
    pub fn axis(&self, axis: i64) -> usize {
        if axis < 0 { (self.shape.len() as i64 + axis) as usize } else { axis as usize }
    }

    /// Numbers as the places they are.
    pub fn whole(&self) -> Vec<i64> {
        assert_eq!(self.kind, Kind::Whole);
        self.data.iter().map(|&x| x as i64).collect()
    }

    /// Sizes before, of and behind an axis.
    pub fn around(&self, axis: usize) -> [usize; 3] {
        let size = |axes: &[usize]| axes.iter().product::<usize>();
        [size(&self.shape[..axis]), self.shape[axis], size(&self.shape[axis + 1..])]
    }

    /// Each number by itself.
    pub fn map(&self, f: impl Fn(f64) -> f64) -> Array {
        assert_eq!(self.kind, Kind::Real);
        Array { data: self.data.iter().map(|&x| f(x)).collect(), ..self.clone() }
    }

    /// The array repeated to a shape, as numpy does it.
    pub fn spread(&self, shape: &[usize]) -> Array {
        let lead = shape.len() - self.shape.len();
        let data = (0..shape.iter().product::<usize>()).map(|at| {
            let (mut rest, mut place, mut step) = (at, 0, 1);
            for axis in (0..shape.len()).rev() {
                let index = rest % shape[axis];
                rest /= shape[axis];
                if axis >= lead {
                    let own = self.shape[axis - lead];
                    assert!(own == 1 || own == shape[axis], "{:?} to {shape:?}", self.shape);
                    place += if own == 1 { 0 } else { index * step };
                    step *= own;
                }
            }
            self.data[place]
        });
        Array { shape: shape.to_vec(), kind: self.kind, data: data.collect() }
    }

    /// Two arrays, number by number.
    pub fn with(&self, other: &Array, f: impl Fn(f64, f64) -> f64) -> Array {
        assert_eq!(self.kind, other.kind, "numbers of different kinds");
        let shape = common(&self.shape, &other.shape);
        let (a, b) = (self.spread(&shape), other.spread(&shape));
        Array { data: a.data.iter().zip(&b.data).map(|(&x, &y)| f(x, y)).collect(), ..a }
    }

    /// Reduces an axis.
    pub fn reduce(&self, axis: i64, keep: bool, f: impl Fn(&[f64]) -> f64) -> Array {
        let axis = self.axis(axis);
        let [before, len, behind] = self.around(axis);
        let mut data = Vec::with_capacity(before * behind);
        for row in 0..before * behind {
            let (outer, inner) = (row / behind, row % behind);
            let line: Vec<f64> = (0..len).map(|at| self.data[(outer * len + at) * behind + inner]).collect();
            data.push(f(&line));
        }
        let mut shape = self.shape.clone();
        if keep {
            shape[axis] = 1;
        } else {
            shape.remove(axis);
        }
        Array { shape, kind: self.kind, data }
    }

    pub fn transpose(&self, order: &[i64]) -> Array {
        let shape: Vec<usize> = order.iter().map(|&axis| self.shape[axis as usize]).collect();
        let stride = |axis: usize| self.shape[axis + 1..].iter().product::<usize>();
        let steps: Vec<usize> = order.iter().map(|&axis| stride(axis as usize)).collect();
        let data = (0..self.data.len()).map(|at| {
            let (mut rest, mut place) = (at, 0);
            for axis in (0..shape.len()).rev() {
                place += rest % shape[axis] * steps[axis];
                rest /= shape[axis];
            }
            self.data[place]
        });
        Array { data: data.collect(), shape, kind: self.kind }
    }

    /// Matrix products of the last two axes.
    pub fn product(&self, other: &Array) -> Array {
        let (a, b) = (self.shape.as_slice(), other.shape.as_slice());
        let ([lead @ .., rows, inner], [other_lead @ .., other_inner, cols]) = (a, b) else {
            panic!("{a:?} times {b:?}")
        };
        assert_eq!(inner, other_inner, "{a:?} times {b:?}");
        let lead = common(lead, other_lead);
        let (a, b) = (
            self.spread(&[&lead, &[*rows, *inner][..]].concat()),
            other.spread(&[&lead, &[*inner, *cols][..]].concat()),
        );
        let shape = [&lead, &[*rows, *cols][..]].concat();
        let data = (0..shape.iter().product::<usize>()).map(|at| {
            let (matrix, row, col) = (at / (rows * cols), at / cols % rows, at % cols);
            (0..*inner)
                .map(|k| {
                    a.data[(matrix * rows + row) * inner + k] * b.data[(matrix * inner + k) * cols + col]
                })
                .sum()
        });
        Array { data: data.collect(), shape, kind: Kind::Real }
    }
}

/// The shape that both can be repeated to.
pub fn common(a: &[usize], b: &[usize]) -> Vec<usize> {
    let axes = a.len().max(b.len());
    let size =
        |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(axes).map_or(1, |at| shape[at]);
    (0..axes).map(|axis| if size(a, axis) == 1 { size(b, axis) } else { size(a, axis) }).collect()
}
