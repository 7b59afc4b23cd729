//! A model in every form it can be written in answers the same: folder, GGUF, PyTorch state dict, bare weights.

#![allow(clippy::unwrap_used)] // in a test a panic is the report

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde_json::{Value, json};
use topwork::convert::{Form, convert};
use topwork::language::{Windows, cloze, perplexity};
use topwork::opened::open_whole;
use topwork::{GenerateOptions, Generator, Written, model_files};
use topwork_kernels::gemm::Precision;
use topwork_models::generate::{Choice, Ended, Sampling};
use topwork_models::{HeadSpec, Model, SaveOptions};
use topwork_text::{Message, Tokenizer};
use topwork_weights::Checkpoint;
use topwork_weights::gguf::Store;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures")
}

/// A folder with the tiny GPT-2 of the fixtures.
fn gpt2(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    for file in ["config.json", "generation_config.json", "model.safetensors"].iter().chain(&TOKENIZER) {
        fs::copy(fixtures().join("decoder").join(file), folder.join(file)).unwrap();
    }
}

const TOKENIZER: [&str; 3] = ["chat_template.jinja", "tokenizer.json", "tokenizer_config.json"];

/// A folder with a tiny Llama that has the same tokenizer.
fn llama(folder: &Path) {
    let tokenizer = Tokenizer::from_folder(fixtures().join("decoder")).unwrap();
    let config = json!({
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 32, "intermediate_size": 48,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": true,
        "vocab_size": tokenizer.id_limit(), "eos_token_id": tokenizer.special_tokens().eos,
    });
    let mut model = Model::declare(&config, &HeadSpec::CausalLm, &Device::flex()).unwrap();
    for id in model.store.unset() {
        model.store.initialise(id, 7).unwrap();
        // Fresh weights are small, and all words about equally likely.
        let values = model.store.values(id).unwrap().iter().map(|x| x * 8.0).collect();
        model.store.set(id, values).unwrap();
    }
    model.save(folder, &SaveOptions::default()).unwrap();
    for file in TOKENIZER {
        fs::copy(fixtures().join("decoder").join(file), folder.join(file)).unwrap();
    }
}

#[test]
fn texts_are_those_of_transformers() {
    let folder = fixtures().join("decoder");
    let text = fs::read_to_string(folder.join("golden.json")).unwrap();
    let golden: Value = serde_json::from_str(&text).unwrap();
    let texts = golden["texts"].as_array().unwrap();
    let generator = Generator::open(&folder).unwrap();
    let prompts: Vec<Vec<u32>> =
        texts.iter().map(|text| generator.prompt(text["prompt"].as_str().unwrap()).unwrap()).collect();
    let options = GenerateOptions { choice: Choice::Greedy, max_new: 20, ..options() };
    let mut told = vec![String::new(); prompts.len()];
    let written = generator
        .generate(&prompts, &options, &mut |prompt, text| {
            told[prompt].push_str(text);
            true
        })
        .unwrap();
    for ((written, told), text) in written.iter().zip(&told).zip(texts) {
        assert_eq!(Some(written.text.as_str()), text["new"].as_str(), "{}", text["prompt"]);
        assert_eq!(&written.text, told);
        assert_eq!(Some(written.tokens as u64), text["tokens"].as_u64());
    }
    let ids = generator.conversation(&[Message::new("user", "why?")]).unwrap();
    let chat = generator.tokenizer().decode(&ids, false).unwrap();
    assert_eq!(Some(chat.as_str()), golden["chat"].as_str());
}

const PROMPTS: [&str; 3] = ["The capital of France", "x", "  two\nlines"];

fn written(path: &Path, options: &GenerateOptions) -> Vec<Written> {
    let generator = Generator::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let prompts: Vec<Vec<u32>> = PROMPTS.iter().map(|text| generator.prompt(text).unwrap()).collect();
    generator.generate(&prompts, options, &mut |_, _| true).unwrap()
}

fn options() -> GenerateOptions {
    let choice = Choice::Sample(Sampling { seed: 3, ..Sampling::default() });
    GenerateOptions { max_new: 24, choice, precision: Precision::F32, ..GenerateOptions::default() }
}

#[test]
fn perplexity_is_that_of_transformers() {
    let folder = fixtures().join("decoder");
    let golden: Value =
        serde_json::from_str(&fs::read_to_string(folder.join("golden.json")).unwrap()).unwrap();
    let generator = Generator::open(&folder).unwrap();
    let text = golden["text"].as_str().unwrap();
    for expected in golden["perplexity"].as_array().unwrap() {
        let number = |name: &str| Some(expected[name].as_u64().unwrap() as usize);
        let windows =
            Windows { window: number("window"), stride: number("stride"), precision: Precision::F32 };
        let found = perplexity(&generator, text, &windows).unwrap();
        assert_eq!(Some(found.tokens as u64), expected["tokens"].as_u64(), "{windows:?}");
        let loss = expected["loss"].as_f64().unwrap();
        assert!((found.loss - loss).abs() < 1e-5 * loss, "{windows:?}: {} {loss}", found.loss);
    }
    let refused = |window, stride| {
        let windows = Windows { window: Some(window), stride: Some(stride), precision: Precision::F32 };
        perplexity(&generator, text, &windows).unwrap_err().to_string()
    };
    assert!(refused(65, 65).contains("reads 2 to 64") && refused(32, 0).contains("stride"));
    // A last word costs what the passage costs beyond all before it.
    let whole = Windows { window: None, stride: None, precision: Precision::F32 };
    let loss = |text: &str| perplexity(&generator, text, &whole).unwrap().loss;
    let passage = "The quick brown fox jumps";
    let found = cloze(&generator, &[format!("{passage}\n")], Precision::F32).unwrap();
    let expected = (loss(passage) - loss("The quick brown fox")).exp();
    assert!((found.perplexity / expected - 1.0).abs() < 1e-3, "{found:?} {expected}");
    assert_eq!((found.passages, found.right), (1, 0), "a model of random weights does not know it");
    let error = cloze(&generator, &["one".to_string()], Precision::F32).unwrap_err().to_string();
    assert!(error.contains("passage 1"), "{error}");
}

#[test]
fn a_decoder_in_every_form_writes_the_same() {
    for decoder in [llama, gpt2] {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("model");
        decoder(&folder);
        let expected = written(&folder, &options());
        assert!(
            expected.iter().any(|written| written.tokens > 3 && !written.text.is_empty()),
            "{expected:?}"
        );

        let gguf = place.path().join("model.gguf");
        assert_eq!(convert(&folder, &gguf, Form::of(&gguf)).unwrap().left_out, [""; 0]);
        assert_eq!(written(&gguf, &options()), expected);
        // A folder that holds nothing but the file is that model too.
        let alone = place.path().join("alone");
        fs::create_dir(&alone).unwrap();
        fs::copy(&gguf, alone.join("any.gguf")).unwrap();
        assert_eq!(written(&alone, &options()), expected);

        let again = place.path().join("again");
        convert(&gguf, &again, Form::of(&again)).unwrap();
        assert_eq!(written(&again, &options()), expected);
        let (old, new) = (Checkpoint::open(&folder).unwrap(), Checkpoint::open(&again).unwrap());
        for name in old.names() {
            assert_eq!(old.read(name).unwrap(), new.read(name).unwrap(), "{name}");
        }
        let messages = [Message::new("user", "why?")];
        let prompt = |path: &Path| Generator::open(path).unwrap().conversation(&messages).unwrap();
        assert_eq!(prompt(&again), prompt(&folder));
        assert_eq!(prompt(&gguf), prompt(&folder));

        for name in ["model.pt", "model.safetensors"] {
            let file = place.path().join("weights").join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            convert(&folder, &file, Form::of(&file)).unwrap();
            let error = Generator::open(&file).err().unwrap().to_string();
            assert!(error.contains("config.json"), "{error}");
            for beside in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
                fs::copy(folder.join(beside), file.with_file_name(beside)).unwrap();
            }
            assert_eq!(written(&file, &options()), expected, "{name}");
            fs::remove_dir_all(file.parent().unwrap()).unwrap();
        }
    }
}

/// Every folder below `folder` that holds a model.
fn models_below(folder: &Path, found: &mut Vec<PathBuf>) {
    if folder.join("config.json").is_file() && folder.join("model.safetensors").is_file() {
        found.push(folder.to_path_buf());
    }
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            models_below(&path, found);
        }
    }
}

#[test]
fn a_model_in_the_forms_of_tensorflow_is_the_same_model() {
    let mut folders = Vec::new();
    models_below(&fixtures(), &mut folders);
    folders.sort();
    let mut counts = [0, 0];
    for folder in folders {
        let Ok((model, _, _)) = open_whole(&folder) else { continue };
        let expected = model.export().unwrap();
        for (count, name, form) in
            [(0, "tf_model.h5", "no HDF5 file of"), (1, "bert_model.ckpt", "no TensorFlow checkpoint can")]
        {
            let place = tempfile::tempdir().unwrap();
            let file = place.path().join(name);
            let at = folder.display();
            match convert(&folder, &file, Form::of(&file)) {
                Ok(converted) => assert_eq!(converted.settings.first().unwrap(), "config.json"),
                Err(error) => {
                    let error = error.to_string();
                    assert!(error.contains(form) || error.contains("it has no weights for"), "{at}: {error}");
                    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "{at}");
                    continue;
                }
            }
            // By the file and by the folder.
            for path in [file.as_path(), place.path()] {
                let (again, report, _) = open_whole(path).unwrap_or_else(|error| panic!("{at}: {error}"));
                // What is one parameter here may have two names there.
                let repeats =
                    |why: &str| why.starts_with("tied to") || why.contains("the same as the tables");
                assert!(report.ignored.iter().all(|(_, why)| repeats(why)), "{at}: {report}");
                assert!(report.fresh.is_empty(), "{at}: {report}");
                assert_eq!(again.spec(), model.spec(), "{at}");
                let found = again.export().unwrap();
                assert_eq!(found.len(), expected.len(), "{at}");
                for (a, b) in found.iter().zip(&expected) {
                    assert_eq!((&a.name, &a.shape), (&b.name, &b.shape), "{at}");
                    assert!(a.data == b.data, "{at}: {}", a.name);
                }
            }
            counts[count] += 1;
        }
    }
    assert_eq!(counts, [103, 52], "count the folders when you add one");
}

#[test]
fn the_forms_of_tensorflow_carry_all_that_a_model_needs_and_overwrite_none() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("model");
    gpt2(&folder);
    let expected = written(&folder, &options());
    for name in ["x.ckpt", "tf_model.h5"] {
        let own = place.path().join(name.replace('.', "-"));
        let file = own.join(name);
        let converted = convert(&folder, &file, Form::of(&file)).unwrap();
        assert_eq!(converted.left_out, [""; 0]);
        assert!(converted.settings.contains(&"tokenizer.json".to_string()), "{:?}", converted.settings);
        assert_eq!(written(&file, &options()), expected, "{name}");
        // Again: what is there already is as it should be.
        assert_eq!(convert(&folder, &file, Form::of(&file)).unwrap().settings, [""; 0]);
        // Another model's settings are not replaced, and nothing is written.
        fs::remove_dir_all(&own).unwrap();
        fs::create_dir(&own).unwrap();
        fs::write(own.join("config.json"), "{}").unwrap();
        let error = convert(&folder, &file, Form::of(&file)).unwrap_err().to_string();
        assert!(error.contains("config.json is there"), "{error}");
        assert_eq!(fs::read_dir(&own).unwrap().count(), 1);
        // In the model's own folder everything is there.
        let file = folder.join(name);
        assert_eq!(convert(&folder, &file, Form::of(&file)).unwrap().settings, ["tokenizer_config.json"; 0]);
        assert_eq!(written(&file, &options()), expected, "{name}");
    }
}

#[test]
fn fewer_bits_are_near_and_not_the_same() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("model");
    llama(&folder);
    let mut sizes = Vec::new();
    for store in [Store::F32, Store::F16, Store::Q8_0] {
        let gguf = place.path().join("model.gguf");
        convert(&folder, &gguf, Form::Gguf(store)).unwrap();
        sizes.push(fs::metadata(&gguf).unwrap().len());
        let file = topwork_weights::gguf::open(&gguf).unwrap();
        let name = "model.layers.0.mlp.down_proj.weight";
        let values = topwork_weights::TensorFile::read(&file, name).unwrap();
        let before = Checkpoint::open(&folder).unwrap().read(name).unwrap();
        let top = before.iter().fold(0.0f32, |top, x| top.max(x.abs()));
        let off = before.iter().zip(&values).fold(0.0f32, |off, (a, b)| off.max((a - b).abs()));
        let allowed = match store {
            Store::F32 => 0.0..=0.0,
            Store::F16 => 1e-7..=1e-3 * top,
            Store::Q8_0 => 1e-7..=1e-2 * top,
        };
        assert!(allowed.contains(&off), "{store:?}: {off}");
    }
    assert!(sizes[0] > sizes[1] && sizes[1] > sizes[2], "{sizes:?}");
}

#[test]
fn what_was_written_stops_where_it_is_told_to() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("model");
    llama(&folder);
    let generator = Generator::open(&folder).unwrap();
    let prompt = [generator.prompt(PROMPTS[0]).unwrap()];
    let whole = generator.generate(&prompt, &options(), &mut |_, _| true).unwrap().remove(0);
    assert!(whole.text.chars().count() > 4, "{whole:?}");
    // Three characters from its middle.
    let middle: String = whole.text.chars().skip(2).take(3).collect();
    let stop = GenerateOptions { stop: vec!["never".to_string(), middle.clone()], ..options() };
    let mut seen = String::new();
    let stopped = generator
        .generate(&prompt, &stop, &mut |_, text| {
            seen.push_str(text);
            true
        })
        .unwrap()
        .remove(0);
    assert_eq!(stopped.ended, Ended::Stopped);
    assert_eq!(stopped.text, whole.text[..whole.text.find(&middle).unwrap()]);
    assert_eq!(seen, stopped.text);
    assert!(stopped.tokens < whole.tokens);
    // The caller may stop it too.
    let cut = generator.generate(&prompt, &options(), &mut |_, _| false).unwrap().remove(0);
    assert!(cut.ended == Ended::Stopped && cut.tokens < whole.tokens);
}

#[test]
fn what_cannot_go_is_refused_by_name() {
    let place = tempfile::tempdir().unwrap();
    let gguf = place.path().join("x.gguf");
    let error = convert(fixtures().join("bert"), &gguf, Form::of(&gguf)).unwrap_err().to_string();
    assert!(error.contains("bert") && error.contains("llama"), "{error}");
    assert!(!gguf.exists());
    let error = Generator::open(fixtures().join("bert")).err().unwrap().to_string();
    assert!(error.contains("left to right"), "{error}");
    let error = model_files::tokenizer(fixtures().join("gpt2")).err().unwrap().to_string();
    assert!(error.contains("gpt2"), "{error}");
}
