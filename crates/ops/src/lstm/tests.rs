use burn::backend::DispatchTensor;

use super::*;
use crate::{
    Precision,
    check::{Case, OFFSETS, close, floats, normal},
};

/// Sequences of no token among others.
const WITH_EMPTY: &[u32] = &[0, 2, 2, 6, 6];

pub(crate) fn gradients() -> usize {
    let mut checked = 0;
    for offsets in OFFSETS.into_iter().chain([WITH_EMPTY]) {
        let (tokens, batch) = (*offsets.last().unwrap() as usize, offsets.len() - 1);
        let offsets: Arc<[u32]> = offsets.into();
        for (reverse, has_state) in [(false, true), (true, false), (true, true)] {
            for (cell, projects, clips) in [(5, None, false), (6, Some(3), false), (6, Some(4), true)] {
                let hidden = projects.unwrap_or(cell);
                let clip = clips.then_some(0.5);
                let settings =
                    Lstm { reverse, cell_clip: clip, projection_clip: clip, precision: Precision::F32 };
                let mut shapes = vec![vec![tokens, 4 * cell], vec![4 * cell, hidden]];
                shapes.extend(projects.map(|hidden| vec![hidden, cell]));
                shapes.extend(if has_state { vec![vec![batch, hidden], vec![batch, cell]] } else { vec![] });
                let split = |inputs: &[DispatchTensor]| {
                    let mut inputs = inputs.iter().cloned();
                    let mut next = || inputs.next().unwrap();
                    let (gates_x, recurrent) = (next(), next());
                    (gates_x, recurrent, projects.map(|_| next()), has_state.then(|| (next(), next())))
                };
                let case = Case {
                    name: format!("lstm {offsets:?} {cell} {projects:?} {settings:?} state {has_state}"),
                    shapes,
                    operation: &|inputs| {
                        let (gates_x, recurrent, projection, state) = split(inputs);
                        let (h0, c0) = state.unzip();
                        let (projection, h0, c0) = (projection.into(), h0.into(), c0.into());
                        Dispatch::lstm_forward(
                            gates_x,
                            recurrent,
                            projection,
                            h0,
                            c0,
                            offsets.clone(),
                            settings,
                        )
                    },
                    composed: &|inputs| {
                        let (gates_x, recurrent, projection, state) = split(inputs);
                        composed::forward::<Dispatch>(
                            gates_x, recurrent, projection, state, &offsets, settings,
                        )
                        .0
                    },
                };
                checked += case.check();
            }
        }
    }
    checked
}

#[test]
fn the_last_states_are_those_of_the_last_tokens() {
    let offsets: Arc<[u32]> = [0, 3, 3, 8].into();
    for reverse in [false, true] {
        let settings = Lstm { reverse, ..Lstm::default() };
        let (h0, c0) = (normal::<2>([3, 6], 3), normal::<2>([3, 6], 4));
        let state = Some((h0.clone(), c0.clone()));
        let states = lstm(normal([8, 24], 1), normal([24, 6], 2), None, state, &offsets, settings);
        let row = |x: &Tensor<2>, row: usize| floats(x.clone().slice(row..row + 1));
        let (first, third) = if reverse { (0, 3) } else { (2, 7) };
        assert_eq!(row(&states.h_n, 0), row(&states.y, first));
        assert_eq!(row(&states.h_n, 2), row(&states.y, third));
        assert_eq!(row(&states.h_n, 1), row(&h0, 1), "a sequence without tokens");
        assert_eq!(row(&states.c_n, 1), row(&c0, 1), "a sequence without tokens");
        assert_ne!(row(&states.c_n, 0), row(&c0, 0));
    }
}

#[test]
fn bf16_is_near_f32_and_not_the_same() {
    let offsets: Arc<[u32]> = [0, 3, 9].into();
    let run = |precision| {
        let settings = Lstm { precision, ..Lstm::default() };
        let recurrent = normal::<2>([48, 12], 2) * 0.3;
        floats(lstm(normal([9, 48], 1), recurrent, None, None, &offsets, settings).y)
    };
    let (exact, rounded) = (run(Precision::F32), run(Precision::Bf16));
    assert_ne!(exact, rounded);
    close(&rounded, &exact, 2e-2).unwrap();
}

#[test]
#[should_panic(expected = "lstm: hidden and cell differ, and there is no projection")]
fn a_projection_left_out_is_noticed() {
    lstm(normal([2, 8], 1), normal([8, 3], 2), None, None, &[0, 2].into(), Lstm::default());
}

#[test]
#[should_panic(expected = "lstm: h0, c0 are not of 1 sequences")]
fn a_state_of_other_sequences_is_refused() {
    let state = Some((normal([2, 2], 3), normal([2, 2], 4)));
    lstm(normal([2, 8], 1), normal([8, 2], 2), None, state, &[0, 2].into(), Lstm::default());
}
