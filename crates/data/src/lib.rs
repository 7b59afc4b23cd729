//! Files to examples, splits and packed batches.
//!
//! [`read`] turns a file into a [`Dataset`] and says what it chose and what it left out; [`split`](split::split)
//! keeps duplicates on one side; [`Inputs`] tokenizes; [`Sampler`] says which examples make a batch. What is larger than memory
//! stays on disk in a [`corpus`].

mod batches;
mod class_weights;
pub mod corpus;
mod dataset;
mod duplicates;
mod encoder;
mod error;
mod inputs;
mod ipc;
mod labels;
mod lengths;
mod options;
mod read;
mod report;
mod split;
mod splits;
pub mod tags;
mod token_cache;
mod words;
mod write;

pub use batches::{BatchSize, Sampler};
pub use class_weights::ClassWeights;
pub use dataset::{Answer, Dataset, Example, Exchange, Label, Node, Related, TaggedWord};
pub use duplicates::{Duplicates, GroupCache, LeakReport, Match, NearOptions, duplicates, leaks};
pub use encoder::{CacheUse, Encoder};
pub use error::{Error, Result};
pub use inputs::{Batch, Inputs};
pub use labels::{LabelMap, Labels, Ragged};
pub use lengths::{Bin, Cut, LengthReport};
pub use options::{Format, ReadOptions, Task, Unit};
pub use read::{Texts, read, read_from, texts};
pub use report::{ChosenColumn, ReadReport, Skipped};
pub use split::{Split, SplitOptions, SplitReport, few, split};
pub use splits::{Splits, splits_of};
pub use token_cache::TokenCache;
pub use words::words;
pub use write::{Column, Table, TableFormat, write_arrow, write_npy};
