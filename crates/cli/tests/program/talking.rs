//! Conversations by command: learnt from a file, measured, and talked to.

use serde_json::{Value, json};

use crate::stage::{Stage, fixture, refusal};

const QUICK: &str = "--precision f32 --batch 8 report.resamples=20 --learning-rate 3e-3 --max-length 60";

/// A stage with the tiny GPT-2 of the fixtures in `gpt2/`, with its chat template or without.
fn stage(template: bool) -> Stage {
    let stage = Stage::new();
    for file in
        ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"]
    {
        if template || file != "chat_template.jinja" {
            let bytes = std::fs::read(fixture("decoder").join(file)).unwrap();
            stage.program.file(&format!("gpt2/{file}"), bytes).unwrap();
        }
    }
    stage
}

/// A word that no other number has.
fn word(n: u64) -> String {
    let letter = |at: u64| char::from(b'a' + ((n + 3) * (at + 7) * (n + at * at + 11) % 26) as u8);
    (0..12).map(letter).collect()
}

/// PersonaChat's file of a few conversations: what is liked is what the persona says.
fn conversations(count: usize) -> Value {
    let things = ["the", "an", "to", "on"];
    let conversation = |number: usize| {
        let (mine, other) = (things[number % 4], things[(number + 1) % 4]);
        let last = format!("do you like {other} or {} ?", word(number as u64));
        json!({"personality": [format!("i like {mine} .")], "utterances": [
            {"history": ["what do you like ?"], "candidates": [format!("i like {other} ."), format!("i like {mine} .")]},
            {"history": ["what do you like ?", format!("i like {mine} ."), last], "candidates": ["so !", "no ."]}]})
    };
    json!({"train": (0..count).map(conversation).collect::<Vec<_>>(), "valid": [conversation(2)]})
}

fn talk(stage: &Stage, args: &[&str], input: &str) -> (String, String) {
    let args = [&["chat"], args, &["--precision", "f32"]].concat();
    let done = stage.run(args).stdin(input).run().unwrap().expect_code(0).unwrap();
    (done.out(), done.err())
}

#[test]
fn conversations_are_learnt_measured_and_gone_on_with() {
    let stage = stage(false);
    stage.program.file("p.json", conversations(24).to_string()).unwrap();
    let shown = stage.ok("data show p.json").out();
    assert!(shown.contains("exchanges: 1.0 sentences of a persona, 2.0 turns"), "{shown}");
    let done = stage.ok(&format!("train --model gpt2 --data p.json --out runs/p --epochs 30 {QUICK}"));
    for part in
        ["the format says what is learnt: dialog", "48 exchanges of 24 conversations", "the plain template"]
    {
        assert!(done.err().contains(part), "{part}: {}", done.err());
    }
    for measure in ["hits@1", "mrr", "perplexity", "word-f1"] {
        assert!(done.out().contains(measure), "{measure}: {}", done.out());
    }
    let page = stage.ok("eval runs/p --data p.json --json --resamples 0").out();
    let page: Value = serde_json::from_str(&page).unwrap();
    assert_eq!(
        (&page["evaluation"]["task"], &page["evaluation"]["examples"]),
        (&json!("dialog"), &json!(48))
    );
    let report = std::fs::read_to_string(stage.path("runs/p/report.html")).unwrap();
    assert!(report.contains("Dialog on p.json") && report.contains("topwork chat"), "{report}");
    let template = std::fs::read_to_string(stage.path("runs/p/best/chat_template.jinja")).unwrap();
    assert!(template.contains("User: {{ message['content'] }}"), "{template}");
    let config = std::fs::read_to_string(stage.path("runs/p/best/config.json")).unwrap();
    assert!(config.contains("GPT2DoubleHeadsModel"), "{config}");

    let (out, err) = talk(
        &stage,
        &["runs/p", "--persona", "i like the ."],
        "what do you like ?\n\n/reset\nwhat do you like ?\n",
    );
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 2, "an answer a turn: {out}");
    assert!(lines[0] == lines[1] && !lines[0].is_empty() && err.contains("forgotten"), "{out}\n{err}");
    // The same by the library's other way in.
    let one = [
        "generate",
        "runs/p",
        "what do you like ?",
        "--chat",
        "--system",
        "i like the .",
        "--precision",
        "f32",
    ];
    let one = stage.run(one).run().unwrap().expect_code(0).unwrap().out();
    assert_eq!(one.trim(), lines[0]);
    stage.refused("predict runs/p hello", &["double-heads", "answers no labels"]);
}

#[test]
fn a_conversation_is_kept_as_far_as_there_is_room() {
    let stage = stage(true);
    let ways = ["--max-new", "6"];
    let (out, err) = talk(&stage, &[&["gpt2"], &ways[..]].concat(), "why?\nwhy?\n/nothing\n/quit\nnever\n");
    assert_eq!(out.lines().count(), 2, "{out}");
    assert!(err.contains("/nothing is no command"), "{err}");
    // What was said before is read.
    let first = out.lines().next().unwrap();
    let text = format!("<user>why?<assistant>{}<user>why?<assistant>", first.trim());
    let page = stage.run(["generate", "gpt2", &text, "--max-new", "6", "--precision", "f32"]).run().unwrap();
    let page = page.expect_code(0).unwrap().out();
    assert_eq!(page.strip_prefix(&text).unwrap().trim(), out.lines().nth(1).unwrap().trim());
    // The tiny model reads 64 tokens.
    let (out, err) =
        talk(&stage, &[&["gpt2", "--persona", "to"], &ways[..]].concat(), &"why is it?\n".repeat(12));
    assert_eq!(out.lines().count(), 12, "{out}");
    assert!(err.contains("the oldest had no room"), "{err}");
    let draws = |seed: &str| talk(&stage, &["gpt2", "--temperature", "2", "--seed", seed], "why?\nwhy?\n").0;
    assert_eq!(draws("1"), draws("1"));
    assert_ne!(draws("1"), draws("2"));
}

#[test]
fn what_cannot_be_talked_to_is_refused() {
    let stage = stage(false);
    stage.refused("chat gpt2", &["no chat template", "--task dialog"]);
    stage.model("bert");
    stage.refused("chat bert", &["left to right"]);
    let whole = self::stage(true);
    let args = ["chat", "gpt2", "--precision", "f32"];
    let long = "word ".repeat(80);
    let done = whole.run(args).stdin(long).run().unwrap();
    refusal(done, "a long turn", &["the model reads 64", "fewer words"]);
    let done = whole.run(args).stdin(b"ab\n\xff\n").run().unwrap();
    refusal(done, "no text", &["standard input", "line 2"]);
    let done = whole.run(["chat", "gpt2", "--temperature", "0"]).stdin("hi\n").run().unwrap();
    refusal(done, "an option", &["temperature", "above 0"]);
    assert_eq!(talk(&whole, &["gpt2"], "").0, "", "nothing said, nothing answered");
}

#[test]
fn rows_that_teach_no_conversation_are_named() {
    let stage = stage(false);
    let good = r#"{"history": ["a"], "reply": "b", "candidates": ["b", "c"]}"#;
    let train = "train --model gpt2 --task dialog --data r.jsonl --out runs/r";
    for (row, part) in [
        (r#"{"history": ["a"], "candidates": ["b", "c"]}"#, "no label in column \"reply\" (first: rows 2)"),
        (
            r#"{"history": ["a"], "reply": "d", "candidates": ["b", "c"]}"#,
            "row 2: expected the reply among its 2 candidates",
        ),
        (r#"{"history": [], "reply": "b"}"#, "row 2: expected a history of at least one turn"),
        (
            r#"{"history": ["a"], "reply": "b", "candidates": ["b"]}"#,
            "row 2: expected at least two different candidates",
        ),
    ] {
        stage.program.file("r.jsonl", format!("{good}\n{row}\n")).unwrap();
        stage.refused(train, &["r.jsonl", part]);
        assert!(!stage.path("runs/r").exists());
    }
    stage.model("bert");
    let row = |n: u64| format!("{{\"history\": [\"{0}\"], \"reply\": \"to {0}\"}}\n", word(n));
    let rows: String = (0..40).map(row).collect();
    stage.program.file("r.jsonl", rows).unwrap();
    stage.refused(&train.replace("gpt2", "bert"), &["token"]);
    stage.refused(&format!("{train} task.candidates=1"), &["task.candidates is 1", "at least 2"]);
    stage.refused(&format!("{train} task.lm-weight=-1"), &["task.lm-weight is -1"]);
}
