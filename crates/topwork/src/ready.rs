//! What a run starts from: the model that was found, its tokenizer, and the data made ready for it. Nothing is trained here.

use burn::tensor::Device;
use topwork_data::{Encoder, GroupCache, TokenCache};
use topwork_models::family::NO_LIMIT;
use topwork_models::{HeadSpec, Model, Pooling, Source};
use topwork_text::Tokenizer;

use crate::adapter;
use crate::convert::tokenizer_files;
use crate::datasets;
use crate::error::Error;
use crate::hub::{Found, Hub, Progress};
use crate::job::seed_of;
use crate::model_files;
use crate::prepare::{Prepared, Reads, prepare};
use crate::recipe::Recipe;
use crate::sentence::SentenceTexts;

/// A model and the data for it.
pub(crate) struct Ready {
    /// The recipe, with what a data set by name says of itself.
    pub recipe: Recipe,
    /// Where the model is.
    pub source: Found,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// Width of its encoder.
    pub hidden: usize,
    /// How it wants texts that become vectors.
    pub sentence: SentenceTexts,
    /// The seed of the recipe.
    pub seed: u64,
    /// The data.
    pub data: Prepared,
}

/// Finds the model and reads, splits and tokenizes the data as a recipe says; `note` is told what was decided.
///
/// # Errors
/// Everything wrong with recipe, model or data.
pub(crate) fn ready(
    asked: &Recipe,
    hub: &Hub,
    progress: &dyn Progress,
    note: &mut dyn FnMut(&str),
) -> Result<Ready, Error> {
    let (recipe, said) = datasets::settle(asked, hub, progress)?;
    said.iter().for_each(|line| note(line));
    let source = hub.model(&recipe.model, progress)?;
    let tokenizer = model_files::tokenizer(&source.path)?;
    let targets = model_files::target_tokenizer(&source.path)?;
    let seed = seed_of(&recipe)?;
    let plain = HeadSpec::embedder(Pooling::Cls, false);
    let size = Model::declare(Source::find(&source.path)?.config(), &plain, &Device::flex())?.size().clone();
    if tokenizer.id_limit() > size.vocab {
        return Err(Error::Task(format!(
            "{}: the tokenizer has ids up to {}, the model a table of {}: they do not belong together",
            source.path.display(),
            tokenizer.id_limit(),
            size.vocab
        )));
    }
    let virtual_tokens = adapter::virtual_tokens(&recipe, &source.path)?;
    if virtual_tokens > 0 && tokenizer.reads_pictures() {
        return Err(topwork_models::Error::VirtualTokens { what: "reading pictures" }.into());
    }
    let sentence = SentenceTexts::read(&source.path)?;
    let data = {
        let encoder = remembering(&tokenizer, hub)?;
        let targets = targets.as_ref().map(|targets| remembering(targets, hub)).transpose()?;
        let reads = Reads {
            tokenizer: &encoder,
            targets: targets.as_ref(),
            model_max: match size.max_tokens {
                NO_LIMIT => NO_LIMIT,
                most => most.saturating_sub(virtual_tokens),
            },
            sentence: &sentence,
            model: &source.path,
            groups: &GroupCache::new(hub.cache().root().join("groups")),
        };
        let data = prepare(&recipe, seed, &reads)?;
        data.notes.iter().for_each(|line| note(line));
        // Tasks that write texts in a form of their own ask nothing of it.
        let used = encoder.used().filter(|used| used.found + used.made > 0);
        used.iter().for_each(|used| note(&used.to_string()));
        data
    };
    for line in tokenizer.ignored_settings() {
        note(&format!("tokenizer: {line}: not applied"));
    }
    Ok(Ready { recipe, source, tokenizer, hidden: size.hidden, sentence, seed, data })
}

/// A tokenizer that remembers in the cache what it made of texts.
fn remembering<'a>(tokenizer: &'a Tokenizer, hub: &Hub) -> Result<Encoder<'a>, Error> {
    let identity: Vec<u8> = tokenizer_files(tokenizer)?
        .iter()
        .flat_map(|(name, content)| {
            [name.as_bytes(), &[0], &(content.len() as u64).to_le_bytes(), content].concat()
        })
        .collect();
    Ok(Encoder::cached(tokenizer, TokenCache::new(hub.cache().root().join("tokens"), &identity)))
}
