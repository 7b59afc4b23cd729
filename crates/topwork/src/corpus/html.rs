//! HTML mail to text: what a reader would see, without layout.
//!
//! Made for mail as it is sent, which is often not valid HTML: tags that never close, comments in the middle of
//! words, heads without an end. Nothing here fails; what is not understood is text.

/// Tags after which a line ends.
const BLOCKS: &[&str] = &[
    "address",
    "blockquote",
    "body",
    "br",
    "center",
    "dd",
    "div",
    "dl",
    "dt",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "li",
    "ol",
    "option",
    "p",
    "pre",
    "table",
    "title",
    "tr",
    "ul",
];

/// Tags whose content is not shown.
const HIDDEN: &[&str] = &["script", "style", "noframes", "template"];

/// Named characters that occur in mail; the rest of the standard's 2,231 stay as they are written.
const ENTITIES: &[(&str, &str)] = &[
    ("aacute", "á"),
    ("acute", "´"),
    ("agrave", "à"),
    ("amp", "&"),
    ("apos", "'"),
    ("aring", "å"),
    ("atilde", "ã"),
    ("auml", "ä"),
    ("bull", "•"),
    ("ccedil", "ç"),
    ("cent", "¢"),
    ("copy", "©"),
    ("deg", "°"),
    ("eacute", "é"),
    ("ecirc", "ê"),
    ("egrave", "è"),
    ("euml", "ë"),
    ("euro", "€"),
    ("frac12", "½"),
    ("frac14", "¼"),
    ("gt", ">"),
    ("hellip", "…"),
    ("iacute", "í"),
    ("iexcl", "¡"),
    ("igrave", "ì"),
    ("laquo", "«"),
    ("ldquo", "“"),
    ("lsquo", "‘"),
    ("lt", "<"),
    ("mdash", "—"),
    ("middot", "·"),
    ("nbsp", " "),
    ("ndash", "–"),
    ("ntilde", "ñ"),
    ("oacute", "ó"),
    ("ograve", "ò"),
    ("ouml", "ö"),
    ("para", "¶"),
    ("pound", "£"),
    ("quot", "\""),
    ("raquo", "»"),
    ("rdquo", "”"),
    ("reg", "®"),
    ("rsquo", "’"),
    ("sect", "§"),
    ("shy", ""),
    ("szlig", "ß"),
    ("times", "×"),
    ("trade", "™"),
    ("uacute", "ú"),
    ("ugrave", "ù"),
    ("uuml", "ü"),
    ("yen", "¥"),
];

/// The text of an HTML document: tags dropped, blocks on lines of their own, entities decoded, scripts, styles and
/// comments left out. White space within a line is collapsed and there are no empty lines.
pub fn html_to_text(html: &str) -> String {
    let mut text = String::with_capacity(html.len() / 2);
    let mut rest = html;
    while let Some(open) = rest.find('<') {
        push_text(&mut text, &rest[..open]);
        rest = &rest[open..];
        if let Some(comment) = rest.strip_prefix("<!--") {
            // A comment that never ends would swallow the mail: then only its opening is dropped. A comment is
            // no space, so that words cut by comments to fool filters come together again.
            rest = comment.find("-->").map_or(comment, |end| &comment[end + 3..]);
            continue;
        }
        let first = rest[1..].chars().next().unwrap_or(' ');
        if !(first.is_ascii_alphabetic() || matches!(first, '/' | '!' | '?')) {
            text.push('<');
            rest = &rest[1..];
            continue;
        }
        let Some(end) = rest.find('>') else {
            break;
        };
        let inner = &rest[1..end];
        let closing = inner.starts_with('/');
        let name: String = inner
            .trim_start_matches('/')
            .chars()
            .take_while(char::is_ascii_alphanumeric)
            .map(|c| c.to_ascii_lowercase())
            .collect();
        rest = &rest[end + 1..];
        if HIDDEN.contains(&name.as_str()) && !closing {
            let end = format!("</{name}");
            // Unclosed: what follows is shown, which is better than losing the rest of the mail.
            rest = find_ignoring_case(rest, &end).map_or(rest, |at| &rest[at..]);
        }
        if BLOCKS.contains(&name.as_str()) {
            text.push('\n');
        } else if matches!(name.as_str(), "td" | "th" | "img") {
            text.push(' ');
        }
    }
    if !rest.starts_with('<') {
        push_text(&mut text, rest);
    }
    tidy_lines(&text)
}

/// White space collapsed within lines, empty lines dropped.
pub(crate) fn tidy_lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split(['\n', '\r']) {
        let line = super::subject::collapse(line);
        if !line.is_empty() {
            if !out.is_empty() {
                out.push('\n');
            }
            out.push_str(&line);
        }
    }
    out
}

/// Appends text between tags. Its line breaks are only white space; its entities are decoded.
fn push_text(out: &mut String, mut text: &str) {
    while let Some(at) = text.find(['&', '\n', '\r']) {
        out.push_str(&text[..at]);
        text = &text[at..];
        if let Some(rest) = text.strip_prefix('&') {
            match entity(rest) {
                Some((decoded, used)) => {
                    out.push_str(&decoded);
                    text = &rest[used..];
                }
                None => {
                    out.push('&');
                    text = rest;
                }
            }
        } else {
            out.push(' ');
            text = &text[1..];
        }
    }
    out.push_str(text);
}

/// The character an entity stands for, and how many bytes after the `&` it takes.
fn entity(rest: &str) -> Option<(String, usize)> {
    if let Some(number) = rest.strip_prefix('#') {
        let (digits, radix, skip) = match number.strip_prefix(['x', 'X']) {
            Some(digits) => (digits, 16, 2),
            None => (number, 10, 1),
        };
        let length = digits.chars().take_while(|c| c.is_digit(radix)).take(7).count();
        let code = u32::from_str_radix(&digits[..length], radix).ok()?;
        // 0x80 to 0x9f mean windows-1252 in HTML as it is written.
        let decoded = match code {
            0x80..=0x9f => windows_1252(code),
            code => char::from_u32(code).filter(|c| *c != '\0').unwrap_or('\u{fffd}'),
        };
        let used = skip + length;
        return Some((decoded.to_string(), used + usize::from(rest[used..].starts_with(';'))));
    }
    let length = rest.bytes().take_while(u8::is_ascii_alphanumeric).take(10).count();
    let closed = rest[length..].starts_with(';');
    let name = &rest[..length];
    // Without its semicolon only the oldest names count, so that `?a=1&copy=2` in running text is not broken.
    if !closed && !matches!(name, "nbsp" | "amp" | "lt" | "gt" | "quot") {
        return None;
    }
    let found = ENTITIES.iter().find(|(known, _)| *known == name)?;
    Some((found.1.to_owned(), length + usize::from(closed)))
}

/// The character of a byte in windows-1252, which is Latin-1 but for 0x80 to 0x9f.
pub(crate) fn windows_1252(code: u32) -> char {
    const TABLE: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}',
        '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
    ];
    match code {
        0x80..=0x9f => TABLE[(code - 0x80) as usize],
        code => char::from_u32(code).unwrap_or('\u{fffd}'),
    }
}

fn find_ignoring_case(text: &str, wanted: &str) -> Option<usize> {
    text.as_bytes().windows(wanted.len()).position(|window| window.eq_ignore_ascii_case(wanted.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reader_would_see() {
        let cases = [
            ("<p>Hello <b>World</b></p><p>two</p>", "Hello World\ntwo"),
            ("a<br>b<BR/>c", "a\nb\nc"),
            ("<td>one</td><td>two</td>", "one two"),
            ("vi<!-- x -->agra", "viagra"),
            ("<style>p { color: red }</style>text<SCRIPT>if (a < b) {}</Script>!", "text!"),
            ("1 &lt; 2 &amp;&nbsp;3 &#65;&#x42; &copy; &#146;", "1 < 2 & 3 AB © ’"),
            ("a < b and c&d; ?x=1&copy=2", "a < b and c&d; ?x=1&copy=2"),
            ("<html><head><title>T</title><body>no end of head", "T\nno end of head"),
            ("<a href=\"http://x\">link</a>\r\n  wrapped\r\nline", "link wrapped line"),
            ("broken <a href=", "broken"),
            ("open <!-- comment", "open comment"),
            ("<style>never closed", "never closed"),
            ("", ""),
        ];
        for (given, expected) in cases {
            assert_eq!(html_to_text(given), expected, "{given:?}");
        }
    }

    #[test]
    fn the_entities_are_ordered_and_unique() {
        assert!(ENTITIES.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn any_text_gives_text() {
        // Every cut of a document full of corners, at every character.
        let corners = "é<&#x110000;&#;&#x;<!><!---->&é<é></><td\u{0}><style></STYLE &nbsp &#99999999999;<";
        for (at, _) in corners.char_indices() {
            html_to_text(&corners[at..]);
            html_to_text(&corners[..at]);
        }
    }
}
