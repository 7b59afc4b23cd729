//! The place of data in the taxonomy of transfer learning.

use serde::Serialize;

use super::Known;
use crate::recipe::Kind;

/// In which order two tasks are learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// In the same steps.
    Together,
    /// The target after the source.
    InTurn,
}

impl Order {
    /// Every order with its name.
    pub const ALL: [(Order, &'static str); 2] = [(Order::Together, "together"), (Order::InTurn, "in-turn")];
}

/// A kind of transfer.
///
/// Paper: Ruder 2019, "Neural Transfer Learning for Natural Language Processing", section 3.2 and figure 3.2,
/// <https://ruder.io/thesis/neural_transfer_learning_for_nlp.pdf>; Pan, Yang 2010, "A Survey on Transfer Learning", section 2.3,
/// <https://doi.org/10.1109/TKDE.2009.191>
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// There are no labels to learn from.
    NoLabels,
    /// Another task than the one before, learnt after it; the task before may be that of the pretrained model.
    Sequential,
    /// Several tasks, learnt at once.
    MultiTask,
    /// The same task on other texts.
    DomainAdaptation,
    /// The same task in another language.
    CrossLingual,
    /// The same task on texts of the same kind: nothing to transfer but the pretrained model.
    SameDomain,
}

impl Scenario {
    /// What it is called.
    pub fn title(self) -> &'static str {
        match self {
            Scenario::NoLabels => "no labels yet",
            Scenario::Sequential => "sequential transfer learning",
            Scenario::MultiTask => "multi-task learning",
            Scenario::DomainAdaptation => "domain adaptation",
            Scenario::CrossLingual => "cross-lingual learning",
            Scenario::SameDomain => "the same task on the same kind of texts",
        }
    }

    /// The branch of the taxonomy on which it stands.
    pub fn branch(self) -> &'static str {
        match self {
            Scenario::NoLabels => "unsupervised until there are labels",
            Scenario::Sequential | Scenario::MultiTask => "inductive: other tasks, labels in the target",
            Scenario::DomainAdaptation | Scenario::CrossLingual => {
                "transductive: the same task, labels in the source"
            }
            Scenario::SameDomain => "no transfer between the two; sequential from the pretrained model",
        }
    }

    /// Finds it from what is known, with the reasons.
    pub(super) fn of(known: &Known) -> (Scenario, Vec<String>) {
        let data = &known.data;
        let Some(target) = &known.target else {
            return match data.kind {
                None => (Scenario::NoLabels, vec![format!("{} has texts and no labels", data.data)]),
                Some(kind) => (
                    Scenario::Sequential,
                    vec![format!(
                        "one labelled task ({}), learnt after what the pretrained model has learnt",
                        kind.name()
                    )],
                ),
            };
        };
        match (data.kind, target.kind) {
            (None, None) => (Scenario::NoLabels, vec!["neither has labels".to_string()]),
            (None, Some(_)) => (
                Scenario::Sequential,
                vec![format!(
                    "{} has no labels: words behind masks are its task, and that of the target comes after",
                    data.data
                )],
            ),
            (Some(kind), None) => transductive(
                known,
                vec![format!(
                    "the target has no labels, so its task is that of the source ({})",
                    kind.name()
                )],
            ),
            (Some(kind), Some(other)) => {
                let names = |classes: &[super::Class]| -> Vec<String> {
                    classes.iter().map(|class| class.name.clone()).collect()
                };
                let (ours, theirs) = (names(&data.classes), names(&target.classes));
                if kind == other && data.pairs == target.pairs && ours == theirs {
                    let why = if ours.is_empty() {
                        format!("both are {}", kind.name())
                    } else {
                        format!("both are {} with the same {} labels", kind.name(), ours.len())
                    };
                    return transductive(known, vec![why]);
                }
                let why = if kind == other {
                    let both = ours.iter().filter(|name| theirs.contains(name)).count();
                    format!(
                        "both are {}, with other labels: {} and {}, of which {both} are the same",
                        kind.name(),
                        ours.len(),
                        theirs.len()
                    )
                } else {
                    format!("the source is {}, the target {}", kind.name(), other.name())
                };
                inductive(known, why)
            }
        }
    }
}

/// Below this share of what the halves of one domain have in common, two domains are two. Measured: parts of one set 0.95 to 1.01,
/// reviews of other goods 0.71 to 0.88, WNUT-17's training and development parts, which are of other sites, 0.87 (`dev/LOG.md`,
/// 2026-12-01).
const ALIKE: f64 = 0.9;

/// The share from which a language is that of the data.
const MOST: f64 = 0.5;

/// The same task: by language, then by words.
fn transductive(known: &Known, mut because: Vec<String>) -> (Scenario, Vec<String>) {
    let main = |facts: &super::Facts| {
        let speech = facts.languages.first().filter(|speech| speech.share >= MOST)?;
        Some(speech.language.clone())
    };
    let languages = known.target.as_ref().and_then(|target| Some((main(&known.data)?, main(target)?)));
    if let Some((ours, theirs)) = languages.filter(|(ours, theirs)| ours != theirs) {
        because.push(format!("the source is {ours}, the target {theirs}"));
        return (Scenario::CrossLingual, because);
    }
    let Some(overlap) = &known.overlap else {
        because
            .push("there are too few words to say how alike the texts are: taken for other ones".to_string());
        return (Scenario::DomainAdaptation, because);
    };
    because.push(format!(
        "of the most frequent words in {} of each, source and target share {:.0}%, two halves of the source {:.0}% ({:.2} of it; \
         from {ALIKE} on they count as one domain)",
        overlap.words,
        100.0 * overlap.shared,
        100.0 * overlap.own,
        overlap.ratio()
    ));
    if overlap.ratio() >= ALIKE {
        return (Scenario::SameDomain, because);
    }
    (Scenario::DomainAdaptation, because)
}

/// Tasks that `topwork multi-task` learns at once.
fn joins(kind: Option<Kind>) -> bool {
    matches!(kind, Some(Kind::Classify | Kind::MultiLabel | Kind::Regress))
}

/// How many times as large a source is that is better learnt before than beside a target.
const LARGER: usize = 5;

/// Another task: at once, or one after the other.
fn inductive(known: &Known, why: String) -> (Scenario, Vec<String>) {
    let mut because = vec![why];
    let (ours, theirs) = (known.data.texts, known.target.as_ref().map_or(0, |target| target.texts));
    let together = joins(known.data.kind) && joins(known.target.as_ref().and_then(|target| target.kind));
    if !together {
        because.push(
            "tasks of these kinds are not learnt at once here, so one comes after the other".to_string(),
        );
        return (Scenario::Sequential, because);
    }
    match known.order {
        Some(Order::Together) => {
            because.push("they are to be learnt together".to_string());
            (Scenario::MultiTask, because)
        }
        Some(Order::InTurn) => {
            because.push("they are to be learnt in turn".to_string());
            (Scenario::Sequential, because)
        }
        None if ours >= LARGER * theirs => {
            because.push(format!(
                "{ours} texts and {theirs}: in the same steps the larger one would drown the other, so it comes first \
                 (--order together says otherwise)"
            ));
            (Scenario::Sequential, because)
        }
        None => {
            because
                .push(format!("{ours} texts and {theirs}, both labelled (--order in-turn says otherwise)"));
            (Scenario::MultiTask, because)
        }
    }
}
