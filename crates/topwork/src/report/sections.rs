//! The accounts of a report: mistakes, data, what was loaded, recipe, environment.

use std::fmt::Write;

use super::html::escape;
use super::number::{count, percent};
use super::{DataAccount, Fact, LoadAccount, Mistakes, Weight};

/// Changes of a probability below this are not marked.
const LEAST: f64 = 0.02;
/// A change that is marked in full where no other is larger.
const FULL: f64 = 0.25;

/// Characters of a mistaken text that are shown.
const MOST_CHARACTERS: usize = 600;

/// The worst mistakes as a list.
pub(crate) fn mistakes(data: &Mistakes) -> String {
    let mut out = String::new();
    for mistake in &data.worst {
        let text = mistake.text.as_str();
        let end = text.char_indices().nth(MOST_CHARACTERS).map_or(text.len(), |(at, _)| at);
        let more = text[end..].chars().count();
        let rest =
            if more > 0 { format!(" … ({} more characters)", count(more as u64)) } else { String::new() };
        let place =
            if mistake.id.is_empty() { String::new() } else { format!(" · {}", escape(&mistake.id)) };
        let sure = mistake
            .probability
            .map_or_else(String::new, |probability| format!(" with probability {}", percent(probability)));
        let _ = write!(
            out,
            "<div class=\"mistake\"><p>{}{rest}</p><div>is <em class=\"gold\">{}</em>, taken for <em \
             class=\"wrong\">{}</em>{sure}{place}</div></div>",
            marked(text, end, &mistake.weights),
            escape(&mistake.gold),
            escape(&mistake.predicted)
        );
    }
    out
}

/// The first `end` bytes of a text, with what weighs in them marked: the more, the stronger.
fn marked(text: &str, end: usize, weights: &[Weight]) -> String {
    let most = weights.iter().map(|weight| weight.value.abs()).fold(FULL, f64::max);
    let mut out = String::new();
    let mut at = 0;
    for weight in weights.iter().filter(|weight| weight.value.abs() >= LEAST) {
        let Some(piece) = text.get(weight.start..weight.end).filter(|_| weight.start >= at) else { continue };
        if weight.end > end {
            break;
        }
        out.push_str(&escape(&text[at..weight.start]));
        let class = if weight.value > 0.0 { "" } else { " class=\"against\"" };
        let _ = write!(
            out,
            "<mark{class} style=\"--w:{:.2}\" title=\"without it the probability is {:+.0} points\">{}</mark>",
            weight.value.abs() / most,
            -100.0 * weight.value,
            escape(piece)
        );
        at = weight.end;
    }
    out.push_str(&escape(&text[at..end]));
    out
}

/// What was read, what became of it, and the splits.
pub(crate) fn data(data: &DataAccount) -> String {
    let mut facts = vec![fact("source", &data.source), fact("rows read", &count(data.rows))];
    if let Some(licence) = &data.licence {
        facts.push(fact("licence", licence));
    }
    for (reason, n) in &data.skipped {
        facts.push(fact(&format!("skipped, {reason}"), &count(*n)));
    }
    facts.push(fact("exact duplicates", &count(data.duplicates)));
    facts.push(fact("near duplicates", &count(data.near_duplicates)));
    let mut out = list(&facts);
    if !data.splits.is_empty() {
        out.push_str("<h3>Splits</h3><div class=\"scroll\"><table><thead><tr><th>split</th>");
        for label in &data.labels {
            let _ = write!(out, "<th class=\"n\">{}</th>", escape(label));
        }
        out.push_str("<th class=\"n\">texts</th></tr></thead><tbody>");
        for (name, counts) in &data.splits {
            let sum: u64 = counts.iter().sum();
            let _ = write!(out, "<tr><td>{}</td>", escape(name));
            // A split of unlabelled texts has one count and no classes.
            for at in 0..data.labels.len() {
                match counts.get(at) {
                    Some(n) => {
                        let share = percent(*n as f64 / sum.max(1) as f64);
                        let _ = write!(out, "<td class=\"n\">{}<small>{share}</small></td>", count(*n));
                    }
                    None => out.push_str("<td class=\"n\">–</td>"),
                }
            }
            let _ = write!(out, "<td class=\"n\">{}</td></tr>", count(sum));
        }
        out.push_str("</tbody></table></div>");
    }
    for remark in &data.remarks {
        let _ = write!(out, "<p class=\"note\">{}</p>", escape(remark));
    }
    out
}

/// What was loaded, ignored and fresh.
pub(crate) fn load(data: &LoadAccount) -> String {
    let mut out = list(&[
        fact("source", &data.source),
        fact("tensors loaded", &count(data.loaded)),
        fact("tensors ignored", &count(data.ignored.len() as u64)),
        fact("parameters that start fresh", &count(data.fresh.len() as u64)),
    ]);
    if !data.ignored.is_empty() || !data.fresh.is_empty() {
        out.push_str("<details><summary>names</summary><pre>");
        for (name, reason) in &data.ignored {
            let _ = writeln!(out, "ignored  {}  ({})", escape(name), escape(reason));
        }
        for name in &data.fresh {
            let _ = writeln!(out, "fresh    {}", escape(name));
        }
        out.push_str("</pre></details>");
    }
    out
}

/// Facts as a list of names and values.
pub(crate) fn list(facts: &[Fact]) -> String {
    let mut out = String::from("<dl>");
    for fact in facts {
        let _ = write!(out, "<dt>{}</dt><dd>{}</dd>", escape(&fact.name), escape(&fact.value));
    }
    out.push_str("</dl>");
    out
}

fn fact(name: &str, value: &str) -> Fact {
    Fact { name: name.to_owned(), value: value.to_owned() }
}
