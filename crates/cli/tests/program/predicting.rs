//! predict and embed: forms of input and output, and answers that do not depend on their neighbours.

use std::collections::HashMap;

use crate::stage::{Stage, mails};

fn objects(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn texts(count: usize) -> Vec<String> {
    mails(count).lines().skip(1).map(|row| row.split('"').nth(1).unwrap().to_string()).collect()
}

#[test]
fn a_text_gets_the_same_bits_alone_in_a_batch_and_in_another_order() {
    let stage = Stage::new();
    stage.model("bert");
    let texts = texts(40);
    let mut turned = texts.clone();
    turned.reverse();
    let answers = |texts: &[String], threads: &str| -> HashMap<String, String> {
        let args = ["predict", "bert", "--json", "--precision", "f32", "--threads", threads];
        let done = stage.run(args).stdin(texts.join("\n")).run().unwrap().expect_code(0).unwrap();
        let answers = objects(&done.out());
        assert_eq!(answers.len(), texts.len());
        // Numbers are printed so that they read back to the same bits: equal texts are equal bits.
        answers.iter().map(|a| (a["text"].as_str().unwrap().into(), a["probabilities"].to_string())).collect()
    };
    let together = answers(&texts, "2");
    assert_eq!(together.len(), 40);
    assert_eq!(together.values().collect::<std::collections::HashSet<_>>().len(), 40, "the answers differ");
    assert_eq!(answers(&turned, "1"), together);
    for text in texts.iter().step_by(8) {
        let alone = answers(std::slice::from_ref(text), "2");
        assert_eq!(alone[text], together[text], "{text}");
    }
}

#[test]
fn every_form_of_input_gives_the_same_answers() {
    let stage = Stage::new();
    stage.model("bert");
    let texts = ["win a prize", "see you, tomorrow"];
    let csv = "body,n\nwin a prize,1\n\"see you, tomorrow\",2\n";
    stage.program.file("t.csv", csv).unwrap();
    stage
        .program
        .file("t.jsonl", "{\"body\": \"win a prize\"}\n{\"body\": \"see you, tomorrow\"}\n")
        .unwrap();
    stage.program.file("t.txt", "win a prize\r\nsee you, tomorrow\r\n").unwrap();
    let run = |args: &[&str], stdin: &str| {
        let args = [&["predict", "bert", "--json"], args].concat();
        let out = stage.run(args).stdin(stdin).run().unwrap().expect_code(0).unwrap().out();
        objects(&out).iter().map(|o| (o["text"].clone(), o["probabilities"].clone())).collect::<Vec<_>>()
    };
    let expected = run(&texts, "");
    assert_eq!(expected.len(), 2);
    let mut seen = 0;
    for (args, stdin) in [
        (&["--file", "t.csv", "--text", "body"][..], ""),
        (&["--file", "t.jsonl", "--text", "body"], ""),
        (&["--file", "t.txt"], ""),
        (&["--file", "-"], "win a prize\nsee you, tomorrow\n"),
        (&[], "win a prize\nsee you, tomorrow"),
        (&["--format", "csv", "--text", "body"], csv),
    ] {
        assert_eq!(run(args, stdin), expected, "{args:?}");
        seen += 1;
    }
    assert_eq!(seen, 6);
}

#[test]
fn every_form_of_output_holds_the_same_answers() {
    let stage = Stage::new();
    stage.model("bert");
    stage.program.file("t.txt", "win, now\n\nsee \"you\"\n").unwrap();
    let json = objects(&stage.ok("predict bert --file t.txt --json").out());
    assert_eq!(json.len(), 3);
    assert_eq!(json[1]["empty"], true);
    let p = |row: usize, label: &str| json[row]["probabilities"][label].as_f64().unwrap();
    assert!(
        (["LABEL_0", "LABEL_1", "LABEL_2"].iter().map(|label| p(0, label)).sum::<f64>() - 1.0).abs() < 1e-9
    );

    let done = stage.ok("predict bert --file t.txt --probabilities");
    let text = done.out();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines.len(), lines[1]), (3, ""), "an empty line stays in its place: {text}");
    let fields: Vec<&str> = lines[0].split('\t').collect();
    assert_eq!((fields[0], fields[3]), (json[0]["label"].as_str().unwrap(), "win, now"));
    assert!(fields[2].contains(&format!("LABEL_1={:.4}", p(0, "LABEL_1"))), "{text}");
    assert!(done.err().contains("1 text of 3 empty"), "{}", done.err());

    let csv = stage.ok("predict bert --file t.txt --csv").out();
    assert!(csv.starts_with("row,text,label,p(LABEL_0),"), "{csv}");
    assert_eq!(csv.matches("row,text").count(), 1);
    assert!(csv.contains("1,\"win, now\",") && csv.contains("3,\"see \"\"you\"\"\","), "{csv}");
    for name in ["a.csv", "a.parquet", "a.jsonl", "a.tsv"] {
        let said = stage.ok(&format!("predict bert --file t.txt --out {name}")).out();
        assert_eq!(said, format!("{name}: 3 answers\n"));
        let back = objects(&stage.ok(&format!("predict bert --file {name} --text text --json")).out());
        assert_eq!(back[0]["probabilities"], json[0]["probabilities"], "{name}");
    }
    stage.refused("predict bert win --out a.xls", &["a.xls", ".parquet"]);
}

#[test]
fn lines_are_answered_as_they_come() {
    use std::io::{BufRead, BufReader, Write};
    use std::process::{Command, Stdio};
    let stage = Stage::new();
    stage.model("bert");
    let mut child = Command::new(env!("CARGO_BIN_EXE_topwork"))
        .args(["predict", "bert"])
        .current_dir(stage.program.folder())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    for text in ["win now", "see you"] {
        writeln!(input, "{text}").unwrap();
        let mut line = String::new();
        // Would wait for ever if answers were held back.
        output.read_line(&mut line).unwrap();
        assert!(line.ends_with(&format!("\t{text}\n")), "{line}");
    }
    drop(input);
    assert!(child.wait().unwrap().success());
}

#[test]
fn long_texts_are_cut_and_counted() {
    let stage = Stage::new();
    stage.model("bert");
    let done = stage
        .run(["predict", "bert", "--json"])
        .stdin("win ".repeat(100))
        .run()
        .unwrap()
        .expect_code(0)
        .unwrap();
    let answer = &objects(&done.out())[0];
    assert_eq!((answer["tokens"].as_u64(), answer["cut"].as_u64()), (Some(64), Some(38)));
    assert!(done.err().contains("1 text cut at 64 tokens, 38 tokens lost"), "{}", done.err());
}

#[test]
fn vectors_come_as_npy_parquet_and_lines() {
    let stage = Stage::new();
    stage.model("bert");
    stage.program.file("t.txt", "win a prize\nsee you tomorrow\nnow\n").unwrap();
    let lines = objects(&stage.ok("embed bert --file t.txt --precision f32").out());
    assert_eq!(lines.len(), 3);
    let vector: Vec<f64> =
        lines[0]["vector"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
    assert_eq!(vector.len(), 32);
    assert!((vector.iter().map(|v| v * v).sum::<f64>() - 1.0).abs() < 1e-5, "of length one");

    assert_eq!(
        stage.ok("embed bert --file t.txt --precision f32 --out v.npy").out(),
        "v.npy: 3 vectors of 32\n"
    );
    let bytes = std::fs::read(stage.path("v.npy")).unwrap();
    assert!(bytes.starts_with(b"\x93NUMPY\x01\x00"));
    let header = 10 + u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    let numbers: Vec<f32> =
        bytes[header..].chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    assert_eq!(numbers.len(), 3 * 32);
    for (a, b) in numbers.iter().zip(&vector) {
        assert_eq!(*a, *b as f32);
    }
    stage.ok("embed bert --file t.txt --pool cls --raw --out v.parquet");
    assert!(std::fs::read(stage.path("v.parquet")).unwrap().starts_with(b"PAR1"));
    stage.refused("embed bert --file t.txt --out v.txt", &["v.txt", ".npy"]);
    stage.refused("embed bert --file t.txt --max-length 65", &["65", "64"]);
    let done = stage.run(["embed", "bert"]).stdin("a\n\nb\n").run().unwrap();
    crate::stage::refusal(done, "embed", &["text 2 is empty"]);
}
