//! The table and the file a bench leaves behind.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::cases::Case;
use super::side::{Sample, TOPWORK};

/// A case and what each side made of it.
pub struct Row {
    pub case: Case,
    pub samples: Vec<Sample>,
}

/// topwork over one of its peers.
struct Ratio {
    median: f64,
    least: f64,
    memory: f64,
}

impl Row {
    /// topwork over `peer`; `None` for topwork itself, or when it was not measured.
    fn ratio(&self, peer: &Sample) -> Option<Ratio> {
        let own = self.samples.iter().find(|sample| sample.side == TOPWORK)?;
        (peer.side != TOPWORK).then(|| Ratio {
            median: own.median() / peer.median(),
            least: own.least() / peer.least(),
            memory: own.peak_mb / peer.peak_mb,
        })
    }
}

/// The head of the table in Markdown. Ratios are topwork over the peer of their line: below 1 topwork is faster or
/// smaller.
pub const HEAD: &str = "| case | side | median s | least s | peak MiB | ratio of medians | of least | of memory |\n\
                        |---|---|--:|--:|--:|--:|--:|--:|\n";

/// The lines of one case.
pub fn lines(row: &Row) -> String {
    let mut text = String::new();
    for sample in &row.samples {
        let ratios = match row.ratio(sample) {
            Some(ratio) => format!("{:.2} | {:.2} | {:.2}", ratio.median, ratio.least, ratio.memory),
            None => " | | ".to_string(),
        };
        let (median, least, peak) = (sample.median(), sample.least(), sample.peak_mb);
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| {} | {} | {median:.4} | {least:.4} | {peak:.0} | {ratios} |",
            row.case, sample.side
        );
    }
    text
}

/// The cases in which topwork's median is more than `limit` times a peer's.
pub fn above(rows: &[Row], limit: f64) -> Vec<String> {
    let mut found = Vec::new();
    for row in rows {
        for peer in &row.samples {
            let Some(ratio) = row.ratio(peer).filter(|ratio| ratio.median > limit) else { continue };
            found.push(format!("{}: {:.2} of {}", row.case, ratio.median, peer.side));
        }
    }
    found
}

/// Writes everything measured as JSON.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, rows: &[Row], threads: usize) -> Result<()> {
    let value = json!({
        "machine": processor(),
        "threads": threads,
        "cases": rows.iter().map(row_json).collect::<Vec<_>>(),
    });
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    let text = serde_json::to_string_pretty(&value)?;
    std::fs::write(path, text + "\n").with_context(|| path.display().to_string())
}

fn row_json(row: &Row) -> Value {
    let sides = row.samples.iter().map(|sample| {
        let ratio = row.ratio(sample);
        json!({
            "side": sample.side,
            "version": sample.version,
            "seconds": sample.seconds,
            "median": sample.median(),
            "least": sample.least(),
            "peak_mb": sample.peak_mb,
            "ratio_median": ratio.as_ref().map(|ratio| ratio.median),
            "ratio_least": ratio.as_ref().map(|ratio| ratio.least),
            "ratio_memory": ratio.as_ref().map(|ratio| ratio.memory),
        })
    });
    json!({
        "case": row.case.to_string(),
        "shape": row.case.shape,
        "mode": row.case.mode,
        "dropout": row.case.dropout,
        "precision": row.case.precision,
        "sides": sides.collect::<Vec<_>>(),
    })
}

/// The processor in words, as far as the system says.
pub fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or_else(|| std::env::consts::ARCH.to_string(), |(_, name)| name.trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::super::side::Turn;
    use super::*;

    fn row() -> Row {
        let case = Case { shape: "base", mode: "train", dropout: "0.1", precision: "f32" };
        let sample = |side, seconds: &[f64], peak_mb| {
            let mut sample = Sample::new(side);
            sample.add(Turn { seconds: seconds.to_vec(), peak_mb, version: "1".into() });
            sample
        };
        Row {
            case,
            samples: vec![
                sample(TOPWORK, &[3.0, 2.0, 4.0], 900.0),
                sample("PyTorch", &[2.0, 4.0, 1.0], 1000.0),
            ],
        }
    }

    #[test]
    fn ratios_are_topwork_over_the_peer() {
        let text = format!("{HEAD}{}", lines(&row()));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        assert_eq!(lines[2], "| base train f32 dropout 0.1 | topwork | 3.0000 | 2.0000 | 900 |  | |  |");
        assert_eq!(
            lines[3],
            "| base train f32 dropout 0.1 | PyTorch | 2.0000 | 1.0000 | 1000 | 1.50 | 2.00 | 0.90 |"
        );
    }

    #[test]
    fn what_is_above_the_limit_is_named() {
        assert_eq!(above(&[row()], 1.0), ["base train f32 dropout 0.1: 1.50 of PyTorch"]);
        assert_eq!(above(&[row()], 1.5), [""; 0]);
    }

    #[test]
    fn the_file_holds_every_time() {
        let value = row_json(&row());
        assert_eq!(value["sides"][0]["seconds"], json!([3.0, 2.0, 4.0]));
        assert_eq!(value["sides"][1]["ratio_median"], json!(1.5));
        assert_eq!(value["sides"][0]["ratio_median"], Value::Null);
    }
}
