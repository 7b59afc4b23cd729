//! An average of the weights in which each step counts less than the one after it; the average is what is measured and saved.
//!
//! Paper: Polyak, Juditsky 1992, "Acceleration of Stochastic Approximation by Averaging", section 2,
//! <https://doi.org/10.1137/0330046>; in the form that decays: Tarvainen, Valpola 2017, "Mean teachers are better role models",
//! section 2 and equation 1, <https://arxiv.org/abs/1703.01780> (there the average also teaches, which it does not here).

use burn::backend::DispatchTensor;
use topwork_nn::{ParamId, ParamStore};

use crate::averages::Averages;
use crate::error::Error;
use crate::plan::{Plan, Progress};
use crate::technique::{OptionSpec, Technique, TechniqueEntry, in_range};

/// The entry in the list.
pub const ENTRY: TechniqueEntry = TechniqueEntry {
    name: "ema",
    summary: "an average of the weights, of which older steps are an ever smaller share, is measured and saved",
    paper: "https://arxiv.org/abs/1703.01780",
    options: &[
        OptionSpec {
            key: "decay",
            about: "what a step leaves of the average before it: 0.99 is about the last 100 steps (default 0.99)",
        },
        OptionSpec { key: "start", about: "share of the steps before averaging begins (default 0)" },
    ],
    apart: &["swa"],
    build: |options, _| {
        let share = |n: f64| (0.0..1.0).contains(&n);
        let decay = in_range(&ENTRY, options, ("decay", 0.99), share, "a decay of at least 0 and below 1")?;
        let start = in_range(&ENTRY, options, ("start", 0.0), share, "a start of at least 0 and below 1")?;
        Ok(Box::new(Ema { share: (1.0 - decay) as f32, start, averages: Averages::default() }))
    },
};

struct Ema {
    /// What a step is of the average after it.
    share: f32,
    start: f64,
    averages: Averages,
}

/// The first step, from zero, after which weights are averaged.
pub(super) fn first(start: f64, total: usize) -> usize {
    (start * total as f64).round() as usize
}

impl Technique for Ema {
    fn after_step(&mut self, done: Progress, plan: &[Plan], store: &ParamStore) -> Result<(), Error> {
        if done.step < first(self.start, done.total) {
            return Ok(());
        }
        self.averages.take_in(self.share, plan, store)
    }

    fn averages(&self) -> Vec<(ParamId, DispatchTensor)> {
        self.averages.values()
    }

    fn restore(&mut self, averages: Vec<(ParamId, DispatchTensor)>, store: &ParamStore) -> Result<(), Error> {
        self.averages.restore(averages, store)
    }
}
