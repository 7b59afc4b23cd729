//! Values for a declared model, from what lies there: a model of the same make, or one of which two sides are made.

use std::collections::HashSet;

use topwork_nn::{ParamId, ParamKind};
use topwork_weights::{LoadReport, Param, Request};

use super::{HeadFiles, Model, is_head, starts_from_nothing};
use crate::error::Error;
use crate::joined::{self, BELOW};
use crate::saved;
use crate::source::Source;

/// What of a side that writes no other model has.
const NEW: &str = "layers.*.across.**";

impl Model {
    pub(super) fn load(&mut self, source: &Source, seed: u64) -> Result<LoadReport, Error> {
        // A head of the same task goes on from where it stands; one of another task has nothing to say here.
        let same = saved::spec_of(source).is_ok_and(|saved| saved::continues(&self.spec, &saved));
        let report = match self.fill(source, same, &["head.**", "pooler.**"]) {
            Err(Error::Weights(topwork_weights::Error::NoWeights { .. }))
                if starts_from_nothing(&self.config) =>
            {
                let fresh = self.store.iter().map(|(_, param)| param.path.clone()).collect();
                LoadReport { fresh, ..LoadReport::default() }
            }
            report => report?,
        };
        for id in self.store.unset() {
            self.store.initialise(id, seed)?;
        }
        Ok(report)
    }

    /// Loads what the folder has, of its head only if it is `same`; parameters under `optional` may be missing.
    pub(super) fn fill(
        &mut self,
        source: &Source,
        same: bool,
        optional: &[&str],
    ) -> Result<LoadReport, Error> {
        if self.is_pair() && joined::reads(source.config())?.is_none() {
            return self.fill_both(source);
        }
        let fresh: &[&str] = if same { &[] } else { &["head.**"] };
        let own = if same { HeadFiles::open(source, &self.spec)? } else { HeadFiles::none() };
        let in_own = |path: &str| own.has(path);
        let mut wanted: Vec<(String, Vec<usize>)> = self
            .store
            .iter()
            .filter(|(_, p)| !(is_head(&p.path) && in_own(&p.path)))
            .map(|(_, p)| (p.path.clone(), p.file_shape().to_vec()))
            .collect();
        let carried = self.carriable();
        // Numbers that are never trained start as they do, where a folder does not have them.
        let fixed = self.store.iter().filter(|(_, p)| p.kind == ParamKind::Fixed);
        let fixed: Vec<(ParamId, String)> = fixed.map(|(id, p)| (id, p.path.clone())).collect();
        let may_miss = carried.iter().map(|(path, _)| path).chain(fixed.iter().map(|(_, path)| path));
        let optional: Vec<&str> = optional.iter().copied().chain(may_miss.map(String::as_str)).collect();
        wanted.extend(carried.iter().cloned());
        let names = joined::names(source.config(), &self.spec)?;
        let request = Request { names: &names, wanted: &wanted, fresh, optional: &optional };
        let (params, mut report) = topwork_weights::load(source.weights(), &request)?;
        report.fresh.retain(|path| carried.iter().all(|(carried, _)| carried != path));
        for param in params {
            if carried.iter().any(|(path, _)| *path == param.path) {
                self.carried.push(param);
                continue;
            }
            let id = self.store.id(&param.path)?;
            self.store.set(id, param.data)?;
        }
        let unset = self.store.unset();
        for (id, _) in fixed.iter().filter(|(id, _)| unset.contains(id)) {
            self.store.initialise(*id, 0)?;
        }
        for (id, path) in self.head_params().into_iter().filter(|(_, path)| in_own(path)) {
            let shape = self.store.param(id).shape.clone();
            self.store.set(id, own.read(&path, &shape)?.unwrap_or_default())?;
            report.loaded.push((path.clone(), path));
        }
        Ok(report)
    }

    /// Loads a model into both sides; attention to the source is nowhere, and the layers before the scores of words are where the
    /// model was trained to predict them.
    fn fill_both(&mut self, source: &Source) -> Result<LoadReport, Error> {
        let carried = self.carriable();
        let mut seen = HashSet::new();
        let mut wanted: Vec<(String, Vec<usize>)> = Vec::new();
        for (_, param) in self.store.iter() {
            let own = param.path.strip_prefix(BELOW).unwrap_or(&param.path);
            if seen.insert(own) {
                wanted.push((own.to_string(), param.file_shape().to_vec()));
            }
        }
        wanted.extend(carried.iter().cloned());
        let mut optional = vec!["head.**", NEW];
        optional.extend(carried.iter().map(|(path, _)| path.as_str()));
        let names = joined::names(source.config(), &self.spec)?;
        let request = Request { names: &names, wanted: &wanted, fresh: &[], optional: &optional };
        let (params, found) = topwork_weights::load(source.weights(), &request)?;

        let mut report = LoadReport { ignored: found.ignored, notes: found.notes, ..LoadReport::default() };
        let names_of = |path: &str| found.loaded.iter().find(|(_, loaded)| loaded == path);
        let mut twice = 0;
        for param in params {
            if carried.iter().any(|(path, _)| *path == param.path) {
                report.loaded.extend(names_of(&param.path).cloned());
                self.carried.push(param);
                continue;
            }
            let Param { path, data, .. } = param;
            let places = self.places(&path);
            twice += usize::from(places.len() > 1);
            for (id, place) in places {
                report.loaded.extend(names_of(&path).map(|(name, _)| (name.clone(), place)));
                self.store.set(id, data.clone())?;
            }
        }
        let fresh = found.fresh.iter().filter(|path| carried.iter().all(|(carried, _)| carried != *path));
        report.fresh = fresh.flat_map(|path| self.places(path)).map(|(_, place)| place).collect();
        report.notes.push(match twice {
            0 => "both sides share the model's weights; attention to the source is new".to_string(),
            twice => format!(
                "{twice} tensors were loaded twice, into the side that reads and into the one that writes; attention to the source is new"
            ),
        });
        Ok(report)
    }

    /// The parameters, one on each side, that a path of one model stands for.
    fn places(&self, path: &str) -> Vec<(ParamId, String)> {
        let both = [path.to_string(), format!("{BELOW}{path}")];
        both.into_iter().filter_map(|place| Some((self.store.id(&place).ok()?, place))).collect()
    }
}
