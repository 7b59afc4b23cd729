//! The bytes of a pickle, one after the other, out of a file in which it need not be alone.

use crate::Error;
use crate::input::Input;

/// Longest pickle read, in bytes: a tensor takes about 250.
const MAX_PICKLE: u64 = 64 << 20;

/// How much is read at once.
const WINDOW: u64 = 64 << 10;

/// A place in a file that only moves on.
pub(super) struct Stream<'i> {
    pub input: &'i Input,
    start: u64,
    end: u64,
    window: Vec<u8>,
    /// Where the window starts in the file, and how far it is read.
    window_at: u64,
    used: usize,
}

impl<'i> Stream<'i> {
    /// From `start` on, never to `end`.
    pub fn new(input: &'i Input, start: u64, end: u64) -> Stream<'i> {
        Stream { input, start, end: end.min(input.len), window: Vec::new(), window_at: start, used: 0 }
    }

    /// Where the next byte lies in the file.
    pub fn at(&self) -> u64 {
        self.window_at + self.used as u64
    }

    /// How much of it has been read.
    pub fn len(&self) -> u64 {
        self.at() - self.start
    }

    /// The next `len` bytes.
    pub fn take(&mut self, len: u64) -> Result<&[u8], Error> {
        let at = self.at();
        let left = self.end.saturating_sub(at);
        if len > left {
            return Err(self.bad(format!("{len} bytes are wanted, {left} are left: cut short?")));
        }
        if at - self.start + len > MAX_PICKLE {
            return Err(self.bad(format!("it is longer than {MAX_PICKLE} bytes")));
        }
        let len = len as usize;
        if self.window.len() - self.used < len {
            self.refill(len)?;
        }
        let taken = &self.window[self.used..self.used + len];
        self.used += len;
        Ok(taken)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64)?);
        Ok(array)
    }

    /// The bytes up to the next line break, without it.
    pub fn line(&mut self) -> Result<Vec<u8>, Error> {
        let mut line = Vec::new();
        loop {
            match self.array()? {
                [b'\n'] => return Ok(line),
                [byte] => line.push(byte),
            }
        }
    }

    /// The error that the pickle is broken here.
    pub fn bad(&self, reason: impl std::fmt::Display) -> Error {
        self.input.bad(format!("its pickle, byte {}: {reason}", self.len()))
    }

    /// Makes the window hold at least `len` bytes from here on; they are known to be there.
    fn refill(&mut self, len: usize) -> Result<(), Error> {
        let at = self.at();
        let fill = WINDOW.min(self.end - at).max(len as u64);
        self.window = vec![0; fill as usize];
        (self.window_at, self.used) = (at, 0);
        self.input.fill(at, &mut self.window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn bytes_come_in_order_across_windows() {
        let bytes: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
        let input = Input::from_bytes(Path::new("x"), "test", bytes.clone());
        let mut stream = Stream::new(&input, 10, 199_990);
        let mut seen = Vec::new();
        for len in [1, 65_535, 0, 2, 100_000, 7].into_iter().chain(std::iter::repeat(1000)) {
            let left = 199_990 - stream.at();
            seen.extend_from_slice(stream.take(len.min(left)).unwrap());
            if stream.at() == 199_990 {
                break;
            }
        }
        assert_eq!(seen, bytes[10..199_990]);
        assert!(stream.take(1).unwrap_err().to_string().contains("cut short"));
        assert!(Stream::new(&input, 0, 10).take(u64::MAX).is_err());
        assert!(Stream::new(&input, 0, u64::MAX).take(200_001).is_err());
    }
}
