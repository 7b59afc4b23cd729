//! Words in clusters by how frequent they are: the rarer a cluster's words, the narrower its table may be. The tables, the maps
//! from them to the width of the model, and looking words up in them; predicting words is [`crate::heads::adaptive`].
//!
//! Papers: Grave et al. 2017, "Efficient softmax approximation for GPUs", section 4, <https://arxiv.org/abs/1609.04309>; Baevski,
//! Auli 2019, "Adaptive Input Representations for Neural Language Modeling", section 3, <https://arxiv.org/abs/1809.10853>.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::Tensor;
use topwork_nn::memory::cat_rows;
use topwork_nn::{Init, ParamId, ParamKind, ParamStore, Pass};

use crate::error::Error;

/// Where clusters end and how wide they are.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterStyle {
    /// Words of the vocabulary up to which each cluster goes, rising; the last is the whole of it.
    pub ends: Vec<usize>,
    /// Width of the table of the most frequent words.
    pub width: usize,
    /// Each cluster's table is so many times narrower than that of the cluster before it; at 1 all words are in one table.
    pub divide: usize,
    /// Width of the model.
    pub hidden: usize,
    /// Standard deviation of fresh tables.
    pub std: f32,
    /// Standard deviation of fresh maps.
    pub map_std: f32,
    /// Whether the model predicts words by these tables, and not by tables of its own.
    pub tied: bool,
    /// For each cluster whether the model predicts its words by the map here, and not by one of its own.
    pub tied_maps: Vec<bool>,
}

/// Tables of words, and maps from them to the width of the model.
#[derive(Clone, Debug)]
pub struct Clusters {
    /// Where they end and how wide they are.
    pub style: ClusterStyle,
    /// One for each cluster, or a single one: `[words, width of the cluster]`.
    pub tables: Vec<ParamId>,
    /// From each table to the model, `[hidden, width of the cluster]`; none where a single table is as wide as the model.
    pub maps: Vec<ParamId>,
}

impl ClusterStyle {
    /// Number of clusters.
    pub fn clusters(&self) -> usize {
        self.ends.len()
    }

    /// The words of a cluster.
    pub fn words(&self, cluster: usize) -> Range<usize> {
        cluster.checked_sub(1).map_or(0, |before| self.ends[before])..self.ends[cluster]
    }

    /// The cluster of a word of the vocabulary.
    pub fn cluster_of(&self, word: u32) -> usize {
        self.ends.partition_point(|&end| end <= word as usize)
    }

    /// Width of a cluster's table.
    pub fn width_of(&self, cluster: usize) -> usize {
        (0..cluster).fold(self.width as u128, |width, _| width / self.divide as u128) as usize
    }

    /// Number of tables, and the words and width of each.
    pub fn tables(&self) -> Vec<[usize; 2]> {
        if self.divide == 1 {
            return vec![[self.ends[self.ends.len() - 1], self.width]];
        }
        (0..self.clusters()).map(|cluster| [self.words(cluster).len(), self.width_of(cluster)]).collect()
    }

    /// Whether there are maps between tables and model.
    pub fn mapped(&self) -> bool {
        self.divide > 1 || self.width != self.hidden
    }

    /// The table, or map, of a cluster among those there are.
    pub fn at(&self, cluster: usize) -> usize {
        if self.divide == 1 { 0 } else { cluster }
    }
}

impl Clusters {
    /// Declares `embed.word.{c}` and, where there are any, `embed.map.{c}`.
    pub fn declare(store: &mut ParamStore, style: ClusterStyle) -> Self {
        let (mut tables, mut maps) = (Vec::new(), Vec::new());
        for (cluster, [words, width]) in style.tables().into_iter().enumerate() {
            let path = format!("embed.word.{cluster}.weight");
            tables.push(store.declare(&path, &[words, width], 0, ParamKind::Weight, Init::Normal(style.std)));
            if style.mapped() {
                let (path, init) = (format!("embed.map.{cluster}.weight"), Init::Normal(style.map_std));
                maps.push(store.declare(&path, &[style.hidden, width], 0, ParamKind::Weight, init));
            }
        }
        Clusters { style, tables, maps }
    }

    /// The vectors of words, times the root of the width.
    ///
    /// # Shapes
    /// - `ids`: `[tokens]`; returns `[tokens, hidden]`
    ///
    /// # Errors
    /// An id beyond the vocabulary, a parameter without values.
    pub fn lookup(&self, pass: &Pass, ids: &[u32]) -> Result<Tensor<2>, Error> {
        let scale = (self.style.hidden as f32).sqrt();
        let vocab = self.style.ends[self.style.clusters() - 1];
        if let Some(&id) = ids.iter().find(|&&id| id as usize >= vocab) {
            let path = pass.store().param(self.tables[0]).path.clone();
            return Err(topwork_nn::Error::IdOutOfRange { path, id, rows: vocab }.into());
        }
        if self.tables.len() == 1 {
            let mut x = pass.lookup(self.tables[0], ids)?;
            if let Some(&map) = self.maps.first() {
                x = pass.linear(x, map, None)?;
            }
            return Ok(x * scale);
        }
        let (mut parts, mut rows, mut order) = (Vec::new(), 0u32, vec![0u32; ids.len()]);
        for cluster in 0..self.style.clusters() {
            let first = self.style.words(cluster).start as u32;
            let mut local = Vec::new();
            for (token, &id) in
                ids.iter().enumerate().filter(|&(_, &id)| self.style.cluster_of(id) == cluster)
            {
                order[token] = rows + local.len() as u32;
                local.push(id - first);
            }
            if local.is_empty() {
                if !pass.training() {
                    continue;
                }
                // A row that no token takes: what this batch has no word of gets a gradient of zeros, and not none.
                local.push(0);
            }
            rows += local.len() as u32;
            let x = pass.lookup(self.tables[cluster], &local)?;
            parts.push(pass.linear(x, self.maps[cluster], None)?);
        }
        let all = cat_rows(parts);
        Ok(topwork_ops::embedding(all, &Arc::from(order)) * scale)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use topwork_kernels::gemm::Precision;

    use super::*;

    fn style(divide: usize) -> ClusterStyle {
        ClusterStyle {
            ends: vec![3, 5, 9],
            width: 8,
            divide,
            hidden: 4,
            std: 0.5,
            map_std: 0.5,
            tied: true,
            tied_maps: vec![true; 3],
        }
    }

    #[test]
    fn words_lie_in_clusters_that_get_narrower() {
        let style = style(2);
        assert_eq!(style.tables(), [[3, 8], [2, 4], [4, 2]]);
        assert_eq!([0, 2, 3, 4, 5, 8].map(|word| style.cluster_of(word)), [0, 0, 1, 1, 2, 2]);
        assert_eq!((style.words(0), style.words(2)), (0..3, 5..9));
        assert_eq!(self::style(1).tables(), [[9, 8]]);
    }

    #[test]
    fn a_word_has_its_vector_whatever_stands_beside_it() {
        for divide in [1, 2] {
            let mut store = ParamStore::new(&Device::flex());
            let clusters = Clusters::declare(&mut store, style(divide));
            for id in store.unset() {
                store.initialise(id, 1).unwrap();
            }
            let pass = Pass::eval(&store, Precision::F32);
            let rows =
                |ids: &[u32]| clusters.lookup(&pass, ids).unwrap().into_data().try_into_vec::<f32>().unwrap();
            let all = rows(&[8, 0, 4, 1, 8]);
            for (at, id) in [8, 0, 4, 1, 8].into_iter().enumerate() {
                assert_eq!(rows(&[id]), all[at * 4..][..4], "{id}");
            }
            let error = clusters.lookup(&pass, &[9]).unwrap_err().to_string();
            assert!(error.contains('9') && error.contains("embed.word"), "{error}");
        }
    }

    #[test]
    fn a_cluster_without_a_word_gets_a_gradient_of_zeros() {
        let mut store = ParamStore::new(&Device::flex());
        let clusters = Clusters::declare(&mut store, style(2));
        for id in store.unset() {
            store.initialise(id, 1).unwrap();
        }
        let trainable = vec![true; store.len()];
        let pass = Pass::train(&store, Precision::F32, 0, &trainable);
        let loss = clusters.lookup(&pass, &[0, 4]).unwrap().sum();
        let gradients = pass.backward(&loss).unwrap();
        assert_eq!(gradients.ids().count(), store.len());
    }
}
