//! Weight files in and out, and the tables that name their tensors.
