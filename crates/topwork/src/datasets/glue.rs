//! GLUE and SuperGLUE, tasks of understanding sentences.
//!
//! Labels of their test sets are known to the benchmarks alone.

use super::DataSet;
use crate::recipe::Kind;

const fn glue(name: &'static str, kind: Kind, metric: &'static str, title: &'static str) -> DataSet {
    DataSet::new(name, kind, metric, title).paper("https://arxiv.org/abs/1804.07461")
}

const fn superglue(name: &'static str, kind: Kind, metric: &'static str, title: &'static str) -> DataSet {
    DataSet::new(name, kind, metric, title).paper("https://arxiv.org/abs/1905.00537")
}

const ENTAILS: &[&str] = &["entailment", "not_entailment"];
const RELATIONS: &[&str] = &["entailment", "neutral", "contradiction"];
const TRUTH: &[&str] = &["False", "True"];

/// The diagnostic set of GLUE, answered by a model of MNLI; it has no labels, and so is no entry of the list.
pub const DIAGNOSTIC: DataSet =
    glue("glue/ax", Kind::Classify, "matthews", "Sentence pairs by the phenomenon they ask about")
        .hub("nyu-mll/glue", "ax")
        .columns("premise", "hypothesis", "label")
        .classes(RELATIONS)
        .unlabelled(1_104)
        .home("glue", [""; 3])
        .home_columns("sentence1", "sentence2", "", None)
        .home_unlabelled("diagnostic/diagnostic.tsv|AX/AX.tsv|AX/test.tsv");

/// Entries.
pub const LIST: &[DataSet] = &[
    glue("glue/cola", Kind::Classify, "matthews", "Is a sentence acceptable English")
        .hub("nyu-mll/glue", "cola")
        .columns("sentence", "", "label")
        .classes(&["unacceptable", "acceptable"])
        .sizes(8_551, 1_043, 0)
        .unlabelled(1_063)
        .home("glue", ["CoLA/train.tsv", "CoLA/dev.tsv", ""])
        .home_columns("4", "", "2", None)
        .home_numbers()
        .home_unlabelled("CoLA/test.tsv")
        .paper("https://arxiv.org/abs/1805.12471"),
    glue("glue/sst2", Kind::Classify, "accuracy", "Sentiment of phrases from film reviews")
        .hub("nyu-mll/glue", "sst2")
        .columns("sentence", "", "label")
        .classes(&["negative", "positive"])
        .sizes(67_349, 872, 0)
        .unlabelled(1_821)
        .home("glue", ["SST-2/train.tsv", "SST-2/dev.tsv", ""])
        .home_columns("sentence", "", "label", None)
        .home_numbers()
        .home_unlabelled("SST-2/test.tsv")
        .paper("https://aclanthology.org/D13-1170"),
    glue("glue/mrpc", Kind::Classify, "f1", "Do two sentences from the news mean the same")
        .hub("nyu-mll/glue", "mrpc")
        .columns("sentence1", "sentence2", "label")
        .classes(&["not_equivalent", "equivalent"])
        .positive("equivalent")
        .sizes(3_668, 408, 0)
        .unlabelled(1_725)
        .home("glue", ["MRPC/train.tsv", "MRPC/dev.tsv", ""])
        .home_columns("#1 String", "#2 String", "Quality", None)
        .home_numbers()
        .home_unlabelled("MRPC/test.tsv")
        .paper("https://aclanthology.org/I05-5002"),
    glue("glue/qqp", Kind::Classify, "f1", "Do two questions on Quora ask the same")
        .hub("nyu-mll/glue", "qqp")
        .columns("question1", "question2", "label")
        .classes(&["not_duplicate", "duplicate"])
        .positive("duplicate")
        .sizes(363_846, 40_430, 0)
        .unlabelled(390_965)
        .home("glue", ["QQP/train.tsv", "QQP/dev.tsv", ""])
        .home_columns("question1", "question2", "is_duplicate", None)
        .home_numbers()
        .home_unlabelled("QQP/test.tsv"),
    glue("glue/stsb", Kind::Regress, "pearson", "How alike two sentences are, from 0 to 5")
        .hub("nyu-mll/glue", "stsb")
        .columns("sentence1", "sentence2", "label")
        .sizes(5_749, 1_500, 0)
        .unlabelled(1_379)
        .home("glue", ["STS-B/train.tsv", "STS-B/dev.tsv", ""])
        .home_columns("sentence1", "sentence2", "score", None)
        .home_unlabelled("STS-B/test.tsv")
        .paper("https://arxiv.org/abs/1708.00055"),
    glue(
        "glue/mnli",
        Kind::Classify,
        "accuracy",
        "Does a sentence follow from another: ten kinds of English",
    )
    .hub("nyu-mll/glue", "mnli")
    .split_names("train", "validation_matched", "test_matched")
    .columns("premise", "hypothesis", "label")
    .classes(RELATIONS)
    .sizes(392_702, 9_815, 0)
    .unlabelled(9_796)
    .home("glue", ["MNLI/train.tsv", "MNLI/dev_matched.tsv", ""])
    .home_columns("sentence1", "sentence2", "gold_label", None)
    .home_unlabelled("MNLI/test_matched.tsv")
    .paper("https://aclanthology.org/N18-1101"),
    glue(
        "glue/mnli-mismatched",
        Kind::Classify,
        "accuracy",
        "MNLI on kinds of English that are not learnt from",
    )
    .hub("nyu-mll/glue", "mnli_mismatched")
    .columns("premise", "hypothesis", "label")
    .classes(RELATIONS)
    .sizes(0, 9_832, 0)
    .unlabelled(9_847)
    .home("glue", ["", "MNLI/dev_mismatched.tsv", ""])
    .home_columns("sentence1", "sentence2", "gold_label", None)
    .home_unlabelled("MNLI/test_mismatched.tsv")
    .paper("https://aclanthology.org/N18-1101"),
    glue("glue/qnli", Kind::Classify, "accuracy", "Does a sentence hold the answer to a question")
        .hub("nyu-mll/glue", "qnli")
        .columns("question", "sentence", "label")
        .classes(ENTAILS)
        .sizes(104_743, 5_463, 0)
        .unlabelled(5_463)
        .home("glue", ["QNLI/train.tsv", "QNLI/dev.tsv", ""])
        .home_columns("question", "sentence", "label", None)
        .home_unlabelled("QNLI/test.tsv"),
    glue(
        "glue/rte",
        Kind::Classify,
        "accuracy",
        "Does a sentence follow from another: four small challenges",
    )
    .hub("nyu-mll/glue", "rte")
    .columns("sentence1", "sentence2", "label")
    .classes(ENTAILS)
    .sizes(2_490, 277, 0)
    .unlabelled(3_000)
    .home("glue", ["RTE/train.tsv", "RTE/dev.tsv", ""])
    .home_columns("sentence1", "sentence2", "label", None)
    .home_unlabelled("RTE/test.tsv"),
    glue(
        "glue/wnli",
        Kind::Classify,
        "accuracy",
        "What a pronoun stands for, as sentences that follow or not",
    )
    .hub("nyu-mll/glue", "wnli")
    .columns("sentence1", "sentence2", "label")
    .classes(&["not_entailment", "entailment"])
    .sizes(635, 71, 0)
    .unlabelled(146)
    .home("glue", ["WNLI/train.tsv", "WNLI/dev.tsv", ""])
    .home_columns("sentence1", "sentence2", "label", None)
    .home_numbers()
    .home_unlabelled("WNLI/test.tsv"),
    superglue("super-glue/boolq", Kind::Classify, "accuracy", "Yes or no questions about a passage")
        .hub("aps/super_glue", "boolq")
        .columns("question", "passage", "label")
        .classes(TRUTH)
        .sizes(9_427, 3_270, 0)
        .unlabelled(3_245),
    superglue("super-glue/cb", Kind::Classify, "accuracy", "Does a clause follow from a short text")
        .hub("aps/super_glue", "cb")
        .columns("premise", "hypothesis", "label")
        .classes(&["entailment", "contradiction", "neutral"])
        .sizes(250, 56, 0)
        .unlabelled(250),
    superglue(
        "super-glue/copa",
        Kind::MultipleChoice,
        "accuracy",
        "Which of two sentences is cause or effect",
    )
    .hub("aps/super_glue", "copa")
    .sizes(400, 100, 0)
    .unlabelled(500),
    superglue(
        "super-glue/multirc",
        Kind::Classify,
        "f1",
        "Is an answer to a question about a paragraph right",
    )
    .hub("aps/super_glue", "multirc")
    .columns("paragraph", "question", "label")
    .classes(TRUTH)
    .positive("True")
    .sizes(27_243, 4_848, 0)
    .unlabelled(9_693),
    superglue("super-glue/rte", Kind::Classify, "accuracy", "Does a sentence follow from another")
        .hub("aps/super_glue", "rte")
        .columns("premise", "hypothesis", "label")
        .classes(ENTAILS)
        .sizes(2_490, 277, 0)
        .unlabelled(3_000),
    superglue("super-glue/wic", Kind::Classify, "accuracy", "Does a word mean the same in two sentences")
        .hub("aps/super_glue", "wic")
        .columns("sentence1", "sentence2", "label")
        .classes(TRUTH)
        .sizes(5_428, 638, 0)
        .unlabelled(1_400)
        .paper("https://arxiv.org/abs/1808.09121"),
    superglue(
        "super-glue/axb",
        Kind::Classify,
        "matthews",
        "Sentence pairs by the phenomenon they ask about",
    )
    .hub("aps/super_glue", "axb")
    .columns("sentence1", "sentence2", "label")
    .classes(ENTAILS)
    .sizes(0, 0, 1_104),
    superglue(
        "super-glue/axg",
        Kind::Classify,
        "accuracy",
        "Sentence pairs that differ in the gender of a pronoun",
    )
    .hub("aps/super_glue", "axg")
    .columns("premise", "hypothesis", "label")
    .classes(ENTAILS)
    .sizes(0, 0, 356),
];
