//! Language models: the next word, or words behind masks, of running text.
//!
//! Papers: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section 2,
//! <https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf>; Devlin et al. 2019,
//! "BERT", section 3.1 and appendix A.1 (15% of the words, of these 80% behind a mask, 10% another word, 10% as they
//! are), <https://arxiv.org/abs/1810.04805>; Cui et al. 2021, "Pre-Training with Whole Word Masking for Chinese BERT" (whole
//! words), <https://arxiv.org/abs/1906.08101>

use rayon::prelude::*;
use topwork_data::{Dataset, Inputs, Labels};
use topwork_kernels::loss::IGNORE;
use topwork_kernels::rng::{Stream, derive};
use topwork_models::{HeadSpec, Targets};
use topwork_text::{Encoding, Tokenizer};
use topwork_train::metrics::Task as MetricTask;

use super::{Encode, LanguageTask, Measured, Part, Run, TaskBatch, Units};
use crate::error::Error;
use crate::prepare::Prepared;
use crate::recipe::{Kind, TaskRecipe};

/// Longest window in tokens when nothing is said.
const WINDOW: usize = 512;

/// The share of words that are asked for.
pub const HIDDEN: f64 = 0.15;

/// The next word.
pub const CAUSAL: LanguageModel = LanguageModel(Kind::CausalLm);
/// Words behind masks.
pub const MASKED: LanguageModel = LanguageModel(Kind::MaskedLm);

/// A language model.
pub struct LanguageModel(Kind);

/// How words are hidden.
#[derive(Clone, Debug, PartialEq)]
pub struct Hiding {
    /// The token that stands for a hidden word.
    pub mask: u32,
    /// Words that may stand in place of one: all ids below this.
    pub vocab: u32,
    /// The share of words that are asked for.
    pub share: f64,
    /// For each token of the set: its text's word, or [`IGNORE`] for a token that is never hidden.
    words: Vec<u32>,
    /// Hide all pieces of a word together.
    whole: bool,
}

/// What became of the words of a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hidden {
    /// Words that could be hidden.
    pub words: usize,
    /// Asked for, behind a mask.
    pub masked: usize,
    /// Asked for, with another word in their place.
    pub replaced: usize,
    /// Asked for, as they are.
    pub kept: usize,
}

impl LanguageTask for LanguageModel {
    fn kind(&self) -> Kind {
        self.0
    }

    fn title(&self) -> &'static str {
        if self.0 == Kind::CausalLm { "Causal language model" } else { "Masked language model" }
    }

    fn summary(&self) -> &'static str {
        if self.0 == Kind::CausalLm {
            "the next word of running text"
        } else {
            "words behind masks, of running text"
        }
    }

    fn paper(&self) -> &'static str {
        if self.0 == Kind::CausalLm {
            "https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf"
        } else {
            "https://arxiv.org/abs/1810.04805"
        }
    }

    fn in_python(&self, folder: &str) -> String {
        let (name, text) = if self.0 == Kind::CausalLm {
            ("text-generation", "some text")
        } else {
            ("fill-mask", "some [MASK] text")
        };
        format!("from transformers import pipeline\n\nprint(pipeline({name:?}, {folder:?})({text:?}))\n")
    }

    fn measures(&self) -> MetricTask {
        MetricTask::Words
    }

    fn reader(&self) -> topwork_data::Task {
        topwork_data::Task::Unlabelled
    }

    fn running(&self) -> bool {
        true
    }

    fn windows(&self) -> bool {
        true
    }

    fn max_length(&self, _: usize, most: usize) -> usize {
        WINDOW.min(most)
    }

    fn encode(&self, dataset: Dataset, encode: &Encode) -> Result<Part, Error> {
        let (inputs, words) = self.windows(&dataset, encode)?;
        let units = if self.0 == Kind::CausalLm {
            Units::Examples
        } else {
            let mask = encode.tokenizer.special_tokens().mask.ok_or_else(|| {
                Error::Task(
                    "the tokenizer has no mask token: this model cannot learn words behind masks".into(),
                )
            })?;
            let share = encode.task.hide.unwrap_or(HIDDEN);
            if !(share > 0.0 && share < 1.0) {
                return Err(Error::Task(format!("task.hide is {share}: expected a share between 0 and 1")));
            }
            let vocab = encode.tokenizer.id_limit() as u32;
            Units::Hidden(Hiding { mask, vocab, share, words, whole: encode.task.whole_words })
        };
        Ok(Part { dataset, inputs, units })
    }

    fn head(&self, _: &TaskRecipe, _: &[String]) -> HeadSpec {
        if self.0 == Kind::CausalLm { HeadSpec::CausalLm } else { HeadSpec::MaskedLm }
    }

    fn default_metric(&self, _: &Prepared) -> &'static str {
        "perplexity"
    }

    fn batch(&self, part: &Part, units: &[usize], draw: Option<u64>) -> Result<TaskBatch, Error> {
        let mut batch = part.batch(units);
        match &part.units {
            Units::Hidden(hiding) => {
                let (targets, _) = hiding.hide(part, &mut batch, draw);
                batch.targets = Some(Targets::Tokens(targets.into()));
            }
            _ => batch.targets = Some(topwork_models::heads::causal_lm::next_words(&batch.packed)),
        }
        Ok(batch)
    }

    fn remarks(&self, train: &Part) -> Vec<String> {
        let tokens = train.inputs.packed.tokens();
        let mut lines = vec![format!("{} windows of running text, {tokens} tokens", train.len())];
        if let Some(hidden) = hidden(train) {
            let asked = hidden.masked + hidden.replaced + hidden.kept;
            let percent = |part: usize, of: usize| 100.0 * part as f64 / of.max(1) as f64;
            lines.push(format!(
                "hidden in a pass: {asked} of {} tokens ({:.1}%), of these {} behind a mask ({:.1}%), {} replaced ({:.1}%), {} as they \
                 are ({:.1}%)",
                hidden.words,
                percent(asked, hidden.words),
                hidden.masked,
                percent(hidden.masked, asked),
                hidden.replaced,
                percent(hidden.replaced, asked),
                hidden.kept,
                percent(hidden.kept, asked),
            ));
        }
        lines
    }

    fn fixed(&self) -> bool {
        self.0 == Kind::CausalLm
    }

    fn measure(&self, run: &Run, part: &Part) -> Result<Measured, Error> {
        // Behind masks, a word says nothing of the bytes of the text.
        let bytes = (self.0 == Kind::CausalLm).then(|| part.dataset.texts().map(str::len).sum());
        let (sums, loss) = run.costs(self, part, bytes)?;
        Measured::of_sums(MetricTask::Words, sums, Vec::new(), &run.judge, Some(loss))
    }

    fn how_to_use(&self, folder: &str) -> String {
        if self.0 == Kind::CausalLm {
            format!("topwork generate {folder} \"some text\"")
        } else {
            format!("topwork train --model {folder} --data labelled.csv")
        }
    }
}

impl LanguageModel {
    /// Texts cut into windows, and for each token its word.
    fn windows(&self, dataset: &Dataset, encode: &Encode) -> Result<(Inputs, Vec<u32>), Error> {
        let tokenizer = encode.tokenizer;
        let texts: Vec<&str> = dataset.texts().collect();
        let encodings = tokenizer.encode_batch(&texts, None)?;
        let mut inputs = Inputs::empty();
        let Some(length) = encode.max_length else {
            inputs.lengths = encodings.iter().map(Encoding::content_len).collect();
            return Ok((inputs, Vec::new()));
        };
        let mut words = Vec::new();
        let frame = Frame::of(tokenizer, self.0 == Kind::CausalLm)?;
        let room = length.saturating_sub(frame.before.len() + frame.after.len());
        if room == 0 {
            return Err(Error::Task(format!(
                "task.max-length is {length}: no room for words beside the special tokens"
            )));
        }
        let mut running = Running { frame, ids: Vec::new(), words: Vec::new(), row: 0, next_word: 0 };
        for (encoding, example) in encodings.iter().zip(&dataset.examples) {
            if running.ids.is_empty() {
                running.row = example.row;
            }
            running.add(encoding);
            while running.ids.len() >= room {
                running.cut(room, &mut inputs, &mut words);
                running.row = example.row;
            }
            if !encode.task.joins() {
                running.cut(room, &mut inputs, &mut words);
            }
        }
        running.cut(room, &mut inputs, &mut words);
        inputs.lengths = inputs.packed.lengths().collect();
        inputs.labels = Labels::None(inputs.packed.batch());
        Ok((inputs, words))
    }
}

/// What a tokenizer puts around a text.
struct Frame {
    before: Vec<u32>,
    after: Vec<u32>,
    /// Stands between two texts that are read as one.
    between: Option<u32>,
}

impl Frame {
    fn of(tokenizer: &Tokenizer, causal: bool) -> Result<Self, Error> {
        let special = tokenizer.special_tokens();
        let empty = tokenizer.encode("", None, None)?.ids;
        if causal {
            // What the tokenizer ends a text with would be one more word to foretell.
            let before = empty.first().copied().filter(|&id| Some(id) == special.bos).into_iter().collect();
            return Ok(Frame { before, after: Vec::new(), between: special.eos.or(special.sep) });
        }
        // One mark in front, the others behind, as all masked language models have it.
        let (before, after) = empty.split_at(empty.len().min(1));
        Ok(Frame { before: before.to_vec(), after: after.to_vec(), between: None })
    }
}

/// Text that has been read and not yet cut.
struct Running {
    frame: Frame,
    ids: Vec<u32>,
    words: Vec<u32>,
    row: usize,
    next_word: u32,
}

impl Running {
    fn add(&mut self, encoding: &Encoding) {
        if let (false, Some(between)) = (self.ids.is_empty(), self.frame.between) {
            self.ids.push(between);
            self.words.push(IGNORE);
        }
        let mut last = None;
        for (at, &id) in encoding.ids.iter().enumerate() {
            if encoding.origins[at].special {
                continue;
            }
            let word = encoding.origins[at].word();
            if word.is_none() || word != last {
                self.next_word = (self.next_word + 1) % (IGNORE - 1);
            }
            last = word;
            self.ids.push(id);
            self.words.push(self.next_word);
        }
    }

    /// Makes a window of the first `room` tokens.
    fn cut(&mut self, room: usize, inputs: &mut Inputs, words: &mut Vec<u32>) {
        let count = room.min(self.ids.len());
        // One word alone asks nothing of a model that is to say the next.
        if count == 0 {
            return;
        }
        let ids: Vec<u32> = [self.frame.before.as_slice(), &self.ids[..count], &self.frame.after].concat();
        inputs.packed.push(&ids, &vec![0; ids.len()]);
        inputs.rows.push(self.row);
        words.extend(std::iter::repeat_n(IGNORE, self.frame.before.len()));
        words.extend(&self.words[..count]);
        words.extend(std::iter::repeat_n(IGNORE, self.frame.after.len()));
        self.ids.drain(..count);
        self.words.drain(..count);
    }
}

impl Hiding {
    /// Hides words of a batch; gives for each token what is asked there, and what became of the words. Without a number to
    /// draw from, the same words are hidden each time.
    fn hide(&self, part: &Part, batch: &mut TaskBatch, draw: Option<u64>) -> (Vec<u32>, Hidden) {
        let mut targets = vec![IGNORE; batch.packed.tokens()];
        let mut hidden = Hidden::default();
        for (at, &text) in batch.texts.iter().enumerate() {
            let range = batch.packed.range(at);
            let words = &self.words[part.inputs.packed.range(text)];
            let seed = derive(draw.unwrap_or(0), &format!("hide {text}"));
            let mut stream = Stream(seed);
            let mut chosen = Vec::new();
            let mut start = 0;
            while start < words.len() {
                let mut end = start + 1;
                while self.whole && end < words.len() && words[end] == words[start] {
                    end += 1;
                }
                if words[start] != IGNORE {
                    hidden.words += end - start;
                    chosen.push((start, end));
                }
                start = end;
            }
            // So many of each text, rather than each with a chance: a batch that asks nothing teaches nothing.
            let wanted = ((chosen.len() as f64 * self.share).round() as usize).max(1).min(chosen.len());
            stream.shuffle(&mut chosen);
            for &(start, end) in &chosen[..wanted] {
                for token in start..end {
                    let place = range.start + token;
                    let id = &mut batch.packed.ids[place];
                    targets[place] = *id;
                    let draw = stream.next_f64();
                    if draw < 0.8 {
                        *id = self.mask;
                        hidden.masked += 1;
                    } else if draw < 0.9 {
                        *id = stream.below(u64::from(self.vocab)) as u32;
                        hidden.replaced += 1;
                    } else {
                        hidden.kept += 1;
                    }
                }
            }
        }
        (targets, hidden)
    }
}

/// What is hidden of a set when its words are drawn once.
pub fn hidden(part: &Part) -> Option<Hidden> {
    let Units::Hidden(hiding) = &part.units else { return None };
    let each: Vec<Hidden> = (0..part.len())
        .into_par_iter()
        .map(|unit| hiding.hide(part, &mut part.batch(&[unit]), None).1)
        .collect();
    Some(each.into_iter().fold(Hidden::default(), |sum, one| Hidden {
        words: sum.words + one.words,
        masked: sum.masked + one.masked,
        replaced: sum.replaced + one.replaced,
        kept: sum.kept + one.kept,
    }))
}
