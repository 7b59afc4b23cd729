//! The gradient audit of a run's first step: what should move got a gradient, what is frozen got none.

use topwork_nn::{Gradients, ParamKind, ParamStore};

use crate::error::Error;

/// Compares what got a gradient with what should have.
///
/// # Errors
/// [`Error::Audit`] naming every parameter on the wrong side.
pub fn check(store: &ParamStore, gradients: &Gradients, trainable: &[bool]) -> Result<(), Error> {
    let side = |wanted: bool| -> Vec<String> {
        store
            .iter()
            .filter(|(id, param)| {
                let wanted_here = wanted && param.kind != ParamKind::Running;
                trainable[id.0] == wanted && gradients.get(*id).is_some() != wanted_here
            })
            .map(|(_, param)| param.path.clone())
            .collect()
    };
    let (without, unexpected) = (side(true), side(false));
    if without.is_empty() && unexpected.is_empty() {
        return Ok(());
    }
    Err(Error::Audit { without, unexpected })
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor};
    use topwork_nn::{Init, ParamId};
    use topwork_ops::Gradient;

    use super::*;

    #[test]
    fn both_sides_are_named() {
        let mut store = ParamStore::new(&Device::flex());
        for path in ["a", "b", "c"] {
            store.declare(path, &[1], 0, ParamKind::Weight, Init::Zeros);
        }
        let mut gradients = Gradients::none(3);
        let grad = || Gradient::Dense(Tensor::<1>::zeros([1], &Device::flex()).into_dispatch());
        gradients.put(ParamId(0), grad());
        check(&store, &gradients, &[true, false, false]).unwrap();
        gradients.put(ParamId(2), grad());
        let error = check(&store, &gradients, &[true, true, false]).unwrap_err().to_string();
        assert!(error.contains("1 trainable parameters got no gradient: b"), "{error}");
        assert!(error.contains("1 frozen parameters got one: c"), "{error}");
    }
}
