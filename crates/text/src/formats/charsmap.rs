//! The compiled table of replacements in a SentencePiece normalizer, checked before it is used.
//!
//! The table is a double array over the bytes of what is replaced, then the replacements, each ended by a zero byte.
//! The crate that walks it does not look where a step leads, so every step that it could take is tried here once.

use serde_json::Value;
use tokenizers::normalizers::Precompiled;

/// The normalizer of a table; `None` for an empty one.
pub(super) fn normalizer(table: &[u8]) -> std::result::Result<Option<Value>, String> {
    if table.is_empty() {
        return Ok(None);
    }
    check(table)?;
    let table = Precompiled::from(table).map_err(|error| error.to_string())?;
    serde_json::to_value(table).map(Some).map_err(|error| error.to_string())
}

/// Checks the tables in a normalizer of a `tokenizer.json`.
pub(super) fn check_normalizer(normalizer: &Value) -> std::result::Result<(), String> {
    let mut open = vec![normalizer];
    while let Some(value) = open.pop() {
        if let Some(steps) = value["normalizers"].as_array() {
            open.extend(steps);
        }
        let Some(text) = value["precompiled_charsmap"].as_str() else { continue };
        check(&base64(text).ok_or("table of replacements: expected base64")?)?;
    }
    Ok(())
}

/// The bytes that base64 stands for.
fn base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').as_bytes();
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for group in text.chunks(4) {
        let mut bits = 0u32;
        for &letter in group {
            let value = match letter {
                b'A'..=b'Z' => letter - b'A',
                b'a'..=b'z' => letter - b'a' + 26,
                b'0'..=b'9' => letter - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        bits <<= 6 * (4 - group.len());
        bytes.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    Some(bytes)
}

/// Checks a table; an empty one replaces nothing.
pub(super) fn check(table: &[u8]) -> std::result::Result<(), String> {
    if table.is_empty() {
        return Ok(());
    }
    let Some((size, rest)) = table.split_first_chunk::<4>() else {
        return Err(format!("table of replacements: expected its size in 4 bytes, got {}", table.len()));
    };
    let size = u32::from_le_bytes(*size) as usize;
    if size > rest.len() || !size.is_multiple_of(4) || size == 0 {
        return Err(format!(
            "table of replacements: expected a size of 4 to {} bytes in steps of 4, got {size}",
            rest.len()
        ));
    }
    let (units, texts) = rest.split_at(size);
    let units: Vec<u32> =
        units.chunks_exact(4).map(|unit| u32::from_le_bytes([unit[0], unit[1], unit[2], unit[3]])).collect();
    let texts = std::str::from_utf8(texts)
        .map_err(|error| format!("table of replacements: expected UTF-8 texts, got {error}"))?;
    let mut seen = vec![false; units.len()];
    let mut open = vec![offset(units[0])];
    while let Some(node) = open.pop() {
        match seen.get_mut(node) {
            Some(seen) if *seen => continue,
            Some(seen) => *seen = true,
            None => return Err(outside(node, units.len())),
        }
        for byte in 1..=255 {
            let child = node ^ byte;
            let Some(&unit) = units.get(child) else { return Err(outside(child, units.len())) };
            if unit & (1 << 31 | 0xff) != byte as u32 {
                continue;
            }
            let next = child ^ offset(unit);
            if unit >> 8 & 1 == 1 {
                let Some(&leaf) = units.get(next) else { return Err(outside(next, units.len())) };
                let text = (leaf & 0x7fff_ffff) as usize;
                if !texts.is_char_boundary(text) {
                    return Err(format!(
                        "table of replacements: expected the start of a text within {} bytes, got {text}",
                        texts.len()
                    ));
                }
            }
            open.push(next);
        }
    }
    Ok(())
}

/// How far the children of a node are.
fn offset(unit: u32) -> usize {
    let unit = unit as usize;
    (unit >> 10) << ((unit & (1 << 9)) >> 6)
}

fn outside(node: usize, units: usize) -> String {
    format!("table of replacements: expected steps within {units} nodes, got one to node {node}")
}
