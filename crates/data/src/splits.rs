//! Which files or folders of a folder are for training, for choosing and for the final score, by their names.

use std::fs;
use std::path::{Path, PathBuf};

use crate::read::{hf_splits, is_hf};

/// The parts of a set, as they lie in a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Splits {
    /// For training.
    pub train: Option<PathBuf>,
    /// For choosing.
    pub dev: Option<PathBuf>,
    /// For the final score.
    pub test: Option<PathBuf>,
}

/// Words in names, and at the end of words: `eng.testa`, `en_ewt-ud-dev.conllu`, `wnut17train.conll`.
const TRAIN: &[&str] = &["train", "training"];
const DEV: &[&str] = &["dev", "valid", "validation", "val", "testa", "devel", "development"];
const TEST: &[&str] = &["test", "testb"];

/// The parts of a folder that `datasets` saved with splits, or whose files or folders are named so, there or in a
/// folder `data`. `None` if none is, or if a part could be several files: then they are to be said.
pub fn splits_of(folder: impl AsRef<Path>) -> Option<Splits> {
    let folder = folder.as_ref();
    if is_hf(folder) {
        let found = hf_splits(folder)?;
        return choose(found.into_iter().map(|(name, path)| (role(&name), path)));
    }
    named(folder).or_else(|| named(&folder.join("data")))
}

fn named(folder: &Path) -> Option<Splits> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).ok()? {
        let path = entry.ok()?.path();
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let other =
            [".md", ".py", ".sh", ".pdf", ".html", ".log", ".zip"].iter().any(|end| name.ends_with(end));
        if !name.starts_with('.') && !other {
            entries.push((role(&name), path));
        }
    }
    entries.sort();
    choose(entries.into_iter())
}

/// 0, 1 and 2 for train, dev and test.
pub(crate) fn role(name: &str) -> Option<usize> {
    let name = name.to_ascii_lowercase();
    let words: Vec<&str> = name.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let has = |names: &[&str], fits: fn(&str, &str) -> bool| {
        words.iter().any(|word| names.iter().any(|name| fits(word, name)))
    };
    // The whole word first: "testa" ends like nothing else, but "latest" ends in "test".
    let all = [TRAIN, DEV, TEST];
    let whole = all.iter().position(|names| has(names, |word, name| word == name));
    whole.or_else(|| {
        all.iter().position(|names| has(names, |word, name| word.ends_with(name) && word != "latest"))
    })
}

fn choose(entries: impl Iterator<Item = (Option<usize>, PathBuf)>) -> Option<Splits> {
    let mut parts: [Option<PathBuf>; 3] = Default::default();
    for (role, path) in entries {
        let Some(role) = role else { continue };
        if parts[role].replace(path).is_some() {
            return None;
        }
    }
    let [train, dev, test] = parts;
    (train.is_some() || dev.is_some() || test.is_some()).then_some(Splits { train, dev, test })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_the_part() {
        for (name, expected) in [
            ("train.tsv", Some(0)),
            ("eng.train", Some(0)),
            ("wnut17train.conll", Some(0)),
            ("eng.testa", Some(1)),
            ("eng.testb", Some(2)),
            ("en_ewt-ud-dev.conllu", Some(1)),
            ("validation", Some(1)),
            ("test-00000-of-00001.parquet", Some(2)),
            ("latest.csv", None),
            ("README", None),
            ("labels.txt", None),
        ] {
            assert_eq!(role(name), expected, "{name}");
        }
    }
}
