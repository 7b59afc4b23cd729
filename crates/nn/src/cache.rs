//! Keys and values of tokens that were read before, or the states of recurrent layers behind them, so that the next token
//! costs one token's work.

use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use topwork_kernels::attend_layout::{AttendLayout, Mask};
use topwork_kernels::rng::Dropout;

use crate::across::{Across, KeysValues, Look};
use crate::error::Error;
use crate::memory::Memory;

/// What the layers keep of several sequences.
#[derive(Debug)]
pub struct Cache {
    layers: Vec<Option<KeysValues>>,
    states: Vec<Option<State>>,
    /// Tokens of each sequence whose keys and values all layers have.
    lens: Vec<usize>,
    /// Rows kept for each sequence in every layer: a layer has `[sequences * room, width]`.
    room: usize,
    /// Those of the source each sequence looks at, for the targets of an encoder-decoder.
    across: Across,
    /// What families remember that go on from hidden states instead.
    memory: Option<Memory>,
    device: Device,
}

/// The state and the cell state of a recurrent layer: `[sequences, hidden]` and `[sequences, cell]`.
pub type State = (Tensor<2>, Tensor<2>);

/// The room of a cache at first, in tokens.
const ROOM: usize = 64;

impl Cache {
    /// An empty cache for `sequences` sequences and `layers` layers.
    pub fn new(layers: usize, sequences: usize, device: &Device) -> Self {
        Cache {
            layers: vec![None; layers],
            states: vec![None; layers],
            lens: vec![0; sequences],
            room: 0,
            across: Across::new(layers, sequences),
            memory: None,
            device: device.clone(),
        }
    }

    /// A cache of families that go on from hidden states, which a memory holds.
    pub fn remembering(memory: Memory, device: &Device) -> Self {
        let cache = Cache::new(0, memory.sequences(), device);
        Cache { memory: Some(memory), ..cache }
    }

    /// The memory, if the cache was made of one.
    pub fn memory(&mut self) -> Option<&mut Memory> {
        self.memory.as_mut()
    }

    /// How many tokens of each sequence have been read.
    pub fn lens(&self) -> &[usize] {
        &self.lens
    }

    /// The places of new tokens in their sequences.
    ///
    /// # Shapes
    /// - `offsets`: `[sequences + 1]`; returns `[tokens]`
    pub fn positions(&self, offsets: &[u32]) -> Vec<u32> {
        let news = offsets.windows(2).map(|pair| pair[1] - pair[0]);
        self.lens.iter().zip(news).flat_map(|(&len, new)| len as u32..len as u32 + new).collect()
    }

    /// Counts the new tokens of a batch as read: to be called once all layers have them.
    pub fn advance(&mut self, offsets: &[u32]) {
        for (len, pair) in self.lens.iter_mut().zip(offsets.windows(2)) {
            *len += (pair[1] - pair[0]) as usize;
        }
    }

    /// Goes on with other sequences: the one at `at` continues what `from[at]` was. A sequence may be continued by
    /// several (a beam that splits) or by none.
    pub fn reorder(&mut self, from: &[usize]) {
        if from.iter().copied().eq(0..self.lens.len()) {
            return;
        }
        self.lens = from.iter().map(|&old| self.lens[old]).collect();
        self.across.reorder(from);
        if let Some(memory) = &mut self.memory {
            memory.reorder(from);
        }
        let room = self.room as u32;
        let rows: Arc<[u32]> =
            from.iter().flat_map(|&old| old as u32 * room..(old as u32 + 1) * room).collect();
        for layer in self.layers.iter_mut().flatten() {
            layer.keys = topwork_ops::embedding(layer.keys.clone(), &rows);
            layer.values = topwork_ops::embedding(layer.values.clone(), &rows);
        }
        let rows: Arc<[u32]> = from.iter().map(|&old| old as u32).collect();
        for (h, c) in self.states.iter_mut().flatten() {
            *h = topwork_ops::embedding(h.clone(), &rows);
            *c = topwork_ops::embedding(c.clone(), &rows);
        }
    }

    /// The state a recurrent layer was left in; `None` if it has read nothing.
    pub fn state(&self, layer: usize) -> Option<State> {
        self.states[layer].clone()
    }

    /// Keeps the state a recurrent layer is left in.
    pub fn set_state(&mut self, layer: usize, state: State) {
        self.states[layer] = Some(state);
    }

    /// Makes room for `most` tokens of each sequence.
    fn reserve(&mut self, most: usize) {
        if most <= self.room {
            return;
        }
        let room = most.next_power_of_two().max(ROOM);
        let grown = |old: &Tensor<2>, old_room: usize, sequences: usize| {
            let [_, width] = old.dims();
            let mut new = Tensor::zeros([sequences * room, width], &self.device);
            for sequence in 0..sequences {
                let part = old.clone().narrow(0, sequence * old_room, old_room);
                new = new.slice_assign([sequence * room..sequence * room + old_room, 0..width], part);
            }
            new
        };
        for layer in self.layers.iter_mut().flatten() {
            layer.keys = grown(&layer.keys, self.room, self.lens.len());
            layer.values = grown(&layer.values, self.room, self.lens.len());
        }
        self.room = room;
    }

    /// Puts the keys and values of new tokens behind those of a layer.
    fn append(&mut self, layer: usize, offsets: &[u32], keys: Tensor<2>, values: Tensor<2>) -> KeysValues {
        let most =
            self.lens.iter().zip(offsets.windows(2)).map(|(len, pair)| len + (pair[1] - pair[0]) as usize);
        self.reserve(most.max().unwrap_or(0));
        let room = self.room;
        let ([_, key_width], [_, value_width]) = (keys.dims(), values.dims());
        let empty = |width: usize| Tensor::zeros([self.lens.len() * room, width], &self.device);
        let mut kept = self.layers[layer]
            .take()
            .unwrap_or_else(|| KeysValues { keys: empty(key_width), values: empty(value_width) });
        for (sequence, (len, pair)) in self.lens.iter().zip(offsets.windows(2)).enumerate() {
            let (from, to) = (pair[0] as usize, pair[1] as usize);
            if from == to {
                continue;
            }
            let first = sequence * room + len;
            let rows = first..first + to - from;
            // Nobody else holds these tensors now, so the rows are written in place.
            kept.keys =
                kept.keys.slice_assign([rows.clone(), 0..key_width], keys.clone().narrow(0, from, to - from));
            kept.values =
                kept.values.slice_assign([rows, 0..value_width], values.clone().narrow(0, from, to - from));
        }
        self.layers[layer] = Some(kept.clone());
        kept
    }
}

/// The places of a batch's tokens in their sequences, with nothing read before.
///
/// # Shapes
/// - `offsets`: `[batch + 1]`; returns `[tokens]`
pub fn positions(offsets: &[u32]) -> Vec<u32> {
    offsets.windows(2).flat_map(|pair| 0..pair[1] - pair[0]).collect()
}

/// Which tokens the queries of a pass may look at.
#[derive(Debug)]
pub enum Context<'a> {
    /// Those of the batch.
    Batch(Arc<[u32]>),
    /// Those read before and those of the batch: where its sequences start and end, and the cache.
    Cached(Arc<[u32]>, &'a mut Cache),
}

/// What is added to the scores by the distance of a key from its query.
#[derive(Clone, Debug)]
pub struct DistanceBias {
    /// A value for each head and distance, the outer ones for all beyond them: `[heads, span]`.
    pub table: Tensor<2>,
    /// The column of distance 0.
    pub zero: usize,
}

/// How the attention of a layer is done.
#[derive(Clone, Debug)]
pub struct AttentionStyle {
    /// Heads of the queries.
    pub heads: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// What scores are multiplied with.
    pub scale: f32,
    /// Which keys a query sees.
    pub mask: Mask,
}

impl Context<'_> {
    /// Where the sequences of the batch start and end: `[batch + 1]`.
    pub fn offsets(&self) -> &Arc<[u32]> {
        match self {
            Context::Batch(offsets) | Context::Cached(offsets, _) => offsets,
        }
    }

    /// The places of the batch's tokens in their sequences: `[tokens]`.
    pub fn positions(&self) -> Vec<u32> {
        match self {
            Context::Batch(offsets) => positions(offsets),
            Context::Cached(offsets, cache) => cache.positions(offsets),
        }
    }

    /// Attention of the batch's queries to all keys they may see; keys and values of the batch go into the cache, if there
    /// is one.
    ///
    /// # Shapes
    /// - `q`: `[tokens, heads * head_dim]`; `k`: `[tokens, kv_heads * head_dim]`; `v`: `[tokens, kv_heads * v_dim]`;
    ///   returns `[tokens, heads * v_dim]`
    ///
    /// # Panics
    /// If the shapes do not fit together.
    pub fn attend(
        &mut self,
        layer: usize,
        [q, k, v]: [Tensor<2>; 3],
        style: &AttentionStyle,
        dropout: Option<Dropout>,
    ) -> Tensor<2> {
        self.attend_biased(layer, [q, k, v], style, None, dropout)
    }

    /// [`Context::attend`] with a bias by distance.
    ///
    /// # Shapes
    /// As [`Context::attend`].
    ///
    /// # Panics
    /// If the shapes do not fit together.
    pub fn attend_biased(
        &mut self,
        layer: usize,
        [q, k, v]: [Tensor<2>; 3],
        style: &AttentionStyle,
        bias: Option<DistanceBias>,
        dropout: Option<Dropout>,
    ) -> Tensor<2> {
        let AttentionStyle { heads, kv_heads, scale, mask } = style.clone();
        let q_offsets = Arc::clone(self.offsets());
        let (k, v, k_offsets, k_lens) = match self {
            Context::Batch(offsets) => (k, v, Arc::clone(offsets), None),
            Context::Cached(offsets, cache) => {
                let kept = cache.append(layer, offsets, k, v);
                let room = cache.room as u32;
                let lens = cache.lens.iter().zip(offsets.windows(2));
                let lens: Arc<[u32]> = lens.map(|(&len, pair)| len as u32 + pair[1] - pair[0]).collect();
                let starts = (0..=lens.len() as u32).map(|sequence| sequence * room).collect();
                (kept.keys, kept.values, starts, Some(lens))
            }
        };
        let (bias, zero) = bias.map(|bias| (bias.table, bias.zero)).unzip();
        let zero = zero.unwrap_or(0);
        let layout = AttendLayout { q_offsets, k_offsets, k_lens, heads, kv_heads, scale, mask, zero };
        topwork_ops::attend(q, k, v, &layout, bias, dropout)
    }

    /// Attention of the batch's queries to sources, all of which they see. `keys_values` makes the keys and values of the
    /// sources; where there is a cache they are made once, and kept for as long as it lives.
    ///
    /// # Shapes
    /// - `q`: `[tokens, heads * head_dim]`; `sources`: where those of the first texts start and end, `[texts + 1]`
    /// - keys: `[source_tokens, kv_heads * head_dim]`; values: `[source_tokens, kv_heads * v_dim]`
    /// - returns `[tokens, heads * v_dim]`
    ///
    /// # Panics
    /// If the shapes do not fit together.
    ///
    /// # Errors
    /// What `keys_values` returns.
    pub fn attend_across(
        &mut self,
        layer: usize,
        q: Tensor<2>,
        sources: &Arc<[u32]>,
        keys_values: impl FnOnce() -> Result<KeysValues, Error>,
        style: &AttentionStyle,
        dropout: Option<Dropout>,
    ) -> Result<Tensor<2>, Error> {
        let AttentionStyle { heads, kv_heads, scale, mask } = style.clone();
        let Look { queries: q_offsets, sources: k_offsets, kept } = match self {
            Context::Batch(offsets) => {
                Look { queries: Arc::clone(offsets), sources: Arc::clone(sources), kept: keys_values()? }
            }
            Context::Cached(offsets, cache) => cache.across.look(layer, offsets, sources, keys_values)?,
        };
        let layout =
            AttendLayout { q_offsets, k_offsets, k_lens: None, heads, kv_heads, scale, mask, zero: 0 };
        Ok(topwork_ops::attend(q, kept.keys, kept.values, &layout, None, dropout))
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;
    use topwork_kernels::rng::Stream;

    use super::*;

    fn random(rows: usize, width: usize, seed: u64) -> Tensor<2> {
        let mut stream = Stream(seed);
        let values: Vec<f32> = (0..rows * width).map(|_| stream.normal()).collect();
        Tensor::from_data(TensorData::new(values, [rows, width]), &Device::flex())
    }

    fn bits(x: Tensor<2>) -> Vec<u32> {
        x.into_data().try_into_vec::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
    }

    fn style() -> AttentionStyle {
        AttentionStyle { heads: 4, kv_heads: 2, scale: 0.5, mask: Mask::Causal }
    }

    /// Rows of the tokens from `from` to `to` of each sequence of `len` tokens.
    fn part(x: &Tensor<2>, len: usize, from: usize, to: usize) -> Tensor<2> {
        let parts = (0..2).map(|s| x.clone().narrow(0, s * len + from, to - from)).collect();
        Tensor::cat(parts, 0)
    }

    #[test]
    fn token_by_token_gives_the_bits_of_all_at_once() {
        let len = 150;
        let (q, k, v) = (random(2 * len, 12, 1), random(2 * len, 6, 2), random(2 * len, 6, 3));
        let offsets: Arc<[u32]> = [0, len as u32, 2 * len as u32].into();
        let whole = Context::Batch(offsets).attend(0, [q.clone(), k.clone(), v.clone()], &style(), None);
        let mut cache = Cache::new(1, 2, &Device::flex());
        let mut at = 0;
        for step in [70, 1, 1, 30, 48] {
            let [q, k, v] = [&q, &k, &v].map(|x| part(x, len, at, at + step));
            let offsets: Arc<[u32]> = [0, step as u32, 2 * step as u32].into();
            let mut context = Context::Cached(Arc::clone(&offsets), &mut cache);
            assert_eq!(
                context.positions()[..2],
                [at as u32, if step > 1 { at as u32 + 1 } else { at as u32 }]
            );
            let out = context.attend(0, [q, k, v], &style(), None);
            assert_eq!(bits(out), bits(part(&whole, len, at, at + step)), "from token {at}");
            cache.advance(&offsets);
            at += step;
        }
        assert_eq!(cache.lens(), [len, len]);
    }

    #[test]
    fn a_sequence_goes_on_from_another() {
        let (k, v) = (random(5, 6, 2), random(5, 6, 3));
        let mut cache = Cache::new(1, 2, &Device::flex());
        let offsets: Arc<[u32]> = [0, 2, 5].into();
        Context::Cached(Arc::clone(&offsets), &mut cache).attend(0, [random(5, 12, 1), k, v], &style(), None);
        cache.advance(&offsets);
        cache.reorder(&[1, 1, 0]);
        assert_eq!(cache.lens(), [3, 3, 2]);
        let next = |x: Tensor<2>| Tensor::cat(vec![x.clone(), x.clone(), x], 0);
        let (q, k, v) = (next(random(1, 12, 7)), next(random(1, 6, 8)), next(random(1, 6, 9)));
        let out = Context::Cached([0, 1, 2, 3].into(), &mut cache).attend(0, [q, k, v], &style(), None);
        let rows = bits(out);
        assert_eq!(rows[..12], rows[12..24]);
        assert_ne!(rows[..12], rows[24..]);
    }

    #[test]
    fn states_go_with_their_sequences() {
        let mut cache = Cache::new(2, 3, &Device::flex());
        assert!(cache.state(1).is_none());
        let (h, c) = (random(3, 4, 1), random(3, 5, 2));
        cache.set_state(1, (h.clone(), c.clone()));
        cache.reorder(&[2, 0]);
        let (new_h, new_c) = cache.state(1).unwrap();
        assert_eq!(bits(new_h), bits(Tensor::cat(vec![h.clone().narrow(0, 2, 1), h.narrow(0, 0, 1)], 0)));
        assert_eq!(bits(new_c), bits(Tensor::cat(vec![c.clone().narrow(0, 2, 1), c.narrow(0, 0, 1)], 0)));
        assert!(cache.state(0).is_none());
    }
}
