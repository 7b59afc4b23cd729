//! A source file holds one thing, and fits in a head: at most 600 lines, and from 400 on it is listed.

use super::Report;
use super::tree::Tree;

/// More lines than this break the rule.
const MOST: usize = 600;

/// More lines than this are noted.
const LISTED: usize = 400;

/// Files that may be longer, and why.
const ALLOWED: &[(&str, &str)] = &[];

pub fn check(tree: &Tree) -> Report {
    with_allowed(tree, ALLOWED)
}

fn with_allowed(tree: &Tree, allowed: &[(&str, &str)]) -> Report {
    let mut report = Report::default();
    for file in tree.sources() {
        report.seen += 1;
        let lines = file.text().lines().count();
        let reason = allowed.iter().find(|(path, _)| *path == file.path).map(|(_, reason)| reason);
        match reason {
            Some(reason) if lines > MOST => {
                report.notes.push(format!("{}: {lines} lines: {reason}", file.path))
            }
            Some(_) => {
                report
                    .errors
                    .push(format!("{}: {lines} lines: needs no entry in the allow list any more", file.path));
            }
            None if lines > MOST => report.errors.push(format!(
                "{}: {lines} lines, more than {MOST}: split it by what it is about, or give the reason in {}",
                file.path,
                file!()
            )),
            None if lines > LISTED => report.notes.push(format!("{}: {lines} lines", file.path)),
            None => {}
        }
    }
    for (path, _) in allowed {
        if tree.get(path).is_none() {
            report.errors.push(format!("{path}: in the allow list of {}, but not there", file!()));
        }
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_files_are_listed_and_longer_ones_fail() {
        let (short, listed, long) = ("x\n".repeat(400), "x\n".repeat(600), "x\n".repeat(601));
        let tree = Tree::of(&[("a.rs", &short), ("b.py", &listed), ("c.rs", &long), ("d.csv", &long)]);
        let report = check(&tree);
        assert_eq!(report.seen, 3);
        assert_eq!(report.notes, ["b.py: 600 lines"]);
        assert_eq!(report.errors.len(), 1);
        assert!(report.errors[0].starts_with("c.rs: 601 lines"), "{:?}", report.errors);
    }

    #[test]
    fn an_entry_of_the_allow_list_must_be_needed() {
        let long = "x\n".repeat(601);
        let tree = Tree::of(&[("a.rs", &long), ("b.rs", "x\n")]);
        let report = with_allowed(&tree, &[("a.rs", "one table"), ("b.rs", "was long"), ("c.rs", "is gone")]);
        assert_eq!(report.notes, ["a.rs: 601 lines: one table"]);
        assert_eq!(report.errors.len(), 2);
        assert!(report.errors[0].starts_with("b.rs") && report.errors[1].starts_with("c.rs"));
    }
}
