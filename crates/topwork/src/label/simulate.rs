//! What a strategy would have been worth: texts whose labels are known are asked for as in a session, and each strategy is held
//! against random order.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use topwork_kernels::rng::derive;

use super::choose::{Choice, Strategy};
use super::features::Features;
use super::head::{Head, Held, Scores};
use crate::error::Error;
use crate::glue::{keep, read_kept};

/// What is to be played.
pub struct Plan<'a> {
    /// The strategies.
    pub strategies: Vec<Strategy>,
    /// A play for each seed.
    pub seeds: Vec<u64>,
    /// Rounds of each.
    pub rounds: usize,
    /// Texts asked for in each.
    pub batch: usize,
    /// The folder of everything.
    pub folder: &'a Path,
}

/// What it is played with.
pub struct Material {
    /// The classes.
    pub classes: Vec<String>,
    /// Of the texts to be asked for.
    pub features: Features,
    /// Their classes.
    pub labels: Vec<u32>,
    /// What is measured on.
    pub held: Held,
    /// What stands for the model and the texts: plays with another one do not belong together.
    pub identity: String,
}

/// A point of a curve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Point {
    /// Labels learnt from.
    pub labels: usize,
    /// On the texts held out; `None` while there is but one class.
    pub scores: Option<Scores>,
    /// Classes that a label was given of.
    pub classes: usize,
}

/// A curve: a strategy with a seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Curve {
    /// The strategy's name.
    pub strategy: String,
    /// The seed.
    pub seed: u64,
    /// A point a round.
    pub points: Vec<Point>,
    /// Seconds to learn, choose and measure, of all rounds.
    pub seconds: f64,
}

/// What came out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Results {
    /// A curve for each strategy and seed.
    pub curves: Vec<Curve>,
    /// Texts that could be asked for.
    pub pool: usize,
    /// Texts measured on.
    pub held: usize,
    /// Classes.
    pub classes: usize,
    /// Whether it was stopped: the same again goes on.
    pub interrupted: bool,
}

/// What a curve that is finished says of itself.
#[derive(Serialize, Deserialize)]
struct Finished {
    identity: String,
    curve: Curve,
}

/// Plays what is not played yet; `each` sees the results after every curve.
///
/// # Errors
/// A folder with plays of something else, and a full disk.
pub fn run(
    plan: &Plan,
    material: &Material,
    stop: &AtomicBool,
    each: &mut dyn FnMut(&Results) -> Result<(), Error>,
) -> Result<Results, Error> {
    let mut results = Results {
        pool: material.features.rows(),
        held: material.held.labels.len(),
        classes: material.classes.len(),
        ..Results::default()
    };
    let identity = format!("{}, {} rounds of {}", material.identity, plan.rounds, plan.batch);
    for &seed in &plan.seeds {
        for &strategy in &plan.strategies {
            let path = file(plan.folder, strategy, seed);
            let curve = match read_kept::<Finished>(&path)? {
                Some(finished) if finished.identity == identity => finished.curve,
                Some(_) => {
                    return Err(Error::Labels {
                        place: path.display().to_string(),
                        reason: "this was played with other data, another model or other rounds: name another --out"
                            .to_string(),
                    });
                }
                None => {
                    let Some(curve) = play(plan, material, strategy, seed, stop)? else {
                        results.interrupted = true;
                        return Ok(results);
                    };
                    if let Some(parent) = path.parent() {
                        std::fs::create_dir_all(parent).map_err(Error::file(parent))?;
                    }
                    let finished = Finished { identity: identity.clone(), curve };
                    keep(&path, &finished)?;
                    finished.curve
                }
            };
            results.curves.push(curve);
            each(&results)?;
        }
    }
    Ok(results)
}

fn file(folder: &Path, strategy: Strategy, seed: u64) -> PathBuf {
    folder.join(strategy.name()).join(format!("seed-{seed}.json"))
}

/// One curve; `None` if it was stopped.
fn play(
    plan: &Plan,
    material: &Material,
    strategy: Strategy,
    seed: u64,
    stop: &AtomicBool,
) -> Result<Option<Curve>, Error> {
    let started = Instant::now();
    let (features, classes) = (&material.features, material.classes.len());
    let (mut rows, mut labels) = (Vec::new(), Vec::new());
    let mut head: Option<Head> = None;
    let mut points = Vec::new();
    for round in 1..=plan.rounds {
        if stop.load(Ordering::SeqCst) {
            return Ok(None);
        }
        let closed: HashSet<usize> = rows.iter().copied().collect();
        let open: Vec<usize> = (0..features.rows()).filter(|row| !closed.contains(row)).collect();
        if open.is_empty() {
            break;
        }
        // Random order looks at nothing.
        let asks = head.as_ref().filter(|_| strategy != Strategy::Random);
        let probabilities = asks.map(|head| head.probabilities(features, &open, classes)).transpose()?;
        let choice = Choice {
            features,
            pool: features.rows(),
            open: &open,
            probabilities: probabilities.as_deref(),
            round,
            seed: derive(seed, "simulate"),
        };
        let chosen = choice.choose(strategy, plan.batch);
        labels.extend(chosen.iter().map(|&row| material.labels[row]));
        rows.extend(chosen);
        head = Head::learn(features, &rows, &labels, classes)?;
        let scores = match &head {
            Some(head) => material.held.measure(head, &material.classes)?,
            None => None,
        };
        let seen: HashSet<u32> = labels.iter().copied().collect();
        points.push(Point { labels: rows.len(), scores, classes: seen.len() });
    }
    let (strategy, seconds) = (strategy.name().to_string(), started.elapsed().as_secs_f64());
    Ok(Some(Curve { strategy, seed, points, seconds }))
}
