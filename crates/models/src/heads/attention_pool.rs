//! One vector for a text by a learnt query: the sum of its tokens, each with the share that its product with the query has in
//! their softmax.
//!
//! Paper: Yang et al. 2016, "Hierarchical Attention Networks for Document Classification", section 2.2 (without its hidden layer
//! before the products), <https://aclanthology.org/N16-1174>

use std::sync::Arc;

use burn::tensor::Tensor;
use topwork_kernels::attend_layout::{AttendLayout, Mask};
use topwork_nn::{Init, ParamId, ParamKind, ParamStore, Pass};

use crate::error::Error;
use crate::model::some_tokens;

/// The query.
pub(crate) struct AttentionPool(ParamId);

impl AttentionPool {
    /// Declares `head.pool.query`; it starts from zeros, with which the vector is the mean.
    pub fn declare(store: &mut ParamStore, width: usize, group: usize) -> Self {
        AttentionPool(store.declare("head.pool.query", &[1, width], group, ParamKind::Weight, Init::Zeros))
    }

    /// # Shapes
    /// - `x`: `[tokens, width]`; `offsets`: `[batch + 1]`; returns `[batch, width]`
    ///
    /// # Errors
    /// [`Error::NoTokens`]; a parameter without values.
    pub fn forward(&self, pass: &Pass, x: Tensor<2>, offsets: &Arc<[u32]>) -> Result<Tensor<2>, Error> {
        some_tokens(offsets)?;
        let batch = offsets.len() - 1;
        let query = topwork_ops::embedding(pass.matrix(self.0)?, &vec![0; batch].into());
        let layout = AttendLayout {
            q_offsets: (0..=batch as u32).collect(),
            k_offsets: Arc::clone(offsets),
            k_lens: None,
            heads: 1,
            kv_heads: 1,
            scale: 1.0,
            mask: Mask::Full,
            zero: 0,
        };
        Ok(topwork_ops::attend(query, x.clone(), x, &layout, None, None))
    }
}
