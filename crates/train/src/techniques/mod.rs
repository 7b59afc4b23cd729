//! One technique a file.

pub mod freeze;
