//! Rows of a table by index.

use std::sync::Arc;

use burn::{
    Tensor,
    backend::{
        Autodiff, AutodiffBackend, Backend, Dispatch, Flex,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
            grads::Gradients,
            ops::{Backward, Ops},
        },
        backend_extension,
        tensor::FloatTensor,
    },
};
use topwork_kernels::embedding as kernel;

use crate::{flex, host, profile, record::record};

/// Row `index[i]` of the table as row `i`.
///
/// The gradient has the shape of the table given. To keep it small, give a table of only the rows in
/// use.
///
/// # Shapes
/// - `table`: `[rows, hidden]`
/// - `index`: `[tokens]`
/// - returns: `[tokens, hidden]`
///
/// # Panics
/// If an index is not below `rows`.
pub fn embedding(table: Tensor<2>, index: &Arc<[u32]>) -> Tensor<2> {
    let [rows, _] = table.dims();
    if let Some(&largest) = index.iter().max() {
        assert!((largest as usize) < rows, "embedding: index {largest} into a table of {rows} rows");
    }
    Tensor::from_dispatch(Dispatch::embedding_forward(table.into_dispatch(), index.clone()))
}

/// [`embedding`] on a backend's primitives.
#[backend_extension(Flex, Autodiff, Cube: cfg(feature = "cube"))]
pub trait EmbeddingOps: Backend {
    /// Rows of a table by index: see [`embedding`].
    fn embedding_forward(table: FloatTensor<Self>, index: Arc<[u32]>) -> FloatTensor<Self> {
        composed::forward::<Self>(table, &index)
    }

    /// The gradient of a table of `rows` rows: rows of `d_y` summed by index.
    fn embedding_d_table(d_y: FloatTensor<Self>, index: Arc<[u32]>, rows: usize) -> FloatTensor<Self> {
        composed::d_table::<Self>(d_y, &index, rows)
    }
}

/// [`embedding`] in Burn's own operations, for any backend.
pub mod composed {
    use burn::backend::{
        Backend,
        tensor::{FloatTensor, IndexingUpdateOp, IntTensor},
    };

    use crate::host;

    /// Rows of a table by index.
    pub fn forward<B: Backend>(table: FloatTensor<B>, index: &[u32]) -> FloatTensor<B> {
        let index = device_index::<B>(index, &table);
        B::float_select(table, 0, index)
    }

    /// Rows of `d_y` summed by index into `rows` rows.
    pub fn d_table<B: Backend>(d_y: FloatTensor<B>, index: &[u32], rows: usize) -> FloatTensor<B> {
        let [_, hidden] = host::dims(&d_y);
        let index = device_index::<B>(index, &d_y);
        let zeros = host::zeros::<B>([rows, hidden], &d_y);
        B::float_select_assign(zeros, 0, index, d_y, IndexingUpdateOp::Add)
    }

    fn device_index<B: Backend>(index: &[u32], like: &FloatTensor<B>) -> IntTensor<B> {
        let values = index.iter().map(|&row| row as usize);
        host::indices::<B>(values, [index.len()], like)
    }
}

impl EmbeddingOps for Flex {
    fn embedding_forward(table: FloatTensor<Self>, index: Arc<[u32]>) -> FloatTensor<Self> {
        let _time = profile::time("embedding_forward");
        if !flex::all_f32([&table]) {
            return composed::forward::<Self>(table, &index);
        }
        let table = flex::dense(table);
        let [_, hidden] = host::dims(&table);
        let mut y = vec![0.0; index.len() * hidden];
        kernel::gather(flex::values(&table), hidden, &index, &mut y, false);
        flex::tensor(y, [index.len(), hidden])
    }

    fn embedding_d_table(d_y: FloatTensor<Self>, index: Arc<[u32]>, rows: usize) -> FloatTensor<Self> {
        let _time = profile::time("embedding_d_table");
        if !flex::all_f32([&d_y]) {
            return composed::d_table::<Self>(d_y, &index, rows);
        }
        let d_y = flex::dense(d_y);
        let [_, hidden] = host::dims(&d_y);
        let mut d_table = vec![0.0; rows * hidden];
        kernel::scatter(flex::values(&d_y), hidden, &index, rows, &mut d_table);
        flex::tensor(d_table, [rows, hidden])
    }
}

#[cfg(feature = "cube")]
impl EmbeddingOps for burn::backend::Cube {}

/// Parent: table.
#[derive(Debug)]
struct EmbeddingBackward;

impl<B: EmbeddingOps> Backward<B, 1> for EmbeddingBackward {
    /// The index and the rows of the table.
    type State = (Arc<[u32]>, usize);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let d_y = grads.consume::<B>(&ops.node);
        let (index, rows) = ops.state;
        let [node] = ops.parents;
        if let Some(node) = node {
            grads.register::<B>(node.id, B::embedding_d_table(d_y, index, rows));
        }
    }
}

impl<B: EmbeddingOps, C: CheckpointStrategy> EmbeddingOps for Autodiff<B, C> {
    fn embedding_forward(table: FloatTensor<Self>, index: Arc<[u32]>) -> FloatTensor<Self> {
        if !table.is_tracked() {
            return Self::from_inner(B::embedding_forward(table.into_primitive(), index));
        }
        let [rows, _] = host::dims(&table);
        let (table, node) = table.into_parts();
        let y = B::embedding_forward(table, index.clone());
        record::<B, C, _, 1>(EmbeddingBackward, [node], (index, rows), y)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::check::{Case, normal};

    pub(crate) fn gradients() -> usize {
        let mut checked = 0;
        // Repeated rows, rows never used, one token, no token order.
        for (rows, hidden, index) in [(1, 1, &[0][..]), (5, 7, &[4, 0, 4, 4, 2]), (3, 33, &[1; 90])] {
            let index: Arc<[u32]> = index.into();
            let case = Case {
                name: format!("embedding {rows}x{hidden} by {} tokens", index.len()),
                shapes: vec![vec![rows, hidden]],
                operation: &|inputs| Dispatch::embedding_forward(inputs[0].clone(), index.clone()),
                composed: &|inputs| composed::forward::<Dispatch>(inputs[0].clone(), &index),
            };
            checked += case.check();
        }
        checked
    }

    #[test]
    #[should_panic(expected = "embedding: index 3 into a table of 3 rows")]
    fn an_index_outside_the_table_is_refused() {
        embedding(normal([3, 2], 1), &[0, 3].into());
    }
}
