//! Whole runs on pictures: from a folder of class folders, or a file of paths, to answers.

#![allow(clippy::unwrap_used)] // in a test a panic is the report

// Shared with other tests, which use all of it.
#[allow(dead_code)]
mod runs;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use runs::{fixtures, hub};
use topwork::hub;
use topwork::job::{self, JobContext, Outcomes, Quiet};
use topwork::recipe::DataRecipe;
use topwork::{EmbedOptions, Embedder, Error, Predictor, Recipe, evaluate};
use topwork_kernels::gemm::Precision;

const SIDE: usize = 14;

/// A picture of stripes in colours that look random, as BMP has it; the class is which way they go.
fn picture(n: usize) -> (Vec<u8>, &'static str) {
    let across = (n * 7 + n / 3).is_multiple_of(2);
    let row = (3 * SIDE).next_multiple_of(4);
    let mut bytes = b"BM".to_vec();
    let number = |bytes: &mut Vec<u8>, value: usize| bytes.extend((value as u32).to_le_bytes());
    for value in [54 + row * SIDE, 0, 54, 40, SIDE, SIDE] {
        number(&mut bytes, value);
    }
    bytes.extend([1, 0, 24, 0]);
    for value in [0, row * SIDE, 0, 0, 0, 0] {
        number(&mut bytes, value);
    }
    for y in 0..SIDE {
        for x in 0..SIDE {
            let along = if across { y } else { x };
            let light = ((along + n) / 3).is_multiple_of(2);
            let colour = [n * 37 % 90, n * 53 % 90, n * 71 % 90];
            bytes.extend(colour.map(|part| (part + if light { 150 } else { 0 } + (x * y + n) % 7) as u8));
        }
        bytes.extend(vec![0; row - 3 * SIDE]);
    }
    (bytes, if across { "across" } else { "down" })
}

/// A folder of class folders.
fn classes(folder: &Path, count: usize) -> PathBuf {
    let data = folder.join("data");
    for n in 0..count {
        let (bytes, class) = picture(n);
        fs::create_dir_all(data.join(class)).unwrap();
        fs::write(data.join(class).join(format!("{n:03}.bmp")), bytes).unwrap();
    }
    data
}

/// The same in a file with a path and a class a row, which stands in the folder.
fn table(data: &Path, count: usize) -> PathBuf {
    let mut text = "picture,label\n".to_string();
    for n in 0..count {
        let class = picture(n).1;
        writeln!(text, "{class}/{n:03}.bmp,{class}").unwrap();
    }
    let path = data.parent().unwrap().join("data/all.csv");
    fs::write(&path, text).unwrap();
    path
}

fn recipe(model: &str, data: &Path, extra: &str) -> Recipe {
    let text = format!(
        "model = {model:?}\n[data]\ntrain = {data:?}\n[batch]\nexamples = 16\n[report]\nresamples = 50\n[train]\n\
         learning-rate = 3e-3\nprecision = \"f32\"\nepochs = 12\n{extra}"
    );
    Recipe::parse(&text, "test").unwrap()
}

fn vit() -> String {
    fixtures("vit").display().to_string()
}

fn train(recipe: &Recipe, folder: &Path, run: &str) -> Result<Outcomes, Error> {
    let (hub, target, stop) = (hub(folder), folder.join(run), AtomicBool::new(false));
    let context = JobContext {
        folder: &target,
        hub: &hub,
        progress: &hub::Silent,
        stop: &stop,
        shared: None,
        observer: &mut Quiet,
    };
    job::train(recipe, context)
}

#[test]
fn a_classifier_from_a_folder_of_pictures_to_answers() {
    let folder = tempfile::tempdir().unwrap();
    let data = classes(folder.path(), 160);
    let mut recipe = recipe(&vit(), &data, "");
    recipe.task.metric = Some("accuracy".into());
    let run = train(&recipe, folder.path(), "run").unwrap();
    let accuracy = run.test.as_ref().unwrap().evaluation.value("accuracy").unwrap();
    assert!(accuracy > 0.9, "{accuracy}");
    // The names of files say what their classes are: no baseline may read them.
    assert!(run.resolved.report.baseline && run.baseline.is_none());
    let card = fs::read_to_string(run.best().join("README.md")).unwrap();
    for part in [
        "# Picture classification on data",
        "trained on 128 pictures",
        "best picture.png",
        "image-classification",
    ] {
        assert!(card.contains(part), "{part}: {card}");
    }
    assert!(!card.contains("some text"), "{card}");
    let settings = |folder: &Path| fs::read(folder.join("preprocessor_config.json")).unwrap();
    assert_eq!(settings(&run.best()), settings(&fixtures("vit")));
    assert!(!run.best().join("tokenizer.json").exists());

    let predictor = Predictor::open_with(run.best(), Precision::F32).unwrap();
    assert_eq!(predictor.labels(), ["across", "down"]);
    let paths: Vec<(String, &str)> = (0..40)
        .map(|n| {
            let class = picture(n).1;
            (data.join(class).join(format!("{n:03}.bmp")).display().to_string(), class)
        })
        .collect();
    let inputs: Vec<&str> = paths.iter().map(|(path, _)| path.as_str()).collect();
    let answers = predictor.predict(&inputs).unwrap();
    let right =
        answers.iter().zip(&paths).filter(|(answer, (_, class))| answer.label.as_deref() == Some(class));
    assert!(right.count() >= 36);
    for (at, input) in inputs.iter().enumerate() {
        assert_eq!(predictor.predict(&[*input]).unwrap()[0], answers[at], "{input} alone");
    }
    // A file of paths, which begin where it stands.
    let labelled = DataRecipe { train: table(&data, 160), ..DataRecipe::default() };
    let found = evaluate(&run.best(), &labelled, Precision::F32, 0).unwrap();
    assert!(found.measured.evaluation.value("accuracy").unwrap() > 0.9);
    assert!(found.notes.iter().any(|note| note.contains("their paths begin in")), "{:?}", found.notes);

    let options = EmbedOptions { precision: Precision::F32, ..EmbedOptions::default() };
    let embedder = Embedder::open(fixtures("vit/bare"), &options).unwrap();
    let vectors = embedder.embed(&inputs).unwrap();
    assert_eq!((vectors.width, vectors.values.len()), (16, 40 * 16));
    assert_eq!(embedder.embed(&inputs[7..8]).unwrap().values, vectors.values[7 * 16..8 * 16]);
}

#[test]
fn a_file_of_paths_is_learnt_from_as_the_folder_is_and_resumes() {
    let folder = tempfile::tempdir().unwrap();
    let data = classes(folder.path(), 64);
    let table = table(&data, 64);
    let quick = |data: &Path| {
        let mut recipe = recipe(&vit(), data, "");
        recipe.train.insert("epochs".into(), toml::Value::Integer(1));
        recipe
    };
    let run = train(&quick(&table), folder.path(), "table").unwrap();
    assert_eq!(run.data.train.len() + run.data.dev.len() + run.data.test.len(), 64);
    let print = run.data.fingerprint.clone();
    // A picture that changes is other data, though its path is the same.
    let (bytes, _) = picture(3);
    let changed = data.join(picture(2).1).join("002.bmp");
    fs::write(changed, bytes).unwrap();
    assert_ne!(train(&quick(&table), folder.path(), "changed").unwrap().data.fingerprint, print);
}

#[test]
fn the_side_for_pictures_of_a_clip_learns() {
    let folder = tempfile::tempdir().unwrap();
    let data = classes(folder.path(), 160);
    let model = format!("vision of {}", fixtures("clip").display());
    let mut recipe = recipe(&model, &data, "");
    recipe.task.metric = Some("accuracy".into());
    let run = train(&recipe, folder.path(), "run").unwrap();
    let accuracy = run.test.as_ref().unwrap().evaluation.value("accuracy").unwrap();
    assert!(accuracy > 0.85, "{accuracy}");
    let (bytes, class) = picture(7);
    let path = folder.path().join("new.bmp");
    fs::write(&path, bytes).unwrap();
    let answer = Predictor::open(run.best()).unwrap().predict(&[path.to_str().unwrap()]).unwrap();
    assert_eq!(answer[0].label.as_deref(), Some(class));
}

#[test]
fn pictures_that_cannot_be_read_are_named_before_training() {
    let folder = tempfile::tempdir().unwrap();
    let data = classes(folder.path(), 40);
    let good = data.join(picture(5).1).join("005.bmp");
    let bytes = fs::read(&good).unwrap();
    let table = table(&data, 40);
    for (content, reason) in
        [(&b""[..], "empty"), (&bytes[..60], "damaged"), (&b"a fine film"[..], "PNG or JPEG")]
    {
        fs::write(&good, content).unwrap();
        let error = train(&recipe(&vit(), &data, ""), folder.path(), "run").err().unwrap();
        let error = chain(&error);
        assert!(error.contains("005.bmp") && error.contains(reason), "{error}");
        let error = chain(&train(&recipe(&vit(), &table, ""), folder.path(), "run").err().unwrap());
        assert!(
            error.contains("all.csv row 7") && error.contains("005.bmp") && error.contains(reason),
            "{error}"
        );
    }
    fs::remove_file(&good).unwrap();
    let error = chain(&train(&recipe(&vit(), &table, ""), folder.path(), "run").err().unwrap());
    assert!(error.contains("all.csv row 7") && error.contains("cannot read the picture"), "{error}");
}

/// An error with all that it comes from.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        write!(text, ": {error}").unwrap();
        source = error.source();
    }
    text
}

#[test]
fn texts_and_pictures_are_not_taken_for_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let data = classes(folder.path(), 40);
    let bert = fixtures("bert").display().to_string();
    for data in [&data, &table(&data, 40)] {
        let error = chain(&train(&recipe(&bert, data, ""), folder.path(), "run").err().unwrap());
        assert!(error.contains("these are pictures") && error.contains("vit"), "{error}");
    }
    let texts = folder.path().join("texts.csv");
    let rows: Vec<String> =
        (0..40).map(|n| format!("a fine film number {n},{}", ["a", "b"][n % 2])).collect();
    fs::write(&texts, format!("text,label\n{}\n", rows.join("\n"))).unwrap();
    let error = chain(&train(&recipe(&vit(), &texts, ""), folder.path(), "run").err().unwrap());
    assert!(error.contains("texts.csv row 2") && error.contains("the model reads pictures"), "{error}");
    let prompt = recipe(&vit(), &data, "[adapter]\nkind = \"prompt\"\n");
    let error = chain(&train(&prompt, folder.path(), "run").err().unwrap());
    assert!(error.contains("reading pictures"), "{error}");
    let mut tags = recipe(&vit(), &data, "");
    tags.task.kind = Some(topwork::recipe::Kind::MaskedLm);
    let error = chain(&train(&tags, folder.path(), "run").err().unwrap());
    assert!(error.contains("pictures"), "{error}");
    for lesson in ["likeness", "consistency"] {
        let beside = recipe(&vit(), &data, &format!("[beside]\ndata = {data:?}\nlesson = {lesson:?}\n"));
        let error = chain(&train(&beside, folder.path(), "run").err().unwrap());
        assert!(error.contains("looks at words, and pictures have none"), "{error}");
    }
}
