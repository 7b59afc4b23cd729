//! Which words an answer hangs on: each is taken out of the text, and the probability of the answer falls or rises.
//!
//! Paper: Li, Monroe, Jurafsky 2016, "Understanding Neural Networks through Representation Erasure", section 3,
//! <https://arxiv.org/abs/1612.08220>

use std::collections::HashMap;
use std::ops::Range;

use topwork_data::{Example, Label};
use topwork_kernels::gemm::Precision;
use topwork_models::Model;
use topwork_text::{Input, Packed, Tokenizer};

use crate::error::Error;
use crate::predictor::{run_batches, softmax};
use crate::prepare::Prepared;
use crate::report::{Mistakes, Weight};

/// Pieces a text is erased in at most: of a longer one several words at once.
const PIECES: usize = 40;
/// Pieces at least, however long the text.
const FEWEST: usize = 8;
/// Tokens read for one text, about: what a report may take for each of its mistakes.
const TOKENS: usize = 4000;

/// Marks in the worst mistakes what the wrong answer hangs on.
///
/// # Errors
/// What the model finds wrong.
pub(crate) fn mark(
    mistakes: &mut Mistakes,
    data: &Prepared,
    model: &Model,
    tokenizer: &Tokenizer,
    precision: Precision,
) -> Result<(), Error> {
    let dataset = &data.test.dataset;
    let places: HashMap<String, usize> = (0..dataset.len()).map(|at| (dataset.place(at), at)).collect();
    for mistake in &mut mistakes.worst {
        let class = data.labels.iter().position(|label| *label == mistake.predicted);
        let (Some(&at), Some(class)) = (places.get(&mistake.id), class) else { continue };
        let example = &dataset.examples[at];
        // Marked spans are shown in brackets, and taking one out leaves nothing to ask about.
        if !matches!(example.label, Some(Label::Related(_))) {
            mistake.weights = weights(example, class, model, tokenizer, data.max_length, precision)?;
        }
    }
    Ok(())
}

/// By how much each piece of the first text raises the probability of a class: what the probability loses without it. Empty for
/// a text that has only one.
///
/// # Errors
/// What the model finds wrong.
pub(crate) fn weights(
    example: &Example,
    class: usize,
    model: &Model,
    tokenizer: &Tokenizer,
    max_length: usize,
    precision: Precision,
) -> Result<Vec<Weight>, Error> {
    let text = example.text.as_str();
    let whole = Input { text, pair: example.pair.as_deref() };
    let length = tokenizer.encode_batch(&[whole], Some(max_length))?.first().map_or(0, |it| it.len());
    let pieces = pieces(text, (TOKENS / length.max(1)).clamp(FEWEST, PIECES));
    if pieces.len() < 2 {
        return Ok(Vec::new());
    }
    let without: Vec<String> =
        pieces.iter().map(|piece| format!("{}{}", &text[..piece.start], &text[piece.end..])).collect();
    let mut inputs = vec![whole];
    inputs.extend(without.iter().map(|text| Input { text, pair: example.pair.as_deref() }));
    let packed = Packed::from_encodings(&tokenizer.encode_batch(&inputs, Some(max_length))?);
    let outputs = run_batches(&packed, |batch| Ok(model.predict(batch, precision)?))?;
    let probability = |row: &[f32]| softmax(row).get(class).copied().unwrap_or_default();
    let mut rows = outputs.chunks(outputs.len() / inputs.len());
    let before = rows.next().map_or(0.0, probability);
    Ok(pieces
        .into_iter()
        .zip(rows)
        .map(|(piece, row)| Weight { start: piece.start, end: piece.end, value: before - probability(row) })
        .collect())
}

/// The words of a text; with more than `most`, as many neighbours at a time as it takes.
fn pieces(text: &str, most: usize) -> Vec<Range<usize>> {
    let words = topwork_data::words(text);
    let together = words.len().div_ceil(most.max(1)).max(1);
    words.chunks(together).filter_map(|words| Some(words.first()?.start..words.last()?.end)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_erased_in_few_pieces() {
        let text = "one two, three four";
        let shown =
            |most| -> Vec<&str> { pieces(text, most).into_iter().map(|piece| &text[piece]).collect() };
        assert_eq!(shown(40), ["one", "two", ",", "three", "four"]);
        assert_eq!(shown(2), ["one two,", "three four"]);
        assert!(pieces(" ", 5).is_empty());
        let long = "word ".repeat(1000);
        assert!(pieces(&long, PIECES).len() <= PIECES && pieces(&long, PIECES).len() > PIECES / 2);
    }
}
