//! Questions whose answers are pieces of a passage.

use topwork_data::Format;

use super::DataSet;
use crate::recipe::Kind;

const fn answers(name: &'static str, title: &'static str) -> DataSet {
    DataSet::new(name, Kind::QuestionAnswering, "answer-f1", title)
}

/// A part of SQuAD's development set, translated by people.
const fn xquad(name: &'static str, config: &'static str, file: &'static str, title: &'static str) -> DataSet {
    answers(name, title)
        .hub("xquad", config)
        .sizes(0, 1_190, 0)
        .home("xquad", ["", file, ""])
        .licence("CC BY-SA 4.0")
        .paper("https://arxiv.org/abs/1910.11856")
}

/// Questions that a model in the loop did not answer.
const fn adversarial(name: &'static str, config: &'static str, title: &'static str) -> DataSet {
    answers(name, title)
        .hub("adversarial_qa", config)
        .licence("CC BY-SA")
        .paper("https://arxiv.org/abs/2002.00293")
}

/// Entries.
pub const LIST: &[DataSet] = &[
    answers("squad", "Questions on passages of Wikipedia")
        .hub("squad", "plain_text")
        .sizes(87_599, 10_570, 0)
        .home("squad", ["train-v1.1.json", "dev-v1.1.json", ""])
        .home_columns("", "", "", Some(Format::Squad))
        .paper("https://arxiv.org/abs/1606.05250"),
    answers("squad-v2", "Questions on passages of Wikipedia, some without an answer")
        .hub("squad_v2", "squad_v2")
        .sizes(130_319, 11_873, 0)
        .home("squad", ["train-v2.0.json", "dev-v2.0.json", ""])
        .home_columns("", "", "", Some(Format::Squad))
        .paper("https://arxiv.org/abs/1806.03822"),
    xquad("xquad/ar", "xquad.ar", "xquad.ar.json", "Questions on passages of Wikipedia: Arabic"),
    xquad("xquad/de", "xquad.de", "xquad.de.json", "Questions on passages of Wikipedia: German"),
    xquad("xquad/el", "xquad.el", "xquad.el.json", "Questions on passages of Wikipedia: Greek"),
    xquad("xquad/en", "xquad.en", "xquad.en.json", "Questions on passages of Wikipedia: English"),
    xquad("xquad/es", "xquad.es", "xquad.es.json", "Questions on passages of Wikipedia: Spanish"),
    xquad("xquad/hi", "xquad.hi", "xquad.hi.json", "Questions on passages of Wikipedia: Hindi"),
    xquad("xquad/ro", "xquad.ro", "xquad.ro.json", "Questions on passages of Wikipedia: Romanian"),
    xquad("xquad/ru", "xquad.ru", "xquad.ru.json", "Questions on passages of Wikipedia: Russian"),
    xquad("xquad/th", "xquad.th", "xquad.th.json", "Questions on passages of Wikipedia: Thai"),
    xquad("xquad/tr", "xquad.tr", "xquad.tr.json", "Questions on passages of Wikipedia: Turkish"),
    xquad("xquad/vi", "xquad.vi", "xquad.vi.json", "Questions on passages of Wikipedia: Vietnamese"),
    xquad("xquad/zh", "xquad.zh", "xquad.zh.json", "Questions on passages of Wikipedia: Chinese"),
    adversarial("adversarial-qa", "adversarialQA", "Questions written against three models")
        .sizes(30_000, 3_000, 0)
        .unlabelled(3_000),
    adversarial("adversarial-qa/bidaf", "dbidaf", "Questions written against BiDAF")
        .sizes(10_000, 1_000, 0)
        .unlabelled(1_000),
    adversarial("adversarial-qa/bert", "dbert", "Questions written against BERT")
        .sizes(10_000, 1_000, 0)
        .unlabelled(1_000),
    adversarial("adversarial-qa/roberta", "droberta", "Questions written against RoBERTa")
        .sizes(10_000, 1_000, 0)
        .unlabelled(1_000),
    answers("squad-it", "Questions on passages of Wikipedia, translated into Italian by machine")
        .hub("squad_it", "default")
        .sizes(54_159, 0, 7_609),
    answers("korquad", "Questions on passages of Wikipedia in Korean")
        .hub("squad_kor_v1", "squad_kor_v1")
        .sizes(60_407, 5_774, 0)
        .licence("CC BY-ND 2.0 KR")
        .paper("https://arxiv.org/abs/1909.07005"),
    answers("sberquad", "Questions on passages of Wikipedia in Russian")
        .hub("sberquad", "sberquad")
        .sizes(45_328, 5_036, 0)
        .unlabelled(23_936)
        .paper("https://arxiv.org/abs/1912.09723"),
    answers("cmrc2018", "Questions on passages of Wikipedia in Chinese")
        .hub("cmrc2018", "default")
        .sizes(10_142, 3_219, 1_002)
        .paper("https://aclanthology.org/D19-1600"),
    answers("iapp-wiki-qa", "Questions on passages of Wikipedia in Thai")
        .hub("iapp_wiki_qa_squad", "iapp_wiki_qa_squad")
        .sizes(5_761, 742, 739),
    answers("covid-qa", "Questions of biomedical experts on papers about COVID-19")
        .hub("covid_qa_deepset", "covid_qa_deepset")
        .sizes(2_019, 0, 0)
        .licence("Apache 2.0"),
];
