//! JSON in templates, as Python's `json.dumps` writes it: a space after each comma and colon, nothing escaped for HTML.

use minijinja::value::Kwargs;
use minijinja::{Error, ErrorKind};
use serde_json::Value;

/// How the JSON is laid out.
struct Style {
    indent: Option<usize>,
    ascii: bool,
    sorted: bool,
    between: String,
    colon: String,
}

/// The filter `tojson`, with `indent`, `sort_keys`, `ensure_ascii` and `separators`.
pub(super) fn tojson(value: &minijinja::Value, kwargs: Kwargs) -> Result<minijinja::Value, Error> {
    let failed = |detail: String| Error::new(ErrorKind::BadSerialization, detail);
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
    let value = serde_json::to_value(value).map_err(|error| failed(error.to_string()))?;
    let mut text = String::new();
    style.write(&value, 0, &mut text);
    Ok(minijinja::Value::from_safe_string(text))
}

impl Style {
    fn write(&self, value: &Value, depth: usize, text: &mut String) {
        match value {
            Value::Array(items) if !items.is_empty() => {
                text.push('[');
                for (index, item) in items.iter().enumerate() {
                    self.begin(index, depth + 1, text);
                    self.write(item, depth + 1, text);
                }
                self.line(depth, text);
                text.push(']');
            }
            Value::Object(map) if !map.is_empty() => {
                text.push('{');
                let mut entries: Vec<_> = map.iter().collect();
                if self.sorted {
                    entries.sort_by_key(|(key, _)| *key);
                }
                for (index, (key, item)) in entries.into_iter().enumerate() {
                    self.begin(index, depth + 1, text);
                    self.string(&Value::String(key.clone()), text);
                    text.push_str(&self.colon);
                    self.write(item, depth + 1, text);
                }
                self.line(depth, text);
                text.push('}');
            }
            other => self.string(other, text),
        }
    }

    fn begin(&self, index: usize, depth: usize, text: &mut String) {
        if index > 0 {
            text.push_str(&self.between);
        }
        self.line(depth, text);
    }

    fn line(&self, depth: usize, text: &mut String) {
        if let Some(indent) = self.indent {
            text.push('\n');
            text.extend(std::iter::repeat_n(' ', indent * depth));
        }
    }

    /// A string, or what holds none.
    fn string(&self, value: &Value, text: &mut String) {
        let written = value.to_string();
        if !self.ascii || written.is_ascii() {
            text.push_str(&written);
            return;
        }
        for char in written.chars() {
            if char.is_ascii() {
                text.push(char);
            } else {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    text.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
}
