//! What a head reads of an encoder, at once or in two steps: what the lower parts make can be kept.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::Tensor;
use topwork_nn::Pass;
use topwork_text::Packed;

use super::{Model, some_tokens};
use crate::error::Error;
use crate::states::Layers;

/// The states of a batch on their way up.
struct Way {
    /// Those below that the head reads too.
    before: Vec<Tensor<2>>,
    /// What the last part handed on; the state it ends with is not among `before`.
    x: Tensor<2>,
}

impl Model {
    /// Parts of the encoder, counted as the depth groups of its parameters are: the embeddings, then each layer, or each run of
    /// layers that share their parameters.
    pub fn depth(&self) -> usize {
        1 + self.encoder.parts()
    }

    /// Parts of the encoder that the head reads from, the embeddings counted: [`Model::depth`], unless it reads states below the
    /// last layer's. Parameters of the depth groups from there to [`Model::depth`] are never used, and get no gradient.
    pub fn parts_read(&self) -> usize {
        self.head.layers().parts(self.encoder.as_ref())
    }

    /// The hidden states that the head reads.
    pub fn layers_read(&self) -> Layers {
        self.head.layers()
    }

    /// The shares of the states, embeddings first, in a mix that is learnt: the head's, or that of a family which has one.
    ///
    /// # Errors
    /// A parameter without values.
    pub fn layer_weights(&self) -> Result<Option<Vec<f32>>, Error> {
        let own = self.encoder.mix().filter(|_| self.parts_read() == self.depth());
        let Some(ids) = self.head.mix().or(own) else { return Ok(None) };
        let mut shares = Vec::new();
        for &id in ids {
            shares.extend(self.store.values(id)?);
        }
        let top = shares.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        shares.iter_mut().for_each(|share| *share = (*share - top).exp());
        let sum: f32 = shares.iter().sum();
        shares.iter_mut().for_each(|share| *share /= sum);
        Ok(Some(shares))
    }

    /// Numbers that [`Model::features_to`] gives for a token or a text.
    pub fn width_to(&self, depth: usize) -> usize {
        let (layers, encoder) = (self.head.layers(), self.encoder.as_ref());
        if depth == self.depth() {
            return layers.width(encoder);
        }
        let depth = depth.min(self.parts_read());
        let before = self.before(depth).map(|state| encoder.state_width(state)).sum::<usize>();
        before + encoder.width(depth)
    }

    /// What the first `depth` parts of the encoder make of a batch, for [`Model::features_from`] to go on from: hidden
    /// states, side by side those of several layers where the head reads them, or for the whole encoder what the head reads.
    ///
    /// # Shapes
    /// - returns: `[tokens, width_to(depth)]`, or as [`Model::features`]
    ///
    /// # Panics
    /// If `depth` is 0 or above [`Model::depth`].
    ///
    /// # Errors
    /// As [`Model::hidden`].
    pub fn features_to(&self, pass: &Pass, input: &Packed, depth: usize) -> Result<Tensor<2>, Error> {
        assert!((1..=self.depth()).contains(&depth), "a depth of 1 to {}, not {depth}", self.depth());
        let input = &*self.widened(input)?;
        let way = Way { before: Vec::new(), x: self.encoder.embed(pass, input)? };
        let way = self.climb(pass, way, input, 1..depth)?;
        if depth == self.depth() {
            return self.arrive(way, input);
        }
        Ok(match way.before.is_empty() {
            true => way.x,
            false => Tensor::cat([way.before, vec![way.x]].concat(), 1),
        })
    }

    /// The rest of the way to what the head reads, from what [`Model::features_to`] returned for the same batch and
    /// depth: the same as [`Model::features`] does at once.
    ///
    /// # Shapes
    /// - `x`: as [`Model::features_to`] returns it
    /// - returns: as [`Model::features`]
    ///
    /// # Errors
    /// A parameter without values.
    pub fn features_from(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        input: &Packed,
        depth: usize,
    ) -> Result<Tensor<2>, Error> {
        if depth == self.depth() {
            return Ok(x);
        }
        let input = &*self.widened(input)?;
        let ([_, width], mut start) = (x.dims(), 0);
        let mut before = Vec::new();
        for state in self.before(depth.min(self.parts_read())) {
            let end = start + self.encoder.state_width(state);
            before.push(x.clone().slice_dim(1, start..end));
            start = end;
        }
        let x = if start == 0 { x } else { x.slice_dim(1, start..width) };
        let way = self.climb(pass, Way { before, x }, input, depth..self.depth())?;
        self.arrive(way, input)
    }

    /// What the head reads: one pooled row for each text, or every token's hidden state.
    ///
    /// # Shapes
    /// - returns: `[batch, hidden]`, or `[tokens, hidden]` for heads over tokens; in the place of `hidden` what
    ///   [`Layers::width`] says, for heads that read other layers than the last
    ///
    /// # Errors
    /// As [`Model::hidden`].
    pub fn features(&self, pass: &Pass, input: &Packed) -> Result<Tensor<2>, Error> {
        self.features_to(pass, input, self.depth())
    }

    /// The states that the head reads and that lie below the one with which the first `depth` parts end.
    fn before(&self, depth: usize) -> Range<usize> {
        let needed = self.head.layers().needed(self.encoder.states());
        let end = needed.end.min(self.encoder.states_to(depth) - 1);
        needed.start.min(end)..end
    }

    /// Goes on through parts, counted with the embeddings, as far as the head reads.
    fn climb(&self, pass: &Pass, mut way: Way, input: &Packed, parts: Range<usize>) -> Result<Way, Error> {
        let (encoder, layers) = (self.encoder.as_ref(), self.head.layers());
        let top = self.parts_read();
        let (first, end) = (parts.start.min(top), parts.end.min(top));
        let which = first - 1..end - 1;
        if layers == Layers::Last {
            way.x = encoder.layers_of(pass, way.x, input, which)?;
            return Ok(way);
        }
        if which.is_empty() {
            return Ok(way);
        }
        let needed = layers.needed(encoder.states());
        let at = encoder.states_to(first) - 1;
        let x = pass.cut(way.x);
        let mut outputs = vec![x.clone()];
        outputs.extend(encoder.each_layer(pass, x, input, which)?);
        let last = outputs.len() - 1;
        way.x = outputs[last].clone();
        let lower = outputs.into_iter().take(last).enumerate();
        let kept = lower.filter(|(n, _)| needed.contains(&(at + n)));
        way.before.extend(kept.map(|(n, x)| self.state(x, at + n)));
        Ok(way)
    }

    /// A state out of what was handed on with it.
    fn state(&self, x: Tensor<2>, state: usize) -> Tensor<2> {
        let ([_, width], own) = (x.dims(), self.encoder.state_width(state));
        if width == own { x } else { x.slice_dim(1, width - own..width) }
    }

    /// What the head reads, of a way that is at its end.
    fn arrive(&self, way: Way, input: &Packed) -> Result<Tensor<2>, Error> {
        self.no_unread_front()?;
        let (encoder, layers) = (self.encoder.as_ref(), self.head.layers());
        let Way { mut before, x } = way;
        let last = encoder.states_to(self.parts_read()) - 1;
        // A part of several layers may end above the last state that is read.
        if layers.needed(encoder.states()).contains(&last) {
            before.push(self.state(x, last));
        }
        let joined = layers.join(before);
        let joined = joined.unwrap_or_else(|| unreachable!("every choice of layers has at least one"));
        self.pool(joined, &Arc::from(input.offsets.as_slice()))
    }

    pub(super) fn pool(&self, hidden: Tensor<2>, offsets: &Arc<[u32]>) -> Result<Tensor<2>, Error> {
        match self.head.pooled() {
            None => Ok(self.own_tokens(hidden, offsets)),
            // What stands in front of keys only is no token to pool over.
            Some(pool) if self.store.front().is_some() => {
                let own: Vec<u32> = (0..)
                    .zip(offsets.iter())
                    .map(|(at, end)| end - at * self.virtual_tokens() as u32)
                    .collect();
                some_tokens(&own)?;
                Ok(topwork_ops::pool(self.own_tokens(hidden, offsets), &own.into(), pool))
            }
            Some(pool) => {
                some_tokens(offsets)?;
                Ok(topwork_ops::pool(hidden, offsets, pool))
            }
        }
    }
}
