//! `topwork vectors evaluate`: benchmarks of analogies and of word similarity.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::{Value, json};
use topwork::vectors::{AnalogyScore, Lookup, PairScore, Section, analogy_benchmark, pair_benchmark};

use super::{ObjectiveName, Source};
use crate::Ended;
use crate::global::Global;
use crate::numbers::{counted, thousands};

/// Measure vectors: analogies answered rightly, and similarities of pairs against people's
#[derive(clap::Args)]
#[command(
    after_help = "Words are counted as gensim counts them: without regard to case, among the first --first words, and \
                        questions and pairs with an unknown word are left out and counted.

Examples:
  topwork vectors evaluate glove.6B.50d.txt --analogies questions-words.txt
  topwork vectors evaluate glove.6B.50d.txt --pairs word-similarity/
  topwork vectors evaluate cc.en.300.bin --pairs EN-RW-STANFORD.txt --subwords --json"
)]
pub struct Evaluate {
    #[command(flatten)]
    source: Source,
    /// File of questions: `a b c d` a line, in sections that begin with `: name`; may be given several times
    #[arg(long, value_name = "FILE")]
    analogies: Vec<PathBuf>,
    /// File of pairs: two words and a number a line; or a folder of such files (.txt, .tsv); may be given several times
    #[arg(long, value_name = "FILE")]
    pairs: Vec<PathBuf>,
    /// How analogies are solved
    #[arg(long, default_value = "add")]
    objective: ObjectiveName,
    /// Only the first N words count as known and as answers
    #[arg(long, default_value_t = 300_000, value_name = "N")]
    first: usize,
    /// Tell upper from lower case
    #[arg(long)]
    case: bool,
    /// In pairs, give unknown words a vector from their character n-grams (fastText)
    #[arg(long)]
    subwords: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl Evaluate {
    /// Runs the command.
    pub fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        if self.analogies.is_empty() && self.pairs.is_empty() {
            bail!("nothing to measure by: give --analogies FILE, --pairs FILE, or both");
        }
        let space = self.source.open(global)?;
        if self.subwords && space.vectors().subwords().is_none() {
            bail!("--subwords: {} has no character n-grams", self.source.vectors);
        }
        let lookup = Lookup { first: self.first, any_case: !self.case };
        let mut analogies = Vec::new();
        for path in &self.analogies {
            analogies.push((path, analogy_benchmark(&space, path, &lookup, self.objective.objective())?));
        }
        let mut pairs = Vec::new();
        for path in pair_files(&self.pairs)? {
            let score = pair_benchmark(&space, &path, &lookup, self.subwords)?;
            pairs.push((path, score));
        }
        if self.json {
            let section = |s: &Section| {
                json!({
                    "section": s.name, "accuracy": s.accuracy(), "correct": s.correct, "wrong": s.wrong,
                    "unknown": s.unknown,
                })
            };
            let analogies: Vec<Value> = analogies
                .iter()
                .map(|(path, score)| {
                    let sections: Vec<Value> = score.sections.iter().map(section).collect();
                    let total = section(&score.total);
                    json!({"file": path, "sections": sections, "total": total, "invalid": score.invalid})
                })
                .collect();
            let pairs: Vec<Value> = pairs
                .iter()
                .map(|(path, score)| {
                    json!({
                        "file": path, "spearman": score.spearman, "pearson": score.pearson, "pairs": score.pairs,
                        "unknown": score.unknown, "from_subwords": score.from_subwords, "invalid": score.invalid,
                    })
                })
                .collect();
            let object = json!({"analogies": analogies, "pairs": pairs});
            writeln!(out, "{}", serde_json::to_string_pretty(&object)?)?;
            return Ok(Ended::Done);
        }
        for (path, score) in &analogies {
            print_analogies(path, score, out)?;
        }
        if !analogies.is_empty() && !pairs.is_empty() {
            writeln!(out)?;
        }
        if !pairs.is_empty() {
            print_pairs(&pairs, out)?;
        }
        Ok(Ended::Done)
    }
}

/// The files given, folders as the files in them.
fn pair_files(given: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in given {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path).with_context(|| path.display().to_string())?;
        let mut within: Vec<PathBuf> =
            entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
        within.retain(|file| file.extension().is_some_and(|ending| ending == "txt" || ending == "tsv"));
        if within.is_empty() {
            bail!("{}: no .txt or .tsv file in it", path.display());
        }
        within.sort();
        files.extend(within);
    }
    Ok(files)
}

fn percent(share: Option<f64>) -> String {
    share.map_or("-".into(), |share| format!("{:.1}%", 100.0 * share))
}

fn print_analogies(path: &Path, score: &AnalogyScore, out: &mut dyn Write) -> anyhow::Result<()> {
    writeln!(out, "{}", path.display())?;
    let rows = || score.sections.iter().chain([&score.total]);
    let widest = rows().map(|section| section.name.chars().count()).max().unwrap_or(0);
    writeln!(out, "{:<widest$}  accuracy  correct    asked  unknown", "section")?;
    for Section { name, correct, wrong, unknown } in rows() {
        let accuracy = percent((correct + wrong > 0).then(|| *correct as f64 / (correct + wrong) as f64));
        writeln!(
            out,
            "{name:<widest$}  {accuracy:>8}  {:>7}  {:>7}  {:>7}",
            thousands(*correct),
            thousands(correct + wrong),
            thousands(*unknown)
        )?;
    }
    if score.invalid > 0 {
        writeln!(out, "{} of other than four words left out", counted(score.invalid, "line"))?;
    }
    Ok(())
}

fn print_pairs(pairs: &[(PathBuf, PairScore)], out: &mut dyn Write) -> anyhow::Result<()> {
    let name =
        |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let widest = pairs.iter().map(|(path, _)| name(path).chars().count()).max().unwrap_or(0);
    writeln!(out, "{:<widest$}  spearman  pearson  compared  unknown  coverage", "pairs")?;
    for (path, score) in pairs {
        let number = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.4}"));
        let coverage = score.pairs as f64 / (score.pairs + score.unknown) as f64;
        writeln!(
            out,
            "{:<widest$}  {:>8}  {:>7}  {:>8}  {:>7}  {:>8}",
            name(path),
            number(score.spearman),
            number(score.pearson),
            thousands(score.pairs),
            thousands(score.unknown),
            percent(Some(coverage))
        )?;
        if score.from_subwords > 0 {
            writeln!(out, "{:<widest$}  {} from subwords", "", counted(score.from_subwords, "pair"))?;
        }
        if score.invalid > 0 {
            writeln!(out, "{:<widest$}  {} that are no pair left out", "", counted(score.invalid, "line"))?;
        }
    }
    Ok(())
}
