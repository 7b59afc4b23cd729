//! Claims about chains of labels: likelihood, marginals and the best labelling, against every labelling there is.

use super::*;
use crate::testing::{close, gradient, random, same_on_any_threads};

/// Everything of a case in one list of numbers: scores of rows, transitions, start, end.
struct Case {
    labels: usize,
    offsets: Vec<u32>,
    target: Vec<u32>,
    numbers: Vec<f32>,
}

impl Case {
    fn new(seed: u64, labels: usize, offsets: &[u32], skip: &[usize]) -> Self {
        let rows = offsets[offsets.len() - 1] as usize;
        let numbers = random(seed, rows * labels + labels * (labels + 2));
        let picks = random(seed + 1, rows);
        let mut target: Vec<u32> = picks.iter().map(|x| (x.abs() * 1000.0) as u32 % labels as u32).collect();
        skip.iter().for_each(|&row| target[row] = IGNORE);
        Case { labels, offsets: offsets.to_vec(), target, numbers }
    }

    fn parts<'a, T>(&self, numbers: &'a [T]) -> [&'a [T]; 4] {
        let (emissions, rest) = numbers.split_at(self.target.len() * self.labels);
        let (transitions, rest) = rest.split_at(self.labels * self.labels);
        let (start, end) = rest.split_at(self.labels);
        [emissions, transitions, start, end]
    }

    fn chain(&self) -> (&[f32], Chain<'_>) {
        let [emissions, transitions, start, end] = self.parts(&self.numbers);
        (emissions, Chain { transitions, start, end })
    }

    /// Every labelling of the rows of a text, with its score.
    fn labellings(&self, numbers: &[f64], rows: &[usize]) -> Vec<(Vec<usize>, f64)> {
        let [emissions, transitions, start, end] = self.parts(numbers);
        let labels = self.labels;
        let mut all = Vec::new();
        for mut code in 0..labels.pow(rows.len() as u32) {
            let path: Vec<usize> = rows
                .iter()
                .map(|_| {
                    let label = code % labels;
                    code /= labels;
                    label
                })
                .collect();
            let mut score = start[path[0]] + end[path[path.len() - 1]];
            score += rows.iter().zip(&path).map(|(row, label)| emissions[row * labels + label]).sum::<f64>();
            score += path.windows(2).map(|pair| transitions[pair[0] * labels + pair[1]]).sum::<f64>();
            all.push((path, score));
        }
        all
    }

    fn texts(&self) -> Vec<Vec<usize>> {
        self.offsets.windows(2).map(|pair| asked(pair, &self.target)).collect()
    }

    fn loss_by_hand(&self, numbers: &[f64]) -> f64 {
        let mut sum = 0.0;
        for rows in self.texts().iter().filter(|rows| !rows.is_empty()) {
            let all = self.labellings(numbers, rows);
            let wanted: Vec<usize> = rows.iter().map(|&row| self.target[row] as usize).collect();
            let own = all.iter().find(|(path, _)| *path == wanted).unwrap().1;
            sum += all.iter().map(|(_, score)| score.exp()).sum::<f64>().ln() - own;
        }
        sum / count(&self.target) as f64
    }
}

fn cases() -> Vec<Case> {
    vec![
        Case::new(1, 1, &[0, 1, 3], &[]),
        Case::new(2, 2, &[0, 1], &[]),
        Case::new(3, 3, &[0, 5, 5, 6, 9], &[]),
        Case::new(4, 3, &[0, 5, 7, 11, 12], &[0, 3, 5, 6, 10]),
        Case::new(5, 5, &[0, 4, 9], &[8]),
    ]
}

#[test]
fn loss_and_gradients_are_those_of_a_sum_over_all_labellings() {
    for case in cases() {
        let (emissions, chain) = case.chain();
        let wide: Vec<f64> = case.numbers.iter().map(|&x| f64::from(x)).collect();
        close(&[forward(emissions, &case.offsets, &case.target, chain)], &[case.loss_by_hand(&wide)], 1e-6);
        let labels = case.labels;
        let mut d = vec![f32::NAN; case.numbers.len()];
        let (d_emissions, rest) = d.split_at_mut(emissions.len());
        let (d_transitions, rest) = rest.split_at_mut(labels * labels);
        let (d_start, d_end) = rest.split_at_mut(labels);
        backward(
            emissions,
            &case.offsets,
            &case.target,
            chain,
            2.0,
            d_emissions,
            d_transitions,
            d_start,
            d_end,
        );
        let expected = gradient(&case.numbers, |x| 2.0 * case.loss_by_hand(x));
        let scale = expected.iter().fold(0.0, |scale: f64, x| scale.max(x.abs()));
        if scale > 0.0 {
            close(&d, &expected, 1e-6);
        } else {
            assert!(d.iter().all(|&d| d == 0.0), "one label: nothing to learn");
        }
    }
}

#[test]
fn marginals_and_the_best_labelling_are_those_among_all() {
    let mut seen = 0;
    for mut case in cases() {
        case.target.fill(0);
        let labels = case.labels;
        let wide: Vec<f64> = case.numbers.iter().map(|&x| f64::from(x)).collect();
        let (emissions, chain) = case.chain();
        let shares = marginals(emissions, &case.offsets, chain);
        let path = viterbi(emissions, &case.offsets, chain, None);
        for rows in case.texts().iter().filter(|rows| !rows.is_empty()) {
            let all = case.labellings(&wide, rows);
            let whole: f64 = all.iter().map(|(_, score)| score.exp()).sum();
            for (at, &row) in rows.iter().enumerate() {
                for label in 0..labels {
                    let own = all.iter().filter(|(path, _)| path[at] == label);
                    let expected = own.map(|(_, score)| score.exp()).sum::<f64>() / whole;
                    let got = f64::from(shares[row * labels + label]);
                    assert!((got - expected).abs() < 1e-6, "{got} instead of {expected}");
                }
            }
            let best = all.iter().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
            let got: Vec<usize> = rows.iter().map(|&row| path[row] as usize).collect();
            assert_eq!(got, best.0);
            seen += rows.len();
        }
    }
    assert!(seen > 30, "{seen}");
}

#[test]
fn a_barred_step_is_taken_only_where_there_is_no_other_way() {
    let case = Case::new(7, 3, &[0, 6], &[]);
    let (emissions, chain) = case.chain();
    let barred = Barred {
        start: vec![false, true, true],
        // From 0 to 2 and from 2 to anything but 2.
        between: vec![false, false, true, false, false, false, true, true, false],
        end: vec![true, true, false],
    };
    let allowed = |path: &[usize]| {
        let steps = path.windows(2).all(|pair| !barred.between[pair[0] * 3 + pair[1]]);
        steps && !barred.start[path[0]] && !barred.end[path[5]]
    };
    let wide: Vec<f64> = case.numbers.iter().map(|&x| f64::from(x)).collect();
    let all = case.labellings(&wide, &[0, 1, 2, 3, 4, 5]);
    let best = all.iter().filter(|(path, _)| allowed(path)).max_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
    let got = viterbi(emissions, &case.offsets, chain, Some(&barred));
    assert_eq!(got.iter().map(|&label| label as usize).collect::<Vec<_>>(), best.0);
    // One row cannot both begin and end.
    let one = viterbi(&emissions[..3], &[0, 1], chain, Some(&barred));
    assert_eq!(one.len(), 1);
}

#[test]
fn scores_far_apart_lose_nothing() {
    // The only good way leads through steps whose exponentials underflow beside the others'.
    let emissions = [0.0, -2000.0, -2000.0, 0.0, 0.0, -2000.0];
    let transitions = [-3000.0, -1000.0, -1000.0, 0.0];
    let chain = Chain { transitions: &transitions, start: &[0.0; 2], end: &[0.0; 2] };
    let offsets = [0, 3];
    let loss = forward(&emissions, &offsets, &[0, 1, 0], chain);
    assert!(loss.abs() < 1e-6, "{loss}");
    let shares = marginals(&emissions, &offsets, chain);
    close(&shares, &[1.0, 0.0, 0.0, 1.0, 1.0, 0.0], 1e-6);
    let (mut d, mut d_t, mut d_s, mut d_e) = ([f32::NAN; 6], [f32::NAN; 4], [f32::NAN; 2], [f32::NAN; 2]);
    backward(&emissions, &offsets, &[0, 1, 0], chain, 1.0, &mut d, &mut d_t, &mut d_s, &mut d_e);
    assert!(d.iter().chain(&d_t).chain(&d_s).chain(&d_e).all(|d| d.abs() < 1e-6), "{d:?} {d_t:?}");
}

#[test]
fn a_nan_stays_visible_and_nothing_to_learn_is_nan() {
    let zeros = [0.0; 4];
    let chain = Chain { transitions: &zeros, start: &zeros[..2], end: &zeros[..2] };
    assert!(forward(&[0.0, 1.0], &[0, 1], &[IGNORE], chain).is_nan());
    assert!(forward(&[0.0, f32::NAN, 0.0, 0.0], &[0, 2], &[0, 0], chain).is_nan());
    let bad = [0.0, 0.0, f32::NAN, 0.0];
    let broken = Chain { transitions: &bad, ..chain };
    assert!(forward(&[0.0; 4], &[0, 2], &[0, 0], broken).is_nan());
}

#[test]
fn neither_threads_nor_other_texts_change_bits() {
    let offsets: Vec<u32> = (0..=60).map(|text| text * 9).collect();
    let case = Case::new(9, 11, &offsets, &[3, 4, 77]);
    let (emissions, chain) = case.chain();
    let all = || {
        let mut d = vec![0.0; emissions.len()];
        let (mut d_t, mut d_s, mut d_e) = (vec![0.0; 121], vec![0.0; 11], vec![0.0; 11]);
        backward(emissions, &offsets, &case.target, chain, 1.0, &mut d, &mut d_t, &mut d_s, &mut d_e);
        let path = viterbi(emissions, &offsets, chain, None).into_iter().map(|label| label as f32);
        let loss = forward(emissions, &offsets, &case.target, chain);
        let shares = marginals(emissions, &offsets, chain);
        [d, d_t, d_s, d_e, path.collect(), vec![loss], shares].concat()
    };
    same_on_any_threads(all);
    let whole = marginals(emissions, &offsets, chain);
    let path = viterbi(emissions, &offsets, chain, None);
    for text in [0, 17, 59] {
        let rows = text * 9..(text + 1) * 9;
        let own = &emissions[rows.start * 11..rows.end * 11];
        assert_eq!(marginals(own, &[0, 9], chain), whole[rows.start * 11..rows.end * 11]);
        assert_eq!(viterbi(own, &[0, 9], chain, None), path[rows]);
    }
}
