//! `cargo xtask results`: every recipe of docs/recipes, trained here and in PyTorch, side by side in docs/results.md.
//!
//! What was measured before is kept in fixtures/results and not measured again, so that a long list is got through in
//! several goes; to measure something again, take its entry out.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::args::Args;
use crate::{bench, root};

pub const HELP: &str = "\
usage: cargo xtask results [--train] [--seeds 1,2,3] [--only NAME,...] [--precision bf16] [--python P] [--steps N]

Writes docs/results.md from fixtures/results. With --train, what is missing there is trained first, by topwork; with
--python, by fixtures/make/results.py as well. With --steps, N steps of each are timed instead, the two sides in turn: do
that on a machine that does nothing else. The data is laid out before, once:

    python fixtures/make/results_data.py DATA results-data
";

/// The page.
const PAGE: &str = "docs/results.md";
/// The sets in the order of the page: name of the recipe, title, what is measured.
const SETS: &[(&str, &str, &[&str])] = &[
    ("sst2", "SST-2, sentences", &["accuracy"]),
    ("subj", "Subj", &["accuracy"]),
    ("trec", "TREC, 6 classes", &["accuracy"]),
    ("banking77", "banking77", &["accuracy"]),
    ("cola", "CoLA", &["matthews"]),
    ("mrpc", "MRPC", &["f1", "accuracy"]),
    ("rte", "RTE", &["accuracy"]),
    ("stsb", "STS-B", &["pearson", "spearman"]),
    ("wnut17", "WNUT-17, entities", &["entity-f1"]),
    ("wikigold", "WikiGold, entities", &["entity-f1"]),
    ("ewt", "UD-EWT, parts of speech", &["tag-accuracy"]),
    ("ewt-parse", "UD-EWT, dependency trees", &["las", "uas"]),
    ("xquad", "XQuAD, English", &["answer-f1", "em"]),
    ("multi30k", "Multi30k, English to German (a small T5 from random weights)", &["bleu"]),
];

/// In the place of a seed: the time of a step.
const STEP: &str = "step";
/// Steps that are not timed, in which memory is touched for the first time.
const WARM_UP: usize = 5;

/// Of each set and each seed, what was measured: names and values.
type Measured = BTreeMap<String, BTreeMap<String, BTreeMap<String, f64>>>;

/// Trains what is missing, if asked, and writes the page.
pub fn run(mut args: Args) -> Result<bool> {
    if args.flag("--help") || args.flag("-h") {
        print!("{HELP}");
        return Ok(true);
    }
    let (train, python) = (args.flag("--train"), args.value("--python")?);
    let list = |text: Option<String>| -> Option<Vec<String>> {
        text.map(|text| text.split(',').map(str::to_string).collect())
    };
    let seeds = list(args.value("--seeds")?).unwrap_or_else(|| vec!["1".into(), "2".into(), "3".into()]);
    let only = list(args.value("--only")?);
    let precision = args.value("--precision")?.unwrap_or_else(|| "bf16".into());
    let steps: Option<usize> = args.number("--steps")?;
    args.finish()?;
    let root = root::find()?;
    let known: Vec<&str> = SETS.iter().map(|(name, ..)| *name).collect();
    if let Some(name) = only.iter().flatten().find(|name| !known.contains(&name.as_str())) {
        bail!("unknown set \"{name}\": there are {}", known.join(", "));
    }
    let wanted =
        known.into_iter().filter(|name| only.as_ref().is_none_or(|only| only.iter().any(|o| o == name)));
    if train || python.is_some() {
        let program = bench::build(&root)?;
        let wanted: Vec<&str> = wanted.collect();
        // Seed by seed, so that a list that is stopped has something of each set.
        let seeds = if steps.is_some() { vec![STEP.to_string()] } else { seeds };
        for seed in &seeds {
            for name in &wanted {
                if train {
                    once(&root, &program, name, seed, &precision, steps)?;
                }
                if let Some(python) = &python {
                    let mut command = Command::new(python);
                    command.args(["fixtures/make/results.py", "--precision", &precision]);
                    match steps {
                        Some(steps) => command.args(["--steps", &steps.to_string()]),
                        None => command.args(["--seeds", seed]),
                    };
                    command.arg(name);
                    command.current_dir(&root);
                    let status = command.status().with_context(|| format!("{python}: cannot be started"))?;
                    if !status.success() {
                        bail!("fixtures/make/results.py failed on {name}");
                    }
                }
            }
        }
    }
    let (ours, theirs) = (read(&root, "topwork")?, read(&root, "pytorch")?);
    fs::write(root.join(PAGE), page(&ours, &theirs) + &studies(&root)?).context(PAGE)?;
    println!("written: {PAGE}");
    Ok(true)
}

/// What was measured by studies of several ways, written by hand beside their numbers; they follow the table.
fn studies(root: &Path) -> Result<String> {
    let path = root.join("fixtures/results/studies.md");
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}

fn path(root: &Path, side: &str) -> PathBuf {
    root.join("fixtures/results").join(format!("{side}.json"))
}

fn read(root: &Path, side: &str) -> Result<Measured> {
    let path = path(root, side);
    if !path.exists() {
        return Ok(Measured::new());
    }
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}

/// Trains one recipe with one seed, or times some steps of it, unless that was done before.
fn once(
    root: &Path,
    program: &Path,
    name: &str,
    seed: &str,
    precision: &str,
    steps: Option<usize>,
) -> Result<()> {
    let mut all = read(root, "topwork")?;
    if all.get(name).is_some_and(|seeds| seeds.contains_key(seed)) {
        return Ok(());
    }
    let folder = root.join("results-data/runs").join(format!("{name}-{seed}"));
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    println!("{name}, seed {seed}");
    let mut command = Command::new(program);
    command.arg("train").arg(format!("docs/recipes/{name}.toml"));
    command.args(["--quiet", "--precision", precision]);
    match steps {
        Some(steps) => command.arg(format!("train.max-steps={}", steps + WARM_UP)),
        None => command.args(["--seed", seed]),
    };
    let status = command.arg("--out").arg(&folder).current_dir(root).status();
    if !status.with_context(|| format!("{}: cannot be started", program.display()))?.success() {
        bail!("topwork train docs/recipes/{name}.toml failed");
    }
    let entry = if steps.is_some() { timed(&folder)? } else { measured(&folder)? };
    all.entry(name.to_string()).or_default().insert(seed.to_string(), entry);
    let path = path(root, "topwork");
    fs::create_dir_all(root.join("fixtures/results"))?;
    fs::write(&path, serde_json::to_string_pretty(&json!(all))? + "\n")
        .with_context(|| path.display().to_string())?;
    // The numbers are what is kept; a folder holds a model of 90 MB, and its checkpoints three times that.
    fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())
}

/// What a run folder says of its test data, and the seconds that its steps took.
fn measured(folder: &Path) -> Result<BTreeMap<String, f64>> {
    let text = |name: &str| {
        let path = folder.join(name);
        fs::read_to_string(&path).with_context(|| path.display().to_string())
    };
    let metrics: Value = serde_json::from_str(&text("metrics.json")?)?;
    let mut found = BTreeMap::new();
    for (prefix, part) in [("", "test"), ("baseline ", "baseline")] {
        for value in metrics[part]["values"].as_array().into_iter().flatten() {
            if let (Some(name), Some(value)) = (value["name"].as_str(), value["value"].as_f64()) {
                found.insert(format!("{prefix}{name}"), value);
            }
        }
    }
    Ok(found)
}

/// The median of the steps that a run folder's log has, in milliseconds.
fn timed(folder: &Path) -> Result<BTreeMap<String, f64>> {
    let path = folder.join("log.jsonl");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let mut steps = Vec::new();
    for line in text.lines() {
        let event: Value = serde_json::from_str(line)?;
        if event["event"] == "step" {
            steps.extend(event["seconds"].as_f64());
        }
    }
    let mut steps = steps.split_off(WARM_UP.min(steps.len()));
    if steps.is_empty() {
        bail!("{}: no step to time", path.display());
    }
    steps.sort_by(f64::total_cmp);
    Ok(BTreeMap::from([("ms".to_string(), (steps[steps.len() / 2] * 1e4).round() / 10.0)]))
}

/// The mean of some values and their standard deviation; `None` without values.
fn mean(values: &[f64]) -> Option<(f64, f64)> {
    if values.is_empty() {
        return None;
    }
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Some((mean, (squares / (values.len() as f64 - 1.0).max(1.0)).sqrt()))
}

fn values(side: &Measured, name: &str, metric: &str) -> Vec<f64> {
    side.get(name).into_iter().flatten().filter_map(|(_, found)| found.get(metric).copied()).collect()
}

/// `91.2 ± 0.4`, in percent, with the number of seeds where it is not three.
fn cell(values: &[f64]) -> String {
    let Some((mean, spread)) = mean(values) else { return String::new() };
    let seeds = match values.len() {
        3 => String::new(),
        1 => " (1 seed)".into(),
        count => format!(" ({count} seeds)"),
    };
    let spread = if values.len() > 1 { format!(" ± {:.1}", 100.0 * spread) } else { String::new() };
    format!("{:.1}{spread}{seeds}", 100.0 * mean)
}

/// The whole page.
fn page(ours: &Measured, theirs: &Measured) -> String {
    let mut text = String::from(HEAD);
    for (name, title, metrics) in SETS {
        for (at, metric) in metrics.iter().enumerate() {
            let mine = values(ours, name, metric);
            if mine.is_empty() {
                continue;
            }
            let title = if at == 0 { format!("[{title}](recipes/{name}.toml)") } else { String::new() };
            let baseline = mean(&values(ours, name, &format!("baseline {metric}")));
            let baseline = baseline.map_or(String::new(), |(mean, _)| format!("{:.1}", 100.0 * mean));
            let ms = |side| values(side, name, "ms").first().copied().filter(|_| at == 0);
            let shown = |ms: Option<f64>| ms.map_or(String::new(), |ms| format!("{ms:.0}"));
            let (mine_ms, their_ms) = (ms(ours), ms(theirs));
            let ratio = mine_ms.zip(their_ms).map_or(String::new(), |(a, b)| format!(" ({:.1}x)", b / a));
            let times = format!("{} | {}{ratio}", shown(mine_ms), shown(their_ms));
            let theirs = cell(&values(theirs, name, metric));
            let _ =
                writeln!(text, "| {title} | {metric} | {baseline} | {} | {theirs} | {times} |", cell(&mine));
        }
    }
    text
}

const HEAD: &str = "\
# Results

What MiniLM (all-MiniLM-L6-v2, 22.7 million parameters) learns from published data sets, in percent, mean and standard
deviation over three seeds, beside the same recipe in PyTorch.
Each recipe names its files, its epochs and its rate; the checkpoint that is best on the development part is measured on the
test part. Where a set has no labelled part to choose by or to measure on, one was drawn from the training part with a fixed
seed (`fixtures/make/results_data.py`), the same for both programs; so some numbers are of other examples than those in papers.
PyTorch is transformers with the same files, rate, warm-up, decay, clipping and dropout (`fixtures/make/results.py`); the order
of the examples and the first values of the head are its own.
The baseline is what topwork trains beside every run: TF-IDF and a linear model, its strength chosen on the development part.
Precision is bf16 in both: products in topwork, autocast in PyTorch, whose answers were measured in f32.
The times are medians of 40 steps in milliseconds, both programs in turn on two cores of an AMD EPYC (Zen 5, AVX512-BF16) with all other work stopped.
PyTorch pads each batch to its longest text.

```
python fixtures/make/results_data.py DATA results-data
topwork train docs/recipes/trec.toml --seed 1
python fixtures/make/results.py --seeds 1 trec
```

`cargo xtask results --train --python P` does all of it and writes this page, with `--steps 40` the times; what is not in the table was not measured yet.

| | measure | baseline | topwork | PyTorch | step, topwork | step, PyTorch |
|---|---|--:|--:|--:|--:|--:|
";

#[cfg(test)]
mod tests {
    use super::*;

    fn side(values: &[f64], ms: f64) -> Measured {
        let seeds = values.iter().enumerate().map(|(seed, value)| {
            let found =
                BTreeMap::from([("accuracy".to_string(), *value), ("baseline accuracy".to_string(), 0.5)]);
            (seed.to_string(), found)
        });
        let step = (STEP.to_string(), BTreeMap::from([("ms".to_string(), ms)]));
        BTreeMap::from([("trec".to_string(), seeds.chain([step]).collect())])
    }

    #[test]
    fn a_row_has_means_and_spreads() {
        let text = page(&side(&[0.9, 0.92, 0.94], 20.0), &side(&[0.91], 50.4));
        let row = text.lines().last().unwrap();
        assert_eq!(
            row,
            "| [TREC, 6 classes](recipes/trec.toml) | accuracy | 50.0 | 92.0 ± 2.0 | 91.0 (1 seed) | 20 | 50 (2.5x) |"
        );
        assert!(!page(&Measured::new(), &side(&[0.9], 1.0)).contains("TREC"));
    }

    #[test]
    fn every_set_has_a_recipe_and_every_recipe_a_row() {
        let root = root::find().unwrap();
        let mut found: Vec<String> = fs::read_dir(root.join("docs/recipes"))
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        found.sort();
        let mut listed: Vec<&str> = SETS.iter().map(|(name, ..)| *name).collect();
        listed.sort_unstable();
        assert_eq!(found, listed);
    }

    #[test]
    fn the_page_is_what_the_numbers_say() {
        let root = root::find().unwrap();
        let table = page(&read(&root, "topwork").unwrap(), &read(&root, "pytorch").unwrap());
        let expected = table + &studies(&root).unwrap();
        let page = fs::read_to_string(root.join(PAGE)).unwrap();
        assert!(page == expected, "{PAGE} is stale: cargo xtask results");
    }
}
