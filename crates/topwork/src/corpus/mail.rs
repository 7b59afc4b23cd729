//! One mail: its subject and what a reader would read.

use std::borrow::Cow;

use mail_parser::decoders::charsets::map::charset_decoder;
use mail_parser::{HeaderName, Message, MessageParser, MessagePart, MessagePartId, MimeHeaders, PartType};

use super::html::{html_to_text, tidy_lines, windows_1252};
use super::subject::collapse;

/// How deep mails may be attached to mails before the rest is left out.
const DEEPEST: usize = 8;

/// A mail reduced to text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// The subject, RFC 2047 decoded, white space collapsed; empty when there is none.
    pub subject: String,
    /// The text of the parts that are shown, HTML decoded to text; attached mails included, other attachments not.
    pub body: String,
}

/// Reads a mail from its bytes, with or without the `From ` line of an mbox file. `None` when it has no headers.
pub fn read_mail(bytes: &[u8]) -> Option<Mail> {
    let message = MessageParser::default().parse(without_mbox_line(bytes))?;
    if message.headers().is_empty() {
        return None;
    }
    let mut body = String::new();
    push_parts(&message, &mut body, 0);
    Some(Mail { subject: collapse(&subject_of(&message)), body: tidy_lines(&body) })
}

/// The decoded subject. Bytes beyond ASCII that stand there without any encoding, as old mail programs wrote them,
/// are read in the character set of the body, else as windows-1252.
fn subject_of(message: &Message<'_>) -> String {
    let subject = message.subject().unwrap_or_default();
    let header = message.headers().iter().rev().find(|header| header.name == HeaderName::Subject);
    let raw = header.and_then(|h| message.raw_message().get(h.offset_start as usize..h.offset_end as usize));
    match raw {
        Some(raw) if subject.contains('\u{fffd}') && std::str::from_utf8(raw).is_err() => {
            let stated = message.parts.iter().find_map(|part| part.content_type()?.attribute("charset"));
            decode(raw, stated)
        }
        _ => subject.to_owned(),
    }
}

fn decode(bytes: &[u8], charset: Option<&str>) -> String {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return text.to_owned();
    }
    // ASCII is what programs state that do not know better.
    let stated = charset.filter(|name| !name.eq_ignore_ascii_case("us-ascii"));
    match stated.and_then(|name| charset_decoder(name.as_bytes())) {
        Some(decoder) => decoder(bytes),
        None => bytes.iter().map(|byte| windows_1252(u32::from(*byte))).collect(),
    }
}

fn push_parts(message: &Message<'_>, out: &mut String, depth: usize) {
    let before = out.len();
    // The plain alternative where there is one, else the HTML. Some senders put an empty plain part beside the
    // HTML; and a mail that was cut off has parts the parser could not decode and lists under neither.
    let all: Vec<MessagePartId> =
        (0..message.parts.len()).filter_map(|id| MessagePartId::try_from(id).ok()).collect();
    for list in [&message.text_body, &message.html_body, &all] {
        for part in list.iter().filter_map(|id| message.parts.get(*id as usize)) {
            push_part(part, out);
        }
        if !out[before..].trim().is_empty() {
            break;
        }
    }
    if depth == DEEPEST {
        return;
    }
    for part in &message.parts {
        if let PartType::Message(inner) = &part.body {
            out.push_str(&subject_of(inner));
            out.push('\n');
            push_parts(inner, out, depth + 1);
        }
    }
}

fn push_part(part: &MessagePart<'_>, out: &mut String) {
    let subtype = part.content_type().and_then(|kind| kind.subtype());
    let (text, html) = match &part.body {
        PartType::Text(text) => {
            (Cow::Borrowed(text.as_ref()), subtype.is_some_and(|s| s.eq_ignore_ascii_case("html")))
        }
        PartType::Html(html) => (Cow::Borrowed(html.as_ref()), true),
        _ => return,
    };
    let base64 = part.content_transfer_encoding().is_some_and(|name| name.eq_ignore_ascii_case("base64"));
    let text = if base64 && part.is_encoding_problem {
        let charset = part.content_type().and_then(|kind| kind.attribute("charset"));
        Cow::Owned(decode(&what_is_base64(&text), charset))
    } else {
        text
    };
    if html {
        out.push_str(&html_to_text(&text));
    } else {
        out.push_str(&text);
    }
    out.push('\n');
}

/// The bytes of base64 text that is cut off or followed by other lines: up to the first character that is none.
fn what_is_base64(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0_u32, 0);
    for byte in text.bytes().filter(|byte| !byte.is_ascii_whitespace()) {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => break,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    bytes
}

/// Some mails of the corpus start with the separator line of an mbox file, which is no header.
fn without_mbox_line(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    while rest.starts_with(b"From ") || rest.starts_with(b">From ") {
        match rest.iter().position(|byte| *byte == b'\n') {
            Some(end) => rest = &rest[end + 1..],
            None => return &[],
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Mail {
        read_mail(text.as_bytes()).unwrap()
    }

    #[test]
    fn subjects_are_decoded_and_folded_lines_joined() {
        let mail = read(
            "From x@y  Tue Aug  6 2002\nSubject: =?iso-8859-1?Q?Gr=FC=DFe?=\n  aus  =?utf-8?B?S8O2bG4=?=\n\nhi\n",
        );
        assert_eq!(mail, Mail { subject: "Grüße aus Köln".into(), body: "hi".into() });
        let chinese = read("Subject: =?GB2312?B?xOO6ww==?=\n\nx");
        assert_eq!(chinese.subject, "你好");
    }

    #[test]
    fn the_plain_alternative_is_read_and_html_where_it_is_empty() {
        let mail = |plain: &str| {
            format!(
                "Subject: s\nMIME-Version: 1.0\nContent-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: \
                 text/plain\n\n{plain}\n--b\nContent-Type: text/html\nContent-Transfer-Encoding: quoted-printable\n\n\
                 <p>html =\nt=65xt</p>\n--b--\n"
            )
        };
        assert_eq!(read(&mail("plain")).body, "plain");
        assert_eq!(read(&mail("  ")).body, "html text");
    }

    #[test]
    fn attachments_are_left_out_and_attached_mails_read() {
        let mail = read(
            "Subject: s\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nbody\n--b\n\
             Content-Type: image/gif\nContent-Transfer-Encoding: base64\n\nR0lGODlh\n--b\nContent-Type: \
             message/rfc822\n\nSubject: inner\n\ninside\n--b--\n",
        );
        assert_eq!(mail.body, "body\ninner\ninside");
    }

    #[test]
    fn bytes_without_an_encoding_are_read_in_the_charset_of_the_body() {
        let plain = read_mail(b"Subject: win \xa380m\n\nx").unwrap();
        assert_eq!(plain.subject, "win £80m");
        let chinese =
            read_mail(b"Subject: \xc4\xe3\xba\xc3\nContent-Type: text/plain; charset=GB2312\n\n\xba\xc3")
                .unwrap();
        assert_eq!((chinese.subject.as_str(), chinese.body.as_str()), ("你好", "好"));
        assert_eq!(read("Subject: Gr\u{fc}\u{df}e\n\nx").subject, "Grüße");
    }

    #[test]
    fn base64_that_is_cut_off_is_read_as_far_as_it_goes() {
        let mail = read(
            "Subject: s\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html\n\
             Content-Transfer-Encoding: base64\n\n\nPHA+SGVsbG8gd29ybGQ8L3A+PHA+Y3V0\n",
        );
        assert_eq!(mail.body, "Hello world\ncut");
    }

    #[test]
    fn a_mail_without_headers_is_none() {
        assert_eq!(read_mail(b""), None);
        assert_eq!(read_mail(b"From x"), None);
    }
}
