//! Subject lines without what mailing lists and mail programs add to them.

/// Reply and forward marks, in lower case, as mail programs write them in several languages.
const MARKS: &[&str] =
    &["re", "fw", "fwd", "aw", "wg", "antw", "antwort", "sv", "vs", "ref", "rif", "rv", "tr"];

/// The subject with white space collapsed, `[list]` tags dropped wherever they stand, and reply marks dropped from
/// its front (`Re:`, `RE[2]:`, `Fwd:`, `AW:`), as often as they occur.
pub fn base_subject(subject: &str) -> String {
    let mut line = without_tags(&collapse(subject));
    loop {
        let rest = without_mark(line.trim()).trim();
        if rest.len() == line.len() {
            return line;
        }
        line = rest.to_owned();
    }
}

/// Runs of white space and control characters become one space; none remain at the ends.
pub(crate) fn collapse(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

/// Without `[...]`, brackets included. An opening bracket that never closes is text.
fn without_tags(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(open) = rest.find('[') {
        let Some(close) = rest[open..].find(']') else { break };
        out.push_str(&rest[..open]);
        // A tag in the middle leaves its two neighbours apart.
        out.push(' ');
        rest = &rest[open + close + 1..];
    }
    out.push_str(rest);
    collapse(&out)
}

/// Without one reply mark at the front.
fn without_mark(line: &str) -> &str {
    let letters = line.bytes().take_while(u8::is_ascii_alphabetic).count();
    if !MARKS.contains(&line[..letters].to_ascii_lowercase().as_str()) {
        return line;
    }
    // `RE^2:` and `Re(3):` count the replies; `Re[2]:` has lost its brackets with the tags.
    let rest = line[letters..].trim_start_matches(|c: char| c.is_ascii_digit() || "^()".contains(c));
    rest.trim_start().strip_prefix(':').unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_and_tags_go_and_the_rest_stays() {
        let cases = [
            ("Re: [ILUG] Kernel  panic", "Kernel panic"),
            ("RE: Fwd: AW: hello", "hello"),
            ("[zzzzteana] RE: Alexander", "Alexander"),
            ("Re[2]: numbers", "numbers"),
            ("RE^3: numbers", "numbers"),
            ("Re : spaced", "spaced"),
            ("Report: sales", "Report: sales"),
            ("Re-use this", "Re-use this"),
            ("free [10% off] now", "free now"),
            ("open [ only", "open [ only"),
            ("re: ", ""),
            ("\t  ", ""),
            ("Rë: ü", "Rë: ü"),
        ];
        for (given, expected) in cases {
            assert_eq!(base_subject(given), expected, "{given:?}");
        }
    }
}
