//! What is done where classes are rare, or where one mistake is dearer than another: weights, a focus, oversampling, costs.

use topwork_data::{LabelMap, Labels, Sampler};
use topwork_models::LossOptions;
use topwork_train::metrics::{CostMatrix, Outcome};

use crate::error::Error;
use crate::nearest::nearest;
use crate::prepare::Prepared;
use crate::recipe::{Kind, TaskRecipe};
use crate::tasks;

/// The largest exponent of the focal loss that is taken; the paper tries up to 5.
const MOST_FOCUS: f32 = 10.0;

/// The sharpest soft labels that are taken; neighbours are asked for with a share of a 20,000th then.
const MOST_SHARP: f32 = 10.0;

/// The loss that a recipe asks for. `width` is that of the model's vectors.
///
/// # Errors
/// [`Error::Task`] for a number out of range, and for a setting that the task's loss does not have.
pub(crate) fn loss(task: &TaskRecipe, data: &Prepared, width: usize) -> Result<LossOptions, Error> {
    check(task, data.kind)?;
    Ok(LossOptions {
        class_weights: data.class_weights.as_deref().map(Into::into),
        smoothing: task.smoothing,
        focal: task.focal,
        ordinal: task.ordinal,
        words: task.lm_weight,
        vectors: tasks::embed::loss(data.kind, task, width)?,
    })
}

/// Refuses settings of the loss that do not go with the task or with each other: one that is passed over in silence would be
/// taken for one that does not help.
///
/// # Errors
/// [`Error::Task`].
pub(crate) fn check(task: &TaskRecipe, kind: Kind) -> Result<(), Error> {
    let wrong = |what: String| Err(Error::Task(what));
    let labels = matches!(kind, Kind::Classify | Kind::MultiLabel | Kind::Tag | Kind::Relation);
    let has = |what: &str| {
        format!("{what}: the task {} has no labels of which some are rare; leave it out", kind.name())
    };
    if !(0.0..1.0).contains(&task.smoothing) {
        return wrong(format!("task.smoothing: expected 0 to below 1, got {}", task.smoothing));
    }
    if !(0.0..=MOST_FOCUS).contains(&task.focal) {
        return wrong(format!("task.focal: expected 0 to {MOST_FOCUS}, got {}", task.focal));
    }
    if task.focal > 0.0 && task.smoothing > 0.0 {
        return wrong("task.focal and task.smoothing pull the other way each: take one of them".to_string());
    }
    if task.focal > 0.0 && !labels {
        return wrong(has("task.focal"));
    }
    ordered(task, kind)?;
    if !task.groups.is_empty() && task.smoothing > 0.0 {
        return wrong(
            "task.smoothing would move a text towards labels of other tasks (task.groups): leave it out"
                .to_string(),
        );
    }
    let weighed = task.class_weights.as_deref().is_some_and(|weights| weights != "none");
    if weighed && !labels {
        return wrong(has("task.class-weights"));
    }
    if task.crf && (task.focal > 0.0 || task.smoothing > 0.0 || weighed) {
        return wrong(
            "a conditional random field scores the labels of a sentence as a whole: it has no class weights, smoothing or focus"
                .to_string(),
        );
    }
    Ok(())
}

/// Refuses what does not go with classes in order.
fn ordered(task: &TaskRecipe, kind: Kind) -> Result<(), Error> {
    let wrong = |what: String| Err(Error::Task(what));
    if !(0.0..=MOST_SHARP).contains(&task.ordinal) {
        return wrong(format!("task.ordinal: expected 0 to {MOST_SHARP}, got {}", task.ordinal));
    }
    if task.ordinal == 0.0 {
        return match task.order.as_slice() {
            [] => Ok(()),
            _ => wrong(
                "task.order says an order that nothing uses: set task.ordinal too (--ordinal)".to_string(),
            ),
        };
    }
    if kind != Kind::Classify || !task.groups.is_empty() {
        return wrong(format!(
            "task.ordinal: only one label of several of one task has an order, not {}; leave it out",
            if task.groups.is_empty() { kind.name() } else { "the labels of several tasks (task.groups)" }
        ));
    }
    if task.focal > 0.0 || task.smoothing > 0.0 {
        return wrong(
            "task.ordinal softens labels in its own way: leave out task.focal and task.smoothing".to_string(),
        );
    }
    Ok(())
}

/// The classes of a task from the lowest to the highest, as the recipe says or as numbers go; `None` where they have no order.
///
/// # Errors
/// [`Error::Task`] for a task without one label a text, for fewer than three classes, and for names that are no numbers and whose order is not said.
pub(crate) fn in_order(task: &TaskRecipe, kind: Kind, map: &LabelMap) -> Result<Option<LabelMap>, Error> {
    ordered(task, kind)?;
    if task.ordinal == 0.0 {
        return Ok(None);
    }
    let names = if task.order.is_empty() { map.names() } else { &task.order };
    if names.len() < 3 {
        return Err(Error::Task(format!(
            "task.ordinal: {} classes have no order that could help, three are the least; leave it out",
            names.len()
        )));
    }
    let number = |name: &&String| name.trim().parse::<f64>().is_ok_and(f64::is_finite);
    if let Some(name) = names.iter().find(|name| task.order.is_empty() && !number(name)) {
        return Err(Error::Task(format!(
            "task.ordinal: {name:?} is no number, so the order of the labels is not known: say it from the lowest to the \
             highest, as in task.order={:?}",
            map.names()
        )));
    }
    let known = |name: &&String| names.contains(name);
    if let Some(name) = map.names().iter().find(|name| !known(name)) {
        return Err(Error::Task(format!(
            "task.order has no {name:?}, which is a label of the training data; there are {}",
            map.names().join(", ")
        )));
    }
    Ok(Some(LabelMap::in_order(names.to_vec())?))
}

/// The sampler with rare classes drawn as often as frequent ones, where the recipe says so.
///
/// # Errors
/// [`Error::Task`] for a task whose texts have no class each.
pub(crate) fn oversampled(sampler: Sampler, oversample: bool, labels: &Labels) -> Result<Sampler, Error> {
    match labels {
        _ if !oversample => Ok(sampler),
        Labels::Class(classes) => Ok(sampler.oversampled(classes)?),
        _ => Err(Error::Task(
            "batch.oversample: only texts with one class each can be drawn by their class; leave it out"
                .to_string(),
        )),
    }
}

/// What wrong answers cost, from lines such as `ham as spam = 10`: what it costs to answer spam where ham is right. Wrong
/// answers that are not named cost 1. `None` without lines.
///
/// # Errors
/// [`Error::Task`] for a line of another form, a label that there is not, a price below 0, or a task without one label a text.
pub(crate) fn costs(lines: &[String], data: &Prepared) -> Result<Option<CostMatrix>, Error> {
    if lines.is_empty() {
        return Ok(None);
    }
    if !matches!(data.kind, Kind::Classify | Kind::Relation) {
        return Err(Error::Task(format!(
            "report.costs: costs are for tasks with one label a text, not for {}; leave them out",
            data.kind.name()
        )));
    }
    parse(lines, &data.labels).map(Some)
}

fn parse(lines: &[String], labels: &[String]) -> Result<CostMatrix, Error> {
    let count = labels.len();
    let mut prices: Vec<f64> =
        (0..count * count).map(|at| if at / count == at % count { 0.0 } else { 1.0 }).collect();
    for line in lines {
        let wrong = |reason: String| {
            Error::Task(format!("cost {line:?}: {reason}; costs look like \"ham as spam = 10\""))
        };
        let (names, price) = line.rsplit_once('=').ok_or_else(|| wrong("there is no = in it".into()))?;
        let price: f64 =
            price
                .trim()
                .parse()
                .ok()
                .filter(|price: &f64| price.is_finite() && *price >= 0.0)
                .ok_or_else(|| wrong(format!("expected a number of at least 0, got {:?}", price.trim())))?;
        // A label may have the word in it: any place counts that has labels on both sides.
        let names = names.trim();
        let number = |name: &str| labels.iter().position(|label| label == name.trim());
        let sides = names.match_indices(" as ").map(|(at, word)| (&names[..at], &names[at + word.len()..]));
        let found = sides.clone().find_map(|(truth, answer)| Some((number(truth)?, number(answer)?)));
        let Some((truth, answer)) = found else {
            let Some((truth, answer)) = sides.clone().next() else {
                return Err(wrong("there is no \"as\" in it".into()));
            };
            let missing = if number(truth).is_none() { truth } else { answer }.trim();
            let meant = nearest(missing, labels.iter().map(String::as_str)).unwrap_or_default();
            return Err(wrong(format!("{missing:?} is no label; did you mean {meant:?}?")));
        };
        if truth == answer && price > 0.0 {
            return Err(wrong("a right answer costs nothing".into()));
        }
        prices[truth * count + answer] = price;
    }
    Ok(CostMatrix::new(count, &prices)?)
}

/// What answers cost on the test data, for each text.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Costs {
    /// With the answers of least expected cost, which are given.
    pub chosen: f64,
    /// With the likeliest answers.
    pub likeliest: f64,
}

impl Costs {
    /// Of answers that were decided by `matrix`, and of the likeliest ones.
    ///
    /// # Errors
    /// Answers of another task than one label a text.
    pub(crate) fn of(matrix: &CostMatrix, chosen: &Outcome, labels: &Labels) -> Result<Self, Error> {
        let Labels::Class(truth) = labels else {
            return Err(Error::Task("costs are for texts with one label each".to_string()));
        };
        let likeliest = Outcome::classes(truth, chosen.probabilities(), matrix.labels())?;
        Ok(Costs { chosen: matrix.mean_cost(chosen)?, likeliest: matrix.mean_cost(&likeliest)? })
    }

    /// One line for the user.
    pub fn line(&self) -> String {
        format!(
            "a text costs {:.4} with the answers of least expected cost, which are given, and {:.4} with the likeliest ones",
            self.chosen, self.likeliest
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn costs_are_read_by_the_names_of_labels() {
        let names = labels(&["good as new", "new", "old"]);
        let matrix =
            parse(&labels(&["good as new as old = 5", "old as new=0.5", "new as good as new = 2"]), &names);
        assert_eq!(
            matrix.unwrap(),
            CostMatrix::new(3, &[0.0, 1.0, 5.0, 2.0, 0.0, 1.0, 1.0, 0.5, 0.0]).unwrap()
        );
        let refuse = |line: &str, part: &str| {
            let error = parse(&labels(&[line]), &names).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        };
        refuse("old as new", "no = in it");
        refuse("old, new = 3", "no \"as\"");
        refuse("old as neu = 3", "did you mean \"new\"");
        refuse("olt as new = 3", "\"olt\" is no label");
        refuse("old as new = -1", "at least 0");
        refuse("old as new = many", "got \"many\"");
        refuse("old as old = 1", "a right answer costs nothing");
    }

    #[test]
    fn dear_mistakes_are_made_less_often() {
        let matrix = parse(&labels(&["ham as spam = 9"]), &labels(&["ham", "spam"])).unwrap();
        let truth = [0u32, 0, 1, 1];
        let likeliest = Outcome::classes(&truth, &[0.3, 0.7, 0.9, 0.1, 0.05, 0.95, 0.2, 0.8], 2).unwrap();
        let chosen = matrix.decide(likeliest).unwrap();
        // Only where spam is at least nine times as likely.
        assert_eq!(chosen.predicted_classes().unwrap(), [0, 0, 1, 0]);
        let costs = Costs::of(&matrix, &chosen, &Labels::Class(truth.to_vec())).unwrap();
        assert_eq!(costs, Costs { chosen: 0.25, likeliest: 2.25 });
        assert!(costs.line().contains("0.2500") && costs.line().contains("2.2500"));
    }

    #[test]
    fn settings_that_do_nothing_are_refused() {
        let task = |change: &dyn Fn(&mut TaskRecipe)| {
            let mut task = TaskRecipe::default();
            change(&mut task);
            task
        };
        let refuse = |kind, change: &dyn Fn(&mut TaskRecipe), part: &str| {
            let error = check(&task(change), kind).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        };
        refuse(Kind::Regress, &|task| task.focal = 2.0, "task.focal: the task regress");
        refuse(
            Kind::Seq2Seq,
            &|task| task.class_weights = Some("balanced".into()),
            "task.class-weights: the task seq2seq",
        );
        refuse(Kind::Classify, &|task| task.focal = -1.0, "0 to 10, got -1");
        refuse(Kind::Classify, &|task| task.focal = f32::NAN, "got NaN");
        refuse(Kind::Classify, &|task| task.smoothing = 1.0, "below 1, got 1");
        refuse(Kind::Classify, &|task| (task.focal, task.smoothing) = (2.0, 0.1), "take one of them");
        refuse(Kind::Tag, &|task| (task.focal, task.crf) = (2.0, true), "as a whole");
        refuse(Kind::Classify, &|task| task.ordinal = -1.0, "0 to 10, got -1");
        refuse(Kind::Tag, &|task| task.ordinal = 1.0, "not tag");
        refuse(Kind::Classify, &|task| (task.ordinal, task.focal) = (1.0, 2.0), "leave out task.focal");
        refuse(Kind::Classify, &|task| task.order = labels(&["a", "b", "c"]), "set task.ordinal too");
        for kind in [Kind::Classify, Kind::MultiLabel, Kind::Tag, Kind::Relation] {
            check(&task(&|task| task.focal = 2.0), kind).unwrap();
        }
        check(&task(&|task| task.class_weights = Some("none".into())), Kind::Regress).unwrap();
    }

    #[test]
    fn classes_in_order_are_numbers_or_named() {
        let map = |names: &[&str]| LabelMap::new(labels(names)).unwrap();
        let task =
            |order: &[&str]| TaskRecipe { ordinal: 1.0, order: labels(order), ..TaskRecipe::default() };
        let names = |task: &TaskRecipe, of: &[&str]| {
            in_order(task, Kind::Classify, &map(of)).unwrap().map(|map| map.names().to_vec())
        };
        assert_eq!(names(&task(&[]), &["10", "9", "-1"]).unwrap(), ["-1", "9", "10"]);
        assert_eq!(
            names(&task(&["poor", "fair", "good"]), &["fair", "good", "poor"]).unwrap(),
            ["poor", "fair", "good"]
        );
        assert_eq!(names(&TaskRecipe::default(), &["b", "a"]), None);
        let refused = |order: &[&str], of: &[&str], part: &str| {
            let error = in_order(&task(order), Kind::Classify, &map(of)).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        };
        refused(&[], &["1", "2", "good"], "\"good\" is no number");
        refused(&[], &["1", "2"], "three are the least");
        refused(&["low", "mid", "top"], &["low", "mdi", "top"], "no \"mdi\"");
        refused(&["a", "b", "a"], &["a", "b"], "different names");
    }
}
