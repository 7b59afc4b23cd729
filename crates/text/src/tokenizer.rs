//! A HuggingFace tokenizer, with its own truncation and padding taken out.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use tokenizers::normalizers::{BertNormalizer, NormalizerWrapper};
use tokenizers::utils::truncation::TruncationDirection;
use tokenizers::{PostProcessor, PostProcessorWrapper, PreTokenizerWrapper};

use crate::fast::Fast;
use crate::formats::{self, Files};
use crate::guard::guarded;
use crate::pictures::{self, Pictures};
use crate::settings::{Settings, read_optional};
use crate::special::SpecialTokens;
use crate::tokens::id_limit;
use crate::{Error, Result};

/// Text to token ids, as a model's own files say.
///
/// Truncation and padding that stand in `tokenizer.json` are removed at load and listed by
/// [`ignored_settings`](Self::ignored_settings); a limit is an argument of [`encode`](Self::encode).
#[derive(Clone, Debug)]
pub struct Tokenizer {
    /// Without post-processor, truncation and padding.
    pub(crate) inner: tokenizers::Tokenizer,
    pub(crate) post: Option<PostProcessorWrapper>,
    /// The way around `inner`, for texts that need no more.
    pub(crate) fast: Option<Arc<Fast>>,
    /// A space is put before each text, and taken off the offsets.
    pub(crate) spaced: bool,
    /// Tokens are words that are read by their characters.
    pub(crate) characters: bool,
    /// Texts are the paths of pictures, and tokens their squares.
    pub(crate) pictures: Option<Arc<Pictures>>,
    word_token: WordToken,
    pub(crate) settings: Settings,
    pub(crate) source: Source,
    special: SpecialTokens,
    /// Found out when first asked for.
    id_limit: OnceLock<usize>,
    ignored: Vec<String>,
    notes: Vec<String>,
}

/// The token whose state stands for a word of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WordToken {
    /// Its first one, as for models that see both sides.
    #[default]
    First,
    /// The one behind its last: for models that read characters forward, and have read the word there.
    Behind,
    /// The one before its first: for those that read them backward.
    Before,
}

impl WordToken {
    /// All of them.
    pub const ALL: [WordToken; 3] = [WordToken::First, WordToken::Behind, WordToken::Before];

    /// The key in `tokenizer_config.json`.
    pub(crate) const KEY: &str = "word_token";

    /// The name there.
    pub fn name(self) -> &'static str {
        match self {
            WordToken::First => "first",
            WordToken::Behind => "behind",
            WordToken::Before => "before",
        }
    }
}

/// The files the tokenizer was read from, kept to be written back byte for byte.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub path: PathBuf,
    /// `tokenizer.json`; made from the other files if there was none.
    pub json: Vec<u8>,
    /// True when the settings changed the tokenizer, so that `json` no longer says what it does.
    pub changed: bool,
    /// The other files by name: `tokenizer_config.json`, `special_tokens_map.json`, `vocab.txt`, ...
    pub beside: Vec<(&'static str, Vec<u8>)>,
}

/// Files that belong to a tokenizer and are carried along unchanged.
const CARRIED: [&str; 13] = [
    "special_tokens_map.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
    "spm.model",
    "sentencepiece.model",
    "source.spm",
    "target.spm",
    "chat_template.jinja",
];

impl Tokenizer {
    /// Reads the tokenizer of a model folder: `tokenizer.json`; or else what older models have, as transformers
    /// converts it: `vocab.txt` (WordPiece), `vocab.json` with `merges.txt` (BPE), or a SentencePiece model, under
    /// the settings of `tokenizer_config.json` and with what the class of the tokenizer puts around a text. For ELMo
    /// (`options.json`) tokens are what stands between spaces.
    ///
    /// # Errors
    /// [`Error::NoTokenizer`] if none of them is there; [`Error::Class`] if nothing says what the files are;
    /// [`Error::Parse`], [`Error::Setting`], [`Error::Vocabulary`], [`Error::Entry`] or [`Error::Broken`] if one
    /// is broken.
    pub fn from_folder(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        match Files::find(folder)? {
            Some(files) => Self::from_files(&files, folder),
            None => Err(nothing_there(folder)),
        }
    }

    /// What reads the pictures of a folder, whatever else it has for texts: of one that holds a model of both.
    ///
    /// # Errors
    /// [`Error::NoTokenizer`] if nothing says how pictures are prepared; as [`from_folder`](Self::from_folder).
    pub fn of_pictures(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        match pictures::file_in(folder) {
            Some(path) => Self::from_files(&Files::Pictures(path), folder),
            None => Err(nothing_there(folder)),
        }
    }

    /// Whether texts are the paths of pictures.
    pub fn reads_pictures(&self) -> bool {
        self.pictures.is_some()
    }

    /// Whether a folder has files that [`from_folder`](Self::from_folder) reads, which are not read here.
    ///
    /// # Errors
    /// Files of several kinds, whose settings do not say which counts.
    pub fn is_in(folder: impl AsRef<Path>) -> Result<bool> {
        Ok(Files::find(folder.as_ref())?.is_some())
    }

    /// Reads a `tokenizer.json`, or one of the files that [`from_folder`](Self::from_folder) reads by its name (any
    /// other `.txt` is a WordPiece vocabulary), with the settings of the folder it stands in.
    ///
    /// # Errors
    /// As [`from_folder`](Self::from_folder).
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        Self::from_files(&Files::of(path, folder), folder)
    }

    fn from_files(files: &Files, folder: &Path) -> Result<Self> {
        let (mut settings, config) = Settings::read(folder)?;
        let made = formats::make(files, folder, &mut settings)?;
        let mut beside = Vec::new();
        if let Some(config) = config {
            beside.push(("tokenizer_config.json", config));
        }
        let carried: &[&str] = if matches!(files, Files::Pictures(_)) { &[] } else { &CARRIED };
        for &name in carried {
            // A vocabulary may have another name.
            let path = match files {
                Files::WordPiece(path) if name == "vocab.txt" => path.clone(),
                _ => folder.join(name),
            };
            if let Some(bytes) = read_optional(&path)? {
                beside.push((name, bytes));
            }
        }
        let source = Source { path: files.path().into(), json: made.json, changed: false, beside };
        let mut tokenizer = Self::build(source, settings, made.notes)?;
        tokenizer.characters |= matches!(files, Files::Characters(_));
        if let Files::Pictures(path) = files {
            tokenizer.pictures = Some(Arc::new(Pictures::read(path)?));
        }
        Ok(tokenizer)
    }

    pub(crate) fn build(mut source: Source, settings: Settings, mut notes: Vec<String>) -> Result<Self> {
        let parse =
            |error: tokenizers::Error| Error::Parse { path: source.path.clone(), reason: error.to_string() };
        let mut inner = guarded(|| tokenizers::Tokenizer::from_bytes(&source.json)).map_err(parse)?;
        let mut ignored = Vec::new();
        if let Some(truncation) = inner.get_truncation() {
            let side = if truncation.direction == TruncationDirection::Left { "left" } else { "right" };
            ignored.push(format!(
                "truncation to {} tokens ({}, from the {side})",
                truncation.max_length,
                truncation.strategy.as_ref()
            ));
        }
        if let Some(padding) = inner.get_padding() {
            let strategy = match padding.strategy {
                tokenizers::PaddingStrategy::Fixed(length) => format!("to {length} tokens"),
                tokenizers::PaddingStrategy::BatchLongest => "to the longest of the batch".to_string(),
            };
            ignored.push(format!("padding {strategy} with {:?}", padding.pad_token));
        }
        if settings.flag("do_basic_tokenize")? == Some(false) {
            ignored.push("do_basic_tokenize = false (as in transformers' fast tokenizers)".into());
        }
        if settings.text("truncation_side")? == Some("left") {
            ignored.push("truncation_side = left: a limit cuts the end of a text".into());
        }
        inner.with_truncation(None).map_err(parse)?;
        inner.with_padding(None);
        let post = inner.get_post_processor().cloned();
        if post.as_ref().is_some_and(wants_a_second_text) {
            let reason = "post_processor: the template for one text has a place for a second one (\"B\")";
            return Err(Error::Parse { path: source.path, reason: reason.into() });
        }
        inner.with_post_processor(None::<PostProcessorWrapper>);
        if let Some(post) = &post {
            for second in [None, Some(tokenizers::Encoding::default())] {
                let around = guarded(|| post.process(tokenizers::Encoding::default(), second, true));
                let around = around.map_err(parse)?;
                if let Some(id) = around.get_ids().iter().find(|id| inner.id_to_token(**id).is_none()) {
                    let reason = format!("post_processor: puts id {id} around a text, which is no token");
                    return Err(Error::Parse { path: source.path, reason });
                }
            }
        }

        if let Some(NormalizerWrapper::BertNormalizer(old)) = inner.get_normalizer().cloned() {
            let new = bert_normalizer(old, &settings)?;
            for (name, old, new) in [
                ("do_lower_case", Some(old.lowercase), Some(new.lowercase)),
                ("strip_accents", old.strip_accents, new.strip_accents),
                ("tokenize_chinese_chars", Some(old.handle_chinese_chars), Some(new.handle_chinese_chars)),
            ] {
                if old != new {
                    source.changed = true;
                    notes.push(format!(
                        "tokenizer_config.json says {name} = {}, the tokenizer file {}: the first is used, as in transformers",
                        show(new), show(old)
                    ));
                }
            }
            if source.changed {
                inner.with_normalizer(Some(NormalizerWrapper::BertNormalizer(new))).map_err(parse)?;
            }
        }
        let special = SpecialTokens::find(&settings, |token| inner.token_to_id(token))?;
        settings.model_max_length()?;
        let characters = settings.text("tokenizer_class")? == Some(formats::CHARACTERS);
        let word_token = match settings.text(WordToken::KEY)? {
            None => WordToken::First,
            Some(name) => match WordToken::ALL.into_iter().find(|place| place.name() == name) {
                Some(place) => place,
                None => {
                    return Err(settings.wrong(WordToken::KEY, "first, behind or before", &name.into()));
                }
            },
        };
        let fast = Fast::new(&inner, post.as_ref()).map(Arc::new);
        let spaced = matches!(inner.get_pre_tokenizer(), Some(PreTokenizerWrapper::ByteLevel(split)) if split.add_prefix_space);
        Ok(Self {
            inner,
            post,
            fast,
            spaced,
            characters,
            pictures: None,
            word_token,
            settings,
            source,
            special,
            id_limit: OnceLock::new(),
            ignored,
            notes,
        })
    }

    /// Settings of the files that are never applied here (truncation, padding), one line each.
    pub fn ignored_settings(&self) -> &[String] {
        &self.ignored
    }

    /// Where the files disagree and which one was followed, one line each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The token whose state stands for a word.
    pub fn word_token(&self) -> WordToken {
        self.word_token
    }

    /// The file this tokenizer was read from.
    pub fn path(&self) -> &Path {
        &self.source.path
    }

    /// Number of tokens, added ones included.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// One more than the largest id: the rows an embedding table needs. Larger than
    /// [`vocab_size`](Self::vocab_size) where the ids have gaps.
    pub fn id_limit(&self) -> usize {
        *self.id_limit.get_or_init(|| id_limit(&self.inner))
    }

    /// The token with this id.
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The id of this token.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// Ids of the tokens with a role.
    pub fn special_tokens(&self) -> SpecialTokens {
        self.special
    }

    /// How many special tokens are added to a text, or to a pair.
    pub fn added_tokens(&self, pair: bool) -> usize {
        self.post.as_ref().map_or(0, |post| post.added_tokens(pair))
    }

    /// `model_max_length` of `tokenizer_config.json`, if it says one. Nothing here applies it: what a model supports
    /// is told by its config.
    pub fn stated_max_length(&self) -> Option<usize> {
        self.settings.model_max_length().ok().flatten()
    }

    /// The ids of a text alone, without the tokens that belong around it: of a prompt that has them in it already.
    ///
    /// # Errors
    /// [`Error::Encode`] if the tokenizer refuses.
    pub fn encode_bare(&self, text: &str) -> Result<Vec<u32>> {
        self.only_texts()?;
        let encoding = guarded(|| self.inner.encode_fast(text, false)).map_err(|error| {
            let start = text.chars().take(40).collect();
            Error::Encode { index: 0, start, reason: error.to_string() }
        })?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Refuses where only texts have ids.
    pub(crate) fn only_texts(&self) -> Result<()> {
        if !self.reads_pictures() {
            return Ok(());
        }
        let reason = "the model reads pictures: the ids of their tokens alone say nothing".to_string();
        Err(Error::Encode { index: 0, start: String::new(), reason })
    }

    /// Text of the ids; `skip_special` leaves special tokens out.
    ///
    /// # Errors
    /// [`Error::Decode`] if the decoder refuses.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        guarded(|| self.inner.decode(ids, skip_special))
            .map_err(|error| Error::Decode { count: ids.len(), reason: error.to_string() })
    }
}

/// The normalizer with what `tokenizer_config.json` says put in, as transformers does for its BERT classes.
fn bert_normalizer(old: BertNormalizer, settings: &Settings) -> Result<BertNormalizer> {
    // The generic classes take the tokenizer file as it is.
    if matches!(settings.text("tokenizer_class")?, Some("PreTrainedTokenizerFast" | "TokenizersBackend")) {
        return Ok(old);
    }
    let strip_accents =
        if settings.has("strip_accents") { settings.flag("strip_accents")? } else { old.strip_accents };
    Ok(BertNormalizer::new(
        old.clean_text,
        settings.flag("tokenize_chinese_chars")?.unwrap_or(old.handle_chinese_chars),
        strip_accents,
        settings.flag("do_lower_case")?.unwrap_or(old.lowercase),
    ))
}

fn show(value: Option<bool>) -> &'static str {
    match value {
        None => "null",
        Some(true) => "true",
        Some(false) => "false",
    }
}

fn nothing_there(folder: &Path) -> Error {
    let mut found: Vec<String> = match std::fs::read_dir(folder) {
        Ok(entries) => {
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
        }
        Err(source) => return Error::Read { path: folder.into(), source },
    };
    found.sort();
    let has = |name: &str| found.iter().any(|file| file == name);
    let hint = if pictures::is_model(folder) {
        Some("a model that reads pictures needs preprocessor_config.json beside its config.json")
    } else if has("vocab.json") || has("merges.txt") {
        Some("vocab.json and merges.txt belong together: the other one is missing")
    } else if has("bpe.codes") || has("vocab.bpe") || has("encoder.json") {
        Some("rename encoder.json to vocab.json and vocab.bpe to merges.txt; bpe.codes are not read")
    } else {
        None
    };
    found.truncate(20);
    Error::NoTokenizer { folder: folder.into(), found, hint: hint.map(String::from) }
}

/// Whether a template for one text names a second one, which the `tokenizers` crate finds out by a panic.
fn wants_a_second_text(post: &PostProcessorWrapper) -> bool {
    match post {
        PostProcessorWrapper::Sequence(sequence) => sequence.as_ref().iter().any(wants_a_second_text),
        PostProcessorWrapper::Template(template) => {
            let written = serde_json::to_value(template).unwrap_or_default();
            let single = written.get("single").and_then(serde_json::Value::as_array);
            single.is_some_and(|places| places.iter().any(|place| place["Sequence"]["id"] == "B"))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_for_one_text_cannot_ask_for_two() {
        let folder = tempfile::tempdir().unwrap();
        let place = |id: &str| serde_json::json!({"Sequence": {"id": id, "type_id": 0}});
        let file = |single: Vec<serde_json::Value>| {
            serde_json::json!({
                "version": "1.0",
                "post_processor": {
                    "type": "TemplateProcessing", "single": single, "pair": [place("A"), place("B")],
                    "special_tokens": {}
                },
                "model": {"type": "WordLevel", "vocab": {"a": 0, "[UNK]": 1}, "unk_token": "[UNK]"}
            })
        };
        let path = folder.path().join("tokenizer.json");
        for (single, fine) in
            [(vec![place("A")], true), (vec![place("A"), place("B")], false), (vec![place("B")], false)]
        {
            std::fs::write(&path, file(single).to_string()).unwrap();
            match Tokenizer::from_folder(folder.path()) {
                Ok(_) => assert!(fine),
                Err(error) => assert!(!fine && error.to_string().contains("post_processor"), "{error}"),
            }
        }
    }

    #[test]
    fn a_folder_without_tokenizer_says_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("merges.txt"), "x").unwrap();
        let text = Tokenizer::from_folder(folder.path()).unwrap_err().to_string();
        assert!(text.contains("found merges.txt") && text.contains("belong together"), "{text}");
        assert!(matches!(Tokenizer::from_folder("/nowhere/at/all"), Err(Error::Read { .. })));
    }

    #[test]
    fn a_broken_tokenizer_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        for bytes in [&b"{"[..], b"{}", b"[1]", b"\xff\xfe", b"{\"version\": \"9.0\", \"model\": 3}"] {
            let path = folder.path().join("tokenizer.json");
            std::fs::write(&path, bytes).unwrap();
            assert!(matches!(Tokenizer::from_folder(folder.path()), Err(Error::Parse { .. })), "{bytes:?}");
        }
    }
}
