//! Bad data: one clear line that names the place and the way out, before anything is trained or written.

use crate::stage::{QUICK, Stage, mails, train_line};

/// Trains on `bytes` and expects a refusal with every part, and no run folder.
fn refused(name: &str, bytes: impl AsRef<[u8]>, columns: &str, parts: &[&str]) {
    let stage = Stage::new();
    stage.model("bert");
    stage.program.file(name, bytes).unwrap();
    let command = format!("train --model bert --data {name} --no-baseline --out runs/a {columns}");
    stage.refused(&command, parts);
    assert!(!stage.path("runs").exists(), "{name}: nothing is written for data that is refused");
}

#[test]
fn wrong_columns_and_labels_are_named() {
    let good = mails(30);
    let both = "--text body --label class";
    refused("m.csv", &good, "--text bdy --label class", &["m.csv", "\"bdy\"", "did you mean \"body\"?"]);
    refused("m.csv", &good, "--text body --label clas", &["\"clas\"", "did you mean \"class\"?"]);
    refused(
        "m.csv",
        good.replace(",spam,", ",ham,"),
        both,
        &["two classes", "\"ham\"", "label column (class)"],
    );
    refused("m.csv", "body,class\n", both, &["m.csv"]);
    refused("m.csv", "", both, &["m.csv"]);
    let empty = "body,class\n,ham\n  ,spam\n,ham\n";
    refused("m.csv", empty, both, &["all 3 texts", "\"body\"", "empty"]);
    let unlabelled = good.replacen(",ham,", ",,", 3);
    refused("m.csv", unlabelled, both, &["3 of 30 rows have no label", "first: rows"]);
    let nan = good.replacen(".5", "NaN", 1).replacen("0NaN", "NaN", 1);
    let nan = nan.lines().map(|l| {
        if l.ends_with("NaN") { format!("{},NaN\n", l.rsplit_once(',').unwrap().0) } else { format!("{l}\n") }
    });
    let nan: String = nan.collect();
    assert!(nan.contains(",NaN\n"));
    refused("m.csv", nan, "--text body --label score --task regress", &["m.csv", "NaN", "\"score\""]);
    refused(
        "m.csv",
        good.replacen(".5\n", ".5x\n", 1),
        "--text body --label score --task regress",
        &["5x", "row 2"],
    );
}

#[test]
fn broken_files_are_named_with_their_place() {
    let both = "--text body --label class";
    let mut bytes = mails(30).into_bytes();
    let at = bytes.iter().position(|&b| b == b'\n').unwrap() + 3;
    bytes[at] = 0xff;
    refused("m.csv", &bytes, both, &["line 2", "0xff", &format!("byte {at}"), "UTF-8"]);
    let quote = mails(30).replacen("\n\"", "\n\"\"\"stray ", 1).replacen("\",ham", ",ham", 1);
    refused("m.csv", quote, both, &["m.csv line", "quote"]);
    let ragged = mails(30).replacen(",ham,", ",ham,extra,", 1);
    refused("m.csv", ragged, both, &["expected 3 fields", "got 4"]);
    refused("m.jsonl", "{\"body\": \"a\", \"class\": \"b\"}\n{oops\n", both, &["m.jsonl line 2", "JSON"]);
    refused("m.parquet", "PAR1 but no more", both, &["m.parquet"]);
    refused("m.xyz", "\u{0}\u{1}\u{2}", both, &["m.xyz"]);
    let stage = Stage::new();
    stage.model("bert");
    stage.refused("train --model bert --data nothing.csv", &["nothing.csv", "does not exist"]);
}

#[test]
fn a_label_unseen_in_training_is_named() {
    let stage = Stage::with_mails();
    let test = mails(30).replacen(",ham,", ",hamm,", 2);
    stage.program.file("test.csv", test).unwrap();
    let line = stage.refused(
        &train_line("runs/a", "--test test.csv"),
        &["test.csv", "\"hamm\"", "2 in all", "did you mean \"ham\"?"],
    );
    assert!(line.contains("rows 3"), "{line}");
    assert!(!stage.path("runs").exists());
    // And when a trained model is measured.
    stage.refused(
        "eval bert --data mails.csv --text body --label class",
        &["not one of the known labels", "LABEL_0"],
    );
}

#[test]
fn some_empty_texts_are_left_out_and_counted() {
    let stage = Stage::with_mails();
    let data = mails(60) + ",ham,1\n   ,spam,1\n";
    stage.program.file("mails.csv", data).unwrap();
    let said = stage.train("runs/a", "").err();
    assert!(said.contains("2 rows left out") && said.contains("rows 62, 63"), "{said}");
}

#[test]
fn texts_to_predict_are_checked_too() {
    let stage = Stage::new();
    stage.model("bert");
    let done = stage.run(["predict", "bert"]).stdin(b"good\nb\xffd\n").run().unwrap();
    let line = crate::stage::refusal(done, "predict", &["standard input line 2", "0xff at byte 6"]);
    assert!(line.contains("iconv"), "{line}");
    stage.refused("predict bert --file nothing.txt", &["nothing.txt"]);
    stage.program.file("t.csv", "body,n\na,1\n").unwrap();
    stage.refused("predict bert --file t.csv --text bod", &["did you mean \"body\"?"]);
    stage.refused("predict bert a b --pair c", &["one TEXT", "got 2"]);
    let done = stage.run(["predict", "bert", "a", "--file", "t.csv"]).run().unwrap().expect_code(2).unwrap();
    assert!(done.err().contains("--file"), "{}", done.err());
    let done = stage.run(["predict", "bert"]).stdin("").run().unwrap().expect_code(0).unwrap();
    assert_eq!(done.out(), "");
}

#[test]
fn options_out_of_range_are_named() {
    let stage = Stage::with_mails();
    for (more, part) in [
        ("train.learning-rate=nan", "learning-rate"),
        ("train.epochs=0", "epochs"),
        ("train.warmup=2", "warmup"),
        ("task.max-length=65", "64"),
        ("task.metric=f2", "f2"),
        ("task.class-weights=nothing.csv", "nothing.csv"),
        ("task.positive=spm", "did you mean \"spam\"?"),
        ("data.dev-share=0.9", "shares"),
        ("batch.examples=0", "batch"),
    ] {
        stage.refused(&train_line("runs/a", more), &[part]);
        assert!(!stage.path("runs/a/best").exists(), "{more}");
        let _ = std::fs::remove_dir_all(stage.path("runs"));
    }
    assert_eq!(QUICK.len(), 9);
}
