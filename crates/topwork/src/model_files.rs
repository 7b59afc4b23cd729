//! What lies with a model beside its weights, wherever that is: the tokenizer, the template of conversations, the ids that
//! end a text.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;
use topwork_models::Source;
use topwork_models::adapted::{halves, is_adapter, vision_of};
use topwork_models::source::{is_adapted, read_json};
use topwork_text::{ChatTemplate, GgufParts, Tokenizer};
use topwork_weights::format::head_of;
use topwork_weights::gguf::{GgufTokenizer, List, Metadata};
use topwork_weights::pytorch::{FlairModel, PYTORCH, PyTorchFile};
use topwork_weights::{Checkpoint, Gguf, TensorFile};

use crate::error::Error;

/// The tokenizer of a model, or what makes tokens of its pictures: of its folder, or of the file it is, GGUF or a language model of flair.
///
/// # Errors
/// There is none, or it is broken.
pub fn tokenizer(path: impl AsRef<Path>) -> Result<Tokenizer, Error> {
    let path = &*under(path.as_ref())?;
    if let Some(whole) = path.to_str().and_then(vision_of) {
        return Ok(Tokenizer::of_pictures(whole)?);
    }
    if let Some(file) = gguf(path) {
        let file = Gguf::open(file)?;
        if let Some(parts) = parts(&file)? {
            return Ok(Tokenizer::from_gguf(&parts)?);
        }
    }
    if let Some(found) = flair(path)? {
        return Ok(found);
    }
    let folder = folder(path)?;
    match Tokenizer::from_folder(&folder) {
        Err(error @ topwork_text::Error::NoTokenizer { .. }) => match llama2c(&folder) {
            Some(own) => Ok(Tokenizer::from_llama2c(own)?),
            None => Err(error.into()),
        },
        found => Ok(found?),
    }
}

/// The tokenizer of the texts that a model writes, where it is another one than that of the texts it reads (Marian's
/// `target.spm`).
///
/// # Errors
/// It is broken.
pub fn target_tokenizer(path: impl AsRef<Path>) -> Result<Option<Tokenizer>, Error> {
    let pieces = folder(path.as_ref())?.join("target.spm");
    Ok(if pieces.is_file() { Some(Tokenizer::from_file(pieces)?) } else { None })
}

/// The tokenizer of llama2.c in a folder: `tokenizer.bin`, or the one `tok*.bin` (`tok512.bin` of a vocabulary of 512).
fn llama2c(folder: &Path) -> Option<PathBuf> {
    let best = folder.join("tokenizer.bin");
    if best.is_file() {
        return Some(best);
    }
    let ours = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        name.starts_with("tok") && name.ends_with(".bin")
    };
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path())).filter(ours).collect();
    if found.len() == 1 { found.pop() } else { None }
}

/// The template of conversations, if the model has one.
///
/// # Errors
/// It is no template, or the file it stands in is broken.
pub fn chat_template(path: impl AsRef<Path>) -> Result<Option<ChatTemplate>, Error> {
    let path = &*under(path.as_ref())?;
    let Some(file) = gguf(path) else { return Ok(ChatTemplate::from_folder(folder(path)?)?) };
    let template = Gguf::open(&file)?.tokenizer()?.and_then(|tokenizer| tokenizer.chat_template);
    Ok(template.map(|template| ChatTemplate::new(&file, &template)).transpose()?)
}

/// The ids that end a text: those that `generation_config.json` names, or else the model's settings, or else the
/// tokenizer's token at the end of a text.
///
/// # Errors
/// A file that cannot be read.
pub fn end_ids(path: impl AsRef<Path>, tokenizer: &Tokenizer) -> Result<Vec<u32>, Error> {
    let source = Source::find(path)?;
    let mut settings = vec![source.config().clone()];
    if source.beside(GENERATION).is_some() {
        settings.insert(0, read_json(source.folder(), GENERATION)?);
    }
    let ids = |value: &Value| -> Vec<u32> {
        let one = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
        match value {
            Value::Array(several) => several.iter().filter_map(one).collect(),
            value => one(value).into_iter().collect(),
        }
    };
    let said = settings.iter().filter_map(|settings| settings.get("eos_token_id")).map(ids);
    let own = || tokenizer.special_tokens().eos.into_iter().collect();
    Ok(said.into_iter().find(|ids| !ids.is_empty()).unwrap_or_else(own))
}

/// What a model says of how it writes.
pub(crate) const GENERATION: &str = "generation_config.json";

/// The model under an adapter, whose files count; of others the path itself.
fn under(path: &Path) -> Result<Cow<'_, Path>, Error> {
    if let Some((_, model)) = path.to_str().and_then(halves).filter(|(_, model)| vision_of(model).is_some()) {
        return Ok(Cow::Borrowed(Path::new(model)));
    }
    let adapted = is_adapter(path) || path.to_str().is_some_and(|text| halves(text).is_some());
    Ok(if adapted { Cow::Owned(Source::find(path)?.weights().to_path_buf()) } else { Cow::Borrowed(path) })
}

/// Where the files of a model lie. Weights of which nothing says what model they are can have a tokenizer too.
fn folder(path: &Path) -> Result<PathBuf, Error> {
    let path = &*under(path)?;
    if path.is_dir() && !is_adapted(path) {
        return Ok(path.to_path_buf());
    }
    Ok(Source::find(path)?.folder().to_path_buf())
}

/// The file of weights that a model is: the path itself, or the weights of a folder without a tokenizer.
fn alone(path: &Path) -> Option<PathBuf> {
    if !path.is_dir() {
        return Some(path.to_path_buf());
    }
    let bare = !Tokenizer::is_in(path).unwrap_or(true);
    Some(Checkpoint::open(path).ok().filter(|_| bare)?.path().to_path_buf())
}

/// The GGUF file that a model is, if it is one.
fn gguf(path: &Path) -> Option<PathBuf> {
    let file = alone(path)?;
    let mut head = [0; 4];
    File::open(&file).and_then(|mut file| file.read_exact(&mut head)).ok()?;
    (&head == b"GGUF").then_some(file)
}

/// The tokenizer of the language model of flair that a file is, if it is one.
fn flair(path: &Path) -> Result<Option<Tokenizer>, Error> {
    let Some(file) = alone(path) else { return Ok(None) };
    let is_pytorch = |head: Vec<u8>| (PYTORCH.is)(&file, &head);
    if !head_of(&file).is_ok_and(is_pytorch) {
        return Ok(None);
    }
    let file = PyTorchFile::open(&file)?;
    let Some(FlairModel { characters, forward, delimiter, .. }) = file.flair() else { return Ok(None) };
    Ok(Some(Tokenizer::from_characters(file.path(), characters, delimiter, *forward)?))
}

/// What a file says of its tokenizer, as the reader of tokenizers takes it.
fn parts(file: &Gguf) -> Result<Option<GgufParts>, Error> {
    let Some(GgufTokenizer {
        model,
        pre,
        tokens,
        scores,
        token_types,
        merges,
        bos,
        eos,
        unk,
        sep,
        pad,
        mask,
        cls,
        add_bos,
        add_eos,
        add_space_prefix,
        chat_template: _,
    }) = file.tokenizer()?
    else {
        return Ok(None);
    };
    let id = |id: Option<usize>| id.map(|id| id as u32);
    Ok(Some(GgufParts {
        path: file.path().to_path_buf(),
        model,
        pre: pre.unwrap_or_default(),
        tokens,
        scores,
        token_types,
        merges,
        bos: id(bos),
        eos: id(eos),
        unk: id(unk),
        pad: id(pad),
        cls: id(cls),
        sep: id(sep),
        mask: id(mask),
        add_bos,
        add_eos,
        add_space_prefix,
        charsmap: charsmap(file.metadata()),
    }))
}

/// The table by which Unigram models change characters, a list of bytes of either kind.
fn charsmap(metadata: &Metadata) -> Vec<u8> {
    match metadata.get("tokenizer.ggml.precompiled_charsmap").and_then(|value| value.as_list()) {
        Some(List::U8(bytes)) => bytes.clone(),
        Some(List::I8(bytes)) => bytes.iter().map(|byte| byte.cast_unsigned()).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
#[path = "model_files_tests.rs"]
mod tests;
