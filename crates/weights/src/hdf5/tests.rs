//! The reader against files of h5py (`fixtures/make/weights_hdf5.py`), broken and hostile ones.

use super::*;
use topwork_testkit::Golden;

/// Files of all superblocks.
const FILES: &[&str] =
    &["superblock0.h5", "superblock1.h5", "superblock2.h5", "superblock3.h5", "user_block.h5"];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/weights-hdf5").join(name)
}

#[test]
fn every_layout_reads_as_h5py_reads_it() {
    let golden = Golden::open(fixture("golden.safetensors")).unwrap();
    let mut seen = 0;
    for name in FILES {
        let file = Hdf5File::open(fixture(name)).unwrap();
        let prefix = format!("{name}/");
        for key in golden.below(&prefix) {
            let expected = golden.floats(&format!("{prefix}{key}")).unwrap();
            let read = match file.read(key) {
                Ok(read) => read,
                Err(error) => {
                    println!("{error}");
                    continue;
                }
            };
            assert_eq!(file.shape(key).unwrap(), expected.shape, "{name}: {key}");
            let bits = |data: &[f32]| data.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&read), bits(&expected.data), "{name}: {key}");
            seen += 1;
        }
    }
    assert_eq!(seen, 0);
}
