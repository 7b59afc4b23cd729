//! `--precision`: how matrix products are computed.

use clap::ValueEnum;
use topwork_kernels::Precision;

/// Precision of the inputs of matrix products; sums, weights and moments are 32-bit always.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PrecisionName {
    /// 32-bit inputs
    F32,
    /// 16-bit brain floats: faster where the CPU multiplies them
    Bf16,
}

impl PrecisionName {
    /// For the library.
    pub fn kernel(self) -> Precision {
        match self {
            PrecisionName::F32 => Precision::F32,
            PrecisionName::Bf16 => Precision::Bf16,
        }
    }

    /// As recipes write it.
    pub fn name(self) -> &'static str {
        match self {
            PrecisionName::F32 => "f32",
            PrecisionName::Bf16 => "bf16",
        }
    }

    /// What is best on this CPU.
    pub fn best() -> Self {
        if Precision::native_bf16() { PrecisionName::Bf16 } else { PrecisionName::F32 }
    }

    /// What was asked for, or what is best on this CPU.
    pub fn or_best(chosen: Option<Self>) -> Precision {
        chosen.unwrap_or_else(Self::best).kernel()
    }
}
