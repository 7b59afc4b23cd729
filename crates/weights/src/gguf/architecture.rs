//! The architectures whose tensors and settings are given as HuggingFace gives them, as tables.
//!
//! The names on the left are llama.cpp's (`gguf-py/gguf/tensor_mapping.py`), those on the right transformers'. Both tables
//! are read in either direction.

/// A model architecture.
pub(super) struct Architecture {
    /// llama.cpp's name.
    pub(super) name: &'static str,
    /// `model_type` of HuggingFace's `config.json`; the first of those that are written as this architecture.
    pub(super) model_types: &'static [&'static str],
    /// The class that HuggingFace loads it with.
    pub(super) class: &'static str,
    /// Tensors without their ending (`.weight`, `.bias`), `{i}` for the layer.
    pub(super) stems: &'static [Stem],
    /// Prefix that HuggingFace's names may lack.
    pub(super) prefix: &'static str,
    /// Numbers of the configuration.
    pub(super) settings: &'static [Setting],
    /// Settings that are the same in all models of the architecture, as JSON.
    pub(super) fixed: &'static [(&'static str, &'static str)],
}

/// llama.cpp's name, HuggingFace's, and how they differ.
pub(super) type Stem = (&'static str, &'static str, Way);

/// How llama.cpp stores a tensor differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Not at all.
    Keep,
    /// Its weight is transposed.
    Transposed,
    /// Rows of the query heads, rotary pairs side by side.
    Queries,
    /// Rows of the key heads, rotary pairs side by side.
    Keys,
    /// Without the rows before the first position that a text can have.
    Positions,
    /// One is added to each number.
    PlusOne,
}

/// llama.cpp's key without the architecture before it, HuggingFace's key, and what the number is.
pub(super) type Setting = (&'static str, &'static str, Number);

/// What a setting is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    Whole,
    Real,
}

use Number::{Real, Whole};
use Way::{Keep, Keys, PlusOne, Positions, Queries, Transposed};

/// The architecture of that name.
pub(super) fn named(name: &str) -> Option<&'static Architecture> {
    ARCHITECTURES.iter().find(|architecture| architecture.name == name).copied()
}

/// The architecture that models of a `model_type` are written as.
pub(super) fn of_model_type(model_type: &str) -> Option<&'static Architecture> {
    ARCHITECTURES.iter().find(|architecture| architecture.model_types.contains(&model_type)).copied()
}

/// Every architecture known here.
pub(super) const ARCHITECTURES: &[&Architecture] = &[&LLAMA, &QWEN2, &QWEN3, &PHI3, &GEMMA, &GPT2, &BERT];

/// Settings of decoders with rotary positions.
const ROTARY: &[Setting] = &[
    ("context_length", "max_position_embeddings", Whole),
    ("embedding_length", "hidden_size", Whole),
    ("block_count", "num_hidden_layers", Whole),
    ("feed_forward_length", "intermediate_size", Whole),
    ("attention.head_count", "num_attention_heads", Whole),
    ("attention.head_count_kv", "num_key_value_heads", Whole),
    ("attention.layer_norm_rms_epsilon", "rms_norm_eps", Real),
    ("rope.freq_base", "rope_theta", Real),
];

const LLAMA: Architecture = Architecture {
    name: "llama",
    model_types: &["llama", "mistral"],
    class: "LlamaForCausalLM",
    stems: &[
        ("token_embd", "model.embed_tokens", Keep),
        ("blk.{i}.attn_norm", "model.layers.{i}.input_layernorm", Keep),
        ("blk.{i}.attn_q", "model.layers.{i}.self_attn.q_proj", Queries),
        ("blk.{i}.attn_k", "model.layers.{i}.self_attn.k_proj", Keys),
        ("blk.{i}.attn_v", "model.layers.{i}.self_attn.v_proj", Keep),
        ("blk.{i}.attn_output", "model.layers.{i}.self_attn.o_proj", Keep),
        ("blk.{i}.ffn_norm", "model.layers.{i}.post_attention_layernorm", Keep),
        ("blk.{i}.ffn_gate", "model.layers.{i}.mlp.gate_proj", Keep),
        ("blk.{i}.ffn_up", "model.layers.{i}.mlp.up_proj", Keep),
        ("blk.{i}.ffn_down", "model.layers.{i}.mlp.down_proj", Keep),
        ("output_norm", "model.norm", Keep),
        ("output", "lm_head", Keep),
    ],
    prefix: "",
    settings: ROTARY,
    fixed: &[("hidden_act", "\"silu\"")],
};

/// The tensors of Qwen's decoders, whose rotary pairs lie as HuggingFace has them.
const QWEN: &[Stem] = &[
    ("token_embd", "model.embed_tokens", Keep),
    ("blk.{i}.attn_norm", "model.layers.{i}.input_layernorm", Keep),
    ("blk.{i}.attn_q", "model.layers.{i}.self_attn.q_proj", Keep),
    ("blk.{i}.attn_k", "model.layers.{i}.self_attn.k_proj", Keep),
    ("blk.{i}.attn_v", "model.layers.{i}.self_attn.v_proj", Keep),
    ("blk.{i}.attn_output", "model.layers.{i}.self_attn.o_proj", Keep),
    ("blk.{i}.attn_q_norm", "model.layers.{i}.self_attn.q_norm", Keep),
    ("blk.{i}.attn_k_norm", "model.layers.{i}.self_attn.k_norm", Keep),
    ("blk.{i}.ffn_norm", "model.layers.{i}.post_attention_layernorm", Keep),
    ("blk.{i}.ffn_gate", "model.layers.{i}.mlp.gate_proj", Keep),
    ("blk.{i}.ffn_up", "model.layers.{i}.mlp.up_proj", Keep),
    ("blk.{i}.ffn_down", "model.layers.{i}.mlp.down_proj", Keep),
    ("output_norm", "model.norm", Keep),
    ("output", "lm_head", Keep),
];

const QWEN2: Architecture = Architecture {
    name: "qwen2",
    model_types: &["qwen2"],
    class: "Qwen2ForCausalLM",
    stems: QWEN,
    prefix: "",
    settings: ROTARY,
    fixed: &[("hidden_act", "\"silu\""), ("use_sliding_window", "false")],
};

const QWEN3: Architecture = Architecture {
    name: "qwen3",
    model_types: &["qwen3"],
    class: "Qwen3ForCausalLM",
    stems: QWEN,
    prefix: "",
    settings: ROTARY,
    fixed: &[("hidden_act", "\"silu\""), ("use_sliding_window", "false")],
};

const PHI3: Architecture = Architecture {
    name: "phi3",
    model_types: &["phi3"],
    class: "Phi3ForCausalLM",
    stems: &[
        ("token_embd", "model.embed_tokens", Keep),
        ("blk.{i}.attn_norm", "model.layers.{i}.input_layernorm", Keep),
        ("blk.{i}.attn_qkv", "model.layers.{i}.self_attn.qkv_proj", Keep),
        ("blk.{i}.attn_output", "model.layers.{i}.self_attn.o_proj", Keep),
        ("blk.{i}.ffn_norm", "model.layers.{i}.post_attention_layernorm", Keep),
        ("blk.{i}.ffn_up", "model.layers.{i}.mlp.gate_up_proj", Keep),
        ("blk.{i}.ffn_down", "model.layers.{i}.mlp.down_proj", Keep),
        ("output_norm", "model.norm", Keep),
        ("output", "lm_head", Keep),
    ],
    prefix: "",
    settings: ROTARY,
    fixed: &[("hidden_act", "\"silu\"")],
};

const GEMMA: Architecture = Architecture {
    name: "gemma",
    model_types: &["gemma"],
    class: "GemmaForCausalLM",
    stems: &[
        ("token_embd", "model.embed_tokens", Keep),
        ("blk.{i}.attn_norm", "model.layers.{i}.input_layernorm", PlusOne),
        ("blk.{i}.attn_q", "model.layers.{i}.self_attn.q_proj", Keep),
        ("blk.{i}.attn_k", "model.layers.{i}.self_attn.k_proj", Keep),
        ("blk.{i}.attn_v", "model.layers.{i}.self_attn.v_proj", Keep),
        ("blk.{i}.attn_output", "model.layers.{i}.self_attn.o_proj", Keep),
        ("blk.{i}.ffn_norm", "model.layers.{i}.post_attention_layernorm", PlusOne),
        ("blk.{i}.ffn_gate", "model.layers.{i}.mlp.gate_proj", Keep),
        ("blk.{i}.ffn_up", "model.layers.{i}.mlp.up_proj", Keep),
        ("blk.{i}.ffn_down", "model.layers.{i}.mlp.down_proj", Keep),
        ("output_norm", "model.norm", PlusOne),
    ],
    prefix: "",
    settings: ROTARY,
    fixed: &[("hidden_act", "\"gelu_pytorch_tanh\""), ("hidden_activation", "\"gelu_pytorch_tanh\"")],
};

const GPT2: Architecture = Architecture {
    name: "gpt2",
    model_types: &["gpt2"],
    class: "GPT2LMHeadModel",
    stems: &[
        ("token_embd", "transformer.wte", Keep),
        ("position_embd", "transformer.wpe", Keep),
        ("blk.{i}.attn_norm", "transformer.h.{i}.ln_1", Keep),
        ("blk.{i}.attn_qkv", "transformer.h.{i}.attn.c_attn", Transposed),
        ("blk.{i}.attn_output", "transformer.h.{i}.attn.c_proj", Transposed),
        ("blk.{i}.ffn_norm", "transformer.h.{i}.ln_2", Keep),
        ("blk.{i}.ffn_up", "transformer.h.{i}.mlp.c_fc", Transposed),
        ("blk.{i}.ffn_down", "transformer.h.{i}.mlp.c_proj", Transposed),
        ("output_norm", "transformer.ln_f", Keep),
    ],
    prefix: "transformer.",
    settings: &[
        ("context_length", "n_positions", Whole),
        ("embedding_length", "n_embd", Whole),
        ("block_count", "n_layer", Whole),
        ("feed_forward_length", "n_inner", Whole),
        ("attention.head_count", "n_head", Whole),
        ("attention.layer_norm_epsilon", "layer_norm_epsilon", Real),
    ],
    fixed: &[("activation_function", "\"gelu_new\"")],
};

/// BERT, and RoBERTa and XLM-RoBERTa, which their tokenizers tell apart. It is read and not written: llama.cpp drops poolers.
const BERT: Architecture = Architecture {
    name: "bert",
    model_types: &[],
    class: "BertModel",
    stems: &[
        ("token_embd", "embeddings.word_embeddings", Keep),
        ("position_embd", "embeddings.position_embeddings", Positions),
        ("token_types", "embeddings.token_type_embeddings", Keep),
        ("token_embd_norm", "embeddings.LayerNorm", Keep),
        ("blk.{i}.attn_q", "encoder.layer.{i}.attention.self.query", Keep),
        ("blk.{i}.attn_k", "encoder.layer.{i}.attention.self.key", Keep),
        ("blk.{i}.attn_v", "encoder.layer.{i}.attention.self.value", Keep),
        ("blk.{i}.attn_output", "encoder.layer.{i}.attention.output.dense", Keep),
        ("blk.{i}.attn_output_norm", "encoder.layer.{i}.attention.output.LayerNorm", Keep),
        ("blk.{i}.ffn_up", "encoder.layer.{i}.intermediate.dense", Keep),
        ("blk.{i}.ffn_down", "encoder.layer.{i}.output.dense", Keep),
        ("blk.{i}.layer_output_norm", "encoder.layer.{i}.output.LayerNorm", Keep),
    ],
    prefix: "",
    settings: &[
        ("context_length", "max_position_embeddings", Whole),
        ("embedding_length", "hidden_size", Whole),
        ("block_count", "num_hidden_layers", Whole),
        ("feed_forward_length", "intermediate_size", Whole),
        ("attention.head_count", "num_attention_heads", Whole),
        ("attention.layer_norm_epsilon", "layer_norm_eps", Real),
    ],
    fixed: &[("hidden_act", "\"gelu\"")],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_name_nothing_twice() {
        assert_eq!(ARCHITECTURES.len(), 7, "count the architectures when you add one");
        for architecture in ARCHITECTURES {
            for (n, (left, right, _)) in architecture.stems.iter().enumerate() {
                let twice = architecture.stems[..n].iter().any(|(l, r, _)| l == left || r == right);
                assert!(!twice, "{}: {left}", architecture.name);
                assert!(right.starts_with(architecture.prefix), "{right}");
                assert_eq!(left.contains("{i}"), right.contains("{i}"), "{left}");
            }
            for (key, json) in architecture.fixed {
                assert!(serde_json::from_str::<serde_json::Value>(json).is_ok(), "{key}");
            }
        }
    }
}
