//! Models as ONNX graphs: files are written, read back, and run here on the padded batches of the fixtures, whose outputs are the
//! reference's. `fixtures/check_onnx.py` runs the same files, which stay in the build folder, in ONNX Runtime.

#![allow(clippy::unwrap_used)] // in a test a panic is the report

mod array;
mod file;
mod run;

use std::fs;
use std::path::{Path, PathBuf};

use array::{Array, Kind};
use burn::tensor::Device;
use topwork_kernels::gemm::Precision;
use topwork_models::{Body, Error, HeadSpec, Layers, Model, Pooling, onnx};
use topwork_testkit::{Golden, close};
use topwork_text::Packed;
use topwork_weights::onnx::Numbers;
use topwork_weights::{Import, Onnx, TensorFile};

/// Relative to the scale of what is compared: the reference computes in 32 bits.
const TOLERANCE: f64 = 1e-5;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures")
}

/// Where the file of a fixture is written: `target/tmp/onnx/...`.
fn written(name: &Path) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("onnx").join(name);
    fs::create_dir_all(&folder).unwrap();
    folder.join("model.onnx")
}

/// Families with a graph, by their folder below the fixtures.
const FAMILIES: [&str; 14] = [
    "albert",
    "bert",
    "distilbert",
    "electra",
    "ernie",
    "gpt",
    "gpt2",
    "llama",
    "mistral",
    "modernbert",
    "mpnet",
    "qwen2",
    "qwen3",
    "roberta",
];

/// Model folders with goldens of those families, by their path below the fixtures.
fn folders() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = FAMILIES.iter().map(|name| fixtures().join(name)).collect();
    while let Some(folder) = open.pop() {
        let below = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        // Two models that became one write texts, which no graph does.
        let pair =
            |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("pair"));
        open.extend(below.filter(|path| path.is_dir() && !pair(path)));
        if folder.join("golden.safetensors").is_file() && folder.join("config.json").is_file() {
            found.push(folder.strip_prefix(fixtures()).unwrap().to_path_buf());
        }
    }
    assert!(found.len() >= 53, "{found:?}");
    found.sort();
    found
}

fn golden(name: &Path) -> Golden {
    Golden::open(fixtures().join(name).join("golden.safetensors")).unwrap()
}

fn open(name: &Path) -> Model {
    let (folder, device) = (fixtures().join(name), Device::flex());
    match Model::open_saved(&folder, &device) {
        Ok((model, _)) => model,
        Err(Error::NoHead { .. }) => embedder(name, Pooling::Cls),
        Err(error) => panic!("{}: {error}", name.display()),
    }
}

fn embedder(name: &Path, pool: Pooling) -> Model {
    let spec = HeadSpec::embedder(pool, true);
    Model::open(&fixtures().join(name), &spec, 0, &Device::flex()).unwrap().0
}

/// Writes and reads a file, or says why it cannot be.
fn graph_of(model: &Model, name: &Path) -> Result<file::Graph, Error> {
    let path = written(name);
    onnx::export(model, &path)?;
    Ok(file::read(&fs::read(&path).unwrap()))
}

/// What the graph takes in, from the padded batch of a fixture, and the places of real tokens in it.
fn inputs(graph: &file::Graph, golden: &Golden) -> (Vec<(&'static str, Array)>, Vec<usize>) {
    let whole = |name: &str| {
        let array = golden.integers(name).unwrap();
        Array::new(array.shape, Kind::Whole, array.data.iter().map(|&x| x as f64).collect())
    };
    let mask = whole("attention_mask");
    let real = (0..mask.data.len()).filter(|&at| mask.data[at] != 0.0).collect();
    let mut inputs = vec![("input_ids", whole("input_ids")), ("attention_mask", mask)];
    if graph.inputs.len() > 2 {
        inputs.push(("token_type_ids", whole("token_type_ids")));
    }
    (inputs, real)
}

/// The numbers of an output, of real tokens where it is one for tokens.
fn numbers(output: &Array, real: &[usize]) -> Vec<f32> {
    let width = output.shape[output.shape.len() - 1];
    let row = |row: usize| output.data[row * width..(row + 1) * width].iter().map(|&x| x as f32);
    match output.shape.len() {
        2 => (0..output.shape[0]).flat_map(row).collect(),
        _ => real.iter().flat_map(|&at| row(at)).collect(),
    }
}

#[test]
fn graphs_give_what_the_reference_gives() {
    let mut with_two = 0;
    for name in folders() {
        let (model, golden) = (open(&name), golden(&name));
        let graph = graph_of(&model, &name).unwrap_or_else(|e| panic!("{}: {e}", name.display()));
        let (inputs, real) = inputs(&graph, &golden);
        let outputs = run::run(&graph, &inputs);
        let expected = |name: &str| golden.floats(name).unwrap().data;
        let check = |output: &str, wanted: &str| {
            close(&numbers(&outputs[output], &real), &expected(wanted), TOLERANCE)
                .unwrap_or_else(|e| panic!("{} {output}: {e}", name.display()));
        };
        match model.spec() {
            HeadSpec::Embed { .. } => {
                check("last_hidden_state", &format!("hidden.{}", model.size().layers));
                check("sentence_embedding", "embed.cls");
            }
            _ => check("logits", "logits"),
        }
        assert_eq!(outputs.contains_key("text_logits"), golden.has("text_logits"), "{}", name.display());
        if golden.has("text_logits") {
            check("text_logits", "text_logits");
            with_two += 1;
        }
    }
    assert!(with_two >= 4, "{with_two}");
}

#[test]
fn a_family_or_a_head_without_a_graph_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let error = onnx::export(&embedder(Path::new("elmo"), Pooling::Mean), &path).unwrap_err().to_string();
    assert!(error.contains("the family elmo cannot be written as an ONNX graph"), "{error}");
    let labels = vec!["a".to_string(), "b".to_string()];
    let spec = HeadSpec::Tag { labels, crf: true, body: Body::Own, layers: Layers::Last };
    let (scored, _) = Model::open(&fixtures().join("bert"), &spec, 3, &Device::flex()).unwrap();
    let error = onnx::export(&scored, &path).unwrap_err().to_string();
    assert!(error.contains("the head tag cannot be written as an ONNX graph"), "{error}");
    assert!(!path.exists());
}

#[test]
fn vectors_of_every_pooling_are_the_same_here() {
    let mut seen = 0;
    for name in ["bert", "distilbert", "roberta", "gpt2", "modernbert"].map(Path::new) {
        for pool in [Pooling::Cls, Pooling::Mean, Pooling::Max, Pooling::Last] {
            let (model, golden) = (embedder(name, pool), golden(name));
            let graph = graph_of(&model, &Path::new("pooling").join(name)).unwrap();
            let (inputs, real) = inputs(&graph, &golden);
            let outputs = run::run(&graph, &inputs);
            let got = numbers(&outputs["sentence_embedding"], &real);
            let expected = model.predict(&packed(&golden), Precision::F32).unwrap();
            close(&got, &expected, TOLERANCE).unwrap_or_else(|e| panic!("{} {pool:?}: {e}", name.display()));
            let states = numbers(&outputs["last_hidden_state"], &real);
            let expected = golden.floats(&format!("hidden.{}", model.size().layers)).unwrap().data;
            close(&states, &expected, TOLERANCE).unwrap();
            seen += 1;
        }
    }
    assert_eq!(seen, 20);
}

#[test]
fn heads_without_an_upstream_class_have_graphs_too() {
    let name = Path::new("bert");
    let golden = golden(name);
    let labels: Vec<String> = ["a", "b", "c", "d"].map(String::from).to_vec();
    let specs = [
        HeadSpec::classifier(labels.clone(), true, Pooling::Mean),
        HeadSpec::regressor(Pooling::Last),
        HeadSpec::tagger(labels),
        HeadSpec::Span,
        HeadSpec::embedder(Pooling::Family, false),
    ];
    for spec in specs {
        let (model, _) = Model::open(&fixtures().join(name), &spec, 3, &Device::flex()).unwrap();
        let graph = graph_of(&model, &Path::new("heads").join(spec.name())).unwrap();
        assert_eq!(graph.notes["head"], serde_json::to_string(&spec).unwrap());
        assert_eq!(graph.notes["model_type"], "bert");
        let (inputs, real) = inputs(&graph, &golden);
        let outputs = run::run(&graph, &inputs);
        let output = outputs.get("logits").or_else(|| outputs.get("sentence_embedding")).unwrap();
        let expected = model.predict(&packed(&golden), Precision::F32).unwrap();
        close(&numbers(output, &real), &expected, TOLERANCE).unwrap_or_else(|e| panic!("{spec:?}: {e}"));
    }
}

fn packed(golden: &Golden) -> Packed {
    let numbers =
        |name: &str| -> Vec<u32> { golden.integers(name).unwrap().data.iter().map(|&n| n as u32).collect() };
    let ids = numbers("packed.ids");
    let type_ids =
        if golden.has("packed.type_ids") { numbers("packed.type_ids") } else { vec![0; ids.len()] };
    Packed::new(ids, type_ids, numbers("packed.offsets")).unwrap()
}

#[test]
fn what_goes_in_and_comes_out_is_called_as_python_exporters_call_it() {
    let check = |name: &str, inputs: &[&str], outputs: &[(&str, &[&str])]| {
        let graph = graph_of(&open(Path::new(name)), Path::new(name)).unwrap();
        for (port, name) in graph.inputs.iter().zip(inputs) {
            assert_eq!(port, &(name.to_string(), 7, vec!["batch".to_string(), "sequence".to_string()]));
        }
        assert_eq!(graph.inputs.len(), inputs.len(), "{name}");
        let found: Vec<(&str, Vec<&str>)> = graph
            .outputs
            .iter()
            .map(|(name, _, shape)| (name.as_str(), shape.iter().map(String::as_str).collect()))
            .collect();
        let expected: Vec<(&str, Vec<&str>)> =
            outputs.iter().map(|(name, shape)| (*name, shape.to_vec())).collect();
        assert_eq!(found, expected, "{name}");
        assert!(graph.outputs.iter().all(|(_, kind, _)| *kind == 1), "{name}");
    };
    let three = ["input_ids", "attention_mask", "token_type_ids"];
    check("bert", &three, &[("logits", &["batch", "3"])]);
    check("bert/one-type", &three[..2], &[("logits", &["batch", "3"])]);
    check("bert/masked-lm", &three, &[("logits", &["batch", "sequence", "120"])]);
    check(
        "bert/no-pooler",
        &three,
        &[("last_hidden_state", &["batch", "sequence", "16"]), ("sentence_embedding", &["batch", "16"])],
    );
    check("roberta", &three[..2], &[("logits", &["batch", "3"])]);
    check("gpt2", &three[..2], &[("logits", &["batch", "sequence", "40"])]);
    check(
        "bert/pretraining",
        &three,
        &[("logits", &["batch", "sequence", "40"]), ("text_logits", &["batch", "2"])],
    );
    check("distilbert", &three[..2], &[("logits", &["batch", "3"])]);
}

#[test]
fn a_model_comes_back_from_its_file() {
    for name in folders() {
        let (model, golden) = (open(&name), golden(&name));
        graph_of(&model, &name).unwrap();
        // Every parameter once, under its name in the family's checkpoints.
        let file = Onnx::open(written(&name)).unwrap();
        let mut paths: Vec<String> = Vec::new();
        for tensor in file.names() {
            let Import::Paths(found) = model.family.weights.import(tensor).unwrap() else {
                panic!("{tensor}")
            };
            let (path, op) = found.iter().find(|(path, _)| model.store.id(path).is_ok()).unwrap();
            let data = op.apply(tensor, file.shape(tensor).unwrap(), file.read(tensor).unwrap()).unwrap();
            assert_eq!(data, model.store.values(model.store.id(path).unwrap()).unwrap(), "{path}");
            paths.push(path.clone());
        }
        assert_eq!(paths.len(), model.store.len(), "{}", name.display());
        // The folder around the file is a model folder.
        let folder = tempfile::tempdir().unwrap();
        fs::copy(written(&name), folder.path().join("model.onnx")).unwrap();
        fs::copy(fixtures().join(&name).join("config.json"), folder.path().join("config.json")).unwrap();
        let (again, report) = Model::open(folder.path(), model.spec(), 0, &Device::flex()).unwrap();
        assert_eq!(report.fresh, Vec::<String>::new());
        let predict = |model: &Model| model.predict(&packed(&golden), Precision::F32).unwrap();
        assert_eq!(predict(&again), predict(&model), "{}", name.display());
    }
}

/// What is larger than one file holds, with a limit that tiny models pass: for `fixtures/check_onnx.py` too.
#[test]
fn a_model_in_two_files_comes_back() {
    for name in ["bert", "gpt2", "bert/pretraining"].map(Path::new) {
        let model = open(name);
        let path = written(&Path::new("external").join(name));
        let beside = onnx::export_within(&model, &path, 30_000).unwrap().expect("two files");
        assert_eq!(beside, path.with_file_name("model.onnx.data"));
        let whole = onnx::describe(&model).unwrap();
        let file = Onnx::open(&path).unwrap();
        assert_eq!(file.names().len(), model.store.len(), "{}", name.display());
        for constant in &whole.constants {
            if let (Numbers::F32(numbers), true) =
                (&constant.numbers, file.names().contains(&constant.name.as_str()))
            {
                assert_eq!(file.read(&constant.name).unwrap(), numbers.as_ref(), "{}", constant.name);
            }
        }
        let length = |path: &Path| fs::metadata(path).unwrap().len();
        assert!(length(&path) <= 30_000 && length(&beside) > 30_000);
    }
}

#[test]
fn the_real_model_is_written() {
    let Some(folder) = std::env::var_os("TOPWORK_MINILM") else {
        println!("skipped: TOPWORK_MINILM names no folder");
        return;
    };
    let spec = HeadSpec::embedder(Pooling::Mean, true);
    let (model, _) = Model::open(Path::new(&folder), &spec, 0, &Device::flex()).unwrap();
    let path = written(Path::new("minilm"));
    onnx::export(&model, &path).unwrap();
    let file = Onnx::open(&path).unwrap();
    assert_eq!(file.names().len(), model.store.len());
}
