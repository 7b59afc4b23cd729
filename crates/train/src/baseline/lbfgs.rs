//! Limited-memory BFGS for smooth convex functions.
//!
//! Paper: Liu & Nocedal 1989, algorithm 2.1, <https://doi.org/10.1007/BF01589116>; line search by bisection
//! for the weak Wolfe conditions: Lewis & Overton 2013, section 2.2, <https://doi.org/10.1007/s10107-012-0514-2>.

use std::collections::VecDeque;

/// When to stop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stop {
    /// Largest length of the gradient at which the point counts as the minimum.
    pub gradient: f64,
    /// Relative rounding of the function: smaller changes of it mean nothing.
    pub rounding: f64,
    /// Most iterations.
    pub iterations: usize,
}

/// Where the search ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Minimum {
    /// The point.
    pub point: Vec<f64>,
    /// Iterations made.
    pub iterations: usize,
    /// Whether the gradient is short enough, or the rounding of the function allows no further step.
    pub converged: bool,
}

/// Steps remembered, unless the point is so long that they would fill the memory.
const HISTORY: usize = 10;
/// Numbers all remembered steps may take together (f64: half a gigabyte).
const HISTORY_NUMBERS: usize = 64 << 20;
/// Trial points of one line search.
const TRIALS: usize = 40;
/// Iterations without any progress, in value beyond its rounding or in gradient, after which none is expected.
const PATIENCE: usize = 20;

/// Minimises `function`, which writes the gradient at a point and returns the value there.
pub(super) fn minimise(
    mut function: impl FnMut(&[f64], &mut [f64]) -> f64,
    start: Vec<f64>,
    stop: Stop,
) -> Minimum {
    let length = start.len();
    let history = (HISTORY_NUMBERS / (2 * length.max(1))).clamp(3, HISTORY);
    let mut point = start;
    let mut gradient = vec![0.0; length];
    let mut value = function(&point, &mut gradient);
    let mut steps: VecDeque<Step> = VecDeque::new();
    let (mut next_point, mut next_gradient) = (vec![0.0; length], vec![0.0; length]);
    let mut mark = Mark { value, gradient: norm(&gradient), iteration: 0 };
    for iteration in 0..stop.iterations {
        if norm(&gradient) <= stop.gradient {
            return Minimum { point, iterations: iteration, converged: true };
        }
        let mut direction = descent(&gradient, &steps);
        let mut slope = dot(&direction, &gradient);
        if slope >= 0.0 {
            // Rounding has spoilt what was remembered.
            steps.clear();
            direction = gradient.iter().map(|g| -g).collect();
            slope = -dot(&gradient, &gradient);
        }
        let first = if steps.is_empty() { (1.0 / norm(&gradient)).min(1.0) } else { 1.0 };
        let (mut low, mut high, mut length_of_step) = (0.0, f64::INFINITY, first);
        let mut accepted = None;
        let slack = stop.rounding * value.abs();
        for _ in 0..TRIALS {
            for ((next, x), d) in next_point.iter_mut().zip(&point).zip(&direction) {
                *next = x + length_of_step * d;
            }
            let next_value = function(&next_point, &mut next_gradient);
            if next_value.is_nan() || next_value > value + 1e-4 * length_of_step * slope + slack {
                high = length_of_step;
            } else if dot(&next_gradient, &direction) < 0.9 * slope {
                low = length_of_step;
            } else {
                accepted = Some(next_value);
                break;
            }
            length_of_step = if high.is_finite() { (low + high) / 2.0 } else { 2.0 * low };
        }
        let Some(next_value) = accepted else {
            // No step is better than staying: as near as the rounding of the function lets us come.
            return Minimum { point, iterations: iteration, converged: !steps.is_empty() };
        };
        let step: Vec<f64> = next_point.iter().zip(&point).map(|(a, b)| a - b).collect();
        let change: Vec<f64> = next_gradient.iter().zip(&gradient).map(|(a, b)| a - b).collect();
        let curvature = dot(&step, &change);
        if curvature > f64::EPSILON * norm(&step) * norm(&change) {
            if steps.len() == history {
                steps.pop_front();
            }
            steps.push_back(Step {
                scale: curvature / dot(&change, &change),
                inverse: 1.0 / curvature,
                step,
                change,
            });
        }
        value = next_value;
        std::mem::swap(&mut point, &mut next_point);
        std::mem::swap(&mut gradient, &mut next_gradient);
        if value < mark.value - slack || norm(&gradient) < mark.gradient {
            mark = Mark { value, gradient: norm(&gradient), iteration };
        } else if iteration - mark.iteration >= PATIENCE {
            return Minimum { point, iterations: iteration + 1, converged: true };
        }
    }
    let converged = norm(&gradient) <= stop.gradient;
    Minimum { point, iterations: stop.iterations, converged }
}

/// The last progress seen.
struct Mark {
    value: f64,
    gradient: f64,
    iteration: usize,
}

/// A step made and what it did to the gradient.
struct Step {
    step: Vec<f64>,
    change: Vec<f64>,
    inverse: f64,
    scale: f64,
}

/// Minus the gradient times the remembered inverse curvature (the two-loop recursion).
fn descent(gradient: &[f64], steps: &VecDeque<Step>) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut shares = Vec::with_capacity(steps.len());
    for past in steps.iter().rev() {
        let share = past.inverse * dot(&past.step, &direction);
        add(&mut direction, -share, &past.change);
        shares.push(share);
    }
    if let Some(last) = steps.back() {
        direction.iter_mut().for_each(|d| *d *= last.scale);
    }
    for (past, share) in steps.iter().zip(shares.into_iter().rev()) {
        let back = past.inverse * dot(&past.change, &direction);
        add(&mut direction, share - back, &past.step);
    }
    direction
}

/// Eight running sums, so that the compiler may keep them in vector registers; the order is fixed.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (a_parts, b_parts) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a_parts.remainder().iter().zip(b_parts.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a_parts.zip(b_parts) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f64>() + rest
}

fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

fn add(to: &mut [f64], scale: f64, what: &[f64]) {
    to.iter_mut().zip(what).for_each(|(to, what)| *to += scale * what);
}

#[cfg(test)]
mod tests {
    use super::*;

    const STOP: Stop = Stop { gradient: 1e-10, rounding: 1e-14, iterations: 500 };

    #[test]
    fn a_badly_scaled_bowl() {
        // sum c_i (x_i - i)^2 with c from 1 to 100.
        let scale = |i: usize| 10f64.powf(i as f64 / 10.0);
        let function = |x: &[f64], gradient: &mut [f64]| {
            for (i, (x, g)) in x.iter().zip(gradient.iter_mut()).enumerate() {
                *g = 2.0 * scale(i) * (x - i as f64);
            }
            x.iter().enumerate().map(|(i, x)| scale(i) * (x - i as f64).powi(2)).sum()
        };
        let minimum = minimise(function, vec![0.0; 21], STOP);
        assert!(minimum.converged && minimum.iterations < 200, "{minimum:?}");
        for (i, x) in minimum.point.iter().enumerate() {
            assert!((x - i as f64).abs() < 1e-9, "{i}: {x}");
        }
    }

    #[test]
    fn a_curved_valley() {
        let rosenbrock = |x: &[f64], g: &mut [f64]| {
            let (a, b) = (1.0 - x[0], x[1] - x[0] * x[0]);
            g[0] = -2.0 * a - 400.0 * x[0] * b;
            g[1] = 200.0 * b;
            a * a + 100.0 * b * b
        };
        let minimum = minimise(rosenbrock, vec![-1.2, 1.0], STOP);
        assert!(minimum.converged, "{minimum:?}");
        assert!(minimum.point.iter().all(|x| (x - 1.0).abs() < 1e-8), "{minimum:?}");
    }

    #[test]
    fn running_out_of_iterations_is_said() {
        let function = |x: &[f64], g: &mut [f64]| {
            g.iter_mut().zip(x).enumerate().for_each(|(i, (g, x))| *g = (i + 1) as f64 * 4.0 * x.powi(3));
            x.iter().enumerate().map(|(i, x)| (i + 1) as f64 * x.powi(4)).sum()
        };
        let minimum = minimise(function, vec![5.0, 4.0, 3.0], Stop { iterations: 2, ..STOP });
        assert_eq!((minimum.iterations, minimum.converged), (2, false));
    }

    #[test]
    fn the_start_may_be_the_minimum() {
        let minimum = minimise(
            |_, g| {
                g.fill(0.0);
                1.0
            },
            vec![3.0],
            STOP,
        );
        assert_eq!(minimum, Minimum { point: vec![3.0], iterations: 0, converged: true });
    }
}
