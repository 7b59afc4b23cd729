//! Clusters of words by k-means.
//!
//! Paper: Arthur and Vassilvitskii 2007, section 2, "k-means++: The Advantages of Careful Seeding",
//! <https://dl.acm.org/doi/10.5555/1283383.1283494>; then Lloyd's iterations.

use std::path::Path;

use rayon::prelude::*;
use topwork_kernels::gemm::{self, Mat, MatMut, Precision};
use topwork_kernels::rng::{Stream, derive};
use topwork_weights::{WordVectors, atomic};

use super::space::direction;
use crate::error::Error;

/// How words are clustered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterOptions {
    /// Number of clusters.
    pub clusters: usize,
    /// Seed of the first centres.
    pub seed: u64,
    /// Most iterations.
    pub iterations: usize,
    /// Whether vectors are scaled to length one first, so that direction alone counts.
    pub normalise: bool,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        ClusterOptions { clusters: 100, seed: 0, iterations: 100, normalise: true }
    }
}

/// A cluster for each word.
#[derive(Clone, Debug, PartialEq)]
pub struct Clusters {
    /// The number of each word's cluster.
    pub ids: Vec<u32>,
    /// `[clusters, width]`.
    pub centres: Vec<f32>,
    /// Sum of the squared distances of the words from their centres.
    pub inertia: f64,
    /// Iterations done.
    pub iterations: usize,
    /// Whether the last one changed nothing.
    pub settled: bool,
}

/// Products held at a time.
const PRODUCTS: usize = 4 << 20;

/// Clusters words. The same seed gives the same clusters on any number of threads.
///
/// # Errors
/// No clusters, or more of them than there are different vectors.
pub fn clusters(vectors: &WordVectors, options: &ClusterOptions) -> Result<Clusters, Error> {
    let (count, k) = (vectors.len(), options.clusters);
    if k == 0 || k > count {
        return Err(Error::Task(format!("{k} clusters of {count} words: ask for 1 to {count}")));
    }
    let points = Points::new(vectors, options.normalise);
    let centres = points.start(k, options.seed)?;
    Ok(points.settle(centres, options.iterations))
}

impl Clusters {
    /// Writes `word<TAB>id`, a line a word.
    ///
    /// # Errors
    /// The file cannot be written.
    ///
    /// # Panics
    /// If the vectors are not those that were clustered.
    pub fn save(&self, vectors: &WordVectors, path: &Path) -> Result<(), Error> {
        assert_eq!(self.ids.len(), vectors.len());
        let mut text = String::new();
        for (word, id) in vectors.words().iter().zip(&self.ids) {
            text.push_str(&format!("{word}\t{id}\n"));
        }
        Ok(atomic::write(path, text.as_bytes())?)
    }

    /// How many words each cluster has.
    pub fn sizes(&self) -> Vec<usize> {
        let mut sizes = Vec::new();
        for &id in &self.ids {
            let id = id as usize;
            sizes.resize(sizes.len().max(id + 1), 0);
            sizes[id] += 1;
        }
        sizes
    }
}

/// What is clustered.
struct Points {
    width: usize,
    /// `[points, width]`.
    values: Vec<f32>,
    /// The square of each point's length.
    squares: Vec<f32>,
}

impl Points {
    fn new(vectors: &WordVectors, normalise: bool) -> Self {
        let width = vectors.width();
        let mut values = vectors.data().to_vec();
        if normalise {
            values.par_chunks_mut(width).for_each(|row| {
                if let Some(unit) = direction(row) {
                    row.copy_from_slice(&unit);
                }
            });
        }
        let squares = squares(&values, width);
        Points { width, values, squares }
    }

    fn count(&self) -> usize {
        self.squares.len()
    }

    fn row(&self, at: usize) -> &[f32] {
        &self.values[at * self.width..][..self.width]
    }

    /// First centres: each next one drawn by its squared distance from those before.
    fn start(&self, k: usize, seed: u64) -> Result<Vec<f32>, Error> {
        let mut random = Stream(derive(seed, "clusters"));
        let mut chosen = random.below(self.count() as u64) as usize;
        let (mut distances, mut centres) = (vec![f32::INFINITY; self.count()], Vec::new());
        for made in 1..=k {
            let centre = self.row(chosen);
            centres.extend_from_slice(centre);
            let mut products = vec![0.0; self.count()];
            self.products(0, centre, &mut products);
            let square = self.squares[chosen];
            distances.iter_mut().zip(&products).zip(&self.squares).for_each(|((distance, product), own)| {
                *distance = distance.min((own + square - 2.0 * product).max(0.0));
            });
            // Rounding must not leave the point itself to be drawn again.
            distances[chosen] = 0.0;
            let sum: f64 = distances.iter().map(|&distance| f64::from(distance)).sum();
            if made == k {
                break;
            }
            if sum == 0.0 {
                return Err(Error::Task(format!(
                    "{k} clusters, and only {made} different vectors: ask for fewer clusters"
                )));
            }
            let mut left = random.next_f64() * sum;
            let drawn = distances.iter().position(|&distance| {
                left -= f64::from(distance);
                left < 0.0
            });
            // At the very end of the sum, rounding may leave nothing: the last that can be drawn is meant.
            let last = || distances.iter().rposition(|&distance| distance > 0.0);
            chosen = drawn.or_else(last).unwrap_or(0);
        }
        Ok(centres)
    }

    /// Products of the points from `first` on with centres.
    ///
    /// # Shapes
    /// - `centres`: `[k, width]`
    /// - `into`: `[points, k]`
    fn products(&self, first: usize, centres: &[f32], into: &mut [f32]) {
        let k = centres.len() / self.width;
        let rows = into.len() / k;
        let points = &self.values[first * self.width..][..rows * self.width];
        let (points, centres) = (Mat::new(points, rows, self.width), Mat::new(centres, k, self.width));
        gemm::nt(points, centres, MatMut::new(into, rows, k), None, false, Precision::F32);
    }

    /// The nearest centre of each point, the first of equals, and the squared distance from it.
    fn assign(&self, centres: &[f32]) -> (Vec<u32>, Vec<f32>) {
        let k = centres.len() / self.width;
        let own = squares(centres, self.width);
        let (mut ids, mut distances) = (vec![0; self.count()], vec![0.0; self.count()]);
        let rows = (PRODUCTS / k).max(1);
        let mut products = Vec::new();
        for first in (0..self.count()).step_by(rows) {
            let rows = rows.min(self.count() - first);
            products.resize(rows * k, 0.0);
            self.products(first, centres, &mut products);
            let places = ids[first..][..rows].par_iter_mut().zip(&mut distances[first..][..rows]);
            places.zip(products.par_chunks(k)).zip(&self.squares[first..][..rows]).for_each(
                |(((id, distance), products), square)| {
                    let (mut best, mut least) = (0, f32::INFINITY);
                    for (at, (product, own)) in products.iter().zip(&own).enumerate() {
                        let value = own - 2.0 * product;
                        if value < least {
                            (best, least) = (at, value);
                        }
                    }
                    (*id, *distance) = (best as u32, (square + least).max(0.0));
                },
            );
        }
        (ids, distances)
    }

    /// Lloyd's iterations until no point changes its cluster.
    fn settle(&self, mut centres: Vec<f32>, most: usize) -> Clusters {
        let k = centres.len() / self.width;
        let (mut ids, mut distances) = self.assign(&centres);
        let (mut iterations, mut settled) = (0, false);
        while iterations < most && !settled {
            fill_empty(&mut ids, &mut distances, k);
            centres = self.means(&ids, k);
            let next = self.assign(&centres);
            iterations += 1;
            settled = next.0 == ids;
            (ids, distances) = next;
        }
        let centre = |id: u32| &centres[id as usize * self.width..][..self.width];
        let each: Vec<f64> =
            (0..self.count()).into_par_iter().map(|at| distance(self.row(at), centre(ids[at]))).collect();
        Clusters { inertia: each.iter().sum(), ids, centres, iterations, settled }
    }

    /// The mean of each cluster's points, added in their order.
    fn means(&self, ids: &[u32], k: usize) -> Vec<f32> {
        let mut members = vec![Vec::new(); k];
        ids.iter().enumerate().for_each(|(at, &id)| members[id as usize].push(at));
        let mut centres = vec![0.0; k * self.width];
        centres.par_chunks_mut(self.width).zip(&members).for_each(|(centre, members)| {
            let mut sums = vec![0.0_f64; self.width];
            for &at in members {
                sums.iter_mut().zip(self.row(at)).for_each(|(sum, &value)| *sum += f64::from(value));
            }
            let count = members.len().max(1) as f64;
            centre.iter_mut().zip(sums).for_each(|(value, sum)| *value = (sum / count) as f32);
        });
        centres
    }
}

/// Gives each cluster without points the point that is farthest from its own centre and not alone there.
fn fill_empty(ids: &mut [u32], distances: &mut [f32], k: usize) {
    let mut sizes = vec![0_usize; k];
    ids.iter().for_each(|&id| sizes[id as usize] += 1);
    for empty in (0..k).filter(|&id| sizes[id] == 0).collect::<Vec<_>>() {
        let movable = (0..ids.len()).filter(|&at| sizes[ids[at] as usize] > 1);
        let farthest = movable.reduce(|best, at| if distances[at] > distances[best] { at } else { best });
        let Some(at) = farthest else { return };
        sizes[ids[at] as usize] -= 1;
        sizes[empty] += 1;
        ids[at] = empty as u32;
        distances[at] = 0.0;
    }
}

fn squares(values: &[f32], width: usize) -> Vec<f32> {
    let square =
        |row: &[f32]| row.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>() as f32;
    values.par_chunks(width).map(square).collect()
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use topwork_testkit::Numbers;

    fn cloud(count: usize) -> WordVectors {
        let mut numbers = Numbers::new(3);
        let mut values = numbers.normals(count * 8, 1.0);
        values.chunks_mut(8).enumerate().for_each(|(at, row)| row[at % 5] += 6.0);
        WordVectors::new((0..count).map(|at| format!("w{at}")), 8, &values)
    }

    #[test]
    fn from_the_same_start_clusters_are_those_of_scikit_learn() {
        let golden = super::super::golden::expected();
        let vectors = super::super::golden::space("word2vec.bin");
        let golden = &golden["clusters"];
        let points = Points::new(vectors.vectors(), true);
        let start = golden["start"].as_array().unwrap().iter();
        let start: Vec<f32> =
            start.flat_map(|at| points.row(at.as_u64().unwrap() as usize).to_vec()).collect();
        let clusters = points.settle(start, 100);
        let ids: Vec<u64> =
            golden["labels"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect();
        assert_eq!(clusters.ids.iter().map(|&id| u64::from(id)).collect::<Vec<_>>(), ids);
        let inertia = golden["inertia"].as_f64().unwrap();
        assert!((clusters.inertia - inertia).abs() < 1e-5 * inertia, "{} {inertia}", clusters.inertia);
        assert!(clusters.settled && clusters.sizes().iter().sum::<usize>() == 47);
    }

    #[test]
    fn clouds_are_found_whatever_the_threads_and_another_seed_starts_elsewhere() {
        let vectors = cloud(3000);
        let options = ClusterOptions { clusters: 5, seed: 1, ..ClusterOptions::default() };
        let on = |threads: usize, options: &ClusterOptions| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| clusters(&vectors, options)).unwrap()
        };
        let found = on(1, &options);
        assert_eq!(found, on(3, &options));
        // Each cloud is one cluster, but for a few points between.
        for cloud in 0..5 {
            let mut counts = [0; 5];
            found.ids.iter().skip(cloud).step_by(5).for_each(|&id| counts[id as usize] += 1);
            assert!(counts.iter().max().unwrap() > &570, "{counts:?}");
        }
        let many = ClusterOptions { clusters: 400, seed: 2, iterations: 3, normalise: false };
        let other = ClusterOptions { seed: 3, ..many };
        assert_eq!(on(1, &many), on(4, &many));
        assert_ne!(on(2, &many).ids, on(2, &other).ids);
    }

    #[test]
    fn no_cluster_stays_empty_and_too_many_are_refused() {
        let (mut ids, mut distances) = (vec![0, 0, 0, 2], vec![0.1, 0.5, 0.2, 9.0]);
        fill_empty(&mut ids, &mut distances, 4);
        assert_eq!(ids, [0, 1, 3, 2]);
        let same = WordVectors::new(["a", "b", "c"], 1, &[1.0, 1.0, 2.0]);
        let ask = |clusters| {
            let options = ClusterOptions { clusters, normalise: false, ..ClusterOptions::default() };
            super::clusters(&same, &options).map_err(|error| error.to_string())
        };
        assert_eq!(ask(2).unwrap().sizes().len(), 2);
        assert!(ask(3).unwrap_err().contains("only 2 different"));
        assert!(ask(0).unwrap_err().contains("1 to 3") && ask(4).is_err());
    }
}
