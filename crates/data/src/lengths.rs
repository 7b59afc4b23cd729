//! How long the texts are in tokens, what maximum length to take, and what it costs.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

/// Texts with a length from `from` to `to`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bin {
    /// Shortest length counted here.
    pub from: usize,
    /// Longest length counted here.
    pub to: usize,
    /// Number of texts.
    pub count: usize,
}

/// What a maximum length would cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// Texts that lose something.
    pub texts: usize,
    /// Tokens lost over all texts.
    pub tokens: usize,
}

/// Lengths of the texts of a set.
#[derive(Clone, Debug, PartialEq)]
pub struct LengthReport {
    sorted: Vec<usize>,
    model_max: Option<usize>,
}

/// Most bars in the histogram.
const BARS: usize = 16;
/// Share of the texts that the proposed length leaves whole.
const COVERED: f64 = 0.99;

impl LengthReport {
    /// From lengths in tokens, special tokens included and nothing cut; `model_max` is the most the model reads.
    pub fn new(lengths: impl IntoIterator<Item = usize>, model_max: Option<usize>) -> Self {
        let mut sorted: Vec<usize> = lengths.into_iter().collect();
        sorted.sort_unstable();
        Self { sorted, model_max }
    }

    /// Number of texts.
    pub fn texts(&self) -> usize {
        self.sorted.len()
    }

    /// Tokens over all texts.
    pub fn tokens(&self) -> usize {
        self.sorted.iter().sum()
    }

    /// Mean length, 0 without texts.
    pub fn mean(&self) -> f64 {
        self.tokens() as f64 / self.texts().max(1) as f64
    }

    /// The longest text, 0 without texts.
    pub fn longest(&self) -> usize {
        self.sorted.last().copied().unwrap_or(0)
    }

    /// The smallest length that at least this share (0 to 1) of the texts does not pass.
    pub fn quantile(&self, share: f64) -> usize {
        let rank = (share.clamp(0.0, 1.0) * self.texts() as f64).ceil() as usize;
        self.sorted.get(rank.max(1) - 1).copied().unwrap_or(0)
    }

    /// The smallest multiple of 8 that leaves 99% of the texts whole, but no more than the model reads.
    pub fn proposed(&self) -> usize {
        let wanted = self.quantile(COVERED).max(1).next_multiple_of(8);
        self.model_max.map_or(wanted, |most| wanted.min(most))
    }

    /// What a maximum length would cut.
    pub fn cut_at(&self, max_tokens: usize) -> Cut {
        let whole = self.sorted.partition_point(|&length| length <= max_tokens);
        let long = &self.sorted[whole..];
        Cut { texts: long.len(), tokens: long.iter().map(|length| length - max_tokens).sum() }
    }

    /// The share of padding (0 to 1) if every text were padded to `max_tokens`, as other programs do. Here nothing is.
    pub fn padding_at(&self, max_tokens: usize) -> f64 {
        let grid = self.texts() * max_tokens;
        let real: usize = self.sorted.iter().map(|&length| length.min(max_tokens)).sum();
        if grid == 0 { 0.0 } else { 1.0 - real as f64 / grid as f64 }
    }

    /// The histogram: at most 16 bars of one width, and a last one for what is longer than twice the 99% length.
    pub fn bins(&self) -> Vec<Bin> {
        if self.sorted.is_empty() {
            return Vec::new();
        }
        // One very long text must not squeeze all others into one bar.
        let end = self.longest().min(2 * self.quantile(COVERED)).max(1);
        let width =
            [1, 2, 4, 5, 8, 10, 16, 20, 25, 32, 40, 50, 64, 80, 100, 128, 160, 200, 256, 320, 400, 512]
                .into_iter()
                .find(|width| end.div_ceil(*width) <= BARS)
                .unwrap_or_else(|| end.div_ceil(BARS).next_multiple_of(128));
        let below = |length: usize| self.sorted.partition_point(|&text| text <= length);
        let mut bins = Vec::new();
        let mut from = 1;
        while from <= end {
            let to = from + width - 1;
            bins.push(Bin { from, to, count: below(to) - below(from - 1) });
            from = to + 1;
        }
        if let Some(last) = bins.last().copied()
            && self.longest() > last.to
        {
            bins.push(Bin { from: last.to + 1, to: self.longest(), count: self.texts() - below(last.to) });
        }
        let zero = below(0);
        if zero > 0 {
            bins.insert(0, Bin { from: 0, to: 0, count: zero });
        }
        bins
    }

    /// The histogram, the proposed length and its price as text of at most `columns` columns.
    pub fn render(&self, columns: usize) -> String {
        let mut out = String::new();
        let bins = self.bins();
        let tallest = bins.iter().map(|bin| bin.count).max().unwrap_or(0);
        let bar_columns = columns.saturating_sub(24).max(8);
        for bin in &bins {
            let range =
                if bin.from == bin.to { bin.from.to_string() } else { format!("{}-{}", bin.from, bin.to) };
            let line = format!("{range:>11} {:>8}  {}", bin.count, bar(bin.count, tallest, bar_columns));
            let _ = writeln!(out, "{}", line.trim_end());
        }
        let _ = writeln!(
            out,
            "{} texts, {} tokens; mean {:.1}, median {}, 95% {}, 99% {}, longest {}",
            self.texts(),
            self.tokens(),
            self.mean(),
            self.quantile(0.5),
            self.quantile(0.95),
            self.quantile(COVERED),
            self.longest()
        );
        let proposed = self.proposed();
        let cut = self.cut_at(proposed);
        let share = |part: usize, whole: usize| 100.0 * part as f64 / whole.max(1) as f64;
        let _ = writeln!(
            out,
            "proposed maximum length {proposed}: cuts {} texts ({:.2}%) and {} tokens ({:.2}%)",
            cut.texts,
            share(cut.texts, self.texts()),
            cut.tokens,
            share(cut.tokens, self.tokens())
        );
        let _ = writeln!(
            out,
            "padding to {proposed} would make {:.1}% of all tokens padding; nothing is padded here",
            100.0 * self.padding_at(proposed)
        );
        out
    }
}

/// A bar of eighth blocks. Any count above 0 shows.
fn bar(count: usize, tallest: usize, columns: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    if count == 0 || tallest == 0 {
        return String::new();
    }
    let eighths = (count * columns * 8 / tallest).max(1);
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_proposal_covers_99_in_100_and_names_its_price() {
        let mut lengths: Vec<usize> = vec![20; 98];
        lengths.extend([21, 300]);
        let report = LengthReport::new(lengths.clone(), Some(512));
        assert_eq!(report.proposed(), 24);
        assert_eq!(report.cut_at(24), Cut { texts: 1, tokens: 276 });
        assert_eq!(LengthReport::new(lengths, Some(16)).proposed(), 16);
        let padded = report.padding_at(24);
        assert!((padded - (1.0 - (98.0 * 20.0 + 21.0 + 24.0) / 2400.0)).abs() < 1e-12);
        let text = report.render(80);
        assert!(text.contains("proposed maximum length 24: cuts 1 texts (1.00%)"), "{text}");
        assert!(text.contains('█'), "{text}");
    }

    #[test]
    fn no_text_is_no_trouble() {
        let report = LengthReport::new([], None);
        assert_eq!(report.proposed(), 8);
        assert!(report.bins().is_empty());
        assert_eq!(report.padding_at(10), 0.0);
        assert!(report.render(40).contains("0 texts"));
    }

    proptest! {
        #[test]
        fn bars_count_every_text_once(lengths in prop::collection::vec(0usize..5000, 1..300)) {
            let report = LengthReport::new(lengths.clone(), None);
            let bins = report.bins();
            prop_assert_eq!(bins.iter().map(|bin| bin.count).sum::<usize>(), lengths.len());
            prop_assert!(bins.len() <= BARS + 2);
            for pair in bins.windows(2) {
                prop_assert_eq!(pair[0].to + 1, pair[1].from);
            }
            for line in report.render(60).lines().take(bins.len()) {
                prop_assert!(line.chars().count() <= 60);
            }
        }
    }
}
