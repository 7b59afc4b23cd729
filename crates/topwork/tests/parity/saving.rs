//! What is saved opens again as what it was, whatever the head.

use super::*;

#[test]
fn saving_and_opening_again_gives_the_same_model() {
    for folder in folders().iter().filter(|f| !bare(f)) {
        let (model, golden) = (open(folder), golden(folder));
        let before = logits(&model, &golden, Precision::F32);
        let temporary = tempfile::tempdir().unwrap();
        let target = temporary.path().join("saved");
        model.save(&target, &SaveOptions::default()).unwrap();
        let again = open_saved(&target);
        assert_eq!(logits(&again, &golden, Precision::F32), before, "{}", folder.display());
        assert_eq!(again.spec(), model.spec());
        // Without our own file the head follows from config.json, as it does for folders of transformers.
        fs::remove_file(target.join("topwork.json")).unwrap();
        let plain = open_saved(&target);
        assert_eq!(logits(&plain, &golden, Precision::F32), before, "{}", folder.display());
    }
}

fn open_saved(folder: &Path) -> Model {
    Model::open_saved(folder, &Device::flex()).unwrap().0
}

#[test]
fn heads_without_an_upstream_class_survive_saving() {
    let folder = fixtures().join("bert");
    let input = packed(&golden(&folder));
    let labels = vec!["a".to_string(), "b".to_string()];
    for pool in [Pooling::Cls, Pooling::Mean, Pooling::Max] {
        let spec = HeadSpec::classifier(labels.clone(), false, pool);
        let (model, report) = Model::open(&folder, &spec, 3, &Device::flex()).unwrap();
        assert_eq!(report.fresh, ["head.out.weight", "head.out.bias"]);
        let before = model.predict(&input, Precision::F32).unwrap();
        let temporary = tempfile::tempdir().unwrap();
        let target = temporary.path().join("saved");
        model.save(&target, &SaveOptions::default()).unwrap();
        assert_eq!(open_saved(&target).predict(&input, Precision::F32).unwrap(), before);
    }
}

#[test]
fn every_head_works_with_every_kind_of_family_and_survives_saving() {
    let labels = vec!["a".to_string(), "b".to_string()];
    let specs = [
        HeadSpec::classifier(labels.clone(), false, Pooling::Family),
        HeadSpec::classifier(labels.clone(), false, Pooling::Mean),
        HeadSpec::tagger(labels),
        HeadSpec::Span,
        HeadSpec::MaskedLm,
        HeadSpec::ReplacedToken,
        HeadSpec::NextSentence,
        HeadSpec::Pretraining,
        HeadSpec::MultipleChoice,
        HeadSpec::CausalLm,
        HeadSpec::DoubleHeads,
    ];
    let mut seen = 0;
    for family in ["bert", "ernie", "roberta", "distilbert", "albert", "electra", "gpt", "gpt2", "llama"] {
        let folder = fixtures().join(family);
        let input = packed(&golden(&folder));
        for spec in &specs {
            let model = match Model::open(&folder, spec, 3, &Device::flex()) {
                Ok((model, _)) => model,
                Err(Error::NotCausal { .. }) => continue,
                Err(error) => panic!("{family} {spec:?}: {error}"),
            };
            let run = |model: &Model| {
                let texts = model.predict_texts(&input, Precision::F32).unwrap();
                (model.predict(&input, Precision::F32).unwrap(), texts)
            };
            let before = run(&model);
            assert!(before.0.iter().all(|score| score.is_finite()), "{family} {spec:?}");
            let temporary = tempfile::tempdir().unwrap();
            let target = temporary.path().join("saved");
            model.save(&target, &SaveOptions::default()).unwrap();
            let again = open_saved(&target);
            assert!(run(&again) == before, "{family} {spec:?}");
            assert_eq!(again.spec(), spec);
            seen += 1;
        }
    }
    assert_eq!(seen, 9 * 9 + 3 * 2, "the last two heads are for the three that read from left to right");
}

#[test]
fn a_head_goes_on_from_one_it_is_a_part_of() {
    let fresh = |folder: &str, spec: HeadSpec| {
        Model::open(&fixtures().join(folder), &spec, 3, &Device::flex()).unwrap().1.fresh
    };
    let none: [&str; 0] = [];
    assert_eq!(fresh("bert/pretraining", HeadSpec::MaskedLm), none);
    assert_eq!(fresh("bert/pretraining", HeadSpec::NextSentence), none);
    assert_eq!(fresh("gpt2/double-heads", HeadSpec::CausalLm), none);
    assert_eq!(fresh("gpt2", HeadSpec::DoubleHeads), ["head.choice.weight", "head.choice.bias"]);
    assert_eq!(
        fresh("electra", HeadSpec::ReplacedToken),
        [
            "head.replaced.dense.weight",
            "head.replaced.dense.bias",
            "head.replaced.weight",
            "head.replaced.bias"
        ]
    );
}

#[test]
fn a_head_is_saved_alone_only_if_none_of_it_stands_among_the_encoder() {
    for (folder, spec, alone) in
        [("bert", HeadSpec::ReplacedToken, true), ("albert", HeadSpec::NextSentence, false)]
    {
        let (model, _) = Model::open(&fixtures().join(folder), &spec, 3, &Device::flex()).unwrap();
        let temporary = tempfile::tempdir().unwrap();
        let target = temporary.path().join("saved");
        model.save(&target, &SaveOptions::default()).unwrap();
        assert_eq!(model.save_head(&target).unwrap(), alone, "{folder}: ALBERT's goes through the pooler");
    }
}

#[test]
fn a_pooler_is_carried_only_where_the_bare_class_has_one() {
    let cases = [
        ("bert", "bert.pooler.dense.weight", true),
        ("modernbert", "head.dense.weight", false),
        ("deberta-v2", "pooler.dense.weight", false),
    ];
    for (family, name, carried) in cases {
        let spec = HeadSpec::embedder(Pooling::Mean, true);
        let folder = fixtures().join(family);
        let there = SafeTensorsFile::open(folder.join("model.safetensors")).unwrap();
        assert!(there.names().any(|there| there == name), "{family}: {name}");
        let (model, _) = Model::open(&folder, &spec, 0, &Device::flex()).unwrap();
        let temporary = tempfile::tempdir().unwrap();
        let target = temporary.path().join("saved");
        model.save(&target, &SaveOptions::default()).unwrap();
        let saved = SafeTensorsFile::open(target.join("model.safetensors")).unwrap();
        assert_eq!(saved.names().any(|saved| saved == name), carried, "{family}");
    }
}
