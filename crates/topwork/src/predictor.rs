//! A saved model answering texts.

use std::ops::Range;
use std::path::Path;

use topwork_data::{Dataset, Encoder, Example, Label, Related};
use topwork_kernels::gemm::Precision;
use topwork_models::trees::Attached;
use topwork_models::{HeadSpec, Model};
use topwork_nn::Pass;
use topwork_text::{Encoding, Input, Packed, Tokenizer, WordToken};
use topwork_train::metrics;
use topwork_weights::LoadReport;

use crate::error::Error;
use crate::model_files;
use crate::opened::{self, Base};
use crate::recipe::TaskRecipe;
use crate::saved::SavedNotes;
use crate::scoring::{first_greatest, in_batches};
use crate::sentence::SentenceTexts;
use crate::tasks::{Encode, LanguageTask, Part, parse, question, relation, tag};

/// A model folder whose head answers texts with labels, numbers, tags, trees or spans.
pub struct Predictor {
    model: Model,
    tokenizer: Tokenizer,
    precision: Precision,
    max_length: usize,
    saved: SavedNotes,
    report: LoadReport,
}

/// The answer for one text.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Prediction {
    /// The label, for single-label models.
    pub label: Option<String>,
    /// The labels that hold, for multi-label models.
    pub labels: Vec<String>,
    /// The number, for regressions.
    pub score: Option<f64>,
    /// The words and their labels, for taggers.
    pub words: Vec<Tagged>,
    /// What the words' labels say of entities, for taggers of entities.
    pub entities: Vec<Tagged>,
    /// The words and what each depends on, for parsers.
    pub tree: Vec<Hanging>,
    /// The span of the second text that answers the first, for question answering; `None` if nothing does.
    pub answer: Option<Span>,
    /// A probability for each label, in the order of [`Predictor::labels`]; empty for regressions.
    pub probabilities: Vec<f64>,
    /// Tokens read, special tokens counted.
    pub tokens: usize,
    /// Tokens cut off because the text is longer than the model reads.
    pub cut: usize,
}

/// A part of a text and its label.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Tagged {
    /// First byte in the text.
    pub start: usize,
    /// The byte after the last one.
    pub end: usize,
    /// The words themselves.
    pub text: String,
    /// The label.
    pub label: String,
    /// Its probability; of several words the mean.
    pub probability: f64,
}

/// A word of a sentence, and what it depends on.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Hanging {
    /// First byte in the text.
    pub start: usize,
    /// The byte after the last one.
    pub end: usize,
    /// The word itself.
    pub text: String,
    /// The number of the word it depends on, counted from 1; 0 is the root.
    pub head: usize,
    /// The relation to it.
    pub relation: String,
    /// The probability of both.
    pub probability: f64,
}

/// A part of a passage that answers a question.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Span {
    /// First byte in the passage.
    pub start: usize,
    /// The byte after the last one.
    pub end: usize,
    /// The words themselves.
    pub text: String,
    /// How much higher it scores than "no answer".
    pub score: f64,
}

impl Predictor {
    /// Opens a model folder: one of ours, or a `...ForSequenceClassification` folder of transformers.
    ///
    /// # Errors
    /// A folder without a head, or a missing or broken file.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, Error> {
        let precision = if Precision::native_bf16() { Precision::Bf16 } else { Precision::F32 };
        Self::open_with(folder, precision)
    }

    /// As [`Predictor::open`], at a precision of the caller's choice.
    ///
    /// # Errors
    /// As [`Predictor::open`].
    pub fn open_with(folder: impl AsRef<Path>, precision: Precision) -> Result<Self, Error> {
        let folder = folder.as_ref();
        let (tokenizer, opened) =
            rayon::join(|| model_files::tokenizer(folder), || opened::open_saved(folder));
        let ((mut model, report), tokenizer) = (opened?, tokenizer?);
        model.store.keep_packed();
        Self::of(folder, (model, report), tokenizer, precision)
    }

    /// The model of `base` with an adapter and its head. Several over one base keep its values once, and none changes what the
    /// others answer.
    ///
    /// # Errors
    /// As [`Base::with`]; a head that answers no texts.
    pub fn over(base: &Base, adapter: impl AsRef<Path>, precision: Precision) -> Result<Self, Error> {
        let path = base.under(adapter.as_ref());
        Self::of(&path, base.with(adapter.as_ref())?, model_files::tokenizer(&path)?, precision)
    }

    fn of(
        folder: &Path,
        (model, report): (Model, LoadReport),
        tokenizer: Tokenizer,
        precision: Precision,
    ) -> Result<Self, Error> {
        let answers = matches!(
            model.spec(),
            HeadSpec::Classify { .. }
                | HeadSpec::Regress { .. }
                | HeadSpec::Tag { .. }
                | HeadSpec::Parse { .. }
                | HeadSpec::Span
                | HeadSpec::SpanPair { .. }
        );
        if !answers {
            return Err(Error::Task(format!(
                "{}: this model has a {} head, which answers no labels, scores, trees or spans",
                folder.display(),
                model.spec().name()
            )));
        }
        let saved = SavedNotes::read(folder)?;
        saved.check(labels_of(&model).len(), folder)?;
        let model_max = model.max_tokens();
        let max_length =
            saved.max_length.or(tokenizer.stated_max_length()).unwrap_or(model_max).min(model_max);
        Ok(Predictor { model, tokenizer, precision, max_length, saved, report })
    }

    /// Names of the labels; empty for regressions.
    pub fn labels(&self) -> &[String] {
        labels_of(&self.model)
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// How loading went.
    pub fn load_report(&self) -> &LoadReport {
        &self.report
    }

    /// Longest text in tokens.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// The probability from which the positive class is answered, if it was tuned.
    pub fn threshold(&self) -> Option<f64> {
        self.saved.threshold
    }

    /// Answers texts, `&["..."]`, or pairs, `&[("...", "...")]`.
    ///
    /// # Errors
    /// A text the tokenizer refuses.
    pub fn predict<'a, I>(&self, inputs: &[I]) -> Result<Vec<Prediction>, Error>
    where
        I: Into<Input<'a>> + Copy + Sync,
    {
        if matches!(self.model.spec(), HeadSpec::Span) {
            return self.answer_questions(inputs);
        }
        if self.relates() {
            return Err(Error::Task(
                "this model is asked about two spans of a text: give it rows that have them, as in {\"text\": ..., \"span1\": \
                 [0, 5], \"span2\": [18, 25]} (--file spans.jsonl)"
                    .to_string(),
            ));
        }
        let encodings = self.tokenizer.encode_batch(inputs, Some(self.max_length))?;
        if encodings.is_empty() {
            return Ok(Vec::new());
        }
        let mut packed = Packed::from_encodings(&encodings);
        if let HeadSpec::Parse { labels, .. } = self.model.spec() {
            let sentences: Vec<Sentence> = inputs
                .iter()
                .zip(&encodings)
                .map(|(&input, encoding)| Sentence::new(input.into().text, encoding))
                .collect();
            sentences.iter().for_each(|sentence| packed.marks.push(sentence.marks()));
            let trees = in_batches(packed.lengths(), |indices| {
                let (batch, pass) = (packed.select(indices), Pass::eval(&self.model.store, self.precision));
                Ok(self.model.trees(&pass, self.model.features(&pass, &batch)?, &batch)?)
            })?;
            let answers = trees.concat().into_iter().zip(&sentences).zip(&encodings);
            return Ok(answers
                .map(|((tree, sentence), encoding)| Prediction {
                    tree: sentence.hang(&tree, labels),
                    ..Prediction::none(encoding.len(), encoding.cut)
                })
                .collect());
        }
        let outputs = run_batches(&packed, |batch| Ok(self.model.predict(batch, self.precision)?))?;
        if let HeadSpec::Tag { labels, .. } = self.model.spec() {
            let place = self.tokenizer.word_token();
            let words: Vec<Vec<Placed>> = inputs
                .iter()
                .zip(&encodings)
                .map(|(&input, encoding)| placed(place, input.into().text, encoding))
                .collect();
            let mut asked = vec![false; packed.tokens()];
            for (at, words) in words.iter().enumerate() {
                words.iter().for_each(|word| asked[packed.range(at).start + word.token] = true);
            }
            let offsets = &packed.offsets;
            let best = tag::best_labels(&self.model, &outputs, offsets, &asked, labels)?;
            let shares = self.model.label_shares(&outputs, offsets, Some(&asked))?;
            let tagged = inputs.iter().zip(&encodings).zip(&words).enumerate();
            return Ok(tagged
                .map(|(at, ((input, encoding), words))| {
                    let rows = packed.range(at);
                    let answers = Answers {
                        best: &best[rows.clone()],
                        shares: &shares[rows.start * labels.len()..rows.end * labels.len()],
                        labels,
                    };
                    answers.tag((*input).into().text, encoding, words)
                })
                .collect());
        }
        let width = outputs.len() / encodings.len();
        let answers = outputs.chunks(width).zip(&encodings);
        Ok(answers.map(|(outputs, encoding)| self.answer(outputs, encoding.len(), encoding.cut)).collect())
    }

    /// Whether texts are asked about with two spans, by [`Predictor::relate`].
    pub fn relates(&self) -> bool {
        matches!(self.model.spec(), HeadSpec::SpanPair { .. })
    }

    /// Answers how two spans of each text, or of two texts, are related: examples whose labels are [`Label::Related`], as
    /// [`topwork_data::read`] gives them for the task `spans`.
    ///
    /// # Errors
    /// A model of another task; an example without spans; a span that no token stands for.
    pub fn relate(&self, examples: Vec<Example>) -> Result<Vec<Prediction>, Error> {
        if !self.relates() {
            return Err(Error::Task(format!(
                "this model has a {} head, which is not asked about spans",
                self.model.spec().name()
            )));
        }
        if examples.is_empty() {
            return Ok(Vec::new());
        }
        let unnamed = examples.into_iter().map(|example| match example.label {
            Some(Label::Related(related)) => {
                let label = Some(Label::Related(Related { name: None, ..related }));
                Example { label, ..example }
            }
            _ => example,
        });
        let part = self.encode(&relation::RELATION, unnamed.collect())?;
        let packed = &part.inputs.packed;
        let outputs = run_batches(packed, |batch| Ok(self.model.predict(batch, self.precision)?))?;
        let answers = outputs.chunks(self.labels().len()).zip(packed.lengths()).zip(&part.inputs.lengths);
        Ok(answers.map(|((outputs, read), whole)| self.answer(outputs, read, whole - read)).collect())
    }

    /// Examples as this model reads them.
    fn encode(&self, task: &dyn LanguageTask, examples: Vec<Example>) -> Result<Part, Error> {
        let encode = Encode {
            tokenizer: &Encoder::new(&self.tokenizer),
            targets: None,
            max_length: Some(self.max_length),
            map: None,
            task: &TaskRecipe::default(),
            sentence: &SentenceTexts::default(),
            model: Path::new(""),
            seed: 0,
        };
        task.encode(Dataset::given(examples), &encode)
    }

    /// The spans that answer questions.
    fn answer_questions<'a, I>(&self, inputs: &[I]) -> Result<Vec<Prediction>, Error>
    where
        I: Into<Input<'a>> + Copy + Sync,
    {
        let mut examples = Vec::with_capacity(inputs.len());
        for (at, &input) in inputs.iter().enumerate() {
            let input = input.into();
            let Some(passage) = input.pair else {
                return Err(Error::Task(format!(
                    "text {}: this model answers questions about a passage: give the passage as the second text (--pair)",
                    at + 1
                )));
            };
            examples.push(Example {
                text: input.text.to_string(),
                pair: Some(passage.to_string()),
                label: None,
                row: at + 1,
                id: None,
            });
        }
        let part = self.encode(&question::QUESTION, examples)?;
        let outputs =
            run_batches(&part.inputs.packed, |batch| Ok(self.model.predict(batch, self.precision)?))?;
        let found = question::spans(&part, &outputs);
        Ok(found
            .into_iter()
            .zip(&part.dataset.examples)
            .zip(&part.inputs.lengths)
            .map(|((found, example), &tokens)| {
                let passage = example.pair.as_deref().unwrap_or_default();
                let answer = found.accepted(self.saved.threshold).map(|best| Span {
                    start: best.start,
                    end: best.end,
                    text: passage[best.start..best.end].to_string(),
                    score: f64::from(best.score - found.none),
                });
                Prediction { answer, ..Prediction::none(tokens, 0) }
            })
            .collect())
    }

    /// What raw outputs mean.
    fn answer(&self, logits: &[f32], tokens: usize, cut: usize) -> Prediction {
        let none = Prediction::none(tokens, cut);
        match self.model.spec() {
            // The heads of several tasks answer each for its own.
            HeadSpec::Classify { labels, groups, .. } if !groups.is_empty() => {
                let each: Vec<Vec<f64>> = groups.ranges().map(|range| softmax(&logits[range])).collect();
                let chosen = groups.ranges().zip(&each).map(|(range, own)| range.start + first_greatest(own));
                let labels = chosen.filter_map(|at| labels.get(at).cloned()).collect();
                Prediction { labels, probabilities: each.concat(), ..none }
            }
            HeadSpec::Classify { labels, several: false, .. } | HeadSpec::SpanPair { labels, .. } => {
                let probabilities = softmax(logits);
                let chosen = self.choose(&probabilities);
                Prediction { label: labels.get(chosen).cloned(), probabilities, ..none }
            }
            HeadSpec::Classify { labels, several: true, .. } => {
                let probabilities: Vec<f64> =
                    logits.iter().map(|&z| 1.0 / (1.0 + (-f64::from(z)).exp())).collect();
                let holds = labels.iter().zip(&probabilities).filter(|(_, p)| **p > 0.5);
                Prediction { labels: holds.map(|(label, _)| label.clone()).collect(), probabilities, ..none }
            }
            // A regression: `open` refuses all other heads.
            _ => Prediction { score: logits.first().map(|&z| f64::from(z)), ..none },
        }
    }

    fn choose(&self, probabilities: &[f64]) -> usize {
        if let Some(costs) = &self.saved.costs {
            return costs.choose(probabilities);
        }
        if let (Some(threshold), Some(positive), 2) =
            (self.saved.threshold, self.saved.positive, probabilities.len())
        {
            return if probabilities[positive] > threshold { positive } else { 1 - positive };
        }
        first_greatest(probabilities)
    }
}

impl Prediction {
    /// No answer yet.
    fn none(tokens: usize, cut: usize) -> Self {
        Prediction {
            label: None,
            labels: Vec::new(),
            score: None,
            words: Vec::new(),
            entities: Vec::new(),
            tree: Vec::new(),
            answer: None,
            probabilities: Vec::new(),
            tokens,
            cut,
        }
    }
}

/// Names of a model's labels; empty where it has none.
fn labels_of(model: &Model) -> &[String] {
    match model.spec() {
        HeadSpec::Classify { labels, .. }
        | HeadSpec::Tag { labels, .. }
        | HeadSpec::Parse { labels, .. }
        | HeadSpec::SpanPair { labels, .. } => labels,
        _ => &[],
    }
}

/// The first token of each word.
fn first_tokens(encoding: &Encoding) -> Vec<usize> {
    let (mut firsts, mut last) = (Vec::new(), None);
    for (at, origin) in encoding.origins.iter().enumerate() {
        if origin.special || origin.start == origin.end || origin.sequence() != Some(0) {
            continue;
        }
        let word = origin.word();
        if word.is_none() || word != last {
            firsts.push(at);
        }
        last = word;
    }
    firsts
}

/// A word of a text, and the token that stands for it.
struct Placed {
    token: usize,
    start: usize,
    end: usize,
}

/// The words of a text: those of the tokenizer; or, where its tokens are characters, as [`topwork_data::words`] splits it.
fn placed(place: WordToken, text: &str, encoding: &Encoding) -> Vec<Placed> {
    if place != WordToken::First {
        let words = topwork_data::words(text);
        let tokens = tag::standing(place, encoding, text, words.iter().map(|word| (word.start, word.end)));
        let word = |(word, token): (&Range<usize>, Option<u32>)| {
            Some(Placed { token: token? as usize, start: word.start, end: word.end })
        };
        return words.iter().zip(tokens).filter_map(word).collect();
    }
    let firsts = first_tokens(encoding);
    let mut placed = Vec::with_capacity(firsts.len());
    for (at, &token) in firsts.iter().enumerate() {
        let next = firsts.get(at + 1).copied().unwrap_or(encoding.len());
        let (start, mut end) = encoding.origins[token].offsets();
        for token in (token..next).filter(|&token| !encoding.origins[token].special) {
            end = end.max(encoding.origins[token].offsets().1);
        }
        // Some tokenizers count the space before a word to its first piece.
        let start = start + (text[start..end].len() - text[start..end].trim_start().len());
        if start < end {
            placed.push(Placed { token, start, end });
        }
    }
    placed
}

/// What a tagger answers for the tokens of a text.
struct Answers<'a> {
    /// `[tokens]`
    best: &'a [u32],
    /// `[tokens, labels]`
    shares: &'a [f32],
    labels: &'a [String],
}

impl Answers<'_> {
    fn tag(&self, text: &str, encoding: &Encoding, placed: &[Placed]) -> Prediction {
        let tagged = |word: &Placed| {
            let label = self.best[word.token] as usize;
            Tagged {
                start: word.start,
                end: word.end,
                text: text[word.start..word.end].to_string(),
                label: self.labels[label].clone(),
                probability: f64::from(self.shares[word.token * self.labels.len() + label]),
            }
        };
        let words: Vec<Tagged> = placed.iter().map(tagged).collect();
        let entities = if tag::has_entities(self.labels) { entities(text, &words) } else { Vec::new() };
        Prediction { words, entities, ..Prediction::none(encoding.len(), encoding.cut) }
    }
}

/// A text that is to be parsed: its words, split as [`topwork_data::words`] does it, and the token that stands for each.
struct Sentence<'a> {
    text: &'a str,
    words: Vec<Range<usize>>,
    firsts: Vec<Option<u32>>,
}

impl<'a> Sentence<'a> {
    fn new(text: &'a str, encoding: &Encoding) -> Self {
        let words = topwork_data::words(text);
        let places = words.iter().map(|word| (word.start, word.end));
        let firsts = parse::first_tokens(encoding, text, places);
        Sentence { text, words, firsts }
    }

    fn marks(&self) -> impl Iterator<Item = Range<u32>> + '_ {
        self.firsts.iter().flatten().map(|&first| first..first + 1)
    }

    /// The words with what a tree over those with a token says of them.
    fn hang(&self, tree: &[Attached], labels: &[String]) -> Vec<Hanging> {
        let marked = (0..self.words.len()).filter(|&word| self.firsts[word].is_some());
        let which: Vec<u32> = marked.map(|word| word as u32).collect();
        let whole = parse::whole_tree(self.words.len(), &which, tree, labels);
        let hang = |(word, (found, probability)): (&Range<usize>, (metrics::Dependency, f64))| Hanging {
            start: word.start,
            end: word.end,
            text: self.text[word.clone()].to_string(),
            head: found.head,
            relation: found.relation,
            probability,
        };
        self.words.iter().zip(whole).map(hang).collect()
    }
}

/// The entities among tagged words.
fn entities(text: &str, words: &[Tagged]) -> Vec<Tagged> {
    let tags: Vec<&str> = words.iter().map(|word| word.label.as_str()).collect();
    let found = metrics::entities(&tags, metrics::Scheme::Bio);
    found
        .into_iter()
        .map(|entity| {
            let words = &words[entity.start..entity.end];
            let (start, end) = (words[0].start, words[words.len() - 1].end);
            let probability = words.iter().map(|word| word.probability).sum::<f64>() / words.len() as f64;
            Tagged { start, end, text: text[start..end].to_string(), label: entity.name, probability }
        })
        .collect()
}

/// Runs packed texts in batches of a bounded number of tokens and joins the outputs in order.
pub(crate) fn run_batches(
    packed: &Packed,
    run: impl Fn(&Packed) -> Result<Vec<f32>, Error> + Sync,
) -> Result<Vec<f32>, Error> {
    Ok(in_batches(packed.lengths(), |indices| run(&packed.select(indices)))?.concat())
}

/// Probabilities from the outputs of one text.
pub(crate) fn softmax(logits: &[f32]) -> Vec<f64> {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exps: Vec<f64> = logits.iter().map(|&z| f64::from(z - top).exp()).collect();
    let sum: f64 = exps.iter().sum();
    exps.into_iter().map(|e| e / sum).collect()
}
