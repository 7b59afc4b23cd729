//! Fine-tuning techniques: one file each, one trait, one line in the list.

use burn::backend::DispatchTensor;
use serde_json::Value;
use topwork_nn::{Gradients, ParamId, ParamStore, Pattern};

use crate::error::Error;
use crate::metrics::nearest::nearest;
use crate::plan::{ParamInfo, Plan, Progress};
use crate::task::Task;
use crate::techniques;
use crate::view::View;

/// One fine-tuning technique. Every method has a default, so a file implements only what it is about. Plans may
/// only narrow (`train &=`) and multiply (`lr_scale *=`), and gradients are only added to: techniques then commute.
pub trait Technique {
    /// Gives parameters other values before anything else begins, and names those that it gave some; of a run that goes on, too.
    /// The seed is that of the run, for what is drawn later too.
    ///
    /// # Errors
    /// A parameter without values.
    fn renew(
        &mut self,
        _params: &[ParamInfo],
        _store: &mut ParamStore,
        _seed: u64,
    ) -> Result<Vec<ParamId>, Error> {
        Ok(Vec::new())
    }

    /// Sees the parameters as they are before the first step, and may attach to them what they are used as; of a run that goes
    /// on, too, before its state is loaded.
    ///
    /// # Errors
    /// A parameter without values, or one that something is attached to already.
    fn begin(&mut self, _params: &[ParamInfo], _store: &mut ParamStore) -> Result<(), Error> {
        Ok(())
    }

    /// Asks the task for what it needs to know of data, once before the first step; of a run that goes on, too, before its state
    /// is loaded.
    ///
    /// # Errors
    /// What the task finds wrong.
    fn consult(&mut self, _params: &[ParamInfo], _task: &dyn Task) -> Result<(), Error> {
        Ok(())
    }

    /// Whether it does something to a parameter, should that learn; `top` is the depth group of the head. One that finds no such
    /// parameter among those that learn is refused, for it would do nothing and say nothing.
    fn acts_on(&self, _param: &ParamInfo, _top: usize) -> bool {
        true
    }

    /// Decides which parameters move and how fast. Called before every step; must be a pure function.
    fn plan(&self, _at: Progress, _params: &[ParamInfo], _plan: &mut [Plan]) {}

    /// How it looks at batches, if that is otherwise than once. Techniques that have a view stand apart from each other.
    fn view(&self) -> Option<&dyn View> {
        None
    }

    /// The depth group from which on a step uses what is attached to the ends of blocks; the plan of the step must not train what
    /// is left out. Must be a pure function.
    fn grafts_from(&self, _at: Progress) -> usize {
        0
    }

    /// Adds the gradients of a term of the loss that depends on the parameters alone. Called after the audit and before
    /// clipping, once a step; only parameters that the plan trains may get one.
    ///
    /// # Errors
    /// A parameter without values.
    fn after_backward(
        &self,
        _params: &[ParamInfo],
        _plan: &[Plan],
        _store: &ParamStore,
        _gradients: &mut Gradients,
    ) -> Result<(), Error> {
        Ok(())
    }

    /// Sees the parameters after each step of the optimizer; `done` is the place of that step.
    ///
    /// # Errors
    /// A parameter without values.
    fn after_step(&mut self, _done: Progress, _plan: &[Plan], _store: &ParamStore) -> Result<(), Error> {
        Ok(())
    }

    /// Values that are measured and saved in the place of those that are trained, by parameter. They are a part of checkpoints:
    /// a technique has no other state.
    fn averages(&self) -> Vec<(ParamId, DispatchTensor)> {
        Vec::new()
    }

    /// Takes up [`Technique::averages`] of a run that goes on, whose parameters are in the store already.
    ///
    /// # Errors
    /// A parameter without values.
    fn restore(
        &mut self,
        _averages: Vec<(ParamId, DispatchTensor)>,
        _store: &ParamStore,
    ) -> Result<(), Error> {
        Ok(())
    }

    /// Names of other weights that are measured once, after the last step; the best are kept.
    fn variants(&self) -> Vec<String> {
        Vec::new()
    }

    /// The values of a variant where they are others than those in the store.
    ///
    /// # Errors
    /// A parameter without values.
    fn variant(&self, _number: usize, _store: &ParamStore) -> Result<Vec<(ParamId, DispatchTensor)>, Error> {
        Ok(Vec::new())
    }
}

/// How a technique is known from outside.
pub struct TechniqueEntry {
    /// Kebab-case name.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// Where it comes from.
    pub paper: &'static str,
    /// Its options.
    pub options: &'static [OptionSpec],
    /// Names of techniques that it cannot be combined with.
    pub apart: &'static [&'static str],
    /// Builds one from its options, given the parameters it will act on.
    pub build: Build,
}

/// An option of a technique.
pub struct OptionSpec {
    /// Kebab-case key.
    pub key: &'static str,
    /// What it means, with its default.
    pub about: &'static str,
}

/// How a technique is built.
pub type Build = fn(&Value, &[ParamInfo]) -> Result<Box<dyn Technique>, Error>;

/// Every technique, in the order `list` prints them.
pub const TECHNIQUES: &[&TechniqueEntry] = &[
    &techniques::freeze::ENTRY,
    &techniques::only::ENTRY,
    &techniques::unfreeze::ENTRY,
    &techniques::layer_decay::ENTRY,
    &techniques::bitfit::ENTRY,
    &techniques::l2_sp::ENTRY,
    &techniques::ema::ENTRY,
    &techniques::swa::ENTRY,
    &techniques::wise_ft::ENTRY,
    &techniques::mixout::ENTRY,
    &techniques::reinit::ENTRY,
    &techniques::r_drop::ENTRY,
    &techniques::r3f::ENTRY,
    &techniques::hold::ENTRY,
    &techniques::ewc::ENTRY,
    &techniques::adapter_drop::ENTRY,
];

/// The entry of that name, if these are options of it; their values are looked at with the parameters, by
/// [`TechniqueEntry::build`].
///
/// # Errors
/// [`Error::Unknown`] with the nearest name; [`Error::TechniqueOption`].
pub fn find(name: &str, options: &Value) -> Result<&'static TechniqueEntry, Error> {
    let names = || TECHNIQUES.iter().map(|entry| entry.name);
    let entry = TECHNIQUES.iter().find(|entry| entry.name == name).ok_or_else(|| Error::Unknown {
        kind: "technique",
        got: name.to_string(),
        nearest: nearest(name, names()).unwrap_or_default().to_string(),
        known: names().collect::<Vec<_>>().join(", "),
    })?;
    only(entry, options).map(|()| *entry)
}

/// Refuses options that are no table, and keys that the technique does not have.
fn only(entry: &TechniqueEntry, options: &Value) -> Result<(), Error> {
    let known = || entry.options.iter().map(|option| option.key).collect::<Vec<_>>().join(", ");
    let wrong = |got: String| Error::TechniqueOption { technique: entry.name, known: known(), got };
    let keys = options.as_object().ok_or_else(|| wrong(options.to_string()))?;
    match keys.keys().find(|key| entry.options.iter().all(|option| option.key != key.as_str())) {
        Some(key) => Err(wrong(key.clone())),
        None => Ok(()),
    }
}

/// Refuses techniques that cannot be combined.
///
/// # Errors
/// [`Error::Apart`].
pub fn together<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Result<(), Error> {
    for entry in TECHNIQUES.iter().filter(|entry| names.clone().any(|name| name == entry.name)) {
        if let Some(other) = entry.apart.iter().find(|other| names.clone().any(|name| name == **other)) {
            return Err(Error::Apart { one: entry.name, other });
        }
    }
    Ok(())
}

/// A number among the options, or the default, that must be in range.
pub(crate) fn in_range(
    entry: &TechniqueEntry,
    options: &Value,
    (key, default): (&'static str, f64),
    right: impl Fn(f64) -> bool,
    expected: &'static str,
) -> Result<f64, Error> {
    let value = number(entry, options, key, default)?;
    if right(value) {
        return Ok(value);
    }
    Err(Error::Option { name: entry.name, expected, got: format!("{key} = {value}") })
}

/// Numbers among the options: a list, a number alone, or a text as `0.2+0.5`, which is how a command line has lists.
pub(crate) fn numbers(
    entry: &TechniqueEntry,
    options: &Value,
    key: &'static str,
    right: impl Fn(f64) -> bool,
    expected: &'static str,
) -> Result<Option<Vec<f64>>, Error> {
    let Some(given) = options.get(key) else { return Ok(None) };
    let read: Option<Vec<f64>> = match given {
        Value::Array(list) => list.iter().map(Value::as_f64).collect(),
        Value::String(text) => text.split('+').map(|part| part.trim().parse().ok()).collect(),
        one => one.as_f64().map(|number| vec![number]),
    };
    match read.filter(|list| !list.is_empty() && list.iter().all(|&number| right(number))) {
        Some(list) => Ok(Some(list)),
        None => Err(Error::Option { name: entry.name, expected, got: format!("{key} = {given}") }),
    }
}

/// Which parameters one of the patterns among the options matches.
pub(crate) fn matched(
    entry: &TechniqueEntry,
    options: &Value,
    key: &'static str,
    params: &[ParamInfo],
) -> Result<Vec<bool>, Error> {
    let list = options.get(key).and_then(Value::as_array);
    let texts: Option<Vec<&str>> = list.and_then(|list| list.iter().map(Value::as_str).collect());
    let Some(texts) = texts else {
        let (expected, got) =
            ("a list of path patterns, such as [\"layers.5\"]", format!("{key} in {options}"));
        return Err(Error::Option { name: entry.name, expected, got });
    };
    let mut found = vec![false; params.len()];
    for text in texts {
        let pattern = Pattern::new(text);
        let matches: Vec<bool> = params.iter().map(|param| pattern.matches(&param.path)).collect();
        if !matches.contains(&true) {
            let example = params.first().map(|param| param.path.clone()).unwrap_or_default();
            return Err(
                topwork_nn::Error::PatternMatchesNothing { pattern: text.to_string(), example }.into()
            );
        }
        found.iter_mut().zip(matches).for_each(|(found, matches)| *found |= matches);
    }
    Ok(found)
}

/// A number among the options, or the default.
pub(crate) fn number(
    entry: &TechniqueEntry,
    options: &Value,
    key: &'static str,
    default: f64,
) -> Result<f64, Error> {
    let Some(value) = options.get(key) else { return Ok(default) };
    value.as_f64().filter(|number| number.is_finite()).ok_or_else(|| Error::Option {
        name: entry.name,
        expected: "numbers for its options",
        got: format!("{key} = {value}"),
    })
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use serde_json::json;
    use std::path::Path;

    use topwork_nn::param::{download, upload};
    use topwork_nn::{Init, Param, ParamKind, Pass};
    use topwork_ops::Gradient;

    use super::*;
    use crate::plan::tests::tower;
    use crate::task::{BatchLoss, Importance, Scores, TaskError};

    #[test]
    fn every_technique_is_complete_and_refuses_unknown_options() {
        assert_eq!(TECHNIQUES.len(), 16, "count the techniques when you add one");
        let build = |name: &str, options: Value| (find(name, &options)?.build)(&options, &tower());
        for entry in TECHNIQUES {
            assert!(entry.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-' || b.is_ascii_digit()));
            assert!(entry.paper.starts_with("https://"), "{}", entry.name);
            for wrong in [json!({"no-such-option": 0}), json!(7)] {
                assert!(build(entry.name, wrong.clone()).is_err(), "{} {wrong}", entry.name);
            }
        }
        let error = build("layer-decays", json!({})).err().unwrap().to_string();
        assert!(error.contains("did you mean \"layer-decay\""), "{error}");
        let error = build("layer-decay", json!({"rats": 0.5})).err().unwrap().to_string();
        assert!(error.contains("rats") && error.contains("rate"), "{error}");
    }

    /// Options that do something, for every technique.
    fn options(name: &str) -> Value {
        match name {
            "freeze" => json!({"patterns": ["layers.0"]}),
            "only" => json!({"patterns": ["layers"]}),
            "layer-decay" => json!({"rate": 0.5}),
            "ewc" => json!({"source": "texts.csv"}),
            _ => json!({}),
        }
    }

    /// Two parameters in each of three depth groups.
    fn store() -> ParamStore {
        let mut store = ParamStore::new(&Device::flex());
        for (group, name) in ["embed.word", "layers.0.attn.q", "head.out"].into_iter().enumerate() {
            for (last, shape, kind) in
                [("weight", &[2, 3][..], ParamKind::Weight), ("bias", &[2][..], ParamKind::Bias)]
            {
                let path = format!("{name}.{last}");
                let id = store.declare(&path, shape, group, kind, Init::Normal(0.5));
                store.initialise(id, 3).unwrap();
            }
        }
        store
    }

    /// A task that knows how much hangs on its weights, and nothing else.
    struct Source(ParamStore);

    impl Task for Source {
        fn store(&self) -> &ParamStore {
            &self.0
        }

        fn store_mut(&mut self) -> &mut ParamStore {
            &mut self.0
        }

        fn batches(&self, _: usize) -> Result<Vec<Vec<usize>>, TaskError> {
            Ok(Vec::new())
        }

        fn loss(&self, _: &Pass, _: &[usize]) -> Result<BatchLoss, TaskError> {
            Err("it has no texts".into())
        }

        fn importance(&self, _: &Importance) -> Result<Vec<(ParamId, DispatchTensor)>, TaskError> {
            let param = |(id, param): (ParamId, &Param)| {
                let much = (0..param.len()).map(|at| 0.1 * at as f32).collect();
                (id, upload(much, &param.shape, self.0.device()))
            };
            Ok(self.0.iter().map(param).collect())
        }

        fn evaluate(&self) -> Result<Scores, TaskError> {
            Err("it has no texts".into())
        }

        fn save(&self, _: &Path, _: &Scores) -> Result<(), TaskError> {
            Ok(())
        }
    }

    type Bits = Vec<Vec<u32>>;

    fn bits(store: &ParamStore, values: &[(ParamId, DispatchTensor)]) -> Bits {
        let plain = |(id, value): &(ParamId, DispatchTensor)| {
            let values = download(value.clone(), store.param(*id).shape.len()).unwrap();
            [id.0 as u32].into_iter().chain(values.into_iter().map(f32::to_bits)).collect()
        };
        values.iter().map(plain).collect()
    }

    /// Twelve steps by what techniques say, in their order: plans, the gradients they make, averages, and in the end variants.
    fn course(names: &[&str]) -> (Vec<Vec<Plan>>, Bits, Bits) {
        let mut store = store();
        let params = ParamInfo::of(&store);
        let mut techniques: Vec<Box<dyn Technique>> = Vec::new();
        for name in names {
            let technique = (find(name, &options(name)).unwrap().build)(&options(name), &params).unwrap();
            techniques.push(technique);
        }
        for technique in &mut techniques {
            technique.renew(&params, &mut store, 5).unwrap();
        }
        techniques.iter_mut().for_each(|technique| technique.begin(&params, &mut store).unwrap());
        let source = Source(store);
        techniques.iter_mut().for_each(|technique| technique.consult(&params, &source).unwrap());
        let mut store = source.0;
        let (mut plans, mut pulled, mut averages) = (Vec::new(), Vec::new(), Bits::new());
        for step in 0..12 {
            let at = Progress { epoch: step / 4, step, total: 12 };
            let mut plan = vec![Plan::default(); params.len()];
            techniques.iter().for_each(|technique| technique.plan(at, &params, &mut plan));
            let mut gradients = Gradients::none(params.len());
            for technique in &techniques {
                technique.after_backward(&params, &plan, &store, &mut gradients).unwrap();
            }
            for (id, plan) in plan.iter().enumerate().filter(|(_, plan)| plan.train) {
                let id = ParamId(id);
                if let Some(Gradient::Dense(gradient)) = gradients.take(id) {
                    pulled.push((id, gradient));
                }
                let moved =
                    store.values(id).unwrap().iter().map(|v| v + 0.1 * plan.lr_scale as f32).collect();
                store.set(id, moved).unwrap();
            }
            for technique in &mut techniques {
                technique.after_step(at, &plan, &store).unwrap();
                averages.extend(bits(&store, &technique.averages()));
            }
            plans.push(plan);
        }
        for technique in &techniques {
            for (number, _) in technique.variants().iter().enumerate() {
                averages.extend(bits(&store, &technique.variant(number, &store).unwrap()));
            }
        }
        (plans, bits(&store, &pulled), averages)
    }

    /// Pairs of so many, in either order, with at least one of so many of them.
    fn all_pairs(all: usize, with: usize) -> usize {
        let without = all - with;
        all * (all - 1) - without * (without - 1)
    }

    #[test]
    fn every_pair_commutes_or_is_refused() {
        let (mut pairs, mut apart) = (0, 0);
        let (mut planned, mut pulled, mut averaged) = (0, 0, 0);
        for first in TECHNIQUES {
            for second in TECHNIQUES.iter().filter(|second| second.name != first.name) {
                let both = [first.name, second.name];
                if let Err(error) = together(both.into_iter()) {
                    assert!(error.to_string().contains("cannot be combined"), "{error}");
                    assert!(together([second.name, first.name].into_iter()).is_err(), "{both:?}");
                    apart += 1;
                    continue;
                }
                let (there, back) = (course(&both), course(&[second.name, first.name]));
                assert_eq!(there, back, "{both:?}");
                planned += usize::from(there.0.iter().flatten().any(|plan| *plan != Plan::default()));
                pulled += usize::from(!there.1.is_empty());
                averaged += usize::from(!there.2.is_empty());
                pairs += 1;
            }
        }
        let (all, count) = (TECHNIQUES.len(), |with: usize| all_pairs(TECHNIQUES.len(), with));
        // Ema and swa stand apart, in either order, and so do the three that look at a batch otherwise than once.
        assert_eq!((pairs, apart), (all * (all - 1) - 8, 8));
        // Five plan, two pull, three measure other weights than those that are trained.
        assert_eq!([planned, pulled, averaged], [count(5), count(2), count(3) - 2]);
    }

    #[test]
    fn lists_of_numbers_are_read_as_they_come() {
        let read = |given: Value| {
            let options = json!({"alphas": given});
            numbers(&techniques::wise_ft::ENTRY, &options, "alphas", |n| n <= 1.0, "numbers up to 1")
        };
        for given in [json!([0.25, 0.5]), json!("0.25+0.5"), json!("0.25 + 0.5")] {
            assert_eq!(read(given).unwrap(), Some(vec![0.25, 0.5]));
        }
        assert_eq!(read(json!(1)).unwrap(), Some(vec![1.0]));
        for wrong in [json!([]), json!("a"), json!([2.0]), json!(true), json!("")] {
            let error = read(wrong).unwrap_err().to_string();
            assert!(error.contains("wise-ft") && error.contains("numbers up to 1"), "{error}");
        }
        assert_eq!(numbers(&techniques::ema::ENTRY, &json!({}), "alphas", |_| true, "").unwrap(), None);
    }
}
