//! Files of a head's own parameters: those that no upstream class has, and the map of a sentence-transformers folder.

use topwork_weights::{Checkpoint, SafeTensorsFile};

use crate::error::Error;
use crate::head::HeadSpec;
use crate::model::HEAD_WEIGHTS;
use crate::sentence::Sentence;
use crate::source::Source;

/// Where the parameters of a map lie, below which path.
pub(super) const DENSE: &str = "head.dense.";

/// What sentence-transformers calls the same.
const LINEAR: &str = "linear.";

/// The files of a folder that hold parameters of its head.
pub(super) struct HeadFiles {
    own: Option<SafeTensorsFile>,
    dense: Option<Checkpoint>,
}

impl HeadFiles {
    /// Opens those that are there.
    pub fn open(source: &Source, spec: &HeadSpec) -> Result<Self, Error> {
        let own = source.beside(HEAD_WEIGHTS).map(SafeTensorsFile::open).transpose()?;
        let dense = match spec {
            HeadSpec::Embed { dense: Some(_), .. } => Sentence::read(source)?.and_then(|found| found.dense),
            _ => None,
        };
        Ok(HeadFiles { own, dense: dense.map(Checkpoint::open).transpose()? })
    }

    /// None are looked into.
    pub fn none() -> Self {
        HeadFiles { own: None, dense: None }
    }

    /// The values of a parameter of this shape; `None` if it is not among them.
    ///
    /// # Errors
    /// Another shape, a file that is broken.
    pub fn read(&self, path: &str, shape: &[usize]) -> Result<Option<Vec<f32>>, Error> {
        if let Some(dense) = &self.dense
            && let Some(name) = linear(path)
            && let Some(found) = dense.shape(&name)
        {
            if found == shape {
                return Ok(Some(dense.read(&name)?));
            }
            let reason = format!("{name}: expected the shape {shape:?}, got {found:?}");
            return Err(Error::Unreadable { path: dense.path().to_path_buf(), reason });
        }
        match &self.own {
            Some(own) if own.shape(path).is_some() => Ok(Some(own.read(path)?)),
            _ => Ok(None),
        }
    }

    /// Whether a parameter is among them.
    pub fn has(&self, path: &str) -> bool {
        let in_dense = |dense: &Checkpoint| linear(path).is_some_and(|name| dense.shape(&name).is_some());
        self.dense.as_ref().is_some_and(in_dense)
            || self.own.as_ref().is_some_and(|own| own.shape(path).is_some())
    }
}

/// What sentence-transformers calls a parameter of a map; `None` for others.
pub(super) fn linear(path: &str) -> Option<String> {
    path.strip_prefix(DENSE).map(|name| format!("{LINEAR}{name}"))
}
