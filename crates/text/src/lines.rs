//! Texts that are the lines of a reader, encoded block by block on all cores: for files larger than memory.
//!
//! Reading itself is not spread over cores: it takes a small part of the time that encoding takes.

use std::collections::VecDeque;
use std::io::{BufRead, Read};

use rayon::prelude::*;

use crate::{Encoding, Error, Result, Tokenizer};

/// Bytes of text that are read before all cores encode them: enough to keep many cores busy for some milliseconds.
const BLOCK: usize = 1 << 20;
/// Bytes of text that one core takes in one go, at least.
const PART: usize = 1 << 14;

/// Token ids of some lines, end to end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenIds {
    ids: Vec<u32>,
    /// Where the ids of each line end.
    ends: Vec<usize>,
    cut: usize,
}

impl TokenIds {
    /// The ids of each line, special tokens included.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u32]> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let line = &self.ids[start..end];
            start = end;
            line
        })
    }

    /// The ids of all lines, end to end.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Number of lines.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// True when there is no line.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// How many tokens the limit cut off, over all lines.
    pub fn cut(&self) -> usize {
        self.cut
    }

    /// Adds a line: `write` puts its ids at the end of those it is given and says how many it left out.
    fn push(&mut self, write: impl FnOnce(&mut Vec<u32>) -> Result<usize>) -> Result<()> {
        self.cut += write(&mut self.ids)?;
        self.ends.push(self.ids.len());
        Ok(())
    }
}

/// The encodings of the lines of a reader, in order: see [`Tokenizer::encode_lines`].
#[derive(Debug)]
pub struct LineEncodings<'a, R> {
    blocks: Blocks<'a, R>,
    ready: VecDeque<Encoding>,
}

impl<R: BufRead> Iterator for LineEncodings<'_, R> {
    type Item = Result<Encoding>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() {
            let parts = self.blocks.next(|tokenizer, text, max_tokens| {
                let lines: Vec<&str> = text.lines().collect();
                tokenizer.encode_batch(&lines, max_tokens)
            });
            match parts {
                Some(Ok(parts)) => {
                    self.blocks.lines += parts.iter().map(Vec::len).sum::<usize>();
                    self.ready.extend(parts.into_iter().flatten());
                }
                Some(Err(error)) => return Some(Err(error)),
                None => return None,
            }
        }
        self.ready.pop_front().map(Ok)
    }
}

/// The token ids of the lines of a reader, some lines at a time, in order: see [`Tokenizer::ids_of_lines`].
#[derive(Debug)]
pub struct LineIds<'a, R> {
    blocks: Blocks<'a, R>,
    ready: VecDeque<TokenIds>,
}

impl<R: BufRead> Iterator for LineIds<'_, R> {
    type Item = Result<TokenIds>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() {
            match self.blocks.next(Tokenizer::ids_of_text)? {
                Ok(parts) => {
                    self.blocks.lines += parts.iter().map(TokenIds::len).sum::<usize>();
                    self.ready.extend(parts);
                }
                Err(error) => return Some(Err(error)),
            }
        }
        self.ready.pop_front().map(Ok)
    }
}

impl Tokenizer {
    /// Token ids of each line of a reader, on all cores, in order: as [`encode`](Self::encode) of each of
    /// [`BufRead::lines`], for files of any size.
    ///
    /// One block of 1 MiB of text, or one line if that is longer, is held at a time together with its encodings,
    /// which take about 40 bytes a token and 150 a line. [`ids_of_lines`](Self::ids_of_lines) takes a tenth of that.
    ///
    /// # Errors
    /// The iterator gives an error, and then nothing more: [`Error::ReadLine`] if the reader fails or a line is not
    /// UTF-8, otherwise as [`encode`](Self::encode), with the number of the line, from 0, as position in the call.
    pub fn encode_lines<R: BufRead>(&self, reader: R, max_tokens: Option<usize>) -> LineEncodings<'_, R> {
        LineEncodings { blocks: Blocks::new(self, reader, max_tokens), ready: VecDeque::new() }
    }

    /// Only the token ids of each line of a reader, on all cores, in order, some lines at a time: what
    /// [`encode_lines`](Self::encode_lines) gives, without the offsets.
    ///
    /// One block of 1 MiB of text, or one line if that is longer, is held at a time together with its ids, which take
    /// 4 bytes a token and 8 a line.
    ///
    /// # Errors
    /// As [`encode_lines`](Self::encode_lines). Lines before the one with the error may be missing.
    pub fn ids_of_lines<R: BufRead>(&self, reader: R, max_tokens: Option<usize>) -> LineIds<'_, R> {
        LineIds { blocks: Blocks::new(self, reader, max_tokens), ready: VecDeque::new() }
    }

    fn ids_of_text(&self, text: &str, max_tokens: Option<usize>) -> Result<TokenIds> {
        let mut found = TokenIds::default();
        self.ids_of(text.lines(), max_tokens, |write| found.push(write))?;
        Ok(found)
    }
}

/// Reads blocks of whole lines.
#[derive(Debug)]
struct Blocks<'a, R> {
    tokenizer: &'a Tokenizer,
    reader: R,
    max_tokens: Option<usize>,
    block: Vec<u8>,
    /// Lines before this block.
    lines: usize,
    /// Nothing more comes.
    done: bool,
}

impl<'a, R: BufRead> Blocks<'a, R> {
    fn new(tokenizer: &'a Tokenizer, reader: R, max_tokens: Option<usize>) -> Self {
        Self { tokenizer, reader, max_tokens, block: Vec::new(), lines: 0, done: false }
    }

    /// Reads the next block and encodes its parts, each of which is some lines; `None` at the end.
    fn next<T: Send>(
        &mut self,
        encode: impl Fn(&Tokenizer, &str, Option<usize>) -> Result<T> + Sync,
    ) -> Option<Result<Vec<T>>> {
        if self.done {
            return None;
        }
        // A very long line is not kept room for.
        self.block.clear();
        self.block.shrink_to(2 * BLOCK);
        if let Err(source) = self.read() {
            self.done = true;
            let line = self.lines + newlines(&self.block);
            return Some(Err(Error::ReadLine { line, source }));
        }
        if self.block.is_empty() {
            self.done = true;
            return None;
        }
        let (tokenizer, max_tokens) = (self.tokenizer, self.max_tokens);
        let part = |(start, part): (usize, &[u8])| match std::str::from_utf8(part) {
            Ok(text) => encode(tokenizer, text, max_tokens).map_err(|error| {
                let before = self.lines + newlines(&self.block[..start]);
                match error {
                    Error::Encode { index, start, reason } => {
                        Error::Encode { index: before + index, start, reason }
                    }
                    other => other,
                }
            }),
            Err(error) => {
                let line = self.lines + newlines(&self.block[..start + error.valid_up_to()]);
                Err(Error::ReadLine {
                    line,
                    source: std::io::Error::new(std::io::ErrorKind::InvalidData, error),
                })
            }
        };
        let found: Vec<Result<T>> = parts(&self.block).into_par_iter().map(part).collect();
        let found: Result<Vec<T>> = found.into_iter().collect();
        self.done = found.is_err();
        Some(found)
    }

    /// Fills the block up to the end of a line.
    fn read(&mut self) -> std::io::Result<()> {
        self.reader.by_ref().take(BLOCK as u64).read_to_end(&mut self.block)?;
        if self.block.last().is_some_and(|&last| last != b'\n') {
            self.reader.read_until(b'\n', &mut self.block)?;
        }
        Ok(())
    }
}

/// Cuts a block after ends of lines: the parts with their places.
fn parts(block: &[u8]) -> Vec<(usize, &[u8])> {
    // A few for each core, because no two take equally long.
    let size = (block.len() / (rayon::current_num_threads() * 4)).max(PART);
    let (mut parts, mut start) = (Vec::new(), 0);
    while start < block.len() {
        let least = (start + size).min(block.len());
        let more = block[least..].iter().position(|&byte| byte == b'\n');
        let end = more.map_or(block.len(), |more| least + more + 1);
        parts.push((start, &block[start..end]));
        start = end;
    }
    parts
}

fn newlines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&byte| byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_whole_lines() {
        let mut block = Vec::new();
        for line in 0..20_000 {
            block.extend(format!("{}\n", "x".repeat(line % 37)).bytes());
        }
        block.extend(b"the last one");
        let parts = parts(&block);
        assert!(parts.len() > 3);
        let mut at = 0;
        for (index, &(start, part)) in parts.iter().enumerate() {
            assert_eq!(start, at);
            assert!(part.ends_with(b"\n") || index + 1 == parts.len());
            at += part.len();
        }
        assert_eq!(at, block.len());
        assert!(super::parts(b"").is_empty());
    }
}
