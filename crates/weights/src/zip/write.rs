//! A ZIP archive out: files stored as they are, each starting at a multiple of 64 bytes, without times.

use std::io::{Result, Write};

/// What the start of each file is a multiple of, in bytes.
pub(crate) const ALIGNMENT: u64 = 64;

/// The first of January 1980, the earliest day there is in an archive.
const DAY: u16 = 0x21;

/// Does not fit 32 bits: the number stands in a 64-bit field.
const WIDE: u32 = u32::MAX;

/// An archive being written.
pub(crate) struct Writer<'w> {
    out: &'w mut dyn Write,
    /// How much has been written.
    at: u64,
    lines: Vec<Line>,
}

/// What the directory will say of a file.
struct Line {
    name: String,
    crc: u32,
    len: u64,
    local: u64,
}

impl<'w> Writer<'w> {
    /// An archive that starts `at` bytes into its file.
    pub fn new(out: &'w mut dyn Write, at: u64) -> Writer<'w> {
        Writer { out, at, lines: Vec::new() }
    }

    /// Adds a file. The names are ours: short and in ASCII.
    pub fn add(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        let line = Line { name: name.to_string(), crc: crc.sum(), len: bytes.len() as u64, local: self.at };
        let mut extra = Vec::new();
        if line.len >= u64::from(WIDE) {
            extra.extend(1u16.to_le_bytes());
            extra.extend(16u16.to_le_bytes());
            extra.extend(line.len.to_le_bytes());
            extra.extend(line.len.to_le_bytes());
        }
        // A field of nothing, as PyTorch does it, that takes the file's start to the next multiple.
        let unpadded = self.at + 30 + name.len() as u64 + extra.len() as u64 + 4;
        let padding = unpadded.next_multiple_of(ALIGNMENT) - unpadded;
        extra.extend(b"FB");
        extra.extend((padding as u16).to_le_bytes());
        extra.resize(extra.len() + padding as usize, b'Z');

        let mut head = b"PK\x03\x04".to_vec();
        line.put_common(&mut head);
        head.extend((extra.len() as u16).to_le_bytes());
        head.extend(name.as_bytes());
        head.extend(extra);
        self.put(&head)?;
        self.put(bytes)?;
        self.lines.push(line);
        Ok(())
    }

    /// Writes the directory, with which the archive ends.
    pub fn finish(mut self) -> Result<()> {
        let start = self.at;
        for line in std::mem::take(&mut self.lines) {
            self.put(&line.directory())?;
            self.lines.push(line);
        }
        let (len, count) = (self.at - start, self.lines.len() as u64);
        let wide = start >= u64::from(WIDE) || len >= u64::from(WIDE) || count >= u64::from(u16::MAX);
        let mut end = Vec::new();
        if wide {
            end.extend(b"PK\x06\x06");
            end.extend(44u64.to_le_bytes());
            end.extend([45u16, 45].map(u16::to_le_bytes).as_flattened());
            end.extend([0u32, 0].map(u32::to_le_bytes).as_flattened());
            end.extend([count, count, len, start].map(u64::to_le_bytes).as_flattened());
            end.extend(b"PK\x06\x07");
            end.extend(0u32.to_le_bytes());
            end.extend(self.at.to_le_bytes());
            end.extend(1u32.to_le_bytes());
        }
        let short = if wide { u16::MAX } else { count as u16 };
        end.extend(b"PK\x05\x06");
        end.extend([0, 0, short, short].map(u16::to_le_bytes).as_flattened());
        let (len, start) = if wide { (WIDE, WIDE) } else { (len as u32, start as u32) };
        end.extend([len, start].map(u32::to_le_bytes).as_flattened());
        end.extend(0u16.to_le_bytes());
        self.put(&end)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.at += bytes.len() as u64;
        self.out.write_all(bytes)
    }
}

impl Line {
    /// What the local header and the line of the directory have in common: the version needed to the name's length.
    fn put_common(&self, into: &mut Vec<u8>) {
        let len = u32::try_from(self.len).unwrap_or(WIDE);
        let version: u16 = if len == WIDE || self.local >= u64::from(WIDE) { 45 } else { 20 };
        into.extend([version, 0, 0, 0, DAY].map(u16::to_le_bytes).as_flattened());
        into.extend([self.crc, len, len].map(u32::to_le_bytes).as_flattened());
        into.extend((self.name.len() as u16).to_le_bytes());
    }

    fn directory(&self) -> Vec<u8> {
        let mut wide = Vec::new();
        if self.len >= u64::from(WIDE) {
            wide.extend([self.len, self.len].map(u64::to_le_bytes).as_flattened());
        }
        if self.local >= u64::from(WIDE) {
            wide.extend(self.local.to_le_bytes());
        }
        let mut extra = Vec::new();
        if !wide.is_empty() {
            extra.extend([1, wide.len() as u16].map(u16::to_le_bytes).as_flattened());
            extra.extend(wide);
        }
        let mut line = b"PK\x01\x02".to_vec();
        line.extend(45u16.to_le_bytes());
        self.put_common(&mut line);
        line.extend([extra.len() as u16, 0, 0, 0].map(u16::to_le_bytes).as_flattened());
        line.extend(0u32.to_le_bytes());
        line.extend(u32::try_from(self.local).unwrap_or(WIDE).to_le_bytes());
        line.extend(self.name.as_bytes());
        line.extend(extra);
        line
    }
}
