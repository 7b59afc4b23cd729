//! What families whose attention goes by distance have in common (Transformer-XL, XLNet): the waves that stand for distances, and
//! where the tokens of a batch lie among those remembered. Nothing here knows which family it serves.
//!
//! Paper: Dai et al. 2019, "Transformer-XL", section 3.3, <https://arxiv.org/abs/1901.02860>

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use topwork_kernels::attend_layout::{AttendLayout, Mask};
use topwork_nn::{Joined, Memory};

use crate::head::Permuted;

/// Which keys a query sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// All.
    All,
    /// Those up to its own place.
    Past,
    /// Those up to its own place, and of them as many as there are remembered ones besides its own.
    PastAsLongAsMemory,
    /// Those up to its own place that are at most so far.
    PastUpTo(usize),
}

/// How a family's attention goes by distance.
#[derive(Clone, Debug)]
pub struct Style {
    /// Attention heads.
    pub heads: usize,
    /// Width of one.
    pub head_dim: usize,
    /// Width of the waves: an even number.
    pub hidden: usize,
    /// What a query sees.
    pub sight: Sight,
    /// Distances beyond this count as this one.
    pub farthest: Option<usize>,
}

/// The surroundings of the tokens of one pass, the same for all layers.
#[derive(Clone, Debug)]
pub struct Around {
    /// Where queries and keys lie, and which keys are seen.
    pub layout: AttendLayout,
    /// From distances to rows of `waves`.
    pub table: Arc<[u32]>,
    /// One row for each distance, `[span, hidden]`: from the farthest key before a query to the farthest behind it.
    pub waves: Tensor<2>,
    /// How remembered and new rows lie together.
    pub joined: Joined,
    /// How many rows are remembered of each sequence.
    pub remembered: Vec<usize>,
}

impl Around {
    /// The surroundings of a batch whose sequences go on from what `memory` holds of them.
    ///
    /// # Shapes
    /// - `offsets`: `[batch + 1]`
    pub fn new(style: &Style, offsets: &Arc<[u32]>, memory: &Memory, device: &Device) -> Self {
        let joined = memory.join(offsets);
        let longest = |offsets: &[u32]| offsets.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
        let (queries, keys) = (i64::from(longest(offsets)), i64::from(longest(&joined.offsets)));
        // Key minus query, from the first key and the last query on.
        let behind = if style.sight == Sight::All { queries } else { 1 };
        let distances = 1 - keys.max(1)..behind.max(1);
        let waves = waves(distances.clone(), style.farthest, style.hidden);
        let span = waves.len() / style.hidden.max(1);
        let remembered = memory.lens();
        Around {
            layout: AttendLayout {
                k_offsets: Arc::clone(&joined.offsets),
                zero: -distances.start as usize,
                ..AttendLayout::new(
                    offsets,
                    style.heads,
                    style.head_dim,
                    mask(style.sight, offsets, &remembered),
                )
            },
            table: (0..span as u32).collect(),
            waves: Tensor::from_data(TensorData::new(waves, [span, style.hidden]), device),
            joined,
            remembered,
        }
    }
}

impl Around {
    /// Where the rows of the batch lie among those of the keys: `[tokens]`.
    pub fn news(&self) -> Arc<[u32]> {
        let sequences = self.layout.k_offsets.windows(2).zip(&self.remembered);
        sequences.flat_map(|(pair, &remembered)| pair[0] + remembered as u32..pair[1]).collect()
    }

    /// What is seen where words are asked for in some order: by the tokens themselves, which see their own word too, and by
    /// those that ask, which do not. What is remembered is seen by all.
    pub fn permuted(&self, permuted: &Permuted) -> [Mask; 2] {
        let (mut content, mut query) = (Vec::new(), Vec::new());
        let mut visible = permuted.visible.iter();
        for sequence in self.layout.sequences() {
            let remembered = sequence.keys.len() - sequence.queries.len();
            for row in 0..sequence.queries.len() {
                let (range, pairs) = (self.layout.visible(&sequence, row), self.layout.pairs(&sequence, row));
                for key in 0..sequence.keys.len() {
                    let before = key < remembered || visible.next().is_some_and(|&seen| seen != 0);
                    let sighted = range.contains(&key) && pairs.get(key).is_none_or(|&seen| seen != 0);
                    query.push(u8::from(before && sighted));
                    content.push(u8::from((before && sighted) || key == remembered + row));
                }
            }
        }
        [content, query].map(|pairs| Mask::Pairs(pairs.into()))
    }
}

fn mask(sight: Sight, offsets: &[u32], remembered: &[usize]) -> Mask {
    match sight {
        Sight::All => Mask::Full,
        Sight::Past => Mask::Causal,
        Sight::PastUpTo(left) => Mask::Window { left, right: 0 },
        Sight::PastAsLongAsMemory => {
            let first = remembered.first().copied().unwrap_or(0);
            if remembered.iter().all(|&len| len == first) {
                return Mask::Window { left: first, right: 0 };
            }
            let mut pairs = Vec::new();
            for (pair, &len) in offsets.windows(2).zip(remembered) {
                let queries = (pair[1] - pair[0]) as usize;
                for query in 0..queries {
                    pairs
                        .extend((0..len + queries).map(|key| u8::from((query..=query + len).contains(&key))));
                }
            }
            Mask::Pairs(pairs.into())
        }
    }
}

/// For each distance (key minus query) sines and then cosines of how far the key lies before the query.
fn waves(distances: std::ops::Range<i64>, farthest: Option<usize>, hidden: usize) -> Vec<f32> {
    let slow: Vec<f32> =
        (0..hidden / 2).map(|at| 1.0 / 10000f64.powf(2.0 * at as f64 / hidden as f64) as f32).collect();
    let mut all = Vec::with_capacity(distances.clone().count() * hidden);
    for distance in distances {
        let limit = farthest.map_or(i64::MAX, |farthest| farthest as i64);
        let before = (-distance).clamp(-limit, limit) as f32;
        let angle = |slow: &f32| f64::from(before * slow);
        all.extend(slow.iter().map(|slow| angle(slow).sin() as f32));
        all.extend(slow.iter().map(|slow| angle(slow).cos() as f32));
    }
    all
}

#[cfg(test)]
mod tests {
    use topwork_nn::Keep;

    use super::*;

    fn around(sight: Sight, farthest: Option<usize>, memory: &Memory) -> Around {
        let style = Style { heads: 1, head_dim: 2, hidden: 2, sight, farthest };
        Around::new(&style, &[0, 2, 5].into(), memory, &Device::flex())
    }

    fn sines(around: &Around) -> Vec<f32> {
        let rows = around.waves.clone().into_data().try_into_vec::<f32>().unwrap();
        rows.iter().step_by(2).copied().collect()
    }

    #[test]
    fn each_distance_has_its_wave() {
        let memory = Memory::zeros(1, [2, 1, 2], Keep::default(), &Device::flex());
        let around = around(Sight::All, Some(2), &memory);
        assert_eq!(*around.layout.k_offsets, [0, 3, 7]);
        assert_eq!((around.layout.zero, around.table.len()), (3, 6));
        let expected = [2.0f32, 2.0, 1.0, 0.0, -1.0, -2.0].map(f32::sin);
        assert!(sines(&around).iter().zip(expected).all(|(got, expected)| (got - expected).abs() < 1e-7));
        let past = self::around(Sight::Past, None, &memory);
        assert_eq!((past.layout.zero, past.table.len()), (3, 4));
    }

    #[test]
    fn a_query_sees_as_far_as_the_memory_is_long() {
        let mut memory = Memory::zeros(1, [2, 1, 2], Keep::default(), &Device::flex());
        let window = around(Sight::PastAsLongAsMemory, None, &memory).layout.mask;
        assert_eq!(window, Mask::Window { left: 1, right: 0 });
        memory.remember(vec![Tensor::zeros([1, 2], &Device::flex())], &[0, 1, 1]);
        let Mask::Pairs(pairs) = around(Sight::PastAsLongAsMemory, None, &memory).layout.mask else {
            panic!()
        };
        assert_eq!(pairs[..8], [1, 1, 1, 0, 0, 1, 1, 1]);
        assert_eq!(pairs[8..], [1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 1, 1]);
    }
}
