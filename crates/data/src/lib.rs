//! Files to examples, splits and packed batches.
