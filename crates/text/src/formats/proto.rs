//! A SentencePiece model file: the fields of its `ModelProto` that say how text is split.
//!
//! <https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto>

use std::collections::HashMap;
use std::path::Path;

use super::wire::{Fields, Wire};
use super::{LONGEST, charsmap};
use crate::{Error, Result};

/// What a piece is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

/// An entry of the vocabulary. Its id is its place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Piece {
    pub text: String,
    pub score: f32,
    pub kind: Kind,
}

/// How a model splits text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Unigram,
    Bpe,
}

/// A model with its pieces checked: at least one, none empty, none twice, one unknown.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub pieces: Vec<Piece>,
    pub algorithm: Algorithm,
    pub byte_fallback: bool,
    /// Id of the unknown piece.
    pub unk_id: usize,
    pub unk_piece: String,
    /// The compiled table of replacements; empty if there is none.
    pub charsmap: Vec<u8>,
    pub add_dummy_prefix: bool,
    pub remove_extra_whitespaces: bool,
    pub escape_whitespaces: bool,
    pub whitespace_as_suffix: bool,
}

impl Model {
    /// Reads a model file.
    ///
    /// # Errors
    /// [`Error::Broken`] with the place of what is wrong.
    pub fn read(path: &Path, bytes: &[u8]) -> Result<Self> {
        let mut model = Self {
            pieces: Vec::new(),
            algorithm: Algorithm::Unigram,
            byte_fallback: false,
            unk_id: 0,
            unk_piece: "<unk>".into(),
            charsmap: Vec::new(),
            add_dummy_prefix: true,
            remove_extra_whitespaces: true,
            escape_whitespaces: true,
            whitespace_as_suffix: false,
        };
        let broken = |at, problem| Error::Broken { path: path.into(), at, problem };
        if bytes.is_empty() {
            return Err(broken(0, "the file is empty: expected a SentencePiece model".into()));
        }
        // Where each piece stands.
        let mut places = Vec::new();
        let mut map_at = 0;
        let mut fields = Fields::new(path, bytes, 0);
        while let Some(field) = fields.next()? {
            match (field.number, field.value) {
                (1, Wire::Bytes(bytes)) => {
                    model.pieces.push(piece(path, bytes, field.at, model.pieces.len())?);
                    places.push(field.at);
                }
                (2, Wire::Bytes(bytes)) => model.trainer(path, bytes, field.at)?,
                (3, Wire::Bytes(bytes)) => map_at = model.normalizer(path, bytes, field.at)?.max(map_at),
                (number @ 1..=3, _) => {
                    return Err(broken(field.at, format!("field {number}: expected a message")));
                }
                // Self tests, a denormalizer, extensions.
                _ => {}
            }
        }
        let mut ids = HashMap::with_capacity(model.pieces.len());
        let mut unknown = None;
        for (id, (piece, &at)) in model.pieces.iter().zip(&places).enumerate() {
            if let Some(first) = ids.insert(piece.text.as_str(), id) {
                let problem = format!("piece {id}: {:?} is already piece {first}", piece.text);
                return Err(broken(at, problem));
            }
            if piece.kind == Kind::Unknown
                && let Some(first) = unknown.replace(id)
            {
                let problem = format!("piece {id} is for unknown text, as is piece {first}: expected one");
                return Err(broken(at, problem));
            }
        }
        let Some(unknown) = unknown else {
            let problem =
                format!("expected one piece for unknown text among {}, got none", model.pieces.len());
            return Err(broken(bytes.len(), problem));
        };
        model.unk_id = unknown;
        model.unk_piece = model.pieces[unknown].text.clone();
        charsmap::check(&model.charsmap).map_err(|problem| broken(map_at, problem))?;
        Ok(model)
    }

    fn trainer(&mut self, path: &Path, bytes: &[u8], at: usize) -> Result<()> {
        let mut fields = Fields::new(path, bytes, at);
        while let Some(field) = fields.next()? {
            match (field.number, field.value) {
                (3, Wire::Varint(value)) => {
                    self.algorithm = match value {
                        1 => Algorithm::Unigram,
                        2 => Algorithm::Bpe,
                        other => {
                            let kind = match other {
                                3 => "word",
                                4 => "char",
                                _ => "unknown",
                            };
                            let problem = format!("expected a unigram or bpe model, got {kind} ({other})");
                            return Err(Error::Broken { path: path.into(), at: field.at, problem });
                        }
                    };
                }
                (24, Wire::Varint(value)) => self.whitespace_as_suffix = value != 0,
                (35, Wire::Varint(value)) => self.byte_fallback = value != 0,
                _ => {}
            }
        }
        Ok(())
    }

    /// Gives the place of the table.
    fn normalizer(&mut self, path: &Path, bytes: &[u8], at: usize) -> Result<usize> {
        let mut fields = Fields::new(path, bytes, at);
        let mut map_at = at;
        while let Some(field) = fields.next()? {
            match (field.number, field.value) {
                (2, Wire::Bytes(bytes)) => {
                    self.charsmap = bytes.to_vec();
                    map_at = field.at;
                }
                (3, Wire::Varint(value)) => self.add_dummy_prefix = value != 0,
                (4, Wire::Varint(value)) => self.remove_extra_whitespaces = value != 0,
                (5, Wire::Varint(value)) => self.escape_whitespaces = value != 0,
                _ => {}
            }
        }
        Ok(map_at)
    }
}

fn piece(path: &Path, bytes: &[u8], at: usize, id: usize) -> Result<Piece> {
    let mut piece = Piece { text: String::new(), score: 0.0, kind: Kind::Normal };
    let broken = |at, problem: String| Error::Broken {
        path: path.into(),
        at,
        problem: format!("piece {id}: {problem}"),
    };
    let mut fields = Fields::new(path, bytes, at);
    while let Some(field) = fields.next()? {
        match (field.number, field.value) {
            (1, Wire::Bytes(bytes)) if bytes.len() > LONGEST => {
                let problem = format!("expected at most {LONGEST} bytes, got {}", bytes.len());
                return Err(broken(field.at, problem));
            }
            (1, Wire::Bytes(bytes)) => match std::str::from_utf8(bytes) {
                Ok(text) => piece.text = text.into(),
                Err(error) => {
                    let problem = format!("expected UTF-8, got {error}");
                    return Err(broken(field.at + error.valid_up_to(), problem));
                }
            },
            (2, Wire::Fixed32(bits)) => piece.score = f32::from_bits(bits),
            (3, Wire::Varint(kind)) => {
                piece.kind = match kind {
                    1 => Kind::Normal,
                    2 => Kind::Unknown,
                    3 => Kind::Control,
                    4 => Kind::UserDefined,
                    5 => Kind::Unused,
                    6 => Kind::Byte,
                    other => {
                        return Err(broken(field.at, format!("expected a kind from 1 to 6, got {other}")));
                    }
                };
            }
            (number @ 1..=3, got) => {
                return Err(broken(field.at, format!("field {number} has another type here: {got:?}")));
            }
            _ => {}
        }
    }
    if piece.text.is_empty() {
        return Err(broken(at, "expected a text, got none".into()));
    }
    if !piece.score.is_finite() {
        return Err(broken(at, format!("expected a finite score, got {}", piece.score)));
    }
    Ok(piece)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &[u8] = include_bytes!("../../../../fixtures/tokenizers-in/fairseq.model");

    #[test]
    fn what_a_file_says_is_read() {
        let model = Model::read(Path::new("m"), FILE).unwrap();
        assert_eq!((model.pieces.len(), model.unk_id, model.algorithm), (301, 0, Algorithm::Unigram));
        assert_eq!(
            (model.unk_piece.as_str(), model.charsmap.len(), model.byte_fallback),
            ("<unk>", 3724, false)
        );
        assert_eq!(model.pieces[1], Piece { text: "<s>".into(), score: 0.0, kind: Kind::Control });
        let bytes = include_bytes!("../../../../fixtures/tokenizers-in/llama.model");
        let model = Model::read(Path::new("m"), bytes).unwrap();
        assert_eq!((model.pieces.len(), model.algorithm, model.byte_fallback), (620, Algorithm::Bpe, true));
        assert_eq!((model.pieces[3].kind, model.pieces[4].kind), (Kind::UserDefined, Kind::Byte));
    }

    #[test]
    fn a_file_cut_at_any_byte_is_an_error_with_its_place() {
        let mut smaller = 0;
        for length in 0..FILE.len() {
            match Model::read(Path::new("m"), &FILE[..length]) {
                Ok(_) => smaller += 1,
                Err(Error::Broken { at, .. }) => assert!(at <= length),
                Err(other) => panic!("{other}"),
            }
        }
        // An end between two fields is the end of a smaller model: after each piece, and after two more fields.
        assert!((295..=303).contains(&smaller), "{smaller}");
    }

    #[test]
    fn pieces_that_cannot_be_are_refused() {
        let piece = |text: &[u8], rest: &[u8]| {
            let inner = [&[0x0a, text.len() as u8], text, rest].concat();
            [&[0x0a, inner.len() as u8], &inner[..]].concat()
        };
        let unk = piece(b"<unk>", b"\x18\x02");
        for (bytes, part) in [
            (Vec::new(), "empty"),
            (piece(b"a", b""), "one piece for unknown text among 1, got none"),
            ([&unk[..], &unk].concat(), "piece 1: \"<unk>\" is already piece 0"),
            ([&unk[..], &piece(b"u", b"\x18\x02")].concat(), "piece 1 is for unknown text, as is piece 0"),
            ([&unk[..], &piece(b"", b"")].concat(), "piece 1: expected a text"),
            ([&unk[..], &piece(b"\xff", b"")].concat(), "piece 1: expected UTF-8"),
            ([&unk[..], &piece(b"a", b"\x15\x00\x00\xc0\x7f")].concat(), "piece 1: expected a finite score"),
            ([&unk[..], &piece(b"a", b"\x18\x09")].concat(), "kind from 1 to 6, got 9"),
            ([&unk[..], b"\x12\x02\x18\x03"].concat(), "expected a unigram or bpe model, got word"),
            ([&unk[..], b"\x1a\x03\x12\x01x"].concat(), "table of replacements"),
        ] {
            let error = Model::read(Path::new("m"), &bytes).unwrap_err().to_string();
            assert!(error.starts_with("m byte ") && error.contains(part), "{error}, not {part}");
        }
    }
}
