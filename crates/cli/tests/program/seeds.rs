//! Studies over seeds: what a user types, what a kill leaves, and what the report says.

use serde_json::Value;

use crate::stage::Stage;

const LINE: &str = "seeds --model bert --data mails.csv --text body --label class --precision f32 --max-length 32 --batch 8 \
                    --learning-rate 3e-3 --epochs 3 report.resamples=20";

/// The JSON without what differs between any two processes: times and paths.
fn said(json: &str) -> Value {
    let mut page: Value = serde_json::from_str(json).unwrap();
    for run in page["runs"].as_array_mut().unwrap() {
        run.as_object_mut().unwrap().remove("seconds").unwrap();
    }
    let page = page.as_object_mut().unwrap();
    page.remove("report").unwrap();
    page.remove("best").unwrap();
    Value::Object(page.clone())
}

#[test]
fn a_study_survives_being_killed_and_says_the_same() {
    let stage = Stage::with_mails();
    let whole = said(&stage.ok(&format!("{LINE} --seeds 4 --json --out runs/whole")).out());
    let runs = whole["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 4);
    assert_eq!(runs[0]["evaluations"].as_array().unwrap().len(), 3);
    // A third of the mails is spam: always answering spam has an F1 of about a half, always answering ham one of zero.
    let blind = runs[0]["majority"].as_f64().unwrap();
    assert!((0.35..0.65).contains(&blind) && runs[0]["metric"] == "f1", "{}", runs[0]);
    let devs: Vec<&Value> = runs.iter().map(|run| &run["evaluations"]).collect();
    assert!(devs.windows(2).any(|pair| pair[0] != pair[1]), "seeds make a difference: {devs:?}");

    let mut running =
        stage.run(format!("{LINE} --seeds 4 --out runs/killed").split_whitespace()).spawn().unwrap();
    let first = stage.path("runs/killed/seed-0/seeds.json");
    assert!(running.wait_until(|_| first.is_file()));
    running.kill().unwrap();
    assert!(!stage.path("runs/killed/seed-3/seeds.json").is_file(), "killed too late");
    let before = std::fs::read(&first).unwrap();
    let killed = said(&stage.ok(&format!("{LINE} --seeds 4 --json --out runs/killed")).out());
    assert_eq!(std::fs::read(&first).unwrap(), before, "what was finished is not done again");
    assert_eq!(killed, whole);

    // The model of one run is kept, and it is the best.
    let kept: Vec<u64> =
        (0..4).filter(|seed| stage.path(&format!("runs/whole/seed-{seed}/best")).is_dir()).collect();
    let dev = |run: &Value| run["dev"].as_f64().unwrap();
    let top = runs.iter().map(dev).fold(f64::MIN, f64::max);
    let best = runs.iter().find(|run| dev(run) == top).unwrap()["seed"].as_u64().unwrap();
    assert_eq!(kept, [best]);
    assert!(!stage.path("runs/whole/seed-0/checkpoints").exists());

    // One more seed: the others stand.
    let out = stage.ok(&format!("{LINE} --seeds 5 --out runs/whole")).out();
    for part in
        ["5 runs of one recipe", "standard deviation of a run", "The best of several runs", "best quarter"]
    {
        assert!(out.contains(part), "{part}: {out}");
    }
    let page = std::fs::read_to_string(stage.path("runs/whole/report.html")).unwrap();
    assert!(page.contains("Every run as a point") && page.contains("seed 4: "));
    stage.refused(&format!("{LINE} --seeds 4 --vary order --out runs/whole"), &["other settings", "init"]);
    stage.refused(&format!("{LINE} --seeds 4 --stop-early --out runs/whole"), &["without --stop-early"]);
    stage.refused(&format!("{LINE} --vary ordre --out runs/x"), &["did you mean \"order\""]);
    stage.refused(&format!("{LINE} --failed-below most --out runs/x"), &["majority, linear or a score"]);
    stage.refused(LINE, &["--out FOLDER"]);
}

#[test]
fn seeds_of_values_and_of_order_are_apart() {
    let stage = Stage::with_mails();
    let first_loss = |out: &str, more: &str| {
        let line = format!("{LINE} --epochs 1 --no-baseline --out {out} {more}").replace("--epochs 3 ", "");
        let line = line.replacen("seeds ", "train ", 1);
        stage.ok(&line);
        let log = std::fs::read_to_string(stage.path(&format!("{out}/log.jsonl"))).unwrap();
        let step = log.lines().find(|line| line.contains("\"event\":\"step\"")).unwrap();
        let step: Value = serde_json::from_str(step).unwrap();
        let head = stage.path(&format!("{out}/resolved.toml"));
        (step["loss"].as_f64().unwrap(), std::fs::read_to_string(head).unwrap())
    };
    let (plain, _) = first_loss("runs/a", "");
    let (same, resolved) = first_loss("runs/b", "seeds.init=0 seeds.order=0");
    assert_eq!(same, plain, "the seed of the loop, said twice");
    assert!(resolved.contains("init = 0") && resolved.contains("order = 0"));
    let (init, _) = first_loss("runs/c", "seeds.init=1");
    let (order, _) = first_loss("runs/d", "seeds.order=1");
    let (both, _) = first_loss("runs/e", "seeds.init=1 seeds.order=1");
    for (a, b) in [(plain, init), (plain, order), (init, both), (order, both), (init, order)] {
        assert_ne!(a, b);
    }
    // The split is that of train.seed: the same texts are measured on.
    let pinned = |name: &str| {
        let text = std::fs::read_to_string(stage.path(&format!("{name}/resolved.toml"))).unwrap();
        text.lines().find(|line| line.starts_with("data = ")).unwrap().to_string()
    };
    assert_eq!(pinned("runs/e"), pinned("runs/a"));
}

#[test]
fn most_runs_are_stopped_early_and_a_kill_changes_nothing() {
    let stage = Stage::with_mails();
    let line = |out: &str| format!("{LINE} --seeds 5 --stop-early 0.3 --keep 2 --json --out {out}");
    let whole = said(&stage.ok(&line("runs/whole")).out());
    let paused = whole["paused"].as_array().unwrap();
    assert_eq!((paused.len(), whole["runs"].as_array().unwrap().len()), (5, 2));
    // Three epochs of as many steps: the first evaluation after 0.3 of them is at the end of the first.
    let (step, planned) = (paused[0]["step"].as_u64().unwrap(), paused[0]["planned"].as_u64().unwrap());
    assert_eq!(3 * step, planned);
    assert!(whole["saved"].as_str().unwrap().contains(&format!("{} of {} steps", 6 * step, 5 * planned)));
    let score = |paused: &Value| paused["score"].as_f64().unwrap();
    let worst_kept = whole["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| score(paused.iter().find(|paused| paused["seed"] == run["seed"]).unwrap()));
    let worst_kept = worst_kept.fold(f64::MAX, f64::min);
    assert!(paused.iter().filter(|paused| score(paused) > worst_kept).count() < 2, "{paused:?}");

    // Whoever went on is the run that was never stopped, to the bit.
    let plain = said(&stage.ok(&format!("{LINE} --seeds 5 --json --out runs/plain")).out());
    for run in whole["runs"].as_array().unwrap() {
        assert!(plain["runs"].as_array().unwrap().contains(run), "{run}");
    }

    let killed = |until: &str| {
        let out = format!("runs/killed-{}", until.len());
        let mut running = stage.run(line(&out).split_whitespace()).spawn().unwrap();
        let mark = stage.path(&format!("{out}/{until}"));
        assert!(running.wait_until(|_| mark.exists()), "{until}");
        running.kill().unwrap();
        assert_eq!(said(&stage.ok(&line(&out)).out()), whole, "{until}");
    };
    killed("seed-2/early.json");
    // Between the evaluation that counts and the pause: the checkpoint of that step is there, the word of it is not.
    killed(&format!("seed-1/checkpoints/step-{step:08}/weights.safetensors"));

    stage.refused(&line("runs/whole").replace("--keep 2", "--keep 3"), &["--keep 2", "another --out"]);
    stage.refused(&format!("{LINE} --seeds 3 --stop-early 0.9 --out runs/z"), &["nothing to stop"]);
    stage.refused(&format!("{LINE} --few-shot --stop-early --out runs/y"), &["--few-shot"]);
}
