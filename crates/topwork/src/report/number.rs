//! Numbers as a reader wants them.

/// A whole number with thousands separated: `22,713,216`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A whole number to three digits: `22.7 M`, `769`.
pub fn compact(n: u64) -> String {
    let value = n as f64;
    for (unit, name) in [(1e9, "G"), (1e6, "M"), (1e3, "k")] {
        if value >= unit * 0.9995 {
            return format!("{} {name}", three_digits(value / unit));
        }
    }
    n.to_string()
}

/// A score to three decimals; `n/a` when it is no number.
pub fn score(value: f64) -> String {
    if value.is_finite() { format!("{value:.3}") } else { "n/a".into() }
}

/// A share as a percentage with one decimal: `44.2%`; `n/a` when it is no number.
pub fn percent(share: f64) -> String {
    if share.is_finite() { format!("{:.1}%", share * 100.0) } else { "n/a".into() }
}

/// A duration: `0.34 s`, `70 s`, `2 min 05 s`, `1 h 03 min`.
pub fn seconds(value: f64) -> String {
    if !value.is_finite() || value < 0.0 {
        return "n/a".into();
    }
    if value < 9.95 {
        return format!("{value:.2} s").replace(".00 s", " s");
    }
    let whole = value.round() as u64;
    match whole {
        0..=119 => format!("{whole} s"),
        120..=3599 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

/// A size in decimal units: `1.24 GB`.
pub fn bytes(n: u64) -> String {
    match n {
        0..=999 => format!("{n} B"),
        _ => format!("{}B", compact(n)),
    }
}

fn three_digits(value: f64) -> String {
    match value {
        v if v < 9.995 => format!("{v:.2}"),
        v if v < 99.95 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    }
}

/// A value on an axis whose ticks are `step` apart: no more decimals than the step has.
pub(crate) fn tick(value: f64, step: f64) -> String {
    // Zero must not come out as `-0`, nor a sum of steps as 0.30000000000000004.
    let value = if value.abs() < step * 1e-9 { 0.0 } else { value };
    let magnitude = value.abs();
    if magnitude >= 1000.0 && step >= 1.0 {
        if magnitude >= 1e6 || step >= 1000.0 {
            let sign = if value < 0.0 { "-" } else { "" };
            return format!("{sign}{}", trimmed(&compact(magnitude.round() as u64)));
        }
        return count(value.round().max(0.0) as u64);
    }
    if value != 0.0 && magnitude < 1e-3 {
        let text = format!("{value:.1e}");
        return text.replace(".0e", "e");
    }
    let decimals = if step >= 1.0 { 0 } else { (-step.log10() - 1e-9).ceil() as usize };
    // A step of 0.25 has one digit by its magnitude and two by its value.
    let decimals = if ((step * 10f64.powi(decimals as i32)).fract() - 0.5).abs() < 0.01 {
        decimals + 1
    } else {
        decimals
    };
    if value == 0.0 && decimals > 3 {
        return "0".into();
    }
    format!("{value:.decimals$}")
}

/// `20.0 k` as `20 k`, `1.50 M` as `1.5 M`.
fn trimmed(text: &str) -> String {
    match text.split_once(' ') {
        Some((number, unit)) if number.contains('.') => {
            format!("{} {unit}", number.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_sizes() {
        assert_eq!(
            [count(0), count(999), count(1000), count(22_713_216)],
            ["0", "999", "1,000", "22,713,216"]
        );
        assert_eq!([compact(769), compact(999_999), compact(22_713_216)], ["769", "1.00 M", "22.7 M"]);
        assert_eq!([bytes(12), bytes(1_236_000_000)], ["12 B", "1.24 GB"]);
    }

    #[test]
    fn durations() {
        let cases = [(0.344, "0.34 s"), (3.0, "3 s"), (9.96, "10 s"), (70.2, "70 s"), (125.0, "2 min 05 s")];
        for (value, expected) in cases {
            assert_eq!(seconds(value), expected);
        }
        assert_eq!(seconds(3780.0), "1 h 03 min");
        assert_eq!([seconds(f64::NAN), seconds(-1.0)], ["n/a", "n/a"]);
    }

    #[test]
    fn scores_and_ticks() {
        assert_eq!([score(0.8849), score(f64::NAN), percent(0.4424)], ["0.885", "n/a", "44.2%"]);
        assert_eq!([tick(0.1 + 0.2, 0.1), tick(-0.0, 0.1), tick(0.25, 0.25)], ["0.3", "0.0", "0.25"]);
        assert_eq!(
            [tick(1500.0, 500.0), tick(20_000.0, 5000.0), tick(2e-5, 1e-5)],
            ["1,500", "20 k", "2e-5"]
        );
        assert_eq!([tick(20_500.0, 500.0), tick(2.0, 1.0), tick(0.0, 5e-6)], ["20,500", "2", "0"]);
    }
}
