//! The programs that are compared. Each is started once a turn, measures one case and prints one JSON line:
//! `{"case": ..., "seconds": [...], "peak_mb": ..., "version": ...}`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::cases::Case;
use crate::root;

/// One program, in one configuration.
pub struct Side {
    pub name: &'static str,
    program: PathBuf,
    /// Arguments before those of the case.
    leading: Vec<String>,
    /// Arguments behind them.
    trailing: Vec<String>,
    has: fn(&Case) -> bool,
}

/// What one process said.
#[derive(Debug, PartialEq)]
pub struct Turn {
    pub seconds: Vec<f64>,
    pub peak_mb: f64,
    pub version: String,
}

/// All turns of a side at a case.
pub struct Sample {
    pub side: &'static str,
    /// Seconds of every measured repetition.
    pub seconds: Vec<f64>,
    /// The largest peak of resident memory of a process, in MiB.
    pub peak_mb: f64,
    pub version: String,
}

/// The name of topwork's side.
pub const TOPWORK: &str = "topwork";

impl Side {
    /// The program of this repository.
    pub fn topwork(program: PathBuf) -> Self {
        let leading = vec!["bench-step".into(), "--json".into()];
        Self { name: TOPWORK, program, leading, trailing: vec![], has: |_| true }
    }

    /// PyTorch: with the AdamW it takes by default, and with the fused one. Against bf16 (autocast) only the fused
    /// one stands, the faster of the two.
    pub fn pytorch(python: &Path, script: &Path) -> [Self; 2] {
        let side = |name, optimizer: &str, has| Self {
            name,
            program: python.to_path_buf(),
            leading: vec![script.display().to_string()],
            trailing: vec!["--optimizer".into(), optimizer.into()],
            has,
        };
        [
            side("PyTorch", "default", |case| case.mode == "forward" || case.precision == "f32"),
            side("PyTorch, fused AdamW", "fused", |case| case.mode == "train"),
        ]
    }

    /// Whether this side takes part in a case.
    pub fn has(&self, case: &Case) -> bool {
        (self.has)(case)
    }

    /// Runs one process.
    ///
    /// # Errors
    /// When it cannot be started, fails, or does not say what the protocol asks for.
    pub fn run(&self, case: &Case, iters: usize, threads: usize) -> Result<Turn> {
        let (iters, threads) = (iters.to_string(), threads.to_string());
        let mut command = Command::new(&self.program);
        command.args(&self.leading);
        command.args(["--shape", case.shape, "--mode", case.mode, "--dropout", case.dropout]);
        command.args(["--precision", case.precision, "--iters", &iters, "--threads", &threads]);
        command.args(&self.trailing).env("OMP_NUM_THREADS", &threads).env("RAYON_NUM_THREADS", &threads);
        command.env("HF_HUB_OFFLINE", "1").stdin(Stdio::null());
        let output =
            command.output().with_context(|| format!("{}: cannot be started", self.program.display()))?;
        if !output.status.success() {
            bail!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        parse(&text).with_context(|| format!("{command:?} printed \"{}\"", text.trim()))
    }
}

impl Sample {
    /// Nothing measured yet.
    pub fn new(side: &'static str) -> Self {
        Self { side, seconds: Vec::new(), peak_mb: 0.0, version: String::new() }
    }

    /// Adds what one process measured.
    pub fn add(&mut self, turn: Turn) {
        self.seconds.extend(turn.seconds);
        self.peak_mb = self.peak_mb.max(turn.peak_mb);
        self.version = turn.version;
    }

    /// The middle of the measured seconds.
    pub fn median(&self) -> f64 {
        let mut sorted = self.seconds.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
    }

    /// The least of the measured seconds.
    pub fn least(&self) -> f64 {
        self.seconds.iter().copied().fold(f64::INFINITY, f64::min)
    }
}

/// Reads the one line of a process; what else it prints may not look like one.
fn parse(text: &str) -> Result<Turn> {
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with('{')).collect();
    let [line] = lines[..] else { bail!("expected one line of JSON, got {}", lines.len()) };
    let value: Value = serde_json::from_str(line)?;
    let seconds = value["seconds"].as_array().context("no \"seconds\"")?;
    let seconds: Option<Vec<f64>> = seconds.iter().map(Value::as_f64).collect();
    let seconds = seconds.context("\"seconds\" are not all numbers")?;
    if seconds.is_empty() || seconds.iter().any(|time| *time <= 0.0) {
        bail!("\"seconds\" must be at least one time above 0");
    }
    let peak_mb = value["peak_mb"].as_f64().context("no \"peak_mb\"")?;
    Ok(Turn { seconds, peak_mb, version: value["version"].as_str().unwrap_or_default().to_string() })
}

/// Builds the program and says where it is.
///
/// # Errors
/// When it does not build.
pub fn build(root: &Path) -> Result<PathBuf> {
    let status = Command::new(root::cargo())
        // The whole workspace: a part of it would have its dependencies built again with fewer features.
        .args(["build", "--release", "--workspace", "--bin", "topwork"])
        .current_dir(root)
        .status()?;
    if !status.success() {
        bail!("the program does not build");
    }
    let metadata = ["metadata", "--no-deps", "--format-version", "1"];
    let output = Command::new(root::cargo()).args(metadata).current_dir(root).output()?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    let target = metadata["target_directory"].as_str().context("cargo metadata: no target directory")?;
    Ok(Path::new(target).join("release").join(format!("topwork{}", std::env::consts::EXE_SUFFIX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_process_is_read() {
        let text = "a warning\n{\"case\": \"x\", \"seconds\": [0.5, 2], \"peak_mb\": 100.5, \"version\": \"torch 2\"}\n";
        let turn = parse(text).unwrap();
        assert_eq!(turn, Turn { seconds: vec![0.5, 2.0], peak_mb: 100.5, version: "torch 2".into() });
    }

    #[test]
    fn a_line_that_lacks_something_is_an_error() {
        for text in [
            "",
            "{\"seconds\": [1], \"peak_mb\": 1}\n{\"seconds\": [1], \"peak_mb\": 1}",
            "{\"seconds\": [], \"peak_mb\": 1}",
            "{\"seconds\": [0], \"peak_mb\": 1}",
            "{\"seconds\": [\"1\"], \"peak_mb\": 1}",
            "{\"seconds\": [1]}",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_sample_joins_its_turns() {
        let mut sample = Sample::new(TOPWORK);
        for (seconds, peak_mb) in [(vec![3.0, 1.0], 50.0), (vec![2.0, 9.0], 40.0)] {
            sample.add(Turn { seconds, peak_mb, version: String::new() });
        }
        assert_eq!((sample.median(), sample.least(), sample.peak_mb), (2.5, 1.0, 50.0));
        sample.add(Turn { seconds: vec![8.0], peak_mb: 1.0, version: String::new() });
        assert_eq!(sample.median(), 3.0);
    }

    #[test]
    fn each_case_meets_the_peers_it_is_held_to() {
        let sides = Side::pytorch(Path::new("python"), Path::new("x.py"));
        let count = |mode, precision| {
            let case = Case { shape: "base", mode, dropout: "0", precision };
            sides.iter().filter(|side| side.has(&case)).map(|side| side.name).collect::<Vec<_>>()
        };
        assert_eq!(count("train", "f32"), ["PyTorch", "PyTorch, fused AdamW"]);
        assert_eq!(count("train", "bf16"), ["PyTorch, fused AdamW"]);
        assert_eq!(count("forward", "f32"), ["PyTorch"]);
        assert_eq!(count("forward", "bf16"), ["PyTorch"]);
    }
}
