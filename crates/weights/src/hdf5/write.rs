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
    /// Weights of other layers that it uses too, which stand in the file once: the name here, and the weight's layer and name,
    /// with a slash between them.
    pub also: Vec<(String, String)>,
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
    let bad = |layer: &KerasLayer, name: &str, reason: &str| Error::BadTensor {
        path: path.to_path_buf(),
        tensor: format!("{}/{name}", layer.name),
        reason: reason.to_string(),
    };
    const TAKEN: &str = "it is no name that can be written, or another weight's";
    for layer in layers {
        ordered(path, &layer.weights)?;
        let Some(group) = tree.put(ROOT, &layer.name, Node::default()) else {
            return Err(bad(layer, "", "it is no name for a layer, or that of two"));
        };
        let also = layer.also.iter().map(|(name, _)| name.as_str());
        let names: Vec<&str> = layer.weights.iter().map(|weight| weight.name.as_str()).chain(also).collect();
        tree.describe(group, list("weight_names", &names));
        for weight in &layer.weights {
            let data = Node { data: Some((weight.shape.clone(), numbers.len())), ..Node::default() };
            if tree.put(group, &weight.name, data).is_none() {
                return Err(bad(layer, &weight.name, TAKEN));
            }
            numbers.push(weight);
        }
    }
    for layer in layers {
        let group = tree.find(&layer.name).unwrap_or(ROOT);
        for (name, path) in &layer.also {
            let Some(place) = tree.find(path) else {
                return Err(bad(layer, name, "the weight that it is to be is none of this file"));
            };
            if !tree.link(group, name, place) {
                return Err(bad(layer, name, TAKEN));
            }
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
    /// How many links lead to it.
    uses: u32,
}

/// All groups and datasets of a file; the first is the root.
struct Tree(Vec<Node>);

impl Tree {
    /// Puts a node at a path below a group, with the groups on the way, and gives its place; `None` where the path is taken, or
    /// leads through a dataset.
    fn put(&mut self, group: usize, path: &str, node: Node) -> Option<usize> {
        let place = self.0.len();
        self.0.push(node);
        self.link(group, path, place).then_some(place)
    }

    /// Names a node by one more path below a group; false where that is taken, or leads through a dataset.
    fn link(&mut self, group: usize, path: &str, place: usize) -> bool {
        let (way, name) = path.rsplit_once('/').map_or((None, path), |(way, name)| (Some(way), name));
        let mut parent = group;
        for part in way.into_iter().flat_map(|way| way.split('/')) {
            parent = match self.child(parent, part) {
                Some(known) => known,
                None if part.is_empty() || part.len() > MAX_NAME => return false,
                None => {
                    self.0.push(Node { uses: 1, ..Node::default() });
                    let new = self.0.len() - 1;
                    self.0[parent].links.push((part.to_string(), new));
                    new
                }
            };
            if self.0[parent].data.is_some() {
                return false;
            }
        }
        if name.is_empty() || name.len() > MAX_NAME || self.child(parent, name).is_some() {
            return false;
        }
        self.0[parent].links.push((name.to_string(), place));
        self.0[place].uses += 1;
        true
    }

    fn child(&self, group: usize, name: &str) -> Option<usize> {
        self.0[group].links.iter().find(|(known, _)| known == name).map(|(_, place)| *place)
    }

    /// What a path from the root leads to.
    fn find(&self, path: &str) -> Option<usize> {
        path.split('/').try_fold(ROOT, |group, name| self.child(group, name))
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
            if self.uses > 1 {
                message(kind::USES, &[&[0][..], &self.uses.to_le_bytes()].concat());
            }
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
            KerasLayer { name: "many".into(), weights: many, also: vec![] },
            KerasLayer {
                name: "deep".into(),
                weights: vec![weight("tf/a/b/c/d:0", &[2, 3, 1, 2])],
                also: vec![("tf/one/more:0".into(), "many/scalar:0".into())],
            },
            KerasLayer { name: "none".into(), weights: vec![], also: vec![] },
        ];
        write(&path, &layers).unwrap();
        let file = Hdf5File::open(&path).unwrap();
        assert_eq!(file.layers(), ["many", "deep", "none"]);
        assert_eq!(file.names().len(), 703);
        assert_eq!(file.read("deep/tf/one/more:0").unwrap(), file.read("many/scalar:0").unwrap());
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
        let refused = |also: Option<(&str, &str)>, layers: &[(&str, &[&str])], part: &str| {
            let layer = |(name, weights): &(&str, &[&str])| KerasLayer {
                name: name.to_string(),
                weights: weights.iter().map(|name| weight(name, &[2])).collect(),
                also: also.map(|(here, there)| (here.into(), there.into())).into_iter().collect(),
            };
            let error = write(&path, &layers.iter().map(layer).collect::<Vec<_>>()).unwrap_err().to_string();
            assert!(error.contains(part), "{part:?} not in: {error}");
        };
        refused(None, &[("a", &["x", "x"])], "written twice");
        refused(None, &[("a", &["x/y", "x"])], "another weight's");
        refused(None, &[("a", &["x", "x/y"])], "another weight's");
        refused(None, &[("a", &["x//y"])], "no name that can be written");
        refused(None, &[("a", &[]), ("a", &[])], "that of two");
        refused(None, &[("", &[])], "no name for a layer");
        refused(Some(("x", "a/x")), &[("a", &["x"])], "another weight's");
        refused(Some(("y", "b/x")), &[("a", &["x"])], "none of this file");
        let long = KerasLayer {
            name: "a".into(),
            also: vec![],
            weights: vec![Named { name: "x".into(), shape: vec![3], data: vec![0.0].into() }],
        };
        assert!(matches!(write(&path, &[long]), Err(Error::WrongLength { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
    }
}
