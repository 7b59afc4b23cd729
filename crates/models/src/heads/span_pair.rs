//! How two spans of a text are related, or one span of each of two texts: what stands for the spans, their product and their
//! difference, side by side, to a few labels.
//!
//! Papers: Lee et al. 2017, "End-to-end Neural Coreference Resolution", section 4 (a span by its ends, a pair by both and their
//! product; differs from the paper in having no attention over the span), <https://arxiv.org/abs/1707.07045>; Joshi et al. 2020,
//! "SpanBERT", section 4.1 (the same over a pretrained encoder), <https://arxiv.org/abs/1907.10529>; Mou et al. 2016, "Natural Language
//! Inference by Tree-Based Convolution and Heuristic Matching" (the difference, which tells the first from the second),
//! <https://arxiv.org/abs/1512.08422>

use std::sync::Arc;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use topwork_kernels::pool::Pool;
use topwork_nn::layers::Linear;
use topwork_nn::{ParamId, ParamStore, Pass};
use topwork_text::Packed;

use crate::error::Error;
use crate::family::Encoder;
use crate::head::{Head, HeadEntry, HeadSpec, LossOptions, Targets};
use crate::heads::body::BiLstm;
use crate::heads::dense::Dense;
use crate::heads::marked;
use crate::states::{Layers, Mix};

/// The entry in the list.
pub const ENTRY: HeadEntry = HeadEntry {
    name: "span-pair",
    summary: "one label of several for two marked spans of a text, or of two texts",
    paper: "https://arxiv.org/abs/1707.07045",
    build,
};

/// What stands for a span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpanRow {
    /// The mean of its tokens.
    #[default]
    Mean,
    /// Its first token and its last one, side by side.
    Ends,
}

struct SpanPair {
    layers: Layers,
    mix: Option<Mix>,
    lstm: Option<BiLstm>,
    row: SpanRow,
    dense: Option<Dense>,
    dropout: f32,
    out: Linear,
}

fn build(spec: &HeadSpec, encoder: &dyn Encoder, store: &mut ParamStore) -> Result<Box<dyn Head>, Error> {
    let HeadSpec::SpanPair { labels, row, body, layers } = spec else {
        return Err(Error::UnknownHead { got: spec.name().to_string(), known: ENTRY.name.to_string() });
    };
    let layers = layers.of(encoder);
    body.check(encoder, layers, false)?;
    let (std, group, dropout) = (encoder.size().std, encoder.parts() + 1, encoder.classifier().dropout);
    let mix = Mix::declare(store, encoder, layers);
    let inputs = layers.width_mixed(encoder);
    let lstm = BiLstm::declare(store, encoder, *body, inputs, dropout);
    let inputs = lstm.as_ref().map_or(inputs, |lstm| lstm.width);
    let pair = 4 * inputs * if *row == SpanRow::Ends { 2 } else { 1 };
    // The family has no head of this kind: its own body is none.
    let style = body.dense(None, dropout);
    let dense = style.map(|style| Dense::declare_in(store, encoder.size().std, style, pair, group));
    let width = style.map_or(pair, |style| style.width);
    let out = Linear::declare(store, "head.out", [labels.len(), width], group, std);
    Ok(Box::new(SpanPair { layers, mix, lstm, row: *row, dense, dropout, out }))
}

impl SpanPair {
    /// Rows of the spans, two a text one after the other.
    ///
    /// # Shapes
    /// - `x`: `[tokens, inputs]`; returns `[2 * batch, inputs]`, or twice as wide for ends
    fn spans(&self, x: Tensor<2>, input: &Packed) -> Result<Tensor<2>, Error> {
        let spans = marked::rows(input, ENTRY.name)?;
        if let Some(text) = (0..input.batch()).find(|&text| input.marks.places(text).len() != 2) {
            let got = input.marks.places(text).len().to_string();
            return Err(Error::Marks { head: ENTRY.name, text, expected: "two spans".to_string(), got });
        }
        match self.row {
            SpanRow::Mean => {
                let tokens: Arc<[u32]> = spans.iter().cloned().flatten().collect();
                let mut offsets = vec![0];
                for span in &spans {
                    offsets.push(offsets[offsets.len() - 1] + span.len() as u32);
                }
                Ok(topwork_ops::pool(topwork_ops::embedding(x, &tokens), &offsets.into(), Pool::Mean))
            }
            SpanRow::Ends => {
                let first: Arc<[u32]> = spans.iter().map(|span| span.start).collect();
                let last: Arc<[u32]> = spans.iter().map(|span| span.end - 1).collect();
                let rows = [&first, &last].map(|rows| topwork_ops::embedding(x.clone(), rows));
                Ok(Tensor::cat(rows.to_vec(), 1))
            }
        }
    }
}

impl Head for SpanPair {
    fn pooled(&self) -> Option<Pool> {
        None
    }

    fn layers(&self) -> Layers {
        self.layers
    }

    fn mix(&self) -> Option<&[ParamId]> {
        self.mix.as_ref().map(|mix| std::slice::from_ref(&mix.weights))
    }

    fn forward(&self, pass: &Pass, mut x: Tensor<2>, input: &Packed) -> Result<Tensor<2>, Error> {
        if let Some(mix) = &self.mix {
            x = mix.forward(pass, x)?;
        }
        if let Some(lstm) = &self.lstm {
            x = lstm.forward(pass, x, &Arc::from(input.offsets.as_slice()))?.states;
        }
        let spans = self.spans(x, input)?;
        let ([_, width], batch) = (spans.dims(), input.batch());
        let both = spans.reshape([batch, 2 * width]);
        let (first, second) =
            (both.clone().slice_dim(1, 0..width), both.clone().slice_dim(1, width..2 * width));
        let (product, difference) = (first.clone() * second.clone(), first - second);
        let mut x = Tensor::cat(vec![both, product, difference], 1);
        if let Some(dense) = &self.dense {
            x = dense.forward(pass, x)?;
        }
        let x = topwork_ops::dropout(x, pass.dropout(self.dropout, "head.out"));
        Ok(self.out.forward(pass, x)?)
    }

    fn loss(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        input: &Packed,
        targets: &Targets,
        options: &LossOptions,
    ) -> Result<Tensor<1>, Error> {
        let Targets::Classes(target) = targets else {
            return Err(Error::Targets { head: ENTRY.name, expected: "classes", got: targets.kind() });
        };
        let logits = self.forward(pass, x, input)?;
        Ok(options.of_classes(logits, target))
    }
}
