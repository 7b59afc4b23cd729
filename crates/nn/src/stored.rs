//! How the values of a parameter lie in memory: as they are, or in four bits.

use std::sync::Arc;

use burn::backend::DispatchTensor;
use burn::tensor::{Device, Tensor, TensorData};
use topwork_kernels::nf4::Nf4;

use crate::error::Error;
use crate::param::{ParamId, ParamStore};

/// The values of a parameter.
#[derive(Clone, Debug)]
pub(crate) enum Stored {
    /// As they are.
    Plain(DispatchTensor),
    /// In four bits; made anew each time they are asked for.
    Nf4(Arc<Nf4>),
}

impl Stored {
    /// The values as a tensor: of plain ones a counted reference.
    pub fn tensor(&self, shape: &[usize], device: &Device) -> DispatchTensor {
        match self {
            Stored::Plain(tensor) => tensor.clone(),
            Stored::Nf4(packed) => upload(packed.values(), shape, device),
        }
    }
}

impl ParamStore {
    /// From now on a parameter has the nearest values that four bits can say, and lies in memory so: an eighth of what it took.
    /// Whoever asks for it gets those values as any others, made anew each time.
    ///
    /// Paper: Dettmers et al. 2023, "QLoRA: Efficient Finetuning of Quantized LLMs", section 3, <https://arxiv.org/abs/2305.14314>
    ///
    /// # Errors
    /// [`Error::Unset`], [`Error::Device`].
    pub fn quantise(&mut self, id: ParamId) -> Result<(), Error> {
        let packed = Nf4::of(&self.values(id)?);
        self.put_stored(id, Stored::Nf4(Arc::new(packed)));
        Ok(())
    }

    /// Bytes that the values of a parameter take.
    pub fn bytes(&self, id: ParamId) -> usize {
        match self.stored(id) {
            None => 0,
            Some(Stored::Plain(_)) => 4 * self.param(id).len(),
            Some(Stored::Nf4(packed)) => packed.bytes(),
        }
    }
}

/// Values to a tensor of a run-time rank.
pub fn upload(values: Vec<f32>, shape: &[usize], device: &Device) -> DispatchTensor {
    let data = TensorData::new(values, shape.to_vec());
    match shape.len() {
        1 => Tensor::<1>::from_data(data, device).into_dispatch(),
        2 => Tensor::<2>::from_data(data, device).into_dispatch(),
        3 => Tensor::<3>::from_data(data, device).into_dispatch(),
        4 => Tensor::<4>::from_data(data, device).into_dispatch(),
        rank => unreachable!("no layer declares a parameter of rank {rank}"),
    }
}

/// A tensor of a run-time rank to values, row-major.
pub fn download(value: DispatchTensor, rank: usize) -> Result<Vec<f32>, String> {
    let data = match rank {
        1 => Tensor::<1>::from_dispatch(value).try_into_data(),
        2 => Tensor::<2>::from_dispatch(value).try_into_data(),
        3 => Tensor::<3>::from_dispatch(value).try_into_data(),
        4 => Tensor::<4>::from_dispatch(value).try_into_data(),
        rank => unreachable!("no layer declares a parameter of rank {rank}"),
    };
    data.map_err(|e| e.to_string())?.try_into_vec::<f32>().map_err(|e| format!("{e:?}"))
}

#[cfg(test)]
mod tests {
    use topwork_kernels::gemm::Precision;

    use super::*;
    use crate::init::Init;
    use crate::layers::Linear;
    use crate::param::ParamKind;
    use crate::pass::Pass;

    #[test]
    fn what_lies_in_four_bits_is_used_as_what_it_stands_for() {
        let mut store = ParamStore::new(&Device::flex());
        let linear = Linear::declare(&mut store, "layers.0.attn.q", [48, 64], 1, 0.1);
        let word = store.declare("embed.word.weight", &[5, 2], 0, ParamKind::Weight, Init::Normal(0.1));
        for id in store.unset() {
            store.initialise(id, 3).unwrap();
        }
        store.keep_packed();
        let before = store.values(linear.weight).unwrap();
        let answer = |store: &ParamStore| -> Vec<f32> {
            let x: Vec<f32> = (0..3 * 64).map(|at| (at as f32 * 0.3).sin()).collect();
            let x = Tensor::<2>::from_data(TensorData::new(x, [3, 64]), store.device());
            let pass = Pass::eval(store, Precision::F32);
            linear.forward(&pass, x).unwrap().into_data().try_into_vec().unwrap()
        };
        let plain = answer(&store);
        store.quantise(linear.weight).unwrap();
        let after = store.values(linear.weight).unwrap();
        assert_ne!(after, before);
        assert!(store.bytes(linear.weight) * 7 < 4 * before.len(), "{}", store.bytes(linear.weight));
        assert_eq!(store.bytes(word), 40);
        assert!(store.unset().is_empty());
        // The same as a store that has those values as they are.
        let quantised = answer(&store);
        let mut other = store.as_it_is();
        other.set(linear.weight, after.clone()).unwrap();
        assert_eq!(other.bytes(linear.weight), 4 * after.len());
        assert_eq!(answer(&other), quantised);
        assert_ne!(plain, quantised);
        // Taken out it is a tensor like any other.
        let taken = store.take(linear.weight).unwrap();
        assert_eq!(store.bytes(linear.weight), 0);
        store.put(linear.weight, taken);
        assert_eq!(store.values(linear.weight).unwrap(), after);
    }
}
