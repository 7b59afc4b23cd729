//! How a model fares on parts of the test data: short and long texts, and those that a user describes.
//!
//! A mean hides the part that fails. Parts are small, so each has its interval.
//!
//! Papers: Ribeiro et al. 2020, "Beyond Accuracy: Behavioral Testing of NLP Models with CheckList", <https://arxiv.org/abs/2005.04118>; Chen
//! et al. 2019, "Slice-based Learning", section 2, <https://arxiv.org/abs/1909.06349>

use std::str::FromStr;

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};
use topwork_data::{Example, Label};
use topwork_train::metrics::{Interval, Metric, MetricError};

use crate::error::Error;
use crate::recipe::{Kind, TaskRecipe};
use crate::tasks::measured::bootstrap;
use crate::tasks::{Answers, Measured, Part, Units};

/// Parts by length.
const PARTS: usize = 4;
/// Examples in each of them at least: fewer say nothing.
const LEAST: usize = 20;

/// A part of a set, as a condition on its examples.
#[derive(Clone, Debug)]
pub struct Predicate {
    /// As it was written.
    pub text: String,
    all: Vec<Condition>,
}

#[derive(Clone, Debug)]
enum Condition {
    /// What a text has in it, in upper or lower case.
    Contains { of: Field, words: String, holds: bool },
    /// What a text has in it, as a pattern.
    Matches { of: Field, pattern: Regex },
    /// The label.
    Label { name: String, holds: bool },
    /// A number, and how it compares.
    Number { of: Count, is: fn(f64, f64) -> bool, value: f64 },
}

#[derive(Clone, Copy, Debug)]
enum Field {
    Text,
    Pair,
}

#[derive(Clone, Copy, Debug)]
enum Count {
    Words,
    Characters,
    Score,
}

/// How conditions are written.
const FORMS: &str = "expected conditions such as `text contains http`, `pair lacks not`, `text matches [0-9]+`, `words > 30`, \
                     `characters <= 100`, `label = spam`, `label != ham`, `score < 2`, joined by ` and `";

impl FromStr for Predicate {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let all = text.split(" and ").map(|part| condition(part.trim())).collect::<Result<_, _>>();
        let all = all.map_err(|why: String| Error::Task(format!("slice {text:?}: {why}; {FORMS}")))?;
        Ok(Predicate { text: text.to_string(), all })
    }
}

fn condition(text: &str) -> Result<Condition, String> {
    let mut parts = text.splitn(3, char::is_whitespace);
    let (Some(of), Some(how), Some(value)) = (parts.next(), parts.next(), parts.next().map(str::trim)) else {
        return Err(format!("{text:?} is no condition"));
    };
    let value = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    if value.is_empty() {
        return Err(format!("{text:?} compares with nothing"));
    }
    let field = match of {
        "text" => Some(Field::Text),
        "pair" => Some(Field::Pair),
        _ => None,
    };
    let count = match of {
        "words" => Some(Count::Words),
        "characters" => Some(Count::Characters),
        "score" => Some(Count::Score),
        _ => None,
    };
    match (field, count, how) {
        (Some(of), _, "contains" | "lacks") => {
            Ok(Condition::Contains { of, words: value.to_lowercase(), holds: how == "contains" })
        }
        (Some(of), _, "matches") => {
            // Bounded, so that a pattern cannot fill the memory.
            let pattern = RegexBuilder::new(value).size_limit(1 << 22).build().map_err(|e| e.to_string())?;
            Ok(Condition::Matches { of, pattern })
        }
        (_, Some(of), _) => {
            let is: fn(f64, f64) -> bool = match how {
                "<" => |a, b| a < b,
                "<=" => |a, b| a <= b,
                ">" => |a, b| a > b,
                ">=" => |a, b| a >= b,
                "=" => |a, b| a == b,
                "!=" => |a, b| a != b,
                _ => return Err(format!("{how:?} compares no numbers")),
            };
            let value = value.parse().map_err(|_| format!("{value:?} is no number"))?;
            Ok(Condition::Number { of, is, value })
        }
        _ if of == "label" && matches!(how, "=" | "!=") => {
            Ok(Condition::Label { name: value.to_string(), holds: how == "=" })
        }
        _ => Err(format!("{of} {how} is not known")),
    }
}

/// Parts as they are written.
///
/// # Errors
/// [`Error::Task`] with what is no condition.
pub fn predicates(texts: &[String]) -> Result<Vec<Predicate>, Error> {
    texts.iter().map(|text| text.parse()).collect()
}

/// Refuses parts that a head can have no experts for: of another task than one label of several, named twice, or without a text
/// inside or outside among those to learn from.
pub(crate) fn check(task: &TaskRecipe, kind: Kind, train: &Part) -> Result<(), Error> {
    let wrong = |what: String| Err(Error::Task(format!("task.slices: {what}")));
    if task.slices.is_empty() {
        return Ok(());
    }
    if kind != Kind::Classify || !task.groups.is_empty() {
        return wrong(format!(
            "only a head for one label of several has experts for parts of the data, not {}; leave it out",
            if task.groups.is_empty() { kind.name() } else { "one for several tasks (task.groups)" }
        ));
    }
    let Units::Sliced(members) = &train.units else { return Ok(()) };
    let texts = train.len();
    for (part, name) in task.slices.iter().enumerate() {
        if task.slices[..part].contains(name) {
            return wrong(format!("{name:?} twice"));
        }
        let inside = members.count(part);
        if inside == 0 || inside == texts {
            return wrong(format!(
                "{name:?} holds of {} of the {texts} training texts, so there is nothing to tell apart; leave it out or say it \
                 otherwise",
                if inside == 0 { "none" } else { "all" }
            ));
        }
    }
    Ok(())
}

impl Predicate {
    /// Whether an example is in the part.
    pub fn holds(&self, example: &Example) -> bool {
        self.all.iter().all(|condition| condition.holds(example))
    }
}

impl Condition {
    fn holds(&self, example: &Example) -> bool {
        let text = |of: &Field| match of {
            Field::Text => example.text.as_str(),
            Field::Pair => example.pair.as_deref().unwrap_or_default(),
        };
        match self {
            Condition::Contains { of, words, holds } => text(of).to_lowercase().contains(words) == *holds,
            Condition::Matches { of, pattern } => pattern.is_match(text(of)),
            Condition::Label { name, holds } => {
                let has = match &example.label {
                    Some(Label::One(label)) => label == name,
                    Some(Label::Many(labels)) => labels.contains(name),
                    Some(Label::Words(words)) => words.iter().any(|word| word.tag == *name),
                    Some(Label::Tree(words)) => words.iter().any(|word| word.relation == *name),
                    _ => false,
                };
                has == *holds
            }
            Condition::Number { of, is, value } => {
                let both = || [&example.text].into_iter().chain(&example.pair);
                let number = match (of, &example.label) {
                    (Count::Words, _) => {
                        both().map(|text| text.split_whitespace().count()).sum::<usize>() as f64
                    }
                    (Count::Characters, _) => both().map(|text| text.chars().count()).sum::<usize>() as f64,
                    (Count::Score, Some(Label::Score(score))) => f64::from(*score),
                    (Count::Score, _) => return false,
                };
                is(number, *value)
            }
        }
    }
}

/// What was measured on a part.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SliceScore {
    /// What is in it.
    pub name: String,
    /// Its examples.
    pub examples: usize,
    /// The metric's value there, and its interval; `None` where it has none.
    pub value: Option<f64>,
    /// The interval of the value.
    pub interval: Option<Interval>,
}

/// Measures by a metric on parts by length, of as many examples each, and on the parts that users described. Nothing where
/// answers are not those of single examples.
///
/// # Errors
/// A metric that does not fit the answers.
pub fn slices(
    measured: &Measured,
    part: &Part,
    metric: &Metric,
    predicates: &[Predicate],
    resamples: usize,
) -> Result<Vec<SliceScore>, Error> {
    let examples = &part.dataset.examples;
    if measured.evaluation.examples != examples.len() {
        return Ok(Vec::new());
    }
    let mut parts: Vec<(String, Vec<usize>)> = Vec::new();
    // Of texts that belong together there is a length for each text, not for each example.
    let together = matches!(part.units, Units::Together(_));
    if !together && part.inputs.lengths.len() == examples.len() {
        parts.extend(by_length(&part.inputs.lengths));
    }
    for predicate in predicates {
        let rows = (0..examples.len()).filter(|&at| predicate.holds(&examples[at]));
        parts.push((predicate.text.clone(), rows.collect()));
    }
    parts.into_iter().map(|(name, rows)| score(measured, metric, name, &rows, resamples)).collect()
}

/// Parts by length, the shortest first.
fn by_length(lengths: &[usize]) -> Vec<(String, Vec<usize>)> {
    let parts = (lengths.len() / LEAST).min(PARTS);
    if parts < 2 {
        return Vec::new();
    }
    let mut sorted = lengths.to_vec();
    sorted.sort_unstable();
    // Above which length each part begins; texts of one length are never apart.
    let mut bounds: Vec<usize> = (1..parts).map(|part| sorted[part * sorted.len() / parts - 1]).collect();
    bounds.retain(|&bound| bound < sorted[sorted.len() - 1]);
    bounds.dedup();
    let mut from = 0;
    let ends = bounds.iter().copied().map(Some).chain([None]);
    let named = ends.map(|end| {
        let within = |length: usize| length > from && end.is_none_or(|end| length <= end);
        let rows: Vec<usize> = (0..lengths.len()).filter(|&at| within(lengths[at])).collect();
        let name = match end {
            Some(end) if from == 0 => format!("up to {end} tokens"),
            Some(end) => format!("{} to {end} tokens", from + 1),
            None => format!("more than {from} tokens"),
        };
        from = end.unwrap_or(from);
        (name, rows)
    });
    let named: Vec<_> = named.filter(|(_, rows)| !rows.is_empty()).collect();
    if named.len() < 2 { Vec::new() } else { named }
}

fn score(
    measured: &Measured,
    metric: &Metric,
    name: String,
    rows: &[usize],
    resamples: usize,
) -> Result<SliceScore, Error> {
    let mut found = SliceScore { name, examples: rows.len(), ..SliceScore::default() };
    if rows.is_empty() {
        return Ok(found);
    }
    let bootstrap = bootstrap(resamples);
    let value = match &measured.answers {
        Answers::Outcome(outcome) => {
            let part = outcome.select(rows);
            if let Some(bootstrap) = bootstrap {
                found.interval = bootstrap.intervals(&part, std::slice::from_ref(metric))?.pop().flatten();
            }
            metric.of(&part)
        }
        Answers::Sums(sums) => {
            let Some(sum) = sums.iter().find(|sum| sum.name == metric.name()) else { return Ok(found) };
            let part = [sum.select(rows)];
            if let Some(bootstrap) = bootstrap {
                found.interval = bootstrap.intervals_of_sums(&part)?.pop().flatten();
            }
            part[0].of()
        }
    };
    match value {
        Ok(value) => found.value = Some(value),
        Err(MetricError::Undefined { .. }) => found.interval = None,
        Err(error) => return Err(error.into()),
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(text: &str, pair: Option<&str>, label: Label) -> Example {
        Example { text: text.into(), pair: pair.map(str::to_string), label: Some(label), row: 1, id: None }
    }

    #[test]
    fn conditions_hold_of_what_they_say() {
        let spam = example("Win NOT now 123", Some("see here"), Label::One("spam".into()));
        for (text, expected) in [
            ("text contains not", true),
            ("text lacks not", false),
            ("text contains \"not now\"", true),
            ("pair contains HERE", true),
            ("text matches [0-9]{3}$", true),
            ("text matches ^[0-9]", false),
            ("words = 6", true),
            ("words > 6", false),
            ("characters >= 23", true),
            ("label = spam and words < 7", true),
            ("label = spam and words < 6", false),
            ("label != spam", false),
            ("score > 0", false),
        ] {
            assert_eq!(text.parse::<Predicate>().unwrap().holds(&spam), expected, "{text}");
        }
        let scored = example("a", None, Label::Score(2.5));
        assert!("score > 2".parse::<Predicate>().unwrap().holds(&scored));
        assert!("pair lacks x".parse::<Predicate>().unwrap().holds(&scored));
        let many = example("a", None, Label::Many(vec!["x".into(), "y".into()]));
        assert!("label = y".parse::<Predicate>().unwrap().holds(&many));
    }

    #[test]
    fn what_is_no_condition_is_told() {
        for (text, said) in [
            ("", "is no condition"),
            ("words", "is no condition"),
            ("words > many", "is no number"),
            ("words contains 3", "compares no numbers"),
            ("body contains x", "body contains is not known"),
            ("text matches (", "unclosed"),
            ("text contains \"\"", "with nothing"),
            ("label > spam", "label > is not known"),
        ] {
            let error = text.parse::<Predicate>().unwrap_err().to_string();
            assert!(error.contains(said) && error.contains("label = spam"), "{text}: {error}");
        }
    }

    #[test]
    fn lengths_are_cut_into_parts_of_like_size() {
        let lengths: Vec<usize> = (0..200).map(|n| 1 + n % 100).collect();
        let parts = by_length(&lengths);
        let names: Vec<(&str, usize)> =
            parts.iter().map(|(name, rows)| (name.as_str(), rows.len())).collect();
        assert_eq!(
            names,
            [
                ("up to 25 tokens", 50),
                ("26 to 50 tokens", 50),
                ("51 to 75 tokens", 50),
                ("more than 75 tokens", 50)
            ]
        );
        assert!(by_length(&[5; 200]).is_empty(), "all of one length");
        assert!(by_length(&[1, 2, 3]).is_empty(), "too few");
        let mostly: Vec<usize> = (0..100).map(|n| if n < 90 { 7 } else { 9 }).collect();
        let names: Vec<String> = by_length(&mostly).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["up to 7 tokens", "more than 7 tokens"]);
    }
}
