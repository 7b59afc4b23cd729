//! A whole fastText model: settings, dictionary, and the matrix of words and character n-grams.
//!
//! The vector of a word is the mean of its own row and of the rows of its n-grams, as `get_word_vector` gives it. Read
//! are versions 11 and 12 (`.bin`, and quantised `.ftz`) and the form before they were numbered. The output matrix is
//! passed over: it belongs to training and to classifiers.

use std::collections::HashMap;

use rayon::prelude::*;

use super::gather::{self, Gather};
use super::quantised::Quantised;
use super::stream::Stream;
use super::subwords::{Rows, Subwords, scale};
use super::{VectorFormat, WordVectors};
use crate::Error;

pub(super) const FORMAT: VectorFormat = VectorFormat {
    name: "fasttext",
    summary: "fastText .bin and quantised .ftz: words and character n-grams, so that unknown words have vectors too",
    link: "https://fasttext.cc/docs/en/python-module.html",
    is: |head| head.starts_with(&MAGIC.to_le_bytes()) || is_unnumbered(head),
    read,
    write: None,
};

/// The first number of a file of a numbered version.
const MAGIC: i32 = 793_712_314;

/// The longest word, in bytes.
const MOST_WORD: usize = 64 << 10;

/// The longest n-gram a file may ask for; fastText's own default is 6.
const MOST_NGRAM: i32 = 255;

/// How many bytes of vectors a byte of a quantised file may stand for.
const MOST_UNPACKED: u128 = 64;

/// The settings of a model that matter for its vectors.
struct Settings {
    width: usize,
    buckets: u32,
    shortest: usize,
    longest: usize,
    /// None for files from before versions were numbered.
    version: Option<i32>,
}

/// The dictionary of a model.
struct Dictionary {
    /// Words as bytes, labels left out.
    words: Vec<Vec<u8>>,
    labels: usize,
    kept: Option<HashMap<u32, u32>>,
}

/// Whether a file begins with the settings of a model that has no version number.
fn is_unnumbered(head: &[u8]) -> bool {
    let ints: Vec<i32> =
        head.chunks_exact(4).take(12).map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let [width, window, epochs, least, negatives, word_ngrams, loss, model, buckets, shortest, longest, rate] =
        ints[..]
    else {
        return false;
    };
    (1..=10_000).contains(&width)
        && [window, epochs, word_ngrams].iter().all(|value| (1..=10_000).contains(value))
        && [least, negatives, buckets, shortest, longest, rate].iter().all(|&value| value >= 0)
        && (1..=4).contains(&loss)
        && (1..=3).contains(&model)
        && shortest <= longest
        && longest <= MOST_NGRAM
}

fn read(stream: &mut Stream, limit: usize) -> Result<WordVectors, Error> {
    let length = stream.left();
    let settings = Settings::read(stream)?;
    let dictionary = Dictionary::read(stream, &settings)?;
    let known = dictionary.words.len();
    let quantised = settings.version.is_some() && stream.flag("the input matrix's quantisation flag")?;
    if !quantised && dictionary.kept.is_some() {
        return Err(stream
            .bad("its n-grams are pruned and its matrix is not quantised: no fastText reads such a file"));
    }
    let (rows, count) = read_rows(stream, quantised, settings.width, "the input matrix")?;
    let buckets = dictionary.kept.as_ref().map_or(settings.buckets as usize, HashMap::len);
    let needed = if settings.longest > 0 { known + buckets } else { known };
    if count < needed {
        return Err(stream.bad(format!(
            "its input matrix has {count} rows, expected {needed}: {known} words and {} n-gram buckets",
            needed - known
        )));
    }
    if settings.version.is_some() {
        let quantised = stream.flag("the output matrix's quantisation flag")? && quantised;
        pass_output(stream, quantised)?;
    } else {
        pass_output(stream, false)?;
    }
    if !stream.is_spent()? {
        return Err(stream.bad("more follows after its last matrix"));
    }

    let mut subwords = Subwords {
        shortest: settings.shortest,
        longest: settings.longest,
        buckets: if settings.longest > 0 { settings.buckets } else { 0 },
        kept: dictionary.kept,
        rows,
        first: known,
        width: settings.width,
    };
    let mut gather = Gather::new(stream.format, settings.width);
    gather.report.labels = dictionary.labels;
    let most = known.min(limit);
    let bytes = most as u128 * settings.width as u128 * 4;
    // What was read so far is all of a file packed by gzip.
    let length = length.unwrap_or(stream.at());
    if bytes > MOST_UNPACKED * u128::from(length) {
        return Err(
            stream.bad(format!("its {most} vectors would take {bytes} bytes, and the file has {length}"))
        );
    }
    let mut taken = Vec::with_capacity(most);
    for (at, bytes) in dictionary.words.iter().enumerate().take(most) {
        let (word, utf8) = gather::word(bytes);
        if gather.take(word, utf8) {
            taken.push((at, bytes));
        }
    }
    gather.report.left_out = known - most;
    gather.data = vec![0.0; taken.len() * settings.width];
    gather.data.par_chunks_mut(settings.width).zip(&taken).for_each(|(sum, &(at, word))| {
        subwords.rows.add(at, sum);
        let seen = 1 + subwords.add(word, sum);
        scale(sum, seen);
    });
    if gather.report.entries == 0 && limit > 0 {
        return Err(stream.bad("it has no words"));
    }
    if let Rows::Plain(values) = &mut subwords.rows {
        // The rows of words are in their vectors; those of n-grams stay.
        values.drain(..known * settings.width);
        values.shrink_to_fit();
        subwords.first = 0;
    }
    let has_ngrams = subwords.buckets > 0 && subwords.kept() > 0;
    Ok(gather.finish(has_ngrams.then_some(subwords)))
}

impl Settings {
    fn read(stream: &mut Stream) -> Result<Self, Error> {
        let first = stream.int("the settings")?;
        let version = if first == MAGIC { Some(stream.int("the version")?) } else { None };
        if let Some(version) = version.filter(|version| !(11..=12).contains(version)) {
            return Err(stream.bad(format!("version {version}, expected 11 or 12")));
        }
        let width = if version.is_some() { stream.int("the settings")? } else { first };
        // window, epochs, least count, negatives, word n-grams, loss, model, buckets, shortest, longest, rate.
        let mut fields = [0; 11];
        for field in &mut fields {
            *field = stream.int("the settings")?;
        }
        // The sampling threshold, of 64 bits.
        stream.long("the settings")?;
        let [_, _, _, _, _, _, model, buckets, shortest, longest, _] = fields;
        let limits = [("dim", width, 1, 1 << 20), ("bucket", buckets, 0, i32::MAX)];
        let lengths = [("minn", shortest, 0, MOST_NGRAM), ("maxn", longest, 0, MOST_NGRAM)];
        for (name, value, low, high) in limits.into_iter().chain(lengths) {
            if !(low..=high).contains(&value) {
                return Err(stream.bad(format!("its setting {name} is {value}, expected {low} to {high}")));
            }
        }
        // Classifiers of that version knew no n-grams of characters, whatever their settings say.
        let longest = if version == Some(11) && model == SUPERVISED { 0 } else { longest };
        Ok(Settings {
            width: width as usize,
            buckets: buckets as u32,
            shortest: shortest as usize,
            longest: longest as usize,
            version,
        })
    }
}

/// The number of the model that is a classifier.
const SUPERVISED: i32 = 3;

impl Dictionary {
    fn read(stream: &mut Stream, settings: &Settings) -> Result<Self, Error> {
        let what = "the dictionary";
        let sizes = [stream.int(what)?, stream.int(what)?, stream.int(what)?];
        let [size, known, labels] = sizes.map(|size| usize::try_from(size).unwrap_or(usize::MAX));
        if known.checked_add(labels) != Some(size) || size == usize::MAX {
            let [size, known, labels] = sizes;
            return Err(
                stream.bad(format!("its dictionary says {size} entries, {known} words and {labels} labels"))
            );
        }
        // How many words it was trained on.
        stream.long(what)?;
        let pruned = if settings.version.is_some() { stream.long(what)? } else { -1 };
        // A word's end, its count and its kind.
        stream.expect(size as u128 * 10, "the dictionary's words")?;
        let mut words = Vec::new();
        for at in 0..size {
            let place = format!("entry {} of {size} in the dictionary", at + 1);
            let word = stream.until(0, MOST_WORD, &place)?;
            stream.long(&place)?;
            let is_label = stream.flag(&format!("the kind of {place}"))?;
            if is_label != (at >= known) {
                let kind = if is_label { "a label" } else { "a word" };
                return Err(
                    stream.bad(format!("{place} is {kind}, expected {known} words and then {labels} labels"))
                );
            }
            if !is_label {
                words.push(word);
            }
        }
        let kept = match u64::try_from(pruned) {
            Err(_) => None,
            Ok(count) => Some(Self::read_kept(stream, count, settings.buckets)?),
        };
        Ok(Dictionary { words, labels, kept })
    }

    fn read_kept(stream: &mut Stream, count: u64, buckets: u32) -> Result<HashMap<u32, u32>, Error> {
        let what = "the list of n-grams that were kept";
        stream.expect(u128::from(count) * 8, what)?;
        let mut kept = HashMap::new();
        for _ in 0..count {
            let (bucket, row) = (stream.int(what)?, stream.int(what)?);
            match (u32::try_from(bucket), u32::try_from(row)) {
                (Ok(bucket), Ok(row)) if bucket < buckets && u64::from(row) < count => {
                    if kept.insert(bucket, row).is_some() {
                        return Err(stream.bad(format!("{what} has bucket {bucket} twice")));
                    }
                }
                _ => {
                    let reason =
                        format!("{what} puts bucket {bucket} of {buckets} into row {row} of {count}");
                    return Err(stream.bad(reason));
                }
            }
        }
        Ok(kept)
    }
}

/// Reads a matrix and gives how many rows it has.
fn read_rows(stream: &mut Stream, quantised: bool, width: usize, what: &str) -> Result<(Rows, usize), Error> {
    let (rows, got) = if quantised {
        let rows = Quantised::read(stream, what)?;
        let sizes = (rows.rows(), rows.width());
        (Rows::Quantised(rows), sizes)
    } else {
        let (rows, got) = plain_size(stream, what)?;
        if got == width {
            let values = stream.floats(rows as u64 * got as u64, what)?;
            if let Some(at) = values.iter().position(|value| !value.is_finite()) {
                let (row, column, value) = (at / width, at % width, values[at]);
                return Err(stream.bad(format!("{what} holds {value} in row {row}, column {column}")));
            }
            (Rows::Plain(values), (rows, got))
        } else {
            (Rows::Plain(Vec::new()), (rows, got))
        }
    };
    if got.1 != width {
        return Err(stream.bad(format!("{what} is {} wide, expected {width}", got.1)));
    }
    Ok((rows, got.0))
}

fn pass_output(stream: &mut Stream, quantised: bool) -> Result<(), Error> {
    let what = "the output matrix";
    if quantised {
        Quantised::read(stream, what)?;
        return Ok(());
    }
    let (rows, width) = plain_size(stream, what)?;
    stream.skip(rows as u64 * width as u64 * 4, what)
}

/// Rows and width of a matrix, so that its numbers can be counted.
fn plain_size(stream: &mut Stream, what: &str) -> Result<(usize, usize), Error> {
    let (rows, width) = (stream.long(what)?, stream.long(what)?);
    let sizes = (u32::try_from(rows), u32::try_from(width));
    match sizes {
        (Ok(rows), Ok(width)) if u64::from(rows) * u64::from(width) < 1 << 48 => {
            Ok((rows as usize, width as usize))
        }
        _ => Err(stream.bad(format!("{what} is {rows} by {width}"))),
    }
}
