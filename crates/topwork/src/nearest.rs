//! "Did you mean": the known name nearest to a typed one.

use crate::error::Error;

/// The candidate with the smallest edit distance; `None` without candidates.
pub fn nearest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates.into_iter().min_by_key(|name| strsim::damerau_levenshtein(typed, name))
}

/// Ways to do something by their names, in the order given, each once.
///
/// # Errors
/// [`Error::Task`] with the nearest name; no names at all.
pub(crate) fn methods<T>(
    names: &[String],
    all: &'static [T],
    name_of: fn(&T) -> &'static str,
) -> Result<Vec<&'static T>, Error> {
    let mut found: Vec<&'static T> = Vec::new();
    for name in names {
        let way = all.iter().find(|way| name_of(way) == name).ok_or_else(|| {
            let known: Vec<&str> = all.iter().map(name_of).collect();
            no_method(name, &known)
        })?;
        if !found.iter().any(|other| name_of(other) == name_of(way)) {
            found.push(way);
        }
    }
    if found.is_empty() {
        return Err(Error::Task("no method to compare".to_string()));
    }
    Ok(found)
}

/// There is no method of that name.
pub(crate) fn no_method(name: &str, known: &[&str]) -> Error {
    let meant = nearest(name, known.iter().copied()).unwrap_or_default();
    Error::Task(format!("there is no method {name:?} ({}); did you mean {meant:?}?", known.join(", ")))
}
