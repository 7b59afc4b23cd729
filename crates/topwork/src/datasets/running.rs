//! Running text, for language models. Examples are lines, blank ones included.

use super::DataSet;
use crate::recipe::Kind;

const fn running(name: &'static str, title: &'static str) -> DataSet {
    DataSet::new(name, Kind::CausalLm, "perplexity", title)
}

const fn wikitext(name: &'static str, config: &'static str, title: &'static str) -> DataSet {
    running(name, title)
        .hub("wikitext", config)
        .columns("text", "", "")
        .licence("CC BY-SA")
        .paper("https://arxiv.org/abs/1609.07843")
}

/// Entries.
pub const LIST: &[DataSet] = &[
    wikitext(
        "wikitext-2",
        "wikitext-2-v1",
        "Good articles of Wikipedia, rare words replaced, 2 million words",
    )
    .sizes(36_718, 3_760, 4_358)
    .home(
        "wikitext-2",
        ["wiki.train.tokens|train.txt", "wiki.valid.tokens|valid.txt", "wiki.test.tokens|test.txt"],
    )
    .home_columns("", "", "", Some(topwork_data::Format::Text)),
    wikitext("wikitext-2-raw", "wikitext-2-raw-v1", "Good articles of Wikipedia, 2 million words")
        .sizes(36_718, 3_760, 4_358),
    wikitext(
        "wikitext-103",
        "wikitext-103-v1",
        "Good articles of Wikipedia, rare words replaced, 103 million words",
    )
    .sizes(1_801_350, 3_760, 4_358)
    .home("wikitext-103", ["wiki.train.tokens", "wiki.valid.tokens", "wiki.test.tokens"])
    .home_columns("", "", "", Some(topwork_data::Format::Text)),
    wikitext("wikitext-103-raw", "wikitext-103-raw-v1", "Good articles of Wikipedia, 103 million words")
        .sizes(1_801_350, 3_760, 4_358),
    running("ptb", "The Wall Street Journal, 10,000 words, the rest replaced")
        .hub("ptb_text_only", "penn_treebank")
        .columns("sentence", "", "")
        .sizes(42_068, 3_370, 3_761)
        .home("ptb", ["ptb.train.txt", "ptb.valid.txt", "ptb.test.txt"])
        .home_columns("", "", "", Some(topwork_data::Format::Text))
        .licence("LDC User Agreement for Non-Members")
        .paper("https://aclanthology.org/J93-2004"),
    running("tiny-shakespeare", "40,000 lines of Shakespeare")
        .sizes(40_000, 0, 0)
        .home("tinyshakespeare", ["input.txt", "", ""])
        .home_columns("", "", "", Some(topwork_data::Format::Text))
        .licence("public domain"),
];
