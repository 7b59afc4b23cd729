//! The network that GPT and GPT-2 have in common: a table of words and one of positions, then layers of the same parts. A family
//! file says in what order a layer's parts follow each other, and what norm is behind them; nothing here knows which family it
//! serves.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::Tensor;
use serde_json::json;
use topwork_kernels::activation::Activation;
use topwork_kernels::attend_layout::Mask;
use topwork_kernels::pool::Pool;
use topwork_nn::layers::{LayerNorm, Linear};
use topwork_nn::{
    AttentionStyle, BlockEnd, Cache, Context, Init, ParamId, ParamKind, ParamStore, Pass, Site,
};
use topwork_text::Packed;

use crate::causal::{self, Block, FinalNorm};
use crate::config::Config;
use crate::error::Error;
use crate::family::{ClassifierStyle, Decoder, Encoder, LanguageModelStyle, Size, TaggerStyle};
use crate::onnx::blocks::{self, Attention};
use crate::onnx::{EncoderGraph, Graph, Texts, Value};

/// Settings that both families read under the same names.
pub struct Settings {
    /// Sizes.
    pub size: Size,
    /// Activation of the feed-forward blocks.
    pub activation: Activation,
    /// Added to the variance in norms.
    pub eps: f64,
    /// Dropout on the sum of the tables.
    pub embedding_dropout: f32,
    /// Dropout on what blocks add.
    pub residual_dropout: f32,
    /// Dropout on attention probabilities.
    pub attention_dropout: f32,
    /// Dropout before the score of a text among which one is right.
    pub choice_dropout: f32,
}

impl Settings {
    /// Reads them, with the number of positions where the config says none. The feed-forward block is four times as wide.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn read(config: Config, positions: usize, activation: Activation) -> Result<Self, Error> {
        config.only("summary_type", &json!("cls_index"))?;
        config.only("summary_use_proj", &json!(true))?;
        config.only("summary_proj_to_labels", &json!(true))?;
        config.only("summary_activation", &json!(null))?;
        let hidden = config.size("n_embd")?;
        Ok(Settings {
            size: Size {
                layers: config.size("n_layer")?,
                hidden,
                heads: config.heads("n_head", "n_embd")?,
                ffn: 4 * hidden,
                vocab: config.size("vocab_size")?,
                max_tokens: config.size_or("n_positions", positions)?,
                types: 0,
                std: config.number_or("initializer_range", 0.02)? as f32,
            },
            activation,
            eps: config.number_or("layer_norm_epsilon", 1e-5)?,
            embedding_dropout: config.probability_or("embd_pdrop", 0.1)?,
            residual_dropout: config.probability_or("resid_pdrop", 0.1)?,
            attention_dropout: config.probability_or("attn_pdrop", 0.1)?,
            choice_dropout: config.probability_or("summary_first_dropout", 0.1)?,
        })
    }
}

/// The parts of one layer.
pub struct Parts {
    /// The layer's number.
    pub index: usize,
    /// The norm of the attention block.
    pub attention_norm: LayerNorm,
    /// The norm of the feed-forward block.
    pub ffn_norm: LayerNorm,
    sites: [String; 3],
    hidden: usize,
    style: AttentionStyle,
    activation: Activation,
    attention_dropout: f32,
    residual_dropout: f32,
    qkv: Linear,
    out: Linear,
    up: Linear,
    down: Linear,
}

impl Parts {
    /// Declares `layers.{index}.attn.{qkv,out,norm}` and `layers.{index}.ffn.{up,down,norm}`. `added` is the standard deviation of
    /// fresh maps whose result is added to what goes past the blocks; scores are divided by `divide` beside the root of the
    /// head's width.
    pub fn declare(
        store: &mut ParamStore,
        index: usize,
        settings: &Settings,
        added: f32,
        divide: f32,
    ) -> Self {
        let Size { hidden, heads, ffn, std, .. } = settings.size;
        let (group, eps) = (index + 1, settings.eps);
        let path = |name: &str| format!("layers.{index}.{name}");
        let attention_norm = LayerNorm::declare(store, &path("attn.norm"), hidden, group, eps);
        let qkv = Linear::declare(store, &path("attn.qkv"), [3 * hidden, hidden], group, std);
        let out = Linear::declare(store, &path("attn.out"), [hidden, hidden], group, added);
        let ffn_norm = LayerNorm::declare(store, &path("ffn.norm"), hidden, group, eps);
        let up = Linear::declare(store, &path("ffn.up"), [ffn, hidden], group, std);
        let down = Linear::declare(store, &path("ffn.down"), [hidden, ffn], group, added);
        let scale = 1.0 / ((hidden / heads) as f32).sqrt() / divide;
        Parts {
            index,
            attention_norm,
            ffn_norm,
            sites: [path("attn.probabilities"), path("attn.out"), path("ffn.down")],
            hidden,
            style: AttentionStyle { heads, kv_heads: heads, scale, mask: Mask::Causal },
            activation: settings.activation,
            attention_dropout: settings.attention_dropout,
            residual_dropout: settings.residual_dropout,
            qkv,
            out,
            up,
            down,
        }
    }

    /// What attention makes of `x`, on its way to `before`, which `x` is made of.
    ///
    /// # Shapes
    /// - `x`, `before` and what the end gives: `[tokens, hidden]`
    ///
    /// # Errors
    /// A parameter without values.
    pub fn attended(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        before: Tensor<2>,
        context: &mut Context,
    ) -> Result<BlockEnd<'_>, topwork_nn::Error> {
        let [_, hidden] = x.dims();
        let qkv = self.qkv.forward(pass, x)?;
        let part = |at: usize| qkv.clone().slice_dim(1, at * hidden..(at + 1) * hidden);
        let dropout = pass.dropout(self.attention_dropout, &self.sites[0]);
        let qkv = pass.fronted(self.index, [part(0), part(1), part(2)], context.offsets())?;
        let mixed = context.attend(self.index, qkv, &self.style, dropout);
        let added = self.out.forward(pass, mixed)?;
        let dropout = pass.dropout(self.residual_dropout, &self.sites[1]);
        Ok(BlockEnd { last: &self.out, added, before, dropout })
    }

    /// What the feed-forward block makes of `x`, on its way to `before`, which `x` is made of.
    ///
    /// # Shapes
    /// - `x`, `before` and what the end gives: `[tokens, hidden]`
    ///
    /// # Errors
    /// A parameter without values.
    pub fn fed(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        before: Tensor<2>,
    ) -> Result<BlockEnd<'_>, topwork_nn::Error> {
        let added = self.up.forward_through(pass, x, self.activation, &self.down)?;
        let dropout = pass.dropout(self.residual_dropout, &self.sites[2]);
        Ok(BlockEnd { last: &self.down, added, before, dropout })
    }
}

impl Parts {
    /// [`Parts::attended`] as a graph, without what is dropped.
    ///
    /// # Errors
    /// A parameter without values.
    pub fn describe_attended(&self, graph: &mut Graph, x: &Value, bias: &Value) -> Result<Value, Error> {
        let (path, hidden) = (format!("layers.{}.attn", self.index), self.hidden);
        graph.enter(&path);
        let qkv = graph.linear_at(x, &format!("{path}.qkv"))?;
        let [q, k, v] = [0, 1, 2].map(|at| graph.slice(&qkv, -1, at * hidden..(at + 1) * hidden));
        let attention = Attention { scale: self.style.scale, ..Attention::new(self.style.heads, hidden) };
        let mixed = attention.attend(graph, [&q, &k, &v], bias);
        graph.linear_at(&mixed, &format!("{path}.out"))
    }

    /// [`Parts::fed`] as a graph, without what is dropped.
    ///
    /// # Errors
    /// A parameter without values.
    pub fn describe_fed(&self, graph: &mut Graph, x: &Value) -> Result<Value, Error> {
        let path = format!("layers.{}.ffn", self.index);
        graph.enter(&path);
        blocks::feed_forward(graph, x, &path, self.activation)
    }

    /// The norm of `attn` or of `ffn` as a graph.
    ///
    /// # Errors
    /// A parameter without values.
    pub fn describe_norm(&self, graph: &mut Graph, x: &Value, block: &str) -> Result<Value, Error> {
        graph.layer_norm(x, &format!("layers.{}.{block}.norm", self.index), self.attention_norm.eps)
    }
}

/// A layer that can say its computation.
pub trait LayerGraph {
    /// Adds it to a graph.
    ///
    /// # Shapes
    /// - `x` and result: `[batch, sequence, hidden]`; `bias`: what is added to scores
    ///
    /// # Errors
    /// A parameter without values.
    fn describe(&self, graph: &mut Graph, x: &Value, bias: &Value) -> Result<Value, Error>;
}

/// The tables of words and of positions.
pub struct Tables {
    word: ParamId,
    position: ParamId,
}

impl Tables {
    /// Declares `embed.word` and `embed.position` in group 0.
    pub fn declare(store: &mut ParamStore, size: &Size) -> Self {
        let init = Init::Normal(size.std);
        let mut table =
            |path: &str, rows| store.declare(path, &[rows, size.hidden], 0, ParamKind::Weight, init);
        Tables {
            word: table("embed.word.weight", size.vocab),
            position: table("embed.position.weight", size.max_tokens),
        }
    }
}

/// Tables, layers and a norm.
pub struct LearnedPositions<B: Block<Shared = ()> + LayerGraph> {
    /// Sizes.
    pub size: Size,
    /// Words and positions, which are added.
    pub tables: Tables,
    /// Dropout on their sum.
    pub embedding_dropout: f32,
    /// The layers, shared with the segments of a pass that recomputes them.
    pub blocks: Vec<Arc<B>>,
    /// The norm behind them.
    pub norm: FinalNorm,
    /// The family's tagger.
    pub tagger: TaggerStyle,
    /// Dropout before the score of a text among which one is right.
    pub choice_dropout: f32,
}

impl<B: Block<Shared = ()> + LayerGraph> LearnedPositions<B> {
    fn embedded(&self, pass: &Pass, input: &Packed, cache: Option<&Cache>) -> Result<Tensor<2>, Error> {
        let positions = causal::positions(input, cache, self.size.max_tokens)?;
        let Tables { word, position } = self.tables;
        let sum = pass.lookup(word, &input.ids)? + pass.lookup(position, &positions)?;
        let x = topwork_ops::dropout(sum, pass.dropout(self.embedding_dropout, "embed"));
        Ok(pass.at(Site::Embedded, 0, x))
    }
}

impl<B: Block<Shared = ()> + LayerGraph> Encoder for LearnedPositions<B> {
    fn embed(&self, pass: &Pass, input: &Packed) -> Result<Tensor<2>, Error> {
        self.embedded(pass, input, None)
    }

    fn layers(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        offsets: &Arc<[u32]>,
        which: Range<usize>,
    ) -> Result<Tensor<2>, Error> {
        causal::layers(pass, x, offsets, (&self.blocks, &self.norm), which, &())
    }

    fn size(&self) -> &Size {
        &self.size
    }

    fn word_table(&self) -> ParamId {
        self.tables.word
    }

    fn classifier(&self) -> ClassifierStyle {
        ClassifierStyle { pool: Pool::Last, dense: None, dropout: 0.0, out: "head.out", bias: false }
    }

    fn tagger(&self) -> TaggerStyle {
        self.tagger
    }

    fn chooser(&self) -> ClassifierStyle {
        ClassifierStyle { dropout: self.choice_dropout, out: "head.choice", bias: true, ..self.classifier() }
    }

    fn language_model(&self) -> LanguageModelStyle {
        LanguageModelStyle { transform: None, tied: true, bias: None }
    }

    fn decoder(&self) -> Option<&dyn Decoder> {
        Some(self)
    }

    fn onnx(&self) -> Option<&dyn EncoderGraph> {
        Some(self)
    }
}

impl<B: Block<Shared = ()> + LayerGraph> EncoderGraph for LearnedPositions<B> {
    fn describe(&self, graph: &mut Graph, texts: &Texts) -> Result<Value, Error> {
        graph.enter("embed");
        let positions = blocks::positions(graph, &texts.ids, 0);
        let words = graph.lookup("embed.word.weight", &texts.ids)?;
        let places = graph.lookup("embed.position.weight", &positions)?;
        let mut x = graph.add(&words, &places);
        let (distances, padding) =
            (blocks::distances(graph, &positions), blocks::padding_bias(graph, &texts.mask));
        let bias = blocks::sight(graph, &distances, &padding, &Mask::Causal);
        for block in &self.blocks {
            x = block.describe(graph, &x, &bias)?;
        }
        self.norm.describe(graph, x)
    }
}

impl<B: Block<Shared = ()> + LayerGraph> Decoder for LearnedPositions<B> {
    fn read_on(&self, pass: &Pass, input: &Packed, cache: &mut Cache) -> Result<Tensor<2>, Error> {
        let x = self.embedded(pass, input, Some(cache))?;
        causal::layers_cached(pass, x, input, (&self.blocks, &self.norm), cache, &())
    }
}
