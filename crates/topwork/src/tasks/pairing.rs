//! Which texts are held against each other, and pairs drawn from texts with classes.

use std::collections::BTreeMap;

use topwork_kernels::rng::{Stream, derive};
use topwork_models::{Compared, Targets};

/// Examples of texts that belong together, by the numbers of the texts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Together {
    /// The texts of each example: two that belong together, and after them any number that do not belong to the first.
    pub texts: Vec<u32>,
    /// Where each example's begin, and where the last one's end: `[examples + 1]`.
    pub offsets: Vec<u32>,
    /// How alike the two texts of each example are, in cosines; empty if that is not known.
    pub scores: Vec<f32>,
    /// The class that the texts of each example share; empty if there are none.
    pub classes: Vec<u32>,
    /// The least and the greatest score as the file has it, where they are no cosines.
    pub scaled: Option<(f32, f32)>,
}

impl Together {
    /// Adds an example.
    pub fn push(&mut self, texts: &[u32]) {
        if self.offsets.is_empty() {
            self.offsets.push(0);
        }
        self.texts.extend(texts);
        self.offsets.push(self.texts.len() as u32);
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The texts of some examples one after the other, and what is known of them.
    pub fn select(&self, examples: &[usize]) -> (Vec<usize>, Targets) {
        let (mut texts, mut offsets) = (Vec::new(), vec![0]);
        for &at in examples {
            texts.extend(&self.texts[self.offsets[at] as usize..self.offsets[at + 1] as usize]);
            offsets.push(texts.len() as u32);
        }
        let classes = if self.classes.is_empty() { &[][..] } else { examples };
        let scores = if self.scores.is_empty() { &[][..] } else { examples };
        let compared = Compared {
            examples: offsets.into(),
            classes: classes.iter().map(|&at| self.classes[at]).collect(),
            scores: scores.iter().map(|&at| self.scores[at]).collect(),
            same: texts.as_slice().into(),
        };
        (texts.into_iter().map(|text| text as usize).collect(), Targets::Compared(compared))
    }

    /// Turns scores into cosines: from the least and the greatest to 0 and 1, unless they are all between -1 and 1 already.
    pub fn scale(&mut self) {
        let (least, most) =
            self.scores.iter().fold((f32::MAX, f32::MIN), |(least, most), &s| (least.min(s), most.max(s)));
        if least >= -1.0 && most <= 1.0 || most <= least {
            return;
        }
        // From zero where the scale begins there, as most do, even if no pair is that far apart.
        let from = least.min(0.0);
        self.scores.iter_mut().for_each(|score| *score = (*score - from) / (most - from));
        self.scaled = Some((from, most));
    }

    /// Examples of which one of the first two texts stands in another example too.
    pub fn repeated(&self) -> usize {
        let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
        let firsts = |pair: &[u32]| {
            let first = pair[0] as usize;
            [self.texts[first], self.texts[first + 1]]
        };
        self.offsets.windows(2).flat_map(firsts).for_each(|text| *counts.entry(text).or_default() += 1);
        self.offsets.windows(2).filter(|pair| firsts(pair).iter().any(|text| counts[text] > 1)).count()
    }
}

/// For each text so many others of its class, drawn at random; texts alone in their class are left out.
pub fn together(classes: &[(u32, u32)], count: usize, seed: u64) -> Together {
    let groups = groups(classes);
    let mut found = Together::default();
    for (at, &(text, class)) in classes.iter().enumerate() {
        let others: Vec<u32> = groups[&class].iter().copied().filter(|&other| other != text).collect();
        for other in drawn(&others, count, derive(seed, &format!("together {at}"))) {
            found.push(&[text, other]);
            found.classes.push(class);
        }
    }
    found
}

/// For each text so many of its class, with 1, and as many of other classes, with 0.
///
/// Paper: Tunstall et al. 2022, "Efficient Few-Shot Learning Without Prompts" (SetFit), section 3, <https://arxiv.org/abs/2209.11055>
pub fn together_and_apart(classes: &[(u32, u32)], count: usize, seed: u64) -> Together {
    let groups = groups(classes);
    let mut found = Together::default();
    for (at, &(text, class)) in classes.iter().enumerate() {
        let own: Vec<u32> = groups[&class].iter().copied().filter(|&other| other != text).collect();
        let others = groups.iter().filter(|(other, _)| **other != class).flat_map(|(_, texts)| texts);
        let others: Vec<u32> = others.copied().filter(|&other| other != text).collect();
        for (candidates, score, name) in [(own, 1.0, "together"), (others, 0.0, "apart")] {
            for other in drawn(&candidates, count, derive(seed, &format!("{name} {at}"))) {
                found.push(&[text, other]);
                found.scores.push(score);
            }
        }
    }
    found
}

fn groups(classes: &[(u32, u32)]) -> BTreeMap<u32, Vec<u32>> {
    let mut groups: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for &(text, class) in classes {
        groups.entry(class).or_default().push(text);
    }
    groups
}

/// Some of the texts, none twice; all where there are no more.
fn drawn(texts: &[u32], count: usize, seed: u64) -> Vec<u32> {
    let mut left = texts.to_vec();
    let mut stream = Stream(seed);
    let count = count.min(left.len());
    for at in 0..count {
        let other = at + stream.below((left.len() - at) as u64) as usize;
        left.swap(at, other);
    }
    left.truncate(count);
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASSES: [(u32, u32); 7] = [(0, 0), (1, 0), (2, 0), (3, 1), (4, 1), (5, 2), (6, 0)];

    #[test]
    fn pairs_are_drawn_within_and_across_classes() {
        let class = |text: u32| CLASSES.iter().find(|(known, _)| *known == text).unwrap().1;
        let pairs = together(&CLASSES, 2, 7);
        assert_eq!(pairs.len(), 4 * 2 + 2, "text 5 is alone in its class, 3 and 4 have one partner each");
        assert!(pairs.texts.chunks(2).all(|pair| pair[0] != pair[1] && class(pair[0]) == class(pair[1])));
        assert!(pairs.texts.chunks(2).zip(&pairs.classes).all(|(pair, known)| class(pair[0]) == *known));
        let both = together_and_apart(&CLASSES, 2, 7);
        assert_eq!(both.len(), 4 * 2 + 2 + 7 * 2);
        for (pair, score) in both.texts.chunks(2).zip(&both.scores) {
            assert_eq!(class(pair[0]) == class(pair[1]), *score == 1.0, "{pair:?}");
        }
        assert_eq!(both, together_and_apart(&CLASSES, 2, 7));
        assert_ne!(both, together_and_apart(&CLASSES, 2, 8));
    }

    #[test]
    fn scores_become_cosines_where_they_are_none() {
        let scaled = |scores: &[f32]| {
            let mut together = Together { scores: scores.to_vec(), ..Together::default() };
            together.scale();
            (together.scores, together.scaled)
        };
        assert_eq!(scaled(&[1.0, 5.0, 2.5]), (vec![0.2, 1.0, 0.5], Some((0.0, 5.0))));
        assert_eq!(scaled(&[-3.0, 3.0]), (vec![0.0, 1.0], Some((-3.0, 3.0))));
        assert_eq!(scaled(&[-0.5, 1.0]), (vec![-0.5, 1.0], None));
    }

    #[test]
    fn examples_that_share_a_text_are_counted() {
        let mut together = Together::default();
        for unit in [&[0, 1][..], &[2, 3, 1], &[4, 1]] {
            together.push(unit);
        }
        assert_eq!(together.repeated(), 2);
        let (texts, targets) = together.select(&[2, 1]);
        assert_eq!(texts, [4, 1, 2, 3, 1]);
        let Targets::Compared(compared) = targets else { panic!() };
        assert_eq!((&*compared.examples, &*compared.same), (&[0, 2, 5][..], &[4, 1, 2, 3, 1][..]));
    }
}
