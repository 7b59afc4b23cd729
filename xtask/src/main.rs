//! Checks, benches and fixtures of topwork: `cargo xtask COMMAND`.
//!
//! Depends on none of the crates it looks after, so that it builds in seconds and runs when they do not build.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line program speaks on its streams")]

mod args;
mod bench;
mod check;
mod corpus;
mod docs;
mod fixtures;
mod results;
mod root;
mod tidy;

use std::process::ExitCode;

use crate::args::Args;

const HELP: &str = "\
usage: cargo xtask COMMAND

  check [--from STEP] [--only STEP]   everything a change must pass, cheapest first
  tidy                                the rules of STYLE.md that a program can check
  docs                                write docs/reference.md again from the program's own lists
  results [--train] [--python P]      write docs/results.md from what was measured, and measure what is missing
                                      (cargo xtask results --help)
  fixtures [NAME...] [--python P]     write the golden files again from their reference implementations
  bench cpu --python P [options]      topwork against PyTorch on this machine, in one run
                                      (cargo xtask bench --help)
  bench texts --python P --model F --texts F
                                      the same on real texts, against the fastest peers there are
  corpus [--gigabytes N] [--seed N] OUT.arrow
                                      an Arrow file of made-up texts, 18 GB if not said, to measure topwork data scan

exit codes: 0 done, 1 a negative answer (something does not hold), 2 error
";

fn main() -> ExitCode {
    match run(Args::new(std::env::args().skip(1))) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Runs one command; `false` is a negative answer, an error is that no answer could be had.
fn run(mut args: Args) -> anyhow::Result<bool> {
    match args.next_word().as_deref() {
        Some("check") => check::run(args),
        Some("tidy") => {
            args.finish()?;
            tidy::run(&root::find()?)
        }
        Some("docs") => docs::run(args),
        Some("results") => results::run(args),
        Some("fixtures") => fixtures::run(args),
        Some("bench") => bench::run(args),
        Some("corpus") => corpus::run(args),
        Some("help") => {
            print!("{HELP}");
            Ok(true)
        }
        None if args.flag("--help") || args.flag("-h") => {
            print!("{HELP}");
            Ok(true)
        }
        Some(other) => anyhow::bail!("unknown command \"{other}\"\n\n{HELP}"),
        None => anyhow::bail!("no command given\n\n{HELP}"),
    }
}
