//! Offsets in characters, as Python counts them, to offsets in bytes.

/// Where the characters of a text begin.
pub(super) struct Offsets {
    /// Empty for ASCII, where each is a byte.
    starts: Vec<usize>,
    bytes: usize,
}

impl Offsets {
    pub fn new(text: &str) -> Self {
        let starts =
            if text.is_ascii() { Vec::new() } else { text.char_indices().map(|(at, _)| at).collect() };
        Self { starts, bytes: text.len() }
    }

    /// The number of characters.
    pub fn len(&self) -> usize {
        if self.starts.is_empty() { self.bytes } else { self.starts.len() }
    }

    /// The byte at which character `at` begins, and the end of the text for the one after the last.
    pub fn byte(&self, at: usize) -> Option<usize> {
        match self.starts.get(at) {
            Some(&byte) => Some(byte),
            None if at == self.len() => Some(self.bytes),
            None if self.starts.is_empty() => Some(at).filter(|&at| at < self.bytes),
            None => None,
        }
    }

    /// The character that begins at a byte.
    pub fn character(&self, byte: usize) -> usize {
        if self.starts.is_empty() { byte } else { self.starts.partition_point(|&start| start < byte) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_of_any_length_are_counted_as_one() {
        for text in ["", "abc", "a\u{e9}\u{1f642}b", "\u{6811}"] {
            let offsets = Offsets::new(text);
            let mut expected: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
            expected.push(text.len());
            assert_eq!(offsets.len() + 1, expected.len());
            for (at, &byte) in expected.iter().enumerate() {
                assert_eq!((offsets.byte(at), offsets.character(byte)), (Some(byte), at), "{text:?}");
            }
            assert_eq!(offsets.byte(expected.len()), None);
        }
    }
}
