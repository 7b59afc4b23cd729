//! "Did you mean": the known name closest to what was typed.

/// The candidate with the smallest edit distance, if it is near enough to be a slip of the hand (at most
/// half of the typed characters differ), else the first one that contains or is contained in the typed name.
pub(crate) fn nearest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    let candidates: Vec<&str> = candidates.into_iter().collect();
    let contained =
        candidates.iter().copied().find(|c| typed.len() > 1 && (c.contains(&typed) || typed.contains(c)));
    let (distance, close) =
        candidates.iter().map(|&c| (edit_distance(&typed, &c.to_lowercase()), c)).min_by_key(|&(d, _)| d)?;
    if distance * 2 <= typed.chars().count().max(2) { Some(close) } else { contained.or(Some(close)) }
}

/// Levenshtein distance in characters, with a swap of neighbours counted once.
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let width = b.len() + 1;
    let mut table = vec![0; (a.len() + 1) * width];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            table[i * width + j] = if i == 0 || j == 0 {
                i + j
            } else {
                let change = usize::from(a[i - 1] != b[j - 1]);
                let best = (table[(i - 1) * width + j] + 1)
                    .min(table[i * width + j - 1] + 1)
                    .min(table[(i - 1) * width + j - 1] + change);
                let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                if swapped { best.min(table[(i - 2) * width + j - 2] + 1) } else { best }
            };
        }
    }
    table[a.len() * width + b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_slips_and_parts() {
        let names = ["accuracy", "macro-f1", "micro-f1", "matthews", "roc-auc"];
        for (typed, expected) in [
            ("acuracy", "accuracy"),
            ("marco-f1", "macro-f1"),
            ("Matthew", "matthews"),
            ("auc", "roc-auc"),
            ("rocauc", "roc-auc"),
        ] {
            assert_eq!(nearest(typed, names), Some(expected), "{typed}");
        }
        assert_eq!(nearest("x", []), None);
    }

    #[test]
    fn distances() {
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("ab", "ba"), 1);
        assert_eq!(edit_distance("", "abc"), 3);
    }
}
