//! Texts with a class, several, or a number: topics, sentiment, intents, law, science.

use super::DataSet;
use crate::recipe::Kind;

const fn classes(name: &'static str, metric: &'static str, title: &'static str) -> DataSet {
    DataSet::new(name, Kind::Classify, metric, title)
}

const fn law(name: &'static str, config: &'static str, kind: Kind, title: &'static str) -> DataSet {
    DataSet::new(name, kind, "micro-f1", title)
        .hub("lex_glue", config)
        .licence("CC BY 4.0")
        .paper("https://arxiv.org/abs/2110.00976")
}

const fn phrases(name: &'static str, config: &'static str, title: &'static str) -> DataSet {
    classes(name, "macro-f1", title)
        .hub("financial_phrasebank", config)
        .columns("sentence", "", "label")
        .classes(&["negative", "neutral", "positive"])
        .licence("CC BY-NC-SA 3.0")
        .paper("https://arxiv.org/abs/1307.5336")
}

const NEG_POS: &[&str] = &["neg", "pos"];
const CHARACTERS: &str = "https://arxiv.org/abs/1509.01626";

/// Entries.
pub const LIST: &[DataSet] = &[
    classes("ag-news", "accuracy", "News by topic: world, sports, business, science and technology")
        .hub("ag_news", "default")
        .columns("text", "", "label")
        .classes(&["World", "Sports", "Business", "Sci/Tech"])
        .sizes(120_000, 0, 7_600)
        .paper(CHARACTERS),
    classes("dbpedia-14", "accuracy", "Descriptions from DBpedia by what they describe")
        .hub("dbpedia_14", "dbpedia_14")
        .columns("content", "", "label")
        .classes(&[
            "Company",
            "EducationalInstitution",
            "Artist",
            "Athlete",
            "OfficeHolder",
            "MeanOfTransportation",
            "Building",
            "NaturalPlace",
            "Village",
            "Animal",
            "Plant",
            "Album",
            "Film",
            "WrittenWork",
        ])
        .sizes(560_000, 0, 70_000)
        .licence("CC BY-SA 3.0 and GFDL")
        .paper(CHARACTERS),
    classes("yahoo-answers", "accuracy", "Questions to Yahoo by topic")
        .hub("yahoo_answers_topics", "yahoo_answers_topics")
        .columns("question_title", "best_answer", "topic")
        .classes(&[
            "Society & Culture",
            "Science & Mathematics",
            "Health",
            "Education & Reference",
            "Computers & Internet",
            "Sports",
            "Business & Finance",
            "Entertainment & Music",
            "Family & Relationships",
            "Politics & Government",
        ])
        .sizes(1_400_000, 0, 60_000)
        .paper(CHARACTERS),
    classes("yelp-polarity", "accuracy", "Sentiment of reviews on Yelp")
        .hub("yelp_polarity", "plain_text")
        .columns("text", "", "label")
        .classes(&["negative", "positive"])
        .sizes(560_000, 0, 38_000)
        .paper(CHARACTERS),
    classes("yelp-full", "accuracy", "Stars of reviews on Yelp, from one to five")
        .hub("Yelp/yelp_review_full", "yelp_review_full")
        .columns("text", "", "label")
        .classes(&["1 star", "2 star", "3 stars", "4 stars", "5 stars"])
        .sizes(650_000, 0, 50_000)
        .licence("Yelp dataset agreement")
        .paper(CHARACTERS),
    classes("amazon-polarity", "accuracy", "Sentiment of product reviews on Amazon")
        .hub("amazon_polarity", "amazon_polarity")
        .columns("content", "", "label")
        .classes(&["negative", "positive"])
        .sizes(3_600_000, 0, 400_000)
        .licence("Apache 2.0")
        .paper(CHARACTERS),
    classes("imdb", "accuracy", "Sentiment of film reviews")
        .hub("imdb", "plain_text")
        .columns("text", "", "label")
        .classes(NEG_POS)
        .sizes(25_000, 0, 25_000)
        .paper("https://aclanthology.org/P11-1015"),
    classes("rotten-tomatoes", "accuracy", "Sentiment of sentences from film reviews (MR)")
        .hub("rotten_tomatoes", "default")
        .columns("text", "", "label")
        .classes(NEG_POS)
        .sizes(8_530, 1_066, 1_066)
        .paper("https://aclanthology.org/P05-1015"),
    classes("trec", "accuracy", "Questions by what they ask for, six classes")
        .hub("trec", "default")
        .columns("text", "", "coarse_label")
        .classes(&["ABBR", "ENTY", "DESC", "HUM", "LOC", "NUM"])
        .sizes(5_452, 0, 500)
        .paper("https://aclanthology.org/C02-1150"),
    classes("trec/fine", "accuracy", "Questions by what they ask for, fifty classes")
        .hub("trec", "default")
        .columns("text", "", "fine_label")
        .classes(&[
            "ABBR:abb",
            "ABBR:exp",
            "ENTY:animal",
            "ENTY:body",
            "ENTY:color",
            "ENTY:cremat",
            "ENTY:currency",
            "ENTY:dismed",
            "ENTY:event",
            "ENTY:food",
            "ENTY:instru",
            "ENTY:lang",
            "ENTY:letter",
            "ENTY:other",
            "ENTY:plant",
            "ENTY:product",
            "ENTY:religion",
            "ENTY:sport",
            "ENTY:substance",
            "ENTY:symbol",
            "ENTY:techmeth",
            "ENTY:termeq",
            "ENTY:veh",
            "ENTY:word",
            "DESC:def",
            "DESC:desc",
            "DESC:manner",
            "DESC:reason",
            "HUM:gr",
            "HUM:ind",
            "HUM:title",
            "HUM:desc",
            "LOC:city",
            "LOC:country",
            "LOC:mount",
            "LOC:other",
            "LOC:state",
            "NUM:code",
            "NUM:count",
            "NUM:date",
            "NUM:dist",
            "NUM:money",
            "NUM:ord",
            "NUM:other",
            "NUM:period",
            "NUM:perc",
            "NUM:speed",
            "NUM:temp",
            "NUM:volsize",
            "NUM:weight",
        ])
        .sizes(5_452, 0, 500)
        .paper("https://aclanthology.org/C02-1150"),
    classes("banking77", "accuracy", "Questions to a bank by intent, 77 of them")
        .hub("banking77", "default")
        .columns("text", "", "label")
        .sizes(10_003, 0, 3_080)
        .home("banking77", ["train.csv", "", "test.csv"])
        .home_columns("text", "", "category", None)
        .licence("CC BY 4.0")
        .paper("https://arxiv.org/abs/2003.04807"),
    classes("snips-built-in", "accuracy", "What is wanted of a voice assistant, ten intents")
        .hub("snips_built_in_intents", "default")
        .columns("text", "", "label")
        .classes(&[
            "ComparePlaces",
            "RequestRide",
            "GetWeather",
            "SearchPlace",
            "GetPlaceDetails",
            "ShareCurrentLocation",
            "GetTrafficInformation",
            "BookRestaurant",
            "GetDirections",
            "ShareETA",
        ])
        .sizes(328, 0, 0)
        .paper("https://arxiv.org/abs/1805.10190"),
    classes("emotion", "accuracy", "Six emotions in English tweets")
        .hub("dair-ai/emotion", "split")
        .columns("text", "", "label")
        .classes(&["sadness", "joy", "love", "anger", "fear", "surprise"])
        .sizes(16_000, 2_000, 2_000)
        .paper("https://aclanthology.org/D18-1404"),
    DataSet::new("go-emotions", Kind::MultiLabel, "macro-f1", "27 emotions, or none, in comments on Reddit")
        .hub("go_emotions", "simplified")
        .columns("text", "", "labels")
        .classes(&[
            "admiration",
            "amusement",
            "anger",
            "annoyance",
            "approval",
            "caring",
            "confusion",
            "curiosity",
            "desire",
            "disappointment",
            "disapproval",
            "disgust",
            "embarrassment",
            "excitement",
            "fear",
            "gratitude",
            "grief",
            "joy",
            "love",
            "nervousness",
            "optimism",
            "pride",
            "realization",
            "relief",
            "remorse",
            "sadness",
            "surprise",
            "neutral",
        ])
        .sizes(43_410, 5_426, 5_427)
        .paper("https://arxiv.org/abs/2005.00547"),
    classes("sms-spam", "f1", "Spam among text messages")
        .hub("sms_spam", "plain_text")
        .columns("sms", "", "label")
        .classes(&["ham", "spam"])
        .positive("spam")
        .sizes(5_574, 0, 0)
        .home("sms-spam", ["SMSSpamCollection", "", ""])
        .home_columns("2", "", "1", Some(topwork_data::Format::Tsv))
        .licence("CC BY 4.0"),
    classes("poem-sentiment", "accuracy", "Sentiment of verses")
        .hub("poem_sentiment", "default")
        .columns("verse_text", "", "label")
        .classes(&["negative", "positive", "no_impact"])
        .sizes(892, 105, 104)
        .licence("CC BY 4.0")
        .paper("https://arxiv.org/abs/2011.02686"),
    phrases(
        "financial-phrasebank/all-agree",
        "sentences_allagree",
        "Sentiment of financial news; all annotators agree",
    )
    .sizes(2_264, 0, 0),
    phrases(
        "financial-phrasebank/75-agree",
        "sentences_75agree",
        "Sentiment of financial news; three in four agree",
    )
    .sizes(3_453, 0, 0),
    phrases(
        "financial-phrasebank/66-agree",
        "sentences_66agree",
        "Sentiment of financial news; two in three agree",
    )
    .sizes(4_217, 0, 0),
    phrases("financial-phrasebank/50-agree", "sentences_50agree", "Sentiment of financial news; half agree")
        .sizes(4_846, 0, 0),
    classes("hate-speech-offensive", "macro-f1", "Hate speech, offensive language or neither in tweets")
        .hub("hate_speech_offensive", "default")
        .columns("tweet", "", "class")
        .classes(&["hate speech", "offensive language", "neither"])
        .sizes(24_783, 0, 0)
        .licence("MIT")
        .paper("https://arxiv.org/abs/1703.04009"),
    classes("hate-speech-18", "macro-f1", "Hate speech in a forum, sentence by sentence")
        .hub("hate_speech18", "default")
        .columns("text", "", "label")
        .classes(&["noHate", "hate", "idk/skip", "relation"])
        .sizes(10_944, 0, 0)
        .paper("https://aclanthology.org/W18-5102"),
    classes("tweets-hate-speech", "f1", "Racist or sexist tweets")
        .hub("tweets_hate_speech_detection", "default")
        .columns("tweet", "", "label")
        .classes(&["no-hate-speech", "hate-speech"])
        .positive("hate-speech")
        .sizes(31_962, 0, 0),
    classes("liar", "accuracy", "How true statements of politicians are, six degrees")
        .hub("liar", "default")
        .columns("statement", "", "label")
        .classes(&["false", "half-true", "mostly-true", "true", "barely-true", "pants-fire"])
        .sizes(10_269, 1_284, 1_283)
        .paper("https://aclanthology.org/P17-2067"),
    classes("scicite", "macro-f1", "Why a paper is cited: background, method or result")
        .hub("scicite", "default")
        .columns("string", "", "label")
        .classes(&["method", "background", "result"])
        .sizes(8_194, 916, 1_859)
        .paper("https://arxiv.org/abs/1904.01608"),
    classes("allocine", "accuracy", "Sentiment of French film reviews")
        .hub("allocine", "allocine")
        .columns("review", "", "label")
        .classes(NEG_POS)
        .sizes(160_000, 20_000, 20_000),
    classes("gnad10", "accuracy", "German news by topic, nine of them")
        .hub("gnad10", "default")
        .columns("text", "", "label")
        .classes(&[
            "Web",
            "Panorama",
            "International",
            "Wirtschaft",
            "Sport",
            "Inland",
            "Etat",
            "Wissenschaft",
            "Kultur",
        ])
        .sizes(9_245, 0, 1_028)
        .licence("CC BY-NC-SA 4.0"),
    classes("swahili-news", "accuracy", "Swahili news by topic")
        .hub("swahili_news", "swahili_news")
        .columns("text", "", "label")
        .classes(&["uchumi", "kitaifa", "michezo", "kimataifa", "burudani", "afya"])
        .sizes(22_207, 0, 7_338)
        .licence("CC BY 4.0"),
    DataSet::new("app-reviews", Kind::Regress, "spearman", "Stars of reviews of Android apps")
        .hub("app_reviews", "default")
        .columns("review", "", "star")
        .sizes(288_065, 0, 0),
    DataSet::new(
        "query-wellformedness",
        Kind::Regress,
        "spearman",
        "The share of people who call a query well formed",
    )
    .hub("google_wellformed_query", "default")
    .columns("content", "", "rating")
    .sizes(17_500, 3_750, 3_850)
    .paper("https://arxiv.org/abs/1808.09419"),
    law("lex-glue/eurlex", "eurlex", Kind::MultiLabel, "Concepts of EuroVoc in laws of the European Union")
        .columns("text", "", "labels")
        .sizes(55_000, 5_000, 5_000),
    law(
        "lex-glue/scotus",
        "scotus",
        Kind::Classify,
        "The issue of opinions of the US Supreme Court, by number",
    )
    .columns("text", "", "label")
    .sizes(5_000, 1_400, 1_400),
    law("lex-glue/ledgar", "ledgar", Kind::Classify, "Provisions of contracts by topic, a hundred of them")
        .columns("text", "", "label")
        .sizes(60_000, 10_000, 10_000),
    law(
        "lex-glue/unfair-tos",
        "unfair_tos",
        Kind::MultiLabel,
        "What is unfair in terms of service, if anything",
    )
    .columns("text", "", "labels")
    .classes(&[
        "Limitation of liability",
        "Unilateral termination",
        "Unilateral change",
        "Content removal",
        "Contract by using",
        "Choice of law",
        "Jurisdiction",
        "Arbitration",
    ])
    .sizes(5_532, 2_275, 1_607),
];
