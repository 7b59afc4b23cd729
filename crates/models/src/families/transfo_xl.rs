//! Transformer-XL.
//!
//! Paper: Dai et al. 2019, "Transformer-XL: Attentive Language Models Beyond a Fixed-Length Context", section 3,
//! <https://arxiv.org/abs/1901.02860>. Reference code:
//! <https://github.com/huggingface/transformers/blob/v4.35.2/src/transformers/models/transfo_xl/modeling_transfo_xl.py>.
//! As there, a text starts after a memory of zeros, as long as a memory gets. Other kinds of positions (`attn_type`), sampled
//! softmax and a softmax that is not adaptive, which no published checkpoint has, are refused.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use serde_json::{Value, json};
use topwork_kernels::activation::Activation;
use topwork_kernels::pool::Pool;
use topwork_nn::layers::{LayerNorm, Linear};
use topwork_nn::{BlockEnd, Cache, Init, Keep, Memory, ParamId, ParamKind, ParamStore, Pass, Site};
use topwork_ops::RelativeTerms;
use topwork_text::Packed;
use topwork_weights::Op::Keep as Same;
use topwork_weights::Table;

use crate::adaptive::{ClusterStyle, Clusters};
use crate::config::Config;
use crate::error::Error;
use crate::family::{
    ClassifierStyle, Decoder, Encoder, Family, LanguageModelStyle, NO_LIMIT, SegmentReader, Size,
};
use crate::relative::{Around, Sight, Style};

/// The entry in the list.
pub const TRANSFO_XL: Family = Family {
    name: "transfo-xl",
    summary: "Transformer-XL: distances instead of places, memory, words in clusters by frequency",
    paper: "https://arxiv.org/abs/1901.02860",
    model_types: &["transfo-xl"],
    architectures: &[
        ("embed", "TransfoXLModel"),
        ("causal-lm", "TransfoXLLMHeadModel"),
        ("classify", "TransfoXLForSequenceClassification"),
    ],
    weights: Table {
        rules: &[
            ("{base}word_emb.emb_layers.{c}.weight", "embed.word.{c}.weight", Same),
            ("{base}word_emb.emb_projs.{c}", "embed.map.{c}.weight", Same),
            ("{base}r_w_bias", "embed.q.content_bias", Same),
            ("{base}r_r_bias", "embed.q.distance_bias", Same),
            ("{base}layers.{i}.dec_attn.r_w_bias", "layers.{i}.attn.q.content_bias", Same),
            ("{base}layers.{i}.dec_attn.r_r_bias", "layers.{i}.attn.q.distance_bias", Same),
            ("{base}layers.{i}.dec_attn.qkv_net.weight", "layers.{i}.attn.qkv.weight", Same),
            ("{base}layers.{i}.dec_attn.r_net.weight", "layers.{i}.attn.distance.weight", Same),
            ("{base}layers.{i}.dec_attn.o_net.weight", "layers.{i}.attn.out.weight", Same),
            ("{base}layers.{i}.dec_attn.layer_norm.weight", "layers.{i}.attn.norm.weight", Same),
            ("{base}layers.{i}.dec_attn.layer_norm.bias", "layers.{i}.attn.norm.bias", Same),
            ("{base}layers.{i}.pos_ff.CoreNet.0.weight", "layers.{i}.ffn.up.weight", Same),
            ("{base}layers.{i}.pos_ff.CoreNet.0.bias", "layers.{i}.ffn.up.bias", Same),
            ("{base}layers.{i}.pos_ff.CoreNet.3.weight", "layers.{i}.ffn.down.weight", Same),
            ("{base}layers.{i}.pos_ff.CoreNet.3.bias", "layers.{i}.ffn.down.bias", Same),
            ("{base}layers.{i}.pos_ff.layer_norm.weight", "layers.{i}.ffn.norm.weight", Same),
            ("{base}layers.{i}.pos_ff.layer_norm.bias", "layers.{i}.ffn.norm.bias", Same),
            ("crit.cluster_weight", "head.cluster.weight", Same),
            ("crit.cluster_bias", "head.cluster.bias", Same),
            ("crit.out_layers.{c}.weight", "head.words.{c}.weight", Same),
            ("crit.out_layers.{c}.bias", "head.words.{c}.bias", Same),
            ("crit.out_projs.{c}", "head.map.{c}.weight", Same),
            ("score.weight", "head.out.weight", Same),
        ],
        tied: &[
            ("{base}layers.{i}.dec_attn.r_w_bias", "embed.q.content_bias"),
            ("{base}layers.{i}.dec_attn.r_r_bias", "embed.q.distance_bias"),
        ],
        ignored: &[("{base}pos_emb.inv_freq", "a constant range, rebuilt")],
        unused: &[(
            "head.**",
            "of a head of another task, or the same as the tables and maps of the embeddings",
        )],
        prefixes: &["transformer.", ""],
        ..Table::EMPTY
    },
    build: |config, store| Ok(Box::new(TransfoXl::declare(store, Config(config))?)),
};

/// Settings of one layer.
#[derive(Clone, Copy)]
struct LayerStyle {
    hidden: usize,
    heads: usize,
    head_dim: usize,
    ffn: usize,
    norms_first: bool,
    eps: f64,
    dropout: f32,
    attention_dropout: f32,
    std: f32,
}

/// Words in clusters and the layers.
struct TransfoXl {
    size: Size,
    style: Style,
    keep: Keep,
    dropout: f32,
    clusters: Clusters,
    /// Shared with the segments of a pass that recomputes them.
    layers: Vec<Arc<Layer>>,
    device: Device,
}

impl TransfoXl {
    fn declare(store: &mut ParamStore, config: Config) -> Result<Self, Error> {
        config.only("attn_type", &json!(0))?;
        config.only("adaptive", &json!(true))?;
        config.only("ext_len", &json!(0))?;
        if config.limit_or("sample_softmax", None)?.is_some() {
            return Err(config.wrong_value("sample_softmax", "-1: words are not sampled"));
        }
        let hidden = config.even("d_model")?;
        let (heads, head_dim) = (config.size("n_head")?, config.size("d_head")?);
        let clusters = cluster_style(config, hidden)?;
        let dropout = config.probability_or("dropout", 0.1)?;
        let size = Size {
            layers: config.size("n_layer")?,
            hidden,
            heads,
            ffn: config.size("d_inner")?,
            vocab: config.size("vocab_size")?,
            max_tokens: NO_LIMIT,
            types: 0,
            std: clusters.std,
        };
        let memory = config.size_or("mem_len", 1600)?;
        let sight = match config.flag_or("same_length", true)? {
            false => Sight::Past,
            true if memory > 0 => Sight::PastUpTo(memory - 1),
            true => {
                return Err(config.wrong_value("same_length", "false where mem_len is 0: no word sees any"));
            }
        };
        let farthest = config.limit_or("clamp_len", Some(1000))?;
        let style = Style { heads, head_dim, hidden, sight, farthest };
        let layer = LayerStyle {
            hidden,
            heads,
            head_dim,
            ffn: size.ffn,
            norms_first: config.flag_or("pre_lnorm", false)?,
            eps: config.number_or("layer_norm_epsilon", 1e-5)?,
            dropout,
            attention_dropout: config.probability_or("dropatt", 0.0)?,
            std: size.std,
        };
        let clusters = Clusters::declare(store, clusters);
        let shared =
            if config.flag_or("untie_r", true)? { None } else { Some(biases(store, "embed.q", 0, &layer)) };
        let layers =
            (0..size.layers).map(|index| Arc::new(Layer::declare(store, index, layer, shared))).collect();
        let keep = Keep { last: Some(memory), first_of_segment: None };
        let device = store.device().clone();
        Ok(TransfoXl { size, style, keep, dropout, clusters, layers, device })
    }

    /// Some of the layers. Of `states` it takes what went into each, if that is asked for.
    fn walk(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        offsets: &Arc<[u32]>,
        which: Range<usize>,
        memory: &Memory,
        mut states: Option<&mut Vec<Tensor<2>>>,
    ) -> Result<Tensor<2>, Error> {
        let around = Around::new(&self.style, offsets, memory, &self.device);
        let waves = topwork_ops::dropout(around.waves.clone(), pass.dropout(self.dropout, "embed.distance"));
        let news = around.news();
        let around = Arc::new((Around { waves, ..around }, news));
        let last = !which.is_empty() && which.end == self.layers.len();
        let mut hidden = pass.cut(x);
        for (index, layer) in self.layers.iter().enumerate().take(which.end).skip(which.start) {
            if let Some(states) = &mut states {
                states.push(hidden.clone().inner());
            }
            let (layer, around, remembered) = (Arc::clone(layer), Arc::clone(&around), memory.layer(index));
            hidden = pass.segment(hidden, move |pass, x| {
                layer.forward(pass, x, &around.0, &around.1, remembered.clone())
            })?;
        }
        if !last {
            return Ok(hidden);
        }
        Ok(topwork_ops::dropout(hidden, pass.dropout(self.dropout, "output")))
    }
}

/// Where the clusters of words end, and what of them is shared.
fn cluster_style(config: Config, hidden: usize) -> Result<ClusterStyle, Error> {
    let vocab = config.size("vocab_size")?;
    let wrong = || config.wrong_value("cutoffs", &format!("whole numbers that rise from 1 to below {vocab}"));
    let mut ends = Vec::new();
    match config.0.get("cutoffs") {
        None => ends.extend([20_000, 40_000, 200_000]),
        Some(Value::Array(list)) => {
            for cutoff in list {
                ends.push(cutoff.as_u64().and_then(|n| usize::try_from(n).ok()).ok_or_else(wrong)?);
            }
        }
        Some(_) => return Err(wrong()),
    }
    ends.push(vocab);
    if ends[0] == 0 || ends.windows(2).any(|pair| pair[0] >= pair[1]) {
        return Err(wrong());
    }
    let (width, divide) = (config.size_or("d_embed", hidden)?.max(1), config.size_or("div_val", 4)?);
    if divide == 0 {
        return Err(config.wrong_value("div_val", "1 or more"));
    }
    let tied_maps = match config.0.get("tie_projs") {
        Some(Value::Array(list)) if list.len() == ends.len() && list.iter().all(Value::is_boolean) => {
            list.iter().map(|tied| tied == &json!(true)).collect()
        }
        None | Some(Value::Null) => {
            let share = config.flag_or("proj_share_all_but_first", true)?;
            (0..ends.len()).map(|cluster| share && cluster > 0).collect()
        }
        Some(_) => {
            let expected = format!("true or false for each of {} clusters", ends.len());
            return Err(config.wrong_value("tie_projs", &expected));
        }
    };
    let tied = config.flag_or("tie_word_embeddings", config.flag_or("tie_weight", true)?)?;
    let std = config.number_or("init_std", 0.02)? as f32;
    let map_std = config.number_or("proj_init_std", 0.01)? as f32;
    let style = ClusterStyle { ends, width, divide, hidden, std, map_std, tied, tied_maps };
    if style.divide > 1 && style.width_of(style.clusters() - 1) == 0 {
        let expected = format!(
            "so little that d_embed ({width}) does not shrink to nothing in {} clusters",
            style.clusters()
        );
        return Err(config.wrong_value("div_val", &expected));
    }
    Ok(style)
}

impl Encoder for TransfoXl {
    fn embed(&self, pass: &Pass, input: &Packed) -> Result<Tensor<2>, Error> {
        let x = self.clusters.lookup(pass, &input.ids)?;
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
        self.walk(pass, x, offsets, which, &self.memory(offsets.len() - 1), None)
    }

    fn size(&self) -> &Size {
        &self.size
    }

    fn word_table(&self) -> ParamId {
        self.clusters.tables[0]
    }

    fn clusters(&self) -> Option<&Clusters> {
        Some(&self.clusters)
    }

    fn classifier(&self) -> ClassifierStyle {
        ClassifierStyle { pool: Pool::Last, dense: None, dropout: 0.0, out: "head.out", bias: false }
    }

    fn language_model(&self) -> LanguageModelStyle {
        LanguageModelStyle { transform: None, tied: true, bias: None }
    }

    fn decoder(&self) -> Option<&dyn Decoder> {
        Some(self)
    }

    fn segment_reader(&self) -> Option<&dyn SegmentReader> {
        Some(self)
    }
}

impl SegmentReader for TransfoXl {
    fn memory(&self, sequences: usize) -> Memory {
        let rows = self.keep.last.unwrap_or(0);
        Memory::zeros(self.layers.len(), [sequences, rows, self.size.hidden], self.keep, &self.device)
    }

    fn read_segment(&self, pass: &Pass, input: &Packed, memory: &mut Memory) -> Result<Tensor<2>, Error> {
        let x = self.embed(pass, input)?;
        let (offsets, mut states) = (Arc::from(input.offsets.as_slice()), Vec::new());
        let hidden = self.walk(pass, x, &offsets, 0..self.layers.len(), memory, Some(&mut states))?;
        memory.remember(states, &offsets);
        Ok(hidden)
    }
}

impl Decoder for TransfoXl {
    fn cache(&self, sequences: usize, device: &Device) -> Cache {
        Cache::remembering(self.memory(sequences), device)
    }

    /// Beyond the length of a memory this is not what the layers make of the whole text at once, in which every word sees as
    /// many before it as there are.
    fn read_on(&self, pass: &Pass, input: &Packed, cache: &mut Cache) -> Result<Tensor<2>, Error> {
        let Some(memory) = cache.memory() else { return Err(Error::NoMemory) };
        let hidden = self.read_segment(pass, input, memory)?;
        cache.advance(&input.offsets);
        Ok(hidden)
    }
}

/// What is added to queries where they meet contents, and where they meet distances.
fn biases(store: &mut ParamStore, path: &str, group: usize, style: &LayerStyle) -> [ParamId; 2] {
    let LayerStyle { heads, head_dim, std, .. } = *style;
    ["content_bias", "distance_bias"].map(|name| {
        let (path, shape) = (format!("{path}.{name}"), [heads * head_dim]);
        let id = store.declare(&path, &shape, group, ParamKind::Bias, Init::Normal(std));
        store.split(id, &[heads, head_dim]);
        id
    })
}

/// Attention by content and distance and a feed-forward block, each with a sum, and a norm before or behind it.
struct Layer {
    index: usize,
    style: LayerStyle,
    sites: [String; 4],
    biases: [ParamId; 2],
    qkv: Linear,
    distance: Linear,
    out: Linear,
    attention_norm: LayerNorm,
    up: Linear,
    down: Linear,
    ffn_norm: LayerNorm,
}

impl Layer {
    /// Declares `layers.{index}.attn.{qkv,distance,out,norm}`, `layers.{index}.ffn.{up,down,norm}` and, unless they are shared,
    /// biases of queries.
    fn declare(
        store: &mut ParamStore,
        index: usize,
        style: LayerStyle,
        shared: Option<[ParamId; 2]>,
    ) -> Self {
        let LayerStyle { hidden, heads, head_dim, ffn, std, eps, .. } = style;
        let (group, width) = (index + 1, heads * head_dim);
        let path = |name: &str| format!("layers.{index}.{name}");
        let biases = shared.unwrap_or_else(|| biases(store, &path("attn.q"), group, &style));
        let mut plain = |name: &str, sizes: [usize; 2]| {
            Linear::declare_with(store, &path(name), sizes, group, std, false)
        };
        let qkv = plain("attn.qkv", [3 * width, hidden]);
        let distance = plain("attn.distance", [width, hidden]);
        let out = plain("attn.out", [hidden, width]);
        let attention_norm = LayerNorm::declare(store, &path("attn.norm"), hidden, group, eps);
        let up = Linear::declare(store, &path("ffn.up"), [ffn, hidden], group, std);
        let down = Linear::declare(store, &path("ffn.down"), [hidden, ffn], group, std);
        let ffn_norm = LayerNorm::declare(store, &path("ffn.norm"), hidden, group, eps);
        let sites = ["attn.probabilities", "attn.out", "ffn.up", "ffn.down"].map(path);
        Layer { index, style, sites, biases, qkv, distance, out, attention_norm, up, down, ffn_norm }
    }

    /// # Shapes
    /// - `x` and result: `[tokens, hidden]`; `news`: where the rows of `x` lie among those of the keys; `remembered`: what went
    ///   into this layer before
    fn forward(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        around: &Around,
        news: &Arc<[u32]>,
        remembered: Option<Tensor<2>>,
    ) -> Result<Tensor<2>, topwork_nn::Error> {
        let LayerStyle { heads, head_dim, norms_first, dropout, .. } = self.style;
        let width = heads * head_dim;
        let keys = around.joined.rows(remembered, x.clone());
        let keys = if norms_first { self.attention_norm.forward(pass, keys)? } else { keys };
        let qkv = self.qkv.forward(pass, keys)?;
        let part = |at: usize| qkv.clone().slice_dim(1, at * width..(at + 1) * width);
        let q = topwork_ops::embedding(part(0), news);
        let [content, distance] = self.biases;
        let with = |bias: ParamId| -> Result<Tensor<2>, topwork_nn::Error> {
            Ok(q.clone() + pass.vector(bias)?.reshape([1, width]))
        };
        let terms = RelativeTerms {
            of_queries: Some((with(distance)?, self.distance.forward(pass, around.waves.clone())?)),
            of_keys: None,
            table: Arc::clone(&around.table),
            segments: None,
        };
        let drop = pass.dropout(self.style.attention_dropout, &self.sites[0]);
        let mixed =
            topwork_ops::relative_attend(with(content)?, part(1), part(2), &around.layout, terms, drop);
        let added = self.out.forward(pass, mixed)?;
        let drop = pass.dropout(dropout, &self.sites[1]);
        let end = BlockEnd { last: &self.out, added, before: x, dropout: drop };
        let x = if norms_first { end.sum(pass)? } else { end.normed(pass, &self.attention_norm)? };
        let x = pass.at(Site::AfterAttention, self.index, x);

        let inner = if norms_first { self.ffn_norm.forward(pass, x.clone())? } else { x.clone() };
        let added = match pass.dropout(dropout, &self.sites[2]) {
            None => self.up.forward_through(pass, inner, Activation::Relu, &self.down)?,
            drop => {
                let up = self.up.forward_activated(pass, inner, Activation::Relu)?;
                self.down.forward(pass, topwork_ops::dropout(up, drop))?
            }
        };
        let drop = pass.dropout(dropout, &self.sites[3]);
        let end = BlockEnd { last: &self.down, added, before: x, dropout: drop };
        let x = if norms_first { end.sum(pass)? } else { end.normed(pass, &self.ffn_norm)? };
        Ok(pass.at(Site::BlockOutput, self.index, x))
    }
}
