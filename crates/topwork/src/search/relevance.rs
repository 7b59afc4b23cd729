//! Which documents answer which queries, as collections for retrieval say it.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use crate::error::Error;

/// For each query the documents that are relevant to it, and how much.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Relevance {
    by_query: HashMap<String, Vec<(String, f64)>>,
}

impl Relevance {
    /// Reads lines of query, document and a number, between tabs or spaces, with or without a header (as BEIR has them), or of four
    /// fields, the second of which says nothing (as TREC has them). What is 0 or below is not relevant.
    ///
    /// # Errors
    /// A file that cannot be read, a line of another form, a pair that stands twice, nothing that is relevant.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(Error::file(path))?;
        let wrong = |line: usize, reason: String| {
            Error::Task(format!("{} line {}: {reason}", path.display(), line + 1))
        };
        let mut found = Relevance::default();
        let mut seen = HashSet::new();
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let fields: Vec<&str> = match line.contains('\t') {
                true => line.split('\t').map(str::trim).collect(),
                false => line.split_whitespace().collect(),
            };
            let (query, document, gain) = match fields.as_slice() {
                [query, document, gain] | [query, _, document, gain] => (*query, *document, *gain),
                _ => {
                    return Err(wrong(
                        at,
                        format!("expected query, document and a number, got {} fields", fields.len()),
                    ));
                }
            };
            let gain = match gain.parse::<f64>() {
                Ok(gain) if gain.is_finite() => gain,
                // A header.
                _ if at == 0 => continue,
                _ => return Err(wrong(at, format!("how relevant it is should be a number, got {gain:?}"))),
            };
            if !seen.insert((query.to_string(), document.to_string())) {
                return Err(wrong(at, format!("query {query:?} and document {document:?} stand here again")));
            }
            found.add(query, document, gain);
        }
        match found.by_query.is_empty() {
            true => Err(Error::Task(format!("{}: no document is relevant to any query", path.display()))),
            false => Ok(found),
        }
    }

    /// Adds what is relevant to a query; a gain of 0 or below is nothing.
    pub fn add(&mut self, query: &str, document: &str, gain: f64) {
        if gain > 0.0 {
            self.by_query.entry(query.to_string()).or_default().push((document.to_string(), gain));
        }
    }

    /// What is relevant to a query.
    pub fn of(&self, query: &str) -> &[(String, f64)] {
        self.by_query.get(query).map_or(&[], Vec::as_slice)
    }

    /// Queries that something is relevant to.
    pub fn queries(&self) -> usize {
        self.by_query.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Relevance, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("qrels.tsv");
        std::fs::write(&path, text).unwrap();
        Relevance::read(&path)
    }

    #[test]
    fn both_forms_are_read() {
        let beir = read("query-id\tcorpus-id\tscore\nq1\td 1\t1\nq1\td2\t0\nq2\td2\t2\n").unwrap();
        assert_eq!(beir.of("q1"), [("d 1".to_string(), 1.0)]);
        assert_eq!((beir.queries(), beir.of("q3").len()), (2, 0));
        let trec = read("q1 0 d1 1\nq2 0 d2 3\n\n").unwrap();
        assert_eq!(trec.of("q2"), [("d2".to_string(), 3.0)]);
    }

    #[test]
    fn what_is_wrong_is_named_by_line() {
        let refuse = |text: &str, part: &str| {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        };
        refuse("q1\td1\t1\nq2\td2\n", "line 2: expected query");
        refuse("q1\td1\t1\nq2\td2\tmuch\n", "line 2: how relevant");
        refuse("q1\td1\t1\nq1\td1\t1\n", "line 2: query \"q1\"");
        refuse("q1\td1\t0\n", "no document is relevant");
    }
}
