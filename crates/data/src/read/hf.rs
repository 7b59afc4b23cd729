//! Folders that HuggingFace's datasets writes: one set, or one folder for each split.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::arrow;
use super::cell::Table;
use super::source::Source;
use crate::{Error, ReadOptions, Result};

/// Lists the splits of a folder that has several.
const SPLITS: &str = "dataset_dict.json";
/// Lists the files of one set.
const STATE: &str = "state.json";
/// Says what the columns are.
const INFO: &str = "dataset_info.json";

/// True for a folder with one of the files that datasets writes beside its data.
pub(crate) fn looks_so(folder: &Path) -> bool {
    [SPLITS, STATE, INFO].iter().any(|name| folder.join(name).is_file())
}

/// The splits of a folder, with their folders.
pub(crate) fn splits(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let file = folder.join(SPLITS);
    let json = json(&file)?;
    let names = json.get("splits").and_then(Value::as_array).map(|names| names.iter().map(Value::as_str));
    let names: Option<Vec<&str>> = names.and_then(Iterator::collect);
    let wrong = |got: String| Error::Record {
        place: file.display().to_string(),
        expected: "the names of the splits, each a folder beside it".into(),
        got,
        count: 1,
        way_out: "save the set again with save_to_disk".into(),
    };
    let names = names.ok_or_else(|| wrong(json.to_string().chars().take(60).collect()))?;
    // A name is no path: it must not lead elsewhere.
    if let Some(name) =
        names.iter().find(|name| name.is_empty() || name.contains(['/', '\\']) || name.starts_with('.'))
    {
        return Err(wrong(format!("{name:?}")));
    }
    Ok(names.iter().map(|name| (name.to_string(), folder.join(name))).collect())
}

/// The rows of a folder: those of the split said, else of `train`, else of the only one.
pub(super) fn read(folder: &Path, options: &ReadOptions) -> Result<Table> {
    let mut folder = folder.to_path_buf();
    let mut notes = Vec::new();
    if folder.join(SPLITS).is_file() {
        let splits = splits(&folder)?;
        let names: Vec<&str> = splits.iter().map(|(name, _)| name.as_str()).collect();
        let wanted = match (&options.split, names.as_slice()) {
            (Some(said), _) => said.as_str(),
            (None, [only]) => only,
            (None, _) => "train",
        };
        let Some((_, found)) = splits.iter().find(|(name, _)| name == wanted) else {
            return Err(Error::UnknownName {
                what: "split",
                got: wanted.into(),
                expected: Vec::new(),
                suggestion: Some(names.join(" or ")),
            });
        };
        notes.push(format!("split {wanted} of {}", names.join(", ")));
        folder = found.clone();
    }
    let mut table: Option<Table> = None;
    let files = files(&folder)?;
    for file in &files {
        let (mut next, _) = arrow::read(&Source::file(file), options)?;
        match &mut table {
            None => table = Some(next),
            Some(table) if table.columns == next.columns => {
                let before = table.rows.len();
                next.rows.iter_mut().for_each(|(row, _)| *row += before);
                table.rows.append(&mut next.rows);
            }
            Some(table) => {
                return Err(Error::Record {
                    place: file.display().to_string(),
                    expected: format!("the columns {}", table.columns.join(", ")),
                    got: next.columns.join(", "),
                    count: 1,
                    way_out: "all files of one set have the same columns".into(),
                });
            }
        }
    }
    let Some(mut table) = table else {
        let what = "there is no .arrow file in it; save the set with save_to_disk".into();
        return Err(Error::Empty { path: folder, what });
    };
    if table.classes.is_empty() && folder.join(INFO).is_file() {
        let info = fs::read_to_string(folder.join(INFO)).unwrap_or_default();
        table.classes = arrow::classes(&info, &table.columns);
    }
    if files.len() > 1 {
        notes.push(format!("{} files", files.len()));
    }
    table.notes.extend(notes);
    Ok(table)
}

/// The files of one set, as its state lists them, else all there are.
pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let state = folder.join(STATE);
    if state.is_file() {
        let json = json(&state)?;
        let name = |entry: &Value| entry.get("filename").and_then(Value::as_str).map(String::from);
        let names = json.get("_data_files").and_then(Value::as_array);
        let names: Option<Vec<String>> = names.and_then(|entries| entries.iter().map(name).collect());
        let inside = |name: &String| !name.contains(['/', '\\']) && !name.starts_with('.');
        let indices = ["_indices_files", "_indices_data_files"]
            .iter()
            .any(|key| json.get(*key).and_then(Value::as_array).is_some_and(|files| !files.is_empty()));
        let wrong = |expected: &str, got: String| Error::Record {
            place: state.display().to_string(),
            expected: expected.into(),
            got,
            count: 1,
            way_out: "save the set again with save_to_disk".into(),
        };
        if indices {
            return Err(wrong(
                "rows in the order of the files",
                "indices into them, as old versions kept them".into(),
            ));
        }
        return match names {
            Some(names) if names.iter().all(inside) => {
                Ok(names.iter().map(|name| folder.join(name)).collect())
            }
            _ => Err(wrong(
                "the names of files beside it in _data_files",
                json.to_string().chars().take(60).collect(),
            )),
        };
    }
    let failed = |source| Error::Read { path: folder.into(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "arrow") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn json(file: &Path) -> Result<Value> {
    let text = fs::read_to_string(file).map_err(|source| Error::Read { path: file.into(), source })?;
    serde_json::from_str(&text).map_err(|error| Error::Json {
        path: file.into(),
        line: error.line(),
        got: error.to_string(),
    })
}
