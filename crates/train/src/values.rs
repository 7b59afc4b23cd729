//! Values of parameters put together, of any rank that parameters have, and values that stand in for others.

use burn::backend::DispatchTensor;
use burn::tensor::Tensor;
use topwork_nn::{Gradients, ParamId, ParamStore, gradient};
use topwork_ops::Gradient;

use crate::error::Error;

/// `a + share · (b - a)`: `a` itself, to the bit, where both are the same.
pub(crate) fn between(a: DispatchTensor, b: DispatchTensor, share: f32, rank: usize) -> DispatchTensor {
    fn of<const RANK: usize>(a: DispatchTensor, b: DispatchTensor, share: f32) -> DispatchTensor {
        let (a, b) = (Tensor::<RANK>::from_dispatch(a), Tensor::from_dispatch(b));
        (a.clone() + (b - a).mul_scalar(share)).into_dispatch()
    }
    match rank {
        1 => of::<1>(a, b, share),
        2 => of::<2>(a, b, share),
        3 => of::<3>(a, b, share),
        _ => of::<4>(a, b, share),
    }
}

/// `strength · (value - start)`, or `strength · value`, of any rank that parameters have.
pub(crate) fn pull(
    value: DispatchTensor,
    start: Option<DispatchTensor>,
    strength: f32,
    rank: usize,
) -> DispatchTensor {
    fn of<const RANK: usize>(
        value: DispatchTensor,
        start: Option<DispatchTensor>,
        strength: f32,
    ) -> DispatchTensor {
        let value = Tensor::<RANK>::from_dispatch(value);
        let moved = match start {
            Some(start) => value - Tensor::from_dispatch(start),
            None => value,
        };
        moved.mul_scalar(strength).into_dispatch()
    }
    match rank {
        1 => of::<1>(value, start, strength),
        2 => of::<2>(value, start, strength),
        3 => of::<3>(value, start, strength),
        _ => of::<4>(value, start, strength),
    }
}

/// The product of each value with another.
pub(crate) fn product(a: DispatchTensor, b: DispatchTensor, rank: usize) -> DispatchTensor {
    fn of<const RANK: usize>(a: DispatchTensor, b: DispatchTensor) -> DispatchTensor {
        (Tensor::<RANK>::from_dispatch(a) * Tensor::from_dispatch(b)).into_dispatch()
    }
    match rank {
        1 => of::<1>(a, b),
        2 => of::<2>(a, b),
        3 => of::<3>(a, b),
        _ => of::<4>(a, b),
    }
}

/// Adds to the gradient of a parameter.
pub(crate) fn add_to(gradients: &mut Gradients, id: ParamId, more: DispatchTensor, store: &ParamStore) {
    let more = Gradient::Dense(more);
    let sum = match gradients.take(id) {
        Some(found) => gradient::add(found, more, &store.param(id).shape),
        None => more,
    };
    gradients.put(id, sum);
}

/// Puts values into a store, and gives those that were there.
pub(crate) fn swap(
    store: &mut ParamStore,
    values: Vec<(ParamId, DispatchTensor)>,
) -> Result<Vec<(ParamId, DispatchTensor)>, Error> {
    let mut before = Vec::with_capacity(values.len());
    for (id, value) in values {
        before.push((id, store.take(id)?));
        store.put(id, value);
    }
    Ok(before)
}
