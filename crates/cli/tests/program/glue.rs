//! Data sets by name and the tasks of GLUE, in a folder laid out as GLUE is, with a tiny model.

use std::fmt::Write as _;

use crate::stage::{Stage, assert_same_weights, newest_checkpoint};

const QUICK: &str =
    "--precision f32 --batch 8 --epochs 2 --learning-rate 3e-3 --max-length 32 report.resamples=20";

/// Short texts of two kinds, in words the tiny model knows; letters keep them apart.
fn text(row: usize, salt: usize) -> String {
    let words: [&str; 4] = if row.is_multiple_of(2) {
        ["free", "win", "prize", "money"]
    } else {
        ["meet", "lunch", "thanks", "see"]
    };
    let mut state = (row * 31 + salt * 7 + 1) as u64;
    let mut next = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut text: Vec<String> = (0..5).map(|_| words[next(4) as usize].to_string()).collect();
    text.push((0..8).map(|_| char::from(b'a' + next(26) as u8)).collect());
    text.join(" ")
}

/// A table: a header if there is one, and as many rows as asked for.
fn table(header: &str, rows: usize, row: impl Fn(usize) -> String) -> String {
    let mut page = String::new();
    if !header.is_empty() {
        let _ = writeln!(page, "{header}");
    }
    (0..rows).for_each(|at| writeln!(page, "{}", row(at)).unwrap());
    page
}

/// Some of GLUE below `data/glue`: two thirds of the labels go with the kind of text.
fn benchmark(stage: &Stage, tasks: &[&str]) {
    let put = |name: &str, page: String| {
        stage.program.file(&format!("data/glue/{name}"), page).unwrap();
    };
    let two = |row: usize| row % 2;
    let relation = |row: usize| ["entailment", "neutral", "contradiction"][row % 3];
    for (split, rows) in [("train", 48), ("dev", 24)] {
        let salt = rows;
        for task in tasks {
            match *task {
                "sst2" => put(
                    &format!("SST-2/{split}.tsv"),
                    table("sentence\tlabel", rows, |row| format!("{}\t{}", text(row, salt), two(row))),
                ),
                "cola" => put(
                    &format!("CoLA/{split}.tsv"),
                    table("", rows, |row| format!("gj04\t{}\t\t{}", two(row), text(row, salt + 1))),
                ),
                "mrpc" => put(
                    &format!("MRPC/{split}.tsv"),
                    table("Quality\t#1 ID\t#2 ID\t#1 String\t#2 String", rows, |row| {
                        let (first, second) = (text(row, salt + 2), text(row + row / 2, salt + 3));
                        format!("{}\t{row}\t{}\t{first}\t{second}", usize::from(row % 3 > 0), row + 900)
                    }),
                ),
                "stsb" => put(
                    &format!("STS-B/{split}.tsv"),
                    table("index\tsentence1\tsentence2\tscore", rows, |row| {
                        let (first, second) = (text(row, salt + 4), text(row, salt + 5));
                        format!("{row}\t{first}\t{second}\t{}.{}00", two(row) * 3, row % 7)
                    }),
                ),
                "mnli" => {
                    let names =
                        if split == "train" { vec!["train"] } else { vec!["dev_matched", "dev_mismatched"] };
                    for (at, name) in names.iter().enumerate() {
                        put(
                            &format!("MNLI/{name}.tsv"),
                            table("index\tsentence1\tsentence2\tgold_label", rows, |row| {
                                let (first, second) = (text(row, salt + 6 + at), text(row, salt + 8));
                                format!("{row}\t{first}\t{second}\t{}", relation(row))
                            }),
                        );
                    }
                }
                other => panic!("{other}"),
            }
        }
    }
    for task in tasks {
        let one = |row: usize| format!("{row}\t{}", text(row, 100));
        let pair = |row: usize| format!("{row}\t{}\t{}", text(row, 101), text(row, 102));
        match *task {
            "sst2" => put("SST-2/test.tsv", table("index\tsentence", 9, one)),
            "cola" => put("CoLA/test.tsv", table("index\tsentence", 7, one)),
            "mrpc" => put(
                "MRPC/test.tsv",
                table("index\t#1 ID\t#2 ID\t#1 String\t#2 String", 6, |row| {
                    format!("{row}\t1\t2\t{}\t{}", text(row, 103), text(row, 104))
                }),
            ),
            // No official test set of this one here.
            "stsb" => {}
            "mnli" => {
                put("MNLI/test_matched.tsv", table("index\tsentence1\tsentence2", 5, pair));
                put("MNLI/test_mismatched.tsv", table("index\tsentence1\tsentence2", 4, pair));
                put("diagnostic/diagnostic.tsv", table("index\tsentence1\tsentence2", 3, pair));
            }
            other => panic!("{other}"),
        }
    }
}

/// The answers of a file for the leaderboard, whose lines are counted through.
fn answers(stage: &Stage, name: &str) -> Vec<String> {
    let page = std::fs::read_to_string(stage.path("runs/glue/submission").join(name)).unwrap();
    let mut lines = page.lines();
    assert_eq!(lines.next(), Some("index\tprediction"), "{name}");
    let rows = lines.enumerate().map(|(at, line)| {
        let (index, answer) = line.split_once('\t').unwrap();
        assert_eq!(index, at.to_string(), "{name}");
        answer.to_string()
    });
    rows.collect()
}

#[test]
fn tasks_that_are_there_become_a_table_a_report_and_files_for_the_leaderboard() {
    let stage = Stage::new();
    stage.model("bert");
    benchmark(&stage, &["cola", "sst2", "mrpc", "stsb", "mnli"]);
    let command = format!("glue --model bert --data-home data --out runs/glue {QUICK}");
    let done = stage.ok(&command);
    let (out, err) = (done.out(), done.err());
    let rows = ["cola  ", "sst2  ", "mrpc  ", "stsb  ", "mnli  ", "mean of 5 of 9 tasks"];
    for part in rows {
        assert!(out.lines().any(|line| line.starts_with(part)), "{part}: {out}");
    }
    for part in [
        "f1 / accuracy",
        "pearson / spearman",
        "accuracy (matched) / accuracy (mismatched)",
        "qqp was left out",
        "wnli was left out",
        "the official development set chose the checkpoint",
        "no STS-B.tsv for the leaderboard",
    ] {
        assert!(out.to_lowercase().contains(&part.to_lowercase()), "{part}: {out}");
    }
    assert!(err.contains("data/glue/QNLI/train.tsv"), "what is missing is named: {err}");
    for (file, count, known) in [
        ("CoLA.tsv", 7, &["0", "1"][..]),
        ("SST-2.tsv", 9, &["0", "1"]),
        ("MRPC.tsv", 6, &["0", "1"]),
        ("MNLI-m.tsv", 5, &["entailment", "neutral", "contradiction"]),
        ("MNLI-mm.tsv", 4, &["entailment", "neutral", "contradiction"]),
        ("AX.tsv", 3, &["entailment", "neutral", "contradiction"]),
    ] {
        let answers = answers(&stage, file);
        assert_eq!(answers.len(), count, "{file}");
        assert!(answers.iter().all(|answer| known.contains(&answer.as_str())), "{file}: {answers:?}");
    }
    assert!(!stage.path("runs/glue/submission/STS-B.tsv").exists());
    let page = std::fs::read_to_string(stage.path("runs/glue/report.html")).unwrap();
    assert!(page.contains("GLUE: bert") && page.contains("accuracy (mismatched)"));

    // Finished runs are taken as they are.
    let log = |task: &str| {
        let run =
            std::fs::read_dir(stage.path("runs/glue").join(task)).unwrap().next().unwrap().unwrap().path();
        std::fs::read(run.join("log.jsonl")).unwrap()
    };
    let before = log("mrpc");
    let again = stage.ok(&command);
    assert_eq!(again.out(), out);
    assert_eq!(again.err().matches(" is done: ").count(), 5, "{}", again.err());
    assert!(log("mrpc") == before);
    let page = stage.ok(&format!("{command} --tasks cola,mrpc --json")).out();
    let page: serde_json::Value = serde_json::from_str(&page).unwrap();
    assert_eq!(page["runs"].as_array().unwrap().len(), 2);
    let (f1, accuracy) = (&page["runs"][1]["values"][0]["value"], &page["runs"][1]["values"][1]["value"]);
    let mean = (f1.as_f64().unwrap() + accuracy.as_f64().unwrap()) / 2.0;
    assert!((page["tasks"]["mrpc"].as_f64().unwrap() - mean).abs() < 1e-12, "{page}");

    // Other settings would put scores into one table that do not belong together.
    let other = command.replace("--epochs 2", "--epochs 3");
    stage.refused(&other, &["started with other settings", "epochs = 2", "epochs = 3"]);
    stage.refused(&format!("{command} --tasks rte"), &["data set glue/rte", "data/glue/RTE/train.tsv"]);
    stage.refused(&format!("{command} --tasks mprc"), &["did you mean \"mrpc\""]);
}

#[test]
fn killed_it_goes_on_by_the_same_command_to_the_same_bits() {
    let stage = Stage::new();
    stage.model("bert");
    benchmark(&stage, &["sst2"]);
    let command = |out: &str| {
        format!(
            "glue --model bert --tasks sst2 --seeds 2 --seed 5 --data-home data --out {out} {} train.checkpoint-steps=1",
            QUICK.replace("--epochs 2", "--epochs 16")
        )
    };
    stage.ok(&command("runs/whole"));
    let (first, second) = (stage.path("runs/killed/sst2/seed-5"), stage.path("runs/killed/sst2/seed-6"));
    let last = newest_checkpoint(&stage.path("runs/whole/sst2/seed-5")).unwrap();
    for (run, from) in [(&first, last / 3), (&second, last / 2)] {
        let mut running = stage.run(command("runs/killed").split_whitespace()).spawn().unwrap();
        assert!(
            running.wait_until(|_| newest_checkpoint(run).is_some_and(|step| step >= from)),
            "{:?}",
            running.output()
        );
        assert_eq!(running.kill().unwrap().code, None);
        assert!(newest_checkpoint(run).unwrap() < last, "killed too late to prove anything");
    }
    assert!(first.join("glue.json").is_file() && !second.join("glue.json").exists());
    let done = stage.ok(&command("runs/killed"));
    assert!(done.err().contains("of them done") && done.out().contains(" ± "), "{}", done.err());
    for seed in ["seed-5", "seed-6"] {
        assert_same_weights(
            &stage.path("runs/whole/sst2").join(seed),
            &stage.path("runs/killed/sst2").join(seed),
        );
    }
    let file = |out: &str| std::fs::read_to_string(stage.path(out).join("submission/SST-2.tsv")).unwrap();
    assert_eq!(file("runs/whole"), file("runs/killed"));
}

#[test]
fn a_data_set_is_used_by_its_name_and_answers_in_the_names_of_its_classes() {
    let stage = Stage::new();
    stage.model("bert");
    benchmark(&stage, &["sst2"]);
    let quick = format!("{QUICK} --no-baseline");
    let done =
        stage.ok(&format!("train --model bert --data glue/sst2 --data-home data --out runs/sst2 {quick}"));
    assert!(done.err().contains("the test labels are not public"), "{}", done.err());
    assert!(done.out().contains("positive") && done.out().contains("negative"), "{}", done.out());
    let resolved = std::fs::read_to_string(stage.path("runs/sst2/resolved.toml")).unwrap();
    for part in ["set = \"glue/sst2\"", "SST-2/train.tsv", "metric = \"accuracy\"", "kind = \"classify\""] {
        assert!(resolved.contains(part), "{part}: {resolved}");
    }
    let given = std::fs::read_to_string(stage.path("runs/sst2/recipe.toml")).unwrap();
    assert!(given.contains("glue/sst2") && !given.contains("train.tsv"), "{given}");
    // The folder of data sets may be in the environment; a recipe may name the set.
    stage.program.file("named.toml", "model = \"bert\"\n[data]\nset = \"glue/sst2\"\n").unwrap();
    let line = format!("train named.toml --out runs/named {quick}");
    let done =
        stage.run(line.split_whitespace()).env("TOPWORK_DATA", "data").run().unwrap().expect_code(0).unwrap();
    assert!(done.err().contains("data set glue/sst2"), "{}", done.err());
    assert_same_weights(&stage.path("runs/sst2"), &stage.path("runs/named"));
    assert!(stage.ok("train --resume runs/named").out().contains("test data:"));

    let done = stage.ok("eval runs/sst2 --data glue/sst2 --data-home data --json --at-least accuracy=0.1");
    let page: serde_json::Value = serde_json::from_str(&done.out()).unwrap();
    assert_eq!(page["evaluation"]["examples"], 24);
    assert!(done.err().contains("the development split"), "{}", done.err());
    let done = stage.ok("data show glue/sst2 --data-home data");
    assert!(done.out().contains("negative") && done.out().contains("48 rows"), "{}", done.out());
    assert!(done.err().contains("67349 / 872 / - examples"), "{}", done.err());
    let broken = "sentence\tlabel\nfree money\t1\nno label\nmeet you\t0\n";
    stage.program.file("broken/glue/SST-2/train.tsv", broken).unwrap();
    stage.program.file("broken/glue/SST-2/dev.tsv", broken).unwrap();
    stage.refused("data show glue/sst2 --data-home broken", &["line 3", "skip-bad-rows"]);
    let done = stage.ok("data show glue/sst2 --data-home broken --skip-bad-rows");
    assert!(done.out().contains("1 rows left out: another number of fields (rows 3)"), "{}", done.out());

    stage.refused(
        "train --model bert --data glue/sst2 --out runs/x",
        &["data set glue/sst2", "--data-home FOLDER", "FOLDER/glue/SST-2/train.tsv", "hf:nyu-mll/glue"],
    );
    stage.refused("train --model bert --data trec --out runs/x", &["data set trec", "hf:trec", "--offline"]);
    stage.refused(
        "train --model bert --data glue/sst3 --out runs/x",
        &["did you mean the data set \"glue/sst2\""],
    );
    stage.refused("train --model bert data.set=glue/sts2 --out runs/x", &["no data set \"glue/sts2\""]);
    // What is on this machine comes before a name.
    stage.program.file("trec", "text,label\nfree money,a\nmeet you,b\n").unwrap();
    assert!(stage.ok("data show trec").out().contains("2 rows"));
}
