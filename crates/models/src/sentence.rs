//! Folders as sentence-transformers has them: which modules follow the encoder, read as the settings of an `embed` head and
//! written from them.
//!
//! Code: <https://github.com/UKPLab/sentence-transformers> (`modules.json`, `1_Pooling/config.json`, `2_Dense`, `2_Normalize`)

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use topwork_kernels::pool::Pool;

use crate::error::Error;
use crate::head::{EmbedDense, HeadSpec, Pooling};
use crate::source::Source;

/// The file that lists the modules.
pub const MODULES: &str = "modules.json";

/// What a sentence-transformers folder computes of an encoder's tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct Sentence {
    /// The head.
    pub spec: HeadSpec,
    /// The folder with the weights of its map, if it has one.
    pub dense: Option<PathBuf>,
    /// Whether what is put before a text counts when its tokens are pooled.
    pub pools_prompt: bool,
}

impl Sentence {
    /// What the modules beside a model say; `None` where there are none, or they are no encoder with pooling after it.
    ///
    /// # Errors
    /// [`Error::Unreadable`] for a file that is broken, and for a module that is not computed here: it is named.
    pub fn read(source: &Source) -> Result<Option<Sentence>, Error> {
        let Some(path) = source.beside(MODULES) else { return Ok(None) };
        let wrong = |reason: String| Error::Unreadable { path: path.clone(), reason };
        let list = json_in(&path)?;
        let modules: Vec<(&str, &str)> = list
            .as_array()
            .map(|list| list.iter().filter_map(module).collect::<Vec<_>>())
            .filter(|modules| list.as_array().is_some_and(|list| list.len() == modules.len()))
            .ok_or_else(|| wrong("expected a list of modules, each with a path and a type".to_string()))?;
        let [("Transformer", encoder), ("Pooling", pooling), rest @ ..] = modules.as_slice() else {
            return Ok(None);
        };
        if !encoder.is_empty() {
            return Err(wrong(format!("the encoder is to lie in {encoder:?}, not in the folder itself")));
        }
        let settings = |path: &str| -> Result<(Value, PathBuf), Error> {
            let plain = path.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !path.is_empty();
            let folder = source.folder().join(path);
            let file = folder.join("config.json");
            match plain {
                true if file.is_file() => Ok((json_in(&file)?, folder)),
                true => Ok((json!({}), folder)),
                false => Err(wrong(format!("expected the plain name of a folder, got {path:?}"))),
            }
        };
        let (config, folder) = settings(pooling)?;
        let pool = pool_of(&config)
            .map_err(|reason| Error::Unreadable { path: folder.join("config.json"), reason })?;
        let (mut dense, mut normalise) = (None, false);
        for (kind, path) in rest {
            let (config, folder) = settings(path)?;
            let file = folder.join("config.json");
            let unfit = |reason: String| Error::Unreadable { path: file.clone(), reason };
            let input = config.get("module_input_name").and_then(Value::as_str);
            if input.is_some_and(|input| input != "sentence_embedding") {
                return Err(unfit("module_input_name: only sentence_embedding is computed here".to_string()));
            }
            match *kind {
                "Dense" if dense.is_none() && !normalise => {
                    dense = Some((dense_of(&config).map_err(unfit)?, folder));
                }
                "Normalize" => normalise = true,
                other => {
                    return Err(wrong(format!(
                        "the module {other} is not computed here at its place: after pooling there may be one Dense, and then \
                         Normalize"
                    )));
                }
            }
        }
        let pools_prompt = config.get("include_prompt").and_then(Value::as_bool) != Some(false);
        let (dense, folder) = dense.map(|(dense, folder)| (Some(dense), Some(folder))).unwrap_or_default();
        let spec = HeadSpec::Embed { pool, normalise, dense };
        Ok(Some(Sentence { spec, dense: folder, pools_prompt }))
    }
}

/// The last part of a module's type, and its path.
fn module(module: &Value) -> Option<(&str, &str)> {
    let kind = module.get("type")?.as_str()?;
    Some((kind.rsplit('.').next()?, module.get("path")?.as_str()?))
}

fn json_in(path: &Path) -> Result<Value, Error> {
    let wrong = |reason: String| Error::Unreadable { path: path.to_path_buf(), reason };
    let text = std::fs::read(path).map_err(|e| wrong(e.to_string()))?;
    serde_json::from_slice(&text).map_err(|e| wrong(e.to_string()))
}

/// Names of poolings, today's and those of the flags that files before version 5 have.
const POOLS: &[(&str, &str, Option<Pooling>)] = &[
    ("cls", "pooling_mode_cls_token", Some(Pooling::Cls)),
    ("mean", "pooling_mode_mean_tokens", Some(Pooling::Mean)),
    ("max", "pooling_mode_max_tokens", Some(Pooling::Max)),
    ("lasttoken", "pooling_mode_lasttoken", Some(Pooling::Last)),
    ("mean_sqrt_len_tokens", "pooling_mode_mean_sqrt_len_tokens", None),
    ("weightedmean", "pooling_mode_weightedmean_tokens", None),
];

fn pool_of(config: &Value) -> Result<Pooling, String> {
    let flagged = || -> Vec<&str> {
        let set = |flag: &str| config.get(flag).and_then(Value::as_bool) == Some(true);
        POOLS.iter().filter(|(_, flag, _)| set(flag)).map(|(name, ..)| *name).collect()
    };
    let names = match config.get("pooling_mode") {
        Some(Value::String(name)) => vec![name.as_str()],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => flagged(),
    };
    let pool = match names.as_slice() {
        [] => Some(Pooling::Mean),
        [name] => POOLS.iter().find(|(known, ..)| known == name).and_then(|(.., pool)| *pool),
        _ => None,
    };
    pool.ok_or_else(|| {
        format!("pooling by {}: one of cls, mean, max, lasttoken is computed here", names.join(" and "))
    })
}

fn dense_of(config: &Value) -> Result<EmbedDense, String> {
    if config.get("use_residual").and_then(Value::as_bool) == Some(true) {
        return Err("use_residual is not computed here".to_string());
    }
    let width = config.get("out_features").and_then(Value::as_u64);
    let width = width.filter(|&width| width > 0).ok_or("out_features: expected a whole number above 0")?;
    let activation = config.get("activation_function").and_then(Value::as_str);
    let tanh = match activation.map(|name| name.rsplit('.').next().unwrap_or(name)) {
        None | Some("Tanh") => true,
        Some("Identity") => false,
        Some(other) => {
            return Err(format!("activation_function {other}: Tanh and Identity are computed here"));
        }
    };
    let bias = config.get("bias").and_then(Value::as_bool) != Some(false);
    Ok(EmbedDense { width: width as usize, bias, tanh })
}

/// What is written of a model beside its weights.
#[derive(Clone, Copy, Debug)]
pub struct Written<'a> {
    /// How tokens are pooled.
    pub pool: Pool,
    /// Scale vectors to length one.
    pub normalise: bool,
    /// The map, and the bytes of a file with its weights.
    pub dense: Option<(EmbedDense, &'a [u8])>,
    /// Width of the encoder.
    pub hidden: usize,
    /// Longest text in tokens.
    pub max_length: Option<usize>,
    /// Whether texts are put in lower case.
    pub lowercase: bool,
}

impl Written<'_> {
    /// The files by which sentence-transformers opens a folder.
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        let mut modules = vec![("", "Transformer"), ("1_Pooling", "Pooling")];
        let pool = match self.pool {
            Pool::Cls => "cls",
            Pool::Mean => "mean",
            Pool::Max => "max",
            Pool::Last => "lasttoken",
        };
        let mut pooling = json!({"word_embedding_dimension": self.hidden, "include_prompt": true});
        for (name, flag, _) in POOLS {
            pooling[*flag] = json!(*name == pool);
        }
        let sentence = json!({"max_seq_length": self.max_length, "do_lower_case": self.lowercase});
        let mut files = vec![
            ("1_Pooling/config.json".to_string(), pretty(&pooling)),
            ("sentence_bert_config.json".to_string(), pretty(&sentence)),
        ];
        if let Some((dense, weights)) = self.dense {
            modules.push(("2_Dense", "Dense"));
            let activation = if dense.tanh {
                "torch.nn.modules.activation.Tanh"
            } else {
                "torch.nn.modules.linear.Identity"
            };
            let config = json!({
                "in_features": self.hidden,
                "out_features": dense.width,
                "bias": dense.bias,
                "activation_function": activation,
            });
            files.push(("2_Dense/config.json".to_string(), pretty(&config)));
            files.push(("2_Dense/model.safetensors".to_string(), weights.to_vec()));
        }
        if self.normalise {
            modules.push((if self.dense.is_some() { "3_Normalize" } else { "2_Normalize" }, "Normalize"));
        }
        let list: Vec<Value> = modules
            .iter()
            .enumerate()
            .map(|(at, (path, kind))| {
                let kind = format!("sentence_transformers.models.{kind}");
                json!({"idx": at, "name": at.to_string(), "path": path, "type": kind})
            })
            .collect();
        files.push((MODULES.to_string(), pretty(&Value::Array(list))));
        files
    }
}

fn pretty(value: &Value) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).unwrap_or_default();
    text.push(b'\n');
    text
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A folder with a config and these files.
    fn folder(files: &[(&str, Value)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("config.json"), r#"{"model_type": "bert"}"#).unwrap();
        for (name, value) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, pretty(value)).unwrap();
        }
        folder
    }

    fn modules(kinds: &[(&str, &str)]) -> Value {
        let one = |(path, kind): &(&str, &str)| json!({"path": path, "type": format!("sentence_transformers.models.{kind}")});
        Value::Array(kinds.iter().map(one).collect())
    }

    fn read(files: &[(&str, Value)]) -> Result<Option<Sentence>, Error> {
        let folder = folder(files);
        Sentence::read(&Source::find(folder.path()).unwrap())
    }

    const ALL: &[(&str, &str)] =
        &[("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Dense", "Dense"), ("3_Normalize", "Normalize")];

    #[test]
    fn modules_are_a_head() {
        let dense = json!({"in_features": 8, "out_features": 4, "bias": false,
            "activation_function": "torch.nn.modules.linear.Identity"});
        let pooling = json!({"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false});
        let files =
            [(MODULES, modules(ALL)), ("1_Pooling/config.json", pooling), ("2_Dense/config.json", dense)];
        let found = read(&files).unwrap().unwrap();
        let dense = Some(EmbedDense { width: 4, bias: false, tanh: false });
        assert_eq!(found.spec, HeadSpec::Embed { pool: Pooling::Cls, normalise: true, dense });
        assert!(found.dense.unwrap().ends_with("2_Dense") && found.pools_prompt);
        let named = json!({"pooling_mode": "lasttoken", "embedding_dimension": 8});
        let files = [(MODULES, modules(&ALL[..2])), ("1_Pooling/config.json", named)];
        let found = read(&files).unwrap().unwrap();
        assert_eq!(found.spec, HeadSpec::embedder(Pooling::Last, false));
        assert_eq!(read(&[]).unwrap(), None);
        assert_eq!(
            read(&[(MODULES, modules(&[("", "MLMTransformer"), ("1", "SpladePooling")]))]).unwrap(),
            None
        );
    }

    #[test]
    fn what_is_not_computed_is_refused_by_name() {
        let refuse = |files: &[(&str, Value)], part: &str| {
            let error = read(files).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        };
        let pooling = |config: Value| [(MODULES, modules(&ALL[..2])), ("1_Pooling/config.json", config)];
        refuse(&pooling(json!({"pooling_mode": ["cls", "mean"]})), "cls and mean");
        refuse(&pooling(json!({"pooling_mode": "weightedmean"})), "weightedmean");
        let after = |kind| [(MODULES, modules(&[ALL[0], ALL[1], ("2_More", kind)]))];
        refuse(&after("LayerNorm"), "LayerNorm");
        let dense = |config: Value| [(MODULES, modules(&ALL[..3])), ("2_Dense/config.json", config)];
        refuse(&dense(json!({"out_features": 0})), "out_features");
        refuse(&dense(json!({"out_features": 4, "use_residual": true})), "use_residual");
        refuse(&dense(json!({"out_features": 4, "activation_function": "torch.nn.ReLU"})), "ReLU");
        refuse(&[(MODULES, modules(&[("0_Transformer", "Transformer"), ALL[1]]))], "0_Transformer");
        refuse(&[(MODULES, modules(&[ALL[0], ("../1_Pooling", "Pooling")]))], "plain name");
        refuse(&[(MODULES, json!({"a": 1}))], "list of modules");
        let input = json!({"module_input_name": "token_embeddings"});
        refuse(
            &[(MODULES, modules(&[ALL[0], ALL[1], ("2_N", "Normalize")])), ("2_N/config.json", input)],
            "module_input",
        );
    }

    #[test]
    fn what_is_written_is_read_as_it_was() {
        for (pool, pooling) in [
            (Pool::Cls, Pooling::Cls),
            (Pool::Mean, Pooling::Mean),
            (Pool::Max, Pooling::Max),
            (Pool::Last, Pooling::Last),
        ] {
            for dense in [None, Some(EmbedDense { width: 3, bias: true, tanh: true })] {
                for normalise in [false, true] {
                    let weights: &[u8] = b"";
                    let dense_file = dense.map(|dense| (dense, weights));
                    let written = Written {
                        pool,
                        normalise,
                        dense: dense_file,
                        hidden: 8,
                        max_length: Some(64),
                        lowercase: false,
                    };
                    let folder = folder(&[]);
                    for (name, content) in written.files() {
                        let path = folder.path().join(name);
                        fs::create_dir_all(path.parent().unwrap()).unwrap();
                        fs::write(path, content).unwrap();
                    }
                    let found = Sentence::read(&Source::find(folder.path()).unwrap()).unwrap().unwrap();
                    assert_eq!(found.spec, HeadSpec::Embed { pool: pooling, normalise, dense });
                }
            }
        }
    }
}
