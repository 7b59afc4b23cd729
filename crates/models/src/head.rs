//! What a head is, and the list of all heads.

use std::sync::Arc;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use topwork_kernels::pool::Pool;
use topwork_nn::{ParamId, ParamStore, Pass};
use topwork_text::Packed;

use crate::error::Error;
use crate::family::Encoder;
use crate::heads;
use crate::heads::parse::Parse;
use crate::heads::seq2seq::Seq2Seq;
use crate::onnx::HeadGraph;
use crate::states::Layers;
use crate::tagging::CrfParams;

pub use crate::heads::body::Body;
pub use crate::heads::compared::{Compared, VectorLoss, VectorLossKind};
pub use crate::heads::embed::EmbedDense;
pub use crate::heads::groups::Groups;
pub use crate::heads::sliced::{Members, Slices};
pub use crate::heads::span_pair::SpanRow;
pub use crate::loss_options::LossOptions;

/// How a sequence becomes one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pooling {
    /// As the family's own classifier does it: for most the first token through a dense layer, the last for families that
    /// read from left to right. Folders saved with it open as `...ForSequenceClassification` in transformers.
    Family,
    /// The first token's vector as it is.
    Cls,
    /// The mean of all tokens.
    Mean,
    /// The largest value of each coordinate.
    Max,
    /// The last token's vector as it is.
    Last,
    /// The sum of all tokens with shares that a learnt query gives them.
    Attention,
}

impl Pooling {
    /// The operation over tokens, on this encoder; `None` where it is learnt.
    pub fn pool(self, encoder: &dyn Encoder) -> Option<Pool> {
        match self {
            Pooling::Family => Some(encoder.classifier().pool),
            Pooling::Cls => Some(Pool::Cls),
            Pooling::Last => Some(Pool::Last),
            Pooling::Mean => Some(Pool::Mean),
            Pooling::Max => Some(Pool::Max),
            Pooling::Attention => None,
        }
    }
}

/// Everything needed to build a head again; stored with a saved model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "head", rename_all = "kebab-case", deny_unknown_fields)]
pub enum HeadSpec {
    /// One label of several, or (with `several`) any number of them.
    Classify {
        /// Names of the labels, in the order of the outputs.
        labels: Vec<String>,
        /// True if several labels may hold at once.
        several: bool,
        /// How a text becomes a vector.
        pool: Pooling,
        /// What stands before the outputs.
        #[serde(default, skip_serializing_if = "is_default")]
        body: Body,
        /// The hidden states that are read.
        #[serde(default, skip_serializing_if = "is_default")]
        layers: Layers,
        /// The heads of several tasks side by side: how many of the labels, in their order, are each one's. A text is told only from
        /// the labels of its own task. Empty where all labels are of one.
        #[serde(default, skip_serializing_if = "is_default")]
        groups: Groups,
        /// Parts of the data that have an expert each. None where all texts are answered alike.
        #[serde(default, skip_serializing_if = "is_default")]
        slices: Slices,
    },
    /// A number.
    Regress {
        /// How a text becomes a vector.
        pool: Pooling,
        /// What stands before the outputs.
        #[serde(default, skip_serializing_if = "is_default")]
        body: Body,
        /// The hidden states that are read.
        #[serde(default, skip_serializing_if = "is_default")]
        layers: Layers,
    },
    /// The words behind masks.
    MaskedLm,
    /// The next words.
    CausalLm,
    /// A text for a text.
    #[serde(rename = "seq2seq")]
    Seq2Seq,
    /// Words in any order.
    PermutationLm,
    /// A label for each token.
    Tag {
        /// Names of the labels, in the order of the outputs.
        labels: Vec<String>,
        /// Whether labels are scored as a whole, with a score for each pair that follow each other: a conditional random field.
        #[serde(default, skip_serializing_if = "is_default")]
        crf: bool,
        /// What stands before the outputs.
        #[serde(default, skip_serializing_if = "is_default")]
        body: Body,
        /// The hidden states that are read.
        #[serde(default, skip_serializing_if = "is_default")]
        layers: Layers,
    },
    /// What each word depends on, and how: a tree over the words that are marked.
    Parse {
        /// Names of the relations, in the order of their numbers.
        labels: Vec<String>,
        /// Whether several words of a sentence may hang on the root.
        #[serde(default, skip_serializing_if = "is_default")]
        several_roots: bool,
        /// Numbers that a word is scored by as a head, and as what depends on one.
        arc_width: usize,
        /// Numbers that a pair of words is scored by for its relation.
        relation_width: usize,
        /// The share of these that is dropped in training.
        dropout: f32,
        /// What stands before these: the family's own body is none.
        #[serde(default, skip_serializing_if = "is_default")]
        body: Body,
        /// The hidden states that are read.
        #[serde(default, skip_serializing_if = "is_default")]
        layers: Layers,
    },
    /// The first and the last token of a span.
    Span,
    /// One label of several for two spans that are marked.
    SpanPair {
        /// Names of the labels, in the order of the outputs.
        labels: Vec<String>,
        /// What stands for a span.
        #[serde(default, skip_serializing_if = "is_default")]
        row: SpanRow,
        /// What stands before the outputs: the family's own body is none.
        #[serde(default, skip_serializing_if = "is_default")]
        body: Body,
        /// The hidden states that are read.
        #[serde(default, skip_serializing_if = "is_default")]
        layers: Layers,
    },
    /// A vector for a text.
    Embed {
        /// How a text becomes a vector; the family's own way is its first token.
        pool: Pooling,
        /// Scale vectors to length one.
        normalise: bool,
        /// A map that pooled vectors go through first.
        #[serde(default, skip_serializing_if = "is_default")]
        dense: Option<EmbedDense>,
    },
    /// Whether each token was replaced by another.
    ReplacedToken,
    /// Whether the second text of a pair follows the first.
    NextSentence,
    /// The words behind masks, and whether the second text of a pair follows the first.
    Pretraining,
    /// The right one of several texts.
    MultipleChoice,
    /// The next words, and the right one of several texts.
    DoubleHeads,
}

impl HeadSpec {
    /// One label of several, or any number of them, with the body and the layers of the family's own classifier.
    pub fn classifier(labels: Vec<String>, several: bool, pool: Pooling) -> Self {
        let (groups, slices) = Default::default();
        HeadSpec::Classify { labels, several, pool, body: Body::Own, layers: Layers::Last, groups, slices }
    }

    /// A number, with the body and the layers of the family's own classifier.
    pub fn regressor(pool: Pooling) -> Self {
        HeadSpec::Regress { pool, body: Body::Own, layers: Layers::Last }
    }

    /// A label for each token, as the family's own tagger gives it.
    pub fn tagger(labels: Vec<String>) -> Self {
        HeadSpec::Tag { labels, crf: false, body: Body::Own, layers: Layers::Last }
    }

    /// The head's name in [`HEADS`].
    pub fn name(&self) -> &'static str {
        match self {
            HeadSpec::Classify { .. } => heads::classify::ENTRY.name,
            HeadSpec::Regress { .. } => heads::regress::ENTRY.name,
            HeadSpec::MaskedLm => heads::masked_lm::ENTRY.name,
            HeadSpec::CausalLm => heads::causal_lm::ENTRY.name,
            HeadSpec::Seq2Seq => heads::seq2seq::ENTRY.name,
            HeadSpec::PermutationLm => heads::permutation_lm::ENTRY.name,
            HeadSpec::Tag { .. } => heads::tag::ENTRY.name,
            HeadSpec::Parse { .. } => heads::parse::ENTRY.name,
            HeadSpec::Span => heads::span::ENTRY.name,
            HeadSpec::SpanPair { .. } => heads::span_pair::ENTRY.name,
            HeadSpec::Embed { .. } => heads::embed::ENTRY.name,
            HeadSpec::ReplacedToken => heads::replaced_token::ENTRY.name,
            HeadSpec::NextSentence => heads::next_sentence::ENTRY.name,
            HeadSpec::Pretraining => heads::pretraining::ENTRY.name,
            HeadSpec::MultipleChoice => heads::multiple_choice::ENTRY.name,
            HeadSpec::DoubleHeads => heads::double_heads::ENTRY.name,
        }
    }

    /// How texts become vectors, for heads over whole texts.
    pub fn pooling(&self) -> Option<Pooling> {
        match self {
            HeadSpec::Classify { pool, .. }
            | HeadSpec::Regress { pool, .. }
            | HeadSpec::Embed { pool, .. } => Some(*pool),
            HeadSpec::NextSentence | HeadSpec::MultipleChoice => Some(Pooling::Family),
            HeadSpec::MaskedLm
            | HeadSpec::CausalLm
            | HeadSpec::Seq2Seq
            | HeadSpec::PermutationLm
            | HeadSpec::Tag { .. }
            | HeadSpec::Parse { .. }
            | HeadSpec::Span
            | HeadSpec::SpanPair { .. }
            | HeadSpec::ReplacedToken
            | HeadSpec::Pretraining
            | HeadSpec::DoubleHeads => None,
        }
    }

    /// Number of outputs for each text (of a head over tokens: for each token), where that is fixed by the head.
    pub fn outputs(&self) -> Option<usize> {
        match self {
            HeadSpec::Classify { labels, .. }
            | HeadSpec::Tag { labels, .. }
            | HeadSpec::SpanPair { labels, .. } => Some(labels.len()),
            HeadSpec::Regress { .. } | HeadSpec::MultipleChoice | HeadSpec::ReplacedToken => Some(1),
            HeadSpec::NextSentence => Some(heads::next_sentence::OUTPUTS),
            HeadSpec::Span => Some(heads::span::OUTPUTS),
            HeadSpec::MaskedLm
            | HeadSpec::CausalLm
            | HeadSpec::Seq2Seq
            | HeadSpec::PermutationLm
            | HeadSpec::Parse { .. }
            | HeadSpec::Embed { .. }
            | HeadSpec::Pretraining
            | HeadSpec::DoubleHeads => None,
        }
    }
}

/// For settings that are written only where they are chosen.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What a head's outputs are compared with.
#[derive(Clone, Debug, PartialEq)]
pub enum Targets {
    /// A class number for each text.
    Classes(Arc<[u32]>),
    /// A class number for each text, and which parts of the data it is in.
    Sliced(Arc<[u32]>, Members),
    /// 0 or 1 for each text and label, row-major.
    Several(Vec<f32>),
    /// A number for each text.
    Scores(Vec<f32>),
    /// A token id, or the number of a label, for each token, `topwork_kernels::loss::IGNORE` where none is asked for.
    Tokens(Arc<[u32]>),
    /// A tree over the marked words of each text, these laid end to end.
    Trees {
        /// The word that each depends on, counted from 1 among those of its text, 0 for the root;
        /// `topwork_kernels::loss::IGNORE` where none is asked for.
        heads: Arc<[u32]>,
        /// The number of its relation; `topwork_kernels::loss::IGNORE` where none is asked for.
        relations: Arc<[u32]>,
    },
    /// A span of each text.
    Spans {
        /// Its first token, counted from the text's first; `topwork_kernels::loss::IGNORE` in a text that does not count.
        starts: Arc<[u32]>,
        /// Its last token.
        ends: Arc<[u32]>,
    },
    /// The right text of each question.
    Choices {
        /// The number of the right text, counted from the question's first.
        right: Arc<[u32]>,
        /// Where each question's texts begin, and where the last one's end: `[questions + 1]`.
        questions: Arc<[u32]>,
    },
    /// For heads of two tasks.
    Both {
        /// As in [`Targets::Tokens`].
        tokens: Arc<[u32]>,
        /// What is asked of texts.
        texts: Box<Targets>,
    },
    /// A text for each text: token ids, `topwork_kernels::loss::IGNORE` where none is asked for.
    Texts {
        /// The ids of all texts: `[tokens]`.
        ids: Arc<[u32]>,
        /// Where each text starts, and the last one ends: `[batch + 1]`.
        offsets: Arc<[u32]>,
    },
    /// Words that are asked for in some order.
    Permuted(Permuted),
    /// Texts that are held against each other.
    Compared(Compared),
}

/// An order of the words of a batch, and those of them that are asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Permuted {
    /// For each sequence its `[seq, seq]`, row-major, one after the other: not 0 where the row's token comes after the column's,
    /// and so may see it. A token sees its own word besides, except where it is asked for.
    pub visible: Arc<[u8]>,
    /// The tokens asked for, counted over the batch, rising.
    pub asked: Arc<[u32]>,
    /// The words that stand there.
    pub words: Arc<[u32]>,
}

impl Permuted {
    /// Whether this is an order of these texts.
    ///
    /// # Errors
    /// [`Error::Permuted`].
    pub fn check(&self, input: &Packed) -> Result<(), Error> {
        let wrong = |expected: String, got: String| Err(Error::Permuted { expected, got });
        let pairs: usize = input.lengths().map(|len| len * len).sum();
        if self.visible.len() != pairs {
            return wrong(format!("{pairs} pairs of tokens"), self.visible.len().to_string());
        }
        if self.asked.is_empty() {
            return wrong("at least one word that is asked for".to_string(), "none".to_string());
        }
        if self.asked.len() != self.words.len() {
            return wrong(
                format!("{} words, one for each token", self.asked.len()),
                self.words.len().to_string(),
            );
        }
        if let Some(pair) = self.asked.windows(2).find(|pair| pair[0] >= pair[1]) {
            return wrong("tokens that rise".to_string(), format!("{} before {}", pair[0], pair[1]));
        }
        match self.asked.last().filter(|&&token| token as usize >= input.tokens()) {
            Some(token) => wrong(format!("tokens below {}", input.tokens()), token.to_string()),
            None => Ok(()),
        }
    }
}

impl Targets {
    /// What kind of targets these are, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Targets::Classes(_) => "classes",
            Targets::Sliced(..) => "classes and slices",
            Targets::Several(_) => "several labels",
            Targets::Scores(_) => "scores",
            Targets::Tokens(_) => "tokens",
            Targets::Trees { .. } => "trees",
            Targets::Spans { .. } => "spans",
            Targets::Choices { .. } => "choices",
            Targets::Both { .. } => "tokens and texts",
            Targets::Texts { .. } => "texts",
            Targets::Permuted(_) => "words in an order",
            Targets::Compared(_) => "texts to compare",
        }
    }
}

/// Turns hidden states into outputs, and outputs into a loss.
pub trait Head: Send + Sync {
    /// How a text's tokens become the one row this head wants; `None` if it wants every token.
    fn pooled(&self) -> Option<Pool>;

    /// The hidden states it reads.
    fn layers(&self) -> Layers {
        Layers::Last
    }

    /// The numbers whose softmax are the shares of layers in a mix, of a head that learns one.
    fn mix(&self) -> Option<&[ParamId]> {
        None
    }

    /// The conditional random field over its labels, if it has one.
    fn crf(&self) -> Option<CrfParams> {
        None
    }

    /// What puts its computation into an ONNX graph, for heads that have it.
    fn onnx(&self) -> Option<&dyn HeadGraph> {
        None
    }

    /// What stands for a word that is asked for, `[1, hidden]`, of a head that predicts words in any order.
    fn unknown(&self) -> Option<ParamId> {
        None
    }

    /// # Shapes
    /// - `x`: `[batch, hidden]` after pooling, or `[tokens, hidden]` for a head over tokens (in the place of `hidden` what
    ///   [`Layers::width`] says of [`Head::layers`]); `input`: the texts it was made of
    /// - returns: `[batch, labels]`, `[batch, hidden]` or `[tokens, vocab]`; of a parser, one below the other, a score for each
    ///   marked word with the root and with each word of its text as its head
    ///
    /// # Errors
    /// A parameter without values.
    fn forward(&self, pass: &Pass, x: Tensor<2>, input: &Packed) -> Result<Tensor<2>, Error>;

    /// The second output of a head of two tasks, which is over texts; [`Head::forward`] gives the one over tokens.
    ///
    /// # Shapes
    /// - `x` and `input` as in [`Head::forward`]; returns `[batch, outputs]`
    ///
    /// # Errors
    /// A parameter without values.
    fn forward_texts(
        &self,
        _pass: &Pass,
        _x: Tensor<2>,
        _input: &Packed,
    ) -> Result<Option<Tensor<2>>, Error> {
        Ok(None)
    }

    /// # Shapes
    /// - `x` and `input` as in [`Head::forward`]; returns `[1]`
    ///
    /// # Errors
    /// [`Error::Targets`] for targets of another kind.
    fn loss(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        input: &Packed,
        targets: &Targets,
        options: &LossOptions,
    ) -> Result<Tensor<1>, Error>;

    /// The head itself, if it writes texts.
    fn seq2seq(&self) -> Option<&Seq2Seq> {
        None
    }

    /// The head itself, if it gives trees.
    fn parser(&self) -> Option<&Parse> {
        None
    }
}

/// How a head is known from outside.
pub struct HeadEntry {
    /// Kebab-case name.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// Where it comes from.
    pub paper: &'static str,
    /// Declares the head's parameters over an encoder.
    pub build: BuildHead,
}

/// How a head is built over an encoder.
pub type BuildHead = fn(&HeadSpec, &dyn Encoder, &mut ParamStore) -> Result<Box<dyn Head>, Error>;

/// Every head, in the order `list` prints them.
pub const HEADS: &[&HeadEntry] = &[
    &heads::classify::ENTRY,
    &heads::regress::ENTRY,
    &heads::masked_lm::ENTRY,
    &heads::causal_lm::ENTRY,
    &heads::seq2seq::ENTRY,
    &heads::permutation_lm::ENTRY,
    &heads::tag::ENTRY,
    &heads::parse::ENTRY,
    &heads::span::ENTRY,
    &heads::span_pair::ENTRY,
    &heads::embed::ENTRY,
    &heads::replaced_token::ENTRY,
    &heads::next_sentence::ENTRY,
    &heads::pretraining::ENTRY,
    &heads::multiple_choice::ENTRY,
    &heads::double_heads::ENTRY,
];

/// Builds the head a spec asks for.
///
/// # Errors
/// [`Error::UnknownHead`], or what the head's own `build` finds wrong.
pub fn build(spec: &HeadSpec, encoder: &dyn Encoder, store: &mut ParamStore) -> Result<Box<dyn Head>, Error> {
    let entry = HEADS.iter().find(|entry| entry.name == spec.name()).ok_or_else(|| Error::UnknownHead {
        got: spec.name().to_string(),
        known: HEADS.iter().map(|h| h.name).collect::<Vec<_>>().join(", "),
    })?;
    (entry.build)(spec, encoder, store)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_survive_json() {
        let labels = vec!["ham".to_string(), "spam".to_string()];
        let specs = [
            HeadSpec::classifier(labels.clone(), false, Pooling::Family),
            HeadSpec::regressor(Pooling::Mean),
            HeadSpec::MaskedLm,
            HeadSpec::CausalLm,
            HeadSpec::Seq2Seq,
            HeadSpec::PermutationLm,
            HeadSpec::tagger(labels.clone()),
            HeadSpec::parser(labels.clone()),
            HeadSpec::Span,
            HeadSpec::SpanPair { labels, row: SpanRow::Ends, body: Body::Own, layers: Layers::Last },
            HeadSpec::embedder(Pooling::Max, true),
            HeadSpec::ReplacedToken,
            HeadSpec::NextSentence,
            HeadSpec::Pretraining,
            HeadSpec::MultipleChoice,
            HeadSpec::DoubleHeads,
        ];
        assert_eq!(specs.len(), HEADS.len(), "every head is here");
        for (spec, entry) in specs.iter().zip(HEADS) {
            let text = serde_json::to_string(spec).unwrap();
            assert_eq!(&serde_json::from_str::<HeadSpec>(&text).unwrap(), spec);
            assert_eq!(spec.name(), entry.name);
            assert!(text.contains(entry.name), "{text}");
            assert!(entry.paper.starts_with("https://"));
        }
        assert!(serde_json::from_str::<HeadSpec>(r#"{"head":"regress","pool":"mean","x":1}"#).is_err());
    }

    #[test]
    fn settings_are_written_where_they_are_chosen_and_may_be_left_out() {
        let check = |spec: HeadSpec, text: &str| {
            assert_eq!(serde_json::to_string(&spec).unwrap(), text);
            assert_eq!(serde_json::from_str::<HeadSpec>(text).unwrap(), spec);
        };
        check(HeadSpec::tagger(vec!["O".to_string()]), r#"{"head":"tag","labels":["O"]}"#);
        check(HeadSpec::regressor(Pooling::Mean), r#"{"head":"regress","pool":"mean"}"#);
        check(
            HeadSpec::Regress {
                pool: Pooling::Attention,
                body: Body::Mlp { width: 8 },
                layers: Layers::SumLast4,
            },
            r#"{"head":"regress","pool":"attention","body":{"mlp":{"width":8}},"layers":"sum-last-4"}"#,
        );
        check(
            HeadSpec::Tag {
                labels: vec![],
                crf: true,
                body: Body::BiLstm { width: 8, layers: 1 },
                layers: Layers::Mix,
            },
            r#"{"head":"tag","labels":[],"crf":true,"body":{"bilstm":{"width":8,"layers":1}},"layers":"mix"}"#,
        );
        for layers in [
            Layers::Last,
            Layers::First,
            Layers::SecondToLast,
            Layers::SumLast4,
            Layers::ConcatLast4,
            Layers::SumAll,
            Layers::Mix,
        ] {
            assert_eq!(serde_json::to_string(&layers).unwrap(), format!("{:?}", layers.name()));
        }
        assert!(serde_json::from_str::<Body>(r#"{"mlp":{"width":8,"depth":2}}"#).is_err());
    }
}
