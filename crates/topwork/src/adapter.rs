//! Training with an adapter: attached to the opened model, saved beside the merged model in the files of peft.

use serde_json::{Value, json};
use topwork_adapt::{ADAPTERS, Attached, peft};
use topwork_models::Model;
use topwork_train::TrainOptions;

use crate::error::Error;
use crate::recipe::Recipe;

/// Folder within a saved model that holds the adapter alone.
pub const FOLDER: &str = "adapter";

/// An adapter that learns.
pub(crate) struct Adapter {
    attached: Attached,
    /// What the adapted model is called.
    base: String,
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

/// Attaches the adapter that a recipe asks for, so that of the encoder it alone learns. With what to tell of it.
///
/// # Errors
/// As [`check`]; options that do not fit the model.
pub(crate) fn attach(
    recipe: &Recipe,
    model: &mut Model,
    seed: u64,
    options: &mut TrainOptions,
) -> Result<Option<(Adapter, String)>, Error> {
    let Some((kind, given)) = asked(recipe)? else { return Ok(None) };
    let before = model.store.values_total();
    let seed = topwork_kernels::rng::derive(seed, "adapter");
    let attached = topwork_adapt::attach(&kind, &given, &mut model.store, seed)?;
    let patterns = attached.patterns(&model.store);
    options.techniques.insert("only".to_string(), json!({ "patterns": patterns }));
    let values = attached.values(&model.store);
    let said = format!(
        "adapter {kind}: {values} values on {} weights, {:.2} % of the model's",
        attached.parts.len(),
        100.0 * values as f64 / before as f64
    );
    Ok(Some((Adapter { attached, base: recipe.model.clone() }, said)))
}

impl Adapter {
    /// The adapter's own files, in their folder; none where peft could not attach it to the model for transformers.
    ///
    /// # Errors
    /// A parameter without values.
    pub fn files(&self, model: &Model) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let upstream = |path: &str| model.upstream_name(path);
        let files = peft::files(&self.attached, &model.store, &self.base, &upstream, model.export_head()?);
        match files {
            Ok(files) => {
                Ok(files.into_iter().map(|(name, content)| (format!("{FOLDER}/{name}"), content)).collect())
            }
            Err(topwork_adapt::Error::NotUpstream { .. }) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }
}
