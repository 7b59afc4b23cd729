//! A tokenizer as a GGUF file holds it.

use std::collections::HashMap;

use serde_json::Value;

use super::gguf::{BYTE, CONTROL, GgufParts, NORMAL, UNKNOWN, USER};
use super::splits::Split;
use crate::{Error, Result, Tokenizer};

/// The kind of a token that no id stands for.
const UNUSED: i32 = 5;

/// Texts that must be cut the same by what was written.
const PROBES: [&str; 6] = [
    "Hello, world! It's 12345 o'clock; we'll see what they've got (3.14).",
    "  two spaces\tand a tab\nand\r\n\r\nnew lines  ",
    "Łódź, naïve façade, Straße, ЁЖИК, ﬁne Å e\u{301}",
    "漢字かなカナ 한국어 ไทย हिन्दी عربى",
    "\u{1F600}\u{1F44D}\u{1F3FD} #tag @you https://a.b/c?d=e&f=1 x_y-z CamelCase 'quoted' \"more\"",
    "def f(x):\n    return x**2 + 0x1F  # comment\n",
];

impl GgufParts {
    /// What a GGUF file says of this tokenizer: byte-level BPE (`gpt2`), BPE of SentencePiece (`llama`) or WordPiece
    /// (`bert`). What is given was read again and cuts a few texts of all kinds as the tokenizer does.
    ///
    /// # Errors
    /// [`Error::NoGguf`] for a tokenizer that has no such form, or does not cut as its form says.
    pub fn of(tokenizer: &Tokenizer) -> Result<GgufParts> {
        let json: Value = serde_json::from_slice(&tokenizer.to_json()?)
            .map_err(|e| Error::Parse { path: tokenizer.path().into(), reason: e.to_string() })?;
        let mut parts = words(tokenizer, &json)?;
        let model = &json["model"];
        match model["type"].as_str().unwrap_or_default() {
            "BPE" if steps(&json["pre_tokenizer"]).is_some() => parts.put_bytes(tokenizer, &json)?,
            "BPE" if model["byte_fallback"] == true => parts.put_pieces(tokenizer, &json)?,
            "WordPiece" => parts.put_words(),
            other => {
                return Err(refused(
                    tokenizer,
                    format!("its model is {other} in a form that has no place there"),
                ));
            }
        }
        parts.put_frame(tokenizer)?;
        let again = Tokenizer::from_gguf(&parts)?;
        for probe in PROBES {
            let [own, read] = [tokenizer, &again].map(|tokenizer| tokenizer.encode(probe, None, None));
            if own?.ids != read?.ids {
                return Err(refused(
                    tokenizer,
                    format!("as llama.cpp would read it, it cuts {probe:?} in another way"),
                ));
            }
        }
        Ok(parts)
    }

    /// Byte-level BPE: the merges, and the name of the way words are cut.
    fn put_bytes(&mut self, tokenizer: &Tokenizer, json: &Value) -> Result<()> {
        self.model = "gpt2".to_string();
        self.merges = merges(json).into_iter().map(|[left, right]| format!("{left} {right}")).collect();
        let ignore = json["model"]["ignore_merges"] == true;
        let composes = json["normalizer"]["type"] == "NFC";
        let cut = steps(&json["pre_tokenizer"]).unwrap_or_default();
        match Split::named_like(&cut.0, cut.1, ignore, composes) {
            Some(name) => {
                self.pre = name.to_string();
                Ok(())
            }
            None => Err(refused(tokenizer, "llama.cpp has no name for the way it cuts words".to_string())),
        }
    }

    /// BPE of SentencePiece: a token's score is its place among the merges.
    fn put_pieces(&mut self, tokenizer: &Tokenizer, json: &Value) -> Result<()> {
        self.model = "llama".to_string();
        let mut places: HashMap<String, usize> = HashMap::new();
        let merges = merges(json);
        for (place, [left, right]) in merges.iter().enumerate() {
            places.entry(format!("{left}{right}")).or_insert(place);
        }
        for (id, token) in self.tokens.iter().enumerate() {
            let byte = token.starts_with("<0x") && token.ends_with('>') && token.len() == 6;
            if byte && self.token_types[id] == NORMAL {
                self.token_types[id] = BYTE;
            }
            let score = match places.get(token) {
                _ if self.token_types[id] != NORMAL => 0.0,
                Some(&place) => -(place as f32),
                None => -((merges.len() + id) as f32),
            };
            self.scores.push(score);
        }
        let unk = tokenizer.special_tokens().unk.and_then(|id| self.token_types.get_mut(id as usize));
        if let Some(kind) = unk {
            *kind = UNKNOWN;
        }
        let text = json.to_string();
        let scheme = json["pre_tokenizer"]["prepend_scheme"].as_str();
        self.add_space_prefix =
            Some(text.contains("\"Prepend\"") || scheme.is_some_and(|scheme| scheme != "never"));
        Ok(())
    }

    /// WordPiece: what begins a word has the mark there, not what continues one.
    fn put_words(&mut self) {
        self.model = "bert".to_string();
        for (token, &kind) in self.tokens.iter_mut().zip(&self.token_types) {
            if kind == NORMAL {
                *token = match token.strip_prefix("##") {
                    Some(rest) => rest.to_string(),
                    None => format!("▁{token}"),
                };
            }
        }
    }

    /// What goes around a text, and the ids with a role.
    fn put_frame(&mut self, tokenizer: &Tokenizer) -> Result<()> {
        let special = tokenizer.special_tokens();
        (self.bos, self.eos, self.unk, self.pad) = (special.bos, special.eos, special.unk, special.pad);
        (self.cls, self.sep, self.mask) = (special.cls, special.sep, special.mask);
        if self.model == "bert" {
            (self.bos, self.eos) = (special.cls, special.sep);
            return Ok(());
        }
        let [framed, bare] = [tokenizer.encode("a", None, None)?.ids, tokenizer.encode_bare("a")?];
        let at = framed.windows(bare.len()).position(|ids| ids == bare);
        let around = at.map(|at| (&framed[..at], &framed[at + bare.len()..]));
        let Some((before @ ([] | [_]), behind @ ([] | [_]))) = around else {
            return Err(refused(
                tokenizer,
                "it puts more than a token before and one behind a text".to_string(),
            ));
        };
        (self.add_bos, self.add_eos) = (Some(!before.is_empty()), Some(!behind.is_empty()));
        self.bos = before.first().copied().or(self.bos);
        self.eos = behind.first().copied().or(self.eos);
        Ok(())
    }
}

fn refused(tokenizer: &Tokenizer, reason: String) -> Error {
    Error::NoGguf { path: tokenizer.path().into(), reason }
}

/// The tokens by id and what each of them is.
fn words(tokenizer: &Tokenizer, json: &Value) -> Result<GgufParts> {
    let mut parts = GgufParts { path: tokenizer.path().into(), ..GgufParts::default() };
    parts.tokens = (0..tokenizer.id_limit()).map(|id| format!("[PAD{id}]")).collect();
    parts.token_types = vec![UNUSED; parts.tokens.len()];
    let mut put = |token: &str, id: Option<u64>, kind: i32| {
        let place = id.and_then(|id| usize::try_from(id).ok()).filter(|&id| id < parts.tokens.len());
        if let Some(id) = place {
            parts.tokens[id] = token.to_string();
            parts.token_types[id] = kind;
        }
    };
    for (token, id) in json["model"]["vocab"].as_object().into_iter().flatten() {
        put(token, id.as_u64(), NORMAL);
    }
    for added in json["added_tokens"].as_array().into_iter().flatten() {
        let kind = if added["special"] == true { CONTROL } else { USER };
        put(added["content"].as_str().unwrap_or_default(), added["id"].as_u64(), kind);
    }
    Ok(parts)
}

/// The merges, in either way of writing them.
fn merges(json: &Value) -> Vec<[String; 2]> {
    let pair = |merge: &Value| match merge {
        Value::Array(two) => Some([two.first()?.as_str()?.to_string(), two.get(1)?.as_str()?.to_string()]),
        merge => merge.as_str()?.split_once(' ').map(|(left, right)| [left.to_string(), right.to_string()]),
    };
    json["model"]["merges"].as_array().into_iter().flatten().filter_map(pair).collect()
}

/// The expressions of a pre-tokenizer that ends in bytes, and whether its last step cuts as GPT-2 does.
fn steps(pre: &Value) -> Option<(Vec<String>, bool)> {
    let parts = match pre["type"].as_str()? {
        "Sequence" => pre["pretokenizers"].as_array()?.iter().collect(),
        _ => vec![pre],
    };
    let (last, before) = parts.split_last()?;
    if last["type"] != "ByteLevel" || last["add_prefix_space"] == true {
        return None;
    }
    let mut steps = Vec::new();
    for part in before {
        match part["type"].as_str()? {
            "Digits" if part["individual_digits"] == true => steps.push(r"\p{N}".to_string()),
            "Split" if part["behavior"] == "Isolated" && part["invert"] != true => {
                steps.push(part["pattern"]["Regex"].as_str()?.to_string());
            }
            _ => return None,
        }
    }
    Some((steps, last["use_regex"] != false))
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)
    }

    /// A tokenizer of files that stand there under longer names.
    fn old(files: &[(&str, &str)], class: &str) -> Tokenizer {
        let folder = tempfile::tempdir().unwrap();
        for (from, to) in files {
            std::fs::copy(fixture("tokenizers-in").join(from), folder.path().join(to)).unwrap();
        }
        // Which of both a vocabulary of WordPiece is made for, llama.cpp sees by its capital letters: this one has some.
        let config = format!("{{\"tokenizer_class\": {class:?}, \"do_lower_case\": false}}");
        std::fs::write(folder.path().join("tokenizer_config.json"), config).unwrap();
        Tokenizer::from_folder(folder.path()).unwrap()
    }

    #[test]
    fn what_is_written_cuts_as_before() {
        let gpt2 =
            old(&[("gpt2.vocab.json", "vocab.json"), ("gpt2.merges.txt", "merges.txt")], "GPT2Tokenizer");
        let llama = old(&[("llama.model", "tokenizer.model")], "LlamaTokenizer");
        let bert = old(&[("bert.vocab.txt", "vocab.txt")], "BertTokenizer");
        for (tokenizer, model) in [(gpt2, "gpt2"), (llama, "llama"), (bert, "bert")] {
            let parts = GgufParts::of(&tokenizer).unwrap_or_else(|e| panic!("{model}: {e}"));
            assert_eq!(parts.model, model);
            assert_eq!(parts.tokens.len(), tokenizer.id_limit());
            let again = Tokenizer::from_gguf(&parts).unwrap();
            for text in ["the quick brown fox", "x", " y  z\n", "Ünïcödé 99"] {
                let ids = |t: &Tokenizer| t.encode(text, None, None).unwrap().ids;
                assert_eq!(ids(&again), ids(&tokenizer), "{model}: {text:?}");
            }
        }
    }

    #[test]
    fn what_has_no_form_is_refused_by_name() {
        let t5 = old(&[("t5.model", "spiece.model")], "T5Tokenizer");
        let error = GgufParts::of(&t5).unwrap_err().to_string();
        assert!(error.contains("Unigram"), "{error}");
    }
}
