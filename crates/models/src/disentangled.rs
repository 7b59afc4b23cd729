//! The network that the versions of DeBERTa have in common: BERT's layers with attention whose scores have terms of content
//! and distance apart. A family file says how queries, keys and values are made, of tokens and of distances; nothing here knows
//! which family it serves.
//!
//! Paper: He et al. 2021, "DeBERTa: Decoding-enhanced BERT with Disentangled Attention", section 3.1,
//! <https://arxiv.org/abs/2006.03654>

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::Tensor;
use topwork_kernels::attend_layout::{AttendLayout, Mask};
use topwork_kernels::conv::Conv;
use topwork_nn::layers::{EncoderLayerConfig, EncoderTail, LayerNorm, Linear};
use topwork_nn::{Init, ParamId, ParamKind, ParamStore, Pass, Site};
use topwork_ops::RelativeTerms;
use topwork_text::Packed;

use crate::causal;
use crate::error::Error;
use crate::family::{ClassifierStyle, Encoder, LanguageModelStyle, Size, TaggerStyle};

mod settings;

pub use settings::{ConvSettings, Distances, Settings};

/// How a layer makes queries, keys and values.
pub trait Projections: Sized + Send + Sync + 'static {
    /// Declares what it needs below `layers.{index}.attn` in group `index + 1`.
    fn declare(store: &mut ParamStore, index: usize, settings: &Settings) -> Self;

    /// Queries, keys and values of tokens.
    ///
    /// # Shapes
    /// - `x` and each result: `[tokens, hidden]`
    ///
    /// # Errors
    /// A parameter without values.
    fn of_tokens(&self, pass: &Pass, x: Tensor<2>) -> Result<[Tensor<2>; 3], topwork_nn::Error>;

    /// The keys of distances, for queries to find; asked for only where [`Distances::of_queries`].
    ///
    /// # Shapes
    /// - `rows` and result: `[rows, hidden]`
    ///
    /// # Errors
    /// A parameter without values.
    fn distance_keys(&self, pass: &Pass, rows: Tensor<2>) -> Result<Tensor<2>, topwork_nn::Error>;

    /// The queries of distances, for keys to find; asked for only where [`Distances::of_keys`].
    ///
    /// # Shapes
    /// - `rows` and result: `[rows, hidden]`
    ///
    /// # Errors
    /// A parameter without values.
    fn distance_queries(&self, pass: &Pass, rows: Tensor<2>) -> Result<Tensor<2>, topwork_nn::Error>;
}

/// Maps that only distances have, those that the terms need.
pub struct DistanceMaps {
    keys: Option<Linear>,
    queries: Option<Linear>,
}

impl DistanceMaps {
    /// Declares `layers.{index}.attn.{distance_k,distance_q}`; `key_bias` says whether the first has a bias.
    pub fn declare(store: &mut ParamStore, index: usize, settings: &Settings, key_bias: bool) -> Self {
        let Size { hidden, std, .. } = settings.size;
        let mut needed = |name: &str, is: bool, bias: bool| {
            let path = format!("layers.{index}.attn.{name}");
            is.then(|| Linear::declare_with(store, &path, [hidden, hidden], index + 1, std, bias))
        };
        let distances = settings.distances.as_ref();
        DistanceMaps {
            keys: needed("distance_k", distances.is_some_and(|distances| distances.of_queries), key_bias),
            queries: needed("distance_q", distances.is_some_and(|distances| distances.of_keys), true),
        }
    }

    /// [`Projections::distance_keys`].
    ///
    /// # Shapes
    /// - `rows` and result: `[rows, hidden]`
    ///
    /// # Errors
    /// A parameter without values.
    pub fn keys(&self, pass: &Pass, rows: Tensor<2>) -> Result<Tensor<2>, topwork_nn::Error> {
        let Some(keys) = &self.keys else { unreachable!("asked for by the term that declared it") };
        keys.forward(pass, rows)
    }

    /// [`Projections::distance_queries`].
    ///
    /// # Shapes
    /// - `rows` and result: `[rows, hidden]`
    ///
    /// # Errors
    /// A parameter without values.
    pub fn queries(&self, pass: &Pass, rows: Tensor<2>) -> Result<Tensor<2>, topwork_nn::Error> {
        let Some(queries) = &self.queries else { unreachable!("asked for by the term that declared it") };
        queries.forward(pass, rows)
    }
}

/// Embeddings and layers.
pub struct Disentangled<P: Projections> {
    settings: Settings,
    embeddings: Tables,
    layers: Vec<Arc<Layer<P>>>,
}

/// The tables, the map to the width of the layers where that is another, and the norm.
struct Tables {
    word: ParamId,
    position: Option<ParamId>,
    types: Option<ParamId>,
    map: Option<Linear>,
    norm: LayerNorm,
}

impl<P: Projections> Disentangled<P> {
    /// Declares `embed.*` and `layers.*`.
    pub fn declare(store: &mut ParamStore, settings: Settings) -> Self {
        let Size { vocab, hidden, max_tokens, types, std, layers, .. } = settings.size;
        let (width, eps) = (settings.width, settings.eps);
        let init = Init::Normal(std);
        let mut table = |path: &str, rows, width| {
            let shape = [rows, width];
            store.declare(path, &shape, 0, ParamKind::Weight, init)
        };
        let word = table("embed.word.weight", vocab, width);
        let position = settings.positions.then(|| table("embed.position.weight", max_tokens, width));
        let types = (types > 0).then(|| table("embed.type.weight", types, width));
        let distance =
            settings.distances.map(|distances| table("embed.distance.weight", 2 * distances.span(), hidden));
        let map = (width != hidden)
            .then(|| Linear::declare_with(store, "embed.map", [hidden, width], 0, std, false));
        let norm = LayerNorm::declare(store, "embed.norm", hidden, 0, eps);
        let distance_norm = settings
            .distances
            .filter(|distances| distances.norm)
            .map(|_| LayerNorm::declare(store, "embed.distance_norm", hidden, 0, eps));
        let rows = distance.map(|table| (table, distance_norm));
        let layer = |index| Arc::new(Layer::declare(store, index, &settings, rows.clone()));
        let layers = (0..layers).map(layer).collect();
        Disentangled { settings, embeddings: Tables { word, position, types, map, norm }, layers }
    }

    /// Where the rows of a batch's distances lie: only those that its longest text has.
    fn places(&self, offsets: &[u32]) -> Places {
        let longest = offsets.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0).max(1);
        let last = i64::from(longest) - 1;
        let Some(distances) = &self.settings.distances else { return Places::default() };
        // Rows rise with query minus key, the table is by key minus query.
        let first = distances.row(-last) as u32;
        let table = (-last..=last).map(|distance| distances.row(-distance) as u32 - first);
        Places {
            rows: (first..=distances.row(last) as u32).collect(),
            table: table.collect(),
            zero: last as usize,
        }
    }
}

/// Which rows of the table of distances a batch needs, and which of them belongs to a distance.
#[derive(Clone, Debug, Default)]
struct Places {
    rows: Arc<[u32]>,
    table: Arc<[u32]>,
    zero: usize,
}

impl<P: Projections> Encoder for Disentangled<P> {
    fn embed(&self, pass: &Pass, input: &Packed) -> Result<Tensor<2>, Error> {
        let Tables { word, position, types, map, norm } = &self.embeddings;
        let positions = causal::positions(input, None, self.settings.size.max_tokens)?;
        let mut x = pass.lookup(*word, &input.ids)?;
        if let Some(table) = position {
            x = x + pass.lookup(*table, &positions)?;
        }
        if let Some(table) = types {
            x = x + pass.lookup(*table, &input.type_ids)?;
        }
        if let Some(map) = map {
            x = map.forward(pass, x)?;
        }
        let x = norm.forward(pass, x)?;
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
        let Size { heads, hidden, .. } = self.settings.size;
        let places = self.places(offsets);
        let layout = AttendLayout {
            scale: 1.0 / ((hidden / heads * self.settings.terms) as f32).sqrt(),
            zero: places.zero,
            ..AttendLayout::new(offsets, heads, hidden / heads, Mask::Full)
        };
        let mut x = pass.cut(x);
        for layer in &self.layers[which] {
            let (layer, layout, places) = (Arc::clone(layer), layout.clone(), places.clone());
            x = pass.segment(x, move |pass, x| layer.forward(pass, x, &layout, &places))?;
        }
        Ok(x)
    }

    fn size(&self) -> &Size {
        &self.settings.size
    }

    fn word_table(&self) -> ParamId {
        self.embeddings.word
    }

    fn classifier(&self) -> ClassifierStyle {
        self.settings.classifier
    }

    fn tagger(&self) -> TaggerStyle {
        TaggerStyle::plain("head.out", self.settings.tagger_dropout)
    }

    fn language_model(&self) -> LanguageModelStyle {
        self.settings.language_model
    }
}

/// BERT's layer over disentangled attention; the first one perhaps with a convolution beside it.
struct Layer<P> {
    index: usize,
    sites: [String; 2],
    dropout: f32,
    attention_dropout: f32,
    distances: Option<Distances>,
    /// The rows of distances, shared by all layers, and their norm.
    rows: Option<(ParamId, Option<LayerNorm>)>,
    projections: P,
    tail: EncoderTail,
    conv: Option<Convolution>,
}

impl<P: Projections> Layer<P> {
    fn declare(
        store: &mut ParamStore,
        index: usize,
        settings: &Settings,
        rows: Option<(ParamId, Option<LayerNorm>)>,
    ) -> Self {
        let Size { hidden, heads, ffn, std, .. } = settings.size;
        let Settings { dropout, attention_dropout, distances, .. } = *settings;
        let path = |name: &str| format!("layers.{index}.{name}");
        let projections = P::declare(store, index, settings);
        let config = EncoderLayerConfig {
            hidden,
            heads,
            ffn,
            activation: settings.activation,
            hidden_dropout: dropout,
            attention_dropout,
            eps: settings.eps,
            std,
        };
        let tail = EncoderTail::declare(store, index, config);
        let conv = settings.conv.filter(|_| index == 0);
        let conv = conv.map(|conv| Convolution::declare(store, settings, conv));
        let sites = [path("attn.probabilities"), path("attn.distances")];
        Layer { index, sites, dropout, attention_dropout, distances, rows, projections, tail, conv }
    }

    fn forward(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        layout: &AttendLayout,
        places: &Places,
    ) -> Result<Tensor<2>, topwork_nn::Error> {
        let [q, k, v] = self.projections.of_tokens(pass, x.clone())?;
        let [q, k, v] = pass.fronted(self.index, [q, k, v], &layout.q_offsets)?;
        let terms = self.terms(pass, &q, places)?;
        let dropout = pass.dropout(self.attention_dropout, &self.sites[0]);
        let mixed = topwork_ops::relative_attend(q, k, v, layout, terms, dropout);
        let mut y = self.tail.forward(pass, mixed, x.clone())?;
        if let Some(conv) = &self.conv {
            y = conv.forward(pass, x, y, &layout.q_offsets)?;
        }
        Ok(pass.at(Site::BlockOutput, self.index, y))
    }

    /// What stands beside the products of content in the scores.
    fn terms(&self, pass: &Pass, q: &Tensor<2>, places: &Places) -> Result<RelativeTerms, topwork_nn::Error> {
        let (Some(distances), Some((table, norm))) = (&self.distances, &self.rows) else {
            return Ok(RelativeTerms::default());
        };
        let mut rows = pass.lookup(*table, &places.rows)?;
        if let Some(norm) = norm {
            rows = norm.forward(pass, rows)?;
        }
        let rows = topwork_ops::dropout(rows, pass.dropout(self.dropout, &self.sites[1]));
        let mut terms = RelativeTerms { table: Arc::clone(&places.table), ..Default::default() };
        if distances.of_queries {
            terms.of_queries = Some((q.clone(), self.projections.distance_keys(pass, rows.clone())?));
        }
        if distances.of_keys {
            terms.of_keys = Some(self.projections.distance_queries(pass, rows)?);
        }
        Ok(terms)
    }
}

/// `LayerNorm(y + activation(dropout(conv(x))))`, of what the first layer reads and gives.
struct Convolution {
    settings: ConvSettings,
    dropout: f32,
    weight: ParamId,
    bias: ParamId,
    norm: LayerNorm,
}

impl Convolution {
    /// Declares `layers.0.conv.*`.
    fn declare(store: &mut ParamStore, settings: &Settings, conv: ConvSettings) -> Self {
        let Size { hidden, std, .. } = settings.size;
        let (shape, init) = ([hidden, hidden, conv.width], Init::Normal(std));
        Convolution {
            settings: conv,
            dropout: settings.dropout,
            weight: store.declare("layers.0.conv.weight", &shape, 1, ParamKind::Weight, init),
            bias: store.declare("layers.0.conv.bias", &shape[..1], 1, ParamKind::Bias, Init::Zeros),
            norm: LayerNorm::declare(store, "layers.0.conv.norm", hidden, 1, settings.eps),
        }
    }

    fn forward(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        y: Tensor<2>,
        offsets: &Arc<[u32]>,
    ) -> Result<Tensor<2>, topwork_nn::Error> {
        let ConvSettings { width, activation } = self.settings;
        let (weight, bias) = (pass.matrix(self.weight)?, pass.vector(self.bias)?);
        let conv = |bias| {
            let (x, weight) = (x.clone(), weight.clone());
            topwork_ops::conv1d(x, weight, bias, offsets, Conv::same(width), pass.precision())
        };
        let z = match pass.dropout(self.dropout, "layers.0.conv") {
            None => topwork_ops::bias_activation(conv(None), bias, activation),
            dropout => {
                let zeros = pass.vector_or_zeros(None, x.dims()[1])?;
                topwork_ops::bias_activation(
                    topwork_ops::dropout(conv(Some(bias)), dropout),
                    zeros,
                    activation,
                )
            }
        };
        self.norm.forward_residual(pass, z, y, None)
    }
}
