//! What all studies have in common: they stop at Ctrl-C, tell of each run, and keep their report up to date.

use std::path::{Path, PathBuf};

use topwork::glue::Context;
use topwork::hub::{Hub, Progress};
use topwork::report::Report;
use topwork::{Error, JobObserver};

use super::glue::keep_report;
use crate::global::Global;
use crate::stop;
use crate::training::Training;

/// Does a study; its report stands in its folder after every run. Gives what came out, and the report's page.
pub fn study<R>(
    global: &Global,
    folder: &Path,
    (hub, progress): (&Hub, &dyn Progress),
    report: impl Fn(&R) -> Report,
    run: impl FnOnce(&Context, &mut dyn FnMut(&R) -> Result<(), Error>) -> Result<R, Error>,
) -> anyhow::Result<(R, PathBuf)> {
    let stop = stop::on_interrupt()?;
    let observe = |folder: &Path| -> Box<dyn JobObserver> { Box::new(Training::new(global, folder)) };
    let note = |line: &str| global.note(line);
    let context = Context { hub, progress, stop, observe: &observe, note: &note, shared: Default::default() };
    let page = folder.join("report.html");
    let mut each = |results: &R| keep_report(&page, &report(results));
    let results = run(&context, &mut each)?;
    Ok((results, page))
}
