//! Tokens on disk, found again by the content of the text: a text that changes is tokenized anew, and no other.
//!
//! ```text
//! KEY/index   for each text, 32 bytes: digest, where its record begins, how long it is, and a check of its bytes
//! KEY/data    records, each the tokens of one text
//! KEY/lock    held while both grow
//! ```
//!
//! `KEY` stands for the tokenizer and the limit of length. Files only grow, so that a reader never sees a record change; what a
//! killed process has written in part is not in the index, or fails its check. All numbers are little-endian: a cache may be
//! carried to another machine.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use sha2::{Digest as _, Sha256};
use topwork_text::{Encoding, Input, Origin};

/// What stands for a text: the first half of its SHA-256.
pub(crate) type Digest = [u8; 16];

/// Form of the records.
const VERSION: u8 = 2;
/// Bytes of an entry of the index.
const ENTRY: usize = 32;
/// Bytes of tokens kept for a tokenizer and a limit of length.
const LIMIT: u64 = 4 << 30;
/// Records that a thread reads at a time.
const GROUP: usize = 1024;
/// Records that lie so close together, in bytes, are read at once, so many at most.
const NEAR: u64 = 64 << 10;
const MOST: u64 = 16 << 20;

/// The tokens of texts, kept in a folder for every process that uses it.
#[derive(Clone, Debug)]
pub struct TokenCache {
    folder: PathBuf,
    identity: Vec<u8>,
    limit: u64,
}

/// Where a record is.
#[derive(Clone, Copy)]
struct Place {
    offset: u64,
    length: u32,
    check: u32,
}

impl TokenCache {
    /// A cache in a folder, which need not be there yet. `identity` is everything that a tokenizer's answers depend on, such as
    /// the content of its files.
    pub fn new(folder: impl Into<PathBuf>, identity: &[u8]) -> Self {
        Self { folder: folder.into(), identity: Sha256::digest(identity).to_vec(), limit: LIMIT }
    }

    /// The same with another limit of the bytes kept for a tokenizer and a limit of length. What is beyond starts it anew.
    pub fn with_limit(self, limit: u64) -> Self {
        Self { limit, ..self }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the tokens of texts cut at `max_tokens` are.
    fn shelf(&self, max_tokens: Option<usize>) -> PathBuf {
        let mut hash = Sha256::new();
        hash.update([VERSION]);
        hash.update(&self.identity);
        hash.update(max_tokens.map_or(u64::MAX, |most| most as u64).to_le_bytes());
        let key: String = hash.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        self.folder.join(key)
    }

    /// The tokens of the texts that are known.
    pub(crate) fn read(
        &self,
        max_tokens: Option<usize>,
        digests: &[Digest],
    ) -> io::Result<Vec<Option<Encoding>>> {
        let mut found = vec![None; digests.len()];
        let shelf = self.shelf(max_tokens);
        let index = match fs::read(shelf.join("index")) {
            Ok(index) => index,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
            Err(error) => return Err(error),
        };
        let entries = index.chunks_exact(ENTRY).map(entry);
        let places: HashMap<Digest, Place> =
            entries.filter(|(_, place)| u64::from(place.length) <= MOST).collect();
        let mut wanted: Vec<(usize, Place)> =
            digests.iter().enumerate().filter_map(|(at, digest)| Some((at, *places.get(digest)?))).collect();
        // The order of the file, in which texts of one set lie beside each other.
        wanted.sort_by_key(|(_, place)| place.offset);
        let path = shelf.join("data");
        let groups: Vec<Vec<(usize, Encoding)>> =
            wanted.par_chunks(GROUP).map(|group| records(&path, group)).collect::<io::Result<_>>()?;
        for (at, encoding) in groups.into_iter().flatten() {
            found[at] = Some(encoding);
        }
        Ok(found)
    }

    /// Adds the tokens of texts that were not known.
    pub(crate) fn write(&self, max_tokens: Option<usize>, new: &[(Digest, &Encoding)]) -> io::Result<()> {
        let records: Vec<(Digest, Vec<u8>)> =
            new.par_iter().filter_map(|(digest, encoding)| Some((*digest, record(encoding)?))).collect();
        let records: Vec<_> = records.into_iter().filter(|(_, record)| record.len() as u64 <= MOST).collect();
        if records.is_empty() {
            return Ok(());
        }
        let shelf = self.shelf(max_tokens);
        fs::create_dir_all(&shelf)?;
        let _lock = lock(&shelf)?;
        let bytes: u64 = records.iter().map(|(_, record)| record.len() as u64).sum();
        let length = |name: &str| fs::metadata(shelf.join(name)).map_or(0, |file| file.len());
        if length("data") + bytes > self.limit {
            remove(&shelf)?;
            if bytes > self.limit {
                return Ok(());
            }
        }
        let append = |name: &str| OpenOptions::new().append(true).create(true).open(shelf.join(name));
        // What a killed process has begun of an entry.
        let whole = length("index") / ENTRY as u64 * ENTRY as u64;
        if whole < length("index") {
            OpenOptions::new().write(true).open(shelf.join("index"))?.set_len(whole)?;
        }
        let (mut data, mut index) = (append("data")?, append("index")?);
        let mut offset = data.seek(SeekFrom::End(0))?;
        let mut entries = Vec::with_capacity(records.len() * ENTRY);
        let mut block = Vec::with_capacity(bytes.min(16 << 20) as usize);
        for (digest, record) in &records {
            entries.extend(digest);
            entries.extend(offset.to_le_bytes());
            entries.extend((record.len() as u32).to_le_bytes());
            entries.extend(check(record).to_le_bytes());
            offset += record.len() as u64;
            block.extend(record);
            if block.len() >= 16 << 20 {
                data.write_all(&block)?;
                block.clear();
            }
        }
        data.write_all(&block)?;
        // Only now: an entry stands for a record that is there.
        index.write_all(&entries)
    }

    /// Forgets the tokens of texts cut at `max_tokens`.
    pub(crate) fn forget(&self, max_tokens: Option<usize>) -> io::Result<()> {
        let shelf = self.shelf(max_tokens);
        let _lock = lock(&shelf)?;
        remove(&shelf)
    }
}

/// Waits until no other process writes there.
fn lock(shelf: &Path) -> io::Result<File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(shelf.join("lock"))?;
    file.lock()?;
    Ok(file)
}

/// Removes what is kept; who reads it at this moment reads on in what it has opened.
fn remove(shelf: &Path) -> io::Result<()> {
    for name in ["index", "data"] {
        match fs::remove_file(shelf.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// What stands for each text.
pub(crate) fn digests(inputs: &[Input<'_>]) -> Vec<Digest> {
    let digest = |input: &Input<'_>| {
        let mut hash = Sha256::new();
        hash.update((input.text.len() as u64).to_le_bytes());
        hash.update(input.text);
        if let Some(pair) = input.pair {
            hash.update([1]);
            hash.update(pair);
        }
        let mut half = Digest::default();
        half.copy_from_slice(&hash.finalize()[..16]);
        half
    };
    inputs.par_iter().map(digest).collect()
}

/// An entry of the index.
fn entry(bytes: &[u8]) -> (Digest, Place) {
    let mut digest = Digest::default();
    digest.copy_from_slice(&bytes[..16]);
    let number =
        |from: usize| u32::from_le_bytes([bytes[from], bytes[from + 1], bytes[from + 2], bytes[from + 3]]);
    let offset = u64::from(number(16)) | u64::from(number(20)) << 32;
    (digest, Place { offset, length: number(24), check: number(28) })
}

/// The records at these places, in the order of the file; those that are not as they were written are left out.
fn records(path: &Path, places: &[(usize, Place)]) -> io::Result<Vec<(usize, Encoding)>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut found = Vec::with_capacity(places.len());
    let mut bytes = Vec::new();
    let mut rest = places;
    while let Some((_, first)) = rest.first() {
        // A run of records that lie close together is read at once.
        let mut end = first.offset;
        let run = rest
            .iter()
            .take_while(|(_, place)| {
                let near = place.offset <= end.saturating_add(NEAR) && end - first.offset < MOST;
                if near {
                    end = end.max(place.offset.saturating_add(u64::from(place.length)));
                }
                near
            })
            .count();
        let end = end.min(length);
        if first.offset < end {
            file.seek(SeekFrom::Start(first.offset))?;
            bytes.resize((end - first.offset) as usize, 0);
            file.read_exact(&mut bytes)?;
            for (at, place) in &rest[..run] {
                let from = (place.offset - first.offset) as usize;
                let encoding = bytes
                    .get(from..from.saturating_add(place.length as usize))
                    .filter(|record| check(record) == place.check)
                    .and_then(encoding);
                found.extend(encoding.map(|encoding| (*at, encoding)));
            }
        }
        rest = &rest[run..];
    }
    Ok(found)
}

/// FNV-1a, folded to 32 bits: <http://www.isthe.com/chongo/tech/comp/fnv/>
fn check(bytes: &[u8]) -> u32 {
    let hash = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    (hash ^ hash >> 32) as u32
}

/// An encoding as bytes; `None` where one of its numbers is too large for its place, and of pictures, which are not kept.
fn record(encoding: &Encoding) -> Option<Vec<u8>> {
    if !encoding.pixels.is_empty() {
        return None;
    }
    let count = encoding.len();
    let mut bytes = Vec::with_capacity(12 + 20 * count + 2 * encoding.chars.len());
    for number in [count, encoding.cut, encoding.chars.len()] {
        bytes.extend(u32::try_from(number).ok()?.to_le_bytes());
    }
    bytes.extend(encoding.ids.iter().flat_map(|id| id.to_le_bytes()));
    bytes.extend(encoding.origins.iter().flat_map(|origin| origin.to_bytes()));
    bytes.extend(encoding.chars.iter().flat_map(|number| number.to_le_bytes()));
    Some(bytes)
}

/// The encoding of a record; `None` for bytes that are none.
fn encoding(bytes: &[u8]) -> Option<Encoding> {
    let mut rest = bytes;
    let mut take = |count: usize| -> Option<&[u8]> {
        let (front, back) = rest.split_at_checked(count)?;
        rest = back;
        Some(front)
    };
    let numbers = |bytes: &[u8]| -> Vec<u32> {
        bytes.as_chunks().0.iter().map(|four| u32::from_le_bytes(*four)).collect()
    };
    let head = numbers(take(12)?);
    let (count, chars) = (head[0] as usize, head[2] as usize);
    let ids = numbers(take(4 * count)?);
    let origins = take(16 * count)?.as_chunks().0.iter().map(|bytes| Origin::from_bytes(*bytes)).collect();
    let chars = take(2 * chars)?.as_chunks().0.iter().map(|two| u16::from_le_bytes(*two)).collect();
    if !rest.is_empty() {
        return None;
    }
    Some(Encoding { ids, origins, chars, cut: head[1] as usize, ..Encoding::default() })
}
