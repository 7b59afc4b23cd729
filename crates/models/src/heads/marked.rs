//! Which tokens of a batch a head is asked about.

use std::ops::Range;

use topwork_text::Packed;

use crate::error::Error;

/// The marked ranges of all texts, each as rows of the batch.
///
/// # Errors
/// [`Error::Marks`] for texts without marks where others have some, and for ranges without a token of their text.
pub(crate) fn rows(input: &Packed, head: &'static str) -> Result<Vec<Range<u32>>, Error> {
    let wrong =
        |text, expected: &str, got| Err(Error::Marks { head, text, expected: expected.to_string(), got });
    let marks = &input.marks;
    if marks.len() != input.batch() {
        let got = format!("{} of {} texts with them", marks.len(), input.batch());
        return wrong(marks.len().min(input.batch()), "marks of each text", got);
    }
    let mut rows = Vec::with_capacity(marks.total());
    for text in 0..marks.len() {
        let tokens = input.range(text);
        for Range { start, end } in marks.of(text) {
            if start >= end || end as usize > tokens.len() {
                let expected = format!("ranges with a token, up to {}", tokens.len());
                return wrong(text, &expected, format!("{start} to {end}"));
            }
            rows.push(tokens.start as u32 + start..tokens.start as u32 + end);
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_counted_over_the_batch() {
        let mut input = Packed::from_ids(&[vec![1, 2, 3], vec![4], vec![5, 6]]);
        let refuse = |input: &Packed, part: &str| {
            let error = rows(input, "parse").unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        };
        refuse(
            &input,
            "in text 0 of the batch (counted from 0) expected marks of each text, got 0 of 3 texts",
        );
        input.marks.push([1..3, 0..1]);
        input.marks.push([]);
        let mut wrong = input.clone();
        wrong.marks.push(std::iter::once(1..3));
        refuse(
            &wrong,
            "in text 2 of the batch (counted from 0) expected ranges with a token, up to 2, got 1 to 3",
        );
        let mut wrong = input.clone();
        wrong.marks.push(std::iter::once(1..1));
        refuse(&wrong, "got 1 to 1");
        input.marks.push(std::iter::once(1..2));
        assert_eq!(rows(&input, "parse").unwrap(), [1..3, 0..1, 5..6]);
    }
}
