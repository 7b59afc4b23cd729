//! Texts to be written for texts: translations and summaries.

use super::DataSet;
use crate::recipe::Kind;

const fn summary(name: &'static str, title: &'static str) -> DataSet {
    DataSet::new(name, Kind::Seq2Seq, "rouge-l", title)
}

const fn wmt16(name: &'static str, config: &'static str, title: &'static str) -> DataSet {
    DataSet::new(name, Kind::Seq2Seq, "bleu", title)
        .hub("wmt16", config)
        .paper("https://aclanthology.org/W16-2301")
}

const EN: [&str; 3] =
    ["raw/train.en.gz|train.en", "raw/val.en.gz|val.en", "raw/test_2016_flickr.en.gz|test_2016_flickr.en"];
const DE: [&str; 3] =
    ["raw/train.de.gz|train.de", "raw/val.de.gz|val.de", "raw/test_2016_flickr.de.gz|test_2016_flickr.de"];
const FR: [&str; 3] =
    ["raw/train.fr.gz|train.fr", "raw/val.fr.gz|val.fr", "raw/test_2016_flickr.fr.gz|test_2016_flickr.fr"];
const CS: [&str; 3] =
    ["raw/train.cs.gz|train.cs", "raw/val.cs.gz|val.cs", "raw/test_2016_flickr.cs.gz|test_2016_flickr.cs"];

/// Captions of pictures, translated by people.
const fn multi30k(
    name: &'static str,
    from: [&'static str; 3],
    to: [&'static str; 3],
    title: &'static str,
) -> DataSet {
    DataSet::new(name, Kind::Seq2Seq, "bleu", title)
        .sizes(29_000, 1_014, 1_000)
        .home("multi30k", from)
        .home_pairs(to)
        .home_columns("", "", "", Some(topwork_data::Format::Text))
        .paper("https://aclanthology.org/W16-3210")
}

/// Entries.
pub const LIST: &[DataSet] = &[
    multi30k("multi30k/en-de", EN, DE, "Captions of pictures, English to German"),
    multi30k("multi30k/de-en", DE, EN, "Captions of pictures, German to English"),
    multi30k("multi30k/en-fr", EN, FR, "Captions of pictures, English to French"),
    multi30k("multi30k/fr-en", FR, EN, "Captions of pictures, French to English"),
    multi30k("multi30k/en-cs", EN, CS, "Captions of pictures, English to Czech"),
    multi30k("multi30k/cs-en", CS, EN, "Captions of pictures, Czech to English"),
    wmt16("wmt16/de-en", "de-en", "News and parliament, German to English")
        .columns("de", "", "en")
        .sizes(4_548_885, 2_169, 2_999),
    wmt16("wmt16/en-de", "de-en", "News and parliament, English to German")
        .columns("en", "", "de")
        .sizes(4_548_885, 2_169, 2_999),
    wmt16("wmt16/cs-en", "cs-en", "News and parliament, Czech to English")
        .columns("cs", "", "en")
        .sizes(997_240, 2_656, 2_999),
    wmt16("wmt16/fi-en", "fi-en", "News and parliament, Finnish to English")
        .columns("fi", "", "en")
        .sizes(2_073_394, 1_370, 6_000),
    wmt16("wmt16/ro-en", "ro-en", "News and parliament, Romanian to English")
        .columns("ro", "", "en")
        .sizes(610_320, 1_999, 1_999),
    wmt16("wmt16/en-ro", "ro-en", "News and parliament, English to Romanian")
        .columns("en", "", "ro")
        .sizes(610_320, 1_999, 1_999),
    wmt16("wmt16/ru-en", "ru-en", "News, Russian to English")
        .columns("ru", "", "en")
        .sizes(1_516_162, 2_818, 2_998),
    summary("xsum", "News of the BBC in one sentence")
        .hub("xsum", "default")
        .columns("document", "", "summary")
        .sizes(204_045, 11_332, 11_334)
        .paper("https://arxiv.org/abs/1808.08745"),
    summary("samsum", "Summaries of chats")
        .hub("samsum", "samsum")
        .columns("dialogue", "", "summary")
        .sizes(14_732, 818, 819)
        .licence("CC BY-NC-ND 4.0")
        .paper("https://arxiv.org/abs/1911.12237"),
    summary("gigaword", "Headlines for the first sentences of news")
        .hub("gigaword", "default")
        .columns("document", "", "summary")
        .sizes(3_803_957, 189_651, 1_951)
        .paper("https://aclanthology.org/D15-1044"),
    summary("billsum", "Summaries of bills of the US Congress")
        .hub("billsum", "default")
        .columns("text", "", "summary")
        .sizes(18_949, 0, 3_269)
        .licence("CC0")
        .paper("https://arxiv.org/abs/1910.00523"),
    summary("multi-news", "Summaries of several articles about one event")
        .hub("multi_news", "default")
        .columns("document", "", "summary")
        .sizes(44_972, 5_622, 5_622)
        .licence("non-commercial research and education")
        .paper("https://arxiv.org/abs/1906.01749"),
    summary("aeslc", "Subject lines of mails at Enron")
        .hub("aeslc", "default")
        .columns("email_body", "", "subject_line")
        .sizes(14_436, 1_960, 1_906)
        .paper("https://arxiv.org/abs/1906.03497"),
];
