//! What an encoder makes of the texts of a pool, computed once.

use std::collections::HashSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use topwork_data::Dataset;
use topwork_text::Input;

use crate::embedder::Embedder;
use crate::error::Error;
use crate::hub::hash::hex;

/// A text of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolText {
    /// The text.
    pub text: String,
    /// The second text of a pair.
    pub pair: Option<String>,
    /// Its row in the file, from 1.
    pub row: usize,
}

impl PoolText {
    /// What tells it from others.
    pub(super) fn key(&self) -> (&str, Option<&str>) {
        (&self.text, self.pair.as_deref())
    }
}

/// The texts of a file, each once, with the number of those that stood there before.
pub fn pool(dataset: &Dataset) -> (Vec<PoolText>, usize) {
    let mut seen = HashSet::new();
    let mut texts = Vec::new();
    for example in &dataset.examples {
        if seen.insert((&example.text, &example.pair)) {
            let (text, pair) = (example.text.clone(), example.pair.clone());
            texts.push(PoolText { text, pair, row: example.row });
        }
    }
    let again = dataset.len() - texts.len();
    (texts, again)
}

/// A row of numbers for each text.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    /// Numbers of a row.
    pub width: usize,
    /// `[texts, width]`, row-major.
    pub values: Vec<f32>,
}

impl Features {
    /// Texts.
    pub fn rows(&self) -> usize {
        self.values.len() / self.width.max(1)
    }

    /// The numbers of a text.
    pub fn row(&self, at: usize) -> &[f32] {
        &self.values[at * self.width..(at + 1) * self.width]
    }

    /// Some rows, one after the other.
    pub(super) fn gather(&self, rows: &[usize]) -> Vec<f32> {
        rows.iter().flat_map(|&row| self.row(row).iter().copied()).collect()
    }
}

/// Where features are kept between sessions, and who is told how far they are.
pub struct Kept<'a> {
    /// A folder; it is made where it is missing.
    pub folder: PathBuf,
    /// Is told the texts done, and all.
    pub progress: &'a dyn Fn(usize, usize),
}

/// Texts computed between two tellings.
const CHUNK: usize = 512;

/// The first bytes of a file of features.
const MARK: &[u8; 8] = b"twfeat01";

impl Features {
    /// Computes the features of texts, or finds them where they were kept for the same texts and the same model.
    ///
    /// # Errors
    /// A text that the tokenizer refuses, a model that is no longer there.
    pub fn of(
        embedder: &Embedder,
        model: &Path,
        texts: &[(&str, Option<&str>)],
        kept: &Kept,
    ) -> Result<Self, Error> {
        let width = embedder.width();
        let path = kept.folder.join(format!("{}.features", key(embedder, model, texts)?));
        if let Some(values) = read(&path, width, texts.len()) {
            return Ok(Features { width, values });
        }
        let mut values = Vec::with_capacity(texts.len() * width);
        for chunk in texts.chunks(CHUNK) {
            let inputs: Vec<Input<'_>> = chunk.iter().map(|&(text, pair)| Input { text, pair }).collect();
            values.extend(embedder.embed(&inputs)?.values);
            (kept.progress)(values.len() / width.max(1), texts.len());
        }
        // A folder that cannot be written to costs the next session its time, and this one nothing.
        if fs::create_dir_all(&kept.folder).is_ok() {
            let bytes = [MARK.as_slice(), bytemuck::cast_slice(&values)].concat();
            let _ = topwork_weights::atomic::write(&path, &bytes);
        }
        Ok(Features { width, values })
    }
}

/// The numbers in a file, if it is whole.
fn read(path: &Path, width: usize, texts: usize) -> Option<Vec<f32>> {
    let mut file = fs::File::open(path).ok()?;
    let bytes = MARK.len() + texts * width * size_of::<f32>();
    if file.metadata().ok()?.len() != bytes as u64 {
        return None;
    }
    let mut mark = [0; MARK.len()];
    file.read_exact(&mut mark).ok()?;
    let mut values = vec![0.0_f32; texts * width];
    file.read_exact(bytemuck::cast_slice_mut(&mut values)).ok()?;
    (mark == *MARK && values.iter().all(|value| value.is_finite())).then_some(values)
}

/// Everything that the numbers depend on: the program, the files of the model, how it is asked, the texts.
fn key(embedder: &Embedder, model: &Path, texts: &[(&str, Option<&str>)]) -> Result<String, Error> {
    let program = std::env::current_exe().and_then(fs::metadata);
    let program = program.map(|file| (file.len(), file.modified().ok())).ok();
    let mut hash = Sha256::new();
    let how = (embedder.max_length(), embedder.precision(), embedder.width(), embedder.model().spec());
    hash.update(format!("{program:?} {how:?} {:?}", files(model)?));
    for (text, pair) in texts {
        for part in [Some(*text), *pair] {
            // With its length, so that no two lists of texts are the same bytes.
            hash.update(part.map_or(u64::MAX, |part| part.len() as u64).to_le_bytes());
            hash.update(part.unwrap_or_default());
        }
    }
    Ok(hex(&hash.finalize()[..16]))
}

/// A file's path, length and time of change.
type Stamp = (PathBuf, u64, Option<std::time::SystemTime>);

/// The files of a model.
fn files(model: &Path) -> Result<Vec<Stamp>, Error> {
    let stamp = |path: &Path| -> Result<Option<Stamp>, Error> {
        let meta = fs::metadata(path).map_err(Error::file(path))?;
        let path = path.canonicalize().map_err(Error::file(path))?;
        Ok(meta.is_file().then(|| (path, meta.len(), meta.modified().ok())))
    };
    if let Some((adapter, base)) = topwork_models::adapted::halves(&model.to_string_lossy()) {
        return Ok([files(Path::new(adapter))?, files(Path::new(base))?].concat());
    }
    if !model.is_dir() {
        return Ok(stamp(model)?.into_iter().collect());
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(model).map_err(Error::file(model))? {
        found.extend(stamp(&entry.map_err(Error::file(model))?.path())?);
    }
    found.sort();
    Ok(found)
}
