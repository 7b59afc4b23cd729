//! SQuAD's JSON, versions 1.1 and 2.0: articles of paragraphs of questions.
//!
//! Paper: P. Rajpurkar, J. Zhang, K. Lopyrev, P. Liang, "SQuAD: 100,000+ Questions for Machine Comprehension of Text",
//! 2016, <https://arxiv.org/abs/1606.05250>; P. Rajpurkar, R. Jia, P. Liang, "Know What You Don't Know", 2018,
//! <https://arxiv.org/abs/1806.03822>, has the questions without an answer.

use std::io::Read;

use serde::Deserialize;

use super::answers::{Gathered, Given};
use super::offsets::Offsets;
use super::source::Source;
use crate::report::ChosenColumn;
use crate::{Dataset, Error, Format, ReadOptions, Result};

#[derive(Deserialize)]
struct File {
    data: Vec<Article>,
}

#[derive(Deserialize)]
struct Article {
    paragraphs: Vec<Paragraph>,
}

#[derive(Deserialize)]
struct Paragraph {
    context: String,
    qas: Vec<Question>,
}

#[derive(Deserialize)]
struct Question {
    id: serde_json::Value,
    question: String,
    answers: Option<Vec<Said>>,
    is_impossible: Option<bool>,
}

#[derive(Deserialize)]
struct Said {
    text: String,
    answer_start: usize,
}

pub(super) fn read(source: &Source, options: &ReadOptions) -> Result<Dataset> {
    let mut bytes = Vec::new();
    source.open()?.read_to_end(&mut bytes).map_err(|error| source.failed(error))?;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let file: File = serde_json::from_slice(bytes).map_err(|error| Error::Record {
        place: format!("{} line {}", source.path().display(), error.line()),
        expected: "SQuAD's layout: data, paragraphs, context and qas".into(),
        got: error.to_string(),
        count: 1,
        way_out: "questions one a line are read with the format jsonl".into(),
    })?;
    let mut gathered = Gathered::new(source.path(), options);
    let mut row = 0;
    for paragraph in file.data.into_iter().flat_map(|article| article.paragraphs) {
        let offsets = Offsets::new(&paragraph.context);
        for question in paragraph.qas {
            row += 1;
            let id = match question.id {
                serde_json::Value::String(id) => id,
                other => other.to_string(),
            };
            let given = match question.answers {
                None if question.is_impossible != Some(true) => Given::Missing,
                answers => Given::Answers {
                    answers: answers
                        .into_iter()
                        .flatten()
                        .map(|said| (said.text, said.answer_start))
                        .collect(),
                    impossible: question.is_impossible == Some(true),
                    may_lack: false,
                },
            };
            gathered.push(row, Some(id), question.question, &paragraph.context, &offsets, given);
        }
    }
    let chosen = |name: &str| ChosenColumn { name: name.into(), why: "by the format".into() };
    let notes = vec!["rows are questions, counted from 1".to_string()];
    gathered.finish(Format::Squad, chosen("question"), chosen("context"), chosen("answers"), notes, row)
}

/// True when the sample is a JSON object with the keys of SQuAD's layout.
pub(super) fn looks_so(sample: &[u8]) -> bool {
    let text = String::from_utf8_lossy(sample);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    text.starts_with('{') && text.contains("\"paragraphs\"") && text.contains("\"data\"")
}
