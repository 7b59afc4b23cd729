//! Sequences laid end to end: the only batch layout of this project. There is no padding token in it.

use crate::characters::WORD;
use crate::{Encoding, Error, Marks, Result};

/// A batch of token sequences without padding.
///
/// # Shapes
/// - `ids`, `type_ids`: `[tokens]`, all sequences one after another
/// - `offsets`: `[batch + 1]`, sequence `i` is `offsets[i]..offsets[i + 1]`; the first is 0, the last is `tokens`
/// - `chars`: `[tokens, WORD]` (see [`characters`](crate::characters)), or nothing
/// - `pixels`: `[tokens, row]`, bytes of the square of a picture that each token is, or nothing
/// - `marks`: any number of ranges for each sequence, or nothing
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Packed {
    /// Token ids.
    pub ids: Vec<u32>,
    /// Token type (segment) ids.
    pub type_ids: Vec<u32>,
    /// Where each sequence starts, and the end of the last.
    pub offsets: Vec<u32>,
    /// Characters of each token, for models that read words by them; empty for all others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chars: Vec<u16>,
    /// Bytes of each token, as many for each, for models that read pictures; empty for all others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pixels: Vec<u8>,
    /// Ranges of tokens that a head is asked about; empty for all others.
    #[serde(default, skip_serializing_if = "Marks::is_empty")]
    pub marks: Marks,
}

impl Default for Packed {
    fn default() -> Self {
        let (ids, type_ids, chars, pixels) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { ids, type_ids, offsets: vec![0], chars, pixels, marks: Marks::default() }
    }
}

impl Packed {
    /// Lays the given encodings end to end, in order.
    pub fn from_encodings<'a>(encodings: impl IntoIterator<Item = &'a Encoding>) -> Self {
        let mut packed = Self::default();
        for encoding in encodings {
            packed.push_encoding(encoding);
        }
        packed
    }

    /// Lays bare ids end to end, in order, all of the first type.
    ///
    /// # Panics
    /// As [`push`](Self::push).
    pub fn from_ids<T: AsRef<[u32]>>(texts: &[T]) -> Self {
        let mut packed = Self::default();
        for ids in texts.iter().map(AsRef::as_ref) {
            packed.push(ids, &vec![0; ids.len()]);
        }
        packed
    }

    /// Checks parts that came from elsewhere and joins them.
    ///
    /// # Errors
    /// [`Error::Packed`] if the offsets do not start at 0, decrease, or do not end at the number of ids, or if the
    /// type ids are not as many as the ids.
    pub fn new(ids: Vec<u32>, type_ids: Vec<u32>, offsets: Vec<u32>) -> Result<Self> {
        let wrong = |expected: &str, got: String| Error::Packed { expected: expected.into(), got };
        if ids.len() != type_ids.len() {
            return Err(wrong(
                &format!("{} type ids, one for each id", ids.len()),
                type_ids.len().to_string(),
            ));
        }
        if offsets.first() != Some(&0) {
            return Err(wrong("offsets that start at 0", format!("{:?}", offsets.first())));
        }
        if let Some(i) = offsets.windows(2).position(|pair| pair[0] > pair[1]) {
            let got = format!("{} before {} at {i}", offsets[i], offsets[i + 1]);
            return Err(wrong("offsets that do not decrease", got));
        }
        if offsets.last().map(|&end| end as usize) != Some(ids.len()) {
            let expected = format!("offsets that end at {}, the number of ids", ids.len());
            return Err(wrong(&expected, format!("{:?}", offsets.last())));
        }
        Ok(Self { ids, type_ids, offsets, ..Self::default() })
    }

    /// Adds one sequence at the end.
    ///
    /// # Panics
    /// If the two slices differ in length, or the batch passes 2³² tokens.
    pub fn push(&mut self, ids: &[u32], type_ids: &[u32]) {
        self.push_ids(ids, type_ids.iter().copied());
    }

    fn push_ids(&mut self, ids: &[u32], type_ids: impl ExactSizeIterator<Item = u32>) {
        assert_eq!(ids.len(), type_ids.len(), "one type id for each id");
        self.ids.extend_from_slice(ids);
        self.type_ids.extend(type_ids);
        let end = u32::try_from(self.ids.len());
        assert!(end.is_ok(), "a batch of more than 2^32 tokens");
        self.offsets.push(end.unwrap_or(u32::MAX));
    }

    /// Adds one encoding at the end, with its characters or pixels if it has them.
    ///
    /// # Panics
    /// As [`push`](Self::push).
    pub fn push_encoding(&mut self, encoding: &Encoding) {
        self.push_ids(&encoding.ids, encoding.type_ids());
        self.chars.extend_from_slice(&encoding.chars);
        self.pixels.extend_from_slice(&encoding.pixels);
    }

    /// Adds the sequences of another batch at the end.
    ///
    /// # Panics
    /// If one of the two has characters, pixels or ranges and the other does not, or the batch passes 2³² tokens.
    pub fn append(&mut self, other: &Self) {
        let (own, more) = (self.batch(), other.batch());
        let alike = own == 0 || more == 0;
        assert!(alike || self.chars.is_empty() == other.chars.is_empty(), "characters of some of the texts");
        assert!(alike || self.pixel_row() == other.pixel_row(), "pixels of some of the texts, or others");
        assert!(alike || self.marks.is_empty() == other.marks.is_empty(), "ranges of some of the texts");
        for index in 0..more {
            let (ids, types) = other.sequence(index);
            self.push(ids, types);
        }
        self.chars.extend_from_slice(&other.chars);
        self.pixels.extend_from_slice(&other.pixels);
        (0..other.marks.len()).for_each(|index| self.marks.push(other.marks.of(index)));
    }

    /// Bytes of each token of a picture; 0 for other batches.
    pub fn pixel_row(&self) -> usize {
        self.pixels.len().checked_div(self.tokens()).unwrap_or(0)
    }

    /// Number of sequences.
    pub fn batch(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Number of tokens over all sequences.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// True when there is no sequence.
    pub fn is_empty(&self) -> bool {
        self.batch() == 0
    }

    /// Where sequence `index` lies in `ids`.
    pub fn range(&self, index: usize) -> std::ops::Range<usize> {
        self.offsets[index] as usize..self.offsets[index + 1] as usize
    }

    /// The ids and type ids of sequence `index`.
    pub fn sequence(&self, index: usize) -> (&[u32], &[u32]) {
        let range = self.range(index);
        (&self.ids[range.clone()], &self.type_ids[range])
    }

    /// Token count of sequence `index`.
    pub fn length(&self, index: usize) -> usize {
        self.range(index).len()
    }

    /// Token counts of all sequences.
    pub fn lengths(&self) -> impl ExactSizeIterator<Item = usize> + '_ {
        self.offsets.windows(2).map(|pair| (pair[1] - pair[0]) as usize)
    }

    /// Token count of the longest sequence, 0 for an empty batch.
    pub fn longest(&self) -> usize {
        self.lengths().max().unwrap_or(0)
    }

    /// Position of each token in its own sequence, counted from 0.
    ///
    /// # Shapes
    /// - returns: `[tokens]`
    pub fn positions(&self) -> Vec<u32> {
        let mut positions = Vec::with_capacity(self.tokens());
        for length in self.lengths() {
            positions.extend(0..length as u32);
        }
        positions
    }

    /// The same sequences, each with these ids in front, of the first type; without characters, pixels and marks.
    pub fn behind(&self, ids: &[u32]) -> Self {
        let mut wide = Self::default();
        for index in 0..self.batch() {
            let (own, types) = self.sequence(index);
            let types = std::iter::repeat_n(0, ids.len()).chain(types.iter().copied()).collect::<Vec<_>>();
            wide.push(&[ids, own].concat(), &types);
        }
        wide
    }

    /// The chosen sequences, in the order given, as a batch of their own.
    pub fn select(&self, indices: &[usize]) -> Self {
        let tokens = indices.iter().map(|&i| self.length(i)).sum();
        let mut chosen = Self {
            ids: Vec::with_capacity(tokens),
            type_ids: Vec::with_capacity(tokens),
            offsets: Vec::with_capacity(indices.len() + 1),
            chars: Vec::new(),
            pixels: Vec::new(),
            marks: Marks::default(),
        };
        chosen.offsets.push(0);
        let row = self.pixel_row();
        for &index in indices {
            let (ids, type_ids) = self.sequence(index);
            chosen.push(ids, type_ids);
            if row > 0 {
                let range = self.range(index);
                chosen.pixels.extend_from_slice(&self.pixels[range.start * row..range.end * row]);
            }
            if !self.chars.is_empty() {
                let range = self.range(index);
                chosen.chars.extend_from_slice(&self.chars[range.start * WORD..range.end * WORD]);
            }
        }
        if !self.marks.is_empty() {
            chosen.marks = self.marks.select(indices);
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Origin;
    use proptest::prelude::*;

    fn sequences() -> impl Strategy<Value = Vec<Vec<(u32, u32)>>> {
        prop::collection::vec(prop::collection::vec((any::<u32>(), 0..3u32), 0..20), 0..12)
    }

    fn pack(sequences: &[Vec<(u32, u32)>]) -> Packed {
        let mut packed = Packed::default();
        for sequence in sequences {
            let (ids, types): (Vec<u32>, Vec<u32>) = sequence.iter().copied().unzip();
            packed.push(&ids, &types);
        }
        packed
    }

    proptest! {
        #[test]
        fn offsets_cover_every_token_once(sequences in sequences()) {
            let packed = pack(&sequences);
            prop_assert_eq!(packed.batch(), sequences.len());
            prop_assert_eq!(packed.lengths().sum::<usize>(), packed.tokens());
            prop_assert_eq!(packed.positions().len(), packed.tokens());
            let joined: Vec<u32> = (0..packed.batch()).flat_map(|i| packed.sequence(i).0.to_vec()).collect();
            prop_assert_eq!(&joined, &packed.ids);
        }

        #[test]
        fn packing_round_trips(sequences in sequences()) {
            let packed = pack(&sequences);
            for (i, sequence) in sequences.iter().enumerate() {
                let (ids, types) = packed.sequence(i);
                let back: Vec<(u32, u32)> = ids.iter().copied().zip(types.iter().copied()).collect();
                prop_assert_eq!(&back, sequence);
            }
            let again = Packed::new(packed.ids.clone(), packed.type_ids.clone(), packed.offsets.clone());
            prop_assert_eq!(again.unwrap(), packed.clone());
            let all: Vec<usize> = (0..packed.batch()).collect();
            prop_assert_eq!(packed.select(&all), packed);
        }
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        assert!(Packed::new(vec![1, 2], vec![0, 0], vec![0, 1, 2]).is_ok());
        for (ids, types, offsets) in [
            (vec![1, 2], vec![0], vec![0, 2]),
            (vec![1, 2], vec![0, 0], vec![]),
            (vec![1, 2], vec![0, 0], vec![1, 2]),
            (vec![1, 2], vec![0, 0], vec![0, 2, 1]),
            (vec![1, 2], vec![0, 0], vec![0, 1]),
        ] {
            assert!(matches!(Packed::new(ids, types, offsets), Err(Error::Packed { .. })));
        }
    }

    #[test]
    fn selection_keeps_the_order_asked_for() {
        let packed = pack(&[vec![(1, 0)], vec![(2, 0), (3, 1)], vec![]]);
        let chosen = packed.select(&[2, 1, 1]);
        assert_eq!(chosen.ids, [2, 3, 2, 3]);
        assert_eq!(chosen.offsets, [0, 0, 2, 4]);
    }

    #[test]
    fn ids_stand_in_front_of_every_sequence() {
        let wide = pack(&[vec![(1, 1)], vec![], vec![(2, 0), (3, 1)]]).behind(&[8, 9]);
        assert_eq!(wide.ids, [8, 9, 1, 8, 9, 8, 9, 2, 3]);
        assert_eq!(wide.type_ids, [0, 0, 1, 0, 0, 0, 0, 0, 1]);
        assert_eq!(wide.offsets, [0, 3, 5, 9]);
    }

    #[test]
    fn marks_go_with_their_sequences() {
        let mut packed = pack(&[vec![(1, 0)], vec![(2, 0), (3, 1)]]);
        assert!(packed.select(&[1]).marks.is_empty());
        packed.marks.push(std::iter::once(0..1));
        packed.marks.push([1..2, 0..2]);
        let chosen = packed.select(&[1, 0]).marks;
        assert_eq!((chosen.of(0).collect::<Vec<_>>(), chosen.of(1).len()), (vec![1..2, 0..2], 1));
    }

    #[test]
    fn characters_go_with_their_tokens() {
        let encoding = |ids: &[u32]| Encoding {
            ids: ids.to_vec(),
            origins: vec![Origin::special(0); ids.len()],
            chars: ids.iter().flat_map(|&id| [id as u16; WORD]).collect(),
            ..Encoding::default()
        };
        let packed = Packed::from_encodings(&[encoding(&[1, 2]), encoding(&[]), encoding(&[3])]);
        let chosen = packed.select(&[2, 1, 0]);
        assert_eq!(chosen.ids, [3, 1, 2]);
        assert_eq!(chosen.chars, [[3; WORD], [1; WORD], [2; WORD]].concat());
    }

    #[test]
    fn pixels_go_with_their_tokens() {
        let picture = |ids: &[u32]| Encoding {
            ids: ids.to_vec(),
            origins: vec![Origin::special(0); ids.len()],
            pixels: ids.iter().flat_map(|&id| [id as u8; 6]).collect(),
            ..Encoding::default()
        };
        let mut packed = Packed::from_encodings(&[picture(&[1, 2]), picture(&[]), picture(&[3])]);
        assert_eq!(packed.pixel_row(), 6);
        let chosen = packed.select(&[2, 1, 0]);
        assert_eq!(
            (chosen.ids.as_slice(), chosen.pixels.as_slice()),
            (&[3, 1, 2][..], &[[3; 6], [1; 6], [2; 6]].concat()[..])
        );
        packed.append(&chosen);
        assert_eq!(packed.pixels, [1, 2, 3, 3, 1, 2].map(|byte| [byte; 6]).concat());
        let written = serde_json::to_string(&packed).unwrap();
        assert_eq!(serde_json::from_str::<Packed>(&written).unwrap(), packed);
        assert!(!serde_json::to_string(&Packed::from_ids(&[[1]])).unwrap().contains("pixels"));
    }
}
