//! What can go wrong between a model folder and a model.

use std::path::PathBuf;

use topwork_text::pictures::PREPROCESSOR;

use crate::adapted::OF_VISION;
use crate::source::{ADAPTER, BASE};

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of the model folder is missing.
    #[error("{folder}: no {file} in this model folder; a model folder holds config.json, model.safetensors and tokenizer.json or vocab.txt", folder = .folder.display())]
    Missing {
        /// The folder.
        folder: PathBuf,
        /// The file that was looked for.
        file: &'static str,
    },
    /// A file of weights does not say what model it belongs to, and no file beside it does.
    #[error("{path}: nothing says what model these weights are: no config.json lies beside them or in the folder above; put the model's config.json there", path = .path.display())]
    NoConfig {
        /// The file of weights.
        path: PathBuf,
    },
    /// A model that is nothing without its adapter was to be opened without it.
    #[error("{folder}: what this model computes is changed by the adapter in {adapter}, which does not go along here; its model without it is in {base}", folder = .folder.display(), adapter = ADAPTER, base = BASE)]
    Adapted {
        /// The folder of both.
        folder: PathBuf,
    },
    /// An adapter whose model is not here.
    #[error("{adapter}: an adapter, and {}: name both, as in \"{adapter} on MODEL\"", match .base { Some(base) => format!("{base}, the model it is for, is no path from here"), None => "it does not say which model it is for".to_string() }, adapter = .adapter.display())]
    NoBase {
        /// The adapter's folder.
        adapter: PathBuf,
        /// What it calls its model.
        base: Option<String>,
    },
    /// An adapter was to be attached to a model that has one.
    #[error("{folder}: this model has an adapter of its own, and only one can be attached", folder = .folder.display())]
    TwoAdapters {
        /// The folder of the model.
        folder: PathBuf,
    },
    /// A family whose layers have no place for keys and values in front of those of a text.
    #[error(
        "{family}: attention of this family has no place for a prefix; take the adapter prompt, or another"
    )]
    NoFront {
        /// The family.
        family: &'static str,
    },
    /// Something that virtual tokens in front of each text have no place in.
    #[error(
        "{what}: the virtual tokens that stand in front of each text have no place in it; train another adapter for that"
    )]
    VirtualTokens {
        /// What was to be done.
        what: &'static str,
    },
    /// A model was to be written whose adapter no weights can take up.
    #[error("the adapter of this model changes what its blocks compute, which {what} cannot say: it stays a folder with {base} and {adapter}", base = BASE, adapter = ADAPTER)]
    Grafted {
        /// What was to be written.
        what: &'static str,
    },
    /// A file could not be read.
    #[error("{path}: {reason}", path = .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// `config.json` names a family topwork does not know.
    #[error(
        "config.json: model_type {got:?} is not a family topwork knows ({known}); `topwork list families` describes them"
    )]
    UnknownFamily {
        /// The `model_type` found.
        got: String,
        /// The known ones.
        known: String,
    },
    /// A key of `config.json` is missing or has a value topwork cannot honour.
    #[error("config.json: {key}: expected {expected}, got {got}")]
    Config {
        /// The key.
        key: String,
        /// What would be right.
        expected: String,
        /// What is there.
        got: String,
    },
    /// A head was asked for by a name that does not exist.
    #[error("unknown head {got:?}: known are {known}")]
    UnknownHead {
        /// The name given.
        got: String,
        /// The known ones.
        known: String,
    },
    /// A head that predicts the next word was asked of a family that sees the words to come.
    #[error("the {head} head needs a family that reads from left to right: this one sees the words to come")]
    NotCausal {
        /// The head.
        head: &'static str,
    },
    /// A table of words was asked of a family whose tokens have no numbers of their own.
    #[error("{what} needs a family with a table of words: this one reads words by their characters")]
    NoWords {
        /// What needs it.
        what: &'static str,
    },
    /// A text of a batch has no token.
    #[error(
        "text {text} of the batch (counted from 0) has no token, and nothing to pool: leave it out, or use a tokenizer that puts special tokens around texts"
    )]
    NoTokens {
        /// Its number in the batch.
        text: usize,
    },
    /// A batch lacks the characters of its words.
    #[error(
        "this family reads the characters of words: expected {expected} numbers for {tokens} tokens, got {got}; \
         encode texts with the tokenizer of an ELMo folder (options.json, or tokenizer_class \"ElmoTokenizer\")"
    )]
    NoCharacters {
        /// Tokens of the batch.
        tokens: usize,
        /// Numbers there should be.
        expected: usize,
        /// Numbers there are.
        got: usize,
    },
    /// A batch lacks the pixels of its pictures, or has those of other sizes.
    #[error(
        "this family reads pictures: expected {tokens} tokens a picture with {row} bytes each, got {got} bytes a token; give the \
         paths of pictures, prepared as the model's own {PREPROCESSOR} says"
    )]
    NoPixels {
        /// Tokens of a picture.
        tokens: usize,
        /// Bytes there should be for each.
        row: usize,
        /// Bytes there are for each.
        got: usize,
    },
    /// A head over texts was asked of a family that reads pictures.
    #[error(
        "the {head} head is for texts, and this family reads pictures: what it can learn is to classify pictures, to score them \
         (regress), and to embed them"
    )]
    OnlyPictures {
        /// The head.
        head: &'static str,
    },
    /// The side for pictures was asked of a model without one.
    #[error(
        "{}: its config.json is of no model with a side for pictures (model_type clip, with a vision_config): name the folder \
         without \"{OF_VISION}\"",
        .folder.display()
    )]
    NoVision {
        /// The folder.
        folder: PathBuf,
    },
    /// A head that writes texts was asked of a family without a side that does.
    #[error("the {head} head needs an encoder-decoder: this family has no side that writes texts")]
    NoTarget {
        /// The head.
        head: &'static str,
    },
    /// A model of a family that cannot write beside another was to do so.
    #[error("{family} cannot be the side that writes of two models that became one: {known} can")]
    NoWriter {
        /// The family.
        family: &'static str,
        /// Those that can.
        known: String,
    },
    /// Sources and targets are not equally many.
    #[error("{targets} target texts for {sources} source texts: each source has one target")]
    Batch {
        /// Source texts.
        sources: usize,
        /// Target texts.
        targets: usize,
    },
    /// A text is without the token that stands for it.
    #[error(
        "text {text}: none of its tokens is an end token ({end:?}), whose vector stands for the text; the tokenizer must put one behind each text"
    )]
    NoEnd {
        /// Number of the text in its batch.
        text: usize,
        /// The end tokens.
        end: Vec<u32>,
    },
    /// Texts that are to be held against each other do not fit the loss.
    #[error("example {example} of the batch (counted from 0): expected {expected}, got {got}")]
    Compared {
        /// The example.
        example: usize,
        /// What would be right.
        expected: &'static str,
        /// What is there.
        got: String,
    },
    /// A head that predicts words in any order was asked of a family that cannot.
    #[error("the {head} head needs a family that keeps a place apart from its word (xlnet)")]
    OneStream {
        /// The head.
        head: &'static str,
    },
    /// A memory was asked of a family that has none.
    #[error("this family has no memory of the segments before: it reads each text as a whole")]
    NoMemory,
    /// A segment of other texts than the memory holds.
    #[error("the memory is of {expected} texts, and this segment of {got}")]
    Segment {
        /// Sequences of the memory.
        expected: usize,
        /// Sequences of the segment.
        got: usize,
    },
    /// An order of words that does not fit to its texts.
    #[error("the order of words: expected {expected}, got {got}")]
    Permuted {
        /// What would fit.
        expected: String,
        /// What is there.
        got: String,
    },
    /// Texts cannot be continued with these options.
    #[error("generating: {what}: {reason}")]
    Generate {
        /// The option.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Targets of one kind reached a head of another.
    #[error("the {head} head needs targets of kind {expected}, got {got}")]
    Targets {
        /// The head.
        head: &'static str,
        /// The kind it needs.
        expected: &'static str,
        /// The kind it got.
        got: &'static str,
    },
    /// A setting of a head that does not fit to the encoder, or to another setting.
    #[error("the head's setting {setting}: expected {expected}, got {got}")]
    Setting {
        /// The setting.
        setting: String,
        /// What would be right.
        expected: String,
        /// What is there.
        got: String,
    },
    /// The right texts of questions do not fit the texts.
    #[error("question {question}: expected {expected}, got {got}")]
    Choices {
        /// The number of the question, from 0.
        question: usize,
        /// What would be right.
        expected: String,
        /// What is there.
        got: String,
    },
    /// Places of spans that texts do not have.
    #[error("text {text} of the batch (counted from 0): expected {expected}, got {got}")]
    Spans {
        /// The number of the text.
        text: usize,
        /// What would be right.
        expected: String,
        /// What is there.
        got: String,
    },
    /// Marks of a batch that a head cannot read.
    #[error(
        "the {head} head reads tokens that are marked: in text {text} of the batch (counted from 0) expected {expected}, got {got}"
    )]
    Marks {
        /// The head.
        head: &'static str,
        /// The number of the text.
        text: usize,
        /// What would be right.
        expected: String,
        /// What is there.
        got: String,
    },
    /// Trees were asked of a head that gives none.
    #[error("the {head} head gives no dependency trees: train one with the task parse")]
    NoTrees {
        /// The head.
        head: &'static str,
    },
    /// Scores from which nothing can be chosen.
    #[error(
        "the {head} head scores words of text {text} of the batch (counted from 0) with what is no finite number: its training diverged, or its weights are broken"
    )]
    NoNumber {
        /// The head.
        head: &'static str,
        /// The number of the text.
        text: usize,
    },
    /// A loss over clusters of words was to be weighted or smoothed.
    #[error(
        "the {head} head of this family predicts words in clusters: its loss takes no class weights and no smoothing"
    )]
    PlainLoss {
        /// The head.
        head: &'static str,
    },
    /// A model folder does not say what task its head does.
    #[error("{folder}: this folder holds an encoder without a task head (architectures: {architectures}); train one with `topwork train --model {folder}`", folder = .folder.display())]
    NoHead {
        /// The folder.
        folder: PathBuf,
        /// What `config.json` says.
        architectures: String,
    },
    /// A model whose computation cannot be written as an ONNX graph.
    #[error(
        "{what} cannot be written as an ONNX graph: {reason}; as safetensors or as a model folder it can"
    )]
    NoGraph {
        /// The family or the head.
        what: String,
        /// What stands against it.
        reason: String,
    },
    /// Parameters and layers.
    #[error(transparent)]
    Nn(#[from] topwork_nn::Error),
    /// Weight files and tables.
    #[error(transparent)]
    Weights(#[from] topwork_weights::Error),
}
