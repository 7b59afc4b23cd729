//! A model's `config.json` from a GGUF file's metadata, and the way back.

use serde_json::{Map, Value as Json, json};

use super::Gguf;
use super::architecture::{self, Architecture, Number};
use super::value::{List, Metadata, Value};
use crate::{Named, TensorFile};

/// The configuration that transformers would have for the model, or `None` for an architecture unknown here.
pub(super) fn of(file: &Gguf) -> Option<Json> {
    let architecture = architecture::named(file.architecture())?;
    let metadata = file.metadata();
    let get = |key: &str| metadata.get(&format!("{}.{key}", architecture.name));
    let mut config = Map::new();
    let encoder = architecture.name == "bert";
    let model_type = if encoder { encoder_type(file) } else { architecture.model_types.first()? };
    config.insert("model_type".into(), model_type.into());
    config.insert("architectures".into(), json!([class(file, architecture)]));
    for &(key, name, number) in architecture.settings {
        let value = match get(key) {
            // A number for each layer, where the model has the same in all of them.
            Some(Value::List(list)) => all_equal(list),
            value => value.cloned(),
        };
        let value = match number {
            Number::Whole => value.and_then(|value| value.as_u64()).map(Json::from),
            Number::Real => value.and_then(|value| value.as_f64()).map(Json::from),
        };
        if let Some(value) = value {
            config.insert(name.into(), value);
        }
    }
    if let Some(rows) = file.shape("token_embd.weight").and_then(|shape| shape.first()) {
        config.insert("vocab_size".into(), (*rows).into());
    }
    for (key, name) in [("bos", "bos_token_id"), ("eos", "eos_token_id"), ("padding", "pad_token_id")] {
        if let Some(id) = metadata.u64(&format!("tokenizer.ggml.{key}_token_id")) {
            config.insert(name.into(), id.into());
        }
    }
    for &(name, json) in architecture.fixed {
        config.insert(name.into(), serde_json::from_str(json).ok()?);
    }
    match architecture.name {
        "bert" => encoder_settings(file, &mut config),
        "gpt2" => {
            config.insert("tie_word_embeddings".into(), true.into());
        }
        _ => rotary_settings(file, architecture, &mut config),
    }
    Some(Json::Object(config))
}

/// The value that a list repeats, if it repeats one.
fn all_equal(list: &List) -> Option<Value> {
    let first = list.get(0)?;
    (1..list.len()).all(|at| list.get(at).as_ref() == Some(&first)).then_some(first)
}

fn class(file: &Gguf, architecture: &Architecture) -> &'static str {
    let classifier = file.shape("cls.weight").is_some();
    match (architecture.name, encoder_type(file)) {
        ("bert", "bert") if classifier => "BertForSequenceClassification",
        ("bert", "roberta") => {
            if classifier {
                "RobertaForSequenceClassification"
            } else {
                "RobertaModel"
            }
        }
        ("bert", "xlm-roberta") => {
            if classifier {
                "XLMRobertaForSequenceClassification"
            } else {
                "XLMRobertaModel"
            }
        }
        _ => architecture.class,
    }
}

/// Which of the encoders that share llama.cpp's `bert` a file holds, as its tokenizer tells.
pub(super) fn encoder_type(file: &Gguf) -> &'static str {
    match file.metadata().text("tokenizer.ggml.model") {
        Some("gpt2") => "roberta",
        Some("t5" | "llama") => "xlm-roberta",
        _ => "bert",
    }
}

/// The position of a text's first token: RoBERTa counts from the one behind the padding token's id.
pub(super) fn first_position(file: &Gguf) -> usize {
    match encoder_type(file) {
        "bert" => 0,
        // Ids are below the number of tokens, which the file holds; anything else is no id.
        _ => match file.metadata().u64("tokenizer.ggml.padding_token_id") {
            Some(pad) if pad < 1 << 20 => pad as usize + 1,
            _ => 2,
        },
    }
}

fn encoder_settings(file: &Gguf, config: &mut Map<String, Json>) {
    if let Some(types) = file.shape("token_types.weight").and_then(|shape| shape.first()) {
        config.insert("type_vocab_size".into(), (*types).into());
    }
    let offset = first_position(file);
    if let Some(positions) = config.get("max_position_embeddings").and_then(Json::as_u64) {
        config.insert("max_position_embeddings".into(), (positions + offset as u64).into());
    }
    if offset > 0 {
        config.insert("pad_token_id".into(), (offset - 1).into());
    }
    let labels = file.metadata().get("bert.classifier.output_labels").and_then(Value::as_list);
    if let Some(labels) = labels.and_then(List::as_texts) {
        let names: Map<String, Json> =
            labels.iter().enumerate().map(|(id, label)| (id.to_string(), label.as_str().into())).collect();
        config.insert("id2label".into(), names.into());
    }
}

fn rotary_settings(file: &Gguf, architecture: &Architecture, config: &mut Map<String, Json>) {
    let metadata = file.metadata();
    let own = |key: &str| format!("{}.{key}", architecture.name);
    let size = |config: &Map<String, Json>, key: &str| config.get(key).and_then(Json::as_u64);
    if !config.contains_key("num_key_value_heads")
        && let Some(heads) = size(config, "num_attention_heads")
    {
        config.insert("num_key_value_heads".into(), heads.into());
    }
    let head_dim = metadata.u64(&own("attention.key_length")).or_else(|| {
        let (hidden, heads) = (size(config, "hidden_size")?, size(config, "num_attention_heads")?);
        hidden.checked_div(heads)
    });
    if let Some(head_dim) = head_dim {
        config.insert("head_dim".into(), head_dim.into());
    }
    config.entry("rope_theta").or_insert(10000.0.into());
    let tied = file.shape("output.weight").is_none() || architecture.name == "gemma";
    config.insert("tie_word_embeddings".into(), tied.into());
    if architecture.name != "qwen2" {
        // Qwen2 has these biases in every model and no setting for them.
        config.insert("attention_bias".into(), file.shape("blk.0.attn_q.bias").is_some().into());
    }
    if architecture.name == "llama" {
        config.insert("mlp_bias".into(), file.shape("blk.0.ffn_up.bias").is_some().into());
    }
    let scaling = match metadata.text(&own("rope.scaling.type")) {
        Some("linear") => metadata
            .f64(&own("rope.scaling.factor"))
            .map(|factor| json!({"rope_type": "linear", "factor": factor})),
        // What is not known here is handed on by name, so that whoever builds the model can refuse it.
        Some(other) if other != "none" => Some(json!({"rope_type": other})),
        _ => llama3_scaling(file),
    };
    if let Some(scaling) = scaling {
        config.insert("rope_scaling".into(), scaling);
    }
}

/// The rotary scaling of Llama 3, when the factors that a file holds are those of its published settings. The file has no
/// more than the factors; every published Llama 3 has the other three settings as here.
pub(super) fn llama3_scaling(file: &Gguf) -> Option<Json> {
    let factors = file.read("rope_freqs.weight").ok()?;
    let factor = f64::from(factors.iter().copied().fold(f32::NAN, f32::max));
    let scaling = json!({"rope_type": "llama3", "factor": factor, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192});
    let theta = file.metadata().f64("llama.rope.freq_base").unwrap_or(10000.0);
    let expected = llama3_factors(&scaling, theta, 2 * factors.len())?;
    let close =
        factors.iter().zip(&expected).all(|(got, expected)| (got - expected).abs() <= 1e-4 * expected);
    close.then_some(scaling)
}

/// By how much each rotary frequency is divided.
///
/// The rule of <https://github.com/huggingface/transformers/blob/main/src/transformers/modeling_rope_utils.py>.
fn llama3_factors(scaling: &Json, theta: f64, head_dim: usize) -> Option<Vec<f32>> {
    let number = |key: &str| scaling[key].as_f64().filter(|x| *x > 0.0);
    let (factor, low, high) = (number("factor")?, number("low_freq_factor")?, number("high_freq_factor")?);
    let length = number("original_max_position_embeddings")?;
    let of = |at: usize| {
        let wave = 2.0 * std::f64::consts::PI * theta.powf(2.0 * at as f64 / head_dim as f64);
        if wave < length / high {
            1.0
        } else if wave > length / low {
            factor
        } else {
            let smooth = (length / wave - low) / (high - low);
            1.0 / ((1.0 - smooth) / factor + smooth)
        }
    };
    Some((0..head_dim / 2).map(|at| of(at) as f32).collect())
}

/// The rotary settings of a configuration, where transformers keeps them today or kept them before.
fn rotary(config: &Json) -> (f64, Option<&Json>) {
    let settings =
        [&config["rope_parameters"], &config["rope_scaling"]].into_iter().find(|value| value.is_object());
    let theta =
        settings.and_then(|settings| settings["rope_theta"].as_f64()).or(config["rope_theta"].as_f64());
    (theta.unwrap_or(10000.0), settings)
}

/// The kind of rotary scaling, `default` for none.
fn scaling_type(settings: Option<&Json>) -> &str {
    let kind = settings.and_then(|settings| settings["rope_type"].as_str().or(settings["type"].as_str()));
    kind.unwrap_or("default")
}

/// The factors that a file of a model with Llama 3's rotary scaling holds.
pub(super) fn rotary_factors(config: &Json) -> Result<Option<Vec<f32>>, String> {
    let (theta, settings) = rotary(config);
    let Some(settings) = settings.filter(|_| scaling_type(settings) == "llama3") else { return Ok(None) };
    let head_dim = head_dim(config).ok_or("config.json does not say how wide a head is")?;
    let factors = llama3_factors(settings, theta, head_dim as usize);
    factors.map(Some).ok_or_else(|| format!("config.json scales rotary positions by {settings}"))
}

fn head_dim(config: &Json) -> Option<u64> {
    let derived = || config["hidden_size"].as_u64()?.checked_div(config["num_attention_heads"].as_u64()?);
    config["head_dim"].as_u64().or_else(derived)
}

/// Whether a model's output is its word table.
pub(super) fn is_tied(architecture: &Architecture, config: &Json) -> bool {
    matches!(architecture.name, "gpt2" | "gemma") || config["tie_word_embeddings"] == true
}

/// The metadata of a model's settings, or which setting is missing or has no form in GGUF here.
pub(super) fn metadata(
    architecture: &Architecture,
    config: &Json,
    tensors: &[Named],
) -> Result<Metadata, String> {
    let own = |key: &str| format!("{}.{key}", architecture.name);
    let mut metadata = Metadata::default();
    metadata.put("general.architecture", Value::Text(architecture.name.into()));
    metadata.put("general.type", Value::Text("model".into()));
    let (theta, settings) = rotary(config);
    for &(key, name, number) in architecture.settings {
        let value = match (name, &config[name]) {
            ("rope_theta", _) => Json::from(theta),
            ("n_inner", Json::Null) => config["n_embd"].as_u64().map(|hidden| 4 * hidden).into(),
            ("num_key_value_heads", Json::Null) => config["num_attention_heads"].clone(),
            (_, value) => value.clone(),
        };
        let value = match number {
            Number::Whole => value.as_u64().and_then(|x| u32::try_from(x).ok()).map(Value::U32),
            Number::Real => value.as_f64().map(|x| Value::F32(x as f32)),
        };
        let value =
            value.ok_or_else(|| format!("config.json says {name}: {}, expected a number", config[name]))?;
        metadata.put(own(key), value);
    }
    let words = tensors
        .iter()
        .find(|tensor| ["embed_tokens.weight", "wte.weight"].iter().any(|end| tensor.name.ends_with(end)));
    if let Some(rows) = words.and_then(|words| words.shape.first()) {
        metadata.put(own("vocab_size"), Value::U32(*rows as u32));
    }
    if architecture.name != "gpt2" {
        let head_dim = head_dim(config).and_then(|width| u32::try_from(width).ok());
        let head_dim = Value::U32(head_dim.ok_or("config.json does not say how wide a head is")?);
        metadata.put(own("rope.dimension_count"), head_dim.clone());
        metadata.put(own("attention.key_length"), head_dim.clone());
        metadata.put(own("attention.value_length"), head_dim);
        match scaling_type(settings) {
            // Llama 3's is stated by a tensor.
            "default" | "llama3" => {}
            "linear" => {
                let factor = settings.and_then(|settings| settings["factor"].as_f64());
                let factor = factor.ok_or("config.json scales rotary positions by no factor")?;
                metadata.put(own("rope.scaling.type"), Value::Text("linear".into()));
                metadata.put(own("rope.scaling.factor"), Value::F32(factor as f32));
            }
            other => return Err(format!("rotary positions scaled by \"{other}\" have no form here")),
        }
    }
    Ok(metadata)
}
