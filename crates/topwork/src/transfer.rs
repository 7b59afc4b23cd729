//! From task to task: a model trained on a source task is where the target task starts (INIT), for every pair of tasks.
//!
//! The encoder goes on from the source's weights. So does the head, where both tasks have the same labels; otherwise it is
//! fresh. A run for each pair and seed, in a folder of its own; what is finished is taken as it is.
//!
//! Paper: Mou et al. 2016, "How Transferable are Neural Networks in NLP Applications?", section 3.2 (INIT),
//! <https://arxiv.org/abs/1603.06111>
//!
//! Paper: Phang, Févry, Bowman 2018, "Sentence Encoders on STILTs", section 3 (supplementary training on an intermediate task),
//! <https://arxiv.org/abs/1811.01088>

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use topwork_train::metrics::Metric;

use crate::error::Error;
use crate::glue::{Context, keep, read_kept, remove, same_settings};
use crate::job::Outcomes;
use crate::recipe::Recipe;
use crate::report::{self, Fact, Grid, Headline, Heat, Heats, Report};

/// What a source is called that is none: the pretrained model itself.
pub const NONE: &str = "none";

/// The model that a path leads to: the best checkpoint of a run folder, or the model folder itself.
///
/// # Errors
/// [`Error::NoRun`] for a folder that is neither; [`Error::Task`] for a run that has saved no model.
pub fn source(path: &Path) -> Result<PathBuf, Error> {
    let best = path.join("best");
    if best.is_dir() {
        return Ok(best);
    }
    if path.join(crate::job::RESOLVED).is_file() {
        return Err(Error::Task(format!(
            "{}: this run has no model: it was stopped before its first evaluation, or was a part of a study that kept none \
             (--keep-models)",
            path.display()
        )));
    }
    if path.is_file() || path.join("config.json").is_file() {
        return Ok(path.to_path_buf());
    }
    Err(Error::NoRun { folder: path.to_path_buf() })
}

/// What is to be done.
pub struct Plan<'a> {
    /// The tasks, each a source and a target: what each is called, and its recipe.
    pub tasks: &'a [(String, Recipe)],
    /// Most examples that a source is trained on; as the recipe says when `None`.
    pub source_limit: Option<usize>,
    /// A run for each seed.
    pub seeds: Vec<u64>,
    /// Keep the models and checkpoints of all runs.
    pub keep_models: bool,
    /// The folder of everything.
    pub folder: &'a Path,
}

/// One run: `transfer.json` in its folder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Run {
    /// The source, [`NONE`] for the pretrained model.
    pub source: String,
    /// The target.
    pub target: String,
    /// The seed.
    pub seed: u64,
    /// The metric.
    pub metric: String,
    /// False for metrics where less is better.
    pub higher_is_better: bool,
    /// The score on the target's test data; `None` where the metric has no value there.
    pub score: Option<f64>,
    /// The ends of its 95% interval by the bootstrap over test texts.
    pub interval: Option<(f64, f64)>,
    /// Whether the source's head went on too.
    pub head_carried: bool,
    /// Seconds of training, without those of the source.
    pub seconds: f64,
}

/// What came out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Results {
    /// The model.
    pub model: String,
    /// The tasks.
    pub tasks: Vec<String>,
    /// The runs.
    pub runs: Vec<Run>,
    /// The run that was stopped, if one was: the same command goes on with it.
    pub interrupted: Option<PathBuf>,
}

const FINISHED: &str = "transfer.json";

/// The run folder of a pair.
fn run_folder(folder: &Path, seed: u64, source: &str, target: &str) -> PathBuf {
    folder.join(format!("seed-{seed}")).join(target).join(format!("from-{source}"))
}

/// Does everything that is not done yet, and tells `each` of the results after every run that was.
///
/// # Errors
/// Fewer than two tasks, data that is not there, a folder that holds runs of other settings, and what goes wrong in a run.
pub fn run(
    plan: &Plan,
    context: &Context,
    each: &mut dyn FnMut(&Results) -> Result<(), Error>,
) -> Result<Results, Error> {
    if plan.tasks.len() < 2 {
        return Err(Error::Task("from task to task takes two tasks or more".to_string()));
    }
    let mut results = Results {
        model: plan.tasks[0].1.model.clone(),
        tasks: plan.tasks.iter().map(|(name, _)| name.clone()).collect(),
        ..Results::default()
    };
    for &seed in &plan.seeds {
        let sources = std::iter::once(NONE).chain(plan.tasks.iter().map(|(name, _)| name.as_str()));
        for source in sources {
            // Its model is needed only as long as a target is open.
            let open = plan.tasks.iter().any(|(target, _)| {
                target != source && !run_folder(plan.folder, seed, source, target).join(FINISHED).is_file()
            });
            let model = match plan.tasks.iter().find(|(name, _)| name == source) {
                Some((_, base)) if open => match train_source(plan, source, base, seed, context)? {
                    Ok(model) => Some(model),
                    Err(folder) => {
                        results.interrupted = Some(folder);
                        return Ok(results);
                    }
                },
                Some((name, _)) => Some(source_folder(plan, name, seed).join("best")),
                None => None,
            };
            for (target, base) in plan.tasks.iter().filter(|(target, _)| target != source) {
                let folder = run_folder(plan.folder, seed, source, target);
                let mut recipe = seeded(base, seed);
                if let Some(model) = &model {
                    recipe.model = model.display().to_string();
                }
                let Some(run) = one(&recipe, (source, target, seed), &folder, context)? else {
                    results.interrupted = Some(folder);
                    return Ok(results);
                };
                // The pretrained model's run is a source where sources learn from as much.
                let needed = source == NONE && plan.source_limit.is_none();
                let large: &[&str] = if needed { &["checkpoints"] } else { &["checkpoints", "best"] };
                sweep(plan, &folder, large)?;
                results.runs.push(run);
                each(&results)?;
            }
            if source != NONE {
                sweep(plan, &source_folder(plan, source, seed), &["checkpoints", "best"])?;
            }
        }
    }
    Ok(results)
}

fn sweep(plan: &Plan, folder: &Path, large: &[&str]) -> Result<(), Error> {
    if plan.keep_models { Ok(()) } else { remove(folder, large) }
}

/// Where a source is trained: where it is a target of the pretrained model already, unless it learns from another number of
/// examples there.
fn source_folder(plan: &Plan, source: &str, seed: u64) -> PathBuf {
    match plan.source_limit {
        None => run_folder(plan.folder, seed, NONE, source),
        Some(_) => plan.folder.join(format!("seed-{seed}")).join("sources").join(source),
    }
}

/// The model of a source, trained if it is not there; the inner error is the folder of a run that was interrupted.
fn train_source(
    plan: &Plan,
    source: &str,
    base: &Recipe,
    seed: u64,
    context: &Context,
) -> Result<Result<PathBuf, PathBuf>, Error> {
    let folder = source_folder(plan, source, seed);
    let model = folder.join("best");
    let mut recipe = seeded(base, seed);
    recipe.data.limit = plan.source_limit.unwrap_or(recipe.data.limit);
    same_settings(&folder, &recipe)?;
    // A report is written when all is done and measured; a model may lie there before.
    if model.is_dir() && folder.join("report.html").is_file() {
        return Ok(Ok(model));
    }
    if !model.is_dir() && folder.join("report.html").is_file() {
        // Its model was not kept; the same run gives the same one again.
        fs::remove_dir_all(&folder).map_err(Error::file(&folder))?;
    }
    (context.note)(&format!("source {source} with seed {seed}: {}", folder.display()));
    let outcomes = context.train(&recipe, &folder)?;
    if outcomes.run.interrupted {
        return Ok(Err(folder));
    }
    sweep(plan, &folder, &["checkpoints"])?;
    if plan.source_limit.is_none() {
        keep(&folder.join(FINISHED), &said(&outcomes, (NONE, source, seed))?)?;
    }
    Ok(Ok(model))
}

/// The recipe of a task with a seed.
fn seeded(base: &Recipe, seed: u64) -> Recipe {
    let mut recipe = base.clone();
    recipe.report.baseline = false;
    recipe.report.threshold = false;
    recipe.train.insert("seed".to_string(), toml::Value::Integer(seed as i64));
    recipe
}

/// A run to its end, or what it said of itself; `None` if it was stopped.
fn one(
    recipe: &Recipe,
    (source, target, seed): (&str, &str, u64),
    folder: &Path,
    context: &Context,
) -> Result<Option<Run>, Error> {
    same_settings(folder, recipe)?;
    let path = folder.join(FINISHED);
    if let Some(run) = read_kept(&path)? {
        return Ok(Some(run));
    }
    (context.note)(&format!("{target} from {source} with seed {seed}: {}", folder.display()));
    let outcomes = context.train(recipe, folder)?;
    if outcomes.run.interrupted {
        return Ok(None);
    }
    let run = said(&outcomes, (source, target, seed))?;
    keep(&path, &run)?;
    Ok(Some(run))
}

fn said(outcomes: &Outcomes, (source, target, seed): (&str, &str, u64)) -> Result<Run, Error> {
    let data = &outcomes.data;
    let name = outcomes.resolved.task.metric.clone().unwrap_or_else(|| "loss".to_string());
    let metric = Metric::parse(&name, data.task().measures(), &data.labels, data.positive)?;
    let test = outcomes.test.as_ref().map(|test| &test.evaluation);
    Ok(Run {
        source: source.to_string(),
        target: target.to_string(),
        seed,
        higher_is_better: metric.higher_is_better(),
        score: test.and_then(|test| test.value(&name).ok()),
        interval: test.and_then(|test| test.interval(&name)).map(|interval| (interval.lower, interval.upper)),
        head_carried: source != NONE && !outcomes.load.fresh.iter().any(|path| path.starts_with("head.")),
        seconds: outcomes.run.seconds,
        metric: name,
    })
}

impl Results {
    fn of(&self, source: &str, target: &str) -> Vec<&Run> {
        self.runs.iter().filter(|run| run.source == source && run.target == target).collect()
    }

    /// The sources, the pretrained model first.
    pub fn sources(&self) -> Vec<&str> {
        std::iter::once(NONE).chain(self.tasks.iter().map(String::as_str)).collect()
    }

    /// The mean score of a target from a source over seeds; `None` unless each has one.
    pub fn score(&self, source: &str, target: &str) -> Option<f64> {
        mean(self.of(source, target).iter().map(|run| run.score))
    }

    /// What a source adds to a target: the differences to the pretrained model in the same seeds.
    pub fn gains(&self, source: &str, target: &str) -> Vec<f64> {
        let without = self.of(NONE, target);
        let gain = |run: &&Run| {
            let other = without.iter().find(|other| other.seed == run.seed)?.score?;
            Some(run.score? - other)
        };
        self.of(source, target).iter().filter_map(gain).collect()
    }

    fn metric(&self, target: &str) -> &str {
        self.runs.iter().find(|run| run.target == target).map_or("score", |run| run.metric.as_str())
    }

    /// A row a source, a column a target: the score and, in brackets, what the source adds.
    pub fn grid(&self) -> Grid {
        let mut head = vec!["from".to_string()];
        head.extend(self.tasks.iter().map(|task| format!("{task}, {}", self.metric(task))));
        let cell = |source: &str, target: &str| {
            if source == target {
                return "–".to_string();
            }
            let Some(score) = self.score(source, target) else { return "no value".to_string() };
            let gains = self.gains(source, target);
            let gain = mean(gains.iter().map(|gain| Some(*gain))).filter(|_| source != NONE);
            let squares: f64 = gains.iter().map(|value| (value - gain.unwrap_or_default()).powi(2)).sum();
            let spread = match gains.len() {
                0 | 1 => String::new(),
                count => format!(" ± {:.3}", (squares / (count as f64 - 1.0)).sqrt()),
            };
            match gain {
                Some(gain) => format!("{score:.3} ({gain:+.3}{spread})"),
                None => format!("{score:.3}"),
            }
        };
        let rows = self.sources().into_iter().map(|source| {
            let mut row = vec![source.to_string()];
            row.extend(self.tasks.iter().map(|target| cell(source, target)));
            row
        });
        let rows = rows.collect();
        let mut carried: Vec<String> = self
            .runs
            .iter()
            .filter(|run| run.head_carried)
            .map(|run| format!("{} to {}", run.source, run.target))
            .collect();
        carried.dedup();
        carried.sort();
        carried.dedup();
        let heads = match carried.is_empty() {
            true => "All heads were fresh: no two tasks have the same labels.".to_string(),
            false => {
                format!("The head went on too, for the labels are the same, from {}.", carried.join(", "))
            }
        };
        let seeds = match self.seeds() {
            0 | 1 => "One seed: small differences may be chance.".to_string(),
            count => format!("Means of {count} seeds, with the standard deviation of the difference."),
        };
        Grid {
            title: "From task to task".to_string(),
            about: format!(
                "A row is what a task starts from ({NONE}: the pretrained model itself), a column the task that is learnt then; in \
                 brackets the difference to {NONE}, in the same seeds. {heads} {seeds}"
            ),
            head,
            rows,
            sum: false,
        }
    }

    fn seeds(&self) -> usize {
        let mut seeds: Vec<u64> = self.runs.iter().map(|run| run.seed).collect();
        seeds.sort_unstable();
        seeds.dedup();
        seeds.len()
    }

    /// Everything as a report.
    pub fn report(&self) -> Report {
        let gain = |source: &str, target: &str| {
            mean(self.gains(source, target).iter().map(|gain| Some(*gain))).filter(|_| source != target)
        };
        let heat =
            |title: &str, about: &str, sources: &[&str], of: &dyn Fn(&str, &str) -> Option<f64>| Heat {
                title: title.to_string(),
                about: about.to_string(),
                rows: sources.iter().map(|source| format!("from {source}")).collect(),
                columns: self.tasks.clone(),
                values: sources
                    .iter()
                    .map(|source| self.tasks.iter().map(|target| of(source, target)).collect())
                    .collect(),
            };
        let sources = self.sources();
        let map = heat("scores", "on the test data of the target", &sources, &|source, target| {
            self.score(source, target).filter(|_| source != target)
        });
        let mut best: Option<(&str, &str, f64)> = None;
        for source in &sources[1..] {
            for target in &self.tasks {
                let sign = if self.runs.iter().all(|run| run.higher_is_better) { 1.0 } else { -1.0 };
                if let Some(gain) = gain(source, target)
                    && best.is_none_or(|(.., other)| sign * gain > sign * other)
                {
                    best = Some((source, target, gain));
                }
            }
        }
        let headline = best.map(|(source, target, gain)| Headline {
            name: "the source that adds most".to_string(),
            value: format!("{gain:+.3}"),
            detail: format!("{source}, to {} on {target}", self.metric(target)),
        });
        let seconds: f64 = self.runs.iter().map(|run| run.seconds).sum();
        let fact = |name: &str, value: String| Fact { name: name.to_string(), value };
        Report {
            title: "From task to task".to_string(),
            subtitle: format!(
                "{} on {}, each as a source and as a target",
                self.model,
                self.tasks.join(", ")
            ),
            headline: headline.into_iter().collect(),
            grid: Some(self.grid()),
            heats: Some(Heats {
                title: "What each task starts from".to_string(),
                about: "Columns have measures of their own: colours are to be compared within a column."
                    .to_string(),
                along: "learnt then".to_string(),
                maps: vec![map],
            }),
            environment: vec![
                fact("topwork", env!("CARGO_PKG_VERSION").to_string()),
                fact("runs", self.runs.len().to_string()),
                fact("time of all runs", report::seconds(seconds)),
            ],
            ..Report::default()
        }
    }
}

fn mean(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let values: Option<Vec<f64>> = values.collect();
    let values = values.filter(|values| !values.is_empty())?;
    Some(values.iter().sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results() -> Results {
        let run = |source: &str, target: &str, seed, score| Run {
            source: source.into(),
            target: target.into(),
            seed,
            metric: "f1".into(),
            higher_is_better: true,
            score: Some(score),
            head_carried: source == "a",
            seconds: 1.0,
            ..Run::default()
        };
        Results {
            model: "m<".into(),
            tasks: vec!["a".into(), "b".into()],
            runs: vec![
                run("none", "a", 1, 0.5),
                run("none", "b", 1, 0.6),
                run("a", "b", 1, 0.7),
                run("b", "a", 1, 0.45),
                run("none", "a", 2, 0.7),
                run("none", "b", 2, 0.6),
                run("a", "b", 2, 0.9),
                run("b", "a", 2, 0.65),
            ],
            interrupted: None,
        }
    }

    #[test]
    fn gains_are_paired_by_seed() {
        let grid = results().grid();
        assert_eq!(grid.rows[0], ["none", "0.600", "0.600"]);
        assert_eq!(grid.rows[1], ["a", "–", "0.800 (+0.200 ± 0.141)"]);
        assert_eq!(grid.rows[2], ["b", "0.550 (-0.050 ± 0.000)", "–"]);
        assert!(grid.about.contains("from a to b.") && grid.about.contains("2 seeds"));
        let page = report::html(&results().report());
        for part in ["m&lt;", "+0.200", "a, to f1 on b", "from none"] {
            assert!(page.contains(part), "{part}");
        }
    }

    #[test]
    fn a_source_is_a_run_or_a_model() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        assert!(matches!(source(path), Err(Error::NoRun { .. })));
        fs::write(path.join(crate::job::RESOLVED), "").unwrap();
        assert!(source(path).unwrap_err().to_string().contains("has no model"));
        fs::create_dir(path.join("best")).unwrap();
        assert_eq!(source(path).unwrap(), path.join("best"));
        fs::write(path.join("best/config.json"), "{}").unwrap();
        assert_eq!(source(&path.join("best")).unwrap(), path.join("best"));
    }
}
