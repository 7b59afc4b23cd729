//! A run from a file to a report, and what may not change its bits.

use crate::stage::{Stage, assert_same_weights, train_line};

#[test]
fn a_labelled_file_becomes_a_model_that_answers() {
    let stage = Stage::with_mails();
    let command = train_line("runs/first", "train.epochs=12").replace("--no-baseline ", "");
    let done = stage.ok(&command);
    let (out, err) = (done.out(), done.err());
    for part in [
        "test data:",
        "class",
        "precision",
        "ham",
        "spam",
        "baseline (TF-IDF, linear)",
        "topwork predict runs/first/best",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }
    for part in
        ["mails.csv: csv, 72 rows", "maximum length 32 tokens (as given)", "loaded", "step", "tokens/s"]
    {
        assert!(err.contains(part), "{part}: {err}");
    }
    let run = stage.path("runs/first");
    for file in [
        "recipe.toml",
        "resolved.toml",
        "log.jsonl",
        "report.html",
        "card.md",
        "metrics.json",
        "best/config.json",
        "best/model.safetensors",
        "best/tokenizer.json",
    ] {
        assert!(run.join(file).is_file(), "{file}");
    }
    let answers = stage
        .run(["predict", "runs/first", "free prize call now", "thanks see you tomorrow"])
        .run()
        .unwrap()
        .expect_code(0)
        .unwrap()
        .out();
    let labels: Vec<&str> = answers.lines().filter_map(|line| line.split('\t').next()).collect();
    assert_eq!(labels, ["spam", "ham"], "{answers}");

    let page = stage.ok("eval runs/first --data mails.csv --text body --label class --at-least f1=0.5").out();
    assert!(page.contains("72 examples") && page.contains("accuracy"), "{page}");
    let args = "eval runs/first --data mails.csv --text body --label class --json --at-least log-loss=0.0001";
    let done = stage.run(args.split(' ')).run().unwrap().expect_code(1).unwrap();
    let page: serde_json::Value = serde_json::from_str(&done.out()).unwrap();
    assert_eq!(page["evaluation"]["examples"], 72);
    assert!(done.err().contains("log-loss is") && done.err().contains("above 0.0001"), "{}", done.err());
}

#[test]
fn one_thread_and_two_give_the_same_bits() {
    let stage = Stage::with_mails();
    stage.train("runs/one", "--threads 1");
    stage.train("runs/two", "--threads 2");
    assert_same_weights(&stage.path("runs/one"), &stage.path("runs/two"));
    stage.train("runs/other", "--seed 5");
    let differ =
        crate::stage::weights(&stage.path("runs/one")) != crate::stage::weights(&stage.path("runs/other"));
    assert!(differ, "another seed gives other weights, or this test sees nothing");
}

#[test]
fn a_frozen_encoder_keeps_its_bytes() {
    let stage = Stage::with_mails();
    stage.train("runs/frozen", "--freeze encoder");
    let before = stage.path("bert/model.safetensors");
    let after = stage.path("runs/frozen/best/model.safetensors");
    let (before, after) = (tensors(&before), tensors(&after));
    let (mut seen, mut pooler) = (0, 0);
    for (name, bytes) in &before {
        let Some(bare) = name.strip_prefix("bert.") else { continue };
        let found = after.iter().find(|(other, _)| other == name || other == bare);
        assert!(found.is_some_and(|(_, other)| other == bytes), "{name}");
        seen += 1;
        pooler += usize::from(bare.starts_with("pooler."));
    }
    // The mean of all tokens does not go through the pooler, which is kept all the same.
    assert!(seen > 30 && pooler == 2, "{seen} {pooler}");
}

/// Names and bytes of the tensors of a safetensors file, read by hand.
fn tensors(path: &std::path::Path) -> Vec<(String, Vec<u8>)> {
    let bytes = std::fs::read(path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let entries = header.as_object().unwrap().iter().filter(|(name, _)| *name != "__metadata__");
    entries
        .map(|(name, entry)| {
            let at = |end: usize| 8 + length + entry["data_offsets"][end].as_u64().unwrap() as usize;
            (name.clone(), bytes[at(0)..at(1)].to_vec())
        })
        .collect()
}

#[test]
fn a_second_run_into_the_same_folder_is_refused() {
    let stage = Stage::with_mails();
    stage.train("runs/a", "");
    let model = std::fs::read(stage.path("runs/a/best/model.safetensors")).unwrap();
    stage.refused(&train_line("runs/a", ""), &["runs/a", "--resume runs/a", "--out"]);
    assert_eq!(std::fs::read(stage.path("runs/a/best/model.safetensors")).unwrap(), model);
    // Without --out a free name is found.
    let line = train_line("X", "").replace("--out X", "");
    assert!(stage.ok(&line).err().contains("run folder: runs/mails\n"));
    assert!(stage.ok(&line).err().contains("run folder: runs/mails-2\n"));
}

#[test]
fn recipes_options_and_settings_stand_above_each_other() {
    let stage = Stage::with_mails();
    let recipe = "model = \"bert\"\n[data]\ntrain = \"mails.csv\"\ntext = \"body\"\nlabel = [\"class\"]\n[batch]\n\
                  examples = 8\n[train]\nepochs = 1\nprecision = \"f32\"\nlearning-rate = 1e-3\n[report]\nbaseline = false\n";
    stage.program.file("spam.toml", recipe).unwrap();
    stage.ok("train spam.toml --epochs 2 --out runs/a --schedule cosine train.seed=9 report.resamples=0");
    let resolved = std::fs::read_to_string(stage.path("runs/a/resolved.toml")).unwrap();
    for part in ["epochs = 2", "seed = 9", "schedule = \"cosine\"", "learning-rate = 0.001", "max-length = "]
    {
        assert!(resolved.contains(part), "{part}: {resolved}");
    }
    // What was resolved, run again, gives the same weights.
    stage.ok("train runs/a/resolved.toml --out runs/b");
    assert_same_weights(&stage.path("runs/a"), &stage.path("runs/b"));

    stage.refused("train spam.toml train.epoch=3 --out runs/c", &["epoch", "did you mean `epochs`"]);
    stage.refused("train spam.toml --schedule cosin --out runs/c", &["did you mean \"cosine\""]);
    stage.refused("train spam.toml --freeze nothing.here --out runs/c", &["nothing.here"]);
    stage.refused("train spam.toml other.toml", &["one recipe at a time"]);
    stage.refused("train nothing.toml", &["nothing.toml"]);
    stage.refused("train --data mails.csv", &["no model", "--model"]);
    stage.refused("train --model bert", &["no data", "--data"]);
    stage.refused("train --resume runs/nothing", &["runs/nothing", "no run to resume"]);
}

#[test]
fn pairs_scores_and_several_labels_are_learnt_too() {
    let stage = Stage::with_mails();
    let quick = "--precision f32 --batch 8 --epochs 2 --no-baseline report.resamples=0";
    stage.ok(&format!(
        "train --model bert --data mails.csv --text body --label score --task regress --out runs/score {quick}"
    ));
    let line = stage.ok("predict runs/score win").out();
    assert!(line.split('\t').next().unwrap().parse::<f64>().unwrap().is_finite(), "{line}");

    let mut pairs = String::from("first,second,same\n");
    let mut several = String::from("body,tags\n");
    for (at, row) in crate::stage::mails(48).lines().skip(1).enumerate() {
        let body = row.split(',').next().unwrap();
        let other = if at % 2 == 0 { body.to_string() } else { format!("\"good {at} lunch\"") };
        pairs.push_str(&format!("{body},{other},{}\n", if at % 2 == 0 { "yes" } else { "no" }));
        several.push_str(&format!("{body},{}\n", ["a", "b", "a|b", ""][at % 4]));
    }
    stage.program.file("pairs.csv", pairs).unwrap();
    let data = "--data pairs.csv --text first --pair second --label same";
    let out = stage.ok(&format!("train --model bert {data} --out runs/pairs {quick}")).out();
    assert!(out.contains("--pair"), "{out}");
    let line = stage.ok("predict runs/pairs win --pair win --json").out();
    assert!(line.contains("\"pair\":\"win\""), "{line}");

    stage.program.file("several.csv", several).unwrap();
    let data = "--data several.csv --text body --label tags --task multi-label";
    stage.ok(&format!("train --model bert {data} --out runs/several {quick}"));
    let line = stage.ok("predict runs/several win --json").out();
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert!(line["labels"].is_array() && line["probabilities"]["a"].is_number(), "{line}");
}
