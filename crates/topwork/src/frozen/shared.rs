//! What frozen layers make of texts, for several runs of one process.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};
use topwork_models::Model;
use topwork_text::Packed;

use super::{Kept, Place};
use crate::error::Error;

/// Rows that several runs read: the same layers of the same values make the same of the same texts, whatever is learnt above
/// them, so a study computes that once.
#[derive(Default)]
pub struct SharedFeatures {
    /// By what they are made of, the newest last.
    kept: Mutex<Vec<(Key, Arc<Kept>)>>,
}

/// A digest of everything that the rows depend on.
pub(super) type Key = [u8; 32];

impl SharedFeatures {
    /// Those that were kept before.
    pub(super) fn get(&self, key: &Key) -> Option<Arc<Kept>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|(own, _)| own == key).map(|(_, rows)| Arc::clone(rows))
    }

    /// Keeps some more, and of the others, the newest first, as many as take up to `most_bytes` together.
    pub(super) fn add(&self, key: Key, rows: &Arc<Kept>, most_bytes: u64) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push((key, Arc::clone(rows)));
        let mut bytes = 0;
        let within = |(_, rows): &&(Key, Arc<Kept>)| {
            bytes += rows.bytes();
            bytes <= most_bytes
        };
        let stay = kept.iter().rev().take_while(within).count();
        let older = kept.len() - stay;
        kept.drain(..older);
    }
}

/// What the first `depth` parts of a model, read as its head reads them, make of texts depends on this.
pub(super) fn key(model: &Model, depth: usize, texts: &Packed, place: &Place) -> Result<Key, Error> {
    let mut digest = Sha256::new();
    let reads = (depth, model.width_to(depth), model.parts_read(), model.layers_read(), model.pooled());
    digest.update(format!("{reads:?} {:?} {}\n", place.precision, model.config));
    let lower = |param: &&topwork_nn::Param| param.group < depth && !param.path.starts_with("head.");
    for (id, param) in model.store.iter().filter(|(_, param)| lower(param)) {
        digest.update(format!("{} {:?}\n", param.path, param.shape));
        digest.update(bytemuck::cast_slice(&model.store.values(id)?));
    }
    // Whatever a batch may carry.
    serde_json::to_writer(&mut digest, texts)
        .map_err(|error| Error::file(place.folder)(io::Error::other(error)))?;
    Ok(digest.finalize().into())
}
