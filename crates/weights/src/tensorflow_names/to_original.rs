//! Names of PyTorch as in the checkpoints that the models' authors released: what [`super::original`] reads, backwards.

use super::Change;
use super::export::{Place, parts};
use super::original::Kind;

/// Where a tensor goes, whose name has what the names of models with a head begin with; `None` where the release has no place.
pub(super) fn place(kind: Kind, name: &str, shape: &[usize]) -> Option<Place> {
    match kind {
        Kind::Bert => Some(bert(name, shape)),
        Kind::Albert => Some(bert(&albert(name), shape)),
        Kind::Electra => Some(bert(&name.replace("dense_prediction", "dense_1"), shape)),
        Kind::Gpt2 => Some(gpt2(name, shape)),
        Kind::T5 => t5(name, shape),
        Kind::TransformerXl => transformer_xl(name, shape),
        Kind::Xlnet => xlnet(name, shape),
    }
}

fn bert(name: &str, shape: &[usize]) -> Place {
    let own = match name {
        "classifier.weight" => "output_weights",
        "classifier.bias" => "output_bias",
        "qa_outputs.weight" => "cls/squad/output_weights",
        "qa_outputs.bias" => "cls/squad/output_bias",
        "cls.predictions.bias" => "cls/predictions/output_bias",
        "cls.seq_relationship.weight" => "cls/seq_relationship/output_weights",
        "cls.seq_relationship.bias" => "cls/seq_relationship/output_bias",
        _ => "",
    };
    if !own.is_empty() {
        return Place::new(own, Change::Keep);
    }
    let mut parts = parts(name, "_");
    let last = parts.pop().unwrap_or_default();
    let before = parts.last().cloned().unwrap_or_default();
    let norm = before.starts_with("LayerNorm");
    let (end, change) = match last.as_str() {
        "weight" if before.ends_with("_embeddings") => return Place::new(parts.join("/"), Change::Keep),
        "weight" if norm => ("gamma", Change::Keep),
        "bias" if norm => ("beta", Change::Keep),
        "weight" => ("kernel", Change::reverse(shape)),
        other => (other, Change::Keep),
    };
    parts.push(end.to_string());
    Place::new(parts.join("/"), change)
}

/// ALBERT's name as BERT's would be for what the release calls it.
fn albert(name: &str) -> String {
    // In this order: later ones see what earlier ones made.
    const STEPS: &[(&str, &str)] = &[
        ("albert.", "bert."),
        (".albert_layer_groups.", ".transformer.group."),
        (".albert_layers.", ".inner_group."),
        (".attention.query.", ".attention_1.self.query."),
        (".attention.key.", ".attention_1.self.key."),
        (".attention.value.", ".attention_1.self.value."),
        (".attention.dense.", ".attention_1.output.dense."),
        (".attention.LayerNorm.", ".LayerNorm."),
        (".full_layer_layer_norm.", ".LayerNorm_1."),
        (".ffn.", ".ffn_1.intermediate.dense."),
        (".ffn_output.", ".ffn_1.intermediate.output.dense."),
        ("bert.pooler.", "bert.pooler.dense."),
        ("predictions.dense.", "predictions.transform.dense."),
        ("predictions.LayerNorm.", "predictions.transform.LayerNorm."),
        ("sop_classifier.classifier.", "cls.seq_relationship."),
    ];
    let name = STEPS.iter().fold(name.to_string(), |name, (from, to)| name.replace(from, to));
    if name.starts_with("predictions.") { format!("cls.{name}") } else { name }
}

fn gpt2(name: &str, shape: &[usize]) -> Place {
    let mut parts = parts(name.strip_prefix("transformer.").unwrap_or(name), "");
    let last = parts.pop().unwrap_or_default();
    let before = parts.last().cloned().unwrap_or_default();
    parts.insert(0, "model".to_string());
    // The matrices are written as convolutions of width 1.
    let convolution = ["c_attn", "c_proj", "c_fc"].contains(&before.as_str());
    let (end, change) = match last.as_str() {
        "weight" if ["wte", "wpe"].contains(&before.as_str()) => {
            return Place::new(parts.join("/"), Change::Keep);
        }
        "weight" if before.starts_with("ln_") => ("g", Change::Keep),
        "weight" if convolution => ("w", Change::Shape([&[1], shape].concat())),
        "weight" => ("w", Change::Keep),
        "bias" => ("b", Change::Keep),
        other => (other, Change::Keep),
    };
    parts.push(end.to_string());
    Place::new(parts.join("/"), change)
}

fn t5(name: &str, shape: &[usize]) -> Option<Place> {
    let name = name.strip_prefix("transformer.").unwrap_or(name).strip_suffix(".weight")?;
    match name {
        "shared" => return Some(Place::new("shared/embedding", Change::Keep)),
        "lm_head" => return Some(Place::new("decoder/logits/kernel", Change::reverse(shape))),
        _ => {}
    }
    let mut parts: Vec<String> = Vec::new();
    for part in name.split('.') {
        match (parts.last_mut(), part.parse::<usize>()) {
            (Some(list), Ok(number)) => list.push_str(&format!("_{number:03}")),
            _ => parts.push(part.to_string()),
        }
    }
    match parts.last().map(String::as_str) {
        Some("layer_norm" | "final_layer_norm") => parts.push("scale".to_string()),
        Some("wi" | "wi_0" | "wi_1" | "wo") => parts.push("kernel".to_string()),
        _ => {}
    }
    Some(Place::new(parts.join("/"), Change::reverse(shape)))
}

/// A parameter of a layer that the release keeps in one variable with those of all others.
fn of_layers(name: String, layer: &str) -> Option<Place> {
    Some(Place { name, change: Change::Keep, row: Some(layer.parse().ok()?) })
}

fn transformer_xl(name: &str, shape: &[usize]) -> Option<Place> {
    let keep = |new: String| Some(Place::new(format!("transformer/{new}"), Change::Keep));
    let turn = |new: String| Some(Place::new(format!("transformer/{new}"), Change::reverse(shape)));
    let parts: Vec<&str> = name.split('.').collect();
    match parts.as_slice() {
        ["transformer", bias @ ("r_r_bias" | "r_w_bias")] => keep(bias.to_string()),
        ["transformer", "layers", n, "dec_attn", bias @ ("r_r_bias" | "r_w_bias")] => {
            of_layers(format!("transformer/{bias}"), n)
        }
        ["transformer", "word_emb", "emb_layers", n, "weight"] => {
            keep(format!("adaptive_embed/cutoff_{n}/lookup_table"))
        }
        ["transformer", "word_emb", "emb_projs", n] => turn(format!("adaptive_embed/cutoff_{n}/proj_W")),
        ["crit", "cluster_weight"] => keep("adaptive_softmax/cutoff_0/cluster_W".to_string()),
        ["crit", "cluster_bias"] => keep("adaptive_softmax/cutoff_0/cluster_b".to_string()),
        ["crit", "out_layers", n, "bias"] => keep(format!("adaptive_softmax/cutoff_{n}/b")),
        ["crit", "out_layers", n, "weight"] => keep(format!("adaptive_softmax/cutoff_{n}/lookup_table")),
        ["crit", "out_projs", n] => turn(format!("adaptive_softmax/cutoff_{n}/proj")),
        ["transformer", "layers", n, rest @ ..] => match rest {
            ["dec_attn", "layer_norm", "weight"] => keep(format!("layer_{n}/rel_attn/LayerNorm/gamma")),
            ["dec_attn", "layer_norm", "bias"] => keep(format!("layer_{n}/rel_attn/LayerNorm/beta")),
            ["dec_attn", "o_net", "weight"] => turn(format!("layer_{n}/rel_attn/o/kernel")),
            ["dec_attn", "qkv_net", "weight"] => turn(format!("layer_{n}/rel_attn/qkv/kernel")),
            ["dec_attn", "r_net", "weight"] => turn(format!("layer_{n}/rel_attn/r/kernel")),
            ["pos_ff", "layer_norm", "weight"] => keep(format!("layer_{n}/ff/LayerNorm/gamma")),
            ["pos_ff", "layer_norm", "bias"] => keep(format!("layer_{n}/ff/LayerNorm/beta")),
            ["pos_ff", "CoreNet", "0", "weight"] => turn(format!("layer_{n}/ff/layer_1/kernel")),
            ["pos_ff", "CoreNet", "0", "bias"] => keep(format!("layer_{n}/ff/layer_1/bias")),
            ["pos_ff", "CoreNet", "3", "weight"] => turn(format!("layer_{n}/ff/layer_2/kernel")),
            ["pos_ff", "CoreNet", "3", "bias"] => keep(format!("layer_{n}/ff/layer_2/bias")),
            _ => None,
        },
        _ => None,
    }
}

fn xlnet(name: &str, shape: &[usize]) -> Option<Place> {
    let keep = |new: &str| Some(Place::new(format!("model/{new}"), Change::Keep));
    let turn = |new: &str| Some(Place::new(format!("model/{new}"), Change::reverse(shape)));
    let parts: Vec<&str> = name.split('.').collect();
    match parts.as_slice() {
        ["lm_loss", "bias"] => keep("lm_loss/bias"),
        // Spelled so in the release.
        ["sequence_summary", "summary", "weight"] => turn("sequnece_summary/summary/kernel"),
        ["sequence_summary", "summary", "bias"] => keep("sequnece_summary/summary/bias"),
        // The release has the name of a task in it; transformers finds it with `finetuning_task="model"`.
        ["logits_proj", "weight"] => turn("regression_model/logit/kernel"),
        ["logits_proj", "bias"] => keep("regression_model/logit/bias"),
        ["transformer", "word_embedding", "weight"] => keep("transformer/word_embedding/lookup_table"),
        ["transformer", "mask_emb"] => keep("transformer/mask_emb/mask_emb"),
        ["transformer", one @ ("r_r_bias" | "r_w_bias" | "r_s_bias" | "seg_embed")] => {
            keep(&format!("transformer/{one}"))
        }
        ["transformer", "layer", n, rest @ ..] => {
            let whole = |part: &str| format!("transformer/layer_{n}/{part}");
            match rest {
                ["rel_attn", one @ ("r_r_bias" | "r_w_bias" | "r_s_bias" | "seg_embed")] => {
                    of_layers(format!("model/transformer/{one}"), n)
                }
                ["rel_attn", "layer_norm", "weight"] => keep(&whole("rel_attn/LayerNorm/gamma")),
                ["rel_attn", "layer_norm", "bias"] => keep(&whole("rel_attn/LayerNorm/beta")),
                ["rel_attn", which] => keep(&whole(&format!("rel_attn/{which}/kernel"))),
                ["ff", "layer_norm", "weight"] => keep(&whole("ff/LayerNorm/gamma")),
                ["ff", "layer_norm", "bias"] => keep(&whole("ff/LayerNorm/beta")),
                ["ff", which, "weight"] => turn(&whole(&format!("ff/{which}/kernel"))),
                ["ff", which, "bias"] => keep(&whole(&format!("ff/{which}/bias"))),
                _ => None,
            }
        }
        _ => None,
    }
}
