//! The best pieces of a word under a Unigram model, with the `tokenizers` crate's own sums in its own order: two ways
//! through a word that are equally good are told apart by rounding.

use tokenizers::Model;
use tokenizers::models::unigram::Unigram;

use super::trie::Trie;

/// How much worse than the worst token a character is that has none.
const PENALTY: f64 = 10.0;

/// The best way to a place in the word.
#[derive(Clone, Copy)]
pub(super) struct Best {
    score: f64,
    /// Where its last piece begins; [`NOWHERE`] if no way was found yet.
    from: u32,
    id: u32,
}

const NOWHERE: u32 = u32::MAX;

/// A Unigram model.
pub(super) struct Viterbi {
    trie: Trie,
    /// By id.
    scores: Vec<f64>,
    unknown: u32,
    unknown_score: f64,
}

impl Viterbi {
    /// `None` if the model does more than is known here.
    pub fn new(model: &Unigram) -> Option<Self> {
        // What samples is not the same twice; what falls back on bytes does not say which token is the unknown one.
        if model.byte_fallback() || model.alpha.is_some() || model.nbest_size.is_some() {
            return None;
        }
        let tokens = || model.iter().map(|(token, _)| token.as_bytes()).zip(0..);
        // An empty token is never looked for: a word has none.
        let trie =
            Trie::new(tokens().filter(|(token, _)| !token.is_empty()).collect::<Vec<_>>().into_iter())?;
        let scores = model.iter().map(|&(_, score)| score).collect();
        // The model does not tell its unknown token but for a character that it does not know.
        let strange = ('\u{100000}'..=char::MAX).map(String::from);
        let mut strange = strange.filter(|char| trie.walk(char.as_bytes()).is_none());
        let unknown = model.tokenize(&strange.next()?).ok()?.first()?.id;
        Some(Self { trie, scores, unknown, unknown_score: model.min_score - PENALTY })
    }

    /// Hands over the pieces of a word, in order: id, start and end in bytes.
    pub fn split(&self, word: &str, best: &mut Vec<Best>, mut piece: impl FnMut(u32, usize, usize)) {
        let bytes = word.as_bytes();
        best.clear();
        best.resize(bytes.len() + 1, Best { score: 0.0, from: NOWHERE, id: 0 });
        let mut at = 0;
        while at < bytes.len() {
            let score = best[at].score;
            let single = at + char_length(bytes[at]);
            let mut has_single = false;
            let mut node = Trie::ROOT;
            for (index, &byte) in bytes[at..].iter().enumerate() {
                let Some(next) = self.trie.step(node, byte) else { break };
                node = next;
                if let Some(id) = self.trie.value(node) {
                    let end = at + index + 1;
                    better(&mut best[end], self.scores[id as usize] + score, at, id);
                    has_single |= end == single;
                }
            }
            if !has_single {
                better(&mut best[single], self.unknown_score + score, at, self.unknown);
            }
            at = single;
        }
        self.follow(bytes, best, &mut piece);
    }

    /// Goes back along the best way, turns it round, and hands over its pieces, unknown ones that touch as one.
    fn follow(&self, bytes: &[u8], best: &mut [Best], piece: &mut impl FnMut(u32, usize, usize)) {
        // Each piece is noted at its start: where it ends is written over where it came from.
        let mut end = bytes.len();
        while end > 0 {
            let Best { from, id, .. } = best[end];
            let start = from as usize;
            // The place of the start is needed once more, for what ends there; its score is not.
            best[start].score = f64::from(end as u32);
            best[end].id = id;
            end = start;
        }
        let mut at = 0;
        while at < bytes.len() {
            let mut end = best[at].score as usize;
            let mut id = best[end].id;
            if id == self.unknown {
                while end < bytes.len() {
                    let next = best[end].score as usize;
                    if best[next].id != self.unknown {
                        break;
                    }
                    end = next;
                }
                // What is unknown by its parts can be a token as a whole.
                let whole = self.trie.walk(&bytes[at..end]).and_then(|node| self.trie.value(node));
                id = whole.unwrap_or(self.unknown);
            }
            piece(id, at, end);
            at = end;
        }
    }
}

#[inline]
fn better(best: &mut Best, score: f64, from: usize, id: u32) {
    if best.from == NOWHERE || score > best.score {
        *best = Best { score, from: from as u32, id };
    }
}

/// Bytes of the character that begins with this byte.
#[inline]
fn char_length(first: u8) -> usize {
    match first {
        0..0xc0 => 1,
        0xc0..0xe0 => 2,
        0xe0..0xf0 => 3,
        0xf0.. => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_pieces_are_the_crates() {
        let tokens = [
            ("<unk>", 0.0),
            ("a", -1.0),
            ("b", -1.5),
            ("ab", -2.5),
            ("abc", -9.0),
            ("c", -3.0),
            ("é", -4.0),
            ("xy", -40.0),
            ("a", -2.0),
            ("ca", f64::NEG_INFINITY),
        ];
        for tokens in [&tokens[..], &tokens[..9], &tokens[..8]] {
            let vocab = tokens.iter().map(|&(token, score)| (token.to_string(), score)).collect();
            let model = Unigram::from(vocab, Some(0), false).unwrap();
            let ours = Viterbi::new(&model).unwrap();
            for word in [
                "",
                "a",
                "ab",
                "abc",
                "abcabc",
                "x",
                "xy",
                "axyb",
                "xéyx",
                "<unk>",
                "x<unk>y",
                "中ab中文",
                "caca",
            ] {
                let mut got = Vec::new();
                ours.split(word, &mut Vec::new(), |id, start, end| got.push((id, (start, end))));
                let expected: Vec<_> =
                    model.tokenize(word).unwrap().iter().map(|token| (token.id, token.offsets)).collect();
                assert_eq!(got, expected, "{word}");
            }
        }
    }

    #[test]
    fn what_cannot_be_repeated_is_left_to_the_crate() {
        let vocab = vec![("<unk>".to_string(), 0.0), ("a".to_string(), -1.0)];
        assert!(Viterbi::new(&Unigram::from(vocab.clone(), Some(0), false).unwrap()).is_some());
        assert!(Viterbi::new(&Unigram::from(vocab.clone(), Some(0), true).unwrap()).is_none());
        assert!(Viterbi::new(&Unigram::from(vocab.clone(), None, false).unwrap()).is_none());
        let mut samples = Unigram::from(vocab, Some(0), false).unwrap();
        samples.alpha = Some(0.1);
        assert!(Viterbi::new(&samples).is_none());
    }
}
