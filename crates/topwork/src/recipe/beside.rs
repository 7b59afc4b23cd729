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
    /// How much it weighs. `labels` and `teacher`: the share of the loss that is theirs, default 0.5. `domain`: what the loss of
    /// telling the domains apart is multiplied by in the end, default 0.1. `consistency`: what its loss is multiplied by, default
    /// 1. Not of `likeness`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f32>,
    /// `teacher`: the folders of the models whose mean answer is learnt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub teachers: Vec<PathBuf>,
    /// `teacher`: texts of which they are less sure are left out, default 0: none. `consistency`: a text teaches nothing in a step
    /// in which no label is as probable, default 0.8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sure: Option<f32>,
    /// `consistency`: what scores are divided by before they are taken for an answer; the smaller, the surer. Default 0.4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    /// `consistency`: the share of words that are replaced, default 0.3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace: Option<f32>,
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
    /// What other models answer to these texts is learnt in the same steps: of one that was trained on few labels
    /// (self-training), of several together (an ensemble becomes one model), of a larger one.
    ///
    /// Paper: Hinton, Vinyals, Dean 2015, "Distilling the Knowledge in a Neural Network", section 2,
    /// <https://arxiv.org/abs/1503.02531>; Xie et al. 2020, "Self-training with Noisy Student improves ImageNet classification",
    /// section 2 (a teacher that sees the texts as they are, a student under dropout; soft answers; sure ones alone),
    /// <https://arxiv.org/abs/1911.04252>
    Teacher,
    /// The answer to a text with some words replaced is to be that to the text itself; labels of these texts are not looked at.
    ///
    /// Paper: Xie et al. 2020, "Unsupervised Data Augmentation for Consistency Training", section 3 (words replaced by how little
    /// they say, sharpened answers, sure ones alone), <https://arxiv.org/abs/1904.12848>
    Consistency,
}

impl Lesson {
    /// Every lesson by its name in recipes.
    pub const ALL: &[(Lesson, &str)] = &[
        (Lesson::Labels, "labels"),
        (Lesson::Domain, "domain"),
        (Lesson::Likeness, "likeness"),
        (Lesson::Teacher, "teacher"),
        (Lesson::Consistency, "consistency"),
    ];

    /// The name in recipes.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(lesson, _)| *lesson == self).map_or("", |(_, name)| name)
    }
}
