//! Elastic weight consolidation: weights are held where they were, each by how much the source task hangs on it.
//!
//! Paper: Kirkpatrick et al. 2017, "Overcoming catastrophic forgetting in neural networks", section 2.1 and equation 3,
//! <https://arxiv.org/abs/1612.00796>. How much hangs on a weight is the diagonal of the Fisher information, estimated on examples
//! of the source task at the weights that training starts from. The last depth group (the head, and what goes with it) is not
//! held: as a rule it is new.

use burn::backend::DispatchTensor;
use serde_json::Value;
use topwork_nn::{Gradients, ParamId, ParamStore};

use crate::error::Error;
use crate::plan::{ParamInfo, Plan, top};
use crate::task::{Importance, Task};
use crate::technique::{OptionSpec, Technique, TechniqueEntry, in_range};
use crate::values::{add_to, pull};

/// The entry in the list.
pub const ENTRY: TechniqueEntry = TechniqueEntry {
    name: "ewc",
    summary: "weights are held where they were, each by how much a source task hangs on it",
    paper: "https://arxiv.org/abs/1612.00796",
    options: &[
        OptionSpec {
            key: "source",
            about: "a file of the source task that the model's own head answers; needed",
        },
        OptionSpec { key: "lambda", about: "how strongly weights are held (default 1000)" },
        OptionSpec { key: "examples", about: "examples of the source that are looked at (default 200)" },
        OptionSpec {
            key: "labels",
            about: "true, those of the file, or model, drawn from what the model answers (default true)",
        },
    ],
    apart: &[],
    build: |options, params| {
        let wrong = |expected, got: String| Error::Option { name: "ewc", expected, got };
        let lambda = in_range(&ENTRY, options, ("lambda", 1000.0), |n| n >= 0.0, "a lambda of at least 0")?;
        let whole = |n: f64| n >= 1.0 && n.fract() == 0.0;
        let examples = in_range(
            &ENTRY,
            options,
            ("examples", 200.0),
            whole,
            "examples as a whole number of at least 1",
        )?;
        let source = match options.get("source") {
            Some(Value::String(source)) if !source.is_empty() => source.clone(),
            other => {
                let got = other.map_or_else(|| "none".to_string(), Value::to_string);
                return Err(wrong("a source: a file of texts that the model's own head answers", got));
            }
        };
        // A command line reads the word for yes as one.
        let drawn = match options.get("labels") {
            None | Some(Value::Bool(true)) => false,
            Some(Value::String(word)) if word == "true" => false,
            Some(Value::String(word)) if word == "model" => true,
            Some(other) => return Err(wrong("labels as true or model", other.to_string())),
        };
        let ask = Importance { source, examples: examples as usize, drawn };
        Ok(Box::new(Ewc { lambda: lambda as f32, ask, top: top(params), held: Vec::new() }))
    },
};

struct Ewc {
    lambda: f32,
    ask: Importance,
    top: usize,
    /// What is held, where it was, and how much hangs on it.
    held: Vec<(ParamId, DispatchTensor, DispatchTensor)>,
}

impl Technique for Ewc {
    fn acts_on(&self, param: &ParamInfo, top: usize) -> bool {
        param.group < top
    }

    fn consult(&mut self, params: &[ParamInfo], task: &dyn Task) -> Result<(), Error> {
        for (id, importance) in task.importance(&self.ask)? {
            let param = &params[id.0];
            if param.group < self.top && param.kind.learns() {
                self.held.push((id, task.store().tensor(id)?, importance));
            }
        }
        if self.held.is_empty() {
            let (expected, got) = ("a source that hangs on weights of the encoder", self.ask.source.clone());
            return Err(Error::Option { name: "ewc", expected, got });
        }
        Ok(())
    }

    /// The gradient of `lambda / 2 · sum of importance · (w - w0)²`.
    fn after_backward(
        &self,
        _: &[ParamInfo],
        plan: &[Plan],
        store: &ParamStore,
        gradients: &mut Gradients,
    ) -> Result<(), Error> {
        for (id, start, importance) in self.held.iter().filter(|(id, ..)| plan[id.0].train) {
            let rank = store.param(*id).shape.len();
            let back = pull(store.tensor(*id)?, Some(start.clone()), self.lambda, rank);
            add_to(gradients, *id, crate::values::product(back, importance.clone(), rank), store);
        }
        Ok(())
    }
}
