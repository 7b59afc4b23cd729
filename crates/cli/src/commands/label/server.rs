//! The page of `topwork label --web`: served on the loopback, to whoever knows the secret in its address.
//!
//! Other pages in the same browser must neither read nor answer: a request has to name this host (a name that was bent to the
//! loopback is another one), come from this page if it says where it comes from, and know the secret.

use std::io::{Read, Write};

use anyhow::Context;
use tiny_http::{Header, Method, Request, Response, Server};
use topwork::label::{Round, Session};

use super::page::{self, Page};
use super::{Left, told};
use crate::global::Global;

/// The largest body of a request.
const MOST_BYTES: u64 = 64 << 10;

/// What is served, and to whom.
struct Guard {
    /// `127.0.0.1:8000`, and by name.
    hosts: [String; 2],
    secret: String,
}

/// What a request gets.
enum Answer {
    Page(String),
    /// Back to the question, so that loading the page once more answers nothing twice.
    See(String),
    No(u16, &'static str),
    Last(String),
}

/// Asks on a page until it is told to end, or nothing is left.
pub(super) fn serve(
    session: &mut Session,
    port: u16,
    global: &Global,
    out: &mut dyn Write,
) -> anyhow::Result<Left> {
    let server = Server::http(("127.0.0.1", port))
        .map_err(|error| anyhow::anyhow!("cannot listen on port {port} of this machine: {error}"))?;
    let port = server.server_addr().to_ip().context("no port")?.port();
    let guard =
        Guard { hosts: [format!("127.0.0.1:{port}"), format!("localhost:{port}")], secret: secret()? };
    writeln!(out, "open http://{}/?secret={}", guard.hosts[0], guard.secret)?;
    out.flush()?;
    global.note("answers go to the file at once; the page has a button to end, and Ctrl-C ends too");
    let (mut rounds, mut left) = (Vec::new(), None);
    for mut request in server.incoming_requests() {
        let nonce = secret()?;
        let answer = answer(&mut request, (&guard, &nonce), session, &mut rounds, global)?;
        let ends = matches!(answer, Answer::Last(_));
        // Whoever asked may be gone by now, which is no reason to end.
        let _ = request.respond(response(answer, &nonce));
        if ends {
            left = Some(if session.question()?.is_some() { Left::Asked } else { Left::Done });
            break;
        }
    }
    Ok(left.unwrap_or(Left::Asked))
}

/// 128 random bits.
fn secret() -> anyhow::Result<String> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn answer(
    request: &mut Request,
    (guard, nonce): (&Guard, &str),
    session: &mut Session,
    rounds: &mut Vec<Round>,
    global: &Global,
) -> anyhow::Result<Answer> {
    let header = |name: &'static str| {
        request
            .headers()
            .iter()
            .find(|header| header.field.equiv(name))
            .map(|header| header.value.to_string())
    };
    let (path, query) = request.url().split_once('?').unwrap_or((request.url(), ""));
    if let Err(why) = guard.lets(header("Host").as_deref(), header("Origin").as_deref(), query) {
        return Ok(Answer::No(403, why));
    }
    if path != "/" {
        return Ok(Answer::No(404, "there is one page: /"));
    }
    match request.method() {
        Method::Get | Method::Head => {
            let page = Page { secret: &guard.secret, nonce, rounds, note: "" };
            Ok(Answer::Page(page::html(session, &page)?))
        }
        Method::Post => {
            let mut body = Vec::new();
            request.as_reader().take(MOST_BYTES + 1).read_to_end(&mut body)?;
            if body.len() as u64 > MOST_BYTES {
                return Ok(Answer::No(413, "too long"));
            }
            let form = page::form(&body);
            let done = page::act(session, &form);
            let note = match done {
                Ok(page::Acted::Quit) => return Ok(Answer::Last(page::farewell(session))),
                Ok(page::Acted::Did(round)) => {
                    if let Some(round) = round {
                        global.note(&told(&round));
                        rounds.push(round);
                    }
                    return Ok(Answer::See(format!("/?secret={}", guard.secret)));
                }
                Err(error) => error.to_string(),
            };
            let page = Page { secret: &guard.secret, nonce, rounds, note: &note };
            Ok(Answer::Page(page::html(session, &page)?))
        }
        _ => Ok(Answer::No(405, "GET or POST")),
    }
}

impl Guard {
    /// Whether a request is one of this page.
    fn lets(&self, host: Option<&str>, origin: Option<&str>, query: &str) -> Result<(), &'static str> {
        if !host.is_some_and(|host| self.hosts.iter().any(|ours| ours == host)) {
            return Err("another host is asked for than this one");
        }
        let ours = |origin: &str| self.hosts.iter().any(|host| origin == format!("http://{host}"));
        if origin.is_some_and(|origin| !ours(origin)) {
            return Err("another page asks");
        }
        let given = query.split('&').find_map(|part| part.strip_prefix("secret=")).unwrap_or_default();
        // As long, whichever of its signs is wrong.
        let apart = given.bytes().zip(self.secret.bytes()).fold(0, |apart, (a, b)| apart | (a ^ b));
        if given.len() != self.secret.len() || apart != 0 {
            return Err("the address lacks its secret: open the one that topwork label printed");
        }
        Ok(())
    }
}

fn response(answer: Answer, nonce: &str) -> Response<std::io::Cursor<Vec<u8>>> {
    let (text, status, to) = match answer {
        Answer::Page(page) | Answer::Last(page) => (page, 200, None),
        Answer::See(to) => (String::new(), 303, Some(to)),
        Answer::No(status, why) => (page::refused(why), status, None),
    };
    let mut response = Response::from_string(text).with_status_code(status);
    let policy = page::policy(nonce);
    let fixed = [
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Security-Policy", policy.as_str()),
        ("Cache-Control", "no-store"),
        ("Referrer-Policy", "no-referrer"),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
    ];
    let to = to.iter().map(|to| ("Location", to.as_str()));
    for (name, value) in fixed.into_iter().chain(to) {
        if let Ok(header) = Header::from_bytes(name, value) {
            response.add_header(header);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_page_with_its_secret_is_let_in() {
        let secret = secret().unwrap();
        assert_eq!(secret.len(), 32);
        let hosts = ["127.0.0.1:80".to_string(), "localhost:80".to_string()];
        let guard = Guard { hosts, secret: secret.clone() };
        let right = format!("a=b&secret={secret}");
        let check = |host, origin, query: &str, lets| {
            assert_eq!(guard.lets(host, origin, query).is_ok(), lets, "{host:?} {origin:?} {query}");
        };
        check(Some("127.0.0.1:80"), None, &right, true);
        check(Some("localhost:80"), Some("http://localhost:80"), &right, true);
        check(Some("evil.example:80"), None, &right, false);
        check(Some("127.0.0.1:81"), None, &right, false);
        check(None, None, &right, false);
        check(Some("127.0.0.1:80"), Some("http://evil.example"), &right, false);
        check(Some("127.0.0.1:80"), Some("null"), &right, false);
        check(Some("127.0.0.1:80"), Some("https://127.0.0.1:80"), &right, false);
        check(Some("127.0.0.1:80"), None, "", false);
        check(Some("127.0.0.1:80"), None, "secret=", false);
        check(Some("127.0.0.1:80"), None, &right[..right.len() - 1], false);
        check(Some("127.0.0.1:80"), None, &format!("{right}0"), false);
        let wrong = format!("secret={}{}", &secret[..31], if secret.ends_with('0') { '1' } else { '0' });
        check(Some("127.0.0.1:80"), None, &wrong, false);
    }
}
