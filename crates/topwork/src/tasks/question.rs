//! Question answering: the answer to a question is a span of a passage, or there is none.
//!
//! Passages that are longer than the model reads are cut into windows that overlap; the best span of all windows is the
//! answer.
//!
//! Papers: Devlin et al. 2019, "BERT", sections 4.2 and 4.3, <https://arxiv.org/abs/1810.04805>; Rajpurkar et al. 2018, "Know What You
//! Don't Know" (questions without an answer), <https://arxiv.org/abs/1806.03822>

use topwork_data::{Answer, Dataset, Inputs, Label, Labels};
use topwork_models::HeadSpec;
use topwork_text::{Encoding, Input, Tokenizer};
use topwork_train::metrics::{Squad, Task as MetricTask, answers};

use super::{Encode, LanguageTask, Measured, Part, Run, Units};
use crate::error::Error;
use crate::prepare::Prepared;
use crate::recipe::{Kind, TaskRecipe};
use crate::report::Mistakes;

/// Longest window in tokens when nothing is said.
const WINDOW: usize = 384;
/// Tokens that neighbouring windows share when nothing is said.
pub const STRIDE: usize = 128;
/// Longest answer in tokens.
pub const LONGEST: usize = 30;
/// Starts and ends of a window that are tried with each other.
const BEST: usize = 20;

/// The entry in the list.
pub const QUESTION: Question = Question;

/// A span of a passage for a question.
pub struct Question;

/// A part of a passage with its question, as the model reads it.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// The example it is of.
    pub example: usize,
    /// The token that stands for "no answer here".
    pub none: u32,
    /// The first of its tokens that is of the passage.
    pub first: u32,
    /// Bytes of the passage that its tokens stand for.
    pub places: Vec<(u32, u32)>,
}

/// A span that may be the answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// First byte in the passage.
    pub start: usize,
    /// The byte after the last one.
    pub end: usize,
    /// Sum of the scores of its start and its end.
    pub score: f32,
}

/// The best spans for a question, and how they compare with no answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The best first.
    pub best: Vec<Candidate>,
    /// Score of "no answer", the lowest of all windows, as the paper's code has it.
    pub none: f32,
}

impl LanguageTask for Question {
    fn kind(&self) -> Kind {
        Kind::QuestionAnswering
    }

    fn title(&self) -> &'static str {
        "Question answering"
    }

    fn summary(&self) -> &'static str {
        "the span of a passage that answers a question, or none"
    }

    fn paper(&self) -> &'static str {
        "https://arxiv.org/abs/1806.03822"
    }

    fn in_python(&self, folder: &str) -> String {
        format!(
            "from transformers import pipeline\n\nprint(pipeline(\"question-answering\", {folder:?})(question=\"a question\", context=\"a passage\"))\n"
        )
    }

    fn measures(&self) -> MetricTask {
        MetricTask::Answers
    }

    fn reader(&self) -> topwork_data::Task {
        topwork_data::Task::Answers
    }

    fn windows(&self) -> bool {
        true
    }

    fn max_length(&self, proposed: usize, most: usize) -> usize {
        proposed.min(WINDOW).min(most)
    }

    fn encode(&self, dataset: Dataset, encode: &Encode) -> Result<Part, Error> {
        let inputs: Vec<Input> = dataset
            .examples
            .iter()
            .map(|example| Input { text: &example.text, pair: example.pair.as_deref() })
            .collect();
        let encodings = encode.tokenizer.encode_batch(&inputs, None)?;
        let mut made = Windows::new(encode);
        for (at, (encoding, example)) in encodings.iter().zip(&dataset.examples).enumerate() {
            let answers = match &example.label {
                Some(Label::Answers(answers)) => Some(answers.as_slice()),
                None => None,
                Some(_) => return Err(Error::Task(format!("{}: no answers", dataset.place(at)))),
            };
            made.add(at, example.row, encoding, answers)?;
        }
        let (inputs, windows) = made.finish();
        Ok(Part { dataset, inputs, units: Units::Windows(windows) })
    }

    fn head(&self, _: &TaskRecipe, _: &[String]) -> HeadSpec {
        HeadSpec::Span
    }

    fn default_metric(&self, _: &Prepared) -> &'static str {
        "answer-f1"
    }

    fn measure(&self, run: &Run, part: &Part) -> Result<Measured, Error> {
        let outputs = run.outputs(part)?;
        let found = spans(part, &outputs.values);
        let mut truth: Vec<Vec<&str>> = Vec::with_capacity(part.dataset.len());
        let mut given = Vec::with_capacity(part.dataset.len());
        for (example, found) in part.dataset.examples.iter().zip(&found) {
            truth.push(match &example.label {
                Some(Label::Answers(right)) => right.iter().map(|answer| answer.text.as_str()).collect(),
                _ => Vec::new(),
            });
            given.push(found.answer(example.pair.as_deref().unwrap_or_default(), run.judge.threshold));
        }
        let all = truth.iter().all(|right| !right.is_empty());
        let sums = answers(&truth, &given, if all { Squad::One } else { Squad::Two })?;
        let mut measured =
            Measured::of_sums(MetricTask::Answers, sums, Vec::new(), &run.judge, outputs.loss)?;
        measured.texts = given;
        Ok(measured)
    }

    fn how_to_use(&self, folder: &str) -> String {
        format!("topwork predict {folder} \"a question\" --pair \"a passage\"")
    }

    fn mistakes(&self, measured: &Measured, data: &Prepared) -> Option<Mistakes> {
        Some(measured.wrong_texts("em", &data.test.dataset, shown, |example| match &example.label {
            Some(Label::Answers(right)) => shown(right.first().map_or("", |answer| answer.text.as_str())),
            _ => "",
        }))
    }
}

/// An answer in tables.
fn shown(answer: &str) -> &str {
    if answer.is_empty() { "(no answer)" } else { answer }
}

impl Found {
    /// The best span, or none where "no answer" scores higher by more than `threshold` (0 if there is none).
    pub fn accepted(&self, threshold: Option<f64>) -> Option<&Candidate> {
        let fits = |best: &&Candidate| f64::from(self.none - best.score) <= threshold.unwrap_or(0.0);
        self.best.first().filter(fits)
    }

    /// The text of the accepted span, or nothing.
    pub fn answer(&self, passage: &str, threshold: Option<f64>) -> String {
        let text = |best: &Candidate| passage[best.start..best.end].to_string();
        self.accepted(threshold).map(text).unwrap_or_default()
    }
}

/// Cuts encodings into windows.
struct Windows<'a> {
    encode: &'a Encode<'a>,
    inputs: Inputs,
    windows: Vec<Window>,
    starts: Vec<u32>,
    ends: Vec<u32>,
    labelled: bool,
}

impl<'a> Windows<'a> {
    fn new(encode: &'a Encode<'a>) -> Self {
        let inputs = Inputs::empty();
        Windows { encode, inputs, windows: Vec::new(), starts: Vec::new(), ends: Vec::new(), labelled: true }
    }

    fn add(
        &mut self,
        example: usize,
        row: usize,
        encoding: &Encoding,
        answers: Option<&[Answer]>,
    ) -> Result<(), Error> {
        let most = self.encode.max_length.unwrap_or(usize::MAX);
        let all = encoding.len();
        let of_passage = |at: &usize| encoding.origins[*at].sequence() == Some(1);
        let begin = (0..all).find(of_passage).unwrap_or(all);
        let end = (0..all).rfind(|at| of_passage(at)).map_or(begin, |last| last + 1);
        self.inputs.lengths.push(all);
        let around = begin + (all - end);
        // A long question leaves room for half a window of the passage.
        let over = around.saturating_sub(most / 2);
        let question: Vec<usize> =
            (0..begin).filter(|&at| encoding.origins[at].sequence() == Some(0)).collect();
        let dropped = if around + 1 > most { over.min(question.len()) } else { 0 };
        let dropped: Vec<usize> = question[question.len() - dropped..].to_vec();
        self.inputs.count_cut(dropped.len());
        let before: Vec<usize> = (0..begin).filter(|at| !dropped.contains(at)).collect();
        let room = most.saturating_sub(before.len() + all - end);
        if room == 0 {
            return Err(Error::Task(format!(
                "task.max-length is {most}: no room for a passage beside the question of row {row}"
            )));
        }
        let overlap = self.encode.task.stride.unwrap_or(STRIDE).min(room - 1);
        let mut from = begin;
        loop {
            let to = (from + room).min(end);
            let tokens: Vec<usize> = before.iter().copied().chain(from..to).chain(end..all).collect();
            self.push(example, row, encoding, &tokens, before.len(), (from, to), answers);
            if to == end {
                return Ok(());
            }
            from = to - overlap;
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn push(
        &mut self,
        example: usize,
        row: usize,
        encoding: &Encoding,
        tokens: &[usize],
        first: usize,
        (from, to): (usize, usize),
        answers: Option<&[Answer]>,
    ) {
        let ids: Vec<u32> = tokens.iter().map(|&at| encoding.ids[at]).collect();
        let type_ids: Vec<u32> = tokens.iter().map(|&at| encoding.origins[at].type_id()).collect();
        let none = none_of(self.encode.tokenizer, &ids);
        self.inputs.packed.push(&ids, &type_ids);
        self.inputs.rows.push(row);
        let places: Vec<(u32, u32)> =
            encoding.origins[from..to].iter().map(|origin| (origin.start, origin.end)).collect();
        let (start, end) = match answers {
            None => {
                self.labelled = false;
                (none, none)
            }
            Some(answers) => match answers.first().and_then(|answer| within(&places, answer)) {
                Some((start, end)) => (first as u32 + start, first as u32 + end),
                None => (none, none),
            },
        };
        self.starts.push(start);
        self.ends.push(end);
        self.windows.push(Window { example, none, first: first as u32, places });
    }

    fn finish(self) -> (Inputs, Vec<Window>) {
        let labels = if self.labelled {
            Labels::Spans { starts: self.starts, ends: self.ends }
        } else {
            Labels::None(self.windows.len())
        };
        (Inputs { labels, ..self.inputs }, self.windows)
    }
}

/// Where the token stands that means "no answer": the class token, in front for most families and behind for some.
fn none_of(tokenizer: &Tokenizer, ids: &[u32]) -> u32 {
    let cls = tokenizer.special_tokens().cls;
    ids.iter().position(|&id| Some(id) == cls).unwrap_or(0) as u32
}

/// First and last token of an answer, if all of it is within these places.
fn within(places: &[(u32, u32)], answer: &Answer) -> Option<(u32, u32)> {
    let (from, to) = (answer.start as u32, (answer.start + answer.text.len()) as u32);
    let first = places.iter().position(|&(_, end)| end > from)?;
    let last = places.iter().rposition(|&(start, end)| start < to && end > start)?;
    let whole = places.first()?.0 <= from && places.last()?.1 >= to;
    (whole && first <= last).then_some((first as u32, last as u32))
}

/// The best spans of each example, from the scores of its windows' tokens: `[tokens, 2]`.
pub(crate) fn spans(part: &Part, values: &[f32]) -> Vec<Found> {
    let mut found = vec![Found { best: Vec::new(), none: f32::INFINITY }; part.dataset.len()];
    let Units::Windows(windows) = &part.units else { return found };
    for (at, window) in windows.iter().enumerate() {
        let rows = part.inputs.packed.range(at);
        let (start, end): (Vec<f32>, Vec<f32>) =
            values[2 * rows.start..2 * rows.end].chunks_exact(2).map(|pair| (pair[0], pair[1])).unzip();
        let none = start[window.none as usize] + end[window.none as usize];
        let found = &mut found[window.example];
        found.none = found.none.min(none);
        let passage = window.first as usize..window.first as usize + window.places.len();
        let (starts, ends) = (highest(&start, passage.clone()), highest(&end, passage));
        for &from in &starts {
            for &to in ends.iter().filter(|&&to| to >= from && to - from < LONGEST) {
                let place = |token: usize| window.places[token - window.first as usize];
                let (from_byte, to_byte) = (place(from).0 as usize, place(to).1 as usize);
                if from_byte < to_byte {
                    found.best.push(Candidate {
                        start: from_byte,
                        end: to_byte,
                        score: start[from] + end[to],
                    });
                }
            }
        }
    }
    for found in &mut found {
        found
            .best
            .sort_by(|a, b| b.score.total_cmp(&a.score).then(a.start.cmp(&b.start)).then(a.end.cmp(&b.end)));
        found.best.dedup_by(|a, b| (a.start, a.end) == (b.start, b.end));
        found.best.truncate(BEST);
    }
    found
}

/// The highest of some scores, the best first, the first of equals.
fn highest(scores: &[f32], among: std::ops::Range<usize>) -> Vec<usize> {
    let mut order: Vec<usize> = among.collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
    order.truncate(BEST);
    order
}
