//! Weight tables: how a checkpoint calls its tensors and where they belong here, as data read both ways.
//!
//! Names and paths may hold named holes such as `{i}`, each of which stands for one run of digits; digits
//! written out stay literal. The hole `{base}` at the start of a checkpoint name stands for one of the
//! table's prefixes, because a checkpoint of the bare encoder lacks the `bert.` that the same encoder has
//! below a head.

use crate::strided::turn;
use crate::{Error, pattern};

/// What happens to a tensor on its way in. Each operation has an inverse, so export needs no second table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Copy.
    Keep,
    /// Swap the two axes (GPT-2 stores its linear layers `[in, out]`). Its own inverse.
    Transpose,
    /// The axes in the opposite order (TensorFlow stores filters `[1, width, in, out]`). Its own inverse.
    Reverse,
    /// Swap the second and the third quarter of a vector: the gates of an LSTM, which TensorFlow's cell has in the order i,
    /// g, f, o, and PyTorch's i, f, g, o. Its own inverse.
    Gates,
    /// Swap the two axes, then the second and the third quarter of the rows: the weight of TensorFlow's cell.
    GatesIn,
    /// Undoes [`Op::GatesIn`].
    GatesOut,
    /// Put the first axis behind the others (XLNet stores its linear layers `[in, heads, head_dim]`).
    FirstBehind,
    /// Put the last axis before the others: the inverse of [`Op::FirstBehind`].
    LastBefore,
}

impl Op {
    /// The operation that undoes this one.
    pub fn inverse(self) -> Op {
        match self {
            Op::Keep => Op::Keep,
            Op::Transpose => Op::Transpose,
            Op::Reverse => Op::Reverse,
            Op::Gates => Op::Gates,
            Op::GatesIn => Op::GatesOut,
            Op::GatesOut => Op::GatesIn,
            Op::FirstBehind => Op::LastBefore,
            Op::LastBefore => Op::FirstBehind,
        }
    }

    /// What the operation is called in messages.
    fn name(self) -> &'static str {
        match self {
            Op::Keep => "keep",
            Op::Transpose => "transpose",
            Op::Reverse => "reverse",
            Op::Gates => "gates",
            Op::GatesIn => "gates in",
            Op::GatesOut => "gates out",
            Op::FirstBehind => "first axis behind",
            Op::LastBefore => "last axis before",
        }
    }

    /// The shape after the operation.
    ///
    /// # Errors
    /// [`Error::BadOperation`] when the operation needs another number of axes, or gates of which there are not four;
    /// `name` is for the message.
    pub fn shape(self, name: &str, shape: &[usize]) -> Result<Vec<usize>, Error> {
        match (self, shape) {
            (Op::Keep, _) => Ok(shape.to_vec()),
            (Op::Transpose, &[rows, cols]) => Ok(vec![cols, rows]),
            (Op::Reverse, [_, _, ..]) => Ok(shape.iter().rev().copied().collect()),
            (Op::Gates, [gates]) if gates.is_multiple_of(4) => Ok(shape.to_vec()),
            (Op::GatesIn, &[inputs, gates]) if gates.is_multiple_of(4) => Ok(vec![gates, inputs]),
            (Op::GatesOut, &[gates, inputs]) if gates.is_multiple_of(4) => Ok(vec![inputs, gates]),
            (Op::FirstBehind, [first, rest @ ..]) if !rest.is_empty() => Ok([rest, &[*first]].concat()),
            (Op::LastBefore, [rest @ .., last]) if !rest.is_empty() => Ok([&[*last], rest].concat()),
            _ => Err(Error::BadOperation { op: self.name(), name: name.to_string(), shape: shape.to_vec() }),
        }
    }

    /// Applies the operation to row-major `data` of `shape`.
    ///
    /// # Errors
    /// As [`Op::shape`]; [`Error::WrongLength`] when `data` does not have as many numbers as `shape` says.
    pub fn apply(self, name: &str, shape: &[usize], data: Vec<f32>) -> Result<Vec<f32>, Error> {
        self.shape(name, shape)?;
        if data.len() != shape.iter().product::<usize>() {
            return Err(Error::WrongLength {
                name: name.to_string(),
                shape: shape.to_vec(),
                got: data.len(),
            });
        }
        let reversed = |data: &[f32]| {
            let axes: Vec<usize> = (0..shape.len()).rev().collect();
            turn(data, shape, &axes)
        };
        // The axes from one on, and then those before it.
        let rotated = |data: &[f32], first: usize| {
            let axes: Vec<usize> = (first..shape.len()).chain(0..first).collect();
            turn(data, shape, &axes)
        };
        Ok(match self {
            Op::Keep => data,
            Op::Transpose | Op::Reverse => reversed(&data),
            Op::Gates => swap_middle_quarters(data),
            Op::GatesIn => swap_middle_quarters(reversed(&data)),
            Op::GatesOut => reversed(&swap_middle_quarters(data)),
            Op::FirstBehind => rotated(&data, 1),
            Op::LastBefore => rotated(&data, shape.len() - 1),
        })
    }
}

/// Swaps the second and the third quarter.
fn swap_middle_quarters(mut data: Vec<f32>) -> Vec<f32> {
    let quarter = data.len() / 4;
    let (first, last) = data.split_at_mut(2 * quarter);
    first[quarter..].swap_with_slice(&mut last[..quarter]);
    data
}

/// One line of a table: the name in the checkpoint, the path here, the operation on the way in.
pub type Rule = (&'static str, &'static str, Op);

/// How a family's checkpoints name their tensors.
///
/// Build one with `..Table::EMPTY` for what the family does not need.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Checkpoint name, path here, operation. One checkpoint name may appear with several paths (BERT calls
    /// both a text classifier and a token classifier `classifier.weight`): the path that the model has wins.
    pub rules: &'static [Rule],
    /// Checkpoint names left out on purpose, with the reason.
    pub ignored: &'static [(&'static str, &'static str)],
    /// What names of another model begin with that lies in the same file and is not read, with the reason.
    pub beside: &'static [(&'static str, &'static str)],
    /// Checkpoint names that repeat a parameter: name and path. On the way in they are compared with it (or
    /// fill it, when nothing else does); they are never written. A name may appear with several paths, and be that of
    /// a rule too: the path that the model has wins, those of rules first.
    pub tied: &'static [(&'static str, &'static str)],
    /// Paths a checkpoint may fill although the model has no such parameter, as [`Pattern`](crate::Pattern)s,
    /// with the reason: heads of other tasks, a pooler that is not built.
    pub unused: &'static [(&'static str, &'static str)],
    /// What `{base}` may stand for; the first is the one that is written.
    pub prefixes: &'static [&'static str],
    /// Heads whose checkpoints have another prefix than the first, each with it (fastai's classifier wraps the encoder).
    pub bases: &'static [(&'static str, &'static str)],
    /// Old endings of checkpoint names and what they are called now (`LayerNorm.gamma`, `LayerNorm.weight`).
    pub renames: &'static [(&'static str, &'static str)],
}

/// What a table says of a checkpoint name.
#[derive(Clone, Debug, PartialEq)]
pub enum Import {
    /// The tensor belongs to one of these parameters (more than one only when heads share a name).
    Paths(Vec<(String, Op)>),
    /// The tensor repeats this parameter.
    Tied(String),
    /// The tensor is left out, for this reason.
    Ignored(&'static str),
}

impl Import {
    /// The first path, for names that are a parameter.
    pub fn path(&self) -> Option<&str> {
        match self {
            Import::Paths(paths) => paths.first().map(|(path, _)| path.as_str()),
            Import::Tied(_) | Import::Ignored(_) => None,
        }
    }
}

/// The values of the holes of a match, in order of appearance.
type Holes<'a> = Vec<(&'a str, &'a str)>;

impl Table {
    /// A table without rules, to be filled in with struct update syntax. Its renames are the old names of
    /// TensorFlow's layer norm, which the first BERT checkpoints still carry.
    pub const EMPTY: Table = Table {
        rules: &[],
        ignored: &[],
        beside: &[],
        tied: &[],
        unused: &[],
        prefixes: &[""],
        bases: &[],
        renames: &[("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias")],
    };

    /// What `{base}` is in a checkpoint with this head.
    pub fn base(&self, head: &str) -> &'static str {
        let own = self.bases.iter().find(|(name, _)| *name == head).map(|&(_, base)| base);
        own.or(self.prefixes.first().copied()).unwrap_or("")
    }

    /// What becomes of the checkpoint tensor `name`.
    ///
    /// # Errors
    /// [`Error::Unmapped`] when no rule covers it.
    pub fn import(&self, name: &str) -> Result<Import, Error> {
        let current = self.renamed(name);
        let current = current.as_deref().unwrap_or(name);
        let paths: Vec<(String, Op)> = self
            .rules
            .iter()
            .filter_map(|&(from, to, op)| Some((fill(to, &self.holes(from, current)?, ""), op)))
            .collect();
        if !paths.is_empty() {
            return Ok(Import::Paths(paths));
        }
        for &(from, to) in self.tied {
            if let Some(holes) = self.holes(from, current) {
                return Ok(Import::Tied(fill(to, &holes, "")));
            }
        }
        let ignored = self.ignored.iter().find(|&&(from, _)| self.holes(from, current).is_some());
        let beside = || self.beside.iter().find(|&&(start, _)| current.starts_with(start));
        match ignored.or_else(beside) {
            Some(&(_, reason)) => Ok(Import::Ignored(reason)),
            None => Err(Error::Unmapped {
                name: name.to_string(),
                nearest: nearest(current, self.rules.iter().map(|&(from, _, _)| from)),
            }),
        }
    }

    /// The checkpoint name of the parameter `path`, with the first prefix, and the operation on the way *in*
    /// (apply its [`Op::inverse`] on the way out).
    ///
    /// # Errors
    /// [`Error::NoName`] when no rule has that path.
    pub fn export(&self, path: &str) -> Result<(String, Op), Error> {
        self.export_with(path, self.prefixes.first().copied().unwrap_or(""))
    }

    /// As [`Table::export`], with `base` in the place of the first prefix (`""` writes a bare encoder).
    ///
    /// # Errors
    /// [`Error::NoName`] when no rule has that path.
    pub fn export_with(&self, path: &str, base: &str) -> Result<(String, Op), Error> {
        self.rules
            .iter()
            .find_map(|&(from, to, op)| Some((fill(from, &holes(to, path)?, base), op)))
            .ok_or_else(|| Error::NoName {
                path: path.to_string(),
                nearest: nearest(path, self.rules.iter().map(|&(_, to, _)| to)),
            })
    }

    /// The parameters that the checkpoint tensor `name` may repeat.
    pub fn ties(&self, name: &str) -> impl Iterator<Item = String> {
        self.tied.iter().filter_map(move |&(from, to)| Some(fill(to, &self.holes(from, name)?, "")))
    }

    /// Why the model may lack `path` although the checkpoint has it, when the table says so.
    pub fn unused_reason(&self, path: &str) -> Option<&'static str> {
        self.unused.iter().find(|&&(wild, _)| pattern::matches(wild, path)).map(|&(_, reason)| reason)
    }

    /// Checks the table against itself and gives the number of its rules: holes are named and the same on
    /// both sides, no line stands twice, no path has two names, every name leads back to its path.
    ///
    /// # Errors
    /// [`Error::BadTable`] naming the line.
    pub fn check(&self) -> Result<usize, Error> {
        let bad = |text: String| Err(Error::BadTable(text));
        for (at, &(from, to, op)) in self.rules.iter().enumerate() {
            let bare = from.strip_prefix("{base}").unwrap_or(from);
            let (mut left, mut right) = (hole_names(bare), hole_names(to));
            left.sort_unstable();
            right.sort_unstable();
            if left != right || left.contains(&"base") {
                return bad(format!("\"{from}\" and \"{to}\" do not have the same holes"));
            }
            if self.rules[..at].iter().any(|&(_, other, _)| other == to) {
                return bad(format!("\"{to}\" stands twice"));
            }
            let digits: Holes = left.iter().map(|&hole| (hole, "7")).collect();
            let path = fill(to, &digits, "");
            for prefix in self.prefixes {
                let name = fill(from, &digits, prefix);
                match self.import(&name) {
                    Ok(Import::Paths(paths)) if paths.contains(&(path.clone(), op)) => {}
                    other => return bad(format!("\"{name}\" does not lead to \"{path}\" but to {other:?}")),
                }
                match self.export_with(&path, prefix) {
                    Ok(back) if back == (name.clone(), op) => {}
                    other => {
                        return bad(format!("\"{path}\" does not lead back to \"{name}\" but to {other:?}"));
                    }
                }
            }
        }
        for &(from, to) in self.tied {
            if !self.rules.iter().any(|&(_, path, _)| path == to) {
                return bad(format!("\"{from}\" is tied to \"{to}\", which no rule has"));
            }
        }
        Ok(self.rules.len())
    }

    /// `name` with an old ending replaced by the current one, if it has one.
    pub(crate) fn renamed(&self, name: &str) -> Option<String> {
        self.renames.iter().find_map(|&(old, new)| {
            let start = name.strip_suffix(old)?;
            (start.is_empty() || start.ends_with('.')).then(|| format!("{start}{new}"))
        })
    }

    /// Matches a checkpoint name against a rule's, trying every prefix where the rule has `{base}`.
    fn holes<'a>(&self, from: &'a str, name: &'a str) -> Option<Holes<'a>> {
        match from.strip_prefix("{base}") {
            None => holes(from, name),
            Some(rest) => self.prefixes.iter().find_map(|prefix| holes(rest, name.strip_prefix(prefix)?)),
        }
    }
}

/// Splits a pattern at its first hole: what stands before, the hole's name, what stands after.
fn first_hole(pattern: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = pattern.split_once('{')?;
    let (hole, after) = rest.split_once('}')?;
    Some((before, hole, after))
}

/// The names of a pattern's holes.
fn hole_names(pattern: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut rest = pattern;
    while let Some((_, hole, after)) = first_hole(rest) {
        names.push(hole);
        rest = after;
    }
    names
}

/// Matches `name` against `pattern`, where each hole is one run of digits.
fn holes<'a>(pattern: &'a str, name: &'a str) -> Option<Holes<'a>> {
    let (mut pattern, mut name) = (pattern, name);
    let mut found = Holes::new();
    while let Some((before, hole, after)) = first_hole(pattern) {
        name = name.strip_prefix(before)?;
        let digits = name.bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 {
            return None;
        }
        found.push((hole, &name[..digits]));
        name = &name[digits..];
        pattern = after;
    }
    (pattern == name).then_some(found)
}

/// `pattern` with its holes filled.
fn fill(pattern: &str, holes: &[(&str, &str)], base: &str) -> String {
    let mut text = pattern.replacen("{base}", base, 1);
    for (hole, digits) in holes {
        text = text.replace(&format!("{{{hole}}}"), digits);
    }
    text
}

/// The three candidates most like `name`, in quotes, by edit distance with digits taken as `{i}`.
fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Vec<String> {
    // A hostile name may be megabytes long, and the distance is quadratic.
    let name: String = name.chars().take(200).collect();
    let mut ranked: Vec<(usize, &str)> = candidates
        .map(|candidate| {
            let plain = fill(candidate, &[("i", "0")], "");
            (distance(&name, &plain), candidate)
        })
        .collect();
    ranked.sort();
    ranked.dedup_by_key(|entry| entry.1);
    ranked.into_iter().take(3).map(|(_, candidate)| format!("\"{candidate}\"")).collect()
}

/// Edit distance (insertions, deletions, replacements) between two names, in bytes.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replace = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TABLE: Table = Table {
        rules: &[
            ("{base}embeddings.word_embeddings.weight", "embed.word.weight", Op::Keep),
            ("{base}embeddings.LayerNorm.weight", "embed.norm.weight", Op::Keep),
            ("{base}encoder.layer.{i}.attention.self.query.weight", "layers.{i}.attn.q.weight", Op::Keep),
            (
                "{base}block.{i}.layer.0.expert.{e}.wi_1.weight",
                "layers.{i}.expert.{e}.up.weight",
                Op::Transpose,
            ),
            ("classifier.weight", "head.classify.weight", Op::Keep),
            ("classifier.weight", "head.tag.weight", Op::Keep),
            ("cls.predictions.bias", "head.mlm.bias", Op::Keep),
        ],
        ignored: &[("{base}embeddings.position_ids", "position ids, rebuilt")],
        tied: &[("cls.predictions.decoder.bias", "head.mlm.bias")],
        unused: &[("head.mlm.**", "pretraining head, not used by this task")],
        prefixes: &["bert.", ""],
        ..Table::EMPTY
    };

    fn path(name: &str) -> String {
        TABLE.import(name).unwrap().path().unwrap().to_string()
    }

    #[test]
    fn names_lead_to_paths_and_back() {
        assert_eq!(TABLE.check().unwrap(), 7);
        assert_eq!(path("bert.encoder.layer.11.attention.self.query.weight"), "layers.11.attn.q.weight");
        assert_eq!(path("encoder.layer.11.attention.self.query.weight"), "layers.11.attn.q.weight");
        assert_eq!(
            TABLE.export("layers.11.attn.q.weight").unwrap().0,
            "bert.encoder.layer.11.attention.self.query.weight"
        );
        assert_eq!(
            TABLE.export_with("layers.11.attn.q.weight", "").unwrap().0,
            "encoder.layer.11.attention.self.query.weight"
        );
    }

    #[test]
    fn two_holes_and_literal_digits_keep_apart() {
        assert_eq!(path("bert.block.3.layer.0.expert.12.wi_1.weight"), "layers.3.expert.12.up.weight");
        assert!(TABLE.import("bert.block.3.layer.1.expert.12.wi_1.weight").is_err(), "layer.0 is literal");
        assert!(TABLE.import("bert.block.x.layer.0.expert.12.wi_1.weight").is_err());
        assert!(TABLE.import("bert.block..layer.0.expert.12.wi_1.weight").is_err());
    }

    #[test]
    fn a_name_two_heads_share_offers_both() {
        let Import::Paths(paths) = TABLE.import("classifier.weight").unwrap() else { panic!() };
        let paths: Vec<&str> = paths.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["head.classify.weight", "head.tag.weight"]);
        assert!(TABLE.import("bert.classifier.weight").is_err(), "heads take no prefix");
    }

    #[test]
    fn old_norm_names_are_read_but_not_written() {
        assert_eq!(path("bert.embeddings.LayerNorm.gamma"), "embed.norm.weight");
        assert_eq!(TABLE.export("embed.norm.weight").unwrap().0, "bert.embeddings.LayerNorm.weight");
        assert!(TABLE.import("bert.embeddings.MyLayerNorm.gamma").is_err());
    }

    #[test]
    fn left_out_and_tied_names_are_said_to_be_so() {
        assert_eq!(
            TABLE.import("embeddings.position_ids").unwrap(),
            Import::Ignored("position ids, rebuilt")
        );
        assert_eq!(
            TABLE.import("cls.predictions.decoder.bias").unwrap(),
            Import::Tied("head.mlm.bias".into())
        );
        assert!(TABLE.unused_reason("head.mlm.bias").is_some());
        assert!(TABLE.unused_reason("head.tag.weight").is_none());
    }

    #[test]
    fn an_unknown_name_is_an_error_that_names_the_nearest() {
        let error =
            TABLE.import("bert.encoder.layer.0.attention.self.querry.weight").unwrap_err().to_string();
        assert!(error.contains("bert.encoder.layer.0.attention.self.querry.weight"), "{error}");
        assert!(
            error.contains("nearest are \"{base}encoder.layer.{i}.attention.self.query.weight\""),
            "{error}"
        );
        let error = TABLE.export("layers.0.attn.k.weight").unwrap_err().to_string();
        assert!(error.contains("nearest are \"layers.{i}.attn.q.weight\""), "{error}");
    }

    #[test]
    fn a_table_that_contradicts_itself_is_refused() {
        let check = |rules: &'static [Rule], part: &str| {
            let error = Table { rules, ..Table::EMPTY }.check().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        };
        check(&[("a.{i}", "b.{j}", Op::Keep)], "same holes");
        check(&[("a", "b", Op::Keep), ("c", "b", Op::Keep)], "stands twice");
        check(&[("a.{i}.{j}", "b.{i}.{i}", Op::Keep)], "same holes");
        let tied = Table { tied: &[("a", "b")], ..Table::EMPTY }.check().unwrap_err().to_string();
        assert!(tied.contains("no rule has"), "{tied}");
    }

    #[test]
    fn transposing_twice_changes_nothing() {
        let data: Vec<f32> = (0..6).map(|x| x as f32).collect();
        let once = Op::Transpose.apply("w", &[2, 3], data.clone()).unwrap();
        assert_eq!(once, [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(Op::Transpose.inverse().apply("w", &[3, 2], once).unwrap(), data);
        assert!(Op::Transpose.apply("w", &[6], data.clone()).is_err());
        assert!(Op::Keep.apply("w", &[7], data).is_err());
    }

    #[test]
    fn gates_and_filters_turn_and_come_back() {
        let data: Vec<f32> = (0..8).map(|x| x as f32).collect();
        let check = |op: Op, shape: &[usize], expected: [f32; 8]| {
            let turned = op.apply("w", shape, data.clone()).unwrap();
            assert_eq!(turned, expected, "{op:?}");
            let inverse = op.inverse();
            let turned_shape = op.shape("w", shape).unwrap();
            assert_eq!(inverse.shape("w", &turned_shape).unwrap(), shape);
            assert_eq!(inverse.apply("w", &turned_shape, turned).unwrap(), data, "{op:?}");
        };
        check(Op::Gates, &[8], [0.0, 1.0, 4.0, 5.0, 2.0, 3.0, 6.0, 7.0]);
        // [in, gates]: the columns are i, g, f, o.
        check(Op::GatesIn, &[2, 4], [0.0, 4.0, 2.0, 6.0, 1.0, 5.0, 3.0, 7.0]);
        check(Op::Reverse, &[1, 2, 2, 2], [0.0, 4.0, 2.0, 6.0, 1.0, 5.0, 3.0, 7.0]);
        assert!(Op::Gates.apply("w", &[2, 4], data.clone()).is_err());
        assert!(Op::GatesIn.apply("w", &[4, 2], data.clone()).is_err());
        assert!(Op::Reverse.apply("w", &[8], data).is_err());
    }

    #[test]
    fn the_first_axis_goes_behind_and_comes_back() {
        let data: Vec<f32> = (0..24).map(|x| x as f32).collect();
        assert_eq!(Op::FirstBehind.shape("w", &[4, 2, 3]).unwrap(), [2, 3, 4]);
        assert_eq!(Op::LastBefore.shape("w", &[2, 3, 4]).unwrap(), [4, 2, 3]);
        let moved = Op::FirstBehind.apply("w", &[4, 2, 3], data.clone()).unwrap();
        // [0, 1, 2] of the result is [2, 0, 1] of what was there.
        assert_eq!(moved[4 + 2], data[2 * 6 + 1]);
        assert_eq!(Op::FirstBehind.inverse().apply("w", &[2, 3, 4], moved).unwrap(), data);
        let error = Op::LastBefore.shape("w", &[6]).unwrap_err().to_string();
        assert!(error.contains("last axis before"), "{error}");
    }

    proptest! {
        #[test]
        fn export_undoes_import(rule in 0..TABLE.rules.len(), i in 0u32..200, e in 0u32..9, bare: bool) {
            let (from, to, op) = TABLE.rules[rule];
            let (i, e) = (i.to_string(), e.to_string());
            let digits = [("i", i.as_str()), ("e", e.as_str())];
            let base = if bare { "" } else { "bert." };
            let name = fill(from, &digits, base);
            let path = fill(to, &digits, "");
            let Import::Paths(paths) = TABLE.import(&name).unwrap() else { panic!("{name}") };
            prop_assert!(paths.contains(&(path.clone(), op)));
            prop_assert_eq!(TABLE.export_with(&path, base).unwrap(), (name, op));
        }

        #[test]
        fn any_name_gives_an_answer(name in ".{0,300}") {
            let _ = TABLE.import(&name);
            let _ = TABLE.export(&name);
        }
    }
}
