//! PyTorch files before 1.6: five pickles one behind the other, then the storages.
//!
//! The pickles are a magic number, the version of the protocol, something about the machine, the value itself and the
//! names of the storages, in the order in which these follow. Each storage is its length in numbers (8 bytes) and the
//! numbers. All of it is little-endian, whatever machine wrote it.

use std::collections::HashMap;

use ::safetensors::Dtype;

use super::Stored;
use super::pickle;
use super::value::{Pickle, Value};
use crate::Error;
use crate::input::Input;

/// The first pickle.
const MAGIC: i128 = 0x1950_a86a_20f9_469c_fc6c;

/// The version of the protocol that there is.
const VERSION: i128 = 1001;

/// Whether a file of which these are the first bytes starts with the magic number.
pub(super) fn is(head: &[u8]) -> bool {
    let magic = &MAGIC.to_le_bytes()[..10];
    head.first() == Some(&0x80)
        && head[..head.len().min(32)].windows(magic.len()).any(|window| window == magic)
}

/// The value's pickle and where the storages lie, by name.
pub(super) fn open(input: &Input) -> Result<(Pickle, HashMap<String, Stored>), Error> {
    let magic = pickle::read(input, 0, input.len)?;
    if !matches!(magic.root(), Value::Int(MAGIC)) {
        return Err(input.bad("its magic number is not PyTorch's"));
    }
    let version = pickle::read(input, magic.end, input.len)?;
    match version.root() {
        Value::Int(VERSION) => {}
        other => return Err(input.bad(format!("version {other:?} is not the known one, {VERSION}"))),
    }
    let machine = pickle::read(input, version.end, input.len)?;
    let pickle = pickle::read(input, machine.end, input.len)?;
    let keys = pickle::read(input, pickle.end, input.len)?;
    let Value::Sequence(list) = keys.root() else {
        return Err(input.bad("it has no list of its storages"));
    };
    let described = described(input, &pickle)?;
    let mut at = keys.end;
    let mut stored = HashMap::new();
    for &id in list {
        let known = keys.key(id).and_then(|key| described.get_key_value(key.as_ref()));
        let Some((key, &(dtype, len))) = known else {
            return Err(input.bad("its list of storages names one that no tensor has"));
        };
        let head = input.bytes(at, 8, &format!("storage {key}"))?;
        let held = head.iter().rev().fold(0u64, |number, &byte| number << 8 | u64::from(byte));
        if held != len {
            return Err(input.bad(format!("storage {key} has {held} numbers and is said to have {len}")));
        }
        let Some(bytes) = len.checked_mul(dtype.bitsize() as u64 / 8) else {
            return Err(input.bad(format!("storage {key} of {len} numbers is beyond any file")));
        };
        input.check(at + 8, bytes, &format!("storage {key}"))?;
        stored.insert(key.clone(), Stored { start: at + 8, len: bytes });
        at += 8 + bytes;
    }
    match input.len - at {
        0 => Ok((pickle, stored)),
        more => Err(input.bad(format!("{more} bytes stand behind its last storage: something was appended"))),
    }
}

/// What the pickle says of each storage.
fn described(input: &Input, pickle: &Pickle) -> Result<HashMap<String, (Dtype, u64)>, Error> {
    let mut described = HashMap::new();
    for value in &pickle.values {
        let Value::Storage(storage) = value else { continue };
        let Some(key) = pickle.key(storage.key) else {
            return Err(input.bad("the name of a storage is no text"));
        };
        let about = (storage.dtype, storage.len);
        if *described.entry(key.to_string()).or_insert(about) != about {
            return Err(input.bad(format!("storage {key} is described in two ways")));
        }
    }
    Ok(described)
}
