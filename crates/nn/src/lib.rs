//! Parameters by path, the pass over them, layers and losses.
