//! Chat templates: the Jinja text by which a model's own files turn messages into a prompt.
//!
//! A template runs as transformers runs it: blocks take the line they stand in, Python's methods of strings, lists and
//! dictionaries are there, and so are `raise_exception`, `strftime_now` and `tojson`. It reaches nothing but the
//! messages, and stops after a bounded number of steps.

mod json;
mod time;

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, context};
use serde_json::Value;

use crate::settings::{Settings, read_optional};
use crate::{Error, Result};

/// Steps that a template may take for each byte of the messages, and for each template. A step also stands for 64 bytes
/// of memory, so that a template has 128 MB.
const STEPS: u64 = 1_000;
const STEPS_AT_LEAST: u64 = 2_000_000;
/// Name of the template in its environment; what its errors name too.
const NAME: &str = "chat_template";

/// A turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// `system`, `user`, `assistant`, or what else the template knows.
    pub role: String,
    /// The text.
    pub content: String,
}

impl Message {
    /// A message of this role with this text.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into() }
    }
}

/// The template of a model.
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    path: PathBuf,
    text: String,
    environment: Environment<'static>,
}

impl ChatTemplate {
    /// The template of a model folder: `chat_template.jinja`, or else `chat_template` of `tokenizer_config.json`
    /// (of several, the one named `default`). `None` if the folder has none.
    ///
    /// # Errors
    /// [`Error::Chat`] if the template is no Jinja, with its line; [`Error::Read`] and [`Error::Setting`] for the files.
    pub fn from_folder(folder: impl AsRef<Path>) -> Result<Option<Self>> {
        let folder = folder.as_ref();
        let path = folder.join("chat_template.jinja");
        if let Some(bytes) = read_optional(&path)? {
            let text = String::from_utf8(bytes).map_err(|error| Error::Chat {
                path: path.clone(),
                problem: format!("expected UTF-8, got {error}"),
            })?;
            return Self::new(path, &text).map(Some);
        }
        let (settings, _) = Settings::read(folder)?;
        let path = folder.join("tokenizer_config.json");
        let template = match settings.raw().get(NAME) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(template)) => template,
            Some(Value::Array(several)) => {
                let default = several.iter().find(|one| one["name"] == "default");
                match default.and_then(|one| one["template"].as_str()) {
                    Some(template) => template,
                    None => {
                        let expected = "a template, or a list with one whose name is \"default\"";
                        return Err(settings.wrong(NAME, expected, &Value::Array(several.clone())));
                    }
                }
            }
            Some(other) => return Err(settings.wrong(NAME, "a template", other)),
        };
        Self::new(path, template).map(Some)
    }

    /// A template from elsewhere (the `tokenizer.chat_template` of a GGUF file); `path` is for messages.
    ///
    /// # Errors
    /// [`Error::Chat`] if it is no Jinja, with its line.
    pub fn new(path: impl Into<PathBuf>, template: &str) -> Result<Self> {
        let path = path.into();
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        let syntax = syntax.map_err(|error| Error::Chat { path: path.clone(), problem: told(&error) })?;
        environment.set_syntax(syntax);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_filter("tojson", json::tojson);
        environment.add_function("raise_exception", raise_exception);
        environment
            .add_template_owned(NAME, without_generation(template))
            .map_err(|error| Error::Chat { path: path.clone(), problem: told(&error) })?;
        Ok(Self { path, text: template.to_string(), environment })
    }

    /// The template as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The prompt for a conversation, with the tokens that begin and end a sequence (empty if `None`);
    /// `add_generation_prompt` ends it with the beginning of the assistant's answer. `strftime_now` is in UTC.
    ///
    /// # Errors
    /// [`Error::Chat`] if the template refuses the messages, or does what cannot be done.
    pub fn render(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
        bos: Option<&str>,
        eos: Option<&str>,
    ) -> Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.render_at(now, messages, add_generation_prompt, [bos, eos])
    }

    fn render_at(
        &self,
        seconds: u64,
        messages: &[Message],
        add_generation_prompt: bool,
        [bos, eos]: [Option<&str>; 2],
    ) -> Result<String> {
        let failed = |error: minijinja::Error| Error::Chat { path: self.path.clone(), problem: told(&error) };
        let mut environment = self.environment.clone();
        let length: usize = messages.iter().map(|message| message.role.len() + message.content.len()).sum();
        environment.set_fuel(Some(STEPS_AT_LEAST + STEPS * length as u64));
        environment.add_function("strftime_now", move |format: &str| time::strftime(format, seconds));
        let turns: Vec<minijinja::Value> = messages
            .iter()
            .map(|message| {
                minijinja::Value::from_pairs([("role", &*message.role), ("content", &*message.content)])
            })
            .collect();
        let template = environment.get_template(NAME).map_err(failed)?;
        template
            .render(context! {
                messages => turns, add_generation_prompt, bos_token => bos.unwrap_or_default(),
                eos_token => eos.unwrap_or_default(), tools => (), documents => (),
            })
            .map_err(failed)
    }
}

fn raise_exception(message: &str) -> std::result::Result<String, minijinja::Error> {
    Err(minijinja::Error::new(ErrorKind::InvalidOperation, message.to_string()))
}

/// What an error says, with the line of the template.
fn told(error: &minijinja::Error) -> String {
    let kind = error.kind().to_string();
    let what = match error.detail() {
        Some(detail) => format!("{kind}: {detail}"),
        None => kind,
    };
    match error.line() {
        Some(line) => format!("line {line}: {what}"),
        None => what,
    }
}

/// The template without the marks around what an assistant generates, which mean something to training alone.
fn without_generation(template: &str) -> String {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(at) = rest.find("{%") {
        // Behind the mark that begins it: `{%}` is the beginning of one.
        let Some(length) = rest[at + 2..].find("%}").map(|length| length + 2) else { break };
        let (before, tag) = (&rest[..at], &rest[at..at + length + 2]);
        text.push_str(before);
        let word = tag[2..tag.len() - 2]
            .trim_matches(|char: char| char.is_whitespace() || char == '-' || char == '+');
        match word {
            "generation" => text.push_str(&tag.replace("generation", "if true")),
            "endgeneration" => text.push_str(&tag.replace("endgeneration", "endif")),
            _ => text.push_str(tag),
        }
        rest = &rest[at + length + 2..];
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
#[path = "chat_tests.rs"]
mod tests;
