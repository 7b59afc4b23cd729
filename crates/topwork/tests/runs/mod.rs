//! Whole runs on tiny checkpoints, as several tests make them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use topwork::hub::{self, Hub, Settings};
use topwork::job::{self, JobContext, JobObserver, Outcomes, Quiet};
use topwork::recipe::DataRecipe;
use topwork::{Error, Recipe, evaluate};
use topwork_kernels::gemm::Precision;
use topwork_kernels::rng::{Stream, derive};

/// A folder of the fixtures.
pub fn fixtures(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)
}

/// Trains into `folder/run`, with nothing of the user's own.
pub fn train(model: &Path, data: &Path, folder: &Path, more: &str) -> Result<Outcomes, Error> {
    let text = format!(
        "model = {model:?}\n{more}\n[data]\ntrain = {data:?}\n[batch]\nexamples = 16\n[report]\nresamples = 20\n"
    );
    let (recipe, hub, run) = (Recipe::parse(&text, "test")?, hub(folder), folder.join("run"));
    let (stop, mut observer) = (AtomicBool::new(false), Quiet);
    job::train(
        &recipe,
        JobContext {
            folder: &run,
            hub: &hub,
            progress: &hub::Silent,
            stop: &stop,
            shared: None,
            observer: &mut observer,
        },
    )
}

#[allow(dead_code)] // not every test goes on with a run
/// Trains by a recipe into `folder/run`, or goes on with what is there, with nothing of the user's own.
pub fn start(
    recipe: &Recipe,
    folder: &Path,
    observer: &mut dyn JobObserver,
    stop: &AtomicBool,
) -> Result<Outcomes, Error> {
    let hub = hub(folder);
    let run = folder.join("run");
    let context =
        JobContext { folder: &run, hub: &hub, progress: &hub::Silent, stop, shared: None, observer };
    if run.join(job::RESOLVED).is_file() { job::resume(context) } else { job::train(recipe, context) }
}

/// A hub that knows nothing of the user's own.
pub fn hub(folder: &Path) -> Hub {
    Hub::with(Settings {
        cache: folder.join("cache"),
        offline: true,
        hf_endpoint: String::new(),
        hf_token: None,
        certificates: None,
        search_path: std::ffi::OsString::new(),
        data_home: None,
    })
}

/// The recipe of a run of so many epochs.
pub fn epochs(epochs: usize, rate: f64, task: &str) -> String {
    format!("[train]\nepochs = {epochs}\nlearning-rate = {rate:e}\nprecision = \"f32\"\n[task]\n{task}")
}

/// A measure on the test data.
pub fn test_value(run: &Outcomes, name: &str) -> f64 {
    run.test.as_ref().unwrap().evaluation.value(name).unwrap()
}

/// What `eval` says of the saved model is what the run said of it on the same rows.
pub fn measured_again(run: &Outcomes, data: &Path, name: &str) -> f64 {
    let data = DataRecipe { train: data.to_path_buf(), ..DataRecipe::default() };
    evaluate(&run.best(), &data, Precision::F32, 0).unwrap().measured.evaluation.value(name).unwrap()
}

/// Writes lines into a file.
pub fn write(folder: &Path, name: &str, lines: impl Iterator<Item = String>) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, lines.collect::<Vec<_>>().join("\n") + "\n").unwrap();
    path
}

/// Words that the tiny models know.
pub const WORDS: [&str; 8] = ["the", "a", "of", "to", "in", "is", "and", "it"];

/// Words drawn at random.
pub fn words(n: usize) -> Vec<&'static str> {
    let mut stream = Stream(derive(n as u64, "words"));
    let count = 4 + stream.below(4) as usize;
    (0..count).map(|_| WORDS[stream.below(WORDS.len() as u64) as usize]).collect()
}
