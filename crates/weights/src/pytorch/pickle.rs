//! The machine of Python's pickles, as far as data needs it: protocols 0 to 5, and nothing is ever called.
//!
//! Each instruction makes at most one value and each takes at least one byte, so what a pickle can make us keep is
//! bounded by its own length; what is shared stays shared.
//!
//! Format: <https://github.com/python/cpython/blob/main/Lib/pickletools.py>

use std::collections::HashMap;

use super::globals::role;
use super::stream::Stream;
use super::value::{Id, Pickle, Value};
use crate::Error;
use crate::input::Input;

/// Most values kept: a tensor takes about 15.
const MAX_VALUES: usize = 8 << 20;

/// Most values on the stack: Python writes a dictionary in pieces of 1000 entries.
const MAX_STACK: usize = 1 << 20;

/// Most groups open at once, which is how deep things may be nested.
const MAX_MARKS: usize = 10_000;

/// Reads the pickle from `start` on, which must be over before `end`.
pub(super) fn read(input: &Input, start: u64, end: u64) -> Result<Pickle, Error> {
    let mut machine = Machine {
        stream: Stream::new(input, start, end),
        values: vec![Value::Opaque, Value::Flag(false), Value::Flag(true)],
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    let root = machine.run()?;
    let (end, len) = (machine.stream.at(), machine.stream.len());
    Ok(Pickle { values: machine.values, root, end, len })
}

/// A pickle being read.
pub(super) struct Machine<'i> {
    pub stream: Stream<'i>,
    pub values: Vec<Value>,
    stack: Vec<Id>,
    /// How high the stack was at each mark that is still open.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
}

/// The place of the only [`Value::Opaque`].
const OPAQUE: Id = 0;

/// The places of false and true.
const FLAGS: [Id; 2] = [1, 2];

/// Most bytes that are kept: what a dictionary of characters has for one.
pub(super) const MAX_BYTES: usize = 64;

impl Machine<'_> {
    /// Runs to the end and gives what is on top then.
    fn run(&mut self) -> Result<Id, Error> {
        loop {
            let [code] = self.stream.array()?;
            match code {
                b'.' => return self.pop(),
                0x80 => match self.stream.array()? {
                    [0..=5] => {}
                    [other] => return Err(self.stream.bad(format!("protocol {other} is not known"))),
                },
                0x95 => drop(self.stream.array::<8>()?), // FRAME: only says how far one may read ahead
                b'(' if self.marks.len() == MAX_MARKS => {
                    return Err(self.stream.bad(format!("more than {MAX_MARKS} groups are open at once")));
                }
                b'(' => self.marks.push(self.stack.len()),
                b'0' if self.stack.len() == self.floor() => drop(self.unmark()?),
                b'0' => drop(self.pop()?),
                b'1' => drop(self.unmark()?),
                b'2' => {
                    let top = self.top()?;
                    self.push(top)?;
                }
                b'N' => self.push(OPAQUE)?,
                0x88 | 0x89 => self.push(FLAGS[usize::from(code == 0x88)])?,
                b'p' | b'q' | b'r' | 0x94 => self.put(code)?,
                b'g' | b'h' | b'j' => self.get(code)?,
                b'I' | b'L' | b'J' | b'K' | b'M' | 0x8a | 0x8b => self.whole_number(code)?,
                b'F' => {
                    let line = self.stream.line()?;
                    let number = std::str::from_utf8(&line).ok().and_then(|text| text.trim().parse().ok());
                    self.make(number.map_or(Value::Opaque, Value::Real))?;
                }
                b'G' => {
                    let number = f64::from_be_bytes(self.stream.array()?);
                    self.make(Value::Real(number))?;
                }
                b'S' | b'V' | b'T' | b'U' | b'X' | 0x8c | 0x8d => self.text(code)?,
                b'B' | b'C' | 0x8e | 0x96 => {
                    let len = self.length(code)?;
                    let bytes = self.stream.take(len)?;
                    match bytes.len() {
                        0..=MAX_BYTES => {
                            let bytes = bytes.into();
                            self.make(Value::Bytes(bytes))?;
                        }
                        _ => self.push(OPAQUE)?,
                    }
                }
                b')' | b']' | 0x8f => self.make(Value::Sequence(Vec::new()))?,
                b'}' => self.make(Value::Mapping(Vec::new()))?,
                b't' | b'l' | 0x91 => {
                    let items = self.unmark()?;
                    self.make(Value::Sequence(items))?;
                }
                0x85..=0x87 => {
                    let mut items = vec![0; usize::from(code - 0x84)];
                    for item in items.iter_mut().rev() {
                        *item = self.pop()?;
                    }
                    self.make(Value::Sequence(items))?;
                }
                b'd' => {
                    let items = self.unmark()?;
                    self.make(Value::Mapping(Vec::new()))?;
                    self.set_items(items)?;
                }
                b'a' => {
                    let item = self.pop()?;
                    self.add(vec![item])?;
                }
                b'e' | 0x90 => {
                    let items = self.unmark()?;
                    self.add(items)?;
                }
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.set_items(vec![key, value])?;
                }
                b'u' => {
                    let items = self.unmark()?;
                    self.set_items(items)?;
                }
                b'c' | 0x93 => self.global(code)?,
                b'R' | 0x81 => {
                    let (args, callee) = (self.pop()?, self.pop()?);
                    self.call(callee, args)?;
                }
                0x92 => {
                    let (named, args, callee) = (self.pop()?, self.pop()?, self.pop()?);
                    self.call(callee, args)?;
                    self.add(vec![named])?;
                }
                b'i' | b'o' => {
                    let mut args = self.unmark()?;
                    if code == b'i' {
                        self.global(b'c')?;
                    } else if args.is_empty() {
                        return Err(self.stream.bad("an object is made of nothing"));
                    } else {
                        self.push(args.remove(0))?;
                    }
                    let callee = self.pop()?;
                    self.make(Value::Sequence(args))?;
                    let args = self.pop()?;
                    self.call(callee, args)?;
                }
                b'b' => {
                    let state = self.pop()?;
                    self.build(state)?;
                }
                b'Q' => {
                    let id = self.pop()?;
                    let storage = self.storage(id)?;
                    self.make(Value::Storage(Box::new(storage)))?;
                }
                _ => {
                    let shown = code.escape_ascii();
                    return Err(self.stream.bad(format!("'{shown}' is no instruction of a weights file")));
                }
            }
        }
    }

    /// How far down the stack may be taken: not below the last mark.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<Id, Error> {
        match self.stack.last() {
            Some(&top) if self.stack.len() > self.floor() => Ok(top),
            _ => Err(self.stream.bad("it takes more from its stack than is there")),
        }
    }

    fn pop(&mut self) -> Result<Id, Error> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// Everything above the last mark, which is closed.
    fn unmark(&mut self) -> Result<Vec<Id>, Error> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => Err(self.stream.bad("it closes a group that was not opened")),
        }
    }

    pub fn push(&mut self, id: Id) -> Result<(), Error> {
        if self.stack.len() == MAX_STACK {
            return Err(self.stream.bad(format!("more than {MAX_STACK} values are open at once")));
        }
        self.stack.push(id);
        Ok(())
    }

    /// Pushes a new value.
    pub fn make(&mut self, value: Value) -> Result<(), Error> {
        if self.values.len() == MAX_VALUES {
            return Err(self.stream.bad(format!("it holds more than {MAX_VALUES} values")));
        }
        self.values.push(value);
        self.push(self.values.len() as Id - 1)
    }

    fn put(&mut self, code: u8) -> Result<(), Error> {
        let key = match code {
            0x94 => self.memo.len() as u64,
            other => self.memo_key(other)?,
        };
        let top = self.top()?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn get(&mut self, code: u8) -> Result<(), Error> {
        let key = self.memo_key(code)?;
        match self.memo.get(&key) {
            Some(&id) => self.push(id),
            None => Err(self.stream.bad(format!("it remembers value {key}, which it never kept"))),
        }
    }

    fn memo_key(&mut self, code: u8) -> Result<u64, Error> {
        match code {
            b'q' | b'h' => Ok(u64::from(self.stream.array::<1>()?[0])),
            b'r' | b'j' => Ok(u64::from(u32::from_le_bytes(self.stream.array()?))),
            _ => Ok(self.number_line()?.0 as u64),
        }
    }

    fn whole_number(&mut self, code: u8) -> Result<(), Error> {
        let number = match code {
            b'J' => i128::from(i32::from_le_bytes(self.stream.array()?)),
            b'K' => i128::from(self.stream.array::<1>()?[0]),
            b'M' => i128::from(u16::from_le_bytes(self.stream.array()?)),
            0x8a | 0x8b => {
                let len = self.length(code)?;
                let bytes = self.stream.take(len)?;
                if bytes.len() > 16 {
                    return self.push(OPAQUE); // beyond any length or place
                }
                let sign = if bytes.last().is_some_and(|&high| high >= 0x80) { 0xff } else { 0 };
                let mut wide = [sign; 16];
                wide[..bytes.len()].copy_from_slice(bytes);
                i128::from_le_bytes(wide)
            }
            _ => match self.number_line()? {
                (0, 2) if code == b'I' => return self.push(FLAGS[0]), // 00 and 01 are false and true
                (1, 2) if code == b'I' => return self.push(FLAGS[1]),
                (number, _) => number,
            },
        };
        self.make(Value::Int(number))
    }

    /// A whole number written out on a line, and in how many letters.
    fn number_line(&mut self) -> Result<(i128, usize), Error> {
        let line = self.stream.line()?;
        let text = std::str::from_utf8(&line).unwrap_or_default().trim_end_matches('L');
        match text.parse() {
            Ok(number) => Ok((number, text.len())),
            Err(_) => Err(self.stream.bad("a whole number is not spelt as one")),
        }
    }

    /// The length that comes before bytes or a text.
    fn length(&mut self, code: u8) -> Result<u64, Error> {
        match code {
            b'U' | b'C' | 0x8a | 0x8c => Ok(u64::from(self.stream.array::<1>()?[0])),
            0x8d | 0x8e | 0x96 => Ok(u64::from_le_bytes(self.stream.array()?)),
            _ => Ok(u64::from(u32::from_le_bytes(self.stream.array()?))),
        }
    }

    fn text(&mut self, code: u8) -> Result<(), Error> {
        let text = match code {
            b'S' | b'V' => unescape(&self.stream.line()?, code == b'S'),
            _ => {
                let len = self.length(code)?;
                let bytes = self.stream.take(len)?;
                // What Python 2 wrote need not be UTF-8.
                Some(String::from_utf8_lossy(bytes).into_owned())
            }
        };
        match text {
            Some(text) => self.make(Value::Text(text.into())),
            None => Err(self.stream.bad("a text is not spelt as one")),
        }
    }

    fn global(&mut self, code: u8) -> Result<(), Error> {
        let (module, name) = match code {
            b'c' => {
                let (module, name) = (self.stream.line()?, self.stream.line()?);
                (String::from_utf8_lossy(&module).into_owned(), String::from_utf8_lossy(&name).into_owned())
            }
            _ => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (&self.values[module as usize], &self.values[name as usize]) {
                    (Value::Text(module), Value::Text(name)) => (module.to_string(), name.to_string()),
                    _ => return Err(self.stream.bad("a name it asks for is no text")),
                }
            }
        };
        match role(&module, &name) {
            Some(role) => self.make(Value::Global(role)),
            None => {
                let name = format!("{module}.{name}").chars().take(200).collect();
                Err(Error::Code { path: self.stream.input.path.clone(), name })
            }
        }
    }

    /// Adds to the sequence or object on top.
    fn add(&mut self, items: Vec<Id>) -> Result<(), Error> {
        let top = self.top()?;
        match &mut self.values[top as usize] {
            Value::Sequence(list) | Value::Object(list) => list.extend(items),
            // Arguments by name of a kind of dictionary: none of them is a tensor's.
            Value::Mapping(_) => {}
            _ => return Err(self.stream.bad("it adds to something that is no list")),
        }
        Ok(())
    }

    /// Sets keys (at even places) to values (behind them) in the dictionary on top.
    fn set_items(&mut self, items: Vec<Id>) -> Result<(), Error> {
        let (pairs, rest) = items.as_chunks::<2>();
        let top = self.top()?;
        match &mut self.values[top as usize] {
            Value::Mapping(all) if rest.is_empty() => {
                all.extend(pairs.iter().map(|&[key, value]| (key, value)))
            }
            Value::Object(all) => all.extend(items),
            _ => return Err(self.stream.bad("it sets keys of something that is no dictionary")),
        }
        Ok(())
    }

    /// Gives the object on top its state.
    fn build(&mut self, state: Id) -> Result<(), Error> {
        let top = self.top()?;
        match &mut self.values[top as usize] {
            Value::Object(parts) => parts.push(state),
            // A state dict's `_metadata` (the versions of modules), or what was hung on a parameter: no weights.
            Value::Mapping(_) | Value::Tensor(_) => {}
            _ => return Err(self.stream.bad("it gives a state to something that has none")),
        }
        Ok(())
    }
}

/// A text spelt in ASCII: in quotes as Python writes them (`quoted`), or with `\uXXXX` only.
fn unescape(line: &[u8], quoted: bool) -> Option<String> {
    let text: String = line.iter().map(|&byte| char::from(byte)).collect();
    let text = match (quoted, text.as_bytes()) {
        (false, _) => text.as_str(),
        (true, [first @ (b'\'' | b'"'), .., last]) if first == last => &text[1..text.len() - 1],
        _ => return None,
    };
    let mut out = String::new();
    let mut rest = text.chars();
    while let Some(letter) = rest.next() {
        if letter != '\\' {
            out.push(letter);
            continue;
        }
        let digits = match rest.next()? {
            'u' => 4,
            'U' => 8,
            'x' if quoted => 2,
            'n' if quoted => {
                out.push('\n');
                continue;
            }
            other => {
                if !quoted {
                    out.push('\\');
                }
                out.push(other);
                continue;
            }
        };
        let digits: String = rest.by_ref().take(digits).collect();
        out.push(char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?);
    }
    Some(out)
}

#[cfg(test)]
#[path = "pickle_tests.rs"]
mod tests;
