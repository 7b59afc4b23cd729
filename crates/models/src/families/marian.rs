//! Marian: the translators of OPUS-MT.
//!
//! Paper: Junczys-Dowmunt et al. 2018, "Marian: Fast Neural Machine Translation in C++", <https://arxiv.org/abs/1804.00344>; the
//! network is that of Vaswani et al. 2017, "Attention Is All You Need", section 3, <https://arxiv.org/abs/1706.03762>. Reference
//! code: <https://github.com/huggingface/transformers/blob/main/src/transformers/models/marian/modeling_marian.py>.

use serde_json::json;
use topwork_kernels::activation::Activation;

use crate::config::Config;
use crate::encoder_decoder::names::WEIGHTS;
use crate::encoder_decoder::{EncoderDecoder, EncoderDecoderConfig, Places};
use crate::error::Error;
use crate::family::Family;

/// The entry in the list.
pub const MARIAN: Family = Family {
    name: "marian",
    summary: "Marian's translators (OPUS-MT)",
    paper: "https://arxiv.org/abs/1804.00344",
    model_types: &["marian"],
    architectures: &[("seq2seq", "MarianMTModel"), ("embed", "MarianModel")],
    weights: WEIGHTS,
    build: |config, store| Ok(Box::new(EncoderDecoder::declare(store, settings(Config(config))?))),
};

fn settings(config: Config) -> Result<EncoderDecoderConfig, Error> {
    config.only("normalize_before", &json!(false))?;
    config.only("normalize_embedding", &json!(false))?;
    config.only("add_final_layer_norm", &json!(false))?;
    config.only("static_position_embeddings", &json!(true))?;
    let mut settings = EncoderDecoderConfig::read(config, Activation::Gelu, [58_100, 0], Some(58_100))?;
    settings.places = Places::Waves;
    settings.embedding_norm = false;
    settings.shared = config.flag_or("share_encoder_decoder_embeddings", true)?;
    if !settings.shared {
        settings.target.vocab = config.size_or("decoder_vocab_size", settings.size.vocab)?;
    }
    Ok(settings)
}
