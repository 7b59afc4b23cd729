//! Replies in a conversation: told from others, foretold, and written.
//!
//! Paper: Dinan et al. 2019, "The Second Conversational Intelligence Challenge (ConvAI2)", section on automatic metrics
//! (perplexity, F1, Hits@1), <https://arxiv.org/abs/1902.00098>; as ParlAI computes them.

use super::squad::{Squad, f1, without_articles};
use super::summed::{first_by_second, listed};
use super::texts::referenced;
use super::{METRICS, MetricError, MetricSpec, Ranked, Summed, Task, TextLoss, language, ranking};

/// The entry in the list.
pub(super) const WORD_F1: MetricSpec = listed(
    "word-f1",
    "f1 of the words of a written reply and the right one, but for case, articles and punctuation; averaged",
    "https://github.com/facebookresearch/ParlAI/blob/main/parlai/core/metrics.py",
    &[Task::Dialog],
);

/// What telling replies apart and foretelling them is measured by: `hits@1`, `hits@3`, `hits@10`, `mrr` and `perplexity`.
///
/// # Shapes
/// - `lists`: `[exchanges]`, the candidates of each in order, of which the right one is relevant
/// - `costs`: `[exchanges]`, what the words of the right reply cost
///
/// # Errors
/// No exchanges, lengths that differ, a loss that is NaN or infinite.
pub fn dialog(lists: &[Ranked], costs: &[TextLoss]) -> Result<Vec<Summed>, MetricError> {
    if lists.len() != costs.len() {
        let (expected, got) = (lists.len(), costs.len());
        return Err(MetricError::Length { what: "costs of replies", expected, got });
    }
    let applies =
        |sum: &Summed| METRICS.iter().any(|spec| spec.name == sum.name && spec.tasks.contains(&Task::Dialog));
    Ok(ranking(lists)?.into_iter().chain(language(costs)?).filter(applies).collect())
}

/// `word-f1`: how many words a written reply shares with the right one, each counted as often as it stands in both. Of several
/// references each reply is held against the nearest. Unlike in [`answers`](super::answers), punctuation parts words.
///
/// # Shapes
/// - `references`: `[exchanges]` lists of at least one text
/// - `replies`: `[exchanges]`
///
/// # Errors
/// No exchanges, lengths that differ, an exchange without a reference.
pub fn word_f1<R: AsRef<[S]>, S: AsRef<str>, A: AsRef<str>>(
    references: &[R],
    replies: &[A],
) -> Result<Summed, MetricError> {
    let rows = referenced(references, replies)?.into_iter().flat_map(|(references, reply)| {
        let reply = normalized(reply.as_ref());
        let of = |reference: &S| f1(&normalized(reference.as_ref()), &reply, Squad::One);
        [references.iter().map(of).fold(0.0, f64::max), 1.0]
    });
    Summed::new(WORD_F1.name, 2, rows.collect(), first_by_second)
}

/// Lower case, a space for each mark of ASCII's punctuation, no English articles, one space between words.
fn normalized(text: &str) -> String {
    let spaced = |c: char| if c.is_ascii_punctuation() { ' ' } else { c };
    let text: String = text.to_lowercase().chars().map(spaced).collect();
    without_articles(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Evaluation;

    #[test]
    fn marks_part_words_where_answers_lose_them() {
        assert_eq!(normalized("  The cat's, an A-team! "), "cat s team");
        let f1 = |reference: &str, reply: &str| word_f1(&[[reference]], &[reply]).unwrap().of().unwrap();
        assert_eq!(f1("i like to ski .", "do you like to ski?"), 2.0 * 3.0 / 9.0);
        assert_eq!(f1("yes", "no"), 0.0);
        assert_eq!(f1("the", "a"), 0.0, "nothing is left to be shared");
        let two = [["a b", "c d e"]];
        assert_eq!(word_f1(&two, &["c d"]).unwrap().of().unwrap(), 0.8);
    }

    #[test]
    fn ranks_costs_and_words_are_measured_together() {
        let lists = [
            Ranked { gains: vec![1.0, 0.0], missed: Vec::new() },
            Ranked { gains: vec![0.0, 0.0, 0.0, 1.0], missed: Vec::new() },
        ];
        let cost = |tokens: u64| TextLoss {
            loss: tokens as f64 * std::f64::consts::LN_2,
            tokens,
            ..TextLoss::default()
        };
        let mut sums = dialog(&lists, &[cost(3), cost(5)]).unwrap();
        sums.push(word_f1(&[["x y"], ["z"]], &["x", "z"]).unwrap());
        let evaluation = Evaluation::of_sums(Task::Dialog, &sums, Vec::new(), None).unwrap();
        for (name, expected) in [
            ("hits@1", 0.5),
            ("hits@3", 0.5),
            ("hits@10", 1.0),
            ("mrr", 0.625),
            ("perplexity", 2.0),
            ("word-f1", (2.0 / 3.0 + 1.0) / 2.0),
        ] {
            assert!((evaluation.value(name).unwrap() - expected).abs() < 1e-12, "{name}");
        }
        assert_eq!(evaluation.values.len(), 6);
        assert_eq!(evaluation.headline(), ["word-f1", "mrr", "hits@1", "perplexity"]);
        assert!(dialog(&lists, &[cost(3)]).unwrap_err().to_string().contains("expected 2"));
        assert_eq!(dialog(&[], &[]).unwrap_err(), MetricError::Empty);
    }
}
