//! word2vec's binary form: the header `count width` in text, then a word, a space and raw `f32` each.
//!
//! The original program ends each vector with a line break, others do not; both are read.

use super::gather::{self, Gather};
use super::stream::Stream;
use super::{VectorFormat, WordVectors, text, write};
use crate::Error;

pub(super) const FORMAT: VectorFormat = VectorFormat {
    name: "word2vec-binary",
    summary: "word2vec binary: a header line, then a word and its raw 32-bit numbers each",
    link: "https://code.google.com/archive/p/word2vec/",
    is: |head| text::header(head).is_some_and(|header| !text::is_text(&head[header.bytes..])),
    read,
    write: Some(|vectors, out| {
        write::header(vectors, out)?;
        for (word, row) in vectors.words.iter().zip(vectors.data.chunks(vectors.width.max(1))) {
            out.write_all(word.as_bytes())?;
            out.write_all(b" ")?;
            row.iter().try_for_each(|value| out.write_all(&value.to_le_bytes()))?;
            out.write_all(b"\n")?;
        }
        Ok(())
    }),
};

/// The longest word, in bytes.
const MOST_WORD: usize = 64 << 10;

fn read(stream: &mut Stream, limit: usize) -> Result<WordVectors, Error> {
    let text::Header { count, width, .. } = text::read_header(stream)?;
    let least = (count as u128) * (width as u128 * 4 + 1);
    stream.expect(least, &format!("{count} words with {width} numbers"))?;
    let mut gather = Gather::new(stream.format, width);
    let most = count.min(limit);
    if stream.left().is_some() {
        gather.reserve(most);
    }
    for at in 0..most {
        let place = || format!("word {} of {count}", at + 1);
        let bytes = stream.until(b' ', MOST_WORD, &place())?;
        // What ended the vector before.
        let from = bytes.iter().position(|byte| !b"\r\n".contains(byte)).unwrap_or(bytes.len());
        let (word, utf8) = gather::word(&bytes[from..]);
        let row = stream.floats(width as u64, &place())?;
        if let Some(column) = row.iter().position(|value| !value.is_finite()) {
            let (place, value) = (place(), row[column]);
            return Err(stream.bad(format!("{place}, \"{word}\", holds {value} at number {}", column + 1)));
        }
        if gather.take(word, utf8) {
            gather.data.extend_from_slice(&row);
        }
    }
    gather.report.left_out = count - most;
    if most == count && !stream.is_spent()? {
        return Err(stream.bad(format!("more follows after the {count} words its header says it has")));
    }
    if count == 0 {
        return Err(stream.bad("it has no words"));
    }
    Ok(gather.finish(None))
}
