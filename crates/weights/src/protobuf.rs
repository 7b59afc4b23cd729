//! Fields of protocol buffers, written: ONNX graphs and TensorFlow's checkpoints are made of them.
//!
//! Format: <https://protobuf.dev/programming-guides/encoding/>.

/// What stands before a field: its number, and how its content is laid out (0: a whole number, 2: bytes, 5: four bytes).
pub(crate) fn put_key(out: &mut Vec<u8>, number: u64, wire: u64) {
    put_varint(out, number << 3 | wire);
}

/// A whole number in as few bytes as hold it, seven bits in each.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value > 127 {
        out.push(value as u8 | 128);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A field of a whole number.
pub(crate) fn put_number(out: &mut Vec<u8>, number: u64, value: u64) {
    put_key(out, number, 0);
    put_varint(out, value);
}

/// A field of bytes: a text, or a message within.
pub(crate) fn put_bytes(out: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    put_key(out, number, 2);
    put_varint(out, bytes.len() as u64);
    out.extend(bytes);
}
