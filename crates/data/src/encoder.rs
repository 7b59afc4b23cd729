//! A tokenizer that may remember what it made of texts.

use std::fmt;
use std::ops::Deref;
use std::sync::{Mutex, PoisonError};

use topwork_text::{Encoding, Error, Input, Tokenizer};

use crate::token_cache::{Digest, TokenCache, digests};

/// Texts of the cache that are tokenized all the same, to see that the tokenizer still gives what it gave.
const SAMPLE: usize = 16;

/// A tokenizer, and the cache of what it made of texts before, if there is one.
#[derive(Debug)]
pub struct Encoder<'a> {
    tokenizer: &'a Tokenizer,
    cache: Option<TokenCache>,
    used: Mutex<CacheUse>,
}

/// What a cache was good for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheUse {
    /// Texts whose tokens were found.
    pub found: usize,
    /// Texts that were tokenized.
    pub made: usize,
    /// Why the cache could not be read or written, the last time that was so. Nothing is lost by that but time.
    pub trouble: Option<String>,
}

impl fmt::Display for CacheUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tokens of {} texts found in the cache, {} tokenized", self.found, self.made)?;
        match &self.trouble {
            Some(trouble) => write!(f, " (the cache could not be used: {trouble})"),
            None => Ok(()),
        }
    }
}

impl Deref for Encoder<'_> {
    type Target = Tokenizer;

    fn deref(&self) -> &Tokenizer {
        self.tokenizer
    }
}

impl<'a> Encoder<'a> {
    /// A tokenizer that works on each text anew.
    pub fn new(tokenizer: &'a Tokenizer) -> Self {
        Self { tokenizer, cache: None, used: Mutex::default() }
    }

    /// A tokenizer that looks into a cache first. Pictures are not kept: what stands for them would have to be their files, which
    /// then had to be read all the same.
    pub fn cached(tokenizer: &'a Tokenizer, cache: TokenCache) -> Self {
        let cache = Some(cache).filter(|_| !tokenizer.reads_pictures());
        Self { tokenizer, cache, used: Mutex::default() }
    }

    /// What the cache was good for so far; `None` without one.
    pub fn used(&self) -> Option<CacheUse> {
        self.cache.as_ref()?;
        Some(self.used.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// As [`Tokenizer::encode_batch`], and the same to the last bit: only texts that the cache does not have are tokenized.
    ///
    /// # Errors
    /// As [`Tokenizer::encode_batch`]. A cache that cannot be read or written is no error.
    pub fn encode_batch<'i, I>(&self, inputs: &[I], max_tokens: Option<usize>) -> Result<Vec<Encoding>, Error>
    where
        I: Into<Input<'i>> + Copy + Sync,
    {
        let Some(cache) = &self.cache else { return self.tokenizer.encode_batch(inputs, max_tokens) };
        let inputs: Vec<Input<'i>> = inputs.iter().map(|&input| input.into()).collect();
        let digests = digests(&inputs);
        let mut used = CacheUse::default();
        let mut known = cache.read(max_tokens, &digests).unwrap_or_else(|error| {
            used.trouble = Some(format!("{}: {error}", cache.folder().display()));
            vec![None; inputs.len()]
        });
        if !self.still_the_same(&inputs, &known, max_tokens)? {
            known.fill(None);
            if let Err(error) = cache.forget(max_tokens) {
                used.trouble = Some(format!("{}: {error}", cache.folder().display()));
            }
        }
        let missing: Vec<usize> = (0..inputs.len()).filter(|&at| known[at].is_none()).collect();
        let texts: Vec<Input<'i>> = missing.iter().map(|&at| inputs[at]).collect();
        let made = self.tokenizer.encode_batch(&texts, max_tokens).map_err(|error| match error {
            Error::Encode { index, start, reason } => Error::Encode { index: missing[index], start, reason },
            other => other,
        })?;
        used.made = made.len();
        used.found = inputs.len() - made.len();
        let new: Vec<(Digest, &Encoding)> = missing.iter().map(|&at| digests[at]).zip(&made).collect();
        if let Err(error) = cache.write(max_tokens, &new) {
            used.trouble = Some(format!("{}: {error}", cache.folder().display()));
        }
        for (at, encoding) in missing.into_iter().zip(made) {
            known[at] = Some(encoding);
        }
        let mut all = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        all.found += used.found;
        all.made += used.made;
        all.trouble = used.trouble.or(all.trouble.take());
        Ok(known.into_iter().flatten().collect())
    }

    /// Whether some of the texts that were found, spread over all, are tokenized now as they were then: another version of the
    /// program may do it otherwise.
    fn still_the_same(
        &self,
        inputs: &[Input<'_>],
        known: &[Option<Encoding>],
        max_tokens: Option<usize>,
    ) -> Result<bool, Error> {
        let found: Vec<usize> = (0..known.len()).filter(|&at| known[at].is_some()).collect();
        let some: Vec<usize> = found.iter().copied().step_by(found.len().div_ceil(SAMPLE).max(1)).collect();
        let texts: Vec<Input<'_>> = some.iter().map(|&at| inputs[at]).collect();
        let now = self.tokenizer.encode_batch(&texts, max_tokens)?;
        Ok(some.iter().zip(&now).all(|(&at, now)| known[at].as_ref() == Some(now)))
    }
}
