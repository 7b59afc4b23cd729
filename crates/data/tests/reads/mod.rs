//! Reading files that tests write, and what came of it.

use topwork_data::{Dataset, ReadOptions, Result, Task, read};

/// Reads what a file of this name would hold.
pub fn from(name: &str, text: &str, options: &ReadOptions) -> Result<Dataset> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    read(&path, options)
}

/// The options of a task.
pub fn task(task: Task) -> ReadOptions {
    ReadOptions { task, ..ReadOptions::default() }
}

/// The error names the file and says all of this.
pub fn refused(name: &str, text: &str, options: &ReadOptions, parts: &[&str]) {
    let error = from(name, text, options).expect_err(text).to_string();
    for part in parts.iter().chain(&[name]) {
        assert!(error.contains(part), "{part:?} is not in: {error}");
    }
}

/// Reading has said this.
pub fn said(dataset: &Dataset, part: &str) {
    let lines = dataset.report.lines().join("\n");
    assert!(lines.contains(part), "{part:?} is not in:\n{lines}");
}
