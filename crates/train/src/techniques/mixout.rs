//! Mixout: in each step some of the weights are the pretrained ones, drawn anew, so that what is learnt must do with a part of
//! what has changed.
//!
//! Paper: Lee, Cho, Kang 2020, "Mixout: Effective Regularization to Finetune Large-scale Pretrained Language Models", section 3
//! and equation 3, <https://arxiv.org/abs/1909.11299>. As the authors' code has it, the matrices of the layers are mixed, not
//! biases, norms and embeddings. Differs from that code in that the last depth group (the head, and what goes with it), which
//! has no pretrained weights, is left as it is, and in that the dropout of the model stays what its configuration says.

use std::sync::Arc;

use burn::tensor::Tensor;
use topwork_nn::reparam::{Reparam, together};
use topwork_nn::{ParamId, ParamKind, ParamStore, Pass};

use crate::error::Error;
use crate::plan::{ParamInfo, top};
use crate::technique::{OptionSpec, Technique, TechniqueEntry, in_range};

/// The entry in the list.
pub const ENTRY: TechniqueEntry = TechniqueEntry {
    name: "mixout",
    summary: "in each step some of the layers' weights, drawn anew, are the pretrained ones",
    paper: "https://arxiv.org/abs/1909.11299",
    options: &[OptionSpec {
        key: "p",
        about: "the probability with which a weight is the pretrained one (default 0.7)",
    }],
    apart: &[],
    build: |options, _| {
        let share = |n: f64| (0.0..1.0).contains(&n);
        let p = in_range(&ENTRY, options, ("p", 0.7), share, "a probability of at least 0 and below 1")?;
        Ok(Box::new(Mixout { p: p as f32 }))
    },
};

struct Mixout {
    p: f32,
}

/// Whether the weights of a parameter are mixed, should they be a matrix.
fn mixes(param: &ParamInfo, top: usize) -> bool {
    param.group > 0 && param.group < top && param.kind == ParamKind::Weight
}

impl Technique for Mixout {
    fn acts_on(&self, param: &ParamInfo, top: usize) -> bool {
        mixes(param, top)
    }

    fn begin(&mut self, params: &[ParamInfo], store: &mut ParamStore) -> Result<(), Error> {
        let top = top(params);
        for (id, param) in params.iter().enumerate().filter(|(_, param)| mixes(param, top)) {
            let id = ParamId(id);
            if store.param(id).shape.len() != 2 {
                continue;
            }
            if store.param(id).reparam().is_some() {
                return Err(Error::Taken { technique: "mixout", path: param.path.clone() });
            }
            let start = Tensor::from_dispatch(store.tensor(id)?);
            let site = format!("mixout {}", param.path);
            store.attach(id, Arc::new(Mixed { id, site, p: self.p, start }));
        }
        Ok(())
    }
}

/// A matrix of which a part is another one while it learns.
#[derive(Debug)]
struct Mixed {
    id: ParamId,
    /// What its draws are named by.
    site: String,
    p: f32,
    /// The pretrained matrix.
    start: Tensor<2>,
}

impl Reparam for Mixed {
    /// `start + dropout(value - start)`: the same as mixing and dividing what is left by `1 - p`, so that the mean over draws
    /// is `value`.
    fn matrix(&self, pass: &Pass, value: Tensor<2>) -> Result<Tensor<2>, topwork_nn::Error> {
        if !pass.learns(self.id) {
            return Ok(value);
        }
        let (value, start) = together(value, self.start.clone());
        let moved = topwork_ops::dropout(value - start.clone(), pass.dropout(self.p, &self.site));
        Ok(start + moved)
    }

    fn only_in_training(&self) -> bool {
        true
    }
}
