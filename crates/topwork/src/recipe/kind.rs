//! What can be learnt, by name.

use serde::{Deserialize, Serialize};

/// Kinds of task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// One label a text.
    Classify,
    /// Any number of labels a text.
    MultiLabel,
    /// A number a text.
    Regress,
    /// A label for each word.
    Tag,
    /// What each word depends on.
    Parse,
    /// How two spans are related.
    Relation,
    /// A span of a passage that answers a question.
    QuestionAnswering,
    /// Which of several texts goes with a text.
    MultipleChoice,
    /// Vectors by which texts that belong together find each other.
    Embed,
    /// How alike two texts are.
    Similarity,
    /// A text for a text.
    #[serde(rename = "seq2seq")]
    Seq2Seq,
    /// Replies in conversations.
    Dialog,
    /// The next word.
    CausalLm,
    /// Words behind masks.
    MaskedLm,
}

impl Kind {
    /// Every kind by its name in recipes.
    pub const ALL: &[(Kind, &str)] = &[
        (Kind::Classify, "classify"),
        (Kind::MultiLabel, "multi-label"),
        (Kind::Regress, "regress"),
        (Kind::Tag, "tag"),
        (Kind::Parse, "parse"),
        (Kind::Relation, "relation"),
        (Kind::QuestionAnswering, "question-answering"),
        (Kind::MultipleChoice, "multiple-choice"),
        (Kind::Embed, "embed"),
        (Kind::Similarity, "similarity"),
        (Kind::Seq2Seq, "seq2seq"),
        (Kind::Dialog, "dialog"),
        (Kind::CausalLm, "causal-lm"),
        (Kind::MaskedLm, "masked-lm"),
    ];

    /// The name in recipes.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }
}
