//! A folder with a tiny model and tiny data, and the program to run in it.

use std::path::{Path, PathBuf};

use topwork_testkit::{Finished, Program, Run};

/// A fresh folder with the program, cut off from the network and from the user's own cache.
pub struct Stage {
    pub program: Program,
}

/// The options every training here has: what is quick and gives the same bits everywhere.
pub const QUICK: [&str; 9] = [
    "--precision=f32",
    "--batch=8",
    "--epochs=2",
    "--learning-rate=3e-3",
    "--no-baseline",
    "--max-length=32",
    "report.resamples=20",
    "--text=body",
    "--label=class",
];

impl Stage {
    pub fn new() -> Self {
        let program = Program::new(env!("CARGO_BIN_EXE_topwork")).unwrap();
        let cache = program.folder().join("cache");
        Stage { program: program.env("TOPWORK_CACHE", cache).env("TOPWORK_OFFLINE", "1") }
    }

    /// With the tiny BERT in `bert/` and 72 mails in `mails.csv`.
    pub fn with_mails() -> Self {
        let stage = Self::new();
        stage.model("bert");
        stage.program.file("mails.csv", mails(72)).unwrap();
        stage
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.program.folder().join(name)
    }

    /// Copies the tiny BERT into a folder, with dropout, so that a run has random numbers to keep straight.
    pub fn model(&self, name: &str) -> PathBuf {
        let from = fixture("bert");
        for file in ["model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt"] {
            self.program.file(&format!("{name}/{file}"), std::fs::read(from.join(file)).unwrap()).unwrap();
        }
        let config = std::fs::read_to_string(from.join("config.json")).unwrap();
        let config = config.replace("_dropout_prob\": 0.0", "_dropout_prob\": 0.1");
        assert_eq!(config.matches("_dropout_prob\": 0.1").count(), 2, "{config}");
        self.program.file(&format!("{name}/config.json"), config).unwrap();
        self.path(name)
    }

    pub fn run<A: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Run<'_> {
        self.program.args(args)
    }

    /// Runs `command`, a line with spaces between arguments, to a good end.
    pub fn ok(&self, command: &str) -> Finished {
        self.run(command.split_whitespace()).run().unwrap().expect_code(0).unwrap()
    }

    /// Runs `command` to an error: code 2 and one line that begins with `error:` and holds every part.
    pub fn refused(&self, command: &str, parts: &[&str]) -> String {
        let done = self.run(command.split_whitespace()).run().unwrap();
        refusal(done, command, parts)
    }

    /// Trains into `out` with [`QUICK`] and further options.
    pub fn train(&self, out: &str, more: &str) -> Finished {
        self.ok(&train_line(out, more))
    }
}

/// The command line of a quick training.
pub fn train_line(out: &str, more: &str) -> String {
    format!("train --model bert --data mails.csv {} --out {out} {more}", QUICK.join(" "))
}

/// Checks that a run ended in a proper error, and gives its line.
pub fn refusal(done: Finished, what: &str, parts: &[&str]) -> String {
    let done = done.expect_code(2).unwrap_or_else(|error| panic!("{what}: {error}"));
    let text = done.err();
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("error:")).collect();
    assert_eq!(lines.len(), 1, "{what}: one line with the error expected:\n{text}");
    assert_eq!(text.lines().last(), Some(lines[0]), "{what}: the error stands last:\n{text}");
    for bad in ["panicked", "has a mistake", "RUST_BACKTRACE"] {
        assert!(!text.contains(bad), "{what}: {text}");
    }
    for part in parts {
        assert!(lines[0].contains(part), "{what}: {part:?} expected in:\n{}", lines[0]);
    }
    lines[0].to_string()
}

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)
}

/// Mails in the words the tiny model knows: `body,class,score`, every third of them spam.
pub fn mails(count: usize) -> String {
    const HAM: [&str; 9] = ["meet", "tomorrow", "lunch", "thanks", "see", "you", "please", "not", "good"];
    const SPAM: [&str; 9] = ["free", "win", "prize", "call", "now", "money", "click", "offer", "you"];
    let mut state = 7_u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut csv = String::from("body,class,score\n");
    for row in 0..count {
        let spam = row % 3 == 0;
        let list = if spam { SPAM } else { HAM };
        let mut words: Vec<String> = (0..4 + next(7)).map(|_| list[next(9)].to_string()).collect();
        // Letters make the texts different from each other: near duplicates would be kept together.
        words.push((0..9).map(|_| char::from(b'a' + next(26) as u8)).collect());
        let class = if spam { "spam" } else { "ham" };
        csv.push_str(&format!("\"{}\",{class},{}.5\n", words.join(" "), next(5)));
    }
    csv
}

/// The number of a run's newest checkpoint that is whole.
pub fn newest_checkpoint(run: &Path) -> Option<usize> {
    let entries = std::fs::read_dir(run.join("checkpoints")).ok()?;
    let number = |entry: std::fs::DirEntry| entry.file_name().to_str()?.strip_prefix("step-")?.parse().ok();
    entries.flatten().filter_map(number).max()
}

/// The bytes by which two runs are compared: the last weights and optimizer moments, and the best model.
pub fn weights(run: &Path) -> Vec<(String, Vec<u8>)> {
    let last = format!("checkpoints/step-{:08}", newest_checkpoint(run).unwrap());
    let names = [format!("{last}/weights.safetensors"), format!("{last}/moments.safetensors")];
    let mut files: Vec<String> = names.to_vec();
    files.push("best/model.safetensors".into());
    let files: Vec<(String, Vec<u8>)> =
        files.into_iter().map(|name| (name.clone(), std::fs::read(run.join(&name)).unwrap())).collect();
    assert!(files.iter().all(|(_, bytes)| bytes.len() > 1000));
    files
}

/// Fails, naming the file, unless both runs hold the same bytes.
pub fn assert_same_weights(a: &Path, b: &Path) {
    let (a, b) = (weights(a), weights(b));
    for ((name_a, bytes_a), (name_b, bytes_b)) in a.iter().zip(&b) {
        assert_eq!(name_a, name_b, "the runs end at different steps");
        assert!(bytes_a == bytes_b, "{name_a} differs");
    }
}
