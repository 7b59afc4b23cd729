//! Text packed with gzip, told by its first bytes and unpacked as it is read.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

use super::cell::memory;

/// What a gzip file begins with.
const MARK: [u8; 2] = [0x1f, 0x8b];

/// The bytes as they are, or unpacked. `length` is that of the whole file.
pub(super) fn unpacked<'a>(
    mut bytes: Box<dyn BufRead + 'a>,
    length: u64,
) -> io::Result<Box<dyn BufRead + 'a>> {
    if !bytes.fill_buf()?.starts_with(&MARK) {
        return Ok(bytes);
    }
    let bounded = Bounded { bytes: MultiGzDecoder::new(bytes), left: memory(length) };
    Ok(Box::new(BufReader::with_capacity(1 << 16, bounded)))
}

/// An error where more comes out than a file of that length may hold.
struct Bounded<R> {
    bytes: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.read(into)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "far more comes out of it than a text has; unpack it by hand",
            )
        })?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::{Cursor, Write};

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn members_follow_each_other_and_plain_bytes_stay() {
        let both = [packed(b"a tree\n"), packed(b"a house\n")].concat();
        for (bytes, expected) in [(both.as_slice(), "a tree\na house\n"), (b"plain", "plain"), (b"", "")] {
            let mut text = String::new();
            unpacked(Box::new(Cursor::new(bytes)), bytes.len() as u64)
                .unwrap()
                .read_to_string(&mut text)
                .unwrap();
            assert_eq!(text, expected);
        }
        let cut = &both[..both.len() - 9];
        assert!(unpacked(Box::new(Cursor::new(cut)), 9).unwrap().read_to_end(&mut Vec::new()).is_err());
    }

    #[test]
    fn a_file_that_swells_beyond_measure_is_refused() {
        let swelling = packed(&vec![b'a'; 100 << 20]);
        let length = swelling.len() as u64;
        let mut reader = unpacked(Box::new(Cursor::new(swelling)), length).unwrap();
        let mut read = 0;
        let mut buffer = vec![0; 1 << 16];
        let error = loop {
            match reader.read(&mut buffer) {
                Ok(0) => panic!("read whole"),
                Ok(more) => read += more as u64,
                Err(error) => break error,
            }
        };
        assert!(read <= memory(length), "{read}");
        assert!(error.to_string().contains("unpack it by hand"));
    }
}
