//! What a model knew before a run, measured again after it.

#![allow(clippy::unwrap_used)] // in a test a panic is the report

// Shared with other tests, which use all of it.
#[allow(dead_code)]
mod runs;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use runs::{fixtures, start, words, write};
use topwork::job::{Outcomes, Quiet};
use topwork::kept::Kept;
use topwork::recipe::KeepRecipe;
use topwork::{Error, Recipe};

/// Texts with one of two labels each, which a word decides.
fn labelled(
    folder: &Path,
    name: &str,
    word: &str,
    labels: [&str; 2],
    rows: std::ops::Range<usize>,
) -> PathBuf {
    let row = |n: usize| {
        let words = words(n);
        let label = labels[usize::from(words.contains(&word))];
        format!("{{\"text\": {:?}, \"label\": {label:?}}}", words.join(" "))
    };
    write(folder, name, rows.map(row))
}

/// A tiny model with the head of its pretraining, and a tokenizer.
fn with_masks(family: &str, folder: &Path) -> PathBuf {
    let to = folder.join(family);
    std::fs::create_dir(&to).unwrap();
    for (from, name) in [
        ("masked-lm", "config.json"),
        ("masked-lm", "model.safetensors"),
        (".", "tokenizer.json"),
        (".", "tokenizer_config.json"),
        (".", "vocab.txt"),
    ] {
        std::fs::copy(fixtures(family).join(from).join(name), to.join(name)).unwrap();
    }
    to
}

fn recipe(model: &Path, train: &Path, test: &Path, extra: &str) -> Recipe {
    let text = format!(
        "model = {:?}\n[data]\ntrain = {train:?}\ntest = {test:?}\n[batch]\nexamples = 8\n[report]\nresamples = 0\n\
         baseline = false\n[train]\nepochs = 4\nlearning-rate = 4e-3\nprecision = \"f32\"\n{extra}",
        model.display()
    );
    Recipe::parse(&text, "test").unwrap()
}

fn run(recipe: &Recipe, folder: &Path) -> Result<Outcomes, Error> {
    start(recipe, folder, &mut Quiet, &AtomicBool::new(false))
}

fn kept(recipe: &Recipe, folder: &Path, keep: &KeepRecipe) -> Result<Kept, Error> {
    let recipe = Recipe { keep: Some(keep.clone()), ..recipe.clone() };
    Ok(run(&recipe, folder)?.kept.unwrap())
}

#[test]
fn the_task_learnt_before_is_measured_with_its_head_and_the_encoder_of_now() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let train = labelled(folder.path(), "train.jsonl", "of", ["no", "yes"], 0..160);
    let test = labelled(folder.path(), "test.jsonl", "of", ["no", "yes"], 500..620);
    let first = run(&recipe(&fixtures("bert"), &train, &test, ""), &at("first")).unwrap();
    let own = first.test.as_ref().unwrap().evaluation.value("accuracy").unwrap();
    assert!(own > 0.8, "{own}");

    let other = labelled(folder.path(), "other.jsonl", "it", ["red", "blue"], 0..160);
    let other_test = labelled(folder.path(), "other-test.jsonl", "it", ["red", "blue"], 500..560);
    let then = |extra: &str| recipe(&first.best(), &other, &other_test, extra);
    let keep = KeepRecipe { score: first.folder.display().to_string(), data: None };
    let frozen = kept(&then("freeze = [\"encoder\"]\n"), &at("frozen"), &keep).unwrap();
    assert_eq!((frozen.metric.as_str(), frozen.texts), (first.resolved.task.metric.as_deref().unwrap(), 120));
    let value = first.test.as_ref().unwrap().evaluation.value(&frozen.metric).unwrap();
    assert_eq!((frozen.before, frozen.after), (value, value));
    assert!(frozen.line().starts_with("kept: "), "{}", frozen.line());
    for (name, extra) in [
        ("full", ""),
        ("lora", "[adapter]\nkind = \"lora\"\nrank = 4\n"),
        ("houlsby", "[adapter]\nkind = \"houlsby\"\nreduction = 2\n"),
    ] {
        let mut recipe = then(extra);
        // Fast, so that few steps change much.
        recipe.train.insert("learning-rate".into(), 0.1.into());
        let changed = kept(&recipe, &at(name), &keep).unwrap();
        assert_eq!(changed.before, value, "{name}");
        assert!(changed.after < value - 0.02, "{name}: {changed:?}");
        assert!(changed.line().starts_with("forgotten: "), "{}", changed.line());
    }
    // The same said by a file, and in what the run leaves behind.
    let keep = KeepRecipe { data: Some(test), ..keep };
    let named = kept(&then(""), &at("named"), &keep).unwrap();
    let said = std::fs::read_to_string(at("named/run/metrics.json")).unwrap();
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["kept"]["after"].as_f64().unwrap(), named.after);
    assert!(std::fs::read_to_string(at("named/run/report.html")).unwrap().contains("forgotten: "));
}

#[test]
fn words_behind_masks_are_measured_with_the_head_of_pretraining() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let data = labelled(folder.path(), "data.jsonl", "of", ["no", "yes"], 0..160);
    let text = at("text.txt");
    std::fs::write(&text, "the a of to in is and it\nit is of the and to a in\n".repeat(20)).unwrap();
    let model = with_masks("bert", folder.path());
    let keep = KeepRecipe { score: "masked-lm".to_string(), data: Some(text.clone()) };
    let frozen =
        kept(&recipe(&model, &data, &data, "freeze = [\"encoder\"]\n"), &at("frozen"), &keep).unwrap();
    assert_eq!(frozen.before, frozen.after);
    assert_eq!((frozen.metric.as_str(), frozen.higher_is_better), ("perplexity", false));
    let full = kept(&recipe(&model, &data, &data, ""), &at("full"), &keep).unwrap();
    assert!(full.before == frozen.before && full.after != full.before && full.after.is_finite(), "{full:?}");

    // What says nothing of what was known is refused before anything is trained.
    let refused = |model: &Path, keep: KeepRecipe, said: &str| {
        let into = at(said);
        let error = kept(&recipe(model, &data, &data, ""), &into, &keep).err().unwrap().to_string();
        assert!(error.contains(said), "{error}");
        assert!(!into.join("run/log.jsonl").exists());
    };
    refused(&fixtures("bert"), keep.clone(), "holds no head for masked-lm");
    refused(&model, KeepRecipe { data: None, ..keep.clone() }, "nothing says what masked-lm is measured on");
    refused(&model, KeepRecipe { score: "nowhere".into(), ..keep.clone() }, "nowhere");
    // A head of another architecture is noticed after the run, at the latest.
    let other = with_masks("distilbert", folder.path());
    let other = run(&recipe(&other, &data, &data, ""), &at("other")).unwrap();
    let keep = KeepRecipe { score: other.folder.display().to_string(), data: None };
    let error = kept(&recipe(&model, &data, &data, ""), &at("mixed"), &keep).err().unwrap().to_string();
    assert!(error.contains("of the same architecture"), "{error}");
}
