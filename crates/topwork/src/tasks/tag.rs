//! A label for each word: parts of speech, named entities.
//!
//! The first piece of a word stands for it, in training and in answers; with models that read characters in one direction, what
//! is behind the word ([`WordToken`]). Answers are the best labels of a sentence as a whole in
//! which no tag stands where its scheme does not allow it.
//!
//! Paper: Devlin et al. 2019, "BERT", section 5.3, <https://arxiv.org/abs/1810.04805>

use rayon::prelude::*;
use topwork_data::{Dataset, Inputs, Label, LabelMap, Labels, Ragged, TaggedWord};
use topwork_kernels::loss::IGNORE;
use topwork_models::tagging::forbidden;
use topwork_models::{HeadSpec, Model};
use topwork_text::{Encoding, WordToken};
use topwork_train::metrics::{ClassReport, Reading, Scheme, Task as MetricTask, entities, tags};

use super::{Encode, LanguageTask, Measured, Part, Run, Units};
use crate::error::Error;
use crate::prepare::Prepared;
use crate::recipe::{Kind, TaskRecipe};
use crate::report::{Mistake, Mistakes};

/// The tag of words that are in no entity.
pub const OUTSIDE: &str = "O";

/// The entry in the list.
pub const TAG: Tag = Tag;

/// A label for each word.
pub struct Tag;

impl LanguageTask for Tag {
    fn kind(&self) -> Kind {
        Kind::Tag
    }

    fn title(&self) -> &'static str {
        "Token tagging"
    }

    fn summary(&self) -> &'static str {
        "a label for each word: named entities, parts of speech"
    }

    fn paper(&self) -> &'static str {
        "https://arxiv.org/abs/1810.04805"
    }

    fn in_python(&self, folder: &str) -> String {
        format!(
            "from transformers import pipeline\n\nprint(pipeline(\"token-classification\", {folder:?})(\"some text\", aggregation_strategy=\"first\"))\n"
        )
    }

    fn measures(&self) -> MetricTask {
        MetricTask::Tags
    }

    fn reader(&self) -> topwork_data::Task {
        topwork_data::Task::Tags
    }

    fn settle(&self, dataset: &mut Dataset, first: &mut Option<topwork_data::tags::Scheme>) -> Vec<String> {
        let converted = topwork_data::tags::convert(dataset, *first);
        first.get_or_insert(converted.scheme);
        converted.lines()
    }

    fn labels(&self, train: &Dataset) -> Result<Option<LabelMap>, Error> {
        Ok(Some(LabelMap::from_dataset(train)?))
    }

    fn encode(&self, dataset: Dataset, encode: &Encode) -> Result<Part, Error> {
        let (inputs, words) = tagged(&dataset, encode)?;
        Ok(Part { dataset, inputs, units: Units::Words(words) })
    }

    fn head(&self, task: &TaskRecipe, labels: &[String]) -> HeadSpec {
        HeadSpec::Tag {
            labels: labels.to_vec(),
            body: task.body.unwrap_or_default(),
            crf: task.crf,
            layers: task.layers.unwrap_or_default(),
        }
    }

    fn default_metric(&self, data: &Prepared) -> &'static str {
        if has_entities(&data.labels) { "entity-f1" } else { "tag-accuracy" }
    }

    fn measure(&self, run: &Run, part: &Part) -> Result<Measured, Error> {
        let outputs = run.outputs(part)?;
        let truth = truth(&part.dataset)?;
        let answers = answers(run, part, &outputs.values, &truth)?;
        let (mut sums, mut types) = tags(&truth, &answers, Scheme::Bio, Reading::Lenient)?;
        if !has_entities(run.judge.labels) {
            // Parts of speech mark no entities.
            sums.retain(|sum| sum.name == "tag-accuracy");
            types = by_tag(run.judge.labels, &truth, &answers);
        }
        let mut measured = Measured::of_sums(MetricTask::Tags, sums, types, &run.judge, outputs.loss)?;
        measured.tags = answers;
        Ok(measured)
    }

    fn mistakes(&self, measured: &Measured, data: &Prepared) -> Option<Mistakes> {
        let dataset = &data.test.dataset;
        let mut wrong: Vec<(usize, usize)> = Vec::new();
        for (at, (words, tags)) in words(dataset).zip(&measured.tags).enumerate() {
            let count = words.ok()?.iter().zip(tags).filter(|(word, tag)| word.tag != **tag).count();
            if count > 0 {
                wrong.push((at, count));
            }
        }
        wrong.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        let worst = wrong.iter().take(super::WORST).filter_map(|&(at, _)| {
            let Some(Label::Words(words)) = &dataset.examples[at].label else { return None };
            let text = &dataset.examples[at].text;
            let truth: Vec<&str> = words.iter().map(|word| word.tag.as_str()).collect();
            let tags: Vec<&str> = measured.tags[at].iter().map(String::as_str).collect();
            let place = |word: usize| &text[words[word].start..words[word].end];
            let shown = |these: &[&str]| -> String {
                let parts: Vec<String> = if has_entities(&data.labels) {
                    entities(these, Scheme::Bio)
                        .iter()
                        .map(|found| {
                            let range = words[found.start].start..words[found.end - 1].end;
                            format!("{} [{}]", &text[range], found.name)
                        })
                        .collect()
                } else {
                    (0..these.len())
                        .filter(|&word| truth[word] != tags[word])
                        .map(|word| format!("{}/{}", place(word), these[word]))
                        .collect()
                };
                if parts.is_empty() { "none".to_string() } else { parts.join("; ") }
            };
            Some(Mistake {
                id: dataset.place(at),
                text: text.clone(),
                gold: shown(&truth),
                predicted: shown(&tags),
                probability: None,
                weights: Vec::new(),
            })
        });
        let texts = dataset.len() as u64;
        Some(Mistakes { total: wrong.len() as u64, texts, worst: worst.collect() })
    }
}

/// Whether labels are of entities: `B-PER`, `I-PER`, `O`.
pub fn has_entities(labels: &[String]) -> bool {
    labels.iter().any(|label| ["B-", "I-", "S-"].iter().any(|prefix| label.starts_with(prefix)))
}

/// The words of each example.
fn words(dataset: &Dataset) -> impl Iterator<Item = Result<&[TaggedWord], Error>> {
    dataset.examples.iter().enumerate().map(|(at, example)| match &example.label {
        Some(Label::Words(words)) => Ok(words.as_slice()),
        _ => Err(Error::Task(format!("{}: no tags", dataset.place(at)))),
    })
}

/// Precision, recall and F1 of each tag over words.
fn by_tag(labels: &[String], truth: &[Vec<String>], answers: &[Vec<String>]) -> Vec<ClassReport> {
    let pairs = || truth.iter().flatten().zip(answers.iter().flatten());
    let report = |label: &String| {
        let count = |holds: &dyn Fn(&String, &String) -> bool| {
            pairs().filter(|(truth, answer)| holds(truth, answer)).count() as u64
        };
        let (actual, predicted) = (count(&|truth, _| truth == label), count(&|_, answer| answer == label));
        let hits = count(&|truth, answer| truth == label && answer == label);
        ClassReport::of_counts(label, actual, predicted, hits)
    };
    labels.iter().map(report).collect()
}

fn truth(dataset: &Dataset) -> Result<Vec<Vec<String>>, Error> {
    words(dataset).map(|words| Ok(words?.iter().map(|word| word.tag.clone()).collect())).collect()
}

/// Token ids, for each token the number of its word's label, and which words these are.
fn tagged(dataset: &Dataset, encode: &Encode) -> Result<(Inputs, Ragged), Error> {
    let texts: Vec<&str> = dataset.texts().collect();
    let encodings = encode.tokenizer.encode_batch(&texts, encode.max_length)?;
    let all: Vec<&[TaggedWord]> = words(dataset).collect::<Result<_, _>>()?;
    let mut unknown = None;
    let (mut targets, mut which) = (Ragged::new(), Ragged::new());
    let mut inputs = Inputs::empty();
    let firsts: Vec<Vec<Option<u32>>> = encodings
        .par_iter()
        .zip(&texts)
        .zip(&all)
        .map(|((encoding, text), words)| {
            let places = words.iter().map(|word| (word.start, word.end));
            standing(encode.tokenizer.word_token(), encoding, text, places)
        })
        .collect();
    for (at, ((encoding, words), firsts)) in encodings.iter().zip(&all).zip(&firsts).enumerate() {
        let mut row = vec![IGNORE; encoding.len()];
        let mut found = Vec::new();
        for (number, (word, first)) in words.iter().zip(firsts).enumerate() {
            let label = encode.map.and_then(|map| map.index(&word.tag));
            if encode.map.is_some() && label.is_none() {
                unknown.get_or_insert((at, word.tag.clone()));
            }
            if let (Some(first), Some(label)) = (first, label) {
                row[*first as usize] = label;
                found.push(number as u32);
            }
        }
        targets.push(row);
        which.push(found);
        inputs.push(encoding, dataset.examples[at].row);
    }
    if let Some((at, tag)) = unknown {
        let known: Vec<&str> =
            encode.map.iter().flat_map(|map| map.names()).map(String::as_str).take(20).collect();
        let place = dataset.place(at);
        return Err(Error::Task(format!(
            "{place}: the tag {tag:?} does not stand in the training data, which has {}",
            known.join(", ")
        )));
    }
    inputs.labels = Labels::Tokens(targets);
    Ok((inputs, which))
}

/// The token that stands for each word that has one; words are in the order of the text.
pub(crate) fn standing(
    place: WordToken,
    encoding: &Encoding,
    text: &str,
    words: impl Iterator<Item = (usize, usize)>,
) -> Vec<Option<u32>> {
    match place {
        WordToken::First => first_pieces(encoding, text, words),
        place => beside(place, encoding, words),
    }
}

/// The token behind each word, or before it, of words that have a token themselves.
fn beside(
    place: WordToken,
    encoding: &Encoding,
    words: impl Iterator<Item = (usize, usize)>,
) -> Vec<Option<u32>> {
    let mut next = 0;
    words
        .map(|(start, end)| {
            let before = |token: usize, at: usize| {
                let origin = &encoding.origins[token];
                origin.special || origin.start == origin.end || origin.offsets().1 <= at
            };
            while next < encoding.len() && before(next, start) {
                next += 1;
            }
            let first = next;
            // What the template put behind a text ends the words of it.
            let inside = |token: usize| {
                let origin = &encoding.origins[token];
                !origin.special && origin.offsets().0 < end
            };
            while next < encoding.len() && inside(next) {
                next += 1;
            }
            let whole = next > first && encoding.origins[next - 1].offsets().1 >= end;
            let token = if place == WordToken::Behind { Some(next) } else { first.checked_sub(1) };
            token.filter(|&token| whole && token < encoding.len()).map(|token| token as u32)
        })
        .collect()
}

/// The first token of each word that has one.
fn first_pieces(
    encoding: &Encoding,
    text: &str,
    words: impl Iterator<Item = (usize, usize)>,
) -> Vec<Option<u32>> {
    let mut token = 0;
    words
        .map(|(start, end)| {
            // Both are in the order of the text.
            while token < encoding.len() {
                let (from, to) = encoding.origins[token].offsets();
                if encoding.origins[token].special || from == to {
                    token += 1;
                    continue;
                }
                // Some tokenizers count the space before a word to its first piece.
                let piece = &text[from..to];
                let from = from + (piece.len() - piece.trim_start().len());
                if from >= end {
                    return None;
                }
                token += 1;
                if from >= start && from < to {
                    return Some(token as u32 - 1);
                }
            }
            None
        })
        .collect()
}

/// The answered tag of each word: the best labels of a sentence as a whole, in which no tag stands where it cannot. Words that
/// no token stands for (cut off, or of characters that the tokenizer drops) get the tag of words outside.
fn answers(run: &Run, part: &Part, values: &[f32], truth: &[Vec<String>]) -> Result<Vec<Vec<String>>, Error> {
    let (Units::Words(which), Labels::Tokens(targets)) = (&part.units, &part.inputs.labels) else {
        return Err(Error::Task("there are no tags to compare with".to_string()));
    };
    let asked: Vec<bool> = targets.values.iter().map(|&label| label != IGNORE).collect();
    let best = best_labels(run.model, values, &part.inputs.packed.offsets, &asked, run.judge.labels)?;
    let mut answers = Vec::with_capacity(truth.len());
    for (at, truth) in truth.iter().enumerate() {
        let mut tags = vec![OUTSIDE.to_string(); truth.len()];
        let found = best[part.inputs.packed.range(at)].iter().filter(|&&label| label != IGNORE);
        for (&label, &word) in found.zip(which.of(at)) {
            tags[word as usize].clone_from(&run.judge.labels[label as usize]);
        }
        answers.push(tags);
    }
    Ok(answers)
}

/// The best labels of the tokens asked for, and [`IGNORE`] for the others: none that cannot follow the one before.
pub(crate) fn best_labels(
    model: &Model,
    values: &[f32],
    offsets: &[u32],
    asked: &[bool],
    labels: &[String],
) -> Result<Vec<u32>, Error> {
    Ok(model.best_labels(values, offsets, Some(asked), Some(&forbidden(labels)))?)
}
