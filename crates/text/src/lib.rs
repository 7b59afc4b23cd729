//! Text to token ids with byte offsets, and packed sequences.
//!
//! A [`Tokenizer`] is read from a HuggingFace folder, whatever form its files have, and never pads or truncates on
//! its own: a limit is an argument of each call, and what it cut is counted in the [`Encoding`]. Encodings are laid
//! end to end in a [`Packed`] batch. A [`ChatTemplate`] turns messages into the text of a prompt.
//! [`Tokenizer::encode_lines`] and [`Tokenizer::ids_of_lines`] are for files larger than memory.

pub mod characters;
mod chat;
mod encode;
mod encoding;
mod error;
mod fast;
mod formats;
mod guard;
mod lines;
mod marks;
mod packed;
pub mod pictures;
mod save;
mod settings;
mod special;
mod tokenizer;
mod tokens;

pub use chat::{ChatTemplate, Message};
pub use encode::Input;
pub use encoding::{Encoding, Origin};
pub use error::{Error, Result};
pub use formats::GgufParts;
pub use lines::{LineEncodings, LineIds, TokenIds};
pub use marks::Marks;
pub use packed::Packed;
pub use special::SpecialTokens;
pub use tokenizer::{Tokenizer, WordToken};
