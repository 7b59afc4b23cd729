//! Encoders of LSTM layers over a table of words: what AWD-LSTM, Flair's language models and the plain BiLSTM have in common. A
//! family file says which way its layers read and where they drop what; nothing here knows which family it serves.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::Tensor;
use topwork_nn::layers::{Linear, Lstm};
use topwork_nn::{Cache, Init, ParamId, ParamKind, ParamStore, Pass, Site};
use topwork_ops::LstmStates;
use topwork_text::Packed;

use crate::error::Error;
use crate::family::{
    ClassifierStyle, ConcatStyle, Decoder, Encoder, LanguageModelStyle, Regularisation, Size,
};

/// Dropout behind a part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DropStyle {
    /// None.
    Nothing,
    /// Of single numbers.
    Plain(f32),
    /// Of the same columns at every token of a text.
    Locked(f32),
}

impl DropStyle {
    fn forward(self, pass: &Pass, x: Tensor<2>, offsets: &Arc<[u32]>, site: &str) -> Tensor<2> {
        match self {
            DropStyle::Nothing => x,
            DropStyle::Plain(p) => topwork_ops::dropout(x, pass.dropout(p, site)),
            DropStyle::Locked(p) => topwork_ops::locked_dropout(x, offsets, pass.dropout(p, site)),
        }
    }
}

/// Which way the layers read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// From the first token to the last: a decoder too.
    Forward,
    /// From the last token to the first.
    Backward,
    /// Both, side by side; each layer sees both directions of the one before.
    Both,
}

/// Settings of the encoder.
pub struct RecurrentConfig {
    /// Sizes; `hidden` is what comes out in the end.
    pub size: Size,
    /// Width of a word's row.
    pub embedding: usize,
    /// Width of what comes out of each layer, both directions together.
    pub widths: Vec<usize>,
    /// Which way the layers read.
    pub reads: Reads,
    /// Dropout of whole words.
    pub word_drop: f32,
    /// Dropout on the embeddings.
    pub embedding_drop: DropStyle,
    /// Dropout on recurrent weights.
    pub weight_drop: f32,
    /// Dropout between layers.
    pub between: DropStyle,
    /// Whether a projection to `hidden` stands behind the last layer.
    pub projection: bool,
    /// Dropout behind all of it.
    pub output_drop: DropStyle,
    /// The family's classifier.
    pub classifier: ClassifierStyle,
    /// The family's own classifier, where it reads more than one row of a text.
    pub concat: Option<ConcatStyle>,
    /// How the family predicts words.
    pub language_model: LanguageModelStyle,
    /// What its language model does in training.
    pub regularisation: Option<Regularisation>,
}

/// A table and layers.
pub struct Recurrent {
    config: RecurrentConfig,
    table: ParamId,
    /// Shared with the segments of a pass that recomputes them.
    layers: Vec<Arc<Layer>>,
}

/// One layer.
struct Layer {
    index: usize,
    directions: Vec<Lstm>,
    projection: Option<Linear>,
    after: DropStyle,
    site: String,
}

impl Recurrent {
    /// Declares `embed.word`, `layers.{i}.{forward,backward}` and, if there is a projection, `final.projection`.
    pub fn declare(store: &mut ParamStore, config: RecurrentConfig) -> Self {
        let (size, std) = (&config.size, config.size.std);
        let shape = [size.vocab, config.embedding];
        let table = store.declare("embed.word.weight", &shape, 0, ParamKind::Weight, Init::Normal(std));
        let names: &[&str] = match config.reads {
            Reads::Forward => &["forward"],
            Reads::Backward => &["backward"],
            Reads::Both => &["forward", "backward"],
        };
        let mut inputs = config.embedding;
        let mut layers = Vec::with_capacity(size.layers);
        for (index, &width) in config.widths.iter().enumerate() {
            let last = index + 1 == size.layers;
            let mut lstm = |&name: &&str| {
                let (path, way) =
                    (format!("layers.{index}.{name}"), (name == "backward", config.weight_drop));
                Lstm::declare(store, &path, [inputs, width / names.len()], index + 1, way)
            };
            let directions = names.iter().map(&mut lstm).collect();
            let sizes = [size.hidden, width];
            let projection = (last && config.projection)
                .then(|| Linear::declare(store, "final.projection", sizes, index + 1, std));
            let after = if last { config.output_drop } else { config.between };
            layers.push(Arc::new(Layer {
                index,
                directions,
                projection,
                after,
                site: format!("layers.{index}"),
            }));
            inputs = width;
        }
        Recurrent { config, table, layers }
    }
}

impl Layer {
    /// # Shapes
    /// - `x`: `[tokens, width before]`; returns `[tokens, width]`
    fn forward(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        offsets: &Arc<[u32]>,
        cache: Option<&mut Cache>,
    ) -> Result<Tensor<2>, topwork_nn::Error> {
        let state = cache.as_deref().and_then(|cache| cache.state(self.index));
        let mut outputs = Vec::with_capacity(self.directions.len());
        let mut last = None;
        for lstm in &self.directions {
            let LstmStates { y, h_n, c_n } = lstm.forward(pass, x.clone(), offsets, state.clone())?;
            outputs.push(y);
            last = Some((h_n, c_n));
        }
        if let (Some(cache), Some(state)) = (cache, last) {
            cache.set_state(self.index, state);
        }
        let mut y = if outputs.len() == 1 { outputs.swap_remove(0) } else { Tensor::cat(outputs, 1) };
        if let Some(projection) = &self.projection {
            y = projection.forward(pass, y)?;
        }
        let y = self.after.forward(pass, y, offsets, &self.site);
        Ok(pass.at(Site::BlockOutput, self.index, y))
    }
}

impl Encoder for Recurrent {
    fn embed(&self, pass: &Pass, input: &Packed) -> Result<Tensor<2>, Error> {
        let (ids, offsets) = (Arc::from(input.ids.as_slice()), Arc::from(input.offsets.as_slice()));
        let rows = pass.lookup(self.table, &input.ids)?;
        let rows =
            topwork_ops::embedding_dropout(rows, &ids, pass.dropout(self.config.word_drop, "embed.word"));
        let x = self.config.embedding_drop.forward(pass, rows, &offsets, "embed");
        Ok(pass.at(Site::Embedded, 0, x))
    }

    fn layers(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        offsets: &Arc<[u32]>,
        which: Range<usize>,
    ) -> Result<Tensor<2>, Error> {
        let mut hidden = pass.cut(x);
        for layer in &self.layers[which] {
            let (layer, offsets) = (Arc::clone(layer), Arc::clone(offsets));
            hidden = pass.segment(hidden, move |pass, x| layer.forward(pass, x, &offsets, None))?;
        }
        Ok(hidden)
    }

    fn size(&self) -> &Size {
        &self.config.size
    }

    fn width(&self, depth: usize) -> usize {
        match depth.checked_sub(2) {
            None => self.config.embedding,
            Some(layer) if layer + 1 < self.layers.len() => self.config.widths[layer],
            Some(_) => self.config.size.hidden,
        }
    }

    fn word_table(&self) -> ParamId {
        self.table
    }

    fn classifier(&self) -> ClassifierStyle {
        self.config.classifier
    }

    fn concat_classifier(&self) -> Option<ConcatStyle> {
        self.config.concat
    }

    fn decoder(&self) -> Option<&dyn Decoder> {
        if self.config.reads == Reads::Forward { Some(self) } else { None }
    }

    fn language_model(&self) -> LanguageModelStyle {
        self.config.language_model
    }

    fn regularisation(&self) -> Option<Regularisation> {
        self.config.regularisation
    }
}

impl Decoder for Recurrent {
    fn read_on(&self, pass: &Pass, input: &Packed, cache: &mut Cache) -> Result<Tensor<2>, Error> {
        let offsets: Arc<[u32]> = Arc::from(input.offsets.as_slice());
        let mut x = self.embed(pass, input)?;
        for layer in &self.layers {
            x = layer.forward(pass, x, &offsets, Some(&mut *cache))?;
        }
        cache.advance(&offsets);
        Ok(x)
    }
}
