//! The reader against sound, broken and hostile archives; the writer against the reader, beyond 4 GiB too.

use super::*;
use proptest::prelude::*;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

/// A file of an archive made by hand, whatever sense it makes.
#[derive(Clone)]
pub(crate) struct Raw {
    pub name: &'static str,
    pub method: u16,
    pub packed: Vec<u8>,
    pub len: u32,
    pub crc: u32,
    /// Where the directory says it is, when not where it is.
    pub at: Option<u32>,
}

impl Raw {
    pub fn stored(name: &'static str, bytes: &[u8]) -> Raw {
        Raw { name, method: 0, packed: bytes.to_vec(), len: bytes.len() as u32, crc: crc(bytes), at: None }
    }

    pub fn deflated(name: &'static str, bytes: &[u8]) -> Raw {
        let mut packed = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        packed.write_all(bytes).unwrap();
        let packed = packed.finish().unwrap();
        Raw { name, method: 8, packed, len: bytes.len() as u32, crc: crc(bytes), at: None }
    }
}

pub(crate) fn crc(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// An archive of these files.
pub(crate) fn archive(files: &[Raw]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for file in files {
        let at = file.at.unwrap_or(out.len() as u32);
        let mut common = Vec::new();
        common.extend([20, 0, file.method, 0, 0x21].map(u16::to_le_bytes).as_flattened());
        common.extend([file.crc, file.packed.len() as u32, file.len].map(u32::to_le_bytes).as_flattened());
        common.extend([file.name.len() as u16, 0].map(u16::to_le_bytes).as_flattened());
        out.extend(MAGIC);
        out.extend(&common);
        out.extend(file.name.as_bytes());
        out.extend(&file.packed);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&common);
        directory.extend([0; 10]);
        directory.extend(at.to_le_bytes());
        directory.extend(file.name.as_bytes());
    }
    let (start, count) = (out.len() as u32, files.len() as u16);
    out.extend(&directory);
    out.extend(b"PK\x05\x06");
    out.extend([0, 0, count, count].map(u16::to_le_bytes).as_flattened());
    out.extend([directory.len() as u32, start].map(u32::to_le_bytes).as_flattened());
    out.extend([0, 0]);
    out
}

fn list(bytes: Vec<u8>) -> Result<Vec<Entry>, Error> {
    entries(&Input::from_bytes(Path::new("x.zip"), "ZIP", bytes))
}

fn refused(bytes: Vec<u8>, part: &str) {
    let error = list(bytes).unwrap_err().to_string();
    assert!(error.contains("x.zip") && error.contains(part), "{part:?} not in: {error}");
}

fn sample() -> Vec<u8> {
    archive(&[Raw::stored("a/b", b"hello"), Raw::deflated("c", &[7; 100]), Raw::stored("empty", b"")])
}

#[test]
fn files_are_found_where_they_are() {
    let bytes = sample();
    let found = list(bytes.clone()).unwrap();
    let names: Vec<_> = found.iter().map(|entry| (entry.name.as_str(), entry.method, entry.len)).collect();
    assert_eq!(
        names,
        [("a/b", Method::Stored, 5), ("c", Method::Deflated, 100), ("empty", Method::Stored, 0)]
    );
    assert_eq!(&bytes[found[0].start as usize..][..5], b"hello");
    assert_eq!(found[0].crc, crc(b"hello"));
    assert_eq!(first_name(&bytes), Some("a/b"));
    assert_eq!(first_name(&bytes[..32]), None);
    assert_eq!(first_name(b"PK"), None);
    // A remark at the end, in which an end record seems to lie.
    let mut remarked = bytes;
    let at = remarked.len() - 2;
    remarked[at..].copy_from_slice(&10u16.to_le_bytes());
    remarked.extend(b"PK\x05\x06 ......"[..10].iter());
    assert_eq!(list(remarked).unwrap().len(), 3);
}

#[test]
fn what_the_writer_writes_is_read() {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes, 0);
    for n in 0..200 {
        writer.add(&format!("folder/{n}"), &vec![n as u8; n]).unwrap();
    }
    writer.finish().unwrap();
    let found = list(bytes.clone()).unwrap();
    assert_eq!(found.len(), 200);
    for (n, entry) in found.iter().enumerate() {
        assert_eq!(entry.name, format!("folder/{n}"));
        assert_eq!(entry.start % ALIGNMENT, 0);
        let held = &bytes[entry.start as usize..][..n];
        assert!(held.iter().all(|&byte| byte == n as u8) && entry.crc == crc(held));
    }
}

#[test]
fn archives_beyond_four_gibibytes_are_written_and_read() {
    // The first part is a hole in the file, which takes no room on disk.
    const HOLE: u64 = (4 << 30) + 12_345;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.seek(SeekFrom::Start(HOLE)).unwrap();
    let mut writer = Writer::new(&mut file, HOLE);
    writer.add("far", b"away").unwrap();
    writer.add("farther", b"off").unwrap();
    writer.finish().unwrap();
    let input = Input::open(file.path(), "ZIP").unwrap();
    let found = entries(&input).unwrap();
    assert_eq!(found.len(), 2);
    assert!(found[0].start > HOLE && found[0].start.is_multiple_of(ALIGNMENT));
    assert_eq!(input.bytes(found[1].start, found[1].len, "it").unwrap(), b"off");
}

#[test]
fn more_files_than_sixteen_bits_count_are_written_and_read() {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes, 0);
    for n in 0..70_000 {
        writer.add(&n.to_string(), b"").unwrap();
    }
    writer.finish().unwrap();
    assert_eq!(list(bytes).unwrap().len(), 70_000);
}

#[test]
fn broken_archives_are_refused() {
    let with = |change: &dyn Fn(&mut Raw)| {
        let mut files = [Raw::stored("first", b"abcdefgh"), Raw::stored("second", b"abcdefgh")];
        change(&mut files[1]);
        archive(&files)
    };
    assert_eq!(list(with(&|_| {})).unwrap().len(), 2);
    refused(with(&|file| file.name = "first"), "\"first\" twice");
    refused(with(&|file| file.at = Some(0)), "not where its directory says");
    refused(with(&|file| file.at = Some(5)), "not where its directory says");
    refused(with(&|file| file.at = Some(u32::MAX - 1)), "outside");
    refused(with(&|file| file.len = 9), "two different lengths");
    refused(with(&|file| file.method = 12), "method 12");
    // Two lines of the directory for one file, in the manner of archives that unpack to more than there is.
    let mut both = [Raw::stored("same", b"abcdefgh"), Raw::stored("same", b"abcdefgh")];
    both[1].at = Some(0);
    refused(archive(&both), "overlap");
    let mut whole = sample();
    let flags = whole.windows(4).position(|window| window == b"PK\x01\x02").unwrap() + 8;
    whole[flags] = 1;
    refused(whole, "encrypted");
    refused(MAGIC.to_vec(), "cut short");
    refused(Vec::new(), "cut short");
    // A length in the directory that reaches over what follows.
    let mut long = sample();
    let at = long.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    long[at + 20..at + 28].copy_from_slice([200u32, 200].map(u32::to_le_bytes).as_flattened());
    refused(long, "reaches into the directory");
}

#[test]
fn a_truncated_archive_is_refused_at_every_length() {
    let whole = sample();
    for len in 0..whole.len() {
        assert!(list(whole[..len].to_vec()).is_err(), "{len} of {} bytes", whole.len());
    }
}

proptest! {
    #[test]
    fn changed_bytes_never_panic(changes in proptest::collection::vec((0usize..400, any::<u8>()), 1..4)) {
        let mut bytes = sample();
        for (at, value) in changes {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        let len = bytes.len() as u64;
        for entry in list(bytes).unwrap_or_default() {
            prop_assert!(entry.start + entry.packed <= len);
        }
    }

    #[test]
    fn any_bytes_between_the_ends_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut all = MAGIC.to_vec();
        all.extend(bytes);
        all.extend(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
        all.extend([46u32, 4].map(u32::to_le_bytes).as_flattened());
        all.extend([0, 0]);
        let _ = list(all);
    }
}
