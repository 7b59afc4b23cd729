//! `topwork label --simulate`: what each strategy would have been worth.

use std::io::Write;

use anyhow::bail;
use serde_json::json;
use topwork::label::simulate::{self, Material, Plan, Results};
use topwork::label::{Strategy, pool};
use topwork_data::Task;

use super::{Label, classes_of, labels_of};
use crate::Ended;
use crate::commands::glue::{keep_report, table};
use crate::global::Global;
use crate::numbers::counted;
use crate::{failure, stop};

impl Label {
    /// Plays every strategy, and prints the tables.
    pub(super) fn simulated(
        &self,
        labelled: &str,
        global: &Global,
        out: &mut dyn Write,
    ) -> anyhow::Result<Ended> {
        let strategies = if self.strategy.is_empty() {
            Strategy::ALL.iter().map(|(strategy, _)| *strategy).collect()
        } else {
            let mut named =
                self.strategy.iter().map(|name| Strategy::parse(name)).collect::<Result<Vec<_>, _>>()?;
            named.sort_unstable();
            named.dedup();
            named
        };
        if self.out.is_file() {
            bail!("{}: with --simulate, --out is a folder, and this is a file", self.out.display());
        }
        let stop = stop::on_interrupt_saying(
            "stopping after the round at hand; finished curves are kept, and the same command goes on",
        )?;
        let path = global.hub()?.data(labelled, &global.fetching())?.path;
        let mut data = self.read(&path, Task::Class, self.format, global)?;
        let Some(held) = self.held(global)? else {
            bail!("--simulate needs --held-out FILE, to measure on");
        };
        let apart: std::collections::HashSet<_> =
            held.examples.iter().map(|example| (example.text.clone(), example.pair.clone())).collect();
        let before = data.len();
        data.examples.retain(|example| !apart.contains(&(example.text.clone(), example.pair.clone())));
        let (texts, _) = pool(&data);
        // The first of those that are the same: its label stands.
        let mut seen = std::collections::HashSet::new();
        data.examples.retain(|example| seen.insert((example.text.clone(), example.pair.clone())));
        if data.len() < before {
            let what = "are held out, or stood there before, and are not asked for";
            global.note(&format!("{} {what}", counted(before - data.len(), "text")));
        }
        let names = labels_of(&data);
        let held_names = labels_of(&held);
        let classes = classes_of(&[names.clone(), held_names].concat());
        if classes.len() < 2 {
            bail!("{labelled}: there is but one class: nothing to tell apart");
        }
        let (embedder, model) = self.embedder(global)?;
        let keys: Vec<_> = texts.iter().map(|text| (text.text.as_str(), text.pair.as_deref())).collect();
        let features = self.features(&embedder, &model, &keys, global)?;
        let held = self.measured(&embedder, &model, &held, global)?;
        let labels =
            names.iter().map(|name| classes.binary_search(name).unwrap_or_default() as u32).collect();
        let identity =
            format!("{} on {labelled} ({} texts), held out {}", self.model, texts.len(), held.labels.len());
        let material = Material { classes, features, labels, held, identity };
        let plan = Plan {
            strategies,
            seeds: (self.seed..self.seed + self.seeds).collect(),
            rounds: usize::from(self.rounds),
            batch: usize::from(self.batch),
            folder: &self.out,
        };
        let page = self.out.join("report.html");
        let mut each = |results: &Results| {
            if let Some(curve) = results.curves.last() {
                let at = curve.points.last();
                let scores = at.and_then(|at| at.scores).map_or_else(String::new, |scores| {
                    format!(": accuracy {:.3}, macro F1 {:.3}", scores.accuracy, scores.macro_f1)
                });
                let labels = counted(at.map_or(0, |at| at.labels), "label");
                global.note(&format!("{} with seed {}, {labels}{scores}", curve.strategy, curve.seed));
            }
            keep_report(&page, &results.report(&self.model, labelled))
        };
        stop::listening(true);
        let results = simulate::run(&plan, &material, stop, &mut each)?;
        stop::listening(false);
        if results.interrupted {
            failure::say("stopped; the same command goes on");
            return Ok(Ended::Interrupted);
        }
        if self.json {
            let page = json!({
                "model": self.model, "data": labelled, "classes": material.classes, "pool": results.pool,
                "held-out": results.held, "curves": results.curves, "report": page,
            });
            writeln!(out, "{}", serde_json::to_string_pretty(&page)?)?;
            return Ok(Ended::Done);
        }
        for grid in [results.grid(false), results.grid(true), results.against_random()] {
            if !grid.rows.is_empty() {
                writeln!(out, "{}", grid.title)?;
                table(&grid, 1, out)?;
                writeln!(out, "{}\n", grid.about)?;
            }
        }
        writeln!(out, "report  {}", page.display())?;
        Ok(Ended::Done)
    }
}
