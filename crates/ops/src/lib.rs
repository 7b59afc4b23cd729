//! Differentiable operations: Burn backend extensions over the CPU kernels, composed bodies elsewhere.
