//! Which column is the text, the second text, the label.

use std::collections::HashSet;
use std::path::Path;

use super::cell::{Cell, Table};
use crate::error::nearest;
use crate::report::ChosenColumn;
use crate::{Error, ReadOptions, Result, Task};

/// Names of text columns, most telling first.
const TEXT: &[&str] = &[
    "text",
    "sentence",
    "body",
    "message",
    "review",
    "review_text",
    "content",
    "comment",
    "tweet",
    "utterance",
    "document",
    "sms",
    "email",
    "mail",
    "post",
    "question",
    "query",
    "description",
    "abstract",
    "headline",
    "title",
    "subject",
    "phrase",
    "passage",
    "sentence1",
    "premise",
    "question1",
    "text1",
    "text_a",
    "sentence_a",
    "v2",
];

/// Names of label columns, most telling first.
const LABEL: &[&str] = &[
    "label",
    "labels",
    "class",
    "category",
    "categories",
    "target",
    "sentiment",
    "intent",
    "topic",
    "tag",
    "tags",
    "gold_label",
    "polarity",
    "emotion",
    "spam",
    "is_spam",
    "quality",
    "score",
    "similarity",
    "rating",
    "stars",
    "y",
    "v1",
];

/// The same for [`Task::Score`].
const SCORE: &[&str] = &[
    "score",
    "similarity",
    "similarity_score",
    "rating",
    "stars",
    "target",
    "value",
    "label",
    "labels",
    "y",
];

/// First and second text of a pair.
pub(super) const PAIRS: &[(&str, &str)] = &[
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("text1", "text2"),
    ("text_a", "text_b"),
    ("sentence_a", "sentence_b"),
    ("question", "sentence"),
    ("#1 string", "#2 string"),
    ("text", "pair"),
    ("text", "text_pair"),
];

/// Names of rows.
const NAMES: &[&str] =
    &["id", "_id", "docid", "doc_id", "document_id", "pid", "qid", "query_id", "query-id", "corpus-id"];

/// The columns to use, by number.
pub(super) struct Chosen {
    pub text: (usize, ChosenColumn),
    pub pair: Option<(usize, ChosenColumn)>,
    pub label: Vec<(usize, ChosenColumn)>,
}

/// True if a column called so would be recognised.
pub(super) fn is_known_name(name: &str) -> bool {
    let name = name.to_lowercase();
    let name = name.as_str();
    TEXT.contains(&name)
        || LABEL.contains(&name)
        || SCORE.contains(&name)
        || PAIRS.iter().any(|(first, second)| *first == name || *second == name)
}

/// Chooses the columns as said, by name, or by what stands in them.
pub(super) fn choose(path: &Path, table: &Table, options: &ReadOptions) -> Result<Chosen> {
    let mut taken = Vec::new();
    let mut said = |role: &'static str, wanted: &str| -> Result<(usize, ChosenColumn)> {
        let at = find(path, table, role, wanted)?;
        taken.push(at);
        Ok((at, chosen(table, at, "as said")))
    };
    let text = options.text.as_deref().map(|wanted| said("text", wanted)).transpose()?;
    let mut pair = options.pair.as_deref().map(|wanted| said("pair", wanted)).transpose()?;
    let mut label = Vec::new();
    if options.task != Task::Unlabelled {
        for wanted in &options.label {
            label.push(said("label", wanted)?);
        }
    }

    // A pair that names itself.
    let mut text = text;
    if text.is_none() && pair.is_none() {
        for (first, second) in PAIRS {
            if let (Some(a), Some(b)) = (by_name(table, &[first], &taken), by_name(table, &[second], &taken))
            {
                text = Some((a, chosen(table, a, "by its name, first of a pair")));
                pair = Some((b, chosen(table, b, "by its name, second of a pair")));
                taken.extend([a, b]);
                break;
            }
        }
    }
    let needs_label = options.task != Task::Unlabelled && label.is_empty();
    if needs_label && table.named {
        let names = if options.task == Task::Score { SCORE } else { LABEL };
        if let Some(at) = by_name(table, names, &taken) {
            label.push((at, chosen(table, at, "by its name")));
            taken.push(at);
        }
    }
    if text.is_none() && table.named {
        text = by_name(table, TEXT, &taken).map(|at| (at, chosen(table, at, "by its name")));
        taken.extend(text.as_ref().map(|(at, _)| *at));
    }
    let text = match text {
        Some(text) => text,
        None => {
            let (at, why) = longest(path, table, &taken)?;
            taken.push(at);
            (at, chosen(table, at, why))
        }
    };
    if needs_label && label.is_empty() {
        let (at, why) = few_values(path, table, &taken, options.task)?;
        label.push((at, chosen(table, at, why)));
    }
    Ok(Chosen { text, pair, label })
}

/// The column of the names of rows, if one is said, or looked for and there.
pub(super) fn names_of_rows(
    path: &Path,
    table: &Table,
    options: &ReadOptions,
    chosen: &Chosen,
) -> Result<Option<usize>> {
    if let Some(wanted) = &options.id {
        return find(path, table, "id", wanted).map(Some);
    }
    let labels = chosen.label.iter().map(|(at, _)| *at);
    let taken: Vec<usize> =
        [chosen.text.0].into_iter().chain(chosen.pair.as_ref().map(|(at, _)| *at)).chain(labels).collect();
    Ok(by_name(table, NAMES, &taken).filter(|_| options.ids && table.named))
}

pub(super) fn chosen(table: &Table, at: usize, why: &str) -> ChosenColumn {
    ChosenColumn { name: table.columns[at].clone(), why: why.into() }
}

/// A column by its name (as written, else without regard to case), else by its number from 1.
pub(super) fn find(path: &Path, table: &Table, role: &'static str, wanted: &str) -> Result<usize> {
    let exact = table.columns.iter().position(|name| name == wanted);
    let folded = || {
        let mut same = table.columns.iter().enumerate().filter(|(_, name)| name.eq_ignore_ascii_case(wanted));
        match (same.next(), same.next()) {
            (Some((at, _)), None) => Some(at),
            _ => None,
        }
    };
    let number = || {
        wanted
            .parse::<usize>()
            .ok()
            .filter(|number| (1..=table.columns.len()).contains(number))
            .map(|n| n - 1)
    };
    exact.or_else(folded).or_else(number).ok_or_else(|| Error::MissingColumn {
        path: path.into(),
        role,
        wanted: wanted.into(),
        columns: shown(table),
        suggestion: nearest(wanted, table.columns.iter().map(String::as_str)),
    })
}

pub(super) fn by_name(table: &Table, names: &[&str], taken: &[usize]) -> Option<usize> {
    names.iter().find_map(|wanted| {
        let mut columns = table.columns.iter().enumerate();
        columns.find(|(at, name)| name.to_lowercase() == **wanted && !taken.contains(at)).map(|(at, _)| at)
    })
}

/// Column names for a message; without a header each with how its first row begins.
pub(super) fn shown(table: &Table) -> Vec<String> {
    let example = |at: usize| match table.rows.first().and_then(|(_, cells)| cells[at].words()) {
        Some(words) if !table.named => format!(" ({:?})", words.chars().take(20).collect::<String>()),
        _ => String::new(),
    };
    table.columns.iter().enumerate().take(40).map(|(at, name)| format!("{name}{}", example(at))).collect()
}

/// The column whose texts are clearly the longest.
fn longest(path: &Path, table: &Table, taken: &[usize]) -> Result<(usize, &'static str)> {
    let sample = &table.rows[..table.rows.len().min(1000)];
    let mut means: Vec<(f64, usize)> = (0..table.columns.len())
        .filter(|at| !taken.contains(at))
        .map(|at| {
            let chars: usize = sample
                .iter()
                .map(|(_, cells)| match &cells[at] {
                    Cell::Text(text) if text.trim().parse::<f64>().is_err() => text.chars().count(),
                    _ => 0,
                })
                .sum();
            (chars as f64 / sample.len().max(1) as f64, at)
        })
        .collect();
    means.sort_by(|a, b| b.0.total_cmp(&a.0));
    let unclear = |why: &str| Error::UnclearColumn {
        path: path.into(),
        role: "text",
        why: why.into(),
        columns: shown(table),
        option: "--text",
    };
    match means.as_slice() {
        [] => Err(unclear("no column is left")),
        [(mean, _), ..] if *mean == 0.0 => Err(unclear("none holds text")),
        [(_, at)] => Ok((*at, "the only column left")),
        [(mean, at), (next, _), ..] if *mean >= 2.0 * next => Ok((*at, "by far the longest texts")),
        _ => Err(unclear("none has a usual name or far longer texts than the others")),
    }
}

/// The one column with few values that come again and again (or with numbers, for scores).
fn few_values(path: &Path, table: &Table, taken: &[usize], task: Task) -> Result<(usize, &'static str)> {
    let left: Vec<usize> = (0..table.columns.len()).filter(|at| !taken.contains(at)).collect();
    let unclear = |why: String| Error::UnclearColumn {
        path: path.into(),
        role: "label",
        why,
        columns: shown(table),
        option: "--label",
    };
    if let [only] = left.as_slice() {
        return Ok((*only, "the only other column"));
    }
    let sample = &table.rows[..table.rows.len().min(10_000)];
    let fits = |at: &usize| {
        let words: Vec<String> = sample.iter().filter_map(|(_, cells)| cells[*at].words()).collect();
        if words.is_empty() {
            return false;
        }
        if task == Task::Score {
            return words.iter().all(|word| word.trim().parse::<f64>().is_ok());
        }
        let values: HashSet<&str> = words.iter().map(|word| word.trim()).collect();
        values.len() >= 2 && values.len() <= 200 && values.len() * 2 <= words.len()
    };
    let candidates: Vec<usize> = left.iter().copied().filter(fits).collect();
    match candidates.as_slice() {
        [one] => Ok((
            *one,
            if task == Task::Score {
                "the only other column of numbers"
            } else {
                "the only column with few values"
            },
        )),
        [] if left.is_empty() => Err(unclear("there is no column beside the text".into())),
        [] => Err(unclear("none has a usual name or few values".into())),
        several => {
            let names: Vec<&str> = several.iter().map(|&at| table.columns[at].as_str()).collect();
            Err(unclear(format!("{} all could be", names.join(", "))))
        }
    }
}
