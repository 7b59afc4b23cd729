//! Models as ONNX graphs, which run wherever ONNX Runtime does: the encoder with its head, in one file; of models larger than
//! such a file may be (2 GB), the weights stand in a second one beside it.
//!
//! What goes in is what the Python exporters ask for: `input_ids` and `attention_mask`, both whole numbers of 64 bits and
//! `[batch, sequence]`, shorter texts filled up on the right and their mask 0 there; `token_type_ids` too, where the family has
//! more than one segment. What comes out:
//!
//! | head | output | shape |
//! |---|---|---|
//! | over texts: classify, regress and so on | `logits` | `[batch, outputs]` |
//! | over tokens: tag, masked-lm, causal-lm and so on | `logits` | `[batch, sequence, outputs]` |
//! | over both: pretraining, double-heads | `logits` | `[batch, sequence, outputs]` |
//! | | `text_logits` | `[batch, outputs]` |
//! | embed | `last_hidden_state` | `[batch, sequence, hidden]` |
//! | | `sentence_embedding` | `[batch, hidden]` |
//!
//! A family says its graph in [`EncoderGraph`], a head in [`HeadGraph`]; what they build with is [`Graph`]. Weights have the
//! names they have in the family's checkpoints, so that a file written here is read here. Everything is 32 bits wide.

pub mod blocks;
mod graph;

use std::path::{Path, PathBuf};

use topwork_kernels::pool::Pool;
use topwork_weights::onnx::{Axis, Computation};

use crate::error::Error;
use crate::model::Model;

pub use graph::{Graph, Value};

/// The texts of a batch.
#[derive(Clone, Debug)]
pub struct Texts {
    /// Token ids, `[batch, sequence]`.
    pub ids: Value,
    /// 1 for tokens and 0 for what fills up, `[batch, sequence]`.
    pub mask: Value,
    /// Segments, `[batch, sequence]`, where the family has more than one.
    pub types: Option<Value>,
}

/// An encoder that can say its computation.
pub trait EncoderGraph {
    /// Adds the whole encoder to the graph: the same as `Encoder::embed` and all of `Encoder::layers`, for texts of which each
    /// has a row of its own.
    ///
    /// # Shapes
    /// - returns: `[batch, sequence, hidden]`
    ///
    /// # Errors
    /// A parameter without values, or what of the family no graph can say.
    fn describe(&self, graph: &mut Graph, texts: &Texts) -> Result<Value, Error>;
}

/// A head that can say its computation.
pub trait HeadGraph {
    /// Adds the head to the graph: the same as `Head::forward`.
    ///
    /// # Shapes
    /// - `x`: `[batch, hidden]` after pooling, or `[batch, sequence, hidden]` for a head over tokens
    ///
    /// # Errors
    /// A parameter without values.
    fn describe(&self, graph: &mut Graph, x: Value) -> Result<Output, Error>;

    /// The second output of a head over tokens that has one over texts too, and how these are pooled for it.
    fn over_texts(&self) -> Option<(Pool, &dyn HeadGraph)> {
        None
    }
}

/// What a head makes.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its shape is that of what the head was given, with `width` in the place of `hidden`.
    pub value: Value,
    /// Length of its last axis.
    pub width: usize,
    /// Whether it is a text's vector rather than scores: the tokens' hidden states are asked for besides.
    pub vector: bool,
}

/// Writes a model as an ONNX file, atomically. Of a model of two gigabytes or more the weights stand in a second file, called as
/// the first with `.data` behind it; both are needed, in one folder. Gives that file, if there is one.
///
/// # Errors
/// [`Error::NoGraph`] for families and heads that cannot say their computation; a parameter without values; a file that cannot
/// be written.
pub fn export(model: &Model, path: &Path) -> Result<Option<PathBuf>, Error> {
    export_within(model, path, topwork_weights::onnx::LIMIT)
}

/// The same with another limit, in bytes, to what one file holds.
///
/// # Errors
/// As [`export`]; a graph that takes more than that without its weights.
pub fn export_within(model: &Model, path: &Path, limit: u64) -> Result<Option<PathBuf>, Error> {
    Ok(topwork_weights::onnx::write_within(path, &describe(model)?, limit)?)
}

/// The computation of a model, with its weights.
///
/// # Errors
/// As [`export`], but for the file.
pub fn describe(model: &Model) -> Result<Computation<'_>, Error> {
    model.no_grafts("an ONNX graph")?;
    let (encoder, head) = model.parts();
    let refused = |what: &str, name: &str| Error::NoGraph {
        what: format!("{what} {name}"),
        reason: "its computation has not been put into words".to_string(),
    };
    let body = encoder.onnx().ok_or_else(|| refused("the family", model.family.name))?;
    let top = head.onnx().ok_or_else(|| refused("the head", model.spec().name()))?;

    let mut graph = Graph::new(&model.store, &model.family.weights);
    let tokens = [Axis::Any("batch"), Axis::Any("sequence")];
    let (ids, mask) = (graph.input("input_ids", &tokens), graph.input("attention_mask", &tokens));
    let types = (encoder.size().types > 1).then(|| graph.input("token_type_ids", &tokens));
    let hidden = body.describe(&mut graph, &Texts { ids, mask: mask.clone(), types })?;
    graph.enter("head");
    let (features, mut shape) = match head.pooled() {
        None => (hidden.clone(), tokens.to_vec()),
        Some(pool) => (blocks::pool(&mut graph, &hidden, &mask, pool), tokens[..1].to_vec()),
    };
    let Output { value, width, vector } = top.describe(&mut graph, features)?;
    shape.push(Axis::Size(width));
    if vector {
        let whole = [tokens[0], tokens[1], Axis::Size(encoder.size().hidden)];
        graph.output("last_hidden_state", hidden.clone(), &whole);
        graph.output("sentence_embedding", value, &shape);
    } else {
        graph.output("logits", value, &shape);
    }
    if let Some((pool, top)) = top.over_texts() {
        let texts = blocks::pool(&mut graph, &hidden, &mask, pool);
        let Output { value, width, .. } = top.describe(&mut graph, texts)?;
        graph.output("text_logits", value, &[tokens[0], Axis::Size(width)]);
    }
    graph.note("model_type", model.family.model_types.first().copied().unwrap_or_default());
    graph.note("head", &serde_json::to_string(model.spec()).unwrap_or_default());
    graph.finish().map_err(|path| Error::NoGraph {
        what: format!("the family {}", model.family.name),
        reason: format!("its graph leaves out \"{path}\""),
    })
}
