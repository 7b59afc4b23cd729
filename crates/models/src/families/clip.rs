//! CLIP's side for texts: a vector for a text, in the space of pictures.
//!
//! Paper: Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision", section 2.4,
//! <https://arxiv.org/abs/2103.00020>. Reference code:
//! <https://github.com/huggingface/transformers/blob/main/src/transformers/models/clip/modeling_clip.py>.
//! A text's vector is that of its last token, which is the one that ends it in what the tokenizer gives. The side for pictures is not
//! read: of a folder with both, this one is taken.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::Tensor;
use topwork_kernels::activation::Activation;
use topwork_kernels::attend_layout::Mask;
use topwork_kernels::pool::Pool;
use topwork_nn::{Init, ParamId, ParamKind, ParamStore, Pass, Site};
use topwork_text::Packed;
use topwork_weights::Op::Keep;
use topwork_weights::Table;

use crate::causal;
use crate::config::Config;
use crate::error::Error;
use crate::family::{ClassifierStyle, Encoder, Family, LanguageModelStyle, Size};
use crate::stack::{Stack, Style};

/// The entry in the list.
pub const CLIP_TEXT: Family = Family {
    name: "clip-text",
    summary: "CLIP's side for texts, with the map into the space of pictures",
    paper: "https://arxiv.org/abs/2103.00020",
    model_types: &["clip_text_model"],
    architectures: &[("embed", "CLIPTextModel"), ("embed", "CLIPTextModelWithProjection")],
    weights: Table {
        rules: &[
            ("{base}embeddings.token_embedding.weight", "embed.word.weight", Keep),
            ("{base}embeddings.position_embedding.weight", "embed.position.weight", Keep),
            ("{base}encoder.layers.{i}.layer_norm1.weight", "layers.{i}.attn.norm.weight", Keep),
            ("{base}encoder.layers.{i}.layer_norm1.bias", "layers.{i}.attn.norm.bias", Keep),
            ("{base}encoder.layers.{i}.self_attn.q_proj.weight", "layers.{i}.attn.q.weight", Keep),
            ("{base}encoder.layers.{i}.self_attn.q_proj.bias", "layers.{i}.attn.q.bias", Keep),
            ("{base}encoder.layers.{i}.self_attn.k_proj.weight", "layers.{i}.attn.k.weight", Keep),
            ("{base}encoder.layers.{i}.self_attn.k_proj.bias", "layers.{i}.attn.k.bias", Keep),
            ("{base}encoder.layers.{i}.self_attn.v_proj.weight", "layers.{i}.attn.v.weight", Keep),
            ("{base}encoder.layers.{i}.self_attn.v_proj.bias", "layers.{i}.attn.v.bias", Keep),
            ("{base}encoder.layers.{i}.self_attn.out_proj.weight", "layers.{i}.attn.out.weight", Keep),
            ("{base}encoder.layers.{i}.self_attn.out_proj.bias", "layers.{i}.attn.out.bias", Keep),
            ("{base}encoder.layers.{i}.layer_norm2.weight", "layers.{i}.ffn.norm.weight", Keep),
            ("{base}encoder.layers.{i}.layer_norm2.bias", "layers.{i}.ffn.norm.bias", Keep),
            ("{base}encoder.layers.{i}.mlp.fc1.weight", "layers.{i}.ffn.up.weight", Keep),
            ("{base}encoder.layers.{i}.mlp.fc1.bias", "layers.{i}.ffn.up.bias", Keep),
            ("{base}encoder.layers.{i}.mlp.fc2.weight", "layers.{i}.ffn.down.weight", Keep),
            ("{base}encoder.layers.{i}.mlp.fc2.bias", "layers.{i}.ffn.down.bias", Keep),
            ("{base}final_layer_norm.weight", "final.norm.weight", Keep),
            ("{base}final_layer_norm.bias", "final.norm.bias", Keep),
            ("text_projection.weight", "head.dense.weight", Keep),
        ],
        ignored: &[
            ("{base}embeddings.position_ids", "a constant range, rebuilt"),
            ("logit_scale", "how much similarities count, not used by a vector"),
        ],
        beside: &[
            ("vision_model.", "the side for pictures, not read here"),
            ("visual_projection.", "the side for pictures, not read here"),
        ],
        unused: &[("head.**", "a map behind the vector, not used by this task")],
        prefixes: &["text_model.", ""],
        ..Table::EMPTY
    },
    build: |config, store| Ok(Box::new(ClipText::declare(store, Config(config))?)),
};

struct ClipText {
    size: Size,
    word: ParamId,
    position: ParamId,
    stack: Stack,
}

impl ClipText {
    fn declare(store: &mut ParamStore, config: Config) -> Result<Self, Error> {
        let size = Size {
            layers: config.size_or("num_hidden_layers", 12)?,
            hidden: config.size("hidden_size")?,
            heads: config.heads("num_attention_heads", "hidden_size")?,
            ffn: config.size("intermediate_size")?,
            vocab: config.size_or("vocab_size", 49_408)?,
            max_tokens: config.size_or("max_position_embeddings", 77)?,
            types: 0,
            std: config.number_or("initializer_range", 0.02)? as f32,
        };
        let eps = config.number_or("layer_norm_eps", 1e-5)?;
        let init = Init::Normal(size.std);
        let mut table =
            |path: &str, rows| store.declare(path, &[rows, size.hidden], 0, ParamKind::Weight, init);
        let (word, position) =
            (table("embed.word.weight", size.vocab), table("embed.position.weight", size.max_tokens));
        let style = Style {
            mask: Mask::Causal,
            qkv_bias: true,
            activation: config.activation_or("hidden_act", Activation::QuickGelu)?,
            dropout: 0.0,
            attention_dropout: config.probability_or("attention_dropout", 0.0)?,
            eps,
        };
        let stack = Stack::declare(store, &size, style);
        Ok(ClipText { size, word, position, stack })
    }
}

impl Encoder for ClipText {
    fn embed(&self, pass: &Pass, input: &Packed) -> Result<Tensor<2>, Error> {
        let positions = causal::positions(input, None, self.size.max_tokens)?;
        let x = pass.lookup(self.word, &input.ids)? + pass.lookup(self.position, &positions)?;
        Ok(pass.at(Site::Embedded, 0, x))
    }

    fn layers(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        offsets: &Arc<[u32]>,
        which: Range<usize>,
    ) -> Result<Tensor<2>, Error> {
        self.stack.forward(pass, x, offsets, which)
    }

    fn size(&self) -> &Size {
        &self.size
    }

    fn word_table(&self) -> ParamId {
        self.word
    }

    fn classifier(&self) -> ClassifierStyle {
        ClassifierStyle { pool: Pool::Last, dense: None, dropout: 0.0, out: "head.out", bias: true }
    }

    fn language_model(&self) -> LanguageModelStyle {
        LanguageModelStyle { transform: None, tied: true, bias: None }
    }
}
