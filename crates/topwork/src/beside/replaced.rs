//! Texts with some of their words replaced, those more often that say little.
//!
//! Paper: Xie et al. 2020, "Unsupervised Data Augmentation for Consistency Training", section 3.2 and appendix B (word replacing
//! with TF-IDF), <https://arxiv.org/abs/1904.12848>

use std::collections::HashMap;

use topwork_data::{Dataset, Example};
use topwork_kernels::rng::{Stream, derive};

/// Words of a set of texts, and how much they say.
struct Words<'a> {
    /// The logarithm of how many times as many texts there are as texts with the word.
    rarity: HashMap<&'a str, f64>,
    /// Words that may stand in for others, in order, and the sums of how often each is drawn, up to its own.
    others: Vec<&'a str>,
    sums: Vec<f64>,
}

impl<'a> Words<'a> {
    fn of(texts: &[&'a str]) -> Self {
        let mut with: HashMap<&str, (usize, usize)> = HashMap::new();
        for (number, text) in texts.iter().enumerate() {
            for word in text.split_whitespace() {
                let (texts, last) = with.entry(word).or_insert((0, usize::MAX));
                *texts += usize::from(*last != number);
                *last = number;
            }
        }
        let rarity: HashMap<&str, f64> = with
            .iter()
            .map(|(word, (count, _))| (*word, (texts.len() as f64 / *count as f64).ln()))
            .collect();
        let mut worth: HashMap<&str, f64> = HashMap::new();
        for text in texts {
            let words: Vec<&str> = text.split_whitespace().collect();
            for word in &words {
                *worth.entry(word).or_default() += rarity[word] / words.len() as f64;
            }
        }
        let mut others: Vec<&str> = worth.keys().copied().collect();
        others.sort_unstable();
        let most = worth.values().copied().fold(0.0, f64::max);
        let mut sum = 0.0;
        let sums = others.iter().map(|word| {
            sum += most - worth[word];
            sum
        });
        let sums = sums.collect();
        Words { rarity, others, sums }
    }

    /// A word, those that say little in these texts more often; `None` where all say the same.
    fn draw(&self, stream: &mut Stream) -> Option<&'a str> {
        let all = self.sums.last().copied().filter(|all| *all > 0.0)?;
        let at = stream.next_f64() * all;
        let place = self.sums.partition_point(|sum| *sum <= at);
        self.others.get(place.min(self.others.len() - 1)).copied()
    }

    /// How likely each word of a text is replaced, on average a share of them.
    fn chances(&self, words: &[&str], share: f64) -> Vec<f64> {
        let count = |word: &str| words.iter().filter(|other| **other == word).count() as f64;
        let worth: Vec<f64> =
            words.iter().map(|word| count(word) / words.len() as f64 * self.rarity[word]).collect();
        let most = worth.iter().copied().fold(0.0, f64::max);
        let sum: f64 = worth.iter().map(|worth| most - worth).sum();
        let chance = |worth: &f64| {
            if sum > 0.0 { (share * (most - worth) * words.len() as f64 / sum).min(1.0) } else { share }
        };
        worth.iter().map(chance).collect()
    }
}

/// The texts with about that share of their words replaced by other words of the texts, and how many were. What is between words
/// stays as it is.
fn replaced(texts: &[&str], share: f64, seed: u64) -> (Vec<String>, usize) {
    let words = Words::of(texts);
    let (mut stream, mut count) = (Stream(seed), 0);
    let change = |text: &&str| {
        let own: Vec<&str> = text.split_whitespace().collect();
        let mut made = String::with_capacity(text.len());
        let mut rest = *text;
        for (word, chance) in own.iter().zip(words.chances(&own, share)) {
            let start = rest.find(word).unwrap_or(0);
            made.push_str(&rest[..start]);
            rest = &rest[start + word.len()..];
            let drawn = (stream.next_f64() < chance).then(|| words.draw(&mut stream)).flatten();
            count += usize::from(drawn.is_some());
            made.push_str(drawn.unwrap_or(word));
        }
        made + rest
    };
    (texts.iter().map(change).collect(), count)
}

/// Puts every text behind the last one once more, with about that share of its words replaced; returns how many words there are,
/// and how many were replaced.
pub(crate) fn with_words_replaced(dataset: &mut Dataset, share: f64, seed: u64) -> (usize, usize) {
    let seed = derive(seed, "words replaced");
    let examples = &dataset.examples;
    let texts: Vec<&str> = examples
        .iter()
        .flat_map(|example| [Some(example.text.as_str()), example.pair.as_deref()].into_iter().flatten())
        .collect();
    let words = texts.iter().map(|text| text.split_whitespace().count()).sum();
    let (made, count) = replaced(&texts, share, seed);
    let mut made = made.into_iter();
    let changed: Vec<Example> = examples
        .iter()
        .map(|example| Example {
            text: made.next().unwrap_or_default(),
            pair: example.pair.as_ref().and_then(|_| made.next()),
            ..example.clone()
        })
        .collect();
    dataset.examples.extend(changed);
    (words, count)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXTS: [&str; 4] =
        ["the  book was dull\tand the plot", " the knife was sharp ", "the book was the best", "was"];

    #[test]
    fn rare_words_stay_more_often_and_spaces_do() {
        let words = Words::of(&TEXTS);
        let own: Vec<&str> = TEXTS[1].split_whitespace().collect();
        let chances = words.chances(&own, 0.4);
        // "the" and "was" are in nearly all texts, "knife" and "sharp" in one.
        assert!(chances[0] > chances[1] && chances[2] >= chances[0] && chances[1] == chances[3]);
        assert!((chances.iter().sum::<f64>() / 4.0 - 0.4).abs() < 1e-9, "{chances:?}");
        assert_eq!(chances[1], 0.0);
        let (made, count) = replaced(&TEXTS, 0.0, 1);
        assert_eq!((made, count), (TEXTS.map(String::from).to_vec(), 0));
        let (made, count) = replaced(&TEXTS, 1.0, 1);
        assert!(count > 5 && made[0] != TEXTS[0] && made[0].contains('\t'), "{made:?}");
        assert!(made[1].starts_with(' ') && made[1].ends_with(' ') && made[1].contains("knife"));
        assert_eq!(replaced(&TEXTS, 1.0, 1), replaced(&TEXTS, 1.0, 1));
        assert_ne!(replaced(&TEXTS, 0.5, 1), replaced(&TEXTS, 0.5, 2));
    }

    #[test]
    fn words_that_say_little_stand_in_more_often() {
        let words = Words::of(&TEXTS);
        let mut stream = Stream(3);
        let drawn: Vec<&str> = (0..2000).filter_map(|_| words.draw(&mut stream)).collect();
        let count = |word: &str| drawn.iter().filter(|other| **other == word).count();
        assert_eq!(drawn.len(), 2000);
        assert!(count("was") > count("knife") && count("and") > count("sharp"), "{}", count("was"));
        assert_eq!(Words::of(&[]).draw(&mut stream), None);
        // One text of words of one kind: all say nothing.
        assert_eq!(Words::of(&["a a"]).draw(&mut stream), None);
    }
}
