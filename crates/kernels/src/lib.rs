//! Loops on slices: matrix products, attention, norms, optimizer passes, chosen by CPU feature.
