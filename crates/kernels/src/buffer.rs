//! Memory for results that are written whole.
#![allow(
    unsafe_code,
    reason = "clearing memory that is about to be overwritten takes as long as a small product"
)]

/// A buffer whose numbers are unspecified until they are written, for the results of this crate's functions: those say
/// which of their arguments they write whole. In debug builds it is full of NaN, so that a number read too early shows.
pub fn unwritten(len: usize) -> Vec<f32> {
    if cfg!(debug_assertions) {
        return vec![f32::NAN; len];
    }
    let mut buffer = Vec::with_capacity(len);
    // SAFETY: the capacity is there, and every pattern of bits is an f32; nothing has to be dropped. The callers hand it
    // to functions that write all of it before anyone reads.
    #[allow(clippy::uninit_vec, reason = "see above")]
    unsafe {
        buffer.set_len(len);
    }
    buffer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activation::Activation;
    use crate::gemm::{Mat, MatMut, Precision, nn, nt, tn};
    use crate::testing::random;

    /// The functions that results are taken from write every element, whatever stood there.
    #[test]
    fn results_do_not_depend_on_what_the_buffer_held() {
        assert_eq!(unwritten(5).len(), 5);
        let (rows, cols, out) = (70, 33, 49);
        let (x, w, d) = (random(1, rows * cols), random(2, out * cols), random(3, rows * out));
        let bias = random(4, out);
        let run = |start: f32| {
            let mut all: Vec<f32> = Vec::new();
            for p in [Precision::F32, Precision::Bf16] {
                let (xm, wm, dm) =
                    (Mat::new(&x, rows, cols), Mat::new(&w, out, cols), Mat::new(&d, rows, out));
                let mut y = vec![start; rows * out];
                nt(xm, wm, MatMut::new(&mut y, rows, out), Some(&bias), false, p);
                let mut d_x = vec![start; rows * cols];
                nn(dm, wm, MatMut::new(&mut d_x, rows, cols), false, p);
                let mut d_w = vec![start; out * cols];
                tn(dm, xm, MatMut::new(&mut d_w, out, cols), false, p);
                let mut activated = vec![start; rows * out];
                crate::activation::forward(&y, &bias, Activation::Gelu, &mut activated);
                let (mut d_y, mut d_bias) = (vec![start; rows * out], vec![start; out]);
                crate::activation::backward(&y, &bias, Activation::Gelu, &d, &mut d_y, &mut d_bias);
                all.extend([y, d_x, d_w, activated, d_y, d_bias].concat());
            }
            let (heads, hidden, offsets) = (3, 48, [0, 1, 26, 70]);
            let (qkv, d_out) = (random(5, rows * 3 * hidden), random(6, rows * hidden));
            let (mut mixed, mut lse) = (vec![start; rows * hidden], vec![start; heads * rows]);
            crate::attention::forward(&qkv, &offsets, heads, 0.25, None, &mut mixed, &mut lse);
            let mut d_qkv = vec![start; qkv.len()];
            crate::attention::backward(&qkv, &offsets, heads, 0.25, None, &mixed, &lse, &d_out, &mut d_qkv);
            all.extend([mixed, lse, d_qkv].concat());
            all.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
        };
        assert!(run(f32::NAN) == run(3.0));
    }
}
