//! No file, folder or module is named after nothing: `utils`, `common`, `misc`, `helpers`, `base` have no reason to
//! say no to anything.

use super::Report;
use super::source;
use super::tree::Tree;

/// Names that say nothing.
const EMPTY: &[&str] = &["base", "common", "helper", "helpers", "misc", "util", "utilities", "utils"];

pub fn check(tree: &Tree) -> Report {
    let mut report = Report::default();
    for file in tree.sources() {
        report.seen += 1;
        for name in file.folders().chain([file.stem()]) {
            if EMPTY.contains(&name.trim_start_matches('_')) {
                report
                    .errors
                    .push(format!("{}: \"{name}\" says nothing: name it after what it holds", file.path));
            }
        }
        if file.extension() != "rs" {
            continue;
        }
        for (number, line) in (1..).zip(source::lines(&file.text())) {
            let words: Vec<_> = line.code.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
            if let Some(pair) = words.windows(2).find(|pair| pair[0] == "mod" && EMPTY.contains(&pair[1])) {
                let what = format!("module \"{}\" says nothing: name it after what it holds", pair[1]);
                report.errors.push(format!("{}:{number}: {what}", file.path));
            }
        }
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_names_fail_wherever_they_stand() {
        let tree = Tree::of(&[
            ("crates/nn/src/utils.rs", ""),
            ("crates/nn/tests/common/mod.rs", ""),
            ("fixtures/make/_helpers.py", ""),
            ("crates/nn/src/lib.rs", "pub mod loss;\npub(crate) mod misc { }"),
        ]);
        let report = check(&tree);
        assert_eq!(report.seen, 4);
        assert_eq!(report.errors.len(), 4, "{:?}", report.errors);
        assert!(report.errors[3].starts_with("crates/nn/src/lib.rs:2"), "{:?}", report.errors);
    }

    #[test]
    fn names_that_only_contain_such_a_word_pass() {
        let tree = Tree::of(&[
            ("crates/train/src/baseline.rs", "// mod utils\nlet base = 1;"),
            ("fixtures/bert/base/config.json", ""),
        ]);
        let report = check(&tree);
        assert_eq!((report.seen, report.errors), (1, vec![]));
    }
}
