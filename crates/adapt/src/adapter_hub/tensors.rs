//! The tensors of a file of the package, by the places that they are for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use topwork_nn::ParamStore;
use topwork_weights::Checkpoint;

use super::{ADAPTERS_OF, SHARED, place};
use crate::Part;
use crate::compacter::RULE;
use crate::error::Error;
use crate::peft::Upstream;

/// The tensors of a file.
pub(super) struct Tensors {
    path: PathBuf,
    file: Checkpoint,
    /// By what stands around the name of the adapter: the module it stands in, and the parameter.
    by_place: BTreeMap<(String, String), String>,
}

impl Tensors {
    /// The file of one of these names, in which `mark` stands before the names of adapters.
    ///
    /// # Errors
    /// A file that is missing or broken, or has other tensors.
    pub fn open(folder: &Path, names: [&str; 2], mark: &str) -> Result<Self, Error> {
        let named = names.map(|name| folder.join(name));
        let path = named.iter().find(|path| path.is_file()).unwrap_or(&named[0]).clone();
        let file = Checkpoint::open(&path)?;
        let mut by_place = BTreeMap::new();
        for name in file.names() {
            let shared = name.starts_with(SHARED) || name.contains(&format!(".{SHARED}."));
            let parts = match shared {
                true => name.rsplit_once('.').map(|(_, param)| (SHARED.to_string(), param)),
                false => name.split_once(&format!("{mark}.")).and_then(|(module, rest)| {
                    let (_, param) = rest.split_once('.')?;
                    Some((format!("{module}{ADAPTERS_OF}"), param))
                }),
            };
            let Some((place, param)) = parts else {
                let reason = format!("{name}: no tensor of a bottleneck adapter");
                return Err(Error::File { path, reason });
            };
            by_place.insert((place, param.to_string()), name.to_string());
        }
        Ok(Tensors { path, file, by_place })
    }

    /// The shape of the first tensor whose name ends so.
    pub fn shape_of_one(&self, end: &str) -> Option<&[usize]> {
        self.file.names().find(|name| name.ends_with(end)).and_then(|name| self.file.shape(name))
    }

    /// The tensor that is a parameter of the adapter in the block that ends in that weight.
    pub fn find(&self, upstream: &Upstream, weight: &str, param: &str) -> Option<&str> {
        let (place, param) = match param.strip_prefix("shared.") {
            Some(param) => (SHARED.to_string(), param),
            None => (place(upstream, weight), param),
        };
        self.by_place.iter().find_map(|((stands, name), tensor)| {
            let same = *stands == place
                || stands.strip_suffix(&place).is_some_and(|before| before.ends_with('.'))
                || place.strip_suffix(stands).is_some_and(|before| before.ends_with('.'));
            (same && name == param).then_some(tensor.as_str())
        })
    }

    /// Gives the parameters of an adapter their values, all that there are.
    ///
    /// # Errors
    /// [`Error::File`]: one without a tensor, or of another shape; a tensor that is left over.
    pub fn fill(&self, parts: &[Part], store: &mut ParamStore, upstream: &Upstream) -> Result<(), Error> {
        let wrong = |reason: String| Error::File { path: self.path.clone(), reason };
        let mut used = BTreeSet::new();
        for part in parts {
            for &(name, id) in &part.params {
                let Some(tensor) = self.find(upstream, &part.weight, name) else {
                    return Err(wrong(format!("there is no {name} for {}", part.weight)));
                };
                let cube = [store.param(id).shape[0]; 3];
                let expected = if name == RULE { &cube } else { store.param(id).shape.as_slice() };
                if self.file.shape(tensor) != Some(expected) {
                    let got = self.file.shape(tensor).unwrap_or_default();
                    return Err(wrong(format!("{tensor}: expected the shape {expected:?}, got {got:?}")));
                }
                store.set(id, self.file.read(tensor)?)?;
                used.insert(tensor);
            }
        }
        match self.file.names().find(|name| !used.contains(*name)) {
            Some(name) => Err(wrong(format!("{name}: this model has nothing that it fits"))),
            None => Ok(()),
        }
    }
}
