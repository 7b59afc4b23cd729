//! The names of a whole checkpoint: those of one table, or of two that stand side by side, one for each of two models that
//! became one.

use crate::{Error, Import, Op, Table, pattern};

/// One of the models of a checkpoint.
#[derive(Clone, Copy, Debug)]
pub struct Side {
    /// How its checkpoints name their tensors.
    pub table: &'static Table,
    /// What `{base}` is in the names that are written.
    pub base: &'static str,
    /// What stands before its names (`decoder.`).
    pub before: &'static str,
    /// What stands before its paths here, but for those of a head (`target.`).
    pub below: &'static str,
    /// Whether the head belongs to it; one that another side has in the file is left out.
    pub head: bool,
    /// Whether its parameters are those of the first side, but for what only it has: their tensors stand in the file twice.
    pub shared: bool,
    /// Why a model may lack all of it, if it may.
    pub unused: Option<&'static str>,
}

/// How the tensors of a checkpoint are named.
#[derive(Clone, Debug)]
pub struct Names(Vec<Side>);

/// Where the parameters of a head lie.
const HEAD: &str = "head.";

impl Names {
    /// Those of one model; `base` is what `{base}` is in the names that are written.
    pub fn of(table: &'static Table, base: &'static str) -> Self {
        Names(vec![Side { table, base, before: "", below: "", head: true, shared: false, unused: None }])
    }

    /// Those of several models side by side.
    pub fn beside(sides: impl IntoIterator<Item = Side>) -> Self {
        Names(sides.into_iter().collect())
    }

    /// What becomes of the checkpoint tensor `name`.
    ///
    /// # Errors
    /// As [`Table::import`].
    pub fn import(&self, name: &str) -> Result<Import, Error> {
        let (side, rest) = self.side_of(name)?;
        let import = side.table.import(rest).map_err(|error| match error {
            Error::Unmapped { nearest, .. } => Error::Unmapped { name: name.to_string(), nearest },
            error => error,
        })?;
        let all = match &import {
            Import::Paths(paths) => paths.iter().map(|(path, _)| path.as_str()).collect(),
            Import::Tied(path) => vec![path.as_str()],
            Import::Ignored(_) => return Ok(import),
        };
        if !side.head && all.iter().all(|path| path.starts_with(HEAD)) {
            return Ok(Import::Ignored("a head of the side that reads, not used"));
        }
        if side.shared
            && let Some(path) = all.iter().find(|path| self.is_first(path))
        {
            return Ok(Import::Tied(path.to_string()));
        }
        Ok(match import {
            Import::Paths(paths) => {
                Import::Paths(paths.into_iter().map(|(path, op)| (side.path(&path), op)).collect())
            }
            Import::Tied(path) => Import::Tied(side.path(&path)),
            Import::Ignored(reason) => Import::Ignored(reason),
        })
    }

    /// The checkpoint name of the parameter `path`, and the operation on the way *in*.
    ///
    /// # Errors
    /// As [`Table::export`].
    pub fn export(&self, path: &str) -> Result<(String, Op), Error> {
        let (side, own) = self.owner(path);
        let (name, op) = side.table.export_with(own, side.base).map_err(|error| match error {
            Error::NoName { nearest, .. } => Error::NoName { path: path.to_string(), nearest },
            error => error,
        })?;
        Ok((format!("{}{name}", side.before), op))
    }

    /// The name under which the parameter `path` stands in the file once more, for a side that shares it.
    pub fn repeated(&self, path: &str) -> Option<(String, Op)> {
        let side = self.0.iter().find(|side| side.shared).filter(|_| self.is_first(path))?;
        let (name, op) = side.table.export_with(path, side.base).ok()?;
        Some((format!("{}{name}", side.before), op))
    }

    /// Every name that the parameter `path` may have, whatever stands for `{base}`.
    pub fn every(&self, path: &str) -> Vec<(String, Op)> {
        let (side, own) = self.owner(path);
        let named = side.table.prefixes.iter().filter_map(|base| side.table.export_with(own, base).ok());
        named.map(|(name, op)| (format!("{}{name}", side.before), op)).collect()
    }

    /// The parameters that the checkpoint tensor `name` may repeat.
    pub fn ties(&self, name: &str) -> Vec<String> {
        let Ok((side, rest)) = self.side_of(name) else { return Vec::new() };
        let path = |path: String| if side.shared && self.is_first(&path) { path } else { side.path(&path) };
        side.table.ties(rest).map(path).collect()
    }

    /// Why the model may lack `path` although the checkpoint has it, when a table says so.
    pub fn unused_reason(&self, path: &str) -> Option<&'static str> {
        let (side, own) = self.owner(path);
        side.unused.or_else(|| side.table.unused_reason(own))
    }

    /// `name` with an old ending replaced by the current one, if it has one.
    pub(crate) fn renamed(&self, name: &str) -> Option<String> {
        self.0.first().and_then(|side| side.table.renamed(name))
    }

    /// The side that a tensor belongs to, and its name there.
    fn side_of<'a>(&self, name: &'a str) -> Result<(&Side, &'a str), Error> {
        let found = self.0.iter().find_map(|side| Some((side, name.strip_prefix(side.before)?)));
        found.ok_or_else(|| Error::Unmapped {
            name: name.to_string(),
            nearest: self.0.iter().map(|side| format!("\"{}...\"", side.before)).collect(),
        })
    }

    /// The side that a parameter belongs to, and its path there.
    fn owner<'a>(&self, path: &'a str) -> (&Side, &'a str) {
        let heads = path.starts_with(HEAD);
        let own = |side: &&Side| {
            if heads { side.head } else { !side.below.is_empty() && path.starts_with(side.below) }
        };
        match self.0.iter().find(own) {
            Some(side) if heads => (side, path),
            Some(side) => (side, &path[side.below.len()..]),
            None => (&self.0[0], path),
        }
    }

    /// Whether the first side has a parameter of this path.
    fn is_first(&self, path: &str) -> bool {
        let first = &self.0[0];
        let only_here = |wild: &str| pattern::matches(wild, path);
        !path.starts_with(HEAD)
            && !only_here("pooler.**")
            && !only_here("layers.*.across.**")
            && first.table.export_with(path, "").is_ok()
    }
}

impl Side {
    fn path(&self, own: &str) -> String {
        if own.starts_with(HEAD) { own.to_string() } else { format!("{}{own}", self.below) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Op::Keep;

    const TABLE: Table = Table {
        rules: &[
            ("{base}embeddings.weight", "embed.word.weight", Keep),
            ("{base}layer.{i}.query.weight", "layers.{i}.attn.q.weight", Op::Transpose),
            ("{base}layer.{i}.cross.weight", "layers.{i}.across.q.weight", Keep),
            ("{base}pooler.weight", "pooler.weight", Keep),
            ("cls.bias", "head.mlm.bias", Keep),
        ],
        tied: &[("cls.weight", "embed.word.weight")],
        unused: &[("pooler.**", "not used")],
        prefixes: &["bert.", ""],
        ..Table::EMPTY
    };

    fn two(shared: bool) -> Names {
        let side = |before, below, base, head| Side {
            table: &TABLE,
            base,
            before,
            below,
            head,
            shared: shared && head,
            unused: None,
        };
        Names::beside([side("encoder.", "", "", false), side("decoder.", "target.", "bert.", true)])
    }

    fn path(names: &Names, name: &str) -> String {
        match names.import(name).unwrap() {
            Import::Paths(paths) => paths[0].0.clone(),
            Import::Tied(path) => format!("= {path}"),
            Import::Ignored(reason) => reason.to_string(),
        }
    }

    #[test]
    fn each_side_has_its_own_names_there_and_back() {
        let names = two(false);
        for (name, expected) in [
            ("encoder.layer.3.query.weight", "layers.3.attn.q.weight"),
            ("decoder.bert.layer.3.query.weight", "target.layers.3.attn.q.weight"),
            ("decoder.bert.layer.0.cross.weight", "target.layers.0.across.q.weight"),
            ("decoder.cls.bias", "head.mlm.bias"),
            ("encoder.pooler.weight", "pooler.weight"),
        ] {
            assert_eq!(path(&names, name), expected);
            assert_eq!(names.export(expected).unwrap().0, name);
            assert_eq!(names.repeated(expected), None);
        }
        assert_eq!(names.export("target.layers.1.attn.q.weight").unwrap().1, Op::Transpose);
        assert_eq!(path(&names, "decoder.cls.weight"), "= target.embed.word.weight");
        assert_eq!(names.ties("decoder.cls.weight"), ["target.embed.word.weight"]);
        assert!(path(&names, "encoder.cls.bias").contains("the side that reads"));
        assert_eq!(names.unused_reason("pooler.weight"), Some("not used"));
        let every: Vec<String> = names.every("embed.word.weight").into_iter().map(|(name, _)| name).collect();
        assert_eq!(every, ["encoder.bert.embeddings.weight", "encoder.embeddings.weight"]);
    }

    #[test]
    fn what_is_shared_stands_in_the_file_twice_and_here_once() {
        let names = two(true);
        for (name, expected) in [
            ("decoder.bert.layer.3.query.weight", "= layers.3.attn.q.weight"),
            ("decoder.cls.weight", "= embed.word.weight"),
            ("decoder.bert.layer.0.cross.weight", "target.layers.0.across.q.weight"),
            ("decoder.cls.bias", "head.mlm.bias"),
            ("encoder.layer.3.query.weight", "layers.3.attn.q.weight"),
        ] {
            assert_eq!(path(&names, name), expected);
        }
        assert_eq!(names.ties("decoder.cls.weight"), ["embed.word.weight"]);
        let repeated = |path: &str| names.repeated(path).map(|(name, _)| name);
        assert_eq!(repeated("layers.3.attn.q.weight").as_deref(), Some("decoder.bert.layer.3.query.weight"));
        for own in ["target.layers.0.across.q.weight", "head.mlm.bias", "pooler.weight"] {
            assert_eq!(repeated(own), None);
        }
    }

    #[test]
    fn a_name_of_no_side_is_told_what_the_sides_are() {
        let error = two(false).import("enc_to_dec_proj.weight").unwrap_err().to_string();
        assert!(error.contains("enc_to_dec_proj") && error.contains("decoder."), "{error}");
        let error = two(false).import("decoder.bert.layer.1.kwery.weight").unwrap_err().to_string();
        assert!(error.contains("decoder.bert.layer.1.kwery.weight"), "{error}");
    }
}
