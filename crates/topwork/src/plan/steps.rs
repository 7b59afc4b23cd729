//! A command with the reasons for what is in it.

use serde::Serialize;

use super::facts::{Columns, Facts};

/// A choice.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Choice {
    /// What was chosen: an option, or how it is done.
    pub what: String,
    /// Why.
    pub why: String,
    /// Where the figures in it are from: `the data`, `this machine`, an entry of `dev/LOG.md`, or a paper.
    pub from: String,
}

/// A command.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Step {
    /// What follows `topwork`, an argument each.
    pub args: Vec<String>,
    /// What it does.
    pub does: String,
    /// The choices in it.
    pub choices: Vec<Choice>,
}

impl Step {
    /// A command by its name.
    pub(super) fn new(command: &str, does: &str) -> Self {
        Step { args: vec![command.to_string()], does: does.to_string(), choices: Vec::new() }
    }

    /// With further arguments.
    pub(super) fn with<T: Into<String>>(mut self, args: impl IntoIterator<Item = T>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// With a choice, and the arguments that it is.
    pub(super) fn choose(mut self, args: &[&str], why: impl Into<String>, from: &str) -> Self {
        self.args.extend(args.iter().map(|arg| (*arg).to_string()));
        self.choices.push(Choice { what: args.join(" "), why: why.into(), from: from.to_string() });
        self
    }

    /// With a reason that is no argument of its own.
    pub(super) fn because(mut self, what: &str, why: impl Into<String>, from: &str) -> Self {
        self.choices.push(Choice { what: what.to_string(), why: why.into(), from: from.to_string() });
        self
    }

    /// With the columns that were named, as options.
    pub(super) fn columns(self, facts: &Facts) -> Self {
        let Columns { text, pair, label } = &facts.columns;
        let named = [
            ("--text", text.iter().collect()),
            ("--pair", pair.iter().collect::<Vec<_>>()),
            ("--label", label.iter().collect()),
        ];
        let args = named.into_iter().flat_map(|(option, names): (&str, Vec<&String>)| {
            names.into_iter().flat_map(move |name| [option.to_string(), name.clone()]).collect::<Vec<_>>()
        });
        self.with(args.collect::<Vec<_>>())
    }

    /// With the columns that were named, as settings of a recipe.
    pub(super) fn settings(self, facts: &Facts) -> Self {
        let Columns { text, pair, label } = &facts.columns;
        let quoted = |name: &String| toml::Value::from(name.as_str()).to_string();
        let one = |key: &str, name: &Option<String>| {
            name.as_ref().map(|name| format!("data.{key}={}", quoted(name)))
        };
        let labels: Vec<String> = label.iter().map(quoted).collect();
        let labels = (!labels.is_empty()).then(|| format!("data.label=[{}]", labels.join(", ")));
        self.with([one("text", text), one("pair", pair), labels].into_iter().flatten())
    }

    /// The command as a shell takes it.
    pub fn line(&self) -> String {
        let words: Vec<String> =
            std::iter::once("topwork").chain(self.args.iter().map(String::as_str)).map(quoted).collect();
        words.join(" ")
    }
}

/// An argument as a shell takes it.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_string()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
