//! Vectors of texts: texts that belong together are near, or as near as a number says.
//!
//! Paper: Reimers, Gurevych 2019, "Sentence-BERT", sections 3 and 4, <https://arxiv.org/abs/1908.10084>

use std::collections::{BTreeMap, HashMap, HashSet};

use rayon::prelude::*;
use topwork_data::{Dataset, Inputs, Label, Labels};
use topwork_models::{HeadSpec, Pooling, VectorLoss, VectorLossKind};
use topwork_text::Input;
use topwork_train::metrics::{Metric, Outcome, Ranked, Task as MetricTask, ranking};

use super::pairing::{self, Together};
use super::texts::has_value;
use super::{Encode, Judge, LanguageTask, Measured, Part, Run, Units};
use crate::error::Error;
use crate::prepare::Prepared;
use crate::recipe::{Kind, TaskRecipe};
use crate::search::{cosine, dot};
use crate::sentence::Role;

/// Texts that belong together find each other.
pub const EMBED: Vectors = Vectors(Kind::Embed);
/// How alike two texts are.
pub const SIMILARITY: Vectors = Vectors(Kind::Similarity);

/// Pairs drawn for each text of labelled texts when nothing is said.
const PAIRS: usize = 10;

/// Pairs drawn in all when nothing is said, however many texts there are, but for one for each: with many texts each need not
/// meet as many others.
const MOST_PAIRS: usize = 20_000;

/// Texts, each with the row where it first stands.
type Texts<'a> = Vec<(&'a str, usize)>;

/// Vectors of texts.
pub struct Vectors(Kind);

impl LanguageTask for Vectors {
    fn kind(&self) -> Kind {
        self.0
    }

    fn title(&self) -> &'static str {
        match self.0 {
            Kind::Similarity => "Likeness of texts",
            _ => "Vectors of texts",
        }
    }

    fn summary(&self) -> &'static str {
        match self.0 {
            Kind::Similarity => "how alike two texts are, as the cosine of their vectors",
            _ => "vectors by which texts that belong together find each other",
        }
    }

    fn paper(&self) -> &'static str {
        "https://arxiv.org/abs/1908.10084"
    }

    fn in_python(&self, folder: &str) -> String {
        format!(
            "from sentence_transformers import SentenceTransformer\n\n\
             model = SentenceTransformer({folder:?})\n\
             a, b = model.encode([\"some text\", \"another\"])\n\
             print(model.similarity(a, b))\n"
        )
    }

    fn how_to_use(&self, folder: &str) -> String {
        format!("topwork embed {folder} \"some text\"")
    }

    fn measures(&self) -> MetricTask {
        match self.0 {
            Kind::Similarity => MetricTask::Scores,
            _ => MetricTask::Ranking,
        }
    }

    fn reader(&self) -> topwork_data::Task {
        topwork_data::Task::Pairs
    }

    fn stratified(&self) -> bool {
        true
    }

    fn encode(&self, dataset: Dataset, encode: &Encode) -> Result<Part, Error> {
        let (texts, together) = self.together(&dataset, encode)?;
        let prepared: Vec<_> =
            texts.iter().map(|(text, _)| encode.sentence.prepare(text, Role::Any)).collect();
        let inputs: Vec<Input> = prepared.iter().map(|text| Input { text, pair: None }).collect();
        let encodings = encode.tokenizer.encode_batch(&inputs, encode.max_length)?;
        let mut inputs = Inputs { labels: Labels::None(texts.len()), ..Inputs::empty() };
        for (encoding, (_, row)) in encodings.iter().zip(&texts) {
            inputs.push(encoding, *row);
        }
        Ok(Part { dataset, inputs, units: Units::Together(together) })
    }

    fn head(&self, task: &TaskRecipe, _: &[String]) -> HeadSpec {
        HeadSpec::embedder(task.pool.unwrap_or(Pooling::Mean), true)
    }

    fn default_metric(&self, _: &Prepared) -> &'static str {
        match self.0 {
            Kind::Similarity => "spearman",
            _ => "mrr",
        }
    }

    fn remarks(&self, train: &Part) -> Vec<String> {
        let Units::Together(together) = &train.units else { return Vec::new() };
        let mut lines = Vec::new();
        let one = |label: &Option<Label>| matches!(label, Some(Label::One(_)));
        if train.dataset.examples.iter().any(|example| one(&example.label)) {
            lines.push(format!("{} pairs drawn from {} labelled texts", together.len(), train.dataset.len()));
        }
        if let Some((least, most)) = together.scaled {
            lines.push(format!("scores from {least} to {most} are learnt as cosines from 0 to 1"));
        }
        let repeated = together.repeated();
        if self.0 == Kind::Embed && repeated > 0 {
            lines.push(format!(
                "{repeated} of {} examples share a text with another: what is right for one is never taken as wrong for it",
                together.len()
            ));
        }
        lines
    }

    fn check(&self, dev: &Part, metric: &Metric, _: &Judge) -> Result<(), Error> {
        if metric.spec().is_none() {
            let metrics = if self.0 == Kind::Similarity { "spearman or pearson" } else { "mrr or ndcg@10" };
            return Err(Error::Task(format!(
                "the loss depends on which texts stand in a batch together: judge by a metric such as {metrics} (--metric)"
            )));
        }
        let (Kind::Similarity, Units::Together(together)) = (self.0, &dev.units) else { return Ok(()) };
        // Answers that are all different: what has no value for them has none for any.
        let values: Vec<f32> = (0..together.len()).map(|at| (at as f32).sin()).collect();
        has_value(metric, &Outcome::scores(&together.scores, &values)?, "pairs")
    }

    fn measure(&self, run: &Run, part: &Part) -> Result<Measured, Error> {
        let Units::Together(together) = &part.units else {
            return Err(Error::Task("there are no texts that belong together".to_string()));
        };
        // Each text once, however many pairs it stands in.
        let alone = Part::examples(part.dataset.clone(), part.inputs.clone());
        let values = run.outputs(&alone)?.values;
        let vectors: Vec<&[f32]> = values.chunks(values.len() / part.inputs.len().max(1)).collect();
        if self.0 == Kind::Similarity {
            let pairs = together.offsets.windows(2).map(|pair| {
                let texts = &together.texts[pair[0] as usize..pair[1] as usize];
                cosine(vectors[texts[0] as usize], vectors[texts[1] as usize])
            });
            let cosines: Vec<f64> = pairs.collect();
            return Measured::of_outcome(Outcome::scores(&together.scores, &cosines)?, &run.judge, None);
        }
        let lists = together.ranked(&vectors)?;
        Measured::of_sums(MetricTask::Ranking, ranking(&lists)?, Vec::new(), &run.judge, None)
    }
}

impl Vectors {
    /// The texts of a set, each once with the row where it first stands, and which of them belong together.
    fn together<'a>(&self, dataset: &'a Dataset, encode: &Encode) -> Result<(Texts<'a>, Together), Error> {
        let mut texts: Vec<(&str, usize)> = Vec::new();
        let mut known: HashMap<&str, u32> = HashMap::new();
        let mut number = |text: &'a str, row: usize| {
            *known.entry(text).or_insert_with(|| {
                texts.push((text, row));
                texts.len() as u32 - 1
            })
        };
        let mut together = Together::default();
        let mut labelled: Vec<(u32, &str)> = Vec::new();
        let lacks = |at: usize, what: &str| Err(Error::Task(format!("{}: {what}", dataset.place(at))));
        for (at, example) in dataset.examples.iter().enumerate() {
            let first = number(&example.text, example.row);
            match (&example.label, &example.pair) {
                (Some(Label::Choice { options, right }), None) => {
                    let mut unit = vec![first, number(&options[*right], example.row)];
                    let wrong = options.iter().enumerate().filter(|(option, _)| option != right);
                    unit.extend(wrong.map(|(_, text)| number(text, example.row)));
                    together.push(&unit);
                }
                (Some(Label::One(class)), None) => labelled.push((first, class)),
                (label, Some(pair)) => {
                    together.push(&[first, number(pair, example.row)]);
                    if let Some(Label::Score(score)) = label {
                        together.scores.push(*score);
                    }
                }
                _ => {
                    return lacks(
                        at,
                        "a text alone: a second text (--pair) or a class (--label) says what it belongs to",
                    );
                }
            }
        }
        if !labelled.is_empty() {
            let mut numbers: BTreeMap<&str, u32> = labelled.iter().map(|(_, class)| (*class, 0)).collect();
            numbers.values_mut().zip(0..).for_each(|(number, at)| *number = at);
            let classes: Vec<(u32, u32)> =
                labelled.iter().map(|(text, class)| (*text, numbers[class])).collect();
            let count = encode.task.pairs.unwrap_or((MOST_PAIRS / classes.len()).clamp(1, PAIRS));
            together = match self.0 {
                Kind::Similarity => pairing::together_and_apart(&classes, count, encode.seed),
                _ => pairing::together(&classes, count, encode.seed),
            };
            if together.is_empty() {
                return Err(Error::Task(format!(
                    "{}: no two of the {} texts have the same class, so nothing belongs together",
                    dataset.report.path.display(),
                    classes.len()
                )));
            }
        }
        match self.0 {
            Kind::Similarity if together.scores.len() != together.len() => {
                return Err(Error::Task(format!(
                    "{}: this task learns from pairs with a number for how alike they are: name its column (--label), or say \
                     --task embed",
                    dataset.report.path.display()
                )));
            }
            Kind::Similarity => together.scale(),
            _ => together.scores.clear(),
        }
        fits(encode.task.loss, &together)
            .map_err(|reason| Error::Task(format!("{}: {reason}", dataset.report.path.display())))?;
        Ok((texts, together))
    }
}

/// Whether examples have what a loss learns from, or what they lack.
fn fits(loss: Option<VectorLossKind>, together: &Together) -> Result<(), String> {
    let two = |pair: &[u32]| pair[1] - pair[0] == 2;
    match loss {
        Some(VectorLossKind::Triplet) if together.offsets.windows(2).all(two) => {
            Err("the loss triplet needs a text that does not go with the first: name its column (--negative)"
                .to_string())
        }
        Some(VectorLossKind::Contrastive) => {
            match together.scores.iter().find(|score| ![0.0, 1.0].contains(*score)) {
                Some(score) => Err(format!(
                    "the loss contrastive learns from 1 for texts that belong together and 0 for others, got {score}; the loss cosine \
                 takes any number"
                )),
                None => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// The kind of task that data of vectors is for: what has a number for each pair is about how alike texts are, unless the loss
/// says otherwise.
///
/// # Errors
/// A loss that the kind does not have.
pub fn settled(kind: Kind, task: &TaskRecipe, dataset: &Dataset) -> Result<Kind, Error> {
    let scored = || dataset.examples.iter().all(|example| matches!(example.label, Some(Label::Score(_))));
    match (kind, task.loss) {
        (Kind::Embed, Some(loss)) if loss.scored() => Ok(Kind::Similarity),
        (Kind::Embed, None) if scored() => Ok(Kind::Similarity),
        (Kind::Similarity, Some(loss)) if !loss.scored() => Err(Error::Task(format!(
            "the loss {} learns which texts belong together, not how alike they are: say --task embed",
            loss.name()
        ))),
        (Kind::Embed | Kind::Similarity, _) => Ok(kind),
        (_, Some(loss)) => Err(Error::Task(format!(
            "the loss {} is one of vectors: say --task embed or --task similarity",
            loss.name()
        ))),
        _ => Ok(kind),
    }
}

/// The loss that a recipe asks for; the default where nothing is learnt of vectors.
///
/// # Errors
/// [`Error::Task`] for numbers out of range.
pub fn loss(kind: Kind, task: &TaskRecipe, width: usize) -> Result<VectorLoss, Error> {
    let default = VectorLoss::default();
    if !matches!(kind, Kind::Embed | Kind::Similarity) {
        return Ok(default);
    }
    let usual = if kind == Kind::Similarity { VectorLossKind::Cosine } else { VectorLossKind::InBatch };
    let wrong = |what: &str, got: String| Err(Error::Task(format!("{what}, got {got}")));
    let temperature = task.temperature.unwrap_or(default.temperature);
    if !(temperature.is_finite() && temperature >= 1e-3) {
        return wrong("task.temperature: expected at least 0.001", temperature.to_string());
    }
    if let Some(margin) = task.margin.filter(|margin| !(margin.is_finite() && *margin > 0.0)) {
        return wrong("task.margin: expected a number above 0", margin.to_string());
    }
    if let Some(first) = task.dimensions.iter().find(|&&first| first == 0 || first > width) {
        return wrong(&format!("task.dimensions: expected numbers from 1 to {width}"), first.to_string());
    }
    if task.smoothing != 0.0 {
        return wrong("task.smoothing: losses of vectors have none", task.smoothing.to_string());
    }
    Ok(VectorLoss {
        kind: task.loss.unwrap_or(usual),
        temperature,
        margin: task.margin,
        symmetric: task.symmetric,
        dimensions: task.dimensions.clone(),
    })
}

impl Together {
    /// For each text that begins an example, where those that belong to it stand among all others, by the product of vectors.
    fn ranked(&self, vectors: &[&[f32]]) -> Result<Vec<Ranked>, Error> {
        let mut queries: BTreeMap<u32, HashSet<u32>> = BTreeMap::new();
        let mut candidates: Vec<u32> = Vec::new();
        for (at, pair) in self.offsets.windows(2).enumerate() {
            let unit = &self.texts[pair[0] as usize..pair[1] as usize];
            if self.classes.is_empty() {
                queries.entry(unit[0]).or_default().insert(unit[1]);
                candidates.extend(&unit[1..]);
                continue;
            }
            // All texts of its class belong to a text.
            let others =
                self.offsets.windows(2).zip(&self.classes).filter(|(_, class)| **class == self.classes[at]);
            let texts = others.map(|(other, _)| self.texts[other[0] as usize]);
            queries.entry(unit[0]).or_insert_with(|| texts.collect());
            candidates.push(unit[0]);
        }
        candidates.sort_unstable();
        candidates.dedup();
        let queries: Vec<(u32, HashSet<u32>)> = queries.into_iter().collect();
        let lists = queries.par_iter().map(|(query, right)| {
            let vector = vectors[*query as usize];
            let others = candidates.iter().filter(|candidate| *candidate != query || right.contains(query));
            let own = self.classes.is_empty();
            let others = others.filter(|candidate| own || *candidate != query);
            let (mut scores, mut gains) = (Vec::new(), Vec::new());
            for candidate in others {
                scores.push(dot(vector, vectors[*candidate as usize]));
                gains.push(if right.contains(candidate) { 1.0 } else { 0.0 });
            }
            Ok(Ranked::by_scores(&scores, &gains)?)
        });
        lists.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_a_text_is_ranked_among_all_others() {
        let mut together = Together::default();
        together.push(&[0, 1]);
        together.push(&[2, 3, 4]);
        together.push(&[0, 3]);
        let vectors: [&[f32]; 5] = [&[1.0, 0.0], &[1.0, 0.1], &[0.0, 1.0], &[0.5, 0.5], &[0.0, 0.9]];
        let lists = together.ranked(&vectors).unwrap();
        assert_eq!(lists.len(), 2, "each query once");
        assert_eq!(lists[0].gains, [1.0, 1.0, 0.0], "texts 1 and 3 before 4");
        assert_eq!(lists[1].gains, [0.0, 1.0, 0.0], "text 3 after 4");
        let classes = [(0, 0), (1, 0), (2, 1), (4, 1)];
        let together = pairing::together(&classes, 1, 0);
        let lists = together.ranked(&vectors).unwrap();
        assert!(lists.len() == 4 && lists.iter().all(|list| list.gains.len() == 3 && list.hits(1)));
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        let refuse = |task: TaskRecipe, part: &str| {
            let error = loss(Kind::Embed, &task, 8).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        };
        refuse(TaskRecipe { temperature: Some(0.0), ..TaskRecipe::default() }, "task.temperature");
        refuse(TaskRecipe { margin: Some(-1.0), ..TaskRecipe::default() }, "task.margin");
        refuse(TaskRecipe { dimensions: vec![9], ..TaskRecipe::default() }, "1 to 8");
        refuse(TaskRecipe { smoothing: 0.1, ..TaskRecipe::default() }, "task.smoothing");
        let usual = |kind| loss(kind, &TaskRecipe::default(), 8).unwrap().kind;
        assert_eq!(usual(Kind::Embed), VectorLossKind::InBatch);
        assert_eq!(usual(Kind::Similarity), VectorLossKind::Cosine);
    }
}
