//! SentencePiece models as `tokenizer.json`, family by family, as transformers converts them.
//!
//! The families differ in which pieces they put before and after those of the file, in what they normalize, and in
//! what goes around a text.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde_json::{Value, json};

use super::class::{Class, Pieces};
use super::parts::{Parts, Token, bytes_decoder, metaspace, replace, replace_regex};
use super::proto::{Algorithm, Kind, Model};
use super::{Made, Surroundings, charsmap, frame, languages, scores};
use crate::settings::Settings;
use crate::{Error, Result};

/// The `tokenizer.json` of a SentencePiece model.
pub(super) fn tokenizer_json(
    class: &Class,
    pieces: Pieces,
    path: &Path,
    bytes: &[u8],
    around: &Surroundings<'_>,
) -> Result<Made> {
    let model = Model::read(path, bytes)?;
    let settings = around.settings;
    let vocab = Vocab::new(pieces, class, &model, path, settings)?;
    let byte_fallback = matches!(pieces, Pieces::Llama | Pieces::Gemma);
    let mut notes = Vec::new();
    if model.byte_fallback && !byte_fallback {
        notes.push(format!(
            "{}: the model spells unknown characters in bytes, which transformers' converted tokenizer of this \
             class does not: they become {:?}, as there",
            path.display(), model.unk_piece
        ));
    }
    let json = match model.algorithm {
        Algorithm::Unigram => json!({
            "type": "Unigram", "unk_id": vocab.unk_id, "vocab": vocab.pieces, "byte_fallback": byte_fallback,
        }),
        Algorithm::Bpe => {
            let named: Vec<(&str, f32)> =
                vocab.pieces.iter().map(|(text, score)| (text.as_str(), *score)).collect();
            let merges = scores::merges(&named, &HashSet::new());
            let ids: serde_json::Map<String, Value> =
                named.iter().enumerate().map(|(id, (text, _))| ((*text).to_string(), json!(id))).collect();
            scores::model(Value::Object(ids), &merges, Some(&model.unk_piece), byte_fallback)
        }
    };
    let ids: HashMap<String, u32> =
        vocab.pieces.iter().enumerate().map(|(id, (text, _))| (text.clone(), id as u32)).collect();
    let size = if model.algorithm == Algorithm::Bpe { ids.len() } else { vocab.pieces.len() };
    let mut parts = Parts::new(path, json, ids, size);
    for piece in &model.pieces {
        let turn =
            pieces == Pieces::Gemma && ["<start_of_turn>", "<end_of_turn>"].contains(&piece.text.as_str());
        match piece.kind {
            Kind::Control => parts.add(Token::new(piece.text.clone(), true)),
            Kind::UserDefined => parts.add(Token::new(piece.text.clone(), turn)),
            _ => {}
        }
    }
    parts.add_settings(settings, around.older, class.roles, &vocab.additional)?;
    parts.normalizer = normalizer(class, pieces, &model, path, settings)?;
    let legacy = settings.flag("legacy")?.unwrap_or(true);
    let has_legacy = matches!(pieces, Pieces::Llama | Pieces::T5);
    let space = match pieces {
        Pieces::Llama | Pieces::T5 | Pieces::Gemma => settings.flag("add_prefix_space")?.unwrap_or(true),
        _ => true,
    };
    let scheme = match (space, legacy || !has_legacy) {
        (true, true) => "always",
        (true, false) => "first",
        (false, _) => "never",
    };
    parts.pre_tokenizer = match pieces {
        Pieces::Llama if legacy => Value::Null,
        Pieces::Llama => metaspace(scheme, false),
        Pieces::Gemma => json!({
            "type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": false,
        }),
        Pieces::DebertaV2 => {
            let mut steps = vec![metaspace(scheme, true)];
            if settings.flag("split_by_punct")?.unwrap_or(false) {
                steps.insert(0, json!({"type": "Punctuation", "behavior": "Isolated"}));
            }
            json!({"type": "Sequence", "pretokenizers": steps})
        }
        Pieces::Pegasus => json!({
            "type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace(scheme, true)],
        }),
        _ => metaspace(scheme, true),
    };
    parts.decoder = match pieces {
        Pieces::Llama => bytes_decoder(space),
        Pieces::Gemma => bytes_decoder(false),
        _ => metaspace(scheme, true),
    };
    match pieces {
        Pieces::Llama | Pieces::Gemma => bos_and_eos(&mut parts, settings)?,
        _ if class.frame[0].is_empty() => {}
        _ => frame(&mut parts, class, settings)?,
    }
    Ok(Made { json: parts.finish()?, notes })
}

/// `<s>` before and `</s>` after a text, as the settings want them.
fn bos_and_eos(parts: &mut Parts<'_>, settings: &Settings) -> Result<()> {
    let token = |key: &str, role: &str, default: bool| -> Result<Option<String>> {
        if !settings.flag(key)?.unwrap_or(default) {
            return Ok(None);
        }
        Ok(Some(settings.special_token(role)?.unwrap_or_default().to_string()))
    };
    let bos = token("add_bos_token", "bos_token", true)?;
    let eos = token("add_eos_token", "eos_token", false)?;
    let text = |name: &str, kind: u32| {
        let around = |token: &Option<String>| token.as_ref().map(|token| format!("{token}:{kind}"));
        [around(&bos), Some(format!("${name}:{kind}")), around(&eos)]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(" ")
    };
    parts.frame(&text("A", 0), &format!("{} {}", text("A", 0), text("B", 1)))
}

/// The pieces of a family in the order of their ids.
struct Vocab {
    pieces: Vec<(String, f32)>,
    unk_id: usize,
    /// Special tokens beside those with a role.
    additional: Vec<String>,
}

impl Vocab {
    fn new(pieces: Pieces, class: &Class, model: &Model, path: &Path, settings: &Settings) -> Result<Self> {
        let own = |from: usize| model.pieces.iter().skip(from).map(|piece| (piece.text.clone(), piece.score));
        let named = |texts: &[&str]| texts.iter().map(|text| ((*text).to_string(), 0.0)).collect::<Vec<_>>();
        let role = |name: &str| -> Result<String> {
            Ok(settings.special_token(name)?.unwrap_or_default().to_string())
        };
        let strings = |texts: &[&str]| texts.iter().map(|text| (*text).to_string()).collect::<Vec<_>>();
        let fairseq = ["<s>", "<pad>", "</s>", "<unk>"];
        let too_few = |needed: usize| Error::Broken {
            path: path.into(),
            at: 0,
            problem: format!("expected at least {needed} pieces for this class, got {}", model.pieces.len()),
        };
        let mut unk_id = model.unk_id;
        let mut additional = Vec::new();
        let all = match pieces {
            Pieces::Plain | Pieces::DebertaV2 | Pieces::RemBert => own(0).collect(),
            Pieces::Barthez => {
                unk_id = 3;
                own(0).collect()
            }
            Pieces::Albert => {
                if class.names.contains(&"XLNetTokenizer") {
                    additional = strings(&["<eop>", "<eod>"]);
                }
                own(0)
                    .map(
                        |(text, score)| {
                            if number_comma(&text) { (text, score - 100.0) } else { (text, score) }
                        },
                    )
                    .collect()
            }
            Pieces::Fairseq | Pieces::MBart | Pieces::MBart50 | Pieces::Nllb | Pieces::Xglm => {
                unk_id = 3;
                let madeup: Vec<String> = (0..7).map(|index| format!("<madeupword{index}>")).collect();
                let mut all = named(&fairseq);
                all.extend(own(3));
                additional = match pieces {
                    Pieces::MBart => strings(languages::MBART),
                    Pieces::MBart50 => strings(&[languages::MBART, languages::MBART50].concat()),
                    Pieces::Nllb => strings(languages::NLLB),
                    Pieces::Xglm => madeup,
                    _ => Vec::new(),
                };
                // NLLB's languages have no place among the pieces: they come after the mask.
                if pieces != Pieces::Nllb {
                    all.extend(additional.iter().map(|text| (text.clone(), 0.0)));
                    if pieces != Pieces::Xglm {
                        all.push(("<mask>".into(), 0.0));
                    }
                }
                all
            }
            Pieces::Camembert => {
                unk_id = 3;
                additional = strings(&["<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED"]);
                let mut all = named(&["<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>"]);
                all.push(("<unk>NOTUSED".into(), -100.0));
                all.extend(own(1));
                all.push(("<mask>".into(), 0.0));
                all
            }
            Pieces::T5 => {
                let extra = settings.count("extra_ids")?.unwrap_or(100);
                let mut all: Vec<_> = own(0).collect();
                all.extend((0..extra).rev().map(|index| (format!("<extra_id_{index}>"), 0.0)));
                additional = (0..extra).map(|index| format!("<extra_id_{index}>")).collect();
                all
            }
            Pieces::Pegasus => {
                let offset = settings.count("offset")?.unwrap_or(103);
                unk_id += offset;
                let sentence = settings.text("mask_token_sent")?;
                let sentence = if settings.has("mask_token_sent") { sentence } else { Some("<mask_1>") };
                let mut all = vec![(role("pad_token")?, 0.0), (role("eos_token")?, 0.0)];
                additional.extend(sentence.map(String::from));
                all.extend(sentence.map(|token| (token.to_string(), 0.0)));
                if offset > 0 {
                    all.push((role("mask_token")?, 0.0));
                }
                let unused = (2..offset).map(|index| format!("<unk_{index}>"));
                additional.extend(unused.clone());
                all.extend(unused.map(|token| (token, -100.0)));
                all.extend(own(2));
                all
            }
            Pieces::Llama => own(0)
                .enumerate()
                .map(|(id, (text, score))| (text, if id < 3 { 0.0 } else { score }))
                .collect(),
            Pieces::Gemma => {
                unk_id = 3;
                let mut all =
                    vec![(role("pad_token")?, 0.0), (role("eos_token")?, 0.0), (role("bos_token")?, 0.0)];
                all.extend(own(3));
                if !all.iter().any(|(text, _)| text == "\t")
                    && let Some(tab) = all.iter_mut().find(|(text, _)| text == "<0x09>")
                {
                    *tab = ("\t".into(), 0.0);
                }
                all
            }
        };
        if unk_id >= all.len() || model.pieces.len() < 3 {
            return Err(too_few((unk_id + 1).max(3)));
        }
        Ok(Self { pieces: all, unk_id, additional })
    }
}

/// Whether a piece ends in a digit and a comma, which ALBERT and XLNet take apart.
fn number_comma(piece: &str) -> bool {
    let mut last = piece.chars().rev();
    last.next() == Some(',') && last.next().is_some_and(char::is_numeric)
}

fn normalizer(
    class: &Class,
    pieces: Pieces,
    model: &Model,
    path: &Path,
    settings: &Settings,
) -> Result<Value> {
    let table = charsmap::normalizer(&model.charsmap).map_err(|problem| Error::Broken {
        path: path.into(),
        at: 0,
        problem,
    })?;
    let step = |kind: &str| json!({"type": kind});
    let quotes = [replace("``", "\""), replace("''", "\"")];
    let one_space = replace_regex(" {2,}", " ");
    let mut steps = Vec::new();
    match pieces {
        Pieces::Llama => {
            if !settings.flag("legacy")?.unwrap_or(true) {
                return Ok(Value::Null);
            }
            if settings.flag("add_prefix_space")?.unwrap_or(true) {
                steps.push(json!({"type": "Prepend", "prepend": "▁"}));
            }
            steps.push(replace(" ", "▁"));
        }
        Pieces::Gemma => return Ok(replace(" ", "▁")),
        Pieces::Albert | Pieces::RemBert => {
            let is = |name: &str| class.names.contains(&name);
            let lower = settings.flag("do_lower_case")?.unwrap_or(is("AlbertTokenizer"));
            let keep = !is("AlbertTokenizer") && !is("XLNetTokenizer");
            let keep = settings.flag("keep_accents")?.unwrap_or(keep);
            steps.extend(quotes);
            if pieces == Pieces::RemBert {
                steps.push(one_space.clone());
            }
            if !keep {
                steps.extend([step("NFKD"), step("StripAccents")]);
            }
            if lower {
                steps.push(step("Lowercase"));
            }
            steps.extend(table);
            if pieces == Pieces::Albert {
                steps.push(one_space);
            }
        }
        Pieces::DebertaV2 => {
            if settings.flag("do_lower_case")?.unwrap_or(false) {
                steps.push(step("Lowercase"));
            }
            steps.push(json!({"type": "Strip", "strip_left": true, "strip_right": true}));
            steps.extend(table);
            steps.push(one_space);
        }
        _ => {
            steps.extend(table);
            steps.push(json!({"type": "Strip", "strip_left": false, "strip_right": true}));
            steps.push(replace_regex(" {2,}", "▁"));
        }
    }
    Ok(json!({"type": "Sequence", "normalizers": steps}))
}
