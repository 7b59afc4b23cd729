//! A file that appears whole or not at all.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use crate::{Error, Result};

/// Runs `fill` on a temporary file beside `path`, syncs it and renames it to `path`. On any failure the temporary
/// file is removed and what stood at `path` is as it was.
pub(crate) fn write(path: &Path, fill: impl FnOnce(BufWriter<File>) -> Result<File>) -> Result<()> {
    let failed = |source: std::io::Error| Error::Write { path: path.into(), source };
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let temporary = path.with_file_name(format!(".{name}.{}.part", std::process::id()));
    let result = File::create(&temporary)
        .map_err(failed)
        .and_then(|file| fill(BufWriter::with_capacity(1 << 16, file)))
        .and_then(|file| file.sync_all().map_err(failed))
        .and_then(|()| std::fs::rename(&temporary, path).map_err(failed));
    if result.is_err() {
        // The first error is the one to report; the part file may never have come into being.
        let _ = std::fs::remove_file(&temporary);
    }
    result
}

/// Flushes and gives the file back for syncing.
pub(crate) fn done(path: &Path, mut writer: BufWriter<File>) -> Result<File> {
    let failed = |source: std::io::Error| Error::Write { path: path.into(), source };
    writer.flush().map_err(failed)?;
    writer.into_inner().map_err(|error| failed(error.into_error()))
}
