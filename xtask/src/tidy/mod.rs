//! `cargo xtask tidy`: the rules of STYLE.md that a program can check.
//!
//! Each check is a function over a [`Tree`], so that its tests can hand it a tree that breaks the rule.

mod floors;
mod heads;
mod length;
mod links;
mod marks;
mod names;
mod papers;
mod size;
mod source;
mod tree;
mod unsafety;

use std::path::Path;

use anyhow::Result;

use tree::Tree;

/// What a check found.
#[derive(Default)]
struct Report {
    /// How many things were looked at: a check that looks at nothing would always pass.
    seen: usize,
    /// What breaks the rule.
    errors: Vec<String>,
    /// What is worth knowing, and no failure.
    notes: Vec<String>,
}

/// One rule.
struct Check {
    name: &'static str,
    /// What is counted in [`Report::seen`].
    unit: &'static str,
    run: fn(&Tree) -> Report,
}

/// The rules in order.
const CHECKS: &[Check] = &[
    Check { name: "floors", unit: "crates", run: floors::check },
    Check { name: "size", unit: "files", run: size::check },
    Check { name: "names", unit: "source files", run: names::check },
    Check { name: "length", unit: "source files", run: length::check },
    Check { name: "heads", unit: "source files", run: heads::check },
    Check { name: "marks", unit: "source files", run: marks::check },
    Check { name: "unsafety", unit: "source files", run: unsafety::check },
    Check { name: "papers", unit: "files", run: papers::check },
    Check { name: "links", unit: "links", run: links::check },
];

/// Runs every check on the repository and prints what it found; `false` when a rule is broken.
pub fn run(root: &Path) -> Result<bool> {
    let tree = Tree::read(root)?;
    let mut broken = 0;
    for check in CHECKS {
        let report = (check.run)(&tree);
        println!("{:<9} {} {}", check.name, report.seen, check.unit);
        for note in &report.notes {
            println!("  note: {note}");
        }
        for error in &report.errors {
            println!("  error: {error}");
        }
        if report.seen == 0 {
            println!("  error: nothing was looked at");
        }
        broken += report.errors.len() + usize::from(report.seen == 0);
    }
    if broken > 0 {
        println!("{broken} broken rules");
    }
    Ok(broken == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check itself, as a test: `cargo test` alone is enough to see that the rules hold.
    #[test]
    fn the_repository_is_tidy() {
        let tree = Tree::read(&crate::root::find().unwrap()).unwrap();
        let mut errors = Vec::new();
        for check in CHECKS {
            let report = (check.run)(&tree);
            assert!(report.seen > 0, "{} looked at nothing", check.name);
            errors.extend(report.errors.iter().map(|error| format!("{}: {error}", check.name)));
        }
        assert!(errors.is_empty(), "{}", errors.join("\n"));
    }

    #[test]
    fn an_empty_tree_passes_no_check() {
        let tree = Tree::of(&[]);
        assert_eq!(CHECKS.len(), 9);
        for check in CHECKS {
            assert_eq!((check.run)(&tree).seen, 0, "{}", check.name);
        }
    }
}
