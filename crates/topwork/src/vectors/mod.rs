//! What word vectors say: neighbours, similarities, analogies, benchmarks, clusters; and the same of words in context.
//!
//! ```
//! use topwork::vectors::{Objective, Space};
//! use topwork_weights::WordVectors;
//!
//! let words = ["man", "woman", "king", "queen", "stick"];
//! let rows = [1.0, 0.0, 0.1, 1.0, 1.0, 0.1, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, -1.0, 0.3, 0.0];
//! let space = Space::new(WordVectors::new(words, 3, &rows));
//! let answers = space.analogy("king", "man", "woman", Objective::Add, 1)?;
//! assert_eq!(answers[0].word, "queen");
//! # Ok::<(), topwork::Error>(())
//! ```

mod analogies;
mod clusters;
mod context;
mod embedding;
#[cfg(test)]
mod golden;
mod pairs;
mod space;
mod word_model;

pub use analogies::{AnalogyScore, Section, analogy_benchmark};
pub use clusters::{ClusterOptions, Clusters, clusters};
pub use context::{ContextWords, Occurrence};
pub use embedding::{EmbeddingTable, embedding_table, start_from_vectors};
pub use pairs::{PairScore, pair_benchmark};
pub(crate) use space::best;
pub use space::{Neighbour, Objective, Space, cosine};
pub use word_model::word_model;

use std::collections::HashMap;

/// How a benchmark's words are looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// Only so many words, from the first, count as known and as answers.
    pub first: usize,
    /// Whether upper and lower case are the same; of words that then are equal the first stands for all.
    pub any_case: bool,
}

impl Default for Lookup {
    fn default() -> Self {
        Lookup { first: 300_000, any_case: true }
    }
}

impl Lookup {
    /// A word as it is compared.
    fn key(&self, word: &str) -> String {
        if self.any_case { word.to_uppercase() } else { word.to_string() }
    }

    /// How many words of a space count.
    fn count(&self, space: &Space) -> usize {
        self.first.min(space.vectors().len())
    }

    /// The words that count, and where they stand.
    fn index(&self, space: &Space) -> HashMap<String, usize> {
        let words = space.vectors().words()[..self.count(space)].iter();
        let mut index = HashMap::new();
        for (at, word) in words.enumerate() {
            index.entry(self.key(word)).or_insert(at);
        }
        index
    }
}
