//! Files that transformers wrote (`fixtures/make/bert.py`) and, when they are at hand, published checkpoints.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test file: what is not a test here serves one"
)]

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use topwork_testkit::Golden;
use topwork_weights::{Checkpoint, Error, Named, Names, Op, Request, Table, load, safetensors};

/// BERT's encoder as far as these tests need it, every layer's tensors under their own names.
const TABLE: Table = Table {
    rules: &[
        ("{base}embeddings.word_embeddings.weight", "embed.word.weight", Op::Keep),
        ("{base}embeddings.position_embeddings.weight", "embed.position.weight", Op::Keep),
        ("{base}embeddings.token_type_embeddings.weight", "embed.type.weight", Op::Keep),
        ("{base}embeddings.LayerNorm.weight", "embed.norm.weight", Op::Keep),
        ("{base}embeddings.LayerNorm.bias", "embed.norm.bias", Op::Keep),
        ("cls.predictions.bias", "head.bias", Op::Keep),
        ("cls.predictions.transform.dense.weight", "head.dense.weight", Op::Keep),
        ("cls.predictions.transform.dense.bias", "head.dense.bias", Op::Keep),
        ("cls.predictions.transform.LayerNorm.weight", "head.norm.weight", Op::Keep),
        ("cls.predictions.transform.LayerNorm.bias", "head.norm.bias", Op::Keep),
        ("{base}pooler.dense.weight", "pooler.weight", Op::Keep),
        ("{base}pooler.dense.bias", "pooler.bias", Op::Keep),
        ("{base}encoder.layer.{i}.attention.self.query.weight", "layers.{i}.q.weight", Op::Keep),
        ("{base}encoder.layer.{i}.attention.self.query.bias", "layers.{i}.q.bias", Op::Keep),
        ("{base}encoder.layer.{i}.attention.self.key.weight", "layers.{i}.k.weight", Op::Keep),
        ("{base}encoder.layer.{i}.attention.self.key.bias", "layers.{i}.k.bias", Op::Keep),
        ("{base}encoder.layer.{i}.attention.self.value.weight", "layers.{i}.v.weight", Op::Keep),
        ("{base}encoder.layer.{i}.attention.self.value.bias", "layers.{i}.v.bias", Op::Keep),
        ("{base}encoder.layer.{i}.attention.output.dense.weight", "layers.{i}.out.weight", Op::Keep),
        ("{base}encoder.layer.{i}.attention.output.dense.bias", "layers.{i}.out.bias", Op::Keep),
        ("{base}encoder.layer.{i}.attention.output.LayerNorm.weight", "layers.{i}.norm.weight", Op::Keep),
        ("{base}encoder.layer.{i}.attention.output.LayerNorm.bias", "layers.{i}.norm.bias", Op::Keep),
        ("{base}encoder.layer.{i}.intermediate.dense.weight", "layers.{i}.up.weight", Op::Keep),
        ("{base}encoder.layer.{i}.intermediate.dense.bias", "layers.{i}.up.bias", Op::Keep),
        ("{base}encoder.layer.{i}.output.dense.weight", "layers.{i}.down.weight", Op::Keep),
        ("{base}encoder.layer.{i}.output.dense.bias", "layers.{i}.down.bias", Op::Keep),
        ("{base}encoder.layer.{i}.output.LayerNorm.weight", "layers.{i}.end.weight", Op::Keep),
        ("{base}encoder.layer.{i}.output.LayerNorm.bias", "layers.{i}.end.bias", Op::Keep),
    ],
    ignored: &[
        ("{base}embeddings.position_ids", "position ids, rebuilt"),
        ("cls.seq_relationship.weight", "next-sentence head"),
        ("cls.seq_relationship.bias", "next-sentence head"),
    ],
    tied: &[
        ("cls.predictions.decoder.weight", "embed.word.weight"),
        ("cls.predictions.decoder.bias", "head.bias"),
    ],
    unused: &[("pooler.**", "pooler, not used by this task")],
    prefixes: &["bert.", ""],
    ..Table::EMPTY
};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)
}

/// Every tensor of a checkpoint, by its own name.
fn all(checkpoint: &Checkpoint) -> Vec<Named<'static>> {
    let tensor = |name: &str| Named {
        name: name.to_string(),
        shape: checkpoint.shape(name).unwrap().to_vec(),
        data: Cow::Owned(checkpoint.read(name).unwrap()),
    };
    checkpoint.names().map(tensor).collect()
}

/// The parameters a checkpoint would fill, all but those at `left_out`.
fn wanted(checkpoint: &Checkpoint, left_out: &str) -> Vec<(String, Vec<usize>)> {
    let mut wanted = Vec::new();
    for name in checkpoint.names() {
        if let Some(path) = TABLE.import(name).unwrap().path().filter(|path| !path.starts_with(left_out)) {
            wanted.push((path.to_string(), checkpoint.shape(name).unwrap().to_vec()));
        }
    }
    wanted
}

#[test]
fn a_file_of_transformers_is_written_again_to_the_byte() {
    let mut seen = 0;
    for folder in ["bert", "bert/masked-lm", "bert/no-pooler", "roberta", "distilbert"] {
        let path = fixture(folder).join("model.safetensors");
        let tensors = all(&Checkpoint::open(fixture(folder)).unwrap());
        assert_eq!(safetensors::to_bytes(&tensors).unwrap(), fs::read(path).unwrap(), "{folder}");
        seen += tensors.len();
    }
    assert!(seen > 150, "{seen}");
}

#[test]
fn shards_in_bfloat16_read_as_pytorch_reads_them() {
    let checkpoint = Checkpoint::open(fixture("bert/sharded-bf16")).unwrap();
    let golden = Golden::open(fixture("bert/sharded-bf16/golden.safetensors")).unwrap();
    assert_eq!(checkpoint.len(), 41);
    let mut seen = 0;
    for name in golden.below("value.") {
        assert_eq!(checkpoint.dtype(name).as_deref(), Some("BF16"));
        assert_eq!(
            checkpoint.read(name).unwrap(),
            golden.floats(&format!("value.{name}")).unwrap().data,
            "{name}"
        );
        seen += 1;
    }
    assert_eq!(seen, 9);
}

#[test]
fn the_oldest_kind_of_checkpoint_loads_with_an_account_of_everything() {
    let folder = fixture("bert/old-names");
    let checkpoint = Checkpoint::open(&folder).unwrap();
    let wanted = wanted(&checkpoint, "pooler");
    let request = Request { names: &Names::of(&TABLE, ""), wanted: &wanted, fresh: &[], optional: &[] };
    let (params, report) = load(&folder, &request).unwrap();
    assert_eq!(params.len(), 42);
    assert_eq!(report.ignored.len(), 7, "{report}");
    let text = report.to_string();
    for part in [
        "42 loaded",
        "position ids, rebuilt",
        "2: next-sentence head",
        "tied to embed.word.weight",
        "2: pooler",
        "12 tensors have old names",
    ] {
        assert!(text.contains(part), "{part:?} not in: {text}");
    }
    assert_eq!(report.loaded.len() + report.ignored.len(), checkpoint.len());
}

#[test]
fn a_classifier_is_no_part_of_this_table_and_is_refused_by_name() {
    let checkpoint = Checkpoint::open(fixture("bert/no-pooler")).unwrap();
    let wanted = wanted(&checkpoint, "-");
    let request = Request { names: &Names::of(&TABLE, ""), wanted: &wanted, fresh: &[], optional: &[] };
    assert_eq!(load(fixture("bert/no-pooler"), &request).unwrap().0.len(), wanted.len());
    let error = load(fixture("bert/relu"), &request).unwrap_err();
    assert!(matches!(&error, Error::Unmapped { name, .. } if name.starts_with("classifier.")), "{error}");
}

#[test]
fn a_published_checkpoint_loads() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/models/splade-tiny-bert");
    if !folder.exists() {
        println!("skipped: {} is not there", folder.display());
        return;
    }
    let checkpoint = Checkpoint::open(&folder).unwrap();
    let wanted = wanted(&checkpoint, "-");
    let request = Request { names: &Names::of(&TABLE, ""), wanted: &wanted, fresh: &[], optional: &[] };
    let (params, report) = load(&folder, &request).unwrap();
    assert_eq!((params.len(), report.ignored.len()), (42, 0), "{report}");
    assert_eq!(
        report.notes,
        ["12 tensors have old names (gamma, beta), written with the current ones on saving"]
    );
    assert!(params.iter().map(|param| param.data.len()).sum::<usize>() > 4_000_000);
}

/// All numbers of a published checkpoint of another format: how many there are and the sum of their sizes.
fn summed(folder: &str) -> Option<(Checkpoint, usize, f64)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/models").join(folder);
    if !folder.exists() {
        println!("skipped: {} is not there", folder.display());
        return None;
    }
    let checkpoint = Checkpoint::open(&folder).unwrap();
    let numbers: Vec<f32> =
        all(&checkpoint).into_iter().flat_map(|tensor| tensor.data.into_owned()).collect();
    let sum = numbers.iter().map(|&x| f64::from(x).abs()).sum();
    Some((checkpoint, numbers.len(), sum))
}

#[test]
fn a_published_file_of_old_pytorch_reads_as_pytorch_reads_it() {
    let Some((checkpoint, count, sum)) = summed("rxnmapper-albert") else { return };
    assert_eq!(checkpoint.len(), 32);
    assert_eq!(checkpoint.shape("albert.embeddings.word_embeddings.weight"), Some(&[591, 128][..]));
    // Both from torch.load(weights_only=True) of PyTorch 2.15.
    assert_eq!(count, 877_598);
    assert!((sum - 74_173.284_301_137_86).abs() < 1e-6, "{sum}");
}

#[test]
fn a_published_llama2c_file_brings_its_settings() {
    let Some((checkpoint, count, _)) = summed("stories260K") else { return };
    let config = checkpoint.config().unwrap();
    assert_eq!((config["hidden_size"].as_u64(), config["num_hidden_layers"].as_u64()), (Some(64), Some(5)));
    assert_eq!(checkpoint.shape("model.layers.4.self_attn.k_proj.weight"), Some(&[32, 64][..]));
    assert_eq!((checkpoint.len(), count), (47, 260_032));
}
