//! R3F: the answer to a text shall not change when its embeddings are disturbed a little.
//!
//! Paper: Aghajanyan et al. 2020, "Better Fine-Tuning by Reducing Representational Collapse", section 2.2 and equation 5,
//! <https://arxiv.org/abs/2008.03156>. Differs from the paper in that the noise meets the embeddings behind their norm, where
//! every family has a seam, and not the rows of the word table: choose it larger than the paper's 1e-5.

use std::cell::Cell;

use burn::tensor::{Tensor, TensorData};
use topwork_kernels::rng::{Stream, derive};
use topwork_nn::reparam::together;
use topwork_nn::{Pass, Site, Tap};

use crate::error::Error;
use crate::task::{BatchLoss, Task};
use crate::technique::{OptionSpec, Technique, TechniqueEntry, in_range};
use crate::view::{Looked, View, answers_twice};

/// The entry in the list.
pub const ENTRY: TechniqueEntry = TechniqueEntry {
    name: "r3f",
    summary: "a batch is seen once more with noise on its embeddings, and both answers are drawn to each other",
    paper: "https://arxiv.org/abs/2008.03156",
    options: &[
        OptionSpec { key: "lambda", about: "how strongly answers are drawn to each other (default 1)" },
        OptionSpec {
            key: "noise",
            about: "the most that is added to a value, evenly to both sides (default 0.01)",
        },
    ],
    apart: &["r-drop", "hold"],
    build: |options, _| {
        let right = |n: f64| n >= 0.0;
        let lambda = in_range(&ENTRY, options, ("lambda", 1.0), right, "a lambda of at least 0")?;
        let noise = in_range(&ENTRY, options, ("noise", 0.01), |n| n > 0.0, "noise above 0")?;
        Ok(Box::new(R3f { lambda: lambda as f32, noise: noise as f32, seed: Cell::new(0) }))
    },
};

struct R3f {
    lambda: f32,
    noise: f32,
    /// What the noise of this pass is drawn from.
    seed: Cell<u64>,
}

impl Technique for R3f {
    fn view(&self) -> Option<&dyn View> {
        Some(self)
    }
}

impl View for R3f {
    fn check(&self, task: &dyn Task, _: bool) -> Result<(), Error> {
        answers_twice("r3f", task)
    }

    fn tap(&self, seed: u64) -> Option<&dyn Tap> {
        self.seed.set(derive(seed, "r3f"));
        Some(self)
    }

    fn look(&self, task: &dyn Task, pass: &Pass, examples: &[usize]) -> Result<Looked, Error> {
        let twice = task.twice(pass, examples)?;
        let term = twice.apart().mul_scalar(self.lambda);
        let loss = BatchLoss { loss: twice.first, examples: twice.examples, tokens: twice.tokens };
        Ok(Looked { loss, term })
    }
}

impl Tap for R3f {
    /// Noise on the second half of the rows: those of the second look.
    fn at(&self, site: Site, _: usize, x: Tensor<2>) -> Tensor<2> {
        if site != Site::Embedded {
            return x;
        }
        let [rows, hidden] = x.dims();
        let mut noise = vec![0.0; rows * hidden];
        for (row, values) in noise[rows / 2 * hidden..].chunks_mut(hidden).enumerate() {
            let mut stream = Stream(derive(self.seed.get(), &format!("row {row}")));
            values.iter_mut().for_each(|value| *value = self.noise * (2.0 * stream.next_f32() - 1.0));
        }
        let noise = Tensor::from_data(TensorData::new(noise, [rows, hidden]), &x.device());
        let (x, noise) = together(x, noise);
        x + noise
    }
}
