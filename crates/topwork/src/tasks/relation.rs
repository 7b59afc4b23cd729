//! How two marked spans of a text are related, or a span of one text and a span of another: relations between named things, the
//! same word in two senses, what a pronoun stands for.
//!
//! The spans stand in the data beside the text (see `topwork_data::Task::Relation`); the model is asked about them and learns no
//! spans of its own.
//!
//! Paper: Lee et al. 2017, "End-to-end Neural Coreference Resolution", section 4, <https://arxiv.org/abs/1707.07045>

use std::ops::Range;

use topwork_data::{Dataset, Example, Inputs, Label, LabelMap, Labels, Related};
use topwork_models::HeadSpec;
use topwork_text::{Encoding, Input};
use topwork_train::metrics::{Metric, Task as MetricTask};

use super::texts::CLASSIFY;
use super::{Encode, Judge, LONG, LanguageTask, Measured, Part, Run};
use crate::error::Error;
use crate::prepare::Prepared;
use crate::recipe::{Kind, TaskRecipe};
use crate::report::Mistakes;

/// The entry in the list.
pub const RELATION: Relation = Relation;

/// How two spans are related.
pub struct Relation;

impl LanguageTask for Relation {
    fn kind(&self) -> Kind {
        Kind::Relation
    }

    fn title(&self) -> &'static str {
        "Relations of spans"
    }

    fn summary(&self) -> &'static str {
        "one label of several for two marked spans of a text, or of two texts"
    }

    fn paper(&self) -> &'static str {
        "https://arxiv.org/abs/1707.07045"
    }

    fn in_python(&self, folder: &str) -> String {
        format!(
            "import torch\nfrom safetensors.torch import load_file\nfrom transformers import AutoModel, AutoTokenizer\n\n\
             # For a head on the last layer, with the means of spans and nothing before its outputs.\n\
             folder, text, spans = {folder:?}, \"some text\", [(0, 4), (5, 9)]\n\
             tokenizer, encoder = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()\n\
             head = load_file(f\"{{folder}}/{weights}\")\n\
             inputs = tokenizer(text, return_tensors=\"pt\", return_offsets_mapping=True)\n\
             places = inputs.pop(\"offset_mapping\")[0].tolist()\n\
             within = [[at for at, (a, b) in enumerate(places) if a < end and b > start] for start, end in spans]\n\
             with torch.no_grad():\n    \
                 hidden = encoder(**inputs).last_hidden_state[0]\n    \
                 one, two = (hidden[tokens].mean(0) for tokens in within)\n    \
                 pair = torch.cat([one, two, one * two, one - two])\n    \
                 logits = pair @ head[\"head.out.weight\"].T + head[\"head.out.bias\"]\n\
             print(logits.softmax(-1))\n",
            weights = topwork_models::model::HEAD_WEIGHTS,
        )
    }

    fn how_to_use(&self, folder: &str) -> String {
        format!("topwork predict {folder} --file spans.jsonl")
    }

    fn measures(&self) -> MetricTask {
        MetricTask::Classes
    }

    fn reader(&self) -> topwork_data::Task {
        topwork_data::Task::Relation
    }

    fn stratified(&self) -> bool {
        true
    }

    fn labels(&self, train: &Dataset) -> Result<Option<LabelMap>, Error> {
        Ok(Some(LabelMap::from_dataset(train)?))
    }

    fn max_length(&self, proposed: usize, most: usize) -> usize {
        // A span that is lost cannot be asked about.
        proposed.max(LONG).min(most)
    }

    fn encode(&self, dataset: Dataset, encode: &Encode) -> Result<Part, Error> {
        let texts: Vec<Input> = dataset
            .examples
            .iter()
            .map(|example| Input { text: &example.text, pair: example.pair.as_deref() })
            .collect();
        let encodings = encode.tokenizer.encode_batch(&texts, encode.max_length)?;
        let mut inputs = Inputs::empty();
        for (at, (encoding, example)) in encodings.iter().zip(&dataset.examples).enumerate() {
            let Some(Label::Related(related)) = &example.label else {
                return Err(Error::Task(format!("{}: no spans", dataset.place(at))));
            };
            inputs.push(encoding, example.row);
            inputs.packed.marks.push(marks(&dataset, at, encoding, related)?);
        }
        let named = dataset
            .examples
            .iter()
            .all(|example| matches!(&example.label, Some(Label::Related(Related { name: Some(_), .. }))));
        inputs.labels = if named { Labels::new(&dataset, encode.map)? } else { Labels::None(dataset.len()) };
        Ok(Part::examples(dataset, inputs))
    }

    fn head(&self, task: &TaskRecipe, labels: &[String]) -> HeadSpec {
        HeadSpec::SpanPair {
            labels: labels.to_vec(),
            row: task.span.unwrap_or_default(),
            body: task.body.unwrap_or_default(),
            layers: task.layers.unwrap_or_default(),
        }
    }

    fn default_metric(&self, _: &Prepared) -> &'static str {
        "macro-f1"
    }

    fn check(&self, dev: &Part, metric: &Metric, judge: &Judge) -> Result<(), Error> {
        CLASSIFY.check(dev, metric, judge)
    }

    fn measure(&self, run: &Run, part: &Part) -> Result<Measured, Error> {
        CLASSIFY.measure(run, part)
    }

    fn mistakes(&self, measured: &Measured, data: &Prepared) -> Option<Mistakes> {
        CLASSIFY.mistakes(measured, data)
    }
}

/// The tokens of both spans of an example.
fn marks(
    dataset: &Dataset,
    at: usize,
    encoding: &Encoding,
    related: &Related,
) -> Result<[Range<u32>; 2], Error> {
    let example = &dataset.examples[at];
    let second = u8::from(example.pair.is_some());
    let tokens = |sequence: u8, span: &Range<usize>| {
        tokens_of(encoding, sequence, span).ok_or_else(|| {
            let text = if sequence == 0 { &example.text } else { example.pair.as_deref().unwrap_or_default() };
            Error::Task(format!(
                "{}: no token stands for the span {:?}: {}",
                dataset.place(at),
                &text[span.clone()],
                if encoding.cut > 0 {
                    "it lies behind the longest text that is read; read longer ones (--max-length), or shorten this one around \
                     its spans"
                } else {
                    "the tokenizer drops its characters; correct the row or remove it"
                }
            ))
        })
    };
    Ok([tokens(0, &related.spans[0])?, tokens(second, &related.spans[1])?])
}

/// The tokens that share characters with a span of one of the texts.
fn tokens_of(encoding: &Encoding, sequence: u8, span: &Range<usize>) -> Option<Range<u32>> {
    let within = |&token: &usize| {
        let (from, to) = encoding.origins[token].offsets();
        !encoding.origins[token].special
            && encoding.origins[token].sequence() == Some(sequence)
            && from < to
            && from < span.end
            && to > span.start
    };
    let first = (0..encoding.len()).find(within)?;
    let last = (0..encoding.len()).rfind(within)?;
    Some(first as u32..last as u32 + 1)
}

/// An example's texts with brackets around its spans, if it has some: `[Tesla] was born in [Smiljan]`.
pub fn shown(example: &Example) -> String {
    let bracketed = |text: &str, spans: &[&Range<usize>]| {
        let mut places: Vec<(usize, char)> =
            spans.iter().flat_map(|span| [(span.start, '['), (span.end, ']')]).collect();
        // From the end, so that places stay where they are; a span that ends where another begins ends first.
        places.sort_by_key(|&(place, bracket)| std::cmp::Reverse((place, bracket == '[')));
        let mut text = text.to_string();
        places.into_iter().for_each(|(place, bracket)| text.insert(place, bracket));
        text
    };
    match (&example.label, &example.pair) {
        (Some(Label::Related(Related { spans: [first, second], .. })), None) => {
            bracketed(&example.text, &[first, second])
        }
        (Some(Label::Related(Related { spans: [first, second], .. })), Some(pair)) => {
            format!("{} | {}", bracketed(&example.text, &[first]), bracketed(pair, &[second]))
        }
        (_, Some(pair)) => format!("{} | {pair}", example.text),
        (_, None) => example.text.clone(),
    }
}

#[cfg(test)]
mod tests {
    use topwork_text::Origin;

    use super::*;

    #[test]
    fn a_span_is_of_all_tokens_that_share_its_characters() {
        let special = Origin::special(0);
        let of = |sequence, offsets| Origin::new(offsets, None, 0, Some(sequence));
        let encoding = Encoding {
            ids: vec![0; 6],
            // The space before the second word is counted to it.
            origins: vec![special, of(0, (0, 3)), of(0, (3, 8)), special, of(1, (0, 4)), special],
            ..Encoding::default()
        };
        let check = |sequence, span: Range<usize>, expected| {
            assert_eq!(tokens_of(&encoding, sequence, &span), expected, "{sequence} {span:?}");
        };
        check(0, 0..3, Some(1..2));
        check(0, 4..8, Some(2..3));
        check(0, 1..5, Some(1..3));
        check(0, 8..9, None);
        check(1, 0..4, Some(4..5));
        check(1, 4..5, None);
    }

    #[test]
    fn spans_are_shown_in_brackets() {
        let check = |pair: Option<&str>, spans: Option<[Range<usize>; 2]>, expected: &str| {
            let label = spans.map(|spans| Label::Related(Related { spans, name: None }));
            let (text, pair) = ("a bc d".to_string(), pair.map(str::to_string));
            assert_eq!(shown(&Example { text, pair, label, row: 1, id: None }), expected);
        };
        check(None, Some([0..1, 5..6]), "[a] bc [d]");
        check(None, Some([2..4, 0..6]), "[a [bc] d]");
        check(None, Some([2..3, 3..4]), "a [b][c] d");
        check(Some("x y"), Some([2..4, 2..3]), "a [bc] d | x [y]");
        check(Some("x y"), None, "a bc d | x y");
        check(None, None, "a bc d");
    }
}
