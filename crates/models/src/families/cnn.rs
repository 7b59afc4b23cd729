//! A convolution over words and the maximum of each filter: a baseline, trained from nothing or from static word vectors.
//!
//! Paper: Kim 2014, "Convolutional Neural Networks for Sentence Classification", section 2, <https://arxiv.org/abs/1408.5882>.
//! Differs from the paper in that there is an output for each token: zeros are put around a text so that a window stands
//! around each of them, and no further windows. Weights have the names and shapes of PyTorch's `nn.Conv1d`.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::Tensor;
use serde_json::Value;
use topwork_kernels::activation::Activation;
use topwork_kernels::conv::Conv;
use topwork_kernels::pool::Pool;
use topwork_nn::{Init, ParamId, ParamKind, ParamStore, Pass, Site};
use topwork_text::Packed;
use topwork_weights::Op::Keep;
use topwork_weights::Table;

use crate::config::Config;
use crate::error::Error;
use crate::family::{ClassifierStyle, DenseStyle, Encoder, Family, LanguageModelStyle, NO_LIMIT, Size};

/// The entry in the list.
pub const CNN: Family = Family {
    name: "cnn",
    summary: "a convolution over words (Kim 2014), from nothing or from word vectors",
    paper: "https://arxiv.org/abs/1408.5882",
    model_types: &["cnn"],
    architectures: &[
        ("embed", "TextCNN"),
        ("classify", "TextCNNForSequenceClassification"),
        ("masked-lm", "TextCNNForMaskedLM"),
        ("tag", "TextCNNForTokenClassification"),
    ],
    weights: Table {
        rules: &[
            ("embeddings.weight", "embed.word.weight", Keep),
            ("convs.{i}.weight", "layers.0.filters.{i}.weight", Keep),
            ("convs.{i}.bias", "layers.0.filters.{i}.bias", Keep),
            ("classifier.weight", "head.out.weight", Keep),
            ("classifier.bias", "head.out.bias", Keep),
            ("lm_dense.weight", "head.mlm.dense.weight", Keep),
            ("lm_dense.bias", "head.mlm.dense.bias", Keep),
            ("lm_bias", "head.mlm.bias", Keep),
        ],
        unused: &[("head.**", "a head of another task, not used by this one")],
        ..Table::EMPTY
    },
    build: |config, store| Ok(Box::new(Cnn::declare(store, Config(config))?)),
};

/// A table and filters of several widths.
struct Cnn {
    size: Size,
    embedding: usize,
    table: ParamId,
    filters: Arc<Vec<Filter>>,
    activation: Activation,
    dropout: f32,
}

/// Filters of one width.
struct Filter {
    weight: ParamId,
    bias: ParamId,
    width: usize,
}

/// The widest filter that is taken.
const WIDEST: usize = 64;

impl Cnn {
    fn declare(store: &mut ParamStore, config: Config) -> Result<Self, Error> {
        let (embedding, count) = (config.size("embedding_size")?, config.size_or("num_filters", 100)?.max(1));
        let widths = widths(config)?;
        let size = Size {
            layers: 1,
            hidden: count * widths.len(),
            heads: 0,
            ffn: count,
            vocab: config.size("vocab_size")?,
            max_tokens: NO_LIMIT,
            types: 0,
            std: config.number_or("initializer_range", 0.1)? as f32,
        };
        let shape = [size.vocab, embedding];
        let table = store.declare("embed.word.weight", &shape, 0, ParamKind::Weight, Init::Normal(size.std));
        let filters = widths.into_iter().enumerate().map(|(i, width)| {
            let spread = Init::Normal(1.0 / (3.0 * (width * embedding) as f32).sqrt());
            let (path, shape) = (format!("layers.0.filters.{i}"), [count, embedding, width]);
            let weight = store.declare(&format!("{path}.weight"), &shape, 1, ParamKind::Weight, spread);
            let bias = store.declare(&format!("{path}.bias"), &[count], 1, ParamKind::Bias, Init::Zeros);
            Filter { weight, bias, width }
        });
        let filters = Arc::new(filters.collect());
        let activation = config.activation_or("hidden_act", Activation::Relu)?;
        Ok(Cnn {
            size,
            embedding,
            table,
            filters,
            activation,
            dropout: config.probability_or("dropout", 0.5)?,
        })
    }
}

/// Widths of the filters.
fn widths(config: Config) -> Result<Vec<usize>, Error> {
    let value = config.0.get("filter_sizes");
    let width = |width: &Value| width.as_u64().map(|w| w as usize).filter(|w| (1..=WIDEST).contains(w));
    let found: Option<Vec<usize>> = match value {
        None | Some(Value::Null) => Some(vec![3, 4, 5]),
        Some(list) => list.as_array().and_then(|list| list.iter().map(width).collect()),
    };
    found
        .filter(|widths| !widths.is_empty())
        .ok_or_else(|| Config::wrong("filter_sizes", &format!("a list of widths from 1 to {WIDEST}"), value))
}

/// # Shapes
/// - `x`: `[tokens, embedding]`; returns `[tokens, hidden]`
fn filtered(
    filters: &[Filter],
    activation: Activation,
    pass: &Pass,
    x: &Tensor<2>,
    offsets: &Arc<[u32]>,
) -> Result<Tensor<2>, topwork_nn::Error> {
    let mut parts = Vec::with_capacity(filters.len());
    for filter in filters {
        let (weight, conv) = (pass.matrix(filter.weight)?, Conv::same(filter.width));
        let z = topwork_ops::conv1d(x.clone(), weight, None, offsets, conv, pass.precision());
        parts.push(topwork_ops::bias_activation(z, pass.vector(filter.bias)?, activation));
    }
    Ok(pass.at(Site::BlockOutput, 0, Tensor::cat(parts, 1)))
}

impl Encoder for Cnn {
    fn embed(&self, pass: &Pass, input: &Packed) -> Result<Tensor<2>, Error> {
        Ok(pass.at(Site::Embedded, 0, pass.lookup(self.table, &input.ids)?))
    }

    fn layers(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        offsets: &Arc<[u32]>,
        which: Range<usize>,
    ) -> Result<Tensor<2>, Error> {
        let x = pass.cut(x);
        if which.is_empty() {
            return Ok(x);
        }
        let (filters, activation, offsets) =
            (Arc::clone(&self.filters), self.activation, Arc::clone(offsets));
        Ok(pass.segment(x, move |pass, x| filtered(&filters, activation, pass, &x, &offsets))?)
    }

    fn size(&self) -> &Size {
        &self.size
    }

    fn width(&self, depth: usize) -> usize {
        if depth == 1 { self.embedding } else { self.size.hidden }
    }

    fn word_table(&self) -> ParamId {
        self.table
    }

    fn classifier(&self) -> ClassifierStyle {
        ClassifierStyle { pool: Pool::Max, dense: None, dropout: self.dropout, out: "head.out", bias: true }
    }

    fn language_model(&self) -> LanguageModelStyle {
        LanguageModelStyle {
            transform: Some(DenseStyle::plain("head.mlm.dense", self.embedding, Activation::Tanh)),
            tied: true,
            bias: Some("head.mlm.bias"),
        }
    }
}
