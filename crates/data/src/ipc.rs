//! The messages of Arrow's IPC format: where each lies in a file, found from the heads alone.
//!
//! What a head claims is checked against the length of the file before anything is made of it.
//! Reference: <https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc>.

use std::io::{self, Read, Seek, SeekFrom};

use arrow_ipc::Message;

/// What an Arrow file begins and ends with; the stream lies between.
pub(crate) const MARK: &[u8; 6] = b"ARROW1";
/// What stands before the length of each message.
pub(crate) const CONTINUATION: [u8; 4] = [0xff; 4];
/// The most bytes of the head of a message: a schema of some ten thousand columns.
const HEAD: u64 = 16 << 20;

/// Where a message lies, in bytes from the beginning of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Where the length of its head stands, or the mark before it.
    pub at: u64,
    /// Where its body begins.
    pub body: u64,
    /// Bytes of the body, all of which are in the file.
    pub bytes: u64,
}

/// An error of what the file holds, not of reading it.
pub(crate) fn bad(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.into())
}

/// Goes to where the stream begins.
pub(crate) fn start<B: Read + Seek + ?Sized>(bytes: &mut B) -> io::Result<u64> {
    bytes.seek(SeekFrom::Start(0))?;
    let mut first = [0; 8];
    let mut got = 0;
    while got < first.len() {
        match bytes.read(&mut first[got..])? {
            0 => break,
            more => got += more,
        }
    }
    if got == 0 {
        return Err(bad("the file is empty"));
    }
    if first.starts_with(b"FEA1") {
        return Err(bad("this is Feather version 1; write it again with version 2"));
    }
    let mut start = 0;
    if first.starts_with(MARK) {
        // Writers fill up to 8 bytes after the mark, or to 64.
        start = 8;
        let mut eight = [0; 8];
        while start < 64 && bytes.read_exact(&mut eight).is_ok() && eight == [0; 8] {
            start += 8;
        }
    }
    bytes.seek(SeekFrom::Start(start))
}

/// Reads the head of the message that begins here into `head`, and stays before its body. `None` where the stream ends.
/// The first message of a stream (`first`) has to be there, and to be a schema.
pub(crate) fn next<'a, B: Read + Seek + ?Sized>(
    bytes: &mut B,
    length: u64,
    first: bool,
    head: &'a mut Vec<u8>,
) -> io::Result<Option<(Place, Message<'a>)>> {
    let at = bytes.stream_position()?;
    let mut size = [0; 4];
    match bytes.read_exact(&mut size) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && !first => return Ok(None),
        read => read?,
    }
    if size == CONTINUATION {
        bytes.read_exact(&mut size)?;
    }
    let size = u64::from(u32::from_le_bytes(size));
    if size == 0 {
        return if first { Err(bad("there is no schema in it")) } else { Ok(None) };
    }
    if size > HEAD.min(length) {
        return Err(bad(format!("the head of a message claims {size} bytes; is this an arrow file?")));
    }
    head.clear();
    (&mut *bytes).take(size).read_to_end(head)?;
    if (head.len() as u64) < size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let message =
        arrow_ipc::root_as_message(head).map_err(|error| bad(format!("not readable as arrow: {error}")))?;
    if first && message.header_as_schema().is_none() {
        return Err(bad("its first message is no schema"));
    }
    let claimed =
        u64::try_from(message.bodyLength()).map_err(|_| bad("a message has a body of less than nothing"))?;
    let body = bytes.stream_position()?;
    if claimed > length.saturating_sub(body) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some((Place { at, body, bytes: claimed }, message)))
}
