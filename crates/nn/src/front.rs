//! Keys and values that stand in front of those of each text, in every layer: where prefixes attach.
//!
//! Each text of a batch has virtual tokens in front, so that its own tokens stand where they stand behind a prefix, and masks and
//! distances need no change. What attention makes of them is replaced, in each layer, and what becomes of them is never read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::Tensor;

use crate::error::Error;
use crate::pass::Pass;
use crate::reparam::together;

/// Keys and values for virtual tokens, with parameters of their own, which it asks the pass for.
pub trait Front: std::fmt::Debug + Send + Sync {
    /// How many virtual tokens.
    fn tokens(&self) -> usize;

    /// Those of a layer, as attention takes them; `None` for a layer that it has none for.
    ///
    /// # Shapes
    /// - returns: `[tokens, kv_heads * head_dim]`, twice
    ///
    /// # Errors
    /// A parameter without values.
    fn keys_values(&self, pass: &Pass, layer: usize) -> Result<Option<[Tensor<2>; 2]>, Error>;
}

/// What stands in front of each text, and whether a layer has asked for it.
#[derive(Clone, Debug)]
pub struct Fronted {
    front: Arc<dyn Front>,
    asked: Arc<AtomicBool>,
}

impl Fronted {
    pub(crate) fn new(front: Arc<dyn Front>) -> Self {
        Fronted { front, asked: Arc::default() }
    }

    /// How many virtual tokens.
    pub fn tokens(&self) -> usize {
        self.front.tokens()
    }

    /// Whether any layer has asked for its keys and values; one that never does has no place for them.
    pub fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Pass<'_> {
    /// Queries, keys and values as a layer attends: keys and values of the virtual tokens, the first ones of each text, are
    /// replaced, where there are some.
    ///
    /// # Shapes
    /// - `q`: `[tokens, heads * head_dim]`; `k`, `v`: `[tokens, kv_heads * head_dim]`; `offsets`: `[batch + 1]`
    ///
    /// # Errors
    /// [`Error::NoFront`] for a layer that there are none for; a parameter without values.
    pub fn fronted(
        &self,
        layer: usize,
        [q, k, v]: [Tensor<2>; 3],
        offsets: &[u32],
    ) -> Result<[Tensor<2>; 3], Error> {
        let Some(Fronted { front, asked }) = self.store().front() else { return Ok([q, k, v]) };
        asked.store(true, Ordering::Relaxed);
        let (tokens, rows) = (front.tokens() as u32, k.dims()[0] as u32);
        let found = front.keys_values(self, layer)?.ok_or(Error::NoFront { layer })?;
        let row = |(first, at): (u32, u32)| if at - first < tokens { rows + at - first } else { at };
        let places = offsets.windows(2).flat_map(|pair| (pair[0]..pair[1]).map(|at| (pair[0], at)));
        let places: Arc<[u32]> = places.map(row).collect();
        let replaced = |own: Tensor<2>, front: Tensor<2>| {
            let (own, front) = together(own, front);
            topwork_ops::embedding(Tensor::cat(vec![own, front], 0), &places)
        };
        let [front_k, front_v] = found;
        let (k, v) = (replaced(k, front_k), replaced(v, front_v));
        // Below the first layer nothing learns, and attention wants all three with a graph or none.
        let (q, k) = together(q, k);
        let (q, v) = together(q, v);
        let (k, v) = together(k, v);
        Ok([q, k, v])
    }

    /// [`Pass::fronted`] of queries, keys and values side by side, each as wide as the others.
    ///
    /// # Shapes
    /// - `qkv` and result: `[tokens, 3 * hidden]`
    ///
    /// # Errors
    /// As [`Pass::fronted`].
    pub fn fronted_qkv(&self, layer: usize, qkv: Tensor<2>, offsets: &[u32]) -> Result<Tensor<2>, Error> {
        if self.store().front().is_none() {
            return Ok(qkv);
        }
        let width = qkv.dims()[1] / 3;
        let part = |at: usize| qkv.clone().slice_dim(1, at * width..(at + 1) * width);
        let qkv = self.fronted(layer, [part(0), part(1), part(2)], offsets)?;
        Ok(Tensor::cat(qkv.into(), 1))
    }
}
