//! `topwork bench`: what it measures adds up, and what it cannot measure it says.

use serde_json::Value;

use crate::stage::Stage;

#[test]
fn bench_measures_the_texts_it_is_given() {
    let stage = Stage::with_mails();
    stage.model("bert");
    let page = stage.ok("bench bert --file mails.csv --text body --steps 2 --batch 8").out();
    for part in
        ["72 texts of", "tokenize", "inference", "training", "GFLOP/s", "one text of", "everything else"]
    {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(page.contains("linear_d_weight") && page.contains("attention_with_lse"), "{page}");

    let json =
        stage.ok("bench bert --file mails.csv --text body --steps 3 --batch 8 --precision f32 --json").out();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["precision"], "f32");
    assert_eq!(json["inference"]["texts"], 72);
    assert_eq!(json["training"]["texts"], 3 * 8);
    let number = |path: &str| json.pointer(path).and_then(Value::as_f64).unwrap();
    for path in
        ["/peak_gflops", "/one_seconds", "/open_seconds", "/training/flops", "/inference/texts_per_second"]
    {
        assert!(number(path) > 0.0, "{path}: {json}");
    }
    // Operations run inside the time that was taken.
    let spent = json["training"]["spent"].as_array().unwrap();
    let sum: f64 = spent.iter().map(|entry| entry["seconds"].as_f64().unwrap()).sum();
    assert!(spent.len() > 10 && sum <= number("/training/seconds"), "{json}");

    // Also where there are batches for all threads, which then work on one each.
    stage.program.file("many.txt", "you have won a free prize call now to see it\n".repeat(4000)).unwrap();
    let many = stage.ok("bench bert --file many.txt --steps 1 --threads 2 --precision f32 --json").out();
    let many: Value = serde_json::from_str(&many).unwrap();
    let spent = many["inference"]["spent"].as_array().unwrap();
    let sum: f64 = spent.iter().map(|entry| entry["seconds"].as_f64().unwrap()).sum();
    assert!(sum <= many["inference"]["seconds"].as_f64().unwrap(), "{sum}: {many}");

    // Few texts are gone through several times; nothing is left behind.
    assert!(stage.ok("bench bert win --steps 5 --batch 4").out().contains("1 text of"));
    assert!(!stage.path("runs").exists());
}

#[test]
fn what_cannot_be_measured_is_said() {
    let stage = Stage::new();
    stage.model("bert");
    stage.program.file("empty.txt", "").unwrap();
    stage.refused("bench bert --file empty.txt", &["no text"]);
    stage.refused("bench bert --file missing.txt", &["missing.txt"]);
    let none = stage.run(["bench", "bert", "win", "--steps", "0"]).run().unwrap().expect_code(2).unwrap();
    assert!(none.err().contains("at least 1"), "{}", none.err());
    stage.refused("bench nothing win", &["nothing"]);
}
