//! Two models that became one: a family's encoder reads, and a second network, of the same family or another, writes while it
//! looks at what the first made. Any family can read; those whose class list says so can write.
//!
//! transformers calls the folder `encoder-decoder`: its settings hold those of both sides, its tensors have the names of each
//! family behind `encoder.` and `decoder.`. A folder of one model becomes such a pair when a head asks for a side that writes:
//! both sides then start from the same weights, and only attention to the source is new.
//!
//! Paper: Rothe, Narayan, Severyn 2020, "Leveraging Pre-trained Checkpoints for Sequence Generation Tasks", section 3,
//! <https://arxiv.org/abs/1907.12461>. Reference code:
//! <https://github.com/huggingface/transformers/blob/main/src/transformers/models/encoder_decoder/modeling_encoder_decoder.py>.
//! Sides of different widths, which no published pair has, are refused.

use std::borrow::Cow;

use serde_json::{Value, json};
use topwork_nn::ParamStore;
use topwork_text::Tokenizer;
use topwork_weights::{Names, Side};

use crate::config::Config;
use crate::encoder_decoder::layer::Above;
use crate::error::Error;
use crate::family::{Encoder, FAMILIES, Family, family};
use crate::head::{self, Head, HeadSpec};
use crate::heads::seq2seq::Seq2Seq;
use crate::saved::class_name;
use crate::source::Source;
use crate::target::{Start, TargetStyle};

/// `model_type` of a pair.
pub const MODEL_TYPE: &str = "encoder-decoder";

/// The class that holds a pair; a family can write if it is the class of its `seq2seq` head.
pub const CLASS: &str = "EncoderDecoderModel";

/// What the paths of the side that writes begin with.
pub const BELOW: &str = "target.";

/// The settings of the side that reads; `None` for a model that is no pair.
///
/// # Errors
/// [`Error::Config`] for a pair that does not have them.
pub fn reads(config: &Value) -> Result<Option<&Value>, Error> {
    if config.get("model_type").and_then(Value::as_str) != Some(MODEL_TYPE) {
        return Ok(None);
    }
    Ok(Some(Config(config).below("encoder")?.0))
}

/// Whether a family can be the side that writes.
pub fn can_write(family: &Family) -> bool {
    family.architecture("seq2seq") == Some(CLASS)
}

/// The settings of a model with this head: those of a pair where it writes and the family alone does not, those of the side
/// that reads where a pair is not to write. The ids that targets begin and end with come from the tokenizer that lies there, or
/// from the settings.
///
/// # Errors
/// [`Error::Config`] if nothing says what a target begins with.
pub fn fitted<'a>(
    config: &'a Value,
    spec: &HeadSpec,
    source: Option<&Source>,
) -> Result<Cow<'a, Value>, Error> {
    let writes = *spec == HeadSpec::Seq2Seq;
    Ok(match reads(config)? {
        Some(reads) if !writes => Cow::Borrowed(reads),
        None if writes && can_write(family(config)?) => Cow::Owned(pair(config, source)?),
        _ => Cow::Borrowed(config),
    })
}

/// The token that targets of a model are read from, where it is always the same one; of a model that would become a pair too.
///
/// # Errors
/// As [`fitted`].
pub fn start(source: &Source) -> Result<Option<u32>, Error> {
    let config = fitted(source.config(), &HeadSpec::Seq2Seq, Some(source))?;
    Ok(Config(&config).ids("decoder_start_token_id", &[])?.first().copied())
}

/// A pair of which both sides are what the settings say.
fn pair(config: &Value, source: Option<&Source>) -> Result<Value, Error> {
    let tokenizer = source.filter(|source| !source.is_carried()).map(Source::folder);
    let special = tokenizer.and_then(|folder| Tokenizer::from_folder(folder).ok());
    let special = special.map(|tokenizer| tokenizer.special_tokens());
    let stated =
        |key: &str| -> Result<Option<u32>, Error> { Ok(Config(config).ids(key, &[])?.first().copied()) };
    let one_of = |key: &'static str, what: &str, found: Option<u32>| {
        found.ok_or_else(|| Error::Config {
            key: key.to_string(),
            expected: format!("{what}, which neither the tokenizer nor config.json says"),
            got: "nothing".to_string(),
        })
    };
    let start = special.and_then(|ids| ids.cls.or(ids.bos)).or(stated("bos_token_id")?);
    let end = special.and_then(|ids| ids.sep.or(ids.eos)).or(stated("eos_token_id")?);
    let pad = special.and_then(|ids| ids.pad).or(stated("pad_token_id")?).unwrap_or(0);
    let mut writes = alone(config);
    if let Some(keys) = writes.as_object_mut() {
        keys.insert("is_decoder".to_string(), json!(true));
        keys.insert("add_cross_attention".to_string(), json!(true));
    }
    Ok(json!({
        "model_type": MODEL_TYPE,
        "is_encoder_decoder": true,
        "encoder": alone(config),
        "decoder": writes,
        "decoder_start_token_id": one_of("decoder_start_token_id", "the token before a target", start)?,
        "eos_token_id": one_of("eos_token_id", "the token at the end of a target", end)?,
        "pad_token_id": pad,
        "vocab_size": config.get("vocab_size"),
    }))
}

/// Settings without what makes them those of a side that writes.
fn alone(config: &Value) -> Value {
    let mut config = config.clone();
    if let Some(keys) = config.as_object_mut() {
        for key in ["is_decoder", "add_cross_attention", "architectures"] {
            keys.remove(key);
        }
    }
    config
}

/// How the tensors of a model are named, with a head or for reading it into one.
///
/// # Errors
/// [`Error::UnknownFamily`], [`Error::Config`].
pub fn names(config: &Value, spec: &HeadSpec) -> Result<Names, Error> {
    let table = &family(config)?.weights;
    if reads(config)?.is_none() {
        return Ok(Names::of(table, table.base(class_name(spec))));
    }
    let writes = *spec == HeadSpec::Seq2Seq;
    let other = &family(Config(config).below("decoder")?.0)?.weights;
    let base = other.base("seq2seq");
    let reader =
        Side { table, base: "", before: "encoder.", below: "", head: false, shared: false, unused: None };
    let unused = (!writes).then_some("the side that writes, not used by this task");
    let shared = writes && is_shared(config)?;
    let writer = Side { table: other, base, before: "decoder.", below: BELOW, head: true, shared, unused };
    Ok(Names::beside([reader, writer]))
}

/// Whether both sides have the same weights, but for the attention that only one has.
fn is_shared(config: &Value) -> Result<bool, Error> {
    Config(config).flag_or("tie_encoder_decoder", false)
}

/// Declares the head of a model, of a pair with the side that writes; `config` is as [`fitted`] gives it.
///
/// # Errors
/// As [`head::build`]; [`Error::NoWriter`], [`Error::Config`] for a side that cannot be what the settings say.
pub fn head(
    config: &Value,
    spec: &HeadSpec,
    encoder: &dyn Encoder,
    store: &mut ParamStore,
) -> Result<Box<dyn Head>, Error> {
    if reads(config)?.is_none() {
        return head::build(spec, encoder, store);
    }
    let own = Config(config).below("decoder")?;
    for key in ["is_decoder", "add_cross_attention"] {
        if !own.flag_or(key, false)? {
            return Err(own.wrong_value(key, "true, in the settings of the side that writes"));
        }
    }
    let family = family(own.0)?;
    let no_writer = || Error::NoWriter {
        family: family.name,
        known: FAMILIES.iter().filter(|f| can_write(f)).map(|f| f.name).collect::<Vec<_>>().join(", "),
    };
    if !can_write(family) {
        return Err(no_writer());
    }
    let mut aside = ParamStore::new(store.device());
    let model = (family.build)(&alone(own.0), &mut aside)?;
    let hidden = encoder.size().hidden;
    for (key, width) in [
        ("hidden_size", model.size().hidden),
        ("cross_attention_hidden_size", own.size_or("cross_attention_hidden_size", hidden)?),
    ] {
        if width != hidden {
            let expected = format!("{hidden} for the side that writes, the width of the one that reads");
            return Err(Error::Config { key: key.to_string(), expected, got: width.to_string() });
        }
    }
    let shared = is_shared(config)?;
    if shared {
        same_sizes(store, &aside)?;
    }
    let whole = Config(config);
    let id = |key: &str| -> Result<Option<u32>, Error> {
        let found = whole.ids(key, &[])?.first().copied();
        Ok(found.or(own.ids(key, &[])?.first().copied()))
    };
    let start = match id("decoder_start_token_id")? {
        Some(id) => Some(id),
        None => id("bos_token_id")?,
    };
    let style = TargetStyle {
        start: Start::Id(start.ok_or_else(|| whole.wrong_value("decoder_start_token_id", "a token id"))?),
        pad: id("pad_token_id")?.unwrap_or(0),
        end: whole.ids("eos_token_id", &own.ids("eos_token_id", &[])?)?,
        scale: 1.0,
        words: model.language_model(),
        fixed: false,
    };
    let group = encoder.parts() + 1;
    let above = Above { base: BELOW, first: encoder.size().layers, group };
    let declare = |store: &mut ParamStore| model.declare_writer(store, above, style);
    let side = if shared { store.sharing(BELOW, declare)? } else { declare(store)? };
    Ok(Box::new(Seq2Seq::declare(side.ok_or_else(no_writer)?, group, store)))
}

/// Refuses sides that cannot have the same weights.
fn same_sizes(one: &ParamStore, other: &ParamStore) -> Result<(), Error> {
    let shape = |store: &ParamStore, path: &str| store.id(path).ok().map(|id| store.param(id).shape.clone());
    let paths = one.iter().chain(other.iter()).map(|(_, param)| param.path.as_str());
    for path in paths {
        let (left, right) = (shape(one, path), shape(other, path));
        if left != right {
            let shown = |shape: Option<Vec<usize>>| shape.map_or("nothing".to_string(), |s| format!("{s:?}"));
            return Err(Error::Config {
                key: "tie_encoder_decoder".to_string(),
                expected: "false, for two sides that are not of the same make".to_string(),
                got: format!("true, and {path} is {} in one and {} in the other", shown(left), shown(right)),
            });
        }
    }
    Ok(())
}
