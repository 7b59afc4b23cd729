//! Dependency parsing: what each word of a sentence depends on, and how.
//!
//! The first piece of a word stands for it, in training and in answers. Answers are the best tree of a sentence as a whole, with
//! one word on the root where each tree of the training data has one. Relations are learnt and measured whole, with their subtypes
//! (`nmod:poss`); one that training never showed is never answered.
//!
//! Paper: Dozat and Manning 2017, "Deep Biaffine Attention for Neural Dependency Parsing", <https://arxiv.org/abs/1611.01734>

use rayon::prelude::*;
use topwork_data::{Dataset, Inputs, Label, LabelMap, Labels, Node, Ragged};
use topwork_kernels::loss::IGNORE;
use topwork_models::HeadSpec;
use topwork_models::trees::Attached;
use topwork_text::Encoding;
use topwork_train::metrics::{Dependency, Task as MetricTask, is_punctuation, trees};

use super::{Encode, LONG, LanguageTask, Measured, Part, Run, Units};
use crate::error::Error;
use crate::prepare::Prepared;
use crate::recipe::{Kind, TaskRecipe};
use crate::report::{Mistake, Mistakes};

/// The relation of words that no token stands for: Universal Dependencies' word for what cannot be told.
const UNTOLD: &str = "dep";

/// The entry in the list.
pub const PARSE: Parse = Parse;

/// What each word depends on.
pub struct Parse;

impl LanguageTask for Parse {
    fn kind(&self) -> Kind {
        Kind::Parse
    }

    fn title(&self) -> &'static str {
        "Dependency parsing"
    }

    fn summary(&self) -> &'static str {
        "what each word depends on and how: dependency trees"
    }

    fn paper(&self) -> &'static str {
        "https://arxiv.org/abs/1611.01734"
    }

    fn in_python(&self, folder: &str) -> String {
        format!(
            "import torch\nfrom safetensors.torch import load_file\nfrom torch.nn.functional import gelu\n\
             from transformers import AutoModel, AutoTokenizer\n\n\
             # For a head on the last layer, without an LSTM. The best head of each word; all of them together may be no tree.\n\
             folder, words = {folder:?}, [\"some\", \"text\"]\n\
             tokenizer, encoder = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()\n\
             head = load_file(f\"{{folder}}/{weights}\")\n\
             inputs = tokenizer([words], is_split_into_words=True, return_tensors=\"pt\")\n\
             firsts = [inputs.word_ids().index(word) for word in range(len(words))]\n\n\n\
             def side(name, x):\n    \
                 return gelu(x @ head[f\"head.arc.{{name}}.weight\"].T + head[f\"head.arc.{{name}}.bias\"])\n\n\n\
             with torch.no_grad():\n    \
                 x = encoder(**inputs).last_hidden_state[0, firsts]\n    \
                 wanted = side(\"dependent\", x) @ head[\"head.arc.pair.weight\"].T + head[\"head.arc.pair.bias\"]\n    \
                 scores = wanted @ side(\"head\", torch.cat([head[\"head.root\"], x])).T\n\
             print(scores.argmax(1))  # counted from 1, 0 for the root\n",
            weights = topwork_models::model::HEAD_WEIGHTS,
        )
    }

    fn measures(&self) -> MetricTask {
        MetricTask::Trees
    }

    fn reader(&self) -> topwork_data::Task {
        topwork_data::Task::Trees
    }

    fn labels(&self, train: &Dataset) -> Result<Option<LabelMap>, Error> {
        Ok(Some(LabelMap::from_dataset(train)?))
    }

    fn max_length(&self, proposed: usize, most: usize) -> usize {
        // A word whose head is lost cannot be learnt.
        proposed.max(LONG).min(most)
    }

    fn decide(&self, task: &mut TaskRecipe, data: &Prepared) {
        let roots = |nodes: &[Node]| nodes.iter().filter(|node| node.head == 0).count();
        let several = trees_of(&data.train.dataset).any(|nodes| nodes.is_ok_and(|nodes| roots(nodes) > 1));
        task.several_roots.get_or_insert(several);
    }

    fn encode(&self, dataset: Dataset, encode: &Encode) -> Result<Part, Error> {
        let texts: Vec<&str> = dataset.texts().collect();
        let encodings = encode.tokenizer.encode_batch(&texts, encode.max_length)?;
        let all: Vec<&[Node]> = trees_of(&dataset).collect::<Result<_, _>>()?;
        let firsts: Vec<Vec<Option<u32>>> = encodings
            .par_iter()
            .zip(&texts)
            .zip(&all)
            .map(|((encoding, text), nodes)| {
                first_tokens(encoding, text, nodes.iter().map(|node| (node.start, node.end)))
            })
            .collect();
        let mut inputs = Inputs::empty();
        let (mut heads, mut relations, mut which) = (Ragged::new(), Ragged::new(), Ragged::new());
        for (at, ((encoding, nodes), firsts)) in encodings.iter().zip(&all).zip(&firsts).enumerate() {
            inputs.push(encoding, dataset.examples[at].row);
            inputs.packed.marks.push(firsts.iter().flatten().map(|&first| first..first + 1));
            // The number of each word among those with a token, from 1.
            let mut count = 0;
            let numbers: Vec<u32> = firsts
                .iter()
                .map(|first| {
                    count += u32::from(first.is_some());
                    if first.is_some() { count } else { IGNORE }
                })
                .collect();
            let marked: Vec<usize> = (0..nodes.len()).filter(|&word| firsts[word].is_some()).collect();
            let head = |&word: &usize| match nodes[word].head {
                0 => 0,
                head => numbers[head - 1],
            };
            let relation =
                |&word: &usize| encode.map.and_then(|map| map.index(&nodes[word].relation)).unwrap_or(IGNORE);
            heads.push(marked.iter().map(head));
            relations.push(marked.iter().map(relation));
            which.push(marked.iter().map(|&word| word as u32));
        }
        inputs.labels = Labels::Trees { heads, relations };
        Ok(Part { dataset, inputs, units: Units::Words(which) })
    }

    fn head(&self, task: &TaskRecipe, labels: &[String]) -> HeadSpec {
        let mut spec = HeadSpec::parser(labels.to_vec());
        if let HeadSpec::Parse { several_roots, body, layers, .. } = &mut spec {
            *several_roots = task.several_roots.unwrap_or_default();
            *body = task.body.unwrap_or_default();
            *layers = task.layers.unwrap_or_default();
        }
        spec
    }

    fn default_metric(&self, _: &Prepared) -> &'static str {
        "las"
    }

    fn remarks(&self, train: &Part) -> Vec<String> {
        let words: usize = trees_of(&train.dataset).map(|nodes| nodes.map_or(0, <[Node]>::len)).sum();
        let without = words - train.inputs.packed.marks.total();
        let untold = format!(
            "{without} of {words} words have no token (cut off, or of characters that the tokenizer drops): nothing is learnt of \
             them, and they are answered as {UNTOLD} of the word on the root"
        );
        if without > 0 { vec![untold] } else { Vec::new() }
    }

    fn measure(&self, run: &Run, part: &Part) -> Result<Measured, Error> {
        let (found, loss) = run.trees(part)?;
        let Units::Words(which) = &part.units else {
            return Err(Error::Task("there are no trees to compare with".to_string()));
        };
        let (mut truth, mut answers, mut flags) = (Vec::new(), Vec::new(), Vec::new());
        for (at, nodes) in trees_of(&part.dataset).enumerate() {
            let (nodes, text) = (nodes?, &part.dataset.examples[at].text);
            let right = nodes.iter().map(|n| Dependency { head: n.head, relation: n.relation.clone() });
            truth.push(right.collect::<Vec<_>>());
            let tree = whole_tree(nodes.len(), which.of(at), &found[at], run.judge.labels);
            answers.push(tree.into_iter().map(|(dependency, _)| dependency).collect::<Vec<_>>());
            let flag = |node: &Node| is_punctuation(&text[node.start..node.end]);
            flags.push(nodes.iter().map(flag).collect::<Vec<_>>());
        }
        let (sums, relations) = trees(&truth, &answers, Some(&flags))?;
        let mut measured = Measured::of_sums(MetricTask::Trees, sums, relations, &run.judge, loss)?;
        measured.trees = answers;
        Ok(measured)
    }

    fn mistakes(&self, measured: &Measured, data: &Prepared) -> Option<Mistakes> {
        let dataset = &data.test.dataset;
        let wrong_words = |nodes: &[Node], tree: &[Dependency]| -> Vec<usize> {
            let right = |(node, answer): (&Node, &Dependency)| {
                node.head == answer.head && node.relation == answer.relation
            };
            (0..nodes.len()).filter(|&word| !right((&nodes[word], &tree[word]))).collect()
        };
        let mut wrong = Vec::new();
        for (at, (nodes, tree)) in trees_of(dataset).zip(&measured.trees).enumerate() {
            let nodes = nodes.ok()?;
            let words = wrong_words(nodes, tree);
            if !words.is_empty() {
                wrong.push((at, nodes, words));
            }
        }
        wrong.sort_by(|a, b| b.2.len().cmp(&a.2.len()).then(a.0.cmp(&b.0)));
        let worst = wrong.iter().take(super::WORST).map(|(at, nodes, words)| {
            let text = &dataset.examples[*at].text;
            let form = |word: usize| &text[nodes[word].start..nodes[word].end];
            let shown = |of: &dyn Fn(usize) -> (usize, String)| -> String {
                let parts = words.iter().map(|&word| match of(word) {
                    (0, relation) => format!("{}: {relation}", form(word)),
                    (head, relation) => format!("{}: {relation} of {}", form(word), form(head - 1)),
                });
                parts.collect::<Vec<_>>().join("; ")
            };
            let answer = |word: usize| {
                let Dependency { head, relation } = &measured.trees[*at][word];
                (*head, relation.clone())
            };
            Mistake {
                id: dataset.place(*at),
                text: text.clone(),
                gold: shown(&|word| (nodes[word].head, nodes[word].relation.clone())),
                predicted: shown(&answer),
                probability: None,
                weights: Vec::new(),
            }
        });
        let worst = worst.collect();
        Some(Mistakes { total: wrong.len() as u64, texts: dataset.len() as u64, worst })
    }
}

/// The tree of each example.
fn trees_of(dataset: &Dataset) -> impl Iterator<Item = Result<&[Node], Error>> {
    dataset.examples.iter().enumerate().map(|(at, example)| match &example.label {
        Some(Label::Tree(nodes)) => Ok(nodes.as_slice()),
        _ => Err(Error::Task(format!("{}: no tree", dataset.place(at)))),
    })
}

/// The token that stands for each word, in the order of the text: the first that begins in it, else the one it begins in, which
/// then stands for several words.
pub(crate) fn first_tokens(
    encoding: &Encoding,
    text: &str,
    words: impl Iterator<Item = (usize, usize)>,
) -> Vec<Option<u32>> {
    let mut tokens = Vec::with_capacity(encoding.len());
    for (token, (from, to)) in encoding.offsets().enumerate() {
        // Some tokenizers count the space before a word to its first piece.
        let from = to - text[from..to].trim_start().len();
        if !encoding.origins[token].special && from < to {
            tokens.push((token as u32, from, to));
        }
    }
    let mut next = 0;
    words
        .map(|(start, end)| {
            while next < tokens.len() && tokens[next].2 <= start {
                next += 1;
            }
            let rest = &tokens[next..];
            let begins = rest.iter().take_while(|token| token.1 < end).find(|token| token.1 >= start);
            begins.or(rest.first().filter(|token| token.1 < end)).map(|token| token.0)
        })
        .collect()
}

/// The tree over all words of a sentence, from that over the words with a token, which `which` tells; with probabilities. The
/// other words hang on the one that hangs on the root.
pub(crate) fn whole_tree(
    words: usize,
    which: &[u32],
    tree: &[Attached],
    labels: &[String],
) -> Vec<(Dependency, f64)> {
    let top = tree.iter().position(|word| word.head == 0).map_or(0, |place| which[place] as usize);
    let untold = |word: usize| {
        // A sentence without any token hangs on its first word.
        let head = if which.is_empty() && word == top { 0 } else { top + 1 };
        (Dependency { head, relation: UNTOLD.to_string() }, 0.0)
    };
    let mut whole: Vec<(Dependency, f64)> = (0..words).map(untold).collect();
    for (&word, found) in which.iter().zip(tree) {
        let head = match found.head {
            0 => 0,
            head => which[head as usize - 1] as usize + 1,
        };
        let relation = labels[found.relation as usize].clone();
        whole[word as usize] = (Dependency { head, relation }, f64::from(found.probability));
    }
    whole
}

#[cfg(test)]
mod tests {
    use topwork_text::Origin;

    use super::*;

    /// Of tokens with these offsets between two special ones.
    fn origins(offsets: &[(u32, u32)]) -> Vec<Origin> {
        let inside = offsets.iter().map(|&offsets| Origin::new(offsets, None, 0, Some(0)));
        std::iter::once(Origin::special(0)).chain(inside).chain([Origin::special(0)]).collect()
    }

    #[test]
    fn a_token_stands_for_the_word_that_begins_in_it() {
        let text = "we cannot don't";
        let encoding = Encoding {
            ids: vec![0; 7],
            origins: origins(&[(0, 2), (2, 9), (9, 13), (13, 14), (14, 15)]),
            ..Encoding::default()
        };
        let words = [(0, 2), (3, 6), (6, 9), (10, 12), (12, 15)];
        let found = first_tokens(&encoding, text, words.into_iter());
        assert_eq!(found, [Some(1), Some(2), Some(2), Some(3), Some(4)]);
        // Cut behind the second word.
        let cut = Encoding { ids: vec![0; 3], origins: origins(&[(0, 2)]), ..Encoding::default() };
        assert_eq!(first_tokens(&cut, text, words.into_iter()), [Some(1), None, None, None, None]);
    }

    #[test]
    fn words_without_a_token_hang_on_the_word_on_the_root() {
        let labels = ["det".to_string(), "root".to_string()];
        let word = |head, relation| Attached { head, relation, probability: 0.5 };
        let shown = |words, which: &[u32], tree: &[Attached]| -> Vec<(usize, String)> {
            let whole = whole_tree(words, which, tree, &labels);
            whole.into_iter().map(|(found, _)| (found.head, found.relation)).collect()
        };
        let (det, root, dep) = ("det".to_string(), "root".to_string(), "dep".to_string());
        let tree = [word(2, 0), word(0, 1)];
        let expected = [(4, dep.clone()), (4, det), (4, dep.clone()), (0, root)];
        assert_eq!(shown(4, &[1, 3], &tree), expected);
        assert_eq!(shown(2, &[], &[]), [(0, dep.clone()), (1, dep)]);
    }
}
