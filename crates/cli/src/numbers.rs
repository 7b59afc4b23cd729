//! Numbers as people read them.

/// A size: `12 bytes`, `83.5 MB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if count < 1000 {
        return format!("{count} bytes");
    }
    let mut value = count as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A count with its thousands apart: `22,713,216`.
pub fn thousands(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun: `1 text`, `2 texts`.
pub fn counted(count: usize, noun: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{} {noun}{s}", thousands(count))
}

/// The first columns of a text, its line breaks and tabs as spaces.
pub fn shortened(text: &str, columns: usize) -> String {
    let flat = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let mut flat = flat.collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = flat.char_indices().nth(columns) {
        let cut = flat.char_indices().nth(columns.saturating_sub(3)).map_or(end, |(at, _)| at);
        flat.truncate(cut);
        flat.push_str("...");
    }
    flat
}

/// A 32-bit number for JSON, as short as it round-trips: 0.1 and not 0.10000000149011612.
pub fn json(value: f32) -> serde_json::Value {
    let short = value.to_string().parse::<f64>().ok();
    short.and_then(serde_json::Number::from_f64).map_or(serde_json::Value::Null, serde_json::Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        for (count, expected) in
            [(0, "0 bytes"), (999, "999 bytes"), (83_506_384, "83.5 MB"), (999_960, "1.0 MB")]
        {
            assert_eq!(bytes(count), expected);
        }
        for (count, expected) in [(0, "0"), (999, "999"), (1000, "1,000"), (22_713_216, "22,713,216")] {
            assert_eq!(thousands(count), expected);
        }
        assert_eq!(counted(1, "text"), "1 text");
        assert_eq!(counted(2000, "text"), "2,000 texts");
        assert_eq!(shortened("a\n b\tc", 10), "a b c");
        assert_eq!(shortened("äöüäöüäöü", 6), "äöü...");
        assert_eq!(json(0.1).to_string(), "0.1");
        assert_eq!(json(f32::NAN).to_string(), "null");
    }
}
