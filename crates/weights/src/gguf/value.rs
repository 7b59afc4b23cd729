//! The metadata of a GGUF file: keys with typed values.

use std::collections::HashMap;

/// One value.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "each variant is named after the type it holds")]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    Text(String),
    List(List),
    U64(u64),
    I64(i64),
    F64(f64),
}

/// Values of one type.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "each variant is named after the type it holds")]
pub enum List {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    F32(Vec<f32>),
    Bool(Vec<bool>),
    Text(Vec<String>),
    Lists(Vec<List>),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F64(Vec<f64>),
}

impl Value {
    /// A whole number of any width that is not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Value::U8(x) => Some(x.into()),
            Value::I8(x) => x.try_into().ok(),
            Value::U16(x) => Some(x.into()),
            Value::I16(x) => x.try_into().ok(),
            Value::U32(x) => Some(x.into()),
            Value::I32(x) => x.try_into().ok(),
            Value::U64(x) => Some(x),
            Value::I64(x) => x.try_into().ok(),
            _ => None,
        }
    }

    /// A number of any kind. One of `f32` gives the shortest decimal that means it (`1e-5`, not `9.99999974737e-6`).
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Value::F32(x) => x.to_string().parse().ok(),
            Value::F64(x) => Some(x),
            Value::I8(x) => Some(x.into()),
            Value::I16(x) => Some(x.into()),
            Value::I32(x) => Some(x.into()),
            Value::I64(x) => Some(x as f64),
            _ => self.as_u64().map(|x| x as f64),
        }
    }

    /// A truth value.
    pub fn as_bool(&self) -> Option<bool> {
        if let Value::Bool(x) = *self { Some(x) } else { None }
    }

    /// A text.
    pub fn as_str(&self) -> Option<&str> {
        if let Value::Text(x) = self { Some(x) } else { None }
    }

    /// A list.
    pub fn as_list(&self) -> Option<&List> {
        if let Value::List(x) = self { Some(x) } else { None }
    }
}

impl List {
    /// How many values there are.
    pub fn len(&self) -> usize {
        match self {
            List::U8(x) => x.len(),
            List::I8(x) => x.len(),
            List::U16(x) => x.len(),
            List::I16(x) => x.len(),
            List::U32(x) => x.len(),
            List::I32(x) => x.len(),
            List::F32(x) => x.len(),
            List::Bool(x) => x.len(),
            List::Text(x) => x.len(),
            List::Lists(x) => x.len(),
            List::U64(x) => x.len(),
            List::I64(x) => x.len(),
            List::F64(x) => x.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Value `at`, when there are so many.
    pub fn get(&self, at: usize) -> Option<Value> {
        match self {
            List::U8(x) => x.get(at).copied().map(Value::U8),
            List::I8(x) => x.get(at).copied().map(Value::I8),
            List::U16(x) => x.get(at).copied().map(Value::U16),
            List::I16(x) => x.get(at).copied().map(Value::I16),
            List::U32(x) => x.get(at).copied().map(Value::U32),
            List::I32(x) => x.get(at).copied().map(Value::I32),
            List::F32(x) => x.get(at).copied().map(Value::F32),
            List::Bool(x) => x.get(at).copied().map(Value::Bool),
            List::Text(x) => x.get(at).cloned().map(Value::Text),
            List::Lists(x) => x.get(at).cloned().map(Value::List),
            List::U64(x) => x.get(at).copied().map(Value::U64),
            List::I64(x) => x.get(at).copied().map(Value::I64),
            List::F64(x) => x.get(at).copied().map(Value::F64),
        }
    }

    /// The texts of a list of texts.
    pub fn as_texts(&self) -> Option<&[String]> {
        if let List::Text(x) = self { Some(x) } else { None }
    }
}

/// Keys and values, in the order of the file, each key once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    entries: Vec<(String, Value)>,
    by_key: HashMap<String, usize>,
}

impl Metadata {
    /// Puts a value, in the place of the one that stood under that key.
    pub fn put(&mut self, key: impl Into<String>, value: Value) {
        let key = key.into();
        match self.by_key.get(&key) {
            Some(&at) => self.entries[at].1 = value,
            None => {
                self.by_key.insert(key.clone(), self.entries.len());
                self.entries.push((key, value));
            }
        }
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.by_key.get(key).map(|&at| &self.entries[at].1)
    }

    /// The value of a key as a whole number.
    pub fn u64(&self, key: &str) -> Option<u64> {
        self.get(key)?.as_u64()
    }

    /// The value of a key as a number.
    pub fn f64(&self, key: &str) -> Option<f64> {
        self.get(key)?.as_f64()
    }

    /// The value of a key as a truth value.
    pub fn bool(&self, key: &str) -> Option<bool> {
        self.get(key)?.as_bool()
    }

    /// The value of a key as a text.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }

    /// A whole number that may be given once for all layers or for each.
    pub(super) fn u64_of_layer(&self, key: &str, layer: usize) -> Option<u64> {
        match self.get(key)? {
            Value::List(list) => list.get(layer)?.as_u64(),
            value => value.as_u64(),
        }
    }

    /// All entries, in the order of the file.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_understood_whatever_their_width() {
        assert_eq!(Value::U8(3).as_u64(), Some(3));
        assert_eq!(Value::I64(-3).as_u64(), None);
        assert_eq!(Value::I16(-3).as_f64(), Some(-3.0));
        assert_eq!(Value::F32(1e-5).as_f64(), Some(1e-5));
        assert_eq!(Value::F32(3.0).as_u64(), None);
        assert_eq!(Value::Text("3".into()).as_f64(), None);
    }

    #[test]
    fn a_key_stands_once_and_keeps_its_place() {
        let mut metadata = Metadata::default();
        metadata.put("a", Value::Bool(true));
        metadata.put("b", Value::List(List::I32(vec![4, 5])));
        metadata.put("a", Value::U32(7));
        let keys: Vec<&str> = metadata.iter().map(|(key, _)| key).collect();
        assert_eq!((keys, metadata.u64("a")), (vec!["a", "b"], Some(7)));
        assert_eq!(metadata.u64_of_layer("a", 9), Some(7));
        assert_eq!((metadata.u64_of_layer("b", 1), metadata.u64_of_layer("b", 2)), (Some(5), None));
    }
}
