//! Nothing is left for later and nothing is switched off: no marks of unfinished work, no ignored tests.

use super::Report;
use super::source;
use super::tree::Tree;

/// Words that mark unfinished work in a comment.
const LATER: &[&str] = &["TODO", "FIXME", "XXX", "HACK"];

/// Macros that stand for code not written.
const MISSING: &[&str] = &["todo", "unimplemented"];

pub fn check(tree: &Tree) -> Report {
    let mut report = Report::default();
    for file in tree.sources() {
        report.seen += 1;
        let text = file.text();
        let found = if file.extension() == "rs" { rust(&text) } else { script(&text) };
        let errors = found.into_iter().map(|(number, what)| format!("{}:{number}: {what}", file.path));
        report.errors.extend(errors);
    }
    report
}

fn rust(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in (1..).zip(source::lines(text)) {
        found.extend(later(&line.comment).map(|what| (number, what)));
        for name in MISSING {
            let called = |at: usize| line.code[at + name.len()..].trim_start().starts_with('!');
            if source::word_positions(&line.code, name).into_iter().any(called) {
                found.push((number, format!("{name}! stands for code that is not there")));
            }
        }
        let code: String = line.code.split_whitespace().collect();
        let attribute = code.contains("#[ignore") || (code.contains("cfg_attr(") && line.has_word("ignore"));
        let fence = line.comment.contains("```") && line.comment.contains("ignore");
        if attribute || fence {
            found.push((number, "a test that is ignored proves nothing: make it run or remove it".into()));
        }
    }
    found
}

fn script(text: &str) -> Vec<(usize, String)> {
    (1..).zip(text.lines()).flat_map(|(number, line)| later(line).map(move |what| (number, what))).collect()
}

fn later(text: &str) -> impl Iterator<Item = String> {
    let found = LATER.iter().filter(move |word| !source::word_positions(text, word).is_empty());
    found.map(|word| format!("{word}: do it, or write it down as an issue"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        check(&Tree::of(&[(path, text)])).errors.len()
    }

    #[test]
    fn unfinished_work_fails() {
        assert_eq!(count("a.rs", "fn f() {} // TODO: more"), 1);
        assert_eq!(count("a.rs", "/* FIXME */ fn f() { todo!() }"), 2);
        assert_eq!(count("a.rs", "fn f() { std::unimplemented ! (\"x\") }"), 1);
        assert_eq!(count("a.py", "# TODO\nx = 1"), 1);
        assert_eq!(count("a.sh", "# XXX"), 1);
    }

    #[test]
    fn ignored_tests_fail() {
        assert_eq!(count("a.rs", "#[test]\n#[ignore = \"slow\"]\nfn f() {}"), 1);
        assert_eq!(count("a.rs", "#[cfg_attr(windows, ignore)]\nfn f() {}"), 1);
        assert_eq!(count("a.rs", "/// ```ignore\n/// f();\n/// ```\nfn f() {}"), 1);
    }

    #[test]
    fn talk_about_them_passes() {
        assert_eq!(count("a.rs", "const WORDS: &str = \"TODO todo!()\"; // todo, later\nlet ignore = 1;"), 0);
        assert_eq!(count("a.md", "TODO"), 0);
    }
}
