//! `cargo xtask bench texts`: topwork against its peers on real texts of real lengths, in one run.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::{report, side};
use crate::args::Args;
use crate::root;

const HELP: &str = "\
usage: cargo xtask bench texts --python VENV/bin/python --model FOLDER --texts FILE [options]

  --python P     an interpreter that has torch, transformers, sentence-transformers, onnxruntime, onnx, onnxscript
  --model F      a BERT model folder
  --texts F      a text a line
  --topwork P    a built program (default: the release build of this checkout, made first)
  --sides LIST   topwork,topwork-f32,trainer,best,compile,encode,onnx,onnx-int8,torch (default all)
  --rounds N     how often the sides take turns (default 3)
  --steps N      training steps in a turn (default 40)
  --threads N    threads of each side (default: what the machine has)
  --out FILE     where the JSON goes (default target/bench/texts.json)
";

/// Every side, and what it is called in the table.
const SIDES: &[(&str, &str)] = &[
    ("topwork", "topwork, bf16"),
    ("topwork-f32", "topwork, f32"),
    ("trainer", "transformers Trainer, its defaults"),
    ("best", "PyTorch, bf16 autocast, fused AdamW, like lengths"),
    ("compile", "the same under torch.compile, dynamic shapes"),
    ("encode", "sentence-transformers, f32"),
    ("onnx", "ONNX Runtime, f32"),
    ("onnx-int8", "ONNX Runtime, int8"),
    ("torch", "PyTorch, f32"),
];

/// What is measured: its name, its key, and whether more is better.
const COLUMNS: &[(&str, &str, bool)] = &[
    ("training, texts/s", "train", true),
    ("inference, texts/s", "infer", true),
    ("one text, ms", "one_ms", false),
    ("peak MB", "peak_mb", false),
];

/// One side and everything it said.
struct Measured {
    side: &'static str,
    title: &'static str,
    turns: Vec<Value>,
}

impl Measured {
    /// The median of a number over the turns.
    fn median(&self, key: &str) -> Option<f64> {
        let mut values: Vec<f64> = self.turns.iter().filter_map(|turn| turn[key].as_f64()).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }
}

/// Runs the bench.
pub fn run(mut args: Args) -> Result<bool> {
    if args.flag("--help") || args.flag("-h") {
        print!("{HELP}");
        return Ok(true);
    }
    let root = root::find()?;
    let need =
        |value: Option<String>, name: &str| value.with_context(|| format!("{name} is needed\n\n{HELP}"));
    let python = need(args.value("--python")?, "--python")?;
    let model = need(args.value("--model")?, "--model")?;
    let texts = need(args.value("--texts")?, "--texts")?;
    let topwork = args.value("--topwork")?;
    let rounds: usize = args.number("--rounds")?.unwrap_or(3);
    let steps: usize = args.number("--steps")?.unwrap_or(40);
    let available = std::thread::available_parallelism().map_or(1, usize::from);
    let threads: usize = args.number("--threads")?.unwrap_or(available);
    let out = args.value("--out")?.map_or_else(|| root.join("target/bench/texts.json"), PathBuf::from);
    let wanted = args.value("--sides")?;
    args.finish()?;
    if rounds == 0 || steps == 0 || threads == 0 {
        bail!("--rounds, --steps and --threads must be at least 1");
    }
    let sides = chosen(wanted.as_deref())?;
    let program = match topwork {
        Some(program) => PathBuf::from(program),
        None => side::build(&root)?,
    };
    let script = root.join("xtask/peers/texts.py");
    let numbers = (steps.to_string(), threads.to_string());
    let mut measured: Vec<Measured> =
        sides.iter().map(|&(side, title)| Measured { side, title, turns: Vec::new() }).collect();
    for round in 1..=rounds {
        for entry in &mut measured {
            super::progress(&format!("round {round} of {rounds}, {}", entry.side));
            let turn = match entry.side {
                "topwork" => own(&program, &model, &texts, &numbers, "bf16")?,
                "topwork-f32" => own(&program, &model, &texts, &numbers, "f32")?,
                peer => {
                    let mut command = Command::new(&python);
                    command.arg(&script).arg(peer).args(["--model", &model, "--texts", &texts]);
                    command.args(["--steps", &numbers.0, "--threads", &numbers.1]).env("HF_HUB_OFFLINE", "1");
                    line(command.env("OMP_NUM_THREADS", &numbers.1))?
                }
            };
            entry.turns.push(turn);
        }
        // The other direction next time, so that a machine that slows down favours none.
        measured.reverse();
    }
    super::progress("");
    measured.sort_by_key(|entry| SIDES.iter().position(|(side, _)| *side == entry.side));
    println!("{}, {threads} threads, medians of {rounds} rounds\n", report::processor());
    print!("{}", table(&measured));
    write(&out, &measured, threads)?;
    println!("\nwritten: {}", out.display());
    Ok(true)
}

fn chosen(list: Option<&str>) -> Result<Vec<(&'static str, &'static str)>> {
    let Some(list) = list else { return Ok(SIDES.to_vec()) };
    list.split(',')
        .map(|name| {
            let known = SIDES.iter().find(|(side, _)| *side == name).copied();
            known.with_context(|| format!("--sides: unknown \"{name}\"\n\n{HELP}"))
        })
        .collect()
}

/// Our own side, in the words of the peers.
fn own(
    program: &Path,
    model: &str,
    texts: &str,
    numbers: &(String, String),
    precision: &str,
) -> Result<Value> {
    let mut command = Command::new(program);
    command.args(["bench", model, "--file", texts, "--format", "text", "--json", "--precision", precision]);
    command.args(["--steps", &numbers.0, "--threads", &numbers.1]);
    let said = line(&mut command)?;
    Ok(json!({
        "train": said["training"]["texts_per_second"],
        "infer": said["inference"]["texts_per_second"],
        "one_ms": said["one_seconds"].as_f64().map(|seconds| 1e3 * seconds),
        "peak_mb": said["peak_mb"],
        "version": said["version"],
    }))
}

/// The line of JSON a process prints last; libraries may print lines of their own before it.
fn line(command: &mut Command) -> Result<Value> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let object = |line: &str| serde_json::from_str(line).ok().filter(Value::is_object);
    text.lines().rev().find_map(object).with_context(|| format!("{command:?} printed \"{}\"", text.trim()))
}

/// Markdown: each number, and in brackets how many times better topwork in bf16 is.
fn table(measured: &[Measured]) -> String {
    let own = measured.iter().find(|entry| entry.side == "topwork");
    let mut text = String::from("| side |");
    for (title, _, _) in COLUMNS {
        let _ = write!(text, " {title} |");
    }
    let _ = writeln!(text, "\n|---|{}", "--:|".repeat(COLUMNS.len()));
    for entry in measured {
        let _ = write!(text, "| {} |", entry.title);
        for (_, key, more) in COLUMNS {
            match (entry.median(key), own.and_then(|own| own.median(key))) {
                (Some(value), Some(ours)) if entry.side != "topwork" => {
                    let times = if *more { ours / value } else { value / ours };
                    let _ = write!(text, " {value:.1} ({times:.2}x) |");
                }
                (Some(value), _) => {
                    let _ = write!(text, " {value:.1} |");
                }
                (None, _) => text.push_str(" |"),
            }
        }
        text.push('\n');
    }
    text.push_str("\nIn brackets: how many times better topwork in bf16 is.\n");
    text
}

fn write(path: &Path, measured: &[Measured], threads: usize) -> Result<()> {
    let sides: Vec<Value> =
        measured.iter().map(|entry| json!({"side": entry.side, "turns": entry.turns})).collect();
    let value = json!({"machine": report::processor(), "threads": threads, "sides": sides});
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    std::fs::write(path, serde_json::to_string_pretty(&value)? + "\n")
        .with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_say_how_many_times_better_we_are() {
        let entry = |side, title, train: &[f64], one: f64| Measured {
            side,
            title,
            turns: train.iter().map(|train| json!({"train": train, "one_ms": one, "infer": null})).collect(),
        };
        let text = table(&[
            entry("topwork", "ours", &[100.0, 300.0, 200.0], 2.0),
            entry("best", "theirs", &[50.0, 100.0, 150.0], 8.0),
        ]);
        assert!(text.contains("| ours | 200.0 | | 2.0 | |"), "{text}");
        assert!(text.contains("| theirs | 100.0 (2.00x) | | 8.0 (4.00x) | |"), "{text}");
    }

    #[test]
    fn sides_are_chosen_by_name() {
        assert_eq!(chosen(None).unwrap().len(), 9);
        assert_eq!(chosen(Some("best,topwork")).unwrap()[0].0, "best");
        assert!(chosen(Some("tensorflow")).is_err());
    }
}
