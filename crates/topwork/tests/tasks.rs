//! Whole runs of the tasks beyond one answer a text, on tiny checkpoints: from a file to a saved model that answers.

#![allow(clippy::unwrap_used)] // in a test a panic is the report

mod runs;

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use runs::{WORDS, epochs, fixtures, measured_again, test_value, train, words, write};
use serde_json::json;
use topwork::recipe::Kind;
use topwork::tasks::language_model::hidden;
use topwork::{GenerateOptions, Generator, Predictor};
use topwork_data::{Example, Label, Labels, ReadOptions, Related, Task};

/// The word that stands for a word in the other language.
fn partner(word: &str) -> &'static str {
    let at = WORDS.iter().position(|known| *known == word).unwrap();
    WORDS[(at + 3) % WORDS.len()]
}

/// Sentences in columns with two kinds of entities.
fn entities(folder: &Path) -> PathBuf {
    let lines = (0..400).flat_map(|n| {
        let rows = words(n).into_iter().map(|word| match word {
            "it" => "it B-PER\nand I-PER".to_string(),
            "and" | "of" => "of B-LOC".to_string(),
            word => format!("{word} O"),
        });
        rows.chain([String::new()]).collect::<Vec<_>>()
    });
    write(folder, "entities.conll", lines)
}

#[test]
fn a_tagger_from_columns_to_entities() {
    let folder = tempfile::tempdir().unwrap();
    let data = entities(folder.path());
    let run = train(&fixtures("bert"), &data, folder.path(), &epochs(20, 2e-3, "kind = \"tag\"")).unwrap();
    assert_eq!(run.resolved.task.metric.as_deref(), Some("entity-f1"));
    assert!(test_value(&run, "entity-f1") > 0.9, "{}", run.test.unwrap().evaluation);
    assert!(measured_again(&run, &data, "entity-f1") > 0.95);
    let predictor = Predictor::open(run.best()).unwrap();
    let answers = predictor.predict(&["the it and of", "a to"]).unwrap();
    let found: Vec<(&str, &str, usize)> =
        answers[0].entities.iter().map(|e| (e.text.as_str(), e.label.as_str(), e.start)).collect();
    assert_eq!(found, [("it and", "PER", 4), ("of", "LOC", 11)]);
    assert!(answers[1].entities.is_empty() && answers[1].words.len() == 2);
    let report = fs::read_to_string(run.folder.join("report.html")).unwrap();
    assert!(report.contains("PER") && report.contains("Token tagging"));
}

/// Sentences in CoNLL-U: words depend on the next "is", "it" or "in", or else on the first of these, which is the root. The others
/// of these depend on that one, or hang on the root too.
fn dependencies(folder: &Path, several_roots: bool) -> PathBuf {
    let sentence = |n: usize| {
        let words = words(n);
        let is_head = |word: &str| ["is", "it", "in"].contains(&word);
        let heads: Vec<usize> = (0..words.len()).filter(|&at| is_head(words[at])).collect();
        let top = heads.first().copied().unwrap_or(0);
        let mut lines = vec![format!("# sent_id = s{n}")];
        for (at, word) in words.iter().enumerate() {
            let next = heads.iter().copied().find(|&head| head > at).unwrap_or(top);
            let (head, relation) = match (at == top, is_head(word)) {
                (true, _) => (0, "root"),
                (false, true) if several_roots => (0, "root"),
                (false, true) => (top + 1, "conj"),
                (false, false) => (next + 1, if next > at { "det" } else { "obj" }),
            };
            lines.push(format!("{}\t{word}\t_\t_\t_\t_\t{head}\t{relation}\t_\t_", at + 1));
        }
        lines.push(String::new());
        lines.join("\n")
    };
    write(folder, "trees.conllu", (0..400).map(sentence))
}

#[test]
fn a_parser_from_trees_to_trees() {
    let folder = tempfile::tempdir().unwrap();
    let data = dependencies(folder.path(), false);
    // The format says what is learnt.
    let run = train(&fixtures("bert"), &data, folder.path(), &epochs(15, 2e-3, "")).unwrap();
    assert_eq!(run.resolved.task.kind, Some(Kind::Parse));
    assert_eq!(run.resolved.task.metric.as_deref(), Some("las"));
    assert_eq!(run.resolved.task.several_roots, Some(false));
    assert!(test_value(&run, "las") > 0.9, "{}", run.test.unwrap().evaluation);
    assert!(measured_again(&run, &data, "uas") > 0.9);
    let answers = Predictor::open(run.best()).unwrap().predict(&["the a is of it", "to in the"]).unwrap();
    let shown = |at: usize| -> Vec<(&str, usize, &str)> {
        answers[at].tree.iter().map(|w| (w.text.as_str(), w.head, w.relation.as_str())).collect()
    };
    let expected =
        [("the", 3, "det"), ("a", 3, "det"), ("is", 0, "root"), ("of", 5, "det"), ("it", 3, "conj")];
    assert_eq!(shown(0), expected);
    assert_eq!(shown(1), [("to", 2, "det"), ("in", 0, "root"), ("the", 2, "obj")]);
    let report = fs::read_to_string(run.folder.join("report.html")).unwrap();
    assert!(report.contains("conj") && report.contains("Dependency parsing"));
}

/// Texts of two pairs of words: those that are marked are a pair of the same word, or of two.
fn relations(folder: &Path, two_texts: bool) -> PathBuf {
    let lines = (0..400).map(|n| {
        let words = words(n);
        let (first, second) = (n % 2, 2 + n / 2 % 2);
        let other = if n % 3 == 0 { words[second] } else { words[first] };
        let at = |words: &[&str], place: usize| words[..place].iter().map(|word| word.len() + 1).sum::<usize>();
        let span = |words: &[&str], place: usize| {
            let start = at(words, place);
            [start, start + words[place].len()]
        };
        let mut all = words.clone();
        all[second] = other;
        let relation = if all[first] == other { "same" } else { "other" };
        if two_texts {
            let (text, pair) = (words.join(" "), all.join(" "));
            let (first_span, second_span) = (span(&words, first), span(&all, second));
            return json!({"sentence1": text, "sentence2": pair, "start1": first_span[0], "end1": first_span[1],
                "start2": second_span[0], "end2": second_span[1], "label": relation})
            .to_string();
        }
        let (one, two) = (span(&all, first), span(&all, second));
        json!({"text": all.join(" "), "span1": one, "span2": two, "relation": relation}).to_string()
    });
    write(folder, "spans.jsonl", lines)
}

#[test]
fn two_spans_are_told_to_be_of_the_same_word() {
    let folder = tempfile::tempdir().unwrap();
    let data = relations(folder.path(), false);
    let more = epochs(20, 2e-3, "kind = \"relation\"\nspan = \"ends\"\nbody = { mlp = { width = 32 } }");
    let run = train(&fixtures("bert"), &data, folder.path(), &more).unwrap();
    assert_eq!(run.resolved.task.metric.as_deref(), Some("macro-f1"));
    assert!(test_value(&run, "macro-f1") > 0.85, "{}", run.test.unwrap().evaluation);
    assert!(measured_again(&run, &data, "accuracy") > 0.85);
    let predictor = Predictor::open(run.best()).unwrap();
    let example = |text: &str, spans: [Range<usize>; 2]| Example {
        text: text.to_string(),
        pair: None,
        label: Some(Label::Related(Related { spans, name: None })),
        row: 1,
        id: None,
    };
    let read =
        topwork_data::read(&data, &ReadOptions { task: Task::Relation, ..ReadOptions::default() }).unwrap();
    let name = |example: &Example| match &example.label {
        Some(Label::Related(related)) => related.name.clone(),
        other => panic!("{other:?}"),
    };
    let answers = predictor.relate(read.examples.clone()).unwrap();
    let right = read.examples.iter().zip(&answers).filter(|(example, answer)| name(example) == answer.label);
    assert!(right.count() > 340);
    // The same text, asked about other spans.
    let asked = vec![example("to it a to", [0..2, 8..10]), example("to it a to", [3..5, 8..10])];
    let answers = predictor.relate(asked.clone()).unwrap();
    assert!((answers[0].probabilities[0] - answers[1].probabilities[0]).abs() > 1e-3);
    assert!((answers[0].probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-6);
    for (example, answer) in asked.into_iter().zip(&answers) {
        assert_eq!(predictor.relate(vec![example]).unwrap(), std::slice::from_ref(answer));
    }
    let error = predictor.predict(&["to it a to"]).unwrap_err().to_string();
    assert!(error.contains("span1"), "{error}");
    let report = fs::read_to_string(run.folder.join("report.html")).unwrap();
    assert!(report.contains("Relations of spans"));
}

#[test]
fn a_span_in_each_of_two_texts_and_one_that_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let data = relations(folder.path(), true);
    let more = epochs(1, 2e-3, "kind = \"relation\"\nlayers = \"mix\"");
    let run = train(&fixtures("bert"), &data, folder.path(), &more).unwrap();
    let part = &run.data.train;
    let (packed, examples) = (&part.inputs.packed, &part.dataset.examples);
    let mut seen = 0;
    for (at, example) in examples.iter().enumerate() {
        // The second span is among the tokens of the second text.
        let [first, second] = packed.marks.of(at).collect::<Vec<_>>().try_into().unwrap();
        let types = packed.sequence(at).1;
        assert!(types[first.start as usize] == 0 && types[second.start as usize] == 1, "{example:?}");
        seen += 1;
    }
    assert!(seen > 200);
    let error = train(
        &fixtures("bert"),
        &data,
        &folder.path().join("b"),
        &more.replace("[task]", "[task]\nmax-length = 6"),
    );
    let error = error.err().unwrap().to_string();
    assert!(error.contains("no token stands for the span") && error.contains("--max-length"), "{error}");
}

#[test]
fn a_frozen_encoder_is_parsed_by_an_lstm_and_a_sentence_may_have_several_roots() {
    let folder = tempfile::tempdir().unwrap();
    let data = dependencies(folder.path(), true);
    let head = "kind = \"parse\"\nbody = { bilstm = { width = 16, layers = 1 } }\nlayers = \"mix\"";
    let more = epochs(20, 1e-2, head).replace("[train]", "[train]\nfreeze = [\"encoder\"]");
    let run = train(&fixtures("bert"), &data, folder.path(), &more).unwrap();
    assert_eq!(run.resolved.task.several_roots, Some(true));
    assert!(test_value(&run, "las") > 0.8, "{}", run.test.unwrap().evaluation);
    assert!(run.layers.is_some());
    let answers = Predictor::open(run.best()).unwrap().predict(&["the is a it of in"]).unwrap();
    assert!(answers[0].tree.iter().filter(|word| word.head == 0).count() > 1, "{:?}", answers[0].tree);
}

#[test]
fn a_causal_model_learns_running_text_from_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let lines = (0..400).map(|n| ["the cat sat on the mat .", "a dog ran in the park ."][n % 2].to_string());
    let data = write(folder.path(), "book.txt", lines);
    let more = format!("from-scratch = true\n{}", epochs(20, 5e-3, "kind = \"causal-lm\"\nmax-length = 32"));
    let run = train(&fixtures("decoder"), &data, folder.path(), &more).unwrap();
    assert!(run.load.loaded.is_empty());
    let perplexity = test_value(&run, "perplexity");
    assert!(perplexity < 1.3, "{}", run.test.unwrap().evaluation);
    // Windows cover the text: every token but the first of each window is asked for once.
    assert!(matches!(run.data.train.inputs.labels, Labels::None(_)));
    let generator = Generator::open(run.best()).unwrap();
    let prompt = generator.prompt("the cat sat").unwrap();
    let options = GenerateOptions { max_new: 12, ..GenerateOptions::default() };
    let written = generator.generate(&[prompt], &options, &mut |_, _| true).unwrap();
    assert!(written[0].text.starts_with(" on the mat"), "{:?}", written[0].text);
}

#[test]
fn words_behind_masks_are_learnt_in_the_shares_of_the_paper() {
    let folder = tempfile::tempdir().unwrap();
    let lines = (0..600).map(|n| words(n / 3).join(" "));
    let data = write(folder.path(), "domain.txt", lines);
    let run = train(
        &fixtures("bert"),
        &data,
        folder.path(),
        &epochs(10, 3e-3, "kind = \"masked-lm\"\nmax-length = 40"),
    )
    .unwrap();
    let share = hidden(&run.data.train).unwrap();
    let asked = (share.masked + share.replaced + share.kept) as f64;
    assert!((asked / share.words as f64 - 0.15).abs() < 0.02, "{share:?}");
    assert!((share.masked as f64 / asked - 0.8).abs() < 0.06, "{share:?}");
    let first = run.events.iter().find_map(|event| match event {
        topwork_train::Event::Step { loss, .. } => Some(*loss),
        _ => None,
    });
    assert!(test_value(&run, "perplexity").ln() < first.unwrap() / 2.0, "{first:?}");
    // The saved model goes on being one of masked words, and a classifier starts from it.
    let spec = topwork_models::model::saved_spec(&run.best()).unwrap();
    assert_eq!(spec, topwork_models::HeadSpec::MaskedLm);
}

#[test]
fn what_does_not_fit_is_said_before_training() {
    let folder = tempfile::tempdir().unwrap();
    let text = write(folder.path(), "book.txt", (0..50).map(|n| words(n).join(" ")));
    let refused = |model: &str, task: &str, expected: &str| {
        let error = train(&fixtures(model), &text, folder.path(), &epochs(1, 1e-3, task)).err().unwrap();
        let error = error.to_string();
        assert!(error.contains(expected), "{error}");
    };
    refused("bert", "kind = \"causal-lm\"", "sees the words to come");
    refused("decoder", "kind = \"masked-lm\"", "mask");
    refused("bert", "kind = \"masked-lm\"\nhide = 1.5", "task.hide");
    refused("bert", "kind = \"causal\"", "did you mean `causal-lm`");
    refused("bert", "kind = \"tag\"", "text");
}

#[test]
fn a_frozen_encoder_is_read_by_a_mix_of_layers_an_lstm_and_a_random_field() {
    let folder = tempfile::tempdir().unwrap();
    let data = entities(folder.path());
    let head = "kind = \"tag\"\nbody = { bilstm = { width = 16, layers = 1 } }\ncrf = true\nlayers = \"mix\"";
    let more = epochs(15, 1e-2, head).replace("[train]", "[train]\nfreeze = [\"encoder\"]");
    let run = train(&fixtures("bert"), &data, folder.path(), &more).unwrap();
    assert!(test_value(&run, "entity-f1") > 0.9, "{}", run.test.unwrap().evaluation);
    let shares = run.layers.as_ref().unwrap();
    assert!((shares.iter().sum::<f32>() - 1.0).abs() < 1e-5 && shares.len() > 2, "{shares:?}");
    assert!(fs::read_to_string(run.folder.join("report.html")).unwrap().contains("What the head reads"));
    let answers = Predictor::open(run.best()).unwrap().predict(&["the it and of"]).unwrap();
    assert_eq!(answers[0].entities.len(), 2);
    assert!(answers[0].words.iter().all(|word| word.probability > 0.5));
}

#[test]
fn layers_that_no_head_reads_stay_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let data = entities(folder.path());
    let more = epochs(2, 1e-3, "kind = \"tag\"\nlayers = \"first\"");
    let run = train(&fixtures("bert"), &data, folder.path(), &more).unwrap();
    assert!(run.run.trainable_values < run.total_values);
    assert!(measured_again(&run, &data, "tag-accuracy") > 0.3);
}

#[test]
fn the_right_one_of_several_texts_is_chosen() {
    let folder = tempfile::tempdir().unwrap();
    let lines = (0..160).map(|n| {
        let right = n * 5 % 3;
        let mut options = vec!["the a", "to the", "a to"];
        options[right] = ["of it", "it is"][n % 2];
        json!({"question": words(n)[..3].join(" "), "choices": options, "answer": right}).to_string()
    });
    let data = write(folder.path(), "choices.jsonl", lines);
    let more = epochs(8, 1e-3, "kind = \"multiple-choice\"");
    let run = train(&fixtures("bert"), &data, folder.path(), &more).unwrap();
    assert!(test_value(&run, "accuracy") > 0.9, "{}", run.test.unwrap().evaluation);
    assert!(measured_again(&run, &data, "accuracy") > 0.9);
}

#[test]
fn a_text_is_written_for_a_text() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    fs::create_dir(&model).unwrap();
    let mut config: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(fixtures("t5/config.json")).unwrap()).unwrap();
    fs::copy(fixtures("tokenizers-in/t5.model"), model.join("spiece.model")).unwrap();
    fs::write(model.join("tokenizer_config.json"), r#"{"tokenizer_class": "T5Tokenizer", "extra_ids": 0}"#)
        .unwrap();
    let tokenizer = topwork_text::Tokenizer::from_folder(&model).unwrap();
    config["vocab_size"] = json!(tokenizer.id_limit());
    fs::write(model.join("config.json"), config.to_string()).unwrap();
    let lines = (0..500).map(|n| {
        let words = words(n);
        let other: Vec<&str> = words.iter().map(|word| partner(word)).collect();
        format!("{}\t{}", words.join(" "), other.join(" "))
    });
    let data = write(folder.path(), "pairs.tsv", std::iter::once("source\ttarget".to_string()).chain(lines));
    let more = format!("from-scratch = true\n{}", epochs(40, 5e-3, "kind = \"seq2seq\"\nmetric = \"bleu\""));
    let run = train(&model, &data, folder.path(), &more).unwrap();
    assert!(test_value(&run, "perplexity") < 1.5, "{}", run.test.unwrap().evaluation);
    assert!(test_value(&run, "bleu") > 60.0);
    let generator = Generator::open(run.best()).unwrap();
    // The checkpoint was chosen by what the model wrote for the development texts.
    assert!(run.run.best.unwrap().1.unwrap() > 50.0);
    let expected = ["the", "a", "of", "to"].map(partner).join(" ");
    let prompt = generator.prompt("the a of to").unwrap();
    let written = generator.generate(&[prompt], &GenerateOptions::default(), &mut |_, _| true).unwrap();
    assert_eq!(written[0].text.trim(), expected);
}

#[test]
fn an_encoder_alone_learns_to_write() {
    let folder = tempfile::tempdir().unwrap();
    let lines = (0..400).map(|n| {
        let words = words(n);
        let words = &words[..3];
        let other: Vec<&str> = words.iter().map(|word| partner(word)).collect();
        format!("{}\t{}", words.join(" "), other.join(" "))
    });
    let data = write(folder.path(), "pairs.tsv", std::iter::once("source\ttarget".to_string()).chain(lines));
    let more = epochs(60, 5e-3, "kind = \"seq2seq\"\nmetric = \"rouge-l\"");
    let run = train(&fixtures("bert"), &data, folder.path(), &more).unwrap();
    let said = run.load.to_string();
    assert!(said.contains("attention to the source is new"), "{said}");
    assert!(test_value(&run, "perplexity") < 1.5, "{}", run.test.unwrap().evaluation);
    assert!(measured_again(&run, &data, "rouge-l") > 0.9);
    // The token that a target is read from is not learnt a second time.
    let generator = Generator::open(run.best()).unwrap();
    let prompt = generator.prompt("the a of").unwrap();
    let written = generator.generate(&[prompt], &GenerateOptions::default(), &mut |_, _| true).unwrap();
    assert_eq!(written[0].text.trim(), ["the", "a", "of"].map(partner).join(" "));
    assert_eq!(written[0].tokens, 4, "three words and the end");
}

#[test]
fn an_answer_is_found_in_a_passage_that_is_longer_than_a_window() {
    let folder = tempfile::tempdir().unwrap();
    let article = |n: usize| {
        let mut words: Vec<&str> = (0..24).map(|k| ["the", "a", "to", "in"][(n * 5 + k * k) % 4]).collect();
        let place = (n * 7) % 22;
        // The answer follows "of" or "and", as the question says.
        let (asked, other) = if n.is_multiple_of(2) { ("of", "and") } else { ("and", "of") };
        words[place] = asked;
        words[place + 1] = ["is", "it"][n % 3 % 2];
        words[(place + 11) % 22] = other;
        let start = words[..place + 1].iter().map(|word| word.len() + 1).sum::<usize>();
        json!({"title": "t", "paragraphs": [{"context": words.join(" "), "qas": [{
            "id": format!("q{n}"), "question": asked, "answers": [{"text": words[place + 1], "answer_start": start}],
        }]}]})
    };
    let page = json!({"version": "1.1", "data": (0..400).map(article).collect::<Vec<_>>()});
    let data = write(folder.path(), "questions.json", std::iter::once(page.to_string()));
    let more = epochs(20, 2e-3, "kind = \"question-answering\"\nmax-length = 20\nstride = 6");
    let run = train(&fixtures("bert"), &data, folder.path(), &more).unwrap();
    assert!(run.data.train.len() > run.data.train.dataset.len(), "passages are cut into windows");
    assert!(test_value(&run, "answer-f1") > 0.75, "{}", run.test.unwrap().evaluation);
    assert!(measured_again(&run, &data, "em") > 0.75);
    let passage = "the a to of is in a the to in and it the a to in the a to in a the";
    let predictor = Predictor::open(run.best()).unwrap();
    let answers = predictor.predict(&[("of", passage), ("and", passage)]).unwrap();
    for span in answers.iter().filter_map(|answer| answer.answer.as_ref()) {
        assert_eq!(passage[span.start..span.end], span.text);
    }
    let error = predictor.predict(&["of"]).unwrap_err().to_string();
    assert!(error.contains("--pair"), "{error}");
}

/// Texts with a label that is turned round in those with "and": a part of the data in which what else holds is wrong.
fn turned(folder: &Path) -> PathBuf {
    let row = |n: usize| {
        let words = words(n);
        let first = words.iter().filter(|word| ["the", "a"].contains(word)).count() * 2 > words.len() / 2;
        let label = if first == words.contains(&"and") { "up" } else { "down" };
        format!("{{\"text\": {:?}, \"label\": {label:?}}}", words.join(" "))
    };
    write(folder, "turned.jsonl", (0..300).map(row))
}

#[test]
fn parts_of_the_data_have_experts_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let data = turned(folder.path());
    let sliced = |slices: &str| epochs(8, 2e-3, &format!("kind = \"classify\"\nslices = {slices}"));
    let run =
        train(&fixtures("bert"), &data, folder.path(), &sliced("[\"text contains and\", \"words > 5\"]"))
            .unwrap();
    let spec = topwork_models::saved::saved_spec(&run.best()).unwrap();
    let topwork_models::HeadSpec::Classify { slices, .. } = &spec else { panic!("{spec:?}") };
    assert_eq!(slices, &["text contains and", "words > 5"]);
    // What has an expert is measured apart, without being asked for.
    let part = run.slices.iter().find(|slice| slice.name == "text contains and").unwrap();
    assert!(part.examples > 0 && part.value.is_some(), "{part:?}");
    let learnt = test_value(&run, "accuracy");
    assert!(learnt > 0.8, "{learnt}");
    // The loss that is measured is that of the answers alone: below that of guessing, which that of all experts is not.
    let loss = run.test.as_ref().unwrap().evaluation.loss.unwrap();
    assert!(loss < 0.69, "{loss}");
    let refused = |slices: &str| {
        let folder = tempfile::tempdir().unwrap();
        let data = turned(folder.path());
        train(&fixtures("bert"), &data, folder.path(), &sliced(slices)).err().unwrap().to_string()
    };
    assert!(refused("[\"text contains xyz\"]").contains("holds of none of the"));
    assert!(refused("[\"words > 0\"]").contains("holds of all of the"));
    assert!(refused("[\"words > 5\", \"words > 5\"]").contains("twice"));
    let tags = tempfile::tempdir().unwrap();
    let tagged = epochs(1, 1e-3, "kind = \"tag\"\nslices = [\"words > 5\"]");
    let error =
        train(&fixtures("bert"), &entities(tags.path()), tags.path(), &tagged).err().unwrap().to_string();
    assert!(error.contains("task.slices") && error.contains("not tag"), "{error}");
}
