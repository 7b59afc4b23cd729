//! XLNet.
//!
//! Paper: Yang et al. 2019, "XLNet: Generalized Autoregressive Pretraining for Language Understanding", sections 2.3 to 2.5,
//! <https://arxiv.org/abs/1906.08237>. Reference code:
//! <https://github.com/huggingface/transformers/blob/main/src/transformers/models/xlnet/modeling_xlnet.py>.
//! Distances that count backwards for half of a batch (`bi_data`), which no published config has, are refused.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use serde_json::json;
use topwork_kernels::activation::Activation;
use topwork_kernels::attend_layout::AttendLayout;
use topwork_kernels::pool::Pool;
use topwork_nn::layers::{LayerNorm, Linear};
use topwork_nn::memory::cat_rows;
use topwork_nn::{BlockEnd, Init, Keep, Memory, ParamId, ParamKind, ParamStore, Pass, Site};
use topwork_ops::{RelativeTerms, Segments};
use topwork_text::Packed;
use topwork_weights::Op::{FirstBehind, Keep as Same};
use topwork_weights::Table;

use crate::config::Config;
use crate::error::Error;
use crate::family::{
    ClassifierStyle, DenseStyle, Encoder, Family, LanguageModelStyle, NO_LIMIT, SegmentReader, Size,
    TaggerStyle, TwoStreams,
};
use crate::head::Permuted;
use crate::relative::{Around, Sight, Style};

/// The entry in the list.
pub const XLNET: Family = Family {
    name: "xlnet",
    summary: "XLNet: distances instead of places, segments, memory, words in any order",
    paper: "https://arxiv.org/abs/1906.08237",
    model_types: &["xlnet"],
    architectures: &[
        ("embed", "XLNetModel"),
        ("classify", "XLNetForSequenceClassification"),
        ("tag", "XLNetForTokenClassification"),
        ("span", "XLNetForQuestionAnsweringSimple"),
        ("permutation-lm", "XLNetLMHeadModel"),
    ],
    weights: Table {
        rules: &[
            ("{base}word_embedding.weight", "embed.word.weight", Same),
            ("{base}mask_emb", "mask.weight", Same),
            ("{base}layer.{i}.rel_attn.q", "layers.{i}.attn.q.weight", FirstBehind),
            ("{base}layer.{i}.rel_attn.k", "layers.{i}.attn.k.weight", FirstBehind),
            ("{base}layer.{i}.rel_attn.v", "layers.{i}.attn.v.weight", FirstBehind),
            ("{base}layer.{i}.rel_attn.o", "layers.{i}.attn.out.weight", Same),
            ("{base}layer.{i}.rel_attn.r", "layers.{i}.attn.distance.weight", FirstBehind),
            ("{base}layer.{i}.rel_attn.r_w_bias", "layers.{i}.attn.q.content_bias", Same),
            ("{base}layer.{i}.rel_attn.r_r_bias", "layers.{i}.attn.q.distance_bias", Same),
            ("{base}layer.{i}.rel_attn.r_s_bias", "layers.{i}.attn.q.segment_bias", Same),
            ("{base}layer.{i}.rel_attn.seg_embed", "layers.{i}.attn.segment.weight", Same),
            ("{base}layer.{i}.rel_attn.layer_norm.weight", "layers.{i}.attn.norm.weight", Same),
            ("{base}layer.{i}.rel_attn.layer_norm.bias", "layers.{i}.attn.norm.bias", Same),
            ("{base}layer.{i}.ff.layer_1.weight", "layers.{i}.ffn.up.weight", Same),
            ("{base}layer.{i}.ff.layer_1.bias", "layers.{i}.ffn.up.bias", Same),
            ("{base}layer.{i}.ff.layer_2.weight", "layers.{i}.ffn.down.weight", Same),
            ("{base}layer.{i}.ff.layer_2.bias", "layers.{i}.ffn.down.bias", Same),
            ("{base}layer.{i}.ff.layer_norm.weight", "layers.{i}.ffn.norm.weight", Same),
            ("{base}layer.{i}.ff.layer_norm.bias", "layers.{i}.ffn.norm.bias", Same),
            ("sequence_summary.summary.weight", "head.dense.weight", Same),
            ("sequence_summary.summary.bias", "head.dense.bias", Same),
            ("logits_proj.weight", "head.out.weight", Same),
            ("logits_proj.bias", "head.out.bias", Same),
            ("classifier.weight", "head.tag.weight", Same),
            ("classifier.bias", "head.tag.bias", Same),
            ("qa_outputs.weight", "head.span.weight", Same),
            ("qa_outputs.bias", "head.span.bias", Same),
            ("lm_loss.bias", "head.lm.bias", Same),
        ],
        tied: &[("lm_loss.weight", "embed.word.weight")],
        unused: &[
            ("head.**", "a head of another task, not used by this one"),
            ("mask.weight", "the word asked for, used by permutation-lm only"),
        ],
        prefixes: &["transformer.", ""],
        ..Table::EMPTY
    },
    build: |config, store| Ok(Box::new(XLNet::declare(store, Config(config))?)),
};

/// Settings of one layer.
#[derive(Clone, Copy)]
struct LayerStyle {
    hidden: usize,
    heads: usize,
    head_dim: usize,
    ffn: usize,
    activation: Activation,
    eps: f64,
    dropout: f32,
    std: f32,
}

/// The word table and the layers.
struct XLNet {
    size: Size,
    style: Style,
    keep: Keep,
    dropout: f32,
    word: ParamId,
    classifier: ClassifierStyle,
    /// Shared with the segments of a pass that recomputes them.
    layers: Vec<Arc<Layer>>,
    device: Device,
}

impl XLNet {
    fn declare(store: &mut ParamStore, config: Config) -> Result<Self, Error> {
        config.only("bi_data", &json!(false))?;
        config.only("untie_r", &json!(true))?;
        config.only("tie_word_embeddings", &json!(true))?;
        let hidden = config.even("d_model")?;
        let heads = config.size("n_head")?;
        let head_dim = match config.size_or("d_head", 0)? {
            0 => hidden / config.heads("n_head", "d_model")?,
            given => given,
        };
        let dropout = config.probability_or("dropout", 0.1)?;
        let size = Size {
            layers: config.size("n_layer")?,
            hidden,
            heads,
            ffn: config.size("d_inner")?,
            vocab: config.size("vocab_size")?,
            max_tokens: NO_LIMIT,
            types: 0,
            std: config.number_or("initializer_range", 0.02)? as f32,
        };
        let sight = match config.text("attn_type")? {
            None | Some("bi") => Sight::All,
            Some("uni") if config.flag_or("same_length", false)? => Sight::PastAsLongAsMemory,
            Some("uni") => Sight::Past,
            _ => return Err(config.wrong_value("attn_type", "\"bi\" or \"uni\"")),
        };
        let style = Style { heads, head_dim, hidden, sight, farthest: config.limit_or("clamp_len", None)? };
        let layer = LayerStyle {
            hidden,
            heads,
            head_dim,
            ffn: size.ffn,
            activation: config.activation_or("ff_activation", Activation::Gelu)?,
            eps: config.number_or("layer_norm_eps", 1e-12)?,
            dropout,
            std: size.std,
        };
        let word = store.declare(
            "embed.word.weight",
            &[size.vocab, hidden],
            0,
            ParamKind::Weight,
            Init::Normal(size.std),
        );
        let layers = (0..size.layers).map(|index| Arc::new(Layer::declare(store, index, layer))).collect();
        let keep = Keep {
            last: config.limit_or("mem_len", Some(512))?,
            first_of_segment: config.limit_or("reuse_len", None)?,
        };
        let classifier = classifier(config, hidden)?;
        let device = store.device().clone();
        Ok(XLNet { size, style, keep, dropout, word, classifier, layers, device })
    }

    /// Some of the layers. Of `states` it takes what went into each, if that is asked for.
    fn walk(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        surroundings: Surroundings,
        which: Range<usize>,
        memory: &Memory,
        mut states: Option<&mut Vec<Tensor<2>>>,
    ) -> Result<Tensor<2>, Error> {
        let around = &surroundings.around;
        let waves = topwork_ops::dropout(around.waves.clone(), pass.dropout(self.dropout, "embed.distance"));
        let around = Around { waves, ..around.clone() };
        let tokens = surroundings.segments.len();
        let surroundings = Arc::new(Surroundings { around, ..surroundings });
        let last = !which.is_empty() && which.end == self.layers.len();
        let mut hidden = pass.cut(x);
        for (index, layer) in self.layers.iter().enumerate().take(which.end).skip(which.start) {
            if let Some(states) = &mut states {
                states.push(hidden.clone().inner().narrow(0, 0, tokens));
            }
            let (layer, surroundings) = (Arc::clone(layer), Arc::clone(&surroundings));
            let remembered = memory.layer(index);
            hidden = pass
                .segment(hidden, move |pass, x| layer.forward(pass, x, &surroundings, remembered.clone()))?;
        }
        if !last {
            return Ok(hidden);
        }
        let hidden = match &surroundings.asked {
            None => hidden,
            Some(asked) => hidden.narrow(0, tokens, asked.tokens.len()),
        };
        Ok(topwork_ops::dropout(hidden, pass.dropout(self.dropout, "output")))
    }

    /// All layers, after which the segment is in the memory.
    fn walk_on(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        surroundings: Surroundings,
        input: &Packed,
        memory: &mut Memory,
    ) -> Result<Tensor<2>, Error> {
        let mut states = Vec::new();
        let hidden = self.walk(pass, x, surroundings, 0..self.layers.len(), memory, Some(&mut states))?;
        memory.remember(states, &input.offsets);
        Ok(hidden)
    }

    fn surroundings(&self, input: &Packed, memory: &Memory) -> Surroundings {
        let offsets: Arc<[u32]> = Arc::from(input.offsets.as_slice());
        let around = Around::new(&self.style, &offsets, memory, &self.device);
        // What is remembered counts as of segment 0.
        let mut of_keys = Vec::new();
        for (pair, &remembered) in input.offsets.windows(2).zip(&around.remembered) {
            of_keys.extend(std::iter::repeat_n(0, remembered));
            of_keys.extend_from_slice(&input.type_ids[pair[0] as usize..pair[1] as usize]);
        }
        Surroundings {
            around,
            segments: Arc::from(input.type_ids.as_slice()),
            key_segments: of_keys.into(),
            asked: None,
        }
    }
}

/// The family's classifier: a summary of the text and a dense layer.
fn classifier(config: Config, hidden: usize) -> Result<ClassifierStyle, Error> {
    let pool = match config.text("summary_type")? {
        None | Some("last" | "cls_index") => Pool::Last,
        Some("first") => Pool::Cls,
        Some("mean") => Pool::Mean,
        _ => return Err(config.wrong_value("summary_type", "last, first, mean or cls_index")),
    };
    let activation = match config.text("summary_activation")? {
        // A key that says nothing says no activation; one that is missing leaves the family's own.
        None if config.0.get("summary_activation").is_some() => Activation::Identity,
        _ => config.activation_or("summary_activation", Activation::Tanh)?,
    };
    let mapped = config.flag_or("summary_use_proj", true)?;
    if !mapped && activation != Activation::Identity {
        return Err(
            config.wrong_value("summary_activation", "null or linear where summary_use_proj is false")
        );
    }
    let dense = mapped.then(|| DenseStyle::plain("head.dense", hidden, activation));
    let dropout = config.probability_or("summary_last_dropout", 0.1)?;
    Ok(ClassifierStyle { pool, dense, dropout, out: "head.out", bias: true })
}

impl Encoder for XLNet {
    fn embed(&self, pass: &Pass, input: &Packed) -> Result<Tensor<2>, Error> {
        let x = pass.lookup(self.word, &input.ids)?;
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
        let tokens = x.dims()[0];
        let (ids, type_ids, offsets) = (vec![0; tokens], vec![0; tokens], offsets.to_vec());
        let input = Packed { ids, type_ids, offsets, ..Packed::default() };
        self.layers_of(pass, x, &input, which)
    }

    fn layers_of(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        input: &Packed,
        which: Range<usize>,
    ) -> Result<Tensor<2>, Error> {
        let memory = self.memory(input.batch());
        let surroundings = self.surroundings(input, &memory);
        self.walk(pass, x, surroundings, which, &memory, None)
    }

    fn size(&self) -> &Size {
        &self.size
    }

    fn word_table(&self) -> ParamId {
        self.word
    }

    fn classifier(&self) -> ClassifierStyle {
        self.classifier
    }

    fn tagger(&self) -> TaggerStyle {
        TaggerStyle { path: "head.tag", dropout: 0.0, dense: None }
    }

    fn language_model(&self) -> LanguageModelStyle {
        LanguageModelStyle { transform: None, tied: true, bias: Some("head.lm.bias") }
    }

    fn segment_reader(&self) -> Option<&dyn SegmentReader> {
        Some(self)
    }

    fn two_streams(&self) -> Option<&dyn TwoStreams> {
        Some(self)
    }
}

impl SegmentReader for XLNet {
    fn memory(&self, sequences: usize) -> Memory {
        Memory::empty(sequences, self.keep)
    }

    fn read_segment(&self, pass: &Pass, input: &Packed, memory: &mut Memory) -> Result<Tensor<2>, Error> {
        let x = self.embed(pass, input)?;
        let surroundings = self.surroundings(input, memory);
        self.walk_on(pass, x, surroundings, input, memory)
    }
}

impl TwoStreams for XLNet {
    fn read_permuted(
        &self,
        pass: &Pass,
        input: &Packed,
        permuted: &Permuted,
        unknown: Tensor<2>,
        memory: &mut Memory,
    ) -> Result<Tensor<2>, Error> {
        permuted.check(input)?;
        let mut surroundings = self.surroundings(input, memory);
        let [content, query] = surroundings.around.permuted(permuted);
        let layout = surroundings.around.layout.clone();
        surroundings.around.layout.mask = content;
        surroundings.asked =
            Some(Asked::new(permuted, input.ids.len(), AttendLayout { mask: query, ..layout }));

        let known = self.embed(pass, input)?;
        let same = vec![0u32; permuted.asked.len()];
        let asked = topwork_ops::embedding(unknown, &same.into());
        let asked = topwork_ops::dropout(asked, pass.dropout(self.dropout, "embed.asked"));
        self.walk_on(pass, cat_rows(vec![known, asked]), surroundings, input, memory)
    }
}

/// What the layers of one pass share.
#[derive(Clone)]
struct Surroundings {
    around: Around,
    /// The segment of each token: `[tokens]`.
    segments: Arc<[u32]>,
    /// The segment of each key, remembered ones too.
    key_segments: Arc<[u32]>,
    asked: Option<Asked>,
}

/// The tokens whose words are asked for: their rows follow those of all tokens.
#[derive(Clone)]
struct Asked {
    tokens: Arc<[u32]>,
    /// From every token to its row among those asked for; a row behind them for the others.
    rows: Arc<[u32]>,
    layout: AttendLayout,
}

impl Asked {
    fn new(permuted: &Permuted, tokens: usize, layout: AttendLayout) -> Self {
        let mut rows = vec![permuted.asked.len() as u32; tokens];
        for (row, &token) in permuted.asked.iter().enumerate() {
            rows[token as usize] = row as u32;
        }
        Asked { tokens: Arc::clone(&permuted.asked), rows: rows.into(), layout }
    }
}

/// Attention by content, distance and segment, sum, norm; feed-forward block, sum, norm.
struct Layer {
    index: usize,
    style: LayerStyle,
    sites: [String; 6],
    maps: [ParamId; 4],
    biases: [ParamId; 3],
    segment: ParamId,
    out: Linear,
    attention_norm: LayerNorm,
    up: Linear,
    down: Linear,
    ffn_norm: LayerNorm,
}

impl Layer {
    /// Declares `layers.{index}.attn.{q,k,v,out,distance,segment,norm}` and `layers.{index}.ffn.{up,down,norm}`.
    fn declare(store: &mut ParamStore, index: usize, style: LayerStyle) -> Self {
        let LayerStyle { hidden, heads, head_dim, ffn, std, eps, .. } = style;
        let (group, width, init) = (index + 1, heads * head_dim, Init::Normal(style.std));
        let path = |name: &str| format!("layers.{index}.{name}");
        let maps = ["q", "k", "v", "distance"].map(|name| {
            let path = path(&format!("attn.{name}.weight"));
            let id = store.declare(&path, &[width, hidden], group, ParamKind::Weight, init);
            store.split(id, &[heads, head_dim, hidden]);
            id
        });
        let biases = ["content", "distance", "segment"].map(|name| {
            let path = path(&format!("attn.q.{name}_bias"));
            let id = store.declare(&path, &[width], group, ParamKind::Bias, init);
            store.split(id, &[heads, head_dim]);
            id
        });
        let segment =
            store.declare(&path("attn.segment.weight"), &[2, width], group, ParamKind::Weight, init);
        store.split(segment, &[2, heads, head_dim]);
        let out = Linear::declare_with(store, &path("attn.out"), [hidden, width], group, std, false);
        store.split(out.weight, &[hidden, heads, head_dim]);
        let attention_norm = LayerNorm::declare(store, &path("attn.norm"), hidden, group, eps);
        let up = Linear::declare(store, &path("ffn.up"), [ffn, hidden], group, std);
        let down = Linear::declare(store, &path("ffn.down"), [hidden, ffn], group, std);
        let ffn_norm = LayerNorm::declare(store, &path("ffn.norm"), hidden, group, eps);
        let sites =
            ["attn.probabilities", "attn.out", "asked.probabilities", "asked.out", "ffn.up", "ffn.down"]
                .map(path);
        Layer { index, style, sites, maps, biases, segment, out, attention_norm, up, down, ffn_norm }
    }

    /// # Shapes
    /// - `x` and result: `[tokens + asked, hidden]`; `remembered`: what went into this layer before
    fn forward(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        surroundings: &Surroundings,
        remembered: Option<Tensor<2>>,
    ) -> Result<Tensor<2>, topwork_nn::Error> {
        let [_, key, value, distance] = self.maps;
        let Surroundings { around, asked, .. } = surroundings;
        let tokens = surroundings.segments.len();
        let known = if asked.is_some() { x.clone().narrow(0, 0, tokens) } else { x.clone() };
        let keys = around.joined.rows(remembered, known.clone());
        let keys_values = [pass.linear(keys.clone(), key, None)?, pass.linear(keys, value, None)?];
        let waves = pass.linear(around.waves.clone(), distance, None)?;

        let q = pass.linear(known.clone(), self.maps[0], None)?;
        let mixed = self.attend(pass, q, (&keys_values, &waves), surroundings, &around.layout, 0)?;
        let mut streams = vec![self.summed(pass, mixed, known, 1)?];
        if let Some(asked) = asked {
            let own = x.narrow(0, tokens, asked.tokens.len());
            let q = pass.linear(own.clone(), self.maps[0], None)?;
            let nobody = Tensor::zeros([1, q.dims()[1]], &q.device());
            let q = topwork_ops::embedding(cat_rows(vec![q, nobody]), &asked.rows);
            let mixed = self.attend(pass, q, (&keys_values, &waves), surroundings, &asked.layout, 2)?;
            streams.push(self.summed(pass, topwork_ops::embedding(mixed, &asked.tokens), own, 3)?);
        }
        let x = cat_rows(streams);
        let x = pass.at(Site::AfterAttention, self.index, x);

        let added = match pass.dropout(self.style.dropout, &self.sites[4]) {
            None => self.up.forward_through(pass, x.clone(), self.style.activation, &self.down)?,
            inner => {
                let up = self.up.forward_activated(pass, x.clone(), self.style.activation)?;
                self.down.forward(pass, topwork_ops::dropout(up, inner))?
            }
        };
        let dropout = pass.dropout(self.style.dropout, &self.sites[5]);
        let end = BlockEnd { last: &self.down, added, before: x, dropout };
        let x = end.normed(pass, &self.ffn_norm)?;
        Ok(pass.at(Site::BlockOutput, self.index, x))
    }

    /// What queries find among the keys.
    fn attend(
        &self,
        pass: &Pass,
        q: Tensor<2>,
        ([k, v], waves): (&[Tensor<2>; 2], &Tensor<2>),
        surroundings: &Surroundings,
        layout: &AttendLayout,
        site: usize,
    ) -> Result<Tensor<2>, topwork_nn::Error> {
        let [content, distance, segment] = self.biases;
        let width = q.dims()[1];
        let with = |bias: ParamId| -> Result<Tensor<2>, topwork_nn::Error> {
            Ok(q.clone() + pass.vector(bias)?.reshape([1, width]))
        };
        let segments = Segments::new(
            with(segment)?,
            pass.matrix(self.segment)?,
            self.style.heads,
            Arc::clone(&surroundings.segments),
            Arc::clone(&surroundings.key_segments),
        );
        let terms = RelativeTerms {
            of_queries: Some((with(distance)?, waves.clone())),
            of_keys: None,
            table: Arc::clone(&surroundings.around.table),
            segments: Some(segments),
        };
        let dropout = pass.dropout(self.style.dropout, &self.sites[site]);
        Ok(topwork_ops::relative_attend(with(content)?, k.clone(), v.clone(), layout, terms, dropout))
    }

    /// What attention mixed, through the map behind it, added to `x` and normed.
    fn summed(
        &self,
        pass: &Pass,
        mixed: Tensor<2>,
        x: Tensor<2>,
        site: usize,
    ) -> Result<Tensor<2>, topwork_nn::Error> {
        let dropout = pass.dropout(self.style.dropout, &self.sites[site]);
        let added = self.out.forward(pass, mixed)?;
        BlockEnd { last: &self.out, added, before: x, dropout }.normed(pass, &self.attention_norm)
    }
}
