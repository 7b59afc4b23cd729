//! Pairs of texts: does one follow from the other, do they mean the same, how alike are they.

use super::DataSet;
use crate::recipe::Kind;

const fn classes(name: &'static str, metric: &'static str, title: &'static str) -> DataSet {
    DataSet::new(name, Kind::Classify, metric, title)
}

const RELATIONS: &[&str] = &["entailment", "neutral", "contradiction"];

const fn anli(name: &'static str, title: &'static str) -> DataSet {
    classes(name, "accuracy", title)
        .hub("facebook/anli", "plain_text")
        .columns("premise", "hypothesis", "label")
        .classes(RELATIONS)
        .paper("https://arxiv.org/abs/1910.14599")
}

const fn sick(name: &'static str, kind: Kind, metric: &'static str, title: &'static str) -> DataSet {
    DataSet::new(name, kind, metric, title)
        .hub("sick", "default")
        .sizes(4_439, 495, 4_906)
        .licence("CC BY-NC-SA 3.0")
        .paper("https://aclanthology.org/L14-1314")
}

const fn assin2(name: &'static str, kind: Kind, metric: &'static str, title: &'static str) -> DataSet {
    DataSet::new(name, kind, metric, title).hub("nilc-nlp/assin2", "default").sizes(6_500, 500, 2_448)
}

/// Entries.
pub const LIST: &[DataSet] = &[
    classes("snli", "accuracy", "Does a sentence follow from the caption of a picture")
        .hub("snli", "plain_text")
        .columns("premise", "hypothesis", "label")
        .classes(RELATIONS)
        .sizes(550_152, 10_000, 10_000)
        .paper("https://arxiv.org/abs/1508.05326"),
    classes(
        "multi-nli",
        "accuracy",
        "Does a sentence follow from another; development sets matched, then mismatched",
    )
    .hub("multi_nli", "default")
    .split_names("train", "validation_matched", "validation_mismatched")
    .columns("premise", "hypothesis", "label")
    .classes(RELATIONS)
    .sizes(392_702, 9_815, 9_832)
    .paper("https://aclanthology.org/N18-1101"),
    anli("anli/r1", "Does a sentence follow from another, written against models: round 1")
        .split_names("train_r1", "dev_r1", "test_r1")
        .sizes(16_946, 1_000, 1_000),
    anli("anli/r2", "Does a sentence follow from another, written against models: round 2")
        .split_names("train_r2", "dev_r2", "test_r2")
        .sizes(45_460, 1_000, 1_000),
    anli("anli/r3", "Does a sentence follow from another, written against models: round 3")
        .split_names("train_r3", "dev_r3", "test_r3")
        .sizes(100_459, 1_200, 1_200),
    classes("scitail", "accuracy", "Does a statement of science follow from a sentence")
        .hub("scitail", "tsv_format")
        .columns("premise", "hypothesis", "label")
        .sizes(23_097, 1_304, 2_126),
    sick("sick", Kind::Classify, "accuracy", "Does a simple sentence follow from another")
        .columns("sentence_A", "sentence_B", "label")
        .classes(RELATIONS),
    sick("sick/relatedness", Kind::Regress, "pearson", "How related two simple sentences are, from 1 to 5")
        .columns("sentence_A", "sentence_B", "relatedness_score"),
    classes("hans", "accuracy", "Sentence pairs on which shallow rules of entailment fail")
        .hub("hans", "plain_text")
        .columns("premise", "hypothesis", "label")
        .classes(&["entailment", "non-entailment"])
        .sizes(30_000, 30_000, 0)
        .paper("https://arxiv.org/abs/1902.01007"),
    classes("paws", "accuracy", "Paraphrase or not, though the words are the same")
        .hub("paws", "labeled_final")
        .columns("sentence1", "sentence2", "label")
        .classes(&["no_paraphrase", "paraphrase"])
        .sizes(49_401, 8_000, 8_000)
        .licence("free for any purpose")
        .paper("https://arxiv.org/abs/1904.01130"),
    assin2("assin2", Kind::Classify, "macro-f1", "Does a Portuguese sentence follow from another")
        .columns("premise", "hypothesis", "entailment_judgment")
        .classes(&["NONE", "ENTAILMENT"]),
    assin2(
        "assin2/similarity",
        Kind::Regress,
        "pearson",
        "How alike two Portuguese sentences are, from 1 to 5",
    )
    .columns("premise", "hypothesis", "relatedness_score"),
    classes("wiki-qa", "f1", "Does a sentence of Wikipedia answer a question")
        .hub("wiki_qa", "default")
        .columns("question", "answer", "label")
        .classes(&["no_answer", "answer"])
        .positive("answer")
        .sizes(20_360, 2_733, 6_165)
        .paper("https://aclanthology.org/D15-1237"),
    classes("medical-questions-pairs", "accuracy", "Do two medical questions ask the same")
        .hub("medical_questions_pairs", "default")
        .columns("question_1", "question_2", "label")
        .classes(&["different", "same"])
        .sizes(3_048, 0, 0),
];
