//! Where the repository is.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The root of the workspace this program was built from.
///
/// # Errors
/// When the folder is gone (the checkout was moved after the build).
pub fn find() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.parent().context("xtask has no folder above it")?;
    root.canonicalize().with_context(|| format!("{} is gone: build xtask again", root.display()))
}

/// The cargo that started this program.
pub fn cargo() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}
