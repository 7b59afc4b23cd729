//! Named points inside blocks, where adapters write, probes read and patching replaces.

use burn::tensor::Tensor;

/// Where in a model a [`Tap`] is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Site {
    /// The embeddings after their norm and dropout; the layer number is 0.
    Embedded,
    /// The output of the attention block of a layer, after its norm.
    AfterAttention,
    /// The output of the block of a target's layer that looks at the source, after its norm.
    AfterAcross,
    /// The output of the whole layer, after its norm if it ends in one.
    BlockOutput,
    /// What all layers together give, after the norm that some families have behind the last layer; the layer number is
    /// that of the last layer.
    Final,
}

/// Something attached at the seams of a model from outside. It sees `x` of shape `[tokens, hidden]` and returns
/// what the model goes on with: `x` itself to read only, another tensor of the same shape to replace it.
pub trait Tap {
    /// Called once a site, a layer and a pass.
    fn at(&self, site: Site, layer: usize, x: Tensor<2>) -> Tensor<2>;
}
