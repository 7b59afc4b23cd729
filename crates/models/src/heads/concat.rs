//! ULMFiT's classifier: the last token, the maximum and the mean of a text side by side, through two maps with batch norms.
//!
//! Paper: Howard and Ruder 2018, "Universal Language Model Fine-tuning for Text Classification", section 3.3,
//! <https://arxiv.org/abs/1801.06146>; the order within a block is that of fastai's `PoolingLinearClassifier`.

use std::sync::Arc;

use burn::tensor::{Tensor, activation::relu};
use topwork_kernels::pool::Pool;
use topwork_nn::layers::{BatchNorm, Linear};
use topwork_nn::{ParamStore, Pass};
use topwork_text::Packed;

use crate::error::Error;
use crate::family::{ConcatStyle, Encoder};
use crate::model::some_tokens;

/// Every token to outputs.
pub struct ConcatOutputs {
    blocks: [(BatchNorm, f32, Linear); 2],
}

impl ConcatOutputs {
    /// Declares `head.layers.{0,1}.{norm,linear}`.
    pub fn declare(
        store: &mut ParamStore,
        encoder: &dyn Encoder,
        style: ConcatStyle,
        outputs: usize,
    ) -> Self {
        let group = encoder.parts() + 1;
        let mut block = |at: usize, [inputs, outputs]: [usize; 2]| {
            let path = |name: &str| format!("head.layers.{at}.{name}");
            let norm = BatchNorm::declare(store, &path("norm"), inputs, group, 1e-5);
            let std = 1.0 / (3.0 * inputs as f32).sqrt();
            let linear = Linear::declare_with(store, &path("linear"), [outputs, inputs], group, std, false);
            (norm, style.dropout[at], linear)
        };
        let blocks = [block(0, [3 * encoder.size().hidden, style.width]), block(1, [style.width, outputs])];
        ConcatOutputs { blocks }
    }

    /// # Shapes
    /// - `x`: `[tokens, hidden]`; returns `[batch, outputs]`
    ///
    /// # Errors
    /// [`Error::NoTokens`]; a parameter without values.
    pub fn forward(&self, pass: &Pass, x: Tensor<2>, input: &Packed) -> Result<Tensor<2>, Error> {
        some_tokens(&input.offsets)?;
        let offsets: Arc<[u32]> = input.offsets.as_slice().into();
        let rows = [Pool::Last, Pool::Max, Pool::Mean];
        let rows = rows.map(|pool| topwork_ops::pool(x.clone(), &offsets, pool));
        let mut x = Tensor::cat(rows.to_vec(), 1);
        for (at, (norm, dropout, linear)) in self.blocks.iter().enumerate() {
            if at > 0 {
                x = relu(x);
            }
            x = norm.forward(pass, x)?;
            x = topwork_ops::dropout(x, pass.dropout(*dropout, &format!("head.layers.{at}")));
            x = linear.forward(pass, x)?;
        }
        Ok(x)
    }
}
