//! Text to token ids with byte offsets, and packed sequences.
