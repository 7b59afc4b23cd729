//! GGUF files with everything in them, and the parts of a tokenizer as the fuzzer chooses them.

use std::path::Path;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use topwork_text::{ChatTemplate, GgufParts, Tokenizer};
use topwork_weights::Gguf;
use topwork_weights::gguf::GgufTokenizer;

use crate::{chat, encode_all, read_all};

/// Reads the tensors, the settings and the tokenizer of a file.
pub fn gguf(path: &Path) {
    if let Ok(file) = topwork_weights::gguf::open(path) {
        read_all(&file);
    }
    let Ok(file) = Gguf::open(path) else { return };
    read_all(&file);
    for (key, value) in file.metadata().iter() {
        let _ =
            (key, value.as_u64(), value.as_f64(), value.as_str(), value.as_list().map(|list| list.get(0)));
    }
    let _ = (file.architecture(), file.left_out());
    let Ok(Some(found)) = file.tokenizer() else { return };
    if let Some(Ok(template)) = found.chat_template.as_ref().map(|text| ChatTemplate::new(path, text)) {
        chat(&template);
    }
    if let Ok(tokenizer) = Tokenizer::from_gguf(&parts_of(path, found)) {
        encode_all(&tokenizer);
    }
}

fn parts_of(path: &Path, found: GgufTokenizer) -> GgufParts {
    let id = |id: Option<usize>| id.and_then(|id| u32::try_from(id).ok());
    GgufParts {
        path: path.into(),
        model: found.model,
        pre: found.pre.unwrap_or_default(),
        tokens: found.tokens,
        scores: found.scores,
        token_types: found.token_types,
        merges: found.merges,
        bos: id(found.bos),
        eos: id(found.eos),
        unk: id(found.unk),
        pad: id(found.pad),
        cls: id(found.cls),
        sep: id(found.sep),
        mask: id(found.mask),
        add_bos: found.add_bos,
        add_eos: found.add_eos,
        add_space_prefix: found.add_space_prefix,
        charsmap: Vec::new(),
    }
}

/// What [`GgufParts`] are made of.
#[derive(Arbitrary, Debug)]
pub struct Parts {
    model: Kind,
    pre: Pre,
    tokens: Vec<(String, f32, u8)>,
    with_scores: bool,
    with_types: bool,
    merges: Vec<(u8, u8)>,
    special: [Option<u8>; 7],
    flags: [Option<bool>; 3],
    charsmap: Vec<u8>,
}

#[derive(Arbitrary, Debug)]
enum Kind {
    Llama,
    Gpt2,
    Bert,
    T5,
}

#[derive(Arbitrary, Debug)]
enum Pre {
    Gpt2,
    Llama3,
    Qwen2,
    Roberta,
    Other(String),
}

impl Parts {
    /// As a file would give them.
    pub fn into_gguf(self) -> GgufParts {
        let tokens: Vec<String> = self.tokens.iter().map(|(text, ..)| text.clone()).collect();
        let merged = |&(a, b): &(u8, u8)| {
            Some(format!("{} {}", tokens.get(usize::from(a))?, tokens.get(usize::from(b))?))
        };
        let special = |at: usize| self.special[at].map(u32::from);
        GgufParts {
            path: "random.gguf".into(),
            model: match self.model {
                Kind::Llama => "llama".into(),
                Kind::Gpt2 => "gpt2".into(),
                Kind::Bert => "bert".into(),
                Kind::T5 => "t5".into(),
            },
            pre: match &self.pre {
                Pre::Gpt2 => "gpt-2".into(),
                Pre::Llama3 => "llama-bpe".into(),
                Pre::Qwen2 => "qwen2".into(),
                Pre::Roberta => "roberta-bpe".into(),
                Pre::Other(name) => name.clone(),
            },
            scores: self.tokens.iter().map(|&(_, score, _)| score).filter(|_| self.with_scores).collect(),
            token_types: self
                .tokens
                .iter()
                .map(|&(.., kind)| i32::from(kind % 8))
                .filter(|_| self.with_types)
                .collect(),
            merges: self.merges.iter().filter_map(merged).collect(),
            bos: special(0),
            eos: special(1),
            unk: special(2),
            pad: special(3),
            cls: special(4),
            sep: special(5),
            mask: special(6),
            add_bos: self.flags[0],
            add_eos: self.flags[1],
            add_space_prefix: self.flags[2],
            charsmap: self.charsmap,
            tokens,
        }
    }
}
