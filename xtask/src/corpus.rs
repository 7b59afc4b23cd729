//! `cargo xtask corpus`: an Arrow file of any size, of made-up texts as long as real ones, to measure reading with.
//!
//! Words are drawn by Zipf's law from a made-up vocabulary, lengths from a log-normal distribution, all from a seed: the same
//! command writes the same bytes anywhere. Batches have 1,000 rows, as HuggingFace's datasets write them.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use arrow_array::builder::StringBuilder;
use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use arrow_ipc::writer::FileWriter;
use arrow_schema::{DataType, Field, Schema};

use crate::args::Args;

/// Rows of a batch.
const BATCH: i64 = 1000;
/// Words of the vocabulary.
const VOCABULARY: usize = 30_000;
/// Words of a text: their median, and the standard deviation of their logarithm.
const LENGTH: (f64, f64) = (90.0, 0.8);
/// The most words of a text.
const LONGEST: f64 = 5000.0;
/// Classes of the labels.
const CLASSES: u64 = 10;

/// Writes the file.
pub fn run(mut args: Args) -> Result<bool> {
    let gigabytes: f64 = args.number("--gigabytes")?.unwrap_or(18.0);
    let seed: u64 = args.number("--seed")?.unwrap_or(1);
    let Some(path) = args.next_word() else {
        bail!("which file? cargo xtask corpus --gigabytes 18 OUT.arrow")
    };
    args.finish()?;
    if !(gigabytes > 0.0 && gigabytes < 1e6) {
        bail!("--gigabytes: expected a number above 0, got {gigabytes}");
    }
    let began = Instant::now();
    let path = Path::new(&path);
    let name = path.file_name().context("OUT.arrow has to be a file")?.to_string_lossy().into_owned();
    // Whole or not at all, as the program's own files.
    let part = path.with_file_name(format!(".{name}.{}.part", std::process::id()));
    let written = write(&part, (gigabytes * 1e9) as u64, seed)
        .and_then(|rows| fs::rename(&part, path).map(|()| rows).context("renaming"));
    if written.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_file(&part);
    }
    let rows = written.with_context(|| path.display().to_string())?;
    let bytes = fs::metadata(path)?.len();
    println!("{}: {rows} rows, {bytes} bytes, {:.0} s", path.display(), began.elapsed().as_secs_f64());
    Ok(true)
}

/// Writes batches until there are enough bytes of text; gives the number of rows.
fn write(path: &Path, bytes: u64, seed: u64) -> Result<i64> {
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("text", DataType::Utf8, false),
        Field::new("label", DataType::Int64, false),
    ]));
    let file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut writer = FileWriter::try_new(file, &schema)?;
    let mut texts = Texts::new(seed);
    let (mut rows, mut written) = (0, 0);
    let mut text = String::new();
    while written < bytes {
        let mut column = StringBuilder::new();
        let mut labels = Vec::new();
        for _ in 0..BATCH {
            texts.next(&mut text);
            column.append_value(&text);
            labels.push((texts.random.next() % CLASSES) as i64);
            // Its offset, its number and its label take space too.
            written += text.len() as u64 + 20;
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new((rows..rows + BATCH).collect::<Int64Array>()),
            Arc::new(column.finish()),
            Arc::new(Int64Array::from(labels)),
        ];
        writer.write(&RecordBatch::try_new(schema.clone(), columns)?)?;
        rows += BATCH;
    }
    writer.finish()?;
    let mut file = writer.into_inner()?;
    file.flush()?;
    file.get_ref().sync_all()?;
    Ok(rows)
}

/// Made-up texts.
struct Texts {
    random: Random,
    words: Vec<String>,
}

impl Texts {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        // Frequent words are short, as in any language: two letters for the first ones, nine for the last.
        let words = (0..VOCABULARY).map(|rank| {
            let letters = 2 + (rank as f64 + 1.0).ln().floor() as u64 * 7 / 10;
            (0..letters).map(|at| random.letter(at % 2 == 1)).collect()
        });
        let words = words.collect();
        Self { random, words }
    }

    /// Writes the next text into `text`.
    fn next(&mut self, text: &mut String) {
        text.clear();
        let (median, spread) = LENGTH;
        let words = (median * (spread * self.random.normal()).exp()).clamp(1.0, LONGEST) as u64;
        let last = (VOCABULARY as f64).ln();
        for at in 0..words {
            if at > 0 {
                text.push(' ');
            }
            // Log-uniform ranks: each as likely as its inverse, which is Zipf's law.
            let rank = (self.random.uniform() * last).exp() as usize - 1;
            text.push_str(&self.words[rank.min(VOCABULARY - 1)]);
        }
    }
}

/// SplitMix64 (Steele, Lea and Flood 2014), written out because xtask depends on none of our crates.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Uniform in `[0, 1)`.
    fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / 9_007_199_254_740_992.0
    }

    /// Standard normal (Box-Muller).
    fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.uniform()).ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }

    fn letter(&mut self, vowel: bool) -> char {
        let of: &[u8] = if vowel { b"aeiou" } else { b"bcdfghklmnprstvw" };
        char::from(of[(self.next() % of.len() as u64) as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_depend_on_the_seed_and_are_as_long_as_they_should_be() {
        let drawn = |seed| {
            let (mut texts, mut text) = (Texts::new(seed), String::new());
            (0..2000)
                .map(|_| {
                    texts.next(&mut text);
                    text.clone()
                })
                .collect::<Vec<_>>()
        };
        let (one, other) = (drawn(1), drawn(2));
        assert!(one == drawn(1) && one != other);
        let mut words: Vec<usize> = one.iter().map(|text| text.split(' ').count()).collect();
        words.sort_unstable();
        // The median of 2,000 draws has a standard deviation of 2 words.
        assert!((82..98).contains(&words[1000]), "{}", words[1000]);
        assert!(words[1980] > 400 && words[20] < 25, "{} {}", words[20], words[1980]);
        let bytes: usize = one.iter().map(String::len).sum();
        let mean = bytes as f64 / words.iter().sum::<usize>() as f64;
        assert!((4.0..8.0).contains(&mean), "{mean} bytes a word");
    }

    #[test]
    fn a_file_has_the_size_asked_for_and_the_same_bytes_again() {
        let folder = std::env::temp_dir().join(format!("xtask-corpus-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("a.arrow");
        let made = |seed| {
            let rows = write(&path, 3_000_000, seed).unwrap();
            (rows, fs::read(&path).unwrap())
        };
        let (rows, bytes) = made(1);
        assert!(rows > 2000 && (3_000_000..4_500_000).contains(&bytes.len()), "{rows} {}", bytes.len());
        assert!(bytes == made(1).1 && bytes != made(2).1);
        fs::remove_dir_all(&folder).unwrap();
    }
}
