//! TensorBoard event files: scalars only, written without protobuf or TensorFlow.
//!
//! Format: a file is a run of TFRecord frames (length u64, masked CRC-32C of the length, payload, masked
//! CRC-32C of the payload; little endian), each payload an `Event` message of
//! <https://github.com/tensorflow/tensorflow/blob/v2.16.1/tensorflow/core/util/event.proto>. Deliberately not
//! written: histograms, images, text.
//!
//! A resumed run goes on in the same file: [`EventWriter::resume`] cuts off a frame torn by a crash and all
//! steps the resumed run will repeat.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Start of every event file's name.
const PREFIX: &str = "events.out.tfevents.";

/// A file operation on an event file that failed.
#[derive(Debug, thiserror::Error)]
#[error("{action} TensorBoard events at {}: {source}", path.display())]
pub struct TensorboardError {
    /// What was tried, e.g. "cannot write".
    pub action: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// Why it failed.
    #[source]
    pub source: io::Error,
}

/// One scalar read back from an event file.
#[derive(Clone, Debug, PartialEq)]
pub struct Scalar {
    /// Optimizer step.
    pub step: u64,
    /// Name of the curve, such as `train/loss`.
    pub tag: String,
    /// The value.
    pub value: f32,
}

/// Writes scalars to one event file, whole frames at a time.
#[derive(Debug)]
pub struct EventWriter {
    file: File,
    path: PathBuf,
}

impl EventWriter {
    /// Starts a new event file in `folder`, which must exist.
    ///
    /// # Errors
    /// When the file cannot be created or written.
    pub fn create(folder: &Path) -> Result<Self, TensorboardError> {
        let seconds = now() as u64;
        // Two writers started within one second in one process must not share a file.
        for attempt in 0.. {
            let name = format!("{PREFIX}{seconds:010}.{}.{}.{attempt}", host(), std::process::id());
            let path = folder.join(name);
            match OpenOptions::new().append(true).create_new(true).open(&path) {
                Ok(file) => {
                    let mut writer = Self { file, path };
                    writer.write(&file_version())?;
                    return Ok(writer);
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(source) => return Err(TensorboardError { action: "cannot create", path, source }),
            }
        }
        unreachable!("the attempts are unbounded")
    }

    /// Goes on in the newest event file of `folder`, or starts one when there is none. Frames after `step`
    /// (the last finished step of the checkpoint) and a torn last frame are cut off.
    ///
    /// # Errors
    /// When the folder cannot be read or the file cannot be opened, cut or written.
    pub fn resume(folder: &Path, step: u64) -> Result<Self, TensorboardError> {
        let fail =
            |action, path: &Path, source| TensorboardError { action, path: path.to_path_buf(), source };
        let entries = std::fs::read_dir(folder).map_err(|e| fail("cannot look for", folder, e))?;
        let mut newest: Option<PathBuf> = None;
        for entry in entries {
            let path = entry.map_err(|e| fail("cannot look for", folder, e))?.path();
            let is_events = path.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with(PREFIX));
            // Names begin with a zero-padded time, so the greatest name is the newest file.
            if is_events && newest.as_ref().is_none_or(|other| path > *other) {
                newest = Some(path);
            }
        }
        let Some(path) = newest else { return Self::create(folder) };
        let bytes = std::fs::read(&path).map_err(|e| fail("cannot read", &path, e))?;
        let mut keep = 0;
        for (end, payload) in Frames::new(&bytes) {
            match parse_event(payload) {
                Some(event) if event.step <= step => keep = end,
                _ => break,
            }
        }
        let file = OpenOptions::new().append(true).open(&path).map_err(|e| fail("cannot open", &path, e))?;
        file.set_len(keep as u64).map_err(|e| fail("cannot cut", &path, e))?;
        let mut writer = Self { file, path };
        if keep == 0 {
            writer.write(&file_version())?;
        }
        Ok(writer)
    }

    /// The event file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the values of one step as one event: `(tag, value)`, such as `("train/loss", 0.3)`.
    ///
    /// # Errors
    /// When the file cannot be written (disk full).
    pub fn scalars(&mut self, step: u64, values: &[(&str, f32)]) -> Result<(), TensorboardError> {
        let mut summary = Vec::new();
        for &(tag, value) in values {
            let mut entry = Vec::new();
            put_bytes(&mut entry, 1, tag.as_bytes());
            put_key(&mut entry, 2, 5);
            entry.extend_from_slice(&value.to_le_bytes());
            put_bytes(&mut summary, 1, &entry);
        }
        let mut event = event_head();
        put_key(&mut event, 2, 0);
        put_varint(&mut event, step);
        put_bytes(&mut event, 5, &summary);
        self.write(&event)
    }

    /// One frame in one write, so that a crash leaves at most one torn frame, at the end.
    fn write(&mut self, payload: &[u8]) -> Result<(), TensorboardError> {
        self.file.write_all(&frame(payload)).map_err(|source| TensorboardError {
            action: "cannot write",
            path: self.path.clone(),
            source,
        })
    }
}

/// All scalars of an event file, in file order; a torn last frame ends the reading.
///
/// # Errors
/// When the file cannot be read.
pub fn read_scalars(path: &Path) -> Result<Vec<Scalar>, TensorboardError> {
    let bytes = std::fs::read(path).map_err(|source| TensorboardError {
        action: "cannot read",
        path: path.to_path_buf(),
        source,
    })?;
    let events = Frames::new(&bytes).filter_map(|(_, payload)| parse_event(payload));
    Ok(events.flat_map(|event| event.scalars).collect())
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

fn host() -> String {
    let name = std::env::var("HOSTNAME").ok().or_else(|| std::fs::read_to_string("/etc/hostname").ok());
    let name: String =
        name.unwrap_or_default().trim().chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    if name.is_empty() { "localhost".to_string() } else { name }
}

/// `wall_time`, field 1 of every event.
fn event_head() -> Vec<u8> {
    let mut event = Vec::new();
    put_key(&mut event, 1, 1);
    event.extend_from_slice(&now().to_le_bytes());
    event
}

/// The first event of a file.
fn file_version() -> Vec<u8> {
    let mut event = event_head();
    put_bytes(&mut event, 3, b"brain.Event:2");
    event
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_key(out: &mut Vec<u8>, field: u64, wire: u64) {
    put_varint(out, field << 3 | wire);
}

fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_key(out, field, 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn frame(payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u64).to_le_bytes();
    let mut out = Vec::with_capacity(payload.len() + 16);
    out.extend_from_slice(&length);
    out.extend_from_slice(&masked_crc(&length).to_le_bytes());
    out.extend_from_slice(payload);
    out.extend_from_slice(&masked_crc(payload).to_le_bytes());
    out
}

/// Walks whole, undamaged frames: where each ends, and its payload.
struct Frames<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Frames<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = (usize, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.bytes.get(self.at..)?;
        let (head, rest) = rest.split_at_checked(12)?;
        let length = u64::from_le_bytes(head[..8].try_into().ok()?);
        if u32::from_le_bytes(head[8..].try_into().ok()?) != masked_crc(&head[..8]) {
            return None;
        }
        let (payload, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        let crc = rest.get(..4)?;
        if u32::from_le_bytes(crc.try_into().ok()?) != masked_crc(payload) {
            return None;
        }
        self.at += payload.len() + 16;
        Some((self.at, payload))
    }
}

/// What we read of an `Event`.
struct Event {
    step: u64,
    scalars: Vec<Scalar>,
}

fn parse_event(payload: &[u8]) -> Option<Event> {
    let (mut step, mut scalars) = (0, Vec::new());
    for field in Fields(payload) {
        match field? {
            (2, Field::Varint(value)) => step = value,
            (5, Field::Bytes(summary)) => {
                for entry in Fields(summary) {
                    if let (1, Field::Bytes(entry)) = entry? {
                        scalars.push(parse_scalar(entry)?);
                    }
                }
            }
            _ => {}
        }
    }
    for scalar in &mut scalars {
        scalar.step = step;
    }
    Some(Event { step, scalars })
}

fn parse_scalar(entry: &[u8]) -> Option<Scalar> {
    let mut scalar = Scalar { step: 0, tag: String::new(), value: 0.0 };
    for field in Fields(entry) {
        match field? {
            (1, Field::Bytes(tag)) => scalar.tag = String::from_utf8(tag.to_vec()).ok()?,
            (2, Field::Fixed32(bits)) => scalar.value = f32::from_bits(bits),
            _ => {}
        }
    }
    Some(scalar)
}

enum Field<'a> {
    Varint(u64),
    Fixed64,
    Fixed32(u32),
    Bytes(&'a [u8]),
}

/// Fields of a protobuf message; one `None` inside means a malformed message.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn field(&mut self) -> Option<(u64, Field<'a>)> {
        let key = self.varint()?;
        let field = match key & 7 {
            0 => Field::Varint(self.varint()?),
            1 => self.take(8).map(|_| Field::Fixed64)?,
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Field::Bytes(self.take(length)?)
            }
            5 => Field::Fixed32(u32::from_le_bytes(self.take(4)?.try_into().ok()?)),
            _ => return None,
        };
        Some((key >> 3, field))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Option<(u64, Field<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field)
    }
}

/// CRC-32C by table, built at compile time.
const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, &byte| crc >> 8 ^ CRC_TABLE[(crc as u8 ^ byte) as usize])
}

/// The mask keeps a checksum of data that itself holds checksums from degenerating.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A fresh folder under the system's temporary one.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("topwork-events-{}-{name}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn losses(path: &Path) -> Vec<(u64, f32)> {
        read_scalars(path).unwrap().into_iter().map(|s| (s.step, s.value)).collect()
    }

    #[test]
    fn crc_of_the_check_string() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa); // RFC 3720, B.4
    }

    #[test]
    fn what_was_written_is_read_back() {
        let folder = Folder::new("back");
        let mut writer = EventWriter::create(&folder.0).unwrap();
        writer.scalars(1, &[("train/loss", 0.5), ("lr", 1e-5)]).unwrap();
        writer.scalars(u64::from(u32::MAX) + 7, &[("train/loss", f32::MIN_POSITIVE)]).unwrap();
        let name = writer.path().file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("events.out.tfevents."), "{name}");
        let scalars = read_scalars(writer.path()).unwrap();
        assert_eq!(scalars.len(), 3);
        assert_eq!(scalars[1], Scalar { step: 1, tag: "lr".into(), value: 1e-5 });
        assert_eq!(scalars[2].step, u64::from(u32::MAX) + 7);
        assert_eq!(scalars[2].value, f32::MIN_POSITIVE);
    }

    #[test]
    fn two_writers_in_one_second_do_not_meet() {
        let folder = Folder::new("two");
        let first = EventWriter::create(&folder.0).unwrap();
        let second = EventWriter::create(&folder.0).unwrap();
        assert_ne!(first.path(), second.path());
    }

    #[test]
    fn resuming_drops_the_torn_frame_and_the_steps_to_come() {
        let folder = Folder::new("resume");
        let mut writer = EventWriter::create(&folder.0).unwrap();
        for step in 1..=5 {
            writer.scalars(step, &[("loss", step as f32)]).unwrap();
        }
        let path = writer.path().to_path_buf();
        drop(writer);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 3]).unwrap();
        assert_eq!(losses(&path).len(), 4);

        let mut writer = EventWriter::resume(&folder.0, 2).unwrap();
        assert_eq!(writer.path(), path);
        writer.scalars(3, &[("loss", 30.0)]).unwrap();
        assert_eq!(losses(&path), [(1, 1.0), (2, 2.0), (3, 30.0)]);
    }

    #[test]
    fn a_damaged_frame_stops_the_reading() {
        let folder = Folder::new("damaged");
        let mut writer = EventWriter::create(&folder.0).unwrap();
        writer.scalars(1, &[("loss", 1.0)]).unwrap();
        writer.scalars(2, &[("loss", 2.0)]).unwrap();
        let mut bytes = std::fs::read(writer.path()).unwrap();
        let last = bytes.len() - 6;
        bytes[last] ^= 1;
        std::fs::write(writer.path(), &bytes).unwrap();
        assert_eq!(losses(writer.path()), [(1, 1.0)]);
        // A file that is not one of ours is restarted, not trusted.
        std::fs::write(writer.path(), b"not events at all").unwrap();
        let mut again = EventWriter::resume(&folder.0, 9).unwrap();
        again.scalars(10, &[("loss", 3.0)]).unwrap();
        assert_eq!(losses(again.path()), [(10, 3.0)]);
    }

    #[test]
    fn a_missing_folder_is_an_error_that_names_it() {
        let error = EventWriter::create(Path::new("/nonexistent/runs")).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/runs"), "{error}");
    }
}
