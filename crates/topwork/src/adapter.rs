//! Training with an adapter: attached to the opened model, saved beside the merged model in the files of peft, or, where no
//! weights can take it up, apart from the model in those of AdapterHub (docs/decisions/0006-folders-of-two-halves.md).

use std::path::Path;

use serde_json::{Value, json};
use topwork_adapt::{ADAPTERS, Attached, Settings, VALUE, adapter_hub, peft};
use topwork_models::adapted::adapter_in;
use topwork_models::model::HEAD_FILE;
use topwork_models::source::{ADAPTER, ADAPTER_CONFIG, BASE, read_json};
use topwork_models::{Model, SaveOptions, Source};
use topwork_nn::ParamStore;
use topwork_train::TrainOptions;

use crate::error::Error;
use crate::recipe::Recipe;

/// The kind whose model lies in four bits.
const QLORA: &str = "qlora";

/// What is noted beside an adapter of how the weights under it lay when it learnt, and of four bits.
const WEIGHTS: &str = "weights";
const NF4: &str = "nf4";

/// Whether an adapter in a folder learnt on weights in four bits, so that it is whole on such only.
pub(crate) fn on_four_bits(folder: &Path) -> bool {
    read_json(folder, HEAD_FILE).is_ok_and(|notes| notes[WEIGHTS] == json!(NF4))
}

/// Folder within a saved model that holds the adapter alone.
pub const FOLDER: &str = ADAPTER;

/// An adapter that learns, or is saved with the model that it came with.
pub(crate) struct Adapter {
    attached: Attached,
    /// What the adapted model is called.
    base: String,
    about: String,
}

/// Name and options of the adapter that a recipe asks for; `None` if it asks for none.
fn asked(recipe: &Recipe) -> Result<Option<(String, Value)>, Error> {
    let mut table = recipe.adapter.clone();
    if table.is_empty() {
        return Ok(None);
    }
    let fail = |reason: String| Error::Recipe { place: "[adapter]".to_string(), reason };
    let Some(kind) = table.remove("kind").as_ref().and_then(toml::Value::as_str).map(str::to_string) else {
        let known: Vec<&str> = ADAPTERS.iter().map(|entry| entry.name).collect();
        return Err(fail(format!("kind: expected one of {}", known.join(", "))));
    };
    let options = serde_json::to_value(table).map_err(|error| fail(error.to_string()))?;
    Ok(Some((kind, options)))
}

/// How many virtual tokens stand in front of each text, which are not left for the texts: of the adapter that a recipe asks for,
/// or of the one that its model has.
///
/// # Errors
/// As [`check`].
pub(crate) fn virtual_tokens(recipe: &Recipe, model: &Path) -> Result<usize, Error> {
    Ok(match asked(recipe)? {
        Some((kind, options)) => topwork_adapt::virtual_tokens(&kind, &options)?,
        None => topwork_models::adapted::virtual_tokens(&Source::find(model)?)?,
    })
}

/// Checks what a recipe says of an adapter before there is a model.
///
/// # Errors
/// A kind or an option that there is not; another technique that says which parameters learn.
pub(crate) fn check(recipe: &Recipe, options: &TrainOptions) -> Result<(), Error> {
    let Some((kind, given)) = asked(recipe)? else { return Ok(()) };
    topwork_adapt::find(&kind, &given)?;
    if let Some(other) = ["only", "bitfit"].iter().find(|name| options.techniques.contains_key(**name)) {
        let reason =
            format!("the technique {other} leaves nothing of it that learns: leave one of the two out");
        return Err(Error::Recipe { place: "[adapter]".to_string(), reason });
    }
    Ok(())
}

/// Attaches the adapter that a recipe asks for, so that of the encoder it alone learns; or goes on with the one that the model was
/// opened with, which then learns with the model.
///
/// # Errors
/// As [`check`]; options that do not fit the model; an adapter on a model that has one.
pub(crate) fn attach(
    recipe: &Recipe,
    (model, opened): (&mut Model, Option<Attached>),
    seed: u64,
    options: &mut TrainOptions,
) -> Result<Option<Adapter>, Error> {
    let base = recipe.model.clone();
    let of = |attached: &Attached, store: &_| {
        let place = match attached.settings {
            Settings::None | Settings::LowRank(_) => "on {} weights",
            Settings::Bottleneck(_) | Settings::Compacter(_) | Settings::Fusion(_) => {
                "at the ends of {} blocks"
            }
            Settings::Prompt(_) | Settings::Prefix(_) => "in front of each text",
        };
        let place = place.replace("{}", &attached.parts.len().to_string());
        let mixed: Vec<&str> = attached.members.iter().map(|(name, _)| name.as_str()).collect();
        let mixed = if mixed.is_empty() { String::new() } else { format!(" of {}", mixed.join(" and ")) };
        format!("adapter {}{mixed}: {} values {place}", attached.kind, attached.values(store))
    };
    let Some((kind, given)) = asked(recipe)? else {
        let adapter = opened.map(|attached| {
            let about = format!("{}, which {base} came with", of(&attached, &model.store));
            Adapter { attached, base, about }
        });
        return Ok(adapter);
    };
    if let Some(opened) = opened {
        let reason = format!(
            "{base} has a {} adapter, and only one can be attached; its model without it is in {base}/{BASE}",
            opened.kind
        );
        return Err(Error::Recipe { place: "[adapter]".to_string(), reason });
    }
    let before = model.store.values_total();
    let seed = topwork_kernels::rng::derive(seed, "adapter");
    let (given, upstream) = (with_folders(given)?, model.upstream_tensors());
    let attached = topwork_adapt::attach_to(&kind, &given, &mut model.store, seed, &upstream)?;
    if let Some(patterns) = held(&attached, &model.store) {
        let held = json!({ "alpha": HELD, "beta": 0.0, "of": patterns });
        options.techniques.entry("l2-sp".to_string()).or_insert(held);
    }
    // Else the graph of a step would hold all weights as they are used, in 32 bits.
    options.recompute |= kind == QLORA;
    let patterns = attached.patterns(&model.store);
    options.techniques.insert("only".to_string(), json!({ "patterns": patterns }));
    let share = 100.0 * attached.values(&model.store) as f64 / before as f64;
    let mut about = format!("{}, {share:.2} % of the model's", of(&attached, &model.store));
    if kind == QLORA {
        let ids = model.store.iter().map(|(id, _)| id);
        let megabytes = ids.map(|id| model.store.bytes(id)).sum::<usize>() as f64 / 1e6;
        about.push_str(&format!("; its layers lie in four bits, and all of it takes {megabytes:.0} MB"));
    }
    Ok(Some(Adapter { attached, base, about }))
}

/// How strongly the maps of values of a fusion are held at where they start, which is nothing.
///
/// Paper: Pfeiffer et al. 2021, "AdapterFusion", section 3.2, <https://arxiv.org/abs/2005.00247>; as strongly as the package
/// `adapters` does, 0.01 for each squared distance.
const HELD: f64 = 0.02;

/// Patterns of the parameters that are held at where they start.
fn held(attached: &Attached, store: &ParamStore) -> Option<Vec<String>> {
    let values = attached.parts.iter().flat_map(|part| &part.params).filter(|(name, _)| *name == VALUE);
    let found: Vec<String> = values.map(|&(_, id)| store.param(id).path.clone()).collect();
    (!found.is_empty()).then_some(found)
}

/// The options with the folders of adapters in place of runs and models that have one in them.
fn with_folders(mut options: Value) -> Result<Value, Error> {
    let Some(names) = topwork_adapt::names("fusion", &options, "adapters")? else { return Ok(options) };
    let folder = |name: &String| {
        adapter_in(Path::new(name)).map(|folder| json!(folder.to_string_lossy())).ok_or_else(|| Error::Recipe {
            place: "[adapter]".to_string(),
            reason: format!("adapters: {name}: there is no adapter in it (a folder with {ADAPTER_CONFIG}, or of a run that has one)"),
        })
    };
    options["adapters"] = names.iter().map(folder).collect::<Result<Vec<Value>, Error>>()?.into();
    Ok(options)
}

/// What hubs call the library that opens such a folder.
pub(crate) const LIBRARY: &str = "adapter-transformers";

/// How a saved folder of two halves opens in Python.
pub(crate) fn in_python(folder: &str) -> String {
    let class = Source::find(folder)
        .ok()
        .and_then(|source| Some(source.config()["architectures"].get(0)?.as_str()?.to_string()))
        .unwrap_or_else(|| "AutoModel".to_string());
    if Path::new(folder).join(ADAPTER).join(peft::WEIGHTS_FILE).is_file() {
        return format!(
            "# HuggingFace transformers opens that half only which stands in {BASE}; without the adapter it answers otherwise.\n\
             # peft attaches it.\n\
             from peft import PeftModel\n\
             from transformers import AutoTokenizer, {class}\n\n\
             folder = {folder:?}\n\
             tokenizer = AutoTokenizer.from_pretrained(f\"{{folder}}/{BASE}\")\n\
             model = {class}.from_pretrained(f\"{{folder}}/{BASE}\")\n\
             model = PeftModel.from_pretrained(model, f\"{{folder}}/{ADAPTER}\").eval()\n"
        );
    }
    format!(
        "# HuggingFace transformers opens that half only which stands in {BASE}; without the adapter it answers otherwise.\n\
         # AdapterHub's package adapters attaches it, where it knows the architecture.\n\
         import adapters\n\
         from transformers import AutoTokenizer, {class}\n\n\
         folder = {folder:?}\n\
         tokenizer = AutoTokenizer.from_pretrained(f\"{{folder}}/{BASE}\")\n\
         model = {class}.from_pretrained(f\"{{folder}}/{BASE}\")\n\
         {}\
         model.eval()\n",
        adapter_hub::in_python(&Path::new(folder).join(ADAPTER)).unwrap_or_default()
    )
}

impl Adapter {
    /// One that is attached to a model of that name.
    pub fn of(attached: Attached, base: String) -> Self {
        Adapter { attached, base, about: String::new() }
    }

    /// Heads as peft divides what stands in front: of a prefix those of keys.
    fn heads(&self, size: &topwork_models::Size) -> usize {
        match self.attached.settings {
            Settings::Prefix(prefix) => size.heads * prefix.width / size.hidden.max(1),
            _ => size.heads,
        }
    }

    /// What there is to tell of it.
    pub fn about(&self) -> &str {
        &self.about
    }

    /// Adds the adapter's files to those that are saved: in a folder beside the merged model, none where peft could not attach it
    /// to the model for transformers; or apart from the model.
    ///
    /// # Errors
    /// A parameter without values.
    pub fn put_into(&self, save: &mut SaveOptions, model: &Model) -> Result<(), Error> {
        // With the head in it, an adapter is all there is to know beside the model that others use too.
        if matches!(self.attached.settings, Settings::Prompt(_) | Settings::Prefix(_)) {
            let (size, head) = (model.size(), model.export_head()?);
            let about = peft::About {
                base: &self.base,
                head: model.spec().name(),
                layers: size.layers,
                heads: self.heads(size),
            };
            save.adapter = model.adapter_head_files(&save.notes, &head)?;
            save.adapter.extend(peft::prompt_files(&self.attached, &model.store, &about, head)?);
            return Ok(());
        }
        if !self.attached.merges() {
            let (config, upstream) = (model.saved_config(), model.upstream_tensors());
            save.adapter =
                adapter_hub::files(&self.attached, &model.store, (&config, &self.base), &upstream)?;
            save.adapter.extend(model.adapter_head_files(&save.notes, &[])?);
            return Ok(());
        }
        let (upstream, head) = (model.upstream_matrix(), model.export_head()?);
        let mut notes = save.notes.clone();
        if self.attached.kind == QLORA {
            notes.insert(WEIGHTS.to_string(), json!(NF4));
        }
        let own = model.adapter_head_files(&notes, &head)?;
        let files = peft::files(&self.attached, &model.store, &self.base, &upstream, head);
        match files {
            Ok(mut files) => {
                files.extend(own);
                let inner = |(name, content): (String, Vec<u8>)| (format!("{FOLDER}/{name}"), content);
                save.files.extend(files.into_iter().map(inner));
                Ok(())
            }
            Err(topwork_adapt::Error::NotUpstream { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
