//! Fine-tuning techniques: one file each, one trait, one line in the list.

use serde_json::Value;
use topwork_nn::{Gradients, ParamStore};

use crate::error::Error;
use crate::metrics::nearest::nearest;
use crate::plan::{ParamInfo, Plan, Progress};
use crate::techniques;

/// One fine-tuning technique. Every method has a default, so a file implements only what it is about. Plans may
/// only narrow (`train &=`) and multiply (`lr_scale *=`), and gradients are only added to: techniques then commute.
pub trait Technique {
    /// Sees the parameters as they are before the first step; of a run that goes on, too, before its state is loaded.
    ///
    /// # Errors
    /// A parameter without values.
    fn begin(&mut self, _params: &[ParamInfo], _store: &ParamStore) -> Result<(), Error> {
        Ok(())
    }

    /// Decides which parameters move and how fast. Called before every step; must be a pure function.
    fn plan(&self, _at: Progress, _params: &[ParamInfo], _plan: &mut [Plan]) {}

    /// Adds the gradients of a term of the loss that depends on the parameters alone. Called after the audit and before
    /// clipping, once a step; only parameters that the plan trains may get one.
    ///
    /// # Errors
    /// A parameter without values.
    fn after_backward(
        &self,
        _params: &[ParamInfo],
        _plan: &[Plan],
        _store: &ParamStore,
        _gradients: &mut Gradients,
    ) -> Result<(), Error> {
        Ok(())
    }
}

/// How a technique is known from outside.
pub struct TechniqueEntry {
    /// Kebab-case name.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// Where it comes from.
    pub paper: &'static str,
    /// Its options.
    pub options: &'static [OptionSpec],
    /// Builds one from its options, given the parameters it will act on.
    pub build: Build,
}

/// An option of a technique.
pub struct OptionSpec {
    /// Kebab-case key.
    pub key: &'static str,
    /// What it means, with its default.
    pub about: &'static str,
}

/// How a technique is built.
pub type Build = fn(&Value, &[ParamInfo]) -> Result<Box<dyn Technique>, Error>;

/// Every technique, in the order `list` prints them.
pub const TECHNIQUES: &[&TechniqueEntry] = &[
    &techniques::freeze::ENTRY,
    &techniques::only::ENTRY,
    &techniques::unfreeze::ENTRY,
    &techniques::layer_decay::ENTRY,
    &techniques::bitfit::ENTRY,
    &techniques::l2_sp::ENTRY,
];

/// The entry of that name, if these are options of it; their values are looked at with the parameters, by
/// [`TechniqueEntry::build`].
///
/// # Errors
/// [`Error::Unknown`] with the nearest name; [`Error::TechniqueOption`].
pub fn find(name: &str, options: &Value) -> Result<&'static TechniqueEntry, Error> {
    let names = || TECHNIQUES.iter().map(|entry| entry.name);
    let entry = TECHNIQUES.iter().find(|entry| entry.name == name).ok_or_else(|| Error::Unknown {
        kind: "technique",
        got: name.to_string(),
        nearest: nearest(name, names()).unwrap_or_default().to_string(),
        known: names().collect::<Vec<_>>().join(", "),
    })?;
    only(entry, options).map(|()| *entry)
}

/// Refuses options that are no table, and keys that the technique does not have.
fn only(entry: &TechniqueEntry, options: &Value) -> Result<(), Error> {
    let known = || entry.options.iter().map(|option| option.key).collect::<Vec<_>>().join(", ");
    let wrong = |got: String| Error::TechniqueOption { technique: entry.name, known: known(), got };
    let keys = options.as_object().ok_or_else(|| wrong(options.to_string()))?;
    match keys.keys().find(|key| entry.options.iter().all(|option| option.key != key.as_str())) {
        Some(key) => Err(wrong(key.clone())),
        None => Ok(()),
    }
}

/// A number among the options, or the default.
pub(crate) fn number(
    entry: &TechniqueEntry,
    options: &Value,
    key: &'static str,
    default: f64,
) -> Result<f64, Error> {
    let Some(value) = options.get(key) else { return Ok(default) };
    value.as_f64().filter(|number| number.is_finite()).ok_or_else(|| Error::Option {
        name: entry.name,
        expected: "numbers for its options",
        got: format!("{key} = {value}"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::tests::tower;

    #[test]
    fn every_technique_is_complete_and_refuses_unknown_options() {
        assert_eq!(TECHNIQUES.len(), 6, "count the techniques when you add one");
        let build = |name: &str, options: Value| (find(name, &options)?.build)(&options, &tower());
        for entry in TECHNIQUES {
            assert!(entry.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-' || b.is_ascii_digit()));
            assert!(entry.paper.starts_with("https://"), "{}", entry.name);
            for wrong in [json!({"no-such-option": 0}), json!(7)] {
                assert!(build(entry.name, wrong.clone()).is_err(), "{} {wrong}", entry.name);
            }
        }
        let error = build("layer-decays", json!({})).err().unwrap().to_string();
        assert!(error.contains("did you mean \"layer-decay\""), "{error}");
        let error = build("layer-decay", json!({"rats": 0.5})).err().unwrap().to_string();
        assert!(error.contains("rats") && error.contains("rate"), "{error}");
    }

    /// Options that do something, for every technique.
    fn options(name: &str) -> Value {
        match name {
            "freeze" => json!({"patterns": ["layers.0"]}),
            "only" => json!({"patterns": ["layers"]}),
            "layer-decay" => json!({"rate": 0.5}),
            _ => json!({}),
        }
    }

    #[test]
    fn every_pair_commutes() {
        let params = tower();
        let planned = |names: [&str; 2], step: usize| {
            let mut plan = vec![Plan::default(); params.len()];
            for name in names {
                let technique = (find(name, &options(name)).unwrap().build)(&options(name), &params).unwrap();
                technique.plan(Progress { epoch: step / 4, step, total: 12 }, &params, &mut plan);
            }
            plan
        };
        let mut changed = 0;
        for first in TECHNIQUES {
            for second in TECHNIQUES {
                for step in 0..12 {
                    let there = planned([first.name, second.name], step);
                    assert_eq!(
                        there,
                        planned([second.name, first.name], step),
                        "{} {}",
                        first.name,
                        second.name
                    );
                    changed += usize::from(there.iter().any(|plan| *plan != Plan::default()));
                }
            }
        }
        // Only l2-sp twice plans nothing, and unfreezing does not in its last stage.
        assert!(changed > 12 * 20, "{changed}");
    }
}
