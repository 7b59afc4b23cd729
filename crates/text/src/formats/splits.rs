//! How byte-level tokenizers inside GGUF files cut words, by the name that llama.cpp gives the way.
//!
//! Each name stands for regular expressions, applied one after the other to what the one before left.
//! <https://github.com/ggml-org/llama.cpp/blob/master/src/llama-vocab.cpp>

use serde_json::{Value, json};

use super::pairs::QWEN2_SPLIT;
use super::parts::byte_level;

/// A way to cut words.
#[derive(Debug)]
pub(super) struct Split {
    names: &'static [&'static str],
    /// Expressions before the last step.
    steps: &'static [&'static str],
    /// The last step is GPT-2's own cut.
    gpt2: bool,
    /// A word that is a token as it stands is not merged.
    pub ignore_merges: bool,
    /// `<s>` goes before a text unless the file says otherwise.
    pub add_bos: bool,
    /// `</s>` goes after it.
    pub add_sep: bool,
    /// Text is composed first.
    pub compose: bool,
}

const PLAIN: Split = Split {
    names: &[],
    steps: &[],
    gpt2: true,
    ignore_merges: false,
    add_bos: false,
    add_sep: false,
    compose: false,
};

const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN35: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const DEEPSEEK3: &str = r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##;
const BLOOM: &str = r" ?[^(\s|.,!?…。，、।۔،)]+";
const BAILING: &str =
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+";
const SEED: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The ways, a line an entry.
const SPLITS: &[Split] = &[
    Split {
        names: &[
            "gpt-2",
            "phi-2",
            "jina-es",
            "jina-de",
            "jina-v2-es",
            "jina-v2-de",
            "gigachat",
            "a.x-4.0",
            "mellum",
            "modern-bert",
            "mpt",
            "olmo",
            "jais",
            "trillion",
            "granite-docling",
            "exaone4",
        ],
        ..PLAIN
    },
    Split { names: &["roberta-bpe", "jina-v1-en", "jina-v2-code"], add_sep: true, ..PLAIN },
    Split {
        names: &[
            "smollm",
            "starcoder",
            "refact",
            "command-r",
            "codeshell",
            "exaone",
            "minerva-7b",
            "mellum2",
        ],
        steps: &[r"\p{N}"],
        ..PLAIN
    },
    Split {
        names: &[
            "llama-bpe",
            "llama3",
            "llama-v3",
            "falcon3",
            "falcon-h1",
            "pixtral",
            "midm-2.0",
            "lfm2",
            "jina-v5-nano",
        ],
        steps: &[LLAMA3],
        gpt2: false,
        ignore_merges: true,
        add_bos: true,
        ..PLAIN
    },
    Split { names: &["dbrx", "smaug-bpe", "glm4", "chatglm-bpe"], steps: &[LLAMA3], gpt2: false, ..PLAIN },
    Split {
        names: &["qwen2", "deepseek-r1-qwen"],
        steps: &[QWEN2_SPLIT],
        gpt2: false,
        compose: true,
        ..PLAIN
    },
    Split {
        names: &["stablelm2", "hunyuan", "solar-open", "megrez", "grok-2", "kormo", "f2llmv2"],
        steps: &[QWEN2_SPLIT],
        gpt2: false,
        ..PLAIN
    },
    Split { names: &["qwen35"], steps: &[QWEN35], gpt2: false, compose: true, ..PLAIN },
    Split { names: &["tekken"], steps: &[TEKKEN], gpt2: false, ignore_merges: true, add_bos: true, ..PLAIN },
    Split {
        names: &["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"],
        steps: &[GPT4O],
        gpt2: false,
        ..PLAIN
    },
    Split {
        names: &["deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"],
        steps: &[r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+", DEEPSEEK3],
        gpt2: false,
        ..PLAIN
    },
    Split {
        names: &["deepseek-coder"],
        steps: &[r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-\u{d7ff}]+", r"\p{N}"],
        gpt2: false,
        ..PLAIN
    },
    Split { names: &["bloom", "poro-chat", "gpt3-finnish"], steps: &[BLOOM], gpt2: false, ..PLAIN },
    Split { names: &["viking"], steps: &[BLOOM, r"\p{N}"], gpt2: false, ..PLAIN },
    Split { names: &["bailingmoe", "bailingmoe2", "llada-moe"], steps: &[BAILING], gpt2: false, ..PLAIN },
    Split { names: &["seed-coder"], steps: &[SEED], gpt2: false, ..PLAIN },
    Split {
        names: &["falcon"],
        steps: &[r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"],
        gpt2: false,
        ..PLAIN
    },
    Split {
        names: &["default", ""],
        steps: &[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
        gpt2: false,
        ..PLAIN
    },
];
/// GPT-2's cut as an expression.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

impl Split {
    /// The way of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        SPLITS.iter().find(|split| split.names.contains(&name))
    }

    /// The name of a way that has these expressions and this last step. Of several the one that agrees in the rest too.
    pub fn named_like(
        steps: &[String],
        gpt2: bool,
        ignore_merges: bool,
        compose: bool,
    ) -> Option<&'static str> {
        let rest = |split: &&Split| split.ignore_merges == ignore_merges && split.compose == compose;
        let fitting: Vec<&Split> =
            SPLITS.iter().filter(|split| split.steps == steps && split.gpt2 == gpt2).collect();
        let best = fitting.iter().copied().find(rest).or(fitting.first().copied());
        best.and_then(|split| split.names.first().copied())
    }

    /// All names.
    pub fn names() -> impl Iterator<Item = &'static str> {
        SPLITS.iter().flat_map(|split| split.names.iter().copied())
    }

    /// The pre-tokenizer.
    pub fn pre_tokenizer(&self) -> Value {
        if self.steps.is_empty() {
            return byte_level(false, true, true);
        }
        let mut all: Vec<Value> = self
            .steps
            .iter()
            .map(|step| json!({"type": "Split", "pattern": {"Regex": step}, "behavior": "Isolated", "invert": false}))
            .collect();
        all.push(byte_level(false, true, self.gpt2));
        json!({"type": "Sequence", "pretokenizers": all})
    }
}
