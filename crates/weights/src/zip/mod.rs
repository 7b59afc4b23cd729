//! The list of files in a ZIP archive, checked before any of them is read.
//!
//! Read are archives as PyTorch and NumPy write them: files stored or deflated, in the 64-bit form too. Not read are
//! encrypted ones and ones in several parts. No two files may share bytes, so what is read is never more than
//! the archive's own length (times what deflate can do, which the reader of a deflated file bounds).
//!
//! Format: <https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT>

mod write;

use crate::Error;
use crate::input::Input;

pub(crate) use self::write::{ALIGNMENT, Writer};

/// What the first bytes of an archive are.
pub(crate) const MAGIC: &[u8] = b"PK\x03\x04";

/// Bytes of a local header, a line of the directory, the end record, the 64-bit end record and its locator.
const LOCAL: u64 = 30;
const LINE: usize = 46;
const END: u64 = 22;
const END_64: u64 = 56;
const LOCATOR: u64 = 20;
/// Longest directory read, in bytes.
const MAX_DIRECTORY: u64 = 256 << 20;

/// How a file in the archive is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Stored,
    Deflated,
}

/// A file in the archive.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub name: String,
    pub method: Method,
    /// Where its bytes start in the archive.
    pub start: u64,
    /// How many bytes it takes there.
    pub packed: u64,
    /// How many bytes it has.
    pub len: u64,
    /// CRC-32 of these.
    pub crc: u32,
}

/// The name of the first file of an archive, from the first bytes of it.
pub(crate) fn first_name(head: &[u8]) -> Option<&str> {
    let name_len = usize::from(number16(head.get(26..28)?));
    let name = head.starts_with(MAGIC).then(|| head.get(30..30 + name_len))?;
    std::str::from_utf8(name?).ok()
}

/// The files of the archive, in the order of the directory.
pub(crate) fn entries(input: &Input) -> Result<Vec<Entry>, Error> {
    let (count, at, len) = directory(input)?;
    if len > MAX_DIRECTORY || count > len / LINE as u64 {
        return Err(input.bad(format!("its directory claims {count} files in {len} bytes")));
    }
    let raw = input.bytes(at, len, "the directory")?;
    let mut rest = raw.as_slice();
    let mut found = Vec::new();
    for n in 0..count {
        let line = Line::parse(&mut rest)
            .ok_or_else(|| input.bad(format!("line {n} of its directory is broken")))?;
        found.push((line.local, line.into_entry(input, at)?));
    }
    if !rest.is_empty() {
        return Err(input.bad(format!("{} bytes of its directory belong to no file", rest.len())));
    }
    let mut order: Vec<(u64, &Entry)> = found.iter().map(|(local, entry)| (*local, entry)).collect();
    order.sort_by_key(|(local, _)| *local);
    for pair in order.windows(2) {
        let ((_, first), (start, second)) = (pair[0], pair[1]);
        if first.start + first.packed > start {
            return Err(input.bad(format!("its files \"{}\" and \"{}\" overlap", first.name, second.name)));
        }
    }
    let mut names: Vec<&str> = found.iter().map(|(_, entry)| entry.name.as_str()).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(input.bad(format!("it holds \"{}\" twice", pair[0])));
    }
    Ok(found.into_iter().map(|(_, entry)| entry).collect())
}

/// How many files there are, where the directory starts and how long it is.
fn directory(input: &Input) -> Result<(u64, u64, u64), Error> {
    let tail_len = input.len.min(END + u64::from(u16::MAX));
    let tail_at = input.len - tail_len;
    let tail = input.bytes(tail_at, tail_len, "the end")?;
    // The last record whose remark ends with the file.
    let ends = |at: &usize| {
        let record = &tail[*at..];
        record.starts_with(b"PK\x05\x06") && record.len() as u64 == END + u64::from(number16(&record[20..22]))
    };
    let Some(at) = (0..(tail.len() + 1).saturating_sub(END as usize)).rev().find(ends) else {
        return Err(input.bad("it starts like a ZIP archive and does not end like one: cut short?"));
    };
    let record = &tail[at..];
    let end_at = tail_at + at as u64;
    let short = |from: usize| u64::from(number16(&record[from..from + 2]));
    let long = |from: usize| u64::from(number32(&record[from..from + 4]));
    if short(4) != short(6) || short(8) != short(10) {
        return Err(input.bad("it is one part of an archive in several"));
    }
    let (mut count, mut len, mut start) = (short(10), long(12), long(16));
    let mut stop = end_at;
    if end_at >= LOCATOR {
        let locator = input.bytes(end_at - LOCATOR, LOCATOR, "the end")?;
        if locator.starts_with(b"PK\x06\x07") {
            stop = number64(&locator[8..16]);
            let wide = input.bytes(stop, END_64, "its 64-bit end record")?;
            if !wide.starts_with(b"PK\x06\x06") || stop + END_64 > end_at - LOCATOR {
                return Err(input.bad("its 64-bit end record is broken"));
            }
            let number = |from: usize| number64(&wide[from..from + 8]);
            (count, len, start) = (number(32), number(40), number(48));
        }
    }
    if start.checked_add(len) != Some(stop) {
        return Err(input.bad(format!("its directory ({len} bytes from {start}) does not end at {stop}")));
    }
    Ok((count, start, len))
}

/// A line of the directory.
struct Line<'a> {
    name: &'a [u8],
    flags: u16,
    method: u16,
    crc: u32,
    packed: u64,
    len: u64,
    local: u64,
}

impl<'a> Line<'a> {
    /// Takes the first line off `rest`.
    fn parse(rest: &mut &'a [u8]) -> Option<Line<'a>> {
        let (fixed, behind) = rest.split_at_checked(LINE)?;
        let short = |from: usize| number16(&fixed[from..from + 2]);
        let long = |from: usize| u64::from(number32(&fixed[from..from + 4]));
        let (name, behind) = behind.split_at_checked(usize::from(short(28)))?;
        let (mut extra, behind) = behind.split_at_checked(usize::from(short(30)))?;
        let (_, behind) = behind.split_at_checked(usize::from(short(32)))?;
        if !fixed.starts_with(b"PK\x01\x02") {
            return None;
        }
        let (mut packed, mut len, mut local) = (long(20), long(24), long(42));
        while let Some((head, more)) = extra.split_at_checked(4) {
            let (mut field, more) = more.split_at_checked(usize::from(number16(&head[2..4])))?;
            if number16(&head[..2]) == 1 {
                // The 64-bit field holds those of the three that do not fit their place, in this order.
                for number in [&mut len, &mut packed, &mut local] {
                    if *number == u64::from(u32::MAX) {
                        let (wide, more) = field.split_at_checked(8)?;
                        (*number, field) = (number64(wide), more);
                    }
                }
            }
            extra = more;
        }
        *rest = behind;
        Some(Line {
            name,
            flags: short(8),
            method: short(10),
            crc: number32(&fixed[16..20]),
            packed,
            len,
            local,
        })
    }

    /// The file, its local header looked up, all of it before the directory at `directory`.
    fn into_entry(self, input: &Input, directory: u64) -> Result<Entry, Error> {
        let Ok(name) = std::str::from_utf8(self.name) else {
            return Err(input.bad(format!("the name {:?} in it is not UTF-8", self.name)));
        };
        let method = match self.method {
            0 if self.packed == self.len => Method::Stored,
            0 => return Err(input.bad(format!("\"{name}\" is stored and has two different lengths"))),
            8 => Method::Deflated,
            other => {
                return Err(
                    input.bad(format!("\"{name}\" is packed in a way not read here (method {other})"))
                );
            }
        };
        if self.flags & 1 != 0 {
            return Err(input.bad(format!("\"{name}\" is encrypted")));
        }
        let local = input.bytes(self.local, LOCAL, &format!("\"{name}\""))?;
        let name_len = u64::from(number16(&local[26..28]));
        let start = self.local + LOCAL + name_len + u64::from(number16(&local[28..30]));
        if !local.starts_with(MAGIC)
            || input.bytes(self.local + LOCAL, name_len, &format!("\"{name}\""))? != self.name
        {
            return Err(input.bad(format!("\"{name}\" is not where its directory says")));
        }
        match start.checked_add(self.packed) {
            Some(end) if end <= directory => {}
            _ => {
                return Err(input.bad(format!(
                    "\"{name}\" ({} bytes from {start}) reaches into the directory at {directory}",
                    self.packed
                )));
            }
        }
        let name = name.to_string();
        Ok(Entry { name, method, start, packed: self.packed, len: self.len, crc: self.crc })
    }
}

fn number16(bytes: &[u8]) -> u16 {
    number64(bytes) as u16
}

fn number32(bytes: &[u8]) -> u32 {
    number64(bytes) as u32
}

/// Little-endian bytes, up to eight.
fn number64(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

#[cfg(test)]
#[path = "zip_tests.rs"]
pub(crate) mod tests;
