//! Texts that are learnt from beside those of the task: their labels, or what other models answer to them, or to answer alike
//! when words of them are replaced; or to be told apart from the task's no more, or to be looked like. What each is, [`Lesson`]
//! says.
//!
//! They stand in the same batches, as units behind those of the task: so what a step learns from depends on its number alone, and
//! a run that is gone on with asks for the same.

use std::f64::consts::E;

use burn::tensor::{Tensor, activation};
use topwork_data::{Dataset, Sampler};
use topwork_kernels::rng::{Stream, derive};
use topwork_models::{HeadSpec, Model};
use topwork_nn::layers::Linear;
use topwork_nn::{Init, ParamId, ParamKind, ParamStore, Pass, loss};
use topwork_text::Packed;
use topwork_train::Answers;
use topwork_train::baseline::{TfidfLogistic, TfidfLogisticOptions};
use topwork_train::plan::Progress;

use crate::error::Error;
use crate::linear_baseline::texts;
use crate::recipe::{BesideRecipe, Kind, Lesson, Recipe};
use crate::tasks::Part;

mod replaced;
mod teachers;

pub(crate) use replaced::with_words_replaced;
pub(crate) use teachers::taught;

/// Numbers in the hidden layer of what tells domains apart.
const HIDDEN: usize = 100;

/// How much the lesson of domains weighs when nothing is said.
const DOMAIN: f32 = 0.1;

/// How many times as fast as the encoder the net learns: an encoder that outruns it learns to deceive what it was, not to be alike.
const PACE: f64 = 10.0;

/// How much the lesson of consistency weighs, how sure an answer must be, what scores are divided by, and the share of words that
/// are replaced, when nothing is said.
const CONSISTENCY: f32 = 1.0;
const SURE: f32 = 0.8;
const TEMPERATURE: f32 = 0.4;
pub(crate) const REPLACED: f32 = 0.3;

/// How much more often than on average a text may be drawn: a few odd ones would be all of an epoch.
const MOST: f64 = 10.0;

/// Refuses texts beside, or pictures, that teach nothing, or not this task.
///
/// # Errors
/// [`Error::Task`].
pub(crate) fn check(recipe: &Recipe, kind: Kind, pictures: bool) -> Result<(), Error> {
    let Some(beside) = &recipe.beside else { return Ok(()) };
    let wrong = |what: String| Err(Error::Task(what));
    if !matches!(kind, Kind::Classify | Kind::MultiLabel | Kind::Regress | Kind::Tag) {
        return wrong(format!(
            "beside: texts are learnt from beside those of classes, several labels, numbers and tags, not of {}; leave it out",
            kind.name()
        ));
    }
    let lesson = beside.lesson;
    match lesson {
        Lesson::Consistency | Lesson::Likeness if pictures => {
            return wrong(format!(
                "beside: the lesson {} looks at words, and pictures have none",
                lesson.name()
            ));
        }
        Lesson::Teacher if kind == Kind::Tag => {
            return wrong(
                "beside: a teacher answers whole texts, not tags of words; write its tags into a file with \
                          `topwork predict` and learn those (lesson labels)"
                    .to_string(),
            );
        }
        Lesson::Consistency if kind != Kind::Classify => {
            return wrong(format!(
                "beside: the lesson consistency is one for classes, not for {}",
                kind.name()
            ));
        }
        Lesson::Teacher if beside.teachers.is_empty() => {
            return wrong(
                "beside.teachers: the lesson teacher needs the folder of a trained model, or of several"
                    .to_string(),
            );
        }
        _ => {}
    }
    let only = [
        ("teachers", !beside.teachers.is_empty(), &[Lesson::Teacher][..]),
        ("sure", beside.sure.is_some(), &[Lesson::Teacher, Lesson::Consistency]),
        ("temperature", beside.temperature.is_some(), &[Lesson::Consistency]),
        ("replace", beside.replace.is_some(), &[Lesson::Consistency]),
    ];
    if let Some((key, _, of)) = only.iter().find(|(_, given, of)| *given && !of.contains(&lesson)) {
        let of: Vec<&str> = of.iter().map(|lesson| lesson.name()).collect();
        return wrong(format!(
            "beside.{key}: of the lesson {}, not of {}; leave it out",
            of.join(" and "),
            lesson.name()
        ));
    }
    let share = |value: f32| (0.0..=1.0).contains(&value);
    for (key, value) in [("sure", beside.sure), ("replace", beside.replace)] {
        if let Some(value) = value.filter(|value| !share(*value)) {
            return wrong(format!("beside.{key}: expected a share from 0 to 1, got {value}"));
        }
    }
    if let Some(value) = beside.temperature.filter(|value| !(*value > 0.0 && value.is_finite())) {
        return wrong(format!("beside.temperature: expected a number above 0, got {value}"));
    }
    let Some(weight) = beside.weight else { return Ok(()) };
    match lesson {
        Lesson::Labels if !(weight > 0.0 && weight < 1.0) => {
            wrong(format!("beside.weight: expected a share between 0 and 1, got {weight}"))
        }
        // All of it where nothing but the teacher's answers is to be learnt.
        Lesson::Teacher if !(weight > 0.0 && weight <= 1.0) => {
            wrong(format!("beside.weight: expected a share above 0 and up to 1, got {weight}"))
        }
        Lesson::Domain | Lesson::Consistency if !(weight > 0.0 && weight.is_finite()) => {
            wrong(format!("beside.weight: expected a number above 0, got {weight}"))
        }
        Lesson::Likeness => wrong("beside.weight: likeness has none; leave it out".to_string()),
        _ => Ok(()),
    }
}

/// Tells from vectors which of two domains they are from, and teaches what made the vectors the opposite: its gradient goes on
/// with the sign turned round.
pub struct DomainNet {
    hidden: Linear,
    out: Linear,
}

impl DomainNet {
    /// Attaches `domain.{hidden,out}` to a store, over vectors of a width, in a depth group; model folders do not hold them.
    ///
    /// # Errors
    /// Values that cannot be made.
    pub fn attach(store: &mut ParamStore, width: usize, group: usize, seed: u64) -> Result<Self, Error> {
        let mut linear = |name: &str, [outputs, inputs]: [usize; 2]| -> Result<Linear, Error> {
            let init = Init::Normal((1.0 / inputs as f32).sqrt());
            let path = |part: &str| format!("domain.{name}.{part}");
            let weight =
                store.declare_attachment(&path("weight"), &[outputs, inputs], group, ParamKind::Weight, init);
            let bias =
                store.declare_attachment(&path("bias"), &[outputs], group, ParamKind::Bias, Init::Zeros);
            for id in [weight, bias] {
                store.initialise(id, seed)?;
            }
            Ok(Linear { weight, bias: Some(bias) })
        };
        Ok(DomainNet { hidden: linear("hidden", [HIDDEN, width])?, out: linear("out", [1, HIDDEN])? })
    }

    /// Whether a parameter is one of its own.
    fn has(&self, param: ParamId) -> bool {
        [&self.hidden, &self.out]
            .into_iter()
            .any(|linear| linear.weight == param || linear.bias == Some(param))
    }

    /// The mean loss of telling rows apart, of which the first so many are from the one domain and the others from the other; its
    /// gradient reaches the rows times `-strength`.
    ///
    /// # Shapes
    /// - `rows`: `[rows, width]`; returns `[1]`
    ///
    /// # Errors
    /// A parameter without values.
    pub fn loss(
        &self,
        pass: &Pass,
        rows: Tensor<2>,
        first: usize,
        strength: f32,
    ) -> Result<Tensor<1>, Error> {
        let [count, _] = rows.dims();
        // The same values, and the gradient of the second term alone.
        let turned = rows.clone().detach() * (1.0 + strength) - rows * strength;
        let hidden =
            self.hidden.forward_activated(pass, turned, topwork_kernels::activation::Activation::Relu)?;
        let other: Vec<f32> = (0..count).map(|row| if row < first { 0.0 } else { 1.0 }).collect();
        Ok(loss::binary_cross_entropy(self.out.forward(pass, hidden)?, &other, None))
    }
}

/// How much of the way a domain's lesson has come: from 0 at the beginning to nearly 1 at the end.
///
/// Paper: Ganin et al. 2016, "Domain-Adversarial Training of Neural Networks", section 5.2.2,
/// <https://arxiv.org/abs/1505.07818>
pub fn strength(progress: Progress) -> f64 {
    let done = progress.step as f64 / progress.total.max(1) as f64;
    2.0 / (1.0 + E.powf(-10.0 * done)) - 1.0
}

/// The mean loss of outputs that are to be as answers given: probabilities of labels, or numbers.
///
/// # Shapes
/// - `outputs`: `[texts, labels]`; `answers`: `[texts * labels]` row-major; returns `[1]`
pub fn follow(outputs: Tensor<2>, answers: &[f32], kind: Answers) -> Tensor<1> {
    match kind {
        Answers::OneOf => loss::soft_cross_entropy(outputs, answers),
        Answers::Several => loss::binary_cross_entropy(outputs, answers, None),
        Answers::Numbers => loss::mean_squared_error(outputs, answers),
    }
}

/// The answers that scores are taken for: their softmax after a division by `temperature`, and nothing but zeros where before it no
/// label is as probable as `sure`.
///
/// # Shapes
/// - `scores`: `[texts, labels]`; returns `[texts * labels]` row-major
///
/// # Errors
/// Values that cannot be read.
pub fn settled(scores: Tensor<2>, temperature: f32, sure: f32) -> Result<Vec<f32>, Error> {
    let [_, labels] = scores.dims();
    let plain = |scores| Ok::<_, Error>(topwork_models::model::plain(activation::softmax(scores, 1))?);
    let (plainly, mut sharp) = (plain(scores.clone())?, plain(scores / temperature)?);
    for (own, sharp) in plainly.chunks_exact(labels).zip(sharp.chunks_exact_mut(labels)) {
        // A NaN is not under any border: it stays, and shows.
        if own.iter().all(|share| *share < sure) {
            sharp.fill(0.0);
        }
    }
    Ok(sharp)
}

/// What is learnt from the texts beside.
enum Means {
    /// Their labels.
    Labels,
    /// To tell them apart no more.
    Net(DomainNet),
    /// Answers given to them, so many numbers a text.
    Taught { answers: Vec<f32>, width: usize, kind: Answers },
    /// To answer alike when words are replaced: the second half of the part is the first with some replaced.
    Alike { temperature: f32, sure: f32 },
}

/// Texts that are learnt from beside those of the task.
pub(crate) struct Beside<'a> {
    pub part: &'a Part,
    weight: f32,
    means: Means,
    seed: u64,
    strength: f32,
}

/// What a lesson may ask about the texts of a batch.
pub(crate) struct Asked<'a> {
    /// What the encoder makes of the task's texts and of those beside, and how many rows are the task's.
    pub features: Tensor<2>,
    pub first: usize,
    /// The numbers of the texts beside.
    pub texts: &'a [usize],
    /// The loss of the labels beside.
    pub labels: &'a dyn Fn() -> Result<Tensor<1>, Error>,
    /// The outputs of the texts beside.
    pub outputs: &'a dyn Fn() -> Result<Tensor<2>, Error>,
    /// The outputs of texts of the part as they are in inference.
    pub as_is: &'a dyn Fn(&[usize]) -> Result<Tensor<2>, Error>,
}

impl<'a> Beside<'a> {
    /// What a recipe says of a part, with what its lesson needs attached to a model; `None` where the part is only looked at to
    /// draw others by.
    ///
    /// # Errors
    /// [`Error::Task`] for an encoder that stays as it is, which no lesson of domains reaches.
    pub fn new(
        (part, answers): (Option<&'a Part>, Option<&Vec<f32>>),
        recipe: &Recipe,
        model: &mut Model,
        seed: u64,
    ) -> Result<Option<Self>, Error> {
        let (Some(part), Some(beside)) = (part, &recipe.beside) else { return Ok(None) };
        let BesideRecipe { lesson, weight, .. } = beside;
        let (means, weight) = match lesson {
            Lesson::Likeness => return Ok(None),
            Lesson::Labels => (Means::Labels, weight.unwrap_or(0.5)),
            Lesson::Teacher => {
                let answers = answers.cloned().unwrap_or_default();
                let width = answers.len() / part.len().max(1);
                let kind = match model.spec() {
                    HeadSpec::Regress { .. } => Answers::Numbers,
                    HeadSpec::Classify { several: true, .. } => Answers::Several,
                    _ => Answers::OneOf,
                };
                (Means::Taught { answers, width, kind }, weight.unwrap_or(0.5))
            }
            Lesson::Consistency => {
                let (temperature, sure) =
                    (beside.temperature.unwrap_or(TEMPERATURE), beside.sure.unwrap_or(SURE));
                (Means::Alike { temperature, sure }, weight.unwrap_or(CONSISTENCY))
            }
            Lesson::Domain if recipe.freezes_encoder() => {
                return Err(Error::Task(
                    "beside: the lesson domain teaches the encoder, which is frozen; leave one of the two out".to_string(),
                ));
            }
            Lesson::Domain => {
                let (width, group) = (model.width_to(model.depth()), model.store.top_group());
                let net = DomainNet::attach(&mut model.store, width, group, derive(seed, "domain"))?;
                (Means::Net(net), weight.unwrap_or(DOMAIN))
            }
        };
        Ok(Some(Beside { part, weight, means, seed, strength: 0.0 }))
    }

    /// Batches of an epoch of the task with as many texts beside in each, as units from `own` on. All of these are drawn before
    /// one is drawn again.
    pub fn join(&self, batches: Vec<Vec<usize>>, epoch: usize, own: usize) -> Vec<Vec<usize>> {
        let each: usize = batches.iter().map(Vec::len).sum();
        let (count, mut at) = (self.texts(), epoch * each);
        let mut round = usize::MAX;
        let mut order: Vec<usize> = Vec::new();
        let mut next = || {
            if at / count != round {
                round = at / count;
                order = (0..count).collect();
                Stream(derive(self.seed, &format!("beside/round {round}"))).shuffle(&mut order);
            }
            at += 1;
            own + order[(at - 1) % count]
        };
        let join = |mut batch: Vec<usize>| {
            (0..batch.len()).for_each(|_| batch.push(next()));
            batch
        };
        batches.into_iter().map(join).collect()
    }

    /// Texts, those with words replaced not counted.
    fn texts(&self) -> usize {
        if self.changed() { self.part.len() / 2 } else { self.part.len() }
    }

    fn changed(&self) -> bool {
        matches!(self.means, Means::Alike { .. })
    }

    /// What is learnt from in place of texts: they, or they with words replaced.
    pub fn learnt(&self, texts: &[usize]) -> Vec<usize> {
        let further = if self.changed() { self.texts() } else { 0 };
        texts.iter().map(|text| text + further).collect()
    }

    /// How many times as fast as others a parameter learns.
    pub fn pace(&self, param: ParamId) -> f64 {
        if matches!(&self.means, Means::Net(net) if net.has(param)) { PACE } else { 1.0 }
    }

    /// Is told which step comes next.
    pub fn at(&mut self, progress: Progress) {
        self.strength = (strength(progress) * f64::from(self.weight)) as f32;
    }

    /// The loss of a batch from that of the task's texts, and what the lesson asks of those beside.
    ///
    /// # Errors
    /// A parameter without values.
    pub fn loss(&self, pass: &Pass, own: Tensor<1>, asked: &Asked) -> Result<Tensor<1>, Error> {
        match &self.means {
            Means::Net(net) => Ok(own + net.loss(pass, asked.features.clone(), asked.first, self.strength)?),
            Means::Labels => Ok(own * (1.0 - self.weight) + (asked.labels)()? * self.weight),
            Means::Taught { answers, width, kind } => {
                let row = |&text: &usize| answers[text * width..(text + 1) * width].iter().copied();
                let answers: Vec<f32> = asked.texts.iter().flat_map(row).collect();
                let theirs = follow((asked.outputs)()?, &answers, *kind);
                Ok(own * (1.0 - self.weight) + theirs * self.weight)
            }
            Means::Alike { temperature, sure } => {
                let answers = settled((asked.as_is)(asked.texts)?, *temperature, *sure)?;
                Ok(own + follow((asked.outputs)()?, &answers, Answers::OneOf) * self.weight)
            }
        }
    }
}

/// Units of the task, and units beside counted from 0.
pub(crate) fn apart(units: &[usize], own: usize) -> (Vec<usize>, Vec<usize>) {
    let (ours, beside): (Vec<usize>, Vec<usize>) = units.iter().partition(|unit| **unit < own);
    (ours, beside.into_iter().map(|unit| unit - own).collect())
}

/// Rows that a batch's features have.
pub(crate) fn rows(model: &Model, packed: &Packed) -> usize {
    if model.pooled().is_some() { packed.batch() } else { packed.tokens() }
}

/// A sampler that draws texts the more often the more they are like those beside, as a linear model on words tells the two apart.
///
/// # Errors
/// Texts without a single word.
pub(crate) fn drawn_by_likeness(
    sampler: Sampler,
    train: &Dataset,
    beside: &Dataset,
) -> Result<Sampler, Error> {
    Ok(sampler.weighted(&likeness(train, beside)?)?)
}

/// For each text the ratio of how likely it is among those beside to how likely it is among its own, on average 1.
fn likeness(train: &Dataset, beside: &Dataset) -> Result<Vec<f64>, Error> {
    let (own, other) = (texts(train), texts(beside));
    let all: Vec<&String> = own.iter().chain(&other).collect();
    let domains: Vec<u32> = (0..all.len()).map(|at| u32::from(at >= own.len())).collect();
    let model = TfidfLogistic::fit(&all, &domains, 2, &TfidfLogisticOptions::default())?;
    let size = own.len() as f64 / other.len().max(1) as f64;
    let chances = model.predict_proba(&own);
    let ratio = |two: &[f32]| size * f64::from(two[1]) / f64::from(two[0]).max(1e-6);
    let ratios: Vec<f64> = chances.chunks_exact(2).map(ratio).collect();
    let mean = ratios.iter().sum::<f64>() / ratios.len().max(1) as f64;
    Ok(ratios.iter().map(|ratio| (ratio / mean.max(1e-12)).min(MOST)).collect())
}

#[cfg(test)]
mod tests {
    use topwork_data::Example;

    use super::*;

    fn dataset(texts: &[&str]) -> Dataset {
        let example = |(row, text): (usize, &&str)| Example {
            text: text.to_string(),
            pair: None,
            label: None,
            row: row + 1,
            id: None,
        };
        Dataset::given(texts.iter().enumerate().map(example).collect())
    }

    #[test]
    fn texts_like_those_beside_are_drawn_more_often() {
        let train = ["a red book", "a blue book", "a sharp knife", "the long book", "one book more"];
        let weights =
            likeness(&dataset(&train), &dataset(&["a sharp knife", "the knife", "one knife"])).unwrap();
        assert!(
            weights.iter().enumerate().all(|(at, &weight)| at == 2 || weight < weights[2]),
            "{weights:?}"
        );
        let mean = weights.iter().sum::<f64>() / 5.0;
        assert!((mean - 1.0).abs() < 1e-9, "{mean}");
    }

    #[test]
    fn the_lesson_of_domains_grows_from_nothing() {
        let at = |step| strength(Progress { epoch: 0, step, total: 100 });
        assert_eq!(at(0), 0.0);
        assert!((at(50) - 0.986_614).abs() < 1e-6 && at(99) < 1.0 && at(99) > at(50), "{}", at(50));
    }

    #[test]
    fn units_beside_stand_behind_those_of_the_task() {
        assert_eq!(apart(&[3, 7, 5, 9], 6), (vec![3, 5], vec![1, 3]));
    }
}
