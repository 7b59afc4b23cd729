//! Classification of texts and pairs of texts: one label of several, or several at once.

use burn::tensor::Tensor;
use topwork_kernels::pool::Pool;
use topwork_nn::{ParamId, ParamStore, Pass};
use topwork_text::Packed;

use crate::error::Error;
use crate::family::Encoder;
use crate::head::{Head, HeadEntry, HeadSpec, LossOptions, Targets};
use crate::heads::groups::Groups;
use crate::heads::pooled::{PooledOutputs, PooledSpec};
use crate::heads::sliced::Experts;
use crate::onnx::HeadGraph;
use crate::states::Layers;

/// The entry in the list.
pub const ENTRY: HeadEntry = HeadEntry {
    name: "classify",
    summary: "one label of several for a text or a pair of texts; with several = true any number of them",
    paper: "https://arxiv.org/abs/1810.04805",
    build,
};

struct Classify {
    outputs: PooledOutputs,
    several: bool,
    groups: Groups,
    experts: Option<Experts>,
}

fn build(spec: &HeadSpec, encoder: &dyn Encoder, store: &mut ParamStore) -> Result<Box<dyn Head>, Error> {
    let HeadSpec::Classify { labels, several, pool, body, layers, groups, slices } = spec else {
        return Err(Error::UnknownHead { got: spec.name().to_string(), known: ENTRY.name.to_string() });
    };
    groups.check(labels.len(), *several)?;
    if !slices.is_empty() && (*several || !groups.is_empty()) {
        return Err(Error::Setting {
            setting: "slices".to_string(),
            expected: "one label of several for a text, all of one task".to_string(),
            got: if *several { "several labels a text" } else { "the labels of several tasks" }.to_string(),
        });
    }
    let spec = PooledSpec { pool: *pool, body: *body, layers: *layers };
    let outputs = PooledOutputs::declare(store, encoder, spec, labels.len())?;
    let experts = match (slices.is_empty(), outputs.width()) {
        (true, _) => None,
        (false, Some(width)) => {
            let (group, std) = (encoder.parts() + 1, encoder.size().std);
            Some(Experts::declare(store, slices, [labels.len(), width], group, std)?)
        }
        (false, None) => {
            return Err(Error::Setting {
                setting: "slices".to_string(),
                expected: "a head that reads one vector of a text (another pooling than the family's own: mean, max, cls, last, \
                           attention)"
                    .to_string(),
                got: format!("pool = {pool:?}").to_lowercase(),
            });
        }
    };
    Ok(Box::new(Classify { outputs, several: *several, groups: groups.clone(), experts }))
}

impl Head for Classify {
    fn pooled(&self) -> Option<Pool> {
        self.outputs.pool()
    }

    fn layers(&self) -> Layers {
        self.outputs.layers()
    }

    fn mix(&self) -> Option<&[ParamId]> {
        self.outputs.mix()
    }

    fn onnx(&self) -> Option<&dyn HeadGraph> {
        if self.experts.is_some() { None } else { self.outputs.onnx() }
    }

    fn forward(&self, pass: &Pass, x: Tensor<2>, input: &Packed) -> Result<Tensor<2>, Error> {
        let Some(experts) = &self.experts else { return self.outputs.forward(pass, x, input) };
        let x = self.outputs.vector(pass, x, input)?;
        self.outputs.last(pass, experts.forward(pass, x)?.mixed)
    }

    fn loss(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        input: &Packed,
        targets: &Targets,
        options: &LossOptions,
    ) -> Result<Tensor<1>, Error> {
        if let (Some(experts), Targets::Sliced(classes, members)) = (&self.experts, targets) {
            let opinions = experts.forward(pass, self.outputs.vector(pass, x, input)?)?;
            let beside = opinions.loss(classes, members, options)?;
            return Ok(options.of_classes(self.outputs.last(pass, opinions.mixed)?, classes) + beside);
        }
        let logits = self.forward(pass, x, input)?;
        match targets {
            Targets::Classes(target) if !self.several => {
                Ok(options.of_classes(self.groups.own(logits, target), target))
            }
            Targets::Several(target) if self.several => Ok(options.of_several(logits, target)),
            other => Err(Error::Targets {
                head: ENTRY.name,
                expected: if self.several { "several labels" } else { "classes" },
                got: other.kind(),
            }),
        }
    }
}
