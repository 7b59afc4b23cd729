//! What a text costs a language model, and how often it guesses right.
//!
//! Paper: Jelinek et al. 1977 (perplexity), <https://doi.org/10.1121/1.2016299>.

use super::summed::{first_by_second, listed};
use super::{Computed, MetricError, MetricSpec, Summed, Task, Undefined};

const TASKS: &[Task] = &[Task::Words];

/// The entry in the list.
pub(super) const PERPLEXITY: MetricSpec = MetricSpec {
    higher_is_better: false,
    ..listed(
        "perplexity",
        "exponential of the mean negative log likelihood of a token",
        "https://huggingface.co/docs/transformers/perplexity",
        // Of texts that were not written but given: what the right ones cost.
        &[Task::Words, Task::Texts, Task::Dialog],
    )
};

/// The entry in the list.
pub(super) const BITS_PER_BYTE: MetricSpec = MetricSpec {
    higher_is_better: false,
    ..listed(
        "bits-per-byte",
        "bits for each byte of the text: compares models of different tokenizers",
        "https://arxiv.org/abs/2101.00027",
        TASKS,
    )
};

/// The entry in the list.
pub(super) const TOKEN_ACCURACY: MetricSpec = listed(
    "token-accuracy",
    "share of tokens that are the likeliest at their place",
    "https://huggingface.co/docs/transformers/perplexity",
    TASKS,
);

/// The entry in the list.
pub(super) const WORD_ACCURACY: MetricSpec = listed(
    "word-accuracy",
    "share of words all of whose tokens are the likeliest",
    "https://arxiv.org/abs/1606.06031",
    TASKS,
);

/// What one text cost, and what of it was guessed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TextLoss {
    /// Sum of the negative natural log likelihoods of the tokens that were asked for.
    pub loss: f64,
    /// Tokens that were asked for.
    pub tokens: u64,
    /// Bytes of the text they stand for, where known.
    pub bytes: Option<u64>,
    /// Tokens among them that were the likeliest at their place, where known.
    pub right_tokens: Option<u64>,
    /// Words that were asked for, where known.
    pub words: Option<u64>,
    /// Words among them all of whose tokens were the likeliest, where known.
    pub right_words: Option<u64>,
}

/// The measures of a language model that its texts allow: `perplexity`, and `bits-per-byte`, `token-accuracy` and
/// `word-accuracy` where every text says what they need. A text of more tokens weighs more.
///
/// # Errors
/// No texts, a loss that is NaN or infinite.
pub fn language(texts: &[TextLoss]) -> Result<Vec<Summed>, MetricError> {
    let pairs = |of: fn(&TextLoss) -> Option<[f64; 2]>| {
        let pairs: Option<Vec<[f64; 2]>> = texts.iter().map(of).collect();
        pairs.map(|pairs| pairs.concat())
    };
    type Measure<'a> = (&'a MetricSpec, Option<Vec<f64>>, fn(&[f64]) -> Computed);
    let measures: [Measure; 4] = [
        (&PERPLEXITY, pairs(|text| Some([text.loss, text.tokens as f64])), perplexity),
        (&BITS_PER_BYTE, pairs(|text| text.bytes.map(|bytes| [text.loss, bytes as f64])), bits),
        (
            &TOKEN_ACCURACY,
            pairs(|text| text.right_tokens.map(|right| [right as f64, text.tokens as f64])),
            first_by_second,
        ),
        (&WORD_ACCURACY, pairs(|text| Some([text.right_words? as f64, text.words? as f64])), first_by_second),
    ];
    let known = measures.into_iter().filter_map(|(spec, pairs, value)| Some((spec, pairs?, value)));
    known.map(|(spec, pairs, value)| Summed::new(spec.name, 2, pairs, value)).collect()
}

fn perplexity(sums: &[f64]) -> Computed {
    let value = first_by_second(sums)?.exp();
    if value.is_finite() { Ok(value) } else { Err(Undefined("it is larger than a number can be")) }
}

fn bits(sums: &[f64]) -> Computed {
    Ok(first_by_second(sums)? / std::f64::consts::LN_2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Evaluation;

    #[test]
    fn long_texts_weigh_more_and_what_is_unknown_is_not_measured() {
        let ln2 = std::f64::consts::LN_2;
        let first = TextLoss {
            loss: 6.0 * ln2,
            tokens: 2,
            bytes: Some(12),
            right_tokens: Some(1),
            ..Default::default()
        };
        let second = TextLoss {
            loss: 2.0 * ln2,
            tokens: 6,
            bytes: Some(20),
            right_tokens: Some(5),
            ..Default::default()
        };
        let evaluation = |texts: &[TextLoss]| {
            Evaluation::of_sums(Task::Words, &language(texts).unwrap(), Vec::new(), None).unwrap()
        };
        let both = evaluation(&[first, second]);
        for (name, expected) in [("perplexity", 2.0), ("bits-per-byte", 0.25), ("token-accuracy", 0.75)] {
            assert!((both.value(name).unwrap() - expected).abs() < 1e-12, "{name}");
        }
        assert!(both.value("word-accuracy").unwrap_err().to_string().contains("not measured"));
        let unknown = evaluation(&[first, TextLoss { bytes: None, ..second }]);
        assert!(unknown.value("bits-per-byte").is_err() && unknown.value("perplexity").is_ok());
        let words = TextLoss { words: Some(4), right_words: Some(3), ..first };
        assert_eq!(evaluation(&[words]).value("word-accuracy").unwrap(), 0.75);
    }

    #[test]
    fn losses_without_a_perplexity_are_told() {
        assert_eq!(language(&[]).unwrap_err(), MetricError::Empty);
        let nan = TextLoss { loss: f64::NAN, tokens: 1, ..Default::default() };
        assert!(language(&[nan]).unwrap_err().to_string().contains("row 0"));
        let nothing = language(&[TextLoss::default()]).unwrap();
        assert!(nothing[0].of().unwrap_err().to_string().contains("nothing was there"));
        let huge = language(&[TextLoss { loss: 1e4, tokens: 1, ..Default::default() }]).unwrap();
        assert!(huge[0].of().unwrap_err().to_string().contains("larger"));
    }
}
