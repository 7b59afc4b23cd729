//! `npm:package@version`: a tarball, fetched with the user's own `npm pack`. No script in it is run.

use std::ffi::OsStr;
use std::path::Path;

use super::cache::Staged;
use super::error::{Error, Result};
use super::program::{self, Program};
use super::progress::Progress;
use super::{archive, hash};

/// Fetches a package and unpacks it under `staging/files`.
pub(crate) fn fetch(
    package: &str,
    version: &str,
    search_path: &OsStr,
    bytes: Option<u64>,
    staging: &Path,
    progress: &dyn Progress,
) -> Result<Staged> {
    let wanted = format!("{package}@{version}");
    let path = program::find("npm", search_path).ok_or_else(|| Error::NoProgram {
        reference: format!("npm:{wanted}"),
        program: "npm",
        way_out: "install Node.js with npm, or download the package elsewhere, unpack it and give the folder"
            .into(),
    })?;
    let npm = Program { path, first: Vec::new(), search_path: search_path.to_owned() };
    let scratch = staging.join("download");
    std::fs::create_dir_all(&scratch).map_err(super::error::io("create", &scratch))?;
    progress.start(&format!("npm pack {wanted}"), bytes);
    npm.run(
        &["pack", "--ignore-scripts", "--loglevel=error", "--update-notifier=false", &wanted],
        &scratch,
        progress,
        "check the package, its version and the network (`npm config get registry` shows the mirror in use)",
    )?;
    progress.finish();
    let tarball = program::result(&scratch, ".tgz")?.ok_or_else(|| Error::Archive {
        archive: scratch.clone(),
        problem: "npm left no single tarball in it".into(),
    })?;
    let sha256 = hash::of_file(&tarball, |_| ())?;
    archive::untar(&tarball, &staging.join("files"), progress)?;
    Ok(Staged { sha256, artefact: super::file_name(&tarball), commit: None, hashes: Vec::new() })
}
