//! Patterns over parameter paths: `head.**`, `layers.*.attn.q.weight`.

use std::fmt;

/// A pattern over dotted paths. `*` stands for any run of characters inside one segment, `**` as a whole
/// segment for any number of segments (none too), everything else for itself.
///
/// ```
/// use topwork_weights::Pattern;
/// assert!(Pattern::new("head.**").matches("head.out.weight"));
/// assert!(Pattern::new("layers.*.attn.**").matches("layers.11.attn.q.bias"));
/// assert!(!Pattern::new("layers.*.weight").matches("layers.1.norm.weight"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// A pattern as written by a user or a family. Every string is a pattern.
    pub fn new(text: impl Into<String>) -> Pattern {
        Pattern(text.into())
    }

    /// Whether the pattern covers `path`.
    pub fn matches(&self, path: &str) -> bool {
        matches(&self.0, path)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether `pattern` covers `path`, for patterns that are constants.
pub(crate) fn matches(pattern: &str, path: &str) -> bool {
    let pattern: Vec<&str> = pattern.split('.').collect();
    let path: Vec<&str> = path.split('.').collect();
    // reachable[k]: the pattern so far covers the first k segments. Linear in pattern × path, so a hostile
    // pattern such as `**.**.**.…` costs nothing.
    let mut reachable = vec![false; path.len() + 1];
    reachable[0] = true;
    for part in pattern {
        let mut next = vec![false; path.len() + 1];
        if part == "**" {
            let mut any = false;
            for k in 0..=path.len() {
                any |= reachable[k];
                next[k] = any;
            }
        } else {
            for k in 0..path.len() {
                next[k + 1] = reachable[k] && segment_matches(part, path[k]);
            }
        }
        reachable = next;
    }
    reachable[path.len()]
}

/// One segment: `*` stands for any run of characters.
fn segment_matches(pattern: &str, segment: &str) -> bool {
    let pieces: Vec<&str> = pattern.split('*').collect();
    let [first, middle @ .., last] = pieces.as_slice() else { return pattern == segment };
    if segment.len() < first.len() + last.len() {
        return false;
    }
    let Some(rest) = segment.strip_prefix(first).and_then(|rest| rest.strip_suffix(last)) else {
        return false;
    };
    let mut rest = rest;
    for piece in middle {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, path: &str, expected: bool) {
        assert_eq!(Pattern::new(pattern).matches(path), expected, "{pattern} on {path}");
    }

    #[test]
    fn literals_cover_only_themselves() {
        check("embed.word.weight", "embed.word.weight", true);
        check("embed.word.weight", "embed.word.bias", false);
        check("embed.word", "embed.word.weight", false);
        check("", "", true);
        check("", "a", false);
    }

    #[test]
    fn one_star_stays_in_its_segment() {
        check("layers.*.attn", "layers.11.attn", true);
        check("layers.*", "layers.1.attn", false);
        check("layers.1*.attn", "layers.11.attn", true);
        check("layers.1*.attn", "layers.2.attn", false);
        check("a*b*c", "aXbYbZc", true);
        check("ab*ba", "aba", false);
        check("*", "", true);
    }

    #[test]
    fn two_stars_cross_segments() {
        check("head.**", "head.out.weight", true);
        check("head.**", "head", true);
        check("head.**", "header.out", false);
        check("**", "anything.at.all", true);
        check("**.bias", "layers.0.attn.q.bias", true);
        check("**.bias", "layers.0.attn.q.weight", false);
        check("layers.**.bias", "layers.bias", true);
        check("**.norm.**", "layers.3.norm.weight", true);
    }

    #[test]
    fn a_hostile_pattern_ends_quickly() {
        let pattern = ["**"; 300].join(".") + ".z";
        check(&pattern, &["a"; 300].join("."), false);
    }
}
