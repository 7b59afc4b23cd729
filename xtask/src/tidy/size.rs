//! The repository stays small: no large file, and little in all.

use super::Report;
use super::tree::Tree;

/// Bytes of a file, at most.
const FILE: usize = 2 * 1024 * 1024;

/// Bytes of all files, at most.
const ALL: usize = 30 * 1024 * 1024;

pub fn check(tree: &Tree) -> Report {
    let mut report = Report { seen: tree.files.len(), ..Report::default() };
    for file in tree.files.iter().filter(|file| file.bytes.len() > FILE) {
        let what = format!(
            "{} is more than {}: make it smaller or fetch it",
            megabytes(file.bytes.len()),
            megabytes(FILE)
        );
        report.errors.push(format!("{}: {what}", file.path));
    }
    let all = tree.files.iter().map(|file| file.bytes.len()).sum();
    report.notes.push(format!("{} in all", megabytes(all)));
    if all > ALL {
        let mut largest: Vec<_> = tree.files.iter().collect();
        largest.sort_by_key(|file| std::cmp::Reverse(file.bytes.len()));
        let largest: Vec<_> = largest.iter().take(5).map(|file| file.path.as_str()).collect();
        let what = format!("{} in all, more than {}", megabytes(all), megabytes(ALL));
        report.errors.push(format!("{what}; the largest: {}", largest.join(", ")));
    }
    report
}

fn megabytes(bytes: usize) -> String {
    format!("{:.2} MB", bytes as f64 / (1024.0 * 1024.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_file_fails() {
        let (most, more) = ("x".repeat(FILE), "x".repeat(FILE + 1));
        let report = check(&Tree::of(&[("fixtures/a.bin", &most), ("fixtures/b.bin", &more)]));
        assert_eq!(report.errors.len(), 1);
        assert!(report.errors[0].starts_with("fixtures/b.bin"), "{:?}", report.errors);
    }

    #[test]
    fn many_files_fail_together() {
        let text = "x".repeat(FILE);
        let paths: Vec<String> = (0..ALL / FILE + 1).map(|number| format!("{number}.bin")).collect();
        let files: Vec<_> = paths.iter().map(|path| (path.as_str(), text.as_str())).collect();
        assert_eq!(check(&Tree::of(&files[..ALL / FILE])).errors.len(), 0);
        assert_eq!(check(&Tree::of(&files)).errors.len(), 1);
    }
}
