//! Finding and running the user's own `pip` and `npm`, so that their mirrors and credentials apply.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::error::{Error, Result, io};
use super::progress::Progress;

/// The first executable called `name` on `search_path`.
pub(crate) fn find(name: &str, search_path: &OsStr) -> Option<PathBuf> {
    let endings: &[&str] = if cfg!(windows) { &[".exe", ".cmd", ".bat"] } else { &[""] };
    std::env::split_paths(search_path)
        .flat_map(|folder| endings.iter().map(move |ending| folder.join(format!("{name}{ending}"))))
        .find(|path| is_executable(path))
}

#[cfg(unix)]
fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(path: &Path) -> bool {
    path.is_file()
}

/// A program with the arguments that always come first.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub path: PathBuf,
    pub first: Vec<&'static str>,
    pub search_path: OsString,
}

impl Program {
    /// Runs in `folder`, which also serves for temporary files, and reports its growth as progress.
    pub(crate) fn run(
        &self,
        arguments: &[&str],
        folder: &Path,
        progress: &dyn Progress,
        way_out: &str,
    ) -> Result<()> {
        let mut child = Command::new(&self.path)
            .args(&self.first)
            .args(arguments)
            .current_dir(folder)
            .env("PATH", &self.search_path)
            .env("TMPDIR", folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(io("run", &self.path))?;
        let stdout = child.stdout.take().map(drain);
        let stderr = child.stderr.take().map(drain);
        let status = loop {
            if let Some(status) = child.try_wait().map_err(io("run", &self.path))? {
                break status;
            }
            std::thread::sleep(Duration::from_millis(50));
            progress.advance(size_of(folder));
        };
        let text = |thread: Option<std::thread::JoinHandle<String>>| {
            thread.and_then(|thread| thread.join().ok()).unwrap_or_default()
        };
        let (stdout, stderr) = (text(stdout), text(stderr));
        if status.success() {
            return Ok(());
        }
        let mut words = vec![self.path.display().to_string()];
        words.extend(self.first.iter().map(|word| (*word).to_owned()));
        words.extend(arguments.iter().map(|word| (*word).to_owned()));
        Err(Error::Program {
            command: words.join(" "),
            status: status.to_string(),
            message: tail(if stderr.trim().is_empty() { &stdout } else { &stderr }),
            way_out: way_out.to_owned(),
        })
    }

    /// True when the program answers `--version`.
    pub(crate) fn answers(&self) -> bool {
        Command::new(&self.path)
            .args(&self.first)
            .arg("--version")
            .env("PATH", &self.search_path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }
}

fn drain(mut pipe: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // A pipe that breaks has said all it will; the exit status tells the rest.
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// The last lines that say something, joined to one.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let errors: Vec<&str> =
        lines.iter().copied().filter(|line| line.to_ascii_lowercase().contains("error")).collect();
    let chosen = if errors.is_empty() { &lines } else { &errors };
    let last = &chosen[chosen.len().saturating_sub(3)..];
    if last.is_empty() { "it said nothing".into() } else { last.join(" | ") }
}

/// Bytes in all files under a folder; files that vanish meanwhile count nothing.
fn size_of(folder: &Path) -> u64 {
    let Ok(listing) = std::fs::read_dir(folder) else { return 0 };
    listing
        .flatten()
        .map(|file| match file.metadata() {
            Ok(found) if found.is_dir() => size_of(&file.path()),
            Ok(found) => found.len(),
            Err(_) => 0,
        })
        .sum()
}

/// The one file with `ending` that a program left in `folder`.
pub(crate) fn result(folder: &Path, ending: &str) -> Result<Option<PathBuf>> {
    let mut found = Vec::new();
    for file in std::fs::read_dir(folder).map_err(io("read", folder))? {
        let path = file.map_err(io("read", folder))?.path();
        if path.is_file() && path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    Ok(if found.len() == 1 { found.pop() } else { None })
}
