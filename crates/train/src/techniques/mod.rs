//! One technique a file.

pub mod adapter_drop;
pub mod bitfit;
pub mod ema;
pub mod ewc;
pub mod freeze;
pub mod hold;
pub mod l2_sp;
pub mod layer_decay;
pub mod mixout;
pub mod only;
pub mod r3f;
pub mod r_drop;
pub mod reinit;
pub mod swa;
pub mod unfreeze;
pub mod wise_ft;
