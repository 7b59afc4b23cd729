//! How a model folder says its texts are to be written: `generation_config.json`.
//!
//! Reference: <https://huggingface.co/docs/transformers/main/en/main_classes/text_generation>. What would change the words and
//! is not done here is refused; what only concerns speed or what else is returned is passed over.

use std::path::Path;

use serde_json::Value;
use topwork_kernels::gemm::Precision;

use super::{Adjust, Beam, Choice, Options, Sampling};
use crate::config::Config;
use crate::error::Error;
use crate::source::read_json;

/// New words where a folder says nothing of it.
const NEW: usize = 20;

/// Settings that are refused unless they have the value that does nothing.
const ALONE: [(&str, f64); 14] = [
    ("diversity_penalty", 0.0),
    ("num_beam_groups", 1.0),
    ("penalty_alpha", 0.0),
    ("encoder_repetition_penalty", 1.0),
    ("encoder_no_repeat_ngram_size", 0.0),
    ("typical_p", 1.0),
    ("epsilon_cutoff", 0.0),
    ("eta_cutoff", 0.0),
    ("guidance_scale", 1.0),
    ("top_h", 1.0),
    ("sequence_bias", f64::NAN),
    ("exponential_decay_length_penalty", f64::NAN),
    ("suppress_tokens", f64::NAN),
    ("begin_suppress_tokens", f64::NAN),
];

impl Options {
    /// What `generation_config.json` of a folder says, or where there is none `config.json`, which had these settings in old
    /// folders.
    ///
    /// # Errors
    /// A file that cannot be read; as [`Options::of_config`].
    pub fn of_folder(folder: &Path) -> Result<Self, Error> {
        for file in ["generation_config.json", "config.json"] {
            if folder.join(file).is_file() {
                return Self::of_config(&read_json(folder, file)?);
            }
        }
        Err(Error::Missing { folder: folder.to_path_buf(), file: "config.json" })
    }

    /// What the content of a `generation_config.json` says. `max_length` and `min_length` count the token a text is written
    /// from.
    ///
    /// # Errors
    /// [`Error::Generate`] for a setting of the wrong kind, and for one that is not done here.
    pub fn of_config(config: &Value) -> Result<Self, Error> {
        read(Config(config)).map_err(|error| match error {
            Error::Config { key, expected, got } => {
                Error::Generate { what: key, reason: format!("expected {expected}, got {got}") }
            }
            error => error,
        })
    }
}

fn read(config: Config) -> Result<Options, Error> {
    for (key, nothing) in ALONE {
        match config.0.get(key) {
            None | Some(Value::Null) => {}
            Some(value) if value.as_f64() == Some(nothing) => {}
            Some(value) => {
                let reason = format!("{value} asks for what is not done here: take it out of the file");
                return Err(Error::Generate { what: key.to_string(), reason });
            }
        }
    }
    let max_new = match (config.size_or("max_new_tokens", 0)?, config.size_or("max_length", 0)?) {
        (0, 0) => NEW,
        (0, length) => length.saturating_sub(1),
        (new, _) => new,
    };
    let min_new = match (config.size_or("min_new_tokens", 0)?, config.size_or("min_length", 0)?) {
        (0, length) => length.saturating_sub(1),
        (new, _) => new,
    };
    let (beams, drawn) = (config.size_or("num_beams", 1)?, config.flag_or("do_sample", false)?);
    if beams > 1 && drawn {
        let reason =
            "words drawn by several beams are not done here: take one of num_beams and do_sample out"
                .to_string();
        return Err(Error::Generate { what: "do_sample".to_string(), reason });
    }
    let choice = if beams > 1 {
        Choice::Beam(Beam {
            beams,
            length_penalty: config.number_or("length_penalty", 1.0)?,
            early_stopping: config.flag_or("early_stopping", false)?,
        })
    } else if drawn {
        Choice::Sample(Sampling {
            temperature: config.number_or("temperature", 1.0)? as f32,
            top_k: config.size_or("top_k", 50)?,
            top_p: config.number_or("top_p", 1.0)? as f32,
            min_p: config.number_or("min_p", 0.0)? as f32,
            seed: 0,
        })
    } else {
        Choice::Greedy
    };
    Ok(Options {
        max_new,
        end: config.ids("eos_token_id", &[])?,
        choice,
        adjust: Adjust {
            repetition_penalty: config.number_or("repetition_penalty", 1.0)? as f32,
            no_repeat: config.size_or("no_repeat_ngram_size", 0)?,
            never: runs(config, "bad_words_ids")?,
            min_new,
            first: config.ids("forced_bos_token_id", &[])?.first().copied(),
            last: config.ids("forced_eos_token_id", &[])?,
        },
        start: config.ids("decoder_start_token_id", &[])?.first().copied(),
        precision: Precision::F32,
    })
}

/// Lists of token ids.
fn runs(config: Config, key: &str) -> Result<Vec<Vec<u32>>, Error> {
    let Some(runs) = config.0.get(key).filter(|runs| !runs.is_null()) else { return Ok(Vec::new()) };
    let id = |id: &Value| id.as_u64().and_then(|id| u32::try_from(id).ok());
    let run = |run: &Value| run.as_array()?.iter().map(id).collect::<Option<Vec<u32>>>();
    let read = runs.as_array().and_then(|runs| runs.iter().map(run).collect());
    read.ok_or_else(|| Error::Config {
        key: key.to_string(),
        expected: "lists of token ids".to_string(),
        got: runs.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_summarisers_and_translators_say_is_read() {
        // As bart-large-cnn and the Marian models of OPUS-MT have it.
        let options = Options::of_config(&json!({
            "bos_token_id": 0, "decoder_start_token_id": 2, "early_stopping": true, "eos_token_id": 2,
            "forced_bos_token_id": 0, "forced_eos_token_id": 2, "length_penalty": 2.0, "max_length": 142,
            "min_length": 56, "no_repeat_ngram_size": 3, "num_beams": 4, "pad_token_id": 1
        }))
        .unwrap();
        let beam = Beam { beams: 4, length_penalty: 2.0, early_stopping: true };
        assert_eq!((options.max_new, options.start, options.end), (141, Some(2), vec![2]));
        assert_eq!(options.choice, Choice::Beam(beam));
        let expected =
            Adjust { no_repeat: 3, min_new: 55, first: Some(0), last: vec![2], ..Adjust::default() };
        assert_eq!(options.adjust, expected);
        let options = Options::of_config(&json!({
            "bad_words_ids": [[58100]], "num_beams": 6, "max_length": 512, "forced_eos_token_id": 0,
            "decoder_start_token_id": 58100, "eos_token_id": [0, 5]
        }))
        .unwrap();
        assert_eq!((options.adjust.never, options.end), (vec![vec![58100]], vec![0, 5]));
        assert_eq!(Options::of_config(&json!({})).unwrap().max_new, NEW);
    }

    #[test]
    fn what_is_not_done_is_refused() {
        let check = |config: Value, what: &str| {
            let error = Options::of_config(&config).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        };
        check(json!({"penalty_alpha": 0.6}), "penalty_alpha");
        check(json!({"suppress_tokens": [1]}), "suppress_tokens");
        check(json!({"early_stopping": "never", "num_beams": 2}), "early_stopping");
        check(json!({"num_beams": 2, "do_sample": true}), "do_sample");
        check(json!({"bad_words_ids": [3]}), "bad_words_ids");
        check(json!({"max_length": "long"}), "max_length");
        Options::of_config(&json!({"diversity_penalty": 0.0, "num_beam_groups": 1, "guidance_scale": null}))
            .unwrap();
    }
}
