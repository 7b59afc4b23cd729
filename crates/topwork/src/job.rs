//! A whole training run: data and model in, a run folder out.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use burn::tensor::Device;
use topwork_data::{BatchSize, Label};
use topwork_models::{HeadSpec, Model, Pooling, SaveOptions, Source};
use topwork_text::Tokenizer;
use topwork_train::metrics::{Bootstrap, Metric, Outcome, tune_threshold};
use topwork_train::{Event, Observer, RunContext, RunResult, TrainOptions};
use topwork_weights::{LoadReport, WordVectors};

use crate::adapter;
use crate::beside::Beside;
use crate::conversation::{Conversation, TEMPLATE};
use crate::convert::tokenizer_files;
use crate::embedder::{self, EmbedOptions};
use crate::erasure;
use crate::error::Error;
use crate::few_shot;
use crate::frozen::SharedFeatures;
use crate::hub::{Found, Hub, Progress};
use crate::imbalance::{self, Costs};
use crate::kept::{Keep, Kept};
use crate::linear_baseline::{LinearBaseline, linear_baseline};
use crate::mixing::Mixed;
use crate::model_files;
use crate::opened;
use crate::prepare::Prepared;
use crate::ready::{Ready, ready};
use crate::recipe::{Facts, Kind, Recipe};
use crate::report::Mistakes;
use crate::saved::{COSTS, SavedNotes};
use crate::scoring;
use crate::sentence::SENTENCES;
use crate::slices::{self, SliceScore, predicates, slices};
use crate::tasks::{self, Judge, Measured, Part, Run};
use crate::text_task::{TextTask, TextTaskSettings};
use crate::vectors::start_from_vectors;

/// Is told what a run decides and does.
pub trait JobObserver: Observer {
    /// One line for the user: a chosen column, a split, a load report.
    fn note(&mut self, line: &str);
}

/// An observer that says nothing.
pub struct Quiet;

impl Observer for Quiet {
    fn event(&mut self, _: &Event) {}
}

impl JobObserver for Quiet {
    fn note(&mut self, _: &str) {}
}

/// What a run needs besides its recipe.
pub struct JobContext<'a> {
    /// The run folder.
    pub folder: &'a Path,
    /// Where models and data come from.
    pub hub: &'a Hub,
    /// Is told about downloads.
    pub progress: &'a dyn Progress,
    /// Set from outside to stop: the run saves its state and returns.
    pub stop: &'a AtomicBool,
    /// What frozen layers made of texts in earlier runs of a study, if this is one of it.
    pub shared: Option<&'a SharedFeatures>,
    /// Is told what happens.
    pub observer: &'a mut dyn JobObserver,
}

/// A finished (or interrupted) run.
pub struct Outcomes {
    /// The run folder.
    pub folder: PathBuf,
    /// How the loop ended.
    pub run: RunResult,
    /// The recipe with every default filled in.
    pub resolved: Recipe,
    /// The data.
    pub data: Prepared,
    /// How the pretrained model was loaded.
    pub load: LoadReport,
    /// Where the pretrained model came from.
    pub source: Found,
    /// Values in the model.
    pub total_values: usize,
    /// Width of the encoder.
    pub hidden: usize,
    /// The best checkpoint on the test data; `None` when interrupted.
    pub test: Option<Measured>,
    /// The linear baseline on the same data, if asked for.
    pub baseline: Option<LinearBaseline>,
    /// The worst mistakes on the test data, where the task shows some.
    pub mistakes: Option<Mistakes>,
    /// How the test went on parts of the data.
    pub slices: Vec<SliceScore>,
    /// The tuned threshold, if there is one.
    pub threshold: Option<f64>,
    /// What the model knew before, and has kept, where the recipe asks for it.
    pub kept: Option<Kept>,
    /// What answers cost on the test data, where the recipe says what mistakes cost.
    pub costs: Option<Costs>,
    /// The share of each layer's hidden states, embeddings first, in a mix that was learnt.
    pub layers: Option<Vec<f32>>,
    /// All events of the loop.
    pub events: Vec<Event>,
    /// Seconds of the whole run.
    pub seconds: f64,
}

impl Outcomes {
    /// The folder of the best checkpoint, ready for [`crate::Predictor`] or for transformers.
    pub fn best(&self) -> PathBuf {
        self.folder.join("best")
    }
}

/// Name of the recipe as it was given.
pub const GIVEN: &str = "recipe.toml";

/// Name of the recipe with every default filled in.
pub const RESOLVED: &str = "resolved.toml";

/// Trains as a recipe says, into a new run folder.
///
/// # Errors
/// [`Error::RunExists`] for a folder that holds a run; everything wrong with recipe, model or data, before any
/// training; divergence, a full disk.
pub fn train(recipe: &Recipe, context: JobContext) -> Result<Outcomes, Error> {
    refuse_existing(context.folder)?;
    if recipe.few_shot {
        return few_shot::train(recipe, context);
    }
    begin(recipe, recipe, context)
}

/// Trains as a recipe says, in one stage. `given` is what the user gave, which the run folder keeps.
///
/// # Errors
/// As [`train`].
pub(crate) fn begin(recipe: &Recipe, given: &Recipe, context: JobContext) -> Result<Outcomes, Error> {
    execute(recipe, given, context, false)
}

/// Refuses a folder in which a run has begun to train. One that failed before (a misspelt option, a broken file) left
/// nothing worth keeping.
///
/// # Errors
/// [`Error::RunExists`].
pub fn refuse_existing(folder: &Path) -> Result<(), Error> {
    if begun(folder) {
        return Err(Error::RunExists { folder: folder.to_path_buf() });
    }
    Ok(())
}

/// Whether a folder holds a run that has begun to train.
pub(crate) fn begun(folder: &Path) -> bool {
    folder.join("log.jsonl").exists() || folder.join("checkpoints").exists() || few_shot::begun(folder)
}

/// Goes on with a run that was interrupted or killed, from its newest checkpoint.
///
/// # Errors
/// [`Error::NoRun`], [`Error::Changed`] when the data or the model is not what it was, and as [`train`].
pub fn resume(context: JobContext) -> Result<Outcomes, Error> {
    let path = context.folder.join(RESOLVED);
    if !path.is_file() && few_shot::begun(context.folder) {
        return few_shot::resume(context);
    }
    if !path.is_file() {
        return Err(Error::NoRun { folder: context.folder.to_path_buf() });
    }
    let recipe = Recipe::load(&path)?;
    execute(&recipe, &recipe, context, true)
}

/// Keeps every event and passes it on.
struct Keeping<'a> {
    observer: &'a mut dyn JobObserver,
    events: Vec<Event>,
}

impl Observer for Keeping<'_> {
    fn event(&mut self, event: &Event) {
        self.events.push(event.clone());
        self.observer.event(event);
    }
}

fn execute(asked: &Recipe, given: &Recipe, context: JobContext, resume: bool) -> Result<Outcomes, Error> {
    let started = Instant::now();
    let JobContext { folder, hub, progress, stop, shared, observer } = context;
    // Before anything takes time.
    predicates(&asked.report.slices)?;
    predicates(&asked.task.slices)?;
    let ready = ready(asked, hub, progress, &mut |line| observer.note(line))?;
    let Ready { recipe, source, tokenizer, hidden, sentence, seed, data } = ready;
    let recipe = &recipe;
    let (resolved, mut options) = resolve(recipe, &data, &source, hidden)?;
    let init = recipe.seeds.init.unwrap_or(seed);
    options.seed = recipe.seeds.order.unwrap_or(seed);
    imbalance::check(&resolved.task, data.kind)?;
    imbalance::costs(&resolved.report.costs, &data)?;
    slices::check(&resolved.task, data.kind, &data.train)?;
    check_unchanged(recipe, &resolved)?;
    if resume {
        // What a killed process had begun to write.
        topwork_weights::atomic::sweep(folder)?;
    } else {
        write_recipe(folder, GIVEN, given)?;
        write_recipe(folder, RESOLVED, &resolved)?;
    }

    let keep = resolved.keep.as_ref();
    let keep = keep.map(|keep| Keep::new(keep, &source.path, options.precision.kernel())).transpose()?;
    let kept = hub.cache().root().join("baselines");
    let baseline = if resolved.report.baseline { linear_baseline(&data, &kept)? } else { None };
    if let Some(baseline) = &baseline {
        let evaluation = scoring::evaluation(&baseline.outcome, &data.labels, None)?;
        let metric = resolved.task.metric.as_deref().unwrap_or("loss");
        if let Ok(value) = evaluation.value(metric) {
            observer.note(&format!(
                "baseline (TF-IDF, linear): test {metric} {value:.4} in {:.1} s",
                baseline.seconds
            ));
        }
    }

    let spec = head_of(&resolved, &data, &source.path)?;
    let fresh = topwork_kernels::rng::derive(init, "init");
    let (mut model, load, opened) = match resolved.from_scratch {
        true => {
            let (model, load) = Model::from_scratch(&source.path, &spec, fresh, &Device::flex())?;
            (model, load, None)
        }
        false => opened::open_apart(&source.path, &spec, fresh)?,
    };
    observer.note(&format!("model {}: {load}", source.reference));
    if let Some(path) = &resolved.vectors {
        let vectors = WordVectors::open(path)?;
        let table = start_from_vectors(
            &mut model,
            &tokenizer,
            &vectors,
            topwork_kernels::rng::derive(init, "vectors"),
        )?;
        observer.note(&format!(
            "word vectors {}: {} words have one, {} in lower case only, {} by their parts, {} have none",
            path.display(),
            table.found,
            table.lowercased,
            table.from_subwords,
            table.missing.len()
        ));
    }
    let unread = unread(&model);
    if !unread.is_empty() {
        observer.note(&format!(
            "the head reads {} of {} parts of the encoder: the {} parameters above stay as they are",
            model.parts_read(),
            model.depth(),
            unread.len()
        ));
        options.freeze.extend(unread);
    }
    let adapter = adapter::attach(&resolved, (&mut model, opened), init, &mut options)?;
    adapter.iter().for_each(|adapter| observer.note(adapter.about()));
    let total_values = model.store.values_total();
    let beside =
        Beside::new((data.beside.as_ref(), data.answers.as_ref()), &resolved, &mut model, options.seed)?;
    let like = data.beside.as_ref().filter(|_| beside.is_none());
    let metric = Metric::parse(
        resolved.task.metric.as_deref().unwrap_or("loss"),
        data.task().measures(),
        &data.labels,
        data.positive,
    )?;
    let saved =
        SavedNotes { max_length: Some(data.max_length), positive: data.positive, ..SavedNotes::default() };
    let (mut notes, spec_embeds) = (saved.to_map(), matches!(spec, HeadSpec::Embed { .. }));
    if spec_embeds && sentence.lowercase {
        notes.insert("lowercase".to_string(), true.into());
    }
    let settings = TextTaskSettings {
        batch: BatchSize {
            examples: resolved.batch.examples,
            tokens: Some(resolved.batch.tokens).filter(|&tokens| tokens > 0),
        },
        seed: options.seed,
        oversample: resolved.batch.oversample,
        loss: imbalance::loss(&resolved.task, &data, model.vector_width())?,
        precision: options.precision.kernel(),
        metric: metric.clone(),
        labels: data.labels.clone(),
        positive: data.positive,
        save: SaveOptions {
            files: beside_weights(&source.path, &tokenizer, data.kind)?,
            notes,
            ..SaveOptions::default()
        },
    };
    let mut task = TextTask::new(data.task(), model, &tokenizer, [&data.train, &data.dev], settings)?
        .with_adapter(adapter)
        .with_beside(beside)
        .drawn_like(like)?
        .mixed(Mixed::new(&resolved, data.kind, &data.train.inputs.labels, options.epochs)?)?
        .opened_from(&source.path);
    let most_bytes = (options.frozen_gigabytes * 1e9) as u64;
    if let Some(said) = task.keep_frozen(&options.freeze, folder, most_bytes, (stop, shared))? {
        observer.note(&said);
    }
    let mut keeping = Keeping { observer, events: Vec::new() };
    let run_context = RunContext { folder: Some(folder), resume, stop, observer: &mut keeping };
    let run = topwork_train::run(&mut task, &options, run_context)?;
    let events = if resume { read_events(folder)? } else { keeping.events };
    drop(task);

    let mut outcomes = Outcomes {
        folder: folder.to_path_buf(),
        run,
        resolved,
        data,
        load,
        source,
        total_values,
        hidden,
        test: None,
        baseline,
        mistakes: None,
        slices: Vec::new(),
        threshold: None,
        kept: None,
        costs: None,
        layers: None,
        events,
        seconds: 0.0,
    };
    if !outcomes.run.interrupted {
        measure(&mut outcomes, &tokenizer, &options, &metric)?;
        outcomes.kept = keep.map(|keep| keep.after(&outcomes.best())).transpose()?;
    }
    outcomes.seconds = started.elapsed().as_secs_f64();
    if !outcomes.run.interrupted {
        crate::run_report::write(&outcomes)?;
    }
    Ok(outcomes)
}

/// Parameters of the layers above those that the head reads, which nothing would teach.
fn unread(model: &Model) -> Vec<String> {
    let above = model.parts_read()..model.depth();
    model
        .store
        .iter()
        .filter(|(_, param)| above.contains(&param.group))
        .map(|(_, param)| param.path.clone())
        .collect()
}

/// The head that learns the task; of vectors it is that of the folder the run starts from, unless the recipe says otherwise.
fn head_of(recipe: &Recipe, data: &Prepared, source: &Path) -> Result<HeadSpec, Error> {
    if !matches!(data.kind, Kind::Embed | Kind::Similarity) {
        return Ok(data.task().head(&recipe.task, &data.labels));
    }
    let options = EmbedOptions { pool: recipe.task.pool, ..EmbedOptions::default() };
    Ok(embedder::spec(source, &options)?.0)
}

/// What a saved model needs beside its weights: the tokenizer, how it writes and, of vectors, what is put before texts, of
/// conversations, how it is told who speaks.
fn beside_weights(source: &Path, tokenizer: &Tokenizer, kind: Kind) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let mut files = tokenizer_files(tokenizer)?;
    if kind == Kind::Dialog {
        let form = Conversation::read(source, tokenizer)?;
        files.retain(|(name, _)| name != TEMPLATE);
        files.push((TEMPLATE.to_string(), form.template().as_bytes().to_vec()));
    }
    let vectors = matches!(kind, Kind::Embed | Kind::Similarity);
    let source = Source::find(source)?;
    for name in [Some(model_files::GENERATION), vectors.then_some(SENTENCES)].into_iter().flatten() {
        if let Some(path) = source.beside(name) {
            files.push((name.to_string(), fs::read(&path).map_err(Error::file(&path))?));
        }
    }
    Ok(files)
}

/// Reloads the best checkpoint, tunes the threshold on the development data and measures on the test data: what is
/// reported is what a user of the folder gets.
fn measure(
    outcomes: &mut Outcomes,
    tokenizer: &Tokenizer,
    options: &TrainOptions,
    metric: &Metric,
) -> Result<(), Error> {
    let best = outcomes.folder.join("best");
    let (mut model, _) = opened::open_saved(&best)?;
    model.store.keep_packed();
    let data = &outcomes.data;
    let mut judge = data.judge();
    let run = |part: &Part, judge: Judge| -> Result<Measured, Error> {
        data.task().measure(&Run::new(&model, tokenizer, options.precision.kernel(), judge), part)
    };
    let two = data.kind == Kind::Classify && data.labels.len() == 2;
    let costs = imbalance::costs(&outcomes.resolved.report.costs, data)?;
    judge.costs = costs.as_ref();
    if two && costs.is_none() && outcomes.resolved.report.threshold {
        let dev = run(&data.dev, judge)?;
        // Metrics that do not depend on the threshold leave it at one half.
        if let Some(dev) = dev.outcome()
            && let Ok(tuned) = tune_threshold(dev, metric)
            && clear_gain(dev, tuned.threshold, metric)?
        {
            judge.threshold = Some(tuned.threshold);
        }
    }
    judge.resamples = outcomes.resolved.report.resamples;
    judge.writes = true;
    judge.beams = outcomes.resolved.task.beams.unwrap_or(1);
    let test = run(&data.test, judge)?;
    outcomes.threshold = judge.threshold;
    if let Some(threshold) = judge.threshold {
        SavedNotes::add(&best, "threshold", threshold.into())?;
    }
    if let Some((matrix, outcome)) = costs.as_ref().zip(test.outcome()) {
        SavedNotes::add(&best, COSTS, matrix.rows().into())?;
        outcomes.costs = Some(Costs::of(matrix, outcome, &data.test.inputs.labels)?);
    }
    outcomes.layers = model.layer_weights()?;
    // What has an expert is measured, too.
    let mut named = outcomes.resolved.report.slices.clone();
    named.extend(
        outcomes
            .resolved
            .task
            .slices
            .iter()
            .filter(|part| !named.contains(part))
            .cloned()
            .collect::<Vec<_>>(),
    );
    let predicates = predicates(&named)?;
    let mut mistakes = data.task().mistakes(&test, data);
    let one_task = outcomes.resolved.task.groups.is_empty();
    let texts = !tokenizer.reads_pictures();
    if let (Kind::Classify, true, Some(mistakes)) = (data.kind, one_task && texts, &mut mistakes) {
        erasure::mark(mistakes, data, &model, tokenizer, options.precision.kernel())?;
    }
    outcomes.slices = slices(&test, &data.test, metric, &predicates, judge.resamples)?;
    outcomes.mistakes = mistakes;
    outcomes.test = Some(test);
    Ok(())
}

/// Whether a threshold is better than one half by more than the luck of the development set: the lower end of the 95%
/// interval of the gain is above zero. On a few hundred texts the best threshold is mostly noise, and taking it costs
/// on the test data (measured: dev/LOG.md).
fn clear_gain(dev: &Outcome, threshold: f64, metric: &Metric) -> Result<bool, Error> {
    let tuned = dev.clone().with_thresholds(&[threshold])?;
    let difference = Bootstrap::default().difference(&tuned, dev, metric)?;
    Ok(if metric.higher_is_better() {
        difference.interval.lower > 0.0
    } else {
        difference.interval.upper < 0.0
    })
}

/// The seed of a recipe, or the default one.
pub(crate) fn seed_of(recipe: &Recipe) -> Result<u64, Error> {
    match recipe.train.get("seed") {
        None => Ok(TrainOptions::default().seed),
        Some(value) => value.as_integer().and_then(|n| u64::try_from(n).ok()).ok_or_else(|| Error::Recipe {
            place: "[train]".to_string(),
            reason: format!("seed: expected a whole number of at least 0, got {value}"),
        }),
    }
}

/// The recipe with every default filled in.
fn resolve(
    recipe: &Recipe,
    data: &Prepared,
    source: &Found,
    hidden: usize,
) -> Result<(Recipe, TrainOptions), Error> {
    let classes = data.train.dataset.examples.iter().any(|it| matches!(it.label, Some(Label::One(_))));
    let facts = Facts {
        examples: data.train.len(),
        labels: data.labels.len().max(1),
        kind: data.kind,
        hidden,
        drawn: classes && matches!(data.kind, Kind::Embed | Kind::Similarity),
    };
    let options = recipe.train_options(&facts)?;
    let mut resolved = recipe.clone();
    let task = &mut resolved.task;
    task.kind = Some(data.kind);
    if data.task().pools() {
        let pool = if recipe.freezes_encoder() { Pooling::Mean } else { Pooling::Family };
        task.pool.get_or_insert(pool);
    }
    if let HeadSpec::Embed { pool, .. } = head_of(recipe, data, &source.path)? {
        task.pool = Some(pool);
        task.loss = Some(tasks::embed::loss(data.kind, task, hidden)?.kind);
    }
    task.max_length = Some(data.max_length);
    task.class_weights.get_or_insert_with(|| "none".to_string());
    task.positive = data.positive.and_then(|class| data.labels.get(class).cloned());
    data.task().decide(task, data);
    task.metric.get_or_insert_with(|| data.task().default_metric(data).to_string());
    resolved.batch.examples = Some(recipe.batch_examples(&facts));
    resolved.data.dev_share.get_or_insert(if recipe.data.dev.is_some() { 0.0 } else { 0.1 });
    resolved.data.test_share.get_or_insert(if recipe.data.test.is_some() { 0.0 } else { 0.1 });
    resolved.train = toml::Table::try_from(&options)
        .map_err(|e| Error::Recipe { place: "[train]".to_string(), reason: e.to_string() })?;
    resolved.pinned.model = source.sha256.clone();
    resolved.pinned.data = Some(data.fingerprint.clone());
    Ok((resolved, options))
}

fn check_unchanged(recipe: &Recipe, resolved: &Recipe) -> Result<(), Error> {
    let pairs = [
        ("the model", &recipe.pinned.model, &resolved.pinned.model),
        ("the data", &recipe.pinned.data, &resolved.pinned.data),
    ];
    for (what, then, now) in pairs {
        if let (Some(then), Some(now)) = (then, now)
            && then != now
        {
            return Err(Error::Changed { what, then: then.clone(), now: now.clone() });
        }
    }
    Ok(())
}

/// Writes a recipe into a run folder, under one of its names.
///
/// # Errors
/// A full disk.
pub(crate) fn write_recipe(folder: &Path, name: &str, recipe: &Recipe) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(Error::file(folder))?;
    let text = toml::to_string(recipe)
        .map_err(|e| Error::Recipe { place: name.to_string(), reason: e.to_string() })?;
    Ok(topwork_weights::atomic::write(folder.join(name), text.as_bytes())?)
}

/// Events of a run from its log: a resumed run's report tells all of it.
pub(crate) fn read_events(folder: &Path) -> Result<Vec<Event>, Error> {
    let path = folder.join("log.jsonl");
    let text = fs::read_to_string(&path).map_err(Error::file(&path))?;
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}
