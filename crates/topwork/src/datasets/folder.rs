//! Folders whose files or folders are called by the parts of a data set: `train.csv` beside `test.csv`, `train/pos` beside
//! `test/pos`, the splits that HuggingFace's datasets saved.
//!
//! The parts are taken as they are named: cutting a test set from the training files while one lies beside them would measure
//! something else than everyone who names the set.

use std::path::{Path, PathBuf};

use topwork_data::{Splits, Task, splits_of};

use crate::prepare::read_options;
use crate::recipe::{DataRecipe, Recipe};
use crate::tasks::task;

/// The recipe with the parts of its folder for training, choosing and measuring, and what was decided, as lines for the user. A
/// recipe that names a file, or more than the training data, stays as it is.
pub(super) fn settle(recipe: &Recipe) -> (Recipe, Vec<String>) {
    let mut recipe = recipe.clone();
    let data = &recipe.data;
    let named = data.dev.is_some() || data.test.is_some() || data.split.is_some() || data.format.is_some();
    let found = if named || !data.train.is_dir() { None } else { splits_of(&data.train) };
    // Without training data it may be a folder of classes, one of which is called so.
    let Some(Splits { train: Some(train), dev, test }) = found else { return (recipe, Vec::new()) };
    let mut notes = Vec::new();
    let test = match test {
        Some(test) if unlabelled(&recipe, &test) => {
            notes.push(format!(
                "{}: its labels are not there, so a share of the training data is the test data",
                test.display()
            ));
            None
        }
        test => test,
    };
    let shown = |part: &Option<PathBuf>, otherwise: &str| {
        part.as_deref().map_or(otherwise.to_string(), |path| path.display().to_string())
    };
    notes.push(format!(
        "the folder says which part is which: {} to learn from, {} to choose by, {} to measure on",
        train.display(),
        shown(&dev, "a share of it"),
        shown(&test, "a share of it")
    ));
    recipe.data = DataRecipe { train, dev, test, ..recipe.data };
    (recipe, notes)
}

/// Whether a part has texts and not one label, as test sets of contests have.
fn unlabelled(recipe: &Recipe, path: &Path) -> bool {
    let reader = recipe.task.kind.map_or(Task::Class, |kind| task(kind).reader());
    let Ok(mut options) = read_options(&recipe.data, reader) else { return false };
    options.skip_unlabelled = true;
    // Those without a label are left out, so this is said where nothing stays.
    matches!(topwork_data::read(path, &options), Err(topwork_data::Error::MissingLabel { .. }))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn recipe(folder: &Path) -> Recipe {
        Recipe { data: DataRecipe { train: folder.into(), ..DataRecipe::default() }, ..Recipe::default() }
    }

    const ROWS: &str = "text,label\na,x\nb,y\n";

    #[test]
    fn parts_are_what_they_are_called() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("train.csv"), ROWS).unwrap();
        fs::write(at("test.csv"), ROWS).unwrap();
        fs::write(at("README.md"), "words").unwrap();
        let (found, notes) = settle(&recipe(folder.path()));
        assert_eq!((&found.data.train, &found.data.dev), (&at("train.csv"), &None));
        assert_eq!(found.data.test, Some(at("test.csv")));
        assert!(notes[0].contains("a share of it to choose by"), "{notes:?}");
        // What is said stands.
        let mut said = recipe(folder.path());
        said.data.test = Some("other.csv".into());
        assert_eq!(settle(&said), (said.clone(), Vec::new()));
        // Labels that nobody has are not asked for.
        fs::write(at("test.csv"), "text,label\na,\nb,\n").unwrap();
        fs::write(at("dev.csv"), ROWS).unwrap();
        let (found, notes) = settle(&recipe(folder.path()));
        assert_eq!((found.data.dev, found.data.test), (Some(at("dev.csv")), None));
        assert!(notes[0].contains("test.csv: its labels are not there"), "{notes:?}");
    }

    #[test]
    fn folders_of_classes_stay_what_they_are() {
        let folder = tempfile::tempdir().unwrap();
        for class in ["contest", "sport"] {
            fs::create_dir(folder.path().join(class)).unwrap();
            fs::write(folder.path().join(class).join("a.txt"), "a").unwrap();
        }
        let asked = recipe(folder.path());
        assert_eq!(settle(&asked), (asked.clone(), Vec::new()));
        // Two that could be the training data are no answer.
        fs::write(folder.path().join("train.csv"), ROWS).unwrap();
        fs::write(folder.path().join("train.tsv"), ROWS).unwrap();
        assert_eq!(settle(&asked), (asked.clone(), Vec::new()));
    }
}
