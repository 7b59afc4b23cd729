//! Finding the model inside a folder, and the licence beside it.

use std::fs;
use std::path::{Path, PathBuf};

use topwork_models::source::is_adapted;
use topwork_weights::format::is_weights_name;

use super::error::{Error, Result, io};

/// How deep a model may lie below the folder given: `package/model`, `runs/name/best` and a little more.
const DEEPEST: usize = 6;

/// Names of the file that says what a model is.
const CONFIGS: [&str; 3] = ["config.json", "bert_config.json", "options.json"];

/// Where exports to ONNX stand below the model's own folder.
const ONNX: &str = "onnx";

/// The models in `folder`, shallowest first: folders that hold a configuration and weights, weights in ONNX below a
/// configuration, and GGUF files.
///
/// # Errors
/// A folder that cannot be read.
pub fn models_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut level = vec![folder.to_owned()];
    for _ in 0..DEEPEST {
        let mut next = Vec::new();
        for folder in level {
            if is_adapted(&folder) {
                found.push(folder);
                continue;
            }
            let mut files = Vec::new();
            for entry in fs::read_dir(&folder).map_err(io("read", &folder))? {
                let path = entry.map_err(io("read", &folder))?.path();
                if path.is_dir() {
                    next.push(path);
                } else {
                    files.push(path);
                }
            }
            files.sort();
            let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
            let names: Vec<String> = files.iter().filter_map(name).collect();
            let config = names.iter().any(|name| CONFIGS.contains(&name.as_str()));
            if config && names.iter().any(|name| is_weights_name(name)) {
                found.push(folder);
            } else if let Some(weights) = onnx_below(&folder).filter(|_| config) {
                found.push(weights);
            } else {
                found.extend(files.iter().filter(|file| ends(file, "gguf")).cloned());
            }
        }
        next.sort();
        level = next;
    }
    Ok(found)
}

fn ends(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|extension| extension == ending)
}

/// The one file of weights that an export to ONNX has: of several, which are the same in other numbers, `model.onnx`.
fn onnx_below(folder: &Path) -> Option<PathBuf> {
    let below = folder.join(ONNX);
    let best = below.join("model.onnx");
    if best.is_file() {
        return Some(best);
    }
    let files = fs::read_dir(below).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<PathBuf> = files.filter(|path| ends(path, "onnx")).collect();
    if files.len() == 1 { files.pop() } else { None }
}

/// The one model in `folder`: the shallowest; `best` where a run folder holds several.
///
/// # Errors
/// No model, or several at the same depth.
pub fn model_in(folder: &Path) -> Result<PathBuf> {
    let found = models_in(folder)?;
    let depth = |path: &PathBuf| path.components().count();
    let Some(first) = found.first() else {
        return Err(Error::NoModel {
            folder: folder.to_owned(),
            problem: "nowhere in it is a config.json with weights beside it or in onnx/, nor a GGUF file"
                .into(),
            way_out: "give a folder that holds a model".into(),
        });
    };
    let shallowest: Vec<&PathBuf> = found.iter().filter(|path| depth(path) == depth(first)).collect();
    if shallowest.len() == 1 {
        return Ok(first.clone());
    }
    if let Some(best) = shallowest.iter().find(|path| path.ends_with("best")) {
        return Ok((*best).clone());
    }
    let names: Vec<String> = shallowest.iter().map(|path| format!("`{}`", path.display())).collect();
    Err(Error::NoModel {
        folder: folder.to_owned(),
        problem: format!("there are {}: {}", names.len(), names.join(", ")),
        way_out: "give one of them".into(),
    })
}

/// The licence that a folder states for itself: the `license:` line at the head of a model card, or the
/// `license` of a `package.json`.
pub fn licence_of(folder: &Path) -> Option<String> {
    let folder = if folder.is_file() { folder.parent()? } else { folder };
    let card = fs::read(folder.join("README.md")).ok();
    let from_card = card.and_then(|bytes| {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let mut lines = text.lines();
        if lines.next()?.trim_end() != "---" {
            return None;
        }
        lines
            .take_while(|line| line.trim_end() != "---")
            .find_map(|line| line.strip_prefix("license:"))
            .map(|value| value.trim().trim_matches(['"', '\'']).to_owned())
    });
    from_card.filter(|name| !name.is_empty()).or_else(|| {
        let text = fs::read_to_string(folder.join("package.json")).ok()?;
        let package: serde_json::Value = serde_json::from_str(&text).ok()?;
        package.get("license")?.as_str().map(str::to_owned)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(root: &Path, names: &[&str]) {
        for name in names {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
    }

    #[test]
    fn the_model_of_a_wheel_is_found() {
        let root = tempfile::tempdir().unwrap();
        touch(
            root.path(),
            &[
                "pkg/__init__.py",
                "pkg/model/config.json",
                "pkg/model/model.safetensors",
                "pkg/model/1_Pooling/config.json",
                "pkg.dist-info/RECORD",
            ],
        );
        assert_eq!(model_in(root.path()).unwrap(), root.path().join("pkg/model"));
    }

    #[test]
    fn a_gguf_file_is_a_model_and_a_run_folder_gives_its_best() {
        let root = tempfile::tempdir().unwrap();
        touch(root.path(), &["pkg/small.gguf", "pkg/__init__.py"]);
        assert_eq!(model_in(root.path()).unwrap(), root.path().join("pkg/small.gguf"));

        let run = tempfile::tempdir().unwrap();
        touch(
            run.path(),
            &["best/config.json", "best/model.safetensors", "last/config.json", "last/model.safetensors"],
        );
        assert_eq!(model_in(run.path()).unwrap(), run.path().join("best"));
    }

    #[test]
    fn a_model_beside_its_adapter_is_one_and_not_its_base() {
        let run = tempfile::tempdir().unwrap();
        touch(
            run.path(),
            &["best/base/config.json", "best/base/model.safetensors", "best/adapter/adapter_config.json"],
        );
        assert_eq!(model_in(run.path()).unwrap(), run.path().join("best"));
        assert_eq!(models_in(&run.path().join("best")).unwrap(), [run.path().join("best")]);
    }

    #[test]
    fn weights_may_be_of_any_format() {
        for (files, model) in [
            (&["uncased/bert_config.json", "uncased/bert_model.ckpt.index"][..], "uncased"),
            (&["a/config.json", "a/tf_model.h5"], "a"),
            (&["a/config.json", "a/onnx/model_q4.onnx"], "a/onnx/model_q4.onnx"),
            (
                &["a/config.json", "a/onnx/model_q4.onnx", "a/onnx/model.onnx", "a/vocab.txt"],
                "a/onnx/model.onnx",
            ),
        ] {
            let root = tempfile::tempdir().unwrap();
            touch(root.path(), files);
            assert_eq!(model_in(root.path()).unwrap(), root.path().join(model));
        }
        let root = tempfile::tempdir().unwrap();
        touch(root.path(), &["a/config.json", "a/onnx/one.onnx", "a/onnx/two.onnx"]);
        assert!(model_in(root.path()).is_err());
    }

    #[test]
    fn none_and_several_are_errors_that_say_so() {
        let root = tempfile::tempdir().unwrap();
        touch(root.path(), &["a/config.json"]);
        assert!(model_in(root.path()).unwrap_err().to_string().contains("no single model"));
        touch(root.path(), &["a/m.safetensors", "b/config.json", "b/m.safetensors"]);
        let message = model_in(root.path()).unwrap_err().to_string();
        assert!(message.contains("there are 2") && message.contains("give one of them"), "{message}");
    }

    #[test]
    fn the_licence_is_read_from_the_card_or_the_package() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(licence_of(root.path()), None);
        fs::write(root.path().join("package.json"), r#"{"license": "MIT"}"#).unwrap();
        assert_eq!(licence_of(root.path()).as_deref(), Some("MIT"));
        fs::write(
            root.path().join("README.md"),
            "---\ntags: x\nlicense: apache-2.0\n---\n# Title\nlicense: no\n",
        )
        .unwrap();
        assert_eq!(licence_of(root.path()).as_deref(), Some("apache-2.0"));
    }
}
