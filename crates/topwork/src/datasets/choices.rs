//! Multiple choice. The columns have the names that the reader knows: it joins passage, question and options.

use super::DataSet;
use crate::recipe::Kind;

const fn choice(name: &'static str, title: &'static str) -> DataSet {
    DataSet::new(name, Kind::MultipleChoice, "accuracy", title)
}

const fn winogrande(name: &'static str, config: &'static str, train: usize, title: &'static str) -> DataSet {
    choice(name, title)
        .hub("allenai/winogrande", config)
        .sizes(train, 1_267, 0)
        .unlabelled(1_767)
        .paper("https://arxiv.org/abs/1907.10641")
}

const fn race(name: &'static str, config: &'static str, title: &'static str) -> DataSet {
    choice(name, title).hub("race", config).paper("https://arxiv.org/abs/1704.04683")
}

const fn arc(name: &'static str, config: &'static str, title: &'static str) -> DataSet {
    choice(name, title)
        .hub("allenai/ai2_arc", config)
        .licence("CC BY-SA 4.0")
        .paper("https://arxiv.org/abs/1803.05457")
}

/// Entries.
pub const LIST: &[DataSet] = &[
    choice("swag", "What comes next in a scene, of four endings")
        .hub("allenai/swag", "regular")
        .sizes(73_546, 20_006, 0)
        .unlabelled(20_005)
        .paper("https://arxiv.org/abs/1808.05326"),
    choice("hellaswag", "What comes next, of four endings written against models")
        .hub("Rowan/hellaswag", "default")
        .columns("ctx", "", "label")
        .sizes(39_905, 10_042, 0)
        .unlabelled(10_003)
        .paper("https://arxiv.org/abs/1905.07830"),
    race("race", "all", "English examinations in China, middle and high school").sizes(87_866, 4_887, 4_934),
    race("race/middle", "middle", "English examinations in China, middle school").sizes(25_421, 1_436, 1_436),
    race("race/high", "high", "English examinations in China, high school").sizes(62_445, 3_451, 3_498),
    choice("commonsense-qa", "Questions that everybody can answer, of five options")
        .hub("tau/commonsense_qa", "default")
        .sizes(9_741, 1_221, 0)
        .unlabelled(1_140)
        .paper("https://arxiv.org/abs/1811.00937"),
    choice("cosmos-qa", "Why things happen in everyday stories")
        .hub("cosmos_qa", "default")
        .sizes(25_262, 2_985, 0)
        .unlabelled(6_963)
        .licence("CC BY 4.0")
        .paper("https://aclanthology.org/D19-1243"),
    choice("openbookqa", "Questions on elementary science")
        .hub("allenai/openbookqa", "main")
        .columns("question_stem", "", "answerKey")
        .sizes(4_957, 500, 500)
        .paper("https://arxiv.org/abs/1809.02789"),
    arc("arc/challenge", "ARC-Challenge", "Questions on science from school, the hard ones")
        .sizes(1_119, 299, 1_172),
    arc("arc/easy", "ARC-Easy", "Questions on science from school, the others").sizes(2_251, 570, 2_376),
    choice("piqa", "How to do a thing, of two ways")
        .hub("piqa", "plain_text")
        .sizes(16_113, 1_838, 0)
        .unlabelled(3_084)
        .licence("AFL 3.0")
        .paper("https://arxiv.org/abs/1911.11641"),
    winogrande("winogrande", "winogrande_xl", 40_398, "What fits into the gap, of two words"),
    winogrande("winogrande/l", "winogrande_l", 10_234, "What fits into the gap: the large training set"),
    winogrande("winogrande/m", "winogrande_m", 2_558, "What fits into the gap: the medium training set"),
    winogrande("winogrande/s", "winogrande_s", 640, "What fits into the gap: the small training set"),
    winogrande("winogrande/xs", "winogrande_xs", 160, "What fits into the gap: the smallest training set"),
    choice("social-i-qa", "What people feel and do, and why")
        .hub("social_i_qa", "default")
        .sizes(33_410, 1_954, 0)
        .paper("https://arxiv.org/abs/1904.09728"),
    choice("quail", "Questions of nine kinds about a text; the test is its challenge set")
        .hub("quail", "quail")
        .split_names("train", "validation", "challenge")
        .sizes(10_246, 2_164, 556),
    choice("lex-glue/case-hold", "Which holding a court's decision is cited for, of five")
        .hub("lex_glue", "case_hold")
        .sizes(45_000, 3_900, 3_600)
        .licence("CC BY 4.0")
        .paper("https://arxiv.org/abs/2104.08671"),
];
