//! Few labels and rare ones: contrastive learning before a head, curves over the number of labels, focus, oversampling, costs.

use crate::stage::{Stage, assert_same_weights, newest_checkpoint, train_line, weights};

const FEW: &str = "train --model bert --data mails.csv --text body --label class --precision f32 --max-length 32 --no-baseline \
                   report.resamples=20 --few-shot --limit 12";

#[test]
fn a_few_texts_teach_the_vectors_then_a_head() {
    let stage = Stage::with_mails();
    let done = stage.ok(&format!("{FEW} --epochs 2 --learning-rate 1e-3 --out runs/few"));
    let said = done.err();
    for part in
        ["first the vectors are taught, in runs/few/vectors", "then a linear head", "pairs drawn from 12"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    let run = stage.path("runs/few");
    for file in
        ["recipe.toml", "resolved.toml", "report.html", "best/model.safetensors", "vectors/best/modules.json"]
    {
        assert!(run.join(file).is_file(), "{file}");
    }
    let answer =
        stage.run(["predict", "runs/few", "free prize call now"]).run().unwrap().expect_code(0).unwrap();
    assert!(answer.out().starts_with("spam"), "{}", answer.out());
    // The encoder is that of the first stage, and no longer the one it started from.
    let first = stage.path("runs/few/vectors/best/model.safetensors");
    let [before, taught, after] =
        [stage.path("bert/model.safetensors"), first, run.join("best/model.safetensors")]
            .map(|path| one_tensor(&path));
    assert!(taught == after && taught != before);
    // The recipe says all of it again.
    stage.ok("train runs/few/recipe.toml --out runs/again");
    assert!(model(&run) == model(&stage.path("runs/again")));
    stage.refused(&format!("{FEW} --out runs/few"), &["runs/few", "there is a run in this folder already"]);
    stage.refused(&format!("{FEW} --out runs/x --freeze encoder"), &["few-shot", "--freeze"]);
    stage.refused(&format!("{FEW} --out runs/x --task regress --label score"), &["few-shot", "classify"]);
}

/// The bytes of a run's best model, with its head.
fn model(run: &std::path::Path) -> Vec<u8> {
    std::fs::read(run.join("best/model.safetensors")).unwrap()
}

/// The bytes of one matrix of the encoder, wherever it stands in the file.
fn one_tensor(path: &std::path::Path) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap();
    let head = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let json: serde_json::Value = serde_json::from_slice(&bytes[8..8 + head]).unwrap();
    let name = "encoder.layer.0.attention.self.query.weight";
    let (_, entry) = json.as_object().unwrap().iter().find(|(key, _)| key.ends_with(name)).unwrap();
    let at = |side: usize| 8 + head + entry["data_offsets"][side].as_u64().unwrap() as usize;
    bytes[at(0)..at(1)].to_vec()
}

#[test]
fn killed_in_either_stage_it_goes_on_to_the_same_bits() {
    let stage = Stage::with_mails();
    let long = format!("{FEW} --epochs 30 train.checkpoint-steps=1");
    stage.ok(&format!("{long} --out runs/whole"));
    let vectors = stage.path("runs/killed/vectors");
    let mut running = stage.run(format!("{long} --out runs/killed").split_whitespace()).spawn().unwrap();
    assert!(running.wait_until(|_| newest_checkpoint(&vectors).is_some_and(|step| step >= 4)));
    assert_eq!(running.kill().unwrap().code, None);
    assert!(!stage.path("runs/killed/resolved.toml").is_file(), "killed too late to prove anything");
    let mut running = stage.run(["train", "--resume", "runs/killed"]).spawn().unwrap();
    let run = stage.path("runs/killed");
    assert!(running.wait_until(|_| newest_checkpoint(&run).is_some_and(|step| step >= 4)));
    assert_eq!(running.kill().unwrap().code, None);
    assert!(!run.join("report.html").is_file(), "killed too late to prove anything");
    let recipe = |run: &str| std::fs::read_to_string(stage.path(run).join("recipe.toml")).unwrap();
    assert_eq!(recipe("runs/killed"), recipe("runs/whole"), "what was given, in every stage");
    stage.ok("train --resume runs/killed");
    assert_same_weights(&stage.path("runs/whole/vectors"), &vectors);
    assert!(model(&stage.path("runs/whole")) == model(&stage.path("runs/killed")));
}

#[test]
fn a_curve_over_labels_goes_on_where_it_was_stopped() {
    let stage = Stage::with_mails();
    let line = "learning-curve --model bert --data mails.csv --text body --label class --precision f32 --max-length 32 \
                --labels 8,24,all --methods linear,frozen,few-shot,fine-tuned --seeds 2 --out runs/curve report.resamples=20 \
                train.epochs=2";
    let out = stage.ok(line).out();
    for part in [
        "8 labels",
        "24 labels",
        "linear",
        "frozen",
        "few-shot",
        "fine-tuned",
        "±",
        "of 2 seeds",
        "report.html",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }
    let page = std::fs::read_to_string(stage.path("runs/curve/report.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("by number of labelled texts"));
    // Nothing is trained again: the weights of a run that is thrown away stay away.
    let weights = stage.path("runs/curve/fine-tuned/8/seed-0/best/model.safetensors");
    std::fs::remove_file(&weights).unwrap();
    let again = stage.ok(&format!("{line} --json")).out();
    assert!(!weights.exists());
    let page: serde_json::Value = serde_json::from_str(&again).unwrap();
    let runs = page["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 4 * 3 * 2, "{again}");
    let labels = |method: &str| -> Vec<u64> {
        let of = runs.iter().filter(|run| run["method"] == method && run["seed"] == 0);
        of.map(|run| run["labels"].as_u64().unwrap()).collect()
    };
    assert_eq!(labels("linear"), labels("few-shot"));
    assert_eq!(labels("linear")[..2], [8, 24]);
    // On every label the frozen encoder and the fine-tuned one answered the same texts.
    assert!(runs.iter().all(|run| run["texts"] == runs[0]["texts"]));
    stage.refused(&line.replace("epochs=2", "epochs=3"), &["other settings", "epochs"]);
    stage.refused(&line.replace("8,24", "1,24"), &["at least 2"]);
    stage.refused(&line.replace("few-shot", "fewshot"), &["did you mean \"few-shot\""]);
}

#[test]
fn focus_oversampling_and_costs_change_what_is_learnt_and_answered() {
    let stage = Stage::with_mails();
    stage.train("runs/plain", "");
    for (name, option) in
        [("focal", "--focal 2"), ("often", "--oversample"), ("weights", "--class-weights balanced")]
    {
        let out = format!("runs/{name}");
        stage.train(&out, option);
        assert!(weights(&stage.path("runs/plain")) != weights(&stage.path(&out)), "{option} changes nothing");
    }
    let resolved = std::fs::read_to_string(stage.path("runs/often/resolved.toml")).unwrap();
    assert!(resolved.contains("oversample = true"), "{resolved}");
    stage.train("runs/again", "--oversample");
    assert_same_weights(&stage.path("runs/often"), &stage.path("runs/again"));

    // A spam that is missed costs so much that everything is called spam.
    let line = train_line("runs/dear", "");
    let mut args: Vec<&str> = line.split_whitespace().collect();
    args.extend(["--cost", "spam as ham = 1000000"]);
    stage.run(args).run().unwrap().expect_code(0).unwrap();
    assert_same_weights(&stage.path("runs/plain"), &stage.path("runs/dear"));
    let report = std::fs::read_to_string(stage.path("runs/dear/report.html")).unwrap();
    assert!(report.contains("of least expected cost"));
    let measured = std::fs::read_to_string(stage.path("runs/dear/metrics.json")).unwrap();
    let measured: serde_json::Value = serde_json::from_str(&measured).unwrap();
    let [chosen, likeliest] = ["chosen", "likeliest"].map(|key| measured["costs"][key].as_f64().unwrap());
    assert!(chosen <= 1.0 && chosen <= likeliest, "{measured}");
    for text in ["thanks see you tomorrow", "free prize"] {
        let answer = stage.run(["predict", "runs/dear", text]).run().unwrap().expect_code(0).unwrap().out();
        assert!(answer.starts_with("spam"), "{answer}");
    }
    let eval = stage.ok("eval runs/dear --data mails.csv --text body --label class");
    assert!((eval.out() + &eval.err()).contains("least expected cost"));

    let refused = |more: &[&str], parts: &[&str]| {
        let line = train_line("runs/no", "");
        let args = line.split_whitespace().chain(more.iter().copied());
        crate::stage::refusal(stage.run(args).run().unwrap(), &more.join(" "), parts);
        assert!(!stage.path("runs/no/log.jsonl").exists(), "refused before training");
    };
    refused(&["--cost", "span as ham = 2"], &["did you mean \"spam\""]);
    refused(&["--cost", "spam as ham"], &["there is no ="]);
    refused(&["--focal=-1"], &["task.focal"]);
    refused(&["--focal", "2", "task.smoothing=0.1"], &["take one of them"]);
    refused(&["--task", "regress", "--label", "score", "--oversample"], &["class"]);
    let notes = stage.path("runs/dear/best/topwork.json");
    let text = std::fs::read_to_string(&notes).unwrap();
    let mut broken: serde_json::Value = serde_json::from_str(&text).unwrap();
    broken["costs"] = serde_json::json!([[0.0, 1.0, 2.0], [1.0, 0.0, 2.0], [1.0, 2.0, 0.0]]);
    std::fs::write(&notes, broken.to_string()).unwrap();
    stage.refused("predict runs/dear free", &["topwork.json", "of 3 labels"]);
    broken["costs"] = serde_json::json!("dear");
    std::fs::write(&notes, broken.to_string()).unwrap();
    stage.refused("predict runs/dear free", &["topwork.json", "costs"]);
}
