//! The tables and the report of a search.

use super::space::{Knob, Range, Value};
use super::{Results, Trial};
use crate::report::{self, Fact, Grid, Headline, Report, Strip, StripPoint, Strips};
use crate::spread::mean;

/// Parts that the values of a number are told apart by.
const PARTS: usize = 4;
/// Trials shown in the table.
const SHOWN: usize = 20;

/// Trials whose values of a setting are alike.
struct Part<'a> {
    name: String,
    trials: Vec<&'a Trial>,
}

impl Part<'_> {
    fn scores(&self) -> Vec<f64> {
        self.trials.iter().filter_map(|trial| trial.score).collect()
    }
}

impl Results {
    fn metric(&self) -> &str {
        self.trials.iter().map(|trial| trial.metric.as_str()).find(|name| !name.is_empty()).unwrap_or("score")
    }

    fn higher(&self) -> bool {
        self.trials.first().is_none_or(|trial| trial.higher_is_better)
    }

    fn scores(&self) -> Vec<f64> {
        self.trials.iter().filter_map(|trial| trial.score).collect()
    }

    /// A row a trial, the best first.
    pub fn grid(&self) -> Grid {
        let mut head = vec!["trial".to_string(), format!("dev {}", self.metric())];
        head.extend(self.knobs.iter().map(|knob| knob.name().to_string()));
        head.extend(["of its steps", "time"].map(str::to_string));
        let row = |trial: &&Trial| {
            let score = match (trial.score, &trial.diverged) {
                (Some(score), _) => report::score(score),
                (None, Some(_)) => "diverged".to_string(),
                (None, None) => "no value".to_string(),
            };
            let mut row = vec![trial.number.to_string(), score];
            row.extend(trial.shown.iter().cloned());
            let [done, all] = trial.steps;
            let share = 100.0 * done as f64 / all.max(1) as f64;
            row.push(format!("{share:.0} %{}", if trial.stopped { ", stopped" } else { "" }));
            row.push(report::seconds(trial.seconds));
            row
        };
        let ranked = self.ranked();
        let hidden = ranked.len().saturating_sub(SHOWN);
        let more = if hidden > 0 { format!(" {hidden} more are in trials/.") } else { String::new() };
        Grid {
            title: format!("{} trials", self.trials.len()),
            about: format!(
                "The best first, by their best score on the development data, which the settings were chosen by: the first row is \
                 also the luckiest. No trial was judged by the test data.{more}"
            ),
            head,
            rows: ranked.iter().take(SHOWN).map(row).collect(),
            sum: false,
        }
    }

    /// The trials by the values of a setting: a part for each choice, for numbers parts of like size.
    fn parts(&self, at: usize, knob: &Knob) -> Vec<Part<'_>> {
        if let Range::Choice(choices) = &knob.range {
            let of = |choice: usize| {
                let same = |trial: &&Trial| matches!(trial.values.get(at), Some(Value::Choice { choice: own }) if *own == choice);
                self.trials.iter().filter(same).collect::<Vec<_>>()
            };
            let part = |(choice, name): (usize, &String)| Part { name: name.clone(), trials: of(choice) };
            return choices.iter().enumerate().map(part).filter(|part| !part.trials.is_empty()).collect();
        }
        let number = |trial: &Trial| match trial.values.get(at) {
            Some(Value::Number(number)) => *number,
            _ => f64::NAN,
        };
        let mut sorted: Vec<&Trial> = self.trials.iter().collect();
        sorted.sort_by(|a, b| number(a).total_cmp(&number(b)));
        let mut parts: Vec<Part> = Vec::new();
        for (place, trial) in sorted.iter().enumerate() {
            let own = place * PARTS / sorted.len().max(1);
            // Trials of one value are never apart.
            let same = parts
                .last()
                .and_then(|part| part.trials.last())
                .is_some_and(|last| number(last) == number(trial));
            let begins = place == 0 || (place - 1) * PARTS / sorted.len() != own;
            match parts.last_mut() {
                Some(part) if same || !begins => part.trials.push(trial),
                _ => parts.push(Part { name: String::new(), trials: vec![trial] }),
            }
        }
        for part in &mut parts {
            let ends = [part.trials.first(), part.trials.last()]
                .map(|trial| trial.map_or(0.0, |trial| number(trial)));
            let [low, high] = ends.map(|end| knob.shown(Value::Number(end)));
            part.name = if low == high { low } else { format!("{low} to {high}") };
        }
        parts
    }

    /// How much of the scatter of the scores lies between the parts of a setting: the correlation ratio, from 0 to 1.
    fn explained(&self, parts: &[Part]) -> Option<f64> {
        let all = self.scores();
        let (middle, _) = mean(&all)?;
        let whole: f64 = all.iter().map(|score| (score - middle).powi(2)).sum();
        let between = |part: &Part| {
            let scores = part.scores();
            mean(&scores).map_or(0.0, |(own, _)| scores.len() as f64 * (own - middle).powi(2))
        };
        (whole > 0.0 && all.len() > parts.len()).then(|| parts.iter().map(between).sum::<f64>() / whole)
    }

    /// How far scores lie apart over all trials, and by the values of each setting.
    pub fn sensitivity(&self) -> Grid {
        let head = ["setting", "values", "trials", "mean", "best", "worst", "of the scatter"]
            .map(str::to_string)
            .to_vec();
        let higher = self.higher();
        let row = |name: &str, part: &Part, explained: Option<f64>| {
            let scores = part.scores();
            let end = |best: bool| {
                let pick = if best == higher { f64::max } else { f64::min };
                scores.iter().copied().reduce(pick).map_or_else(|| "no value".to_string(), report::score)
            };
            vec![
                name.to_string(),
                part.name.clone(),
                part.trials.len().to_string(),
                mean(&scores).map_or_else(
                    || "no value".to_string(),
                    |(mean, spread)| {
                        if scores.len() > 1 {
                            format!("{mean:.3} ± {spread:.3}")
                        } else {
                            format!("{mean:.3}")
                        }
                    },
                ),
                end(true),
                end(false),
                explained.map_or(String::new(), |share| format!("{:.0} %", 100.0 * share)),
            ]
        };
        let all = Part { name: "all".to_string(), trials: self.trials.iter().collect() };
        let mut rows = vec![row("", &all, None)];
        for (at, knob) in self.knobs.iter().enumerate() {
            let parts = self.parts(at, knob);
            let explained = self.explained(&parts);
            for (place, part) in parts.iter().enumerate() {
                let first = place == 0;
                rows.push(row(if first { knob.name() } else { "" }, part, explained.filter(|_| first)));
            }
        }
        Grid {
            title: "How much settings matter".to_string(),
            about: "Scores on the development data by the values of each setting, all others as they came. Of the scatter: the share \
                    of the variance that lies between the values of one setting (the correlation ratio); with few trials some of it \
                    is chance. Trials that were stopped count with the score they had."
                .to_string(),
            head,
            rows,
            sum: false,
        }
    }

    fn strips(&self) -> Strips {
        let point = |trial: &&Trial| {
            Some(StripPoint {
                name: format!("trial {}", trial.number),
                value: trial.score?,
                failed: trial.stopped,
            })
        };
        let strip = |name: String, trials: &[&Trial]| {
            let mut scores: Vec<f64> = trials.iter().filter_map(|trial| trial.score).collect();
            scores.sort_by(f64::total_cmp);
            let median = (!scores.is_empty())
                .then(|| (scores[(scores.len() - 1) / 2] + scores[scores.len() / 2]) / 2.0);
            Strip { name, points: trials.iter().filter_map(point).collect(), median }
        };
        let all: Vec<&Trial> = self.trials.iter().collect();
        let mut rows = vec![strip("all trials".to_string(), &all)];
        for (at, knob) in self.knobs.iter().enumerate() {
            rows.extend(
                self.parts(at, knob)
                    .iter()
                    .map(|part| strip(format!("{} {}", knob.name(), part.name), &part.trials)),
            );
        }
        let linear = self.best.as_ref().and_then(|best| best.test);
        Strips {
            title: "Every trial".to_string(),
            about: "A point is the best score of a trial on the development data. Strips that lie apart are values of a setting \
                    that matters; where all strips of a setting are as wide as the first, it matters little."
                .to_string(),
            metric: format!("dev {}", self.metric()),
            marked: "stopped early".to_string(),
            rows,
            references: linear.map(|test| vec![("best settings, test data".to_string(), test)]).unwrap_or_default(),
        }
    }

    /// Everything as a report.
    pub fn report(&self) -> Report {
        let mut headline = Vec::new();
        if let Some(trial) = self.ranked().first().filter(|trial| trial.score.is_some()) {
            headline.push(Headline {
                name: format!("best dev {}", self.metric()),
                value: trial.score.map_or(String::new(), report::score),
                detail: format!("trial {} of {}", trial.number, self.trials.len()),
            });
        }
        if let Some(best) = &self.best {
            headline.extend(best.test.map(|test| Headline {
                name: format!("test {}, best settings trained anew", self.metric()),
                value: report::score(test),
                detail:
                    best.interval.map_or(String::new(), |(lower, upper)| {
                        format!("95% interval {lower:.3} to {upper:.3}")
                    }),
            }));
            headline.extend(best.dev.map(|dev| Headline {
                name: "dev, trained anew".to_string(),
                value: report::score(dev),
                detail: "with another seed: what is left of the luck of the best trial".to_string(),
            }));
        }
        if let Some((_, spread)) = mean(&self.scores()).filter(|_| self.trials.len() > 1) {
            headline.push(Headline {
                name: "spread of all trials".to_string(),
                value: report::score(spread),
                detail: "standard deviation".to_string(),
            });
        }
        let stopped = self.trials.iter().filter(|trial| trial.stopped).count();
        let [done, all] = self
            .trials
            .iter()
            .fold([0, 0], |[done, all], trial| [done + trial.steps[0], all + trial.steps[1]]);
        let failed = self.trials.iter().filter_map(|trial| {
            Some(format!("trial {} diverged: {}", trial.number, trial.diverged.as_ref()?))
        });
        let fact = |name: &str, value: String| Fact { name: name.to_string(), value };
        Report {
            title: "Searching settings".to_string(),
            subtitle: format!("{} on {}", self.model, self.data),
            headline,
            notes: failed.collect(),
            grid: Some(self.grid()),
            strips: Some(self.strips()),
            tables: vec![self.sensitivity()],
            environment: vec![
                fact("topwork", env!("CARGO_PKG_VERSION").to_string()),
                fact("search", format!("{:?}", self.search).to_lowercase()),
                fact("trials stopped early", stopped.to_string()),
                fact(
                    "steps done of those planned",
                    format!("{:.0} %", 100.0 * done as f64 / all.max(1) as f64),
                ),
                fact(
                    "time of all trials",
                    report::seconds(self.trials.iter().map(|trial| trial.seconds).sum()),
                ),
            ],
            ..Report::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results() -> Results {
        let knobs = ["train.learning-rate=1e-5..1e-3:log", "batch.examples=16|32"]
            .map(|text| Knob::parse(text).unwrap());
        let trial = |number: usize| {
            let rate = Value::Number(format!("{number}e-5").parse().unwrap());
            let values = vec![rate, Value::Choice { choice: number % 2 }];
            Trial {
                number,
                shown: knobs.iter().zip(&values).map(|(knob, &value)| knob.shown(value)).collect(),
                values,
                metric: "f1".into(),
                higher_is_better: true,
                // The rate says all.
                score: (number != 3).then_some(0.5 + 0.1 * (number.div_ceil(2)) as f64),
                steps: [number, 8],
                stopped: number < 8,
                seconds: 1.0,
                diverged: (number == 3).then(|| "NaN".into()),
                ..Trial::default()
            }
        };
        Results {
            model: "m<".into(),
            data: "d".into(),
            trials: (1..=8).map(trial).collect(),
            knobs: knobs.to_vec(),
            ..Results::default()
        }
    }

    #[test]
    fn trials_are_ranked_and_settings_weighed() {
        let results = results();
        let grid = results.grid();
        assert_eq!(grid.head, ["trial", "dev f1", "learning-rate", "examples", "of its steps", "time"]);
        assert_eq!(grid.rows[0], ["7", "0.900", "7e-5", "32", "88 %, stopped", "1 s"]);
        assert_eq!(grid.rows[7][..2], ["3", "diverged"]);
        let weighed = results.sensitivity();
        assert_eq!(weighed.rows.len(), 1 + 4 + 2);
        assert_eq!(
            weighed.rows[1][..6],
            ["learning-rate", "1e-5 to 2e-5", "2", "0.600 ± 0.000", "0.600", "0.600"]
        );
        assert_eq!((weighed.rows[1][6].as_str(), weighed.rows[2][3].as_str()), ("100 %", "0.700"));
        let share: f64 = weighed.rows[5][6].trim_end_matches(" %").parse().unwrap();
        assert!(share < 10.0, "{share}");
    }

    #[test]
    fn the_page_shows_every_trial() {
        let page = report::html(&results().report());
        for part in
            ["m&lt;", "trial 3 diverged: NaN", "7e-5", "correlation ratio", "learning-rate 1e-5 to 2e-5"]
        {
            assert!(page.contains(part), "{part}");
        }
    }
}
