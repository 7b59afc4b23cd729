//! Vectors of two languages in one space.

use std::fmt::Write as _;
use std::fs;

use serde_json::Value;

use crate::stage::Stage;

/// Words with numbers that look random.
fn vectors(turned: bool) -> String {
    let mut text = String::from("60 3\n");
    for word in 0..60_u32 {
        let at = |k: u32| f64::from((word * 37 + k * 101 + word * word * k) % 97) / 48.0 - 1.0;
        let row = if turned { [-at(1), at(2), at(0)] } else { [at(0), at(1), at(2)] };
        let _ = writeln!(text, "{}{word} {} {} {}", if turned { "z" } else { "w" }, row[0], row[1], row[2]);
    }
    text
}

fn dictionary(count: u32) -> String {
    let mut lines: Vec<String> = (0..count).map(|word| format!("w{word}\tz{word}")).collect();
    lines.push("nowhere z1".to_string());
    lines.join("\n") + "\n\n"
}

#[test]
fn a_turned_language_is_turned_back() {
    let stage = Stage::new();
    for (name, content) in [
        ("a.vec", vectors(false)),
        ("b.vec", vectors(true)),
        ("pairs.txt", dictionary(60)),
        ("two.txt", dictionary(2)),
    ] {
        fs::write(stage.path(name), content).unwrap();
    }
    let line = "align a.vec b.vec --dictionary pairs.txt";
    let done = stage.ok(&format!("{line} --json --out moved.vec"));
    let page: Value = serde_json::from_str(&done.out()).unwrap();
    assert_eq!((page["pairs"].as_u64(), page["after"]["queries"].as_u64()), (Some(48), Some(12)));
    assert_eq!(page["after"]["p-at-1"].as_f64(), Some(1.0));
    assert!(page["before"]["p-at-1"].as_f64().unwrap() < 0.5, "{page}");
    let moved = fs::read_to_string(stage.path("moved.vec")).unwrap();
    assert!(moved.starts_with("60 3\nw0 "), "{moved}");
    // Where they lie then, a word is as near to its translation as can be: what was taken off both were their means.
    let again = stage.ok("align moved.vec b.vec --dictionary pairs.txt --json").out();
    let again: Value = serde_json::from_str(&again).unwrap();
    assert_eq!(again["after"]["p-at-1"].as_f64(), Some(1.0));
    let out = stage.ok(&format!("{line} --seed 3")).out();
    assert!(out.contains("turned      1.000") && out.contains("measured on 12 others among 60"), "{out}");
    stage.refused("align a.vec b.vec", &["--dictionary"]);
    stage.refused(&format!("{line} --held-out 1"), &["between 0 and 1"]);
    stage.refused("align a.vec b.vec --dictionary two.txt --held-out 0.9", &["fewer than two pairs"]);
    stage.refused("align a.vec nowhere.vec --dictionary pairs.txt", &["nowhere.vec"]);
    fs::write(stage.path("bad.txt"), "w1 z1\nw2\n").unwrap();
    stage.refused("align a.vec b.vec --dictionary bad.txt", &["bad.txt line 2", "\"w2\""]);
    fs::write(stage.path("narrow.vec"), "z1 0.5 0.25\nz2 1 2\n").unwrap();
    stage.refused("align a.vec narrow.vec --dictionary pairs.txt", &["has 3 numbers", "has 2"]);
}

#[test]
fn texts_and_their_translations_go_through_a_model() {
    let stage = Stage::with_mails();
    let text = |before: &str| -> String {
        (0..60).map(|n| format!("{before} number {n} of {} words\n", n * 7 % 13)).collect()
    };
    fs::write(stage.path("a.txt"), text("the")).unwrap();
    fs::write(stage.path("b.txt"), text("it is")).unwrap();
    let out = stage.ok("align a.txt b.txt --model bert --precision f32 --out map.npy").out();
    assert!(out.contains("measured on 12 others among 12") && out.contains("map.npy"), "{out}");
    assert!(fs::read(stage.path("map.npy")).unwrap().starts_with(b"\x93NUMPY"));
    fs::write(stage.path("short.txt"), "one\n").unwrap();
    stage.refused("align a.txt short.txt --model bert", &["has 60 lines", "has 1"]);
    stage.refused("align a.txt b.txt --model bert --out map.bin", &[".npy"]);
}
