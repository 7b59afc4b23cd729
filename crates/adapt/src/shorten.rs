//! Adapters taken out of the lowest layers, which saves the time of those: what is trained with `adapter-drop` bears it.
//!
//! Paper: Rückle et al. 2021, "AdapterDrop: On the Efficiency of Adapters in Transformers", section 3,
//! <https://arxiv.org/abs/2010.11918>

use topwork_nn::{ParamId, ParamStore};

use crate::compacter::RULE;
use crate::error::Error;
use crate::{Attached, Part, Settings};

/// Takes an adapter out of so many of the lowest layers.
///
/// # Errors
/// [`Error::NotShortened`] for a kind that does not stand at the ends of blocks, and where none would be left.
pub fn shorten(attached: &mut Attached, layers: usize, store: &mut ParamStore) -> Result<(), Error> {
    let kind = attached.kind;
    let blocks =
        matches!(attached.settings, Settings::Bottleneck(_) | Settings::Compacter(_) | Settings::Fusion(_));
    if !blocks {
        return Err(Error::NotShortened { kind, why: "it does not stand at the ends of blocks" });
    }
    let cut = |parts: &mut Vec<Part>, store: &mut ParamStore| -> Result<(), Error> {
        let mut left = Vec::new();
        let mut shared: Vec<(&'static str, ParamId)> = Vec::new();
        for part in std::mem::take(parts) {
            let weight = store.id(&part.weight)?;
            // The first layer is the depth group after that of the embeddings.
            if store.param(weight).group > layers {
                left.push(part);
            } else {
                store.detach(weight);
                shared.extend(part.params.into_iter().filter(|(name, _)| *name == RULE));
            }
        }
        let first = left
            .first_mut()
            .ok_or(Error::NotShortened { kind, why: "in none of its layers there would be one left" })?;
        first.params.extend(shared);
        *parts = left;
        Ok(())
    };
    cut(&mut attached.parts, store)?;
    attached.members.iter_mut().try_for_each(|(_, member)| cut(&mut member.parts, store))
}
