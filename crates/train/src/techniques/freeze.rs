//! Freezing: parameters that stay as the pretrained model has them.
//!
//! Paper: Peters, Ruder, Smith 2019, "To Tune or Not to Tune?", section 2, <https://arxiv.org/abs/1903.05987>

use serde_json::Value;
use topwork_nn::Pattern;

use crate::error::Error;
use crate::plan::{ParamInfo, Plan, Progress};
use crate::technique::{OptionSpec, Technique, TechniqueEntry};

/// The entry in the list.
pub const ENTRY: TechniqueEntry = TechniqueEntry {
    name: "freeze",
    summary: "parameters whose path matches one of `patterns` are not trained",
    paper: "https://arxiv.org/abs/1903.05987",
    options: &[OptionSpec { key: "patterns", about: "a list of path patterns, such as \"embed\"; needed" }],
    apart: &[],
    build: |options, params| {
        let bad = |got: &Value| Error::Option {
            name: "freeze",
            expected: "{\"patterns\": [\"embed\", \"layers.{0..4}\", ...]}",
            got: got.to_string(),
        };
        let keys = options.as_object().ok_or_else(|| bad(options))?;
        let list = match keys.get("patterns") {
            Some(Value::Array(list)) if keys.len() == 1 => list,
            _ => return Err(bad(options)),
        };
        let patterns: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
        let frozen = frozen(&patterns.ok_or_else(|| bad(options))?, params)?;
        Ok(Box::new(Freeze { frozen }))
    },
};

/// The words for everything below the head, in every family.
const ENCODER: [&str; 2] = ["encoder", "all"];

/// Whether a pattern stands for everything below the head: `encoder`, or `all`.
pub fn is_encoder(pattern: &str) -> bool {
    ENCODER.contains(&pattern)
}

struct Freeze {
    frozen: Vec<bool>,
}

/// How many depth groups from the bottom up hold nothing that learns under these patterns: what comes out of them is
/// the same in every step.
///
/// # Errors
/// A pattern that matches nothing.
pub fn depth(patterns: &[String], params: &[ParamInfo]) -> Result<usize, Error> {
    let frozen = frozen(patterns, params)?;
    let learning = params.iter().zip(frozen).filter(|(_, frozen)| !frozen).map(|(param, _)| param.group);
    Ok(learning.min().unwrap_or_else(|| params.iter().map(|param| param.group + 1).max().unwrap_or(0)))
}

fn frozen(patterns: &[impl AsRef<str>], params: &[ParamInfo]) -> Result<Vec<bool>, Error> {
    let mut frozen = vec![false; params.len()];
    patterns.iter().try_for_each(|text| mark(text.as_ref(), params, &mut frozen))?;
    Ok(frozen)
}

fn mark(text: &str, params: &[ParamInfo], frozen: &mut [bool]) -> Result<(), Error> {
    let patterns: Vec<Pattern> = match text {
        word if is_encoder(word) => ["embed", "layers", "pooler"].map(Pattern::new).to_vec(),
        other => vec![Pattern::new(other)],
    };
    let mut found = false;
    for (param, frozen) in params.iter().zip(frozen) {
        if patterns.iter().any(|p| p.matches(&param.path)) {
            *frozen = true;
            found = true;
        }
    }
    if found {
        return Ok(());
    }
    let example = params.first().map(|p| p.path.clone()).unwrap_or_default();
    Err(topwork_nn::Error::PatternMatchesNothing { pattern: text.to_string(), example }.into())
}

impl Technique for Freeze {
    fn plan(&self, _: Progress, _: &[ParamInfo], plan: &mut [Plan]) {
        for (plan, frozen) in plan.iter_mut().zip(&self.frozen) {
            plan.train &= !frozen;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use topwork_nn::ParamKind;

    use super::*;

    fn params() -> Vec<ParamInfo> {
        [
            "embed.word.weight",
            "layers.0.attn.q.weight",
            "layers.1.attn.q.weight",
            "pooler.weight",
            "head.out.weight",
        ]
        .iter()
        .enumerate()
        .map(|(group, path)| ParamInfo { path: path.to_string(), group, kind: ParamKind::Weight })
        .collect()
    }

    fn trained(patterns: Value) -> Result<Vec<bool>, Error> {
        let params = params();
        let technique = (ENTRY.build)(&json!({"patterns": patterns}), &params)?;
        let mut plan = vec![Plan::default(); params.len()];
        technique.plan(Progress { epoch: 0, step: 0, total: 1 }, &params, &mut plan);
        Ok(plan.iter().map(|p| p.train).collect())
    }

    #[test]
    fn encoder_means_all_but_the_head() {
        for word in ["encoder", "all"] {
            assert_eq!(trained(json!([word])).unwrap(), [false, false, false, false, true]);
        }
    }

    #[test]
    fn patterns_add_up() {
        assert_eq!(trained(json!(["embed", "layers.{1..}"])).unwrap(), [false, true, false, true, true]);
    }

    #[test]
    fn the_depth_ends_below_the_first_that_learns() {
        let depth = |patterns: &[&str]| {
            depth(&patterns.iter().map(|text| text.to_string()).collect::<Vec<_>>(), &params()).unwrap()
        };
        assert_eq!(depth(&[]), 0);
        assert_eq!(depth(&["layers"]), 0);
        assert_eq!(depth(&["embed"]), 1);
        assert_eq!(depth(&["embed", "layers.1"]), 1);
        assert_eq!(depth(&["embed", "layers.0"]), 2);
        assert_eq!(depth(&["encoder"]), 4);
        assert_eq!(depth(&["encoder", "head"]), 5);
    }

    #[test]
    fn a_pattern_that_matches_nothing_is_an_error() {
        let error = trained(json!(["layer.0"])).unwrap_err().to_string();
        assert!(error.contains("layer.0"), "{error}");
    }
}
