//! NumPy's `.npy`, version 1.0: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

use std::io::Write;
use std::path::Path;

use super::atomic;
use crate::{Error, Result};

/// Writes a float matrix that `numpy.load` opens, also with `mmap_mode`.
///
/// # Shapes
/// - `values`: `[rows, width]`, row-major
///
/// # Errors
/// [`Error::Shape`] if the values do not fill whole rows; [`Error::Write`].
pub fn write_npy(path: impl AsRef<Path>, values: &[f32], width: usize) -> Result<()> {
    let path = path.as_ref();
    if width == 0 || !values.len().is_multiple_of(width) {
        return Err(Error::Shape {
            what: format!("vectors for {}", path.display()),
            expected: format!("whole rows of {width}"),
            got: format!("{} values", values.len()),
        });
    }
    let mut header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {width}), }}", values.len() / width);
    // Magic, version, length and header together are a multiple of 64, ended by a line feed.
    let padding = (10 + header.len() + 1).next_multiple_of(64) - (10 + header.len() + 1);
    header.push_str(&" ".repeat(padding));
    header.push('\n');
    atomic::write(path, |mut out| {
        let failed = |source: std::io::Error| Error::Write { path: path.into(), source };
        out.write_all(b"\x93NUMPY\x01\x00").map_err(failed)?;
        out.write_all(&(header.len() as u16).to_le_bytes()).map_err(failed)?;
        out.write_all(header.as_bytes()).map_err(failed)?;
        for value in values {
            out.write_all(&value.to_le_bytes()).map_err(failed)?;
        }
        atomic::done(path, out)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_aligned_and_the_values_follow() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.npy");
        write_npy(&path, &[1.0, -2.5, 3.0, 4.0, 5.0, 6.0], 3).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
        let header = u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
        assert_eq!((10 + header) % 64, 0);
        let text = std::str::from_utf8(&bytes[10..10 + header]).unwrap();
        assert!(text.contains("'shape': (2, 3)") && text.ends_with('\n'), "{text:?}");
        assert_eq!(bytes.len(), 10 + header + 24);
        assert_eq!(bytes[10 + header + 4..10 + header + 8], (-2.5f32).to_le_bytes());
        assert!(matches!(write_npy(&path, &[1.0; 5], 3), Err(Error::Shape { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "a refused call leaves the file");
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error_and_nothing_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing").join("v.npy");
        assert!(matches!(write_npy(&path, &[1.0], 1), Err(Error::Write { .. })));
        let path = folder.path().join("taken");
        std::fs::create_dir_all(path.join("inside")).unwrap();
        assert!(matches!(write_npy(&path, &[1.0], 1), Err(Error::Write { .. })));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no part file stays");
    }
}
