//! BART, and mBART, which is BART in several languages.
//!
//! Paper: Lewis et al. 2020, "BART: Denoising Sequence-to-Sequence Pre-training for Natural Language Generation, Translation,
//! and Comprehension", section 2, <https://arxiv.org/abs/1910.13461>; Paper: Liu et al. 2020, "Multilingual Denoising Pre-training for
//! Neural Machine Translation", section 2, <https://arxiv.org/abs/2001.08210>. Reference code:
//! <https://github.com/huggingface/transformers/blob/main/src/transformers/models/bart/modeling_bart.py> and
//! <https://github.com/huggingface/transformers/blob/main/src/transformers/models/mbart/modeling_mbart.py>.
//! The side that writes alone (`is_decoder`) and layers left out in training are refused.

use serde_json::json;
use topwork_kernels::activation::Activation;

use crate::config::Config;
use crate::encoder_decoder::names::WEIGHTS;
use crate::encoder_decoder::{EncoderDecoder, EncoderDecoderConfig};
use crate::error::Error;
use crate::family::Family;
use crate::target::Start;

/// The entry in the list.
pub const BART: Family = Family {
    name: "bart",
    summary: "BART and what is trained from it for summaries and inference (DistilBART)",
    paper: "https://arxiv.org/abs/1910.13461",
    model_types: &["bart"],
    architectures: &[
        ("seq2seq", "BartForConditionalGeneration"),
        ("embed", "BartModel"),
        ("classify", "BartForSequenceClassification"),
    ],
    weights: WEIGHTS,
    build: |config, store| Ok(Box::new(EncoderDecoder::declare(store, bart(Config(config))?))),
};

/// mBART: norms before the blocks, and targets that begin with their language.
pub const MBART: Family = Family {
    name: "mbart",
    summary: "BART in 25 or 50 languages, for translation",
    paper: "https://arxiv.org/abs/2001.08210",
    model_types: &["mbart"],
    architectures: &[
        ("seq2seq", "MBartForConditionalGeneration"),
        ("embed", "MBartModel"),
        ("classify", "MBartForSequenceClassification"),
    ],
    weights: WEIGHTS,
    build: |config, store| Ok(Box::new(EncoderDecoder::declare(store, mbart(Config(config))?))),
};

fn bart(config: Config) -> Result<EncoderDecoderConfig, Error> {
    config.only("normalize_before", &json!(false))?;
    config.only("normalize_embedding", &json!(true))?;
    config.only("add_final_layer_norm", &json!(false))?;
    config.only("static_position_embeddings", &json!(false))?;
    EncoderDecoderConfig::read(config, Activation::Gelu, [1, 2], Some(2))
}

fn mbart(config: Config) -> Result<EncoderDecoderConfig, Error> {
    config.only("normalize_before", &json!(true))?;
    config.only("normalize_embedding", &json!(true))?;
    config.only("add_final_layer_norm", &json!(true))?;
    config.only("static_position_embeddings", &json!(false))?;
    let mut settings = EncoderDecoderConfig::read(config, Activation::Gelu, [1, 2], None)?;
    settings.pre_norm = true;
    // Whatever the config says of how texts are written, targets are learnt behind their own last token.
    settings.style.start = Start::Last;
    Ok(settings)
}
