//! `cargo xtask bench cpu`: topwork against PyTorch on this machine, as ratios from one run.
//!
//! A time by itself says as much about the machine and its neighbours as about the program. So both sides are run
//! in turns, a process a case, and what is reported is the ratio.

mod cases;
mod report;
mod side;
mod texts;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::args::Args;
use crate::root;
use cases::{Case, Choice};
use report::Row;
pub use side::build;
use side::{Sample, Side};

const HELP: &str = "\
usage: cargo xtask bench cpu --python VENV/bin/python [options]
       cargo xtask bench texts --help   (real texts of real lengths)

  --python P        an interpreter that has torch and transformers
  --topwork P       a built program (default: the release build of this checkout, made first)
  --side S          both, topwork or pytorch (default both; one side alone gives no ratios)
  --shapes LIST     base,minilm (default both)
  --modes LIST      train,forward (default both)
  --precisions LIST f32,bf16 (default both)
  --rounds N        how often the sides take turns (default 3)
  --iters N         measured repetitions in a turn, after two that warm up (default 3)
  --threads N       threads of each side (default: what the machine has)
  --quick           MiniLM, dropout 0.1, one round of two
  --at-most R       exit 1 when a ratio of medians to PyTorch is above R
  --out FILE        where the JSON goes (default target/bench/cpu.json)
";

/// Runs the bench named first.
pub fn run(mut args: Args) -> Result<bool> {
    match args.next_word().as_deref() {
        None if args.flag("--help") || args.flag("-h") => {
            print!("{HELP}");
            Ok(true)
        }
        Some("cpu") => cpu(args),
        Some("texts") => texts::run(args),
        Some(other) => bail!("unknown bench \"{other}\"\n\n{HELP}"),
        None => bail!("no bench given\n\n{HELP}"),
    }
}

fn cpu(mut args: Args) -> Result<bool> {
    if args.flag("--help") || args.flag("-h") {
        print!("{HELP}");
        return Ok(true);
    }
    let root = root::find()?;
    let quick = args.flag("--quick");
    let mut choice = if quick { Choice::quick() } else { Choice::all() };
    choice.narrow("shapes", args.value("--shapes")?)?;
    choice.narrow("modes", args.value("--modes")?)?;
    choice.narrow("precisions", args.value("--precisions")?)?;
    let rounds = args.number("--rounds")?.unwrap_or(if quick { 1 } else { 3 });
    let iters = args.number("--iters")?.unwrap_or(if quick { 2 } else { 3 });
    let available = std::thread::available_parallelism().map_or(1, usize::from);
    let threads: usize = args.number("--threads")?.unwrap_or(available);
    let at_most: Option<f64> = args.number("--at-most")?;
    let out = args.value("--out")?.map_or_else(|| root.join("target/bench/cpu.json"), PathBuf::from);
    let python = args.value("--python")?;
    let topwork = args.value("--topwork")?;
    let which = args.value("--side")?.unwrap_or_else(|| "both".into());
    args.finish()?;
    if rounds == 0 || iters == 0 || threads == 0 {
        bail!("--rounds, --iters and --threads must be at least 1");
    }
    let sides = sides(&root, &which, python, topwork)?;
    let cases = choice.cases();
    println!("{} cases, {rounds} rounds of {iters}, {threads} threads, {}", cases.len(), report::processor());

    print!("\n{}", report::HEAD);
    let mut rows = Vec::new();
    for case in &cases {
        let samples = measure(case, &sides, rounds, iters, threads)?;
        let row = Row { case: case.clone(), samples };
        progress("");
        print!("{}", report::lines(&row));
        rows.push(row);
        // After each case: what is measured stays measured when the rest is cut short.
        report::write(&out, &rows, threads)?;
    }
    println!("\nwritten: {}", out.display());
    let Some(limit) = at_most else { return Ok(true) };
    let above = report::above(&rows, limit);
    for line in &above {
        println!("above {limit}: {line}");
    }
    Ok(above.is_empty())
}

/// Shows on a terminal what is being measured, in place of what was shown before.
fn progress(line: &str) {
    let mut screen = std::io::stderr();
    if screen.is_terminal() {
        // Nothing is lost with it.
        let _ = write!(screen, "\r\x1b[2K{line}");
    }
}

/// The sides asked for, ready to run.
fn sides(
    root: &std::path::Path,
    which: &str,
    python: Option<String>,
    topwork: Option<String>,
) -> Result<Vec<Side>> {
    let mut sides = Vec::new();
    if matches!(which, "both" | "topwork") {
        sides.push(match topwork {
            Some(program) => Side::topwork(PathBuf::from(program)),
            None => Side::topwork(side::build(root)?),
        });
    }
    if matches!(which, "both" | "pytorch") {
        let python = python.context("--python is needed: an interpreter that has torch and transformers")?;
        sides.extend(Side::pytorch(&PathBuf::from(python), &root.join("xtask/peers/pytorch_step.py")));
    }
    if sides.is_empty() {
        bail!("--side is both, topwork or pytorch, not \"{which}\"");
    }
    Ok(sides)
}

/// Runs one case on each side that has it, in turns. Each round goes through the sides in the other direction, so
/// that a machine that slows down or speeds up favours none.
fn measure(case: &Case, sides: &[Side], rounds: usize, iters: usize, threads: usize) -> Result<Vec<Sample>> {
    let mut order: Vec<usize> = (0..sides.len()).filter(|&at| sides[at].has(case)).collect();
    let mut samples: Vec<Sample> = order.iter().map(|&at| Sample::new(sides[at].name)).collect();
    for round in 1..=rounds {
        for &at in &order {
            progress(&format!("{case}: round {round} of {rounds}, {}", sides[at].name));
            let turn = sides[at].run(case, iters, threads)?;
            let sample = samples.iter_mut().find(|sample| sample.side == sides[at].name);
            sample.context("a side without a sample")?.add(turn);
        }
        order.reverse();
    }
    Ok(samples)
}
