//! The page: which sections there are, in which order.

use std::fmt::Write;

use super::number::{count, percent};
use super::style::CSS;
use super::{Report, charts, heat, sections, strips, tables};

/// The report as one HTML file that loads nothing from anywhere.
///
/// Everything that comes from data (texts, names, labels) is escaped, and a content security policy in the page
/// forbids scripts and every request, so that not even a mistake here could make a text run.
pub fn html(report: &Report) -> String {
    let title = if report.title.is_empty() { "topwork report".to_owned() } else { escape(&report.title) };
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n<meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; style-src 'unsafe-inline'\">\n<meta name=\"viewport\" content=\"width=device-width, \
         initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n<style>{CSS}</style>\
         </head>\n<body><main>\n<header><h1>{title}</h1>"
    );
    if !report.subtitle.is_empty() {
        let _ = write!(out, "<p>{}</p>", escape(&report.subtitle));
    }
    out.push_str("</header>\n");
    if !report.headline.is_empty() {
        out.push_str("<div class=\"numbers\">");
        for item in &report.headline {
            let (name, value, detail) = (escape(&item.name), escape(&item.value), escape(&item.detail));
            let _ = write!(out, "<div><span>{name}</span><b>{value}</b><span>{detail}</span></div>");
        }
        out.push_str("</div>\n");
    }
    if !report.notes.is_empty() {
        out.push_str("<div class=\"notes\"><ul>");
        for note in &report.notes {
            let _ = write!(out, "<li>{}</li>", escape(note));
        }
        out.push_str("</ul></div>\n");
    }
    results(report, &mut out);
    accounts(report, &mut out);
    out.push_str("<footer>written by topwork; this file loads nothing from the network</footer>\n</main></body></html>\n");
    out
}

/// What came out.
fn results(report: &Report, out: &mut String) {
    if let Some(strips) =
        report.strips.as_ref().filter(|strips| strips.rows.iter().any(|row| !row.points.is_empty()))
    {
        section(out, &strips.title, &strips.about, &strips::draw(strips));
    }
    if let Some(grid) = report.grid.as_ref().filter(|grid| !grid.rows.is_empty()) {
        section(out, &grid.title, &grid.about, &tables::grid(grid));
    }
    if let Some(heats) =
        report.heats.as_ref().filter(|heats| heats.maps.iter().any(|map| !map.rows.is_empty()))
    {
        section(out, &heats.title, &heats.about, &heat::maps(heats));
    }
    for grid in report.tables.iter().filter(|grid| !grid.rows.is_empty()) {
        section(out, &grid.title, &grid.about, &tables::grid(grid));
    }
    if let Some(methods) = report.methods.as_ref().filter(|m| !m.rows.is_empty()) {
        section(out, "Methods compared", "", &tables::methods(methods));
    }
    if let Some(data) = report.by_labels.as_ref().filter(|d| d.series.iter().any(|s| !s.points.is_empty())) {
        let body = format!(
            "<div class=\"charts\">{}<div>{}</div></div>",
            charts::by_labels(data),
            tables::by_labels(data)
        );
        section(
            out,
            "What labels buy",
            "The same test texts throughout; only the number of labelled training texts differs.",
            &body,
        );
    }
    if let Some(training) = &report.training {
        let charts = charts::training(training);
        if !charts.is_empty() {
            let about = if training.steps_per_epoch.is_some() {
                "Thin vertical marks are ends of epochs."
            } else {
                ""
            };
            section(out, "Training", about, &format!("<div class=\"charts\">{}</div>", charts.concat()));
        }
    }
    let confusion = report.confusion.as_ref().filter(|c| !c.counts.is_empty());
    if confusion.is_some() || !report.classes.is_empty() {
        out.push_str("<div class=\"pair\">");
        if let Some(confusion) = confusion {
            section(
                out,
                "Which class was taken for which",
                "Shares are of the true class.",
                &tables::confusion(confusion),
            );
        }
        if !report.classes.is_empty() {
            section(out, "Scores by class", "On the test texts.", &tables::classes(&report.classes));
        }
        out.push_str("</div>\n");
    }
    if let Some(slices) = &report.slices {
        let about = format!(
            "The same metric on parts of the test texts, with 95% intervals; on all of them it is {}. What is worse than that by \
             more than chance stands out.",
            tables::interval(&slices.whole)
        );
        section(out, "Parts of the test texts", &about, &tables::slices(slices));
    }
    let (mut figures, mut titles) = (String::new(), Vec::new());
    if let Some(calibration) = report.calibration.as_ref().filter(|c| !c.bins.is_empty()) {
        figures.push_str(&charts::calibration(calibration));
        titles.push("Probabilities");
    }
    if !report.layers.is_empty() {
        figures.push_str(&charts::layers(&report.layers));
        titles.push("Layers");
    }
    if let Some(lengths) = report.lengths.as_ref().filter(|l| !l.bins.is_empty()) {
        figures.push_str(&charts::lengths(lengths));
        titles.push("Lengths");
    }
    if !figures.is_empty() {
        section(out, &titles.join(", "), "", &format!("<div class=\"charts\">{figures}</div>"));
    }
    if let Some(mistakes) = &report.mistakes {
        let share = percent(mistakes.total as f64 / mistakes.texts.max(1) as f64);
        let about = match mistakes.total {
            0 => format!("None on {} test texts.", count(mistakes.texts)),
            n => format!(
                "{} of {} test texts ({share}) are wrong; {}:",
                count(n),
                count(mistakes.texts),
                match mistakes.worst.iter().any(|mistake| mistake.probability.is_some()) {
                    true => format!("the {} the model was surest of", mistakes.worst.len()),
                    false => format!("{} of them", mistakes.worst.len()),
                }
            ),
        };
        let marked = mistakes.worst.iter().any(|mistake| !mistake.weights.is_empty());
        let key = if marked { MARKS } else { "" };
        section(out, "Worst mistakes", &about, &format!("{key}{}", sections::mistakes(mistakes)));
    }
}

/// How it came about.
fn accounts(report: &Report, out: &mut String) {
    if report.data.is_some() || report.load.is_some() {
        out.push_str("<div class=\"pair\">");
        if let Some(data) = &report.data {
            section(out, "Data", "", &sections::data(data));
        }
        if let Some(load) = &report.load {
            section(out, "Pretrained model", "", &sections::load(load));
        }
        out.push_str("</div>\n");
    }
    if let Some(usage) =
        report.model.as_ref().map(|model| &model.how_to_use).filter(|usage| !usage.is_empty())
    {
        section(out, "Use it", "", &format!("<pre>{}</pre>", escape(usage)));
    }
    if !report.environment.is_empty() {
        section(out, "Where and when", "", &sections::list(&report.environment));
    }
    if let Some(recipe) = &report.recipe {
        let body = format!("<details><summary>show</summary><pre>{}</pre></details>", escape(recipe));
        section(out, "Recipe", "With every default filled in.", &body);
    }
}

/// What marks in texts mean.
const MARKS: &str = "<p>Words <mark style=\"--w:1\">speak for</mark> the wrong answer, or <mark class=\"against\" \
                     style=\"--w:1\">against</mark> it, by what its probability loses or gains without them.</p>";

fn section(out: &mut String, title: &str, about: &str, body: &str) {
    let about = if about.is_empty() { String::new() } else { format!("<p>{}</p>", escape(about)) };
    let _ = writeln!(out, "<section><h2>{}</h2>{about}{body}</section>", escape(title));
}

/// Text that means itself in HTML, inside and outside of quotes. Characters that would turn the reading direction
/// or end the document are shown as U+FFFD.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.push('\u{fffd}'),
            '\n' | '\t' => out.push(c),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
