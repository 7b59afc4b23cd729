//! Whole runs that learn to hold conversations, on tiny checkpoints: from a file to a saved model that is talked with.

#![allow(clippy::unwrap_used)] // in a test a panic is the report

mod runs;

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use runs::{WORDS, epochs, fixtures, measured_again, test_value, train, words, write};
use serde_json::json;
use topwork::tasks::{Answers, Judge, Run};
use topwork::{Chat, GenerateOptions, Generator};
use topwork_data::Label;
use topwork_kernels::gemm::Precision;
use topwork_kernels::loss::IGNORE;
use topwork_models::generate::Ended;
use topwork_models::{LossOptions, Model, Targets};
use topwork_nn::Pass;

/// A model of `config` in the tokens of the tiny GPT-2, without a chat template and without weights.
fn bare_decoder(folder: &Path, config: &str) -> PathBuf {
    let model = folder.join(config.replace('/', "-"));
    fs::create_dir(&model).unwrap();
    let text = fs::read_to_string(fixtures(config).join("config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
    for (key, value) in [("vocab_size", 500), ("bos_token_id", 0), ("eos_token_id", 0), ("pad_token_id", 0)] {
        config[key] = json!(value);
    }
    for key in ["n_positions", "max_position_embeddings"].into_iter().filter(|key| text.contains(key)) {
        config[key] = json!(64);
    }
    fs::write(model.join("config.json"), config.to_string()).unwrap();
    for file in ["tokenizer.json", "tokenizer_config.json"] {
        fs::copy(fixtures("decoder").join(file), model.join(file)).unwrap();
    }
    model
}

/// What is replied to a turn that ends with a word; no articles, which the F1 of words passes over.
fn reply_to(turn: &str) -> &'static str {
    const REPLIES: [&str; 8] = ["to", "on", "in", "and", "you", "they", "is", "it"];
    REPLIES[WORDS.iter().position(|word| turn.ends_with(&format!(" {word}"))).unwrap()]
}

/// Conversations in which each turn is answered by the word that stands for its last one. Wrong candidates are what nobody says.
fn exchanges(folder: &Path, candidates: bool) -> PathBuf {
    let lines = (0..480).map(|n| {
        let (turn, words) = (words(n).join(" "), words(n + 1000));
        let first = words[..3].join(" ");
        let mut history = vec![first.clone(), reply_to(&first).to_string(), turn];
        history.drain(..n % 2 * 2);
        let reply = reply_to(history.last().unwrap());
        let mut row = json!({"persona": [words[1..3].join(" ")], "history": history, "reply": reply});
        if candidates {
            let wrong: Vec<&str> =
                ["the a", "a", "of the", "of", "the of"].into_iter().skip(n % 3).take(3).collect();
            let all = [&wrong[..], &[reply]].concat();
            row["candidates"] = json!(all);
        }
        row.to_string()
    });
    write(folder, "exchanges.jsonl", lines)
}

#[test]
fn replies_are_written_and_told_from_others() {
    let folder = tempfile::tempdir().unwrap();
    let model = bare_decoder(folder.path(), "decoder");
    let data = exchanges(folder.path(), true);
    let more = format!("from-scratch = true\n{}", epochs(18, 5e-3, "kind = \"dialog\""));
    let run = train(&model, &data, folder.path(), &more).unwrap();
    let task = &run.resolved.task;
    assert_eq!(
        (task.metric.as_deref(), task.candidates, task.lm_weight),
        (Some("perplexity"), Some(4), Some(2.0))
    );
    for (measure, least) in [("hits@1", 0.95), ("mrr", 0.95), ("word-f1", 0.8)] {
        assert!(test_value(&run, measure) > least, "{}", run.test.unwrap().evaluation);
        assert!(measured_again(&run, &data, measure) > least, "{measure}");
    }
    assert!(test_value(&run, "perplexity") < 1.5, "{}", run.test.unwrap().evaluation);
    let report = fs::read_to_string(run.folder.join("report.html")).unwrap();
    assert!(report.contains("Dialog on exchanges.jsonl") && report.contains("hits@1"));

    // What the template says of who speaks stands in the folder, for every program.
    let template = fs::read_to_string(run.best().join("chat_template.jinja")).unwrap();
    assert_eq!(template, topwork::conversation::PLAIN);
    let generator = Generator::open(run.best()).unwrap();
    let mut chat = Chat::new(&generator, &["the of".to_string()]).unwrap();
    let options = GenerateOptions { precision: Precision::F32, ..GenerateOptions::default() };
    let (mut right, mut told) = (0, String::new());
    for turn in (2000..2024).map(|n| words(n).join(" ")) {
        let answered = chat.answer(&turn, &options, &mut |new| {
            told.push_str(new);
            true
        });
        let text = answered.unwrap().written.text.trim().to_string();
        assert!(told.trim_end() == text && !told.starts_with(' '), "{told:?}");
        told.clear();
        right += usize::from(text == reply_to(&turn));
    }
    assert!(right >= 20, "{:?}", chat.turns());
    assert_eq!(chat.turns().len(), 48);
    let mut no = |_: &str| false;
    let broken_off = chat.answer("the", &options, &mut no).unwrap().written;
    assert_eq!((broken_off.ended, chat.turns().len()), (Ended::Stopped, 50));
    assert!(chat.answer(&"it ".repeat(80), &options, &mut no).is_err() && chat.turns().len() == 50);
    chat.reset();
    assert!(chat.turns().is_empty() && chat.answer("the", &options, &mut |_| true).unwrap().forgotten == 0);
}

#[test]
fn an_exchange_is_read_once_for_each_candidate_and_its_words_are_asked_of_the_right_one() {
    let folder = tempfile::tempdir().unwrap();
    let model = bare_decoder(folder.path(), "gpt");
    let data = exchanges(folder.path(), false);
    let more = format!(
        "from-scratch = true\n{}",
        epochs(1, 1e-3, "kind = \"dialog\"\nmax-length = 24\ncandidates = 3")
    );
    let run = train(&model, &data, folder.path(), &more).unwrap();
    let (task, part) = (run.data.task(), &run.data.train);
    assert!(part.inputs.cut_texts > 100, "with its first exchange a history has no room");
    let tokenizer = topwork::model_files::tokenizer(&model).unwrap();
    let mut seen = 0;
    for unit in 0..part.len() {
        let Some(Label::Exchange(exchange)) = &part.dataset.examples[unit].label else { panic!("{unit}") };
        let whole = task.batch(part, &[unit], None).unwrap();
        let [once, again] = [7, 8].map(|draw| task.batch(part, &[unit], Some(draw)).unwrap());
        // Drawn from the eight replies that there are.
        assert_eq!((whole.packed.batch(), once.packed.batch()), (8, 3));
        seen += usize::from(once.packed.ids != again.packed.ids);
        assert_eq!(once.packed, task.batch(part, &[unit], Some(7)).unwrap().packed);
        for batch in [whole, once, again] {
            let Some(Targets::Both { tokens, texts }) = &batch.targets else { panic!("{:?}", batch.targets) };
            let last = batch.packed.batch() - 1;
            let choices =
                Targets::Choices { right: [last as u32].into(), questions: [0, last as u32 + 1].into() };
            assert_eq!(**texts, choices);
            let asked: Vec<usize> = (0..tokens.len()).filter(|&at| tokens[at] != IGNORE).collect();
            let right = batch.packed.range(last);
            assert!(asked.iter().all(|at| right.contains(at)), "{asked:?} in {right:?}");
            assert!(asked.iter().all(|&at| tokens[at] == batch.packed.ids[at + 1]));
            assert_eq!(asked.last(), Some(&(right.end - 2)), "the end is asked for too");
            let text = |at: usize| tokenizer.decode(batch.packed.sequence(at).0, false).unwrap();
            assert!(
                text(last).ends_with(&format!("Bot: {}<|endoftext|>", exchange.reply())),
                "{}",
                text(last)
            );
            assert!((0..last).all(|at| text(at) != text(last) && text(at).contains("\nBot: ")));
            assert!(batch.packed.lengths().all(|length| length <= 24));
        }
    }
    assert!(seen > 200, "others are drawn each time: {seen}");

    // The measures are the parts of the loss that the model is trained on.
    let model = Model::open_saved(&run.best(), &Device::flex()).unwrap().0;
    assert_eq!(*model.spec(), topwork_models::HeadSpec::DoubleHeads);
    let units: Vec<usize> = (0..20).collect();
    let loss = |words: f32| -> f64 {
        let batch = task.batch(part, &units, None).unwrap();
        let options = LossOptions { words: Some(words), ..LossOptions::default() };
        let pass = Pass::eval(&model.store, Precision::F32);
        let loss = model.loss(&pass, &batch.packed, batch.targets.as_ref().unwrap(), &options).unwrap();
        f64::from(loss.into_scalar::<f32>())
    };
    let of_words = loss(1.0) - loss(0.0);
    let judge = Judge::default();
    let measured = task.measure(&Run::new(&model, &tokenizer, Precision::F32, judge), part).unwrap();
    let Answers::Sums(sums) = &measured.answers else { panic!() };
    let perplexity = sums.iter().find(|sum| sum.name == "perplexity").unwrap().select(&units).of().unwrap();
    assert!((perplexity.ln() - of_words).abs() < 1e-4, "{perplexity} {of_words}");
    assert!(measured.evaluation.value("word-f1").is_err(), "nothing was written");
}

#[test]
fn every_family_that_reads_from_left_to_right_learns_conversations() {
    let folder = tempfile::tempdir().unwrap();
    let data = exchanges(folder.path(), true);
    for family in ["gpt", "llama", "qwen3"] {
        let own = folder.path().join(format!("{family}-run"));
        fs::create_dir(&own).unwrap();
        let model = bare_decoder(&own, family);
        let more = format!("from-scratch = true\n{}", epochs(1, 1e-3, "kind = \"dialog\""));
        let run = train(&model, &data, &own, &more).unwrap();
        for part in [&run.data.train, &run.data.dev] {
            assert!(part.inputs.packed.longest() <= 64);
        }
        // What is saved answers as what was trained, and is talked to.
        let perplexity = test_value(&run, "perplexity");
        let only_test = write(&own, "test.jsonl", run.data.test.dataset.examples.iter().map(|example| {
            let Some(Label::Exchange(exchange)) = &example.label else { panic!("{example:?}") };
            json!({"persona": exchange.persona, "history": exchange.history, "reply": exchange.reply(), "candidates": exchange.candidates}).to_string()
        }));
        let again = measured_again(&run, &only_test, "perplexity");
        assert!((perplexity - again).abs() < 1e-3 * perplexity, "{family}: {perplexity} {again}");
        let generator = Generator::open(run.best()).unwrap();
        let mut chat = Chat::new(&generator, &[]).unwrap();
        chat.answer("the", &GenerateOptions { max_new: 5, ..GenerateOptions::default() }, &mut |_| true)
            .unwrap();
        assert_eq!(chat.turns().len(), 2);
    }
    // It sees the words to come.
    let error =
        train(&fixtures("bert"), &data, folder.path(), &epochs(1, 1e-3, "kind = \"dialog\"")).err().unwrap();
    assert!(error.to_string().contains("no token ends a text"), "{error}");
}
