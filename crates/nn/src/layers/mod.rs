//! Layers: each declares its parameters at a path and computes with what a [`crate::Pass`] hands out.

mod batch_norm;
mod embeddings;
mod encoder_layer;
mod encoder_tail;
mod linear;
mod lstm;
mod norm;
mod rms_norm;

pub use batch_norm::BatchNorm;
pub use embeddings::{Embeddings, EmbeddingsConfig};
pub use encoder_layer::{EncoderLayer, EncoderLayerConfig};
pub use encoder_tail::EncoderTail;
pub use linear::Linear;
pub use lstm::Lstm;
pub use norm::LayerNorm;
pub use rms_norm::RmsNorm;
