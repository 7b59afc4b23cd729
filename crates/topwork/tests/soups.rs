//! Model soups: the mean of the weights, the order of a greedy one, and what is refused.

#![allow(clippy::unwrap_used)] // in a test a panic is the report

// Shared with the tests of whole runs, which use all of it.
#[allow(dead_code)]
mod runs;

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use runs::{epochs, fixtures, train, write};
use topwork::recipe::DataRecipe;
use topwork::soup::{Judged, Soup, soup};
use topwork::{Error, evaluate};
use topwork_kernels::gemm::Precision;
use topwork_models::Model;

/// Texts whose class is said by their words, of which the tiny model knows all.
fn data(folder: &Path, name: &str, from: usize, count: usize, labels: [&str; 2]) -> PathBuf {
    let row = |n: usize| {
        let class = (n * 7 + n / 3) % 2;
        let words = [["the", "a", "of", "to"], ["in", "is", "and", "it"]][class];
        let text: Vec<&str> = (0..4 + n % 3).map(|k| words[(n * 5 + k * 3 + n / 7) % 4]).collect();
        format!("{} {n},{}", text.join(" "), labels[class])
    };
    let rows = (from..from + count).map(row);
    write(folder, name, std::iter::once("text,label".to_string()).chain(rows))
}

/// Runs of other seeds and rates: two that have learnt, and one that has learnt to be wrong.
fn ingredients(folder: &Path) -> Vec<PathBuf> {
    let good = data(folder, "good.csv", 0, 160, ["ham", "spam"]);
    let wrong = data(folder, "wrong.csv", 0, 160, ["spam", "ham"]);
    let runs = [("one", &good, 1), ("two", &wrong, 2), ("three", &good, 3)];
    let run = |(name, data, seed): (&str, &PathBuf, u64)| {
        let more = format!("{}class-weights = \"none\"\n", epochs(2, 3e-3, ""))
            .replace("[train]\n", &format!("[train]\nseed = {seed}\n"));
        let place = folder.join(name);
        fs::create_dir_all(&place).unwrap();
        train(&fixtures("bert"), data, &place, &more).unwrap().best()
    };
    runs.map(run).to_vec()
}

fn values(folder: &Path) -> Vec<(String, Vec<f32>)> {
    let (model, _) = Model::open_saved(folder, &Device::flex()).unwrap();
    model.store.iter().map(|(id, param)| (param.path.clone(), model.store.values(id).unwrap())).collect()
}

/// Fails unless the weights of a folder are the mean of those of others.
fn assert_mean(soup: &Path, of: &[&PathBuf]) {
    let parts: Vec<_> = of.iter().map(|folder| values(folder)).collect();
    let mut compared = 0;
    for (at, (path, got)) in values(soup).into_iter().enumerate() {
        for (n, got) in got.iter().enumerate() {
            let mean = parts.iter().map(|part| f64::from(part[at].1[n])).sum::<f64>() / parts.len() as f64;
            assert!((f64::from(*got) - mean).abs() < 1e-6, "{path} {n}: {got} {mean}");
            compared += 1;
        }
    }
    assert!(compared > 10_000, "{compared}");
}

#[test]
fn soups_are_means_and_greedy_ones_leave_out_what_makes_them_worse() {
    let folder = tempfile::tempdir().unwrap();
    let models = ingredients(folder.path());
    let all = folder.path().join("all");
    let made = soup(&models, &all, None).unwrap();
    assert!(made.ingredients.iter().all(|one| one.taken && one.alone.is_none()), "{made:?}");
    assert_mean(&all, &models.iter().collect::<Vec<_>>());

    let dev = data(folder.path(), "dev.csv", 500, 80, ["ham", "spam"]);
    let recipe = DataRecipe { train: dev, ..DataRecipe::default() };
    let judged = Judged { data: &recipe, metric: Some("accuracy"), precision: Precision::F32 };
    let best = folder.path().join("best");
    let Soup { ingredients, metric, score, .. } = soup(&models, &best, Some(&judged)).unwrap();
    assert_eq!(metric.as_deref(), Some("accuracy"));
    let alone: Vec<f64> = ingredients.iter().map(|one| one.alone.unwrap()).collect();
    assert!(alone.is_sorted_by(|a, b| a >= b), "the best first: {alone:?}");
    assert!(alone[0] > 0.9 && alone[2] < 0.3, "{alone:?}");
    assert_eq!(ingredients[2].folder, models[1]);
    // What makes the score no worse is taken, and nothing else.
    let mut best_score = alone[0];
    assert_eq!((ingredients[0].taken, ingredients[0].with), (true, ingredients[0].alone));
    for one in &ingredients[1..] {
        assert_eq!(one.taken, one.with.unwrap() >= best_score, "{one:?}");
        best_score = best_score.max(one.with.unwrap());
    }
    assert_eq!(score, Some(best_score));
    let taken: Vec<&PathBuf> = ingredients.iter().filter(|one| one.taken).map(|one| &one.folder).collect();
    assert_mean(&best, &taken);
    // What it says is what anybody measures who opens the folder.
    let again = evaluate(&best, &recipe, Precision::F32, 0).unwrap().measured.evaluation;
    assert_eq!(Some(again.value("accuracy").unwrap()), score);
    // By a measure of error the order is the other way round, and one that is wrong makes it worse for certain.
    let judged = Judged { metric: Some("loss"), ..judged };
    let by_loss = folder.path().join("by-loss");
    let made = soup(&models, &by_loss, Some(&judged)).unwrap();
    assert!(made.ingredients.is_sorted_by(|a, b| a.alone <= b.alone), "{made:?}");
    assert!(!made.ingredients[2].taken && made.score <= made.ingredients[0].alone, "{made:?}");
    let taken: Vec<&PathBuf> =
        made.ingredients.iter().filter(|one| one.taken).map(|one| &one.folder).collect();
    assert_mean(&by_loss, &taken);
}

#[test]
fn what_cannot_be_averaged_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    let models = ingredients(folder.path());
    let out = place("soup");
    let refused = |other: &Path, part: &str| {
        let error: Error = soup(&[models[0].clone(), other.to_path_buf()], &out, None).unwrap_err();
        let said = error.to_string();
        assert!(said.contains(part) && said.contains(&other.display().to_string()), "{said}");
        assert!(!out.exists());
    };
    let copy = |name: &str| {
        let to = place(name);
        fs::create_dir_all(&to).unwrap();
        for entry in fs::read_dir(&models[2]).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
        to
    };
    let change = |folder: &Path, file: &str, from: &str, to: &str| {
        let text = fs::read_to_string(folder.join(file)).unwrap();
        assert!(text.contains(from), "{file}: {text}");
        fs::write(folder.join(file), text.replace(from, to)).unwrap();
    };

    let labels = copy("labels");
    for file in ["config.json", "topwork.json"] {
        change(&labels, file, "\"spam\"", "\"junk\"");
    }
    refused(&labels, "the labels");
    let words = copy("words");
    change(&words, "tokenizer.json", "\"lowercase\": true", "\"lowercase\": false");
    refused(&words, "the tokenizers");
    let act = copy("act");
    change(&act, "config.json", "\"hidden_act\": \"gelu\"", "\"hidden_act\": \"relu\"");
    refused(&act, "\"hidden_act\"");
    refused(&fixtures("bert/multi-label"), "differ");
    let shape = {
        let data = data(folder.path(), "deep.csv", 0, 80, ["ham", "spam"]);
        let at = place("mean");
        fs::create_dir_all(&at).unwrap();
        train(&fixtures("bert"), &data, &at, &epochs(1, 1e-3, "pool = \"mean\"\n")).unwrap().best()
    };
    refused(&shape, "the heads");
    let error = soup(&models[..1], &out, None).unwrap_err().to_string();
    assert!(error.contains("at least two") && error.contains("got 1"), "{error}");
}
