//! One text, or a pair of texts, as token ids.

/// Word number of a token that belongs to none.
const NO_WORD: u32 = u32::MAX;
/// Text number of a token that is from none.
const NO_TEXT: u8 = u8::MAX;

/// Token ids of one text or pair, with where each came from. `ids` and `origins` have one entry a token.
///
/// Two allocations a text, not one for each fact about a token: with many short texts the allocator is what takes the time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoding {
    /// Token ids, special tokens included.
    pub ids: Vec<u32>,
    /// Where each token came from.
    pub origins: Vec<Origin>,
    /// Characters of each token, [`WORD`](crate::characters::WORD) numbers each, where the model reads them; else empty.
    pub chars: Vec<u16>,
    /// Bytes of the square of a picture that each token is, as many for each, where the model reads them; else empty.
    pub pixels: Vec<u8>,
    /// How many tokens the limit cut off, over both texts.
    pub cut: usize,
}

/// Where a token came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Start and end **byte** in the token's own original text; 0 and 0 for a special token.
    pub start: u32,
    /// See `start`.
    pub end: u32,
    word: u32,
    type_id: u16,
    sequence: u8,
    /// True for tokens the template added (`[CLS]`, `[SEP]`, ...).
    pub special: bool,
}

impl Origin {
    /// Of a token that stands in a text: its bytes there, its word if it belongs to one, its type id, and which text it is
    /// (0, or 1 for the second of a pair).
    pub fn new((start, end): (u32, u32), word: Option<u32>, type_id: u16, sequence: Option<u8>) -> Self {
        let (word, sequence) = (word.unwrap_or(NO_WORD), sequence.unwrap_or(NO_TEXT));
        Self { start, end, word, type_id, sequence, special: false }
    }

    /// Of a token that the template added.
    pub fn special(type_id: u16) -> Self {
        Self { start: 0, end: 0, word: NO_WORD, type_id, sequence: NO_TEXT, special: true }
    }

    /// All of it as bytes, numbers with their lowest byte first, to be kept on disk.
    pub fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        for (to, number) in bytes.chunks_exact_mut(4).zip([self.start, self.end, self.word]) {
            to.copy_from_slice(&number.to_le_bytes());
        }
        bytes[12..14].copy_from_slice(&self.type_id.to_le_bytes());
        (bytes[14], bytes[15]) = (self.sequence, u8::from(self.special));
        bytes
    }

    /// What [`Origin::to_bytes`] made bytes of.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Self {
            start: number(0),
            end: number(4),
            word: number(8),
            type_id: u16::from_le_bytes([bytes[12], bytes[13]]),
            sequence: bytes[14],
            special: bytes[15] != 0,
        }
    }

    /// Start and end byte of the token in its own original text; (0, 0) for a special token.
    pub fn offsets(self) -> (usize, usize) {
        (self.start as usize, self.end as usize)
    }

    /// Number of the word the token belongs to, counted from 0 in each text; `None` for a special token.
    pub fn word(self) -> Option<u32> {
        (self.word != NO_WORD).then_some(self.word)
    }

    /// Token type (segment) id, as the tokenizer's own template sets it: 0 and 1 for a BERT pair, 0 for RoBERTa.
    pub fn type_id(self) -> u32 {
        u32::from(self.type_id)
    }

    /// Which text the token is from: 0, 1 for the second of a pair; `None` for a special token.
    pub fn sequence(self) -> Option<u8> {
        (self.sequence != NO_TEXT).then_some(self.sequence)
    }
}

impl Encoding {
    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// True when there is no token at all.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Number of tokens there would be without a limit.
    pub fn full_len(&self) -> usize {
        self.ids.len() + self.cut
    }

    /// Number of tokens that are not special.
    pub fn content_len(&self) -> usize {
        self.origins.iter().filter(|origin| !origin.special).count()
    }

    /// Start and end byte of each token in its own text, see [`Origin::offsets`].
    pub fn offsets(&self) -> impl ExactSizeIterator<Item = (usize, usize)> + DoubleEndedIterator + '_ {
        self.origins.iter().map(|origin| origin.offsets())
    }

    /// Type id of each token, see [`Origin::type_id`].
    pub fn type_ids(&self) -> impl ExactSizeIterator<Item = u32> + '_ {
        self.origins.iter().map(|origin| origin.type_id())
    }

    /// The attention mask other libraries print: all ones, since nothing here is padding.
    pub fn attention_mask(&self) -> Vec<u32> {
        vec![1; self.ids.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_the_same_after_bytes() {
        for origin in [
            Origin::new((1, u32::MAX), Some(7), 300, Some(1)),
            Origin::new((0, 2), None, 0, None),
            Origin::special(2),
        ] {
            assert_eq!(Origin::from_bytes(origin.to_bytes()), origin);
        }
        let origin = Origin::new((3, 5), Some(0), 1, Some(0));
        assert_eq!((origin.offsets(), origin.word(), origin.type_id()), ((3, 5), Some(0), 1));
        assert_eq!((origin.sequence(), origin.special), (Some(0), false));
        let special = Origin::special(1);
        assert_eq!((special.offsets(), special.word(), special.type_id()), ((0, 0), None, 1));
        assert_eq!((special.sequence(), special.special), (None, true));
    }
}
