//! What a post-processor puts around the tokens of a text or pair.

use tokenizers::{PostProcessor, PostProcessorWrapper, Token};

use super::Piece;
use crate::guard::guarded;
use crate::{Encoding, Origin};

/// Special tokens and type ids around one text or two.
#[derive(Debug)]
pub(super) struct Frame {
    /// Id and type id of the tokens before the first text, after it, and after the second.
    special: Vec<Vec<(u32, u16)>>,
    /// Type id of each text.
    types: Vec<u16>,
}

impl Frame {
    /// Reads the frame off what the post-processor makes of texts of three tokens; `None` if it is not a frame. The
    /// post-processor must be one that treats all tokens alike.
    pub fn new(post: Option<&PostProcessorWrapper>, texts: usize) -> Option<Self> {
        let Some(post) = post else {
            return Some(Self { special: vec![Vec::new(); texts + 1], types: (0..texts as u16).collect() });
        };
        // Offsets that no token of a frame has.
        let token = |at| Token::new(0, String::from("x"), (at, at + 1));
        let text = || tokenizers::Encoding::from_tokens((1..4).map(token).collect(), 0);
        let whole = guarded(|| post.process(text(), (texts == 2).then(text), true)).ok()?;
        let mut frame = Self { special: vec![Vec::new()], types: Vec::new() };
        let sequences = whole.get_sequence_ids();
        let mut at = 0;
        while at < whole.len() {
            match sequences[at] {
                None => {
                    let alike = whole.get_offsets()[at] == (0, 0)
                        && whole.get_special_tokens_mask()[at] == 1
                        && whole.get_word_ids()[at].is_none();
                    frame
                        .special
                        .last_mut()
                        .filter(|_| alike)?
                        .push((whole.get_ids()[at], u16::try_from(whole.get_type_ids()[at]).ok()?));
                    at += 1;
                }
                Some(text) => {
                    let end = at + 3;
                    let kind = *whole.get_type_ids().get(at)?;
                    let alike = text == frame.types.len()
                        && sequences.get(at..end)? == [Some(text); 3]
                        && whole.get_offsets().get(at..end)? == [(1, 2), (2, 3), (3, 4)]
                        && whole.get_type_ids().get(at..end)? == [kind; 3]
                        && whole.get_special_tokens_mask().get(at..end)? == [0; 3];
                    if !alike {
                        return None;
                    }
                    frame.types.push(u16::try_from(kind).ok()?);
                    frame.special.push(Vec::new());
                    at = end;
                }
            }
        }
        (frame.types.len() == texts && frame.added() == post.added_tokens(texts == 2)).then_some(frame)
    }

    /// How many special tokens it adds.
    pub fn added(&self) -> usize {
        self.special.iter().map(Vec::len).sum()
    }

    /// Puts the ids of the texts, each given as its pieces, at the end of others.
    pub fn ids(&self, texts: &[&[Piece]], ids: &mut Vec<u32>) {
        for (index, special) in self.special.iter().enumerate() {
            ids.extend(special.iter().map(|&(id, _)| id));
            let Some(pieces) = texts.get(index) else { break };
            ids.extend(pieces.iter().map(|piece| piece.id));
        }
    }

    /// The encoding of the texts, each given as its pieces.
    pub fn fill(&self, texts: &[&[Piece]], cut: usize) -> Encoding {
        let tokens = self.added() + texts.iter().map(|pieces| pieces.len()).sum::<usize>();
        let mut whole = Encoding {
            ids: Vec::with_capacity(tokens),
            origins: Vec::with_capacity(tokens),
            chars: Vec::new(),
            pixels: Vec::new(),
            cut,
        };
        for (index, special) in self.special.iter().enumerate() {
            whole.ids.extend(special.iter().map(|&(id, _)| id));
            whole.origins.extend(special.iter().map(|&(_, kind)| Origin::special(kind)));
            let (Some(pieces), Some(&kind)) = (texts.get(index), self.types.get(index)) else { break };
            whole.ids.extend(pieces.iter().map(|piece| piece.id));
            let origin = |piece: &Piece| {
                Origin::new((piece.start, piece.end), Some(piece.word), kind, Some(index as u8))
            };
            whole.origins.extend(pieces.iter().map(origin));
        }
        whole
    }
}
