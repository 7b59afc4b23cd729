//! A value for each bucket of distances and each head, which is added to the scores of attention.
//!
//! Paper: Raffel et al. 2020, "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer", section
//! 2.1, <https://arxiv.org/abs/1910.10683>

use std::sync::Arc;

use topwork_nn::{DistanceBias, Error, ParamId, Pass};

use crate::buckets;

/// A table of a value for each bucket and head, and which bucket each distance has.
#[derive(Clone, Debug)]
pub struct Buckets {
    table: ParamId,
    /// The bucket of each distance (key minus query) from `-zero` on.
    of: Arc<[u32]>,
    zero: usize,
}

impl Buckets {
    /// Buckets of keys on both sides, or only of those before; from `most` tokens on all distances are one.
    ///
    /// # Shapes
    /// - `table`: `[buckets, heads]`
    pub fn new(table: ParamId, buckets: usize, most: usize, both_sides: bool) -> Self {
        let right = if both_sides { most as i64 } else { 0 };
        let bucket = |distance: i64| match both_sides {
            true => buckets::both_ways(distance, buckets, most) as u32,
            false => buckets::of_length(distance.unsigned_abs() as usize, buckets, most) as u32,
        };
        let of = (-(most as i64)..=right).map(bucket);
        Buckets { table, of: of.collect(), zero: most }
    }

    /// The bias of this pass.
    ///
    /// # Errors
    /// A parameter without values.
    pub fn bias(&self, pass: &Pass) -> Result<DistanceBias, Error> {
        Ok(DistanceBias { table: pass.lookup(self.table, &self.of)?.transpose(), zero: self.zero })
    }
}
