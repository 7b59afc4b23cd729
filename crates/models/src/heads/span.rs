//! The span of a text that is asked for: a score for each token as its first and as its last one, softmax over the tokens of a
//! text. In question answering the text is a pair of a question and a passage, and a token in front stands for no answer.
//!
//! Paper: Devlin et al. 2019, "BERT", section 4.2 (differs in the softmax, which has no token of what fills batches up),
//! <https://arxiv.org/abs/1810.04805>; no answer: section 4.3

use std::sync::Arc;

use burn::tensor::Tensor;
use topwork_kernels::loss::IGNORE;
use topwork_kernels::pool::Pool;
use topwork_nn::layers::Linear;
use topwork_nn::{ParamStore, Pass};
use topwork_text::Packed;

use crate::error::Error;
use crate::family::Encoder;
use crate::head::{Head, HeadEntry, HeadSpec, LossOptions, Targets};
use crate::heads::dense::Dense;
use crate::heads::multiple_choice::choice_loss;
use crate::onnx::{Graph, HeadGraph, Output, Value};

/// The entry in the list.
pub const ENTRY: HeadEntry = HeadEntry {
    name: "span",
    summary: "the first and the last token of a span: answers in a passage",
    paper: "https://arxiv.org/abs/1810.04805",
    build,
};

/// Scores of a token: as the first and as the last.
pub const OUTPUTS: usize = 2;

struct Span {
    dense: Option<Dense>,
    dropout: f32,
    out: Linear,
}

fn build(_: &HeadSpec, encoder: &dyn Encoder, store: &mut ParamStore) -> Result<Box<dyn Head>, Error> {
    let (size, style) = (encoder.size(), encoder.spans());
    let dense = style.dense.map(|dense| Dense::declare(store, encoder, dense));
    let width = style.dense.map_or(size.hidden, |dense| dense.width);
    let out = Linear::declare(store, style.path, [OUTPUTS, width], encoder.parts() + 1, size.std);
    Ok(Box::new(Span { dense, dropout: style.dropout, out }))
}

impl Head for Span {
    fn pooled(&self) -> Option<Pool> {
        None
    }

    fn onnx(&self) -> Option<&dyn HeadGraph> {
        Some(self)
    }

    fn forward(&self, pass: &Pass, mut x: Tensor<2>, _: &Packed) -> Result<Tensor<2>, Error> {
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
        let Targets::Spans { starts, ends } = targets else {
            return Err(Error::Targets { head: ENTRY.name, expected: "spans", got: targets.kind() });
        };
        let scores = self.forward(pass, x, input)?;
        let loss = |side: usize, places: &[u32]| {
            let scores = scores.clone().slice_dim(1, side..side + 1);
            place_loss(scores, places, &input.offsets, options.smoothing)
        };
        check(starts, ends, input)?;
        Ok((loss(0, starts)? + loss(1, ends)?) * 0.5)
    }
}

/// Stops what would read a token that is not there.
fn check(starts: &[u32], ends: &[u32], input: &Packed) -> Result<(), Error> {
    for places in [starts, ends] {
        if places.len() != input.batch() {
            return Err(Error::Spans {
                text: places.len().min(input.batch()),
                expected: format!("a place in each of {} texts", input.batch()),
                got: places.len().to_string(),
            });
        }
        for (text, (&place, length)) in places.iter().zip(input.lengths()).enumerate() {
            if place != IGNORE && place as usize >= length {
                let expected = format!("a token below {length}, as many as the text has");
                return Err(Error::Spans { text, expected, got: place.to_string() });
            }
        }
    }
    Ok(())
}

/// The mean cross-entropy of a token of each text, over the texts whose place is not [`IGNORE`]; NaN without any.
///
/// # Shapes
/// - `scores`: `[tokens, 1]`; `places`: `[batch]`, counted within the text; `offsets`: `[batch + 1]`; returns `[1]`
fn place_loss(
    scores: Tensor<2>,
    places: &[u32],
    offsets: &[u32],
    smoothing: f32,
) -> Result<Tensor<1>, Error> {
    let counts: Vec<usize> = (0..places.len()).filter(|&text| places[text] != IGNORE).collect();
    if counts.is_empty() {
        // Still of the graph, as a cross-entropy without rows is.
        return Ok(scores.sum() * f32::NAN);
    }
    let rows: Arc<[u32]> = counts.iter().flat_map(|&text| offsets[text]..offsets[text + 1]).collect();
    let mut own = vec![0];
    let mut end = 0;
    for &text in &counts {
        end += offsets[text + 1] - offsets[text];
        own.push(end);
    }
    let right: Vec<u32> = counts.iter().map(|&text| places[text]).collect();
    let scores = if counts.len() == places.len() { scores } else { topwork_ops::embedding(scores, &rows) };
    choice_loss(&scores, &right, &own, smoothing)
}

impl HeadGraph for Span {
    fn describe(&self, graph: &mut Graph, x: Value) -> Result<Output, Error> {
        let x = match &self.dense {
            Some(dense) => dense.describe(graph, &x)?,
            None => x,
        };
        let Linear { weight, bias } = self.out;
        Ok(Output { value: graph.linear(&x, weight, bias)?, width: OUTPUTS, vector: false })
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn a_text_that_does_not_count_changes_no_loss() {
        let scores = Tensor::<1>::from_floats([0.5, -1.0, 2.0, 0.25, 3.0, -0.75], &Device::flex());
        let scores = scores.reshape([6, 1]);
        let all = place_loss(scores.clone(), &[1, IGNORE, 0], &[0, 3, 4, 6], 0.0).unwrap();
        let log_sum_exp = |x: &[f64]| x.iter().map(|x| x.exp()).sum::<f64>().ln();
        let expected = (log_sum_exp(&[0.5, -1.0, 2.0]) + 1.0 + log_sum_exp(&[3.0, -0.75]) - 3.0) / 2.0;
        assert!((f64::from(all.into_scalar::<f32>()) - expected).abs() < 1e-6);
        let none = place_loss(scores, &[IGNORE; 3], &[0, 3, 4, 6], 0.0).unwrap();
        assert!(none.into_scalar::<f32>().is_nan());
    }

    #[test]
    fn places_that_are_not_there_are_refused() {
        let input = Packed::from_ids(&[vec![1, 2, 3], vec![4]]);
        assert!(check(&[2, IGNORE], &[2, 0], &input).is_ok());
        let refuse = |starts: &[u32], ends: &[u32], part: &str| {
            let error = check(starts, ends, &input).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        };
        refuse(&[0, 1], &[0, 0], "text 1 of the batch (counted from 0): expected a token below 1");
        refuse(&[0, 0], &[3, 0], "text 0 of the batch (counted from 0): expected a token below 3");
        refuse(&[0], &[0, 0], "a place in each of 2 texts, got 1");
    }
}
