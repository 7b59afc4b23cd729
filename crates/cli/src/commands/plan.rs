//! `topwork plan`: what to do with some data, before anything is trained on it.

use std::io::Write;
use std::path::PathBuf;

use anyhow::bail;
use serde_json::json;
use topwork::datasets::{self, Split};
use topwork::plan::{self, Columns, Facts, Known, Order, Plan as Planned, Reader, Scenario, Side, Step};
use topwork::recipe::Kind;
use topwork_data::{Dataset, Format, ReadOptions};

use super::names::{kind, order};
use crate::Ended;
use crate::global::Global;
use crate::numbers::{counted, shortened, thousands};

/// Say what to do with some data: which kind of transfer it is, and the commands, each choice with its reason
#[derive(clap::Args)]
#[command(
    after_help = "The data is looked at: labels, classes, lengths, languages, repeated texts; with --model also what its tokenizer makes of the words.
With --target it is said whether the two are one task, one domain, one language. Where that leaves two ways open, --order decides.
Nothing is trained; with --minutes and --model a few steps are timed. Figures are from the data, this machine, dev/LOG.md,
docs/results.md and papers, and each choice says from which.

Examples:
  topwork plan mails.csv
  topwork plan books.csv --target kitchen.csv --model minilm/ --minutes 10
  topwork plan glue/mnli --target glue/rte --order in-turn --json"
)]
pub struct Plan {
    /// Data: a file, a folder, or the name of a data set
    data: String,
    /// Other data that it is to serve, with labels or without
    #[arg(long, value_name = "DATA")]
    target: Option<String>,
    /// Pretrained model: a folder, hf:org/name, pypi:package==version
    #[arg(long)]
    model: Option<String>,
    /// Minutes there are for training
    #[arg(long, value_name = "MINUTES", value_parser = minutes)]
    minutes: Option<f64>,
    /// How two tasks are learnt: together, in-turn [default: decided by their sizes]
    #[arg(long, value_name = "HOW", requires = "target", value_parser = order)]
    order: Option<Order>,
    /// What is learnt (see topwork list tasks) [default: decided by the data]
    #[arg(long, value_name = "NAME", value_parser = kind)]
    task: Option<Kind>,
    /// Column of the text, in all files [default: detected and said]
    #[arg(long, value_name = "COLUMN")]
    text: Option<String>,
    /// Column of the second text of a pair, in all files
    #[arg(long, value_name = "COLUMN")]
    pair: Option<String>,
    /// Column of the label; repeat it for several 0/1 columns [default: detected and said]
    #[arg(long, value_name = "COLUMN")]
    label: Vec<String>,
    /// Format: csv, tsv, jsonl, parquet, text, folder, conll, conllu, squad, arrow, hf [default: by the name]
    #[arg(long)]
    format: Option<Format>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// A time.
fn minutes(text: &str) -> Result<f64, String> {
    let value = text.parse::<f64>().ok().filter(|value| value.is_finite() && *value > 0.0);
    value.ok_or_else(|| "expected a number above 0".to_string())
}

impl Plan {
    /// Looks, decides and prints.
    pub fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        let (known, plan) = self.planned(global)?;
        if self.json {
            let steps = |steps: &[Step]| -> Vec<serde_json::Value> {
                steps.iter().map(|step| json!({"command": step.line(), "step": step})).collect()
            };
            let page = json!({
                "known": known, "scenario": plan.scenario, "because": plan.because, "steps": steps(&plan.steps),
                "compare": steps(&plan.compare), "warnings": plan.warnings,
            });
            writeln!(out, "{}", serde_json::to_string_pretty(&page)?)?;
            return Ok(Ended::Done);
        }
        print(&known, &plan, out)?;
        Ok(Ended::Done)
    }

    fn planned(&self, global: &Global) -> anyhow::Result<(Known, Planned)> {
        let model = self.model.as_deref().map(|model| global.model_folder(model)).transpose()?;
        let reader = model.as_deref().map(Reader::open).transpose()?;
        let (data, texts) = self.look(&self.data, reader.as_ref(), global)?;
        let target =
            self.target.as_deref().map(|target| self.look(target, reader.as_ref(), global)).transpose()?;
        if texts.is_empty() {
            bail!("{}: there is no text in it", self.data);
        }
        let overlap = target.as_ref().and_then(|(_, others)| plan::overlap(&texts, others));
        let mut texts_per_second = None;
        match (&model, self.minutes, &data.tokens) {
            (Some(model), Some(_), Some(tokens)) => {
                global.note("timing a few steps");
                texts_per_second = Some(plan::rate(model, &texts, tokens.max_length)?);
            }
            (None, Some(_), _) => {
                global.note("without --model no step is timed, and --minutes is a limit alone")
            }
            _ => {}
        }
        let known = Known {
            data,
            target: target.map(|(facts, _)| facts),
            overlap,
            model: self.model.as_deref().map(|model| global.model_name(model)),
            hidden: reader.map(|reader| reader.hidden),
            minutes: self.minutes,
            texts_per_second,
            order: self.order,
        };
        let plan = plan::advise(&known);
        Ok((known, plan))
    }

    /// Looks at a piece of data.
    fn look(
        &self,
        named: &str,
        reader: Option<&Reader>,
        global: &Global,
    ) -> anyhow::Result<(Facts, Dataset)> {
        let hub = global.hub()?;
        let columns = Columns { text: self.text.clone(), pair: self.pair.clone(), label: self.label.clone() };
        let given = ReadOptions {
            format: self.format,
            text: self.text.clone(),
            pair: self.pair.clone(),
            label: self.label.clone(),
            ..ReadOptions::default()
        };
        let (path, options, known): (PathBuf, ReadOptions, Option<Kind>) = match datasets::named(named) {
            // Its entry says how it is read.
            Some(set) => {
                let (files, options) = datasets::shown(set, &hub, &global.fetching())?;
                let first = Split::ALL.into_iter().find_map(|split| files.of(split));
                let Some(path) = first else { bail!("{named} has no file with labels") };
                (path.to_path_buf(), options, Some(set.kind))
            }
            None => (hub.data(named, &global.fetching())?.path, given, None),
        };
        let side = Side { named, path: &path, options, kind: self.task.or(known), columns };
        let (facts, dataset) = plan::look(&side, reader)?;
        dataset.report.lines().iter().for_each(|line| global.note(line));
        Ok((facts, dataset))
    }
}

/// A piece of data in a few lines.
fn facts(name: &str, facts: &Facts, out: &mut dyn Write) -> anyhow::Result<()> {
    let learnt = match facts.kind {
        None => "no labels".to_string(),
        Some(kind) if facts.classes.is_empty() => kind.name().to_string(),
        Some(kind) => {
            let (least, most) = (facts.rarest(), facts.classes.iter().max_by_key(|class| class.texts));
            let of =
                |class: &plan::Class| format!("{} {}", shortened(&class.name, 20), thousands(class.texts));
            let range = match (least, most) {
                (Some(least), Some(most)) if facts.classes.len() > 1 => {
                    format!(" ({} to {})", of(least), of(most))
                }
                _ => String::new(),
            };
            format!("{}, {}{range}", kind.name(), counted(facts.classes.len(), "label"))
        }
    };
    let what = if facts.pairs { "pair" } else { "text" };
    writeln!(out, "{name:<9} {}: {}, {learnt}", facts.data, counted(facts.texts, what))?;
    let languages: Vec<String> = facts
        .languages
        .iter()
        .map(|speech| format!("{} {:.0}%", speech.language, 100.0 * speech.share))
        .collect();
    let languages = if languages.is_empty() { "no language shows".to_string() } else { languages.join(", ") };
    writeln!(
        out,
        "          {:.1} words on average, 95% at most {}, longest {}; {languages}; {} repeated",
        facts.words.mean,
        thousands(facts.words.most),
        thousands(facts.words.longest),
        thousands(facts.repeated)
    )?;
    if let Some(tokens) = &facts.tokens {
        writeln!(
            out,
            "          {:.2} pieces a word, {:.2}% of them unknown to the model",
            tokens.per_word,
            100.0 * tokens.unknown
        )?;
    }
    Ok(())
}

fn print(known: &Known, plan: &Planned, out: &mut dyn Write) -> anyhow::Result<()> {
    facts("data", &known.data, out)?;
    if let Some(target) = &known.target {
        facts("target", target, out)?;
    }
    let scenario: Scenario = plan.scenario;
    writeln!(out, "scenario  {} ({}; Ruder 2019, section 3.2)", scenario.title(), scenario.branch())?;
    for why in &plan.because {
        writeln!(out, "          {why}")?;
    }
    let steps = |steps: &[Step], out: &mut dyn Write| -> anyhow::Result<()> {
        for step in steps {
            writeln!(out, "\n  # {}\n  {}", step.does, step.line())?;
            for choice in &step.choices {
                writeln!(out, "      {}: {} [{}]", choice.what, choice.why, choice.from)?;
            }
        }
        Ok(())
    };
    writeln!(out, "\ndo")?;
    steps(&plan.steps, out)?;
    if !plan.compare.is_empty() {
        writeln!(out, "\nworth comparing")?;
        steps(&plan.compare, out)?;
    }
    if !plan.warnings.is_empty() {
        writeln!(out, "\nmind")?;
        for warning in &plan.warnings {
            writeln!(out, "  {warning}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use topwork::mixing::Mixing;
    use topwork::plan::{Class, Overlap, Speech, Tokens};
    use topwork::{Recipe, compare, learning_curve};
    use topwork_adapt::ADAPTERS;

    use super::*;
    use crate::Program;

    /// Data of every shape there is a rule about.
    fn shapes() -> Vec<Facts> {
        let mut shapes = Vec::new();
        let kinds = std::iter::once(None).chain(Kind::ALL.iter().map(|(kind, _)| Some(*kind)));
        for kind in kinds {
            for texts in [8, 60, 500, 20_000] {
                for (pairs, lopsided, named) in
                    [(false, false, false), (true, false, true), (false, true, true)]
                {
                    let rare = if lopsided { texts / 100 + 1 } else { texts / 2 };
                    let class = |name: &str, texts| Class { name: name.into(), texts };
                    let classes = vec![class("it's spam", rare), class("ham", texts - rare)];
                    shapes.push(Facts {
                        data: "my data/it's.csv".into(),
                        columns: Columns {
                            text: named.then(|| "the text".to_string()),
                            pair: (named && pairs).then(|| "pair".to_string()),
                            label: if named { vec!["a \"label\"".to_string()] } else { Vec::new() },
                        },
                        kind,
                        texts,
                        pairs,
                        classes: if kind == Some(Kind::Classify) { classes } else { Vec::new() },
                        repeated: texts / 5,
                        languages: vec![Speech { language: "English".into(), share: 1.0 }],
                        tokens: lopsided.then_some(Tokens {
                            per_word: 2.5,
                            unknown: 0.02,
                            max_length: 64,
                            cut: 0.01,
                        }),
                        ..Facts::default()
                    });
                }
            }
        }
        shapes
    }

    /// What a shell makes of a line.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quoted, mut chars) = (Vec::new(), String::new(), false, line.chars());
        while let Some(c) = chars.next() {
            match c {
                '\'' => quoted = !quoted,
                '\\' if !quoted => word.extend(chars.next()),
                ' ' if !quoted => words.push(std::mem::take(&mut word)),
                c => word.push(c),
            }
        }
        words.push(word);
        words
    }

    #[test]
    fn every_command_of_every_plan_is_one() {
        let mut targets: Vec<Option<Facts>> = vec![None];
        for (at, shape) in shapes().into_iter().enumerate() {
            // Every third, so that all kinds are there and the sweep stays quick.
            if at.is_multiple_of(3) {
                targets.push(Some(Facts { data: "target.csv".into(), ..shape.clone() }));
                let other = vec![Speech { language: "German".into(), share: 0.7 }];
                let mut classes = shape.classes.clone();
                classes.iter_mut().for_each(|class| class.name.push('x'));
                targets.push(Some(Facts { languages: other, ..shape.clone() }));
                targets.push(Some(Facts { classes, ..shape }));
            }
        }
        let (mut seen, mut parsed, mut turn, mut scenarios) = (0, 0, 0, Vec::new());
        let mut told = std::collections::HashSet::new();
        for data in shapes() {
            for target in &targets {
                // Each choice goes its own round, so that all of them meet.
                let at: usize = turn;
                turn += 1;
                let known = Known {
                    data: data.clone(),
                    target: target.clone(),
                    overlap: at.is_multiple_of(2).then_some(Overlap {
                        shared: 0.3,
                        own: if at.is_multiple_of(4) { 0.31 } else { 0.6 },
                        words: 9,
                    }),
                    model: (at % 7 < 3).then(|| "my model".to_string()),
                    hidden: Some(384),
                    minutes: at.is_multiple_of(3).then_some(2.5),
                    texts_per_second: [None, Some(0.5), Some(70.0), Some(500.0), Some(1e6)][at % 5],
                    order: [None, Some(Order::Together), Some(Order::InTurn)][at / 3 % 3],
                };
                let plan = plan::advise(&known);
                assert!(!plan.steps.is_empty() && !plan.because.is_empty(), "{known:?}");
                if !scenarios.contains(&plan.scenario) {
                    scenarios.push(plan.scenario);
                }
                for step in plan.steps.iter().chain(&plan.compare) {
                    seen += 1;
                    assert!(!step.does.is_empty());
                    assert!(
                        step.choices.iter().all(|choice| !choice.why.is_empty() && !choice.from.is_empty())
                    );
                    let line = step.line();
                    if !told.insert(line.clone()) {
                        continue;
                    }
                    let words = words(&line);
                    assert_eq!(words[1..], step.args, "{line}");
                    if let Err(error) = Program::try_parse_from(&words) {
                        panic!("{line}\n{error}");
                    }
                    // What clap takes as a text has to be a setting and a name too.
                    let settings: Vec<String> =
                        step.args.iter().filter(|arg| arg.starts_with("data.")).cloned().collect();
                    Recipe::default()
                        .with_overrides(&settings)
                        .unwrap_or_else(|error| panic!("{line}\n{error}"));
                    for pair in step.args.windows(2) {
                        let names: Vec<String> = pair[1].split(',').map(str::to_string).collect();
                        match (step.args[0].as_str(), pair[0].as_str()) {
                            ("compare", "--methods") => _ = compare::ways(&names).unwrap(),
                            ("multi-task", "--mixing") => {
                                names.iter().for_each(|name| _ = name.parse::<Mixing>().unwrap());
                            }
                            ("learning-curve", "--labels") => _ = learning_curve::sizes(&names).unwrap(),
                            ("train", "--adapter") => {
                                assert!(ADAPTERS.iter().any(|kind| kind.name == pair[1]))
                            }
                            _ => {}
                        }
                    }
                    parsed += 1;
                }
            }
        }
        assert!(seen > 10_000 && parsed > 250, "{seen} {parsed}");
        assert_eq!(scenarios.len(), 6, "{scenarios:?}");
    }
}
