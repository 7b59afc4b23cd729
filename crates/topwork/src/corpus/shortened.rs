//! A mail's text without what fills a model's first tokens and says nothing: drawn lines and the paths of addresses.

/// Characters of a drawn line that are kept.
const KEPT: usize = 3;

/// Runs of one mark (`=====`, `* * * *` stays) keep three of it, and addresses keep their host: a line of 72 dashes is 72
/// tokens to a model that reads 128, the path of a link twenty.
pub(crate) fn shortened(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        push_lines_kept_short(&mut out, before);
        let end = after.find(ends_address).unwrap_or(after.len());
        let scheme = before[..at].rsplit(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
        let is_link = ["http", "https", "ftp"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
        let host = if is_link { after[..end].find(['/', '?', '#']).unwrap_or(end) } else { end };
        out.push_str(&after[..host]);
        rest = &after[end..];
    }
    push_lines_kept_short(&mut out, rest);
    out
}

fn ends_address(c: char) -> bool {
    c.is_whitespace() || "<>\"')]".contains(c)
}

fn push_lines_kept_short(out: &mut String, text: &str) {
    let mut run = (None, 0);
    for c in text.chars() {
        run = if run.0 == Some(c) { (run.0, run.1 + 1) } else { (Some(c), 1) };
        let drawn = !c.is_alphanumeric() && !c.is_whitespace();
        if run.1 <= KEPT || !drawn {
            out.push(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_lines_and_paths_go() {
        let cases = [
            ("------------\nsale!!!!!! now", "---\nsale!!! now"),
            ("aaaaaa 1000000 ...", "aaaaaa 1000000 ..."),
            ("see <http://www.a.com/S/FQXLU/9141ZD2V/M/> now", "see <http://www.a.com> now"),
            ("HTTPS://a.b?x=1 ftp://c/d", "HTTPS://a.b ftp://c"),
            ("http://a.com/x://y z", "http://a.com z"),
            ("news://a/b c://", "news://a/b c://"),
            ("(http://a.com/b), é://ü", "(http://a.com), é://ü"),
            ("", ""),
        ];
        for (given, expected) in cases {
            assert_eq!(shortened(given), expected, "{given:?}");
        }
    }
}
