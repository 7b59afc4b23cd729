//! Files that are either the old one or the new one, whatever happens in between.
//!
//! The new content goes to a temporary name in the same folder, is synced to disk and renamed over the old
//! file; then the folder is synced, so that the rename survives a power cut as well.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::Error;

/// What a failed write leaves behind, for the message.
const KEPT: &str = "an existing file was left as it was";

/// Replaces the file at `path` by `content`.
///
/// # Errors
/// [`Error::Write`]; the old file then still stands.
pub fn write(path: impl AsRef<Path>, content: &[u8]) -> Result<(), Error> {
    write_with(path, |file| file.write_all(content))
}

/// Replaces the file at `path` by what `fill` writes.
///
/// # Errors
/// [`Error::Write`], also for what `fill` returns; the old file then still stands.
pub fn write_with(
    path: impl AsRef<Path>,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), Error> {
    let path = path.as_ref();
    let write = |source| Error::Write { path: path.to_path_buf(), kept: KEPT, source };
    if path.is_dir() {
        return Err(write(io::Error::new(io::ErrorKind::IsADirectory, "a folder of that name exists")));
    }
    let temporary = temporary_beside(path).map_err(write)?;
    let replaced = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).open(&temporary)?;
        fill(&mut file)?;
        file.sync_all()?;
        if let Ok(old) = fs::metadata(path) {
            fs::set_permissions(&temporary, old.permissions())?;
        }
        fs::rename(&temporary, path)
    })();
    if let Err(source) = replaced {
        // Only the leftover of our own attempt; when even that fails, the first error is the one to tell.
        let _ = fs::remove_file(&temporary);
        return Err(write(source));
    }
    sync_folder(parent(path)).map_err(write)
}

/// A name beside `path` that nobody else uses: hidden, with the process and a counter in it.
pub(crate) fn temporary_beside(path: &Path) -> io::Result<PathBuf> {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path does not end in a file name"))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    // The time keeps us apart from a leftover of a killed process that had our number.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    hidden.push(format!(".{}-{:x}-{count}.tmp", std::process::id(), now.as_nanos()));
    Ok(path.with_file_name(hidden))
}

/// Removes what writers killed in the middle left in `folder`: temporary files and folders in our manner of
/// naming whose process is gone. Gives how many there were.
///
/// # Errors
/// [`Error::Read`] when the folder cannot be listed, [`Error::Write`] when a leftover cannot be removed.
pub fn sweep(folder: impl AsRef<Path>) -> Result<usize, Error> {
    sweep_for(folder.as_ref(), |_| true)
}

/// As [`sweep`], only what was to become a file or folder whose name `is_meant`.
pub(crate) fn sweep_for(folder: &Path, is_meant: impl Fn(&str) -> bool) -> Result<usize, Error> {
    let read = |source| Error::Read { path: folder.to_path_buf(), source };
    let mut removed = 0;
    for entry in fs::read_dir(folder).map_err(read)? {
        let entry = entry.map_err(read)?;
        match entry.file_name().to_str().and_then(target_and_writer) {
            Some((target, writer)) if is_meant(target) && !is_running(writer) => {}
            _ => continue,
        }
        let path = entry.path();
        let is_folder = entry.file_type().map_err(read)?.is_dir();
        let gone = if is_folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        gone.map_err(|source| Error::Write { path, kept: "it is a leftover of a killed process", source })?;
        removed += 1;
    }
    Ok(removed)
}

/// What a temporary name was to become and the process that made it (see [`temporary_beside`]), or `None`
/// for any other name.
fn target_and_writer(name: &str) -> Option<(&str, u32)> {
    let (target, mark) = name.strip_prefix('.')?.strip_suffix(".tmp")?.rsplit_once('.')?;
    let mut parts = mark.splitn(3, '-');
    let (process, time, count) = (parts.next()?, parts.next()?, parts.next()?);
    u128::from_str_radix(time, 16).ok()?;
    count.parse::<u32>().ok()?;
    Some((target, process.parse().ok()?))
}

/// Whether a process is there; where that cannot be known, it is taken to be.
fn is_running(process: u32) -> bool {
    !Path::new("/proc/self").exists() || Path::new("/proc").join(process.to_string()).exists()
}

/// The folder a path lies in.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes renames in a folder durable. On systems where a folder cannot be opened, they are anyway.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_written_and_replaced_and_nothing_else_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(names(folder.path()), ["a.txt"]);
    }

    #[test]
    fn a_disk_that_fills_up_leaves_the_old_file_and_no_rubbish() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write(&path, b"old").unwrap();
        let error = write_with(&path, |file| {
            file.write_all(b"half of the n")?;
            Err(io::ErrorKind::StorageFull.into())
        })
        .unwrap_err()
        .to_string();
        assert!(error.contains("a.txt: the disk is full; an existing file was left as it was"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["a.txt"]);
    }

    #[test]
    fn folders_that_cannot_take_the_file_are_clear_errors() {
        let folder = tempfile::tempdir().unwrap();
        let missing = write(folder.path().join("no/such/a.txt"), b"x").unwrap_err().to_string();
        assert!(missing.contains("the folder does not exist"), "{missing}");
        let folder_itself = write(folder.path(), b"x").unwrap_err().to_string();
        assert!(folder_itself.contains("a folder of that name exists"), "{folder_itself}");
        assert_eq!(names(folder.path()), Vec::<String>::new());
    }

    #[cfg(unix)]
    #[test]
    fn a_read_only_folder_is_a_clear_error() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write(&path, b"old").unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o555)).unwrap();
        let result = write(&path, b"new");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        match result {
            Err(error) => {
                assert!(error.to_string().contains("no permission to write in that folder"), "{error}");
                assert_eq!(fs::read(&path).unwrap(), b"old");
            }
            // The superuser may write anywhere, so there the claim cannot be tested.
            Ok(()) => println!("skipped: running as a user whom permissions do not bind"),
        }
        assert_eq!(names(folder.path()), ["a.txt"]);
    }

    #[test]
    fn leftovers_of_killed_processes_are_swept_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let ours = temporary_beside(&folder.path().join("model")).unwrap();
        fs::create_dir(&ours).unwrap();
        // No process has this number: Linux gives none above 2^22.
        let gone = ["a.txt", "model"].map(|name| folder.path().join(format!(".{name}.4294967295-1f-0.tmp")));
        fs::write(&gone[0], "half").unwrap();
        fs::create_dir(&gone[1]).unwrap();
        fs::write(gone[1].join("config.json"), "{}").unwrap();
        let foreign = ["x.tmp", ".x.tmp", ".a.4294967295-1f.tmp", ".a.b-1f-0.tmp", "a.4294967295-1f-0.tmp"];
        foreign.iter().for_each(|name| fs::write(folder.path().join(name), "").unwrap());
        let swept = sweep(folder.path()).unwrap();
        if Path::new("/proc/self").exists() {
            assert_eq!(swept, 2);
            assert!(!gone[0].exists() && !gone[1].exists());
        } else {
            assert_eq!(swept, 0, "where processes cannot be seen, nothing is removed");
        }
        assert!(ours.exists());
        assert!(foreign.iter().all(|name| folder.path().join(name).exists()));
    }

    #[cfg(unix)]
    #[test]
    fn permissions_of_the_replaced_file_stay() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write(&path, b"old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        write(&path, b"new").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    }
}
