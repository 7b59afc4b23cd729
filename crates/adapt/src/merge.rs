//! Weights that take an adapter up, and weights that give it back.

use topwork_nn::{ParamId, ParamStore};

use crate::error::Error;
use crate::{Attached, Settings};

/// Takes an adapter out of weights that had taken it up: what a weight was before, from what it is with the adapter, and detaches
/// it. Rounding stays: a weight comes back to about the precision of an `f32`.
///
/// # Errors
/// [`Error::NotUndone`] for DoRA, which keeps of a row of weights its direction only, for a scale of zero, and for what weights
/// cannot take up.
pub fn undo(attached: &Attached, store: &mut ParamStore) -> Result<(), Error> {
    let kind = attached.kind;
    let refused = |why| Error::NotUndone { kind, why };
    for part in &attached.parts {
        let weight = store.id(&part.weight)?;
        match attached.settings {
            Settings::LowRank(_) if kind == "dora" => {
                return Err(refused("of each row of a weight only the direction is left"));
            }
            Settings::LowRank(_) => {
                let (merged, twice) = (store.values(weight)?, store.used_values(weight)?);
                // What it is used as has the adapter in it once more.
                let plain = merged.iter().zip(twice).map(|(merged, twice)| merged - (twice - merged));
                store.set(weight, plain.collect())?;
                store.detach(weight);
            }
            Settings::None => {
                let [(_, scale)] = part.params[..] else { continue };
                let scales = store.values(scale)?;
                if scales.contains(&0.0) {
                    return Err(refused("one of its scales is zero"));
                }
                let columns = store.param(weight).shape[1];
                let of_row = |at: usize| if part.scales_input { at % columns } else { at / columns };
                divide(store, weight, |at| scales[of_row(at)])?;
                let bias = store.id(&part.weight.replace(".weight", ".bias"));
                if let (false, Ok(bias)) = (part.scales_input, bias) {
                    divide(store, bias, |at| scales[at])?;
                }
            }
            Settings::Bottleneck(_)
            | Settings::Compacter(_)
            | Settings::Fusion(_)
            | Settings::Prompt(_)
            | Settings::Prefix(_) => {
                return Err(refused("weights cannot take it up"));
            }
        }
    }
    Ok(())
}

fn divide(store: &mut ParamStore, id: ParamId, by: impl Fn(usize) -> f32) -> Result<(), Error> {
    let values = store.values(id)?;
    store.set(id, values.into_iter().enumerate().map(|(at, value)| value / by(at)).collect())?;
    store.detach(id);
    Ok(())
}
