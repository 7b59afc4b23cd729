//! Tensors whose numbers do not lie one behind the other: transposed, sliced, in Fortran order.

use std::ops::Range;

/// Where the numbers of a tensor lie in a longer run of them, all of it within that run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Strided {
    offset: usize,
    shape: Vec<usize>,
    stride: Vec<usize>,
    count: usize,
    /// One past the last number.
    end: usize,
}

impl Strided {
    /// A tensor of `shape` in a run of `len` numbers, its first number at `offset`, `stride` numbers between neighbours
    /// along each axis.
    ///
    /// More numbers than the run has (an axis repeated by a stride of 0) are refused: the file would not back the
    /// memory they take.
    pub fn new(offset: usize, shape: Vec<usize>, stride: Vec<usize>, len: usize) -> Result<Strided, String> {
        if shape.len() != stride.len() {
            return Err(format!("shape {shape:?} has {} axes, stride {stride:?} not", shape.len()));
        }
        let count = shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size));
        let count = match count {
            _ if shape.contains(&0) => 0,
            Some(count) => count,
            None => return Err(format!("shape {shape:?} is beyond any file")),
        };
        if count == 0 {
            return match offset <= len {
                true => Ok(Strided { offset, shape, stride, count, end: offset }),
                false => Err(format!("it starts at number {offset} of a storage of {len}")),
            };
        }
        let last = shape.iter().zip(&stride).try_fold(offset, |last, (&size, &step)| {
            (size - 1).checked_mul(step).and_then(|reach| last.checked_add(reach))
        });
        match last {
            Some(last) if last < len => {}
            _ => {
                return Err(format!(
                    "shape {shape:?}, stride {stride:?} and offset {offset} reach beyond its storage of {len} numbers"
                ));
            }
        }
        if count > len {
            return Err(format!(
                "shape {shape:?} repeats the {len} numbers of its storage: call contiguous() before saving"
            ));
        }
        Ok(Strided { offset, shape, stride, count, end: last.unwrap_or(0) + 1 })
    }

    /// A tensor whose last axis runs fastest, one number behind the other.
    pub fn row_major(shape: Vec<usize>, len: usize) -> Result<Strided, String> {
        let stride = row_major_stride(&shape);
        Strided::new(0, shape, stride, len)
    }

    /// A tensor whose first axis runs fastest (Fortran's order), one number behind the other.
    pub fn column_major(shape: Vec<usize>, len: usize) -> Result<Strided, String> {
        let stride = dense(shape.iter());
        Strided::new(0, shape, stride, len)
    }

    /// How many numbers it has.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The shape.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The numbers from the first to the last of the tensor, those of others in between included.
    pub fn span(&self) -> Range<usize> {
        self.offset..self.end
    }

    /// Whether the span is the tensor itself, row-major.
    pub fn is_contiguous(&self) -> bool {
        let mut step = 1;
        self.count == 0
            || self.shape.iter().zip(&self.stride).rev().all(|(&size, &stride)| {
                let fits = size == 1 || stride == step;
                step *= size;
                fits
            })
    }

    /// The tensor, row-major, out of the numbers of its [`span`](Strided::span).
    pub fn gather(&self, span: &[f32]) -> Vec<f32> {
        let mut out = Vec::with_capacity(self.count);
        let (Some((&size, outer)), Some((&step, strides))) =
            (self.shape.split_last(), self.stride.split_last())
        else {
            return span.to_vec();
        };
        if self.count == 0 {
            return out;
        }
        let mut place = vec![0; outer.len()];
        let mut start = 0;
        loop {
            out.extend((0..size).map(|n| span[start + n * step]));
            // The next row: the last axis that still has room goes on, those behind it start again.
            let mut axis = outer.len();
            loop {
                if axis == 0 {
                    return out;
                }
                axis -= 1;
                place[axis] += 1;
                start += strides[axis];
                if place[axis] < outer[axis] {
                    break;
                }
                start -= strides[axis] * outer[axis];
                place[axis] = 0;
            }
        }
    }
}

/// A row-major tensor with its axes in another order: axis `n` of the result is axis `axes[n]` of `data`, whose shape is `shape`.
pub(crate) fn turn(data: &[f32], shape: &[usize], axes: &[usize]) -> Vec<f32> {
    let strides = row_major_stride(shape);
    let (shape, stride) = axes.iter().map(|&axis| (shape[axis], strides[axis])).unzip();
    Strided { offset: 0, shape, stride, count: data.len(), end: data.len() }.gather(data)
}

/// The strides of a tensor whose last axis runs fastest, without gaps; as in PyTorch an empty axis counts as one of 1.
pub(crate) fn row_major_stride(shape: &[usize]) -> Vec<usize> {
    let mut stride = dense(shape.iter().rev());
    stride.reverse();
    stride
}

/// The strides of axes without gaps, the fastest first.
fn dense<'s>(sizes: impl Iterator<Item = &'s usize>) -> Vec<usize> {
    let mut step = 1usize;
    let mut stride = Vec::new();
    for &size in sizes {
        stride.push(step);
        step = step.saturating_mul(size.max(1));
    }
    stride
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gathered(offset: usize, shape: &[usize], stride: &[usize]) -> Vec<f32> {
        let storage: Vec<f32> = (0..24).map(|x| x as f32).collect();
        let strided = Strided::new(offset, shape.to_vec(), stride.to_vec(), 24).unwrap();
        strided.gather(&storage[strided.span()])
    }

    #[test]
    fn numbers_are_picked_by_their_strides() {
        assert_eq!(gathered(0, &[2, 3], &[3, 1]), [0., 1., 2., 3., 4., 5.]);
        assert_eq!(gathered(0, &[3, 2], &[1, 3]), [0., 3., 1., 4., 2., 5.]);
        assert_eq!(gathered(5, &[2, 2], &[12, 2]), [5., 7., 17., 19.]);
        assert_eq!(gathered(7, &[], &[]), [7.]);
        assert_eq!(gathered(2, &[2, 3], &[0, 1]), [2., 3., 4., 2., 3., 4.]);
        assert_eq!(gathered(0, &[2, 1, 2, 2], &[4, 99, 1, 2]), [0., 2., 1., 3., 4., 6., 5., 7.]);
        assert!(gathered(24, &[0, 5], &[5, 1]).is_empty());
    }

    #[test]
    fn contiguous_is_what_needs_no_picking() {
        let check = |shape: &[usize], stride: &[usize], expected| {
            let strided = Strided::new(1, shape.to_vec(), stride.to_vec(), 100).unwrap();
            assert_eq!(strided.is_contiguous(), expected, "{shape:?} {stride:?}");
        };
        check(&[2, 3], &[3, 1], true);
        check(&[2, 1, 3], &[3, 77, 1], true);
        check(&[], &[], true);
        check(&[0], &[9], true);
        check(&[2, 3], &[1, 2], false);
        check(&[2, 3], &[4, 1], false);
        check(&[2], &[0], false);
    }

    #[test]
    fn what_reaches_outside_is_refused() {
        let check = |offset, shape: &[usize], stride: &[usize], part: &str| {
            let error = Strided::new(offset, shape.to_vec(), stride.to_vec(), 24).unwrap_err();
            assert!(error.contains(part), "{error}");
        };
        check(0, &[25], &[1], "beyond its storage of 24");
        check(1, &[24], &[1], "beyond its storage");
        check(24, &[], &[], "beyond its storage");
        check(25, &[0], &[1], "number 25 of a storage of 24");
        check(0, &[2, 2], &[1], "2 axes");
        check(0, &[2, 2], &[usize::MAX, 1], "beyond its storage");
        check(usize::MAX, &[2], &[1], "beyond its storage");
        check(0, &[1 << 40, 1 << 40], &[0, 0], "beyond any file");
        check(0, &[1 << 30], &[0], "repeats the 24 numbers");
    }

    #[test]
    fn fortran_order_is_a_transposition() {
        let strided = Strided::column_major(vec![2, 3], 6).unwrap();
        assert_eq!(strided.gather(&[0., 1., 2., 3., 4., 5.]), [0., 2., 4., 1., 3., 5.]);
        assert!(Strided::column_major(vec![usize::MAX, usize::MAX, 2], 6).is_err());
        assert!(Strided::row_major(vec![2, 3], 6).unwrap().is_contiguous());
        assert_eq!(Strided::row_major(vec![0, 3], 0).unwrap().count(), 0);
    }

    #[test]
    fn axes_turn() {
        let data: Vec<f32> = (0..24).map(|x| x as f32).collect();
        assert_eq!(turn(&data[..6], &[2, 3], &[1, 0]), [0., 3., 1., 4., 2., 5.]);
        let turned = turn(&data, &[2, 3, 4], &[2, 0, 1]);
        for (a, b, c) in (0..2).flat_map(|a| (0..3).flat_map(move |b| (0..4).map(move |c| (a, b, c)))) {
            assert_eq!(turned[c * 6 + a * 3 + b], data[a * 12 + b * 4 + c]);
        }
        assert_eq!(turn(&[7.0], &[], &[]), [7.0]);
        assert!(turn(&[], &[0, 3], &[1, 0]).is_empty());
    }
}
