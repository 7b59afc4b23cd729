//! Tensors in slices: variables in parts, and all tensors of checkpoints of before TensorFlow 1.0, which are one table that
//! holds the numbers too.
//!
//! Format: <https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/util/saved_tensor_slice.proto>.

use std::collections::BTreeMap;

use super::entry::{Entry, Place, shape_of};
use super::proto::{Value, fields};
use super::table::Table;
use crate::block;
use crate::bounded::{Cursor, Disk, Fault, bad};

/// The first element and the length of a slice along each axis; no length is all of it.
pub(super) type Extents = Vec<(usize, Option<usize>)>;

/// Numbers, their shape, and where they belong in a tensor.
pub(super) type Part = (Vec<f32>, Vec<usize>, Vec<usize>);

/// Where a slice of a tensor lies in an old checkpoint.
#[derive(Debug)]
pub(super) struct Slice {
    /// The block of the table, and the entry in it.
    pub(super) block: usize,
    number: usize,
    extents: Extents,
}

/// All tensors, from the description in the first entry and the names of all others.
pub(super) fn entries(disk: &Disk, table: &Table, head: &[u8]) -> Result<BTreeMap<String, Entry>, Fault> {
    let mut entries = BTreeMap::new();
    for field in fields(head) {
        let (1, meta) = field? else { continue };
        for field in fields(meta.bytes()) {
            let (1, tensor) = field? else { continue };
            let (mut name, mut shape, mut dtype) = (String::new(), Vec::new(), 0);
            for field in fields(tensor.bytes()) {
                match field? {
                    (1, value) => name = text(value.bytes())?,
                    (2, value) => shape = shape_of(value.bytes())?,
                    (3, value) => dtype = value.number(),
                    _ => {}
                }
            }
            let entry = Entry { dtype, shape, place: Place::Slices(Vec::new()) };
            if entries.insert(name.clone(), entry).is_some() {
                return bad(format!("it has the tensor \"{name}\" twice"));
            }
        }
    }
    for block in 0..table.len() {
        let mut number = 0;
        table.block(disk, block, &mut |key, value| {
            if !key.is_empty()
                && let Some((name, extents, _)) = saved(value)?
            {
                let entry = entries.get_mut(&name).map(|entry| &mut entry.place);
                let Some(Place::Slices(slices)) = entry else {
                    return bad(format!("it holds numbers of \"{name}\", which it does not describe"));
                };
                slices.push(Slice { block, number, extents });
            }
            number += 1;
            Ok(())
        })?;
    }
    Ok(entries)
}

/// The numbers of a tensor.
pub(super) fn read(disk: &Disk, table: &Table, slices: &[Slice], entry: &Entry) -> Result<Vec<f32>, Fault> {
    let mut parts = Vec::new();
    let mut rest = slices;
    while let Some(first) = rest.first() {
        // All slices of a block in one pass over it.
        let mut number = 0;
        table.block(disk, first.block, &mut |_, value| {
            if let Some((slice, others)) = rest.split_first()
                && (slice.block, slice.number) == (first.block, number)
            {
                rest = others;
                let (shape, at) = within(&slice.extents, &entry.shape)?;
                let Some((_, _, tensor)) = saved(value)? else { return bad("a slice is missing") };
                let numbers = numbers(tensor, entry.dtype)?;
                if numbers.len() != shape.iter().product::<usize>() {
                    return bad(format!("a slice of shape {shape:?} holds {} numbers", numbers.len()));
                }
                parts.push((numbers, shape, at));
            }
            number += 1;
            Ok(())
        })?;
        if rest.first().is_some_and(|next| std::ptr::eq(next, first)) {
            return bad("a slice is missing");
        }
    }
    assemble(parts, entry)
}

/// One tensor of its parts.
pub(super) fn assemble(mut parts: Vec<Part>, entry: &Entry) -> Result<Vec<f32>, Fault> {
    let count = entry.count()?;
    let held = parts.iter().try_fold(0usize, |all, (part, ..)| all.checked_add(part.len()));
    if held != Some(count) {
        return bad(format!("shape {:?} takes {count} numbers, its slices hold {held:?}", entry.shape));
    }
    if let [(_, shape, _)] = parts.as_slice()
        && *shape == entry.shape
    {
        return Ok(parts.swap_remove(0).0);
    }
    let mut whole = vec![0.0; count];
    for (part, shape, at) in parts {
        block::place(&part, &shape, &at, &mut whole, &entry.shape);
    }
    Ok(whole)
}

/// A slice's shape, and where it starts in a tensor of `shape`.
pub(super) fn within(extents: &Extents, shape: &[usize]) -> Result<(Vec<usize>, Vec<usize>), Fault> {
    let fits = |(axis, (start, len)): (&usize, &(usize, Option<usize>))| match len {
        None => Some((*axis, 0)),
        Some(len) => start.checked_add(*len).filter(|end| end <= axis).map(|_| (*len, *start)),
    };
    let pairs: Option<Vec<(usize, usize)>> = shape.iter().zip(extents).map(fits).collect();
    match pairs {
        Some(pairs) if extents.len() == shape.len() => Ok(pairs.into_iter().unzip()),
        _ => bad(format!("a slice {extents:?} of a tensor of shape {shape:?}")),
    }
}

/// The key of a slice's own entry: name and extents written so that keys sort as what they mean.
///
/// Format: <https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/lib/strings/ordered_code.h>.
pub(super) fn key(name: &str, extents: &Extents) -> Vec<u8> {
    let mut key = vec![0];
    for byte in name.bytes() {
        key.push(byte);
        match byte {
            0 => key.push(0xff),
            0xff => key.push(0),
            _ => {}
        }
    }
    key.extend([0, 1]);
    // A number of axes takes one byte, with its length before it.
    match extents.len() as u8 {
        0 => key.push(0),
        axes => key.extend([1, axes]),
    }
    for (start, len) in extents {
        signed(*start as u64, &mut key);
        match len {
            Some(len) => signed(*len as u64, &mut key),
            // -1 for all of it.
            None => key.push(0x7f),
        }
    }
    key
}

/// A number below 2^55, its high bits saying how many bytes it takes: seven bits a byte, one bit less for the sign.
fn signed(number: u64, into: &mut Vec<u8>) {
    let bits = 64 - number.leading_zeros() as usize;
    let len = (bits / 7 + 1).min(8);
    let mut bytes = number.to_be_bytes()[8 - len..].to_vec();
    bytes[0] ^= (0xff00u32 >> len) as u8;
    into.extend(bytes);
}

/// A name, the extents and the tensor message of an entry that holds numbers.
type Saved<'a> = (String, Extents, &'a [u8]);

fn saved(message: &[u8]) -> Result<Option<Saved<'_>>, Fault> {
    let mut found = None;
    for field in fields(message) {
        let (2, data) = field? else { continue };
        let (mut name, mut extents, mut tensor) = (String::new(), Vec::new(), &[][..]);
        for field in fields(data.bytes()) {
            match field? {
                (1, value) => name = text(value.bytes())?,
                (2, value) => extents = extents_of(value.bytes())?,
                (3, value) => tensor = value.bytes(),
                _ => {}
            }
        }
        found = Some((name, extents, tensor));
    }
    Ok(found)
}

/// A slice message.
pub(super) fn extents_of(message: &[u8]) -> Result<Extents, Fault> {
    let mut extents = Vec::new();
    for field in fields(message) {
        let (1, extent) = field? else { continue };
        let (mut start, mut len) = (0, None);
        for field in fields(extent.bytes()) {
            match field? {
                (1, value) => start = value.number(),
                (2, value) => len = Some(value.number()),
                _ => {}
            }
        }
        let size =
            |number: u64| usize::try_from(number).map_err(|_| Fault::Bad("a slice beyond any file".into()));
        extents.push((size(start)?, len.map(size).transpose()?));
    }
    Ok(extents)
}

/// The numbers of a tensor message: each format has a field of its own.
fn numbers(message: &[u8], dtype: u64) -> Result<Vec<f32>, Fault> {
    let mut numbers = Vec::new();
    let half = |bits: u64| match dtype {
        14 => half::bf16::from_bits(bits as u16).to_f32(),
        _ => half::f16::from_bits(bits as u16).to_f32(),
    };
    for field in fields(message) {
        match field? {
            (5, Value::Bytes(packed)) => {
                numbers.extend(packed.as_chunks().0.iter().map(|raw| f32::from_le_bytes(*raw)));
            }
            (5, Value::Number(bits)) => numbers.push(f32::from_bits(bits as u32)),
            (6, Value::Bytes(packed)) => {
                numbers.extend(packed.as_chunks().0.iter().map(|raw| f64::from_le_bytes(*raw) as f32));
            }
            (6, Value::Number(bits)) => numbers.push(f64::from_bits(bits) as f32),
            (13, Value::Bytes(packed)) => {
                let mut cursor = Cursor::new(packed, "packed numbers");
                while !cursor.rest().is_empty() {
                    numbers.push(half(cursor.varint()?));
                }
            }
            (13, Value::Number(bits)) => numbers.push(half(bits)),
            _ => {}
        }
    }
    Ok(numbers)
}

fn text(bytes: &[u8]) -> Result<String, Fault> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_string()),
        Err(_) => bad("a name is not UTF-8"),
    }
}
