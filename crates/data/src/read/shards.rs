//! A folder of Parquet files that are one table: large splits come as `0000.parquet`, `0001.parquet`, ...

use std::fs;
use std::path::{Path, PathBuf};

use crate::dataset::Dataset;
use crate::report::ReadReport;
use crate::{Error, Format, ReadOptions, Result};

/// The Parquet files of a folder that holds nothing else, in the order of their names; `None` for any other folder.
pub(super) fn of(folder: &Path) -> Option<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).ok()? {
        let path = entry.ok()?.path();
        if !path.is_file() || Format::of(&path) != Some(Format::Parquet) {
            return None;
        }
        files.push(path);
    }
    files.sort();
    (!files.is_empty()).then_some(files)
}

/// Reads the files one after the other; rows are counted through.
pub(super) fn read(folder: &Path, files: &[PathBuf], options: &ReadOptions) -> Result<Dataset> {
    let options = ReadOptions { format: Some(Format::Parquet), ..options.clone() };
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
    whole.ok_or_else(|| Error::Empty {
        path: folder.into(),
        what: "there is no Parquet file in the folder".into(),
    })
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
