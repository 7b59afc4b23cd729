//! What a saved model folder says of itself beside weights and tokenizer: the keys of `topwork.json`.

use std::path::Path;

use serde_json::{Map, Value, json};
use topwork_models::Source;
use topwork_models::model::HEAD_FILE;
use topwork_models::source::{ADAPTER, read_json};
use topwork_train::metrics::CostMatrix;

use crate::error::Error;

/// Settings that belong to a model in use.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SavedNotes {
    /// Longest text in tokens.
    pub max_length: Option<usize>,
    /// The class that counts as positive.
    pub positive: Option<usize>,
    /// The probability above which the positive class is answered, tuned on the development data.
    pub threshold: Option<f64>,
    /// What wrong answers cost, if they are not all as bad: the answer of least expected cost is given.
    pub costs: Option<CostMatrix>,
}

/// The key of costs: a row for each right label, in it the cost of each answer.
pub const COSTS: &str = "costs";

impl SavedNotes {
    /// Reads the notes of a model; one without them (saved by transformers) has none.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let source = Source::find(path)?;
        let Some(notes) = source.notes()? else { return Ok(SavedNotes::default()) };
        let number = |key: &str| notes.get(key).and_then(Value::as_u64).map(|n| n as usize);
        Ok(SavedNotes {
            max_length: number("max-length"),
            positive: number("positive"),
            threshold: notes.get("threshold").and_then(Value::as_f64),
            costs: notes.get(COSTS).map(|rows| costs(rows, path)).transpose()?,
        })
    }

    /// Refuses costs that are not those of the model's labels.
    ///
    /// # Errors
    /// [`Error::Task`].
    pub fn check(&self, labels: usize, path: &Path) -> Result<(), Error> {
        match &self.costs {
            Some(costs) if costs.labels() != labels => Err(Error::Task(format!(
                "{}: {HEAD_FILE}: {COSTS} are of {} labels, the model has {labels}; write them again or take them out",
                path.display(),
                costs.labels()
            ))),
            _ => Ok(()),
        }
    }

    /// The keys as they are written.
    pub fn to_map(&self) -> Map<String, Value> {
        let mut map = Map::new();
        if let Some(length) = self.max_length {
            map.insert("max-length".to_string(), json!(length));
        }
        if let Some(positive) = self.positive {
            map.insert("positive".to_string(), json!(positive));
        }
        if let Some(threshold) = self.threshold {
            map.insert("threshold".to_string(), json!(threshold));
        }
        if let Some(costs) = &self.costs {
            map.insert(COSTS.to_string(), costs.rows().into());
        }
        map
    }

    /// The threshold as metrics take it.
    pub fn thresholds(&self) -> Option<Vec<f64>> {
        self.threshold.map(|t| vec![t])
    }

    /// Adds a note to a saved folder, by its key.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn add(folder: &Path, key: &str, value: Value) -> Result<(), Error> {
        let source = Source::find(folder)?;
        // Of an adapter its own folder says the same, for where it is used on another copy of the model.
        let places = [source.folder().to_path_buf(), folder.join(ADAPTER)];
        for place in places.iter().filter(|place| place.join(HEAD_FILE).is_file()) {
            let mut notes = read_json(place, HEAD_FILE)?;
            if let Some(map) = notes.as_object_mut() {
                map.insert(key.to_string(), value.clone());
            }
            let text = serde_json::to_vec_pretty(&notes).unwrap_or_default();
            topwork_weights::atomic::write(place.join(HEAD_FILE), &text)?;
        }
        Ok(())
    }
}

/// Costs as they are written.
fn costs(rows: &Value, path: &Path) -> Result<CostMatrix, Error> {
    let wrong = |reason: &str| {
        Error::Task(format!(
            "{}: {HEAD_FILE}: {COSTS}: {reason}; write it again or take it out",
            path.display()
        ))
    };
    let rows: Vec<Vec<f64>> = serde_json::from_value(rows.clone())
        .map_err(|_| wrong("expected a list of numbers for each label"))?;
    CostMatrix::new(rows.len(), &rows.concat()).map_err(|error| wrong(&error.to_string()))
}
