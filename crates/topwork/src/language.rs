//! How good a language model is: perplexity of a running text, last words of passages, and how much what it writes repeats
//! itself.

use topwork_kernels::gemm::Precision;
use topwork_kernels::loss::IGNORE;
use topwork_models::model::plain;
use topwork_models::{LossOptions, Targets};
use topwork_nn::Pass;
use topwork_text::Packed;
use topwork_train::metrics;

use crate::error::Error;
use crate::generator::Generator;
use crate::scoring::log_share;

/// How a running text is read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Windows {
    /// Tokens that are read at once; `None` = as many as the model reads.
    pub window: Option<usize>,
    /// Tokens from the start of one window to the next; what two windows share is context in the second. `None` = a whole
    /// window: nothing is read twice, and the first tokens of each have little before them.
    pub stride: Option<usize>,
    /// Precision of products.
    pub precision: Precision,
}

/// What a text costs a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Perplexity {
    /// Tokens that were predicted.
    pub tokens: usize,
    /// Bytes of the text.
    pub bytes: usize,
    /// Sum of their negative natural log-likelihoods.
    pub loss: f64,
}

impl Perplexity {
    /// The exponential of the mean loss of a token.
    pub fn value(&self) -> f64 {
        (self.loss / self.tokens as f64).exp()
    }

    /// Bits for each byte of the text, which compares models with different tokenizers.
    pub fn bits_per_byte(&self) -> f64 {
        self.loss / std::f64::consts::LN_2 / self.bytes as f64
    }
}

/// Tokens in a pass at most: the scores of a large vocabulary take 200 kB each.
const PASS: usize = 1024;

/// Perplexity of a text, read in windows. The first token of the text has nothing before it and is not predicted.
///
/// # Errors
/// A text of fewer than two tokens, a window the model does not read, a stride of nothing or beyond the window.
pub fn perplexity(generator: &Generator, text: &str, windows: &Windows) -> Result<Perplexity, Error> {
    let ids = generator.prompt(text)?;
    if ids.len() < 2 {
        return Err(Error::Task(format!("a text of {} tokens: nothing is to be predicted", ids.len())));
    }
    let limit = generator.model().size().max_tokens;
    let window = windows.window.unwrap_or(limit);
    if !(2..=limit).contains(&window) {
        return Err(Error::Task(format!("a window of {window} tokens: the model reads 2 to {limit}")));
    }
    let stride = windows.stride.unwrap_or(window);
    if !(1..=window).contains(&stride) {
        return Err(Error::Task(format!("a stride of {stride} tokens: expected 1 to the window's {window}")));
    }
    let mut sum = Perplexity { tokens: 0, bytes: text.len(), loss: 0.0 };
    let mut batch = Batch::default();
    for Window { start, end, from } in cut(ids.len(), window, stride) {
        batch.push(&ids[start..end], from);
        if batch.ids.len() + window > PASS || end == ids.len() {
            sum.loss += batch.loss(generator, windows.precision)?;
            sum.tokens += batch.asked;
            batch = Batch::default();
        }
    }
    Ok(sum)
}

/// A part of a text: its first token, the one behind its last, and, counted from its start, the first to be predicted.
struct Window {
    start: usize,
    end: usize,
    from: usize,
}

/// The windows of a text of `tokens`. Each token is predicted in the first window that has something before it.
fn cut(tokens: usize, window: usize, stride: usize) -> Vec<Window> {
    let mut windows = Vec::new();
    let (mut start, mut done) = (0, 0);
    while done < tokens {
        let end = (start + window).min(tokens);
        windows.push(Window { start, end, from: done.max(start + 1) - start });
        done = end;
        start += stride;
    }
    windows
}

/// Windows that are read in one pass.
pub(crate) struct Batch {
    ids: Vec<u32>,
    targets: Vec<u32>,
    offsets: Vec<u32>,
    asked: usize,
}

impl Default for Batch {
    fn default() -> Self {
        Batch { ids: Vec::new(), targets: Vec::new(), offsets: vec![0], asked: 0 }
    }
}

impl Batch {
    /// Adds a window whose tokens from `from` on are to be predicted.
    pub(crate) fn push(&mut self, ids: &[u32], from: usize) {
        let targets = (1..=ids.len()).map(|at| if at >= from && at < ids.len() { ids[at] } else { IGNORE });
        self.targets.extend(targets);
        self.asked += ids.len().saturating_sub(from);
        self.ids.extend_from_slice(ids);
        self.offsets.push(self.ids.len() as u32);
    }

    fn packed(&self) -> Packed {
        let type_ids = vec![0; self.ids.len()];
        Packed { ids: self.ids.clone(), type_ids, offsets: self.offsets.clone(), ..Packed::default() }
    }

    /// The summed loss.
    pub(crate) fn loss(&self, generator: &Generator, precision: Precision) -> Result<f64, Error> {
        if self.asked == 0 {
            return Ok(0.0);
        }
        let model = generator.model();
        let pass = Pass::eval(&model.store, precision);
        let targets = Targets::Tokens(self.targets.as_slice().into());
        let loss = model.loss(&pass, &self.packed(), &targets, &LossOptions::default())?;
        Ok(f64::from(loss.into_scalar::<f32>()) * self.asked as f64)
    }
}

/// How well a model guesses the last words of passages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cloze {
    /// Passages.
    pub passages: usize,
    /// Passages whose last word is the likeliest continuation, all its tokens one after the other.
    pub right: usize,
    /// Exponential of the mean negative log-likelihood of the last words.
    pub perplexity: f64,
}

/// Asks for the last word of each passage, given all before it.
///
/// Paper: Paperno et al. 2016, "The LAMBADA dataset: Word prediction requiring a broad discourse context", section 3,
/// <https://arxiv.org/abs/1606.06031>; a word is right if each of its tokens is the likeliest, as in later evaluations.
///
/// # Errors
/// A passage of fewer than two words, or longer than the model reads.
pub fn cloze(generator: &Generator, passages: &[String], precision: Precision) -> Result<Cloze, Error> {
    let (mut right, mut loss) = (0, 0.0);
    let model = generator.model();
    for (at, passage) in passages.iter().enumerate() {
        let wrong = |reason: &str| Error::Task(format!("passage {}: {reason}", at + 1));
        let text = passage.trim_end();
        let before =
            text.rfind(char::is_whitespace).map(|end| text[..end].trim_end()).filter(|b| !b.is_empty());
        let before = before.ok_or_else(|| wrong("it needs a last word and words before it"))?;
        let (ids, context) = (generator.prompt(text)?, generator.prompt(before)?);
        // What both begin with: a tokenizer may join the space between with either side.
        let from = ids.iter().zip(&context).take_while(|(a, b)| a == b).count().min(ids.len() - 1);
        if from == 0 {
            return Err(wrong("nothing stands before its last word"));
        }
        let mut batch = Batch::default();
        batch.push(&ids, from);
        let pass = Pass::eval(&model.store, precision);
        let input = batch.packed();
        let asked: std::sync::Arc<[u32]> = (from as u32 - 1..ids.len() as u32 - 1).collect();
        let hidden = topwork_ops::embedding(model.features(&pass, &input)?, &asked);
        let scores = plain(model.head(&pass, hidden, &input)?)?;
        let vocab = scores.len() / asked.len();
        let mut all = true;
        for (row, &id) in scores.chunks(vocab).zip(&ids[from..]) {
            let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            loss -= log_share(row, id as usize);
            all &= row[id as usize] >= top;
        }
        right += usize::from(all);
    }
    let passages = passages.len();
    Ok(Cloze { passages, right, perplexity: (loss / passages.max(1) as f64).exp() })
}

/// How much texts repeat themselves.
#[derive(Clone, Debug, PartialEq)]
pub struct Repetition {
    /// Texts.
    pub texts: usize,
    /// Words of all.
    pub words: usize,
    /// For runs of 1 to 4 words: those that differ, of all texts together, to those that there are.
    ///
    /// Paper: Li et al. 2016, "A Diversity-Promoting Objective Function for Neural Conversation Models", section 5.2,
    /// <https://arxiv.org/abs/1510.03055>
    pub distinct: [f64; 4],
    /// The share of runs of four words in a text that stand in it before, the mean of the texts.
    ///
    /// Paper: Welleck et al. 2020, "Neural Text Generation with Unlikelihood Training", section 6.1,
    /// <https://arxiv.org/abs/1908.04319> (seq-rep-4)
    pub repeated: f64,
}

/// Measures texts by their words, which white space parts.
pub fn repetition<T: AsRef<str>>(texts: &[T]) -> Repetition {
    let distinct = [1, 2, 3, 4].map(|n| metrics::distinct(texts, n).unwrap_or(0.0));
    let repeated = metrics::repetition(texts).ok().and_then(|sums| {
        let sum = sums.into_iter().find(|sum| sum.name == "repetition")?;
        sum.of().ok()
    });
    let words = texts.iter().map(|text| text.as_ref().split_whitespace().count()).sum();
    Repetition { texts: texts.len(), words, distinct, repeated: repeated.unwrap_or(0.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_words_are_counted() {
        let measured = repetition(&["a b a b a b", "a c"]);
        assert_eq!((measured.texts, measured.words), (2, 8));
        // Words: a, b, c of eight. Pairs: ab, ba, ac of six.
        assert_eq!(measured.distinct[..2], [3.0 / 8.0, 3.0 / 6.0]);
        // abab, baba, abab: one of three stands before.
        assert!((measured.repeated - 1.0 / 3.0).abs() < 1e-12);
        let nothing = repetition::<&str>(&[]);
        assert_eq!((nothing.distinct, nothing.repeated), ([0.0; 4], 0.0));
    }

    #[test]
    fn each_token_is_asked_once_whatever_the_windows() {
        let ids: Vec<u32> = (10..30).collect();
        for (window, stride) in [(20, 20), (6, 6), (6, 4), (5, 1), (7, 3)] {
            let mut asked = Vec::new();
            for Window { start, end, from } in cut(ids.len(), window, stride) {
                let mut batch = Batch::default();
                batch.push(&ids[start..end], from);
                let targets: Vec<u32> = batch.targets.iter().copied().filter(|&t| t != IGNORE).collect();
                assert_eq!(targets.len(), batch.asked);
                asked.extend(targets);
            }
            // The first token of a window that shares nothing has nothing before it.
            let first = |id: &u32| ((id - 10) as usize).is_multiple_of(stride);
            let expected: Vec<u32> = if stride < window {
                ids[1..].to_vec()
            } else {
                ids.iter().copied().filter(|id| !first(id)).collect()
            };
            assert_eq!(asked, expected, "windows of {window} every {stride}");
        }
    }

    #[test]
    fn perplexity_is_that_of_the_mean_loss() {
        let text = Perplexity { tokens: 4, bytes: 10, loss: 4.0 * std::f64::consts::LN_2 };
        assert!((text.value() - 2.0).abs() < 1e-12 && (text.bits_per_byte() - 0.4).abs() < 1e-12);
    }
}
