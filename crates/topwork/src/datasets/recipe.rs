//! From the name of a data set to what a recipe says: files, columns, names of classes, the kind of task, the measure.
//!
//! What the user says stands above all of it.

use std::path::PathBuf;

use topwork_data::{ReadOptions, Task};

use super::{DataSet, Files, Split, find};
use crate::error::Error;
use crate::hub::{Hub, Progress};
use crate::recipe::{DataRecipe, Kind, Recipe, TaskRecipe};
use crate::tasks::task;

/// A recipe whose `data.set`, or folder of parts, has become files and settings, and what was decided, as lines for the user. One
/// with files already stays as it is.
///
/// # Errors
/// [`Error::UnknownDataSet`], and [`Error::DataSet`] for files that are missing or a set that cannot be trained on.
pub fn settle(recipe: &Recipe, hub: &Hub, progress: &dyn Progress) -> Result<(Recipe, Vec<String>), Error> {
    if recipe.data.set.is_none() {
        return Ok(super::folder::settle(recipe));
    }
    let mut recipe = recipe.clone();
    let Some(name) = recipe.data.set.as_deref().filter(|_| recipe.data.train.as_os_str().is_empty()) else {
        return Ok((recipe, Vec::new()));
    };
    let set = find(name)?;
    if set.sizes[Split::Train as usize].is_none() {
        return Err(Error::DataSet {
            name: set.name,
            problem: "it has no training examples".into(),
            way_out: format!("train on another one, and measure with `topwork eval RUN --data {}`", set.name),
        });
    }
    let files = set.files(&set.splits(), hub, progress)?;
    let mut notes = vec![format!("data set {}: {}; {}", set.name, set.title, files.found)];
    let data = &mut recipe.data;
    let [train, dev, test] = files.paths.clone();
    let [train_pair, dev_pair, test_pair] = files.pairs.clone();
    data.train = train.unwrap_or_default();
    data.pair_file = data.pair_file.take().or(train_pair);
    if test.is_some() || dev.is_none() {
        fill(&mut data.dev, &mut data.dev_pair_file, dev, dev_pair);
        fill(&mut data.test, &mut data.test_pair_file, test, test_pair);
    } else if data.test.is_none() {
        // Nobody knows the labels of the test set: results are given on the development set, which then must not choose.
        notes.push(format!(
            "{}: the test labels are not public, so the official development set is the test set here{}",
            set.name,
            if data.dev.is_none() { ", and a share of the training data chooses the checkpoint" } else { "" }
        ));
        fill(&mut data.test, &mut data.test_pair_file, dev, dev_pair);
    } else {
        fill(&mut data.dev, &mut data.dev_pair_file, dev, dev_pair);
    }
    columns(data, &files, recipe.task.kind.is_none_or(|kind| kind == set.kind), recipe.task.kind);
    measure(&mut recipe.task, set);
    Ok((recipe, notes))
}

/// Data to measure a trained model on: the test split, else the development split, else all there is.
///
/// # Errors
/// As [`settle`].
pub fn measured(
    set: &DataSet,
    data: &mut DataRecipe,
    hub: &Hub,
    progress: &dyn Progress,
) -> Result<String, Error> {
    let splits = set.splits();
    let wanted = splits.last().copied().unwrap_or(Split::Test);
    let files = set.files(&[wanted], hub, progress)?;
    data.set = Some(set.name.to_string());
    data.train = files.paths[wanted as usize].clone().unwrap_or_default();
    data.pair_file = data.pair_file.take().or(files.pairs[wanted as usize].clone());
    columns(data, &files, true, None);
    Ok(format!("data set {}: the {} split, {}", set.name, wanted.words(), files.found))
}

/// The files of a set and the options that read them, for showing what is in them: of files as published, those that are there.
///
/// # Errors
/// As [`settle`].
pub fn shown(set: &DataSet, hub: &Hub, progress: &dyn Progress) -> Result<(Files, ReadOptions), Error> {
    let mut splits = set.splits();
    let mut files = set.files(&splits, hub, progress);
    while files.is_err() && splits.len() > 1 {
        // One after the other is left out, those for training first.
        splits.remove(0);
        files = set.files(&splits, hub, progress);
    }
    let files = files.or_else(|_| set.files(&set.splits(), hub, progress))?;
    let first = Split::ALL.into_iter().find(|split| files.of(*split).is_some()).unwrap_or(Split::Train);
    let options = ReadOptions { pair_file: files.pairs[first as usize].clone(), ..files.read_options(set)? };
    Ok((files, options))
}

impl Files {
    /// How the files of a set are read, second texts aside.
    ///
    /// # Errors
    /// None for entries as they are: a format that is unknown.
    pub fn read_options(&self, set: &DataSet) -> Result<ReadOptions, Error> {
        let mut data = DataRecipe { set: Some(set.name.to_string()), ..DataRecipe::default() };
        columns(&mut data, self, true, None);
        crate::prepare::read_options(&data, task(set.kind).reader())
    }
}

fn fill(
    slot: &mut Option<PathBuf>,
    pair_slot: &mut Option<PathBuf>,
    file: Option<PathBuf>,
    pair: Option<PathBuf>,
) {
    if slot.is_none() {
        *slot = file;
        *pair_slot = pair_slot.take().or(pair);
    }
}

/// Columns, format and names of classes; without labels if something else is learnt than what they are for.
fn columns(data: &mut DataRecipe, files: &Files, labels: bool, kind: Option<Kind>) {
    let said = |column: Option<&'static str>| column.map(str::to_string);
    data.text = data.text.take().or(said(files.columns.text));
    data.format = data.format.take().or(files.format.map(|format| format.to_string()));
    if kind.is_some_and(|kind| task(kind).reader() == Task::Unlabelled) {
        return;
    }
    data.pair = data.pair.take().or(said(files.columns.pair));
    if labels && data.label.is_empty() {
        data.label.extend(said(files.columns.label));
        if data.names.is_empty() {
            data.names = files.classes.iter().map(|class| class.to_string()).collect();
        }
    }
}

/// The kind of task and the measure, where nothing else is said.
fn measure(task: &mut TaskRecipe, set: &DataSet) {
    if *task.kind.get_or_insert(set.kind) != set.kind {
        return;
    }
    task.metric.get_or_insert_with(|| set.metric.to_string());
    task.positive = task.positive.take().or(set.positive.map(str::to_string));
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::hub::{Settings, Silent};

    fn hub(home: &Path) -> Hub {
        Hub::with(Settings {
            cache: home.join("cache"),
            offline: true,
            hf_endpoint: "http://127.0.0.1:9".into(),
            hf_token: None,
            certificates: None,
            search_path: "/nowhere".into(),
            data_home: Some(home.to_path_buf()),
        })
    }

    fn named(name: &str) -> Recipe {
        let data = DataRecipe { set: Some(name.into()), ..DataRecipe::default() };
        Recipe { data, ..Recipe::default() }
    }

    fn put(home: &Path, files: &[&str]) {
        for file in files {
            std::fs::create_dir_all(home.join(file).parent().unwrap()).unwrap();
            std::fs::write(home.join(file), "x").unwrap();
        }
    }

    #[test]
    fn a_name_becomes_files_columns_classes_and_a_measure() {
        let home = tempfile::tempdir().unwrap();
        put(home.path(), &["glue/MRPC/train.tsv", "glue/MRPC/dev.tsv"]);
        let (recipe, notes) = settle(&named("glue/mrpc"), &hub(home.path()), &Silent).unwrap();
        let data = &recipe.data;
        assert_eq!(data.train, home.path().join("glue/MRPC/train.tsv"));
        // The labels of the test set are hidden: the development set is measured on and chooses nothing.
        assert_eq!((&data.dev, data.test.as_deref()), (&None, Some(&*home.path().join("glue/MRPC/dev.tsv"))));
        assert!(notes.iter().any(|note| note.contains("not public")), "{notes:?}");
        assert_eq!((data.text.as_deref(), data.pair.as_deref()), (Some("#1 String"), Some("#2 String")));
        assert_eq!((data.label.as_slice(), data.names.len()), (&["Quality".to_string()][..], 2));
        assert_eq!((recipe.task.kind, recipe.task.metric.as_deref()), (Some(Kind::Classify), Some("f1")));
        assert_eq!(recipe.task.positive.as_deref(), Some("equivalent"));
        // What was settled once stays, as it does when a run is resumed.
        assert_eq!(settle(&recipe, &hub(home.path()), &Silent).unwrap().0, recipe);
    }

    #[test]
    fn what_is_said_stands_above_the_entry() {
        let home = tempfile::tempdir().unwrap();
        put(home.path(), &["glue/MRPC/train.tsv", "glue/MRPC/dev.tsv"]);
        let mut given = named("glue/mrpc");
        given.data.test = Some("mine.tsv".into());
        given.data.label = vec!["other".into()];
        given.task.metric = Some("accuracy".into());
        let (recipe, _) = settle(&given, &hub(home.path()), &Silent).unwrap();
        assert_eq!(recipe.data.test.as_deref(), Some(Path::new("mine.tsv")));
        assert_eq!(recipe.data.dev, Some(home.path().join("glue/MRPC/dev.tsv")));
        assert_eq!((recipe.data.label.as_slice(), recipe.data.names.len()), (&["other".to_string()][..], 0));
        assert_eq!(recipe.task.metric.as_deref(), Some("accuracy"));

        let mut language = named("glue/mrpc");
        language.task.kind = Some(Kind::MaskedLm);
        let (recipe, _) = settle(&language, &hub(home.path()), &Silent).unwrap();
        assert_eq!((recipe.data.text.as_deref(), &recipe.data.pair), (Some("#1 String"), &None));
        assert!(
            recipe.data.label.is_empty() && recipe.task.metric.is_none() && recipe.task.positive.is_none()
        );
    }

    #[test]
    fn translations_take_their_second_files_along() {
        let home = tempfile::tempdir().unwrap();
        let files = ["train", "val", "test_2016_flickr"]
            .map(|split| ["en", "de"].map(|language| format!("multi30k/raw/{split}.{language}.gz")));
        put(home.path(), &files.iter().flatten().map(String::as_str).collect::<Vec<_>>());
        let (recipe, _) = settle(&named("multi30k/en-de"), &hub(home.path()), &Silent).unwrap();
        let data = recipe.data;
        let at = |name: &str| Some(home.path().join("multi30k/raw").join(name));
        assert_eq!((data.dev, data.dev_pair_file), (at("val.en.gz"), at("val.de.gz")));
        assert_eq!(
            (data.test, data.test_pair_file),
            (at("test_2016_flickr.en.gz"), at("test_2016_flickr.de.gz"))
        );
        assert_eq!((Some(data.train), data.pair_file), (at("train.en.gz"), at("train.de.gz")));
    }

    #[test]
    fn a_set_without_training_examples_is_measured_on_only() {
        let home = tempfile::tempdir().unwrap();
        put(home.path(), &["xquad/xquad.en.json"]);
        let error = settle(&named("xquad/en"), &hub(home.path()), &Silent).unwrap_err().to_string();
        assert!(error.contains("no training examples") && error.contains("topwork eval"), "{error}");
        let mut data = DataRecipe::default();
        let set = find("xquad/en").unwrap();
        let said = measured(set, &mut data, &hub(home.path()), &Silent).unwrap();
        assert_eq!(data.train, home.path().join("xquad/xquad.en.json"));
        assert!(said.contains("xquad/en"), "{said}");
    }
}
