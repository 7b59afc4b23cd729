//! `topwork align`: vectors of two languages in one space.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::json;
use topwork::align::{Alignment, Retrieval, by_source, held_out, retrieval, unit};
use topwork::{EmbedOptions, Embedder};
use topwork_data::write_npy;
use topwork_weights::WordVectors;

use super::vectors::file_of;
use crate::Ended;
use crate::global::Global;
use crate::numbers::thousands;
use crate::precision::PrecisionName;

/// Turn vectors of one language onto those of another, learnt from a dictionary or from texts and their translations
#[derive(clap::Args)]
#[command(
    after_help = "Of words: SOURCE and TARGET are files of word vectors, --dictionary has a word and its translation a line. Of texts: with
--model they are two files of texts, line by line each other's translations. What is learnt is a rotation: it changes no length and
no angle inside a language. A part of the pairs is held out, and for each of these the right target is looked for among all
target words, or all texts held out: by cosine, and by CSLS, which counts as farther what is near to everything.

Examples:
  topwork align cc.de.300.vec cc.en.300.vec --dictionary de-en.txt --limit 100000 --out de-in-en.vec
  topwork align train.de train.en --model minilm/ --out map.npy
  topwork align train.de train.en --model german-bert/ --target-model minilm/"
)]
pub struct Align {
    /// What is turned: word vectors, or texts
    source: String,
    /// What it is turned onto: word vectors of the same width, or the translations
    target: String,
    /// Pairs of words: a word and its translation a line, a tab or spaces between them; several lines for several translations
    #[arg(long, value_name = "FILE", conflicts_with = "model")]
    dictionary: Option<PathBuf>,
    /// Take the files for texts, and their vectors from this model
    #[arg(long)]
    model: Option<String>,
    /// The model of the target's texts [default: the same]
    #[arg(long, value_name = "MODEL", requires = "model")]
    target_model: Option<String>,
    /// The share of the pairs that is held out to measure on
    #[arg(long, value_name = "SHARE", default_value_t = 0.2)]
    held_out: f64,
    /// Draws the pairs that are held out
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Read only the first N words of each file
    #[arg(long, value_name = "N", conflicts_with = "model")]
    limit: Option<usize>,
    /// Write the source's word vectors as they lie then (text of word2vec); with --model the map, .npy: vectors of length one, less
    /// their mean, of length one again, times it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Precision of matrix products [default: bf16 where the CPU has it, else f32]
    #[arg(long, requires = "model")]
    precision: Option<PrecisionName>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// Vectors of both sides, and which rows mean the same.
struct Sides {
    width: usize,
    source: Vec<f32>,
    target: Vec<f32>,
    pairs: Vec<(usize, usize)>,
    /// Whether targets that are learnt from may be answers too: words may, texts may not.
    all_answer: bool,
    /// Words of the source.
    words: Option<WordVectors>,
}

impl Align {
    /// Learns, measures and writes.
    pub fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        if !(self.held_out > 0.0 && self.held_out < 1.0) {
            bail!("--held-out {}: expected a share between 0 and 1", self.held_out);
        }
        if self.model.is_some()
            && let Some(path) =
                self.out.as_ref().filter(|path| path.extension().is_none_or(|end| end != "npy"))
        {
            bail!("--out {}: a map is written as .npy", path.display());
        }
        let sides = match (&self.dictionary, &self.model) {
            (Some(dictionary), _) => self.words(dictionary, global)?,
            (None, Some(model)) => self.texts(model, global)?,
            (None, None) => bail!(
                "nothing says what means the same: say --dictionary FILE for word vectors, or --model MODEL for texts and their \
                 translations"
            ),
        };
        let width = sides.width;
        let (learnt, measured) = held_out(&sides.pairs, self.held_out, self.seed);
        let rows = |all: &[f32], at: &mut dyn Iterator<Item = usize>| -> Vec<f32> {
            at.flat_map(|at| all[at * width..(at + 1) * width].iter().copied()).collect()
        };
        let map = Alignment::learn(
            &rows(&sides.source, &mut learnt.iter().map(|pair| pair.0)),
            &rows(&sides.target, &mut learnt.iter().map(|pair| pair.1)),
            width,
        )?;
        let asked = by_source(&measured);
        let queries = rows(&sides.source, &mut asked.keys().copied());
        let (candidates, right): (Vec<f32>, Vec<Vec<usize>>) = if sides.all_answer {
            (sides.target.clone(), asked.values().cloned().collect())
        } else {
            let own: Vec<usize> = measured.iter().map(|pair| pair.1).collect();
            let place: HashMap<usize, usize> = own.iter().enumerate().map(|(at, &row)| (row, at)).collect();
            let right = asked.values().map(|rows| rows.iter().map(|row| place[row]).collect()).collect();
            (rows(&sides.target, &mut own.iter().copied()), right)
        };
        let before =
            retrieval(&unit(queries.clone(), width), &unit(candidates.clone(), width), width, &right)?;
        let after = retrieval(&map.of_source(&queries), &map.of_target(&candidates), width, &right)?;
        if let Some(path) = &self.out {
            match &sides.words {
                Some(words) => {
                    let moved = map.of_source(words.data());
                    WordVectors::new(words.words().to_vec(), width, &moved).save(path, "word2vec-text")?;
                }
                None => write_npy(path, &map.map, width)?,
            }
        }
        self.print(learnt.len(), [before, after], out)
    }

    fn print(
        &self,
        learnt: usize,
        [before, after]: [Retrieval; 2],
        out: &mut dyn Write,
    ) -> anyhow::Result<Ended> {
        if self.json {
            let page = json!({"pairs": learnt, "before": before, "after": after, "out": self.out});
            writeln!(out, "{}", serde_json::to_string_pretty(&page)?)?;
            return Ok(Ended::Done);
        }
        writeln!(
            out,
            "learnt from {} pairs, measured on {} others among {}",
            thousands(learnt),
            thousands(after.queries),
            thousands(after.candidates)
        )?;
        writeln!(out, "\n            P@1    P@5    P@1 by CSLS")?;
        for (name, found) in [("as they are", before), ("turned", after)] {
            writeln!(out, "{name:<12}{:.3}  {:.3}  {:.3}", found.p_at_1, found.p_at_5, found.csls_p_at_1)?;
        }
        if let Some(path) = &self.out {
            writeln!(out, "\nwritten  {}", path.display())?;
        }
        Ok(Ended::Done)
    }

    fn words(&self, dictionary: &Path, global: &Global) -> anyhow::Result<Sides> {
        let open = |reference: &str| -> anyhow::Result<WordVectors> {
            let Some(path) = file_of(reference, global)? else {
                bail!("{reference}: no file of word vectors in it");
            };
            Ok(WordVectors::open_first(&path, self.limit.unwrap_or(usize::MAX))?)
        };
        let (source, target) = (open(&self.source)?, open(&self.target)?);
        if source.width() != target.width() {
            bail!(
                "{} has {} numbers a word and {} has {}: only vectors of one width can be turned onto each other",
                self.source,
                source.width(),
                self.target,
                target.width()
            );
        }
        let text = fs::read_to_string(dictionary).with_context(|| dictionary.display().to_string())?;
        let (mut pairs, mut unknown) = (Vec::new(), 0);
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let found = line.split_once('\t').or_else(|| line.trim().split_once(char::is_whitespace));
            let Some((from, to)) = found.map(|(from, to)| (from.trim(), to.trim())) else {
                bail!(
                    "{} line {}: {line:?} is not a word and its translation with a tab or spaces between them",
                    dictionary.display(),
                    number + 1
                );
            };
            match source.index(from).zip(target.index(to)) {
                Some(pair) => pairs.push(pair),
                None => unknown += 1,
            }
        }
        pairs.sort_unstable();
        pairs.dedup();
        if unknown > 0 {
            let all = pairs.len() + unknown;
            global.note(&format!("{unknown} of {all} pairs have a word without a vector, and are left out"));
        }
        Ok(Sides {
            width: source.width(),
            source: source.data().to_vec(),
            target: target.data().to_vec(),
            pairs,
            all_answer: true,
            words: Some(source),
        })
    }

    fn texts(&self, model: &str, global: &Global) -> anyhow::Result<Sides> {
        let read = |path: &str| -> anyhow::Result<Vec<String>> {
            let text = fs::read_to_string(path).with_context(|| path.to_string())?;
            Ok(text.lines().map(str::to_string).collect())
        };
        let (source, target) = (read(&self.source)?, read(&self.target)?);
        if source.len() != target.len() {
            bail!(
                "{} has {} lines and {} has {}: line by line they are to be each other's translations",
                self.source,
                source.len(),
                self.target,
                target.len()
            );
        }
        let whole = |at: &usize| !source[*at].trim().is_empty() && !target[*at].trim().is_empty();
        let rows: Vec<usize> = (0..source.len()).filter(whole).collect();
        if rows.len() < source.len() {
            global.note(&format!("{} pairs with an empty line are left out", source.len() - rows.len()));
        }
        let embed = |reference: &str, texts: &[String]| -> anyhow::Result<(usize, Vec<f32>)> {
            let folder = global.hub()?.model(reference, &global.fetching())?.path;
            let mut options = EmbedOptions::default();
            if let Some(precision) = self.precision {
                options.precision = precision.kernel();
            }
            let embedder = Embedder::open(&folder, &options)?;
            let texts: Vec<&str> = rows.iter().map(|&row| texts[row].as_str()).collect();
            let vectors = embedder.embed(&texts)?;
            Ok((vectors.width, vectors.values))
        };
        let (width, from) = embed(model, &source)?;
        let (other, to) = embed(self.target_model.as_deref().unwrap_or(model), &target)?;
        if width != other {
            bail!(
                "the models give vectors of {width} and of {other} numbers: only vectors of one width can be turned onto each other"
            );
        }
        let pairs = (0..rows.len()).map(|at| (at, at)).collect();
        Ok(Sides { width, source: from, target: to, pairs, all_answer: false, words: None })
    }
}
