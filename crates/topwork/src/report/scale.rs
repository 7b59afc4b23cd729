//! From values to positions: ranges, ticks, linear and logarithmic axes.

use super::number::tick;

/// One axis: a range of values laid on a range of pixels.
#[derive(Debug, Clone)]
pub(crate) struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    logarithmic: bool,
    /// Values with their texts.
    pub ticks: Vec<(f64, String)>,
}

impl Axis {
    /// A linear axis over `values`, widened to round numbers, with about `wanted` ticks.
    pub(crate) fn around(values: impl Iterator<Item = f64>, from: f64, to: f64, wanted: usize) -> Axis {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| value.is_finite()) {
            low = low.min(value);
            high = high.max(value);
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        if low == high {
            let room = if low == 0.0 { 1.0 } else { low.abs() * 0.1 };
            (low, high) = (low - room, high + room);
        }
        let step = round_step((high - low) / wanted as f64);
        Axis::fixed((low / step + 1e-9).floor() * step, (high / step - 1e-9).ceil() * step, step, from, to)
    }

    /// A linear axis over exactly this range, with ticks every `step`.
    pub(crate) fn fixed(low: f64, high: f64, step: f64, from: f64, to: f64) -> Axis {
        let n = ((high - low) / step + 1e-6).floor().clamp(0.0, 100.0) as usize;
        let ticks = (0..=n).map(|i| low + i as f64 * step).map(|value| (value, tick(value, step))).collect();
        Axis { low, high, from, to, logarithmic: false, ticks }
    }

    /// A linear axis from zero to the largest value, ending there, with round ticks: for steps.
    pub(crate) fn from_zero(highest: f64, from: f64, to: f64, wanted: usize) -> Axis {
        let high = if highest > 0.0 { highest } else { 1.0 };
        Axis::fixed(0.0, high, round_step(high / wanted as f64).max(1.0), from, to)
    }

    /// A logarithmic axis with ticks at `values` themselves, leaving out those closer than `room` pixels.
    pub(crate) fn logarithmic(values: &[f64], from: f64, to: f64, room: f64) -> Axis {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min).max(1.0);
        let high = values.iter().copied().fold(1.0, f64::max);
        // Room at both ends keeps markers off the frame.
        let (low, high) = if low < high { (low / 1.3, high * 1.3) } else { (low / 2.0, high * 2.0) };
        let mut axis = Axis { low, high, from, to, logarithmic: true, ticks: Vec::new() };
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted.dedup();
        // From the right: all labels, the largest number, is the one that must be named.
        let mut last = f64::INFINITY;
        for value in sorted.into_iter().rev() {
            let at = axis.at(value);
            if last - at >= room {
                axis.ticks.insert(0, (value, super::number::count(value.round() as u64)));
                last = at;
            }
        }
        axis
    }

    /// The position of a value, held inside the axis.
    pub(crate) fn at(&self, value: f64) -> f64 {
        let share = if self.logarithmic {
            (value.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.from + share.clamp(0.0, 1.0) * (self.to - self.from)
    }
}

/// The round step (1, 2, 2.5 or 5 times a power of ten) nearest above `raw`.
pub(crate) fn round_step(raw: f64) -> f64 {
    if !raw.is_finite() || raw <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(raw.log10().floor());
    let factor = [1.0, 2.0, 2.5, 5.0].into_iter().find(|factor| raw <= factor * power * (1.0 + 1e-9));
    factor.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_cover_the_values() {
        let axis = Axis::around([0.61, 0.885].into_iter(), 200.0, 0.0, 4);
        let texts: Vec<&str> = axis.ticks.iter().map(|tick| tick.1.as_str()).collect();
        assert_eq!(texts, ["0.6", "0.7", "0.8", "0.9"]);
        assert_eq!((axis.at(0.6), axis.at(0.9), axis.at(99.0)), (200.0, 0.0, 0.0));
    }

    #[test]
    fn nothing_and_nonsense_give_an_axis() {
        for values in
            [vec![], vec![f64::NAN], vec![3.0], vec![0.0], vec![f64::INFINITY, 1.0], vec![1e300, -1e300]]
        {
            let axis = Axis::around(values.clone().into_iter(), 0.0, 100.0, 4);
            assert!(axis.at(1.0).is_finite() && axis.ticks.len() >= 2, "{values:?}");
        }
        assert!(Axis::from_zero(0.0, 0.0, 100.0, 5).at(0.5).is_finite());
    }

    #[test]
    fn close_ticks_are_left_out_and_the_last_stays() {
        let axis = Axis::logarithmic(&[16.0, 64.0, 256.0, 2900.0, 2982.0], 0.0, 300.0, 34.0);
        let texts: Vec<&str> = axis.ticks.iter().map(|tick| tick.1.as_str()).collect();
        assert_eq!(texts, ["16", "64", "256", "2,982"]);
    }
}
