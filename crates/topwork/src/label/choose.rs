//! Which texts to ask for next.

use topwork_kernels::rng::{Stream, derive};

use super::features::Features;
use crate::error::Error;
use crate::nearest::nearest;

/// By what the next texts are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strategy {
    /// Those whose likeliest class is least likely.
    ///
    /// Paper: Lewis, Gale 1994, "A Sequential Algorithm for Training Text Classifiers", section 3,
    /// <https://arxiv.org/abs/cmp-lg/9407020>
    Uncertainty,
    /// Those whose two likeliest classes are closest.
    ///
    /// Paper: Scheffer, Decomain, Wrobel 2001, "Active Hidden Markov Models for Information Extraction", section 3,
    /// <https://doi.org/10.1007/3-540-44816-0_31>
    Margin,
    /// Those whose probabilities have the greatest entropy.
    ///
    /// Paper: Settles 2009, "Active Learning Literature Survey", section 3.1, <https://minds.wisconsin.edu/handle/1793/60660>
    Entropy,
    /// Those whose gradients in the last layer, were the guess right, are large and unlike each other: k-means++ among them.
    ///
    /// Paper: Ash et al. 2020, "Deep Batch Active Learning by Diverse, Uncertain Gradient Lower Bounds" (BADGE), algorithm 1,
    /// <https://arxiv.org/abs/1906.03671>
    Diverse,
    /// As a seed shuffles them, whatever was answered.
    Random,
}

impl Strategy {
    /// Every strategy with its name.
    pub const ALL: [(Strategy, &'static str); 5] = [
        (Strategy::Uncertainty, "uncertainty"),
        (Strategy::Margin, "margin"),
        (Strategy::Entropy, "entropy"),
        (Strategy::Diverse, "diverse"),
        (Strategy::Random, "random"),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(strategy, _)| *strategy == self).map_or("", |(_, name)| name)
    }

    /// A strategy by its name.
    ///
    /// # Errors
    /// [`Error::Task`] with the nearest name.
    pub fn parse(name: &str) -> Result<Self, Error> {
        let names = Self::ALL.map(|(_, name)| name);
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(strategy, _)| *strategy).ok_or_else(|| {
            let meant = nearest(name, names).unwrap_or_default();
            Error::Task(format!(
                "no strategy {name:?}: there are {}; did you mean {meant:?}?",
                names.join(", ")
            ))
        })
    }

    /// How far the model is from being sure, from the probabilities of one text: the higher, the sooner it is asked for.
    fn doubt(self, probabilities: &[f32]) -> f64 {
        match self {
            Strategy::Margin => {
                let (first, second) = two_greatest(probabilities);
                f64::from(second) - f64::from(first)
            }
            Strategy::Entropy => {
                let of = |&p: &f32| if p > 0.0 { -f64::from(p) * f64::from(p).ln() } else { 0.0 };
                probabilities.iter().map(of).sum()
            }
            Strategy::Uncertainty | Strategy::Diverse | Strategy::Random => {
                -f64::from(two_greatest(probabilities).0)
            }
        }
    }
}

/// What there is to choose from.
pub(super) struct Choice<'a> {
    /// Of all texts, those of the pool first.
    pub features: &'a Features,
    /// Texts of the pool.
    pub pool: usize,
    /// The rows that may be asked for, rising.
    pub open: &'a [usize],
    /// What the model says of them, `[open, classes]`; `None` while there is no model.
    pub probabilities: Option<&'a [f32]>,
    /// The round, from 1.
    pub round: usize,
    /// The seed.
    pub seed: u64,
}

impl Choice<'_> {
    /// So many rows, the first to be asked for first; fewer where fewer are left. While there is no model, all strategies but
    /// random order take texts that are unlike each other. The same seed and answers give the same rows.
    pub fn choose(&self, strategy: Strategy, count: usize) -> Vec<usize> {
        let count = count.min(self.open.len());
        if strategy == Strategy::Random {
            return self.shuffled(count);
        }
        let stream = Stream(derive(derive(self.seed, "label"), &self.round.to_string()));
        let Some(probabilities) = self.probabilities else {
            return self.rows(spread(&Plain(self), count, stream, None));
        };
        let classes = probabilities.len() / self.open.len().max(1);
        if strategy == Strategy::Diverse {
            let gradients = Gradients::new(self, probabilities, classes);
            // As in the authors' program, the largest gradient is the first.
            let first = greatest(&gradients.lengths);
            return self.rows(spread(&gradients, count, stream, first));
        }
        let mut doubts: Vec<(f64, usize)> = probabilities
            .chunks_exact(classes.max(1))
            .zip(self.open)
            .map(|(of, &row)| (strategy.doubt(of), row))
            .collect();
        doubts.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        doubts.into_iter().take(count).map(|(_, row)| row).collect()
    }

    /// The first of an order that depends on the seed and the number of texts alone.
    fn shuffled(&self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.pool).collect();
        Stream(derive(self.seed, "order")).shuffle(&mut order);
        order.into_iter().filter(|row| self.open.binary_search(row).is_ok()).take(count).collect()
    }

    fn rows(&self, chosen: Vec<usize>) -> Vec<usize> {
        chosen.into_iter().map(|at| self.open[at]).collect()
    }
}

/// Points between which there are distances.
pub(super) trait Points {
    fn count(&self) -> usize;
    /// The squared distance between two of them.
    fn apart(&self, a: usize, b: usize) -> f64;
}

/// The features themselves.
struct Plain<'a, 'b>(&'a Choice<'b>);

impl Points for Plain<'_, '_> {
    fn count(&self) -> usize {
        self.0.open.len()
    }

    fn apart(&self, a: usize, b: usize) -> f64 {
        let (a, b) = (self.0.features.row(self.0.open[a]), self.0.features.row(self.0.open[b]));
        a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum()
    }
}

/// The gradient of the loss in the weights of the last layer, were the likeliest class right: the outer product of what the
/// probabilities are off by and the features. It is never formed, because products of such are products of both parts.
pub(super) struct Gradients<'a, 'b> {
    choice: &'a Choice<'b>,
    /// `[open, classes]`
    off: Vec<f32>,
    classes: usize,
    /// Squared lengths.
    lengths: Vec<f64>,
}

impl<'a, 'b> Gradients<'a, 'b> {
    pub fn new(choice: &'a Choice<'b>, probabilities: &[f32], classes: usize) -> Self {
        let mut off = probabilities.to_vec();
        for row in off.chunks_exact_mut(classes.max(1)) {
            let guess = crate::scoring::first_greatest(row);
            row[guess] -= 1.0;
        }
        let squared = |values: &[f32]| -> f64 { values.iter().map(|&v| f64::from(v).powi(2)).sum() };
        let lengths = off
            .chunks_exact(classes.max(1))
            .zip(choice.open)
            .map(|(off, &row)| squared(off) * squared(choice.features.row(row)))
            .collect();
        Gradients { choice, off, classes, lengths }
    }
}

impl Points for Gradients<'_, '_> {
    fn count(&self) -> usize {
        self.choice.open.len()
    }

    fn apart(&self, a: usize, b: usize) -> f64 {
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        let off = |at: usize| &self.off[at * self.classes..(at + 1) * self.classes];
        let row = |at: usize| self.choice.features.row(self.choice.open[at]);
        let product = dot(off(a), off(b)) * dot(row(a), row(b));
        (self.lengths[a] + self.lengths[b] - 2.0 * product).max(0.0)
    }
}

/// Points that are far from each other: each next one is drawn in proportion to its squared distance from the nearest that was
/// taken. The first is given, or drawn.
///
/// Paper: Arthur, Vassilvitskii 2007, "k-means++: The Advantages of Careful Seeding", section 2.2,
/// <https://theory.stanford.edu/~sergei/papers/kMeansPP-soda.pdf>
fn spread(points: &impl Points, count: usize, mut stream: Stream, first: Option<usize>) -> Vec<usize> {
    let total = points.count();
    if count == 0 || total == 0 {
        return Vec::new();
    }
    let first = first.unwrap_or_else(|| stream.below(total as u64) as usize);
    let mut taken = vec![first];
    let mut free = vec![true; total];
    free[first] = false;
    let mut distances: Vec<f64> = (0..total).map(|at| points.apart(at, first)).collect();
    while taken.len() < count {
        let sum: f64 = distances.iter().zip(&free).filter(|(_, free)| **free).map(|(d, _)| d).sum();
        let mut left = stream.next_f64() * sum;
        let mut next = None;
        for at in (0..total).filter(|&at| free[at]) {
            // Where all are the same point, the first that is left.
            if next.is_none() || distances[at] > 0.0 {
                next = Some(at);
            }
            left -= distances[at];
            if left < 0.0 {
                break;
            }
        }
        let Some(next) = next else { break };
        free[next] = false;
        taken.push(next);
        for at in (0..total).filter(|&at| free[at]) {
            distances[at] = distances[at].min(points.apart(at, next));
        }
    }
    taken
}

fn greatest(values: &[f64]) -> Option<usize> {
    // The first of equals.
    (0..values.len()).max_by(|&a, &b| values[a].total_cmp(&values[b]).then(b.cmp(&a)))
}

fn two_greatest(values: &[f32]) -> (f32, f32) {
    values.iter().fold(
        (0.0, 0.0),
        |(first, second), &value| {
            if value > first { (value, first) } else { (first, second.max(value)) }
        },
    )
}
