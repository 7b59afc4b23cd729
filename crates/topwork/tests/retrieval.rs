//! Search: an index is exact and the same whatever the threads, stays what it was when something fails, and a cross-encoder
//! orders what was found.

#![allow(clippy::unwrap_used)] // in a test a panic is the report

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use topwork::search::{Document, Hit, Reranker, SearchIndex};
use topwork::{EmbedOptions, Embedder, Error, Predictor};
use topwork_kernels::gemm::Precision;
use topwork_models::{HeadSpec, Model, Pooling, SaveOptions};

fn fixtures(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)
}

fn embedder(folder: &str) -> Embedder {
    let options = EmbedOptions { precision: Precision::F32, ..EmbedOptions::default() };
    Embedder::open(fixtures(folder), &options).unwrap()
}

/// A text of a document; every tenth is the same, so that there are ties.
fn text(n: usize) -> String {
    const WORDS: [&str; 8] = ["the", "free", "prize", "meet", "lunch", "good", "money", "now"];
    if n.is_multiple_of(10) {
        return "call now".to_string();
    }
    (0..3 + n % 4).map(|k| WORDS[(n * 5 + k * 3 + n / 8) % 8]).collect::<Vec<_>>().join(" ")
        + &format!(" {n}")
}

fn documents(count: usize) -> Vec<Document> {
    (0..count).map(|n| Document { id: format!("d{n}"), text: text(n) }).collect()
}

/// Hands documents out a few at a time.
fn create(folder: &Path, embedder: &Embedder, documents: Vec<Document>) -> Result<(), Error> {
    let mut left = documents.into_iter();
    SearchIndex::create(folder, "a model", embedder, || Ok(left.by_ref().take(7).collect())).map(|_| ())
}

#[test]
fn the_search_is_exact_and_ties_keep_the_order_of_documents() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("index");
    let embedder = embedder("bert");
    // More than one chunk of 4096.
    let count = 5000;
    create(&folder, &embedder, documents(count)).unwrap();
    let index = SearchIndex::open(&folder).unwrap();
    assert_eq!((index.len(), index.facts().width), (count, 32));
    index.check(&embedder).unwrap();
    let queries: Vec<String> =
        (0..70).map(|n| if n == 0 { "call now".into() } else { text(n * 3 + 1) }).collect();
    let queries: Vec<&str> = queries.iter().map(String::as_str).collect();
    let vectors = embedder.embed(&queries).unwrap().values;
    let found = index.search(&vectors, 20).unwrap();
    assert_eq!(found.len(), 70);

    let texts: Vec<String> = (0..count).map(text).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let all = embedder.embed(&texts).unwrap().values;
    for (query, hits) in vectors.chunks(32).zip(&found) {
        let exact = |at: usize| -> f64 {
            query.iter().zip(&all[at * 32..]).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
        };
        assert_eq!(hits.len(), 20);
        for hit in hits {
            assert!((f64::from(hit.score) - exact(hit.document)).abs() < 1e-5);
        }
        let least = f64::from(hits[19].score);
        let better = (0..count).filter(|&at| exact(at) > least + 1e-5).count();
        assert!(better <= 19, "{better} are better than the twentieth");
        let in_order = |pair: &[Hit]| {
            pair[0].score > pair[1].score
                || pair[0].score == pair[1].score && pair[0].document < pair[1].document
        };
        assert!(hits.windows(2).all(in_order));
    }
    let same: Vec<usize> = found[0].iter().map(|hit| hit.document).collect();
    assert_eq!(same, (0..20).map(|n| n * 10).collect::<Vec<_>>(), "the first of five hundred equals");
    assert_eq!(index.document(30).unwrap(), Document { id: "d30".into(), text: "call now".into() });

    // Alone, and on one thread, to the bit.
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    for (at, hits) in found.iter().enumerate().step_by(9) {
        let alone = one.install(|| index.search(&vectors[at * 32..(at + 1) * 32], 20)).unwrap();
        assert_eq!(&alone[0], hits);
    }
    assert_eq!(index.search(&vectors[..32], count + 5).unwrap()[0].len(), count);
    assert!(index.search(&vectors[..31], 1).is_err());
    assert!(index.search(&[f32::NAN; 32], 1).is_err());
}

#[test]
fn an_index_is_made_whole_or_not_at_all() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("deep/index");
    let embedder = embedder("bert");
    create(&folder, &embedder, documents(20)).unwrap();
    let bytes = |name: &str| fs::read(folder.join(name)).unwrap();
    let before = (bytes("vectors.f32"), bytes("documents.jsonl"), bytes("index.json"));
    let mut twice = documents(20);
    twice[19].id = "d3".into();
    let error = create(&folder, &embedder, twice).unwrap_err().to_string();
    assert!(error.contains("\"d3\"") && error.contains("--id"), "{error}");
    assert!(create(&folder, &embedder, Vec::new()).unwrap_err().to_string().contains("no document"));
    assert_eq!((bytes("vectors.f32"), bytes("documents.jsonl"), bytes("index.json")), before);
    assert_eq!(fs::read_dir(folder.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
    create(&folder, &embedder, documents(10)).unwrap();
    assert_eq!(SearchIndex::open(&folder).unwrap().len(), 10);

    let other = temporary.path().join("documents");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("thesis.tex"), "years of work").unwrap();
    assert!(create(&other, &embedder, documents(3)).unwrap_err().to_string().contains("no index"));
}

#[test]
fn broken_indexes_and_other_models_are_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let embedder = embedder("bert");
    let broken = |name: &str, content: &[u8], part: &str| {
        let folder = temporary.path().join(name);
        create(&folder, &embedder, documents(12)).unwrap();
        fs::write(folder.join(name), content).unwrap();
        let error = SearchIndex::open(&folder).err().unwrap().to_string();
        assert!(error.contains(part), "{error}");
    };
    broken("vectors.f32", &[0; 12], "12 vectors of 32");
    broken("documents.starts", &[1; 8 * 13], "documents.starts does not fit");
    broken("documents.jsonl", b"{}\n", "does not fit documents.jsonl");
    broken("index.json", b"{}", "index.json");
    let folder = temporary.path().join("whole");
    create(&folder, &embedder, documents(12)).unwrap();
    let mut lines = fs::read(folder.join("documents.jsonl")).unwrap();
    lines[0] = b'x';
    fs::write(folder.join("documents.jsonl"), lines).unwrap();
    let index = SearchIndex::open(&folder).unwrap();
    assert!(index.document(0).unwrap_err().to_string().contains("document 0"));
    assert!(index.document(1).is_ok());
    let narrow = self::embedder("embeddings/sentence");
    assert!(index.check(&narrow).unwrap_err().to_string().contains("32 numbers"));
    let raw = EmbedOptions { pool: Some(Pooling::Cls), precision: Precision::F32, ..EmbedOptions::default() };
    let error = index.check(&Embedder::open(fixtures("bert"), &raw).unwrap()).unwrap_err().to_string();
    assert!(error.contains("other vectors"), "{error}");
    assert!(SearchIndex::open(temporary.path().join("none")).is_err());
}

/// A model with a head over pairs, in a folder of its own.
fn cross(folder: &Path, spec: &HeadSpec) -> PathBuf {
    let (model, _) = Model::open(&fixtures("bert"), spec, 5, &Device::flex()).unwrap();
    let target = folder.join(spec.name());
    let files = ["tokenizer.json", "tokenizer_config.json"];
    let files = files.map(|name| (name.to_string(), fs::read(fixtures("bert").join(name)).unwrap())).to_vec();
    model.save(&target, &SaveOptions { files, ..SaveOptions::default() }).unwrap();
    target
}

#[test]
fn a_cross_encoder_orders_what_was_found() {
    let temporary = tempfile::tempdir().unwrap();
    let texts: Vec<String> = (1..10).map(text).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let query = "free money";
    let regress = cross(temporary.path(), &HeadSpec::regressor(Pooling::Family));
    let scored = Predictor::open_with(&regress, Precision::F32).unwrap();
    let reranker = Reranker::open(&regress, None, Precision::F32).unwrap();
    let order = reranker.order(query, &texts).unwrap();
    assert!(order.windows(2).all(|pair| pair[0].1 >= pair[1].1), "{order:?}");
    for (at, score) in &order {
        assert_eq!(scored.predict(&[(query, texts[*at])]).unwrap()[0].score, Some(*score));
    }
    assert!(Reranker::open(&regress, Some("1"), Precision::F32).is_err());

    let labels =
        |names: [&str; 2]| HeadSpec::classifier(names.map(String::from).to_vec(), false, Pooling::Family);
    let classify = cross(temporary.path(), &labels(["0", "1"]));
    let scores = Reranker::open(&classify, None, Precision::F32).unwrap().scores(query, &texts).unwrap();
    let turned = Reranker::open(&classify, Some("0"), Precision::F32).unwrap().scores(query, &texts).unwrap();
    assert!(scores.iter().zip(&turned).all(|(a, b)| (a + b - 1.0).abs() < 1e-9));
    let odd = temporary.path().join("odd");
    fs::create_dir(&odd).unwrap();
    let unclear = cross(&odd, &labels(["ham", "spam"]));
    let error = Reranker::open(&unclear, None, Precision::F32).err().unwrap().to_string();
    assert!(error.contains("ham, spam") && error.contains("--positive"), "{error}");
    assert!(Reranker::open(&unclear, Some("spam"), Precision::F32).is_ok());
    let error = Reranker::open(&fixtures("bert/span"), None, Precision::F32).err().unwrap().to_string();
    assert!(error.contains("span"), "{error}");
}
