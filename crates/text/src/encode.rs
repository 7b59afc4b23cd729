//! Texts into [`Encoding`]s: the fast way where there is one, the `tokenizers` crate where not.

use rayon::prelude::*;
use tokenizers::PostProcessor;
use tokenizers::utils::truncation::TruncationDirection;

use crate::guard::guarded;
use crate::{Encoding, Error, Origin, Result, Tokenizer, characters};

/// A text, or a pair of texts that one model input holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Input<'a> {
    /// The text.
    pub text: &'a str,
    /// The second text of a pair.
    pub pair: Option<&'a str>,
}

impl<'a> From<&'a str> for Input<'a> {
    fn from(text: &'a str) -> Self {
        Self { text, pair: None }
    }
}

impl<'a> From<(&'a str, &'a str)> for Input<'a> {
    fn from((text, pair): (&'a str, &'a str)) -> Self {
        Self { text, pair: Some(pair) }
    }
}

impl<'a> From<(&'a str, Option<&'a str>)> for Input<'a> {
    fn from((text, pair): (&'a str, Option<&'a str>)) -> Self {
        Self { text, pair }
    }
}

impl Tokenizer {
    /// Token ids of a text, or of a pair.
    ///
    /// With `max_tokens` the result, special tokens included, has at most so many: the longer text of a pair is cut
    /// first, always from its end, and [`Encoding::cut`] says how much. Without, nothing is cut.
    ///
    /// # Errors
    /// [`Error::TooShort`] if the limit leaves no room beside the special tokens; [`Error::Encode`] if the
    /// tokenizer has no token for some text and no unknown token; [`Error::Picture`] if texts are the paths of pictures, and
    /// this is none, or the limit would cut it.
    pub fn encode(&self, text: &str, pair: Option<&str>, max_tokens: Option<usize>) -> Result<Encoding> {
        let mut encodings = [Ok(Encoding::default())];
        self.encode_some(0, &[Input { text, pair }], max_tokens, &mut encodings);
        let [encoding] = encodings;
        encoding
    }

    /// Token ids of many texts or pairs, on all cores, in order: `&[&str]`, `&[(&str, &str)]` or `&[Input]`.
    ///
    /// # Errors
    /// As [`encode`](Self::encode), naming the first text that fails.
    pub fn encode_batch<'a, I>(&self, inputs: &[I], max_tokens: Option<usize>) -> Result<Vec<Encoding>>
    where
        I: Into<Input<'a>> + Copy + Sync,
    {
        // Texts in one go: enough of them to be worth a task, few enough that no core waits long for another.
        let some = (inputs.len() / (rayon::current_num_threads() * 8)).clamp(1, 64);
        let mut encodings: Vec<Result<Encoding>> = Vec::new();
        encodings.resize_with(inputs.len(), || Ok(Encoding::default()));
        let tasks = encodings.par_chunks_mut(some).zip(inputs.par_chunks(some)).enumerate();
        tasks.for_each(|(task, (encodings, inputs))| {
            self.encode_some(task * some, inputs, max_tokens, encodings);
        });
        encodings.into_iter().collect()
    }

    /// Encodes inputs, the first of which is number `from` of the call.
    fn encode_some<'a, I>(
        &self,
        from: usize,
        inputs: &[I],
        max_tokens: Option<usize>,
        encodings: &mut [Result<Encoding>],
    ) where
        I: Into<Input<'a>> + Copy,
    {
        if let Some(pictures) = &self.pictures {
            for (index, (encoding, &input)) in encodings.iter_mut().zip(inputs).enumerate() {
                *encoding = pictures.encode(from + index, input.into(), max_tokens);
            }
            return;
        }
        let mut fast = self.fast.as_ref().map(|fast| (fast, fast.take()));
        for (index, (encoding, &input)) in encodings.iter_mut().zip(inputs).enumerate() {
            let input = input.into();
            let found =
                fast.as_mut().and_then(|(fast, work)| fast.encode(&self.inner, input, max_tokens, work));
            *encoding = match found {
                Some(mut found) => {
                    if self.spaced
                        && let Ok(encoding) = &mut found
                    {
                        whole_characters(encoding, input);
                    }
                    found
                }
                None => self.encode_slowly(from + index, input, max_tokens),
            };
            if self.characters
                && let Ok(encoding) = encoding
            {
                encoding.chars = self.characters_of(encoding, input);
            }
        }
        if let Some((fast, work)) = fast {
            fast.put_back(work);
        }
    }

    /// Ids of texts, one after the other: `each` is given what puts them at the end of others, and says how many
    /// the limit cut off.
    pub(crate) fn ids_of<'a>(
        &self,
        texts: impl Iterator<Item = &'a str>,
        max_tokens: Option<usize>,
        mut each: impl FnMut(&mut dyn FnMut(&mut Vec<u32>) -> Result<usize>) -> Result<()>,
    ) -> Result<()> {
        self.only_texts()?;
        let mut fast = self.fast.as_ref().map(|fast| (fast, fast.take()));
        let mut done = Ok(());
        for (index, text) in texts.enumerate() {
            let input = Input::from(text);
            done = each(&mut |ids| {
                let found = fast
                    .as_mut()
                    .and_then(|(fast, work)| fast.ids(&self.inner, input, max_tokens, work, ids));
                found.unwrap_or_else(|| {
                    let encoding = self.encode_slowly(index, input, max_tokens)?;
                    ids.extend_from_slice(&encoding.ids);
                    Ok(encoding.cut)
                })
            });
            if done.is_err() {
                break;
            }
        }
        if let Some((fast, work)) = fast {
            fast.put_back(work);
        }
        done
    }

    /// Encodes one input with the `tokenizers` crate.
    pub(crate) fn encode_slowly(
        &self,
        index: usize,
        input: Input<'_>,
        max_tokens: Option<usize>,
    ) -> Result<Encoding> {
        let failed = |error: tokenizers::Error| Error::Encode {
            index,
            start: input.text.chars().take(40).collect(),
            reason: error.to_string(),
        };
        // Without post-processor this is the bare text; `false` because there is nothing to add it with.
        let raw = |text: &str| guarded(|| self.inner.encode(text, false)).map_err(failed);
        let mut first = raw(input.text)?;
        let mut second = input.pair.map(raw).transpose()?;

        let added = self.added_tokens(second.is_some());
        let lengths = [first.len(), second.as_ref().map_or(0, tokenizers::Encoding::len)];
        let mut kept = lengths;
        if let Some(max_tokens) = max_tokens {
            if max_tokens <= added {
                return Err(Error::TooShort { max_tokens, special: added });
            }
            kept = longest_first(lengths, max_tokens - added);
        }
        cut(&mut first, kept[0]);
        if let Some(second) = &mut second {
            cut(second, kept[1]);
        }

        let whole = match &self.post {
            Some(post) => guarded(|| post.process(first, second, true)).map_err(failed)?,
            None => {
                first.set_sequence_id(0);
                if let Some(mut second) = second {
                    second.set_sequence_id(1);
                    second.set_type_ids(vec![1; second.len()]);
                    first.merge_with(second, false);
                }
                first
            }
        };
        let sequences = whole.get_sequence_ids();
        let origin = |token: usize| {
            let (start, end) = whole.get_offsets()[token];
            let [Ok(start), Ok(end)] = [start, end].map(u32::try_from) else { return Err("4 GiB or longer") };
            let Ok(kind) = u16::try_from(whole.get_type_ids()[token]) else {
                return Err("a type id over 65535");
            };
            let from = sequences[token].map(|sequence| sequence as u8);
            let mut origin = Origin::new((start, end), whole.get_word_ids()[token], kind, from);
            origin.special = whole.get_special_tokens_mask()[token] != 0;
            Ok(origin)
        };
        let origins = (0..whole.len()).map(origin).collect::<std::result::Result<_, _>>();
        let mut encoding = Encoding {
            ids: whole.get_ids().to_vec(),
            origins: origins.map_err(|problem| failed(problem.into()))?,
            chars: Vec::new(),
            pixels: Vec::new(),
            cut: lengths[0] - kept[0] + lengths[1] - kept[1],
        };
        if self.spaced {
            whole_characters(&mut encoding, input);
        }
        Ok(encoding)
    }
}

impl Tokenizer {
    /// The characters of each token: of what stands in the text, or of a special token.
    fn characters_of(&self, encoding: &Encoding, input: Input<'_>) -> Vec<u16> {
        let mut chars = Vec::with_capacity(encoding.len() * characters::WORD);
        for (&id, origin) in encoding.ids.iter().zip(&encoding.origins) {
            let (start, end) = origin.offsets();
            let text = if origin.sequence() == Some(1) { input.pair } else { Some(input.text) };
            let word = text.and_then(|text| text.get(start..end)).unwrap_or_default();
            let special = origin.special.then(|| self.id_to_token(id)).flatten();
            chars.extend(characters::encode(special.as_deref().unwrap_or(word)));
        }
        chars
    }
}

/// Moves the ends of tokens out of characters: the crate takes the space that it put before a text off the offsets in
/// bytes, though the token of that space lies on the first character, however long. transformers, which counts in
/// characters, is left with none of it.
pub(crate) fn whole_characters(encoding: &mut Encoding, input: Input<'_>) {
    for origin in &mut encoding.origins {
        let text = if origin.sequence() == Some(1) { input.pair.unwrap_or_default() } else { input.text };
        while !text.is_char_boundary(origin.end as usize) && origin.end > origin.start {
            origin.end -= 1;
        }
    }
}

/// How many tokens of each text stay within `limit`: the longer gives first, then both evenly, the odd token going
/// to the one that was longer (the second if equal).
pub(crate) fn longest_first([first, second]: [usize; 2], limit: usize) -> [usize; 2] {
    if first + second <= limit {
        return [first, second];
    }
    let (short, long, swap) = if first > second { (second, first, true) } else { (first, second, false) };
    let half = limit / 2;
    let (short, long) = if short <= half { (short, (limit - short).min(long)) } else { (half, limit - half) };
    if swap { [long, short] } else { [short, long] }
}

/// Keeps the first `length` tokens. Not `Encoding::truncate`, which keeps the rest in pieces as well.
fn cut(encoding: &mut tokenizers::Encoding, length: usize) {
    if length < encoding.len() {
        encoding.truncate(length, 0, TruncationDirection::Right);
        encoding.take_overflowing();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_text_is_cut_first() {
        for (lengths, limit, expected) in [
            ([3, 4], 7, [3, 4]),
            ([3, 9], 7, [3, 4]),
            ([9, 3], 7, [4, 3]),
            ([9, 9], 7, [3, 4]),
            ([10, 9], 7, [4, 3]),
            ([9, 0], 7, [7, 0]),
            ([0, 9], 7, [0, 7]),
            ([5, 5], 1, [0, 1]),
            ([3, 4], 6, [3, 3]),
        ] {
            assert_eq!(longest_first(lengths, limit), expected, "{lengths:?} within {limit}");
        }
    }
}
