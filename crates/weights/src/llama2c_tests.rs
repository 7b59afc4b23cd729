//! The reader against the same model as transformers has it, and against headers that lie.

use super::*;
use crate::safetensors::SafeTensorsFile;
use proptest::prelude::*;
use std::fs;
use std::path::PathBuf;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/weights/llama2c").join(name)
}

fn read_all(bytes: Vec<u8>) -> Result<usize, Error> {
    let file = Llama2cFile::from_bytes("x.bin", bytes)?;
    for name in file.names() {
        let data = file.read(name)?;
        assert_eq!(data.len(), file.shape(name).unwrap().iter().product::<usize>());
    }
    Ok(file.names().len())
}

#[test]
fn every_version_holds_the_model_that_transformers_computes() {
    let golden = SafeTensorsFile::open(fixture("golden.safetensors")).unwrap();
    let mut seen = 0;
    for (version, numbers) in [(0, "f32"), (1, "f32"), (2, "q8")] {
        for kind in ["tied", "untied"] {
            let file = crate::format::open(&fixture(&format!("v{version}-{kind}.bin"))).unwrap();
            let prefix = format!("{numbers}.{kind}.");
            let expected: Vec<&str> = golden.names().filter_map(|name| name.strip_prefix(&prefix)).collect();
            let mut names = file.names();
            assert_eq!(names.len(), expected.len());
            assert_eq!(names.contains(&"lm_head.weight"), kind == "untied");
            names.sort_unstable();
            for name in names {
                let path = format!("{prefix}{name}");
                assert_eq!(file.shape(name), golden.shape(&path), "{path}");
                assert_eq!(
                    file.read(name).unwrap(),
                    golden.read(&path).unwrap(),
                    "version {version}: {path}"
                );
                let is_norm = name.contains("norm");
                let dtype = if version == 2 && !is_norm { "Q8_0" } else { "F32" };
                assert_eq!(file.dtype(name).as_deref(), Some(dtype));
                seen += 1;
            }
            assert!(matches!(file.read("nothing"), Err(Error::NoTensor { .. })));
        }
    }
    assert_eq!(seen, 3 * (20 + 21));
}

#[test]
fn the_settings_are_those_of_a_llama() {
    for version in 0..3 {
        let file = Llama2cFile::open(fixture(&format!("v{version}-untied.bin"))).unwrap();
        let config = file.config().unwrap();
        assert_eq!(config["model_type"], "llama");
        assert_eq!(config["architectures"][0], "LlamaForCausalLM");
        let sizes = [
            "hidden_size",
            "intermediate_size",
            "num_hidden_layers",
            "num_attention_heads",
            "num_key_value_heads",
            "vocab_size",
            "max_position_embeddings",
        ];
        assert_eq!(sizes.map(|name| config[name].as_u64().unwrap()), [16, 24, 2, 2, 1, 12, 10]);
        assert_eq!(config["tie_word_embeddings"], false);
    }
}

#[test]
fn headers_that_do_not_fit_the_file_are_refused() {
    let whole = fs::read(fixture("v0-tied.bin")).unwrap();
    let with = |at: usize, number: i32| {
        let mut bytes = whole.clone();
        bytes[4 * at..][..4].copy_from_slice(&number.to_le_bytes());
        Llama2cFile::from_bytes("x.bin", bytes).unwrap_err().to_string()
    };
    for at in 0..7 {
        for number in [0, i32::MIN, i32::MAX, -1] {
            let error = with(at, number);
            assert!(error.contains("x.bin is no sound llama2.c file"), "{at} {number}: {error}");
        }
    }
    assert!(with(2, 3).contains(&format!("and it has {}", whole.len())));
    assert!(with(3, 3).contains("describes no Llama"));
    // -12: a classifier of its own, which the file then lacks.
    assert!(with(5, -12).contains("asks for"));
    let mut versioned = fs::read(fixture("v2-tied.bin")).unwrap();
    versioned[4] = 3;
    assert!(Llama2cFile::from_bytes("x.bin", versioned.clone()).is_err());
    versioned[4] = 2;
    versioned[37] = 5;
    assert!(Llama2cFile::from_bytes("x.bin", versioned.clone()).is_err());
    versioned[37] = 0;
    assert!(Llama2cFile::from_bytes("x.bin", versioned).is_err());
}

#[test]
fn a_truncated_file_is_refused_at_every_length() {
    for name in ["v0-tied.bin", "v1-tied.bin", "v2-untied.bin"] {
        let whole = fs::read(fixture(name)).unwrap();
        assert!(read_all(whole.clone()).is_ok());
        for len in 0..whole.len() {
            assert!(read_all(whole[..len].to_vec()).is_err(), "{name}: {len} of {} bytes", whole.len());
        }
        assert!(read_all([whole, vec![0]].concat()).is_err(), "{name}");
    }
}

#[test]
fn rows_of_pairs_become_halves() {
    let rows: Vec<f32> = (0..16).map(|x| x as f32).collect();
    let turned = Change::PairsToHalves { heads: 2 }.apply(&[8, 2], rows).unwrap();
    assert_eq!(turned, [0., 1., 4., 5., 2., 3., 6., 7., 8., 9., 12., 13., 10., 11., 14., 15.]);
}

proptest! {
    #[test]
    fn any_header_never_panics(
        header in proptest::collection::vec(prop_oneof![0i32..40, any::<i32>()], 7),
        magic: bool,
        version in 0i32..4,
        len in 0usize..3000,
    ) {
        let mut bytes = Vec::new();
        if magic {
            bytes.extend(MAGIC);
            bytes.extend(version.to_le_bytes());
        }
        bytes.extend(header.iter().flat_map(|number| number.to_le_bytes()));
        bytes.resize(len, 1);
        let _ = read_all(bytes);
    }
}
