//! Texts of another domain beside those of a task: losses, the gradient of every parameter and AdamW steps against PyTorch
//! (`fixtures/make/beside.py`), whole runs on tiny checkpoints, and the studies `adapt`, `tune` and
//! `multi_task`.

#![allow(clippy::unwrap_used)] // in a test a panic is the report

// Shared with other tests, which use all of it.
#[allow(dead_code)]
mod golden;
mod gradients;
#[allow(dead_code)]
mod runs;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::Device;
use golden::{FORWARD, every_gradient, floats, numbers, packed, ten_steps};
use runs::{fixtures, start, test_value, words, write};
use topwork::adapt::{self, Plan, WAYS};
use topwork::beside::{DomainNet, follow, settled, strength};
use topwork::glue::Context;
use topwork::job::{JobObserver, Outcomes, Quiet};
use topwork::recipe::DataRecipe;
use topwork::tune::space::Knob;
use topwork::tune::suggest::Search;
use topwork::{Error, Recipe, multi_task, tune};
use topwork_kernels::gemm::Precision;
use topwork_models::{HeadSpec, LossOptions, Model, Pooling, Targets};
use topwork_nn::{Gradients, Pass};
use topwork_testkit::{Golden, close};
use topwork_text::Packed;
use topwork_train::Answers;
use topwork_train::plan::Progress;
use topwork_train::{Event, Observer};

/// A case: its model, and the net that tells domains apart if it has one.
fn open(name: &str) -> (Golden, Model, Option<DomainNet>) {
    let golden = Golden::open(fixtures("beside").join(format!("{name}.safetensors"))).unwrap();
    let labels = ["a", "b", "c"].map(String::from).to_vec();
    let spec = HeadSpec::classifier(labels, false, Pooling::Family);
    let mut net = None;
    let model = golden::open_with(&spec, &golden, |model| {
        let group = model.store.top_group();
        net = (name == "domain").then(|| DomainNet::attach(&mut model.store, 8, group, 1).unwrap());
    });
    (golden, model, net)
}

/// The loss and the gradients, with a strength or a share.
fn gradients(golden: &Golden, model: &Model, net: Option<&DomainNet>, weight: f32) -> (f32, Gradients) {
    let trainable = vec![true; model.store.len()];
    let pass = Pass::train(&model.store, Precision::F32, 0, &trainable);
    let own = packed(golden);
    let beside = Packed {
        ids: numbers(golden, "beside.ids"),
        type_ids: numbers(golden, "beside.type_ids"),
        offsets: numbers(golden, "beside.offsets"),
        ..Packed::default()
    };
    let mut both = own.clone();
    both.append(&beside);
    let (first, all) = (own.batch(), both.batch());
    let features = model.features(&pass, &both).unwrap();
    let head = |input: &Packed, rows: std::ops::Range<usize>, labels: &str| {
        let labels: Arc<[u32]> = numbers(golden, labels).into();
        let features = features.clone().slice_dim(0, rows);
        model.head_loss(&pass, features, input, &Targets::Classes(labels), &LossOptions::default()).unwrap()
    };
    let ours = head(&own, 0..first, "labels");
    let outputs = |input: &Packed| model.head(&pass, model.features(&pass, input).unwrap(), input).unwrap();
    let loss = match net {
        Some(net) => ours + net.loss(&pass, features.clone(), first, weight).unwrap(),
        None if golden.has("beside.answers") => {
            let theirs = follow(outputs(&beside), &floats(golden, "beside.answers"), Answers::OneOf);
            ours * (1.0 - weight) + theirs * weight
        }
        None if golden.has("changed.ids") => {
            let [temperature, sure] = ["temperature", "sure"].map(|name| golden.scalar(name).unwrap() as f32);
            let eval = Pass::eval(&model.store, Precision::F32);
            let scores = model.head(&eval, model.features(&eval, &beside).unwrap(), &beside).unwrap();
            let answers = settled(scores, temperature, sure).unwrap();
            assert!(
                answers.chunks(3).any(|row| row == [0.0; 3]) && answers.chunks(3).any(|row| row != [0.0; 3])
            );
            let changed = Packed { ids: numbers(golden, "changed.ids"), ..beside.clone() };
            ours + follow(outputs(&changed), &answers, Answers::OneOf) * weight
        }
        None => ours * (1.0 - weight) + head(&beside, first..all, "beside.labels") * weight,
    };
    (loss.clone().into_scalar::<f32>(), pass.backward(&loss).unwrap())
}

#[test]
fn losses_gradients_and_steps_are_those_of_pytorch() {
    let cases = ["domain", "labels", "teacher", "consistency"];
    for (name, weight) in cases.map(|name| (name, if name == "domain" { "strength" } else { "weight" })) {
        let (golden, model, net) = open(name);
        let (loss, found) = gradients(&golden, &model, net.as_ref(), golden.scalar(weight).unwrap() as f32);
        close(&[loss], &[golden.scalar("loss").unwrap() as f32], FORWARD)
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(every_gradient(name, &golden, &model, &found) > 60);
        let strengths = floats(&golden, "strengths");
        if name == "domain" {
            let own = |step| strength(Progress { epoch: 0, step, total: 10 }) as f32;
            close(&(0..10).map(own).collect::<Vec<_>>(), &strengths, 1e-6).unwrap();
        }
        let step = std::cell::Cell::new(0);
        ten_steps(name, &golden, model, |model| {
            let strength = strengths[step.replace(step.get() + 1)];
            gradients(&golden, model, net.as_ref(), strength)
        });
    }
}

/// Texts whose label is whether a word is in them; in the other domain every text begins with another word.
fn domain(folder: &Path, name: &str, before: &str, rows: std::ops::Range<usize>, labels: bool) -> PathBuf {
    let row = |n: usize| {
        let words = words(n);
        let label = if words.contains(&"of") { "yes" } else { "no" };
        let text = format!("{before}{}", words.join(" "));
        if labels { format!("{{\"text\": {text:?}, \"label\": {label:?}}}") } else { text }
    };
    write(folder, name, rows.map(row))
}

/// A recipe with other texts beside.
fn recipe(train: &Path, test: &Path, epochs: usize, beside: &str) -> Recipe {
    let text = format!(
        "model = {:?}\n[data]\ntrain = {train:?}\ntest = {test:?}\n[task]\nkind = \"classify\"\n[batch]\nexamples = 8\n\
         [train]\nepochs = {epochs}\nlearning-rate = 2e-3\nprecision = \"f32\"\n[report]\nresamples = 20\n{beside}",
        fixtures("bert")
    );
    Recipe::parse(&text, "test").unwrap()
}

fn run(recipe: &Recipe) -> Result<Outcomes, Error> {
    let folder = tempfile::tempdir().unwrap();
    start(recipe, folder.path(), &mut Quiet, &AtomicBool::new(false))
}

#[test]
fn labels_beside_are_learnt_where_the_task_has_few() {
    let folder = tempfile::tempdir().unwrap();
    let few = domain(folder.path(), "few.jsonl", "", 0..40, true);
    let test = domain(folder.path(), "test.jsonl", "", 1000..1200, true);
    let many = domain(folder.path(), "many.jsonl", "it it ", 2000..2400, true);
    let score = |beside: &str| test_value(&run(&recipe(&few, &test, 30, beside)).unwrap(), "accuracy");
    let (alone, with) = (score(""), score(&format!("[beside]\ndata = {many:?}\n")));
    assert!(with > 0.9 && with > alone + 0.02, "{alone} {with}");
}

/// Where the task's own labels are wrong, what is right can come from the teachers alone.
#[test]
fn answers_of_teachers_are_learnt_alone_and_beside_labels() {
    let folder = tempfile::tempdir().unwrap();
    let many = domain(folder.path(), "many.jsonl", "", 2000..2400, true);
    let few = domain(folder.path(), "few.jsonl", "", 0..40, true);
    let wrong = fs::read_to_string(&few).unwrap().replace("yes", "?").replace("no", "yes").replace('?', "no");
    fs::write(&few, wrong).unwrap();
    let texts = domain(folder.path(), "texts.txt", "", 3000..3400, false);
    let test = domain(folder.path(), "test.jsonl", "", 1000..1200, true);
    let teach = |seed: u64| {
        let into = folder.path().join(format!("teacher-{seed}"));
        let mut recipe = recipe(&many, &test, 10, "");
        recipe.train.insert("seed".into(), (seed as i64).into());
        start(&recipe, &into, &mut Quiet, &AtomicBool::new(false)).unwrap();
        into
    };
    let (one, two) = (teach(1), teach(2));
    let beside = |more: &str| {
        format!("[beside]\ndata = {texts:?}\nlesson = \"teacher\"\nteachers = [{one:?}, {two:?}]\n{more}")
    };
    // Enough to choose by.
    let dev = domain(folder.path(), "dev.jsonl", "", 4000..4100, true);
    let train = |beside: &str| {
        let mut recipe = recipe(&few, &test, 30, beside);
        recipe.data.dev = Some(dev.clone());
        run(&recipe).unwrap()
    };
    let taught = train(&beside("weight = 1.0\n"));
    let alone = test_value(&train(""), "accuracy");
    let score = test_value(&taught, "accuracy");
    assert!(score > 0.9 && alone < 0.7, "{alone} {score}");
    let line =
        |run: &Outcomes| run.data.notes.iter().find(|note| note.contains("texts beside")).unwrap().clone();
    assert!(line(&taught).starts_with("400 texts beside") && !line(&taught).contains("sure"));
    let answers = taught.data.answers.as_ref().unwrap();
    let mut surest: Vec<f32> = answers.chunks(2).map(|row| row[0].max(row[1])).collect();
    surest.sort_by(f32::total_cmp);
    let sure = train(&beside(&format!("sure = {}\n", surest[100])));
    assert!(line(&sure).contains("; the teachers are sure enough of "), "{}", line(&sure));
    let left = sure.data.beside.as_ref().unwrap().len();
    assert!((250..350).contains(&left) && sure.data.answers.as_ref().unwrap().len() == 2 * left);
    // A teacher that has changed since is noticed where a run goes on.
    assert_ne!(sure.data.fingerprint, taught.data.fingerprint);
    let error = run(&recipe(&few, &test, 1, &beside("sure = 1.0\n"))).err().unwrap();
    assert!(error.to_string().contains("ask for less"), "{error}");
    let other = recipe(&few, &test, 1, "");
    let into = folder.path().join("other-labels");
    let renamed = domain(folder.path(), "renamed.jsonl", "", 0..60, true);
    fs::write(&renamed, fs::read_to_string(&renamed).unwrap().replace("yes", "perhaps")).unwrap();
    let other = Recipe { data: DataRecipe { train: renamed, test: None, ..other.data.clone() }, ..other };
    start(&other, &into, &mut Quiet, &AtomicBool::new(false)).unwrap();
    let wrong = format!("[beside]\ndata = {texts:?}\nlesson = \"teacher\"\nteachers = [{into:?}]\n");
    let error = run(&recipe(&few, &test, 1, &wrong)).err().unwrap().to_string();
    assert!(error.contains("does not answer the labels no, yes, but no, perhaps"), "{error}");
}

/// Stops a run after a step.
struct StopAfter<'a>(usize, &'a AtomicBool);

impl Observer for StopAfter<'_> {
    fn event(&mut self, event: &Event) {
        if matches!(event, Event::Step { step, .. } if *step == self.0) {
            self.1.store(true, Ordering::Relaxed);
        }
    }
}

impl JobObserver for StopAfter<'_> {
    fn note(&mut self, _: &str) {}
}

#[test]
fn domains_are_not_saved_and_a_run_goes_on_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let own = domain(folder.path(), "own.jsonl", "", 0..60, true);
    let test = domain(folder.path(), "test.jsonl", "it it ", 1000..1100, true);
    let other = domain(folder.path(), "other.txt", "it it ", 2000..2090, false);
    let bytes = |run: &Outcomes| fs::read(run.best().join("model.safetensors")).unwrap();
    let lesson = |lesson: &str| format!("[beside]\ndata = {other:?}\nlesson = {lesson:?}\n");
    let consistency = lesson("consistency") + "sure = 0.5\n";
    for (lesson, attached) in [(lesson("domain"), true), (lesson("likeness"), false), (consistency, false)] {
        let recipe = recipe(&own, &test, 3, &lesson);
        let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let all = start(&recipe, whole.path(), &mut Quiet, &AtomicBool::new(false)).unwrap();
        let stop = AtomicBool::new(false);
        let stopped = start(&recipe, parts.path(), &mut StopAfter(9, &stop), &stop).unwrap();
        assert!(stopped.run.interrupted);
        let rest = start(&recipe, parts.path(), &mut Quiet, &AtomicBool::new(false)).unwrap();
        assert_eq!(bytes(&all), bytes(&rest), "{lesson}");
        let (model, report) = Model::open_saved(&all.best(), &Device::flex()).unwrap();
        assert!(model.store.iter().all(|(_, param)| !param.path.starts_with("domain.")));
        assert!(report.to_string().contains(", 0 fresh"), "{report}");
        // What tells domains apart learns too.
        let extra = all.run.trainable_values - model.store.values_total();
        assert_eq!(extra > 0, attached, "{extra}");
    }
}

#[test]
fn what_teaches_nothing_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let own = domain(folder.path(), "own.jsonl", "", 0..60, true);
    let refused = |more: &str, said: &str| {
        let error = run(&recipe(&own, &own, 1, &format!("[beside]\ndata = {own:?}\n{more}"))).err().unwrap();
        assert!(error.to_string().contains(said), "{error}");
    };
    refused("weight = 1.0\n", "a share between 0 and 1, got 1");
    refused("lesson = \"domain\"\nweight = -1.0\n", "a number above 0, got -1");
    refused("lesson = \"likeness\"\nweight = 0.5\n", "likeness has none");
    refused("lesson = \"teacher\"\n", "needs the folder of a trained model");
    refused("lesson = \"teacher\"\nteachers = [\"nowhere\"]\n", "nowhere");
    refused("lesson = \"teacher\"\nteachers = [\"x\"]\nweight = 1.5\n", "up to 1, got 1.5");
    refused(
        "lesson = \"teacher\"\nteachers = [\"x\"]\nreplace = 0.5\n",
        "beside.replace: of the lesson consistency",
    );
    refused("lesson = \"domain\"\nsure = 0.5\n", "of the lesson teacher and consistency, not of domain");
    refused("lesson = \"consistency\"\nsure = 1.5\n", "a share from 0 to 1, got 1.5");
    refused("lesson = \"consistency\"\ntemperature = 0.0\n", "a number above 0, got 0");
    let mut frozen = recipe(&own, &own, 1, &format!("[beside]\ndata = {own:?}\nlesson = \"domain\"\n"));
    frozen.train.insert("freeze".into(), vec!["encoder"].into());
    assert!(run(&frozen).err().unwrap().to_string().contains("which is frozen"));
    let mut twice = recipe(&own, &own, 1, &format!("[beside]\ndata = {own:?}\n"));
    twice.train.insert("techniques".into(), toml::toml! { [r-drop] }.into());
    assert!(run(&twice).err().unwrap().to_string().contains("r-drop"));
}

#[test]
fn every_way_from_one_domain_to_another_and_what_is_done_is_not_done_again() {
    let folder = tempfile::tempdir().unwrap();
    let task = |name: &str, before: &str, from: usize| {
        let data = domain(folder.path(), &format!("{name}.jsonl"), before, from..from + 120, true);
        let text = format!(
            "model = {:?}\n[data]\ntrain = {data:?}\n[batch]\nexamples = 16\n[train]\nepochs = 2\nprecision = \"f32\"\n",
            fixtures("bert")
        );
        (name.to_string(), Recipe::parse(&text, "test").unwrap())
    };
    let tasks = [task("source", "", 0), task("target", "it it ", 500)];
    let (out, hub) = (folder.path().join("out"), runs::hub(folder.path()));
    let trained = std::cell::RefCell::new(Vec::new());
    let note = |line: &str| trained.borrow_mut().push(line.to_string());
    let stop = AtomicBool::new(false);
    let observe = |_: &Path| -> Box<dyn JobObserver> { Box::new(Quiet) };
    let context = Context {
        hub: &hub,
        progress: &topwork::hub::Silent,
        stop: &stop,
        observe: &observe,
        note: &note,
        shared: Default::default(),
    };
    let plan = Plan {
        tasks: &tasks,
        unlabelled: None,
        labels: Some(20),
        share: Some(0.3),
        masked_epochs: 1,
        ways: WAYS.iter().collect(),
        seeds: vec![1],
        keep_models: false,
        folder: &out,
    };
    let results = adapt::run(&plan, &context, &mut |_| Ok(())).unwrap();
    assert_eq!(results.runs.len(), WAYS.len());
    assert!(results.runs.iter().all(|run| run.target.is_some() && run.source.is_some()));
    assert_eq!((results.texts[1][0], results.unlabelled), (20, results.texts[0][0]));
    let labelled = |way: &str| results.runs.iter().find(|run| run.way == way).unwrap().labelled;
    assert_eq!((labelled("target-only"), labelled("dann")), ([0, 20], [results.texts[0][0], 0]));
    assert_eq!(labelled("mult")[1], 20);
    let resolved = fs::read_to_string(out.join("seed-1/mult/resolved.toml")).unwrap();
    assert!(resolved.contains("weight = 0.3") && resolved.contains("lesson = \"labels\""), "{resolved}");
    let lines = trained.borrow().len();
    let again = adapt::run(&plan, &context, &mut |_| Ok(())).unwrap();
    assert_eq!((again.runs, trained.borrow().len()), (results.runs, lines));
    // Nothing large is left.
    assert!(!out.join("seed-1/source-only/best").exists() && !out.join("seed-1/masked/best").exists());
}

#[test]
fn with_other_labels_each_task_has_a_head_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let task = |name: &str, yes: &str| {
        let row = |n: usize| {
            format!(
                "{{\"text\": {:?}, \"label\": {:?}}}",
                words(n).join(" "),
                if n.is_multiple_of(2) { yes } else { "no" }
            )
        };
        let data = write(folder.path(), &format!("{name}.jsonl"), (0..60).map(row));
        let mut recipe = Recipe::new(fixtures("bert").display().to_string(), data);
        recipe.train.insert("epochs".into(), 1.into());
        (name.to_string(), recipe)
    };
    let tasks = [task("source", "spam"), task("target", "ham")];
    let (out, hub, stop) = (folder.path().join("out"), runs::hub(folder.path()), AtomicBool::new(false));
    let observe = |_: &Path| -> Box<dyn JobObserver> { Box::new(Quiet) };
    let context = Context {
        hub: &hub,
        progress: &topwork::hub::Silent,
        stop: &stop,
        observe: &observe,
        note: &|_| {},
        shared: Default::default(),
    };
    let plan = Plan {
        tasks: &tasks,
        unlabelled: None,
        labels: None,
        share: None,
        masked_epochs: 1,
        ways: adapt::ways(&["target-only", "source-only", "mult"].map(String::from)).unwrap(),
        seeds: vec![1],
        keep_models: false,
        folder: &out,
    };
    let results = adapt::run(&plan, &context, &mut |_| Ok(())).unwrap();
    let known: Vec<[bool; 2]> =
        results.runs.iter().map(|run| [run.source.is_some(), run.target.is_some()]).collect();
    assert_eq!(known, [[false, true], [true, false], [true, true]]);
}

#[test]
fn a_search_finds_the_same_whatever_of_it_is_done_already() {
    let folder = tempfile::tempdir().unwrap();
    let data = domain(folder.path(), "data.jsonl", "", 0..150, true);
    let recipe = recipe(&data, &data, 1, "");
    let (out, hub, stop) = (folder.path().join("out"), runs::hub(folder.path()), AtomicBool::new(false));
    let trained = std::cell::RefCell::new(Vec::new());
    let note = |line: &str| trained.borrow_mut().push(line.to_string());
    let observe = |_: &Path| -> Box<dyn JobObserver> { Box::new(Quiet) };
    let context = Context {
        hub: &hub,
        progress: &topwork::hub::Silent,
        stop: &stop,
        observe: &observe,
        note: &note,
        shared: Default::default(),
    };
    let knobs = ["train.learning-rate=1e-5..1e-2:log", "batch.examples=8|32", "train.epochs=2..4:whole"];
    let plan = |search| tune::Plan {
        recipe: &recipe,
        knobs: knobs.iter().map(|text| Knob::parse(text).unwrap()).collect(),
        search,
        trials: 12,
        halving: true,
        retrain: true,
        folder: &out,
    };
    let results = tune::run(&plan(Search::Tpe), &context, &mut |_| Ok(())).unwrap();
    assert_eq!(results.trials.len(), 12);
    let stopped: Vec<&tune::Trial> = results.trials.iter().filter(|trial| trial.stopped).collect();
    assert!(!stopped.is_empty() && stopped.iter().all(|trial| trial.steps[0] < trial.steps[1]));
    let best = results.ranked()[0];
    assert!(!best.stopped && best.steps[0] == best.steps[1], "{best:?}");
    assert!(results.best.as_ref().unwrap().test.is_some_and(|test| test > 0.7), "{:?}", results.best);
    // What a trial is told from its recipe, and what is large is gone.
    let resolved = fs::read_to_string(out.join("trials/003/resolved.toml")).unwrap();
    assert!(resolved.contains(&format!("examples = {}", results.trials[2].shown[1])), "{resolved}");
    assert!(!out.join("trials/003/best").exists() && out.join("best-settings/best").is_dir());
    let lines = trained.borrow().len();
    let again = tune::run(&plan(Search::Tpe), &context, &mut |_| Ok(())).unwrap();
    assert_eq!((&again, trained.borrow().len()), (&results, lines));
    // One that is lost is found again, with the same values and the same score.
    fs::remove_dir_all(out.join("trials/010")).unwrap();
    let again = tune::run(&plan(Search::Tpe), &context, &mut |_| Ok(())).unwrap();
    let same = |results: &tune::Results| {
        results
            .trials
            .iter()
            .map(|trial| (trial.shown.clone(), trial.evaluations.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(same(&again), same(&results));
    let other = tune::run(&plan(Search::Random), &context, &mut |_| Ok(())).unwrap_err().to_string();
    assert!(other.contains("another search"), "{other}");
}

#[test]
fn several_tasks_are_learnt_by_one_model() {
    let folder = tempfile::tempdir().unwrap();
    let task = |name: &str, word: &str, count: usize| {
        let row = |n: usize| {
            let label = if words(n).contains(&word) { "with" } else { "without" };
            format!("{{\"text\": {:?}, \"label\": {label:?}}}", words(n).join(" "))
        };
        let data = write(folder.path(), &format!("{name}.jsonl"), (0..count).map(row));
        let text = format!(
            "model = {:?}\n[data]\ntrain = {data:?}\n[batch]\nexamples = 16\n[train]\nepochs = 12\nlearning-rate = 2e-3\nprecision = \"f32\"\n",
            fixtures("bert")
        );
        (name.to_string(), Recipe::parse(&text, "test").unwrap())
    };
    // Each text has another answer in each task: one head could not know both.
    let tasks = [task("of", "of", 300), task("it", "it", 150)];
    let (out, hub, stop) = (folder.path().join("out"), runs::hub(folder.path()), AtomicBool::new(false));
    let trained = std::cell::RefCell::new(0);
    let note = |_: &str| *trained.borrow_mut() += 1;
    let observe = |_: &Path| -> Box<dyn JobObserver> { Box::new(Quiet) };
    let context = Context {
        hub: &hub,
        progress: &topwork::hub::Silent,
        stop: &stop,
        observe: &observe,
        note: &note,
        shared: Default::default(),
    };
    let plan = |mixings: &[&str]| multi_task::Plan {
        tasks: &tasks,
        mixings: mixings.iter().map(|mixing| mixing.to_string()).collect(),
        seeds: vec![1],
        keep_models: false,
        folder: &out,
    };
    let results = multi_task::run(&plan(&["equal", "annealed"]), &context, &mut |_| Ok(())).unwrap();
    assert_eq!(results.runs.len(), 4);
    for run in results.runs.iter().filter(|run| run.mixing != "alone") {
        assert!(run.scores.iter().all(|score| score.is_some_and(|score| score > 0.85)), "{run:?}");
    }
    assert_eq!(results.runs[0].scores.iter().filter(|score| score.is_some()).count(), 1);
    let (before, again) =
        (*trained.borrow(), multi_task::run(&plan(&["equal", "annealed"]), &context, &mut |_| Ok(())));
    assert_eq!((again.unwrap().runs, *trained.borrow()), (results.runs, before));
    let error = multi_task::run(&plan(&["even"]), &context, &mut |_| Ok(())).unwrap_err().to_string();
    assert!(error.contains("proportional, sqrt"), "{error}");
}
