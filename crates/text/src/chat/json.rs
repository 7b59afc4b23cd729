//! JSON in templates, as Python's `json.dumps` writes it: a space after each comma and colon, nothing escaped for HTML.

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, State};
use serde_json::{Map, Value};

/// Deepest nesting that is written.
const DEPTH: usize = 100;

/// Bytes of text that one step of a template pays for.
const BYTES_PER_STEP: usize = 64;

/// How the JSON is laid out.
struct Style {
    indent: Option<usize>,
    ascii: bool,
    sorted: bool,
    between: String,
    colon: String,
}

/// The filter `tojson`, with `indent`, `sort_keys`, `ensure_ascii` and `separators`.
pub(super) fn tojson(
    state: &State<'_, '_>,
    value: &minijinja::Value,
    kwargs: Kwargs,
) -> Result<minijinja::Value, Error> {
    let indent: Option<usize> = kwargs.get("indent")?;
    let separators: Option<Vec<String>> = kwargs.get("separators")?;
    let [between, colon] = match separators.as_deref() {
        None if indent.is_some() => [",", ": "].map(String::from),
        None => [", ", ": "].map(String::from),
        Some([between, colon]) => [between.clone(), colon.clone()],
        Some(other) => return Err(failed(format!("tojson: expected two separators, got {}", other.len()))),
    };
    let style = Style {
        indent: indent.map(|indent| indent.min(64)),
        ascii: kwargs.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
        sorted: kwargs.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
        between,
        colon,
    };
    kwargs.assert_all_used()?;
    let value = plain(state, value, 0)?;
    let mut text = Text { state, text: String::new(), paid: 0 };
    style.write(&value, 0, &mut text)?;
    Ok(minijinja::Value::from_safe_string(text.text))
}

fn failed(detail: String) -> Error {
    Error::new(ErrorKind::BadSerialization, detail)
}

/// A value of a template as JSON. A list may hold the same list many times over, so each part of it is a step.
fn plain(state: &State<'_, '_>, value: &minijinja::Value, depth: usize) -> Result<Value, Error> {
    state.consume_fuel(1)?;
    if depth > DEPTH {
        return Err(failed(format!("tojson: lists within lists, more than {DEPTH} deep")));
    }
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => value
            .try_iter()?
            .map(|item| plain(state, &item, depth + 1))
            .collect::<Result<_, _>>()
            .map(Value::Array),
        ValueKind::Map => {
            let mut map = Map::new();
            for key in value.try_iter()? {
                let item = plain(state, &value.get_item(&key)?, depth + 1)?;
                let key = match plain(state, &key, depth + 1)? {
                    Value::String(key) => key,
                    key @ (Value::Bool(_) | Value::Number(_)) => key.to_string(),
                    key => return Err(failed(format!("tojson: {key} as a key"))),
                };
                map.insert(key, item);
            }
            Ok(Value::Object(map))
        }
        _ => serde_json::to_value(value).map_err(|error| failed(error.to_string())),
    }
}

/// Text that is paid for as it grows.
struct Text<'a> {
    state: &'a State<'a, 'a>,
    text: String,
    /// Bytes that were paid for.
    paid: usize,
}

impl Text<'_> {
    fn push(&mut self, text: &str) -> Result<(), Error> {
        self.text.push_str(text);
        let steps = (self.text.len() - self.paid) / BYTES_PER_STEP;
        self.paid += steps * BYTES_PER_STEP;
        self.state.consume_fuel(steps as u64)
    }
}

impl Style {
    fn write(&self, value: &Value, depth: usize, text: &mut Text<'_>) -> Result<(), Error> {
        match value {
            Value::Array(items) if !items.is_empty() => {
                text.push("[")?;
                for (index, item) in items.iter().enumerate() {
                    self.begin(index, depth + 1, text)?;
                    self.write(item, depth + 1, text)?;
                }
                self.line(depth, text)?;
                text.push("]")
            }
            Value::Object(map) if !map.is_empty() => {
                text.push("{")?;
                let mut entries: Vec<_> = map.iter().collect();
                if self.sorted {
                    entries.sort_by_key(|(key, _)| *key);
                }
                for (index, (key, item)) in entries.into_iter().enumerate() {
                    self.begin(index, depth + 1, text)?;
                    self.string(&Value::String(key.clone()), text)?;
                    text.push(&self.colon)?;
                    self.write(item, depth + 1, text)?;
                }
                self.line(depth, text)?;
                text.push("}")
            }
            other => self.string(other, text),
        }
    }

    fn begin(&self, index: usize, depth: usize, text: &mut Text<'_>) -> Result<(), Error> {
        if index > 0 {
            text.push(&self.between)?;
        }
        self.line(depth, text)
    }

    fn line(&self, depth: usize, text: &mut Text<'_>) -> Result<(), Error> {
        match self.indent {
            Some(indent) => text.push(&format!("\n{}", " ".repeat(indent * depth))),
            None => Ok(()),
        }
    }

    /// A string, or what holds none.
    fn string(&self, value: &Value, text: &mut Text<'_>) -> Result<(), Error> {
        let written = value.to_string();
        if !self.ascii || written.is_ascii() {
            return text.push(&written);
        }
        for char in written.chars() {
            if char.is_ascii() {
                text.push(char.encode_utf8(&mut [0; 4]))?;
            } else {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    text.push(&format!("\\u{unit:04x}"))?;
                }
            }
        }
        Ok(())
    }
}
