//! What happens to each parameter at a step.

use topwork_nn::ParamStore;

/// One named parameter, as techniques see it.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamInfo {
    /// Dotted path.
    pub path: String,
    /// Depth group, 0 = embeddings, last = head.
    pub group: usize,
}

impl ParamInfo {
    /// Every parameter of a store, in its order.
    pub fn of(store: &ParamStore) -> Vec<Self> {
        store.iter().map(|(_, p)| ParamInfo { path: p.path.clone(), group: p.group }).collect()
    }
}

/// What the optimizer will do to one parameter at one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// False = frozen: no gradient is computed, no update applied.
    pub train: bool,
    /// Multiplies the learning rate.
    pub lr_scale: f64,
}

impl Default for Plan {
    fn default() -> Self {
        Plan { train: true, lr_scale: 1.0 }
    }
}

/// Where training stands: besides the parameter table the only thing a plan may depend on, so that resuming
/// needs no state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Epoch, counted from zero.
    pub epoch: usize,
    /// Optimizer step, counted from zero.
    pub step: usize,
    /// Optimizer steps of the whole run.
    pub total: usize,
}
