//! One set into train, dev and test: stratified, seeded, with duplicates on one side.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use topwork_kernels::rng::{Stream, derive};

use crate::duplicates::GroupCache;
use crate::labels::by_name;
use crate::{Dataset, Error, Example, Label, NearOptions, Related, Result};

/// How to split.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SplitOptions {
    /// Share for training.
    pub train: f64,
    /// Share for choosing (early stopping, thresholds); may be 0.
    pub dev: f64,
    /// Share for the final score; may be 0.
    pub test: f64,
    /// The seed.
    pub seed: u64,
    /// Give every part the same mixture of classes.
    pub stratify: bool,
    /// Keep near duplicates together too; exact ones always are.
    pub near: Option<NearOptions>,
}

impl Default for SplitOptions {
    fn default() -> Self {
        Self { train: 0.8, dev: 0.1, test: 0.1, seed: 0, stratify: true, near: Some(NearOptions::default()) }
    }
}

/// The parts, as positions in the set, each ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// For training.
    pub train: Vec<usize>,
    /// For choosing.
    pub dev: Vec<usize>,
    /// For the final score.
    pub test: Vec<usize>,
    /// What was done.
    pub report: SplitReport,
}

/// What splitting did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitReport {
    /// Texts that equal an earlier one but for case, white space and digits.
    pub exact: usize,
    /// Further texts nearly the same as an earlier one.
    pub near: usize,
    /// Groups of more than one text, each kept within one part.
    pub groups: usize,
    /// Groups whose texts have different labels.
    pub conflicts: usize,
    /// Rows of some such groups (at most 3 groups).
    pub conflict_rows: Vec<Vec<usize>>,
    /// Classes (or score ranges) and their counts in train, dev and test.
    pub classes: Vec<(String, [usize; 3])>,
    /// Anything else: classes too small for every part.
    pub notes: Vec<String>,
}

impl SplitReport {
    /// The report as lines for the user.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.groups > 0 {
            lines.push(format!(
                "{} texts repeat an earlier one ({} the same but for case, space and digits, {} nearly): {} groups, each \
                 kept within one part",
                self.exact + self.near, self.exact, self.near, self.groups
            ));
        }
        if self.conflicts > 0 {
            lines.push(format!(
                "{} of these groups have different labels for the same text, such as rows {:?}",
                self.conflicts, self.conflict_rows
            ));
        }
        for (name, [train, dev, test]) in self.classes.iter().take(20) {
            lines.push(format!("  {name}: {train} train, {dev} dev, {test} test"));
        }
        if self.classes.len() > 20 {
            lines.push(format!("  and {} more classes", self.classes.len() - 20));
        }
        lines.extend(self.notes.iter().cloned());
        lines
    }
}

/// Splits a set.
///
/// Groups of duplicates are placed whole and first, larger ones before smaller ones, each by lot among the parts that
/// have room for it: a part draws them in proportion to its size, so that test and dev are as repetitive as what the
/// model will meet. Single texts then go where their classes are wanted most, so that every part gets its share of
/// every class to within a text or a group. The same seed gives the same parts on every machine.
///
/// # Errors
/// [`Error::Setting`] if the shares are not between 0 and 1 with the sum 1; [`Error::Split`] if a part that should
/// have a share would be empty.
pub fn split(dataset: &Dataset, options: &SplitOptions) -> Result<Split> {
    parts(dataset, options, &GroupCache::default())
}

/// [`split`] with what is known of the texts.
pub(crate) fn parts(dataset: &Dataset, options: &SplitOptions, cache: &GroupCache) -> Result<Split> {
    let shares = [options.train, options.dev, options.test];
    let sum: f64 = shares.iter().sum();
    if shares.iter().any(|share| !(0.0..=1.0).contains(share))
        || (sum - 1.0).abs() > 1e-6
        || options.train == 0.0
    {
        return Err(Error::Setting {
            what: "shares of train, dev and test",
            expected: "numbers from 0 to 1 with the sum 1, train above 0".into(),
            got: format!("{shares:?}"),
        });
    }
    let strata = Strata::new(dataset, options.stratify);
    let found = cache.duplicates(dataset, options.near.as_ref());
    let mut groups = found.groups();
    let largest = groups.iter().map(Vec::len).max().unwrap_or(0);
    let mut report = SplitReport { exact: found.exact, near: found.near, ..SplitReport::default() };
    let conversations: HashSet<usize> = dataset.examples.iter().filter_map(conversation).collect();
    if !conversations.is_empty() {
        let count = conversations.len();
        report.notes.push(format!("the exchanges of each of {count} conversations are kept within one part"));
    }
    for group in groups.iter().filter(|group| group.len() > 1 && conversations.is_empty()) {
        report.groups += 1;
        let label = |&at: &usize| dataset.examples[at].label.as_ref().filter(|label| label.is_plain());
        if group.iter().any(|at| label(at) != label(&group[0])) {
            report.conflicts += 1;
            if report.conflict_rows.len() < 3 {
                report.conflict_rows.push(group.iter().take(5).map(|&at| dataset.examples[at].row).collect());
            }
        }
    }

    Stream(derive(options.seed, "split")).shuffle(&mut groups);
    groups.sort_by_key(|group| std::cmp::Reverse(group.len()));
    let mut wanted = strata.quotas(shares);
    let mut parts: [Vec<usize>; 3] = Default::default();
    let mut lots = Stream(derive(options.seed, "groups"));
    for group in groups {
        if group.len() > 1
            && let Some(part) = by_lot(&group, &strata, &wanted, &mut lots)
        {
            for &at in &group {
                strata.of(at).iter().for_each(|&stratum| wanted[stratum][part] -= 1.0);
            }
            parts[part].extend(group);
            continue;
        }
        // By classes first; where they do not decide (no label, or all alike), by the size of the parts.
        let mut gain = [(0.0, 0.0); 3];
        for &at in &group {
            for (part, gain) in gain.iter_mut().enumerate() {
                let want = |&stratum: &usize| wanted[stratum][part] / strata.counts[stratum] as f64;
                gain.0 += strata.classes_of(at).iter().map(want).sum::<f64>();
                gain.1 += wanted[strata.all()][part];
            }
        }
        let better = |a: (f64, f64), b: (f64, f64)| a.0 > b.0 + 1e-9 || (a.0 > b.0 - 1e-9 && a.1 > b.1);
        let open = (0..3).filter(|&part| shares[part] > 0.0);
        let part = open.fold(0, |best, part| if better(gain[part], gain[best]) { part } else { best });
        for &at in &group {
            strata.of(at).iter().for_each(|&stratum| wanted[stratum][part] -= 1.0);
        }
        parts[part].extend(group);
    }
    for ((part, name), share) in parts.iter_mut().zip(["train", "dev", "test"]).zip(shares) {
        part.sort_unstable();
        if part.is_empty() && share > 0.0 {
            let problem = format!(
                "nothing is left for {name} with a share of {share}; give more data or set its share to 0"
            );
            return Err(Error::Split { rows: dataset.len(), problem });
        }
    }
    strata.describe(&parts, &shares, &mut report);
    for ((part, name), share) in parts.iter().zip(["train", "dev", "test"]).zip(shares) {
        let due = share * dataset.len() as f64;
        if (part.len() as f64) < due / 2.0 {
            report.notes.push(format!(
                "{name} has {} texts instead of {due:.0}: the largest group of texts that repeat each other has {largest}",
                part.len()
            ));
        }
    }
    let [train, dev, test] = parts;
    Ok(Split { train, dev, test, report })
}

/// The number of the conversation that an exchange belongs to.
fn conversation(example: &Example) -> Option<usize> {
    match &example.label {
        Some(Label::Exchange(exchange)) => Some(exchange.conversation),
        _ => None,
    }
}

/// One of the parts that have room for all of a group, each as likely as it has places left; `None` if none has.
fn by_lot(group: &[usize], strata: &Strata, wanted: &[[f64; 3]], lots: &mut Stream) -> Option<usize> {
    let mut need: HashMap<usize, f64> = HashMap::new();
    for &stratum in group.iter().flat_map(|&at| strata.held_of(at)) {
        *need.entry(stratum).or_default() += 1.0;
    }
    let places = [0, 1, 2].map(|part| {
        let room = need.iter().all(|(&stratum, &count)| wanted[stratum][part] >= count);
        if room { wanted[strata.all()][part].floor() as u64 } else { 0 }
    });
    let all: u64 = places.iter().sum();
    if all == 0 {
        return None;
    }
    let mut drawn = lots.below(all);
    (0..3).find(|&part| {
        let here = drawn < places[part];
        drawn = drawn.saturating_sub(places[part]);
        here
    })
}

/// `count` of the given examples with every class in its share, at least one of each where `count` allows. A larger
/// count with the same seed holds the smaller one.
///
/// # Errors
/// [`Error::Split`] if there are fewer examples than asked for.
pub fn few(dataset: &Dataset, indices: &[usize], count: usize, seed: u64) -> Result<Vec<usize>> {
    if count > indices.len() {
        let problem = format!("{count} were asked for");
        return Err(Error::Split { rows: indices.len(), problem });
    }
    let subset = dataset.select(indices);
    let strata = Strata::new(&subset, true);
    let mut queues: Vec<Vec<usize>> = vec![Vec::new(); strata.counts.len()];
    let mut order: Vec<usize> = (0..indices.len()).collect();
    Stream(derive(seed, "few")).shuffle(&mut order);
    // An example waits under its first class.
    order.iter().rev().for_each(|&at| queues[strata.of(at)[0]].push(at));
    let sizes: Vec<usize> = queues.iter().map(Vec::len).collect();
    let mut taken = vec![0usize; queues.len()];
    let mut chosen = Vec::with_capacity(count);
    while chosen.len() < count {
        // The class furthest behind its share; one that has nothing yet goes first, largest first.
        let behind = |class: usize| {
            let share = sizes[class] as f64 / indices.len() as f64;
            let due = share * (chosen.len() + 1) as f64 - taken[class] as f64;
            if taken[class] == 0 { due + indices.len() as f64 } else { due }
        };
        let open = (0..queues.len()).filter(|&class| !queues[class].is_empty());
        let next = open.max_by(|&a, &b| behind(a).total_cmp(&behind(b)).then(b.cmp(&a)));
        let Some(class) = next else { break };
        taken[class] += 1;
        chosen.extend(queues[class].pop().map(|at| indices[at]));
    }
    Ok(chosen)
}

/// The classes of each example, as numbers; scores by tenths of the set.
struct Strata {
    of: Vec<Vec<usize>>,
    counts: Vec<usize>,
    names: Vec<String>,
    /// The classes are ranges of scores.
    ranges: bool,
}

impl Strata {
    fn new(dataset: &Dataset, stratify: bool) -> Self {
        let mut names: Vec<Vec<String>> = vec![Vec::new(); dataset.len()];
        let mut scores: Vec<f32> = Vec::new();
        if stratify {
            for (example, names) in dataset.examples.iter().zip(&mut names) {
                match &example.label {
                    Some(Label::One(name) | Label::Related(Related { name: Some(name), .. })) => {
                        names.push(name.clone());
                    }
                    Some(Label::Many(labels)) => names.extend(labels.iter().cloned()),
                    Some(Label::Score(score)) => scores.push(*score),
                    // What is learnt of these are words, places and texts, not classes of examples.
                    Some(
                        Label::Words(_)
                        | Label::Answers(_)
                        | Label::Text(_)
                        | Label::Choice { .. }
                        | Label::Tree(_)
                        | Label::Related(_)
                        | Label::Exchange(_),
                    )
                    | None => {}
                }
            }
            scores.sort_by(f32::total_cmp);
            let edges: Vec<f32> =
                (1..10).filter_map(|tenth| scores.get(tenth * scores.len() / 10).copied()).collect();
            for (example, names) in dataset.examples.iter().zip(&mut names) {
                if let Some(Label::Score(score)) = &example.label {
                    let tenth = edges.partition_point(|edge| edge <= score);
                    let from = if tenth == 0 { scores[0] } else { edges[tenth - 1] };
                    names.push(format!("scores from {from}"));
                }
            }
        }
        let mut all: Vec<String> = names.iter().flatten().cloned().collect();
        all.sort_by(|a, b| by_name(a, b));
        all.dedup();
        let index: HashMap<&str, usize> =
            all.iter().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
        let total = all.len();
        let mut counts = vec![0; total + 1];
        let of: Vec<Vec<usize>> = names
            .iter()
            .map(|names| {
                let mut of: Vec<usize> = names.iter().map(|name| index[name.as_str()]).collect();
                of.push(total);
                of.iter().for_each(|&stratum| counts[stratum] += 1);
                of
            })
            .collect();
        drop(index);
        Self { of, counts, names: all, ranges: !scores.is_empty() }
    }

    fn of(&self, at: usize) -> &[usize] {
        &self.of[at]
    }

    /// The number that stands for every example.
    fn all(&self) -> usize {
        self.names.len()
    }

    /// The numbers whose shares a group of duplicates must leave room in. Ranges of scores are not among them: their
    /// edges mean little, and a group larger than a small part's share of a tenth would never be drawn for it.
    fn held_of(&self, at: usize) -> &[usize] {
        let of = &self.of[at];
        if self.ranges { &of[of.len() - 1..] } else { of }
    }

    fn classes_of(&self, at: usize) -> &[usize] {
        let of = &self.of[at];
        &of[..of.len() - 1]
    }

    /// Whole numbers of places for each stratum in each part. What the shares leave over goes to the part that is
    /// furthest behind in all, so that many small classes do not all round the same way; a class with any example
    /// has one in train.
    fn quotas(&self, shares: [f64; 3]) -> Vec<[f64; 3]> {
        let mut behind = [0.0; 3];
        let mut quotas = Vec::with_capacity(self.counts.len());
        for &count in &self.counts[..self.all()] {
            let exact = shares.map(|share| share * count as f64);
            let mut quota = exact.map(|places| (places + 1e-9).floor());
            for _ in quota.iter().sum::<f64>() as usize..count {
                let due = |part: usize| behind[part] + exact[part] - quota[part];
                let most = |best: usize, part: usize| if due(part) > due(best) + 1e-9 { part } else { best };
                let part =
                    if quota[0] == 0.0 { 0 } else { (0..3).filter(|&part| shares[part] > 0.0).fold(0, most) };
                quota[part] += 1.0;
            }
            (0..3).for_each(|part| behind[part] += exact[part] - quota[part]);
            quotas.push(quota);
        }
        quotas.push(shares.map(|share| share * self.counts[self.all()] as f64));
        quotas
    }

    fn describe(&self, parts: &[Vec<usize>; 3], shares: &[f64; 3], report: &mut SplitReport) {
        let mut counts = vec![[0; 3]; self.counts.len()];
        for (part, members) in parts.iter().enumerate() {
            members.iter().flat_map(|&at| self.of(at)).for_each(|&stratum| counts[stratum][part] += 1);
        }
        let mut missing = Vec::new();
        for (name, counts) in self.names.iter().zip(&counts) {
            if (0..3).any(|part| shares[part] > 0.0 && counts[part] == 0) {
                missing.push(name.as_str());
            }
            report.classes.push((name.clone(), *counts));
        }
        if !missing.is_empty() {
            let more = if missing.len() > 5 { ", ..." } else { "" };
            report.notes.push(format!(
                "{} classes have too few texts to be in every part: {}{more}",
                missing.len(),
                missing[..missing.len().min(5)].join(", ")
            ));
        }
        if self.names.is_empty() {
            report.classes.push(("all".into(), [parts[0].len(), parts[1].len(), parts[2].len()]));
        }
    }
}
