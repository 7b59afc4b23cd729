//! Commands that only look: help, list, doctor, completions, tokenize, data show and scan, model show.

use crate::stage::{Stage, fixture};

#[test]
fn help_names_every_command() {
    let stage = Stage::new();
    let help = stage.ok("help").out();
    for command in [
        "demo",
        "train",
        "eval",
        "predict",
        "embed",
        "index",
        "search",
        "generate",
        "chat",
        "data",
        "model",
        "tokenize",
        "vectors",
        "list",
        "doctor",
        "completions",
    ] {
        assert!(help.contains(&format!("\n  {command} ")), "{command}: {help}");
    }
    assert!(!help.contains("bench-step"), "{help}");
    assert!(stage.ok("train --help").out().contains("topwork train --resume runs/mails"));
    assert!(stage.ok("--version").out().starts_with("topwork "));
    let done = stage.run(["trian"]).run().unwrap().expect_code(2).unwrap();
    assert!(done.err().contains("train"), "{}", done.err());
}

#[test]
fn lists_come_in_three_forms() {
    let stage = Stage::new();
    let all = stage.ok("list").out();
    for kind in [
        "models",
        "families",
        "heads",
        "techniques",
        "losses",
        "schedules",
        "metrics",
        "ops",
        "formats",
        "vectors",
        "references",
    ] {
        assert!(all.contains(kind), "{all}");
        let plain = stage.ok(&format!("list {kind}")).out();
        let markdown = stage.ok(&format!("list {kind} --markdown")).out();
        let json = stage.ok(&format!("list {kind} --json")).out();
        let json: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
        assert!(!json.is_empty());
        assert_eq!(plain.lines().count(), json.len(), "{kind}");
        assert_eq!(markdown.lines().count(), json.len() + 2, "{kind}");
        assert!(markdown.starts_with("| name | what | reference |\n|---|---|---|\n"), "{markdown}");
    }
    assert!(stage.ok("list schedules").out().contains("slanted-triangular"));
    let done = stage.run(["list", "metric"]).run().unwrap().expect_code(2).unwrap();
    assert!(done.err().contains("metrics"), "{}", done.err());
}

#[test]
fn the_reference_page_is_what_the_program_lists() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference.md");
    let kept = std::fs::read_to_string(path).unwrap();
    let now = Stage::new().ok("list --page").out();
    assert!(kept == now, "docs/reference.md is not what the lists say: cargo xtask docs writes it again");
    assert_eq!(now.matches("\n## ").count(), 13);
}

#[test]
fn the_doctor_looks_and_leaves_nothing_behind() {
    let stage = Stage::new();
    let page = stage.ok("doctor --threads 1").out();
    for part in
        ["kernels", "1 thread of", "GFLOP/s", "bf16", "memory", "network  forbidden", "nothing is in the way"]
    {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert_eq!(std::fs::read_dir(stage.program.folder()).unwrap().count(), 0);
    // A file where the cache should be.
    stage.program.file("cache", "x").unwrap();
    let page = stage.run(["doctor"]).run().unwrap().expect_code(1).unwrap().out();
    assert!(page.contains("PROBLEM") && page.contains("TOPWORK_CACHE"), "{page}");
}

#[test]
fn completions_are_made_for_every_shell() {
    let stage = Stage::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = stage.ok(&format!("completions {shell}")).out();
        assert!(script.contains("topwork") && script.contains("tokenize"), "{shell}");
    }
}

#[test]
fn tokenize_shows_ids_mask_and_offsets() {
    let stage = Stage::new();
    stage.model("bert");
    let run = |args: &[&str]| stage.run(args).run().unwrap().expect_code(0).unwrap();
    let page = run(&["tokenize", "bert", "Win a prize!", "--pad", "8"]).out();
    let line = |name: &str| page.lines().find(|line| line.starts_with(name)).unwrap().to_string();
    let ids: Vec<u32> =
        serde_json::from_str(line("input_ids").trim_start_matches("input_ids").trim()).unwrap();
    let mask: Vec<u32> =
        serde_json::from_str(line("attention_mask").trim_start_matches("attention_mask").trim()).unwrap();
    assert_eq!((ids.len(), ids[0], *ids.last().unwrap()), (8, 2, 0), "{page}");
    assert_eq!(mask.iter().filter(|&&one| one == 1).count(), ids.iter().filter(|&&id| id != 0).count());
    assert!(page.contains("0..3 \"Win\"") && page.contains("never computed"), "{page}");

    let json = run(&["tokenize", "bert/vocab.txt", "win now", "--pair", "call", "--json"]).out();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["tokens"], serde_json::json!(["[CLS]", "win", "now", "[SEP]", "call", "[SEP]"]));
    assert_eq!(json["token_type_ids"], serde_json::json!([0, 0, 0, 0, 1, 1]));
    assert_eq!(json["offsets"][4], serde_json::json!([0, 4]));

    let cut = run(&["tokenize", "bert", "win now win now win now", "--max-length", "4"]);
    assert!(
        cut.out().contains("4, 4 cut") && cut.err().contains("1 text cut, 4 tokens lost"),
        "{}",
        cut.out()
    );
    stage.refused("tokenize bert win --pad 1", &["3 tokens cannot be padded to 1", "--max-length 1"]);
    stage.refused("tokenize bert win --max-length 2", &["leaves no room"]);
}

#[test]
fn tokenize_answers_lines_of_standard_input() {
    let stage = Stage::new();
    stage.model("bert");
    let done =
        stage.run(["tokenize", "bert", "--json"]).stdin("win\n\nnow").run().unwrap().expect_code(0).unwrap();
    let rows: Vec<serde_json::Value> =
        done.out().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[2]["row"], 3);
    assert_eq!(rows[1]["tokens"], serde_json::json!(["[CLS]", "[SEP]"]));
}

#[test]
fn data_show_counts_labels_lengths_and_repeats() {
    let stage = Stage::with_mails();
    let page = stage.ok("data show mails.csv --text body --label class --model bert").out();
    for part in ["72 rows", "2 labels", "ham", "66.7%", "no text stands twice", "length in tokens", "propos"]
    {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(page.lines().any(|line| line.starts_with("mails.csv row ") && line.contains("[spam]")), "{page}");

    // The same rows again, but for digits and case: told, and found between files.
    let csv = "body,class\nwin 10 prizes,spam\nWIN 25 prizes,spam\nsee you,ham\n";
    stage.program.file("twice.csv", csv).unwrap();
    let page = stage.ok("data show twice.csv --test mails.csv").out();
    assert!(page.contains("1 text repeat") && page.contains("share no text"), "{page}");
    let page = stage.ok("data show twice.csv --test twice.csv").out();
    assert!(page.contains("3 of 3 test texts stand in train too"), "{page}");
    // No labels at all.
    stage.program.file("plain.txt", "one\ntwo\n").unwrap();
    assert!(stage.ok("data show plain.txt").out().contains("length in words"));
}

#[test]
fn data_scan_reads_every_row_in_any_order_and_says_speed_and_memory() {
    let stage = Stage::new();
    for name in ["stream.arrow", "lz4.feather"] {
        stage.program.file(name, std::fs::read(fixture("data-readers").join(name)).unwrap()).unwrap();
    }
    // "hi you", "win, now", "an old tree", an accented word with a picture, "win, now", "last": 47 bytes.
    for (line, rows, bytes, order) in [
        ("data scan stream.arrow", "6 rows", "47 bytes", "in order"),
        ("data scan stream.arrow lz4.feather --shuffle", "12 rows", "94 bytes", "in a random order"),
        ("data scan lz4.feather --blocks 2 --column view", "6 rows", "47 bytes", "in blocks of 2, mixed"),
        ("data scan stream.arrow --limit 2", "2 rows", "14 bytes", "in order"),
        ("data scan stream.arrow --column small", "6 rows, 6 without a text", "0 bytes", "in order"),
    ] {
        let done = stage.ok(line);
        let out = done.out();
        assert!(out.contains(&format!("read      {rows}, {bytes} of text, {order}")), "{line}: {out}");
        assert!(out.contains("rows/s") && out.contains("MB/s"), "{out}");
        let memory = if cfg!(target_os = "linux") { "more than the" } else { "not known here" };
        assert!(out.contains(memory), "{out}");
        assert!(done.err().contains("opened in"), "{}", done.err());
    }
    stage.refused("data scan stream.arrow --column body", &["stream.arrow", "no column \"body\""]);
    stage.refused("data scan none.arrow", &["cannot read none.arrow"]);
    let mut bytes = std::fs::read(stage.path("stream.arrow")).unwrap();
    bytes.truncate(bytes.len() - 200);
    stage.program.file("cut.arrow", bytes).unwrap();
    stage.refused("data scan cut.arrow", &["cut.arrow: batch 2", "ends in the middle of a message"]);
}

#[test]
fn model_show_tells_sizes_parameters_and_what_loading_did() {
    let stage = Stage::new();
    stage.model("bert");
    let page = stage.ok("model show bert --params").out();
    for part in [
        "family      bert",
        "2 layers, 32 wide, 4 heads of 8",
        "at most 64",
        "3 labels (LABEL_0, LABEL_1, LABEL_2)",
        "layers.0 to 1",
        "loaded, 0 ignored, 0 fresh",
        "tokenizer.json: 120 tokens",
        "layers.1.attn.q.weight",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let json: serde_json::Value = serde_json::from_str(&stage.ok("model show bert --json").out()).unwrap();
    let sum: u64 = json["params"].as_array().unwrap().iter().map(|p| p["values"].as_u64().unwrap()).sum();
    assert_eq!(json["values"].as_u64(), Some(sum));

    // A bare encoder without a tokenizer is shown too.
    let bare = fixture("bert/no-pooler");
    let page =
        stage.run(["model", "show", &bare.to_string_lossy()]).run().unwrap().expect_code(0).unwrap().out();
    assert!(page.contains("none: an encoder") && page.contains("PROBLEM: no tokenizer"), "{page}");
}

#[test]
fn nothing_is_fetched_offline() {
    let stage = Stage::new();
    stage.refused(
        "model pull hf:org/name",
        &["not in the cache", "--offline", "topwork model pull hf:org/name"],
    );
    stage.refused("model show org/name", &["does not exist", "hf:org/name"]);
    stage.refused("model pull pypi:thing", &["pypi:package==version"]);
    assert!(!stage.path("cache").exists(), "looking creates no cache");
}

#[cfg(unix)]
#[test]
fn a_reader_that_goes_away_is_no_error() {
    use std::process::{Command, Stdio};
    let stage = Stage::new();
    stage.model("bert");
    stage.program.file("many.txt", "win a prize now\n".repeat(20_000)).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_topwork"))
        .args(["tokenize", "bert", "--file", "many.txt"])
        .current_dir(stage.program.folder())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Closed before a line was read.
    drop(child.stdout.take());
    let done = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!((done.status.code(), text.as_str()), (Some(0), ""));
}
