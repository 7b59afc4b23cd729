//! Techniques that hold on to what was learnt, by command: what they say, and with what they cannot go.

use crate::stage::{Stage, assert_same_weights, train_line};

/// What is learnt of a source stays with its importance, and the same command gives the same bits on any number of threads.
#[test]
fn a_source_task_is_looked_into_and_held() {
    let stage = Stage::with_mails();
    stage.train("runs/first", "");
    let mails = std::fs::read_to_string(stage.path("mails.csv")).unwrap();
    stage.program.file("source.csv", mails.replace("body,class,score", "text,label,other")).unwrap();
    let train = |out: &str, more: &str| {
        stage.ok(&train_line(out, more).replace("--model bert", "--model runs/first/best"))
    };
    let ewc = "--technique ewc:source=source.csv,lambda=1e5,examples=20";
    train("runs/free", "");
    train("runs/held", ewc);
    train("runs/again", &format!("{ewc} --threads 1"));
    train("runs/drawn", &format!("{ewc},labels=model"));
    assert_same_weights(&stage.path("runs/held"), &stage.path("runs/again"));
    let weights =
        |run: &str| std::fs::read(stage.path(&format!("runs/{run}/best/model.safetensors"))).unwrap();
    assert!(weights("held") != weights("free") && weights("held") != weights("drawn"));

    let refused = |model: &str, more: &str, parts: &[&str]| {
        let line = train_line("runs/none", more).replace("--model bert", &format!("--model {model}"));
        stage.refused(&line, parts);
    };
    refused("runs/first/best", "--technique ewc", &["source"]);
    refused("runs/first/best", "--technique ewc:source=none.csv", &["none.csv"]);
    refused("runs/first/best", &format!("{ewc},labels=some"), &["true or model"]);
}

#[test]
fn a_batch_that_is_seen_twice_needs_answers_that_can_be_compared() {
    let stage = Stage::with_mails();
    stage.train("runs/drop", "--technique r-drop:alpha=2");
    stage.train("runs/noise", "--technique r3f:noise=0.1 --recompute");
    let score =
        |more: &str| train_line("runs/score", more).replace("--label=class", "--label=score --task regress");
    stage.ok(&score("--technique r-drop"));
    stage.train("runs/hold", "--technique hold:beta=10");
    let train = |more: &str| train_line("runs/none", more);
    stage.refused(&train("--technique hold --recompute"), &["hold", "recompute"]);
    stage.refused(&train("--technique hold --technique r3f"), &["cannot be combined"]);
    let lines: String = (0..40).map(|n| format!("see you at lunch {n}\n")).collect();
    stage.program.file("lines.txt", lines).unwrap();
    for technique in ["r-drop", "hold"] {
        let line =
            "pretrain --model bert --objective mlm --data lines.txt --out runs/lm --precision f32 --epochs 1";
        stage.refused(&format!("{line} --technique {technique}"), &[technique]);
    }
}
