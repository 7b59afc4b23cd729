//! What a piece of data is.

use std::path::Path;

use burn::tensor::Device;
use serde::Serialize;
use topwork_data::{
    Dataset, Error as DataError, Format, Label, LengthReport, NearOptions, ReadOptions, Task, duplicates,
    words,
};
use topwork_kernels::gemm::Precision;
use topwork_models::family::NO_LIMIT;
use topwork_models::{HeadSpec, Model, Pooling, Source};
use topwork_text::Tokenizer;
use whatlang::detect;

use crate::bench::{SpeedOptions, speed};
use crate::error::Error;
use crate::model_files;
use crate::recipe::Kind;
use crate::tasks::{TASKS, task};

/// Columns that were named; what was not is found by the reader.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Columns {
    /// Of the text.
    pub text: Option<String>,
    /// Of the second text of a pair.
    pub pair: Option<String>,
    /// Of the label.
    pub label: Vec<String>,
}

/// A class and its texts.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Class {
    /// Its name.
    pub name: String,
    /// Texts of it.
    pub texts: usize,
}

/// Lengths in words.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Words {
    /// The mean.
    pub mean: f64,
    /// What 95% of the texts do not exceed.
    pub most: usize,
    /// The longest.
    pub longest: usize,
}

/// A language and its share of the texts whose language shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Speech {
    /// Its English name.
    pub language: String,
    /// From 0 to 1.
    pub share: f64,
}

/// What a model's tokenizer makes of the texts.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Tokens {
    /// Pieces that a word becomes.
    pub per_word: f64,
    /// The share of pieces that stand for something the vocabulary cannot spell.
    pub unknown: f64,
    /// The longest length, special tokens counted, that is proposed.
    pub max_length: usize,
    /// The share of texts that are cut there.
    pub cut: f64,
}

/// What a piece of data is.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Facts {
    /// How it was named.
    pub data: String,
    /// The columns that were named.
    pub columns: Columns,
    /// What its labels are for; `None` without labels.
    pub kind: Option<Kind>,
    /// Texts.
    pub texts: usize,
    /// Whether each has a second text.
    pub pairs: bool,
    /// Classes or tags, sorted by name.
    pub classes: Vec<Class>,
    /// Lengths.
    pub words: Words,
    /// Texts that repeat an earlier one, nearly or quite.
    pub repeated: usize,
    /// Languages, the commonest first; those of fewer than one text in twenty are left out.
    pub languages: Vec<Speech>,
    /// With the tokenizer of a model; `None` without one.
    pub tokens: Option<Tokens>,
}

impl Facts {
    /// The commonest language; `None` where none shows.
    pub fn language(&self) -> Option<&str> {
        self.languages.first().map(|speech| speech.language.as_str())
    }

    /// The commonest class, with its share of the texts.
    pub fn commonest(&self) -> Option<(&str, f64)> {
        let most = self.classes.iter().max_by_key(|class| class.texts)?;
        Some((&most.name, most.texts as f64 / self.texts.max(1) as f64))
    }

    /// The rarest class.
    pub fn rarest(&self) -> Option<&Class> {
        self.classes.iter().min_by_key(|class| class.texts)
    }
}

/// A piece of data, and how it is named in commands.
pub struct Side<'a> {
    /// How it was named.
    pub named: &'a str,
    /// Where it lies.
    pub path: &'a Path,
    /// How it is read; the columns in it are those that were named.
    pub options: ReadOptions,
    /// What its labels are for, where that is known.
    pub kind: Option<Kind>,
    /// Columns that commands have to name.
    pub columns: Columns,
}

/// What a plan asks of a model: how it reads, and how wide it is.
pub struct Reader {
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// The most tokens it reads; `None` without a limit.
    pub most: Option<usize>,
    /// Width of its hidden states.
    pub hidden: usize,
}

impl Reader {
    /// Opens what is needed of a model: its weights are not.
    ///
    /// # Errors
    /// A missing or broken file.
    pub fn open(model: &Path) -> Result<Self, Error> {
        let tokenizer = model_files::tokenizer(model)?;
        let plain = HeadSpec::embedder(Pooling::Mean, false);
        let size = Model::declare(Source::find(model)?.config(), &plain, &Device::flex())?.size().clone();
        let most = Some(size.max_tokens).filter(|&most| most != NO_LIMIT).or(tokenizer.stated_max_length());
        Ok(Reader { tokenizer, most, hidden: size.hidden })
    }
}

/// Texts that a model learns from in a second on this machine, as long as these are: of a few steps.
///
/// # Errors
/// As [`crate::bench::speed`].
pub fn rate(model: &Path, dataset: &Dataset, max_length: usize) -> Result<f64, Error> {
    let precision = if Precision::native_bf16() { Precision::Bf16 } else { Precision::F32 };
    let options = SpeedOptions { precision, batch: 32, steps: 5, max_length: Some(max_length) };
    Ok(speed(model, &sample(dataset, TIMED), &options)?.training.texts_per_second())
}

/// Texts that steps are timed on.
const TIMED: usize = 256;
/// Texts looked at for languages and pieces of words.
const SAMPLE: usize = 2000;
/// Texts measured in tokens.
const MEASURED: usize = 20_000;
/// Texts up to which near duplicates are searched.
const NEAR: usize = 200_000;

/// Looks at data, and at what a model's tokenizer makes of it.
///
/// # Errors
/// Everything that is wrong with the file; a text the tokenizer refuses.
pub fn look(side: &Side, reader: Option<&Reader>) -> Result<(Facts, Dataset), Error> {
    let (kind, dataset) = read(side)?;
    let lengths = LengthReport::new(
        dataset.examples.iter().map(|example| {
            let pair = example.pair.as_deref().unwrap_or_default();
            example.text.split_whitespace().count() + pair.split_whitespace().count()
        }),
        None,
    );
    let near = NearOptions::default();
    let repeats = duplicates(&dataset, Some(&near).filter(|_| dataset.len() <= NEAR));
    let counted = kind
        .is_some_and(|kind| matches!(kind, Kind::Classify | Kind::MultiLabel | Kind::Tag | Kind::Relation));
    let classes = if counted { dataset.label_counts() } else { Vec::new() };
    let facts = Facts {
        data: side.named.to_string(),
        columns: side.columns.clone(),
        kind,
        texts: dataset.len(),
        pairs: dataset.examples.iter().any(|example| example.pair.is_some()),
        classes: classes.into_iter().map(|(name, texts)| Class { name, texts }).collect(),
        words: Words { mean: lengths.mean(), most: lengths.quantile(0.95), longest: lengths.longest() },
        repeated: repeats.exact + repeats.near,
        languages: languages(&sample(&dataset, SAMPLE)),
        tokens: reader.map(|reader| tokens(&dataset, &reader.tokenizer, reader.most)).transpose()?,
    };
    Ok((facts, dataset))
}

/// Reads a file; what its labels are for is decided as in training, and a file without labels is read too.
fn read(side: &Side) -> Result<(Option<Kind>, Dataset), Error> {
    let read = |task| topwork_data::read(side.path, &ReadOptions { task, ..side.options.clone() });
    if let Some(kind) = side.kind {
        return Ok((Some(kind), read(task(kind).reader())?));
    }
    let format = side.options.format.or_else(|| Format::of(side.path));
    let of_format = |format: Option<Format>| {
        let only = format.and_then(Format::only_task)?;
        TASKS.iter().find(|task| task.reader() == only)
    };
    if let Some(task) = of_format(format) {
        return Ok((Some(task.kind()), read(task.reader())?));
    }
    if side.options.label.len() > 1 {
        return Ok((Some(Kind::MultiLabel), read(Task::Multi)?));
    }
    let bare = side.options.label.is_empty();
    if bare && format == Some(Format::Text) {
        return Ok((None, read(Task::Unlabelled)?));
    }
    match read(Task::Class) {
        Err(DataError::UnclearColumn { role: "label", .. }) if bare => Ok((None, read(Task::Unlabelled)?)),
        // What the file holds shows only in it.
        Err(DataError::Unfit { format, .. }) if of_format(Some(format)).is_some() => {
            let task = of_format(Some(format)).copied().unwrap_or(task(Kind::Classify));
            Ok((Some(task.kind()), read(task.reader())?))
        }
        dataset => {
            let dataset = dataset?;
            let fractions = |label: &Option<Label>| match label {
                Some(Label::One(text)) => text.trim().parse::<f64>().ok().map(|number| number.fract() != 0.0),
                _ => None,
            };
            let numbers: Option<Vec<bool>> = dataset.examples.iter().map(|e| fractions(&e.label)).collect();
            if numbers.is_some_and(|numbers| numbers.contains(&true)) {
                return Ok((Some(Kind::Regress), read(Task::Score)?));
            }
            Ok((Some(Kind::Classify), dataset))
        }
    }
}

/// So many texts, from the whole of the data.
pub(super) fn sample(dataset: &Dataset, most: usize) -> Vec<String> {
    let count = dataset.len().min(most);
    let pick = |at: usize| {
        let example = &dataset.examples[at * dataset.len() / count];
        match &example.pair {
            Some(pair) => format!("{} {pair}", example.text),
            None => example.text.clone(),
        }
    };
    (0..count).map(pick).collect()
}

/// Languages of texts: of each where it shows, else of all of them together.
fn languages(texts: &[String]) -> Vec<Speech> {
    let mut found: Vec<(&'static str, usize)> = Vec::new();
    let mut add = |name: &'static str| match found.iter_mut().find(|(known, _)| *known == name) {
        Some((_, count)) => *count += 1,
        None => found.push((name, 1)),
    };
    let sure = texts.iter().filter_map(|text| detect(text).filter(|info| info.is_reliable()));
    let sure: Vec<&'static str> = sure.map(|info| info.lang().eng_name()).collect();
    // Short texts hardly ever show their language: a few that do may be the wrong few.
    if sure.len() * 20 >= texts.len() && sure.len() >= 5 {
        sure.into_iter().for_each(&mut add);
    } else if let Some(info) = detect(&texts.join(" ")).filter(|info| info.is_reliable()) {
        add(info.lang().eng_name());
    }
    let all: usize = found.iter().map(|(_, count)| count).sum();
    found.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let speech = |(name, count): (&str, usize)| Speech {
        language: name.to_string(),
        share: count as f64 / all.max(1) as f64,
    };
    found.into_iter().map(speech).filter(|speech| speech.share >= 0.05).collect()
}

fn tokens(dataset: &Dataset, tokenizer: &Tokenizer, most: Option<usize>) -> Result<Tokens, Error> {
    let (mut pieces, mut unknown, mut all) = (0, 0, 0);
    let unk = tokenizer.special_tokens().unk;
    for text in sample(dataset, SAMPLE) {
        let ids = tokenizer.encode_bare(&text)?;
        pieces += ids.len();
        unknown += ids.iter().filter(|&&id| Some(id) == unk).count();
        all += words(&text).len();
    }
    let count = dataset.len().min(MEASURED);
    let measured: Vec<_> = (0..count)
        .map(|at| &dataset.examples[at * dataset.len() / count])
        .map(|example| (example.text.as_str(), example.pair.as_deref()))
        .collect();
    let inputs: Vec<topwork_text::Input<'_>> =
        measured.iter().map(|&(text, pair)| topwork_text::Input { text, pair }).collect();
    let lengths = tokenizer.encode_batch(&inputs, None)?;
    let report = LengthReport::new(lengths.iter().map(topwork_text::Encoding::full_len), most);
    let max_length = report.proposed();
    Ok(Tokens {
        per_word: pieces as f64 / all.max(1) as f64,
        unknown: unknown as f64 / pieces.max(1) as f64,
        max_length,
        cut: report.cut_at(max_length).texts as f64 / count.max(1) as f64,
    })
}
