//! Models over one encoder: another head on the values that a model has, and heads that lie in the folders of adapters.

use std::path::Path;

use serde_json::{Map, Value};
use topwork_nn::ParamId;
use topwork_weights::{Named, SafeTensorsFile, safetensors};

use super::{HEAD_FILE, HEAD_WEIGHTS, Model, own};
use crate::error::Error;
use crate::head::HeadSpec;
use crate::joined;

impl Model {
    /// A model with another head over the same encoder. Nothing is read and no values are copied: parameters that both have are
    /// the same memory until one of them changes. Those that only the new one has are without values, and named.
    ///
    /// What is attached to this model is not attached to the new one.
    ///
    /// # Errors
    /// As [`Model::declare`]; a head that makes another model of it (a pair of which this is one side).
    pub fn beside(&self, spec: &HeadSpec) -> Result<(Model, Vec<ParamId>), Error> {
        let config = joined::fitted(&self.config, spec, None)?;
        let mut other = Self::declare_fitted(&config, spec, self.store.device())?;
        other.store.share(&self.store);
        for param in &self.carried {
            // A pooler that this head does without.
            if let Some(id) = other.store.unset().into_iter().find(|id| {
                let there = other.store.param(*id);
                there.path == param.path && there.file_shape() == param.shape
            }) {
                other.store.set(id, param.data.clone())?;
            }
        }
        let unset = other.store.unset();
        Ok((other, unset))
    }

    /// The parameters of the head and what goes with it (a pooler): those of the last depth group, where that is no layer.
    pub(super) fn head_group(&self) -> Vec<ParamId> {
        let top = self.store.top_group();
        let last = self.store.iter().filter(|(_, param)| param.group == top && !param.is_attachment());
        let ids: Vec<ParamId> = last.map(|(id, _)| id).collect();
        let layer = ids.iter().any(|&id| self.store.param(id).path.starts_with("layers."));
        if layer { Vec::new() } else { ids }
    }

    /// The files that say of a head what `config.json` and the weights of transformers have no word for, under their names in a
    /// folder: its settings with these notes, and those parameters that upstream has no class for.
    ///
    /// # Errors
    /// A parameter has no values.
    pub fn head_files(&self, notes: &Map<String, Value>) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let mut files = vec![(HEAD_FILE.to_string(), self.head_notes(notes))];
        if self.own_head() {
            files.push((HEAD_WEIGHTS.to_string(), self.head_bytes()?));
        }
        Ok(files)
    }

    /// The same for the folder of an adapter, which has no weights of the model beside it: all parameters of the head, but those
    /// that `elsewhere` says are in another file of the adapter, under their paths here.
    ///
    /// # Errors
    /// A parameter has no values.
    pub fn adapter_head_files(
        &self,
        notes: &Map<String, Value>,
        elsewhere: &[Named],
    ) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let mut tensors = Vec::new();
        for id in self.head_group() {
            let param = self.store.param(id);
            let upstream = self.upstream_name(&param.path);
            if !elsewhere.iter().any(|tensor| Some(&tensor.name) == upstream.as_ref()) {
                let (name, shape) = (param.path.clone(), param.shape.clone());
                tensors.push(Named { name, shape, data: self.store.values(id)?.into() });
            }
        }
        let mut files = vec![(HEAD_FILE.to_string(), self.head_notes(notes))];
        if !tensors.is_empty() {
            files.push((HEAD_WEIGHTS.to_string(), safetensors::to_bytes(&tensors)?));
        }
        Ok(files)
    }

    pub(super) fn head_notes(&self, notes: &Map<String, Value>) -> Vec<u8> {
        let mut notes = notes.clone();
        notes.insert("head".to_string(), serde_json::to_value(&self.spec).unwrap_or(Value::Null));
        serde_json::to_vec_pretty(&Value::Object(notes)).unwrap_or_default()
    }

    /// Takes the parameters of a file that [`Model::adapter_head_files`] wrote; their paths.
    ///
    /// # Errors
    /// A file that is broken, a parameter that this model does not have, or with another shape.
    pub fn take_head(&mut self, path: &Path) -> Result<Vec<String>, Error> {
        let file = SafeTensorsFile::open(path)?;
        let mut taken = Vec::new();
        for name in file.names() {
            let shape = file.shape(name).unwrap_or_default();
            let id = self.store.id(name).ok().filter(|&id| self.store.param(id).shape == shape);
            let Some(id) = id else {
                let reason = format!("{name} of the shape {shape:?}: the model has nothing that it fits");
                return Err(Error::Unreadable { path: path.to_path_buf(), reason });
            };
            self.store.set(id, file.read(name)?)?;
            taken.push(name.to_string());
        }
        Ok(taken)
    }

    /// The file of a head that no upstream class has.
    pub(super) fn head_bytes(&self) -> Result<Vec<u8>, Error> {
        // The map of an `embed` head stands in a folder of its own, where sentence-transformers looks for it.
        let elsewhere = matches!(self.spec, HeadSpec::Embed { .. }) && self.pooled().is_some();
        self.bytes_of(|path| (!elsewhere || own::linear(path).is_none()).then(|| path.to_string()))
    }
}
