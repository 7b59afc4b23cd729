//! From a file to batches, with the small tokenizer of the fixtures.

#![allow(clippy::unwrap_used)] // in helpers too: a test that cannot go on has failed

use std::path::Path;

use topwork_data::{
    BatchSize, Dataset, Encoder, Error, Inputs, LabelMap, Labels, LengthReport, ReadOptions, Sampler, Task,
    read_from,
};
use topwork_text::Tokenizer;

fn tokenizer() -> Tokenizer {
    Tokenizer::from_folder(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tokenizer/bert"))
        .unwrap()
}

fn mails() -> Dataset {
    let mut csv = String::from("text,label\n");
    for i in 0..60 {
        let (text, label) =
            if i % 3 == 0 { ("claim your free prize now ", "spam") } else { ("the old tree ", "ham") };
        csv.push_str(&format!("{}{i},{label}\n", text.repeat(i % 7 + 1)));
    }
    let options = ReadOptions { format: Some(topwork_data::Format::Csv), ..ReadOptions::default() };
    read_from("mails", csv.as_bytes(), &options).unwrap()
}

#[test]
fn batches_hold_what_the_file_holds() {
    let (dataset, tokenizer) = (mails(), tokenizer());
    let map = LabelMap::from_dataset(&dataset).unwrap();
    let inputs = Inputs::new(&dataset, &Encoder::new(&tokenizer), None, Some(&map)).unwrap();
    assert_eq!((inputs.len(), inputs.cut_texts, inputs.cut_tokens), (60, 0, 0));
    assert_eq!(inputs.lengths, inputs.packed.lengths().collect::<Vec<_>>());
    let size = BatchSize { examples: Some(8), tokens: Some(120) };
    let sampler = Sampler::new(inputs.lengths.iter().copied(), size, 3).unwrap();
    let mut seen = 0;
    for indices in sampler.epoch(0) {
        let batch = inputs.batch(&indices);
        assert_eq!(
            (batch.packed.batch(), batch.labels.len(), batch.rows.len()),
            (indices.len(), indices.len(), indices.len())
        );
        let Labels::Class(classes) = &batch.labels else { panic!("expected classes") };
        for (at, &index) in indices.iter().enumerate() {
            let alone = tokenizer.encode(&dataset.examples[index].text, None, None).unwrap();
            let types: Vec<u32> = alone.type_ids().collect();
            assert_eq!(batch.packed.sequence(at), (&alone.ids[..], &types[..]));
            assert_eq!(map.name(classes[at] as usize), if index % 3 == 0 { "spam" } else { "ham" });
            assert_eq!(batch.rows[at], index + 2);
        }
        seen += indices.len();
    }
    assert_eq!(seen, 60);
}

#[test]
fn what_a_limit_cuts_is_counted() {
    let (dataset, tokenizer) = (mails(), tokenizer());
    let map = LabelMap::from_dataset(&dataset).unwrap();
    let whole = Inputs::new(&dataset, &Encoder::new(&tokenizer), None, Some(&map)).unwrap();
    let report = LengthReport::new(whole.lengths.iter().copied(), Some(512));
    let cut = Inputs::new(&dataset, &Encoder::new(&tokenizer), Some(16), Some(&map)).unwrap();
    assert!(cut.packed.longest() <= 16);
    let expected = report.cut_at(16);
    assert_eq!((cut.cut_texts, cut.cut_tokens), (expected.texts, expected.tokens));
    assert!(cut.cut_texts > 10, "{}", cut.cut_texts);
    assert_eq!(cut.lengths, whole.lengths);
    assert_eq!(cut.packed.tokens() + cut.cut_tokens, whole.packed.tokens());
}

#[test]
fn a_limit_without_room_names_the_file() {
    let text = Inputs::new(&mails(), &Encoder::new(&tokenizer()), Some(2), None).unwrap_err();
    assert!(matches!(text, Error::LabelMap { .. }), "classes need a map: {text}");
    let options = ReadOptions { task: Task::Unlabelled, ..ReadOptions::default() };
    let dataset = read_from("standard input", &b"one\ntwo\n"[..], &options).unwrap();
    let error = Inputs::new(&dataset, &Encoder::new(&tokenizer()), Some(2), None).unwrap_err().to_string();
    assert!(error.contains("standard input") && error.contains("2 special tokens"), "{error}");
    let inputs = Inputs::new(&dataset, &Encoder::new(&tokenizer()), Some(3), None).unwrap();
    assert_eq!(inputs.labels, Labels::None(2));
    assert_eq!(inputs.batch(&[1]).labels, Labels::None(1));
}
