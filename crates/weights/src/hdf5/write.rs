//! HDF5 files out, laid out as Keras lays out the weights of a model: what transformers' TensorFlow classes open.
//!
//! Format: <https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html>; superblock 2, groups by links in their headers,
//! datasets in one piece. All structures stand before the numbers, so these go from where they are into the file.
//! Keras: <https://github.com/keras-team/keras/blob/v2.12.0/keras/saving/legacy/hdf5_format.py>, `save_weights_to_hdf5_group`.

use std::io::{BufWriter, Write};
use std::path::Path;

use super::checksum::lookup3;
use super::object::kind;
use super::space::SIGNATURE;
use crate::safetensors::{Named, ordered};
use crate::{Error, atomic, convert};

/// A layer of Keras with its weights, each under its whole name, which begins with the model's.
#[derive(Debug)]
pub struct KerasLayer<'a> {
    /// The layer's name.
    pub name: String,
    /// Its weights.
    pub weights: Vec<Named<'a>>,
}

/// What Keras writes with the weights: the version of this layout, and what computes.
const ABOUT: [(&str, &str); 2] = [("backend", "tensorflow"), ("keras_version", "2.12.0")];

/// The most bytes of an attribute: longer lists are cut into several, as Keras does it.
const MOST: usize = 64512;

/// Bytes of the superblock.
const SUPERBLOCK: usize = 48;

/// The address of nothing.
const NOWHERE: u64 = u64::MAX;

/// Writes a file, atomically: the old file stands until the new one is whole and on disk.
///
/// # Errors
/// [`Error::WrongLength`]; [`Error::BadTensor`] for a name that comes twice, that goes on where another one ends, or that the format
/// has no place for; [`Error::Write`].
pub fn write(path: impl AsRef<Path>, layers: &[KerasLayer]) -> Result<(), Error> {
    let path = path.as_ref();
    let mut tree = Tree(vec![Node::default()]);
    let mut numbers: Vec<&Named> = Vec::new();
    for layer in layers {
        let bad = |name: &str, reason: &str| Error::BadTensor {
            path: path.to_path_buf(),
            tensor: format!("{}/{name}", layer.name),
            reason: reason.to_string(),
        };
        ordered(path, &layer.weights)?;
        let Some(group) = tree.put(ROOT, &layer.name, Node::default()) else {
            return Err(bad("", "it is no name for a layer, or that of two"));
        };
        let names: Vec<&str> = layer.weights.iter().map(|weight| weight.name.as_str()).collect();
        tree.describe(group, list("weight_names", &names));
        for weight in &layer.weights {
            let data = Node { data: Some((weight.shape.clone(), numbers.len())), ..Node::default() };
            if tree.put(group, &weight.name, data).is_none() {
                return Err(bad(&weight.name, "it is no name that can be written, or another weight's"));
            }
            numbers.push(weight);
        }
    }
    let names: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
    tree.describe(ROOT, list("layer_names", &names));
    tree.describe(ROOT, ABOUT.map(|(name, text)| attribute(name, &[text], true)).to_vec());
    let head = tree.head(&numbers);
    atomic::write_with(path, |file| {
        let mut out = BufWriter::with_capacity(1 << 20, file);
        out.write_all(&head)?;
        for tensor in &numbers {
            out.write_all(&convert::le_bytes(&tensor.data))?;
        }
        out.flush()
    })
}

/// The place of the root group in a [`Tree`].
const ROOT: usize = 0;

/// Longest part of a path, which is what a reader of this crate takes.
const MAX_NAME: usize = 4096;

/// A group or a dataset.
#[derive(Default)]
struct Node {
    /// What a group holds: names, and places in the [`Tree`].
    links: Vec<(String, usize)>,
    /// Messages of attributes.
    attributes: Vec<Vec<u8>>,
    /// A dataset's shape, and where its numbers are in the list of all; a group has none.
    data: Option<(Vec<usize>, usize)>,
}

/// All groups and datasets of a file; the first is the root.
struct Tree(Vec<Node>);

impl Tree {
    /// Puts a node at a path below a group, with the groups on the way, and gives its place; `None` where the path is taken, or
    /// leads through a dataset.
    fn put(&mut self, group: usize, path: &str, node: Node) -> Option<usize> {
        let (name, rest) = match path.split_once('/') {
            Some((name, rest)) => (name, Some(rest)),
            None => (path, None),
        };
        let parent = self.0.get(group).filter(|parent| parent.data.is_none())?;
        let known = parent.links.iter().find(|(known, _)| known == name).map(|(_, place)| *place);
        if name.is_empty() || name.len() > MAX_NAME || (known.is_some() && rest.is_none()) {
            return None;
        }
        let (own, rest) = match rest {
            Some(rest) => (Node::default(), Some((rest, node))),
            None => (node, None),
        };
        let place = known.unwrap_or(self.0.len());
        if known.is_none() {
            self.0.push(own);
            self.0[group].links.push((name.to_string(), place));
        }
        match rest {
            Some((rest, node)) => self.put(place, rest, node),
            None => Some(place),
        }
    }

    fn describe(&mut self, group: usize, attributes: Vec<Vec<u8>>) {
        self.0[group].attributes.extend(attributes);
    }

    /// Everything before the numbers.
    fn head(&self, numbers: &[&Named]) -> Vec<u8> {
        // A header is as long wherever things lie.
        let nowhere = vec![NOWHERE; self.0.len().max(numbers.len())];
        let mut end = SUPERBLOCK as u64;
        let mut headers = Vec::new();
        for node in &self.0 {
            headers.push(end);
            end += node.header(&nowhere, &nowhere).len() as u64;
        }
        let start = end.next_multiple_of(8);
        let mut at = start;
        let mut places = Vec::new();
        for tensor in numbers {
            places.push(if tensor.data.is_empty() { NOWHERE } else { at });
            at += 4 * tensor.data.len() as u64;
        }
        let mut out = superblock(headers[ROOT], at);
        self.0.iter().for_each(|node| out.extend(node.header(&headers, &places)));
        out.resize(start as usize, 0);
        out
    }
}

impl Node {
    /// Its header; `headers` are where those of all nodes lie, `numbers` where those of all datasets.
    fn header(&self, headers: &[u64], numbers: &[u64]) -> Vec<u8> {
        let mut messages = Vec::new();
        let mut message = |kind: u16, content: &[u8]| {
            messages.push(kind as u8);
            messages.extend((content.len() as u16).to_le_bytes());
            messages.push(0);
            messages.extend(content);
        };
        if let Some((shape, at)) = &self.data {
            message(kind::DATASPACE, &dataspace(shape));
            message(kind::DATATYPE, &FLOAT);
            // Room is made late, and filled where something was set; nothing is.
            message(kind::FILL, &[3, 0x0a]);
            // Version 3, in one piece.
            let mut layout = vec![3, 1];
            layout.extend(numbers[*at].to_le_bytes());
            layout.extend((4 * shape.iter().product::<usize>() as u64).to_le_bytes());
            message(kind::LAYOUT, &layout);
        } else {
            // Neither a heap nor a tree: all links stand here.
            message(kind::LINK_INFO, &[&[0, 0][..], &[0xff; 16]].concat());
            for (name, node) in &self.links {
                // Version 1; the length of the name has two bytes.
                let mut link = vec![1, 1];
                link.extend((name.len() as u16).to_le_bytes());
                link.extend(name.as_bytes());
                link.extend(headers[*node].to_le_bytes());
                message(kind::LINK, &link);
            }
            self.attributes.iter().for_each(|attribute| message(kind::ATTRIBUTE, attribute));
        }
        // Version 2; the length of the messages has four bytes.
        let mut header = b"OHDR\x02\x02".to_vec();
        header.extend((messages.len() as u32).to_le_bytes());
        header.extend(messages);
        signed(header)
    }
}

fn superblock(root: u64, end: u64) -> Vec<u8> {
    let mut out = SIGNATURE.to_vec();
    // Version, bytes of an address, bytes of a length, flags.
    out.extend([2, 8, 8, 0]);
    out.extend([0, NOWHERE, end, root].map(u64::to_le_bytes).as_flattened());
    signed(out)
}

/// With its checksum behind it.
fn signed(mut bytes: Vec<u8>) -> Vec<u8> {
    let sum = lookup3(&bytes);
    bytes.extend(sum.to_le_bytes());
    bytes
}

/// `f32`, little-endian: sign, exponent and mantissa where IEEE 754 has them.
const FLOAT: [u8; 20] = [0x11, 0x20, 31, 0, 4, 0, 0, 0, 0, 0, 32, 0, 23, 8, 0, 23, 127, 0, 0, 0];

fn dataspace(shape: &[usize]) -> Vec<u8> {
    // Version, axes, flags, and whether there are axes at all.
    let mut out = vec![2, shape.len() as u8, 0, u8::from(!shape.is_empty())];
    out.extend(shape.iter().flat_map(|len| (*len as u64).to_le_bytes()));
    out
}

/// An attribute that is a list of texts, as the messages it takes.
fn list(name: &str, texts: &[&str]) -> Vec<Vec<u8>> {
    let width = texts.iter().map(|text| text.len()).max().unwrap_or(0).max(1);
    if width * texts.len() <= MOST {
        return vec![attribute(name, texts, false)];
    }
    let parts = texts.chunks((MOST / width).max(1));
    parts.enumerate().map(|(n, part)| attribute(&format!("{name}{n}"), part, false)).collect()
}

/// An attribute: one text, or a list of them, each filled up with zeros.
fn attribute(name: &str, texts: &[&str], one: bool) -> Vec<u8> {
    let width = texts.iter().map(|text| text.len()).max().unwrap_or(0).max(1);
    // Texts of a fixed width, padded with zeros.
    let mut datatype = vec![0x13, 1, 0, 0];
    datatype.extend((width as u32).to_le_bytes());
    let space = if one { dataspace(&[]) } else { dataspace(&[texts.len()]) };
    let mut out = vec![3, 0];
    for len in [name.len() + 1, datatype.len(), space.len()] {
        out.extend((len as u16).to_le_bytes());
    }
    // Names of attributes are ASCII.
    out.push(0);
    out.extend(name.as_bytes());
    out.push(0);
    out.extend(datatype);
    out.extend(space);
    for text in texts {
        out.extend(text.as_bytes());
        out.resize(out.len() + width - text.len(), 0);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Hdf5File, TensorFile};

    fn weight(name: &str, shape: &[usize]) -> Named<'static> {
        let len: usize = shape.iter().product();
        let data: Vec<f32> = (0..len).map(|x| x as f32 - name.len() as f32 / 3.0).collect();
        Named { name: name.into(), shape: shape.to_vec(), data: data.into() }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tf_model.h5");
        // More links than a group of h5py's would keep in its header, and more names than one attribute holds.
        let mut many: Vec<Named> =
            (0..700).map(|n| weight(&format!("tf/many/{:0>90}:0", n), &[2, n % 4])).collect();
        many.push(weight("scalar:0", &[]));
        let layers = [
            KerasLayer { name: "many".into(), weights: many },
            KerasLayer { name: "deep".into(), weights: vec![weight("tf/a/b/c/d:0", &[2, 3, 1, 2])] },
            KerasLayer { name: "none".into(), weights: vec![] },
        ];
        write(&path, &layers).unwrap();
        let file = Hdf5File::open(&path).unwrap();
        assert_eq!(file.layers(), ["many", "deep", "none"]);
        assert_eq!(file.names().len(), 702);
        for (layer, weight) in layers.iter().flat_map(|l| l.weights.iter().map(move |w| (&l.name, w))) {
            let name = format!("{layer}/{}", weight.name);
            assert_eq!(file.shape(&name), Some(weight.shape.as_slice()), "{name}");
            assert_eq!(file.read(&name).unwrap(), weight.data.as_ref(), "{name}");
        }
        let first = std::fs::read(&path).unwrap();
        write(&path, &layers).unwrap();
        assert!(std::fs::read(&path).unwrap() == first, "the same bytes again");
        // 701 names of 97 bytes take 67,997.
        let held = |text: &str| first.windows(text.len()).any(|part| part == text.as_bytes());
        assert!(held("weight_names0\0") && held("weight_names1\0") && !held("weight_names2\0"));
        assert_eq!(first.len() as u64 % 4, 0);
    }

    #[test]
    fn what_has_no_place_is_refused_and_the_old_file_stands() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.h5");
        std::fs::write(&path, "old").unwrap();
        let refused = |layers: &[(&str, &[&str])], part: &str| {
            let layer = |(name, weights): &(&str, &[&str])| KerasLayer {
                name: name.to_string(),
                weights: weights.iter().map(|name| weight(name, &[2])).collect(),
            };
            let error = write(&path, &layers.iter().map(layer).collect::<Vec<_>>()).unwrap_err().to_string();
            assert!(error.contains(part), "{part:?} not in: {error}");
        };
        refused(&[("a", &["x", "x"])], "written twice");
        refused(&[("a", &["x/y", "x"])], "another weight's");
        refused(&[("a", &["x", "x/y"])], "another weight's");
        refused(&[("a", &["x//y"])], "no name that can be written");
        refused(&[("a", &[]), ("a", &[])], "that of two");
        refused(&[("", &[])], "no name for a layer");
        let long = KerasLayer {
            name: "a".into(),
            weights: vec![Named { name: "x".into(), shape: vec![3], data: vec![0.0].into() }],
        };
        assert!(matches!(write(&path, &[long]), Err(Error::WrongLength { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
    }
}
