//! AWD-LSTM, and the classifier that ULMFiT puts on it.
//!
//! Paper: Merity, Keskar and Socher 2018, "Regularizing and Optimizing LSTM Language Models",
//! <https://arxiv.org/abs/1708.02182>; Howard and Ruder 2018, "Universal Language Model Fine-tuning for Text Classification",
//! section 3, <https://arxiv.org/abs/1801.06146>. Reference code: fastai's `text/models/awdlstm.py` and `text/models/core.py`,
//! <https://github.com/fastai/fastai>; the keys of `config.json` are those of its `awd_lstm_lm_config`.
//!
//! A text is read as a whole. fastai reads it in pieces of `bptt` tokens and keeps gradients within a piece, and pools the last
//! 1,400 tokens only; without gradients the numbers are the same.

use serde_json::json;
use topwork_kernels::pool::Pool;
use topwork_nn::ParamStore;
use topwork_weights::Op::Keep;
use topwork_weights::Table;

use crate::config::Config;
use crate::error::Error;
use crate::family::{
    ClassifierStyle, ConcatStyle, Family, LanguageModelStyle, NO_LIMIT, Regularisation, Size,
};
use crate::recurrent::{DropStyle, Reads, Recurrent, RecurrentConfig};

/// The entry in the list.
pub const AWD_LSTM: Family = Family {
    name: "awd-lstm",
    summary: "AWD-LSTM, and ULMFiT's classifier over it, with fastai's weights",
    paper: "https://arxiv.org/abs/1801.06146",
    model_types: &["awd_lstm", "ulmfit"],
    architectures: &[
        ("embed", "AWD_LSTM"),
        ("causal-lm", "AWD_LSTMForCausalLM"),
        ("classify", "AWD_LSTMForSequenceClassification"),
        ("tag", "AWD_LSTMForTokenClassification"),
    ],
    weights: Table {
        rules: &[
            ("{base}encoder.weight", "embed.word.weight", Keep),
            ("{base}rnns.{i}.module.weight_ih_l0", "layers.{i}.forward.input.weight", Keep),
            ("{base}rnns.{i}.module.bias_ih_l0", "layers.{i}.forward.input.bias", Keep),
            ("{base}rnns.{i}.weight_hh_l0_raw", "layers.{i}.forward.recurrent.weight", Keep),
            ("{base}rnns.{i}.module.bias_hh_l0", "layers.{i}.forward.recurrent.bias", Keep),
            ("1.decoder.bias", "head.lm.bias", Keep),
            ("1.layers.{i}.0.weight", "head.layers.{i}.norm.weight", Keep),
            ("1.layers.{i}.0.bias", "head.layers.{i}.norm.bias", Keep),
            ("1.layers.{i}.0.running_mean", "head.layers.{i}.norm.mean", Keep),
            ("1.layers.{i}.0.running_var", "head.layers.{i}.norm.variance", Keep),
            ("1.layers.{i}.2.weight", "head.layers.{i}.linear.weight", Keep),
            ("1.tagger.weight", "head.out.weight", Keep),
            ("1.tagger.bias", "head.out.bias", Keep),
        ],
        tied: &[
            ("1.decoder.weight", "embed.word.weight"),
            ("{base}encoder_dp.emb.weight", "embed.word.weight"),
        ],
        ignored: &[
            ("{base}rnns.{i}.module.weight_hh_l0", "what was dropped of the raw weight last, drawn anew"),
            ("1.layers.{i}.0.num_batches_tracked", "a count that nothing reads"),
        ],
        unused: &[("head.**", "a head of another task, not used by this one")],
        prefixes: &["0.", "0.module.", ""],
        bases: &[("classify", "0.module."), ("embed", "")],
        ..Table::EMPTY
    },
    build: |config, store| Ok(Box::new(declare(store, Config(config))?)),
};

fn declare(store: &mut ParamStore, config: Config) -> Result<Recurrent, Error> {
    config.only("bidir", &json!(false))?;
    config.only("qrnn", &json!(false))?;
    config.only("tie_weights", &json!(true))?;
    let (embedding, inner) = (config.size("emb_sz")?, config.size("n_hid")?);
    let layers = config.size("n_layers")?;
    let mut widths = vec![inner; layers - 1];
    widths.push(embedding);
    let size = Size {
        layers,
        hidden: embedding,
        heads: 0,
        ffn: inner,
        vocab: config.size("vocab_size")?,
        max_tokens: NO_LIMIT,
        types: 0,
        // fastai draws tables from -0.1 to 0.1.
        std: config.number_or("initializer_range", 0.0577)? as f32,
    };
    let p = |key: &str, default: f64| config.probability_or(key, default);
    let output = p("output_p", 0.1)?;
    let classifier =
        ClassifierStyle { pool: Pool::Last, dense: None, dropout: output, out: "head.out", bias: true };
    let inner_width = config.size_or("lin_ftrs", 50)?;
    let concat = ConcatStyle { width: inner_width, dropout: [p("classifier_p", 0.4)?, p("lin_p", 0.1)?] };
    let bias = config.flag_or("out_bias", true)?.then_some("head.lm.bias");
    let weight = |key: &str, default: f64| Ok::<_, Error>(config.number_or(key, default)? as f32);
    let regularisation =
        Regularisation { dropout: output, activation: weight("alpha", 2.0)?, change: weight("beta", 1.0)? };
    let config = RecurrentConfig {
        size,
        embedding,
        widths,
        reads: Reads::Forward,
        word_drop: p("embed_p", 0.02)?,
        embedding_drop: DropStyle::Locked(p("input_p", 0.25)?),
        weight_drop: p("weight_p", 0.2)?,
        between: DropStyle::Locked(p("hidden_p", 0.15)?),
        projection: false,
        output_drop: DropStyle::Nothing,
        classifier,
        concat: Some(concat),
        language_model: LanguageModelStyle { transform: None, tied: true, bias },
        regularisation: Some(regularisation),
    };
    Ok(Recurrent::declare(store, config))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use burn::tensor::Device;
    use topwork_kernels::gemm::Precision;
    use topwork_text::Packed;

    use crate::model::{Model, SaveOptions};

    fn fixture(name: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)
    }

    #[test]
    fn a_file_that_fastai_saved_is_the_same_model() {
        let open = |name: &str| Model::open_saved(&fixture(name), &Device::flex()).unwrap();
        let ((model, _), (same, report)) = (open("awd-lstm"), open("awd-lstm/fastai"));
        assert_eq!(report.loaded.len(), 14, "{report}");
        assert_eq!(report.ignored.len(), 3 + 2, "dropped weights, and the table two times more: {report}");
        for (id, param) in model.store.iter() {
            assert_eq!(model.store.values(id).unwrap(), same.store.values(id).unwrap(), "{}", param.path);
        }
    }

    #[test]
    fn a_text_without_tokens_is_an_error() {
        let input = Packed::new(vec![5, 6], vec![0, 0], vec![0, 2, 2]).unwrap();
        for name in ["awd-lstm/classify", "bilstm", "cnn", "transformer"] {
            let (model, _) = Model::open_saved(&fixture(name), &Device::flex()).unwrap();
            let error = model.predict(&input, Precision::F32).unwrap_err().to_string();
            assert!(error.contains("text 1 of the batch"), "{name}: {error}");
        }
    }

    #[test]
    fn saved_weights_have_the_names_of_fastai() {
        for (name, names) in [
            ("awd-lstm", ["0.rnns.0.weight_hh_l0_raw", "1.decoder.bias"]),
            ("awd-lstm/classify", ["0.module.rnns.0.weight_hh_l0_raw", "1.layers.1.0.running_var"]),
        ] {
            let (model, _) = Model::open_saved(&fixture(name), &Device::flex()).unwrap();
            let folder = tempfile::tempdir().unwrap();
            let saved = folder.path().join("saved");
            model.save(&saved, &SaveOptions::default()).unwrap();
            let checkpoint = topwork_weights::Checkpoint::open(&saved).unwrap();
            for wanted in names {
                assert!(checkpoint.names().any(|held| held == wanted), "{name}: {wanted}");
            }
        }
    }
}
