//! Dialog: replies in a conversation with a persona, written and told from others.
//!
//! Paper: Wolf et al. 2019, "TransferTransfo: A Transfer Learning Approach for Neural Network Based Conversational Agents", section 3
//! (persona, history and reply as one input, the loss of the reply's words and that of telling it from distractors at its last
//! token), <https://arxiv.org/abs/1901.08149>. Differs from the paper in how speakers are told ([`crate::conversation`]), and in
//! that distractors are drawn anew each time an exchange comes.

use std::collections::HashMap;
use std::sync::Arc;

use rayon::prelude::*;
use topwork_data::{Dataset, Example, Exchange, Inputs, Label, Labels, Ragged};
use topwork_kernels::loss::IGNORE;
use topwork_kernels::rng::{Stream, derive};
use topwork_models::generate::{self, Adjust, Beam, Choice};
use topwork_models::model::plain;
use topwork_models::{HeadSpec, Targets};
use topwork_nn::Pass;
use topwork_text::{Packed, Tokenizer};
use topwork_train::metrics::{Ranked, Task as MetricTask, TextLoss, dialog, word_f1};

use super::{Encode, LanguageTask, Measured, Part, Run, TaskBatch, Units, WORST};
use crate::conversation::Conversation;
use crate::error::Error;
use crate::prepare::Prepared;
use crate::recipe::{Kind, TaskRecipe};
use crate::report::{Mistake, Mistakes};
use crate::scoring::{self, first_greatest};

/// Candidates in training when nothing is said, as the paper's code was run with.
const CANDIDATES: usize = 4;

/// The weight of the words' loss when nothing is said, as the paper's code was run with.
const WORDS: f32 = 2.0;

/// Candidates of an exchange that has none of its own, as many as ConvAI2's have.
const DRAWN: usize = 20;

/// Replies written at once.
const TOGETHER: usize = 32;

/// The entry in the list.
pub const DIALOG: Dialog = Dialog;

/// Replies in a conversation.
pub struct Dialog;

/// The exchanges of a set: the sequence of each is what was said and the right reply.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchanges {
    /// Tokens of each before its reply.
    starts: Vec<u32>,
    /// What replies there are, each once.
    texts: Vec<String>,
    /// The same as token ids.
    replies: Ragged,
    /// The numbers of the candidates of each exchange, the right one last.
    candidates: Ragged,
    /// Candidates in training, the right one counted.
    most: usize,
    /// Ids that end a reply.
    end: Vec<u32>,
    /// Whether speakers are told by the plain template.
    plain: bool,
}

impl LanguageTask for Dialog {
    fn kind(&self) -> Kind {
        Kind::Dialog
    }

    fn title(&self) -> &'static str {
        "Dialog"
    }

    fn summary(&self) -> &'static str {
        "replies in a conversation with a persona: written, and told from others"
    }

    fn paper(&self) -> &'static str {
        "https://arxiv.org/abs/1901.08149"
    }

    fn in_python(&self, folder: &str) -> String {
        format!(
            "from transformers import pipeline\n\nchat = pipeline(\"text-generation\", {folder:?})\n\
             persona = {{\"role\": \"system\", \"content\": \"i like tea .\"}}\n\
             print(chat([persona, {{\"role\": \"user\", \"content\": \"hello , how are you ?\"}}]))\n"
        )
    }

    fn measures(&self) -> MetricTask {
        MetricTask::Dialog
    }

    fn reader(&self) -> topwork_data::Task {
        topwork_data::Task::Dialog
    }

    fn encode(&self, dataset: Dataset, encode: &Encode) -> Result<Part, Error> {
        let most = encode.task.candidates.unwrap_or(CANDIDATES);
        if most < 2 {
            return Err(Error::Task(format!(
                "task.candidates is {most}: expected at least 2, the right reply and one to tell it from"
            )));
        }
        let weight = encode.task.lm_weight.unwrap_or(WORDS);
        if !(weight.is_finite() && weight >= 0.0) {
            return Err(Error::Task(format!("task.lm-weight is {weight}: expected a number of at least 0")));
        }
        let form = Conversation::read(encode.model, encode.tokenizer)?;
        let (inputs, units) = sequences(&dataset, encode, &form, most)?;
        Ok(Part { dataset, inputs, units })
    }

    fn decide(&self, task: &mut TaskRecipe, _: &Prepared) {
        task.candidates.get_or_insert(CANDIDATES);
        task.lm_weight.get_or_insert(WORDS);
    }

    fn head(&self, _: &TaskRecipe, _: &[String]) -> HeadSpec {
        HeadSpec::DoubleHeads
    }

    fn default_metric(&self, _: &Prepared) -> &'static str {
        "perplexity"
    }

    fn batch(&self, part: &Part, units: &[usize], draw: Option<u64>) -> Result<TaskBatch, Error> {
        Ok(exchanges(part)?.batch(part, units, draw))
    }

    fn remarks(&self, train: &Part) -> Vec<String> {
        let Ok(exchanges) = exchanges(train) else { return Vec::new() };
        let form = match exchanges.plain {
            true => "the plain template (User:, Bot:), which is saved with the model",
            false => "the model's own chat template",
        };
        let fewest = (0..exchanges.candidates.len()).map(|at| exchanges.candidates.of(at).len()).min();
        let told = exchanges.most.min(fewest.unwrap_or_default());
        vec![
            format!("who speaks is told by {form}"),
            format!(
                "each reply is told from {} others in training, drawn anew each time",
                told.saturating_sub(1)
            ),
        ]
    }

    fn fixed(&self) -> bool {
        false
    }

    fn measure(&self, run: &Run, part: &Part) -> Result<Measured, Error> {
        let exchanges = exchanges(part)?;
        let found = scoring::in_batches(exchanges.costs(), |units| {
            units.iter().map(|&unit| exchanges.score(run, part, unit)).collect::<Result<Vec<Scored>, Error>>()
        })?;
        let found: Vec<Scored> = found.into_iter().flatten().collect();
        let chosen: Vec<String> = found.iter().map(|scored| exchanges.texts[scored.chosen].clone()).collect();
        let (lists, costs): (Vec<Ranked>, Vec<TextLoss>) =
            found.into_iter().map(|scored| (scored.list, scored.cost)).unzip();
        let tokens: u64 = costs.iter().map(|cost| cost.tokens).sum();
        let loss = costs.iter().map(|cost| cost.loss).sum::<f64>() / tokens.max(1) as f64;
        let mut sums = dialog(&lists, &costs)?;
        let mut written = Vec::new();
        if run.judge.writes {
            written = exchanges.write(run, part)?;
            let truth: Vec<[&str; 1]> =
                part.dataset.examples.iter().map(|example| [reply(example)]).collect();
            sums.push(word_f1(&truth, &written)?);
        }
        let mut measured = Measured::of_sums(MetricTask::Dialog, sums, Vec::new(), &run.judge, Some(loss))?;
        (measured.texts, measured.written) = (chosen, written);
        Ok(measured)
    }

    fn mistakes(&self, measured: &Measured, data: &Prepared) -> Option<Mistakes> {
        let dataset = &data.test.dataset;
        let wrong: Vec<usize> = (0..measured.texts.len())
            .filter(|&at| measured.texts[at] != reply(&dataset.examples[at]).trim())
            .collect();
        let worst = wrong.iter().take(WORST).map(|&at| {
            let example = &dataset.examples[at];
            let written = measured.written.get(at).map_or(String::new(), |text| format!(" (wrote: {text})"));
            Mistake {
                id: dataset.place(at),
                text: shown(example),
                gold: reply(example).to_string(),
                predicted: format!("{}{written}", measured.texts[at]),
                probability: None,
                weights: Vec::new(),
            }
        });
        Some(Mistakes { total: wrong.len() as u64, texts: dataset.len() as u64, worst: worst.collect() })
    }

    fn how_to_use(&self, folder: &str) -> String {
        format!("topwork chat {folder} --persona \"i like tea .\"")
    }
}

/// The exchanges of a set.
fn exchanges(part: &Part) -> Result<&Exchanges, Error> {
    match &part.units {
        Units::Exchanges(exchanges) => Ok(exchanges),
        _ => Err(Error::Task("there are no exchanges of a conversation".to_string())),
    }
}

/// The right reply of an example.
fn reply(example: &Example) -> &str {
    match &example.label {
        Some(Label::Exchange(exchange)) => exchange.reply(),
        _ => "",
    }
}

/// Persona and turns in one line.
fn shown(example: &Example) -> String {
    let Some(Label::Exchange(exchange)) = &example.label else { return example.text.clone() };
    let persona = exchange.persona.join(" ");
    let persona = if persona.is_empty() { persona } else { format!("[{persona}] ") };
    format!("{persona}{}", exchange.history.join(" / "))
}

/// Token ids of a set, or without a longest length only how many there are.
fn sequences(
    dataset: &Dataset,
    encode: &Encode,
    form: &Conversation,
    most: usize,
) -> Result<(Inputs, Units), Error> {
    let tokenizer: &Tokenizer = encode.tokenizer;
    let mut known: Vec<&Exchange> = Vec::with_capacity(dataset.len());
    for (at, example) in dataset.examples.iter().enumerate() {
        match &example.label {
            Some(Label::Exchange(exchange)) => known.push(exchange),
            _ => return Err(Error::Task(format!("{}: no reply to learn", dataset.place(at)))),
        }
    }
    let (texts, candidates) = candidates(dataset, &known, encode.seed)?;
    let replies: Vec<Vec<u32>> =
        texts.par_iter().map(|text| form.reply(tokenizer, text)).collect::<Result<_, Error>>()?;
    // Half of the room is what was said before.
    let longest = encode.max_length.map_or(usize::MAX, |length| (length / 2).max(1));
    let fit = |at: usize| {
        let of = candidates.of(at).iter().map(|&number| replies[number as usize].len().min(longest));
        let reserved = of.max().unwrap_or_default();
        let room = encode.max_length.map_or(usize::MAX, |length| length.saturating_sub(reserved).max(1));
        let Exchange { persona, history, .. } = known[at];
        form.fit(tokenizer, persona, history, room)
            .map(|mut prompt| {
                // Not even the persona and the last turn fit: what is nearest to the reply counts.
                prompt.ids.drain(..prompt.ids.len().saturating_sub(room));
                prompt
            })
            .map_err(|error| Error::Task(format!("{}: {error}", dataset.place(at))))
    };
    let prompts = (0..known.len()).into_par_iter().map(fit).collect::<Result<Vec<_>, Error>>()?;
    let mut inputs = Inputs::empty();
    let (mut starts, mut targets) = (Vec::with_capacity(known.len()), Ragged::new());
    for (at, prompt) in prompts.iter().enumerate() {
        let Some(&right) = candidates.of(at).last() else { unreachable!("an exchange has its reply") };
        let right = &replies[right as usize];
        let kept = &right[..right.len().min(longest)];
        inputs.lengths.push(prompt.whole + right.len());
        if encode.max_length.is_none() {
            continue;
        }
        let ids = [prompt.ids.as_slice(), kept].concat();
        inputs.packed.push(&ids, &vec![0; ids.len()]);
        inputs.rows.push(dataset.examples[at].row);
        inputs.count_cut(prompt.whole + right.len() - ids.len());
        let start = prompt.ids.len();
        starts.push(start as u32);
        targets.push((1..=ids.len()).map(|next| asked(&ids, start, next)));
    }
    inputs.labels = Labels::Tokens(targets);
    let mut numbers = Ragged::new();
    replies.iter().for_each(|ids| numbers.push(ids[..ids.len().min(longest)].iter().copied()));
    let (end, plain) = (form.end().to_vec(), form.is_plain());
    let units = Exchanges { starts, texts, replies: numbers, candidates, most, end, plain };
    Ok((inputs, Units::Exchanges(units)))
}

/// What is asked before the token `next`: that token, if it is one of the reply, which begins at `start`.
fn asked(ids: &[u32], start: usize, next: usize) -> u32 {
    if next >= start && next < ids.len() { ids[next] } else { IGNORE }
}

/// What replies there are, each once and without space around it, and the numbers of each exchange's candidates, the right one
/// last. Exchanges without wrong ones get some of the right ones of others.
fn candidates(dataset: &Dataset, known: &[&Exchange], seed: u64) -> Result<(Vec<String>, Ragged), Error> {
    let mut texts: Vec<String> = Vec::new();
    let mut numbers: HashMap<&str, u32> = HashMap::new();
    let mut given: Vec<Vec<u32>> = Vec::with_capacity(known.len());
    for &exchange in known {
        let mut of = Vec::with_capacity(exchange.candidates.len());
        for text in exchange.candidates.iter().map(|text| text.trim()) {
            of.push(*numbers.entry(text).or_insert_with(|| {
                texts.push(text.to_string());
                (texts.len() - 1) as u32
            }));
        }
        given.push(of);
    }
    let right: Vec<u32> = known.iter().zip(&given).map(|(exchange, given)| given[exchange.right]).collect();
    let mut pool = right.clone();
    pool.sort_unstable();
    pool.dedup();
    let mut all = Ragged::new();
    for (at, (given, &right)) in given.iter().zip(&right).enumerate() {
        let mut wrong: Vec<u32> = Vec::with_capacity(given.len());
        for &other in given {
            if other != right && !wrong.contains(&other) {
                wrong.push(other);
            }
        }
        if given.len() == 1 {
            wrong = drawn(&pool, right, derive(seed, &format!("candidates {}", dataset.examples[at].row)));
        }
        if wrong.is_empty() {
            return Err(Error::Task(format!(
                "{}: there is no other reply to tell its own from, here or in the {} exchanges of this part: give candidates, \
                 or more data",
                dataset.place(at),
                known.len()
            )));
        }
        all.push(wrong.into_iter().chain([right]));
    }
    Ok((texts, all))
}

/// Some of the replies of others, each once.
fn drawn(pool: &[u32], right: u32, seed: u64) -> Vec<u32> {
    if pool.len() <= DRAWN {
        return pool.iter().copied().filter(|&other| other != right).collect();
    }
    let mut stream = Stream(seed);
    let mut found = Vec::with_capacity(DRAWN - 1);
    while found.len() < DRAWN - 1 {
        let other = pool[stream.below(pool.len() as u64) as usize];
        if other != right && !found.contains(&other) {
            found.push(other);
        }
    }
    found
}

/// What a model makes of an exchange.
struct Scored {
    /// The candidates by their scores.
    list: Ranked,
    /// What the words of the right reply cost.
    cost: TextLoss,
    /// The number of the reply with the highest score.
    chosen: usize,
}

impl Exchanges {
    /// Tokens of each exchange with all its candidates.
    fn costs(&self) -> Vec<usize> {
        let cost = |at: usize| -> usize {
            let replies = self.candidates.of(at).iter().map(|&number| self.replies.of(number as usize).len());
            replies.map(|reply| reply + self.starts[at] as usize).sum()
        };
        (0..self.starts.len()).map(cost).collect()
    }

    /// Tokens of each exchange at most, with as many candidates as it has in training.
    pub(crate) fn costs_in_training(&self) -> Vec<usize> {
        let cost = |at: usize| {
            let candidates = self.candidates.of(at);
            let longest = candidates.iter().map(|&number| self.replies.of(number as usize).len()).max();
            (self.starts[at] as usize + longest.unwrap_or_default()) * candidates.len().min(self.most)
        };
        (0..self.starts.len()).map(cost).collect()
    }

    /// What was said before the reply.
    fn prompt<'a>(&self, part: &'a Part, unit: usize) -> &'a [u32] {
        &part.inputs.packed.sequence(unit).0[..self.starts[unit] as usize]
    }

    /// Each exchange once for each candidate, the right one last: all of them, or in training some that are drawn.
    fn batch(&self, part: &Part, units: &[usize], draw: Option<u64>) -> TaskBatch {
        let mut packed = Packed::default();
        let (mut tokens, mut texts) = (Vec::new(), Vec::new());
        let (mut right, mut questions) = (Vec::with_capacity(units.len()), vec![0]);
        for &unit in units {
            let prompt = self.prompt(part, unit);
            let chosen = self.told_apart(unit, draw);
            for (at, &number) in chosen.iter().enumerate() {
                let ids = [prompt, self.replies.of(number as usize)].concat();
                packed.push(&ids, &vec![0; ids.len()]);
                let is_right = at + 1 == chosen.len();
                let start = if is_right { prompt.len() } else { ids.len() };
                tokens.extend((1..=ids.len()).map(|next| asked(&ids, start, next)));
                texts.push(unit);
            }
            right.push(chosen.len() as u32 - 1);
            questions.push(texts.len() as u32);
        }
        let choices = Targets::Choices { right: right.into(), questions: questions.into() };
        let targets = Targets::Both { tokens: tokens.into(), texts: Box::new(choices) };
        TaskBatch { packed, targets: Some(targets), texts, units: units.len() }
    }

    /// The candidates of an exchange that are told apart.
    fn told_apart(&self, unit: usize, draw: Option<u64>) -> Vec<u32> {
        let all = self.candidates.of(unit);
        let (Some(draw), Some((right, wrong))) = (draw, all.split_last()) else { return all.to_vec() };
        if all.len() <= self.most {
            return all.to_vec();
        }
        let mut wrong = wrong.to_vec();
        Stream(derive(draw, &format!("candidates {unit}"))).shuffle(&mut wrong);
        wrong.truncate(self.most - 1);
        wrong.push(*right);
        wrong
    }

    /// Scores of all candidates, and of the right one's words.
    fn score(&self, run: &Run, part: &Part, unit: usize) -> Result<Scored, Error> {
        let batch = self.batch(part, &[unit], None);
        let pass = Pass::eval(&run.model.store, run.precision);
        let features = run.features(&pass, &batch)?;
        let scores = run.model.head_texts(&pass, features.clone(), &batch.packed)?;
        let scores = scores.ok_or_else(|| Error::Task("this model tells no texts apart".to_string()))?;
        let scores = plain(scores)?;
        let candidates = self.candidates.of(unit);
        let gains: Vec<f64> =
            (1..=candidates.len()).map(|at| if at == candidates.len() { 1.0 } else { 0.0 }).collect();
        let list = Ranked::by_scores(&scores, &gains)?;
        let chosen = candidates[first_greatest(&scores)] as usize;
        // The right one is the last sequence.
        let sequence = batch.packed.range(candidates.len() - 1);
        let first = sequence.start + self.starts[unit] as usize;
        let before: Arc<[u32]> = (first as u32 - 1..sequence.end as u32 - 1).collect();
        let hidden = topwork_ops::embedding(features, &before);
        let words = plain(run.model.head(&pass, hidden, &batch.packed)?)?;
        let asked = &batch.packed.ids[first..sequence.end];
        let vocab = words.len() / asked.len().max(1);
        let loss: f64 = words
            .chunks(vocab.max(1))
            .zip(asked)
            .map(|(row, &id)| -scoring::log_share(row, id as usize))
            .sum();
        let cost = TextLoss { loss, tokens: asked.len() as u64, ..TextLoss::default() };
        Ok(Scored { list, cost, chosen })
    }

    /// What the model replies to each prompt.
    fn write(&self, run: &Run, part: &Part) -> Result<Vec<String>, Error> {
        let choice = match run.judge.beams {
            0 | 1 => Choice::Greedy,
            beams => Choice::Beam(Beam { beams, length_penalty: 1.0, early_stopping: false }),
        };
        let right = |at: usize| part.inputs.packed.length(at) - self.starts[at] as usize;
        let longest = (0..self.starts.len()).map(right).max().unwrap_or(1);
        let options = generate::Options {
            // Room for a reply that is longer than any right one, not for one without end.
            max_new: longest + longest / 2,
            end: self.end.clone(),
            choice,
            adjust: Adjust::default(),
            start: None,
            precision: run.precision,
        };
        let prompts: Vec<&[u32]> = (0..self.starts.len()).map(|at| self.prompt(part, at)).collect();
        let mut texts = Vec::with_capacity(prompts.len());
        for some in prompts.chunks(TOGETHER) {
            let packed = Packed::from_ids(some);
            for mut continuation in generate::generate(run.model, &packed, &options, &mut |_, _| true)? {
                if continuation.ids.last().is_some_and(|id| self.end.contains(id)) {
                    continuation.ids.pop();
                }
                texts.push(run.tokenizer.decode(&continuation.ids, true)?.trim().to_string());
            }
        }
        Ok(texts)
    }
}
