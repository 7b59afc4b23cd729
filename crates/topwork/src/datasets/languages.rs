//! Sentence pairs that were translated: one entry a language.

use super::DataSet;
use crate::recipe::Kind;

/// The training pairs are translated by machine, those for development and test by people.
const fn xnli(name: &'static str, language: &'static str, title: &'static str) -> DataSet {
    DataSet::new(name, Kind::Classify, "accuracy", title)
        .hub("facebook/xnli", language)
        .columns("premise", "hypothesis", "label")
        .classes(&["entailment", "neutral", "contradiction"])
        .sizes(392_702, 2_490, 5_010)
        .paper("https://aclanthology.org/D18-1269")
}

const fn paws_x(name: &'static str, language: &'static str, title: &'static str) -> DataSet {
    DataSet::new(name, Kind::Classify, "accuracy", title)
        .hub("google-research-datasets/paws-x", language)
        .columns("sentence1", "sentence2", "label")
        .classes(&["no_paraphrase", "paraphrase"])
        .sizes(49_401, 2_000, 2_000)
        .licence("free for any purpose")
        .paper("https://arxiv.org/abs/1908.11828")
}

/// The STS benchmark; all but the English one are translated by machine.
const fn stsb(name: &'static str, language: &'static str, title: &'static str) -> DataSet {
    DataSet::new(name, Kind::Regress, "spearman", title)
        .hub("stsb_multi_mt", language)
        .split_names("train", "dev", "test")
        .columns("sentence1", "sentence2", "similarity_score")
        .sizes(5_749, 1_500, 1_379)
        .paper("https://arxiv.org/abs/1708.00055")
}

/// Entries.
pub const LIST: &[DataSet] = &[
    xnli("xnli/ar", "ar", "Does a sentence follow from another: Arabic"),
    xnli("xnli/bg", "bg", "Does a sentence follow from another: Bulgarian"),
    xnli("xnli/de", "de", "Does a sentence follow from another: German"),
    xnli("xnli/el", "el", "Does a sentence follow from another: Greek"),
    xnli("xnli/en", "en", "Does a sentence follow from another: English"),
    xnli("xnli/es", "es", "Does a sentence follow from another: Spanish"),
    xnli("xnli/fr", "fr", "Does a sentence follow from another: French"),
    xnli("xnli/hi", "hi", "Does a sentence follow from another: Hindi"),
    xnli("xnli/ru", "ru", "Does a sentence follow from another: Russian"),
    xnli("xnli/sw", "sw", "Does a sentence follow from another: Swahili"),
    xnli("xnli/th", "th", "Does a sentence follow from another: Thai"),
    xnli("xnli/tr", "tr", "Does a sentence follow from another: Turkish"),
    xnli("xnli/ur", "ur", "Does a sentence follow from another: Urdu"),
    xnli("xnli/vi", "vi", "Does a sentence follow from another: Vietnamese"),
    xnli("xnli/zh", "zh", "Does a sentence follow from another: Chinese"),
    paws_x("paws-x/de", "de", "Paraphrase or not, though the words are the same: German"),
    paws_x("paws-x/en", "en", "Paraphrase or not, though the words are the same: English"),
    paws_x("paws-x/es", "es", "Paraphrase or not, though the words are the same: Spanish"),
    paws_x("paws-x/fr", "fr", "Paraphrase or not, though the words are the same: French"),
    paws_x("paws-x/ja", "ja", "Paraphrase or not, though the words are the same: Japanese"),
    paws_x("paws-x/ko", "ko", "Paraphrase or not, though the words are the same: Korean"),
    paws_x("paws-x/zh", "zh", "Paraphrase or not, though the words are the same: Chinese"),
    stsb("stsb", "en", "How alike two sentences are, from 0 to 5: the STS benchmark with its test set"),
    stsb("stsb/de", "de", "How alike two sentences are, from 0 to 5: German"),
    stsb("stsb/es", "es", "How alike two sentences are, from 0 to 5: Spanish"),
    stsb("stsb/fr", "fr", "How alike two sentences are, from 0 to 5: French"),
    stsb("stsb/it", "it", "How alike two sentences are, from 0 to 5: Italian"),
    stsb("stsb/nl", "nl", "How alike two sentences are, from 0 to 5: Dutch"),
    stsb("stsb/pl", "pl", "How alike two sentences are, from 0 to 5: Polish"),
    stsb("stsb/pt", "pt", "How alike two sentences are, from 0 to 5: Portuguese"),
    stsb("stsb/ru", "ru", "How alike two sentences are, from 0 to 5: Russian"),
    stsb("stsb/zh", "zh", "How alike two sentences are, from 0 to 5: Chinese"),
];
