//! What models go on with, or write for a source, word by word, against transformers: for every golden file with `generate.*` in it (written by
//! `fixtures/make/_decoders.py`).

#![allow(clippy::unwrap_used)] // in a test a panic is the report

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor};
use topwork_kernels::gemm::Precision;
use topwork_models::generate::{Adjust, Beam, Choice, Continuation, Ended, Options, Sampling, generate};
use topwork_models::model::plain;
use topwork_models::{HeadSpec, Model, Pooling, Sources};
use topwork_nn::{Cache, Pass};
use topwork_testkit::Golden;
use topwork_text::Packed;

const FAMILIES: [&str; 16] = [
    "gpt",
    "gpt2",
    "llama",
    "mistral",
    "t5",
    "mt5",
    "bart",
    "mbart",
    "marian",
    "bert/pair",
    "bert/pair-shared",
    "roberta/pair",
    "bert-generation",
    "transfo-xl",
    "xlnet/permutation-lm",
    "xlnet/reuse",
];

/// Those of them that write a text for a text.
const WRITERS: [&str; 9] = [
    "t5",
    "mt5",
    "bart",
    "mbart",
    "marian",
    "bert/pair",
    "bert/pair-shared",
    "roberta/pair",
    "bert-generation",
];
/// Families whose states PyTorch computed, with the most likely words only.
const RECURRENT: [&str; 2] = ["awd-lstm", "flair"];

fn folder(family: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(family)
}

fn open(family: &str) -> (Model, Golden) {
    let model = Model::open_saved(&folder(family), &Device::flex()).unwrap().0;
    (model, Golden::open(folder(family).join("golden.safetensors")).unwrap())
}

fn numbers(golden: &Golden, name: &str) -> Vec<i64> {
    golden.integers(name).unwrap().data
}

fn prompts(golden: &Golden) -> Packed {
    let ids: Vec<u32> = numbers(golden, "generate.prompts").into_iter().map(|n| n as u32).collect();
    let offsets = numbers(golden, "generate.offsets").into_iter().map(|n| n as u32).collect();
    Packed { type_ids: vec![0; ids.len()], ids, offsets, ..Packed::default() }
}

fn options(golden: &Golden) -> Options {
    Options {
        max_new: 12,
        end: vec![golden.integers("generate.end").unwrap().data[0] as u32],
        choice: Choice::Greedy,
        adjust: Adjust::default(),
        start: golden.integers("generate.start").ok().map(|start| start.data[0] as u32),
        precision: Precision::F32,
    }
}

fn ids(continuations: &[Continuation]) -> Vec<Vec<u32>> {
    continuations.iter().map(|continuation| continuation.ids.clone()).collect()
}

/// Continuations as the reference has them.
fn expected(golden: &Golden, way: &str) -> Vec<Vec<u32>> {
    let rows = numbers(golden, &format!("generate.{way}"));
    let row = |row: &[i64]| row.iter().filter(|&&id| id >= 0).map(|&id| id as u32).collect();
    rows.chunks(12).map(row).collect()
}

#[test]
fn every_way_goes_on_as_transformers_does() {
    let mut seen = 0;
    for family in FAMILIES {
        let (model, golden) = open(family);
        let plain = || options(&golden);
        let adjusted = |adjust: Adjust| Options { adjust, ..plain() };
        let beam = |beams, length_penalty, early_stopping| Options {
            choice: Choice::Beam(Beam { beams, length_penalty, early_stopping }),
            ..plain()
        };
        let ways = [
            ("greedy", plain()),
            ("penalised", adjusted(Adjust { repetition_penalty: 1.7, ..Adjust::default() })),
            ("no_repeat", adjusted(Adjust { no_repeat: 2, ..Adjust::default() })),
            ("at_least", adjusted(Adjust { min_new: 6, ..Adjust::default() })),
            ("beam", beam(4, 1.0, false)),
            ("beam_short", beam(3, 0.2, true)),
        ];
        let never = [vec![17], vec![5, 6], vec![32, 32], vec![12, 12], vec![3, 3, 3]].to_vec();
        let given = Adjust { first: Some(9), last: plain().end, ..Adjust::default() };
        let writer_ways = [
            ("never", adjusted(Adjust { never, ..Adjust::default() })),
            ("given", Options { adjust: given, ..beam(3, 1.0, false) }),
        ];
        let writer_ways = writer_ways.into_iter().filter(|_| model.seq2seq().is_ok());
        for (way, options) in ways.into_iter().chain(writer_ways) {
            let got = generate(&model, &prompts(&golden), &options, &mut |_, _| true).unwrap();
            assert_eq!(ids(&got), expected(&golden, way), "{family} {way}");
            seen += got.len();
        }
    }
    assert_eq!(seen, (FAMILIES.len() * 6 + WRITERS.len() * 2) * 3);
}

#[test]
fn recurrent_models_go_on_from_their_states() {
    let mut seen = 0;
    for family in RECURRENT {
        let (model, golden) = open(family);
        let got = generate(&model, &prompts(&golden), &options(&golden), &mut |_, _| true).unwrap();
        assert_eq!(ids(&got), expected(&golden, "greedy"), "{family}");
        // One beam is greedy, with states that are put in another order at each step.
        let beam = Choice::Beam(Beam { beams: 1, length_penalty: 1.0, early_stopping: false });
        let beam = Options { choice: beam, ..options(&golden) };
        let got = generate(&model, &prompts(&golden), &beam, &mut |_, _| true).unwrap();
        assert_eq!(ids(&got), expected(&golden, "greedy"), "{family} with a beam");
        seen += got.len();
    }
    assert_eq!(seen, 2 * 3);
}

#[test]
fn a_prompt_goes_on_alone_as_among_others() {
    for family in FAMILIES.into_iter().chain(RECURRENT) {
        let (model, golden) = open(family);
        let sampling = Sampling { temperature: 1.5, top_k: 20, top_p: 0.9, min_p: 0.01, seed: 5 };
        for choice in [Choice::Greedy, Choice::Sample(sampling)] {
            let options = Options { choice, ..options(&golden) };
            let all = prompts(&golden);
            let together = generate(&model, &all, &options, &mut |_, _| true).unwrap();
            // Draws are those of the prompt's number, so only the first one can be asked for alone.
            let first = all.ids[..all.offsets[1] as usize].to_vec();
            let alone =
                Packed::new(first.clone(), vec![0; first.len()], vec![0, first.len() as u32]).unwrap();
            let alone = generate(&model, &alone, &options, &mut |_, _| true).unwrap();
            assert_eq!(together[0], alone[0], "{family}");
        }
    }
}

#[test]
fn a_folder_says_how_its_texts_are_written() {
    for family in ["bart", "marian", "bert-generation"] {
        let (model, golden) = open(family);
        let options = Options::of_folder(&folder(family)).unwrap();
        assert!(matches!(options.choice, Choice::Beam(_)), "{family}");
        let got = generate(&model, &prompts(&golden), &options, &mut |_, _| true).unwrap();
        assert_eq!(ids(&got), expected(&golden, "asked"), "{family}");
    }
    let (model, golden) = open("mbart");
    let error =
        generate(&model, &prompts(&golden), &Options { start: None, ..options(&golden) }, &mut |_, _| true);
    assert!(error.unwrap_err().to_string().contains("language"));
}

#[test]
fn a_target_read_in_pieces_gives_the_same_bits() {
    for family in WRITERS {
        let (model, golden) = open(family);
        let input = prompts(&golden);
        let head = model.seq2seq().unwrap();
        let pass = Pass::eval(&model.store, Precision::F32);
        let sources = Sources::new(model.features(&pass, &input).unwrap(), &input.offsets);
        let texts: [&[u32]; 3] = [&[0, 8, 3, 7, 11], &[0, 4], &[0, 9, 9]];
        let packed = |from: usize, to: usize| {
            let part = |text: &'static [u32]| &text[from.min(text.len())..to.min(text.len())];
            let parts: Vec<&[u32]> = texts.into_iter().map(part).collect();
            let mut offsets = vec![0];
            offsets.extend(parts.iter().scan(0, |end, part| {
                *end += part.len() as u32;
                Some(*end)
            }));
            let ids = parts.concat();
            Packed { type_ids: vec![0; ids.len()], ids, offsets, ..Packed::default() }
        };
        let bits = |rows: Tensor<2>| plain(rows).unwrap().into_iter().map(f32::to_bits).collect::<Vec<u32>>();
        let width = head.target().size().hidden;
        let whole = bits(head.target().read(&pass, &packed(0, 9), &sources, None).unwrap());
        let mut cache = Cache::new(head.target().size().layers, texts.len(), model.store.device());
        let mut pieces = vec![Vec::new(); texts.len()];
        for (from, to) in [(0, 1), (1, 3), (3, 9)] {
            let part = packed(from, to);
            let rows = bits(head.target().read(&pass, &part, &sources, Some(&mut cache)).unwrap());
            for (piece, pair) in pieces.iter_mut().zip(part.offsets.windows(2)) {
                piece.extend_from_slice(&rows[pair[0] as usize * width..pair[1] as usize * width]);
            }
        }
        assert_eq!(pieces.concat(), whole, "{family}");
    }
}

#[test]
fn words_are_told_as_they_come_and_the_caller_may_stop() {
    let (model, golden) = open("llama");
    let mut told = vec![Vec::new(); 3];
    let mut each = |prompt: usize, id: u32| {
        told[prompt].push(id);
        prompt != 1 || told[1].len() < 2
    };
    let got = generate(&model, &prompts(&golden), &options(&golden), &mut each).unwrap();
    assert_eq!(told, ids(&got));
    assert_eq!((got[1].ids.len(), got[1].ended), (2, Ended::Stopped));
    assert!(got[0].score < 0.0);
}

#[test]
fn a_text_does_not_grow_beyond_what_the_model_can_read() {
    let (model, golden) = open("llama");
    let limit = model.size().max_tokens;
    let prompt = |tokens: usize| Packed {
        ids: vec![5; tokens],
        type_ids: vec![0; tokens],
        offsets: vec![0, tokens as u32],
        ..Packed::default()
    };
    let options = Options { end: Vec::new(), ..options(&golden) };
    let got = generate(&model, &prompt(limit - 3), &options, &mut |_, _| true).unwrap();
    assert_eq!((got[0].ids.len(), got[0].ended), (3, Ended::Length));
    let beam = Choice::Beam(Beam { beams: 2, length_penalty: 1.0, early_stopping: false });
    let beam = Options { choice: beam, ..options.clone() };
    let got = generate(&model, &prompt(limit - 3), &beam, &mut |_, _| true).unwrap();
    assert_eq!((got[0].ids.len(), got[0].ended), (3, Ended::Length));
    let error = generate(&model, &prompt(limit), &options, &mut |_, _| true).unwrap_err().to_string();
    assert!(error.contains(&limit.to_string()), "{error}");
}

#[test]
fn what_cannot_be_done_is_said() {
    let (model, golden) = open("gpt2");
    let check = |options: Options, part: &str| {
        let error = generate(&model, &prompts(&golden), &options, &mut |_, _| true).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    let plain = || options(&golden);
    check(Options { max_new: 0, ..plain() }, "max_new");
    check(Options { end: vec![1000], ..plain() }, "id 1000");
    check(
        Options { adjust: Adjust { repetition_penalty: 0.0, ..Adjust::default() }, ..plain() },
        "repetition_penalty",
    );
    let sampling = Sampling { temperature: 0.0, ..Sampling::default() };
    check(Options { choice: Choice::Sample(sampling), ..plain() }, "temperature");
    let beam = Beam { beams: 0, length_penalty: 1.0, early_stopping: false };
    check(Options { choice: Choice::Beam(beam), ..plain() }, "beams");
    let empty = Packed::new(vec![], vec![], vec![0, 0]).unwrap();
    let error = generate(&model, &empty, &plain(), &mut |_, _| true).unwrap_err().to_string();
    assert!(error.contains("prompt 0"), "{error}");

    let device = Device::flex();
    let spec = HeadSpec::embedder(Pooling::Mean, true);
    let (bert, _) = Model::open(&folder("bert"), &spec, 0, &device).unwrap();
    assert!(generate(&bert, &prompts(&golden), &plain(), &mut |_, _| true).is_err());
    let error = Model::open(&folder("distilbert"), &HeadSpec::Seq2Seq, 0, &device).err().unwrap().to_string();
    assert!(error.contains("encoder-decoder"), "{error}");
    let error = Model::open(&folder("bert"), &HeadSpec::CausalLm, 0, &device).err().unwrap().to_string();
    assert!(error.contains("left to right"), "{error}");
}
