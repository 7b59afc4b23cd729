//! The kernels of decoders and of relative attention against PyTorch and the layers of transformers, on the numbers of
//! `fixtures/make/ops.py`.
#![allow(clippy::unwrap_used, reason = "a test that cannot read its golden file fails")]

use topwork_kernels::activation::Activation;
use topwork_kernels::attend_layout::{AttendLayout, Mask};
use topwork_kernels::gated::{Gated, GatedMut, Halves};
use topwork_kernels::relative_attend::{self, Gradients, Inputs};
use topwork_kernels::rotary::{Pairing, Rotary, rotate};
use topwork_kernels::{attend, gated, rms_norm};
use topwork_testkit::{Golden, close};

/// One case of the golden file.
struct Case {
    golden: Golden,
    name: &'static str,
}

impl Case {
    fn open(name: &'static str) -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/ops/golden.safetensors");
        Self { golden: Golden::open(path).unwrap(), name }
    }

    fn floats(&self, array: &str) -> Vec<f32> {
        self.golden.floats(&format!("{}.{array}", self.name)).unwrap().data
    }

    /// The floats of an array that may be absent.
    fn optional(&self, array: &str) -> Option<Vec<f32>> {
        self.golden.has(&format!("{}.{array}", self.name)).then(|| self.floats(array))
    }

    fn integers(&self, array: &str) -> Vec<u32> {
        let integers = self.golden.integers(&format!("{}.{array}", self.name)).unwrap().data;
        integers.into_iter().map(|x| u32::try_from(x).unwrap()).collect()
    }

    fn number(&self, array: &str) -> usize {
        self.integers(array)[0] as usize
    }

    #[track_caller]
    fn equals(&self, array: &str, got: &[f32], tolerance: f64) {
        if let Err(error) = close(got, &self.floats(array), tolerance) {
            panic!("{}.{array}: {error}", self.name);
        }
    }
}

#[test]
fn attention_with_masks_caches_shared_heads_and_biases() {
    let window = Mask::Window { left: 6, right: 0 };
    let cases = [("causal", Mask::Causal), ("window", window), ("alibi", Mask::Causal), ("t5", Mask::Full)];
    for (name, mask) in cases {
        let case = Case::open(name);
        let ([q, k, v], bias) = (["q", "k", "v"].map(|name| case.floats(name)), case.optional("bias"));
        let (heads, zero) = (case.integers("heads"), case.number("zero"));
        let (q_offsets, k_offsets) = (case.integers("q_offsets"), case.integers("k_offsets"));
        let (heads, kv_heads) = (heads[0] as usize, heads[1] as usize);
        let tokens = *q_offsets.last().unwrap() as usize;
        let dim = q.len() / tokens / heads;
        let layout = AttendLayout {
            q_offsets: q_offsets.into(),
            k_offsets: k_offsets.into(),
            kv_heads,
            zero,
            // T5 does not scale.
            scale: if name == "t5" { 1.0 } else { 1.0 / (dim as f32).sqrt() },
            ..AttendLayout::new(&[0].into(), heads, dim, mask)
        };
        let (mut out, mut lse) = (vec![0.0; q.len()], vec![0.0; heads * tokens]);
        attend::forward(&q, &k, &v, &layout, bias.as_deref(), None, &mut out, &mut lse);
        case.equals("out", &out, 2e-6);
        let [mut d_q, mut d_k, mut d_v] = [&q, &k, &v].map(|x| vec![0.0; x.len()]);
        let mut d_bias = vec![0.0; bias.as_ref().map_or(0, Vec::len)];
        let d_out = case.floats("d_out");
        attend::backward(
            &q,
            &k,
            &v,
            &layout,
            bias.as_deref(),
            None,
            &out,
            &lse,
            &d_out,
            &mut d_q,
            &mut d_k,
            &mut d_v,
            &mut d_bias,
        );
        case.equals("d_q", &d_q, 5e-6);
        case.equals("d_k", &d_k, 5e-6);
        case.equals("d_v", &d_v, 5e-6);
        if bias.is_some() {
            case.equals("d_bias", &d_bias, 5e-6);
        }
    }
}

#[test]
fn rotary_positions_of_llama_yarn_and_gpt_j() {
    for (name, pairing) in [
        ("rotary", Pairing::Halves),
        ("rotary_yarn", Pairing::Halves),
        ("rotary_neighbours", Pairing::Neighbours),
    ] {
        let case = Case::open(name);
        let (x, d_out, heads) = (case.floats("x"), case.floats("d_out"), case.number("heads"));
        let factor = case.floats("factor")[0];
        let rotary = Rotary::new(&case.integers("positions"), &case.floats("frequencies"), factor, pairing);
        let (mut out, mut d_x) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        rotate(&x, heads, &rotary, false, &mut out);
        rotate(&d_out, heads, &rotary, true, &mut d_x);
        case.equals("out", &out, 2e-7);
        case.equals("d_x", &d_x, 2e-7);
    }
}

#[test]
fn root_mean_square_norms() {
    let case = Case::open("rms_norm");
    let (x, gain, d_out) = (case.floats("x"), case.floats("gain"), case.floats("d_out"));
    let (mut y, mut rstd) = (vec![0.0; x.len()], vec![0.0; x.len() / gain.len()]);
    rms_norm::forward(&x, &gain, 1e-5, &mut y, &mut rstd);
    case.equals("out", &y, 5e-7);
    let (mut d_x, mut d_gain) = (vec![0.0; x.len()], vec![0.0; gain.len()]);
    rms_norm::backward(&d_out, &x, &rstd, &gain, &mut d_x, &mut d_gain);
    case.equals("d_x", &d_x, 2e-6);
    case.equals("d_gain", &d_gain, 2e-6);
}

#[test]
fn gated_activations() {
    for (name, act) in [("gated_silu", Activation::Silu), ("gated_gelu", Activation::Gelu)] {
        let case = Case::open(name);
        let (x, bias, d_out) = (case.floats("x"), case.floats("bias"), case.floats("d_out"));
        let ffn = bias.len() / 2;
        let together = Gated::Together(&x, Halves::GateFirst);
        let mut y = vec![0.0; d_out.len()];
        gated::forward(together, &bias, act, ffn, &mut y);
        case.equals("out", &y, 1e-6);
        let (mut d_x, mut d_bias) = (vec![0.0; x.len()], vec![0.0; bias.len()]);
        let to = GatedMut::Together(&mut d_x, Halves::GateFirst);
        gated::backward(together, &bias, act, ffn, &d_out, to, &mut d_bias);
        case.equals("d_x", &d_x, 2e-6);
        case.equals("d_bias", &d_bias, 2e-6);
    }
}

/// Runs relative attention both ways; gradients of q, k, v, position, r_key, r_query and choice.
fn relative(case: &Case, inputs: Inputs<'_>, layout: &AttendLayout) -> [Vec<f32>; 7] {
    let tokens = *layout.q_offsets.last().unwrap() as usize;
    let (mut out, mut lse) = (vec![0.0; inputs.q.len()], vec![0.0; layout.heads * tokens]);
    relative_attend::forward(inputs, layout, None, &mut out, &mut lse);
    case.equals("out", &out, 2e-6);
    let Inputs { q, k, v, position, r_key, r_query, choice, .. } = inputs;
    let mut grads = [q, k, v, position, r_key, r_query, choice].map(|x| vec![0.0; x.len()]);
    let [q, k, v, position, r_key, r_query, choice] = grads.each_mut().map(|x| &mut x[..]);
    let to = Gradients { q, k, v, position, r_key, r_query, choice };
    relative_attend::backward(inputs, layout, None, &out, &lse, &case.floats("d_out"), to);
    grads
}

#[test]
fn disentangled_attention_of_deberta() {
    let case = Case::open("deberta");
    let [q, k, v] = ["q", "k", "v"].map(|name| case.floats(name));
    let (r_key, r_query, table) = (case.floats("r_key"), case.floats("r_query"), case.integers("table"));
    let (heads, tokens) = (case.number("heads"), 40);
    let dim = q.len() / tokens as usize / heads;
    let layout = AttendLayout {
        scale: 1.0 / (3.0 * dim as f32).sqrt(),
        zero: case.number("zero"),
        ..AttendLayout::new(&[0, tokens].into(), heads, dim, Mask::Full)
    };
    let inputs = Inputs {
        q: &q,
        k: &k,
        v: &v,
        position: &q,
        r_key: &r_key,
        r_query: &r_query,
        choice: &[],
        table: &table,
        q_segments: &[],
        k_segments: &[],
    };
    let [d_q, d_k, d_v, d_position, d_r_key, d_r_query, _] = relative(&case, inputs, &layout);
    // The reference has one query for both.
    let d_q: Vec<f32> = d_q.iter().zip(&d_position).map(|(a, b)| a + b).collect();
    for (name, grad) in
        [("d_q", d_q), ("d_k", d_k), ("d_v", d_v), ("d_r_key", d_r_key), ("d_r_query", d_r_query)]
    {
        case.equals(name, &grad, 5e-6);
    }
}

#[test]
fn two_stream_attention_of_xlnet_over_a_memory() {
    let case = Case::open("xlnet");
    let [q, k, v, position, r_key, choice] =
        ["q", "k", "v", "position", "r_key", "choice"].map(|name| case.floats(name));
    let (q_segments, k_segments) = (case.integers("q_segments"), case.integers("k_segments"));
    let (heads, queries, keys) = (case.number("heads"), q_segments.len(), k_segments.len());
    let width = q.len() / queries;
    let pairs: Vec<u8> = case.integers("pairs").into_iter().map(|x| x as u8).collect();
    let layout = AttendLayout {
        q_offsets: [0, queries as u32].into(),
        k_offsets: [0, keys as u32].into(),
        // Row 0 is the distance minus keys.
        zero: keys,
        ..AttendLayout::new(&[0].into(), heads, width / heads, Mask::Pairs(pairs.into()))
    };
    let table: Vec<u32> = (0..(queries + keys) as u32).collect();
    let inputs = Inputs {
        q: &q,
        k: &k,
        v: &v,
        position: &position,
        r_key: &r_key,
        r_query: &[],
        choice: &choice,
        table: &table,
        q_segments: &q_segments,
        k_segments: &k_segments,
    };
    let [d_q, d_k, d_v, d_position, d_r_key, _, d_choice] = relative(&case, inputs, &layout);
    // Biases of all queries, and the rows of segments behind the choice.
    let sums = |x: &[f32]| -> Vec<f32> {
        (0..width)
            .map(|col| x.iter().skip(col).step_by(width).map(|&x| f64::from(x)).sum::<f64>() as f32)
            .collect()
    };
    let with_segments = case.floats("with_segments");
    let mut d_rows = vec![0.0; 2 * width];
    for (at, q) in with_segments.iter().enumerate() {
        let (query, col) = (at / width, at % width);
        for row in 0..2 {
            d_rows[row * width + col] += d_choice[(query * heads + col / (width / heads)) * 2 + row] * q;
        }
    }
    for (name, grad) in [
        ("d_k", d_k),
        ("d_v", d_v),
        ("d_r_key", d_r_key),
        ("d_r_w_bias", sums(&d_q)),
        ("d_r_r_bias", sums(&d_position)),
        ("d_seg_embed", d_rows),
    ] {
        case.equals(name, &grad, 5e-6);
    }
}

/// Four bits as bitsandbytes has them (`fixtures/make/adapters.py`): the same codes, and values but for the last bits of a scale.
#[test]
fn nf4_is_that_of_bitsandbytes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/nf4.safetensors");
    let golden = Golden::open(path).unwrap();
    let (numbers, expected) = (golden.floats("numbers").unwrap().data, golden.floats("nf4").unwrap().data);
    let got = topwork_kernels::nf4::Nf4::of(&numbers).values();
    assert_eq!(got.len(), expected.len());
    for (at, (got, expected)) in got.iter().zip(&expected).enumerate() {
        assert!((got - expected).abs() <= 1e-5 * expected.abs(), "{at}: {got} and {expected}");
    }
}
