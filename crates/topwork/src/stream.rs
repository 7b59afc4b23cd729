//! Text from ids that come one at a time, up to a text that stops it.

use topwork_text::Tokenizer;

use crate::error::Error;

/// How many ids of the prompt are read again for what the first new one means: a word that begins with a space says so only
/// behind another.
const BEFORE: usize = 8;

/// What stands for bytes that are no character yet.
const BROKEN: char = '\u{FFFD}';

/// The text that ids make, as far as it is known.
pub(crate) struct Stream {
    ids: Vec<u32>,
    /// The ids from here to `told` are what the next ones are read behind.
    from: usize,
    told: usize,
    text: String,
    /// Bytes of the text that were given away.
    given: usize,
    stop: Vec<String>,
    stopped: bool,
}

impl Stream {
    /// Nothing new behind a prompt.
    pub fn new(prompt: &[u32], stop: &[String]) -> Self {
        let ids = prompt[prompt.len().saturating_sub(BEFORE)..].to_vec();
        let told = ids.len();
        Stream { ids, from: 0, told, text: String::new(), given: 0, stop: stop.to_vec(), stopped: false }
    }

    /// Takes the next id; gives the text that is certain now. Text that may be the beginning of a text that stops is kept
    /// back, and so are the bytes of half a character.
    ///
    /// # Errors
    /// The tokenizer has no text for the ids.
    pub fn push(&mut self, id: u32, tokenizer: &Tokenizer) -> Result<String, Error> {
        self.ids.push(id);
        let (old, new) = self.read(tokenizer)?;
        if new.len() > old.len() && !new.ends_with(BROKEN) {
            self.text.push_str(new.get(old.len()..).unwrap_or_default());
            (self.from, self.told) = (self.told, self.ids.len());
            self.look();
        }
        Ok(self.certain())
    }

    /// Whether one of the texts that stop it has come.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// The whole text, and what of it was not given yet.
    ///
    /// # Errors
    /// As [`Stream::push`].
    pub fn finish(mut self, tokenizer: &Tokenizer) -> Result<(String, String), Error> {
        if !self.stopped {
            let (old, new) = self.read(tokenizer)?;
            self.text.push_str(new.get(old.len()..).unwrap_or_default());
            self.look();
        }
        let rest = self.text[self.given..].to_string();
        Ok((self.text, rest))
    }

    /// The text of the ids that were told with those before them, and of all.
    fn read(&self, tokenizer: &Tokenizer) -> Result<(String, String), Error> {
        let old = tokenizer.decode(&self.ids[self.from..self.told], true)?;
        Ok((old, tokenizer.decode(&self.ids[self.from..], true)?))
    }

    /// Cuts the text off where the first of the texts that stop begins.
    fn look(&mut self) {
        let found = self.stop.iter().filter_map(|stop| self.text.find(stop.as_str())).min();
        if let Some(at) = found {
            self.text.truncate(at);
            self.stopped = true;
        }
    }

    fn certain(&mut self) -> String {
        let kept_back = if self.stopped { 0 } else { self.beginning() };
        let end = self.text.len() - kept_back;
        let text = self.text.get(self.given..end).unwrap_or_default().to_string();
        self.given = self.given.max(end);
        text
    }

    /// Length of the longest end of the text that a text that stops begins with.
    fn beginning(&self) -> usize {
        let longest = |stop: &String| {
            let lengths = (1..stop.len()).rev().filter(|&n| stop.is_char_boundary(n));
            lengths.into_iter().find(|&n| self.text.ends_with(&stop[..n])).unwrap_or(0)
        };
        self.stop.iter().map(longest).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn tokenizer(name: &str) -> Tokenizer {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tokenizer");
        Tokenizer::from_folder(fixtures.join(name)).unwrap()
    }

    /// The parts that are given, one an id, and the whole.
    fn told(tokenizer: &Tokenizer, prompt: &str, text: &str, stop: &[&str]) -> (Vec<String>, String) {
        let bare = |text: &str| tokenizer.encode_bare(text).unwrap();
        let (prompt_ids, all) = (bare(prompt), bare(&format!("{prompt}{text}")));
        let stop: Vec<String> = stop.iter().map(|stop| (*stop).to_string()).collect();
        let mut stream = Stream::new(&prompt_ids, &stop);
        let mut parts = Vec::new();
        for &id in &all[prompt_ids.len()..] {
            parts.push(stream.push(id, tokenizer).unwrap());
            if stream.stopped() {
                break;
            }
        }
        let (whole, rest) = stream.finish(tokenizer).unwrap();
        parts.push(rest);
        (parts, whole)
    }

    #[test]
    fn the_parts_are_the_whole() {
        let tokenizer = tokenizer("roberta");
        for text in [" is a city", " \u{1F600} and \u{4E2D}\u{6587}", "\n\nnew line", ""] {
            let (parts, whole) = told(&tokenizer, "Paris", text, &[]);
            assert_eq!(whole, text);
            assert_eq!(parts.concat(), text);
            assert!(parts.iter().all(|part| !part.contains(BROKEN)), "{parts:?}");
        }
    }

    #[test]
    fn a_text_that_stops_is_never_shown_not_even_in_part() {
        let tokenizer = tokenizer("roberta");
        let (parts, whole) = told(&tokenizer, "Q", ": one\n\nQ: two", &["\n\nQ:", "never"]);
        assert_eq!((whole.as_str(), parts.concat().as_str()), (": one", ": one"));
        // What only looked like it comes later.
        let (parts, whole) = told(&tokenizer, "Q", ": one\n\nA: two", &["\n\nQ:"]);
        assert_eq!((whole.as_str(), parts.concat().as_str()), (": one\n\nA: two", ": one\n\nA: two"));
    }
}
