//! One walk through a model: hands out parameters, tracks gradients when they are wanted.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use burn::backend::DispatchTensor;
use burn::tensor::{Gradients as Tape, Tensor};
use topwork_kernels::gemm::{Packed, Precision};
use topwork_kernels::rng::{Dropout, derive};
use topwork_ops::Gradient;

use crate::error::Error;
use crate::gradient;
use crate::graft::Graft;
use crate::param::{ParamId, ParamStore};
use crate::seam::{Site, Tap};

/// One pass over a model's parameters, for inference or for a training step.
///
/// In training, every trainable parameter is handed out as a leaf of the gradient graph, a frozen one as a plain
/// tensor: no gradient is computed for it. Embedding tables are handed out as a leaf that holds only the rows the
/// batch uses, which is how their gradients stay sparse.
pub struct Pass<'a> {
    store: &'a ParamStore,
    precision: Precision,
    training: Option<Training<'a>>,
    tap: Option<&'a dyn Tap>,
    /// Blocks of lower depth groups go without what is attached to their ends.
    grafts_from: usize,
}

struct Training<'a> {
    seed: u64,
    trainable: &'a [bool],
    leaves: RefCell<Vec<Leaf>>,
    recompute: Recompute,
    /// False where nothing is dropped.
    drops: bool,
    /// Set where a parameter was asked for that should learn, but tracking is off.
    asked: Cell<bool>,
    segments: RefCell<Vec<Segment>>,
    /// What the batch showed of parameters that are measured.
    observed: RefCell<Vec<(ParamId, DispatchTensor)>>,
}

/// What a training pass does with segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Recompute {
    /// Runs them like everything else.
    Never,
    /// Runs them without tracking, and once more on the way back.
    Segments,
    /// This is the run without tracking.
    Untracked,
}

/// Something that runs within a pass.
type Run = Box<dyn Fn(&Pass, Tensor<2>) -> Result<Tensor<2>, Error>>;

/// A part of the model whose inner tensors are not kept.
struct Segment {
    /// What to run once more; `None` where the graph of `input` only ends here, and is kept.
    run: Option<Run>,
    input: Tensor<2>,
    /// A leaf of what comes after.
    output: Tensor<2>,
}

/// A tensor given out, whose gradient is collected at the end.
struct Leaf {
    id: ParamId,
    tensor: LeafTensor,
    rows: Option<Arc<[u32]>>,
}

enum LeafTensor {
    Vector(Tensor<1>),
    Matrix(Tensor<2>),
}

/// Gradients of a pass, by parameter; `None` where a parameter got none.
pub struct Gradients {
    by_param: Vec<Option<Gradient>>,
    observed: Vec<(ParamId, DispatchTensor)>,
}

impl Gradients {
    /// No gradients for `params` parameters.
    pub fn none(params: usize) -> Self {
        Gradients { by_param: (0..params).map(|_| None).collect(), observed: Vec::new() }
    }

    /// The gradient of one parameter.
    pub fn get(&self, id: ParamId) -> Option<&Gradient> {
        self.by_param[id.0].as_ref()
    }

    /// Takes the gradient of one parameter out.
    pub fn take(&mut self, id: ParamId) -> Option<Gradient> {
        self.by_param[id.0].take()
    }

    /// Takes out what the batches showed of parameters that are measured, in order.
    pub fn take_observed(&mut self) -> Vec<(ParamId, DispatchTensor)> {
        std::mem::take(&mut self.observed)
    }

    /// Sets the gradient of one parameter.
    pub fn put(&mut self, id: ParamId, gradient: Gradient) {
        self.by_param[id.0] = Some(gradient);
    }

    /// Adds another pass's gradients to these (gradient accumulation).
    pub fn add(&mut self, other: Gradients, store: &ParamStore) {
        self.observed.extend(other.observed);
        for (id, theirs) in other.by_param.into_iter().enumerate() {
            if let Some(theirs) = theirs {
                self.add_one(ParamId(id), theirs, store);
            }
        }
    }

    fn add_one(&mut self, id: ParamId, gradient: Gradient, store: &ParamStore) {
        let sum = match self.take(id) {
            None => gradient,
            Some(before) => gradient::add(before, gradient, &store.param(id).shape),
        };
        self.put(id, sum);
    }

    /// Parameters that got a gradient.
    pub fn ids(&self) -> impl Iterator<Item = ParamId> {
        self.by_param.iter().enumerate().filter(|(_, g)| g.is_some()).map(|(id, _)| ParamId(id))
    }
}

impl<'a> Pass<'a> {
    /// A pass for inference: nothing is tracked, nothing is dropped.
    pub fn eval(store: &'a ParamStore, precision: Precision) -> Self {
        Pass { store, precision, training: None, tap: None, grafts_from: 0 }
    }

    /// A pass of a training step. `seed` drives dropout and must differ from step to step; `trainable` says for
    /// every parameter, in the store's order, whether a gradient is wanted.
    pub fn train(store: &'a ParamStore, precision: Precision, seed: u64, trainable: &'a [bool]) -> Self {
        assert_eq!(trainable.len(), store.len(), "one flag for each parameter");
        let training = Training::new(seed, trainable, Recompute::Never);
        Pass { store, precision, training: Some(training), tap: None, grafts_from: 0 }
    }

    /// The same training pass, but [`Pass::segment`]s keep their input only and run once more on the way back.
    ///
    /// Gradients are the same to the bit: dropout is drawn by place, not in order. It saves most of the memory of a step
    /// for about a third more time. A [`Tap`] is called once more too.
    ///
    /// Paper: Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost", section 3,
    /// <https://arxiv.org/abs/1604.06174>
    pub fn with_recompute(mut self, recompute: bool) -> Self {
        if let Some(training) = &mut self.training {
            training.recompute = if recompute { Recompute::Segments } else { Recompute::Never };
        }
        self
    }

    /// The same training pass, in which nothing is dropped: gradients at the model as it answers.
    pub fn without_dropout(mut self) -> Self {
        if let Some(training) = &mut self.training {
            training.drops = false;
        }
        self
    }

    /// Ends the graph before the first [`Pass::segment`]: what comes after sees a leaf. Does nothing unless segments are
    /// recomputed.
    pub fn cut(&self, x: Tensor<2>) -> Tensor<2> {
        let Some(training) = self.recomputes().filter(|_| x.is_tracked()) else { return x };
        let output = x.clone().inner().autodiff().require_grad();
        training.segments.borrow_mut().push(Segment { run: None, input: x, output: output.clone() });
        output
    }

    /// Runs a part of the model; with [`Pass::with_recompute`] only `x` is kept of it.
    ///
    /// `x` comes from [`Pass::cut`] or from another segment. `run` must use the pass it is given, and do the same each time.
    ///
    /// # Errors
    /// What `run` returns.
    pub fn segment(
        &self,
        x: Tensor<2>,
        run: impl Fn(&Pass, Tensor<2>) -> Result<Tensor<2>, Error> + 'static,
    ) -> Result<Tensor<2>, Error> {
        let Some(training) = self.recomputes() else { return run(self, x) };
        let untracked = self.within(training, Recompute::Untracked);
        let y = run(&untracked, x.clone().inner())?;
        let asked = untracked.training.is_some_and(|training| training.asked.get());
        if !asked && !x.is_tracked() {
            // Frozen, and nothing before it learns: no way back leads through here.
            return Ok(y);
        }
        let output = y.autodiff().require_grad();
        let segment = Segment { run: Some(Box::new(run)), input: x, output: output.clone() };
        training.segments.borrow_mut().push(segment);
        Ok(output)
    }

    /// A tensor from outside of a segment, as the run within wants it. It comes from [`Pass::cut`] or from another segment, and
    /// gets the gradient of every segment that uses it.
    pub fn outside(&self, x: &Tensor<2>) -> Tensor<2> {
        let Some(training) = self.training.as_ref().filter(|_| x.is_tracked()) else { return x.clone() };
        if training.recompute == Recompute::Untracked {
            training.asked.set(true);
            return x.clone().inner();
        }
        // A node of its own: the gradients of what uses it here are summed before they meet those of other segments, which is
        // the order in which they meet when segments are recomputed.
        x.clone().mul_scalar(1.0)
    }

    /// The training state, if segments are recomputed.
    fn recomputes(&self) -> Option<&Training<'a>> {
        self.training.as_ref().filter(|training| training.recompute == Recompute::Segments)
    }

    /// A pass like this one, for one segment.
    fn within(&self, training: &Training<'a>, recompute: Recompute) -> Pass<'a> {
        let drops = training.drops;
        let training = Training { drops, ..Training::new(training.seed, training.trainable, recompute) };
        Pass { training: Some(training), ..*self }
    }

    /// The same pass with something attached at the seams.
    pub fn with_tap(mut self, tap: &'a dyn Tap) -> Self {
        self.tap = Some(tap);
        self
    }

    /// The same pass, in which the blocks of depth groups below that one go without what is attached to their ends.
    pub fn with_grafts_from(mut self, group: usize) -> Self {
        self.grafts_from = group;
        self
    }

    /// What is attached in this pass to the end of the block whose last map has that weight.
    pub(crate) fn graft(&self, weight: ParamId) -> Option<&Arc<dyn Graft>> {
        let param = self.store.param(weight);
        param.grafted().filter(|_| param.group >= self.grafts_from)
    }

    /// The store the pass walks over.
    pub fn store(&self) -> &ParamStore {
        self.store
    }

    /// Precision of matrix products.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The number this training pass draws from; `None` in inference.
    pub fn seed(&self) -> Option<u64> {
        self.training.as_ref().map(|training| training.seed)
    }

    /// True in a training step.
    pub fn training(&self) -> bool {
        self.training.is_some()
    }

    /// Goes through a seam.
    pub fn at(&self, site: Site, layer: usize, x: Tensor<2>) -> Tensor<2> {
        match self.tap {
            None => x,
            Some(tap) => tap.at(site, layer, x),
        }
    }

    /// What to drop at a place named by `site`; `None` in inference and at `p == 0`.
    pub fn dropout(&self, p: f32, site: &str) -> Option<Dropout> {
        let training = self.training.as_ref().filter(|training| p > 0.0 && training.drops)?;
        Some(Dropout { p, seed: derive(training.seed, site) })
    }

    /// A vector parameter.
    ///
    /// # Errors
    /// [`Error::Unset`].
    pub fn vector(&self, id: ParamId) -> Result<Tensor<1>, Error> {
        let own = self.own_vector(id)?;
        match self.store.param(id).reparam() {
            Some(reparam) => reparam.vector(self, own),
            None => Ok(own),
        }
    }

    fn own_vector(&self, id: ParamId) -> Result<Tensor<1>, Error> {
        let plain = Tensor::<1>::from_dispatch(self.store.tensor(id)?);
        let Some(training) = self.wants_gradient(id) else { return Ok(plain) };
        // A leaf for each use, not one for all: see `collect`.
        let tensor = plain.autodiff().require_grad();
        let leaf = Leaf { id, tensor: LeafTensor::Vector(tensor.clone()), rows: None };
        training.leaves.borrow_mut().push(leaf);
        Ok(tensor)
    }

    /// A vector that is measured, not learnt.
    ///
    /// # Errors
    /// [`Error::Unset`].
    pub fn measured(&self, id: ParamId) -> Result<Tensor<1>, Error> {
        Ok(Tensor::from_dispatch(self.store.tensor(id)?))
    }

    /// Notes what a batch shows of a vector that is measured; the optimizer moves it there with its step. Does nothing in
    /// inference or where the parameter is frozen.
    ///
    /// # Shapes
    /// - `value`: that of the parameter
    pub fn observe(&self, id: ParamId, value: Tensor<1>) {
        let wanted = self
            .training
            .as_ref()
            .filter(|training| training.trainable[id.0] && training.recompute != Recompute::Untracked);
        if let Some(training) = wanted {
            let value = if value.is_tracked() { value.inner() } else { value };
            training.observed.borrow_mut().push((id, value.into_dispatch()));
        }
    }

    /// A vector parameter; zeros, which nothing learns, where there is none.
    ///
    /// # Errors
    /// [`Error::Unset`].
    pub fn vector_or_zeros(&self, id: Option<ParamId>, len: usize) -> Result<Tensor<1>, Error> {
        match id {
            Some(id) => self.vector(id),
            None => Ok(Tensor::zeros([len], self.store.device())),
        }
    }

    /// A matrix parameter; one of more axes (filters of a convolution) as the matrix of its first axis and all others.
    ///
    /// # Errors
    /// [`Error::Unset`].
    pub fn matrix(&self, id: ParamId) -> Result<Tensor<2>, Error> {
        self.as_used(id, self.own_matrix(id)?)
    }

    /// A matrix as the model computes with it: what is attached to the parameter sees it first.
    fn as_used(&self, id: ParamId, own: Tensor<2>) -> Result<Tensor<2>, Error> {
        match self.store.param(id).reparam() {
            Some(reparam) => reparam.matrix(self, own),
            None => Ok(own),
        }
    }

    fn own_matrix(&self, id: ParamId) -> Result<Tensor<2>, Error> {
        let plain = as_matrix(self.store.tensor(id)?, &self.store.param(id).shape);
        let Some(training) = self.wants_gradient(id) else { return Ok(plain) };
        let mut leaves = training.leaves.borrow_mut();
        for leaf in leaves.iter().filter(|leaf| leaf.id == id && leaf.rows.is_none()) {
            if let LeafTensor::Matrix(tensor) = &leaf.tensor {
                return Ok(tensor.clone());
            }
        }
        let tensor = plain.autodiff().require_grad();
        leaves.push(Leaf { id, tensor: LeafTensor::Matrix(tensor.clone()), rows: None });
        Ok(tensor)
    }

    /// [`Pass::matrix`] as a leaf of its own, for a use through a view (turned) beside uses elsewhere in the model: a tape goes
    /// back through views last, and in which order gradients are summed must not hang on what is recomputed.
    ///
    /// # Errors
    /// [`Error::Unset`].
    pub fn matrix_apart(&self, id: ParamId) -> Result<Tensor<2>, Error> {
        let plain = as_matrix(self.store.tensor(id)?, &self.store.param(id).shape);
        let Some(training) = self.wants_gradient(id) else { return self.as_used(id, plain) };
        let tensor = plain.autodiff().require_grad();
        let leaf = Leaf { id, tensor: LeafTensor::Matrix(tensor.clone()), rows: None };
        training.leaves.borrow_mut().push(leaf);
        self.as_used(id, tensor)
    }

    /// `x·weightᵀ + bias`, with packed weights where the store keeps them.
    ///
    /// # Shapes
    /// - `x`: `[rows, in]`; weight: `[out, in]`; bias: `[out]`
    /// - returns: `[rows, out]`
    ///
    /// # Errors
    /// [`Error::Unset`].
    pub fn linear(&self, x: Tensor<2>, weight: ParamId, bias: Option<ParamId>) -> Result<Tensor<2>, Error> {
        let bias = bias.map(|bias| self.vector(bias)).transpose()?;
        let packed = self.packed(&[weight])?;
        let weight = self.matrix(weight)?;
        Ok(match packed {
            Some(packed) => topwork_ops::linear_packed(x, weight, bias, packed),
            None => topwork_ops::linear(x, weight, bias, self.precision),
        })
    }

    /// Queries, keys and values of `x` side by side, with packed weights where the store keeps them.
    ///
    /// # Shapes
    /// - `x`: `[rows, in]`; weights: each `[out, in]`; biases: each `[out]`, zeros where there is none
    /// - returns: `[rows, 3 * out]`
    ///
    /// # Errors
    /// [`Error::Unset`].
    pub fn linear_qkv(
        &self,
        x: Tensor<2>,
        weights: [ParamId; 3],
        biases: [Option<ParamId>; 3],
    ) -> Result<Tensor<2>, Error> {
        let packed = self.packed(&weights)?;
        let bias = |at: usize| self.vector_or_zeros(biases[at], self.store.param(weights[at]).shape[0]);
        let biases = [bias(0)?, bias(1)?, bias(2)?];
        let [q, k, v] = weights;
        let weights = [self.matrix(q)?, self.matrix(k)?, self.matrix(v)?];
        Ok(match packed {
            Some(packed) => topwork_ops::linear_qkv_packed(x, weights, biases, packed),
            None => topwork_ops::linear_qkv(x, weights, biases, self.precision),
        })
    }

    fn packed(&self, weights: &[ParamId]) -> Result<Option<Arc<Packed>>, Error> {
        let changes =
            |&id: &ParamId| self.store.param(id).reparam().is_some_and(|reparam| !reparam.only_in_training());
        let attached = weights.iter().any(changes);
        if self.training() || attached { Ok(None) } else { self.store.packed(weights, self.precision) }
    }

    /// Rows of an embedding table, one for each index.
    ///
    /// # Shapes
    /// - table: `[rows, hidden]`; `index`: `[tokens]`
    /// - returns: `[tokens, hidden]`
    ///
    /// # Errors
    /// [`Error::IdOutOfRange`] if an index has no row; [`Error::Unset`].
    pub fn lookup(&self, id: ParamId, index: &[u32]) -> Result<Tensor<2>, Error> {
        self.lookup_but(id, index, None)
    }

    /// [`Pass::lookup`], from which the row of one index learns nothing, as that of PyTorch's `padding_idx`.
    ///
    /// # Shapes
    /// As [`Pass::lookup`].
    ///
    /// # Errors
    /// As [`Pass::lookup`].
    pub fn lookup_but(&self, id: ParamId, index: &[u32], still: Option<u32>) -> Result<Tensor<2>, Error> {
        match self.store.param(id).extension() {
            None => self.lookup_own(id, index, still),
            Some(more) => self.lookup_extended(id, index, &**more, |own| self.lookup_own(id, own, still)),
        }
    }

    fn lookup_own(&self, id: ParamId, index: &[u32], still: Option<u32>) -> Result<Tensor<2>, Error> {
        let param = self.store.param(id);
        let rows = param.shape[0];
        if let Some(&bad) = index.iter().find(|&&i| i as usize >= rows) {
            return Err(Error::IdOutOfRange { path: param.path.clone(), id: bad, rows });
        }
        let table = Tensor::<2>::from_dispatch(self.store.tensor(id)?);
        let Some(training) = self.wants_gradient(id) else {
            return Ok(topwork_ops::embedding(table, &Arc::from(index)));
        };
        let still = still.filter(|still| index.contains(still));
        let mut used: Vec<u32> = index.iter().copied().filter(|&i| Some(i) != still).collect();
        used.sort_unstable();
        used.dedup();
        // The row that learns nothing comes behind those that do.
        let place = |i: &u32| if Some(*i) == still { used.len() } else { used.partition_point(|u| u < i) };
        let local: Arc<[u32]> = index.iter().map(|i| place(i) as u32).collect::<Vec<_>>().into();
        let used: Arc<[u32]> = used.into();
        let leaf = topwork_ops::embedding(table.clone(), &used).autodiff().require_grad();
        let tensor = LeafTensor::Matrix(leaf.clone());
        training.leaves.borrow_mut().push(Leaf { id, tensor, rows: Some(used) });
        let rows = match still {
            None => leaf,
            Some(still) => {
                Tensor::cat(vec![leaf, topwork_ops::embedding(table, &[still].into()).autodiff()], 0)
            }
        };
        Ok(topwork_ops::embedding(rows, &local))
    }

    /// Whether a parameter learns in this pass.
    pub fn learns(&self, id: ParamId) -> bool {
        let trained = self.training.as_ref().is_some_and(|training| training.trainable[id.0]);
        trained && self.store.param(id).kind.learns()
    }

    fn wants_gradient(&self, id: ParamId) -> Option<&Training<'a>> {
        let training = self.training.as_ref().filter(|_| self.learns(id))?;
        if training.recompute == Recompute::Untracked {
            training.asked.set(true);
            return None;
        }
        Some(training)
    }

    /// Walks back from `loss` and collects the gradients of every parameter that was handed out. A parameter used
    /// twice (an embedding table tied to a decoder) gets the sum.
    ///
    /// # Shapes
    /// - `loss`: `[1]`
    ///
    /// # Errors
    /// Running a segment once more fails, which its first run would have shown.
    pub fn backward(mut self, loss: &Tensor<1>) -> Result<Gradients, Error> {
        let mut gradients = Gradients::none(self.store.len());
        let Some(training) = self.training.take() else { return Ok(gradients) };
        gradients.observed = training.observed.take();
        if !loss.is_tracked() {
            return Ok(gradients);
        }
        // One tape for the whole, and one for each segment that was run once more. The output of a segment may be used
        // on several of them. What each has for the leaves is collected at once: gradients of one parameter are added from
        // the last use to the first, with segments and without.
        let mut tapes = vec![loss.backward()];
        training.collect(&mut tapes[0], self.store, &mut gradients);
        for Segment { run, input, output } in training.segments.take().into_iter().rev() {
            let parts = tapes.iter_mut().filter_map(|tape| output.grad_remove(tape));
            let Some(d_output) = parts.reduce(|sum, part| sum + part) else { continue };
            let pass = self.within(&training, Recompute::Never);
            let again = match run {
                None => input,
                Some(run) => run(&pass, input)?,
            };
            // The gradient of this sum is `d_output`.
            let mut tape = (again * d_output.autodiff()).sum().backward();
            if let Some(inner) = pass.training {
                inner.collect(&mut tape, self.store, &mut gradients);
            }
            training.collect(&mut tape, self.store, &mut gradients);
            tapes.push(tape);
        }
        Ok(gradients)
    }
}

/// A tensor of two to four axes as a matrix of its first axis.
fn as_matrix(value: DispatchTensor, shape: &[usize]) -> Tensor<2> {
    let matrix = [shape[0], shape[1..].iter().product()];
    match shape.len() {
        3 => Tensor::<3>::from_dispatch(value).reshape(matrix),
        4 => Tensor::<4>::from_dispatch(value).reshape(matrix),
        _ => Tensor::<2>::from_dispatch(value),
    }
}

/// Undoes [`as_matrix`].
fn of_shape(matrix: Tensor<2>, shape: &[usize]) -> DispatchTensor {
    match *shape {
        [a, b, c] => matrix.reshape([a, b, c]).into_dispatch(),
        [a, b, c, d] => matrix.reshape([a, b, c, d]).into_dispatch(),
        _ => matrix.into_dispatch(),
    }
}

impl<'a> Training<'a> {
    fn new(seed: u64, trainable: &'a [bool], recompute: Recompute) -> Self {
        let (leaves, segments) = (RefCell::default(), RefCell::default());
        let (asked, observed) = (Cell::new(false), RefCell::default());
        Training { seed, trainable, leaves, recompute, drops: true, asked, segments, observed }
    }

    /// Adds what the tape has for the leaves that were handed out, the last one first: in the order in which segments run
    /// once more, so that a parameter of several of them (a bias that all layers share) gets the same sum.
    fn collect(&self, tape: &mut Tape, store: &ParamStore, gradients: &mut Gradients) {
        for leaf in self.leaves.borrow().iter().rev() {
            let found = match &leaf.tensor {
                LeafTensor::Vector(t) => t.grad_remove(tape).map(Tensor::into_dispatch),
                LeafTensor::Matrix(t) => {
                    t.grad_remove(tape).map(|grad| of_shape(grad, &store.param(leaf.id).shape))
                }
            };
            let Some(grad) = found else { continue };
            let gradient = match &leaf.rows {
                None => Gradient::Dense(grad),
                Some(rows) => Gradient::Rows { rows: Arc::clone(rows), grad },
            };
            gradients.add_one(leaf.id, gradient, store);
        }
    }
}
