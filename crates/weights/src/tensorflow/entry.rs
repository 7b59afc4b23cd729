//! What a checkpoint says of a tensor.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use ::safetensors::Dtype;

use super::proto::{Value, fields};
use super::slices::{self, Extents, Slice};
use super::table::Table;
use crate::bounded::{Disk, Fault, bad};
use crate::convert;

/// Most axes of a tensor, as in TensorFlow.
const MAX_AXES: usize = 254;

/// Most data files of a checkpoint: their names have room for five digits.
const MAX_SHARDS: u64 = 99_999;

/// A tensor's entry.
#[derive(Debug)]
pub(super) struct Entry {
    /// TensorFlow's number for the number format.
    pub(super) dtype: u64,
    pub(super) shape: Vec<usize>,
    pub(super) place: Place,
}

/// Where a tensor's numbers lie.
#[derive(Debug)]
pub(super) enum Place {
    /// In a data file.
    Data(Stored),
    /// In several places of data files: a variable in parts.
    Parts(Vec<(Extents, Stored)>),
    /// In the table itself, in one part or several: an old checkpoint.
    Slices(Vec<Slice>),
}

/// Bytes in a data file.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stored {
    /// The number of the file.
    pub(super) file: u32,
    pub(super) offset: u64,
    pub(super) len: u64,
    /// The checksum, as it is stored.
    pub(super) sum: u32,
}

impl Place {
    /// What to sort by, to read a file in one pass.
    pub(super) fn order(&self) -> (u32, u64) {
        match self {
            Place::Data(stored) => (stored.file, stored.offset),
            Place::Parts(parts) => parts.first().map_or((0, 0), |(_, stored)| (stored.file, stored.offset)),
            Place::Slices(slices) => (0, slices.first().map_or(0, |slice| slice.block as u64)),
        }
    }

    /// The numbers of the data files that hold it.
    pub(super) fn files(&self) -> Vec<u32> {
        match self {
            Place::Data(stored) => vec![stored.file],
            Place::Parts(parts) => parts.iter().map(|(_, stored)| stored.file).collect(),
            Place::Slices(_) => Vec::new(),
        }
    }
}

impl Entry {
    /// The number format, where it can be a weight.
    pub(super) fn weight(&self) -> Option<Dtype> {
        match self.dtype {
            1 => Some(Dtype::F32),
            2 => Some(Dtype::F64),
            14 => Some(Dtype::BF16),
            19 => Some(Dtype::F16),
            _ => None,
        }
    }

    /// The name of the number format.
    pub(super) fn dtype_name(&self) -> String {
        let name = match self.dtype {
            3 => "I32",
            4 => "U8",
            5 => "I16",
            6 => "I8",
            7 => "STRING",
            8 => "C64",
            9 => "I64",
            10 => "BOOL",
            17 => "U16",
            18 => "C128",
            20 => "RESOURCE",
            21 => "VARIANT",
            22 => "U32",
            23 => "U64",
            other => return self.weight().map_or(format!("DT_{other}"), |dtype| dtype.to_string()),
        };
        name.to_string()
    }

    /// How many numbers there are.
    pub(super) fn count(&self) -> Result<usize, Fault> {
        let bytes = self.shape.iter().try_fold(8usize, |all, len| all.checked_mul(*len));
        match bytes.filter(|bytes| *bytes <= isize::MAX as usize) {
            Some(bytes) => Ok(bytes / 8),
            None => bad(format!("shape {:?} is beyond any file", self.shape)),
        }
    }

    /// Compares the entry with itself and with the files.
    pub(super) fn check(&self, files: &HashMap<u32, (PathBuf, Disk)>) -> Result<(), Fault> {
        let Some(width) = self.weight().and_then(convert::width) else { return Ok(()) };
        self.count()?;
        match &self.place {
            Place::Data(stored) => stored.check(&self.shape, width, files),
            Place::Parts(parts) => {
                let all = parts.iter().fold(0u64, |all, (_, stored)| all.saturating_add(stored.len));
                // Parts that lie over each other would be memory without end for a small file.
                if all > files.values().fold(0, |all, (_, disk)| all + disk.len()) {
                    return bad(format!("its parts take {all} bytes, more than all data files have"));
                }
                parts.iter().try_for_each(|(extents, stored)| {
                    stored.check(&slices::within(extents, &self.shape)?.0, width, files)
                })
            }
            Place::Slices(_) => Ok(()),
        }
    }
}

impl Stored {
    /// Compares with a shape whose number of elements is known to be in bounds, and with the data file.
    fn check(
        &self,
        shape: &[usize],
        width: usize,
        files: &HashMap<u32, (PathBuf, Disk)>,
    ) -> Result<(), Fault> {
        let expected = (shape.iter().product::<usize>() * width) as u64;
        if self.len != expected {
            return bad(format!("shape {shape:?} takes {expected} bytes, its entry gives {}", self.len));
        }
        let Some((path, disk)) = files.get(&self.file) else {
            return bad(format!("it is said to lie in data file {}, which is missing", self.file));
        };
        let place = path.display().to_string();
        disk.check(self.offset, self.len, "its numbers").map_err(|fault| fault.at(&place))
    }
}

/// All entries of a table by name, and the number of data files; `None` for an old checkpoint that has all in itself.
pub(super) fn read(disk: &Disk, table: &Table) -> Result<(BTreeMap<String, Entry>, Option<u32>), Fault> {
    // The first entry has no name and says what the others are.
    let mut head = None;
    let mut first = true;
    if table.len() > 0 {
        table.block(disk, 0, &mut |key, value| {
            if std::mem::take(&mut first) && key.is_empty() {
                head = Some(value.to_vec());
            }
            Ok(())
        })?;
    }
    let Some(head) = head else { return bad("the entry that describes the others is missing") };
    // A new checkpoint's says in field 1 how many data files there are, an old one's there has a message.
    let mut shards = None;
    let mut old = false;
    for field in fields(&head) {
        match field? {
            (1, Value::Number(count)) => shards = Some(count),
            (1, Value::Bytes(_)) => old = true,
            (2, Value::Number(1)) => return bad("its numbers are big-endian, which is not read here"),
            _ => {}
        }
    }
    if old {
        return Ok((slices::entries(disk, table, &head)?, None));
    }
    let shards = match shards.unwrap_or(0) {
        count @ 1..=MAX_SHARDS => count as u32,
        count => return bad(format!("it says that it has {count} data files")),
    };
    let mut entries = BTreeMap::new();
    let mut parts = HashMap::new();
    for number in 0..table.len() {
        table.block(disk, number, &mut |key, value| {
            if key.is_empty() {
                return Ok(());
            }
            let place = String::from_utf8_lossy(key);
            let found = entry(value, shards).map_err(|fault| fault.at(&place))?;
            // Keys of parts start with a zero.
            if key[0] == 0 {
                parts.insert(key.to_vec(), found.stored);
                return Ok(());
            }
            let Ok(name) = std::str::from_utf8(key) else { return bad("a name is not UTF-8") };
            match entries.insert(name.to_string(), found) {
                None => Ok(()),
                Some(_) => bad(format!("it has the tensor \"{name}\" twice")),
            }
        })?;
    }
    let mut whole = BTreeMap::new();
    for (name, Found { dtype, shape, stored, parts: extents }) in entries {
        let place = if extents.is_empty() {
            Place::Data(stored)
        } else {
            let part = |extents: Extents| match parts.get(&slices::key(&name, &extents)) {
                Some(stored) => Ok((extents, *stored)),
                None => bad(format!("the part {extents:?} of \"{name}\" is missing")),
            };
            Place::Parts(extents.into_iter().map(part).collect::<Result<_, Fault>>()?)
        };
        whole.insert(name, Entry { dtype, shape, place });
    }
    Ok((whole, Some(shards)))
}

/// What an entry's message says.
struct Found {
    dtype: u64,
    shape: Vec<usize>,
    stored: Stored,
    /// The parts that have entries of their own.
    parts: Vec<Extents>,
}

fn entry(message: &[u8], shards: u32) -> Result<Found, Fault> {
    let (mut dtype, mut shape, mut parts, mut file) = (0, Vec::new(), Vec::new(), 0);
    let mut stored = Stored::default();
    for field in fields(message) {
        match field? {
            (1, value) => dtype = value.number(),
            (2, value) => shape = shape_of(value.bytes())?,
            (3, value) => file = value.number(),
            (4, value) => stored.offset = value.number(),
            (5, value) => stored.len = value.number(),
            (6, value) => stored.sum = value.number() as u32,
            (7, value) => parts.push(slices::extents_of(value.bytes())?),
            _ => {}
        }
    }
    if dtype == 0 || file >= u64::from(shards) {
        return bad(format!("number format {dtype} in data file {file} of {shards}"));
    }
    stored.file = file as u32;
    Ok(Found { dtype, shape, stored, parts })
}

/// A shape message.
pub(super) fn shape_of(message: &[u8]) -> Result<Vec<usize>, Fault> {
    let mut shape = Vec::new();
    for field in fields(message) {
        let (number, value) = field?;
        if number != 2 {
            continue;
        }
        let mut axis = 0;
        for field in fields(value.bytes()) {
            if let (1, value) = field? {
                axis = value.number();
            }
        }
        // A negative length is one not known.
        match usize::try_from(axis).ok().filter(|axis| *axis <= isize::MAX as usize) {
            Some(axis) if shape.len() < MAX_AXES => shape.push(axis),
            _ => return bad(format!("an axis of length {}", axis as i64)),
        }
    }
    Ok(shape)
}
