//! Vectors of words from their character n-grams, as fastText hashes them.
//!
//! Paper: Bojanowski et al. 2017, section 3.2, "Enriching Word Vectors with Subword Information",
//! <https://arxiv.org/abs/1607.04606>.

use std::collections::HashMap;

use super::quantised::Quantised;

/// The word that ends a line in fastText's own vocabulary; it has no n-grams.
const END: &[u8] = b"</s>";

/// Rows of a matrix, as they are or quantised.
#[derive(Clone, Debug)]
pub(super) enum Rows {
    /// `[rows, width]`.
    Plain(Vec<f32>),
    Quantised(Quantised),
}

impl Rows {
    /// Adds a row to `into`, which is as wide as it.
    pub fn add(&self, row: usize, into: &mut [f32]) {
        match self {
            Rows::Plain(values) => {
                let row = &values[row * into.len()..][..into.len()];
                into.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
            }
            Rows::Quantised(rows) => rows.add(row, into),
        }
    }
}

/// N-grams of characters and a vector for each bucket they are hashed into.
#[derive(Clone, Debug)]
pub struct Subwords {
    pub(super) shortest: usize,
    pub(super) longest: usize,
    pub(super) buckets: u32,
    /// Where the buckets that were kept lie, where others were pruned.
    pub(super) kept: Option<HashMap<u32, u32>>,
    pub(super) rows: Rows,
    /// The row of the first bucket.
    pub(super) first: usize,
    pub(super) width: usize,
}

impl Subwords {
    /// Shortest and longest n-gram in characters, the signs before and after a word counted.
    pub fn lengths(&self) -> (usize, usize) {
        (self.shortest, self.longest)
    }

    /// How many buckets n-grams are hashed into.
    pub fn buckets(&self) -> usize {
        self.buckets as usize
    }

    /// How many of them have a vector.
    pub fn kept(&self) -> usize {
        self.kept.as_ref().map_or(self.buckets as usize, HashMap::len)
    }

    /// The mean vector of a word's n-grams; `None` for a word without one that has a vector.
    pub fn vector(&self, word: &str) -> Option<Vec<f32>> {
        let mut sum = vec![0.0; self.width];
        let seen = self.add(word.as_bytes(), &mut sum);
        scale(&mut sum, seen);
        (seen > 0).then_some(sum)
    }

    /// Adds the vectors of a word's n-grams to `sum` and gives how many they were.
    pub(super) fn add(&self, word: &[u8], sum: &mut [f32]) -> usize {
        let mut seen = 0;
        if word == END || self.buckets == 0 {
            return seen;
        }
        ngrams(&[b"<", word, b">"].concat(), self.shortest, self.longest, |ngram| {
            let bucket = hash(ngram) % self.buckets;
            let row = match &self.kept {
                None => Some(bucket),
                Some(kept) => kept.get(&bucket).copied(),
            };
            if let Some(row) = row {
                self.rows.add(self.first + row as usize, sum);
                seen += 1;
            }
        });
        seen
    }
}

/// Makes the mean of a sum, rounding where fastText does.
pub(super) fn scale(sum: &mut [f32], seen: usize) {
    if seen > 0 {
        let factor = (1.0 / seen as f64) as f32;
        sum.iter_mut().for_each(|value| *value *= factor);
    }
}

/// Calls `each` with every run of `shortest` to `longest` characters, by where it begins, then by its length. The signs
/// before and after the word are none by themselves.
fn ngrams(word: &[u8], shortest: usize, longest: usize, mut each: impl FnMut(&[u8])) {
    // Whatever the bytes are: those that go on with a character belong to the one before.
    let goes_on = |at: usize| word.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
    for start in (0..word.len()).filter(|&at| !goes_on(at)) {
        let (mut end, mut length) = (start, 1);
        while end < word.len() && length <= longest {
            end += 1;
            while goes_on(end) {
                end += 1;
            }
            if length >= shortest && !(length == 1 && (start == 0 || end == word.len())) {
                each(&word[start..end]);
            }
            length += 1;
        }
    }
}

/// FNV-1a of 32 bits, in which each byte is taken as a signed one: bytes above 127 flip the upper bits too. That is a
/// slip of the original program, which every file since is bound to.
fn hash(bytes: &[u8]) -> u32 {
    bytes.iter().fold(2_166_136_261, |hash, &byte| (hash ^ byte as i8 as u32).wrapping_mul(16_777_619))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(word: &str, shortest: usize, longest: usize) -> Vec<String> {
        let mut list = Vec::new();
        ngrams(word.as_bytes(), shortest, longest, |ngram| {
            list.push(String::from_utf8(ngram.to_vec()).unwrap())
        });
        list
    }

    #[test]
    fn ngrams_are_of_characters_and_never_a_sign_alone() {
        assert_eq!(all("<ab>", 3, 3), ["<ab", "ab>"]);
        assert_eq!(all("<äß>", 1, 2), ["<ä", "ä", "äß", "ß", "ß>"]);
        assert_eq!(all("<a>", 3, 6), ["<a>"]);
        assert!(all("<a>", 4, 6).is_empty() && all("<abc>", 0, 0).is_empty());
    }

    #[test]
    fn bytes_are_hashed_as_signed() {
        // FNV-1a of "a" is a published value; for bytes above 127 the plain FNV-1a differs.
        assert_eq!(hash(b"a"), 0xe40c_292c);
        let plain = |bytes: &[u8]| {
            bytes
                .iter()
                .fold(2_166_136_261_u32, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(16_777_619))
        };
        assert_eq!(hash(b"stick"), plain(b"stick"));
        assert_ne!(hash("ä".as_bytes()), plain("ä".as_bytes()));
    }
}
