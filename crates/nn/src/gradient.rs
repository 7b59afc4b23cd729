//! Sums of gradients, dense or by rows.

use std::sync::Arc;

use burn::tensor::{IndexingUpdateOp, Int, Tensor, TensorData};
use topwork_ops::Gradient;

/// The sum of two gradients of one parameter. `shape` is that of the parameter; only matrices have gradients by
/// rows. Rows stay rows unless a dense gradient meets them.
pub fn add(a: Gradient, b: Gradient, shape: &[usize]) -> Gradient {
    match (a, b) {
        (Gradient::Dense(a), Gradient::Dense(b)) => Gradient::Dense(topwork_ops::accumulate(a, b)),
        (Gradient::Dense(dense), Gradient::Rows { rows, grad })
        | (Gradient::Rows { rows, grad }, Gradient::Dense(dense)) => {
            let dense = Tensor::<2>::from_dispatch(dense);
            let index = indices(&rows, &dense);
            let rows = Tensor::<2>::from_dispatch(grad);
            Gradient::Dense(dense.select_assign(0, index, rows, IndexingUpdateOp::Add).into_dispatch())
        }
        (Gradient::Rows { rows: a, grad: x }, Gradient::Rows { rows: b, grad: y }) => {
            let mut union: Vec<u32> = a.iter().chain(b.iter()).copied().collect();
            union.sort_unstable();
            union.dedup();
            let (x, y) = (Tensor::<2>::from_dispatch(x), Tensor::<2>::from_dispatch(y));
            let place = |rows: &[u32]| -> Vec<u32> {
                rows.iter().map(|r| union.partition_point(|u| u < r) as u32).collect()
            };
            let zeros = Tensor::<2>::zeros([union.len(), shape[1]], &x.device());
            let (at_x, at_y) = (indices(&place(&a), &x), indices(&place(&b), &y));
            let sum = zeros.select_assign(0, at_x, x, IndexingUpdateOp::Add).select_assign(
                0,
                at_y,
                y,
                IndexingUpdateOp::Add,
            );
            Gradient::Rows { rows: Arc::from(union), grad: sum.into_dispatch() }
        }
    }
}

/// Sum of squares of a gradient's values; rows that are not there are zero.
pub fn sum_squares(gradient: &Gradient) -> f64 {
    match gradient {
        Gradient::Dense(grad) | Gradient::Rows { grad, .. } => topwork_ops::sum_squares(grad),
    }
}

fn indices(rows: &[u32], like: &Tensor<2>) -> Tensor<1, Int> {
    let rows: Vec<i32> = rows.iter().map(|&r| r as i32).collect();
    let len = rows.len();
    Tensor::from_data(TensorData::new(rows, [len]), &like.device())
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn rows(index: &[u32], values: &[f32]) -> Gradient {
        let data = TensorData::new(values.to_vec(), [index.len(), 2]);
        let grad = Tensor::<2>::from_data(data, &Device::flex()).into_dispatch();
        Gradient::Rows { rows: Arc::from(index), grad }
    }

    fn values(tensor: burn::backend::DispatchTensor) -> Vec<f32> {
        Tensor::<2>::from_dispatch(tensor).into_data().try_into_vec().unwrap()
    }

    #[test]
    fn rows_meet_by_their_index() {
        let sum =
            add(rows(&[1, 4], &[1.0, 2.0, 3.0, 4.0]), rows(&[0, 4], &[10.0, 20.0, 30.0, 40.0]), &[6, 2]);
        let Gradient::Rows { rows, grad } = sum else { panic!("rows stay rows") };
        assert_eq!(&rows[..], [0, 1, 4]);
        assert_eq!(values(grad), [10.0, 20.0, 1.0, 2.0, 33.0, 44.0]);
    }

    #[test]
    fn dense_and_rows_become_dense() {
        let data = TensorData::new(vec![1.0f32; 6], [3, 2]);
        let dense = Gradient::Dense(Tensor::<2>::from_data(data, &Device::flex()).into_dispatch());
        let Gradient::Dense(sum) = add(dense, rows(&[2], &[5.0, 6.0]), &[3, 2]) else { panic!("dense") };
        assert_eq!(values(sum), [1.0, 1.0, 1.0, 1.0, 6.0, 7.0]);
    }
}
