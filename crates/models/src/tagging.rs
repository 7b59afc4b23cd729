//! From scores of tokens to labels: the best labelling as a whole, and labels that may not follow each other.

use topwork_kernels::crf::{self, Barred, Chain};
use topwork_kernels::loss::IGNORE;
use topwork_nn::ParamId;

use crate::error::Error;
use crate::model::Model;

/// The parameters of a conditional random field over labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrfParams {
    /// `[labels, labels]`, from the row's label to the column's.
    pub transitions: ParamId,
    /// `[labels]`, of the first label of a text.
    pub start: ParamId,
    /// `[labels]`, of the last label of a text.
    pub end: ParamId,
}

/// What a label says of its place in an entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place<'a> {
    /// Outside of all, or not a label of such a scheme.
    Outside,
    /// The first of several words, or of any number in schemes without marks of the last.
    Begin(&'a str),
    /// A word after the first.
    Inside(&'a str),
    /// The last of several words.
    End(&'a str),
    /// The only word.
    Single(&'a str),
}

impl<'a> Place<'a> {
    fn of(label: &'a str) -> Self {
        match label.split_once(['-', '_']) {
            Some(("B", kind)) => Place::Begin(kind),
            Some(("I" | "M", kind)) => Place::Inside(kind),
            Some(("E" | "L", kind)) => Place::End(kind),
            Some(("S" | "U", kind)) => Place::Single(kind),
            _ => Place::Outside,
        }
    }
}

/// The steps that the labels' scheme does not have: BIO, in which an entity goes on only from one of its kind, or BIOES and BILOU,
/// in which it also has to end. Kinds without a label for their beginning may begin anywhere (IO). Labels of no scheme may follow
/// everything.
///
/// Paper: Ratinov and Roth 2009, "Design Challenges and Misconceptions in Named Entity Recognition", section 4 (the schemes),
/// <https://aclanthology.org/W09-1119>
pub fn forbidden(labels: &[String]) -> Barred {
    let places: Vec<Place> = labels.iter().map(|label| Place::of(label)).collect();
    let begins = |kind: &str| places.contains(&Place::Begin(kind));
    let ends = |kind: &str| places.contains(&Place::End(kind));
    let allowed = |from: Place, to: Place| {
        // The kind that has to go on, and the one that must have begun.
        let open = match from {
            Place::Begin(kind) | Place::Inside(kind) if ends(kind) => Some(kind),
            _ => None,
        };
        let (before, wanted) = match (from, to) {
            (Place::Begin(before) | Place::Inside(before), Place::Inside(kind) | Place::End(kind)) => {
                (Some(before), Some(kind))
            }
            (_, Place::Inside(kind) | Place::End(kind)) => (None, Some(kind)),
            _ => (None, None),
        };
        match wanted {
            Some(kind) => before == Some(kind) || (!begins(kind) && open.is_none()),
            None => open.is_none(),
        }
    };
    let pairs = places.iter().flat_map(|&from| places.iter().map(move |&to| (from, to)));
    Barred {
        start: places.iter().map(|&to| !allowed(Place::Outside, to)).collect(),
        between: pairs.map(|(from, to)| !allowed(from, to)).collect(),
        end: places.iter().map(|&from| !allowed(from, Place::Outside)).collect(),
    }
}

/// The rows of the tokens that are asked for.
struct Asked {
    rows: Vec<usize>,
    scores: Vec<f32>,
    offsets: Vec<u32>,
    labels: usize,
}

impl Asked {
    fn new(scores: &[f32], offsets: &[u32], asked: Option<&[bool]>) -> Result<Self, Error> {
        let tokens = offsets.last().map_or(0, |&last| last as usize);
        let labels = scores.len() / tokens.max(1);
        let wrong = |what: &str, expected: String, got: usize| Error::Setting {
            setting: what.to_string(),
            expected,
            got: got.to_string(),
        };
        let rising = offsets.first() == Some(&0) && offsets.is_sorted();
        if !rising || tokens == 0 || labels == 0 || scores.len() != tokens * labels {
            let expected = format!("scores of {tokens} tokens, as many as the texts have");
            return Err(wrong("scores to label", expected, scores.len()));
        }
        if let Some(asked) = asked.filter(|asked| asked.len() != tokens) {
            return Err(wrong("tokens to label", format!("an answer for each of {tokens}"), asked.len()));
        }
        let is_asked = |row: &usize| asked.is_none_or(|asked| asked[*row]);
        let mut rows = Vec::new();
        let mut own = vec![0];
        for pair in offsets.windows(2) {
            rows.extend((pair[0] as usize..pair[1] as usize).filter(is_asked));
            own.push(rows.len() as u32);
        }
        let scores = rows.iter().flat_map(|row| &scores[row * labels..(row + 1) * labels]).copied().collect();
        Ok(Asked { rows, scores, offsets: own, labels })
    }
}

impl Model {
    /// The best labels of the tokens asked for, as one labelling of each text, and [`IGNORE`] for the others: with the transitions
    /// of the head's random field if it has one, and without the steps that are barred (see [`forbidden`]). Without either it is
    /// the highest score of each token.
    ///
    /// # Shapes
    /// - `scores`: `[tokens, labels]`, as [`Model::predict`] gives them; `offsets`: `[batch + 1]`; `asked` and result: `[tokens]`
    ///
    /// # Errors
    /// Numbers that do not fit together; a parameter without values.
    pub fn best_labels(
        &self,
        scores: &[f32],
        offsets: &[u32],
        asked: Option<&[bool]>,
        barred: Option<&Barred>,
    ) -> Result<Vec<u32>, Error> {
        let tokens = offsets.last().map_or(0, |&last| last as usize);
        let asked = Asked::new(scores, offsets, asked)?;
        if let Some(barred) = barred.filter(|barred| barred.start.len() != asked.labels) {
            return Err(Error::Setting {
                setting: "steps that are barred".to_string(),
                expected: format!("an answer for each of {} labels", asked.labels),
                got: barred.start.len().to_string(),
            });
        }
        let chain = self.chain(asked.labels)?;
        let chain = Chain { transitions: &chain[0], start: &chain[1], end: &chain[2] };
        let best = crf::viterbi(&asked.scores, &asked.offsets, chain, barred);
        let mut labels = vec![IGNORE; tokens];
        asked.rows.iter().zip(best).for_each(|(&row, label)| labels[row] = label);
        Ok(labels)
    }

    /// The probability of each label of the tokens asked for, over all labellings of a text, and zeros for the others: with the
    /// transitions of the head's random field if it has one, else the softmax of each token's scores.
    ///
    /// # Shapes
    /// - `scores` and result: `[tokens, labels]`; `offsets`: `[batch + 1]`; `asked`: `[tokens]`
    ///
    /// # Errors
    /// As [`Model::best_labels`].
    pub fn label_shares(
        &self,
        scores: &[f32],
        offsets: &[u32],
        asked: Option<&[bool]>,
    ) -> Result<Vec<f32>, Error> {
        let asked = Asked::new(scores, offsets, asked)?;
        let labels = asked.labels;
        let chain = self.chain(labels)?;
        let chain = Chain { transitions: &chain[0], start: &chain[1], end: &chain[2] };
        let found = crf::marginals(&asked.scores, &asked.offsets, chain);
        let mut shares = vec![0.0; scores.len()];
        for (row, found) in asked.rows.iter().zip(found.chunks_exact(labels)) {
            shares[row * labels..(row + 1) * labels].copy_from_slice(found);
        }
        Ok(shares)
    }

    /// Transitions, start and end: zeros where the head has none.
    fn chain(&self, labels: usize) -> Result<[Vec<f32>; 3], Error> {
        match self.parts().1.crf() {
            None => Ok([vec![0.0; labels * labels], vec![0.0; labels], vec![0.0; labels]]),
            Some(params) => {
                let values = |id| Ok::<_, Error>(self.store.values(id)?);
                Ok([values(params.transitions)?, values(params.start)?, values(params.end)?])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(labels: &[&str], allowed: &[(&str, &str)]) {
        let names: Vec<String> = labels.iter().map(|label| label.to_string()).collect();
        let barred = forbidden(&names);
        let ends = |label: &str| label == "^" || label == "$";
        assert!(allowed.iter().all(|(a, b)| [a, b].iter().all(|l| ends(l) || labels.contains(l))));
        for (i, from) in labels.iter().enumerate() {
            assert_eq!(!barred.start[i], allowed.contains(&("^", from)), "{from} first");
            assert_eq!(!barred.end[i], allowed.contains(&(from, "$")), "{from} last");
            for (j, to) in labels.iter().enumerate() {
                let got = !barred.between[i * labels.len() + j];
                assert_eq!(got, allowed.contains(&(from, to)), "{from} to {to}");
            }
        }
    }

    #[test]
    fn in_bio_an_entity_goes_on_only_from_its_kind() {
        check(
            &["O", "B-X", "I-X", "B-Y", "I-Y"],
            &[
                ("^", "O"),
                ("^", "B-X"),
                ("^", "B-Y"),
                ("O", "O"),
                ("O", "B-X"),
                ("O", "B-Y"),
                ("B-X", "O"),
                ("B-X", "B-X"),
                ("B-X", "I-X"),
                ("B-X", "B-Y"),
                ("I-X", "O"),
                ("I-X", "B-X"),
                ("I-X", "I-X"),
                ("I-X", "B-Y"),
                ("B-Y", "O"),
                ("B-Y", "B-X"),
                ("B-Y", "B-Y"),
                ("B-Y", "I-Y"),
                ("I-Y", "O"),
                ("I-Y", "B-X"),
                ("I-Y", "B-Y"),
                ("I-Y", "I-Y"),
                ("O", "$"),
                ("B-X", "$"),
                ("I-X", "$"),
                ("B-Y", "$"),
                ("I-Y", "$"),
            ],
        );
    }

    #[test]
    fn in_bioes_an_entity_has_to_end() {
        for [begin, inside, end, single] in [["B-X", "I-X", "E-X", "S-X"], ["B-X", "I-X", "L-X", "U-X"]] {
            check(
                &["O", begin, inside, end, single],
                &[
                    ("^", "O"),
                    ("^", begin),
                    ("^", single),
                    ("O", "O"),
                    ("O", begin),
                    ("O", single),
                    (begin, inside),
                    (begin, end),
                    (inside, inside),
                    (inside, end),
                    (end, "O"),
                    (end, begin),
                    (end, single),
                    (single, "O"),
                    (single, begin),
                    (single, single),
                    ("O", "$"),
                    (end, "$"),
                    (single, "$"),
                ],
            );
        }
    }

    #[test]
    fn without_marks_of_beginning_everything_may_follow() {
        let all = ["O", "I-X", "I-Y"];
        let pairs: Vec<(&str, &str)> = ["^", "O", "I-X", "I-Y"]
            .into_iter()
            .flat_map(|from| ["O", "I-X", "I-Y", "$"].into_iter().map(move |to| (from, to)))
            .collect();
        check(&all, &pairs);
        let words = ["NOUN", "VERB"];
        let pairs: Vec<(&str, &str)> = ["^", "NOUN", "VERB"]
            .into_iter()
            .flat_map(|from| ["NOUN", "VERB", "$"].into_iter().map(move |to| (from, to)))
            .collect();
        check(&words, &pairs);
    }
}
