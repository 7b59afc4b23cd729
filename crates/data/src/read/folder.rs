//! A folder with one folder a class and one text, or one picture, a file.

use std::fs;
use std::path::{Path, PathBuf};

use topwork_text::pictures::names_picture;

use crate::dataset::{Dataset, Example, Label};
use crate::report::{ChosenColumn, ReadReport};
use crate::{Error, Format, ReadOptions, Result, Task};

pub(super) fn read(path: &Path, options: &ReadOptions) -> Result<Dataset> {
    if !options.task.is_plain() {
        return Err(super::unfit(path, Format::Folder, options.task));
    }
    if matches!(options.task, Task::Multi | Task::Score) {
        return Err(Error::Empty {
            path: path.into(),
            what: "a folder gives each file one class; several labels or scores need a table (CSV, JSONL, Parquet)".into(),
        });
    }
    let (folders, loose) = entries(path)?;
    if folders.is_empty() && options.task == Task::Class {
        let names: Vec<String> = loose.iter().take(10).map(|file| name(file)).collect();
        let found =
            if names.is_empty() { "it is empty".into() } else { format!("it holds {}", names.join(", ")) };
        return Err(Error::Empty {
            path: path.into(),
            what: format!("expected one folder a class, but {found}; name one file in it to read that"),
        });
    }
    let mut report = ReadReport {
        path: path.into(),
        format: Format::Folder,
        text: ChosenColumn { name: "file".into(), why: "one text a file".into() },
        pair: None,
        label: Vec::new(),
        rows_read: 0,
        skipped: Vec::new(),
        notes: Vec::new(),
    };
    let mut found: Vec<(PathBuf, Option<String>)> = Vec::new();
    if options.task == Task::Class {
        report.label.push(ChosenColumn { name: "folder".into(), why: "one class a folder".into() });
        if !loose.is_empty() {
            let first: Vec<String> = loose.iter().take(3).map(|file| name(file)).collect();
            report.notes.push(format!(
                "{} files beside the class folders left out: {}",
                loose.len(),
                first.join(", ")
            ));
        }
    } else {
        found.extend(loose.into_iter().map(|file| (file, None)));
    }
    for folder in folders {
        let class = name(&folder);
        let before = found.len();
        let mut files = Vec::new();
        collect(&folder, &mut files)?;
        found.extend(files.into_iter().map(|file| (file, Some(class.clone()))));
        if found.len() == before && options.task == Task::Class {
            return Err(Error::Empty {
                path: folder,
                what: "the class folder is empty; fill it or remove it".into(),
            });
        }
    }
    let pictures = of_pictures(&found)?;
    if pictures {
        report.text.why = "one picture a file".into();
    }
    let mut examples = Vec::new();
    for (index, (file, class)) in found.iter().enumerate() {
        report.rows_read += 1;
        let text = match (pictures, file.to_str()) {
            (true, Some(path)) => path.to_string(),
            (true, None) => {
                let what = "the name of this file is no UTF-8; rename it".into();
                return Err(Error::Empty { path: file.clone(), what });
            }
            (false, _) => text(file, options.max_record_bytes)?,
        };
        if text.trim().is_empty() {
            report.skip("empty text", index + 1);
            continue;
        }
        let label = class.clone().filter(|_| options.task == Task::Class).map(Label::One);
        examples.push(Example { text, pair: None, label, row: index + 1, id: None });
    }
    if examples.is_empty() {
        let what = match found.len() {
            0 => "there is no file in it".to_string(),
            count => format!("all {count} files in it are empty"),
        };
        return Err(Error::Empty { path: path.into(), what });
    }
    Ok(Dataset { examples, report, files: found.into_iter().map(|(file, _)| file).collect(), pictures })
}

/// Whether the files are pictures, by their names: all of them, or none.
fn of_pictures(files: &[(PathBuf, Option<String>)]) -> Result<bool> {
    let is = |(file, _): &&(PathBuf, Option<String>)| names_picture(&name(file));
    let Some((picture, _)) = files.iter().find(is) else { return Ok(false) };
    match files.iter().find(|file| !is(file)) {
        None => Ok(true),
        Some((other, _)) => Err(Error::Empty {
            path: other.clone(),
            what: format!(
                "the folder has pictures ({}) and this file, which is none by its name (.png, .jpg, .jpeg, .webp, .bmp, .gif): take \
                 one kind out",
                name(picture)
            ),
        }),
    }
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Folders and files of a folder, sorted, hidden ones left out.
fn entries(path: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let failed = |source| Error::Read { path: path.into(), source };
    let (mut folders, mut files) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?.path();
        if name(&entry).starts_with('.') {
            continue;
        }
        if entry.is_dir() { folders.push(entry) } else { files.push(entry) }
    }
    folders.sort();
    files.sort();
    Ok((folders, files))
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let (folders, files) = entries(folder)?;
    found.extend(files);
    for folder in folders {
        collect(&folder, found)?;
    }
    Ok(())
}

fn text(path: &Path, limit: usize) -> Result<String> {
    let failed = |source| Error::Read { path: path.into(), source };
    if fs::metadata(path).map_err(failed)?.len() > limit as u64 {
        return Err(Error::RecordTooLong { path: path.into(), line: 1, limit });
    }
    let bytes = fs::read(path).map_err(failed)?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text.strip_prefix('\u{feff}').map(String::from).unwrap_or(text)),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let bytes = error.as_bytes();
            Err(Error::NotUtf8 {
                path: path.into(),
                line: bytes[..at].iter().filter(|&&byte| byte == b'\n').count() + 1,
                offset: at as u64,
                byte: bytes[at],
                guess: "WINDOWS-1252",
            })
        }
    }
}
