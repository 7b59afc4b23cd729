//! What a run says of itself at the end: the tables on the terminal, `report.html`, `card.md`.

use std::fmt::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use topwork_data::Labels;
use topwork_models::source::is_adapted;
use topwork_train::Event;
use topwork_train::metrics::{Evaluation, Metric};

use crate::adapter;
use crate::datasets;
use crate::error::Error;
use crate::imbalance::Costs;
use crate::job::Outcomes;
use crate::kept::Kept;
use crate::linear_baseline::LinearBaseline;
use crate::recipe::Kind;
use crate::report::{
    self, Calibration, ClassScore, Confusion, DataAccount, Fact, Headline, Lengths, LoadAccount, Method,
    Methods, ModelFacts, Report, Score, Slice, Slices, Training,
};
use crate::scoring;
use crate::slices::SliceScore;
use crate::tasks::{Judge, Measured, Part};

/// Rows of the step curves at most: more than a chart has pixels helps nobody.
const CURVE: usize = 400;

/// Writes `report.html`, `card.md` and `metrics.json` into the run folder, and the card into `best/`; gives the path of the report.
///
/// # Errors
/// The files cannot be written.
pub fn write(outcomes: &Outcomes) -> Result<std::path::PathBuf, Error> {
    let report = build(outcomes)?;
    let path = outcomes.folder.join("report.html");
    topwork_weights::atomic::write(&path, report::html(&report).as_bytes())?;
    let card = report::card(&report);
    topwork_weights::atomic::write(outcomes.folder.join("card.md"), card.as_bytes())?;
    topwork_weights::atomic::write(outcomes.folder.join("best").join("README.md"), card.as_bytes())?;
    let measures = Measures::of(outcomes)?;
    let text = serde_json::to_string_pretty(&measures)
        .map_err(|e| Error::Task(format!("{MEASURES}: cannot be written: {e}")))?;
    topwork_weights::atomic::write(outcomes.folder.join(MEASURES), text.as_bytes())?;
    Ok(path)
}

/// Name of what a run has measured, for programs.
pub const MEASURES: &str = "metrics.json";

/// What a run has measured on its test data. Nothing of it depends on the clock: the times are in `log.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    /// The metric that chose the checkpoint.
    pub metric: String,
    /// Its best value on the development data, where it had one.
    pub development: Option<f64>,
    /// The tuned threshold of a task of two labels.
    pub threshold: Option<f64>,
    /// What answers cost on the test data, where the recipe says what mistakes cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub costs: Option<Costs>,
    /// What the model knew before, and has kept, where the recipe asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Kept>,
    /// Everything measured on the test data.
    pub test: Option<Evaluation>,
    /// The same of the linear baseline.
    pub baseline: Option<Evaluation>,
    /// The metric on parts of the test data.
    pub slices: Vec<SliceScore>,
}

impl Measures {
    fn of(outcomes: &Outcomes) -> Result<Self, Error> {
        let baseline = outcomes.baseline.as_ref();
        let of_baseline = |it: &LinearBaseline| scoring::evaluation(&it.outcome, &outcomes.data.labels, None);
        Ok(Measures {
            metric: metric_name(outcomes),
            development: outcomes.run.best.and_then(|(_, score)| score),
            threshold: outcomes.threshold,
            costs: outcomes.costs,
            kept: outcomes.kept.clone(),
            test: outcomes.test.as_ref().map(|test| test.evaluation.clone()),
            baseline: baseline.map(of_baseline).transpose()?,
            slices: outcomes.slices.clone(),
        })
    }
}

/// The report of a finished run.
///
/// # Errors
/// A metric that cannot be computed.
pub fn build(outcomes: &Outcomes) -> Result<Report, Error> {
    let data = &outcomes.data;
    let metric = metric_name(outcomes);
    let data_name = match &outcomes.resolved.data.set {
        Some(name) => name.clone(),
        None => stem(&outcomes.resolved.data.train),
    };
    let title = format!("{} on {data_name}", title_of(outcomes));
    let mut report = Report {
        subtitle: format!(
            "{} trained on {} {}",
            outcomes.source.reference,
            data.train.dataset.len(),
            read(outcomes)
        ),
        title,
        methods: Some(methods(outcomes)?),
        training: Some(training(outcomes)),
        lengths: Some(lengths(outcomes)),
        data: Some(data_account(outcomes)),
        load: Some(LoadAccount {
            source: outcomes.source.reference.clone(),
            loaded: outcomes.load.loaded.len() as u64,
            ignored: outcomes.load.ignored.clone(),
            fresh: outcomes.load.fresh.clone(),
        }),
        recipe: toml::to_string(&outcomes.resolved).ok(),
        environment: environment(outcomes),
        ..Report::default()
    };
    let Some(test) = &outcomes.test else { return Ok(report) };
    report.headline = headline(&test.evaluation, &metric);
    report.notes = remarks(outcomes, &test.evaluation);
    report.classes = test
        .evaluation
        .classes
        .iter()
        .map(|c| ClassScore {
            label: c.label.clone(),
            precision: c.precision,
            recall: c.recall,
            f1: c.f1,
            support: c.actual,
        })
        .collect();
    report.confusion = test
        .evaluation
        .confusion
        .as_ref()
        .map(|confusion| Confusion { labels: data.labels.clone(), counts: confusion.cells.clone() });
    if let Ok(error) = test.evaluation.value("ece") {
        let bins = test.evaluation.calibration.iter().filter(|b| b.examples > 0);
        let bins = bins.map(|b| (b.confidence, b.accuracy, b.examples)).collect();
        report.calibration = Some(Calibration { bins, error });
    }
    report.slices = parts(outcomes, test, &metric);
    report.layers = layer_shares(outcomes);
    report.mistakes.clone_from(&outcomes.mistakes);
    report.model = Some(ModelFacts {
        base: outcomes.source.reference.clone(),
        licence: outcomes.source.licence.clone(),
        architecture: format!(
            "{}, {} parameters",
            model_class(outcomes),
            report::count(outcomes.total_values as u64)
        ),
        task: title_of(outcomes),
        how_to_use: how_to_use(outcomes),
        in_python: in_python(outcomes),
        library: if is_adapted(&outcomes.best()) { adapter::LIBRARY.to_string() } else { String::new() },
        limits: limits(outcomes),
    });
    Ok(report)
}

/// The tables a run ends with on the terminal.
pub fn summary(outcomes: &Outcomes) -> String {
    let mut out = String::new();
    let metric = metric_name(outcomes);
    if let Some(test) = &outcomes.test {
        let _ = writeln!(out, "test set, {} texts:\n\n{}", test.evaluation.examples, test.evaluation);
        if let Some(baseline) = &outcomes.baseline {
            let evaluation = scoring::evaluation(&baseline.outcome, &outcomes.data.labels, None);
            if let (Ok(ours), Ok(theirs)) =
                (test.evaluation.value(&metric), evaluation.and_then(|e| Ok(e.value(&metric)?)))
            {
                let _ = writeln!(
                    out,
                    "{metric} {ours:.4}; baseline (TF-IDF, linear) {theirs:.4}: {:+.4}",
                    ours - theirs
                );
            }
        }
    }
    let _ = write!(
        out,
        "{} of {} parameters trained, {} steps, {:.1} s in all",
        report::count(outcomes.run.trainable_values as u64),
        report::count(outcomes.total_values as u64),
        outcomes.run.steps,
        outcomes.seconds
    );
    out
}

fn metric_name(outcomes: &Outcomes) -> String {
    outcomes.resolved.task.metric.clone().unwrap_or_else(|| "loss".to_string())
}

fn stem(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

fn of_pictures(outcomes: &Outcomes) -> bool {
    outcomes.data.train.dataset.is_of_pictures()
}

/// What the model has learnt from.
fn read(outcomes: &Outcomes) -> &'static str {
    if of_pictures(outcomes) { "pictures" } else { "texts" }
}

/// What the task is called: `Text classification`, or of pictures `Picture classification`.
fn title_of(outcomes: &Outcomes) -> String {
    let title = outcomes.data.task().title();
    if of_pictures(outcomes) { title.replacen("Text", "Picture", 1) } else { title.to_string() }
}

/// A command that uses the trained model.
fn how_to_use(outcomes: &Outcomes) -> String {
    let folder = outcomes.best().display().to_string();
    match of_pictures(outcomes) && outcomes.data.task().pools() {
        true => format!("topwork predict {folder} picture.png"),
        false => outcomes.data.task().how_to_use(&folder),
    }
}

/// How transformers gives the same answers. A head that pools in a way no class of transformers does stands in a file of
/// its own, and is five lines.
fn in_python(outcomes: &Outcomes) -> String {
    use topwork_models::Pooling;
    let folder = outcomes.folder.join("best").display().to_string();
    if is_adapted(&outcomes.best()) {
        return adapter::in_python(&folder);
    }
    if !outcomes.data.task().pools() {
        return outcomes.data.task().in_python(&folder);
    }
    if of_pictures(outcomes) {
        // A head of our own for pictures is no class of transformers.
        let classes = matches!(outcomes.data.kind, Kind::Classify | Kind::MultiLabel);
        let own = !classes || outcomes.best().join(topwork_models::model::HEAD_WEIGHTS).is_file();
        let code = format!(
            "from transformers import pipeline\n\nprint(pipeline(\"image-classification\", {folder:?})(\"picture.png\"))\n"
        );
        return if own { String::new() } else { code };
    }
    let pooled = match outcomes.resolved.task.pool.unwrap_or(Pooling::Family) {
        Pooling::Family => {
            return outcomes.data.task().in_python(&folder);
        }
        Pooling::Cls => "hidden[:, 0]",
        Pooling::Last => "hidden[torch.arange(len(hidden)), mask.squeeze(-1).sum(1).long() - 1]",
        Pooling::Mean => "(hidden * mask).sum(1) / mask.sum(1)",
        Pooling::Max => "hidden.masked_fill(mask == 0, float(\"-inf\")).amax(1)",
        Pooling::Attention => {
            "(hidden * (hidden @ head[\"head.pool.query\"].T).masked_fill(mask == 0, float(\"-inf\")).softmax(1)).sum(1)"
        }
    };
    let answer = match outcomes.data.kind {
        Kind::MultiLabel => "logits.sigmoid()",
        Kind::Regress => "logits",
        _ => "logits.softmax(-1)",
    };
    format!(
        "import torch\nfrom safetensors.torch import load_file\nfrom transformers import AutoModel, AutoTokenizer\n\n\
         folder = {folder:?}\n\
         tokenizer, encoder = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()\n\
         head = load_file(f\"{{folder}}/{}\")\n\
         limits = dict(padding=True, truncation=True, max_length={})\n\
         inputs = tokenizer([\"some text\"], return_tensors=\"pt\", **limits)\n\
         with torch.no_grad():\n    \
             hidden, mask = encoder(**inputs).last_hidden_state, inputs[\"attention_mask\"].unsqueeze(-1)\n    \
             pooled = {pooled}\n    \
             logits = pooled @ head[\"head.out.weight\"].T + head[\"head.out.bias\"]\n\
         print({answer})\n",
        topwork_models::model::HEAD_WEIGHTS,
        outcomes.data.max_length,
    )
}

fn model_class(outcomes: &Outcomes) -> String {
    match outcomes.resolved.task.pool.filter(|_| outcomes.data.task().pools()) {
        Some(pool) => format!("{pool:?} pooling").to_lowercase(),
        None => title_of(outcomes).to_lowercase(),
    }
}

fn score(evaluation: &Evaluation, metric: &str) -> Option<Score> {
    let value = evaluation.value(metric).ok()?;
    Some(Score { value, interval: evaluation.interval(metric).map(|i| (i.lower, i.upper)) })
}

fn methods(outcomes: &Outcomes) -> Result<Methods, Error> {
    let metric = metric_name(outcomes);
    let mut rows = Vec::new();
    if let Some(baseline) = &outcomes.baseline {
        let judge = Judge { resamples: outcomes.resolved.report.resamples, ..outcomes.data.judge() };
        let measured = Measured::of_outcome(baseline.outcome.clone(), &judge, None)?;
        if let Some(score) = score(&measured.evaluation, &metric) {
            rows.push(Method {
                name: "TF-IDF, linear".to_string(),
                detail: "words and pairs of words, regularised linear model".to_string(),
                score,
                seconds: Some(baseline.seconds),
                baseline: true,
                ..Method::default()
            });
        }
    }
    if let Some(score) = outcomes.test.as_ref().and_then(|test| score(&test.evaluation, &metric)) {
        let frozen = outcomes.resolved.freezes_encoder();
        rows.push(Method {
            name: if frozen { "frozen encoder" } else { "fine-tuned" }.to_string(),
            detail: format!("{} steps", outcomes.run.steps),
            score,
            trained_parameters: Some(outcomes.run.trainable_values as u64),
            seconds: Some(outcomes.run.seconds),
            memory: peak_memory(),
            main: true,
            ..Method::default()
        });
    }
    Ok(Methods { metric, texts: outcomes.data.test.dataset.len() as u64, rows })
}

fn training(outcomes: &Outcomes) -> Training {
    let mut training = Training { metric: metric_name(outcomes), ..Training::default() };
    for event in &outcomes.events {
        match event {
            Event::Step { step, loss, learning_rate, .. } => {
                training.train_loss.push((*step as u64, *loss));
                training.learning_rate.push((*step as u64, *learning_rate));
            }
            Event::Evaluation { step, score, values, .. } => {
                training.dev_metric.extend(score.map(|score| (*step as u64, score)));
                let loss = values.iter().find(|(name, _)| name == "loss");
                training.dev_loss.extend(loss.map(|(_, value)| (*step as u64, *value)));
            }
            Event::Start { .. }
            | Event::Checkpoint { .. }
            | Event::Variant { .. }
            | Event::Plan { .. }
            | Event::EarlyStop { .. }
            | Event::Reached { .. }
            | Event::TimeOver { .. }
            | Event::Interrupted { .. }
            | Event::End { .. } => {}
        }
    }
    for curve in [&mut training.train_loss, &mut training.learning_rate] {
        *curve = thinned(curve);
    }
    training.best_step = outcomes.run.best.map(|(step, _)| step as u64);
    let batch = outcomes.resolved.batch.examples.unwrap_or(1).max(1);
    training.steps_per_epoch = Some(outcomes.data.train.len().div_ceil(batch) as u64);
    training
}

/// Means over runs of neighbouring points.
fn thinned(curve: &[(u64, f64)]) -> Vec<(u64, f64)> {
    let run = curve.len().div_ceil(CURVE).max(1);
    let mean = |part: &[(u64, f64)]| {
        let middle = part[part.len() / 2].0;
        (middle, part.iter().map(|(_, value)| value).sum::<f64>() / part.len() as f64)
    };
    curve.chunks(run).map(mean).collect()
}

fn lengths(outcomes: &Outcomes) -> Lengths {
    let data = &outcomes.data;
    let windows = data.task().windows();
    let cut = data.lengths.cut_at(if windows { usize::MAX } else { data.max_length });
    Lengths {
        bins: data.lengths.bins().iter().map(|b| (b.from as u64, b.to as u64, b.count as u64)).collect(),
        maximum: (!windows).then_some(data.max_length as u64),
        texts_cut: cut.texts as u64,
        tokens_cut: cut.tokens as u64,
        texts: data.lengths.texts() as u64,
    }
}

fn data_account(outcomes: &Outcomes) -> DataAccount {
    let data = &outcomes.data;
    let parts = [("train", &data.train), ("dev", &data.dev), ("test", &data.test)];
    // Labels of words are not counted with texts.
    let whole = matches!(data.train.inputs.labels, Labels::Class(_) | Labels::Multi { .. });
    let counts = |part: &Part| {
        if !whole {
            return vec![part.dataset.len() as u64];
        }
        part.inputs.labels.counts(data.labels.len()).iter().map(|&n| n as u64).collect()
    };
    let set = outcomes.resolved.data.set.as_deref().and_then(|name| datasets::find(name).ok());
    DataAccount {
        source: outcomes.resolved.data.train.display().to_string(),
        licence: set.and_then(|set| set.licence).map(str::to_string),
        rows: data.read.iter().map(|r| r.rows_read as u64).sum(),
        skipped: data
            .read
            .iter()
            .flat_map(|r| r.skipped.iter().map(|s| (s.reason.clone(), s.count as u64)))
            .collect(),
        duplicates: data.split.as_ref().map_or(0, |s| s.exact as u64),
        near_duplicates: data.split.as_ref().map_or(0, |s| s.near as u64),
        splits: parts.map(|(name, part)| (name.to_string(), counts(part))).to_vec(),
        labels: if whole { data.labels.clone() } else { Vec::new() },
        remarks: data.notes.clone(),
    }
}

fn headline(evaluation: &Evaluation, metric: &str) -> Vec<Headline> {
    let mut names = vec![metric];
    names.extend(evaluation.headline().into_iter().filter(|name| *name != metric).take(3));
    names
        .into_iter()
        .filter_map(|name| {
            let score = score(evaluation, name)?;
            let detail = score
                .interval
                .map_or_else(String::new, |(lower, upper)| format!("95% interval {lower:.3} to {upper:.3}"));
            Some(Headline { name: format!("test {name}"), value: format!("{:.3}", score.value), detail })
        })
        .collect()
}

/// The parts of the test data, if there are any.
fn parts(outcomes: &Outcomes, test: &Measured, metric: &str) -> Option<Slices> {
    let whole = score(&test.evaluation, metric)?;
    let higher =
        Metric::parse(metric, outcomes.data.task().measures(), &outcomes.data.labels, outcomes.data.positive)
            .is_ok_and(|metric| metric.higher_is_better());
    let rows = outcomes.slices.iter().map(|slice| {
        let interval = slice.interval.map(|interval| (interval.lower, interval.upper));
        let worse =
            |(lower, upper): (f64, f64)| if higher { upper < whole.value } else { lower > whole.value };
        Slice {
            name: slice.name.clone(),
            texts: slice.examples as u64,
            score: slice.value.map(|value| Score { value, interval }),
            worse: interval.is_some_and(worse),
        }
    });
    let rows: Vec<Slice> = rows.collect();
    (!rows.is_empty()).then(|| Slices { metric: metric.to_string(), whole, rows })
}

fn remarks(outcomes: &Outcomes, evaluation: &Evaluation) -> Vec<String> {
    let mut notes = Vec::new();
    let never = evaluation.never_predicted();
    if !never.is_empty() {
        notes.push(format!("never predicted: {}", never.join(", ")));
    }
    let absent = evaluation.never_true();
    if !absent.is_empty() {
        notes.push(format!(
            "no test text has: {}; nothing here says how well the model finds them",
            absent.join(", ")
        ));
    }
    if let Some(threshold) = outcomes.threshold {
        notes.push(format!("decided at a probability of {threshold:.3}, tuned on the development data"));
    }
    notes.extend(outcomes.costs.map(|costs| costs.line()));
    notes.extend(outcomes.kept.as_ref().map(Kept::line));
    if let Some(weights) = &outcomes.run.best_weights {
        notes.push(format!(
            "the weights that are measured here and saved are those of {weights}, not the last step's"
        ));
    }
    for event in &outcomes.events {
        match event {
            Event::EarlyStop { .. } => {
                notes.push("stopped early: no better score within the patience".to_string());
            }
            Event::Reached { step, score } => {
                notes.push(format!("stopped at step {step}: the score asked for is reached ({score:.4})"));
            }
            Event::TimeOver { step } => {
                notes.push(format!("stopped at step {step}: the minutes given were over"));
            }
            Event::Variant { weights, score: Some(score), .. } => {
                let metric = metric_name(outcomes);
                notes.push(format!("after the last step, weights of {weights}: dev {metric} {score:.4}"));
            }
            _ => {}
        }
    }
    notes
}

/// The shares of a learnt mix, by the layers' names.
pub fn layer_shares(outcomes: &Outcomes) -> Vec<(String, f64)> {
    let name = |at: usize| if at == 0 { "embeddings".to_string() } else { format!("layer {at}") };
    let shares = outcomes.layers.iter().flatten().enumerate();
    shares.map(|(at, &share)| (name(at), f64::from(share))).collect()
}

fn limits(outcomes: &Outcomes) -> Vec<String> {
    let data = &outcomes.data;
    vec![
        format!(
            "Measured on {} texts from the same source as the training data; other texts may do worse.",
            data.test.dataset.len()
        ),
        if data.task().windows() {
            format!("Reads a text in windows of {} tokens.", data.max_length)
        } else if data.kind == Kind::Dialog {
            format!("Reads the persona and the last turns, with the reply {} tokens.", data.max_length)
        } else {
            format!("Reads the first {} tokens of a text.", data.max_length)
        },
    ]
}

fn environment(outcomes: &Outcomes) -> Vec<Fact> {
    let cpu = topwork_kernels::cpu();
    let fact = |name: &str, value: String| Fact { name: name.to_string(), value };
    let train = &outcomes.resolved.train;
    let text =
        |key: &str| train.get(key).map_or_else(String::new, |v| v.to_string().trim_matches('"').to_string());
    let mut facts = vec![
        fact("topwork", env!("CARGO_PKG_VERSION").to_string()),
        fact("kernels", format!("{} on {} threads", cpu.path.name(), cpu.threads)),
        fact("precision", text("precision")),
        fact("seed", text("seed")),
        fact("training", report::seconds(outcomes.run.seconds)),
        fact("whole run", report::seconds(outcomes.seconds)),
    ];
    for (name, options) in train.get("techniques").and_then(toml::Value::as_table).into_iter().flatten() {
        facts.push(fact(&format!("technique {name}"), options.to_string()));
    }
    facts.extend(peak_memory().map(|bytes| fact("peak memory", report::bytes(bytes))));
    facts.extend(outcomes.source.sha256.clone().map(|hash| fact("model sha-256", hash)));
    facts
}

/// The most memory this process has held, where the system tells (Linux).
pub fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kb| kb * 1024)
}
