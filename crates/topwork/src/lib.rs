//! Transfer learning for language: take a pretrained model, make it do a new job, prove how well it does.

pub mod corpus;
pub mod hub;
pub mod report;
