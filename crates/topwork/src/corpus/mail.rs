//! One mail: its subject and what a reader would read.

use mail_parser::{Message, MessageParser, PartType};

use super::html::{html_to_text, tidy_lines};
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
    Some(Mail { subject: collapse(message.subject().unwrap_or_default()), body: tidy_lines(&body) })
}

fn push_parts(message: &Message<'_>, out: &mut String, depth: usize) {
    let before = out.len();
    // The plain alternative where there is one, else the HTML.
    let push_list = |parts: &[mail_parser::MessagePartId], out: &mut String| {
        for part in parts.iter().filter_map(|id| message.parts.get(*id as usize)) {
            match &part.body {
                PartType::Text(text) => out.push_str(text),
                PartType::Html(html) => out.push_str(&html_to_text(html)),
                _ => continue,
            }
            out.push('\n');
        }
    };
    push_list(&message.text_body, out);
    if out[before..].trim().is_empty() {
        // Some senders put an empty plain part beside the HTML.
        push_list(&message.html_body, out);
    }
    if depth == DEEPEST {
        return;
    }
    for part in &message.parts {
        if let PartType::Message(inner) = &part.body {
            out.push_str(inner.subject().unwrap_or_default());
            out.push('\n');
            push_parts(inner, out, depth + 1);
        }
    }
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
    fn a_mail_without_headers_is_none() {
        assert_eq!(read_mail(b""), None);
        assert_eq!(read_mail(b"From x"), None);
    }
}
