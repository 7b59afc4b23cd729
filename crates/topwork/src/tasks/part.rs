//! A set of examples as a model reads it.

use std::sync::Arc;

use topwork_data::{Dataset, Inputs, Labels, Ragged};
use topwork_models::{Members, Targets};
use topwork_text::Packed;

use super::dialog::Exchanges;
use super::language_model::Hiding;
use super::pairing::Together;
use super::question::Window;
use crate::scoring::targets;
use crate::slices::Predicate;

/// One of the sets.
#[derive(Clone, Debug)]
pub struct Part {
    /// Texts and labels as they were read.
    pub dataset: Dataset,
    /// The same as token ids.
    pub inputs: Inputs,
    /// What is drawn and answered at a time.
    pub units: Units,
}

/// What is drawn and answered at a time.
#[derive(Clone, Debug, PartialEq)]
pub enum Units {
    /// One sequence of the inputs for each example.
    Examples,
    /// The same, with the parts of the data that each example is in.
    Sliced(Members),
    /// The same, with the numbers of the words that the labelled tokens stand for.
    Words(Ragged),
    /// Parts of passages.
    Windows(Vec<Window>),
    /// Several sequences for each example.
    Choices {
        /// Where each example's sequences begin, and where the last one's end: `[examples + 1]`.
        offsets: Vec<u32>,
        /// The number of the right one, counted from the example's first.
        right: Vec<u32>,
    },
    /// Texts that belong together, each text a sequence.
    Together(Together),
    /// Running text of which words are hidden.
    Hidden(Hiding),
    /// A sequence for each example, what was said with the right reply, and what else could be the reply.
    Exchanges(Exchanges),
}

/// Some units of a set, ready for a model.
#[derive(Clone, Debug)]
pub struct TaskBatch {
    /// The texts.
    pub packed: Packed,
    /// What is asked, where it is known.
    pub targets: Option<Targets>,
    /// Which of the set's sequences these are.
    pub texts: Vec<usize>,
    /// Units in it.
    pub units: usize,
}

impl Part {
    /// A set in which each example is a sequence.
    pub fn examples(dataset: Dataset, inputs: Inputs) -> Self {
        Part { dataset, inputs, units: Units::Examples }
    }

    /// The same with the parts of the data that each example is in, if there are any.
    pub fn sliced(self, parts: &[Predicate]) -> Self {
        if parts.is_empty() {
            return self;
        }
        let examples = &self.dataset.examples;
        let holds =
            examples.iter().flat_map(|example| parts.iter().map(|part| part.holds(example))).collect();
        Part { units: Units::Sliced(Members { parts: parts.len(), holds }), ..self }
    }

    /// Units there are.
    pub fn len(&self) -> usize {
        match &self.units {
            Units::Choices { right, .. } => right.len(),
            Units::Together(together) => together.len(),
            _ => self.inputs.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tokens of each unit.
    pub fn costs(&self) -> Vec<usize> {
        let starts = &self.inputs.packed.offsets;
        match &self.units {
            Units::Choices { offsets, .. } => {
                let start = |text: u32| starts[text as usize] as usize;
                offsets.windows(2).map(|pair| start(pair[1]) - start(pair[0])).collect()
            }
            Units::Together(together) => {
                let length = |&text: &u32| (starts[text as usize + 1] - starts[text as usize]) as usize;
                let texts = |pair: &[u32]| {
                    together.texts[pair[0] as usize..pair[1] as usize].iter().map(length).sum()
                };
                together.offsets.windows(2).map(texts).collect()
            }
            Units::Exchanges(exchanges) => exchanges.costs_in_training(),
            _ => self.inputs.packed.lengths().collect(),
        }
    }

    /// Some of the units, with what is asked of them as far as it is fixed.
    pub fn batch(&self, units: &[usize]) -> TaskBatch {
        if let Units::Together(together) = &self.units {
            let (texts, targets) = together.select(units);
            let packed = self.inputs.packed.select(&texts);
            return TaskBatch { packed, targets: Some(targets), texts, units: units.len() };
        }
        let Units::Choices { offsets, right } = &self.units else {
            let batch = self.inputs.batch(units);
            let targets = targets(&batch.labels);
            return TaskBatch { packed: batch.packed, targets, texts: units.to_vec(), units: units.len() };
        };
        let texts: Vec<usize> =
            units.iter().flat_map(|&unit| offsets[unit] as usize..offsets[unit + 1] as usize).collect();
        let mut questions = vec![0];
        for &unit in units {
            questions.push(questions[questions.len() - 1] + offsets[unit + 1] - offsets[unit]);
        }
        let right: Arc<[u32]> = units.iter().map(|&unit| right[unit]).collect();
        TaskBatch {
            packed: self.inputs.packed.select(&texts),
            targets: Some(Targets::Choices { right, questions: questions.into() }),
            texts,
            units: units.len(),
        }
    }

    /// The same without labels.
    pub fn unlabelled(&self) -> Self {
        let inputs = Inputs { labels: Labels::None(self.inputs.len()), ..self.inputs.clone() };
        Part { inputs, ..self.clone() }
    }

    /// Some of the examples, of a set in which each is a sequence.
    pub fn select(&self, examples: &[usize]) -> Self {
        let batch = self.inputs.batch(examples);
        let inputs = Inputs {
            lengths: examples.iter().map(|&at| self.inputs.lengths[at]).collect(),
            packed: batch.packed,
            labels: batch.labels,
            rows: batch.rows,
            cut_texts: 0,
            cut_tokens: 0,
        };
        let units = match &self.units {
            Units::Sliced(members) => Units::Sliced(select(members, examples)),
            _ => Units::Examples,
        };
        Part { dataset: self.dataset.select(examples), inputs, units }
    }
}

/// The parts that some of the examples are in.
pub(super) fn select(members: &Members, examples: &[usize]) -> Members {
    let parts = members.parts;
    let rows = examples.iter().flat_map(|&at| &members.holds[at * parts..(at + 1) * parts]);
    Members { parts, holds: rows.copied().collect() }
}
