//! How often the texts of each of several tasks are drawn that are learnt in the same steps.

use std::ops::Range;
use std::str::FromStr;

use burn::tensor::{Tensor, TensorData};
use topwork_data::{Labels, Sampler};
use topwork_models::head::Groups;
use topwork_nn::{Error as NnError, Init, ParamId, ParamKind, ParamStore, Pass};

use crate::error::Error;
use crate::recipe::{Kind, Recipe};

/// How much of an epoch is each task's: a task of `n` texts has a share in proportion to `n` to some power.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mixing {
    /// The power 1: as many as there are.
    Proportional,
    /// The power 1/2.
    Sqrt,
    /// The power 0: as many of each task.
    Equal,
    /// The power `1 / temperature`.
    ///
    /// Paper: Raffel et al. 2020, "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer", section
    /// 3.5.2 (temperature-scaled mixing), <https://arxiv.org/abs/1910.10683>
    Temperature(f64),
    /// From the power 1 in the first epoch to 0.2 in the last.
    ///
    /// Paper: Stickland and Murray 2019, "BERT and PALs", section 3.1 (annealed sampling), <https://arxiv.org/abs/1902.02671>
    Annealed,
    /// In proportion to how undecided the model is about the texts of each task, however many there are: the entropy of its
    /// answers, divided by the greatest that the task's labels allow. It is taken from the batches that are learnt, and what it
    /// was when an epoch began decides about that epoch.
    ///
    /// Paper: Pilault, El hattami, Pal 2021, "Conditionally Adaptive Multi-Task Learning", section 2.3 (multi-task uncertainty
    /// sampling), <https://arxiv.org/abs/2009.09139>. There each batch is chosen among candidates of all tasks.
    Uncertainty,
}

/// Below that share of the greatest entropy a task counts as if it were so: none is left out for good.
const LEAST: f64 = 0.02;

impl FromStr for Mixing {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || {
            Error::Task(format!(
                "a mixing is proportional, sqrt, equal, annealed, uncertainty or temperature=N with N of at least 1, got {text:?}"
            ))
        };
        match (text, text.strip_prefix("temperature=")) {
            ("proportional", _) => Ok(Mixing::Proportional),
            ("sqrt", _) => Ok(Mixing::Sqrt),
            ("equal", _) => Ok(Mixing::Equal),
            ("annealed", _) => Ok(Mixing::Annealed),
            ("uncertainty", _) => Ok(Mixing::Uncertainty),
            (_, Some(number)) => {
                let read = number.parse().ok().filter(|t: &f64| t.is_finite() && *t >= 1.0);
                read.map(Mixing::Temperature).ok_or_else(wrong)
            }
            _ => Err(wrong()),
        }
    }
}

impl Mixing {
    fn power(self, epoch: usize, epochs: usize) -> f64 {
        match self {
            Mixing::Proportional => 1.0,
            Mixing::Sqrt => 0.5,
            Mixing::Equal | Mixing::Uncertainty => 0.0,
            Mixing::Temperature(temperature) => 1.0 / temperature,
            Mixing::Annealed => 1.0 - 0.8 * epoch as f64 / (epochs.max(2) - 1) as f64,
        }
    }
}

/// The task of each text, and how they are mixed.
pub(crate) struct Mixed {
    mixing: Mixing,
    tasks: Vec<usize>,
    sizes: Vec<usize>,
    epochs: usize,
    /// The labels of each task, as a range of their numbers.
    labels: Vec<Range<usize>>,
    undecided: Option<Undecided>,
}

/// How undecided the model is about each task: parameters that are measured, so that they are a part of checkpoints.
struct Undecided {
    /// As batches show it.
    now: ParamId,
    /// As it was when the epoch began.
    then: ParamId,
}

impl Mixed {
    /// As a recipe says; `None` if it says nothing.
    ///
    /// # Errors
    /// [`Error::Task`] for labels of one task, or texts that are drawn by their class or their likeness too.
    pub fn new(recipe: &Recipe, kind: Kind, labels: &Labels, epochs: usize) -> Result<Option<Self>, Error> {
        let Some(mixing) = &recipe.batch.mixing else { return Ok(None) };
        let mixing: Mixing = mixing.parse()?;
        let groups = &recipe.task.groups;
        let (Kind::Classify, Labels::Class(classes), true) = (kind, labels, groups.len() > 1) else {
            return Err(Error::Task(
                "batch.mixing: there is one task only; the labels of several stand in task.groups"
                    .to_string(),
            ));
        };
        if recipe.batch.oversample {
            return Err(Error::Task(
                "batch.mixing and batch.oversample both say what is drawn: leave one out".to_string(),
            ));
        }
        if mixing == Mixing::Uncertainty && recipe.batch.tokens > 0 {
            return Err(Error::Task(
                "batch.mixing = \"uncertainty\" and batch.tokens: how many steps there are would hang on the model; leave batch.tokens out"
                    .to_string(),
            ));
        }
        let own: Vec<Range<usize>> = Groups::new(groups.iter().map(Vec::len).collect()).ranges().collect();
        let task = |class: &u32| own.iter().position(|own| own.contains(&(*class as usize))).unwrap_or(0);
        let tasks: Vec<usize> = classes.iter().map(task).collect();
        let sizes = (0..groups.len()).map(|one| tasks.iter().filter(|&&task| task == one).count()).collect();
        Ok(Some(Mixed { mixing, tasks, sizes, epochs, labels: own, undecided: None }))
    }

    /// Declares what is measured, where the mixing is by what is.
    ///
    /// # Errors
    /// None that a fresh parameter could have.
    pub fn attach(&mut self, store: &mut ParamStore) -> Result<(), Error> {
        if self.mixing != Mixing::Uncertainty {
            return Ok(());
        }
        let top = store.iter().map(|(_, param)| param.group).max().unwrap_or(0);
        let mut declare = |path: &str| -> Result<ParamId, Error> {
            let shape = [self.sizes.len()];
            let id = store.declare_attachment(path, &shape, top, ParamKind::Running, Init::Ones);
            store.initialise(id, 0)?;
            Ok(id)
        };
        self.undecided = Some(Undecided {
            now: declare("mixing.undecided.now")?,
            then: declare("mixing.undecided.then")?,
        });
        Ok(())
    }

    /// Whether batches are asked what the model makes of them.
    pub fn asks(&self) -> bool {
        self.undecided.is_some()
    }

    /// What was measured decides about the epoch that begins.
    ///
    /// # Errors
    /// A parameter without values.
    pub fn begins(&self, store: &mut ParamStore) -> Result<(), NnError> {
        let Some(Undecided { now, then }) = &self.undecided else { return Ok(()) };
        let values = store.values(*now)?;
        store.set(*then, values)
    }

    /// Notes how undecided answers are.
    ///
    /// # Shapes
    /// - `answers`: `[units, labels]`, row-major, the outputs of the head
    ///
    /// # Errors
    /// A parameter without values.
    pub fn note(&self, pass: &Pass, units: &[usize], answers: &[f32]) -> Result<(), NnError> {
        let Some(Undecided { now, .. }) = &self.undecided else { return Ok(()) };
        let width = self.labels.last().map_or(1, |last| last.end);
        let mut sums = vec![(0.0, 0_usize); self.sizes.len()];
        for (&unit, row) in units.iter().zip(answers.chunks_exact(width)) {
            let task = self.tasks[unit];
            sums[task].0 += entropy(&row[self.labels[task].clone()]);
            sums[task].1 += 1;
        }
        let mut values = pass.store().values(*now)?;
        for (value, (sum, count)) in values.iter_mut().zip(sums).filter(|(_, (_, count))| *count > 0) {
            *value = (sum / count as f64) as f32;
        }
        let count = values.len();
        let seen = Tensor::<1>::from_data(TensorData::new(values, [count]), pass.store().device());
        pass.observe(*now, seen);
        Ok(())
    }

    /// The batches of an epoch.
    ///
    /// # Errors
    /// A sampler that draws by class already; a parameter without values.
    pub fn epoch(
        &self,
        sampler: &Sampler,
        epoch: usize,
        store: &ParamStore,
    ) -> Result<Vec<Vec<usize>>, Error> {
        let power = self.mixing.power(epoch, self.epochs);
        let share = match &self.undecided {
            None => vec![1.0; self.sizes.len()],
            Some(known) => {
                store.values(known.then)?.into_iter().map(|value| f64::from(value).max(LEAST)).collect()
            }
        };
        let weight = |task: &usize| share[*task] * (self.sizes[*task] as f64).powf(power - 1.0);
        let weights: Vec<f64> = self.tasks.iter().map(weight).collect();
        Ok(sampler.clone().weighted(&weights)?.epoch(epoch as u64))
    }
}

/// The entropy of the softmax of outputs, as a share of the greatest that there is.
fn entropy(outputs: &[f32]) -> f64 {
    let most = outputs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = outputs.iter().map(|output| f64::from(output - most).exp()).collect();
    let sum: f64 = powers.iter().sum();
    let terms = powers.iter().map(|power| power / sum).filter(|share| *share > 0.0);
    -terms.map(|share| share * share.ln()).sum::<f64>() / (outputs.len() as f64).ln()
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use topwork_data::BatchSize;
    use topwork_kernels::gemm::Precision;
    use topwork_nn::Gradients;

    use super::*;
    use crate::recipe::BatchRecipe;

    #[test]
    fn shares_are_those_of_the_power() {
        let mut recipe = Recipe::new("m", "d");
        recipe.task.groups = vec![vec!["a".into(), "b".into()], vec!["c".into(), "d".into()]];
        // 900 texts of the first task, 100 of the second.
        let classes: Vec<u32> = (0..1000).map(|at| if at < 900 { at % 2 } else { 2 + at % 2 }).collect();
        let labels = Labels::Class(classes);
        let size = BatchSize { examples: Some(10), tokens: None };
        let sampler = Sampler::new(vec![1; 1000], size, 3).unwrap();
        let store = ParamStore::new(&Device::flex());
        let mut share = |mixing: &str, epoch: usize| {
            recipe.batch.mixing = Some(mixing.to_string());
            let mixed = Mixed::new(&recipe, Kind::Classify, &labels, 5).unwrap().unwrap();
            let drawn = mixed.epoch(&sampler, epoch, &store).unwrap().concat();
            assert_eq!(drawn, mixed.epoch(&sampler, epoch, &store).unwrap().concat());
            drawn.iter().filter(|&&text| text >= 900).count() as f64 / drawn.len() as f64
        };
        for (mixing, epoch, expected) in [
            ("proportional", 0, 0.1),
            ("sqrt", 3, 0.25),
            ("equal", 1, 0.5),
            ("temperature=2", 0, 0.25),
            ("annealed", 0, 0.1),
            // 100^0.2 / (100^0.2 + 900^0.2)
            ("annealed", 4, 0.3919),
        ] {
            let got = share(mixing, epoch);
            assert!((got - expected).abs() < 0.004, "{mixing} {epoch}: {got}");
        }
    }

    /// Two tasks of two and three labels, 900 texts of the one and 100 of the other.
    fn uncertain() -> (Mixed, ParamStore, Sampler) {
        let mut recipe = Recipe::new("m", "d");
        recipe.task.groups = vec![vec!["a".into(), "b".into()], vec!["c".into(), "d".into(), "e".into()]];
        recipe.batch.mixing = Some("uncertainty".to_string());
        recipe.batch.tokens = 0;
        let classes = (0..1000).map(|at| if at < 900 { at % 2 } else { 2 + at % 3 }).collect();
        let mut mixed = Mixed::new(&recipe, Kind::Classify, &Labels::Class(classes), 5).unwrap().unwrap();
        let mut store = ParamStore::new(&Device::flex());
        mixed.attach(&mut store).unwrap();
        let size = BatchSize { examples: Some(10), tokens: None };
        (mixed, store, Sampler::new(vec![1; 1000], size, 3).unwrap())
    }

    #[test]
    fn a_task_is_drawn_the_more_often_the_more_undecided_the_model_is() {
        let (mixed, mut store, sampler) = uncertain();
        let share = |store: &ParamStore| {
            let drawn = mixed.epoch(&sampler, 1, store).unwrap().concat();
            drawn.iter().filter(|&&text| text >= 900).count() as f64 / drawn.len() as f64
        };
        assert!((share(&store) - 0.5).abs() < 0.004, "nothing is known: {}", share(&store));
        // Sure of the first task, outputs of the second do not count; of the second nothing is known.
        let answers =
            [[9.0, -9.0, 1.0, 1.0, 1.0], [-5.0, 5.0, 1.0, 1.0, 1.0], [7.0, 0.0, 2.0, 2.0, 2.0]].concat();
        let trainable = [true; 2];
        for _ in 0..60 {
            let pass = Pass::train(&store, Precision::F32, 1, &trainable);
            mixed.note(&pass, &[0, 1, 950], &answers).unwrap();
            let mut gradients: Gradients =
                pass.backward(&Tensor::<1>::zeros([1], store.device()).autodiff().require_grad()).unwrap();
            for (id, seen) in gradients.take_observed() {
                store.move_to(id, seen).unwrap();
            }
        }
        assert!((share(&store) - 0.5).abs() < 0.004, "the epoch goes on as it began");
        mixed.begins(&mut store).unwrap();
        // 0.02 and 1.
        assert!((share(&store) - 1.0 / 1.02).abs() < 0.004, "{}", share(&store));
    }

    #[test]
    fn entropy_is_a_share_of_the_greatest() {
        for (outputs, expected) in [
            (&[0.0, 0.0][..], 1.0),
            (&[3.0, 3.0, 3.0], 1.0),
            (&[0.0, 200.0], 0.0),
            // 3/4 and 1/4.
            (&[3.0_f32.ln(), 0.0], 0.811_278),
        ] {
            assert!((entropy(outputs) - expected).abs() < 1e-6, "{outputs:?}: {}", entropy(outputs));
        }
    }

    #[test]
    fn what_mixes_nothing_is_refused() {
        for text in ["temperature=0.5", "temperature=x", "even", ""] {
            let error = text.parse::<Mixing>().unwrap_err().to_string();
            assert!(error.contains("annealed"), "{error}");
        }
        let mut recipe = Recipe::new("m", "d");
        recipe.batch.mixing = Some("equal".into());
        let labels = Labels::Class(vec![0, 1]);
        let refused =
            |recipe: &Recipe| Mixed::new(recipe, Kind::Classify, &labels, 1).err().unwrap().to_string();
        assert!(refused(&recipe).contains("one task only"));
        recipe.task.groups = vec![vec!["a".into()], vec!["b".into()]];
        recipe.batch.oversample = true;
        assert!(refused(&recipe).contains("leave one out"));
        recipe.batch = BatchRecipe { mixing: Some("uncertainty".into()), tokens: 500, ..recipe.batch };
        recipe.batch.oversample = false;
        assert!(refused(&recipe).contains("batch.tokens"));
    }
}
