//! Parts of graphs that several families share.

use topwork_kernels::activation::Activation;
use topwork_kernels::attend_layout::Mask;
use topwork_kernels::pool::Pool;
use topwork_weights::onnx::{Attribute, Kind};

use super::Texts;
use super::graph::{Graph, Value};
use crate::error::Error;
use crate::family::Size;
use crate::rope::Frequencies;

/// How attention is computed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attention {
    /// Heads of the queries.
    pub heads: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// Width of one.
    pub head_dim: usize,
    /// What scores are multiplied by.
    pub scale: f32,
}

impl Attention {
    /// Scores divided by the root of a head's width.
    pub fn new(heads: usize, hidden: usize) -> Self {
        let head_dim = hidden / heads;
        Attention { heads, kv_heads: heads, head_dim, scale: 1.0 / (head_dim as f32).sqrt() }
    }

    /// Heads apart.
    ///
    /// # Shapes
    /// - `x`: `[batch, sequence, heads * head_dim]`; returns: `[batch, heads, sequence, head_dim]`
    pub fn split(self, graph: &mut Graph, x: &Value, heads: usize) -> Value {
        let apart = graph.reshape(x, &[0, 0, heads as i64, self.head_dim as i64]);
        graph.transpose(&apart, &[0, 2, 1, 3])
    }

    /// Attention of each text to itself.
    ///
    /// # Shapes
    /// - `[q, k, v]`: `[batch, sequence, heads * head_dim]` each; `bias` and result as in [`Attention::attend_heads`]
    pub fn attend(self, graph: &mut Graph, [q, k, v]: [&Value; 3], bias: &Value) -> Value {
        let q = self.split(graph, q, self.heads);
        let [k, v] = [k, v].map(|x| self.split(graph, x, self.kv_heads));
        self.attend_heads(graph, [q, k, v], bias)
    }

    /// The same with heads apart.
    ///
    /// # Shapes
    /// - `[q, k, v]`: `[batch, heads, sequence, head_dim]` each
    /// - `bias`: what is added to scores, `[batch, heads, sequence, sequence]` or with 1 in the place of an axis
    /// - returns: `[batch, sequence, heads * head_dim]`
    pub fn attend_heads(self, graph: &mut Graph, [q, mut k, mut v]: [Value; 3], bias: &Value) -> Value {
        if self.kv_heads < self.heads {
            let shared = self.heads / self.kv_heads;
            let places: Vec<i64> = (0..self.heads).map(|head| (head / shared) as i64).collect();
            let places = graph.integers(&places);
            [k, v] = [k, v].map(|x| graph.step("Gather", &[&x, &places], &[("axis", Attribute::Int(1))]));
        }
        let k = graph.transpose(&k, &[0, 1, 3, 2]);
        let scores = graph.step("MatMul", &[&q, &k], &[]);
        let scale = graph.number(self.scale);
        let scaled = graph.mul(&scores, &scale);
        let biased = graph.add(&scaled, bias);
        let probabilities = graph.step("Softmax", &[&biased], &[("axis", Attribute::Int(-1))]);
        let mixed = graph.step("MatMul", &[&probabilities, &v], &[]);
        let together = graph.transpose(&mixed, &[0, 2, 1, 3]);
        graph.reshape(&together, &[0, 0, (self.heads * self.head_dim) as i64])
    }
}

/// Rotary positions of pairs of halves: the cosines and sines of a batch, `[sequence, dim / 2]` each.
pub struct Turns {
    cos: Value,
    sin: Value,
    /// How many numbers of a head are turned.
    dim: usize,
}

impl Turns {
    /// # Shapes
    /// - `positions`: `[sequence]`
    pub fn new(graph: &mut Graph, positions: &Value, frequencies: &Frequencies) -> Self {
        let inverse = graph.numbers(&frequencies.inverse);
        let places = graph.cast(positions, Kind::F32);
        let places = graph.unsqueeze(&places, &[1]);
        let angles = graph.mul(&places, &inverse);
        let factor = graph.number(frequencies.factor);
        let [cos, sin] = ["Cos", "Sin"].map(|op| {
            let plain = graph.step(op, &[&angles], &[]);
            graph.mul(&plain, &factor)
        });
        Turns { cos, sin, dim: 2 * frequencies.inverse.len() }
    }

    /// # Shapes
    /// - `x` and result: `[batch, heads, sequence, head_dim]`
    pub fn turn(&self, graph: &mut Graph, x: &Value, head_dim: usize) -> Value {
        let (half, Turns { cos, sin, dim }) = (self.dim / 2, self);
        let (a, b) = (graph.slice(x, -1, 0..half), graph.slice(x, -1, half..*dim));
        let (a_cos, b_sin) = (graph.mul(&a, cos), graph.mul(&b, sin));
        let (b_cos, a_sin) = (graph.mul(&b, cos), graph.mul(&a, sin));
        let (first, second) = (graph.sub(&a_cos, &b_sin), graph.add(&b_cos, &a_sin));
        if *dim == head_dim {
            return graph.concat(&[&first, &second], -1);
        }
        let rest = graph.slice(x, -1, *dim..head_dim);
        graph.concat(&[&first, &second, &rest], -1)
    }
}

/// What keeps scores from keys that a query does not see, and from what fills texts up.
///
/// # Shapes
/// - `distances`: `[sequence, sequence]`; `padding`: as [`padding_bias`] gives it; returns: `[batch, 1, sequence, sequence]`, or
///   `padding` where all is seen
pub fn sight(graph: &mut Graph, distances: &Value, padding: &Value, mask: &Mask) -> Value {
    let (left, right) = match mask {
        Mask::Full => return padding.clone(),
        Mask::Causal => (None, 0),
        Mask::Window { left, right } => (Some(*left), *right),
        Mask::Pairs(_) => unreachable!("pairs belong to a batch, no layer has them as its habit"),
    };
    let (lowest, right) = (graph.number(f32::MIN), graph.integer(right as i64));
    let near = graph.step("LessOrEqual", &[distances, &right], &[]);
    let mut seen = graph.step("Where", &[&near, padding, &lowest], &[]);
    if let Some(left) = left {
        let left = graph.integer(-(left as i64));
        let near = graph.step("LessOrEqual", &[&left, distances], &[]);
        seen = graph.step("Where", &[&near, &seen, &lowest], &[]);
    }
    seen
}

/// What keeps scores from what fills texts up: 0 for tokens, the lowest number for the rest.
///
/// # Shapes
/// - `mask`: `[batch, sequence]`; returns: `[batch, 1, 1, sequence]`
pub fn padding_bias(graph: &mut Graph, mask: &Value) -> Value {
    let mask = graph.cast(mask, Kind::F32);
    let wide = graph.unsqueeze(&mask, &[1, 2]);
    let (one, lowest) = (graph.number(1.0), graph.number(f32::MIN));
    let missing = graph.sub(&one, &wide);
    graph.mul(&missing, &lowest)
}

/// Positions of the tokens of a text, from `first` on.
///
/// # Shapes
/// - `ids`: `[batch, sequence]`; returns: `[sequence]`
pub fn positions(graph: &mut Graph, ids: &Value, first: usize) -> Value {
    let shape = graph.step("Shape", &[ids], &[]);
    let (first, one) = (graph.integer(first as i64), graph.integer(1));
    let len = graph.step("Gather", &[&shape, &one], &[]);
    let end = graph.add(&len, &first);
    graph.step("Range", &[&first, &end, &one], &[])
}

/// How far each token is from each: key minus query.
///
/// # Shapes
/// - `positions`: `[sequence]`; returns: `[sequence, sequence]`, a row for each query
pub fn distances(graph: &mut Graph, positions: &Value) -> Value {
    let (keys, queries) = (graph.unsqueeze(positions, &[0]), graph.unsqueeze(positions, &[1]));
    graph.sub(&keys, &queries)
}

/// A bias on scores that depends on distance and head alone: rows of the table at `path`, each distance's that of `columns`,
/// which begin with the distance `-far`; beyond, the last one stands for all.
///
/// # Shapes
/// - `columns`: `[2 far + 1]`; the table: `[rows, heads]`; returns: `[1, heads, sequence, sequence]`
///
/// # Errors
/// A parameter without values.
pub fn distance_bias(
    graph: &mut Graph,
    distances: &Value,
    far: usize,
    columns: &[u32],
    path: &str,
) -> Result<Value, Error> {
    let columns: Vec<i64> = columns.iter().map(|&column| i64::from(column)).collect();
    let (most, least, columns) =
        (graph.integer(far as i64), graph.integer(-(far as i64)), graph.integers(&columns));
    let below = graph.step("Min", &[distances, &most], &[]);
    let within = graph.step("Max", &[&below, &least], &[]);
    let places = graph.add(&within, &most);
    let rows = graph.step("Gather", &[&columns, &places], &[]);
    let bias = graph.lookup(path, &rows)?;
    let by_head = graph.transpose(&bias, &[2, 0, 1]);
    Ok(graph.unsqueeze(&by_head, &[0]))
}

/// Tables of tokens, positions and, where the model has them, segments and tasks, added and normalised; widened where it has a
/// map for that.
///
/// # Shapes
/// - returns: `[batch, sequence, hidden]`
///
/// # Errors
/// A parameter without values.
pub fn embeddings(graph: &mut Graph, texts: &Texts, first_position: usize, eps: f64) -> Result<Value, Error> {
    graph.enter("embed");
    let positions = positions(graph, &texts.ids, first_position);
    let words = graph.lookup("embed.word.weight", &texts.ids)?;
    let places = graph.lookup("embed.position.weight", &positions)?;
    let mut sum = graph.add(&words, &places);
    let first = graph.integer(0);
    // A family of one segment takes no segments in; of tasks there is only the first.
    let types = texts.types.as_ref().unwrap_or(&first);
    for (path, rows) in [("embed.type.weight", types), ("embed.task.weight", &first)] {
        if graph.has(path) {
            let more = graph.lookup(path, rows)?;
            sum = graph.add(&sum, &more);
        }
    }
    let x = graph.layer_norm(&sum, "embed.norm", eps)?;
    if graph.has("embed.widen.weight") { graph.linear_at(&x, "embed.widen") } else { Ok(x) }
}

/// The Transformer encoder layer with its norms after the residual sums: `topwork_nn::layers::EncoderLayer`.
pub struct PostNormLayer {
    attention: Attention,
    activation: Activation,
    eps: f64,
}

impl PostNormLayer {
    /// A layer of these sizes.
    pub fn new(size: &Size, activation: Activation, eps: f64) -> Self {
        PostNormLayer { attention: Attention::new(size.heads, size.hidden), activation, eps }
    }

    /// # Shapes
    /// - `x` and result: `[batch, sequence, hidden]`; `bias`: as in [`Attention::attend`]
    ///
    /// # Errors
    /// A parameter without values.
    pub fn describe(&self, graph: &mut Graph, path: &str, x: &Value, bias: &Value) -> Result<Value, Error> {
        graph.enter(&format!("{path}.attn"));
        let [q, k, v] = ["q", "k", "v"].map(|part| graph.linear_at(x, &format!("{path}.attn.{part}")));
        let mixed = self.attention.attend(graph, [&q?, &k?, &v?], bias);
        let attended = graph.linear_at(&mixed, &format!("{path}.attn.out"))?;
        let sum = graph.add(&attended, x);
        let x = graph.layer_norm(&sum, &format!("{path}.attn.norm"), self.eps)?;
        graph.enter(&format!("{path}.ffn"));
        let fed = feed_forward(graph, &x, &format!("{path}.ffn"), self.activation)?;
        let sum = graph.add(&fed, &x);
        graph.layer_norm(&sum, &format!("{path}.ffn.norm"), self.eps)
    }
}

/// A feed-forward block: `{path}.up`, the activation, `{path}.down`.
///
/// # Errors
/// A parameter without values.
pub fn feed_forward(
    graph: &mut Graph,
    x: &Value,
    path: &str,
    activation: Activation,
) -> Result<Value, Error> {
    let up = graph.linear_at(x, &format!("{path}.up"))?;
    let active = graph.activation(&up, activation);
    graph.linear_at(&active, &format!("{path}.down"))
}

/// One vector for each text.
///
/// # Shapes
/// - `x`: `[batch, sequence, hidden]`; `mask`: `[batch, sequence]`; returns: `[batch, hidden]`
pub(super) fn pool(graph: &mut Graph, x: &Value, mask: &Value, pool: Pool) -> Value {
    match pool {
        Pool::Cls => {
            let first = graph.integer(0);
            graph.step("Gather", &[x, &first], &[("axis", Attribute::Int(1))])
        }
        Pool::Last => {
            let (tokens, one) = (graph.sum(mask, 1), graph.integer(1));
            let last = graph.sub(&tokens, &one);
            let places = graph.unsqueeze(&last, &[1]);
            graph.step("GatherND", &[x, &places], &[("batch_dims", Attribute::Int(1))])
        }
        Pool::Mean => {
            let mask = graph.cast(mask, Kind::F32);
            let wide = graph.unsqueeze(&mask, &[2]);
            let kept = graph.mul(x, &wide);
            let (sum, tokens) = (graph.sum(&kept, 1), graph.sum(&wide, 1));
            // As sentence-transformers does for a text without tokens.
            let least = graph.number(1e-9);
            let tokens = graph.step("Max", &[&tokens, &least], &[]);
            graph.div(&sum, &tokens)
        }
        Pool::Max => {
            let mask = graph.cast(mask, Kind::Bool);
            let wide = graph.unsqueeze(&mask, &[2]);
            let lowest = graph.number(f32::MIN);
            let kept = graph.step("Where", &[&wide, x, &lowest], &[]);
            let axes = [("axes", Attribute::Ints(vec![1])), ("keepdims", Attribute::Int(0))];
            graph.step("ReduceMax", &[&kept], &axes)
        }
    }
}
