//! What families that read from left to right have in common: the walk through their layers, with or without a cache. The walk
//! without a cache is also that of encoders with a norm behind the last layer.
//! A family brings its embeddings, its block and the norm behind the last layer; nothing here knows which family it is.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::Tensor;
use topwork_nn::layers::{LayerNorm, RmsNorm};
use topwork_nn::{Cache, Context, Pass, Site};
use topwork_text::Packed;

use crate::error::Error;
use crate::onnx::{Graph, Value};

/// One layer of a family.
pub trait Block: Send + Sync + 'static {
    /// What the blocks of one pass share: angles of rotary positions, or nothing.
    type Shared: Clone + 'static;

    /// # Shapes
    /// - `x` and result: `[tokens, hidden]`
    ///
    /// # Errors
    /// A parameter without values.
    fn forward(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        shared: &Self::Shared,
        context: &mut Context,
    ) -> Result<Tensor<2>, topwork_nn::Error>;
}

/// The norm behind the last layer.
pub enum FinalNorm {
    /// The family has none.
    None,
    /// Layer normalisation.
    Layer(LayerNorm),
    /// By the root of the mean square.
    Rms(RmsNorm),
}

impl FinalNorm {
    /// # Shapes
    /// - `x` and result: `[tokens, hidden]`; `layers`: how many there are
    ///
    /// # Errors
    /// A parameter without values.
    pub fn forward(&self, pass: &Pass, x: Tensor<2>, layers: usize) -> Result<Tensor<2>, Error> {
        let x = match self {
            FinalNorm::None => return Ok(x),
            FinalNorm::Layer(norm) => norm.forward(pass, x)?,
            FinalNorm::Rms(norm) => norm.forward(pass, x)?,
        };
        Ok(pass.at(Site::Final, layers.saturating_sub(1), x))
    }

    /// [`FinalNorm::forward`] as a graph.
    ///
    /// # Errors
    /// A parameter without values.
    pub fn describe(&self, graph: &mut Graph, x: Value) -> Result<Value, Error> {
        graph.enter("final");
        match self {
            FinalNorm::None => Ok(x),
            FinalNorm::Layer(norm) => graph.layer_norm(&x, "final.norm", norm.eps),
            FinalNorm::Rms(norm) => graph.rms_norm(&x, "final.norm", norm.eps),
        }
    }
}

/// Some of the layers over a whole batch, and the norm behind the last one if that is among them.
///
/// # Shapes
/// - `x` and result: `[tokens, hidden]`; `offsets`: `[batch + 1]`
///
/// # Errors
/// A parameter without values.
pub fn layers<B: Block>(
    pass: &Pass,
    x: Tensor<2>,
    offsets: &Arc<[u32]>,
    (blocks, norm): (&[Arc<B>], &FinalNorm),
    which: Range<usize>,
    shared: &B::Shared,
) -> Result<Tensor<2>, Error> {
    let last = !which.is_empty() && which.end == blocks.len();
    let mut hidden = pass.cut(x);
    for block in &blocks[which] {
        let (block, offsets, shared) = (Arc::clone(block), Arc::clone(offsets), shared.clone());
        hidden = pass.segment(hidden, move |pass, x| {
            block.forward(pass, x, &shared, &mut Context::Batch(Arc::clone(&offsets)))
        })?;
    }
    if last { norm.forward(pass, hidden, blocks.len()) } else { Ok(hidden) }
}

/// All layers over tokens that go on from a cache.
///
/// # Shapes
/// - `x` and result: `[tokens, hidden]`
///
/// # Errors
/// A parameter without values.
pub fn layers_cached<B: Block>(
    pass: &Pass,
    mut x: Tensor<2>,
    input: &Packed,
    (blocks, norm): (&[Arc<B>], &FinalNorm),
    cache: &mut Cache,
    shared: &B::Shared,
) -> Result<Tensor<2>, Error> {
    let offsets: Arc<[u32]> = Arc::from(input.offsets.as_slice());
    for block in blocks {
        x = block.forward(pass, x, shared, &mut Context::Cached(Arc::clone(&offsets), cache))?;
    }
    cache.advance(&offsets);
    norm.forward(pass, x, blocks.len())
}

/// Places of the tokens of a batch, which start behind `lens` tokens read before (none without a cache), with an error
/// for a text longer than `limit`.
///
/// # Shapes
/// - returns: `[tokens]`
///
/// # Errors
/// A sequence longer than `limit`.
pub fn positions(input: &Packed, cache: Option<&Cache>, limit: usize) -> Result<Vec<u32>, Error> {
    for (sequence, pair) in input.offsets.windows(2).enumerate() {
        let before = cache.map_or(0, |cache| cache.lens()[sequence]);
        let tokens = before + (pair[1] - pair[0]) as usize;
        if tokens > limit {
            return Err(topwork_nn::Error::TooLong { tokens, limit }.into());
        }
    }
    Ok(match cache {
        Some(cache) => cache.positions(&input.offsets),
        None => topwork_nn::cache::positions(&input.offsets),
    })
}
