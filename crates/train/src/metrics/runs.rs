//! Words of a text, runs of them, and how many runs two texts share: what BLEU, chrF, ROUGE and repetition count.

use std::collections::HashMap;
use std::hash::Hash;

/// White space as Python has it, which the references of these measures are written in: four separators of old more than
/// Unicode's `White_Space`.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

/// The words of a text, which white space parts.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space).filter(|word| !word.is_empty())
}

/// How often each run of `n` items stands in `items`.
pub(super) fn runs<T: Hash + Eq>(items: &[T], n: usize) -> HashMap<&[T], u64> {
    let mut runs = HashMap::new();
    for run in items.windows(n) {
        *runs.entry(run).or_insert(0) += 1;
    }
    runs
}

/// How many runs of `items` there are.
pub(super) fn total<T>(items: &[T], n: usize) -> u64 {
    (items.len() + 1).saturating_sub(n) as u64
}

/// How many runs both have, each as often as the one that has it less often.
pub(super) fn shared<T: Hash + Eq>(first: &HashMap<&[T], u64>, second: &HashMap<&[T], u64>) -> u64 {
    first.iter().filter_map(|(run, &count)| second.get(run).map(|&other| count.min(other))).sum()
}

/// The fewest changes, omissions and additions that make `second` of `first`.
///
/// Paper: Levenshtein 1966; the table of Wagner & Fischer 1974, <https://doi.org/10.1145/321796.321811>.
pub(super) fn edits<T: PartialEq>(first: &[T], second: &[T]) -> u64 {
    let mut row: Vec<u64> = (0..=second.len() as u64).collect();
    for (i, a) in first.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i as u64 + 1;
        for (j, b) in second.iter().enumerate() {
            let changed = diagonal + u64::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[second.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_counted_and_shared() {
        let (first, second) = (["a", "b", "a", "b", "a"], ["b", "a", "c"]);
        let (pairs, others) = (runs(&first, 2), runs(&second, 2));
        assert_eq!(pairs[&["a", "b"][..]], 2);
        assert_eq!((shared(&pairs, &others), total(&first, 2)), (1, 4));
        assert_eq!((total(&second, 3), total(&second, 4), total(&second, 9)), (1, 0, 0));
        assert!(runs(&second, 4).is_empty());
    }

    #[test]
    fn edits_and_words() {
        for (a, b, expected) in [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "", 3), ("ab", "ba", 2)] {
            assert_eq!(edits(a.as_bytes(), b.as_bytes()), expected, "{a} {b}");
        }
        assert_eq!(words(" a\u{a0}b\x1cc\n").collect::<Vec<_>>(), ["a", "b", "c"]);
    }
}
