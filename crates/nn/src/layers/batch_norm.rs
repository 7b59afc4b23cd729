//! Batch normalisation of one row for each text.
//!
//! Paper: Ioffe and Szegedy 2015, "Batch Normalization", algorithms 1 and 2, <https://arxiv.org/abs/1502.03167>. As in PyTorch, the
//! running variance is that of a sample, and a training step moves both a tenth of the way. Differs from PyTorch in that a
//! batch of one text, which has no variance, is normalised as in inference.

use burn::tensor::Tensor;

use crate::error::Error;
use crate::init::Init;
use crate::param::{ParamId, ParamKind, ParamStore};
use crate::pass::Pass;

/// In training each column gets the mean 0 and the variance 1 over the batch, otherwise by what was seen in training.
#[derive(Clone, Debug)]
pub struct BatchNorm {
    gain: ParamId,
    bias: ParamId,
    mean: ParamId,
    variance: ParamId,
    eps: f64,
}

impl BatchNorm {
    /// Declares `{path}.weight` and `{path}.bias`, which are learnt, and `{path}.mean` and `{path}.variance`, which are measured.
    pub fn declare(store: &mut ParamStore, path: &str, hidden: usize, group: usize, eps: f64) -> Self {
        let mut declare =
            |name: &str, kind, init| store.declare(&format!("{path}.{name}"), &[hidden], group, kind, init);
        BatchNorm {
            gain: declare("weight", ParamKind::Norm, Init::Ones),
            bias: declare("bias", ParamKind::Bias, Init::Zeros),
            mean: declare("mean", ParamKind::Running, Init::Zeros),
            variance: declare("variance", ParamKind::Running, Init::Ones),
            eps,
        }
    }

    /// # Shapes
    /// - `x` and result: `[batch, hidden]`
    ///
    /// # Errors
    /// [`Error::Unset`].
    pub fn forward(&self, pass: &Pass, x: Tensor<2>) -> Result<Tensor<2>, Error> {
        let [batch, _] = x.dims();
        let (mean, variance) = if pass.training() && batch > 1 {
            let mean = x.clone().mean_dim(0);
            let centred = x.clone() - mean.clone();
            let variance = (centred.clone() * centred).mean_dim(0);
            let sample = variance.clone().mul_scalar(batch as f64 / (batch - 1) as f64);
            pass.observe(self.mean, mean.clone().flatten(0, 1));
            pass.observe(self.variance, sample.flatten(0, 1));
            (mean, variance)
        } else {
            let running = |id| Ok::<_, Error>(pass.measured(id)?.unsqueeze::<2>());
            (running(self.mean)?, running(self.variance)?)
        };
        let deviation = variance.add_scalar(self.eps).sqrt();
        let gain = pass.vector(self.gain)?.unsqueeze::<2>();
        Ok((x - mean) / deviation * gain + pass.vector(self.bias)?.unsqueeze::<2>())
    }
}
