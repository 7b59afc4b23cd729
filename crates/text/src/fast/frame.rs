//! What a post-processor puts around the tokens of a text or pair.

use tokenizers::{PostProcessor, PostProcessorWrapper, Token};

use super::Piece;
use crate::Encoding;
use crate::guard::guarded;

/// Special tokens and type ids around one text or two.
#[derive(Debug)]
pub(super) struct Frame {
    /// Id and type id of the tokens before the first text, after it, and after the second.
    special: Vec<Vec<(u32, u32)>>,
    /// Type id of each text.
    types: Vec<u32>,
}

impl Frame {
    /// Reads the frame off what the post-processor makes of texts of three tokens; `None` if it is not a frame. The
    /// post-processor must be one that treats all tokens alike.
    pub fn new(post: Option<&PostProcessorWrapper>, texts: usize) -> Option<Self> {
        let Some(post) = post else {
            return Some(Self { special: vec![Vec::new(); texts + 1], types: (0..texts as u32).collect() });
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
                        .push((whole.get_ids()[at], whole.get_type_ids()[at]));
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
                    frame.types.push(kind);
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
            type_ids: Vec::with_capacity(tokens),
            offsets: Vec::with_capacity(tokens),
            special: Vec::with_capacity(tokens),
            words: Vec::with_capacity(tokens),
            sequences: Vec::with_capacity(tokens),
            chars: Vec::new(),
            cut,
        };
        for (index, special) in self.special.iter().enumerate() {
            for &(id, kind) in special {
                whole.ids.push(id);
                whole.type_ids.push(kind);
                whole.offsets.push((0, 0));
                whole.special.push(true);
                whole.words.push(None);
                whole.sequences.push(None);
            }
            let (Some(pieces), Some(&kind)) = (texts.get(index), self.types.get(index)) else { break };
            let length = whole.ids.len() + pieces.len();
            whole.ids.extend(pieces.iter().map(|piece| piece.id));
            whole.type_ids.resize(length, kind);
            whole.offsets.extend(pieces.iter().map(|piece| (piece.start as usize, piece.end as usize)));
            whole.special.resize(length, false);
            whole.words.extend(pieces.iter().map(|piece| Some(piece.word)));
            whole.sequences.resize(length, Some(index as u8));
        }
        whole
    }
}
