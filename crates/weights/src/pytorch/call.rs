//! What the calls in a pickle come to: a tensor's description, a dictionary, or something to look at and leave alone.

use super::globals::Role;
use super::pickle::{MAX_BYTES, Machine};
use super::value::{Id, Storage, Tensor, Value};
use crate::Error;

impl Machine<'_> {
    /// Pushes what `callee` would make of `args`.
    pub fn call(&mut self, callee: Id, args: Id) -> Result<(), Error> {
        let (Value::Global(role), Value::Sequence(list)) =
            (&self.values[callee as usize], &self.values[args as usize])
        else {
            return Err(self.stream.bad("it calls something that is no name, or with no list of arguments"));
        };
        match (*role, list.as_slice()) {
            (Role::Tensor, &[storage, offset, shape, stride, ..]) => {
                self.tensor(storage, None, [offset, shape, stride])
            }
            (Role::TensorOfDtype, &[storage, offset, shape, stride, _, _, dtype, ..]) => {
                self.tensor(storage, Some(dtype), [offset, shape, stride])
            }
            (Role::Wrapped, &[tensor, ..]) => self.push(tensor),
            // One step and no further: what is rebuilt is a tensor, not another call.
            (Role::FromType, &[function, _, args, ..]) => match self.values[function as usize] {
                Value::Global(Role::Tensor | Role::TensorOfDtype | Role::Wrapped) => {
                    self.call(function, args)
                }
                _ => Err(self.stream.bad("a tensor is made by no function that makes tensors")),
            },
            (Role::Mapping, list) => {
                let from = list
                    .iter()
                    .find(|&&id| matches!(self.values[id as usize], Value::Mapping(_) | Value::Sequence(_)));
                match from {
                    Some(&id) => self.mapping(id),
                    None => self.make(Value::Mapping(Vec::new())),
                }
            }
            (Role::Sequence, list) => match list.first() {
                Some(&id) if matches!(self.values[id as usize], Value::Sequence(_)) => self.push(id),
                None => self.make(Value::Sequence(Vec::new())),
                Some(_) => self.make(Value::Object(vec![args])),
            },
            (Role::Bytes, list) => {
                let bytes = match list.first().map(|&id| &self.values[id as usize]) {
                    Some(Value::Text(text)) => latin1(text),
                    _ => None,
                };
                self.make(bytes.map_or(Value::Opaque, Value::Bytes))
            }
            (Role::Inert | Role::Storage(_) | Role::Numbers(_), _) => self.make(Value::Object(vec![args])),
            _ => Err(self.stream.bad(format!("a tensor is made of {} arguments", list.len()))),
        }
    }

    /// Pushes a dictionary made of another, or of pairs. A list of pairs becomes that dictionary where it lies, so that
    /// making many of one list takes no more memory than making one.
    fn mapping(&mut self, id: Id) -> Result<(), Error> {
        if let Value::Sequence(list) = &self.values[id as usize] {
            let pair = |&id: &Id| match &self.values[id as usize] {
                Value::Sequence(pair) => <[Id; 2]>::try_from(pair.as_slice()).ok().map(|[k, v]| (k, v)),
                _ => None,
            };
            let Some(pairs) = list.iter().map(pair).collect::<Option<Vec<_>>>() else {
                return Err(self.stream.bad("a dictionary is made of something other than pairs"));
            };
            self.values[id as usize] = Value::Mapping(pairs);
        }
        self.push(id)
    }

    fn tensor(
        &mut self,
        storage: Id,
        dtype: Option<Id>,
        [offset, shape, stride]: [Id; 3],
    ) -> Result<(), Error> {
        let Value::Storage(of) = &self.values[storage as usize] else {
            return Err(self.stream.bad("a tensor has no storage"));
        };
        let dtype = match dtype.map(|id| &self.values[id as usize]) {
            None => of.dtype,
            Some(Value::Global(Role::Numbers(dtype))) => *dtype,
            Some(_) => return Err(self.stream.bad("a tensor has no number format")),
        };
        self.make(Value::Tensor(Box::new(Tensor { storage, dtype, offset, shape, stride })))
    }

    /// What `('storage', class, key, device, length)` means, in old files with a part of it: `(key, start, length)`.
    pub fn storage(&self, id: Id) -> Result<Storage, Error> {
        let value = |id: Id| &self.values[id as usize];
        let Value::Sequence(parts) = value(id) else {
            return Err(self.stream.bad("a storage has no description"));
        };
        let kind = parts.first().map(|&id| value(id));
        if matches!(kind, Some(Value::Text(kind)) if &**kind == "module") {
            return Err(self.stream.bad("it holds a whole program, not its weights: save its state_dict()"));
        }
        let number = |id: Id| match value(id) {
            Value::Int(number) => u64::try_from(*number).ok(),
            _ => None,
        };
        let described = match (kind, parts.get(1).map(|&id| value(id)), &parts[..]) {
            (
                Some(Value::Text(kind)),
                Some(Value::Global(Role::Storage(dtype))),
                &[_, _, key, _, len, ref rest @ ..],
            ) if &**kind == "storage" => {
                let part = match rest.first().map(|&id| value(id)) {
                    Some(Value::Sequence(part)) if part.len() == 3 => {
                        number(part[1]).zip(number(part[2])).map(Some)
                    }
                    None | Some(Value::Opaque) => Some(None),
                    Some(_) => None,
                };
                number(len).zip(part).map(|(len, part)| Storage { key, dtype: *dtype, len, part })
            }
            _ => None,
        };
        described.ok_or_else(|| self.stream.bad("a storage is not described as PyTorch does"))
    }
}

/// The bytes of a text whose characters are bytes, if they are few.
fn latin1(text: &str) -> Option<Box<[u8]>> {
    let short = text.len() <= 2 * MAX_BYTES;
    short.then(|| text.chars().map(|char| u8::try_from(u32::from(char)).ok()).collect()).flatten()
}
