//! Models that read pictures beyond what every folder is held against: both sides of a CLIP, what is saved of the settings for
//! pictures, and what cannot be asked of such models.

use topwork::{EmbedOptions, Embedder};
use topwork_models::{Source, adapted};

use super::*;

/// The side for pictures of a folder with both.
fn vision(folder: &Path) -> PathBuf {
    format!("{}{}", adapted::OF_VISION, folder.display()).into()
}

#[test]
fn texts_and_pictures_of_a_clip_are_as_near_as_the_reference_says() {
    let folder = fixtures().join("clip");
    let golden = golden(&folder);
    let scale = floats(&golden, "logit_scale")[0].exp();
    let expected: Vec<f32> = floats(&golden, "logits_per_image").iter().map(|logit| logit / scale).collect();
    let numbers =
        |name: &str| golden.integers(name).unwrap().data.iter().map(|&n| n as u32).collect::<Vec<u32>>();
    let texts = Packed { pixels: Vec::new(), ..packed(&golden) };
    let ids = numbers("pixels.ids");
    let mut pictures = Packed::new(ids.clone(), vec![0; ids.len()], numbers("pixels.offsets")).unwrap();
    pictures.pixels = packed(&golden).pixels;
    let vectors = |path: &Path, input: &Packed, name: &str| {
        let (model, report) = Model::open_saved(path, &Device::flex()).unwrap();
        assert!(report.fresh.is_empty() && !report.ignored.is_empty(), "{report}");
        let width = model.vector_width();
        let mut rows: Vec<Vec<f32>> =
            model.predict(input, Precision::F32).unwrap().chunks(width).map(<[f32]>::to_vec).collect();
        for row in &mut rows {
            let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
            row.iter_mut().for_each(|x| *x /= length);
        }
        close(&rows.concat(), &floats(&golden, name), FORWARD).unwrap();
        rows
    };
    let texts = vectors(&folder, &texts, "text_embeds");
    let pictures = vectors(&vision(&folder), &pictures, "image_embeds");
    let cosine = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
    let got: Vec<f32> = pictures.iter().flat_map(|a| texts.iter().map(|b| cosine(a, b))).collect();
    assert_eq!(got.len(), 25);
    for (got, expected) in got.iter().zip(&expected) {
        assert!((got - expected).abs() < 1e-5, "{got} {expected}");
    }
}

#[test]
fn the_side_for_pictures_is_saved_as_a_model_of_its_own() {
    let folder = fixtures().join("clip");
    let (model, _) = Model::open_saved(&vision(&folder), &Device::flex()).unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let target = temporary.path().join("saved");
    model.save(&target, &SaveOptions::default()).unwrap();
    let config = fs::read_to_string(target.join("config.json")).unwrap();
    assert!(
        config.contains("CLIPVisionModelWithProjection") && !config.contains("preprocessing"),
        "{config}"
    );
    let saved = SafeTensorsFile::open(target.join("model.safetensors")).unwrap();
    let before = SafeTensorsFile::open(folder.join("model.safetensors")).unwrap();
    for name in saved.names() {
        assert_eq!(saved.shape(name), before.shape(name), "{name}");
        assert_eq!(saved.read(name).unwrap(), before.read(name).unwrap(), "{name}");
    }
    assert_eq!(
        before.names().filter(|name| name.starts_with("visi") || name.starts_with("visual")).count(),
        saved.names().count()
    );
    // It says how pictures are prepared, and needs nothing of the whole for it.
    let picture = fixtures().join("pictures/rgb.png");
    let vector = |path: &Path| {
        let embedder =
            Embedder::open(path, &EmbedOptions { precision: Precision::F32, ..EmbedOptions::default() });
        embedder.unwrap().embed(&[picture.to_str().unwrap()]).unwrap().values
    };
    assert_eq!(vector(&target), vector(&vision(&folder)));
    assert_eq!(vector(&target).len(), 12);
    fs::remove_file(target.join("topwork.json")).unwrap();
    assert_eq!(vector(&target), vector(&vision(&folder)));
}

#[test]
fn a_model_without_a_side_for_pictures_is_named() {
    let error = Source::find(vision(&fixtures().join("bert"))).unwrap_err().to_string();
    assert!(error.contains("bert") && error.contains("pictures"), "{error}");
    let clip = Source::find(fixtures().join("clip")).unwrap();
    assert_eq!(clip.config()["model_type"], "clip_text_model");
    let side = Source::find(vision(&fixtures().join("clip"))).unwrap();
    assert_eq!(side.config()["model_type"], "clip_vision_model");
}

#[test]
fn a_map_behind_other_vectors_than_the_class_tokens_is_no_class_of_transformers() {
    let dense = Some(topwork_models::EmbedDense { width: 12, bias: false, tanh: false });
    for (pool, projects) in [(Pooling::Family, true), (Pooling::Mean, false), (Pooling::Last, false)] {
        let spec = HeadSpec::Embed { pool, normalise: false, dense };
        let (model, _) = Model::open(&fixtures().join("clip-vision"), &spec, 0, &Device::flex()).unwrap();
        let class = model.saved_config()["architectures"][0].clone();
        assert_eq!(class == "CLIPVisionModelWithProjection", projects, "{pool:?}: {class}");
    }
}

#[test]
fn what_a_byte_is_for_the_model_stands_with_the_model() {
    let folder = fixtures().join("vit/settings");
    let golden = golden(&folder);
    let (model, _) = Model::open_saved(&folder, &Device::flex()).unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let target = temporary.path().join("saved");
    model.save(&target, &SaveOptions::default()).unwrap();
    let read = |folder: &Path| -> serde_json::Value {
        serde_json::from_slice(&fs::read(folder.join("preprocessor_config.json")).unwrap()).unwrap()
    };
    assert_eq!(read(&target), read(&folder));
    // Without them bytes would be other numbers.
    fs::remove_file(target.join("preprocessor_config.json")).unwrap();
    let (other, _) = Model::open_saved(&target, &Device::flex()).unwrap();
    let got = other.predict(&packed(&golden), Precision::F32).unwrap();
    assert!(close(&got, &floats(&golden, "logits"), 0.01).is_err());
    let mut settings = read(&folder);
    settings["image_std"] = serde_json::json!([0, 0, 0]);
    fs::write(target.join("preprocessor_config.json"), settings.to_string()).unwrap();
    let error = Model::open_saved(&target, &Device::flex()).err().unwrap().to_string();
    assert!(error.contains("image_std"), "{error}");
}

#[test]
fn heads_of_texts_are_refused() {
    let labels = || vec!["a".to_string(), "b".to_string()];
    let heads = [
        HeadSpec::MaskedLm,
        HeadSpec::CausalLm,
        HeadSpec::Seq2Seq,
        HeadSpec::PermutationLm,
        HeadSpec::tagger(labels()),
        HeadSpec::Span,
        HeadSpec::ReplacedToken,
        HeadSpec::NextSentence,
        HeadSpec::Pretraining,
        HeadSpec::MultipleChoice,
        HeadSpec::DoubleHeads,
    ];
    for folder in ["vit", "clip-vision"] {
        for spec in &heads {
            let error =
                Model::open(&fixtures().join(folder), spec, 0, &Device::flex()).err().unwrap().to_string();
            assert!(error.contains("pictures") && error.contains(spec.name()), "{folder}: {error}");
        }
        for spec in
            [HeadSpec::classifier(labels(), true, Pooling::Mean), HeadSpec::regressor(Pooling::Family)]
        {
            let (model, _) = Model::open(&fixtures().join(folder), &spec, 0, &Device::flex()).unwrap();
            let scores = model.predict(&packed(&golden(&fixtures().join(folder))), Precision::F32).unwrap();
            assert!(scores.iter().all(|score| score.is_finite()));
        }
    }
}

#[test]
fn texts_are_no_pictures() {
    let (model, golden) = (open(&fixtures().join("vit")), golden(&fixtures().join("vit")));
    let whole = packed(&golden);
    let no_pixels = Packed { pixels: Vec::new(), ..whole.clone() };
    let (ids, types) = whole.sequence(0);
    let mut short = Packed::new(ids[..9].to_vec(), types[..9].to_vec(), vec![0, 9]).unwrap();
    short.pixels = vec![0; 9 * whole.pixel_row()];
    for input in [no_pixels, short, whole.behind(&[0])] {
        let error = model.predict(&input, Precision::F32).unwrap_err().to_string();
        assert!(error.contains("10 tokens a picture with 48 bytes"), "{error}");
    }
}

#[test]
fn the_pooler_of_the_bare_class_is_carried() {
    let folder = fixtures().join("vit/bare");
    let (model, report, bare) = Model::open_whole(&folder, &Device::flex()).unwrap();
    assert!(bare && report.fresh.is_empty(), "{report}");
    assert_eq!(*model.spec(), HeadSpec::embedder(Pooling::Family, false));
    let temporary = tempfile::tempdir().unwrap();
    model.save(&temporary.path().join("saved"), &SaveOptions::default()).unwrap();
    let [saved, before] = [temporary.path().join("saved"), folder]
        .map(|folder| SafeTensorsFile::open(folder.join("model.safetensors")).unwrap());
    let bare_name = |name: &str| name.trim_start_matches("vit.").to_string();
    let mut names: Vec<String> = saved.names().map(bare_name).collect();
    let mut expected: Vec<String> = before.names().map(bare_name).collect();
    names.sort();
    expected.sort();
    assert_eq!(names, expected);
    assert!(names.iter().any(|name| name == "pooler.dense.weight"));
}
