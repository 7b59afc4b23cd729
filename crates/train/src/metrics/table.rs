//! An evaluation as plain text: metrics, one line a class, confusion matrix.

use super::{Evaluation, Task, Value};
use std::fmt::{self, Write};

/// Confusion matrices of more labels are told as their most frequent mistakes.
const MATRIX_LABELS: usize = 12;
/// Mistakes told then.
const MISTAKES: usize = 10;
/// Longer label names are cut in the head of the matrix.
const HEAD_CHARS: usize = 10;

impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        self.write_values(&mut out)?;
        if !self.classes.is_empty() {
            out.push('\n');
            self.write_classes(&mut out)?;
        }
        if self.confusion.is_some() {
            out.push('\n');
            self.write_confusion(&mut out)?;
        }
        f.write_str(&out)
    }
}

impl Evaluation {
    fn write_values(&self, out: &mut String) -> fmt::Result {
        let mut rows: Vec<[String; 3]> = Vec::new();
        if let Some(loss) = self.loss {
            rows.push(["loss".to_string(), format!("{loss:.4}"), String::new()]);
        }
        // Of single-label tasks the micro averages all equal the accuracy.
        let told = |value: &&Value| self.task != Task::Classes || !value.name.starts_with("micro-");
        for value in self.values.iter().filter(told) {
            let shown = value.value.map_or_else(|| "-".to_string(), |v| format!("{v:.4}"));
            let note = match (&value.interval, &value.undefined) {
                (Some(interval), _) => {
                    let percent = format!("{:.1}", interval.level * 100.0);
                    let percent = percent.trim_end_matches(".0").to_string();
                    format!("{:.4} to {:.4} ({percent} %)", interval.lower, interval.upper)
                }
                (None, Some(reason)) => reason.clone(),
                (None, None) => String::new(),
            };
            rows.push([value.name.clone(), shown, note]);
        }
        let positive = self.positive.and_then(|p| self.classes.get(p));
        let about = positive.map(|c| format!(", positive class {:?}", c.label)).unwrap_or_default();
        writeln!(out, "{} examples{about}", self.examples)?;
        write_rows(out, &rows, &[Side::Left, Side::Right, Side::Left])
    }

    fn write_classes(&self, out: &mut String) -> fmt::Result {
        // Types of entities or relations are not counted in examples.
        let of_examples = matches!(self.task, Task::Classes | Task::MultiLabel);
        let (class, examples) = if of_examples { ("class", "examples") } else { ("type", "support") };
        let head = [class, "precision", "recall", "f1", examples, "predicted"];
        let mut rows = vec![head.map(str::to_string)];
        for class in &self.classes {
            rows.push([
                class.label.clone(),
                format!("{:.4}", class.precision),
                format!("{:.4}", class.recall),
                format!("{:.4}", class.f1),
                class.actual.to_string(),
                class.predicted.to_string(),
            ]);
        }
        use Side::{Left, Right};
        write_rows(out, &rows, &[Left, Right, Right, Right, Right, Right])?;
        for (labels, what) in [
            (self.never_predicted(), "never predicted (precision 0 by convention)"),
            (self.never_true(), "without an example here (recall 0 by convention)"),
        ] {
            if !labels.is_empty() {
                writeln!(out, "{what}: {}", labels.join(", "))?;
            }
        }
        Ok(())
    }

    fn write_confusion(&self, out: &mut String) -> fmt::Result {
        let Some(confusion) = &self.confusion else { return Ok(()) };
        let label = |class: usize| self.classes.get(class).map_or("", |c| c.label.as_str());
        if self.classes.len() > MATRIX_LABELS {
            let mistakes = confusion.mistakes(MISTAKES);
            writeln!(out, "most frequent mistakes")?;
            let row = |&(truth, predicted, n): &(usize, usize, u64)| {
                [n.to_string(), label(truth).to_string(), format!("taken for {}", label(predicted))]
            };
            let rows: Vec<_> = mistakes.iter().map(row).collect();
            return write_rows(out, &rows, &[Side::Right, Side::Left, Side::Left]);
        }
        let mut head = vec!["truth \\ predicted".to_string()];
        head.extend((0..self.classes.len()).map(|class| cut(label(class))));
        let mut rows = vec![head];
        for (class, cells) in confusion.cells.iter().enumerate() {
            let mut row = vec![label(class).to_string()];
            row.extend(cells.iter().map(u64::to_string));
            rows.push(row);
        }
        let mut sides = vec![Side::Right; self.classes.len() + 1];
        sides[0] = Side::Left;
        write_rows(out, &rows, &sides)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Left,
    Right,
}

/// Columns as wide as their widest cell, two spaces apart.
fn write_rows<R: AsRef<[String]>>(out: &mut String, rows: &[R], sides: &[Side]) -> fmt::Result {
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.as_ref().get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..sides.len()).map(width).collect();
    for row in rows {
        let mut line = String::from(" ");
        for ((cell, &width), &side) in row.as_ref().iter().zip(&widths).zip(sides) {
            match side {
                Side::Left => write!(line, " {cell:<width$} ")?,
                Side::Right => write!(line, " {cell:>width$} ")?,
            }
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

fn cut(label: &str) -> String {
    if label.chars().count() <= HEAD_CHARS {
        return label.to_string();
    }
    label.chars().take(HEAD_CHARS - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use crate::metrics::{Bootstrap, Evaluation, Outcome};

    #[test]
    fn two_classes() {
        let outcome = Outcome::classes(&[0, 1, 1, 0], &[0.9, 0.1, 0.2, 0.8, 0.6, 0.4, 0.7, 0.3], 2).unwrap();
        let evaluation = Evaluation::new(&outcome, &["ham".into(), "spam".into()]).unwrap();
        let bootstrap = Bootstrap { resamples: 50, ..Default::default() };
        let evaluation = evaluation.with_intervals(&outcome, &bootstrap, &["accuracy"]).unwrap();
        let text = evaluation.with_loss(0.5).unwrap().to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "4 examples, positive class \"spam\"");
        assert_eq!(lines[1], "  loss                0.5000");
        assert!(
            lines[2].starts_with("  accuracy            0.7500  ") && lines[2].ends_with("(95 %)"),
            "{}",
            lines[2]
        );
        assert!(text.contains("  class  precision  recall      f1  examples  predicted\n"), "{text}");
        assert!(text.contains("  ham       0.6667  1.0000  0.8000         2          3\n"), "{text}");
        assert!(text.contains("  truth \\ predicted  ham  spam\n  ham                  2     0\n"), "{text}");
        assert!(!text.contains("micro"));
    }

    #[test]
    fn many_classes_tell_their_mistakes() {
        let labels: Vec<String> = (0..20).map(|i| format!("class-{i}")).collect();
        let targets: Vec<u32> = (0..20).collect();
        let probabilities: Vec<f64> =
            (0..400).map(|i| if i % 20 == (i / 20).min(18) { 1.0 } else { 0.0 }).collect();
        let outcome = Outcome::classes(&targets, &probabilities, 20).unwrap();
        let text = Evaluation::new(&outcome, &labels).unwrap().to_string();
        assert!(text.contains("most frequent mistakes\n  1  class-19  taken for class-18\n"), "{text}");
        assert!(text.contains("never predicted (precision 0 by convention): class-19"), "{text}");
    }
}
