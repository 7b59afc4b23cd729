//! Questions in the terminal, or to whoever writes lines to standard input.

use std::io::{IsTerminal, Write};

use topwork::label::Session;

use super::{Left, told};
use crate::global::Global;
use crate::texts::Lines;

/// What a line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    Nothing,
    Class(usize),
    Guess,
    Skip,
    Undo,
    NewClass(String),
    Quit,
    Unclear(String),
}

impl Said {
    /// What a line says; classes by their number from 1 or their name stand above letters for other things.
    pub(super) fn of(line: &str, classes: &[String]) -> Self {
        let line = line.trim();
        if line.is_empty() {
            return Said::Nothing;
        }
        if let Some(at) = classes.iter().position(|class| class == line) {
            return Said::Class(at);
        }
        if let Ok(number) = line.parse::<usize>() {
            return match number {
                1.. if number <= classes.len() => Said::Class(number - 1),
                _ => Said::Unclear(format!("there are classes 1 to {}", classes.len())),
            };
        }
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match (word.strip_prefix('/').unwrap_or(word), rest.trim()) {
            ("y" | "yes", "") => return Said::Guess,
            ("s" | "skip", "") => return Said::Skip,
            ("u" | "undo", "") => return Said::Undo,
            ("q" | "quit" | "exit", "") => return Said::Quit,
            ("n" | "new", "") => return Said::Unclear("a new class needs a name, as in: n NAME".to_string()),
            ("n" | "new", name) => return Said::NewClass(name.to_string()),
            _ => {}
        }
        let mut alike =
            classes.iter().enumerate().filter(|(_, class)| class.to_lowercase() == line.to_lowercase());
        if let (Some((at, _)), None) = (alike.next(), alike.next()) {
            return Said::Class(at);
        }
        let meant = topwork::nearest::nearest(line, classes.iter().map(String::as_str)).unwrap_or_default();
        Said::Unclear(format!(
            "no class {:?}; did you mean {:?}? n NAME adds a class",
            plain(line),
            plain(meant)
        ))
    }
}

/// Text that cannot steer a terminal.
pub(super) fn plain(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' | '\t' => c,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    text.chars().filter(|c| *c != '\r').map(shown).collect()
}

/// Asks until it is told to end, or nothing is left.
pub(super) fn ask(session: &mut Session, global: &Global, out: &mut dyn Write) -> anyhow::Result<Left> {
    let asks = std::io::stdin().is_terminal();
    let mut lines = Lines::of_input();
    let mut shown = None;
    loop {
        let Some(question) = session.question()? else { return Ok(Left::Done) };
        let at = (question.round, question.text.row, session.labels().len(), session.classes().len());
        let guess = question.guesses.first().map(|(class, _)| *class);
        if shown != Some(at) {
            show(session, out)?;
            shown = Some(at);
        }
        if asks {
            write!(out, "> ")?;
        }
        out.flush()?;
        let Some(line) = lines.line()? else {
            // Ctrl-D leaves the line where it is.
            if asks {
                writeln!(out)?;
            }
            return Ok(Left::Asked);
        };
        let round = match (Said::of(&line, session.classes()), guess) {
            (Said::Nothing, _) => None,
            (Said::Class(class), _) | (Said::Guess, Some(class)) => session.answer(class)?,
            (Said::Guess, None) => {
                writeln!(out, "there is no guess yet: say a class")?;
                None
            }
            (Said::Skip, _) => session.skip()?,
            (Said::Undo, _) => {
                if !session.undo()? {
                    writeln!(out, "there is nothing to take back")?;
                }
                None
            }
            (Said::NewClass(name), _) => {
                let at = session.add_class(&name)?;
                writeln!(out, "class {} is {}", at + 1, plain(&session.classes()[at]))?;
                None
            }
            (Said::Quit, _) => return Ok(Left::Asked),
            (Said::Unclear(what), _) => {
                writeln!(out, "{what}")?;
                None
            }
        };
        if let Some(round) = round {
            global.note(&told(&round));
        }
    }
}

/// Shows the question at hand.
fn show(session: &Session, out: &mut dyn Write) -> anyhow::Result<()> {
    let Some(question) = session.question()? else { return Ok(()) };
    writeln!(
        out,
        "\nround {}, text {} of {} (row {}, {} labelled)",
        question.round,
        question.place,
        question.of,
        question.text.row,
        session.labels().len()
    )?;
    for text in std::iter::once(&question.text.text).chain(&question.text.pair) {
        for line in plain(text).lines() {
            writeln!(out, "  | {line}")?;
        }
        if question.text.pair.is_some() {
            writeln!(out, "  |")?;
        }
    }
    let name = |at: usize| plain(&session.classes()[at]);
    let guesses: Vec<String> = question
        .guesses
        .iter()
        .take(3)
        .map(|(class, share)| format!("{} {share:.2}", name(*class)))
        .collect();
    if !guesses.is_empty() {
        writeln!(out, "guess: {}", guesses.join(", "))?;
    }
    let classes: Vec<String> =
        (0..session.classes().len()).map(|at| format!("{} {}", at + 1, name(at))).collect();
    let yes = if guesses.is_empty() { "" } else { "y the guess, " };
    writeln!(out, "{}\n[{yes}s skip, u undo, n NAME new class, q quit]", classes.join("  "))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_classes_or_commands() {
        let classes = ["spam", "Ham", "s", "3"].map(str::to_string);
        let check = |line: &str, expected: Said| assert_eq!(Said::of(line, &classes), expected, "{line:?}");
        check(" 1 \r", Said::Class(0));
        check("ham", Said::Class(1));
        // A class of that name stands above the letter and the number, which have other ways in.
        check("s", Said::Class(2));
        check("3", Said::Class(3));
        check("/s", Said::Skip);
        check("skip", Said::Skip);
        check("u", Said::Undo);
        check("y", Said::Guess);
        check("/quit", Said::Quit);
        check("n not sure", Said::NewClass("not sure".into()));
        check("", Said::Nothing);
        check("5", Said::Unclear("there are classes 1 to 4".into()));
        check("0", Said::Unclear("there are classes 1 to 4".into()));
        let Said::Unclear(said) = Said::of("spqm", &classes) else { panic!("a class") };
        assert!(said.contains("did you mean \"spam\"?"), "{said}");
        assert!(matches!(Said::of("n", &classes), Said::Unclear(_)));
    }

    #[test]
    fn texts_cannot_steer_the_terminal() {
        assert_eq!(plain("a\u{1b}[2Jb\r\nc\u{202e}d"), "a\u{fffd}[2Jb\nc\u{fffd}d");
    }
}
