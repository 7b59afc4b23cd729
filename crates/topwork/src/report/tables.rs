//! The tables of a report.

use std::fmt::Write;

use super::html::escape;
use super::number::{bytes, compact, count, percent, score, seconds};
use super::scale::Axis;
use super::{ByLabels, ClassScore, Confusion, Grid, Method, Methods, Score, Slices};

/// More classes than this, and the confusion is a list of the commonest pairs: a larger table cannot be read.
const MOST_COLUMNS: usize = 12;

/// `0.885 (0.861 to 0.908)`.
pub(crate) fn interval(s: &Score) -> String {
    match s.interval {
        Some((low, high)) => format!("{} ({} to {})", score(s.value), score(low), score(high)),
        None => score(s.value),
    }
}

/// A table of results; numbers stand at the right of their columns.
pub(crate) fn grid(data: &Grid) -> String {
    let number = |at: usize| {
        let cells = || data.rows.iter().filter_map(|row| row.get(at));
        let first = |cell: &&String| {
            !cell.is_empty() && !cell.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+')
        };
        !cells().any(|cell| first(&cell))
    };
    let class = |at: usize| if number(at) { " class=\"n\"" } else { "" };
    let mut out = String::from("<div class=\"scroll\"><table><thead><tr>");
    for (at, name) in data.head.iter().enumerate() {
        let _ = write!(out, "<th{}>{}</th>", class(at), escape(name));
    }
    out.push_str("</tr></thead><tbody>");
    for (row_at, row) in data.rows.iter().enumerate() {
        let main = if data.sum && row_at + 1 == data.rows.len() { " class=\"main\"" } else { "" };
        let _ = write!(out, "<tr{main}>");
        for (at, cell) in row.iter().enumerate() {
            let _ = write!(out, "<td{}>{}</td>", class(at), escape(cell));
        }
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table></div>");
    out
}

/// The comparison of methods, with the difference to the baseline in words.
pub(crate) fn methods(data: &Methods) -> String {
    let ends = data.rows.iter().flat_map(|m| {
        let (low, high) = m.score.interval.unwrap_or((m.score.value, m.score.value));
        [low, high, m.score.value]
    });
    let axis = Axis::around(ends, 6.0, 184.0, 3);
    let has = |f: fn(&Method) -> bool| data.rows.iter().any(f);
    let (parameters, time, memory) =
        (has(|m| m.trained_parameters.is_some()), has(|m| m.seconds.is_some()), has(|m| m.memory.is_some()));
    let metric = escape(&data.metric);
    let mut out = String::new();
    if let Some(sentence) = verdict(data) {
        let _ = write!(out, "<p class=\"verdict\">{}</p>", escape(&sentence));
    }
    let _ = write!(
        out,
        "<div class=\"scroll\"><table class=\"cards\"><thead><tr><th>method</th><th>{metric}</th><th></th>"
    );
    for (shown, name) in
        [(parameters, "trained parameters"), (time, "training time"), (memory, "peak memory")]
    {
        if shown {
            let _ = write!(out, "<th class=\"n\">{name}</th>");
        }
    }
    out.push_str("</tr></thead><tbody>");
    for row in &data.rows {
        let class = if row.main { " class=\"main\"" } else { "" };
        let tag = match (row.main, row.baseline) {
            (true, _) => "<span class=\"tag\">this model</span>",
            (_, true) => "<span class=\"tag\">baseline</span>",
            _ => "",
        };
        let detail = if row.detail.is_empty() {
            String::new()
        } else {
            format!("<small>{}</small>", escape(&row.detail))
        };
        let _ = write!(out, "<tr{class}><td>{}{tag}{detail}</td>", escape(&row.name));
        let range =
            row.score.interval.map(|(low, high)| format!("<small>{} to {}</small>", score(low), score(high)));
        let _ = write!(
            out,
            "<td data-name=\"{metric}\"><span>{}{}</span></td><td data-name=\"95% interval\">{}</td>",
            score(row.score.value),
            range.unwrap_or_default(),
            whisker(&row.score, &axis)
        );
        let mut cell = |shown: bool, name: &str, value: Option<String>| {
            if shown {
                let empty = if value.is_none() { " empty" } else { "" };
                let _ = write!(
                    out,
                    "<td class=\"n{empty}\" data-name=\"{name}\">{}</td>",
                    value.unwrap_or_default()
                );
            }
        };
        cell(parameters, "trained parameters", row.trained_parameters.map(compact));
        cell(time, "training time", row.seconds.map(seconds));
        cell(memory, "peak memory", row.memory.map(bytes));
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table></div>");
    out
}

/// A score as a point on a scale that all rows share, with its interval.
fn whisker(s: &Score, axis: &Axis) -> String {
    if !s.value.is_finite() {
        return String::new();
    }
    let mut out = String::from(
        "<svg class=\"dot\" viewBox=\"0 0 190 22\" aria-hidden=\"true\"><line class=\"grid\" x1=\"6\" x2=\"184\" y1=\"11\" y2=\"11\"/>",
    );
    for (value, _) in &axis.ticks {
        let at = axis.at(*value);
        let _ = write!(out, "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"3\" y2=\"19\"/>");
    }
    if let Some((low, high)) = s.interval.filter(|i| i.0.is_finite() && i.1.is_finite()) {
        let (low, high) = (axis.at(low), axis.at(high));
        let _ = write!(
            out,
            "<path class=\"whisker s0\" d=\"M{low:.1} 11H{high:.1}M{low:.1} 7V15M{high:.1} 7V15\"/>"
        );
    }
    let _ = write!(
        out,
        "<g class=\"mark s0\"><circle cx=\"{:.1}\" cy=\"11\" r=\"5\"/></g></svg>",
        axis.at(s.value)
    );
    out
}

/// The main method against the baseline, in one sentence.
pub(crate) fn verdict(data: &Methods) -> Option<String> {
    let main = data.rows.iter().find(|row| row.main)?;
    let base = data.rows.iter().find(|row| row.baseline && !row.main)?;
    let difference = main.score.value - base.score.value;
    if !difference.is_finite() {
        return None;
    }
    let overlap = match (main.score.interval, base.score.interval) {
        (Some(a), Some(b)) if a.0 > b.1 || b.0 > a.1 => "; their 95% intervals do not overlap",
        (Some(_), Some(_)) => "; their 95% intervals overlap",
        _ => "",
    };
    let way = if difference >= 0.0 { "above" } else { "below" };
    Some(format!(
        "{} is {} {way} {} in {} on {} test texts{overlap}.",
        capital(&main.name),
        score(difference.abs()),
        base.name,
        data.metric,
        count(data.texts)
    ))
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// The numbers behind the chart of scores by labels.
pub(crate) fn by_labels(data: &ByLabels) -> String {
    let mut columns: Vec<u64> = data.series.iter().flat_map(|s| s.points.iter().map(|p| p.0)).collect();
    columns.sort_unstable();
    columns.dedup();
    let mut out =
        String::from("<div class=\"scroll\"><table class=\"cards\"><thead><tr><th>labelled texts</th>");
    for series in &data.series {
        let _ = write!(out, "<th class=\"n\">{}</th>", escape(&series.name));
    }
    out.push_str("</tr></thead><tbody>");
    for labels in columns {
        let _ = write!(out, "<tr><td>{}<span class=\"unit\"> labelled texts</span></td>", count(labels));
        for series in &data.series {
            let name = escape(&series.name);
            match series.points.iter().find(|point| point.0 == labels) {
                Some((_, s)) => {
                    let range = s
                        .interval
                        .map(|(low, high)| format!("<small>{} to {}</small>", score(low), score(high)));
                    let _ = write!(
                        out,
                        "<td class=\"n\" data-name=\"{name}\"><span>{}{}</span></td>",
                        score(s.value),
                        range.unwrap_or_default()
                    );
                }
                None => out.push_str("<td class=\"n empty\">–</td>"),
            }
        }
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table></div>");
    out
}

/// The confusion matrix, shaded by the share of its row.
pub(crate) fn confusion(data: &Confusion) -> String {
    if data.labels.len() > MOST_COLUMNS {
        return confusion_pairs(data);
    }
    let columns = data.labels.len();
    let mut out = format!(
        "<div class=\"scroll\"><table class=\"matrix\"><thead><tr><td></td><th class=\"along\" colspan=\"{columns}\">predicted</th>\
         </tr><tr><th>true</th>"
    );
    for label in &data.labels {
        let _ = write!(out, "<th>{}</th>", escape(label));
    }
    out.push_str("</tr></thead><tbody>");
    for (label, row) in data.labels.iter().zip(&data.counts) {
        let sum: u64 = row.iter().sum();
        let _ = write!(out, "<tr><th>{}</th>", escape(label));
        for n in row {
            let share = if sum > 0 { *n as f64 / sum as f64 } else { 0.0 };
            // A little colour for any text at all, so that a rare confusion is not the colour of none.
            // The shading ends where text in the colour of the page would become hard to read.
            let depth = if *n == 0 { 3.0 } else { 8.0 + share * 50.0 };
            let _ = write!(
                out,
                "<td style=\"background:color-mix(in srgb,var(--heat) {depth:.0}%,var(--card))\">{}<small>{}</small></td>",
                count(*n),
                percent(share)
            );
        }
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table></div>");
    out
}

fn confusion_pairs(data: &Confusion) -> String {
    let mut pairs: Vec<(u64, usize, usize)> = Vec::new();
    for (gold, row) in data.counts.iter().enumerate() {
        pairs.extend(
            row.iter().enumerate().filter(|(p, n)| *p != gold && **n > 0).map(|(p, n)| (*n, gold, p)),
        );
    }
    pairs.sort_by(|a, b| b.0.cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    let (shown, all) = (pairs.len().min(20), pairs.len());
    let mut out = format!(
        "<p class=\"note\">{} classes are too many for a table: the {shown} commonest of {all} confusions.</p><div class=\"scroll\">\
         <table><thead><tr><th>true</th><th>predicted</th><th class=\"n\">texts</th></tr></thead><tbody>",
        data.labels.len()
    );
    let name = |at: usize| data.labels.get(at).map(|label| escape(label)).unwrap_or_default();
    for (n, gold, predicted) in pairs.into_iter().take(20) {
        let _ = write!(
            out,
            "<tr><td>{}</td><td>{}</td><td class=\"n\">{}</td></tr>",
            name(gold),
            name(predicted),
            count(n)
        );
    }
    out.push_str("</tbody></table></div>");
    out
}

/// A metric on parts of the test texts; parts that fare worse than the whole stand out.
pub(crate) fn slices(data: &Slices) -> String {
    let mut out = format!(
        "<div class=\"scroll\"><table><thead><tr><th>part</th><th class=\"n\">texts</th><th class=\"n\">{}</th></tr></thead>\
         <tbody>",
        escape(&data.metric)
    );
    for row in &data.rows {
        let value = row.score.as_ref().map_or_else(|| "no value".to_string(), interval);
        let value = if row.worse { format!("<em class=\"wrong\">{value}</em>") } else { value };
        let _ = write!(
            out,
            "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{value}</td></tr>",
            escape(&row.name),
            count(row.texts)
        );
    }
    out.push_str("</tbody></table></div>");
    out
}

/// Precision, recall and F1 of each class.
pub(crate) fn classes(data: &[ClassScore]) -> String {
    let mut out = String::from(
        "<div class=\"scroll\"><table><thead><tr><th>class</th><th class=\"n\">precision</th><th class=\"n\">recall</th>\
         <th class=\"n\">F1</th><th class=\"n\">texts</th></tr></thead><tbody>",
    );
    for row in data {
        let _ = write!(
            out,
            "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            escape(&row.label),
            score(row.precision),
            score(row.recall),
            score(row.f1),
            count(row.support)
        );
    }
    out.push_str("</tbody></table></div>");
    out
}
