//! Parameters by path, the pass over them, layers and losses.
//!
//! A model is a list of parameters in a [`ParamStore`] and code that asks a [`Pass`] for them. The pass knows
//! whether gradients are wanted, at which precision products run, and what is attached at the [`seam`]s; layers
//! know none of that, and no layer knows a model.

mod across;
pub mod cache;
pub mod error;
pub mod extension;
pub mod front;
pub mod gradient;
pub mod graft;
pub mod init;
pub mod layers;
pub mod loss;
pub mod memory;
mod packs;
pub mod param;
pub mod pass;
pub mod pattern;
pub mod reparam;
pub mod seam;
mod stored;

pub use across::KeysValues;
pub use cache::{AttentionStyle, Cache, Context, DistanceBias, State};
pub use error::Error;
pub use extension::Extension;
pub use front::{Front, Fronted};
pub use graft::{BlockEnd, Graft};
pub use init::Init;
pub use memory::{Joined, Keep, Memory};
pub use param::{Param, ParamId, ParamKind, ParamStore};
pub use pass::{Gradients, Pass};
pub use pattern::Pattern;
pub use reparam::Reparam;
pub use seam::{Site, Tap};
