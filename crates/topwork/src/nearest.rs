//! "Did you mean": the known name nearest to a typed one.

/// The candidate with the smallest edit distance; `None` without candidates.
pub fn nearest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates.into_iter().min_by_key(|name| strsim::damerau_levenshtein(typed, name))
}
