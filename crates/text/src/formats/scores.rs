//! SentencePiece BPE, which joins the pair whose whole has the best score, as a list of merges.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

/// The merges of pieces with scores, the first to be done first: every way to make a piece of two others, by the score
/// of the whole, then by length of the left and of the right part.
///
/// `pieces` are in the order of their ids. Those of `apart` are neither made nor parts.
pub(super) fn merges(pieces: &[(&str, f32)], apart: &HashSet<&str>) -> Vec<[String; 2]> {
    let ids: HashMap<&str, usize> = pieces.iter().enumerate().map(|(id, (text, _))| (*text, id)).collect();
    // Most parts are no piece by their length alone: a long piece is not looked up at each of its places.
    let lengths: HashSet<usize> = pieces.iter().map(|(text, _)| text.len()).collect();
    let mut found: Vec<([&str; 2], f32, [usize; 2])> = Vec::new();
    for (whole, score) in pieces {
        if apart.contains(whole) {
            continue;
        }
        let from = found.len();
        for (at, _) in whole.char_indices().skip(1) {
            let parts = [&whole[..at], &whole[at..]];
            let is_piece = |part: &&str| {
                lengths.contains(&part.len()) && ids.contains_key(part) && !apart.contains(part)
            };
            if parts.iter().all(is_piece) {
                let lengths = parts.map(|part| part.chars().count());
                found.push((parts, *score, lengths));
            }
        }
        found[from..].sort_by_key(|([left, right], ..)| (ids[left], ids[right]));
    }
    // Stable, so that the first found stays first among equals.
    found.sort_by(|(_, a, lengths), (_, b, others)| b.total_cmp(a).then_with(|| others.cmp(lengths)));
    found.into_iter().map(|(parts, ..)| parts.map(String::from)).collect()
}

/// A BPE model of such merges.
pub(super) fn model(vocab: Value, merges: &[[String; 2]], unk: Option<&str>, byte_fallback: bool) -> Value {
    json!({
        "type": "BPE", "dropout": null, "unk_token": unk, "continuing_subword_prefix": null,
        "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": byte_fallback, "ignore_merges": false,
        "vocab": vocab, "merges": merges,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_score_is_joined_first_and_every_way_counts() {
        let pieces =
            [("a", -5.0), ("b", -6.0), ("ab", -1.0), ("aba", -2.0), ("ba", -3.0), ("é", -7.0), ("aé", 0.0)];
        let expected = [["a", "é"], ["a", "b"], ["ab", "a"], ["a", "ba"], ["b", "a"]];
        assert_eq!(merges(&pieces, &HashSet::new()), expected.map(|pair| pair.map(String::from)));
        let apart = HashSet::from(["ab"]);
        let expected = [["a", "é"], ["a", "ba"], ["b", "a"]];
        assert_eq!(merges(&pieces, &apart), expected.map(|pair| pair.map(String::from)));
    }
}
