//! Fine-tuning techniques: one file each, one trait, one line in the list.

use serde_json::Value;

use crate::error::Error;
use crate::plan::{ParamInfo, Plan, Progress};
use crate::techniques;

/// One fine-tuning technique. Every method has a default, so a file implements only what it is about. Plans may
/// only narrow (`train &=`) and multiply (`lr_scale *=`): techniques then commute.
pub trait Technique {
    /// Decides which parameters move and how fast. Called before every step; must be a pure function.
    fn plan(&self, _at: Progress, _params: &[ParamInfo], _plan: &mut [Plan]) {}
}

/// How a technique is known from outside.
pub struct TechniqueEntry {
    /// Kebab-case name.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// Where it comes from.
    pub paper: &'static str,
    /// Builds one from its options, given the parameters it will act on.
    pub build: Build,
}

/// How a technique is built.
pub type Build = fn(&Value, &[ParamInfo]) -> Result<Box<dyn Technique>, Error>;

/// Every technique, in the order `list` prints them.
pub const TECHNIQUES: &[&TechniqueEntry] = &[&techniques::freeze::ENTRY];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_technique_is_complete_and_refuses_unknown_options() {
        assert_eq!(TECHNIQUES.len(), 1, "count the techniques when you add one");
        for entry in TECHNIQUES {
            assert!(entry.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{}", entry.name);
            assert!(entry.paper.starts_with("https://"), "{}", entry.name);
            assert!((entry.build)(&serde_json::json!({"no-such-option": 0}), &[]).is_err(), "{}", entry.name);
        }
    }
}
