//! State dicts out, in the form that `torch.load(path, weights_only=True)` opens.
//!
//! The pickle is, to the byte, what Python's own pickler makes of the same dictionary of contiguous tensors.

use std::collections::HashMap;
use std::io::{BufWriter, Write};
use std::path::Path;

use crate::safetensors::{Named, ordered};
use crate::strided::row_major_stride;
use crate::zip::{ALIGNMENT, Writer};
use crate::{Error, atomic, convert};

/// Entries of a dictionary that Python's pickler sets at once.
const BATCH: usize = 1000;

/// Writes a PyTorch file with a dictionary of `f32` tensors, each with a storage of its own, atomically: the old file
/// stands until the new one is whole and on disk.
///
/// The tensors are laid out sorted by name, so the same tensors give the same bytes in whatever order they come.
///
/// # Errors
/// [`Error::WrongLength`], [`Error::BadTensor`] for a name that comes twice, [`Error::Write`].
pub fn write(path: impl AsRef<Path>, tensors: &[Named]) -> Result<(), Error> {
    let path = path.as_ref();
    let order = ordered(path, tensors)?;
    atomic::write_with(path, |file| write_to(file, &order))
}

/// The bytes [`write()`] would write.
///
/// # Errors
/// As [`write()`].
pub fn to_bytes(tensors: &[Named]) -> Result<Vec<u8>, Error> {
    let path = Path::new("memory");
    let order = ordered(path, tensors)?;
    let mut bytes = Vec::new();
    write_to(&mut bytes, &order).map_err(|source| Error::Write {
        path: path.to_path_buf(),
        kept: "nothing was changed",
        source,
    })?;
    Ok(bytes)
}

fn write_to(out: &mut dyn Write, order: &[&Named]) -> std::io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, out);
    let mut zip = Writer::new(&mut out, 0);
    zip.add("archive/data.pkl", &pickled(order))?;
    zip.add("archive/.format_version", b"1")?;
    zip.add("archive/.storage_alignment", ALIGNMENT.to_string().as_bytes())?;
    zip.add("archive/byteorder", b"little")?;
    for (key, tensor) in order.iter().enumerate() {
        let name = format!("archive/data/{key}");
        zip.add(&name, &convert::le_bytes(&tensor.data))?;
    }
    zip.add("archive/version", b"3\n")?;
    zip.finish()?;
    out.flush()
}

/// The dictionary as a pickle of protocol 2.
pub(super) fn pickled(order: &[&Named]) -> Vec<u8> {
    let mut pickler = Pickler { out: vec![0x80, 2, b'}'], memo: HashMap::new(), kept: 0 };
    pickler.keep();
    let mut key = 0;
    for batch in order.chunks(BATCH) {
        if batch.len() > 1 {
            pickler.out.push(b'(');
        }
        for tensor in batch {
            pickler.text(&tensor.name);
            pickler.tensor(key, &tensor.shape);
            key += 1;
        }
        pickler.out.push(if batch.len() > 1 { b'u' } else { b's' });
    }
    pickler.out.push(b'.');
    pickler.out
}

/// A pickle being written.
struct Pickler {
    out: Vec<u8>,
    /// What was written before, by its spelling, and the number under which it was kept.
    memo: HashMap<Vec<u8>, u32>,
    /// How many values were kept.
    kept: u32,
}

impl Pickler {
    /// `torch._utils._rebuild_tensor_v2(storage, 0, shape, stride, False, OrderedDict())`
    fn tensor(&mut self, key: usize, shape: &[usize]) {
        self.once(b"ctorch._utils\n_rebuild_tensor_v2\n");
        self.out.extend(b"((");
        self.text("storage");
        self.once(b"ctorch\nFloatStorage\n");
        self.text(&key.to_string());
        self.text("cpu");
        self.number(shape.iter().product());
        self.out.push(b't');
        self.keep();
        self.out.push(b'Q');
        self.number(0);
        self.tuple(shape);
        self.tuple(&row_major_stride(shape));
        self.out.push(0x89);
        self.once(b"ccollections\nOrderedDict\n");
        self.out.extend(b")R");
        self.keep();
        self.out.push(b't');
        self.keep();
        self.out.push(b'R');
        self.keep();
    }

    fn tuple(&mut self, numbers: &[usize]) {
        if numbers.is_empty() {
            return self.out.push(b')');
        }
        if numbers.len() > 3 {
            self.out.push(b'(');
        }
        numbers.iter().for_each(|&number| self.number(number));
        self.out.push(match numbers.len() {
            len @ 1..=3 => 0x84 + len as u8,
            _ => b't',
        });
        self.keep();
    }

    fn number(&mut self, number: usize) {
        match number {
            0..=0xff => self.out.extend([b'K', number as u8]),
            0x100..=0xffff => {
                self.out.push(b'M');
                self.out.extend((number as u16).to_le_bytes());
            }
            0x1_0000..=0x7fff_ffff => {
                self.out.push(b'J');
                self.out.extend((number as u32).to_le_bytes());
            }
            _ => {
                // As few bytes as hold it and a sign of 0.
                let bytes = number.to_le_bytes();
                let len = bytes.len() - number.leading_zeros() as usize / 8;
                let sign = bytes[len - 1] >= 0x80;
                self.out.extend([0x8a, len as u8 + u8::from(sign)]);
                self.out.extend(&bytes[..len]);
                self.out.extend(sign.then_some(0));
            }
        }
    }

    fn text(&mut self, text: &str) {
        let mut spelt = vec![b'X'];
        spelt.extend((text.len() as u32).to_le_bytes());
        spelt.extend(text.as_bytes());
        self.once(&spelt);
    }

    /// Writes a value, or where it was kept when it has been written before.
    fn once(&mut self, spelt: &[u8]) {
        match self.memo.get(spelt) {
            Some(&kept) => self.memo_code(b'h', b'j', kept),
            None => {
                self.memo.insert(spelt.to_vec(), self.kept);
                self.out.extend(spelt);
                self.keep();
            }
        }
    }

    /// Keeps the value just written under the next number.
    fn keep(&mut self) {
        self.memo_code(b'q', b'r', self.kept);
        self.kept += 1;
    }

    fn memo_code(&mut self, short: u8, long: u8, number: u32) {
        match u8::try_from(number) {
            Ok(number) => self.out.extend([short, number]),
            Err(_) => {
                self.out.push(long);
                self.out.extend(number.to_le_bytes());
            }
        }
    }
}
