//! Scores of words in clusters: frequent words and the clusters of the others compete, then the words of a cluster among
//! themselves. Only tokens whose word is of a cluster pay for it in a loss.
//!
//! Paper: Grave et al. 2017, "Efficient softmax approximation for GPUs", section 4, <https://arxiv.org/abs/1609.04309>

use std::sync::Arc;

use burn::tensor::{Tensor, activation};
use topwork_kernels::loss::IGNORE;
use topwork_kernels::pool::Pool;
use topwork_nn::loss::cross_entropy;
use topwork_nn::{Init, ParamId, ParamKind, ParamStore, Pass};
use topwork_text::Packed;

use crate::adaptive::{ClusterStyle, Clusters};
use crate::error::Error;
use crate::family::Encoder;
use crate::head::{Head, LossOptions, Targets};

/// The clusters as scores.
pub struct Adaptive {
    /// The name of the head, for messages.
    head: &'static str,
    style: ClusterStyle,
    /// Tables and biases of words, as many as the encoder's tables.
    words: Vec<ParamId>,
    biases: Vec<ParamId>,
    /// From the model to each cluster, `[hidden, width of the cluster]`.
    maps: Vec<Option<ParamId>>,
    /// What stands for whole clusters among the frequent words, if there are any besides those: its rows and biases.
    clusters: Option<(ParamId, ParamId)>,
}

impl Adaptive {
    /// Declares `head.words.{c}`, `head.map.{c}` and `head.cluster` where the encoder's tables do not serve; `head` is the name of
    /// the head it is.
    pub fn declare(head: &'static str, store: &mut ParamStore, encoder: &dyn Encoder, of: &Clusters) -> Self {
        let (style, group) = (of.style.clone(), encoder.parts() + 1);
        let (init, map_init) = (Init::Normal(style.std), Init::Normal(style.map_std));
        let (mut words, mut biases) = (Vec::new(), Vec::new());
        for (at, [count, width]) in style.tables().into_iter().enumerate() {
            words.push(if style.tied {
                of.tables[at]
            } else {
                let path = format!("head.words.{at}.weight");
                store.declare(&path, &[count, width], group, ParamKind::Weight, init)
            });
            let path = format!("head.words.{at}.bias");
            biases.push(store.declare(&path, &[count], group, ParamKind::Bias, Init::Zeros));
        }
        let mut maps = vec![None; style.clusters()];
        for (cluster, map) in maps.iter_mut().enumerate().filter(|_| style.mapped()) {
            *map = Some(if style.tied_maps[cluster] {
                of.maps[style.at(cluster)]
            } else {
                let (path, width) =
                    (format!("head.map.{cluster}.weight"), style.tables()[style.at(cluster)][1]);
                store.declare(&path, &[style.hidden, width], group, ParamKind::Weight, map_init)
            });
        }
        let more = style.clusters() - 1;
        let clusters = (more > 0).then(|| {
            let shape = [more, style.width];
            let weight = store.declare("head.cluster.weight", &shape, group, ParamKind::Weight, init);
            (weight, store.declare("head.cluster.bias", &shape[..1], group, ParamKind::Bias, Init::Zeros))
        });
        Adaptive { head, style, words, biases, maps, clusters }
    }

    /// Hidden states at the width of a cluster's table.
    fn mapped(&self, pass: &Pass, x: Tensor<2>, cluster: usize) -> Result<Tensor<2>, Error> {
        Ok(match self.maps[cluster] {
            None => x,
            Some(map) => {
                let turned = pass.matrix_apart(map)?.transpose();
                topwork_ops::linear(x, turned, None, pass.precision())
            }
        })
    }

    /// Scores of the words of a cluster, before the softmax.
    ///
    /// # Shapes
    /// - `x`: `[rows, width of the cluster]`; returns `[rows, words]`
    fn scores(&self, pass: &Pass, x: Tensor<2>, cluster: usize) -> Result<Tensor<2>, Error> {
        let at = self.style.at(cluster);
        let (table, bias) = (self.words[at], self.biases[at]);
        let words = self.style.words(cluster);
        if words.len() == pass.store().param(table).shape[0] {
            return Ok(pass.linear(x, table, Some(bias))?);
        }
        let (table, bias) = (pass.matrix(table)?, pass.vector(bias)?);
        let (table, bias) = (table.slice_dim(0, words.clone()), bias.slice_dim(0, words));
        Ok(topwork_ops::linear(x, table, Some(bias), pass.precision()))
    }

    /// Scores of the frequent words and of whole clusters.
    fn first_scores(&self, pass: &Pass, x: Tensor<2>) -> Result<Tensor<2>, Error> {
        let x = self.mapped(pass, x, 0)?;
        let words = self.scores(pass, x.clone(), 0)?;
        let Some((weight, bias)) = self.clusters else { return Ok(words) };
        Ok(Tensor::cat(vec![words, pass.linear(x, weight, Some(bias))?], 1))
    }
}

impl Head for Adaptive {
    fn pooled(&self) -> Option<Pool> {
        None
    }

    /// Natural logarithms of probabilities.
    fn forward(&self, pass: &Pass, x: Tensor<2>, _: &Packed) -> Result<Tensor<2>, Error> {
        let first = activation::log_softmax(self.first_scores(pass, x.clone())?, 1);
        let frequent = self.style.ends[0];
        let mut parts = vec![first.clone().slice_dim(1, 0..frequent)];
        for cluster in 1..self.style.clusters() {
            let column = frequent + cluster - 1;
            let scores = self.scores(pass, self.mapped(pass, x.clone(), cluster)?, cluster)?;
            parts.push(activation::log_softmax(scores, 1) + first.clone().slice_dim(1, column..column + 1));
        }
        Ok(Tensor::cat(parts, 1))
    }

    fn loss(
        &self,
        pass: &Pass,
        x: Tensor<2>,
        _: &Packed,
        targets: &Targets,
        options: &LossOptions,
    ) -> Result<Tensor<1>, Error> {
        let Targets::Tokens(target) = targets else {
            return Err(Error::Targets { head: self.head, expected: "tokens", got: targets.kind() });
        };
        if options.class_weights.is_some() || options.smoothing > 0.0 {
            return Err(Error::PlainLoss { head: self.head });
        }
        let asked: Arc<[u32]> = (0..target.len() as u32).filter(|&t| target[t as usize] != IGNORE).collect();
        let words: Vec<u32> = asked.iter().map(|&token| target[token as usize]).collect();
        let vocab = self.style.ends[self.style.clusters() - 1];
        if let Some(&id) = words.iter().find(|&&word| word as usize >= vocab) {
            let path = pass.store().param(self.words[0]).path.clone();
            return Err(topwork_nn::Error::IdOutOfRange { path, id, rows: vocab }.into());
        }
        let x = topwork_ops::embedding(x, &asked);
        let frequent = self.style.ends[0] as u32;
        let first = words.iter().map(|&word| match self.style.cluster_of(word) as u32 {
            0 => word,
            cluster => frequent + cluster - 1,
        });
        let mut loss = cross_entropy(self.first_scores(pass, x.clone())?, &first.collect(), None, 0.0);
        for cluster in 1..self.style.clusters() {
            let of_cluster = |&row: &u32| self.style.cluster_of(words[row as usize]) == cluster;
            let mut rows: Vec<u32> = (0..words.len() as u32).filter(of_cluster).collect();
            let mut share = rows.len() as f32 / words.len() as f32;
            let start = self.style.words(cluster).start as u32;
            let mut local: Vec<u32> = rows.iter().map(|&row| words[row as usize] - start).collect();
            if rows.is_empty() {
                if !pass.training() || words.is_empty() {
                    continue;
                }
                // A row that counts for nothing: what this batch has no word of gets a gradient of zeros, and not none.
                (rows, local, share) = (vec![0], vec![0], 0.0);
            }
            let own = self.mapped(pass, topwork_ops::embedding(x.clone(), &rows.into()), cluster)?;
            let among = cross_entropy(self.scores(pass, own, cluster)?, &local.into(), None, 0.0);
            loss = loss + among * share;
        }
        Ok(loss)
    }
}
