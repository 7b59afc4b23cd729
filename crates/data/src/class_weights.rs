//! How much an example of each class counts in the loss.

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, LabelMap, Result};

/// Where class weights come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum ClassWeights {
    /// Every example counts the same.
    #[default]
    None,
    /// `n / (classes * n_of_class)`, as scikit-learn's `class_weight="balanced"`.
    Balanced,
    /// A JSON object, a TOML table or a CSV of name and weight.
    File(PathBuf),
}

impl From<String> for ClassWeights {
    /// `none`, `balanced`, or else a file.
    fn from(text: String) -> Self {
        match text.as_str() {
            "none" => Self::None,
            "balanced" => Self::Balanced,
            file => Self::File(file.into()),
        }
    }
}

impl From<ClassWeights> for String {
    fn from(weights: ClassWeights) -> Self {
        match weights {
            ClassWeights::None => "none".into(),
            ClassWeights::Balanced => "balanced".into(),
            ClassWeights::File(path) => path.to_string_lossy().into_owned(),
        }
    }
}

impl FromStr for ClassWeights {
    type Err = Infallible;

    fn from_str(text: &str) -> std::result::Result<Self, Infallible> {
        Ok(text.to_string().into())
    }
}

impl ClassWeights {
    /// The weight of each class; `None` for [`ClassWeights::None`].
    ///
    /// # Shapes
    /// - `counts`: `[labels]`, training examples of each class
    /// - returns: `[labels]`
    ///
    /// # Errors
    /// [`Error::ClassWeights`] if a class has no example, or the file misses a class, has one too many, or holds
    /// anything but finite numbers of at least 0.
    pub fn weights(&self, counts: &[usize], map: &LabelMap) -> Result<Option<Vec<f32>>> {
        let wrong =
            |problem: String| Error::ClassWeights { path: None, problem, classes: map.names().to_vec() };
        match self {
            Self::None => Ok(None),
            Self::Balanced => {
                if counts.len() != map.len() {
                    return Err(wrong(format!("expected {} counts, got {}", map.len(), counts.len())));
                }
                if let Some(class) = counts.iter().position(|&count| count == 0) {
                    return Err(wrong(format!(
                        "class {:?} has no training example to balance",
                        map.name(class)
                    )));
                }
                let all: usize = counts.iter().sum();
                let weight = |&count: &usize| (all as f64 / (counts.len() * count) as f64) as f32;
                Ok(Some(counts.iter().map(weight).collect()))
            }
            Self::File(path) => from_file(path, map).map(Some),
        }
    }
}

fn from_file(path: &Path, map: &LabelMap) -> Result<Vec<f32>> {
    let wrong = |problem: String| Error::ClassWeights {
        path: Some(path.into()),
        problem,
        classes: map.names().to_vec(),
    };
    let text = std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.into(), source })?;
    let extension =
        path.extension().and_then(|extension| extension.to_str()).unwrap_or("").to_ascii_lowercase();
    let mut found: HashMap<String, f64> = HashMap::new();
    let mut set = |name: &str, weight: Option<f64>, shown: String| match weight {
        Some(weight) if weight.is_finite() && weight >= 0.0 => match found.insert(name.into(), weight) {
            None => Ok(()),
            Some(_) => Err(wrong(format!("class {name:?} stands twice"))),
        },
        _ => Err(wrong(format!("class {name:?}: expected a finite number of at least 0, got {shown}"))),
    };
    match extension.as_str() {
        "json" => {
            let value: Value = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
            let table =
                value.as_object().ok_or_else(|| wrong("expected an object of name to weight".into()))?;
            for (name, value) in table {
                set(name, value.as_f64(), value.to_string())?;
            }
        }
        "toml" => {
            let table: toml::Table =
                text.parse().map_err(|error: toml::de::Error| wrong(error.message().into()))?;
            for (name, value) in &table {
                let number = value.as_float().or_else(|| value.as_integer().map(|integer| integer as f64));
                set(name, number, value.to_string())?;
            }
        }
        "csv" => {
            for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
                let (name, weight) = line.rsplit_once(',').ok_or_else(|| {
                    wrong(format!("line {}: expected name,weight, got {line:?}", index + 1))
                })?;
                let name = name.trim().trim_matches('"');
                let number = weight.trim().parse().ok();
                let is_header = index == 0 && number.is_none() && map.index(name).is_none();
                if !is_header {
                    set(name, number, format!("{:?}", weight.trim()))?;
                }
            }
        }
        _ => return Err(wrong("expected a .json, .toml or .csv file of name and weight".into())),
    }
    let mut extra: Vec<&String> = found.keys().filter(|name| map.index(name).is_none()).collect();
    extra.sort();
    if let Some(name) = extra.first() {
        return Err(wrong(format!("{name:?} is not a class")));
    }
    let weight = |name: &String| {
        found.get(name).map(|&weight| weight as f32).ok_or_else(|| wrong(format!("no weight for {name:?}")))
    };
    let weights: Vec<f32> = map.names().iter().map(weight).collect::<Result<_>>()?;
    if weights.iter().all(|&weight| weight == 0.0) {
        return Err(wrong("every weight is 0".into()));
    }
    Ok(weights)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map() -> LabelMap {
        LabelMap::new(["ham", "spam", "news"].map(String::from)).unwrap()
    }

    #[test]
    fn balanced_weights_are_those_of_scikit_learn() {
        // compute_class_weight("balanced", classes=[0, 1, 2], y=[0]*7 + [1]*2 + [2]*3), and 4827/747 of sms-spam.
        for (counts, names, expected) in [
            (vec![7, 2, 3], vec!["a", "b", "c"], vec![0.5714285714285714, 2.0, 1.3333333333333333]),
            (vec![4827, 747], vec!["a", "b"], vec![0.5773772529521442, 3.7309236947791167]),
        ] {
            let map = LabelMap::new(names.into_iter().map(String::from)).unwrap();
            let weights = ClassWeights::Balanced.weights(&counts, &map).unwrap().unwrap();
            for (got, expected) in weights.iter().zip(&expected) {
                assert!((f64::from(*got) - expected).abs() < 1e-6 * expected, "{weights:?} {expected:?}");
            }
        }
        assert!(ClassWeights::Balanced.weights(&[1, 0, 2], &map()).is_err());
        assert_eq!(ClassWeights::None.weights(&[1, 0, 2], &map()).unwrap(), None);
    }

    #[test]
    fn a_file_names_every_class_once() {
        let folder = tempfile::tempdir().unwrap();
        let read = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            ClassWeights::File(path).weights(&[1, 1, 1], &map()).map(|weights| weights.unwrap())
        };
        let expected = [1.0, 2.5, 3.0]; // ham, news, spam
        assert_eq!(read("w.json", r#"{"spam": 3, "ham": 1, "news": 2.5}"#).unwrap(), expected);
        assert_eq!(read("w.toml", "spam = 3\nham = 1.0\nnews = 2.5\n").unwrap(), expected);
        assert_eq!(read("w.csv", "class,weight\nspam,3\nham,1\nnews,2.5\n").unwrap(), expected);
        assert_eq!(read("w.csv", "spam,3\nham,1\nnews,2.5").unwrap(), expected);
        for (name, text, part) in [
            ("w.json", r#"{"spam": 3, "ham": 1}"#, "news"),
            ("w.json", r#"{"spam": 3, "ham": 1, "news": 1, "eggs": 1}"#, "eggs"),
            ("w.json", r#"{"spam": -3, "ham": 1, "news": 1}"#, "spam"),
            ("w.json", r#"{"spam": "x", "ham": 1, "news": 1}"#, "spam"),
            ("w.json", "[1]", "object"),
            ("w.toml", "spam = nan\nham = 1\nnews = 1", "spam"),
            ("w.csv", "spam,3\nspam,3\nham,1\nnews,2.5", "twice"),
            ("w.csv", "spam 3\n", "line 1"),
            ("w.yaml", "", ".json"),
            ("w.json", r#"{"spam": 0, "ham": 0, "news": 0}"#, "every weight"),
        ] {
            let text = read(name, text).unwrap_err().to_string();
            assert!(text.contains(part), "{text}");
        }
    }
}
