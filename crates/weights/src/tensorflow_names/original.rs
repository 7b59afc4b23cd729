//! Names in the checkpoints that the models' authors released: `bert/encoder/layer_0/attention/self/query/kernel`.

use super::Change;

/// Whose names they are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Albert,
    Bert,
    Electra,
    Gpt2,
    T5,
    TransformerXl,
    Xlnet,
}

/// Part of a name that only one model has, by which its checkpoints are known.
const MARKS: &[(&str, Kind)] = &[
    ("model/transformer/word_embedding/lookup_table", Kind::Xlnet),
    ("transformer/adaptive_embed/", Kind::TransformerXl),
    ("/transformer/group_0/inner_group_0/", Kind::Albert),
    ("electra/encoder/layer_0/", Kind::Electra),
    ("/encoder/layer_0/attention/self/query/kernel", Kind::Bert),
    ("model/h0/attn/c_attn/w", Kind::Gpt2),
    ("encoder/block_000/layer_000/SelfAttention/q", Kind::T5),
];

/// Whose names these are, if they are of a model known here.
pub(super) fn kind(names: &[&str]) -> Option<Kind> {
    let found = |mark: &str| names.iter().any(|name| name.contains(mark));
    MARKS.iter().find(|(mark, _)| found(mark)).map(|(_, kind)| *kind)
}

/// A tensor's names in PyTorch, with what has to be done to it: several where it holds the parameters of several layers, none
/// where PyTorch's class has no such parameter.
pub(super) fn names(kind: Kind, name: &str, shape: &[usize]) -> Vec<(String, Change)> {
    // Copies from TensorFlow Hub have one part more.
    let name = name.strip_prefix("module/").unwrap_or(name);
    match kind {
        Kind::Bert => bert(name, shape),
        Kind::Albert => bert(&albert(name), shape),
        Kind::Electra => electra(name, shape),
        Kind::Gpt2 => gpt2(name, shape),
        Kind::T5 => t5(name, shape),
        Kind::TransformerXl => transformer_xl(name, shape),
        Kind::Xlnet => xlnet(name, shape),
    }
}

/// `layer_3` as `layer` and `3`: letters, one underscore, digits.
fn numbered(part: &str) -> Option<(&str, u32)> {
    let (word, digits) = part.split_once('_')?;
    let letters = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphabetic());
    let number = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
    letters.then_some((word, number))
}

fn bert(name: &str, shape: &[usize]) -> Vec<(String, Change)> {
    let new = match name {
        "output_weights" => "classifier.weight".to_string(),
        "output_bias" => "classifier.bias".to_string(),
        "cls/squad/output_weights" => "qa_outputs.weight".to_string(),
        "cls/squad/output_bias" => "qa_outputs.bias".to_string(),
        name => {
            let mut parts = Vec::new();
            for part in name.split('/') {
                let (word, number) = match numbered(part) {
                    Some((word, number)) => (word, Some(number.to_string())),
                    None => (part, None),
                };
                parts.push(match word {
                    "kernel" | "gamma" | "output_weights" => "weight".to_string(),
                    "output_bias" | "beta" => "bias".to_string(),
                    word => word.to_string(),
                });
                parts.extend(number);
            }
            if name.ends_with("_embeddings") {
                parts.push("weight".to_string());
            }
            parts.join(".")
        }
    };
    let turned = name.rsplit('/').next() == Some("kernel");
    vec![(new, if turned { Change::reverse(shape) } else { Change::Keep })]
}

/// ALBERT's name as BERT's kind of name for what PyTorch's ALBERT has.
fn albert(name: &str) -> String {
    // In this order: later ones see what earlier ones made.
    const STEPS: &[(&str, &str)] = &[
        ("ffn_1", "ffn"),
        ("bert/", "albert/"),
        ("attention_1", "attention"),
        ("transform/", ""),
        ("LayerNorm_1", "full_layer_layer_norm"),
        ("LayerNorm", "attention/LayerNorm"),
        ("transformer/", ""),
        ("intermediate/dense/", ""),
        ("ffn/intermediate/output/dense/", "ffn_output/"),
        ("/output/", "/"),
        ("/self/", "/"),
        ("pooler/dense", "pooler"),
        ("cls/predictions", "predictions"),
        ("predictions/attention", "predictions"),
        ("embeddings/attention", "embeddings"),
        ("inner_group_", "albert_layers/"),
        ("group_", "albert_layer_groups/"),
        ("cls/seq_relationship/output_weights", "sop_classifier/classifier/weight"),
        ("cls/seq_relationship/output_bias", "sop_classifier/classifier/bias"),
    ];
    STEPS.iter().fold(name.to_string(), |name, (from, to)| name.replace(from, to))
}

/// The discriminator. The generator that it was trained with stands beside it and has a class of its own.
fn electra(name: &str, shape: &[usize]) -> Vec<(String, Change)> {
    if name.starts_with("generator") {
        return Vec::new();
    }
    bert(&name.replace("dense_1", "dense_prediction"), shape)
}

fn gpt2(name: &str, shape: &[usize]) -> Vec<(String, Change)> {
    let name = name.strip_prefix("model/").unwrap_or(name);
    let mut parts = Vec::new();
    for part in name.split('/') {
        let digits = part.find(|c: char| c.is_ascii_digit()).filter(|_| !part.contains('_'));
        match (part, digits) {
            ("w" | "g", _) => parts.push("weight"),
            ("b", _) => parts.push("bias"),
            ("wpe" | "wte", _) => parts.extend([part, "weight"]),
            (_, Some(at)) if at > 0 => parts.extend([&part[..at], &part[at..]]),
            _ => parts.push(part),
        }
    }
    // The matrices are written as convolutions of width 1.
    let change = match shape {
        [1, rows, columns] => Change::Shape(vec![*rows, *columns]),
        _ => Change::Keep,
    };
    vec![(parts.join("."), change)]
}

fn t5(name: &str, shape: &[usize]) -> Vec<(String, Change)> {
    let mut parts = Vec::new();
    let within = name.contains("/block_");
    for part in name.split('/') {
        match (part, numbered(part)) {
            ("kernel" | "scale" | "embedding", _) => {}
            ("rms_norm", _) => parts.push(if within { "layer_norm" } else { "final_layer_norm" }.to_string()),
            ("logits", _) => parts = vec!["lm_head".to_string()],
            (_, Some((word @ ("block" | "layer"), number))) => {
                parts.extend([word.to_string(), number.to_string()]);
            }
            _ => parts.push(part.to_string()),
        }
    }
    parts.push("weight".to_string());
    let kept = name.ends_with("/embedding");
    vec![(parts.join("."), if kept { Change::Keep } else { Change::reverse(shape) })]
}

/// One parameter a layer where the layers have their own, else one for all.
fn of_layers(shape: &[usize], shared_axes: usize, path: &str, name: &str) -> Vec<(String, Change)> {
    if shape.len() == shared_axes {
        return vec![(format!("transformer.{name}"), Change::Keep)];
    }
    let layers = shape.first().copied().unwrap_or(0);
    (0..layers)
        .map(|layer| (format!("transformer.{}", path.replace("{}", &layer.to_string())), Change::Row(layer)))
        .collect()
}

fn transformer_xl(name: &str, shape: &[usize]) -> Vec<(String, Change)> {
    let keep = |new: String| vec![(new, Change::Keep)];
    let turn = |new: String| vec![(new, Change::reverse(shape))];
    let parts: Vec<&str> = name.split('/').collect();
    let number = |part: &str| numbered(part).map(|(_, number)| number);
    match parts.as_slice() {
        ["transformer", "r_r_bias"] => of_layers(shape, 2, "layers.{}.dec_attn.r_r_bias", "r_r_bias"),
        ["transformer", "r_w_bias"] => of_layers(shape, 2, "layers.{}.dec_attn.r_w_bias", "r_w_bias"),
        ["transformer", "adaptive_softmax", "cutoff_0", "cluster_W"] => {
            keep("crit.cluster_weight".to_string())
        }
        ["transformer", "adaptive_softmax", "cutoff_0", "cluster_b"] => keep("crit.cluster_bias".to_string()),
        ["transformer", "adaptive_softmax", cutoff, what] => match (number(cutoff), *what) {
            (Some(n), "b") => keep(format!("crit.out_layers.{n}.bias")),
            (Some(n), "lookup_table") => keep(format!("crit.out_layers.{n}.weight")),
            (Some(n), "proj") => turn(format!("crit.out_projs.{n}")),
            _ => keep(name.to_string()),
        },
        ["transformer", "adaptive_embed", cutoff, what] => match (number(cutoff), *what) {
            (Some(n), "lookup_table") => keep(format!("transformer.word_emb.emb_layers.{n}.weight")),
            (Some(n), "proj_W") => turn(format!("transformer.word_emb.emb_projs.{n}")),
            _ => keep(name.to_string()),
        },
        ["transformer", layer, rest @ ..] => {
            let (part, turned) = match rest {
                ["rel_attn", "LayerNorm", "gamma"] => ("dec_attn.layer_norm.weight", false),
                ["rel_attn", "LayerNorm", "beta"] => ("dec_attn.layer_norm.bias", false),
                ["rel_attn", "o", "kernel"] => ("dec_attn.o_net.weight", true),
                ["rel_attn", "qkv", "kernel"] => ("dec_attn.qkv_net.weight", true),
                ["rel_attn", "r", "kernel"] => ("dec_attn.r_net.weight", true),
                ["ff", "LayerNorm", "gamma"] => ("pos_ff.layer_norm.weight", false),
                ["ff", "LayerNorm", "beta"] => ("pos_ff.layer_norm.bias", false),
                ["ff", "layer_1", "kernel"] => ("pos_ff.CoreNet.0.weight", true),
                ["ff", "layer_1", "bias"] => ("pos_ff.CoreNet.0.bias", false),
                ["ff", "layer_2", "kernel"] => ("pos_ff.CoreNet.3.weight", true),
                ["ff", "layer_2", "bias"] => ("pos_ff.CoreNet.3.bias", false),
                _ => return keep(name.to_string()),
            };
            match number(layer) {
                Some(n) if turned => turn(format!("transformer.layers.{n}.{part}")),
                Some(n) => keep(format!("transformer.layers.{n}.{part}")),
                None => keep(name.to_string()),
            }
        }
        _ => keep(name.to_string()),
    }
}

fn xlnet(name: &str, shape: &[usize]) -> Vec<(String, Change)> {
    let keep = |new: String| vec![(new, Change::Keep)];
    let turn = |new: &str| vec![(new.to_string(), Change::reverse(shape))];
    let parts: Vec<&str> = name.split('/').collect();
    match parts.as_slice() {
        ["model", "lm_loss", "bias"] => keep("lm_loss.bias".to_string()),
        // Spelled so in the release.
        ["model", "sequnece_summary", "summary", "kernel"] => turn("sequence_summary.summary.weight"),
        ["model", "sequnece_summary", "summary", "bias"] => keep("sequence_summary.summary.bias".to_string()),
        ["model", _, "logit", "kernel"] => turn("logits_proj.weight"),
        ["model", _, "logit", "bias"] => keep("logits_proj.bias".to_string()),
        ["model", "transformer", "word_embedding", "lookup_table"] => {
            keep("transformer.word_embedding.weight".to_string())
        }
        ["model", "transformer", "mask_emb", "mask_emb"] => keep("transformer.mask_emb".to_string()),
        ["model", "transformer", bias @ ("r_r_bias" | "r_w_bias" | "r_s_bias")] => {
            of_layers(shape, 2, &format!("layer.{{}}.rel_attn.{bias}"), bias)
        }
        ["model", "transformer", "seg_embed"] => {
            of_layers(shape, 3, "layer.{}.rel_attn.seg_embed", "seg_embed")
        }
        ["model", "transformer", layer, rest @ ..] => {
            let Some((_, n)) = numbered(layer) else { return keep(name.to_string()) };
            let whole = |part: &str| format!("transformer.layer.{n}.{part}");
            match rest {
                ["rel_attn", "LayerNorm", "gamma"] => keep(whole("rel_attn.layer_norm.weight")),
                ["rel_attn", "LayerNorm", "beta"] => keep(whole("rel_attn.layer_norm.bias")),
                ["rel_attn", which, "kernel"] => keep(whole(&format!("rel_attn.{which}"))),
                ["ff", "LayerNorm", "gamma"] => keep(whole("ff.layer_norm.weight")),
                ["ff", "LayerNorm", "beta"] => keep(whole("ff.layer_norm.bias")),
                ["ff", which, "kernel"] => turn(&whole(&format!("ff.{which}.weight"))),
                ["ff", which, "bias"] => keep(whole(&format!("ff.{which}.bias"))),
                _ => keep(name.to_string()),
            }
        }
        _ => keep(name.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_split_off_plain_words_only() {
        assert_eq!(numbered("layer_11"), Some(("layer", 11)));
        assert_eq!(numbered("block_003"), Some(("block", 3)));
        for part in ["layer", "layer_", "ffn_layer_0", "_1", "layer_1a", "layer_99999999999"] {
            assert_eq!(numbered(part), None, "{part}");
        }
    }

    #[test]
    fn kinds_are_known_by_their_names() {
        assert_eq!(kind(&["bert/encoder/layer_0/attention/self/query/kernel"]), Some(Kind::Bert));
        assert_eq!(kind(&["electra/encoder/layer_0/attention/self/query/kernel"]), Some(Kind::Electra));
        assert_eq!(kind(&["dense/kernel", "model/encoder/kernel"]), None);
    }

    #[test]
    fn heads_of_fine_tuned_models_are_known() {
        for (from, to) in [
            ("output_weights", "classifier.weight"),
            ("output_bias", "classifier.bias"),
            ("cls/squad/output_weights", "qa_outputs.weight"),
            ("cls/squad/output_bias", "qa_outputs.bias"),
        ] {
            assert_eq!(names(Kind::Bert, from, &[2, 3]), [(to.to_string(), Change::Keep)]);
        }
    }
}
