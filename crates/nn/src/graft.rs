//! The ends of blocks, where adapters of hidden states attach from outside.
//!
//! A block is attention or feed-forward: a few maps whose result is added to what went into them. [`BlockEnd`] is that sum, in every
//! layer of every family; a [`Graft`] on the last map of the block changes what is added.

use burn::tensor::Tensor;
use topwork_kernels::rng::Dropout;

use crate::error::Error;
use crate::layers::{LayerNorm, Linear};
use crate::pass::Pass;
use crate::reparam::together;

/// Something attached to the end of a block, with parameters of its own, which it asks the pass for.
///
/// It is attached to the weight of the block's last map ([`ParamStore::graft`](crate::ParamStore::graft)), so no layer knows of it,
/// and layers that share their weights share it.
pub trait Graft: std::fmt::Debug + Send + Sync {
    /// What is added to `before` in place of `added`.
    ///
    /// # Shapes
    /// - `added`: what the block made, after dropout; it, `before` (what went into the block, before any norm of it) and the
    ///   result: `[tokens, hidden]`; `norm`: that of the sum, in a layer that has its norms after the sums
    ///
    /// # Errors
    /// A parameter without values.
    fn added(
        &self,
        pass: &Pass,
        added: Tensor<2>,
        before: &Tensor<2>,
        norm: Option<&LayerNorm>,
    ) -> Result<Tensor<2>, Error>;
}

/// What a block ends in: the sum of what it made and of what went into it.
///
/// # Shapes
/// - `added`, `before` and both sums: `[tokens, hidden]`
pub struct BlockEnd<'a> {
    /// The last map of the block, which made `added`.
    pub last: &'a Linear,
    /// What the block made.
    pub added: Tensor<2>,
    /// What went into it, before any norm of it.
    pub before: Tensor<2>,
    /// What is dropped of `added`.
    pub dropout: Option<Dropout>,
}

impl BlockEnd<'_> {
    /// `before + dropout(added)`: the end of a block with its norm in front.
    ///
    /// # Errors
    /// A parameter of what is attached has no values.
    pub fn sum(self, pass: &Pass) -> Result<Tensor<2>, Error> {
        let BlockEnd { last, added, before, dropout } = self;
        let added = topwork_ops::dropout(added, dropout);
        let added = match pass.graft(last.weight) {
            None => added,
            Some(graft) => graft.added(pass, added, &before, None)?,
        };
        // Frozen layers below what learns give a plain tensor, to which one with a graph is added.
        let (before, added) = together(before, added);
        Ok(before + added)
    }

    /// `norm(before + dropout(added))`: the end of a block with its norm behind. One operation, where nothing is attached.
    ///
    /// # Errors
    /// A parameter has no values.
    pub fn normed(self, pass: &Pass, norm: &LayerNorm) -> Result<Tensor<2>, Error> {
        let BlockEnd { last, added, before, dropout } = self;
        match pass.graft(last.weight) {
            None => norm.forward_residual(pass, added, before, dropout),
            Some(graft) => {
                let added = topwork_ops::dropout(added, dropout);
                let added = graft.added(pass, added, &before, Some(norm))?;
                norm.forward_residual(pass, added, before, None)
            }
        }
    }
}
