//! Tasks one after the other, and from one task to another.

use serde_json::Value;

use crate::stage::{Stage, mails};

const QUICK: &str = "--precision f32 task.max-length=32 batch.examples=8 report.resamples=20 train.epochs=2 train.learning-rate=3e-3";

/// Three tasks: whether a mail is spam, the same of other mails, and another question on them.
fn stage() -> Stage {
    let stage = Stage::with_mails();
    let all = mails(150);
    let rows: Vec<&str> = all.lines().collect();
    let file = |name: &str, rows: &[&str], class: &dyn Fn(&str) -> String| {
        let mut text = String::from("text,label\n");
        for row in rows {
            let (body, rest) = row.rsplit_once("\",").unwrap();
            text.push_str(&format!("{body}\",{}\n", class(rest.split(',').next().unwrap())));
        }
        stage.program.file(name, text).unwrap();
    };
    file("a.csv", &rows[1..76], &|class| class.to_string());
    file("b.csv", &rows[76..151], &|class| class.to_string());
    file("c.csv", &rows[1..76], &|class| if class == "spam" { "loud".into() } else { "calm".to_string() });
    stage
}

/// The JSON without times and paths.
fn said(json: &str) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(map) => {
                ["seconds", "report"].iter().for_each(|key| _ = map.remove(*key));
                map.values_mut().for_each(strip);
            }
            Value::Array(list) => list.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut page: Value = serde_json::from_str(json).unwrap();
    strip(&mut page);
    page
}

fn cell(page: &Value, method: &str, row: usize, column: usize) -> Option<f64> {
    let all = page["methods"].as_array().unwrap();
    all.iter().find(|of| of["method"] == method).unwrap()["matrix"][row][column].as_f64()
}

#[test]
fn tasks_are_learnt_one_after_the_other_and_a_kill_changes_nothing() {
    let stage = stage();
    let line =
        |out: &str| format!("continual a.csv c.csv --model bert --head own {QUICK} --json --out {out}");
    let whole = said(&stage.ok(&line("runs/whole")).out());
    assert_eq!(whole["methods"].as_array().unwrap().len(), 5);
    for method in ["sequential", "frozen", "replay", "l2-sp", "lora"] {
        assert!(cell(&whole, method, 0, 0).is_some() && cell(&whole, method, 1, 0).is_some(), "{method}");
        // A head that nothing has taught says nothing.
        assert_eq!(cell(&whole, method, 0, 1), None, "{method}");
    }
    assert_eq!(cell(&whole, "lora", 1, 0), cell(&whole, "lora", 0, 0), "an adapter a task forgets nothing");
    assert_eq!(cell(&whole, "sequential", 0, 0), cell(&whole, "replay", 0, 0), "the first task is the same");
    assert_eq!(whole["methods"][0]["measures"][0]["forward"], Value::Null);
    // A mail has the labels of its own task only, so each model answers both.
    let mut answers = stage.ok("predict runs/whole/seed-0/sequential/2-c/best hello --json").out();
    answers.retain(|c| !c.is_whitespace());
    assert!(answers.contains("\"a:") && answers.contains("\"c:"), "{answers}");

    let mut running = stage.run(line("runs/killed").split_whitespace()).spawn().unwrap();
    let mark = stage.path("runs/killed/seed-0/frozen/1-a/continual.json");
    assert!(running.wait_until(|_| mark.is_file()));
    running.kill().unwrap();
    assert!(!stage.path("runs/killed/seed-0/lora/2-c/continual.json").is_file(), "killed too late");
    assert_eq!(said(&stage.ok(&line("runs/killed")).out()), whole);

    let out = stage.ok(&line("runs/whole").replace("--json", "")).out();
    for part in ["after a", "2 tasks one after the other", "backward transfer", "alone", "report.html"] {
        assert!(out.contains(part), "{part}: {out}");
    }
    let page = std::fs::read_to_string(stage.path("runs/whole/report.html")).unwrap();
    assert!(page.contains("accuracy on each task after each task"));
    stage.refused(&format!("{} train.warmup=0.5", line("runs/whole")), &["other settings", "warmup"]);
    stage.refused(&format!("{} --limit 20", line("runs/whole")), &["divided with other settings"]);
    stage.refused(&line("runs/x").replace("--head own", "--head shared"), &["calm", "--head own"]);
    stage.refused(&line("runs/x").replace("a.csv c.csv", "a.csv"), &["two tasks or more"]);
    stage.refused(&format!("{} --replay 1.5", line("runs/x")), &["above 0 and at most 1"]);
    stage.refused(&format!("{} --methods replai", line("runs/x")), &["did you mean \"replay\""]);
}

#[test]
fn one_head_carries_over_what_tasks_have_in_common() {
    let stage = stage();
    let line = format!(
        "continual a.csv b.csv --model bert --head shared --methods sequential,replay --replay 1 {QUICK} --json --out runs/one"
    );
    let page = said(&stage.ok(&line).out());
    assert!(cell(&page, "sequential", 0, 1).is_some(), "what is not learnt yet is measured too");
    let measures = &page["methods"][0]["measures"][0];
    let untaught = page["runs"][0]["before"][1].as_f64().unwrap();
    let forward = measures["forward"].as_f64().unwrap();
    assert!((forward - (cell(&page, "sequential", 0, 1).unwrap() - untaught)).abs() < 1e-12);
    // All of the first task's texts are mixed in.
    let lines = |name: &str| std::fs::read_to_string(stage.path(name)).unwrap().lines().count();
    let data = "runs/one/seed-0/data";
    assert_eq!(
        lines(&format!("{data}/b/replay-1.jsonl")),
        lines(&format!("{data}/a/train.jsonl")) + lines(&format!("{data}/b/train.jsonl"))
    );
}

#[test]
fn a_task_starts_where_another_ended() {
    let stage = stage();
    let line = |out: &str| {
        format!(
            "transfer-matrix --model bert --data a.csv,b.csv,c.csv {QUICK} --limit 24 --source-limit 0 --json --out {out}"
        )
    };
    let whole = said(&stage.ok(&line("runs/whole")).out());
    let runs = whole["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 3 + 3 * 2);
    for run in runs {
        let same_labels =
            run["source"] == "a" && run["target"] == "b" || run["source"] == "b" && run["target"] == "a";
        assert_eq!(run["head-carried"].as_bool(), Some(same_labels), "{run}");
    }
    let mut running = stage.run(line("runs/killed").split_whitespace()).spawn().unwrap();
    let mark = stage.path("runs/killed/seed-0/b/from-a/transfer.json");
    assert!(running.wait_until(|_| mark.is_file()));
    running.kill().unwrap();
    assert!(!stage.path("runs/killed/seed-0/b/from-c/transfer.json").is_file(), "killed too late");
    assert_eq!(said(&stage.ok(&line("runs/killed")).out()), whole);
    let out = stage.ok(&line("runs/whole").replace("--json", "")).out();
    assert!(out.contains("From task to task") && out.contains("from a to b, b to a."), "{out}");
    assert!(!stage.path("runs/whole/seed-0/sources/a/best").exists(), "no model is kept unless asked for");

    // The same by hand, for one pair.
    let quick = QUICK.replace("--precision f32", "--precision f32 --no-baseline report.threshold=false");
    stage.ok(&format!("train --model bert --data a.csv {quick} --out runs/a"));
    let said = stage.ok(&format!("train --init runs/a --data b.csv --limit 24 {quick} --out runs/a-b"));
    assert!(said.err().contains("runs/a/best"), "{}", said.err());
    let log = |run: &str| {
        let log = std::fs::read_to_string(stage.path(&format!("{run}/log.jsonl"))).unwrap();
        let step = log.lines().find(|line| line.contains("\"event\":\"step\"")).unwrap();
        serde_json::from_str::<Value>(step).unwrap()["loss"].as_f64().unwrap()
    };
    assert_eq!(log("runs/a-b"), log("runs/whole/seed-0/b/from-a"));
    stage.refused("train --init runs/nothing --data b.csv --out runs/z", &["runs/nothing"]);
    stage.refused(&line("runs/whole").replace("a.csv,b.csv,c.csv", "a.csv"), &["two tasks or more"]);
}
