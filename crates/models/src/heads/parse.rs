//! What each word depends on and how: a score for each pair of words of a sentence by a product of what stands for the one as a
//! head and for the other as its dependent, and for each relation of the two.
//!
//! Words are the marked ranges of a text, the first token of each stands for it; the root is a row of its own that is learnt.
//! Sentences are scored one by one: no pair of words of two sentences is ever looked at.
//!
//! Paper: Dozat and Manning 2017, "Deep Biaffine Attention for Neural Dependency Parsing", section 3.1 and equations 2 to 9 (differs
//! from the paper in what stands below, which is a pretrained encoder, and in GELU for its activation),
//! <https://arxiv.org/abs/1611.01734>

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::Tensor;
use topwork_kernels::activation::Activation;
use topwork_kernels::loss::IGNORE;
use topwork_kernels::pool::Pool;
use topwork_nn::layers::Linear;
use topwork_nn::loss::cross_entropy;
use topwork_nn::{Init, ParamId, ParamKind, ParamStore, Pass};
use topwork_text::Packed;

use crate::error::Error;
use crate::family::Encoder;
use crate::head::{Head, HeadEntry, HeadSpec, LossOptions, Targets};
use crate::heads::body::{BiLstm, Body};
use crate::heads::marked;
use crate::model::plain;
use crate::states::{Layers, Mix};
use crate::trees::{Attached, best_tree};

/// The entry in the list.
pub const ENTRY: HeadEntry = HeadEntry {
    name: "parse",
    summary: "the head of each word and the relation to it: a dependency tree",
    paper: "https://arxiv.org/abs/1611.01734",
    build,
};

/// Widths of the paper: for heads of words, and for relations (its table 1).
pub const WIDTHS: (usize, usize) = (500, 100);

/// Dropout behind each of the four layers, that of the paper's table 1.
pub const DROPOUT: f32 = 0.33;

impl HeadSpec {
    /// A parser over the last layer, of the widths of its paper.
    pub fn parser(labels: Vec<String>) -> Self {
        let (arc_width, relation_width) = WIDTHS;
        HeadSpec::Parse {
            labels,
            several_roots: false,
            arc_width,
            relation_width,
            dropout: DROPOUT,
            body: Body::Own,
            layers: Layers::Last,
        }
    }
}

/// A parser.
pub struct Parse {
    layers: Layers,
    mix: Option<Mix>,
    lstm: Option<BiLstm>,
    dropout: f32,
    root: ParamId,
    arc: Sides,
    /// Of the dependent: how much of each number it wants of its head, `arc_width` of them.
    arc_pair: Linear,
    relation: Sides,
    /// The same for each relation, `[labels * relation_width]`.
    relation_pair: Linear,
    /// What the dependent alone says of its relation.
    relation_alone: Linear,
    relations: usize,
    several_roots: bool,
}

/// What a word is as a dependent, and as a head.
struct Sides {
    dependent: Linear,
    head: Linear,
    /// How much of both is dropped, and where that is.
    dropout: (f32, &'static str),
}

/// The words of a batch as the four layers make them.
struct Words {
    /// `[words, arc_width]`, times what pairs them.
    arc_dependents: Tensor<2>,
    /// `[1 + words, arc_width]`, the root first.
    arc_heads: Tensor<2>,
    /// `[words, relation_width]`
    relation_dependents: Tensor<2>,
    /// `[1 + words, relation_width]`
    relation_heads: Tensor<2>,
}

fn build(spec: &HeadSpec, encoder: &dyn Encoder, store: &mut ParamStore) -> Result<Box<dyn Head>, Error> {
    let HeadSpec::Parse { labels, several_roots, arc_width, relation_width, dropout: hidden, body, layers } =
        spec
    else {
        return Err(Error::UnknownHead { got: spec.name().to_string(), known: ENTRY.name.to_string() });
    };
    let wrong = |setting: &str, expected: &str, got: String| {
        Err(Error::Setting { setting: setting.to_string(), expected: expected.to_string(), got })
    };
    if matches!(body, Body::Linear | Body::Mlp { .. }) {
        let expected = "own or bilstm: a parser has hidden layers of its own above either";
        return wrong("body", expected, format!("{body:?}").to_lowercase());
    }
    let sizes = [("relations", labels.len()), ("arc_width", *arc_width), ("relation_width", *relation_width)];
    if let Some((setting, size)) = sizes.into_iter().find(|(_, size)| *size == 0) {
        return wrong(setting, "at least 1", size.to_string());
    }
    let layers = layers.of(encoder);
    body.check(encoder, layers, false)?;
    let (std, group, dropout) = (encoder.size().std, encoder.parts() + 1, encoder.tagger().dropout);
    let mix = Mix::declare(store, encoder, layers);
    let inputs = layers.width_mixed(encoder);
    let lstm = BiLstm::declare(store, encoder, *body, inputs, dropout);
    let inputs = lstm.as_ref().map_or(inputs, |lstm| lstm.width);
    let root = store.declare("head.root", &[1, inputs], group, ParamKind::Weight, Init::Normal(std));
    let mut linear = |path: &str, sizes| Linear::declare(store, path, sizes, group, std);
    let arc = Sides {
        dependent: linear("head.arc.dependent", [*arc_width, inputs]),
        head: linear("head.arc.head", [*arc_width, inputs]),
        dropout: (*hidden, "head.arc"),
    };
    let arc_pair = linear("head.arc.pair", [*arc_width, *arc_width]);
    let relation = Sides {
        dependent: linear("head.relation.dependent", [*relation_width, inputs]),
        head: linear("head.relation.head", [*relation_width, inputs]),
        dropout: (*hidden, "head.relation"),
    };
    let relations = labels.len();
    let relation_pair = linear("head.relation.pair", [relations * relation_width, *relation_width]);
    let relation_alone = linear("head.relation.alone", [relations, *relation_width]);
    Ok(Box::new(Parse {
        layers,
        mix,
        lstm,
        dropout,
        root,
        arc,
        arc_pair,
        relation,
        relation_pair,
        relation_alone,
        relations,
        several_roots: *several_roots,
    }))
}

impl Sides {
    /// # Shapes
    /// - `words`: `[words, inputs]`; `all`: `[1 + words, inputs]`; returns `[words, width]` and `[1 + words, width]`
    fn forward(&self, pass: &Pass, words: Tensor<2>, all: Tensor<2>) -> Result<[Tensor<2>; 2], Error> {
        let side = |linear: &Linear, x, name: &str| -> Result<Tensor<2>, Error> {
            let x = linear.forward_activated(pass, x, Activation::Gelu)?;
            let (dropout, site) = self.dropout;
            Ok(topwork_ops::dropout(x, pass.dropout(dropout, &format!("{site}.{name}"))))
        };
        Ok([side(&self.dependent, words, "dependent")?, side(&self.head, all, "head")?])
    }
}

impl Parse {
    /// The words that are marked; `None` without any.
    fn words(&self, pass: &Pass, mut x: Tensor<2>, input: &Packed) -> Result<Option<Words>, Error> {
        let firsts: Arc<[u32]> = marked::rows(input, ENTRY.name)?.iter().map(|word| word.start).collect();
        if firsts.is_empty() {
            return Ok(None);
        }
        if let Some(mix) = &self.mix {
            x = mix.forward(pass, x)?;
        }
        if let Some(lstm) = &self.lstm {
            x = lstm.forward(pass, x, &Arc::from(input.offsets.as_slice()))?.states;
        }
        let words = topwork_ops::embedding(x, &firsts);
        let all = Tensor::cat(vec![pass.matrix(self.root)?, words], 0);
        let all = topwork_ops::dropout(all, pass.dropout(self.dropout, "head.words"));
        let words = all.clone().slice_dim(0, 1..1 + firsts.len());
        let [dependents, arc_heads] = self.arc.forward(pass, words.clone(), all.clone())?;
        let [relation_dependents, relation_heads] = self.relation.forward(pass, words, all)?;
        let arc_dependents = self.arc_pair.forward(pass, dependents)?;
        Ok(Some(Words { arc_dependents, arc_heads, relation_dependents, relation_heads }))
    }

    /// Scores of the heads of some words that stand one after the other.
    ///
    /// # Shapes
    /// - returns: `[words, words + 1]`, the root first
    fn arcs(pass: &Pass, words: &Words, places: Range<usize>) -> Tensor<2> {
        let dependents = words.arc_dependents.clone().slice_dim(0, places.clone());
        let heads: Arc<[u32]> = std::iter::once(0).chain(places.map(|place| place as u32 + 1)).collect();
        let heads = topwork_ops::embedding(words.arc_heads.clone(), &heads);
        topwork_ops::linear(dependents, heads, None, pass.precision())
    }

    /// Scores of the relations of words to heads: `heads[i]` is a row of what the words are as heads.
    ///
    /// # Shapes
    /// - `dependents`, `heads`: `[pairs]`; returns `[pairs, labels]`
    fn relations(
        &self,
        pass: &Pass,
        words: &Words,
        dependents: &Arc<[u32]>,
        heads: &Arc<[u32]>,
    ) -> Result<Tensor<2>, Error> {
        let (pairs, labels) = (dependents.len(), self.relations);
        let dependents = topwork_ops::embedding(words.relation_dependents.clone(), dependents);
        let heads = topwork_ops::embedding(words.relation_heads.clone(), heads);
        let [_, width] = heads.dims();
        let wanted = self.relation_pair.forward(pass, dependents.clone())?;
        let wanted = wanted.reshape([pairs, labels, width]) * heads.reshape([pairs, 1, width]);
        let both = wanted.sum_dim(2).reshape([pairs, labels]);
        Ok(both + self.relation_alone.forward(pass, dependents)?)
    }

    /// The best tree over the marked words of each text.
    ///
    /// # Shapes
    /// - as in [`Model::trees`](crate::Model::trees)
    ///
    /// # Errors
    /// As there.
    pub fn trees(&self, pass: &Pass, x: Tensor<2>, input: &Packed) -> Result<Vec<Vec<Attached>>, Error> {
        let Some(words) = self.words(pass, x, input)? else { return Ok(vec![Vec::new(); input.batch()]) };
        let mut trees: Vec<Vec<Attached>> = Vec::with_capacity(input.batch());
        let mut rows = Vec::with_capacity(input.marks.total());
        for text in 0..input.batch() {
            let places = input.marks.places(text);
            let count = places.len();
            let mut tree = Vec::with_capacity(count);
            if count > 0 {
                let scores = plain(Self::arcs(pass, &words, places.clone()))?;
                if !scores.iter().all(|score| score.is_finite()) {
                    return Err(Error::NoNumber { head: ENTRY.name, text });
                }
                let heads = best_tree(&scores, count, !self.several_roots);
                for (&head, scores) in heads.iter().zip(scores.chunks_exact(count + 1)) {
                    let probability = share(scores, head as usize);
                    tree.push(Attached { head, relation: 0, probability });
                    rows.push(head_row(&places, head));
                }
            }
            trees.push(tree);
        }
        let dependents = (0..rows.len() as u32).collect();
        let scores = plain(self.relations(pass, &words, &dependents, &rows.into())?)?;
        let mut scores = scores.chunks_exact(self.relations);
        for (text, tree) in trees.iter_mut().enumerate() {
            for (word, scores) in tree.iter_mut().zip(&mut scores) {
                if !scores.iter().all(|score| score.is_finite()) {
                    return Err(Error::NoNumber { head: ENTRY.name, text });
                }
                let best =
                    (1..scores.len()).fold(0, |best, at| if scores[at] > scores[best] { at } else { best });
                word.relation = best as u32;
                word.probability *= share(scores, best);
            }
        }
        Ok(trees)
    }
}

/// Where a head of one of these words stands among all heads.
fn head_row(places: &Range<usize>, head: u32) -> u32 {
    if head == 0 { 0 } else { places.start as u32 + head }
}

/// The share of one score in the softmax of several.
fn share(scores: &[f32], at: usize) -> f32 {
    let sum: f32 = scores.iter().map(|score| (score - scores[at]).exp()).sum();
    1.0 / sum
}

impl Head for Parse {
    fn pooled(&self) -> Option<Pool> {
        None
    }

    fn layers(&self) -> Layers {
        self.layers
    }

    fn mix(&self) -> Option<&[ParamId]> {
        self.mix.as_ref().map(|mix| std::slice::from_ref(&mix.weights))
    }

    fn parser(&self) -> Option<&Parse> {
        Some(self)
    }

    fn forward(&self, pass: &Pass, x: Tensor<2>, input: &Packed) -> Result<Tensor<2>, Error> {
        let Some(words) = self.words(pass, x, input)? else {
            let expected = "at least one word".to_string();
            return Err(Error::Marks { head: ENTRY.name, text: 0, expected, got: "none".to_string() });
        };
        let texts =
            (0..input.batch()).map(|text| input.marks.places(text)).filter(|places| !places.is_empty());
        let scores = texts.map(|places| {
            let pairs = places.len() * (places.len() + 1);
            Self::arcs(pass, &words, places).reshape([pairs, 1])
        });
        Ok(Tensor::cat(scores.collect(), 0))
    }

    fn loss(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        input: &Packed,
        targets: &Targets,
        options: &LossOptions,
    ) -> Result<Tensor<1>, Error> {
        let Targets::Trees { heads, relations } = targets else {
            return Err(Error::Targets { head: ENTRY.name, expected: "trees", got: targets.kind() });
        };
        check(heads, relations, input)?;
        let asked = heads.iter().filter(|&&head| head != IGNORE).count();
        let words = self.words(pass, x.clone(), input)?;
        let Some(words) = words.filter(|_| asked > 0) else {
            // Still of the graph, as a cross-entropy without rows is.
            return Ok(x.sum() * f32::NAN);
        };
        let mut loss: Option<Tensor<1>> = None;
        let (mut dependents, mut rows, mut right) = (Vec::new(), Vec::new(), Vec::new());
        for text in 0..input.batch() {
            let places = input.marks.places(text);
            let own: Arc<[u32]> = heads[places.clone()].into();
            let count = own.iter().filter(|&&head| head != IGNORE).count();
            if count == 0 {
                continue;
            }
            for (place, &head) in places.clone().zip(own.iter()).filter(|(_, head)| **head != IGNORE) {
                if relations[place] != IGNORE {
                    dependents.push(place as u32);
                    rows.push(head_row(&places, head));
                    right.push(relations[place]);
                }
            }
            let scores = Self::arcs(pass, &words, places);
            let share = cross_entropy(scores, &own, None, options.smoothing) * (count as f32 / asked as f32);
            loss = Some(match loss {
                None => share,
                Some(sum) => sum + share,
            });
        }
        let arcs = loss.unwrap_or_else(|| unreachable!("some word is asked for"));
        if right.is_empty() {
            return Ok(arcs);
        }
        let scores = self.relations(pass, &words, &dependents.into(), &rows.into())?;
        let weights = options.class_weights.as_ref();
        Ok(arcs + cross_entropy(scores, &right.into(), weights, options.smoothing))
    }
}

/// Stops what would read a word that is not there.
fn check(heads: &[u32], relations: &[u32], input: &Packed) -> Result<(), Error> {
    let wrong = |text, expected, got: String| Err(Error::Marks { head: ENTRY.name, text, expected, got });
    for (what, count) in [("heads", heads.len()), ("relations", relations.len())] {
        if count != input.marks.total() {
            return wrong(0, format!("{} {what}, one for each word", input.marks.total()), count.to_string());
        }
    }
    for text in 0..input.marks.len() {
        let places = input.marks.places(text);
        let count = places.len();
        if let Some(head) = heads[places].iter().find(|&&head| head != IGNORE && head as usize > count) {
            return wrong(text, format!("heads from 0 to {count}, the last word"), head.to_string());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_that_are_not_there_are_refused() {
        let mut input = Packed::from_ids(&[vec![1, 2, 3], vec![4]]);
        input.marks.push([0..1, 1..3]);
        input.marks.push(std::iter::once(0..1));
        assert!(check(&[2, 0, IGNORE], &[0, 0, 0], &input).is_ok());
        let refuse = |heads: &[u32], relations: &[u32], part: &str| {
            let error = check(heads, relations, &input).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        };
        refuse(&[2, 0, 2], &[0, 0, 0], "in text 1 of the batch (counted from 0) expected heads from 0 to 1");
        refuse(&[2, 0], &[0, 0, 0], "expected 3 heads, one for each word, got 2");
        refuse(&[2, 0, 0], &[0], "expected 3 relations, one for each word, got 1");
    }

    #[test]
    fn shares_are_those_of_a_softmax() {
        assert!((share(&[0.0, 0.0], 1) - 0.5).abs() < 1e-7);
        assert!((share(&[1000.0, 0.0], 0) - 1.0).abs() < 1e-7);
    }
}
