//! `cargo xtask docs`: writes the pages that come from the program itself.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::args::Args;
use crate::{bench, root};

/// The page, and what prints it. That it is fresh is a test of the program.
const PAGES: &[(&str, &[&str])] = &[("docs/reference.md", &["list", "--page"])];

/// Builds the program and writes every page.
pub fn run(args: Args) -> Result<bool> {
    args.finish()?;
    let root = root::find()?;
    let program = bench::build(&root)?;
    for (page, arguments) in PAGES {
        let output = Command::new(&program).args(*arguments).output();
        let output = output.with_context(|| format!("{}: cannot be started", program.display()))?;
        if !output.status.success() {
            bail!("topwork {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        std::fs::write(root.join(page), &output.stdout).with_context(|| (*page).to_string())?;
        println!("written: {page}");
    }
    // The table of families holds what the tests measure.
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["test", "--release", "--workspace", "--test", "parity", "the_table_of_families"]);
    let status = cargo.env("TOPWORK_WRITE", "1").current_dir(&root).status().context("cargo test")?;
    if !status.success() {
        bail!("docs/families.md: the tests that measure it failed");
    }
    println!("written: docs/families.md");
    Ok(true)
}
