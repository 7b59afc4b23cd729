//! Characters of words, as ELMo reads them: the bytes of a word between marks, to a fixed length.
//!
//! Paper: Peters et al., "Deep contextualized word representations" (2018), section 3,
//! <https://arxiv.org/abs/1802.05365>; the numbers are those of AllenNLP's `ELMoCharacterMapper`.

/// Numbers a word takes.
pub const WORD: usize = 50;

/// Before the shift by one that leaves 0 to padding words.
const BEGIN_SENTENCE: u16 = 256;
const END_SENTENCE: u16 = 257;
const BEGIN_WORD: u16 = 258;
const END_WORD: u16 = 259;
const PADDING: u16 = 260;

/// Number of different values: 0 for the padding of sentences, 1 to 261 here. The character table of a model has a row
/// for each.
pub const CHARACTERS: usize = 262;

/// The characters of a word: its first 48 bytes of UTF-8 between the marks of its begin (259) and end (260), then
/// padding (261). `<S>` and `</S>` stand for the begin and the end of a sentence.
pub fn encode(token: &str) -> [u16; WORD] {
    match token {
        "<S>" => begin_of_sentence(),
        "</S>" => end_of_sentence(),
        _ => word(token.as_bytes().iter().take(WORD - 2).map(|&byte| u16::from(byte))),
    }
}

/// What stands before the words of a sentence.
pub fn begin_of_sentence() -> [u16; WORD] {
    word([BEGIN_SENTENCE])
}

/// What stands after the words of a sentence.
pub fn end_of_sentence() -> [u16; WORD] {
    word([END_SENTENCE])
}

fn word(inner: impl IntoIterator<Item = u16>) -> [u16; WORD] {
    let mut ids = [PADDING + 1; WORD];
    for (slot, id) in ids.iter_mut().zip([BEGIN_WORD].into_iter().chain(inner).chain([END_WORD])) {
        *slot = id + 1;
    }
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(token: &str, start: &[u16]) {
        let ids = encode(token);
        assert_eq!(&ids[..start.len()], start, "{token:?}");
        assert!(ids[start.len()..].iter().all(|&id| id == 261), "{token:?}");
        assert!(ids.iter().all(|&id| usize::from(id) < CHARACTERS));
    }

    /// The values that AllenNLP's own tests of the mapper write out.
    #[test]
    fn words_are_bytes_between_marks() {
        check("One", &[259, 80, 111, 102, 260]);
        check("", &[259, 260]);
        check("<S>", &[259, 257, 260]);
        check("</S>", &[259, 258, 260]);
        check("<s>", &[259, 61, 116, 63, 260]);
        check("é🙂", &[259, 0xc3 + 1, 0xa9 + 1, 0xf0 + 1, 0x9f + 1, 0x99 + 1, 0x82 + 1, 260]);
        assert_eq!(encode("<S>"), begin_of_sentence());
        assert_eq!(encode("</S>"), end_of_sentence());
    }

    #[test]
    fn a_long_word_is_cut_wherever_its_bytes_end() {
        for length in [47, 48, 49, 200] {
            let ids = encode(&"x".repeat(length));
            let kept = length.min(48);
            assert!(ids[1..=kept].iter().all(|&id| id == u16::from(b'x') + 1));
            assert_eq!((ids[0], ids[kept + 1]), (259, 260));
            assert_eq!(ids[kept + 2..].len(), 48 - kept);
        }
        // A character of two bytes that is cut in two.
        let ids = encode(&format!("{}é", "x".repeat(47)));
        assert_eq!((ids[48], ids[49]), (0xc3 + 1, 260));
    }
}
