//! The model files of llama2.c, under the names and in the layout that HuggingFace's Llama has.
//!
//! Version 0 is a header of 7 numbers and `f32` tensors; versions 1 and 2 start with a magic number and 256 bytes of
//! header, and version 2 keeps its matrices as 8-bit numbers with a scale for each group.
//! llama2.c turns neighbouring numbers of a head as a pair (as Meta does), HuggingFace turns number `i` with number
//! `i + head_dim / 2`: the rows of the query and key matrices are put in HuggingFace's order on the way in.
//! The tables of sines and cosines in version 0 are not read; they follow from the position and 10000.
//!
//! Of version 2 the layout read is that of `runq.c`, each matrix followed by its scales.
//!
//! Format: <https://github.com/karpathy/llama2.c/blob/master/export.py>

use std::collections::HashMap;
use std::path::Path;

use ::safetensors::Dtype;
use serde_json::{Value, json};

use crate::format::Format;
use crate::input::Input;
use crate::{Change, Error, TensorFile, convert};

/// The entry of llama2.c files.
pub const LLAMA2C: Format = Format {
    name: "llama2c",
    summary: "the .bin files of llama2.c, versions 0 to 2, 8-bit ones included",
    link: "https://github.com/karpathy/llama2.c",
    files: &["*.bin"],
    is: |path, head| {
        head.starts_with(MAGIC)
            || std::fs::metadata(path).is_ok_and(|about| {
                Settings::legacy(head).is_some_and(|it| it.file_len() == about.len().into())
            })
    },
    open: |path| Ok(Box::new(Llama2cFile::open(path)?)),
};

/// The name of this format in messages.
const NAME: &str = "llama2.c";

/// The first bytes from version 1 on.
const MAGIC: &[u8] = b"24ka";

/// Bytes of the header before version 1, and since.
const LEGACY_HEADER: usize = 28;
const HEADER: usize = 256;

/// The tensors of a layer, with the sizes of their axes.
const LAYER: &[(&str, [Size; 2])] = &[
    ("input_layernorm", [Size::Hidden, Size::One]),
    ("self_attn.q_proj", [Size::Hidden, Size::Hidden]),
    ("self_attn.k_proj", [Size::KeyValue, Size::Hidden]),
    ("self_attn.v_proj", [Size::KeyValue, Size::Hidden]),
    ("self_attn.o_proj", [Size::Hidden, Size::Hidden]),
    ("post_attention_layernorm", [Size::Hidden, Size::One]),
    ("mlp.gate_proj", [Size::Ffn, Size::Hidden]),
    ("mlp.down_proj", [Size::Hidden, Size::Ffn]),
    ("mlp.up_proj", [Size::Ffn, Size::Hidden]),
];

/// The tensors of the model around them.
const EMBED: (&str, [Size; 2]) = ("model.embed_tokens", [Size::Vocab, Size::Hidden]);
const NORM: (&str, [Size; 2]) = ("model.norm", [Size::Hidden, Size::One]);
const CLASSIFIER: (&str, [Size; 2]) = ("lm_head", [Size::Vocab, Size::Hidden]);

/// The size of an axis, in words of the model. A vector has a second axis of [`Size::One`].
#[derive(Clone, Copy, PartialEq, Eq)]
enum Size {
    One,
    Hidden,
    KeyValue,
    Ffn,
    Vocab,
}

/// What stands in the header.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Settings {
    hidden: u32,
    ffn: u32,
    layers: u32,
    heads: u32,
    kv_heads: u32,
    vocab: u32,
    seq: u32,
    tied: bool,
    version: u32,
    /// How many 8-bit numbers share a scale, in version 2.
    group: u32,
}

/// An open llama2.c file.
#[derive(Debug)]
pub struct Llama2cFile {
    input: Input,
    settings: Settings,
    tensors: Vec<(String, Tensor)>,
    by_name: HashMap<String, usize>,
}

#[derive(Debug)]
struct Tensor {
    shape: Vec<usize>,
    /// Where its numbers start in the file.
    start: u64,
    /// How many 8-bit numbers share a scale, or `None` for `f32`.
    group: Option<usize>,
    /// How many heads its rows belong to, when they must be put in another order.
    turned: Option<usize>,
}

impl Llama2cFile {
    /// Opens a file and checks its length against what its header says of the model.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::BadFile`].
    pub fn open(path: impl AsRef<Path>) -> Result<Llama2cFile, Error> {
        Llama2cFile::from_input(Input::open(path.as_ref(), NAME)?)
    }

    /// The same for a file already in memory; `path` only serves the messages.
    ///
    /// # Errors
    /// As [`Llama2cFile::open`].
    pub fn from_bytes(path: impl AsRef<Path>, bytes: Vec<u8>) -> Result<Llama2cFile, Error> {
        Llama2cFile::from_input(Input::from_bytes(path.as_ref(), NAME, bytes))
    }

    fn from_input(input: Input) -> Result<Llama2cFile, Error> {
        let head = input.bytes(0, input.len.min(HEADER as u64), "the header")?;
        let settings = match head.starts_with(MAGIC) {
            true => Settings::versioned(&head),
            false => Settings::legacy(&head),
        };
        let settings = settings.ok_or_else(|| input.bad("its header describes no Llama"))?;
        let expected = settings.file_len();
        if expected != input.len.into() {
            return Err(input.bad(format!(
                "its header asks for {expected} bytes and it has {}: {settings:?}",
                input.len
            )));
        }
        let tensors = settings.tensors();
        let by_name = tensors.iter().enumerate().map(|(at, (name, _))| (name.clone(), at)).collect();
        Ok(Llama2cFile { input, settings, tensors, by_name })
    }

    fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.by_name.get(name).map(|&at| &self.tensors[at].1)
    }
}

impl TensorFile for Llama2cFile {
    fn path(&self) -> &Path {
        &self.input.path
    }

    fn names(&self) -> Vec<&str> {
        self.tensors.iter().map(|(name, _)| name.as_str()).collect()
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensor(name).map(|tensor| tensor.shape.as_slice())
    }

    fn dtype(&self, name: &str) -> Option<String> {
        self.tensor(name).map(|tensor| if tensor.group.is_some() { "Q8_0" } else { "F32" }.to_string())
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, Error> {
        let Some(tensor) = self.tensor(name) else { return Err(self.input.no_tensor(name)) };
        let count: usize = tensor.shape.iter().product();
        let floats = |at: u64, count: usize| -> Result<Vec<f32>, Error> {
            let bytes = self.input.bytes(at, 4 * count as u64, name)?;
            Ok(convert::to_f32(Dtype::F32, &bytes).unwrap_or_default())
        };
        let data = match tensor.group {
            None => floats(tensor.start, count)?,
            Some(group) => {
                let numbers = self.input.bytes(tensor.start, count as u64, name)?;
                let scales = floats(tensor.start + count as u64, count / group)?;
                let scaled = numbers.chunks(group).zip(&scales);
                scaled
                    .flat_map(|(group, scale)| group.iter().map(move |&n| f32::from(n as i8) * scale))
                    .collect()
            }
        };
        let Some(heads) = tensor.turned else { return Ok(data) };
        let turned = Change::PairsToHalves { heads }.apply(&tensor.shape, data);
        turned.map_err(|reason| self.input.bad_tensor(name, reason))
    }

    fn config(&self) -> Option<Value> {
        let it = &self.settings;
        Some(json!({
            "model_type": "llama",
            "architectures": ["LlamaForCausalLM"],
            "hidden_size": it.hidden,
            "intermediate_size": it.ffn,
            "num_hidden_layers": it.layers,
            "num_attention_heads": it.heads,
            "num_key_value_heads": it.kv_heads,
            "vocab_size": it.vocab,
            "max_position_embeddings": it.seq,
            "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0,
            "hidden_act": "silu",
            "attention_bias": false,
            "mlp_bias": false,
            "tie_word_embeddings": it.tied,
        }))
    }
}

impl Settings {
    /// From the 7 numbers without a version. A vocabulary below 0 says that the classifier is a matrix of its own.
    fn legacy(head: &[u8]) -> Option<Settings> {
        let numbers = head.get(..LEGACY_HEADER)?;
        let vocab = i32::from_le_bytes(*numbers[20..].first_chunk()?);
        Settings::new(numbers, vocab.unsigned_abs(), vocab > 0, 0, 1)
    }

    /// From the header of 256 bytes.
    fn versioned(head: &[u8]) -> Option<Settings> {
        if head.len() != HEADER {
            return None;
        }
        let number = |at: usize| head[at..].first_chunk().map(|raw| u32::from_le_bytes(*raw));
        let (version, group) = (number(4)?, number(37)?);
        let tied = match head[36] {
            0 => false,
            1 => true,
            _ => return None,
        };
        let group = match version {
            1 => 1,
            2 => group,
            _ => return None,
        };
        Settings::new(&head[8..], number(28)?, tied, version, group)
    }

    /// `None` unless the numbers fit each other.
    fn new(numbers: &[u8], vocab: u32, tied: bool, version: u32, group: u32) -> Option<Settings> {
        let number = |n: usize| numbers[4 * n..].first_chunk().map(|raw| u32::from_le_bytes(*raw));
        let it = Settings {
            hidden: number(0)?,
            ffn: number(1)?,
            layers: number(2)?,
            heads: number(3)?,
            kv_heads: number(4)?,
            vocab,
            seq: number(6)?,
            tied,
            version,
            group,
        };
        let all = [it.hidden, it.ffn, it.layers, it.heads, it.kv_heads, it.vocab, it.seq, it.group];
        let sound = all.iter().all(|&number| number > 0 && number <= i32::MAX as u32)
            && it.hidden.is_multiple_of(it.heads)
            && (it.hidden / it.heads).is_multiple_of(2)
            && it.heads.is_multiple_of(it.kv_heads)
            // Whole groups in each matrix: all of them have rows of one of these lengths.
            && (version != 2 || (it.hidden.is_multiple_of(group) && it.ffn.is_multiple_of(group)));
        sound.then_some(it)
    }

    fn size(&self, size: Size) -> u32 {
        match size {
            Size::One => 1,
            Size::Hidden => self.hidden,
            Size::KeyValue => self.hidden / self.heads * self.kv_heads,
            Size::Ffn => self.ffn,
            Size::Vocab => self.vocab,
        }
    }

    /// Bytes that a tensor takes. Sizes are below 2^31, so nothing here comes near the end of its numbers.
    fn bytes(&self, [rows, cols]: [Size; 2]) -> u128 {
        let count = u128::from(self.size(rows)) * u128::from(self.size(cols));
        match self.version {
            2 if cols != Size::One => count + 4 * (count / u128::from(self.group)),
            _ => 4 * count,
        }
    }

    /// Bytes of the tables of cosines and sines.
    fn tables(&self) -> u128 {
        match self.version {
            0 => 4 * u128::from(self.seq) * u128::from(self.hidden / self.heads),
            _ => 0,
        }
    }

    /// Bytes that the file must have.
    fn file_len(&self) -> u128 {
        let header = if self.version == 0 { LEGACY_HEADER } else { HEADER };
        let layer: u128 = LAYER.iter().map(|(_, shape)| self.bytes(*shape)).sum();
        let classifier = if self.tied { 0 } else { self.bytes(CLASSIFIER.1) };
        header as u128
            + self.bytes(EMBED.1)
            + u128::from(self.layers) * layer
            + self.bytes(NORM.1)
            + self.tables()
            + classifier
    }

    /// All tensors in the order of the file, whose length is known to fit.
    fn tensors(&self) -> Vec<(String, Tensor)> {
        let mut place = Place {
            settings: self,
            at: if self.version == 0 { LEGACY_HEADER } else { HEADER } as u64,
            tensors: Vec::new(),
        };
        let norms = |name: &str| name.ends_with("norm");
        if self.version == 0 {
            place.put(EMBED);
            LAYER.iter().for_each(|&tensor| place.put_layers(tensor));
            place.put(NORM);
            place.at += self.tables() as u64;
        } else {
            LAYER.iter().filter(|(name, _)| norms(name)).for_each(|&tensor| place.put_layers(tensor));
            place.put(NORM);
            place.put(EMBED);
            LAYER.iter().filter(|(name, _)| !norms(name)).for_each(|&tensor| place.put_layers(tensor));
        }
        if !self.tied {
            place.put(CLASSIFIER);
        }
        place.tensors
    }
}

/// Tensors being placed one behind the other.
struct Place<'s> {
    settings: &'s Settings,
    at: u64,
    tensors: Vec<(String, Tensor)>,
}

impl Place<'_> {
    fn put(&mut self, (name, axes): (&str, [Size; 2])) {
        let it = self.settings;
        let is_vector = axes[1] == Size::One;
        let shape: Vec<usize> =
            axes.iter().filter(|&&size| size != Size::One).map(|&size| it.size(size) as usize).collect();
        let group = (it.version == 2 && !is_vector).then_some(it.group as usize);
        let turned = match name.rsplit('.').next() {
            Some("q_proj") => Some(it.heads as usize),
            Some("k_proj") => Some(it.kv_heads as usize),
            _ => None,
        };
        self.tensors.push((format!("{name}.weight"), Tensor { shape, start: self.at, group, turned }));
        self.at += it.bytes(axes) as u64;
    }

    fn put_layers(&mut self, (name, axes): (&str, [Size; 2])) {
        for layer in 0..self.settings.layers {
            self.put((&format!("model.layers.{layer}.{name}"), axes));
        }
    }
}

#[cfg(test)]
#[path = "llama2c_tests.rs"]
mod tests;
