//! The head of a `.npy` file: magic, version, and a Python dictionary of `descr`, `fortran_order` and `shape`.

use std::io::Read;

use ::safetensors::Dtype;

/// Longest dictionary read, in bytes. NumPy itself reads 10,000.
const MAX_LEN: u32 = 1 << 16;

/// What a head says of its array.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The number format as NumPy spells it, its byte order included.
    descr: String,
    /// The number format, when it is a plain one.
    pub dtype: Option<Dtype>,
    pub big_endian: bool,
    /// Whether the first axis runs fastest.
    pub fortran: bool,
    pub shape: Vec<usize>,
    /// How long the head is, in bytes.
    pub len: u64,
}

impl Header {
    /// Reads the head from the start of an array's file.
    pub fn read(from: &mut dyn Read) -> Result<Header, String> {
        let mut take = |len: usize| -> Result<Vec<u8>, String> {
            let mut bytes = vec![0; len];
            from.read_exact(&mut bytes).map_err(|error| format!("its head cannot be read: {error}"))?;
            Ok(bytes)
        };
        let start = take(8)?;
        if !start.starts_with(b"\x93NUMPY") {
            return Err("it does not start like an array of NumPy's".to_string());
        }
        let wide = match start[6] {
            1 => 2,
            2 | 3 => 4,
            other => return Err(format!("version {other} of its format is not known")),
        };
        let text_len = take(wide)?.iter().rev().fold(0u32, |number, &byte| number << 8 | u32::from(byte));
        if text_len > MAX_LEN {
            return Err(format!("it claims a head of {text_len} bytes"));
        }
        let text = String::from_utf8(take(text_len as usize)?).map_err(|_| "its head is not UTF-8")?;
        let mut header =
            Header::parse(&text).ok_or_else(|| format!("its head is not understood: {}", text.trim()))?;
        header.len = 8 + wide as u64 + u64::from(text_len);
        Ok(header)
    }

    /// How the numbers are called: as in safetensors if they can be, or as NumPy does.
    pub fn format(&self) -> String {
        self.dtype.map_or_else(|| self.descr.clone(), |dtype| dtype.to_string())
    }

    fn parse(text: &str) -> Option<Header> {
        let mut rest = text.trim().strip_prefix('{')?.strip_suffix('}')?.trim();
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        while !rest.is_empty() {
            let (key, behind) = quoted(rest)?;
            let (value, behind) = value(behind.trim_start().strip_prefix(':')?)?;
            let is_new = match key {
                "descr" => descr.replace(value).is_none(),
                "fortran_order" => fortran.replace(value).is_none(),
                "shape" => shape.replace(value).is_none(),
                _ => false,
            };
            if !is_new {
                return None;
            }
            rest = behind.strip_prefix(',').unwrap_or(behind).trim();
        }
        let fortran = match fortran? {
            "True" => true,
            "False" => false,
            _ => return None,
        };
        let sizes = shape?.strip_prefix('(')?.strip_suffix(')')?.trim();
        let sizes = sizes.strip_suffix(',').unwrap_or(sizes);
        // Python 2 wrote long whole numbers with an L behind them.
        let size = |text: &str| text.trim().trim_end_matches('L').parse().ok();
        let shape = match sizes {
            "" => Vec::new(),
            sizes => sizes.split(',').map(size).collect::<Option<_>>()?,
        };
        // A list is an array of records.
        let descr = quoted(descr?).map_or_else(|| descr.unwrap_or_default(), |(descr, _)| descr).to_string();
        let (dtype, big_endian) = plain(&descr);
        Some(Header { descr, dtype, big_endian, fortran, shape, len: 0 })
    }
}

/// The format and whether the high byte comes first.
fn plain(descr: &str) -> (Option<Dtype>, bool) {
    let (order, kind) = descr.split_at_checked(1).unwrap_or(("", descr));
    let big_endian = match order {
        "<" | "|" => false,
        ">" => true,
        "=" => cfg!(target_endian = "big"),
        _ => return (None, false),
    };
    let dtype = match kind {
        "f2" => Dtype::F16,
        "f4" => Dtype::F32,
        "f8" => Dtype::F64,
        "i1" => Dtype::I8,
        "i2" => Dtype::I16,
        "i4" => Dtype::I32,
        "i8" => Dtype::I64,
        "u1" => Dtype::U8,
        "u2" => Dtype::U16,
        "u4" => Dtype::U32,
        "u8" => Dtype::U64,
        "b1" => Dtype::BOOL,
        "c8" => Dtype::C64,
        _ => return (None, false),
    };
    (Some(dtype), big_endian)
}

/// A text in quotes at the start, and what stands behind it.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let quote = text.chars().next().filter(|first| matches!(first, '\'' | '"'))?;
    text[1..].split_once(quote)
}

/// A value up to the comma that is in no brackets and no quotes, and what stands from there on.
fn value(text: &str) -> Option<(&str, &str)> {
    let mut open = 0usize;
    let mut quote = None;
    for (at, letter) in text.char_indices() {
        match (quote, letter) {
            (Some(end), letter) if letter == end => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(letter),
            (None, '(' | '[') => open += 1,
            (None, ')' | ']') => open = open.checked_sub(1)?,
            (None, ',') if open == 0 => return Some((text[..at].trim(), &text[at..])),
            _ => {}
        }
    }
    (open == 0 && quote.is_none()).then(|| (text.trim(), ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, format: &str, big_endian: bool, fortran: bool, shape: &[usize]) {
        let header = Header::parse(text).unwrap();
        let seen = (header.format(), header.big_endian, header.fortran, header.shape);
        assert_eq!(seen, (format.to_string(), big_endian, fortran, shape.to_vec()), "{text}");
    }

    #[test]
    fn heads_are_understood_in_every_spelling() {
        check(
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }  \n",
            "F32",
            false,
            false,
            &[3, 4],
        );
        check("{'descr': '>f8', 'fortran_order': True, 'shape': (3,)}", "F64", true, true, &[3]);
        check("{\"shape\":(),\"fortran_order\":False,\"descr\":\"|b1\"}", "BOOL", false, false, &[]);
        check("{'descr': '<f2', 'fortran_order': False, 'shape': (2L, 0L), }", "F16", false, false, &[2, 0]);
        check("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", "|O", false, false, &[1]);
        check(
            "{'descr': [('a', '<f4'), ('b,', '<i8', (2,))], 'fortran_order': False, 'shape': (1,), }",
            "[('a', '<f4'), ('b,', '<i8', (2,))]",
            false,
            false,
            &[1],
        );
    }

    #[test]
    fn heads_that_say_something_else_are_refused() {
        for text in [
            "",
            "{}",
            "{'descr': '<f4', 'fortran_order': False}",
            "{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (1,,2)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': [1]}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
            "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'more': 1}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)",
            "{'descr': (('<f4', 'fortran_order': False, 'shape': (1,)}",
        ] {
            assert_eq!(Header::parse(text), None, "{text}");
        }
    }
}
