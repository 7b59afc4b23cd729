//! One answer a text: a label of several, any number of labels, or a number.
//!
//! Paper: Devlin et al. 2019, "BERT", section 3.2 (fine-tuning), <https://arxiv.org/abs/1810.04805>

use std::sync::Arc;

use topwork_data::{Dataset, Inputs, LabelMap, Labels};
use topwork_models::{Groups, HeadSpec, Pooling, Targets};
use topwork_train::metrics::{Metric, MetricError, Outcome, Task as MetricTask};

use super::part::select;
use super::{Encode, Judge, LanguageTask, Measured, Part, Run, TaskBatch, Units};
use crate::error::Error;
use crate::prepare::Prepared;
use crate::recipe::{Kind, TaskRecipe};
use crate::report::{Mistake, Mistakes};
use crate::scoring::outcome;
use crate::slices::predicates;

/// One label of several.
pub const CLASSIFY: Texts = Texts(Kind::Classify);
/// Any number of labels.
pub const MULTI_LABEL: Texts = Texts(Kind::MultiLabel);
/// A number.
pub const REGRESS: Texts = Texts(Kind::Regress);

/// One answer a text.
pub struct Texts(Kind);

impl LanguageTask for Texts {
    fn kind(&self) -> Kind {
        self.0
    }

    fn title(&self) -> &'static str {
        match self.0 {
            Kind::MultiLabel => "Multi-label classification",
            Kind::Regress => "Text regression",
            _ => "Text classification",
        }
    }

    fn summary(&self) -> &'static str {
        match self.0 {
            Kind::MultiLabel => "any number of labels for a text or a pair of texts",
            Kind::Regress => "a number for a text or a pair of texts",
            _ => "one label of several for a text or a pair of texts",
        }
    }

    fn paper(&self) -> &'static str {
        "https://arxiv.org/abs/1810.04805"
    }

    fn in_python(&self, folder: &str) -> String {
        format!(
            "from transformers import pipeline\n\nprint(pipeline(\"text-classification\", {folder:?})(\"some text\"))\n"
        )
    }

    fn pools(&self) -> bool {
        true
    }

    fn measures(&self) -> MetricTask {
        match self.0 {
            Kind::MultiLabel => MetricTask::MultiLabel,
            Kind::Regress => MetricTask::Scores,
            _ => MetricTask::Classes,
        }
    }

    fn reader(&self) -> topwork_data::Task {
        match self.0 {
            Kind::MultiLabel => topwork_data::Task::Multi,
            Kind::Regress => topwork_data::Task::Score,
            _ => topwork_data::Task::Class,
        }
    }

    fn stratified(&self) -> bool {
        self.0 != Kind::MultiLabel
    }

    fn labels(&self, train: &Dataset) -> Result<Option<LabelMap>, Error> {
        Ok(if self.0 == Kind::Regress { None } else { Some(LabelMap::from_dataset(train)?) })
    }

    fn encode(&self, dataset: Dataset, encode: &Encode) -> Result<Part, Error> {
        let inputs = Inputs::new(&dataset, encode.tokenizer, encode.max_length, encode.map)?;
        Ok(Part::examples(dataset, inputs).sliced(&predicates(&encode.task.slices)?))
    }

    fn head(&self, task: &TaskRecipe, labels: &[String]) -> HeadSpec {
        let pool = task.pool.unwrap_or(Pooling::Family);
        let (body, layers) = (task.body.unwrap_or_default(), task.layers.unwrap_or_default());
        match self.0 {
            Kind::Regress => HeadSpec::Regress { pool, body, layers },
            kind => {
                let several = kind == Kind::MultiLabel;
                let groups = Groups::new(task.groups.iter().map(Vec::len).collect());
                let slices = task.slices.clone();
                HeadSpec::Classify { labels: labels.to_vec(), several, pool, body, layers, groups, slices }
            }
        }
    }

    fn decide(&self, task: &mut TaskRecipe, _: &Prepared) {
        if task.ordinal > 0.0 {
            task.metric.get_or_insert_with(|| "quadratic-kappa".to_string());
        }
    }

    fn batch(&self, part: &Part, units: &[usize], draw: Option<u64>) -> Result<TaskBatch, Error> {
        let mut batch = part.batch(units);
        // What parts a text is in is learnt, not measured: the loss of other texts is that of the answers alone.
        if let (Units::Sliced(members), Some(Targets::Classes(classes)), true) =
            (&part.units, &batch.targets, draw.is_some())
        {
            batch.targets = Some(Targets::Sliced(Arc::clone(classes), select(members, units)));
        }
        Ok(batch)
    }

    fn remarks(&self, train: &Part) -> Vec<String> {
        let Units::Sliced(members) = &train.units else { return Vec::new() };
        let counts: Vec<String> = (0..members.parts).map(|part| members.count(part).to_string()).collect();
        vec![format!(
            "training texts in the parts that have experts: {} of {}",
            counts.join(", "),
            train.len()
        )]
    }

    fn default_metric(&self, data: &Prepared) -> &'static str {
        match self.0 {
            Kind::MultiLabel => "micro-f1",
            Kind::Regress => "pearson",
            _ if data.positive.is_some() => "f1",
            _ => "macro-f1",
        }
    }

    fn check(&self, dev: &Part, metric: &Metric, judge: &Judge) -> Result<(), Error> {
        if metric.spec().is_none() {
            return Ok(());
        }
        let width = judge.labels.len().max(1);
        // Outputs that are all different: what has no value for them has none for any.
        let values: Vec<f32> = (0..dev.len() * width).map(|at| (at as f32).sin()).collect();
        has_value(metric, &outcome(&dev.inputs.labels, &values, width, judge.positive)?, "examples")
    }

    fn measure(&self, run: &Run, part: &Part) -> Result<Measured, Error> {
        let outputs = run.outputs(part)?;
        let width = outputs.values.len() / part.len().max(1);
        let values = own(run, part, outputs.values);
        let mut outcome = outcome(&part.inputs.labels, &values, width, run.judge.positive)?;
        if let Some(threshold) = run.judge.threshold {
            outcome = outcome.with_thresholds(&[threshold])?;
        }
        if let Some(costs) = run.judge.costs {
            outcome = costs.decide(outcome)?;
        }
        Measured::of_outcome(outcome, &run.judge, outputs.loss)
    }

    fn mistakes(&self, measured: &Measured, data: &Prepared) -> Option<Mistakes> {
        let outcome = measured.outcome()?;
        let (Labels::Class(truth), Some(predicted)) = (&data.test.inputs.labels, outcome.predicted_classes())
        else {
            return None;
        };
        let width = data.labels.len();
        let mut wrong: Vec<(usize, f64)> = (0..truth.len())
            .filter(|&i| truth[i] != predicted[i])
            .map(|i| (i, outcome.probabilities()[i * width + predicted[i] as usize]))
            .collect();
        wrong.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let worst = wrong.iter().take(super::WORST).map(|&(i, probability)| {
            let example = &data.test.dataset.examples[i];
            Mistake {
                id: data.test.dataset.place(i),
                text: super::relation::shown(example),
                gold: data.labels[truth[i] as usize].clone(),
                predicted: data.labels[predicted[i] as usize].clone(),
                probability: Some(probability),
                weights: Vec::new(),
            }
        });
        Some(Mistakes { total: wrong.len() as u64, texts: truth.len() as u64, worst: worst.collect() })
    }
}

/// Outputs of which, in the heads of several tasks side by side, only those of a text's own task count.
fn own(run: &Run, part: &Part, mut values: Vec<f32>) -> Vec<f32> {
    if let (HeadSpec::Classify { groups, .. }, Labels::Class(classes)) =
        (run.model.spec(), &part.inputs.labels)
        && let Some(mask) = groups.mask(classes)
    {
        values.iter_mut().zip(mask).for_each(|(value, mask)| *value += mask);
    }
    values
}

/// Refuses a metric that has no value on an outcome of all development data, `what` it is about.
pub(super) fn has_value(metric: &Metric, outcome: &Outcome, what: &str) -> Result<(), Error> {
    match metric.of(outcome) {
        Err(MetricError::Undefined { name, reason }) => Err(Error::Task(format!(
            "{name} has no value on the {} development {what}: {reason}; give more or other development data, or judge by \
             another metric (--metric)",
            outcome.examples()
        ))),
        _ => Ok(()),
    }
}
