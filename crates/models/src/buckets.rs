//! Distances in buckets: each near distance has one of its own, far ones share, in steps that grow with the logarithm.
//!
//! Papers: Raffel et al. 2020, "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer", section 2.1,
//! <https://arxiv.org/abs/1910.10683>; He et al. 2021, "DeBERTaV3", section 2.1, <https://arxiv.org/abs/2111.09543>.
//! The logarithms are those of 32 bits, as in the reference implementations: a bucket is a step function of them.

/// T5's bucket of a distance without direction: the first half of `buckets` is for the nearest, one each; from `far` on all
/// share the last.
pub fn of_length(length: usize, buckets: usize, far: usize) -> usize {
    let exact = buckets / 2;
    if length < exact {
        return length;
    }
    let steps = (length as f32 / exact as f32).ln() / ((far as f64 / exact as f64).ln() as f32);
    let step = steps * (buckets - exact) as f32;
    (exact + step as usize).min(buckets - 1)
}

/// T5's bucket of a distance (key minus query) where both directions are seen: keys behind the query have the upper half.
pub fn both_ways(distance: i64, buckets: usize, far: usize) -> usize {
    let half = buckets / 2;
    let length = of_length(distance.unsigned_abs() as usize, half, far);
    if distance > 0 { half + length } else { length }
}

/// DeBERTa's bucket of a distance, with its sign: up to half of `buckets` each has its own, from `far - 1` on the buckets are
/// all used up and go on beyond `buckets`, for the caller to clamp.
pub fn signed(distance: i64, buckets: usize, far: usize) -> i64 {
    let (mid, length) = (buckets / 2, distance.unsigned_abs() as usize);
    if length <= mid {
        return distance;
    }
    let growth = (length as f32 / mid as f32).ln() / (((far - 1) as f64 / mid as f64) as f32).ln();
    let bucket = (growth * (mid as f32 - 1.0)).ceil() as i64 + mid as i64;
    bucket * distance.signum()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use topwork_testkit::Golden;

    use super::*;

    /// What the reference says of distances -1100 to 1100.
    #[test]
    fn buckets_are_those_of_the_reference() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/buckets");
        let golden = Golden::open(fixtures.join("golden.safetensors")).unwrap();
        let mut seen = 0;
        let mut check = |name: String, bucket: &dyn Fn(i64) -> i64| {
            let expected = golden.integers(&name).unwrap().data;
            assert_eq!(expected.len(), 2201);
            for (distance, &expected) in (-1100..=1100).zip(&expected) {
                assert_eq!(bucket(distance), expected, "{name}: {distance}");
            }
            seen += 1;
        };
        for (buckets, far) in [(32, 128), (8, 20), (64, 512)] {
            check(format!("t5.{buckets}.{far}"), &|distance| both_ways(distance, buckets, far) as i64);
            check(format!("t5_back.{buckets}.{far}"), &|distance| {
                of_length((-distance).max(0) as usize, buckets, far) as i64
            });
        }
        for (buckets, far) in [(256, 512), (8, 24), (32, 128), (256, 1024)] {
            check(format!("deberta.{buckets}.{far}"), &|distance| signed(distance, buckets, far));
        }
        assert_eq!(seen, 10);
    }
}
