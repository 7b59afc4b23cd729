//! The analogy benchmark: questions `a b c d` in sections, counted as gensim's `evaluate_word_analogies` counts.
//!
//! Paper: Mikolov et al. 2013, section 4.1, "Efficient Estimation of Word Representations in Vector Space",
//! <https://arxiv.org/abs/1301.3781>.

use std::path::Path;

use rayon::prelude::*;

use super::space::best;
use super::{Lookup, Objective, Space};
use crate::error::Error;

/// Answers looked at: case variants of the question's own words among them are passed over.
const ANSWERS: usize = 5;

/// Scores held at a time.
const SCORES: usize = 16 << 20;

/// Questions of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// The name after the colon.
    pub name: String,
    /// Questions answered rightly.
    pub correct: usize,
    /// Questions answered wrongly.
    pub wrong: usize,
    /// Questions left out because a word of them has no vector.
    pub unknown: usize,
}

impl Section {
    /// Share of right answers; `None` where no question could be asked.
    pub fn accuracy(&self) -> Option<f64> {
        let asked = self.correct + self.wrong;
        (asked > 0).then(|| self.correct as f64 / asked as f64)
    }
}

/// A space's answers to a file of questions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnalogyScore {
    /// Each section, in the order of the file.
    pub sections: Vec<Section>,
    /// All of them together.
    pub total: Section,
    /// Lines that are no question of four words.
    pub invalid: usize,
}

/// A question by the places of its words.
struct Question {
    section: usize,
    words: [usize; 3],
    /// As they are compared.
    keys: [String; 3],
    expected: String,
}

/// Asks a space the questions of a file (`questions-words.txt` and others of its form).
///
/// # Errors
/// The file cannot be read, begins without a section, or has no question at all.
pub fn analogy_benchmark(
    space: &Space,
    path: &Path,
    lookup: &Lookup,
    objective: Objective,
) -> Result<AnalogyScore, Error> {
    let bytes = std::fs::read(path).map_err(Error::file(path))?;
    let text = String::from_utf8_lossy(&bytes);
    let wrong = |reason: String| Error::Benchmark { path: path.to_path_buf(), reason };
    let index = lookup.index(space);
    let (mut sections, mut questions, mut invalid) = (Vec::<Section>::new(), Vec::new(), 0);
    for (at, line) in text.lines().enumerate() {
        if let Some(name) = line.strip_prefix(": ") {
            sections.push(Section {
                name: name.trim_start_matches([':', ' ']).trim().into(),
                ..Section::default()
            });
            continue;
        }
        if line.trim().is_empty() {
            continue;
        }
        let Some(section) = sections.len().checked_sub(1) else {
            return Err(wrong(format!("line {} stands before the first section (\": name\")", at + 1)));
        };
        let keys: Vec<String> = line.split_whitespace().map(|word| lookup.key(word)).collect();
        let Ok([a, b, c, expected]) = <[String; 4]>::try_from(keys) else {
            invalid += 1;
            continue;
        };
        let places = [&a, &b, &c].map(|word| index.get(word).copied());
        match (places, index.contains_key(&expected)) {
            ([Some(first), Some(second), Some(third)], true) => {
                let words = [first, second, third];
                questions.push(Question { section, words, keys: [a, b, c], expected });
            }
            _ => sections[section].unknown += 1,
        }
    }
    if questions.is_empty() && sections.iter().all(|section| section.unknown == 0) {
        return Err(wrong("no question of four words in it".into()));
    }

    let count = lookup.count(space);
    let batch = (SCORES / count.max(1) / objective.per_analogy()).clamp(1, 1024);
    for questions in questions.chunks(batch) {
        let right = answers(space, questions, lookup, objective, count)?;
        for (question, right) in questions.iter().zip(right) {
            let section = &mut sections[question.section];
            if right { section.correct += 1 } else { section.wrong += 1 }
        }
    }
    let sum = |of: fn(&Section) -> usize| sections.iter().map(of).sum();
    let total = Section {
        name: "total".into(),
        correct: sum(|s| s.correct),
        wrong: sum(|s| s.wrong),
        unknown: sum(|s| s.unknown),
    };
    Ok(AnalogyScore { sections, total, invalid })
}

/// Which of some questions are answered rightly.
fn answers(
    space: &Space,
    questions: &[Question],
    lookup: &Lookup,
    objective: Objective,
    count: usize,
) -> Result<Vec<bool>, Error> {
    let mut queries = Vec::new();
    for question in questions {
        // "man woman king queen" asks for woman - man + king.
        let [a, b, c] = question.words.map(|at| space.direction(&space.vectors().words()[at]));
        queries.extend(objective.queries(&[b?, a?, c?]));
    }
    let products = space.products(&queries, count);
    let per_question = objective.per_analogy() * count;
    let right = |(question, products): (&Question, &[f32])| {
        let found = best(count, ANSWERS, &question.words, |at| objective.score(space, products, count, at));
        let keys: Vec<String> =
            found.iter().map(|(at, _)| lookup.key(&space.vectors().words()[*at])).collect();
        let answer = keys.iter().find(|key| !question.keys.contains(key)).or(keys.last());
        answer == Some(&question.expected)
    };
    Ok(questions.par_iter().zip(products.par_chunks(per_question)).map(right).collect())
}
