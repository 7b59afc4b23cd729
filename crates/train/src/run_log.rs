//! `log.jsonl` and the TensorBoard events of a run.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::event::{Event, Learning, Observer};
use crate::tensorboard::EventWriter;

/// Writes every event to the run folder and hands it to an observer.
pub struct RunLog<'a> {
    file: Option<Open>,
    observer: &'a mut dyn Observer,
}

struct Open {
    path: PathBuf,
    lines: File,
    bytes: u64,
    board: EventWriter,
}

impl<'a> RunLog<'a> {
    /// A log that keeps nothing and only informs the observer.
    pub fn unwritten(observer: &'a mut dyn Observer) -> Self {
        RunLog { file: None, observer }
    }

    /// Opens the log of a run folder. `resume` gives the log's length in bytes and the step at the checkpoint the
    /// run goes on from: what came after is taken back, since it will happen again.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn open(
        folder: &Path,
        resume: Option<(u64, usize)>,
        observer: &'a mut dyn Observer,
    ) -> Result<Self, Error> {
        let path = folder.join("log.jsonl");
        let fail = |source| Error::File { path: path.clone(), source };
        let lines = OpenOptions::new().create(true).append(true).open(&path).map_err(fail)?;
        let (bytes, _) = resume.unwrap_or((0, 0));
        let bytes = bytes.min(lines.metadata().map_err(fail)?.len());
        lines.set_len(bytes).map_err(fail)?;
        let board = match resume {
            None => EventWriter::create(folder),
            Some((_, step)) => EventWriter::resume(folder, step as u64),
        };
        let board = board.map_err(|e| Error::Task(Box::new(e)))?;
        Ok(RunLog { file: Some(Open { path, lines, bytes, board }), observer })
    }

    /// Bytes of `log.jsonl` so far.
    pub fn bytes(&self) -> u64 {
        self.file.as_ref().map_or(0, |open| open.bytes)
    }

    /// Writes one event.
    ///
    /// # Errors
    /// [`Error::File`], on a full disk for one.
    pub fn write(&mut self, event: &Event) -> Result<(), Error> {
        if let Some(open) = &mut self.file {
            let mut line = serde_json::to_string(event).map_err(|e| Error::Task(Box::new(e)))?;
            line.push('\n');
            let fail = |source| Error::File { path: open.path.clone(), source };
            open.lines.write_all(line.as_bytes()).map_err(fail)?;
            open.bytes += line.len() as u64;
            let (step, values) = scalars(event);
            let values: Vec<(&str, f32)> =
                values.iter().map(|(name, v)| (name.as_str(), *v as f32)).collect();
            if !values.is_empty() {
                open.board.scalars(step as u64, &values).map_err(|e| Error::Task(Box::new(e)))?;
            }
        }
        self.observer.event(event);
        Ok(())
    }
}

fn scalars(event: &Event) -> (usize, Vec<(String, f64)>) {
    match event {
        Event::Step { step, loss, learning_rate, gradient_norm, tokens, seconds, .. } => {
            let named = [
                ("train/loss", *loss),
                ("train/learning_rate", *learning_rate),
                ("train/gradient_norm", *gradient_norm),
                ("train/tokens_per_second", *tokens as f64 / seconds.max(1e-9)),
            ];
            (*step, named.map(|(name, value)| (name.to_string(), value)).to_vec())
        }
        Event::Evaluation { step, values, .. } => {
            (*step, values.iter().map(|(name, value)| (format!("dev/{name}"), *value)).collect())
        }
        Event::Plan { step, learning } => {
            let scale = |part: &Learning| (format!("train/lr_scale/{}", part.group), part.lr_scale);
            (*step, learning.iter().map(scale).collect())
        }
        Event::Start { .. }
        | Event::Checkpoint { .. }
        | Event::Variant { .. }
        | Event::EarlyStop { .. }
        | Event::Reached { .. }
        | Event::TimeOver { .. }
        | Event::Interrupted { .. }
        | Event::End { .. } => (0, Vec::new()),
    }
}
