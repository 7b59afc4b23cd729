//! CSV and TSV. Written here because the point is the errors: a stray quote names the line where it opened, and
//! nothing is guessed after it.

use std::io::Cursor;
use std::path::Path;

use super::bad_rows::BadRows;
use super::cell::{Cell, Table};
use super::header;
use super::lines::{Lines, bare};
use super::source::Source;
use crate::report::NAMED;
use crate::{Error, Format, ReadOptions, Result};

const CLOSE_QUOTE: &str = "a quote inside a quoted field is written twice (\"\"); if quotes are plain characters in this file, read it with quotes off";

/// Reads all records, decides on the header, and checks that every record has as many fields as the first.
pub(super) fn read(source: &Source, format: Format, options: &ReadOptions) -> Result<Table> {
    let mut notes = Vec::new();
    let delimiter = match (options.delimiter, format) {
        (Some(delimiter), _) => delimiter,
        (None, Format::Tsv) => '\t',
        (None, _) => {
            let delimiter = sniff(&source.sample()?);
            if delimiter != ',' {
                notes.push(format!("fields are separated by {delimiter:?}"));
            }
            delimiter
        }
    };
    if !delimiter.is_ascii() || matches!(delimiter, '"' | '\n' | '\r') {
        return Err(Error::Setting {
            what: "delimiter",
            expected: "one ASCII character, no quote and no line end".into(),
            got: format!("{delimiter:?}"),
        });
    }
    let quotes = options.quotes.unwrap_or(delimiter != '\t');
    let whole = |quotes: bool| {
        parse(source, delimiter, quotes, options.max_record_bytes, &mut BadRows::refused(source.path()))
    };
    let mut bad = BadRows::new(source.path(), options);
    let mut records = match whole(quotes) {
        Err(_) if bad.skips() => parse(source, delimiter, quotes, options.max_record_bytes, &mut bad)?,
        records => records?,
    };
    if delimiter == '\t' && options.quotes.is_none() {
        // Tab separated files have no quotes by their definition, but some programs write them: seen when quoted
        // tabs or line ends leave the rows uneven.
        let uneven = records.uneven().is_some();
        if uneven
            && let Ok(quoted) = whole(true)
            && quoted.uneven().is_none()
        {
            records = quoted;
            notes.push("fields are quoted (without quotes the rows are uneven)".into());
        } else {
            let quoted =
                records.rows.iter().flat_map(|(_, fields)| fields).filter(|field| in_quotes(field)).count();
            if quoted > 0 {
                notes.push(format!(
                    "{quoted} fields stand in quotes, which are kept (quotes = on removes them)"
                ));
            }
        }
    }
    if let Some(uneven) = records.uneven() {
        if !bad.skips() {
            return Err(uneven.error(source.path(), delimiter));
        }
        drop(records);
        records = parse(source, delimiter, quotes, options.max_record_bytes, &mut bad)?;
    }
    let Records { rows: mut records, blank } = records;
    if records.is_empty() {
        return Err(Error::Empty { path: source.path().into(), what: "the file is empty".into() });
    }
    let (named, why) = header::decide(&records, options);
    notes.push(why);
    let columns = if named {
        let (_, names) = records.remove(0);
        names.into_iter().map(|name| name.trim().to_string()).collect()
    } else {
        (1..=records[0].1.len()).map(|number| number.to_string()).collect()
    };
    let rows = records
        .into_iter()
        .map(|(line, fields)| (line, fields.into_iter().map(Cell::Text).collect()))
        .collect();
    let skipped = blank.into_iter().map(|line| ("blank line", line)).chain(bad.found).collect();
    Ok(Table { columns, named, rows, notes, skipped, ..Table::default() })
}

fn in_quotes(field: &str) -> bool {
    field.len() >= 2 && field.starts_with('"') && field.ends_with('"')
}

/// The delimiter that cuts every line of the sample into the same number (at least two) of fields; `,` if none does.
fn sniff(sample: &[u8]) -> char {
    let mut candidates = [',', '\t', ';', '|'].into_iter();
    candidates
        .find(|&delimiter| consistent(sample, delimiter, delimiter != '\t').is_some_and(|n| n > 1))
        .unwrap_or(',')
}

/// The number of fields of every record in the sample (at most 200 records), `None` if it varies.
pub(super) fn consistent(sample: &[u8], delimiter: char, quotes: bool) -> Option<usize> {
    let whole = match sample.iter().rposition(|&byte| byte == b'\n') {
        Some(end) => &sample[..=end],
        None => sample,
    };
    let path = Path::new("sample");
    let mut lines = Lines::new(Box::new(Cursor::new(whole)), path, usize::MAX >> 1);
    let mut count = None;
    for _ in 0..200 {
        match record(&mut lines, &mut String::new(), path, delimiter, quotes, usize::MAX >> 1) {
            Ok(Some((_, fields))) if fields.len() == 1 && fields[0].is_empty() => {}
            Ok(Some((_, fields))) => match count {
                None => count = Some(fields.len()),
                Some(known) if known == fields.len() => {}
                Some(_) => return None,
            },
            // A record cut off by the end of the sample says nothing.
            Ok(None) | Err(_) => break,
        }
    }
    count
}

/// Line number and fields of each record.
struct Records {
    rows: Vec<(usize, Vec<String>)>,
    /// Blank lines between the records; those at the end of the file are not counted.
    blank: Vec<usize>,
}

struct Uneven<'a> {
    first: &'a (usize, Vec<String>),
    row: &'a (usize, Vec<String>),
    lines: Vec<usize>,
    count: usize,
    rows: usize,
}

impl Records {
    fn uneven(&self) -> Option<Uneven<'_>> {
        let first = self.rows.first()?;
        let odd = || self.rows.iter().filter(|(_, fields)| fields.len() != first.1.len());
        let row = odd().next()?;
        let lines = odd().map(|(line, _)| *line).take(NAMED).collect();
        Some(Uneven { first, row, lines, count: odd().count(), rows: self.rows.len() })
    }
}

impl Uneven<'_> {
    fn error(self, path: &Path, delimiter: char) -> Error {
        let (line, fields) = self.row;
        Error::Ragged {
            path: path.into(),
            line: *line,
            expected: self.first.1.len(),
            first: self.first.0,
            got: fields.len(),
            start: fields.join(&delimiter.to_string()).chars().take(60).collect(),
            lines: self.lines,
            count: self.count,
            rows: self.rows,
            delimiter,
        }
    }
}

/// All records; of a bad row that is left out, only the line it begins in is lost.
fn parse(source: &Source, delimiter: char, quotes: bool, limit: usize, bad: &mut BadRows) -> Result<Records> {
    let path = source.path();
    let mut lines = Lines::new(source.open()?, path, limit);
    let mut records = Records { rows: Vec::new(), blank: Vec::new() };
    let mut text = String::new();
    loop {
        match record(&mut lines, &mut text, path, delimiter, quotes, limit) {
            Ok(None) => break,
            Ok(Some((line, fields))) if fields.len() == 1 && fields[0].is_empty() => {
                records.blank.push(line);
            }
            Ok(Some(row)) => match records.rows.first() {
                Some(first) if bad.skips() && first.1.len() != row.1.len() => {
                    let rows = records.rows.len();
                    let uneven = Uneven { first, row: &row, lines: vec![row.0], count: 1, rows: rows + 1 };
                    bad.add(row.0, rows, uneven.error(path, delimiter))?;
                    after_first(&mut lines, &text, row.0);
                }
                _ => records.rows.push(row),
            },
            Err(error) => {
                let (at, taken) = (lines.line(), text.split_inclusive('\n').count());
                let good = records.rows.len();
                if !matches!(error, Error::NotUtf8 { .. } | Error::RecordTooLong { .. }) {
                    let start = at + 1 - taken;
                    bad.add(start, good, error)?;
                    after_first(&mut lines, &text, start);
                    continue;
                }
                // The line that is broken in itself is not in the text; what came before may be a record that began.
                bad.add(at, good, error)?;
                if taken > 0 {
                    let start = at - taken;
                    let problem = format!("does not close before line {at}, which cannot be read");
                    let way_out = CLOSE_QUOTE;
                    bad.add(
                        start,
                        good,
                        Error::Quote { path: path.into(), line: start, column: 1, problem, way_out },
                    )?;
                    after_first(&mut lines, &text, start);
                }
            }
        }
    }
    let last = records.rows.last().map_or(0, |(line, _)| *line);
    records.blank.retain(|&line| line < last);
    Ok(records)
}

/// Puts back what a record that begins in line `start` has taken beyond it.
fn after_first(lines: &mut Lines<'_>, text: &str, start: usize) {
    if let Some(end) = text.find('\n') {
        lines.put_back(&text[end + 1..], start + 1);
    }
}

/// The next record and the line it starts on; `text` holds its lines then, also where it is broken.
fn record(
    lines: &mut Lines<'_>,
    text: &mut String,
    path: &Path,
    delimiter: char,
    quotes: bool,
    limit: usize,
) -> Result<Option<(usize, Vec<String>)>> {
    text.clear();
    match lines.next()? {
        None => return Ok(None),
        Some(line) => text.push_str(line),
    }
    let start = lines.line();
    if !quotes || !text.contains('"') {
        return Ok(Some((start, bare(text).split(delimiter).map(String::from).collect())));
    }
    let delimiter = delimiter as u8;
    let mut fields = Vec::new();
    let mut at = 0;
    // Lines that ended before a place that moves on: a record of many fields is not counted again for each.
    let (mut counted, mut ended) = (0, 0);
    loop {
        if text.as_bytes().get(at) != Some(&b'"') {
            // A quote further on in the field is a plain character.
            let rest = bare(&text[at..]);
            match rest.bytes().position(|byte| byte == delimiter) {
                Some(end) => {
                    fields.push(rest[..end].to_string());
                    at += end + 1;
                    continue;
                }
                None => {
                    fields.push(rest.to_string());
                    return Ok(Some((start, fields)));
                }
            }
        }
        ended += text[counted..at].matches('\n').count();
        counted = at;
        let opened = start + ended;
        let column = fields.len() + 1;
        let wrong = |problem: String| Error::Quote {
            path: path.into(),
            line: opened,
            column,
            problem,
            way_out: CLOSE_QUOTE,
        };
        let mut field = String::new();
        at += 1;
        loop {
            match text[at..].find('"') {
                Some(end) if text.as_bytes().get(at + end + 1) == Some(&b'"') => {
                    field.push_str(&text[at..=at + end]);
                    at += end + 2;
                }
                Some(end) => {
                    field.push_str(&text[at..at + end]);
                    at += end + 1;
                    break;
                }
                None => {
                    // The field goes on in the next line; what is behind it is not looked at again.
                    field.push_str(&text[at..]);
                    at = text.len();
                    match lines.next()? {
                        Some(line) => text.push_str(line),
                        None => {
                            let more = lines.line() - opened;
                            return Err(wrong(format!(
                                "never closes: it swallows the {more} lines to the end of the file"
                            )));
                        }
                    }
                    if text.len() > limit {
                        return Err(wrong(format!("does not close within {limit} bytes")));
                    }
                }
            }
        }
        fields.push(field);
        let rest = bare(&text[at..]);
        match rest.as_bytes().first() {
            None => return Ok(Some((start, fields))),
            Some(&byte) if byte == delimiter => at += 1,
            Some(_) => {
                let closes = start + text[..at].matches('\n').count();
                let next: String = rest.chars().take(20).collect();
                return Err(wrong(format!(
                    "closes in line {closes} in the middle of a field, before {next:?}"
                )));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str, quotes: bool) -> Result<Vec<(usize, Vec<String>)>> {
        let source = Source::bytes("t.csv", text.into());
        parse(&source, ',', quotes, 1000, &mut BadRows::refused(source.path())).map(|records| records.rows)
    }

    fn check(text: &str, expected: &[(usize, &[&str])]) {
        let expected: Vec<(usize, Vec<String>)> = expected
            .iter()
            .map(|(line, fields)| (*line, fields.iter().map(|f| f.to_string()).collect()))
            .collect();
        assert_eq!(fields(text, true).unwrap(), expected, "{text:?}");
    }

    #[test]
    fn records_as_rfc_4180_has_them() {
        check("a,b\nc,d\n", &[(1, &["a", "b"]), (2, &["c", "d"])]);
        check("a,b\r\nc,d", &[(1, &["a", "b"]), (2, &["c", "d"])]);
        check("\"a,\"\"x\"\"\",b\n", &[(1, &["a,\"x\"", "b"])]);
        check("\"a\nb\",c\nd,e\n", &[(1, &["a\nb", "c"]), (3, &["d", "e"])]);
        check("a,\"\"\n,\n", &[(1, &["a", ""]), (2, &["", ""])]);
        check("5\" disk,b\n", &[(1, &["5\" disk", "b"])]);
        check("a,\"b\"\r\n\n\nc,d\n\n\n", &[(1, &["a", "b"]), (4, &["c", "d"])]);
        check("\u{feff}é,ü\n", &[(1, &["é", "ü"])]);
    }

    #[test]
    fn a_stray_quote_names_the_line_where_it_opened() {
        for (text, line, column, part) in [
            ("a,b\nx,\"y\nz,w\n", 2, 2, "never closes"),
            ("a,b\n\"x\" y,b\n", 2, 1, "middle of a field"),
            ("\"a,b\nc,d\n\"e,f\n", 1, 1, "closes in line 3"),
            ("\"a\nb\",\"c\nd\n", 2, 2, "never closes"),
        ] {
            match fields(text, true) {
                Err(Error::Quote { line: l, column: c, problem, .. }) => {
                    assert_eq!((l, c), (line, column), "{text:?}: {problem}");
                    assert!(problem.contains(part), "{problem}");
                }
                other => panic!("{text:?}: {other:?}"),
            }
        }
        assert!(fields("a,b\nx,\"y\nz,w\n", false).is_ok());
        let long = format!("\"{}", "x\n".repeat(600));
        assert!(matches!(fields(&long, true), Err(Error::Quote { line: 1, .. })));
    }

    #[test]
    fn a_record_of_very_many_quoted_fields_is_read_in_one_pass() {
        let text = format!("{}x\n", "\"a\nb\",".repeat(200_000));
        let begin = std::time::Instant::now();
        let source = Source::bytes("t.csv", text.into());
        let records = parse(&source, ',', true, 1 << 24, &mut BadRows::refused(source.path())).unwrap();
        assert_eq!(records.rows[0].1.len(), 200_001);
        // A pass for each field took minutes.
        assert!(begin.elapsed().as_secs() < 20, "{:?}", begin.elapsed());
    }

    #[test]
    fn the_delimiter_is_the_one_that_fits_every_line() {
        assert_eq!(sniff(b"a,b\n1,2\n"), ',');
        assert_eq!(sniff(b"a\tb, c\n1\t2\n"), '\t');
        assert_eq!(sniff(b"text;label\n\"a;b\";x\nhello, you;y\n"), ';');
        assert_eq!(sniff(b"text\nhello, you\n"), ',');
    }
}
