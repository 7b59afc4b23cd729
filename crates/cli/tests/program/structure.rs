//! Trees and relations by command: trained, measured and answered.

use crate::stage::Stage;

const QUICK: &str = "--precision f32 --batch 8 --epochs 2 report.resamples=0";

#[test]
fn trees_are_learnt_measured_and_printed() {
    let stage = Stage::new();
    stage.model("bert");
    let words = ["see", "win", "now", "call", "prize", "lunch", "free"];
    let sentence = |n: usize| {
        let (first, second) = (words[n % 7], words[n / 7 % 7]);
        format!("1\t{first}\t_\tX\t_\t_\t2\tdep\t_\t_\n2\t{second}{n}\t_\tX\t_\t_\t0\troot\t_\t_\n\n")
    };
    stage.program.file("t.conllu", (0..60).map(sentence).collect::<String>()).unwrap();
    let done = stage.ok(&format!("train --model bert --data t.conllu --out runs/t {QUICK}"));
    assert!(done.err().contains("the format says what is learnt: parse"), "{}", done.err());
    assert!(done.out().contains("las") && done.out().contains("uas-no-punctuation"), "{}", done.out());
    let card = std::fs::read_to_string(stage.path("runs/t/best/README.md")).unwrap();
    assert!(card.contains("head.arc.pair.weight") && card.contains("topwork predict"), "{card}");

    let page = stage.ok("eval runs/t --data t.conllu --json --at-least uas=0.3").out();
    let page: serde_json::Value = serde_json::from_str(&page).unwrap();
    assert_eq!(page["evaluation"]["examples"], 60);
    let line = stage.ok("predict runs/t win,now").out();
    let (tree, text) = line.trim_end().split_once('\t').unwrap();
    assert_eq!((tree.split(' ').count(), text), (3, "win,now"));
    let parts: Vec<&str> = tree.split(' ').next().unwrap().split('/').collect();
    assert!(parts[0] == "win" && parts[1].parse::<usize>().unwrap() <= 3, "{line}");
    let answer = stage.ok("predict runs/t win,now --json").out();
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let tree = answer["tree"].as_array().unwrap();
    assert_eq!(tree.iter().filter(|word| word["head"] == 0).count(), 1);
    assert_eq!((&tree[2]["start"], &tree[2]["text"]), (&serde_json::json!(4), &serde_json::json!("now")));
    stage.refused(
        &format!("train --model bert --data t.conllu --out runs/u --head mlp {QUICK}"),
        &["body", "own or bilstm"],
    );
}

#[test]
fn relations_of_marked_spans_are_learnt_and_answered_from_the_same_rows() {
    let stage = Stage::new();
    stage.model("bert");
    let words = ["see", "win", "now", "call", "prize", "lunch", "free"];
    let row = |n: usize, label: bool| {
        let (first, second) = (words[n % 7], words[n / 7 % 7]);
        let (one, two) = ([0, first.len()], [first.len() + 5, first.len() + 5 + second.len()]);
        let mut row = serde_json::json!({"text": format!("{first} and {second} \u{e9}{n}"), "span1": one, "span2": two});
        if label {
            row["relation"] = ["a", "b"][n % 2].into();
        }
        format!("{row}\n")
    };
    let file = |name: &str, label| {
        stage.program.file(name, (0..48).map(|n| row(n, label)).collect::<String>()).unwrap();
    };
    file("r.jsonl", true);
    file("asked.jsonl", false);
    let train = "train --model bert --task relation --data r.jsonl";
    let done = stage.ok(&format!("{train} --out runs/r --head mlp:16 {QUICK} task.span=ends"));
    assert!(done.err().contains("two spans from columns span1, span2, in characters"), "{}", done.err());
    assert!(done.out().contains("macro-f1"), "{}", done.out());
    let page = stage.ok("eval runs/r --data r.jsonl").out();
    assert!(page.contains("48 examples"), "{page}");

    let labelled = stage.ok("predict runs/r --file r.jsonl").out();
    let lines: Vec<&str> = labelled.lines().collect();
    assert_eq!(lines.len(), 48);
    let fields: Vec<&str> = lines[8].split('\t').collect();
    assert_eq!((fields.len(), fields[2]), (3, "[win] and [win] \u{e9}8"));
    // Labels in the rows change nothing, nor does where the rows come from.
    assert_eq!(stage.ok("predict runs/r --file asked.jsonl").out(), labelled);
    let asked = std::fs::read_to_string(stage.path("asked.jsonl")).unwrap();
    let piped =
        stage.run(["predict", "runs/r", "--json"]).stdin(asked).run().unwrap().expect_code(0).unwrap().out();
    let first: serde_json::Value = serde_json::from_str(piped.lines().next().unwrap()).unwrap();
    assert_eq!(first["spans"], serde_json::json!(["see", "see"]));
    assert!(first["probabilities"]["a"].is_number());
    let csv = stage.ok("predict runs/r --file asked.jsonl --csv").out();
    assert!(csv.starts_with("row,text,span1,span2,label,p(a),p(b)"), "{csv}");
    stage.refused("predict runs/r win", &["span1"]);
}
