//! One family a file.

pub mod bert;
pub mod distilbert;
pub mod roberta;
