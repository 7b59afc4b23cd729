//! The arguments of a command: words, `--flags` and `--options VALUE`. Whatever is left over is an error.

use anyhow::{Context, Result, bail};

/// Arguments not yet taken.
pub struct Args(Vec<String>);

impl Args {
    /// All arguments of the program, its own name left out.
    pub fn new(words: impl IntoIterator<Item = String>) -> Self {
        Self(words.into_iter().collect())
    }

    /// Takes the first argument if it is a word rather than an option.
    pub fn next_word(&mut self) -> Option<String> {
        let is_word = self.0.first().is_some_and(|first| !first.starts_with('-'));
        is_word.then(|| self.0.remove(0))
    }

    /// Takes `name` if it is there.
    pub fn flag(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|word| word != name);
        self.0.len() < before
    }

    /// Takes `name VALUE` or `name=VALUE` if it is there.
    ///
    /// # Errors
    /// When the value is missing.
    pub fn value(&mut self, name: &str) -> Result<Option<String>> {
        let joined = format!("{name}=");
        let Some(at) = self.0.iter().position(|word| word == name || word.starts_with(&joined)) else {
            return Ok(None);
        };
        let word = self.0.remove(at);
        if let Some(value) = word.strip_prefix(&joined) {
            return Ok(Some(value.to_string()));
        }
        if self.0.get(at).is_none_or(|next| next.starts_with("--")) {
            bail!("{name} needs a value");
        }
        Ok(Some(self.0.remove(at)))
    }

    /// Takes `name VALUE` as a number.
    ///
    /// # Errors
    /// When the value is missing or no number.
    pub fn number<T: std::str::FromStr>(&mut self, name: &str) -> Result<Option<T>> {
        let Some(value) = self.value(name)? else { return Ok(None) };
        value.parse().ok().with_context(|| format!("{name} needs a number, got \"{value}\"")).map(Some)
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// When an argument was not taken by anyone.
    pub fn finish(self) -> Result<()> {
        match self.0.first() {
            None => Ok(()),
            Some(word) => bail!("unexpected argument \"{word}\" (cargo xtask help)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Args {
        Args::new(line.split_whitespace().map(String::from))
    }

    #[test]
    fn words_flags_and_values_are_told_apart() {
        let mut given = args("bench cpu --python bin/python --quick --rounds=4");
        assert_eq!(given.next_word().as_deref(), Some("bench"));
        assert_eq!(given.next_word().as_deref(), Some("cpu"));
        assert_eq!(given.next_word(), None);
        assert_eq!(given.number("--rounds").unwrap(), Some(4_usize));
        assert_eq!(given.value("--python").unwrap().as_deref(), Some("bin/python"));
        assert!(given.flag("--quick"));
        assert!(!given.flag("--quick"));
        given.finish().unwrap();
    }

    #[test]
    fn what_nobody_takes_is_an_error() {
        assert!(args("--qiuck").finish().unwrap_err().to_string().contains("--qiuck"));
        assert!(args("--python").value("--python").is_err());
        assert!(args("--python --quick").value("--python").is_err());
        assert!(args("--rounds many").number::<usize>("--rounds").is_err());
    }
}
