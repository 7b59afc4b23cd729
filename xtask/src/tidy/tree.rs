//! The files a check looks at.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

/// Folders that hold nothing of ours where there is no git to say so.
const NOT_OURS: &[&str] = &[".git", ".venv", "target", "runs"];

/// Files of a repository, in order of their path.
pub struct Tree {
    pub files: Vec<File>,
}

/// One file.
pub struct File {
    /// The path from the root, with forward slashes.
    pub path: String,
    pub bytes: Vec<u8>,
}

impl Tree {
    /// Reads what git tracks or would track; without git, everything but build output.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn read(root: &Path) -> Result<Self> {
        let mut paths = match git(root) {
            Some(paths) => paths,
            None => {
                let mut paths = Vec::new();
                walk(root, "", &mut paths)?;
                paths
            }
        };
        paths.sort();
        paths.dedup();
        let mut files = Vec::new();
        for path in paths {
            match std::fs::read(root.join(&path)) {
                Ok(bytes) => files.push(File { path, bytes }),
                // Deleted and not yet committed.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).context(path),
            }
        }
        Ok(Self { files })
    }

    /// A tree made of paths and texts.
    #[cfg(test)]
    pub fn of(files: &[(&str, &str)]) -> Self {
        let file =
            |(path, text): &(&str, &str)| File { path: (*path).into(), bytes: text.as_bytes().to_vec() };
        Self { files: files.iter().map(file).collect() }
    }

    /// The file at a path.
    pub fn get(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Files a person writes code in, by extension.
    pub fn sources(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| matches!(file.extension(), "rs" | "py" | "sh"))
    }

    /// Rust files.
    pub fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.extension() == "rs")
    }
}

impl File {
    /// The contents; bytes that are no UTF-8 are replaced.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }

    /// What stands behind the last point of the name.
    pub fn extension(&self) -> &str {
        self.path.rsplit_once('.').map_or("", |(_, extension)| extension)
    }

    /// The file's name without its extension.
    pub fn stem(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        name.split_once('.').map_or(name, |(stem, _)| stem)
    }

    /// The folders above the file, outermost first.
    pub fn folders(&self) -> impl Iterator<Item = &str> {
        self.path
            .rsplit_once('/')
            .map_or("", |(folders, _)| folders)
            .split('/')
            .filter(|name| !name.is_empty())
    }
}

fn git(root: &Path) -> Option<Vec<String>> {
    let listing = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").args(listing).current_dir(root).output().ok()?;
    if !output.status.success() || output.stdout.is_empty() {
        return None;
    }
    let paths = String::from_utf8_lossy(&output.stdout);
    Some(paths.split('\0').filter(|path| !path.is_empty()).map(String::from).collect())
}

fn walk(root: &Path, folder: &str, paths: &mut Vec<String>) -> Result<()> {
    for entry in root.join(folder).read_dir().with_context(|| format!("{folder}/"))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        let kind = entry.file_type()?;
        if kind.is_file() {
            paths.push(path);
        } else if kind.is_dir() && !NOT_OURS.contains(&name.as_str()) {
            walk(root, &path, paths)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_come_apart() {
        let tree = Tree::of(&[("crates/nn/src/loss/kl.rs", ""), ("README", "")]);
        assert_eq!(tree.files[0].stem(), "kl");
        assert_eq!(tree.files[0].extension(), "rs");
        assert_eq!(tree.files[0].folders().collect::<Vec<_>>(), ["crates", "nn", "src", "loss"]);
        assert_eq!((tree.files[1].stem(), tree.files[1].extension()), ("README", ""));
        assert_eq!(tree.files[1].folders().count(), 0);
    }

    #[test]
    fn without_git_the_folders_are_walked() {
        let root = crate::root::find().unwrap();
        let mut paths = Vec::new();
        walk(&root, "", &mut paths).unwrap();
        assert!(paths.contains(&"xtask/src/tidy/tree.rs".to_string()));
        assert!(!paths.iter().any(|path| path.starts_with("target/") || path.starts_with(".git/")));
    }
}
