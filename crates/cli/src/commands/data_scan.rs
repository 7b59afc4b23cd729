//! `topwork data scan`: every row of Arrow files larger than memory, how fast they are read and in how much memory.

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use topwork_data::corpus::{Corpus, InBlocks, Record, Rows};

use crate::Ended;
use crate::commands::doctor::{peak_memory, resident_memory};
use crate::global::Global;
use crate::numbers::{bytes, counted, thousands};
use crate::stop;

/// Time between two lines about how far it is.
const BETWEEN: Duration = Duration::from_secs(5);

/// Read the rows of Arrow files that may be larger than memory; say how fast, and in how much memory
#[derive(clap::Args)]
#[command(after_help = "Examples:
  topwork data scan corpus.arrow
  topwork data scan corpus.arrow --shuffle --limit 1000000
  topwork data scan shards/*.arrow --blocks 0 --seed 7 --column body

In blocks a disk is read at its full speed; rows that are neighbours in the file then come within eight blocks of each \
other. Rows of compressed files are best read in blocks or in order, because each needs its whole batch.")]
pub struct Scan {
    /// Files of Arrow's IPC format (Feather version 2, or streams as HuggingFace's datasets keep them), or folders of them
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Read the rows in a random order
    #[arg(long)]
    shuffle: bool,
    /// Read blocks of N neighbouring rows in a random order, and mix the rows of eight blocks; 0: as many as fit into the memory
    /// for them
    #[arg(long, value_name = "N")]
    blocks: Option<u64>,
    /// Seed of the order
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Epoch: another one, another order
    #[arg(long, value_name = "N", default_value_t = 0)]
    epoch: u64,
    /// Stop after so many rows
    #[arg(long, value_name = "ROWS")]
    limit: Option<u64>,
    /// Column to read; repeat it for several [default: text, or the only one of texts]
    #[arg(long, value_name = "COLUMN")]
    column: Vec<String>,
}

/// What was read.
#[derive(Default)]
struct Read {
    rows: u64,
    bytes: u64,
    /// Rows whose first column holds no text.
    without: u64,
}

impl Scan {
    /// Runs the command.
    pub fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        let stop = stop::on_interrupt_saying("stopping after the row at hand; Ctrl-C again ends at once")?;
        stop::listening(true);
        let (before, began) = (resident_memory(), Instant::now());
        let columns: Vec<&str> = self.column.iter().map(String::as_str).collect();
        let corpus = Corpus::open(&self.files, &columns)?;
        global.note(&format!(
            "{} in {} of {}, opened in {:.2} s; reading {}",
            counted(corpus.len() as usize, "row"),
            counted(corpus.files(), "file"),
            bytes(corpus.bytes()),
            began.elapsed().as_secs_f64(),
            corpus.columns().join(", ")
        ));
        let compressed = corpus.is_compressed();
        if compressed && self.shuffle && self.blocks.is_none() {
            global.note("the files are compressed: a whole batch is unpacked for nearly every row; --blocks is faster");
        }
        let (rows, order): (Box<dyn Rows<Row = Record>>, String) = match self.blocks {
            Some(block) => {
                let fit = corpus.blocks().rows;
                let block = if block == 0 { fit } else { block };
                if block > fit && !compressed {
                    let fit = counted(fit as usize, "row");
                    global.note(&format!(
                        "blocks of more than about {fit} are read in part row by row, which is slower"
                    ));
                }
                let order = format!("in blocks of {}, mixed", thousands(block as usize));
                (Box::new(corpus.shuffled_in_blocks(InBlocks::of(block), self.seed, self.epoch)?), order)
            }
            None if self.shuffle => {
                (Box::new(corpus.shuffled(self.seed, self.epoch)), "in a random order".into())
            }
            None => (Box::new(corpus), "in order".into()),
        };
        let began = Instant::now();
        let (read, ended) = self.read(&rows, stop, global)?;
        stop::listening(false);
        let seconds = began.elapsed().as_secs_f64().max(1e-9);
        let without = match read.without {
            0 => String::new(),
            without => format!(", {} without a text", thousands(without as usize)),
        };
        writeln!(
            out,
            "read      {}{without}, {} of text, {order}",
            counted(read.rows as usize, "row"),
            bytes(read.bytes)
        )?;
        writeln!(
            out,
            "speed     {} rows/s, {:.1} MB/s ({seconds:.1} s)",
            thousands((read.rows as f64 / seconds) as usize),
            read.bytes as f64 / seconds / 1e6
        )?;
        // A peak of before the start makes this too much, never too little.
        let memory = match before.zip(peak_memory()) {
            Some((before, peak)) => {
                format!(
                    "at most {} more than the {} at the start",
                    bytes(peak.saturating_sub(before)),
                    bytes(before)
                )
            }
            None => "not known here".into(),
        };
        writeln!(out, "memory    {memory}")?;
        Ok(ended)
    }

    fn read<S: Rows<Row = Record>>(
        &self,
        rows: &S,
        stop: &AtomicBool,
        global: &Global,
    ) -> anyhow::Result<(Read, Ended)> {
        let most = self.limit.unwrap_or(u64::MAX).min(rows.len());
        let (mut read, began, mut said) = (Read::default(), Instant::now(), Instant::now());
        let mut ended = Ended::Done;
        for row in rows.iter(0).take(usize::try_from(most).unwrap_or(usize::MAX)) {
            if stop.load(Ordering::Relaxed) {
                ended = Ended::Interrupted;
                break;
            }
            let row = row?;
            read.rows += 1;
            read.bytes += row.text_bytes();
            read.without += u64::from(row.text().is_none());
            if read.rows.is_multiple_of(256) && said.elapsed() >= BETWEEN {
                said = Instant::now();
                let done = 100.0 * read.rows as f64 / most as f64;
                let speed = read.bytes as f64 / began.elapsed().as_secs_f64() / 1e6;
                global.note(&format!(
                    "{} of {} ({done:.1}%), {speed:.1} MB/s",
                    thousands(read.rows as usize),
                    counted(most as usize, "row")
                ));
            }
        }
        Ok((read, ended))
    }
}
