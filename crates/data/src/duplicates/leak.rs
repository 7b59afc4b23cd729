//! Split files given by the user: what stands in more than one of them.

use super::{GroupCache, NearOptions, all_joined, of_texts};
use crate::Dataset;

/// One text of a later set that stands in an earlier one too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// Where it stands: file and row.
    pub place: String,
    /// Its first 60 characters.
    pub text: String,
    /// Where the earlier one stands.
    pub earlier_place: String,
    /// The first 60 characters of the earlier one.
    pub earlier_text: String,
}

/// Texts of one set that stand in another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leak {
    /// The set they are seen again in, such as `test`.
    pub set: String,
    /// The earlier set, such as `train`.
    pub earlier: String,
    /// Texts that equal one of the earlier set but for case, white space and digits.
    pub exact: usize,
    /// Further texts nearly the same as one of the earlier set.
    pub near: usize,
    /// The size of the set.
    pub texts: usize,
    /// Some of them (at most 3).
    pub examples: Vec<Match>,
}

/// What is shared between the sets, for each two of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeakReport {
    /// Every two sets that share something.
    pub leaks: Vec<Leak>,
}

impl LeakReport {
    /// True when the sets share no text.
    pub fn is_clean(&self) -> bool {
        self.leaks.is_empty()
    }

    /// The report as lines for the user; none when clean.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for leak in &self.leaks {
            lines.push(format!(
                "{} of {} {} texts stand in {} too ({} the same but for case, space and digits, {} nearly): scores on {} \
                 are too good",
                leak.exact + leak.near, leak.texts, leak.set, leak.earlier, leak.exact, leak.near, leak.set
            ));
            for found in &leak.examples {
                lines.push(format!(
                    "  {}: {:?} is {}: {:?}",
                    found.place, found.text, found.earlier_place, found.earlier_text
                ));
            }
        }
        lines
    }
}

/// Compares named sets, earlier ones first (train, dev, test).
pub fn leaks(sets: &[(&str, &Dataset)], near: Option<&NearOptions>) -> LeakReport {
    between(sets, near, &GroupCache::default())
}

/// [`leaks`] with what is known of the texts.
pub(super) fn between(
    sets: &[(&str, &Dataset)],
    near: Option<&NearOptions>,
    cache: &GroupCache,
) -> LeakReport {
    let texts: Vec<String> = sets.iter().flat_map(|(_, set)| all_joined(set)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let exact = cache.of(&texts, None, || of_texts(&texts, None));
    let both = cache.of(&texts, near, || of_texts(&texts, near));
    let starts: Vec<usize> = sets
        .iter()
        .scan(0, |next, (_, set)| {
            let start = *next;
            *next += set.len();
            Some(start)
        })
        .collect();
    let start_of = |text: &str| text.chars().take(60).collect::<String>();
    let mut report = LeakReport::default();
    for later in 1..sets.len() {
        for earlier in 0..later {
            let (earlier_set, later_set) = (sets[earlier].1, sets[later].1);
            // The first member of each group within the earlier set.
            let first = |group: &[usize]| {
                let mut first = vec![usize::MAX; texts.len()];
                for at in (starts[earlier]..starts[earlier] + earlier_set.len()).rev() {
                    first[group[at]] = at;
                }
                first
            };
            let (first_exact, first_both) = (first(&exact.group), first(&both.group));
            let mut leak = Leak {
                set: sets[later].0.into(),
                earlier: sets[earlier].0.into(),
                exact: 0,
                near: 0,
                texts: later_set.len(),
                examples: Vec::new(),
            };
            for index in 0..later_set.len() {
                let at = starts[later] + index;
                let same = first_exact[exact.group[at]];
                let found = if same != usize::MAX { same } else { first_both[both.group[at]] };
                if found == usize::MAX {
                    continue;
                }
                leak.exact += usize::from(same != usize::MAX);
                leak.near += usize::from(same == usize::MAX);
                if leak.examples.len() < 3 {
                    let known = found - starts[earlier];
                    leak.examples.push(Match {
                        place: later_set.place(index),
                        text: start_of(&later_set.examples[index].text),
                        earlier_place: earlier_set.place(known),
                        earlier_text: start_of(&earlier_set.examples[known].text),
                    });
                }
            }
            if leak.exact + leak.near > 0 {
                report.leaks.push(leak);
            }
        }
    }
    report
}
