//! Data sets by name: where they are, what stands in their columns, how they are measured.
//!
//! An entry is data and nothing else. [`settle`] makes a recipe of a name, and [`DataSet::files`] finds the files: below the
//! folder of data sets on this machine, laid out as they were published, else in their repository on a HuggingFace hub.
//!
//! Sizes, columns, names of classes and configurations are those of the data set cards and `dataset_infos.json` that the 1.x
//! versions of HuggingFace's datasets kept in `datasets/NAME` (<https://github.com/huggingface/datasets/tree/1.18.4/datasets>),
//! those of files on this machine were counted. A repository that has moved under an owner since answers to its old name as
//! well. Where neither says a licence or a paper, there is none here: that means unknown, not free.

mod choices;
mod files;
mod folder;
pub(crate) mod glue;
mod languages;
mod pairs;
mod questions;
mod recipe;
mod running;
mod tags;
mod texts;
mod tweets;
mod written;

pub use files::{Files, Split};
pub use recipe::{measured, settle, shown};

use topwork_data::Format;

use crate::error::Error;
use crate::nearest::nearest;
use crate::recipe::Kind;

/// A data set that is known by name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DataSet {
    /// What it is called: `glue/sst2`, `trec`.
    pub name: &'static str,
    /// One line.
    pub title: &'static str,
    /// What is learnt from it.
    pub kind: Kind,
    /// The measure that results on it are given in.
    pub metric: &'static str,
    /// The class that the measure is about, where it is about one of two.
    pub positive: Option<&'static str>,
    /// Names of the classes that its files have as numbers, from 0; none where the files themselves say them.
    pub classes: &'static [&'static str],
    /// Labelled examples for training, for development and for the test; `None` where there is no such split.
    pub sizes: [Option<usize>; 3],
    /// Examples of a test set whose labels are not public.
    pub unlabelled: Option<usize>,
    /// Its repository on the HuggingFace hub.
    pub hub: Option<OnHub>,
    /// Its files as they were published.
    pub home: Option<AtHome>,
    /// Its licence.
    pub licence: Option<&'static str>,
    /// The paper it comes from.
    pub paper: Option<&'static str>,
}

/// Which columns are read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Columns {
    /// The text.
    pub text: Option<&'static str>,
    /// The second text.
    pub pair: Option<&'static str>,
    /// The label.
    pub label: Option<&'static str>,
}

/// A repository of the HuggingFace hub, read from the branch of Parquet files that the hub writes for each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OnHub {
    /// `owner/name`, or `name`.
    pub repository: &'static str,
    /// The configuration, which is a folder.
    pub config: &'static str,
    /// Its splits for training, development and test, each a folder below.
    pub splits: [&'static str; 3],
    /// Its columns.
    pub columns: Columns,
}

/// Files as they were published, below a folder of data sets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AtHome {
    /// The folder of the collection, which may be left out: `glue`.
    pub folder: &'static str,
    /// The files for training, development and test; empty where there is none, with a bar between names that they go by.
    pub files: [&'static str; 3],
    /// The files of second texts beside them, of translations.
    pub pairs: [&'static str; 3],
    /// The test file without labels.
    pub unlabelled: Option<&'static str>,
    /// Their format, where the names do not tell.
    pub format: Option<Format>,
    /// Their columns.
    pub columns: Columns,
    /// Whether the labels are numbers, which the names of the classes stand for.
    pub numbers: bool,
}

/// The branch of Parquet files that the hub keeps of every data set: `CONFIGURATION/SPLIT/0000.parquet`.
/// <https://huggingface.co/docs/dataset-viewer/parquet>
pub const PARQUET: &str = "refs/convert/parquet";

impl DataSet {
    const fn new(name: &'static str, kind: Kind, metric: &'static str, title: &'static str) -> Self {
        DataSet {
            name,
            title,
            kind,
            metric,
            positive: None,
            classes: &[],
            sizes: [None; 3],
            unlabelled: None,
            hub: None,
            home: None,
            licence: None,
            paper: None,
        }
    }

    /// The repository and its configuration.
    const fn hub(mut self, repository: &'static str, config: &'static str) -> Self {
        let splits = ["train", "validation", "test"];
        self.hub = Some(OnHub { repository, config, splits, columns: Columns::NONE });
        self
    }

    /// Other names of the splits than usual.
    const fn split_names(mut self, train: &'static str, dev: &'static str, test: &'static str) -> Self {
        if let Some(hub) = &mut self.hub {
            hub.splits = [train, dev, test];
        }
        self
    }

    /// The columns in the repository; empty for those that need not be said.
    const fn columns(mut self, text: &'static str, pair: &'static str, label: &'static str) -> Self {
        if let Some(hub) = &mut self.hub {
            hub.columns = Columns::of(text, pair, label);
        }
        self
    }

    const fn classes(mut self, classes: &'static [&'static str]) -> Self {
        self.classes = classes;
        self
    }

    const fn positive(mut self, class: &'static str) -> Self {
        self.positive = Some(class);
        self
    }

    /// Examples for training, development and test; 0 for a split that is not there.
    const fn sizes(mut self, train: usize, dev: usize, test: usize) -> Self {
        self.sizes = [some(train), some(dev), some(test)];
        self
    }

    /// A test set without labels.
    const fn unlabelled(mut self, examples: usize) -> Self {
        self.unlabelled = Some(examples);
        self
    }

    /// Files as published, for training, development and test.
    const fn home(mut self, folder: &'static str, files: [&'static str; 3]) -> Self {
        self.home = Some(AtHome {
            folder,
            files,
            pairs: [""; 3],
            unlabelled: None,
            format: None,
            columns: Columns::NONE,
            numbers: false,
        });
        self
    }

    /// The columns, and the format if it is to be said, of the files as published.
    const fn home_columns(
        mut self,
        text: &'static str,
        pair: &'static str,
        label: &'static str,
        format: Option<Format>,
    ) -> Self {
        if let Some(home) = &mut self.home {
            home.columns = Columns::of(text, pair, label);
            home.format = format;
        }
        self
    }

    /// The files as published have numbers for labels.
    const fn home_numbers(mut self) -> Self {
        if let Some(home) = &mut self.home {
            home.numbers = true;
        }
        self
    }

    /// The files of second texts beside those of the first.
    const fn home_pairs(mut self, pairs: [&'static str; 3]) -> Self {
        if let Some(home) = &mut self.home {
            home.pairs = pairs;
        }
        self
    }

    /// The file as published of the test set without labels.
    const fn home_unlabelled(mut self, file: &'static str) -> Self {
        if let Some(home) = &mut self.home {
            home.unlabelled = Some(file);
        }
        self
    }

    const fn licence(mut self, licence: &'static str) -> Self {
        self.licence = Some(licence);
        self
    }

    const fn paper(mut self, paper: &'static str) -> Self {
        self.paper = Some(paper);
        self
    }

    /// How many examples it has, in words: `67349 / 872 / - examples`.
    pub fn counted(&self) -> String {
        let number = |size: &Option<usize>| size.map_or_else(|| "-".into(), |size| size.to_string());
        let sizes: Vec<String> = self.sizes.iter().map(number).collect();
        let hidden = match self.unlabelled {
            Some(count) => format!(", and {count} whose labels are not public"),
            None => String::new(),
        };
        format!("{} examples (train / dev / test){hidden}", sizes.join(" / "))
    }
}

impl Columns {
    const NONE: Columns = Columns { text: None, pair: None, label: None };

    const fn of(text: &'static str, pair: &'static str, label: &'static str) -> Columns {
        Columns { text: said(text), pair: said(pair), label: said(label) }
    }
}

const fn said(text: &'static str) -> Option<&'static str> {
    if text.is_empty() { None } else { Some(text) }
}

const fn some(size: usize) -> Option<usize> {
    if size == 0 { None } else { Some(size) }
}

/// Every data set by area, in the order `list` prints them.
pub const DATASETS: &[&[DataSet]] = &[
    glue::LIST,
    texts::LIST,
    tweets::LIST,
    pairs::LIST,
    languages::LIST,
    choices::LIST,
    questions::LIST,
    tags::LIST,
    written::LIST,
    running::LIST,
];

/// Every data set.
pub fn all() -> impl Iterator<Item = &'static DataSet> {
    DATASETS.iter().copied().flatten()
}

/// The data set of a name.
///
/// # Errors
/// [`Error::UnknownDataSet`] with the nearest name.
pub fn find(name: &str) -> Result<&'static DataSet, Error> {
    all().find(|set| set.name == name).ok_or_else(|| Error::UnknownDataSet {
        name: name.to_string(),
        count: all().count(),
        meant: nearest(name, all().map(|set| set.name)).unwrap_or_default(),
    })
}

/// The data set that stands for a text which is no path on this machine.
pub fn named(text: &str) -> Option<&'static DataSet> {
    if std::path::Path::new(text).exists() { None } else { find(text).ok() }
}

/// The name that was probably meant by one that is not quite right; `None` if nothing is near.
pub(crate) fn meant(name: &str) -> Option<&'static str> {
    let nearest = nearest(name, all().map(|set| set.name))?;
    (strsim::damerau_levenshtein(name, nearest) <= (name.len() / 4).max(1)).then_some(nearest)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use topwork_train::metrics::METRICS;

    use super::*;
    use crate::tasks::task;

    #[test]
    fn every_entry_is_whole() {
        let mut seen = HashSet::new();
        for set in all() {
            let name = set.name;
            assert!(seen.insert(name), "{name} stands twice");
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-/".contains(c);
            assert!(!name.is_empty() && name.chars().all(plain) && name.matches('/').count() <= 1, "{name}");
            assert!(set.title.len() > 10 && !set.title.ends_with('.'), "{name}: {}", set.title);
            let metric = METRICS.iter().find(|spec| spec.name == set.metric);
            let metric = metric.unwrap_or_else(|| panic!("{name}: {}", set.metric));
            assert!(metric.tasks.contains(&task(set.kind).measures()), "{name}: {}", set.metric);
            let classes: HashSet<&str> = set.classes.iter().copied().collect();
            assert_eq!(classes.len(), set.classes.len(), "{name}: a class stands twice");
            assert!(set.classes.len() != 1 && set.classes.iter().all(|class| !class.is_empty()), "{name}");
            let labelled = matches!(set.kind, Kind::Classify | Kind::MultiLabel | Kind::Tag);
            assert!(labelled || set.classes.is_empty(), "{name}: classes of what?");
            if let Some(positive) = set.positive {
                assert!(set.classes.contains(&positive), "{name}: {positive}");
            }
            let links = [set.paper].into_iter().flatten();
            assert!(links.clone().all(|link| link.starts_with("https://")), "{name}: {:?}", set.paper);
            assert!(set.licence.is_none_or(|licence| !licence.trim().is_empty()), "{name}");
            assert!(set.sizes.iter().any(Option::is_some), "{name} has no examples");
            assert!(set.hub.is_some() || set.home.is_some(), "{name} is nowhere");
            if let Some(hub) = &set.hub {
                assert!(format!("hf:{}", hub.repository).parse::<crate::hub::Reference>().is_ok(), "{name}");
                let folders: HashSet<&str> = hub.splits.iter().copied().collect();
                assert!(!hub.config.is_empty() && folders.len() == 3, "{name}: {hub:?}");
            }
            if let Some(home) = &set.home {
                // A file at home for a split is counted, and the other way round.
                for (at, file) in home.files.iter().enumerate() {
                    assert_eq!(file.is_empty(), set.sizes[at].is_none(), "{name}: split {at}");
                    assert!(!file.starts_with('/') && !file.contains(".."), "{name}: {file}");
                }
                assert!(!home.numbers || !set.classes.is_empty(), "{name}: numbers without names");
            }
        }
        assert_eq!(seen.len(), 193, "count the entries");
        assert_eq!(DATASETS.len(), 10);
    }

    #[test]
    fn a_name_is_found_and_a_wrong_one_names_the_nearest() {
        let set = find("glue/sst2").unwrap();
        assert_eq!((set.classes, set.sizes[0]), (&["negative", "positive"][..], Some(67_349)));
        let error = find("glue/sts2").unwrap_err().to_string();
        assert!(error.contains("did you mean \"glue/sst2\"") || error.contains("\"glue/stsb\""), "{error}");
        assert_eq!(meant("bankng77"), Some("banking77"));
        assert_eq!(meant("mails"), None);
        assert_eq!(meant("nowhere/at-all"), None);
    }
}
