//! From a checkpoint's tensors to a model's parameters and back, strictly, by a family's table.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;

use rayon::prelude::*;

use crate::{Checkpoint, Error, Import, LoadReport, Named, Names, Op, pattern};

/// A parameter with its numbers, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// Path of the parameter here.
    pub path: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its numbers.
    pub data: Vec<f32>,
}

/// What a model wants of a checkpoint.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// How the checkpoint names its tensors.
    pub names: &'a Names,
    /// Every parameter of the model with its shape.
    pub wanted: &'a [(String, Vec<usize>)],
    /// [`Pattern`](crate::Pattern)s of parameters to start anew even when the checkpoint has them: the head
    /// of a new task.
    pub fresh: &'a [&'a str],
    /// Patterns of parameters that are loaded when the checkpoint has them and start fresh when it does not:
    /// a pooler.
    pub optional: &'a [&'a str],
}

/// Where a tensor of the checkpoint goes.
struct Target {
    name: String,
    op: Op,
}

/// Reads the parameters a model wants from a folder or file (see [`Checkpoint::open`]).
///
/// Gives the parameters found, in the order of `wanted`, and the account of everything else. Nothing passes
/// in silence: a tensor no rule covers, a parameter neither found nor declared fresh, a wrong shape, two
/// tensors for one parameter, a tied tensor that differs, a number that is not finite: each is an error that
/// names it.
///
/// # Errors
/// All those of [`Checkpoint::open`] and [`Checkpoint::read`], and [`Error::Unmapped`], [`Error::Unwanted`],
/// [`Error::Unfilled`], [`Error::WrongShape`], [`Error::Duplicate`], [`Error::NotTied`].
pub fn load(source: impl AsRef<Path>, request: &Request) -> Result<(Vec<Param>, LoadReport), Error> {
    load_from(&Checkpoint::open(source)?, request)
}

fn load_from(checkpoint: &Checkpoint, request: &Request) -> Result<(Vec<Param>, LoadReport), Error> {
    let Request { names, wanted, fresh, optional } = *request;
    let any = |patterns: &[&str], path: &str| patterns.iter().any(|wild| pattern::matches(wild, path));
    let shapes: HashMap<&str, &[usize]> =
        wanted.iter().map(|(path, shape)| (path.as_str(), shape.as_slice())).collect();

    let mut report = LoadReport::default();
    let mut targets: HashMap<String, Target> = HashMap::new();
    let mut tied: Vec<(&str, String)> = Vec::new();
    for name in checkpoint.names() {
        let paths = match names.import(name)? {
            Import::Ignored(reason) => {
                report.ignored.push((name.to_string(), reason.to_string()));
                continue;
            }
            Import::Tied(path) => {
                let wanted = names.ties(name).into_iter().find(|path| shapes.contains_key(path.as_str()));
                tied.push((name, wanted.unwrap_or(path)));
                continue;
            }
            Import::Paths(paths) => paths,
        };
        match paths.iter().find(|(path, _)| shapes.contains_key(path.as_str())) {
            Some((path, _)) if any(fresh, path) => {
                report.ignored.push((name.to_string(), "started fresh as asked".to_string()));
            }
            Some((path, op)) => {
                let target = Target { name: name.to_string(), op: *op };
                if let Some(first) = targets.insert(path.clone(), target) {
                    let (path, second) = (path.clone(), name.to_string());
                    return Err(Error::Duplicate { path, first: first.name, second });
                }
            }
            None if let Some(path) =
                names.ties(name).into_iter().find(|path| shapes.contains_key(path.as_str())) =>
            {
                tied.push((name, path));
            }
            None => match paths.iter().find_map(|(path, _)| names.unused_reason(path)) {
                Some(reason) => report.ignored.push((name.to_string(), reason.to_string())),
                None => {
                    let path = paths.into_iter().next().map(|(path, _)| path).unwrap_or_default();
                    return Err(Error::Unwanted { name: name.to_string(), path });
                }
            },
        }
    }

    // A tied tensor fills its parameter when nothing else does (some writers keep the other one of the two).
    let mut repeats: Vec<(&str, String)> = Vec::new();
    for (name, path) in tied {
        if !shapes.contains_key(path.as_str()) {
            match names.unused_reason(&path) {
                Some(reason) => report.ignored.push((name.to_string(), reason.to_string())),
                None => return Err(Error::Unwanted { name: name.to_string(), path }),
            }
        } else if any(fresh, &path) {
            report.ignored.push((name.to_string(), "started fresh as asked".to_string()));
        } else {
            match targets.entry(path) {
                Entry::Occupied(taken) => repeats.push((name, taken.key().clone())),
                Entry::Vacant(free) => {
                    free.insert(Target { name: name.to_string(), op: Op::Keep });
                }
            }
        }
    }

    let missing: Vec<String> = wanted
        .iter()
        .filter(|(path, _)| !targets.contains_key(path) && !any(fresh, path) && !any(optional, path))
        .map(|(path, _)| match names.export(path) {
            Ok((name, _)) => format!("{path} (\"{name}\")"),
            Err(_) => path.clone(),
        })
        .collect();
    if !missing.is_empty() {
        return Err(Error::Unfilled { source_path: checkpoint.path().to_path_buf(), paths: missing });
    }
    // All shapes before any numbers: a wrong model is refused at once, not after gigabytes.
    for (path, expected) in wanted {
        if let Some(target) = targets.get(path) {
            check_shape(checkpoint, &target.name, target.op, path, expected)?;
        }
    }
    for (name, path) in &repeats {
        check_shape(checkpoint, name, Op::Keep, path, shapes[path.as_str()])?;
    }

    // Reading is copying and checking, which several threads do faster; the order stays that of `wanted`.
    let read = |(path, shape): &(String, Vec<usize>)| -> Result<Option<Param>, Error> {
        let Some(Target { name, op }) = targets.get(path) else { return Ok(None) };
        let data = checkpoint.read(name)?;
        for (repeat, _) in repeats.iter().filter(|(_, tied_path)| tied_path == path) {
            if checkpoint.read(repeat)? != data {
                return Err(Error::NotTied { name: repeat.to_string(), path: path.clone() });
            }
        }
        let data = op.apply(name, checkpoint.shape(name).unwrap_or_default(), data)?;
        Ok(Some(Param { path: path.clone(), shape: shape.clone(), data }))
    };
    // Collected before the first error is looked for, so that it is always the same one.
    let results: Vec<Result<Option<Param>, Error>> = wanted.par_iter().map(read).collect();
    let mut params = Vec::with_capacity(targets.len());
    for ((path, _), result) in wanted.iter().zip(results) {
        match (result?, targets.get(path)) {
            (Some(param), Some(target)) => {
                report.loaded.push((target.name.clone(), path.clone()));
                params.push(param);
            }
            _ => report.fresh.push(path.clone()),
        }
    }
    report
        .ignored
        .extend(repeats.into_iter().map(|(name, path)| (name.to_string(), format!("tied to {path}"))));
    report.notes = notes(checkpoint, names, &report);
    Ok((params, report))
}

/// Compares the shape of a tensor, after its operation, with its parameter's.
fn check_shape(
    checkpoint: &Checkpoint,
    name: &str,
    op: Op,
    path: &str,
    expected: &[usize],
) -> Result<(), Error> {
    let got = op.shape(name, checkpoint.shape(name).unwrap_or_default())?;
    if got == expected {
        return Ok(());
    }
    let (name, path, expected) = (name.to_string(), path.to_string(), expected.to_vec());
    Err(Error::WrongShape { name, path, expected, got })
}

/// What else a reader of the report should know.
fn notes(checkpoint: &Checkpoint, names: &Names, report: &LoadReport) -> Vec<String> {
    let mut notes = Vec::new();
    let old = report.loaded.iter().filter(|(name, _)| names.renamed(name).is_some()).count();
    if old > 0 {
        notes.push(format!(
            "{old} tensors have old names (gamma, beta), written with the current ones on saving"
        ));
    }
    let mut formats: Vec<(String, usize)> = Vec::new();
    for format in report.loaded.iter().filter_map(|(name, _)| checkpoint.dtype(name)).filter(|f| f != "F32") {
        match formats.iter_mut().find(|(known, _)| *known == format) {
            Some((_, count)) => *count += 1,
            None => formats.push((format, 1)),
        }
    }
    for (format, count) in formats {
        notes.push(format!("{count} tensors converted from {format} to F32"));
    }
    notes
}

/// Names a model's parameters as its checkpoints do, ready to be written; what two sides share is written for each.
///
/// # Errors
/// [`Error::NoName`] for a parameter that has no name, [`Error::BadOperation`], [`Error::WrongLength`].
pub fn export<'a>(
    names: &Names,
    params: impl IntoIterator<Item = (&'a str, Vec<usize>, Cow<'a, [f32]>)>,
) -> Result<Vec<Named<'a>>, Error> {
    let mut named = Vec::new();
    for (path, shape, data) in params {
        if let Some(again) = names.repeated(path) {
            named.push(written(again, &shape, data.clone())?);
        }
        named.push(written(names.export(path)?, &shape, data)?);
    }
    Ok(named)
}

/// A parameter in the form it has in a file.
fn written<'a>((name, op): (String, Op), shape: &[usize], data: Cow<'a, [f32]>) -> Result<Named<'a>, Error> {
    let op = op.inverse();
    let out_shape = op.shape(&name, shape)?;
    let data = if op == Op::Keep { data } else { op.apply(&name, shape, data.into_owned())?.into() };
    Ok(Named { name, shape: out_shape, data })
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
