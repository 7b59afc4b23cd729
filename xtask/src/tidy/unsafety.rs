//! `unsafe` stands in one crate only, and each block of it says why it is sound.

use super::Report;
use super::source::{self, Line};
use super::tree::Tree;

/// The one folder.
const FOLDER: &str = "crates/kernels/";

pub fn check(tree: &Tree) -> Report {
    let mut report = Report::default();
    let (mut blocks, mut files) = (0, 0);
    for file in tree.rust() {
        report.seen += 1;
        let lines = source::lines(&file.text());
        if !file.path.starts_with(FOLDER) {
            for (number, line) in (1..).zip(&lines) {
                if line.has_word("unsafe") || line.has_word("unsafe_code") {
                    report.errors.push(format!("{}:{number}: unsafe code belongs into {FOLDER}", file.path));
                }
            }
            continue;
        }
        let found = block_lines(&lines);
        files += usize::from(!found.is_empty());
        blocks += found.len();
        for at in found {
            if !explained(&lines, at) {
                let what = "a \"SAFETY:\" comment above the unsafe block must say why it is sound";
                report.errors.push(format!("{}:{}: {what}", file.path, at + 1));
            }
        }
    }
    if blocks > 0 {
        report.notes.push(format!("{blocks} unsafe blocks in {files} files"));
    }
    report
}

/// The lines on which an unsafe block or implementation begins (functions state their contract in their docs).
fn block_lines(lines: &[Line]) -> Vec<usize> {
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        for position in source::word_positions(&line.code, "unsafe") {
            let here = line.code[position + "unsafe".len()..].trim_start();
            let later =
                || lines[at + 1..].iter().map(|line| line.code.trim_start()).find(|code| !code.is_empty());
            let next = if here.is_empty() { later().unwrap_or_default() } else { here };
            if next.starts_with('{') || next.starts_with("impl") {
                found.push(at);
            }
        }
    }
    found
}

/// Whether the comment on a line, or the one right above its statement, has the word.
fn explained(lines: &[Line], at: usize) -> bool {
    const WORD: &str = "SAFETY:";
    if lines[at].comment.contains(WORD) {
        return true;
    }
    for line in lines[..at].iter().rev() {
        let code = line.code.trim();
        if code.is_empty() {
            if line.comment.is_empty() {
                return false;
            }
            if line.comment.contains(WORD) {
                return true;
            }
        } else if !code.starts_with("#[") && code.ends_with([';', '{', '}', ',']) {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(path: &str, text: &str) -> Vec<String> {
        check(&Tree::of(&[(path, text)])).errors
    }

    const KERNEL: &str = "crates/kernels/src/gemm.rs";

    #[test]
    fn outside_the_kernels_any_unsafe_fails() {
        assert_eq!(errors("crates/ops/src/lib.rs", "// SAFETY: no\nunsafe { f() }").len(), 1);
        assert_eq!(errors("crates/ops/src/lib.rs", "#![allow(unsafe_code)]").len(), 1);
        assert_eq!(errors("xtask/src/main.rs", "say(\"unsafe\"); // unsafe").len(), 0);
    }

    #[test]
    fn a_block_without_its_reason_fails() {
        assert_eq!(errors(KERNEL, "fn f() {\n    unsafe { g() }\n}").len(), 1);
        assert_eq!(errors(KERNEL, "// a comment\nlet x = unsafe { g() };").len(), 1);
        assert_eq!(
            errors(KERNEL, "// SAFETY: for a\nlet a = unsafe { g() };\nlet b = unsafe { g() };").len(),
            1
        );
        assert_eq!(errors(KERNEL, "// SAFETY: too far\n\nunsafe\n{ g() }").len(), 1);
        assert_eq!(errors(KERNEL, "unsafe impl Send for X {}").len(), 1);
    }

    #[test]
    fn a_block_with_its_reason_passes() {
        assert_eq!(errors(KERNEL, "// SAFETY: in bounds,\n// see above\nlet x = unsafe { g() };"), [""; 0]);
        assert_eq!(errors(KERNEL, "// SAFETY: in bounds\nlet x: u8 =\n    unsafe { g() };"), [""; 0]);
        assert_eq!(errors(KERNEL, "unsafe { g() } // SAFETY: in bounds"), [""; 0]);
        assert_eq!(errors(KERNEL, "// SAFETY: checked\n#[rustfmt::skip]\nunsafe { g() }"), [""; 0]);
        assert_eq!(errors(KERNEL, "/// # Safety\n/// n is in bounds\nunsafe fn g() {}"), [""; 0]);
    }
}
