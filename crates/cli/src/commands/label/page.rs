//! What the page shows, and what its buttons do. It is whole without a script; the one in it is for keys.

use std::collections::HashMap;
use std::fmt::Write;

use anyhow::bail;
use topwork::label::{Round, Session};
use topwork::report::{ByLabels, CSS, LabelSeries, Score, by_labels, escape};

use super::terminal::plain;
use super::told;
use crate::numbers::{counted, thousands};

/// What the page may do: nothing is loaded, forms come back here, and no other page holds it in a frame. The script is known by a
/// number that is another one in each answer, so that none that a text might bring would run.
pub(super) fn policy(nonce: &str) -> String {
    format!(
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'nonce-{nonce}'; form-action 'self'; \
         frame-ancestors 'none'; base-uri 'none'"
    )
}

/// Keys: 1 to 9 are classes, and each button says its own.
const SCRIPT: &str = "addEventListener('keydown',e=>{if(e.ctrlKey||e.metaKey||e.altKey||e.target.tagName==='INPUT')return;\
const b=document.querySelector('button[data-key=\"'+CSS.escape(e.key)+'\"]');if(b){e.preventDefault();b.click()}})";

const STYLE: &str = "\
.text{white-space:pre-wrap;overflow-wrap:anywhere;font-size:1.15rem;margin:0 0 14px;max-width:none;color:var(--ink)}\
.text+.text{border-top:1px solid var(--rule);padding-top:14px}\
.answers{display:flex;flex-wrap:wrap;gap:10px;margin:0 0 14px}\
button{font:inherit;color:var(--ink);background:var(--bg);border:1px solid var(--rule);border-radius:10px;padding:8px 14px;cursor:pointer}\
button:hover,button:focus-visible{border-color:var(--accent)}\
button.guess{border-color:var(--accent);font-weight:600}\
button small{color:var(--soft);margin-left:6px}\
kbd{font:inherit;font-size:.8rem;color:var(--soft);border:1px solid var(--rule);border-radius:5px;padding:0 5px;margin-right:7px}\
.more{display:flex;flex-wrap:wrap;gap:10px;align-items:center}\
input{font:inherit;color:var(--ink);background:var(--bg);border:1px solid var(--rule);border-radius:10px;padding:8px 12px}";

/// What a page is made with.
pub(super) struct Page<'a> {
    /// The secret of its address.
    pub secret: &'a str,
    /// The number its script is known by.
    pub nonce: &'a str,
    /// Rounds that ended in this session.
    pub rounds: &'a [Round],
    /// What went wrong, or nothing.
    pub note: &'a str,
}

/// What a button did.
#[derive(Debug)]
pub(super) enum Acted {
    Did(Option<Round>),
    Quit,
}

/// The fields of a form.
pub(super) type Form = HashMap<String, String>;

/// Fields as browsers send them.
pub(super) fn form(body: &[u8]) -> Form {
    let part = |part: &[u8]| {
        let mut bytes = Vec::with_capacity(part.len());
        let mut at = 0;
        while at < part.len() {
            let hex = part.get(at + 1..at + 3).and_then(|two| std::str::from_utf8(two).ok());
            match (part[at], hex.and_then(|two| u8::from_str_radix(two, 16).ok())) {
                (b'%', Some(byte)) => {
                    bytes.push(byte);
                    at += 2;
                }
                (b'+', _) => bytes.push(b' '),
                (byte, _) => bytes.push(byte),
            }
            at += 1;
        }
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let fields = body.split(|&byte| byte == b'&').filter(|field| !field.is_empty());
    fields
        .map(|field| match field.iter().position(|&byte| byte == b'=') {
            Some(at) => (part(&field[..at]), part(&field[at + 1..])),
            None => (part(field), String::new()),
        })
        .collect()
}

/// Does what a form asks for.
///
/// # Errors
/// What the session says, and an answer to another question than the one at hand: a page that was left open, or sent twice.
pub(super) fn act(session: &mut Session, form: &Form) -> anyhow::Result<Acted> {
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let about = field("about");
    let asked = asked(session)?;
    let now = |what: &str| {
        if about == asked {
            return Ok(());
        }
        bail!("nothing was {what}: this was about another text than the one at hand, which is shown now")
    };
    if let Some(class) = form.get("class") {
        now("answered")?;
        let Ok(class) = class.parse::<usize>() else { bail!("{class:?} is no number of a class") };
        return Ok(Acted::Did(session.answer(class)?));
    }
    match field("do") {
        "skip" => {
            now("skipped")?;
            Ok(Acted::Did(session.skip()?))
        }
        "undo" => {
            now("taken back")?;
            if !session.undo()? {
                bail!("there is nothing to take back");
            }
            Ok(Acted::Did(None))
        }
        "new" => {
            session.add_class(field("name"))?;
            Ok(Acted::Did(None))
        }
        "quit" => Ok(Acted::Quit),
        other => bail!("there is no {other:?} to be done"),
    }
}

/// What tells a question from all others of a session.
fn asked(session: &Session) -> anyhow::Result<String> {
    let question = session.question()?;
    let row = question.as_ref().map_or(0, |question| question.text.row);
    Ok(format!("{}-{row}", session.labels().len()))
}

/// The page.
pub(super) fn html(session: &Session, page: &Page) -> anyhow::Result<String> {
    let mut out = begin("Labelling", Some(page.nonce));
    let labelled = thousands(session.labels().len());
    let _ = writeln!(
        out,
        "<header><h1>Labelling</h1><p>{labelled} labelled, {} left, in {}</p></header>",
        thousands(session.left()),
        escape(&session.path().display().to_string())
    );
    if !page.note.is_empty() {
        let _ = writeln!(out, "<div class=\"notes\"><ul><li>{}</li></ul></div>", escape(page.note));
    }
    let form = format!("<form method=\"post\" action=\"/?secret={}\">", escape(page.secret));
    let about = format!("<input type=\"hidden\" name=\"about\" value=\"{}\">", escape(&asked(session)?));
    match session.question()? {
        None => out.push_str("<section><h2>Every text of the pool has its label</h2></section>\n"),
        Some(question) => {
            let _ = write!(
                out,
                "<section><h2>Round {}, text {} of {}</h2>",
                question.round, question.place, question.of
            );
            for text in std::iter::once(&question.text.text).chain(&question.text.pair) {
                let _ = write!(out, "<p class=\"text\" dir=\"auto\">{}</p>", escape(&plain(text)));
            }
            let _ = write!(out, "{form}{about}<div class=\"answers\">");
            for (at, class) in session.classes().iter().enumerate() {
                let share = question.guesses.iter().find(|(class, _)| *class == at);
                let guess = question.guesses.first().is_some_and(|(class, _)| *class == at);
                let key = (at < 9).then(|| (at + 1).to_string());
                let (attribute, shown) = key.map_or((String::new(), String::new()), |key| {
                    (format!(" data-key=\"{key}\""), format!("<kbd>{key}</kbd>"))
                });
                let _ = write!(
                    out,
                    "<button name=\"class\" value=\"{at}\"{attribute}{}>{shown}{}{}</button>",
                    if guess { " class=\"guess\"" } else { "" },
                    escape(class),
                    share.map_or_else(String::new, |(_, share)| format!("<small>{share:.2}</small>"))
                );
            }
            out.push_str("</div></form>\n");
        }
    }
    let button = |name: &str, key: &str, shown: &str| {
        format!("<button name=\"do\" value=\"{name}\" data-key=\"{key}\"><kbd>{key}</kbd>{shown}</button>")
    };
    let _ = writeln!(
        out,
        "<div class=\"more\">{form}{about}<span class=\"more\">{}{}{}</span></form>\
         {form}<span class=\"more\"><input name=\"name\" placeholder=\"another class\" required maxlength=\"200\">\
         <button name=\"do\" value=\"new\">add</button></span></form></div>",
        button("skip", "s", "skip"),
        button("undo", "u", "undo"),
        button("quit", "q", "quit"),
    );
    if session.question()?.is_some() {
        out.push_str("</section>\n");
    }
    progress(session, page.rounds, &mut out);
    out.push_str(END);
    Ok(out)
}

/// Labels of each class, the curve, and what rounds led to.
fn progress(session: &Session, rounds: &[Round], out: &mut String) {
    out.push_str("<section><h2>Labels</h2><div class=\"scroll\"><table>");
    for (class, count) in session.counts() {
        let _ = write!(out, "<tr><td>{}</td><td class=\"n\">{}</td></tr>", escape(&class), thousands(count));
    }
    out.push_str("</table></div></section>\n");
    let curve = session.curve();
    if !curve.is_empty() {
        let line = |name: &str, of: fn(&topwork::label::Scores) -> f64| LabelSeries {
            name: name.to_string(),
            points: curve
                .iter()
                .map(|point| (point.labels as u64, Score { value: of(&point.scores), interval: None }))
                .collect(),
        };
        let data = ByLabels {
            metric: "score".to_string(),
            series: vec![line("accuracy", |s| s.accuracy), line("macro F1", |s| s.macro_f1)],
            whiskers: String::new(),
        };
        let _ = writeln!(
            out,
            "<section><h2>On the texts held out</h2><div class=\"charts\">{}</div></section>",
            by_labels(&data)
        );
    }
    if !rounds.is_empty() {
        out.push_str("<section><h2>Rounds</h2><ul>");
        for round in rounds.iter().rev().take(20) {
            let _ = write!(out, "<li>{}</li>", escape(&told(round)));
        }
        out.push_str("</ul></section>\n");
    }
}

/// What is shown when it has ended.
pub(super) fn farewell(session: &Session) -> String {
    let labels = counted(session.labels().len(), "label");
    let path = escape(&session.path().display().to_string());
    format!(
        "{}<section><h2>Ended</h2><p>{labels} in {path}. This page can be closed.</p></section>{END}",
        begin("Ended", None)
    )
}

/// What is shown to those who may not see it.
pub(super) fn refused(why: &str) -> String {
    format!("{}<section><h2>No</h2><p>{}</p></section>{END}", begin("No", None), escape(why))
}

const END: &str = "</main></body></html>\n";

fn begin(title: &str, nonce: Option<&str>) -> String {
    let script =
        nonce.map_or_else(String::new, |nonce| format!("<script nonce=\"{nonce}\">{SCRIPT}</script>"));
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, \
         initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n\
         <style>{CSS}{STYLE}</style>{script}</head>\n<body><main>\n"
    )
}
