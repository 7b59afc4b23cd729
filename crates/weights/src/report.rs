//! What loading did, tensor by tensor, and in one line.

use std::fmt;

/// What became of every tensor of a checkpoint and of every parameter of the model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadReport {
    /// Tensors that filled a parameter: name in the checkpoint, path here.
    pub loaded: Vec<(String, String)>,
    /// Tensors left out: name in the checkpoint, reason.
    pub ignored: Vec<(String, String)>,
    /// Parameters the checkpoint did not fill, to be initialised.
    pub fresh: Vec<String>,
    /// Anything else worth a line: old names, converted number formats.
    pub notes: Vec<String>,
}

impl fmt::Display for LoadReport {
    /// One line: `197 loaded, 1 ignored (position ids, rebuilt), 2 fresh (head.out.weight, head.out.bias)`,
    /// and each note on its own line below.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} loaded, {} ignored", self.loaded.len(), self.ignored.len())?;
        let mut reasons: Vec<(&str, usize)> = Vec::new();
        for (_, reason) in &self.ignored {
            match reasons.iter_mut().find(|(known, _)| known == reason) {
                Some((_, count)) => *count += 1,
                None => reasons.push((reason, 1)),
            }
        }
        match reasons.as_slice() {
            [] => {}
            [(reason, _)] => write!(f, " ({reason})")?,
            many => {
                let parts: Vec<String> =
                    many.iter().map(|(reason, count)| format!("{count}: {reason}")).collect();
                write!(f, " ({})", parts.join("; "))?;
            }
        }
        write!(f, ", {} fresh", self.fresh.len())?;
        if !self.fresh.is_empty() {
            write!(f, " ({})", some_of(&self.fresh))?;
        }
        for note in &self.notes {
            write!(f, "\n{note}")?;
        }
        Ok(())
    }
}

/// The first names of a list, and how many more there are.
pub(crate) fn some_of(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let mut text = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_counts_and_gives_reasons() {
        let mut report = LoadReport {
            loaded: vec![("a".into(), "b".into()); 197],
            ignored: vec![("p".into(), "position ids, rebuilt".into())],
            fresh: vec!["head.out.weight".into(), "head.out.bias".into()],
            notes: vec![],
        };
        assert_eq!(
            report.to_string(),
            "197 loaded, 1 ignored (position ids, rebuilt), 2 fresh (head.out.weight, head.out.bias)"
        );
        report.ignored.extend([("q".into(), "mask".into()), ("r".into(), "mask".into())]);
        report.fresh = (0..10).map(|i| format!("p{i}")).collect();
        report.notes.push("26 old names read".into());
        let line = report.to_string();
        assert!(line.contains("3 ignored (1: position ids, rebuilt; 2: mask), 10 fresh (p0, p1"), "{line}");
        assert!(line.ends_with("p7 and 2 more)\n26 old names read"), "{line}");
        assert_eq!(LoadReport::default().to_string(), "0 loaded, 0 ignored, 0 fresh");
    }
}
