//! How the program fails: one line, no back trace, never a panic in the user's face.

use std::io::Write;

/// Writes a line to standard error. That nobody listens there is no error.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// An error with its causes. A message that already ends with its cause does not say it twice.
pub fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// True when the reader of our output has gone away, as `head` does: nothing failed then.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<std::io::Error>();
        io.is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

/// Makes of a panic, which is a mistake of ours, one line with its place.
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(|panic| {
        let what = panic.payload_as_str().unwrap_or("no message");
        let place = panic
            .location()
            .map_or("an unknown place".to_string(), |at| format!("{}:{}", at.file(), at.line()));
        say(&format!(
            "error: topwork {} has a mistake at {place}: {}; please report this line and the command at {}/issues",
            env!("CARGO_PKG_VERSION"),
            what.split_whitespace().collect::<Vec<_>>().join(" "),
            env!("CARGO_PKG_REPOSITORY"),
        ));
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn a_cause_is_said_once() {
        let cause = || std::io::Error::other("no space left");
        let said = anyhow::Error::new(cause()).context("cannot write a.csv: no space left");
        assert_eq!(chain(&said), "cannot write a.csv: no space left");
        let unsaid = anyhow::Error::new(cause()).context("cannot write a.csv");
        assert_eq!(chain(&unsaid), "cannot write a.csv: no space left");
    }

    #[test]
    fn a_broken_pipe_is_seen_below_other_errors() {
        let pipe = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert!(is_broken_pipe(&Err::<(), _>(pipe).context("printing").unwrap_err()));
        assert!(!is_broken_pipe(&anyhow::anyhow!("broken pipe")));
    }
}
