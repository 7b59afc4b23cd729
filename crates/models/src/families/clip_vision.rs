//! CLIP's side for pictures: a vector for a picture, in the space that texts have theirs in.
//!
//! Paper: Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision", section 2.4,
//! <https://arxiv.org/abs/2103.00020>. Reference code:
//! <https://github.com/huggingface/transformers/blob/main/src/transformers/models/clip/modeling_clip.py>.
//! A picture's vector is that of its class token behind the last norm, which is taken of every token here. Differs from ViT in the
//! norm before the layers and in the squares' map, which has no bias.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::Tensor;
use serde_json::json;
use topwork_kernels::activation::Activation;
use topwork_kernels::attend_layout::Mask;
use topwork_kernels::pool::Pool;
use topwork_nn::layers::LayerNorm;
use topwork_nn::{ParamId, ParamStore, Pass, Site};
use topwork_text::Packed;
use topwork_weights::Op::Keep;
use topwork_weights::Table;

use crate::config::Config;
use crate::error::Error;
use crate::family::{ClassifierStyle, Encoder, Family, LanguageModelStyle, Size};
use crate::patches::{self, Patches};
use crate::stack::{Stack, Style};

/// The entry in the list.
pub const CLIP_VISION: Family = Family {
    name: "clip-vision",
    summary: "CLIP's side for pictures, with the map into the space of texts",
    paper: "https://arxiv.org/abs/2103.00020",
    model_types: &["clip_vision_model"],
    architectures: &[("embed", "CLIPVisionModel"), ("embed", "CLIPVisionModelWithProjection")],
    weights: Table {
        rules: &[
            ("{base}embeddings.class_embedding", "embed.class.weight", Keep),
            ("{base}embeddings.patch_embedding.weight", "embed.patch.weight", Keep),
            ("{base}embeddings.position_embedding.weight", "embed.position.weight", Keep),
            ("{base}pre_layrnorm.weight", "embed.norm.weight", Keep),
            ("{base}pre_layrnorm.bias", "embed.norm.bias", Keep),
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
            ("{base}post_layernorm.weight", "final.norm.weight", Keep),
            ("{base}post_layernorm.bias", "final.norm.bias", Keep),
            ("visual_projection.weight", "head.dense.weight", Keep),
        ],
        ignored: &[
            ("{base}embeddings.position_ids", "a constant range, rebuilt"),
            ("logit_scale", "how much similarities count, not used by a vector"),
        ],
        beside: &[
            ("text_model.", "the side for texts, not read here"),
            ("text_projection.", "the side for texts, not read here"),
        ],
        unused: &[("head.**", "a map behind the vector, not used by this task")],
        prefixes: &["vision_model.", ""],
        ..Table::EMPTY
    },
    build: |config, store| Ok(Box::new(ClipVision::declare(store, Config(config))?)),
};

/// Side of a square where the settings do not say.
const PATCH: u64 = 32;

struct ClipVision {
    size: Size,
    patches: Patches,
    before: LayerNorm,
    stack: Stack,
}

impl ClipVision {
    fn declare(store: &mut ParamStore, config: Config) -> Result<Self, Error> {
        let hidden = config.size_or("hidden_size", 768)?;
        let size = Size {
            layers: config.size_or("num_hidden_layers", 12)?,
            hidden,
            heads: config.heads_or("num_attention_heads", 12, hidden)?,
            ffn: config.size_or("intermediate_size", 3072)?,
            vocab: 2,
            max_tokens: patches::tokens(config, PATCH)?,
            types: 0,
            std: config.number_or("initializer_range", 0.02)? as f32,
        };
        let eps = config.number_or("layer_norm_eps", 1e-5)?;
        let usual = json!({"image_processor_type": "CLIPImageProcessor"});
        let patches = Patches::declare(store, config, &size, (PATCH, false, false), &usual)?;
        let before = LayerNorm::declare(store, "embed.norm", size.hidden, 0, eps);
        let style = Style {
            mask: Mask::Full,
            qkv_bias: true,
            activation: config.activation_or("hidden_act", Activation::QuickGelu)?,
            dropout: 0.0,
            attention_dropout: config.probability_or("attention_dropout", 0.0)?,
            eps,
        };
        let stack = Stack::declare(store, &size, style);
        Ok(ClipVision { size, patches, before, stack })
    }
}

impl Encoder for ClipVision {
    fn embed(&self, pass: &Pass, input: &Packed) -> Result<Tensor<2>, Error> {
        let x = self.before.forward(pass, self.patches.forward(pass, input)?)?;
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
        self.patches.table()
    }

    fn has_words(&self) -> bool {
        false
    }

    fn classifier(&self) -> ClassifierStyle {
        ClassifierStyle { pool: Pool::Cls, dense: None, dropout: 0.0, out: "head.out", bias: true }
    }

    fn language_model(&self) -> LanguageModelStyle {
        LanguageModelStyle { transform: None, tied: true, bias: None }
    }
}
