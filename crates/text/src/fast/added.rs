//! Whether a text can hold an added token, such as `[CLS]`. One that can is left to the `tokenizers` crate, whose
//! rules for spaces and words around added tokens are not repeated here.

use tokenizers::{NormalizedString, Normalizer, NormalizerWrapper};

use super::trie::Trie;

/// The contents of the added tokens, sorted by where the crate looks for them.
pub(super) struct Added {
    raw: Option<Search>,
    normalized: Option<Search>,
}

impl Added {
    /// `None` if they cannot be looked for.
    pub fn new(tokenizer: &tokenizers::Tokenizer) -> Option<Self> {
        let (mut raw, mut normalized) = (Vec::new(), Vec::new());
        for token in tokenizer.get_added_vocabulary().get_added_tokens_decoder().values() {
            if token.normalized {
                normalized.push(normalize(tokenizer.get_normalizer(), &token.content)?);
            } else {
                raw.push(token.content.clone());
            }
        }
        Some(Self { raw: Search::new(&raw)?, normalized: Search::new(&normalized)? })
    }

    /// True if the text holds a token that is looked for before normalizing.
    #[inline]
    pub fn in_text(&self, text: &str) -> bool {
        self.raw.as_ref().is_some_and(|search| search.finds(text))
    }

    /// The search in normalized text, if there is anything to look for.
    pub fn in_normalized(&self) -> Option<&Search> {
        self.normalized.as_ref()
    }
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
    /// The character all strings begin with, if it is one.
    first: Option<char>,
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
        let first = strings[0].chars().next();
        let first = first.filter(|&first| strings.iter().all(|string| string.starts_with(first)));
        let trie = Trie::new(strings.iter().map(|string| (string.as_bytes(), 0)))?;
        Some(Some(Self { first, firsts, trie }))
    }

    /// True if one of the strings stands in the text.
    pub fn finds(&self, text: &str) -> bool {
        let begins = |at: usize| self.trie.longest(Trie::ROOT, &text.as_bytes()[at..]).is_some();
        match self.first {
            Some(first) => text.match_indices(first).any(|(at, _)| begins(at)),
            None => text.bytes().enumerate().any(|(at, byte)| self.firsts[usize::from(byte)] && begins(at)),
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
        assert!(Search::new(&[]).unwrap().is_none());
        assert!(Search::new(&[String::new()]).is_none());
    }
}
