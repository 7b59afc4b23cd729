//! The drawing of one chart as SVG: frame, grid, axes, lines, points, bars. Text lies outside the plot, so that
//! nothing overlaps; the legend is HTML above it.

use std::fmt::Write;

use super::html::escape;
use super::scale::Axis;

/// Size of the drawing in its own units; it scales with the page.
pub(crate) const WIDTH: f64 = 440.0;
pub(crate) const HEIGHT: f64 = 262.0;
/// The plot inside it.
pub(crate) const LEFT: f64 = 56.0;
pub(crate) const RIGHT: f64 = 426.0;
pub(crate) const TOP: f64 = 26.0;
pub(crate) const BOTTOM: f64 = 218.0;

/// A chart being drawn.
pub(crate) struct Chart {
    body: String,
    legend: Vec<(usize, String)>,
    title: String,
    note: String,
}

impl Chart {
    /// A chart with its axes; `x_name` and `y_name` hold the units.
    pub(crate) fn new(title: &str, x: &Axis, x_name: &str, y: &Axis, y_name: &str) -> Chart {
        let mut chart =
            Chart { body: String::new(), legend: Vec::new(), title: title.into(), note: String::new() };
        for (value, text) in &y.ticks {
            let at = y.at(*value);
            chart.push(format_args!(
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>"
            ));
            let (tx, ty) = (LEFT - 7.0, at + 4.0);
            chart.push(format_args!(
                "<text class=\"tick\" x=\"{tx:.1}\" y=\"{ty:.1}\" text-anchor=\"end\">{text}</text>"
            ));
        }
        chart.push(format_args!(
            "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{BOTTOM}\" y2=\"{BOTTOM}\"/>"
        ));
        for (value, text) in &x.ticks {
            let at = x.at(*value);
            let (end, ty) = (BOTTOM + 5.0, BOTTOM + 18.0);
            chart.push(format_args!(
                "<line class=\"axis\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{BOTTOM}\" y2=\"{end}\"/>"
            ));
            chart.push(format_args!(
                "<text class=\"tick\" x=\"{at:.1}\" y=\"{ty}\" text-anchor=\"middle\">{text}</text>"
            ));
        }
        let (middle, name_y) = ((LEFT + RIGHT) / 2.0, HEIGHT - 7.0);
        let (x_name, y_name) = (escape(x_name), escape(y_name));
        chart.push(format_args!(
            "<text class=\"name\" x=\"{middle}\" y=\"{name_y}\" text-anchor=\"middle\">{x_name}</text>"
        ));
        chart.push(format_args!("<text class=\"name\" x=\"4\" y=\"13\">{y_name}</text>"));
        chart
    }

    /// Appends a piece of SVG.
    pub(crate) fn push(&mut self, piece: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = self.body.write_fmt(piece);
    }

    /// A line through points in pixels, in the colour and dash of series `index`.
    pub(crate) fn line(&mut self, index: usize, points: &[(f64, f64)]) {
        if points.len() < 2 {
            return;
        }
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        self.push(format_args!("<polyline class=\"line s{}\" points=\"{}\"/>", index % 6, path.join(" ")));
    }

    /// A shaded band between two lines with the same x.
    pub(crate) fn band(&mut self, index: usize, points: &[(f64, f64, f64)]) {
        let mut path: Vec<String> = points.iter().map(|(x, low, _)| format!("{x:.1},{low:.1}")).collect();
        path.extend(points.iter().rev().map(|(x, _, high)| format!("{x:.1},{high:.1}")));
        self.push(format_args!("<polygon class=\"band s{}\" points=\"{}\"/>", index % 6, path.join(" ")));
    }

    /// A marker in the shape of series `index`, with a text shown on hovering.
    pub(crate) fn marker(&mut self, index: usize, x: f64, y: f64, hint: &str) {
        let shape = marker(index, x, y, 4.0);
        let hint = escape(hint);
        self.push(format_args!("<g class=\"mark s{}\">{shape}<title>{hint}</title></g>", index % 6));
    }

    /// A vertical whisker with caps.
    pub(crate) fn whisker(&mut self, index: usize, x: f64, low: f64, high: f64) {
        let (a, b) = (x - 3.5, x + 3.5);
        self.push(format_args!(
            "<path class=\"whisker s{}\" d=\"M{x:.1} {low:.1}V{high:.1}M{a:.1} {low:.1}H{b:.1}M{a:.1} {high:.1}H{b:.1}\"/>",
            index % 6
        ));
    }

    /// Names series `index` in the legend.
    pub(crate) fn legend(&mut self, index: usize, name: &str) {
        self.legend.push((index, name.to_owned()));
    }

    /// A line of text below the chart.
    pub(crate) fn note(&mut self, text: &str) {
        self.note = text.to_owned();
    }

    /// The finished figure.
    pub(crate) fn finish(self) -> String {
        let title = escape(&self.title);
        let mut out = format!("<figure><figcaption>{title}</figcaption>");
        if !self.legend.is_empty() {
            out.push_str("<div class=\"legend\">");
            for (index, name) in &self.legend {
                let series = index % 6;
                let shape = marker(*index, 14.0, 7.0, 4.0);
                let name = escape(name);
                let _ = write!(
                    out,
                    "<span><svg viewBox=\"0 0 28 14\" width=\"28\" height=\"14\" aria-hidden=\"true\"><line \
                     class=\"line s{series}\" x1=\"1\" x2=\"27\" y1=\"7\" y2=\"7\"/><g class=\"mark s{series}\">{shape}</g>\
                     </svg>{name}</span>"
                );
            }
            out.push_str("</div>");
        }
        let _ = write!(
            out,
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">{}</svg>",
            self.body
        );
        if !self.note.is_empty() {
            let _ = write!(out, "<p class=\"note\">{}</p>", escape(&self.note));
        }
        out.push_str("</figure>");
        out
    }
}

/// The shape of a series: with the dashes, it tells series apart without their colours.
fn marker(index: usize, x: f64, y: f64, r: f64) -> String {
    match index % 4 {
        0 => format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{r}\"/>"),
        1 => format!(
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{}\" height=\"{}\"/>",
            x - r + 0.4,
            y - r + 0.4,
            2.0 * r - 0.8,
            2.0 * r - 0.8
        ),
        2 => format!(
            "<path d=\"M{x:.1} {:.1}l{:.1} {:.1}h{:.1}z\"/>",
            y - r - 0.6,
            r + 0.6,
            1.8 * r + 0.4,
            -2.0 * (r + 0.6)
        ),
        _ => format!("<path d=\"M{x:.1} {:.1}l{d} {d}l-{d} {d}l-{d} -{d}z\"/>", y - r - 1.0, d = r + 1.0),
    }
}
