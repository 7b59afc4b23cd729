//! Files made of the bytes that the fuzzer hands over.

use std::fs;
use std::path::PathBuf;

/// What stands between the files of an input of several.
const BETWEEN: &[u8] = b"\n--8<--\n";

/// A folder of this process's own, whose files are written anew for each input.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

impl Folder {
    /// An empty folder.
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(format!("topwork-fuzz-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder for the files");
        Self { path }
    }

    /// Where it is.
    pub fn path(&self) -> &PathBuf {
        &self.path
    }

    /// Writes one file and says where it is.
    pub fn one(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path.join(name);
        fs::write(&path, bytes).expect("a file of the input");
        path
    }

    /// Cuts the input where a mark stands, writes the parts under these names, takes the other files away, and says how
    /// many parts there were.
    pub fn several(&self, input: &[u8], names: &[&str]) -> usize {
        let mut rest = Some(input);
        let mut parts = 0;
        for name in names {
            let Some(bytes) = rest else {
                let _ = fs::remove_file(self.path.join(name));
                continue;
            };
            parts += 1;
            let at = bytes.windows(BETWEEN.len()).position(|window| window == BETWEEN);
            let (part, behind) = match at {
                Some(at) => (&bytes[..at], Some(&bytes[at + BETWEEN.len()..])),
                None => (bytes, None),
            };
            self.one(name, part);
            rest = behind;
        }
        parts
    }
}
