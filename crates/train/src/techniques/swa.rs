//! The plain mean of the weights over the end of a run, which is what is measured and saved.
//!
//! Paper: Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima and Better Generalization", section 3.2 and algorithm
//! 1, <https://arxiv.org/abs/1803.05407>. There the rate is constant or goes in cycles while weights are averaged: choose a
//! schedule for that. Differs from the paper in that statistics of batches, in the few families that have them, are those of the
//! last step and not computed anew.

use burn::backend::DispatchTensor;
use topwork_nn::{ParamId, ParamStore};

use crate::averages::Averages;
use crate::error::Error;
use crate::plan::{Plan, Progress};
use crate::technique::{OptionSpec, Technique, TechniqueEntry, in_range};
use crate::techniques::ema::first;

/// The entry in the list.
pub const ENTRY: TechniqueEntry = TechniqueEntry {
    name: "swa",
    summary: "the mean of the weights over the end of the run is measured and saved",
    paper: "https://arxiv.org/abs/1803.05407",
    options: &[
        OptionSpec { key: "start", about: "share of the steps before averaging begins (default 0.75)" },
        OptionSpec { key: "every", about: "steps from one set of weights to the next (default 10)" },
    ],
    apart: &["ema"],
    build: |options, _| {
        let share = |n: f64| (0.0..1.0).contains(&n);
        let start = in_range(&ENTRY, options, ("start", 0.75), share, "a start of at least 0 and below 1")?;
        let whole = |n: f64| n >= 1.0 && n.fract() == 0.0;
        let every =
            in_range(&ENTRY, options, ("every", 10.0), whole, "every as a whole number of at least 1")?;
        Ok(Box::new(Swa { start, every: every as usize, averages: Averages::default() }))
    },
};

struct Swa {
    start: f64,
    every: usize,
    averages: Averages,
}

impl Technique for Swa {
    fn after_step(&mut self, done: Progress, plan: &[Plan], store: &ParamStore) -> Result<(), Error> {
        let Some(since) = done.step.checked_sub(first(self.start, done.total)) else { return Ok(()) };
        if !since.is_multiple_of(self.every) {
            return Ok(());
        }
        let share = 1.0 / (since / self.every + 1) as f64;
        self.averages.take_in(share as f32, plan, store)
    }

    fn averages(&self) -> Vec<(ParamId, DispatchTensor)> {
        self.averages.values()
    }

    fn restore(&mut self, averages: Vec<(ParamId, DispatchTensor)>, store: &ParamStore) -> Result<(), Error> {
        self.averages.restore(averages, store)
    }
}
