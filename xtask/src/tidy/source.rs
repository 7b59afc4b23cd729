//! Rust source taken apart into code and comments, so that a rule about code is not broken by a text about it.

/// One line of a Rust file.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Line {
    /// The code, its string and character literals emptied.
    pub code: String,
    /// The comment, with its slashes.
    pub comment: String,
}

impl Line {
    /// Whether a word stands in the code, as a word.
    pub fn has_word(&self, word: &str) -> bool {
        !word_positions(&self.code, word).is_empty()
    }
}

/// Where `word` stands in `code` with no identifier character next to it, as byte positions.
pub fn word_positions(code: &str, word: &str) -> Vec<usize> {
    let is_ident = |c: char| c.is_alphanumeric() || c == '_';
    let alone = |at: &usize| {
        let before = code[..*at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        !before.is_some_and(is_ident) && !after.is_some_and(is_ident)
    };
    code.match_indices(word).map(|(at, _)| at).filter(alone).collect()
}

/// What the reader is inside of.
enum State {
    Code,
    LineComment,
    BlockComment { depth: usize },
    Text,
    RawText { hashes: usize },
}

/// The lines of a Rust file.
pub fn lines(text: &str) -> Vec<Line> {
    let chars: Vec<char> = text.chars().collect();
    let mut lines = vec![Line::default()];
    let mut state = State::Code;
    let mut at = 0;
    while at < chars.len() {
        let c = chars[at];
        if c == '\n' {
            if matches!(state, State::LineComment) {
                state = State::Code;
            }
            lines.push(Line::default());
            at += 1;
            continue;
        }
        let line = lines.last_mut().unwrap_or_else(|| unreachable!("there is always a line"));
        let rest = &chars[at..];
        match state {
            State::Code => {
                if rest.starts_with(&['/', '/']) {
                    state = State::LineComment;
                    line.comment.push(c);
                    at += 1;
                } else if rest.starts_with(&['/', '*']) {
                    state = State::BlockComment { depth: 1 };
                    line.comment.push_str("/*");
                    at += 2;
                } else if c == '"' {
                    state = State::Text;
                    line.code.push('"');
                    at += 1;
                } else if let Some(hashes) = raw_text(&chars, at) {
                    state = State::RawText { hashes };
                    line.code.push('"');
                    at += hashes + 2;
                } else if let Some(length) = character(rest) {
                    line.code.push_str("''");
                    at += length;
                } else {
                    line.code.push(c);
                    at += 1;
                }
            }
            State::LineComment => {
                line.comment.push(c);
                at += 1;
            }
            State::BlockComment { depth } => {
                let (step, depth) = match rest {
                    ['/', '*', ..] => (2, depth + 1),
                    ['*', '/', ..] => (2, depth - 1),
                    _ => (1, depth),
                };
                line.comment.extend(&rest[..step]);
                state = if depth == 0 { State::Code } else { State::BlockComment { depth } };
                at += step;
            }
            // The character behind a backslash is skipped, unless it ends the line.
            State::Text if c == '\\' => at += if rest.get(1) == Some(&'\n') { 1 } else { 2 },
            State::Text => {
                if c == '"' {
                    line.code.push('"');
                    state = State::Code;
                }
                at += 1;
            }
            State::RawText { hashes } => {
                let ends = c == '"' && rest.len() > hashes && rest[1..=hashes].iter().all(|&c| c == '#');
                if ends {
                    line.code.push('"');
                    state = State::Code;
                    at += hashes;
                }
                at += 1;
            }
        }
    }
    lines
}

/// The number of hashes when a raw text begins at `at` (which is then its `r`).
fn raw_text(chars: &[char], at: usize) -> Option<usize> {
    let is_ident = |c: &char| c.is_alphanumeric() || *c == '_';
    let before = at.checked_sub(1).map(|at| &chars[at]);
    let prefixed = matches!(before, Some('b' | 'c')) && !(at >= 2 && is_ident(&chars[at - 2]));
    if chars[at] != 'r' || (before.is_some_and(is_ident) && !prefixed) {
        return None;
    }
    let hashes = chars[at + 1..].iter().take_while(|&&c| c == '#').count();
    (chars.get(at + 1 + hashes) == Some(&'"')).then_some(hashes)
}

/// The length of a character literal at the head of `rest`; `None` for a lifetime and everything else.
fn character(rest: &[char]) -> Option<usize> {
    match rest {
        ['\'', '\\', _, tail @ ..] => tail.iter().position(|&c| c == '\'').map(|end| end + 4),
        ['\'', _, '\'', ..] => Some(3),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, &str)]) {
        let got = lines(text);
        let got: Vec<_> = got.iter().map(|line| (line.code.as_str(), line.comment.as_str())).collect();
        assert_eq!(got, expected, "{text}");
    }

    #[test]
    fn comments_are_told_from_code() {
        check("a(); // b\nc", &[("a(); ", "// b"), ("c", "")]);
        check("a /* b /* c */ d\ne */ f", &[("a ", "/* b /* c */ d"), (" f", "e */")]);
        check("/// doc", &[("", "/// doc")]);
    }

    #[test]
    fn literals_are_emptied() {
        check(r#"x("// no \" comment", 1)"#, &[(r#"x("", 1)"#, "")]);
        check("x(r#\"a \" // b\"#, br\"c\")", &[("x(\"\", b\"\")", "")]);
        check("for r in bar\"s\" {}", &[("for r in bar\"\" {}", "")]);
        check("'\"' '\\'' '\\u{7f}' x", &[("'' '' '' x", "")]);
        check("fn f<'a>(x: &'a str, y: &'a u8)", &[("fn f<'a>(x: &'a str, y: &'a u8)", "")]);
        check("\"a\\\n  b\" c", &[("\"", ""), ("\" c", "")]);
    }

    #[test]
    fn a_word_is_not_a_part_of_one() {
        let line = |code: &str| lines(code).remove(0);
        assert!(line("let x = unsafe { y };").has_word("unsafe"));
        assert!(!line("#![deny(unsafe_code)]").has_word("unsafe"));
        assert!(!line("say(\"unsafe\") // unsafe").has_word("unsafe"));
        assert_eq!(word_positions("a.a_a a", "a"), [0, 6]);
    }
}
