//! ViT: a transformer over the squares of a picture.
//!
//! Paper: Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale", section 3.1,
//! <https://arxiv.org/abs/2010.11929>. Reference code:
//! <https://github.com/huggingface/transformers/blob/main/src/transformers/models/vit/modeling_vit.py>.
//! A picture's vector is that of its class token. Pictures of another size than the model's are made that size; tables of places
//! are not stretched.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::Tensor;
use serde_json::json;
use topwork_kernels::activation::Activation;
use topwork_kernels::attend_layout::Mask;
use topwork_kernels::pool::Pool;
use topwork_nn::{ParamId, ParamStore, Pass, Site};
use topwork_text::Packed;
use topwork_weights::Op::Keep;
use topwork_weights::Table;

use crate::config::Config;
use crate::error::Error;
use crate::family::{ClassifierStyle, DenseStyle, Encoder, Family, LanguageModelStyle, Size};
use crate::patches::{self, Patches};
use crate::stack::{Stack, Style};

/// The entry in the list.
pub const VIT: Family = Family {
    name: "vit",
    summary: "ViT: pictures, as the squares they are cut into",
    paper: "https://arxiv.org/abs/2010.11929",
    model_types: &["vit"],
    architectures: &[("embed", "ViTModel"), ("classify", "ViTForImageClassification")],
    weights: Table {
        rules: &[
            ("{base}embeddings.cls_token", "embed.class.weight", Keep),
            ("{base}embeddings.position_embeddings", "embed.position.weight", Keep),
            ("{base}embeddings.patch_embeddings.projection.weight", "embed.patch.weight", Keep),
            ("{base}embeddings.patch_embeddings.projection.bias", "embed.patch.bias", Keep),
            ("{base}encoder.layer.{i}.layernorm_before.weight", "layers.{i}.attn.norm.weight", Keep),
            ("{base}encoder.layer.{i}.layernorm_before.bias", "layers.{i}.attn.norm.bias", Keep),
            ("{base}encoder.layer.{i}.attention.attention.query.weight", "layers.{i}.attn.q.weight", Keep),
            ("{base}encoder.layer.{i}.attention.attention.query.bias", "layers.{i}.attn.q.bias", Keep),
            ("{base}encoder.layer.{i}.attention.attention.key.weight", "layers.{i}.attn.k.weight", Keep),
            ("{base}encoder.layer.{i}.attention.attention.key.bias", "layers.{i}.attn.k.bias", Keep),
            ("{base}encoder.layer.{i}.attention.attention.value.weight", "layers.{i}.attn.v.weight", Keep),
            ("{base}encoder.layer.{i}.attention.attention.value.bias", "layers.{i}.attn.v.bias", Keep),
            ("{base}encoder.layer.{i}.attention.output.dense.weight", "layers.{i}.attn.out.weight", Keep),
            ("{base}encoder.layer.{i}.attention.output.dense.bias", "layers.{i}.attn.out.bias", Keep),
            ("{base}encoder.layer.{i}.layernorm_after.weight", "layers.{i}.ffn.norm.weight", Keep),
            ("{base}encoder.layer.{i}.layernorm_after.bias", "layers.{i}.ffn.norm.bias", Keep),
            ("{base}encoder.layer.{i}.intermediate.dense.weight", "layers.{i}.ffn.up.weight", Keep),
            ("{base}encoder.layer.{i}.intermediate.dense.bias", "layers.{i}.ffn.up.bias", Keep),
            ("{base}encoder.layer.{i}.output.dense.weight", "layers.{i}.ffn.down.weight", Keep),
            ("{base}encoder.layer.{i}.output.dense.bias", "layers.{i}.ffn.down.bias", Keep),
            ("{base}layernorm.weight", "final.norm.weight", Keep),
            ("{base}layernorm.bias", "final.norm.bias", Keep),
            ("{base}pooler.dense.weight", "pooler.weight", Keep),
            ("{base}pooler.dense.bias", "pooler.bias", Keep),
            ("classifier.weight", "head.out.weight", Keep),
            ("classifier.bias", "head.out.bias", Keep),
        ],
        ignored: &[("{base}embeddings.mask_token", "a square that is hidden, not used outside pretraining")],
        beside: &[("decoder.", "what pretraining makes pictures with, not used here")],
        unused: &[
            ("head.**", "a head of another task, not used by this one"),
            ("pooler.**", "the pooler, not used by this task"),
        ],
        prefixes: &["vit.", ""],
        ..Table::EMPTY
    },
    build: |config, store| Ok(Box::new(Vit::declare(store, Config(config))?)),
};

/// Side of a square where the settings do not say.
const PATCH: u64 = 16;

struct Vit {
    size: Size,
    patches: Patches,
    stack: Stack,
    dropout: f32,
    /// Width of the pooler, which only folders carry.
    pooler: usize,
}

impl Vit {
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
        let eps = config.number_or("layer_norm_eps", 1e-12)?;
        let usual = json!({"image_processor_type": "ViTImageProcessor"});
        let patches = Patches::declare(store, config, &size, (PATCH, true, true), &usual)?;
        let dropout = config.probability_or("hidden_dropout_prob", 0.0)?;
        let style = Style {
            mask: Mask::Full,
            qkv_bias: config.flag_or("qkv_bias", true)?,
            activation: config.activation_or("hidden_act", Activation::Gelu)?,
            dropout,
            attention_dropout: config.probability_or("attention_probs_dropout_prob", 0.0)?,
            eps,
        };
        let stack = Stack::declare(store, &size, style);
        let pooler = config.size_or("pooler_output_size", size.hidden)?;
        Ok(Vit { size, patches, stack, dropout, pooler })
    }
}

impl Encoder for Vit {
    fn embed(&self, pass: &Pass, input: &Packed) -> Result<Tensor<2>, Error> {
        let x = self.patches.forward(pass, input)?;
        let x = topwork_ops::dropout(x, pass.dropout(self.dropout, "embed"));
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

    fn pooler(&self) -> Option<DenseStyle> {
        Some(DenseStyle::plain("pooler", self.pooler, Activation::Tanh))
    }

    fn language_model(&self) -> LanguageModelStyle {
        LanguageModelStyle { transform: None, tied: true, bias: None }
    }
}
