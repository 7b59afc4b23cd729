//! How often the texts of each of several tasks are drawn that are learnt in the same steps.

use std::str::FromStr;

use topwork_data::{Labels, Sampler};

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
}

impl FromStr for Mixing {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || {
            Error::Task(format!(
                "a mixing is proportional, sqrt, equal, annealed or temperature=N with N of at least 1, got {text:?}"
            ))
        };
        match (text, text.strip_prefix("temperature=")) {
            ("proportional", _) => Ok(Mixing::Proportional),
            ("sqrt", _) => Ok(Mixing::Sqrt),
            ("equal", _) => Ok(Mixing::Equal),
            ("annealed", _) => Ok(Mixing::Annealed),
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
            Mixing::Equal => 0.0,
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
        let mut ends = Vec::new();
        for group in groups {
            ends.push(ends.last().copied().unwrap_or(0) + group.len());
        }
        let task = |class: &u32| ends.iter().position(|&end| (*class as usize) < end).unwrap_or(0);
        let tasks: Vec<usize> = classes.iter().map(task).collect();
        let sizes = (0..groups.len()).map(|own| tasks.iter().filter(|&&task| task == own).count()).collect();
        Ok(Some(Mixed { mixing, tasks, sizes, epochs }))
    }

    /// The batches of an epoch.
    ///
    /// # Errors
    /// A sampler that draws by class already.
    pub fn epoch(&self, sampler: &Sampler, epoch: usize) -> Result<Vec<Vec<usize>>, Error> {
        let power = self.mixing.power(epoch, self.epochs);
        let weight = |task: &usize| (self.sizes[*task] as f64).powf(power - 1.0);
        let weights: Vec<f64> = self.tasks.iter().map(weight).collect();
        Ok(sampler.clone().weighted(&weights)?.epoch(epoch as u64))
    }
}

#[cfg(test)]
mod tests {
    use topwork_data::BatchSize;

    use super::*;

    #[test]
    fn shares_are_those_of_the_power() {
        let mut recipe = Recipe::new("m", "d");
        recipe.task.groups = vec![vec!["a".into(), "b".into()], vec!["c".into(), "d".into()]];
        // 900 texts of the first task, 100 of the second.
        let classes: Vec<u32> = (0..1000).map(|at| if at < 900 { at % 2 } else { 2 + at % 2 }).collect();
        let labels = Labels::Class(classes);
        let size = BatchSize { examples: Some(10), tokens: None };
        let sampler = Sampler::new(vec![1; 1000], size, 3).unwrap();
        let mut share = |mixing: &str, epoch: usize| {
            recipe.batch.mixing = Some(mixing.to_string());
            let mixed = Mixed::new(&recipe, Kind::Classify, &labels, 5).unwrap().unwrap();
            let drawn = mixed.epoch(&sampler, epoch).unwrap().concat();
            assert_eq!(drawn, mixed.epoch(&sampler, epoch).unwrap().concat());
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
    }
}
