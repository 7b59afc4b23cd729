//! `tokenizer.bin` of llama2.c: a SentencePiece BPE vocabulary, scores and texts one after the other.
//!
//! Spaces stand as spaces, `<s>` and `</s>` between line feeds. Byte tokens are 3 to 258.
//! <https://github.com/karpathy/llama2.c/blob/master/tokenizer.py>

use std::path::Path;

use super::{GgufParts, LONGEST};
use crate::{Error, Result, Tokenizer};

impl Tokenizer {
    /// Reads a `tokenizer.bin` of llama2.c: the longest token's length, then score, length and bytes of each token.
    ///
    /// # Errors
    /// [`Error::Read`], or [`Error::Broken`] with the place of what is wrong.
    pub fn from_llama2c(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|source| Error::Read { path: path.into(), source })?;
        Self::from_gguf(&parts(path, &bytes)?)
    }
}

fn parts(path: &Path, bytes: &[u8]) -> Result<GgufParts> {
    let mut at = 0;
    let broken = |at, problem| Error::Broken { path: path.into(), at, problem };
    let mut take = |length: usize, what: &str| -> Result<(usize, &[u8])> {
        match bytes.get(at..at + length) {
            Some(found) => {
                at += length;
                Ok((at - length, found))
            }
            None => {
                let left = bytes.len() - at;
                Err(broken(at, format!("expected {length} bytes of {what}, got the {left} that are left")))
            }
        }
    };
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0u32, |sum, &byte| sum << 8 | u32::from(byte));
    let longest = number(take(4, "the longest token's length")?.1) as usize;
    if longest == 0 || longest > LONGEST {
        return Err(broken(0, format!("expected a longest token of 1 to {LONGEST} bytes, got {longest}")));
    }
    let mut parts = GgufParts { path: path.into(), model: "llama".into(), ..GgufParts::default() };
    let mut read = 4;
    while read < bytes.len() {
        let id = parts.tokens.len();
        parts.scores.push(f32::from_bits(number(take(4, "a score")?.1)));
        let (place, length) = take(4, "a token's length")?;
        let length = number(length) as usize;
        if length > longest {
            return Err(broken(place, format!("token {id}: expected at most {longest} bytes, got {length}")));
        }
        let (place, text) = take(length, "a token")?;
        read = place + length;
        let text = std::str::from_utf8(text)
            .map_err(|error| broken(place, format!("token {id}: expected UTF-8, got {error}")))?;
        let (text, kind) = match (id, text) {
            (0, text) => (text, 2),
            (1 | 2, text) => (text.trim_matches('\n'), 3),
            (3..259, text) if is_byte(id, text) => (text, 6),
            (_, text) => (text, 1),
        };
        parts.tokens.push(text.replace(' ', "▁"));
        parts.token_types.push(kind);
    }
    if parts.tokens.len() < 3 {
        return Err(broken(bytes.len(), format!("expected at least 3 tokens, got {}", parts.tokens.len())));
    }
    (parts.unk, parts.bos, parts.eos) = (Some(0), Some(1), Some(2));
    Ok(parts)
}

/// Whether a text stands for the byte that the token of this id does.
fn is_byte(id: usize, text: &str) -> bool {
    text == format!("<0x{:02X}>", id - 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(tokens: &[(&str, f32)]) -> Vec<u8> {
        let mut bytes = 9u32.to_le_bytes().to_vec();
        for (text, score) in tokens {
            bytes.extend(score.to_le_bytes());
            bytes.extend((text.len() as u32).to_le_bytes());
            bytes.extend(text.as_bytes());
        }
        bytes
    }

    #[test]
    fn a_small_vocabulary_is_read_and_no_piece_of_it_is() {
        let bytes: Vec<String> = (0..256).map(|byte| format!("<0x{byte:02X}>")).collect();
        let mut tokens = vec![("<unk>", 0.0), ("\n<s>\n", 0.0), ("\n</s>\n", 0.0)];
        tokens.extend(bytes.iter().map(|text| (text.as_str(), 0.0)));
        tokens.extend([(" a", -1.0), (" ", -2.0), ("a", -3.0), ("é", -4.0)]);
        let whole = file(&tokens);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.bin");
        std::fs::write(&path, &whole).unwrap();
        let tokenizer = Tokenizer::from_llama2c(&path).unwrap();
        assert_eq!(tokenizer.vocab_size(), 263);
        let ids = |text: &str| tokenizer.encode(text, None, None).unwrap().ids;
        assert_eq!(ids("a aé"), [1, 259, 259, 262]);
        // What has no token is spelt in bytes.
        assert_eq!(ids("b"), [1, 260, 3 + u32::from(b'b')]);
        assert_eq!(tokenizer.decode(&ids("a éb"), true).unwrap(), "a éb");
        let mut whole_files = 0;
        for length in 0..whole.len() {
            match parts(&path, &whole[..length]) {
                Ok(parts) => whole_files += usize::from(parts.tokens.len() < tokens.len()),
                Err(error) => assert!(error.to_string().contains("tokenizer.bin byte"), "{error}"),
            }
        }
        // Nothing says how many tokens there are: a file that ends after one is a smaller vocabulary.
        assert_eq!(whole_files, tokens.len() - 3);
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        let mut bytes = file(&[("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0)]);
        bytes[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        let error = parts(Path::new("t"), &bytes).unwrap_err().to_string();
        assert!(error.contains("byte 8") && error.contains("at most 9 bytes"), "{error}");
        bytes[0..4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(parts(Path::new("t"), &bytes).unwrap_err().to_string().contains("byte 0"));
    }
}
