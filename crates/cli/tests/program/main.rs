//! The real program on small inputs: what a user types, and what comes of it. Nothing here touches the network.

mod bad_data;
mod bad_models;
mod full_disk;
mod interrupted;
mod looking;
mod predicting;
mod stage;
mod training;
