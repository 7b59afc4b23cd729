//! How a model is told who said what: by its own chat template or, where it has none, by a plain one that is saved with it.
//!
//! Paper: Wolf et al. 2019, "TransferTransfo", section 3 (persona, history and reply as one input),
//! <https://arxiv.org/abs/1901.08149>. Differs from the paper in how speakers are told: by what the template writes around turns,
//! instead of new tokens and embeddings of their own for each speaker, so that the model keeps its shape and every program that
//! knows chat templates talks to it in the form it learnt.

use std::path::Path;

use topwork_text::{ChatTemplate, Message, Tokenizer};

use crate::error::Error;
use crate::model_files;

/// The file of a template in a model folder.
pub const TEMPLATE: &str = "chat_template.jinja";

/// The template of models that have none: the persona in a line, then a line a turn, each with who speaks in front; an answer ends
/// as texts do.
pub const PLAIN: &str = "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'system' %}\
                         {{ message['content'] }}{{ '\\n' }}{% elif message['role'] == 'user' %}\
                         User: {{ message['content'] }}{{ '\\n' }}{% else %}\
                         Bot: {{ message['content'] }}{{ eos_token }}{{ '\\n' }}{% endif %}{% endfor %}\
                         {% if add_generation_prompt %}Bot:{% endif %}";

/// Stands for any persona and any turn, where only what is around them counts.
const PROBE: &str = "x7";

/// The form in which a model reads conversations.
pub struct Conversation {
    template: ChatTemplate,
    plain: bool,
    /// Whether a persona is a message of its own; else it stands before the first turn.
    system: bool,
    bos: Option<String>,
    eos: Option<String>,
    end: Vec<u32>,
}

/// A prompt that was made to fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fitted {
    /// Its ids; more than were asked for only if the persona and the last turn take as many.
    pub ids: Vec<u32>,
    /// The oldest turns, so many, fell off.
    pub dropped: usize,
    /// Tokens it would have had with all turns.
    pub whole: usize,
}

impl Conversation {
    /// The form of a model: that of its template, or the plain one.
    ///
    /// # Errors
    /// A broken template; a model none of whose tokens ends a text, and so a reply.
    pub fn read(model: &Path, tokenizer: &Tokenizer) -> Result<Self, Error> {
        let own = model_files::chat_template(model)?;
        let end = model_files::end_ids(model, tokenizer)?;
        let plain = own.is_none();
        let template = match own {
            Some(template) => template,
            None => ChatTemplate::new("the plain template", PLAIN)?,
        };
        let form = Self::new(template, end, tokenizer)
            .map_err(|error| Error::Task(format!("{}: {error}", model.display())))?;
        Ok(Conversation { plain, ..form })
    }

    /// The form that a template gives; `end` are the ids that end what is written.
    ///
    /// # Errors
    /// No such ids.
    pub fn new(template: ChatTemplate, end: Vec<u32>, tokenizer: &Tokenizer) -> Result<Self, Error> {
        let special = tokenizer.special_tokens();
        let [bos, eos] = [special.bos, special.eos].map(|id| id.and_then(|id| tokenizer.id_to_token(id)));
        let known = tokenizer.id_limit() as u32;
        let end: Vec<u32> = end.into_iter().filter(|&id| id < known).collect();
        if end.is_empty() {
            return Err(Error::Task(
                "no token ends a text, so a reply would have no end: name one as eos_token in tokenizer_config.json, or take \
                 another model"
                    .to_string(),
            ));
        }
        let mut form = Conversation { template, plain: false, system: true, bos, eos, end };
        let persona = [PROBE.to_string()];
        let asked = form.render(&form.messages(&persona, &["a".to_string()]), true);
        // Some templates refuse messages of the system, some leave them out.
        form.system = asked.is_ok_and(|text| text.contains(PROBE));
        Ok(form)
    }

    /// The template.
    pub fn template(&self) -> &str {
        self.template.text()
    }

    /// Whether it is the plain one.
    pub fn is_plain(&self) -> bool {
        self.plain
    }

    /// Ids that end a reply.
    pub fn end(&self) -> &[u32] {
        &self.end
    }

    /// The prompt for a reply to the last of `turns`, which both sides took in turn, in at most `room` tokens: the oldest turns fall
    /// off, the persona and the last turn stay. Where turns fall off, the first that is left is one of the other side.
    ///
    /// # Errors
    /// A template that refuses the messages; no turn.
    pub fn fit(
        &self,
        tokenizer: &Tokenizer,
        persona: &[String],
        turns: &[String],
        room: usize,
    ) -> Result<Fitted, Error> {
        let mut ids = self.prompt(tokenizer, persona, turns)?;
        let (mut dropped, whole) = (0, ids.len());
        while ids.len() > room && dropped + 1 < turns.len() {
            dropped += if (turns.len() - dropped).is_multiple_of(2) { 1 } else { 2 };
            ids = self.prompt(tokenizer, persona, &turns[dropped..])?;
        }
        Ok(Fitted { ids, dropped, whole })
    }

    /// The ids of a reply as they follow a prompt, ended as a reply is.
    ///
    /// # Errors
    /// A template that refuses the messages, a text that the tokenizer refuses.
    pub fn reply(&self, tokenizer: &Tokenizer, reply: &str) -> Result<Vec<u32>, Error> {
        let reply = reply.trim();
        let asked = [Message::new("user", PROBE)];
        let answered = [Message::new("user", PROBE), Message::new("assistant", reply)];
        let (before, whole) = (self.render(&asked, true)?, self.render(&answered, false)?);
        // What follows the prompt, if the template writes an answer so: perhaps a space, the reply, what ends it.
        let rest = whole.strip_prefix(before.as_str()).unwrap_or(reply);
        let (rest, at) = rest.find(reply).map_or((reply, 0), |at| (rest, at));
        let mut ids = tokenizer.encode_bare(rest)?;
        match ids.iter().position(|id| self.end.contains(id)) {
            Some(end) => ids.truncate(end + 1),
            None => {
                ids = tokenizer.encode_bare(&rest[..at + reply.len()])?;
                ids.push(self.end[0]);
            }
        }
        Ok(ids)
    }

    fn prompt(&self, tokenizer: &Tokenizer, persona: &[String], turns: &[String]) -> Result<Vec<u32>, Error> {
        let text = self.render(&self.messages(persona, turns), true)?;
        // The template has written the special tokens already.
        let ids = tokenizer.encode_bare(&text)?;
        if ids.is_empty() || turns.is_empty() {
            return Err(Error::Task("the chat template makes an empty prompt of it".to_string()));
        }
        Ok(ids)
    }

    /// The last turn is the other side's, and so is every second one before.
    fn messages(&self, persona: &[String], turns: &[String]) -> Vec<Message> {
        let mut messages = Vec::with_capacity(turns.len() + 1);
        let mut before = persona.iter().map(|sentence| sentence.trim()).collect::<Vec<_>>().join(" ");
        if self.system && !before.is_empty() {
            messages.push(Message::new("system", std::mem::take(&mut before)));
        }
        for (at, turn) in turns.iter().enumerate() {
            let (other, turn) = ((turns.len() - at) % 2 == 1, turn.trim());
            if other && !before.is_empty() {
                messages.push(Message::new("user", format!("{}\n\n{turn}", std::mem::take(&mut before))));
            } else {
                messages.push(Message::new(if other { "user" } else { "assistant" }, turn));
            }
        }
        messages
    }

    fn render(&self, messages: &[Message], asks: bool) -> Result<String, Error> {
        Ok(self.template.render(messages, asks, self.bos.as_deref(), self.eos.as_deref())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/decoder")
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| text.to_string()).collect()
    }

    /// The form of a template, and the tokenizer of the tiny GPT-2, which is one of bytes.
    fn form(template: &str) -> (Conversation, Tokenizer) {
        let tokenizer = model_files::tokenizer(folder()).unwrap();
        let template = ChatTemplate::new("here", template).unwrap();
        (Conversation::new(template, vec![0], &tokenizer).unwrap(), tokenizer)
    }

    fn read(tokenizer: &Tokenizer, ids: &[u32]) -> String {
        tokenizer.decode(ids, false).unwrap()
    }

    #[test]
    fn speakers_are_told_by_the_plain_template() {
        let (form, tokenizer) = form(PLAIN);
        let turns = texts(&["hi", "hello", " what do you like ? "]);
        let prompt = form.fit(&tokenizer, &texts(&["i like tea .", "i am old ."]), &turns, 1000).unwrap();
        let expected = "<|endoftext|>i like tea . i am old .\nUser: hi\nBot: hello<|endoftext|>\nUser: what do you like ?\nBot:";
        assert_eq!(read(&tokenizer, &prompt.ids), expected);
        assert_eq!((prompt.dropped, prompt.whole), (0, prompt.ids.len()));
        let reply = form.reply(&tokenizer, "tea !\n").unwrap();
        assert_eq!(read(&tokenizer, &reply), " tea !<|endoftext|>");
        // What a reply is taught as is what the history holds of it.
        let again = form.fit(&tokenizer, &[], &texts(&["a", "tea !", "b"]), 1000).unwrap();
        let text = read(&tokenizer, &again.ids);
        assert!(text.starts_with("<|endoftext|>User: a\nBot: tea !<|endoftext|>\nUser: b"), "{text}");
    }

    #[test]
    fn the_oldest_turns_fall_off_and_the_persona_stays() {
        let (form, tokenizer) = form(PLAIN);
        let turns: Vec<String> = (0..9).map(|turn| format!("turn {turn}")).collect();
        let persona = texts(&["i like tea ."]);
        let whole = form.fit(&tokenizer, &persona, &turns, usize::MAX).unwrap().ids.len();
        let mut seen = Vec::new();
        for room in (1..=whole).rev() {
            let fitted = form.fit(&tokenizer, &persona, &turns, room).unwrap();
            let text = read(&tokenizer, &fitted.ids);
            assert!(text.starts_with("<|endoftext|>i like tea .\nUser: turn"), "{text}");
            assert!(text.ends_with("User: turn 8\nBot:") && fitted.whole == whole, "{text}");
            assert!(fitted.ids.len() <= room || fitted.dropped == 8, "{room}");
            seen.push(fitted.dropped);
        }
        seen.dedup();
        assert_eq!(seen, [0, 2, 4, 6, 8], "by exchanges, so that the first turn is the other side's");
        // One side spoke first: what falls off first is its turn alone.
        let whole = form.fit(&tokenizer, &persona, &turns[1..], usize::MAX).unwrap().ids.len();
        let fitted = form.fit(&tokenizer, &persona, &turns[1..], whole - 1).unwrap();
        assert!(read(&tokenizer, &fitted.ids).contains("tea .\nUser: turn 2\n"), "{fitted:?}");
    }

    #[test]
    fn templates_that_know_no_system_have_the_persona_in_the_first_turn() {
        let refuses = "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}\
                       [{{ m.role }}]{{ m.content }}{% endfor %}";
        let forgets = "{% for m in messages %}{% if m.role != 'system' %}[{{ m.role }}]{{ m.content }}{% endif %}{% endfor %}";
        for template in [refuses, forgets] {
            let (form, tokenizer) = form(template);
            let prompt = form.fit(&tokenizer, &texts(&["p"]), &texts(&["a", "b", "c"]), 100).unwrap();
            assert_eq!(read(&tokenizer, &prompt.ids), "[user]p\n\na[assistant]b[user]c");
        }
        let (form, tokenizer) = form("{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}");
        let prompt = form.fit(&tokenizer, &texts(&["p"]), &texts(&["a", "b"]), 100).unwrap();
        assert_eq!(read(&tokenizer, &prompt.ids), "[system]p[assistant]a[user]b");
    }

    #[test]
    fn a_reply_ends_as_the_template_ends_it_or_with_the_token_that_ends_texts() {
        let turn = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token }}\n{% endfor %}";
        let asks = "{% if add_generation_prompt %}<assistant>{% endif %}";
        for (template, expected) in [
            (format!("{turn}{asks}"), "fine<|endoftext|>"),
            // It ends with nothing.
            (format!("{}{asks}", turn.replace("{{ eos_token }}", "")), "fine<|endoftext|>"),
            // It thinks before it answers.
            (
                format!(
                    "{}{asks}",
                    turn.replace(
                        "{{ m.content",
                        "{% if m.role == 'assistant' %}<think/>{% endif %}{{ m.content"
                    )
                ),
                "<think/>fine<|endoftext|>",
            ),
            // What it asks with is not how it begins an answer.
            (format!("{turn}{{% if add_generation_prompt %}}A:{{% endif %}}"), "fine<|endoftext|>"),
        ] {
            let (form, tokenizer) = form(&template);
            assert_eq!(read(&tokenizer, &form.reply(&tokenizer, "fine").unwrap()), expected, "{template}");
        }
        let tokenizer = model_files::tokenizer(folder()).unwrap();
        let template = ChatTemplate::new("here", PLAIN).unwrap();
        let error = Conversation::new(template, vec![100_000], &tokenizer).err().unwrap().to_string();
        assert!(error.contains("eos_token"), "{error}");
        // The folder's own template, in transformers' words.
        let own = Conversation::read(&folder(), &tokenizer).unwrap();
        assert!(!own.is_plain() && own.template().contains("<assistant>"));
        let prompt = own.fit(&tokenizer, &[], &texts(&["why?"]), 100).unwrap();
        assert_eq!(read(&tokenizer, &prompt.ids), "<user>why?<assistant>");
    }
}
