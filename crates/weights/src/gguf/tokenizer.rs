//! The tokenizer that a GGUF file carries, as data; what it does with a text is for others.

use super::value::{List, Metadata, Value};

/// A tokenizer's parts, as llama.cpp names them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GgufTokenizer {
    /// The kind: `llama` (SentencePiece BPE with scores), `gpt2` (byte-level BPE), `bert` (WordPiece), `t5` (Unigram).
    pub model: String,
    /// How `gpt2` splits a text before it merges (`smollm`, `qwen2`, `llama-bpe`).
    pub pre: Option<String>,
    /// The tokens by id.
    pub tokens: Vec<String>,
    /// A score for each token; empty where the kind has none.
    pub scores: Vec<f32>,
    /// What each token is; empty where the file does not say. 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte.
    pub token_types: Vec<i32>,
    /// Merges, best first, each two tokens with a space between; empty where the kind has none.
    pub merges: Vec<String>,
    /// Id of the token that begins a text.
    pub bos: Option<usize>,
    /// Id of the token that ends a text.
    pub eos: Option<usize>,
    /// Id of the token for what is in no vocabulary.
    pub unk: Option<usize>,
    /// Id of the separator between two texts.
    pub sep: Option<usize>,
    /// Id of the token that fills up.
    pub pad: Option<usize>,
    /// Id of the token that is to be guessed.
    pub mask: Option<usize>,
    /// Id of the token that stands for a whole text.
    pub cls: Option<usize>,
    /// Whether the first token is put before a text.
    pub add_bos: Option<bool>,
    /// Whether the last token is put behind a text.
    pub add_eos: Option<bool>,
    /// Whether a space is put before a text.
    pub add_space_prefix: Option<bool>,
    /// How a conversation becomes a text, a Jinja template.
    pub chat_template: Option<String>,
}

impl GgufTokenizer {
    /// The special ids and the keys they stand under.
    fn ids(&mut self) -> [(&'static str, &mut Option<usize>); 7] {
        [
            ("tokenizer.ggml.bos_token_id", &mut self.bos),
            ("tokenizer.ggml.eos_token_id", &mut self.eos),
            ("tokenizer.ggml.unknown_token_id", &mut self.unk),
            ("tokenizer.ggml.seperator_token_id", &mut self.sep),
            ("tokenizer.ggml.padding_token_id", &mut self.pad),
            ("tokenizer.ggml.mask_token_id", &mut self.mask),
            ("tokenizer.ggml.cls_token_id", &mut self.cls),
        ]
    }

    /// The switches and the keys they stand under.
    fn switches(&mut self) -> [(&'static str, &mut Option<bool>); 3] {
        [
            ("tokenizer.ggml.add_bos_token", &mut self.add_bos),
            ("tokenizer.ggml.add_eos_token", &mut self.add_eos),
            ("tokenizer.ggml.add_space_prefix", &mut self.add_space_prefix),
        ]
    }

    /// What the metadata says of a tokenizer, or why it cannot be one.
    pub(super) fn of(metadata: &Metadata) -> Result<Option<GgufTokenizer>, String> {
        let Some(model) = metadata.text("tokenizer.ggml.model") else { return Ok(None) };
        let Some(tokens) = metadata.get("tokenizer.ggml.tokens") else { return Ok(None) };
        let texts = |key: &str, value: &Value| match value.as_list().and_then(List::as_texts) {
            Some(texts) => Ok(texts.to_vec()),
            None => Err(format!("the metadata of \"{key}\" is no list of texts")),
        };
        let mut tokenizer = GgufTokenizer {
            model: model.to_string(),
            pre: metadata.text("tokenizer.ggml.pre").map(str::to_string),
            tokens: texts("tokenizer.ggml.tokens", tokens)?,
            chat_template: metadata.text("tokenizer.chat_template").map(str::to_string),
            ..GgufTokenizer::default()
        };
        let count = tokenizer.tokens.len();
        let each = |key: &str, got: usize| match got == count {
            true => Ok(()),
            false => Err(format!("the metadata of \"{key}\" has {got} entries for {count} tokens")),
        };
        if let Some(value) = metadata.get("tokenizer.ggml.merges") {
            tokenizer.merges = texts("tokenizer.ggml.merges", value)?;
        }
        match metadata.get("tokenizer.ggml.scores").map(Value::as_list) {
            None => {}
            Some(Some(List::F32(scores))) => {
                each("tokenizer.ggml.scores", scores.len())?;
                tokenizer.scores = scores.clone();
            }
            Some(_) => return Err("the metadata of \"tokenizer.ggml.scores\" is no list of f32".to_string()),
        }
        match metadata.get("tokenizer.ggml.token_type").map(Value::as_list) {
            None => {}
            Some(Some(List::I32(types))) => {
                each("tokenizer.ggml.token_type", types.len())?;
                tokenizer.token_types = types.clone();
            }
            Some(_) => {
                return Err("the metadata of \"tokenizer.ggml.token_type\" is no list of i32".to_string());
            }
        }
        for (key, id) in tokenizer.ids() {
            match metadata.u64(key) {
                Some(at) if at >= count as u64 => {
                    return Err(format!("the metadata of \"{key}\" is {at}, and there are {count} tokens"));
                }
                at => *id = at.map(|at| at as usize),
            }
        }
        for (key, switch) in tokenizer.switches() {
            *switch = metadata.bool(key);
        }
        Ok(Some(tokenizer))
    }

    /// Puts the tokenizer into the metadata of a file to be written.
    pub fn put_into(&self, metadata: &mut Metadata) {
        let mut own = self.clone();
        metadata.put("tokenizer.ggml.model", Value::Text(own.model.clone()));
        if let Some(pre) = own.pre.clone() {
            metadata.put("tokenizer.ggml.pre", Value::Text(pre));
        }
        metadata.put("tokenizer.ggml.tokens", Value::List(List::Text(own.tokens.clone())));
        if !own.scores.is_empty() {
            metadata.put("tokenizer.ggml.scores", Value::List(List::F32(own.scores.clone())));
        }
        if !own.token_types.is_empty() {
            metadata.put("tokenizer.ggml.token_type", Value::List(List::I32(own.token_types.clone())));
        }
        if !own.merges.is_empty() {
            metadata.put("tokenizer.ggml.merges", Value::List(List::Text(own.merges.clone())));
        }
        for (key, id) in own.ids() {
            if let Some(id) = *id {
                metadata.put(key, Value::U32(id as u32));
            }
        }
        for (key, switch) in own.switches() {
            if let Some(switch) = *switch {
                metadata.put(key, Value::Bool(switch));
            }
        }
        if let Some(template) = own.chat_template.clone() {
            metadata.put("tokenizer.chat_template", Value::Text(template));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokenizer() -> GgufTokenizer {
        GgufTokenizer {
            model: "gpt2".into(),
            pre: Some("qwen2".into()),
            tokens: vec!["a".into(), "b".into(), "ab".into()],
            scores: vec![0.0, -1.0, -2.0],
            token_types: vec![1, 1, 3],
            merges: vec!["a b".into()],
            bos: Some(2),
            sep: Some(1),
            add_bos: Some(false),
            chat_template: Some("{{ x }}".into()),
            ..GgufTokenizer::default()
        }
    }

    #[test]
    fn a_tokenizer_survives_the_metadata() {
        let mut metadata = Metadata::default();
        assert_eq!(GgufTokenizer::of(&metadata), Ok(None));
        tokenizer().put_into(&mut metadata);
        assert_eq!(GgufTokenizer::of(&metadata), Ok(Some(tokenizer())));
    }

    #[test]
    fn parts_that_contradict_each_other_are_named() {
        let check = |key: &str, value: Value, part: &str| {
            let mut metadata = Metadata::default();
            tokenizer().put_into(&mut metadata);
            metadata.put(key, value);
            let error = GgufTokenizer::of(&metadata).unwrap_err();
            assert!(error.contains(key) && error.contains(part), "{error}");
        };
        check("tokenizer.ggml.scores", Value::List(List::F32(vec![0.0])), "1 entries for 3 tokens");
        check("tokenizer.ggml.scores", Value::Bool(true), "no list of f32");
        check("tokenizer.ggml.token_type", Value::List(List::I32(vec![])), "0 entries");
        check("tokenizer.ggml.merges", Value::List(List::I32(vec![])), "no list of texts");
        check("tokenizer.ggml.bos_token_id", Value::U32(3), "there are 3 tokens");
    }
}
