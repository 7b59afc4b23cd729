//! The charts of a report, each from its part of the data.

use super::chart::{BOTTOM, Chart, LEFT, RIGHT, TOP};
use super::html::escape;
use super::number::{count, percent, score, tick};
use super::scale::Axis;
use super::{ByLabels, Calibration, Lengths, Training};

/// Score against the number of labelled texts, one line a method, with its intervals.
pub fn by_labels(data: &ByLabels) -> String {
    let points = || data.series.iter().flat_map(|series| &series.points);
    let labels: Vec<f64> = points().map(|point| point.0 as f64).collect();
    let x = Axis::logarithmic(&labels, LEFT, RIGHT, 48.0);
    let values =
        points().flat_map(|(_, s)| [Some(s.value), s.interval.map(|i| i.0), s.interval.map(|i| i.1)]);
    let y = Axis::around(values.flatten(), BOTTOM, TOP, 5);
    let mut chart = Chart::new(
        &format!("{} by number of labelled texts", data.metric),
        &x,
        "labelled training texts (logarithmic scale)",
        &y,
        &data.metric,
    );
    let several = data.series.len();
    for (index, series) in data.series.iter().enumerate() {
        // Whiskers of several methods at the same number of labels stand side by side.
        let shift = (index as f64 - (several as f64 - 1.0) / 2.0) * 6.0;
        let places: Vec<(f64, f64)> = series
            .points
            .iter()
            .filter(|(_, s)| s.value.is_finite())
            .map(|(labels, s)| (x.at(*labels as f64) + shift, y.at(s.value)))
            .collect();
        for (labels, s) in &series.points {
            if let Some((low, high)) = s.interval.filter(|i| i.0.is_finite() && i.1.is_finite()) {
                chart.whisker(index, x.at(*labels as f64) + shift, y.at(low), y.at(high));
            }
        }
        chart.line(index, &places);
        for (place, (labels, s)) in
            places.iter().zip(series.points.iter().filter(|(_, s)| s.value.is_finite()))
        {
            let hint = format!("{}, {} labels: {}", series.name, count(*labels), super::tables::interval(s));
            chart.marker(index, place.0, place.1, &hint);
        }
        chart.legend(index, &series.name);
    }
    if points().any(|(_, score)| score.interval.is_some()) {
        let whiskers = if data.whiskers.is_empty() { "95% intervals" } else { &data.whiskers };
        chart.note(&format!("Whiskers: {whiskers}."));
    }
    chart.finish()
}

/// Loss, development metric and learning rate by step: as many of them as there is data for.
pub(crate) fn training(data: &Training) -> Vec<String> {
    let lists = [&data.train_loss, &data.dev_loss, &data.dev_metric, &data.learning_rate];
    let highest = lists.iter().flat_map(|list| list.iter().map(|point| point.0)).max().unwrap_or(0);
    let x = Axis::from_zero(highest as f64, LEFT, RIGHT, 5);
    let mut out = Vec::new();
    let lost: usize = lists.iter().map(|list| list.iter().filter(|point| !point.1.is_finite()).count()).sum();
    if !(data.train_loss.is_empty() && data.dev_loss.is_empty()) {
        let train = Bucketed::of(&data.train_loss);
        let band = train.points.iter().flat_map(|p| [p.1, p.3, p.2]);
        let y = Axis::around(band.chain(data.dev_loss.iter().map(|p| p.1)).chain([0.0]), BOTTOM, TOP, 5);
        let mut chart = Chart::new("Loss", &x, "step", &y, "loss (nats)");
        epochs(&mut chart, data, &x, highest);
        if train.averaged {
            let band: Vec<_> = train.points.iter().map(|p| (x.at(p.0), y.at(p.2), y.at(p.3))).collect();
            chart.band(0, &band);
        }
        let line: Vec<_> = train.points.iter().map(|p| (x.at(p.0), y.at(p.1))).collect();
        chart.line(0, &line);
        if !train.points.is_empty() {
            chart.legend(0, if train.averaged { "training (mean and range)" } else { "training" });
        }
        if !data.dev_loss.is_empty() {
            series(&mut chart, 1, "development", &data.dev_loss, &x, &y);
        }
        if lost > 0 {
            chart.note(&format!("{lost} values are not finite numbers and are not drawn."));
        }
        out.push(chart.finish());
    }
    if !data.dev_metric.is_empty() {
        let y = Axis::around(data.dev_metric.iter().map(|p| p.1), BOTTOM, TOP, 5);
        let title = format!("{} on the development set", data.metric);
        let mut chart = Chart::new(&title, &x, "step", &y, &data.metric);
        epochs(&mut chart, data, &x, highest);
        if let Some(best) = data.best_step {
            let at = x.at(best as f64);
            chart.push(format_args!(
                "<line class=\"rule\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{BOTTOM}\"/>"
            ));
            let value = data.dev_metric.iter().find(|p| p.0 == best).map(|p| format!(": {}", score(p.1)));
            chart.note(&format!(
                "Dashed: the weights kept, step {}{}.",
                count(best),
                value.unwrap_or_default()
            ));
        }
        series(&mut chart, 0, "", &data.dev_metric, &x, &y);
        out.push(chart.finish());
    }
    if !data.learning_rate.is_empty() {
        let y = Axis::around(data.learning_rate.iter().map(|p| p.1).chain([0.0]), BOTTOM, TOP, 4);
        let mut chart = Chart::new("Learning rate", &x, "step", &y, "learning rate");
        epochs(&mut chart, data, &x, highest);
        // Every few points, and the peak: averages would cut it off.
        let finite: Vec<&(u64, f64)> = data.learning_rate.iter().filter(|p| p.1.is_finite()).collect();
        let peak = finite.iter().map(|p| p.1).fold(f64::NEG_INFINITY, f64::max);
        let every = finite.len().div_ceil(400).max(1);
        let line: Vec<_> = (0..)
            .zip(finite)
            .filter(|(at, p)| at % every == 0 || p.1 == peak)
            .map(|(_, p)| (x.at(p.0 as f64), y.at(p.1)))
            .collect();
        chart.line(0, &line);
        out.push(chart.finish());
    }
    out
}

/// A line with a marker at each of its points, while they are few.
fn series(chart: &mut Chart, index: usize, name: &str, points: &[(u64, f64)], x: &Axis, y: &Axis) {
    let finite: Vec<&(u64, f64)> = points.iter().filter(|p| p.1.is_finite()).collect();
    let places: Vec<_> = finite.iter().map(|p| (x.at(p.0 as f64), y.at(p.1))).collect();
    chart.line(index, &places);
    if places.len() <= 40 {
        for (place, point) in places.iter().zip(finite) {
            chart.marker(index, place.0, place.1, &format!("step {}: {:.4}", count(point.0), point.1));
        }
    }
    if !name.is_empty() {
        chart.legend(index, name);
    }
}

/// Thin marks where epochs end, while they are few enough to be told apart.
fn epochs(chart: &mut Chart, data: &Training, x: &Axis, highest: u64) {
    let Some(every) = data.steps_per_epoch.filter(|n| *n > 0 && highest / n <= 30) else { return };
    for step in (1..).map(|epoch| epoch * every).take_while(|step| *step < highest) {
        let at = x.at(step as f64);
        chart.push(format_args!(
            "<line class=\"epoch\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{BOTTOM}\"/>"
        ));
    }
}

/// Many points reduced to a few, as (step, mean, lowest, highest).
struct Bucketed {
    points: Vec<(f64, f64, f64, f64)>,
    averaged: bool,
}

impl Bucketed {
    const MOST: usize = 120;

    fn of(points: &[(u64, f64)]) -> Bucketed {
        let finite: Vec<(f64, f64)> =
            points.iter().filter(|p| p.1.is_finite()).map(|p| (p.0 as f64, p.1)).collect();
        let size = finite.len().div_ceil(Bucketed::MOST).max(1);
        let mean = |values: &mut dyn Iterator<Item = f64>, n: usize| values.sum::<f64>() / n as f64;
        let points = finite
            .chunks(size)
            .map(|chunk| {
                let value = mean(&mut chunk.iter().map(|p| p.1), chunk.len());
                let low = chunk.iter().map(|p| p.1).fold(f64::INFINITY, f64::min);
                let high = chunk.iter().map(|p| p.1).fold(f64::NEG_INFINITY, f64::max);
                (mean(&mut chunk.iter().map(|p| p.0), chunk.len()), value, low, high)
            })
            .collect();
        Bucketed { points, averaged: size > 1 }
    }
}

/// How long the texts are, with the line where they are cut.
pub(crate) fn lengths(data: &Lengths) -> String {
    let last = data.bins.iter().map(|bin| bin.1).max().unwrap_or(1);
    let x = Axis::from_zero(last as f64 + 1.0, LEFT, RIGHT, 6);
    let y = Axis::around(data.bins.iter().map(|bin| bin.2 as f64).chain([0.0]), BOTTOM, TOP, 4);
    let mut chart = Chart::new("Length of the texts", &x, "tokens", &y, "texts");
    for (first, end, texts) in &data.bins {
        let (left, right) = (x.at(*first as f64), x.at(*end as f64 + 1.0));
        let top = y.at(*texts as f64);
        let cut = data.maximum.is_some_and(|maximum| *first > maximum);
        // At least a sliver for every bar that is not empty.
        let height = if *texts > 0 { (BOTTOM - top).max(1.0) } else { 0.0 };
        let (width, from) = ((right - left - 1.0).max(0.8), BOTTOM - height);
        let class = if cut { "bar cut" } else { "bar" };
        let texts = count(*texts);
        chart.push(format_args!(
            "<rect class=\"{class}\" x=\"{left:.1}\" y=\"{from:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"><title>{first} \
             to {end} tokens: {texts} texts</title></rect>"
        ));
    }
    if let Some(maximum) = data.maximum {
        if maximum <= last {
            let at = x.at(maximum as f64 + 1.0);
            chart.push(format_args!(
                "<line class=\"rule\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{BOTTOM}\"/>"
            ));
        }
        let share = percent(data.texts_cut as f64 / data.texts.max(1) as f64);
        chart.note(&match data.texts_cut {
            0 => format!("No text is longer than the maximum of {} tokens.", count(maximum)),
            n => format!(
                "Cut at {} tokens: {} of {} texts ({share}) lose {} tokens at their end.",
                count(maximum),
                count(n),
                count(data.texts),
                count(data.tokens_cut)
            ),
        });
    }
    chart.finish()
}

/// The share of each layer in a learnt mix.
pub(crate) fn layers(data: &[(String, f64)]) -> String {
    let x = Axis::from_zero(data.len() as f64, LEFT, RIGHT, data.len().min(12));
    let y = Axis::around(data.iter().map(|(_, share)| *share).chain([0.0]), BOTTOM, TOP, 4);
    let mut chart = Chart::new("What the head reads", &x, "layer (0: embeddings)", &y, "share");
    for (at, (name, share)) in data.iter().enumerate() {
        let (left, right) = (x.at(at as f64), x.at(at as f64 + 1.0));
        let top = y.at(*share);
        let width = (right - left - 2.0).max(0.8);
        let height = (BOTTOM - top).max(1.0);
        chart.push(format_args!(
            "<rect class=\"bar\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"><title>{}: \
             {share:.3}</title></rect>",
            escape(name)
        ));
    }
    chart.note("The softmax of the learnt weights: how much of each layer's hidden states is in what the head reads.");
    chart.finish()
}

/// Predicted probability against what came true.
pub(crate) fn calibration(data: &Calibration) -> String {
    let x = Axis::fixed(0.0, 1.0, 0.2, LEFT, RIGHT);
    let y = Axis::fixed(0.0, 1.0, 0.2, BOTTOM, TOP);
    let mut chart = Chart::new(
        "Can the probabilities be believed?",
        &x,
        "predicted probability",
        &y,
        "share that was right",
    );
    let (x0, y0, x1, y1) = (x.at(0.0), y.at(0.0), x.at(1.0), y.at(1.0));
    chart.push(format_args!("<line class=\"reference\" x1=\"{x0}\" y1=\"{y0}\" x2=\"{x1}\" y2=\"{y1}\"/>"));
    let bins: Vec<&(f64, f64, u64)> =
        data.bins.iter().filter(|bin| bin.2 > 0 && bin.0.is_finite() && bin.1.is_finite()).collect();
    let line: Vec<_> = bins.iter().map(|bin| (x.at(bin.0), y.at(bin.1))).collect();
    chart.line(0, &line);
    let most = bins.iter().map(|bin| bin.2).max().unwrap_or(1) as f64;
    for bin in bins {
        // The area of a point is its share of the texts.
        let r = 2.5 + 6.5 * (bin.2 as f64 / most).sqrt();
        let (px, py) = (x.at(bin.0), y.at(bin.1));
        let hint =
            format!("predicted {}, right {}, {} texts", tick(bin.0, 0.01), tick(bin.1, 0.01), count(bin.2));
        chart.push(format_args!(
            "<g class=\"mark s0\"><circle cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"{r:.1}\"/><title>{hint}</title></g>"
        ));
    }
    chart.note(&format!(
        "On the dotted line a probability means what it says. Expected calibration error {}. Larger points hold more \
         texts.",
        score(data.error)
    ));
    chart.finish()
}
