//! Checks, benches and fixtures.
fn main() {}
