//! One text, or a pair of texts, as token ids.

/// Token ids of one text or pair, with where each came from. All vectors but `chars` have one entry a token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoding {
    /// Token ids, special tokens included.
    pub ids: Vec<u32>,
    /// Token type (segment) ids, as the tokenizer's own template sets them: 0 and 1 for a BERT pair, all 0 for RoBERTa.
    pub type_ids: Vec<u32>,
    /// Start and end **byte** of each token in its own original text; (0, 0) for a special token.
    pub offsets: Vec<(usize, usize)>,
    /// True for tokens the template added (`[CLS]`, `[SEP]`, ...).
    pub special: Vec<bool>,
    /// Number of the word the token belongs to, counted from 0 in each text; `None` for a special token.
    pub words: Vec<Option<u32>>,
    /// Which text the token is from: 0, 1 for the second of a pair; `None` for a special token.
    pub sequences: Vec<Option<u8>>,
    /// Characters of each token, [`WORD`](crate::characters::WORD) numbers each, where the model reads them; else empty.
    pub chars: Vec<u16>,
    /// How many tokens the limit cut off, over both texts.
    pub cut: usize,
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
        self.special.iter().filter(|&&special| !special).count()
    }

    /// The attention mask other libraries print: all ones, since nothing here is padding.
    pub fn attention_mask(&self) -> Vec<u32> {
        vec![1; self.ids.len()]
    }
}
