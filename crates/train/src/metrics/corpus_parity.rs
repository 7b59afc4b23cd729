//! Every measure of a corpus equal to its reference tool, also on a resample (`fixtures/make/corpus_metrics.py`, `corpus_texts.py`).

use super::{
    Bleu, BleuTokenizer, Chrf, Dependency, Evaluation, METRICS, Outcome, Ranked, Reading, Rouge, Scheme,
    Smoothing, Squad, Summed, Task, answers, group_differences, porter, ranking, tags, texts, trees, unicode,
    word_f1,
};
use serde_json::Value;
use std::collections::BTreeSet;

fn fixture(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn strings(value: &Value) -> Vec<&str> {
    list(value).iter().map(|v| v.as_str().unwrap()).collect()
}

fn close(got: f64, expected: f64) -> bool {
    (got - expected).abs() <= 1e-9 * expected.abs().max(1.0)
}

fn same(got: Option<f64>, expected: &Value) -> bool {
    match (got, expected.as_f64()) {
        (Some(got), Some(expected)) => close(got, expected),
        (got, expected) => got == expected,
    }
}

/// The measure of a resample, by adding each row as often as it was drawn.
fn drawn(summed: &Summed, counts: &Value) -> Option<f64> {
    let rows = summed.statistics.chunks_exact(summed.width).zip(list(counts));
    let rows = rows.flat_map(|(row, count)| row.repeat(count.as_u64().unwrap() as usize));
    Summed { statistics: rows.collect(), ..summed.clone() }.of().ok()
}

/// Compares all measures of one case with `expected` and `expected_drawn`, and returns their names.
fn compare(case: &Value, task: Task, sums: &[Summed]) -> BTreeSet<String> {
    let name = &case["name"];
    let evaluation = Evaluation::of_sums(task, sums, Vec::new(), None).unwrap();
    for summed in sums {
        let expected = |key: &str| case[key].get(&summed.name).unwrap_or_else(|| panic!("{name}: {key}"));
        for (got, key) in [
            (evaluation.value(&summed.name).ok(), "expected"),
            (drawn(summed, &case["counts"]), "expected_drawn"),
        ] {
            let expected = expected(key);
            assert!(same(got, expected), "{name}: {} ({key}): got {got:?}, expected {expected}", summed.name);
        }
    }
    let seen: BTreeSet<String> = sums.iter().map(|summed| summed.name.clone()).collect();
    assert_eq!(seen.len(), case["expected"].as_object().unwrap().len(), "{name}: every value was compared");
    seen
}

fn all_of(task: Task) -> BTreeSet<String> {
    METRICS.iter().filter(|spec| spec.tasks.contains(&task)).map(|spec| spec.name.to_string()).collect()
}

#[test]
fn texts_are_measured_as_sacrebleu_and_rouge_score_do() {
    let file = fixture(include_str!("../../../../fixtures/metrics/corpus_texts.json"));
    let mut seen = BTreeSet::new();
    let (mut cases, mut bleus, mut chrfs) = (0, 0, 0);
    for case in list(&file["cases"]) {
        let name = &case["name"];
        let references: Vec<Vec<&str>> = list(&case["references"]).iter().map(strings).collect();
        let answers = strings(&case["answers"]);
        seen.extend(compare(case, Task::Texts, &texts(&references, &answers).unwrap()));
        let lengths: BTreeSet<usize> = references.iter().map(Vec::len).collect();
        let count = lengths.first().filter(|_| lengths.len() == 1).copied();
        for (expected, options) in list(&case["bleu"]).iter().zip(list(&file["bleu_options"])) {
            let bleu = Bleu {
                tokenizer: match options[0].as_str().unwrap() {
                    "13a" => BleuTokenizer::V13a,
                    "intl" => BleuTokenizer::International,
                    "char" => BleuTokenizer::Characters,
                    _ => BleuTokenizer::Spaces,
                },
                smoothing: match options[1].as_str().unwrap() {
                    "exp" => Smoothing::Exponential,
                    "floor" => Smoothing::Floor,
                    "add-k" => Smoothing::AddOne,
                    _ => Smoothing::None,
                },
                lowercase: options[2].as_bool().unwrap(),
                effective_order: options[3].as_bool().unwrap(),
            };
            let got = bleu.measure(&references, &answers).unwrap().of().ok();
            assert!(same(got, &expected[0]), "{name}: {bleu:?}: got {got:?}, expected {}", expected[0]);
            assert_eq!(bleu.signature(count), expected[1].as_str().unwrap());
            bleus += 1;
        }
        let flags = [false, true];
        let options = flags.iter().flat_map(|&words| {
            let pair = move |lowercase| flags.map(|spaces| Chrf { words, lowercase, spaces });
            flags.map(pair).concat()
        });
        for (expected, chrf) in list(&case["chrf"]).iter().zip(options) {
            let got = chrf.measure(&references, &answers).unwrap().of().ok();
            assert!(same(got, &expected[0]), "{name}: {chrf:?}: got {got:?}, expected {}", expected[0]);
            assert_eq!(chrf.signature(count), expected[1].as_str().unwrap());
            chrfs += 1;
        }
        let rouge = Rouge { stem: true };
        for summed in rouge.measure(&references, &answers).unwrap() {
            let expected = &case["stemmed"][&summed.name];
            assert!(same(summed.of().ok(), expected), "{name}: {} with stems: {expected}", summed.name);
        }
        let last = rouge.scores(references[references.len() - 1][0], answers[answers.len() - 1]);
        for (score, expected) in last.iter().zip(list(&case["last"])) {
            for (got, expected) in [score.precision, score.recall, score.f1].iter().zip(list(expected)) {
                assert!(close(*got, expected.as_f64().unwrap()), "{name}: {score:?} {expected}");
            }
        }
        cases += 1;
    }
    assert_eq!((cases, bleus, chrfs), (13, 13 * 32, 13 * 8));
    // Perplexity comes from the loss of a model.
    seen.insert("perplexity".into());
    assert_eq!(seen, all_of(Task::Texts));
}

#[test]
fn stems_are_those_of_nltk() {
    let file = fixture(include_str!("../../../../fixtures/metrics/corpus_stems.json"));
    let mut count = 0;
    for (word, expected) in
        file["words"].as_str().unwrap().split(' ').zip(file["stems"].as_str().unwrap().split(' '))
    {
        assert_eq!(porter::stem(word), expected, "{word}");
        count += 1;
    }
    assert_eq!(count, 1500);
}

#[test]
fn classes_of_characters_have_their_members() {
    let file = fixture(include_str!("../../../../fixtures/metrics/corpus_characters.json"));
    let members = |is: &dyn Fn(char) -> bool| ('\0'..=char::MAX).filter(|&c| is(c)).count() as u64;
    assert_eq!(members(&unicode::is_punctuation), file["PUNCTUATION"].as_u64().unwrap());
    assert_eq!(members(&unicode::is_symbol), file["SYMBOLS"].as_u64().unwrap());
    assert_eq!(members(&unicode::is_no_letter), file["NO_LETTERS"].as_u64().unwrap());
    for (c, mark, symbol, word) in [
        ('.', true, false, false),
        ('_', true, false, true),
        ('。', true, false, false),
        ('€', false, true, false),
        ('é', false, false, true),
        ('²', false, false, true),
        ('ि', false, false, false),
    ] {
        let got = (unicode::is_punctuation(c), unicode::is_symbol(c), unicode::is_word(c));
        assert_eq!(got, (mark, symbol, word), "{c}");
    }
}

#[test]
fn tags_are_measured_as_seqeval_does() {
    let file = fixture(include_str!("../../../../fixtures/metrics/corpus_tags.json"));
    let mut seen = BTreeSet::new();
    let mut reports = 0;
    for case in list(&file["cases"]) {
        let name = &case["name"];
        let scheme: Scheme = serde_json::from_value(case["scheme"].clone()).unwrap();
        let reading: Reading = serde_json::from_value(case["mode"].clone()).unwrap();
        let sentences = |key: &str| -> Vec<Vec<&str>> {
            strings(&case[key])
                .into_iter()
                .map(|tags| tags.split(' ').filter(|t| !t.is_empty()).collect())
                .collect()
        };
        let (sums, types) = tags(&sentences("truth"), &sentences("predicted"), scheme, reading).unwrap();
        seen.extend(compare(case, Task::Tags, &sums));
        assert_eq!(types.len(), list(&case["types"]).len(), "{name}");
        for (report, expected) in types.iter().zip(list(&case["types"])) {
            assert_eq!(report.label, expected[0].as_str().unwrap(), "{name}");
            for (got, at) in [(report.precision, 1), (report.recall, 2), (report.f1, 3)] {
                assert!(close(got, expected[at].as_f64().unwrap()), "{name}: {report:?} {expected}");
            }
            assert_eq!(report.actual, expected[4].as_u64().unwrap(), "{name}");
            reports += 1;
        }
    }
    assert_eq!(list(&file["cases"]).len(), 48);
    assert!(reports > 100, "{reports}");
    assert_eq!(seen, all_of(Task::Tags));
}

#[test]
fn answers_are_measured_as_squad_does() {
    let file = fixture(include_str!("../../../../fixtures/metrics/corpus_answers.json"));
    let mut seen = BTreeSet::new();
    for case in list(&file["cases"]) {
        let version = if case["version"] == 1 { Squad::One } else { Squad::Two };
        let references: Vec<Vec<&str>> = list(&case["references"]).iter().map(strings).collect();
        let sums = answers(&references, &strings(&case["answers"]), version).unwrap();
        seen.extend(compare(case, Task::Answers, &sums));
    }
    assert_eq!(list(&file["cases"]).len(), 6);
    assert_eq!(seen, all_of(Task::Answers));
}

#[test]
fn replies_are_measured_as_parlai_does() {
    let file = fixture(include_str!("../../../../fixtures/metrics/corpus_replies.json"));
    let mut seen = BTreeSet::new();
    for case in list(&file["cases"]) {
        let references: Vec<Vec<&str>> = list(&case["references"]).iter().map(strings).collect();
        let sum = word_f1(&references, &strings(&case["answers"])).unwrap();
        seen.extend(compare(case, Task::Dialog, &[sum]));
    }
    assert_eq!(list(&file["cases"]).len(), 3);
    // Ranks are compared below; perplexity comes from the loss of a model.
    seen.extend(["hits@1", "hits@3", "hits@10", "mrr", "perplexity"].map(String::from));
    assert_eq!(seen, all_of(Task::Dialog));
}

fn floats(value: &Value) -> Vec<f64> {
    list(value).iter().map(|v| v.as_f64().unwrap()).collect()
}

fn whole(value: &Value) -> Vec<u32> {
    list(value).iter().map(|v| v.as_u64().unwrap() as u32).collect()
}

#[test]
fn rankings_are_measured_as_scikit_learn_does() {
    let file = fixture(include_str!("../../../../fixtures/metrics/corpus_rankings.json"));
    let mut seen = BTreeSet::new();
    for case in list(&file["cases"]) {
        let lists = list(&case["gains"]).iter().zip(list(&case["missed"]));
        let lists = lists.map(|(gains, missed)| Ranked { gains: floats(gains), missed: floats(missed) });
        seen.extend(compare(case, Task::Ranking, &ranking(&lists.collect::<Vec<_>>()).unwrap()));
    }
    assert_eq!(list(&file["cases"]).len(), 7);
    assert_eq!(seen, all_of(Task::Ranking));
}

#[test]
fn trees_are_measured_by_their_definition() {
    let file = fixture(include_str!("../../../../fixtures/metrics/corpus_trees.json"));
    let mut seen = BTreeSet::new();
    let mut reports = 0;
    for case in list(&file["cases"]) {
        let rows = |key: &str| -> Vec<Vec<Dependency>> {
            let word = |word: &Value| Dependency {
                head: word[0].as_u64().unwrap() as usize,
                relation: word[1].as_str().unwrap().to_string(),
            };
            list(&case[key]).iter().map(|row| list(row).iter().map(word).collect()).collect()
        };
        let flags = list(&case["punctuation"]).iter();
        let flags: Vec<Vec<bool>> =
            flags.map(|row| list(row).iter().map(|flag| flag.as_bool().unwrap()).collect()).collect();
        let (sums, relations) = trees(&rows("truth"), &rows("predicted"), Some(&flags)).unwrap();
        seen.extend(compare(case, Task::Trees, &sums));
        assert_eq!(relations.len(), list(&case["relations"]).len());
        for (report, expected) in relations.iter().zip(list(&case["relations"])) {
            assert_eq!(report.label, expected[0].as_str().unwrap());
            assert!(close(report.precision, expected[1].as_f64().unwrap()), "{report:?} {expected}");
            assert!(close(report.recall, expected[2].as_f64().unwrap()), "{report:?} {expected}");
            assert_eq!(report.actual, expected[3].as_u64().unwrap());
            reports += 1;
        }
    }
    assert_eq!((list(&file["cases"]).len(), reports), (4, 23));
    assert_eq!(seen, all_of(Task::Trees));
}

#[test]
fn groups_are_compared_as_fairlearn_does() {
    let file = fixture(include_str!("../../../../fixtures/metrics/corpus_groups.json"));
    let mut compared = 0;
    for case in list(&file["cases"]) {
        let probabilities = whole(&case["predicted"]).into_iter().flat_map(|class| [1 - class, class]);
        let probabilities: Vec<f64> = probabilities.map(f64::from).collect();
        let outcome = Outcome::classes(&whole(&case["truth"]), &probabilities, 2).unwrap();
        let outcome = outcome.with_positive(case["positive"].as_u64().unwrap() as usize).unwrap();
        let (_, gaps) = group_differences(&outcome, &whole(&case["groups"])).unwrap();
        assert_eq!(gaps.len(), case["expected"].as_object().unwrap().len());
        for gap in gaps {
            for (got, key) in [(gap.of().ok(), "expected"), (drawn(&gap, &case["counts"]), "expected_drawn")]
            {
                let expected = &case[key][&gap.name];
                assert!(same(got, expected), "{}: {} ({key}): {got:?} {expected}", case["name"], gap.name);
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 30);
}

#[test]
fn a_changed_answer_is_noticed() {
    let file = fixture(include_str!("../../../../fixtures/metrics/corpus_texts.json"));
    let case = &file["cases"][0];
    let references: Vec<Vec<&str>> = list(&case["references"]).iter().map(strings).collect();
    let mut given = strings(&case["answers"]);
    // All but one move, so that every measure should.
    given.rotate_left(1);
    given[0] = "said said said said said said";
    for summed in texts(&references, &given).unwrap() {
        let expected = &case["expected"][&summed.name];
        assert!(!same(summed.of().ok(), expected), "{} is still {expected}", summed.name);
    }
}
