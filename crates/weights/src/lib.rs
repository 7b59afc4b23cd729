//! Weight files in and out, and the tables that name their tensors.
//!
//! A family of models states once, as data, how the tensors of a published checkpoint are called and where
//! they belong here ([`Table`]). [`load`] reads that table forwards, [`export`] backwards, so what was
//! loaded can be written again under its old names. Nothing is skipped in silence: [`LoadReport`] counts
//! every tensor that was loaded, ignored (with the reason) or left to be initialised fresh.
//!
//! Files of static word vectors, which are no checkpoints, have a list of their own in [`vectors`].
//!
//! Weights are plain `f32` vectors here; this crate knows nothing of tensors or devices.
//!
//! ```
//! use topwork_weights::{Op, Table};
//! const TABLE: Table = Table {
//!     rules: &[("{base}layer.{i}.output.dense.weight", "layers.{i}.ffn.down.weight", Op::Keep)],
//!     prefixes: &["bert.", ""],
//!     ..Table::EMPTY
//! };
//! let import = TABLE.import("layer.3.output.dense.weight")?;
//! assert_eq!(import.path(), Some("layers.3.ffn.down.weight"));
//! assert_eq!(TABLE.export("layers.3.ffn.down.weight")?.0, "bert.layer.3.output.dense.weight");
//! # Ok::<(), topwork_weights::Error>(())
//! ```

pub mod atomic;
mod block;
mod bounded;
mod checkpoint;
mod convert;
mod cursor;
mod error;
pub mod folder;
pub mod format;
pub mod gguf;
pub mod hdf5;
mod input;
pub mod llama2c;
mod load;
mod names;
pub mod npz;
pub mod onnx;
mod pattern;
mod protobuf;
pub mod pytorch;
mod renamed;
mod report;
pub mod safetensors;
mod source;
mod strided;
mod table;
pub mod tensorflow;
mod tensorflow_names;
pub mod vectors;
mod zip;

pub use checkpoint::Checkpoint;
pub use error::Error;
pub use folder::ModelFolder;
pub use format::{FORMATS, Format, TensorFile};
pub use gguf::Gguf;
pub use hdf5::Hdf5File;
pub use load::{Param, Request, export, load};
pub use names::{Names, Side};
pub use onnx::Onnx;
pub use pattern::Pattern;
pub use renamed::{Change, Renamed};
pub use report::LoadReport;
pub use safetensors::{Named, SafeTensorsFile};
pub use table::{Import, Op, Rule, Table};
pub use tensorflow::TensorflowCheckpoint;
pub use tensorflow_names::TensorflowNames;
pub use vectors::{VECTOR_FORMATS, VectorFormat, WordVectors};
