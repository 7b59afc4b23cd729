//! Held against transformers' image processors that compute with Pillow (`fixtures/make/pictures.py`), and on what is no picture.

use std::fs;
use std::path::PathBuf;

use serde_json::json;
use topwork_testkit::Golden;

use super::*;
use crate::{Packed, Tokenizer};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/pictures")
}

/// A folder of a model with these settings.
fn folder(settings: &Value, size: &Value, patch: &Value) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let config = json!({"model_type": "vit", "image_size": size, "patch_size": patch});
    fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    fs::write(folder.path().join(PREPROCESSOR), settings.to_string()).unwrap();
    folder
}

/// Every folder of settings in the fixtures, by its name.
fn every() -> Vec<(String, tempfile::TempDir, Value)> {
    let said: Value = serde_json::from_slice(&fs::read(fixtures().join("settings.json")).unwrap()).unwrap();
    let all = said.as_object().unwrap().iter();
    all.map(|(name, said)| {
        (name.clone(), folder(&said["settings"], &said["size"], &said["patch"]), said["settings"].clone())
    })
    .collect()
}

fn small() -> tempfile::TempDir {
    let settings = json!({"image_processor_type": "ViTImageProcessor", "size": {"height": 12, "width": 12}});
    folder(&settings, &json!(12), &json!(4))
}

fn encode(tokenizer: &Tokenizer, path: &Path) -> Result<Encoding> {
    tokenizer.encode(path.to_str().unwrap(), None, None)
}

#[test]
fn pictures_are_prepared_to_the_byte() {
    let golden = Golden::open(fixtures().join("golden.safetensors")).unwrap();
    let (mut seen, mut most, mut differing) = (0, 0, 0);
    for (name, folder, _) in every() {
        let tokenizer = Tokenizer::from_folder(folder.path()).unwrap();
        assert!(tokenizer.reads_pictures() && tokenizer.id_limit() == 2);
        for entry in fs::read_dir(fixtures()).unwrap() {
            let path = entry.unwrap().path();
            let file = path.file_name().unwrap().to_str().unwrap();
            if file.ends_with(".json") || file.ends_with(".safetensors") {
                continue;
            }
            let expected = golden.integers(&format!("{file}/{name}")).unwrap();
            let got = encode(&tokenizer, &path).unwrap();
            let row = expected.shape[1];
            assert_eq!(got.pixels.len(), got.len() * row, "{file} {name}");
            assert_eq!((got.ids[0], got.ids[1..].iter().all(|&id| id == PATCH)), (CLASS, true));
            assert!(got.pixels[..row].iter().all(|&byte| byte == 0));
            let own = got.pixels[row..].iter().map(|&byte| i64::from(byte));
            let worst = own.zip(&expected.data).map(|(own, other)| (own - other).abs()).max().unwrap();
            // Each decoder rounds in its own way, and stretches colours that lie at half the size in its own; a cubic sharpens
            // what differs.
            let may = match file {
                "photo.jpg" => 6,
                _ if file.ends_with("jpg") => 2,
                _ => 0,
            };
            println!("{file} {name}: {worst}");
            assert!(worst <= may, "{file} {name}: {worst}");
            (seen, most) = (seen + 1, most.max(worst));
            differing += usize::from(worst > 0);
        }
    }
    assert_eq!(seen, 6 * 12);
    println!("largest difference {most}, in {differing} of {seen}");
}

#[test]
fn bytes_become_the_numbers_that_models_are_given() {
    let golden = Golden::open(fixtures().join("golden.safetensors")).unwrap();
    for (name, folder, settings) in every() {
        let levels = PictureSettings::of(&settings, folder.path()).unwrap().levels();
        assert_eq!(levels, golden.floats(&format!("{name}/levels")).unwrap().data, "{name}");
    }
}

#[test]
fn saved_settings_are_the_same_bytes_and_open_again() {
    let folder = small();
    // A tokenizer of texts beside them is none of a model that reads pictures.
    fs::write(folder.path().join("tokenizer.json"), "{").unwrap();
    let tokenizer = Tokenizer::from_folder(folder.path()).unwrap();
    let saved = tempfile::tempdir().unwrap();
    tokenizer.save(saved.path()).unwrap();
    let names: Vec<_> = fs::read_dir(saved.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, [PREPROCESSOR]);
    let bytes = |folder: &Path| fs::read(folder.join(PREPROCESSOR)).unwrap();
    assert_eq!(bytes(saved.path()), bytes(folder.path()));
    // As newer folders of models with two sides have them.
    fs::remove_file(folder.path().join(PREPROCESSOR)).unwrap();
    let error = Tokenizer::from_folder(folder.path()).unwrap_err().to_string();
    assert!(error.contains("tokenizer.json"), "{error}");
    let both = json!({"image_processor": {"image_processor_type": "ViTImageProcessor", "size": 12}});
    fs::write(folder.path().join(PROCESSOR), both.to_string()).unwrap();
    let again = Tokenizer::from_folder(folder.path()).unwrap();
    let picture = fixtures().join("rgb.png");
    assert_eq!(encode(&again, &picture).unwrap(), encode(&tokenizer, &picture).unwrap());
}

#[test]
fn a_model_of_pictures_without_settings_says_what_is_missing() {
    let folder = small();
    fs::remove_file(folder.path().join(PREPROCESSOR)).unwrap();
    let error = Tokenizer::from_folder(folder.path()).unwrap_err().to_string();
    assert!(error.contains(PREPROCESSOR), "{error}");
}

#[test]
fn settings_that_cannot_be_are_named() {
    let kind = "ViTImageProcessor";
    let cases = [
        (json!({"image_processor_type": "BeitImageProcessor"}), "BeitImageProcessor"),
        (json!({"size": 12}), "image_processor_type"),
        (json!({"image_processor_type": kind, "size": {"longest_edge": 12}}), "shortest_edge"),
        (json!({"image_processor_type": kind, "size": 0}), "size"),
        (json!({"image_processor_type": kind, "size": 16}), "12 by 12"),
        (json!({"image_processor_type": kind, "size": 12, "resample": 1}), "resample"),
        (json!({"image_processor_type": kind, "size": 12, "image_std": [0.5, 0.0, 0.5]}), "image_std"),
        (json!({"image_processor_type": kind, "size": 12, "image_mean": [0.5, 0.5]}), "image_mean"),
        (json!({"image_processor_type": kind, "size": 12, "do_pad": true}), "do_pad"),
        (json!({"image_processor_type": kind, "size": 12, "do_resize": "yes"}), "do_resize"),
        (json!({"image_processor_type": kind, "size": 12, "do_center_crop": true}), "crop_size"),
    ];
    for (settings, named) in cases {
        let folder = folder(&settings, &json!(12), &json!(4));
        let error = Tokenizer::from_folder(folder.path()).unwrap_err().to_string();
        assert!(error.contains(named), "{settings}: {error}");
    }
    let folder = folder(&json!({"image_processor_type": kind, "size": 12}), &json!(12), &json!(13));
    assert!(Tokenizer::from_folder(folder.path()).unwrap_err().to_string().contains("patch_size"));
}

#[test]
fn what_is_no_picture_is_named_with_its_reason() {
    let (model, files) = (small(), tempfile::tempdir().unwrap());
    let tokenizer = Tokenizer::from_folder(model.path()).unwrap();
    let put = |name: &str, bytes: &[u8]| {
        let path = files.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let whole = fs::read(fixtures().join("rgb.png")).unwrap();
    // A PNG that says it is 30,000 pixels wide and high, in a few bytes.
    let mut bomb = whole.clone();
    bomb[16..24].copy_from_slice(&[0, 0, 0x75, 0x30, 0, 0, 0x75, 0x30]);
    let crc = crc32(&bomb[12..29]);
    bomb[29..33].copy_from_slice(&crc.to_be_bytes());
    // A GIF of 12,000 by 12,000, as random bytes found that took 863 MB.
    let screen =
        [b"GIF89a".as_slice(), &12_000_u16.to_le_bytes(), &12_000_u16.to_le_bytes(), &[0x80, 0, 0]].concat();
    let frame =
        [&[0, 0, 0, 255, 255, 255, b','][..], &[0; 4], &[1, 0, 1, 0, 0, 2, 2, 0x44, 1, 0, b';']].concat();
    for (path, reason) in [
        (put("screen.gif", &[screen, frame].concat()), "too large"),
        (files.path().join("none.png"), "cannot read the picture"),
        (files.path().join("a fine film"), "the model reads pictures"),
        (files.path().to_path_buf(), "a folder"),
        (put("empty.png", b""), "empty"),
        (put("text.png", b"a fine film"), "PNG or JPEG"),
        (put("half.png", &whole[..whole.len() / 2]), "damaged"),
        (put("bomb.png", &bomb), "too large"),
    ] {
        let error = encode(&tokenizer, &path).unwrap_err().to_string();
        assert!(error.contains(reason) && error.contains(path.to_str().unwrap()), "{error}");
    }
    let picture = fixtures().join("rgb.png");
    let path = picture.to_str().unwrap();
    let error = tokenizer.encode(path, Some("b.png"), None).unwrap_err().to_string();
    assert!(error.contains("one picture"), "{error}");
    let error = tokenizer.encode(path, None, Some(9)).unwrap_err().to_string();
    assert!(error.contains("10 tokens"), "{error}");
    assert!(tokenizer.encode(path, None, Some(10)).is_ok());
    assert!(tokenizer.encode_bare(path).is_err());
    // The place in the call is kept, for whoever knows the rows.
    match tokenizer.encode_batch(&[path, "none.png"], None).unwrap_err() {
        Error::Picture { index, .. } => assert_eq!(index, 1),
        other => panic!("{other}"),
    }
    // Pictures of any size cannot be cut for a model of one.
    let settings = json!({"image_processor_type": "ViTImageProcessor", "size": {"shortest_edge": 12}});
    let odd = Tokenizer::from_folder(folder(&settings, &json!(12), &json!(4)).path()).unwrap();
    let error = encode(&odd, &picture).unwrap_err().to_string();
    assert!(error.contains("12 by 12") && error.contains("12 by 19"), "{error}");
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_a_picture_or_an_error(
        which in 0..6usize,
        changes in proptest::collection::vec((proptest::prelude::any::<usize>(), proptest::prelude::any::<u8>()), 1..9),
        cut in proptest::prelude::any::<usize>(),
    ) {
        let names = ["rgb.png", "palette.png", "palette.gif", "rgb.bmp", "lossless.webp", "photo.jpg"];
        let mut bytes = fs::read(fixtures().join(names[which])).unwrap();
        for (at, byte) in changes {
            // Most in front, where the sizes stand.
            let at = if at % 3 == 0 { at / 3 % bytes.len() } else { at / 3 % 64.min(bytes.len()) };
            bytes[at] = byte;
        }
        if cut % 4 == 0 {
            bytes.truncate(cut / 4 % bytes.len());
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("changed");
        fs::write(&path, &bytes).unwrap();
        if let Ok(picture) = decode::read(&path) {
            proptest::prop_assert_eq!(picture.bytes.len(), picture.height * picture.width * 3);
        }
    }
}

/// CRC-32 as PNG has it.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

#[test]
fn a_batch_of_pictures_is_each_of_them() {
    let model = small();
    let tokenizer = Tokenizer::from_folder(model.path()).unwrap();
    let paths = ["rgb.png", "gray.png", "photo.jpg"].map(|name| fixtures().join(name));
    let texts: Vec<&str> = paths.iter().map(|path| path.to_str().unwrap()).collect();
    let together = tokenizer.encode_batch(&texts, None).unwrap();
    let packed = Packed::from_encodings(&together);
    for (at, text) in texts.iter().enumerate() {
        let alone = tokenizer.encode(text, None, None).unwrap();
        assert_eq!(alone, together[at]);
        assert_eq!(packed.select(&[at]), Packed::from_encodings([&alone]));
    }
}

#[test]
fn names_of_pictures_are_told_from_texts() {
    for (text, named) in
        [("a.png", true), ("x/y.JPEG", true), ("a fine film.", false), ("a\nb.png", false), ("png", false)]
    {
        assert_eq!(names_picture(text), named, "{text:?}");
    }
}
