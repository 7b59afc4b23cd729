//! Texts and their vectors on disk, and the exact search among them.
//!
//! An index is a folder: `index.json` (what made it), `vectors.f32` (`[documents, width]`, little-endian, row-major),
//! `documents.jsonl` (a document a line) and `documents.starts` (where each line begins, little-endian, and where the last one ends).
//! All but the first are mapped into memory and not read until they are looked at.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use topwork_kernels::gemm::{self, Mat, MatMut, Precision};
use topwork_kernels::{MappedFile, alone, map_file};
use topwork_text::Input;

use super::cosine;
use crate::embedder::Embedder;
use crate::error::Error;
use crate::sentence::Role;
use crate::vectors::best;

const FACTS: &str = "index.json";
const VECTORS: &str = "vectors.f32";
const DOCUMENTS: &str = "documents.jsonl";
const STARTS: &str = "documents.starts";

/// The layout described above.
const FORMAT: u32 = 1;

/// A text whose vector tells models apart.
const PROBE: &str = "Which model made the vectors of this index?";

/// The least cosine of two vectors of it that come from one model; 16 bits cost less than this.
const SAME: f64 = 0.995;

/// Documents whose products are computed at once.
const CHUNK: usize = 4096;

/// Queries searched at once.
const QUERIES: usize = 64;

/// What made an index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Facts {
    format: u32,
    /// The model, as it was named.
    pub model: String,
    /// Number of documents.
    pub documents: usize,
    /// Numbers in a vector.
    pub width: usize,
    /// Whether vectors have length one, so that products are cosines.
    pub normalised: bool,
    /// Longest text in tokens.
    pub max_length: usize,
    probe: Vec<f32>,
}

/// A text that can be found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// Its name.
    pub id: String,
    /// The text.
    pub text: String,
}

/// A document that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// Its number in the index.
    pub document: usize,
    /// The product of its vector with that of the query.
    pub score: f32,
}

/// Texts and their vectors.
pub struct SearchIndex {
    folder: PathBuf,
    facts: Facts,
    vectors: MappedFile,
    documents: MappedFile,
    starts: MappedFile,
}

impl SearchIndex {
    /// Makes an index of documents, which come some at a time until there are none. What stands at `folder` is replaced as a whole
    /// if it is an index.
    ///
    /// # Errors
    /// No documents, two of one name, a vector that is no number; what `next` gives; a folder that is no index or cannot be
    /// written.
    pub fn create(
        folder: &Path,
        model: &str,
        embedder: &Embedder,
        mut next: impl FnMut() -> Result<Vec<Document>, Error>,
    ) -> Result<Facts, Error> {
        if folder.exists() && !folder.join(FACTS).is_file() {
            return Err(Error::Task(format!(
                "{}: there is something here that is no index; give the index another --out",
                folder.display()
            )));
        }
        let parent =
            folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(parent).map_err(Error::file(parent))?;
        let new =
            tempfile::Builder::new().prefix(".index").tempdir_in(parent).map_err(Error::file(parent))?;
        let file = |name: &str| -> Result<(BufWriter<File>, PathBuf), Error> {
            let path = new.path().join(name);
            Ok((BufWriter::new(File::create(&path).map_err(Error::file(&path))?), path))
        };
        let ((mut vectors, vectors_at), (mut documents, documents_at), (mut starts, starts_at)) =
            (file(VECTORS)?, file(DOCUMENTS)?, file(STARTS)?);
        let (mut ids, mut start) = (HashSet::new(), 0u64);
        loop {
            let some = next()?;
            if some.is_empty() {
                break;
            }
            let texts: Vec<Input<'_>> = some.iter().map(|document| document.text.as_str().into()).collect();
            let values = embedder.embed_as(Role::Document, &texts)?.values;
            if let Some(at) = values.iter().position(|value| !value.is_finite()) {
                let id = &some[at / embedder.width()].id;
                return Err(Error::Task(format!("document {id:?}: its vector has numbers that are none")));
            }
            for value in values {
                vectors.write_all(&value.to_le_bytes()).map_err(Error::file(&vectors_at))?;
            }
            for document in some {
                starts.write_all(&start.to_le_bytes()).map_err(Error::file(&starts_at))?;
                let mut line = serde_json::to_vec(&document).unwrap_or_default();
                line.push(b'\n');
                documents.write_all(&line).map_err(Error::file(&documents_at))?;
                start += line.len() as u64;
                if let Some(id) = ids.replace(document.id) {
                    return Err(Error::Task(format!(
                        "two documents have the name {id:?}: each needs its own (--id)"
                    )));
                }
            }
        }
        if ids.is_empty() {
            return Err(Error::Task("there is no document to index".to_string()));
        }
        starts.write_all(&start.to_le_bytes()).map_err(Error::file(&starts_at))?;
        for (mut writer, path) in [(vectors, vectors_at), (documents, documents_at), (starts, starts_at)] {
            writer.flush().and_then(|()| writer.get_ref().sync_all()).map_err(Error::file(&path))?;
        }
        let facts = Facts {
            format: FORMAT,
            model: model.to_string(),
            documents: ids.len(),
            width: embedder.width(),
            normalised: embedder.normalises(),
            max_length: embedder.max_length(),
            probe: embedder.embed_as(Role::Any, &[PROBE])?.values,
        };
        let text = serde_json::to_vec_pretty(&facts).unwrap_or_default();
        topwork_weights::atomic::write(new.path().join(FACTS), &text)?;
        put(&new, folder).map_err(Error::file(folder))?;
        Ok(facts)
    }

    /// Opens an index.
    ///
    /// # Errors
    /// A folder that is none, or whose files do not fit together.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, Error> {
        let folder = folder.as_ref();
        let path = folder.join(FACTS);
        let text = fs::read(&path).map_err(Error::file(&path))?;
        let wrong = |what: &str| Error::Task(format!("{}: {what}; make the index again", folder.display()));
        let facts: Facts = serde_json::from_slice(&text).map_err(|e| wrong(&format!("{FACTS}: {e}")))?;
        if facts.format != FORMAT {
            return Err(wrong(&format!(
                "the index has format {}, this program reads {FORMAT}",
                facts.format
            )));
        }
        let map = |name: &str| -> Result<MappedFile, Error> {
            let path = folder.join(name);
            map_file(&path).map_err(Error::file(&path))
        };
        let (vectors, documents, starts) = (map(VECTORS)?, map(DOCUMENTS)?, map(STARTS)?);
        let size = facts.documents.checked_mul(facts.width).and_then(|values| values.checked_mul(4));
        if facts.width == 0 || facts.documents == 0 || size != Some(vectors.len()) {
            return Err(wrong(&format!("{VECTORS} is not {} vectors of {}", facts.documents, facts.width)));
        }
        if facts.probe.len() != facts.width {
            return Err(wrong(&format!("{FACTS} has a probe of {} numbers", facts.probe.len())));
        }
        let index = SearchIndex { folder: folder.to_path_buf(), facts, vectors, documents, starts };
        let count = index.facts.documents;
        if Some(index.starts.len()) != count.checked_add(1).and_then(|n| n.checked_mul(8))
            || index.start(count) != index.documents.len() as u64
        {
            return Err(wrong(&format!("{STARTS} does not fit {DOCUMENTS}")));
        }
        Ok(index)
    }

    /// What made it.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Number of documents, at least one.
    pub fn len(&self) -> usize {
        self.facts.documents
    }

    /// Never true: an index has at least one document.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A document by its number.
    ///
    /// # Errors
    /// Its line is broken.
    ///
    /// # Panics
    /// If there is no such number.
    pub fn document(&self, number: usize) -> Result<Document, Error> {
        assert!(number < self.len(), "document {number} of {}", self.len());
        let line = usize::try_from(self.start(number))
            .ok()
            .zip(usize::try_from(self.start(number + 1)).ok())
            .and_then(|(start, end)| self.documents.get(start..end));
        let broken = |reason: String| {
            Error::Task(format!(
                "{}: document {number} cannot be read ({reason}); make the index again",
                self.folder.join(DOCUMENTS).display()
            ))
        };
        let line = line.ok_or_else(|| broken("it has no place".to_string()))?;
        serde_json::from_slice(line).map_err(|error| broken(error.to_string()))
    }

    fn start(&self, number: usize) -> u64 {
        let bytes = self.starts[number * 8..].first_chunk::<8>();
        bytes.map_or(u64::MAX, |bytes| u64::from_le_bytes(*bytes))
    }

    /// Refuses a model that did not make this index.
    ///
    /// # Errors
    /// [`Error::Task`].
    pub fn check(&self, embedder: &Embedder) -> Result<(), Error> {
        let (expected, got) = (self.facts.width, embedder.width());
        if expected != got {
            return Err(Error::Task(format!(
                "{}: its vectors have {expected} numbers, those of the model {got}: it is not the model of this index ({})",
                self.folder.display(),
                self.facts.model
            )));
        }
        let near = cosine(&self.facts.probe, &embedder.embed_as(Role::Any, &[PROBE])?.values);
        if near < SAME {
            return Err(Error::Task(format!(
                "{}: the model gives other vectors than the one that made this index ({}): the cosine for a text that both embed is \
                 {near:.3}",
                self.folder.display(),
                self.facts.model
            )));
        }
        Ok(())
    }

    /// For each query the `top` documents with the greatest products, in that order; of equals the one that stands first in the
    /// index. All are compared, and the number of threads or of queries changes nothing.
    ///
    /// # Shapes
    /// - `queries`: `[queries, width]`
    ///
    /// # Errors
    /// A number of values that does not fit, or a value that is no number.
    pub fn search(&self, queries: &[f32], top: usize) -> Result<Vec<Vec<Hit>>, Error> {
        let width = self.facts.width;
        if !queries.len().is_multiple_of(width) || queries.iter().any(|value| !value.is_finite()) {
            return Err(Error::Task(format!("a query is {width} numbers, got {} values", queries.len())));
        }
        let mut found = Vec::with_capacity(queries.len() / width);
        for some in queries.chunks(QUERIES * width) {
            found.extend(self.search_some(some, top));
        }
        Ok(found)
    }

    fn search_some(&self, queries: &[f32], top: usize) -> Vec<Vec<Hit>> {
        let (width, rows) = (self.facts.width, queries.len() / self.facts.width);
        let chunks: Vec<Vec<Vec<Hit>>> = self
            .vectors
            .par_chunks(CHUNK * width * 4)
            .enumerate()
            .map(|(chunk, bytes)| {
                let values = floats(bytes);
                let count = values.len() / width;
                let mut scores = vec![0.0; rows * count];
                let (a, b) = (Mat::new(queries, rows, width), Mat::new(&values, count, width));
                alone(|| gemm::nt(a, b, MatMut::new(&mut scores, rows, count), None, false, Precision::F32));
                scores
                    .chunks(count)
                    .map(|scores| {
                        let found = best(count, top, &[], |at| Some(scores[at]));
                        found
                            .into_iter()
                            .map(|(at, score)| Hit { document: chunk * CHUNK + at, score })
                            .collect()
                    })
                    .collect()
            })
            .collect();
        (0..rows)
            .map(|row| {
                let mut hits: Vec<Hit> = chunks.iter().flat_map(|chunk| chunk[row].iter().copied()).collect();
                // `+ 0.0` makes equals of the two zeros.
                hits.sort_by(|a, b| {
                    (b.score + 0.0).total_cmp(&(a.score + 0.0)).then(a.document.cmp(&b.document))
                });
                hits.truncate(top);
                hits
            })
            .collect()
    }
}

/// Numbers of a mapped file, as they lie there where the machine has them in that order.
fn floats(bytes: &[u8]) -> std::borrow::Cow<'_, [f32]> {
    match bytemuck::try_cast_slice(bytes) {
        Ok(values) if cfg!(target_endian = "little") => std::borrow::Cow::Borrowed(values),
        _ => bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
    }
}

/// Puts a finished folder in its place.
fn put(new: &tempfile::TempDir, folder: &Path) -> std::io::Result<()> {
    if !folder.exists() {
        return fs::rename(new.path(), folder);
    }
    let aside = new.path().with_extension("old");
    fs::rename(folder, &aside)?;
    if let Err(error) = fs::rename(new.path(), folder) {
        fs::rename(&aside, folder)?;
        return Err(error);
    }
    // The new one stands: a leftover is no reason to fail.
    let _ = fs::remove_dir_all(aside);
    Ok(())
}
