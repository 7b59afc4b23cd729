//! A label for each token: named entities, parts of speech.

use std::sync::Arc;

use burn::tensor::Tensor;
use topwork_kernels::pool::Pool;
use topwork_nn::layers::Linear;
use topwork_nn::{Init, ParamId, ParamKind, ParamStore, Pass};
use topwork_text::Packed;

use crate::error::Error;
use crate::family::{Encoder, TaggerStyle};
use crate::head::{Head, HeadEntry, HeadSpec, LossOptions, Targets};
use crate::heads::body::{BiLstm, Body};
use crate::heads::dense::Dense;
use crate::onnx::{Graph, HeadGraph, Output, Value};
use crate::states::{Layers, Mix};
use crate::tagging::CrfParams;

/// The entry in the list.
pub const ENTRY: HeadEntry = HeadEntry {
    name: "tag",
    summary: "a label for each token",
    paper: "https://arxiv.org/abs/1810.04805",
    build,
};

struct Tag {
    layers: Layers,
    mix: Option<Mix>,
    lstm: Option<BiLstm>,
    dense: Option<Dense>,
    labels: usize,
    dropout: f32,
    out: Linear,
    crf: Option<CrfParams>,
}

fn build(spec: &HeadSpec, encoder: &dyn Encoder, store: &mut ParamStore) -> Result<Box<dyn Head>, Error> {
    let HeadSpec::Tag { labels, crf, body, layers } = spec else {
        return Err(Error::UnknownHead { got: spec.name().to_string(), known: ENTRY.name.to_string() });
    };
    let own = encoder.tagger();
    let layers = layers.of(encoder);
    body.check(encoder, layers, own.dense.is_some())?;
    let style = match body {
        Body::Own => own,
        body => TaggerStyle {
            dense: body.dense(None, own.dropout),
            ..TaggerStyle::plain("head.out", own.dropout)
        },
    };
    let (std, group) = (encoder.size().std, encoder.parts() + 1);
    let mix = Mix::declare(store, encoder, layers);
    let inputs = layers.width_mixed(encoder);
    let lstm = BiLstm::declare(store, encoder, *body, inputs, style.dropout);
    let inputs = lstm.as_ref().map_or(inputs, |lstm| lstm.width);
    let dense = style.dense.map(|dense| Dense::declare_in(store, encoder.size().std, dense, inputs, group));
    let width = style.dense.map_or(inputs, |dense| dense.width);
    let out = Linear::declare(store, style.path, [labels.len(), width], group, std);
    let (labels, dropout) = (labels.len(), style.dropout);
    // From zeros, with which the loss is the cross-entropy.
    let mut scores = |name: &str, shape: &[usize], kind| {
        store.declare(&format!("head.crf.{name}"), shape, group, kind, Init::Zeros)
    };
    let crf = crf.then(|| CrfParams {
        transitions: scores("transitions", &[labels, labels], ParamKind::Weight),
        start: scores("start", &[labels], ParamKind::Bias),
        end: scores("end", &[labels], ParamKind::Bias),
    });
    Ok(Box::new(Tag { layers, mix, lstm, dense, labels, dropout, out, crf }))
}

impl Head for Tag {
    fn pooled(&self) -> Option<Pool> {
        None
    }

    fn layers(&self) -> Layers {
        self.layers
    }

    fn mix(&self) -> Option<&[ParamId]> {
        self.mix.as_ref().map(|mix| std::slice::from_ref(&mix.weights))
    }

    fn crf(&self) -> Option<CrfParams> {
        self.crf
    }

    fn onnx(&self) -> Option<&dyn HeadGraph> {
        (self.layers == Layers::Last && self.lstm.is_none() && self.crf.is_none())
            .then_some(self as &dyn HeadGraph)
    }

    fn forward(&self, pass: &Pass, mut x: Tensor<2>, input: &Packed) -> Result<Tensor<2>, Error> {
        if let Some(mix) = &self.mix {
            x = mix.forward(pass, x)?;
        }
        if let Some(lstm) = &self.lstm {
            x = lstm.forward(pass, x, &Arc::from(input.offsets.as_slice()))?.states;
        }
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
        let Targets::Tokens(target) = targets else {
            return Err(Error::Targets { head: ENTRY.name, expected: "tokens", got: targets.kind() });
        };
        let logits = self.forward(pass, x, input)?;
        if let Some(CrfParams { transitions, start, end }) = self.crf {
            if options.class_weights.is_some() || options.smoothing > 0.0 || options.focal > 0.0 {
                return Err(Error::Setting {
                    setting: "crf = true".to_string(),
                    expected:
                        "a loss without class weights, smoothing and focus: labels are scored as a whole"
                            .to_string(),
                    got: "one with them".to_string(),
                });
            }
            let offsets = Arc::from(input.offsets.as_slice());
            let (transitions, start, end) =
                (pass.matrix(transitions)?, pass.vector(start)?, pass.vector(end)?);
            return Ok(topwork_ops::crf(logits, transitions, start, end, target, &offsets));
        }
        Ok(options.of_classes(logits, target))
    }
}

impl HeadGraph for Tag {
    fn describe(&self, graph: &mut Graph, x: Value) -> Result<Output, Error> {
        let x = match &self.dense {
            Some(dense) => dense.describe(graph, &x)?,
            None => x,
        };
        let Linear { weight, bias } = self.out;
        let value = graph.linear(&x, weight, bias)?;
        Ok(Output { value, width: self.labels, vector: false })
    }
}
