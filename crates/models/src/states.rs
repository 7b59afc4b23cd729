//! Which hidden states of an encoder a head reads: those of the last layer, or of others, added up, side by side or in a learnt
//! mix.
//!
//! The states of an encoder are counted from 0: the embeddings, then each layer.

use std::ops::Range;

use burn::tensor::{Tensor, activation::softmax};
use serde::{Deserialize, Serialize};
use topwork_nn::{Init, ParamId, ParamKind, ParamStore, Pass};

use crate::error::Error;
use crate::family::Encoder;

/// The hidden states that a head reads.
///
/// Paper: Devlin et al. 2019, "BERT", section 5.3 (which layers a frozen encoder is best read at),
/// <https://arxiv.org/abs/1810.04805>; the mix: Peters et al. 2018, "Deep contextualized word representations", section 3.2,
/// <https://arxiv.org/abs/1802.05365>
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layers {
    /// Those of the last layer.
    #[default]
    Last,
    /// The embeddings.
    First,
    /// Those of the layer before the last.
    SecondToLast,
    /// The sum of the last four.
    #[serde(rename = "sum-last-4")]
    SumLast4,
    /// The last four side by side, the last one behind.
    #[serde(rename = "concat-last-4")]
    ConcatLast4,
    /// The sum of all, the embeddings too.
    SumAll,
    /// The sum of all, the embeddings too, with learnt weights: `scale * sum of softmax(weights)[i] * state i`. A family that has
    /// a mix of its own learns that one.
    Mix,
}

/// How several states become what a head reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Joined {
    Sum,
    SideBySide,
}

impl Layers {
    /// All of them.
    pub const ALL: [Layers; 7] = [
        Layers::Last,
        Layers::First,
        Layers::SecondToLast,
        Layers::SumLast4,
        Layers::ConcatLast4,
        Layers::SumAll,
        Layers::Mix,
    ];

    /// The name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Layers::Last => "last",
            Layers::First => "first",
            Layers::SecondToLast => "second-to-last",
            Layers::SumLast4 => "sum-last-4",
            Layers::ConcatLast4 => "concat-last-4",
            Layers::SumAll => "sum-all",
            Layers::Mix => "mix",
        }
    }

    /// The same of this encoder: where it makes a mix itself, that is its last state.
    pub fn of(self, encoder: &dyn Encoder) -> Layers {
        if self == Layers::Mix && encoder.mix().is_some() { Layers::Last } else { self }
    }

    /// The states that are needed, of so many.
    pub fn needed(self, states: usize) -> Range<usize> {
        let last = |count: usize| states.saturating_sub(count)..states;
        match self {
            Layers::Last => last(1),
            Layers::First => 0..1,
            Layers::SecondToLast => states.saturating_sub(2)..states.saturating_sub(1),
            Layers::SumLast4 | Layers::ConcatLast4 => last(4),
            Layers::SumAll | Layers::Mix => 0..states,
        }
    }

    fn joined(self) -> Joined {
        match self {
            Layers::ConcatLast4 | Layers::Mix => Joined::SideBySide,
            _ => Joined::Sum,
        }
    }

    /// Whether the encoder has such states.
    ///
    /// # Errors
    /// [`Error::Setting`] for an encoder with too few layers, or with layers of different widths where they are to be added up.
    pub fn check(self, encoder: &dyn Encoder) -> Result<(), Error> {
        let states = encoder.states();
        let wrong = |expected: String, got: String| {
            Err(Error::Setting { setting: format!("layers = {:?}", self.name()), expected, got })
        };
        let least = match self {
            Layers::SumLast4 | Layers::ConcatLast4 => 4,
            Layers::SecondToLast => 2,
            _ => 1,
        };
        if states < least {
            let expected = format!("at least {least} of them, the embeddings counted");
            return wrong(expected, states.to_string());
        }
        let widths: Vec<usize> = self.needed(states).map(|state| encoder.state_width(state)).collect();
        let alike = widths.windows(2).all(|pair| pair[0] == pair[1]);
        if self != Layers::ConcatLast4 && !alike {
            return wrong("layers of one width, to be added up".to_string(), format!("{widths:?}"));
        }
        Ok(())
    }

    /// Numbers for a token that a head is given: those of several states where they are side by side.
    pub fn width(self, encoder: &dyn Encoder) -> usize {
        let mut widths = self.needed(encoder.states()).map(|state| encoder.state_width(state));
        match self.joined() {
            Joined::Sum => widths.next().unwrap_or(0),
            Joined::SideBySide => widths.sum(),
        }
    }

    /// Numbers for a token once a mix is made.
    pub fn width_mixed(self, encoder: &dyn Encoder) -> usize {
        match self {
            Layers::Mix => encoder.state_width(0),
            _ => self.width(encoder),
        }
    }

    /// How many parts of the encoder, the embeddings counted, it takes to make these states.
    pub fn parts(self, encoder: &dyn Encoder) -> usize {
        let end = self.needed(encoder.states()).end;
        let depth = 1 + encoder.parts();
        (1..depth).find(|&parts| encoder.states_to(parts) >= end).unwrap_or(depth)
    }

    /// The states that are needed as one matrix.
    ///
    /// # Shapes
    /// - `states`: each `[tokens, width]`; returns `[tokens, Layers::width]`
    pub fn join(self, states: Vec<Tensor<2>>) -> Option<Tensor<2>> {
        match self.joined() {
            Joined::Sum => states.into_iter().reduce(|sum, state| sum + state),
            Joined::SideBySide => (!states.is_empty()).then(|| Tensor::cat(states, 1)),
        }
    }
}

/// The same numbers as a node of their own: what uses them here is summed on the way back before it meets the gradients of their
/// other uses, in whatever order a tape goes.
pub(crate) fn apart(x: &Tensor<2>) -> Tensor<2> {
    if x.is_tracked() { x.clone().mul_scalar(1.0) } else { x.clone() }
}

/// `scale * sum of shares[i] * state i`.
///
/// # Shapes
/// - `x`: the states side by side, `[rows, states * hidden]`; `shares`: `[states]`; `scale`: `[1]`
/// - returns: `[rows, hidden]`
pub fn mixed(x: Tensor<2>, shares: Tensor<1>, scale: Tensor<1>) -> Tensor<2> {
    let ([states], [rows, width]) = (shares.dims(), x.dims());
    let hidden = width / states;
    let parts = x.reshape([rows, states, hidden]) * shares.reshape([1, states, 1]);
    parts.sum_dim(1).reshape([rows, hidden]) * scale.reshape([1, 1])
}

/// The learnt mix of a head: `head.mix.weights` and `head.mix.scale`. It starts as the mean.
pub(crate) struct Mix {
    /// `[states]`
    pub weights: ParamId,
    scale: ParamId,
}

impl Mix {
    /// Declares the mix, if the layers are mixed.
    pub fn declare(store: &mut ParamStore, encoder: &dyn Encoder, layers: Layers) -> Option<Self> {
        let group = encoder.parts() + 1;
        let mut number = |path: &str, len, init| store.declare(path, &[len], group, ParamKind::Norm, init);
        (layers == Layers::Mix).then(|| Mix {
            weights: number("head.mix.weights", encoder.states(), Init::Zeros),
            scale: number("head.mix.scale", 1, Init::Ones),
        })
    }

    /// # Shapes
    /// - `x`: `[rows, states * hidden]`; returns `[rows, hidden]`
    ///
    /// # Errors
    /// A parameter without values.
    pub fn forward(&self, pass: &Pass, x: Tensor<2>) -> Result<Tensor<2>, Error> {
        let shares = softmax(pass.vector(self.weights)?, 0);
        Ok(mixed(x, shares, pass.vector(self.scale)?))
    }
}
