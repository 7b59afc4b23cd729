//! The tokens of a model, one by one: the crate's own way to its vocabulary copies it into a slower table first.

use tokenizers::{Model, ModelWrapper};

/// All tokens of a model with their ids, those added to it left out.
pub(crate) fn tokens(model: &ModelWrapper) -> Vec<(String, u32)> {
    let size = model.get_vocab_size();
    let mut tokens = Vec::with_capacity(size);
    // Ids have few gaps or none; where they have many, or two tokens share one, the whole table is asked for.
    for id in 0..size.saturating_mul(2).min(u32::MAX as usize) as u32 {
        if tokens.len() == size {
            break;
        }
        if let Some(token) = model.id_to_token(id) {
            tokens.push((token, id));
        }
    }
    if tokens.len() == size { tokens } else { model.get_vocab().into_iter().collect() }
}

/// One more than the largest id of a tokenizer.
pub(crate) fn id_limit(tokenizer: &tokenizers::Tokenizer) -> usize {
    let model = tokens(tokenizer.get_model()).into_iter().map(|(_, id)| id).max();
    let added = tokenizer.get_added_vocabulary().get_vocab().values().copied().max();
    model.max(added).map_or(0, |id| id as usize + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks against the crate's table.
    fn check(ids: &[u32]) {
        let vocab: serde_json::Map<String, serde_json::Value> =
            ids.iter().enumerate().map(|(index, &id)| (format!("t{index}"), id.into())).collect();
        let model: ModelWrapper = serde_json::from_value(serde_json::json!({
            "type": "WordPiece", "vocab": vocab, "unk_token": "t0", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
        }))
        .unwrap();
        let mut found = tokens(&model);
        found.sort();
        let mut expected: Vec<(String, u32)> = model.get_vocab().into_iter().collect();
        expected.sort();
        assert_eq!(found, expected);
        let limit = id_limit(&tokenizers::Tokenizer::new(model));
        assert_eq!(limit, ids.iter().max().map_or(0, |&id| id as usize + 1));
    }

    #[test]
    fn gaps_and_shared_ids_are_seen() {
        for ids in [&[0, 1, 2][..], &[], &[0, 5], &[2, 7, 4], &[0, 4_000_000_000], &[1, 1, 3]] {
            check(ids);
        }
    }
}
