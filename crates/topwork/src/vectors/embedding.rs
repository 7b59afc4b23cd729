//! Static vectors as the start of an embedding layer over a vocabulary.

use topwork_kernels::rng::{Stream, derive};
use topwork_models::Model;
use topwork_text::Tokenizer;
use topwork_weights::WordVectors;

use crate::error::Error;

/// Rows for a vocabulary, and where they come from. Every word is in one of the counts.
#[derive(Clone, Debug, PartialEq)]
pub struct EmbeddingTable {
    /// `[vocab, width]`.
    pub values: Vec<f32>,
    /// Length of a row.
    pub width: usize,
    /// Words that have a vector as they are written.
    pub found: usize,
    /// Words that have one in lower case only.
    pub lowercased: usize,
    /// Words whose vector was put together from their character n-grams.
    pub from_subwords: usize,
    /// Words without any, by their row: drawn at random.
    pub missing: Vec<usize>,
}

/// The rows of `vocabulary` from word vectors. A word without a vector is drawn from a normal distribution with the mean
/// and deviation of all numbers there are, by `seed` and the word alone, wherever it stands. A `width` above that of
/// the vectors adds drawn columns.
///
/// # Errors
/// A `width` below that of the vectors: what is cut off them would be lost.
pub fn embedding_table(
    vectors: &WordVectors,
    vocabulary: &[impl AsRef<str>],
    width: Option<usize>,
    seed: u64,
) -> Result<EmbeddingTable, Error> {
    let own = vectors.width();
    let width = width.unwrap_or(own);
    if width < own {
        return Err(Error::Task(format!(
            "an embedding layer {width} wide cannot hold vectors of {own}: make it {own} wide or more"
        )));
    }
    let (mean, deviation) = moments(vectors.data());
    let values = Vec::with_capacity(vocabulary.len() * width);
    let mut table =
        EmbeddingTable { values, width, found: 0, lowercased: 0, from_subwords: 0, missing: Vec::new() };
    for (at, word) in vocabulary.iter().enumerate() {
        let word = word.as_ref();
        let mut random = Stream(derive(seed, word));
        let mut drawn =
            |count: usize| (0..count).map(|_| mean + deviation * random.normal()).collect::<Vec<f32>>();
        if let Some(row) = vectors.get(word) {
            table.found += 1;
            table.values.extend_from_slice(row);
        } else if let Some(row) = vectors.get(&word.to_lowercase()) {
            table.lowercased += 1;
            table.values.extend_from_slice(row);
        } else if let Some(row) = vectors.vector(word) {
            table.from_subwords += 1;
            table.values.extend_from_slice(&row);
        } else {
            table.missing.push(at);
            table.values.extend(drawn(own));
        }
        table.values.extend(drawn(width - own));
    }
    Ok(table)
}

/// Starts a model's table of words from word vectors, by the words its tokenizer has: see [`embedding_table`].
///
/// # Errors
/// A family without a table of words; a table narrower than the vectors; a tokenizer with more words than the table has rows.
pub fn start_from_vectors(
    model: &mut Model,
    tokenizer: &Tokenizer,
    vectors: &WordVectors,
    seed: u64,
) -> Result<EmbeddingTable, Error> {
    let id = model.word_table()?;
    let shape = model.store.param(id).shape.clone();
    if tokenizer.id_limit() > shape[0] {
        return Err(Error::Task(format!(
            "the tokenizer has ids up to {}, the model's table {} rows: they do not belong together",
            tokenizer.id_limit(),
            shape[0]
        )));
    }
    let words: Vec<String> =
        (0..shape[0] as u32).map(|id| tokenizer.id_to_token(id).unwrap_or_default()).collect();
    let table = embedding_table(vectors, &words, Some(shape[1]), seed)?;
    model.store.set(id, table.values.clone())?;
    Ok(table)
}

/// Mean and standard deviation.
fn moments(values: &[f32]) -> (f32, f32) {
    let count = values.len().max(1) as f64;
    let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
    let variance = values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count;
    (mean as f32, variance.sqrt() as f32)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use topwork_models::{HeadSpec, Pooling};

    use super::super::golden;
    use super::*;

    #[test]
    fn every_word_has_a_row_and_is_counted_once() {
        let space = golden::space("word2vec.bin");
        let vectors = space.vectors();
        let vocabulary = ["king", "[PAD]", "QUEEN", "unicorn"];
        let table = embedding_table(vectors, &vocabulary, None, 7).unwrap();
        assert_eq!((table.width, table.found, table.lowercased, table.from_subwords), (12, 1, 1, 0));
        assert_eq!(table.missing, [1, 3]);
        assert_eq!(&table.values[..12], vectors.get("king").unwrap());
        assert_eq!(&table.values[24..36], vectors.get("queen").unwrap());
        // A drawn row depends on the word and the seed, not on its place.
        let other = embedding_table(vectors, &["unicorn"], None, 7).unwrap();
        assert_eq!(other.values, table.values[36..]);
        assert_ne!(embedding_table(vectors, &["unicorn"], None, 8).unwrap().values, other.values);
        let wide = embedding_table(vectors, &vocabulary, Some(14), 7).unwrap();
        assert_eq!((wide.values.len(), &wide.values[..12]), (4 * 14, vectors.get("king").unwrap()));
        assert!(wide.values[12] != 0.0);
        assert!(embedding_table(vectors, &vocabulary, Some(5), 7).is_err());
    }

    #[test]
    fn a_baseline_starts_from_nothing_and_from_vectors() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, value: serde_json::Value| {
            std::fs::write(folder.path().join(name), value.to_string()).unwrap();
        };
        let config = |from_nothing: bool| {
            serde_json::json!({
                "model_type": "cnn", "vocab_size": 3, "embedding_size": 12, "num_filters": 2,
                "from_nothing": from_nothing,
            })
        };
        put(
            "tokenizer.json",
            serde_json::json!({
                "version": "1.0", "pre_tokenizer": {"type": "WhitespaceSplit"},
                "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "king": 1, "QUEEN": 2}, "unk_token": "[UNK]"},
            }),
        );
        let spec = HeadSpec::embedder(Pooling::Max, false);
        let open = || Model::open(folder.path(), &spec, 1, &Device::flex());
        put("config.json", config(false));
        assert!(open().err().unwrap().to_string().contains("weights"));
        put("config.json", config(true));
        let (mut model, report) = open().unwrap();
        assert_eq!((report.loaded.len(), report.fresh.len()), (0, model.store.len()));
        let tokenizer = Tokenizer::from_folder(folder.path()).unwrap();
        let space = golden::space("word2vec.bin");
        let table = start_from_vectors(&mut model, &tokenizer, space.vectors(), 7).unwrap();
        assert_eq!((table.found, table.lowercased, &table.missing[..]), (1, 1, &[0][..]));
        let rows = model.store.values(model.word_table().unwrap()).unwrap();
        assert_eq!(&rows[12..24], space.vectors().get("king").unwrap());
        let saved = folder.path().join("saved");
        model.save(&saved, &topwork_models::SaveOptions::default()).unwrap();
        let again = Model::open_saved(&saved, &Device::flex()).unwrap().0;
        assert_eq!(again.store.values(again.word_table().unwrap()).unwrap(), rows);
        assert!(again.config.get("from_nothing").is_none());
        put(
            "config.json",
            serde_json::json!({
                "model_type": "cnn", "vocab_size": 2, "embedding_size": 12, "from_nothing": true,
            }),
        );
        let error = start_from_vectors(&mut open().unwrap().0, &tokenizer, space.vectors(), 7).unwrap_err();
        assert!(error.to_string().contains("2 rows"), "{error}");
    }

    #[test]
    fn drawn_rows_are_spread_like_the_vectors() {
        let space = golden::space("word2vec.bin");
        let words: Vec<String> = (0..2000).map(|at| format!("none{at}")).collect();
        let table = embedding_table(space.vectors(), &words, None, 1).unwrap();
        let (mean, deviation) = moments(&table.values);
        let (own_mean, own_deviation) = moments(space.vectors().data());
        assert!((mean - own_mean).abs() < 0.03 * own_deviation, "{mean} {own_mean}");
        assert!((deviation / own_deviation - 1.0).abs() < 0.03, "{deviation} {own_deviation}");
    }

    #[test]
    fn subwords_fill_what_is_unknown() {
        let space = golden::space("fasttext.bin");
        let table = embedding_table(space.vectors(), &["stick", "sticky", ""], None, 0).unwrap();
        assert_eq!((table.found, table.from_subwords, &table.missing[..]), (1, 1, &[2][..]));
    }
}
