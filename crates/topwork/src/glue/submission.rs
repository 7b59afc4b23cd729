//! Files for the leaderboard: `SST-2.tsv` with `index<TAB>prediction`, a line for each row of the official test set.
//!
//! Names of the files and forms of the answers: <https://gluebenchmark.com/faq>

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use topwork_data::{Dataset, Example, ReadOptions, Task, read};

use super::state::{index, precision};
use super::{Context, GlueTask};
use crate::datasets::glue::DIAGNOSTIC;
use crate::datasets::{Files, find};
use crate::error::Error;
use crate::job::RESOLVED;
use crate::predictor::{Prediction, Predictor};
use crate::recipe::{Kind, Recipe};

/// The folder of the files, beside those of the tasks and in each run that was asked.
const FOLDER: &str = "submission";

/// Texts answered at a time, between two looks at whether to stop.
const CHUNK: usize = 1024;

/// A test set to be answered.
struct Asked<'a> {
    file: &'a str,
    path: PathBuf,
    text: Option<&'a str>,
    pair: Option<&'a str>,
    classes: &'static [&'static str],
    numbers: bool,
}

/// Answers the official test sets of a task, where they are there, by the best checkpoint of a run; gives the files, and what is
/// to be said. What was answered before is taken as it is.
///
/// # Errors
/// A test set that cannot be read, a full disk.
pub fn write(
    task: &GlueTask,
    files: &Files,
    run: &Path,
    folder: &Path,
    context: &Context,
) -> Result<(Vec<PathBuf>, Vec<String>), Error> {
    let (asked, mut notes) = asked(task, files, context)?;
    let mut model: Option<Predictor> = None;
    let mut written = Vec::new();
    for set in asked {
        let own = run.join(FOLDER).join(format!("{}.tsv", set.file));
        if !own.is_file() {
            let model = match &mut model {
                Some(model) => model,
                none => {
                    let precision = precision(&Recipe::load(&run.join(RESOLVED))?);
                    none.insert(Predictor::open_with(run.join("best"), precision)?)
                }
            };
            (context.note)(&format!("answering the test set of {}: {}", set.file, set.path.display()));
            let (page, said) = page(task, &set, model)?;
            notes.extend(said);
            put(&own, &page)?;
        }
        let target = folder.join(FOLDER).join(format!("{}.tsv", set.file));
        let page = fs::read_to_string(&own).map_err(Error::file(&own))?;
        put(&target, &page)?;
        written.push(target);
    }
    Ok((written, notes))
}

fn put(path: &Path, page: &str) -> Result<(), Error> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(Error::file(folder))?;
    }
    Ok(topwork_weights::atomic::write(path, page.as_bytes())?)
}

/// The test sets of a task that are there.
fn asked<'a>(
    task: &'a GlueTask,
    files: &Files,
    context: &Context,
) -> Result<(Vec<Asked<'a>>, Vec<String>), Error> {
    let (mut asked, mut notes) = (Vec::new(), Vec::new());
    let mut add =
        |file: &'a str, set: &'static crate::datasets::DataSet, files: Option<&Files>, numbers| match files
            .and_then(|files| Some((files, files.unlabelled.clone()?)))
        {
            Some((files, path)) => asked.push(Asked {
                file,
                path,
                text: task.text.or(files.columns.text),
                pair: files.columns.pair,
                classes: set.classes,
                numbers,
            }),
            None => notes.push(format!("no {file}.tsv for the leaderboard: its test set is not there")),
        };
    let mut names = task.files.iter().copied();
    if let Some(file) = names.next() {
        add(file, task.data()?, Some(files), task.numbers);
    }
    if let (Some(file), Some(other)) = (names.next(), task.other) {
        let set = find(other)?;
        let files = set.files(&[], context.hub, context.progress).ok();
        add(file, set, files.as_ref(), task.numbers);
        // The diagnostic set is for models of MNLI.
        let files = DIAGNOSTIC.files(&[], context.hub, context.progress).ok();
        add("AX", &DIAGNOSTIC, files.as_ref(), false);
    }
    Ok((asked, notes))
}

/// The page of a test set, and what is to be said of it.
fn page(task: &GlueTask, set: &Asked, model: &Predictor) -> Result<(String, Vec<String>), Error> {
    let options = ReadOptions {
        task: Task::Unlabelled,
        text: set.text.map(str::to_string),
        pair: set.pair.map(str::to_string),
        ..ReadOptions::default()
    };
    let dataset = read(&set.path, &options)?;
    let mut answers: Vec<Option<String>> = vec![None; dataset.report.rows_read];
    for examples in dataset.examples.chunks(CHUNK) {
        let inputs: Vec<(&str, Option<&str>)> =
            examples.iter().map(|example| (example.text.as_str(), example.pair.as_deref())).collect();
        for (example, answer) in examples.iter().zip(model.predict(&inputs)?) {
            place(&dataset, example, &mut answers, answer_of(task, set, &answer)?)?;
        }
    }
    let empty = answers.iter().filter(|answer| answer.is_none()).count();
    let mut notes = Vec::new();
    if empty > 0 {
        // The leaderboard refuses files with fewer lines.
        notes.push(format!("{}: {empty} rows without a text got the first class, or 0", set.file));
    }
    let otherwise = match (task.data()?.kind, set.numbers, set.classes) {
        (Kind::Regress, ..) => "0.000".to_string(),
        (_, false, [first, ..]) => first.to_string(),
        _ => "0".to_string(),
    };
    let mut page = String::from("index\tprediction\n");
    for (index, answer) in answers.iter().enumerate() {
        let _ = writeln!(page, "{index}\t{}", answer.as_ref().unwrap_or(&otherwise));
    }
    Ok((page, notes))
}

fn place(
    dataset: &Dataset,
    example: &Example,
    answers: &mut [Option<String>],
    answer: String,
) -> Result<(), Error> {
    let slot = index(example.row, dataset.report.format).and_then(|index| answers.get_mut(index));
    *slot.ok_or_else(|| {
        Error::Task(format!(
            "{} row {}: the rows of an official test file are counted through from its header, without blank lines",
            dataset.report.path.display(),
            example.row
        ))
    })? = Some(answer);
    Ok(())
}

/// An answer as the leaderboard reads it.
fn answer_of(task: &GlueTask, set: &Asked, answer: &Prediction) -> Result<String, Error> {
    if let Some(score) = answer.score {
        return Ok(format!("{:.3}", score.clamp(0.0, 5.0)));
    }
    let label = answer.label.as_deref().unwrap_or_default();
    let Some(number) = set.classes.iter().position(|class| *class == label) else {
        return Err(Error::Task(format!(
            "{}: the model answers {label:?}, which is no class of it ({})",
            task.name,
            set.classes.join(", ")
        )));
    };
    Ok(if set.numbers { number.to_string() } else { label.to_string() })
}

#[cfg(test)]
mod tests {
    use super::super::TASKS;
    use super::*;

    fn check(task: &str, label: Option<&str>, score: Option<f64>, expected: &str) {
        let task = TASKS.iter().find(|known| known.name == task).unwrap();
        let set = Asked {
            file: task.files[0],
            path: PathBuf::new(),
            text: None,
            pair: None,
            classes: task.data().unwrap().classes,
            numbers: task.numbers,
        };
        let answer = Prediction {
            label: label.map(str::to_string),
            labels: Vec::new(),
            score,
            words: Vec::new(),
            entities: Vec::new(),
            tree: Vec::new(),
            answer: None,
            probabilities: Vec::new(),
            tokens: 3,
            cut: 0,
        };
        assert_eq!(answer_of(task, &set, &answer).unwrap(), expected, "{}", task.name);
    }

    #[test]
    fn answers_have_the_form_the_leaderboard_reads() {
        check("sst2", Some("positive"), None, "1");
        check("wnli", Some("entailment"), None, "1");
        check("rte", Some("entailment"), None, "entailment");
        check("mnli", Some("neutral"), None, "neutral");
        check("mrpc", Some("not_equivalent"), None, "0");
        check("stsb", None, Some(2.34567), "2.346");
        check("stsb", None, Some(5.3), "5.000");
        check("stsb", None, Some(-0.2), "0.000");
    }
}
