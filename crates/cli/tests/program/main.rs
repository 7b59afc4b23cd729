//! The real program on small inputs: what a user types, and what comes of it. Nothing here touches the network.

#![allow(clippy::unwrap_used)] // in a test a panic is the report

mod adapting;
mod aligning;
mod averaging;
mod bad_data;
mod bad_models;
mod bench;
mod comparing;
mod few_labels;
mod full_disk;
mod generating;
mod glue;
mod holding;
mod interrupted;
mod labelling;
mod looking;
mod planning;
mod predicting;
mod searching;
mod seeds;
mod stage;
mod structure;
mod talking;
mod training;
mod transferring;
mod vectors;
