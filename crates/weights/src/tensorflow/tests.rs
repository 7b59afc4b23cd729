//! Tables with sound checksums around entries that are not sound. What TensorFlow wrote is read in `tests/tensorflow.rs`.

use super::*;
use proptest::prelude::*;

/// A field of a message: its number, and a number or bytes.
fn number(field: u8, mut value: u64) -> Vec<u8> {
    let mut bytes = vec![field << 3];
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn within(field: u8, bytes: &[u8]) -> Vec<u8> {
    let mut whole = number(field, bytes.len() as u64);
    whole[0] |= 2;
    whole.extend(bytes);
    whole
}

fn block(entries: &[(&[u8], Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, value) in entries {
        for len in [0, key.len(), value.len()] {
            bytes.extend(&number(0, len as u64)[1..]);
        }
        bytes.extend(*key);
        bytes.extend(value);
    }
    bytes.extend([0, 0, 0, 0, 1, 0, 0, 0, 0]);
    let sum = table::mask(crc32c::crc32c(&bytes));
    bytes.extend(sum.to_le_bytes());
    bytes
}

/// A table of one block.
fn table_of(entries: &[(&[u8], Vec<u8>)]) -> Vec<u8> {
    let place =
        |offset: usize, len: usize| [&number(0, offset as u64)[1..], &number(0, len as u64)[1..]].concat();
    let mut bytes = block(entries);
    let first = bytes.len();
    let index = block(&[(b"z", place(0, first - 5))]);
    bytes.extend(&index);
    let mut end = [place(0, 0), place(first, index.len() - 5)].concat();
    end.resize(40, 0);
    bytes.extend(end);
    bytes.extend(0xdb47_7524_8b80_fb57u64.to_le_bytes());
    bytes
}

/// Opens a checkpoint of these entries with 16 bytes of numbers, and reads all.
fn read(entries: &[(&[u8], Vec<u8>)]) -> Result<Vec<Vec<f32>>, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.index");
    std::fs::write(&path, table_of(entries)).unwrap();
    std::fs::write(folder.path().join("x.data-00000-of-00001"), [0; 16]).unwrap();
    let file = TensorflowCheckpoint::open(&path)?;
    file.names().into_iter().map(|name| file.read(name)).collect()
}

fn shape(axes: &[u64]) -> Vec<u8> {
    axes.iter().flat_map(|axis| within(2, &number(1, *axis))).collect()
}

/// The entry of a tensor of f32 at a place.
fn entry(axes: &[u64], offset: u64, len: u64) -> Vec<u8> {
    let mut sum = vec![6 << 3 | 5];
    sum.extend(table::mask(crc32c::crc32c(&[0; 16])).to_le_bytes());
    [number(1, 1), within(2, &shape(axes)), number(4, offset), number(5, len), sum].concat()
}

#[test]
fn a_sound_table_is_read() {
    let head: (&[u8], Vec<u8>) = (b"", number(1, 1));
    assert_eq!(read(&[head, (b"w", entry(&[2, 2], 0, 16))]).unwrap(), [[0.0; 4]]);
}

#[test]
fn entries_that_claim_too_much_are_refused() {
    let check = |value: Vec<u8>, part: &str| {
        let error = read(&[(b"", number(1, 1)), (b"w", value)]).unwrap_err().to_string();
        assert!(error.contains(part), "{part:?} not in: {error}");
    };
    check(entry(&[1 << 40, 1 << 40], 0, 16), "beyond any file");
    check(entry(&[1 << 40], 0, 1 << 42), "cut short");
    check(entry(&[4], 4, 16), "cut short");
    check(entry(&[4], u64::MAX, 16), "cut short");
    check(entry(&[5], 0, 16), "takes 20 bytes, its entry gives 16");
    check(entry(&[u64::MAX], 0, 16), "an axis of length -1");
    check([entry(&[4], 0, 16), number(3, 1)].concat(), "data file 1 of 1");
    check([entry(&[4], 0, 16), within(7, &[])].concat(), "is missing");
    check(vec![0x0b], "kind 3");
    for (head, part) in [
        (number(1, 0), "0 data files"),
        (number(1, 1 << 40), "data files"),
        ([number(1, 1), number(2, 1)].concat(), "big-endian"),
    ] {
        let error = read(&[(b"", head), (b"w", entry(&[4], 0, 16))]).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    assert!(read(&[(b"w", entry(&[4], 0, 16))]).unwrap_err().to_string().contains("describes the others"));
    let twice = [(&b""[..], number(1, 1)), (b"w", entry(&[4], 0, 16)), (b"w", entry(&[4], 0, 16))];
    assert!(read(&twice).unwrap_err().to_string().contains("twice"));
}

#[test]
fn parts_that_lie_over_each_other_fill_no_memory() {
    let extent = |start: u64, len: u64| within(1, &[number(1, start), number(2, len)].concat());
    let parts: Vec<u8> = (0..64u64).flat_map(|n| within(7, &extent(4 * (n % 63), 4))).collect();
    let whole = [number(1, 1), within(2, &shape(&[256])), parts].concat();
    let keys: Vec<Vec<u8>> = (0..63usize).map(|n| slices::key("w", &vec![(4 * n, Some(4))])).collect();
    let mut entries: Vec<(&[u8], Vec<u8>)> = vec![(b"", number(1, 1))];
    entries.extend(keys.iter().map(|key| (key.as_slice(), entry(&[4], 0, 16))));
    entries.push((b"w", whole));
    let error = read(&entries).unwrap_err().to_string();
    assert!(error.contains("more than all data files have"), "{error}");
}

proptest! {
    #[test]
    fn any_entries_end_in_a_result(
        head in prop_oneof![Just(number(1, 1)), proptest::collection::vec(any::<u8>(), 0..20)],
        values in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..4),
    ) {
        let names: [&[u8]; 4] = [b"a", b"b", b"\0c", b"d"];
        let mut entries: Vec<(&[u8], Vec<u8>)> = vec![(b"", head)];
        entries.extend(names.into_iter().zip(values));
        let _ = read(&entries);
    }

    #[test]
    fn a_sound_entry_with_wrong_bytes_never_panics(flips in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..5)) {
        let mut value = entry(&[2, 2], 0, 16);
        for (at, byte) in flips {
            let at = at % value.len();
            value[at] = byte;
        }
        let _ = read(&[(b"", number(1, 1)), (b"w", value)]);
    }

    #[test]
    fn old_checkpoints_with_wrong_bytes_never_panic(flips in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..4)) {
        let about = [within(1, b"w"), within(2, &shape(&[2])), number(3, 1)].concat();
        let mut head = within(1, &within(1, &about));
        let numbers = within(5, &[0, 0, 128, 63, 0, 0, 0, 64]);
        let slice = within(1, &[]);
        let mut value = within(2, &[within(1, b"w"), within(2, &slice), within(3, &numbers)].concat());
        if flips.is_empty() {
            prop_assert_eq!(read(&[(b"", head.clone()), (b"\0w", value.clone())]).unwrap(), [[1.0, 2.0]]);
        }
        let len = head.len();
        for (at, byte) in flips {
            match at % (len + value.len()) {
                at if at < len => head[at] = byte,
                at => value[at - len] = byte,
            }
        }
        let _ = read(&[(b"", head), (b"\0w", value)]);
    }
}
