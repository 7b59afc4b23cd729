//! Two models that became one: what is made of a folder of one model, what a pair is without its second side, and what cannot be
//! a pair.

use std::collections::BTreeSet;

use topwork_models::Source;

use super::*;

fn opened(folder: &str, spec: &HeadSpec) -> (Model, topwork_weights::LoadReport) {
    Model::open(&fixtures().join(folder), spec, 3, &Device::flex()).unwrap()
}

/// The folder with the tokenizer of its family, which says what a target begins with.
fn with_tokenizer(folder: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    let family = if folder.starts_with("roberta") { "roberta" } else { "bert" };
    for (from, file) in [(folder, "config.json"), (folder, "model.safetensors"), (family, "tokenizer.json")] {
        fs::copy(fixtures().join(from).join(file), copy.path().join(file)).unwrap();
    }
    copy
}

fn names(folder: &Path) -> BTreeSet<String> {
    let file = SafeTensorsFile::open(folder.join("model.safetensors")).unwrap();
    file.names().map(str::to_string).collect()
}

#[test]
fn a_model_of_one_side_starts_both_and_only_attention_to_the_source_is_new() {
    // Of BERT with a classifier the layer before the scores of words is new too; a language model has one.
    for (folder, head) in [("bert", 5), ("bert/masked-lm", 0), ("roberta/masked-lm", 0), ("electra", 5)] {
        let from = with_tokenizer(folder);
        let (model, report) = Model::open(from.path(), &HeadSpec::Seq2Seq, 3, &Device::flex()).unwrap();
        let across = report.fresh.iter().filter(|path| path.starts_with("target.layers.")).count();
        assert!(report.fresh.iter().all(|path| path.contains(".across.") || path.starts_with("head.")));
        assert_eq!((across, report.fresh.len()), (20, 20 + head), "{folder}: {:?}", report.fresh);
        let said = report.to_string();
        assert!(said.contains("loaded twice") && said.contains("attention to the source is new"), "{said}");
        let mut twice = 0;
        for (id, param) in model.store.iter() {
            let Some(own) = param.path.strip_prefix("target.") else { continue };
            let Ok(own) = model.store.id(own) else { continue };
            assert_eq!(model.store.values(id).unwrap(), model.store.values(own).unwrap(), "{}", param.path);
            twice += 1;
        }
        assert!(twice >= 36 && said.contains(&format!("{twice} tensors")), "{twice}: {said}");
        // What is saved is a pair, whole, and says the same.
        let temporary = tempfile::tempdir().unwrap();
        let target = temporary.path().join("saved");
        model.save(&target, &SaveOptions::default()).unwrap();
        let (again, report) = Model::open_saved(&target, &Device::flex()).unwrap();
        assert!(report.fresh.is_empty() && again.config["model_type"] == "encoder-decoder", "{folder}");
        assert_eq!(again.config["architectures"][0], "EncoderDecoderModel");
        let input = packed(&golden(&fixtures().join(folder)));
        let scores = |model: &Model| model.predict(&input, Precision::F32).unwrap();
        assert_eq!(scores(&again), scores(&model), "{folder}");
        for (id, param) in model.store.iter() {
            let other = again.store.id(&param.path).unwrap();
            assert_eq!(model.store.values(id).unwrap(), again.store.values(other).unwrap(), "{}", param.path);
        }
    }
}

#[test]
fn targets_begin_and_end_as_the_tokenizer_says() {
    let (model, _) = opened("bert", &HeadSpec::Seq2Seq);
    let said = |key: &str| model.config[key].as_u64().unwrap();
    assert_eq!([said("decoder_start_token_id"), said("eos_token_id"), said("pad_token_id")], [2, 3, 0]);
    assert_eq!(model.seq2seq().unwrap().target().style().start, topwork_models::Start::Id(2));
    let start = |folder: &str| {
        topwork_models::joined::start(&Source::find(fixtures().join(folder)).unwrap()).unwrap()
    };
    let all = ["bert", "bert/pair", "bart", "mbart", "marian", "gpt2"].map(start);
    assert_eq!(all, [Some(2), Some(2), Some(2), None, Some(39), None]);
    // Where nothing says what a text begins with, that is what is asked for.
    let folder = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors"] {
        fs::copy(fixtures().join("bert").join(file), folder.path().join(file)).unwrap();
    }
    let error = Model::open(folder.path(), &HeadSpec::Seq2Seq, 0, &Device::flex()).err().unwrap().to_string();
    assert!(error.contains("decoder_start_token_id") && error.contains("tokenizer"), "{error}");
}

#[test]
fn a_pair_is_saved_under_the_names_it_had() {
    for folder in ["bert/pair", "bert/pair-shared", "roberta/pair", "electra/pair", "bert-generation"] {
        let folder = fixtures().join(folder);
        let model = open(&folder);
        let temporary = tempfile::tempdir().unwrap();
        let target = temporary.path().join("saved");
        model.save(&target, &SaveOptions::default()).unwrap();
        let pooler = |name: &String| name.starts_with("encoder.pooler.") && folder.ends_with("roberta/pair");
        let expected: BTreeSet<String> = names(&folder).into_iter().filter(|name| !pooler(name)).collect();
        let got = names(&target);
        let again = |name: &String| name.contains("lm_head.decoder") || name.contains("predictions.decoder");
        let expected: BTreeSet<String> = expected.into_iter().filter(|name| !again(name)).collect();
        assert_eq!(got, expected, "{}", folder.display());
    }
    let shared = open(&fixtures().join("bert/pair-shared"));
    let own = |path: &str| path.starts_with("target.") && !path.contains(".across.");
    assert!(shared.store.iter().all(|(_, param)| !own(&param.path)), "one set of weights");
}

#[test]
fn the_side_that_reads_opens_alone() {
    let spec = HeadSpec::embedder(Pooling::Mean, false);
    for folder in ["bert/pair", "bert/pair-shared", "roberta/pair"] {
        let pair = fixtures().join(folder);
        let (model, report) = opened(folder, &spec);
        assert!(report.fresh.is_empty() && model.store.iter().all(|(_, p)| !p.path.starts_with("target.")));
        let input = packed(&golden(&pair));
        let pass = Pass::eval(&model.store, Precision::F32);
        let hidden = plain(model.hidden(&pass, &input).unwrap()).unwrap();
        close(&hidden, &floats(&golden(&pair), "hidden.2"), FORWARD).unwrap();
        let temporary = tempfile::tempdir().unwrap();
        let target = temporary.path().join("saved");
        model.save(&target, &SaveOptions::default()).unwrap();
        let (again, _) = Model::open_saved(&target, &Device::flex()).unwrap();
        assert_eq!(again.config["model_type"], model.family.name, "{folder}");
        let vectors = |model: &Model| model.predict(&input, Precision::F32).unwrap();
        assert_eq!(vectors(&again), vectors(&model), "{folder}");
    }
}

#[test]
fn what_cannot_be_a_pair_is_said() {
    let text = fs::read_to_string(fixtures().join("bert/pair-shared/config.json")).unwrap();
    let check = |change: &dyn Fn(&mut serde_json::Value), parts: [&str; 2]| {
        let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
        change(&mut config);
        let error = Model::declare(&config, &HeadSpec::Seq2Seq, &Device::flex()).err().unwrap().to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    };
    check(&|config| config["decoder"]["is_decoder"] = false.into(), ["is_decoder", "true"]);
    check(&|config| config["decoder"]["add_cross_attention"] = false.into(), ["add_cross_attention", "true"]);
    check(&|config| config["decoder"]["hidden_size"] = 32.into(), ["hidden_size", "16"]);
    check(&|config| config["decoder"]["cross_attention_hidden_size"] = 8.into(), ["cross_attention", "16"]);
    check(&|config| config["decoder"]["intermediate_size"] = 8.into(), ["tie_encoder_decoder", "[8, 16]"]);
    check(&|config| config["decoder"]["num_hidden_layers"] = 1.into(), ["tie_encoder_decoder", "nothing"]);
    check(&|config| config["decoder"]["model_type"] = "gpt2".into(), ["gpt2 cannot", "roberta"]);
    check(&|config| config["decoder"] = 3.into(), ["decoder", "an object"]);
    check(&|config| config["encoder"] = serde_json::Value::Null, ["encoder", "an object"]);
    check(
        &|config| config["decoder_start_token_id"] = serde_json::Value::Null,
        ["decoder_start", "token id"],
    );
    let text = fs::read_to_string(fixtures().join("roberta/pair/config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
    config["decoder_start_token_id"] = 1.into();
    let error = Model::declare(&config, &HeadSpec::Seq2Seq, &Device::flex()).err().unwrap().to_string();
    assert!(error.contains("decoder_start_token_id") && error.contains("no position"), "{error}");
}
