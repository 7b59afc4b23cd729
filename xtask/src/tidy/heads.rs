//! Every Rust file says at its head what it is, in a `//!` comment; every script does so in its first lines.
//! A `tests.rs` is the tests of the module beside it, and need not say so.

use super::Report;
use super::tree::{File, Tree};

/// Within how many lines the head must begin.
const LINES: usize = 5;

pub fn check(tree: &Tree) -> Report {
    let mut report = Report::default();
    for file in tree.sources().filter(|file| file.stem() != "tests") {
        report.seen += 1;
        if !has_head(file) {
            report.errors.push(format!("{}: say at the head of the file what it is", file.path));
        }
    }
    report
}

fn has_head(file: &File) -> bool {
    let text = file.text();
    let mut lines = text.lines().take(LINES);
    match file.extension() {
        "rs" => lines.any(|line| line.starts_with("//!") && line.len() > 4),
        "py" => {
            lines.any(|line| line.trim_start_matches(['r', 'f']).starts_with("\"\"\"") || is_comment(line))
        }
        _ => lines.any(is_comment),
    }
}

fn is_comment(line: &str) -> bool {
    line.starts_with('#') && !line.starts_with("#!") && line.len() > 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_head_fails() {
        let tree = Tree::of(&[
            ("a.rs", "//! Adds numbers.\nfn f() {}"),
            ("b.rs", "use x;\n/// Adds.\nfn f() {}"),
            ("c.rs", "//!\nfn f() {}"),
            ("d.py", "\"\"\"Adds numbers.\"\"\""),
            ("e.py", "#!/usr/bin/env python\nimport x"),
            ("hub/tests.rs", "use super::*;"),
            ("f.sh", "#!/bin/sh\n# Adds numbers.\n"),
        ]);
        let report = check(&tree);
        assert_eq!(report.seen, 6);
        let paths: Vec<_> = report.errors.iter().map(|error| &error[..4]).collect();
        assert_eq!(paths, ["b.rs", "c.rs", "e.py"]);
    }
}
