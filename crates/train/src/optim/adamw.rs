//! AdamW: Adam with weight decay that does not pass through the moments.
//!
//! Paper: Loshchilov, Hutter 2019, "Decoupled Weight Decay Regularization", algorithm 2,
//! <https://arxiv.org/abs/1711.05101>; Kingma, Ba 2015, "Adam", algorithm 1, <https://arxiv.org/abs/1412.6980>

use burn::backend::DispatchTensor;
use topwork_kernels::adamw::AdamW as Settings;
use topwork_nn::param::{download, upload};
use topwork_nn::{Gradients, ParamId, ParamKind, ParamStore};

use crate::error::Error;
use crate::options::TrainOptions;
use crate::plan::Plan;

/// Moments of every parameter that has been updated at least once. A parameter thawed late starts its moments and
/// its bias correction at its own first step.
pub struct AdamW {
    settings: Settings,
    decay_all: bool,
    moments: Vec<Option<Moments>>,
}

struct Moments {
    m: DispatchTensor,
    v: DispatchTensor,
    /// Updates so far.
    steps: u64,
}

/// The moments of one parameter as plain values.
pub struct Saved {
    /// First moment, row-major.
    pub m: Vec<f32>,
    /// Second moment, row-major.
    pub v: Vec<f32>,
    /// Updates so far.
    pub steps: u64,
}

impl AdamW {
    /// No moments yet, for a store of `params` parameters.
    pub fn new(options: &TrainOptions, params: usize) -> Self {
        let settings = Settings {
            lr: 0.0,
            beta1: options.beta1,
            beta2: options.beta2,
            eps: options.eps,
            weight_decay: options.weight_decay,
            step: 0,
            grad_scale: 1.0,
        };
        let moments = (0..params).map(|_| None).collect();
        AdamW { settings, decay_all: options.decay_all, moments }
    }

    /// One step over every parameter that has a gradient, at learning rate `lr` times the plan's scale. Gradients
    /// are multiplied by `grad_scale` on the way (clipping). What is measured moves to what the batches showed.
    ///
    /// # Errors
    /// A parameter without values.
    pub fn step(
        &mut self,
        store: &mut ParamStore,
        gradients: &mut Gradients,
        plan: &[Plan],
        lr: f64,
        grad_scale: f64,
    ) -> Result<(), Error> {
        for (id, seen) in gradients.take_observed() {
            store.move_to(id, seen)?;
        }
        for id in (0..store.len()).map(ParamId) {
            let Some(gradient) = gradients.take(id) else { continue };
            let param = store.param(id);
            let decay = self.decay_all || param.kind == ParamKind::Weight;
            let shape = param.shape.clone();
            let before = self.moments[id.0].take().unwrap_or_else(|| {
                let zeros = || upload(vec![0.0; shape.iter().product()], &shape, store.device());
                Moments { m: zeros(), v: zeros(), steps: 0 }
            });
            let settings = Settings {
                lr: lr * plan[id.0].lr_scale,
                step: before.steps + 1,
                grad_scale: grad_scale as f32,
                weight_decay: if decay { self.settings.weight_decay } else { 0.0 },
                ..self.settings
            };
            let value = store.take(id)?;
            let (value, m, v) = topwork_ops::adamw(value, gradient, before.m, before.v, &settings);
            store.put(id, value);
            self.moments[id.0] = Some(Moments { m, v, steps: settings.step });
        }
        Ok(())
    }

    /// The moments of a parameter, if it has been updated.
    ///
    /// # Errors
    /// The device would not give them back.
    pub fn save(&self, id: ParamId, store: &ParamStore) -> Result<Option<Saved>, Error> {
        let Some(moments) = &self.moments[id.0] else { return Ok(None) };
        let param = store.param(id);
        let read = |tensor: &DispatchTensor| {
            download(tensor.clone(), param.shape.len())
                .map_err(|reason| topwork_nn::Error::Device { path: param.path.clone(), reason })
        };
        Ok(Some(Saved { m: read(&moments.m)?, v: read(&moments.v)?, steps: moments.steps }))
    }

    /// Takes saved moments up again.
    pub fn restore(&mut self, id: ParamId, store: &ParamStore, saved: Saved) {
        let shape = &store.param(id).shape;
        let (m, v) = (upload(saved.m, shape, store.device()), upload(saved.v, shape, store.device()));
        self.moments[id.0] = Some(Moments { m, v, steps: saved.steps });
    }
}
