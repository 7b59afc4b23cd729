//! Hidden states are held near those of the model as it was: what each layer says of a text shall not change more than needed.
//!
//! Paper: Li et al. 2019, "DELTA: DEep Learning Transfer using Feature Map with Attention for Convolutional Networks", section 3
//! and equation 4, <https://arxiv.org/abs/1901.09229>. Differs from the paper in that all of a state counts alike: there are no
//! weights by how much a feature matters. The same loss from another teacher is the one of hidden states in Jiao et al. 2020,
//! "TinyBERT", equation 8, <https://arxiv.org/abs/1909.10351>.

use std::cell::RefCell;

use burn::tensor::Tensor;
use topwork_nn::{ParamStore, Pass, Site, Tap};

use crate::error::Error;
use crate::plan::ParamInfo;
use crate::task::Task;
use crate::technique::{OptionSpec, Technique, TechniqueEntry, in_range};
use crate::view::{Looked, View};

/// The entry in the list.
pub const ENTRY: TechniqueEntry = TechniqueEntry {
    name: "hold",
    summary: "the hidden states of each layer are held near those of the pretrained model",
    paper: "https://arxiv.org/abs/1901.09229",
    options: &[OptionSpec { key: "beta", about: "how strongly they are held (default 1)" }],
    apart: &["r-drop", "r3f"],
    build: |options, _| {
        let beta = in_range(&ENTRY, options, ("beta", 1.0), |n| n >= 0.0, "a beta of at least 0")?;
        Ok(Box::new(Hold { beta: beta as f32, original: None, states: States::default() }))
    },
};

struct Hold {
    beta: f32,
    /// The pretrained model.
    original: Option<ParamStore>,
    states: States,
}

/// What layers gave, in order.
#[derive(Default)]
struct States(RefCell<Vec<Tensor<2>>>);

impl Tap for States {
    fn at(&self, site: Site, _: usize, x: Tensor<2>) -> Tensor<2> {
        if site == Site::BlockOutput {
            self.0.borrow_mut().push(x.clone());
        }
        x
    }
}

impl Technique for Hold {
    fn acts_on(&self, param: &ParamInfo, top: usize) -> bool {
        param.group < top
    }

    fn begin(&mut self, _: &[ParamInfo], store: &mut ParamStore) -> Result<(), Error> {
        self.original = Some(store.as_it_is());
        Ok(())
    }

    fn view(&self) -> Option<&dyn View> {
        Some(self)
    }
}

impl View for Hold {
    fn check(&self, task: &dyn Task, recompute: bool) -> Result<(), Error> {
        let fail = |expected: &'static str, got: &str| {
            Err(Error::Option { name: "hold", expected, got: got.to_string() })
        };
        if recompute {
            // The states inside of segments are not kept, and have no way back.
            return fail("layers whose states are kept", "recompute");
        }
        if !task.fixed() {
            return fail("texts that are the same each time", "a task that draws a part of each text anew");
        }
        Ok(())
    }

    fn tap(&self, _: u64) -> Option<&dyn Tap> {
        self.states.0.take();
        Some(&self.states)
    }

    fn look(&self, task: &dyn Task, pass: &Pass, examples: &[usize]) -> Result<Looked, Error> {
        let loss = task.loss(pass, examples)?;
        let (before, states) = (States::default(), self.states.0.take());
        if let Some(original) = &self.original {
            task.loss(&Pass::eval(original, pass.precision()).with_tap(&before), examples)?;
        }
        let before = before.0.take();
        let layers = states.len().max(1) as f32;
        let mut term = Tensor::zeros([1], &loss.loss.device());
        for (now, before) in states.into_iter().zip(before).filter(|(now, _)| now.is_tracked()) {
            let apart = (now - before.autodiff()).square().mean().mul_scalar(self.beta / layers);
            term = if term.is_tracked() { term + apart } else { apart };
        }
        Ok(Looked { loss, term })
    }
}
