//! Writing a model folder.

use std::path::Path;

use serde_json::{Map, Value};
use topwork_text::pictures::PREPROCESSOR;
use topwork_weights::{ModelFolder, Named, safetensors};

use crate::error::Error;
use crate::family::NO_LIMIT;
use crate::head::HeadSpec;
use crate::model::{HEAD_WEIGHTS, Model, is_head, own};
use crate::patches::PREPROCESSING;
use crate::sentence::Written;

/// What goes into a saved folder beside the weights.
#[derive(Clone, Debug, Default)]
pub struct SaveOptions {
    /// Further files: name and content (tokenizer, card).
    pub files: Vec<(String, Vec<u8>)>,
    /// Further keys for [`HEAD_FILE`](crate::model::HEAD_FILE).
    pub notes: Map<String, Value>,
    /// The files of an adapter that no weights can take up. The folder then holds the model without it and these, apart.
    pub adapter: Vec<(String, Vec<u8>)>,
}

impl Model {
    /// Writes a model folder: config.json, model.safetensors under the upstream names, [`HEAD_FILE`](crate::model::HEAD_FILE), and the
    /// files given. What stood in the folder is replaced as a whole.
    ///
    /// # Errors
    /// The folder cannot be written, or a parameter has no values; [`Error::Grafted`] where an adapter that no weights can take up
    /// is attached and its files are not given.
    pub fn save(&self, folder: &Path, options: &SaveOptions) -> Result<(), Error> {
        if options.adapter.is_empty() {
            self.no_grafts("a model folder without it")?;
        }
        let tensors = self.export()?;
        let mut own = self.head_files(&options.notes)?;
        own.extend(self.sentence_files(&options.notes)?);
        fn borrowed<'a>(files: impl Iterator<Item = &'a (String, Vec<u8>)>) -> Vec<(&'a str, &'a [u8])> {
            files.map(|(name, content)| (name.as_str(), content.as_slice())).collect()
        }
        let prepared = self.config.get(PREPROCESSING);
        let there = options.files.iter().any(|(name, _)| name == PREPROCESSOR);
        if let Some(settings) = prepared.filter(|_| !there) {
            own.push((PREPROCESSOR.to_string(), format!("{settings:#}\n").into_bytes()));
        }
        let files = borrowed(own.iter().chain(&options.files));
        let (config, adapter) = (self.saved_config(), borrowed(options.adapter.iter()));
        let folder_of = ModelFolder { config: &config, tensors: &tensors, files: &files, adapter: &adapter };
        Ok(folder_of.write(folder)?)
    }

    /// Refuses to write what cannot say that something is attached to the blocks.
    ///
    /// # Errors
    /// [`Error::Grafted`].
    pub fn no_grafts(&self, what: &'static str) -> Result<(), Error> {
        if self.store.has_grafts() { Err(Error::Grafted { what }) } else { Ok(()) }
    }

    /// Writes only the head's own weights into a folder that [`Model::save`] wrote before: all that changes while the
    /// encoder is frozen. False, and nothing is written, if the head's weights, or some of them, stand among the encoder's.
    ///
    /// # Errors
    /// The file cannot be written, or a parameter has no values.
    pub fn save_head(&self, folder: &Path) -> Result<bool, Error> {
        if self.store.has_grafts() {
            return Ok(false);
        }
        let elsewhere = self.store.iter().any(|(_, p)| p.group > self.encoder.parts() && !is_head(&p.path));
        if !self.own_head() || elsewhere || !folder.join(HEAD_WEIGHTS).is_file() {
            return Ok(false);
        }
        topwork_weights::atomic::write(folder.join(HEAD_WEIGHTS), &self.head_bytes()?)?;
        Ok(true)
    }

    /// A file of those parameters of the head that have a name in it.
    pub(super) fn bytes_of(&self, name: impl Fn(&str) -> Option<String>) -> Result<Vec<u8>, Error> {
        let mut head = Vec::new();
        for (id, path) in self.head_params() {
            let Some(name) = name(&path) else { continue };
            let shape = self.store.param(id).shape.clone();
            head.push(Named { name, shape, data: self.store.values(id)?.into() });
        }
        Ok(safetensors::to_bytes(&head)?)
    }

    /// The files by which sentence-transformers opens what [`Model::save`] writes of a model of texts, with the keys `max-length` and `lowercase` of
    /// the notes; none for another head than `embed`, and where tokens are pooled by what is learnt.
    ///
    /// # Errors
    /// A parameter has no values.
    pub fn sentence_files(&self, notes: &Map<String, Value>) -> Result<Vec<(String, Vec<u8>)>, Error> {
        // sentence-transformers reads pictures with other modules than these.
        if self.family.reads_pictures() {
            return Ok(Vec::new());
        }
        let (HeadSpec::Embed { normalise, dense, .. }, Some(pool)) = (&self.spec, self.pooled()) else {
            return Ok(Vec::new());
        };
        let weights = self.bytes_of(own::linear)?;
        let most = Some(self.size().max_tokens).filter(|&most| most != NO_LIMIT);
        let length = notes.get("max-length").and_then(Value::as_u64).map(|length| length as usize);
        let written = Written {
            pool,
            normalise: *normalise,
            dense: dense.map(|dense| (dense, weights.as_slice())),
            hidden: self.size().hidden,
            max_length: length.or(most),
            lowercase: notes.get("lowercase").and_then(Value::as_bool) == Some(true),
        };
        Ok(written.files())
    }
}
