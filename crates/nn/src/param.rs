//! Every weight of a model, by path.

use std::collections::HashMap;
use std::sync::Arc;

use burn::backend::DispatchTensor;
use burn::tensor::{Device, Tensor};
use topwork_kernels::gemm::{Packed, Precision};
use topwork_kernels::rng::{Stream, derive};

use crate::error::Error;
use crate::extension::Extension;
use crate::front::{Front, Fronted};
use crate::graft::Graft;
use crate::init::Init;
use crate::packs::Packs;
use crate::pass::Pass;
use crate::reparam::Reparam;
use crate::stored::Stored;
pub use crate::stored::{download, upload};

/// Handle of a parameter in its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParamId(pub usize);

/// What a parameter is, for rules that treat kinds alike (weight decay leaves biases and norms alone).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamKind {
    /// A matrix or an embedding table.
    Weight,
    /// A bias vector.
    Bias,
    /// Gain of a normalisation.
    Norm,
    /// Measured in training, not learnt: it has no gradient, and moves towards what each batch shows.
    Running,
    /// Numbers of the checkpoint that training leaves as they are.
    Fixed,
}

impl ParamKind {
    /// Whether gradients move it.
    pub fn learns(self) -> bool {
        !matches!(self, ParamKind::Running | ParamKind::Fixed)
    }
}

/// One named parameter.
#[derive(Clone, Debug)]
pub struct Param {
    /// Dotted path, e.g. `layers.3.attn.q.weight`.
    pub path: String,
    /// Its shape; a linear weight is `[out, in]`.
    pub shape: Vec<usize>,
    /// Depth group: 0 = embeddings, then one a layer, last = head. Declared by the family, never guessed.
    pub group: usize,
    /// Weight, bias or norm.
    pub kind: ParamKind,
    /// How a fresh one starts.
    pub init: Init,
    axes: Option<Vec<usize>>,
    value: Option<Stored>,
    /// What it is used as, if not as it is.
    reparam: Option<Arc<dyn Reparam>>,
    /// What is attached to the end of the block whose last map's weight this is.
    graft: Option<Arc<dyn Graft>>,
    /// Rows behind those of this table.
    extension: Option<Arc<dyn Extension>>,
    attachment: bool,
}

impl Param {
    /// Number of values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Its shape in files: the same numbers, there perhaps with more axes (heads apart).
    pub fn file_shape(&self) -> &[usize] {
        self.axes.as_deref().unwrap_or(&self.shape)
    }

    /// True for a parameter that came from outside, by [`ParamStore::declare_attachment`].
    pub fn is_attachment(&self) -> bool {
        self.attachment
    }

    /// What it is used as, if not as it is.
    pub fn reparam(&self) -> Option<&Arc<dyn Reparam>> {
        self.reparam.as_ref()
    }

    /// What is attached to the end of the block whose last map's weight this is.
    pub fn grafted(&self) -> Option<&Arc<dyn Graft>> {
        self.graft.as_ref()
    }

    /// Rows that this table has from outside, behind its own.
    pub fn extension(&self) -> Option<&Arc<dyn Extension>> {
        self.extension.as_ref()
    }

    /// True for a parameter without values, which no layer declares.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Owner of every parameter of a model.
#[derive(Debug)]
pub struct ParamStore {
    params: Vec<Param>,
    by_path: HashMap<String, usize>,
    device: Device,
    pub(crate) packs: Option<Arc<Packs>>,
    /// Parameters whose values are those of another store, and whether that has them under the same handle.
    shared: HashMap<ParamId, bool>,
    /// What that store keeps packed.
    shared_packs: Option<Arc<Packs>>,
    front: Option<Fronted>,
    /// What is declared below it is, where there is such, the parameter of the rest of its path.
    shared_below: Option<&'static str>,
}

impl ParamStore {
    /// An empty store on a device (without gradient tracking: a [`crate::Pass`] adds that).
    pub fn new(device: &Device) -> Self {
        ParamStore {
            params: Vec::new(),
            by_path: HashMap::new(),
            device: device.clone(),
            packs: None,
            shared: HashMap::new(),
            shared_packs: None,
            front: None,
            shared_below: None,
        }
    }

    /// The same parameters with the values that they have now. Cheap: values are shared until one of the stores changes them.
    pub fn as_it_is(&self) -> Self {
        let (params, by_path) = (self.params.clone(), self.by_path.clone());
        let (shared, front) = (self.shared.clone(), self.front.clone());
        ParamStore { params, by_path, shared, front, ..ParamStore::new(&self.device) }
    }

    /// The device the values live on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Declares a parameter; it has no values until [`ParamStore::set`] or [`ParamStore::initialise`].
    ///
    /// Declaring the same path twice is a mistake of a family's author and asserted.
    pub fn declare(
        &mut self,
        path: &str,
        shape: &[usize],
        group: usize,
        kind: ParamKind,
        init: Init,
    ) -> ParamId {
        let own = self.shared_below.and_then(|below| path.strip_prefix(below));
        if let Some(&id) = own.and_then(|own| self.by_path.get(own)) {
            let there = &self.params[id];
            assert_eq!(there.shape, shape, "{path} shares the parameter {}", there.path);
            return ParamId(id);
        }
        let id = self.params.len();
        let before = self.by_path.insert(path.to_string(), id);
        assert!(before.is_none(), "parameter {path} declared twice");
        let shape = shape.to_vec();
        self.params.push(Param {
            path: path.to_string(),
            shape,
            group,
            kind,
            init,
            axes: None,
            value: None,
            reparam: None,
            graft: None,
            extension: None,
            attachment: false,
        });
        ParamId(id)
    }

    /// What `declare` declares below a path is, where there is a parameter of the rest of its path, that one: so one part of a
    /// model uses the parameters of another and does not know it.
    ///
    /// Another shape than that one's is a mistake of the caller and asserted.
    pub fn sharing<T>(&mut self, below: &'static str, declare: impl FnOnce(&mut Self) -> T) -> T {
        self.shared_below = Some(below);
        let declared = declare(self);
        self.shared_below = None;
        declared
    }

    /// Declares a parameter that is no part of the model but of something attached to it: model folders do not hold it.
    ///
    /// As [`ParamStore::declare`].
    pub fn declare_attachment(
        &mut self,
        path: &str,
        shape: &[usize],
        group: usize,
        kind: ParamKind,
        init: Init,
    ) -> ParamId {
        let id = self.declare(path, shape, group, kind, init);
        self.params[id.0].attachment = true;
        id
    }

    /// From now on a parameter is used as what `reparam` makes of it.
    ///
    /// Only one thing can be attached to a parameter, which is asserted; [`Param::reparam`] says whether it is free.
    pub fn attach(&mut self, id: ParamId, reparam: Arc<dyn Reparam>) {
        self.forget_packed(id);
        let param = &mut self.params[id.0];
        assert!(param.reparam.is_none(), "{} is used as something else already", param.path);
        param.reparam = Some(reparam);
    }

    /// From now on the block whose last map has this weight ends in what `graft` makes of it.
    ///
    /// Only one thing can be attached to a block, which is asserted; [`Param::grafted`] says whether it is free.
    pub fn graft(&mut self, id: ParamId, graft: Arc<dyn Graft>) {
        let param = &mut self.params[id.0];
        assert!(param.graft.is_none(), "something is attached to the block of {} already", param.path);
        param.graft = Some(graft);
    }

    /// From now on a table has further rows, behind its own.
    ///
    /// Only once, which is asserted; [`Param::extension`] says whether it has some.
    pub fn extend(&mut self, id: ParamId, extension: Arc<dyn Extension>) {
        let param = &mut self.params[id.0];
        assert!(param.extension.is_none(), "{} is extended already", param.path);
        param.extension = Some(extension);
    }

    /// From now on these keys and values stand in front of those of each text. Only once, which is asserted.
    pub fn set_front(&mut self, front: Arc<dyn Front>) {
        assert!(self.front.is_none(), "something stands in front of each text already");
        self.front = Some(Fronted::new(front));
    }

    /// What stands in front of each text in every layer.
    pub fn front(&self) -> Option<&Fronted> {
        self.front.as_ref()
    }

    /// True if something is attached to the end of a block, behind a table or in front of texts: what the model computes is more
    /// than its weights say.
    pub fn has_grafts(&self) -> bool {
        self.front.is_some()
            || self.params.iter().any(|param| param.graft.is_some() || param.extension.is_some())
    }

    /// From now on nothing is attached to a parameter; what was declared for it stays.
    pub fn detach(&mut self, id: ParamId) {
        self.forget_packed(id);
        let param = &mut self.params[id.0];
        (param.reparam, param.graft) = (None, None);
    }

    /// Takes the values of another store for all parameters of the same path and shape that have none here. Cheap: they are
    /// shared until one of the stores changes them, and so is what the other keeps packed of those that have the same handle in
    /// both (see [`ParamStore::keep_packed`]).
    pub fn share(&mut self, other: &ParamStore) {
        for (at, param) in self.params.iter_mut().enumerate().filter(|(_, param)| param.value.is_none()) {
            let Some(&there) = other.by_path.get(&param.path) else { continue };
            let theirs = &other.params[there];
            if theirs.shape == param.shape && theirs.value.is_some() && !theirs.attachment {
                param.value = theirs.value.clone();
                self.shared.insert(ParamId(at), there == at);
            }
        }
        self.shared_packs = other.packs.clone();
        self.packs = other.packs.as_ref().map(|_| Arc::default());
    }

    /// Number of values that are this store's own, not those of the store that it shares with.
    pub fn own_values(&self) -> usize {
        let own = self.iter().filter(|(id, param)| param.value.is_some() && !self.shared.contains_key(id));
        own.map(|(_, param)| param.len()).sum()
    }

    /// Values of a parameter as the model computes with them, row-major.
    ///
    /// # Errors
    /// [`Error::Unset`], [`Error::Device`].
    pub fn used_values(&self, id: ParamId) -> Result<Vec<f32>, Error> {
        let param = &self.params[id.0];
        if param.reparam.is_none() {
            return self.values(id);
        }
        let pass = Pass::eval(self, Precision::F32);
        let (value, rank) = match param.shape.len() {
            1 => (pass.vector(id)?.into_dispatch(), 1),
            _ => (pass.matrix(id)?.into_dispatch(), 2),
        };
        download(value, rank).map_err(|reason| Error::Device { path: param.path.clone(), reason })
    }

    /// Says with which axes files have a parameter, where those are others than here: the same numbers in the same order.
    ///
    /// Another count of numbers is a mistake of a family's author and asserted.
    pub fn split(&mut self, id: ParamId, axes: &[usize]) {
        let param = &mut self.params[id.0];
        assert_eq!(axes.iter().product::<usize>(), param.len(), "the axes of {}", param.path);
        param.axes = Some(axes.to_vec());
    }

    /// Number of parameters (tensors).
    pub fn len(&self) -> usize {
        self.params.len()
    }

    /// True when nothing has been declared.
    pub fn is_empty(&self) -> bool {
        self.params.is_empty()
    }

    /// Number of values over all parameters.
    pub fn values_total(&self) -> usize {
        self.params.iter().map(Param::len).sum()
    }

    /// All parameters in the order they were declared.
    pub fn iter(&self) -> impl Iterator<Item = (ParamId, &Param)> {
        self.params.iter().enumerate().map(|(id, param)| (ParamId(id), param))
    }

    /// One parameter.
    pub fn param(&self, id: ParamId) -> &Param {
        &self.params[id.0]
    }

    /// Highest depth group.
    pub fn top_group(&self) -> usize {
        self.params.iter().map(|p| p.group).max().unwrap_or(0)
    }

    /// Looks a path up.
    ///
    /// # Errors
    /// [`Error::UnknownParameter`], naming the nearest path.
    pub fn id(&self, path: &str) -> Result<ParamId, Error> {
        self.by_path.get(path).map(|&id| ParamId(id)).ok_or_else(|| Error::UnknownParameter {
            path: path.to_string(),
            nearest: self
                .params
                .iter()
                .map(|p| &p.path)
                .max_by_key(|p| p.bytes().zip(path.bytes()).take_while(|(a, b)| a == b).count())
                .cloned()
                .unwrap_or_default(),
        })
    }

    /// Gives a parameter its values, row-major.
    ///
    /// # Errors
    /// [`Error::WrongLength`].
    pub fn set(&mut self, id: ParamId, values: Vec<f32>) -> Result<(), Error> {
        let param = &mut self.params[id.0];
        if values.len() != param.len() {
            return Err(Error::WrongLength {
                path: param.path.clone(),
                shape: param.shape.clone(),
                expected: param.len(),
                got: values.len(),
            });
        }
        param.value = Some(Stored::Plain(upload(values, &param.shape, &self.device)));
        self.changes(id);
        Ok(())
    }

    /// Fills a parameter by its own initialisation, from a seed split by its path: the values do not depend on
    /// what else is initialised, or in which order.
    ///
    /// # Errors
    /// Never for a declared parameter; the signature is that of [`ParamStore::set`].
    pub fn initialise(&mut self, id: ParamId, seed: u64) -> Result<(), Error> {
        let param = &self.params[id.0];
        let mut stream = Stream(derive(seed, &param.path));
        let values = param.init.values(param.len(), &mut stream);
        self.set(id, values)
    }

    /// Reads a parameter's values back, row-major.
    ///
    /// # Errors
    /// [`Error::Unset`], [`Error::Device`].
    pub fn values(&self, id: ParamId) -> Result<Vec<f32>, Error> {
        let param = &self.params[id.0];
        let value = param.value.as_ref().ok_or_else(|| Error::Unset { path: param.path.clone() })?;
        let value = match value {
            Stored::Plain(tensor) => tensor.clone(),
            Stored::Nf4(packed) => return Ok(packed.values()),
        };
        download(value, param.shape.len())
            .map_err(|reason| Error::Device { path: param.path.clone(), reason })
    }

    /// The tensor of a parameter, without gradient tracking. Cheap: a reference is counted.
    ///
    /// # Errors
    /// [`Error::Unset`].
    pub fn tensor(&self, id: ParamId) -> Result<DispatchTensor, Error> {
        let param = &self.params[id.0];
        let value = param.value.as_ref().ok_or_else(|| Error::Unset { path: param.path.clone() })?;
        Ok(value.tensor(&param.shape, &self.device))
    }

    /// Takes the tensor out, so that an optimizer owns it alone and may change it in place; [`ParamStore::put`]
    /// brings it back.
    ///
    /// # Errors
    /// [`Error::Unset`].
    pub fn take(&mut self, id: ParamId) -> Result<DispatchTensor, Error> {
        self.changes(id);
        let param = &mut self.params[id.0];
        let value = param.value.take().ok_or_else(|| Error::Unset { path: param.path.clone() })?;
        Ok(value.tensor(&param.shape, &self.device))
    }

    /// Puts back a tensor of the parameter's shape.
    pub fn put(&mut self, id: ParamId, value: DispatchTensor) {
        self.put_stored(id, Stored::Plain(value));
    }

    pub(crate) fn put_stored(&mut self, id: ParamId, value: Stored) {
        self.changes(id);
        self.params[id.0].value = Some(value);
    }

    pub(crate) fn stored(&self, id: ParamId) -> Option<&Stored> {
        self.params[id.0].value.as_ref()
    }

    /// Moves a parameter a tenth of the way to what a batch showed.
    ///
    /// # Errors
    /// [`Error::Unset`].
    pub fn move_to(&mut self, id: ParamId, seen: DispatchTensor) -> Result<(), Error> {
        let old = Tensor::<1>::from_dispatch(self.take(id)?);
        let new = old.mul_scalar(0.9) + Tensor::<1>::from_dispatch(seen).mul_scalar(0.1);
        self.put(id, new.into_dispatch());
        Ok(())
    }

    fn changes(&mut self, id: ParamId) {
        self.shared.remove(&id);
        self.forget_packed(id);
    }

    fn forget_packed(&mut self, id: ParamId) {
        let Some(packs) = &mut self.packs else { return };
        // A store that shares them goes on with the values that they were made of.
        if Arc::strong_count(packs) > 1 {
            *packs = Arc::default();
        } else {
            packs.forget(id);
        }
    }

    /// From now on passes that track no gradients keep weights packed for the CPU's inner loop, each from its first
    /// use on until the parameter changes: results are the same to the bit, and a short text no longer waits for
    /// weights to be packed. Takes as much memory again as the weights of the linear maps, half as much in bf16. On
    /// devices other than the CPU it changes nothing.
    pub fn keep_packed(&mut self) {
        if self.device == Device::flex() && self.packs.is_none() {
            self.packs = Some(Arc::default());
        }
    }

    /// Gives the memory of packed weights back until they are used again.
    pub fn release_packed(&self) {
        self.packs.iter().for_each(|packs| packs.release());
    }

    /// The panels of weights stacked on each other, where they are kept.
    pub(crate) fn packed(
        &self,
        weights: &[ParamId],
        precision: Precision,
    ) -> Result<Option<Arc<Packed>>, Error> {
        let same = weights.iter().all(|id| self.shared.get(id) == Some(&true));
        // What lies in four bits would lie beside them in thirty-two.
        if weights.iter().any(|&id| matches!(self.stored(id), Some(Stored::Nf4(_)))) {
            return Ok(None);
        }
        let packs = self.shared_packs.as_ref().filter(|_| same).or(self.packs.as_ref());
        packs.map(|packs| packs.get(self, weights, precision)).transpose()
    }

    /// Paths that have no values yet, in order.
    pub fn unset(&self) -> Vec<ParamId> {
        self.iter().filter(|(_, p)| p.value.is_none()).map(|(id, _)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> ParamStore {
        let mut store = ParamStore::new(&Device::flex());
        store.declare("embed.word.weight", &[3, 2], 0, ParamKind::Weight, Init::Normal(0.02));
        store.declare("layers.0.attn.q.bias", &[2], 1, ParamKind::Bias, Init::Zeros);
        store
    }

    #[test]
    fn values_come_back_as_they_went_in() {
        let mut store = store();
        let id = store.id("embed.word.weight").unwrap();
        store.set(id, vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
        assert_eq!(store.values(id).unwrap(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(store.unset(), [ParamId(1)]);
        assert!(matches!(store.values(ParamId(1)), Err(Error::Unset { .. })));
    }

    #[test]
    fn a_store_as_it_is_keeps_its_values() {
        let mut store = store();
        store.initialise(ParamId(0), 7).unwrap();
        let (before, values) = (store.as_it_is(), store.values(ParamId(0)).unwrap());
        store.set(ParamId(0), vec![0.5; 6]).unwrap();
        assert_eq!(before.values(ParamId(0)).unwrap(), values);
        assert_eq!(before.id("layers.0.attn.q.bias").unwrap(), ParamId(1));
        assert_eq!(before.unset(), [ParamId(1)]);
    }

    #[test]
    fn what_is_shared_is_declared_once() {
        let mut store = store();
        let declared = store.sharing("target.", |store| {
            let kind = ParamKind::Bias;
            let mut declare = |path: &str| store.declare(path, &[2], 5, kind, Init::Zeros);
            [declare("target.layers.0.attn.q.bias"), declare("target.layers.0.across.q.bias")]
        });
        assert_eq!(declared, [ParamId(1), ParamId(2)]);
        assert_eq!((store.len(), store.param(ParamId(1)).group), (3, 1));
        assert_eq!(store.param(ParamId(2)).path, "target.layers.0.across.q.bias");
        // Only as long as it was asked for.
        let own = store.declare("target.layers.0.attn.q.bias", &[2], 5, ParamKind::Bias, Init::Zeros);
        assert_eq!(own, ParamId(3));
    }

    #[test]
    fn files_may_have_more_axes() {
        let mut store = store();
        store.split(ParamId(0), &[3, 1, 2]);
        assert_eq!(store.param(ParamId(0)).file_shape(), [3, 1, 2]);
        assert_eq!(store.param(ParamId(0)).shape, [3, 2]);
        assert_eq!(store.param(ParamId(1)).file_shape(), [2]);
    }

    #[test]
    fn a_wrong_length_names_the_parameter_and_its_shape() {
        let mut store = store();
        let error = store.set(ParamId(0), vec![0.0; 5]).unwrap_err().to_string();
        assert!(error.contains("embed.word.weight") && error.contains("[3, 2]"), "{error}");
    }

    #[test]
    fn an_unknown_path_names_the_nearest() {
        let error = store().id("layers.0.attn.k.bias").unwrap_err().to_string();
        assert!(error.contains("layers.0.attn.q.bias"), "{error}");
    }

    #[test]
    fn fresh_values_depend_on_seed_and_path_only() {
        let (mut a, mut b) = (store(), store());
        a.initialise(ParamId(0), 7).unwrap();
        b.initialise(ParamId(1), 7).unwrap();
        b.initialise(ParamId(0), 7).unwrap();
        assert_eq!(a.values(ParamId(0)).unwrap(), b.values(ParamId(0)).unwrap());
        b.initialise(ParamId(0), 8).unwrap();
        assert_ne!(a.values(ParamId(0)).unwrap(), b.values(ParamId(0)).unwrap());
    }
}
