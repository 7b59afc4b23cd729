//! Long short-term memory over packed sequences: one layer, one direction.
//!
//! Paper: Hochreiter and Schmidhuber 1997, "Long short-term memory", <https://doi.org/10.1162/neco.1997.9.8.1735>; with
//! a projection, Sak, Senior and Beaufays 2014, "Long short-term memory recurrent neural network architectures", §2,
//! <https://arxiv.org/abs/1402.1128>. Differs from both in having no peephole connections.

pub mod composed;

use std::sync::Arc;

use burn::{
    Tensor,
    backend::{
        Autodiff, AutodiffBackend, Backend, Dispatch, Flex,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
            grads::Gradients,
            ops::{Backward, Ops},
        },
        backend_extension,
        tensor::FloatTensor,
    },
};
use topwork_kernels::lstm::{self as kernel, Lstm};
use topwork_kernels::unwritten;

use crate::{flex, host, optional::OptionalFloat, packed, profile, record::record};

/// What [`lstm`] gives.
#[derive(Clone, Debug)]
pub struct LstmStates {
    /// The state at every token: `[tokens, hidden]`.
    pub y: Tensor<2>,
    /// The state behind the last token of each sequence, or the first one in reverse: `[batch, hidden]`.
    pub h_n: Tensor<2>,
    /// The cell state there: `[batch, cell]`.
    pub c_n: Tensor<2>,
}

/// The states of an LSTM at every token, and those it ends with.
///
/// The gates are i, f, g, o, in this order, as in PyTorch. `state` is what each sequence starts with, `h0` and `c0`;
/// without it, zeros. A sequence without tokens ends as it starts. Where a clip holds a value at its limit, its
/// gradient is zero.
///
/// # Shapes
/// - `gates_x`: `[tokens, 4 cell]`, the inputs times their weight, with all biases added (see [`linear`](crate::linear()))
/// - `recurrent`: `[4 cell, hidden]`
/// - `projection`: `[hidden, cell]`; without one, `hidden` is `cell`
/// - `state`: `[batch, hidden]` and `[batch, cell]`
/// - `offsets`: `[batch + 1]`, where each sequence starts and the last one ends
///
/// # Panics
/// If the shapes do not fit together, or `offsets` does not rise from 0 to `tokens`.
pub fn lstm(
    gates_x: Tensor<2>,
    recurrent: Tensor<2>,
    projection: Option<Tensor<2>>,
    state: Option<(Tensor<2>, Tensor<2>)>,
    offsets: &Arc<[u32]>,
    settings: Lstm,
) -> LstmStates {
    let ([tokens, width], [four_cells, hidden]) = (gates_x.dims(), recurrent.dims());
    assert_eq!(width, four_cells, "lstm: gates_x has {width} columns, recurrent {four_cells} rows");
    assert!(width > 0 && width.is_multiple_of(4), "lstm: {width} columns are not four gates");
    let cell = width / 4;
    match &projection {
        Some(projection) => {
            assert_eq!(projection.dims(), [hidden, cell], "lstm: projection is not {hidden} x {cell}");
        }
        None => assert_eq!(hidden, cell, "lstm: hidden and cell differ, and there is no projection"),
    }
    packed::check("lstm", offsets, tokens);
    let batch = offsets.len() - 1;
    if let Some((h0, c0)) = &state {
        let dims = (h0.dims(), c0.dims());
        assert_eq!(dims, ([batch, hidden], [batch, cell]), "lstm: h0, c0 are not of {batch} sequences");
    }
    let (h0, c0) = state.map(|(h0, c0)| (h0.into_dispatch(), c0.into_dispatch())).unzip();
    let flat = Tensor::<1>::from_dispatch(Dispatch::lstm_forward(
        gates_x.into_dispatch(),
        recurrent.into_dispatch(),
        OptionalFloat::from(projection.map(Tensor::into_dispatch)),
        h0.into(),
        c0.into(),
        offsets.clone(),
        settings,
    ));
    let (of_h, of_c) = (tokens * hidden, (tokens + batch) * hidden);
    LstmStates {
        y: flat.clone().slice(0..of_h).reshape([tokens, hidden]),
        h_n: flat.clone().slice(of_h..of_c).reshape([batch, hidden]),
        c_n: flat.slice(of_c..of_c + batch * cell).reshape([batch, cell]),
    }
}

/// [`lstm`] on a backend's primitives.
///
/// The three results are one after the other in a vector, `y`, `h_n`, `c_n`, because a node of the autodiff graph has
/// one value.
#[backend_extension(Flex, Autodiff, Cube: cfg(feature = "cube"))]
pub trait LstmOps: Backend {
    /// The states: see [`lstm`].
    fn lstm_forward(
        gates_x: FloatTensor<Self>,
        recurrent: FloatTensor<Self>,
        #[extension_type] projection: OptionalFloat<Self>,
        #[extension_type] h0: OptionalFloat<Self>,
        #[extension_type] c0: OptionalFloat<Self>,
        offsets: Arc<[u32]>,
        settings: Lstm,
    ) -> FloatTensor<Self> {
        let state = h0.into_option().zip(c0.into_option());
        composed::forward::<Self>(gates_x, recurrent, projection.into_option(), state, &offsets, settings).0
    }

    /// The same and, for the backward, the gates `[tokens, 4 cell]` after their sigmoid or tanh, and the cell states
    /// `[tokens, cell]`.
    fn lstm_with_gates(
        gates_x: FloatTensor<Self>,
        recurrent: FloatTensor<Self>,
        #[extension_type] projection: OptionalFloat<Self>,
        #[extension_type] h0: OptionalFloat<Self>,
        #[extension_type] c0: OptionalFloat<Self>,
        offsets: Arc<[u32]>,
        settings: Lstm,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let state = h0.into_option().zip(c0.into_option());
        composed::forward::<Self>(gates_x, recurrent, projection.into_option(), state, &offsets, settings)
    }

    /// The gradients of the gates, of the projected states before they were clipped (empty without a projection), of
    /// `h0` and of `c0`.
    #[allow(clippy::too_many_arguments)]
    fn lstm_backward(
        d_flat: FloatTensor<Self>,
        flat: FloatTensor<Self>,
        gates: FloatTensor<Self>,
        cells: FloatTensor<Self>,
        recurrent: FloatTensor<Self>,
        #[extension_type] projection: OptionalFloat<Self>,
        #[extension_type] c0: OptionalFloat<Self>,
        offsets: Arc<[u32]>,
        settings: Lstm,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let weights = (recurrent, projection.into_option());
        composed::backward::<Self>(d_flat, flat, gates, cells, weights, c0.into_option(), &offsets, settings)
    }

    /// The gradient of the recurrent weight: `[4 cell, hidden]`.
    fn lstm_d_recurrent(
        d_gates: FloatTensor<Self>,
        flat: FloatTensor<Self>,
        #[extension_type] h0: OptionalFloat<Self>,
        offsets: Arc<[u32]>,
        hidden: usize,
        settings: Lstm,
    ) -> FloatTensor<Self> {
        composed::d_recurrent::<Self>(d_gates, flat, h0.into_option(), &offsets, hidden, settings)
    }

    /// The gradient of the projection: `[hidden, cell]`.
    fn lstm_d_projection(
        d_projected: FloatTensor<Self>,
        gates: FloatTensor<Self>,
        cells: FloatTensor<Self>,
        settings: Lstm,
    ) -> FloatTensor<Self> {
        composed::d_projection::<Self>(d_projected, gates, cells, settings)
    }
}

/// Runs the forward kernel; `gates` and `cells` are filled if they are not empty.
fn run(
    inputs: &Inputs,
    offsets: &[u32],
    settings: Lstm,
    gates: &mut [f32],
    cells: &mut [f32],
) -> FloatTensor<Flex> {
    let [tokens, width] = host::dims(&inputs.gates_x);
    let [_, hidden] = host::dims(&inputs.recurrent);
    let (batch, cell) = (offsets.len() - 1, width / 4);
    let mut flat = unwritten((tokens + batch) * hidden + batch * cell);
    let (y, last) = flat.split_at_mut(tokens * hidden);
    let (h_n, c_n) = last.split_at_mut(batch * hidden);
    kernel::forward(
        flex::values(&inputs.gates_x),
        flex::values(&inputs.recurrent),
        inputs.projection.as_ref().map(flex::values),
        inputs.state.as_ref().map(|(h0, c0)| (flex::values(h0), flex::values(c0))),
        offsets,
        cell,
        settings,
        y,
        h_n,
        c_n,
        gates,
        cells,
    );
    let len = flat.len();
    flex::tensor(flat, [len])
}

/// The dense tensors of a forward on the CPU.
struct Inputs {
    gates_x: FloatTensor<Flex>,
    recurrent: FloatTensor<Flex>,
    projection: Option<FloatTensor<Flex>>,
    state: Option<(FloatTensor<Flex>, FloatTensor<Flex>)>,
}

impl Inputs {
    fn all_f32(&self) -> bool {
        let state = self.state.iter().flat_map(|(h0, c0)| [h0, c0]);
        flex::all_f32([&self.gates_x, &self.recurrent].into_iter().chain(&self.projection).chain(state))
    }

    fn dense(self) -> Self {
        Self {
            gates_x: flex::dense(self.gates_x),
            recurrent: flex::dense(self.recurrent),
            projection: self.projection.map(flex::dense),
            state: self.state.map(|(h0, c0)| (flex::dense(h0), flex::dense(c0))),
        }
    }
}

impl LstmOps for Flex {
    fn lstm_forward(
        gates_x: FloatTensor<Self>,
        recurrent: FloatTensor<Self>,
        projection: OptionalFloat<Self>,
        h0: OptionalFloat<Self>,
        c0: OptionalFloat<Self>,
        offsets: Arc<[u32]>,
        settings: Lstm,
    ) -> FloatTensor<Self> {
        let _time = profile::time("lstm_forward");
        let state = h0.into_option().zip(c0.into_option());
        let inputs = Inputs { gates_x, recurrent, projection: projection.into_option(), state };
        if !inputs.all_f32() {
            let Inputs { gates_x, recurrent, projection, state } = inputs;
            return composed::forward::<Self>(gates_x, recurrent, projection, state, &offsets, settings).0;
        }
        run(&inputs.dense(), &offsets, settings, &mut [], &mut [])
    }

    fn lstm_with_gates(
        gates_x: FloatTensor<Self>,
        recurrent: FloatTensor<Self>,
        projection: OptionalFloat<Self>,
        h0: OptionalFloat<Self>,
        c0: OptionalFloat<Self>,
        offsets: Arc<[u32]>,
        settings: Lstm,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let _time = profile::time("lstm_with_gates");
        let state = h0.into_option().zip(c0.into_option());
        let inputs = Inputs { gates_x, recurrent, projection: projection.into_option(), state };
        if !inputs.all_f32() {
            let Inputs { gates_x, recurrent, projection, state } = inputs;
            return composed::forward::<Self>(gates_x, recurrent, projection, state, &offsets, settings);
        }
        let [tokens, width] = host::dims(&inputs.gates_x);
        let (mut gates, mut cells) = (unwritten(tokens * width), unwritten(tokens * width / 4));
        let flat = run(&inputs.dense(), &offsets, settings, &mut gates, &mut cells);
        (flat, flex::tensor(gates, [tokens, width]), flex::tensor(cells, [tokens, width / 4]))
    }

    fn lstm_backward(
        d_flat: FloatTensor<Self>,
        flat: FloatTensor<Self>,
        gates: FloatTensor<Self>,
        cells: FloatTensor<Self>,
        recurrent: FloatTensor<Self>,
        projection: OptionalFloat<Self>,
        c0: OptionalFloat<Self>,
        offsets: Arc<[u32]>,
        settings: Lstm,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let _time = profile::time("lstm_backward");
        let (projection, c0) = (projection.into_option(), c0.into_option());
        let all = [&d_flat, &flat, &gates, &cells, &recurrent];
        if !flex::all_f32(all.into_iter().chain(&projection).chain(&c0)) {
            let weights = (recurrent, projection);
            return composed::backward::<Self>(d_flat, flat, gates, cells, weights, c0, &offsets, settings);
        }
        let [d_flat, flat, gates, cells, recurrent] =
            [d_flat, flat, gates, cells, recurrent].map(flex::dense);
        let (projection, c0) = (projection.map(flex::dense), c0.map(flex::dense));
        let ([tokens, cell], [_, hidden]) = (host::dims(&cells), host::dims(&recurrent));
        let batch = offsets.len() - 1;
        let (d_y, d_last) = flex::values(&d_flat).split_at(tokens * hidden);
        let (d_h_n, d_c_n) = d_last.split_at(batch * hidden);
        let rows = if projection.is_some() { tokens } else { 0 };
        let (mut d_gates, mut d_projected) = (unwritten(tokens * 4 * cell), unwritten(rows * hidden));
        let (mut d_h0, mut d_c0) = (unwritten(batch * hidden), unwritten(batch * cell));
        // Without a first state nobody asks for its gradient.
        let wanted = if c0.is_some() { &mut d_h0[..] } else { &mut [] };
        kernel::backward(
            d_y,
            d_h_n,
            d_c_n,
            &flex::values(&flat)[..tokens * hidden],
            flex::values(&gates),
            flex::values(&cells),
            flex::values(&recurrent),
            projection.as_ref().map(flex::values),
            c0.as_ref().map(flex::values),
            &offsets,
            cell,
            settings,
            &mut d_gates,
            &mut d_projected,
            wanted,
            &mut d_c0,
        );
        if c0.is_none() {
            d_h0.fill(0.0);
        }
        (
            flex::tensor(d_gates, [tokens, 4 * cell]),
            flex::tensor(d_projected, [rows, hidden]),
            flex::tensor(d_h0, [batch, hidden]),
            flex::tensor(d_c0, [batch, cell]),
        )
    }

    fn lstm_d_recurrent(
        d_gates: FloatTensor<Self>,
        flat: FloatTensor<Self>,
        h0: OptionalFloat<Self>,
        offsets: Arc<[u32]>,
        hidden: usize,
        settings: Lstm,
    ) -> FloatTensor<Self> {
        let _time = profile::time("lstm_d_recurrent");
        let h0 = h0.into_option();
        if !flex::all_f32([&d_gates, &flat].into_iter().chain(&h0)) {
            return composed::d_recurrent::<Self>(d_gates, flat, h0, &offsets, hidden, settings);
        }
        let (d_gates, flat, h0) = (flex::dense(d_gates), flex::dense(flat), h0.map(flex::dense));
        let [tokens, width] = host::dims(&d_gates);
        let mut d_recurrent = unwritten(width * hidden);
        kernel::d_recurrent(
            flex::values(&d_gates),
            &flex::values(&flat)[..tokens * hidden],
            h0.as_ref().map(flex::values),
            &offsets,
            hidden,
            settings,
            &mut d_recurrent,
        );
        flex::tensor(d_recurrent, [width, hidden])
    }

    fn lstm_d_projection(
        d_projected: FloatTensor<Self>,
        gates: FloatTensor<Self>,
        cells: FloatTensor<Self>,
        settings: Lstm,
    ) -> FloatTensor<Self> {
        let _time = profile::time("lstm_d_projection");
        if !flex::all_f32([&d_projected, &gates, &cells]) {
            return composed::d_projection::<Self>(d_projected, gates, cells, settings);
        }
        let [d_projected, gates, cells] = [d_projected, gates, cells].map(flex::dense);
        let ([_, hidden], [_, cell]) = (host::dims(&d_projected), host::dims(&cells));
        let mut d_projection = unwritten(hidden * cell);
        kernel::d_projection(
            flex::values(&d_projected),
            flex::values(&gates),
            flex::values(&cells),
            cell,
            settings,
            &mut d_projection,
        );
        flex::tensor(d_projection, [hidden, cell])
    }
}

#[cfg(feature = "cube")]
impl LstmOps for burn::backend::Cube {}

/// What [`LstmBackward`] needs.
#[derive(Clone, Debug)]
struct Saved<B: Backend> {
    flat: FloatTensor<B>,
    gates: FloatTensor<B>,
    cells: FloatTensor<B>,
    recurrent: FloatTensor<B>,
    projection: Option<FloatTensor<B>>,
    state: Option<(FloatTensor<B>, FloatTensor<B>)>,
    offsets: Arc<[u32]>,
    settings: Lstm,
}

/// Parents: the gates of the inputs, the recurrent weight and, where there are such, the projection and `h0`, `c0`.
#[derive(Debug)]
struct LstmBackward;

impl<B: LstmOps, const N: usize> Backward<B, N> for LstmBackward {
    type State = Saved<B>;

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let d_flat = grads.consume::<B>(&ops.node);
        let Saved { flat, gates, cells, recurrent, projection, state, offsets, settings } = ops.state;
        let projects = projection.is_some();
        let [_, hidden] = host::dims(&recurrent);
        let (h0, c0) = state.unzip();
        let has_state = c0.is_some();
        let (d_gates, d_projected, d_h0, d_c0) = B::lstm_backward(
            d_flat,
            flat.clone(),
            gates.clone(),
            cells.clone(),
            recurrent,
            projection.into(),
            c0.into(),
            offsets.clone(),
            settings,
        );
        let mut parents = ops.parents.into_iter();
        let mut next = || parents.next().flatten();
        if let Some(node) = next() {
            grads.register::<B>(node.id, d_gates.clone());
        }
        if let Some(node) = next() {
            let d_recurrent = B::lstm_d_recurrent(d_gates, flat, h0.into(), offsets, hidden, settings);
            grads.register::<B>(node.id, d_recurrent);
        }
        if projects && let Some(node) = next() {
            grads.register::<B>(node.id, B::lstm_d_projection(d_projected, gates, cells, settings));
        }
        if has_state {
            for d_state in [d_h0, d_c0] {
                if let Some(node) = next() {
                    grads.register::<B>(node.id, d_state);
                }
            }
        }
    }
}

impl<B: LstmOps, C: CheckpointStrategy> LstmOps for Autodiff<B, C> {
    fn lstm_forward(
        gates_x: FloatTensor<Self>,
        recurrent: FloatTensor<Self>,
        projection: OptionalFloat<Self>,
        h0: OptionalFloat<Self>,
        c0: OptionalFloat<Self>,
        offsets: Arc<[u32]>,
        settings: Lstm,
    ) -> FloatTensor<Self> {
        let (projection, h0, c0) = (projection.into_option(), h0.into_option(), c0.into_option());
        let tracked = [&gates_x, &recurrent].into_iter().chain(&projection).chain(&h0).chain(&c0);
        let tracked = tracked.into_iter().any(|input| input.is_tracked());
        let (gates_x, gates_node) = gates_x.into_parts();
        let (recurrent, recurrent_node) = recurrent.into_parts();
        let (projection, projection_node) = projection.map(|input| input.into_parts()).unzip();
        let (h0, h0_node) = h0.map(|input| input.into_parts()).unzip();
        let (c0, c0_node) = c0.map(|input| input.into_parts()).unzip();
        if !tracked {
            let (projection, h0, c0) = (projection.into(), h0.into(), c0.into());
            return Self::from_inner(B::lstm_forward(
                gates_x, recurrent, projection, h0, c0, offsets, settings,
            ));
        }
        let (flat, gates, cells) = B::lstm_with_gates(
            gates_x,
            recurrent.clone(),
            projection.clone().into(),
            h0.clone().into(),
            c0.clone().into(),
            offsets.clone(),
            settings,
        );
        let y = flat.clone();
        let state = h0.zip(c0);
        let saved = Saved { flat, gates, cells, recurrent, projection, state, offsets, settings };
        let (x, w) = (gates_node, recurrent_node);
        match (projection_node, h0_node.zip(c0_node)) {
            (None, None) => record::<B, C, _, 2>(LstmBackward, [x, w], saved, y),
            (Some(p), None) => record::<B, C, _, 3>(LstmBackward, [x, w, p], saved, y),
            (None, Some((h, c))) => record::<B, C, _, 4>(LstmBackward, [x, w, h, c], saved, y),
            (Some(p), Some((h, c))) => record::<B, C, _, 5>(LstmBackward, [x, w, p, h, c], saved, y),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
