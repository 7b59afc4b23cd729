//! Names in files of transformers' TensorFlow classes: `bert/tf_bert_model/bert/encoder/layer_._0/output/dense/kernel:0`.
//!
//! First the Keras layer that the weight belongs to, which Keras repeats in the weight's own name; then the weight's name,
//! which starts with that of the model. Files in several shards have neither, and start with the layer.

use super::Change;

/// Whether transformers' classes wrote a file. They alone write `_._` between a list and a place in it, and call models
/// `tf_...`.
pub(super) fn is_of_transformers(layers: &[String], names: &[&str]) -> bool {
    let model = |name: &str| weight(layers, name).is_some_and(|weight| weight.starts_with("tf_"));
    names.iter().any(|name| name.contains("_._") || model(name))
}

/// The weight's name without the layer that it is stored below; `None` where no layer is said to hold it.
pub(super) fn weight<'a>(layers: &[String], path: &'a str) -> Option<&'a str> {
    layers.iter().find_map(|layer| path.strip_prefix(layer.as_str())?.strip_prefix('/'))
}

/// A weight's name in PyTorch, and what has to be done to it.
pub(super) fn name(layers: &[String], path: &str, shape: &[usize]) -> (String, Change) {
    // The model's own name is left out; one part alone has none.
    let weight = match weight(layers, path) {
        Some(weight) => weight.split_once('/').map_or(weight, |(_, rest)| rest),
        None => path,
    };
    let weight = weight.replace(":0", "");
    let last = weight.rsplit('/').next().unwrap_or_default().to_string();
    let mut parts: Vec<&str> = Vec::new();
    for part in weight.split('/') {
        // What stands before three underscores exists in TensorFlow only.
        let part = part.rsplit("___").next().unwrap_or(part);
        parts.extend(part.split("_._").filter(|part| !part.is_empty()));
    }
    let change = match (last.as_str(), shape) {
        ("kernel", [_, _, _, _]) => Change::Turn(vec![3, 2, 0, 1]),
        // A filter for each channel: its one input comes second in PyTorch.
        ("depthwise_kernel", [_, _, _]) => Change::Turn(vec![1, 2, 0]),
        ("kernel" | "pointwise_kernel" | "depthwise_kernel", _) => Change::reverse(shape),
        _ if parts.contains(&"emb_projs") || parts.contains(&"out_projs") => Change::reverse(shape),
        ("bias", [len]) if parts.ends_with(&["key_conv_attn_layer", "bias"]) => Change::Shape(vec![*len, 1]),
        ("bias", [1, len]) => Change::Shape(vec![*len]),
        _ => Change::Keep,
    };
    if let Some(last) = parts.last_mut() {
        *last = match *last {
            "kernel" | "embeddings" | "gamma" => "weight",
            "beta" => "bias",
            "pointwise_kernel" => "pointwise.weight",
            "depthwise_kernel" => "depthwise.weight",
            other => other,
        };
    }
    (parts.join("."), change)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_pytorch() {
        let layers = ["bert", "mlm___cls", "shared", "transformer"].map(str::to_string);
        let check = |path: &str, shape: &[usize], expected: &str, change: Change| {
            assert_eq!(name(&layers, path, shape), (expected.to_string(), change), "{path}");
        };
        let flip = Change::Turn(vec![1, 0]);
        check(
            "bert/tf_bert_model/bert/encoder/layer_._0/output/dense/kernel:0",
            &[2, 3],
            "bert.encoder.layer.0.output.dense.weight",
            flip.clone(),
        );
        check("mlm___cls/tf_x/mlm___cls/predictions/bias:0", &[3], "cls.predictions.bias", Change::Keep);
        check("shared/shared/shared/embeddings:0", &[3, 2], "shared.weight", Change::Keep);
        check(
            "transformer/tf_x/transformer/h_._1/attn/c_attn/bias:0",
            &[1, 6],
            "transformer.h.1.attn.c_attn.bias",
            Change::Shape(vec![6]),
        );
        check(
            "transformer/tf_x/transformer/h_._1/attn/c_attn/weight:0",
            &[2, 6],
            "transformer.h.1.attn.c_attn.weight",
            Change::Keep,
        );
        // In a shard, whose layers say nothing.
        assert_eq!(
            name(&[], "bert/embeddings/LayerNorm/gamma:0", &[3]),
            ("bert.embeddings.LayerNorm.weight".to_string(), Change::Keep)
        );
    }
}
