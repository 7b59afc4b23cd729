//! One layer of an LSTM in one direction, with the parameters of PyTorch's.
//!
//! Paper: Hochreiter and Schmidhuber 1997, "Long short-term memory", <https://doi.org/10.1162/neco.1997.9.8.1735>; without
//! peepholes, and with a gate for what is forgotten: Gers, Schmidhuber and Cummins 2000, "Learning to forget",
//! <https://doi.org/10.1162/089976600300015015>.

use std::sync::Arc;

use burn::tensor::Tensor;
use topwork_ops::{Lstm as Settings, LstmStates};

use crate::cache::State;
use crate::error::Error;
use crate::init::Init;
use crate::param::{ParamId, ParamKind, ParamStore};
use crate::pass::Pass;

/// Weights for inputs and for states, and a bias of each, the gates in the order i, f, g, o.
#[derive(Clone, Debug)]
pub struct Lstm {
    input: ParamId,
    recurrent: ParamId,
    input_bias: ParamId,
    recurrent_bias: ParamId,
    reverse: bool,
    /// Dropout on the recurrent weight: its probability, and the name of the place.
    weight_drop: (f32, String),
}

impl Lstm {
    /// Declares `{path}.input.{weight,bias}` and `{path}.recurrent.{weight,bias}` for `sizes` of what comes in and what comes
    /// out. `reverse` walks from the last token to the first; `weight_drop` is the probability of dropping a number of the
    /// recurrent weight, the same for all tokens.
    ///
    /// Fresh weights have the spread of PyTorch's: a variance of a third of one over the width.
    pub fn declare(
        store: &mut ParamStore,
        path: &str,
        [inputs, hidden]: [usize; 2],
        group: usize,
        (reverse, weight_drop): (bool, f32),
    ) -> Self {
        let init = Init::Normal(1.0 / (3.0 * hidden as f32).sqrt());
        let mut weight = |name: &str, columns| {
            let path = format!("{path}.{name}.weight");
            store.declare(&path, &[4 * hidden, columns], group, ParamKind::Weight, init)
        };
        let (input, recurrent) = (weight("input", inputs), weight("recurrent", hidden));
        let mut bias = |name: &str| {
            store.declare(&format!("{path}.{name}.bias"), &[4 * hidden], group, ParamKind::Bias, Init::Zeros)
        };
        let (input_bias, recurrent_bias) = (bias("input"), bias("recurrent"));
        let weight_drop = (weight_drop, format!("{path}.recurrent"));
        Lstm { input, recurrent, input_bias, recurrent_bias, reverse, weight_drop }
    }

    /// The states at every token and those behind the last ones. Each sequence starts from `state`, or from zeros.
    ///
    /// # Shapes
    /// - `x`: `[tokens, inputs]`; `offsets`: `[batch + 1]`; `state`: twice `[batch, hidden]`
    ///
    /// # Errors
    /// [`Error::Unset`].
    pub fn forward(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        offsets: &Arc<[u32]>,
        state: Option<State>,
    ) -> Result<LstmStates, Error> {
        let gates = pass.linear(x, self.input, Some(self.input_bias))?;
        let gates = gates + pass.vector(self.recurrent_bias)?.unsqueeze::<2>();
        let (p, site) = &self.weight_drop;
        let recurrent = topwork_ops::weight_drop(pass.matrix(self.recurrent)?, pass.dropout(*p, site));
        let settings = Settings { reverse: self.reverse, precision: pass.precision(), ..Settings::default() };
        Ok(topwork_ops::lstm(gates, recurrent, None, state, offsets, settings))
    }
}
