//! The encoder-decoder that BART, mBART and Marian have in common: words and places are added, then layers of attention, on the
//! side that writes attention to the source too, and a feed-forward block. A family file reads its own config into these
//! settings; nothing here knows which family it serves.

pub mod layer;
pub mod names;

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};
use topwork_kernels::activation::Activation;
use topwork_kernels::attend_layout::Mask;
use topwork_kernels::pool::Pool;
use topwork_nn::layers::LayerNorm;
use topwork_nn::{Cache, Init, ParamId, ParamKind, ParamStore, Pass, Site};
use topwork_text::Packed;

use crate::causal::{self, FinalNorm};
use crate::config::Config;
use crate::encoder_decoder::layer::{Above, Layer, LayerConfig};
use crate::error::Error;
use crate::family::{ClassifierStyle, Encoder, LanguageModelStyle, Size};
use crate::target::{Sources, Start, TargetSide, TargetStyle};

/// Added to the variance in norms.
const EPS: f64 = 1e-5;

/// How a token's place is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Places {
    /// By a row of a table, so many rows behind its start.
    Learned(usize),
    /// By waves: sines in the first half of the columns, cosines in the second.
    ///
    /// Paper: Vaswani et al. 2017, "Attention Is All You Need", section 3.5, <https://arxiv.org/abs/1706.03762>; differs from
    /// the paper in where the cosines stand.
    Waves,
}

/// Settings of both sides.
#[derive(Clone, Debug)]
pub struct EncoderDecoderConfig {
    /// Sizes of the encoder.
    pub size: Size,
    /// Sizes of the side that writes.
    pub target: Size,
    /// True if norms stand before blocks, and behind the last layer; false if they stand after blocks.
    pub pre_norm: bool,
    /// How places are told.
    pub places: Places,
    /// Whether there is a norm after words and places were added.
    pub embedding_norm: bool,
    /// What words are multiplied by before.
    pub scale: f32,
    /// True if both sides have the same table of words.
    pub shared: bool,
    /// Activation of the feed-forward blocks.
    pub activation: Activation,
    /// Dropout on embeddings and on what blocks add.
    pub dropout: f32,
    /// Dropout on attention probabilities.
    pub attention_dropout: f32,
    /// Dropout after the activation.
    pub activation_dropout: f32,
    /// Dropout of the classifier.
    pub classifier_dropout: f32,
    /// How targets begin and end.
    pub style: TargetStyle,
}

impl EncoderDecoderConfig {
    /// Reads what the families have under the same names. The table of words is shared, norms stand after blocks, and places
    /// are learned, until the family says otherwise; `start` is the default of what a target is read from, if there is one.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn read(
        config: Config,
        activation: Activation,
        [pad, end]: [u32; 2],
        start: Option<u32>,
    ) -> Result<Self, Error> {
        config.only("is_decoder", &false.into())?;
        config.only("tie_word_embeddings", &true.into())?;
        for key in ["encoder_layerdrop", "decoder_layerdrop"] {
            let share = config.number_or(key, 0.0)?;
            if share != 0.0 {
                let (key, expected) = (key.to_string(), "0: layers are not left out in training".to_string());
                return Err(Error::Config { key, expected, got: share.to_string() });
            }
        }
        let hidden = config.size("d_model")?;
        let side = |side: &str| -> Result<Size, Error> {
            Ok(Size {
                layers: config.size(&format!("{side}_layers"))?,
                hidden,
                heads: config.heads(&format!("{side}_attention_heads"), "d_model")?,
                ffn: config.size(&format!("{side}_ffn_dim"))?,
                vocab: config.size("vocab_size")?,
                max_tokens: config.size_or("max_position_embeddings", 1024)?,
                types: 0,
                std: config.number_or("init_std", 0.02)? as f32,
            })
        };
        let start = match (config.ids("decoder_start_token_id", &[])?.first(), start) {
            (Some(&id), _) | (None, Some(id)) => Start::Id(id),
            (None, None) => Start::Last,
        };
        Ok(EncoderDecoderConfig {
            size: side("encoder")?,
            target: side("decoder")?,
            pre_norm: false,
            places: Places::Learned(2),
            embedding_norm: true,
            scale: if config.flag_or("scale_embedding", false)? { (hidden as f32).sqrt() } else { 1.0 },
            shared: true,
            activation: config.activation_or("activation_function", activation)?,
            dropout: config.probability_or("dropout", 0.1)?,
            attention_dropout: config.probability_or("attention_dropout", 0.0)?,
            activation_dropout: config.probability_or("activation_dropout", 0.0)?,
            classifier_dropout: config.probability_or("classifier_dropout", 0.0)?,
            style: TargetStyle {
                start,
                pad: config.size_or("pad_token_id", pad as usize)? as u32,
                end: config.ids("eos_token_id", &[end])?,
                scale: 1.0,
                words: LanguageModelStyle { transform: None, tied: true, bias: None },
                fixed: true,
            },
        })
    }
}

/// The side that reads, and what is needed to declare the other.
pub struct EncoderDecoder {
    config: EncoderDecoderConfig,
    reader: Reader,
}

impl EncoderDecoder {
    /// Declares `embed.*`, `layers.*` and perhaps `final.norm`.
    pub fn declare(store: &mut ParamStore, config: EncoderDecoderConfig) -> Self {
        let path = if config.shared { "embed.word.weight" } else { "embed.source.weight" };
        let word = words(store, path, &config.size, 0);
        let reader = Reader::declare(store, &config, Side::Source, word);
        EncoderDecoder { config, reader }
    }
}

impl Encoder for EncoderDecoder {
    fn embed(&self, pass: &Pass, input: &Packed) -> Result<Tensor<2>, Error> {
        self.reader.embed(pass, input, None)
    }

    fn layers(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        offsets: &Arc<[u32]>,
        which: Range<usize>,
    ) -> Result<Tensor<2>, Error> {
        causal::layers(pass, x, offsets, (&self.reader.blocks, &self.reader.norm), which, &None)
    }

    fn size(&self) -> &Size {
        &self.config.size
    }

    fn word_table(&self) -> ParamId {
        self.reader.word
    }

    fn classifier(&self) -> ClassifierStyle {
        ClassifierStyle::dropped_twice(Pool::Mean, self.config.size.hidden, self.config.classifier_dropout)
    }

    fn language_model(&self) -> LanguageModelStyle {
        LanguageModelStyle { transform: None, tied: true, bias: None }
    }

    fn declare_target(&self, store: &mut ParamStore) -> Option<Box<dyn TargetSide>> {
        let config = &self.config;
        let word = match config.shared {
            true => self.reader.word,
            false => words(store, "target.embed.word.weight", &config.target, config.size.layers + 1),
        };
        let reader = Reader::declare(store, config, Side::Target, word);
        Some(Box::new(Writer { style: config.style.clone(), reader }))
    }
}

/// Declares a table of words.
fn words(store: &mut ParamStore, path: &str, size: &Size, group: usize) -> ParamId {
    let init = Init::Normal(size.std);
    store.declare(path, &[size.vocab, size.hidden], group, ParamKind::Weight, init)
}

/// The side that writes.
struct Writer {
    style: TargetStyle,
    reader: Reader,
}

impl TargetSide for Writer {
    fn size(&self) -> &Size {
        &self.reader.size
    }

    fn style(&self) -> &TargetStyle {
        &self.style
    }

    fn word_table(&self) -> ParamId {
        self.reader.word
    }

    fn read(
        &self,
        pass: &Pass,
        input: &Packed,
        sources: &Sources,
        cache: Option<&mut Cache>,
    ) -> Result<Tensor<2>, Error> {
        let Reader { first, blocks, norm, .. } = &self.reader;
        let x = self.reader.embed(pass, input, cache.as_deref())?;
        let x = sources.layers(pass, x, input, blocks, cache)?;
        norm.forward(pass, x, first + blocks.len())
    }
}

/// Which of the two texts a layer reads.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Source,
    Target,
}

/// Where the places of tokens come from.
enum PlaceTable {
    Learned(ParamId, u32),
    Waves(Box<Tensor<2>>),
}

/// Embeddings and layers of one side.
struct Reader {
    size: Size,
    /// The number of its first layer, counted through both sides.
    first: usize,
    word: ParamId,
    /// The token from whose row reading learns nothing; scoring words does.
    pad: u32,
    scale: f32,
    places: PlaceTable,
    embedding_norm: Option<LayerNorm>,
    dropout: f32,
    site: String,
    blocks: Vec<Arc<Layer>>,
    norm: FinalNorm,
}

impl Reader {
    fn declare(store: &mut ParamStore, config: &EncoderDecoderConfig, side: Side, word: ParamId) -> Self {
        let (size, base, first, group) = match side {
            Side::Source => (config.size.clone(), "", 0, 0),
            Side::Target => (config.target.clone(), "target.", config.size.layers, config.size.layers + 1),
        };
        let Size { layers, hidden, max_tokens, std, .. } = size;
        let places = match config.places {
            Places::Waves => PlaceTable::Waves(Box::new(waves(max_tokens, hidden, store))),
            Places::Learned(offset) => {
                let (path, shape) = (format!("{base}embed.position.weight"), [max_tokens + offset, hidden]);
                let table = store.declare(&path, &shape, group, ParamKind::Weight, Init::Normal(std));
                PlaceTable::Learned(table, offset as u32)
            }
        };
        let mut norm = |name: &str, wanted: bool, group: usize| {
            wanted.then(|| LayerNorm::declare(store, &format!("{base}{name}"), hidden, group, EPS))
        };
        let embedding_norm = norm("embed.norm", config.embedding_norm, group);
        let last = norm("final.norm", config.pre_norm, first + layers);
        let layer = LayerConfig {
            size: size.clone(),
            mask: if side == Side::Target { Mask::Causal } else { Mask::Full },
            across: side == Side::Target,
            pre_norm: config.pre_norm,
            qkv_bias: true,
            activation: config.activation,
            dropout: config.dropout,
            attention_dropout: config.attention_dropout,
            activation_dropout: config.activation_dropout,
            eps: EPS,
        };
        let above = Above { base, first, group: first + 1 };
        let blocks = (0..layers).map(|i| Arc::new(Layer::declare(store, i, above, &layer))).collect();
        Reader {
            size,
            first,
            word,
            pad: config.style.pad,
            scale: config.scale,
            places,
            embedding_norm,
            dropout: config.dropout,
            site: format!("{base}embed"),
            blocks,
            norm: last.map_or(FinalNorm::None, FinalNorm::Layer),
        }
    }

    fn embed(&self, pass: &Pass, input: &Packed, cache: Option<&Cache>) -> Result<Tensor<2>, Error> {
        let mut positions = causal::positions(input, cache, self.size.max_tokens)?;
        let mut x = pass.lookup_but(self.word, &input.ids, Some(self.pad))?;
        if self.scale != 1.0 {
            x = x * self.scale;
        }
        let places = match &self.places {
            PlaceTable::Waves(table) => topwork_ops::embedding(table.as_ref().clone(), &positions.into()),
            PlaceTable::Learned(table, offset) => {
                positions.iter_mut().for_each(|position| *position += offset);
                pass.lookup(*table, &positions)?
            }
        };
        let mut x = x + places;
        if let Some(norm) = &self.embedding_norm {
            x = norm.forward(pass, x)?;
        }
        let x = topwork_ops::dropout(x, pass.dropout(self.dropout, &self.site));
        Ok(pass.at(Site::Embedded, self.first, x))
    }
}

/// Sines and cosines of places: `[rows, hidden]`.
fn waves(rows: usize, hidden: usize, store: &ParamStore) -> Tensor<2> {
    let angle =
        |place: usize, at: usize| place as f64 / 10_000f64.powf((2 * (at / 2)) as f64 / hidden as f64);
    let mut values = Vec::with_capacity(rows * hidden);
    for place in 0..rows {
        values.extend((0..hidden).step_by(2).map(|at| angle(place, at).sin() as f32));
        values.extend((1..hidden).step_by(2).map(|at| angle(place, at).cos() as f32));
    }
    Tensor::from_data(TensorData::new(values, [rows, hidden]), store.device())
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn sines_come_before_cosines() {
        let table = waves(3, 6, &ParamStore::new(&Device::flex()));
        let values = table.into_data().try_into_vec::<f32>().unwrap();
        assert_eq!(values[..6], [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
        let slow = 2.0 / 10_000f64.powf(4.0 / 6.0);
        assert_eq!(values[12], 2f64.sin() as f32);
        assert_eq!([values[14], values[17]], [slow.sin() as f32, slow.cos() as f32]);
    }
}
