//! What a pickle holds, as data.
//!
//! All values lie in one list and name each other by their place in it, as Python's may: twice, or in a circle. Neither
//! reading nor dropping them ever walks down by itself, so nesting costs no stack.

use std::borrow::Cow;

use ::safetensors::Dtype;

use super::globals::Role;

/// The place of a value.
pub(super) type Id = u32;

/// A value of a pickle.
#[derive(Debug)]
pub(super) enum Value {
    /// None, long runs of bytes: nothing that weights or what is said of them are made of.
    Opaque,
    Flag(bool),
    Int(i128),
    Real(f64),
    Text(Box<str>),
    /// Few bytes, such as a character.
    Bytes(Box<[u8]>),
    /// A tuple, a list or a set.
    Sequence(Vec<Id>),
    /// A dictionary, in the order in which it was filled; a key may come twice, the last one counts.
    Mapping(Vec<(Id, Id)>),
    /// A name on the list of [`globals`](super::globals).
    Global(Role),
    Storage(Box<Storage>),
    Tensor(Box<Tensor>),
    /// Something made by a name of [`Role::Inert`], from these.
    Object(Vec<Id>),
}

/// A run of numbers that lies outside the pickle.
#[derive(Debug)]
pub(super) struct Storage {
    /// Its name, a text or a number.
    pub key: Id,
    pub dtype: Dtype,
    /// How many numbers.
    pub len: u64,
    /// Where a part of it starts and how long that is, when only the part is meant.
    pub part: Option<(u64, u64)>,
}

/// A tensor, as it is described; nothing of it is checked yet.
#[derive(Debug)]
pub(super) struct Tensor {
    pub storage: Id,
    pub dtype: Dtype,
    pub offset: Id,
    pub shape: Id,
    pub stride: Id,
}

/// All values of a pickle.
#[derive(Debug)]
pub(super) struct Pickle {
    pub values: Vec<Value>,
    /// The value the pickle is of.
    pub root: Id,
    /// Where it ends in the file.
    pub end: u64,
    /// How many bytes it has.
    pub len: u64,
}

impl Pickle {
    pub fn value(&self, id: Id) -> &Value {
        &self.values[id as usize]
    }

    pub fn root(&self) -> &Value {
        self.value(self.root)
    }

    /// A whole number that is not negative.
    pub fn size(&self, id: Id) -> Option<usize> {
        match self.value(id) {
            Value::Int(number) => usize::try_from(*number).ok(),
            _ => None,
        }
    }

    /// The value of a key that is a text, in a dictionary. Of a key that comes twice the last value counts.
    pub fn get(&self, id: Id, key: &str) -> Option<Id> {
        let Value::Mapping(pairs) = self.value(id) else { return None };
        let named = |&&(name, _): &&(Id, Id)| matches!(self.value(name), Value::Text(text) if &**text == key);
        pairs.iter().rev().find(named).map(|&(_, value)| value)
    }

    /// A text, or a number as text: what keys are made of.
    pub fn key(&self, id: Id) -> Option<Cow<'_, str>> {
        match self.value(id) {
            Value::Text(text) => Some(Cow::Borrowed(text)),
            Value::Int(number) => Some(Cow::Owned(number.to_string())),
            _ => None,
        }
    }
}
