//! Does the first row name the columns?

use std::collections::HashMap;

use super::columns::is_known_name;
use super::pairs;
use crate::{ReadOptions, Task};

/// Yes or no, with the reason for the report.
pub(super) fn decide(records: &[(usize, Vec<String>)], options: &ReadOptions) -> (bool, String) {
    match options.header {
        Some(true) => return (true, "the first row names the columns (as said)".into()),
        Some(false) => return (false, "no header (as said); columns are numbered from 1".into()),
        None => {}
    }
    let yes = |why: String| (true, format!("the first row names the columns ({why})"));
    let no = |why: String| (false, format!("no header ({why}); columns are numbered from 1"));
    let first: Vec<&str> = records[0].1.iter().map(|field| field.trim()).collect();
    let body = &records[1..records.len().min(1001)];

    let known =
        |field: &str| is_known_name(field) || options.task == Task::Pairs && pairs::is_known_name(field);
    let said = options.text.iter().chain(&options.pair).chain(&options.label);
    let said = said.chain(&options.negative).chain(&options.id);
    if let Some(name) =
        said.into_iter().find(|name| first.contains(&name.as_str()) && name.parse::<usize>().is_err())
    {
        return yes(format!("{name:?} is one of them"));
    }
    if first.iter().any(|field| is_number(field)) {
        return no("the first row has a number in it".into());
    }
    if body.is_empty() {
        return match first.iter().find(|field| known(field)) {
            Some(field) => yes(format!("{field:?} is a usual name")),
            None => no("there is only one row".into()),
        };
    }
    for (column, field) in first.iter().enumerate() {
        let values = || body.iter().map(|(_, fields)| fields[column].trim());
        // A class that comes back further down is data, even where it is called "label" or "spam".
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for value in values() {
            *counts.entry(value).or_default() += 1;
        }
        if counts.contains_key(field) && counts.len() * 2 <= body.len().max(2) && !field.is_empty() {
            return no(format!("{field:?} of the first row comes again below it"));
        }
    }
    if let Some(field) = first.iter().find(|field| known(field)) {
        return yes(format!("{field:?} is a usual name"));
    }
    for (column, field) in first.iter().enumerate() {
        let numbers = body.iter().filter(|(_, fields)| is_number(fields[column].trim())).count();
        if !field.is_empty() && numbers == body.len() {
            return yes(format!("{field:?} stands over numbers"));
        }
    }
    let mean = |column: usize| {
        let chars: usize = body.iter().map(|(_, fields)| fields[column].chars().count()).sum();
        chars as f64 / body.len() as f64
    };
    let short = first.iter().all(|field| field.len() <= 30 && field.split_whitespace().count() <= 3);
    let over =
        (0..first.len()).find(|&column| mean(column) > 3.0 * first[column].chars().count().max(1) as f64);
    match over {
        Some(column) if short && body.len() >= 2 => {
            yes(format!("{:?} stands over far longer texts", first[column]))
        }
        _ => no("the first row looks like the others".into()),
    }
}

fn is_number(field: &str) -> bool {
    !field.is_empty() && field.parse::<f64>().is_ok_and(f64::is_finite)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rows: &[&[&str]], expected: bool) {
        let records: Vec<(usize, Vec<String>)> = rows
            .iter()
            .enumerate()
            .map(|(i, row)| (i + 1, row.iter().map(|field| field.to_string()).collect()))
            .collect();
        let (named, why) = decide(&records, &ReadOptions::default());
        assert_eq!(named, expected, "{rows:?}: {why}");
    }

    #[test]
    fn a_header_is_told_from_data() {
        check(&[&["text", "label"], &["hello", "ham"]], true);
        check(&[&["Body", "Class"], &["hello", "ham"], &["hi", "spam"]], true);
        check(&[&["ham", "hello you"], &["spam", "win now"], &["ham", "see you"], &["spam", "free"]], false);
        check(&[&["id", "quatsch"], &["1", "hello"], &["2", "hello"]], true);
        check(&[&["1", "hello"], &["2", "hello"]], false);
        check(
            &[
                &["what", "sort"],
                &["a long text of many words", "x"],
                &["and one more such text", "y"],
                &["and one more such text, too", "z"],
            ],
            true,
        );
        check(
            &[&["spam", "win"], &["ham", "hello"], &["ham", "bye"], &["spam", "free"], &["ham", "so"]],
            false,
        );
        check(&[&["text"], &["hello"], &["you"]], true);
        check(&[&["hello"], &["hello"], &["you"]], false);
        check(&[&["a thing happened today"], &["and then another"], &["you"]], false);
    }
}
