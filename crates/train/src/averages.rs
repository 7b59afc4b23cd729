//! Means of weights over the steps of a run, which techniques of averaging share.
//!
//! A mean moves by `mean + share · (weight - mean)`: where a weight stays as it is, so does its mean, to the bit. What is
//! measured and not learnt (the statistics of batches) has no mean: it is taken as the last step left it.

use burn::backend::DispatchTensor;
use topwork_nn::{ParamId, ParamStore};

use crate::error::Error;
use crate::plan::Plan;
use crate::values::between;

/// The mean of each parameter that has moved since averaging began.
#[derive(Default)]
pub(crate) struct Averages {
    means: Vec<Option<DispatchTensor>>,
    /// The others as averaging found them: what their mean is until they move.
    still: Vec<Option<DispatchTensor>>,
}

impl Averages {
    /// Moves the means by a share of the way to the weights; the first time they are the weights.
    pub fn take_in(&mut self, share: f32, plan: &[Plan], store: &ParamStore) -> Result<(), Error> {
        let first = self.means.is_empty();
        self.means.resize_with(store.len(), || None);
        self.still.resize_with(store.len(), || None);
        for (id, param) in store.iter().filter(|(_, param)| param.kind.learns()) {
            let now = store.tensor(id)?;
            let moves = plan[id.0].train;
            let before = match self.means[id.0].take() {
                Some(mean) => Some(mean),
                None if first && moves => {
                    self.means[id.0] = Some(now);
                    continue;
                }
                None if first => {
                    self.still[id.0] = Some(now);
                    continue;
                }
                None => moves.then(|| self.still[id.0].take()).flatten(),
            };
            self.means[id.0] = before.map(|mean| between(mean, now, share, param.shape.len()));
        }
        Ok(())
    }

    /// The means, by parameter.
    pub fn values(&self) -> Vec<(ParamId, DispatchTensor)> {
        let means = self.means.iter().enumerate();
        means.filter_map(|(id, mean)| Some((ParamId(id), mean.clone()?))).collect()
    }

    /// Takes up the means of a run that goes on.
    pub fn restore(
        &mut self,
        means: Vec<(ParamId, DispatchTensor)>,
        store: &ParamStore,
    ) -> Result<(), Error> {
        if means.is_empty() {
            return Ok(());
        }
        self.means = (0..store.len()).map(|_| None).collect();
        // What has no mean has not moved since averaging began.
        self.still = store
            .iter()
            .map(|(id, param)| param.kind.learns().then(|| store.tensor(id)).transpose())
            .collect::<Result<_, _>>()?;
        for (id, mean) in means {
            (self.means[id.0], self.still[id.0]) = (Some(mean), None);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use topwork_nn::{Init, ParamKind};

    use super::*;

    fn store() -> ParamStore {
        let mut store = ParamStore::new(&Device::flex());
        for path in ["a", "b"] {
            let id = store.declare(path, &[2], 0, ParamKind::Weight, Init::Zeros);
            store.set(id, vec![0.1, 0.7]).unwrap();
        }
        store
    }

    fn values(averages: &Averages) -> Vec<(usize, Vec<f32>)> {
        let plain =
            |(id, mean): (ParamId, DispatchTensor)| (id.0, topwork_nn::param::download(mean, 1).unwrap());
        averages.values().into_iter().map(plain).collect()
    }

    /// `b` begins to move in the third step, and its mean then is over the steps in which it lay still, too.
    #[test]
    fn a_parameter_that_moves_late_has_lain_still_before() {
        let plans = [[true, false], [true, false], [false, true]];
        let plans = plans.map(|moves| moves.map(|train| Plan { train, ..Plan::default() }));
        let mut store = store();
        let (mut whole, mut again) = (Averages::default(), Averages::default());
        for (step, plan) in plans.iter().enumerate() {
            let moving = usize::from(step == 2);
            store.set(ParamId(moving), vec![step as f32 + 1.0, 0.7]).unwrap();
            let share = 1.0 / (step as f32 + 1.0);
            whole.take_in(share, plan, &store).unwrap();
            again.take_in(share, plan, &store).unwrap();
            // As a run that is interrupted after every step.
            let kept = again.values();
            again = Averages::default();
            again.restore(kept, &store).unwrap();
            assert_eq!(values(&again), values(&whole), "step {step}");
        }
        let means = values(&whole);
        let [(0, a), (1, b)] = means.as_slice() else { panic!("two means") };
        let close = |got: f32, expected: f32| assert!((got - expected).abs() < 1e-6, "{got} {expected}");
        close(a[0], (1.0 + 2.0 + 2.0) / 3.0);
        close(b[0], (0.1 + 0.1 + 3.0) / 3.0);
        assert_eq!((a[1], b[1]), (0.7, 0.7), "what does not move stays to the bit");
    }
}
