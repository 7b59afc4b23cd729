//! Texts of another domain or task that are learnt from beside those of the task.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Texts of another domain or task, and what they are there for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct BesideRecipe {
    /// The file or folder; its columns are those of the training data.
    pub data: PathBuf,
    /// What is learnt from them.
    #[serde(default)]
    pub lesson: Lesson,
    /// How much it weighs. `labels`: the share of the loss that is theirs, default 0.5. `domain`: what the loss of telling the
    /// domains apart is multiplied by in the end, default 0.1. Not of `likeness`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f32>,
}

/// What texts beside are there for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lesson {
    /// Their labels are learnt in the same steps.
    ///
    /// Paper: Mou et al. 2016, "How Transferable are Neural Networks in NLP Applications?", section 3.2 (MULT),
    /// <https://arxiv.org/abs/1603.06111>
    #[default]
    Labels,
    /// Vectors of texts are taught not to say which of the two domains a text is from; labels of these texts are not looked at.
    /// Best with frozen embeddings: the rows of words that one domain has alone learn nothing but to deceive, and at the full rate
    /// of an optimizer that divides by the size of gradients.
    ///
    /// Paper: Ganin et al. 2016, "Domain-Adversarial Training of Neural Networks", section 4,
    /// <https://arxiv.org/abs/1505.07818>
    Domain,
    /// The more a training text is like these, the more often it is drawn; labels of these texts are not looked at.
    ///
    /// Paper: Shimodaira 2000, "Improving predictive inference under covariate shift by weighting the log-likelihood function",
    /// section 2, <https://doi.org/10.1016/S0378-3758(00)00115-4>; the ratio of the densities from a classifier: Bickel, Brückner,
    /// Scheffer 2007, "Discriminative Learning for Differing Training and Test Distributions", section 3,
    /// <https://doi.org/10.1145/1273496.1273507>
    Likeness,
}

impl Lesson {
    /// Every lesson by its name in recipes.
    pub const ALL: &[(Lesson, &str)] =
        &[(Lesson::Labels, "labels"), (Lesson::Domain, "domain"), (Lesson::Likeness, "likeness")];

    /// The name in recipes.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(lesson, _)| *lesson == self).map_or("", |(_, name)| name)
    }
}
