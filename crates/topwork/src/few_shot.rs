//! Learning from few labels: first texts of a class are moved together and those of other classes apart, which makes many pairs of
//! a few texts; then a linear head learns the classes from the vectors, with the encoder as it has become.
//!
//! Paper: Tunstall et al. 2022, "Efficient Few-Shot Learning Without Prompts" (SetFit), section 3, <https://arxiv.org/abs/2209.11055>

use std::path::{Path, PathBuf};

use crate::datasets;
use crate::error::Error;
use crate::job::{self, JobContext, Outcomes};
use crate::recipe::{BatchRecipe, Kind, Recipe, ReportRecipe, TaskRecipe};

/// The folder, in that of the run, of the run that teaches the vectors.
pub const VECTORS: &str = "vectors";

/// Settings of the loop that both stages are trained with. All others are of the first: the second is a linear head.
const SHARED: [&str; 3] = ["seed", "precision", "evaluate-epochs"];

/// Whether the first stage of a run has begun in a folder.
pub(crate) fn begun(folder: &Path) -> bool {
    let vectors = folder.join(VECTORS);
    vectors.is_dir() && job::begun(&vectors)
}

/// Trains as a recipe says, in two stages.
///
/// # Errors
/// A task that has no classes, settings that neither stage has, and as [`crate::train`].
pub(crate) fn train(recipe: &Recipe, context: JobContext) -> Result<Outcomes, Error> {
    check(recipe)?;
    job::write_recipe(context.folder, job::GIVEN, recipe)?;
    stages(recipe, context, false)
}

/// Goes on with a run that was stopped in its first stage, or between the two.
///
/// # Errors
/// As [`crate::resume`].
pub(crate) fn resume(context: JobContext) -> Result<Outcomes, Error> {
    let recipe = Recipe::load(&context.folder.join(job::GIVEN))?;
    stages(&recipe, context, true)
}

fn check(recipe: &Recipe) -> Result<(), Error> {
    let wrong = |what: &str| Err(Error::Task(format!("few-shot: {what}")));
    if recipe.task.kind.is_some_and(|kind| kind != Kind::Classify) {
        return wrong("texts of one class are moved together: the task is classify, or none is named");
    }
    if recipe.data.pair.is_some() {
        return wrong("it learns from single texts, not from pairs of texts: leave --pair out");
    }
    if recipe.from_scratch {
        return wrong("there is nothing to start from in a model from scratch: leave one of the two out");
    }
    if recipe.train.contains_key("freeze") {
        return wrong("the encoder learns first and is frozen then: leave --freeze out");
    }
    if recipe.keep.is_some() {
        return wrong(
            "it trains in two stages, and what was known before would be that of the second: leave --keep-score out",
        );
    }
    Ok(())
}

fn stages(recipe: &Recipe, context: JobContext, resume: bool) -> Result<Outcomes, Error> {
    let JobContext { folder, hub, progress, stop, shared, observer } = context;
    // Where a data set by name lies, and its columns, are the same for both.
    let (settled, _) = datasets::settle(recipe, hub, progress)?;
    let at = folder.join(VECTORS);
    observer.note(&format!("few labels: first the vectors are taught, in {}", at.display()));
    let stage = JobContext { folder: &at, hub, progress, stop, shared, observer: &mut *observer };
    let mut first =
        if resume && job::begun(&at) { job::resume(stage)? } else { job::train(&vectors(&settled), stage)? };
    if first.run.interrupted {
        first.folder = folder.to_path_buf();
        return Ok(first);
    }
    observer.note("then a linear head learns the classes from them");
    let second = classes(&settled, &first, &first.best());
    let stage = JobContext { folder, hub, progress, stop, shared, observer };
    let mut outcomes = job::begin(&second, recipe, stage)?;
    outcomes.seconds += first.seconds;
    Ok(outcomes)
}

/// The first stage: which texts belong together.
fn vectors(recipe: &Recipe) -> Recipe {
    Recipe {
        few_shot: false,
        task: TaskRecipe {
            kind: Some(Kind::Similarity),
            // Has a value on however few texts, unlike a correlation.
            metric: Some("mse".to_string()),
            max_length: recipe.task.max_length,
            pool: recipe.task.pool,
            loss: recipe.task.loss,
            margin: recipe.task.margin,
            pairs: recipe.task.pairs,
            ..TaskRecipe::default()
        },
        batch: BatchRecipe { oversample: false, ..recipe.batch.clone() },
        report: ReportRecipe { baseline: false, threshold: false, ..ReportRecipe::default() },
        ..recipe.clone()
    }
}

/// The second stage: the classes, from the vectors of a model in `model`.
fn classes(recipe: &Recipe, first: &Outcomes, model: &Path) -> Recipe {
    let mut second = recipe.clone();
    second.few_shot = false;
    // What the first stage taught is in the model, or lies beside it.
    second.adapter.clear();
    second.model = absolute(model).display().to_string();
    second.task = TaskRecipe {
        kind: Some(Kind::Classify),
        pool: first.resolved.task.pool,
        loss: None,
        margin: None,
        pairs: None,
        ..recipe.task.clone()
    };
    second.batch = BatchRecipe { oversample: recipe.batch.oversample, ..BatchRecipe::default() };
    // Both cut the data alike, so that what is measured on was never learnt from; it is compared before training.
    second.pinned.data.clone_from(&first.resolved.pinned.data);
    second.train = recipe.train.clone();
    second.train.retain(|key, _| SHARED.contains(&key));
    let all = toml::Value::Array(vec![toml::Value::String("encoder".to_string())]);
    second.train.insert("freeze".to_string(), all);
    second
}

/// From the root: the run may be gone on with from elsewhere.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_stage_has_the_loop_and_what_is_not_for_pairs_is_refused() {
        let text = "model = \"m\"\nfew-shot = true\n[data]\ntrain = \"a.csv\"\n[task]\nsmoothing = 0.1\nmax-length = 32\n\
                    [train]\nepochs = 2\nseed = 7\n";
        let recipe = Recipe::parse(text, "r").unwrap();
        check(&recipe).unwrap();
        let first = vectors(&recipe);
        assert!(!first.few_shot && first.task.smoothing == 0.0 && !first.report.baseline);
        assert_eq!((first.task.kind, first.task.max_length), (Some(Kind::Similarity), Some(32)));
        assert_eq!(first.train.len(), 2);
        let refuse = |change: &dyn Fn(&mut Recipe), part: &str| {
            let mut recipe = recipe.clone();
            change(&mut recipe);
            let error = check(&recipe).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        };
        refuse(&|recipe| recipe.task.kind = Some(Kind::Regress), "the task is classify");
        refuse(&|recipe| recipe.data.pair = Some("b".into()), "--pair");
        refuse(&|recipe| recipe.from_scratch = true, "from scratch");
        refuse(&|recipe| _ = recipe.train.insert("freeze".into(), "embed".into()), "--freeze");
    }
}
