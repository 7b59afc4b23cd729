//! Files of the multi-domain sentiment data set: reviews of products, each field between tags of its own on lines of their own.
//!
//! They look like XML and are none: what stands in a field is not escaped.
//!
//! Paper: Blitzer et al. 2007, "Biographies, Bollywood, Boom-boxes and Blenders", section 4,
//! <https://aclanthology.org/P07-1056/>

use super::bad_rows::BadRows;
use super::cell::{Cell, Table};
use super::lines::Lines;
use super::source::Source;
use crate::{Error, ReadOptions, Result};

/// The column of what the file's name says of its reviews: `positive`, `negative`.
const LABEL: &str = "label";
/// The most fields; the published files have eleven.
const FIELDS: usize = 64;

pub(super) fn read(source: &Source, options: &ReadOptions) -> Result<Table> {
    let stem = source.path().file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let mut table = Table { named: true, columns: vec![LABEL.into()], ..Table::default() };
    let mut lines = Lines::new(source.open()?, source.path(), options.max_record_bytes);
    let mut bad = BadRows::new(source.path(), options);
    let mut place = Place::Outside;
    // Where the review begins, its cells, and the bytes of all its fields.
    let (mut first, mut cells, mut bytes) = (0, Vec::new(), 0);
    loop {
        let line = match lines.next() {
            Ok(Some(line)) => line.to_string(),
            Ok(None) => break,
            Err(error) => {
                bad.add(lines.line(), table.rows.len(), error)?;
                place = Place::Lost;
                continue;
            }
        };
        let tag = line.trim();
        let at = lines.line();
        let wrong = |got: String| Error::Review { path: source.path().into(), line: at, got };
        let problem = match &mut place {
            Place::Lost if tag != "<review>" => continue,
            Place::Outside if tag.is_empty() => continue,
            Place::Lost | Place::Outside if tag == "<review>" => {
                (first, cells, bytes) = (at, vec![Cell::Text(stem.clone())], 0);
                place = Place::Review;
                continue;
            }
            Place::Lost | Place::Outside => wrong(format!("{} outside of a review", shown(tag))),
            Place::Review if tag.is_empty() => continue,
            Place::Review if tag == "</review>" => {
                table.rows.push((first, std::mem::take(&mut cells)));
                place = Place::Outside;
                continue;
            }
            Place::Review if tag == "<review>" => {
                wrong(format!("<review> in the review that begins in line {first}, which does not end"))
            }
            Place::Review => match opened(tag) {
                Some(name) if table.columns.len() < FIELDS || table.columns.iter().any(|c| c == name) => {
                    place = Place::Field(name.to_string(), String::new());
                    continue;
                }
                Some(_) => wrong(format!("more than {FIELDS} different fields")),
                None => wrong(format!("{} where a field begins or </review> stands", shown(tag))),
            },
            Place::Field(name, text)
                if tag.strip_prefix("</").and_then(|t| t.strip_suffix('>')) == Some(name.as_str()) =>
            {
                put(&mut table.columns, &mut cells, name, text);
                place = Place::Review;
                continue;
            }
            Place::Field(name, _) if tag == "</review>" || tag == "<review>" => {
                wrong(format!("{tag} inside of <{name}>, which does not end"))
            }
            Place::Field(_, text) => {
                bytes += line.len();
                if bytes <= options.max_record_bytes {
                    text.push_str(&line);
                    continue;
                }
                Error::RecordTooLong {
                    path: source.path().into(),
                    line: first,
                    limit: options.max_record_bytes,
                }
            }
        };
        bad.add(at, table.rows.len(), problem)?;
        place = Place::Lost;
        if tag == "<review>" {
            (first, cells, bytes) = (at, vec![Cell::Text(stem.clone())], 0);
            place = Place::Review;
        }
    }
    if matches!(place, Place::Review | Place::Field(..)) {
        let got = format!("the end of the file in the review that begins in line {first}");
        bad.add(
            first,
            table.rows.len(),
            Error::Review { path: source.path().into(), line: lines.line(), got },
        )?;
    }
    table.skipped.extend(bad.found);
    let width = table.columns.len();
    table.rows.iter_mut().for_each(|(_, cells)| cells.resize(width, Cell::Null));
    Ok(table)
}

/// Where the reader stands.
enum Place {
    /// Between reviews.
    Outside,
    /// Past something wrong, until the next review begins.
    Lost,
    /// In a review, between its fields.
    Review,
    /// In the field of this name, of which so much was read.
    Field(String, String),
}

/// The name of a field whose tag opens here.
fn opened(tag: &str) -> Option<&str> {
    let name = tag.strip_prefix('<')?.strip_suffix('>')?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (!name.is_empty() && name.chars().all(plain)).then_some(name)
}

/// Puts a field into its column. A field that stands twice, as `unique_id` does in some files, is what it was first.
fn put(columns: &mut Vec<String>, cells: &mut Vec<Cell>, name: &str, text: &str) {
    let at = columns.iter().position(|column| column == name).unwrap_or_else(|| {
        columns.push(name.into());
        columns.len() - 1
    });
    if cells.len() <= at {
        cells.resize(at + 1, Cell::Null);
    }
    if cells[at] == Cell::Null {
        cells[at] = Cell::Text(text.trim().into());
    }
}

/// The start of a line, for messages.
fn shown(line: &str) -> String {
    Cell::Text(line.into()).show()
}
