//! Runs that are killed or stopped and go on: they end at the same bits as a run that nobody disturbed.

use crate::stage::{Stage, assert_same_weights, newest_checkpoint, train_line};

/// Long enough to be caught in the middle.
const LONG: &str = "train.epochs=20 train.checkpoint-steps=1";

#[test]
fn killed_at_any_step_a_run_goes_on_to_the_same_bits() {
    killed_at_any_step(LONG);
}

/// What techniques keep from step to step, and what they draw, is a part of that.
#[test]
fn killed_at_any_step_a_run_with_techniques_goes_on_to_the_same_bits() {
    let averaged = "--technique ema:decay=0.9 --technique wise-ft:alphas=0.3+0.6";
    killed_at_any_step(&format!("{LONG} {averaged} --technique mixout --technique r-drop"));
    killed_at_any_step(&format!(
        "{LONG} --technique swa:start=0.2,every=3 --technique hold --technique reinit"
    ));
}

fn killed_at_any_step(options: &str) {
    let stage = Stage::with_mails();
    stage.train("runs/whole", options);
    let last = newest_checkpoint(&stage.path("runs/whole")).unwrap();
    let run = stage.path("runs/killed");
    let mut killed_at = Vec::new();
    for (kill, from) in [last / 6, last / 2, last - last / 5].into_iter().enumerate() {
        let line = if kill == 0 {
            train_line("runs/killed", options)
        } else {
            "train --resume runs/killed".to_string()
        };
        let mut running = stage.run(line.split_whitespace()).spawn().unwrap();
        let reached = running.wait_until(|_| newest_checkpoint(&run).is_some_and(|step| step >= from));
        assert!(reached, "{:?}", running.output());
        // kill -9: no handler runs, wherever the program is, writing a checkpoint as likely as not.
        assert_eq!(running.kill().unwrap().code, None);
        let step = newest_checkpoint(&run).unwrap();
        assert!(step < last, "killed too late to prove anything: {step} of {last}");
        killed_at.push(step);
    }
    assert!(killed_at.is_sorted() && killed_at.len() == 3, "{killed_at:?}");
    let said = stage.ok("train --resume runs/killed").err();
    assert!(said.contains("of them done"), "{said}");
    assert_same_weights(&stage.path("runs/whole"), &run);
    let steps = |run: &str| {
        let log = std::fs::read_to_string(stage.path(run).join("log.jsonl")).unwrap();
        let steps = log.lines().filter(|line| line.contains("\"event\":\"step\"")).count();
        (steps, log.lines().all(|line| line.starts_with('{') && line.ends_with('}')))
    };
    assert_eq!(steps("runs/killed"), (last, true), "each step stands in the log once");
    assert_eq!(steps("runs/whole"), (last, true));
}

#[cfg(unix)]
#[test]
fn ctrl_c_saves_says_how_to_go_on_and_ends_with_130() {
    let stage = Stage::with_mails();
    let long = "train.epochs=20";
    stage.train("runs/whole", long);
    let run = stage.path("runs/stopped");
    let mut running = stage.run(train_line("runs/stopped", long).split_whitespace()).spawn().unwrap();
    assert!(
        running.wait_until(|_| newest_checkpoint(&run).is_some_and(|step| step > 0)),
        "{:?}",
        running.output()
    );
    running.interrupt().unwrap();
    let done = running.wait().unwrap();
    assert_eq!(done.code, Some(130), "{}", done.err());
    assert!(
        done.err().trim_end().ends_with("go on with: topwork train --resume runs/stopped"),
        "{}",
        done.err()
    );
    assert!(done.out().is_empty(), "{}", done.out());
    let last = newest_checkpoint(&stage.path("runs/whole")).unwrap();
    let step = newest_checkpoint(&run).unwrap();
    assert!(step < last, "stopped too late to prove anything: {step} of {last}");
    assert!(done.err().contains(&format!("stopped at step {step}")), "{}", done.err());

    let done = stage.ok("train --resume runs/stopped");
    assert!(done.out().contains("topwork predict runs/stopped/best"), "{}", done.out());
    assert_same_weights(&stage.path("runs/whole"), &run);
}

#[cfg(unix)]
#[test]
fn ctrl_c_before_training_ends_at_once() {
    let stage = Stage::with_mails();
    // Reading from a pipe into which nobody writes takes for ever.
    let made = std::process::Command::new("mkfifo").arg(stage.path("mails.csv.pipe")).status();
    if !made.is_ok_and(|status| status.success()) {
        println!("not run: no mkfifo here");
        return;
    }
    let line = train_line("runs/a", "").replace("--data mails.csv", "--data mails.csv.pipe --format csv");
    let running =
        stage.run(line.split_whitespace()).limit(std::time::Duration::from_secs(20)).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    running.interrupt().unwrap();
    let done = running.wait().unwrap();
    // None if the signal came before the program could catch it, on a machine that slow.
    assert!(matches!(done.code, Some(130) | None), "{:?} {}", done.code, done.err());
    assert!(!stage.path("runs").exists(), "nothing was begun");
}

#[test]
fn a_run_goes_on_only_with_what_it_was_started_with() {
    let stage = Stage::with_mails();
    stage.train("runs/a", "");
    // A run that is over: its result again.
    assert!(stage.ok("train --resume runs/a --threads 1").out().contains("test data:"));
    let data = std::fs::read_to_string(stage.path("mails.csv")).unwrap();
    stage.program.file("mails.csv", data.replacen(",ham,", ",spam,", 1)).unwrap();
    stage.refused("train --resume runs/a", &["the data changed since the run was started"]);
    stage.program.file("mails.csv", data).unwrap();
    // A checkpoint that was damaged after it was written.
    let step = newest_checkpoint(&stage.path("runs/a")).unwrap();
    let weights = stage.path(&format!("runs/a/checkpoints/step-{step:08}/weights.safetensors"));
    let mut bytes = std::fs::read(&weights).unwrap();
    bytes.truncate(bytes.len() / 2);
    std::fs::write(&weights, bytes).unwrap();
    stage.refused("train --resume runs/a", &["weights.safetensors"]);
    let done =
        stage.run(["train", "--resume", "runs/a", "--epochs", "9"]).run().unwrap().expect_code(2).unwrap();
    assert!(done.err().contains("--resume"), "{}", done.err());
}

#[cfg(unix)]
#[test]
fn ctrl_c_while_rows_are_read_says_what_was_read() {
    let stage = Stage::new();
    let examples = (1..=20_000).map(|row| topwork_data::Example {
        text: format!("tree {row}"),
        pair: None,
        label: None,
        row,
        id: None,
    });
    let trees = topwork_data::Dataset::given(examples.collect());
    topwork_data::write_arrow(stage.path("trees.arrow"), &trees).unwrap();
    // The same file very often: more rows than anybody waits for.
    let files = std::iter::repeat_n("trees.arrow", 5000);
    let mut running = stage.run(["data", "scan", "--shuffle"].into_iter().chain(files)).spawn().unwrap();
    assert!(running.wait_until(|running| running.output().1.contains("opened in")), "{:?}", running.output());
    running.interrupt().unwrap();
    let done = running.wait().unwrap();
    assert_eq!(done.code, Some(130), "{}", done.err());
    assert!(done.err().contains("stopping after the row at hand"), "{}", done.err());
    assert!(done.out().contains("in a random order") && done.out().contains("memory"), "{}", done.out());
}
