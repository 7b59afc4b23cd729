//! Comparators, gradient checks and golden files for tests.
