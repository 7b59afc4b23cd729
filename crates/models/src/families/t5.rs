//! T5, its version 1.1 and what is trained from it (Flan-T5): a text for a text, positions only as distances.
//!
//! Paper: Raffel et al. 2020, "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer", section
//! 2.1, <https://arxiv.org/abs/1910.10683>; the gated block of version 1.1: Shazeer 2020, "GLU Variants Improve Transformer",
//! section 2, <https://arxiv.org/abs/2002.05202>. Reference code:
//! <https://github.com/huggingface/transformers/blob/main/src/transformers/models/t5/modeling_t5.py>.
//! Texts may be as long as `n_positions` says, although nothing in the network limits them, or [`LONGEST`] without it.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::Tensor;
use topwork_kernels::activation::Activation;
use topwork_kernels::attend_layout::Mask;
use topwork_kernels::pool::Pool;
use topwork_nn::layers::{Linear, RmsNorm};
use topwork_nn::{
    AttentionStyle, BlockEnd, Cache, Context, Init, KeysValues, ParamId, ParamKind, ParamStore, Pass, Site,
};
use topwork_text::Packed;
use topwork_weights::Op::Keep;
use topwork_weights::Table;

use crate::causal::{self, Block, FinalNorm};
use crate::config::Config;
use crate::distance::Buckets;
use crate::error::Error;
use crate::family::{ClassifierStyle, Encoder, Family, LanguageModelStyle, Size, TaggerStyle};
use crate::target::{Sources, Start, TargetSide, TargetStyle};

/// The longest text where the config says nothing.
pub const LONGEST: usize = 16_384;

/// The entry in the list.
pub const T5: Family = Family {
    name: "t5",
    summary: "T5 1.0 and 1.1, Flan-T5: encoder-decoders with distances for positions",
    paper: "https://arxiv.org/abs/1910.10683",
    model_types: &["t5"],
    architectures: &[
        ("seq2seq", "T5ForConditionalGeneration"),
        ("embed", "T5EncoderModel"),
        ("classify", "T5ForSequenceClassification"),
        ("tag", "T5ForTokenClassification"),
        ("embed", "T5Model"),
        ("seq2seq", "T5WithLMHeadModel"),
    ],
    weights: Table {
        rules: &[
            ("{base}shared.weight", "embed.word.weight", Keep),
            (
                "{base}encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
                "embed.distance.weight",
                Keep,
            ),
            ("{base}encoder.block.{i}.layer.0.SelfAttention.q.weight", "layers.{i}.attn.q.weight", Keep),
            ("{base}encoder.block.{i}.layer.0.SelfAttention.k.weight", "layers.{i}.attn.k.weight", Keep),
            ("{base}encoder.block.{i}.layer.0.SelfAttention.v.weight", "layers.{i}.attn.v.weight", Keep),
            ("{base}encoder.block.{i}.layer.0.SelfAttention.o.weight", "layers.{i}.attn.out.weight", Keep),
            ("{base}encoder.block.{i}.layer.0.layer_norm.weight", "layers.{i}.attn.norm.weight", Keep),
            ("{base}encoder.block.{i}.layer.1.DenseReluDense.wi.weight", "layers.{i}.ffn.up.weight", Keep),
            (
                "{base}encoder.block.{i}.layer.1.DenseReluDense.wi_0.weight",
                "layers.{i}.ffn.gate.weight",
                Keep,
            ),
            (
                "{base}encoder.block.{i}.layer.1.DenseReluDense.wi_1.weight",
                "layers.{i}.ffn.linear.weight",
                Keep,
            ),
            ("{base}encoder.block.{i}.layer.1.DenseReluDense.wo.weight", "layers.{i}.ffn.down.weight", Keep),
            ("{base}encoder.block.{i}.layer.1.layer_norm.weight", "layers.{i}.ffn.norm.weight", Keep),
            ("{base}encoder.final_layer_norm.weight", "final.norm.weight", Keep),
            (
                "{base}decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
                "target.embed.distance.weight",
                Keep,
            ),
            (
                "{base}decoder.block.{i}.layer.0.SelfAttention.q.weight",
                "target.layers.{i}.attn.q.weight",
                Keep,
            ),
            (
                "{base}decoder.block.{i}.layer.0.SelfAttention.k.weight",
                "target.layers.{i}.attn.k.weight",
                Keep,
            ),
            (
                "{base}decoder.block.{i}.layer.0.SelfAttention.v.weight",
                "target.layers.{i}.attn.v.weight",
                Keep,
            ),
            (
                "{base}decoder.block.{i}.layer.0.SelfAttention.o.weight",
                "target.layers.{i}.attn.out.weight",
                Keep,
            ),
            ("{base}decoder.block.{i}.layer.0.layer_norm.weight", "target.layers.{i}.attn.norm.weight", Keep),
            (
                "{base}decoder.block.{i}.layer.1.EncDecAttention.q.weight",
                "target.layers.{i}.across.q.weight",
                Keep,
            ),
            (
                "{base}decoder.block.{i}.layer.1.EncDecAttention.k.weight",
                "target.layers.{i}.across.k.weight",
                Keep,
            ),
            (
                "{base}decoder.block.{i}.layer.1.EncDecAttention.v.weight",
                "target.layers.{i}.across.v.weight",
                Keep,
            ),
            (
                "{base}decoder.block.{i}.layer.1.EncDecAttention.o.weight",
                "target.layers.{i}.across.out.weight",
                Keep,
            ),
            (
                "{base}decoder.block.{i}.layer.1.layer_norm.weight",
                "target.layers.{i}.across.norm.weight",
                Keep,
            ),
            (
                "{base}decoder.block.{i}.layer.2.DenseReluDense.wi.weight",
                "target.layers.{i}.ffn.up.weight",
                Keep,
            ),
            (
                "{base}decoder.block.{i}.layer.2.DenseReluDense.wi_0.weight",
                "target.layers.{i}.ffn.gate.weight",
                Keep,
            ),
            (
                "{base}decoder.block.{i}.layer.2.DenseReluDense.wi_1.weight",
                "target.layers.{i}.ffn.linear.weight",
                Keep,
            ),
            (
                "{base}decoder.block.{i}.layer.2.DenseReluDense.wo.weight",
                "target.layers.{i}.ffn.down.weight",
                Keep,
            ),
            ("{base}decoder.block.{i}.layer.2.layer_norm.weight", "target.layers.{i}.ffn.norm.weight", Keep),
            ("{base}decoder.final_layer_norm.weight", "target.final.norm.weight", Keep),
            ("lm_head.weight", "head.lm.weight", Keep),
            ("classification_head.dense.weight", "head.dense.weight", Keep),
            ("classification_head.dense.bias", "head.dense.bias", Keep),
            ("classification_head.out_proj.weight", "head.out.weight", Keep),
            ("classification_head.out_proj.bias", "head.out.bias", Keep),
            ("classifier.weight", "head.tag.weight", Keep),
            ("classifier.bias", "head.tag.bias", Keep),
        ],
        tied: &[
            ("{base}encoder.embed_tokens.weight", "embed.word.weight"),
            ("{base}decoder.embed_tokens.weight", "embed.word.weight"),
        ],
        ignored: &[(
            "{base}decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight",
            "a leftover of the first release, which no code reads",
        )],
        unused: &[
            ("head.lm.weight", "the table of words once more, or not used by this task"),
            ("head.**", "a head of another task, not used by this one"),
            ("target.**", "the side that writes, not used by this task"),
        ],
        prefixes: &["", "transformer."],
        bases: &[("classify", "transformer."), ("tag", "transformer.")],
        ..Table::EMPTY
    },
    build: |config, store| Ok(Box::new(T5Encoder::declare(store, settings(Config(config), Habits::T5)?))),
};

/// mT5: version 1.1 of the network.
///
/// Paper: Xue et al. 2021, "mT5: A Massively Multilingual Pre-trained Text-to-Text Transformer", section 3.2,
/// <https://arxiv.org/abs/2010.11934>
pub const MT5: Family = Family {
    name: "mt5",
    summary: "T5 1.1 in a hundred languages",
    paper: "https://arxiv.org/abs/2010.11934",
    model_types: &["mt5"],
    architectures: &[
        ("seq2seq", "MT5ForConditionalGeneration"),
        ("embed", "MT5EncoderModel"),
        ("classify", "MT5ForSequenceClassification"),
        ("tag", "MT5ForTokenClassification"),
        ("embed", "MT5Model"),
    ],
    build: |config, store| Ok(Box::new(T5Encoder::declare(store, settings(Config(config), Habits::MT5)?))),
    ..T5
};

/// What a config leaves open.
struct Habits {
    feed_forward: &'static str,
    /// True if words are always scored by a matrix of their own, whatever the config says.
    own_words: bool,
}

impl Habits {
    const T5: Habits = Habits { feed_forward: "relu", own_words: false };
    // Configs say that the matrices are tied since transformers 5, and checkpoints have both all the same.
    const MT5: Habits = Habits { feed_forward: "gated-gelu", own_words: true };
}

#[derive(Clone)]
struct Settings {
    size: Size,
    /// Sizes of the side that writes.
    target: Size,
    head_dim: usize,
    buckets: usize,
    most_distance: usize,
    activation: Activation,
    gated: bool,
    dropout: f32,
    classifier_dropout: f32,
    eps: f64,
    /// What the spread of fresh weights is multiplied by.
    factor: f32,
    style: TargetStyle,
}

fn settings(config: Config, habits: Habits) -> Result<Settings, Error> {
    config.only("is_decoder", &false.into())?;
    let (hidden, layers) = (config.size("d_model")?, config.size("num_layers")?);
    let factor = config.number_or("initializer_factor", 1.0)? as f32;
    let size = Size {
        layers,
        hidden,
        heads: config.size("num_heads")?,
        ffn: config.size("d_ff")?,
        vocab: config.size("vocab_size")?,
        max_tokens: config.size_or("n_positions", LONGEST)?,
        types: 0,
        std: factor / (hidden as f32).sqrt(),
    };
    let target = Size { layers: config.size_or("num_decoder_layers", layers)?, ..size.clone() };
    let (gated, activation) = match config.text("feed_forward_proj")?.unwrap_or(habits.feed_forward) {
        // The published version 1.1 says gelu and means its approximation.
        "gated-gelu" => (true, Activation::GeluTanh),
        name => {
            let (gated, name) = match name.strip_prefix("gated-") {
                Some(name) => (true, name),
                None => (false, name),
            };
            let wrong = |_| Error::Config {
                key: "feed_forward_proj".to_string(),
                expected: format!("an activation, or gated- and one, of {}", Activation::NAMES.join(", ")),
                got: name.to_string(),
            };
            (gated, name.parse().map_err(wrong)?)
        }
    };
    // Version 1.1 has a matrix of its own for words, and does not scale: old configs say that by the first key, new ones
    // by the second.
    let tied = !habits.own_words
        && config.flag_or("tie_word_embeddings", true)?
        && config.flag_or("scale_decoder_outputs", true)?;
    let pad = config.size_or("pad_token_id", 0)? as u32;
    Ok(Settings {
        size,
        target,
        head_dim: config.size("d_kv")?,
        buckets: config.size_or("relative_attention_num_buckets", 32)?,
        most_distance: config.size_or("relative_attention_max_distance", 128)?,
        activation,
        gated,
        dropout: config.probability_or("dropout_rate", 0.1)?,
        classifier_dropout: config.probability_or("classifier_dropout", 0.0)?,
        eps: config.number_or("layer_norm_epsilon", 1e-6)?,
        factor,
        style: TargetStyle {
            start: Start::Id(config.size_or("decoder_start_token_id", pad as usize)? as u32),
            pad,
            end: config.ids("eos_token_id", &[1])?,
            scale: if tied { 1.0 / (hidden as f32).sqrt() } else { 1.0 },
            words: LanguageModelStyle { transform: None, tied, bias: None },
            fixed: false,
        },
    })
}

struct T5Encoder {
    settings: Settings,
    word: ParamId,
    blocks: Vec<Arc<Layer>>,
    norm: FinalNorm,
}

impl T5Encoder {
    fn declare(store: &mut ParamStore, settings: Settings) -> Self {
        let size = &settings.size;
        let shape = [size.vocab, size.hidden];
        let init = Init::Normal(settings.factor);
        let word = store.declare("embed.word.weight", &shape, 0, ParamKind::Weight, init);
        let buckets = buckets(store, "embed.distance.weight", &settings, 0, true);
        let blocks = (0..size.layers)
            .map(|i| Arc::new(Layer::declare(store, i, &settings, Side::Source, buckets.clone())))
            .collect();
        let norm = RmsNorm::declare(store, "final.norm", size.hidden, size.layers, settings.eps);
        T5Encoder { settings, word, blocks, norm: FinalNorm::Rms(norm) }
    }
}

/// Declares the table of distances that the layers of a side share.
fn buckets(
    store: &mut ParamStore,
    path: &str,
    settings: &Settings,
    group: usize,
    both_sides: bool,
) -> Buckets {
    let Settings { size, buckets, most_distance, .. } = settings;
    let init = Init::Normal(size.std);
    let table = store.declare(path, &[*buckets, size.heads], group, ParamKind::Weight, init);
    Buckets::new(table, *buckets, *most_distance, both_sides)
}

impl Encoder for T5Encoder {
    fn embed(&self, pass: &Pass, input: &Packed) -> Result<Tensor<2>, Error> {
        causal::positions(input, None, self.settings.size.max_tokens)?;
        let x = pass.lookup(self.word, &input.ids)?;
        let x = topwork_ops::dropout(x, pass.dropout(self.settings.dropout, "embed"));
        Ok(pass.at(Site::Embedded, 0, x))
    }

    fn layers(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        offsets: &Arc<[u32]>,
        which: Range<usize>,
    ) -> Result<Tensor<2>, Error> {
        let last = !which.is_empty() && which.end == self.blocks.len();
        let x = causal::layers(pass, x, offsets, (&self.blocks, &self.norm), which, &None)?;
        let dropout = pass.dropout(self.settings.dropout, "final").filter(|_| last);
        Ok(topwork_ops::dropout(x, dropout))
    }

    fn size(&self) -> &Size {
        &self.settings.size
    }

    fn word_table(&self) -> ParamId {
        self.word
    }

    fn classifier(&self) -> ClassifierStyle {
        ClassifierStyle::dropped_twice(
            Pool::Mean,
            self.settings.size.hidden,
            self.settings.classifier_dropout,
        )
    }

    fn tagger(&self) -> TaggerStyle {
        TaggerStyle { path: "head.tag", dense: None, dropout: self.settings.classifier_dropout }
    }

    fn language_model(&self) -> LanguageModelStyle {
        self.settings.style.words
    }

    fn declare_target(&self, store: &mut ParamStore) -> Option<Box<dyn TargetSide>> {
        let Settings { size, target, eps, .. } = &self.settings;
        let group = size.layers + 1;
        let buckets = buckets(store, "target.embed.distance.weight", &self.settings, group, false);
        let blocks = (0..target.layers)
            .map(|i| Arc::new(Layer::declare(store, i, &self.settings, Side::Target, buckets.clone())))
            .collect();
        let last = size.layers + target.layers;
        let norm = RmsNorm::declare(store, "target.final.norm", size.hidden, last, *eps);
        Some(Box::new(T5Target {
            size: target.clone(),
            settings: self.settings.clone(),
            word: self.word,
            blocks,
            norm: FinalNorm::Rms(norm),
        }))
    }
}

struct T5Target {
    size: Size,
    settings: Settings,
    word: ParamId,
    blocks: Vec<Arc<Layer>>,
    norm: FinalNorm,
}

impl TargetSide for T5Target {
    fn size(&self) -> &Size {
        &self.size
    }

    fn style(&self) -> &TargetStyle {
        &self.settings.style
    }

    fn word_table(&self) -> ParamId {
        self.word
    }

    fn read(
        &self,
        pass: &Pass,
        input: &Packed,
        sources: &Sources,
        cache: Option<&mut Cache>,
    ) -> Result<Tensor<2>, Error> {
        let Settings { size, target, dropout, .. } = &self.settings;
        causal::positions(input, cache.as_deref(), target.max_tokens)?;
        let x = pass.lookup(self.word, &input.ids)?;
        let x = topwork_ops::dropout(x, pass.dropout(*dropout, "target.embed"));
        let x = pass.at(Site::Embedded, size.layers, x);
        let x = sources.layers(pass, x, input, &self.blocks, cache)?;
        let x = self.norm.forward(pass, x, size.layers + target.layers)?;
        Ok(topwork_ops::dropout(x, pass.dropout(*dropout, "target.final")))
    }
}

/// Which of the two texts a layer reads.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Source,
    Target,
}

/// Maps to queries, keys and values and back, and the norm before them.
struct Attention {
    norm: RmsNorm,
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
    style: AttentionStyle,
    sites: [String; 2],
    dropout: f32,
}

impl Attention {
    fn declare(store: &mut ParamStore, path: &str, group: usize, settings: &Settings, mask: Mask) -> Self {
        let Settings { size: Size { hidden, heads, .. }, head_dim, factor, dropout, .. } = *settings;
        let width = heads * head_dim;
        let spread = |of: usize| factor / (of as f32).sqrt();
        let norm = RmsNorm::declare(store, &format!("{path}.norm"), hidden, group, settings.eps);
        let mut linear = |name: &str, sizes: [usize; 2], std: f32| {
            Linear::declare_with(store, &format!("{path}.{name}"), sizes, group, std, false)
        };
        Attention {
            norm,
            q: linear("q", [width, hidden], spread(hidden * head_dim)),
            k: linear("k", [width, hidden], spread(hidden)),
            v: linear("v", [width, hidden], spread(hidden)),
            out: linear("out", [hidden, width], spread(width)),
            style: AttentionStyle { heads, kv_heads: heads, scale: 1.0, mask },
            sites: [format!("{path}.probabilities"), format!("{path}.out")],
            dropout,
        }
    }

    /// What attention gives, added to `x`.
    fn sum(&self, pass: &Pass, mixed: Tensor<2>, x: Tensor<2>) -> Result<Tensor<2>, topwork_nn::Error> {
        let added = self.out.forward(pass, mixed)?;
        let dropout = pass.dropout(self.dropout, &self.sites[1]);
        BlockEnd { last: &self.out, added, before: x, dropout }.sum(pass)
    }
}

/// Norm, attention, sum; of a target norm, attention to the source, sum; norm, feed-forward block, sum.
struct Layer {
    /// Its number on its side.
    index: usize,
    /// Its number, that of a target's counted on from the encoder's.
    place: usize,
    buckets: Buckets,
    attention: Attention,
    across: Option<Attention>,
    norm: RmsNorm,
    /// The map through the activation, and the one it is multiplied with where there is one.
    up: Linear,
    linear: Option<Linear>,
    down: Linear,
    activation: Activation,
    sites: [String; 2],
    dropout: f32,
}

impl Layer {
    fn declare(
        store: &mut ParamStore,
        index: usize,
        settings: &Settings,
        side: Side,
        buckets: Buckets,
    ) -> Self {
        let Settings { size: Size { layers, hidden, ffn, .. }, factor, gated, .. } = *settings;
        let (place, base, mask) = match side {
            Side::Source => (index, "", Mask::Full),
            Side::Target => (layers + index, "target.", Mask::Causal),
        };
        let group = place + 1;
        let path = |name: &str| format!("{base}layers.{index}.{name}");
        let attention = Attention::declare(store, &path("attn"), group, settings, mask);
        let across = (side == Side::Target)
            .then(|| Attention::declare(store, &path("across"), group, settings, Mask::Full));
        let norm = RmsNorm::declare(store, &path("ffn.norm"), hidden, group, settings.eps);
        let mut linear = |name: &str, sizes: [usize; 2]| {
            let std = factor / (sizes[1] as f32).sqrt();
            Linear::declare_with(store, &path(name), sizes, group, std, false)
        };
        Layer {
            index,
            place,
            buckets,
            attention,
            across,
            norm,
            up: linear(if gated { "ffn.gate" } else { "ffn.up" }, [ffn, hidden]),
            linear: gated.then(|| linear("ffn.linear", [ffn, hidden])),
            down: linear("ffn.down", [hidden, ffn]),
            activation: settings.activation,
            sites: [path("ffn.activation"), path("ffn.down")],
            dropout: settings.dropout,
        }
    }
}

impl Block for Layer {
    type Shared = Option<Sources>;

    fn forward(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        sources: &Option<Sources>,
        context: &mut Context,
    ) -> Result<Tensor<2>, topwork_nn::Error> {
        let Attention { norm, q, k, v, style, sites, dropout, .. } = &self.attention;
        let normed = norm.forward(pass, x.clone())?;
        let qkv =
            [q.forward(pass, normed.clone())?, k.forward(pass, normed.clone())?, v.forward(pass, normed)?];
        let (bias, dropped) = (self.buckets.bias(pass)?, pass.dropout(*dropout, &sites[0]));
        let qkv = pass.fronted(self.index, qkv, context.offsets())?;
        let mixed = context.attend_biased(self.index, qkv, style, Some(bias), dropped);
        let x = self.attention.sum(pass, mixed, x)?;
        let mut x = pass.at(Site::AfterAttention, self.place, x);

        if let (Some(across), Some(sources)) = (&self.across, sources) {
            let Attention { norm, q, k, v, style, sites, dropout, .. } = across;
            let q = q.forward(pass, norm.forward(pass, x.clone())?)?;
            let keys_values = || {
                let source = pass.outside(&sources.hidden);
                Ok(KeysValues { keys: k.forward(pass, source.clone())?, values: v.forward(pass, source)? })
            };
            let dropped = pass.dropout(*dropout, &sites[0]);
            let mixed =
                context.attend_across(self.index, q, &sources.offsets, keys_values, style, dropped)?;
            x = pass.at(Site::AfterAcross, self.place, across.sum(pass, mixed, x)?);
        }

        let normed = self.norm.forward(pass, x.clone())?;
        let inside = pass.dropout(self.dropout, &self.sites[0]);
        let added = match &self.linear {
            None => self.up.forward_through_dropped(pass, normed, self.activation, inside, &self.down)?,
            Some(linear) => {
                let gate = self.up.forward(pass, normed.clone())?;
                let gated = topwork_ops::gated_product(gate, linear.forward(pass, normed)?, self.activation);
                self.down.forward(pass, topwork_ops::dropout(gated, inside))?
            }
        };
        let dropout = pass.dropout(self.dropout, &self.sites[1]);
        let x = BlockEnd { last: &self.down, added, before: x, dropout }.sum(pass)?;
        Ok(pass.at(Site::BlockOutput, self.place, x))
    }
}
