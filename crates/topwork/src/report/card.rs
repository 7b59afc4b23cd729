//! The model card: Markdown that people and model hubs read.

use std::fmt::Write;

use super::number::{compact, count, percent, score, seconds};
use super::tables::{interval, verdict};
use super::{DataAccount, Report};

/// The card of the model, as Markdown with the front matter hubs expect.
pub fn card(report: &Report) -> String {
    let mut out = String::from("---\n");
    let licence = report.model.as_ref().and_then(|model| model.licence.as_deref());
    if let Some(licence) = licence {
        let _ = writeln!(out, "license: {}", yaml(&licence.to_lowercase()));
    }
    let base = report.model.as_ref().map(|model| model.base.as_str()).filter(|base| !base.is_empty());
    // Hubs want a repository of theirs here; other references would be refused.
    if let Some(repository) = base.and_then(|base| base.strip_prefix("hf:")) {
        let _ = writeln!(out, "base_model: {}", yaml(repository.split('@').next().unwrap_or(repository)));
    }
    let library = report.model.as_ref().map(|model| model.library.as_str()).filter(|name| !name.is_empty());
    let library = yaml(library.unwrap_or("transformers"));
    let _ = writeln!(out, "library_name: {library}\ntags:\n- topwork\n---\n");
    let title = if report.title.is_empty() { "Model" } else { &report.title };
    let _ = writeln!(out, "# {}\n", text(title));
    if !report.subtitle.is_empty() {
        let _ = writeln!(out, "{}\n", text(&report.subtitle));
    }
    model(report, &mut out);
    scores(report, &mut out);
    if let Some(account) = &report.data {
        data(account, &mut out);
    }
    limits(report, &mut out);
    if !report.environment.is_empty() {
        out.push_str("## How it was made\n\n");
        for fact in &report.environment {
            let _ = writeln!(out, "- {}: {}", text(&fact.name), text(&fact.value));
        }
        out.push_str(
            "\nThe full recipe is in `resolved.toml`, the full report in `report.html`, beside this file.\n",
        );
    }
    out
}

fn model(report: &Report, out: &mut String) {
    let Some(model) = &report.model else { return };
    out.push_str("## What it is\n\n");
    for (name, value) in
        [("Job", &model.task), ("Made from", &model.base), ("Architecture", &model.architecture)]
    {
        if !value.is_empty() {
            let _ = writeln!(out, "- {name}: {}", text(value));
        }
    }
    let licence = model
        .licence
        .as_deref()
        .unwrap_or("not stated by the pretrained model; find out before you pass it on");
    let _ = writeln!(out, "- Licence: {}\n", text(licence));
    if !model.how_to_use.is_empty() {
        let fence = fence(&model.how_to_use);
        let _ = writeln!(out, "## How to use it\n\n{fence}sh\n{}\n{fence}\n", model.how_to_use.trim_end());
    }
    if !model.in_python.is_empty() {
        let fence = fence(&model.in_python);
        let code = model.in_python.trim_end();
        let _ = writeln!(out, "The same in Python:\n\n{fence}python\n{code}\n{fence}\n");
    }
}

fn scores(report: &Report, out: &mut String) {
    if let Some(methods) = report.methods.as_ref().filter(|methods| !methods.rows.is_empty()) {
        let _ = writeln!(out, "## How well it does\n");
        if let Some(sentence) = verdict(methods) {
            let _ = writeln!(out, "{}\n", text(&sentence));
        }
        let _ = writeln!(
            out,
            "| method | {} (95% interval) | trained parameters | training time |",
            text(&methods.metric)
        );
        out.push_str("|---|---|--:|--:|\n");
        for row in &methods.rows {
            let name = match (row.main, row.baseline) {
                (true, _) => format!("**{}** (this model)", text(&row.name)),
                (_, true) => format!("{} (baseline)", text(&row.name)),
                _ => text(&row.name),
            };
            let _ = writeln!(
                out,
                "| {name} | {} | {} | {} |",
                interval(&row.score),
                row.trained_parameters.map(compact).unwrap_or_default(),
                row.seconds.map(seconds).unwrap_or_default()
            );
        }
        let _ = writeln!(out, "\nMeasured on {} test texts.\n", count(methods.texts));
    }
    if !report.classes.is_empty() {
        out.push_str("| class | precision | recall | F1 | test texts |\n|---|--:|--:|--:|--:|\n");
        for row in &report.classes {
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {} |",
                text(&row.label),
                score(row.precision),
                score(row.recall),
                score(row.f1),
                count(row.support)
            );
        }
        out.push('\n');
    }
    if let Some(slices) = &report.slices {
        let _ = writeln!(out, "| part of the test texts | texts | {} |\n|---|--:|--:|", text(&slices.metric));
        for row in &slices.rows {
            let value = row.score.as_ref().map_or_else(|| "no value".to_string(), interval);
            let worse = if row.worse { " (worse than the whole)" } else { "" };
            let _ = writeln!(out, "| {} | {} | {value}{worse} |", text(&row.name), count(row.texts));
        }
        out.push('\n');
    }
    if let Some(calibration) = &report.calibration {
        let _ =
            writeln!(out, "Expected calibration error of its probabilities: {}.\n", score(calibration.error));
    }
}

fn data(account: &DataAccount, out: &mut String) {
    out.push_str("## What it learnt from\n\n");
    let _ = writeln!(out, "- Source: {}", text(&account.source));
    if let Some(licence) = &account.licence {
        let _ = writeln!(out, "- Licence of the data: {}", text(licence));
    }
    let _ = writeln!(out, "- Rows read: {}", count(account.rows));
    for (reason, n) in &account.skipped {
        let _ = writeln!(out, "- Skipped, {}: {}", text(reason), count(*n));
    }
    let _ = writeln!(
        out,
        "- Exact duplicates: {}, near duplicates: {}",
        count(account.duplicates),
        count(account.near_duplicates)
    );
    for (name, counts) in &account.splits {
        let parts: Vec<String> = account
            .labels
            .iter()
            .zip(counts)
            .map(|(label, n)| format!("{} {}", count(*n), text(label)))
            .collect();
        let _ =
            writeln!(out, "- {}: {} texts ({})", text(name), count(counts.iter().sum()), parts.join(", "));
    }
    for remark in &account.remarks {
        let _ = writeln!(out, "- {}", text(remark));
    }
    out.push('\n');
}

fn limits(report: &Report, out: &mut String) {
    let mut lines: Vec<String> = report.notes.iter().map(|note| text(note)).collect();
    lines.extend(report.model.iter().flat_map(|model| &model.limits).map(|limit| text(limit)));
    if let Some(lengths) = report.lengths.as_ref().filter(|lengths| lengths.texts_cut > 0)
        && let Some(maximum) = lengths.maximum
    {
        let share = percent(lengths.texts_cut as f64 / lengths.texts.max(1) as f64);
        lines.push(format!(
            "It reads the first {} tokens; {share} of the texts it was measured on are longer.",
            count(maximum)
        ));
    }
    lines.push("The scores hold for texts like those it was measured on; other sources, times and languages may differ.".into());
    out.push_str("## Limits\n\n");
    for line in lines {
        let _ = writeln!(out, "- {line}");
    }
    out.push('\n');
}

/// Text on one line that Markdown does not interpret.
fn text(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    for c in raw.chars() {
        match c {
            '\\' | '`' | '*' | '_' | '|' | '[' | ']' | '<' | '>' | '#' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// A value in double quotes, as JSON, which YAML reads.
fn yaml(raw: &str) -> String {
    let plain = raw.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/".contains(&b)) && !raw.is_empty();
    if plain { raw.to_owned() } else { serde_json::Value::from(raw).to_string() }
}

/// A code fence longer than any run of backticks inside.
fn fence(code: &str) -> String {
    let longest = code.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    "`".repeat(longest.max(2) + 1)
}
