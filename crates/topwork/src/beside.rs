//! Texts of another domain or task that are learnt from beside those of the task: their labels, or to be told apart from the
//! task's no more, or to be looked like. What each is, [`Lesson`] says.
//!
//! They stand in the same batches, as units behind those of the task: so what a step learns from depends on its number alone, and
//! a run that is gone on with asks for the same.

use std::f64::consts::E;

use burn::tensor::Tensor;
use topwork_data::{Dataset, Sampler};
use topwork_kernels::rng::{Stream, derive};
use topwork_models::Model;
use topwork_nn::layers::Linear;
use topwork_nn::{Init, ParamId, ParamKind, ParamStore, Pass, loss};
use topwork_text::Packed;
use topwork_train::baseline::{TfidfLogistic, TfidfLogisticOptions};
use topwork_train::plan::Progress;

use crate::error::Error;
use crate::linear_baseline::texts;
use crate::recipe::{BesideRecipe, Kind, Lesson, Recipe};
use crate::tasks::Part;

/// Numbers in the hidden layer of what tells domains apart.
const HIDDEN: usize = 100;

/// How much the lesson of domains weighs when nothing is said.
const DOMAIN: f32 = 0.1;

/// How many times as fast as the encoder the net learns: an encoder that outruns it learns to deceive what it was, not to be alike.
const PACE: f64 = 10.0;

/// How much more often than on average a text may be drawn: a few odd ones would be all of an epoch.
const MOST: f64 = 10.0;

/// Refuses texts beside that teach nothing, or not this task.
///
/// # Errors
/// [`Error::Task`].
pub(crate) fn check(recipe: &Recipe, kind: Kind) -> Result<(), Error> {
    let Some(beside) = &recipe.beside else { return Ok(()) };
    let wrong = |what: String| Err(Error::Task(what));
    if !matches!(kind, Kind::Classify | Kind::MultiLabel | Kind::Regress | Kind::Tag) {
        return wrong(format!(
            "beside: texts are learnt from beside those of classes, several labels, numbers and tags, not of {}; leave it out",
            kind.name()
        ));
    }
    let Some(weight) = beside.weight else { return Ok(()) };
    match beside.lesson {
        Lesson::Labels if !(weight > 0.0 && weight < 1.0) => {
            wrong(format!("beside.weight: expected a share between 0 and 1, got {weight}"))
        }
        Lesson::Domain if !(weight > 0.0 && weight.is_finite()) => {
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

/// Texts that are learnt from beside those of the task.
pub(crate) struct Beside<'a> {
    pub part: &'a Part,
    weight: f32,
    net: Option<DomainNet>,
    seed: u64,
    strength: f32,
}

impl<'a> Beside<'a> {
    /// What a recipe says of a part, with what its lesson needs attached to a model; `None` where the part is only looked at to
    /// draw others by.
    ///
    /// # Errors
    /// [`Error::Task`] for an encoder that stays as it is, which no lesson of domains reaches.
    pub fn new(
        part: Option<&'a Part>,
        recipe: &Recipe,
        model: &mut Model,
        seed: u64,
    ) -> Result<Option<Self>, Error> {
        let (Some(part), Some(BesideRecipe { lesson, weight, .. })) = (part, &recipe.beside) else {
            return Ok(None);
        };
        let (net, weight) = match lesson {
            Lesson::Likeness => return Ok(None),
            Lesson::Labels => (None, weight.unwrap_or(0.5)),
            Lesson::Domain if recipe.freezes_encoder() => {
                return Err(Error::Task(
                    "beside: the lesson domain teaches the encoder, which is frozen; leave one of the two out".to_string(),
                ));
            }
            Lesson::Domain => {
                let (width, group) = (model.width_to(model.depth()), model.store.top_group());
                let net = DomainNet::attach(&mut model.store, width, group, derive(seed, "domain"))?;
                (Some(net), weight.unwrap_or(DOMAIN))
            }
        };
        Ok(Some(Beside { part, weight, net, seed, strength: 0.0 }))
    }

    /// Batches of an epoch of the task with as many texts beside in each, as units from `own` on. All of these are drawn before
    /// one is drawn again.
    pub fn join(&self, batches: Vec<Vec<usize>>, epoch: usize, own: usize) -> Vec<Vec<usize>> {
        let each: usize = batches.iter().map(Vec::len).sum();
        let (count, mut at) = (self.part.len(), epoch * each);
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

    /// How many times as fast as others a parameter learns.
    pub fn pace(&self, param: ParamId) -> f64 {
        let own = self.net.as_ref().is_some_and(|net| net.has(param));
        if own { PACE } else { 1.0 }
    }

    /// Is told which step comes next.
    pub fn at(&mut self, progress: Progress) {
        self.strength = (strength(progress) * f64::from(self.weight)) as f32;
    }

    /// The loss of a batch from that of the task's texts, that of the labels beside, and what the encoder makes of both.
    ///
    /// # Errors
    /// A parameter without values.
    pub fn loss(
        &self,
        pass: &Pass,
        own: Tensor<1>,
        labels: impl FnOnce() -> Result<Tensor<1>, Error>,
        (features, first): (Tensor<2>, usize),
    ) -> Result<Tensor<1>, Error> {
        match &self.net {
            Some(net) => Ok(own + net.loss(pass, features, first, self.strength)?),
            None => Ok(own * (1.0 - self.weight) + labels()? * self.weight),
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
