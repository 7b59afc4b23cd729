//! A part of a tensor put into its place.

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
}
