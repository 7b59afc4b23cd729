//! Text without a header: a word and its numbers a line, as GloVe writes it.

use super::stream::Stream;
use super::{VectorFormat, WordVectors, text, write};
use crate::Error;

pub(super) const FORMAT: VectorFormat = VectorFormat {
    name: "glove",
    summary: "GloVe text: a word and its numbers a line, no header",
    link: "https://nlp.stanford.edu/projects/glove/",
    is: |head| text::header(head).is_none() && text::is_text(head),
    read,
    write: Some(write::lines),
};

fn read(stream: &mut Stream, limit: usize) -> Result<WordVectors, Error> {
    text::read(stream, None, limit)
}
