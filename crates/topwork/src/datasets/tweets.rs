//! TweetEval: short messages, one test bed for eleven questions.

use super::DataSet;
use crate::recipe::Kind;

const fn tweets(
    name: &'static str,
    config: &'static str,
    metric: &'static str,
    title: &'static str,
) -> DataSet {
    DataSet::new(name, Kind::Classify, metric, title)
        .hub("tweet_eval", config)
        .columns("text", "", "label")
        .paper("https://arxiv.org/abs/2010.12421")
}

const STANCE: &[&str] = &["none", "against", "favor"];

/// Entries.
pub const LIST: &[DataSet] = &[
    tweets("tweet-eval/emoji", "emoji", "macro-f1", "Which of twenty emoji stood in a tweet")
        .sizes(45_000, 5_000, 50_000),
    tweets("tweet-eval/emotion", "emotion", "macro-f1", "Anger, joy, optimism or sadness in a tweet")
        .classes(&["anger", "joy", "optimism", "sadness"])
        .sizes(3_257, 374, 1_421),
    tweets("tweet-eval/hate", "hate", "macro-f1", "Hate speech in tweets")
        .classes(&["non-hate", "hate"])
        .sizes(9_000, 1_000, 2_970),
    tweets("tweet-eval/irony", "irony", "f1", "Irony in tweets")
        .classes(&["non_irony", "irony"])
        .positive("irony")
        .sizes(2_862, 955, 784),
    tweets("tweet-eval/offensive", "offensive", "macro-f1", "Offensive language in tweets")
        .classes(&["non-offensive", "offensive"])
        .sizes(11_916, 1_324, 860),
    tweets(
        "tweet-eval/sentiment",
        "sentiment",
        "macro-recall",
        "Sentiment of tweets: negative, neutral or positive",
    )
    .classes(&["negative", "neutral", "positive"])
    .sizes(45_615, 2_000, 12_284),
    tweets("tweet-eval/stance-abortion", "stance_abortion", "macro-f1", "For or against abortion in tweets")
        .classes(STANCE)
        .sizes(587, 66, 280),
    tweets("tweet-eval/stance-atheism", "stance_atheism", "macro-f1", "For or against atheism in tweets")
        .classes(STANCE)
        .sizes(461, 52, 220),
    tweets(
        "tweet-eval/stance-climate",
        "stance_climate",
        "macro-f1",
        "Is climate change a concern, in tweets",
    )
    .classes(STANCE)
    .sizes(355, 40, 169),
    tweets("tweet-eval/stance-feminist", "stance_feminist", "macro-f1", "For or against feminism in tweets")
        .classes(STANCE)
        .sizes(597, 67, 285),
    tweets(
        "tweet-eval/stance-hillary",
        "stance_hillary",
        "macro-f1",
        "For or against Hillary Clinton in tweets",
    )
    .classes(STANCE)
    .sizes(620, 69, 295),
];
