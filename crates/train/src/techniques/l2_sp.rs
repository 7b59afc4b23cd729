//! L2-SP: weights are pulled back to where pretraining left them.
//!
//! Paper: Li, Grandvalet, Davoine 2018, "Explicit Inductive Bias for Transfer Learning with Convolutional Networks",
//! section 3.2 and equation 4, <https://arxiv.org/abs/1802.01483>

use burn::backend::DispatchTensor;
use topwork_nn::{Gradients, ParamId, ParamStore};

use crate::error::Error;
use crate::plan::{ParamInfo, Plan, top};
use crate::technique::{OptionSpec, Technique, TechniqueEntry, matched, number};
use crate::values::{add_to, pull};

/// The entry in the list.
pub const ENTRY: TechniqueEntry = TechniqueEntry {
    name: "l2-sp",
    summary: "weights are pulled back to the pretrained ones, those of the head to zero",
    paper: "https://arxiv.org/abs/1802.01483",
    options: &[
        OptionSpec { key: "alpha", about: "how strongly the encoder is pulled back (default 0.01)" },
        OptionSpec { key: "beta", about: "how strongly the head is pulled to zero (default 0.01)" },
        OptionSpec { key: "of", about: "patterns of the parameters that are pulled (default all)" },
    ],
    apart: &[],
    build: |options, params| {
        let strength = |key| {
            let strength = number(&ENTRY, options, key, 0.01)?;
            if strength < 0.0 {
                let (expected, got) = ("alpha and beta of at least 0", strength.to_string());
                return Err(Error::Option { name: "l2-sp", expected, got });
            }
            Ok(strength as f32)
        };
        let (alpha, beta) = (strength("alpha")?, strength("beta")?);
        let pulled = match options.get("of") {
            None => vec![true; params.len()],
            Some(_) => matched(&ENTRY, options, "of", params)?,
        };
        Ok(Box::new(L2Sp { alpha, beta, top: top(params), pulled, start: Vec::new() }))
    },
};

/// Adds `alpha / 2 · |w - w0|²` over the encoder and `beta / 2 · |w|²` over the head to the loss: as gradients, since nothing
/// else of the loss depends on it. Biases and norms are pulled as weights are, which the paper does too.
struct L2Sp {
    alpha: f32,
    beta: f32,
    top: usize,
    /// Of each parameter, whether it is one of those that are pulled.
    pulled: Vec<bool>,
    /// The pretrained values of the encoder.
    start: Vec<Option<DispatchTensor>>,
}

impl Technique for L2Sp {
    fn acts_on(&self, param: &ParamInfo, top: usize) -> bool {
        if param.group < top { self.alpha > 0.0 } else { self.beta > 0.0 }
    }

    fn begin(&mut self, params: &[ParamInfo], store: &mut ParamStore) -> Result<(), Error> {
        let start = |(id, param): (usize, &ParamInfo)| {
            let kept = self.pulled[id] && param.group < self.top && param.kind.learns() && self.alpha > 0.0;
            kept.then(|| store.tensor(ParamId(id))).transpose()
        };
        self.start = params.iter().enumerate().map(start).collect::<Result<_, _>>()?;
        Ok(())
    }

    fn after_backward(
        &self,
        params: &[ParamInfo],
        plan: &[Plan],
        store: &ParamStore,
        gradients: &mut Gradients,
    ) -> Result<(), Error> {
        for (at, (param, plan)) in params.iter().zip(plan).enumerate() {
            let id = ParamId(at);
            if !plan.train || !param.kind.learns() {
                continue;
            }
            let (start, strength) = match self.start.get(at).and_then(Option::as_ref) {
                Some(start) => (Some(start.clone()), self.alpha),
                None if self.pulled[at] && param.group == self.top && self.beta > 0.0 => (None, self.beta),
                None => continue,
            };
            let back = pull(store.tensor(id)?, start, strength, store.param(id).shape.len());
            add_to(gradients, id, back, store);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use serde_json::json;
    use topwork_nn::{Init, ParamKind};

    use super::*;

    #[test]
    fn only_what_matches_is_pulled() {
        let mut store = ParamStore::new(&Device::flex());
        for (group, path) in ["layers.0.a.weight", "layers.0.b.weight", "head.out.weight"].iter().enumerate()
        {
            let group = if group == 2 { 2 } else { 1 };
            let id = store.declare(path, &[2, 2], group, ParamKind::Weight, Init::Normal(0.5));
            store.initialise(id, 3).unwrap();
        }
        let params = ParamInfo::of(&store);
        let pulled = |options| -> Vec<bool> {
            let mut technique = (ENTRY.build)(&options, &params).unwrap();
            let mut store = store.as_it_is();
            technique.begin(&params, &mut store).unwrap();
            let mut gradients = Gradients::none(3);
            let plan = vec![Plan::default(); 3];
            technique.after_backward(&params, &plan, &store, &mut gradients).unwrap();
            (0..3).map(|at| gradients.get(ParamId(at)).is_some()).collect()
        };
        assert_eq!(pulled(json!({})), [true, true, true]);
        assert_eq!(pulled(json!({"of": ["layers.0.a"], "beta": 0})), [true, false, false]);
        assert_eq!(pulled(json!({"of": ["**.weight"], "beta": 0})), [true, true, false]);
        let wrong = |options| (ENTRY.build)(&options, &params).err().unwrap().to_string();
        assert!(wrong(json!({"of": ["layers.7"]})).contains("layers.7"));
        assert!(wrong(json!({"of": "layers"})).contains("list of path patterns"));
    }
}
