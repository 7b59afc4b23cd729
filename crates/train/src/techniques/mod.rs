//! One technique a file.

pub mod bitfit;
pub mod freeze;
pub mod l2_sp;
pub mod layer_decay;
pub mod only;
pub mod unfreeze;
