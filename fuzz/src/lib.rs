//! What the fuzz targets share: a folder to put files into, and readers that look at everything a file says it has.
//!
//! A target never looks at errors: a file may be refused. What counts is that nothing panics, hangs or takes memory that the
//! file does not back.

mod archive;
mod caught;
mod files;
mod gguf;
mod pytorch;
mod tensors;
mod texts;

pub use archive::stored;
pub use caught::caught;
pub use files::Folder;
pub use gguf::{Parts, gguf};
pub use pytorch::pytorch;
pub use tensors::{read_all, vectors};
pub use texts::{TEXTS, chat, encode_all, rows};
