//! The topwork program.
fn main() {}
