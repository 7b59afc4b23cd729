//! Many runs of one recipe as points: a strip for each set they were measured on.

use std::fmt::Write;

use super::Strips;
use super::html::escape;
use super::number::score;
use super::scale::Axis;

const WIDTH: f64 = 880.0;
const LEFT: f64 = 14.0;
const RIGHT: f64 = 866.0;
/// Height of a strip, and where its points are in it.
const LANE: f64 = 96.0;
const MIDDLE: f64 = 60.0;
/// Points nearer than this to each other along the axis are put apart across it.
const ROOM: f64 = 9.0;

/// The drawing, with what marks mean above it.
pub(crate) fn draw(data: &Strips) -> String {
    let points = || data.rows.iter().flat_map(|row| &row.points);
    let references = || data.references.iter().filter(|(_, value)| value.is_finite());
    let values = points().map(|point| point.value).chain(references().map(|(_, value)| *value));
    let axis = Axis::around(values, LEFT, RIGHT, 8);
    let bottom = LANE * data.rows.len() as f64 + 8.0;
    let (height, title) = (bottom + 44.0, escape(&data.title));
    let mut out = legend(data);
    let _ = write!(
        out,
        "<figure class=\"wide\"><svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\">"
    );
    for (value, text) in &axis.ticks {
        let at = axis.at(*value);
        let below = bottom + 18.0;
        let _ = write!(
            out,
            "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"8\" y2=\"{bottom}\"/><text class=\"tick\" x=\"{at:.1}\" \
             y=\"{below}\" text-anchor=\"middle\">{text}</text>"
        );
    }
    let _ = write!(
        out,
        "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{bottom}\" y2=\"{bottom}\"/><text class=\"name\" x=\"{}\" \
         y=\"{}\" text-anchor=\"middle\">{}</text>",
        (LEFT + RIGHT) / 2.0,
        height - 6.0,
        escape(&data.metric)
    );
    for (index, (name, value)) in references().enumerate() {
        let at = axis.at(*value);
        let _ = write!(
            out,
            "<g class=\"line s{}\"><line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"8\" y2=\"{bottom}\"/><title>{}: {}</title></g>",
            series(index),
            escape(name),
            score(*value)
        );
    }
    for (lane, row) in data.rows.iter().enumerate() {
        let top = LANE * lane as f64 + 8.0;
        let middle = top + MIDDLE;
        let _ = write!(
            out,
            "<text class=\"name halo\" x=\"{LEFT}\" y=\"{:.1}\">{}</text>",
            top + 15.0,
            escape(&row.name)
        );
        if let Some(median) = row.median.filter(|median| median.is_finite()) {
            let at = axis.at(median);
            let _ = write!(
                out,
                "<g class=\"median\"><line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/><title>median {}</title></g>",
                middle - 30.0,
                middle + 30.0,
                score(median)
            );
        }
        let mut places: Vec<(f64, usize)> = row
            .points
            .iter()
            .enumerate()
            .filter(|(_, point)| point.value.is_finite())
            .map(|(at, point)| (axis.at(point.value), at))
            .collect();
        places.sort_by(|a, b| a.0.total_cmp(&b.0));
        for ((x, at), y) in places.iter().zip(apart(&places)) {
            let point = &row.points[*at];
            let hint = format!(
                "{}: {}{}",
                point.name,
                score(point.value),
                if point.failed { ", failed" } else { "" }
            );
            let _ = write!(
                out,
                "<g class=\"mark s{}\">{}<title>{}</title></g>",
                usize::from(point.failed),
                mark(point.failed, *x, middle + y),
                escape(&hint)
            );
        }
    }
    out.push_str("</svg></figure>");
    out
}

/// How far each of the points, from left to right, is moved across the strip so that none lies on another, as far as there is
/// room.
fn apart(places: &[(f64, usize)]) -> Vec<f64> {
    // Around the middle, ever further: 0, up, down, ...
    let rows = [0.0, -9.0, 9.0, -18.0, 18.0, -27.0, 27.0];
    let mut last = [f64::NEG_INFINITY; 7];
    let mut moved = Vec::with_capacity(places.len());
    for (count, (x, _)) in places.iter().enumerate() {
        let free = last.iter().position(|last| x - last >= ROOM).unwrap_or(count % rows.len());
        last[free] = *x;
        moved.push(rows[free]);
    }
    moved
}

/// Runs are discs, failed ones squares: colour alone tells nobody.
fn mark(failed: bool, x: f64, y: f64) -> String {
    match failed {
        false => format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\"/>"),
        true => format!("<rect x=\"{:.1}\" y=\"{:.1}\" width=\"9\" height=\"9\"/>", x - 4.5, y - 4.5),
    }
}

/// The colours and dashes of references, which are none of those of points.
fn series(index: usize) -> usize {
    [3, 5][index % 2]
}

fn legend(data: &Strips) -> String {
    let mut out = String::from("<div class=\"legend\">");
    let mut entry = |drawing: &str, name: &str| {
        let _ = write!(
            out,
            "<span><svg viewBox=\"0 0 28 14\" width=\"28\" height=\"14\" aria-hidden=\"true\">{drawing}</svg>{}</span>",
            escape(name)
        );
    };
    let failed =
        |failed: bool| data.rows.iter().flat_map(|row| &row.points).any(|point| point.failed == failed);
    let marked = if data.marked.is_empty() { "a failed run" } else { &data.marked };
    for (kind, name) in [(false, "a run"), (true, marked)] {
        if failed(kind) {
            entry(&format!("<g class=\"mark s{}\">{}</g>", usize::from(kind), mark(kind, 14.0, 7.0)), name);
        }
    }
    if data.rows.iter().any(|row| row.median.is_some_and(f64::is_finite)) {
        entry("<g class=\"median\"><line x1=\"14\" x2=\"14\" y1=\"0\" y2=\"14\"/></g>", "median");
    }
    for (index, (name, value)) in data.references.iter().filter(|(_, value)| value.is_finite()).enumerate() {
        entry(
            &format!("<line class=\"line s{}\" x1=\"1\" x2=\"27\" y1=\"7\" y2=\"7\"/>", series(index)),
            &format!("{name}, {}", score(*value)),
        );
    }
    out.push_str("</div>");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_at_one_place_are_put_apart() {
        let at = |places: &[f64]| apart(&places.iter().map(|x| (*x, 0)).collect::<Vec<_>>());
        assert_eq!(at(&[10.0, 10.0, 10.0, 40.0]), [0.0, -9.0, 9.0, 0.0]);
        assert_eq!(at(&[10.0, 18.0, 20.0]), [0.0, -9.0, 0.0]);
        // More than there is room for lie on each other rather than outside.
        assert!(at(&[1.0; 30]).iter().all(|y| y.abs() <= 27.0));
    }
}
