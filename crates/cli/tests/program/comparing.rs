//! Techniques, adapters, and comparisons of them: what a user types, and what comes of it.

use serde_json::Value;

use crate::stage::Stage;

const LINE: &str = "compare --model bert --data mails.csv --precision f32 --seeds 2 data.text=body data.label=[\"class\"] \
                    task.max-length=32 batch.examples=8 report.resamples=20 train.epochs=2 train.learning-rate=3e-3";

fn scores(json: &str) -> Vec<(String, u64, f64)> {
    let page: Value = serde_json::from_str(json).unwrap();
    let run = |run: &Value| {
        let score = run["score"].as_f64().unwrap_or(f64::NAN);
        (run["way"].as_str().unwrap().to_string(), run["seed"].as_u64().unwrap(), score)
    };
    page["runs"].as_array().unwrap().iter().map(run).collect()
}

#[test]
fn a_comparison_survives_being_killed_and_says_the_same() {
    let stage = Stage::with_mails();
    let methods = "--methods full,features,lora,gradual";
    let whole = scores(&stage.ok(&format!("{LINE} {methods} --json --out runs/whole")).out());
    assert_eq!(whole.len(), 2 * (4 + 1), "with the linear model: {whole:?}");

    let mut running =
        stage.run(format!("{LINE} {methods} --out runs/killed").split_whitespace()).spawn().unwrap();
    let first = stage.path("runs/killed/mails/full/seed-0/compare.json");
    assert!(running.wait_until(|_| first.is_file()));
    running.kill().unwrap();
    assert!(!stage.path("runs/killed/mails/gradual/seed-1/compare.json").is_file(), "killed too late");
    let before = std::fs::read(&first).unwrap();
    let killed = scores(&stage.ok(&format!("{LINE} {methods} --json --out runs/killed")).out());
    assert_eq!(std::fs::read(&first).unwrap(), before, "what was finished is not done again");
    assert_eq!(killed, whole);
    // No model is kept unless asked for.
    assert!(!stage.path("runs/whole/mails/lora/seed-0/best").exists());
    assert!(stage.path("runs/whole/mails/lora/seed-0/report.html").is_file());

    let out = stage.ok(&format!("{LINE} {methods} --out runs/whole")).out();
    for part in ["against full", "lora", "gradual", "linear", "of 2 seeds", "±", "report.html"] {
        assert!(out.contains(part), "{part}: {out}");
    }
    // In another order, and fewer: what is there is taken.
    let fewer = scores(&stage.ok(&format!("{LINE} --methods lora,full --json --out runs/whole")).out());
    assert_eq!(fewer.len(), 2 * 3);
    assert!(fewer.iter().all(|run| whole.contains(run)), "{fewer:?}");
    stage.ok(&format!("{LINE} {methods} --out runs/whole"));
    let page = std::fs::read_to_string(stage.path("runs/whole/report.html")).unwrap();
    assert!(page.contains("Ways to adapt") && page.contains("against full"));
    stage.refused(&format!("{LINE} --methods full,lorra --out runs/x"), &["did you mean \"lora\""]);
    stage.refused(
        &format!("{LINE} {methods} --out runs/whole train.warmup=0.5"),
        &["other settings", "warmup"],
    );
    stage.refused("compare --model bert --out runs/y", &["no data"]);
    stage.refused("compare --data mails.csv --out runs/y", &["no model"]);
    stage.refused(&format!("{LINE} --data mails.csv --out runs/y"), &["two tasks are called mails"]);
}

#[test]
fn techniques_and_adapters_are_asked_for_by_name() {
    let stage = Stage::with_mails();
    let done = stage.train(
        "runs/layers",
        "--unfreeze gradual --layer-decay 0.9 --technique l2-sp:alpha=0.1 --schedule one-cycle:rise=5 --warmup 0.3",
    );
    let said = done.err();
    assert!(said.contains("after step 0 learn pooler + head:"), "{said}");
    assert!(said.contains("layers.0 (0.810 of the rate)"), "{said}");
    let resolved = std::fs::read_to_string(stage.path("runs/layers/resolved.toml")).unwrap();
    for part in ["order = \"gradual\"", "rate = 0.9", "alpha = 0.1", "rise = 5.0", "warmup = 0.3"] {
        assert!(resolved.contains(part), "{part}: {resolved}");
    }
    let log = std::fs::read_to_string(stage.path("runs/layers/log.jsonl")).unwrap();
    assert_eq!(log.matches("\"event\":\"plan\"").count(), 4, "{log}");

    let said = stage.train("runs/lora", "--adapter lora:rank=2,targets=attn.q+attn.out").err();
    assert!(said.contains("adapter lora: ") && said.contains(" on 4 weights"), "{said}");
    assert!(stage.path("runs/lora/best/adapter/adapter_model.safetensors").is_file());
    stage.ok("predict runs/lora/best hello");
    let page = std::fs::read_to_string(stage.path("runs/lora/report.html")).unwrap();
    assert!(page.contains("rank = 2"), "the recipe stands in the report");

    let said = stage.train("runs/houlsby", "--adapter houlsby:reduction=8,leave-out=0").err();
    assert!(said.contains("adapter houlsby: ") && said.contains(" at the ends of 2 blocks"), "{said}");
    for file in ["adapter/adapter_config.json", "adapter/README.md", "base/model.safetensors", "README.md"] {
        assert!(stage.path("runs/houlsby/best").join(file).is_file(), "{file}");
    }
    stage.ok("predict runs/houlsby/best hello");
    stage.ok("predict runs/houlsby hello");
    stage.ok("eval runs/houlsby/best --data mails.csv --text body --label class");
    let shown = stage.ok("model show runs/houlsby/best").out();
    assert!(shown.contains("adapter "), "{shown}");
    let card = std::fs::read_to_string(stage.path("runs/houlsby/best/README.md")).unwrap();
    assert!(card.contains("transformers opens that half only"), "{card}");
    assert!(card.contains("library_name: adapter-transformers\n"), "{card}");

    let train = |more: &str| format!("{} {more}", crate::stage::train_line("runs/none", ""));
    stage.refused(&train("--technique l2sp"), &["did you mean \"l2-sp\""]);
    stage.refused(&train("--technique l2-sp:alfa=1"), &["alpha, beta"]);
    stage.refused(&train("--unfreeze gradul"), &["chain-thaw"]);
    stage.refused(&train("--layer-decay 1.5"), &["at most 1"]);
    stage.refused(&train("--schedule onecycle"), &["did you mean \"one-cycle\""]);
    stage.refused(&train("--schedule linear:cycles=2"), &["cycles"]);
    stage.refused(&train("--adapter lora:targets=attn.x"), &["attn.q"]);
    stage.refused(&train("--adapter adapters"), &["lora, dora, ia3"]);
    stage.refused(&train("--freeze all --unfreeze sequential"), &["nothing to train in step"]);
}

#[test]
fn static_vectors_have_a_row_and_the_gain_over_them_is_printed() {
    let stage = Stage::with_mails();
    let known = ["meet", "lunch", "free", "win", "prize", "call", "money", "offer"];
    let row = |(at, word): (usize, &&str)| format!("{word} {} {} 0.5\n", at % 3, 1.0 - at as f32 / 4.0);
    std::fs::write(stage.path("words.txt"), known.iter().enumerate().map(row).collect::<String>()).unwrap();
    let line = format!("{LINE} --vectors words.txt --methods static,scalar-mix");
    let done = stage.ok(&format!("{line} --out runs/words"));
    let (out, said) = (done.out(), done.err());
    for part in ["against vectors", "gain over vectors: ", " by scalar-mix", "static", "linear"] {
        assert!(out.contains(part), "{part}: {out}");
    }
    assert!(said.contains("mails: 8 of its words have a vector of words.txt"), "{said}");
    let page = std::fs::read_to_string(stage.path("runs/words/report.html")).unwrap();
    assert!(page.contains("gain over vectors"));
    // The table stays, so the head alone is trained: 2 outputs over 3 numbers.
    let runs: Value =
        serde_json::from_str(&stage.ok(&format!("{line} --json --out runs/words")).out()).unwrap();
    let trained = |way: &str| {
        runs["runs"].as_array().unwrap().iter().find(|run| run["way"] == way).unwrap()["trained"].as_u64()
    };
    assert_eq!(trained("vectors"), Some(2 * 3 + 2));
    assert_eq!(trained("static"), Some(2 * 32 + 2));

    stage.refused(&format!("{LINE} --methods vectors,full --out runs/none"), &["--vectors FILE"]);
    std::fs::write(stage.path("other.txt"), "Wald 1 2\nBaum 2 3\n").unwrap();
    stage.refused(&format!("{LINE} --vectors other.txt --out runs/none"), &["none of the words"]);
    stage.refused(&format!("{LINE} --vectors mails.csv --out runs/none"), &["mails.csv"]);
}

#[test]
fn a_family_with_a_mix_of_its_own_is_held_against_its_own_words() {
    let stage = Stage::new();
    let folder = stage.path("elmo");
    std::fs::create_dir(&folder).unwrap();
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(crate::stage::fixture("elmo").join(file), folder.join(file)).unwrap();
    }
    let mut text = String::new();
    for sentence in 0..40 {
        for word in ["the", "tree", "sticks", "."].iter().cycle().skip(sentence).take(3 + sentence % 4) {
            text.push_str(&format!("{word} {}\n", if *word == "tree" { "B-X" } else { "O" }));
        }
        text.push_str(&format!("w{sentence} O\n\n"));
    }
    std::fs::write(stage.path("words.conll"), text).unwrap();
    let done = stage.ok(
        "compare --model elmo --data words.conll --methods static,scalar-mix --seeds 1 --precision f32 --out runs/elmo \
         train.epochs=2 report.resamples=20 data.dev=words.conll data.test=words.conll",
    );
    let out = done.out();
    for part in ["against static", "gain over static: ", "by scalar-mix (one seed: it may be chance)"] {
        assert!(out.contains(part), "{part}: {out}");
    }
}
