//! A family's encoder and a head over one parameter store: opened from a model folder, saved to one.

use std::borrow::Cow;
use std::path::Path;

use burn::tensor::{Device, Tensor};
use serde_json::Value;
use topwork_kernels::gemm::Precision;
use topwork_kernels::pool::Pool;
use topwork_nn::{self as nn, ParamId, ParamStore, Pass};
use topwork_text::Packed;
use topwork_weights::{LoadReport, Named, Names, Op, Param, Rule};

use crate::error::Error;
use crate::family::{Decoder, Encoder, Family, family};
use crate::head::{Head, HeadSpec, LossOptions, Pooling, Targets};
use crate::heads::permutation_lm;
use crate::heads::seq2seq::Seq2Seq;
use crate::joined;
use crate::model::own::HeadFiles;
use crate::saved;
use crate::source::Source;

mod load;
mod over;
mod own;
mod prompted;
mod read;
mod save;
mod segments;

pub use crate::saved::saved_spec;
pub use save::SaveOptions;

/// Name of the file that keeps what `config.json` has no word for: the head's settings.
pub const HEAD_FILE: &str = "topwork.json";

/// Name of the file that keeps the parameters of heads upstream classes do not have.
pub const HEAD_WEIGHTS: &str = "topwork_head.safetensors";

/// An encoder and a head.
pub struct Model {
    /// Every parameter.
    pub store: ParamStore,
    /// The family.
    pub family: &'static Family,
    /// `config.json` as it was read.
    pub config: Value,
    spec: HeadSpec,
    names: Names,
    encoder: Box<dyn Encoder>,
    head: Box<dyn Head>,
    /// Parameters of the folder that the head does not use but the bare upstream class has (a pooler): kept, so that
    /// what is saved opens there as whole as what was loaded.
    carried: Vec<Param>,
}

impl Model {
    /// Opens a model folder, or a file of weights (see [`Source::find`]), with a head of the caller's choice; parameters
    /// the folder does not have for it (all of the head's, unless the folder's head does the same task) are initialised
    /// fresh from `seed` and named in the report.
    ///
    /// # Errors
    /// A missing or broken file, an unknown family, a config that cannot be honoured, a tensor that no rule of the
    /// family covers, a shape that does not fit; [`Error::Adapted`] for a model that lies apart from its adapter.
    pub fn open(
        path: &Path,
        spec: &HeadSpec,
        seed: u64,
        device: &Device,
    ) -> Result<(Self, LoadReport), Error> {
        Self::open_found(&Source::find(path)?, spec, seed, device)
    }

    fn open_found(
        source: &Source,
        spec: &HeadSpec,
        seed: u64,
        device: &Device,
    ) -> Result<(Self, LoadReport), Error> {
        whole(source)?;
        Self::open_under(source, spec, seed, device)
    }

    /// [`Model::open`] of what was found, without the adapter that may be there: for who attaches it.
    ///
    /// # Errors
    /// As [`Model::open`].
    pub fn open_under(
        source: &Source,
        spec: &HeadSpec,
        seed: u64,
        device: &Device,
    ) -> Result<(Self, LoadReport), Error> {
        let source = &source.bare();
        let mut model = Self::declare_for(source, spec, device)?;
        let report = model.load(source, seed)?;
        Ok((model, report))
    }

    /// The architecture of a folder (its `config.json` is enough) with values drawn from `seed`, whatever weights lie there.
    ///
    /// # Errors
    /// As [`Model::declare`]; [`Error::Adapted`].
    pub fn from_scratch(
        path: &Path,
        spec: &HeadSpec,
        seed: u64,
        device: &Device,
    ) -> Result<(Self, LoadReport), Error> {
        let source = Source::find(path)?;
        whole(&source)?;
        let mut model = Self::declare_for(&source, spec, device)?;
        for id in model.store.unset() {
            model.store.initialise(id, seed)?;
        }
        let fresh = model.store.iter().map(|(_, param)| param.path.clone()).collect();
        Ok((model, LoadReport { fresh, ..LoadReport::default() }))
    }

    /// Opens a folder that was saved with its head, here or by transformers, or a file of weights, for use as it is:
    /// nothing may be fresh.
    ///
    /// # Errors
    /// As [`Model::open`]; [`Error::NoHead`] for a bare encoder.
    pub fn open_saved(path: &Path, device: &Device) -> Result<(Self, LoadReport), Error> {
        let source = Source::find(path)?;
        whole(&source)?;
        let spec = saved::spec_of(&source)?;
        let mut model = Self::declare_for(&source, &spec, device)?;
        let report = model.fill(&source, true, &[])?;
        Ok((model, report))
    }

    /// Opens what lies there: with the head it was saved with, or as the bare encoder it is, with the vectors of
    /// [`bare_pooling`]; true for a bare encoder. Nothing is to be expected fresh, but a pooler may be missing.
    ///
    /// # Errors
    /// As [`Model::open`].
    pub fn open_whole(path: &Path, device: &Device) -> Result<(Self, LoadReport, bool), Error> {
        let source = Source::find(path)?;
        let (spec, bare) = match saved::spec_of(&source) {
            Ok(spec) => (spec, false),
            Err(Error::NoHead { .. }) => (HeadSpec::embedder(bare_pooling(source.config())?, false), true),
            Err(error) => return Err(error),
        };
        let (model, report) = Self::open_found(&source, &spec, 0, device)?;
        Ok((model, report, bare))
    }

    /// Declares encoder and head without values: for counting parameters and for weights that come from elsewhere.
    ///
    /// # Errors
    /// An unknown family or a config that cannot be honoured.
    pub fn declare(config: &Value, spec: &HeadSpec, device: &Device) -> Result<Self, Error> {
        let config = joined::fitted(config, spec, None)?;
        Self::declare_fitted(&config, spec, device)
    }

    fn declare_for(source: &Source, spec: &HeadSpec, device: &Device) -> Result<Self, Error> {
        let config = joined::fitted(source.config(), spec, Some(source))?;
        Self::declare_fitted(&config, spec, device)
    }

    fn declare_fitted(config: &Value, spec: &HeadSpec, device: &Device) -> Result<Self, Error> {
        let family = family(config)?;
        let over_pictures =
            matches!(spec, HeadSpec::Classify { .. } | HeadSpec::Regress { .. } | HeadSpec::Embed { .. });
        if family.reads_pictures() && !over_pictures {
            return Err(Error::OnlyPictures { head: spec.name() });
        }
        let mut store = ParamStore::new(device);
        let reads = joined::reads(config)?.unwrap_or(config);
        let encoder = (family.build)(reads, &mut store)?;
        let head = joined::head(config, spec, encoder.as_ref(), &mut store)?;
        Ok(Model {
            store,
            family,
            config: config.clone(),
            spec: spec.clone(),
            names: joined::names(config, spec)?,
            encoder,
            head,
            carried: Vec::new(),
        })
    }

    /// What would be carried if the folder has it: what bare upstream encoders have and this head does without.
    fn carriable(&self) -> Vec<(String, Vec<usize>)> {
        let mut parts = self.pooler();
        if self.encoder.two_streams().is_some() && self.head.unknown().is_none() {
            parts.push((permutation_lm::UNKNOWN.to_string(), vec![1, 1, self.encoder.size().hidden]));
        }
        parts
    }

    /// The family's pooler, when this head does without.
    fn pooler(&self) -> Vec<(String, Vec<usize>)> {
        let Some(dense) = self.encoder.pooler() else { return Vec::new() };
        let (path, width) = (dense.path, dense.width);
        let used = self.store.id(&format!("{path}.weight")).is_ok();
        let weight = (format!("{path}.weight"), vec![width, self.encoder.size().hidden]);
        let of_bare = |(from, to, _): &Rule| *to == weight.0 && from.starts_with("{base}");
        let lacks = self.own_head() || self.is_pair();
        if used || !lacks || !self.family.weights.rules.iter().any(of_bare) {
            return Vec::new();
        }
        let bias = (format!("{path}.bias"), vec![width]);
        if dense.bias { vec![weight, bias] } else { vec![weight] }
    }

    /// Whether it is two models that became one.
    fn is_pair(&self) -> bool {
        joined::reads(&self.config).is_ok_and(|reads| reads.is_some())
    }

    /// Whether the head's parameters go into a file of their own.
    fn own_head(&self) -> bool {
        saved::own_head(&self.spec, self.family)
    }

    fn head_params(&self) -> Vec<(ParamId, String)> {
        self.store.iter().filter(|(_, p)| is_head(&p.path)).map(|(id, p)| (id, p.path.clone())).collect()
    }

    /// Sizes of the encoder.
    pub fn size(&self) -> &crate::family::Size {
        self.encoder.size()
    }

    /// The side of the model that goes on with texts.
    ///
    /// # Errors
    /// [`Error::NotCausal`] for a family that sees the words to come, or a head that does not predict them.
    pub fn decoder(&self) -> Result<&dyn Decoder, Error> {
        let predicts = matches!(self.spec, HeadSpec::CausalLm | HeadSpec::DoubleHeads);
        self.no_virtual_tokens("going on with texts")?;
        let decoder = self.encoder.decoder().filter(|_| predicts);
        decoder.ok_or(Error::NotCausal { head: self.spec.name() })
    }

    /// Numbers in a vector of an `embed` head.
    pub fn vector_width(&self) -> usize {
        match &self.spec {
            HeadSpec::Embed { dense: Some(dense), .. } => dense.width,
            _ => self.size().hidden,
        }
    }

    /// Its two parts.
    pub(crate) fn parts(&self) -> (&dyn Encoder, &dyn Head) {
        (self.encoder.as_ref(), self.head.as_ref())
    }

    /// The head that writes texts.
    ///
    /// # Errors
    /// [`Error::NoTarget`] for another head.
    pub fn seq2seq(&self) -> Result<&Seq2Seq, Error> {
        self.head.seq2seq().ok_or(Error::NoTarget { head: self.spec.name() })
    }

    /// The head's settings.
    pub fn spec(&self) -> &HeadSpec {
        &self.spec
    }

    /// The table of words.
    ///
    /// # Errors
    /// [`Error::NoWords`] for a family that has none.
    pub fn word_table(&self) -> Result<ParamId, Error> {
        if !self.encoder.has_words() {
            return Err(Error::NoWords { what: "starting from word vectors" });
        }
        Ok(self.encoder.word_table())
    }

    /// How the head pools; `None` for heads over tokens.
    pub fn pooled(&self) -> Option<Pool> {
        self.head.pooled()
    }

    /// Hidden states of the last layer.
    ///
    /// # Shapes
    /// - returns: `[tokens, hidden]`
    ///
    /// # Errors
    /// A sequence too long for the model, an id outside its tables.
    pub fn hidden(&self, pass: &Pass, input: &Packed) -> Result<Tensor<2>, Error> {
        let wide = self.widened(input)?;
        let x = self.encoder.embed(pass, &wide)?;
        let x = self.encoder.layers_of(pass, x, &wide, 0..self.encoder.parts())?;
        Ok(self.own_tokens(x, &wide.offsets))
    }

    /// The head on features.
    ///
    /// # Shapes
    /// - `features`: as [`Model::features`] returns them for `input`
    ///
    /// # Errors
    /// A parameter without values.
    pub fn head(&self, pass: &Pass, features: Tensor<2>, input: &Packed) -> Result<Tensor<2>, Error> {
        self.head.forward(pass, features, input)
    }

    /// The second output of a head of two tasks on features, the one over texts; `None` for other heads.
    ///
    /// # Shapes
    /// - `features`: as for [`Model::head`]; returns `[batch, outputs]`
    ///
    /// # Errors
    /// A parameter without values.
    pub fn head_texts(
        &self,
        pass: &Pass,
        features: Tensor<2>,
        input: &Packed,
    ) -> Result<Option<Tensor<2>>, Error> {
        self.head.forward_texts(pass, features, input)
    }

    /// The loss of the head on features.
    ///
    /// # Errors
    /// [`Error::Targets`] for targets of the wrong kind.
    pub fn head_loss(
        &self,
        pass: &Pass,
        features: Tensor<2>,
        input: &Packed,
        targets: &Targets,
        options: &LossOptions,
    ) -> Result<Tensor<1>, Error> {
        self.head.loss(pass, features, input, targets, options)
    }

    /// Outputs of the head.
    ///
    /// # Shapes
    /// - returns: `[batch, outputs]`, or `[tokens, vocab]` for a head over tokens
    ///
    /// # Errors
    /// As [`Model::hidden`].
    pub fn forward(&self, pass: &Pass, input: &Packed) -> Result<Tensor<2>, Error> {
        self.head(pass, self.features(pass, input)?, input)
    }

    /// Both outputs of a head of two tasks, of others the one there is.
    ///
    /// # Shapes
    /// - returns: as [`Model::forward`], and `[batch, outputs]`
    ///
    /// # Errors
    /// As [`Model::hidden`].
    pub fn forward_both(&self, pass: &Pass, input: &Packed) -> Result<(Tensor<2>, Option<Tensor<2>>), Error> {
        let features = self.features(pass, input)?;
        let texts = self.head_texts(pass, features.clone(), input)?;
        Ok((self.head(pass, features, input)?, texts))
    }

    /// The mean loss of a batch.
    ///
    /// # Errors
    /// As [`Model::hidden`] and [`Model::head_loss`].
    pub fn loss(
        &self,
        pass: &Pass,
        input: &Packed,
        targets: &Targets,
        options: &LossOptions,
    ) -> Result<Tensor<1>, Error> {
        match targets {
            Targets::Permuted(permuted) => {
                let mut memory = self.memory(input.batch())?;
                self.permuted_loss(pass, input, permuted, options, &mut memory)
            }
            _ => self.head_loss(pass, self.features(pass, input)?, input, targets, options),
        }
    }

    /// Outputs for a batch as plain numbers, row-major, computed without tracking gradients.
    ///
    /// # Errors
    /// As [`Model::hidden`].
    pub fn predict(&self, input: &Packed, precision: Precision) -> Result<Vec<f32>, Error> {
        let pass = Pass::eval(&self.store, precision);
        plain(self.forward(&pass, input)?)
    }

    /// Outputs for texts of a head of two tasks, as [`Model::predict`] gives those for tokens; nothing from other heads.
    ///
    /// # Errors
    /// As [`Model::hidden`].
    pub fn predict_texts(&self, input: &Packed, precision: Precision) -> Result<Option<Vec<f32>>, Error> {
        let pass = Pass::eval(&self.store, precision);
        let texts = self.head_texts(&pass, self.features(&pass, input)?, input)?;
        texts.map(plain).transpose()
    }

    /// The parameters as upstream names them and as the model computes with them (what is attached to weights is merged), but
    /// for those of a head that no upstream class has.
    ///
    /// # Errors
    /// A parameter has no values.
    pub fn export(&self) -> Result<Vec<Named<'_>>, Error> {
        let own_head = self.own_head();
        let mut params = Vec::new();
        // A map behind vectors stands both where upstream and where sentence-transformers looks for it.
        let projects = saved::projection(&self.spec, self.family).is_some();
        let own = |path: &str| own_head && is_head(path) && !(projects && path.starts_with(own::DENSE));
        let elsewhere = |param: &nn::Param| param.is_attachment() || own(&param.path);
        for (id, param) in self.store.iter().filter(|(_, param)| !elsewhere(param)) {
            let data: Cow<[f32]> = self.store.used_values(id)?.into();
            params.push((param.path.as_str(), param.file_shape().to_vec(), data));
        }
        for param in &self.carried {
            params.push((param.path.as_str(), param.shape.clone(), Cow::from(&param.data)));
        }
        Ok(topwork_weights::export(&self.names, params)?)
    }

    /// How its checkpoints name their tensors.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// How upstream calls a parameter that it keeps in the same form; `None` where it has another form, or none.
    pub fn upstream_name(&self, path: &str) -> Option<String> {
        let (name, op) = self.names.export(path).ok()?;
        (op == Op::Keep).then_some(name)
    }

    /// How upstream calls a matrix, and whether it lies there turned (GPT-2's maps); `None` where it has another form, or none.
    pub fn upstream_matrix(&self) -> impl Fn(&str) -> Option<(String, bool)> + use<> {
        let names = self.names.clone();
        move |path| match names.export(path).ok()? {
            (name, Op::Keep) => Some((name, false)),
            (name, Op::Transpose) => Some((name, true)),
            _ => None,
        }
    }

    /// How upstream calls parameters, in whatever form it keeps them; `None` for one that it has no name for.
    pub fn upstream_tensors(&self) -> impl Fn(&str) -> Option<String> + use<> {
        let names = self.names.clone();
        move |path| Some(names.export(path).ok()?.0)
    }

    /// The parameters of the head and what goes with it, as upstream names them. Nothing of a head that no upstream class has.
    ///
    /// # Errors
    /// A parameter has no values.
    pub fn export_head(&self) -> Result<Vec<Named<'_>>, Error> {
        let own_head = self.own_head();
        let mut tensors = Vec::new();
        for id in self.head_group() {
            let param = self.store.param(id);
            let name = self.upstream_name(&param.path).filter(|_| !(own_head && is_head(&param.path)));
            if let Some(name) = name {
                let (shape, data) = (param.file_shape().to_vec(), self.store.used_values(id)?.into());
                tensors.push(Named { name, shape, data });
            }
        }
        Ok(tensors)
    }

    /// `config.json` as it is saved, with what changed: the class, the labels, the kind of problem.
    pub fn saved_config(&self) -> Value {
        saved::saved_config(&self.config, &self.spec, self.family)
    }
}

/// What stands for a text, or a picture, where nothing says what head a model has: the mean over tokens, of pictures the class
/// token.
///
/// # Errors
/// An unknown family.
pub fn bare_pooling(config: &Value) -> Result<Pooling, Error> {
    Ok(if family(config)?.reads_pictures() { Pooling::Family } else { Pooling::Mean })
}

/// Refuses a batch in which a text has no token, of which nothing can be pooled.
///
/// # Errors
/// [`Error::NoTokens`].
pub fn some_tokens(offsets: &[u32]) -> Result<(), Error> {
    match offsets.windows(2).position(|pair| pair[0] == pair[1]) {
        Some(text) => Err(Error::NoTokens { text }),
        None => Ok(()),
    }
}

/// Refuses half of a model.
fn whole(source: &Source) -> Result<(), Error> {
    match source.adapter() {
        None => Ok(()),
        Some(adapter) => Err(Error::Adapted { folder: adapter.parent().unwrap_or(adapter).to_path_buf() }),
    }
}

/// The key of `config.json` that says a folder without weights is meant to be trained from nothing.
pub const FROM_NOTHING: &str = "from_nothing";

fn starts_from_nothing(config: &Value) -> bool {
    config.get(FROM_NOTHING).and_then(Value::as_bool) == Some(true)
}

/// True for a parameter of a head.
pub(crate) fn is_head(path: &str) -> bool {
    path.starts_with("head.")
}

/// A matrix as plain numbers.
///
/// # Errors
/// The device would not give them back.
pub fn plain(tensor: Tensor<2>) -> Result<Vec<f32>, Error> {
    topwork_nn::param::download(tensor.into_dispatch(), 2)
        .map_err(|reason| topwork_nn::Error::Device { path: "outputs".to_string(), reason }.into())
}
