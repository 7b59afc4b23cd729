//! Words in any order: each is predicted from those before it in an order that is drawn, wherever they stand.
//!
//! Paper: Yang et al. 2019, "XLNet", sections 2.2 and 2.3, <https://arxiv.org/abs/1906.08237>

use burn::tensor::Tensor;
use topwork_kernels::pool::Pool;
use topwork_kernels::rng::{Stream, derive};
use topwork_nn::{Init, ParamId, ParamKind, ParamStore, Pass};
use topwork_text::Packed;

use crate::error::Error;
use crate::family::Encoder;
use crate::head::{Head, HeadEntry, HeadSpec, LossOptions, Permuted, Targets};
use crate::heads::words::Words;

/// The entry in the list.
pub const ENTRY: HeadEntry = HeadEntry {
    name: "permutation-lm",
    summary: "words in any order, for families that keep a place apart from its word",
    paper: "https://arxiv.org/abs/1906.08237",
    build,
};

/// Path of what stands for a word that is asked for.
pub const UNKNOWN: &str = "mask.weight";

/// How orders are drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawing {
    /// Of so many words one is asked for (the K of section 2.3; the paper has 6 and 7).
    pub one_in: usize,
    /// Ids that are never asked for: special tokens.
    pub never: Vec<u32>,
}

/// Draws an order of each text and asks for its last words: of `n` tokens that may be asked for `n / one_in`, but at least one.
/// Those before them count as known: they see each other and are seen by all, as in the original release.
///
/// The order of a text depends on the seed and its number in the batch alone.
///
/// # Shapes
/// - see [`Permuted`]
///
/// # Errors
/// [`Error::Permuted`] where nothing can be asked for, or for a `one_in` of 0.
pub fn draw(input: &Packed, drawing: &Drawing, seed: u64) -> Result<Permuted, Error> {
    if drawing.one_in == 0 {
        return Err(Error::Permuted { expected: "one word in 1 or more".to_string(), got: "0".to_string() });
    }
    let (mut visible, mut asked) = (Vec::new(), Vec::new());
    for number in 0..input.batch() {
        let (ids, _) = input.sequence(number);
        let mut places: Vec<usize> = (0..ids.len()).filter(|&at| !drawing.never.contains(&ids[at])).collect();
        Stream(derive(seed, &format!("order.{number}"))).shuffle(&mut places);
        // A text of one token has nothing to predict it from.
        let most = places.len().min(ids.len().saturating_sub(1));
        places.truncate((places.len() / drawing.one_in).max(1).min(most));
        // Known words have rank 0, the others the place at which they are asked for.
        let mut ranks = vec![0; ids.len()];
        for (rank, &place) in places.iter().enumerate() {
            ranks[place] = rank + 1;
        }
        for &row in &ranks {
            visible.extend(ranks.iter().map(|&column| u8::from(column == 0 || column < row)));
        }
        let first = input.range(number).start;
        places.sort_unstable();
        asked.extend(places.iter().map(|place| (first + place) as u32));
    }
    if asked.is_empty() {
        let expected = "a text with a word that may be asked for, and another token".to_string();
        return Err(Error::Permuted { expected, got: format!("{} texts without", input.batch()) });
    }
    let words = asked.iter().map(|&token| input.ids[token as usize]).collect();
    Ok(Permuted { visible: visible.into(), asked: asked.into(), words })
}

struct PermutationLm {
    words: Words,
    unknown: ParamId,
}

fn build(_: &HeadSpec, encoder: &dyn Encoder, store: &mut ParamStore) -> Result<Box<dyn Head>, Error> {
    if encoder.two_streams().is_none() {
        return Err(Error::OneStream { head: ENTRY.name });
    }
    let size = encoder.size();
    let unknown = store.declare(UNKNOWN, &[1, size.hidden], 0, ParamKind::Weight, Init::Normal(size.std));
    store.split(unknown, &[1, 1, size.hidden]);
    Ok(Box::new(PermutationLm { words: Words::declare(ENTRY.name, store, encoder), unknown }))
}

impl Head for PermutationLm {
    fn pooled(&self) -> Option<Pool> {
        None
    }

    fn unknown(&self) -> Option<ParamId> {
        Some(self.unknown)
    }

    fn forward(&self, pass: &Pass, x: Tensor<2>, input: &Packed) -> Result<Tensor<2>, Error> {
        self.words.forward(pass, x, input)
    }

    fn loss(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        input: &Packed,
        targets: &Targets,
        options: &LossOptions,
    ) -> Result<Tensor<1>, Error> {
        self.words.loss(pass, x, input, targets, options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts() -> Packed {
        Packed::new((0..16).collect(), vec![0; 16], vec![0, 12, 13, 16]).unwrap()
    }

    #[test]
    fn the_last_words_of_an_order_are_asked_for() {
        let drawing = Drawing { one_in: 3, never: vec![0, 11] };
        let input = texts();
        let drawn = draw(&input, &drawing, 5).unwrap();
        drawn.check(&input).unwrap();
        // 10 of the first text may be asked for, none of the second, which is one token, and 3 of the third.
        let of = |range: std::ops::Range<u32>| drawn.asked.iter().filter(|&at| range.contains(at)).count();
        assert_eq!([of(0..12), of(12..13), of(13..16)], [3, 0, 1]);
        assert!(!drawn.asked.contains(&0) && !drawn.asked.contains(&11));
        assert_eq!(drawn.words, drawn.asked, "ids are places in this text");
        // Nothing asked for is seen by itself or by what is known, and of two of them one sees the other.
        let seen = |row: u32, column: u32| drawn.visible[(row * 12 + column) as usize] == 1;
        let asked: Vec<u32> = drawn.asked.iter().copied().filter(|&at| at < 12).collect();
        for &place in &asked {
            assert!(!seen(place, place) && !seen(0, place) && seen(place, 0));
            for &other in asked.iter().filter(|&&other| other != place) {
                assert_ne!(seen(place, other), seen(other, place));
            }
        }
        assert_eq!(draw(&input, &drawing, 5).unwrap(), drawn);
        assert_ne!(draw(&input, &drawing, 6).unwrap(), drawn);
    }

    #[test]
    fn an_order_depends_on_its_text_alone() {
        let drawing = Drawing { one_in: 4, never: vec![] };
        let all = draw(&texts(), &drawing, 1).unwrap();
        let first = draw(&texts().select(&[0]), &drawing, 1).unwrap();
        assert_eq!(all.visible[..144], first.visible[..]);
    }

    #[test]
    fn what_cannot_be_drawn_or_does_not_fit_is_said() {
        let input = texts();
        let error = |result: Result<Permuted, Error>| result.unwrap_err().to_string();
        assert!(error(draw(&input, &Drawing { one_in: 0, never: vec![] }, 1)).contains("got 0"));
        let never = (0..16).collect();
        assert!(error(draw(&input, &Drawing { one_in: 2, never }, 1)).contains("3 texts without"));
        let good = draw(&input, &Drawing { one_in: 2, never: vec![] }, 1).unwrap();
        let check = |permuted: Permuted, part: &str| {
            let error = permuted.check(&input).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        };
        check(Permuted { visible: [1; 4].into(), ..good.clone() }, "154 pairs");
        check(Permuted { asked: [].into(), ..good.clone() }, "at least one");
        check(Permuted { words: [3].into(), ..good.clone() }, "words");
        check(Permuted { asked: [2, 2].into(), words: [1, 1].into(), ..good.clone() }, "rise");
        check(Permuted { asked: [16].into(), words: [1].into(), ..good }, "below 16");
    }
}
