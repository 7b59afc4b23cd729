//! The forms that published tokenizers come in beside `tokenizer.json`, each made into one.
//!
//! What is made equals what transformers' `convert_slow_tokenizer.py` makes of the same files, so that the ids are
//! those of its fast tokenizers, and everything after the reading is the same for all forms.

mod characters;
mod charsmap;
mod class;
mod flair;
mod gguf;
mod json;
mod languages;
mod llama2c;
mod marian;
mod pairs;
mod parts;
mod proto;
mod scores;
mod sentencepiece;
mod splits;
mod to_gguf;
mod wire;
mod wordpiece;

use std::path::{Path, PathBuf};

pub(crate) use characters::CHARACTERS;
use class::{Build, Class};
pub use gguf::GgufParts;
use parts::{Parts, filled};

use crate::settings::{Settings, object, read_optional};
use crate::{Error, Result, pictures};

/// Longest token that a vocabulary may have, in bytes. Real ones are below 2,000.
const LONGEST: usize = 1 << 16;

/// Names that SentencePiece models have in published folders.
const MODELS: [&str; 5] =
    ["spiece.model", "sentencepiece.bpe.model", "tokenizer.model", "spm.model", "sentencepiece.model"];

/// The files of a folder that a tokenizer is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Files {
    /// `tokenizer.json`.
    Json(PathBuf),
    /// `vocab.txt`.
    WordPiece(PathBuf),
    /// `vocab.json` and `merges.txt`.
    Pairs([PathBuf; 2]),
    /// A SentencePiece model.
    Pieces(PathBuf),
    /// `vocab.json` and the SentencePiece model whose pieces it numbers.
    Numbered([PathBuf; 2]),
    /// The settings of an ELMo, whose words are their characters.
    Characters(PathBuf),
    /// How the pictures of a model are prepared.
    Pictures(PathBuf),
}

impl Files {
    /// The files of a folder: those that its class is made from, or else the first form of which all files are there.
    pub fn find(folder: &Path) -> Result<Option<Self>> {
        let there = |name: &str| Some(folder.join(name)).filter(|path| path.is_file());
        if let Some(path) = pictures::settings_in(folder)? {
            return Ok(Some(Self::Pictures(path)));
        }
        if let Some(path) = there("tokenizer.json") {
            return Ok(Some(Self::Json(path)));
        }
        if let Some(path) = characters::settings_in(folder)? {
            return Ok(Some(Self::Characters(path)));
        }
        let pair = |first, second| Some([there(first)?, there(second)?]);
        let forms = [
            there("vocab.txt").map(Self::WordPiece),
            pair("vocab.json", "merges.txt").map(Self::Pairs),
            pair("vocab.json", "source.spm").map(Self::Numbered),
            MODELS.iter().find_map(|name| there(name)).map(Self::Pieces),
        ];
        let found: Vec<Self> = forms.into_iter().flatten().collect();
        if found.len() > 1 {
            let (settings, _) = Settings::read(folder)?;
            let (class, _) = class::find(folder, &settings)?;
            if let Some(files) = found.iter().find(|files| class.is_some_and(|class| files.fit(class))) {
                return Ok(Some(files.clone()));
            }
        }
        Ok(found.into_iter().next())
    }

    /// The files that belong to one of them.
    pub fn of(path: &Path, folder: &Path) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let extension = path.extension().unwrap_or_default().to_string_lossy();
        match (&*name, &*extension) {
            ("vocab.json", _) if folder.join("source.spm").is_file() => {
                Self::Numbered([path.into(), folder.join("source.spm")])
            }
            ("vocab.json", _) => Self::Pairs([path.into(), folder.join("merges.txt")]),
            ("merges.txt", _) => Self::Pairs([folder.join("vocab.json"), path.into()]),
            ("source.spm" | "target.spm", _) => Self::Numbered([folder.join("vocab.json"), path.into()]),
            (pictures::PREPROCESSOR | pictures::PROCESSOR, _) => Self::Pictures(path.into()),
            (characters::OPTIONS, _) => Self::Characters(path.into()),
            (_, "model" | "spm") => Self::Pieces(path.into()),
            (_, "txt") => Self::WordPiece(path.into()),
            _ => Self::Json(path.into()),
        }
    }

    /// The file that stands for all of them.
    pub fn path(&self) -> &Path {
        match self {
            Self::Json(path) | Self::WordPiece(path) | Self::Pieces(path) => path,
            Self::Characters(path) | Self::Pictures(path) => path,
            Self::Pairs([path, _]) | Self::Numbered([path, _]) => path,
        }
    }

    fn fit(&self, class: &Class) -> bool {
        matches!(
            (self, class.build),
            (Self::WordPiece(_), Build::WordPiece)
                | (Self::Pairs(_), Build::Bytes(_) | Build::WordEnds { .. })
                | (Self::Pieces(_), Build::Pieces(_))
                | (Self::Numbered(_), Build::Numbered)
        )
    }
}

/// A `tokenizer.json` that was made, and what there is to say about it.
#[derive(Debug)]
pub(crate) struct Made {
    pub json: Vec<u8>,
    pub notes: Vec<String>,
}

/// What stands beside the vocabulary.
struct Surroundings<'a> {
    settings: &'a Settings,
    /// `added_tokens.json`, sorted by id.
    older: &'a [(String, u32)],
}

/// Makes the `tokenizer.json` of the files in a folder; the settings learn which tokens its class supposes.
pub(crate) fn make(files: &Files, folder: &Path, settings: &mut Settings) -> Result<Made> {
    let read = |path: &Path| std::fs::read(path).map_err(|source| Error::Read { path: path.into(), source });
    let mut notes = Vec::new();
    let class = match files {
        Files::Json(path) => return Ok(Made { json: json::checked(path, read(path)?)?, notes }),
        Files::Pictures(_) => return Ok(Made { json: pictures::tokenizer_json(), notes }),
        Files::Characters(path) => return Ok(Made { json: characters::tokenizer_json(path)?, notes }),
        Files::WordPiece(_) => match class::find(folder, settings)? {
            (Some(class), _) if files.fit(class) => class,
            // Many vocabularies of BERT's kind stand in folders of another class.
            (Some(class), _) => {
                notes.push(format!(
                    "{}: read as BERT's, though the class of the folder is {}",
                    files.path().display(),
                    class.names[0]
                ));
                class::bert()
            }
            (None, _) => class::bert(),
        },
        _ => class::find_known(folder, settings)?,
    };
    if !files.fit(class) && !matches!(files, Files::WordPiece(_)) {
        let got = Some(format!("{:?}, which is not made from {}", class.names[0], files.path().display()));
        return Err(Error::Class { folder: folder.into(), got });
    }
    let older_path = folder.join("added_tokens.json");
    let mut older = Vec::new();
    for (token, id) in object(&older_path, read_optional(&older_path)?.as_deref())? {
        match id.as_u64().and_then(|id| u32::try_from(id).ok()) {
            Some(id) => older.push((token, id)),
            None => {
                let problem = format!("expected an id from 0, got {id}");
                return Err(Error::Entry { path: older_path, entry: format!("token {token:?}"), problem });
            }
        }
    }
    older.sort_by_key(|(_, id)| *id);
    for role in class.roles {
        if settings.special_token(role.name)?.is_none() && !settings.has(role.name) {
            settings.suppose(role.name, role.token);
        }
    }
    let around = Surroundings { settings, older: &older };
    let mut made = match (files, class.build) {
        (Files::WordPiece(path), _) => wordpiece::tokenizer_json(class, path, &read(path)?, &around)?,
        (Files::Pairs([vocab, merges]), _) => {
            pairs::tokenizer_json(class, [vocab, merges], [&read(vocab)?, &read(merges)?], &around)?
        }
        (Files::Pieces(path), Build::Pieces(pieces)) => {
            sentencepiece::tokenizer_json(class, pieces, path, &read(path)?, &around)?
        }
        (Files::Numbered([vocab, source]), _) => {
            marian::tokenizer_json(class, [vocab, source], [&read(vocab)?, &read(source)?], &around)?
        }
        (Files::Json(_) | Files::Pieces(_) | Files::Characters(_) | Files::Pictures(_), _) => {
            return Err(Error::Class { folder: folder.into(), got: Some(format!("{:?}", class.names[0])) });
        }
    };
    made.notes.extend(notes);
    Ok(made)
}

/// Sets the frame of a class, with the names of roles replaced by their tokens.
fn frame(parts: &mut Parts<'_>, class: &Class, settings: &Settings) -> Result<()> {
    let token = |role: &str, usual: &str| -> Result<String> {
        Ok(settings.special_token(role)?.unwrap_or(usual).to_string())
    };
    let default = if class.names.contains(&"NllbTokenizer") { "eng_Latn" } else { "en_XX" };
    let lang = settings.text("src_lang")?.unwrap_or(default);
    let (cls, sep) = (token("cls_token", "[CLS]")?, token("sep_token", "[SEP]")?);
    let (eos, question) = (token("eos_token", "</s>")?, token("question_token", "[QUESTION]")?);
    let names = [("cls", &*cls), ("sep", &*sep), ("eos", &*eos), ("question", &*question), ("lang", lang)];
    parts.frame(&filled(class.frame[0], &names), &filled(class.frame[1], &names))
}

/// The text of a file, or the line in which it is none.
fn utf8<'a>(path: &Path, bytes: &'a [u8]) -> Result<&'a str> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = bytes[..error.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count() + 1;
        Error::Vocabulary { path: path.into(), line, problem: format!("expected UTF-8, got {error}") }
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}
