//! Added tokens in texts, such as `[CLS]`. Those that are looked for before normalizing cut a text in parts that have
//! nothing to do with each other. The `tokenizers` crate's rules for spaces and words around added tokens are not
//! repeated here, nor is what it does where one is found in normalized text.

use tokenizers::{NormalizedString, Normalizer, NormalizerWrapper};

use super::trie::Trie;

/// The contents of the added tokens, sorted by where the crate looks for them.
pub(super) struct Added {
    raw: Option<Search>,
    /// Id of each raw one, if nothing around it matters.
    ids: Vec<Option<u32>>,
    normalized: Option<Search>,
}

impl Added {
    /// `None` if they cannot be looked for.
    pub fn new(tokenizer: &tokenizers::Tokenizer) -> Option<Self> {
        let (mut raw, mut ids, mut normalized) = (Vec::new(), Vec::new(), Vec::new());
        for (&id, token) in tokenizer.get_added_vocabulary().get_added_tokens_decoder() {
            if token.normalized {
                normalized.push(normalize(tokenizer.get_normalizer(), &token.content)?);
                continue;
            }
            // A space in it would be taken off its offsets.
            let spaced = token.content.contains(|char: char| char.is_whitespace() || char == 'Ġ');
            let near = [token.single_word, token.lstrip, token.rstrip, spaced].contains(&true);
            raw.push(token.content.clone());
            ids.push((!near).then_some(id));
        }
        // Of two that are the same no one knows which is found.
        for (content, id) in raw.iter().zip(&mut ids) {
            if raw.iter().filter(|other| *other == content).count() > 1 {
                *id = None;
            }
        }
        Some(Self { raw: Search::new(&raw)?, ids, normalized: Search::new(&normalized)? })
    }

    /// The first token from a place on that is looked for before normalizing.
    #[inline]
    pub fn next(&self, text: &str, from: usize) -> Option<Found> {
        let (start, length, index) = self.raw.as_ref()?.find(text, from)?;
        Some(Found { start, end: start + length, id: *self.ids.get(index as usize)? })
    }

    /// The search in normalized text, if there is anything to look for.
    pub fn in_normalized(&self) -> Option<&Search> {
        self.normalized.as_ref()
    }
}

/// An added token in a text.
pub(super) struct Found {
    pub start: usize,
    pub end: usize,
    /// `None` if what stands around it matters.
    pub id: Option<u32>,
}

/// What becomes of the content of an added token.
pub(super) fn normalize(normalizer: Option<&NormalizerWrapper>, content: &str) -> Option<String> {
    let mut text = NormalizedString::from(content);
    if let Some(normalizer) = normalizer {
        normalizer.normalize(&mut text).ok()?;
    }
    Some(text.get().to_string())
}

/// Looks for any of some strings.
pub(super) struct Search {
    /// The byte that all strings begin with, if it is one.
    first: Option<u8>,
    /// Bytes that a string begins with.
    firsts: [bool; 256],
    trie: Trie,
}

impl Search {
    /// `None` inside if there is nothing to look for, outside if one of the strings is empty or all are too long.
    fn new(strings: &[String]) -> Option<Option<Self>> {
        if strings.is_empty() {
            return Some(None);
        }
        let mut firsts = [false; 256];
        for string in strings {
            firsts[usize::from(*string.as_bytes().first()?)] = true;
        }
        let first = strings[0].bytes().next();
        let first = first.filter(|_| strings.iter().all(|string| string.bytes().next() == first));
        let trie = Trie::new(strings.iter().zip(0..).map(|(string, index)| (string.as_bytes(), index)))?;
        Some(Some(Self { first, firsts, trie }))
    }

    /// True if one of the strings stands in the text.
    pub fn finds(&self, text: &str) -> bool {
        self.find(text, 0).is_some()
    }

    /// The first of the strings from a place on, the longest if several begin there: where it begins, its length and
    /// its number.
    fn find(&self, text: &str, from: usize) -> Option<(usize, usize, u32)> {
        let begins = |at: usize| {
            let (index, length) = self.trie.longest(Trie::ROOT, &text.as_bytes()[at..])?;
            Some((at, length, index))
        };
        match self.first {
            Some(first) => {
                memchr::memchr_iter(first, &text.as_bytes()[from..]).find_map(|at| begins(from + at))
            }
            None => {
                let mut bytes = (from..).zip(text[from..].bytes());
                bytes.find_map(|(at, byte)| self.firsts[usize::from(byte)].then(|| begins(at))?)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_found_wherever_they_stand() {
        for strings in [&["[CLS]", "[SEP]"][..], &["[SEP]", "sep", "é"]] {
            let strings: Vec<String> = strings.iter().map(ToString::to_string).collect();
            let search = Search::new(&strings).unwrap().unwrap();
            for (text, expected) in [
                ("", false),
                ("[", false),
                ("[SE", false),
                ("[[SEP]", true),
                ("a[SEP]", true),
                ("se sep", strings.len() == 3),
                ("caf\u{e9}", strings.len() == 3),
            ] {
                assert_eq!(search.finds(text), expected, "{text} in {strings:?}");
            }
        }
        let strings = ["[A]", "[A][B]", "[B]"].map(String::from);
        let search = Search::new(&strings).unwrap().unwrap();
        for (from, expected) in [(0, Some((1, 6, 1))), (2, Some((4, 3, 2))), (5, Some((7, 3, 0))), (8, None)]
        {
            assert_eq!(search.find(" [A][B][A]", from), expected, "from {from}");
        }
        assert!(Search::new(&[]).unwrap().is_none());
        assert!(Search::new(&[String::new()]).is_none());
    }
}
