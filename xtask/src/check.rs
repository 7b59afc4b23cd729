//! `cargo xtask check`: everything a change must pass, cheapest first, stopping at the first failure.
//!
//! All of it in the release profile: tests of numerical code are unusable without optimisation, and the artefacts
//! are the ones `cargo run --release` uses.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::args::Args;
use crate::{root, tidy};

/// What came of a step.
enum Outcome {
    Passed,
    Failed,
    /// Not run, and why.
    Skipped(&'static str),
}

/// One step of the check.
struct Step {
    name: &'static str,
    run: fn(&Path) -> Result<Outcome>,
}

/// The steps in order.
const STEPS: &[Step] = &[
    Step { name: "fmt", run: |root| cargo(root, &["fmt", "--all", "--check", "--", "-l"], &[]) },
    Step { name: "typos", run: typos },
    Step { name: "tidy", run: |root| Ok(passed(tidy::run(root)?)) },
    Step {
        name: "clippy",
        run: |root| {
            let args =
                ["clippy", "--release", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"];
            cargo(root, &args, &[])
        },
    },
    Step { name: "test", run: |root| cargo(root, &["test", "--release", "--locked", "--workspace"], &[]) },
    Step {
        name: "doc",
        // `--lib`: the program and the library are both called topwork and would write the same pages.
        run: |root| {
            let args = ["doc", "--release", "--locked", "--workspace", "--no-deps", "--lib"];
            cargo(root, &args, &[("RUSTDOCFLAGS", "-D warnings")])
        },
    },
];

/// Runs the steps asked for.
pub fn run(mut args: Args) -> Result<bool> {
    let from = args.value("--from")?;
    let only = args.value("--only")?;
    args.finish()?;
    let steps = chosen(from.as_deref(), only.as_deref())?;
    let root = root::find()?;
    let mut done: Vec<(&str, Duration, &str)> = Vec::new();
    for step in steps {
        println!("\n== {}", step.name);
        let start = Instant::now();
        let outcome = (step.run)(&root)?;
        let time = start.elapsed();
        match outcome {
            Outcome::Passed => done.push((step.name, time, "")),
            Outcome::Skipped(why) => {
                println!("skipped: {why}");
                done.push((step.name, time, "skipped"));
            }
            Outcome::Failed => {
                println!("\nfailed: {} after {}", step.name, seconds(time));
                println!("go on from here: cargo xtask check --from {}", step.name);
                return Ok(false);
            }
        }
    }
    println!();
    for (name, time, note) in &done {
        println!("{name:<8}{:>9}  {note}", seconds(*time));
    }
    let skipped = done.iter().filter(|(_, _, note)| !note.is_empty()).count();
    let total: Duration = done.iter().map(|(_, time, _)| *time).sum();
    println!("{} steps passed, {skipped} skipped, in {}", done.len() - skipped, seconds(total));
    Ok(true)
}

/// The steps that `--from` and `--only` leave.
fn chosen(from: Option<&str>, only: Option<&str>) -> Result<&'static [Step]> {
    let at = |name: &str| {
        let names: Vec<_> = STEPS.iter().map(|step| step.name).collect();
        let known = STEPS.iter().position(|step| step.name == name);
        known.with_context(|| format!("unknown step \"{name}\": the steps are {}", names.join(", ")))
    };
    match (from, only) {
        (None, None) => Ok(STEPS),
        (Some(name), None) => Ok(&STEPS[at(name)?..]),
        (None, Some(name)) => at(name).map(|step| &STEPS[step..=step]),
        (Some(_), Some(_)) => bail!("--from and --only exclude each other"),
    }
}

fn cargo(root: &Path, args: &[&str], envs: &[(&str, &str)]) -> Result<Outcome> {
    let mut command = Command::new(root::cargo());
    command.current_dir(root).args(args).envs(envs.iter().copied());
    let status = command.status().with_context(|| format!("cargo {}: cannot be started", args.join(" ")))?;
    Ok(passed(status.success()))
}

/// Spelling, where the `typos` program is installed; its configuration is `_typos.toml`.
fn typos(root: &Path) -> Result<Outcome> {
    match Command::new("typos").current_dir(root).status() {
        Ok(status) => Ok(passed(status.success())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Ok(Outcome::Skipped("typos is not installed (cargo install typos-cli)"))
        }
        Err(error) => Err(error).context("typos: cannot be started"),
    }
}

fn passed(yes: bool) -> Outcome {
    if yes { Outcome::Passed } else { Outcome::Failed }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(from: Option<&str>, only: Option<&str>) -> Vec<&'static str> {
        chosen(from, only).unwrap().iter().map(|step| step.name).collect()
    }

    #[test]
    fn steps_are_chosen_by_name() {
        assert_eq!(names(None, None).len(), 6);
        assert_eq!(names(Some("clippy"), None), ["clippy", "test", "doc"]);
        assert_eq!(names(None, Some("tidy")), ["tidy"]);
    }

    #[test]
    fn an_unknown_step_is_an_error_that_lists_the_steps() {
        let error = chosen(None, Some("lint")).err().unwrap().to_string();
        assert!(error.contains("lint") && error.contains("clippy"), "{error}");
        assert!(chosen(Some("fmt"), Some("doc")).is_err());
    }
}
