//! Between the pretrained and the fine-tuned weights: after the last step, several points of the line from the ones to the
//! others are measured on the development data, and the best weights of the run are kept.
//!
//! Paper: Wortsman et al. 2022, "Robust fine-tuning of zero-shot models", section 3 and equation 1,
//! <https://arxiv.org/abs/2109.01903>. Differs from the paper in that there is no head before fine-tuning: the last depth group
//! (the head, and what goes with it) is the fine-tuned one at every point.

use burn::backend::DispatchTensor;
use topwork_nn::{ParamId, ParamStore};

use crate::error::Error;
use crate::plan::{ParamInfo, top};
use crate::technique::{OptionSpec, Technique, TechniqueEntry, numbers};
use crate::values::between;

/// The entry in the list.
pub const ENTRY: TechniqueEntry = TechniqueEntry {
    name: "wise-ft",
    summary: "after training, weights between the pretrained and the trained ones are measured, and the best kept",
    paper: "https://arxiv.org/abs/2109.01903",
    options: &[OptionSpec {
        key: "alphas",
        about: "a list of shares of the trained weights that are tried (default 0.1, 0.2 to 0.9)",
    }],
    apart: &[],
    build: |options, _| {
        let share = |alpha: f64| (0.0..=1.0).contains(&alpha);
        let given = numbers(&ENTRY, options, "alphas", share, "alphas as a list of numbers from 0 to 1")?;
        let alphas = given.unwrap_or_else(|| (1..10).map(|tenth| f64::from(tenth) / 10.0).collect());
        Ok(Box::new(WiseFt { alphas, start: Vec::new() }))
    },
};

struct WiseFt {
    alphas: Vec<f64>,
    /// The pretrained values, of what lies below the last depth group.
    start: Vec<Option<DispatchTensor>>,
}

impl Technique for WiseFt {
    fn acts_on(&self, param: &ParamInfo, top: usize) -> bool {
        param.group < top
    }

    fn begin(&mut self, params: &[ParamInfo], store: &mut ParamStore) -> Result<(), Error> {
        let top = top(params);
        let start = |(id, param): (usize, &ParamInfo)| {
            (param.group < top && param.kind.learns()).then(|| store.tensor(ParamId(id))).transpose()
        };
        self.start = params.iter().enumerate().map(start).collect::<Result<_, _>>()?;
        Ok(())
    }

    fn variants(&self) -> Vec<String> {
        self.alphas.iter().map(|alpha| format!("wise-ft {alpha}")).collect()
    }

    fn variant(&self, number: usize, store: &ParamStore) -> Result<Vec<(ParamId, DispatchTensor)>, Error> {
        let alpha = self.alphas[number] as f32;
        let mut values = Vec::new();
        for (id, start) in self.start.iter().enumerate() {
            let (id, Some(start)) = (ParamId(id), start) else { continue };
            let rank = store.param(id).shape.len();
            values.push((id, between(start.clone(), store.tensor(id)?, alpha, rank)));
        }
        Ok(values)
    }
}
