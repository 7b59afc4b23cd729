//! The reader and the writer against files that llama.cpp's Python package wrote (`fixtures/make/weights_gguf.py`), and
//! against broken and hostile ones.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{Named, SafeTensorsFile};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/weights/gguf").join(name)
}

fn tensors_of(file: &SafeTensorsFile) -> Vec<Named<'static>> {
    let named = |name: &str| Named {
        name: name.to_string(),
        shape: file.shape(name).unwrap().to_vec(),
        data: file.read(name).unwrap().into(),
    };
    file.names().map(named).collect()
}

#[test]
fn every_number_format_is_read_to_the_bit() {
    let file = Gguf::open(fixture("blocks.gguf")).unwrap();
    let golden = SafeTensorsFile::open(fixture("blocks.safetensors")).unwrap();
    let mut seen = 0;
    for kind in kinds::KINDS.iter().filter(|kind| kind.decode.is_some()) {
        assert_eq!(file.dtype(kind.name).as_deref(), Some(kind.name));
        assert_eq!(file.shape(kind.name), golden.shape(kind.name), "{}", kind.name);
        let bits = |data: Vec<f32>| data.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        assert_eq!(
            bits(file.read(kind.name).unwrap()),
            bits(golden.read(kind.name).unwrap()),
            "{}",
            kind.name
        );
        seen += 1;
    }
    assert_eq!((seen, golden.names().len()), (20, 20));
    for name in ["IQ2_XXS", "I32"] {
        let error = file.read(name).unwrap_err().to_string();
        assert!(error.contains("blocks.gguf") && error.contains(&format!("holds {name}")), "{error}");
        assert!(error.contains("Q4_K"), "no way out: {error}");
    }
    assert!(matches!(file.read("Q9"), Err(Error::NoTensor { .. })));
}

#[test]
fn metadata_of_every_type_are_read() {
    let file = Gguf::open(fixture("blocks.gguf")).unwrap();
    let get = |key: &str| file.metadata().get(key).unwrap().clone();
    assert_eq!(get("one.u8"), Value::U8(200));
    assert_eq!(get("one.i8"), Value::I8(-100));
    assert_eq!(get("one.u16"), Value::U16(60000));
    assert_eq!(get("one.i16"), Value::I16(-30000));
    assert_eq!(get("one.u32"), Value::U32(4_000_000_000));
    assert_eq!(get("one.i32"), Value::I32(-2_000_000_000));
    assert_eq!(get("one.u64"), Value::U64(1 << 63));
    assert_eq!(get("one.i64"), Value::I64(-(1 << 62)));
    assert_eq!(get("one.f32"), Value::F32(1e-5));
    assert_eq!(get("one.f64"), Value::F64(0.1));
    assert_eq!(get("one.bool"), Value::Bool(true));
    assert_eq!(get("one.text"), Value::Text("grüße ▁".into()));
    assert_eq!(get("list.i32"), Value::List(List::I32(vec![1, -2, 3])));
    assert_eq!(get("list.f32"), Value::List(List::F32(vec![0.5, -1.5])));
    assert_eq!(get("list.bool"), Value::List(List::Bool(vec![true, false])));
    assert_eq!(get("list.text"), Value::List(List::Text(vec!["a".into(), String::new(), "▁b".into()])));
    assert_eq!(get("list.bytes"), Value::List(List::U8(vec![0, 255])));
    let lists = vec![List::I32(vec![1, 2]), List::I32(vec![3])];
    assert_eq!(get("list.lists"), Value::List(List::Lists(lists)));
    assert_eq!((file.architecture(), file.config()), ("none", None));
}

/// What the model of a fixture is called in the file and what its configuration has that the file cannot say.
const MODELS: &[&str] =
    &["llama", "llama3", "qwen2", "qwen3", "phi3", "gemma", "gpt2", "bert", "xlm-roberta"];

#[test]
fn models_come_out_as_transformers_has_them() {
    for name in MODELS {
        let file = open(fixture(&format!("{name}.gguf"))).unwrap();
        let golden = SafeTensorsFile::open(fixture(&format!("{name}.safetensors"))).unwrap();
        // llama.cpp drops poolers and fills no rows before the first position.
        let mut expected: Vec<&str> = golden.names().filter(|name| !name.starts_with("pooler.")).collect();
        let mut got = file.names();
        expected.sort_unstable();
        got.sort_unstable();
        assert_eq!(got, expected, "{name}");
        for tensor in got {
            assert_eq!(file.shape(tensor), golden.shape(tensor), "{name}: {tensor}");
            let data = file.read(tensor).unwrap();
            assert_eq!(data.len(), file.shape(tensor).unwrap().iter().product::<usize>());
            if *name == "gemma" && tensor.ends_with("norm.weight") {
                // One was added in `f32`, which rounds.
                let golden = golden.read(tensor).unwrap();
                assert!(data.iter().zip(&golden).all(|(a, b)| (a - b).abs() < 1e-7), "{tensor}");
            } else {
                assert_eq!(data, golden.read(tensor).unwrap(), "{name}: {tensor}");
            }
        }
    }
}

#[test]
fn configurations_come_out_as_transformers_has_them() {
    for name in MODELS {
        let config = open(fixture(&format!("{name}.gguf"))).unwrap().config().unwrap();
        let golden: serde_json::Value =
            serde_json::from_slice(&std::fs::read(fixture(&format!("{name}.json"))).unwrap()).unwrap();
        let mut compared = 0;
        for (key, value) in config.as_object().unwrap() {
            let expected = match key.as_str() {
                "rope_theta" => &golden["rope_parameters"]["rope_theta"],
                "rope_scaling" => {
                    for (key, value) in value.as_object().unwrap() {
                        assert_eq!(value.as_f64(), golden["rope_parameters"][key].as_f64(), "{name}: {key}");
                    }
                    continue;
                }
                // Width and heads say it where the model has no such setting.
                "head_dim" if golden["head_dim"].is_null() => &json!(4),
                "n_inner" => &json!(4 * 16),
                // Where transformers has no such setting, there is one way only.
                "attention_bias" if golden[key].is_null() => &json!(false),
                "hidden_activation" => continue,
                key => &golden[key],
            };
            match (value.as_f64(), expected.as_f64()) {
                (Some(a), Some(b)) => assert_eq!(a, b, "{name}: {key}"),
                _ => assert_eq!(value, expected, "{name}: {key}"),
            }
            compared += 1;
        }
        assert!(compared >= 9, "{name}: {compared}");
    }
    let llama3 = open(fixture("llama3.gguf")).unwrap();
    assert_eq!(llama3.config().unwrap()["rope_scaling"]["factor"], 32.0);
    assert_eq!(llama3.file().left_out().len(), 1);
}

#[test]
fn models_go_out_as_llama_cpp_has_them() {
    let folder = tempfile::tempdir().unwrap();
    for name in MODELS.iter().filter(|name| !["bert", "xlm-roberta"].contains(name)) {
        let golden = Gguf::open(fixture(&format!("{name}.gguf"))).unwrap();
        let config = std::fs::read(fixture(&format!("{name}.json"))).unwrap();
        let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
        let tensors = tensors_of(&SafeTensorsFile::open(fixture(&format!("{name}.safetensors"))).unwrap());
        let (metadata, tensors) = export(&config, tensors).unwrap();
        let path = folder.path().join("model.gguf");
        write(&path, &metadata, &tensors, Store::F16).unwrap();
        let written = Gguf::open(&path).unwrap();
        for (key, value) in golden.metadata().iter().filter(|(key, _)| !key.starts_with("tokenizer.")) {
            assert_eq!(written.metadata().get(key), Some(value), "{name}: {key}");
        }
        let (mut expected, mut got) = (golden.names(), written.names());
        expected.sort_unstable();
        got.sort_unstable();
        assert_eq!(got, expected, "{name}");
        for tensor in got {
            assert_eq!(written.shape(tensor), golden.shape(tensor), "{name}: {tensor}");
            assert_eq!(written.dtype(tensor), golden.dtype(tensor), "{name}: {tensor}");
            let (a, b) = (written.read(tensor).unwrap(), golden.read(tensor).unwrap());
            let close = |a: f32, b: f32| a == b || tensor == "rope_freqs.weight" && (a - b).abs() < 1e-5 * b;
            assert!(a.iter().zip(&b).all(|(&a, &b)| close(a, b)), "{name}: {tensor}");
        }
    }
}

#[test]
fn a_model_without_a_form_in_gguf_is_refused_by_name() {
    let check = |config: serde_json::Value, tensor: &str, part: &str| {
        let tensors = vec![Named { name: tensor.into(), shape: vec![2], data: vec![0.0; 2].into() }];
        let error = export(&config, tensors).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    let gpt2 = json!({"model_type": "gpt2", "n_positions": 8, "n_embd": 4, "n_layer": 1, "n_head": 1,
        "layer_norm_epsilon": 1e-5});
    check(json!({"model_type": "bert"}), "x", "model_type \"bert\", expected one of llama");
    check(gpt2.clone(), "h.0.attn.extra.weight", "\"h.0.attn.extra.weight\" has no name");
    check(gpt2.clone(), "h.0.mlp.weight", "has no name");
    let mut without = gpt2;
    without["n_head"] = json!("four");
    check(without, "wte.weight", "n_head: \"four\"");
    let mut llama: serde_json::Value =
        serde_json::from_slice(&std::fs::read(fixture("llama.json")).unwrap()).unwrap();
    check(llama.clone(), "model.layers.0.self_attn.q_proj.weight", "no 4 heads");
    llama["rope_parameters"]["rope_type"] = json!("yarn");
    check(llama, "model.norm.weight", "\"yarn\"");
}

#[test]
fn the_writer_agrees_with_the_reference_to_the_byte() {
    let folder = tempfile::tempdir().unwrap();
    let tensors = tensors_of(&SafeTensorsFile::open(fixture("store.safetensors")).unwrap());
    for (store, name) in [(Store::F32, "store-f32"), (Store::F16, "store-f16"), (Store::Q8_0, "store-q8_0")] {
        let golden = fixture(&format!("{name}.gguf"));
        let path = folder.path().join("x.gguf");
        let file = Gguf::open(&golden).unwrap();
        // In the reference's order.
        let order = |name: &str| tensors.iter().find(|tensor| tensor.name == name).unwrap().clone();
        let tensors: Vec<Named> = file.names().into_iter().map(order).collect();
        write(&path, file.metadata(), &tensors, store).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(&golden).unwrap(), "{name}");
    }
}

#[test]
fn metadata_of_every_type_survive_writing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.gguf");
    let mut metadata = Gguf::open(fixture("blocks.gguf")).unwrap().metadata().clone();
    for (at, list) in [
        List::I8(vec![-1]),
        List::U16(vec![1, 2]),
        List::I16(vec![-3]),
        List::U32(vec![]),
        List::U64(vec![1 << 60]),
        List::I64(vec![-9]),
        List::F64(vec![0.25]),
    ]
    .into_iter()
    .enumerate()
    {
        metadata.put(format!("list.{at}"), Value::List(list));
    }
    write(&path, &metadata, &[], Store::F32).unwrap();
    let read = Gguf::open(&path).unwrap();
    for (key, value) in metadata.iter() {
        assert_eq!(read.metadata().get(key), Some(value), "{key}");
    }
}

#[test]
fn what_cannot_be_written_soundly_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.gguf");
    let check = |shape: &[usize], data: Vec<f32>, store: Store, part: &str| {
        let tensor = Named { name: "w".into(), shape: shape.to_vec(), data: data.into() };
        let error = write(&path, &Metadata::default(), &[tensor], store).unwrap_err().to_string();
        assert!(error.contains(part) && error.contains("\"w\""), "{error}");
    };
    check(&[2], vec![1.0], Store::F32, "1 numbers");
    check(&[1, 2], vec![1.0, 1e6], Store::F16, "1000000 at element 1, which F16 cannot");
    check(&[1, 32], vec![f32::NAN; 32], Store::Q8_0, "NaN at element 0");
    check(&[1; 5], vec![1.0], Store::F32, "5 axes");
    let w = Named { name: "w".into(), shape: vec![1], data: vec![1.0].into() };
    assert!(write(&path, &Metadata::default(), &[w.clone(), w], Store::F32).is_err());
    assert!(!path.exists());
}

/// A small sound file: a nested list, a text, an F32 and a Q8_0 tensor.
fn small() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.gguf");
    let mut metadata = Metadata::default();
    metadata.put("general.architecture", Value::Text("llama".into()));
    metadata.put("llama.attention.head_count", Value::U32(2));
    metadata.put("l", Value::List(List::Lists(vec![List::Text(vec!["a".into()]), List::Bool(vec![true])])));
    let tensor = |name: &str, shape: &[usize]| Named {
        name: name.into(),
        shape: shape.to_vec(),
        data: (0..shape.iter().product()).map(|x| x as f32).collect::<Vec<_>>().into(),
    };
    let tensors = [tensor("blk.0.attn_q.weight", &[4, 32]), tensor("output_norm.weight", &[5])];
    write(&path, &metadata, &tensors, Store::Q8_0).unwrap();
    std::fs::read(&path).unwrap()
}

/// Opens, renames and reads everything.
fn read_all(bytes: Vec<u8>) -> Result<usize, Error> {
    let file = names::as_published(Gguf::from_bytes("x.gguf", bytes)?)?;
    file.config();
    let _ = file.file().tokenizer()?;
    for name in file.names() {
        file.read(name)?;
    }
    Ok(file.names().len())
}

fn refused(bytes: Vec<u8>, parts: &[&str]) {
    let error = read_all(bytes).unwrap_err().to_string();
    assert!(error.contains("x.gguf"), "names no file: {error}");
    for part in parts {
        assert!(error.contains(part), "{part:?} not in: {error}");
    }
}

#[test]
fn a_truncated_file_is_refused_at_every_length() {
    let whole = small();
    assert_eq!(read_all(whole.clone()).unwrap(), 2);
    // The last tensor is filled up to a whole 32 bytes.
    let used = whole.len() - 12;
    for len in 0..used {
        assert!(read_all(whole[..len].to_vec()).is_err(), "{len} of {} bytes", whole.len());
    }
    assert!(read_all(whole[..used].to_vec()).is_ok());
}

/// A file of a head only, from its counts on.
fn head(tensors: u64, pairs: u64, rest: &[&[u8]]) -> Vec<u8> {
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.extend(tensors.to_le_bytes());
    bytes.extend(pairs.to_le_bytes());
    bytes.extend(rest.concat());
    bytes
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

/// A tensor's entry.
fn entry(name: &str, dims: &[u64], kind: u32, offset: u64) -> Vec<u8> {
    let dims: Vec<u8> = dims.iter().flat_map(|dim| dim.to_le_bytes()).collect();
    let axes = (dims.len() as u32 / 8).to_le_bytes();
    [&text(name)[..], &axes, &dims, &kind.to_le_bytes(), &offset.to_le_bytes()].concat()
}

#[test]
fn hostile_heads_are_refused_without_allocating() {
    refused(vec![], &["does not begin with \"GGUF\""]);
    refused(b"GGML\x03\0\0\0".to_vec(), &["does not begin"]);
    refused(b"GGUF\x01\0\0\0".to_vec(), &["version 1, expected 2 or 3"]);
    refused(b"GGUF\0\0\0\x03".to_vec(), &["big-endian"]);
    refused(head(u64::MAX, 0, &[&[0; 64]]), &["tensors at byte 24", "64 are left"]);
    refused(head(0, 1 << 40, &[&[0; 64]]), &["metadata entries", "64 are left"]);
    refused(head(0, 1, &[&u64::MAX.to_le_bytes(), &[0; 64]]), &["a metadata key"]);
    let key = text("k");
    let many = (1u64 << 60).to_le_bytes();
    for kind in 0u32..13 {
        let list = [&9u32.to_le_bytes()[..], &kind.to_le_bytes(), &many].concat();
        refused(head(0, 1, &[&key, &list, &[0; 64]]), &["metadata list", "64 are left"]);
    }
    let nested = [9u32.to_le_bytes(), [1, 0, 0, 0], [0; 4]].concat().repeat(100);
    refused(head(0, 1, &[&key, &9u32.to_le_bytes(), &nested]), &["\"k\"", "beyond 8"]);
    refused(head(0, 1, &[&key, &13u32.to_le_bytes(), &[0; 64]]), &["\"k\" is of type 13"]);
    refused(head(0, 1, &[&key, &7u32.to_le_bytes(), &[2]]), &["\"k\" is 2, expected 0 or 1"]);
    refused(head(0, 1, &[&1u64.to_le_bytes(), &[0xff], &[0; 64]]), &["byte 24", "not UTF-8"]);
    let pair = [&key[..], &0u32.to_le_bytes(), &[1]].concat();
    refused(head(0, 2, &[&pair, &pair]), &["\"k\" stands there twice"]);
    for alignment in [0u32, 3, 1 << 30] {
        let pair = [&text("general.alignment")[..], &4u32.to_le_bytes(), &alignment.to_le_bytes()].concat();
        refused(head(0, 1, &[&pair]), &["alignment", "power of two"]);
    }
}

#[test]
fn hostile_tensors_are_refused_without_allocating() {
    let data = [0; 256];
    let one = |entry: Vec<u8>, parts: &[&str]| refused(head(1, 0, &[&entry, &data]), parts);
    one(entry("w", &[1; 5], 0, 0), &["\"w\"", "5 axes"]);
    one(entry("w", &[1 << 40], 0, 0), &["\"w\"", "outside"]);
    one(entry("w", &[1 << 32, 1 << 32, 1 << 32], 0, 0), &["\"w\"", "beyond any file"]);
    one(entry("w", &[u64::MAX, 0], 0, 0), &["\"w\"", "beyond any file"]);
    one(entry("w", &[4], 0, 1 << 40), &["\"w\"", "outside"]);
    one(entry("w", &[4], 0, u64::MAX - 31), &["\"w\"", "outside"]);
    one(entry("w", &[4], 0, 4), &["\"w\"", "no multiple of 32"]);
    one(entry("w", &[4], 99, 0), &["\"w\"", "kind 99", "Q4_K"]);
    one(entry("w", &[4], 4, 0), &["\"w\"", "kind 4,"]);
    one(entry("w", &[33], 8, 0), &["\"w\"", "rows of 33", "blocks of 32 (Q8_0)"]);
    let two = |a: Vec<u8>, b: Vec<u8>, parts: &[&str]| refused(head(2, 0, &[&a, &b, &data]), parts);
    two(entry("a", &[16], 0, 0), entry("b", &[4], 0, 32), &["\"b\"", "overlap those of \"a\""]);
    two(entry("a", &[4], 0, 0), entry("a", &[4], 0, 32), &["\"a\" stands there twice"]);
    let sound = head(2, 0, &[&entry("b", &[8], 0, 32), &entry("a", &[4, 2], 0, 0), &data]);
    assert_eq!(Gguf::from_bytes("x", sound).unwrap().names(), ["a", "b"], "sorted by place");
}

#[test]
fn a_tensor_that_its_metadata_do_not_fit_is_refused() {
    let mut bytes = small();
    let key = b"llama.attention.head_count";
    let at = bytes.windows(key.len()).position(|window| window == key).unwrap() + key.len() + 4;
    bytes[at] = 3;
    refused(bytes, &["blk.0.attn_q.weight", "no 3 heads"]);
}

proptest! {
    #[test]
    fn a_flipped_byte_never_panics(at: usize, value: u8) {
        let mut bytes = small();
        let at = at % bytes.len();
        bytes[at] = value;
        let _ = read_all(bytes);
    }

    #[test]
    fn any_bytes_give_an_error_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read_all(head(1, 1, &[&bytes]));
    }
}
