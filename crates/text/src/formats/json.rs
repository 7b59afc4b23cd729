//! A `tokenizer.json`, checked for what the `tokenizers` crate does not look at when it reads one.

use std::path::Path;

use serde_json::Value;

use super::charsmap;
use crate::{Error, Result};

/// The key of what stands before a token that continues a word, in BPE models.
const PREFIX: &[u8] = b"\"continuing_subword_prefix\"";

/// The bytes of a file, whose tables of replacements and whose merges are checked.
pub(super) fn checked(path: &Path, bytes: Vec<u8>) -> Result<Vec<u8>> {
    let has = |key: &[u8]| bytes.windows(key.len()).any(|window| window == key);
    // Only a few files have a table or such merges: the others are parsed once, by the crate.
    let (table, merges) = (has(b"precompiled_charsmap"), has_prefix(&bytes) && has(b"\"merges\""));
    if (table || merges)
        && let Ok(file) = serde_json::from_slice::<Value>(&bytes)
    {
        let parse = |reason| Error::Parse { path: path.into(), reason };
        charsmap::check_normalizer(&file["normalizer"]).map_err(parse)?;
        check_merges(&file["model"]).map_err(parse)?;
    }
    Ok(bytes)
}

/// Whether the file says somewhere what stands before a token that continues a word.
fn has_prefix(bytes: &[u8]) -> bool {
    bytes.windows(PREFIX.len()).enumerate().filter(|(_, window)| *window == PREFIX).any(|(at, _)| {
        let behind = bytes[at + PREFIX.len()..].iter().filter(|byte| !byte.is_ascii_whitespace());
        !behind.skip(1).take(4).eq(b"null")
    })
}

/// The crate takes as many bytes off the second token of each merge as the prefix has, whatever they are.
fn check_merges(model: &Value) -> std::result::Result<(), String> {
    let (Some(prefix), Some(merges)) =
        (model["continuing_subword_prefix"].as_str(), model["merges"].as_array())
    else {
        return Ok(());
    };
    for (number, merge) in merges.iter().enumerate() {
        let second = merge
            .as_str()
            .map_or_else(|| merge[1].as_str(), |merge| merge.split_once(' ').map(|(_, second)| second));
        if let Some(second) = second.filter(|second| second.get(prefix.len()..).is_none()) {
            return Err(format!(
                "model.merges[{number}]: {second:?} continues a word and has no room for {prefix:?}"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(prefix: Value, merges: Value) -> std::result::Result<(), String> {
        let file = serde_json::json!({
            "model": {"type": "BPE", "continuing_subword_prefix": prefix, "vocab": {"a": 0}, "merges": merges}
        });
        match checked(Path::new("t.json"), serde_json::to_vec_pretty(&file).unwrap()) {
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_merge_whose_second_token_cannot_lose_the_prefix_is_refused() {
        for (prefix, merges, fine) in [
            (Value::Null, serde_json::json!([["a", "b"]]), true),
            ("##".into(), serde_json::json!([["a", "##b"], "a ##c"]), true),
            ("##".into(), serde_json::json!([["a", "##b"], ["a", "b"]]), false),
            ("##".into(), serde_json::json!(["a b"]), false),
            ("#".into(), serde_json::json!([["a", "é"]]), false),
            ("".into(), serde_json::json!([["a", "b"]]), true),
        ] {
            match check(prefix.clone(), merges.clone()) {
                Ok(()) => assert!(fine, "{prefix} {merges}"),
                Err(error) => {
                    assert!(!fine && error.contains("t.json") && error.contains("merges["), "{error}");
                }
            }
        }
    }
}
