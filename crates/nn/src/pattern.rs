//! Patterns over parameter paths: what `--freeze` and recipes select parameters with.

use crate::error::Error;
use crate::param::{ParamId, ParamStore};

/// A pattern over dotted paths. `*` stands for one segment, `**` for any number of them, `{2..5}` for a number of
/// a half-open range (`{4..}`, `{..4}` are open), anything else for itself. A pattern also selects everything
/// below what it names: `layers.{0..4}` is `layers.{0..4}.**`.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    text: String,
    segments: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq)]
enum Segment {
    Literal(String),
    One,
    Any,
    Range(usize, usize),
}

impl Pattern {
    /// Reads a pattern. Every text is one; a malformed range is taken literally and then matches nothing, which
    /// [`Pattern::select`] reports.
    pub fn new(text: &str) -> Self {
        let segments = split(text)
            .into_iter()
            .map(|segment| match segment {
                "*" => Segment::One,
                "**" => Segment::Any,
                other => range(other).unwrap_or_else(|| Segment::Literal(other.to_string())),
            })
            .collect();
        Pattern { text: text.to_string(), segments }
    }

    /// True if the pattern selects `path`.
    pub fn matches(&self, path: &str) -> bool {
        let parts: Vec<&str> = path.split('.').collect();
        walk(&self.segments, &parts)
    }

    /// The parameters selected.
    ///
    /// # Errors
    /// [`Error::PatternMatchesNothing`]: a pattern that selects nothing is a misspelling.
    pub fn select(&self, store: &ParamStore) -> Result<Vec<ParamId>, Error> {
        let found: Vec<ParamId> =
            store.iter().filter(|(_, p)| self.matches(&p.path)).map(|(id, _)| id).collect();
        if found.is_empty() {
            let example = store.iter().next().map(|(_, p)| p.path.clone()).unwrap_or_default();
            return Err(Error::PatternMatchesNothing { pattern: self.text.clone(), example });
        }
        Ok(found)
    }
}

/// Splits at dots, but not at those of a range in braces.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0usize);
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            '.' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn range(segment: &str) -> Option<Segment> {
    let (from, to) = segment.strip_prefix('{')?.strip_suffix('}')?.split_once("..")?;
    let from = if from.is_empty() { 0 } else { from.parse().ok()? };
    let to = if to.is_empty() { usize::MAX } else { to.parse().ok()? };
    Some(Segment::Range(from, to))
}

fn walk(pattern: &[Segment], parts: &[&str]) -> bool {
    match (pattern.split_first(), parts.split_first()) {
        // The pattern names a prefix of the path: everything below is meant.
        (None, _) => true,
        (Some((Segment::Any, rest)), _) => {
            (rest.is_empty() && !parts.is_empty()) || (0..parts.len()).any(|n| walk(rest, &parts[n..]))
        }
        (Some(_), None) => false,
        (Some((segment, rest)), Some((part, below))) => {
            let fits = match segment {
                Segment::Literal(text) => text == part,
                Segment::One => true,
                Segment::Range(from, to) => part.parse::<usize>().is_ok_and(|n| (*from..*to).contains(&n)),
                Segment::Any => unreachable!("handled above"),
            };
            fits && walk(rest, below)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, path: &str, expected: bool) {
        assert_eq!(Pattern::new(pattern).matches(path), expected, "{pattern} on {path}");
    }

    #[test]
    fn literals_select_themselves_and_what_is_below() {
        check("embed", "embed.word.weight", true);
        check("embed.word", "embed.word.weight", true);
        check("embed.word.weight", "embed.word.weight", true);
        check("embed.word.weight", "embed.word", false);
        check("embed.wor", "embed.word.weight", false);
    }

    #[test]
    fn stars_stand_for_segments() {
        check("layers.*.attn", "layers.3.attn.q.weight", true);
        check("layers.*.ffn", "layers.3.attn.q.weight", false);
        check("**.bias", "layers.3.attn.q.bias", true);
        check("**.bias", "layers.3.attn.q.weight", false);
        check("**", "head.out.bias", true);
    }

    #[test]
    fn ranges_are_half_open() {
        check("layers.{0..4}", "layers.3.attn.q.weight", true);
        check("layers.{0..4}", "layers.4.attn.q.weight", false);
        check("layers.{4..}", "layers.11.attn.q.weight", true);
        check("layers.{..2}.ffn", "layers.1.ffn.up.weight", true);
        check("layers.{a..b}", "layers.1.ffn.up.weight", false);
    }
}
