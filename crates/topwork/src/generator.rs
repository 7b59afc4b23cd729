//! A model that goes on with texts, or answers them.

use std::path::Path;

use topwork_kernels::gemm::Precision;
use topwork_models::generate::{self, Adjust, Choice, Ended};
use topwork_models::model::saved_spec;
use topwork_models::{HeadSpec, Model, Source};
use topwork_text::{ChatTemplate, Message, Packed, Tokenizer};
use topwork_weights::LoadReport;

use crate::error::Error;
use crate::model_files;
use crate::opened;
use crate::stream::Stream;

/// A language model with its tokenizer, ready to write.
pub struct Generator {
    model: Model,
    tokenizer: Tokenizer,
    template: Option<ChatTemplate>,
    end: Vec<u32>,
    /// What an encoder-decoder's own files say of the words that must or must not come; `None` for a decoder.
    stated: Option<generate::Options>,
    report: LoadReport,
}

/// How to go on with texts.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerateOptions {
    /// New tokens at most.
    pub max_new: usize,
    /// How the next token is chosen.
    pub choice: Choice,
    /// What is done to the scores before.
    pub adjust: Adjust,
    /// Texts that end the writing; they are not part of what was written.
    pub stop: Vec<String>,
    /// Precision of products.
    pub precision: Precision,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        let precision = if Precision::native_bf16() { Precision::Bf16 } else { Precision::F32 };
        let (choice, adjust) = (Choice::default(), Adjust::default());
        GenerateOptions { max_new: 128, choice, adjust, stop: Vec::new(), precision }
    }
}

/// What was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// The new text.
    pub text: String,
    /// Why it ended; [`Ended::Stopped`] at one of the texts that stop it.
    pub ended: Ended,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// New tokens.
    pub tokens: usize,
    /// Natural logarithm of the probability of the new tokens; of a beam divided by the length penalty.
    pub score: f64,
}

impl Generator {
    /// Opens a model folder, or a file that holds a whole model (GGUF): a decoder, which goes on with texts, or an
    /// encoder-decoder, which writes texts for texts.
    ///
    /// # Errors
    /// A missing or broken file, a model that predicts no next word.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let spec = match saved_spec(path) {
            Ok(spec @ (HeadSpec::Seq2Seq | HeadSpec::PermutationLm)) => spec,
            _ => HeadSpec::CausalLm,
        };
        let open = || opened::open(path, &spec, 0);
        let (tokenizer, opened) = rayon::join(|| model_files::tokenizer(path), open);
        let ((mut model, report), tokenizer) = (opened?, tokenizer?);
        if let Some(fresh) = report.fresh.first() {
            return Err(Error::Task(format!(
                "{}: it has no weights for {fresh}, which predicts the next word: it was trained for another task",
                path.display()
            )));
        }
        model.store.keep_packed();
        let template = model_files::chat_template(path)?;
        let end = model_files::end_ids(path, &tokenizer)?;
        let stated = match spec {
            HeadSpec::Seq2Seq => Some(generate::Options::of_folder(Source::find(path)?.folder())?),
            _ => None,
        };
        Ok(Generator { model, tokenizer, template, end, stated, report })
    }

    /// How loading went.
    pub fn load_report(&self) -> &LoadReport {
        &self.report
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The model's chat template, if it has one.
    pub fn template(&self) -> Option<&ChatTemplate> {
        self.template.as_ref()
    }

    /// Whether a new text is written for each text, rather than the text gone on with.
    pub fn answers(&self) -> bool {
        self.stated.is_some()
    }

    /// Ids that end what is written.
    pub fn end(&self) -> &[u32] {
        &self.end
    }

    /// The ids of a text to be continued, with what the tokenizer puts before it.
    ///
    /// # Errors
    /// A text the tokenizer refuses.
    pub fn prompt(&self, text: &str) -> Result<Vec<u32>, Error> {
        let mut ids = self.tokenizer.encode(text, None, None)?.ids;
        if self.answers() {
            return Ok(ids);
        }
        // What a tokenizer puts behind a text would end it.
        while ids.len() > 1 && ids.last().is_some_and(|id| self.end.contains(id)) {
            ids.pop();
        }
        Ok(ids)
    }

    /// The ids of a conversation that is to be answered, by the model's own template.
    ///
    /// # Errors
    /// The model has none, or it refuses the messages.
    pub fn conversation(&self, messages: &[Message]) -> Result<Vec<u32>, Error> {
        let Some(template) = &self.template else {
            return Err(Error::Task(
                "this model has no chat template: give it a text to go on with, without --chat".to_string(),
            ));
        };
        let special = self.tokenizer.special_tokens();
        let [bos, eos] =
            [special.bos, special.eos].map(|id| id.and_then(|id| self.tokenizer.id_to_token(id)));
        let text = template.render(messages, true, bos.as_deref(), eos.as_deref())?;
        // The template has written the special tokens already.
        Ok(self.tokenizer.encode_bare(&text)?)
    }

    /// Goes on with prompts. `each` is told the prompt and what was written next, as soon as nothing can change it any more
    /// (in beam search: at the end), and says whether to go on.
    ///
    /// # Errors
    /// Options out of range; an empty prompt, or one that leaves no room.
    pub fn generate(
        &self,
        prompts: &[Vec<u32>],
        options: &GenerateOptions,
        each: &mut dyn FnMut(usize, &str) -> bool,
    ) -> Result<Vec<Written>, Error> {
        if let Some(empty) = options.stop.iter().position(String::is_empty) {
            return Err(Error::Task(format!("text {} of those that stop is empty", empty + 1)));
        }
        let mut streams: Vec<Stream> = prompts
            .iter()
            .map(|prompt| Stream::new(if self.answers() { &[] } else { prompt }, &options.stop))
            .collect();
        let mut failed = None;
        let mut take = |prompt: usize, id: u32, each: &mut dyn FnMut(usize, &str) -> bool| {
            if self.end.contains(&id) {
                return true;
            }
            match streams[prompt].push(id, &self.tokenizer) {
                Ok(text) => (text.is_empty() || each(prompt, &text)) && !streams[prompt].stopped(),
                Err(error) => {
                    failed.get_or_insert(error);
                    false
                }
            }
        };
        let mut adjust = options.adjust.clone();
        if let Some(stated) = &self.stated {
            // What the model was trained to begin and end with is not a matter of taste.
            let Adjust { never, first, last, .. } = stated.adjust.clone();
            adjust = Adjust { never, first, last, ..adjust };
        }
        let options = generate::Options {
            max_new: options.max_new,
            end: self.end.clone(),
            choice: options.choice.clone(),
            adjust,
            start: self.stated.as_ref().and_then(|stated| stated.start),
            precision: options.precision,
        };
        let packed = Packed::from_ids(prompts);
        let beams = matches!(options.choice, Choice::Beam(_));
        let found = generate::generate(&self.model, &packed, &options, &mut |prompt, id| {
            take(prompt, id, &mut *each)
        })?;
        if beams {
            for (prompt, continuation) in found.iter().enumerate() {
                let _all = continuation.ids.iter().all(|&id| take(prompt, id, &mut *each));
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        let mut written = Vec::new();
        for (at, (continuation, stream)) in found.into_iter().zip(streams).enumerate() {
            let stopped = stream.stopped();
            let (text, rest) = stream.finish(&self.tokenizer)?;
            if !rest.is_empty() {
                each(at, &rest);
            }
            written.push(Written {
                text,
                ended: if stopped { Ended::Stopped } else { continuation.ended },
                prompt_tokens: prompts[at].len(),
                tokens: continuation.ids.len(),
                score: continuation.score,
            });
        }
        Ok(written)
    }
}
