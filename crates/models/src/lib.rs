//! Model families and heads.
//!
//! A *family* ([`FAMILIES`]) turns packed token ids into hidden states; a *head* ([`HEADS`]) turns hidden states
//! into what a task needs, and its loss. Every family works with every head: N families and M heads, never a
//! type for each pair. [`Model`] is one of each over one parameter store.

pub mod adapted;
pub mod adaptive;
pub mod buckets;
pub mod causal;
pub mod config;
pub mod disentangled;
pub mod distance;
pub mod encoder_decoder;
pub mod error;
pub mod families;
pub mod family;
pub mod generate;
pub mod head;
pub mod heads;
pub mod joined;
pub mod learned_positions;
pub mod loss_options;
pub mod model;
pub mod onnx;
pub mod patches;
pub mod post_norm;
pub mod recurrent;
pub mod relative;
pub mod rope;
pub mod saved;
pub mod sentence;
pub mod source;
pub mod stack;
pub mod states;
pub mod tagging;
pub mod target;
pub mod trees;

pub use error::Error;
pub use family::{
    ClassifierStyle, Decoder, DenseStyle, Encoder, FAMILIES, Family, LanguageModelStyle, SegmentReader, Size,
    TwoStreams, family,
};
pub use head::{
    Body, Compared, EmbedDense, Groups, HEADS, Head, HeadEntry, HeadSpec, LossOptions, Members, Permuted,
    Pooling, Slices, SpanRow, Targets, VectorLoss, VectorLossKind,
};
pub use model::{Model, SaveOptions};
pub use source::Source;
pub use states::Layers;
pub use target::{Sources, Start, TargetSide, TargetStyle};
