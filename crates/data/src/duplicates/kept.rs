//! Groups of repeated texts on disk, found again by the content of all the texts: looking for them again in the same data would be
//! most of the time before training begins.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::{Duplicates, NearOptions};
use crate::write::atomic;
use crate::{Dataset, Error, LeakReport, Result, Split, SplitOptions};

/// Form of the files, and of what is compared: another one is another key.
const VERSION: u8 = 1;
/// Fewer texts than these are compared sooner than a file is opened.
const LEAST: usize = 1000;
/// Files that are kept; the oldest make room.
const FILES: usize = 64;
/// Bytes of the check at the end of a file.
const CHECK: usize = 16;

/// A folder in which groups of repeated texts are kept for every process that uses it, or none.
///
/// A file is 4 bytes a text. One that is cut short or was changed is found out and made again; that a file cannot be written costs
/// only time.
#[derive(Clone, Debug, Default)]
pub struct GroupCache(Option<PathBuf>);

impl GroupCache {
    /// A cache in a folder, which need not be there yet.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self(Some(folder.into()))
    }

    /// [`duplicates`](super::duplicates()) of texts that may have been gone through before.
    pub fn duplicates(&self, dataset: &Dataset, near: Option<&NearOptions>) -> Duplicates {
        super::of_dataset(dataset, near, self)
    }

    /// [`leaks`](super::leaks) between sets that may have been gone through before.
    pub fn leaks(&self, sets: &[(&str, &Dataset)], near: Option<&NearOptions>) -> LeakReport {
        super::leak::between(sets, near, self)
    }

    /// [`split`](crate::split()) of a set that may have been gone through before.
    ///
    /// # Errors
    /// As [`split`](crate::split()).
    pub fn split(&self, dataset: &Dataset, options: &SplitOptions) -> Result<Split> {
        crate::split::parts(dataset, options, self)
    }

    /// The groups of these texts: kept ones, or those that `find` finds.
    pub(super) fn of(
        &self,
        texts: &[&str],
        near: Option<&NearOptions>,
        find: impl FnOnce() -> Duplicates,
    ) -> Duplicates {
        let Some(folder) = self.0.as_ref().filter(|_| texts.len() >= LEAST) else { return find() };
        let path = folder.join(key(texts, near));
        if let Some(known) = fs::read(&path).ok().and_then(|bytes| parse(&bytes, texts.len())) {
            return known;
        }
        let found = find();
        // What cannot be kept is found again.
        let _ = keep(folder, &path, &found);
        found
    }
}

/// Stands for the texts and for what is looked for among them.
fn key(texts: &[&str], near: Option<&NearOptions>) -> String {
    let mut hash = Sha256::new();
    hash.update([VERSION, u8::from(near.is_some())]);
    hash.update(near.map_or(0.0, |near| near.threshold).to_le_bytes());
    for text in texts {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    hash.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn keep(folder: &Path, path: &Path, found: &Duplicates) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(16 + 4 * found.group.len() + CHECK);
    bytes.extend((found.exact as u64).to_le_bytes());
    bytes.extend((found.near as u64).to_le_bytes());
    for &first in &found.group {
        bytes.extend(u32::try_from(first).map_err(io::Error::other)?.to_le_bytes());
    }
    let check = Sha256::digest(&bytes);
    bytes.extend(&check[..CHECK]);
    fs::create_dir_all(folder)?;
    let mut kept: Vec<_> = fs::read_dir(folder)?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.metadata().ok()?.modified().ok()?, entry.path()))
        })
        .collect();
    kept.sort();
    for (_, old) in &kept[..(kept.len() + 1).saturating_sub(FILES)] {
        fs::remove_file(old)?;
    }
    let fill = |mut file: BufWriter<File>| {
        file.write_all(&bytes).map_err(|source| Error::Write { path: path.into(), source })?;
        atomic::done(path, file)
    };
    atomic::write(path, fill).map_err(io::Error::other)
}

/// `None` for bytes that are not what [`keep`] wrote of so many texts.
fn parse(bytes: &[u8], texts: usize) -> Option<Duplicates> {
    let (content, check) = bytes.split_at_checked(bytes.len().checked_sub(CHECK)?)?;
    if Sha256::digest(content)[..CHECK] != *check || content.len() != 16 + 4 * texts {
        return None;
    }
    let (numbers, group) = content.split_at(16);
    let mut counts = numbers.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes) as usize);
    let group: Vec<usize> =
        group.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes) as usize).collect();
    let sound = group.iter().enumerate().all(|(at, &first)| first <= at && group[first] == first);
    Some(Duplicates { exact: counts.next()?, near: counts.next()?, group }).filter(|_| sound)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn texts(changed: &str) -> Vec<String> {
        let mut texts: Vec<String> = (0..LEAST).map(|at| format!("text {}", at / 2)).collect();
        texts[7] = changed.into();
        texts
    }

    /// The groups as the cache gives them; `looked` counts how often they were looked for.
    fn ask(
        cache: &GroupCache,
        texts: &[String],
        near: Option<&NearOptions>,
        looked: &Cell<usize>,
    ) -> Duplicates {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        cache.of(&texts, near, || {
            looked.set(looked.get() + 1);
            Duplicates { group: (0..texts.len()).map(|at| at / 2 * 2).collect(), exact: 2, near: 1 }
        })
    }

    #[test]
    fn groups_of_the_same_texts_are_found_once() {
        let folder = tempfile::tempdir().unwrap();
        let cache = GroupCache::new(folder.path().join("groups"));
        let (sane, near, looked) = (texts("a"), NearOptions::default(), Cell::new(0));
        let found = ask(&cache, &sane, Some(&near), &looked);
        assert_eq!((ask(&cache, &sane, Some(&near), &looked), looked.get()), (found.clone(), 1));
        // Another text, another order, another threshold, none at all, and other borders of texts.
        ask(&cache, &texts("b"), Some(&near), &looked);
        let mut turned = sane.clone();
        turned.swap(0, 5);
        ask(&cache, &turned, Some(&near), &looked);
        ask(&cache, &sane, Some(&NearOptions { threshold: 0.9 }), &looked);
        ask(&cache, &sane, None, &looked);
        let mut shifted = sane.clone();
        (shifted[8], shifted[9]) = ("text".into(), " 4text 4".into());
        ask(&cache, &shifted, None, &looked);
        assert_eq!(looked.get(), 6);
        ask(&GroupCache::default(), &sane, None, &looked);
        ask(&cache, &sane[..LEAST - 1], None, &looked);
        assert_eq!(looked.get(), 8, "no folder, and few texts");
        // What was cut or changed is made again.
        for change in [|bytes: &mut Vec<u8>| bytes.truncate(100), |bytes: &mut Vec<u8>| bytes[20] ^= 1] {
            for file in fs::read_dir(folder.path().join("groups")).unwrap() {
                let path = file.unwrap().path();
                let mut bytes = fs::read(&path).unwrap();
                change(&mut bytes);
                fs::write(&path, bytes).unwrap();
            }
            let before = looked.get();
            assert_eq!(ask(&cache, &sane, Some(&near), &looked), found);
            assert_eq!(looked.get(), before + 1);
        }
    }

    #[test]
    fn old_files_make_room() {
        let folder = tempfile::tempdir().unwrap();
        let cache = GroupCache::new(folder.path());
        for number in 0..FILES + 5 {
            ask(&cache, &texts(&number.to_string()), None, &Cell::new(0));
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), FILES);
    }
}
