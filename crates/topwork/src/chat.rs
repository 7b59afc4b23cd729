//! Talking with a model, a turn at a time.

use topwork_kernels::rng::derive;
use topwork_models::generate::{Choice, Sampling};

use crate::conversation::Conversation;
use crate::error::Error;
use crate::generator::{GenerateOptions, Generator, Written};

/// A conversation with a model: what it is like, and what was said.
pub struct Chat<'a> {
    generator: &'a Generator,
    form: Conversation,
    persona: Vec<String>,
    turns: Vec<String>,
}

/// An answer of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// What it wrote.
    pub written: Written,
    /// Turns that it was not told any more, because they had no room before the answer.
    pub forgotten: usize,
}

impl<'a> Chat<'a> {
    /// Begins a conversation with a model that has a chat template, and is like the sentences of `persona`.
    ///
    /// # Errors
    /// A model without a template, or one that writes texts for texts; no token that ends a text.
    pub fn new(generator: &'a Generator, persona: &[String]) -> Result<Self, Error> {
        if generator.answers() {
            return Err(Error::Task(
                "this model writes a text for a text and keeps no conversation: use topwork generate"
                    .to_string(),
            ));
        }
        let Some(template) = generator.template() else {
            return Err(Error::Task(
                "this model has no chat template, so nothing says how it is told who speaks: train it on conversations \
                 (topwork train --task dialog), or have it go on with a text (topwork generate)"
                    .to_string(),
            ));
        };
        let form = Conversation::new(template.clone(), generator.end().to_vec(), generator.tokenizer())?;
        let persona = persona.iter().filter(|sentence| !sentence.trim().is_empty()).cloned().collect();
        Ok(Chat { generator, form, persona, turns: Vec::new() })
    }

    /// What was said, the user's turns and the model's by turns.
    pub fn turns(&self) -> &[String] {
        &self.turns
    }

    /// Forgets what was said; the persona stays.
    pub fn reset(&mut self) {
        self.turns.clear();
    }

    /// Answers a turn. `each` is told what was written next, as [`Generator::generate`] tells it but without space in front, and
    /// says whether to go on; what was written until then is the answer. The oldest turns fall off where they would leave less
    /// than `options.max_new` tokens, or half of what the model reads, for the answer.
    ///
    /// # Errors
    /// Options out of range, a template that refuses; a turn that leaves no room for an answer. The conversation is then as it was.
    pub fn answer(
        &mut self,
        said: &str,
        options: &GenerateOptions,
        each: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Answered, Error> {
        self.turns.push(said.trim().to_string());
        let answered = self.reply(options, each);
        match &answered {
            Ok(answered) => self.turns.push(answered.written.text.trim().to_string()),
            Err(_) => {
                self.turns.pop();
            }
        }
        answered
    }

    fn reply(
        &self,
        options: &GenerateOptions,
        each: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Answered, Error> {
        let limit = self.generator.model().size().max_tokens;
        let room = limit - options.max_new.min(limit / 2);
        let prompt = self.form.fit(self.generator.tokenizer(), &self.persona, &self.turns, room)?;
        if prompt.ids.len() >= limit {
            return Err(Error::Task(format!(
                "this turn and the persona take {} tokens, and the model reads {limit} with its answer: say it in fewer words",
                prompt.ids.len()
            )));
        }
        let mut options = options.clone();
        if let Choice::Sample(sampling) = &options.choice {
            // Other draws in each turn, the same for the same conversation.
            let seed = derive(sampling.seed, &format!("turn {}", self.turns.len()));
            options.choice = Choice::Sample(Sampling { seed, ..sampling.clone() });
        }
        let mut begun = false;
        let mut without_space = |_: usize, new: &str| {
            let new = if begun { new } else { new.trim_start() };
            begun |= !new.is_empty();
            new.is_empty() || each(new)
        };
        let mut written = self.generator.generate(&[prompt.ids], &options, &mut without_space)?;
        let Some(written) = written.pop() else { unreachable!("a text is written for each prompt") };
        Ok(Answered { written, forgotten: prompt.dropped })
    }
}
