//! The tensors of what a pickle holds, by name.
//!
//! A state dict is a dictionary from names to tensors. A training checkpoint keeps one under `state_dict`,
//! `model_state_dict`, `model` or `module`, beside the state of its optimizer and its settings: when exactly one of
//! these keys holds a dictionary and no tensor stands beside it, that dictionary is the state dict and the rest is not
//! looked at. Otherwise everything is searched, and the name of a tensor is the keys that lead to it, joined by dots.

use std::collections::{HashMap, HashSet};

use super::value::{Id, Pickle, Value};
use crate::Error;
use crate::input::Input;

/// The keys under which training programs keep the state dict.
const WRAPPERS: &[&str] = &["state_dict", "model_state_dict", "model", "module"];

/// How deep dictionaries may be nested.
const MAX_DEPTH: usize = 64;

/// The tensors, by name, in the order of the pickle.
pub(super) fn tensors(input: &Input, pickle: &Pickle) -> Result<Vec<(String, Id)>, Error> {
    let mut walk = Walk {
        input,
        pickle,
        found: Vec::new(),
        open: HashSet::new(),
        visits_left: 4 * pickle.values.len() + 16,
        letters_left: 8 * pickle.len as usize + 65_536,
    };
    if matches!(pickle.root(), Value::Tensor(_)) {
        return Err(input.bad("it holds one tensor without a name: save a dictionary of names and tensors"));
    }
    walk.down(state_dict(pickle), "", None)?;
    if walk.found.is_empty() {
        return Err(input.bad("it holds no tensor"));
    }
    let mut names: Vec<&str> = walk.found.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(input.bad_tensor(pair[0], "it comes twice, once in a dictionary of its own"));
    }
    Ok(walk.found)
}

/// The dictionary below the one wrapper key, or the whole.
fn state_dict(pickle: &Pickle) -> Id {
    let Value::Mapping(pairs) = pickle.root() else { return pickle.root };
    if pairs.iter().any(|&(_, value)| matches!(pickle.value(value), Value::Tensor(_))) {
        return pickle.root;
    }
    let mut wrapped = pairs.iter().filter(|&&(key, value)| {
        matches!(pickle.value(key), Value::Text(key) if WRAPPERS.contains(&&**key))
            && matches!(pickle.value(value), Value::Mapping(_))
    });
    match (wrapped.next(), wrapped.next()) {
        (Some(&(_, only)), None) => only,
        _ => pickle.root,
    }
}

struct Walk<'p> {
    input: &'p Input,
    pickle: &'p Pickle,
    found: Vec<(String, Id)>,
    /// What lies on the way down to here: a thing may hold itself.
    open: HashSet<Id>,
    /// What is shared is walked each time it is met, which a few bytes could make happen 2^60 times.
    visits_left: usize,
    /// The same for names.
    letters_left: usize,
}

impl Walk<'_> {
    /// Collects the tensors of `id`, whose name is `name`. A tensor within `hidden`, which is nothing with names, is an
    /// error.
    fn down(&mut self, id: Id, name: &str, hidden: Option<&str>) -> Result<(), Error> {
        let spent = self.visits_left.checked_sub(1).zip(self.letters_left.checked_sub(name.len()));
        let Some(left) = spent else {
            return Err(self.input.bad("its dictionaries hold each other over and over"));
        };
        (self.visits_left, self.letters_left) = left;
        let value = self.pickle.value(id);
        match (value, hidden) {
            (Value::Tensor(_), None) => {
                self.found.push((name.to_string(), id));
                return Ok(());
            }
            (Value::Tensor(_), Some(hidden)) => {
                return Err(self
                    .input
                    .bad(format!("it holds a tensor within {hidden}: save its state_dict() alone")));
            }
            (Value::Sequence(_) | Value::Mapping(_) | Value::Object(_), _) => {}
            _ => return Ok(()),
        }
        if self.open.len() == MAX_DEPTH {
            return Err(self.input.bad(format!("\"{name}\" is nested more than {MAX_DEPTH} deep")));
        }
        if !self.open.insert(id) {
            return Ok(());
        }
        match value {
            Value::Sequence(items) => {
                for (n, &item) in items.iter().enumerate() {
                    self.down(item, &joined(name, &n.to_string()), hidden)?;
                }
            }
            Value::Mapping(pairs) => self.mapping(pairs, name, hidden)?,
            Value::Object(parts) => {
                let within = format!("an object (\"{name}\")");
                for &part in parts {
                    self.down(part, name, Some(hidden.unwrap_or(&within)))?;
                }
            }
            _ => {}
        }
        self.open.remove(&id);
        Ok(())
    }

    fn mapping(&mut self, pairs: &[(Id, Id)], name: &str, hidden: Option<&str>) -> Result<(), Error> {
        let keys: Vec<_> = pairs.iter().map(|&(key, _)| self.pickle.key(key)).collect();
        // Of a key that comes twice the last value counts.
        let last: HashMap<_, _> = keys.iter().enumerate().map(|(n, key)| (key, n)).collect();
        for (n, (key, &(_, value))) in keys.iter().zip(pairs).enumerate() {
            match key {
                Some(key) if last[&Some(key.clone())] == n => self.down(value, &joined(name, key), hidden)?,
                Some(_) => {}
                None => {
                    let within = format!("\"{name}\" under a key that is no text");
                    self.down(value, name, Some(hidden.unwrap_or(&within)))?;
                }
            }
        }
        Ok(())
    }
}

fn joined(name: &str, key: &str) -> String {
    if name.is_empty() { key.to_string() } else { format!("{name}.{key}") }
}
