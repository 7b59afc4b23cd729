//! What is measured: shapes, modes, dropout and precisions.

use std::fmt;

use anyhow::{Result, bail};

/// One thing to measure: 8 sequences of 128 tokens through a BERT classifier.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// `base` (12 layers of 768) or `minilm` (6 of 384).
    pub shape: &'static str,
    /// `train` (forward, backward, AdamW) or `forward`.
    pub mode: &'static str,
    /// The probability of dropout, as it is written on the command line.
    pub dropout: &'static str,
    /// `f32` or `bf16`.
    pub precision: &'static str,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.shape, self.mode, self.precision)?;
        if self.mode == "train" { write!(f, " dropout {}", self.dropout) } else { Ok(()) }
    }
}

/// Which of the cases to measure.
pub struct Choice {
    shapes: Vec<&'static str>,
    modes: Vec<&'static str>,
    dropouts: Vec<&'static str>,
    precisions: Vec<&'static str>,
}

impl Choice {
    /// Every case there is.
    pub fn all() -> Self {
        Self {
            shapes: vec!["base", "minilm"],
            modes: vec!["train", "forward"],
            dropouts: vec!["0", "0.1"],
            precisions: vec!["f32", "bf16"],
        }
    }

    /// The few that take a minute.
    pub fn quick() -> Self {
        Self { shapes: vec!["minilm"], dropouts: vec!["0.1"], ..Self::all() }
    }

    /// Keeps the names in a list separated by commas.
    ///
    /// # Errors
    /// When a name is unknown.
    pub fn narrow(&mut self, what: &str, list: Option<String>) -> Result<()> {
        let Some(list) = list else { return Ok(()) };
        let all = Self::all();
        let (mine, known) = match what {
            "shapes" => (&mut self.shapes, all.shapes),
            "modes" => (&mut self.modes, all.modes),
            "precisions" => (&mut self.precisions, all.precisions),
            _ => bail!("nothing called {what} can be chosen"),
        };
        mine.clear();
        for name in list.split(',') {
            match known.iter().find(|known| **known == name) {
                Some(name) => mine.push(name),
                None => bail!("--{what}: unknown \"{name}\", there are {}", known.join(", ")),
            }
        }
        Ok(())
    }

    /// The cases, the slow ones last. A forward pass for use has no dropout.
    pub fn cases(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for &shape in self.shapes.iter().rev() {
            for &mode in self.modes.iter().rev() {
                for &precision in &self.precisions {
                    let dropouts = if mode == "forward" { &["0"][..] } else { &self.dropouts[..] };
                    cases.extend(dropouts.iter().map(|&dropout| Case { shape, mode, dropout, precision }));
                }
            }
        }
        cases
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_cases_are_two_shapes_of_six() {
        let cases = Choice::all().cases();
        assert_eq!(cases.len(), 12);
        assert!(cases.iter().all(|case| case.mode == "train" || case.dropout == "0"));
        assert_eq!(Choice::quick().cases().len(), 4);
    }

    #[test]
    fn a_choice_is_narrowed_by_known_names_only() {
        let mut choice = Choice::quick();
        choice.narrow("shapes", Some("base".into())).unwrap();
        choice.narrow("precisions", Some("f32".into())).unwrap();
        choice.narrow("modes", None).unwrap();
        let names: Vec<_> = choice.cases().iter().map(Case::to_string).collect();
        assert_eq!(names, ["base forward f32", "base train f32 dropout 0.1"]);
        let error = choice.narrow("shapes", Some("large".into())).unwrap_err().to_string();
        assert!(error.contains("large") && error.contains("minilm"), "{error}");
    }
}
