//! `topwork search`: the documents of an index nearest to queries, and how good their order is.

use std::io::Write;
use std::path::PathBuf;

use anyhow::bail;
use serde_json::json;
use topwork::search::{Document, Relevance, Reranker, SearchIndex};
use topwork::{EmbedOptions, Embedder, Role};
use topwork_data::{Label, ReadOptions, Task};
use topwork_train::metrics::{Bootstrap, Evaluation, Ranked, Task as MetricTask, ranking};

use crate::Ended;
use crate::global::Global;
use crate::numbers::shortened;
use crate::precision::PrecisionName;

/// Search an index for the documents nearest to queries
#[derive(clap::Args)]
#[command(
    after_help = "All documents are compared. With relevances (--qrels or --relevant) the order is measured instead of printed.

Examples:
  topwork search index/ \"how do I reset my password\" -k 5
  topwork search index/ --queries questions.txt --json
  topwork search index/ --queries queries.jsonl --qrels qrels.tsv
  topwork search index/ \"opening hours\" --rerank runs/cross/best"
)]
pub struct Search {
    /// The index
    index: PathBuf,
    /// Queries
    #[arg(value_name = "QUERY")]
    texts: Vec<String>,
    /// File of queries: a text a line, CSV, TSV, JSON lines, Parquet
    #[arg(long, value_name = "FILE", conflicts_with = "texts")]
    queries: Option<PathBuf>,
    /// Column of the text of queries [default: detected and said]
    #[arg(long, value_name = "COLUMN")]
    text: Option<String>,
    /// Column of the names of queries [default: id, _id, qid or the like, else their rows]
    #[arg(long, value_name = "COLUMN")]
    id: Option<String>,
    /// Documents to give for each query
    #[arg(short, long, value_name = "N", default_value_t = 10)]
    k: usize,
    /// What is relevant, a line each: query, document, how much (BEIR's or TREC's form)
    #[arg(long, value_name = "FILE", requires = "queries", conflicts_with = "relevant")]
    qrels: Option<PathBuf>,
    /// Column of the queries with the names of the documents that are relevant, a list or with | between them
    #[arg(long, value_name = "COLUMN", requires = "queries")]
    relevant: Option<String>,
    /// A model trained on pairs of texts that puts what was found in a better order: a folder (a run folder stands for its best/)
    #[arg(long, value_name = "MODEL")]
    rerank: Option<String>,
    /// How many documents it looks at for each query [default: 100]
    #[arg(long, value_name = "N")]
    candidates: Option<usize>,
    /// The label of that model which means that a document answers [default: 1, relevant, yes or true]
    #[arg(long, value_name = "LABEL")]
    positive: Option<String>,
    /// The model that made the index, where it lies elsewhere now [default: as the index names it]
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// One JSON object a line for each query; of a measure one object
    #[arg(long)]
    json: bool,
    /// Precision of matrix products of the models [default: bf16 where the CPU has it, else f32]
    #[arg(long)]
    precision: Option<PrecisionName>,
}

/// Queries answered at a time.
const BATCH: usize = 256;

/// As deep as the deepest measure looks.
const DEPTH: usize = 100;

/// Documents that a second model looks at when nothing is said.
const CANDIDATES: usize = 100;

/// Resamples behind the intervals.
const RESAMPLES: u32 = 1000;

struct Query {
    id: String,
    text: String,
    relevant: Vec<(String, f64)>,
}

/// A document that was found and its score, by the model that ordered it last.
type Found = (Document, f64);

impl Search {
    /// Searches.
    pub fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        if self.k == 0 || self.candidates == Some(0) {
            bail!("-k and --candidates are at least 1");
        }
        if self.rerank.is_none() && (self.candidates.is_some() || self.positive.is_some()) {
            bail!("--candidates and --positive are about a second model, and there is none (--rerank)");
        }
        let index = SearchIndex::open(&self.index)?;
        let queries = self.read(global)?;
        let precision = PrecisionName::or_best(self.precision);
        let facts = index.facts();
        let options = EmbedOptions {
            pool: None,
            normalise: Some(facts.normalised),
            dimensions: Some(facts.width),
            max_length: Some(facts.max_length),
            precision,
        };
        let model = self.model.as_deref().unwrap_or(&facts.model);
        let embedder = Embedder::open(global.model_folder(model)?, &options)?;
        index.check(&embedder)?;
        let reranker = match &self.rerank {
            Some(model) => {
                let folder = global.model_folder(model)?;
                Some(Reranker::open(&folder, self.positive.as_deref(), precision)?)
            }
            None => None,
        };
        let judged = self.qrels.is_some() || self.relevant.is_some();
        let mut lists = Vec::new();
        for some in queries.chunks(BATCH) {
            let found = self.find(&index, &embedder, reranker.as_ref(), some, judged)?;
            for (query, found) in some.iter().zip(found) {
                if judged {
                    let names: Vec<&str> = found.iter().map(|(document, _)| document.id.as_str()).collect();
                    let relevant: Vec<(&str, f64)> =
                        query.relevant.iter().map(|(name, gain)| (name.as_str(), *gain)).collect();
                    lists.push(Ranked::by_names(&names, &relevant));
                } else {
                    self.print(query, &found, queries.len() > 1, out)?;
                }
            }
            out.flush()?;
        }
        if judged {
            self.measure(&queries, &lists, global, out)?;
        }
        Ok(Ended::Done)
    }

    fn read(&self, global: &Global) -> anyhow::Result<Vec<Query>> {
        let query = |(at, text): (usize, &String)| Query {
            id: (at + 1).to_string(),
            text: text.clone(),
            relevant: Vec::new(),
        };
        let Some(path) = &self.queries else {
            if self.texts.is_empty() {
                bail!("no query: say one, or --queries FILE");
            }
            if self.text.is_some() || self.id.is_some() {
                bail!("--text and --id are about a file of --queries, and there is none");
            }
            if self.texts.iter().any(|text| text.trim().is_empty()) {
                bail!("a query is empty");
            }
            return Ok(self.texts.iter().enumerate().map(query).collect());
        };
        let options = ReadOptions {
            task: if self.relevant.is_some() { Task::Multi } else { Task::Unlabelled },
            text: self.text.clone(),
            label: self.relevant.iter().cloned().collect(),
            id: self.id.clone(),
            ids: true,
            ..ReadOptions::default()
        };
        let dataset = topwork_data::read(path, &options)?;
        dataset.report.lines().iter().for_each(|line| global.note(line));
        let qrels = self.qrels.as_deref().map(Relevance::read).transpose()?;
        Ok(dataset
            .examples
            .into_iter()
            .map(|example| {
                let id = example.id.unwrap_or_else(|| example.row.to_string());
                let relevant = match (&qrels, example.label) {
                    (Some(qrels), _) => qrels.of(&id).to_vec(),
                    (None, Some(Label::Many(names))) => names.into_iter().map(|name| (name, 1.0)).collect(),
                    _ => Vec::new(),
                };
                Query { id, text: example.text, relevant }
            })
            .collect())
    }

    /// The documents of each query in order.
    fn find(
        &self,
        index: &SearchIndex,
        embedder: &Embedder,
        reranker: Option<&Reranker>,
        queries: &[Query],
        judged: bool,
    ) -> anyhow::Result<Vec<Vec<Found>>> {
        let wanted = if judged { self.k.max(DEPTH) } else { self.k };
        let candidates = self.candidates.unwrap_or(CANDIDATES);
        let deep = if reranker.is_some() { wanted.max(candidates) } else { wanted };
        let texts: Vec<&str> = queries.iter().map(|query| query.text.as_str()).collect();
        let vectors = embedder.embed_as(Role::Query, &texts)?;
        let mut lists = Vec::with_capacity(queries.len());
        for (query, hits) in queries.iter().zip(index.search(&vectors.values, deep)?) {
            let mut found = Vec::with_capacity(hits.len());
            for hit in hits {
                found.push((index.document(hit.document)?, f64::from(hit.score)));
            }
            if let Some(reranker) = reranker {
                // What it does not look at stays behind what it does.
                let rest = found.split_off(found.len().min(candidates));
                let texts: Vec<&str> = found.iter().map(|(document, _)| document.text.as_str()).collect();
                let order = reranker.order(&query.text, &texts)?;
                found = order.into_iter().map(|(at, score)| (found[at].0.clone(), score)).collect();
                found.extend(rest);
            }
            found.truncate(wanted);
            lists.push(found);
        }
        Ok(lists)
    }

    fn print(
        &self,
        query: &Query,
        found: &[Found],
        several: bool,
        out: &mut dyn Write,
    ) -> anyhow::Result<()> {
        if self.json {
            let hits: Vec<_> = found
                .iter()
                .enumerate()
                .map(|(at, (document, score))| {
                    json!({"rank": at + 1, "id": document.id, "score": score, "text": document.text})
                })
                .collect();
            let line = json!({"id": query.id, "query": query.text, "hits": hits});
            writeln!(out, "{line}")?;
            return Ok(());
        }
        if several {
            writeln!(out, "{}  {}", query.id, shortened(&query.text, 80))?;
        }
        let widest = found.iter().map(|(document, _)| document.id.chars().count()).max().unwrap_or(0);
        for (document, score) in found {
            writeln!(out, "{score:>8.4}  {:<widest$}  {}", document.id, shortened(&document.text, 80))?;
        }
        if several {
            writeln!(out)?;
        }
        Ok(())
    }

    fn measure(
        &self,
        queries: &[Query],
        lists: &[Ranked],
        global: &Global,
        out: &mut dyn Write,
    ) -> anyhow::Result<()> {
        let without = queries.iter().filter(|query| query.relevant.is_empty()).count();
        if without > 0 {
            global.note(&format!(
                "{without} of {} queries have nothing that is relevant and count for nothing",
                queries.len()
            ));
        }
        let bootstrap = Bootstrap { resamples: RESAMPLES, ..Bootstrap::default() };
        let evaluation =
            Evaluation::of_sums(MetricTask::Ranking, &ranking(lists)?, Vec::new(), Some(&bootstrap))?;
        if self.json {
            let page =
                json!({"index": self.index, "queries": queries.len() - without, "evaluation": evaluation});
            writeln!(out, "{}", serde_json::to_string_pretty(&page)?)?;
        } else {
            write!(out, "{evaluation}")?;
        }
        Ok(())
    }
}
