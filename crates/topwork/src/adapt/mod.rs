//! From one domain or task to another: ways to use what a source has, and what the target has without labels, compared on the
//! target.
//!
//! A way says where it starts, whose labels it learns, and what texts beside are there for ([`Lesson`]); all of them use the same
//! parts of the data, which is divided once. A run for each way and seed, in a folder of its own; what is finished is taken as it
//! is, what was interrupted is gone on with. A run that learns the source's labels chooses its checkpoint on the source's
//! development data: of the target's labels it sees none.
//!
//! Paper: Mou et al. 2016, "How Transferable are Neural Networks in NLP Applications?", section 3.2 (INIT, MULT and both),
//! <https://arxiv.org/abs/1603.06111>
//!
//! Paper: Gururangan et al. 2020, "Don't Stop Pretraining", sections 3 and 4 (domain- and task-adaptive pretraining),
//! <https://arxiv.org/abs/2004.10964>

mod table;

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::json;
use topwork_train::metrics::Metric;

use crate::divided::{Heads, Stage, few_labels, stages};
use crate::error::Error;
use crate::evaluate::evaluate;
use crate::glue::{Context, keep, precision, read_kept, remove, same_settings};
use crate::nearest::methods;
use crate::prepare;
use crate::recipe::{BesideRecipe, DataRecipe, Kind, Lesson, Recipe};
use crate::seeds::seconds;

/// Where a way starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// The pretrained model.
    Pretrained,
    /// What the source's labels taught.
    Source,
    /// The pretrained model, pretrained further on the target's texts: words behind masks.
    Masked,
}

/// Whose labels a way learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Labels {
    Source,
    Target,
}

/// A way to use a source.
#[derive(Debug)]
pub struct Way {
    /// Kebab-case name.
    pub name: &'static str,
    /// One line.
    pub about: &'static str,
    start: Start,
    labels: Labels,
    beside: Option<Lesson>,
}

impl Way {
    /// Whether what starts so, or teaches, must be there.
    fn needs(&self, start: Start) -> bool {
        self.start == start || (start == Start::Source && self.beside == Some(Lesson::Teacher))
    }
}

/// Every way, in the order of the table.
pub const WAYS: &[Way] = &[
    Way {
        name: "source-only",
        about: "the source's labels are learnt, the target's not",
        start: Start::Pretrained,
        labels: Labels::Source,
        beside: None,
    },
    Way {
        name: "likeness",
        about: "the source's labels, of texts that are like the target's more often",
        start: Start::Pretrained,
        labels: Labels::Source,
        beside: Some(Lesson::Likeness),
    },
    Way {
        name: "dann",
        about: "the source's labels, from vectors that do not tell source and target apart; embeddings stay",
        start: Start::Pretrained,
        labels: Labels::Source,
        beside: Some(Lesson::Domain),
    },
    Way {
        name: "self-training",
        about: "the source's labels, and what a model that learnt them answers to the target's texts",
        start: Start::Pretrained,
        labels: Labels::Source,
        beside: Some(Lesson::Teacher),
    },
    Way {
        name: "dapt-source",
        about: "words behind masks in the target's texts first, then the source's labels",
        start: Start::Masked,
        labels: Labels::Source,
        beside: None,
    },
    Way {
        name: "target-only",
        about: "the target's labels alone",
        start: Start::Pretrained,
        labels: Labels::Target,
        beside: None,
    },
    Way {
        name: "consistency",
        about: "the target's labels, and to answer its other texts alike when words are replaced",
        start: Start::Pretrained,
        labels: Labels::Target,
        beside: Some(Lesson::Consistency),
    },
    Way {
        name: "dapt",
        about: "words behind masks in the target's texts first, then the target's labels",
        start: Start::Masked,
        labels: Labels::Target,
        beside: None,
    },
    Way {
        name: "init",
        about: "the source's labels first, then the target's",
        start: Start::Source,
        labels: Labels::Target,
        beside: None,
    },
    Way {
        name: "mult",
        about: "the labels of both in the same steps",
        start: Start::Pretrained,
        labels: Labels::Target,
        beside: Some(Lesson::Labels),
    },
    Way {
        name: "mult-init",
        about: "the source's labels first, then those of both in the same steps",
        start: Start::Source,
        labels: Labels::Target,
        beside: Some(Lesson::Labels),
    },
];

/// Ways by their names, in the order given, each once.
///
/// # Errors
/// [`Error::Task`] with the nearest name.
pub fn ways(names: &[String]) -> Result<Vec<&'static Way>, Error> {
    methods(names, WAYS, |way| way.name)
}

/// What is to be done.
pub struct Plan<'a> {
    /// The source and the target: what each is called, and its recipe; how to train comes from the target's.
    pub tasks: &'a [(String, Recipe); 2],
    /// Texts of the target without labels; else those to learn from, whose labels are then not looked at.
    pub unlabelled: Option<&'a Path>,
    /// Most of the target's texts that have a label to learn from; the others have none.
    pub labels: Option<usize>,
    /// The share of the loss that is the source's where both are learnt in the same steps.
    pub share: Option<f32>,
    /// Passes over the target's texts where words behind masks are learnt.
    pub masked_epochs: usize,
    /// The ways; the others are held against the first.
    pub ways: Vec<&'static Way>,
    /// A run for each seed.
    pub seeds: Vec<u64>,
    /// Keep the models of all runs.
    pub keep_models: bool,
    /// The folder of everything.
    pub folder: &'a Path,
}

/// One run: `adapt.json` in its folder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Run {
    /// The way.
    pub way: String,
    /// The seed.
    pub seed: u64,
    /// The score on the target's test data; `None` where the metric has no value there.
    pub target: Option<f64>,
    /// The score on the source's; `None` where the metric has no value there, or the head knows nothing of its labels.
    pub source: Option<f64>,
    /// Seconds of training, those of what it starts from too.
    pub seconds: f64,
    /// Labelled texts that were learnt from: of the source, of the target.
    pub labelled: [usize; 2],
}

/// What came out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Results {
    /// The model.
    pub model: String,
    /// What the source and the target are called.
    pub tasks: [String; 2],
    /// Their texts: to learn from, to choose by, to measure on.
    pub texts: [[usize; 3]; 2],
    /// Texts of the target whose labels are not looked at, where some way uses them.
    pub unlabelled: usize,
    /// The metric.
    pub metric: String,
    /// False for metrics where less is better.
    pub higher_is_better: bool,
    /// The ways, in the order asked for.
    pub ways: Vec<String>,
    /// The runs.
    pub runs: Vec<Run>,
    /// The run that was stopped, if one was: the same command goes on with it.
    pub interrupted: Option<PathBuf>,
}

const FINISHED: &str = "adapt.json";

/// Does everything that is not done yet, and tells `each` of the results after every run.
///
/// # Errors
/// Data that is not there or is no task with one label a text; a folder that holds runs of other settings; what goes wrong in a
/// run.
pub fn run(
    plan: &Plan,
    context: &Context,
    each: &mut dyn FnMut(&Results) -> Result<(), Error>,
) -> Result<Results, Error> {
    let [(source, _), (target, recipe)] = plan.tasks;
    let metric = recipe.task.metric.clone().unwrap_or_else(|| "accuracy".to_string());
    let mut results = Results {
        model: recipe.model.clone(),
        tasks: [source.clone(), target.clone()],
        metric: metric.clone(),
        ways: plan.ways.iter().map(|way| way.name.to_string()).collect(),
        ..Results::default()
    };
    for &seed in &plan.seeds {
        let folder = plan.folder.join(format!("seed-{seed}"));
        let data = folder.join("data");
        // With the same labels one head does for both; else each has its own.
        let (stages, heads) = match stages(plan.tasks, Heads::Shared, seed, &data, context) {
            Err(Error::Task(_)) => {
                (stages(plan.tasks, Heads::Own, seed, &folder.join("data-own"), context)?, Heads::Own)
            }
            stages => (stages?, Heads::Shared),
        };
        let [source, target] = stages.as_slice() else {
            return Err(Error::Task("from one task to another takes two".to_string()));
        };
        results.higher_is_better =
            Metric::parse(&metric, topwork_train::metrics::Task::Classes, &target.labels, None)?
                .higher_is_better();
        let study = Study::new(plan, seed, (&folder, heads), [source, target], &metric, context)?;
        results.texts = [source.texts, [study.labelled, target.texts[1], target.texts[2]]];
        results.unlabelled = study.unlabelled_texts;
        for way in &plan.ways {
            let Some(run) = study.way(way)? else {
                results.interrupted = Some(study.folder.join(way.name));
                return Ok(results);
            };
            results.runs.push(run);
            each(&results)?;
        }
        study.sweep(&["source-only", MASKED], &["best"])?;
    }
    Ok(results)
}

/// The folder of further pretraining.
const MASKED: &str = "masked";

/// One seed of a study.
struct Study<'a> {
    plan: &'a Plan<'a>,
    seed: u64,
    folder: &'a Path,
    heads: Heads,
    source: &'a Stage,
    target: &'a Stage,
    metric: &'a str,
    context: &'a Context<'a>,
    /// The target's texts with labels, and how many they are.
    few: PathBuf,
    labelled: usize,
    /// The target's texts without, and how many they are.
    unlabelled: PathBuf,
    unlabelled_texts: usize,
}

/// A finished run: where its model is, and how long all of it took.
struct Done {
    model: PathBuf,
    seconds: f64,
}

impl<'a> Study<'a> {
    fn new(
        plan: &'a Plan<'a>,
        seed: u64,
        (folder, heads): (&'a Path, Heads),
        [source, target]: [&'a Stage; 2],
        metric: &'a str,
        context: &'a Context<'a>,
    ) -> Result<Self, Error> {
        let (few, labelled) = few_labels(target, plan.labels, seed)?;
        let unlabelled = match plan.unlabelled {
            Some(path) => path.to_path_buf(),
            None => target.file("train"),
        };
        let unlabelled_texts = prepare::unlabelled(&unlabelled, &target.columns())?.len();
        Ok(Study {
            plan,
            seed,
            folder,
            heads,
            source,
            target,
            metric,
            context,
            few,
            labelled,
            unlabelled,
            unlabelled_texts,
        })
    }

    /// The recipe of a way that starts from a model.
    fn recipe(&self, way: &Way, model: &Path) -> Recipe {
        let mut recipe = self.plan.tasks[1].1.clone();
        recipe.model = model.display().to_string();
        let (train, chosen) = match way.labels {
            Labels::Source => (self.source.file("train"), self.source),
            Labels::Target => (self.few.clone(), self.target),
        };
        let columns = self.target.columns();
        recipe.data = DataRecipe {
            train,
            dev: Some(chosen.file("dev")),
            test: Some(self.target.file("test")),
            ..columns
        };
        recipe.task.kind = Some(Kind::Classify);
        recipe.task.max_length = Some(self.source.max_length.max(self.target.max_length));
        recipe.task.metric = Some(self.metric.to_string());
        if self.heads == Heads::Own {
            recipe.task.groups = vec![self.target.labels.clone(), self.source.labels.clone()];
        }
        recipe.report.baseline = false;
        recipe.report.threshold = false;
        recipe.beside = way.beside.map(|lesson| BesideRecipe {
            data: if lesson == Lesson::Labels { self.source.file("train") } else { self.unlabelled.clone() },
            lesson,
            weight: self.plan.share.filter(|_| lesson == Lesson::Labels),
            teachers: if lesson == Lesson::Teacher { vec![self.taught()] } else { Vec::new() },
            ..BesideRecipe::default()
        });
        if way.beside == Some(Lesson::Domain) {
            // Rows of words that one domain has alone would learn nothing but to deceive.
            let embeddings = || toml::Value::Array(vec![toml::Value::String("embed".to_string())]);
            recipe.train.entry("freeze").or_insert_with(embeddings);
        }
        recipe.train.insert("seed".to_string(), toml::Value::Integer(self.seed as i64));
        recipe
    }

    /// Where the model is that has learnt the source's labels.
    fn taught(&self) -> PathBuf {
        self.folder.join("source-only").join("best")
    }

    /// A way, with what it starts from; `None` if it was interrupted.
    fn way(&self, way: &Way) -> Result<Option<Run>, Error> {
        let folder = self.folder.join(way.name);
        let path = folder.join(FINISHED);
        let Some(mut start) = self.start(way.start)? else { return Ok(None) };
        if way.beside == Some(Lesson::Teacher) {
            let Some(teacher) = self.start(Start::Source)? else { return Ok(None) };
            start.seconds += teacher.seconds;
        }
        let recipe = self.recipe(way, &start.model);
        same_settings(&folder, &recipe)?;
        if let Some(run) = read_kept(&path)? {
            return Ok(Some(run));
        }
        (self.context.note)(&format!("{} with seed {}: {}", way.name, self.seed, folder.display()));
        let outcomes = self.context.train(&recipe, &folder)?;
        if outcomes.run.interrupted {
            return Ok(None);
        }
        let score = |stage: &Stage| {
            let measured =
                evaluate(&outcomes.best(), &stage.measured_on(), precision(&outcomes.resolved), 0)?;
            Ok::<_, Error>(measured.measured.evaluation.value(self.metric).ok())
        };
        // A head of its own that nothing taught says nothing.
        let knows = |labels: Labels| {
            let both = way.start == Start::Source || way.beside == Some(Lesson::Labels);
            self.heads == Heads::Shared || way.labels == labels || (labels == Labels::Source && both)
        };
        let of = |labels, stage| if knows(labels) { score(stage) } else { Ok(None) };
        let source =
            way.labels == Labels::Source || way.beside == Some(Lesson::Labels) || way.start == Start::Source;
        let run = Run {
            way: way.name.to_string(),
            seed: self.seed,
            target: of(Labels::Target, self.target)?,
            source: of(Labels::Source, self.source)?,
            seconds: seconds(&outcomes.events) + start.seconds,
            labelled: [
                if source { self.source.texts[0] } else { 0 },
                if way.labels == Labels::Target { self.labelled } else { 0 },
            ],
        };
        keep(&path, &run)?;
        let needed = way.name == "source-only" && self.plan.ways.iter().any(|way| way.needs(Start::Source));
        self.sweep(&[way.name], if needed { &["checkpoints"] } else { &["checkpoints", "best"] })?;
        Ok(Some(run))
    }

    /// What a way starts from, trained if it is not there; `None` if it was interrupted.
    fn start(&self, start: Start) -> Result<Option<Done>, Error> {
        let pretrained = PathBuf::from(&self.plan.tasks[1].1.model);
        match start {
            Start::Pretrained => Ok(Some(Done { model: pretrained, seconds: 0.0 })),
            Start::Source => {
                let model = self.taught();
                if !model.is_dir() && self.unfinished(Start::Source) {
                    // Finished before some way needed it: its settings are the same, and so are its weights.
                    self.forget("source-only")?;
                }
                let Some(run) = self.way(&WAYS[0])? else { return Ok(None) };
                Ok(Some(Done { model, seconds: run.seconds }))
            }
            Start::Masked => self.masked(),
        }
    }

    /// Whether a way that starts so has no result yet.
    fn unfinished(&self, start: Start) -> bool {
        let open = |way: &&&Way| way.needs(start) && !self.folder.join(way.name).join(FINISHED).is_file();
        self.plan.ways.iter().any(|way| open(&way))
    }

    /// Takes a run back whose model is gone.
    fn forget(&self, name: &str) -> Result<(), Error> {
        let folder = self.folder.join(name);
        match folder.exists() {
            true => fs::remove_dir_all(&folder).map_err(Error::file(&folder)),
            false => Ok(()),
        }
    }

    /// The model that has learnt words behind masks in the target's texts; `None` if it was interrupted.
    fn masked(&self) -> Result<Option<Done>, Error> {
        let folder = self.folder.join(MASKED);
        let (path, model) = (folder.join(FINISHED), folder.join("best"));
        if !model.is_dir() && path.is_file() && self.unfinished(Start::Masked) {
            self.forget(MASKED)?;
        }
        let base = &self.plan.tasks[1].1;
        let mut recipe = Recipe { model: base.model.clone(), ..Recipe::default() };
        let columns = prepare::texts_alone(&self.unlabelled, &self.target.columns());
        recipe.data = DataRecipe { train: self.unlabelled.clone(), ..columns };
        recipe.task.kind = Some(Kind::MaskedLm);
        recipe.task.apart = true;
        recipe.task.max_length = Some(self.target.max_length);
        recipe.batch.examples = Some(32);
        recipe.report.baseline = false;
        recipe.train.insert("epochs".to_string(), toml::Value::Integer(self.plan.masked_epochs as i64));
        recipe.train.insert("seed".to_string(), toml::Value::Integer(self.seed as i64));
        if let Some(precision) = base.train.get("precision") {
            recipe.train.insert("precision".to_string(), precision.clone());
        }
        same_settings(&folder, &recipe)?;
        if let Some(seconds) = read_kept::<f64>(&path)? {
            return Ok(Some(Done { model, seconds }));
        }
        let note = format!("words behind masks with seed {}: {}", self.seed, folder.display());
        (self.context.note)(&note);
        let outcomes = self.context.train(&recipe, &folder)?;
        if outcomes.run.interrupted {
            return Ok(None);
        }
        let seconds = seconds(&outcomes.events);
        keep(&path, &json!(seconds))?;
        self.sweep(&[MASKED], &["checkpoints"])?;
        Ok(Some(Done { model, seconds }))
    }

    /// Removes what is large of some runs, unless everything is to be kept.
    fn sweep(&self, runs: &[&str], names: &[&str]) -> Result<(), Error> {
        for run in runs.iter().filter(|_| !self.plan.keep_models) {
            remove(&self.folder.join(run), names)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_are_read_by_name_and_each_is_another() {
        assert_eq!(WAYS.len(), 11, "count the ways when you add one");
        let kinds: Vec<_> = WAYS.iter().map(|way| (way.start, way.labels, way.beside)).collect();
        assert!((1..kinds.len()).all(|at| !kinds[..at].contains(&kinds[at])));
        let read = |name: &str| ways(&[name.to_string()]);
        assert_eq!(read("dann").unwrap()[0].name, "dann");
        assert!(read("dan").unwrap_err().to_string().contains("did you mean \"dann\""));
        // What others start from.
        assert_eq!(
            (WAYS[0].name, WAYS[0].start, WAYS[0].labels),
            ("source-only", Start::Pretrained, Labels::Source)
        );
    }
}
