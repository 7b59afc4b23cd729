//! R-Drop: a batch goes through the model twice under other dropout, and both answers shall be the same.
//!
//! Paper: Liang et al. 2021, "R-Drop: Regularized Dropout for Neural Networks", section 2.1 and equations 1 to 4,
//! <https://arxiv.org/abs/2106.14448>. As the authors' code has it, the loss is the mean of both passes and not their sum.

use topwork_nn::Pass;

use crate::error::Error;
use crate::task::{BatchLoss, Task};
use crate::technique::{OptionSpec, Technique, TechniqueEntry, in_range};
use crate::view::{Looked, View, answers_twice};

/// The entry in the list.
pub const ENTRY: TechniqueEntry = TechniqueEntry {
    name: "r-drop",
    summary: "a batch is seen twice under other dropout, and both answers are drawn to each other",
    paper: "https://arxiv.org/abs/2106.14448",
    options: &[OptionSpec {
        key: "alpha",
        about: "how strongly answers are drawn to each other (default 1)",
    }],
    apart: &["r3f", "hold"],
    build: |options, _| {
        let right = |n: f64| n >= 0.0;
        let alpha = in_range(&ENTRY, options, ("alpha", 1.0), right, "an alpha of at least 0")?;
        Ok(Box::new(RDrop { alpha: alpha as f32 }))
    },
};

struct RDrop {
    alpha: f32,
}

impl Technique for RDrop {
    fn view(&self) -> Option<&dyn View> {
        Some(self)
    }
}

impl View for RDrop {
    fn check(&self, task: &dyn Task, _: bool) -> Result<(), Error> {
        answers_twice("r-drop", task)
    }

    fn look(&self, task: &dyn Task, pass: &Pass, examples: &[usize]) -> Result<Looked, Error> {
        let twice = task.twice(pass, examples)?;
        // Half the sum of both directions.
        let term = twice.apart().mul_scalar(self.alpha / 2.0);
        let loss = BatchLoss { loss: twice.both, examples: twice.examples, tokens: twice.tokens };
        Ok(Looked { loss, term })
    }
}
