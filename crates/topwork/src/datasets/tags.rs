//! A tag for each word: names of things, parts of speech, phrases.

use topwork_data::Format;

use super::DataSet;
use crate::recipe::Kind;

const fn entities(name: &'static str, title: &'static str) -> DataSet {
    DataSet::new(name, Kind::Tag, "entity-f1", title)
}

const fn conll2003(name: &'static str, metric: &'static str, title: &'static str) -> DataSet {
    DataSet::new(name, Kind::Tag, metric, title)
        .hub("conll2003", "conll2003")
        .sizes(14_041, 3_250, 3_453)
        .home("conll2003", ["eng.train|train.txt", "eng.testa|valid.txt", "eng.testb|test.txt"])
        .paper("https://aclanthology.org/W03-0419")
}

const fn conll2000(name: &'static str, metric: &'static str, title: &'static str) -> DataSet {
    DataSet::new(name, Kind::Tag, metric, title)
        .hub("conll2000", "conll2000")
        .sizes(8_936, 0, 2_012)
        .home("conll2000", ["train.txt", "", "test.txt"])
        .paper("https://aclanthology.org/W00-0726")
}

const fn conll2002(name: &'static str, config: &'static str, title: &'static str) -> DataSet {
    entities(name, title)
        .hub("conll2002", config)
        .columns("tokens", "", "ner_tags")
        .classes(NAMES)
        .paper("https://aclanthology.org/W02-2024")
}

/// A corpus of the life sciences in the form that taggers read.
const fn biology(name: &'static str, repository: &'static str, title: &'static str) -> DataSet {
    entities(name, title).hub(repository, repository).columns("tokens", "", "ner_tags")
}

const NAMES: &[&str] = &["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC", "B-MISC", "I-MISC"];
const CHUNKS: &[&str] = &[
    "O", "B-ADJP", "I-ADJP", "B-ADVP", "I-ADVP", "B-CONJP", "I-CONJP", "B-INTJ", "I-INTJ", "B-LST", "I-LST",
    "B-NP", "I-NP", "B-PP", "I-PP", "B-PRT", "I-PRT", "B-SBAR", "I-SBAR", "B-UCP", "I-UCP", "B-VP", "I-VP",
];

/// Entries.
pub const LIST: &[DataSet] = &[
    conll2003("conll2003", "entity-f1", "Persons, organisations, places and others in English news")
        .columns("tokens", "", "ner_tags")
        .classes(NAMES)
        .home_columns("1", "", "4", Some(Format::Conll)),
    conll2003("conll2003/pos", "tag-accuracy", "Parts of speech in English news")
        .columns("tokens", "", "pos_tags")
        .home_columns("1", "", "2", Some(Format::Conll)),
    conll2003("conll2003/chunk", "entity-f1", "Phrases in English news")
        .columns("tokens", "", "chunk_tags")
        .classes(CHUNKS)
        .home_columns("1", "", "3", Some(Format::Conll)),
    conll2000("conll2000", "entity-f1", "Phrases in the Wall Street Journal")
        .columns("tokens", "", "chunk_tags")
        .classes(CHUNKS)
        .home_columns("1", "", "3", Some(Format::Conll)),
    conll2000("conll2000/pos", "tag-accuracy", "Parts of speech in the Wall Street Journal")
        .columns("tokens", "", "pos_tags")
        .home_columns("1", "", "2", Some(Format::Conll)),
    conll2002("conll2002/es", "es", "Persons, organisations, places and others in Spanish news")
        .sizes(8_323, 1_915, 1_517)
        .home("conll2002", ["esp.train", "esp.testa", "esp.testb"])
        .home_columns("1", "", "3", Some(Format::Conll)),
    conll2002("conll2002/nl", "nl", "Persons, organisations, places and others in Dutch news")
        .sizes(15_806, 2_895, 5_195)
        .home("conll2002", ["ned.train", "ned.testa", "ned.testb"])
        .home_columns("1", "", "3", Some(Format::Conll)),
    entities("wnut17", "New and rare names in posts and comments")
        .hub("wnut_17", "wnut_17")
        .columns("tokens", "", "ner_tags")
        .classes(&[
            "O",
            "B-corporation",
            "I-corporation",
            "B-creative-work",
            "I-creative-work",
            "B-group",
            "I-group",
            "B-location",
            "I-location",
            "B-person",
            "I-person",
            "B-product",
            "I-product",
        ])
        .sizes(3_394, 1_009, 1_287)
        .home("wnut17", ["wnut17train.conll", "emerging.dev.conll", "emerging.test.annotated"])
        .home_columns("1", "", "2", Some(Format::Conll))
        .licence("CC BY 4.0")
        .paper("https://aclanthology.org/W17-4418"),
    entities("wikigold", "Persons, organisations, places and others in Wikipedia")
        .sizes(1_696, 0, 0)
        .home("wikigold", ["CONLL-format/data/wikigold.conll.txt|wikigold.conll.txt", "", ""])
        .home_columns("1", "", "2", Some(Format::Conll))
        .licence("CC BY 4.0")
        .paper("https://aclanthology.org/W09-3302"),
    biology("ncbi-disease", "ncbi_disease", "Diseases in abstracts of PubMed")
        .classes(&["O", "B-Disease", "I-Disease"])
        .sizes(5_433, 924, 941),
    biology("bc2gm", "bc2gm_corpus", "Genes in abstracts of PubMed")
        .classes(&["O", "B-GENE", "I-GENE"])
        .sizes(12_501, 2_501, 5_001),
    biology("jnlpba", "jnlpba", "Proteins, DNA, RNA and cells in abstracts of MEDLINE")
        .classes(&[
            "O",
            "B-DNA",
            "I-DNA",
            "B-RNA",
            "I-RNA",
            "B-cell_line",
            "I-cell_line",
            "B-cell_type",
            "I-cell_type",
            "B-protein",
            "I-protein",
        ])
        .sizes(37_094, 7_714, 0)
        .paper("https://aclanthology.org/W04-1213"),
    entities("germeval14", "Names in German news and Wikipedia, with derivations and parts")
        .hub("germeval_14", "germeval_14")
        .columns("tokens", "", "ner_tags")
        .sizes(24_000, 2_200, 5_100)
        .paper("https://aclanthology.org/L14-1251"),
    entities("msra-ner", "Persons, organisations and places in Chinese news")
        .hub("msra_ner", "msra_ner")
        .columns("tokens", "", "ner_tags")
        .classes(&["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"])
        .sizes(45_001, 0, 3_443)
        .paper("https://aclanthology.org/W06-0115"),
    entities("weibo-ner", "Names and mentions in Chinese posts on Weibo")
        .hub("weibo_ner", "default")
        .columns("tokens", "", "ner_tags")
        .sizes(1_350, 270, 270),
    DataSet::new("ud/en-ewt", Kind::Tag, "tag-accuracy", "Universal parts of speech in English from the web")
        .sizes(12_544, 2_001, 2_077)
        .home(
            "ud-ewt",
            [
                "en_ewt-ud-train.conllu|en_ewt-ud-train.rebuilt.conllu",
                "en_ewt-ud-dev.conllu",
                "en_ewt-ud-test.conllu",
            ],
        )
        .licence("CC BY-SA 4.0")
        .paper("https://aclanthology.org/L14-1067"),
];
