//! Tables of scores, shaded: all by the same scale, so that they can be held against each other.

use std::fmt::Write;

use super::html::escape;
use super::number::score;
use super::{Heat, Heats};

/// The tables side by side.
pub(crate) fn maps(data: &Heats) -> String {
    let values = || data.maps.iter().flat_map(|map| map.values.iter().flatten().flatten());
    let finite = || values().copied().filter(|value| value.is_finite());
    let (low, high) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    let mut out = String::from("<div class=\"charts\">");
    for map in &data.maps {
        out.push_str(&one(map, &data.along, (low, high)));
    }
    out.push_str("</div>");
    out
}

fn one(map: &Heat, along: &str, (low, high): (f64, f64)) -> String {
    let mut out = format!("<figure><figcaption>{}</figcaption>", escape(&map.title));
    if !map.about.is_empty() {
        let _ = write!(out, "<p class=\"note\">{}</p>", escape(&map.about));
    }
    let _ = write!(
        out,
        "<div class=\"scroll\"><table class=\"matrix\"><thead><tr><td></td><th class=\"along\" colspan=\"{}\">{}</th></tr><tr><th></th>",
        map.columns.len(),
        escape(along)
    );
    for name in &map.columns {
        let _ = write!(out, "<th>{}</th>", escape(name));
    }
    out.push_str("</tr></thead><tbody>");
    for (name, row) in map.rows.iter().zip(&map.values) {
        let _ = write!(out, "<tr><th>{}</th>", escape(name));
        for value in row {
            match value.filter(|value| value.is_finite()) {
                Some(value) => {
                    let share = if high > low { (value - low) / (high - low) } else { 1.0 };
                    // The shading ends where text in the colour of the page would become hard to read.
                    let depth = 4.0 + 54.0 * share;
                    let _ = write!(
                        out,
                        "<td style=\"background:color-mix(in srgb,var(--heat) {depth:.0}%,var(--card))\">{}</td>",
                        score(value)
                    );
                }
                None => out.push_str("<td class=\"blank\">–</td>"),
            }
        }
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table></div></figure>");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_tables_are_shaded_by_one_scale() {
        let map = |values: &[Option<f64>]| Heat {
            rows: vec!["r".into()],
            columns: vec!["c".into(); values.len()],
            values: vec![values.to_vec()],
            ..Heat::default()
        };
        let page = maps(&Heats {
            maps: vec![map(&[Some(0.5), None]), map(&[Some(0.75), Some(1.0)])],
            ..Heats::default()
        });
        for part in
            [" 4%,var(--card))\">0.500", " 31%,var(--card))\">0.750", " 58%,var(--card))\">1.000", ">–<"]
        {
            assert!(page.contains(part), "{part}\n{page}");
        }
        assert!(maps(&Heats { maps: vec![map(&[Some(0.5)])], ..Heats::default() }).contains(" 58%"));
    }
}
