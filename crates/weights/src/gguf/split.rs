//! Models in several GGUF files, as `gguf-split` and the `gguf` package of Python write them:
//! `NAME-00001-of-00003.gguf`. Each file says which one it is and how many there are; the first has all other metadata.
//!
//! Format: <https://github.com/ggml-org/llama.cpp/blob/master/tools/gguf-split/README.md>

use std::path::{Path, PathBuf};

use super::Gguf;
use crate::{Error, TensorFile};

/// The keys of a part: which it is, of how many, and how many tensors all have together.
const NUMBER: &str = "split.no";
const COUNT: &str = "split.count";
const TENSORS: &str = "split.tensors.count";

/// Most parts; llama.cpp's names have five digits.
const MOST: u64 = 99_999;

/// Which part of how many a file is by its name, both from 1, and what stands before.
fn by_name(name: &str) -> Option<(&str, u64, u64)> {
    let stem = name.strip_suffix(".gguf")?;
    let (stem, count) = stem.rsplit_once("-of-")?;
    let (stem, number) = stem.rsplit_once('-')?;
    let digits = |text: &str| (text.len() == 5).then(|| text.parse::<u64>().ok()).flatten();
    Some((stem, digits(number)?, digits(count)?))
}

/// Whether a file is a part behind the first, which stands for all.
pub(crate) fn is_later(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).and_then(by_name);
    name.is_some_and(|(_, number, _)| number > 1)
}

/// The whole of which a file may be a part.
///
/// # Errors
/// [`Error::BadFile`] where the parts do not fit together, or the names of the others are unknown; [`Error::MissingPart`].
pub(super) fn whole(file: Gguf) -> Result<Gguf, Error> {
    let count = match file.metadata.u64(COUNT) {
        None | Some(0 | 1) => return Ok(file),
        Some(count) => count,
    };
    let bad = |path: &Path, reason: String| {
        Err(Error::BadFile { path: path.to_path_buf(), format: "gguf", reason })
    };
    if count > MOST {
        return bad(&file.path, format!("it is said to be one of {count} parts, more than {MOST}"));
    }
    let path = file.path.clone();
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some((stem, _, _)) = by_name(name).filter(|&(_, _, named)| named == count) else {
        return bad(
            &path,
            format!(
                "it is one of {count} parts, which are found by names such as NAME-00001-of-{count:05}.gguf: give the files the names that they had"
            ),
        );
    };
    let place = |number: u64| path.with_file_name(format!("{stem}-{number:05}-of-{count:05}.gguf"));
    let mut first: Option<Gguf> = None;
    let mut own = Some(file);
    for number in 1..=count {
        let at = place(number);
        let part = match own.take_if(|file| file.path == at) {
            Some(file) => file,
            None if !at.is_file() => {
                return Err(Error::MissingPart { path: path.clone(), part: at, count: count as usize });
            }
            None => Gguf::open_part(&at)?,
        };
        let (said, of) = (part.metadata.u64(NUMBER), part.metadata.u64(COUNT));
        if (said, of) != (Some(number - 1), Some(count)) {
            let shown = |number: Option<u64>| number.map_or("none".to_string(), |number| number.to_string());
            return bad(
                &at,
                format!(
                    "it says that it is part {} of {}, counted from 0, its name that it is {} of {count}: is it of another model?",
                    shown(said),
                    shown(of),
                    number - 1
                ),
            );
        }
        match &mut first {
            None => first = Some(part),
            Some(first) => first.join(part)?,
        }
    }
    let Some(whole) = first else { return bad(&path, "it has no first part".to_string()) };
    match whole.metadata.u64(TENSORS) {
        Some(said) if said != whole.tensors.len() as u64 => bad(
            &path,
            format!("its parts have {} tensors together and are said to have {said}", whole.tensors.len()),
        ),
        _ => Ok(whole),
    }
}

impl Gguf {
    /// Adds the tensors of a later part.
    fn join(&mut self, later: Gguf) -> Result<(), Error> {
        let part = self.sources.len();
        for mut info in later.tensors {
            if let Some(&at) = self.by_name.get(&info.name) {
                let (path, tensor) = (later.path, info.name);
                let first = self.place(self.tensors[at].part).display().to_string();
                return Err(Error::BadTensor { path, tensor, reason: format!("it stands in {first} too") });
            }
            info.part = part;
            self.by_name.insert(info.name.clone(), self.tensors.len());
            self.tensors.push(info);
        }
        self.sources.extend(later.sources);
        Ok(())
    }

    /// The file of a part.
    pub(super) fn place(&self, part: usize) -> PathBuf {
        self.sources.get(part).map_or_else(|| self.path().to_path_buf(), |(path, _)| path.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::Checkpoint;

    fn fixtures() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/weights/gguf")
    }

    fn parts() -> Vec<PathBuf> {
        (1..=3)
            .map(|number| fixtures().join(format!("split/parts/model-{number:05}-of-00003.gguf")))
            .collect()
    }

    /// A folder with the parts, some of them under other names.
    fn copied(names: [&str; 3]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (from, name) in parts().iter().zip(names).filter(|(_, name)| !name.is_empty()) {
            fs::copy(from, folder.path().join(name)).unwrap();
        }
        folder
    }

    const NAMES: [&str; 3] =
        ["model-00001-of-00003.gguf", "model-00002-of-00003.gguf", "model-00003-of-00003.gguf"];

    #[test]
    fn parts_are_one_model_whichever_is_named() {
        let whole = Gguf::open(fixtures().join("llama.gguf")).unwrap();
        let expected = whole.names().len();
        assert!(expected > 16);
        for path in [parts(), vec![fixtures().join("split/parts")]].concat() {
            let found = Checkpoint::open(&path).unwrap();
            assert_eq!(found.len(), expected, "{}", path.display());
            assert_eq!(
                found.path().file_name().unwrap().to_str(),
                path.is_dir().then_some(NAMES[0]).or(path.file_name().unwrap().to_str())
            );
        }
        for path in parts() {
            let found = Gguf::open(&path).unwrap();
            for name in whole.names() {
                assert_eq!(found.read(name).unwrap(), whole.read(name).unwrap(), "{name}");
                assert_eq!(found.shape(name), whole.shape(name), "{name}");
            }
            assert_eq!(found.metadata().text("general.architecture"), Some("llama"));
            assert_eq!(found.config(), whole.config());
        }
    }

    #[test]
    fn a_part_that_is_not_there_is_named() {
        let folder = copied([NAMES[0], "", NAMES[2]]);
        for path in [folder.path().to_path_buf(), folder.path().join(NAMES[0]), folder.path().join(NAMES[2])]
        {
            let error = Checkpoint::open(&path).unwrap_err().to_string();
            assert!(error.contains("model-00002-of-00003.gguf is not there"), "{error}");
        }
        let folder = copied(["", NAMES[1], ""]);
        let error = Checkpoint::open(folder.path().join(NAMES[1])).unwrap_err().to_string();
        assert!(error.contains("model-00001-of-00003.gguf is not there"), "{error}");
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        let refused = |names, opened: &str, reason: &str| {
            let folder = copied(names);
            let error = Checkpoint::open(folder.path().join(opened)).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        };
        refused(["a.gguf", "b.gguf", "c.gguf"], "a.gguf", "give the files the names that they had");
        refused([NAMES[1], NAMES[0], NAMES[2]], NAMES[0], "it says that it is part 1 of 3");
        // The first part's tensors twice.
        let folder = copied(NAMES);
        let mut bytes = fs::read(folder.path().join(NAMES[0])).unwrap();
        let key = bytes.windows(NUMBER.len()).position(|window| window == NUMBER.as_bytes()).unwrap();
        bytes[key + NUMBER.len() + 4] = 1;
        fs::write(folder.path().join(NAMES[1]), &bytes).unwrap();
        let error = Checkpoint::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("it stands in") && error.contains(NAMES[0]), "{error}");
        // A part of a model with fewer tensors.
        let folder = copied(NAMES);
        let mut bytes = fs::read(folder.path().join(NAMES[0])).unwrap();
        let key = bytes.windows(TENSORS.len()).position(|window| window == TENSORS.as_bytes()).unwrap();
        bytes[key + TENSORS.len() + 4] += 1;
        fs::write(folder.path().join(NAMES[0]), &bytes).unwrap();
        let error = Checkpoint::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("are said to have"), "{error}");
    }

    #[test]
    fn names_of_parts() {
        assert_eq!(by_name("a-b-00002-of-00010.gguf"), Some(("a-b", 2, 10)));
        for other in ["a.gguf", "a-2-of-3.gguf", "a-00002-of-00010.bin", "00002-of-00010.gguf"] {
            assert_eq!(by_name(other), None, "{other}");
        }
        assert!(
            is_later(Path::new("x/a-00002-of-00002.gguf")) && !is_later(Path::new("a-00001-of-00002.gguf"))
        );
    }
}
