//! A tokenizer into a model folder that transformers opens.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};
use tokenizers::normalizers::NormalizerWrapper;

use crate::pictures::PREPROCESSOR;
use crate::settings::ROLES;
use crate::{Error, Result, Tokenizer, formats};

impl Tokenizer {
    /// Writes `tokenizer.json` and `tokenizer_config.json`, and every other tokenizer file of the folder this one
    /// was read from (`vocab.txt`, `special_tokens_map.json`, ...); of pictures `preprocessor_config.json` alone. Files that say the same keep their bytes; each
    /// is written under a temporary name, synced, then renamed.
    ///
    /// # Errors
    /// [`Error::Write`] if the folder cannot be written.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<()> {
        let folder = folder.as_ref();
        if let Some(pictures) = &self.pictures {
            return write(&folder.join(PREPROCESSOR), &pictures.file);
        }
        let json = if self.source.changed { self.to_json()? } else { self.source.json.clone() };
        write(&folder.join("tokenizer.json"), &json)?;
        write(&folder.join("tokenizer_config.json"), &self.config()?)?;
        for (name, bytes) in &self.source.beside {
            if *name != "tokenizer_config.json" {
                write(&folder.join(name), bytes)?;
            }
        }
        Ok(())
    }

    /// `tokenizer.json` for what this tokenizer does now.
    pub(crate) fn to_json(&self) -> Result<Vec<u8>> {
        let failed = |error: tokenizers::Error| Error::Parse {
            path: self.source.path.clone(),
            reason: error.to_string(),
        };
        let mut whole = self.inner.clone();
        whole.with_post_processor(self.post.clone());
        Ok(whole.to_string(false).map_err(failed)?.into_bytes())
    }

    /// `tokenizer_config.json`: as it was, unless it lacks what transformers needs to do the same.
    fn config(&self) -> Result<Vec<u8>> {
        let mut config = self.settings.raw().clone();
        let mut set = |key: &str, value: Value| {
            if !config.contains_key(key) {
                config.insert(key.into(), value);
            }
        };
        if self.characters {
            set("tokenizer_class", json!(formats::CHARACTERS));
        }
        if let Some(NormalizerWrapper::BertNormalizer(normalizer)) = self.inner.get_normalizer() {
            // transformers takes these from here and not from tokenizer.json.
            set("do_lower_case", json!(normalizer.lowercase));
            set("strip_accents", json!(normalizer.strip_accents));
            set("tokenize_chinese_chars", json!(normalizer.handle_chinese_chars));
            set("tokenizer_class", json!("BertTokenizer"));
        } else {
            set("tokenizer_class", json!("PreTrainedTokenizerFast"));
        }
        let special = self.special_tokens();
        let ids =
            [special.cls, special.sep, special.mask, special.pad, special.unk, special.bos, special.eos];
        for ((role, _), id) in ROLES.iter().zip(ids) {
            if let Some(token) = id.and_then(|id| self.id_to_token(id)) {
                set(role, json!(self.settings.special_token(role)?.map_or(token, String::from)));
            }
        }
        let original = self.source.beside.iter().find(|(name, _)| *name == "tokenizer_config.json");
        match original {
            Some((_, bytes)) if config.len() == self.settings.raw().len() => Ok(bytes.clone()),
            _ => serde_json::to_vec_pretty(&config)
                .map_err(|error| Error::Parse { path: self.source.path.clone(), reason: error.to_string() }),
        }
    }
}

/// Writes a whole file or leaves the old one as it was.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = |source: std::io::Error| Error::Write { path: path.into(), source };
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let temporary = path.with_file_name(format!(".{name}.{}.part", std::process::id()));
    let written = File::create(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&temporary, path));
    written.map_err(|error| {
        // The part file is of no use to anyone; the first error is the one to report.
        let _ = std::fs::remove_file(&temporary);
        failed(error)
    })
}
