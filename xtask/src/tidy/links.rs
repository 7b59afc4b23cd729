//! What the documents point to is there: relative links, and paths of this repository in backticks.

use super::Report;
use super::tree::{File, Tree};

/// Folders at the root; a word in backticks that starts with one of them is a path.
const ROOTS: &[&str] = &["crates/", "dev/", "docs/", "fixtures/", "recipes/", "xtask/"];

pub fn check(tree: &Tree) -> Report {
    let mut report = Report::default();
    for file in tree.files.iter().filter(|file| file.extension() == "md") {
        for (number, line) in (1..).zip(file.text().lines()) {
            for target in links(file, line).into_iter().chain(paths(line)) {
                report.seen += 1;
                if !exists(tree, &target) {
                    report
                        .errors
                        .push(format!("{}:{number}: points to {target}, which is not there", file.path));
                }
            }
        }
    }
    report
}

/// Targets of links, from the root.
fn links(file: &File, line: &str) -> Vec<String> {
    let targets = line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    let here = targets.filter(|target| !target.contains("://") && !target.starts_with('#'));
    let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    here.map(|target| join(folder, target.split('#').next().unwrap_or_default())).collect()
}

/// Words in backticks that are paths; one with a part in capitals, like `NAME`, is a pattern and none.
fn paths(line: &str) -> Vec<String> {
    let quoted = line.split('`').skip(1).step_by(2);
    let plain = |path: &&str| {
        path.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "/._-".contains(c))
    };
    let ours = |path: &&str| ROOTS.iter().any(|root| path.starts_with(root));
    quoted.filter(ours).filter(plain).map(String::from).collect()
}

/// A relative path behind a folder.
fn join(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." | "" => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn exists(tree: &Tree, path: &str) -> bool {
    let path = path.trim_end_matches('/');
    let inside = format!("{path}/");
    tree.files.iter().any(|file| file.path == path || file.path.starts_with(&inside))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(text: &str) -> usize {
        let files = [
            ("docs/a.md", text),
            ("docs/b/c.md", ""),
            ("crates/nn/src/lib.rs", ""),
            ("README.md", "[a](docs/a.md)"),
        ];
        let report = check(&Tree::of(&files));
        assert!(report.seen > 0);
        report.errors.len()
    }

    #[test]
    fn what_is_there_passes() {
        assert_eq!(errors("[c](b/c.md#part), [r](../README.md), `crates/nn/src/lib.rs`, `crates/nn/`"), 0);
        assert_eq!(
            errors("[x](https://example.org/x), [y](#part), `cargo x`, `crates/NAME.rs`, crates/old.rs"),
            0
        );
    }

    #[test]
    fn what_is_gone_fails() {
        assert_eq!(errors("[c](c.md)"), 1);
        assert_eq!(errors("`crates/nn/src/old.rs` and `docs/n`"), 2);
    }
}
