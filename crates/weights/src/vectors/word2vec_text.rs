//! Text with a header: `count width`, then a word and its numbers a line.
//!
//! word2vec writes this without `-binary`, and fastText as its `.vec`.

use super::stream::Stream;
use super::{VectorFormat, WordVectors, text, write};
use crate::Error;

pub(super) const FORMAT: VectorFormat = VectorFormat {
    name: "word2vec-text",
    summary: "word2vec text and fastText .vec: a header line, then a word and its numbers a line",
    link: "https://code.google.com/archive/p/word2vec/",
    is: |head| text::header(head).is_some_and(|header| text::is_text(&head[header.bytes..])),
    read,
    write: Some(|vectors, out| {
        write::header(vectors, out)?;
        write::lines(vectors, out)
    }),
};

fn read(stream: &mut Stream, limit: usize) -> Result<WordVectors, Error> {
    let header = text::read_header(stream)?;
    text::read(stream, Some(header), limit)
}
