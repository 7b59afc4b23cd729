//! A session of labelling, whoever asks the questions: a terminal or a page.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Instant;

use super::choose::{Choice, Strategy};
use super::features::{Features, PoolText};
use super::file::{LabelFile, Record};
use super::head::{Head, Held, Scores};
use crate::error::Error;
use crate::nearest::nearest;
use crate::scoring::first_greatest;

/// How a session goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The classes there are from the start.
    pub classes: Vec<String>,
    /// By what texts are chosen.
    pub strategy: Strategy,
    /// Texts asked for between two lessons.
    pub batch: usize,
    /// The seed of the order.
    pub seed: u64,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Question<'a> {
    /// The text.
    pub text: &'a PoolText,
    /// The round, from 1.
    pub round: usize,
    /// Its place in the round, from 1.
    pub place: usize,
    /// Questions of the round.
    pub of: usize,
    /// Classes with their probabilities, the likeliest first; empty while there is no model.
    pub guesses: Vec<(usize, f32)>,
}

/// A round that has ended, and what was learnt from it.
#[derive(Clone, Debug, PartialEq)]
pub struct Round {
    /// Its number, from 1.
    pub number: usize,
    /// Labels there are now.
    pub labels: usize,
    /// How often the guess was the answer, and how often there was a guess.
    pub guessed: (usize, usize),
    /// Seconds to learn anew and to choose.
    pub seconds: f64,
    /// On the texts held out; `None` without any, and while there is no model.
    pub scores: Option<Scores>,
}

/// What was done last.
enum Done {
    Answered,
    Skipped,
}

/// A session.
pub struct Session {
    settings: Settings,
    pool: Vec<PoolText>,
    /// Of the pool, then of labelled texts that are not in it.
    features: Features,
    held: Option<Held>,
    classes: Vec<String>,
    file: LabelFile,
    records: Vec<Record>,
    /// The row of the features of each record.
    rows: Vec<usize>,
    /// Rows that were passed over in this session, with their rounds.
    skipped: Vec<(usize, usize)>,
    done: Vec<Done>,
    round: usize,
    queue: VecDeque<usize>,
    of: usize,
    guessed: (usize, usize),
    head: Option<Head>,
    /// What each round that has ended led to.
    curve: Vec<CurvePoint>,
}

/// How good the model was after a round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CurvePoint {
    /// The round that had ended.
    pub round: usize,
    /// Labels it learnt from.
    pub labels: usize,
    /// On the texts held out.
    pub scores: Scores,
}

/// Labelled texts that are not in a pool, each once, in their order.
pub(super) fn outside<'a>(pool: &[PoolText], records: &'a [Record]) -> Vec<(&'a str, Option<&'a str>)> {
    let known: HashSet<_> = pool.iter().map(PoolText::key).collect();
    let mut seen = HashSet::new();
    let keys = records.iter().map(|record| (record.text.as_str(), record.pair.as_deref()));
    keys.filter(|key| !known.contains(key) && seen.insert(*key)).collect()
}

impl Session {
    /// The labelled texts that are not in the pool: features are wanted of them too.
    pub fn outside<'a>(pool: &[PoolText], records: &'a [Record]) -> Vec<(&'a str, Option<&'a str>)> {
        outside(pool, records)
    }

    /// Begins, or goes on with what is in the file, and says what is to be said. `features` are those of the pool, and behind
    /// them those of [`Session::outside`].
    ///
    /// # Errors
    /// An empty pool, no class, a class without a name, held-out texts of other classes, features of other texts.
    pub fn open(
        settings: Settings,
        pool: Vec<PoolText>,
        features: Features,
        held: Option<Held>,
        (file, records): (LabelFile, Vec<Record>),
    ) -> Result<(Self, Vec<String>), Error> {
        let mut notes = Vec::new();
        let mut classes: Vec<String> = Vec::new();
        for name in &settings.classes {
            let name = proper(name)?;
            if !classes.contains(&name) {
                classes.push(name);
            }
        }
        let asked = classes.clone();
        for record in &records {
            if !classes.contains(&record.label) {
                classes.push(record.label.clone());
            }
        }
        let more: Vec<&str> = classes[asked.len()..].iter().map(String::as_str).collect();
        if !more.is_empty() && !asked.is_empty() {
            notes.push(format!(
                "{} has labels that --classes does not name, which are classes too: {}",
                file.path().display(),
                more.join(", ")
            ));
        }
        let unknown = held.iter().flat_map(|held| &held.labels).find(|label| !classes.contains(*label));
        if let (Some(unknown), false) = (unknown, classes.is_empty()) {
            let meant = nearest(unknown, classes.iter().map(String::as_str)).unwrap_or_default();
            return Err(Error::Task(format!(
                "the texts held out have the class {unknown:?}, which is none of {}; did you mean {meant:?}? Name all \
                 classes with --classes",
                classes.join(", ")
            )));
        }
        if classes.is_empty() {
            return Err(Error::Task("no classes: name them with --classes spam,ham".to_string()));
        }
        if pool.is_empty() {
            return Err(Error::Task("there is no text to label in the pool".to_string()));
        }
        let expected = pool.len() + outside(&pool, &records).len();
        if features.rows() != expected {
            return Err(Error::Task(format!(
                "features of {expected} texts expected, got {}",
                features.rows()
            )));
        }
        let rows = rows_of(&pool, &records);
        let inside = rows.iter().filter(|&&row| row < pool.len()).count();
        if !records.is_empty() {
            notes.push(format!(
                "going on with {} labels, {} of them of texts of this pool",
                records.len(),
                inside
            ));
        }
        let mut session = Session {
            settings: Settings { batch: settings.batch.max(1), ..settings },
            pool,
            features,
            held,
            classes,
            file,
            records,
            rows,
            skipped: Vec::new(),
            done: Vec::new(),
            round: 1,
            queue: VecDeque::new(),
            of: 0,
            guessed: (0, 0),
            head: None,
            curve: Vec::new(),
        };
        session.recall()?;
        session.plan()?;
        Ok((session, notes))
    }

    /// The classes, in the order of their numbers.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The labels there are.
    pub fn labels(&self) -> &[Record] {
        &self.records
    }

    /// The file of labels.
    pub fn path(&self) -> &std::path::Path {
        self.file.path()
    }

    /// Texts of the pool without a label.
    pub fn left(&self) -> usize {
        let labelled: HashSet<usize> =
            self.rows.iter().copied().filter(|&row| row < self.pool.len()).collect();
        self.pool.len() - labelled.len()
    }

    /// Labels of each class.
    pub fn counts(&self) -> Vec<(String, usize)> {
        let of = |class: &String| self.records.iter().filter(|record| record.label == *class).count();
        self.classes.iter().map(|class| (class.clone(), of(class))).collect()
    }

    /// How good the model was after each round, where texts are held out.
    pub fn curve(&self) -> &[CurvePoint] {
        &self.curve
    }

    /// Measures the rounds of earlier sessions that have ended.
    fn recall(&mut self) -> Result<(), Error> {
        let last = self.records.iter().map(|record| record.round).max().unwrap_or(0);
        let last = if self.held.is_some() { last } else { 0 };
        for round in 1..=last {
            self.round = round;
            self.learn()?;
            self.measure()?;
        }
        Ok(())
    }

    /// Measures the model of the round at hand, which is what the one before led to.
    fn measure(&mut self) -> Result<(), Error> {
        let round = self.round - 1;
        self.curve.retain(|point| point.round < self.round);
        if self.curve.last().is_some_and(|point| point.round == round) {
            return Ok(());
        }
        let (Some(held), Some(head)) = (&self.held, &self.head) else { return Ok(()) };
        if let Some(scores) = held.measure(head, &self.classes)? {
            let labels = self.records.iter().filter(|record| record.round <= round).count();
            self.curve.push(CurvePoint { round, labels, scores });
        }
        Ok(())
    }

    /// What is to be answered now; `None` when nothing is left.
    ///
    /// # Errors
    /// Numbers that are none.
    pub fn question(&self) -> Result<Option<Question<'_>>, Error> {
        let Some(&row) = self.queue.front() else { return Ok(None) };
        let mut guesses: Vec<(usize, f32)> = self.probabilities(row)?.into_iter().enumerate().collect();
        guesses.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let (round, of) = (self.round, self.of);
        Ok(Some(Question { text: &self.pool[row], round, place: of - self.queue.len() + 1, of, guesses }))
    }

    /// What the model says of a text of the pool; nothing while there is none.
    fn probabilities(&self, row: usize) -> Result<Vec<f32>, Error> {
        let Some(head) = &self.head else { return Ok(Vec::new()) };
        head.probabilities(&self.features, &[row], self.classes.len())
    }

    /// Answers the question at hand with a class, by its number from 0. A round that ends with it is told.
    ///
    /// # Errors
    /// A class that there is not; nothing that was asked; a label that cannot be written, which is then not given.
    pub fn answer(&mut self, class: usize) -> Result<Option<Round>, Error> {
        let Some(&row) = self.queue.front() else {
            return Err(Error::Task("no text is left to be labelled".to_string()));
        };
        let Some(label) = self.classes.get(class).cloned() else {
            return Err(Error::Task(format!("there are {} classes, not {}", self.classes.len(), class + 1)));
        };
        let guess = self.probabilities(row)?;
        let answer = self.records.iter().filter(|record| record.round == self.round).count() + 1;
        let PoolText { text, pair, row: at } = self.pool[row].clone();
        let record = Record { text, pair, label, round: self.round, answer, row: at };
        self.file.append(&record)?;
        self.records.push(record);
        self.rows.push(row);
        self.done.push(Done::Answered);
        if !guess.is_empty() {
            self.guessed.0 += usize::from(first_greatest(&guess) == class);
            self.guessed.1 += 1;
        }
        self.next()
    }

    /// Passes the question at hand over: it comes again in another session, or when nothing else is left in this one.
    ///
    /// # Errors
    /// Nothing that was asked.
    pub fn skip(&mut self) -> Result<Option<Round>, Error> {
        let Some(&row) = self.queue.front() else {
            return Err(Error::Task("no text is left to be labelled".to_string()));
        };
        self.skipped.push((self.round, row));
        self.done.push(Done::Skipped);
        self.next()
    }

    /// Takes the last answer back, of an earlier session too, or asks again what was passed over last; false where there is
    /// nothing to take back.
    ///
    /// # Errors
    /// A file that cannot be written to any more.
    pub fn undo(&mut self) -> Result<bool, Error> {
        match self.done.pop() {
            Some(Done::Skipped) => _ = self.skipped.pop(),
            Some(Done::Answered) | None => {
                if !self.file.undo()? {
                    return Ok(false);
                }
                self.records.pop();
                self.rows.pop();
            }
        }
        self.plan()?;
        Ok(true)
    }

    /// Adds a class, and gives its number; the number that it has, if it is there already.
    ///
    /// # Errors
    /// A name that is none.
    pub fn add_class(&mut self, name: &str) -> Result<usize, Error> {
        let name = proper(name)?;
        if let Some(at) = self.classes.iter().position(|class| *class == name) {
            return Ok(at);
        }
        self.classes.push(name);
        Ok(self.classes.len() - 1)
    }

    /// Goes on to the next question, and to the next round where there is none.
    fn next(&mut self) -> Result<Option<Round>, Error> {
        self.queue.pop_front();
        if !self.queue.is_empty() {
            return Ok(None);
        }
        let (number, guessed, started) = (self.round, self.guessed, Instant::now());
        self.plan()?;
        let seconds = started.elapsed().as_secs_f64();
        let scores = self.curve.last().filter(|point| point.round >= number).map(|point| point.scores);
        Ok(Some(Round { number, labels: self.records.len(), guessed, seconds, scores }))
    }

    /// Finds where the answers so far lead: the round, its model and its questions follow from them alone, so that a session that
    /// goes on asks what one without an interruption would have asked.
    fn plan(&mut self) -> Result<(), Error> {
        let answered = self.records.iter().map(|record| record.round).max().unwrap_or(0);
        let passed = self.skipped.iter().map(|(round, _)| *round).max().unwrap_or(0);
        self.round = answered.max(passed).max(1);
        self.guessed = (0, 0);
        self.ask()?;
        if self.queue.is_empty() {
            self.round += 1;
            self.ask()?;
        }
        if self.queue.is_empty() && !self.skipped.is_empty() && self.left() > 0 {
            // Nothing else is left than what was passed over.
            self.skipped.clear();
            self.done.retain(|done| matches!(done, Done::Answered));
            self.ask()?;
        }
        self.measure()
    }

    /// Learns from the rounds before the one at hand; gives the rows of their texts.
    fn learn(&mut self) -> Result<Vec<usize>, Error> {
        let before: Vec<usize> =
            (0..self.records.len()).filter(|&at| self.records[at].round < self.round).collect();
        let rows: Vec<usize> = before.iter().map(|&at| self.rows[at]).collect();
        let class = |at: &usize| {
            let label = &self.records[*at].label;
            self.classes.iter().position(|class| class == label).unwrap_or_default() as u32
        };
        let labels: Vec<u32> = before.iter().map(class).collect();
        self.head = Head::learn(&self.features, &rows, &labels, self.classes.len())?;
        Ok(rows)
    }

    /// Learns, and chooses what the round at hand asks; what was answered or passed over in it already is left out.
    fn ask(&mut self) -> Result<(), Error> {
        let rows = self.learn()?;
        let over =
            |round: usize| self.skipped.iter().filter(move |(of, _)| *of == round).map(|(_, row)| *row);
        let mut closed: HashSet<usize> = rows.iter().copied().collect();
        closed.extend(self.skipped.iter().filter(|(of, _)| *of < self.round).map(|(_, row)| *row));
        let open: Vec<usize> = (0..self.pool.len()).filter(|row| !closed.contains(row)).collect();
        let probabilities = match &self.head {
            Some(head) => Some(head.probabilities(&self.features, &open, self.classes.len())?),
            None => None,
        };
        let choice = Choice {
            features: &self.features,
            pool: self.pool.len(),
            open: &open,
            probabilities: probabilities.as_deref(),
            round: self.round,
            seed: self.settings.seed,
        };
        let chosen = choice.choose(self.settings.strategy, self.settings.batch);
        let mut answered: HashSet<usize> = (0..self.records.len())
            .filter(|&at| self.records[at].round == self.round)
            .map(|at| self.rows[at])
            .collect();
        answered.extend(over(self.round));
        self.of = chosen.len();
        self.queue = chosen.into_iter().filter(|row| !answered.contains(row)).collect();
        Ok(())
    }
}

/// The row of each record's features: in the pool, or behind it.
fn rows_of(pool: &[PoolText], records: &[Record]) -> Vec<usize> {
    let mut known: HashMap<(&str, Option<&str>), usize> =
        pool.iter().enumerate().map(|(row, text)| (text.key(), row)).collect();
    for key in outside(pool, records) {
        let next = known.len();
        known.insert(key, next);
    }
    records.iter().map(|record| known[&(record.text.as_str(), record.pair.as_deref())]).collect()
}

/// A name of a class without space around it.
fn proper(name: &str) -> Result<String, Error> {
    let name = name.trim();
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(Error::Task(format!("{name:?} is no name of a class")));
    }
    Ok(name.to_string())
}
