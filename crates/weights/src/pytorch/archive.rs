//! PyTorch files since 1.6: a ZIP archive of the pickle and a file for each storage, all stored as they are.
//!
//! The archive's checksums are not looked at: PyTorch can be told to write none (`set_crc32_options`).

use std::collections::HashMap;

use super::Stored;
use super::pickle;
use super::value::Pickle;
use crate::Error;
use crate::input::Input;
use crate::zip::{self, Method};

/// The pickle, where the storages lie by name, and whether their numbers have the high byte first.
pub(super) fn open(input: &Input) -> Result<(Pickle, HashMap<String, Stored>, bool), Error> {
    let entries = zip::entries(input)?;
    // All files of the archive lie in one folder, which is called as the file was when it was written.
    let root = entries.iter().find_map(|entry| {
        entry.name.strip_suffix("data.pkl").filter(|root| root.is_empty() || root.ends_with('/'))
    });
    let Some(root) = root else {
        return Err(input.bad("there is no data.pkl in the archive"));
    };
    if let Some(entry) = entries.iter().find(|entry| entry.method != Method::Stored) {
        return Err(input.bad(format!(
            "\"{}\" is compressed, which PyTorch does not do: pack it again without (zip -0)",
            entry.name
        )));
    }
    let find = |name: &str| entries.iter().find(|entry| entry.name.strip_prefix(root) == Some(name));
    if find("constants.pkl").is_some() {
        return Err(input.bad("it is a TorchScript program: load it in PyTorch and save its state_dict()"));
    }
    let big_endian = match find("byteorder") {
        None => false,
        Some(entry) => match input.bytes(entry.start, entry.len.min(16), "byteorder")?.as_slice() {
            b"little" => false,
            b"big" => true,
            other => return Err(input.bad(format!("\"{}\" is no byte order", other.escape_ascii()))),
        },
    };
    let pickle = match find("data.pkl") {
        Some(entry) => pickle::read(input, entry.start, entry.start + entry.len)?,
        None => return Err(input.bad("there is no data.pkl in the archive")),
    };
    let mut stored = HashMap::new();
    for entry in &entries {
        if let Some(key) = entry.name.strip_prefix(root).and_then(|name| name.strip_prefix("data/")) {
            stored.insert(key.to_string(), Stored { start: entry.start, len: entry.len });
        }
    }
    Ok((pickle, stored, big_endian))
}
