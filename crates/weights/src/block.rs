//! A part of a tensor put into its place, and axes turned.

/// Copies `part` of `part_shape` into the tensor `into` of `shape`, its first element to `at`; what reaches over the edge is
/// left out. All row-major. Shapes that do not fit their data leave the tensor as it is.
pub(crate) fn place(part: &[f32], part_shape: &[usize], at: &[usize], into: &mut [f32], shape: &[usize]) {
    let rank = shape.len();
    if part_shape.len() != rank || at.len() != rank || at.iter().zip(shape).any(|(at, len)| at >= len) {
        return;
    }
    let Some(last) = rank.checked_sub(1) else {
        into.copy_from_slice(part);
        return;
    };
    let len: Vec<usize> = (0..rank).map(|axis| part_shape[axis].min(shape[axis] - at[axis])).collect();
    let rows: usize = len[..last].iter().product();
    for row in 0..rows {
        let (mut rest, mut from, mut to) = (row, 0, at[last]);
        let (mut from_step, mut to_step) = (part_shape[last], shape[last]);
        for axis in (0..last).rev() {
            let along = rest % len[axis];
            rest /= len[axis];
            from += along * from_step;
            to += (at[axis] + along) * to_step;
            from_step *= part_shape[axis];
            to_step *= shape[axis];
        }
        if let (Some(into), Some(part)) = (into.get_mut(to..to + len[last]), part.get(from..from + len[last]))
        {
            into.copy_from_slice(part);
        }
    }
}

/// A tensor with its axes in another order: axis `n` of the result is axis `axes[n]` of `data`, whose shape is `shape`.
pub(crate) fn turn(data: &[f32], shape: &[usize], axes: &[usize]) -> Vec<f32> {
    // Elements from one to the next along each axis of the result.
    let step = |axis: &usize| shape[axis + 1..].iter().product::<usize>();
    let steps: Vec<usize> = axes.iter().map(step).collect();
    let lens: Vec<usize> = axes.iter().map(|axis| shape[*axis]).collect();
    let mut turned = Vec::with_capacity(data.len());
    let mut place = vec![0; lens.len()];
    let mut at = 0;
    for _ in 0..data.len() {
        turned.push(data[at]);
        for axis in (0..lens.len()).rev() {
            place[axis] += 1;
            at += steps[axis];
            if place[axis] < lens[axis] {
                break;
            }
            at -= steps[axis] * lens[axis];
            place[axis] = 0;
        }
    }
    turned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_lands_in_its_place_and_is_cut_at_the_edge() {
        let mut whole = vec![0.0; 12];
        place(&[1.0, 2.0, 3.0, 4.0], &[2, 2], &[1, 1], &mut whole, &[3, 4]);
        assert_eq!(whole, [0., 0., 0., 0., 0., 1., 2., 0., 0., 3., 4., 0.]);
        place(&[5.0, 6.0, 7.0, 8.0], &[2, 2], &[2, 3], &mut whole, &[3, 4]);
        assert_eq!(whole[11], 5.0);
        let before = whole.clone();
        place(&[9.0; 4], &[2, 2], &[3, 0], &mut whole, &[3, 4]);
        assert_eq!(whole, before);
        let mut cube = vec![0.0; 8];
        place(&[1.0, 2.0], &[2, 1, 1], &[0, 1, 0], &mut cube, &[2, 2, 2]);
        assert_eq!(cube, [0., 0., 1., 0., 0., 0., 2., 0.]);
    }

    #[test]
    fn axes_turn() {
        let data: Vec<f32> = (0..24).map(|x| x as f32).collect();
        assert_eq!(turn(&data[..6], &[2, 3], &[1, 0]), [0., 3., 1., 4., 2., 5.]);
        let turned = turn(&data, &[2, 3, 4], &[2, 0, 1]);
        for (a, b, c) in (0..2).flat_map(|a| (0..3).flat_map(move |b| (0..4).map(move |c| (a, b, c)))) {
            assert_eq!(turned[c * 6 + a * 3 + b], data[a * 12 + b * 4 + c]);
        }
        assert_eq!(turn(&[7.0], &[], &[]), [7.0]);
        assert!(turn(&[], &[0, 3], &[1, 0]).is_empty());
    }
}
