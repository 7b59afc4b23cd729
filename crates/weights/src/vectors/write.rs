//! Vectors into the formats without sub-words: written beside, synced and renamed.

use std::io::{BufWriter, Write};
use std::path::Path;

use super::WordVectors;
use crate::{Error, atomic};

/// Writes a whole file.
pub(super) type Writer = fn(&WordVectors, &mut dyn Write) -> std::io::Result<()>;

pub(super) fn save(
    vectors: &WordVectors,
    path: &Path,
    format: &'static str,
    writer: Writer,
) -> Result<(), Error> {
    // A space ends a word in all of these formats.
    let odd = |word: &&str| word.is_empty() || word.contains([' ', '\t', '\n', '\r']);
    if let Some(word) = vectors.words.iter().map(|word| &**word).find(odd) {
        let reason =
            format!("the word {word:?} is empty or has blanks in it, and this format cannot hold it");
        return Err(Error::BadFile { path: path.to_path_buf(), format, reason });
    }
    let fail = |source| Error::Write { path: path.to_path_buf(), kept: "nothing was changed", source };
    std::fs::create_dir_all(atomic::parent(path)).map_err(fail)?;
    atomic::write_with(path, |file| {
        let mut out = BufWriter::with_capacity(1 << 20, file);
        writer(vectors, &mut out)?;
        out.flush()
    })
}

/// `count width`.
pub(super) fn header(vectors: &WordVectors, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "{} {}", vectors.len(), vectors.width)
}

/// A word and its numbers a line, each number as short as it can be read again to the bit.
pub(super) fn lines(vectors: &WordVectors, out: &mut dyn Write) -> std::io::Result<()> {
    for (word, row) in vectors.words.iter().zip(vectors.data.chunks(vectors.width.max(1))) {
        out.write_all(word.as_bytes())?;
        for value in row {
            write!(out, " {value}")?;
        }
        out.write_all(b"\n")?;
    }
    Ok(())
}
