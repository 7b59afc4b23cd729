//! Heads for parts of the data ("slices") beside the one for all of it: an expert for each part, and a mix of the experts that the
//! model itself chooses for each text. Which part a text is in is asked for in training only.
//!
//! Of a text's vector each part learns whether the text is in it, and an expert vector of its own; one head, which all experts
//! share, learns the labels from each expert's vector, for texts of its part alone. There is an expert for all texts besides. The
//! experts' vectors are mixed by a softmax over how likely it is that the text is in the part, times how sure that expert is, and
//! the outputs are those of the mix.
//!
//! Paper: Chen et al. 2019, "Slice-based Learning: A Programming Model for Residual Learning in Critical Data Slices", section 3,
//! <https://arxiv.org/abs/1909.06349>. How sure an expert is, is here the probability of its likeliest label: of two labels the
//! authors' code takes one of them as positive, and it knows no more than two.

use std::sync::Arc;

use burn::tensor::Tensor;
use burn::tensor::activation::{sigmoid, softmax};
use topwork_kernels::loss::IGNORE;
use topwork_nn::layers::Linear;
use topwork_nn::{ParamStore, Pass, loss};

use crate::error::Error;
use crate::head::LossOptions;

/// What the parts of a head are called, in the order of their experts; none where it has no parts.
pub type Slices = Vec<String>;

/// Which texts are in which parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// How many parts there are.
    pub parts: usize,
    /// For each text whether it is in each part: `[batch * parts]`, row-major.
    pub holds: Vec<bool>,
}

impl Members {
    /// Texts in a part.
    pub fn count(&self, part: usize) -> usize {
        self.holds.iter().skip(part).step_by(self.parts).filter(|holds| **holds).count()
    }
}

/// The experts.
pub(crate) struct Experts {
    /// Whether a text is in each part: `[parts]` outputs.
    member: Linear,
    /// The vector of each part's expert, that of all texts last.
    vectors: Vec<Linear>,
    /// From an expert's vector to the labels.
    shared: Linear,
}

/// What the experts make of texts.
pub(crate) struct Opinions {
    /// The mix of their vectors, `[batch, width]`.
    pub mixed: Tensor<2>,
    /// Whether a text is in each part, before the sigmoid: `[batch, parts]`.
    member: Tensor<2>,
    /// What each expert answers, that of all texts last: `[batch, labels]` each.
    answers: Vec<Tensor<2>>,
}

impl Experts {
    /// Declares `head.slices.{member,shared}` and `head.slices.{i}`, over vectors of a width; what is between them and the outputs
    /// has that width too.
    ///
    /// # Errors
    /// [`Error::Setting`] for a part that is named twice.
    pub fn declare(
        store: &mut ParamStore,
        slices: &[String],
        [labels, width]: [usize; 2],
        group: usize,
        std: f32,
    ) -> Result<Self, Error> {
        if let Some(twice) = (1..slices.len()).find(|&at| slices[..at].contains(&slices[at])) {
            return Err(Error::Setting {
                setting: "slices".to_string(),
                expected: "each part once".to_string(),
                got: format!("{:?} twice", slices[twice]),
            });
        }
        let mut linear = |path: &str, sizes| Linear::declare_with(store, path, sizes, group, std, true);
        let member = linear("head.slices.member", [slices.len(), width]);
        let vectors =
            (0..=slices.len()).map(|i| linear(&format!("head.slices.{i}"), [width, width])).collect();
        Ok(Experts { member, vectors, shared: linear("head.slices.shared", [labels, width]) })
    }

    /// # Shapes
    /// - `x`: `[batch, width]`
    ///
    /// # Errors
    /// A parameter without values.
    pub fn forward(&self, pass: &Pass, x: Tensor<2>) -> Result<Opinions, Error> {
        let [batch, width] = x.dims();
        let member = self.member.forward(pass, x.clone())?;
        let (mut vectors, mut answers, mut sure) = (Vec::new(), Vec::new(), Vec::new());
        for expert in &self.vectors {
            let vector = expert.forward(pass, x.clone())?;
            let answer = self.shared.forward(pass, vector.clone())?;
            sure.push(softmax(answer.clone(), 1).max_dim(1));
            vectors.push(vector.reshape([batch, 1, width]));
            answers.push(answer);
        }
        // Every text is among all texts.
        let all = Tensor::ones([batch, 1], &member.device());
        let inside = Tensor::cat(vec![sigmoid(member.clone()), all], 1);
        let shares = softmax(inside * Tensor::cat(sure, 1), 1);
        let shares = shares.reshape([batch, self.vectors.len(), 1]);
        let mixed = (Tensor::<3>::cat(vectors, 1) * shares).sum_dim(1).reshape([batch, width]);
        Ok(Opinions { mixed, member, answers })
    }
}

impl Opinions {
    /// What is learnt beside the outputs, summed: for each part whether texts are in it, and the labels of those that are, from
    /// its expert.
    ///
    /// # Shapes
    /// - `classes`: `[batch]`; returns `[1]`
    ///
    /// # Errors
    /// [`Error::Setting`] for members of other parts.
    pub fn loss(
        &self,
        classes: &Arc<[u32]>,
        members: &Members,
        options: &LossOptions,
    ) -> Result<Tensor<1>, Error> {
        let [batch, parts] = self.member.dims();
        if (members.parts, members.holds.len()) != (parts, batch * parts) {
            return Err(Error::Setting {
                setting: "members of slices".to_string(),
                expected: format!("{parts} parts and {batch} texts"),
                got: format!("{} parts and {} answers", members.parts, members.holds.len()),
            });
        }
        let expected: Vec<f32> = members.holds.iter().map(|&holds| f32::from(u8::from(holds))).collect();
        // The mean over texts and parts, so that the parts' own means are summed.
        let mut total = loss::binary_cross_entropy(self.member.clone(), &expected, None) * parts as f32;
        for (part, answer) in self.answers.iter().enumerate() {
            let inside = |text: usize| part == parts || members.holds[text * parts + part];
            let asked: Arc<[u32]> =
                (0..batch).map(|text| if inside(text) { classes[text] } else { IGNORE }).collect();
            // A batch without a text of the part says nothing of it.
            if asked.iter().any(|&class| class != IGNORE) {
                total = total + options.of_classes(answer.clone(), &asked);
            }
        }
        Ok(total)
    }
}
