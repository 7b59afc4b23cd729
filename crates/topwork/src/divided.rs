//! The texts of several tasks, divided once and written down, so that every way and step of a study learns from and is measured on
//! the same.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::json;
use topwork_data::{Dataset, Label, few};
use topwork_kernels::rng::derive;

use crate::error::Error;
use crate::glue::{Context, keep, read_kept};
use crate::ready::ready;
use crate::recipe::{DataRecipe, Kind, Recipe};

/// Whether tasks have heads of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Heads {
    /// A head a task.
    Own,
    /// One head for all.
    Shared,
}

/// A task and where its texts lie: `task.json` in their folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Stage {
    /// What the task is called.
    pub name: String,
    /// Its labels, as its files have them.
    pub labels: Vec<String>,
    /// Texts to learn from, to choose by, to measure on.
    pub texts: [usize; 3],
    /// The longest text in tokens.
    pub max_length: usize,
    /// Whether its texts are pairs.
    pub pairs: bool,
    /// What it was made from.
    recipe: String,
    #[serde(skip)]
    folder: PathBuf,
}

impl Stage {
    /// The file of a part: train, dev or test.
    pub(crate) fn file(&self, part: &str) -> PathBuf {
        self.folder.join(format!("{part}.jsonl"))
    }

    /// The columns of its files.
    pub(crate) fn columns(&self) -> DataRecipe {
        DataRecipe {
            text: Some("text".to_string()),
            pair: self.pairs.then(|| "pair".to_string()),
            label: vec!["label".to_string()],
            ..DataRecipe::default()
        }
    }

    /// Its test data, to be measured on.
    pub(crate) fn measured_on(&self) -> DataRecipe {
        DataRecipe { train: self.file("test"), ..self.columns() }
    }
}

/// Reads and divides the data of all tasks, or takes what was divided before.
///
/// # Errors
/// A task without labels of texts; with one head, labels that are not those of the first task; pairs among single texts;
/// a folder with other data.
pub(crate) fn stages(
    tasks: &[(String, Recipe)],
    heads: Heads,
    seed: u64,
    folder: &Path,
    context: &Context,
) -> Result<Vec<Stage>, Error> {
    let mut stages: Vec<Stage> = Vec::new();
    for task in tasks {
        stages.push(stage(task, heads, seed, &folder.join(&task.0), context)?);
    }
    let first = &stages[0];
    for other in &stages[1..] {
        if heads == Heads::Shared && other.labels != first.labels {
            return Err(Error::Task(format!(
                "--head shared: {} has the labels {}, {} has {}: one head takes the same in all; --head own gives each its own",
                first.name,
                first.labels.join(", "),
                other.name,
                other.labels.join(", ")
            )));
        }
        if other.pairs != first.pairs {
            let (pairs, single) = if first.pairs { (first, other) } else { (other, first) };
            return Err(Error::Task(format!(
                "{} has pairs of texts, {} single ones: one encoder may learn both, but a file cannot hold both; take tasks of \
                 one form",
                pairs.name, single.name
            )));
        }
    }
    Ok(stages)
}

fn stage(
    (name, recipe): &(String, Recipe),
    heads: Heads,
    seed: u64,
    folder: &Path,
    context: &Context,
) -> Result<Stage, Error> {
    let mut recipe = recipe.clone();
    recipe.train.insert("seed".to_string(), toml::Value::Integer(seed as i64));
    let asked = json!({ "model": recipe.model, "data": recipe.data, "task": recipe.task, "heads": heads })
        .to_string();
    let path = folder.join("task.json");
    if let Some(stage) = read_kept::<Stage>(&path)? {
        if stage.recipe != asked {
            return Err(Error::Recipe {
                place: path.display().to_string(),
                reason: format!(
                    "the data of {name} was divided with other settings: take them, or another --out"
                ),
            });
        }
        return Ok(Stage { folder: folder.to_path_buf(), ..stage });
    }
    let ready = ready(&recipe, context.hub, context.progress, &mut |line| (context.note)(line))?;
    let data = &ready.data;
    if data.kind != Kind::Classify {
        return Err(Error::Task(format!(
            "{name} is a task of the kind {}: one after the other are learnt tasks with one label a text",
            data.kind.name()
        )));
    }
    // Two tasks may have labels of the same name.
    let label = |label: &str| match heads {
        Heads::Own => format!("{name}: {label}"),
        Heads::Shared => label.to_string(),
    };
    let parts = [("train", &data.train), ("dev", &data.dev), ("test", &data.test)];
    for (part, texts) in &parts {
        write(&folder.join(format!("{part}.jsonl")), &texts.dataset, &label)?;
    }
    let stage = Stage {
        name: name.clone(),
        labels: data.labels.iter().map(|name| label(name)).collect(),
        texts: [data.train.len(), data.dev.len(), data.test.len()],
        max_length: data.max_length,
        pairs: data.train.dataset.examples.iter().any(|example| example.pair.is_some()),
        recipe: asked,
        folder: folder.to_path_buf(),
    };
    keep(&path, &stage)?;
    Ok(stage)
}

/// A line a text.
fn write(path: &Path, dataset: &Dataset, name: &dyn Fn(&str) -> String) -> Result<(), Error> {
    let mut lines = String::new();
    for example in &dataset.examples {
        let Some(Label::One(label)) = &example.label else { continue };
        // The path of a picture begins where the program runs, not where this file is.
        let path = dataset.is_of_pictures().then(|| std::path::absolute(&example.text));
        let path = path.transpose().map_err(Error::file(Path::new(&example.text)))?;
        let text = path.map_or(example.text.clone(), |path| path.to_string_lossy().into_owned());
        let mut row = json!({ "text": text, "label": name(label) });
        if let (Some(pair), Some(row)) = (&example.pair, row.as_object_mut()) {
            row.insert("pair".to_string(), json!(pair));
        }
        lines.push_str(&row.to_string());
        lines.push('\n');
    }
    fs::create_dir_all(path.parent().unwrap_or(path)).map_err(Error::file(path))?;
    Ok(topwork_weights::atomic::write(path, lines.as_bytes())?)
}

/// The training texts of a task with a share of those of each earlier one, in a file beside its own: at least one text of each,
/// all classes in proportion, the same ones whenever it is asked for.
///
/// # Errors
/// A file that cannot be read or written.
pub(crate) fn mix(stages: &[Stage], task: usize, share: f64, seed: u64) -> Result<PathBuf, Error> {
    let path = stages[task].folder.join(format!("replay-{share}.jsonl"));
    let read = |stage: &Stage| {
        let path = stage.file("train");
        fs::read_to_string(&path).map_err(Error::file(&path))
    };
    let mut text = read(&stages[task])?;
    for stage in &stages[..task] {
        let options = crate::prepare::read_options(&stage.columns(), topwork_data::Task::Class)?;
        let dataset = topwork_data::read(stage.file("train"), &options)?;
        let count = ((share * dataset.len() as f64).round() as usize).clamp(1, dataset.len());
        let all: Vec<usize> = (0..dataset.len()).collect();
        let chosen = match count < dataset.len() {
            true => few(&dataset, &all, count, derive(seed, &format!("replay {}", stage.name)))?,
            false => all,
        };
        let lines = read(stage)?;
        let lines: Vec<&str> = lines.lines().collect();
        for line in chosen.iter().filter_map(|&at| lines.get(at)) {
            text.push_str(line);
            text.push('\n');
        }
    }
    topwork_weights::atomic::write(&path, text.as_bytes())?;
    Ok(path)
}

/// A file of so many of a task's training texts, all classes in proportion, the same ones whenever it is asked for; and how many
/// there are in it. All of them without a number.
///
/// # Errors
/// A file that cannot be read or written; fewer texts than classes.
pub(crate) fn few_labels(stage: &Stage, count: Option<usize>, seed: u64) -> Result<(PathBuf, usize), Error> {
    let Some(count) = count.filter(|&count| count < stage.texts[0]) else {
        return Ok((stage.file("train"), stage.texts[0]));
    };
    let path = stage.folder.join(format!("train-{count}.jsonl"));
    let from = stage.file("train");
    let options = crate::prepare::read_options(&stage.columns(), topwork_data::Task::Class)?;
    let dataset = topwork_data::read(&from, &options)?;
    let all: Vec<usize> = (0..dataset.len()).collect();
    let mut chosen = few(&dataset, &all, count, derive(seed, "few labels"))?;
    chosen.sort_unstable();
    let text = fs::read_to_string(&from).map_err(Error::file(&from))?;
    let lines: Vec<&str> = text.lines().collect();
    let mut kept = String::new();
    for line in chosen.iter().filter_map(|&at| lines.get(at)) {
        kept.push_str(line);
        kept.push('\n');
    }
    topwork_weights::atomic::write(&path, kept.as_bytes())?;
    Ok((path, chosen.len()))
}

/// A part of all tasks in one file, beside the first task's.
///
/// # Errors
/// A file that cannot be read or written.
pub(crate) fn joined(stages: &[Stage], part: &str) -> Result<PathBuf, Error> {
    let path = stages[0].folder.join(format!("all-{part}.jsonl"));
    let mut text = String::new();
    for stage in stages {
        let from = stage.file(part);
        text.push_str(&fs::read_to_string(&from).map_err(Error::file(&from))?);
    }
    topwork_weights::atomic::write(&path, text.as_bytes())?;
    Ok(path)
}
