//! Layers: each declares its parameters at a path and computes with what a [`crate::Pass`] hands out.

mod embeddings;
mod encoder_layer;
mod linear;
mod norm;
mod rms_norm;

pub use embeddings::{Embeddings, EmbeddingsConfig};
pub use encoder_layer::{EncoderLayer, EncoderLayerConfig};
pub use linear::Linear;
pub use norm::LayerNorm;
pub use rms_norm::RmsNorm;
