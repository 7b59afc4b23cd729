//! Labelling with a model in the loop: by lines, on a page, and played with labels that are known.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use crate::stage::{Stage, mails};

const POOL: &str = "label mails.csv --text body --classes ham,spam --model bert --precision f32 --batch 4";

fn stage() -> Stage {
    let stage = Stage::with_mails();
    stage
        .program
        .file(
            "dev.csv",
            mails(120)
                .lines()
                .take(1)
                .chain(mails(120).lines().skip(91))
                .map(|line| format!("{line}\n"))
                .collect::<String>(),
        )
        .unwrap();
    stage
}

fn answered(stage: &Stage, line: &str, input: &str) -> (String, String) {
    let done = stage.run(line.split_whitespace()).stdin(input).run().unwrap().expect_code(0).unwrap();
    (done.out(), done.err())
}

fn records(stage: &Stage, name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(stage.path(name)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Rows asked for, as they are shown.
fn asked(out: &str) -> Vec<u64> {
    let rows = out.lines().filter_map(|line| line.split_once("(row ")?.1.split(',').next()?.parse().ok());
    rows.collect()
}

#[test]
fn answers_are_kept_and_gone_on_with() {
    let stage = stage();
    let line = format!("{POOL} --out a.jsonl --held-out dev.csv --label class --seed 4");
    let all = "1\nspam\nHAM\n2\n1\n2\n1\n2\n1\n2\n";
    let (out, err) = answered(&stage, &line, all);
    assert_eq!(asked(&out).len(), 11, "{out}");
    for part in
        ["guess: ", "10 labels in a.jsonl: ham 5, spam 5", "topwork train --model bert --data a.jsonl"]
    {
        assert!(out.contains(part), "{part}: {out}");
    }
    assert!(err.contains("round 1 done, 4 labels; held out: accuracy 0."), "{err}");
    assert!(err.contains("round 2 done, 8 labels; the guess was right for "), "{err}");
    let whole = records(&stage, "a.jsonl");
    assert_eq!(whole.len(), 10);
    assert_eq!(
        (&whole[4]["round"], &whole[4]["answer"], &whole[4]["label"]),
        (&2.into(), &1.into(), &"ham".into())
    );
    // The same answers a few at a time, some of them taken back, are asked for the same texts.
    let line = line.replace("a.jsonl", "b.jsonl");
    for part in ["1\n2\nu\nspam\nq\n", "1\n2\n1\nnone of it\n2\nu\n/undo\n", "1\n2\n1\n2\n", "1\n2\n"] {
        answered(&stage, &line, part);
    }
    assert_eq!(records(&stage, "b.jsonl"), whole);
    // Another seed, another order; and what a kill left of the last line is taken away.
    answered(&stage, &line.replace("b.jsonl", "c.jsonl").replace("--seed 4", "--seed 5"), all);
    assert_ne!(records(&stage, "c.jsonl"), whole);
    let text = std::fs::read_to_string(stage.path("b.jsonl")).unwrap();
    std::fs::write(stage.path("b.jsonl"), &text[..text.len() - 9]).unwrap();
    let (_, err) = answered(&stage, &line, "2\n");
    assert!(err.contains("not written to its end") && err.contains("going on with 9 labels"), "{err}");
    assert_eq!(records(&stage, "b.jsonl"), whole);
    // A class that came up on the way is one of the next session; skipped texts come again in it.
    let (out, _) = answered(&stage, &line, "n neither\nneither\ns\nq\n");
    let skipped = asked(&out)[asked(&out).len() - 2];
    let (out, err) = answered(&stage, &line, "");
    assert!(
        out.contains("3 neither") && err.contains("does not name, which are classes too: neither"),
        "{out}{err}"
    );
    assert_eq!(asked(&out), [skipped]);
    // What was labelled is what the ordinary recipe learns from.
    let trained = stage.ok(
        "train --model bert --data a.jsonl --text text --label label --epochs 1 --no-baseline --out runs/a",
    );
    assert!(trained.out().contains("accuracy"), "{}", trained.out());
    // A run's folder stands for its model, and is named so that training takes it.
    let (out, _) = answered(
        &stage,
        &line.replace("b.jsonl", "d.jsonl").replace("--model bert", "--model runs/a"),
        "1\n",
    );
    assert!(out.contains("topwork train --model runs/a/best --data d.jsonl"), "{out}");
}

#[test]
fn the_whole_model_is_trained_in_the_end() {
    let stage = stage();
    let line = format!("{POOL} --out a.jsonl --max-length 32 --finetune runs/fine");
    let (out, _) = answered(&stage, &line, &"1\n2\n".repeat(12));
    assert!(out.contains("24 labels in a.jsonl") && out.contains("topwork predict runs/fine/best"), "{out}");
    assert!(stage.path("runs/fine/best/model.safetensors").is_file());
    let done =
        stage.run(line.replace("a.jsonl", "b.jsonl").split_whitespace()).stdin("1\n1\n").run().unwrap();
    crate::stage::refusal(done, "one class", &["--finetune", "labels of two classes"]);
    assert_eq!(records(&stage, "b.jsonl").len(), 2);
}

#[test]
fn what_cannot_be_labelled_is_refused() {
    let stage = stage();
    stage.program.file("empty.txt", "").unwrap();
    stage.program.file("broken.jsonl", "{\"text\": \"a\"}\n").unwrap();
    let more = "--model bert --out x.jsonl";
    stage.refused(&format!("label empty.txt --classes a,b {more}"), &["empty.txt", "empty"]);
    stage.refused(
        &format!("label mails.csv --text nope --classes a,b {more}"),
        &["no column \"nope\"", "body"],
    );
    stage.refused(&format!("label mails.csv --text body {more}"), &["no classes", "--classes"]);
    stage.refused(
        &format!("label mails.csv --text body --classes a,b --strategy margn {more}"),
        &["\"margin\""],
    );
    stage.refused(
        &format!("label mails.csv --text body --classes a --strategy margin,random {more}"),
        &["--simulate"],
    );
    let held = "--text body --label class --held-out dev.csv";
    stage.refused(&format!("label mails.csv --classes ham,spma {held} {more}"), &["\"spma\"", "\"spam\""]);
    assert!(!stage.path("y.jsonl").exists());
    stage.refused(
        "label mails.csv --text body --classes a,b --model bert --out broken.jsonl",
        &["line 1", "no label"],
    );
    let simulate = format!("label --simulate mails.csv {held} --model bert");
    stage.refused(&format!("{simulate} --out mails.csv"), &["a folder"]);
}

#[test]
fn each_strategy_is_held_against_random_order() {
    let stage = stage();
    let line = "label --simulate mails.csv --text body --label class --held-out dev.csv --model bert --precision f32 --batch 4 \
                --rounds 5 --seeds 3 --out runs/played";
    let done = stage.ok(line);
    for part in [
        "accuracy by number of labels",
        "macro-f1 by number of labels",
        "20 labels",
        "Against random order",
        "±",
        "report.html",
    ] {
        assert!(done.out().contains(part), "{part}: {}", done.out());
    }
    for strategy in ["uncertainty", "margin", "entropy", "diverse", "random"] {
        assert!(stage.path(&format!("runs/played/{strategy}/seed-2.json")).is_file(), "{strategy}");
    }
    let page: Value = serde_json::from_str(&stage.ok(&format!("{line} --json")).out()).unwrap();
    assert_eq!(page["curves"].as_array().unwrap().len(), 15);
    assert!(
        page["curves"].as_array().unwrap().iter().all(|curve| curve["points"].as_array().unwrap().len() == 5)
    );
    let report = std::fs::read_to_string(stage.path("runs/played/report.html")).unwrap();
    assert!(report.contains("<svg") && report.contains("Against random order"));
    // Fewer seeds are taken from what is there, other rounds are refused.
    stage.ok(&line.replace("--seeds 3", "--seeds 1 --strategy random,margin"));
    stage.refused(&line.replace("--rounds 5", "--rounds 6"), &["another --out"]);
}

/// A request to the page, and its answer.
fn request(address: &str, head: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{head}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_page_asks_and_only_its_own_answers_count() {
    let stage = stage();
    let line = format!("{POOL} --out web.jsonl --web");
    let mut running = stage.run(line.split_whitespace()).spawn().unwrap();
    assert!(running.wait_until(|running| running.output().0.contains("secret=")), "{:?}", running.output());
    let out = running.output().0;
    let url = out.trim().strip_prefix("open http://").unwrap();
    let (address, path) = url.split_once('/').unwrap();
    let head =
        |method: &str, path: &str, more: &str| format!("{method} {path} HTTP/1.1\r\nHost: {address}{more}");
    let path = format!("/{path}");
    let get = || request(address, &head("GET", &path, ""), "");
    let page = get();
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("Round 1, text 1 of 4"), "{page}");
    assert!(!page.contains("http://") && !page.contains("https://"), "nothing is loaded from elsewhere");
    assert!(page.contains("default-src 'none'") && page.contains("no-store"));
    let about = |page: &str| {
        page.split("name=\"about\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_string()
    };
    let first = about(&page);
    let form = |about: &str, what: &str| {
        request(address, &head("POST", &path, ""), &format!("about={about}&{what}"))
    };
    // Strangers: without the secret, under another name, from another page.
    let strangers = [
        request(address, &head("GET", "/", ""), ""),
        request(address, &head("GET", "/?secret=0", ""), ""),
        request(address, &format!("GET {path} HTTP/1.1\r\nHost: evil.example"), ""),
        request(
            address,
            &head("POST", &path, "\r\nOrigin: http://evil.example"),
            &format!("about={first}&class=0"),
        ),
        request(address, &head("POST", "/", ""), &format!("about={first}&class=0")),
    ];
    assert!(strangers.iter().all(|answer| answer.starts_with("HTTP/1.1 403")), "{strangers:?}");
    assert!(records(&stage, "web.jsonl").is_empty());
    assert!(request(address, &head("GET", &path.replace("/?", "/x?"), ""), "").starts_with("HTTP/1.1 404"));
    assert!(request(address, &head("PUT", &path, ""), "").starts_with("HTTP/1.1 405"));
    assert!(form(&first, &"x".repeat(70_000)).starts_with("HTTP/1.1 413"));
    // An answer counts once, and what is no answer does nothing.
    assert!(form(&first, "class=1").starts_with("HTTP/1.1 303"));
    assert!(form(&first, "class=1").contains("nothing was answered"));
    assert!(form(&about(&get()), "class=7").contains("there are 2 classes"));
    assert!(form("", "do=dance").contains("to be done"));
    assert!(form("", "do=new&name=%3Cb%3Enew+one").starts_with("HTTP/1.1 303"));
    assert!(get().contains("&lt;b&gt;new one"));
    form(&about(&get()), "class=2");
    form(&about(&get()), "do=skip");
    assert!(form(&about(&get()), "do=undo").starts_with("HTTP/1.1 303"));
    assert!(form(&about(&get()), "do=undo").starts_with("HTTP/1.1 303"));
    let found = records(&stage, "web.jsonl");
    assert_eq!((found.len(), &found[0]["label"]), (1, &Value::from("spam")));
    // Killed with no warning: what was answered is there, and a terminal goes on with it.
    assert_eq!(running.kill().unwrap().code, None);
    answered(&stage, &line.replace(" --web", ""), "1\n2\n1\n");
    let labels: Vec<Value> =
        records(&stage, "web.jsonl").iter().map(|record| record["label"].clone()).collect();
    assert_eq!(labels, ["spam", "ham", "spam", "ham"]);
    // A second session on the same file is refused; the button ends the first.
    let mut running = stage.run(line.split_whitespace()).spawn().unwrap();
    assert!(running.wait_until(|running| running.output().0.contains("secret=")), "{:?}", running.output());
    stage.refused(&line, &["open in another session"]);
    let out = running.output().0;
    let (address, path) = out.trim().strip_prefix("open http://").unwrap().split_once('/').unwrap();
    let ended = request(address, &format!("POST /{path} HTTP/1.1\r\nHost: {address}"), "do=quit");
    assert!(ended.contains("4 labels in web.jsonl"), "{ended}");
    let done = running.wait().unwrap().expect_code(0).unwrap();
    assert!(done.out().contains("4 labels in web.jsonl: ham 2, spam 2"), "{}", done.out());
}

#[cfg(unix)]
#[test]
fn ctrl_c_loses_no_answer() {
    let stage = stage();
    let line = format!("{POOL} --out a.jsonl --web");
    let mut running = stage.run(line.split_whitespace()).spawn().unwrap();
    assert!(running.wait_until(|running| running.output().0.contains("secret=")));
    let out = running.output().0;
    let (address, path) = out.trim().strip_prefix("open http://").unwrap().split_once('/').unwrap();
    let page = request(address, &format!("GET /{path} HTTP/1.1\r\nHost: {address}"), "");
    let about = page.split("name=\"about\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    request(address, &format!("POST /{path} HTTP/1.1\r\nHost: {address}"), &format!("about={about}&class=1"));
    running.interrupt().unwrap();
    running.wait().unwrap().expect_code(130).unwrap();
    assert_eq!(records(&stage, "a.jsonl").len(), 1);
}
