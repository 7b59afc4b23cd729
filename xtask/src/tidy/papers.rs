//! What comes from the literature says from where: a `Paper:` line with a link that can be followed.
//!
//! Families, techniques and adapters are other people's ideas without exception. A loss, a metric or a schedule may
//! be older than any paper; it then has a `Reference:` line, or a `link` in its entry, that leads to the definition
//! it follows.

use super::Report;
use super::source;
use super::tree::{File, Tree};

/// Folders of a crate in which each file needs a paper.
const PAPER: &[&str] = &["families", "techniques", "adapters", "methods"];

/// Folders of a crate in which each file needs a paper or a reference.
const REFERENCE: &[&str] = &["loss", "metrics", "schedule", "optim"];

/// Files that are no entry where there is no list to say so.
const NO_ENTRY: &[&str] = &["mod", "error", "tests"];

/// How many lines a citation may go on before its link.
const LINES: usize = 4;

pub fn check(tree: &Tree) -> Report {
    let mut report = Report::default();
    for file in tree.rust() {
        let Some(marks) = marks(file) else { continue };
        if !is_entry(tree, file) {
            continue;
        }
        report.seen += 1;
        if !cites(&file.text(), marks) {
            let marks = marks.join("\" or \"");
            report
                .errors
                .push(format!("{}: needs a \"{marks}\" line with an https link in its docs", file.path));
        }
    }
    report
}

/// The marks one of which the entries of a file's folder must carry, if they must.
fn marks(file: &File) -> Option<&'static [&'static str]> {
    let folders: Vec<_> = file.folders().collect();
    let ["crates", _, "src", .., folder] = folders[..] else { return None };
    if PAPER.contains(&folder) {
        Some(&["Paper:"])
    } else if REFERENCE.contains(&folder) {
        Some(&["Paper:", "Reference:"])
    } else {
        None
    }
}

/// Whether a file is an entry rather than what the entries share: the list of its folder names it
/// (`&cosine::SPEC`, in `schedule/mod.rs` or in `schedule.rs` beside the folder). Without a list every file is one.
fn is_entry(tree: &Tree, file: &File) -> bool {
    let Some((folder, _)) = file.path.rsplit_once('/') else { return false };
    let above = folder.rsplit_once('/').map_or("", |(above, _)| above);
    let in_folder = |other: &&File| other.path.rsplit_once('/').is_some_and(|(place, _)| place == folder);
    let mut listed = Vec::new();
    for other in tree.rust() {
        let place = other.path.rsplit_once('/').map_or("", |(place, _)| place);
        if place == above || (place == folder && other.stem() == "mod") {
            listed.extend(listed_in(&other.text()));
        }
    }
    let has_list = tree.rust().filter(in_folder).any(|other| listed.iter().any(|stem| stem == other.stem()));
    if has_list { listed.iter().any(|stem| stem == file.stem()) } else { !NO_ENTRY.contains(&file.stem()) }
}

/// The modules of which a constant is put into a list: `bert` for `&families::bert::BERT`.
fn listed_in(text: &str) -> Vec<String> {
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let code: String = source::lines(text).iter().map(|line| line.code.clone() + "\n").collect();
    let references =
        code.split('&').skip(1).map(|rest| rest.split(|c| !is_path(c)).next().unwrap_or_default());
    let is_constant = |name: &str| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || "_0123456789".contains(c))
    };
    references
        .filter_map(|path| path.rsplit_once("::"))
        .filter(|(_, name)| is_constant(name))
        .filter_map(|(module, _)| module.rsplit("::").next())
        .map(String::from)
        .collect()
}

fn cites(text: &str, marks: &[&str]) -> bool {
    let lines = source::lines(text);
    let marked = |comment: &str| marks.iter().any(|mark| comment.contains(mark));
    // Strings are no comments, so the entry's field is looked for in the text itself.
    let by_field = |line: &str| {
        let line = line.to_lowercase();
        line.contains("link: \"https://") || line.contains("link: &str = \"https://")
    };
    if marks.contains(&"Reference:") && text.lines().any(by_field) {
        return true;
    }
    let linked = |comment: &str| comment.split("https://").nth(1).is_some_and(|rest| rest.contains('.'));
    (0..lines.len()).filter(|&at| marked(&lines[at].comment)).any(|at| {
        let passage = lines[at..].iter().take(LINES).take_while(|line| !line.comment.is_empty());
        passage.map(|line| &line.comment).any(|comment| linked(comment))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(path: &str, text: &str) -> usize {
        check(&Tree::of(&[(path, text)])).errors.len()
    }

    const FAMILY: &str = "crates/models/src/families/bert.rs";
    const METRIC: &str = "crates/train/src/metrics/accuracy.rs";

    #[test]
    fn an_entry_without_a_paper_fails() {
        assert_eq!(errors(FAMILY, "//! BERT."), 1);
        assert_eq!(errors(FAMILY, "//! Paper: Devlin et al. 2019"), 1);
        assert_eq!(
            errors(FAMILY, "//! Paper: Devlin et al. 2019\n\n//! https://arxiv.org/abs/1810.04805"),
            1
        );
        assert_eq!(errors(FAMILY, "const X: &str = \"Paper: https://arxiv.org/abs/1810.04805\";"), 1);
        assert_eq!(errors(FAMILY, "//! Reference: https://arxiv.org/abs/1810.04805"), 1);
        assert_eq!(errors(METRIC, "//! Accuracy."), 1);
    }

    #[test]
    fn an_entry_with_its_paper_passes() {
        assert_eq!(errors(FAMILY, "//! Paper: Devlin et al. 2019, <https://arxiv.org/abs/1810.04805>"), 0);
        assert_eq!(
            errors(FAMILY, "//! Paper: Devlin et al. 2019,\n//! <https://arxiv.org/abs/1810.04805>"),
            0
        );
        assert_eq!(errors(METRIC, "//! Reference: <https://scikit-learn.org/stable/modules/x.html>"), 0);
        assert_eq!(errors(METRIC, "    link: \"https://scikit-learn.org/stable/modules/x.html\","), 0);
        assert_eq!(
            errors(METRIC, "const LINK: &str = \"https://scikit-learn.org/stable/modules/x.html\";"),
            0
        );
        assert_eq!(errors(FAMILY, "    link: \"https://arxiv.org/abs/1810.04805\","), 1);
    }

    #[test]
    fn where_there_is_a_list_it_says_what_is_an_entry() {
        let tree = Tree::of(&[
            (
                "crates/train/src/schedule/mod.rs",
                "pub const ALL: &[&Spec] = &[&cosine::SPEC,\n&linear::SPEC];",
            ),
            ("crates/train/src/schedule/cosine.rs", ""),
            ("crates/train/src/schedule/linear.rs", "//! Paper: <https://arxiv.org/abs/1706.02677>"),
            ("crates/train/src/schedule/warmup.rs", ""),
            ("crates/models/src/family.rs", "pub const FAMILIES: &[&Family] = &[&families::bert::BERT];"),
            ("crates/models/src/families/mod.rs", ""),
            ("crates/models/src/families/bert.rs", ""),
            ("crates/models/src/families/shape.rs", ""),
        ]);
        let report = check(&tree);
        assert_eq!(report.seen, 3);
        assert_eq!(report.errors.len(), 2, "{:?}", report.errors);
        assert!(
            report.errors[0].contains("cosine") && report.errors[1].contains("bert"),
            "{:?}",
            report.errors
        );
    }

    #[test]
    fn lists_and_other_folders_need_none() {
        let tree =
            Tree::of(&[("crates/models/src/families/mod.rs", ""), ("crates/models/src/family.rs", "")]);
        assert_eq!(check(&tree).seen, 0);
    }
}
