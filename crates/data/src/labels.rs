//! Names of classes and their numbers.

use std::cmp::Ordering;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::nearest;
use crate::{Dataset, Error, Label, Related, Result};

/// Class names in a fixed order: numbers by value, then words by code point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct LabelMap {
    names: Vec<String>,
    index: HashMap<String, u32>,
}

impl TryFrom<Vec<String>> for LabelMap {
    type Error = Error;

    fn try_from(names: Vec<String>) -> Result<Self> {
        Self::in_order(names)
    }
}

impl From<LabelMap> for Vec<String> {
    fn from(map: LabelMap) -> Self {
        map.names
    }
}

impl LabelMap {
    /// Sorts the names and drops doubles.
    ///
    /// # Errors
    /// [`Error::LabelMap`] if there is no name, or an empty one.
    pub fn new(names: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut names: Vec<String> = names.into_iter().collect();
        names.sort_by(|a, b| by_name(a, b));
        names.dedup();
        Self::in_order(names)
    }

    /// Takes the names in the order given, as a model's config has them.
    ///
    /// # Errors
    /// [`Error::LabelMap`] if there is no name, an empty one, or one twice.
    pub fn in_order(names: Vec<String>) -> Result<Self> {
        let wrong = |expected: &str, got: String| Error::LabelMap { expected: expected.into(), got };
        if names.is_empty() {
            return Err(wrong("at least one label", "none".into()));
        }
        let mut index = HashMap::with_capacity(names.len());
        for (at, name) in names.iter().enumerate() {
            if name.trim().is_empty() {
                return Err(wrong("names with something in them", format!("{name:?} as label {at}")));
            }
            if let Some(first) = index.insert(name.clone(), at as u32) {
                return Err(wrong("different names", format!("{name:?} as labels {first} and {at}")));
            }
        }
        Ok(Self { names, index })
    }

    /// The classes of a data set.
    ///
    /// # Errors
    /// [`Error::OneClass`] if there are fewer than two (multi-label: none at all).
    pub fn from_dataset(dataset: &Dataset) -> Result<Self> {
        let counts = dataset.label_counts();
        let columns = &dataset.report.label;
        let multi = dataset.examples.iter().any(|example| matches!(example.label, Some(Label::Many(_))));
        // Several 0/1 columns name the classes, even one that is nowhere 1.
        let declared = (multi && columns.len() > 1).then(|| columns.iter().map(|column| column.name.clone()));
        if counts.is_empty() || (counts.len() < 2 && !multi) {
            return Err(Error::OneClass {
                path: dataset.report.path.clone(),
                column: columns.first().map_or_else(|| "none".to_string(), |column| column.name.clone()),
                only: counts.first().map(|(name, _)| name.clone()),
                rows: dataset.len(),
            });
        }
        match declared {
            Some(names) => Self::new(names),
            None => Self::new(counts.into_iter().map(|(name, _)| name)),
        }
    }

    /// Reads `id2label` of a model's `config.json`: `{"0": "ham", "1": "spam"}`.
    ///
    /// # Errors
    /// [`Error::LabelMap`] if it is not an object whose keys are 0, 1, ... without a gap.
    pub fn from_id2label(id2label: &Value) -> Result<Self> {
        let wrong = |got: String| Error::LabelMap {
            expected: "id2label as an object from 0, 1, 2, ... to names".into(),
            got,
        };
        let table = id2label.as_object().ok_or_else(|| wrong(id2label.to_string()))?;
        let mut names = vec![None; table.len()];
        for (key, value) in table {
            let name = value.as_str().ok_or_else(|| wrong(format!("{key}: {value}")))?;
            let slot = key.parse::<usize>().ok().and_then(|id| names.get_mut(id));
            *slot.ok_or_else(|| wrong(format!("key {key:?} among {} names", table.len())))? =
                Some(name.to_string());
        }
        let names: Option<Vec<String>> = names.into_iter().collect();
        Self::in_order(names.ok_or_else(|| wrong("a key that stands twice".into()))?)
    }

    /// `id2label` for a `config.json`.
    pub fn id2label(&self) -> Value {
        let entries = self.names.iter().enumerate();
        Value::Object(
            entries.map(|(id, name)| (id.to_string(), Value::from(name.as_str()))).collect::<Map<_, _>>(),
        )
    }

    /// `label2id` for a `config.json`.
    pub fn label2id(&self) -> Value {
        let entries = self.names.iter().enumerate();
        Value::Object(entries.map(|(id, name)| (name.clone(), Value::from(id))).collect::<Map<_, _>>())
    }

    /// Number of classes.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Never true: a map has at least one class.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The names in order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The name of class `id`.
    pub fn name(&self, id: usize) -> &str {
        &self.names[id]
    }

    /// The number of the class called `name`.
    pub fn index(&self, name: &str) -> Option<u32> {
        self.index.get(name).copied()
    }
}

/// Numbers by value, before words; words by code point.
pub(crate) fn by_name(a: &str, b: &str) -> Ordering {
    let number = |name: &str| name.parse::<f64>().ok().filter(|value| value.is_finite());
    match (number(a), number(b)) {
        (Some(x), Some(y)) => x.total_cmp(&y).then_with(|| a.cmp(b)),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

/// A list of numbers for each example, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ragged {
    /// The numbers of all examples.
    pub values: Vec<u32>,
    /// Where each example's numbers begin, and where the last one's end: `[examples + 1]`.
    pub offsets: Vec<u32>,
}

impl Default for Ragged {
    fn default() -> Self {
        Self::new()
    }
}

impl Ragged {
    /// No examples.
    pub fn new() -> Self {
        Self { values: Vec::new(), offsets: vec![0] }
    }

    /// Adds an example.
    pub fn push(&mut self, values: impl IntoIterator<Item = u32>) {
        self.values.extend(values);
        self.offsets.push(self.values.len() as u32);
    }

    /// Examples.
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The numbers of one example.
    pub fn of(&self, example: usize) -> &[u32] {
        &self.values[self.offsets[example] as usize..self.offsets[example + 1] as usize]
    }

    /// Some of the examples.
    pub fn select(&self, examples: &[usize]) -> Self {
        let mut chosen = Self::new();
        examples.iter().for_each(|&example| chosen.push(self.of(example).iter().copied()));
        chosen
    }
}

/// The labels of a set or a batch, as a loss wants them.
///
/// # Shapes
/// `Class`, `Score`: `[batch]`; `Multi`: `[batch, labels]`, row-major, 0 or 1
#[derive(Clone, Debug, PartialEq)]
pub enum Labels {
    /// There are none; the number of texts.
    None(usize),
    /// Class numbers.
    Class(Vec<u32>),
    /// One 0 or 1 for each class.
    Multi {
        /// The zeros and ones.
        values: Vec<f32>,
        /// Number of classes.
        labels: usize,
    },
    /// Numbers.
    Score(Vec<f32>),
    /// For each token the number of a label or a token id, `u32::MAX` where none is asked for.
    Tokens(Ragged),
    /// The token ids of a text for each text, `u32::MAX` where none is asked for.
    Texts(Ragged),
    /// What each marked word of each text depends on.
    Trees {
        /// The words' heads, counted from 1 among the marked words of the text, 0 for the root; `u32::MAX` where none is asked for.
        heads: Ragged,
        /// The numbers of their relations, `u32::MAX` where none is asked for.
        relations: Ragged,
    },
    /// The first and the last token of the answer in each text.
    Spans {
        /// First tokens, counted from the text's first.
        starts: Vec<u32>,
        /// Last tokens.
        ends: Vec<u32>,
    },
}

impl Labels {
    /// Labels of every example of `dataset`, classes numbered by `map`. A score needs no map.
    ///
    /// # Errors
    /// [`Error::UnseenLabel`] if a class is not in the map; [`Error::LabelMap`] if classes come without a map, or
    /// some examples have labels and others none.
    pub fn new(dataset: &Dataset, map: Option<&LabelMap>) -> Result<Self> {
        let wrong = |expected: &str, got: String| Error::LabelMap { expected: expected.into(), got };
        let examples = &dataset.examples;
        let labels: Vec<&Label> = examples.iter().filter_map(|example| example.label.as_ref()).collect();
        if labels.is_empty() {
            return Ok(Self::None(examples.len()));
        }
        if labels.len() != examples.len() {
            return Err(wrong("a label for each text", format!("{} for {}", labels.len(), examples.len())));
        }
        if labels.iter().all(|label| matches!(label, Label::Score(_))) {
            let value = |label: &&Label| if let Label::Score(value) = label { Some(*value) } else { None };
            return Ok(Self::Score(labels.iter().filter_map(value).collect()));
        }
        let other = labels.iter().find_map(|label| match label {
            Label::One(_) | Label::Many(_) | Label::Score(_) => None,
            Label::Related(related) if related.name.is_some() => None,
            Label::Related(_) => Some("spans without a relation"),
            Label::Words(_) => Some("a tag for each word"),
            Label::Answers(_) => Some("answers in a passage"),
            Label::Text(_) => Some("texts to be written"),
            Label::Choice { .. } => Some("a choice among texts"),
            Label::Tree(_) => Some("trees of words"),
            Label::Exchange(_) => Some("replies in conversations"),
        });
        if let Some(other) = other {
            return Err(wrong(
                "a class, several or a score for each text",
                format!("{other}, which the head of that task encodes"),
            ));
        }
        let map = map.ok_or_else(|| wrong("a label map for classes", "none".into()))?;
        let mut unseen: Option<(String, Vec<usize>)> = None;
        let mut id = |name: &String, row: usize| match map.index(name) {
            Some(id) => id,
            None => {
                let (label, rows) = unseen.get_or_insert_with(|| (name.clone(), Vec::new()));
                if label == name {
                    rows.push(row);
                }
                0
            }
        };
        let one = |label: &&Label| matches!(label, Label::One(_) | Label::Related(_));
        let found = if labels.iter().all(one) {
            let mut ids = Vec::with_capacity(labels.len());
            for (label, example) in labels.iter().zip(examples) {
                if let Label::One(name) | Label::Related(Related { name: Some(name), .. }) = label {
                    ids.push(id(name, example.row));
                }
            }
            Self::Class(ids)
        } else if labels.iter().all(|label| matches!(label, Label::Many(_))) {
            let mut values = vec![0.0; labels.len() * map.len()];
            for ((label, example), row) in labels.iter().zip(examples).zip(values.chunks_exact_mut(map.len()))
            {
                if let Label::Many(names) = label {
                    for name in names {
                        row[id(name, example.row) as usize] = 1.0;
                    }
                }
            }
            Self::Multi { values, labels: map.len() }
        } else {
            return Err(wrong("labels of one kind", "a mixture of classes, lists and scores".into()));
        };
        match unseen {
            None => Ok(found),
            Some((label, rows)) => Err(Error::UnseenLabel {
                path: dataset.report.path.clone(),
                suggestion: nearest(&label, map.names().iter().map(String::as_str)),
                label,
                first: rows.iter().take(5).copied().collect(),
                count: rows.len(),
                known: map.names().iter().take(20).cloned().collect(),
            }),
        }
    }

    /// Number of texts.
    pub fn len(&self) -> usize {
        match self {
            Self::None(count) => *count,
            Self::Class(ids) => ids.len(),
            Self::Multi { values, labels } => values.len() / labels.max(&1),
            Self::Score(values) => values.len(),
            Self::Tokens(numbers) | Self::Texts(numbers) => numbers.len(),
            Self::Trees { heads, .. } => heads.len(),
            Self::Spans { starts, .. } => starts.len(),
        }
    }

    /// True when there is no text.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The chosen rows, in the order given.
    pub fn select(&self, indices: &[usize]) -> Self {
        match self {
            Self::None(_) => Self::None(indices.len()),
            Self::Class(ids) => Self::Class(indices.iter().map(|&i| ids[i]).collect()),
            Self::Score(values) => Self::Score(indices.iter().map(|&i| values[i]).collect()),
            Self::Multi { values, labels } => {
                let row = |&i: &usize| &values[i * labels..(i + 1) * labels];
                Self::Multi { values: indices.iter().flat_map(row).copied().collect(), labels: *labels }
            }
            Self::Tokens(numbers) => Self::Tokens(numbers.select(indices)),
            Self::Texts(numbers) => Self::Texts(numbers.select(indices)),
            Self::Trees { heads, relations } => {
                Self::Trees { heads: heads.select(indices), relations: relations.select(indices) }
            }
            Self::Spans { starts, ends } => {
                let of = |values: &[u32]| indices.iter().map(|&i| values[i]).collect();
                Self::Spans { starts: of(starts), ends: of(ends) }
            }
        }
    }

    /// How often each of `labels` classes stands; zeros for scores.
    pub fn counts(&self, labels: usize) -> Vec<usize> {
        let mut counts = vec![0; labels];
        match self {
            Self::Class(ids) => ids.iter().for_each(|&id| counts[id as usize] += 1),
            Self::Multi { values, labels } => {
                for row in values.chunks_exact((*labels).max(1)) {
                    row.iter()
                        .zip(&mut counts)
                        .for_each(|(&value, count)| *count += usize::from(value > 0.5));
                }
            }
            // What is no label's number counts for none.
            Self::Tokens(numbers) | Self::Trees { relations: numbers, .. } => {
                numbers.values.iter().for_each(|&id| {
                    if let Some(count) = counts.get_mut(id as usize) {
                        *count += 1;
                    }
                })
            }
            Self::None(_) | Self::Score(_) | Self::Texts(_) | Self::Spans { .. } => {}
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(names: &[&str]) -> LabelMap {
        LabelMap::new(names.iter().map(|name| name.to_string())).unwrap()
    }

    #[test]
    fn numbers_are_sorted_by_value_and_words_by_letter() {
        assert_eq!(map(&["10", "9", "-1", "9"]).names(), ["-1", "9", "10"]);
        assert_eq!(map(&["spam", "ham"]).names(), ["ham", "spam"]);
        assert_eq!(map(&["b", "2", "a"]).names(), ["2", "a", "b"]);
    }

    #[test]
    fn config_and_back() {
        let labels = map(&["spam", "ham"]);
        assert_eq!(labels.id2label(), json!({"0": "ham", "1": "spam"}));
        assert_eq!(labels.label2id(), json!({"ham": 0, "spam": 1}));
        assert_eq!(LabelMap::from_id2label(&labels.id2label()).unwrap(), labels);
        let text = serde_json::to_string(&labels).unwrap();
        assert_eq!(serde_json::from_str::<LabelMap>(&text).unwrap(), labels);
        let order = LabelMap::from_id2label(&json!({"1": "ham", "0": "spam"})).unwrap();
        assert_eq!(order.names(), ["spam", "ham"]);
        for bad in
            [json!([]), json!({}), json!({"0": "a", "2": "b"}), json!({"0": 1}), json!({"0": "a", "1": "a"})]
        {
            assert!(matches!(LabelMap::from_id2label(&bad), Err(Error::LabelMap { .. })), "{bad}");
        }
    }
}
