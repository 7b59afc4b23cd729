//! The frozen lower part of an encoder in training: it works as in inference, and what it makes of each text is
//! computed once and kept.
//!
//! What is kept is the same to the bit as what is computed for a batch, because a text's numbers do not depend on the
//! texts beside it. So whether there was room for it changes the time of a run and nothing else.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use burn::tensor::{Tensor, TensorData};
use topwork_kernels::gemm::Precision;
use topwork_kernels::{MappedFile, map_open};
use topwork_models::{Model, model::plain};
use topwork_nn::Pass;
use topwork_text::Packed;

use crate::error::Error;
use crate::scoring::{Outputs, in_batches, outputs_of};
use crate::tasks::{Part, TaskBatch};

mod shared;

pub use shared::SharedFeatures;

/// The frozen part of a model.
#[derive(Default)]
pub(crate) struct Frozen {
    /// Parts of the encoder it has, as `Model::features_to` counts them; 0 if all of it learns.
    pub depth: usize,
    /// What it makes of the training and the development texts.
    kept: Option<[Arc<Kept>; 2]>,
}

/// A set of texts.
#[derive(Clone, Copy)]
pub(crate) enum Set {
    /// For training.
    Train,
    /// For development.
    Dev,
    /// Beside those for training: nothing is kept of them.
    Beside,
}

/// Where to keep what is computed.
pub(crate) struct Place<'a> {
    pub folder: &'a Path,
    pub most_bytes: u64,
    pub stop: &'a AtomicBool,
    pub precision: Precision,
    pub shared: Option<&'a SharedFeatures>,
}

/// Rows for each text of a set, in a file.
struct Kept {
    rows: MappedFile,
    /// Where each text's rows begin, and where the last one's end.
    starts: Vec<usize>,
    width: usize,
}

/// Tokens computed between two writes.
const CHUNK: usize = 1 << 16;

impl Frozen {
    /// The first `depth` parts of the encoder; nothing is kept yet.
    pub fn below(depth: usize) -> Self {
        Frozen { depth, kept: None }
    }

    /// Computes what there is to keep, and says so.
    pub fn keep(&mut self, model: &Model, sets: [&Packed; 2], place: &Place) -> Result<String, Error> {
        let started = Instant::now();
        let name = if self.is_whole(model) {
            "frozen encoder".to_string()
        } else {
            format!("frozen embeddings and first {} of {} layers", self.depth - 1, model.depth() - 1)
        };
        let count: usize = sets.iter().map(|texts| self.rows(model, texts).sum::<usize>()).sum();
        let bytes = (count * model.width_to(self.depth) * size_of::<f32>()) as u64;
        let megabytes = bytes.div_ceil(1_000_000);
        if bytes > place.most_bytes {
            let most = place.most_bytes as f64 / 1e9;
            return Ok(format!(
                "{name}: computed anew in each step, because keeping the outputs takes {megabytes} MB and \
                 train.frozen-gigabytes is {most}"
            ));
        }
        let mut kept = Vec::with_capacity(sets.len());
        let mut found = 0;
        for texts in sets {
            let key = place.shared.map(|_| shared::key(model, self.depth, texts, place)).transpose()?;
            let both = place.shared.zip(key);
            if let Some(rows) = both.and_then(|(shared, key)| shared.get(&key)) {
                kept.push(rows);
                found += 1;
                continue;
            }
            match self.compute(model, texts, place) {
                Ok(Some(rows)) => {
                    let rows = Arc::new(rows);
                    if let Some((shared, key)) = both {
                        shared.add(key, &rows, place.most_bytes);
                    }
                    kept.push(rows);
                }
                Ok(None) => return Ok(format!("{name}: interrupted")),
                Err(Error::File { source, .. }) if is_full(&source) => {
                    return Ok(format!(
                        "{name}: computed anew in each step, because {} has no room for {megabytes} MB",
                        place.folder.display()
                    ));
                }
                Err(error) => return Err(error),
            }
        }
        self.kept = kept.try_into().ok();
        if found == sets.len() {
            return Ok(format!("{name}: outputs taken from a run before ({megabytes} MB on disk)"));
        }
        let seconds = started.elapsed().as_secs_f64();
        Ok(format!(
            "{name}: outputs computed once, without dropout, in {seconds:.1} s for all epochs ({megabytes} MB on disk)"
        ))
    }

    /// What the head reads, for some texts of a set.
    pub fn features(
        &self,
        model: &Model,
        pass: &Pass,
        packed: &Packed,
        set: Set,
        indices: &[usize],
    ) -> Result<Tensor<2>, Error> {
        if self.depth == 0 {
            return Ok(model.features(pass, packed)?);
        }
        let lower = match self.kept.as_ref().and_then(|kept| kept.get(set as usize)) {
            Some(kept) => kept.of(indices, model),
            None => model.features_to(&Pass::eval(&model.store, pass.precision()), packed, self.depth)?,
        };
        Ok(model.features_from(pass, lower, packed, self.depth)?)
    }

    /// Outputs over a whole set.
    pub fn outputs(
        &self,
        model: &Model,
        part: &Part,
        set: Set,
        precision: Precision,
    ) -> Result<Outputs, Error> {
        let features =
            |pass: &Pass, batch: &TaskBatch| self.features(model, pass, &batch.packed, set, &batch.texts);
        let pooled = self.kept.is_some() && self.is_whole(model) && model.pooled().is_some();
        // What is kept is one row a text.
        let costs = if pooled { vec![1; part.len()] } else { part.costs() };
        outputs_of(model, part, precision, costs, features)
    }

    /// Rows that come out of this part, for each text.
    fn rows(&self, model: &Model, texts: &Packed) -> impl Iterator<Item = usize> {
        let pooled = self.is_whole(model) && model.pooled().is_some();
        texts.lengths().map(move |length| if pooled { 1 } else { length })
    }

    fn is_whole(&self, model: &Model) -> bool {
        self.depth == model.depth()
    }

    /// `None` if it was stopped.
    fn compute(&self, model: &Model, texts: &Packed, place: &Place) -> Result<Option<Kept>, Error> {
        let mut file = tempfile::tempfile_in(place.folder).map_err(Error::file(place.folder))?;
        let lengths: Vec<usize> = texts.lengths().collect();
        let mut first = 0;
        while first < lengths.len() {
            if place.stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let mut tokens = 0;
            let within = |length: &&usize| {
                tokens += **length;
                tokens <= CHUNK
            };
            let count = lengths[first..].iter().take_while(within).count().max(1);
            let parts = in_batches(lengths[first..first + count].iter().copied(), |indices| {
                let indices: Vec<usize> = indices.iter().map(|index| first + index).collect();
                let pass = Pass::eval(&model.store, place.precision);
                let lower = model.features_to(&pass, &texts.select(&indices), self.depth)?;
                Ok(plain(lower)?)
            })?;
            for part in parts {
                file.write_all(bytemuck::cast_slice(&part)).map_err(Error::file(place.folder))?;
            }
            first += count;
        }
        Kept::new(&file, self.rows(model, texts), model.width_to(self.depth))
            .map(Some)
            .map_err(Error::file(place.folder))
    }
}

impl Kept {
    fn new(file: &File, rows: impl Iterator<Item = usize>, width: usize) -> io::Result<Self> {
        let mut starts = vec![0];
        starts.extend(rows.scan(0, |end, rows| {
            *end += rows;
            Some(*end)
        }));
        Ok(Kept { rows: map_open(file)?, starts, width })
    }

    fn bytes(&self) -> u64 {
        self.rows.len() as u64
    }

    /// The rows of some texts, one after the other.
    fn of(&self, indices: &[usize], model: &Model) -> Tensor<2> {
        // A map begins at a page, which is aligned for any number.
        let rows: &[f32] = bytemuck::cast_slice(&self.rows);
        let mut values = Vec::new();
        for &index in indices {
            values.extend_from_slice(
                &rows[self.starts[index] * self.width..self.starts[index + 1] * self.width],
            );
        }
        let count = values.len() / self.width;
        Tensor::from_data(TensorData::new(values, [count, self.width]), model.store.device())
    }
}

/// Whether an error says that a disk, or the user's share of it, is full.
fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
