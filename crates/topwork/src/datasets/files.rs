//! Where the files of a data set are: below the folder of data sets, else in the cache of the hub.

use std::path::{Path, PathBuf};

use topwork_data::Format;

use super::{AtHome, Columns, DataSet, OnHub, PARQUET};
use crate::error::Error;
use crate::hub::{Error as HubError, Hub, Progress};

/// A part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// For training.
    Train,
    /// For choosing.
    Dev,
    /// For the final score.
    Test,
}

impl Split {
    /// All of them, in the order of [`sizes`](field@DataSet::sizes).
    pub const ALL: [Split; 3] = [Split::Train, Split::Dev, Split::Test];

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Split::Train => "training",
            Split::Dev => "development",
            Split::Test => "test",
        }
    }
}

/// The files of a data set on this machine, and how they are read.
#[derive(Clone, Debug, PartialEq)]
pub struct Files {
    /// Files or folders for training, development and test.
    pub paths: [Option<PathBuf>; 3],
    /// The files of second texts beside them.
    pub pairs: [Option<PathBuf>; 3],
    /// The test set whose labels are not public.
    pub unlabelled: Option<PathBuf>,
    /// Their columns.
    pub columns: Columns,
    /// Their format, where the names do not tell.
    pub format: Option<Format>,
    /// The names that stand for the numbers of classes in them, if those are numbers.
    pub classes: &'static [&'static str],
    /// Where they were found, in words.
    pub found: String,
}

impl Files {
    /// The file of a split.
    pub fn of(&self, split: Split) -> Option<&Path> {
        self.paths[split as usize].as_deref()
    }
}

impl DataSet {
    /// The splits with labels.
    pub fn splits(&self) -> Vec<Split> {
        Split::ALL.into_iter().filter(|split| self.sizes[*split as usize].is_some()).collect()
    }

    /// Finds the files: those as published if all that are wanted are there, else those of the hub, fetched if need be.
    ///
    /// # Errors
    /// [`Error::DataSet`] with the files that are missing and where to put them; what goes wrong when fetching.
    pub fn files(&self, wanted: &[Split], hub: &Hub, progress: &dyn Progress) -> Result<Files, Error> {
        if let (Some(home), Some(folder)) = (&self.home, hub.data_home())
            && let Some(files) = home.below(folder, self.classes)
            && wanted.iter().all(|split| files.of(*split).is_some())
        {
            return Ok(files);
        }
        let Some(repository) = &self.hub else {
            return Err(self.missing(wanted, hub));
        };
        match repository.fetched(self, hub, progress) {
            Err(HubError::Offline { .. }) => Err(self.missing(wanted, hub)),
            files => Ok(files?),
        }
    }

    fn missing(&self, wanted: &[Split], hub: &Hub) -> Error {
        let home = hub.data_home();
        let folder = home.unwrap_or(Path::new("FOLDER"));
        let mut ways = Vec::new();
        if let Some(at_home) = &self.home {
            let lacking: Vec<String> = wanted
                .iter()
                .flat_map(|split| [at_home.files[*split as usize], at_home.pairs[*split as usize]])
                .filter(|file| !file.is_empty() && at_home.find(folder, file).is_none())
                .map(|names| {
                    let file = names.split('|').next().unwrap_or_default();
                    folder.join(at_home.folder).join(file).display().to_string()
                })
                .collect();
            let say = if home.is_some() { "" } else { " and say --data-home FOLDER (or set TOPWORK_DATA)" };
            ways.push(format!("put {}{say}", lacking.join(" and ")));
        }
        if let Some(hub) = &self.hub {
            ways.push(format!(
                "run it once where there is a network, without --offline: it is fetched from hf:{} (configuration {})",
                hub.repository, hub.config
            ));
        }
        let problem = match (home, &self.home) {
            (Some(home), Some(_)) => {
                format!("its files are neither below {} nor in the cache", home.display())
            }
            (None, Some(_)) => "its files are not in the cache, and no folder of data sets is named".into(),
            _ => "its files are not in the cache".into(),
        };
        Error::DataSet { name: self.name, problem, way_out: ways.join("; or ") }
    }
}

impl AtHome {
    /// A file below the folder of data sets, or of this collection, under one of its names.
    fn find(&self, folder: &Path, names: &str) -> Option<PathBuf> {
        let names = names.split('|').filter(|name| !name.is_empty());
        let mut places = names.flat_map(|name| [folder.join(self.folder).join(name), folder.join(name)]);
        places.find(|path| path.exists())
    }

    /// The files that are there; `None` if none is.
    fn below(&self, folder: &Path, classes: &'static [&'static str]) -> Option<Files> {
        let paths = self.files.map(|file| self.find(folder, file));
        let unlabelled = self.unlabelled.and_then(|file| self.find(folder, file));
        let first = paths.iter().flatten().next().or(unlabelled.as_ref())?;
        let found = format!("as published, below {}", first.parent().unwrap_or(folder).display());
        Some(Files {
            pairs: self.pairs.map(|file| self.find(folder, file)),
            unlabelled,
            columns: self.columns,
            format: self.format,
            classes: if self.numbers { classes } else { &[] },
            found,
            paths,
        })
    }
}

impl OnHub {
    /// The files of the configuration, fetched the first time.
    fn fetched(&self, set: &DataSet, hub: &Hub, progress: &dyn Progress) -> Result<Files, HubError> {
        let folder = |split: Split| format!("{}/{}", self.config, self.splits[split as usize]);
        let mut folders: Vec<String> = set.splits().into_iter().map(folder).collect();
        if set.unlabelled.is_some() {
            folders.push(folder(Split::Test));
        }
        let reference = format!("hf:{}@{PARQUET}", self.repository);
        let found = hub.folders(&reference, &folders, progress)?;
        let there = |split: Split| one(&found.path.join(folder(split)));
        let commit = found.commit.as_deref().unwrap_or("an unknown commit");
        Ok(Files {
            paths: Split::ALL.map(|split| set.sizes[split as usize].map(|_| there(split))),
            pairs: [None, None, None],
            unlabelled: set.unlabelled.map(|_| there(Split::Test)),
            columns: self.columns,
            format: None,
            classes: set.classes,
            found: format!("from hf:{} at {commit}, configuration {}", self.repository, self.config),
        })
    }
}

/// The file of a folder that holds one alone, else the folder.
fn one(folder: &Path) -> PathBuf {
    let mut files = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    match (files.next(), files.next()) {
        (Some(file), None) => file,
        _ => folder.to_path_buf(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasets::find;
    use crate::hub::{Settings, Silent};

    fn hub(home: Option<&Path>, cache: &Path) -> Hub {
        Hub::with(Settings {
            cache: cache.to_path_buf(),
            offline: true,
            hf_endpoint: "http://127.0.0.1:9".into(),
            hf_token: None,
            certificates: None,
            search_path: "/nowhere".into(),
            data_home: home.map(Path::to_path_buf),
        })
    }

    #[test]
    fn files_are_found_below_the_folder_with_and_without_the_name_of_the_collection() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        for path in ["a/glue/RTE/train.tsv", "a/glue/RTE/dev.tsv", "a/glue/RTE/test.tsv", "b/RTE/dev.tsv"] {
            std::fs::create_dir_all(at(path).parent().unwrap()).unwrap();
            std::fs::write(at(path), "x").unwrap();
        }
        let set = find("glue/rte").unwrap();
        let cache = at("cache");
        let found = set.files(&set.splits(), &hub(Some(&at("a")), &cache), &Silent).unwrap();
        assert_eq!(found.of(Split::Train), Some(at("a/glue/RTE/train.tsv").as_path()));
        assert_eq!(found.unlabelled, Some(at("a/glue/RTE/test.tsv")));
        assert_eq!((found.of(Split::Test), found.classes.len()), (None, 0));
        let inside = set.files(&set.splits(), &hub(Some(&at("a/glue")), &cache), &Silent).unwrap();
        assert_eq!(inside.paths, found.paths);

        let few = set.files(&[Split::Dev], &hub(Some(&at("b")), &cache), &Silent).unwrap();
        assert_eq!(few.paths, [None, Some(at("b/RTE/dev.tsv")), None]);
        let error = set.files(&set.splits(), &hub(Some(&at("b")), &cache), &Silent).unwrap_err().to_string();
        let missing = at("b/glue/RTE/train.tsv").display().to_string();
        for part in ["data set glue/rte", &missing, "hf:nyu-mll/glue", "--offline"] {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert!(!error.contains("dev.tsv"), "what is there is not missing: {error}");
        let error = set.files(&set.splits(), &hub(None, &cache), &Silent).unwrap_err().to_string();
        assert!(error.contains("--data-home FOLDER") && error.contains("FOLDER/glue/RTE/dev.tsv"), "{error}");
    }
}
