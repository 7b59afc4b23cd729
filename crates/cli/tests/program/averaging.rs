//! Averages of weights by command: of a run's steps, of a run and what it started from, of several runs.

use crate::stage::Stage;

#[test]
fn a_run_says_which_weights_it_measures_and_saves() {
    let stage = Stage::with_mails();
    let done = stage.train("runs/ema", "--technique ema:decay=0.5 --technique wise-ft:alphas=0.5+0.9");
    let said = done.err();
    assert!(said.contains("with the weights of ema, the best so far"), "{said}");
    assert!(said.contains("wise-ft 0.5 of ema: dev") && said.contains("wise-ft 0.9 of ema: dev"), "{said}");
    let log = std::fs::read_to_string(stage.path("runs/ema/log.jsonl")).unwrap();
    let count = |what: &str| log.matches(what).count();
    assert_eq!((count("\"weights\":\"ema\""), count("\"event\":\"variant\"")), (2, 2), "{log}");
    let page = std::fs::read_to_string(stage.path("runs/ema/report.html")).unwrap();
    assert!(page.contains("measured here and saved are those of"), "the report says so");
    assert!(page.contains("after the last step, weights of wise-ft 0.5 of ema"), "{page}");
    // The trained weights, of which the average is one: not those that are saved.
    let plain = stage.train("runs/plain", "");
    assert!(!plain.err().contains("weights of"), "{}", plain.err());
    let saved = |run: &str| std::fs::read(stage.path(&format!("runs/{run}/best/model.safetensors"))).unwrap();
    assert_ne!(saved("ema"), saved("plain"));

    let train = |more: &str| format!("{} {more}", crate::stage::train_line("runs/none", ""));
    stage.refused(&train("--technique ema --technique swa"), &["ema and swa cannot be combined"]);
    stage.refused(&train("--technique ema:decay=1"), &["below 1", "decay = 1"]);
    stage.refused(&train("--technique swa:every=0.5"), &["whole number"]);
    stage.refused(&train("--technique wise-ft:alphas=2"), &["from 0 to 1"]);
}

#[test]
fn soups_are_cooked_measured_and_refused() {
    let stage = Stage::with_mails();
    for seed in ["1", "2"] {
        stage.train(&format!("runs/{seed}"), &format!("--seed {seed}"));
    }
    let said = stage.ok("model soup runs/1 runs/2 --out soup").out();
    assert!(said.matches("taken").count() == 2 && said.contains("written     soup"), "{said}");
    assert!(stage.ok("predict soup hello").out().contains('\t'));
    stage.refused("model soup runs/1 runs/2 --out soup", &["is there already"]);
    let greedy = "model soup runs/1 runs/2 --data mails.csv --text body --label class";
    let said = stage.ok(&format!("{greedy} --metric f1 --out greedy")).out();
    assert!(said.contains("alone 0.") && said.contains("soup with it") && said.contains("f1 "), "{said}");
    stage.refused(&format!("{greedy} --metric f7 --out x"), &["f7"]);
    stage.refused("model soup runs/1 --out x", &["at least two"]);
    stage.refused("model soup runs/1 bert --out x", &["the labels differ"]);
    let line = "model soup runs/1 runs/2 --metric f1 --out x";
    let done = stage.run(line.split_whitespace()).run().unwrap().expect_code(2).unwrap();
    assert!(done.err().contains("--data <FILE>"), "{}", done.err());
    assert!(!stage.path("x").exists());
}
