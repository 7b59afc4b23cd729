//! Which examples make a batch, in every epoch: a pure function of seed and epoch, so that a run resumes anywhere.

use std::collections::BTreeMap;

use topwork_kernels::rng::{Stream, derive};

use crate::{Error, Result};

/// How large a batch may grow; it ends when the next text would pass either limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct BatchSize {
    /// Most examples in a batch.
    pub examples: Option<usize>,
    /// Most tokens in a batch. A text that is longer on its own makes a batch on its own.
    pub tokens: Option<usize>,
}

/// Cuts a set of texts into batches.
#[derive(Clone, Debug)]
pub struct Sampler {
    lengths: Vec<u32>,
    size: BatchSize,
    seed: u64,
    /// The texts of each class; empty if none is drawn more often than once.
    classes: Vec<Vec<usize>>,
    /// How often each text is drawn in an epoch, on average; empty if each is once.
    weights: Vec<f64>,
}

impl Sampler {
    /// For texts of these lengths (in tokens, after any cut).
    ///
    /// # Errors
    /// [`Error::Setting`] if neither limit is given, one is 0, or there is no text.
    pub fn new(lengths: impl IntoIterator<Item = usize>, size: BatchSize, seed: u64) -> Result<Self> {
        let wrong = |expected: &str, got: String| Error::Setting {
            what: "batch size",
            expected: expected.into(),
            got,
        };
        if size.examples.is_none() && size.tokens.is_none() {
            return Err(wrong("a number of examples, of tokens, or both", "neither".into()));
        }
        if size.examples == Some(0) || size.tokens == Some(0) {
            return Err(wrong("at least 1", "0".into()));
        }
        let lengths: Vec<u32> =
            lengths.into_iter().map(|length| u32::try_from(length).unwrap_or(u32::MAX)).collect();
        if lengths.is_empty() {
            return Err(wrong("at least one text to batch", "none".into()));
        }
        Ok(Self { lengths, size, seed, classes: Vec::new(), weights: Vec::new() })
    }

    /// Draws the texts of every class as often as those of the most frequent one: an epoch holds each text as often as that
    /// goes evenly, and some of its class, others in each epoch, once more.
    ///
    /// Paper: Buda et al. 2018, "A systematic study of the class imbalance problem", section 2.1 (random oversampling),
    /// <https://arxiv.org/abs/1710.05381>
    ///
    /// # Errors
    /// [`Error::Setting`] if there is not one class for each text.
    pub fn oversampled(mut self, classes: &[u32]) -> Result<Self> {
        if classes.len() != self.len() {
            return Err(Error::Setting {
                what: "classes",
                expected: format!("one for each of {} texts", self.len()),
                got: classes.len().to_string(),
            });
        }
        let mut texts: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (text, class) in classes.iter().enumerate() {
            texts.entry(*class).or_default().push(text);
        }
        self.classes = texts.into_values().collect();
        Ok(self)
    }

    /// Draws texts in proportion to weights: an epoch is as long as without them, and holds each text as often as its share says,
    /// rounded up or down by chance, in each epoch anew (systematic resampling).
    ///
    /// # Errors
    /// [`Error::Setting`] if there is not one weight for each text, or one is negative or no number, or all are 0; for a sampler
    /// that draws by class already.
    pub fn weighted(mut self, weights: &[f64]) -> Result<Self> {
        let wrong = |expected: String, got: String| Err(Error::Setting { what: "weights", expected, got });
        if weights.len() != self.len() {
            return wrong(format!("one for each of {} texts", self.len()), weights.len().to_string());
        }
        if !self.classes.is_empty() {
            return wrong("texts that are not drawn by their class too".into(), "classes".into());
        }
        let sum: f64 = weights.iter().sum();
        if let Some(bad) = weights.iter().find(|weight| !(weight.is_finite() && **weight >= 0.0)) {
            return wrong("numbers of at least 0".into(), bad.to_string());
        }
        if !(sum.is_finite() && sum > 0.0) {
            return wrong("a sum above 0".into(), sum.to_string());
        }
        let each = weights.len() as f64 / sum;
        self.weights = weights.iter().map(|weight| weight * each).collect();
        Ok(self)
    }

    /// The texts of an epoch, in order, those of rare classes and of large weight more than once.
    fn texts(&self, epoch: u64) -> Vec<usize> {
        if !self.weights.is_empty() {
            let mut ahead = Stream(derive(self.seed, &format!("batches/weights/epoch {epoch}"))).next_f64();
            let mut texts = Vec::with_capacity(self.len());
            let mut passed = 0.0;
            for (text, weight) in self.weights.iter().enumerate() {
                passed += weight;
                while ahead < passed && texts.len() < self.len() {
                    texts.push(text);
                    ahead += 1.0;
                }
            }
            return texts;
        }
        let most = self.classes.iter().map(Vec::len).max();
        let Some(most) = most else { return (0..self.len()).collect() };
        let mut texts = Vec::with_capacity(most * self.classes.len());
        for (class, own) in self.classes.iter().enumerate() {
            (0..most / own.len()).for_each(|_| texts.extend(own));
            let mut rest = own.clone();
            Stream(derive(self.seed, &format!("batches/class {class}/epoch {epoch}"))).shuffle(&mut rest);
            texts.extend(&rest[..most % own.len()]);
        }
        texts
    }

    /// Number of texts.
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Never true: a sampler has at least one text.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// The batches of an epoch (counted from 0): every example once, unless oversampled, in an order that depends on the seed and the
    /// epoch only. To resume at a position, ask for the same epoch and skip.
    pub fn epoch(&self, epoch: u64) -> Vec<Vec<usize>> {
        let mut order = self.texts(epoch);
        Stream(derive(self.seed, &format!("batches/epoch {epoch}"))).shuffle(&mut order);
        self.cut(&order)
    }

    /// The batches for evaluation: every example once, in the order of the set.
    pub fn in_order(&self) -> Vec<Vec<usize>> {
        let order: Vec<usize> = (0..self.len()).collect();
        self.cut(&order)
    }

    /// Number of batches in an epoch. With a token limit it differs between epochs.
    pub fn steps(&self, epoch: u64) -> usize {
        match self.size {
            BatchSize { examples: Some(examples), tokens: None } => {
                self.texts(epoch).len().div_ceil(examples)
            }
            BatchSize { .. } => self.epoch(epoch).len(),
        }
    }

    fn cut(&self, order: &[usize]) -> Vec<Vec<usize>> {
        let most_examples = self.size.examples.unwrap_or(usize::MAX);
        let most_tokens = self.size.tokens.unwrap_or(usize::MAX);
        let mut batches = Vec::new();
        let mut batch: Vec<usize> = Vec::new();
        let mut tokens = 0;
        for &index in order {
            let length = self.lengths[index] as usize;
            let full = batch.len() >= most_examples || tokens + length > most_tokens;
            if full && !batch.is_empty() {
                batches.push(std::mem::take(&mut batch));
                tokens = 0;
            }
            batch.push(index);
            tokens += length;
        }
        batches.push(batch);
        batches
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rare_classes_are_drawn_as_often_as_frequent_ones() {
        let classes = [0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 2];
        let lengths = vec![3; classes.len()];
        let sampler = Sampler::new(lengths, size(Some(4), None), 9).unwrap().oversampled(&classes).unwrap();
        let mut extra = std::collections::BTreeSet::new();
        for epoch in 0..8 {
            let batches = sampler.epoch(epoch);
            assert_eq!(batches.len(), sampler.steps(epoch));
            let drawn = batches.concat();
            let count = |text: usize| drawn.iter().filter(|&&other| other == text).count();
            for (text, class) in classes.iter().enumerate() {
                let expected = [1..2, 2..4, 7..8][*class as usize].clone();
                assert!(expected.contains(&count(text)), "text {text}: {} times", count(text));
            }
            extra.insert((7..10).find(|&text| count(text) == 3));
            assert_eq!(drawn.len(), 21);
            assert_eq!(sampler.epoch(epoch), batches, "the same epoch is the same");
        }
        assert!(extra.len() > 1 && !extra.contains(&None), "the one drawn once more is not always the same");
        let wrong = Sampler::new([1, 1], size(Some(1), None), 0).unwrap().oversampled(&[0]);
        assert!(wrong.unwrap_err().to_string().contains("one for each of 2 texts"));
    }

    #[test]
    fn texts_of_large_weight_are_drawn_more_often() {
        let weights = [0.0, 1.0, 2.5, 0.5];
        let sampler = || Sampler::new([2; 4], size(Some(2), None), 5).unwrap();
        let weighted = sampler().weighted(&weights).unwrap();
        let mut counts = [0_u32; 4];
        for epoch in 0..2000 {
            let drawn = weighted.epoch(epoch).concat();
            assert_eq!((drawn.len(), weighted.steps(epoch)), (4, 2));
            let of = |text: usize| drawn.iter().filter(|&&other| other == text).count();
            assert!(of(1) == 1 && (2..=3).contains(&of(2)) && of(3) <= 1, "{drawn:?}");
            drawn.iter().for_each(|&text| counts[text] += 1);
        }
        assert_eq!((counts[0], counts[1]), (0, 2000));
        assert!(counts[2].abs_diff(5000) < 150 && counts[3].abs_diff(1000) < 150, "{counts:?}");
        for (wrong, said) in [
            (&[1.0, 1.0][..], "one for each of 4"),
            (&[0.0; 4], "a sum above 0"),
            (&[1.0, -1.0, 1.0, 1.0], "at least 0"),
            (&[1.0, f64::NAN, 1.0, 1.0], "at least 0"),
        ] {
            let error = sampler().weighted(wrong).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        assert!(sampler().oversampled(&[0, 0, 1, 1]).unwrap().weighted(&[1.0; 4]).is_err());
    }

    fn size(examples: Option<usize>, tokens: Option<usize>) -> BatchSize {
        BatchSize { examples, tokens }
    }

    proptest! {
        #[test]
        fn every_example_once_within_the_limits(
            lengths in prop::collection::vec(1usize..40, 1..200),
            examples in prop::option::of(1usize..20),
            tokens in 1usize..100,
            seed: u64,
            epoch in 0u64..5,
        ) {
            let sampler = Sampler::new(lengths.clone(), size(examples, Some(tokens)), seed).unwrap();
            let batches = sampler.epoch(epoch);
            prop_assert_eq!(&batches, &sampler.epoch(epoch));
            prop_assert_eq!(sampler.steps(epoch), batches.len());
            let mut seen: Vec<usize> = batches.concat();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..lengths.len()).collect::<Vec<_>>());
            for batch in &batches {
                prop_assert!(!batch.is_empty());
                prop_assert!(examples.is_none_or(|most| batch.len() <= most));
                let sum: usize = batch.iter().map(|&i| lengths[i]).sum();
                prop_assert!(sum <= tokens || batch.len() == 1);
            }
            prop_assert_eq!(sampler.in_order().concat(), (0..lengths.len()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn epochs_and_seeds_shuffle_differently() {
        let sampler = |seed| Sampler::new(vec![1; 50], size(Some(8), None), seed).unwrap();
        assert_ne!(sampler(1).epoch(0), sampler(1).epoch(1));
        assert_ne!(sampler(1).epoch(0), sampler(2).epoch(0));
        assert_eq!(sampler(1).steps(0), 7);
        assert_eq!(sampler(1).epoch(0).len(), 7);
    }

    #[test]
    fn a_size_of_nothing_is_refused() {
        for bad in [size(None, None), size(Some(0), None), size(Some(1), Some(0))] {
            assert!(Sampler::new(vec![1], bad, 0).is_err());
        }
        assert!(Sampler::new(Vec::new(), size(Some(1), None), 0).is_err());
    }
}
