//! Loading by a table: every way a checkpoint and a model can disagree.

use super::*;
use crate::{Table, safetensors};

const TABLE: Table = Table {
    rules: &[
        ("{base}embeddings.word_embeddings.weight", "embed.word.weight", Op::Keep),
        ("{base}layer.{i}.LayerNorm.weight", "layers.{i}.norm.weight", Op::Keep),
        ("{base}layer.{i}.dense.weight", "layers.{i}.dense.weight", Op::Transpose),
        ("{base}pooler.dense.weight", "pooler.weight", Op::Keep),
        ("classifier.weight", "head.classify.weight", Op::Keep),
        ("classifier.weight", "head.tag.weight", Op::Keep),
        ("cls.predictions.bias", "head.mlm.bias", Op::Keep),
    ],
    ignored: &[("{base}embeddings.position_ids", "position ids, rebuilt")],
    tied: &[
        ("cls.predictions.decoder.weight", "embed.word.weight"),
        ("cls.predictions.decoder.bias", "head.mlm.bias"),
    ],
    unused: &[("head.**", "head of another task"), ("pooler.**", "pooler, not used by this task")],
    prefixes: &["bert.", ""],
    ..Table::EMPTY
};

type Shaped<'a> = (&'a str, &'a [usize]);

const ENCODER: &[Shaped] = &[
    ("bert.embeddings.word_embeddings.weight", &[4, 2]),
    ("bert.layer.0.LayerNorm.weight", &[2]),
    ("bert.layer.0.dense.weight", &[2, 3]),
];
const WANTED: &[Shaped] = &[
    ("embed.word.weight", &[4, 2]),
    ("layers.0.norm.weight", &[2]),
    ("layers.0.dense.weight", &[3, 2]),
    ("head.classify.weight", &[3, 2]),
];

/// A tensor of 1, 2, 3, ...
fn counting((name, shape): &Shaped) -> Named<'static> {
    let data: Vec<f32> = (0..shape.iter().product()).map(|x: usize| x as f32 + 1.0).collect();
    Named { name: name.to_string(), shape: shape.to_vec(), data: data.into() }
}

fn run(
    tensors: Vec<Named>,
    wanted: &[Shaped],
    fresh: &[&str],
    optional: &[&str],
) -> Result<(Vec<Param>, LoadReport), Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    safetensors::write(&path, &tensors).unwrap();
    let wanted: Vec<(String, Vec<usize>)> =
        wanted.iter().map(|(path, shape)| (path.to_string(), shape.to_vec())).collect();
    load(&path, &Request { names: &Names::of(&TABLE, "bert."), wanted: &wanted, fresh, optional })
}

fn with(extra: &[Shaped]) -> Vec<Named<'static>> {
    ENCODER.iter().chain(extra).map(counting).collect()
}

#[test]
fn an_encoder_loads_and_the_new_head_is_fresh() {
    let (params, report) =
        run(with(&[("bert.embeddings.position_ids", &[4])]), WANTED, &["head.**"], &[]).unwrap();
    assert_eq!(
        report.to_string(),
        "3 loaded, 1 ignored (position ids, rebuilt), 1 fresh (head.classify.weight)"
    );
    let paths: Vec<&str> = params.iter().map(|param| param.path.as_str()).collect();
    assert_eq!(paths, ["embed.word.weight", "layers.0.norm.weight", "layers.0.dense.weight"]);
    assert_eq!(params[2].data, [1.0, 4.0, 2.0, 5.0, 3.0, 6.0], "transposed on the way in");
    assert_eq!(params[2].shape, [3, 2]);
}

#[test]
fn a_bare_encoder_loads_the_same() {
    let bare: Vec<Named> = with(&[])
        .into_iter()
        .map(|tensor| Named { name: tensor.name.replace("bert.", ""), ..tensor })
        .collect();
    let prefixed = run(with(&[]), WANTED, &["head.**"], &[]).unwrap().0;
    assert_eq!(run(bare, WANTED, &["head.**"], &[]).unwrap().0, prefixed);
}

#[test]
fn a_saved_head_loads_unless_it_is_to_start_fresh() {
    let tensors = with(&[("classifier.weight", &[3, 2])]);
    let (params, report) = run(tensors.clone(), WANTED, &[], &[]).unwrap();
    assert_eq!((params.len(), report.loaded.len(), report.fresh.len()), (4, 4, 0));
    assert_eq!(report.loaded[3], ("classifier.weight".into(), "head.classify.weight".into()));
    let (params, report) = run(tensors, WANTED, &["head.**"], &[]).unwrap();
    assert_eq!(params.len(), 3);
    assert!(report.to_string().contains("1 ignored (started fresh as asked), 1 fresh"), "{report}");
}

#[test]
fn heads_and_poolers_not_wanted_are_counted_with_their_reason() {
    let tensors = with(&[
        ("cls.predictions.bias", &[4]),
        ("cls.predictions.decoder.bias", &[4]),
        ("bert.pooler.dense.weight", &[2, 2]),
    ]);
    let (_, report) = run(tensors, WANTED, &["head.**"], &[]).unwrap();
    let line = report.to_string();
    assert!(line.contains("3 ignored (") && line.contains("2: head of another task"), "{line}");
    assert!(line.contains("1: pooler, not used by this task"), "{line}");
}

#[test]
fn an_optional_parameter_loads_when_there() {
    let wanted: Vec<Shaped> = [&WANTED[..3], &[("pooler.weight", &[2, 2])]].concat();
    let (params, report) = run(with(&[]), &wanted, &[], &["pooler.**"]).unwrap();
    assert_eq!((params.len(), report.fresh), (3, vec!["pooler.weight".to_string()]));
    let (params, report) =
        run(with(&[("bert.pooler.dense.weight", &[2, 2])]), &wanted, &[], &["pooler.**"]).unwrap();
    assert_eq!((params.len(), report.fresh.len()), (4, 0));
    let error = run(with(&[]), &wanted, &[], &[]).unwrap_err().to_string();
    assert!(
        error.contains("1 parameters are not in")
            && error.contains("pooler.weight (\"bert.pooler.dense.weight\")"),
        "{error}"
    );
}

#[test]
fn what_does_not_fit_is_an_error_that_names_it() {
    let check = |tensors: Vec<Named>, parts: &[&str]| {
        let error = run(tensors, WANTED, &["head.**"], &[]).unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "{part:?} not in: {error}");
        }
    };
    check(with(&[("bert.surprise.weight", &[1])]), &["no rule covers the tensor \"bert.surprise.weight\""]);
    check(with(&[("bert.layer.1.LayerNorm.weight", &[2])]), &["layers.1.norm.weight", "does not have"]);
    check(
        with(&[("layer.0.LayerNorm.weight", &[2])]),
        &["both", "\"layer.0.LayerNorm.weight\"", "layers.0.norm.weight"],
    );
    check(with(&[("bert.layer.0.LayerNorm.gamma", &[2])]), &["both", "gamma"]);
    check(ENCODER[1..].iter().map(counting).collect(), &["embed.word.weight", "not declared fresh"]);
    let mut wrong = with(&[]);
    wrong[2] = counting(&("bert.layer.0.dense.weight", &[3, 2]));
    check(wrong, &["bert.layer.0.dense.weight", "[2, 3]", "layers.0.dense.weight", "[3, 2]"]);
    let mut flat = with(&[]);
    flat[2] = counting(&("bert.layer.0.dense.weight", &[6]));
    check(flat, &["cannot transpose \"bert.layer.0.dense.weight\""]);
    for value in [f32::NAN, f32::INFINITY] {
        let mut bad = with(&[]);
        bad[1].data.to_mut()[1] = value;
        check(bad, &["bert.layer.0.LayerNorm.weight", "at element 1"]);
    }
    check(vec![], &["3 parameters"]);
}

#[test]
fn tied_tensors_are_compared_or_take_the_place() {
    let wanted: Vec<Shaped> = [&WANTED[..3], &[("head.mlm.bias", &[4])]].concat();
    let tied = with(&[("cls.predictions.decoder.weight", &[4, 2]), ("cls.predictions.decoder.bias", &[4])]);
    let (params, report) = run(tied.clone(), &wanted, &[], &[]).unwrap();
    assert_eq!(params[3].data, [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(
        report.ignored,
        [("cls.predictions.decoder.weight".to_string(), "tied to embed.word.weight".to_string())]
    );
    let mut differs = tied;
    differs[3].data.to_mut()[0] = 9.0;
    let error = run(differs, &wanted, &[], &[]).unwrap_err().to_string();
    assert!(error.contains("cls.predictions.decoder.weight") && error.contains("tied"), "{error}");
}

#[test]
fn old_names_and_half_precision_are_noted() {
    let mut tensors = with(&[]);
    tensors[1].name = "bert.layer.0.LayerNorm.gamma".into();
    let (_, report) = run(tensors, WANTED, &["head.**"], &[]).unwrap();
    assert!(report.notes[0].starts_with("1 tensors have old names"), "{report}");
}

#[test]
fn loading_and_exporting_gives_the_same_bytes() {
    let tensors = with(&[("classifier.weight", &[3, 2])]);
    let before = safetensors::to_bytes(&tensors).unwrap();
    let (params, _) = run(tensors, WANTED, &[], &[]).unwrap();
    let out = export(
        &Names::of(&TABLE, "bert."),
        params.iter().map(|p| (p.path.as_str(), p.shape.clone(), (&p.data).into())),
    )
    .unwrap();
    assert_eq!(safetensors::to_bytes(&out).unwrap(), before);
    let error = export(&Names::of(&TABLE, "bert."), [("nowhere", vec![1], vec![0.0].into())]).unwrap_err();
    assert!(error.to_string().contains("nowhere"), "{error}");
}

#[test]
fn a_name_may_be_a_parameter_in_one_model_and_repeat_one_in_another() {
    const SHARED: Table = Table {
        rules: &[("bias", "shared.bias", Op::Keep), ("layers.{i}.bias", "layers.{i}.bias", Op::Keep)],
        tied: &[("layers.{i}.bias", "shared.bias")],
        ..Table::EMPTY
    };
    assert_eq!(SHARED.check().unwrap(), 2);
    let run = |tensors: &[Named], wanted: &[Shaped]| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        safetensors::write(&path, tensors).unwrap();
        let wanted: Vec<(String, Vec<usize>)> =
            wanted.iter().map(|(path, shape)| (path.to_string(), shape.to_vec())).collect();
        load(&path, &Request { names: &Names::of(&SHARED, ""), wanted: &wanted, fresh: &[], optional: &[] })
    };
    let bias =
        |name: &str, value: f32| Named { name: name.to_string(), shape: vec![1], data: vec![value].into() };
    let apart = run(
        &[bias("layers.0.bias", 1.0), bias("layers.1.bias", 2.0)],
        &[("layers.0.bias", &[1]), ("layers.1.bias", &[1])],
    );
    assert_eq!(apart.unwrap().0.iter().map(|param| param.data[0]).collect::<Vec<_>>(), [1.0, 2.0]);
    let shared: &[Shaped] = &[("shared.bias", &[1])];
    let (params, report) = run(&[bias("bias", 3.0), bias("layers.0.bias", 3.0)], shared).unwrap();
    assert_eq!((params[0].data[0], report.ignored.len()), (3.0, 1));
    assert_eq!(run(&[bias("layers.1.bias", 4.0)], shared).unwrap().0[0].data, [4.0]);
    let error = run(&[bias("bias", 3.0), bias("layers.0.bias", 5.0)], shared).unwrap_err().to_string();
    assert!(error.contains("layers.0.bias"), "{error}");
}
