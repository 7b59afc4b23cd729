//! From a recipe's data to tokenized sets: read, split, check, tokenize, and say what was decided.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use topwork_data::{
    ClassWeights, Dataset, Encoder, Format, GroupCache, Inputs, Label, LabelMap, LengthReport, NearOptions,
    ReadOptions, ReadReport, SplitOptions, SplitReport, Task, Unit, few, read,
};
use topwork_text::Tokenizer;
use topwork_text::pictures::names_picture;

use crate::beside;
use crate::error::Error;
use crate::imbalance;
use crate::recipe::{DataRecipe, Kind, Lesson, Recipe};
use crate::sentence::SentenceTexts;
use crate::tasks::{self, Encode, Judge, LanguageTask, Part, TASKS, task};

/// Data ready to be trained on.
pub struct Prepared {
    /// The kind of task.
    pub kind: Kind,
    /// Names of the labels; empty for regression.
    pub labels: Vec<String>,
    /// The class that counts as positive in a task of two.
    pub positive: Option<usize>,
    /// For training.
    pub train: Part,
    /// For choosing.
    pub dev: Part,
    /// For the final score.
    pub test: Part,
    /// Learnt from beside the training data.
    pub beside: Option<Part>,
    /// What teachers answer to it, a row a text, where that is what is learnt.
    pub answers: Option<Vec<f32>>,
    /// Lengths of the training texts before any cut.
    pub lengths: LengthReport,
    /// Longest text in tokens.
    pub max_length: usize,
    /// Weight of each label in the loss.
    pub class_weights: Option<Vec<f32>>,
    /// What reading did, for every file.
    pub read: Vec<ReadReport>,
    /// What splitting did, if we split.
    pub split: Option<SplitReport>,
    /// Hash over all texts and labels, to notice changed data on resuming.
    pub fingerprint: String,
    /// Everything decided or noticed, as lines for the user.
    pub notes: Vec<String>,
}

impl Prepared {
    /// The task.
    pub fn task(&self) -> &'static dyn LanguageTask {
        task(self.kind)
    }

    /// What answers are judged with, without thresholds or intervals.
    pub fn judge(&self) -> Judge<'_> {
        Judge { labels: &self.labels, positive: self.positive, ..Judge::default() }
    }
}

/// How a model takes texts.
#[derive(Clone, Copy)]
pub struct Reads<'a> {
    /// Its tokenizer.
    pub tokenizer: &'a Encoder<'a>,
    /// The tokenizer of the texts it writes, if that is another one.
    pub targets: Option<&'a Encoder<'a>>,
    /// The longest text in tokens.
    pub model_max: usize,
    /// How it wants texts that become vectors.
    pub sentence: &'a SentenceTexts,
    /// Where it lies.
    pub model: &'a Path,
    /// What is known of texts that stand more than once.
    pub groups: &'a GroupCache,
}

/// Reads, splits and tokenizes.
///
/// # Errors
/// Everything wrong with the data, before any training: see `topwork_data::Error`.
pub fn prepare(recipe: &Recipe, seed: u64, reads: &Reads) -> Result<Prepared, Error> {
    let Reads { tokenizer, targets, model_max, sentence, model, groups } = *reads;
    let data = &recipe.data;
    let mut notes = Vec::new();
    let (kind, mut whole) = read_labelled(&data.train, data, recipe.task.kind, &mut notes)?;
    let asked = kind;
    let kind = tasks::embed::settled(kind, &recipe.task, &whole)?;
    if kind != asked {
        notes.push("pairs with a number: how alike they are (similarity)".to_string());
    }
    look_at(&mut whole, tokenizer)?;
    let mut scheme = None;
    let mut settled = task(kind).settle(&mut whole, &mut scheme);
    let mut reports = vec![whole.report.clone()];
    let mut other = |path: &Path, pairs: &Option<PathBuf>| -> Result<Dataset, Error> {
        let data = DataRecipe { pair_file: pairs.clone().or(data.pair_file.clone()), ..data.clone() };
        let (_, mut dataset) = read_labelled(path, &data, Some(kind), &mut Vec::new())?;
        look_at(&mut dataset, tokenizer)?;
        settled.extend(task(kind).settle(&mut dataset, &mut scheme));
        reports.push(dataset.report.clone());
        Ok(dataset)
    };
    let given_dev = data.dev.as_deref().map(|path| other(path, &data.dev_pair_file)).transpose()?;
    let given_test = data.test.as_deref().map(|path| other(path, &data.test_pair_file)).transpose()?;
    for report in &reports {
        notes.extend(report.lines());
    }
    settled.dedup();
    notes.extend(settled);
    let (sets, split_report) = divide(data, kind, seed, whole, [given_dev, given_test], groups)?;
    match &split_report {
        Some(report) => notes.extend(report.lines()),
        None if task(kind).running() => notes.push(format!(
            "running text: {} parts to learn from, the next {} to choose by, the last {} to measure on",
            sets[0].len(),
            sets[1].len(),
            sets[2].len()
        )),
        None => {
            let named = [("train", &sets[0]), ("dev", &sets[1]), ("test", &sets[2])];
            let same = data.dev.is_some() && data.dev == data.test;
            if same {
                notes.push(
                    "the test data is the development data: what chooses the checkpoint measures it too, which flatters it"
                        .to_string(),
                );
            }
            let named = &named[..if same { 2 } else { 3 }];
            notes.extend(groups.leaks(named, Some(&NearOptions::default())).lines());
        }
    }
    let task = task(kind);
    let map = match recipe.task.groups.as_slice() {
        [] => match task.labels(&sets[0])? {
            Some(map) => Some(imbalance::in_order(&recipe.task, kind, &map)?.unwrap_or(map)),
            None => None,
        },
        groups if kind == Kind::Classify => Some(LabelMap::in_order(groups.concat())?),
        _ => {
            return Err(Error::Task(format!(
                "task.groups: only texts with one label each have labels of several tasks, not {}; leave it out",
                kind.name()
            )));
        }
    };
    beside::check(recipe, kind, tokenizer.reads_pictures())?;
    let mut answers: Option<Vec<f32>> = None;
    let beside = match &recipe.beside {
        None => None,
        Some(beside) => {
            let mut dataset = match beside.lesson {
                Lesson::Labels => read(&beside.data, &read_options(data, task.reader())?)?,
                _ => unlabelled(&beside.data, data)?,
            };
            look_at(&mut dataset, tokenizer)?;
            let (all, mut more) = (dataset.len(), String::new());
            match beside.lesson {
                Lesson::Labels => drop(task.settle(&mut dataset, &mut scheme)),
                Lesson::Teacher => {
                    let (taught, given) = beside::taught(beside, dataset, kind, map.as_ref())?;
                    dataset = taught;
                    answers = Some(given);
                    if dataset.len() < all {
                        more = format!("; the teachers are sure enough of {}", dataset.len());
                    }
                }
                Lesson::Consistency => {
                    let share = f64::from(beside.replace.unwrap_or(beside::REPLACED));
                    let (words, count) = beside::with_words_replaced(&mut dataset, share, seed);
                    more = format!("; each again with words replaced, {count} of {words}");
                }
                Lesson::Domain | Lesson::Likeness => {}
            }
            notes.push(format!("{all} texts beside, from {}{more}", beside.data.display()));
            Some((dataset, beside.lesson))
        }
    };
    let mut hashed: Vec<&Dataset> = sets.iter().collect();
    hashed.extend(beside.iter().map(|(dataset, _)| dataset));
    let fingerprint = fingerprint(&hashed, answers.as_deref());
    let [train, dev, test] = sets;
    let seed = topwork_kernels::rng::derive(seed, "pairs");
    let settings = &recipe.task;
    let mut encode = Encode {
        tokenizer,
        targets,
        max_length: None,
        map: map.as_ref(),
        task: settings,
        sentence,
        model,
        seed,
    };
    let uncut = task.encode(train, &encode)?;
    let lengths = LengthReport::new(uncut.inputs.lengths.iter().copied(), Some(model_max));
    let train = uncut.dataset;
    let max_length = match recipe.task.max_length {
        Some(length) if length > model_max => {
            return Err(Error::Task(format!(
                "task.max-length is {length}, but the model has positions for {model_max} tokens: take at most that"
            )));
        }
        Some(length) if length < 3 => {
            return Err(Error::Task(format!("task.max-length is {length}: at least 3 tokens are needed")));
        }
        Some(length) => length,
        None => task.max_length(lengths.proposed(), model_max),
    };
    notes.push(length_note(task, &lengths, max_length, recipe.task.max_length.is_some()));
    encode.max_length = Some(max_length);
    let (train, dev, test) =
        (task.encode(train, &encode)?, task.encode(dev, &encode)?, task.encode(test, &encode)?);
    let beside = match beside {
        None => None,
        Some((dataset, Lesson::Labels)) => Some(task.encode(dataset, &encode)?),
        Some((dataset, _)) => {
            let inputs = Inputs::of_texts(&dataset, tokenizer, Some(max_length))?;
            Some(Part::examples(dataset, inputs))
        }
    };
    notes.extend(task.remarks(&train));
    let labels = map.as_ref().map(|m| m.names().to_vec()).unwrap_or_default();
    if recipe.task.ordinal > 0.0 {
        notes.push(format!("labels in order: {}", labels.join(" < ")));
    }
    let counts = train.inputs.labels.counts(labels.len());
    let positive = positive(recipe, kind, &labels, &counts)?;
    let class_weights = match &map {
        Some(map) if !counts.is_empty() => {
            let Ok(source) = recipe.task.class_weights.as_deref().unwrap_or("none").parse::<ClassWeights>();
            source.weights(&counts, map)?
        }
        _ => None,
    };
    Ok(Prepared {
        kind,
        labels,
        positive,
        train,
        dev,
        test,
        beside,
        answers,
        lengths,
        max_length,
        class_weights,
        read: reports,
        split: split_report,
        fingerprint,
        notes,
    })
}

/// Takes the texts for what the model reads, texts or the paths of pictures.
///
/// # Errors
/// Pictures for a model that reads texts; paths at which there is no file, for one that reads pictures.
pub fn look_at(dataset: &mut Dataset, tokenizer: &Tokenizer) -> Result<(), Error> {
    if tokenizer.reads_pictures() {
        dataset.find_pictures();
        let missing = dataset.texts().position(|text| !Path::new(text).is_file());
        let Some(missing) = missing else { return Ok(()) };
        let text: String = dataset.examples[missing].text.chars().take(160).collect();
        return Err(Error::Task(match names_picture(&text) {
            true => {
                format!("{}: cannot read the picture {text}: there is no such file", dataset.place(missing))
            }
            false => format!(
                "{}: the model reads pictures, and {text:?} is not the path of one: each text is to be the path of a picture (PNG, \
                 JPEG, WebP, BMP, GIF)",
                dataset.place(missing)
            ),
        }));
    }
    if dataset.is_of_pictures() || dataset.names_pictures() {
        return Err(Error::Task(format!(
            "{}: these are pictures ({}), and the model reads texts: take a model that reads pictures (vit, or the side of a CLIP \
             for them, vision of MODEL)",
            dataset.report.path.display(),
            dataset.texts().next().unwrap_or_default()
        )));
    }
    Ok(())
}

/// What the longest length does to the texts.
fn length_note(task: &dyn LanguageTask, lengths: &LengthReport, max_length: usize, given: bool) -> String {
    if task.windows() {
        return format!("windows of at most {max_length} tokens: no text loses its end");
    }
    let cut = lengths.cut_at(max_length);
    format!(
        "maximum length {max_length} tokens ({}): cuts {} of {} training texts and {:.2}% of their tokens",
        if given { "as given" } else { "proposed: covers 99% of the texts" },
        cut.texts,
        lengths.texts(),
        100.0 * cut.tokens as f64 / lengths.tokens().max(1) as f64
    )
}

/// How the recipe says a file is to be read.
///
/// # Errors
/// An unknown format, or a separator of more than one character.
pub fn read_options(data: &DataRecipe, task: Task) -> Result<ReadOptions, Error> {
    let mut options =
        ReadOptions { task, text: data.text.clone(), pair: data.pair.clone(), ..ReadOptions::default() };
    options.label = data.label.clone();
    options.names = data.names.clone();
    // Published sets have rows that nobody could agree on; they are counted.
    options.skip_unlabelled = data.set.is_some();
    options.negative = data.negative.clone();
    options.pair_file = data.pair_file.clone();
    options.split = data.split.clone();
    options.skip_bad_rows = data.skip_bad_rows;
    if data.documents {
        options.unit = Unit::Document;
    }
    options.format = data.format.as_deref().map(str::parse).transpose()?;
    if let Some(separator) = &data.separator {
        let mut characters = separator.chars();
        options.separator = match (characters.next(), characters.next()) {
            (Some(c), None) => c,
            _ => {
                return Err(Error::Task(format!("data.separator must be one character, got {separator:?}")));
            }
        };
    }
    Ok(options)
}

/// How the texts of another file are read whose labels are not looked at: by the same columns, unless it is plain text and has
/// none.
pub(crate) fn texts_alone(path: &Path, data: &DataRecipe) -> DataRecipe {
    match Format::of(path) == Some(Format::Text) {
        true => DataRecipe::default(),
        false => DataRecipe { label: Vec::new(), ..data.clone() },
    }
}

/// The texts of such a file.
///
/// # Errors
/// Everything that is wrong with it.
pub(crate) fn unlabelled(path: &Path, data: &DataRecipe) -> Result<Dataset, Error> {
    Ok(read(path, &read_options(&texts_alone(path, data), Task::Unlabelled)?)?)
}

/// The labelled files of a recipe, as they are read.
///
/// # Errors
/// Everything that is wrong with them.
pub(crate) fn labelled(recipe: &Recipe) -> Result<Vec<Dataset>, Error> {
    let data = &recipe.data;
    let (kind, first) = read_labelled(&data.train, data, recipe.task.kind, &mut Vec::new())?;
    let mut all = vec![first];
    let others = [(&data.dev, &data.dev_pair_file), (&data.test, &data.test_pair_file)];
    for (path, pairs) in others {
        let Some(path) = path else { continue };
        let data = DataRecipe { pair_file: pairs.clone().or(data.pair_file.clone()), ..data.clone() };
        all.push(read_labelled(path, &data, Some(kind), &mut Vec::new())?.1);
    }
    Ok(all)
}

/// Reads a labelled file; the kind of task is decided by the labels where the recipe does not say.
fn read_labelled(
    path: &Path,
    data: &DataRecipe,
    kind: Option<Kind>,
    notes: &mut Vec<String>,
) -> Result<(Kind, Dataset), Error> {
    if let Some(kind) = kind {
        return Ok((kind, read(path, &read_options(data, task(kind).reader())?)?));
    }
    let format: Option<Format> =
        data.format.as_deref().map(str::parse).transpose()?.or_else(|| Format::of(path));
    let only = format.and_then(Format::only_task);
    if let Some(found) = read_as(path, data, only, notes)? {
        return Ok(found);
    }
    if data.label.len() > 1 || data.separator.is_some() {
        let dataset = read(path, &read_options(data, Task::Multi)?)?;
        notes.push("several labels a text may hold at once (multi-label)".to_string());
        return Ok((Kind::MultiLabel, dataset));
    }
    let dataset = match read(path, &read_options(data, Task::Class)?) {
        // What the file holds may show only in it.
        Err(topwork_data::Error::Unfit { format, path: file, task, formats }) => {
            let found = read_as(path, data, format.only_task(), notes)?;
            return found.ok_or(topwork_data::Error::Unfit { format, path: file, task, formats }.into());
        }
        dataset => dataset?,
    };
    if looks_like_scores(&dataset) {
        notes.push(
            "labels are numbers with fractions: a regression (task.kind = \"classify\" says otherwise)"
                .into(),
        );
        return Ok((Kind::Regress, read(path, &read_options(data, Task::Score)?)?));
    }
    Ok((Kind::Classify, dataset))
}

/// Reads a file of a format that is made for one task, for that task; `None` without one.
fn read_as(
    path: &Path,
    data: &DataRecipe,
    only: Option<Task>,
    notes: &mut Vec<String>,
) -> Result<Option<(Kind, Dataset)>, Error> {
    let Some(task) = TASKS.iter().find(|task| Some(task.reader()) == only) else { return Ok(None) };
    notes.push(format!("the format says what is learnt: {}", task.kind().name()));
    Ok(Some((task.kind(), read(path, &read_options(data, task.reader())?)?)))
}

/// True if every label is a number and some have fractions: class numbers do not.
fn looks_like_scores(dataset: &Dataset) -> bool {
    let numbers: Option<Vec<f64>> = dataset
        .examples
        .iter()
        .map(|example| match &example.label {
            Some(Label::One(text)) => text.trim().parse::<f64>().ok().filter(|n| n.is_finite()),
            _ => None,
        })
        .collect();
    numbers.is_some_and(|numbers| numbers.iter().any(|n| n.fract() != 0.0))
}

/// Train, dev and test: files as given, the rest cut from the training data.
fn divide(
    data: &DataRecipe,
    kind: Kind,
    seed: u64,
    whole: Dataset,
    [dev, test]: [Option<Dataset>; 2],
    groups: &GroupCache,
) -> Result<([Dataset; 3], Option<SplitReport>), Error> {
    let dev_share = if dev.is_some() { 0.0 } else { data.dev_share.unwrap_or(0.1) };
    let test_share = if test.is_some() { 0.0 } else { data.test_share.unwrap_or(0.1) };
    let mut report = None;
    let (train, cut_dev, cut_test) = if dev_share + test_share > 0.0 && task(kind).running() {
        let (dev, test) = running_split(whole.len(), dev_share, test_share)?;
        let part = |range: std::ops::Range<usize>| whole.select(&range.collect::<Vec<_>>());
        (part(0..dev), part(dev..test), part(test..whole.len()))
    } else if dev_share + test_share > 0.0 {
        let options = SplitOptions {
            train: 1.0 - dev_share - test_share,
            dev: dev_share,
            test: test_share,
            seed: topwork_kernels::rng::derive(seed, "split"),
            stratify: task(kind).stratified(),
            near: Some(NearOptions::default()),
        };
        let parts = groups.split(&whole, &options)?;
        let sets = (whole.select(&parts.train), whole.select(&parts.dev), whole.select(&parts.test));
        report = Some(parts.report);
        sets
    } else {
        (whole.clone(), whole.select(&[]), whole.select(&[]))
    };
    let mut train = train;
    if data.limit > 0 && data.limit < train.len() && task(kind).running() {
        train = train.select(&(0..data.limit).collect::<Vec<_>>());
    } else if data.limit > 0 && data.limit < train.len() {
        let all: Vec<usize> = (0..train.len()).collect();
        let seed = topwork_kernels::rng::derive(seed, "limit");
        train = train.select(&few(&train, &all, data.limit, seed)?);
    }
    let sets = [train, dev.unwrap_or(cut_dev), test.unwrap_or(cut_test)];
    for (set, share) in sets[1..].iter().zip(["data.dev-share", "data.test-share"]) {
        if set.is_empty() {
            return Err(Error::Task(format!(
                "there is nothing to measure on: give a file for it, or set {share} above 0"
            )));
        }
    }
    Ok((sets, report))
}

/// Where the development and the test part of a running text begin.
fn running_split(parts: usize, dev_share: f64, test_share: f64) -> Result<(usize, usize), Error> {
    let of = |share: f64| if share > 0.0 { ((parts as f64 * share).round() as usize).max(1) } else { 0 };
    let (dev, test) = (of(dev_share), of(test_share));
    match parts.checked_sub(dev + test).filter(|&train| train > 0) {
        Some(train) => Ok((train, train + dev)),
        None => Err(Error::Task(format!(
            "the text has {parts} parts (lines, or rows), too few to set some aside to measure on: give files for it (data.dev, \
             data.test)"
        ))),
    }
}

/// The positive class of a task of two: as named, else the rarer one.
fn positive(
    recipe: &Recipe,
    kind: Kind,
    labels: &[String],
    counts: &[usize],
) -> Result<Option<usize>, Error> {
    match &recipe.task.positive {
        Some(name) => {
            let found = labels.iter().position(|label| label == name);
            let nearest =
                crate::nearest::nearest(name, labels.iter().map(String::as_str)).unwrap_or_default();
            found.map(Some).ok_or_else(|| {
                Error::Task(format!(
                    "task.positive is {name:?}, which is no label; did you mean {nearest:?}?"
                ))
            })
        }
        None if kind == Kind::Classify && labels.len() == 2 => Ok(Some(usize::from(counts[1] <= counts[0]))),
        None => Ok(None),
    }
}

fn fingerprint(sets: &[&Dataset], answers: Option<&[f32]>) -> String {
    let mut hash = Sha256::new();
    answers.iter().for_each(|answers| hash.update(bytemuck::cast_slice(answers)));
    for set in sets {
        hash.update((set.len() as u64).to_le_bytes());
        for (example, content) in set.examples.iter().zip(set.content()) {
            for part in [Some(&*content), example.pair.as_deref()] {
                let part = part.unwrap_or("\u{0}");
                hash.update((part.len() as u64).to_le_bytes());
                hash.update(part.as_bytes());
            }
            hash.update(format!("{:?}", example.label).as_bytes());
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_recipe_says_of_files_reaches_the_reader() {
        let text = "[data]\ntrain = \"a.en\"\npair-file = \"a.de\"\ndocuments = true\nsplit = \"train\"\n";
        let recipe = Recipe::parse(text, "r").unwrap();
        let options = read_options(&recipe.data, Task::Texts).unwrap();
        assert_eq!(options.pair_file.as_deref(), Some(Path::new("a.de")));
        assert_eq!((options.unit, options.split.as_deref()), (Unit::Document, Some("train")));
        let wrong = DataRecipe { separator: Some("||".into()), ..DataRecipe::default() };
        assert!(read_options(&wrong, Task::Multi).is_err());
    }
}
