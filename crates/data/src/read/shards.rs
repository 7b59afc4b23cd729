//! A folder of files that are one table: large splits come as `0000.parquet`, `0001.parquet`, ..., reviews as
//! `negative.review` and `positive.review`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::dataset::Dataset;
use crate::report::ReadReport;
use crate::splits::role;
use crate::{Error, Format, ReadOptions, Result};

/// Formats whose files may be parts of one table.
const PARTS: [Format; 2] = [Format::Parquet, Format::Reviews];

/// The files of a folder that holds nothing but files of one such format, in the order of their names; `None` for any other
/// folder.
pub(super) fn of(folder: &Path) -> Option<(Format, Vec<PathBuf>)> {
    let mut files = Vec::new();
    let mut format = None;
    for entry in fs::read_dir(folder).ok()? {
        let path = entry.ok()?.path();
        let found = Format::of(&path).filter(|found| path.is_file() && PARTS.contains(found))?;
        if *format.get_or_insert(found) != found {
            return None;
        }
        files.push(path);
    }
    files.sort();
    format.map(|format| (format, files))
}

/// Reads the files one after the other; rows are counted through.
pub(super) fn read(
    folder: &Path,
    format: Format,
    files: &[PathBuf],
    options: &ReadOptions,
) -> Result<Dataset> {
    let part = |file: &PathBuf| role(&file.file_name().unwrap_or_default().to_string_lossy());
    let parts: BTreeSet<usize> = files.iter().filter_map(part).collect();
    if parts.len() > 1 {
        return Err(Error::Empty {
            path: folder.into(),
            what: "its files are those of several parts (training, test), which are not one table; name a file, or give each \
                   part a folder of its own"
                .into(),
        });
    }
    let options = ReadOptions { format: Some(format), ..options.clone() };
    let mut whole: Option<Dataset> = None;
    for file in files {
        let mut part = super::read(file, &options)?;
        match &mut whole {
            None => {
                part.report.path = folder.into();
                part.report.notes.push(format!("{} files read as one", files.len()));
                whole = Some(part);
            }
            Some(whole) => {
                let before = whole.report.rows_read;
                for mut example in part.examples {
                    example.row += before;
                    whole.examples.push(example);
                }
                add(&mut whole.report, &part.report, before);
            }
        }
    }
    whole.ok_or_else(|| Error::Empty { path: folder.into(), what: "there is no file in the folder".into() })
}

/// Adds what was left out of another file, whose rows come after `before` others.
fn add(report: &mut ReadReport, other: &ReadReport, before: usize) {
    report.rows_read += other.rows_read;
    for skipped in &other.skipped {
        let mut skipped = skipped.clone();
        skipped.first.iter_mut().for_each(|row| *row += before);
        match report.skipped.iter_mut().find(|known| known.reason == skipped.reason) {
            Some(known) => {
                known.count += skipped.count;
                known.first.extend(skipped.first);
                known.first.truncate(5);
            }
            None => report.skipped.push(skipped),
        }
    }
}
