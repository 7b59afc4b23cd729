//! Ways to adapt one model, compared on the user's own tasks: the same splits, several seeds, one table.
//!
//! A run for each task, way and seed, in a folder of its own; what is finished is taken as it is, what was interrupted is gone on
//! with. Differences are paired: a seed gives every way the same split and the same order of texts.
//!
//! Paper: Dodge et al. 2020, "Fine-Tuning Pretrained Language Models: Weight Initializations, Data Orders, and Early Stopping",
//! section 3 (why one seed is none), <https://arxiv.org/abs/2002.06305>

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use topwork_kernels::held;
use topwork_models::Layers;
use topwork_train::metrics::Metric;
use topwork_weights::WordVectors;

use crate::datasets;
use crate::error::Error;
use crate::glue::{Context, keep, read_kept, remove, same_settings};
use crate::job::Outcomes;
use crate::kept::Kept;
use crate::nearest::methods;
use crate::prepare::labelled;
use crate::recipe::Recipe;
use crate::slices::SliceScore;
use crate::tasks::{Judge, Measured};
use crate::vectors::word_model;

mod table;

/// A way to adapt a model.
pub struct Way {
    /// Kebab-case name.
    pub name: &'static str,
    /// One line.
    pub about: &'static str,
    apply: fn(&mut Recipe),
}

/// Every way, in the order of the table.
pub const WAYS: &[Way] = &[
    Way { name: "full", about: "every parameter is trained", apply: |_| {} },
    Way {
        name: "features",
        about: "the model stays, a head learns on the states of its last layer",
        apply: |recipe| freeze(recipe),
    },
    Way {
        name: "second-to-last",
        about: "the model stays, a head learns on the layer before its last",
        apply: |recipe| features(recipe, Layers::SecondToLast),
    },
    Way {
        name: "sum-last-4",
        about: "the model stays, a head learns on the sum of its last four layers",
        apply: |recipe| features(recipe, Layers::SumLast4),
    },
    Way {
        name: "concat-last-4",
        about: "the model stays, a head learns on its last four layers side by side",
        apply: |recipe| features(recipe, Layers::ConcatLast4),
    },
    Way {
        name: "sum-all",
        about: "the model stays, a head learns on the sum of all layers",
        apply: |recipe| features(recipe, Layers::SumAll),
    },
    Way {
        name: VECTORS,
        about: "no model: a head learns on static word vectors, which stay",
        apply: |recipe| features(recipe, Layers::First),
    },
    Way {
        name: STATIC,
        about: "the model stays, a head learns on its lowest states: words without those around them",
        apply: |recipe| features(recipe, Layers::First),
    },
    Way {
        name: "scalar-mix",
        about: "the model stays, a head learns on a learnt mix of all layers",
        apply: |recipe| features(recipe, Layers::Mix),
    },
    Way {
        name: "lora",
        about: "thin matrices are added to weights",
        apply: |recipe| adapter(recipe, "lora"),
    },
    Way {
        name: "qlora",
        about: "as lora, on weights that lie in four bits",
        apply: |recipe| adapter(recipe, "qlora"),
    },
    Way { name: "dora", about: "as lora, lengths of rows apart", apply: |recipe| adapter(recipe, "dora") },
    Way {
        name: "ia3",
        about: "keys, values and activations are scaled",
        apply: |recipe| adapter(recipe, "ia3"),
    },
    Way {
        name: "houlsby",
        about: "small maps learn after attention and after the feed-forward block",
        apply: |recipe| adapter(recipe, "houlsby"),
    },
    Way {
        name: "pfeiffer",
        about: "small maps learn after the feed-forward block",
        apply: |recipe| adapter(recipe, "pfeiffer"),
    },
    Way {
        name: "compacter",
        about: "small maps as houlsby's, made of shared matrices and thin ones",
        apply: |recipe| adapter(recipe, "compacter"),
    },
    Way { name: "bitfit", about: "only biases learn", apply: |recipe| technique(recipe, "bitfit", &[]) },
    Way {
        name: "gradual",
        about: "layers begin to learn one after the other, from the top down",
        apply: |recipe| technique(recipe, "unfreeze", &[("order", "gradual")]),
    },
    Way {
        name: "chain-thaw",
        about: "the head, then each layer alone, then all",
        apply: |recipe| technique(recipe, "unfreeze", &[("order", "chain-thaw")]),
    },
    Way {
        name: "last-then-all",
        about: "the head, then all",
        apply: |recipe| technique(recipe, "unfreeze", &[("order", "last-then-all")]),
    },
    Way {
        name: "sequential",
        about: "one layer learns at a time, from the top down",
        apply: |recipe| technique(recipe, "unfreeze", &[("order", "sequential")]),
    },
    Way {
        name: "ulmfit",
        about: "layers begin one after the other, deeper ones more slowly, under a slanted triangular schedule",
        apply: |recipe| {
            technique(recipe, "unfreeze", &[("order", "gradual")]);
            technique(recipe, "layer-decay", &[]);
            recipe
                .train
                .insert("schedule".to_string(), toml::Value::String("slanted-triangular".to_string()));
        },
    },
    Way {
        name: "layer-decay",
        about: "deeper layers learn more slowly",
        apply: |recipe| technique(recipe, "layer-decay", &[]),
    },
    Way {
        name: "l2-sp",
        about: "weights are pulled back to the pretrained ones",
        apply: |recipe| technique(recipe, "l2-sp", &[]),
    },
    Way {
        name: "ema",
        about: "an average of the weights, of which older steps are an ever smaller share, is kept",
        apply: |recipe| technique(recipe, "ema", &[]),
    },
    Way {
        name: "wise-ft",
        about: "of weights between the pretrained and the trained ones the best are kept",
        apply: |recipe| technique(recipe, "wise-ft", &[]),
    },
    Way {
        name: "mixout",
        about: "in each step some weights, drawn anew, are the pretrained ones",
        apply: |recipe| technique(recipe, "mixout", &[]),
    },
    Way {
        name: "reinit",
        about: "the uppermost layer begins anew",
        apply: |recipe| technique(recipe, "reinit", &[]),
    },
    Way {
        name: "r-drop",
        about: "texts are seen twice under other dropout, and both answers drawn to each other",
        apply: |recipe| technique(recipe, "r-drop", &[]),
    },
    Way {
        name: SLICES,
        about: "the head has an expert for each part of the data that is named",
        apply: |recipe| recipe.task.slices.clone_from(&recipe.report.slices),
    },
    Way {
        name: "hold",
        about: "hidden states are held near those of the pretrained model",
        apply: |recipe| technique(recipe, "hold", &[]),
    },
];

/// Name of the row of TF-IDF and a linear model.
pub const BASELINE: &str = "linear";

/// Name of the way that reads the model's lowest states.
pub const STATIC: &str = "static";

/// Name of the way whose head has experts for parts of the data.
pub const SLICES: &str = "slices";

/// Name of the way that takes static word vectors in place of the model.
pub const VECTORS: &str = "vectors";

fn features(recipe: &mut Recipe, layers: Layers) {
    freeze(recipe);
    recipe.task.layers = Some(layers);
}

fn freeze(recipe: &mut Recipe) {
    let all = toml::Value::Array(vec![toml::Value::String("encoder".to_string())]);
    recipe.train.insert("freeze".to_string(), all);
}

fn adapter(recipe: &mut Recipe, kind: &str) {
    recipe.adapter.entry("kind").or_insert_with(|| toml::Value::String(kind.to_string()));
}

fn technique(recipe: &mut Recipe, name: &str, options: &[(&str, &str)]) {
    let option = |(key, value): &(&str, &str)| (key.to_string(), toml::Value::String(value.to_string()));
    let options: toml::Table = options.iter().map(option).collect();
    let all = recipe.train.entry("techniques").or_insert_with(|| toml::Value::Table(toml::Table::new()));
    if let Some(all) = all.as_table_mut() {
        all.insert(name.to_string(), toml::Value::Table(options));
    }
}

/// Ways by their names, in the order given, each once.
///
/// # Errors
/// [`Error::Task`] with the nearest name.
pub fn ways(names: &[String]) -> Result<Vec<&'static Way>, Error> {
    methods(names, WAYS, |way| way.name)
}

/// What is to be done.
pub struct Plan<'a> {
    /// The tasks: what each is called, and its recipe.
    pub tasks: &'a [(String, Recipe)],
    /// The ways; the others are held against the first.
    pub ways: Vec<&'static Way>,
    /// The file of static word vectors for the way [`VECTORS`].
    pub vectors: Option<&'a Path>,
    /// A run for each seed.
    pub seeds: Vec<u64>,
    /// Keep the models and checkpoints of all runs: as large as the pretrained model, several times for each run.
    pub keep_models: bool,
    /// The folder of everything.
    pub folder: &'a Path,
}

/// One run: `compare.json` in its folder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Run {
    /// What the task is called.
    pub task: String,
    /// The name of the way.
    pub way: String,
    /// The seed.
    pub seed: u64,
    /// The metric.
    pub metric: String,
    /// False for metrics where less is better.
    pub higher_is_better: bool,
    /// The score on the test data; `None` where the metric has no value there, or the run failed.
    pub score: Option<f64>,
    /// The ends of its 95% interval by the bootstrap over test texts.
    pub interval: Option<(f64, f64)>,
    /// Test texts.
    pub texts: usize,
    /// Values that were trained.
    pub trained: usize,
    /// Values of the model.
    pub total: usize,
    /// Seconds of training, with its evaluations.
    pub seconds: f64,
    /// The most bytes of memory that the run held at one time, mapped files apart, where that is counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// What the model knew before, and has kept, where the recipe asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Kept>,
    /// The score on the parts of the test data that were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slices: Vec<SliceScore>,
    /// Why it failed, if it did.
    pub failed: Option<String>,
}

/// What came out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Results {
    /// The model, or the models.
    pub model: String,
    /// The runs.
    pub runs: Vec<Run>,
    /// Names of the ways, in the order asked for; the others are held against the first.
    pub ways: Vec<String>,
    /// The run that was stopped, if one was: the same command goes on with it.
    pub interrupted: Option<PathBuf>,
}

const FINISHED: &str = "compare.json";

/// Does everything that is not done yet, and tells `each` of the results after every run that was.
///
/// # Errors
/// Data that is not there, a folder that holds runs of other settings, and what goes wrong in a run. A run that diverges is
/// noted and does not end the others.
pub fn run(
    plan: &Plan,
    context: &Context,
    each: &mut dyn FnMut(&Results) -> Result<(), Error>,
) -> Result<Results, Error> {
    let mut models: Vec<&str> = plan.tasks.iter().map(|(_, recipe)| recipe.model.as_str()).collect();
    models.dedup();
    let sliced = plan.ways.iter().any(|way| way.name == SLICES);
    if let Some((task, _)) = plan.tasks.iter().find(|(_, recipe)| sliced && recipe.report.slices.is_empty()) {
        return Err(Error::Task(format!(
            "the method {SLICES} needs parts of the data, and {task} names none: say --slice CONDITION"
        )));
    }
    let ways = plan.ways.iter().map(|way| way.name.to_string()).collect();
    let mut results = Results { model: models.join(", "), ways, ..Results::default() };
    let tasks = with_words(plan, context)?;
    // Seed by seed, so that a list that is stopped has something of each.
    for &seed in &plan.seeds {
        for (task, base, words) in &tasks {
            for way in &plan.ways {
                let base = words.as_ref().filter(|_| way.name == VECTORS).unwrap_or(base);
                let folder = plan.folder.join(task).join(way.name).join(format!("seed-{seed}"));
                let recipe = recipe(base, way, seed);
                same_settings(&folder, &recipe)?;
                let path = folder.join(FINISHED);
                let runs = if let Some(runs) = read_kept(&path)? {
                    runs
                } else {
                    (context.note)(&format!("{task}, {} with seed {seed}: {}", way.name, folder.display()));
                    let Some(runs) = one(&recipe, (task, way, seed), &folder, plan.keep_models, context)?
                    else {
                        results.interrupted = Some(folder);
                        return Ok(results);
                    };
                    runs
                };
                for run in runs {
                    let same = |other: &Run| {
                        (&other.task, &other.way, other.seed) == (&run.task, &run.way, run.seed)
                    };
                    // The linear model stands beside every run, and is the same beside all.
                    if !results.runs.iter().any(same) {
                        results.runs.push(run);
                    }
                }
                each(&results)?;
            }
        }
    }
    Ok(results)
}

/// A task: what it is called, its recipe, and that of [`VECTORS`].
type WithWords<'a> = (&'a str, &'a Recipe, Option<Recipe>);

/// The tasks, each with the recipe of [`VECTORS`] if that is among the ways: it starts from a model that knows the words of its
/// data by their vectors.
fn with_words<'a>(plan: &Plan<'a>, context: &Context) -> Result<Vec<WithWords<'a>>, Error> {
    let plain = |(task, base): &'a (String, Recipe)| (task.as_str(), base, None);
    let mut tasks: Vec<_> = plan.tasks.iter().map(plain).collect();
    if !plan.ways.iter().any(|way| way.name == VECTORS) {
        return Ok(tasks);
    }
    let Some(file) = plan.vectors else {
        return Err(Error::Task(format!("the method {VECTORS} needs word vectors: say --vectors FILE")));
    };
    let vectors = WordVectors::open(file)?;
    for (task, base, words) in &mut tasks {
        let (settled, _) = datasets::settle(base, context.hub, context.progress)?;
        let folder = plan.folder.join("words").join(*task);
        let count = word_model(&vectors, &labelled(&settled)?, &folder)?;
        (context.note)(&format!("{task}: {count} of its words have a vector of {}", file.display()));
        let model = folder.to_string_lossy().into_owned();
        *words = Some(Recipe { model, vectors: Some(file.to_path_buf()), ..base.clone() });
    }
    Ok(tasks)
}

/// A run to its end; `None` if it was stopped. The linear model that was trained beside it is a run of its own.
fn one(
    recipe: &Recipe,
    (task, way, seed): (&str, &Way, u64),
    folder: &Path,
    keep_models: bool,
    context: &Context,
) -> Result<Option<Vec<Run>>, Error> {
    let empty = Run { task: task.to_string(), way: way.name.to_string(), seed, ..Run::default() };
    held::count_anew();
    let runs = match context.train(recipe, folder) {
        Ok(outcomes) if outcomes.run.interrupted => return Ok(None),
        Ok(outcomes) => runs(&outcomes, empty)?,
        Err(Error::Train(error @ topwork_train::Error::Diverged { .. })) => {
            (context.note)(&format!("{task}, {} with seed {seed} failed: {error}", way.name));
            vec![Run { failed: Some(error.to_string()), higher_is_better: true, ..empty }]
        }
        Err(error) => return Err(error),
    };
    keep(&folder.join(FINISHED), &runs)?;
    if !keep_models {
        remove(folder, &["best", "checkpoints"])?;
    }
    Ok(Some(runs))
}

/// What a run says of itself, and the linear model beside it if it was trained.
fn runs(outcomes: &Outcomes, empty: Run) -> Result<Vec<Run>, Error> {
    let data = &outcomes.data;
    let name = outcomes.resolved.task.metric.clone().unwrap_or_else(|| "loss".to_string());
    let metric = Metric::parse(&name, data.task().measures(), &data.labels, data.positive)?;
    let known = Run {
        metric: name.clone(),
        higher_is_better: metric.higher_is_better(),
        texts: data.test.dataset.len(),
        total: outcomes.total_values,
        ..empty
    };
    let mut runs = Vec::new();
    if let Some(baseline) = &outcomes.baseline {
        let judge = Judge { resamples: outcomes.resolved.report.resamples, ..data.judge() };
        let evaluation = Measured::of_outcome(baseline.outcome.clone(), &judge, None)?.evaluation;
        runs.push(Run {
            way: BASELINE.to_string(),
            score: evaluation.value(&name).ok(),
            interval: evaluation.interval(&name).map(|interval| (interval.lower, interval.upper)),
            seconds: baseline.seconds,
            ..known.clone()
        });
    }
    let test = outcomes.test.as_ref().map(|test| &test.evaluation);
    runs.push(Run {
        score: test.and_then(|test| test.value(&name).ok()),
        interval: test.and_then(|test| test.interval(&name)).map(|interval| (interval.lower, interval.upper)),
        trained: outcomes.run.trainable_values,
        seconds: outcomes.run.seconds,
        memory: held::most_held(),
        kept: outcomes.kept.clone(),
        slices: asked_for(outcomes),
        ..known
    });
    Ok(runs)
}

/// The parts that the recipe names, of those that were measured.
fn asked_for(outcomes: &Outcomes) -> Vec<SliceScore> {
    let named = &outcomes.resolved.report.slices;
    outcomes.slices.iter().filter(|slice| named.contains(&slice.name)).cloned().collect()
}

/// The recipe of one run.
fn recipe(base: &Recipe, way: &Way, seed: u64) -> Recipe {
    let mut recipe = base.clone();
    // Kept in the cache, so that it is trained once for each split.
    recipe.report.baseline = true;
    recipe.report.threshold = false;
    recipe.train.insert("seed".to_string(), toml::Value::Integer(seed as i64));
    (way.apply)(&mut recipe);
    recipe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_have_names_and_change_a_recipe_each_in_its_own_manner() {
        assert_eq!(WAYS.len(), 31, "count the ways when you add one");
        let mut base = Recipe::new("m", "d.csv");
        base.report.slices = vec!["words > 5".to_string()];
        let mut seen = Vec::new();
        for way in WAYS {
            assert!(way.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-' || b.is_ascii_digit()));
            let made = toml::to_string(&recipe(&base, way, 3)).unwrap();
            // In place of the model stand vectors, which only a comparison has.
            assert_eq!(seen.contains(&made), way.name == "static", "{}", way.name);
            assert!(made.contains("seed = 3"), "{made}");
            seen.push(made);
        }
        let made = recipe(&base, ways(&["gradual".to_string()]).unwrap()[0], 3);
        assert_eq!(made.train["techniques"]["unfreeze"]["order"].as_str(), Some("gradual"));
    }

    #[test]
    fn names_are_read_in_order_and_once() {
        let read = |names: &[&str]| ways(&names.iter().map(|name| name.to_string()).collect::<Vec<_>>());
        let names: Vec<&str> = read(&["lora", "full", "lora"]).unwrap().iter().map(|way| way.name).collect();
        assert_eq!(names, ["lora", "full"]);
        assert!(read(&["lorra"]).err().unwrap().to_string().contains("did you mean \"lora\""));
        assert!(read(&[]).is_err());
    }

    #[test]
    fn what_a_recipe_says_of_an_adapter_stands() {
        let mut base = Recipe::new("m", "d.csv");
        base.adapter.insert("rank".to_string(), toml::Value::Integer(2));
        let made = recipe(&base, ways(&["lora".to_string()]).unwrap()[0], 0);
        assert_eq!(made.adapter["rank"].as_integer(), Some(2));
        assert_eq!(made.adapter["kind"].as_str(), Some("lora"));
    }
}
