//! What is tried: settings and the values that each may have.

use serde::{Deserialize, Serialize};
use topwork_kernels::rng::Stream;

use crate::error::Error;

/// A setting and its values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Knob {
    /// The setting in recipes: `train.learning-rate`.
    pub key: String,
    /// Its values.
    pub range: Range,
}

/// Values of a setting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Range {
    /// Numbers from the one to the other.
    Even {
        /// The least.
        low: f64,
        /// The most.
        high: f64,
    },
    /// Positive numbers from the one to the other, each order of magnitude as likely as the next.
    Log {
        /// The least.
        low: f64,
        /// The most.
        high: f64,
    },
    /// Whole numbers from the one to the other.
    Whole {
        /// The least.
        low: i64,
        /// The most.
        high: i64,
    },
    /// One of several, without an order.
    Choice(Vec<String>),
}

/// The value of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// The number of a choice, counted from 0.
    Choice {
        /// The number.
        choice: usize,
    },
    /// A number.
    Number(f64),
}

/// How settings are written.
const FORMS: &str = "expected a setting and its values, such as train.learning-rate=1e-5..1e-3:log, train.warmup=0..0.2, \
                     train.epochs=2..8:whole or batch.examples=16|32|64";

/// Digits of a number that is tried: more could not be told apart by any score.
const DIGITS: i32 = 3;

impl Knob {
    /// From what a user writes.
    ///
    /// # Errors
    /// [`Error::Task`] with the forms there are.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wrong = |why: String| Error::Task(format!("{text:?}: {why}; {FORMS}"));
        let (key, values) = text.split_once('=').ok_or_else(|| wrong("there is no = in it".into()))?;
        if key.is_empty() || values.is_empty() {
            return Err(wrong("something is missing".into()));
        }
        let Some((low, rest)) = values.split_once("..") else {
            let choices: Vec<String> = values.split('|').map(str::to_string).collect();
            if choices.len() < 2 || choices.iter().any(String::is_empty) {
                return Err(wrong("one value leaves nothing to try".into()));
            }
            return Ok(Knob { key: key.to_string(), range: Range::Choice(choices) });
        };
        let (high, form) = rest.split_once(':').unwrap_or((rest, "even"));
        let number = |text: &str| -> Result<f64, Error> {
            let read = text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
            read.ok_or_else(|| wrong(format!("{text:?} is no number")))
        };
        let (low, high) = (number(low)?, number(high)?);
        if low >= high {
            return Err(wrong(format!("{low} is not below {high}")));
        }
        let range = match form {
            "even" => Range::Even { low, high },
            "log" if low > 0.0 => Range::Log { low, high },
            "log" => return Err(wrong(format!("log takes numbers above 0, not {low}"))),
            "whole" if low.fract() == 0.0 && high.fract() == 0.0 => {
                Range::Whole { low: low as i64, high: high as i64 }
            }
            "whole" => return Err(wrong("the ends are no whole numbers".into())),
            other => return Err(wrong(format!("{other:?} is not even, log or whole"))),
        };
        Ok(Knob { key: key.to_string(), range })
    }

    /// A value as it stands in a recipe.
    pub fn shown(&self, value: Value) -> String {
        match (&self.range, value) {
            (Range::Choice(choices), Value::Choice { choice }) => {
                choices.get(choice).cloned().unwrap_or_default()
            }
            (_, Value::Number(number)) if number != 0.0 && number.abs() < 1e-3 => format!("{number:e}"),
            (_, Value::Number(number)) => number.to_string(),
            (_, Value::Choice { choice }) => choice.to_string(),
        }
    }

    /// The last part of the setting: `learning-rate`.
    pub fn name(&self) -> &str {
        self.key.rsplit('.').next().unwrap_or(&self.key)
    }
}

impl Range {
    /// The scale on which it is drawn and compared; `None` for choices.
    pub fn ends(&self) -> Option<(f64, f64)> {
        match *self {
            Range::Even { low, high } => Some((low, high)),
            Range::Log { low, high } => Some((low.ln(), high.ln())),
            // Each whole number has as much room as any other.
            Range::Whole { low, high } => Some((low as f64 - 0.5, high as f64 + 0.5)),
            Range::Choice(_) => None,
        }
    }

    /// Where a number lies on that scale.
    pub fn place(&self, number: f64) -> f64 {
        if matches!(self, Range::Log { .. }) { number.ln() } else { number }
    }

    /// The number at a place on that scale, as it is tried.
    pub fn at(&self, place: f64) -> f64 {
        match *self {
            Range::Even { low, high } => rounded(place).clamp(low, high),
            Range::Log { low, high } => rounded(place.exp()).clamp(low, high),
            Range::Whole { low, high } => place.round().clamp(low as f64, high as f64),
            Range::Choice(_) => place,
        }
    }

    /// A value by chance.
    pub fn draw(&self, stream: &mut Stream) -> Value {
        match (self, self.ends()) {
            (_, Some((low, high))) => Value::Number(self.at(low + (high - low) * stream.next_f64())),
            (Range::Choice(choices), _) => {
                Value::Choice { choice: stream.below(choices.len() as u64) as usize }
            }
            (_, None) => Value::Number(0.0),
        }
    }
}

/// To three digits.
fn rounded(number: f64) -> f64 {
    if number == 0.0 {
        return 0.0;
    }
    format!("{number:.*e}", DIGITS as usize - 1).parse().unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use topwork_kernels::rng::derive;

    use super::*;

    #[test]
    fn settings_are_read_drawn_and_shown() {
        let mut stream = Stream(derive(1, "knobs"));
        for (text, low, high) in
            [("a.b=1e-5..1e-3:log", 1e-5, 1e-3), ("a.warmup=0..0.2", 0.0, 0.2), ("e=2..4:whole", 2.0, 4.0)]
        {
            let knob = Knob::parse(text).unwrap();
            let mut drawn = Vec::new();
            for _ in 0..300 {
                let Value::Number(number) = knob.range.draw(&mut stream) else { panic!() };
                assert!((low..=high).contains(&number), "{number}");
                assert_eq!(knob.shown(Value::Number(number)).parse::<f64>().unwrap(), number);
                assert!((knob.range.at(knob.range.place(number)) - number).abs() <= 1e-9 * number.abs());
                drawn.push(number);
            }
            let middle = drawn
                .iter()
                .filter(|&&n| knob.range.place(n) < knob.range.place(low.max(1e-9).sqrt() * high.sqrt()))
                .count();
            if text.ends_with("log") {
                assert!((120..180).contains(&middle), "each order of magnitude is as likely: {middle}");
            }
            if text.ends_with("whole") {
                for whole in [2.0, 3.0, 4.0] {
                    let count = drawn.iter().filter(|&&n| n == whole).count();
                    assert!((75..125).contains(&count), "{whole}: {count}");
                }
            }
        }
        let knob = Knob::parse("batch.examples=16|32").unwrap();
        assert_eq!((knob.name(), knob.shown(Value::Choice { choice: 1 })), ("examples", "32".to_string()));
        assert_eq!(Knob::parse("a=1e-5..1e-3:log").unwrap().shown(Value::Number(2.5e-5)), "2.5e-5");
    }

    #[test]
    fn what_is_no_setting_is_told() {
        for (text, said) in [
            ("train.epochs", "no = in it"),
            ("train.epochs=3", "nothing to try"),
            ("a=3..2", "3 is not below 2"),
            ("a=0..1:log", "above 0"),
            ("a=0.5..2:whole", "no whole numbers"),
            ("a=1..2:lin", "not even, log or whole"),
            ("a=x..2", "\"x\" is no number"),
            ("a=1|", "nothing to try"),
        ] {
            let error = Knob::parse(text).unwrap_err().to_string();
            assert!(error.contains(said) && error.contains("16|32|64"), "{text}: {error}");
        }
    }
}
