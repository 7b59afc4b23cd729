//! Which weights an ONNX graph has: from initialisers and the nodes that use them to tensors with the model's own names.
//!
//! Exporters keep the name of a parameter where its numbers are kept as they were. A linear layer's weight is mostly stored
//! transposed and then has a name that says nothing (`onnx::MatMul_743`); the node that multiplies by it is called after the
//! layer (`/encoder/layer.0/attention/self/query/MatMul`), and what is added next is its bias, under its name.

use std::collections::HashMap;

use super::graph::{Graph, Node};
use super::numbers::{self, is_quantised, is_real};

/// A weight of the model, by places in [`Graph::tensors`].
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Weight {
    pub(super) name: String,
    /// The initialiser that holds its numbers.
    pub(super) data: usize,
    pub(super) form: Form,
    /// Whether its two axes are swapped after all else.
    pub(super) transposed: bool,
}

/// How a weight's numbers are stored.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Form {
    /// As they are.
    Plain,
    /// Whole numbers with scales along an axis: for each place, or for each block of so many (0: for each place).
    Scaled { scale: usize, zero: Option<usize>, axis: i64, block: i64 },
    /// Rows in blocks of few bits.
    Blocks { scale: usize, zero: Option<usize>, rows: i64, cols: i64, block: i64, bits: i64, regrouped: bool },
}

/// What a graph holds.
#[derive(Debug, Default)]
pub(super) struct Weights {
    pub(super) weights: Vec<Weight>,
    /// Initialisers that are no weights, with the reason.
    pub(super) left_out: Vec<(String, &'static str)>,
}

/// A multiplication by a weight: its inputs by place.
struct Product {
    op: &'static str,
    weight: usize,
    scale: Option<usize>,
    zero: Option<usize>,
    bias: Option<usize>,
}

/// `MatMul` and its relations, in ONNX and in com.microsoft.
const PRODUCTS: &[Product] = &[
    Product { op: "MatMul", weight: 1, scale: None, zero: None, bias: None },
    Product { op: "FusedMatMul", weight: 1, scale: None, zero: None, bias: None },
    Product { op: "Gemm", weight: 1, scale: None, zero: None, bias: Some(2) },
    Product { op: "MatMulInteger", weight: 1, scale: None, zero: Some(3), bias: None },
    Product { op: "MatMulIntegerToFloat", weight: 1, scale: Some(3), zero: Some(5), bias: Some(6) },
    Product { op: "DynamicQuantizeMatMul", weight: 1, scale: Some(2), zero: Some(3), bias: Some(4) },
    Product { op: "QLinearMatMul", weight: 3, scale: Some(4), zero: Some(5), bias: None },
    Product { op: "QGemm", weight: 3, scale: Some(4), zero: Some(5), bias: None },
    Product { op: "MatMulNBits", weight: 1, scale: Some(2), zero: Some(3), bias: Some(5) },
];

/// What the names of numbers begin with that belong to a computation rather than to its model.
pub(super) const CONSTANT: &str = "Constant_";

/// Finds the weights of a graph.
pub(super) fn find(graph: &Graph) -> Weights {
    let mut search = Search::of(graph);
    for node in &graph.nodes {
        search.dequantised(node);
    }
    for node in &graph.nodes {
        match PRODUCTS.iter().find(|product| product.op == node.op) {
            Some(product) => search.product(node, product),
            None if node.op == "GatherBlockQuantized" => search.gathered_blocks(node),
            None => {}
        }
    }
    search.by_suffix();
    search.aliases();
    search.rest();
    let Search { mut weights, mut left_out, .. } = search;
    weights.sort_by_key(|weight| weight.data);
    for weight in &mut weights {
        // sentence-transformers wraps the model it exports.
        if let Some((_, own)) = weight.name.split_once("auto_model.") {
            weight.name = own.to_string();
        }
    }
    left_out.sort();
    Weights { weights, left_out }
}

struct Search<'g> {
    graph: &'g Graph,
    /// Initialisers by name.
    tensors: HashMap<&'g str, usize>,
    /// Which node makes a value.
    maker: HashMap<&'g str, usize>,
    /// Which node takes a value, where it is one only.
    taker: HashMap<&'g str, Option<usize>>,
    /// Values that are whole numbers turned into real ones: data, form.
    real: HashMap<&'g str, (usize, Form)>,
    /// Initialisers that a weight is made of.
    used: Vec<bool>,
    weights: Vec<Weight>,
    left_out: Vec<(String, &'static str)>,
}

impl<'g> Search<'g> {
    fn of(graph: &'g Graph) -> Search<'g> {
        let tensors =
            graph.tensors.iter().enumerate().map(|(at, tensor)| (tensor.name.as_str(), at)).collect();
        let (mut maker, mut taker) = (HashMap::new(), HashMap::new());
        for (at, node) in graph.nodes.iter().enumerate() {
            maker.extend(node.outputs.iter().map(|name| (name.as_str(), at)));
            for name in &node.inputs {
                taker.entry(name.as_str()).and_modify(|taker| *taker = None).or_insert(Some(at));
            }
        }
        let used = vec![false; graph.tensors.len()];
        let (real, weights, left_out) = (HashMap::new(), Vec::new(), Vec::new());
        Search { graph, tensors, maker, taker, real, used, weights, left_out }
    }

    /// The initialiser of a name.
    fn tensor(&self, name: &str) -> Option<usize> {
        self.tensors.get(name).copied()
    }

    fn kind(&self, at: usize) -> u64 {
        self.graph.tensors[at].kind
    }

    fn name(&self, at: usize) -> &'g str {
        &self.graph.tensors[at].name
    }

    /// Whether the graph has a parameter of that name, quantised or not.
    fn has(&self, name: &str) -> bool {
        self.tensor(name).is_some() || self.tensor(&format!("{name}_quantized")).is_some()
    }

    /// Takes a weight and marks what it is made of.
    fn take(&mut self, name: String, data: usize, form: Form, transposed: bool) {
        self.used[data] = true;
        if let Form::Scaled { scale, zero, .. } | Form::Blocks { scale, zero, .. } = &form {
            self.used[*scale] = true;
            if let Some(zero) = zero {
                self.used[*zero] = true;
            }
        }
        self.weights.push(Weight { name, data, form, transposed });
    }

    /// `DequantizeLinear` of an initialiser, or of rows gathered from one.
    fn dequantised(&mut self, node: &'g Node) {
        if node.op != "DequantizeLinear" {
            return;
        }
        let (Some(scale), Some(output)) = (self.tensor(node.input(1)), node.outputs.first()) else { return };
        let zero = self.tensor(node.input(2));
        let axis = node.number("axis").unwrap_or(1);
        let block = node.number("block_size").unwrap_or(0);
        let form = Form::Scaled { scale, zero, axis, block };
        if let Some(data) = self.tensor(node.input(0)) {
            self.real.insert(output, (data, form.clone()));
            let name = stem_of_parts(self.name(data));
            if !is_anonymous(name) {
                self.take(name.to_string(), data, form, false);
            }
        } else if let Some(gather) = self.maker.get(node.input(0)).map(|&at| &self.graph.nodes[at])
            && gather.op == "Gather"
            && let Some(data) = self.tensor(gather.input(0))
            && is_quantised(self.kind(data))
            && self.graph.tensors[scale].count() == 1
            && !self.used[data]
        {
            let name = stem_of_parts(self.name(data));
            let name = if is_anonymous(name) {
                layer_of(&gather.name).map(|layer| format!("{layer}.weight"))
            } else {
                Some(name.to_string())
            };
            if let Some(name) = name {
                self.take(name, data, form, false);
            }
        }
    }

    /// A multiplication by an initialiser of two axes.
    fn product(&mut self, node: &Node, product: &Product) {
        let input = node.input(product.weight);
        let form = |search: &Search| -> Option<(usize, Form)> {
            let Some(data) = search.tensor(input) else { return search.real.get(input).cloned() };
            let zero = product.zero.and_then(|at| search.tensor(node.input(at)));
            if node.op == "MatMulNBits" {
                let number = |name: &str, other: i64| node.number(name).unwrap_or(other);
                return Some((
                    data,
                    Form::Blocks {
                        scale: search.tensor(node.input(2))?,
                        zero,
                        rows: number("N", 0),
                        cols: number("K", 0),
                        block: number("block_size", 0),
                        bits: number("bits", 4),
                        regrouped: !node.input(4).is_empty(),
                    },
                ));
            }
            if search.graph.tensors[data].shape.len() != 2 {
                return None;
            }
            if is_real(search.kind(data)) {
                return Some((data, Form::Plain));
            }
            let scale = match product.scale {
                Some(at) => search.tensor(node.input(at)),
                None => search.tensor(&format!("{}_scale", stem_of_parts(search.name(data)))),
            };
            // Where there are many, they belong to the outputs.
            Some((data, Form::Scaled { scale: scale?, zero, axis: -1, block: 0 }))
        };
        let Some((data, form)) = form(self) else { return };
        let stem = stem_of_parts(self.name(data));
        let layer = self.layer(node, product);
        if let (Some(layer), Some(bias)) = (&layer, product.bias.and_then(|at| self.tensor(node.input(at))))
            && is_anonymous(self.name(bias))
            && is_real(self.kind(bias))
        {
            self.take(format!("{layer}.bias"), bias, Form::Plain, false);
        }
        let blocks = matches!(form, Form::Blocks { .. });
        if !is_anonymous(stem) {
            // A parameter that the exporter could leave as it was; blocks are rows of outputs in any case. ONNX Runtime's
            // quantiser turns what a Gemm would have turned, and says so.
            let turned = stem.strip_suffix("_Transposed");
            if (form != Form::Plain || turned.is_some()) && !self.used[data] {
                self.take(turned.unwrap_or(stem).to_string(), data, form, turned.is_some() && !blocks);
            }
            return;
        }
        let Some(layer) = layer else { return };
        // Linear layers keep `[out, in]`, products want `[in, out]`.
        let transposed = !blocks && node.number("transB").unwrap_or(0) == 0;
        self.take(format!("{layer}.weight"), data, form, transposed);
    }

    /// The layer that a multiplication belongs to.
    fn layer(&self, node: &Node, product: &Product) -> Option<String> {
        let scope = layer_of(&node.name);
        let bias =
            product.bias.and_then(|at| self.bias_layer(node.input(at))).or_else(|| self.added_layer(node));
        match (scope, bias) {
            (Some(scope), _) if self.has(&format!("{scope}.bias")) => Some(scope),
            // The same layer, seen from a model around it.
            (Some(scope), Some(bias)) if scope.rsplit('.').next() == bias.rsplit('.').next() => Some(bias),
            (Some(scope), _) => Some(scope),
            (None, bias) => bias,
        }
    }

    /// The layer whose bias an initialiser of that name is.
    fn bias_layer(&self, name: &str) -> Option<String> {
        let tensor = self.tensor(name).or_else(|| self.real.get(name).map(|(data, _)| *data))?;
        let stem = stem_of_parts(self.name(tensor)).strip_suffix(".bias")?;
        (!is_anonymous(stem)).then(|| stem.to_string())
    }

    /// The layer whose bias is added to what a node makes, behind casts and scales.
    fn added_layer(&self, node: &Node) -> Option<String> {
        let mut value = node.outputs.first()?;
        for _ in 0..4 {
            let next = &self.graph.nodes[(*self.taker.get(value.as_str())?)?];
            match next.op.as_str() {
                "Cast" | "Mul" => value = next.outputs.first()?,
                "Add" | "BiasGelu" | "FastGelu" => {
                    return next.inputs.iter().find_map(|input| self.bias_layer(input));
                }
                _ => return None,
            }
        }
        None
    }

    /// `GatherBlockQuantized`: a word table in blocks of few bits.
    fn gathered_blocks(&mut self, node: &Node) {
        let (Some(data), Some(scale)) = (self.tensor(node.input(0)), self.tensor(node.input(2))) else {
            return;
        };
        let shape = &self.graph.tensors[data].shape;
        let name = stem_of_parts(self.name(data));
        let name = if is_anonymous(name) {
            layer_of(&node.name).map(|layer| format!("{layer}.weight"))
        } else {
            Some(name.to_string())
        };
        let Some(name) = name.filter(|_| !self.used[data]) else { return };
        let zero = self.tensor(node.input(3));
        let block = node.number("block_size").unwrap_or(128);
        let bits = node.number("bits").unwrap_or(4);
        let form = match (self.kind(data), shape.as_slice()) {
            // Bytes hold two numbers, or one of eight bits.
            (2, [rows, bytes]) if bits > 0 => Form::Blocks {
                scale,
                zero,
                rows: *rows as i64,
                cols: (*bytes as i64).saturating_mul(8) / bits,
                block,
                bits,
                regrouped: false,
            },
            _ => Form::Scaled { scale, zero, axis: node.number("quantize_axis").unwrap_or(1), block },
        };
        self.take(name, data, form, false);
    }

    /// Whole numbers whose scale is told by its name alone.
    fn by_suffix(&mut self) {
        for data in 0..self.graph.tensors.len() {
            let Some(stem) = self.name(data).strip_suffix("_quantized") else { continue };
            let scale = self.tensor(&format!("{stem}_scale"));
            if let (false, false, Some(scale)) = (self.used[data], is_anonymous(stem), scale) {
                let zero = self.tensor(&format!("{stem}_zero_point"));
                self.take(stem.to_string(), data, Form::Scaled { scale, zero, axis: -1, block: 0 }, false);
            }
        }
    }

    /// Initialisers that equal another one: exporters keep one of the two and hand it on by a node.
    fn aliases(&mut self) {
        for node in self.graph.nodes.iter().filter(|node| node.op == "Identity") {
            let (Some(data), Some(name)) = (self.tensor(node.input(0)), node.outputs.first()) else {
                continue;
            };
            if is_real(self.kind(data)) && !is_anonymous(name) && name.contains('.') && !self.has(name) {
                let own = self.used[data];
                self.take(name.clone(), data, Form::Plain, false);
                self.used[data] = own;
            }
        }
    }

    /// What no node told of.
    fn rest(&mut self) {
        for at in (0..self.graph.tensors.len()).filter(|&at| !self.used[at]).collect::<Vec<_>>() {
            let tensor = &self.graph.tensors[at];
            let count = tensor.count();
            let parts = self.real.values().any(|(data, form)| match form {
                Form::Scaled { scale, zero, .. } => *data != at && (*scale == at || *zero == Some(at)),
                _ => false,
            });
            let reason = match tensor.kind {
                _ if parts => "a scale of numbers that are no weight",
                // A parameter of one number belongs to a layer.
                kind if is_real(kind)
                    && (count <= 1 && (is_anonymous(&tensor.name) || !tensor.name.contains('.'))
                        || tensor.name.starts_with(CONSTANT)) =>
                {
                    "a constant of the graph"
                }
                kind if is_real(kind) => "",
                kind if is_quantised(kind) && count > 1 => "",
                kind if numbers::bits(kind).is_none() => "texts, or of a format unknown",
                _ => "whole numbers: a constant of the graph",
            };
            if reason.is_empty() {
                self.take(tensor.name.clone(), at, Form::Plain, false);
            } else {
                self.left_out.push((tensor.name.clone(), reason));
            }
        }
    }
}

/// Whether a name was made by an exporter and says nothing.
fn is_anonymous(name: &str) -> bool {
    name.is_empty()
        || name.starts_with(['/', '_'])
        || ["onnx::", "Constant_", "val_"].iter().any(|start| name.starts_with(start))
        || name.bytes().all(|byte| byte.is_ascii_digit())
}

/// A name without what quantisers put behind it: `_quantized`, `_quant`, `_Q4`, `_Q4G32`.
fn stem_of_parts(name: &str) -> &str {
    match name.rsplit_once('_') {
        Some((stem, "quantized" | "quant")) => stem,
        Some((stem, end)) if end.starts_with('Q') && end[1..].starts_with(|c: char| c.is_ascii_digit()) => {
            stem
        }
        _ => name,
    }
}

/// The layer that a node of PyTorch's exporter belongs to: `/encoder/layer.0/query/MatMul` to `encoder.layer.0.query`. A child
/// of a sequence repeats the sequence's name (`/head/head.0/MatMul`), which stands once in the parameter's.
fn layer_of(node: &str) -> Option<String> {
    let (scope, _) = node.strip_prefix('/')?.rsplit_once('/')?;
    let mut parts: Vec<&str> = Vec::new();
    for part in scope.split('/') {
        if let Some(last) = parts.last()
            && part.strip_prefix(*last).is_some_and(|rest| rest.starts_with('.'))
        {
            parts.pop();
        }
        parts.push(part);
    }
    Some(parts.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_nodes_give_layers() {
        let check = |node: &str, layer: Option<&str>| assert_eq!(layer_of(node).as_deref(), layer, "{node}");
        check("/encoder/layer.0/attention/self/query/MatMul", Some("encoder.layer.0.attention.self.query"));
        check("/model/model.0/auto_model/pooler/dense/Gemm", Some("model.0.auto_model.pooler.dense"));
        check("/classifier/MatMul_Q4", Some("classifier"));
        check("/MatMul", None);
        check("MatMul_12", None);
        check("/layer/layernorm/MatMul", Some("layer.layernorm"));
    }

    #[test]
    fn names_made_by_exporters_are_known() {
        for name in ["onnx::MatMul_743", "/bert/Constant_output_0", "463", "", "val_12", "_v_3"] {
            assert!(is_anonymous(name), "{name}");
        }
        assert!(!is_anonymous("bert.embeddings.LayerNorm.weight") && !is_anonymous("logit_scale"));
        assert_eq!(stem_of_parts("onnx::MatMul_743_Q4"), "onnx::MatMul_743");
        assert_eq!(stem_of_parts("w.weight_Q4G32"), "w.weight");
        assert_eq!(stem_of_parts("w.weight_quantized"), "w.weight");
        for name in ["onnx::MatMul_743", "a_Query", "a_Q", "plain"] {
            assert_eq!(stem_of_parts(name), name);
        }
    }
}
