//! What a head has between hidden states and its outputs: what the family's own head has, or another choice.

use std::sync::Arc;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use topwork_kernels::activation::Activation;
use topwork_nn::layers::Lstm;
use topwork_nn::{ParamStore, Pass};
use topwork_ops::LstmStates;

use crate::error::Error;
use crate::family::{DenseStyle, Encoder};
use crate::states::Layers;

/// What stands before a head's outputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Body {
    /// What the family's own head has: for most nothing over tokens, and over texts a dense layer.
    #[default]
    Own,
    /// Nothing: dropout and the outputs' linear map.
    Linear,
    /// A hidden layer with GELU, dropout before it and behind it.
    Mlp {
        /// Numbers it gives.
        width: usize,
    },
    /// Layers of an LSTM in both directions, dropout before each of them and behind the last; each layer sees both directions of
    /// the one before.
    ///
    /// Paper: Graves and Schmidhuber 2005, "Framewise phoneme classification with bidirectional LSTM",
    /// <https://doi.org/10.1016/j.neunet.2005.06.042>; over pretrained states: Akbik, Blythe and Vollgraf 2018, "Contextual String
    /// Embeddings for Sequence Labeling", section 2.3, <https://aclanthology.org/C18-1139>
    #[serde(rename = "bilstm")]
    BiLstm {
        /// Numbers each direction gives.
        width: usize,
        /// Layers.
        layers: usize,
    },
}

impl Body {
    /// Whether it can be built over these states.
    ///
    /// # Errors
    /// [`Error::Setting`] for a size of 0, and where `own`, which the family's own head has before its outputs, reads another
    /// width than the layers chosen have.
    pub(crate) fn check(self, encoder: &dyn Encoder, layers: Layers, own: bool) -> Result<(), Error> {
        layers.check(encoder)?;
        let wrong = |setting: &str, expected: String, got: usize| {
            Err(Error::Setting { setting: setting.to_string(), expected, got: got.to_string() })
        };
        let (hidden, width) = (encoder.size().hidden, layers.width_mixed(encoder));
        let least = |what: &str| format!("a {what} of at least 1");
        match self {
            Body::Own if own && width != hidden => {
                let setting = format!("layers = {:?}", layers.name());
                let expected = format!(
                    "states as wide as the family's own head reads them, {hidden} (or another body than the family's own: \
                     linear, mlp, bilstm)"
                );
                wrong(&setting, expected, width)
            }
            Body::Mlp { width: 0 } => wrong("body mlp", least("width"), 0),
            Body::BiLstm { width: 0, .. } => wrong("body bilstm", least("width"), 0),
            Body::BiLstm { layers: 0, .. } => wrong("body bilstm", least("number of layers"), 0),
            _ => Ok(()),
        }
    }

    /// The hidden layer before the outputs, `own` being the family's.
    pub(crate) fn dense(self, own: Option<DenseStyle>, dropout: f32) -> Option<DenseStyle> {
        match self {
            Body::Own => own,
            Body::Mlp { width } => {
                Some(DenseStyle { dropout, ..DenseStyle::plain("head.mlp", width, Activation::Gelu) })
            }
            Body::Linear | Body::BiLstm { .. } => None,
        }
    }
}

/// The layers of [`Body::BiLstm`].
pub(crate) struct BiLstm {
    layers: Vec<[Lstm; 2]>,
    dropout: f32,
    /// Numbers it gives for a token.
    pub width: usize,
}

/// What it makes of texts.
pub(crate) struct BothWays {
    /// The states of both directions at each token, `[tokens, width]`.
    pub states: Tensor<2>,
    /// Those behind the last token and, of the other direction, the first: `[batch, width]`.
    pub last: Tensor<2>,
}

impl BiLstm {
    /// Declares `head.lstm.{i}.{forward,backward}`, if that is the body.
    pub fn declare(
        store: &mut ParamStore,
        encoder: &dyn Encoder,
        body: Body,
        mut inputs: usize,
        dropout: f32,
    ) -> Option<Self> {
        let Body::BiLstm { width, layers } = body else { return None };
        let group = encoder.parts() + 1;
        let layers = (0..layers).map(|index| {
            let directions = [("forward", false), ("backward", true)].map(|(name, reverse)| {
                let path = format!("head.lstm.{index}.{name}");
                Lstm::declare(store, &path, [inputs, width], group, (reverse, 0.0))
            });
            inputs = 2 * width;
            directions
        });
        Some(BiLstm { layers: layers.collect(), dropout, width: 2 * width })
    }

    /// # Shapes
    /// - `x`: `[tokens, inputs]`
    ///
    /// # Errors
    /// A parameter without values.
    pub fn forward(&self, pass: &Pass, mut x: Tensor<2>, offsets: &Arc<[u32]>) -> Result<BothWays, Error> {
        let mut last = Vec::new();
        for (index, directions) in self.layers.iter().enumerate() {
            x = topwork_ops::dropout(x, pass.dropout(self.dropout, &format!("head.lstm.{index}")));
            let mut outputs = Vec::with_capacity(2);
            last.clear();
            for lstm in directions {
                let LstmStates { y, h_n, .. } = lstm.forward(pass, x.clone(), offsets, None)?;
                outputs.push(y);
                last.push(h_n);
            }
            x = Tensor::cat(outputs, 1);
        }
        Ok(BothWays { states: x, last: Tensor::cat(last, 1) })
    }
}
