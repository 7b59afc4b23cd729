//! `cargo xtask fixtures`: writes the golden files again by running `fixtures/make/*.py`.
//!
//! The scripts compute with the reference implementations at the versions pinned in
//! `fixtures/make/requirements.txt`. Without `--python` they run in an environment made for the purpose below
//! `target/`, which is made anew whenever the pins change.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::args::Args;
use crate::root;

/// Runs the scripts named (all of them when none is named).
pub fn run(mut args: Args) -> Result<bool> {
    let python = args.value("--python")?.map(PathBuf::from);
    let wanted: Vec<String> = std::iter::from_fn(|| args.next_word()).collect();
    args.finish()?;
    let root = root::find()?;
    let folder = root.join("fixtures/make");
    let scripts = scripts(&folder, &wanted)?;
    let python = match python {
        Some(path) => std::path::absolute(path)?,
        None => environment(&root, &folder.join("requirements.txt"))?,
    };
    for script in &scripts {
        let name = script.strip_prefix(&root).unwrap_or(script).display();
        println!("== {name}");
        let start = Instant::now();
        let status = Command::new(&python).arg(script).current_dir(&root).status();
        let status = status.with_context(|| format!("{}: cannot be started", python.display()))?;
        if !status.success() {
            println!("failed: {name} ({status})");
            return Ok(false);
        }
        println!("{:.1} s", start.elapsed().as_secs_f64());
    }
    println!("\n{} scripts run; what they changed:", scripts.len());
    // Not having git is no failure of the scripts.
    if Command::new("git").args(["status", "--short", "fixtures"]).current_dir(&root).status().is_err() {
        println!("(git is not installed)");
    }
    Ok(true)
}

/// The scripts of a folder in order of name. Files that start with `_` are modules the scripts share.
fn scripts(folder: &Path, wanted: &[String]) -> Result<Vec<PathBuf>> {
    let entries = folder.read_dir().with_context(|| folder.display().to_string())?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        if path.extension().is_some_and(|ext| ext == "py") && !stem.starts_with('_') {
            found.push((stem.to_string(), path.clone()));
        }
    }
    found.sort();
    let names: Vec<_> = found.iter().map(|(name, _)| name.clone()).collect();
    if let Some(unknown) = wanted.iter().find(|name| !names.contains(name)) {
        bail!("no script fixtures/make/{unknown}.py: there are {}", names.join(", "));
    }
    found.retain(|(name, _)| wanted.is_empty() || wanted.contains(name));
    if found.is_empty() {
        bail!("{}: no scripts there", folder.display());
    }
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// The interpreter of an environment that holds exactly the pinned requirements.
fn environment(root: &Path, requirements: &Path) -> Result<PathBuf> {
    let pins = std::fs::read_to_string(requirements).with_context(|| requirements.display().to_string())?;
    let folder = root.join("target/fixtures-venv");
    let stamp = folder.join("requirements.txt");
    let python = folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    if std::fs::read_to_string(&stamp).is_ok_and(|old| old == pins) {
        return Ok(python);
    }
    println!("== environment {}", folder.display());
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    let system = if cfg!(windows) { "python" } else { "python3" };
    succeed(Command::new(system).args(["-m", "venv"]).arg(&folder))?;
    succeed(Command::new(&python).args(["-m", "pip", "install", "--quiet", "-r"]).arg(requirements))?;
    // Written last: an installation that broke off is not taken for a whole one.
    std::fs::write(&stamp, pins).with_context(|| stamp.display().to_string())?;
    Ok(python)
}

fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{command:?}: cannot be started"))?;
    if !status.success() {
        bail!("{command:?}: {status} (or give an interpreter that has the packages: --python PATH)");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_found_by_name_and_shared_modules_left_out() {
        let folder = std::env::temp_dir().join(format!("topwork-fixtures-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for name in ["roberta.py", "bert.py", "_tiny.py", "requirements.txt"] {
            std::fs::write(folder.join(name), "").unwrap();
        }
        let all = scripts(&folder, &[]).unwrap();
        assert_eq!(all, [folder.join("bert.py"), folder.join("roberta.py")]);
        assert_eq!(scripts(&folder, &["bert".into()]).unwrap(), [folder.join("bert.py")]);
        let error = scripts(&folder, &["brt".into()]).unwrap_err().to_string();
        assert!(error.contains("brt") && error.contains("roberta"), "{error}");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
