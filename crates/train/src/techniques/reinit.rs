//! Upper layers begin anew: what pretraining made of them is too much its own task's.
//!
//! Paper: Zhang et al. 2021, "Revisiting Few-sample BERT Fine-tuning", section 5, <https://arxiv.org/abs/2006.05987>. As there, the
//! pooler begins anew too, where the family has one.

use topwork_kernels::rng::derive;
use topwork_nn::{ParamId, ParamStore};

use crate::error::Error;
use crate::plan::{ParamInfo, top};
use crate::technique::{OptionSpec, Technique, TechniqueEntry, in_range};

/// The entry in the list.
pub const ENTRY: TechniqueEntry = TechniqueEntry {
    name: "reinit",
    summary: "the uppermost layers, and the pooler, begin with fresh values",
    paper: "https://arxiv.org/abs/2006.05987",
    options: &[OptionSpec { key: "layers", about: "how many layers begin anew, from the top (default 1)" }],
    apart: &[],
    build: |options, params| {
        let below = top(params).saturating_sub(1);
        let whole = |n: f64| n >= 1.0 && n.fract() == 0.0;
        let layers =
            in_range(&ENTRY, options, ("layers", 1.0), whole, "layers as a whole number of at least 1")?;
        if layers as usize > below {
            let (expected, got) =
                ("at most as many layers as the encoder has", format!("{layers} of {below}"));
            return Err(Error::Option { name: "reinit", expected, got });
        }
        Ok(Box::new(Reinit { first: top(params) - layers as usize, top: top(params) }))
    },
};

struct Reinit {
    /// The lowest depth group that begins anew, and the head's.
    first: usize,
    top: usize,
}

impl Technique for Reinit {
    fn renew(
        &mut self,
        params: &[ParamInfo],
        store: &mut ParamStore,
        seed: u64,
    ) -> Result<Vec<ParamId>, Error> {
        let fresh = |param: &ParamInfo| {
            let layer = (self.first..self.top).contains(&param.group);
            param.kind.learns() && (layer || param.path.starts_with("pooler"))
        };
        let mut renewed = Vec::new();
        for (id, _) in params.iter().enumerate().filter(|(_, param)| fresh(param)) {
            store.initialise(ParamId(id), derive(seed, "reinit"))?;
            renewed.push(ParamId(id));
        }
        Ok(renewed)
    }
}
