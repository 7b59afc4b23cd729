//! Adapters in folders of their own: what a user types, and what comes of it.

use serde_json::Value;

use crate::stage::{QUICK, Stage, fixture};

/// The folder of a fixture's adapter, copied, with what it calls its model changed.
fn adapter(stage: &Stage, from: &str, to: &str, base: &str) {
    for entry in fixture(from).read_dir().unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_string();
        let mut content = std::fs::read(&path).unwrap();
        if name.ends_with("_config.json") {
            let mut config: Value = serde_json::from_slice(&content).unwrap();
            for key in ["base_model_name_or_path", "model_name"] {
                if config.get(key).is_some() {
                    config[key] = base.into();
                }
            }
            content = config.to_string().into_bytes();
        }
        stage.program.file(&format!("{to}/{name}"), content).unwrap();
    }
}

/// The tiny model of the fixtures' adapters, with a tokenizer.
fn relu(stage: &Stage) {
    for file in ["config.json", "model.safetensors"] {
        stage
            .program
            .file(&format!("relu/{file}"), std::fs::read(fixture("bert/relu").join(file)).unwrap())
            .unwrap();
    }
    let words = std::fs::read_to_string(fixture("bert/vocab.txt")).unwrap();
    let few: String = words.lines().take(60).map(|word| format!("{word}\n")).collect();
    stage.program.file("relu/vocab.txt", few).unwrap();
}

#[test]
fn adapters_of_peft_and_of_adapter_hub_are_models_with_their_base() {
    let stage = Stage::with_mails();
    relu(&stage);
    adapter(&stage, "adapters/seq-cls", "a", "relu");
    adapter(&stage, "bottleneck/with-head", "b", "somewhere/else");
    // It says itself which model it is for, or the user does.
    let alone = stage.ok("predict a good --precision f32 --json").out();
    assert_eq!(stage.ok("predict relu --adapter-file a good --precision f32 --json").out(), alone);
    let answer: Value = serde_json::from_str(&alone).unwrap();
    assert_eq!(answer["probabilities"].as_object().unwrap().len(), 4, "{alone}");
    stage.refused("predict b good", &["somewhere/else"]);
    let other = stage.run(["predict", "b on relu", "good", "--json", "--precision=f32"]).run().unwrap();
    let other = other.expect_code(0).unwrap().out();

    // Both over one model: the same answers, each with its adapter's name.
    let both =
        stage.ok("predict relu --adapter-file a --adapter-file b good free --json --precision f32").out();
    let lines: Vec<Value> = both.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let order: Vec<(&str, &str)> = lines
        .iter()
        .map(|line| (line["text"].as_str().unwrap(), line["adapter"].as_str().unwrap()))
        .collect();
    assert_eq!(order, [("good", "a"), ("good", "b"), ("free", "a"), ("free", "b")]);
    let other: Value = serde_json::from_str(&other).unwrap();
    assert_eq!(
        (&lines[0]["probabilities"], &lines[1]["probabilities"]),
        (&answer["probabilities"], &other["probabilities"])
    );
    let plain = stage.ok("predict relu --adapter-file a --adapter-file b good").out();
    assert!(
        plain.starts_with("a\tLABEL_") && plain.lines().nth(1).unwrap().starts_with("b\tLABEL_"),
        "{plain}"
    );
    stage.refused("predict relu --adapter-file a --adapter-file b good --csv", &["--json"]);
    stage.refused("predict relu --adapter-file bert good", &["adapter_config.json"]);
    stage.refused("predict bert --adapter-file a good", &["adapter"]);
    stage.refused("eval relu --adapter-file a --adapter-file b --data mails.csv", &["takes one"]);

    let shown = stage.ok("model show a").out();
    assert!(shown.contains("adapter ") && shown.contains("LABEL_3"), "{shown}");

    // Merged it is a model like others, with the same answers; taken out again, the model it was.
    stage.ok("model merge a --out merged");
    let merged = stage.ok("predict merged good --precision f32 --json").out();
    let merged: Value = serde_json::from_str(&merged).unwrap();
    for (label, probability) in answer["probabilities"].as_object().unwrap() {
        let apart = (merged["probabilities"][label].as_f64().unwrap() - probability.as_f64().unwrap()).abs();
        assert!(apart < 1e-5, "{label}: {apart}");
    }
    stage.ok("model unmerge merged --adapter-file a --out again");
    assert!(stage.path("again/model.safetensors").is_file());
    stage.refused("model merge b --base relu --out c", &["cannot be merged"]);
    stage.refused("model merge a --out merged", &["there already"]);
    assert!(!stage.path("c").exists());
}

#[test]
fn what_was_trained_here_goes_on_over_another_copy_of_its_model() {
    let stage = Stage::with_mails();
    for (kind, run) in [
        ("lora:rank=2", "runs/lora"),
        ("qlora:rank=2", "runs/qlora"),
        ("houlsby:reduction=8", "runs/houlsby"),
        ("prompt:tokens=4", "runs/prompt"),
        ("prefix:tokens=4,inner=8", "runs/prefix"),
    ] {
        stage.train(run, &format!("--adapter {kind}"));
        let whole = stage.ok(&format!("predict {run} free --json --precision f32")).out();
        // Over the model that it was trained from: adapter and head are all there is beside it.
        let own = stage.ok(&format!("predict bert --adapter-file {run} free --json --precision f32")).out();
        let (whole, own): (Value, Value) =
            (serde_json::from_str(&whole).unwrap(), serde_json::from_str(&own).unwrap());
        assert_eq!(own["label"], whole["label"]);
        for (label, probability) in whole["probabilities"].as_object().unwrap() {
            let apart = (own["probabilities"][label].as_f64().unwrap() - probability.as_f64().unwrap()).abs();
            assert!(apart < 1e-5, "{kind}, {label}: {apart}");
        }
        let adapter = format!("{run}/best/adapter");
        let scores =
            stage.ok(&format!("eval {adapter} --data mails.csv --text body --label class --json")).out();
        let page: Value = serde_json::from_str(&scores).unwrap();
        assert!(page["evaluation"]["measured"].is_object() || page["evaluation"].is_object(), "{scores}");
        // It goes on learning.
        let model = format!("{adapter} on bert");
        let line = ["train", "--model", &model, "--data", "mails.csv", "--out", &format!("{run}-2")];
        let done = stage.run(line.into_iter().chain(QUICK)).run().unwrap().expect_code(0).unwrap();
        // peft's files do not say in how many bits the model lies.
        let name = kind.split(':').next().unwrap().trim_start_matches('q');
        assert!(done.err().contains(&format!("adapter {name}: ")), "{}", done.err());
        stage.ok(&format!("predict {run}-2 free"));
    }
}

#[test]
fn virtual_tokens_leave_texts_the_places_that_are_left() {
    let stage = Stage::with_mails();
    let line = |more: &str| {
        let quick = QUICK
            .iter()
            .filter(|option| !option.contains("max-length"))
            .copied()
            .collect::<Vec<_>>()
            .join(" ");
        format!("train --model bert --data mails.csv {quick} {more}")
    };
    let config = std::fs::read_to_string(stage.path("bert/config.json")).unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    let most = config["max_position_embeddings"].as_u64().unwrap() as usize;
    stage.refused(
        &line(&format!("--adapter prompt:tokens=5 --out runs/none --max-length={}", most - 4)),
        &[&format!("positions for {} tokens", most - 5)],
    );
    stage.ok(&line(&format!("--adapter prompt:tokens=5 --out runs/prompt --max-length={}", most - 5)));
    let long = vec!["free"; 3 * most].join(" ");
    let answer =
        stage.run(["predict", "runs/prompt", "--json", &long]).run().unwrap().expect_code(0).unwrap().out();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["tokens"].as_u64().unwrap() as usize, most - 5, "{answer}");
    let card = std::fs::read_to_string(stage.path("runs/prompt/best/README.md")).unwrap();
    assert!(card.contains("PeftModel.from_pretrained"), "{card}");
    stage.refused("model merge runs/prompt/best --out merged", &["cannot be merged"]);
    stage.refused(&line("--adapter prompt:tokens=0 --out runs/none"), &["at least 1"]);
}

#[test]
fn adapters_are_mixed_and_taken_out_of_layers() {
    let stage = Stage::with_mails();
    stage.train("runs/one", "--adapter pfeiffer:reduction=4");
    stage.train("runs/two", "--adapter pfeiffer:reduction=8");
    let done = stage.train("runs/both", "--adapter fusion:adapters=runs/one+runs/two/best");
    assert!(done.err().contains("adapter fusion of one and two: "), "{}", done.err());
    let answer = |what: &str| -> Value {
        serde_json::from_str(&stage.ok(&format!("predict {what} free --json --precision f32")).out()).unwrap()
    };
    let whole = answer("runs/both");
    // All of it lies in the run: what it was made of may go.
    std::fs::remove_dir_all(stage.path("runs/one")).unwrap();
    assert_eq!(answer("runs/both"), whole);
    assert_eq!(answer("bert --adapter-file runs/both")["probabilities"], whole["probabilities"]);
    let card = std::fs::read_to_string(stage.path("runs/both/best/README.md")).unwrap();
    assert!(
        card.contains("load_adapter_fusion") && card.contains("adapters.Fuse(\"one\", \"two\")"),
        "{card}"
    );
    stage.refused("model merge runs/both/best --out merged", &["cannot be merged"]);
    let line = |more: &str| crate::stage::train_line("runs/none", more);
    stage.refused(&line("--adapter fusion:adapters=runs/two"), &["at least two adapters"]);
    stage.refused(&line("--adapter fusion:adapters=runs/two+runs/one"), &["runs/one", "no adapter"]);
    stage.refused(&line("--adapter fusion"), &["at least two adapters"]);
    stage.refused(&line("--technique adapter-drop"), &["adapter-drop"]);

    stage.train("runs/dropped", "--adapter houlsby:reduction=8 --technique adapter-drop");
    stage.ok("model drop-adapters runs/dropped --layers 1 --out short");
    assert_ne!(answer("short")["probabilities"], answer("runs/dropped")["probabilities"]);
    stage.refused("model drop-adapters runs/dropped --layers 1 --out short", &["short"]);
    stage.refused("model drop-adapters runs/dropped --layers 9 --out none", &["none of its layers"]);
    stage.refused("model drop-adapters bert --layers 1 --out none", &["adapter"]);
}
