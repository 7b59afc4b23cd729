//! Near duplicates: MinHash signatures, banded, and every candidate verified by its true Jaccard similarity.
//!
//! Paper: A. Broder, "On the resemblance and containment of documents", 1997,
//! <https://doi.org/10.1109/SEQUEN.1997.666900>; banding as in Leskovec, Rajaraman, Ullman, "Mining of Massive
//! Datasets", §3.4, <http://www.mmds.org>. A pair at similarity s becomes a candidate with probability
//! 1 - (1 - s^ROWS)^BANDS: 0.9996 at 0.8, 0.47 at 0.5.

use rayon::prelude::*;

use super::normal::letters;

const BANDS: usize = 20;
const ROWS: usize = 5;
const HASHES: usize = BANDS * ROWS;
/// Characters in a piece.
const PIECE: usize = 5;
/// Different groups compared with in one bucket: bounds the work for a bucket full of texts that only look alike.
const PER_BUCKET: usize = 32;

/// Pairs of texts (positions, smaller first) at least `threshold` alike. Not all such pairs, but enough to join every
/// group that the bands find; the same for any number of threads.
///
/// It holds 88 bytes for each text, however many of them look alike.
pub(super) fn pairs(texts: &[&str], threshold: f64) -> Vec<(usize, usize)> {
    let multipliers = multipliers();
    let signatures: Vec<[u32; BANDS]> =
        texts.par_iter().map(|text| bands(&pieces(text), &multipliers)).collect();
    let mut joined = super::Union::new(texts.len());
    let mut found = Vec::new();
    let mut keys: Vec<(u32, u32)> = Vec::with_capacity(texts.len());
    for band in 0..BANDS {
        keys.clear();
        keys.extend(signatures.iter().enumerate().map(|(at, signature)| (signature[band], at as u32)));
        keys.par_sort_unstable();
        // Buckets are gone through at the same time, so each knows what the bands before have joined, and itself.
        let groups = joined.roots();
        let buckets: Vec<&[(u32, u32)]> =
            keys.chunk_by(|a, b| a.0 == b.0).filter(|bucket| bucket.len() > 1).collect();
        let near: Vec<Vec<(usize, usize)>> =
            buckets.par_iter().map(|bucket| in_bucket(bucket, texts, &groups, threshold)).collect();
        for (a, b) in near.into_iter().flatten() {
            joined.join(a, b);
            found.push((a, b));
        }
    }
    found
}

/// The pairs among the texts of a bucket that join what is not one group yet.
fn in_bucket(bucket: &[(u32, u32)], texts: &[&str], groups: &[u32], threshold: f64) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut kept: Vec<(u32, Vec<u32>)> = Vec::new();
    for &(_, at) in bucket {
        if kept.iter().any(|(other, _)| groups[*other as usize] == groups[at as usize]) {
            continue;
        }
        let own = pieces(texts[at as usize]);
        let near = kept.iter().find(|(_, others)| jaccard(others, &own) >= threshold);
        match near {
            Some((other, _)) => found.push((*other.min(&at) as usize, *other.max(&at) as usize)),
            None if kept.len() < PER_BUCKET => kept.push((at, own)),
            None => {}
        }
    }
    found
}

/// Hashes of the pieces of a text, sorted, none twice.
fn pieces(plain: &str) -> Vec<u32> {
    let letters = letters(plain);
    let hash = |piece: &[char]| {
        let mixed = piece.iter().fold(0x9e37_79b9_7f4a_7c15u64, |hash, &c| {
            (hash ^ u64::from(c)).wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(29)
        });
        (mixed ^ (mixed >> 32)) as u32
    };
    let mut pieces: Vec<u32> = if letters.len() <= PIECE {
        vec![hash(&letters)]
    } else {
        letters.windows(PIECE).map(hash).collect()
    };
    pieces.sort_unstable();
    pieces.dedup();
    pieces
}

/// Shared pieces over all pieces of two sorted lists.
fn jaccard(a: &[u32], b: &[u32]) -> f64 {
    let (mut i, mut j, mut shared) = (0, 0, 0);
    while i < a.len() && j < b.len() {
        match a[i].cmp(&b[j]) {
            std::cmp::Ordering::Less => i += 1,
            std::cmp::Ordering::Greater => j += 1,
            std::cmp::Ordering::Equal => {
                shared += 1;
                i += 1;
                j += 1;
            }
        }
    }
    f64::from(shared) / (a.len() + b.len() - shared as usize).max(1) as f64
}

/// One odd multiplier and one offset for each hash function, always the same.
fn multipliers() -> [(u32, u32); HASHES] {
    let mut stream = topwork_kernels::rng::Stream(0x746f_7077_6f72_6b21);
    std::array::from_fn(|_| {
        let bits = stream.next_u64();
        (bits as u32 | 1, (bits >> 32) as u32)
    })
}

/// The smallest value of each hash function over the pieces, as one key a band.
fn bands(pieces: &[u32], multipliers: &[(u32, u32); HASHES]) -> [u32; BANDS] {
    let mut smallest = [u32::MAX; HASHES];
    for &piece in pieces {
        for (smallest, &(multiplier, offset)) in smallest.iter_mut().zip(multipliers) {
            // The multiplication alone leaves the low bits weak; the minimum looks at the high ones.
            *smallest = (*smallest).min(piece.wrapping_mul(multiplier).wrapping_add(offset));
        }
    }
    std::array::from_fn(|band| {
        let key = smallest[band * ROWS..(band + 1) * ROWS].iter().fold(band as u64 + 1, |key, &value| {
            (key ^ u64::from(value)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31)
        });
        // Texts that meet by a chance of one in four thousand millions are compared, and found different.
        (key ^ (key >> 32)) as u32
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use topwork_kernels::rng::Stream;

    /// Every pair at or above the threshold is in one group, against all pairs compared.
    #[test]
    fn the_bands_miss_no_group() {
        let mut stream = Stream(3);
        let word = |stream: &mut Stream| -> String {
            (0..2 + stream.below(7)).map(|_| char::from(b'a' + stream.below(26) as u8)).collect()
        };
        let mut texts: Vec<String> = Vec::new();
        for _ in 0..60 {
            let base: Vec<String> = (0..12 + stream.below(20)).map(|_| word(&mut stream)).collect();
            for _ in 0..4 {
                let mut copy = base.clone();
                for _ in 0..stream.below(5) {
                    let at = stream.below(copy.len() as u64) as usize;
                    copy[at] = word(&mut stream);
                }
                texts.push(copy.join(" "));
            }
        }
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let all: Vec<Vec<u32>> = texts.iter().map(|text| pieces(text)).collect();
        let (mut by_force, mut by_bands) =
            (super::super::Union::new(texts.len()), super::super::Union::new(texts.len()));
        let mut above = 0;
        for a in 0..texts.len() {
            for b in a + 1..texts.len() {
                if jaccard(&all[a], &all[b]) >= 0.8 {
                    by_force.join(a, b);
                    above += 1;
                }
            }
        }
        for (a, b) in pairs(&texts, 0.8) {
            assert!(jaccard(&all[a], &all[b]) >= 0.8);
            by_bands.join(a, b);
        }
        assert!(above > 50, "the test needs pairs to find: {above}");
        let roots =
            |union: &mut super::super::Union| (0..texts.len()).map(|at| union.root(at)).collect::<Vec<_>>();
        assert_eq!(roots(&mut by_bands), roots(&mut by_force));
    }

    #[test]
    fn similarity_is_shared_over_all() {
        assert_eq!(jaccard(&[1, 2, 3], &[2, 3, 4]), 0.5);
        assert_eq!(jaccard(&[1], &[2]), 0.0);
        assert_eq!(jaccard(&[7], &[7]), 1.0);
    }
}
