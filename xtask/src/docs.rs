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
    Ok(true)
}
