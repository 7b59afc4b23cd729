//! `topwork generate` and `topwork model convert`.

use serde_json::Value;

use crate::stage::{Stage, fixture, refusal};

/// A stage with the tiny GPT-2 of the fixtures in `gpt2/`, and what transformers writes with it.
fn stage() -> (Stage, Value) {
    let stage = Stage::new();
    for file in
        ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"]
    {
        let bytes = std::fs::read(fixture("decoder").join(file)).unwrap();
        stage.program.file(&format!("gpt2/{file}"), bytes).unwrap();
    }
    let golden = std::fs::read_to_string(fixture("decoder").join("golden.json")).unwrap();
    (stage, serde_json::from_str(&golden).unwrap())
}

fn generate(stage: &Stage, args: &[&str]) -> String {
    let args = [&["generate"], args, &["--precision", "f32"]].concat();
    stage.run(args).run().unwrap().expect_code(0).unwrap().out()
}

#[test]
fn a_text_goes_on_as_in_transformers_from_a_folder_and_from_gguf() {
    let (stage, golden) = stage();
    let text = &golden["texts"][0];
    let (prompt, new) = (text["prompt"].as_str().unwrap(), text["new"].as_str().unwrap());
    let page = stage.ok("model convert gpt2 gpt2.gguf").out();
    assert!(page.contains("28 loaded") && page.contains("gpt2.gguf"), "{page}");
    stage.ok("model convert gpt2.gguf back");
    for file in ["keras/tf_model.h5", "original/model.ckpt"] {
        let page = stage.ok(&format!("model convert gpt2 {file}")).out();
        assert!(page.contains("28 loaded") && page.contains("beside      config.json, "), "{page}");
    }
    for model in
        ["gpt2", "gpt2.gguf", "back", "keras", "keras/tf_model.h5", "original", "original/model.ckpt"]
    {
        let page = generate(&stage, &[model, prompt, "--max-new", "20"]);
        assert_eq!(page, format!("{prompt}{new}\n"), "{model}");
    }
    let page = stage.ok("model show gpt2.gguf").out();
    assert!(page.contains("gpt2") && page.contains("causal-lm") && page.contains("tokenizer"), "{page}");
}

#[test]
fn lines_are_gone_on_with_and_told_apart() {
    let (stage, golden) = stage();
    let texts = golden["texts"].as_array().unwrap();
    // A text of two lines cannot be a line.
    let texts: Vec<&Value> =
        texts.iter().filter(|text| !text["prompt"].as_str().unwrap().contains('\n')).collect();
    let lines: String = texts.iter().map(|text| format!("{}\n", text["prompt"].as_str().unwrap())).collect();
    stage.program.file("prompts.txt", lines).unwrap();
    let page = generate(&stage, &["gpt2", "--file", "prompts.txt", "--max-new", "20", "--json"]);
    let answers: Vec<Value> = page.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), texts.len());
    for (answer, text) in answers.iter().zip(texts) {
        assert_eq!((&answer["text"], &answer["written"]), (&text["prompt"], &text["new"]));
        assert_eq!(answer["ended"], "length");
    }
}

#[test]
fn draws_repeat_with_their_seed_and_beams_find_another_way() {
    let (stage, _) = stage();
    let run = |more: &[&str]| {
        let page = generate(&stage, &[&["gpt2", "x", "--json"], more].concat());
        serde_json::from_str::<Value>(&page).unwrap()
    };
    let drawn =
        |seed: &str| run(&["--temperature", "2", "--top-p", "0.99", "--seed", seed])["written"].clone();
    assert_eq!(drawn("1"), drawn("1"));
    assert_ne!(drawn("1"), drawn("2"));
    // One beam is the likeliest word each time; several find another way.
    let beams = |n: &str| run(&["--max-new", "12", "--beams", n])["written"].clone();
    assert_eq!(beams("1"), run(&["--max-new", "12"])["written"]);
    assert_ne!(beams("6"), beams("1"));
    let stopped = run(&["--stop", "Oox", "--max-new", "20"]);
    assert_eq!((&stopped["written"], &stopped["ended"]), (&"laiox".into(), &"stop".into()));
}

#[test]
fn a_conversation_is_put_into_the_template() {
    let (stage, _) = stage();
    let chat = generate(&stage, &["gpt2", "why?", "--chat", "--max-new", "8"]);
    let plain = generate(&stage, &["gpt2", "<user>why?<assistant>", "--max-new", "8"]);
    assert_eq!(plain, format!("<user>why?<assistant>{chat}"));
    std::fs::remove_file(stage.path("gpt2/chat_template.jinja")).unwrap();
    let done = stage.run(["generate", "gpt2", "why?", "--chat"]).run().unwrap();
    refusal(done, "no template", &["chat template", "without --chat"]);
}

#[test]
fn weights_of_no_known_model_are_looked_into() {
    let stage = Stage::new();
    let file = fixture("weights").join("npz/stored.npz");
    stage.program.file("some/stored.npz", std::fs::read(file).unwrap()).unwrap();
    for model in ["some/stored.npz", "some"] {
        let page = stage.ok(&format!("model show {model}")).out();
        assert!(page.contains("no model") && page.contains("config.json") && page.contains("F32"), "{page}");
        let page: Value =
            serde_json::from_str(&stage.ok(&format!("model show {model} --json")).out()).unwrap();
        assert!(!page["tensors"].as_array().unwrap().is_empty());
    }
    stage.program.file("some/config.json", r#"{"model_type": "megatron"}"#).unwrap();
    assert!(stage.ok("model show some").out().contains("megatron"));
    stage.refused("model show none.npz", &["none.npz"]);
}

#[test]
fn what_cannot_be_is_refused() {
    let (stage, _) = stage();
    stage.model("bert");
    stage.refused("generate bert x", &["left to right"]);
    stage.refused("generate gpt2 x --temperature 0", &["temperature", "above 0"]);
    stage.refused("generate gpt2 x --max-new 0", &["at least 1"]);
    stage.refused("model convert bert x.gguf", &["bert", "llama"]);
    stage.refused(
        "model convert gpt2 bert/tf_model.h5",
        &["bert/config.json is there", "a folder of its own"],
    );
    stage.refused("model convert gpt2 x.pt --store q8_0", &["--store", "GGUF"]);
    assert!(!stage.path("x.gguf").exists() && !stage.path("x.pt").exists());
}

#[test]
fn the_likelier_text_is_chosen_as_transformers_scores_it() {
    let (stage, _) = stage();
    for file in ["config.json", "model.safetensors"] {
        let bytes = std::fs::read(fixture("bert/masked-lm").join(file)).unwrap();
        stage.program.file(&format!("mlm/{file}"), bytes).unwrap();
    }
    for file in ["tokenizer.json", "tokenizer_config.json", "vocab.txt"] {
        stage
            .program
            .file(&format!("mlm/{file}"), std::fs::read(fixture("bert").join(file)).unwrap())
            .unwrap();
    }
    let scores = std::fs::read_to_string(fixture("bert/masked-lm/scores.json")).unwrap();
    let scores: Value = serde_json::from_str(&scores).unwrap();
    let whole = serde_json::json!({"options": scores["texts"], "answer": 0}).to_string();
    stage.program.file("whole.jsonl", whole).unwrap();
    let blank = "{\"text\": \"free ___\", \"options\": [\"prize\", \"lunch\"], \"answer\": 0}\n";
    stage.program.file("blank.jsonl", blank).unwrap();
    for (model, name, measure) in
        [("mlm", "masked", "pseudo-log-likelihood"), ("gpt2", "causal", "log-likelihood")]
    {
        let page = stage.ok(&format!("eval-lm {model} --choices whole.jsonl --json")).out();
        let page: Value = serde_json::from_str(&page).unwrap();
        assert_eq!(page["choices"]["by"], measure);
        let got = page["choices"]["answers"][0]["scores"].as_array().unwrap();
        let expected = scores[name].as_array().unwrap();
        let numbers = |values: &[Value]| values.iter().map(|v| v.as_f64().unwrap()).collect::<Vec<f64>>();
        let (got, expected) = (numbers(got), numbers(expected));
        assert_eq!(got.len(), expected.len());
        for (got, expected) in got.iter().zip(&expected) {
            assert!((got - expected).abs() < 1e-4 * expected.abs(), "{model}: {got} {expected}");
        }
        // The same text by its blank.
        let page = stage.ok(&format!("eval-lm {model} --choices blank.jsonl --json")).out();
        let page: Value = serde_json::from_str(&page).unwrap();
        let first = page["choices"]["answers"][0]["scores"][0].as_f64().unwrap();
        assert!((first - got[0]).abs() < 1e-6, "{first} {}", got[0]);
        assert_eq!(page["choices"]["chance"], 0.5);
    }
    let page = stage.ok("eval-lm mlm --choices whole.jsonl").out();
    assert!(page.contains("1.0000 right (1 of 1; chance 0.2500)"), "{page}");
    let page = stage.ok("eval-lm gpt2 --choices whole.jsonl").out();
    assert!(page.contains("wrong by 14.83: the the the") && page.contains("right is: free prize"), "{page}");
    stage.program.file("bad.jsonl", "{\"options\": [\"a\"], \"answer\": 0}").unwrap();
    stage.refused("eval-lm mlm --choices bad.jsonl", &["bad.jsonl line 1", "at least 2"]);
    stage.refused("eval-lm mlm --text bad.jsonl", &["left to right"]);
}
