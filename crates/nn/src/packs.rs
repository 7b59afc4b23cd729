//! Weights packed for the CPU's inner loop, kept for as long as they do not change.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use topwork_kernels::gemm::{Mat, Packed, Precision};

use crate::error::Error;
use crate::param::{ParamId, ParamStore};

/// Packed weights of a store, each made when it is first used.
#[derive(Debug, Default)]
pub(crate) struct Packs {
    made: Mutex<HashMap<Key, Arc<Packed>>>,
}

/// The weights that are stacked, and what they are rounded to.
type Key = (Vec<ParamId>, Precision);

impl Packs {
    /// Forgets all that was made.
    pub fn release(&self) {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Forgets what was made of one parameter.
    pub fn forget(&self, id: ParamId) {
        self.made
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|(weights, _), _| !weights.contains(&id));
    }

    /// The panels of weights stacked on each other.
    pub fn get(
        &self,
        store: &ParamStore,
        weights: &[ParamId],
        precision: Precision,
    ) -> Result<Arc<Packed>, Error> {
        // A panic elsewhere cannot leave a half-made entry behind.
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (weights.to_vec(), precision);
        if let Some(packed) = made.get(&key) {
            return Ok(Arc::clone(packed));
        }
        let values: Vec<Vec<f32>> = weights.iter().map(|&id| store.values(id)).collect::<Result<_, _>>()?;
        // Filters of more axes are matrices of their first one and all others, as in `Pass::matrix`.
        let shape = |&id: &ParamId| {
            let shape = &store.param(id).shape;
            (shape[0], shape[1..].iter().product())
        };
        let stacked: Vec<Mat<'_>> = values
            .iter()
            .zip(weights.iter().map(shape))
            .map(|(values, (rows, cols))| Mat::new(values, rows, cols))
            .collect();
        let packed = Arc::new(Packed::new(&stacked, precision));
        made.insert(key, Arc::clone(&packed));
        Ok(packed)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor, TensorData};

    use super::*;
    use crate::init::Init;
    use crate::layers::Linear;
    use crate::param::ParamKind;
    use crate::pass::Pass;

    fn answers(store: &ParamStore, linear: &Linear, precision: Precision) -> Vec<Vec<u32>> {
        let x: Vec<f32> = (0..5 * 7).map(|i| (i as f32).sin()).collect();
        let x = Tensor::<2>::from_data(TensorData::new(x, [5, 7]), store.device());
        let pass = Pass::eval(store, precision);
        let (w, b) = (linear.weight, linear.bias);
        [linear.forward(&pass, x.clone()).unwrap(), pass.linear_qkv(x, [w; 3], [b; 3]).unwrap()]
            .into_iter()
            .map(|y| y.into_data().try_into_vec::<f32>().unwrap().into_iter().map(f32::to_bits).collect())
            .collect()
    }

    #[test]
    fn packed_weights_give_the_same_bits_and_follow_changes() {
        let mut store = ParamStore::new(&Device::flex());
        let linear = Linear::declare(&mut store, "map", [9, 7], 0, 0.5);
        store.declare("other", &[1], 0, ParamKind::Bias, Init::Zeros);
        for id in [linear.weight, linear.bias.unwrap()] {
            store.initialise(id, 3).unwrap();
        }
        for precision in [Precision::F32, Precision::Bf16] {
            let plain = answers(&store, &linear, precision);
            store.keep_packed();
            assert_eq!(answers(&store, &linear, precision), plain);
            assert_eq!(answers(&store, &linear, precision), plain, "from the kept panels");
            store.initialise(linear.weight, 4).unwrap();
            let changed = answers(&store, &linear, precision);
            assert_ne!(changed, plain);
            store.packs = None;
            assert_eq!(answers(&store, &linear, precision), changed);
            store.initialise(linear.weight, 3).unwrap();
        }
    }

    #[test]
    fn filters_of_several_axes_are_packed_as_matrices() {
        let mut store = ParamStore::new(&Device::flex());
        let linear = Linear::declare(&mut store, "map", [9, 7], 0, 0.5);
        let filters = store.declare("filters", &[9, 7, 1, 1], 0, ParamKind::Weight, Init::Normal(0.5));
        for id in [linear.weight, linear.bias.unwrap()] {
            store.initialise(id, 3).unwrap();
        }
        store.set(filters, store.values(linear.weight).unwrap()).unwrap();
        let plain = answers(&store, &linear, Precision::F32);
        store.keep_packed();
        assert_eq!(answers(&store, &Linear { weight: filters, ..linear }, Precision::F32), plain);
    }

    #[test]
    fn an_unset_weight_is_named() {
        let mut store = ParamStore::new(&Device::flex());
        let linear = Linear::declare(&mut store, "map", [9, 7], 0, 0.5);
        store.keep_packed();
        store.initialise(linear.bias.unwrap(), 0).unwrap();
        let x = Tensor::<2>::zeros([1, 7], store.device());
        let error = linear.forward(&Pass::eval(&store, Precision::F32), x).unwrap_err().to_string();
        assert!(error.contains("map.weight"), "{error}");
    }
}
